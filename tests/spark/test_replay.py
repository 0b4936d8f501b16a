"""Quarantined rows are tried again after a rule was changed: what passes leaves, what does not stays."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from makers import as_csv, put, row
from test_silver import (
    Killed,
    check_accounting,
    interrupt,
    load,
    outcome,
    quarantine,
    silver,
)

from contracts import load_contract
from pipeline.ledger import Ledger
from pipeline.maintain import maintain
from pipeline.quarantine import held_rows, replay
from pipeline.run import run_pipeline
from pipeline.tables import table_version
from pipeline.verify import verify

pytestmark = pytest.mark.spark

NO_PHONE = "call me"
ROWS = [
    row("customers"),
    row("customers", customer_id="C2", phone=NO_PHONE),
    row("customers", customer_id="C3", phone=NO_PHONE, email="x"),
    row("customers", customer_id="C5", phone=NO_PHONE),
    row("customers", customer_id="C5", phone=NO_PHONE),
    row("customers", customer_id="C6", updated_at="2024-02-01T00:00:00Z"),
    row("customers", customer_id="C6", phone=NO_PHONE),
    row("customers", customer_id="C7", phone=NO_PHONE, updated_at="2024-03-01T00:00:00Z"),
    row("customers", customer_id="C7"),
    row("customers", customer_id="", phone=NO_PHONE),
]
BROKEN = as_csv([row("customers", customer_id="C8", city="Köln")]).encode("latin-1")


def without_the_rule():
    """The contract of customers, which once said what a phone number looks like."""
    contract = load_contract("customers")
    changed = [
        replace(c, pattern=None, max_length=None) if c.name == "phone" else c for c in contract.columns
    ]
    return replace(contract, columns=tuple(changed))


class Story:
    """A lake with rows in quarantine, which can be taken back to that state."""

    def __init__(self, lake, folder: Path) -> None:
        self.lake, self.folder = lake, folder
        put(lake, "customers", "1.csv", ROWS)
        # Enough of UTF-8 that the file counts as such, so that its one line is broken.
        good = as_csv([row("customers", city="Zürich")]).encode()
        put(lake, "customers", "2.csv", good + BROKEN.splitlines()[1])
        load(lake, "customers")
        in_step(lake)
        self.before = quarantine(lake, "customers")
        shutil.copytree(folder / "silver", folder / "kept")

    def restore(self) -> None:
        """Take the tables back to where they were before the rule was changed."""
        shutil.rmtree(self.folder / "silver")
        shutil.copytree(self.folder / "kept", self.folder / "silver")


@pytest.fixture(scope="module")
def story(spark, lake_at, tmp_path_factory):
    """A lake with rows in quarantine, for some of which the rule is gone by now."""
    folder = tmp_path_factory.mktemp("held")
    story = Story(lake_at(folder), folder)
    contract = without_the_rule()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.run.load_contracts", lambda: {"customers": contract})
        yield story


@pytest.fixture(scope="module")
def undisturbed(story):
    """What a replay said, and what it leaves behind."""
    (report,) = replay(story.lake, "customers", "bad_phone").entities
    in_step(story.lake)
    return report, state(story.lake), silver(story.lake, "customers"), quarantine(story.lake, "customers")


def state(lake):
    """All that a replay leaves behind, without what differs from run to run."""
    ledger = Ledger(lake)
    frames = [silver(lake, "customers"), quarantine(lake, "customers")]
    frames += [ledger.read("row_counts"), ledger.read("quarantine_reasons")]
    frames += [ledger.read("batches").select("batch", "status", "replays", "replay_reasons")]
    return [
        sorted(map(str, frame.drop("run_id", "_run_id", "_ingested_at", strict=False).rows()))
        for frame in frames
    ]


def data_versions(lake):
    return [table_version(lake.table_uri(layer, "customers")) for layer in ("silver", "quarantine")]


def lines(frame):
    return sorted(zip(frame["_source_file"].str.slice(-5), frame["_source_row"], strict=True))


def in_step(lake):
    """Whether the ledger, the table and the sums agree."""
    check_accounting(lake, "customers")
    counted = Ledger(lake).held_reasons()["customers"]
    found = {}
    for held in held_rows(lake):
        found[held.reason] = found.get(held.reason, 0) + held.rows
    assert dict(counted) == found
    checks = [check for check in verify(lake) if check.name.startswith("customers")]
    assert checks
    assert [check for check in checks if not check.ok] == []


def test_rows_whose_rule_is_gone_enter_silver_and_leave_quarantine_and_no_other_is_touched(
    story, undisturbed
):
    report, _, in_silver, after = undisturbed
    # C2, C5 and its copy, an older C6, a newer C7.
    assert (outcome(report), report.released, report.files) == ((2, 1, 1, 1, 0), 5, 0)
    assert lines(after) == [("1.csv", 4), ("1.csv", 11), ("2.csv", 3)]
    position = ["_source_file", "_source_row"]
    assert after.sort(position).equals(story.before.join(after, position, "semi").sort(position))
    found = {row["customer_id"]: row["_source_row"] for row in in_silver.iter_rows(named=True)}
    assert {key: found[key] for key in ("C2", "C6", "C7")} == {"C2": 3, "C6": 7, "C7": 9}


@pytest.mark.slow
def test_a_replay_that_is_killed_is_done_by_the_next_run_and_a_second_one_changes_nothing(story, undisturbed):
    story.restore()
    lake = story.lake
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        interrupt(patch, "write_quarantine")
        replay(lake, "customers", "bad_phone")
    left = {work.table for work in maintain(lake).tables if work.left_alone}
    assert left == {"silver.customers", "silver.customers_history", "quarantine.customers"}
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
        interrupt(patch, "write_silver")
        run_pipeline(lake, entities=["customers"], layer="silver")
    report = load(lake, "customers")["customers"]
    assert report.released == 5
    assert state(lake) == undisturbed[1]
    in_step(lake)
    maintain(lake, retention=timedelta(0), allow_short=True)
    before = data_versions(lake)
    assert run_pipeline(lake, entities=["customers"], layer="silver").run_id is None
    (again,) = replay(lake, "customers").entities
    assert (again.read, again.released) == (0, 0)
    assert data_versions(lake) == before
    in_step(lake)


def test_a_row_without_a_value_gets_it_once_the_contract_knows_the_column_by_the_name_in_its_file(
    spark, lake, monkeypatch
):
    names = {"email": "E-Mail Address"}
    named = {names.get(name, name): value for name, value in row("customers").items()}
    put(lake, "customers", "1.csv", [named, named | {"customer_id": "C2", "E-Mail Address": "x"}])
    contract = load_contract("customers")

    def with_email(**changes):
        columns = [replace(c, **changes) if c.name == "email" else c for c in contract.columns]
        changed = {"customers": replace(contract, columns=tuple(columns))}
        monkeypatch.setattr("pipeline.run.load_contracts", lambda: changed)

    with_email(required=True)
    assert outcome(load(lake, "customers")["customers"]) == (0, 0, 0, 0, 2)
    with_email(required=True, aliases=("e-mail address",))
    (report,) = replay(lake, "customers").entities
    assert (outcome(report), report.released) == ((1, 0, 0, 0, 0), 1)
    assert silver(lake, "customers")["email"].to_list() == ["ann.lee@example.com"]
    assert lines(quarantine(lake, "customers")) == [("1.csv", 3)]


def test_what_is_from_the_future_of_its_file_waits_however_late_it_is_read(spark, lake):
    """The days of folders decide, so one row cannot move the clock by which marts age loans."""
    late = {"updated_at": "2024-02-03T00:00:00Z"}
    put(lake, "customers", "ingest_date=2024-02-01/a.csv", [row("customers"), row("customers", **late)])
    put(lake, "customers", "ingest_date=2024-02-02/b.csv", [row("customers", customer_id="C2", **late)])
    far = {"updated_at": "9999-12-31T23:59:59.999999Z"}
    put(lake, "customers", "of no day.csv", [row("customers", customer_id="C3", **late | far)])
    (found,) = run_pipeline(lake, entities=["customers"], layer="silver").entities
    assert (outcome(found), found.reasons) == ((2, 0, 0, 0, 2), {"in_future:updated_at": 2})
    assert silver(lake, "customers")["updated_at"].max().isoformat() == "2024-02-03T00:00:00+00:00"
    held = {(Path(one.file).name, one.reason) for one in held_rows(lake, ["customers"], "in_future")}
    assert held == {(name, "in_future:updated_at") for name in ("a.csv", "of no day.csv")}
    (again,) = replay(lake, "customers", "in_future").entities
    assert sum(outcome(again)) == 0
    assert quarantine(lake, "customers").height == 2
