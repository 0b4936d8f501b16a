"""A mart that follows its inputs is always what a full build makes of them."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from makers import put, row
from pyspark.sql import functions as F  # noqa: N812

from contracts import Consequence, load_contracts
from pipeline.forget import forget
from pipeline.gold import MARTS
from pipeline.gold.increments import Slices, Sums, Windows, moved_keys, moves
from pipeline.gold.mart import input_versions, is_current
from pipeline.maintain import maintain
from pipeline.refresh import rebuilt, refresh
from pipeline.run import run_pipeline
from pipeline.tables import forget_past, has_change_feed, open_table, table_version

pytestmark = [pytest.mark.spark, pytest.mark.slow]

EXAMPLES = int(os.environ.get("FINLAKE_GOLD_EXAMPLES", "4"))
FOLLOWING = tuple(mart for mart in MARTS if mart.increment)
BY_NAME = {mart.name: mart for mart in MARTS}


@pytest.fixture(scope="module", autouse=True)
def only_marts_that_follow():
    """Others are always built anew, which needs no second look."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("plan", "run", "forget"):
            patch.setattr(f"pipeline.{module}.MARTS", FOLLOWING)
        # However small they are, and however much has changed.
        patch.setattr("pipeline.refresh.FEW_ROWS", 0)
        patch.setattr("pipeline.refresh.FEW_FACTS", 0)
        patch.setattr("pipeline.refresh.MOST_SHARE", 1.0)
        patch.setattr("pipeline.refresh.MOST_REACHED", 10.0)
        yield


# --- The arithmetic, on histories that nobody would think of -----------------------------------------

