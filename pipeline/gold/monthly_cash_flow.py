"""Money in and out per month.

Grain: one row per calendar month (UTC), branch of the account and currency.
Units: amounts in ``currency``. Only booked transactions move money; they count in the month of
their booking date.
Sources: silver.transactions, silver.accounts (for the branch).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from pipeline.gold.increments import Lookup, Sums
from pipeline.gold.mart import Mart, Total
from pipeline.tables import TableColumn

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

COLUMNS = (
    TableColumn("month", "date", "First day of the month."),
    TableColumn("branch_code", "string", "Branch that keeps the account."),
    TableColumn("currency", "string", "Currency of the amounts, ISO 4217."),
    TableColumn("inflow", "decimal(28,2)", "Booked credits, in currency."),
    TableColumn("outflow", "decimal(28,2)", "Booked debits, in currency, as a positive number."),
    TableColumn("net_cash_flow", "decimal(28,2)", "inflow - outflow."),
    TableColumn("transaction_count", "bigint", "Booked transactions."),
)


def keys() -> dict[str, Column]:
    """The grain."""
    booked = F.coalesce("booking_date", "transaction_date")
    return {
        "month": F.trunc(booked, "month"),
        "branch_code": F.col("branch_code"),
        "currency": F.col("currency"),
    }


def measures() -> dict[str, Column]:
    """What a booked transaction adds."""
    return {
        "inflow": F.when(F.col("direction") == "credit", F.col("amount")).otherwise(0),
        "outflow": F.when(F.col("direction") == "debit", F.col("amount")).otherwise(0),
        "transaction_count": F.lit(1),
    }


def derived() -> dict[str, Column]:
    """What follows from the sums."""
    return {"net_cash_flow": F.col("inflow") - F.col("outflow")}


SUMS = Sums(
    fact="transactions",
    reads=("account_id", "booking_date", "transaction_date", "currency", "direction", "amount", "status"),
    keys=keys,
    measures=measures,
    counted=("transaction_count",),
    derived=derived,
    lookup=Lookup("accounts", "account_id", ("branch_code",)),
    where=lambda: F.col("status") == "booked",
)


def build(silver: dict[str, DataFrame]) -> DataFrame:
    """Aggregate booked transactions by month, branch and currency."""
    return SUMS.build(silver, COLUMNS)


MART = Mart(
    "monthly_cash_flow",
    "Money in and out per month, branch and currency.",
    ("transactions", "accounts"),
    COLUMNS,
    build,
    key=("month", "branch_code", "currency"),
    increment=SUMS,
    totals=(
        Total(
            "sum(inflow)",
            "transactions",
            "sum(CASE WHEN status = 'booked' AND direction = 'credit' THEN amount END)",
        ),
        Total(
            "sum(outflow)",
            "transactions",
            "sum(CASE WHEN status = 'booked' AND direction = 'debit' THEN amount END)",
        ),
        Total(
            "sum(net_cash_flow)", "transactions", "sum(CASE WHEN status = 'booked' THEN signed_amount END)"
        ),
        Total("sum(transaction_count)", "transactions", "count(CASE WHEN status = 'booked' THEN 1 END)"),
    ),
)
