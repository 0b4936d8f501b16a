"""Signs of fraud and money laundering, by account and day.

Grain: one row per account and day (UTC) on which it has a transaction of any status.
Units: amounts in ``currency``, the account's own; transactions in other currencies are counted but not
summed. Transactions count whatever becomes of them: whether one will fail or be reversed is not known on the
day, and an attempt is a sign as well. Columns that end in ``_<n>d`` look back over the ``n`` days that end
with ``activity_date``, never ahead and at most 30; all others are of the day alone and can be added up.

A sign is a reason to look, not a verdict. The patterns are from the sources below; all numbers, such as how
many within how many days, are assumptions of this mart and stand at the top of the module.

- ``is_structuring``: cash paid in just below the sum above which it has to be reported, several times within
  days. In the United States more than 10,000 dollars are reported (31 CFR 1010.311), and splitting sums to
  evade that is forbidden (1010.314). The sums in other currencies are assumptions, about as much.
- ``is_fan_in``, ``is_fan_out``: many senders to, or receivers from, one account within days, and
  ``is_pass_through``: what comes in goes out again, as on the inner accounts of a cycle or of scatter-gather
  (Altman et al., Realistic Synthetic Financial Transactions for Anti-Money Laundering Models, NeurIPS 2023).
- ``is_card_testing``: many tiny payments online, by which stolen card numbers are tried: what Visa calls
  account testing (Anti-Enumeration and Account Testing Best Practices for Merchants).
- ``is_account_takeover``: several transfers out in one night, while the holder sleeps: a rule of thumb for
  accounts that somebody else has got into (European Payments Council, Payment Threats and Fraud Trends
  Report, on phishing and malware).
- ``is_velocity``: far more transactions than on the account's own days before (FFIEC, BSA/AML Examination
  Manual, appendix F, red flags: transfers that show unusual patterns, and sudden changes). The mean is over
  the days on which the account was open, of the 29 before: a new one has had fewer, and on its first day
  nothing is usual yet. Days from before the data begins count as days without transactions.

Money is added up as whole cents.
Sources: silver.transactions, silver.accounts (for the currency and the day on which it was opened).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F  # noqa: N812

from pipeline.gold.increments import Lookup, Windows
from pipeline.gold.mart import Mart, Total
from pipeline.gold.money import from_minor_units, minor_units
from pipeline.tables import TableColumn

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

REPORTED_ABOVE = {"EUR": 10_000, "USD": 10_000, "GBP": 8_300, "CHF": 9_400, "PLN": 43_000}
"""Cash above which a deposit has to be reported, by currency: 10,000 dollars, and about as much."""
REPORTED_ABOVE_ELSEWHERE = 10_000
JUST_BELOW = 80
"""Percent of that sum from which a deposit is just below it."""
SMALL = 10
"""Online card payments up to this amount may be trials."""
NIGHT_ENDS = 5
"""Hour (UTC) at which the night that began at midnight ends."""

STRUCTURED_DEPOSITS, FANNED, TRIALS, NIGHT_TRANSFERS, BURST, TIMES_USUAL = 3, 5, 5, 3, 5, 4
PASSED_FROM, PASSED_AT_LEAST, PASSED_AT_MOST = 500, 90, 110

MONEY = "decimal(28,2)"
WIDE = "decimal(22,0)"

COLUMNS = (
    TableColumn("account_id", "string", "Account."),
    TableColumn("activity_date", "date", "Day (UTC) with a transaction."),
    TableColumn("activity_month", "date", "First day of its month, by which files are divided."),
    TableColumn("currency", "string", "The account's currency, ISO 4217."),
    TableColumn("transaction_count", "bigint", "Transactions of any status."),
    TableColumn("credit_amount", "decimal(28,2)", "Credits of any status, in currency."),
    TableColumn("debit_amount", "decimal(28,2)", "Debits of any status, in currency, positive."),
    TableColumn("transfer_in_amount", "decimal(28,2)", "Incoming transfers, in currency."),
    TableColumn("transfer_out_amount", "decimal(28,2)", "Outgoing transfers, in currency, positive."),
    TableColumn("near_threshold_cash_count", "bigint", "Cash deposits just below what has to be reported."),
    TableColumn("small_online_card_count", "bigint", f"Card payments online of at most {SMALL} in currency."),
    TableColumn("largest_online_card_amount", "decimal(28,2)", "Largest card payment online, in currency."),
    TableColumn(
        "night_transfer_out_count", "bigint", f"Transfers out from midnight to {NIGHT_ENDS} o'clock UTC."
    ),
    TableColumn("night_transfer_out_amount", "decimal(28,2)", "Their sum, in currency, positive."),
    TableColumn("transaction_count_7d", "bigint", "Transactions of the 7 days to activity_date."),
    TableColumn("transaction_count_30d", "bigint", "Transactions of the 30 days to activity_date."),
    TableColumn("days_open_before", "int", "Days of the 29 before on which the account was open."),
    TableColumn("near_threshold_cash_count_10d", "bigint", "near_threshold_cash_count of 10 days."),
    TableColumn("sender_count_3d", "bigint", "Different senders of transfers in 3 days."),
    TableColumn("receiver_count_3d", "bigint", "Different receivers of transfers in 3 days."),
    TableColumn("transfer_in_amount_7d", "decimal(28,2)", "Incoming transfers of 7 days, in currency."),
    TableColumn("transfer_out_amount_7d", "decimal(28,2)", "Outgoing transfers of 7 days, in currency."),
    TableColumn("small_online_card_count_2d", "bigint", "small_online_card_count of 2 days."),
    TableColumn(
        "is_structuring",
        "boolean",
        f"At least {STRUCTURED_DEPOSITS} deposits just below the threshold in 10 days.",
    ),
    TableColumn("is_fan_in", "boolean", f"At least {FANNED} senders in 3 days."),
    TableColumn("is_fan_out", "boolean", f"At least {FANNED} receivers in 3 days."),
    TableColumn(
        "is_pass_through",
        "boolean",
        f"Of at least {PASSED_FROM} transferred in within 7 days, 90 % to 110 % went out again.",
    ),
    TableColumn("is_card_testing", "boolean", f"At least {TRIALS} small card payments online in 2 days."),
    TableColumn("is_account_takeover", "boolean", f"At least {NIGHT_TRANSFERS} transfers out in the night."),
    TableColumn(
        "is_velocity",
        "boolean",
        f"At least {BURST} transactions, and over {TIMES_USUAL} times the daily mean of days_open_before.",
    ),
    TableColumn("signal_count", "int", "How many of the signs are there."),
)
LOOKS_BACK = 29
"""Days before a day that its signals still look at."""
READS = (
    "account_id",
    "transaction_date",
    "transaction_at",
    "transaction_type",
    "channel",
    "direction",
    "amount",
    "currency",
    "counterparty_iban",
)
SIGNALS = tuple(column.name for column in COLUMNS if column.name.startswith("is_"))


def build(silver: dict[str, DataFrame]) -> DataFrame:
    """Aggregate transactions by account and day, and look back from each day.

    Rows move once, to where their account is; aggregation, windows and the join with accounts all find them
    there.
    """
    own = silver["accounts"].select("account_id", F.col("currency").alias("own_currency"), "opened_date")
    moves = (
        silver["transactions"]
        .select(
            "account_id",
            F.col("transaction_date").alias("activity_date"),
            F.hour("transaction_at").alias("hour"),
            "transaction_type",
            "channel",
            "direction",
            "amount",
            F.col("currency").alias("paid_currency"),
            "counterparty_iban",
        )
        .repartition("account_id")
        .join(own, "account_id", "left")
        .withColumn(
            "cents", F.when(F.col("paid_currency") == F.col("own_currency"), minor_units(F.col("amount")))
        )
    )
    by_day = moves.groupBy(
        "account_id", "activity_date", F.col("own_currency").alias("currency"), "opened_date"
    ).agg(*_of_the_day())
    # Of an account that nobody knows, all days count.
    open_before = F.coalesce(F.datediff("activity_date", "opened_date"), F.lit(LOOKS_BACK))
    by_day = by_day.withColumns(
        {
            "activity_month": F.trunc("activity_date", "month"),
            "days_open_before": F.least(F.greatest(open_before, F.lit(0)), F.lit(LOOKS_BACK)),
        }
    )
    return _signals(by_day.withColumns(_looking_back())).select(
        *[
            from_minor_units(F.col(column.name)).alias(column.name) if column.type == MONEY else column.name
            for column in COLUMNS
        ]
    )


def _of_the_day() -> list[Column]:
    kind, cents = F.col("transaction_type"), F.col("cents")
    into, out = kind == "transfer_in", kind == "transfer_out"
    card_online = (kind == "card_payment") & (F.col("channel") == "online")
    by_night = out & (F.col("hour") < NIGHT_ENDS)
    threshold = F.lit(REPORTED_ABOVE_ELSEWHERE)
    for currency, sum_ in REPORTED_ABOVE.items():
        threshold = F.when(F.col("own_currency") == currency, F.lit(sum_)).otherwise(threshold)
    just_below = (cents <= 100 * threshold) & (cents >= JUST_BELOW * threshold)
    return [
        F.count("*").alias("transaction_count"),
        _sum(F.col("direction") == "credit").alias("credit_amount"),
        _sum(F.col("direction") == "debit").alias("debit_amount"),
        _sum(into).alias("transfer_in_amount"),
        _sum(out).alias("transfer_out_amount"),
        _count((kind == "cash_deposit") & just_below).alias("near_threshold_cash_count"),
        _count(card_online & (cents <= 100 * SMALL)).alias("small_online_card_count"),
        F.coalesce(F.max(F.when(card_online, cents)), F.lit(0)).alias("largest_online_card_amount"),
        _count(by_night).alias("night_transfer_out_count"),
        _sum(by_night).alias("night_transfer_out_amount"),
        F.collect_set(F.when(into, F.col("counterparty_iban"))).alias("_senders"),
        F.collect_set(F.when(out, F.col("counterparty_iban"))).alias("_receivers"),
    ]


def _looking_back() -> dict[str, Column]:
    in_time = Window.partitionBy("account_id").orderBy(
        F.datediff("activity_date", F.lit("1970-01-01").cast("date"))
    )

    def over(column: Column, days: int) -> Column:
        return column.over(in_time.rangeBetween(1 - days, 0))

    def distinct(names: str, days: int) -> Column:
        met = over(F.collect_list(names), days)
        return F.size(F.array_distinct(F.flatten(met))).cast("bigint")

    return {
        "transaction_count_7d": over(F.sum("transaction_count"), 7),
        "transaction_count_30d": over(F.sum("transaction_count"), 30),
        "near_threshold_cash_count_10d": over(F.sum("near_threshold_cash_count"), 10),
        "sender_count_3d": distinct("_senders", 3),
        "receiver_count_3d": distinct("_receivers", 3),
        "transfer_in_amount_7d": over(F.try_sum("transfer_in_amount"), 7),
        "transfer_out_amount_7d": over(F.try_sum("transfer_out_amount"), 7),
        "small_online_card_count_2d": over(F.sum("small_online_card_count"), 2),
    }


def _signals(days: DataFrame) -> DataFrame:
    col = F.col
    came, went = (col(f"transfer_{way}_amount_7d").cast(WIDE) for way in ("in", "out"))
    before = col("transaction_count_30d") - col("transaction_count")
    found = {
        "is_structuring": col("near_threshold_cash_count_10d") >= STRUCTURED_DEPOSITS,
        "is_fan_in": col("sender_count_3d") >= FANNED,
        "is_fan_out": col("receiver_count_3d") >= FANNED,
        "is_pass_through": (came >= 100 * PASSED_FROM)
        & (100 * went.cast(WIDE)).between(
            PASSED_AT_LEAST * came.cast(WIDE), PASSED_AT_MOST * came.cast(WIDE)
        ),
        "is_card_testing": col("small_online_card_count_2d") >= TRIALS,
        "is_account_takeover": col("night_transfer_out_count") >= NIGHT_TRANSFERS,
        "is_velocity": (col("transaction_count") >= BURST)
        & (col("days_open_before") * col("transaction_count") > TIMES_USUAL * before),
    }
    signed = days.withColumns(found)
    count = F.lit(0)
    for name in SIGNALS:
        count = count + col(name).cast("int")
    return signed.withColumn("signal_count", count)


def _sum(condition: Column) -> Column:
    return F.try_sum(F.coalesce(F.when(condition, F.col("cents")), F.lit(0)))


def _count(condition: Column) -> Column:
    return F.count(F.when(condition, 1))


# Of the newest month, which changes most: all of them would take as long as to build the mart.
_NEWEST = (
    "{transactions} AS t JOIN {accounts} AS a ON t.account_id = a.account_id WHERE t.transaction_date >= "
    "(SELECT date_trunc('month', max(transaction_date)) FROM {transactions})"
)
MART = Mart(
    "fraud_signals",
    "Signs of fraud and money laundering, by account and day.",
    ("transactions", "accounts"),
    COLUMNS,
    build,
    key=("account_id", "activity_date"),
    increment=Windows(
        key="account_id",
        day="activity_date",
        month="activity_month",
        fact="transactions",
        fact_day="transaction_date",
        reads=READS,
        looks_back=LOOKS_BACK,
        lookup=Lookup("accounts", "account_id", ("currency", "opened_date")),
    ),
    totals=(
        Total("sum(transaction_count)", "transactions", "count(*)"),
        Total("max(activity_date)", "transactions", "max(transaction_date)"),
        *[
            Total(
                f"sum({direction}_amount)",
                "transactions",
                f"sum(CASE WHEN t.currency = a.currency AND t.direction = '{direction}' THEN t.amount END)",
                _NEWEST,
                "activity_month = (SELECT max(activity_month) FROM {mart})",
            )
            for direction in ("credit", "debit")
        ],
        *[
            Total(
                f"sum({way}_amount)",
                "transactions",
                f"sum(CASE WHEN t.currency = a.currency AND t.transaction_type = '{way}' THEN t.amount END)",
                _NEWEST,
                "activity_month = (SELECT max(activity_month) FROM {mart})",
            )
            for way in ("transfer_in", "transfer_out")
        ],
    ),
    # New rows reach this month and perhaps the next one; the mart has as many rows as there are account days.
    partition_by=("activity_month",),
    cluster_by=("activity_date",),
    is_large=True,
)
