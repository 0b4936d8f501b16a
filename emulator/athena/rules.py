"""What would mean something else in DuckDB becomes one of the macros of :mod:`emulator.athena.functions`."""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlglot import exp

from emulator.athena.allowed import NAMED
from emulator.athena.decimals import BIG, Scales
from emulator.athena.errors import not_supported

_JODA = {
    "yyyy": "%Y",
    "yy": "%y",
    "MMMM": "%B",
    "MMM": "%b",
    "MM": "%m",
    "dd": "%d",
    "EEEE": "%A",
    "EEE": "%a",
    "HH": "%H",
    "hh": "%I",
    "mm": "%M",
    "ss": "%S",
    "SSS": "%g",
    "a": "%p",
    "DDD": "%j",
}
_INTEGERS = {"TINYINT", "SMALLINT", "INT", "INTEGER", "BIGINT"}


def _call(name: str, *arguments: exp.Expr | None) -> exp.Anonymous:
    return exp.Anonymous(this=name, expressions=[argument for argument in arguments if argument is not None])


def _text(value: str) -> exp.Literal:
    return exp.Literal.string(value)


def _unit(node: exp.Expr) -> exp.Literal:
    unit = node.args.get("unit")
    return _text(unit.name.lower() if unit is not None else "day")


def _decimal(left: exp.Expr, right: exp.Expr, scale: int) -> exp.Expr:
    """Left / right, half up, with ``scale`` digits behind the point."""

    def unscaled(side: exp.Expr) -> exp.Expr:
        return _call("t_unscaled", exp.cast(side, f"DECIMAL(38,{scale})"))

    dividend = exp.Mul(
        this=unscaled(left), expression=exp.cast(_text("1" + "0" * scale), "HUGEINT", dialect="duckdb")
    )
    quotient = exp.cast(_call("t_quotient", dividend, unscaled(right)), f"DECIMAL({38 - scale},0)")
    if scale == 0:
        return quotient
    return exp.Paren(
        this=exp.Mul(
            this=quotient, expression=exp.cast(_text(f"{10**-scale:.{scale}f}"), f"DECIMAL({scale},{scale})")
        )
    )


def _div(node: exp.Expr, scales: Scales) -> exp.Expr:
    marks = [side.meta.get("operand", 0) for side in (node.this, node.expression)]
    scale = {mark: scales.get(mark, -1) for mark in marks}
    left, right = scale.values() if len(scale) == 2 else (scale[marks[0]], scale[marks[0]])
    if left is None or right is None or -1 in (left, right):
        return _call("t_div", node.this, node.expression)
    if left > 0 or right > 0:
        return _decimal(node.this, node.expression, max(left, right))
    sides = (
        exp.cast(side, "BIGINT") if digits == BIG else side
        for side, digits in ((node.this, left), (node.expression, right))
    )
    return _call("t_div", *sides)


def _outer(node: exp.Expr) -> exp.Expr:
    outer = node
    while isinstance(outer.parent, exp.Window | exp.Filter) and outer.arg_key == "this":
        outer = outer.parent
    return outer


def _avg(node: exp.Expr, scales: Scales) -> exp.Expr:
    scale = scales.get(node.this.meta.get("operand", 0), -1)
    if scale is None or scale <= 0:
        argument = node.this
        if isinstance(argument, exp.Distinct):
            if scale == -1:
                raise not_supported("avg(DISTINCT x) of an x whose type is not known here")
            return node
        if scale != -1:
            return node
        return exp.Avg(this=_call("t_avgable", argument))
    outer = _outer(node)
    sum_, count = (
        _in_place_of_avg(outer.copy(), kind(this=node.this.copy())) for kind in (exp.Sum, exp.Count)
    )
    whole = _decimal(sum_, count, scale)
    if outer is node:
        return whole
    keep_mark(outer, whole)
    outer.replace(whole)
    return node


def _in_place_of_avg(outer: exp.Expr, new: exp.Expr) -> exp.Expr:
    inner = outer.find(exp.Avg)
    if inner is None or inner is outer:
        return new
    inner.replace(new)
    return outer


def _concat(node: exp.Expr, _scales: Scales) -> exp.Expr:
    first, *others = node.expressions
    for other in others:
        first = exp.DPipe(this=first, expression=other)
    return exp.Paren(this=first)


def _cast(node: exp.Expr, _scales: Scales) -> exp.Expr:
    target: exp.DataType = node.args["to"]
    kind, value = target.this.name, node.this
    new: exp.Expr
    if kind in {"VARCHAR", "TEXT", "CHAR"}:
        new = _call("t_text", value)
        if target.expressions:
            new = _call("substr", new, exp.Literal.number(1), exp.Literal.number(target.expressions[0].name))
    elif kind in _INTEGERS:
        new = exp.Cast(this=_call("t_int", value), to=target)
    elif kind == "JSON":
        new = _call("to_json", value)
    elif kind in {"TIMESTAMP", "TIMESTAMPTZ", "TIME", "TIMETZ"} and target.expressions:
        new = exp.Cast(this=value, to=exp.DataType.build(kind))
    else:
        new = exp.Cast(this=value, to=target)
    if isinstance(node, exp.TryCast):
        return exp.Try(this=new)
    return new


def _interval_side(node: exp.Expr, name: str) -> exp.Expr:
    if isinstance(node.expression, exp.Interval):
        return _call(name, node.this, node.expression)
    if isinstance(node.this, exp.Interval):
        return _call(name, node.expression, node.this)
    return node


def _extract(node: exp.Expr, _scales: Scales) -> exp.Expr:
    unit = node.this.name.upper()
    if unit in {"DOW", "DAY_OF_WEEK", "DAYOFWEEK"}:
        return _call("isodow", node.expression)
    if unit in {"DOY", "DAY_OF_YEAR", "DAYOFYEAR"}:
        return _call("dayofyear", node.expression)
    return node


