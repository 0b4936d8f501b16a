"""What would mean something else in DuckDB becomes one of the macros of :mod:`emulator.athena.functions`."""

from __future__ import annotations

import re
from collections.abc import Callable

from sqlglot import exp

from emulator.athena import patterns
from emulator.athena.allowed import NAMED
from emulator.athena.errors import QueryFailedError, not_supported
from emulator.athena.inference import BIG, UNKNOWN, Types, is_interval, keep_mark

Rule = Callable[[exp.Expr, Types], exp.Expr]

_INTEGERS = {"TINYINT", "SMALLINT", "INT", "INTEGER", "BIGINT"}
_TEXTS = {"VARCHAR", "TEXT", "CHAR", "NCHAR", "BPCHAR"}
_TIMES = ("date", "timestamp", "timestamptz", "timestamp_ns", "timestamp_ms", "timestamp_s")
_BINARY = ("varbinary", "binary", "blob")
_UTC = re.compile(r"(?:UTC|Z|[+-]00:00)$")
_INSTANT = re.compile(r"\s*\d{4,}-\d{1,2}-\d{1,2}(?: \d{1,2}:\d{1,2}(?::\d{1,2}(?:[.]\d+)?)?)?\s*")
# Fields of EXTRACT, and DuckDB's function for each.
_FIELDS = {
    "YEAR": "year", "QUARTER": "quarter", "MONTH": "month", "WEEK": "week", "DAY": "day",
    "DAY_OF_MONTH": "day", "DAYOFMONTH": "day", "DAY_OF_WEEK": "isodow", "DAYOFWEEK": "isodow",
    "DOW": "isodow",
    "DAY_OF_YEAR": "dayofyear", "DAYOFYEAR": "dayofyear", "DOY": "dayofyear", "YEAR_OF_WEEK": "isoyear",
    "YOW": "isoyear", "HOUR": "hour", "MINUTE": "minute", "SECOND": "second",
}  # fmt: skip
_FROM_ZERO = "from zero"
_EXACT = "exact"  # its digits leave no doubt
_WHITE = "".join(map(chr, (9, 10, 11, 12, 13, 28, 29, 30, 31, 32)))  # what Java takes for white space


def call(name: str, *arguments: exp.Expr | None) -> exp.Anonymous:
    """A call of a function of DuckDB."""
    return exp.Anonymous(this=name, expressions=[argument for argument in arguments if argument is not None])


def _text(value: str) -> exp.Literal:
    return exp.Literal.string(value)


def _number(value: int) -> exp.Expr:
    return exp.Literal.number(value)


def _as(value: exp.Expr, kind: str) -> exp.Cast:
    """A cast; unlike ``exp.cast`` it does not take decimals of any digits for the same type."""
    return exp.Cast(this=value, to=exp.DataType.build(kind, dialect="duckdb"))


def _unit(node: exp.Expr) -> exp.Literal:
    unit = node.args.get("unit")
    return _text(unit.name.lower() if unit is not None else "day")


def _macro(name: str, *keys: str) -> Rule:
    """A rule: call a macro with these parts of the node."""
    return lambda node, _: call(name, *(node.args.get(key) for key in keys))


# --- numbers ---------------------------------------------------------------------------------------


def _decimal(left: exp.Expr, right: exp.Expr, scale: int) -> exp.Expr:
    """Left / right, half up, with ``scale`` digits behind the point."""

    def unscaled(side: exp.Expr) -> exp.Expr:
        return call("t_unscaled", _as(side, f"DECIMAL(38,{scale})"))

    # What is said so often is computed as often: so only where the digits are not sure.
    exact = all(side.meta.get(_EXACT) for side in (left, right))
    checked = left if exact else call("t_exact", left, right.copy(), _number(scale))
    dividend = exp.Mul(this=unscaled(checked), expression=_as(_text("1" + "0" * scale), "HUGEINT"))
    quotient: exp.Expr = _as(call("t_quotient", dividend, unscaled(right)), f"DECIMAL({38 - scale},0)")
    if scale > 0:
        unit = _as(_text("0." + "0" * (scale - 1) + "1"), f"DECIMAL({scale},{scale})")
        quotient = exp.Paren(this=exp.Mul(this=quotient, expression=unit))
    quotient.meta[_EXACT] = True
    return quotient