ACCOUNTS = (
    "account_id string, customer_id string, branch_code string, currency string, balance decimal(18,2), "
    "opened_date date, closed_date date"
)
TRANSACTIONS = (
    "transaction_id string, account_id string, booking_date date, transaction_date date, channel string, "
    "transaction_type string, direction string, currency string, amount decimal(18,2), status string, "
    "transaction_at timestamp, counterparty_iban string, updated_at timestamp"
)
LOANS = (
    "loan_id string, customer_id string, product string, repayment_type string, collateral_type string, "
    "collateral_value decimal(18,2), currency string, annual_rate decimal(9,6), term_months int, "
    "principal decimal(18,2), start_date date, maturity_date date, monthly_installment decimal(18,2), "
    "branch_code string, updated_at timestamp"
)
PAYMENTS = (
    "payment_id string, loan_id string, due_date date, paid_date date, amount_due decimal(18,2), "
    "amount_paid decimal(18,2), principal_due decimal(18,2), currency string, status string, days_late int, "
    "shortfall decimal(18,2), late_fee decimal(18,2), updated_at timestamp"
)
HISTORY = (
    "version_id string, customer_id string, segment string, country string, kyc_status string, "
    "currency string, credit_score int, credit_band string, annual_income decimal(18,2), "
    "onboarding_date date, valid_from timestamp, valid_to timestamp, is_deleted boolean"
)
LOANS_HISTORY = "version_id string, " + LOANS.replace("branch_code string, updated_at", "valid_from")
LOANS_HISTORY += ", is_deleted boolean"
GONE = "_deleted_at timestamp"
days = st.dates(date(2024, 1, 30), date(2024, 2, 2))
ends = st.sampled_from([date(2024, 1, 31), date(2024, 2, 1), date(2024, 3, 31), date(2024, 4, 1)])
instants = st.sampled_from([datetime(2024, 2, 1), datetime(2024, 4, 1), datetime(2024, 4, 2, 10)])
customers = st.sampled_from(["C1", "C2"])
# Clocks of marts stay in April 2024; days are those before and after ends of months and quarters.
versions = st.sampled_from([datetime(2024, 4, 10), datetime(2024, 4, 20)])
accounts = st.fixed_dictionaries(
    {
        "customer_id": customers,
        "opened_date": ends,
        "closed_date": st.none() | ends,
        "branch_code": st.sampled_from(["B1", "B2"]),
        "currency": st.just("EUR"),
        "balance": st.decimals(-5, 5, places=2),
        "gone": st.booleans(),
    }
)
transactions = st.fixed_dictionaries(
    {
        "account_id": st.sampled_from(["A1", "A2", "A3"]),
        "booking_date": st.none() | days,
        "transaction_date": days,
        "channel": st.sampled_from(["pos", "atm"]),
        "transaction_type": st.sampled_from(["card_payment", "transfer_in", "transfer_out"]),
        "direction": st.sampled_from(["debit", "credit"]),
        "currency": st.sampled_from(["EUR", "USD"]),
        "amount": st.decimals("0.01", "9999999999999999.99", places=2) | st.just(Decimal("0.01")),
        "status": st.sampled_from(["booked", "failed", "pending"]),
        "transaction_at": st.sampled_from([datetime(2024, 1, 31, 4), datetime(2024, 1, 31, 23)]),
        "counterparty_iban": st.none() | st.sampled_from(["X1", "X2"]),
        "updated_at": versions,
        "gone": st.booleans(),
    }
)
loans = st.fixed_dictionaries(
    {
        "customer_id": customers,
        "product": st.sampled_from(["auto", "student"]),
        "principal": st.just(Decimal(600)),
        "currency": st.just("EUR"),
        "start_date": st.sampled_from([date(2022, 12, 31), date(2023, 12, 31), date(2024, 4, 1)]),
        "maturity_date": st.just(date(2025, 1, 1)),
        "monthly_installment": st.just(Decimal(100)),
        "branch_code": st.sampled_from(["B1", "B2"]),
        "updated_at": versions,
        "gone": st.booleans(),
    }
)
payments = st.fixed_dictionaries(
    {
        "loan_id": st.sampled_from(["L1", "L2"]),
        "due_date": st.sampled_from(
            [date(2023, 3, 1), date(2023, 12, 31), date(2024, 3, 30), date(2024, 4, 15)]
        )
        | ends,
        "paid_date": st.none() | st.sampled_from([date(2023, 5, 30), date(2023, 6, 1)]) | ends,
        "amount_due": st.just(Decimal(100)),
        "amount_paid": st.sampled_from([Decimal(0), Decimal(50), Decimal(100)]),
        "principal_due": st.sampled_from([Decimal(90), Decimal(80)]),
        "currency": st.just("EUR"),
        "status": st.sampled_from(["paid", "partial", "missed", "scheduled"]),
        "days_late": st.none() | st.sampled_from([0, 1, 31, 91]),
        "shortfall": st.sampled_from([Decimal(0), Decimal(50)]),
        "late_fee": st.none() | st.just(Decimal(5)),
        "updated_at": versions,
        "gone": st.booleans(),
    }
)
history_rows = st.fixed_dictionaries(
    {
        "customer_id": customers,
        "segment": st.sampled_from(["retail", "private"]),
        "currency": st.sampled_from(["EUR", "USD"]),
        "credit_score": st.none() | st.sampled_from([500, 700]),
        "annual_income": st.just(Decimal(1000)),
        "onboarding_date": st.just(date(2020, 1, 1)),
        "valid_from": st.just(datetime(2020, 1, 1)) | instants,
        "valid_to": st.none() | instants,
        "is_deleted": st.booleans(),
        "gone": st.just(value=False),
    }
)
loan_versions = st.fixed_dictionaries(
    {
        "loan_id": st.sampled_from(["L1", "L2"]),
        "customer_id": customers,
        "product": st.sampled_from(["auto", "student"]),
        "principal": st.sampled_from([Decimal(600), Decimal(700)]),
        "currency": st.just("EUR"),
        "start_date": st.sampled_from([date(2022, 12, 31), date(2023, 12, 31), date(2024, 4, 1)]),
        "maturity_date": st.just(date(2025, 1, 1)),
        "monthly_installment": st.just(Decimal(100)),
        "valid_from": st.just(datetime(2023, 1, 1)) | instants,
        "is_deleted": st.booleans(),
        "gone": st.just(value=False),
    }
)
KEYS = {
    "loans_history": (["V1", "V2", "V3", "V4"], loan_versions),
    "accounts": (["A1", "A2", "A3"], accounts),
    "transactions": (["T1", "T2", "T3", "T4"], transactions),
    "loans": (["L1", "L2"], loans),
    "payments": (["P1", "P2", "P3", "P4"], payments),
    "customers_history": (["H1", "H2", "H3"], history_rows),
}
SCHEMAS = {
    entity: f"{columns}, {GONE}"
    for entity, columns in (
        ("accounts", ACCOUNTS),
        ("transactions", TRANSACTIONS),
        ("loans", LOANS),
        ("payments", PAYMENTS),
        ("customers_history", HISTORY),
        ("loans_history", LOANS_HISTORY),
    )
}


