"""Nodes of DuckDB's SQL, and the simplest of rules."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from emulator.athena.inference import Types

Rule = Callable[[exp.Expr, Types], exp.Expr]


def call(name: str, *arguments: exp.Expr | None) -> exp.Anonymous:
    """A call of a function of DuckDB."""
    return exp.Anonymous(this=name, expressions=[argument for argument in arguments if argument is not None])


def string(value: str) -> exp.Literal:
    """A text."""
    return exp.Literal.string(value)


def number(value: int) -> exp.Expr:
    """A number."""
    return exp.Literal.number(value)


def as_type(value: exp.Expr, kind: str) -> exp.Cast:
    """A cast; unlike ``exp.cast`` it does not take decimals of any digits for the same type."""
    return exp.Cast(this=value, to=exp.DataType.build(kind, dialect="duckdb"))


def unit(node: exp.Expr) -> exp.Literal:
    """The unit of ``date_add`` and its like."""
    unit = node.args.get("unit")
    return string(unit.name.lower() if unit is not None else "day")


def macro(name: str, *keys: str) -> Rule:
    """A rule: call a macro with these parts of the node."""
    return lambda node, _: call(name, *(node.args.get(key) for key in keys))