def _div(node: exp.Expr, types: Types) -> exp.Expr:
    sides = (node.this, node.expression)
    for side in sides:
        if types.sure(side) is not None:
            side.meta[_EXACT] = True
    left, right = (types.scale(side) for side in sides)
    if UNKNOWN in (left, right):
        return call("t_div", *sides)
    if left is None or right is None:
        return call("t_float_div", *sides)
    if left > 0 or right > 0 or any(types.is_a(side, "decimal") for side in sides):
        return _decimal(*sides, max(left, right, 0))
    whole = (
        _as(side, "BIGINT") if digits == BIG else side
        for side, digits in zip(sides, (left, right), strict=True)
    )
    return call("t_int_div", *whole)


def _outer(node: exp.Expr) -> exp.Expr:
    outer = node
    while isinstance(outer.parent, exp.Window | exp.Filter) and outer.arg_key == "this":
        outer = outer.parent
    return outer


def _around(node: exp.Expr, whole: Callable[[exp.Expr], exp.Expr]) -> exp.Expr:
    """Put something around an aggregate with its FILTER and its window."""
    outer = _outer(node)
    if outer is node:
        return whole(node.copy())
    new = whole(outer.copy())
    keep_mark(outer, new)
    outer.replace(new)
    return node


def _avg(node: exp.Expr, types: Types) -> exp.Expr:
    scale = types.scale(node.this)
    if types.is_a(node.this, "float"):
        return _around(node, lambda outer: _as(outer, "FLOAT"))
    if scale is not None and scale > 0:
        return _around(node, lambda outer: _avg_of_decimals(outer, scale))
    argument = node.this
    if isinstance(argument, exp.Distinct):
        if scale == UNKNOWN:
            raise not_supported("avg(DISTINCT x) of an x whose type is not known here")
        return node
    return exp.Avg(this=call("t_avgable", argument))


def _avg_of_decimals(outer: exp.Expr, scale: int) -> exp.Expr:
    parts = []
    for kind in (exp.Sum, exp.Count):
        part = outer.copy()
        inner = part.find(exp.Avg)
        assert inner is not None  # noqa: S101  (it is what is replaced)
        new = kind(this=inner.this.copy())
        parts.append(new if inner is part else part)
        if inner is not part:
            inner.replace(new)
    return _decimal(parts[0], parts[1], scale)


def _sum(node: exp.Expr, types: Types) -> exp.Expr:
    if types.is_a(node.this, "float"):
        return _around(node, lambda outer: _as(outer, "FLOAT"))
    return node


def _round(node: exp.Expr, _types: Types) -> exp.Expr:
    name = "trunc" if isinstance(node, exp.Trunc) else "round"
    digits = node.args.get("decimals")
    return call(f"t_{name}" if digits is not None else name, node.this, digits)


# --- casts -----------------------------------------------------------------------------------------


def _cast(node: exp.Expr, types: Types) -> exp.Expr:
    new = _converted(node.this, node.args["to"], types)
    return exp.Try(this=new) if isinstance(node, exp.TryCast) else new


def _converted(value: exp.Expr, target: exp.DataType, types: Types) -> exp.Expr:
    kind = target.this.name
    if kind in _TEXTS:
        if kind not in {"VARCHAR", "TEXT"}:
            raise not_supported("the type char(n): use varchar")
        new = call("t_text", value)
        if target.expressions:
            return call("substr", new, _number(1), _number(int(target.expressions[0].name)))
        return new
    if kind in _INTEGERS:
        return exp.Cast(this=call("t_int", value), to=target)
    if kind == "JSON":
        return call("t_to_json", value)
    if kind == "BOOLEAN":
        return call("t_boolean", value)
    if kind in {"DATE", "TIMESTAMP", "TIMESTAMPTZ", "TIME", "TIMETZ"}:
        return _time(value, kind, target)
    if kind in {"ARRAY", "LIST", "STRUCT", "MAP"}:
        return _nested(value, target, types)
    if (
        kind in {"DOUBLE", "FLOAT", "DECIMAL"}
        and isinstance(value, exp.Anonymous)
        and value.name in {"t_json_scalar", "n_json_scalar"}
    ):
        # A number in JSON is the same number however it is written.
        value.set("this", value.name.replace("scalar", "text"))
    if kind == "DECIMAL" and not target.expressions:
        if isinstance(value, exp.Literal) and value.is_string:
            raise not_supported("a text as DECIMAL without digits: write DECIMAL(p, s)")
        target = exp.DataType.build("DECIMAL(38,0)")  # without digits it is a whole number
    return exp.Cast(this=value, to=target)


