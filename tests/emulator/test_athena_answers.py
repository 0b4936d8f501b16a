"""The same SQL, answered by Athena on the laptop and by Spark, equal: the lake's tables, and TPC-H's
shape."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
import tpch
from deltalake import DeltaTable, write_deltalake
from lakehouse import Lakehouse, Story

from pipeline.gold.views import VIEWS, View

pytestmark = [pytest.mark.emulator, pytest.mark.timeout(900)]

ACROSS = {
    "join and group": """select c.segment, count(distinct a.account_id) n, sum(a.balance) total from
        silver.customers c
        join silver.accounts a on a.customer_id = c.customer_id group by c.segment""",
    "left join": """select count(*) n, count(l.loan_id) loans from silver.customers c
        left join silver.loans l on l.customer_id = c.customer_id""",
    "anti join": """select count(*) n from silver.customers c where not exists
        (select 1 from silver.accounts a where a.customer_id = c.customer_id)""",
    "running total": """select account_id, transaction_id, sum(amount) over (partition by account_id
        order by transaction_at, transaction_id rows between unbounded preceding and current row) running
        from silver.transactions""",
    "ranks": """select account_id, opened_date, row_number() over (partition by customer_id order by
        opened_date, account_id) n,
        lag(balance) over (partition by customer_id order by opened_date, account_id) before from
        silver.accounts""",
    # Of a date, Trino's date_trunc makes a date and Spark's an instant.
    "months": """select cast(date_trunc('month', opened_date) as date) m, count(*) n from silver.accounts
        group by 1 having count(*) > 0""",
    "sets": """select customer_id from silver.accounts except select customer_id from silver.loans""",
    "union": """select 'a' k, count(*) n from silver.accounts union all select 'l', count(*) from
        silver.loans""",
    "rollup": """select segment, country, count(*) n from silver.customers group by rollup (segment,
        country)""",
    "case": """select case when balance < 0 then 'below' when balance = 0 then 'zero' else 'above' end k,
        count(*) n,
        avg(balance) mean from silver.accounts group by 1""",
    "text": """select upper(substr(segment, 1, 3)) s, length(segment) l, concat(segment, '-', country) c,
        count(*) n
        from silver.customers group by 1, 2, 3""",
    "nulls last": """select balance, account_id from silver.accounts order by balance desc nulls last,
        account_id limit 20""",
    "division": """select count(*) / 7 i, sum(balance) / count(*) d, count(*) % 7 m from silver.accounts""",
}  # fmt: skip


@dataclass
class Both:
    """Athena and Spark on the same lake."""

    lake: Lakehouse
    spark: Any

    def athena(
        self, sql: str, database: str = "default"
    ) -> tuple[list[dict[str, Any]], list[list[str | None]]]:
        client = self.lake.client("athena")
        output = f"{self.lake.settings.gold_uri}/_athena/"
        id_ = client.start_query_execution(
            QueryString=sql,
            QueryExecutionContext={"Database": database},
            ResultConfiguration={"OutputLocation": output},
        )["QueryExecutionId"]
        while True:
            status = client.get_query_execution(QueryExecutionId=id_)["QueryExecution"]["Status"]
            if status["State"] not in {"QUEUED", "RUNNING"}:
                break
            time.sleep(0.01)
        assert status["State"] == "SUCCEEDED", f"{status.get('StateChangeReason')}\n{sql}"
        pages = list(client.get_paginator("get_query_results").paginate(QueryExecutionId=id_))
        rows = [
            [cell.get("VarCharValue") for cell in row["Data"]]
            for page in pages
            for row in page["ResultSet"]["Rows"]
        ]
        return pages[0]["ResultSet"]["ResultSetMetadata"]["ColumnInfo"], rows[1:]

    def assert_equal(self, athena_sql: str, spark_sql: str, database: str = "default") -> int:
        """See that both say the same, in whatever order; returns how many rows there are."""
        wanted = [tuple(row) for row in self.spark.sql(spark_sql).collect()]
        return self.assert_rows(athena_sql, wanted, database)

    def assert_rows(self, athena_sql: str, wanted: list[tuple[Any, ...]], database: str = "default") -> int:
        """See that Athena's rows are these, in whatever order; returns how many there are."""
        columns, found = self.athena(athena_sql, database)
        assert len(found) == len(wanted), athena_sql
        typed = [[_typed(value, column) for value, column in zip(row, columns, strict=True)] for row in found]
        scales = [column["Scale"] if column["Type"] == "decimal" else None for column in columns]
        expected = [[_plain(value) for value in row] for row in wanted]
        for ours, theirs in zip(sorted(typed, key=_order), sorted(expected, key=_order), strict=True):
            for mine, other, scale in zip(ours, theirs, scales, strict=True):
                assert _same(mine, other, scale), f"{mine!r} is not {other!r}\n{ours}\n{theirs}\n{athena_sql}"
        return len(found)


