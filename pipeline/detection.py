"""Personal data in columns that are not tagged as such: found by the form of their values.

Only the beginning of each new file is looked at, which ``layout.inspect`` has in memory anyway. So it
costs no pass over the data and no Spark, and additional columns, which Spark never sees, are looked at
as well. What turns up later in a file only is not found; a source does not change its columns midway.

A kind has a form, where possible a check digit, and the least share of the filled-in values that must
look like it. The shares keep ids, amounts and business dates apart from what merely resembles them.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from contracts import Contract

UNTAGGED = "looks like personal data without a tag"
EMAIL = re.compile(r"[\w.%+-]+@[\w-]+(?:\.[\w-]+)*\.[a-z]{2,}", re.IGNORECASE)
# ISO 13616; often written in groups of four.
IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b", re.IGNORECASE)
# E.164, or digits in groups as people write them: +49 30 123456, 030 123456, (555) 123-4567.
PHONE = re.compile(
    r"\+[1-9](?:[ ()./-]*\d){6,14}|00[ -]?[1-9]\d{0,2}[ /-][\d ()./-]{6,}"
    r"|\(?0\d{2,5}\)?[ /-]\d{2,}[\d -]{2,}|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}"
)
LONGEST_PHONE = 24
# Numbers of the large brands, ISO/IEC 7812.
CARD = re.compile(
    r"4\d{12}(?:\d{3})?|5[1-5]\d{14}|2[2-7]\d{14}|3[47]\d{13}|6(?:011|5\d\d)\d{12}",
)
# ISO 8601, 1980/05/17, and with the year last: 17.05.1980, 05/17/1980. Which is the month does not matter.
DATE = re.compile(
    r"(?P<y>\d{4})(?P<s>[-/])(?P<a>\d{1,2})(?P=s)(?P<b>\d{1,2})"
    r"|(?P<d>\d{1,2})(?P<t>[./-])(?P<e>\d{1,2})(?P=t)(?P<z>\d{4})"
)
YOUNGEST_YEARS, OLDEST_YEARS, BIRTH_SPAN_YEARS, LEAST_BIRTHS = 14, 110, 20, 10


@dataclass(frozen=True)
class Kind:
    """A kind of personal data: its name, how a value looks, and the least share of values that do."""

    name: str
    looks_so: Callable[[str], bool]
    least_share: float


def has_email(value: str) -> bool:
    """Whether there is an email address in a text."""
    return "@" in value and EMAIL.search(value) is not None


def has_iban(value: str) -> bool:
    """Whether there is an IBAN in a text: form, and the remainder of 1 modulo 97 (ISO 7064).

    >>> has_iban("to DE89 3704 0044 0532 0130 00"), has_iban("DE88370400440532013000")
    (True, False)
    """
    return any(_is_iban(found.replace(" ", "")) for found in IBAN.findall(value))


def is_phone(value: str) -> bool:
    """Whether a value is a phone number; one without a plus sign or groups is taken for another number."""
    return len(value) <= LONGEST_PHONE and PHONE.fullmatch(value) is not None


def is_card(value: str) -> bool:
    """Whether a value is a card number: length and first digits of a brand, and Luhn's check digit.

    Source: ISO/IEC 7812-1, annex B.

    >>> is_card("4111 1111 1111 1111"), is_card("4111 1111 1111 1112")
    (True, False)
    """
    digits = value.replace(" ", "").replace("-", "")
    if not CARD.fullmatch(digits):
        return False
    doubled = [int(digit) * (1 + position % 2) for position, digit in enumerate(reversed(digits))]
    return sum(number // 10 + number % 10 for number in doubled) % 10 == 0


KINDS = (
    Kind("email addresses", has_email, 0.01),
    Kind("IBANs", has_iban, 0.05),
    Kind("phone numbers", is_phone, 0.2),
    # One random number in ten passes Luhn's check.
    Kind("card numbers", is_card, 0.5),
)
BIRTH_DATES, BIRTH_SHARE = "birth dates", 0.9


def warnings(
    text: str, header: Sequence[str], delimiter: str, contract: Contract, *, today: date | None = None
) -> tuple[str, ...]:
    """What looks like personal data in columns without a tag.

    Args:
        text: Beginning of the file, decoded; its last line may be cut off.
        header: Normalised column names, from its first line.
        delimiter: What separates its values.
        contract: Says which columns are tagged.
        today: Day that ages are counted back from; today by default.

    Returns:
        One sentence per column and kind, with the share of the rows.
    """
    tagged = {column.name for column in contract.columns if column.pii_class}
    lines = text.splitlines()[1 : None if text.endswith(("\n", "\r")) else -1] or text.splitlines()[1:]
    rows = [row for line in lines if len(row := _split(line, delimiter)) == len(header)]
    found = []
    for name, values in zip(header, zip(*rows, strict=True), strict=False):
        if name not in tagged:
            filled = [value for value in map(str.strip, values) if value]
            for kind, hits in _kinds(filled, today or date.today()):
                found.append(
                    f"column {name or '(no name)'} {UNTAGGED}: {kind} in "
                    f"{_percent(hits, len(rows))} of {len(rows):,} sampled rows"
                )
    return tuple(found)


def _kinds(values: Sequence[str], today: date) -> Iterator[tuple[str, int]]:
    """Kinds that values look like, and how many of them do."""
    for kind in KINDS:
        hits = sum(map(kind.looks_so, values))
        if hits and hits >= kind.least_share * len(values):
            yield kind.name, hits
    births = [born for born in map(_date, values) if born and _is_age(today.year - born.year)]
    if len(births) >= max(LEAST_BIRTHS, BIRTH_SHARE * len(values)):
        years = [born.year for born in births]
        # Contracts begin within some years of each other; customers are of all ages.
        if max(years) - min(years) >= BIRTH_SPAN_YEARS:
            yield BIRTH_DATES, len(births)


def _is_age(years: int) -> bool:
    return YOUNGEST_YEARS <= years <= OLDEST_YEARS


def _date(value: str) -> date | None:
    match = DATE.fullmatch(value)
    if not match:
        return None
    year, one, other = (int(match[first] or match[last]) for first, last in ("yz", "ad", "be"))
    for month, day in ((one, other), (other, one)):
        with suppress(ValueError):
            return date(year, month, day)
    return None


def _is_iban(text: str) -> bool:
    return int("".join(str(int(character, 36)) for character in text[4:] + text[:4])) % 97 == 1


def _split(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(line), delimiter=delimiter), [])
    except csv.Error:
        return []


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return f"{share:.0f} %" if share >= 1 else "less than 1 %"
