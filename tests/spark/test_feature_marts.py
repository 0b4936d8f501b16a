"""The feature marts equal a recompute by another engine, and know nothing of the future."""

from __future__ import annotations

from datetime import date

import marts
import pytest
from feature_sql import FEATURE_MARTS, RATIOS
from makers import row
from marts import compare, kept, silver_in, silver_of, with_history
from pyspark.sql import functions as F  # noqa: N812

from datagen import generate
from pipeline.gold import customer_features, fraud_signals, loan_default_features

pytestmark = pytest.mark.spark

BY_NAME = {
    module.MART.name: module.MART for module in (fraud_signals, customer_features, loan_default_features)
}
KEYS = {
    "fraud_signals": ("account_id", "activity_date"),
    "customer_features": ("customer_id", "as_of_date"),
    "loan_default_features": ("loan_id", "observation_date"),
}
UNPAID = {"amount_paid": "0.00", "paid_date": "", "status": "missed"}


def build(silver, name):
    """A mart as it is stored."""
    return marts.build(BY_NAME[name], silver)


@pytest.fixture(scope="module")
def generated(spark, tmp_path_factory):
    """Silver of a small bank with fraud, without dirt."""
    from datagen.profile import load, override

    folder = tmp_path_factory.mktemp("bank")
    profile = override(load(), {"fraud": "0.02", "arrears": "4"})
    generate(folder, scale=300, seed=7, dirty=0, profile=profile)
    with kept(silver_in(spark, folder)) as tables:
        yield with_history(tables)


# What a generator makes too seldom: other currencies, edges of time, loans without payments.
LATE = {"paid_date": "2023-05-03", "due_date": "2023-02-01"}
EDGES = {
    "customers": [
        row("customers", updated_at="2023-03-31T23:59:59Z"),
        row("customers", customer_id="C2", currency="USD", annual_income="0.00",
            updated_at="2023-04-01T00:00:00Z"),
    ],
    "accounts": [
        row("accounts"),
        row("accounts", account_id="A2", currency="PLN", closed_date="2024-01-31", status="closed"),
        row("accounts", account_id="A3", customer_id="C2", opened_date="2024-02-01"),
    ],
    "loans": [
        row("loans"),
        row("loans", loan_id="L2", repayment_type="bullet", collateral_type="property",
            collateral_value="0.00"),
        row("loans", loan_id="L3", customer_id="C2", repayment_type="interest_only"),
        row("loans", loan_id="L4", start_date="2023-03-31", collateral_type="property",
            collateral_value="2000.00"),
        row("loans", loan_id="L5", annual_rate="0", updated_at="2024-03-31T23:59:59Z"),
    ],
    "payments": [
        row("payments", payment_id="P1", **LATE),
        row("payments", payment_id="P2", due_date="2023-03-31", principal_due="250.00", amount_due="260.00",
            amount_paid="260.00", paid_date="2023-04-01"),
        row("payments", payment_id="P3", due_date="2023-06-30", amount_paid="40.00", paid_date="2023-07-02",
            status="partial"),
        row("payments", payment_id="P4", loan_id="L3", due_date="2023-07-01", **UNPAID),
        row("payments", payment_id="P5", loan_id="L4", due_date="2023-05-01", paid_date="2023-07-31"),
        row("payments", payment_id="P6", loan_id="L4", due_date="2023-06-01", paid_date="2023-09-01"),
        row("payments", payment_id="P7", loan_id="L5", due_date="2023-04-01", principal_due="1200.00"),
    ],
    "transactions": [
        row("transactions", transaction_at="2024-01-31T23:59:59.999999Z"),
        row("transactions", transaction_id="T2", transaction_at="2024-01-02T04:59:59Z", channel="online"),
        *[
            row("transactions", transaction_id=f"N{n}", transaction_at=f"2024-01-02T0{n}:00:00Z",
                transaction_type="transfer_out", channel="mobile", counterparty_iban=f"X{n % 3}",
                amount="300.00")
            for n in range(6)
        ],
        row("transactions", transaction_id="T3", transaction_type="transfer_in", direction="credit",
            amount="1500.00", counterparty_iban="X1"),
        *[
            row("transactions", transaction_id=f"D{n}", transaction_at=f"2024-01-{10 + 4 * n}T12:00:00Z",
                transaction_type="cash_deposit", direction="credit", amount=f"{7999 + n}.00")
            for n in range(5)
        ],
        row("transactions", transaction_id="T4", account_id="A2", currency="PLN", amount="43000.00",
            transaction_type="cash_deposit", direction="credit"),
        row("transactions", transaction_id="T5", account_id="A2", status="failed", booking_date=""),
        row("transactions", transaction_id="T6", account_id="A3", transaction_at="2024-02-29T00:00:00Z",
            currency="USD", updated_at="2024-02-29T00:00:01Z"),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def edges(spark):
    with kept(with_history(silver_of(spark, EDGES))) as tables:
        yield tables


@pytest.mark.slow
@pytest.mark.parametrize("name", list(BY_NAME))
def test_a_mart_equals_a_recompute_on_generated_data(generated, name, tmp_path):
    assert compare(BY_NAME[name], generated, FEATURE_MARTS[name], RATIOS, tmp_path) > 50


@pytest.mark.parametrize("name", list(BY_NAME))
def test_a_mart_equals_a_recompute_on_rare_rows(edges, name, tmp_path):
    assert compare(BY_NAME[name], edges, FEATURE_MARTS[name], RATIOS, tmp_path) > 3


@pytest.mark.slow
def test_marts_of_empty_tables_can_be_built_also_in_ansi_mode(spark, ansi):
    with ansi(True):
        silver = with_history(silver_of(spark, {}))
        assert {name: build(silver, name).count() for name in BY_NAME} == dict.fromkeys(BY_NAME, 0)


CUT = date(2025, 6, 30)


def as_known_on(silver, cut):
    """Silver as it would have been at the end of a day: nothing later has happened, or is known."""
    end = F.lit(str(cut)).cast("date")
    paid_later = F.col("paid_date") > end
    never = F.lit(None)
    payments = silver["payments"].where(F.add_months("due_date", -1) <= end)
    return silver | {
        "transactions": silver["transactions"]
        .where(F.col("transaction_date") <= end)
        # Whatever has become of them since.
        .withColumns({"status": F.lit("pending"), "booking_date": never.cast("date")}),
        "loans": silver["loans"]
        .where(F.col("start_date") <= end)
        .withColumns({"status": F.lit("active"), "outstanding_principal": F.col("principal")}),
        "payments": payments.withColumns(
            {
                "amount_paid": F.when(paid_later, 0).otherwise(F.col("amount_paid")),
                "paid_date": F.when(paid_later, never).otherwise(F.col("paid_date")),
                "status": F.lit("scheduled"),
                "late_fee": F.lit(0),
            }
        ),
        "accounts": silver["accounts"]
        .where(F.col("opened_date") <= end)
        .withColumns(
            {
                "closed_date": F.when(F.col("closed_date") <= end, F.col("closed_date")),
                "balance": F.lit(0),
                "status": F.lit("active"),
            }
        ),
        "customers_history": silver["customers_history"]
        .where(F.to_date("valid_from") <= end)
        .withColumn("valid_to", F.when(F.to_date("valid_to") <= end, F.col("valid_to"))),
        "loans_history": silver["loans_history"].where(F.to_date("valid_from") <= end),
    }


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        ("fraud_signals", date(2025, 11, 30)),
        ("customer_features", date(2025, 11, 30)),
        ("loan_default_features", CUT),
    ],
)
def test_features_know_nothing_of_what_came_later(generated, name, cut):
    key, day = KEYS[name]
    label = "default_within_12_months"
    silver = generated | {
        "customers_history": later_versions(generated["customers_history"]),
        "loans_history": restated(generated["loans_history"]),
    }
    whole = build(silver, name).drop(label)
    known = build(as_known_on(silver, cut), name).drop(label)
    before = whole.where(F.col(day) <= F.lit(str(cut)).cast("date"))
    then = known.where(F.col(day) <= F.lit(str(cut)).cast("date"))
    assert before.count() == then.count() > 20
    assert before.exceptAll(then).orderBy(key).take(3) == []