def histories(inputs):
    """Lists of changes by table and key; None says that a row was erased."""
    changes = {
        name: st.dictionaries(st.sampled_from(KEYS[name][0]), KEYS[name][1] | st.none(), max_size=4)
        for name in inputs
    }
    return st.lists(st.fixed_dictionaries(changes), min_size=2, max_size=5)


MOMENT = "2024-03-01 00:00:00"


def as_rows(entity, values):
    names = [part.split()[0] for part in SCHEMAS[entity].replace("decimal(18,2)", "d").split(", ")]
    key = names[0]
    if entity == "loans_history":  # a loan has one version at most of each instant
        values = {
            number: value | {"valid_from": value["valid_from"] + timedelta(seconds=int(number[1:]))}
            for number, value in values.items()
        }
    return [
        {key: number, GONE.split(maxsplit=1)[0]: MOMENT if value["gone"] else None}
        | {name: value.get(name) for name in names[1:-1]}
        for number, value in values.items()
    ], names


def frame(spark, entity, values, kinds=None):
    """A table, or with kinds of change a feed, of a history's values by key."""
    rows, names = as_rows(entity, values) if isinstance(values, dict) else ([], [])
    if kinds is not None:
        rows, names = [], as_rows(entity, {})[1]
        for kind, number, value in values:
            (found,), _ = as_rows(entity, {number: value})
            rows.append(found | {"_change_type": kind})
        names = [*names, "_change_type"]
    schema = SCHEMAS[entity].replace(GONE, "_deleted_at string")
    schema += ", _change_type string" if kinds is not None else ""
    made = spark.createDataFrame([tuple(found[name] for name in names) for found in rows], schema)
    return made.withColumn("_deleted_at", F.col("_deleted_at").cast("timestamp"))


