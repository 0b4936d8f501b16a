"""NumPy arrays to typed Polars columns, and typed frames to CSV."""

from __future__ import annotations

from functools import cache
from io import BytesIO

import numpy as np
import polars as pl

from datagen.rng import Bools, Ints

SECONDS_PER_DAY = 86_400
_DIGITS = 17


def dates(days: Ints) -> pl.Series:
    """Days since 1970-01-01 as dates."""
    return pl.Series(days.astype(np.int32)).cast(pl.Date)


def timestamps(days: Ints, seconds: Ints) -> pl.Series:
    """Days since 1970-01-01 and seconds into the day (UTC) as instants."""
    return pl.Series((days * SECONDS_PER_DAY + seconds) * 1000).cast(pl.Datetime("ms"))


def money(cents: Ints) -> pl.Series:
    """Whole cents as DECIMAL(18,2)."""
    return pl.Series(cents / 100).cast(pl.Decimal(18, 2))


def rate(millionths: Ints) -> pl.Series:
    """Whole millionths as DECIMAL(9,6)."""
    return pl.Series(millionths / 1_000_000).cast(pl.Decimal(9, 6))


def whole(values: Ints) -> pl.Series:
    """Integers that fit 32 bits."""
    return pl.Series(values.astype(np.int32))


def texts(values: tuple[str | None, ...], choice: Ints) -> pl.Series:
    """Pick one of ``values`` for each row."""
    return pl.Series(values).gather(choice)


def digits(numbers: Ints, width: int | Ints) -> pl.Series:
    """Numbers as text, padded with zeros to ``width`` digits (at most 17), longer ones as they are."""
    text = pl.Series("text", numbers + 10**_DIGITS).cast(pl.String)
    if isinstance(width, int):
        least = max(width, len(str(numbers.max(initial=0))))
        return text.str.slice(1 + _DIGITS - least)
    columns = pl.DataFrame({"text": text, "skip": 1 + _DIGITS - width})
    return columns.select(pl.col("text").str.slice(pl.col("skip"))).to_series()


def join(*parts: pl.Series | str) -> pl.Series:
    """Concatenate texts row by row; a plain string is the same for every row."""
    return pl.select(pl.concat_str(pl.lit(part) for part in parts)).to_series()


def either(mask: Bools, then: pl.Series, otherwise: pl.Series | None = None) -> pl.Series:
    """``then`` where ``mask`` holds, else ``otherwise`` (null if left out)."""
    return pl.select(pl.when(pl.lit(pl.Series(mask))).then(pl.lit(then)).otherwise(otherwise)).to_series()


def scatter(mask: Bools, values: pl.Series) -> pl.Series:
    """Put one value into each row where ``mask`` holds, in order; null elsewhere."""
    position = np.cumsum(mask) - 1
    return values.gather(either(mask, pl.Series(position)))


def to_csv(frame: pl.DataFrame) -> bytes:
    """Write rows as CSV without a header (RFC 4180 quoting where needed, null as an empty field)."""
    buffer = BytesIO()
    # Days and seconds are looked up in tables, which is quicker than to format each instant.
    instants = (instant_texts(frame[name]) for name, kind in frame.schema.items() if kind == pl.Datetime)
    days = (_day_texts(frame[name]) for name, kind in frame.schema.items() if kind == pl.Date)
    frame.with_columns(*instants, *days).write_csv(buffer, include_header=False)
    return buffer.getvalue()


def instant_texts(instants: pl.Series) -> pl.Series:
    """ISO 8601 in UTC; there are no nulls among instants."""
    day, second = np.divmod(instants.dt.epoch("s").to_numpy(), SECONDS_PER_DAY)
    return join(_day_texts(dates(day)), _second_texts().gather(second)).alias(instants.name)


def _day_texts(days: pl.Series) -> pl.Series:
    """ISO 8601, null for null."""
    numbers = days.cast(pl.Int32)
    present = numbers.drop_nulls().to_numpy()
    if not len(present):
        return days.cast(pl.String)
    low = int(present.min())
    texts = dates(np.arange(low, int(present.max()) + 1)).cast(pl.String)
    return texts.gather(numbers - low).alias(days.name)


@cache
def _second_texts() -> pl.Series:
    """What stands after the day, for each second of a day."""
    second = np.arange(SECONDS_PER_DAY)
    hour, minute, rest = (digits(part, 2) for part in (second // 3600, second // 60 % 60, second % 60))
    return join("T", hour, ":", minute, ":", rest, "Z")


@cache
def no_rows() -> Ints:
    """An empty index."""
    return np.empty(0, dtype=np.int64)