def _time(value: exp.Expr, kind: str, target: exp.DataType) -> exp.Expr:
    plain = exp.Cast(this=value, to=exp.DataType.build(kind))
    if isinstance(value, exp.Literal) and kind in {"TIMESTAMP", "TIMESTAMPTZ"}:
        text = value.name.strip()
        if kind == "TIMESTAMPTZ" and not _UTC.search(text):
            raise not_supported(f"time zones other than UTC: {text}")
        if _INSTANT.fullmatch(_UTC.sub("", text) if kind == "TIMESTAMPTZ" else text):
            return plain
    if kind == "DATE":
        return call("t_as_date", value)
    if kind == "TIMESTAMPTZ":
        return call("t_as_instant", value)
    if kind != "TIMESTAMP":
        return plain
    new = call("t_as_timestamp", value)
    digits = int(target.expressions[0].name) if target.expressions else 6
    return call("t_to_precision", new, _number(10 ** (6 - digits))) if digits < 6 else new


def _nested(value: exp.Expr, target: exp.DataType, types: Types) -> exp.Expr:
    """A cast of an array, a map or a row: value by value where they stand there."""
    parts = [part for part in target.expressions if isinstance(part, exp.Expr)]
    if (
        isinstance(value, exp.Array)
        and len(parts) == 1
        and isinstance(parts[0], exp.DataType)
        and value.expressions
    ):
        items = [_converted(item, parts[0].copy(), types) for item in value.expressions]
        return exp.Cast(this=exp.Array(expressions=items), to=target)
    row = value.expressions if isinstance(value, exp.Anonymous) and value.name == "row" else []
    kinds = [part.args.get("kind") if isinstance(part, exp.ColumnDef) else part for part in parts]
    fields = [kind for kind in kinds if isinstance(kind, exp.DataType)]
    if row and len(row) == len(fields) == len(kinds):
        items = [_converted(item, kind.copy(), types) for item, kind in zip(row, fields, strict=True)]
        return exp.Cast(this=call("row", *items), to=target)
    own = types.of(value)
    if own is not None and own.is_type("struct") and len(own.expressions) == len(fields) == len(kinds):
        # By place, where DuckDB goes by names.
        items = [
            _converted(call("struct_extract_at", value.copy(), _number(index)), kind.copy(), types)
            for index, kind in enumerate(fields, 1)
        ]
        there = exp.Is(this=value, expression=exp.Null())
        row_ = exp.Cast(this=call("row", *items), to=target)
        return exp.Case(ifs=[exp.If(this=there, true=exp.Null())], default=row_)
    inside = {part.this.name for part in target.find_all(exp.DataType)}
    if "STRUCT" in inside:
        value = call("t_no_rows", value)
    if inside & _TEXTS:
        value = call("t_nested_text", value)
    if inside & _INTEGERS:
        value = call("t_nested_int", value)
    return exp.Cast(this=value, to=target)


# --- operators -------------------------------------------------------------------------------------


def _group(kind: exp.DataType | None) -> str:
    if kind is None:
        return ""
    if kind.is_type(*exp.DataType.TEXT_TYPES):
        return "varchar"
    if kind.is_type(*exp.DataType.NUMERIC_TYPES):
        return "a number"
    if kind.is_type(*_TIMES):
        return "a date or timestamp"
    return "boolean" if kind.is_type("boolean") else ""


