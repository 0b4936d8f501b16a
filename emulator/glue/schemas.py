"""Schemas of files: from samples of CSV, JSON and Parquet, and from Delta's log, to the catalogue's types.

What a header is follows AWS Glue's developer guide, "Built-in classifiers: CSV". No input or output here.
"""

from __future__ import annotations

import csv
import io
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

DELIMITERS = ",|\t;\x01"
HEADER_CHARACTERS = 150
SAMPLE_ROWS = 1000
FORMATS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json"}
BOOLEANS = frozenset({"true", "false"})


class NotReadableError(Exception):
    """A file is not what its name says, or nothing can be made of it."""


@dataclass(frozen=True)
class Schema:
    """What a file holds.

    Attributes:
        format: ``csv``, ``json`` or ``parquet``.
        columns: Types by name, in order.
        delimiter: Of CSV.
        quote: Of CSV, when values are quoted.
        header: Whether the first line of CSV names the columns.
        record_bytes: Mean length of a record, as far as was looked.
        classifier: The name of the SerDe that a classifier asks for.
    """

    format: str
    columns: Mapping[str, str]
    delimiter: str = ","
    quote: str = ""
    header: bool = False
    record_bytes: int = 1
    serde: str = ""


@dataclass(frozen=True)
class CsvRules:
    """A classifier for CSV, as ``CreateClassifier`` takes it; empty values are found out."""

    delimiter: str = ""
    quote: str = ""
    header: str = "UNKNOWN"
    names: tuple[str, ...] = field(default=())
    serde: str = ""


def inflated(data: bytes, most: int) -> bytes:
    """The beginning of what gzip has packed; an incomplete end is no matter.

    Raises:
        NotReadableError: It is no gzip.
    """
    try:
        return zlib.decompressobj(wbits=31).decompress(data, most)
    except zlib.error as error:
        raise NotReadableError(f"not gzip: {error}") from error


def format_of(key: str) -> tuple[str, bool]:
    """Format and compression that a key's ending says.

    >>> format_of("a/b.csv.gz"), format_of("part-0.snappy.parquet"), format_of("README")
    (('csv', True), ('parquet', False), ('', False))
    """
    name = key.rpartition("/")[2].lower()
    packed = name.endswith(".gz")
    name = name.removesuffix(".gz")
    if name.endswith((".parquet", ".parq")):
        return "parquet", packed
    return FORMATS.get(name[name.rfind(".") :] if "." in name else "", ""), packed


