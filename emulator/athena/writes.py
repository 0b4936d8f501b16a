"""Queries that write files: CREATE TABLE AS, INSERT INTO, UNLOAD."""

from __future__ import annotations

import sqlglot
from sqlglot import exp

from emulator.athena import names, sources, syntax
from emulator.athena.engine import Engine, Outcome, new_name
from emulator.athena.errors import QueryFailedError, not_supported
from emulator.athena.partitions import add_written_partitions
from emulator.athena.sources import literal, name
from emulator.athena.tables import exists, name_of, table_input
from emulator.athena.types import duckdb_to_hive, fits, hive_to_duckdb, result_column
from emulator.athena.words import Words

_OF_UNLOAD = frozenset({"format", "compression", "compression_level", "field_delimiter", "partitioned_by"})
# Buckets are only a layout: an answer does not depend on them.
_OF_TABLES = frozenset(
    {
        *_OF_UNLOAD, "table_type", "is_external", "external_location", "write_compression",
        "parquet_compression", "bucketed_by", "bucket_count",
    }
)  # fmt: skip


def create_table_as(engine: Engine, tree: exp.Expr) -> Outcome:
    """``CREATE TABLE ... AS``: files, and a table of the catalogue on them."""
    database, table = name_of(engine, tree.this)
    engine.catalog.require_database(database)
    names.require_column_names(tree.expression)
    if isinstance(tree.this, exp.Schema):
        raise not_supported("names of columns before AS: give them in the query")
    if exists(engine, database, table):
        if tree.args.get("exists"):
            return Outcome()
        raise QueryFailedError(
            f"TABLE_ALREADY_EXISTS: line 1:1: Destination table 'awsdatacatalog.{database}.{table}' "
            "already exists",
            kind=1301,
        )
    properties = _properties(tree, _OF_TABLES)
    kind = properties.get("format", "PARQUET").upper()
    if kind not in {"PARQUET", "JSON", "TEXTFILE"}:
        raise not_supported(f"CTAS in the format {kind}")
    location = (
        properties.get("external_location") or f"{engine.job.output.rstrip('/')}/tables/{engine.job.id}/"
    )
    if sources.files_below(engine.s3, location):
        raise QueryFailedError(
            f"HIVE_PATH_ALREADY_EXISTS: Target directory for table '{database}.{table}' already exists: "
            f"{location}. You may need to manually clean the data at this location before retrying",
            kind=1301,
        )
    keys = [item.lower() for item in properties.get("partitioned_by", "").split(",") if item]
    sql = engine.compile(tree.expression, engine.job.sql, engine.job.database, engine.job.parameters)
    with engine.errors(tree.expression):
        columns = engine.describe(sql)
    found = [column for column, _ in columns]
    if missing := [key for key in keys if key not in found]:
        raise QueryFailedError(
            f"COLUMN_NOT_FOUND: Partition column '{missing[0]}' is not in the result", kind=1301
        )
    if keys and found[-len(keys) :] != keys:
        raise QueryFailedError(
            "INVALID_TABLE_PROPERTY: Partition keys must be the last columns in the table and in the "
            "same order as the table properties: " + str(keys),
            kind=1301,
        )
    glue_columns = [{"Name": column.lower(), "Type": duckdb_to_hive(kind_)} for column, kind_ in columns]
    engine.check_cutoff()
    separator = properties.get("field_delimiter", "\x01")
    if properties.get("data") == "no":
        sql = f"SELECT * FROM ({sql}) LIMIT 0"
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
    serde: dict[str, str] = (
        {"field.delim": separator, "serialization.format": separator} if kind == "TEXTFILE" else {}
    )
    engine.catalog.glue.create_table(
        DatabaseName=database,
        TableInput=table_input(
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
        add_written_partitions(engine, engine.catalog.table(database, table), written)
    return Outcome(scanned=engine.scanned, written=written, update_count=count)


def insert(engine: Engine, tree: exp.Expr) -> Outcome:
    """``INSERT INTO`` a table of Parquet."""
    database, name_ = name_of(engine, tree.this)
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
            f"TYPE_MISMATCH: line 1:1: Insert query has {len(given)} expression(s) but expected "
            f"{len(wanted)} target column(s)",
            kind=1301,
        )
    types = {column.name: hive_to_duckdb(column.type) for column in columns}
    for (name_given, kind), column in zip(given, wanted, strict=True):
        if column in types and not fits(kind, types[column]):
            raise QueryFailedError(
                "TYPE_MISMATCH: line 1:1: Insert query has mismatched column types: "
                f"{name_given} is {kind.lower()}, the column {column} {types[column].lower()}",
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
        add_written_partitions(engine, table, written)
    return Outcome(scanned=engine.scanned, written=written, update_count=count)


def unload(engine: Engine, words: Words) -> Outcome:
    """``UNLOAD (query) TO 's3://...' WITH (...)``."""
    query = words.inside()
    words.next("TO")
    location = words.next().text
    properties: dict[str, str] = {}
    if words.take("WITH"):
        stub = sqlglot.parse_one(
            f"CREATE TABLE t WITH ({words.inside()}) AS SELECT 1", dialect=syntax.DIALECT
        )
        properties = _properties(stub, _OF_UNLOAD)
    kind = properties.get("format", "").upper()
    if kind not in {"PARQUET", "JSON", "TEXTFILE", "CSV"}:
        raise not_supported(f"UNLOAD in the format {kind or 'that is missing'}")
    if sources.files_below(engine.s3, location):
        raise QueryFailedError(
            f"HIVE_PATH_ALREADY_EXISTS: Target directory for UNLOAD already exists: {location}", kind=1301
        )
    tree = syntax.parse(query)
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
            f", PARTITION_BY ({', '.join(map(name, keys))}), FILENAME_PATTERN {literal(stem + '_{i}')}, "
            f"FILE_EXTENSION {literal(ext)}, OVERWRITE_OR_IGNORE"
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


def _properties(tree: exp.Expr, known: frozenset[str]) -> dict[str, str]:
    """The properties of ``WITH (...)``; arrays are joined by commas.

    Raises:
        QueryFailedError: One of them is not known.
    """
    found = {}
    for item in tree.args["properties"].expressions if tree.args.get("properties") else ():
        if isinstance(item, exp.FileFormatProperty):
            found["format"] = item.name
        elif isinstance(item, exp.PartitionedByProperty):
            found["partitioned_by"] = ",".join(part.name for part in item.this.expressions)
        elif isinstance(item, exp.LocationProperty):
            found["location"] = item.this.name
        elif isinstance(item, exp.WithDataProperty):
            found["data"] = "no" if item.args.get("no") else "yes"
        elif isinstance(item, exp.Property):
            value = item.args.get("value")
            if isinstance(value, exp.Array | exp.Schema | exp.Tuple):
                found[item.name.lower()] = ",".join(part.name for part in value.expressions)
            elif value is not None:
                found[item.name.lower()] = value.name
    if found.get("table_type", "hive").lower() != "hive":
        raise not_supported(f"tables of {found['table_type']}")
    if foreign := set(found) - known - {"data"}:
        raise QueryFailedError(
            f"INVALID_TABLE_PROPERTY: line 1:1: table property '{min(foreign)}' does not exist", kind=1301
        )
    return found
