"""Runs on a lake on disk: accounted for to the row, whatever arrives, in whatever order, however often."""

from __future__ import annotations

import gzip
import random
import shutil
import time
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from chispa import assert_df_equality
from deltalake import DeltaTable, write_deltalake
from makers import as_csv, put, row

import pipeline.plan as plan_module
import pipeline.run as run_module
import pipeline.silver as silver_module
from contracts import Column, Consequence, load_contract, load_contracts
from pipeline.dedupe import DISPOSITIONS
from pipeline.errors import FinlakeError
from pipeline.gold import MARTS
from pipeline.ledger import Ledger
from pipeline.maintain import maintain
from pipeline.run import run_pipeline
from pipeline.tables import ensure_table, open_table, table_version
from pipeline.verify import verify
from pipeline.writes import append

pytestmark = pytest.mark.spark


def load(lake, *entities, layer="silver"):
    """Run, and give the outcome by entity; a run of these tests never fails."""
    report = run_pipeline(lake, entities=entities, layer=layer)
    assert report.errors == []
    return {entity.entity: entity for entity in report.entities}


def outcome(report):
    """Outcomes in the order of DISPOSITIONS: inserted, updated, duplicate, stale, quarantined."""
    return tuple(report.outcomes[name] for name in DISPOSITIONS)


def rows_of(layer, lake, entity):
    return pl.from_arrow(DeltaTable(lake.table_uri(layer, entity)).to_pyarrow_table())


silver, quarantine = partial(rows_of, "silver"), partial(rows_of, "quarantine")


def check_accounting(lake, *entities):
    """Each file's sums balance, and the tables hold exactly what the sums say."""
    counts = Ledger(lake).read("row_counts")
    assert counts.filter(pl.col("read") != pl.sum_horizontal(*DISPOSITIONS)).is_empty()
    for entity in entities:
        mine = counts.filter(pl.col("entity") == entity)
        released = mine.filter(pl.col("origin") == "quarantine")["read"].sum()
        assert silver(lake, entity).height == mine["inserted"].sum()
        assert quarantine(lake, entity).height == mine["quarantined"].sum() - released


def all_versions(lake):
    """Every Delta commit of the lake."""
    root = Path(lake.silver_uri.removeprefix("file://")).parent
    return sorted(str(path.relative_to(root)) for path in root.rglob("_delta_log/*.json"))


# --- Bad files beside good ones ---------------------------------------------------------------------

FILES = {
    "a plain.csv": as_csv([row("customers", customer_id="C2"), row("customers", customer_id="C3")]),
    "old.csv": as_csv([row("customers", customer_id="C7", date_of_birth="0198-05-03")]),
    "empty.csv": "",
    "header.csv": as_csv([row("customers")]).splitlines()[0],
    "picture.csv": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(range(256)) * 9,
    "_hidden.csv": as_csv([row("customers", customer_id="C8")]),
    "headless.csv": as_csv([row("customers", customer_id="C9")]).splitlines()[1] + "\n",
    "truncated %20[1].csv.gz": gzip.compress(
        as_csv([row("customers", customer_id=f"X{n}", city=str(n * n)) for n in range(9999)]).encode()
    )[:-5000],
    "good.csv.gz": gzip.compress(as_csv([row("customers", customer_id="C11")]).encode()),
    "vanishing.csv": as_csv([row("customers", customer_id="C12")]),
    "changing.csv": as_csv([row("customers", customer_id="C13")]),
    "quote.csv": as_csv([row("customers", customer_id="C14")]) + 'C15,"Ann,Lee\n',
}  # fmt: skip


@pytest.fixture(scope="module")
def bad_input(spark, lake_at, tmp_path_factory):
    """A lake after one run over files of every kind, and what the run said."""
    lake = lake_at(tmp_path_factory.mktemp("bad"))
    paths = {name: put(lake, "customers", name, content) for name, content in FILES.items()}
    begin = Ledger.begin

    def files_change_meanwhile(ledger, batch):
        begin(ledger, batch)
        paths["vanishing.csv"].unlink(missing_ok=True)
        paths["changing.csv"].write_text(as_csv([row("customers", customer_id="C130", city="Bonn")]))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ledger, "begin", files_change_meanwhile)
        report = load(lake, "customers")["customers"]
    return lake, report


def test_good_files_are_loaded_although_others_are_bad(bad_input):
    lake, report = bad_input
    found = silver(lake, "customers")
    assert set(found["customer_id"]) == {"C2", "C3", "C7", "C11", "C14"}
    assert found.filter(pl.col("customer_id") == "C7")["date_of_birth"].to_list() == [date(198, 5, 3)]
    assert (report.read, outcome(report)) == (7, (5, 0, 0, 0, 2))
    check_accounting(lake, "customers")


