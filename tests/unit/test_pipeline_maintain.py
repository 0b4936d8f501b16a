"""Maintenance makes tables small and takes nothing from readers, time travel or unfinished batches."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake
from typer.testing import CliRunner

from contracts import load_contract
from pipeline import maintain as maintain_module
from pipeline.cli import app
from pipeline.errors import FinlakeError, UsageError
from pipeline.gold import MARTS
from pipeline.gold.mart import input_versions, is_current, provenance
from pipeline.ledger import Batch, Ledger
from pipeline.lock import exclusive
from pipeline.maintain import COMMITS_BEFORE_CHECKPOINT, maintain
from pipeline.plan import due_orphans
from pipeline.publish import publish
from pipeline.quality import orphan_reason
from pipeline.silver import QUARANTINE_COLUMNS, silver_columns
from pipeline.storage import list_objects, write_bytes
from pipeline.tables import (
    commits_since_checkpoint,
    ensure_table,
    open_table,
    restore_and_fence,
    rows_are_those_of,
    table_version,
)

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
BATCH = Batch("accounts", 1, "r1", NOON, 3, 0, {"customers": 3}, ())


def silver_of(lake, entity="customers", versions=3):
    """A Silver table that was appended to, one row and one file at a time; its URI."""
    uri = lake.table_uri("silver", entity)
    ensure_table(lake.table_uri("quarantine", entity), QUARANTINE_COLUMNS)
    table = ensure_table(uri, silver_columns(load_contract(entity)))
    for number in range(versions):
        add(table, number)
    return uri


def add(table, number):
    """Append a row that has nothing but a key."""
    key = table.schema().fields[0].name
    write_deltalake(table, pa.table({key: [f"K{number}"]}), mode="append", schema_mode="merge")
    table.update_incremental()


def keys(uri, version=None):
    table = DeltaTable(uri, version=version)
    return sorted(table.to_pyarrow_table()[table.schema().fields[0].name].to_pylist())


def work_of(report, name):
    return next(work for work in report.tables if work.table == name)


def everything(lake):
    return list_objects(lake.silver_uri.rsplit("/", 1)[0])


def data_versions(lake):
    """Versions of all tables, but for that of the history of sizes."""
    logs = Path(lake.silver_uri.removeprefix("file://")).parent.rglob("_delta_log")
    uris = [f"file://{log.parent}" for log in logs if log.parent.name != "table_sizes"]
    return {uri: table_version(uri) for uri in uris}


# --- Order of rows ------------------------------------------------------------------------------------


def days_of_transactions(lake, files=4, rows=200):
    """Silver's transactions: in each file, days from all over the year. Returns its URI."""
    uri = lake.table_uri("silver", "transactions")
    ensure_table(lake.table_uri("quarantine", "transactions"), QUARANTINE_COLUMNS)
    table = ensure_table(uri, silver_columns(load_contract("transactions")))
    for number in range(files):
        add_days(table, number * rows, rows)
    return uri


def add_days(table, first, rows):
    days = [date(2024, 1, 1) + timedelta(days=(first + n) * 37 % 365) for n in range(rows)]
    ids = [f"T{first + n}" for n in range(rows)]
    new = pa.table({"transaction_id": ids, "transaction_date": pa.array(days, pa.date32())})
    write_deltalake(table, new, mode="append", schema_mode="merge")
    table.update_incremental()


def day_ranges(uri):
    """Least and greatest day of each of a table's files, in order."""
    files = pa.table(DeltaTable(uri).get_add_actions(flatten=True)).to_pylist()
    return sorted((file["min.transaction_date"], file["max.transaction_date"]) for file in files)


def test_rows_are_put_in_the_order_that_the_contract_names_and_stay_the_same(lake, monkeypatch):
    uri = days_of_transactions(lake, rows=20_000)
    before = keys(uri)
    assert all(last - first > timedelta(days=300) for first, last in day_ranges(uri))
    monkeypatch.setattr(maintain_module, "TARGET_BYTES", 100_000)  # so that there are several files
    monkeypatch.setattr(maintain_module, "ROWS_IN_GROUP", 10_000)
    work = work_of(maintain(lake), "silver.transactions")
    assert (work.clustered, work.merged) == (4, 0)
    ranges = day_ranges(uri)
    assert len(ranges) > 1
    assert all(one[1] <= other[0] for one, other in pairwise(ranges))
    assert keys(uri) == before
    assert rows_are_those_of(uri, 4)


