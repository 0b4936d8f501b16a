"""The commands as a user meets them: help, exit codes, messages, and output for scripts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from lakehouse import Lakehouse, clean_environment, free_port, lakehouse
from typer.testing import CliRunner

from contracts import entities
from emulator.native import NativeStack
from pipeline.cli import app, main
from pipeline.lock import exclusive
from pipeline.storage import list_objects

pytestmark = [pytest.mark.e2e, pytest.mark.emulator]

CSV = "customer_id,email,unheard_of\nC1,ada@example.org,x\n"
# Nothing of this may ever reach a user.
TRACES = ("Traceback (most recent call last)", "\tat ", "java.lang", "org.apache", "py4j", 'File "')


@pytest.fixture(scope="module")
def empty(stack: NativeStack) -> Lakehouse:
    """Buckets and databases as Terraform leaves them, and nothing in them."""
    return lakehouse(stack, "empty")


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """A folder with files that a user might want to ingest."""
    (tmp_path / "crm export.csv").write_text(CSV, encoding="utf-8")
    (tmp_path / "crm.xlsx").write_text(CSV, encoding="utf-8")
    (tmp_path / "nothing").mkdir()
    return tmp_path


def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``finlake`` in a folder without a stack."""
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli", *arguments],
        cwd=cwd,
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def assert_readable(done: subprocess.CompletedProcess[str]) -> None:
    """No stack trace, no colours where there is no terminal."""
    said = done.stdout + done.stderr
    assert not [trace for trace in TRACES if trace in said], said
    assert "\x1b" not in said


def assert_fails(done: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    """It fails with this exit code, says these things on stderr, and nothing on stdout."""
    assert_readable(done)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    for text in said:
        assert text in done.stderr


HEAVY = {"pyspark", "polars", "boto3", "botocore", "duckdb", "deltalake", "pyarrow", "sqlglot", "faker"}

# --- help ----------------------------------------------------------------------------------------


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield path
    else:
        for name, subcommand in subcommands.items():
            yield from commands(subcommand, (*path, name))


COMMANDS = sorted(commands(typer.main.get_command(app)))


def test_there_are_all_commands():
    names = {path[0] for path in COMMANDS}
    assert names >= {"doctor", "generate", "ingest", "run", "status", "verify", "query", "contracts", "infra"}


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_an_example(path: tuple[str, ...]):
    shown = CliRunner().invoke(app, [*path, "--help"])
    assert shown.exit_code == 0
    assert re.search(rf"Examples?:.*finlake {' '.join(path)}", " ".join(shown.output.split()))
    assert CliRunner().invoke(app, [*path, "-h"]).output == shown.output


def test_without_arguments_the_help_is_shown(tmp_path: Path):
    done = run(cwd=tmp_path)
    assert done.returncode == 2
    assert "Usage: " in done.stdout + done.stderr
    assert_readable(done)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["query", "--help"], ["contracts"]])
