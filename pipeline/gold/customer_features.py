"""What was known of a customer at the end of a month: features for models of customers.

Grain: one row per customer and month's end on which the bank knew the customer.
``as_of_date`` is the last day of each month from that of the oldest transaction to the last one that is over
by the data's own clock, the day of the newest version in transactions.
Units: money in ``currency``, the customer's own on that day; what is in other currencies is counted but not
summed. Columns that end in ``_3m`` are of the three calendar months that end with ``as_of_date``.

Point in time: no column knows what came after ``as_of_date``. The customer is the version in
silver.customers_history that held at the end of that day. Transactions count whatever has become of them
since, for whether one will fail or be reversed was not known; an account counts as closed from its
closed_date on; an instalment counts as paid from its paid_date on.
Sources: silver.customers_history, silver.accounts, silver.transactions, silver.loans, silver.payments.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from pipeline.gold.increments import Clock, Slices
from pipeline.gold.mart import Mart, Total
from pipeline.tables import TableColumn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import Column, DataFrame

MONTHS = 3

COLUMNS = (
    TableColumn("customer_id", "string", "Customer."),
    TableColumn("as_of_date", "date", "Last day of a month; nothing later is known."),
    TableColumn("segment", "string", "Commercial segment."),
    TableColumn("country", "string", "Country of residence, ISO 3166-1 alpha-2."),
    TableColumn("kyc_status", "string", "State of the know-your-customer check."),
    TableColumn("currency", "string", "The customer's currency, ISO 4217."),
    TableColumn("credit_score", "int", "Credit score on the FICO scale."),
    TableColumn("annual_income", "decimal(18,2)", "Declared yearly income, in currency."),
    TableColumn("tenure_days", "int", "Days since the relationship began."),
    TableColumn("account_count", "bigint", "Accounts that were open."),
    TableColumn("loan_count", "bigint", "Loans paid out so far, of any status."),
    TableColumn("overdue_installment_count", "bigint", "Instalments of all loans that were past due."),
    TableColumn("days_past_due", "int", "Days since the oldest of them was due; zero when none is."),
    TableColumn("transaction_count_3m", "bigint", "Transactions of any status and currency in three months."),
    TableColumn("inflow_3m", "decimal(28,2)", "Credits of three months, in currency."),
    TableColumn("outflow_3m", "decimal(28,2)", "Debits of three months, in currency, positive."),
)


def months(values: Mapping[str, date | None]) -> tuple[date, date] | None:
    """First month and last month's end of the mart, which all rows depend on; None when there are none."""
    first, clock = values.get("first_day"), values.get("clock")
    if first is None or clock is None:
        return None
    return first.replace(day=1), (clock + timedelta(days=1)).replace(day=1) - timedelta(days=1)


CLOCK = Clock(
    {
        "first_day": ("transactions", "min(transaction_date)"),
        "clock": ("transactions", "CAST(max(updated_at) AS date)"),
    },
    months,
)
OF_CUSTOMER = (
    "customer_id",
    "segment",
    "country",
    "kyc_status",
    "currency",
    "credit_score",
    "annual_income",
    "onboarding_date",
    "valid_from",
    "valid_to",
)
"""What features know of a version in customers_history."""
READS = {
    "customers_history": OF_CUSTOMER,
    "accounts": ("account_id", "customer_id", "opened_date", "closed_date"),
    "transactions": ("account_id", "month", "currency", "direction", "amount"),
    "loans": ("loan_id", "customer_id", "start_date"),
    "payments": ("loan_id", "due_date", "paid_in_full"),
}