def test_rows_are_put_in_order_again_only_when_much_is_new(lake):
    uri = days_of_transactions(lake, rows=20_000)
    maintain(lake)
    version = table_version(uri)
    assert work_of(maintain(lake, dry_run=True), "silver.transactions").clustered == 0
    maintain(lake)
    assert table_version(uri) == version
    add_days(DeltaTable(uri), 100_000, 1)
    work = work_of(maintain(lake), "silver.transactions")
    assert (work.clustered, table_version(uri)) == (0, version + 1)
    add_days(DeltaTable(uri), 200_000, 20_000)
    assert work_of(maintain(lake), "silver.transactions").clustered == 3


# --- Small files --------------------------------------------------------------------------------------


def test_small_files_become_one_and_readers_and_time_travel_are_not_disturbed(lake):
    uri = silver_of(lake)
    reader = DeltaTable(uri)
    report = maintain(lake)
    work = work_of(report, "silver.customers")
    assert (work.before.files, work.after.files, work.merged, work.deleted) == (3, 1, 3, 0)
    assert (work.before.rows, work.after.rows) == (3, 3)
    assert keys(uri) == ["K0", "K1", "K2"]
    assert sorted(reader.to_pyarrow_table()["customer_id"].to_pylist()) == ["K0", "K1", "K2"]
    for version in range(4):
        assert keys(uri, version) == [f"K{number}" for number in range(version)]


def test_maintenance_of_a_maintained_lake_changes_no_table(lake):
    silver_of(lake)
    Ledger(lake).start_run("r1", "all")
    maintain(lake)
    before = data_versions(lake)
    report = maintain(lake)
    assert data_versions(lake) == before
    works = [work for work in report.tables if work.table != "ops.table_sizes"]
    assert {(work.merged, work.deleted, work.checkpoint) for work in works} == {(0, 0, False)}


def test_files_of_each_partition_are_merged_among_themselves(lake):
    ledger = Ledger(lake)
    for entity in ("loans", "accounts"):
        for number in (1, 2, 3):
            ledger.commit(replace(BATCH, entity=entity, number=number), [], 1.0)
    before = ledger.read("batches")
    assert work_of(maintain(lake), "ops.batches").after.files == 2
    assert Ledger(lake).read("batches").sort("entity", "batch").equals(before.sort("entity", "batch"))


def test_a_lake_without_tables_has_nothing_to_maintain(lake):
    assert maintain(lake).tables == []


# --- Old files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [0, 1, 6.9])
def test_a_short_retention_is_refused_unless_it_is_allowed(lake, days):
    uri = silver_of(lake)
    maintain(lake)
    before = everything(lake)
    with pytest.raises(UsageError, match="at least 7 days are safe") as caught:
        maintain(lake, retention=timedelta(days=days))
    assert "--allow-short-retention" in str(caught.value.hint)
    assert everything(lake) == before
    report = maintain(lake, retention=timedelta(0), allow_short=True)
    assert work_of(report, "silver.customers").deleted == 3
    assert keys(uri) == ["K0", "K1", "K2"]
    versions = data_versions(lake)
    again = maintain(lake, retention=timedelta(0), allow_short=True)
    assert work_of(again, "silver.customers").deleted == 0
    assert data_versions(lake) == versions
    with pytest.raises(Exception, match=r"(?i)not found|no such file"):
        keys(uri, 2)


def test_what_a_dead_writer_has_left_goes_only_after_the_retention(lake):
    uri = silver_of(lake)
    write_bytes(f"{uri}/part-of-a-dead-run.parquet", b"PAR1")
    assert work_of(maintain(lake), "silver.customers").deleted == 0
    maintain(lake, retention=timedelta(0), allow_short=True)
    assert not [info for info in list_objects(uri) if "dead-run" in info.uri]
    assert keys(uri) == ["K0", "K1", "K2"]