def test_rows_that_cannot_be_used_are_in_quarantine_with_line_and_reason(bad_input):
    lake, _ = bad_input
    found = {
        (Path(held["_source_file"]).name, held["_source_row"]): held["_reasons"]
        for held in quarantine(lake, "customers").iter_rows(named=True)
    }
    assert found[("headless.csv", 1)] == ["unreadable_header"]
    assert found[("quote.csv", 3)] == ["stray_quote"]
    assert len(found) == 2


@pytest.mark.parametrize(
    ("name", "status", "note"),
    [
        ("empty.csv", "empty", "no bytes"),
        ("picture.csv", "rejected", "not a text file"),
        ("_hidden.csv", "rejected", "rename it"),
        ("truncated %20[1].csv.gz", "unreadable", "the gzip stream ends early"),
        ("vanishing.csv", "vanished", "the file is gone"),
        ("changing.csv", "vanished", "its content changed"),
        ("headless.csv", "loaded", "is not a header of customers"),
        ("header.csv", "loaded", "no rows"),
        ("good.csv.gz", "loaded", ""),
    ],
)
def test_every_file_has_a_state_and_what_was_noticed(bad_input, name, status, note):
    lake, report = bad_input
    uri = f"{lake.bronze_entity_uri('customers')}/{name}"
    files = Ledger(lake).read("files")
    (found,) = files.filter(pl.col("path") == uri).to_dicts()
    assert found["status"] == status
    assert note in "; ".join(found["notes"])
    told = [text for text in report.notes if text.startswith(uri)]
    assert bool(told) == bool(note)
    assert all(note in text for text in told)


def test_a_next_run_reads_only_the_file_whose_content_changed(bad_input):
    lake, _ = bad_input
    report = load(lake, "customers")["customers"]
    assert (report.files, outcome(report)) == (1, (1, 0, 0, 0, 0))
    assert "C130" in set(silver(lake, "customers")["customer_id"])
    check_accounting(lake, "customers")


# --- Order of arrival -------------------------------------------------------------------------------


def history(seed):
    """Versions of a few customers, with copies and ties, spread over files."""
    chance = random.Random(seed)  # noqa: S311 - a history, not a secret
    rows = [
        row(
            "customers",
            customer_id=f"C{chance.randrange(4)}",
            city=chance.choice(["Berlin", "Bonn", "Köln"]),
            credit_score=chance.choice(["700", "650", "x"]),
            op=chance.choice(["", "I", "u", "D", "?"]),
            updated_at=f"2024-01-0{chance.randrange(1, 5)}T00:00:00Z",
        )
        for _ in range(24)
    ]
    return [rows[0:8], rows[8:16], rows[16:24]]


def business(spark, lake, entity, table=None):
    """What does not tell one run from another, in a fixed order."""
    frame = spark.read.format("delta").load(lake.table_uri("silver", table or entity))
    varying = {"_ingested_at", "_run_id", "_source_file", "_source_row"}
    names = [name for name in frame.columns if name not in varying]
    return frame.select(*names).orderBy(*names)


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))])
def test_silver_depends_neither_on_the_order_of_files_nor_on_how_they_are_grouped(
    spark, lake_at, tmp_path, monkeypatch, seed
):
    parts = history(seed)
    arrivals = {"all at once": [[0, 1, 2]], "backwards and again": [[2], [1, 0, 2]]}
    if seed > 1:
        chance = random.Random(seed)  # noqa: S311 - an order, not a secret
        runs = [[chance.randrange(3)] for _ in range(3)]
        arrivals["one by one, as it happens"] = [*runs, chance.sample(range(3), 3)]
    frames, histories, read = [], [], []
    for (name, runs), large in zip(arrivals.items(), [200, 0, seed % 2], strict=False):
        monkeypatch.setattr(silver_module, "LARGE_TABLE_ROWS", large)
        lake = lake_at(tmp_path / name.replace(" ", "-"))
        for run, numbers in enumerate(runs):
            for number in numbers:
                put(lake, "customers", f"{run}-{number}.csv", parts[number])
            load(lake, "customers")
        check_accounting(lake, "customers")
        frames.append(business(spark, lake, "customers"))
        histories.append(business(spark, lake, "customers", "customers_history"))
        read.append(Ledger(lake).read("row_counts")["read"].sum())
    assert read[:2] == [24, 32]
    assert frames[0].count() == 4
    assert histories[0].count() > 4
    for other in range(1, len(arrivals)):
        assert_df_equality(frames[0], frames[other])
        assert_df_equality(histories[0], histories[other])


