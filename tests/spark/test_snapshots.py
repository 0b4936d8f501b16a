"""Full snapshots: what they lack is closed, whatever order they come in; what comes back was never closed."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from deltalake import DeltaTable
from makers import as_csv, put, row

import pipeline.run as run_module
import pipeline.silver as silver_module
import pipeline.verify as verify_module
from contracts import load_contracts
from pipeline.ledger import Ledger
from pipeline.run import run_pipeline
from pipeline.settings import Settings
from pipeline.verify import verify

pytestmark = pytest.mark.spark

DAY = timedelta(days=1)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def lake_at(tmp_path):
    def at(name):
        uris = {f"{layer}_uri": f"file://{tmp_path / name / layer}" for layer in ("bronze", "silver", "gold")}
        return Settings(env="test", **uris)

    return at


@pytest.fixture
def contract(monkeypatch):
    """Customers come as full snapshots."""
    contracts = load_contracts()
    changed = replace(contracts["customers"], operation_column=None, is_snapshot=True)

    def use(**more):
        contracts["customers"] = replace(changed, **more)
        for module in (run_module, verify_module):
            monkeypatch.setattr(module, "load_contracts", lambda: contracts)

    use()
    return use


def deliver(lake, day, rows, name="customers"):
    """Put a file of the snapshot of a day, by its number."""
    lines = [
        row("customers", customer_id=key, city=city, updated_at=f"{updated:%Y-%m-%dT%H:%M:%SZ}")
        for key, city, updated in rows
    ]
    put(lake, "customers", f"ingest_date={FIRST + (day - 1) * DAY:%Y-%m-%d}/{name}.csv", as_csv(lines))


def load(lake):
    report = run_pipeline(lake, entities=["customers"], layer="silver")
    assert report.errors == []
    return report.entities[0]


def stored(lake, table="customers"):
    return pl.from_arrow(DeltaTable(lake.table_uri("silver", table)).to_pyarrow_table())


def closed(lake):
    """Day of its closing by key; None for an open one."""
    found = stored(lake).select("customer_id", "_deleted_at").sort("customer_id")
    return {key: at and (at - FIRST) // DAY + 1 for key, at in found.iter_rows()}


def at(day, hour=12):
    return FIRST + (day - 1) * DAY + timedelta(hours=hour - 12)


def test_a_key_that_a_snapshot_lacks_is_closed_and_keeps_its_values(spark, lake_at, contract):
    lake = lake_at("lake")
    deliver(lake, 1, [("C1", "Bonn", at(1)), ("C2", "Hof", at(1))])
    load(lake)
    deliver(lake, 2, [("C1", "Bonn", at(1))])
    report = load(lake)
    assert (report.closed, report.reopened, report.outcomes["duplicate"]) == (1, 0, 1)
    assert closed(lake) == {"C1": None, "C2": 2}
    assert stored(lake).filter(customer_id="C2")["city"].to_list() == ["Hof"]
    (batch,) = Ledger(lake).read("batches").filter(batch=2).to_dicts()
    assert (batch["closed"], batch["reopened"]) == (1, 0)
    ends = stored(lake, "customers_history").filter(customer_id="C2").sort("valid_from")
    assert ends.select("valid_from", "valid_to", "is_current", "is_deleted", "city").rows() == [
        (at(1), FIRST + DAY, False, False, "Hof"),
        (FIRST + DAY, None, False, True, None),
    ]
    # With the same row again it is open again, and was never closed.
    deliver(lake, 3, [("C1", "Bonn", at(1)), ("C2", "Hof", at(1))])
    report = load(lake)
    assert (report.closed, report.reopened) == (0, 1)
    assert closed(lake) == {"C1": None, "C2": None}
    back = stored(lake, "customers_history").filter(customer_id="C2")
    assert back.select("valid_to", "is_current").rows() == [(None, True)]
    assert load(lake).read == 0
    assert all(check.ok for check in verify(lake) if check.name.startswith("customers: "))


@pytest.mark.slow
def test_a_quarantined_row_shows_that_its_key_is_there(spark, lake_at, contract):
    lake = lake_at("lake")
    deliver(lake, 1, [("C1", "Bonn", at(1)), ("C2", "Hof", at(1))])
    load(lake)
    bad = row("customers", customer_id="C1", email="x")
    put(lake, "customers", "ingest_date=2026-01-02/customers.csv", as_csv([bad]))
    assert load(lake).outcomes["quarantined"] == 1
    assert closed(lake) == {"C1": None, "C2": 2}


def test_a_file_in_no_folder_of_a_day_and_a_day_without_rows_close_nothing(spark, lake_at, contract):
    lake = lake_at("lake")
    deliver(lake, 1, [("C1", "Bonn", at(1))])
    load(lake)
    put(lake, "customers", "elsewhere.csv", as_csv([row("customers", customer_id="C2")]))
    header = ",".join(row("customers")) + "\n"
    put(lake, "customers", "ingest_date=2026-01-02/customers.csv", header)
    (note,) = [note for note in load(lake).notes if "elsewhere" in note]
    assert "rejected: it is in no folder ingest_date=YYYY-MM-DD" in note
    assert closed(lake) == {"C1": None}


@pytest.mark.slow
def test_a_snapshot_that_lacks_more_keys_than_may_be_is_not_loaded(spark, lake_at, contract):
    contract(closes_at_most=25)
    lake = lake_at("lake")
    deliver(lake, 1, [(f"C{number}", "Bonn", at(1)) for number in range(4)])
    load(lake)
    deliver(lake, 2, [("C0", "Bonn", at(1)), ("C1", "Bonn", at(1))])
    (error,) = run_pipeline(lake, entities=["customers"], layer="silver").errors
    assert "2 of 4 keys are missing from the snapshot, more than the 25 % that the contract allows" in error
    assert set(closed(lake).values()) == {None}
    deliver(lake, 2, [("C2", "Bonn", at(1))], name="the-rest")  # its missing file arrives
    assert load(lake).closed == 1
    assert closed(lake) == {"C0": None, "C1": None, "C2": None, "C3": 2}


@pytest.mark.slow
@pytest.mark.parametrize("step", ["write_silver", "write_history"])
def test_an_interrupted_batch_closes_what_it_would_have_closed(spark, lake_at, contract, monkeypatch, step):
    lake = lake_at("lake")
    deliver(lake, 1, [("C1", "Bonn", at(1)), ("C2", "Hof", at(1))])
    load(lake)
    deliver(lake, 2, [("C1", "Ulm", at(2))])
    write = getattr(silver_module, step)

    def killed(*arguments, **named):
        write(*arguments, **named)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(silver_module, step, killed)
        load(lake)
    assert load(lake).closed == 1
    assert closed(lake) == {"C1": None, "C2": 2}
    assert stored(lake, "customers_history").height == 4
    assert all(check.ok for check in verify(lake) if check.name.startswith("customers: "))


# What the snapshots hold, by day and file: (key, city, day of the version).
DELIVERIES = [
    (1, "a", [("C1", "Bonn", 1), ("C2", "Hof", 1), ("C3", "Ulm", 1)]),
    (1, "b", [("C4", "Trier", 1), ("C5", "Jena", 1)]),
    (2, "a", [("C1", "Bonn", 1), ("C2", "Fürth", 2), ("C6", "Gera", 2)]),
    (2, "b", [("C4", "Trier", 1)]),
    (3, "a", [("C1", "Köln", 3), ("C3", "Ulm", 1), ("C4", "Trier", 1), ("C7", "Suhl", 4)]),
    (4, "a", [("C1", "Köln", 3), ("C4", "Essen", 4), ("C4", "Hamm", 2)]),
]


def drawn(chance):
    """Snapshots with days missing between them, of one or two files each; some come again with other rows."""
    deliveries = []
    for day in sorted(chance.sample(range(1, 9), 4)):
        for name in ("a", "b")[: chance.randint(1, 2)]:
            for _ in range(1 + (not deliveries or chance.random() < 0.3)):
                updates = {f"C{number}": chance.randint(1, day + 1) for number in range(1, 7)}
                keys = chance.sample(sorted(updates), chance.randint(1, 4))
                deliveries.append((day, name, [(key, f"City {updates[key]}", updates[key]) for key in keys]))
    return deliveries


def in_batches(deliveries, most):
    """What each run finds; a file that comes again takes the place of the one that was read before."""
    batch = []
    for day, name, rows in deliveries:
        if len(batch) == most or any((day, name) == known[:2] for known in batch):
            yield batch
            batch = []
        batch.append((day, name, rows))
    yield batch


def model(deliveries):
    """Silver (city, day of closing) and history (key, city, from, to), by the words of the docs."""
    days = sorted({day for day, _, _ in deliveries})
    versions, seen = {}, {}
    for day, _, rows in deliveries:
        for key, city, updated in rows:
            versions.setdefault(key, {})[updated] = city
            seen[key] = max(seen.get(key, 0), day)
    silver, history = {}, set()
    for key, held in versions.items():
        end = next((day for day in days if day > seen[key]), None)
        silver[key] = (held[max(held)], end)
        steps = [(at(day), city) for day, city in sorted(held.items())]
        if end:
            steps.append(
                (max(FIRST + (end - 1) * DAY, at(max(held)) + timedelta(microseconds=1)), "(closed)")
            )
        for (begin, city), following in zip(steps, [*steps[1:], (None, "")], strict=True):
            history.add((key, city, begin, following[0]))
    return silver, history


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_snapshots_and_of_their_files_does_not_matter(spark, lake_at, contract, seed):
    lake = lake_at("lake")
    chance = random.Random(seed)  # noqa: S311 - an order, not a secret
    deliveries = list(DELIVERIES) if seed < 2 else drawn(chance)
    if seed:
        chance.shuffle(deliveries)
    read = 0
    for batch in in_batches(deliveries, 1 + seed % 3):
        for day, name, rows in batch:
            deliver(lake, day, [(key, city, at(up)) for key, city, up in rows], name)
        read += load(lake).read
    assert read == sum(len(rows) for _, _, rows in deliveries)
    silver, history = model(deliveries)
    days = closed(lake)
    cities = dict(stored(lake).select("customer_id", "city").iter_rows())
    assert {key: (cities[key], days[key]) for key in cities} == silver
    past = stored(lake, "customers_history").with_columns(
        pl.when("is_deleted").then(pl.lit("(closed)")).otherwise("city").alias("city")
    )
    assert set(past.select("customer_id", "city", "valid_from", "valid_to").iter_rows()) == history
    assert past.height == len(history)
    assert all(check.ok for check in verify(lake) if check.name.startswith("customers: "))
