"""Glue's decisions that need no stack: schedules, triggers, command lines, partitions, schemas, folders."""

from __future__ import annotations

import doctest
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from emulator.gateway.local import Context, ServiceError, context_of, operation_of
from emulator.glue import command, entries, folders, schemas
from emulator.glue.logs import EVENT_BYTES, batches
from emulator.glue.partitions import HIVE_NULL, matching
from emulator.glue.schedules import Schedule
from emulator.glue.workflows import Workflows, all_told, fires
from emulator.store import Store

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)  # a Wednesday
WHO = Context("test", "eu-central-1")


@pytest.mark.parametrize(
    "module",
    ["clients", "command", "definitions", "folders", "paging", "partitions", "schedules", "schemas"],
)
def test_examples_in_docstrings_are_right(module: str) -> None:
    found = doctest.testmod(import_module(f"emulator.glue.{module}"))
    assert found.attempted
    assert not found.failed


def test_an_argument_is_read_as_a_script_on_aws_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(command.__file__).parent / "runtime")
    utils = import_module("awsglue.utils")
    assert not doctest.testmod(utils).failed
    with pytest.raises(utils.GlueArgumentError, match="--day"):
        utils.getResolvedOptions(["a.py", "--JOB_NAME", "x"], ["day"])


# --- requests ----------------------------------------------------------------------------------------


def test_who_asks_is_read_from_the_signature() -> None:
    signed = "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/glue/aws4_request, SignedHeaders=host"
    assert context_of({"Authorization": signed}, "eu-central-1") == Context("AKID", "us-east-1")
    assert context_of({}, "eu-central-1") == replace(WHO, signed=False)
    assert operation_of({"X-Amz-Target": "AWSGlue.GetJob"}) == "GetJob"
    assert operation_of({}) == ""


# --- schedules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expression", "next_time"),
    [
        ("cron(0 2 * * ? *)", "2026-11-26T02:00"),
        ("cron(0/15 * * * ? *)", "2026-11-25T12:15"),
        ("cron(15 10 ? * MON-FRI *)", "2026-11-26T10:15"),
        ("cron(0 8 ? * 1 *)", "2026-11-29T08:00"),  # AWS's Sunday
        ("cron(0 8 ? * 6#1 *)", "2026-12-04T08:00"),  # the first Friday
        ("cron(0 0 L * ? *)", "2026-11-30T00:00"),
        ("cron(0 0 1 1 ? 2028)", "2028-01-01T00:00"),
    ],
)
def test_a_schedule_fires_when_aws_says(expression: str, next_time: str) -> None:
    moment = Schedule(expression).after(NOW)
    assert moment is not None
    assert moment.isoformat()[:16] == next_time


def test_a_schedule_of_the_past_never_fires() -> None:
    assert Schedule("cron(0 0 1 1 ? 2020)").after(NOW) is None


class FakeDefinitions:
    """Keeps triggers in memory, as the emulator behind would."""

    def __init__(self) -> None:
        self.triggers: dict[str, dict[str, Any]] = {}

    def create(self, _kind: object, _context: Context, request: dict[str, Any]) -> dict[str, Any]:
        state = "ACTIVATED" if request.get("StartOnCreation") else "CREATED"
        self.triggers[request["Name"]] = {**request, "State": state}
        return {}

    def get(self, _kind: object, _context: Context, name: str) -> dict[str, Any]:
        return self.triggers[name]

    def delete(self, _kind: object, _context: Context, request: dict[str, Any]) -> dict[str, Any]:
        del self.triggers[request["Name"]]
        return {}


def test_the_clock_starts_a_job_once_each_time_until_its_trigger_is_deleted() -> None:
    started: list[str] = []

    def start(_context: Context, action: dict[str, Any], **_: object) -> dict[str, Any]:
        started.append(action["JobName"])
        return {"Id": "jr_1"}

    flows = Workflows(
        cast("Any", FakeDefinitions()), cast("Any", SimpleNamespace(start=start)), Store(None),
        start_crawl=lambda *_: "", stop_crawl=lambda *_: {}, crawls=lambda *_: [],
    )  # fmt: skip
    trigger = {
        "Name": "nightly",
        "Type": "SCHEDULED",
        "Schedule": "cron(0 * * * ? *)",
        "StartOnCreation": True,
    }
    flows.create_trigger(WHO, trigger | {"Actions": [{"JobName": "load"}]})
    flows.create_trigger(
        WHO, trigger | {"Name": "off", "StartOnCreation": False, "Actions": [{"JobName": "x"}]}
    )
    for minutes in (1, 30, 59, 60, 61, 62, 120):
        flows.tick(NOW + timedelta(minutes=minutes))
    assert started == ["load", "load"]
    flows.delete_trigger(WHO, {"Name": "nightly"})
    flows.tick(NOW + timedelta(minutes=200))
    assert started == ["load", "load"]


