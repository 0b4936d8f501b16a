"""File formats. Rows are made as CSV lines; other formats are made from these, so all hold the same rows."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING

from contracts import Column, Contract
from datagen.errors import BadRequestError

if TYPE_CHECKING:
    import polars as pl

FORMATS = ("csv", "csv.gz", "jsonl", "parquet")


@dataclass(frozen=True)
class Format:
    """How rows are written.

    Attributes:
        name: One of ``FORMATS``; also the files' ending.
        contract: Contract of the entity.
        columns: Names of the columns; those that the contract does not know are texts.
    """

    name: str
    contract: Contract
    columns: tuple[str, ...]

    @property
    def is_typed(self) -> bool:
        """Whether values have types, so that a date or a line can not be malformed."""
        return self.name in ("jsonl", "parquet")

    def encode(self, lines: bytes) -> bytes:
        """Turn the CSV lines of a block into what its file holds of them (for Parquet, see ``pieces``)."""
        if self.name == "csv.gz":
            return gzip.compress(lines, compresslevel=6, mtime=0)
        if self.name == "jsonl":
            return self._frame(lines).write_ndjson().encode()
        return lines

    def pieces(self, blocks: Iterator[bytes]) -> Iterator[bytes]:
        """The bytes of one file.

        Args:
            blocks: Its encoded blocks.
        """
        header = ",".join(self.columns) + "\n"
        if self.name == "parquet":
            import polars as pl

            buffer = BytesIO()
            pl.concat([self._frame(block) for block in blocks]).write_parquet(buffer, compression="zstd")
            yield buffer.getvalue()
            return
        if self.name != "jsonl":
            yield self.encode(header.encode())
        yield from blocks

    def _frame(self, lines: bytes) -> pl.DataFrame:
        import polars as pl

        columns = self.contract.source_columns
        frame = pl.read_csv(
            lines,
            has_header=False,
            new_columns=list(self.columns),
            infer_schema=False,
        )
        frame = frame.with_columns(_typed(column) for column in columns)
        if self.name == "jsonl":  # numbers as numbers, and instants as they stand in CSV
            decimals = [pl.col(column.name).cast(pl.Float64) for column in columns if column.is_decimal]
            instants = [
                pl.col(column.name).dt.strftime("%Y-%m-%dT%H:%M:%SZ")
                for column in columns
                if column.physical_type == "timestamp"
            ]
            frame = frame.with_columns(*decimals, *instants)
        return frame


def check_format(name: str) -> None:
    """Refuse formats that are not known.

    Raises:
        BadRequestError: It is none of ``FORMATS``.
    """
    if name not in FORMATS:
        raise BadRequestError(f"{name!r} is not a format; known are {', '.join(FORMATS)}")


def _typed(column: Column) -> pl.Expr:
    import polars as pl

    value = pl.col(column.name)
    if column.physical_type == "timestamp":
        return value.str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC")
    if column.physical_type == "date":
        return value.str.to_date("%Y-%m-%d")
    if column.is_decimal:
        precision, scale = map(int, column.physical_type[8:-1].split(","))
        return value.cast(pl.Decimal(precision, scale))
    return value.cast({"int": pl.Int32, "bigint": pl.Int64}.get(column.physical_type, pl.String()))
