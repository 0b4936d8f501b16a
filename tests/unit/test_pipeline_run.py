"""What a run decides without Spark: the plan, whom it blames, what it says."""

import json
import threading
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from pyspark.errors import AnalysisException

from contracts import load_contract, load_contracts
from pipeline.cli import run
from pipeline.errors import FinlakeError, UsageError
from pipeline.files import Days
from pipeline.gold import MARTS
from pipeline.layout import Layout
from pipeline.ledger import BRONZE, Batch, BronzeFile, Ledger, RowCount
from pipeline.plan import make_plan, may_release
from pipeline.present import show_report
from pipeline.reader import spark_spelling
from pipeline.report import EntityReport, MartReport
from pipeline.run import _set_aside, is_spark_error, root_cause, run_pipeline
from pipeline.silver import Loaded, ensure_tables, silver_columns
from pipeline.storage import etag_of, list_objects, write_bytes
from pipeline.tables import ensure_table, open_table

HEADER = b"customer_id,email\n"


def batch_of(*files):
    return Batch(
        entity="customers",
        number=1,
        run_id="r1",
        ingested_at=datetime(2024, 5, 1, tzinfo=UTC),
        silver_version=0,
        quarantine_version=0,
        parent_versions={},
        files=files,
    )


def stored(folder, name, content=HEADER):
    uri = f"file://{folder}/{name}"
    write_bytes(uri, content)
    return BronzeFile(uri, len(content), etag_of(uri), layout=Layout(("customer_id", "email")))


def states(batch):
    return {file.path.rsplit("/", 1)[-1]: file.status for file in batch.files}


STACK_TRACE = """An error occurred while calling o42.collectToPython.
: org.apache.spark.SparkException: Job aborted due to stage failure: Task 0 in stage 1.0 failed 1 times.
\tat org.apache.spark.scheduler.DAGScheduler.failJobAndIndependentStages(DAGScheduler.scala:2844)
Caused by: org.apache.spark.SparkException: Encountered error while reading file file:///x.csv.gz. Details:
\tat org.apache.spark.sql.errors.QueryExecutionErrors$.cannotReadFilesError(QueryExecutionErrors.scala:864)
Caused by: java.io.EOFException: Unexpected end of input stream
\tat org.apache.hadoop.io.compress.DecompressorStream.decompress(DecompressorStream.java:165)
"""


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (STACK_TRACE, "EOFException: Unexpected end of input stream"),
        ("\n\n[PATH_NOT_FOUND] Path does not exist: x.\n  more", "[PATH_NOT_FOUND] Path does not exist: x."),
        ("", ""),
        ("java.lang.OutOfMemoryError: Java heap space", "OutOfMemoryError: Java heap space"),
        ("x" * 1000, "x" * 300),
    ],
)
def test_the_root_cause_is_one_short_line_without_packages(message, expected):
    assert root_cause(message) == expected


def test_errors_of_spark_are_told_from_others():
    assert is_spark_error(AnalysisException("x"))
    assert not is_spark_error(ValueError("x"))


def test_a_file_that_is_gone_is_set_aside_and_the_others_stay(tmp_path):
    batch = batch_of(stored(tmp_path, "a.csv"), stored(tmp_path, "b.csv"))
    (tmp_path / "b.csv").unlink()
    left = _set_aside(batch, RuntimeError("anything"))
    assert states(left) == {"a.csv": "pending", "b.csv": "vanished"}
    assert left.files[1].notes == ("the file is gone",)
    assert left.redo


def test_a_file_whose_content_changed_is_set_aside_for_the_next_run(tmp_path):
    batch = batch_of(stored(tmp_path, "a.csv"), stored(tmp_path, "b.csv"))
    (tmp_path / "b.csv").write_bytes(HEADER + b"C1,x\n")
    left = _set_aside(batch, RuntimeError("anything"))
    assert states(left) == {"a.csv": "pending", "b.csv": "vanished"}
    assert "the next run reads it" in left.files[1].notes[0]


