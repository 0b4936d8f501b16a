"""Delta tables without Spark: create, version, commits, restore. Uses delta-rs.

Tables are created here, before Spark writes to them, because here each column carries its comment
and its PII class as Delta column metadata, and because it takes milliseconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
from deltalake import (
    CommitProperties,
    DeltaTable,
    Field,
    QueryBuilder,
    Schema,
    Transaction,
    write_deltalake,
)
from deltalake.exceptions import DeltaError, DeltaProtocolError, TableNotFoundError
from deltalake.schema import ArrayType, PrimitiveType, StructType

from pipeline.errors import FinlakeError
from pipeline.storage import (
    delete,
    delete_old_versions,
    delta_options,
    etag_of,
    list_objects,
    names_after,
    read_bytes,
    write_bytes,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

ARROW_TYPES = {
    "string": pa.string(),
    "bigint": pa.int64(),
    "int": pa.int32(),
    "double": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "binary": pa.binary(),
}
DELTA_TYPES = {"bigint": "long", "int": "integer"}
ARRAY_OF_STRING = "array<string>"
CHANGE_FEED = "delta.enableChangeDataFeed"
CLUSTERED_BY = "clusteredBy"  # what a commit that clustered a table says besides
READ_HERE = 256 * 2**20
"""Bytes of files up to which changes are read by this process rather than by Spark."""
AGGREGATED_HERE = 2**30
"""Bytes of tables up to which this process computes aggregates: it holds few of their rows at a time."""
UNKNOWN_FEATURE = re.compile("Unsupported table features|not supported|not implemented")
"""What delta-rs says of a table of whose features it lacks one."""
LOG_FILE = re.compile(r"(\d{20})\.(?:json|checkpoint\..*)$")
LAYOUT_STRUCT = "struct<header:array<string>,delimiter:string>"


@dataclass(frozen=True)
class TableColumn:
    """A column of a Delta table as it is created and registered.

    Attributes:
        name: Column name.
        type: Spark SQL type.
        comment: What the column means.
        pii_class: Kind of personal data, or None.
        nullable: Whether null may be stored.
    """

    name: str
    type: str
    comment: str
    pii_class: str | None = None
    nullable: bool = True


def ensure_table(
    uri: str,
    columns: Sequence[TableColumn],
    partition_by: Sequence[str] = (),
    description: str = "",
    configuration: Mapping[str, str | None] | None = None,
) -> DeltaTable:
    """Create the Delta table when it is not there; add columns that it lacks, widen those that are narrow.

    A column gets the PII class that it is given; one that it had before stays, when none is given any more.
    Existing columns are never dropped. One that gets a wider type costs a copy of the table, in one
    commit; Delta's time travel still shows it as it was.

    Raises:
        FinlakeError: A column has a type that not every stored value would fit into, or the table is
            divided by other columns.
    """
    schema = Schema([_field(column) for column in columns])
    try:
        table = DeltaTable(uri, storage_options=delta_options(uri))
    except TableNotFoundError:
        return DeltaTable.create(
            uri,
            schema,
            mode="ignore",
            partition_by=list(partition_by) or None,
            description=description or None,
            configuration=configuration,
            storage_options=delta_options(uri),
        )
    if (parted := table.metadata().partition_columns) != list(partition_by):
        raise FinlakeError(
            f"{uri} is partitioned by {', '.join(parted) or 'nothing'}, and not by "
            f"{', '.join(partition_by) or 'nothing'}",
            "partition the contract's columns as before, or load into a new lake: Bronze has every row",
        )
    present = {field.name: field for field in table.schema().fields}
    wider = {
        field.name: field
        for field in schema.fields
        if field.name in present and _is_to_be_widened(present[field.name], field, uri)
    }
    if missing := [field for field in schema.fields if field.name not in present]:
        table.alter.add_columns(missing)
    for field in schema.fields:
        tag = field.metadata.get("pii")
        if tag and field.name in present and present[field.name].metadata.get("pii") != tag:
            table.alter.set_column_metadata(field.name, {"pii": tag})
    known = table.metadata().configuration
    if lacking := {k: v for k, v in (configuration or {}).items() if v is not None and known.get(k) != v}:
        table.alter.set_table_properties(lacking)
    if wider:
        _retype(table, wider)
    return table


def planned_changes(uri: str, columns: Sequence[TableColumn]) -> list[str]:
    """What :func:`ensure_table` would do to columns of a table that is there, in words. Writes nothing."""
    table = open_table(uri)
    present = {field.name: field for field in table.schema().fields} if table else {}
    said = []
    for column in columns if table else ():
        field = _field(column)
        if column.name not in present:
            said.append(f"column {column.name} ({column.type}) would be added")
            continue
        try:
            if _is_to_be_widened(present[column.name], field, uri):
                said.append(f"column {column.name} would become {column.type}, and the table be written anew")
        except FinlakeError as error:
            said.append(f"would be refused: {error}")
        if column.pii_class and present[column.name].metadata.get("pii") != column.pii_class:
            said.append(f"column {column.name} would be tagged {column.pii_class}")
    return said


def _is_to_be_widened(stored: Field, wanted: Field, uri: str) -> bool:
    old, new = stored.type, wanted.type
    if not isinstance(old, PrimitiveType) or not isinstance(new, PrimitiveType) or old == new:
        return False
    if not _fits(old.type, new.type):
        raise FinlakeError(
            f"column {stored.name} of {uri} is {old.type}, and not every such value is a {new.type}",
            "give the column in the contract its former type or a wider one, or another name",
        )
    return True


def _fits(narrow: str, wide: str) -> bool:
    """Whether every value of one of Delta's types is a value of another.

    >>> _fits("decimal(9,2)", "decimal(12,4)"), _fits("decimal(9,2)", "decimal(12,6)")
    (True, False)
    """
    if (narrow, wide) == ("integer", "long"):
        return True
    whole_numbers = {"integer": (10, 0), "long": (19, 0)}
    before, after = (
        whole_numbers.get(name) or [int(number) for number in re.findall(r"\d+", name)]
        for name in (narrow, wide)
    )
    if not before or not wide.startswith("decimal"):
        return False
    return after[1] >= before[1] and after[0] - after[1] >= before[0] - before[1]


def _retype(table: DeltaTable, fields: Mapping[str, Field]) -> None:
    """Write the table anew with other types for some of its columns, in one commit."""
    schema = Schema([fields.get(field.name, field) for field in table.schema().fields])
    target = pa.schema(schema.to_arrow())
    batches = table.to_pyarrow_dataset().to_batches()
    retyped = (part for batch in batches for part in pa.Table.from_batches([batch]).cast(target).to_batches())
    reader = pa.RecordBatchReader.from_batches(target, retyped)
    write_deltalake(table, reader, mode="overwrite", schema_mode="overwrite")


def open_table(uri: str) -> DeltaTable | None:
    """The table at ``uri``, or None when there is none."""
    try:
        return DeltaTable(uri, storage_options=delta_options(uri))
    except TableNotFoundError:
        return None


def table_version(uri: str) -> int:
    """Newest version of the table, or -1 when there is none.

    Only the names of the log's files are looked at, those since the last checkpoint.
    """
    log = f"{uri}/_delta_log"
    hint = read_bytes(f"{log}/_last_checkpoint")
    begin = int(json.loads(hint)["version"]) if hint else 0
    names = names_after(log, f"{begin:020}")
    return max((int(found[1]) for name in names if (found := LOG_FILE.match(name))), default=-1)


def commits_since_checkpoint(uri: str) -> int:
    """How many commits a reader works through besides the newest checkpoint."""
    hint = read_bytes(f"{uri}/_delta_log/_last_checkpoint")
    return table_version(uri) - (int(json.loads(hint)["version"]) if hint else -1)


def rows_are_those_of(uri: str, version: int) -> bool:
    """Whether the table holds what it held in an earlier version.

    Maintenance makes versions in which the same rows stand in other files, so a number alone does not
    tell. Only when the number differs, commits are looked at, from the newest on.
    """
    newest = table_version(uri)
    if version < 0 or version > newest:
        return version == newest
    for number in range(newest, version, -1):
        actions = _commit(uri, number)
        if not actions or any(map(_changes_rows, actions)):
            return False
    return True


def _changes_rows(action: Mapping[str, Mapping[str, object]]) -> bool:
    """Whether an action of a commit can change what a reader of the table gets."""
    files = [action[kind] for kind in ("add", "remove", "cdc") if kind in action]
    return "metaData" in action or any(file.get("dataChange", True) for file in files)


def has_change_feed(uri: str, since: int, until: int) -> bool:
    """Whether Delta's change data feed tells all that has changed after version ``since`` up to ``until``.

    It does not when it was off, when the table's columns have changed, or when commits or files that it
    consists of have been deleted: by maintenance, or since a person was erased.
    """
    table = open_table(uri)
    if table is None or table.metadata().configuration.get(CHANGE_FEED) != "true":
        return False
    paths: set[str] = set()
    for version in range(since + 1, until + 1):
        actions = _commit(uri, version)
        if not actions or any("metaData" in action or "protocol" in action for action in actions):
            return False
        paths |= {file["path"] for file in _change_files(actions)}
    return all(etag_of(f"{uri}/{unquote(path)}") is not None for path in paths)


def _change_files(actions: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Files that the change data feed of a commit consists of."""
    kinds = ("cdc",) if any("cdc" in action for action in actions) else ("add", "remove")
    files = [action[kind] for action in actions for kind in kinds if kind in action]
    return [file for file in files if file.get("dataChange", True) or kinds == ("cdc",)]