# --- Unfinished batches -------------------------------------------------------------------------------


def test_tables_that_an_unfinished_batch_refers_to_are_left_alone_until_it_is_done(lake):
    for entity in ("customers", "accounts", "loans"):
        silver_of(lake, entity)
    for entity in ("accounts", "loans"):
        write_bytes(f"{lake.table_uri('staging', entity)}/1/part.parquet", b"PAR1")
    Ledger(lake).begin(BATCH)
    report = maintain(lake, retention=timedelta(0), allow_short=True)
    left = {work.table for work in report.tables if work.left_alone}
    assert left == {"silver.accounts", "quarantine.accounts", "silver.customers"}
    assert "batch 1 of accounts is unfinished" in str(work_of(report, "silver.customers").left_alone)
    assert report.staged == 1
    for entity in ("customers", "accounts"):
        assert keys(lake.table_uri("silver", entity), 2) == ["K0", "K1"]
    assert len(DeltaTable(lake.table_uri("silver", "loans")).file_uris()) == 1
    Ledger(lake).commit(BATCH, [], 1.0)
    report = maintain(lake)
    assert not [work for work in report.tables if work.left_alone]
    assert report.staged == 1
    assert list_objects(lake.table_uri("staging", "accounts")) == []


def test_an_interrupted_batch_finds_the_rows_it_had_found_although_files_were_merged_before(lake):
    uri = silver_of(lake)
    maintain(lake)
    found = table_version(uri)  # what a batch that begins now compares with
    assert found > 3
    add(open_table(uri), 9)
    restore_and_fence(uri, found, "r1/customers", 10)
    assert keys(uri) == ["K0", "K1", "K2"]


def test_a_fence_still_stands_after_a_checkpoint_and_a_cleaned_log(lake):
    uri = silver_of(lake)
    restore_and_fence(uri, 3, "r1/customers", 10)
    table = open_table(uri)
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 0 seconds"})
    for number in range(COMMITS_BEFORE_CHECKPOINT):
        add(table, number)
    work = work_of(maintain(lake, retention=timedelta(0), allow_short=True), "silver.customers")
    assert work.checkpoint
    assert commits_since_checkpoint(uri) < COMMITS_BEFORE_CHECKPOINT
    assert len([info for info in list_objects(f"{uri}/_delta_log") if info.uri.endswith(".json")]) < 4
    assert DeltaTable(uri).transaction_version("r1/customers") == 10
    assert not work_of(maintain(lake), "silver.customers").checkpoint


# --- What stands on a table does not notice -----------------------------------------------------------


def test_a_table_has_the_rows_of_a_version_until_a_commit_changes_rows(lake):
    uri = silver_of(lake)
    found = [rows_are_those_of(uri, version) for version in (-1, 0, 2, 3, 4)]
    assert found == [False, False, False, True, False]
    maintain(lake)
    open_table(uri).vacuum(0, dry_run=False, enforce_retention_duration=False)  # makes commits of its own
    assert table_version(uri) > 4
    assert (rows_are_those_of(uri, 2), rows_are_those_of(uri, 3)) == (False, True)
    before = table_version(uri)
    add(open_table(uri), 7)
    found = [rows_are_those_of(uri, version) for version in (3, before, before + 1)]
    assert found == [False, False, True]
    assert rows_are_those_of(f"{uri}-that-is-not-there", -1)


def test_marts_and_orphans_do_not_take_maintenance_for_news(lake):
    mart = next(mart for mart in MARTS if mart.name == "loan_portfolio")
    contract = load_contract("loans")
    for entity in {*mart.inputs, *contract.parent_entities}:
        silver_of(lake, entity)
    versions = input_versions(mart.inputs, lake)
    table = ensure_table(lake.table_uri("gold", mart.name), mart.columns)
    said = CommitProperties(custom_metadata={"userMetadata": provenance(mart, versions)})
    nothing = pa.schema(table.schema().to_arrow()).empty_table()
    write_deltalake(table, nothing, mode="append", commit_properties=said)

    def parents():
        return input_versions(contract.parent_entities, lake)

    looked_at = parents()
    waiting = {orphan_reason(column): 1 for column in contract.parents}
    maintain(lake)
    now = input_versions(mart.inputs, lake)
    assert now != versions
    assert parents() != looked_at
    assert is_current(mart, now, lake)
    assert due_orphans(contract, waiting, looked_at, parents(), lake) == ()
    for entity in (mart.inputs[0], "customers"):
        add(open_table(lake.table_uri("silver", entity)), 8)
    assert not is_current(mart, input_versions(mart.inputs, lake), lake)
    assert due_orphans(contract, waiting, looked_at, parents(), lake) == tuple(waiting)
    assert due_orphans(contract, waiting, None, parents(), lake) == tuple(waiting)
    assert due_orphans(contract, {}, None, parents(), lake) == ()


