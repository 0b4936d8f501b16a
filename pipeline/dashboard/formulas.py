"""Formulas of key figures, taken apart: what is aggregated over rows, and what is done with the results.

``sum(paid) / nullif(sum(due), 0)`` becomes the parts ``sum(paid)`` and ``sum(due)``, which can be added up
over any groups of rows, and an expression of the two, which a browser can work out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

Kind = Literal["sum", "min", "max"]

# An expression as JSON can hold it: a number, or an operator and its operands. ["part", 0] is the first part.
Expression = float | list["str | int | Expression"]

# How the results of two groups become that of both. A count of both is the sum of their counts.
_MERGED: Final[dict[type[exp.Expr], Kind]] = {
    exp.Sum: "sum",
    exp.Count: "sum",
    exp.Min: "min",
    exp.Max: "max",
}
_BINARY: Final[dict[type[exp.Expr], str]] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/"}


@dataclass(frozen=True)
class Part:
    """An aggregate whose results for groups of rows give that for all of them.

    Attributes:
        sql: The aggregate, in DuckDB's SQL.
        kind: How results are merged: ``sum``, ``min`` or ``max``. Null counts for nothing.
        empty: What it is when there are no rows: 0 for counts, otherwise null.
    """

    sql: str
    kind: Kind
    empty: int | None


@dataclass(frozen=True)
class Formula:
    """A formula taken apart.

    Attributes:
        parts: What is aggregated over rows, each once.
        expression: What is done with the results.
        columns: Columns of the table that it reads.
    """

    parts: tuple[Part, ...]
    expression: Expression
    columns: frozenset[str]


@cache
def take_apart(formula: str) -> Formula:
    """Take a formula apart.

    >>> take_apart("sum(paid) / nullif(sum(due), 0)").expression
    ['/', ['part', 0], ['nullif', ['part', 1], 0.0]]

    Raises:
        ValueError: It is not an expression of sums, counts, minima and maxima, so its value for a selection
            could not be had from the values of groups.
    """
    try:
        tree = sqlglot.parse_one(formula, dialect="duckdb")
    except SqlglotError as error:
        raise ValueError(f"not an SQL expression: {formula}") from error
    parts: dict[str, Part] = {}
    expression = _expression(tree, parts)
    columns = frozenset(column.name for column in tree.find_all(exp.Column))
    return Formula(tuple(parts.values()), expression, columns)


def _expression(tree: exp.Expr, parts: dict[str, Part]) -> Expression:
    merged = _MERGED.get(type(tree))
    if merged:
        if tree.find(exp.Distinct):
            raise ValueError(f"values that are counted once cannot be added up over groups: {tree.sql()}")
        sql = tree.sql(dialect="duckdb")
        empty = 0 if isinstance(tree, exp.Count) else None
        parts.setdefault(sql, Part(sql, merged, empty))
        return ["part", list(parts).index(sql)]
    if operator := _BINARY.get(type(tree)):
        return [operator, _expression(tree.left, parts), _expression(tree.right, parts)]  # type: ignore[attr-defined]
    if isinstance(tree, exp.Paren | exp.Cast):
        if isinstance(tree, exp.Cast) and tree.to.this != exp.DType.DOUBLE:
            raise ValueError(f"only DOUBLE may be cast to: {tree.sql()}")
        return _expression(tree.this, parts)
    if isinstance(tree, exp.Neg):
        return ["-", 0.0, _expression(tree.this, parts)]
    if isinstance(tree, exp.Nullif):
        return ["nullif", _expression(tree.this, parts), _expression(tree.expression, parts)]
    if isinstance(tree, exp.Coalesce):
        return ["coalesce", *(_expression(item, parts) for item in (tree.this, *tree.expressions))]
    if isinstance(tree, exp.Literal) and not tree.is_string:
        return float(tree.name)
    raise ValueError(f"this cannot be worked out from groups: {tree.sql()}")
