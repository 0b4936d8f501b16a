"""Transactions per day.

Grain: one row per day (UTC), branch of the account, channel, transaction type and currency.
Units: amounts in ``currency``. ``failure_rate`` is failed over all transactions, as a fraction.
Sources: silver.transactions, silver.accounts (for the branch).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from pipeline.gold.mart import Mart
from pipeline.tables import TableColumn

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

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


def build(silver: dict[str, DataFrame]) -> DataFrame:
    """Aggregate transactions by day, branch, channel, type and currency."""
    branches = silver["accounts"].select("account_id", "branch_code")
    transactions = silver["transactions"].select(
        "account_id", "transaction_date", "channel", "transaction_type", "currency", "amount", "status"
    )
    failed = F.count(F.when(F.col("status") == "failed", 1))
    return (
        transactions.join(branches, "account_id", "left")
        .groupBy("transaction_date", "branch_code", "channel", "transaction_type", "currency")
        .agg(
            F.count("*").alias("transaction_count"),
            F.coalesce(F.sum(F.when(F.col("status") == "booked", F.col("amount"))), F.lit(0)).alias(
                "booked_amount"
            ),
            failed.alias("failed_count"),
            (failed / F.count("*")).alias("failure_rate"),
        )
    )


MART = Mart(
    "daily_transactions",
    "Transactions per day, branch, channel, type and currency.",
    ("transactions", "accounts"),
    COLUMNS,
    build,
)