def test_public_copies_do_not_take_maintenance_for_news(lake):
    uri = silver_of(lake)
    root = lake.silver_uri.rsplit("/", 1)[0]
    places = {"public_silver_uri": f"{root}/public-silver", "public_gold_uri": f"{root}/public-gold"}
    open_lake = lake.model_copy(update=places)

    def written():
        return [copy.written for copy in publish(open_lake) if copy.table == "silver.customers"]

    assert written() == [True]
    maintain(lake)
    assert written() == [False]
    add(open_table(uri), 9)
    assert written() == [True]
    assert keys(f"{places['public_silver_uri']}/customers") == ["K0", "K1", "K2", "K9"]


def test_a_small_table_that_was_opened_before_is_written_and_read_afterwards(lake):
    ledger = Ledger(lake)
    ledger.start_run("r1", "all")
    ledger.read("runs")
    Ledger(lake).start_run("r2", "all")
    maintain(lake)
    ledger.start_run("r3", "all")
    assert sorted(Ledger(lake).read("runs")["run_id"]) == ["r1", "r2", "r3"]


# --- How it is done -----------------------------------------------------------------------------------


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(lake):
    silver_of(lake)
    write_bytes(f"{lake.table_uri('staging', 'loans')}/1/part.parquet", b"PAR1")
    before = everything(lake)
    report = maintain(lake, dry_run=True)
    assert everything(lake) == before
    work = work_of(report, "silver.customers")
    assert (work.merged, work.after, report.staged, report.run_id) == (3, work.before, 1, None)
    assert work_of(maintain(lake), "silver.customers").merged == 3


def test_sizes_are_written_down_each_time(lake):
    uri = silver_of(lake)
    maintain(lake.model_copy(update={"now": NOON}))
    add(open_table(uri), 3)
    maintain(lake)
    sizes = Ledger(lake).read("table_sizes").sort("run_id").to_dicts()
    found = [row for row in sizes if row["table_name"] == "silver.customers"]
    assert [(row["files"], row["rows"]) for row in found] == [(1, 3), (1, 4)]
    assert found[0]["measured_at"] == NOON
    (name,) = DeltaTable(uri).file_uris()
    (file,) = [info for info in list_objects(uri) if info.uri.split("/")[-1] == name.split("/")[-1]]
    last = found[1]
    assert last["bytes"] == last["smallest_file"] == last["median_file"] == file.size
    assert last["version"] == table_version(uri)


def test_a_lake_that_a_run_works_on_is_left_alone(lake):
    silver_of(lake)
    with exclusive(["loans"], "r1", lake):
        before = everything(lake)
        with pytest.raises(FinlakeError, match="another run is working on loans"):
            maintain(lake)
        assert everything(lake) == before
        assert maintain(lake, dry_run=True).tables, "to look needs no lock"


def test_the_command_shows_it_for_people_and_for_scripts(lake, monkeypatch):
    monkeypatch.setattr("pipeline.settings.reachable_settings", lambda: lake)
    silver_of(lake)
    shown = CliRunner().invoke(app, ["maintain"])
    assert shown.exit_code == 0, shown.output
    assert "3 -> 1" in shown.stdout
    done = json.loads(CliRunner().invoke(app, ["maintain", "--dry-run", "--json"]).stdout)
    assert (done["retention_days"], done["dry_run"], done["run_id"]) == (7, True, None)
    assert {table["table"] for table in done["tables"]} >= {"silver.customers", "ops.table_sizes"}