def _comparison(node: exp.Expr, types: Types) -> exp.Expr:
    """Trino compares only what is of like types; DuckDB makes one a like of the other."""
    if isinstance(node, exp.In):
        others = node.expressions
    elif isinstance(node, exp.Between):
        others = [node.args["low"], node.args["high"]]
    else:
        others = [node.expression]
    left = _group(types.sure(node.this))
    for other in others:
        right = _group(types.sure(other))
        if left and right and left != right:
            raise QueryFailedError(
                f"TYPE_MISMATCH: line 1:1: Cannot apply operator: {node.key}({left}, {right}): cast one"
            )
    return node


def _plus_minus(node: exp.Expr, types: Types) -> exp.Expr:
    name = "t_plus_interval" if isinstance(node, exp.Add) else "t_minus_interval"
    left, right = node.this, node.expression
    if is_interval(right) and not is_interval(left):
        return call(name, left, right)
    if is_interval(left) and not is_interval(right) and isinstance(node, exp.Add):
        return call(name, right, left)
    dates = [types.is_a(side, *_TIMES) for side in (left, right)]
    if all(dates) and isinstance(node, exp.Sub) and all(types.is_a(side, "date") for side in (left, right)):
        raise not_supported("the difference of two dates: use date_diff('day', a, b)")
    for date, other in ((dates[0], right), (dates[1], left)):
        if date and types.scale(other) not in {None, UNKNOWN}:
            raise QueryFailedError(
                "TYPE_MISMATCH: line 1:1: Cannot apply operator: a date and a number: use an interval"
            )
    return node


def _joined(node: exp.Expr, types: Types) -> exp.Expr:
    left, right = (types.is_a(side, "array") for side in (node.this, node.expression))
    if left and not right and types.of(node.expression) is not None:
        return call("list_append", node.this, node.expression)
    if right and not left and types.of(node.this) is not None:
        return call("list_prepend", node.this, node.expression)
    for side in (node.this, node.expression):
        if _group(types.sure(side)) not in {"", "varchar"}:
            raise QueryFailedError("TYPE_MISMATCH: line 1:1: '||' takes texts or arrays; cast it to varchar")
    return node


def _concat(node: exp.Expr, types: Types) -> exp.Expr:
    first, *others = node.expressions
    for other in others:
        first = _joined(exp.DPipe(this=first, expression=other), types)
    return exp.Paren(this=first)


# --- texts -----------------------------------------------------------------------------------------


def _trim(node: exp.Expr, _types: Types) -> exp.Expr:
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or "").upper(), "trim")
    return call(name, node.this, node.expression or _text(_WHITE))


def _pattern(node: exp.Expr) -> str | None:
    return patterns.regexp(node.expression.name) if isinstance(node.expression, exp.Literal) else None


def _regexp_like(node: exp.Expr, _types: Types) -> exp.Expr:
    if (pattern := _pattern(node)) is not None:
        node.set("expression", _text(pattern))
    return node


def _regexp_replace(node: exp.Expr, _types: Types) -> exp.Expr:
    pattern, new = _pattern(node), node.args.get("replacement")
    if new is not None and not isinstance(new, exp.Literal):
        raise not_supported("regexp_replace with a replacement that is no literal")
    if pattern is None and new is not None and ("$" in new.name or "\\" in new.name):
        raise not_supported("regexp_replace by groups of a pattern that is no literal")
    text = patterns.replacement(new.name, pattern or "") if new is not None else ""
    expression = node.expression if pattern is None else _text(pattern)
    return call("regexp_replace", node.this, expression, _text(text), _text("g"))


def _regexp_extract(node: exp.Expr, _types: Types) -> exp.Expr:
    pattern, group = _pattern(node), node.args.get("group") or _number(0)
    expression = node.expression if pattern is None else _text(pattern)
    whole = isinstance(group, exp.Literal) and group.name == "0"
    if isinstance(node, exp.RegexpExtractAll):
        if not whole:
            _take_part(pattern, group)
        return call("regexp_extract_all", node.this, expression, group)
    if whole:
        return call("t_extract", node.this, expression, group)
    if not isinstance(group, exp.Literal):
        raise not_supported("regexp_extract of a group that is no literal")
    if pattern is not None:
        patterns.check_group(pattern, int(group.name))
    sure = pattern is not None and not patterns.may_have_no_part(pattern)
    return call("t_extract" if sure else "t_maybe_extract", node.this, expression, group)


