"""Arrays, maps, rows and JSON."""

from __future__ import annotations

import re

from sqlglot import exp

from emulator.athena.errors import not_supported
from emulator.athena.inference import Types
from emulator.athena.rules.nodes import call, number, string

_FROM_ZERO = "from zero"


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


def bracket(node: exp.Expr, types: Types) -> exp.Expr:
    """A subscript: of an array, a map or a row."""
    index, value = node.expressions[0], node.this
    offset = node.args.get("offset") or 0
    if (
        offset == 0
        and node.meta.get(_FROM_ZERO, True)
        and isinstance(index, exp.Literal)
        and not index.is_string
    ):
        index = number(int(index.name) + 1)
    if node.args.get("safe"):
        return call("t_element", value, index)
    if types.is_a(value, "map") or (isinstance(index, exp.Literal) and index.is_string):
        return call("t_value", value, index)
    if types.is_a(value, "struct") or (isinstance(value, exp.Anonymous) and value.name == "row"):
        return call("struct_extract_at", value, index)
    return call("t_subscript", value, index)


def cardinality(node: exp.Expr, types: Types) -> exp.Expr:
    """``cardinality``, of an array or a map."""
    is_map = types.is_a(node.this, "map") or isinstance(node.this, exp.Map | exp.ToMap)
    return call("cardinality" if is_map else "len", node.this)


def sequence(node: exp.Expr, types: Types) -> exp.Expr:
    """``sequence``, upwards or downwards, also of dates."""
    start, end, step = (node.args.get(key) for key in ("start", "end", "step"))
    if step is None and start is not None and types.is_a(start, "date"):
        return call("t_sequence_days", start, end)
    if (months := _months(step)) is not None:
        return call("t_sequence_months", start, end, number(months))
    return call("t_sequence3" if step is not None else "t_sequence", start, end, step)


def _months(step: exp.Expr | None) -> int | None:
    """The months of an interval of months or years; None if it is none."""
    sign = 1
    while isinstance(step, exp.Neg | exp.Paren):
        sign, step = sign * (-1 if isinstance(step, exp.Neg) else 1), step.this
    unit = step.args.get("unit") if isinstance(step, exp.Interval) else None
    months = {"MONTH": 1, "YEAR": 12}.get(unit.name.upper()) if unit is not None else None
    if step is None or months is None:
        return None
    return sign * months * int(step.this.name)


def json_path(node: exp.Expr, name: str) -> exp.Expr:
    """``json_extract`` and ``json_extract_scalar``, by a path to one value."""
    path = node.expression
    if isinstance(path, exp.JSONPath):
        path = string(path.sql("duckdb")[1:-1].replace("''", "'"))
    if isinstance(path, exp.Literal) and re.search(r"\*|\.\.|\?\(", path.name):
        raise not_supported(f"the JSON path {path.name}")
    return call(name, node.this, path)


def map_agg(name: str, arguments: list[exp.Expr], node: exp.Expr) -> exp.Expr:
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


def of_pairs(name: str, arguments: list[exp.Expr]) -> exp.Expr:
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
            used.replace(call("struct_extract_at", exp.to_identifier("pair"), number(places[used.name])))
    if name == "zip_with":
        return call("list_transform", call("list_zip", *lists), _lambda(body.this))
    pairs = call("map_entries", *lists)
    if name == "map_filter":
        return call("map_from_entries", call("list_filter", pairs, _lambda(body.this)))
    key, value = (call("struct_extract_at", exp.to_identifier("pair"), number(index)) for index in (1, 2))
    new = call("row", body.this, value) if name == "transform_keys" else call("row", key, body.this)
    return call("map_from_entries", call("list_transform", pairs, _lambda(new)))


def _lambda(body: exp.Expr) -> exp.Lambda:
    return exp.Lambda(this=body, expressions=[exp.to_identifier("pair")])