def later_versions(history):
    """Each customer got another income, segment and score in the middle of the last year."""
    turn = F.lit("2025-07-15 00:00:00").cast("timestamp")
    early = history.withColumn("valid_from", F.least("valid_from", F.lit("2024-01-01").cast("timestamp")))
    first = early.withColumns({"valid_to": turn, "is_current": F.lit(False)})
    second = early.withColumns(
        {
            "valid_from": turn,
            "annual_income": (F.col("annual_income") + 1).cast("decimal(18,2)"),
            "segment": F.lit("private"),
            "credit_score": F.lit(300),
        }
    )
    return first.unionByName(second)


def restated(history):
    """Each loan got other terms in the middle of the last year."""
    first = history.withColumn("valid_from", F.col("start_date").cast("timestamp"))
    second = other_terms(history.where("start_date < '2025-07-15'"), "2025-07-15")
    return first.unionByName(second)


OTHER_TERMS = {
    "customer_id": "'C0000000001'",
    "product": "'business'",
    "repayment_type": "'bullet'",
    "collateral_type": "'securities'",
    "collateral_value": "CAST(7 AS decimal(18,2))",
    "currency": "'CHF'",
    "annual_rate": "CAST('0.987654' AS decimal(9,6))",
    "term_months": "7",
    "principal": "CAST(2 * principal AS decimal(18,2))",
    "maturity_date": "date_add(maturity_date, 700)",
    "monthly_installment": "CAST(7 AS decimal(18,2))",
}


def other_terms(history, day):
    """A version of each loan with other terms, from a day on."""
    terms = {name: F.expr(sql) for name, sql in OTHER_TERMS.items()}
    return history.withColumns(terms | {"valid_from": F.lit(day).cast("timestamp")})


