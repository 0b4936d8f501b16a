"""Key figures as QuickSight writes them, so that its analysis says what the dashboard says.

The formulas of :mod:`pipeline.gold.kpis` become expressions of QuickSight's calculated fields, which
`finlake infra sync` writes for Terraform's module of that name.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import sqlglot
from sqlglot import exp

from pipeline.gold.kpis import KPIS
from pipeline.gold.mart import Mart

_BINARY: Final[dict[type[exp.Expr], str]] = {
    exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/", exp.EQ: "=", exp.NEQ: "<>", exp.GT: ">",
    exp.GTE: ">=", exp.LT: "<", exp.LTE: "<=", exp.And: "AND", exp.Or: "OR",
}  # fmt: skip
_AGGREGATES: Final[dict[type[exp.Expr], str]] = {
    exp.Sum: "sum", exp.Count: "count", exp.Min: "min", exp.Max: "max",
}  # fmt: skip


def quicksight_kpis(marts: Iterable[Mart]) -> dict[str, dict[str, Any]]:
    """The key figures of these marts, by name, as Terraform's module wants them.

    Returns:
        ``title``, ``mart``, ``expression``, ``unit``, ``owner``, and ``by``: the column along a chart's axis,
        with its ``type``. Figures whose columns a mart does not have are left out.
    """
    known = {mart.name: {column.name: column for column in mart.columns} for mart in marts}
    found = {}
    for kpi in KPIS:
        layer, table = kpi.table.split(".")
        columns = known.get(table, {})
        if layer != "gold" or not {*_columns(kpi.formula), *kpi.grain} <= columns.keys():
            continue
        # A rate of vintages holds at one age only.
        by = "months_on_book" if "months_on_book" in kpi.grain else kpi.grain[0]
        found[kpi.name] = {
            "title": kpi.title,
            "mart": table,
            "expression": expression(kpi.formula, key=next(iter(columns))),
            "unit": kpi.unit,
            "owner": kpi.owner,
            "by": {"column": by, "type": columns[by].type},
        }
    return found


def expression(formula: str, key: str) -> str:
    """A formula as an expression of a QuickSight calculated field.

    >>> expression("CAST(sum(paid) AS DOUBLE) / nullif(sum(due), 0)", key="loan_id")
    '1.0 * sum({paid}) / nullIf(sum({due}), 0)'
    >>> expression("count(CASE WHEN n > 0 THEN 1 END)", key="loan_id")
    'count(ifelse({n} > 0, 1, NULL))'

    Args:
        formula: SQL aggregate, as in :mod:`pipeline.gold.kpis`.
        key: A column that is never null, for ``count(*)``, which QuickSight does not know.

    Raises:
        ValueError: QuickSight has no counterpart for something in it.
    """
    return _written(sqlglot.parse_one(formula, dialect="duckdb"), key)


def _written(tree: exp.Expr, key: str) -> str:
    if isinstance(tree, exp.Column):
        return f"{{{tree.name}}}"
    if isinstance(tree, exp.Literal):
        return "'" + tree.name.replace("'", "''") + "'" if tree.is_string else tree.name
    if isinstance(tree, exp.Null):
        return "NULL"
    if isinstance(tree, exp.Paren):
        return f"({_written(tree.this, key)})"
    if isinstance(tree, exp.Neg):
        return f"-{_written(tree.this, key)}"
    if isinstance(tree, exp.Cast) and tree.to.this == exp.DType.DOUBLE:
        inner = _written(tree.this, key)
        return f"1.0 * ({inner})" if isinstance(tree.this, exp.Binary) else f"1.0 * {inner}"
    if isinstance(tree, exp.Nullif):
        return f"nullIf({_written(tree.this, key)}, {_written(tree.expression, key)})"
    if isinstance(tree, exp.Coalesce):
        return f"coalesce({', '.join(_written(item, key) for item in (tree.this, *tree.expressions))})"
    if isinstance(tree, exp.Case) and tree.this is None:
        branches = [
            _written(item, key) for branch in tree.args["ifs"] for item in (branch.this, branch.args["true"])
        ]
        default = tree.args.get("default")
        return f"ifelse({', '.join([*branches, _written(default, key) if default else 'NULL'])})"
    if name := _AGGREGATES.get(type(tree)):
        of = f"{{{key}}}" if isinstance(tree.this, exp.Star) else _written(tree.this, key)
        return f"{name}({of})"
    if isinstance(tree, exp.Binary) and (sign := _BINARY.get(type(tree))):
        return f"{_written(tree.left, key)} {sign} {_written(tree.right, key)}"
    raise ValueError(f"QuickSight has nothing like this: {tree.sql(dialect='duckdb')}")


def _columns(formula: str) -> set[str]:
    return {column.name for column in sqlglot.parse_one(formula, dialect="duckdb").find_all(exp.Column)}