def test_help_and_contracts_load_no_heavy_library(arguments: Sequence[str], tmp_path: Path):
    script = (
        "import sys, atexit\n"
        f"heavy = {HEAVY}\n"
        "atexit.register(lambda: print('loaded', sorted(heavy & set(sys.modules)), file=sys.stderr))\n"
        "from pipeline.cli import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "loaded []\n")


# --- wrong use: exit code 2 ----------------------------------------------------------------------

WRONG = [
    (["nonsense"], ["No such command 'nonsense'"]),
    (["run", "--nonsense"], ["No such option: --nonsense"]),
    (["run", "--entity", "clients"], ["there is no entity 'clients'", *entities()]),
    (["run", "--layer", "bronze"], ["there is no layer 'bronze'", "all, silver, gold"]),
    (["run", "--from", "31.01.2026"], ["--from", "%Y-%m-%d"]),
    (["run", "--from", "2026-02-01", "--to", "2026-01-01"], ["2026-02-01 is after 2026-01-01", "--to"]),
    (["maintain", "--retention-days", "1"], ["at least 7 days are safe", "--allow-short-retention"]),
    (["quarantine", "list", "--entity", "clients"], ["there is no entity 'clients'", *entities()]),
    (["quarantine", "show", "clients"], ["there is no entity 'clients'", *entities()]),
    (["quarantine", "replay", "loans", "--reason", "x"], ["no quarantined row of loans", "is empty"]),
    (["contracts", "clients"], ["there is no entity 'clients'", *entities()]),
    (["status", "--runs", "0"], ["--runs"]),
    (["ingest", "customers"], ["Missing argument", "files"]),
    (["ingest", "clients", "crm export.csv"], ["there is no entity 'clients'", *entities()]),
    (["ingest", "customers", "nowhere.csv"], ["there is no file nowhere.csv"]),
    (["ingest", "customers", "crm.xlsx"], ["crm.xlsx is not a CSV file by its name", ".csv or .csv.gz"]),
    (["ingest", "customers", "nothing"], ["no CSV file was found"]),
    (["query", ""], ["there is no SQL statement"]),
    (["query", "selec 1"], ["the query is not valid", "selec"]),
    (["query", "SELECT 1 AS a,\n nothing"], ["line 2:2: Column 'nothing' cannot be resolved"]),
    (["query", "SELECT nothing", "--engine", "duckdb"], ['"nothing" was not found']),
    (["query", "SELECT 1; SELECT 2"], ["more than one SQL statement"]),
    (["query", "SELECT * FROM read_csv('/nowhere.csv')"], ["line 1:15: Table function 'read_csv'"]),
    (["query", "DROP TABLE silver.customers"], ["only reads, and DROP does not", "SELECT"]),
    (["query", "SELECT * FROM customers"], ["silver.customers"]),
    (["query", "SELECT * FROM platinum.customers"], ["there is no layer 'platinum'", "silver, gold"]),
    (["query", "SELECT * FROM gold.anything"], ["there is no table gold.anything", "`finlake run`"]),
    (["query", "SELECT 1", "--format", "xml"], ["there is no format 'xml'", "table, csv, json"]),
    (["query", "SELECT 1", "--engine", "spark"], ["there is no engine 'spark'", "athena, duckdb"]),
    (["generate", "--scale", "0"], ["--scale"]),
    (["train", "churn"], ["there is no model 'churn'", "default, fraud"]),
    (["train", "fraud"], ["the fraud model needs labels", "--labels"]),
    (["score"], ["there is no model for default yet", "`finlake train default`"]),
    (["dashboard", "--export", "s3://bucket/"], ["it names no object", "s3://bucket/folder/gold.html"]),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG, ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_wrong_use_is_told_what_is_wrong_and_what_would_be_right(
    empty: Lakehouse,
    inbox: Path,
    arguments: list[str],
    said: list[str],
    *,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    # In this process, which has loaded everything already: there are many ways to be wrong.
    monkeypatch.chdir(inbox)
    monkeypatch.setattr(sys, "argv", ["finlake", *arguments])
    for name, value in (empty.variables | empty.aws).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capfd.readouterr()
    assert_fails(subprocess.CompletedProcess(arguments, ended.value.code, *shown), 2, *said)


def test_wrong_use_is_the_exit_code_of_the_process(inbox: Path):
    assert_fails(run("ingest", "customers", "crm.xlsx", cwd=inbox, FINLAKE_ENV="test"), 2, "not a CSV file")


def test_a_wrong_setting_is_named(tmp_path: Path):
    assert_fails(run("run", cwd=tmp_path, FINLAKE_ENV="My Env"), 2, "FINLAKE_ENV is 'My Env'")


# --- it cannot work now: exit code 1 -------------------------------------------------------------

ON_THE_LAKE = [
    ["run"],
    ["status"],
    ["verify"],
    ["query", "SELECT 1"],
    ["ingest", "customers", "crm export.csv"],
]


@pytest.mark.parametrize("arguments", ON_THE_LAKE, ids=lambda arguments: arguments[0])
def test_without_a_stack_it_says_how_to_start_one(inbox: Path, arguments: list[str]):
    assert_fails(run(*arguments, cwd=inbox), 1, "the local stack is not running", "make up", "FINLAKE_ENV")


@pytest.mark.parametrize(
    "arguments", [["run"], ["ingest", "customers", "crm export.csv"]], ids=["run", "ingest"]
)
def test_without_infrastructure_it_says_how_to_create_it(empty: Lakehouse, inbox: Path, arguments: list[str]):
    done = run(*arguments, cwd=inbox, **empty.aws, FINLAKE_PREFIX="nowhere")
    assert_fails(done, 1, "there is no bucket at", "nowhere-local", "finlake infra apply")


def test_a_stack_that_does_not_answer_is_named(empty: Lakehouse, tmp_path: Path):
    endpoint = f"http://127.0.0.1:{free_port()}"
    done = run(
        "status",
        cwd=tmp_path,
        **(empty.aws | {"AWS_ENDPOINT_URL": endpoint, "AWS_ENDPOINT_URL_S3": endpoint}),
    )
    assert_fails(done, 1, f"cannot reach {endpoint}", "is the stack up?")


def test_a_query_that_fails_while_it_runs_is_no_wrong_use(empty: Lakehouse):
    done = empty.finlake("query", "SELECT CAST('x' AS integer)")
    assert_fails(done, 1, "the query failed", "Cannot cast 'x'")
    done = empty.finlake("query", "SELECT * FROM read_csv('/nowhere.csv')", "--engine", "duckdb")
    assert_fails(done, 1, "the query failed", "/nowhere.csv")


def test_verify_of_an_empty_lake_fails_and_says_what_to_do(empty: Lakehouse):
    done = empty.finlake("verify")
    assert_readable(done)
    assert done.returncode == 1
    for entity in entities():
        assert re.search(rf"FAILED +{entity}: loaded +there is no Silver table: `finlake run`", done.stdout)


def test_a_lake_that_another_run_works_on_is_left_alone(empty: Lakehouse):
    with empty.reachable(), exclusive(["loans"], "20260101T000000-test", empty.settings):
        done = empty.finlake("run")
        assert_fails(
            done,
            1,
            "another run is working on loans: run 20260101T000000-test",
            f"process {os.getpid()}",
            "wait until it ends",
        )
        locks = [info.uri for info in list_objects(empty.settings.table_uri("ops", "_locks"))]
        assert [uri.rsplit("/", 1)[1] for uri in locks] == ["loans.json"], "it keeps a lock of its own"
        assert empty.finlake("status").returncode == 0


# --- for scripts ---------------------------------------------------------------------------------

AS_JSON = [
    (["contracts", "--json"], 0),
    (["contracts", "loans", "--json"], 0),
    (["status", "--json"], 0),
    (["verify", "--json"], 1),
    (["run", "--dry-run", "--json"], 0),
    (["maintain", "--dry-run", "--json"], 0),
    (["quarantine", "replay", "customers", "--json"], 0),
    (["query", "SELECT 1 AS n", "--format", "json"], 0),
    (["ingest", "customers", "crm export.csv", "--json"], 0),
    (["generate", "--scale", "3", "--out", "data", "--json"], 0),
]


@pytest.mark.parametrize(
    ("arguments", "code"), AS_JSON, ids=[" ".join(arguments) for arguments, _ in AS_JSON]
)
def test_json_is_all_that_is_on_stdout(stack: NativeStack, inbox: Path, arguments: list[str], code: int):
    lake = scratch(stack)
    done = run(*arguments, cwd=inbox, **lake.variables, **lake.aws)
    assert_readable(done)
    assert done.returncode == code, done.stderr
    assert json.loads(done.stdout)
    assert done.stderr == ""


def scratch(stack: NativeStack) -> Lakehouse:
    """A lake that tests may put files into; made once."""
    if not hasattr(scratch, "lake"):
        scratch.lake = lakehouse(stack, "scratch")
    return scratch.lake


def test_looking_at_a_lake_writes_nothing(stack: NativeStack, inbox: Path):
    lake = lakehouse(stack, "looked-at")
    environment = lake.variables | lake.aws
    ingested = run("ingest", "customers", "crm export.csv", cwd=inbox, **environment)
    assert "is now" in ingested.stdout
    assert "additional columns: unheard_of" in ingested.stdout
    dry = run("run", "--dry-run", cwd=inbox, **environment)
    assert "nothing was written" in dry.stdout
    assert re.search(r"crm export-\w{12}\.csv: \d+ bytes; 1 rows; missing columns: first_name", dry.stdout)
    for command in (["status"], ["verify"], ["query", "SELECT 1"]):
        run(*command, cwd=inbox, **environment)
    with lake.reachable():
        assert list_objects(lake.settings.silver_uri) == []
        assert list_objects(lake.settings.gold_uri) == []
    assert sorted(path.name for path in inbox.iterdir()) == ["crm export.csv", "crm.xlsx", "nothing"]


def test_a_page_in_s3_is_one_that_a_browser_shows(empty: Lakehouse):
    target = f"{empty.settings.gold_uri}/_pages/gold.html"
    said = empty.json("dashboard", "--export", target, "--json")
    bucket, _, key = target.removeprefix("s3://").partition("/")
    page = empty.client("s3").get_object(Bucket=bucket, Key=key)
    body = page["Body"].read()
    assert (page["ContentType"], len(body)) == ("text/html; charset=utf-8", said["bytes"])
    assert body.startswith(b"<!doctype html>")
    missing = empty.finlake("dashboard", "--export", "s3://no-such-bucket-here/gold.html")
    assert_fails(missing, 1, "no-such-bucket-here")


def test_a_file_that_is_in_bronze_already_is_not_ingested_twice(stack: NativeStack, inbox: Path):
    lake = lakehouse(stack, "twice")
    environment = lake.variables | lake.aws
    first = run("ingest", "customers", "crm export.csv", cwd=inbox, **environment)
    again = run("ingest", "customers", ".", cwd=inbox, **environment)
    assert ("is now" in first.stdout, "was already" in again.stdout) == (True, True)
    assert "finlake run" in first.stdout
    assert "finlake run" not in again.stdout
    (inbox / "crm export.csv").write_text(CSV.replace("ada", "eve"), encoding="utf-8")
    run("ingest", "customers", "crm export.csv", cwd=inbox, **environment)
    with lake.reachable():
        assert len(list_objects(lake.settings.bronze_entity_uri("customers"))) == 2


def test_tables_are_not_cut_off_where_there_is_no_terminal(empty: Lakehouse):
    for command in (["status"], ["contracts"], ["contracts", "transactions"], ["run", "--dry-run"]):
        done = empty.finlake(*command)
        assert_readable(done)
        assert "…" not in done.stdout


def test_a_closed_pipe_ends_quietly(empty: Lakehouse):
    command = empty.command(
        "query", "SELECT n AS range FROM UNNEST(sequence(1, 9000)) AS t(n)", "--format", "csv"
    )
    process = subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout and process.stderr
    assert process.stdout.readline() == "range\n"
    process.stdout.close()
    said = process.stderr.read()
    process.wait()
    assert not [trace for trace in TRACES if trace in said], said