# --- History and deletions --------------------------------------------------------------------------


def versions_of(lake, key):
    """(city, from, to, current, deleted) of each version of a customer, days as numbers."""
    found = rows_of("silver", lake, "customers_history").filter(pl.col("customer_id") == key)
    return [
        (
            version["city"],
            version["valid_from"].day,
            version["valid_to"] and version["valid_to"].day,
            version["is_current"],
            version["is_deleted"],
        )
        for version in found.sort("valid_from").iter_rows(named=True)
    ]


def dated(city, day, op="U", **changes):
    return row("customers", city=city, updated_at=f"2024-01-{day:02}T00:00:00Z", op=op, **changes)


def test_a_customer_moves_leaves_and_comes_back_and_a_late_version_finds_its_place(spark, lake):
    put(lake, "customers", "1.csv", [dated("Berlin", 1, "I"), dated("Köln", 3)])
    assert outcome(load(lake, "customers")["customers"]) == (1, 0, 0, 1, 0)
    assert versions_of(lake, "C1") == [("Berlin", 1, 3, False, False), ("Köln", 3, None, True, False)]
    # A deletion has nothing but its key and version; whatever else stands there is not kept.
    gone = {"customer_id": "C1", "updated_at": "2024-01-05T00:00:00Z", "op": "d", "city": "Bonn"}
    put(lake, "customers", "2.csv", as_csv([gone]))
    assert outcome(load(lake, "customers")["customers"]) == (0, 1, 0, 0, 0)
    (stored,) = silver(lake, "customers").iter_rows(named=True)
    filled = {name for name, value in stored.items() if value is not None and not name.startswith("_")}
    assert filled == {"customer_id", "updated_at"}
    assert stored["_deleted_at"].day == 5
    assert versions_of(lake, "C1")[-2:] == [("Köln", 3, 5, False, False), (None, 5, None, False, True)]
    # Late, the same twice, and the customer is back.
    late = [dated("Bonn", 2), dated("Berlin", 1, ""), dated("Ulm", 7), dated("Ulm", 7)]
    put(lake, "customers", "3.csv", late)
    assert outcome(load(lake, "customers")["customers"]) == (0, 1, 1, 2, 0)
    assert versions_of(lake, "C1") == [
        ("Berlin", 1, 2, False, False),
        ("Bonn", 2, 3, False, False),
        ("Köln", 3, 5, False, False),
        (None, 5, 7, False, True),
        ("Ulm", 7, None, True, False),
    ]
    assert silver(lake, "customers")["_deleted_at"].to_list() == [None]
    check_accounting(lake, "customers")
    broken = [check for check in verify(lake) if check.name.startswith("customers: ") and not check.ok]
    assert broken == []


def test_an_operation_that_is_none_is_put_into_quarantine(spark, lake):
    put(lake, "customers", "1.csv", [dated("Berlin", 1, "X"), dated("Bonn", 2, "D", customer_id="")])
    report = load(lake, "customers")["customers"]
    assert report.reasons == {"unknown_operation:op": 1, "missing_key:customer_id": 1}


def test_children_of_a_deleted_parent_are_no_orphans(spark, lake):
    put(lake, "customers", "1.csv", [dated("Berlin", 1), dated("", 2, "D")])
    put(lake, "accounts", "1.csv", [row("accounts")])
    assert outcome(load(lake, "customers", "accounts")["accounts"]) == (1, 0, 0, 0, 0)


# --- Schema changes ---------------------------------------------------------------------------------


def with_columns(*rows, **columns):
    return [found | columns for found in rows]


def test_a_new_column_comes_into_silver_and_history_and_older_rows_have_none(spark, lake):
    put(lake, "customers", "1.csv", [dated("Berlin", 1)])
    load(lake, "customers")
    new = with_columns(dated("Köln", 2), dated("Bonn", 1, customer_id="C2"), **{"Loyalty Tier": "gold"})
    put(lake, "customers", "2.csv", new)
    killed_run(lake, "write_history", entity="customers")
    assert outcome(load(lake, "customers")["customers"]) == (1, 1, 0, 0, 0)
    # Without the column again, and the other way round, with all columns in another order.
    put(lake, "customers", "3.csv", [dict(reversed(dated("Ulm", 1, customer_id="C3").items()))])
    put(lake, "customers", "4.csv", with_columns(dated("Hof", 3), another="x"))
    assert outcome(load(lake, "customers")["customers"]) == (1, 1, 0, 0, 0)
    current = silver(lake, "customers").sort("customer_id")
    assert current["loyalty_tier"].to_list() == [None, "gold", None]
    assert current["another"].to_list() == ["x", None, None]
    past = rows_of("silver", lake, "customers_history").sort("customer_id", "valid_from")
    assert past.filter(customer_id="C1")["loyalty_tier"].to_list() == [None, "gold", None]
    check_accounting(lake, "customers")
    assert all(check.ok for check in verify(lake) if check.name.startswith("customers: "))


