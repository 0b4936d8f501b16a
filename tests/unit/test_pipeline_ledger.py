"""What was done is written down before and after, and can be read back as it was."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import polars as pl
import pytest

from pipeline.layout import Layout
from pipeline.ledger import BRONZE, QUARANTINE, Batch, BronzeFile, Ledger, RowCount

ALONE = BronzeFile(
    "file:///b/1.csv",
    10,
    "etag-1",
    notes=("encoding UTF-16", "delimiter ';'"),
    layout=Layout(("loan_id", "größe"), ";", "UTF-16", has_header=True, problem=None),
)
HEADLESS = BronzeFile(
    "file:///b/2.csv", 20, "etag-2", layout=Layout((), ",", has_header=False, problem="unreadable_header")
)
EMPTY = BronzeFile("file:///b/3.csv", 0, "etag-3", "empty", ("the file has no bytes",))
GONE = BronzeFile("file:///b/4.csv", 5, "etag-4", "vanished", ("the file is gone",))
BATCH = Batch(
    entity="payments",
    number=1,
    run_id="20240501T120000-aaaa",
    ingested_at=datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=UTC),
    silver_version=0,
    quarantine_version=3,
    parent_versions={"loans": 7},
    files=(ALONE, HEADLESS, EMPTY, GONE),
)
ORPHAN = "unknown_parent:loan_id"
COUNTS = [
    RowCount(
        ALONE.path,
        BRONZE,
        Counter(inserted=5, quarantined=3),
        Counter({"unknown_parent:loan_id": 2, "missing_key:payment_id": 1}),
    ),
    RowCount(HEADLESS.path, BRONZE, Counter(quarantined=4), Counter(unreadable_header=4)),
]


@pytest.fixture
def ledger(lake):
    return Ledger(lake)


def by_path(files):
    return sorted(files, key=lambda file: file.path)


def test_a_new_ledger_is_empty(ledger):
    assert ledger.open_batches() == []
    assert ledger.known_files() == set()
    assert ledger.held_reasons() == {}
    assert ledger.last_parent_versions() == {}
    assert ledger.next_number("payments") == 1


def test_a_batch_that_was_begun_is_read_back_as_it_was_to_be_done_again(ledger):
    ledger.begin(BATCH)
    (found,) = ledger.open_batches()
    assert replace(found, files=()) == replace(BATCH, files=(), redo=True)
    assert by_path(found.files) == by_path(BATCH.files)
    assert found.loadable == BATCH.loadable


def test_a_committed_batch_is_no_longer_open_and_its_counts_are_stored(ledger):
    ledger.begin(BATCH)
    ledger.commit(BATCH, COUNTS, 1.5)
    assert ledger.open_batches() == []
    counts = ledger.read("row_counts").sort("path").to_dicts()
    assert [(row["read"], row["inserted"], row["quarantined"]) for row in counts] == [(8, 5, 3), (4, 0, 4)]
    reasons = {
        (row["path"], row["reason"]): row["rows"] for row in ledger.read("quarantine_reasons").to_dicts()
    }
    assert reasons == {
        (ALONE.path, "missing_key:payment_id"): 1,
        (ALONE.path, "unknown_parent:loan_id"): 2,
        (HEADLESS.path, "unreadable_header"): 4,
    }
    (batch,) = ledger.read("batches").to_dicts()
    assert (batch["status"], batch["seconds"]) == ("committed", 1.5)


def test_committing_twice_counts_once(ledger):
    ledger.begin(BATCH)
    for _ in range(2):
        ledger.commit(BATCH, COUNTS, 1.5)
    assert ledger.read("row_counts")["read"].sum() == 12
    assert ledger.read("files").height == 4


@pytest.mark.parametrize("kept", range(4))
def test_a_commit_that_breaks_off_leaves_a_batch_that_reads_the_same_files_again(ledger, monkeypatch, kept):
    ledger.begin(BATCH)
    writes = iter(range(4))
    replace_really = ledger._replace

    def break_off(*arguments):
        if next(writes) == kept:
            raise KeyboardInterrupt
        replace_really(*arguments)

    monkeypatch.setattr(ledger, "_replace", break_off)
    with pytest.raises(KeyboardInterrupt):
        ledger.commit(BATCH, COUNTS, 1.5)
    monkeypatch.undo()
    (found,) = ledger.open_batches()
    assert found.loadable == BATCH.loadable
    ledger.commit(found, COUNTS, 1.5)
    assert ledger.open_batches() == []
    assert ledger.read("row_counts")["read"].sum() == 12


def test_a_refusal_that_breaks_off_leaves_a_batch_that_reads_the_same_files_again(ledger, monkeypatch):
    ledger.begin(BATCH)
    put_files = ledger._put_files

    def break_off(batch):
        put_files(batch)
        raise KeyboardInterrupt

    monkeypatch.setattr(ledger, "_put_files", break_off)
    with pytest.raises(KeyboardInterrupt):
        ledger.refuse(BATCH)
    monkeypatch.undo()
    (found,) = ledger.open_batches()
    assert found.loadable == BATCH.loadable
    ledger.refuse(found)
    assert ledger.open_batches() == []
    assert ledger.known_files() == {(EMPTY.path, EMPTY.etag)}, "the others are read by the next run"


def test_files_are_known_by_content_once_they_are_done_with(ledger):
    ledger.begin(BATCH)
    assert ledger.known_files() == {(EMPTY.path, EMPTY.etag)}
    ledger.commit(BATCH, COUNTS, 1.5)
    # A file that vanished is read if it comes back.
    assert ledger.known_files() == {(file.path, file.etag) for file in (ALONE, HEADLESS, EMPTY)}


def test_a_file_with_another_content_is_not_known(ledger):
    ledger.begin(BATCH)
    ledger.commit(BATCH, COUNTS, 1.5)
    assert (ALONE.path, "another etag") not in ledger.known_files()


def test_batches_are_numbered_per_entity(ledger):
    ledger.begin(BATCH)
    ledger.begin(replace(BATCH, number=2))
    ledger.begin(replace(BATCH, entity="loans", number=1))
    assert (ledger.next_number("payments"), ledger.next_number("loans")) == (3, 2)


def test_the_parents_of_the_last_batch_are_remembered(ledger):
    for number in (1, 2, 10):
        ledger.begin(replace(BATCH, number=number, parent_versions={"loans": number}))
    assert ledger.last_parent_versions() == {"payments": {"loans": 10}}


def test_rows_are_held_until_they_are_released(ledger):
    ledger.commit(BATCH, COUNTS, 1.5)
    others = {"missing_key:payment_id": 1, "unreadable_header": 4}
    assert ledger.held_reasons() == {"payments": {ORPHAN: 2, **others}}
    released = [RowCount(ALONE.path, QUARANTINE, Counter(inserted=1), Counter({ORPHAN: 1}))]
    ledger.commit(replace(BATCH, number=2, files=()), released, 0.1)
    assert ledger.held_reasons() == {"payments": {ORPHAN: 1, **others}}
    ledger.commit(replace(BATCH, number=3, files=()), released, 0.1)
    assert ledger.held_reasons() == {"payments": others}


def test_the_layouts_of_rows_to_replay_are_those_of_their_files_unless_the_header_is_the_problem(ledger):
    ledger.commit(BATCH, COUNTS, 1.5)
    assert ledger.replay_layouts("payments", [ORPHAN]) == (Layout(("loan_id", "größe"), ";"),)
    assert ledger.replay_layouts("payments", ["unreadable_header", "too_long:method"]) == ()
    assert ledger.replay_layouts("loans", [ORPHAN]) == ()


def test_an_open_batch_that_replays_rows_replays_those_again(ledger):
    ledger.commit(BATCH, COUNTS, 1.5)
    layouts = ledger.replay_layouts("payments", [ORPHAN])
    ledger.begin(replace(BATCH, number=2, files=(), replay_reasons=(ORPHAN,), replay_layouts=layouts))
    (found,) = ledger.open_batches()
    assert (found.replay_reasons, found.replay_layouts) == ((ORPHAN,), layouts)
    (stored,) = ledger.read("batches").filter(pl.col("batch") == 2).to_dicts()
    assert (stored["replays"], stored["replay_reasons"]) == (True, [ORPHAN])


def test_the_clock_can_be_set(lake):
    then = datetime(2020, 1, 1, tzinfo=UTC)
    ledger = Ledger(lake.model_copy(update={"now": then}))
    ledger.finish_run(ledger.start_run("r1", "all"))
    (row,) = ledger.read("runs").to_dicts()
    assert (row["started_at"], row["finished_at"]) == (then, then)


def test_a_run_is_written_down_when_it_begins_and_when_it_ends(ledger):
    entry = ledger.start_run("r1", "all")
    (row,) = ledger.read("runs").to_dicts()
    assert (row["status"], row["finished_at"]) == ("running", None)
    ledger.finish_run(entry)
    (row,) = ledger.read("runs").to_dicts()
    assert (row["status"], row["error"]) == ("succeeded", None)
    assert row["finished_at"] >= row["started_at"]
    ledger.finish_run(ledger.start_run("r2", "gold"), "it's broken")
    failed = ledger.read("runs").filter(pl.col("run_id") == "r2").to_dicts()[0]
    assert (failed["status"], failed["error"]) == ("failed", "it's broken")
