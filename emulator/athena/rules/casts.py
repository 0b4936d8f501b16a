"""Casts, of which DuckDB allows more and rounds other than Trino."""

from __future__ import annotations

import re

from sqlglot import exp

from emulator.athena.errors import not_supported
from emulator.athena.inference import Types
from emulator.athena.rules.nodes import call, number

_INTEGERS = {"TINYINT", "SMALLINT", "INT", "INTEGER", "BIGINT"}


_TEXTS = {"VARCHAR", "TEXT", "CHAR", "NCHAR", "BPCHAR"}


_UTC = re.compile(r"(?:UTC|Z|[+-]00:00)$")


_INSTANT = re.compile(r"\s*\d{4,}-\d{1,2}-\d{1,2}(?: \d{1,2}:\d{1,2}(?::\d{1,2}(?:[.]\d+)?)?)?\s*")


def cast(node: exp.Expr, types: Types) -> exp.Expr:
    """CAST and TRY_CAST."""
    new = _converted(node.this, node.args["to"], types)
    return exp.Try(this=new) if isinstance(node, exp.TryCast) else new


def _converted(value: exp.Expr, target: exp.DataType, types: Types) -> exp.Expr:
    kind = target.this.name
    if kind in _TEXTS:
        if kind not in {"VARCHAR", "TEXT"}:
            raise not_supported("the type char(n): use varchar")
        new = call("t_text", value)
        if target.expressions:
            return call("substr", new, number(1), number(int(target.expressions[0].name)))
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
    return call("t_to_precision", new, number(10 ** (6 - digits))) if digits < 6 else new


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
            _converted(call("struct_extract_at", value.copy(), number(index)), kind.copy(), types)
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