def seen(name: str, rows: DataFrame, period: tuple[date, date] | None) -> DataFrame:
    """Rows of an input as far as they can be known on the last month's end."""
    if period is None:
        return rows.where("false").withColumns(
            {column: F.lit(None) for column in READS[name] if column not in rows.columns}
        )
    end = F.lit(period[1]).cast("date")
    if name == "customers_history":
        return known_versions(rows, end)
    if name == "accounts":
        days = ("opened_date", "closed_date")
        return rows.withColumns({day: F.when(F.col(day) <= end, F.col(day)) for day in days})
    if name == "transactions":
        return rows.where(F.col("transaction_date") <= end).withColumn(
            "month", F.trunc("transaction_date", "month")
        )
    if name == "loans":
        return rows.where(F.col("start_date") <= end)
    in_full = (F.col("amount_paid") >= F.col("amount_due")) & (F.col("paid_date") <= end)
    return rows.where(F.col("due_date") < end).withColumn("paid_in_full", F.when(in_full, F.col("paid_date")))


def known_versions(rows: DataFrame, end: Column) -> DataFrame:
    """Versions of a history that were known at the end (UTC) of a day, open unless they had ended by then."""
    next_day = F.date_add(end, 1).cast("timestamp")
    known = rows.where(~F.col("is_deleted") & (F.col("valid_from") < next_day))
    return known.withColumn("valid_to", F.when(F.col("valid_to") < next_day, F.col("valid_to")))


def build(silver: dict[str, DataFrame]) -> DataFrame:
    """Put what was known on each month's end beside the version of the customer that held then."""
    return build_by(silver, CLOCK.row(silver))


def build_by(silver: dict[str, DataFrame], clock: DataFrame) -> DataFrame:
    """The mart of some customers or all; ``clock`` is one row with ``first_day`` and ``clock``."""
    known = _known_customers(silver, clock)
    spine = known.select("customer_id", "as_of_date", "currency")
    joined = known
    parts = (_accounts(silver, spine), _loans(silver, spine), _flows(silver, spine))
    for part in parts:
        joined = joined.join(part, ["customer_id", "as_of_date"], "left")
    counted = [column.name for column in COLUMNS if column.name.endswith(("_count", "_3m", "_past_due"))]
    return joined.fillna(0, subset=counted).select(*[column.name for column in COLUMNS])


def _known_customers(silver: dict[str, DataFrame], clock: DataFrame) -> DataFrame:
    """Customers as they were at the end of each month."""
    range_ = clock.select(F.trunc("first_day", "month").alias("first"), "clock")
    month = F.explode(F.expr("sequence(first, trunc(clock, 'month'), interval 1 month)"))
    ends = (
        range_.where("first <= clock")
        .select("clock", month.alias("month"))
        .select("clock", F.last_day("month").alias("as_of_date"))
        .where("as_of_date <= clock")
        .drop("clock")
    )
    return (
        silver["customers_history"]
        .where("NOT is_deleted")
        .join(F.broadcast(ends), held_at_end_of("as_of_date"))
        .select(
            "customer_id",
            "as_of_date",
            "segment",
            "country",
            "kyc_status",
            "currency",
            "credit_score",
            "annual_income",
            F.datediff("as_of_date", "onboarding_date").alias("tenure_days"),
        )
    )


def held_at_end_of(day: str) -> Column:
    """Whether a version of a history table was the one that held at the end (UTC) of a day."""
    next_day = F.date_add(day, 1).cast("timestamp")
    return (F.col("valid_from") < next_day) & (F.col("valid_to").isNull() | (F.col("valid_to") >= next_day))


def _accounts(silver: dict[str, DataFrame], spine: DataFrame) -> DataFrame:
    accounts = silver["accounts"].select("customer_id", "opened_date", "closed_date")
    is_open = (F.col("opened_date") <= F.col("as_of_date")) & (
        F.col("closed_date").isNull() | (F.col("closed_date") > F.col("as_of_date"))
    )
    return (
        spine.drop("currency")
        .join(accounts, "customer_id")
        .groupBy("customer_id", "as_of_date")
        .agg(F.count(F.when(is_open, 1)).alias("account_count"))
    )


