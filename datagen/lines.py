"""CSV of columns, put together by NumPy.

To make a text of each value only to copy it into a line costs more than all the rest of a row. So each
column has fields, arrays of texts of one width that are filled up with zero bytes; the fields of all columns
are laid side by side, constant texts such as commas between them, and the zero bytes are taken out at the
end. What comes out is what Polars' ``write_csv`` makes of the frame (RFC 4180, quoting only where needed,
null as an empty field).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache, singledispatch
from itertools import accumulate, groupby

import numpy as np
import numpy.typing as npt

from datagen import columns as to
from datagen.rng import Bools, Ints

_FIRST_YEAR, _LAST_YEAR = 1880, 2160


@dataclass(frozen=True)
class Encoded:
    """What a column is in CSV lines.

    Attributes:
        fields: Texts that stand side by side: constant ones, and arrays with one for each row.
        special: Rows whose value has to be quoted; None when there are none.
    """

    fields: list[bytes | to.Fixed]
    special: Bools | None = None


def to_csv(table: to.Table) -> bytes:
    """Rows as CSV lines, without a header.

    Raises:
        ValueError: A column picks from texts of which one is empty, which would be read as a null.
    """
    _keep_memory()
    pieces: list[bytes | to.Fixed] = []
    for encoded in _columns(table):
        if encoded.special is None:
            pieces += [*encoded.fields, b","]
        else:
            quote = np.where(encoded.special, b'"', b"")
            pieces += [quote, *encoded.fields, quote, b","]
    pieces[-1] = b"\n"
    return b"".join(_lines(pieces))


def _columns(table: to.Table) -> Iterator[Encoded]:
    """Columns as they stand in lines; neighbours that pick by the same choice are looked up at once."""
    for name, column in table.columns.items():
        if isinstance(column, to.Texts) and column.words.has_blank:
            raise ValueError(f"{name} has an empty text, which would be read as a null")
    for choice, group in groupby(table.columns.values(), _choice_of):
        columns = list(group)
        if choice is None:
            yield from (encode(column) for column in columns)
        else:
            picked = [column for column in columns if isinstance(column, to.Texts)]
            yield Encoded([_row_of(*(one.words for one in picked)).take(picked[0].choice)])


def _choice_of(column: to.Column) -> int | None:
    """What tells choices apart; None for columns that are not picked from texts that need no quotes."""
    return id(column.choice) if isinstance(column, to.Texts) and column.words.special is None else None


@lru_cache(maxsize=64)
def _row_of(*words: to.Vocabulary) -> to.Fixed:
    """Texts at the same places of vocabularies as they stand in a line, with commas between them."""
    rows = zip(*(one.fixed.tolist() for one in words), strict=True)
    return np.array([b",".join(row) for row in rows], dtype=np.bytes_)


@singledispatch
def encode(column: to.Column) -> Encoded:
    """A column as it stands in CSV lines."""
    raise TypeError(f"{type(column).__name__} is not a column")


@encode.register
def _of_texts(column: to.Texts) -> Encoded:
    special = column.words.special
    return Encoded(
        [column.words.fixed.take(column.choice)], None if special is None else special.take(column.choice)
    )


@encode.register
def _of_dates(column: to.Dates) -> Encoded:
    return Encoded([_day_texts().take(column.days - _first_day())])


@encode.register
def _of_instants(column: to.Instants) -> Encoded:
    # Days and seconds are looked up in tables, which is quicker than to format each instant.
    return Encoded([_day_texts().take(column.days - _first_day()), _second_texts().take(column.seconds)])


@encode.register
def _of_decimals(column: to.Decimals) -> Encoded:
    below = column.units < 0
    sign: list[bytes | to.Fixed] = [np.where(below, b"-", b"")] if below.any() else []
    whole, rest = np.divmod(np.abs(column.units), 10**column.places)
    return Encoded([*sign, _plain(whole), b".", _padded(rest, column.places)])


@encode.register
def _of_whole(column: to.Whole) -> Encoded:
    return Encoded([_plain(column.values)])


@encode.register
def _of_plain(column: to.Plain) -> Encoded:
    return Encoded([_plain(column.values)])


@encode.register
def _of_digits(column: to.Digits) -> Encoded:
    return Encoded([_padded(column.numbers, column.width)])


@encode.register
def _of_joined(column: to.Joined) -> Encoded:
    fields: list[bytes | to.Fixed] = []
    special: Bools | None = None
    always = False
    for part in column.parts:
        if isinstance(part, str):
            fields.append(part.replace('"', '""').encode())
            always |= any(sign in part for sign in to.SPECIAL)
        else:
            one = encode(part)
            fields += one.fields
            special = _either(special, one.special)
    if always:
        special = np.ones(_height(fields), dtype=np.bool_)
    return Encoded(fields, special)


@encode.register
def _of_either(column: to.Either) -> Encoded:
    # Both stand side by side, and in each row one of them is empty.
    first = _where(column.mask, encode(column.then))
    if column.otherwise is None:
        return first
    second = _where(~column.mask, encode(column.otherwise))
    return Encoded(first.fields + second.fields, _either(first.special, second.special))


@encode.register
def _of_scattered(column: to.Scattered) -> Encoded:
    some = encode(column.values)
    place = np.flatnonzero(column.mask)
    fields: list[bytes | to.Fixed] = []
    for field in some.fields:
        texts = np.array([field]) if isinstance(field, bytes) else field
        spread = np.zeros(len(column.mask), dtype=texts.dtype)
        spread[place] = texts
        fields.append(spread)
    if some.special is None:
        return Encoded(fields)
    special = np.zeros(len(column.mask), dtype=np.bool_)
    special[place] = some.special
    return Encoded(fields, special)


@cache
def _keep_memory() -> None:
    """Have the C library keep what arrays give back, for the next ones.

    glibc takes arrays of more than 128 kB from the system, page by page, until one as large has been given
    back; that is a third of the time of the first blocks. 32 MB is the most it keeps.
    """
    np.empty(31 << 20, dtype=np.uint8)


_STEP = 4096
"""Lines that are put together at a time, so that they stay in the processor's cache."""


