"""Key figures: each has one definition, which the dashboard, QuickSight and the KPI catalogue share.

A formula is an aggregate over the rows of one table, in SQL that Athena and DuckDB both run. It holds for
all rows of the table and for any part of them, so a figure can be broken down by the columns of its grain.
Where there is nothing to divide by, it is null: a ratio without a base is no number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

MONEY: Final = "money"
FRACTION: Final = "fraction"
COUNT: Final = "count"

Unit = Literal["money", "fraction", "count"]
Owner = Literal["branch manager", "credit risk", "financial crime", "data engineering"]


@dataclass(frozen=True)
class Kpi:
    """A key figure.

    Attributes:
        name: What it is called in code and data.
        title: What people call it.
        table: The table it is computed from, as ``layer.table``.
        formula: SQL aggregate over the table's rows.
        unit: ``money`` (in the rows' currency, so never across currencies), ``fraction`` or ``count``.
        grain: Columns by which it may be broken down or filtered.
        owner: Who answers for it.
        meaning: What it says, in a sentence, with the source of its definition where there is one.
        bigger_is_better: Whether more is good; None when it is neither.
    """

    name: str
    title: str
    table: str
    formula: str
    unit: Unit
    grain: tuple[str, ...]
    owner: Owner
    meaning: str
    bigger_is_better: bool | None = None


_CASH_FLOW = ("month", "branch_code", "currency")
_DAILY = ("transaction_date", "branch_code", "channel", "transaction_type", "currency")
_PORTFOLIO = ("product", "branch_code", "currency")
_VINTAGES = ("vintage", "product", "currency", "months_on_book")
_PAYMENTS = ("due_month", "product", "branch_code", "currency")
_CUSTOMERS = ("country", "segment", "kyc_status", "credit_band", "currency")
_ROWS = ("entity", "origin")

KPIS: Final[tuple[Kpi, ...]] = (
    # --- cash flow ---
    Kpi(
        "inflow",
        "Inflow",
        "gold.monthly_cash_flow",
        "sum(inflow)",
        "money",
        _CASH_FLOW,
        "branch manager",
        "Booked credits.",
        bigger_is_better=True,
    ),
    Kpi(
        "outflow",
        "Outflow",
        "gold.monthly_cash_flow",
        "sum(outflow)",
        "money",
        _CASH_FLOW,
        "branch manager",
        "Booked debits, as a positive number.",
    ),
    Kpi(
        "net_cash_flow",
        "Net cash flow",
        "gold.monthly_cash_flow",
        "sum(net_cash_flow)",
        "money",
        _CASH_FLOW,
        "branch manager",
        "Inflow less outflow.",
        bigger_is_better=True,
    ),
    Kpi(
        "transactions",
        "Transactions",
        "gold.daily_transactions",
        "sum(transaction_count)",
        "count",
        _DAILY,
        "branch manager",
        "Transactions of any status.",
    ),
    Kpi(
        "failure_rate",
        "Failed transactions",
        "gold.daily_transactions",
        "sum(failed_count) * 1.0 / nullif(sum(transaction_count), 0)",
        "fraction",
        _DAILY,
        "branch manager",
        "Failed transactions over all transactions.",
        bigger_is_better=False,
    ),
    # --- customers ---
    Kpi(
        "customers",
        "Customers",
        "gold.customer_360",
        "count(*)",
        "count",
        _CUSTOMERS,
        "branch manager",
        "Customers that have not been deleted.",
    ),
    Kpi(
        "active_customers",
        "Active customers",
        "gold.customer_360",
        "count(CASE WHEN transaction_count_90d > 0 THEN 1 END)",
        "count",
        _CUSTOMERS,
        "branch manager",
        "Customers with a transaction in the last 90 days.",
        bigger_is_better=True,
    ),
    Kpi(
        "active_customer_share",
        "Active share",
        "gold.customer_360",
        "count(CASE WHEN transaction_count_90d > 0 THEN 1 END) * 1.0 / nullif(count(*), 0)",
        "fraction",
        _CUSTOMERS,
        "branch manager",
        "Active customers over all customers.",
        bigger_is_better=True,
    ),
    Kpi(
        "deposits",
        "Balances",
        "gold.customer_360",
        "sum(total_balance)",
        "money",
        _CUSTOMERS,
        "branch manager",
        "Balances of open accounts in the customers' own currency.",
        bigger_is_better=True,
    ),
    # --- loans ---
    Kpi(
        "exposure",
        "Exposure",
        "gold.loan_portfolio",
        "sum(exposure)",
        "money",
        _PORTFOLIO,
        "credit risk",
        "Outstanding principal of loans that are neither paid off nor written off.",
    ),
    Kpi(
        "non_performing_ratio",
        "Non-performing loans",
        "gold.loan_portfolio",
        "sum(non_performing_exposure) / nullif(sum(exposure), 0)",
        "fraction",
        _PORTFOLIO,
        "credit risk",
        "Exposure more than 90 days past due or in default over exposure (Regulation (EU) No 575/2013, "
        "Article 178).",
        bigger_is_better=False,
    ),
    Kpi(
        "delinquency_rate_30",
        "Past due over 30 days",
        "gold.loan_portfolio",
        "sum(exposure_31_60 + exposure_61_90 + exposure_over_90) / nullif(sum(exposure), 0)",
        "fraction",
        _PORTFOLIO,
        "credit risk",
        "Exposure more than 30 days past due over exposure.",
        bigger_is_better=False,
    ),
    Kpi(
        "stage_2_share",
        "IFRS 9 stage 2",
        "gold.loan_portfolio",
        "sum(exposure_stage_2) / nullif(sum(exposure), 0)",
        "fraction",
        _PORTFOLIO,
        "credit risk",
        "Exposure with a significant increase in credit risk over exposure (IFRS 9, 5.5.11: more than 30 "
        "days past due; restructured loans too).",
        bigger_is_better=False,
    ),
    Kpi(
        "vintage_default_rate",
        "Default rate of a vintage",
        "gold.loan_vintages",
        "sum(defaulted_amount) / nullif(sum(originated_amount), 0)",
        "fraction",
        _VINTAGES,
        "credit risk",
        "Amount lent to loans that were ever more than 90 days past due by that month on book, over all that "
        "was lent. Holds for one month on book only, not for several together.",
        bigger_is_better=False,
    ),
    Kpi(
        "collection_rate",
        "Collected",
        "gold.payment_performance",
        "sum(amount_paid) / nullif(sum(amount_due), 0)",
        "fraction",
        _PAYMENTS,
        "credit risk",
        "Paid over due, of instalments that have fallen due.",
        bigger_is_better=True,
    ),
    Kpi(
        "on_time_rate",
        "Paid on time",
        "gold.payment_performance",
        "sum(on_time_count) * 1.0 / nullif(sum(instalment_count), 0)",
        "fraction",
        _PAYMENTS,
        "credit risk",
        "Instalments paid in full by their due date over all that have fallen due.",
        bigger_is_better=True,
    ),
    # --- the data itself ---
    Kpi(
        "rows_read",
        "Rows read",
        "ops.row_counts",
        "sum(CASE WHEN origin = 'bronze' THEN \"read\" END)",
        "count",
        _ROWS,
        "data engineering",
        "Rows of Bronze files that have been taken in.",
    ),
    Kpi(
        "quarantine_rate",
        "Quarantined",
        "ops.row_counts",
        "(sum(CASE WHEN origin = 'bronze' THEN quarantined END) - sum(CASE WHEN origin = 'quarantine' "
        'THEN "read" ELSE 0 END)) * 1.0 / nullif(sum(CASE WHEN origin = \'bronze\' THEN "read" END), 0)',
        "fraction",
        _ROWS,
        "data engineering",
        "Rows that are in quarantine over rows read.",
        bigger_is_better=False,
    ),
    Kpi(
        "unaccounted_rows",
        "Rows unaccounted for",
        "ops.row_counts",
        'sum("read" - inserted - updated - duplicate - stale - quarantined)',
        "count",
        _ROWS,
        "data engineering",
        "Rows read less rows with an outcome. Anything but zero is a fault.",
        bigger_is_better=False,
    ),
)
