"""Columns, kept as the numbers they are made from: a Polars frame to work with, or CSV lines at once.

CSV is most of what is asked for, and to make a text of each value only to copy it into a line costs more
than all the rest of a row. So lines are put together by NumPy: each column knows its fields, arrays of texts
of one width that are filled up with zero bytes; the fields of all columns are laid side by side, constant
texts such as commas between them, and the zero bytes are taken out at the end. What comes out is what Polars'
``write_csv`` makes of the frame (RFC 4180, quoting only where needed, null as an empty field).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import accumulate, groupby

import numpy as np
import numpy.typing as npt
import polars as pl

from datagen.rng import Bools, Ints

Fixed = npt.NDArray[np.bytes_]
"""Texts of one width, filled up with zero bytes."""

SECONDS_PER_DAY = 86_400
_DIGITS = 17
_FIRST_YEAR, _LAST_YEAR = 1880, 2160
_SPECIAL = (",", '"', "\n", "\r")
"""What a value holds that has to be quoted."""


@dataclass(frozen=True)
class Encoded:
    """What a column is in CSV lines.

    Attributes:
        fields: Texts that stand side by side: constant ones, and arrays with one for each row.
        special: Rows whose value has to be quoted; None when there are none.
    """

    fields: list[bytes | Fixed]
    special: Bools | None = None


class Column(ABC):
    """One value per row."""

    @abstractmethod
    def series(self) -> pl.Series:
        """The values as a Polars column."""

    @abstractmethod
    def encoded(self) -> Encoded:
        """The values as they stand in CSV lines."""


class Vocabulary:
    """Texts to pick from."""

    def __init__(self, texts: Iterable[str | None]) -> None:
        """Take the texts; a null is an empty field in CSV."""
        self.texts = tuple(texts)

    def __len__(self) -> int:
        return len(self.texts)

    @cached_property
    def series(self) -> pl.Series:
        """The texts as a Polars column."""
        return pl.Series(self.texts, dtype=pl.String)

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
        special = [any(sign in (text or "") for sign in _SPECIAL) for text in self.texts]
        return np.array(special) if any(special) else None

    def replaced(self, others: Mapping[str, str]) -> Vocabulary:
        """The same, with others for some of the texts."""
        return Vocabulary(None if text is None else others.get(text, text) for text in self.texts)


@lru_cache(maxsize=256)
def vocabulary(*texts: str | None) -> Vocabulary:
    """The vocabulary of these texts, made once."""
    return Vocabulary(texts)


@dataclass(frozen=True)
class _Texts(Column):
    words: Vocabulary
    choice: Ints

    def series(self) -> pl.Series:
        return self.words.series.gather(self.choice)

    def encoded(self) -> Encoded:
        special = self.words.special
        return Encoded(
            [self.words.fixed.take(self.choice)], None if special is None else special.take(self.choice)
        )


def _choice_of(column: Column) -> int | None:
    """What tells choices apart; None for columns that are not picked from texts that need no quotes."""
    return id(column.choice) if isinstance(column, _Texts) and column.words.special is None else None


@lru_cache(maxsize=64)
def _row_of(*words: Vocabulary) -> Fixed:
    """Texts at the same places of vocabularies as they stand in a line, with commas between them."""
    rows = zip(*(one.fixed.tolist() for one in words), strict=True)
    return np.array([b",".join(row) for row in rows], dtype=np.bytes_)


def replaced(column: Column, others: Mapping[str, str]) -> Column:
    """Texts that are picked, with others for some of them."""
    if not isinstance(column, _Texts):
        raise TypeError("these are no texts that are picked from some")
    return _Texts(column.words.replaced(others), column.choice)


def texts(values: tuple[str | None, ...] | Vocabulary, choice: Ints) -> Column:
    """Pick one of ``values`` for each row."""
    return _Texts(values if isinstance(values, Vocabulary) else vocabulary(*values), choice)


@dataclass(frozen=True)
class _Dates(Column):
    days: Ints

    def series(self) -> pl.Series:
        return pl.Series(self.days.astype(np.int32)).cast(pl.Date)

    def encoded(self) -> Encoded:
        return Encoded([_day_texts().take(self.days - _first_day())])


def dates(days: Ints) -> Column:
    """Days since 1970-01-01 as dates."""
    return _Dates(days)


@dataclass(frozen=True)
class Instants(Column):
    """Instants in UTC: days since 1970-01-01, and seconds into the day."""

    days: Ints
    seconds: Ints

    def series(self) -> pl.Series:  # noqa: D102 - see Column
        return pl.Series((self.days * SECONDS_PER_DAY + self.seconds) * 1000).cast(pl.Datetime("ms"))

    def encoded(self) -> Encoded:  # noqa: D102
        # Days and seconds are looked up in tables, which is quicker than to format each instant.
        return Encoded([_day_texts().take(self.days - _first_day()), _second_texts().take(self.seconds)])


def timestamps(days: Ints, seconds: Ints) -> Instants:
    """Days since 1970-01-01 and seconds into the day (UTC) as instants."""
    return Instants(days, seconds)


@dataclass(frozen=True)
class _Decimals(Column):
    units: Ints
    precision: int
    places: int

    def series(self) -> pl.Series:
        return pl.Series(self.units / 10**self.places).cast(pl.Decimal(self.precision, self.places))

    def encoded(self) -> Encoded:
        below = self.units < 0
        sign: list[bytes | Fixed] = [np.where(below, b"-", b"")] if below.any() else []
        whole, rest = np.divmod(np.abs(self.units), 10**self.places)
        return Encoded([*sign, _plain(whole), b".", _padded(rest, self.places)])


def money(cents: Ints) -> Column:
    """Whole cents as DECIMAL(18,2)."""
    return _Decimals(cents, 18, 2)


def rate(millionths: Ints) -> Column:
    """Whole millionths as DECIMAL(9,6)."""
    return _Decimals(millionths, 9, 6)


@dataclass(frozen=True)
class _Whole(Column):
    values: Ints

    def series(self) -> pl.Series:
        return pl.Series(self.values.astype(np.int32))

    def encoded(self) -> Encoded:
        return Encoded([_plain(self.values)])


@dataclass(frozen=True)
class _Plain(Column):
    values: Ints

    def series(self) -> pl.Series:
        return pl.Series(self.values).cast(pl.String)

    def encoded(self) -> Encoded:
        return Encoded([_plain(self.values)])


def plain(values: Ints) -> Column:
    """Integers that are not negative as texts, without zeros in front."""
    return _Plain(values)


def whole(values: Ints) -> Column:
    """Integers that are not negative and fit 32 bits."""
    return _Whole(values)


@dataclass(frozen=True)
class _Digits(Column):
    numbers: Ints
    width: int | Ints

    def series(self) -> pl.Series:
        text = pl.Series("text", self.numbers + 10**_DIGITS).cast(pl.String)
        if isinstance(self.width, int):
            return text.str.slice(1 + _DIGITS - self.width)
        columns = pl.DataFrame({"text": text, "skip": 1 + _DIGITS - self.width})
        return columns.select(pl.col("text").str.slice(pl.col("skip"))).to_series()

    def encoded(self) -> Encoded:
        return Encoded([_padded(self.numbers, self.width)])


def digits(numbers: Ints, width: int | Ints) -> Column:
    """Numbers, of up to ``width`` digits (at most 17) each, as texts that are padded with zeros to it."""
    return _Digits(numbers, width)


@dataclass(frozen=True)
class _Joined(Column):
    parts: tuple[Column | str, ...]

    def series(self) -> pl.Series:
        parts = (part if isinstance(part, str) else part.series().cast(pl.String) for part in self.parts)
        return pl.select(pl.concat_str(pl.lit(part) for part in parts)).to_series()

    def encoded(self) -> Encoded:
        fields: list[bytes | Fixed] = []
        special: Bools | None = None
        always = False
        for part in self.parts:
            if isinstance(part, str):
                fields.append(part.replace('"', '""').encode())
                always |= any(sign in part for sign in _SPECIAL)
            else:
                one = part.encoded()
                fields += one.fields
                special = _either(special, one.special)
        if always:
            special = np.ones(_height(fields), dtype=np.bool_)
        return Encoded(fields, special)


def join(*parts: Column | str) -> Column:
    """Concatenate texts row by row; a plain string is the same for every row."""
    return _Joined(parts)


@dataclass(frozen=True)
class _Either(Column):
    mask: Bools
    then: Column
    otherwise: Column | None

    def series(self) -> pl.Series:
        otherwise = None if self.otherwise is None else self.otherwise.series()
        chosen = pl.when(pl.lit(pl.Series(self.mask))).then(pl.lit(self.then.series())).otherwise(otherwise)
        return pl.select(chosen).to_series()

    def encoded(self) -> Encoded:
        # Both stand side by side, and in each row one of them is empty.
        first = _where(self.mask, self.then.encoded())
        if self.otherwise is None:
            return first
        second = _where(~self.mask, self.otherwise.encoded())
        return Encoded(first.fields + second.fields, _either(first.special, second.special))


def either(mask: Bools, then: Column, otherwise: Column | None = None) -> Column:
    """``then`` where ``mask`` holds, else ``otherwise`` (null if left out)."""
    return _Either(mask, then, otherwise)


@dataclass(frozen=True)
class _Scattered(Column):
    mask: Bools
    values: Column
    missing: str | None

    def series(self) -> pl.Series:
        rows = pl.Series(np.cumsum(self.mask) - 1)
        values = self.values.series()
        chosen = pl.when(pl.lit(pl.Series(self.mask))).then(pl.lit(rows)).otherwise(None)
        found = values.gather(pl.select(chosen).to_series())
        return found if self.missing is None else found.fill_null(self.missing)

    def encoded(self) -> Encoded:
        some = self.values.encoded()
        place = np.flatnonzero(self.mask)
        fields: list[bytes | Fixed] = []
        for field in some.fields:
            texts = np.array([field]) if isinstance(field, bytes) else field
            spread = np.zeros(len(self.mask), dtype=texts.dtype)
            spread[place] = texts
            fields.append(spread)
        if some.special is None:
            return Encoded(fields)
        special = np.zeros(len(self.mask), dtype=np.bool_)
        special[place] = some.special
        return Encoded(fields, special)


def scatter(mask: Bools, values: Column, missing: str | None = None) -> Column:
    """Put one value into each row where ``mask`` holds, in order; ``missing`` elsewhere."""
    return _Scattered(mask, values, missing)


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

    def frame(self) -> pl.DataFrame:
        """The rows as a Polars frame."""
        return pl.DataFrame({name: column.series() for name, column in self.columns.items()})

    def csv(self) -> bytes:
        """The rows as CSV lines, without a header."""
        pieces: list[bytes | Fixed] = []
        for encoded in self._encoded():
            if encoded.special is None:
                pieces += [*encoded.fields, b","]
            else:
                quote = np.where(encoded.special, b'"', b"")
                pieces += [quote, *encoded.fields, quote, b","]
        pieces[-1] = b"\n"
        return b"".join(_lines(pieces))

    def _encoded(self) -> Iterator[Encoded]:
        """Columns as they stand in lines; neighbours that pick by the same choice are looked up at once."""
        for name, column in self.columns.items():
            if isinstance(column, _Texts) and column.words.has_blank:
                raise ValueError(f"{name} has an empty text, which would be read as a null")
        for choice, group in groupby(self.columns.values(), _choice_of):
            columns = list(group)
            if choice is None:
                yield from (column.encoded() for column in columns)
            else:
                picked = [column for column in columns if isinstance(column, _Texts)]
                yield Encoded([_row_of(*(one.words for one in picked)).take(picked[0].choice)])


_STEP = 4096
"""Lines that are put together at a time, so that they stay in the processor's cache."""


