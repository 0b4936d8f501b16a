"""What erasing a person means for a line of a file and for a row of a table. Pure functions.

Values of tagged columns go; keys, amounts and dates of business stay, which name nobody any more. A
column that must have a value gets one that nobody has and that the contract allows, so that a lake that
is loaded anew from Bronze accepts the row as before.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from contracts import Column, Contract
from pipeline.errors import FinlakeError
from pipeline.layout import RESERVED

SUBJECT = "customers"
ACCOUNT_NUMBER = "account_number"
# What finds a person where no key does. Names, addresses and dates of birth are those of others, too.
IDENTIFYING = ("email", "phone", "national_id", ACCOUNT_NUMBER)
LEAST_LENGTH = 5  # a shorter value stands in too many lines by chance

UNREADABLE = "erased"
NOBODY_BORN = date(1900, 1, 1)
NOBODY = {
    "email": "erased@erased.invalid",  # RFC 2606: .invalid is never a domain
    "phone": "+10000000",
    "date_of_birth": NOBODY_BORN.isoformat(),
    ACCOUNT_NUMBER: "XX00ERASED00000000",  # ISO 3166 gives XX to no country
}
EPOCH = datetime(1970, 1, 1)
SEPARATORS = re.compile(r"[\s()./-]")


@dataclass
class Person:
    """What is known of the person to erase.

    Attributes:
        keys: Business keys of the person's rows, by entity.
        values: Texts that identify the person, as they stand in files and tables.
    """

    keys: dict[str, set[str]] = field(default_factory=dict)
    values: set[str] = field(default_factory=set)

    def pattern(self) -> re.Pattern[str]:
        """Finds every mention of the person in a text."""
        keys = sorted({key for keys in self.keys.values() for key in keys})
        words = rf"(?<!\w)(?:{'|'.join(map(re.escape, keys))})(?!\w)"
        values = "|".join(map(_however_written, sorted(self.values)))
        return re.compile(f"{words}|{values}" if values else words, flags=re.IGNORECASE)

    def is_named_by(self, value: str) -> bool:
        """Whether a value is one of the person's, however it is written."""
        plain = _plain(value)
        return bool(plain) and plain in {_plain(own) for own in self.values}

    def owns(self, row: Mapping[str, Any], contract: Contract) -> bool:
        """Whether a row is the person's: by whom it names, else by other keys, and without keys by value."""
        parents = [(column.name, str(column.parent_entity)) for column in contract.parents]
        own_key = [(name, contract.entity) for name in contract.key if len(contract.key) == 1]
        direct = [(name, entity) for name, entity in parents if entity == SUBJECT]
        for references in (direct, [*own_key, *parents]):  # an account may have been another's before
            given = [(str(row[name]), entity) for name, entity in references if row.get(name)]
            if given:
                return any(value in self.keys.get(entity, ()) for value, entity in given)
        columns = [column.name for column in contract.columns if column.pii_class in IDENTIFYING]
        return any(self.is_named_by(str(row[name])) for name in columns if row.get(name))

    def learn(self, row: Mapping[str, Any], contract: Contract) -> None:
        """Remember keys and values of one of the person's rows."""
        if len(contract.key) == 1 and row.get(contract.key[0]):
            self.keys.setdefault(contract.entity, set()).add(str(row[contract.key[0]]))
        # Further away from the person, an account number is somebody else's.
        if contract.entity == SUBJECT or SUBJECT in contract.parent_entities:
            for column in contract.source_columns:
                value = str(row.get(column.name) or "")
                known = column.pii_class in IDENTIFYING and value != NOBODY.get(str(column.pii_class))
                if known and len(value) >= LEAST_LENGTH:
                    self.values.add(value)


def nobody(column: Column) -> str | None:
    """What a column with personal data holds of a person who was erased; None where nothing may stand.

    Raises:
        FinlakeError: The contract wants a value, and allows none that is known to be nobody's.
    """
    if not column.required:
        return None
    by_type = NOBODY["date_of_birth"] if column.physical_type == "date" else "erased"
    value = NOBODY.get(str(column.pii_class), by_type)
    is_text = column.physical_type in ("string", "date") and not column.allowed_values
    matches = not column.pattern or re.search(column.pattern, value)
    if not is_text or not matches or len(value) > (column.max_length or len(value)):
        raise FinlakeError(
            f"column {column.name} must have a value, and {value!r}, which erases one, is not allowed",
            "make the column optional in its contract, or its rules wider",
        )
    return value


