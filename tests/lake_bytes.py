"""Every byte of a folder, and of what is compressed in it, to be searched for what must not be there."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq


def readable_bytes(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Path and content of every file: as it is, and decompressed too where it is Parquet or gzip."""
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        yield path, data
        if data.startswith(b"PAR1"):
            table = pq.read_table(io.BytesIO(data), partitioning=None)
            plain = io.BytesIO()
            pq.write_table(table, plain, compression="none", use_dictionary=False)
            yield path, plain.getvalue()
            yield path, json.dumps(table.to_pylist(), default=str, ensure_ascii=False).encode()
        elif data.startswith(b"\x1f\x8b"):
            yield path, gzip.decompress(data)


def found_in(folder: Path, values: Iterable[str]) -> set[tuple[str, str]]:
    """Which values stand in which files, whatever the case of their letters; as UTF-8 and as UTF-16."""
    # Each byte is one character here, so that any bytes can be searched by Polars' Aho-Corasick automaton.
    folded = {
        value.encode(code).lower().decode("latin-1"): value
        for value in values
        for code in ("utf-8", "utf-16-le")
    }
    found = set()
    for path, data in readable_bytes(folder):
        text = pl.Series([data.decode("latin-1")])
        hits = text.str.extract_many(list(folded), ascii_case_insensitive=True, overlapping=True)[0]
        found |= {
            (str(path.relative_to(folder)), folded[hit.encode("latin-1").lower().decode("latin-1")])
            for hit in set(hits)
        }
    return found


def text_values(folder: Path, column: str) -> set[str]:
    """All values, as texts, of a column in all Parquet files below a folder, also those no table knows."""
    columns = [
        pq.read_table(path, columns=[column], partitioning=None)[column]
        for path in folder.rglob("*.parquet")
        if column in pq.read_schema(path).names
    ]
    return {str(value) for found in columns for value in found.cast(pa.string()).drop_null()}
