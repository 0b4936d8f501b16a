"""Rows of a batch, written down once between judging them and writing them to their tables.

Several statements need the judged rows: one counts them, one or two merge them. From a cached frame,
Spark would plan each of these from the raw lines on, which for a small batch takes longer than all
the work there is. From staged files, each is a plan of a few nodes. Spark Connect, which analyses a
frame anew for each use, gains most.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pipeline.storage import delete_folder

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

# Files are renamed once, by the task that wrote them, and not a second time when all are there. On S3 a
# rename is a copy. What a task that failed may leave there is of an attempt that failed as a whole.
STRAIGHT = {
    "mapreduce.fileoutputcommitter.algorithm.version": "2",
    "mapreduce.fileoutputcommitter.marksuccessfuljobs": "false",
}


@contextmanager
def staged(
    spark: SparkSession, rows: DataFrame, schema: str, folder: str, attempt: int
) -> Iterator[DataFrame]:
    """Write rows down, and read them back as often as the block needs.

    Args:
        spark: Session.
        rows: What to write.
        schema: Their columns as DDL, so that Spark need not look into the files for each use of them.
        folder: Where to, as a URI; whoever stages there is alone there.
        attempt: A number that no other attempt has. A run that was killed may still be writing.
    """
    try:
        rows.write.options(**STRAIGHT).parquet(f"{folder}/{attempt}")
        yield spark.read.schema(schema).parquet(f"{folder}/{attempt}")
    finally:
        delete_folder(folder)  # also what a killed run has left there