@pytest.mark.slow
def test_terms_that_are_restated_later_change_no_earlier_features(edges):
    """Although the lake came to know the loans only after the days that are looked at."""

    def features(history):
        rows = build(edges | {"loans_history": history}, "loan_default_features").where("loan_id = 'L4'")
        return {str(row["observation_date"]): row for row in rows.collect()}

    once = edges["loans_history"].where("loan_id = 'L4'")  # of 2024-01-01
    again = other_terms(once, "2024-03-01")
    # A version that arrives late: what held before, as far as anybody knows.
    late = once.withColumns({"annual_rate": F.lit("0.01").cast("decimal(9,6)")}).withColumn(
        "valid_from", F.lit("2023-08-01").cast("timestamp")
    )
    before, after, corrected = (features(rows) for rows in (once, once.union(again), once.union(late)))
    days = ["2023-03-31", "2023-06-30", "2023-12-31"]
    assert [*before, *after] == 2 * [*days, "2024-03-31"]
    assert [after[day] for day in days] == [before[day] for day in days]
    new, old = after["2024-03-31"], before["2024-03-31"]
    assert (new["product"], new["term_months"], new["principal"]) == ("business", 7, 2 * old["principal"])
    rates = [str(corrected[day]["annual_rate"]) for day in corrected]
    assert rates == ["0.010000", "0.010000", "0.010000", "0.050000"]


def test_the_label_is_null_while_its_year_is_not_over_and_true_from_the_ninety_first_day(edges):
    found = {
        (one["loan_id"], str(one["observation_date"])): one["default_within_12_months"]
        for one in build(edges, "loan_default_features").collect()
    }
    # The newest version is of 2024-03-31: a year after 2023-03-31 is over, one after 2023-06-30 is not.
    assert found["L3", "2023-03-31"] is True
    assert found["L3", "2023-06-30"] is None
    # Paid on the 91st day: past due at the end of no day by more than 90.
    assert found["L4", "2023-03-31"] is True, "the second instalment was paid on the 92nd"
    assert ("L5", "2023-06-30") not in found, "nothing is owed any more"


def test_signals_come_from_the_days_they_name(edges):
    days = {
        (one["account_id"], str(one["activity_date"])): one.asDict()
        for one in build(edges, "fraud_signals").collect()
    }
    night = days["A1", "2024-01-02"]
    assert night["night_transfer_out_count"] == 5, "the sixth is at five o'clock"
    assert (night["is_account_takeover"], night["receiver_count_3d"]) == (True, 3)
    assert (night["transfer_in_amount_7d"], night["transfer_out_amount_7d"]) == (1500, 1800)
    assert not night["is_pass_through"], "more went out than 110 % of what came in"
    # The first deposit is just below 80 % of what has to be reported; within ten days lie three of them.
    deposits = [days["A1", f"2024-01-{10 + 4 * n}"]["near_threshold_cash_count_10d"] for n in range(5)]
    assert deposits == [0, 1, 2, 3, 3]
    assert days["A2", "2024-01-01"]["near_threshold_cash_count"] == 1, (
        "what is above its currency's sum is reported"
    )
    assert days["A3", "2024-02-29"]["debit_amount"] == 0, "in another currency than the account's"


def test_what_is_usual_of_an_account_is_of_the_days_on_which_it_was_open(spark):
    def moves(account, day, count):
        return [
            row("transactions", transaction_id=f"{account}-{day}-{n}", account_id=account,
                transaction_at=f"2024-01-{day:02}T12:00:00Z")
            for n in range(count)
        ]  # fmt: skip

    rows = {
        # A year old; opened three days before its many transactions; on that very day; and after it.
        "accounts": [
            row("accounts", account_id=name, opened_date=day)
            for name, day in (("OLD", "2023-01-30"), ("NEW", "2024-01-27"), ("DAY", "2024-01-30"),
                              ("ODD", "2024-02-10"))
        ],
        "transactions": [
            *(move for name in ("OLD", "NEW", "ODD") for move in moves(name, 27, 4) + moves(name, 30, 5)),
            *moves("DAY", 30, 9), *moves("LOST", 30, 5),
        ],
    }  # fmt: skip
    days = {
        one["account_id"]: (one["days_open_before"], one["is_velocity"])
        for one in build(with_history(silver_of(spark, rows)), "fraud_signals").collect()
        if str(one["activity_date"]) == "2024-01-30"
    }
    # Four transactions in three days are more than a quarter of five on one; in 29 days they are not.
    assert days == {
        "OLD": (29, True), "NEW": (3, False), "DAY": (0, False), "ODD": (0, False), "LOST": (29, True),
    }  # fmt: skip


def test_rows_of_transactions_are_shuffled_once(spark, generated):
    partitions = spark.conf.get("spark.sql.shuffle.partitions")
    spark.conf.set("spark.sql.shuffle.partitions", "3")  # into one, nothing is shuffled by key
    try:
        plan = build(generated, "fraud_signals")._jdf.queryExecution().executedPlan().toString()
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", partitions)
    moves = [line.strip()[:90] for line in plan.splitlines() if " Exchange hashpartitioning(" in line]
    assert len(moves) == 1, moves
