"""The pipeline on S3 and Glue: loaded in two batches, then read by everybody who reads Delta tables."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import duckdb
import pytest
from deltalake import DeltaTable, QueryBuilder
from lakehouse import LAYERS, Lakehouse, Story, clean_environment, lakehouse

from contracts import Contract, load_contracts
from emulator.native import NativeStack
from pipeline.catalog import catalog_tables, register, registered_tables
from pipeline.errors import FinlakeError
from pipeline.gold import MARTS
from pipeline.history import table_name
from pipeline.ledger import OPS_TABLES
from pipeline.lock import exclusive
from pipeline.query import connect
from pipeline.settings import Settings
from pipeline.silver import ensure_tables
from pipeline.storage import delta_options, read_bytes, write_bytes
from pipeline.tables import changes_read_here

pytestmark = [pytest.mark.emulator, pytest.mark.spark, pytest.mark.timeout(1200)]

CONTRACTS = load_contracts()
TABLES = [
    *(f"{layer}.{entity}" for layer in ("silver", "quarantine") for entity in CONTRACTS),
    *(f"silver.{table_name(entity)}" for entity, contract in CONTRACTS.items() if contract.keeps_history),
    *(f"gold.{mart.name}" for mart in MARTS),
    *(f"ops.{name}" for name in OPS_TABLES),
]
BY_RUNS = [table for table in TABLES if table != "ops.table_sizes"]  # maintenance writes that one
OWN = ["_ingested_at", "_source_file", "_source_row", "_run_id", "_row_hash", "_warnings", "_deleted_at"]


@pytest.fixture(scope="module")
def lake(story: Story) -> Lakehouse:
    return story.lake


# --- the runs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [0, 1])
def test_every_check_holds_after_each_batch(story: Story, batch: int):
    checks = {check["check"]: check for check in story.checks[batch]}
    assert [check for check in checks.values() if not check["ok"]] == []
    for entity in CONTRACTS:
        assert f"{entity}: batch {batch} to the row" in checks
        assert f"{entity}: every row is accounted for" in checks
    assert "catalogue: silver is as the tables are" in checks


def test_orphans_come_back_when_their_parents_arrive(story: Story):
    report = json.loads(story.runs[1].stdout)
    released = {entity["entity"]: entity["released"] for entity in report["entities"]}
    assert all(released[entity] > 0 for entity, contract in CONTRACTS.items() if contract.parents)
    assert released["customers"] == 0


def test_the_increment_is_inserted_and_merged(story: Story):
    report = json.loads(story.runs[1].stdout)
    for entity in report["entities"]:
        outcomes = ("inserted", "updated", "duplicate", "stale", "quarantined")
        assert entity["read"] == sum(entity[name] for name in outcomes)
        assert entity["inserted"] > 0
        assert entity["quarantined"] == 0 or entity["reasons"]
    assert sum(entity["updated"] for entity in report["entities"]) > 0
    # So small, what could follow is built anew.
    assert {mart["mart"]: mart["status"] for mart in report["marts"]} == {
        mart.name: "rebuilt" for mart in MARTS
    }


@pytest.mark.parametrize("entity", CONTRACTS)
def test_changes_of_a_table_are_read_from_s3_without_spark(lake: Lakehouse, story: Story, entity: str):
    uri = lake.settings.table_uri("silver", entity)
    first, second = (versions[f"silver.{entity}"] for versions in story.versions[:2])
    with lake.reachable():
        changes = changes_read_here(uri, first + 1, second, CONTRACTS[entity].key)
    assert changes is not None
    counts = Counter(changes["_change_type"].to_list())
    report = {one["entity"]: one for one in json.loads(story.runs[1].stdout)["entities"]}[entity]
    assert counts["insert"] == report["inserted"]
    assert counts["update_postimage"] == counts["update_preimage"] >= report["updated"] > 0


def test_progress_goes_to_stderr_and_the_result_to_stdout(story: Story):
    first, second, _ = story.runs
    for entity in CONTRACTS:
        assert f"{entity}: reading 1 files" in first.stderr
        assert f"{entity}: done" in first.stderr
    assert "quarantined" in first.stdout
    assert second.stderr == ""


def test_a_run_with_nothing_new_changes_no_table_and_starts_no_spark(story: Story):
    before, after = story.versions[1:]
    assert set(after) == set(TABLES)
    assert after == before
    last = story.runs[2]
    assert "Nothing is new" in last.stdout
    assert last.stderr == ""


def test_the_increment_changed_every_table(story: Story):
    first, second, _ = story.versions
    assert [table for table in BY_RUNS if second[table] <= first[table]] == []


def test_nothing_is_written_beside_the_folder_of_the_stack(story: Story):
    assert [path.name for path in story.lake.folder.iterdir()] == [".finlake"]


def test_of_runs_that_find_the_lock_of_a_dead_run_exactly_one_gets_it(stack: NativeStack):
    lake = lakehouse(stack, "locks")
    uri = lake.settings.table_uri("ops", "_locks") + "/loans.json"
    gone = {"run_id": "gone", "host": "elsewhere", "pid": 1, "since": "2026-01-01T00:00:00+00:00"}
    claim = json.dumps(gone | {"expires": "2026-01-01T00:01:30+00:00"}).encode()
    runners = 8
    with lake.reachable():
        for _ in range(10):
            write_bytes(uri, claim)
            begin, end = Barrier(runners), Barrier(runners)

            def attempt(number: int, begin: Barrier = begin, end: Barrier = end) -> str:
                begin.wait()
                try:
                    with exclusive(["loans"], f"run-{number}", lake.settings):
                        end.wait()
                        return "got it"
                except FinlakeError:
                    end.wait()
                    return "refused"

            with ThreadPoolExecutor(runners) as pool:
                outcomes = Counter(pool.map(attempt, range(runners)))
            assert outcomes == {"got it": 1, "refused": runners - 1}
            assert read_bytes(uri) is None


# --- the catalogue -------------------------------------------------------------------------------


def glue_table(lake: Lakehouse, layer: str, table: str) -> dict[str, Any]:
    return lake.client("glue").get_table(DatabaseName=lake.settings.database(layer), Name=table)["Table"]


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS)
def test_glue_shows_a_silver_table_as_the_contract_describes_it(lake: Lakehouse, contract: Contract):
    table = glue_table(lake, "silver", contract.entity)
    described = table["StorageDescriptor"]["Columns"]
    assert [column["Name"] for column in described] == [*(c.name for c in contract.columns), *OWN]
    by_name = {column["Name"]: column for column in described}
    for column in contract.columns:
        entry = by_name[column.name]
        assert entry["Type"] == column.physical_type
        assert entry["Comment"] == column.description
        assert entry.get("Parameters", {}) == ({"pii": column.pii_class} if column.pii_class else {})
    assert all(by_name[name]["Comment"] for name in OWN)


@pytest.mark.parametrize("table", TABLES)
def test_readers_recognise_every_table_as_delta(lake: Lakehouse, table: str):
    layer, name = table.split(".")
    entry = glue_table(lake, layer, name)
    storage = entry["StorageDescriptor"]
    assert entry["Parameters"]["spark.sql.sources.provider"] == "delta"
    assert entry["Parameters"]["table_type"] == "DELTA"
    assert entry["TableType"] == "EXTERNAL_TABLE"
    assert storage["Location"] == lake.settings.table_uri(layer, name)
    assert storage["SerdeInfo"]["Parameters"]["path"] == storage["Location"]
    assert storage["Columns"]
    assert all(column["Type"] != "array<string>" or column["Name"] != "col" for column in storage["Columns"])


def test_personal_data_is_tagged_in_delta_as_well(lake: Lakehouse):
    with lake.reachable():
        uri = lake.settings.table_uri("silver", "customers")
        schema = DeltaTable(uri, storage_options=delta_options(uri))
        fields = {field.name: field for field in schema.schema().fields}
    assert fields["email"].metadata["pii"] == "email"
    assert fields["date_of_birth"].metadata["pii"] == "date_of_birth"
    assert "pii" not in fields["segment"].metadata
    assert fields["segment"].metadata["comment"]


# --- everybody reads the same --------------------------------------------------------------------

SPARK_COUNTS = """
import json, sys
from pipeline.session import start_session
spark = start_session()
locations = json.load(sys.stdin)
print(json.dumps({t: int(spark.read.format("delta").load(uri).count()) for t, uri in locations.items()}))
"""


# Spark takes seconds per table: these were appended to, merged into, deleted from, and overwritten.
READ_BY_SPARK = ("silver.customers", "quarantine.accounts", "gold.customer_360", "ops.row_counts")


def test_duckdb_delta_rs_spark_and_finlake_count_the_same(lake: Lakehouse):
    locations = {table: lake.settings.table_uri(*table.split(".")) for table in TABLES}
    count = "SELECT count(*) AS n FROM"
    with lake.reachable():
        connection = connect()
        by_duckdb = {
            table: connection.execute(f"{count} delta_scan('{uri}')").fetchone()[0]
            for table, uri in locations.items()
        }
        by_delta_rs = {}
        for table, uri in locations.items():
            opened = DeltaTable(uri, storage_options=delta_options(uri))
            answer = QueryBuilder().register("t", opened).execute(f"{count} t").read_all()
            by_delta_rs[table] = answer["n"][0].as_py()
    statement = " UNION ALL ".join(f"SELECT '{table}' AS t, count(*) AS n FROM {table}" for table in TABLES)
    by_finlake = {row["t"]: row["n"] for row in lake.json("query", statement, "--format", "json")}
    assert by_duckdb == by_delta_rs == by_finlake
    assert min(by_duckdb[table] for table in BY_RUNS) > 0
    done = subprocess.run(
        [sys.executable, "-c", SPARK_COUNTS],
        input=json.dumps({table: locations[table] for table in READ_BY_SPARK}),
        cwd=lake.folder,
        env=clean_environment() | lake.variables | lake.aws,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    by_spark = json.loads(done.stdout.splitlines()[-1])
    assert by_spark == {table: by_duckdb[table] for table in READ_BY_SPARK}


def test_readers_without_extensions_of_ours_read_the_tables(lake: Lakehouse):
    """A plain DuckDB on delta-rs's Arrow tables sums money to the cent, as finlake's own SQL does."""
    with lake.reachable():
        uri = lake.settings.table_uri("silver", "transactions")
        table = DeltaTable(uri, storage_options=delta_options(uri))
        amounts = table.to_pyarrow_table(columns=["currency", "amount"])
    assert amounts.num_rows > 0
    sql = "SELECT currency, CAST(sum(amount) AS VARCHAR) AS total FROM {} GROUP BY currency ORDER BY currency"
    expected = duckdb.sql(sql.format("amounts")).fetchall()
    found = lake.json("query", sql.format("silver.transactions"), "--format", "json")
    assert [(row["currency"], row["total"]) for row in found] == expected


# --- finlake query -------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", LAYERS[1:])
def test_every_layer_can_be_asked_by_name(lake: Lakehouse, layer: str):
    name = next(table for table in TABLES if table.startswith(f"{layer}."))
    rows = lake.json("query", f"SELECT count(*) AS n FROM {name}", "--format", "json")
    assert rows[0]["n"] > 0


def test_csv_and_json_hold_the_same_rows(lake: Lakehouse):
    sql = (
        "SELECT customer_id, date_of_birth, annual_income, updated_at, credit_score, _row_hash "
        "FROM silver.customers ORDER BY customer_id"
    )
    as_json = lake.json("query", sql, "--format", "json")
    as_csv = list(csv.DictReader(io.StringIO(lake.must("query", sql, "--format", "csv").stdout)))
    assert len(as_json) == len(as_csv) > 50
    written = [{key: "" if value is None else str(value) for key, value in row.items()} for row in as_json]
    assert as_csv == written
    assert isinstance(as_json[0]["annual_income"], str | None), "a float would lose cents"


def test_a_table_shows_every_column_and_says_how_many_rows_it_leaves_out(lake: Lakehouse):
    shown = lake.must("query", "SELECT * FROM silver.transactions ORDER BY transaction_id").stdout
    header = " ".join(shown.splitlines()[:3])
    assert all(column.name in header for column in CONTRACTS["transactions"].columns)
    assert "…" not in shown
    assert "more rows; --format csv or json shows all of them" in shown


def test_a_join_across_layers_answers(lake: Lakehouse):
    sql = (
        "SELECT count(*) AS n FROM gold.customer_360 JOIN silver.customers USING (customer_id) "
        "JOIN ops.runs ON status = 'succeeded'"
    )
    assert (
        lake.json("query", sql, "--format", "json")[0]["n"]
        == 2 * lake.json("query", "SELECT count(*) AS n FROM silver.customers", "--format", "json")[0]["n"]
    )


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("silver.custmers", "silver.customers"),
        ("gold.customer360", "gold.customer_360"),
        ("ops.run", "ops.runs"),
    ],
)
def test_a_misspelled_table_is_answered_with_near_names(lake: Lakehouse, asked: str, meant: str):
    done = lake.finlake("query", f"SELECT * FROM {asked}")
    assert done.returncode == 2
    assert done.stdout == ""
    assert f"there is no table {asked}" in done.stderr
    assert meant in done.stderr.split("did you mean")[1]


def test_a_statement_from_stdin_is_run(lake: Lakehouse):
    command = lake.command("query", "-", "--format", "csv") | {"stdin": subprocess.PIPE}
    process = subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate("SELECT count(*) AS marts FROM gold.loan_portfolio WHERE false")
    assert (process.returncode, out, err) == (0, "marts\n0\n", "")


def test_glues_versions_of_a_table_tell_how_its_columns_have_changed(stack: NativeStack):
    lake, loans = lakehouse(stack, "versions"), load_contracts()["loans"]
    former = replace(loans, columns=tuple(c for c in loans.columns if c.name != "collateral_value"))
    with lake.reachable():
        for contract, additional in ((former, ()), (loans, ()), (loans, ("broker",)), (loans, ("broker",))):
            ensure_tables(contract, additional, lake.settings)
            register(catalog_tables({"loans": contract}, lake.settings, {"loans": additional}), lake.settings)
    asked = {"DatabaseName": lake.settings.database("silver"), "TableName": "loans"}
    found = lake.client("glue").get_table_versions(**asked)["TableVersions"]
    versions = sorted(found, key=lambda version: int(version["VersionId"]))
    columns = [{c["Name"] for c in v["Table"]["StorageDescriptor"]["Columns"]} for v in versions]
    assert len(columns) == 3, "what has not changed is no version"
    assert [columns[1] - columns[0], columns[2] - columns[1]] == [{"collateral_value"}, {"broker"}]
    assert columns[0] < columns[1] < columns[2]


def test_a_database_that_is_not_there_is_named_with_the_way_to_create_it(lake: Lakehouse):
    with lake.reachable(), pytest.raises(FinlakeError, match="Glue database nowhere_local_silver does not"):
        registered_tables("silver", Settings(prefix="nowhere", env="local"))
