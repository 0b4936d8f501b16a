"""Tuned Spark: one session with finlake's settings, tables written two at a time, nothing accounted for.

Files are split into tasks as Spark likes, since no line numbers are wanted.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.peers import chosen, serve
from bench.peers.spark_work import build, newest, typed, upsert
from contracts import load_contracts

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SPLIT = {"spark.sql.files.maxPartitionBytes": "128m", "spark.sql.files.openCostInBytes": "4m"}


@cache
def session() -> SparkSession:
    """The session, started once."""
    from pipeline.session import local_session

    return local_session(SPLIT)


def step(files: Path, lake: Path) -> None:
    """Load the entities, then build the marts."""
    from pipeline.gold import MARTS

    spark = session()
    with ThreadPoolExecutor(max_workers=2) as pool:
        loads = [
            pool.submit(upsert, spark, newest(typed(spark, files, contract), contract), lake, contract)
            for contract in load_contracts().values()
        ]
        for load in loads:
            load.result()
        for built in [pool.submit(build, spark, mart, lake) for mart in chosen(MARTS)]:
            built.result()


if __name__ == "__main__":
    serve(step)
