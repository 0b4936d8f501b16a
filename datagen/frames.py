"""Polars frames of columns."""

from __future__ import annotations

from functools import lru_cache, singledispatch

import numpy as np
import polars as pl

from datagen import columns as to

_DIGITS = 17


def to_frame(table: to.Table) -> pl.DataFrame:
    """Rows as a typed Polars frame."""
    return pl.DataFrame({name: series(column) for name, column in table.columns.items()})


@singledispatch
def series(column: to.Column) -> pl.Series:
    """A column as a Polars column."""
    raise TypeError(f"{type(column).__name__} is not a column")


@lru_cache(maxsize=256)
def _pool(words: to.Vocabulary) -> pl.Series:
    return pl.Series(words.texts, dtype=pl.String)


@series.register
def _of_texts(column: to.Texts) -> pl.Series:
    return _pool(column.words).gather(column.choice)


@series.register
def _of_dates(column: to.Dates) -> pl.Series:
    return pl.Series(column.days.astype(np.int32)).cast(pl.Date)


@series.register
def _of_instants(column: to.Instants) -> pl.Series:
    return pl.Series((column.days * to.SECONDS_PER_DAY + column.seconds) * 1000).cast(pl.Datetime("ms"))


@series.register
def _of_decimals(column: to.Decimals) -> pl.Series:
    return pl.Series(column.units / 10**column.places).cast(pl.Decimal(column.precision, column.places))


@series.register
def _of_whole(column: to.Whole) -> pl.Series:
    return pl.Series(column.values.astype(np.int32))


@series.register
def _of_plain(column: to.Plain) -> pl.Series:
    return pl.Series(column.values).cast(pl.String)


@series.register
def _of_digits(column: to.Digits) -> pl.Series:
    text = pl.Series("text", column.numbers + 10**_DIGITS).cast(pl.String)
    if isinstance(column.width, int):
        return text.str.slice(1 + _DIGITS - column.width)
    columns = pl.DataFrame({"text": text, "skip": 1 + _DIGITS - column.width})
    return columns.select(pl.col("text").str.slice(pl.col("skip"))).to_series()


@series.register
def _of_joined(column: to.Joined) -> pl.Series:
    parts = (part if isinstance(part, str) else series(part).cast(pl.String) for part in column.parts)
    return pl.select(pl.concat_str(pl.lit(part) for part in parts)).to_series()


@series.register
def _of_either(column: to.Either) -> pl.Series:
    otherwise = None if column.otherwise is None else series(column.otherwise)
    chosen = pl.when(pl.lit(pl.Series(column.mask))).then(pl.lit(series(column.then))).otherwise(otherwise)
    return pl.select(chosen).to_series()


@series.register
def _of_scattered(column: to.Scattered) -> pl.Series:
    rows = pl.Series(np.cumsum(column.mask) - 1)
    values = series(column.values)
    chosen = pl.when(pl.lit(pl.Series(column.mask))).then(pl.lit(rows)).otherwise(None)
    found = values.gather(pl.select(chosen).to_series())
    return found if column.missing is None else found.fill_null(column.missing)