def _lines(pieces: list[bytes | Fixed]) -> Iterator[bytes]:
    """Lay texts side by side in lines, and take the zero bytes out."""
    template = b"".join(bytes(one.itemsize) if isinstance(one, np.ndarray) else one for one in pieces)
    starts = accumulate((len(one) if isinstance(one, bytes) else one.itemsize for one in pieces), initial=0)
    fields = [(start, one) for start, one in zip(starts, pieces, strict=False) if isinstance(one, np.ndarray)]
    height, width = _height(pieces), len(template)
    lines = np.empty((min(_STEP, height), width), dtype=np.uint8)
    for low in range(0, height, _STEP):
        some = lines[: height - low]
        some[:] = np.frombuffer(template, dtype=np.uint8)
        for start, texts in fields:
            place: Fixed = np.ndarray(len(some), texts.dtype, some, start, width)
            place[:] = texts[low : low + _STEP]
        flat = some.reshape(-1)
        yield flat[flat != 0].tobytes()


def _height(fields: list[bytes | Fixed]) -> int:
    return next(len(field) for field in fields if isinstance(field, np.ndarray))


def _either(one: Bools | None, other: Bools | None) -> Bools | None:
    """Where one of the two holds; None stands for nowhere."""
    if one is None or other is None:
        return other if one is None else one
    both: Bools = one | other
    return both


