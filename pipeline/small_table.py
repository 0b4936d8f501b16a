"""A small Delta table, read once and kept in memory, written slice by slice. Uses delta-rs.

On S3 each file costs some milliseconds, whatever is in it. So such a table is not read again for every
question, its handle follows its log instead of opening it anew, and many small files become few.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from typing import Any

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from pipeline.tables import TableColumn, arrow_type, ensure_table, open_table

# A reader works through the commits since the last checkpoint, one request each.
CONFIGURATION = {"delta.checkpointInterval": "10"}
MOST_FILES = 40

again_when_another_was_first = retry(
    retry=retry_if_exception_type(CommitFailedError),
    stop=stop_after_attempt(8),
    wait=wait_random_exponential(multiplier=0.1, max=3),
    reraise=True,
)


class SmallTable:
    """Its rows as this process found them, with its own writes. Safe to use from several threads.

    What other processes write meanwhile is not seen: whoever reads holds the lock of those rows.

    Args:
        uri: The table.
        columns: Its columns; types that :func:`pipeline.tables.arrow_type` knows.
        partition_by: Names of the columns that it is partitioned by.
    """

    def __init__(self, uri: str, columns: Sequence[TableColumn], partition_by: Sequence[str] = ()) -> None:
        self.uri = uri
        self._columns = columns
        self._partition_by = partition_by
        self._schema = pa.schema([pa.field(column.name, arrow_type(column.type)) for column in columns])
        self._lock = threading.RLock()
        self._table: DeltaTable | None = None
        self._rows: pl.DataFrame | None = None

    def ensure(self) -> None:
        """Create the table when it is not there; add columns that it lacks."""
        with self._lock:
            self._table = ensure_table(
                self.uri, self._columns, self._partition_by, configuration=CONFIGURATION
            )

    def read(self) -> pl.DataFrame:
        """All rows; none when there is no table (yet). Writes nothing."""
        with self._lock:
            if self._rows is None:
                table = self._newest() if self._table else open_table(self.uri)
                if table is None:
                    return self._frame(self._schema.empty_table())
                self._table = table
                self._rows = self._frame(table.to_pyarrow_table())
            return self._rows

    def replace_slice(self, rows: Iterable[Mapping[str, Any]], **key: str | int) -> None:
        """Put ``rows`` in the place of all rows with these values, in one commit.

        Doing it again gives the same table. All ``rows`` must have these values.
        """
        new = pa.Table.from_pylist(list(rows), schema=self._schema)
        with self._lock:
            before, self._rows = self._rows, None  # read again, should the write break off
            self._write(new, " AND ".join(f"{name} = {_literal(value)}" for name, value in key.items()))
            if before is not None:
                others = ~reduce(pl.Expr.and_, (pl.col(name) == value for name, value in key.items()))
                self._rows = pl.concat([before.filter(others), self._frame(new)])

    @again_when_another_was_first
    def compact(self) -> None:
        """Make few files out of many, if there are many by now."""
        with self._lock:
            table = self._newest()
            if len(table.file_uris()) > MOST_FILES:
                table.optimize.compact()

    @again_when_another_was_first
    def _write(self, new: pa.Table, predicate: str) -> None:
        write_deltalake(self._newest(), new, mode="overwrite", predicate=predicate)

    def _newest(self) -> DeltaTable:
        if self._table is None:
            self.ensure()
        assert self._table is not None  # noqa: S101 - for the type checker
        self._table.update_incremental()
        return self._table

    def _frame(self, table: pa.Table) -> pl.DataFrame:
        for field in self._schema:
            if field.name not in table.schema.names:  # as long as only an earlier version has written it
                table = table.append_column(field, pa.nulls(len(table), field.type))
        frame = pl.from_arrow(table.select(self._schema.names).cast(self._schema))
        assert isinstance(frame, pl.DataFrame)  # noqa: S101 - for the type checker; a table is a frame
        return frame


def _literal(value: str | int) -> str:
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