def _lines(pieces: list[bytes | to.Fixed]) -> Iterator[bytes]:
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
            place: to.Fixed = np.ndarray(len(some), texts.dtype, some, start, width)
            place[:] = texts[low : low + _STEP]
        flat = some.reshape(-1)
        yield flat[flat != 0].tobytes()


def _height(fields: list[bytes | to.Fixed]) -> int:
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
    fields: list[bytes | to.Fixed] = []
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


def _plain(values: Ints) -> to.Fixed:
    """Numbers from 0 on as texts."""
    count = -(-len(str(values.max(initial=0))) // 4)
    text = np.empty((len(values), count), dtype=np.uint32)
    leading: Bools | None = None
    for place, group in enumerate(_cut(values, count)):
        bare = _LAST if place == count - 1 else _BARE
        text[:, place] = _groups().take(group + bare if leading is None else group + bare * leading)
        leading = group == 0 if leading is None else leading & (group == 0)
    return text.view(f"S{4 * count}").reshape(-1)


def _padded(numbers: Ints, width: int | Ints) -> to.Fixed:
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
def _day_texts() -> to.Fixed:
    """ISO 8601, for each day of the years that can be met."""
    day = np.arange(f"{_FIRST_YEAR}-01-01", f"{_LAST_YEAR}-01-01", dtype="datetime64[D]")
    month, year = day.astype("datetime64[M]"), day.astype("datetime64[Y]").astype(np.int64) + 1970
    of_month = (day - month).astype(np.int64) + 1
    of_year = month.astype(np.int64) % 12 + 1
    texts = _lines([_padded(year, 4), b"-", _padded(of_year, 2), b"-", _padded(of_month, 2)])
    return np.frombuffer(b"".join(texts), dtype="S10")


@cache
def _second_texts() -> to.Fixed:
    """What stands after the day, for each second of a day."""
    second = np.arange(to.SECONDS_PER_DAY)
    hour, minute, rest = (_padded(part, 2) for part in (second // 3600, second // 60 % 60, second % 60))
    texts = _lines([b"T", hour, b":", minute, b":", rest, b"Z"])
    return np.frombuffer(b"".join(texts), dtype="S10")
