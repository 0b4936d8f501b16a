"""Columns, kept as the numbers they are made from.

:mod:`datagen.lines` makes CSV of them, :mod:`datagen.frames` Polars columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from datagen.rng import Bools, Ints

Fixed = npt.NDArray[np.bytes_]
"""Texts of one width, filled up with zero bytes."""

SECONDS_PER_DAY = 86_400
SPECIAL = (",", '"', "\n", "\r")
"""What a value holds that has to be quoted."""


class Vocabulary:
    """Texts to pick from."""

    def __init__(self, texts: Iterable[str | None]) -> None:
        """Take the texts; a null is an empty field in CSV."""
        self.texts = tuple(texts)

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def fixed(self) -> Fixed:
        """The texts as they stand in CSV, but for the quotes around them."""
        return np.array([(text or "").replace('"', '""').encode() for text in self.texts], dtype=np.bytes_)

    @cached_property
    def has_blank(self) -> bool:
        """Whether one of the texts is empty: fit to be a part of a value, but not to be one."""
        return "" in self.texts

    @cached_property
    def special(self) -> Bools | None:
        """Which texts have to be quoted; None when there are none."""
        special = [any(sign in (text or "") for sign in SPECIAL) for text in self.texts]
        return np.array(special) if any(special) else None

    def replaced(self, others: Mapping[str, str]) -> Vocabulary:
        """The same, with others for some of the texts."""
        return Vocabulary(None if text is None else others.get(text, text) for text in self.texts)


@lru_cache(maxsize=256)
def vocabulary(*texts: str | None) -> Vocabulary:
    """The vocabulary of these texts, made once."""
    return Vocabulary(texts)


@dataclass(frozen=True)
class Texts:
    """Texts that are picked from a vocabulary."""

    words: Vocabulary
    choice: Ints


def replaced(column: Column, others: Mapping[str, str]) -> Column:
    """Texts that are picked, with others for some of them."""
    if not isinstance(column, Texts):
        raise TypeError("these are no texts that are picked from some")
    return Texts(column.words.replaced(others), column.choice)


def texts(values: tuple[str | None, ...] | Vocabulary, choice: Ints) -> Column:
    """Pick one of ``values`` for each row."""
    return Texts(values if isinstance(values, Vocabulary) else vocabulary(*values), choice)


@dataclass(frozen=True)
class Dates:
    """Days since 1970-01-01."""

    days: Ints


def dates(days: Ints) -> Column:
    """Days since 1970-01-01 as dates."""
    return Dates(days)


@dataclass(frozen=True)
class Instants:
    """Instants in UTC: days since 1970-01-01, and seconds into the day."""

    days: Ints
    seconds: Ints


def timestamps(days: Ints, seconds: Ints) -> Instants:
    """Days since 1970-01-01 and seconds into the day (UTC) as instants."""
    return Instants(days, seconds)


@dataclass(frozen=True)
class Decimals:
    """Whole units of the last decimal place."""

    units: Ints
    precision: int
    places: int


def money(cents: Ints) -> Column:
    """Whole cents as DECIMAL(18,2)."""
    return Decimals(cents, 18, 2)


def rate(millionths: Ints) -> Column:
    """Whole millionths as DECIMAL(9,6)."""
    return Decimals(millionths, 9, 6)


@dataclass(frozen=True)
class Whole:
    """Integers that are not negative."""

    values: Ints


@dataclass(frozen=True)
class Plain:
    """Integers that are not negative, as texts."""

    values: Ints


def plain(values: Ints) -> Column:
    """Integers that are not negative as texts, without zeros in front."""
    return Plain(values)


def whole(values: Ints) -> Column:
    """Integers that are not negative and fit 32 bits."""
    return Whole(values)


@dataclass(frozen=True)
class Digits:
    """Numbers as texts of ``width`` digits, padded with zeros."""

    numbers: Ints
    width: int | Ints


def digits(numbers: Ints, width: int | Ints) -> Column:
    """Numbers, of up to ``width`` digits (at most 17) each, as texts that are padded with zeros to it."""
    return Digits(numbers, width)


@dataclass(frozen=True)
class Joined:
    """Texts side by side."""

    parts: tuple[Column | str, ...]


def join(*parts: Column | str) -> Column:
    """Concatenate texts row by row; a plain string is the same for every row."""
    return Joined(parts)


@dataclass(frozen=True)
class Either:
    """One value where ``mask`` holds, another one elsewhere."""

    mask: Bools
    then: Column
    otherwise: Column | None


def either(mask: Bools, then: Column, otherwise: Column | None = None) -> Column:
    """``then`` where ``mask`` holds, else ``otherwise`` (null if left out)."""
    return Either(mask, then, otherwise)


@dataclass(frozen=True)
class Scattered:
    """Values for the rows where ``mask`` holds, in order."""

    mask: Bools
    values: Column
    missing: str | None


def scatter(mask: Bools, values: Column, missing: str | None = None) -> Column:
    """Put one value into each row where ``mask`` holds, in order; ``missing`` elsewhere."""
    return Scattered(mask, values, missing)


Column = Texts | Dates | Instants | Decimals | Whole | Plain | Digits | Joined | Either | Scattered
"""One value per row."""


@dataclass(frozen=True)
class Table:
    """Rows of an entity.

    Attributes:
        columns: Columns by name.
    """

    columns: Mapping[str, Column]

    def instants(self, name: str) -> Instants:
        """A column of instants."""
        column = self.columns[name]
        if not isinstance(column, Instants):
            raise TypeError(f"{name} holds no instants")
        return column

    def replace(self, **columns: Column) -> Table:
        """The same rows with other values, or more, in some columns."""
        return Table({**self.columns, **columns})


@cache
def no_rows() -> Ints:
    """An empty index."""
    return np.empty(0, dtype=np.int64)