def read_changes(spark: SparkSession, uri: str, first: int, last: int) -> DataFrame:
    """Rows that the versions from ``first`` to ``last`` have changed, with ``_change_type``."""
    reader = spark.read.format("delta").option("readChangeFeed", "true")
    return reader.option("startingVersion", first).option("endingVersion", last).load(uri)


def changes_read_here(
    uri: str, first: int, last: int, columns: Sequence[str], *, most: int = READ_HERE
) -> pl.DataFrame | None:
    """The same, read by this process, which takes hundredths of a second.

    Args:
        uri: The table.
        first: The first version.
        last: The last version.
        columns: Columns besides ``_change_type``; those that the table does not have are left out.
        most: Bytes of their files that are still few enough.

    Returns:
        The rows; None if they are a job for Spark: because of their size, or of what is in them.
    """
    with left_to_spark():
        commits = (_commit(uri, version) for version in range(first, last + 1))
        if sum(file.get("size") or 0 for actions in commits for file in _change_files(actions)) > most:
            return None
        table = DeltaTable(uri, storage_options=delta_options(uri))
        there = {field.name for field in table.schema().fields}
        chosen = [*(name for name in columns if name in there), "_change_type"]
        found = table.load_cdf(starting_version=first, ending_version=last, columns=chosen)
        frame = pl.from_arrow(pa.table(found.read_all()))
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - for the type checker; a table is a frame
        return frame
    return None