def test_a_row_is_the_same_whether_or_not_its_file_has_the_new_column(spark, lake):
    put(lake, "customers", "1.csv", [dated("Berlin", 1)])
    put(lake, "customers", "2.csv", with_columns(dated("Berlin", 1), tier=""))
    put(lake, "customers", "3.csv", with_columns(dated("Berlin", 1), tier="gold"))
    first = outcome(load(lake, "customers")["customers"])
    assert first == (1, 0, 1, 1, 0), "an empty value is none; another value is another row"


def with_contract(monkeypatch, entity, **changes):
    contracts = load_contracts()
    contracts[entity] = replace(contracts[entity], **changes)
    monkeypatch.setattr(run_module, "load_contracts", lambda: contracts)


def test_a_copy_of_a_row_is_a_duplicate_after_the_contract_got_a_column(spark, lake, monkeypatch):
    put(lake, "customers", "1.csv", [dated("Berlin", 1)])
    load(lake, "customers")
    put(lake, "customers", "2.csv", [dated("Berlin", 1)])
    put(lake, "customers", "3.csv", with_columns(dated("Berlin", 1), tier=""))
    columns = load_contract("customers").columns
    wider = [replace(c, physical_type="decimal(20,4)") if c.name == "annual_income" else c for c in columns]
    with_contract(monkeypatch, "customers", columns=(*wider, Column("tier", "string", "Loyalty.")))
    assert outcome(load(lake, "customers")["customers"]) == (0, 0, 2, 0, 0)


def test_a_history_that_would_lack_versions_is_refused(spark, lake, monkeypatch):
    put(lake, "customers", "1.csv", [dated("Berlin", 1)])
    with monkeypatch.context() as before:
        with_contract(before, "customers", keeps_history=False)
        load(lake, "customers")
        put(lake, "customers", "2.csv", [dated("Bonn", 2)])
        load(lake, "customers")
    state = all_versions(lake)
    for dry_run in (False, True):
        with pytest.raises(
            FinlakeError, match="the contract of customers keeps a history, and rows were loaded"
        ):
            run_pipeline(lake, entities=["customers"], dry_run=dry_run)
    assert all_versions(lake) == state


@pytest.mark.parametrize("policy", ["ignore", "fail"])
def test_the_contract_says_what_becomes_of_new_columns(spark, lake, monkeypatch, policy):
    with_contract(monkeypatch, "customers", schema_policy=policy)
    put(lake, "customers", "1.csv", with_columns(dated("Berlin", 1), tier="gold"))
    report = run_pipeline(lake, entities=["customers"], layer="silver")
    if policy == "ignore":
        assert report.errors == []
        assert "tier" not in silver(lake, "customers").columns
        return
    (error,) = report.errors
    assert "1.csv has not the columns of the contract: additional columns: tier" in error
    assert silver(lake, "customers").is_empty()
    # Nothing is lost: once the contract takes them in, they are loaded.
    monkeypatch.undo()
    assert outcome(load(lake, "customers")["customers"]) == (1, 0, 0, 0, 0)


# --- What follows from a broken rule ----------------------------------------------------------------


def with_consequences(monkeypatch, **consequences):
    contracts = load_contracts()
    contracts["customers"] = replace(contracts["customers"], consequences=consequences)
    monkeypatch.setattr(run_module, "load_contracts", lambda: contracts)


def test_a_rule_that_warns_marks_the_row_and_keeps_it(spark, lake, monkeypatch):
    warning = Consequence("warning")
    with_consequences(monkeypatch, bad_phone=warning, born_before_onboarding=warning)
    both = row("customers", customer_id="C2", phone="030", date_of_birth="2021-01-01")
    bad = row("customers", customer_id="C3", phone="030", email="x")
    put(lake, "customers", "1.csv", [row("customers"), both, bad])
    report = load(lake, "customers")["customers"]
    assert (outcome(report), report.reasons) == ((2, 0, 0, 0, 1), {"bad_email:email": 1})
    assert report.warnings == {"bad_phone:phone": 1, "born_before_onboarding": 1}
    marks = dict(silver(lake, "customers").select("customer_id", "_warnings").iter_rows())
    assert marks == {"C1": None, "C2": ["bad_phone:phone", "born_before_onboarding"]}
    levels = Ledger(lake).read("quarantine_reasons").select("reason", "level").sort("reason").rows()
    assert levels == [
        ("bad_email:email", "error"),
        ("bad_phone:phone", "warning"),
        ("born_before_onboarding", "warning"),
    ]
    check_accounting(lake, "customers")