def csv_schema(data: bytes, rules: CsvRules | None = None, *, whole: bool = True) -> Schema:
    """Columns of CSV.

    Args:
        data: The beginning of the file.
        rules: A classifier.
        whole: Whether it is the whole file; the last line of a part is left out.

    Raises:
        NotReadableError: It is not CSV.
    """
    rules = rules or CsvRules()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if whole or error.start < len(data) - 4:
            raise NotReadableError(f"not UTF-8: {error}") from error
        text = data[: error.start].decode("utf-8-sig")
    if not whole:
        text = text[: text.rfind("\n") + 1] or text
    if "\x00" in text or not text.strip():
        raise NotReadableError("no text" if text else "empty")
    delimiter = rules.delimiter or _delimiter(text)
    quote = rules.quote or '"'
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, quotechar=quote)
    try:
        rows = [row for row, _ in zip(reader, range(SAMPLE_ROWS), strict=False) if row]
    except csv.Error as error:
        raise NotReadableError(f"not CSV: {error}") from error
    width = len(rows[0])
    body = [_padded(row, width) for row in rows[1:]]
    types = [type_of_values([row[column] for row in body]) for column in range(width)]
    header = rules.header == "PRESENT" or (rules.header != "ABSENT" and is_header(rows[0], types))
    if rules.names:
        names = [*rules.names, *(f"col{column}" for column in range(len(rules.names), width))]
    elif header:
        names = [name.strip().lower() or f"col{column}" for column, name in enumerate(rows[0])]
    else:
        names = [f"col{column}" for column in range(width)]
    if not header:
        types = [type_of_values([_padded(row, width)[column] for row in rows]) for column in range(width)]
    lines = text.splitlines()
    return Schema(
        format="csv",
        columns=dict(zip(_distinct(names), types, strict=False)),
        delimiter=delimiter,
        quote=quote if rules.quote or quote in text else "",
        header=header,
        record_bytes=max(1, len(text.encode()) // max(1, len(lines))),
        serde=rules.serde,
    )


def is_header(first: Sequence[str], types: Sequence[str]) -> bool:
    """Whether a first row names the columns: it is text, and the rows below are not all text, too.

    >>> is_header(["id", "name"], ["bigint", "string"]), is_header(["a", "b"], ["string", "string"])
    (True, False)
    """
    is_text = all(type_of_values([value]) == "string" and value.strip() for value in first[:-1] or first)
    is_short = all(len(value) < HEADER_CHARACTERS for value in first)
    return is_text and is_short and any(kind != "string" for kind in types)


def type_of_values(values: Sequence[str]) -> str:
    """The narrowest type of values in CSV; empty ones say nothing.

    >>> type_of_values(["1", "", "-2"]), type_of_values(["1", "2.5"]), type_of_values(["true"])
    ('bigint', 'double', 'boolean')
    """
    found = {value.strip() for value in values} - {""}
    if not found:
        return "string"
    if all(value.lower() in BOOLEANS for value in found):
        return "boolean"
    for kind, read in (("bigint", _long), ("double", float)):
        try:
            for value in found:
                read(value)
        except ValueError:
            continue
        return kind
    return "string"


def json_schema(data: bytes, *, whole: bool = True) -> Schema:
    """Columns of JSON: objects in lines, or in one array.

    Raises:
        NotReadableError: It is neither.
    """
    text = data if whole else data[: data.rfind(b"\n") + 1]
    if not text.strip():
        raise NotReadableError("empty, or one object longer than is looked at")
    try:
        is_array = text.lstrip().startswith(b"[")
        frame = pl.read_json(text) if is_array else pl.read_ndjson(text, infer_schema_length=None)
    except (pl.exceptions.PolarsError, ValueError) as error:
        raise NotReadableError(f"not JSON: {str(error).splitlines()[0]}") from error
    if not frame.columns:
        raise NotReadableError("not JSON: no objects with fields")
    columns = {name.lower(): polars_type(kind) for name, kind in frame.schema.items()}
    return Schema("json", columns, record_bytes=max(1, len(text) // max(1, frame.height)))


def polars_type(kind: Any) -> str:  # noqa: ANN401 - Polars' classes and their instances
    """The catalogue's name of a type of Polars.

    >>> polars_type(pl.List(pl.Struct({"a": pl.Int64, "b": pl.Decimal(9, 2)})))
    'array<struct<a:bigint,b:decimal(9,2)>>'
    """
    if isinstance(kind, pl.List | pl.Array):
        return f"array<{polars_type(kind.inner)}>"
    if isinstance(kind, pl.Struct):
        return f"struct<{','.join(f'{part.name}:{polars_type(part.dtype)}' for part in kind.fields)}>"
    if isinstance(kind, pl.Decimal):
        return f"decimal({kind.precision},{kind.scale})"
    names = {
        pl.Int8: "tinyint", pl.Int16: "smallint", pl.Int32: "int", pl.Int64: "bigint",
        pl.UInt8: "smallint", pl.UInt16: "int", pl.UInt32: "bigint", pl.UInt64: "decimal(20,0)",
        pl.Float32: "float", pl.Float64: "double", pl.Boolean: "boolean", pl.Date: "date",
        pl.Binary: "binary", pl.Datetime: "timestamp",
    }  # fmt: skip
    return names.get(kind.base_type(), "string")


def delta_columns(schema: str) -> list[dict[str, str]]:
    """The catalogue's columns of a Delta table.

    Args:
        schema: ``schemaString`` of Delta's protocol.

    >>> delta_columns('{"type":"struct","fields":[{"name":"id","type":"long","metadata":{"comment":"c"}}]}')
    [{'Name': 'id', 'Type': 'bigint', 'Comment': 'c'}]
    """
    columns = []
    for part in json.loads(schema)["fields"]:
        comment = (part.get("metadata") or {}).get("comment")
        more = {"Comment": str(comment)[:255]} if comment else {}
        columns.append({"Name": part["name"].lower(), "Type": delta_type(part["type"]), **more})
    return columns


def delta_type(kind: str | Mapping[str, Any]) -> str:
    """The catalogue's name of a type of Delta's protocol.

    >>> delta_type({"type": "map", "keyType": "string", "valueType": "integer"})
    'map<string,int>'
    """
    if isinstance(kind, str):
        names = {"long": "bigint", "integer": "int", "short": "smallint", "byte": "tinyint"}
        return names.get(kind, "timestamp" if kind == "timestamp_ntz" else kind)
    if kind["type"] == "array":
        return f"array<{delta_type(kind['elementType'])}>"
    if kind["type"] == "map":
        return f"map<{delta_type(kind['keyType'])},{delta_type(kind['valueType'])}>"
    parts = [f"{part['name']}:{delta_type(part['type'])}" for part in kind["fields"]]
    return f"struct<{','.join(parts)}>"


def merged(schemas: Sequence[Schema]) -> Schema:
    """One schema of several files: all columns; where types differ, the wider one."""
    columns: dict[str, str] = {}
    for schema in schemas:
        for name, kind in schema.columns.items():
            columns[name] = kind if name not in columns else wider(columns[name], kind)
    first = schemas[0]
    size = sum(schema.record_bytes for schema in schemas) // len(schemas)
    quote = next((schema.quote for schema in schemas if schema.quote), "")
    return Schema(
        first.format, columns, first.delimiter, quote, any(one.header for one in schemas), size, first.serde
    )


def wider(one: str, other: str) -> str:
    """The type that takes values of both.

    >>> wider("int", "bigint"), wider("bigint", "double"), wider("bigint", "date")
    ('bigint', 'double', 'string')
    """
    if one == other:
        return one
    for order in (("tinyint", "smallint", "int", "bigint", "double"), ("float", "double")):
        if one in order and other in order:
            return max(one, other, key=order.index)
    return "string"


def fit(one: Schema, other: Schema) -> bool:
    """Whether two files may belong to one table: the same format, and most of the fewer columns in common."""
    if one.format != other.format or (one.format == "csv" and one.delimiter != other.delimiter):
        return False
    common = len(set(one.columns) & set(other.columns))
    return common >= 0.7 * min(len(one.columns), len(other.columns))


def _delimiter(text: str) -> str:
    try:
        return csv.Sniffer().sniff(text[:20_000], DELIMITERS).delimiter
    except csv.Error:
        first = text.splitlines()[0]
        best = max(DELIMITERS, key=first.count)
        if not first.count(best):
            raise NotReadableError("not CSV: no delimiter is found") from None
        return best


def _padded(row: Sequence[str], width: int) -> list[str]:
    return [*row[:width], *[""] * (width - len(row))]


def _distinct(names: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    result = []
    for name in names:
        count = seen[name] = seen.get(name, -1) + 1
        result.append(f"{name}_{count}" if count else name)
    return result


def _long(value: str) -> int:
    number = int(value)
    if "_" in value or not -(2**63) <= number < 2**63:
        raise ValueError(value)
    return number
