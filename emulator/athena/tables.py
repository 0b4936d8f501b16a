"""Databases, tables and views: what CREATE, DROP and ALTER do to the catalogue."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError
from sqlglot import exp

from emulator.athena import names, sources, syntax
from emulator.athena.catalog import Table, is_missing, partition_location, view_text
from emulator.athena.engine import Engine, Outcome, lines
from emulator.athena.errors import QueryFailedError, not_supported
from emulator.athena.partitions import add_partitions, partition_values
from emulator.athena.sources import literal
from emulator.athena.types import duckdb_to_hive, hive_to_trino

_HIVE = "org.apache.hadoop.hive"
# Input format, output format, SerDe.
_FORMATS = {
    "PARQUET": (
        f"{_HIVE}.ql.io.parquet.MapredParquetInputFormat",
        f"{_HIVE}.ql.io.parquet.MapredParquetOutputFormat",
        f"{_HIVE}.ql.io.parquet.serde.ParquetHiveSerDe",
    ),
    "TEXTFILE": (
        "org.apache.hadoop.mapred.TextInputFormat",
        f"{_HIVE}.ql.io.HiveIgnoreKeyTextOutputFormat",
        f"{_HIVE}.serde2.lazy.LazySimpleSerDe",
    ),
}
# What Glue shows of a table and takes back.
_WRITTEN = (
    "Name", "Description", "Owner", "Parameters", "PartitionKeys", "StorageDescriptor", "TableType",
)  # fmt: skip
_JSON_SERDE = "org.openx.data.jsonserde.JsonSerDe"


def create_database(engine: Engine, tree: exp.Expr) -> Outcome:
    """``CREATE DATABASE``."""
    database = tree.this.name.lower() or tree.this.db.lower()
    if engine.catalog.has_database(database):
        if tree.args.get("exists"):
            return lines([], [])
        raise QueryFailedError(
            "FAILED: Execution Error, return code 1 from org.apache.hadoop.hive.ql.exec.DDLTask. "
            f"Database {database} already exists",
            kind=1301,
        )
    entry: dict[str, Any] = {"Name": database}
    found = tree.args["properties"].expressions if tree.args.get("properties") else ()
    for item in found:
        if isinstance(item, exp.LocationProperty):
            entry["LocationUri"] = item.this.name
        elif isinstance(item, exp.SchemaCommentProperty):
            entry["Description"] = item.name
    engine.catalog.glue.create_database(DatabaseInput=entry)
    return lines([], [])


def create_table(engine: Engine, tree: exp.Expr) -> Outcome:  # noqa: PLR0912, PLR0915  (clause by clause)
    """``CREATE EXTERNAL TABLE``, also of Delta, whose columns are taken from the log."""
    database, table = name_of(engine, tree.this)
    engine.catalog.require_database(database)
    if exists(engine, database, table):
        if tree.args.get("exists"):
            return lines([], [])
        raise QueryFailedError(
            "FAILED: Execution Error, return code 1 from org.apache.hadoop.hive.ql.exec.DDLTask. "
            f"AlreadyExistsException(message:Table {table} already exists.)",
            kind=1301,
        )
    found = list(tree.args["properties"].expressions) if tree.args.get("properties") else []
    location, serde, kind = "", "", "TEXTFILE"
    serde_parameters: dict[str, str] = {}
    parameters = {"EXTERNAL": "TRUE"}
    keys: list[dict[str, str]] = []
    comment = ""
    if (
        not any(isinstance(item, exp.ExternalProperty) for item in found)
        and "ICEBERG" not in engine.job.sql.upper()
    ):
        raise QueryFailedError(
            "FAILED: SemanticException [Error 10001]: only EXTERNAL tables can be created", kind=1301
        )
    for item in found:
        if isinstance(item, exp.LocationProperty):
            location = item.this.name
        elif isinstance(item, exp.FileFormatProperty):
            kind = item.name.upper()
        elif isinstance(item, exp.RowFormatSerdeProperty):
            serde = item.name
            inner = item.args.get("serde_properties")
            if inner is not None:
                serde_parameters |= {part.name: part.args["value"].name for part in inner.expressions}
        elif isinstance(item, exp.SerdeProperties):
            serde_parameters |= {part.name: part.args["value"].name for part in item.expressions}
        elif isinstance(item, exp.RowFormatDelimitedProperty):
            if item.args.get("fields"):
                delimiter = item.args["fields"].name.encode().decode("unicode_escape")
                serde_parameters |= {"field.delim": delimiter, "serialization.format": delimiter}
            if item.args.get("escaped"):
                serde_parameters["escape.delim"] = item.args["escaped"].name
            if item.args.get("null"):
                serde_parameters["serialization.null.format"] = item.args["null"].name
            if item.args.get("lines") and item.args["lines"].name not in {"\n", "\\n"}:
                raise not_supported("LINES TERMINATED BY anything but a new line")
        elif isinstance(item, exp.PartitionedByProperty):
            keys = [_column(column) for column in item.this.expressions]
        elif isinstance(item, exp.SchemaCommentProperty):
            comment = item.name
        elif isinstance(item, exp.Property) and type(item) is exp.Property:
            parameters[item.name] = item.args["value"].name
    if not location:
        raise QueryFailedError("FAILED: SemanticException: LOCATION is missing", kind=1301)
    sources.bucket_and_key(location)
    schema = tree.this
    columns = [_column(column) for column in schema.expressions] if isinstance(schema, exp.Schema) else []
    lowered = {key.lower(): value.lower() for key, value in parameters.items()}
    if lowered.get("table_type") == "iceberg":
        raise not_supported("tables of Iceberg")
    if lowered.get("table_type") == "delta":
        if columns or keys:
            raise QueryFailedError(
                "Specifying the schema of a Delta table is not supported: it is taken from the Delta log",
                kind=1301,
            )
        columns, keys = _delta_columns(engine, location)
        parameters |= {"spark.sql.sources.provider": "delta"}
        serde_parameters |= {"path": location}
        kind = "PARQUET"
    elif not columns:
        raise QueryFailedError("FAILED: SemanticException: at least one column must be specified", kind=1301)
    if kind not in _FORMATS and kind != "JSON":
        raise not_supported(f"tables stored as {kind}")
    entry = table_input(
        table,
        columns,
        keys=keys,
        location=location,
        kind=kind,
        serde_parameters=serde_parameters,
        parameters=parameters,
        serde=serde,
    )
    if comment:
        entry["Description"] = comment
        entry["Parameters"]["comment"] = comment
    engine.catalog.glue.create_table(DatabaseName=database, TableInput=entry)
    return lines([], [])


def create_view(engine: Engine, tree: exp.Expr) -> Outcome:
    """``CREATE [OR REPLACE] VIEW``, kept in Athena's own form."""
    database, view = name_of(engine, tree.this)
    engine.catalog.require_database(database)
    query = tree.expression
    names.require_column_names(query)
    text = query.sql(syntax.DIALECT)
    there = exists(engine, database, view)
    if there and not tree.args.get("replace"):
        raise QueryFailedError(
            f"TABLE_ALREADY_EXISTS: line 1:1: View already exists: 'awsdatacatalog.{database}.{view}'",
            kind=1301,
        )
    sql = engine.compile(query, engine.job.sql, engine.job.database, engine.job.parameters)
    with engine.errors(query):
        columns = [(column.lower(), duckdb_to_hive(kind)) for column, kind in engine.describe(sql)]
    entry = {
        "Name": view,
        "TableType": "VIRTUAL_VIEW",
        "Parameters": {"presto_view": "true", "comment": "Presto View"},
        "PartitionKeys": [],
        "ViewOriginalText": view_text(text, engine.job.database, [(c, hive_to_trino(t)) for c, t in columns]),
        "ViewExpandedText": "/* Presto View */",
        "StorageDescriptor": {
            "Columns": [{"Name": column, "Type": kind} for column, kind in columns],
            "Location": "",
            "SerdeInfo": {},
        },
    }
    write = engine.catalog.glue.update_table if there else engine.catalog.glue.create_table
    write(DatabaseName=database, TableInput=entry)
    return lines([], [])


