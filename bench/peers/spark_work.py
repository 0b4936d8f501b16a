"""What the Spark peers have in common: the work of Silver and Gold, as one would write it without finlake.

Derived columns, the row's hash and the marts are finlake's own expressions, so that all do the same work.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from contracts import Contract

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from pipeline.gold import Mart

HEAP = "2g"


def plain_session() -> SparkSession:
    """Spark with Delta and nothing else set but time zone and heap."""
    from pyspark.sql import SparkSession

    from pipeline.jars import class_path

    return (
        SparkSession.builder.master("local[*]")
        .config("spark.driver.extraClassPath", class_path())
        .config("spark.driver.memory", HEAP)
        .config("spark.driver.extraJavaOptions", "-Duser.timezone=UTC")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .getOrCreate()
    )


def typed(spark: SparkSession, files: Path, contract: Contract) -> DataFrame:
    """Rows of an entity's CSV files, with the contract's types."""
    schema = ", ".join(f"`{column.name}` {column.physical_type}" for column in contract.source_columns)
    return spark.read.schema(schema).option("header", True).csv(f"file://{files / contract.entity}")


def newest(rows: DataFrame, contract: Contract) -> DataFrame:
    """The newest version of each key, with derived columns and the row's hash."""
    from pyspark.sql import Window
    from pyspark.sql import functions as F  # noqa: N812

    from pipeline.dedupe import row_hash
    from pipeline.entities import entity_module

    order = (F.col(contract.version_column).desc(), F.col("_row_hash").desc())
    rank = F.row_number().over(Window.partitionBy(*contract.key).orderBy(*order))
    derived = entity_module(contract.entity).enrich()
    return (
        rows.withColumn("_is_deleted", F.lit(False))
        .withColumn("_row_hash", row_hash(contract))
        .withColumn("_rank", rank)
        .where("_rank = 1")
        .withColumns(derived)
        .select(
            *[F.col(c.name).cast(c.physical_type).alias(c.name) for c in contract.columns], F.col("_row_hash")
        )
    )


def upsert(spark: SparkSession, rows: DataFrame, lake: Path, contract: Contract) -> None:
    """Write a new table, or merge newer versions into the one that is there."""
    table = lake / "silver" / contract.entity
    if not table.exists():
        rows.write.format("delta").save(f"file://{table}")
        return
    view = f"rows_{contract.entity}"
    rows.createOrReplaceTempView(view)
    same_key = " AND ".join(f"old.`{name}` = new.`{name}`" for name in contract.key)
    version = contract.version_column
    newer = (
        f"new.`{version}` > old.`{version}` OR "
        f"(new.`{version}` = old.`{version}` AND new._row_hash > old._row_hash)"
    )
    spark.sql(
        f"MERGE INTO delta.`file://{table}` AS old USING {view} AS new ON {same_key} "
        f"WHEN MATCHED AND ({newer}) THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    )


def build(spark: SparkSession, mart: Mart, lake: Path) -> None:
    """Build a mart from Silver and put it in the place of the one that is there."""
    from pyspark.sql import functions as F  # noqa: N812

    silver = {
        entity: spark.read.format("delta").load(f"file://{lake / 'silver' / entity}")
        for entity in mart.inputs
    }
    columns = [F.col(column.name).cast(column.type).alias(column.name) for column in mart.columns]
    rows = mart.build(silver).select(*columns).coalesce(1)
    rows.write.format("delta").mode("overwrite").save(f"file://{lake / 'gold' / mart.name}")
