"""SQL by Amazon Athena, the same on AWS and on the laptop: the local stack answers Athena's API as well.

A thin client: it names the tables as Athena knows them, waits, and gives values their types.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import boto3
import sqlglot
from botocore.exceptions import BotoCoreError, ClientError
from sqlglot import exp
from sqlglot.errors import SqlglotError

from pipeline.errors import FinlakeError, UsageError, explain
from pipeline.result import Result
from pipeline.settings import LAYERS, Settings
from pipeline.storage import boto_config

FIRST_WAIT, LONGEST_WAIT = 0.02, 1.0  # seconds between two looks at a running query
PAGE_ROWS = 1000  # the most that Athena gives at once
GOING = frozenset({"QUEUED", "RUNNING"})
# How the messages of queries begin that cannot work as they are written.
_INVALID = (
    "AMBIGUOUS_NAME|COLUMN_NOT_FOUND|DUPLICATE_|EXPRESSION_NOT_|FUNCTION_NOT_FOUND|INVALID_PARAMETER_USAGE"
    "|MISMATCHED_|MISSING_|NOT_SUPPORTED|SYNTAX_ERROR|TYPE_MISMATCH"
)
_WRITING = re.compile(
    "ALTER|CREATE|DEALLOCATE|DELETE|DROP|EXECUTE|INSERT|MERGE|MSCK|OPTIMIZE|PREPARE|UNLOAD|UPDATE|VACUUM"
)
_WRITES = (exp.DDL, exp.DML, exp.Drop, exp.Alter, exp.Command, exp.Copy)
_PLACE = re.compile(r"\bline (\d+):(\d+)")
Client = Any  # of boto3, which makes its classes while it runs


@dataclass(frozen=True)
class Renamed:
    """A statement in which layers have become databases.

    Attributes:
        sql: The statement.
        changes: Where it differs: start and end in the original, and the text in its place.
    """

    sql: str
    changes: tuple[tuple[int, int, str], ...] = ()

    def original(self, message: str, sql: str) -> str:
        """A message about it in terms of the original statement.

        >>> renamed = with_databases("select x, y from silver.t", Settings())
        >>> renamed.original("line 1:39: Table 'finlake_local_silver.t'", "select x, y from silver.t")
        "line 1:25: Table 'silver.t'"
        """

        def place(found: re.Match[str]) -> str:
            line, column = int(found[1]), int(found[2])
            starts = [0, *(match.end() for match in re.finditer("\n", self.sql))]
            offset = starts[min(line, len(starts)) - 1] + column - 1
            for start, end, text in self.changes:
                if offset >= start + len(text):
                    offset -= len(text) - (end - start)
                elif offset > start:
                    offset = start
            return f"line {sql.count(chr(10), 0, offset) + 1}:{offset - sql.rfind(chr(10), 0, offset)}"

        message = _PLACE.sub(place, message)
        for start, end, text in self.changes:
            message = message.replace(text.strip('"'), sql[start:end].strip('"').lower())
        return message.replace("awsdatacatalog.", "")


def run_query(sql: str, settings: Settings) -> Result:
    """Run one statement that reads, in Athena's dialect, on tables such as ``silver.customers``.

    Raises:
        UsageError: The SQL is not valid, writes, or names a table that the catalogue does not have.
        FinlakeError: The query failed, or Athena cannot be asked.
    """
    renamed = with_databases(sql, settings)
    # boto3 alone among the SDKs does not read AWS_REGION.
    region = boto3.Session().region_name or os.environ.get("AWS_REGION")
    try:
        client: Client = boto3.client("athena", region_name=region, config=boto_config())
        execution = _ended(client, _started(client, renamed.sql, settings))
        status = execution["Status"]
        if status["State"] != "SUCCEEDED":
            reason = renamed.original(status.get("StateChangeReason") or status["State"], sql)
            raise _failure(reason, client, settings)
        return _result(client, execution)
    except ClientError as error:
        raise _refusal(error, renamed, sql, settings) from error
    except BotoCoreError as error:
        raise explain(error) or FinlakeError(f"Athena cannot be asked: {error}") from error


def with_databases(sql: str, settings: Settings) -> Renamed:
    """A statement whose ``layer.table`` are the tables of the layers' databases.

    >>> with_databases('select * from "gold"."loan_portfolio" -- silver.x', Settings()).sql
    'select * from "finlake_local_gold"."loan_portfolio" -- silver.x'

    Raises:
        UsageError: It is several statements, none, or one that writes.
    """
    found = re.match(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\w+)", sql, re.DOTALL)
    word = found[1].upper() if found else ""
    if _WRITING.fullmatch(word):
        raise _only_reads(word)
    if word == "SHOW":
        spans = [match.span(1) for match in _IN_SHOW.finditer(sql)]
    else:
        shift = found.end(1) if found and word == "EXPLAIN" else 0
        spans = [(start + shift, end + shift) for start, end in _layers_in(sql[shift:])]
    changes = tuple(
        (start, end, sql[start:end].lower().replace(layer, settings.database(layer)))
        for start, end in sorted(spans)
        for layer in [sql[start:end].strip('"').lower()]
    )
    for start, end, text in reversed(changes):
        sql = sql[:start] + text + sql[end:]
    return Renamed(sql, changes)


_AFTER_FROM = re.compile(rf"\b(?:FROM|JOIN)\s+({'|'.join(LAYERS)})(?=\s*\.)", re.IGNORECASE)
_IN_SHOW = re.compile(rf"\b({'|'.join(LAYERS)})\b(?=\s*\.|\s*$|\s+(?:LIKE\s+)?')", re.IGNORECASE)


def _layers_in(sql: str) -> Iterator[tuple[int, int]]:
    """Where layers stand as the databases of tables."""
    try:
        trees = [tree for tree in sqlglot.parse(sql, dialect="athena") if tree is not None]
    except SqlglotError:  # whether it is SQL is for Athena to judge
        yield from (match.span(1) for match in _AFTER_FROM.finditer(sql))
        return
    if len(trees) != 1:
        what = "more than one SQL statement" if trees else "no SQL statement"
        raise UsageError(f"there is {what}", 'for example: finlake query "SELECT 1"')
    (tree,) = trees
    if isinstance(tree, _WRITES) and not isinstance(tree, exp.Query):  # the rest is for Athena to judge
        raise _only_reads((tree.this if isinstance(tree, exp.Command) else tree.key).split()[0])
    for node in tree.find_all(exp.Table, exp.Column):
        database = node.args.get("db")
        if database is not None and database.name.lower() in LAYERS and "start" in database.meta:
            yield database.meta["start"], database.meta["end"] + 1


def _only_reads(word: str) -> UsageError:
    return UsageError(
        f"`finlake query` only reads, and {word.upper()} does not",
        "SELECT, WITH, VALUES, SHOW, DESCRIBE and EXPLAIN do",
    )


def _started(client: Client, sql: str, settings: Settings) -> str:
    answer = client.start_query_execution(
        QueryString=sql,
        QueryExecutionContext={"Database": settings.database("silver")},
        WorkGroup=settings.workgroup,
        # A workgroup that enforces its own place ignores this one.
        ResultConfiguration={"OutputLocation": settings.athena_results_uri},
    )
    return str(answer["QueryExecutionId"])


def _ended(client: Client, id_: str) -> dict[str, Any]:
    """An execution at its end; whoever does not wait for it ends it."""
    wait = FIRST_WAIT
    try:
        while True:
            execution: dict[str, Any] = client.get_query_execution(QueryExecutionId=id_)["QueryExecution"]
            if execution["Status"]["State"] not in GOING:
                return execution
            time.sleep(wait)
            wait = min(LONGEST_WAIT, wait * 1.5)
    except KeyboardInterrupt:
        client.stop_query_execution(QueryExecutionId=id_)
        raise


def _result(client: Client, execution: dict[str, Any]) -> Result:
    pages = client.get_paginator("get_query_results").paginate(
        QueryExecutionId=execution["QueryExecutionId"], PaginationConfig={"PageSize": PAGE_ROWS}
    )
    columns: tuple[str, ...] = ()
    rows: list[tuple[Any, ...]] = []
    readers: list[Callable[[str], Any]] = []
    for number, page in enumerate(pages):
        found = page["ResultSet"]
        texts = [[cell.get("VarCharValue") for cell in row.get("Data", ())] for row in found["Rows"]]
        if number == 0:
            described = found["ResultSetMetadata"]["ColumnInfo"]
            columns = tuple(column["Name"] for column in described)
            readers = [_READERS.get(column["Type"], str) for column in described]
            if execution.get("StatementType") == "DML" and texts and tuple(texts[0]) == columns:
                texts = texts[1:]  # the header
        if len(columns) > 1 and all(len(row) == 1 for row in texts):  # DESCRIBE
            texts = [[text.strip() for text in (row[0] or "").split("\t")] for row in texts]
        rows += [
            tuple(None if text is None else read(text) for text, read in zip(row, readers, strict=False))
            for row in texts
        ]
    return Result(columns, rows)


def _instant(text: str) -> datetime:
    """An instant as Athena writes it.

    >>> _instant("2024-02-29 01:02:03.500 UTC").isoformat(), _instant("2024-02-29 01:02:03.500").isoformat()
    ('2024-02-29T01:02:03.500000+00:00', '2024-02-29T01:02:03.500000')
    """
    return datetime.fromisoformat(text.replace(" UTC", "+00:00"))


_READERS: dict[str, Callable[[str], Any]] = {
    "tinyint": int,
    "smallint": int,
    "integer": int,
    "bigint": int,
    "float": float,
    "real": float,
    "double": float,
    "decimal": Decimal,
    "boolean": lambda text: text == "true",
    "date": date.fromisoformat,
    "timestamp": _instant,
    "timestamp with time zone": _instant,
    "json": json.loads,
}


def _failure(reason: str, client: Client, settings: Settings) -> FinlakeError:
    """What a failed query's reason is for a person."""
    if found := re.search(r"TABLE_NOT_FOUND.*Table '(?:\w+\.)*?(\w+)\.([^']+)'", reason):
        return _no_table(found[1], found[2], client, settings)
    if found := re.search(r"SCHEMA_NOT_FOUND.*Schema '([^']+)'", reason):
        layers = {settings.database(layer): layer for layer in LAYERS}
        name = found[1]
        if name in LAYERS or name in layers:
            database = settings.database(name) if name in LAYERS else name
            return FinlakeError(
                f"the Glue database {database} does not exist",
                f"create it with `finlake infra apply --env {settings.env}`",
            )
        return UsageError(f"there is no layer {name!r}", f"layers are: {', '.join(LAYERS)}")
    if "location provided to save your query results is invalid" in reason:
        return FinlakeError(
            f"Athena cannot write its results to {settings.athena_results_uri}: {reason}",
            f"create the bucket with `finlake infra apply --env {settings.env}`",
        )
    if re.match(_INVALID, reason):
        return UsageError(f"the query is not valid: {reason}")
    return FinlakeError(f"the query failed: {reason}")


