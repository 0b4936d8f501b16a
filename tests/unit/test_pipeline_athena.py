"""What becomes of a statement and of Athena's words on the way to Athena and back. No stack is needed."""

from __future__ import annotations

import doctest
from typing import Any

import pytest

from pipeline import athena
from pipeline.athena import with_databases
from pipeline.errors import FinlakeError, UsageError
from pipeline.settings import Settings

SETTINGS = Settings(env="local")


def test_the_examples_in_the_module_are_right() -> None:
    assert doctest.testmod(athena).failed == 0


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select * from Silver.loans", "select * from finlake_local_silver.loans"),
        ("select silver.loans.id from silver.loans",
         "select finlake_local_silver.loans.id from finlake_local_silver.loans"),
        ('select 1 from "gold"."a" join ops.b on true',
         'select 1 from "finlake_local_gold"."a" join finlake_local_ops.b on true'),
        ("with gold as (select 1) select * from gold", "with gold as (select 1) select * from gold"),
        ("select 'silver.loans' -- silver.loans", "select 'silver.loans' -- silver.loans"),
        ("select * from finlake_dev_silver.loans", "select * from finlake_dev_silver.loans"),
        ("describe silver.loans", "describe finlake_local_silver.loans"),
        ("SHOW TABLES IN silver", "SHOW TABLES IN finlake_local_silver"),
        ("show tables in gold 'a*'", "show tables in finlake_local_gold 'a*'"),
        ("SHOW CREATE TABLE ops.runs", "SHOW CREATE TABLE finlake_local_ops.runs"),
        ("select * from silver.a join Gold.b on (", "select * from finlake_local_silver.a join "
         "finlake_local_gold.b on ("),
        ("EXPLAIN SELECT * FROM gold.a", "EXPLAIN SELECT * FROM finlake_local_gold.a"),
    ],
)  # fmt: skip
def test_layers_become_databases_and_nothing_else_changes(sql: str, expected: str) -> None:
    assert with_databases(sql, SETTINGS).sql == expected


@pytest.mark.parametrize(
    "sql",
    ["DROP TABLE silver.x", "INSERT INTO gold.x VALUES (1)", "CREATE TABLE x AS SELECT 1",
     "MSCK REPAIR TABLE x", "UNLOAD (SELECT 1) TO 's3://b/c/' WITH (format = 'PARQUET')",
     "DELETE FROM silver.x", "VACUUM x"],
)  # fmt: skip
def test_what_writes_is_refused(sql: str) -> None:
    with pytest.raises(UsageError, match="only reads"):
        with_databases(sql, SETTINGS)


def test_places_and_names_in_errors_are_those_of_the_statement_as_it_was_typed() -> None:
    sql = "SELECT s.id,\n  g.nope FROM silver.loans s, gold.a g WHERE x"
    renamed = with_databases(sql, SETTINGS)
    # In what Athena got, the x stands 2 * len("finlake_local_") further to the right.
    place = f"2:{len('  g.nope FROM silver.loans s, gold.a g WHERE x') + 28}"
    assert renamed.original(f"line {place}: 'x' of awsdatacatalog.finlake_local_gold.a", sql) == (
        f"line 2:{len('  g.nope FROM silver.loans s, gold.a g WHERE x')}: 'x' of gold.a"
    )
    assert renamed.original("line 2:3: Column 'g.nope'", sql) == "line 2:3: Column 'g.nope'"


class Answers:
    """A client whose catalogue has these tables."""

    def __init__(self, *tables: str) -> None:
        self.tables = tables

    def get_paginator(self, _name: str) -> Answers:
        return self

    def paginate(self, **_: str) -> list[dict[str, Any]]:
        return [{"TableMetadataList": [{"Name": name} for name in self.tables]}]


@pytest.mark.parametrize(
    ("reason", "kind", "said"),
    [
        ("TABLE_NOT_FOUND: line 1:15: Table 'silver.custmers' does not exist", UsageError,
         "there is no table silver.custmers; did you mean silver.customers?"),
        ("SCHEMA_NOT_FOUND: line 1:1: Schema 'platinum' does not exist", UsageError, "no layer 'platinum'"),
        ("SCHEMA_NOT_FOUND: line 1:1: Schema 'gold' does not exist", FinlakeError, "finlake_local_gold"),
        ("COLUMN_NOT_FOUND: line 1:8: Column 'x' cannot be resolved", UsageError, "not valid: COLUMN_NOT"),
        ("DIVISION_BY_ZERO: Division by zero", FinlakeError, "the query failed: DIVISION_BY_ZERO"),
        ("INVALID_CAST_ARGUMENT: Cannot cast 'x' to INT", FinlakeError, "the query failed: INVALID_CAST"),
    ],
)  # fmt: skip
def test_reasons_become_messages_for_people(reason: str, kind: type[FinlakeError], said: str) -> None:
    error = athena._failure(reason, Answers("customers", "loans"), SETTINGS)
    assert type(error) is kind
    assert said in error.with_hint