def test_what_is_missing_malformed_or_an_orphan_can_be_kept_with_a_warning(spark, lake, monkeypatch):
    warning = Consequence("warning")
    contracts = load_contracts()
    contracts["accounts"] = replace(
        contracts["accounts"],
        consequences={
            "missing_value": warning,
            "malformed_date:opened_date": warning,
            "unknown_parent:customer_id": warning,
        },
    )
    monkeypatch.setattr(run_module, "load_contracts", lambda: contracts)
    kept = row("accounts", account_id="A1", customer_id="C9", opened_date="yesterday", currency="")
    lost = [row("accounts", account_id="A2", updated_at=""), row("accounts", account_id="", currency="")]
    put(lake, "accounts", "1.csv", [kept, *lost])
    report = load(lake, "accounts")["accounts"]
    assert outcome(report) == (1, 0, 0, 0, 2)
    assert report.reasons == {"missing_value:updated_at": 1, "missing_key:account_id": 1}
    wanted = {"missing_value:currency", "malformed_date:opened_date", "unknown_parent:customer_id"}
    (stored,) = silver(lake, "accounts").select("opened_date", "currency", "_warnings").iter_rows()
    assert (stored[0], stored[1], set(stored[2])) == (None, None, wanted)
    check_accounting(lake, "accounts")


@pytest.mark.slow
def test_a_partitioned_table_holds_the_same_rows_in_folders(spark, lake, monkeypatch, tmp_path):
    files = {
        "1.csv": [row("customers", customer_id=f"C{n}", country="DE" if n % 2 else "FR") for n in range(6)],
        "2.csv": [row("customers", customer_id="C1", country="FR", updated_at="2024-06-01T00:00:00Z")],
    }
    contracts = load_contracts()
    contracts["customers"] = replace(contracts["customers"], partition_by=("country",))
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "load_contracts", lambda: contracts)
        for name, rows in files.items():  # the second merges, and moves a row to another folder
            put(lake, "customers", name, rows)
            load(lake, "customers")
        uri = lake.table_uri("silver", "customers")
        assert open_table(uri).metadata().partition_columns == ["country"]
        countries = silver(lake, "customers").sort("customer_id")["country"].to_list()
        assert countries == ["FR", "FR", "FR", "DE", "FR", "DE"]
        check_accounting(lake, "customers")
    # What the contract no longer says is not done behind its back.
    put(lake, "customers", "3.csv", [row("customers", customer_id="C7")])
    with pytest.raises(FinlakeError, match="is partitioned by country, and not by nothing"):
        load(lake, "customers")


def test_a_rule_that_fails_stops_the_load_before_anything_is_written(spark, lake, monkeypatch):
    with_consequences(monkeypatch, bad_phone=Consequence("fail"))
    put(lake, "customers", "1.csv", [row("customers"), row("customers", customer_id="C2", email="x")])
    broken = put(lake, "customers", "2.csv", [row("customers", customer_id="C3", phone="030")])
    put(lake, "accounts", "1.csv", [row("accounts")])
    for _ in range(2):  # and again, as long as nothing has changed
        report = run_pipeline(lake, entities=["customers", "accounts"], layer="silver")
        first, second = report.errors
        assert "customers was not loaded: 1 of 3 rows break rule bad_phone, and none may" in first
        assert "accounts: not loaded, because customers failed" in second
        assert [silver(lake, "customers").height, quarantine(lake, "customers").height] == [0, 0]
        assert Ledger(lake).open_batches() == []
    broken.write_text(as_csv([row("customers", customer_id="C3")]))
    loaded = load(lake, "customers", "accounts")
    assert outcome(loaded["customers"]) == (2, 0, 0, 0, 1)
    assert outcome(loaded["accounts"]) == (1, 0, 0, 0, 0)
    check_accounting(lake, "customers", "accounts")


# --- A lake with a history: orphans, updates, interruptions -----------------------------------------

FIRST = [
    row("accounts"),
    row("accounts", account_id="A2", balance="5.00"),
    row("accounts", account_id="A3", customer_id="C2"),
    row("accounts", account_id="A4", customer_id="C2", status="open"),
    row("accounts", account_id="A5", customer_id="C9"),
]
SECOND = [
    row("accounts"),
    row("accounts", account_id="A2", balance="6.00", updated_at="2024-02-01T00:00:00Z"),
    row("accounts", account_id="A2", balance="7.00", updated_at="2024-03-01T00:00:00Z"),
    row("accounts", account_id="A2", balance="1.00", updated_at="2023-01-01T00:00:00Z"),
    row("accounts", account_id="A6"),
    row("accounts", account_id="A6"),
    row("accounts", account_id="A7", customer_id="C8"),
    row("accounts", account_id=""),
]