def _no_table(layer: str, table: str, client: Client, settings: Settings) -> FinlakeError:
    database = settings.database(layer) if layer in LAYERS else layer
    known: list[str] = []
    try:
        pages = client.get_paginator("list_table_metadata").paginate(
            CatalogName="AwsDataCatalog", DatabaseName=database
        )
        known = sorted(item["Name"] for page in pages for item in page["TableMetadataList"])
    except (ClientError, BotoCoreError):
        pass  # then there are no names to suggest
    near = difflib.get_close_matches(table, known, n=3) or known
    if near:
        hint = f"did you mean {', '.join(f'{layer}.{name}' for name in near)}?"
    elif layer == "bronze":
        hint = f"crawlers register it: aws glue start-crawler --name {settings.prefix}-{settings.env}-bronze"
    else:
        hint = f"{layer} has no tables yet: `finlake run` fills it"
    return UsageError(f"there is no table {layer}.{table}", hint)


def _refusal(error: ClientError, renamed: Renamed, sql: str, settings: Settings) -> FinlakeError:
    """What an error of the API is for a person."""
    about = error.response.get("Error", {})
    message = renamed.original(str(about.get("Message", "")), sql)
    if re.search("WorkGroup .* is not found", message):
        return FinlakeError(
            f"there is no Athena workgroup {settings.workgroup}",
            "`athena = true` in Terraform makes it, FINLAKE_ATHENA_WORKGROUP names another one, and "
            "`--engine duckdb` reads the tables without Athena",
        )
    if about.get("Code") == "InvalidRequestException":
        return UsageError(f"the query is not valid: {message}")
    return explain(error) or FinlakeError(f"Athena refused: {message}")