def _regexp_replace(node: exp.Expr, _scales: Scales) -> exp.Expr:
    new = node.args.get("replacement")
    if new is None:
        new = _text("")
    elif isinstance(new, exp.Literal):
        new = _text(re.sub(r"\$(\d)", r"\\\1", new.name))
    else:
        raise not_supported("regexp_replace with a replacement that is no literal")
    return _call("regexp_replace", node.this, node.expression, new, _text("g"))


def _named(node: exp.Expr, _scales: Scales) -> exp.Expr:
    name = node.name.lower()
    if name.startswith("t_") or name not in NAMED:
        return node
    arguments = node.expressions
    if name in {"format_datetime", "parse_datetime"}:
        if not isinstance(arguments[1], exp.Literal):
            raise not_supported(f"{name} with a pattern that is no literal")
        pattern = _text(joda(arguments[1].name))
        if name == "format_datetime":
            return _call("strftime", arguments[0], pattern)
        return exp.cast(_call("strptime", arguments[0], pattern), "TIMESTAMPTZ")
    if name == "at_timezone":
        return _zone(arguments[0], arguments[1])
    return _call(NAMED[name], *arguments)


def joda(pattern: str) -> str:
    """A pattern of Joda-Time as one of strftime.

    >>> joda("yyyy-MM-dd HH:mm:ss.SSS"), joda("dd'T'MM")
    ('%Y-%m-%d %H:%M:%S.%g', '%dT%m')

    Raises:
        QueryFailedError: A letter of it is not known.
    """
    out = []
    for found in re.finditer(r"'([^']*)'|(([A-Za-z])\3*)|([^A-Za-z'])", pattern):
        quoted, letters, other = found[1] or "", found[2] or "", found[4] or ""
        if letters:
            if letters not in _JODA:
                raise not_supported(f"the pattern letters {letters!r}")
            out.append(_JODA[letters])
        else:
            out.append((quoted or other).replace("%", "%%"))
    return "".join(out)


def _zone(value: exp.Expr, zone: exp.Expr) -> exp.Expr:
    if isinstance(zone, exp.Literal) and zone.name.upper() == "UTC":
        return exp.cast(value, "TIMESTAMPTZ")
    raise not_supported("time zones other than UTC")


def _bracket(node: exp.Expr, _scales: Scales) -> exp.Expr:
    if node.args.get("safe"):
        return node
    index = node.expressions[0]
    offset = node.args.get("offset") or 0
    if offset == 0 and isinstance(index, exp.Literal) and not index.is_string:
        index = exp.Literal.number(int(index.name) + 1)
    return _call("t_subscript", node.this, index)


def keep_mark(node: exp.Expr, new: exp.Expr) -> None:
    """What takes the place of an operand is known by its type, too."""
    if "operand" in node.meta:
        new.meta["operand"] = node.meta["operand"]


RULES: dict[type[exp.Expr], Callable[[exp.Expr, Scales], exp.Expr]] = {
    exp.Div: _div,
    exp.Mod: lambda node, _: _call("t_mod", node.this, node.expression),
    exp.Avg: _avg,
    exp.Concat: _concat,
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.Add: lambda node, _: _interval_side(node, "t_plus_interval"),
    exp.Sub: lambda node, _: _interval_side(node, "t_minus_interval"),
    exp.DateAdd: lambda node, _: _call("t_date_add", _unit(node), node.expression, node.this),
    exp.DateDiff: lambda node, _: _call("date_sub", _unit(node), node.expression, node.this),
    exp.DateTrunc: lambda node, _: _call("t_date_trunc", _unit(node), node.this),
    exp.TimestampTrunc: lambda node, _: _call("t_date_trunc", _unit(node), node.this),
    exp.Substring: lambda node, _: _call(
        "t_substr3" if node.args.get("length") else "t_substr",
        node.this,
        node.args.get("start"),
        node.args.get("length"),
    ),
    exp.JSONExtractScalar: lambda node, _: _call("t_json_scalar", node.this, node.expression),
    exp.RegexpExtract: lambda node, _: _call(
        "t_extract", node.this, node.expression, node.args.get("group") or exp.Literal.number(0)
    ),
    exp.RegexpReplace: _regexp_replace,
    exp.SplitPart: lambda node, _: _call(
        "t_split_part", node.this, node.args.get("delimiter"), node.args.get("part_index")
    ),
    exp.ArraySlice: lambda node, _: _call("t_slice", node.this, node.args["start"], node.args["end"]),
    exp.ArraySort: lambda node, _: _call("t_array_sort", node.this),
    exp.ArrayToString: lambda node, _: _call(
        "t_array_join3" if node.args.get("null") else "t_array_join",
        node.this,
        node.expression,
        node.args.get("null"),
    ),
    exp.ArgMax: lambda node, _: _call("arg_max_null", node.this, node.expression),
    exp.ArgMin: lambda node, _: _call("arg_min_null", node.this, node.expression),
    exp.Log: lambda node, _: _call("t_log", node.this, node.expression) if node.expression else node,
    exp.TimeToUnix: lambda node, _: _call("t_to_unixtime", node.this),
    exp.ArraySize: lambda node, _: _call("len", node.this),
    exp.GenerateSeries: lambda node, _: _call(
        "t_sequence" if node.args.get("step") else "generate_series",
        node.args.get("start"),
        node.args.get("end"),
        node.args.get("step"),
    ),
    exp.Extract: _extract,
    exp.AtTimeZone: lambda node, _: _zone(node.this, node.args["zone"]),
    exp.Anonymous: _named,
    exp.Bracket: _bracket,
}
