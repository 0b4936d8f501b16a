"""How instalments are paid.

Grain: one row per month in which instalments fall due, product and branch of the loan, and currency.
Units: amounts in ``currency``; rates are fractions, null where nothing has fallen due.

An instalment has fallen due when it is no longer ``scheduled``. One that is paid in full counts by
``days_late``, its days from due date to last payment: on time, 1 to 30, 31 to 90, over 90. The limits are
those of IFRS 9, 5.5.11 (30 days past due), and of Regulation (EU) No 575/2013, Article 178 (90). Of one that
is not paid in full, ``partial`` says that something was paid, ``missed`` that nothing was.
Sources: silver.payments, silver.loans (for product and branch).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from pipeline.gold.increments import Lookup, Sums
from pipeline.gold.mart import Mart, Total
from pipeline.tables import TableColumn

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

KEY = ("due_month", "product", "branch_code", "currency")
COLUMNS = (
    TableColumn("due_month", "date", "First day of the month in which the instalments fall due."),
    TableColumn("product", "string", "Kind of loan."),
    TableColumn("branch_code", "string", "Branch that granted the loan."),
    TableColumn("currency", "string", "Currency of the amounts, ISO 4217."),
    TableColumn("instalment_count", "bigint", "Instalments that have fallen due."),
    TableColumn("on_time_count", "bigint", "Paid in full by the due date."),
    TableColumn("late_1_30_count", "bigint", "Paid in full, 1 to 30 days late."),
    TableColumn("late_31_90_count", "bigint", "Paid in full, 31 to 90 days late."),
    TableColumn("late_over_90_count", "bigint", "Paid in full, more than 90 days late."),
    TableColumn("partial_count", "bigint", "Due, and paid in part."),
    TableColumn("missed_count", "bigint", "Due, and nothing paid."),
    TableColumn("scheduled_count", "bigint", "Instalments that have not fallen due yet."),
    TableColumn("amount_due", "decimal(28,2)", "Due of the instalments that have fallen due, in currency."),
    TableColumn("amount_paid", "decimal(28,2)", "Paid of these, in currency."),
    TableColumn("shortfall", "decimal(28,2)", "Due and not paid of these, in currency."),
    TableColumn("late_fees", "decimal(28,2)", "Fees for paying late of these, in currency."),
    TableColumn(
        "scheduled_amount", "decimal(28,2)", "Amount of the instalments that have not fallen due yet."
    ),
    TableColumn("on_time_rate", "decimal(9,6)", "on_time_count / instalment_count."),
    TableColumn("collection_rate", "decimal(9,6)", "amount_paid / amount_due."),
)


def keys() -> dict[str, Column]:
    """The grain."""
    return {"due_month": F.trunc("due_date", "month")} | {name: F.col(name) for name in KEY[1:]}


def measures() -> dict[str, Column]:
    """What an instalment adds."""
    status, late = F.col("status"), F.coalesce("days_late", F.lit(0))
    is_due, is_paid = status != "scheduled", status == "paid"

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
        "partial_count": one_if(status == "partial"),
        "missed_count": one_if(status == "missed"),
        "scheduled_count": one_if(~is_due),
        "amount_due": if_due("amount_due"),
        "amount_paid": if_due("amount_paid"),
        "shortfall": if_due("shortfall"),
        "late_fees": F.when(is_due, F.coalesce("late_fee", F.lit(0))).otherwise(0),
        "scheduled_amount": F.when(~is_due, F.col("amount_due")).otherwise(0),
    }


def derived() -> dict[str, Column]:
    """What follows from the sums."""
    due, count = F.col("amount_due"), F.col("instalment_count")
    return {
        "on_time_rate": F.when(count != 0, F.col("on_time_count") / count),
        "collection_rate": F.when(due != 0, F.col("amount_paid") / due),
    }


SUMS = Sums(
    fact="payments",
    reads=(
        "loan_id",
        "due_date",
        "currency",
        "status",
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
        Total("sum(instalment_count + scheduled_count)", "payments", "count(*)"),
        Total("sum(amount_due + scheduled_amount)", "payments", "sum(amount_due)"),
        Total("sum(amount_paid)", "payments", "sum(CASE WHEN status <> 'scheduled' THEN amount_paid END)"),
        Total(
            "sum(on_time_count + late_1_30_count + late_31_90_count + late_over_90_count)",
            "payments",
            "count(CASE WHEN status = 'paid' THEN 1 END)",
        ),
    ),
)
