"""dbt with its Athena adapter and the small project in ``dbt/``, on the stack that AWS_ENDPOINT_URL names."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3
from dbt.cli.main import dbtRunner

os.environ |= {"DO_NOT_TRACK": "1", "DBT_SEND_ANONYMOUS_USAGE_STATS": "false"}
PROJECT = Path(tempfile.mkdtemp()) / "project"
shutil.copytree(Path(__file__).parent / "dbt", PROJECT)
OUTPUT = f"s3://{os.environ['BUCKET']}/dbt-asked/"


def dbt(*arguments: str, succeeds: bool = True) -> dict[str, str]:
    """A command; the states of its nodes."""
    where = ["--project-dir", str(PROJECT), "--profiles-dir", str(PROJECT)]
    done: Any = dbtRunner().invoke([*arguments, *where, "--quiet"])
    states = {
        item.node.name: f"{item.status}: {item.message or ''}" for item in getattr(done.result, "results", ())
    }
    assert done.success == succeeds, f"{done.exception or states}"
    return states


def ask(sql: str) -> list[list[str | None]]:
    client = boto3.client("athena")
    id_ = client.start_query_execution(
        QueryString=sql,
        QueryExecutionContext={"Database": "by_dbt"},
        ResultConfiguration={"OutputLocation": OUTPUT},
    )["QueryExecutionId"]
    while True:
        status = client.get_query_execution(QueryExecutionId=id_)["QueryExecution"]["Status"]
        if status["State"] not in {"QUEUED", "RUNNING"}:
            break
        time.sleep(0.05)
    assert status["State"] == "SUCCEEDED", status
    found = client.get_query_results(QueryExecutionId=id_)["ResultSet"]["Rows"]
    return [[cell.get("VarCharValue") for cell in row["Data"]] for row in found[1:]]


def check_seed() -> None:
    """dbt seed"""
    dbt("seed")
    assert ask("SELECT id, kind FROM kinds ORDER BY id") == [["1", "good"], ["2", "bad"], ["3", "good"]]


def check_run() -> None:
    """dbt run: a view, a partitioned table, incremental models"""
    dbt("run", "--vars", "{until: 2}")
    assert ask("SELECT id, kind FROM named ORDER BY id") == [["1", "good"], ["2", "bad"], ["3", "good"]]
    assert ask("SELECT kind, n, total FROM by_kind ORDER BY kind") == [
        ["bad", "1", "-2.50"],
        ["good", "2", "1.25"],
    ]
    assert ask("SELECT id FROM appended ORDER BY id") == [["1"], ["2"]]
    assert ask("SELECT id, until FROM overwritten ORDER BY id") == [["1", "2"], ["2", "2"]]


def check_incremental() -> None:
    """dbt run again: append and insert_overwrite add and replace"""
    dbt("run", "--vars", "{until: 3}")
    assert ask("SELECT id FROM appended ORDER BY id") == [["1"], ["2"], ["3"]]
    assert ask("SELECT id, until FROM overwritten ORDER BY id") == [["1", "2"], ["2", "3"], ["3", "3"]]
    assert ask("SELECT count(*) FROM by_kind") == [["2"]]


def check_full_refresh() -> None:
    """dbt run --full-refresh"""
    dbt("run", "--full-refresh", "--vars", "{until: 1}")
    assert ask("SELECT id FROM appended") == [["1"]]
    assert ask("SELECT id, until FROM overwritten") == [["1", "1"]]


def check_test() -> None:
    """dbt test: unique, not_null, accepted_values, relationships; one that must fail does"""
    assert len(dbt("test", "--exclude", "tag:fails")) >= 4
    (state,) = dbt("test", "--select", "tag:fails", succeeds=False).values()
    assert state.startswith("fail"), state


def check_docs() -> None:
    """dbt docs generate: the catalogue with columns and comments"""
    dbt("docs", "generate")
    columns = boto3.client("glue").get_table(DatabaseName="by_dbt", Name="by_kind")["Table"]
    comments = {item["Name"]: item.get("Comment") for item in columns["StorageDescriptor"]["Columns"]}
    assert comments["n"] == "How many there are."
