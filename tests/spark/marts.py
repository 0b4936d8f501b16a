"""A mart by Spark against the same mart by DuckDB, and the Silver tables that both are given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
from makers import judged
from pyspark.sql import functions as F  # noqa: N812

from contracts import Contract, load_contract, load_contracts
from pipeline.entities import entity_module
from pipeline.gold import Mart
from pipeline.history import VALIDITY

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

Silver = dict[str, "DataFrame"]


def silver_of(spark: SparkSession, rows: Mapping[str, Iterable[Mapping[str, str]]]) -> Silver:
    """Silver tables of texts as they stand in Bronze: typed and with derived columns, not judged."""
    return {
        entity: _enriched(judged(spark, entity, rows.get(entity, ())), contract)
        for entity, contract in load_contracts().items()
    }


def silver_in(spark: SparkSession, folder: Path) -> Silver:
    """Silver tables of generated files without dirt."""
    tables = {}
    for entity, contract in load_contracts().items():
        raw = spark.read.option("header", True).csv(f"file://{folder}/{entity}")
        typed = raw.select(*[F.col(c.name).cast(c.physical_type) for c in contract.source_columns])
        tables[entity] = _enriched(typed, contract)
    return tables


def with_history(tables: Silver) -> Silver:
    """Silver with histories in which customers and loans have had one version, from its updated_at on."""
    columns = {
        "valid_from": F.col("updated_at"),
        "valid_to": F.lit(None).cast("timestamp"),
        "is_current": F.lit(True),
        "is_deleted": F.lit(False),
    }
    return tables | {f"{name}_history": tables[name].withColumns(columns) for name in ("customers", "loans")}


@contextmanager
def kept(tables: Silver) -> Iterator[Silver]:
    """The tables, in memory as long as the block lasts."""
    persisted = {entity: table.persist() for entity, table in tables.items()}
    yield persisted
    for table in persisted.values():
        table.unpersist()


def build(mart: Mart, silver: Silver) -> DataFrame:
    """A mart as it is stored."""
    return mart.build(silver).select(*[F.col(column.name).cast(column.type) for column in mart.columns])


def compare(mart: Mart, silver: Silver, sql: str, ratios: Iterable[str], folder: Path) -> int:
    """Build a mart by Spark and by DuckDB, and check that they hold the same rows.

    Args:
        mart: The mart.
        silver: Its inputs.
        sql: The mart by DuckDB, from columns as they stand in Bronze.
        ratios: Columns that may differ in their last digit.
        folder: Where to write files.

    Returns:
        How many rows there are.
    """
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for table, frame in silver.items():
        uri = folder / table
        frame.select(*_known(table)).coalesce(1).write.parquet(str(uri))
        connection.execute(f"CREATE VIEW {table} AS SELECT * FROM '{uri}/*.parquet'")
    build(mart, silver).coalesce(1).write.parquet(str(folder / mart.name))
    connection.execute(f"CREATE VIEW built AS SELECT * FROM '{folder / mart.name}/*.parquet'")
    connection.execute(f"CREATE TABLE other AS {sql}")
    names = [column.name for column in mart.columns]
    key = [name for name in names if name not in ratios]
    exact = ", ".join(key)
    missing = connection.execute(f"SELECT {exact} FROM other EXCEPT ALL SELECT {exact} FROM built").fetchall()
    extra = connection.execute(f"SELECT {exact} FROM built EXCEPT ALL SELECT {exact} FROM other").fetchall()
    assert (missing[:3], extra[:3]) == ([], [])
    same = " AND ".join(f"b.{name} IS NOT DISTINCT FROM o.{name}" for name in key)
    for ratio in set(ratios) & set(names):
        off = connection.execute(
            f"SELECT count(*) FROM built b JOIN other o ON {same} "
            f"WHERE (b.{ratio} IS NULL) <> (o.{ratio} IS NULL) "
            f"OR NOT coalesce(abs(CAST(b.{ratio} AS DOUBLE) - o.{ratio}), 0) <= 0.000001"
        ).fetchone()
        assert off == (0,), ratio
    (rows,) = connection.execute("SELECT count(*) FROM built").fetchone() or (0,)
    return int(rows)


def _enriched(typed: DataFrame, contract: Contract) -> DataFrame:
    columns = [F.col(column.name).cast(column.physical_type) for column in contract.columns]
    return typed.withColumns(entity_module(contract.entity).enrich()).select(*columns)


def _known(table: str) -> list[str]:
    """Columns that the recompute may know: nothing that Silver derives."""
    contract = load_contract(table.removesuffix("_history"))
    validity = [column.name for column in VALIDITY] if table.endswith("_history") else []
    return [column.name for column in contract.source_columns] + validity