def _where(mask: Bools, encoded: Encoded) -> Encoded:
    """The same, but empty where ``mask`` does not hold."""
    empty = np.flatnonzero(~mask)
    fields: list[bytes | Fixed] = []
    for field in encoded.fields:
        if isinstance(field, bytes):
            fields.append(np.where(mask, field, b""))
        else:
            field[empty] = b""
            fields.append(field)
    return Encoded(fields, None if encoded.special is None else encoded.special & mask)


_PADDED, _BARE, _LAST = 0, 10_000, 20_000


@cache
def _groups() -> npt.NDArray[np.uint32]:
    """Texts of four digits: padded with zeros; bare, 0 being nothing; and bare, 0 being itself."""
    numbers = [str(number).encode() for number in range(10_000)]
    padded = [number.zfill(4) for number in numbers]
    return np.array([*padded, b"", *numbers[1:], *numbers], dtype="S4").view(np.uint32)


def _cut(values: Ints, count: int) -> list[Ints]:
    """Numbers cut into ``count`` groups of four digits, the highest first."""
    groups = []
    for _ in range(count - 1):
        higher = values // 10_000
        groups.append(values - higher * 10_000)
        values = higher
    return [values, *reversed(groups)]


def _plain(values: Ints) -> Fixed:
    """Numbers from 0 on as texts."""
    count = -(-len(str(values.max(initial=0))) // 4)
    text = np.empty((len(values), count), dtype=np.uint32)
    leading: Bools | None = None
    for place, group in enumerate(_cut(values, count)):
        bare = _LAST if place == count - 1 else _BARE
        text[:, place] = _groups().take(group + bare if leading is None else group + bare * leading)
        leading = group == 0 if leading is None else leading & (group == 0)
    return text.view(f"S{4 * count}").reshape(-1)


def _padded(numbers: Ints, width: int | Ints) -> Fixed:
    """Numbers as texts of ``width`` digits."""
    most = width if isinstance(width, int) else int(width.max(initial=1))
    count = -(-most // 4)
    text = np.empty((len(numbers), count), dtype=np.uint32)
    for place, group in enumerate(_cut(numbers, count)):
        text[:, place] = _groups().take(group)
    signs = text.view(np.uint8)
    if isinstance(width, int):
        signs[:, : 4 * count - width] = 0
    else:
        skip = 4 * count - width
        for place in range(int(skip.max(initial=0))):
            signs[skip > place, place] = 0
    return text.view(f"S{4 * count}").reshape(-1)


@cache
def _first_day() -> int:
    return int(np.datetime64(f"{_FIRST_YEAR}-01-01", "D").astype(np.int64))


@cache
def _day_texts() -> Fixed:
    """ISO 8601, for each day of the years that can be met."""
    days = np.arange(f"{_FIRST_YEAR}-01-01", f"{_LAST_YEAR}-01-01", dtype="datetime64[D]")
    return np.datetime_as_string(days).astype("S10")


@cache
def _second_texts() -> Fixed:
    """What stands after the day, for each second of a day."""
    minutes = [f"T{minute // 60:02d}:{minute % 60:02d}" for minute in range(24 * 60)]
    return np.array([f"{minute}:{second:02d}Z" for minute in minutes for second in range(60)], dtype="S10")


@cache
def no_rows() -> Ints:
    """An empty index."""
    return np.empty(0, dtype=np.int64)