@pytest.mark.parametrize("name", ["a.csv.gz", "a b.csv.gz", "ü%20[1]#.csv.gz", "a,b.csv.gz"])
@pytest.mark.parametrize(
    "template",
    [
        "SparkException: Encountered error while reading file {java}. Details:\n\tat x",
        "SparkFileNotFoundException: File {hadoop} does not exist\nIt is possible",
        "[PATH_NOT_FOUND] Path does not exist: {raw}.",
    ],
)
def test_a_file_that_spark_names_is_set_aside_with_the_cause(tmp_path, name, template):
    batch = batch_of(stored(tmp_path, name), stored(tmp_path, "other.csv"))
    uri = batch.files[0].path
    spelled = spark_spelling(uri)
    message = template.format(
        java=spelled.replace("file:/", "file:///"), hadoop=spelled, raw=uri.replace("file:///", "file:/")
    )
    left = _set_aside(batch, RuntimeError(f"{message}\nCaused by: java.io.EOFException: Unexpected end"))
    assert states(left) == {name: "unreadable", "other.csv": "pending"}
    assert left.files[0].notes == ("it cannot be read: EOFException: Unexpected end",)


def test_a_file_whose_name_is_only_the_beginning_of_the_named_one_is_not_blamed(tmp_path):
    batch = batch_of(stored(tmp_path, "a.csv"), stored(tmp_path, "a.csv.gz"))
    left = _set_aside(batch, RuntimeError(f"Encountered error while reading file {batch.files[1].path}. x"))
    assert states(left) == {"a.csv": "pending", "a.csv.gz": "unreadable"}


def test_a_path_that_merely_stands_in_a_plan_is_not_blamed(tmp_path):
    batch = batch_of(stored(tmp_path, "a.csv"))
    with pytest.raises(FinlakeError, match="Spark failed: OutOfMemoryError"):
        _set_aside(batch, RuntimeError(f"OutOfMemoryError\nFileScan text [{batch.files[0].path}]"))


def test_files_that_were_set_aside_before_stay_as_they_are(tmp_path):
    empty = replace(stored(tmp_path, "a.csv"), status="empty")
    with pytest.raises(FinlakeError):
        _set_aside(batch_of(empty), RuntimeError(f"reading file {empty.path}."))


def test_the_plan_of_a_new_lake_holds_its_files_and_nothing_else(lake):
    write_bytes(f"{lake.bronze_entity_uri('loans')}/a.csv", b"loan_id\n")
    plan = make_plan(lake, Ledger(lake), load_contracts(), "all")
    assert {entity: len(files) for entity, files in plan.files.items()} == {
        "customers": 0,
        "accounts": 0,
        "loans": 1,
        "payments": 0,
        "transactions": 0,
    }
    assert plan.silver_work
    assert (plan.redo, plan.marts, plan.held) == ({}, [], {})
    assert not may_release(plan, Ledger(lake), lake)


