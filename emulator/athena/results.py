"""Results as Athena writes them: text of values, the CSV at the output location, pages of the API."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

from duckdb.sqltypes import DuckDBPyType

from emulator.athena.errors import QueryFailedError
from emulator.athena.types import ResultColumn

Row = list[str | None]
Value = Any  # of whatever type DuckDB has
Writer = Callable[[Value], str | None]
PAGE_ROWS = 1000


def text(value: Value) -> str | None:
    """A value as text.

    >>> text(None), text(True), text(1.0), text(1e10), text(datetime(2024, 1, 2, 3, 4, 5, 6000))
    (None, 'true', '1.0', '1.0E10', '2024-01-02 03:04:05.006')
    >>> text([1, None, 'a']), text({'x': 1, 'y': 'b'}), text(bytes([255, 0]))
    ('[1, null, a]', '{x=1, y=b}', 'ff 00')
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return double(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        written = value.astimezone(UTC) if value.tzinfo else value
        zone = " UTC" if value.tzinfo else ""
        return f"{written:%Y-%m-%d %H:%M:%S}.{written.microsecond // 1000:03d}{zone}"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, time):
        return f"{value:%H:%M:%S}.{value.microsecond // 1000:03d}"
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex(" ")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{text(k)}={_inner(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_inner, value)) + "]"
    return str(value)


def _inner(value: Value) -> str:
    return "null" if value is None else str(text(value))


def double(value: float) -> str:
    """A double as Java's ``Double.toString`` writes it.

    >>> [double(x) for x in (0.1, 100.0, 1e7, 12345678.9, 1e-4, -0.0, float('nan'), float('-inf'))]
    ['0.1', '100.0', '1.0E7', '1.23456789E7', '1.0E-4', '-0.0', 'NaN', '-Infinity']
    """
    if value != value:  # noqa: PLR0124  (NaN)
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return f"{Decimal(repr(value)):f}" if "e" in repr(value) else repr(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    power = len(digits) - 1 + int(exponent)
    fraction = "".join(map(str, digits[1:])) or "0"
    return f"{'-' if sign else ''}{digits[0]}.{fraction}E{power}"


def csv_line(row: Iterable[str | None]) -> str:
    """A line of Athena's CSV: every value in quotes, and nothing at all for null.

    >>> csv_line(["a", None, "b c", ""]).rstrip()
    '"a",,"b c",""'
    """
    return ",".join("" if value is None else '"' + value.replace('"', '""') + '"' for value in row) + "\n"


def write(
    rows: Iterable[list[Row]], columns: list[ResultColumn], csv: Path | None, spool: Path, *, header: bool
) -> int:
    """Write a result twice: as CSV for the output location, and as lines that pages are read from.

    Args:
        rows: Rows in batches.
        columns: Their columns.
        csv: Where the CSV, or for a statement without header the plain text, goes; None: nowhere.
        spool: Where the lines of JSON go.
        header: Whether the names of the columns are the first row.

    Returns:
        How many rows there were, without the header.
    """
    count = 0
    with (
        spool.open("w", encoding="utf-8") as lines,
        (csv or Path("/dev/null")).open("w", encoding="utf-8") as out,
    ):
        if header:
            names: Row = [column.name for column in columns]
            lines.write(json.dumps(names) + "\n")
            out.write(csv_line(names))
        for batch in rows:
            count += len(batch)
            lines.writelines(json.dumps(row) + "\n" for row in batch)
            if header:
                out.writelines(map(csv_line, batch))
            else:
                out.writelines("\t".join(value or "" for value in row) + "\n" for row in batch)
    return count


def as_texts(batches: Iterator[list[tuple[Any, ...]]], writers: list[Writer]) -> Iterator[list[Row]]:
    """Values as text, batch by batch.

    Args:
        batches: Rows.
        writers: What writes the values of each column, from :func:`writer`.
    """
    for batch in batches:
        # Not strict: see `engine.lines`.
        yield [[None if v is None else w(v) for w, v in zip(writers, row, strict=False)] for row in batch]


def writer(kind: DuckDBPyType) -> Writer:
    """What makes text of the values of a type of DuckDB.

    Args:
        kind: As a cursor's description has it.
    """
    if kind.id in {"varchar", "bigint", "hugeint", "float"}:
        simple: dict[str, Writer] = {"varchar": str, "float": real}
        return simple.get(kind.id, _bigint)
    if kind.id not in {"list", "array", "map", "struct"}:
        return text
    # Of an array's children one is its length.
    inner = [_or_null(writer(child)) for _, child in kind.children if isinstance(child, DuckDBPyType)]
    if kind.id == "struct":
        names = [name or f"field{index}" for index, (name, _) in enumerate(kind.children)]

        def row(values: Value) -> str:
            cells = values.values() if isinstance(values, dict) else values
            parts = (f"{n}={w(v)}" for n, w, v in zip(names, inner, cells, strict=True))
            return "{" + ", ".join(parts) + "}"

        return row
    if kind.id == "map":
        key, value = inner
        return lambda values: "{" + ", ".join(f"{key(k)}={value(v)}" for k, v in values.items()) + "}"
    return lambda values: "[" + ", ".join(map(inner[0], values)) + "]"


def _or_null(write: Writer) -> Callable[[Value], str]:
    return lambda value: "null" if value is None else str(write(value))


def real(value: float) -> str:
    """A real, whose value Python has as a double, with the fewest digits that are it.

    >>> real(0.10000000149011612), real(16777216.0)
    ('0.1', '1.6777216E7')
    """
    for digits in range(6, 9):
        if struct.pack("f", short := float(f"{value:.{digits}g}")) == struct.pack("f", value):
            return double(short)
    return double(float(f"{value:.9g}"))


def _bigint(value: int) -> str:
    if not -(2**63) <= value < 2**63:  # DuckDB's sums are wider
        raise QueryFailedError(f"NUMERIC_VALUE_OUT_OF_RANGE: bigint overflow: {value}")
    return str(value)


def page(spool: Path, start: int, limit: int) -> tuple[list[Row], int | None]:
    """Rows from a place in the spool on.

    Args:
        spool: What :func:`write` has written.
        start: Where to begin, in bytes.
        limit: How many rows at most.

    Returns:
        The rows, and the place of the next one if there is one.
    """
    rows: list[Row] = []
    with spool.open("rb") as lines:
        lines.seek(start)
        for _ in range(limit):
            line = lines.readline()
            if not line:
                return rows, None
            rows.append(json.loads(line))
        place = lines.tell()
        return rows, place if lines.readline() else None


def metadata(columns: list[ResultColumn]) -> bytes:
    """What lies beside the CSV. Athena's own is binary and not documented; this is JSON."""
    return json.dumps({"columns": [asdict(column) for column in columns]}).encode()


def column_info(columns: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """``ColumnInfo`` of the API."""
    return [
        {
            "CatalogName": "hive",
            "SchemaName": "",
            "TableName": "",
            "Name": column["name"],
            "Label": column["name"],
            "Type": column["type"],
            "Precision": column["precision"],
            "Scale": column["scale"],
            "Nullable": "UNKNOWN",
            "CaseSensitive": column["type"] in {"varchar", "char"},
        }
        for column in columns
    ]
