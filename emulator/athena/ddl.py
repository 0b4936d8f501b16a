"""Statements other than queries: what they do to Glue's catalogue and to S3, and what they answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import sqlglot
from botocore.exceptions import ClientError
from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from emulator.athena import sources, transpile
from emulator.athena.catalog import Column, Table, is_missing, partition_location, view_text
from emulator.athena.engine import Engine, Outcome, new_name
from emulator.athena.errors import QueryFailedError, not_supported
from emulator.athena.sources import literal, name
from emulator.athena.types import ResultColumn, duckdb_to_hive, hive_to_duckdb, hive_to_trino, result_column

STRING = "string"
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
_JSON_SERDE = "org.openx.data.jsonserde.JsonSerDe"


def run(engine: Engine, tree: exp.Expr) -> Outcome:
    """Run a statement.

    Raises:
        QueryFailedError: It cannot be done, or is not supported.
    """
    for kind, do in _STATEMENTS.items():
        if isinstance(tree, kind):
            return do(engine, tree)
    if isinstance(tree, exp.Command):
        words = _Words(engine.job.sql)
        word = words.first
        if command := _COMMANDS.get(word):
            return command(engine, words)
        raise not_supported(f"{word} statements")
    raise not_supported(f"{tree.key.upper()}: only tables of Iceberg can be changed by rows in Athena")


def kind_of(tree: exp.Expr) -> tuple[str, str]:
    """``StatementType`` and ``SubstatementType`` of the API.

    >>> kind_of(sqlglot.parse_one("SELECT 1")), kind_of(sqlglot.parse_one("SHOW TABLES", dialect="athena"))
    (('DML', 'SELECT'), ('UTILITY', 'SHOW'))
    """
    if isinstance(tree, exp.Query | exp.Values):
        return "DML", "SELECT"
    if isinstance(tree, exp.Command):
        word = str(tree.this).split()[0].upper()
        if word in {"UNLOAD", "EXECUTE"}:
            return "DML", word
        return ("DDL" if word == "MSCK" else "UTILITY"), word
    if isinstance(tree, exp.Create):
        what = str(tree.args["kind"]).upper()
        return "DDL", f"CREATE_{what}_AS_SELECT" if what == "TABLE" and tree.expression else f"CREATE_{what}"
    if isinstance(tree, exp.Drop):
        return "DDL", f"DROP_{str(tree.args['kind']).upper()}"
    if isinstance(tree, exp.Describe):
        return "UTILITY", "DESCRIBE"
    return ("DDL" if isinstance(tree, exp.Alter) else "DML"), tree.key.upper()


def lines(columns: list[str], rows: list[list[Any]]) -> Outcome:
    """A result of text."""
    return Outcome([ResultColumn(column, STRING) for column in columns], iter([[tuple(row) for row in rows]]))


# --- queries that write ----------------------------------------------------------------------------


def _create(engine: Engine, tree: exp.Expr) -> Outcome:
    kind = tree.args["kind"].upper()
    if kind == "VIEW":
        return _create_view(engine, tree)
    if kind in {"SCHEMA", "DATABASE"}:
        return _create_database(engine, tree)
    if kind != "TABLE":
        raise not_supported(f"CREATE {kind}")
    return _create_table_as(engine, tree) if tree.expression else _create_table(engine, tree)


def _create_table_as(engine: Engine, tree: exp.Expr) -> Outcome:
    database, table = _name(engine, tree.this)
    engine.catalog.require_database(database)
    if _exists(engine, database, table):
        if tree.args.get("exists"):
            return Outcome()
        raise QueryFailedError(
            "TABLE_ALREADY_EXISTS: line 1:1: "
            "Destination table "
            f"'awsdatacatalog.{database}.{table}' "
            ""
            "already exists",
            kind=1301,
        )
    properties = _properties(tree)
    kind = properties.get("format", "PARQUET").upper()
    if kind not in {"PARQUET", "JSON", "TEXTFILE"}:
        raise not_supported(f"CTAS in the format {kind}")
    location = (
        properties.get("external_location") or f"{engine.job.output.rstrip('/')}/tables/{engine.job.id}/"
    )
    if sources.files_below(engine.s3, location):
        raise QueryFailedError(
            "HIVE_PATH_ALREADY_EXISTS: "
            "Target directory "
            f"for table '{database}.{table}' "
            "already exists: "
            f"{location}. You may "
            "need to manually clean "
            "the data at this "
            "location before retrying",
            kind=1301,
        )
    keys = [item.lower() for item in properties.get("partitioned_by", "").split(",") if item]
    sql = engine.compile(tree.expression, engine.job.sql, engine.job.database, engine.job.parameters)
    with engine.errors(tree.expression):
        columns = engine.describe(sql)
    names = [column for column, _ in columns]
    if missing := [key for key in keys if key not in names]:
        raise QueryFailedError(
            f"COLUMN_NOT_FOUND: Partition column '{missing[0]}' is not in the result", kind=1301
        )
    if keys and names[-len(keys) :] != keys:
        raise QueryFailedError(
            "INVALID_TABLE_PROPERTY: "
            "Partition keys must "
            "be the last columns in the "
            "table and in the same order as "
            "the table properties: " + str(keys),
            kind=1301,
        )
    engine.check_cutoff()
    separator = properties.get("field_delimiter", "\x01")
    written, count = _copy(
        engine,
        tree.expression,
        sql,
        columns=columns,
        keys=keys,
        location=location,
        kind=kind,
        properties=properties,
        separator=separator,
    )
    glue_columns = [{"Name": column.lower(), "Type": duckdb_to_hive(kind_)} for column, kind_ in columns]
    serde: dict[str, str] = (
        {"field.delim": separator, "serialization.format": separator} if kind == "TEXTFILE" else {}
    )
    engine.catalog.glue.create_table(
        DatabaseName=database,
        TableInput=_table_input(
            table,
            [column for column in glue_columns if column["Name"] not in keys],
            keys=[column for column in glue_columns if column["Name"] in keys],
            location=location,
            kind=kind,
            serde_parameters=serde,
            parameters={"EXTERNAL": "TRUE", "has_encrypted_data": "false"},
        ),
    )
    if keys:
        _add_written_partitions(engine, engine.catalog.table(database, table), written)
    return Outcome(scanned=engine.scanned, written=written, update_count=count)


def _insert(engine: Engine, tree: exp.Expr) -> Outcome:
    database, name_ = _name(engine, tree.this)
    table = engine.catalog.table(database, name_)
    if table.kind != "parquet":
        raise not_supported(
            f"INSERT INTO a table of {table.kind}: Athena reads it only"
            if table.kind == "delta"
            else f"INSERT INTO a table of {table.kind}"
        )
    target = tree.this
    named = [item.name.lower() for item in target.expressions] if isinstance(target, exp.Schema) else None
    columns = [*table.columns, *table.partition_keys]
    sql = engine.compile(tree.expression, engine.job.sql, engine.job.database, engine.job.parameters)
    with engine.errors(tree.expression):
        given = engine.describe(sql)
    wanted = named or [column.name for column in columns]
    if len(given) != len(wanted):
        raise QueryFailedError(
            "TYPE_MISMATCH: line 1:1: "
            "Insert query has "
            f"{len(given)} expression(s) "
            f"but expected {len(wanted)} "
            "target column(s)",
            kind=1301,
        )
    engine.check_cutoff()
    aliases = [f"c{index}" for index in range(len(given))]
    source = {column: aliases[index] for index, column in enumerate(wanted)}
    selected = ", ".join(
        f"CAST({source.get(c.name, 'NULL')} AS {hive_to_duckdb(c.type)}) AS {name(c.name)}" for c in columns
    )
    sql = f"SELECT {selected} FROM ({sql}) AS q({', '.join(aliases)})"
    with engine.errors(tree.expression):
        kinds = engine.describe(sql)
    keys = [key.name for key in table.partition_keys]
    written, count = _copy(
        engine,
        tree.expression,
        sql,
        columns=kinds,
        keys=keys,
        location=table.location,
        kind="PARQUET",
        properties={},
        separator="",
    )
    if keys:
        _add_written_partitions(engine, table, written)
    return Outcome(scanned=engine.scanned, written=written, update_count=count)


def unload(engine: Engine, words: _Words) -> Outcome:
    """``UNLOAD (query) TO 's3://...' WITH (...)``."""
    query = words.inside()
    words.next("TO")
    location = words.next().text
    properties: dict[str, str] = {}
    if words.take("WITH"):
        stub = sqlglot.parse_one(
            f"CREATE TABLE t WITH ({words.inside()}) AS SELECT 1", dialect=transpile.DIALECT
        )
        properties = _properties(stub)
    kind = properties.get("format", "").upper()
    if kind not in {"PARQUET", "JSON", "TEXTFILE", "CSV"}:
        raise not_supported(f"UNLOAD in the format {kind or 'that is missing'}")
    if sources.files_below(engine.s3, location):
        raise QueryFailedError(
            f"HIVE_PATH_ALREADY_EXISTS: Target directory for UNLOAD already exists: {location}", kind=1301
        )
    tree = transpile.parse(query)
    sql = engine.compile(tree, query, engine.job.database, engine.job.parameters)
    with engine.errors(tree):
        columns = engine.describe(sql)
    engine.check_cutoff()
    keys = [item.lower() for item in properties.get("partitioned_by", "").split(",") if item]
    written, count = _copy(
        engine,
        tree,
        sql,
        columns=columns,
        keys=keys,
        location=location,
        kind=kind,
        properties=properties,
        separator=properties.get("field_delimiter", ","),
    )
    return Outcome(scanned=engine.scanned, written=written, update_count=count)


def _copy(
    engine: Engine,
    tree: exp.Expr,
    sql: str,
    *,
    columns: list[tuple[str, str]],
    keys: list[str],
    location: str,
    kind: str,
    properties: dict[str, str],
    separator: str,
) -> tuple[list[str], int]:
    """Write a query's rows below a location; the new files, and how many rows there were."""
    bucket, key = sources.bucket_and_key(location)
    base = f"s3://{bucket}/{key.rstrip('/')}"
    for column, type_ in columns:
        result_column(column, type_)  # what Athena has no type for is not written, either
    compression = (
        properties.get("write_compression")
        or properties.get("compression")
        or properties.get("parquet_compression")
        or ""
    ).upper()
    if kind == "PARQUET":
        ending, options = "", f"FORMAT parquet, COMPRESSION {name((compression or 'GZIP').lower())}"
    else:
        packed = compression != "NONE"
        shape = (
            "FORMAT json"
            if kind == "JSON"
            else f"FORMAT csv, HEADER false, DELIMITER {literal(separator)}, QUOTE '', ESCAPE ''"
        )
        if kind != "JSON":
            shape += ", NULLSTR '\\N'"
        ending = (".json" if kind == "JSON" else ".csv") + (".gz" if packed else "")
        options = shape + (", COMPRESSION gzip" if packed else "")
    wide = {"HUGEINT", "UBIGINT", "UINTEGER"}
    selected = ", ".join(
        f"CAST({name(c)} AS BIGINT) AS {name(c.lower())}" if t in wide else f"{name(c)} AS {name(c.lower())}"
        for c, t in columns
    )
    stem = f"{engine.job.id}_{new_name()}"
    before = {uri for uri, _ in sources.files_below(engine.s3, base)} if keys else set()
    if keys:
        ext = "parquet" if kind == "PARQUET" else ending.lstrip(".")
        target = base
        options += (
            ", PARTITION_BY "
            f"({', '.join(map(name, keys))}), "
            f"FILENAME_PATTERN {literal(stem + '_{i}')}, "
            f"FILE_EXTENSION {literal(ext)}, "
            "OVERWRITE_OR_IGNORE"
        )
    else:
        target = f"{base}/{stem}{ending}"
    with engine.errors(tree):
        row = engine.connection.execute(
            f"COPY (SELECT {selected} FROM ({sql})) TO {literal(target)} ({options})"
        ).fetchone()
    count = int(row[0]) if row else 0
    if keys:
        return sorted({uri for uri, _ in sources.files_below(engine.s3, base)} - before), count
    return [target], count


