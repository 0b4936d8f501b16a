"""Types of a query's expressions, as far as they can be known before it runs. No input or output.

Trino chooses by types what DuckDB does not: how many digits a quotient of decimals has, whether a
difference of dates is allowed, whether a subscript is one of an array or of a map. What is not known here
is looked at by the macros of :mod:`emulator.athena.functions` when the query runs, or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlglot import Dialect, exp
from sqlglot.optimizer.annotate_types import TypeAnnotator, annotate_types
from sqlglot.optimizer.qualify import qualify

from emulator.athena.names import TableName

BIG = -2  # instead of the digits of a decimal: an integer that DuckDB may hold in 128 bits
UNKNOWN = -1
_MARK = "node"
_DUCKDB: dict[Any, dict[str, Any]] = dict(Dialect.get_or_raise("duckdb").EXPRESSION_METADATA)
_WIDTH = 38
# Functions that have the digits of their first argument, and whole numbers.
_AS_ARGUMENT = (
    exp.Paren, exp.Neg, exp.Min, exp.Max, exp.Sum, exp.Avg, exp.AnyValue, exp.Abs, exp.Window, exp.Filter,
    exp.Distinct, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.NthValue, exp.IgnoreNulls,
    exp.RespectNulls, exp.ArgMax, exp.ArgMin, exp.Nullif,
)  # fmt: skip
_ROUNDED = (exp.Round, exp.Trunc, exp.Ceil, exp.Floor)


class Types:
    """What is known of the types in a query.

    Args:
        twins: By a node's mark, its counterpart in an annotated copy of the query.
        tables: What the query calls its tables; not its subqueries.
    """

    def __init__(self, twins: Mapping[int, exp.Expr], tables: frozenset[str] = frozenset()) -> None:
        self._twins = twins
        self._tables = tables

    def of(self, node: exp.Expr) -> exp.DataType | None:
        """The type of a node; None if it is not known."""
        twin = self._twins.get(node.meta.get(_MARK, 0))
        kind = twin.type if twin is not None else None
        return None if kind is None or kind.is_type("unknown", "null") else kind

    def sure(self, node: exp.Expr) -> exp.DataType | None:
        """The type of what leaves no doubt: a literal, a cast, a column of a table."""
        twin = self._twins.get(node.meta.get(_MARK, 0))
        if isinstance(twin, exp.Neg | exp.Paren):
            twin = twin.this
        if isinstance(twin, exp.Column) and twin.table not in self._tables:
            return None
        return self.of(node) if isinstance(twin, exp.Literal | exp.Cast | exp.Boolean | exp.Column) else None

    def is_a(self, node: exp.Expr, *kinds: str) -> bool:
        """Whether a node is known to be of one of these types."""
        kind = self.of(node)
        return kind is not None and kind.is_type(*kinds)

    def scale(self, node: exp.Expr) -> int | None:
        """Digits behind the point.

        Returns:
            None for what is no decimal and no integer, :data:`UNKNOWN`, or :data:`BIG`.
        """
        twin = self._twins.get(node.meta.get(_MARK, 0))
        if twin is None:
            return UNKNOWN
        known, scale = _scale(twin)
        if not known:
            return UNKNOWN
        return BIG if scale == 0 and _is_big(twin) else scale


def infer(tree: exp.Expr, schema: Mapping[TableName, Mapping[str, str]]) -> Types:
    """Find out the types in a query.

    Args:
        tree: The query; its nodes are marked.
        schema: DuckDB's types of the tables' columns.
    """
    for node in tree.walk():
        node.meta[_MARK] = id(node)
    nested: dict[str, object] = {table.key: dict(columns) for table, columns in schema.items()}
    try:
        copy = qualify(
            tree.copy(),
            schema=nested,
            dialect="duckdb",
            validate_qualify_columns=False,
            quote_identifiers=False,
            expand_stars=True,
        )
        copy = annotate_types(copy, schema=nested, dialect="duckdb", expression_metadata=_METADATA)
    except Exception:  # whatever it is: then types are not known
        return Types({})
    tables = frozenset(table.alias_or_name for table in copy.find_all(exp.Table) if table.name in nested)
    return Types({node.meta[_MARK]: node for node in copy.walk() if _MARK in node.meta}, tables)


def keep_mark(node: exp.Expr, new: exp.Expr) -> None:
    """What takes the place of a node has its type, too."""
    if _MARK in node.meta:
        new.meta[_MARK] = node.meta[_MARK]


# --- digits ----------------------------------------------------------------------------------------


def _is_big(node: exp.Expr) -> bool:
    """Whether an integer may be one of DuckDB's 128 bits, as its sums are; Trino's are of 64."""
    if isinstance(node, exp.Literal):
        return False
    return (
        node.find(exp.Sum) is not None
        or node.type is None
        or not node.type.is_type("int", "smallint", "tinyint")
    )


def _scale(node: exp.Expr) -> tuple[bool, int | None]:  # noqa: PLR0912  (a table of kinds)
    """Whether a type is known, and its digits behind the point if it is a decimal or an integer."""
    if isinstance(node, exp.Literal):
        if node.is_string:
            return False, None
        text = node.name.lower()
        return True, None if "e" in text else (len(text.partition(".")[2]) if "." in text else 0)
    if isinstance(node, _AS_ARGUMENT):
        return _scale(node.this if not isinstance(node, exp.Distinct) else node.expressions[0])
    if isinstance(node, _ROUNDED):
        known, scale = _scale(node.this)
        digits = node.args.get("decimals")
        return known, scale if not known or scale is None or digits is not None else 0
    if isinstance(node, exp.Count | exp.CountIf):
        return True, 0
    if isinstance(node, exp.Mul):
        return _together([node.this, node.expression], sum)
    if isinstance(node, exp.Add | exp.Sub | exp.Div | exp.Mod):
        return _together([node.this, node.expression])
    if isinstance(node, exp.Case):
        return _together([*(item.args["true"] for item in node.args["ifs"]), node.args.get("default")])
    if isinstance(node, exp.If):
        return _together([node.args["true"], node.args.get("false")])
    if isinstance(node, exp.Coalesce | exp.Least | exp.Greatest):
        return _together([node.this, *node.expressions])
    kind = node.to if isinstance(node, exp.Cast) else node.type
    if kind is None or kind.is_type("unknown", "null"):
        return False, None
    if kind.is_type("decimal"):
        digits = kind.expressions
        return (True, int(digits[1].name) if len(digits) > 1 else 0) if digits else (False, None)
    if kind.is_type(*exp.DataType.INTEGER_TYPES):
        return True, 0
    return True, None


def _together(
    parts: list[exp.Expr | None], combine: Callable[[list[int]], int] = max
) -> tuple[bool, int | None]:
    scales = [_scale(part) for part in parts if part is not None and not isinstance(part, exp.Null)]
    if not scales or any(not known for known, _ in scales):
        return False, None
    found = [scale for _, scale in scales if scale is not None]
    return True, combine(found) if len(found) == len(scales) else None


# --- annotation ------------------------------------------------------------------------------------


def _annotate_decimal(annotator: TypeAnnotator, node: exp.Expr) -> exp.Expr:
    """Types of numbers by Trino's rules: a decimal's digits are what they are there."""
    known, scale = _scale(node)
    if not known:
        return _annotate_time(annotator, node)
    if scale is None or (scale == 0 and not any(_is_decimal(child) for child in node.iter_expressions())):
        return _by_default(annotator, node)
    return annotator._set_type(node, exp.DataType.build(f"DECIMAL({_WIDTH},{scale})"))


def _is_decimal(node: exp.Expr) -> bool:
    return node.type is not None and node.type.is_type("decimal")


def _annotate_literal(annotator: TypeAnnotator, node: exp.Expr) -> exp.Expr:
    text = node.name.lower()
    if not isinstance(node, exp.Literal) or node.is_string or "." not in text or "e" in text:
        return annotator._annotate_literal(node)  # type: ignore[arg-type]
    whole, _, fraction = text.partition(".")
    digits = max(len(whole.lstrip("0")) + len(fraction), 1)
    return annotator._set_type(node, exp.DataType.build(f"DECIMAL({digits},{len(fraction)})"))


def _annotate_time(annotator: TypeAnnotator, node: exp.Expr) -> exp.Expr:
    """A date and an interval are a date in Trino."""
    for side in (node.args.get("this"), node.args.get("expression")):
        if isinstance(node, exp.Add | exp.Sub) and isinstance(side, exp.Expr) and side.is_type("date"):
            other = node.expression if side is node.this else node.this
            if is_interval(other):
                return annotator._set_type(node, exp.DType.DATE)
    if any(
        not isinstance(side, exp.Expr) or side.type is None or side.is_type("unknown")
        for side in (node.args.get("this"), node.args.get("expression"))
    ):
        return annotator._set_type(node, exp.DType.UNKNOWN)
    return _by_default(annotator, node)


def _annotate_as_value(annotator: TypeAnnotator, node: exp.Expr) -> exp.Expr:
    return annotator._set_type(node, node.this.type)


def _by_default(annotator: TypeAnnotator, node: exp.Expr) -> exp.Expr:
    spec = _DUCKDB.get(type(node)) or {}
    if annotate := spec.get("annotator"):
        annotate(annotator, node)
        return node
    return annotator._set_type(node, spec.get("returns"))


def is_interval(node: exp.Expr) -> bool:
    """Whether an expression is an interval, as far as it shows."""
    if isinstance(node, exp.Paren | exp.Neg):
        return is_interval(node.this)
    if isinstance(node, exp.Mul | exp.Div | exp.Add | exp.Sub):
        return is_interval(node.this) or (not isinstance(node, exp.Div) and is_interval(node.expression))
    return isinstance(node, exp.Interval)


_METADATA: Any = {
    **_DUCKDB,
    **{
        kind: {"annotator": _annotate_decimal}
        for kind in (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Sum, exp.Avg, *_ROUNDED)
    },
    **{kind: {"annotator": _annotate_as_value} for kind in (exp.DateAdd, exp.DateTrunc, exp.TimestampTrunc)},
    exp.Literal: {"annotator": _annotate_literal},
}
