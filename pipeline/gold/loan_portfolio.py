"""The loan book and its delinquency.

Grain: one row per product, branch and currency.
Units: exposures in ``currency``; exposure is the outstanding principal of loans that are not paid
off or written off. Ratios are fractions.

Days past due of a loan: days from the due date of its oldest instalment that is due and not fully
paid to ``as_of_date``. A loan is non-performing when it is more than 90 days past due or has status
``defaulted``: the two conditions of Regulation (EU) No 575/2013, Article 178(1), loan by loan as it allows
for retail, but without its threshold for what is material: any shortfall counts.

Stages are those of IFRS 9, by its presumptions, which a bank may rebut. Stage 3 is credit-impaired:
non-performing (B5.5.37: default no later than 90 days past due). Stage 2 has a significant increase in
credit risk: more than 30 days past due (5.5.11). Restructured loans are put there too, by this mart's choice.
Stage 1 is the rest.

``as_of_date`` is the data's own clock, the day of the newest version in loans and payments, so that
the mart depends on Silver alone.
Sources: silver.loans, silver.payments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from pipeline.gold.mart import Mart, Total
from pipeline.tables import TableColumn

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

NON_PERFORMING_AFTER_DAYS = 90
RISKIER_AFTER_DAYS = 30
WITH_EXPOSURE = ("active", "restructured", "defaulted")
BUCKETS = (
    ("current", 0, 0),
    ("1_30", 1, 30),
    ("31_60", 31, 60),
    ("61_90", 61, 90),
    ("over_90", 91, None),
)

COLUMNS = (
    TableColumn("product", "string", "Kind of loan."),
    TableColumn("branch_code", "string", "Branch that granted the loan."),
    TableColumn("currency", "string", "Currency of the exposures, ISO 4217."),
    TableColumn("as_of_date", "date", "Day that days past due are counted to."),
    TableColumn("loan_count", "bigint", "Loans with exposure."),
    TableColumn("exposure", "decimal(28,2)", "Outstanding principal, in currency."),
    TableColumn("exposure_current", "decimal(28,2)", "Exposure of loans that are not past due."),
    TableColumn("exposure_1_30", "decimal(28,2)", "Exposure 1 to 30 days past due."),
    TableColumn("exposure_31_60", "decimal(28,2)", "Exposure 31 to 60 days past due."),
    TableColumn("exposure_61_90", "decimal(28,2)", "Exposure 61 to 90 days past due."),
    TableColumn("exposure_over_90", "decimal(28,2)", "Exposure more than 90 days past due."),
    TableColumn("exposure_stage_1", "decimal(28,2)", "Exposure in IFRS 9's stage 1."),
    TableColumn("exposure_stage_2", "decimal(28,2)", "Exposure in stage 2: riskier than when it was lent."),
    TableColumn("exposure_stage_3", "decimal(28,2)", "Exposure in stage 3: credit-impaired."),
    TableColumn("non_performing_exposure", "decimal(28,2)", "Exposure of non-performing loans."),
    TableColumn("non_performing_ratio", "decimal(9,6)", "non_performing_exposure / exposure."),
)


def build(silver: dict[str, DataFrame]) -> DataFrame:
    """Aggregate exposure by days past due."""
    loans = silver["loans"].where(F.col("status").isin(*WITH_EXPOSURE))
    payments = silver["payments"]
    as_of = newest_day(silver["loans"], payments)
    overdue = (
        payments.where(F.col("shortfall") > 0)
        .crossJoin(F.broadcast(as_of))
        .where(F.col("due_date") < F.col("as_of_date"))
        .groupBy("loan_id")
        .agg(F.min("due_date").alias("oldest_due_date"))
    )
    aged = (
        loans.select("loan_id", "product", "branch_code", "currency", "status", "outstanding_principal")
        .join(overdue, "loan_id", "left")
        .crossJoin(F.broadcast(as_of))
        .withColumn("days_past_due", F.coalesce(F.datediff("as_of_date", "oldest_due_date"), F.lit(0)))
    )
    riskier = (F.col("days_past_due") > RISKIER_AFTER_DAYS) | (F.col("status") == "restructured")
    non_performing = (F.col("days_past_due") > NON_PERFORMING_AFTER_DAYS) | (F.col("status") == "defaulted")
    exposure = F.sum("outstanding_principal")
    return aged.groupBy("product", "branch_code", "currency", "as_of_date").agg(
        F.count("*").alias("loan_count"),
        exposure.alias("exposure"),
        *[_exposure_where(_between(low, high)).alias(f"exposure_{name}") for name, low, high in BUCKETS],
        _exposure_where(~non_performing & ~riskier).alias("exposure_stage_1"),
        _exposure_where(~non_performing & riskier).alias("exposure_stage_2"),
        _exposure_where(non_performing).alias("exposure_stage_3"),
        _exposure_where(non_performing).alias("non_performing_exposure"),
        F.coalesce(F.when(exposure != 0, _exposure_where(non_performing) / exposure), F.lit(0)).alias(
            "non_performing_ratio"
        ),
    )


def newest_day(loans: DataFrame, payments: DataFrame) -> DataFrame:
    """The loans' own clock: one row with ``as_of_date``, the day of the newest version of any."""
    newest = loans.select("updated_at").unionByName(payments.select("updated_at"))
    return newest.agg(F.to_date(F.max("updated_at")).alias("as_of_date"))


def _between(low: int, high: int | None) -> Column:
    days = F.col("days_past_due")
    return days >= low if high is None else days.between(low, high)


def _exposure_where(condition: Column) -> Column:
    return F.coalesce(F.sum(F.when(condition, F.col("outstanding_principal"))), F.lit(0))


FRESH = Total(
    "max(as_of_date)",
    "payments",
    "CAST(max(CASE WHEN m.n > 0 THEN v.updated_at END) AS date)",
    "(SELECT updated_at FROM {loans} UNION ALL SELECT updated_at FROM {payments}) AS v "
    "CROSS JOIN (SELECT count(*) AS n FROM {mart}) AS m",
)
"""A mart that has rows is as new as loans and payments are."""
_OWED = f"status IN ({', '.join(repr(status) for status in WITH_EXPOSURE)})"
MART = Mart(
    "loan_portfolio",
    "Loan exposure and delinquency per product, branch and currency.",
    ("loans", "payments"),
    COLUMNS,
    build,
    key=("product", "branch_code", "currency"),
    totals=(
        FRESH,
        Total("sum(loan_count)", "loans", f"count(CASE WHEN {_OWED} THEN 1 END)"),
        Total("sum(exposure)", "loans", f"sum(CASE WHEN {_OWED} THEN outstanding_principal END)"),
        *[
            Total(
                f"sum({' + '.join(parts)})", "loans", f"sum(CASE WHEN {_OWED} THEN outstanding_principal END)"
            )
            for parts in (
                [f"exposure_{name}" for name, _, _ in BUCKETS],
                [f"exposure_stage_{stage}" for stage in (1, 2, 3)],
            )
        ],
    ),
)
