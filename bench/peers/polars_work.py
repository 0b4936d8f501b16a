"""What the Polars peers have in common: typed rows, and the newest version of each key."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from contracts import Contract

TYPES = {
    "string": pl.String(),
    "int": pl.Int32(),
    "bigint": pl.Int64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "timestamp": pl.Datetime("us", "UTC"),
}


def polars_type(physical_type: str) -> pl.DataType:
    """Polars' type of a Spark SQL type."""
    if number := re.fullmatch(r"decimal\((\d+),(\d+)\)", physical_type):
        return pl.Decimal(int(number[1]), int(number[2]))
    return TYPES[physical_type]


def typed(files: Path, contract: Contract) -> pl.LazyFrame:
    """Rows of an entity's CSV files, with the contract's types."""
    rows = pl.scan_csv(files / contract.entity / "*.csv", infer_schema=False)
    return rows.select(_typed(column.name, column.physical_type) for column in contract.source_columns)


def newest(rows: pl.LazyFrame, contract: Contract) -> pl.LazyFrame:
    """The newest version of each key."""
    ordered = rows.sort(contract.version_column, descending=True)
    return ordered.unique(list(contract.key), keep="first", maintain_order=True)


def _typed(name: str, physical_type: str) -> pl.Expr:
    text = pl.col(name)
    if physical_type == "timestamp":
        return text.str.to_datetime("%+", time_unit="us", time_zone="UTC")
    if physical_type == "date":
        return text.str.to_date("%Y-%m-%d")
    return text.cast(polars_type(physical_type))
