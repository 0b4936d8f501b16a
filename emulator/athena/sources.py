"""Tables of the catalogue as relations of DuckDB: Delta, Parquet, CSV, JSON, with partitions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from emulator.athena.catalog import Catalog, Client, Column, Table
from emulator.athena.errors import QueryFailedError, not_supported
from emulator.athena.types import hive_to_duckdb

HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"
NEVER = "\x1d"  # stands in no text
NO_SEPARATOR = "\x1f\x1e\x1d"  # stands in no text
_PATH = Column("$path", "string")  # hidden; all readers bring it
MANY = 10_000  # partitions that are read in one query


def literal(text: str) -> str:
    """A string as it stands in SQL."""
    return "'" + text.replace("'", "''") + "'"


def name(text: str) -> str:
    """An identifier as it stands in SQL."""
    return '"' + text.replace('"', '""') + '"'


def bucket_and_key(uri: str) -> tuple[str, str]:
    """Bucket and key of an address on S3.

    Raises:
        QueryFailedError: It is none: nothing but S3 can be read or written.
    """
    split = urlsplit(uri)
    if split.scheme not in {"s3", "s3a", "s3n"} or not split.netloc:
        raise QueryFailedError(f"HIVE_INVALID_METADATA: the location {uri!r} is not on S3", kind=1301)
    return split.netloc, split.path.lstrip("/")


def unquoted(text: str) -> str:
    """A value of a partition as it stands in a path, without Hive's escapes."""
    return unquote(text)


def files_below(s3: Client, location: str) -> list[tuple[str, int]]:
    """Address and size of each file below a location, without those that Hive hides."""
    bucket, prefix = bucket_and_key(location)
    prefix = prefix.rstrip("/") + "/" if prefix else ""
    found = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", ()):
            parts = item["Key"][len(prefix) :].split("/")
            if item["Size"] and not any(part.startswith(("_", ".")) for part in parts):
                found.append((f"s3://{bucket}/{item['Key']}", item["Size"]))
    return found


def relation(table: Table, catalog: Catalog, s3: Client, *, with_path: bool = False) -> tuple[str, int]:
    """SQL that reads a table of files, in DuckDB's words; with ``"$path"`` if that is wanted.

    Returns:
        The SQL, and the bytes of the files that it reads.

    Raises:
        QueryFailedError: The table's format is not read here, or its location is not on S3.
    """
    if table.kind not in {"parquet", "csv", "opencsv", "json"}:
        raise not_supported(
            f"tables of {table.database}.{table.name}'s format are not read here: {table.kind}"
        )
    if table.parameters.get("projection.enabled", "").lower() == "true":
        raise not_supported(f"the partitions of {table.database}.{table.name} by projection")
    places: Iterable[tuple[tuple[str, ...], str]] = [((), table.location)]
    if table.partition_keys:
        places = [(partition.values, partition.location) for partition in catalog.partitions(table)]
        if len(places) > MANY:
            raise not_supported(f"{table.database}.{table.name} has more than {MANY} partitions")
    parts, size = [], 0
    for values, location in places:
        files = files_below(s3, location)
        size += sum(bytes_ for _, bytes_ in files)
        if files:
            parts.append(_part(table, [uri for uri, _ in files], values, with_path=with_path))
    return " UNION ALL ".join(parts) or _nothing(table, with_path=with_path), size


def _nothing(table: Table, *, with_path: bool) -> str:
    columns = (*table.columns, *table.partition_keys, *((_PATH,) if with_path else ()))
    typed = ", ".join(f"CAST(NULL AS {hive_to_duckdb(c.type)}) AS {name(c.name)}" for c in columns)
    return f"SELECT {typed} WHERE false"


def _part(table: Table, files: list[str], values: tuple[str, ...], *, with_path: bool) -> str:
    selected = [_cast(table, column) for column in table.columns]
    for key, value in zip(table.partition_keys, values, strict=False):
        text = "NULL" if value == HIVE_NULL else literal(value)
        selected.append(f"CAST({text} AS {hive_to_duckdb(key.type)}) AS {name(key.name)}")
    if with_path:
        selected.append(name(_PATH.name))
    return f"SELECT {', '.join(selected)} FROM {_reader(table, files, with_path=with_path)}"


def _cast(table: Table, column: Column) -> str:
    kind = hive_to_duckdb(column.type)
    if table.kind == "csv":
        if kind.endswith("]") or kind.startswith(("STRUCT", "MAP")):
            raise not_supported(f"{column.type} in files of text, as {column.name}")
        return f"{_lazy(name(column.name), kind)} AS {name(column.name)}"
    return f"CAST({name(column.name)} AS {kind}) AS {name(column.name)}"