def drop(engine: Engine, tree: exp.Expr) -> Outcome:
    """``DROP DATABASE``, ``DROP TABLE``, ``DROP VIEW``."""
    kind = tree.args["kind"].upper()
    target = tree.args["tables"][0]
    glue = engine.catalog.glue
    if kind in {"SCHEMA", "DATABASE"}:
        database = target.name.lower()
        if not engine.catalog.has_database(database):
            if tree.args.get("exists"):
                return lines([], [])
            raise QueryFailedError(
                f"FAILED: SemanticException [Error 10072]: Database does not exist: {database}", kind=1301
            )
        if engine.catalog.tables(database) and not tree.args.get("cascade"):
            raise QueryFailedError(
                "FAILED: Execution Error, return code 1. InvalidOperationException(message:Database "
                f"{database} is not empty. One or more tables exist.)",
                kind=1301,
            )
        glue.delete_database(Name=database)
        return lines([], [])
    database, table = name_of(engine, target)
    try:
        found = engine.catalog.table(database, table)
    except QueryFailedError:
        if tree.args.get("exists"):
            return lines([], [])
        raise
    if found.is_view != (kind == "VIEW"):
        raise QueryFailedError(
            f"FAILED: SemanticException: {database}.{table} is a {'view' if found.is_view else 'table'}: "
            f"DROP {'VIEW' if found.is_view else 'TABLE'}",
            kind=1301,
        )
    glue.delete_table(DatabaseName=database, Name=table)
    return lines([], [])