def _take_part(pattern: str | None, group: exp.Expr) -> None:
    if pattern is None or not isinstance(group, exp.Literal) or patterns.may_have_no_part(pattern):
        raise not_supported("regexp_extract_all of a group that may have no part in a match")
    patterns.check_group(pattern, int(group.name))


def _regexp_parts(node: exp.Expr, _types: Types) -> exp.Expr:
    pattern = _pattern(node)
    expression = node.expression if pattern is None else _text(pattern)
    if isinstance(node, exp.RegexpCount):
        return call("len", call("regexp_extract_all", node.this, expression))
    return call("regexp_split_to_array", node.this, expression)


def _listagg(node: exp.Expr, _types: Types) -> exp.Expr:
    node.set("on_overflow", None)  # it comes at a megabyte
    if node.args.get("separator") is None:
        node.set("separator", _text(""))
    return node


def _concat_ws(node: exp.Expr, _types: Types) -> exp.Expr:
    return call("concat_ws", *(call("t_string", item) for item in node.expressions))


# --- times -----------------------------------------------------------------------------------------


def _extract_field(node: exp.Expr, _types: Types) -> exp.Expr:
    field = node.this.name.upper()
    if field not in _FIELDS:
        raise not_supported(f"EXTRACT of {field}")
    return call(_FIELDS[field], node.expression)


def _formatted(node: exp.Expr, _types: Types) -> exp.Expr:
    pattern = node.args["format"]
    if not isinstance(pattern, exp.Literal):
        raise not_supported("a pattern of dates and times that is no literal")
    text = patterns.mysql(pattern.name)
    if isinstance(node, exp.TimeToStr):
        return call("strftime", node.this, _text(text))
    if not re.search("%[Yy]", text):
        raise not_supported("date_parse without a year")
    return _as(call("strptime", node.this, _text(text)), "TIMESTAMP")


def _parse_datetime(node: exp.Expr, _types: Types) -> exp.Expr:
    pattern = node.args.get("format")
    if not isinstance(pattern, exp.Literal):
        raise not_supported("parse_datetime with a pattern that is no literal")
    text = patterns.joda(pattern.name)
    if not re.search("%[Yy]", text):
        raise not_supported("parse_datetime without a year")
    return _as(call("strptime", node.this, _text(text)), "TIMESTAMPTZ")


def _from_unixtime(node: exp.Expr, _types: Types) -> exp.Expr:
    if node.args.get("zone") or node.args.get("hours"):
        raise not_supported("from_unixtime in another time zone than UTC")
    return node


def _zone(node: exp.Expr, value: exp.Expr, zone: exp.Expr) -> exp.Expr:
    """An instant in a time zone, which DuckDB has only as the local time there."""
    if isinstance(zone, exp.Literal) and zone.name.upper() == "UTC":
        return _as(value, "TIMESTAMPTZ")
    if isinstance(zone, exp.Literal) and _is_local(node):
        return call("timezone", zone, _as(value, "TIMESTAMPTZ"))
    raise not_supported("time zones other than UTC, but for their local dates, fields and formatted texts")


def _is_local(node: exp.Expr) -> bool:
    """Whether only the local time of a value in a time zone matters for what is made of it."""
    user = node.parent
    while isinstance(user, exp.DateTrunc | exp.TimestampTrunc | exp.Paren):
        user = user.parent
    if isinstance(user, exp.Cast):
        return bool(user.to.is_type("date", "timestamp"))
    return isinstance(user, _LOCAL) or (isinstance(user, exp.Anonymous) and user.name == "format_datetime")


# --- arrays, maps, rows, JSON ----------------------------------------------------------------------


