"""dlt: typed rows into Delta tables by its filesystem destination, as upserts.

dlt's upsert wants one row for each key, so Polars types the rows and keeps the newest version of each. dlt
merges whatever is matched, also an older version into a newer one. No derived columns, no hash, no marts.
"""

from __future__ import annotations

import os
from pathlib import Path

import dlt
import pyarrow as pa
from dlt.destinations import filesystem

from bench.peers import serve
from bench.peers.polars_work import newest, typed
from contracts import Contract, load_contracts

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"


def rows(files: Path, contract: Contract) -> pa.Table:
    """An entity's rows, one for each key."""
    return newest(typed(files, contract), contract).collect().to_arrow()


def step(files: Path, lake: Path) -> None:
    """Load the entities in one dlt load."""
    pipeline = dlt.pipeline(
        pipeline_name=lake.name,
        destination=filesystem(bucket_url=f"file://{lake}"),
        dataset_name="silver",
        pipelines_dir=str(lake / "dlt"),
    )
    resources = [
        dlt.resource(
            rows(files, contract),
            name=entity,
            table_format="delta",
            primary_key=contract.key,
            write_disposition={"disposition": "merge", "strategy": "upsert"},
        )
        for entity, contract in load_contracts().items()
    ]
    pipeline.run(resources).raise_on_failed_jobs()


if __name__ == "__main__":
    serve(step)
