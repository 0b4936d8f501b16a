"""Raw strings -> typed columns, by contract. Pure expressions; what cannot be typed gets a reason.

Spark's casts are generous (``2024`` is a date, ``1e5`` a decimal, and too many decimals are rounded
away), so each value must first have exactly the form of its type.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from contracts import Column as ContractColumn

if TYPE_CHECKING:
    from pyspark.sql import Column

DATE_FORM = r"^(?!0000)\d{4}-\d{2}-\d{2}$"  # SQL and Python begin with the year 1
# In UTC too it is in the years 1 to 9999: nobody reads others. So their first day has no offset ahead of UTC,
# and their last day none behind.
OUT_OF_YEARS = r"(?!0000|0001-01-01.*\+(?!00:00)|9999-12-31.{9,}-(?!00:00))"
CLOCK_TIME = r"\d{2}:\d{2}:\d{2}(\.\d{1,6})?(Z|[+-]\d{2}:\d{2})?"
TIMESTAMP_FORM = rf"^{OUT_OF_YEARS}\d{{4}}-\d{{2}}-\d{{2}}[T ]{CLOCK_TIME}$"
INTEGER_FORM = r"^[+-]?\d{1,19}$"
BOOLEAN_FORM = r"^(?i)(true|false)$"
NOT_SPACE = r"[^\s\p{Z}\x{85}]"
OUTER_SPACE = r"^[\s\p{Z}\x{85}]+|[\s\p{Z}\x{85}]+$"
DECIMAL_TYPE = re.compile(r"decimal\((\d+),(\d+)\)")


def text(value: Column) -> Column:
    """Trim white space of any script around a value; an empty value is null."""
    # A regular expression on each value took five times as long, and few values need it.
    # Texts compare byte by byte, so the first two conditions are about the first character.
    is_trimmed = (value >= "!") & (value < "\x7f") & F.substring(value, -1, 1).between("!", "~")
    return F.when(is_trimmed, value).when(value.rlike(NOT_SPACE), F.regexp_replace(value, OUTER_SPACE, ""))


def typed(column: ContractColumn) -> Column:
    """Give the string column of that name the type of its contract; null when it does not fit.

    Instants without an offset count as UTC, whatever the session's time zone is.
    """
    if column.physical_type == "string":
        return F.col(column.name)
    # The DataFrame API has no try_cast before Spark 4, and with ANSI mode on a plain cast raises.
    text = f"`{column.name}`"
    if column.physical_type == "timestamp":
        text = f"if(endswith({text}, 'Z') OR substring({text}, -6, 1) IN ('+', '-'), {text}, {text} || 'Z')"
    cast = F.expr(f"try_cast({text} AS {column.physical_type})")
    return F.when(F.col(column.name).rlike(form(column.physical_type)), cast)


def form(physical_type: str) -> str:
    r"""Regular expression of the texts that are a value of a type.

    >>> print(form("decimal(9,6)"))
    ^[+-]?\d{1,3}(\.\d{1,6})?$
    """
    forms = {
        "date": DATE_FORM,
        "timestamp": TIMESTAMP_FORM,
        "boolean": BOOLEAN_FORM,
        "int": INTEGER_FORM,
        "bigint": INTEGER_FORM,
    }
    if physical_type in forms:
        return forms[physical_type]
    match = DECIMAL_TYPE.fullmatch(physical_type)
    if match is None:
        raise ValueError(f"no form is known for type {physical_type!r}")
    precision, scale = int(match[1]), int(match[2])
    fraction = rf"(\.\d{{1,{scale}}})?" if scale else ""
    # decimal(4,4) has no digit before the point, and is still written with a zero there.
    return rf"^[+-]?\d{{1,{max(1, precision - scale)}}}{fraction}$"


def decimal_scale(physical_type: str) -> int:
    """How many decimals a type has; none for one that is no decimal.

    >>> decimal_scale("decimal(9,6)"), decimal_scale("bigint")
    (6, 0)
    """
    match = DECIMAL_TYPE.fullmatch(physical_type)
    return int(match[2]) if match else 0
