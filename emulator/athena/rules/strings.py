"""Texts: white space, regular expressions, joining."""

from __future__ import annotations

from sqlglot import exp

from emulator.athena import patterns
from emulator.athena.errors import not_supported
from emulator.athena.inference import Types
from emulator.athena.rules.nodes import call, number, string

_WHITE = "".join(map(chr, (9, 10, 11, 12, 13, 28, 29, 30, 31, 32)))  # what Java takes for white space


def trim(node: exp.Expr, _types: Types) -> exp.Expr:
    """``trim``, ``ltrim``, ``rtrim``: of all white space."""
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position") or "").upper(), "trim")
    return call(name, node.this, node.expression or string(_WHITE))


def _pattern(node: exp.Expr) -> str | None:
    return patterns.regexp(node.expression.name) if isinstance(node.expression, exp.Literal) else None


def regexp_like(node: exp.Expr, _types: Types) -> exp.Expr:
    """``regexp_like``."""
    if (pattern := _pattern(node)) is not None:
        node.set("expression", string(pattern))
    return node


def regexp_replace(node: exp.Expr, _types: Types) -> exp.Expr:
    """``regexp_replace``, with Java's references to groups."""
    pattern, new = _pattern(node), node.args.get("replacement")
    if new is not None and not isinstance(new, exp.Literal):
        raise not_supported("regexp_replace with a replacement that is no literal")
    if pattern is None and new is not None and ("$" in new.name or "\\" in new.name):
        raise not_supported("regexp_replace by groups of a pattern that is no literal")
    text = patterns.replacement(new.name, pattern or "") if new is not None else ""
    expression = node.expression if pattern is None else string(pattern)
    return call("regexp_replace", node.this, expression, string(text), string("g"))


def regexp_extract(node: exp.Expr, _types: Types) -> exp.Expr:
    """``regexp_extract`` and ``regexp_extract_all``: null where a group has no part."""
    pattern, group = _pattern(node), node.args.get("group") or number(0)
    expression = node.expression if pattern is None else string(pattern)
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


def regexp_parts(node: exp.Expr, _types: Types) -> exp.Expr:
    """``regexp_count`` and ``regexp_split``."""
    pattern = _pattern(node)
    expression = node.expression if pattern is None else string(pattern)
    if isinstance(node, exp.RegexpCount):
        return call("len", call("regexp_extract_all", node.this, expression))
    return call("regexp_split_to_array", node.this, expression)


def listagg(node: exp.Expr, _types: Types) -> exp.Expr:
    """``listagg``, by default without a separator."""
    node.set("on_overflow", None)  # it comes at a megabyte
    if node.args.get("separator") is None:
        node.set("separator", string(""))
    return node


def concat_ws(node: exp.Expr, _types: Types) -> exp.Expr:
    """``concat_ws``, of texts."""
    return call("concat_ws", *(call("t_string", item) for item in node.expressions))