# --- triggers ----------------------------------------------------------------------------------------


def trigger(logical: str, **states: str) -> dict[str, Any]:
    conditions = [{"JobName": name, "State": state} for name, state in states.items()]
    predicate = {"Logical": logical, "Conditions": conditions}
    return {"Type": "CONDITIONAL", "State": "ACTIVATED", "Predicate": predicate}


@pytest.mark.parametrize(
    ("logical", "ends", "expected"),
    [
        ("AND", [("a", "SUCCEEDED")], False),
        ("AND", [("a", "SUCCEEDED"), ("b", "FAILED")], True),
        ("AND", [("a", "SUCCEEDED"), ("a", "FAILED"), ("b", "FAILED")], False),  # the last end counts
        ("ANY", [("b", "FAILED")], True),
        ("ANY", [("b", "SUCCEEDED")], False),
        ("ANY", [], False),
    ],
)
def test_a_trigger_fires_by_how_what_it_watches_has_ended(
    logical: str, ends: list[tuple[str, str]], expected: bool
) -> None:
    events = [{"JobName": name, "State": state} for name, state in ends]
    assert fires(trigger(logical, a="SUCCEEDED", b="FAILED"), events) is expected
    assert fires({**trigger(logical, a="SUCCEEDED", b="FAILED"), "State": "DEACTIVATED"}, events) is False


def test_a_workflow_is_not_over_while_the_end_of_a_job_is_still_to_be_told() -> None:
    actions = [{"JobName": "a", "_run": "jr_1"}, {"JobName": "b", "_run": "jr_2"}, {"_error": "no such job"}]
    one = {"JobName": "a", "State": "SUCCEEDED", "RunId": "jr_1"}
    assert not all_told(actions, [one])
    assert all_told(actions, [one, {"JobName": "b", "State": "FAILED", "RunId": "jr_2_attempt_1"}])


# --- command lines -----------------------------------------------------------------------------------


def test_delta_is_there_only_for_jobs_that_ask_for_it() -> None:
    jars = [Path("/j/delta-spark.jar"), Path("/j/hadoop-aws.jar")]
    without = command.spark_conf({"spark.master": "local"}, {}, jars, frozenset())
    assert without["spark.driver.extraClassPath"] == "/j/hadoop-aws.jar"
    given = {"spark.master": "local[1]"}
    conf = command.spark_conf({"spark.master": "local"}, given, jars, frozenset({"delta"}))
    assert conf["spark.driver.extraClassPath"] == "/j/delta-spark.jar:/j/hadoop-aws.jar"
    assert command.submit_arguments({"spark.a": "x y"}) == "--conf 'spark.a=x y' pyspark-shell"


def test_a_traceback_within_another_is_told_by_its_end() -> None:
    said = (
        "WARN something\nTraceback (most recent call last):\n  File\nKeyError: 1\n\nDuring handling of the "
        "above exception, another exception occurred:\n\nTraceback (most recent call last):\n  File\n"
        "my.Error: no\nmore\n"
    )
    assert command.error_message(1, said) == "my.Error: no"


def test_lines_are_sent_in_batches_that_aws_takes() -> None:
    lines = ["x" * (3 * EVENT_BYTES), *["y"] * 6000]
    sent = list(batches(lines))
    assert "".join(part for batch in sent for part in batch) == "".join(lines)
    assert max(len(batch) for batch in sent) <= 10_000
    assert max(sum(len(part) + 26 for part in batch) for batch in sent) <= 1_048_576
    assert max(len(part) for batch in sent for part in batch) <= EVENT_BYTES


# --- partitions --------------------------------------------------------------------------------------

