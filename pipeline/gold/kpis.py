"""Key figures: each has one definition, which the dashboard, QuickSight and the KPI catalogue share.

A formula is an aggregate over the rows of one table, in SQL that Athena and DuckDB both run. It holds for
all rows of the table and for any part of them, so a figure can be broken down by the columns of its grain.
Where there is nothing to divide by, it is null: a ratio without a base is no number. What is divided is cast
to DOUBLE, because Athena divides whole numbers and decimals to no more digits than they have themselves.
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
_SIGNALS = ("activity_month", "activity_date", "currency")
_CUSTOMERS = ("country", "segment", "kyc_status", "credit_band", "currency")
_ROWS = ("entity", "origin")
_REASONS = ("entity", "reason", "origin", "level")

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
        "CAST(sum(failed_count) AS DOUBLE) / nullif(sum(transaction_count), 0)",
        "fraction",
        _DAILY,
        "branch manager",
        "Failed transactions over all transactions.",
        bigger_is_better=False,
    ),
    Kpi(
        "turnover",
        "Turnover",
        "gold.daily_transactions",
        "sum(booked_amount)",
        "money",
        _DAILY,
        "branch manager",
        "Booked amounts of credits and debits together.",
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
        "CAST(count(CASE WHEN transaction_count_90d > 0 THEN 1 END) AS DOUBLE) / nullif(count(*), 0)",
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
        "CAST(sum(non_performing_exposure) AS DOUBLE) / nullif(sum(exposure), 0)",
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
        "CAST(sum(exposure_31_60 + exposure_61_90 + exposure_over_90) AS DOUBLE) / nullif(sum(exposure), 0)",
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
        "CAST(sum(exposure_stage_2) AS DOUBLE) / nullif(sum(exposure), 0)",
        "fraction",
        _PORTFOLIO,
        "credit risk",
        "Exposure with a significant increase in credit risk over exposure (IFRS 9, 5.5.11: more than 30 "
        "days past due; restructured loans too).",
        bigger_is_better=False,
    ),
    Kpi(
        "loans",
        "Loans",
        "gold.loan_portfolio",
        "sum(loan_count)",
        "count",
        _PORTFOLIO,
        "credit risk",
        "Loans with exposure.",
    ),
    Kpi(
        "exposure_current",
        "Not past due",
        "gold.loan_portfolio",
        "sum(exposure_current)",
        "money",
        _PORTFOLIO,
        "credit risk",
        "Exposure of loans that are not past due.",
    ),
    Kpi(
        "exposure_1_30",
        "1-30 days",
        "gold.loan_portfolio",
        "sum(exposure_1_30)",
        "money",
        _PORTFOLIO,
        "credit risk",
        "Exposure of loans 1 to 30 days past due.",
    ),
    Kpi(
        "exposure_31_60",
        "31-60 days",
        "gold.loan_portfolio",
        "sum(exposure_31_60)",
        "money",
        _PORTFOLIO,
        "credit risk",
        "Exposure of loans 31 to 60 days past due.",
    ),
    Kpi(
        "exposure_61_90",
        "61-90 days",
        "gold.loan_portfolio",
        "sum(exposure_61_90)",
        "money",
        _PORTFOLIO,
        "credit risk",
        "Exposure of loans 61 to 90 days past due.",
    ),
    Kpi(
        "exposure_over_90",
        "Over 90 days",
        "gold.loan_portfolio",
        "sum(exposure_over_90)",
        "money",
        _PORTFOLIO,
        "credit risk",
        "Exposure of loans more than 90 days past due.",
    ),
    Kpi(
        "exposure_stage_1",
        "Stage 1",
        "gold.loan_portfolio",
        "sum(exposure_stage_1)",
        "money",
        _PORTFOLIO,
        "credit risk",
        "Exposure without a significant increase in credit risk (IFRS 9): up to 30 days past due.",
    ),
    Kpi(
        "exposure_stage_2",
        "Stage 2",
        "gold.loan_portfolio",
        "sum(exposure_stage_2)",
        "money",
        _PORTFOLIO,
        "credit risk",
        "Exposure with a significant increase in credit risk (IFRS 9): 31 to 90 days past due, or "
        "restructured.",
    ),
    Kpi(
        "exposure_stage_3",
        "Stage 3",
        "gold.loan_portfolio",
        "sum(exposure_stage_3)",
        "money",
        _PORTFOLIO,
        "credit risk",
        "Exposure that is credit-impaired (IFRS 9): over 90 days past due, or defaulted.",
    ),
    Kpi(
        "vintage_loans",
        "Loans of a vintage",
        "gold.loan_vintages",
        "sum(loan_count)",
        "count",
        _VINTAGES,
        "credit risk",
        "Loans that began then. Holds for one month on book only, not for several together.",
    ),
    Kpi(
        "vintage_default_rate",
        "Default rate of a vintage",
        "gold.loan_vintages",
        "CAST(sum(defaulted_amount) AS DOUBLE) / nullif(sum(originated_amount), 0)",
        "fraction",
        _VINTAGES,
        "credit risk",
        "Amount lent to loans that were ever more than 90 days past due by that month on book, over all that "
        "was lent. Holds for one month on book only, not for several together.",
        bigger_is_better=False,
    ),
    Kpi(
        "vintage_delinquency_rate",
        "Delinquency rate of a vintage",
        "gold.loan_vintages",
        "CAST(sum(delinquent_30_amount) AS DOUBLE) / nullif(sum(originated_amount), 0)",
        "fraction",
        _VINTAGES,
        "credit risk",
        "Amount lent to loans that were ever more than 30 days past due by that month on book, over all that "
        "was lent. Holds for one month on book only, not for several together.",
        bigger_is_better=False,
    ),
    Kpi(
        "collection_rate",
        "Collected",
        "gold.payment_performance",
        "CAST(sum(amount_paid) AS DOUBLE) / nullif(sum(amount_due), 0)",
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
        "CAST(sum(on_time_count) AS DOUBLE) / nullif(sum(instalment_count), 0)",
        "fraction",
        _PAYMENTS,
        "credit risk",
        "Instalments paid in full by their due date over all that have fallen due.",
        bigger_is_better=True,
    ),
    Kpi(
        "instalments_on_time",
        "On time",
        "gold.payment_performance",
        "sum(on_time_count)",
        "count",
        _PAYMENTS,
        "credit risk",
        "Instalments paid in full by their due date.",
    ),
    Kpi(
        "instalments_late_1_30",
        "1-30 days late",
        "gold.payment_performance",
        "sum(late_1_30_count)",
        "count",
        _PAYMENTS,
        "credit risk",
        "Instalments paid in full 1 to 30 days late.",
    ),
    Kpi(
        "instalments_late_31_90",
        "31-90 days late",
        "gold.payment_performance",
        "sum(late_31_90_count)",
        "count",
        _PAYMENTS,
        "credit risk",
        "Instalments paid in full 31 to 90 days late.",
    ),
    Kpi(
        "instalments_late_over_90",
        "Over 90 days late",
        "gold.payment_performance",
        "sum(late_over_90_count)",
        "count",
        _PAYMENTS,
        "credit risk",
        "Instalments paid in full more than 90 days late.",
    ),
    Kpi(
        "instalments_partial",
        "Paid in part",
        "gold.payment_performance",
        "sum(partial_count)",
        "count",
        _PAYMENTS,
        "credit risk",
        "Instalments of which a part has been paid.",
    ),
    Kpi(
        "instalments_missed",
        "Missed",
        "gold.payment_performance",
        "sum(missed_count)",
        "count",
        _PAYMENTS,
        "credit risk",
        "Instalments of which nothing has been paid.",
    ),
    # --- signs of fraud and money laundering ---
    Kpi(
        "fraud_alerts",
        "Alerts",
        "gold.fraud_signals",
        "count(CASE WHEN signal_count > 0 THEN 1 END)",
        "count",
        _SIGNALS,
        "financial crime",
        "Days of accounts with at least one sign: reasons to look, not verdicts.",
    ),
    Kpi(
        "fraud_alert_rate",
        "Alert rate",
        "gold.fraud_signals",
        "CAST(count(CASE WHEN signal_count > 0 THEN 1 END) AS DOUBLE) / nullif(count(*), 0)",
        "fraction",
        _SIGNALS,
        "financial crime",
        "Alerts over all days of accounts with a transaction.",
    ),
    Kpi(
        "fraud_alerts_of_several_signs",
        "Alerts of several signs",
        "gold.fraud_signals",
        "count(CASE WHEN signal_count > 1 THEN 1 END)",
        "count",
        _SIGNALS,
        "financial crime",
        "Alerts for which more than one sign speaks, to be looked at first.",
    ),
    Kpi(
        "flagged_amount",
        "Amount flagged",
        "gold.fraud_signals",
        "sum(CASE WHEN signal_count > 0 THEN credit_amount + debit_amount ELSE 0 END)",
        "money",
        _SIGNALS,
        "financial crime",
        "Credits and debits of any status on days with an alert, in the accounts' own currency.",
    ),
    Kpi(
        "signs_structuring",
        "Structuring",
        "gold.fraud_signals",
        "count(CASE WHEN is_structuring THEN 1 END)",
        "count",
        _SIGNALS,
        "financial crime",
        "Days of accounts with several cash deposits just below what has to be reported.",
    ),
    Kpi(
        "signs_fan_in",
        "Fan in",
        "gold.fraud_signals",
        "count(CASE WHEN is_fan_in THEN 1 END)",
        "count",
        _SIGNALS,
        "financial crime",
        "Days of accounts to which many senders have transferred.",
    ),
    Kpi(
        "signs_fan_out",
        "Fan out",
        "gold.fraud_signals",
        "count(CASE WHEN is_fan_out THEN 1 END)",
        "count",
        _SIGNALS,
        "financial crime",
        "Days of accounts that have transferred to many receivers.",
    ),
    Kpi(
        "signs_pass_through",
        "Pass through",
        "gold.fraud_signals",
        "count(CASE WHEN is_pass_through THEN 1 END)",
        "count",
        _SIGNALS,
        "financial crime",
        "Days of accounts out of which goes what came in.",
    ),
    Kpi(
        "signs_card_testing",
        "Card testing",
        "gold.fraud_signals",
        "count(CASE WHEN is_card_testing THEN 1 END)",
        "count",
        _SIGNALS,
        "financial crime",
        "Days of accounts with many tiny card payments online.",
    ),
    Kpi(
        "signs_account_takeover",
        "Account takeover",
        "gold.fraud_signals",
        "count(CASE WHEN is_account_takeover THEN 1 END)",
        "count",
        _SIGNALS,
        "financial crime",
        "Days of accounts with several transfers out in one night.",
    ),
    Kpi(
        "signs_velocity",
        "Velocity",
        "gold.fraud_signals",
        "count(CASE WHEN is_velocity THEN 1 END)",
        "count",
        _SIGNALS,
        "financial crime",
        "Days of accounts with far more transactions than before.",
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
        "CAST(sum(CASE WHEN origin = 'bronze' THEN quarantined END) - sum(CASE WHEN origin = 'quarantine' "
        'THEN "read" ELSE 0 END) AS DOUBLE) / nullif(sum(CASE WHEN origin = \'bronze\' THEN "read" END), 0)',
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
    Kpi(
        "rows_inserted",
        "Inserted",
        "ops.row_counts",
        "sum(inserted)",
        "count",
        _ROWS,
        "data engineering",
        "Rows whose outcome was: inserted.",
    ),
    Kpi(
        "rows_updated",
        "Updated",
        "ops.row_counts",
        "sum(updated)",
        "count",
        _ROWS,
        "data engineering",
        "Rows whose outcome was: updated.",
    ),
    Kpi(
        "rows_duplicate",
        "Duplicate",
        "ops.row_counts",
        "sum(duplicate)",
        "count",
        _ROWS,
        "data engineering",
        "Rows whose outcome was: duplicate.",
    ),
    Kpi(
        "rows_stale",
        "Stale",
        "ops.row_counts",
        "sum(stale)",
        "count",
        _ROWS,
        "data engineering",
        "Rows whose outcome was: stale.",
    ),
    Kpi(
        "rows_in_quarantine",
        "In quarantine",
        "ops.row_counts",
        "sum(quarantined) - sum(CASE WHEN origin = 'quarantine' THEN \"read\" ELSE 0 END)",
        "count",
        _ROWS,
        "data engineering",
        "Rows that are in quarantine now.",
        bigger_is_better=False,
    ),
    Kpi(
        "quarantine_reasons",
        "Reasons in quarantine",
        "ops.quarantine_reasons",
        "sum(CASE WHEN level = 'warning' THEN 0 WHEN origin = 'bronze' THEN \"rows\" ELSE -\"rows\" END)",
        "count",
        _REASONS,
        "data engineering",
        "Rows in quarantine by the rule that they broke; a row that broke several counts for each.",
        bigger_is_better=False,
    ),
)
