"""Delta commits of a batch: each can be undone, and none of a dead run gets in later.

When a run is killed, Spark may still be writing for it, in a JVM that has not noticed yet or on a
server. So a batch that is done again also puts up a fence: a commit that takes the number of Delta's
idempotent writes (``txnAppId``, ``txnVersion``) further. An append that was begun before either is
in the table by then, or can never get in. And it merges where it would append otherwise, because
Delta lets only one of two merges pass.
"""

from __future__ import annotations

import time
from math import ceil
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from pipeline.ledger import Batch
from pipeline.tables import restore_and_fence

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

ROWS_PER_FILE = 250_000  # each is written, and read again, by one task


def append(rows: DataFrame, uri: str, batch: Batch) -> None:
    """Append to a Delta table, unless a later attempt at the batch has put up its fence.

    Args:
        rows: Rows of the table's columns.
        uri: The table; an attempt appends to each once.
        batch: The batch that they belong to.
    """
    options = {"txnAppId": _writer(batch), "txnVersion": str(batch.begun_ns)}
    rows.write.format("delta").mode("append").options(**options).save(uri)


def merge(spark: SparkSession, rows: DataFrame, uri: str, name: str, clauses: str) -> None:
    """Merge rows into a Delta table.

    Args:
        spark: Session.
        rows: What to merge, ``new`` in the clauses.
        uri: The table, ``stored`` in the clauses.
        name: Name of the temporary view of ``rows``; nobody else may use it at the same time.
        clauses: Condition and actions: what follows ``ON``.
    """
    rows.createOrReplaceTempView(name)
    spark.sql(f"MERGE INTO delta.`{uri}` AS stored USING {name} AS new ON {clauses}")
    spark.catalog.dropTempView(name)


def undo_attempts(batch: Batch, tables: dict[str, int]) -> None:
    """Undo what earlier attempts at the batch have done, and fence off what they may still do.

    Args:
        batch: The batch.
        tables: Versions that it had found, by the tables' URIs.
    """
    for uri, version in tables.items():
        restore_and_fence(uri, version, _writer(batch), time.time_ns())


def lineage(batch: Batch) -> list[Column]:
    """The columns that say where and when a row came in."""
    return [
        F.lit(batch.ingested_at).cast("timestamp").alias("_ingested_at"),
        F.col("_source_file"),
        F.col("_source_row"),
        F.lit(batch.run_id).alias("_run_id"),
    ]


def file_count(rows: int) -> int:
    """How many files so many rows make."""
    return max(1, ceil(rows / ROWS_PER_FILE))


def _writer(batch: Batch) -> str:
    return f"{batch.run_id}/{batch.entity}"
