"""Money in and out per month.

Grain: one row per calendar month (UTC), branch of the account and currency.
Units: amounts in ``currency``. Only booked transactions move money; they count in the month of
their booking date.
Sources: silver.transactions, silver.accounts (for the branch).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from pipeline.gold.mart import Mart
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


def build(silver: dict[str, DataFrame]) -> DataFrame:
    """Aggregate booked transactions by month, branch and currency."""
    branches = silver["accounts"].select("account_id", "branch_code")
    booked = (
        silver["transactions"]
        .where(F.col("status") == "booked")
        .select(
            "account_id",
            F.trunc(F.coalesce("booking_date", "transaction_date"), "month").alias("month"),
            "currency",
            "direction",
            "amount",
            "signed_amount",
        )
    )
    return (
        booked.join(branches, "account_id", "left")
        .groupBy("month", "branch_code", "currency")
        .agg(
            _sum_of("credit").alias("inflow"),
            _sum_of("debit").alias("outflow"),
            F.sum("signed_amount").alias("net_cash_flow"),
            F.count("*").alias("transaction_count"),
        )
    )


def _sum_of(direction: str) -> Column:
    return F.coalesce(F.sum(F.when(F.col("direction") == direction, F.col("amount"))), F.lit(0))


MART = Mart(
    "monthly_cash_flow",
    "Money in and out per month, branch and currency.",
    ("transactions", "accounts"),
    COLUMNS,
    build,
)
