"""Polars and delta-rs, one process and no JVM: the same columns, hash and marts.

Two results may differ in the last digit: Polars divides decimals as floating-point numbers here.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl
import polars_hash as plh
from deltalake import DeltaTable

from bench.peers import chosen, serve
from bench.peers.polars_work import newest, polars_type, typed
from contracts import Column, Contract, load_contracts
from pipeline.cleaning import decimal_scale
from pipeline.gold.customer_360 import ACTIVITY_DAYS
from pipeline.gold.loan_portfolio import BUCKETS, NON_PERFORMING_AFTER_DAYS, RISKIER_AFTER_DAYS

C = pl.col
ZERO = pl.lit(0).cast(pl.Decimal(18, 2))
KEPT = ("active", "restructured", "defaulted")


def divided(part: str, whole: str) -> pl.Expr:
    """A ratio with six decimals."""
    return (C(part).cast(pl.Float64) / C(whole).cast(pl.Float64)).round(6)


def derived() -> dict[str, dict[str, pl.Expr]]:
    """The contracts' derived columns, by entity."""
    principal, rate, term = (C(name).cast(pl.Float64) for name in ("principal", "annual_rate", "term_months"))
    monthly = rate / 12
    annuity = pl.when(rate == 0).then(principal / term).otherwise(
        principal * rate / 12 / (1 - (1 + monthly).pow(-term))
    )  # fmt: skip
    repayment = C("repayment_type")
    score = C("credit_score")
    band = pl.when(score < 580).then(pl.lit("poor")).when(score < 670).then(pl.lit("fair"))
    band = band.when(score < 740).then(pl.lit("good")).when(score < 800).then(pl.lit("very_good"))
    missing = C("amount_due") - C("amount_paid")
    late = (C("paid_date") - C("due_date")).dt.total_days()
    debit = C("direction") == "debit"
    return {
        "customers": {
            "full_name": pl.concat_str("first_name", "last_name", separator=" ", ignore_nulls=True),
            "email_domain": C("email").str.split("@").list.last(),
            "credit_band": band.when(score.is_not_null()).then(pl.lit("exceptional")),
        },
        "accounts": {
            "iban_country": C("iban").str.head(2),
            "available_balance": C("balance") + C("overdraft_limit"),
            "is_overdrawn": C("balance") < 0,
        },
        "loans": {
            "monthly_installment": pl.when(repayment == "annuity")
            .then(annuity)
            .when(repayment == "interest_only")
            .then(principal * rate / 12)
            .round(2, mode="half_away_from_zero"),
            "loan_to_value": pl.when(C("collateral_value") != 0).then(
                divided("outstanding_principal", "collateral_value")
            ),
        },
        "payments": {
            "days_late": pl.when(C("paid_date").is_not_null()).then(late.clip(0)),
            "shortfall": pl.when(missing > 0).then(missing).otherwise(ZERO),
        },
        "transactions": {
            "transaction_date": C("transaction_at").dt.date(),
            "signed_amount": pl.when(debit).then(-C("amount")).otherwise(C("amount")),
        },
    }  # fmt: skip


def row_hash(contract: Contract) -> pl.Expr:
    """SHA2-256 over the source columns, written as ``pipeline.dedupe.row_hash`` writes them."""
    columns = sorted(contract.source_columns, key=lambda column: column.name)
    written = [
        pl.concat_str(
            pl.lit(f"{len(column.name)}:{column.name}="),
            text.str.len_chars().cast(pl.String),
            pl.lit(":"),
            text,
        ).fill_null("")
        for column, text in zip(columns, map(_text, columns), strict=True)
    ]
    return plh.concat_str(*written).chash.sha2_256().str.decode("hex").alias("_row_hash")


def _text(column: Column) -> pl.Expr:
    value = C(column.name)
    if column.physical_type == "timestamp":
        return value.dt.epoch("us").cast(pl.String)
    text = value.cast(pl.String)
    return (
        text.str.strip_chars_end("0").str.strip_chars_end(".")
        if decimal_scale(column.physical_type)
        else text
    )


def upsert(rows: pl.DataFrame, table: Path, contract: Contract) -> None:
    """Write a new table, or merge newer versions into the one that is there."""
    if not table.exists():
        rows.write_delta(table)
        return
    version = contract.version_column
    merge = DeltaTable(table).merge(
        rows.to_arrow(),
        predicate=" AND ".join(f"old.{name} = new.{name}" for name in contract.key),
        source_alias="new",
        target_alias="old",
    )
    newer = (
        f"new.{version} > old.{version} OR (new.{version} = old.{version} AND new._row_hash > old._row_hash)"
    )
    merge.when_matched_update_all(newer).when_not_matched_insert_all().execute()


def step(files: Path, lake: Path) -> None:
    """Load the entities, then build the marts."""
    from pipeline.gold import MARTS

    more = derived()
    for entity, contract in load_contracts().items():
        rows = newest(typed(files, contract), contract).with_columns(row_hash(contract), **more[entity])
        columns = [C(column.name).cast(polars_type(column.physical_type)) for column in contract.columns]
        upsert(rows.select(*columns, "_row_hash").collect(), lake / "silver" / entity, contract)
    silver = {entity: pl.scan_delta(str(lake / "silver" / entity)) for entity in load_contracts()}
    for mart in chosen(MARTS):
        rows = BUILDS[mart.name](silver)
        columns = [C(column.name).cast(polars_type(column.type)) for column in mart.columns]
        rows.select(columns).collect().write_delta(lake / "gold" / mart.name, mode="overwrite")


Silver = dict[str, pl.LazyFrame]


