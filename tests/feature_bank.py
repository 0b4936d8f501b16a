"""A generated bank and its features, by Polars and DuckDB alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import polars as pl

from datagen.customers import CUSTOMERS
from datagen.frames import to_frame
from datagen.generator import ENTITIES
from datagen.schedule import Plan

if TYPE_CHECKING:
    from datagen.entity import Entity

CHANGES_EVERY = 64
"""Days within which no customer changes twice, so that snapshots as far apart miss no version."""


def snapshot(plan: Plan, entity: Entity, batch: int) -> pl.DataFrame:
    """All rows of an entity as they stand at the end of a batch."""
    blocks = range(entity.existing_blocks(plan, batch))
    return pl.concat(entity.rows(plan, entity.existing(plan, batch, n).index, batch) for n in blocks)


def customers_history(plan: Plan, batch: int) -> pl.DataFrame:
    """Versions of customers up to a batch, as ``silver.customers_history`` has them."""
    days = sorted({*range(0, batch, CHANGES_EVERY), batch})
    versions = pl.concat(snapshot(plan, CUSTOMERS, day) for day in days)
    versions = versions.unique(["customer_id", "updated_at"], keep="last").sort("customer_id", "updated_at")
    valid_to = pl.col("updated_at").shift(-1).over("customer_id")
    return versions.with_columns(
        valid_from="updated_at", valid_to=valid_to, is_current=valid_to.is_null(), is_deleted=pl.lit(False)
    )


def bank(plan: Plan, batch: int, entities: Sequence[str]) -> duckdb.DuckDBPyConnection:
    """A connection that knows some entities, and histories of customers and loans, as of the end of a batch.

    Terms of a loan never change here, so its newest version tells as much as all of them.
    """
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    for entity in ENTITIES:
        if entity.name in entities:
            connection.register(entity.name, snapshot(plan, entity, batch).to_arrow())
    if "loans" in entities:
        history = "SELECT *, updated_at AS valid_from, false AS is_deleted FROM loans"
        connection.execute(f"CREATE VIEW loans_history AS {history}")
    connection.register("customers_history", customers_history(plan, batch).to_arrow())
    return connection


def fraud_labels(plan: Plan, batch: int) -> pl.DataFrame:
    """The generator's truth about the transactions of a snapshot."""
    (entity,) = (entity for entity in ENTITIES if entity.labels is not None)
    assert entity.labels is not None
    blocks = range(entity.existing_blocks(plan, batch))
    return pl.concat(to_frame(entity.labels(plan, entity.existing(plan, batch, n).index)) for n in blocks)


def sample_of(values: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """Some rows, the same for the same seed."""
    chosen = np.random.default_rng(seed).permutation(values.height)[:count]
    return values[np.sort(chosen)]