def play(history):
    """States of the tables before and after the last part of a history, and the feed in between."""
    before = {entity: {} for entity in SCHEMAS}
    for change in history[: len(history) // 2]:
        for entity, values in change.items():
            before[entity] |= values
    for values in before.values():
        for number in [number for number, value in values.items() if value is None]:
            del values[number]
    after = {entity: dict(values) for entity, values in before.items()}
    feeds = {entity: [] for entity in SCHEMAS}
    for change in history[len(history) // 2 :]:
        for entity, values in change.items():
            for number, value in values.items():
                if value is None:
                    if number in after[entity]:
                        feeds[entity].append(("delete", number, after[entity].pop(number)))
                    continue
                if number in after[entity]:
                    feeds[entity].append(("update_preimage", number, after[entity][number]))
                    feeds[entity].append(("update_postimage", number, value))
                else:
                    feeds[entity].append(("insert", number, value))
                after[entity][number] = value
    return before, after, feeds


def clock_of(mart, state):
    """Values of a mart's clock in a state of the tables."""
    known = getattr(mart.increment, "clock", None)
    reads = known.reads if known else {}
    found = {}
    for clock, (entity, sql) in reads.items():
        column = re.search(r"\((\w+)\)", sql)[1]
        rows = [value for value in state[entity].values() if not value["gone"]]
        best = {"min": min, "max": max}[re.search("min|max", sql)[0]]
        value = best((row[column] for row in rows), default=None)
        found[clock] = value.date() if isinstance(value, datetime) else value
    return found


def has_clock(mart):
    """Whether it is one of those that take longest here."""
    return isinstance(mart.increment, Slices) and mart.increment.clock is not None


@pytest.mark.parametrize("name", [mart.name for mart in FOLLOWING if not has_clock(mart)])
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_changes_an_updated_mart_is_a_full_build(spark, name, data):
    check_an_update(spark, BY_NAME[name], data.draw(histories(BY_NAME[name].inputs)))


@pytest.mark.parametrize("name", [mart.name for mart in FOLLOWING if has_clock(mart)])
@settings(max_examples=max(1, EXAMPLES // 2), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_changes_within_a_period_an_updated_mart_is_a_full_build(spark, name, data):
    check_an_update(spark, BY_NAME[name], data.draw(histories(BY_NAME[name].inputs)))


def test_the_last_instalment_that_goes_leaves_nothing_behind(spark):
    paid = {
        "loan_id": "L1", "due_date": date(2023, 3, 1), "currency": "EUR", "amount_due": Decimal(100),
        "amount_paid": Decimal(100), "shortfall": Decimal(0), "updated_at": datetime(2024, 4, 10),
        "gone": False,
    }  # fmt: skip
    history = [{"payments": {"P1": paid}}, {"payments": {"P1": None}}]
    check_an_update(spark, BY_NAME["payment_performance"], history)


def check_an_update(spark, mart, history):
    before, after, feeds = play(history)
    if has_clock(mart):
        assume(mart.increment.follows(clock_of(mart, before), clock_of(mart, after)))

    def living(state):
        return lambda entity: frame(spark, entity, state[entity]).where("_deleted_at IS NULL")

    def stored(rows):
        return rows.select(*[F.col(column.name).cast(column.type) for column in mart.columns])

    was, wanted = (stored(mart.build({n: living(s)(n) for n in mart.inputs})) for s in (before, after))
    fed = {entity: frame(spark, entity, feed, kinds=True) for entity, feed in feeds.items() if feed}
    if not fed:
        return
    check_what_is_told_without_spark(mart, fed, feeds)
    if isinstance(mart.increment, Sums):
        clocks = clock_of(mart, before), clock_of(mart, after)
        found = mart.increment.update(was, fed, living(before), living(after), mart.columns, clocks=clocks)
    elif isinstance(mart.increment, Windows):
        windows, names = mart.increment, [column.name for column in mart.columns]
        reached = windows.reached(was, fed)
        counted = [row.asDict() for row in windows.counted(reached).collect()]
        reach = windows.reach(counted, date(2024, 2, 28))
        found = was
        if reach:
            kept = was.where(~F.col(windows.month).isin(*reach.months))
            anew = windows.update(was, reached, reach, living(after), mart.build, names=names)
            found = kept.unionByName(stored(anew))
    else:
        assert isinstance(mart.increment, Slices)
        names, clock = [column.name for column in mart.columns], clock_of(mart, after)
        keys = mart.increment.keys(fed, living(after), clock)
        found = mart.increment.update(was, keys, living(after), mart.build, names=names, clock=clock)
    assert sorted(map(str, stored(found).collect())) == sorted(map(str, wanted.collect()))


def check_what_is_told_without_spark(mart, fed, feeds):
    """The same as with it."""
    here = {}
    for entity in fed:
        names = [part.split()[0] for part in SCHEMAS[entity].replace("decimal(18,2)", "d").split(", ")]
        changes = [
            as_rows(entity, {number: value})[0][0] | {"_change_type": kind}
            for kind, number, value in feeds[entity]
        ]
        rows = [{name: change.get(name) for name in (*names, "_change_type")} for change in changes]
        here[entity] = pl.DataFrame(rows, infer_schema_length=None)
    increment = mart.increment
    lookup = getattr(increment, "lookup", None)
    if lookup and lookup.table in fed:
        moved = not moved_keys(fed[lookup.table], lookup).isEmpty()
        assert moves(here[lookup.table], lookup, orphans=True) is moved
    if isinstance(increment, Slices) and not (increment.via or increment.seen):
        keys = increment.keys(fed, lambda _: None, {})
        assert sorted(increment.keys_here(here)) == sorted(found[0] for found in keys.collect())
    if isinstance(increment, Windows) and increment.fact in fed:
        reached = increment.reached(fed[increment.fact], {increment.fact: fed[increment.fact]}).collect()
        known = increment.reached_here(here[increment.fact])
        assert sorted(known.rows()) == sorted(tuple(found) for found in reached)
        assert sum(line["keys"] for line in increment.counted_here(known)) == len(reached)


# --- On a lake, through runs -----------------------------------------------------------------------


def check(spark, lake, marts=FOLLOWING):
    """Every mart is what a full build would make; returns the rows of each."""
    counted = {}
    for mart in marts:
        versions = input_versions(mart.inputs, lake)
        assert is_current(mart, versions, lake), mart.name
        full = rebuilt(spark, mart, versions, lake)
        columns = [F.col(column.name).cast(column.type) for column in mart.columns]
        stored = spark.read.format("delta").load(lake.table_uri("gold", mart.name)).select(*columns)
        found, wanted = (sorted(map(str, rows.collect())) for rows in (stored, full.select(*columns)))
        assert found == wanted, mart.name
        counted[mart.name] = len(found)
    return counted


def run(lake, **options):
    report = run_pipeline(lake, **options)
    assert report.errors == []
    return {mart.mart: mart.status for mart in report.marts}


FIRST = {
    "customers": [row("customers"), row("customers", customer_id="C2")],
    "accounts": [row("accounts"), row("accounts", account_id="A2", customer_id="C2")],
    "loans": [row("loans"), row("loans", loan_id="L2", product="auto")],
    "payments": [
        row("payments"),
        row("payments", payment_id="P2", loan_id="L2", status="missed", amount_paid="0.00", paid_date=""),
    ],
    "transactions": [row("transactions"), row("transactions", transaction_id="T2", account_id="A2")],
}
NEW = "2024-02-01T00:00:00Z"
NEWER = "2024-02-20T00:00:00Z"  # in the same month, so that marts of months follow as well
SECOND = {
    "transactions": [
        row("transactions", amount="20.00", updated_at=NEW),  # a restatement
        row(
            "transactions",
            transaction_id="T3",
            transaction_at="2023-12-05T10:00:00Z",
            booking_date="2023-12-05",
        ),
        row("transactions", transaction_id="T4", account_id="A3", direction="credit", amount="0.07"),
    ],
    "accounts": [row("accounts", account_id="A3"), row("accounts", balance="-3.00", updated_at=NEW)],
    "payments": [row("payments", payment_id="P2", loan_id="L2", updated_at=NEW, paid_date="2023-02-11")],
}
THIRD = {
    "accounts": [row("accounts", branch_code="B777", updated_at=NEWER)],  # its transactions move with it
    "loans": [row("loans", loan_id="L2", product="student", updated_at=NEWER)],
    "transactions": [
        row("transactions", transaction_id="T2", account_id="A2", updated_at=NEWER) | {"op": "D"}
    ],
}


@pytest.fixture(scope="module")
def story(spark, lake_at, tmp_path_factory):
    """A lake in its life: what each step made of the marts."""
    lake = lake_at(tmp_path_factory.mktemp("gold"))
    steps = {}
    for number, batch in enumerate((FIRST, SECOND, THIRD)):
        for entity, rows in batch.items():
            files = [found for found in rows if "op" not in found]
            if files:
                put(lake, entity, f"{number}.csv", files)
            if marked := [found for found in rows if "op" in found]:
                put(lake, entity, f"{number}-op.csv", marked)
        statuses = run(lake)
        steps[number] = statuses, check(spark, lake) if number else {}, files_by_month(lake)
    return lake, steps


def files_by_month(lake):
    """Files of fraud_signals, by the month that their folder is of."""
    found = {}
    for uri in open_table(lake.table_uri("gold", "fraud_signals")).file_uris():
        folder, _, name = uri.rpartition("/")
        found.setdefault(folder.rpartition("activity_month=")[2], set()).add(name)
    return found


def test_marts_follow_new_changed_late_and_deleted_rows(story):
    _, steps = story
    assert set(steps[0][0].values()) == {"rebuilt"}
    for number in (1, 2):
        statuses = steps[number][0]
        expected = dict.fromkeys(statuses, "updated")
        if number == 1:  # a month has ended since, which gives every customer another row
            expected["customer_features"] = "rebuilt"
        assert statuses == expected


def test_only_months_that_changed_rows_reach_are_written_again(story):
    _, steps = story
    files = [steps[number][2] for number in range(3)]
    assert set(files[0]) == {"2024-01-01"}
    assert set(files[2]) == set(files[1]) == {"2023-12-01", "2024-01-01"}
    # A late row in December reaches into January; one of January that was deleted does not reach back.
    assert files[1]["2024-01-01"] != files[0]["2024-01-01"]
    assert files[2]["2023-12-01"] == files[1]["2023-12-01"]
    assert files[2]["2024-01-01"] != files[1]["2024-01-01"]


def test_a_full_refresh_builds_all_marts_and_changes_none(spark, story):
    lake, steps = story
    assert set(run(lake, layer="gold", full_refresh=True).values()) == {"rebuilt"}
    assert check(spark, lake) == steps[2][1]


def test_after_an_erasure_and_after_maintenance_marts_are_still_right(spark, story):
    lake, _ = story
    forget(lake, "C2")
    check(spark, lake)
    put(lake, "transactions", "4.csv", [row("transactions", transaction_id="T9", account_id="A2")])
    statuses = run(lake)
    assert statuses["daily_transactions"] == "updated", "nothing that the feed needs was erased since"
    check(spark, lake)
    maintain(lake)
    put(lake, "transactions", "5.csv", [row("transactions", transaction_id="T10")])
    assert run(lake)["daily_transactions"] == "updated"
    check(spark, lake)


def test_what_the_feed_does_not_tell_is_built_anew(spark, story):
    lake, _ = story
    uri, mart = lake.table_uri("silver", "transactions"), BY_NAME["daily_transactions"]
    since = table_version(uri)
    put(lake, "transactions", "6.csv", [row("transactions", transaction_id="T11")])
    run(lake, layer="silver")
    assert has_change_feed(uri, since, table_version(uri))
    open_table(uri).alter.set_table_properties({"delta.logRetentionDuration": "interval 9 days"})
    assert not has_change_feed(uri, since, table_version(uri)), "the table itself has changed"
    forget_past(uri)
    assert not has_change_feed(uri, since, table_version(uri)), "commits are gone"
    assert refresh(spark, mart, input_versions(mart.inputs, lake), lake) == "rebuilt"
    run(lake, layer="gold")
    check(spark, lake)


def test_what_is_too_large_for_this_process_is_told_by_spark(spark, story, monkeypatch):
    lake, _ = story
    for name in ("aggregated", "changes_read_here"):
        monkeypatch.setattr(f"pipeline.refresh.{name}", lambda *_args, **_options: None)
    marts = tuple(BY_NAME[name] for name in ("fraud_signals", "account_balances_daily", "monthly_cash_flow"))
    monkeypatch.setattr("pipeline.run.MARTS", marts)
    put(lake, "transactions", "8.csv", [row("transactions", transaction_id="T13", account_id="A3")])
    put(lake, "accounts", "8.csv", [row("accounts", account_id="A3", branch_code="B5", updated_at=NEWER)])
    assert set(run(lake).values()) == {"updated"}
    check(spark, lake, marts)


def test_an_update_that_does_not_add_up_is_followed_by_a_full_build(spark, story, monkeypatch):
    lake, _ = story
    mart = BY_NAME["monthly_cash_flow"]
    put(lake, "transactions", "7.csv", [row("transactions", transaction_id="T12")])
    run(lake, layer="silver")
    lossy = replace(mart.increment, where=lambda: F.lit(False))
    broken = replace(mart, increment=lossy)
    assert refresh(spark, broken, input_versions(mart.inputs, lake), lake) == "rebuilt"
    run(lake, layer="gold")
    check(spark, lake)


def test_where_orphans_are_let_in_a_parent_that_arrives_later_gives_them_their_branch(
    spark, lake, monkeypatch
):
    contracts = load_contracts()
    warning = {"unknown_parent": Consequence("warning")}
    contracts["transactions"] = replace(contracts["transactions"], consequences=warning)
    monkeypatch.setattr("pipeline.run.load_contracts", lambda: contracts)
    marts = tuple(mart for mart in FOLLOWING if not has_clock(mart))
    monkeypatch.setattr("pipeline.run.MARTS", marts)
    put(lake, "customers", "1.csv", [row("customers")])
    put(
        lake,
        "transactions",
        "1.csv",
        [row("transactions"), row("transactions", transaction_id="T2", account_id="A2")],
    )
    put(lake, "accounts", "1.csv", [row("accounts")])
    run(lake)
    put(lake, "accounts", "2.csv", [row("accounts", account_id="A2", branch_code="B009")])
    statuses = run(lake)
    assert statuses["daily_transactions"] == "updated"
    check(spark, lake, marts)
