"""What was on an account at the end of each day on which money moved.

Grain: one row per account, currency and day (UTC) on which a transaction was booked. A closing balance holds
until ``valid_until``; days without a row have the balance of the row before.
Units: amounts in ``currency``.

Balances are told backwards from the one that the account has now: ``closing_balance`` of a day is the
account's balance less all that was booked afterwards. So the last one is ``accounts.balance``, and a
transaction that comes in late changes the days that it belongs to. Of a currency that is not the account's
own there are movements and no balance.
Sources: silver.transactions, silver.accounts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F  # noqa: N812

from pipeline.gold.increments import Slices
from pipeline.gold.mart import Mart, Total
from pipeline.gold.money import from_minor_units, minor_units
from pipeline.tables import TableColumn

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

KEY = ("account_id", "currency", "balance_date")
COLUMNS = (
    TableColumn("account_id", "string", "Account."),
    TableColumn("currency", "string", "Currency of the amounts, ISO 4217."),
    TableColumn("balance_date", "date", "Day (UTC) on which the transactions were booked."),
    TableColumn("customer_id", "string", "Customer who holds the account."),
    TableColumn("branch_code", "string", "Branch that keeps the account."),
    TableColumn("credit_amount", "decimal(28,2)", "Booked credits of the day, in currency."),
    TableColumn("debit_amount", "decimal(28,2)", "Booked debits of the day, in currency, positive."),
    TableColumn("transaction_count", "bigint", "Booked transactions of the day."),
    TableColumn(
        "closing_balance", "decimal(28,2)", "Balance at the end of the day; null in another currency."
    ),
    TableColumn("valid_until", "date", "Last day on which that balance held; null when it still does."),
)
READS = {
    "transactions": (
        "account_id",
        "booking_date",
        "transaction_date",
        "currency",
        "direction",
        "amount",
        "status",
    ),
    "accounts": ("account_id", "customer_id", "branch_code", "currency", "balance"),
}


def build(silver: dict[str, DataFrame]) -> DataFrame:
    """Add up each day's bookings, and follow them back from the present balance."""
    accounts = silver["accounts"].select(
        "account_id",
        "customer_id",
        "branch_code",
        F.col("currency").alias("own_currency"),
        minor_units(F.col("balance")).alias("balance"),
    )
    booked = silver["transactions"].where(F.col("status") == "booked")
    day = F.coalesce("booking_date", "transaction_date").alias("balance_date")
    daily = (
        booked.select(
            "account_id", "currency", day, "direction", minor_units(F.col("amount")).alias("amount")
        )
        .repartition("account_id")  # once for all that follows
        .groupBy(*KEY)
        .agg(_sum_of("credit"), _sum_of("debit"), F.count("*").alias("transaction_count"))
    )
    newest_first = Window.partitionBy("account_id", "currency").orderBy(F.col("balance_date").desc())
    later = newest_first.rowsBetween(Window.unboundedPreceding, -1)
    moved_since = F.coalesce(F.try_sum(F.col("credit") - F.col("debit")).over(later), F.lit(0))
    timeline = daily.withColumns(
        {
            "moved_since": moved_since,
            "valid_until": F.date_sub(F.lag("balance_date").over(newest_first), 1),
        }
    )
    is_own = F.col("currency") == F.col("own_currency")
    return timeline.join(accounts, "account_id", "left").select(
        *KEY,
        "customer_id",
        "branch_code",
        from_minor_units(F.col("credit")).alias("credit_amount"),
        from_minor_units(F.col("debit")).alias("debit_amount"),
        "transaction_count",
        F.when(is_own, from_minor_units(F.col("balance") - F.col("moved_since"))).alias("closing_balance"),
        "valid_until",
    )


def _sum_of(direction: str) -> Column:
    return F.try_sum(F.when(F.col("direction") == direction, F.col("amount")).otherwise(0)).alias(direction)


MART = Mart(
    "account_balances_daily",
    "Movements and closing balance of an account, per day on which money moved.",
    ("transactions", "accounts"),
    COLUMNS,
    build,
    key=KEY,
    increment=Slices("account_id", READS),
    totals=(
        Total("sum(transaction_count)", "transactions", "count(CASE WHEN status = 'booked' THEN 1 END)"),
        Total(
            "sum(credit_amount - debit_amount)",
            "transactions",
            "sum(CASE WHEN status = 'booked' THEN signed_amount END)",
        ),
        Total(
            "max(balance_date)",
            "transactions",
            "max(CASE WHEN status = 'booked' THEN coalesce(booking_date, transaction_date) END)",
        ),
    ),
    cluster_by=("balance_date",),
    is_large=True,
)
