"""Delta tables without Spark: create, version, commits, restore. Uses delta-rs.

Tables are created here, before Spark writes to them, because here each column carries its comment
and its PII class as Delta column metadata, and because it takes milliseconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, Schema, Transaction, write_deltalake
from deltalake.exceptions import TableNotFoundError
from deltalake.schema import ArrayType, PrimitiveType, StructType

from pipeline.storage import (
    delete,
    delete_old_versions,
    delta_options,
    list_objects,
    names_after,
    read_bytes,
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
    """Create the Delta table when it is not there; add columns that it lacks.

    Existing columns are never dropped or retyped.
    """
    schema = Schema([_field(column) for column in columns])
    try:
        table = DeltaTable(uri, storage_options=delta_options())
    except TableNotFoundError:
        return DeltaTable.create(
            uri,
            schema,
            mode="ignore",
            partition_by=list(partition_by) or None,
            description=description or None,
            configuration=configuration,
            storage_options=delta_options(),
        )
    present = {field.name for field in table.schema().fields}
    if missing := [field for field in schema.fields if field.name not in present]:
        table.alter.add_columns(missing)
    return table


def open_table(uri: str) -> DeltaTable | None:
    """The table at ``uri``, or None when there is none."""
    try:
        return DeltaTable(uri, storage_options=delta_options())
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


def newest_metadata(uri: str) -> str | None:
    """``userMetadata`` of the table's newest commit that has any, or None."""
    for version in range(table_version(uri), -1, -1):
        commit = read_bytes(f"{uri}/_delta_log/{version:020}.json")
        if commit is None:  # older commits are gone as well
            return None
        for action in map(json.loads, commit.splitlines()):
            if metadata := action.get("commitInfo", {}).get("userMetadata"):
                return str(metadata)
    return None


def read_version(spark: SparkSession, uri: str, version: int) -> DataFrame:
    """A version of a Delta table, as a Spark frame.

    The newest one is not asked for by number: Spark has it in memory, if it has worked on the table
    before, whereas it works out anew which files an older one consists of.
    """
    reader = spark.read.format("delta")
    if version != table_version(uri):
        reader = reader.option("versionAsOf", version)
    return reader.load(uri)


def restore_and_fence(uri: str, version: int, writer: str, number: int) -> None:
    """Bring a table back to an earlier version, and shut out older writes of ``writer``.

    Args:
        uri: The table.
        version: Version to go back to. The way there stays in the table's history.
        writer: Delta's ``txnAppId`` of the writes to shut out.
        number: Writes with a ``txnVersion`` up to this number cannot get in any more.
    """
    table = DeltaTable(uri, storage_options=delta_options())
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
    table = DeltaTable(uri, storage_options=delta_options())
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    say(table, metadata or {})
    table.create_checkpoint()
    newest = f"{table.version():020}"
    for item in list_objects(f"{uri}/_delta_log"):
        name = item.uri.rsplit("/", 1)[-1]
        if name[:20].isdigit() and name[:20] < newest:
            delete(item.uri)
    delete_old_versions(uri, folder=True)


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
