"""What was known of a performing loan at the end of a quarter, and whether it defaulted within a year.

Grain: one row per loan and quarter's end (``observation_date``) on which the loan was performing.
Units: amounts in ``currency``, the loan's; ratios are fractions, null where there is nothing to divide by.

A loan is in default while an instalment is unpaid more than 90 days after it was due (definition of default
of Regulation (EU) No 575/2013, Article 178). It is performing on a day when something is owed, and it was
not in default on that day nor on the 90 days before (EBA/GL/2016/07 has a defaulted one return to performing
after three months at the earliest).

Label: ``default_within_12_months`` says whether the loan came into default in the 12 months after
``observation_date``. It is null while these are not over by the data's own clock, the day of the newest
version in loans and payments.

Point in time: no feature knows what came after ``observation_date``. An instalment counts as paid only from
its paid_date on; an amount that is paid twice over time is known with its last date alone, so before it
counts as unpaid. Terms of a loan (product, borrower, principal, rate, term, collateral ...) are those of the
version in silver.loans_history that held at the end of that day: to restate them later changes nothing. Of
days before the first version that the lake knows, that one counts, for a loan that was loaded years after it
began had terms before. Status and outstanding principal are not used: the principal follows from the
instalments paid by then. The customer is the version in silver.customers_history that held at the end of
that day; where the bank knew none, its columns are null.
Sources: silver.loans (which there are), silver.loans_history, silver.payments, silver.customers_history.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F  # noqa: N812

from pipeline.gold.customer_features import OF_CUSTOMER, held_at_end_of, known_versions
from pipeline.gold.increments import Clock, Slices, Table
from pipeline.gold.mart import Mart, Total
from pipeline.tables import TableColumn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pyspark.sql import Column, DataFrame

DEFAULT_AFTER_DAYS = 90
PROBATION_DAYS = 90
HORIZON_MONTHS = 12

COLUMNS = (
    TableColumn("loan_id", "string", "Loan."),
    TableColumn("observation_date", "date", "Last day of a quarter; no feature knows anything later."),
    TableColumn("customer_id", "string", "Borrower."),
    TableColumn("product", "string", "Kind of loan."),
    TableColumn("repayment_type", "string", "How principal is paid back."),
    TableColumn("collateral_type", "string", "What secures the loan."),
    TableColumn("currency", "string", "Currency of the loan, ISO 4217."),
    TableColumn("annual_rate", "decimal(9,6)", "Nominal yearly interest rate, as a fraction."),
    TableColumn("term_months", "int", "Agreed term in months."),
    TableColumn("months_on_book", "int", "Whole months since the loan was paid out."),
    TableColumn("months_left", "int", "Whole months to maturity, not below zero."),
    TableColumn("principal", "decimal(18,2)", "Amount lent, in currency."),
    TableColumn("outstanding_principal", "decimal(28,2)", "Principal of instalments not paid, in currency."),
    TableColumn("repaid_share", "decimal(9,6)", "Share of the principal that was paid back."),
    TableColumn("loan_to_value", "decimal(18,6)", "outstanding_principal / collateral value."),
    TableColumn(
        "loan_to_income",
        "decimal(18,6)",
        "outstanding_principal / declared yearly income; null in different currencies.",
    ),
    TableColumn("installment_to_income", "decimal(18,6)", "Twelve instalments / declared yearly income."),
    TableColumn("installments_due", "bigint", "Instalments that had fallen due."),
    TableColumn("overdue_installments", "bigint", "Instalments past due."),
    TableColumn("overdue_amount", "decimal(28,2)", "What was missing on them, in currency."),
    TableColumn("days_past_due", "int", "Days since the oldest of them was due; zero when none is."),
    TableColumn("worst_days_past_due_12m", "int", "Most days past due of the instalments of 12 months."),
    TableColumn("worst_days_past_due", "int", "Most days past due of all instalments so far."),
    TableColumn("late_installments_12m", "bigint", "Instalments of 12 months that were not paid in time."),
    TableColumn("has_repaid_extra", "boolean", "Paid an instalment over twice as large as another one."),
    TableColumn("segment", "string", "Commercial segment of the borrower."),
    TableColumn("country", "string", "Borrower's country of residence, ISO 3166-1 alpha-2."),
    TableColumn("kyc_status", "string", "State of the borrower's know-your-customer check."),
    TableColumn("credit_score", "int", "Borrower's credit score on the FICO scale."),
    TableColumn("credit_band", "string", "FICO's name for the range of the credit score."),
    TableColumn(
        "annual_income", "decimal(18,2)", "Borrower's declared yearly income, in the customer's currency."
    ),
    TableColumn("tenure_days", "int", "Days since the borrower became a customer."),
    TableColumn(
        "default_within_12_months", "boolean", "Label: came into default within 12 months; null while open."
    ),
)
KEY = ("loan_id", "observation_date")


def last_quarters_end(values: Mapping[str, date | None]) -> date | None:
    """The last quarter's end that is over, which all rows depend on: with each, labels become known."""
    days = [day for day in values.values() if day is not None]
    if not days:
        return None
    tomorrow = max(days) + timedelta(days=1)
    return tomorrow.replace(month=3 * ((tomorrow.month - 1) // 3) + 1, day=1) - timedelta(days=1)


CLOCK = Clock(
    {
        "newest_loan": ("loans", "CAST(max(updated_at) AS date)"),
        "newest_payment": ("payments", "CAST(max(updated_at) AS date)"),
    },
    last_quarters_end,
)
TERMS = (
    "loan_id",
    "customer_id",
    "product",
    "repayment_type",
    "collateral_type",
    "collateral_value",
    "currency",
    "annual_rate",
    "term_months",
    "principal",
    "start_date",
    "maturity_date",
    "monthly_installment",
)
READS = {
    "loans": ("loan_id",),
    "loans_history": (*TERMS, "valid_from"),
    "payments": ("loan_id", "due_date", "paid_date", "amount_due", "amount_paid", "principal_due"),
    "customers_history": (*OF_CUSTOMER, "credit_band"),
}


def seen(name: str, rows: DataFrame, last: date | None) -> DataFrame:
    """Rows of an input as far as they can be known on the last quarter's end, labels included."""
    if last is None:
        return rows.where("false")
    end = F.lit(last).cast("date")
    if name == "customers_history":
        return known_versions(rows, end)
    if name == "loans":
        return rows
    if name == "loans_history":
        return rows.where("NOT is_deleted")
    is_paid = F.col("paid_date") <= end
    return rows.where((F.col("due_date") <= end) | is_paid).withColumns(
        {column: F.when(is_paid, F.col(column)) for column in ("paid_date", "amount_paid")}
    )


def matters(name: str, rows: DataFrame, after: Table, last: date | None) -> DataFrame:
    """Changed rows without those of loans that begin later, and without later versions of known terms."""
    if not name.startswith("loans"):
        return rows
    end = F.lit(last).cast("date")
    versions = after("loans_history").where("NOT is_deleted")
    has_begun = F.col("start_date") <= end
    begun = versions.where(has_begun).select("loan_id")
    if name == "loans":
        return rows.join(begun, "loan_id", "left_semi")
    is_known = F.col("valid_from") < F.date_add(end, 1).cast("timestamp")
    # The first version counts even if it is a later one.
    first = rows.where(~is_known).join(versions.where(is_known).select("loan_id"), "loan_id", "left_anti")
    others = first.where(~has_begun).join(begun, "loan_id", "left_semi")
    return rows.where(is_known).unionByName(first.where(has_begun)).unionByName(others)


def build(silver: dict[str, DataFrame]) -> DataFrame:
    """Look at each loan on each quarter's end; its payments meet it once, by its key."""
    return build_by(silver, CLOCK.row(silver))


def build_by(silver: dict[str, DataFrame], clock: DataFrame) -> DataFrame:
    """The mart of some loans or all; ``clock`` is one row with the newest days of loans and payments."""
    observed = _observations(silver, clock)
    payments = silver["payments"].select(*READS["payments"])
    paid = observed.select(*KEY, "clock").join(payments, "loan_id", "left").groupBy(*KEY).agg(*_of_payments())
    customers = (
        silver["customers_history"]
        .where("NOT is_deleted")
        .select(*READS["customers_history"])
        .withColumnRenamed("currency", "customer_currency")
    )
    of_customer = (
        observed.select(*KEY, "customer_id")
        .join(customers, "customer_id")
        .where(held_at_end_of("observation_date"))
    )
    performing = paid.where("NOT was_in_default").join(observed.select(*TERMS, KEY[1]), list(KEY))
    known = performing.join(of_customer.drop("customer_id"), list(KEY), "left")
    return _features(known).where("outstanding_principal > 0").select(*[column.name for column in COLUMNS])


def _observations(silver: dict[str, DataFrame], clock: DataFrame) -> DataFrame:
    """Loans and the quarter's ends from payout to the data's clock, with the terms that held then."""
    newest = clock.select(F.greatest("newest_loan", "newest_payment").alias("clock"))
    quarters = F.explode(
        F.expr("sequence(trunc(start_date, 'quarter'), trunc(clock, 'quarter'), interval 3 months)")
    )
    next_day = F.date_add("observation_date", 1).cast("timestamp")
    has_begun = F.col("held_from").isNull() | (F.col("held_from") < next_day)
    has_not_ended = F.col("held_to").isNull() | (F.col("held_to") >= next_day)
    return (
        _terms(silver)
        .crossJoin(F.broadcast(newest))
        .where("start_date <= clock")
        .select(*TERMS, "held_from", "held_to", "clock", quarters.alias("quarter"))
        .withColumn("observation_date", F.date_sub(F.add_months("quarter", 3), 1))
        .where("observation_date BETWEEN start_date AND clock")
        .where(has_begun & has_not_ended)
        .select(*TERMS, "clock", "observation_date")
    )


def _terms(silver: dict[str, DataFrame]) -> DataFrame:
    """Terms of loans and when they held; ``held_from`` of the first and ``held_to`` of the last are null."""
    in_time = Window.partitionBy("loan_id").orderBy("valid_from")
    terms = F.struct(*TERMS)
    # Most versions of a loan differ in what is owed alone.
    changed = (
        silver["loans_history"]
        .where("NOT is_deleted")
        .select(*TERMS, "valid_from", F.lag(terms).over(in_time).alias("before"))
        .where(~F.col("before").eqNullSafe(terms))
    )
    held_from = F.when(F.col("before").isNotNull(), F.col("valid_from"))
    held = changed.select(
        *TERMS, held_from.alias("held_from"), F.lead("valid_from").over(in_time).alias("held_to")
    )
    return held.join(silver["loans"].select("loan_id"), "loan_id", "left_semi")


def _of_payments() -> list[Column]:
    """What is known of the instalments of a loan on a day, and the label, which alone looks ahead."""
    day = F.col("observation_date")
    due, paid = F.col("due_date"), F.col("paid_date")
    in_full = (F.col("amount_paid") >= F.col("amount_due")) & paid.isNotNull()
    is_paid = in_full & (paid <= day)
    fallen_due, past_due = due <= day, (due < day) & ~is_paid
    recent = fallen_due & (due > F.add_months(day, -12))
    in_default_from = F.date_add(due, DEFAULT_AFTER_DAYS + 1)
    part = F.when(paid <= day, F.col("amount_paid")).otherwise(0)
    late = F.greatest(F.datediff(F.when(is_paid, paid).otherwise(day), due), F.lit(0))
    was_in_default = (in_default_from <= day) & ~(
        in_full & (paid <= F.greatest(in_default_from, F.date_sub(day, PROBATION_DAYS)))
    )
    horizon = F.add_months(day, HORIZON_MONTHS)
    defaults = (in_default_from > day) & (in_default_from <= horizon) & ~(in_full & (paid <= in_default_from))

    def ever(condition: Column) -> Column:
        return F.coalesce(F.bool_or(condition), F.lit(False))

    def count(condition: Column) -> Column:
        return F.count(F.when(condition, 1))

    def most(value: Column, condition: Column) -> Column:
        return F.coalesce(F.max(F.when(condition, value)), F.lit(0))

    amount = F.when(is_paid & fallen_due, F.col("amount_due"))
    return [
        F.coalesce(F.sum(F.when(is_paid, F.col("principal_due"))), F.lit(0)).alias("repaid"),
        count(fallen_due).alias("installments_due"),
        count(past_due).alias("overdue_installments"),
        F.coalesce(F.sum(F.when(past_due, F.col("amount_due") - part)), F.lit(0)).alias("overdue_amount"),
        most(F.datediff(day, due), past_due).alias("days_past_due"),
        most(late, recent).alias("worst_days_past_due_12m"),
        most(late, fallen_due).alias("worst_days_past_due"),
        count(recent & (late > 0)).alias("late_installments_12m"),
        F.coalesce(F.max(amount) > 2 * F.min(amount), F.lit(False)).alias("has_repaid_extra"),
        ever(was_in_default).alias("was_in_default"),
        F.when(horizon <= F.max("clock"), ever(defaults)).alias("default_within_12_months"),
    ]


def _features(known: DataFrame) -> DataFrame:
    col = F.col
    left = col("principal") - col("repaid")
    same_currency = col("currency") == col("customer_currency")
    return known.withColumns(
        {
            "months_on_book": _months("start_date", "observation_date"),
            "months_left": F.greatest(_months("observation_date", "maturity_date"), F.lit(0)),
            "outstanding_principal": left,
            "repaid_share": F.expr("repaid / nullif(principal, 0)"),
            "loan_to_value": F.expr(
                "try_cast((principal - repaid) / nullif(collateral_value, 0) AS decimal(18,6))"
            ),
            "loan_to_income": F.when(
                same_currency,
                F.expr("try_cast((principal - repaid) / nullif(annual_income, 0) AS decimal(18,6))"),
            ),
            "installment_to_income": F.when(
                same_currency,
                F.expr("try_cast(12 * monthly_installment / nullif(annual_income, 0) AS decimal(18,6))"),
            ),
            "tenure_days": F.datediff("observation_date", "onboarding_date"),
        }
    )


def _months(first: str, last: str) -> Column:
    """Whole months between two days."""
    months = 12 * (F.year(last) - F.year(first)) + F.month(last) - F.month(first)
    return months - F.when(F.dayofmonth(last) < F.dayofmonth(first), 1).otherwise(0)


_NEWEST = "observation_date = (SELECT max(observation_date) FROM {mart})"
_INSTALMENTS = f"{{mart}} AS m JOIN {{payments}} AS p ON p.loan_id = m.loan_id WHERE m.{_NEWEST}"
_KNOWN = "coalesce(p.paid_date <= m.observation_date, false)"
_IN_FULL = f"({_KNOWN} AND p.amount_paid >= p.amount_due)"
MART = Mart(
    "loan_default_features",
    "What was known of a performing loan at the end of a quarter, and whether it defaulted within a year.",
    ("loans", "loans_history", "payments", "customers_history"),
    COLUMNS,
    build,
    key=KEY,
    increment=Slices(
        "loan_id",
        READS,
        via={"customers_history": ("loans_history", "customer_id")},
        build=build_by,
        clock=CLOCK,
        seen=seen,
        matters=matters,
    ),
    totals=(
        # No loan twice on a day: versions of its borrower would overlap.
        Total("count(*) - count(DISTINCT concat(loan_id, ' ', observation_date))", "loans", "0 * count(*)"),
        Total(
            "sum(principal - outstanding_principal)",
            "payments",
            f"sum(CASE WHEN {_IN_FULL} THEN p.principal_due END)",
            _INSTALMENTS,
            _NEWEST,
        ),
        Total(
            "sum(overdue_amount)",
            "payments",
            f"sum(CASE WHEN p.due_date < m.observation_date AND NOT {_IN_FULL} "
            f"THEN p.amount_due - CASE WHEN {_KNOWN} THEN p.amount_paid ELSE 0 END END)",
            _INSTALMENTS,
            _NEWEST,
        ),
        Total(f"count(CASE WHEN days_past_due > {DEFAULT_AFTER_DAYS} THEN 1 END)", "loans", "0 * count(*)"),
    ),
    cluster_by=("observation_date",),
)
