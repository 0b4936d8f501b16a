"""The floor: Spark copies typed CSV into Delta tables, and does nothing else."""

from __future__ import annotations

from pathlib import Path

from bench.peers import serve
from bench.peers.spark_work import plain_session, typed
from contracts import load_contracts


def step(files: Path, lake: Path) -> None:
    """Append the rows of each entity to its table."""
    spark = plain_session()
    for entity, contract in load_contracts().items():
        rows = typed(spark, files, contract)
        rows.write.format("delta").mode("append").save(f"file://{lake / 'silver' / entity}")


if __name__ == "__main__":
    serve(step)
