"""The AWS CLI as people type it, on the stack that the environment's AWS_ENDPOINT_URL names."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from awscli.clidriver import create_clidriver

BUCKET = os.environ["BUCKET"]
OUTPUT = f"s3://{BUCKET}/cli/"
ROLE = "arn:aws:iam::000000000000:role/cli"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).parent / "aws"), *arguments, "--output", "json"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def aws(*arguments: str) -> Any:
    """A command, in this process: starting the CLI takes longer than what it does."""
    out = io.StringIO()
    with redirect_stdout(out):
        code = create_clidriver().main([*arguments, "--output", "json"])
    assert code == 0, f"aws {' '.join(arguments)}: {code}"
    return json.loads(out.getvalue()) if out.getvalue().startswith("{") else out.getvalue()


def query(sql: str, *options: str) -> dict[str, Any]:
    """A query to its end."""
    place = options or ("--result-configuration", f"OutputLocation={OUTPUT}")
    context = ("--query-execution-context", "Database=db")
    id_ = aws("athena", "start-query-execution", "--query-string", sql, *context, *place)["QueryExecutionId"]
    while True:
        found = aws("athena", "get-query-execution", "--query-execution-id", id_)["QueryExecution"]
        if found["Status"]["State"] not in {"QUEUED", "RUNNING"}:
            return found
        time.sleep(0.1)


def rows(execution: dict[str, Any]) -> list[list[str | None]]:
    id_ = execution["QueryExecutionId"]
    found = aws("athena", "get-query-results", "--query-execution-id", id_)["ResultSet"]["Rows"]
    return [[cell.get("VarCharValue") for cell in row["Data"]] for row in found]


def check_query() -> None:
    """athena start-query-execution, get-query-execution, get-query-results"""
    started = run("athena", "list-query-executions")
    assert (started.returncode, list(json.loads(started.stdout))) == (0, ["QueryExecutionIds"]), started
    done = query("SELECT id, name FROM t ORDER BY id")
    assert done["Status"]["State"] == "SUCCEEDED", done
    assert rows(done) == [["id", "name"], ["1", "one"], ["2", "it's"], ["3", None]]


def check_result_file() -> None:
    """s3 cp of a query's CSV"""
    done = query("SELECT count(*) AS n FROM t")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.csv"
        aws("s3", "cp", done["ResultConfiguration"]["OutputLocation"], str(file), "--no-progress")
        assert file.read_text() == '"n"\n"3"\n'


def check_parameters() -> None:
    """athena --execution-parameters, create-prepared-statement"""
    options = ("--execution-parameters", "2", "--result-configuration", f"OutputLocation={OUTPUT}")
    assert rows(query("SELECT name FROM t WHERE id = ?", *options))[1:] == [["it's"]]
    name, text = "by_cli", "SELECT id FROM t WHERE name = ?"
    group = ("--work-group", "primary")
    aws("athena", "create-prepared-statement", "--statement-name", name, *group, "--query-statement", text)
    assert rows(query(f"EXECUTE {name} USING 'one'"))[1:] == [["1"]]


def check_workgroup() -> None:
    """athena create-work-group with an enforced place for results, create-named-query"""
    settings = {
        "EnforceWorkGroupConfiguration": True,
        "ResultConfiguration": {"OutputLocation": f"{OUTPUT}group/"},
    }
    group = ("--name", "by-cli", "--configuration", json.dumps(settings))
    aws("athena", "create-work-group", *group)
    done = query("SELECT 1", "--work-group", "by-cli")
    assert done["ResultConfiguration"]["OutputLocation"].startswith(f"{OUTPUT}group/")
    named = ("--name", "n", "--database", "db", "--query-string", "SELECT 2", "--work-group", "by-cli")
    id_ = aws("athena", "create-named-query", *named)["NamedQueryId"]
    found = aws("athena", "get-named-query", "--named-query-id", id_)["NamedQuery"]
    assert found["QueryString"] == "SELECT 2"


def check_errors() -> None:
    """exit code and message of a refusal, and of a failed query"""
    done = run("athena", "start-query-execution", "--query-string", "SELEC 1")
    assert done.returncode == 255, done
    assert "(InvalidRequestException)" in done.stderr
    failed = query("SELECT * FROM nowhere")
    assert failed["Status"]["State"] == "FAILED"
    assert "TABLE_NOT_FOUND" in failed["Status"]["StateChangeReason"]


def check_crawler() -> None:
    """s3 cp, glue create-crawler, start-crawler; athena reads the table with its partitions"""
    with tempfile.TemporaryDirectory() as folder:
        for day, name in (("2024-01-01", "Anna"), ("2024-01-02", "Ben")):
            file = Path(folder) / "a.csv"
            file.write_text(f"id,name\n1,{name}\n")
            aws("s3", "cp", str(file), f"s3://{BUCKET}/people/day={day}/a.csv", "--no-progress")
    targets = json.dumps({"S3Targets": [{"Path": f"s3://{BUCKET}/people/"}]})
    aws(
        "glue",
        "create-crawler",
        "--name",
        "cli",
        "--role",
        ROLE,
        "--database-name",
        "db",
        "--targets",
        targets,
    )
    aws("glue", "start-crawler", "--name", "cli")
    while aws("glue", "get-crawler", "--name", "cli")["Crawler"]["State"] != "READY":
        time.sleep(0.2)
    where = ("--database-name", "db", "--table-name", "people", "--expression", "day > '2024-01-01'")
    (partition,) = aws("glue", "get-partitions", *where)["Partitions"]
    assert partition["Values"] == ["2024-01-02"]
    assert rows(query("SELECT name, day FROM people ORDER BY day"))[1:] == [
        ["Anna", "2024-01-01"],
        ["Ben", "2024-01-02"],
    ]


def check_job() -> None:
    """glue create-job, start-job-run, get-job-run; logs get-log-events"""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "job.py"
        script.write_text("import sys\nprint('day', sys.argv[sys.argv.index('--day') + 1])\n")
        aws("s3", "cp", str(script), f"s3://{BUCKET}/jobs/job.py", "--no-progress")
    command = f"Name=pythonshell,ScriptLocation=s3://{BUCKET}/jobs/job.py,PythonVersion=3"
    aws("glue", "create-job", "--name", "cli", "--role", ROLE, "--command", command)
    id_ = aws("glue", "start-job-run", "--job-name", "cli", "--arguments", '{"--day": "7"}')["JobRunId"]
    while True:
        found = aws("glue", "get-job-run", "--job-name", "cli", "--run-id", id_)["JobRun"]
        if found["JobRunState"] not in {"STARTING", "RUNNING"}:
            break
        time.sleep(0.2)
    assert found["JobRunState"] == "SUCCEEDED", found
    stream = ("--log-group-name", f"{found['LogGroupName']}/output", "--log-stream-name", id_)
    events = aws("logs", "get-log-events", *stream)["events"]
    assert [event["message"] for event in events] == ["day 7"]
