"""How instalments are paid.

Grain: one row per month in which instalments fall due, product and branch of the loan, and currency.
Units: amounts in ``currency``; rates are fractions, null where nothing has fallen due.

An instalment has fallen due when its due date is not after ``as_of_date``, whatever its status says: the
source may not have touched it since. ``as_of_date`` is the loans' own clock, as in loan_portfolio, and means
the end of that day. Whether one is paid goes by its amounts. One that is paid in full counts by
``days_late``, its days from due date to last payment: on time, 1 to 30, 31 to 90, over 90. The limits are
those of IFRS 9, 5.5.11 (30 days past due), and of Regulation (EU) No 575/2013, Article 178 (90). Of one that
is not paid in full, ``partial`` says that something was paid, ``missed`` that nothing was. Instalments that
have not fallen due yet are ``scheduled``, those paid in advance too; months of these alone are in the future,
and no figure counts them.
Sources: silver.payments, silver.loans (for product and branch).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from pipeline.gold.increments import Clock, Lookup, Sums
from pipeline.gold.loan_portfolio import FRESH
from pipeline.gold.mart import Mart, Total
from pipeline.tables import TableColumn

if TYPE_CHECKING:
    from datetime import date

    from pyspark.sql import Column, DataFrame

KEY = ("due_month", "product", "branch_code", "currency")
COLUMNS = (
    TableColumn("due_month", "date", "First day of the month in which the instalments fall due."),
    TableColumn("product", "string", "Kind of loan."),
    TableColumn("branch_code", "string", "Branch that granted the loan."),
    TableColumn("currency", "string", "Currency of the amounts, ISO 4217."),
    TableColumn("as_of_date", "date", "Day to whose end instalments have fallen due."),
    TableColumn("instalment_count", "bigint", "Instalments that have fallen due."),
    TableColumn("on_time_count", "bigint", "Due, and paid in full by the due date."),
    TableColumn("late_1_30_count", "bigint", "Due, and paid in full, 1 to 30 days late."),
    TableColumn("late_31_90_count", "bigint", "Due, and paid in full, 31 to 90 days late."),
    TableColumn("late_over_90_count", "bigint", "Due, and paid in full, more than 90 days late."),
    TableColumn("partial_count", "bigint", "Due, and paid in part."),
    TableColumn("missed_count", "bigint", "Due, and nothing paid."),
    TableColumn("scheduled_count", "bigint", "Instalments that have not fallen due yet."),
    TableColumn("amount_due", "decimal(28,2)", "Due of the instalments that have fallen due, in currency."),
    TableColumn("amount_paid", "decimal(28,2)", "Paid of these, in currency."),
    TableColumn("shortfall", "decimal(28,2)", "Due and not paid of these, in currency."),
    TableColumn("late_fees", "decimal(28,2)", "Fees for paying late, in currency."),
    TableColumn(
        "scheduled_amount", "decimal(28,2)", "Amount of the instalments that have not fallen due yet."
    ),
    TableColumn("prepaid_amount", "decimal(28,2)", "Paid of these in advance, in currency."),
    TableColumn("on_time_rate", "decimal(9,6)", "on_time_count / instalment_count."),
    TableColumn("collection_rate", "decimal(9,6)", "amount_paid / amount_due."),
)


CLOCK = Clock(
    {
        "newest_loan": ("loans", "CAST(max(updated_at) AS date)"),
        "newest_payment": ("payments", "CAST(max(updated_at) AS date)"),
    },
    lambda values: max((day for day in values.values() if day is not None), default=None),
)


def as_of() -> Column:
    """The newest day of the clock."""
    return F.greatest(*CLOCK.reads)


def turned(before: date | None, after: date | None) -> Column:
    """Instalments that have fallen due between two days; or that have not, if the later one came first."""
    if before is None or after is None:  # without a day they are neither due nor scheduled
        return F.lit(True)
    days = [F.lit(day).cast("date") for day in (before, after)]
    return F.col("due_date").between(F.date_add(F.least(*days), 1), F.greatest(*days))


def keys() -> dict[str, Column]:
    """The grain."""
    return {"due_month": F.trunc("due_date", "month")} | {name: F.col(name) for name in KEY[1:]}


def measures() -> dict[str, Column]:
    """What an instalment adds."""
    late, owes = F.coalesce("days_late", F.lit(0)), F.col("shortfall") > 0
    is_due = F.col("due_date") <= as_of()
    is_paid, is_open = is_due & ~owes, is_due & owes
    has_paid = F.col("amount_paid") > 0

    def one_if(condition: Column) -> Column:
        return F.when(condition, 1).otherwise(0)

    def if_due(amount: str) -> Column:
        return F.when(is_due, F.col(amount)).otherwise(0)

    return {
        "instalment_count": one_if(is_due),
        "on_time_count": one_if(is_paid & (late <= 0)),
        "late_1_30_count": one_if(is_paid & late.between(1, 30)),
        "late_31_90_count": one_if(is_paid & late.between(31, 90)),
        "late_over_90_count": one_if(is_paid & (late > 90)),
        "partial_count": one_if(is_open & has_paid),
        "missed_count": one_if(is_open & ~has_paid),
        "scheduled_count": one_if(~is_due),
        "amount_due": if_due("amount_due"),
        "amount_paid": if_due("amount_paid"),
        "shortfall": if_due("shortfall"),
        "late_fees": F.col("late_fee"),
        "scheduled_amount": F.when(~is_due, F.col("amount_due")).otherwise(0),
        "prepaid_amount": F.when(~is_due, F.col("amount_paid")).otherwise(0),
    }


def derived() -> dict[str, Column]:
    """What follows from the sums."""
    due, count = F.col("amount_due"), F.col("instalment_count")
    return {
        "as_of_date": as_of(),
        "on_time_rate": F.when(count != 0, F.col("on_time_count") / count),
        "collection_rate": F.when(due != 0, F.col("amount_paid") / due),
    }


SUMS = Sums(
    fact="payments",
    reads=(
        "loan_id",
        "due_date",
        "currency",
        "days_late",
        "amount_due",
        "amount_paid",
        "shortfall",
        "late_fee",
    ),
    keys=keys,
    measures=measures,
    counted=("instalment_count", "scheduled_count"),
    derived=derived,
    lookup=Lookup("loans", "loan_id", ("product", "branch_code")),
    clock=CLOCK,
    turned=turned,
)


def build(silver: dict[str, DataFrame]) -> DataFrame:
    """Aggregate instalments by the month in which they fall due, product, branch and currency."""
    return SUMS.build(silver, COLUMNS)


MART = Mart(
    "payment_performance",
    "How instalments are paid, per month due, product, branch and currency.",
    ("payments", "loans"),
    COLUMNS,
    build,
    key=KEY,
    increment=SUMS,
    totals=(
        FRESH,
        Total("sum(instalment_count + scheduled_count)", "payments", "count(*)"),
        Total("sum(amount_due + scheduled_amount)", "payments", "sum(amount_due)"),
        Total("sum(amount_paid + prepaid_amount)", "payments", "sum(amount_paid)"),
        Total("sum(late_fees)", "payments", "sum(late_fee)"),
        Total(
            "sum(shortfall)",
            "payments",
            "sum(CASE WHEN p.due_date <= c.as_of_date THEN p.shortfall END)",
            "{payments} AS p CROSS JOIN (SELECT max(as_of_date) AS as_of_date FROM {mart}) AS c",
        ),
        # Each that has fallen due is in one group, and in one only.
        Total(
            "sum(on_time_count + late_1_30_count + late_31_90_count + late_over_90_count + partial_count "
            "+ missed_count - instalment_count)",
            "payments",
            "0 * count(*)",
        ),
    ),
    shown_where="instalment_count",
)