DAYS = ["ingest_date=2025-12-31/", "ingest_date=2026-01-01/", "ingest_date=2026-01-31/",
        "ingest_date=2026-02-01/", "ingest_date=2026-02-30/", ""]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "last", "chosen"),
    [
        (date(2026, 1, 1), date(2026, 1, 31), [1, 2]),
        (date(2026, 1, 31), None, [2, 3]),
        (None, date(2026, 1, 1), [0, 1]),
        (date(2027, 1, 1), None, []),
        (None, None, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_a_range_of_days_holds_the_files_of_its_folders_and_the_others_are_left(lake, first, last, chosen):
    for folder in DAYS:
        write_bytes(f"{lake.bronze_entity_uri('loans')}/{folder}a.csv", b"loan_id\n")
    plan = make_plan(lake, Ledger(lake), load_contracts(), "all", days=Days(first, last))
    uris = [f"{lake.bronze_entity_uri('loans')}/{DAYS[number]}a.csv" for number in chosen]
    assert [info.uri for info in plan.files["loans"]] == sorted(uris)
    assert plan.left["loans"] == len(DAYS) - len(chosen)


def test_files_of_other_days_are_left_for_later_and_the_report_says_how_many(lake, monkeypatch, capsys):
    monkeypatch.setattr("pipeline.session.start_session", lambda: None)
    monkeypatch.setattr("pipeline.run.load_batch", lambda *_: Loaded([]))
    for folder in DAYS:
        write_bytes(f"{lake.bronze_entity_uri('loans')}/{folder}a.csv", b"loan_id\n")
    january = Days(date(2026, 1, 1), date(2026, 1, 31))
    found = {entry.entity: entry for entry in run_pipeline(lake, layer="silver", days=january).entities}
    assert (found["loans"].files, found["loans"].left, found["customers"].left) == (2, 4, 0)
    again = run_pipeline(lake, layer="silver", days=january)
    assert (again.run_id, {entry.entity: entry.left for entry in again.entities}["loans"]) == (None, 4)
    show_report(again)
    assert "loans: 4 files of other days left for later" in capsys.readouterr().out
    everything = run_pipeline(lake, layer="silver")
    assert sum(entry.files for entry in everything.entities) == 4


def test_a_run_of_one_entity_makes_and_registers_no_table_of_others(lake, monkeypatch):
    registered = []
    monkeypatch.setattr(
        "pipeline.run.register", lambda tables, _: registered.extend(f"{t.layer}.{t.name}" for t in tables)
    )
    monkeypatch.setattr("pipeline.run._is_in_glue", lambda _uri: True)
    run_pipeline(lake, entities=["accounts"], layer="silver")
    root = Path(lake.silver_uri.removeprefix("file://"))
    made = {path.name for path in root.iterdir() if not path.name.startswith("_")}
    assert made == {"accounts", "accounts_history"}
    assert {name for name in registered if not name.startswith("ops.")} == {
        "silver.accounts",
        "silver.accounts_history",
        "quarantine.accounts",
    }
    registered.clear()
    run_pipeline(lake, layer="gold")
    assert {name.split(".")[0] for name in registered} == {"ops"}, "there is no mart yet"
    assert not (root / "loans").exists()


def test_days_that_end_before_they_begin_are_a_usage_error(lake):
    with pytest.raises(UsageError, match="2026-01-02 is after 2026-01-01"):
        run_pipeline(lake, days=Days(date(2026, 1, 2), date(2026, 1, 1)))


def test_all_that_a_run_writes_down_is_of_the_instant_it_is_given(lake, monkeypatch):
    monkeypatch.setattr("pipeline.session.start_session", lambda: None)
    batches = []
    monkeypatch.setattr(
        "pipeline.run.load_batch", lambda _spark, batch, *_: batches.append(batch) or Loaded([])
    )
    write_bytes(f"{lake.bronze_entity_uri('loans')}/a.csv", b"loan_id\n")
    berlin = timezone(timedelta(hours=2))
    then = lake.model_copy(update={"now": datetime(2026, 3, 29, 3, 30, 0, 5, tzinfo=berlin)})
    report = run_pipeline(then, layer="silver")
    instant = datetime(2026, 3, 29, 1, 30, 0, 5, tzinfo=UTC)
    assert [batch.ingested_at for batch in batches] == [instant]
    assert report.run_id.startswith("20260329T013000000005-")
    (entry,) = Ledger(lake).read("runs").to_dicts()
    assert (entry["started_at"], entry["finished_at"]) == (instant, instant)


def test_a_replay_also_tries_orphans_again_whose_parent_has_changed(lake, monkeypatch):
    """Otherwise its batch would look as if they had been tried against the parent's newest version."""
    monkeypatch.setattr("pipeline.session.start_session", lambda: None)
    batches = []
    monkeypatch.setattr(
        "pipeline.run.load_batch", lambda _spark, batch, *_: batches.append(batch) or Loaded([])
    )
    orphan = "unknown_parent:customer_id"
    first = replace(
        batch_of(BronzeFile("file:///b/1.csv", 1, "e", layout=Layout(("account_id",)))),
        entity="accounts",
        history_version=0,
        parent_versions={"customers": 0},
    )
    reasons = Counter({orphan: 1, "bad_iban:iban": 1})
    Ledger(lake).commit(first, [RowCount("file:///b/1.csv", BRONZE, Counter(quarantined=2), reasons)], 0.1)
    ensure_table(lake.table_uri("silver", "customers"), silver_columns(load_contracts()["customers"]))
    for now in (0, 1):
        if now:
            table = open_table(lake.table_uri("silver", "customers"))
            table.alter.set_table_properties({"delta.appendOnly": "false"})
        run_pipeline(lake, entities=["accounts"], layer="silver", replay=["bad_iban:iban"])
    assert [batch.replay_reasons for batch in batches] == [("bad_iban:iban",), ("bad_iban:iban", orphan)]
    assert all(batch.replay_layouts == (Layout(("account_id",)),) for batch in batches)


def test_a_plan_for_gold_looks_at_no_file(lake):
    write_bytes(f"{lake.bronze_entity_uri('loans')}/a.csv", b"loan_id\n")
    plan = make_plan(lake, Ledger(lake), load_contracts(), "gold")
    assert not plan.silver_work


def test_an_unknown_entity_is_a_usage_error_that_names_the_known_ones(lake):
    with pytest.raises(UsageError, match="there is no entity 'client'") as caught:
        run_pipeline(lake, entities=["client"])
    assert "customers" in str(caught.value.hint)
    assert caught.value.exit_code == 2


def test_an_unknown_layer_is_a_usage_error(lake):
    with pytest.raises(UsageError, match="there is no layer 'platinum'"):
        run_pipeline(lake, layer="platinum")


def test_a_run_with_nothing_to_do_neither_starts_spark_nor_writes_a_run(lake, monkeypatch):
    monkeypatch.setattr("pipeline.session.start_session", lambda: pytest.fail("Spark was started"))
    for _ in range(2):
        report = run_pipeline(lake)
        assert (report.run_id, report.changed, report.errors) == (None, False, [])
    assert Ledger(lake).read("runs").is_empty()
    assert open_table(lake.table_uri("silver", "customers")).version() == 0


def everything(lake):
    """Every object of the lake as listings show it."""
    root = lake.silver_uri.rsplit("/", 1)[0]
    return list_objects(root)


def test_a_dry_run_tells_what_it_found_and_writes_nothing(lake, monkeypatch, capsys):
    for entity in load_contracts():
        write_bytes(f"{lake.bronze_entity_uri(entity)}/old.csv", f"{entity.rstrip('s')}_id\n".encode())
    with monkeypatch.context() as patch:
        patch.setattr("pipeline.session.start_session", lambda: None)
        patch.setattr("pipeline.run.load_batch", lambda *_: Loaded([]))
        run_pipeline(lake, layer="silver")
    folder = lake.bronze_entity_uri("customers")
    write_bytes(f"{folder}/ingest_date=2026-01-01/good.csv", HEADER + b"C1,a@example.org\n")
    write_bytes(f"{folder}/ingest_date=2026-01-01/empty.csv", b"")
    write_bytes(f"{folder}/ingest_date=2026-02-01/later.csv", HEADER)
    monkeypatch.setattr("pipeline.session.start_session", lambda: pytest.fail("Spark was started"))
    before = everything(lake)
    assert {info.uri.split("/")[-1] for info in before} >= {"good.csv", "00000000000000000000.json"}
    days = Days(date(2026, 1, 1), date(2026, 1, 1))
    report = run_pipeline(lake, dry_run=True, days=days)
    assert everything(lake) == before
    entity = report.as_dict()["entities"][0]
    assert (report.run_id, report.dry_run, entity["files"], entity["left_for_later"]) == (None, True, 2, 1)
    empty, good = entity["preview"]["files"]
    assert (empty["status"], empty["rows"]) == ("empty", None)
    assert (good["rows"], good["is_estimate"], good["missing"][0]) == (1, False, "first_name")
    assert "missing_value:first_name" in good["refused"]
    assert "bad_email:email" in entity["preview"]["rules"]
    assert {mart.status for mart in report.marts} == {"would be rebuilt"}
    show_report(report)
    text = capsys.readouterr().out
    assert "empty.csv: 0 bytes; empty: the file has no bytes" in text
    assert "good.csv: 35 bytes; 1 rows; missing columns: first_name" in text
    assert "1 files of other days left for later" in text


def test_a_dry_run_tells_what_the_contract_would_change_in_tables_and_changes_nothing(lake, monkeypatch):
    def contracts(**types):
        customers = load_contract("customers")
        columns = [replace(c, physical_type=types.get(c.name, c.physical_type)) for c in customers.columns]
        return replace(customers, columns=tuple(columns))

    old = contracts(credit_score="bigint", annual_income="decimal(9,2)")
    known = [replace(c, pii_class=None) if c.name == "email" else c for c in old.columns if c.name != "city"]
    ensure_tables(replace(old, columns=tuple(known)), (), lake)
    before = everything(lake)
    report = run_pipeline(lake, entities=["customers"], dry_run=True)
    assert everything(lake) == before
    told = [note for note in report.entities[0].notes if note.startswith("silver.customers: ")]
    assert told == [
        "silver.customers: column email would be tagged email",
        "silver.customers: column city (string) would be added",
        f"silver.customers: would be refused: column credit_score of {lake.table_uri('silver', 'customers')} "
        "is long, and not every such value is a integer",
        "silver.customers: column annual_income would become decimal(18,2), and the table be written anew",
    ]
    assert run_pipeline(lake, entities=["loans"], dry_run=True).entities[0].notes == [], (
        "there is no table yet"
    )


def test_a_failing_entity_stops_its_children_and_no_other(lake, monkeypatch):
    monkeypatch.setattr("pipeline.session.start_session", lambda: None)
    for entity in load_contracts():
        write_bytes(f"{lake.bronze_entity_uri(entity)}/1.csv", f"{entity.rstrip('s')}_id\n".encode())

    def fail_for_loans(_spark, batch, _contract, _settings):
        if batch.entity == "loans":
            raise FinlakeError("no more")
        return Loaded([])

    monkeypatch.setattr("pipeline.run.load_batch", fail_for_loans)
    report = run_pipeline(lake, layer="silver")
    assert {found.entity: found.error for found in report.entities} == {
        "customers": None,
        "accounts": None,
        "loans": "no more",
        "payments": "not loaded, because loans failed",
        "transactions": None,
    }
    ledger = Ledger(lake)
    (entry,) = ledger.read("runs").to_dicts()
    assert (entry["status"], entry["error"]) == (
        "failed",
        "loans: no more; payments: not loaded, because loans failed",
    )
    assert [batch.entity for batch in ledger.open_batches()] == ["loans"]
    monkeypatch.setattr("pipeline.run.load_batch", lambda *_: Loaded([]))
    report = run_pipeline(lake, layer="silver")
    assert report.errors == []
    assert {found.entity: found.files for found in report.entities if found.files} == {
        "loans": 1,
        "payments": 1,
    }
    assert Ledger(lake).open_batches() == []


def test_a_mart_is_built_as_soon_as_what_it_reads_is_loaded_and_no_sooner(lake, monkeypatch):
    monkeypatch.setattr("pipeline.session.start_session", lambda: None)
    for entity in load_contracts():
        write_bytes(f"{lake.bronze_entity_uri(entity)}/1.csv", f"{entity.rstrip('s')}_id\n".encode())
    loaded, portfolio, seen = set(), threading.Event(), {}

    def load(_engine, entity, *_):
        if entity == "transactions":
            assert portfolio.wait(10), "loan_portfolio, which does not read transactions, waits for them"
        loaded.add(entity)
        return EntityReport(entity)

    def build(_engine, mart, **_):
        seen[mart.name] = set(loaded)
        if mart.name == "loan_portfolio":
            portfolio.set()
        return MartReport(mart.name, "updated")

    monkeypatch.setattr("pipeline.run.load_entity", load)
    monkeypatch.setattr("pipeline.run.refresh_mart", build)
    report = run_pipeline(lake)
    assert [mart.mart for mart in report.marts] == [mart.name for mart in MARTS] and not report.errors
    for mart in MARTS:
        read = {name.removesuffix("_history") for name in mart.inputs}
        assert read <= seen[mart.name], f"{mart.name} was built before all that it reads was loaded"


@pytest.mark.parametrize(("managed", "lines"), [("1", 1), ("", 10)])
def test_on_glue_the_report_is_one_line_so_that_metrics_can_be_read_from_it(
    lake, monkeypatch, capsys, managed, lines
):
    monkeypatch.setenv("FINLAKE_SPARK_MANAGED", managed)
    monkeypatch.setattr("pipeline.settings.reachable_settings", lambda: lake)
    run(entity=["customers"], layer="silver", as_json=True)
    text = capsys.readouterr().out
    assert len(text.splitlines()) >= lines
    assert (len(text.splitlines()) == 1) == (lines == 1)
    entity = json.loads(text)["entities"][0]
    assert {"entity", "read", "quarantined"} <= set(entity), "the metric filters of terraform/ read these"