def add_customers(lake, *keys):
    """Put customers into Silver without a run; all that a child looks at is the key."""
    uri = lake.table_uri("silver", "customers")
    ensure_table(uri, silver_module.silver_columns(load_contract("customers")))
    write_deltalake(uri, pl.DataFrame({"customer_id": keys}).to_arrow(), mode="append", schema_mode="merge")


class Story:
    """A lake on which a first run was done, and that can be taken back to that state."""

    def __init__(self, lake, folder: Path) -> None:
        self.lake = lake
        self.folder = folder
        add_customers(lake, "C1")
        put(lake, "accounts", "1.csv", FIRST)
        self.first = load(lake, "accounts")["accounts"]
        add_customers(lake, "C2")
        put(self.lake, "accounts", "2.csv", SECOND)
        shutil.copytree(folder / "silver", folder / "kept")

    def restore(self) -> None:
        """Take the tables back to where they were before the second file of accounts was read."""
        shutil.rmtree(self.folder / "silver")
        shutil.copytree(self.folder / "kept", self.folder / "silver")

    def state(self) -> dict[str, list[tuple[object, ...]]]:
        """All that a run leaves behind for accounts, without what differs from run to run."""
        varying = ["run_id", "_run_id", "_ingested_at", "seconds"]
        ledger = Ledger(self.lake)
        frames = {
            "silver": silver(self.lake, "accounts"),
            "history": rows_of("silver", self.lake, "accounts_history"),
            "quarantine": quarantine(self.lake, "accounts"),
            "row_counts": ledger.read("row_counts"),
            "reasons": ledger.read("quarantine_reasons"),
            "files": ledger.read("files").drop("notes"),
            "batches": ledger.read("batches").select("entity", "batch", "status"),
        }
        return {
            name: sorted(map(repr, frame.drop(varying, strict=False).iter_rows()))
            for name, frame in frames.items()
        }


@pytest.fixture(scope="module")
def story(spark, lake_at, tmp_path_factory):
    folder = tmp_path_factory.mktemp("story") / "lake"
    return Story(lake_at(folder), folder)


@pytest.fixture(scope="module")
def undisturbed(story):
    """What is there after runs that were never interrupted."""
    story.restore()
    report = load(story.lake, "accounts")["accounts"]
    check_accounting(story.lake, "accounts")
    return story.state(), report


def test_orphans_wait_in_quarantine(story):
    assert outcome(story.first) == (2, 0, 0, 0, 3)
    assert story.first.reasons == {"unknown_parent:customer_id": 3, "known_status:status": 1}


def test_orphans_come_back_by_themselves_when_their_parent_is_there(story, undisturbed):
    _, report = undisturbed
    assert report.released == 1
    lake = story.lake
    story.restore()
    # Without any new file of accounts: the parent alone is reason enough.
    file = Path(lake.bronze_entity_uri("accounts").removeprefix("file://")) / "2.csv"
    file.rename(story.folder / "2.csv")
    try:
        alone = load(lake, "accounts")["accounts"]
        assert (outcome(alone), alone.released, alone.files) == ((1, 0, 0, 0, 0), 1, 0)
        origin = {
            found["account_id"]: (Path(found["_source_file"]).name, found["_source_row"])
            for found in silver(lake, "accounts").iter_rows(named=True)
        }
        assert origin == {"A1": ("1.csv", 2), "A2": ("1.csv", 3), "A3": ("1.csv", 4)}
        # One has another reason as well, the other one's parent is still unknown.
        assert quarantine(lake, "accounts")["_source_row"].sort().to_list() == [5, 6]
        check_accounting(lake, "accounts")
        before = all_versions(lake)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("pipeline.session.start_session", lambda: pytest.fail("Spark was started"))
            assert run_pipeline(lake, entities=["accounts"], layer="silver").run_id is None
        assert all_versions(lake) == before
    finally:
        (story.folder / "2.csv").rename(file)


def test_the_second_file_is_accounted_for_to_the_row(undisturbed):
    _, report = undisturbed
    # A6 and the released A3; A2; copies of A1 and A6; two older versions of A2; two bad rows.
    assert outcome(report) == (2, 1, 2, 2, 2)
    assert report.reasons == {"unknown_parent:customer_id": 1, "missing_key:account_id": 1}


class Killed(BaseException):
    """Ends a run as a kill does: nothing in the project catches it."""