def daily_transactions(silver: Silver) -> pl.LazyFrame:
    """As ``pipeline.gold.daily_transactions``."""
    joined = silver["transactions"].join(
        silver["accounts"].select("account_id", "branch_code"), on="account_id", how="left"
    )
    failed = (C("status") == "failed").sum()
    return joined.group_by(
        "transaction_date", "branch_code", "channel", "transaction_type", "currency"
    ).agg(
        transaction_count=pl.len(),
        booked_amount=C("amount").filter(C("status") == "booked").sum(),
        failed_count=failed,
        failure_rate=(failed / pl.len()).round(6),
    )  # fmt: skip


def monthly_cash_flow(silver: Silver) -> pl.LazyFrame:
    """As ``pipeline.gold.monthly_cash_flow``."""
    branches = silver["accounts"].select("account_id", "branch_code")
    booked = (
        silver["transactions"].filter(C("status") == "booked").join(branches, on="account_id", how="left")
    )
    month = pl.coalesce("booking_date", "transaction_date").dt.truncate("1mo").alias("month")
    return booked.group_by(month, "branch_code", "currency").agg(
        inflow=C("amount").filter(C("direction") == "credit").sum(),
        outflow=C("amount").filter(C("direction") == "debit").sum(),
        net_cash_flow=C("signed_amount").sum(),
        transaction_count=pl.len(),
    )


def loan_portfolio(silver: Silver) -> pl.LazyFrame:
    """As ``pipeline.gold.loan_portfolio``."""
    loans, payments = silver["loans"], silver["payments"]
    newest_first = pl.concat([loans.select("updated_at"), payments.select("updated_at")])
    as_of = newest_first.select(as_of_date=C("updated_at").max().dt.date())
    overdue = (
        payments.filter(C("shortfall") > 0)
        .join(as_of, how="cross")
        .filter(C("due_date") < C("as_of_date"))
        .group_by("loan_id")
        .agg(oldest=C("due_date").min())
    )
    aged = (
        loans.filter(C("status").is_in(KEPT))
        .join(overdue, on="loan_id", how="left")
        .join(as_of, how="cross")
        .with_columns(days=(C("as_of_date") - C("oldest")).dt.total_days().fill_null(0))
    )
    bad = (C("days") > NON_PERFORMING_AFTER_DAYS) | (C("status") == "defaulted")
    riskier = (C("days") > RISKIER_AFTER_DAYS) | (C("status") == "restructured")
    owed = C("outstanding_principal")

    def between(low: int, high: int | None) -> pl.Expr:
        return C("days") >= low if high is None else C("days").is_between(low, high)

    return aged.group_by("product", "branch_code", "currency", "as_of_date").agg(
        loan_count=pl.len(),
        exposure=owed.sum(),
        **{f"exposure_{name}": owed.filter(between(low, high)).sum() for name, low, high in BUCKETS},
        exposure_stage_1=owed.filter(~bad & ~riskier).sum(),
        exposure_stage_2=owed.filter(~bad & riskier).sum(),
        exposure_stage_3=owed.filter(bad).sum(),
        non_performing_exposure=owed.filter(bad).sum(),
    ).with_columns(
        non_performing_ratio=pl.when(C("exposure") != 0)
        .then(divided("non_performing_exposure", "exposure"))
        .otherwise(0.0)
    )  # fmt: skip


def customer_360(silver: Silver) -> pl.LazyFrame:
    """As ``pipeline.gold.customer_360``."""
    customers = silver["customers"]
    own = customers.select("customer_id", own_currency="currency")
    is_own = C("currency") == C("own_currency")
    accounts = silver["accounts"].join(own, on="customer_id")
    per_account = accounts.group_by("customer_id").agg(
        account_count=pl.len(),
        active_account_count=(C("status") == "active").sum(),
        total_balance=C("balance").filter(is_own & (C("status") != "closed")).sum(),
    )
    per_loan = silver["loans"].join(own, on="customer_id").group_by("customer_id").agg(
        loan_count=pl.len(), outstanding_principal=C("outstanding_principal").filter(is_own).sum()
    )  # fmt: skip
    missed = silver["payments"].filter(C("status") == "missed")
    missed = missed.join(silver["loans"].select("loan_id", "customer_id"), on="loan_id")
    per_payment = missed.group_by("customer_id").agg(missed_payment_count=pl.len())
    as_of = silver["transactions"].select(as_of_date=C("transaction_date").max())
    moves = silver["transactions"].join(
        accounts.select("account_id", "customer_id", "own_currency"), on="account_id"
    ).join(as_of, how="cross")  # fmt: skip
    recent = (C("as_of_date") - C("transaction_date")).dt.total_days() < ACTIVITY_DAYS
    booked = recent & is_own & (C("status") == "booked")
    per_move = moves.group_by("customer_id").agg(
        last_transaction_at=C("transaction_at").max(),
        transaction_count_90d=recent.sum(),
        inflow_90d=C("amount").filter(booked & (C("direction") == "credit")).sum(),
        outflow_90d=C("amount").filter(booked & (C("direction") == "debit")).sum(),
    )
    joined = customers.join(as_of, how="cross")
    for part in (per_account, per_loan, per_payment, per_move):
        joined = joined.join(part, on="customer_id", how="left")
    counts = ("account_count", "active_account_count", "loan_count", "missed_payment_count",
              "transaction_count_90d")  # fmt: skip
    sums = ("total_balance", "outstanding_principal", "inflow_90d", "outflow_90d")
    return joined.with_columns(C(*counts).fill_null(0), C(*sums).fill_null(0))


BUILDS = {
    "daily_transactions": daily_transactions,
    "monthly_cash_flow": monthly_cash_flow,
    "loan_portfolio": loan_portfolio,
    "customer_360": customer_360,
}

if __name__ == "__main__":
    serve(step)