@contextmanager
def left_to_spark() -> Iterator[None]:
    """A block that ends early, without an error, when delta-rs lacks a table's feature, which Spark may have.

    All else is raised: a storage that does not answer, files that are gone, and mistakes, such as a column
    that is not there, would be that for Spark too.
    """
    try:
        yield
    except DeltaError as error:
        if not isinstance(error, DeltaProtocolError) and not UNKNOWN_FEATURE.search(str(error)):
            raise


def clustered_files(uri: str, columns: Sequence[str]) -> set[str]:
    """Files that the table's newest clustering by these columns has made, as paths below ``uri``.

    Only as long as the log still has that commit; see ``CLUSTERED_BY``.
    """
    for actions in _commits(uri):
        if any(action.get("commitInfo", {}).get(CLUSTERED_BY) == ",".join(columns) for action in actions):
            return {unquote(action["add"]["path"]) for action in actions if "add" in action}
    return set()


def newest_metadata(uri: str) -> str | None:
    """``userMetadata`` of the table's newest commit that has any, or None."""
    for actions in _commits(uri):
        for action in actions:
            if metadata := action.get("commitInfo", {}).get("userMetadata"):
                return str(metadata)
    return None


def _commits(uri: str) -> Iterator[list[dict[str, Any]]]:
    """Actions of each commit that the table's log still has, newest first."""
    for version in range(table_version(uri), -1, -1):
        actions = _commit(uri, version)
        if not actions:  # older commits are gone as well
            return
        yield actions