def _add_written_partitions(engine: Engine, table: Table, files: list[str]) -> None:
    _add_partitions(engine, table, _partitions_of(table, files))


def _partitions_of(table: Table, files: list[str]) -> list[tuple[tuple[str, ...], str]]:
    """Values and place of each partition that files are in, by the ``key=value`` in their addresses."""
    found = {}
    for uri in files:
        folder = uri.rpartition("/")[0]
        values = dict(part.split("=", 1) for part in folder.split("/") if "=" in part)
        if all(key.name in values for key in table.partition_keys):
            found[tuple(sources.unquoted(values[key.name]) for key in table.partition_keys)] = f"{folder}/"
    return sorted(found.items())


def _add_partitions(
    engine: Engine, table: Table, partitions: list[tuple[tuple[str, ...], str]]
) -> list[tuple[str, ...]]:
    """Register those that are not there yet; returns their values."""
    known = {partition.values for partition in engine.catalog.partitions(table)}
    new = [(values, location) for values, location in partitions if values not in known]
    storage = {key: value for key, value in table.raw["StorageDescriptor"].items() if key != "Location"}
    for start in range(0, len(new), 100):
        answer = engine.catalog.glue.batch_create_partition(
            DatabaseName=table.database,
            TableName=table.name,
            PartitionInputList=[
                {"Values": list(values), "StorageDescriptor": storage | {"Location": location}}
                for values, location in new[start : start + 100]
            ],
        )
        if errors := answer.get("Errors"):
            raise QueryFailedError(
                f"HIVE_METASTORE_ERROR: {errors[0].get('ErrorDetail', {}).get('ErrorMessage')}", kind=1301
            )
    return [values for values, _ in new]