def rows_of_values(tree: exp.Expr) -> None:
    """``VALUES ROW(1, 2)`` is the same as ``VALUES (1, 2)``."""
    for values in tree.find_all(exp.Values):
        for item in list(values.expressions):
            row = item.expressions[0] if isinstance(item, exp.Tuple) and len(item.expressions) == 1 else item
            if isinstance(row, exp.Struct):
                item.replace(exp.Tuple(expressions=row.expressions))


def mark_subscripts(tree: exp.Expr) -> None:
    """Remember which subscripts sqlglot has made to start from zero: where it sees no map or row."""
    for node in tree.find_all(exp.Bracket):
        kind = node.this.type
        node.meta[_FROM_ZERO] = kind is None or kind.is_type("unknown", "array")


def _bracket(node: exp.Expr, types: Types) -> exp.Expr:
    index, value = node.expressions[0], node.this
    offset = node.args.get("offset") or 0
    if (
        offset == 0
        and node.meta.get(_FROM_ZERO, True)
        and isinstance(index, exp.Literal)
        and not index.is_string
    ):
        index = _number(int(index.name) + 1)
    if node.args.get("safe"):
        return call("t_element", value, index)
    if types.is_a(value, "map") or (isinstance(index, exp.Literal) and index.is_string):
        return call("t_value", value, index)
    if types.is_a(value, "struct") or (isinstance(value, exp.Anonymous) and value.name == "row"):
        return call("struct_extract_at", value, index)
    return call("t_subscript", value, index)


def _cardinality(node: exp.Expr, types: Types) -> exp.Expr:
    is_map = types.is_a(node.this, "map") or isinstance(node.this, exp.Map | exp.ToMap)
    return call("cardinality" if is_map else "len", node.this)


def _sequence(node: exp.Expr, types: Types) -> exp.Expr:
    start, end, step = (node.args.get(key) for key in ("start", "end", "step"))
    if step is None and start is not None and types.is_a(start, "date"):
        step = exp.Interval(this=_text("1"), unit=exp.Var(this="DAY"))
    return call("t_sequence3" if step is not None else "t_sequence", start, end, step)


def _json_path(node: exp.Expr, name: str) -> exp.Expr:
    path = node.expression
    if isinstance(path, exp.JSONPath):
        path = _text(path.sql("duckdb").strip("'"))
    if isinstance(path, exp.Literal) and re.search(r"\*|\.\.|\?\(", path.name):
        raise not_supported(f"the JSON path {path.name}")
    return call(name, node.this, path)


def _map_agg(name: str, arguments: list[exp.Expr], node: exp.Expr) -> exp.Expr:
    """Two lists, side by side; without keys that are null."""
    key, value = arguments
    there = exp.Not(this=exp.Is(this=key.copy(), expression=exp.Null()))
    outer = node.parent if isinstance(node.parent, exp.Filter) else None
    condition = exp.and_(outer.expression.this.copy(), there) if outer is not None else there
    if isinstance((outer or node).parent, exp.Window):
        raise not_supported(f"{name} over a window")
    lists = [
        exp.Filter(this=call("list", part.copy()), expression=exp.Where(this=condition.copy()))
        for part in (key, value)
    ]
    new = call("map", *lists)
    if outer is None:
        return new
    outer.replace(new)
    return node


def _of_pairs(name: str, arguments: list[exp.Expr]) -> exp.Expr:
    """``zip_with`` and its like: a function of two values becomes one of their pair."""
    *lists, function = arguments
    if not isinstance(function, exp.Lambda) or len(function.expressions) != 2:
        raise not_supported(f"{name} without a function of two values")
    body = exp.Paren(this=function.this.copy())
    places = {part.name: index for index, part in enumerate(function.expressions, 1)}
    if any(part.name in places for inner in body.find_all(exp.Lambda) for part in inner.expressions):
        raise not_supported(f"{name} with a function in it whose values have the same names")
    for used in list(body.find_all(exp.Identifier)):
        is_name = isinstance(
            used.parent, exp.Column | exp.TableAlias | exp.Alias | exp.Lambda | exp.ColumnDef
        )
        is_field = isinstance(used.parent, exp.Dot) and used.arg_key == "expression"
        if used.name in places and not (is_name or is_field):
            used.replace(call("struct_extract_at", exp.to_identifier("pair"), _number(places[used.name])))
    if name == "zip_with":
        return call("list_transform", call("list_zip", *lists), _lambda(body.this))
    pairs = call("map_entries", *lists)
    if name == "map_filter":
        return call("map_from_entries", call("list_filter", pairs, _lambda(body.this)))
    key, value = (call("struct_extract_at", exp.to_identifier("pair"), _number(index)) for index in (1, 2))
    new = call("row", body.this, value) if name == "transform_keys" else call("row", key, body.this)
    return call("map_from_entries", call("list_transform", pairs, _lambda(new)))