KEYS = [
    {"Name": "country", "Type": "string"},
    {"Name": "year", "Type": "int"},
    {"Name": "day", "Type": "date"},
    {"Name": "rate", "Type": "decimal(5,2)"},
]
ROWS = [
    {"Values": ["AT", "2024", "2024-03-01", "1.50"]},
    {"Values": ["DE", "2024", "2024-03-02", "10.00"]},
    {"Values": ["FR", "999", "2025-01-01", "9.99"]},
    {"Values": [HIVE_NULL, "2025", "2025-06-01", "0"]},
]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("", [0, 1, 2, 3]),
        ("country = 'AT'", [0]),
        ("COUNTRY in ('AT','FR') and year >= 1000", [0]),
        ("year > 999", [0, 1, 3]),  # as numbers, not as text
        ("rate > 9.99", [1]),
        ("day between '2024-03-02' and '2025-01-01'", [1, 2]),
        ("not (year = 2024) or country like 'D%'", [1, 2, 3]),
        ("country is null", [3]),
        ("country != 'AT'", [1, 2]),
        ("country <> 'AT'", [1, 2]),
        ("day > date '2025-01-01'", [3]),
    ],
)
def test_an_expression_finds_partitions_by_typed_values(expression: str, expected: list[int]) -> None:
    assert matching(expression, KEYS, ROWS) == [ROWS[number] for number in expected]


@pytest.mark.parametrize(
    "expression",
    [
        "country = ",
        "unknown = 1",
        "country = 'AT'; drop table x",
        "country in (select 1)",
        "exists (select 1)",
        "read_text('/etc/passwd') = 'x'",
        "country = getenv('HOME')",
        "(" * 400 + "year = 1" + ")" * 400,
        "day > 'no date'",
    ],
)
def test_an_expression_that_aws_would_not_take_is_refused(expression: str) -> None:
    with pytest.raises(ServiceError) as caught:
        matching(expression, KEYS, ROWS)
    assert caught.value.code == "InvalidInputException"


# --- schemas and folders -----------------------------------------------------------------------------


def test_csv_is_read_with_quotes_and_ragged_rows() -> None:
    schema = schemas.csv_schema(b'\xef\xbb\xbfid;text\n1;"a;b"\n2\n')
    assert schema.columns == {"id": "bigint", "text": "string"}
    assert (schema.delimiter, schema.quote, schema.header) == (";", '"', True)


def test_a_sample_that_breaks_off_in_a_letter_is_read() -> None:
    data = "id,name\n1,Größe\n2,Gr".encode() + "ö".encode()[:1]
    assert schemas.csv_schema(data, whole=False).columns == {"id": "bigint", "name": "string"}


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xff\xfe\x00a", b"a\x00b,c\n", b"one word\n"])
def test_what_is_no_csv_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(schemas.NotReadableError):
        schemas.csv_schema(data)


@pytest.mark.parametrize("data", [b"", b"[1, 2]", b"{", b'"text"'])
def test_what_is_no_json_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(schemas.NotReadableError):
        schemas.json_schema(data)


def test_files_of_a_table_share_one_schema_with_the_wider_types() -> None:
    one, two = schemas.csv_schema(b"id,x\n1,2\n"), schemas.csv_schema(b"id,x,y\n1,2.5,z\n")
    assert schemas.fit(one, two)
    assert schemas.merged([one, two]).columns == {"id": "bigint", "x": "double", "y": "string"}


def test_folders_without_names_become_numbered_partitions() -> None:
    schema = schemas.csv_schema(b"id,x\n1,2\n")
    keys = ["t/2026/01/a.csv", "t/2026/02/a.csv"]
    (found,) = folders.tables("t/", [folders.Object(key, 9) for key in keys], dict.fromkeys(keys, schema))
    assert found.keys == ("partition_0", "partition_1")
    assert found.partitions[("2026", "02")] == "t/2026/02/"


def test_an_update_keeps_what_people_have_written() -> None:
    schema = schemas.csv_schema(b"id,x\n1,2\n")
    found = folders.Found("t/", schema, (folders.Object("t/a.csv", 9),), (), {})
    fresh = entries.file_table("t", "crawler", "bucket", found)
    assert entries.updated(fresh, fresh) is None
    old = {**fresh, "Description": "by hand", "Parameters": {**fresh["Parameters"], "owner": "bank"}}
    column = {**fresh["StorageDescriptor"]["Columns"][0], "Comment": "key"}
    old["StorageDescriptor"] = {**fresh["StorageDescriptor"], "Columns": [column]}
    change = entries.updated(old, fresh)
    assert change
    assert change["Description"] == "by hand"
    assert change["Parameters"]["owner"] == "bank"
    assert change["StorageDescriptor"]["Columns"][0]["Comment"] == "key"
    assert len(change["StorageDescriptor"]["Columns"]) == 2
