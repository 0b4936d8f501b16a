"""OpenLineage's events say what a run has read and written, and can neither slow nor fail it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from uuid import UUID

import pytest
from openlineage.client import event_v2, facet_v2
from openlineage.client.serde import Serde

from contracts import load_contract, load_contracts
from pipeline.errors import FinlakeError
from pipeline.gold import MARTS
from pipeline.gold.mart import input_uri
from pipeline.layout import Layout
from pipeline.ledger import BRONZE, QUARANTINE, Batch, BronzeFile, RowCount
from pipeline.openlineage import (
    FILE_NAME,
    Lineage,
    Origin,
    batch_event,
    dataset_name,
    mart_event,
    run_uuid,
)
from pipeline.settings import Settings
from pipeline.silver import silver_columns, silver_tables

NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)
LAKE = Settings(
    env="test", bronze_uri="s3://bronze", silver_uri="s3://silver/tables", gold_uri="file:///lake/gold"
)
ORIGIN = Origin(LAKE, "20240506T070809-abcd")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    """No OpenLineage variables or files but the test's."""
    for name in list(os.environ):
        if name.startswith("OPENLINEAGE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    # The client turns OPENLINEAGE_URL into further variables, which must not outlive the test.
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


def batch_of(entity, **changes):
    files = (
        BronzeFile(f"s3://bronze/{entity}/a.csv", 10, "1"),
        BronzeFile(f"s3://bronze/{entity}/b.csv", 5, "2"),
    )
    parents = dict.fromkeys(load_contract(entity).parent_entities, 4)
    values = {"silver_version": 2, "quarantine_version": 3, "parent_versions": parents, "files": files}
    return Batch(entity, 7, "earlier-run", NOW, **values | changes)


COUNTS = [
    RowCount("s3://bronze/accounts/a.csv", BRONZE, Counter(inserted=5, updated=2, duplicate=1, quarantined=2),
             Counter({"unknown_parent:customer_id": 1, "closed_after_opened": 1, "known_status:status": 1})),
    RowCount("s3://bronze/accounts/b.csv", BRONZE, Counter(stale=1)),
    RowCount("s3://bronze/accounts/a.csv", QUARANTINE, Counter(inserted=1)),
]  # fmt: skip


def written(event):
    return json.loads(Serde.to_json(event))


def by_name(datasets):
    return {(found["namespace"], found["name"]): found for found in datasets}


def test_a_batch_reads_bronze_and_its_parents_and_writes_silver_history_and_quarantine():
    event = written(
        batch_event("COMPLETE", NOW, batch_of("accounts"), load_contract("accounts"), ORIGIN, counts=COUNTS)
    )
    assert (event["job"]["namespace"], event["job"]["name"]) == ("finlake-test", "silver.accounts")
    inputs, outputs = by_name(event["inputs"]), by_name(event["outputs"])
    bronze, parent = ("s3://bronze", "accounts"), ("s3://silver", "tables/customers")
    silver, quarantine = ("s3://silver", "tables/accounts"), ("s3://silver", "tables/_quarantine/accounts")
    history = ("s3://silver", "tables/accounts_history")
    assert (set(inputs), set(outputs)) == ({bronze, parent}, {silver, history, quarantine})
    assert {"valid_from", "valid_to"} <= {
        each["name"] for each in outputs[history]["facets"]["schema"]["fields"]
    }
    assert inputs[parent]["facets"]["version"]["datasetVersion"] == "4"
    statistics = inputs[bronze]["inputFacets"]["inputStatistics"]
    assert (statistics["rowCount"], statistics["fileCount"], statistics["size"]) == (11, 2, 15)
    rows = {
        name: found["outputFacets"]["outputStatistics"]["rowCount"]
        for name, found in outputs.items()
        if found.get("outputFacets")
    }
    assert rows == {silver: 8, quarantine: 2}, "how many rows of the history changed was not counted"
    broken = inputs[bronze]["inputFacets"]["dataQualityAssertions"]["assertions"]
    assert [(each["assertion"], each.get("column"), each["success"], each["actual"]) for each in broken] == [
        ("closed_after_opened", None, False, "1"),
        ("known_status", "status", False, "1"),
        ("unknown_parent", "customer_id", False, "1"),
    ]


def test_a_batch_that_tries_orphans_again_also_reads_the_quarantine():
    batch = batch_of("accounts", replay_layouts=(Layout(("account_id",), ","),))
    event = written(batch_event("START", NOW, batch, load_contract("accounts"), ORIGIN))
    assert ("s3://silver", "tables/_quarantine/accounts") in by_name(event["inputs"])


@pytest.mark.parametrize("entity", list(load_contracts()))
def test_each_column_of_silver_is_traced_to_columns_of_bronze(entity):
    contract = load_contract(entity)
    event = written(batch_event("COMPLETE", NOW, batch_of(entity), contract, ORIGIN))
    (silver, *_) = event["outputs"]
    schema = [field["name"] for field in silver["facets"]["schema"]["fields"]]
    assert schema == [column.name for column in silver_columns(contract)]
    fields = silver["facets"]["columnLineage"]["fields"]
    assert set(fields) == {column.name for column in contract.columns} | {"_row_hash"}
    sources = {column.name for column in contract.source_columns}
    for name, field in fields.items():
        used = {found["field"] for found in field["inputFields"]}
        assert used and used <= sources, name
        assert {(found["namespace"], found["name"]) for found in field["inputFields"]} == {
            ("s3://bronze", entity)
        }
        if name in sources:
            assert used == {name}
    assert {found["field"] for found in fields["_row_hash"]["inputFields"]} == sources


def test_columns_that_the_contract_does_not_know_are_told_and_traced_as_well():
    loans = load_contract("loans")
    files = (BronzeFile("s3://bronze/loans/a.csv", 5, "e", layout=Layout(("loan_id", "broker"), ",")),)
    batch = batch_of("loans", additional=("broker", "of_another_file"), files=files)
    event = written(batch_event("COMPLETE", NOW, batch, loans, ORIGIN))
    (silver, history, _) = event["outputs"]
    for table in (silver, history):
        assert {"broker", "of_another_file"} <= {each["name"] for each in table["facets"]["schema"]["fields"]}
    fields = silver["facets"]["columnLineage"]["fields"]
    assert [found["field"] for found in fields["broker"]["inputFields"]] == ["broker"]
    assert "broker" in {found["field"] for found in fields["_row_hash"]["inputFields"]}
    bronze = {each["name"] for each in event["inputs"][0]["facets"]["schema"]["fields"]}
    assert ("broker" in bronze, "of_another_file" in bronze) == (True, False)


def test_a_derived_column_is_traced_to_what_its_contract_names():
    event = written(batch_event("COMPLETE", NOW, batch_of("accounts"), load_contract("accounts"), ORIGIN))
    field = event["outputs"][0]["facets"]["columnLineage"]["fields"]["available_balance"]
    assert {found["field"] for found in field["inputFields"]} == {"balance", "overdraft_limit"}
    (made,) = field["inputFields"][0]["transformations"]
    assert (made["type"], made["description"]) == ("DIRECT", "balance + overdraft_limit")


def test_rows_depend_on_the_key_the_version_and_the_parent():
    event = written(batch_event("COMPLETE", NOW, batch_of("accounts"), load_contract("accounts"), ORIGIN))
    used = event["outputs"][0]["facets"]["columnLineage"]["dataset"]
    assert {(found["name"], found["field"], found["transformations"][0]["subtype"]) for found in used} == {
        ("accounts", "account_id", "WINDOW"),
        ("accounts", "updated_at", "SORT"),
        ("accounts", "customer_id", "JOIN"),
        ("tables/customers", "customer_id", "JOIN"),
    }


@pytest.mark.parametrize("mart", MARTS, ids=lambda mart: mart.name)
def test_a_mart_reads_the_versions_of_silver_that_it_names(mart):
    versions = {entity: number for number, entity in enumerate(mart.inputs)}
    event = written(mart_event("COMPLETE", NOW, mart, versions, ORIGIN))
    found = {each["name"]: each["facets"]["version"]["datasetVersion"] for each in event["inputs"]}
    assert found == {f"tables/{entity}": str(number) for entity, number in versions.items()}
    (output,) = event["outputs"]
    assert (output["namespace"], output["name"]) == ("file", f"/lake/gold/{mart.name}")
    assert [each["name"] for each in output["facets"]["schema"]["fields"]] == [c.name for c in mart.columns]


@pytest.mark.parametrize("mart", MARTS, ids=lambda mart: mart.name)
def test_each_column_of_a_mart_is_traced_to_columns_of_its_inputs(mart):
    event = written(mart_event("COMPLETE", NOW, mart, dict.fromkeys(mart.inputs, 1), ORIGIN))
    facet = event["outputs"][0]["facets"]["columnLineage"]
    assert set(facet["fields"]) <= {column.name for column in mart.columns}
    silver = {
        (input_uri(table.name, LAKE), column.name)
        for contract in load_contracts().values()
        for table in silver_tables(contract)
        for column in table.columns
    }
    gold = {(input_uri(f"gold.{m.name}", LAKE), column.name) for m in MARTS for column in m.columns}
    known = {(*dataset_name(uri), column) for uri, column in silver | gold}
    used = [found for field in facet["fields"].values() for found in field["inputFields"]] + facet["dataset"]
    assert {(found["namespace"], found["name"], found["field"]) for found in used} <= known
    read = {found["name"] for found in used}
    assert read == {dataset_name(input_uri(name, LAKE))[1] for name in mart.inputs}


def test_the_lineage_of_a_mart_says_how_a_column_is_made():
    mart = next(mart for mart in MARTS if mart.name == "daily_transactions")
    event = written(mart_event("COMPLETE", NOW, mart, dict.fromkeys(mart.inputs, 1), ORIGIN))
    facet = event["outputs"][0]["facets"]["columnLineage"]

    def ways(fields):
        return {
            (found["name"], found["field"], made["type"], made["subtype"])
            for found in fields
            for made in found["transformations"]
        }

    assert ways(facet["fields"]["branch_code"]["inputFields"]) == {
        ("tables/accounts", "branch_code", "DIRECT", "IDENTITY")
    }
    assert ways(facet["fields"]["failure_rate"]["inputFields"]) == {
        ("tables/transactions", "status", "DIRECT", "AGGREGATION")
    }
    assert ("tables/accounts", "account_id", "INDIRECT", "JOIN") in ways(facet["dataset"])
    assert ("tables/transactions", "channel", "INDIRECT", "GROUP_BY") in ways(facet["dataset"])


def test_a_run_has_the_same_id_in_all_its_events_and_one_parent():
    first = written(batch_event("START", NOW, batch_of("accounts"), load_contract("accounts"), ORIGIN))
    last = written(
        batch_event("FAIL", NOW, batch_of("accounts"), load_contract("accounts"), ORIGIN, error="no")
    )
    other = written(batch_event("START", NOW, batch_of("loans"), load_contract("loans"), ORIGIN))
    assert first["run"]["runId"] == last["run"]["runId"] != other["run"]["runId"]
    parents = {event["run"]["facets"]["parent"]["run"]["runId"] for event in (first, last, other)}
    assert parents == {run_uuid(ORIGIN.run_id, "run")}
    assert last["run"]["facets"]["errorMessage"]["message"] == "no"
    assert UUID(first["run"]["runId"]).version == 5


# --- Sending ----------------------------------------------------------------------------------------


def a_run(settings):
    """The events of a run with a batch that goes well and a mart that fails; what it warns of."""
    lineage = Lineage(settings, ORIGIN.run_id)
    with lineage.batch(batch_of("accounts"), load_contract("accounts")) as finished:
        finished(batch_of("accounts"), COUNTS)
    with pytest.raises(FinlakeError), lineage.mart(MARTS[0], {"accounts": 1}):
        raise FinlakeError("the disk is full", "make room")
    return lineage.close("gold failed")


TOLD = [
    ("run", "START"),
    ("silver.accounts", "START"),
    ("silver.accounts", "COMPLETE"),
    (f"gold.{MARTS[0].name}", "START"),
    (f"gold.{MARTS[0].name}", "FAIL"),
    ("run", "FAIL"),
]


def told(lines):
    return [(event["job"]["name"], event["eventType"]) for event in map(json.loads, lines)]


def test_a_local_run_appends_its_events_to_a_file_below_finlake(tmp_path):
    (tmp_path / ".finlake").mkdir()
    assert a_run(Settings()) == []
    assert a_run(Settings()) == []
    lines = (tmp_path / ".finlake" / FILE_NAME).read_text().splitlines()
    assert told(lines) == 2 * TOLD
    errors = [json.loads(line)["run"]["facets"].get("errorMessage", {}).get("message") for line in lines]
    assert errors[4:6] == ["the disk is full; make room", "gold failed"]


def test_what_is_in_the_file_is_what_the_clients_own_model_takes(tmp_path):
    (tmp_path / ".finlake").mkdir()
    a_run(Settings())
    facets = {}
    for module in vars(facet_v2).values():
        for name in getattr(module, "__all__", dir(module)):
            found = getattr(module, name, None)
            if isinstance(found, type) and hasattr(found, "_get_schema"):
                facets[found._get_schema()] = found
    for line in (tmp_path / ".finlake" / FILE_NAME).read_text().splitlines():
        event = json.loads(line)
        assert event["schemaURL"] == event_v2.RunEvent._get_schema()
        for facet in all_facets(event):
            values = {name: value for name, value in facet.items() if name not in ("_producer", "_schemaURL")}
            facets[facet["_schemaURL"]](**values, producer=facet["_producer"])
        event_v2.RunEvent(
            eventTime=event["eventTime"],
            run=event_v2.Run(event["run"]["runId"]),
            job=event_v2.Job(event["job"]["namespace"], event["job"]["name"]),
            producer=event["producer"],
        )


def all_facets(value):
    """Every facet within an event."""
    if isinstance(value, dict):
        if "_schemaURL" in value:
            yield value
        for inner in value.values():
            yield from all_facets(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from all_facets(inner)


def test_a_lake_elsewhere_sends_nothing_unless_told_to(tmp_path):
    (tmp_path / ".finlake").mkdir()
    assert a_run(LAKE) == []
    assert not (tmp_path / ".finlake" / FILE_NAME).exists()


def test_events_can_be_switched_off(tmp_path, monkeypatch):
    (tmp_path / ".finlake").mkdir()
    monkeypatch.setenv("OPENLINEAGE_DISABLED", "true")
    assert a_run(Settings()) == []
    assert not (tmp_path / ".finlake" / FILE_NAME).exists()


def test_openlineages_own_configuration_file_is_followed(tmp_path):
    (tmp_path / ".finlake").mkdir()
    file = {"type": "file", "log_file_path": str(tmp_path / "elsewhere"), "append": True}
    (tmp_path / "openlineage.yml").write_text(json.dumps({"transport": file}))
    assert a_run(LAKE) == []
    assert told((tmp_path / "elsewhere").read_text().splitlines()) == TOLD


@contextmanager
def backend(answer):
    """A backend that does something with each request; its URL, and the bodies that came."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
            answer(self)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", bodies
    finally:
        server.shutdown()
        server.server_close()


def test_events_go_to_the_backend_that_openlineage_url_names(monkeypatch):
    def accept(handler):
        handler.send_response(201)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    with backend(accept) as (url, bodies):
        monkeypatch.setenv("OPENLINEAGE_URL", url)
        assert a_run(LAKE) == []
    assert told(body for _, body in bodies) == TOLD
    assert {path for path, _ in bodies} == {"/api/v1/lineage"}


def test_a_backend_that_refuses_is_one_warning(monkeypatch):
    def refuse(handler):
        handler.send_error(400)

    with backend(refuse) as (url, bodies):
        monkeypatch.setenv("OPENLINEAGE_URL", url)
        (warning,) = a_run(LAKE)
    assert warning.startswith("OpenLineage: events of this run were not sent: ")
    assert "400" in warning
    assert len(bodies) == 1, "after the first failure it is left alone"


def test_a_backend_that_does_not_answer_is_not_waited_for(monkeypatch):
    ended = Event()
    with backend(lambda _handler: ended.wait(30)) as (url, _):
        monkeypatch.setenv("OPENLINEAGE_URL", url)
        monkeypatch.setattr("pipeline.openlineage.CLOSE_SECONDS", 0.3)
        lineage = Lineage(LAKE, ORIGIN.run_id)
        begin = time.monotonic()
        with lineage.batch(batch_of("accounts"), load_contract("accounts")) as finished:
            finished(batch_of("accounts"), COUNTS)
        (warning,) = lineage.close(None)
        assert time.monotonic() - begin < 3
        ended.set()
    assert "does not answer in time" in warning


def test_a_configuration_that_makes_no_sense_is_a_warning(monkeypatch):
    monkeypatch.setenv("OPENLINEAGE__TRANSPORT__TYPE", "no-such-transport")
    (warning,) = a_run(LAKE)
    assert "not sent" in warning


def test_neither_commands_nor_runs_wait_for_the_client_to_be_imported():
    code = "import sys, pipeline.cli, pipeline.run; sys.exit('openlineage.client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
