"""Which source columns each column of a mart is made from, read off Spark's analysed plan.

Spark's own analysis has resolved every name, so what is found is what it computes. Operators that are not
known here are refused rather than passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812

from contracts import load_contracts
from pipeline.gold import MARTS, Mart
from pipeline.silver import silver_tables

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Node = dict[str, Any]
Sources = dict[str, str]  # source column -> how it gets into the value

WINDOW, IDENTITY, TRANSFORMATION, AGGREGATION = "WINDOW", "IDENTITY", "TRANSFORMATION", "AGGREGATION"
RANK = (WINDOW, IDENTITY, TRANSFORMATION, AGGREGATION)
THROUGH = {
    "Sort", "SubqueryAlias", "ResolvedHint", "Repartition", "RepartitionByExpression", "GlobalLimit",
    "LocalLimit", "Distinct", "RebalancePartitions",
}  # fmt: skip


def mart_lineage(spark: SparkSession, mart: Mart) -> dict[str, Any]:
    """Sources of a mart: ``columns`` by column, and ``rows`` for what decides which rows there are.

    Sources are ``table.column``, of a mart ``gold.table.column``.
    """
    tables = {name: living(empty(spark, name)) for name in mart.inputs}
    plan = mart.build(tables).select(*[F.col(c.name).cast(c.type).alias(c.name) for c in mart.columns])
    return of_plan(analysed(plan))


def analysed(frame: DataFrame) -> list[Node]:
    """A frame's analysed plan, as Spark writes it down: nodes before their children."""
    plan: list[Node] = json.loads(frame._jdf.queryExecution().analyzed().toJSON())
    return plan


def living(table: DataFrame) -> DataFrame:
    """The rows that Gold counts, as ``pipeline.refresh`` takes them."""
    return table.where(F.col("_deleted_at").isNull()) if "_deleted_at" in table.columns else table


def empty(spark: SparkSession, name: str) -> DataFrame:
    """A table without rows; at the bottom of its plan, columns are called by where they are from."""
    silver = {
        table.name: table for contract in load_contracts().values() for table in silver_tables(contract)
    }
    marts = {f"gold.{mart.name}": mart for mart in MARTS}
    columns = (silver.get(name) or marts[name]).columns
    schema = ", ".join(f"`{name}.{column.name}` {column.type}" for column in columns)
    return spark.createDataFrame([], schema).toDF(*[column.name for column in columns])


def of_plan(flat: list[Node]) -> dict[str, Any]:
    """Sources of the columns and rows of a plan, see :func:`analysed`."""
    rows: dict[str, set[str]] = {}
    root = _tree(iter(flat))
    found = _sources(root, rows)
    columns = {expression[0]["name"]: found[_id(expression[0])] for expression in root["projectList"]}
    return {
        "columns": {name: dict(sorted(sources.items())) for name, sources in columns.items()},
        "rows": {name: sorted(kinds) for name, kinds in sorted(rows.items())},
    }


def _tree(nodes: Iterator[Node]) -> Node:
    node = next(nodes)
    return node | {"children": [_tree(nodes) for _ in range(node["num-children"])]}


def _sources(plan: Node, rows: dict[str, set[str]]) -> dict[int, Sources]:
    """For each attribute of an operator, its sources; notes in ``rows`` what decides about rows."""
    kind = _class(plan)
    under = [_sources(child, rows) for child in plan["children"]]
    known = {key: sources for each in under for key, sources in each.items()}

    def decide(how: str, *expressions: Sequence[Node]) -> None:
        for expression in expressions:
            for name in _value(expression, known):
                rows.setdefault(name, set()).add(how)

    match kind:
        case "Project":
            return _made(plan["projectList"], known)
        case "Aggregate":
            decide("GROUP_BY", *plan["groupingExpressions"])
            return _made(plan["aggregateExpressions"], known)
        case "Window":
            return known | _made(plan["windowExpressions"], known)
        case "Generate":
            made = _value(plan["generator"], known)
            return known | {_id(attribute[0]): made for attribute in plan["generatorOutput"]}
        case "Filter":
            decide("FILTER", plan["condition"])
        case "Join":
            decide("JOIN", *filter(None, [plan.get("condition")]))
        case "Deduplicate":
            decide("GROUP_BY", *plan["keys"])
        case "Union":
            first, *others = [
                list(_outputs(child, found)) for child, found in zip(plan["children"], under, strict=True)
            ]
            return {
                key: _both([sources, *[other[place][1] for other in others]])
                for place, (key, sources) in enumerate(first)
            }
        case "LogicalRDD" | "LocalRelation":
            return {_id(attribute[0]): {attribute[0]["name"]: IDENTITY} for attribute in plan["output"]}
        case _ if kind not in THROUGH:
            raise NotImplementedError(f"what {kind} does to columns is not known")
    return known


def _outputs(plan: Node, known: Mapping[int, Sources]) -> Iterator[tuple[int, Sources]]:
    """Attributes of one side of a union, in order."""
    while _class(plan) in THROUGH | {"Filter"}:
        (plan,) = plan["children"]
    lists = {"Project": "projectList", "Aggregate": "aggregateExpressions", "LogicalRDD": "output"}
    if _class(plan) == "Union":
        yield from _outputs(plan["children"][0], known)
        return
    for expression in plan[lists[_class(plan)]]:
        yield _id(expression[0]), known[_id(expression[0])]


def _made(expressions: Sequence[Sequence[Node]], known: Mapping[int, Sources]) -> dict[int, Sources]:
    """Sources of named expressions."""
    return {_id(expression[0]): _value(expression, known) for expression in expressions}


def _value(expression: Sequence[Node], known: Mapping[int, Sources]) -> Sources:
    """Sources of an expression's value."""
    return _of(_tree(iter(expression)), known)


def _of(node: Node, known: Mapping[int, Sources]) -> Sources:
    kind = _class(node)
    if kind == "AttributeReference":
        return known[_id(node)]
    if "Subquery" in kind or "plan" in node:
        raise NotImplementedError(f"what {kind} reads is not known")
    if kind == "WindowExpression":
        function, specification = (_of(child, known) for child in node["children"])
        return _both([dict.fromkeys(specification, WINDOW), function])
    found = _both([_of(child, known) for child in node["children"]])
    if kind == "Alias" or (kind == "Cast" and node["children"][0].get("dataType") == node["dataType"]):
        return found
    least = AGGREGATION if kind == "AggregateExpression" else TRANSFORMATION
    return {name: how if how == WINDOW else max(how, least, key=RANK.index) for name, how in found.items()}


def _both(parts: Sequence[Mapping[str, str]]) -> Sources:
    found: Sources = {}
    for part in parts:
        for name, how in part.items():
            found[name] = max(how, found.get(name, how), key=RANK.index)
    return found


def _class(node: Node) -> str:
    return str(node["class"]).rpartition(".")[2]


def _id(node: Node) -> int:
    return int(node["exprId"]["id"])
