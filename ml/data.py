"""Columns of numbers and texts, from Parquet or CSV files or Arrow tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ml.errors import ModelError
from ml.tasks import Task

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Columns = dict[str, Array]
"""Numbers are floats with NaN for null, texts are objects with None, days are ``datetime64[D]``."""


def read_folder(folder: Path) -> pa.Table:
    """All rows of the Parquet and CSV files (with header) below a folder.

    Raises:
        ModelError: There are none, or they differ in their columns.
    """
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(("_", "."))
    )
    if not files:
        raise ModelError(
            f"there is no file in {folder}", "it holds Parquet files, or CSV files with a header"
        )
    try:
        tables = [_read_csv(f) if ".csv" in f.name else pyarrow.parquet.read_table(f) for f in files]
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise ModelError(
            f"files in {folder} cannot be read: {error}", "they are all Parquet or CSV"
        ) from error


def _read_csv(file: Path) -> pa.Table:
    """A CSV file in which nothing means null, in columns of texts as well."""
    nothing = pyarrow.csv.ConvertOptions(null_values=[""], strings_can_be_null=True)
    return pyarrow.csv.read_csv(file, convert_options=nothing)


def to_columns(table: pa.Table, task: Task, *, labelled: bool = True) -> Columns:
    """Columns of a task from an Arrow table.

    Args:
        table: Rows; columns that the task does not know are left out.
        task: Says which columns are numbers, texts and days.
        labelled: Whether the label must be there.

    Raises:
        ModelError: A column is missing, or does not hold what it should.
    """
    wanted = [name for name in task.columns if labelled or name != task.label]
    missing = [name for name in wanted if name not in table.column_names]
    if missing:
        raise ModelError(
            f"the data lacks the columns {', '.join(missing)}",
            f"the {task.name} model needs: {', '.join(wanted)}",
        )
    found: Columns = {}
    for name in wanted:
        column = table.column(name).combine_chunks()
        try:
            if name == task.date:
                found[name] = column.cast(pa.date32()).to_numpy(zero_copy_only=False).astype("datetime64[D]")
            elif name in task.numbers or name == task.label:
                if pa.types.is_boolean(column.type):
                    column = column.cast(pa.int8())
                found[name] = (
                    column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False).astype(np.float64)
                )
            else:
                found[name] = np.array(column.cast(pa.string()).to_pylist(), dtype=object)
        except pa.ArrowException as error:
            raise ModelError(f"the column {name} does not hold what it should: {error}") from error
    return found


def take(columns: Columns, rows: Array) -> Columns:
    """Some rows, by position or by truth."""
    return {name: values[rows] for name, values in columns.items()}


def length(columns: Columns) -> int:
    """Number of rows."""
    return len(next(iter(columns.values()), ()))


def present(values: Array) -> npt.NDArray[np.bool_]:
    """Which values are not null."""
    if values.dtype == object:
        return np.array([value is not None for value in values], dtype=np.bool_)
    return ~np.isnan(values)


def levels(values: Array) -> list[str]:
    """Different texts, ascending."""
    return sorted({str(value) for value in values if value is not None})


def codes(values: Array, known: Sequence[str]) -> npt.NDArray[np.int64]:
    """Position of each text among the known ones; -1 for others and null."""
    places = {level: place for place, level in enumerate(known)}
    return np.fromiter((places.get(value, -1) for value in values), dtype=np.int64, count=len(values))