def interrupt(patch, step):
    """Break the next run off, after one of its steps."""

    def after(function):
        def wrapped(*arguments, **options):
            function(*arguments, **options)
            raise Killed

        return wrapped

    if step in ("write_quarantine", "write_silver", "write_history"):
        patch.setattr(silver_module, step, after(getattr(silver_module, step)))
    elif step == "begin":
        patch.setattr(Ledger, "begin", after(Ledger.begin))
    elif step == "begin, half":
        patch.setattr(Ledger, "_put_files", after(Ledger._put_files))
    else:
        replace = Ledger._replace

        def replace_and_die(ledger, table, rows, batch):
            replace(ledger, table, rows, batch)
            # The beginning of a batch writes its files as well, as pending.
            if table == step and (table != "files" or any(found["status"] == "loaded" for found in rows)):
                raise Killed

        patch.setattr(Ledger, "_replace", replace_and_die)


def killed_run(lake, step, entity="accounts"):
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        interrupt(patch, step)
        run_pipeline(lake, entities=[entity], layer="silver")


def test_a_killed_run_that_is_started_again_leaves_what_an_undisturbed_run_leaves(story, undisturbed):
    story.restore()
    killed_run(story.lake, "write_quarantine")
    load(story.lake, "accounts")
    assert story.state() == undisturbed[0]


@pytest.mark.slow
def test_a_run_killed_again_and_again_leaves_what_an_undisturbed_run_leaves(story, undisturbed):
    story.restore()
    killed_run(story.lake, "begin, half")
    killed_run(story.lake, "write_silver")
    killed_run(story.lake, "write_history")
    begun = Ledger(story.lake).open_batches()[0].run_id
    for step in ("row_counts", "files"):
        killed_run(story.lake, step)
    load(story.lake, "accounts")
    assert story.state() == undisturbed[0]
    # What is done again is done in the name of the run that began it.
    assert set(silver(story.lake, "accounts").filter(pl.col("account_id") == "A6")["_run_id"]) == {begun}


@pytest.mark.slow
def test_a_run_killed_between_newer_versions_and_new_keys_leaves_what_an_undisturbed_run_leaves(
    story, undisturbed, monkeypatch
):
    story.restore()
    before = table_version(story.lake.table_uri("silver", "accounts"))

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(silver_module, "LARGE_TABLE_ROWS", 0)
        patch.setattr(silver_module, "append", killed)
        run_pipeline(story.lake, entities=["accounts"], layer="silver")
    assert table_version(story.lake.table_uri("silver", "accounts")) == before + 1
    load(story.lake, "accounts")
    assert story.state() == undisturbed[0]


def test_a_run_that_lost_its_lock_does_not_say_that_its_batch_is_done(spark, lake, monkeypatch):
    put(lake, "customers", "1.csv", [row("customers")])

    def slept(*args, **options):
        found = load_batch(*args, **options)
        lock = Path(lake.table_uri("ops", "_locks").removeprefix("file://")) / "customers.json"
        lock.write_text(lock.read_text().replace('"run_id": "', '"run_id": "another-'))
        return found

    load_batch = run_module.load_batch
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "load_batch", slept)
        with pytest.raises(FinlakeError, match="lost its lock of customers"):
            run_pipeline(lake, entities=["customers"])
    assert Ledger(lake).read("batches")["status"].to_list() == ["started"]
    Path(lake.table_uri("ops", "_locks").removeprefix("file://"), "customers.json").unlink()
    assert outcome(load(lake, "customers")["customers"]) == (1, 0, 0, 0, 0)
    check_accounting(lake, "customers")


@pytest.mark.slow
def test_a_run_that_slept_while_another_one_did_its_batch_adds_nothing(spark, lake, monkeypatch):
    put(lake, "customers", "1.csv", [row("customers"), row("customers", customer_id="")])
    write_silver = silver_module.write_silver

    def slept(*args, **options):
        monkeypatch.setattr(silver_module, "write_silver", write_silver)
        Path(lake.table_uri("ops", "_locks").removeprefix("file://"), "customers.json").unlink()
        assert outcome(load(lake, "customers")["customers"]) == (1, 0, 0, 0, 1)
        return write_silver(*args, **options)

    monkeypatch.setattr(silver_module, "write_silver", slept)
    with pytest.raises(FinlakeError, match="lost its lock of customers"):
        run_pipeline(lake, entities=["customers"])
    check_accounting(lake, "customers")
    assert Ledger(lake).read("batches")["status"].to_list() == ["committed"]
    assert all(check.ok for check in verify(lake) if check.name.startswith("customers: "))


