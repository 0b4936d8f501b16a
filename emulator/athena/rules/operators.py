"""Operators, which Trino has only for values of like types."""

from __future__ import annotations

from sqlglot import exp

from emulator.athena.errors import QueryFailedError, not_supported
from emulator.athena.inference import UNKNOWN, Types, is_interval
from emulator.athena.rules.nodes import call

_TIMES = ("date", "timestamp", "timestamptz", "timestamp_ns", "timestamp_ms", "timestamp_s")


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


def comparison(node: exp.Expr, types: Types) -> exp.Expr:
    """Trino compares only what is of like types; DuckDB makes one a like of the other."""
    if isinstance(node, exp.In):
        others = node.expressions
    elif isinstance(node, exp.Between):
        others = [node.args["low"], node.args["high"]]
    else:
        others = [node.expression]
    if isinstance(node, exp.EQ | exp.NEQ | exp.NullSafeEQ | exp.NullSafeNEQ) and all(
        types.is_a(side, "map") for side in (node.this, node.expression)
    ):  # in whatever order its keys are
        for key in ("this", "expression"):
            node.set(key, call("list_sort", call("map_entries", node.args[key])))
        return node
    left = _group(types.sure(node.this))
    for other in others:
        right = _group(types.sure(other))
        if left and right and left != right:
            raise QueryFailedError(
                f"TYPE_MISMATCH: line 1:1: Cannot apply operator: {node.key}({left}, {right}): cast one"
            )
    return node


def plus_minus(node: exp.Expr, types: Types) -> exp.Expr:
    """``+`` and ``-``: a date and an interval are a date."""
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


def joined(node: exp.Expr, types: Types) -> exp.Expr:
    """``||``, of texts or arrays."""
    left, right = (types.is_a(side, "array") for side in (node.this, node.expression))
    if left and not right and types.of(node.expression) is not None:
        return call("list_append", node.this, node.expression)
    if right and not left and types.of(node.this) is not None:
        return call("list_prepend", node.this, node.expression)
    for side in (node.this, node.expression):
        if _group(types.sure(side)) not in {"", "varchar"}:
            raise QueryFailedError("TYPE_MISMATCH: line 1:1: '||' takes texts or arrays; cast it to varchar")
    return node


def concat(node: exp.Expr, types: Types) -> exp.Expr:
    """``concat``, which is null where one of its arguments is."""
    first, *others = node.expressions
    for other in others:
        first = joined(exp.DPipe(this=first, expression=other), types)
    return exp.Paren(this=first)
