"""Numbers: quotients, averages and sums have the digits that Trino gives them."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from emulator.athena.errors import not_supported
from emulator.athena.inference import BIG, UNKNOWN, Types, keep_mark
from emulator.athena.rules.nodes import as_type, call, number, string

_EXACT = "exact"  # its digits leave no doubt


def _decimal(left: exp.Expr, right: exp.Expr, scale: int) -> exp.Expr:
    """Left / right, half up, with ``scale`` digits behind the point."""

    def unscaled(side: exp.Expr) -> exp.Expr:
        return call("t_unscaled", as_type(side, f"DECIMAL(38,{scale})"))

    # What is said so often is computed as often: so only where the digits are not sure.
    exact = all(side.meta.get(_EXACT) for side in (left, right))
    checked = left if exact else call("t_exact", left, right.copy(), number(scale))
    dividend = exp.Mul(this=unscaled(checked), expression=as_type(string("1" + "0" * scale), "HUGEINT"))
    quotient: exp.Expr = as_type(call("t_quotient", dividend, unscaled(right)), f"DECIMAL({38 - scale},0)")
    if scale > 0:
        unit = as_type(string("0." + "0" * (scale - 1) + "1"), f"DECIMAL({scale},{scale})")
        quotient = exp.Paren(this=exp.Mul(this=quotient, expression=unit))
    quotient.meta[_EXACT] = True
    return quotient


def division(node: exp.Expr, types: Types) -> exp.Expr:
    """``/``: of decimals with the digits of the longer one, of integers without a fraction."""
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
        as_type(side, "BIGINT") if digits == BIG else side
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


def average(node: exp.Expr, types: Types) -> exp.Expr:
    """``avg``: of decimals with their digits."""
    scale = types.scale(node.this)
    if types.is_a(node.this, "float"):
        return _around(node, lambda outer: as_type(outer, "FLOAT"))
    if scale is not None and (scale > 0 or types.is_a(node.this, "decimal")):
        return _around(node, lambda outer: _avg_of_decimals(outer, max(scale, 0)))
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


def sum_(node: exp.Expr, types: Types) -> exp.Expr:
    """``sum``: of reals a real."""
    if types.is_a(node.this, "float"):
        return _around(node, lambda outer: as_type(outer, "FLOAT"))
    return node


def rounded(node: exp.Expr, _types: Types) -> exp.Expr:
    """``round`` and ``truncate``, which leave a decimal its digits."""
    name = "trunc" if isinstance(node, exp.Trunc) else "round"
    digits = node.args.get("decimals")
    return call(f"t_{name}" if digits is not None else name, node.this, digits)
