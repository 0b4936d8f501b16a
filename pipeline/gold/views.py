"""Views on Gold for common questions, in Glue's catalogue, as Athena keeps its own.

Their SQL is Athena's (Trino). ``{gold}`` stands for the database of Gold.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipeline.tables import TableColumn

if TYPE_CHECKING:
    from mypy_boto3_glue.type_defs import TableInputTypeDef

TRINO: Final = {"string": "varchar", "int": "integer"}


@dataclass(frozen=True)
class View:
    """A view.

    Attributes:
        name: Its name in the database of Gold.
        question: What it answers.
        marts: Names of the marts that it reads.
        sql: What it selects.
        columns: Its columns in order.
    """

    name: str
    question: str
    marts: tuple[str, ...]
    sql: str
    columns: tuple[TableColumn, ...]


VIEWS: Final = (
    View(
        "current_balances",
        "What is on each account on which money ever moved, and since when?",
        ("account_balances_daily",),
        """
        SELECT account_id, customer_id, branch_code, currency, balance_date AS since,
               closing_balance AS balance
        FROM {gold}.account_balances_daily
        WHERE valid_until IS NULL AND closing_balance IS NOT NULL
        """,
        (
            TableColumn("account_id", "string", "Account."),
            TableColumn("customer_id", "string", "Customer who holds the account."),
            TableColumn("branch_code", "string", "Branch that keeps the account."),
            TableColumn("currency", "string", "Currency of the balance, ISO 4217."),
            TableColumn("since", "date", "Day (UTC) on which money last moved."),
            TableColumn("balance", "decimal(28,2)", "Booked balance, in currency."),
        ),
    ),
    View(
        "delinquency_by_product",
        "How much of each product is past due, and in which IFRS 9 stage?",
        ("loan_portfolio",),
        """
        SELECT product, currency, sum(loan_count) AS loan_count, sum(exposure) AS exposure,
               sum(exposure_31_60 + exposure_61_90 + exposure_over_90) AS past_due_over_30,
               sum(exposure_stage_1) AS exposure_stage_1, sum(exposure_stage_2) AS exposure_stage_2,
               sum(exposure_stage_3) AS exposure_stage_3
        FROM {gold}.loan_portfolio
        GROUP BY product, currency
        """,
        (
            TableColumn("product", "string", "Kind of loan."),
            TableColumn("currency", "string", "Currency of the exposures, ISO 4217."),
            TableColumn("loan_count", "bigint", "Loans with exposure."),
            TableColumn("exposure", "decimal(38,2)", "Outstanding principal, in currency."),
            TableColumn("past_due_over_30", "decimal(38,2)", "Exposure more than 30 days past due."),
            TableColumn("exposure_stage_1", "decimal(38,2)", "Exposure in IFRS 9's stage 1."),
            TableColumn("exposure_stage_2", "decimal(38,2)", "Exposure in stage 2."),
            TableColumn("exposure_stage_3", "decimal(38,2)", "Exposure in stage 3."),
        ),
    ),
    View(
        "vintage_curves",
        "Which share of each month's lending had defaulted after so many months?",
        ("loan_vintages",),
        """
        SELECT vintage, product, currency, months_on_book, originated_amount, defaulted_amount, default_rate
        FROM {gold}.loan_vintages
        """,
        (
            TableColumn("vintage", "date", "First day of the month in which the loans were paid out."),
            TableColumn("product", "string", "Kind of loan."),
            TableColumn("currency", "string", "Currency of the amounts, ISO 4217."),
            TableColumn("months_on_book", "int", "Calendar months since then."),
            TableColumn("originated_amount", "decimal(28,2)", "What was lent, in currency."),
            TableColumn("defaulted_amount", "decimal(28,2)", "Of that, lent to loans in default by then."),
            TableColumn("default_rate", "decimal(9,6)", "defaulted_amount / originated_amount."),
        ),
    ),
    View(
        "bank_cash_flow",
        "How much money came in and went out per month, over all branches?",
        ("monthly_cash_flow",),
        """
        SELECT month, currency, sum(inflow) AS inflow, sum(outflow) AS outflow,
               sum(net_cash_flow) AS net_cash_flow, sum(transaction_count) AS transaction_count
        FROM {gold}.monthly_cash_flow
        GROUP BY month, currency
        """,
        (
            TableColumn("month", "date", "First day of the month."),
            TableColumn("currency", "string", "Currency of the amounts, ISO 4217."),
            TableColumn("inflow", "decimal(38,2)", "Booked credits, in currency."),
            TableColumn("outflow", "decimal(38,2)", "Booked debits, in currency."),
            TableColumn("net_cash_flow", "decimal(38,2)", "inflow - outflow."),
            TableColumn("transaction_count", "bigint", "Booked transactions."),
        ),
    ),
)


def view_sql(view: View, database: str) -> str:
    """The view's SELECT, on a database of Gold."""
    return " ".join(view.sql.split()).format(gold=f'"{database}"')


def view_input(view: View, database: str) -> TableInputTypeDef:
    """Glue's description of the view in a database, as Athena writes it."""
    columns = [{"name": c.name, "type": TRINO.get(c.type, c.type)} for c in view.columns]
    definition = {
        "originalSql": view_sql(view, database),
        "catalog": "awsdatacatalog",
        "schema": database,
        "columns": columns,
    }
    encoded = base64.b64encode(json.dumps(definition).encode()).decode()
    return {
        "Name": view.name,
        "Description": view.question,
        "TableType": "VIRTUAL_VIEW",
        "Parameters": {"presto_view": "true", "comment": "Presto View"},
        "PartitionKeys": [],
        "ViewOriginalText": f"/* Presto View: {encoded} */",
        "ViewExpandedText": "/* Presto View */",
        "StorageDescriptor": {
            "Columns": [{"Name": c.name, "Type": c.type, "Comment": c.comment} for c in view.columns],
            "Location": "",
            "SerdeInfo": {},
        },
    }