def _loans(silver: dict[str, DataFrame], spine: DataFrame) -> DataFrame:
    """Loans and what was past due on them."""
    loans = (
        spine.drop("currency")
        .join(silver["loans"].select("loan_id", "customer_id", "start_date"), "customer_id")
        .where("start_date <= as_of_date")
        .drop("start_date")
    )
    payments = silver["payments"].select("loan_id", "due_date", "paid_date", "amount_due", "amount_paid")
    overdue = (
        loans.join(payments, "loan_id")
        .where(
            "due_date < as_of_date"
            " AND NOT (amount_paid >= amount_due AND coalesce(paid_date <= as_of_date, false))"
        )
        .groupBy("customer_id", "as_of_date")
        .agg(
            F.count("*").alias("overdue_installment_count"),
            F.max(F.datediff("as_of_date", "due_date")).alias("days_past_due"),
        )
    )
    counts = loans.groupBy("customer_id", "as_of_date").agg(F.count("*").alias("loan_count"))
    return counts.join(overdue, ["customer_id", "as_of_date"], "left")


def _flows(silver: dict[str, DataFrame], spine: DataFrame) -> DataFrame:
    """Transactions by customer and month, each in the three month's ends that look back on it."""
    holders = silver["accounts"].select("account_id", "customer_id")
    monthly = (
        silver["transactions"]
        .select(
            "account_id",
            F.trunc("transaction_date", "month").alias("month"),
            F.col("currency").alias("paid_currency"),
            "direction",
            "amount",
        )
        .join(holders, "account_id")
        .groupBy("customer_id", "month", "paid_currency")
        .agg(
            F.count("*").alias("moves"),
            _sum_of("credit").alias("credits"),
            _sum_of("debit").alias("debits"),
        )
    )
    seen_from = F.explode(F.expr(f"sequence(month, add_months(month, {MONTHS - 1}), interval 1 month)"))
    own = F.col("paid_currency") == F.col("currency")
    return (
        monthly.withColumn("seen_from", seen_from)
        .withColumn("as_of_date", F.last_day("seen_from"))
        .join(spine, ["customer_id", "as_of_date"])
        .groupBy("customer_id", "as_of_date")
        .agg(
            F.sum("moves").alias("transaction_count_3m"),
            F.sum(F.when(own, F.col("credits"))).alias("inflow_3m"),
            F.sum(F.when(own, F.col("debits"))).alias("outflow_3m"),
        )
    )


def _sum_of(direction: str) -> Column:
    return F.sum(F.when(F.col("direction") == direction, F.col("amount")))


_NEWEST = "as_of_date = (SELECT max(as_of_date) FROM {mart})"
_FLOWS = (
    "{mart} AS m JOIN {accounts} AS a ON a.customer_id = m.customer_id "
    "JOIN {transactions} AS t ON t.account_id = a.account_id "
    f"AND t.transaction_date >= date_trunc('month', m.as_of_date) - INTERVAL '{MONTHS - 1}' MONTH "
    f"AND t.transaction_date <= m.as_of_date WHERE m.{_NEWEST}"
)
MART = Mart(
    "customer_features",
    "What was known of a customer at the end of a month.",
    ("customers_history", "accounts", "transactions", "loans", "payments"),
    COLUMNS,
    build,
    key=("customer_id", "as_of_date"),
    increment=Slices(
        "customer_id",
        READS,
        via={"payments": ("loans", "loan_id"), "transactions": ("accounts", "account_id")},
        build=build_by,
        clock=CLOCK,
        seen=seen,
    ),
    totals=(
        # Nobody twice on a day: versions of a customer would overlap.
        Total("count(*) - count(DISTINCT concat(customer_id, ' ', as_of_date))", "accounts", "0 * count(*)"),
        Total("sum(transaction_count_3m)", "transactions", "count(*)", _FLOWS, _NEWEST),
        *[
            Total(
                f"sum({flow}_3m)",
                "transactions",
                f"sum(CASE WHEN t.currency = m.currency AND t.direction = '{direction}' THEN t.amount END)",
                _FLOWS,
                _NEWEST,
            )
            for flow, direction in (("inflow", "credit"), ("outflow", "debit"))
        ],
    ),
    cluster_by=("as_of_date",),
)