def alter(engine: Engine, tree: exp.Expr) -> Outcome:
    """``ALTER TABLE``: add and drop partitions, add and replace columns, set properties and location."""
    database, name_ = name_of(engine, tree.this)
    table = engine.catalog.table(database, name_)
    keys = [key.name for key in table.partition_keys]
    added: list[tuple[tuple[str, ...], str]] = []
    for action in tree.args["actions"]:
        if isinstance(action, exp.AddPartition):
            values = partition_values(action.this, keys)
            place = action.args.get("location")
            where = (
                place.this.name if isinstance(place, exp.LocationProperty) else (place.name if place else "")
            )
            added.append((values, where or partition_location(table, values)))
        elif isinstance(action, exp.DropPartition):
            for partition in action.expressions:
                engine.catalog.glue.delete_partition(
                    DatabaseName=database,
                    TableName=name_,
                    PartitionValues=list(partition_values(partition, keys)),
                )
        elif isinstance(action, exp.Schema | exp.ReplaceColumns | exp.AlterSet):
            engine.catalog.glue.update_table(DatabaseName=database, TableInput=_changed(table, action))
        else:
            raise not_supported(f"ALTER TABLE with {action.key}")
    if added:
        known = {partition.values for partition in engine.catalog.partitions(table)}
        if not any(getattr(action, "args", {}).get("exists") for action in tree.args["actions"]) and any(
            v in known for v, _ in added
        ):
            raise QueryFailedError(
                "FAILED: SemanticException: Partition already exists. "
                "AlreadyExistsException(message:Partition already exists.)",
                kind=1301,
            )
        add_partitions(engine, table, added)
    return lines([], [])


def _changed(table: Table, action: exp.Expr) -> dict[str, Any]:
    """``TableInput`` of a table after ``ADD COLUMNS``, ``REPLACE COLUMNS`` or ``SET``."""
    raw = {key: table.raw[key] for key in _WRITTEN if table.raw.get(key)}
    storage = raw["StorageDescriptor"]
    if isinstance(action, exp.Schema):
        storage["Columns"] = [*storage["Columns"], *map(_column, action.expressions)]
    elif isinstance(action, exp.ReplaceColumns):
        storage["Columns"] = [_column(column) for column in action.expressions]
    elif location := action.args.get("location"):
        storage["Location"] = location.name
    else:
        found = [item for part in action.expressions for item in part.find_all(exp.Property)]
        if not found:
            raise not_supported(f"ALTER TABLE {action.sql(syntax.DIALECT)}")
        raw["Parameters"] = table.raw.get("Parameters", {}) | {
            item.name: item.args["value"].name for item in found
        }
    return raw


def _delta_columns(engine: Engine, location: str) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    bucket, key = sources.bucket_and_key(location)
    table = Table("", "", (), (), location, {"Parameters": {"table_type": "DELTA"}})
    with engine.source_errors(table):
        columns = engine.describe(f"SELECT * FROM delta_scan({literal(f's3://{bucket}/{key}')})")
    return [{"Name": column.lower(), "Type": duckdb_to_hive(kind)} for column, kind in columns], []


def _column(node: exp.Expr) -> dict[str, str]:
    column = {"Name": node.name.lower(), "Type": _hive_type(node.args["kind"])}
    for constraint in node.args.get("constraints") or ():
        if isinstance(constraint.kind, exp.CommentColumnConstraint):
            column["Comment"] = constraint.kind.this.name
    return column


def _hive_type(node: exp.Expr) -> str:
    return node.sql("hive").lower().replace(": ", ":").replace(", ", ",")


def table_input(
    table: str,
    columns: list[dict[str, str]],
    *,
    keys: list[dict[str, str]],
    location: str,
    kind: str,
    serde_parameters: dict[str, str],
    parameters: dict[str, str],
    serde: str = "",
) -> dict[str, Any]:
    """``TableInput`` of Glue's API."""
    formats = _FORMATS["TEXTFILE" if kind == "JSON" else kind]
    return {
        "Name": table,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": parameters,
        "PartitionKeys": keys,
        "StorageDescriptor": {
            "Columns": columns,
            "Location": location,
            "InputFormat": formats[0],
            "OutputFormat": formats[1],
            "Compressed": False,
            "NumberOfBuckets": -1,
            "SerdeInfo": {
                "SerializationLibrary": serde or (_JSON_SERDE if kind == "JSON" else formats[2]),
                "Parameters": serde_parameters or {"serialization.format": "1"},
            },
            "StoredAsSubDirectories": False,
        },
    }


def name_of(engine: Engine, node: exp.Expr) -> tuple[str, str]:
    """Database and name of the table that a statement names."""
    table = node.this if isinstance(node, exp.Schema) else node
    if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier):
        raise not_supported(f"{node.sql(syntax.DIALECT)[:80]!r} as the name of a table")
    return (table.db or engine.job.database).lower(), table.name.lower()


def exists(engine: Engine, database: str, table: str) -> bool:
    """Whether a table or view is there."""
    try:
        engine.catalog.glue.get_table(DatabaseName=database, Name=table)
    except ClientError as error:
        if is_missing(error):
            return False
        raise
    return True