def _lambda(body: exp.Expr) -> exp.Lambda:
    return exp.Lambda(this=body, expressions=[exp.to_identifier("pair")])


def _named(node: exp.Expr, _types: Types) -> exp.Expr:
    name, arguments = node.name.lower(), node.expressions
    if name == "map_agg" and len(arguments) == 2:
        return _map_agg(name, arguments, node)
    if name.startswith("t_") or name not in NAMED:
        return node
    if name == "format_datetime":
        if not isinstance(arguments[1], exp.Literal):
            raise not_supported("format_datetime with a pattern that is no literal")
        return call("strftime", arguments[0], _text(patterns.joda(arguments[1].name)))
    if name == "with_timezone":  # the same local time, elsewhere
        if not isinstance(arguments[1], exp.Literal) or arguments[1].name.upper() != "UTC":
            raise not_supported("with_timezone of another zone than UTC")
        return _as(arguments[0], "TIMESTAMPTZ")
    if name == "at_timezone":
        return _zone(node, arguments[0], arguments[1])
    if name in {"zip_with", "map_filter", "transform_keys", "transform_values"}:
        return _of_pairs(name, arguments)
    if name in {"any_match", "all_match", "none_match"}:
        tried = exp.Transform(this=arguments[0], expression=arguments[1])
        found = call("t_all" if name == "all_match" else "t_any", tried)
        return exp.Not(this=found) if name == "none_match" else found
    return call(NAMED[name], *arguments)