# --- definitions -----------------------------------------------------------------------------------


def _create_table(engine: Engine, tree: exp.Expr) -> Outcome:  # noqa: PLR0912, PLR0915  (clause by clause)
    database, table = _name(engine, tree.this)
    engine.catalog.require_database(database)
    if _exists(engine, database, table):
        if tree.args.get("exists"):
            return lines([], [])
        raise QueryFailedError(
            "FAILED: Execution Error, "
            "return code 1 from "
            "org.apache.hadoop.hive.ql.exec.DDLTask. "
            "AlreadyExistsException(message:Table "
            f"{table} already exists.)",
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
    entry = _table_input(
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


def _table_input(
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


def _create_view(engine: Engine, tree: exp.Expr) -> Outcome:
    database, view = _name(engine, tree.this)
    engine.catalog.require_database(database)
    query = tree.expression
    text = query.sql(transpile.DIALECT)
    exists = _exists(engine, database, view)
    if exists and not tree.args.get("replace"):
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
    write = engine.catalog.glue.update_table if exists else engine.catalog.glue.create_table
    write(DatabaseName=database, TableInput=entry)
    return lines([], [])


def _create_database(engine: Engine, tree: exp.Expr) -> Outcome:
    database = tree.this.name.lower() or tree.this.db.lower()
    if engine.catalog.has_database(database):
        if tree.args.get("exists"):
            return lines([], [])
        raise QueryFailedError(
            "FAILED: Execution Error, "
            "return code 1 from "
            "org.apache.hadoop.hive.ql.exec.DDLTask. "
            ""
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


def _drop(engine: Engine, tree: exp.Expr) -> Outcome:
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
                "FAILED: Execution Error, return code 1. "
                "InvalidOperationException(message:Database "
                ""
                f"{database} is not empty. One "
                "or more tables exist.)",
                kind=1301,
            )
        glue.delete_database(Name=database)
        return lines([], [])
    database, table = _name(engine, target)
    try:
        found = engine.catalog.table(database, table)
    except QueryFailedError:
        if tree.args.get("exists"):
            return lines([], [])
        raise
    if found.is_view != (kind == "VIEW"):
        raise QueryFailedError(
            "FAILED: SemanticException: "
            f"{database}.{table} is a "
            f"{'view' if found.is_view else 'table'}: "
            f"DROP {'VIEW' if found.is_view else 'TABLE'}",
            kind=1301,
        )
    glue.delete_table(DatabaseName=database, Name=table)
    return lines([], [])


def _alter(engine: Engine, tree: exp.Expr) -> Outcome:
    database, name_ = _name(engine, tree.this)
    table = engine.catalog.table(database, name_)
    keys = [key.name for key in table.partition_keys]
    added: list[tuple[tuple[str, ...], str]] = []
    for action in tree.args["actions"]:
        if isinstance(action, exp.AddPartition):
            values = _partition_values(action.this, keys)
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
                    PartitionValues=list(_partition_values(partition, keys)),
                )
        elif isinstance(action, exp.ColumnDef):
            raw = {
                key: table.raw[key]
                for key in ("Name", "Parameters", "PartitionKeys", "StorageDescriptor", "TableType")
                if key in table.raw
            }
            raw["StorageDescriptor"]["Columns"].append(_column(action))
            engine.catalog.glue.update_table(DatabaseName=database, TableInput=raw)
        else:
            raise not_supported(f"ALTER TABLE with {action.key}")
    if added:
        known = {partition.values for partition in engine.catalog.partitions(table)}
        if not any(getattr(action, "args", {}).get("exists") for action in tree.args["actions"]) and any(
            v in known for v, _ in added
        ):
            raise QueryFailedError(
                "FAILED: SemanticException: "
                "Partition already exists. "
                "AlreadyExistsException(message:Partition "
                ""
                "already exists.)",
                kind=1301,
            )
        _add_partitions(engine, table, added)
    return lines([], [])


def _partition_values(partition: exp.Expr, keys: list[str]) -> tuple[str, ...]:
    given = {
        item.this.name.lower(): item.expression.name
        for item in partition.expressions
        if isinstance(item, exp.EQ)
    }
    if set(given) != set(keys):
        raise QueryFailedError(
            f"FAILED: SemanticException: Partition spec {given} does not name the keys {keys}", kind=1301
        )
    return tuple(given[key] for key in keys)


def _repair(engine: Engine, words: _Words) -> Outcome:
    words.next("REPAIR")
    words.next("TABLE")
    database, name_ = words.table(engine)
    table = engine.catalog.table(database, name_)
    files = [uri for uri, _ in sources.files_below(engine.s3, table.location)]
    new = _add_partitions(engine, table, _partitions_of(table, files))
    told = []
    for values in new:
        path = "/".join(
            f"{key.name}={value}" for key, value in zip(table.partition_keys, values, strict=True)
        )
        told.append([f"Repair: Added partition to metastore {table.name}:{path}"])
    return lines(["result"], told)


# --- what is there ---------------------------------------------------------------------------------


def _show(engine: Engine, words: _Words) -> Outcome:
    what = words.next().text.upper()
    catalog = engine.catalog
    if what in {"DATABASES", "SCHEMAS"}:
        pattern = words.pattern()
        return lines(["database_name"], [[item] for item in catalog.databases() if pattern(item)])
    if what in {"TABLES", "VIEWS"}:
        database = (
            words.next().text.lower() if words.take("IN") or words.take("FROM") else engine.job.database
        )
        catalog.require_database(database)
        pattern = words.pattern()
        return lines(
            ["tab_name"],
            [
                [t.name]
                for t in catalog.tables(database)
                if (t.is_view or what == "TABLES") and pattern(t.name)
            ],
        )
    if what == "COLUMNS":
        _ = words.take("IN") or words.take("FROM")
        table = catalog.table(*words.table(engine))
        return lines(["field"], [[c.name.ljust(20)] for c in (*table.columns, *table.partition_keys)])
    if what == "PARTITIONS":
        table = catalog.table(*words.table(engine))
        if not table.partition_keys:
            raise QueryFailedError(
                f"FAILED: SemanticException [Error 10241]: Table {table.name} is not a partitioned table",
                kind=1301,
            )
        keys = [key.name for key in table.partition_keys]
        return lines(
            ["partition"],
            [
                ["/".join(f"{k}={v}" for k, v in zip(keys, p.values, strict=True))]
                for p in catalog.partitions(table)
            ],
        )
    if what == "TBLPROPERTIES":
        table = catalog.table(*words.table(engine))
        return lines(
            ["prpt_name"],
            [[f"{key}\t{value}"] for key, value in sorted(table.raw.get("Parameters", {}).items())],
        )
    if what == "CREATE":
        kind = words.next().text.upper()
        table = catalog.table(*words.table(engine))
        if kind == "VIEW" or table.is_view:
            from emulator.athena.catalog import view_of

            return lines(
                ["Create View"],
                [
                    [line]
                    for line in f"CREATE VIEW {table.database}.{table.name} AS\n{view_of(table)[0]}".split(
                        "\n"
                    )
                ],
            )
        return lines(["createtab_stmt"], [[line] for line in create_statement(table)])
    raise not_supported(f"SHOW {what}")


def create_statement(table: Table) -> list[str]:
    """The lines of the statement that would create a table."""

    def column(item: Column) -> str:
        comment = f" COMMENT '{item.comment}'" if item.comment else ""
        return f"  `{item.name}` {item.type}{comment}"

    def quoted(values: dict[str, str]) -> list[str]:
        return [f"  '{key}'='{value}'" for key, value in sorted(values.items())]

    def block(head: str, items: list[str]) -> list[str]:
        return [head, *[item + "," for item in items[:-1]], items[-1] + ")"] if items else []

    storage = table.raw.get("StorageDescriptor", {})
    serde = storage.get("SerdeInfo", {})
    return [
        *block(
            f"CREATE EXTERNAL TABLE `{table.database}.{table.name}`(",
            [column(item) for item in table.columns],
        ),
        *block("PARTITIONED BY (", [column(item) for item in table.partition_keys]),
        "ROW FORMAT SERDE",
        f"  '{serde.get('SerializationLibrary', '')}'",
        *block("WITH SERDEPROPERTIES (", quoted(serde.get("Parameters", {}))),
        "STORED AS INPUTFORMAT",
        f"  '{storage.get('InputFormat', '')}'",
        "OUTPUTFORMAT",
        f"  '{storage.get('OutputFormat', '')}'",
        "LOCATION",
        f"  '{table.location}'",
        *block("TBLPROPERTIES (", quoted(table.raw.get("Parameters", {}))),
    ]


def _describe(engine: Engine, tree: exp.Expr) -> Outcome:
    database, name_ = _name(engine, tree.this)
    table = engine.catalog.table(database, name_)
    rows = [
        [f"{c.name.ljust(20)}\t{c.type.ljust(20)}\t{c.comment.ljust(20)}"]
        for c in (*table.columns, *table.partition_keys)
    ]
    if table.partition_keys:
        rows += [
            [""],
            ["# Partition Information"],
            ["# col_name            \tdata_type           \tcomment             "],
            [""],
        ]
        rows += [
            [f"{c.name.ljust(20)}\t{c.type.ljust(20)}\t{c.comment.ljust(20)}"] for c in table.partition_keys
        ]
    return lines(["col_name"], rows)


def _explain(engine: Engine, words: _Words) -> Outcome:
    text = words.rest()
    sql = engine.compile(transpile.parse(text), text, engine.job.database, engine.job.parameters)
    with engine.errors(transpile.parse(text)):
        plan = engine.connection.execute(f"EXPLAIN {sql}").fetchall()
    return lines(["Query Plan"], [[line] for row in plan for line in str(row[1]).split("\n")])


# --- small things ----------------------------------------------------------------------------------


def _name(engine: Engine, node: exp.Expr) -> tuple[str, str]:
    table = node.this if isinstance(node, exp.Schema) else node
    if not isinstance(table, exp.Table) or not isinstance(table.this, exp.Identifier):
        raise not_supported(f"{node.sql(transpile.DIALECT)[:80]!r} as the name of a table")
    return (table.db or engine.job.database).lower(), table.name.lower()


def _exists(engine: Engine, database: str, table: str) -> bool:
    try:
        engine.catalog.glue.get_table(DatabaseName=database, Name=table)
    except ClientError as error:
        if is_missing(error):
            return False
        raise
    return True


def _properties(tree: exp.Expr) -> dict[str, str]:
    """The properties of ``WITH (...)``; arrays are joined by commas."""
    found = {}
    for item in tree.args["properties"].expressions if tree.args.get("properties") else ():
        if isinstance(item, exp.FileFormatProperty):
            found["format"] = item.name
        elif isinstance(item, exp.PartitionedByProperty):
            found["partitioned_by"] = ",".join(part.name for part in item.this.expressions)
        elif isinstance(item, exp.LocationProperty):
            found["external_location"] = item.this.name
        elif isinstance(item, exp.Property):
            value = item.args.get("value")
            if isinstance(value, exp.Array | exp.Schema | exp.Tuple):
                found[item.name.lower()] = ",".join(part.name for part in value.expressions)
            elif value is not None:
                found[item.name.lower()] = value.name
    return found


def _first_word(sql: str) -> tuple[str, int]:
    """The first word of a statement behind comments, in capitals, and where it begins.

    >>> _first_word("/* hm */ -- x" + chr(10) + " show tables")
    ('SHOW', 15)
    """
    found = re.match(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\w+)", sql, re.DOTALL)
    return (found[1].upper(), found.start(1)) if found else ("", 0)


class _Words:
    """The tokens of a statement that sqlglot does not parse further."""

    def __init__(self, sql: str) -> None:
        self.sql = sql
        # The tokenizer makes one token of what follows such a word: so it does not see it.
        self.first, start = _first_word(sql)
        blank = " " * (start + len(self.first)) + sql[start + len(self.first) :]
        self.tokens: list[Token] = [
            token
            for token in sqlglot.tokenize(blank, dialect="trino")
            if token.token_type != TokenType.SEMICOLON
        ]
        self.position = 0

    def peek(self) -> Token | None:
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def next(self, wanted: str | None = None) -> Token:
        token = self.peek()
        if token is None or (wanted and token.text.upper() != wanted):
            near = token.text if token else "<EOF>"
            raise QueryFailedError(
                f"FAILED: ParseException line 1:0 mismatched input '{near}' expecting {wanted or 'more'}"
            )
        self.position += 1
        return token

    def take(self, word: str) -> bool:
        token = self.peek()
        if token is not None and token.text.upper() == word:
            self.position += 1
            return True
        return False

    def inside(self) -> str:
        """The text between a parenthesis and its counterpart."""
        start, depth = self.next("(").end + 1, 1
        while depth:
            token = self.next()
            depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        return self.sql[start : token.start]

    def rest(self) -> str:
        """The text from here on."""
        token = self.next()
        return self.sql[token.start :].rstrip().rstrip(";")

    def table(self, engine: Engine) -> tuple[str, str]:
        """The name of a table; Hive quotes with backticks."""
        parts = [self.next().text.strip("`").lower()]
        while self.take("."):
            parts.append(self.next().text.strip("`").lower())
        return (parts[-2] if len(parts) > 1 else engine.job.database), parts[-1]

    def pattern(self) -> Callable[[str], bool]:
        """``LIKE 'a*|b*'`` or a bare pattern, as Hive's SHOW has it."""
        self.take("LIKE")
        token = self.peek()
        if token is None:
            return lambda _: True
        found = re.compile(self.next().text.replace("*", ".*").replace("%", ".*"), re.IGNORECASE)
        return lambda item: found.fullmatch(item) is not None


def execute(words: _Words) -> tuple[str, list[str]]:
    """Name and parameters of ``EXECUTE name USING a, b``."""
    statement = words.next().text
    parameters: list[str] = []
    if words.take("USING"):
        tree = sqlglot.parse_one(f"SELECT {words.rest()}", dialect="trino")
        parameters = [item.sql("trino") for item in tree.expressions]
    return statement, parameters


def prepare(words: _Words) -> tuple[str, str]:
    """Name and text of ``PREPARE name FROM text``."""
    statement = words.next().text
    words.next("FROM")
    return statement, words.rest()


def words_of(sql: str) -> _Words:
    """The tokens of a statement."""
    return _Words(sql)


_STATEMENTS: dict[type[exp.Expr], Callable[[Engine, exp.Expr], Outcome]] = {
    exp.Create: _create,
    exp.Insert: _insert,
    exp.Drop: _drop,
    exp.Alter: _alter,
    exp.Describe: _describe,
}
_COMMANDS: dict[str, Callable[[Engine, _Words], Outcome]] = {
    "SHOW": _show,
    "MSCK": _repair,
    "UNLOAD": unload,
    "EXPLAIN": _explain,
}

__all__ = ["Iterator", "create_statement", "execute", "kind_of", "lines", "prepare", "run", "words_of"]
