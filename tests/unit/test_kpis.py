"""Key figures mean the same to DuckDB, to Athena, to the dashboard's parts and to QuickSight."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import duckdb
import gold_tables
import pyarrow as pa
import pytest

from emulator.athena import names, syntax, transpile
from emulator.athena.functions import MACROS
from pipeline.dashboard.formulas import Expression, take_apart
from pipeline.gold import MARTS
from pipeline.gold.kpis import KPIS, Kpi
from pipeline.quicksight import expression, quicksight_kpis

BY_NAME = {"ids": lambda kpi: kpi.name}


@pytest.fixture(scope="module")
def tables() -> duckdb.DuckDBPyConnection:
    """A small bank, with Trino's functions as the local Athena has them."""
    connection = duckdb.connect()
    connection.execute(MACROS)
    for name, rows in gold_tables.rows().items():
        fields = gold_tables.SCHEMAS[name]
        whole = [{field: row.get(field) for field in fields} for row in rows]
        arrow = pa.Table.from_pylist(whole, schema=pa.schema(fields.items()))
        connection.register("given", arrow)
        connection.execute(f'CREATE TABLE "{name}" AS SELECT * FROM given')
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name.split('.')[0]}")
        connection.execute(f'CREATE VIEW {name} AS SELECT * FROM "{name}"')
    return connection


