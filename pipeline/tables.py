"""Delta tables without Spark: create, version, read small ones, replace a slice. Uses delta-rs.

Tables are created here, before Spark writes to them, because here each column carries its comment
and its PII class as Delta column metadata, and because it takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, Schema, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, TableNotFoundError
from deltalake.schema import ArrayType, PrimitiveType, StructType
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from pipeline.storage import delta_options

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
    uri: str, columns: Sequence[TableColumn], partition_by: Sequence[str] = (), description: str = ""
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
    """Newest version of the table, or -1 when there is none."""
    table = open_table(uri)
    return table.version() if table else -1


def read_version(spark: SparkSession, uri: str, version: int) -> DataFrame:
    """A version of a Delta table, as a Spark frame.

    The newest one is not asked for by number: Spark has it in memory, if it has worked on the table
    before, whereas it works out anew which files an older one consists of.
    """
    reader = spark.read.format("delta")
    if version != table_version(uri):
        reader = reader.option("versionAsOf", version)
    return reader.load(uri)


def read_table(uri: str) -> pl.DataFrame:
    """A small table, whole.

    Raises:
        TableNotFoundError: There is no table.
    """
    table = DeltaTable(uri, storage_options=delta_options())
    frame = pl.from_arrow(table.to_pyarrow_table())
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - for the type checker; a table is a frame
    return frame


def empty_frame(columns: Sequence[TableColumn]) -> pl.DataFrame:
    """No rows, in the columns of a small table."""
    frame = pl.from_arrow(_arrow_schema(columns).empty_table())
    assert isinstance(frame, pl.DataFrame)  # noqa: S101 - for the type checker; a table is a frame
    return frame


@retry(
    retry=retry_if_exception_type(CommitFailedError),
    stop=stop_after_attempt(8),
    wait=wait_random_exponential(multiplier=0.1, max=3),
    reraise=True,
)
def replace_slice(
    uri: str, columns: Sequence[TableColumn], rows: Iterable[dict[str, Any]], predicate: str
) -> None:
    """Put ``rows`` in the place of all rows that ``predicate`` selects, in one commit.

    Doing it again gives the same table. All ``rows`` must satisfy the predicate.
    """
    write_deltalake(
        uri,
        pa.Table.from_pylist(list(rows), schema=_arrow_schema(columns)),
        mode="overwrite",
        predicate=predicate,
        storage_options=delta_options(),
    )


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


def _arrow_schema(columns: Sequence[TableColumn]) -> pa.Schema:
    return pa.schema([pa.field(column.name, arrow_type(column.type)) for column in columns])


def _field(column: TableColumn) -> Field:
    metadata = {"comment": column.comment}
    if column.pii_class:
        metadata["pii"] = column.pii_class
    return Field(column.name, delta_type(column.type), nullable=column.nullable, metadata=metadata)