def _commit(uri: str, version: int) -> list[dict[str, Any]]:
    """Actions of a commit; none when the log does not have it any more."""
    commit = read_bytes(f"{uri}/_delta_log/{version:020}.json")
    return list(map(json.loads, commit.splitlines())) if commit else []


def read_version(spark: SparkSession, uri: str, version: int) -> DataFrame:
    """A version of a Delta table, as a Spark frame.

    The newest one is not asked for by number: Spark has it in memory, if it has worked on the table
    before, whereas it works out anew which files an older one consists of. Nor is one that has the same
    rows as the newest, whose own files may be gone.
    """
    reader = spark.read.format("delta")
    if not rows_are_those_of(uri, version):
        reader = reader.option("versionAsOf", version)
    return reader.load(uri)


def row_count(uri: str) -> int:
    """Rows in the files of a table, as its log tells; none when there is no table."""
    table = open_table(uri)
    if table is None:
        return 0
    counts = pa.table(table.get_add_actions(flatten=True)).column("num_records")
    return sum(count or 0 for count in counts.to_pylist())


def aggregated(
    uri: str, version: int | None, aggregates: Sequence[str], *, unset: str = "", most: int = AGGREGATED_HERE
) -> list[Any] | None:
    """SQL aggregates over a table's rows, computed by this process, which takes hundredths of a second.

    Args:
        uri: The table.
        version: Which of its versions; None for the newest.
        aggregates: What to compute.
        unset: Column that is null in the rows that count, if the table has it.
        most: Bytes of files that are still few enough.

    Returns:
        The values; None for a table that is a job for Spark: because of its size, or of what is in it.
    """
    answer = tables_here({"stored": (uri, version)}, unset=unset, most=most)
    chosen = ", ".join(f"{sql} AS a{number}" for number, sql in enumerate(aggregates))
    with left_to_spark():
        return answer(f"SELECT {chosen} FROM stored") if answer else None
    return None


def tables_here(
    tables: Mapping[str, tuple[str, int | None]], *, unset: str = "", most: int = AGGREGATED_HERE
) -> Callable[[str], list[Any]] | None:
    """Tables for SQL that this process runs, which takes hundredths of a second.

    Args:
        tables: By name in SQL, the URI and the version; None for the newest.
        unset: Column that is null in the rows that count, in tables that have it.
        most: Bytes of files that are still few enough, of all tables together.

    Returns:
        What gives the one row of a statement; None when these tables are a job for Spark: because of their
        size, or of what is in them.
    """
    builder, size, living = QueryBuilder(), 0, {}
    with left_to_spark():
        for name, (uri, version) in tables.items():
            as_they_are = version is None or rows_are_those_of(uri, version)
            table = DeltaTable(uri, None if as_they_are else version, storage_options=delta_options(uri))
            sizes = pa.table(table.get_add_actions(flatten=True)).column("size_bytes")
            size += sum(sizes.to_pylist())
            builder = builder.register(f"all_{name}", table)
            has_it = any(field.name == unset for field in table.schema().fields)
            living[name] = f"SELECT * FROM all_{name} WHERE {f'{unset} IS NULL' if has_it else 'true'}"
    if len(living) < len(tables) or size > most:
        return None
    given = ", ".join(f"{name} AS ({sql})" for name, sql in living.items())

    def answer(sql: str) -> list[Any]:
        found = pa.table(builder.execute(f"WITH {given} {sql}").read_all())
        return [column.to_pylist()[0] for column in found.columns]

    return answer