def _typed(value: str | None, column: dict[str, Any]) -> Any:
    kinds: dict[str, Callable[[str], Any]] = {
        "decimal": Decimal,
        "double": float,
        "float": float,
        "bigint": int,
        "integer": int,
        "smallint": int,
        "tinyint": int,
    }
    return None if value is None else kinds.get(column["Type"], str)(value)


def _plain(value: Any) -> Any:
    """A value of Spark's as Athena writes it, if it is no number."""
    if value is None or (isinstance(value, Decimal | float | int) and not isinstance(value, bool)):
        return value
    from emulator.athena.results import text

    return text(value).removesuffix(" UTC")


def _order(row: list[Any]) -> list[Any]:
    """Sorts rows by what both sides have exactly."""
    return [
        (value is None, str(value).removesuffix(" UTC") if isinstance(value, str) else "") for value in row
    ] + [
        (value is None, round(float(value), 1) if isinstance(value, Decimal | float | int) else 0.0)
        for value in row
    ]


def _same(mine: Any, other: Any, scale: int | None) -> bool:
    if mine is None or other is None:
        return mine is other
    if scale is not None:  # Spark's quotients and averages have more digits
        return abs(Decimal(mine) - Decimal(other)) <= Decimal(1).scaleb(-scale) / 2
    if isinstance(mine, float) or isinstance(other, float):
        return math.isclose(float(mine), float(other), rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(mine, str):
        return mine.removesuffix(" UTC") == other
    return bool(mine == other)


@pytest.fixture(scope="module")
def both(story: Story, stack: Any) -> Iterator[Both]:
    from pyspark.sql.connect.session import SparkSession

    spark = SparkSession.builder.remote(stack.environment()["SPARK_REMOTE"]).create()
    spark.conf.set("spark.sql.shuffle.partitions", "1")
    spark.conf.set("spark.sql.adaptive.enabled", "false")  # of a few rows, it costs more than it brings
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    yield Both(story.lake, spark)
    spark.stop()


def registered(lake: Lakehouse) -> dict[tuple[str, str], str]:
    """Place of each table of Silver and Gold."""
    glue = lake.client("glue")
    return {
        (layer, table["Name"]): table["StorageDescriptor"]["Location"]
        for layer in ("silver", "gold")
        for table in glue.get_tables(DatabaseName=lake.settings.database(layer))["TableList"]
        if table["TableType"] != "VIRTUAL_VIEW"
    }


@pytest.mark.slow
def test_every_column_of_silver_and_gold_is_summed_up_alike(both: Both) -> None:
    queries = 0
    for (layer, table), location in registered(both.lake).items():
        name, path = f'"{both.lake.settings.database(layer)}"."{table}"', f"delta.`{location}`"
        aggregates = {
            field.name: _aggregates(field.name, field.dataType.simpleString())
            for field in both.spark.sql(f"SELECT * FROM {path} LIMIT 0").schema.fields
            if not field.dataType.simpleString().startswith(("array", "struct", "map"))
        }
        # Spark plans for longer than it counts, so it is asked once for a table; Athena by two columns.
        every = [aggregate for of_column in aggregates.values() for aggregate in of_column]
        values = iter(both.spark.sql(f"SELECT {', '.join(every)} FROM {path}").collect()[0])
        lists = list(aggregates.values())
        for of_columns in (lists[start : start + 2] for start in range(0, len(lists), 2)):
            asked = [aggregate for of_column in of_columns for aggregate in of_column]
            wanted = tuple(next(values) for _ in asked)
            both.assert_rows(f"SELECT {', '.join(asked)} FROM {name}", [wanted])
            queries += 1
    assert queries >= 100


def _aggregates(column: str, kind: str) -> list[str]:
    """What sums up a column of one of Spark's types."""
    found = ["count(*)", f"count({column})", f"count(DISTINCT {column})"]
    if kind == "boolean":
        return [*found, f"count_if({column})", f"count_if(NOT {column})"]
    found += [f"min({column})", f"max({column})"]
    return [*found, f"sum({column})"] if kind.startswith(("decimal", "bigint", "int", "double")) else found


@pytest.mark.parametrize("what", ACROSS)
def test_statements_over_several_tables_say_what_spark_says(both: Both, what: str) -> None:
    athena = spark = ACROSS[what]
    for (layer, table), location in registered(both.lake).items():
        athena = athena.replace(f"{layer}.{table}", f'"{both.lake.settings.database(layer)}"."{table}"')
        spark = spark.replace(f"{layer}.{table}", f"delta.`{location}`")
    if what == "division":
        spark = spark.replace("count(*) / 7", "count(*) div 7")
    assert both.assert_equal(athena, spark)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_views_on_gold_say_what_spark_makes_of_their_statement(both: Both, view: View) -> None:
    spark = view.sql
    for (_, table), location in registered(both.lake).items():
        spark = spark.replace(f"{{gold}}.{table}", f"delta.`{location}`")
    assert both.assert_equal(f'SELECT * FROM "{both.lake.settings.database("gold")}"."{view.name}"', spark)


@pytest.fixture(scope="module")
def tpch_tables(both: Both) -> dict[str, str]:
    glue, places = both.lake.client("glue"), {}
    glue.create_database(DatabaseInput={"Name": "tpch"})
    for name, table in tpch.tables().items():
        places[name] = f"{both.lake.settings.gold_uri}/_tpch/{name}"
        write_deltalake(places[name], table, storage_options=both.lake.aws)
        glue.create_table(
            DatabaseName="tpch",
            TableInput={
                "Name": name,
                "Parameters": {"table_type": "DELTA"},
                "StorageDescriptor": {"Columns": [], "Location": places[name]},
            },
        )
        frame = both.spark.read.format("delta").load(places[name])
        (frame if name == "orders" else frame.cache()).createOrReplaceTempView(name)  # orders will change
    return places


@pytest.mark.parametrize("query", tpch.QUERIES)
def test_the_shapes_of_tpch_are_answered_as_by_spark(
    both: Both, tpch_tables: dict[str, str], query: str
) -> None:
    sql = tpch.QUERIES[query]
    assert both.assert_equal(sql, sql, "tpch"), "no row: it proves nothing"


def test_what_spark_has_changed_is_seen_at_once(both: Both, tpch_tables: dict[str, str]) -> None:
    path = f"delta.`{tpch_tables['orders']}`"
    sql = "SELECT o_orderstatus, count(*) n, sum(o_totalprice) s FROM orders GROUP BY o_orderstatus"

    def check() -> None:
        both.spark.read.format("delta").load(tpch_tables["orders"]).createOrReplaceTempView("orders")
        assert both.assert_equal(sql, sql, "tpch")

    for statement in (
        f"UPDATE {path} SET o_totalprice = o_totalprice + 1 WHERE o_orderkey % 7 = 0",
        f"ALTER TABLE {path} SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')",
        f"DELETE FROM {path} WHERE o_orderkey % 11 = 3",
        f"OPTIMIZE {path}",
        f"DELETE FROM {path} WHERE o_orderkey % 13 = 5",
    ):
        both.spark.sql(statement)
        check()
    DeltaTable(tpch_tables["orders"], storage_options=both.lake.aws).vacuum(
        retention_hours=0, enforce_retention_duration=False, dry_run=False
    )
    check()
