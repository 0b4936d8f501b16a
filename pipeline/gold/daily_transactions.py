"""Transactions per day.

Grain: one row per day (UTC), branch of the account, channel, transaction type and currency.
Units: amounts in ``currency``. ``failure_rate`` is failed over all transactions, as a fraction.
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

KEY = ("transaction_date", "branch_code", "channel", "transaction_type", "currency")
COLUMNS = (
    TableColumn("transaction_date", "date", "Day (UTC)."),
    TableColumn("branch_code", "string", "Branch that keeps the account."),
    TableColumn("channel", "string", "Channel."),
    TableColumn("transaction_type", "string", "Kind of transaction."),
    TableColumn("currency", "string", "Currency of the amounts, ISO 4217."),
    TableColumn("transaction_count", "bigint", "Transactions of any status."),
    TableColumn("booked_amount", "decimal(28,2)", "Sum of booked amounts, in currency."),
    TableColumn("failed_count", "bigint", "Transactions that failed."),
    TableColumn("failure_rate", "decimal(9,6)", "failed_count / transaction_count."),
)


def keys() -> dict[str, Column]:
    """The grain."""
    return {name: F.col(name) for name in KEY}


def measures() -> dict[str, Column]:
    """What a transaction adds."""
    return {
        "transaction_count": F.lit(1),
        "booked_amount": F.when(F.col("status") == "booked", F.col("amount")).otherwise(0),
        "failed_count": F.when(F.col("status") == "failed", 1).otherwise(0),
    }


def derived() -> dict[str, Column]:
    """What follows from the sums."""
    return {"failure_rate": F.col("failed_count") / F.col("transaction_count")}


SUMS = Sums(
    fact="transactions",
    reads=("account_id", "transaction_date", "channel", "transaction_type", "currency", "amount", "status"),
    keys=keys,
    measures=measures,
    counted=("transaction_count",),
    derived=derived,
    lookup=Lookup("accounts", "account_id", ("branch_code",)),
)


def build(silver: dict[str, DataFrame]) -> DataFrame:
    """Aggregate transactions by day, branch, channel, type and currency."""
    return SUMS.build(silver, COLUMNS)


MART = Mart(
    "daily_transactions",
    "Transactions per day, branch, channel, type and currency.",
    ("transactions", "accounts"),
    COLUMNS,
    build,
    key=KEY,
    increment=SUMS,
    totals=(
        Total("sum(transaction_count)", "transactions", "count(*)"),
        Total("sum(booked_amount)", "transactions", "sum(CASE WHEN status = 'booked' THEN amount END)"),
        Total("sum(failed_count)", "transactions", "sum(CASE WHEN status = 'failed' THEN 1 ELSE 0 END)"),
        Total("max(transaction_date)", "transactions", "max(transaction_date)"),
    ),
)
