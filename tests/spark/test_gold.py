"""Every mart equals a recompute by another engine, from the source columns alone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import marts
import pytest
from feature_sql import FEATURE_MARTS
from makers import row
from marts import compare, kept, silver_in, silver_of
from pyspark.sql import functions as F  # noqa: N812

from datagen import generate
from pipeline.errors import FinlakeError
from pipeline.gold import MARTS, mart
from pipeline.gold.loan_portfolio import BUCKETS
from pipeline.gold.mart import Mart, Total, built_from, in_order, input_versions, is_current
from pipeline.refresh import REBUILT, refresh
from pipeline.tables import TableColumn, open_table, table_version

pytestmark = pytest.mark.spark

# Feature marts have tests of their own: test_feature_marts.py.
BY_NAME = {found.name: found for found in MARTS if found.name not in FEATURE_MARTS}

# The marts by DuckDB, from columns as they stand in Bronze: nothing that Silver derives is used.
RECOMPUTED = {
    "daily_transactions": """
        SELECT CAST(t.transaction_at AS DATE) AS transaction_date, a.branch_code, t.channel,
               t.transaction_type, t.currency, count(*) AS transaction_count,
               sum(CASE WHEN t.status = 'booked' THEN t.amount ELSE 0 END) AS booked_amount,
               sum(CASE WHEN t.status = 'failed' THEN 1 ELSE 0 END) AS failed_count,
               sum(CASE WHEN t.status = 'failed' THEN 1 ELSE 0 END) / count(*) AS failure_rate
        FROM transactions t LEFT JOIN accounts a USING (account_id) GROUP BY 1, 2, 3, 4, 5
    """,
    "monthly_cash_flow": """
        SELECT CAST(date_trunc('month', coalesce(t.booking_date, CAST(t.transaction_at AS DATE))) AS DATE)
                   AS month,
               a.branch_code, t.currency,
               sum(CASE WHEN t.direction = 'credit' THEN t.amount ELSE 0 END) AS inflow,
               sum(CASE WHEN t.direction = 'debit' THEN t.amount ELSE 0 END) AS outflow,
               sum(CASE WHEN t.direction = 'credit' THEN t.amount ELSE -t.amount END) AS net_cash_flow,
               count(*) AS transaction_count
        FROM transactions t LEFT JOIN accounts a USING (account_id) WHERE t.status = 'booked' GROUP BY 1, 2, 3
    """,
    "loan_portfolio": """
        WITH clock AS (
            SELECT CAST(max(updated_at) AS DATE) AS as_of_date
            FROM (SELECT updated_at FROM loans UNION ALL SELECT updated_at FROM payments)
        ), aged AS (
            SELECT l.*, as_of_date, coalesce((
                SELECT max(as_of_date - p.due_date) FROM payments p
                WHERE p.loan_id = l.loan_id AND p.due_date < as_of_date AND p.amount_paid < p.amount_due
            ), 0) AS days, l.outstanding_principal AS owed
            FROM loans l, clock WHERE l.status NOT IN ('paid_off', 'written_off')
        )
        SELECT product, branch_code, currency, as_of_date, count(*) AS loan_count, sum(owed) AS exposure,
               sum(CASE WHEN days = 0 THEN owed ELSE 0 END) AS exposure_current,
               sum(CASE WHEN days > 0 AND days <= 30 THEN owed ELSE 0 END) AS exposure_1_30,
               sum(CASE WHEN days > 30 AND days <= 60 THEN owed ELSE 0 END) AS exposure_31_60,
               sum(CASE WHEN days > 60 AND days <= 90 THEN owed ELSE 0 END) AS exposure_61_90,
               sum(CASE WHEN days > 90 THEN owed ELSE 0 END) AS exposure_over_90,
               sum(CASE WHEN days <= 30 AND status = 'active' THEN owed ELSE 0 END) AS exposure_stage_1,
               sum(CASE WHEN status <> 'defaulted' AND days <= 90 AND (days > 30 OR status = 'restructured')
                   THEN owed ELSE 0 END) AS exposure_stage_2,
               sum(CASE WHEN days > 90 OR status = 'defaulted' THEN owed ELSE 0 END) AS exposure_stage_3,
               sum(CASE WHEN days > 90 OR status = 'defaulted' THEN owed ELSE 0 END)
                   AS non_performing_exposure,
               CASE WHEN sum(owed) = 0 THEN 0 ELSE
               CAST(sum(CASE WHEN days > 90 OR status = 'defaulted' THEN owed ELSE 0 END) AS DOUBLE)
               / CAST(sum(owed) AS DOUBLE) END AS non_performing_ratio
        FROM aged GROUP BY product, branch_code, currency, as_of_date
    """,
    "customer_360": """
        WITH clock AS (SELECT CAST(max(transaction_at) AS DATE) AS as_of_date FROM transactions),
        moves AS (
            SELECT a.customer_id, t.*, CAST(t.transaction_at AS DATE) > as_of_date - 90 AS recent
            FROM transactions t JOIN accounts a USING (account_id), clock
        )
        SELECT c.customer_id, c.first_name || ' ' || c.last_name AS full_name, c.country, c.segment,
               c.kyc_status,
               CASE WHEN c.credit_score < 580 THEN 'poor' WHEN c.credit_score < 670 THEN 'fair'
                    WHEN c.credit_score < 740 THEN 'good' WHEN c.credit_score < 800 THEN 'very_good'
                    WHEN c.credit_score >= 800 THEN 'exceptional' END AS credit_band,
               c.onboarding_date, c.currency, (SELECT as_of_date FROM clock) AS as_of_date,
               (SELECT count(*) FROM accounts a WHERE a.customer_id = c.customer_id) AS account_count,
               (SELECT count(*) FROM accounts a WHERE a.customer_id = c.customer_id AND a.status = 'active')
                   AS active_account_count,
               coalesce((SELECT sum(a.balance) FROM accounts a WHERE a.customer_id = c.customer_id
                   AND a.currency = c.currency AND a.status <> 'closed'), 0) AS total_balance,
               (SELECT count(*) FROM loans l WHERE l.customer_id = c.customer_id) AS loan_count,
               coalesce((SELECT sum(l.outstanding_principal) FROM loans l WHERE l.customer_id = c.customer_id
                   AND l.currency = c.currency), 0) AS outstanding_principal,
               (SELECT count(*) FROM payments p JOIN loans l USING (loan_id)
                   WHERE l.customer_id = c.customer_id AND p.status = 'missed') AS missed_payment_count,
               (SELECT max(m.transaction_at) FROM moves m WHERE m.customer_id = c.customer_id)
                   AS last_transaction_at,
               (SELECT count(*) FROM moves m WHERE m.customer_id = c.customer_id AND m.recent)
                   AS transaction_count_90d,
               coalesce((SELECT sum(m.amount) FROM moves m WHERE m.customer_id = c.customer_id AND m.recent
                   AND m.status = 'booked' AND m.currency = c.currency AND m.direction = 'credit'), 0)
                   AS inflow_90d,
               coalesce((SELECT sum(m.amount) FROM moves m WHERE m.customer_id = c.customer_id AND m.recent
                   AND m.status = 'booked' AND m.currency = c.currency AND m.direction = 'debit'), 0)
                   AS outflow_90d
        FROM customers c
    """,
    "account_balances_daily": """
        WITH booked AS (
            SELECT *, coalesce(booking_date, CAST(transaction_at AS DATE)) AS balance_date,
                   CASE WHEN direction = 'credit' THEN amount ELSE -amount END AS moved
            FROM transactions WHERE status = 'booked'
        )
        SELECT b.account_id, b.currency, b.balance_date, a.customer_id, a.branch_code,
               sum(greatest(moved, 0)) AS credit_amount, sum(greatest(-moved, 0)) AS debit_amount,
               count(*) AS transaction_count,
               CASE WHEN b.currency = a.currency THEN a.balance - coalesce((
                   SELECT sum(later.moved) FROM booked later WHERE later.account_id = b.account_id
                   AND later.currency = b.currency AND later.balance_date > b.balance_date), 0)
               END AS closing_balance,
               (SELECT min(next.balance_date) - 1 FROM booked next WHERE next.account_id = b.account_id
                   AND next.currency = b.currency AND next.balance_date > b.balance_date) AS valid_until
        FROM booked b LEFT JOIN accounts a USING (account_id)
        GROUP BY ALL
    """,
    "payment_performance": """
        WITH clock AS (
            SELECT CAST(max(updated_at) AS DATE) AS as_of_date
            FROM (SELECT updated_at FROM loans UNION ALL SELECT updated_at FROM payments)
        ), aged AS (
            SELECT p.*, l.product, l.branch_code, as_of_date, p.due_date > as_of_date AS waits,
                   p.due_date <= as_of_date AND p.amount_paid >= p.amount_due AS paid,
                   p.due_date <= as_of_date AND p.amount_paid < p.amount_due AS owes,
                   coalesce(greatest(p.paid_date - p.due_date, 0), 0) AS late
            FROM payments p LEFT JOIN loans l USING (loan_id), clock
        )
        SELECT CAST(date_trunc('month', due_date) AS DATE) AS due_month, product, branch_code, currency,
               as_of_date, count(*) FILTER (NOT waits) AS instalment_count,
               count(*) FILTER (paid AND late = 0) AS on_time_count,
               count(*) FILTER (paid AND late >= 1 AND late <= 30) AS late_1_30_count,
               count(*) FILTER (paid AND late >= 31 AND late <= 90) AS late_31_90_count,
               count(*) FILTER (paid AND late >= 91) AS late_over_90_count,
               count(*) FILTER (owes AND amount_paid > 0) AS partial_count,
               count(*) FILTER (owes AND amount_paid = 0) AS missed_count,
               count(*) FILTER (waits) AS scheduled_count,
               coalesce(sum(amount_due) FILTER (NOT waits), 0) AS amount_due,
               coalesce(sum(amount_paid) FILTER (NOT waits), 0) AS amount_paid,
               coalesce(sum(greatest(amount_due - amount_paid, 0)) FILTER (NOT waits), 0) AS shortfall,
               sum(late_fee) AS late_fees,
               coalesce(sum(amount_due) FILTER (waits), 0) AS scheduled_amount,
               coalesce(sum(amount_paid) FILTER (waits), 0) AS prepaid_amount,
               count(*) FILTER (paid AND late = 0) / nullif(count(*) FILTER (NOT waits), 0) AS on_time_rate,
               CAST(sum(amount_paid) FILTER (NOT waits) AS DOUBLE)
                   / nullif(CAST(sum(amount_due) FILTER (NOT waits) AS DOUBLE), 0) AS collection_rate
        FROM aged GROUP BY ALL
    """,
    "loan_vintages": """
        WITH clock AS (
            SELECT CAST(max(updated_at) AS DATE) AS as_of_date
            FROM (SELECT updated_at FROM loans UNION ALL SELECT updated_at FROM payments)
        ), aged AS (
            SELECT l.loan_id, CAST(date_trunc('month', l.start_date) AS DATE) AS vintage, l.product,
                   l.currency, l.principal, as_of_date
            FROM loans l, clock
        ), fell AS (
            SELECT a.loan_id, days, min(p.due_date + days + 1) AS day
            FROM aged a JOIN payments p USING (loan_id), (VALUES (30), (90)) AS limits(days)
            WHERE (p.amount_paid < p.amount_due OR p.paid_date > p.due_date + days + 1)
              AND p.due_date + days + 1 <= as_of_date GROUP BY ALL
        ), months AS (
            SELECT DISTINCT vintage, product, currency, as_of_date, CAST(n AS INTEGER) AS months_on_book
            FROM aged, range(0, 1200) AS r(n)
            WHERE n <= greatest(0, datediff('month', vintage, as_of_date))
        )
        SELECT m.vintage, m.product, m.currency, m.months_on_book, m.as_of_date, count(*) AS loan_count,
               sum(a.principal) AS originated_amount,
               count(*) FILTER (late.day < ends) AS delinquent_30_count,
               coalesce(sum(a.principal) FILTER (late.day < ends), 0) AS delinquent_30_amount,
               count(*) FILTER (bad.day < ends) AS defaulted_count,
               coalesce(sum(a.principal) FILTER (bad.day < ends), 0) AS defaulted_amount,
               CAST(coalesce(sum(a.principal) FILTER (late.day < ends), 0) AS DOUBLE)
                   / CAST(sum(a.principal) AS DOUBLE) AS delinquency_rate,
               CAST(coalesce(sum(a.principal) FILTER (bad.day < ends), 0) AS DOUBLE)
                   / CAST(sum(a.principal) AS DOUBLE) AS default_rate
        FROM (SELECT *, vintage + to_months(months_on_book + 1) AS ends FROM months) m
        JOIN aged a ON (a.vintage, a.product, a.currency) = (m.vintage, m.product, m.currency)
        LEFT JOIN fell late ON late.loan_id = a.loan_id AND late.days = 30
        LEFT JOIN fell bad ON bad.loan_id = a.loan_id AND bad.days = 90
        GROUP BY ALL
    """,
}
RATIOS = (
    "failure_rate",
    "non_performing_ratio",
    "on_time_rate",
    "collection_rate",
    "delinquency_rate",
    "default_rate",
)


def build(silver, name):
    """A mart as it is stored."""
    return marts.build(BY_NAME[name], silver)


@pytest.fixture(scope="module")
def generated(spark, tmp_path_factory):
    """Silver of a small bank, without dirt."""
    folder = tmp_path_factory.mktemp("bank")
    generate(folder, scale=50, seed=7, dirty=0)
    with kept(silver_in(spark, folder)) as tables:
        yield tables


# What a generator makes too seldom: no accounts, no payments, failures only, other currencies, edges of time.
UNPAID = {"amount_paid": "0.00", "paid_date": "", "status": "missed"}
EDGES = {
    "customers": [
        row("customers"),
        row("customers", customer_id="C2", credit_score="", currency="USD"),
        row("customers", customer_id="C3", credit_score="579"),
    ],
    "accounts": [
        row("accounts"),
        row("accounts", account_id="A2", currency="USD", balance="-5.00", branch_code="B002"),
        row("accounts", account_id="A3", status="closed", balance="7.00"),
        row("accounts", account_id="A4", status="dormant", balance="0.01"),
        row("accounts", account_id="A5", customer_id="C2", currency="EUR"),
    ],
    "loans": [
        row("loans"),
        row("loans", loan_id="L2", status="defaulted", outstanding_principal="0.01"),
        row("loans", loan_id="L3", status="paid_off", outstanding_principal="0.00"),
        row("loans", loan_id="L4", status="written_off"),
        row("loans", loan_id="L5", status="restructured", outstanding_principal="0.00", branch_code="B009"),
        row("loans", loan_id="L6", currency="USD", product="auto"),
        row("loans", loan_id="L7", customer_id="C2", updated_at="2024-03-31T23:59:59Z"),
    ],
    "payments": [
        row("payments", payment_id="P1", due_date="2024-03-31", **UNPAID),
        row("payments", payment_id="P2", amount_paid="99.99", status="partial", due_date="2024-03-30"),
        row("payments", payment_id="P3", amount_paid="100.00", due_date="2023-01-01"),
        row("payments", payment_id="P4", loan_id="L2", due_date="2024-04-30", **UNPAID),
        row("payments", payment_id="P5", loan_id="L6", due_date="2023-12-31", **UNPAID),
        row("payments", payment_id="P6", loan_id="L4", due_date="2023-01-31", **UNPAID),
        # Due long since, and still scheduled; and paid in advance.
        row("payments", payment_id="P7", due_date="2024-02-29", **UNPAID | {"status": "scheduled"}),
        row("payments", payment_id="P8", due_date="2055-01-01", late_fee="0.01"),
    ],
    "transactions": [
        row("transactions", transaction_at="2024-03-31T23:59:59.999999Z", updated_at="2024-04-02T00:00:00Z"),
        row("transactions", transaction_id="T2", transaction_at="2024-01-02T00:00:00Z", direction="credit"),
        row("transactions", transaction_id="T3", transaction_at="2024-01-01T23:59:59Z", direction="credit"),
        row("transactions", transaction_id="T4", status="failed", booking_date=""),
        row("transactions", transaction_id="T5", status="failed", booking_date="", channel="atm"),
        row("transactions", transaction_id="T6", status="pending", booking_date=""),
        row("transactions", transaction_id="T7", currency="USD", amount="0.01"),
        row("transactions", transaction_id="T8", account_id="A2", currency="USD", booking_date="2024-02-29"),
        row("transactions", transaction_id="T9", account_id="A5", status="reversed"),
        row(
            "transactions",
            transaction_id="T10",
            booking_date="",
            status="booked",
            transaction_at="2023-12-31T23:59:59Z",
        ),
    ],
}


@pytest.fixture(scope="module")
def edges(spark):
    with kept(silver_of(spark, EDGES)) as tables:
        yield tables


@pytest.mark.parametrize("name", list(BY_NAME))
def test_a_mart_equals_a_recompute_on_generated_data(generated, name, tmp_path):
    assert compare(BY_NAME[name], generated, RECOMPUTED[name], RATIOS, tmp_path) > 5


@pytest.mark.parametrize("name", list(BY_NAME))
def test_a_mart_equals_a_recompute_on_rare_rows(edges, name, tmp_path):
    assert compare(BY_NAME[name], edges, RECOMPUTED[name], RATIOS, tmp_path) > 2


@pytest.mark.slow
def test_marts_of_empty_tables_can_be_built_also_in_ansi_mode(spark, ansi):
    with ansi(True):
        silver = silver_of(spark, {})
        assert {name: build(silver, name).count() for name in BY_NAME} == dict.fromkeys(BY_NAME, 0)


def test_customers_without_anything_have_zeros_and_no_last_transaction(edges):
    (found,) = build(edges, "customer_360").where("customer_id = 'C3'").collect()
    counted = [name for name in found.asDict() if name.endswith(("_count", "_90d"))]
    assert [found[name] for name in counted] == [0] * len(counted)
    assert (found["total_balance"], found["outstanding_principal"]) == (0, 0)
    assert (found["last_transaction_at"], found["credit_band"]) == (None, "poor")
    assert found["as_of_date"] == date(2024, 3, 31)


def test_activity_looks_back_ninety_days_from_the_newest_transaction(edges):
    (found,) = build(edges, "customer_360").where("customer_id = 'C1'").collect()
    # T2 is 89 days before; T3 a second earlier, so 90 days; T7 and T8 are in another currency.
    assert found["inflow_90d"] == Decimal("9.99")
    assert found["transaction_count_90d"] == 2


def test_what_is_due_goes_by_the_day_and_what_is_paid_by_amounts(edges):
    found = {
        str(one["due_month"]): one
        for one in build(edges, "payment_performance").collect()
        if (one["product"], one["branch_code"]) == ("personal", "B001")
    }
    assert {one["as_of_date"] for one in found.values()} == {date(2024, 3, 31)}
    assert found["2024-02-01"]["missed_count"] == 1, "whatever its status says"
    march = found["2024-03-01"]
    assert (march["instalment_count"], march["partial_count"], march["missed_count"]) == (2, 1, 1)
    april, future = found["2024-04-01"], found["2055-01-01"]
    assert (april["instalment_count"], april["missed_count"], april["scheduled_count"]) == (0, 0, 1)
    assert (future["on_time_count"], future["amount_paid"], future["prepaid_amount"]) == (0, 0, 100)
    assert (future["collection_rate"], future["late_fees"]) == (None, Decimal("0.01"))


DAYS = {
    -1: "current",
    0: "current",
    1: "1_30",
    30: "1_30",
    31: "31_60",
    60: "31_60",
    61: "61_90",
    90: "61_90",
    91: "over_90",
    400: "over_90",
}


def test_loans_fall_into_the_bucket_of_their_days_past_due(spark):
    as_of = date(2024, 6, 30)
    loans, payments = [], []
    for days in DAYS:
        key = f"L{days}"
        due = as_of - timedelta(days=days)
        loans.append(row("loans", loan_id=key, branch_code=f"B{days}", updated_at="2024-06-30T08:00:00Z"))
        unpaid = {"loan_id": key, **UNPAID}
        payments += [
            row("payments", payment_id=f"{key}a", due_date=due.isoformat(), **unpaid),
            # A later one that is unpaid as well, and an earlier one that is paid, change nothing.
            row("payments", payment_id=f"{key}b", due_date=(due + timedelta(days=1)).isoformat(), **unpaid),
            row("payments", payment_id=f"{key}c", loan_id=key, due_date="2020-01-01"),
        ]
    found = build(silver_of(spark, {"loans": loans, "payments": payments}), "loan_portfolio").collect()
    assert len(found) == len(DAYS)
    for portfolio in found:
        days = int(portfolio["branch_code"][1:])
        filled = [name for name, _, _ in BUCKETS if portfolio[f"exposure_{name}"]]
        assert filled == [DAYS[days]], days
        assert portfolio["exposure"] == portfolio[f"exposure_{DAYS[days]}"] == 600
        assert portfolio["non_performing_ratio"] == (1 if days > 90 else 0)


def test_who_pays_on_the_ninety_first_day_has_not_defaulted(spark):
    rows = {
        "loans": [row("loans"), row("loans", loan_id="L2")],
        "payments": [
            row("payments", due_date="2023-05-01", paid_date="2023-07-31"),
            row("payments", payment_id="P2", loan_id="L2", due_date="2023-05-01", paid_date="2023-08-01"),
        ],
    }
    curve = {
        found["months_on_book"]: (found["delinquent_30_count"], found["defaulted_count"])
        for found in build(silver_of(spark, rows), "loan_vintages").collect()
    }
    # More than 30 days past due at the end of 1 June, and more than 90 at that of 31 July.
    assert (curve[4], curve[5], curve[6], curve[12]) == ((0, 0), (2, 0), (2, 1), (2, 1))


def test_the_buckets_leave_no_day_out_and_count_none_twice():
    for days in range(1000):
        fitting = [name for name, low, high in BUCKETS if low <= days and (high is None or days <= high)]
        assert len(fitting) == 1, days


# --- When a mart is built again ---------------------------------------------------------------------

NAMES = Mart(
    "names",
    "Customers.",
    ("customers",),
    (TableColumn("customer_id", "string", "Customer.", pii_class="key"), TableColumn("n", "bigint", "Rows.")),
    lambda silver: silver["customers"].groupBy("customer_id").agg(F.count("*").alias("n")),
    key=("customer_id",),
    totals=(Total("sum(n)", "customers", "count(*)"),),
)


def write_customers(spark, lake, *keys, deleted_at=None):
    rows = [(key, deleted_at) for key in keys]
    frame = spark.createDataFrame(rows, "customer_id string, _deleted_at timestamp").coalesce(1)
    frame.write.format("delta").mode("append").save(lake.table_uri("silver", "customers"))
    return {"customers": table_version(lake.table_uri("silver", "customers"))}


def test_a_mart_knows_what_it_was_built_from_and_is_built_again_when_that_changes(spark, lake, monkeypatch):
    uri = lake.table_uri("gold", "names")
    first = write_customers(spark, lake, "C1", "C1")
    assert built_from(NAMES, lake) is None
    assert not is_current(NAMES, first, lake)
    refresh(spark, NAMES, first, lake)
    assert is_current(NAMES, first, lake)
    assert built_from(NAMES, lake)["inputs"] == {"customers": 0}
    second = write_customers(spark, lake, "C2")
    assert not is_current(NAMES, second, lake)
    # It is built from the versions it is told, not from the newest.
    refresh(spark, NAMES, first, lake)
    assert spark.read.format("delta").load(uri).collect() == [("C1", 2)]
    refresh(spark, NAMES, second, lake)
    assert sorted(spark.read.format("delta").load(uri).collect()) == [("C1", 2), ("C2", 1)]
    # Maintenance of the table changes neither its rows nor what it stands on.
    open_table(uri).optimize.compact()
    assert is_current(NAMES, second, lake)
    monkeypatch.setattr(mart.inspect, "getsource", lambda _module: "another definition")
    assert not is_current(NAMES, second, lake)


def test_what_was_deleted_is_in_no_mart(spark, lake):
    write_customers(spark, lake, "C1")
    versions = write_customers(spark, lake, "C2", deleted_at=datetime(2024, 1, 1, tzinfo=UTC))
    refresh(spark, NAMES, versions, lake)
    assert spark.read.format("delta").load(lake.table_uri("gold", "names")).collect() == [("C1", 1)]


def test_a_stored_mart_carries_comments_and_personal_data_tags(spark, lake):
    refresh(spark, NAMES, write_customers(spark, lake, "C1"), lake)
    fields = {field.name: field for field in open_table(lake.table_uri("gold", "names")).schema().fields}
    assert fields["customer_id"].metadata == {"comment": "Customer.", "pii": "key"}
    (commit,) = open_table(lake.table_uri("gold", "names")).history()
    assert set(json.loads(commit["userMetadata"])) == {"inputs", "definition"}


@pytest.mark.parametrize("by", ["this process", "Spark"])
def test_a_mart_that_does_not_add_up_is_taken_back_and_is_still_to_be_built(spark, lake, monkeypatch, by):
    if by == "Spark":  # as for large tables
        monkeypatch.setattr("pipeline.refresh.aggregated", lambda *_args, **_options: None)
    first = write_customers(spark, lake, "C1")
    refresh(spark, NAMES, first, lake)
    second = write_customers(spark, lake, "C2", "C3")
    wrong = replace(NAMES, build=lambda silver: NAMES.build(silver).where("customer_id <> 'C3'"))
    with pytest.raises(FinlakeError, match=r"sum\(n\) is 2, but count\(\*\) of customers is 3"):
        refresh(spark, wrong, second, lake)
    uri = lake.table_uri("gold", "names")
    assert spark.read.format("delta").load(uri).collect() == [("C1", 1)]
    assert is_current(NAMES, first, lake)
    assert not is_current(NAMES, second, lake)
    fresh = replace(wrong, name="other")
    with pytest.raises(FinlakeError, match=r"gold\.other does not add up"):
        refresh(spark, fresh, second, lake)
    assert table_version(lake.table_uri("gold", "other")) == -1


def test_a_mart_whose_run_was_killed_before_it_was_checked_is_built_anew(spark, lake, monkeypatch):
    first = write_customers(spark, lake, "C1")
    refresh(spark, NAMES, first, lake)
    second = write_customers(spark, lake, "C2", "C3")
    wrong = replace(NAMES, build=lambda silver: NAMES.build(silver).where("customer_id <> 'C3'"))
    assert wrong.definition == NAMES.definition, "nothing in the commit tells them apart"

    def killed(*_):
        raise KeyboardInterrupt

    def rows():
        stored = spark.read.format("delta").load(lake.table_uri("gold", "names"))
        return sorted(row.customer_id for row in stored.collect())

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("pipeline.refresh.broken", killed)
        refresh(spark, wrong, second, lake)
    assert rows() == ["C1", "C2"]
    assert not is_current(NAMES, second, lake)
    with pytest.raises(FinlakeError, match="does not add up"):
        refresh(spark, wrong, second, lake)
    assert rows() == ["C1"], "it goes back to what was checked last, and not to what was found"
    assert is_current(NAMES, first, lake)
    assert refresh(spark, NAMES, second, lake) == REBUILT
    assert rows() == ["C1", "C2", "C3"]
    assert is_current(NAMES, second, lake)


@pytest.mark.parametrize("by", ["this process", "Spark"])
def test_a_total_may_take_rows_of_several_tables(spark, lake, monkeypatch, by):
    if by == "Spark":  # as for large tables
        monkeypatch.setattr("pipeline.refresh.tables_here", lambda *_args, **_options: None)
    joined = "{customers} AS c JOIN {mart} AS m ON m.customer_id = c.customer_id WHERE c.customer_id <> 'C9'"
    total = Total("sum(n)", "customers", "count(*)", joined, "customer_id <> 'C9'")
    right = replace(NAMES, totals=(total,))
    versions = write_customers(spark, lake, "C1", "C1", "C9")
    write_customers(spark, lake, "C1")  # which these versions do not know
    assert refresh(spark, right, versions, lake) == REBUILT
    wrong = replace(right, build=lambda silver: NAMES.build(silver).withColumn("n", F.col("n") + 1))
    with pytest.raises(FinlakeError, match=r"sum\(n\) is 3, but count\(\*\) of customers is 2"):
        refresh(spark, wrong, versions, lake)


def test_a_negative_count_is_never_stored(spark, lake):
    versions = write_customers(spark, lake, "C1")
    columns = (
        TableColumn("customer_id", "string", "Customer."),
        TableColumn("order_count", "bigint", "Orders."),
    )
    wrong = replace(
        NAMES,
        columns=columns,
        totals=(),
        build=lambda silver: silver["customers"].select("customer_id", F.lit(-1).alias("order_count")),
    )
    with pytest.raises(FinlakeError, match="1 rows have a negative count"):
        refresh(spark, wrong, versions, lake)


def test_marts_are_built_after_those_that_they_read():
    def reading(name, *inputs):
        return replace(NAMES, name=name, inputs=inputs)

    a, b, c = reading("a", "gold.b", "loans"), reading("b", "gold.c"), reading("c", "customers")
    levels = in_order([a, b, c, NAMES])
    assert [[mart.name for mart in level] for level in levels] == [["c", "names"], ["b"], ["a"]]
    with pytest.raises(ValueError, match="there is no mart d"):
        in_order([reading("a", "gold.d")])


def test_a_mart_reads_another_one_and_follows_it(spark, lake):
    versions = write_customers(spark, lake, "C1", "C1", "C2")
    refresh(spark, NAMES, versions, lake)
    count = Mart(
        "count",
        "All.",
        ("gold.names",),
        (TableColumn("n", "bigint", "Rows."),),
        lambda tables: tables["gold.names"].agg(F.sum("n").alias("n")),
        totals=(Total("sum(n)", "gold.names", "sum(n)"),),
    )
    found = input_versions(count.inputs, lake)
    assert refresh(spark, count, found, lake) == REBUILT
    assert spark.read.format("delta").load(lake.table_uri("gold", "count")).collect() == [(3,)]
    refresh(spark, NAMES, write_customers(spark, lake, "C3"), lake)
    assert not is_current(count, input_versions(count.inputs, lake), lake)