def read_line(line: str, header: Sequence[str], delimiter: str) -> list[str] | None:
    """Values of a line as they are written, with their quotes; None when it cannot be told which is which."""
    value = f'(?:"(?:[^"]|"")*"|[^"{re.escape(delimiter)}]*)'
    separator = re.escape(delimiter)
    if not header or len(set(header)) < len(header) or "\0" in line:
        return None
    if not re.fullmatch(f"{value}(?:{separator}{value})*", line):
        return None
    fields = re.findall(f"(?:^|{separator})({value})", line)
    return fields if len(fields) == len(header) else None


def as_row(fields: Sequence[str], header: Sequence[str]) -> dict[str, str]:
    """Values of a line by column, without quotes and blanks around them."""
    plain = [text[1:-1].replace('""', '"') if text.startswith('"') else text for text in fields]
    return {name: text.strip() for name, text in zip(header, plain, strict=True)}


def erase_line(line: str, header: Sequence[str], delimiter: str, contract: Contract, person: Person) -> str:
    """A line without the person; all other values stay byte for byte.

    A line that mentions the person and cannot be split is erased whole: it is no record of anything.
    """
    fields = read_line(line, header, delimiter)
    if fields is None:
        return UNREADABLE if person.pattern().search(line) else line
    row = as_row(fields, header)
    columns = {column.name: column for column in contract.source_columns}
    goes = _judge(row, contract, person)
    for position, name in enumerate(header):
        if row[name] and goes(columns.get(name), row[name]):
            fields[position] = (nobody(columns[name]) if name in columns else None) or ""
    return delimiter.join(fields)


def erase_row(row: Mapping[str, Any], contract: Contract, person: Person) -> dict[str, Any]:
    """A row of Silver, or of its history, without the person, and with the hash of what is left."""
    erased = dict(row)
    goes = _judge(row, contract, person)
    for column in contract.columns:
        value = row.get(column.name)
        if value is not None and goes(column, str(value)):
            left = None if column.derived else nobody(column)
            erased[column.name] = NOBODY_BORN if left and column.physical_type == "date" else left
    known = {column.name for column in contract.columns}
    additional = [name for name in row if name not in (*known, *RESERVED) and not name.startswith("_")]
    for name in additional:
        if row[name] is not None and goes(None, str(row[name])):
            erased[name] = None
    if erased != row and row.get("_row_hash") is not None:
        erased["_row_hash"] = row_hash(erased, contract.source_columns, additional)
    return erased


def row_hash(row: Mapping[str, Any], columns: Iterable[Column], additional: Sequence[str] = ()) -> bytes:
    """What ``dedupe.row_hash`` computes in Spark, of a row that is no deletion."""
    names = sorted([*(column.name for column in columns), *additional])
    texts = {name: _text(row[name]) for name in names if row[name] is not None}
    written = "".join(f"{len(name)}:{name}={len(text)}:{text}" for name, text in texts.items())
    return hashlib.sha256(written.encode()).digest()


def _judge(
    row: Mapping[str, Any], contract: Contract, person: Person
) -> Callable[[Column | None, str], bool]:
    """Which values of a row must go. A column that no contract knows is None.

    In a row of the person, these are all tagged and all unknown ones; in a row of somebody else, what
    names the person as the other side.
    """
    if person.owns(row, contract):
        return lambda column, _value: column is None or column.pii_class is not None
    about_others = contract.entity == SUBJECT or SUBJECT in contract.parent_entities

    def names_the_person(column: Column | None, value: str) -> bool:
        is_other_side = column is None or (column.pii_class == ACCOUNT_NUMBER and not about_others)
        return is_other_side and person.is_named_by(value)

    return names_the_person


def _text(value: Any) -> str:  # noqa: ANN401 - a value of any type of a contract
    """A value as ``dedupe.row_hash`` writes it."""
    if isinstance(value, datetime):
        return str((value.replace(tzinfo=None) - EPOCH) // timedelta(microseconds=1))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(value)


def _however_written(value: str) -> str:
    """Regular expression of a value with or without separators: Silver has none, where Bronze has them."""
    plain = SEPARATORS.sub("", value)
    if len(plain) < LEAST_LENGTH:
        return re.escape(value)
    return f"{SEPARATORS.pattern}*".join(map(re.escape, plain))


def _plain(value: str) -> str:
    return SEPARATORS.sub("", value).casefold()
