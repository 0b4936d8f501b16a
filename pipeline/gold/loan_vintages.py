"""How loans of one month of origination have fared since: vintage curves.

Grain: one row per vintage (month in which the loans were paid out), product, currency and months on book.
Months on book are calendar months since the vintage's; there is a row for each one up to the present.
Units: amounts are what was lent, in ``currency``; rates are fractions of that.

A loan is delinquent from the first day at whose end an instalment was more than 30 days past due, and
defaulted from the first at whose end one was more than 90 (Regulation (EU) No 575/2013, Article 178), as
loan_portfolio and loan_default_features have it: who pays on the 91st day has not defaulted. A status of
``defaulted`` alone does not count here. Both are for good: a loan that recovers stays in the curve, so that
no curve falls: what is counted is "ever", not "now". The month of ``as_of_date`` is not over, so what it
shows may still rise.

``as_of_date`` is the loans' own clock, as in loan_portfolio.
Sources: silver.loans, silver.payments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F  # noqa: N812

from pipeline.gold.loan_portfolio import FRESH, NON_PERFORMING_AFTER_DAYS, RISKIER_AFTER_DAYS, newest_day
from pipeline.gold.mart import Mart, Total
from pipeline.tables import TableColumn

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

COHORT = ("vintage", "product", "currency")
KEY = (*COHORT, "months_on_book")
AFTER_DAYS = {"delinquent_30": RISKIER_AFTER_DAYS, "defaulted": NON_PERFORMING_AFTER_DAYS}
COLUMNS = (
    TableColumn("vintage", "date", "First day of the month in which the loans were paid out."),
    TableColumn("product", "string", "Kind of loan."),
    TableColumn("currency", "string", "Currency of the amounts, ISO 4217."),
    TableColumn("months_on_book", "int", "Calendar months since the vintage's, from 0."),
    TableColumn("as_of_date", "date", "Day to which payments are known."),
    TableColumn("loan_count", "bigint", "Loans of the vintage."),
    TableColumn("originated_amount", "decimal(28,2)", "What was lent, in currency."),
    TableColumn("delinquent_30_count", "bigint", "Loans that were ever more than 30 days past due by then."),
    TableColumn("delinquent_30_amount", "decimal(28,2)", "What was lent to these, in currency."),
    TableColumn("defaulted_count", "bigint", "Loans that were ever more than 90 days past due by then."),
    TableColumn("defaulted_amount", "decimal(28,2)", "What was lent to these, in currency."),
    TableColumn("delinquency_rate", "decimal(9,6)", "delinquent_30_amount / originated_amount."),
    TableColumn("default_rate", "decimal(9,6)", "defaulted_amount / originated_amount."),
)


def build(silver: dict[str, DataFrame]) -> DataFrame:
    """Find the month on book in which each loan first fell behind, and add up from there."""
    as_of = newest_day(silver["loans"], silver["payments"])
    vintage = F.trunc("start_date", "month").alias("vintage")
    loans = silver["loans"].select("loan_id", vintage, "product", "currency", "principal")
    first_days = (
        silver["payments"]
        .select("loan_id", "due_date", "shortfall", "days_late")
        .crossJoin(F.broadcast(as_of))
        .groupBy("loan_id")
        .agg(*[F.min(_first_day(days)).alias(name) for name, days in AFTER_DAYS.items()])
    )
    aged = loans.join(first_days, "loan_id", "left")
    cohorts = aged.groupBy(*COHORT).agg(
        F.count("*").alias("loan_count"), F.sum("principal").alias("originated_amount")
    )
    month = F.explode(F.sequence(F.lit(0), F.greatest(F.lit(0), _months("as_of_date"))))
    curve = cohorts.crossJoin(F.broadcast(as_of)).withColumn("months_on_book", month)
    for name in AFTER_DAYS:
        fell = (
            aged.where(F.col(name).isNotNull())
            .withColumn("months_on_book", F.greatest(F.lit(0), _months(name)))
            .groupBy(*KEY)
            .agg(F.count("*").alias(f"{name}_new"), F.sum("principal").alias(f"{name}_new_amount"))
        )
        curve = curve.join(fell, list(KEY), "left")
    so_far = Window.partitionBy(*COHORT).orderBy("months_on_book").rowsBetween(Window.unboundedPreceding, 0)
    added: dict[str, Column] = {}
    for name in AFTER_DAYS:
        added[f"{name}_count"] = F.coalesce(F.sum(f"{name}_new").over(so_far), F.lit(0))
        added[f"{name}_amount"] = F.coalesce(F.sum(f"{name}_new_amount").over(so_far), F.lit(0))
    lent = F.col("originated_amount")
    return curve.withColumns(added).withColumns(
        {
            "delinquency_rate": F.when(lent != 0, F.col("delinquent_30_amount") / lent),
            "default_rate": F.when(lent != 0, F.col("defaulted_amount") / lent),
        }
    )


def _first_day(days: int) -> Column:
    """First day at whose end an instalment was past due by more than so many days, if that has come."""
    day = F.date_add("due_date", days + 1)
    was_late = (F.col("shortfall") > 0) | (F.col("days_late") > days + 1)  # who pays on that day is not
    return F.when(was_late & (day <= F.col("as_of_date")), day)


def _months(day: str) -> Column:
    """Calendar months from the vintage's month to that of a day."""
    return F.months_between(F.trunc(day, "month"), "vintage").cast("int")


MART = Mart(
    "loan_vintages",
    "Delinquency and default of loans by month of origination and months on book.",
    ("loans", "payments"),
    COLUMNS,
    build,
    key=KEY,
    totals=(
        FRESH,
        Total("sum(CASE WHEN months_on_book = 0 THEN loan_count END)", "loans", "count(*)"),
        Total("sum(CASE WHEN months_on_book = 0 THEN originated_amount END)", "loans", "sum(principal)"),
    ),
)
