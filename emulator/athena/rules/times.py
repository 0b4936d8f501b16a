"""Dates and times: fields, patterns, time zones."""

from __future__ import annotations

import re

from sqlglot import exp

from emulator.athena import patterns
from emulator.athena.errors import not_supported
from emulator.athena.inference import Types
from emulator.athena.rules.nodes import as_type, call, string

# Fields of EXTRACT, and DuckDB's function for each.
_FIELDS = {
    "YEAR": "year", "QUARTER": "quarter", "MONTH": "month", "WEEK": "week", "DAY": "day",
    "DAY_OF_MONTH": "day", "DAYOFMONTH": "day", "DAY_OF_WEEK": "isodow", "DAYOFWEEK": "isodow",
    "DOW": "isodow",
    "DAY_OF_YEAR": "dayofyear", "DAYOFYEAR": "dayofyear", "DOY": "dayofyear", "YEAR_OF_WEEK": "isoyear",
    "YOW": "isoyear", "HOUR": "hour", "MINUTE": "minute", "SECOND": "second",
}  # fmt: skip


# What is made of the local time in a time zone.
_LOCAL = (
    exp.Date, exp.Year, exp.Quarter, exp.Month, exp.WeekOfYear, exp.Day, exp.DayOfMonth, exp.DayOfWeekIso,
    exp.DayOfYear, exp.Hour, exp.Minute, exp.Second, exp.Extract, exp.LastDay, exp.TimeToStr,
)  # fmt: skip


def extract_field(node: exp.Expr, _types: Types) -> exp.Expr:
    """``EXTRACT``."""
    field = node.this.name.upper()
    if field not in _FIELDS:
        raise not_supported(f"EXTRACT of {field}")
    return call(_FIELDS[field], node.expression)


def formatted(node: exp.Expr, _types: Types) -> exp.Expr:
    """``date_format`` and ``date_parse``, by MySQL's patterns."""
    pattern = node.args["format"]
    if not isinstance(pattern, exp.Literal):
        raise not_supported("a pattern of dates and times that is no literal")
    text = patterns.mysql(pattern.name)
    if isinstance(node, exp.TimeToStr):
        return call("strftime", node.this, string(text))
    if not re.search("%[Yy]", text):
        raise not_supported("date_parse without a year")
    return as_type(call("strptime", node.this, string(text)), "TIMESTAMP")


def parse_datetime(node: exp.Expr, _types: Types) -> exp.Expr:
    """``parse_datetime``, by a pattern of Joda-Time."""
    pattern = node.args.get("format")
    if not isinstance(pattern, exp.Literal):
        raise not_supported("parse_datetime with a pattern that is no literal")
    text = patterns.joda(pattern.name)
    if not re.search("%[Yy]", text):
        raise not_supported("parse_datetime without a year")
    return as_type(call("strptime", node.this, string(text)), "TIMESTAMPTZ")


def from_unixtime(node: exp.Expr, _types: Types) -> exp.Expr:
    """``from_unixtime``, in UTC."""
    if node.args.get("zone") or node.args.get("hours"):
        raise not_supported("from_unixtime in another time zone than UTC")
    return node


def zone(node: exp.Expr, value: exp.Expr, zone: exp.Expr) -> exp.Expr:
    """An instant in a time zone, which DuckDB has only as the local time there."""
    if isinstance(zone, exp.Literal) and zone.name.upper() == "UTC":
        return as_type(value, "TIMESTAMPTZ")
    if isinstance(zone, exp.Literal) and _is_local(node):
        return call("timezone", zone, as_type(value, "TIMESTAMPTZ"))
    raise not_supported("time zones other than UTC, but for their local dates, fields and formatted texts")


def _is_local(node: exp.Expr) -> bool:
    """Whether only the local time of a value in a time zone matters for what is made of it."""
    user = node.parent
    while isinstance(user, exp.DateTrunc | exp.TimestampTrunc | exp.Paren):
        user = user.parent
    if isinstance(user, exp.Cast):
        return bool(user.to.is_type("date", "timestamp"))
    return isinstance(user, _LOCAL) or (isinstance(user, exp.Anonymous) and user.name == "format_datetime")