@pytest.mark.slow
def test_a_parent_that_arrives_before_an_interrupted_batch_is_done_again_releases_its_orphans(spark, lake):
    add_customers(lake, "C1")
    put(lake, "accounts", "1.csv", [row("accounts"), row("accounts", account_id="A2", customer_id="C2")])
    killed_run(lake, "begin")
    add_customers(lake, "C2")
    report = load(lake, "accounts")["accounts"]
    assert (outcome(report), report.released) == ((2, 0, 0, 0, 1), 1)
    assert quarantine(lake, "accounts").is_empty()
    assert run_pipeline(lake, entities=["accounts"], layer="silver").run_id is None


def test_rows_whose_parents_have_no_table_yet_wait_and_the_run_makes_none(spark, lake):
    put(lake, "accounts", "1.csv", [row("accounts")])
    report = load(lake, "accounts")["accounts"]
    assert outcome(report) == (0, 0, 0, 0, 1)
    assert table_version(lake.table_uri("silver", "customers")) == -1, "its own job makes it"
    add_customers(lake, row("accounts")["customer_id"])
    assert load(lake, "accounts")["accounts"].released == 1
    assert quarantine(lake, "accounts").is_empty()


def test_an_interrupted_batch_whose_only_file_is_gone_takes_its_bad_rows_back(spark, lake):
    file = put(lake, "customers", "1.csv", [row("customers", customer_id="")])
    killed_run(lake, "write_quarantine", entity="customers")
    assert quarantine(lake, "customers").height == 1
    file.unlink()
    report = load(lake, "customers")["customers"]
    assert any("the file is gone" in note for note in report.notes)
    assert quarantine(lake, "customers").is_empty()
    check_accounting(lake, "customers")


# --- What is loaded, and what is left alone ---------------------------------------------------------


def test_a_run_loads_what_it_is_told_to_and_a_second_one_has_nothing_to_do(spark, lake, monkeypatch):
    one_mart = tuple(mart for mart in MARTS if mart.name == "loan_portfolio")
    monkeypatch.setattr(run_module, "MARTS", one_mart)
    monkeypatch.setattr(plan_module, "MARTS", one_mart)
    put(lake, "customers", "1.csv", [row("customers")])
    put(lake, "loans", "1.csv", [row("loans")])
    gold = run_pipeline(lake, layer="gold")
    assert gold.entities == []
    assert Ledger(lake).read("files").is_empty()
    only = run_pipeline(lake, entities=["customers"])
    assert ([report.entity for report in only.entities], only.marts) == (["customers"], [])
    assert table_version(lake.table_uri("silver", "loans")) == -1, "its own job makes it"
    report = run_pipeline(lake)
    assert report.errors == []
    assert {found.entity: found.read for found in report.entities if found.read} == {"loans": 1}
    assert {found.mart: found.status for found in report.marts} == {"loan_portfolio": "rebuilt"}
    before = all_versions(lake)
    monkeypatch.setattr("pipeline.session.start_session", lambda: pytest.fail("Spark was started"))
    again = run_pipeline(lake)
    assert (again.run_id, again.changed, again.errors) == (None, False, [])
    assert all_versions(lake) == before


@pytest.mark.slow
def test_an_append_of_a_dead_run_cannot_get_in_once_its_batch_is_done_again(spark, lake):
    put(lake, "customers", "1.csv", [row("customers"), row("customers", customer_id="")])
    killed_run(lake, "begin", entity="customers")
    batch = Ledger(lake).open_batches()[0]
    before_the_kill = time.time_ns()
    load(lake, "customers")
    for layer in ("silver", "quarantine"):
        uri = lake.table_uri(layer, "customers")
        rows = spark.read.format("delta").load(uri)
        assert rows.count() == 1
        open_table(uri).create_checkpoint()
        maintain(lake)
        append(rows, uri, replace(batch, begun_ns=before_the_kill))
        assert spark.read.format("delta").load(uri).count() == 1
        now = replace(batch, begun_ns=time.time_ns())
        append(rows, uri, now)  # which shows that it is the time that keeps it out
        assert spark.read.format("delta").load(uri).count() == 2


@pytest.mark.slow
def test_rows_of_a_file_that_vanishes_before_its_batch_is_done_again_leave_silver_and_quarantine(spark, lake):
    put(lake, "customers", "1.csv", [row("customers")])
    gone = put(
        lake, "customers", "2.csv", [row("customers", customer_id="C2"), row("customers", customer_id="")]
    )
    killed_run(lake, "write_silver", entity="customers")
    assert (silver(lake, "customers").height, quarantine(lake, "customers").height) == (2, 1)
    gone.unlink()
    load(lake, "customers")
    assert silver(lake, "customers")["customer_id"].to_list() == ["C1"]
    assert quarantine(lake, "customers").is_empty()
    check_accounting(lake, "customers")