def value(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    row = connection.execute(sql).fetchone()
    assert row is not None
    return row[0]


def as_athena(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    """What the local Athena answers, which divides decimals and whole numbers as Trino does."""
    tree = syntax.parse(sql)
    found = names.tables(tree, sql, "gold")
    schema = {
        name: {column: kind for column, kind, *_ in connection.execute(f"DESCRIBE {name.sql}").fetchall()}
        for name in found.values()
    }
    return value(connection, transpile.to_duckdb(tree, found, schema))


@pytest.mark.parametrize("kpi", KPIS, **BY_NAME)
@pytest.mark.parametrize("where", ["true", "false"])
def test_a_formula_gives_the_same_on_athena_and_duckdb(
    tables: duckdb.DuckDBPyConnection, kpi: Kpi, where: str
) -> None:
    sql = f"SELECT {kpi.formula} AS x FROM {kpi.table} WHERE {where}"
    mine, theirs = value(tables, sql), as_athena(tables, sql)
    assert (mine is None) == (theirs is None)
    if mine is not None:
        assert math.isclose(mine, theirs, rel_tol=1e-12)


def test_what_divides_whole_numbers_or_decimals_would_lose_its_digits_on_athena(
    tables: duckdb.DuckDBPyConnection,
) -> None:
    sql = "SELECT sum(non_performing_exposure) / nullif(sum(exposure), 0) AS x FROM gold.loan_portfolio"
    assert as_athena(tables, sql) == Decimal("0.02")  # hence the casts to DOUBLE
    assert value(tables, sql) == pytest.approx(0.0156, abs=1e-4)


@pytest.mark.parametrize("kpi", [kpi for kpi in KPIS if kpi.unit == "fraction"], **BY_NAME)
def test_a_ratio_without_a_base_has_no_value(tables: duckdb.DuckDBPyConnection, kpi: Kpi) -> None:
    columns = take_apart(kpi.formula).columns
    zeros = ", ".join(f'{0 if column != "origin" else repr("bronze")} AS "{column}"' for column in columns)
    base = f"(SELECT {zeros or '1 AS x'}) AS nothing"
    where = "false" if "count(*)" in kpi.formula else "true"  # it counts rows
    assert value(tables, f"SELECT {kpi.formula} FROM {base} WHERE {where}") is None


@pytest.mark.parametrize("kpi", KPIS, **BY_NAME)
def test_groups_add_up_to_the_whole(tables: duckdb.DuckDBPyConnection, kpi: Kpi) -> None:
    formula = take_apart(kpi.formula)
    parts = ", ".join(part.sql for part in formula.parts)
    rows = tables.execute(f"SELECT {parts} FROM {kpi.table} GROUP BY {', '.join(kpi.grain)}").fetchall()
    merged = []
    for part, found in zip(formula.parts, zip(*rows, strict=True), strict=True):
        known = [item for item in found if item is not None]
        merged.append({"sum": sum, "min": min, "max": max}[part.kind](known) if known else part.empty)
    whole = value(tables, f"SELECT {kpi.formula} FROM {kpi.table}")
    assert whole is not None
    assert math.isclose(evaluate(formula.expression, merged), whole, rel_tol=1e-12)


def evaluate(tree: Expression, parts: list[Any]) -> Any:
    """What page.js does with an expression."""
    if not isinstance(tree, list):
        return Decimal(tree)
    operator, *operands = tree
    if operator == "part":
        return parts[operands[0]]
    left, right = (evaluate(operand, parts) for operand in operands)
    if operator == "nullif":
        return None if left == right else left
    if right is None:
        return None
    return {"+": left + right, "-": left - right, "*": left * right, "/": left / right if right else None}[
        operator
    ]


@pytest.mark.parametrize(
    "formula",
    [
        "count(DISTINCT x)",
        "avg(x)",
        "x + 1",
        "sum(x) > 1",
        "CAST(sum(x) AS BIGINT)",
        "sum(x) OVER ()",
        "sum(",
    ],
)
def test_what_groups_cannot_tell_is_refused(formula: str) -> None:
    with pytest.raises(ValueError, match=r"groups|DOUBLE|not an SQL expression"):
        take_apart(formula)


def test_names_are_unique_and_columns_exist() -> None:
    names = [kpi.name for kpi in KPIS]
    assert len(names) == len(set(names))
    titles = [(kpi.table, kpi.title) for kpi in KPIS]
    assert len(titles) == len(set(titles))
    for kpi in KPIS:
        fields = gold_tables.SCHEMAS[kpi.table]
        assert {*kpi.grain, *take_apart(kpi.formula).columns} <= fields.keys(), kpi.name
        assert kpi.unit != "money" or "currency" in kpi.grain, "amounts have a currency"


def test_the_tables_of_these_tests_look_like_the_marts() -> None:
    arrow = {"bigint": "int64", "int": "int32", "date": "date32[day]", "boolean": "bool"}
    arrow |= {"decimal(28,2)": "decimal128(28, 2)"}
    for mart in MARTS:
        known = {column.name: column.type for column in mart.columns}
        for name, kind in gold_tables.SCHEMAS.get(f"gold.{mart.name}", {}).items():
            wanted = arrow.get(known[name], known[name].replace("decimal(9,6)", "decimal128(9, 6)"))
            assert str(kind) == wanted, f"{mart.name}.{name}"


def test_quicksight_has_every_figure_of_the_marts_that_are_there() -> None:
    assert quicksight_kpis(MARTS).keys() == {kpi.name for kpi in KPIS if kpi.table.startswith("gold.")}
    assert quicksight_kpis(MARTS[:1]).keys() == {
        kpi.name for kpi in KPIS if kpi.table == f"gold.{MARTS[0].name}"
    }


@pytest.mark.parametrize(
    ("formula", "wanted"),
    [
        ("count(*)", "count({id})"),
        ("sum(a + b) - sum(c)", "sum({a} + {b}) - sum({c})"),
        ("CAST(sum(a) - sum(b) AS DOUBLE) / nullif(count(*), 0)",
         "1.0 * (sum({a}) - sum({b})) / nullIf(count({id}), 0)"),
        ("sum(CASE WHEN s = 'it''s' THEN 0 WHEN s <> 'x' AND n >= 2 THEN n ELSE -n END)",
         "sum(ifelse({s} = 'it''s', 0, {s} <> 'x' AND {n} >= 2, {n}, -{n}))"),
    ],
)  # fmt: skip
def test_a_formula_is_written_as_quicksight_does(formula: str, wanted: str) -> None:
    assert expression(formula, key="id") == wanted


def test_what_quicksight_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="QuickSight has nothing like this"):
        expression("approx_quantile(x, 0.5)", key="id")
