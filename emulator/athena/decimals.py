"""How many digits decimals have: Trino's divisions and averages depend on it, DuckDB's do not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlglot import exp
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

from emulator.athena.names import TableName

BIG = -2  # instead of the digits of a decimal: an integer that DuckDB may hold in 128 bits
Scales = Mapping[int, int | None]


def decimal_scales(tree: exp.Expr, schema: Mapping[TableName, Mapping[str, str]]) -> dict[int, int | None]:
    """Digits behind the point of the operands of divisions and averages, by the operand's mark.

    None: it is not a decimal. What is not in it is not known.
    """
    wanted = list(tree.find_all(exp.Div, exp.Avg))
    if not wanted:
        return {}
    operands = [
        operand
        for node in wanted
        for operand in (node.args.get("this"), node.args.get("expression"))
        if operand
    ]
    for operand in operands:
        operand.meta["operand"] = id(operand)
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
        copy = annotate_types(copy, schema=nested, dialect="duckdb")
    except Exception:  # whatever it is: then types are not known, and decimals are refused
        return {}
    found: dict[int, int | None] = {}
    for node in copy.walk():
        mark = node.meta.get("operand")
        if mark is not None:
            known, scale = _scale(node)
            if known:
                found[mark] = BIG if scale == 0 and _is_big(node) else scale
    return found


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
    """Whether a type is known, and its digits behind the point if it is a decimal."""
    if isinstance(node, exp.Literal):
        if node.is_string:
            return False, None
        text = node.name.lower()
        return True, None if "e" in text else (len(text.partition(".")[2]) if "." in text else 0)
    if isinstance(
        node,
        exp.Paren
        | exp.Neg
        | exp.Min
        | exp.Max
        | exp.Sum
        | exp.Avg
        | exp.AnyValue
        | exp.Abs
        | exp.Window
        | exp.Filter
        | exp.Distinct,
    ):
        return _scale(node.this if not isinstance(node, exp.Distinct) else node.expressions[0])
    if isinstance(node, exp.Count):
        return True, 0
    if isinstance(node, exp.Mul):
        return _both(node, lambda a, b: a + b)
    if isinstance(node, exp.Add | exp.Sub | exp.Div):
        return _both(node, max)
    if isinstance(node, exp.Coalesce | exp.Case | exp.If | exp.Nullif):
        if isinstance(node, exp.Case):
            parts = [item.args["true"] for item in node.args["ifs"]] + [node.args.get("default")]
        elif isinstance(node, exp.If):
            parts = [node.args["true"], node.args.get("false")]
        else:
            parts = [node.this, *node.expressions] if isinstance(node, exp.Coalesce) else [node.this]
        scales = [_scale(part) for part in parts if part is not None and not isinstance(part, exp.Null)]
        if any(not known for known, _ in scales):
            return False, None
        if any(scale is None for _, scale in scales):
            return True, None
        return True, max(scale or 0 for _, scale in scales)
    kind = node.to if isinstance(node, exp.Cast) else node.type
    if kind is None or kind.is_type("unknown"):
        return False, None
    if kind.is_type("decimal"):
        digits = kind.expressions
        return (True, int(digits[1].name) if len(digits) > 1 else 0) if digits else (False, None)
    if kind.is_type(*exp.DataType.INTEGER_TYPES):
        return True, 0
    return True, None


def _both(node: exp.Expr, combine: Callable[[int, int], int]) -> tuple[bool, int | None]:
    (left_known, left), (right_known, right) = _scale(node.this), _scale(node.expression)
    if not (left_known and right_known):
        return False, None
    return True, None if left is None or right is None else combine(left, right)