def restore_and_fence(uri: str, version: int, writer: str, number: int) -> None:
    """Bring a table back to an earlier version, and shut out older writes of ``writer``.

    Args:
        uri: The table.
        version: Version to go back to. The way there stays in the table's history.
        writer: Delta's ``txnAppId`` of the writes to shut out.
        number: Writes with a ``txnVersion`` up to this number cannot get in any more.
    """
    table = DeltaTable(uri, storage_options=delta_options(uri))
    nothing = pa.Table.from_batches([], schema=pa.schema(table.schema().to_arrow()))
    fence = CommitProperties(app_transactions=[Transaction(writer, number)])
    write_deltalake(table, nothing, mode="append", commit_properties=fence)
    table.update_incremental()
    table.restore(version)


def forget_past(uri: str, metadata: Mapping[str, str] | None = None) -> None:
    """Leave nothing of a table but its present rows: time travel ends here.

    Old data files go, and files that no commit knows; then the log before a checkpoint, because each
    commit holds the least and greatest value of every column of the files that it added; and what a
    versioned bucket keeps of all that.

    Args:
        uri: The table.
        metadata: What the table's last commit is to say, besides.
    """
    table = DeltaTable(uri, storage_options=delta_options(uri))
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    say(table, metadata or {})
    table.create_checkpoint()
    newest = f"{table.version():020}"
    for item in list_objects(f"{uri}/_delta_log"):
        name = item.uri.rsplit("/", 1)[-1]
        if name[:20].isdigit() and name[:20] < newest:
            delete(item.uri)
    delete_old_versions(uri, folder=True)


def mark_unchecked(uri: str, version: int, said: str | None) -> None:
    """Write down that a table is being written, and that what it holds then has still to be checked.

    Args:
        uri: The table. The mark lies beside its folder, so that it is no file of the table.
        version: Newest version that was checked, to go back to; -1 for none.
        said: ``userMetadata`` of that version.
    """
    write_bytes(_mark(uri), json.dumps({"version": version, "said": said}).encode())


def unchecked_since(uri: str) -> tuple[int, str | None] | None:
    """Version and ``userMetadata`` that a marked table is to go back to; None for one that was checked."""
    mark = read_bytes(_mark(uri))
    if mark is None:
        return None
    last = json.loads(mark)
    return int(last["version"]), last["said"]


def mark_checked(uri: str) -> None:
    """Take the mark away: what the table holds is right."""
    delete(_mark(uri))


def _mark(uri: str) -> str:
    layer, _, name = uri.rpartition("/")
    return f"{layer}/_unchecked/{name}.json"


def say(table: DeltaTable, metadata: Mapping[str, str]) -> None:
    """Add a commit that changes no row and says something."""
    nothing = pa.Table.from_batches([], schema=pa.schema(table.schema().to_arrow()))
    said = CommitProperties(custom_metadata=dict(metadata))
    write_deltalake(table, nothing, mode="append", commit_properties=said)
    table.update_incremental()


def arrow_type(sql_type: str) -> pa.DataType:
    """Arrow type of a Spark SQL type."""
    if sql_type == ARRAY_OF_STRING:
        return pa.list_(pa.string())
    return ARROW_TYPES[sql_type]


def delta_type(sql_type: str) -> PrimitiveType | ArrayType | StructType:
    """delta-rs type of a Spark SQL type."""
    if sql_type == ARRAY_OF_STRING:
        return ArrayType(PrimitiveType("string"), contains_null=True)
    if sql_type == LAYOUT_STRUCT:
        header = Field("header", ArrayType(PrimitiveType("string"), contains_null=True), nullable=True)
        return StructType([header, Field("delimiter", PrimitiveType("string"), nullable=True)])
    return PrimitiveType(DELTA_TYPES.get(sql_type, sql_type))


def _field(column: TableColumn) -> Field:
    metadata = {"comment": column.comment}
    if column.pii_class:
        metadata["pii"] = column.pii_class
    return Field(column.name, delta_type(column.type), nullable=column.nullable, metadata=metadata)
