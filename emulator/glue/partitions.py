"""``GetPartitions`` with an ``Expression``: which partitions' values fulfil it.

The grammar is that of AWS's API reference for GetPartitions: comparisons, ``IN``, ``BETWEEN``, ``LIKE``,
``AND``, ``OR``, ``NOT`` and brackets, over the names of partition keys. sqlglot parses it, only such nodes
are let through, and DuckDB evaluates it on the values, typed as the keys are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import sqlglot
from sqlglot import exp

from emulator.gateway.local import ServiceError

ALLOWED = (
    exp.And,
    exp.Or,
    exp.Not,
    exp.Paren,
    exp.EQ,
    exp.NEQ,
    exp.GT,
    exp.GTE,
    exp.LT,
    exp.LTE,
    exp.In,
    exp.Between,
    exp.Like,
    exp.Is,
    exp.Null,
    exp.Neg,
    exp.Column,
    exp.Identifier,
    exp.Literal,
    exp.Date,
    exp.Cast,
    exp.DataType,
    exp.DataTypeParam,
    exp.Tuple,
)
# The types that AWS names for partition keys in expressions.
TYPES = {
    "string": "VARCHAR",
    "char": "VARCHAR",
    "varchar": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "int": "INTEGER",
    "integer": "INTEGER",
    "bigint": "BIGINT",
    "long": "BIGINT",
    "tinyint": "TINYINT",
    "smallint": "SMALLINT",
    "decimal": "DECIMAL(38, 10)",
    "double": "DOUBLE",
    "float": "FLOAT",
    "boolean": "BOOLEAN",
}
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


def matching(
    expression: str, keys: Sequence[Mapping[str, str]], partitions: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The partitions that an expression holds for, in their order.

    Args:
        expression: As of ``GetPartitions``; empty for all.
        keys: The table's ``PartitionKeys``.
        partitions: The table's partitions.

    Raises:
        ServiceError: ``InvalidInputException``: it cannot be read, or names what is no key.
    """
    if not expression.strip():
        return list(partitions)
    condition = parsed(expression, [key["Name"].lower() for key in keys])
    columns = [f'TRY_CAST(v[{number}] AS {_type(key["Type"])}) AS "{key["Name"].lower()}"' for number, key in
               enumerate(keys, start=1)]  # fmt: skip
    values = [
        [None if value == HIVE_NULL else value for value in partition["Values"]] for partition in partitions
    ]
    with duckdb.connect(":memory:", config={"enable_external_access": False}) as base:
        try:
            found = base.execute(
                f"SELECT i FROM (SELECT i, {', '.join(columns)} FROM "
                "(SELECT unnest(range(len($v))) AS i, unnest($v::VARCHAR[][]) AS v)) "
                f"WHERE {condition} ORDER BY i",
                {"v": values},
            ).fetchall()
        except duckdb.Error as error:
            raise ServiceError("InvalidInputException", f"Expression {expression!r}: {error}") from error
    return [partitions[row[0]] for row in found]


def parsed(expression: str, keys: Sequence[str]) -> str:
    r"""An expression in DuckDB's SQL, if it has nothing but what AWS allows.

    Raises:
        ServiceError: ``InvalidInputException``.

    >>> parsed("day > '2026-01-01' AND country IN ('AT', 'DE')", ["day", "country"])
    '"day" > \'2026-01-01\' AND "country" IN (\'AT\', \'DE\')'
    """
    try:
        tree = sqlglot.parse_one(expression, dialect="hive", into=exp.Condition)
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        problem = str(error).splitlines()[0] if str(error) else "too deep"
        raise ServiceError("InvalidInputException", f"Expression cannot be read: {problem}") from error
    for node in tree.walk():
        if not isinstance(node, ALLOWED) or node.args.get("query"):
            raise ServiceError("InvalidInputException", f"Unsupported expression '{node.sql()}'")
        if isinstance(node, exp.Column):
            if node.table or node.name.lower() not in keys:
                raise ServiceError("InvalidInputException", f"Unknown partition key '{node.sql()}'")
            node.set("this", exp.to_identifier(node.name.lower(), quoted=True))
    return tree.sql(dialect="duckdb")


def _type(name: str) -> str:
    base, bracket, rest = name.lower().partition("(")
    if base == "decimal" and bracket:
        return (
            f"DECIMAL({rest}" if rest.rstrip(")").replace(",", "").replace(" ", "").isdecimal() else "VARCHAR"
        )
    return TYPES.get(base, "VARCHAR")