# What is made of the local time in a time zone.
_LOCAL = (
    exp.Date, exp.Year, exp.Quarter, exp.Month, exp.WeekOfYear, exp.Day, exp.DayOfMonth, exp.DayOfWeekIso,
    exp.DayOfYear, exp.Hour, exp.Minute, exp.Second, exp.Extract, exp.LastDay, exp.TimeToStr,
)  # fmt: skip
# Where a list in parentheses is no row.
_SETS = (
    exp.In,
    exp.Values,
    exp.Group,
    exp.GroupingSets,
    exp.Rollup,
    exp.Cube,
    exp.Insert,
    exp.Tuple,
    exp.Distinct,
)
RULES: dict[type[exp.Expr], Rule] = {
    exp.Div: _div,
    exp.Mod: _macro("t_mod", "this", "expression"),
    exp.Avg: _avg,
    exp.Sum: _sum,
    exp.Round: _round,
    exp.Trunc: _round,
    exp.Ceil: _macro("t_ceil", "this"),
    exp.Floor: _macro("t_floor", "this"),
    exp.Sign: _macro("t_sign", "this"),
    exp.Cbrt: _macro("t_cbrt", "this"),
    exp.Log: lambda node, _: call("t_log", node.this, node.expression) if node.expression else node,
    exp.IsNan: _macro("isnan", "this"),
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.Date: lambda node, _: call("t_as_date", node.this),
    exp.FromISO8601Date: _macro("t_as_date", "this"),
    exp.FromISO8601Timestamp: _macro("t_iso_instant", "this"),
    exp.Add: _plus_minus,
    exp.Sub: _plus_minus,
    exp.DPipe: _joined,
    exp.Concat: _concat,
    **dict.fromkeys(
        (
            exp.EQ,
            exp.NEQ,
            exp.GT,
            exp.GTE,
            exp.LT,
            exp.LTE,
            exp.In,
            exp.Between,
            exp.NullSafeEQ,
            exp.NullSafeNEQ,
        ),
        _comparison,
    ),
    exp.DateAdd: lambda node, _: call("t_date_add", _unit(node), node.expression, node.this),
    exp.DateDiff: lambda node, _: call("t_date_diff", _unit(node), node.expression, node.this),
    exp.DateTrunc: lambda node, _: call("t_date_trunc", _unit(node), node.this),
    exp.TimestampTrunc: lambda node, _: call("t_date_trunc", _unit(node), node.this),
    exp.TimeToUnix: _macro("t_to_unixtime", "this"),
    exp.UnixToTime: _from_unixtime,
    exp.TimeToStr: _formatted,
    exp.StrToTime: _formatted,
    exp.ParseDatetime: _parse_datetime,
    exp.Extract: _extract_field,
    exp.YearOfWeek: _macro("isoyear", "this"),
    exp.YearOfWeekIso: _macro("isoyear", "this"),
    exp.AtTimeZone: lambda node, _: _zone(node, node.this, node.args["zone"]),
    exp.CurrentTimezone: lambda node, _: _text("UTC"),
    exp.Trim: _trim,
    exp.Replace: lambda node, _: call(
        "t_replace", node.this, node.expression, node.args.get("replacement") or _text("")
    ),
    exp.Substring: lambda node, _: call(
        "t_substr3" if node.args.get("length") else "t_substr",
        node.this,
        node.args.get("start"),
        node.args.get("length"),
    ),
    exp.Split: _macro("t_split", "this", "expression"),
    exp.SplitPart: _macro("t_split_part", "this", "delimiter", "part_index"),
    exp.RegexpLike: _regexp_like,
    exp.RegexpExtract: _regexp_extract,
    exp.RegexpExtractAll: _regexp_extract,
    exp.RegexpReplace: _regexp_replace,
    exp.RegexpSplit: _regexp_parts,
    exp.RegexpCount: _regexp_parts,
    exp.StrToMap: _macro("t_split_to_map", "this", "pair_delim", "key_value_delim"),
    exp.Reverse: lambda node, types: (
        call("list_reverse", node.this) if types.is_a(node.this, "array") else node
    ),
    exp.Length: lambda node, types: (
        call("octet_length", node.this) if types.is_a(node.this, *_BINARY) else node
    ),
    exp.GroupConcat: _listagg,
    exp.ConcatWs: _concat_ws,
    exp.SHA: lambda node, _: call("unhex", call("sha1", node.this)),
    exp.Decode: _macro("decode", "this"),
    exp.JSONExtract: lambda node, _: _json_path(node, "t_json"),
    exp.JSONExtractScalar: lambda node, _: _json_path(node, "t_json_scalar"),
    exp.Struct: lambda node, _: call("row", *node.expressions),
    exp.Tuple: lambda node, _: node if isinstance(node.parent, _SETS) else call("row", *node.expressions),
    exp.Bracket: _bracket,
    exp.ArraySize: _cardinality,
    exp.ArraySlice: _macro("t_slice", "this", "start", "end"),
    exp.ArraySort: _macro("t_array_sort", "this"),
    exp.ArrayToString: lambda node, _: call(
        "t_array_join3" if node.args.get("null") else "t_array_join",
        node.this,
        node.expression,
        node.args.get("null"),
    ),
    exp.ArrayMax: _macro("t_array_max", "this"),
    exp.ArrayMin: _macro("t_array_min", "this"),
    exp.ArrayContains: _macro("t_contains", "this", "expression"),
    exp.ArrayDistinct: _macro("t_array_distinct", "this"),
    exp.ArrayIntersect: lambda node, _: call("t_array_intersect", *node.expressions),
    exp.ArrayExcept: _macro("t_array_except", "this", "expression"),
    exp.ArrayPosition: _macro("t_array_position", "this", "expression"),
    exp.ArrayRemove: _macro("t_array_remove", "this", "expression"),
    exp.Repeat: _macro("t_repeat", "this", "times"),
    exp.GenerateSeries: _sequence,
    exp.ArgMax: _macro("arg_max_null", "this", "expression"),
    exp.ArgMin: _macro("arg_min_null", "this", "expression"),
    exp.Anonymous: _named,
}