def _lazy(value: str, kind: str) -> str:
    """A text as LazySimpleSerDe reads it: null where it cannot, whole numbers without their fraction.

    OpenCSVSerde complains instead.
    """
    if kind in {"TINYINT", "SMALLINT", "INT", "BIGINT"}:
        whole = f"regexp_extract({value}, {literal('^([+-]?[0-9]+)([.][0-9]*)?$')}, 1)"
        return f"TRY_CAST(nullif({whole}, '') AS {kind})"
    if kind == "BOOLEAN":
        return f"CASE lower({value}) WHEN 'true' THEN true WHEN 'false' THEN false END"
    return f"TRY_CAST({value} AS {kind})"


def _reader(table: Table, files: list[str], *, with_path: bool) -> str:
    path = f", filename={literal(_PATH.name)}" if with_path else ""
    listed = "[" + ", ".join(map(literal, files)) + "]"
    if table.kind == "parquet":
        # A column that some file does not have is null there.
        missing = ", ".join(
            f"CAST(NULL AS {hive_to_duckdb(c.type)}) AS {name(c.name)}" for c in table.columns
        )
        return (
            f"(SELECT * FROM (SELECT {missing} WHERE false) UNION ALL BY NAME "
            f"SELECT * FROM read_parquet({listed}, hive_partitioning=false, union_by_name=true{path}))"
        )
    if table.kind == "json":
        columns = ", ".join(f"{literal(c.name)}: {literal(hive_to_duckdb(c.type))}" for c in table.columns)
        return (
            f"read_json({listed}, format='newline_delimited', columns={{{columns}}}, hive_partitioning=false"
            f"{path})"
        )
    if table.kind == "opencsv":
        return _opencsv(table, listed, path)
    serde = table.serde_parameters
    if "escape.delim" in serde:
        return _opencsv(table, listed, path)
    columns = ", ".join(f"{literal(c.name)}: 'VARCHAR'" for c in table.columns)
    separator = serde.get("field.delim") or serde.get("serialization.format") or "\x01"
    null = serde.get("serialization.null.format", "\\N")
    return _read_csv(table, listed, columns, path, separator=separator, null=null)


def _opencsv(table: Table, listed: str, path: str) -> str:
    """Reads CSV as OpenCSVSerde does, or LazySimpleSerDe with escapes: line by line.

    A quote that is not closed ends with its line: what stands before its field is there, the rest is null,
    and the next line is another row.
    """
    serde = table.serde_parameters
    is_lazy = table.kind == "csv"
    if is_lazy:
        null = literal(serde.get("serialization.null.format", "\\N"))
        given = (serde.get("field.delim", "\x01"), NEVER, serde["escape.delim"])
    else:
        given = (serde.get("separatorChar", ","), serde.get("quoteChar", '"'), serde.get("escapeChar", "\\"))
    separator, quote, escape = map(re.escape, given)
    within = f"[^{quote}{escape}]|{escape}.|{quote}{quote}"
    field = f"(?:[^{quote}{separator}{escape}]|{escape}.|{quote}(?:{within})*{quote})*"
    line = "'line': 'VARCHAR'"
    lines = _read_csv(table, listed, line, path, separator=NO_SEPARATOR, null="never null")  # it has no nulls
    ended = f"line || {literal(given[0])}"
    whole = f"regexp_extract({ended}, {literal(f'^(?:{field}{separator})*')})"
    plain = (
        f"regexp_replace(regexp_replace(regexp_replace(f, {literal(f'^{quote}|{quote}$')}, '', 'g'), "
        f"{literal(quote * 2)}, {literal(given[1])}, 'g'), "
        f"{literal(f'{escape}(.)')}, '\\1', 'g')"
    )
    if is_lazy:
        plain = f"CASE WHEN f <> {null} THEN {plain} END"
    found = f"regexp_extract_all({whole}, {literal(f'({field}){separator}')}, 1)"
    columns = ", ".join(f"fields[{n}] AS {name(c.name)}" for n, c in enumerate(table.columns, 1))
    hidden = f", {name(_PATH.name)}" if path else ""
    return (
        f"(SELECT {columns}{hidden} FROM (SELECT list_transform({found}, lambda f: {plain}) AS fields{hidden}"
        f" FROM {lines} WHERE line <> ''))"
    )


def _read_csv(table: Table, listed: str, columns: str, path: str, *, separator: str, null: str) -> str:
    skip = int(table.parameters.get("skip.header.line.count", 0))
    options = {"delim": separator, "quote": "", "escape": "", "nullstr": null}
    written = ", ".join(f"{key}={literal(value)}" for key, value in options.items())
    return (
        f"read_csv({listed}, auto_detect=false, header=false, skip={skip}, null_padding=true, "
        f"strict_mode=false, hive_partitioning=false, columns={{{columns}}}, {written}{path})"
    )
