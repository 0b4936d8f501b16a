"""One batch of one entity: Bronze rows -> Silver table and quarantine table, every row accounted for.

Order of the writes: quarantine, Silver, and then (by the caller) the ledger. Each table gets one Delta
commit. A batch that is done again after an interruption first restores both tables to the versions
it had found; so the tables come out the same, however often a batch is done.

When a run is killed, Spark may still be writing for it, in a JVM that has not noticed yet or on a
server. So a batch that is done again also puts up a fence: a commit that takes the number of Delta's
idempotent writes (``txnAppId``, ``txnVersion``) further. An append that was begun before either is
in the table by then, or can never get in. And it merges where it would append otherwise, because
Delta lets only one of two merges pass.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from functools import reduce
from math import ceil
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from contracts import Contract
from pipeline import cleaning, dedupe, quality, reader
from pipeline.entities import entity_module
from pipeline.ledger import BRONZE, QUARANTINE, Batch, RowCount
from pipeline.settings import Settings
from pipeline.staging import staged
from pipeline.tables import (
    ARRAY_OF_STRING,
    LAYOUT_STRUCT,
    TableColumn,
    read_version,
    restore_and_fence,
    table_version,
)

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

ROWS_PER_FILE = 1_000_000

LINEAGE = (
    TableColumn("_ingested_at", "timestamp", "Instant (UTC) of the run that wrote this version."),
    TableColumn("_source_file", "string", "URI of the Bronze file that the row comes from."),
    TableColumn("_source_row", "bigint", "Line of that file; the first line is 1."),
    TableColumn("_run_id", "string", "Run that wrote this version."),
)
ROW_HASH = TableColumn("_row_hash", "binary", "SHA2-256 over the source columns; equal rows are equal here.")
QUARANTINE_COLUMNS = (
    TableColumn("_raw", "string", "The line as it stands in the file.", pii_class="raw_record"),
    TableColumn("_reasons", ARRAY_OF_STRING, "Every rule that the row broke, as rule:column."),
    TableColumn("_layout", LAYOUT_STRUCT, "How the line is to be split when it is tried again."),
    *LINEAGE,
)

# What is known about a judged row, besides its source columns.
JUDGEMENT = {
    "_source_file": "string",
    "_source_row": "bigint",
    "_layout": LAYOUT_STRUCT,
    "_origin": "string",
    "_held_by": "string",
    "_held_for": "string",
    "_reasons": "string",
    "_raw": "string",
    "_row_hash": "binary",
}


def silver_columns(contract: Contract) -> tuple[TableColumn, ...]:
    """Columns of an entity's Silver table: the contract's, then lineage and row hash."""
    columns = [
        TableColumn(
            column.name,
            column.physical_type,
            column.description,
            pii_class=column.pii_class,
            nullable=column.name not in contract.key,
        )
        for column in contract.columns
    ]
    return (*columns, *LINEAGE, ROW_HASH)


def input_versions(entities: Sequence[str], settings: Settings) -> dict[str, int]:
    """Present versions of the Silver tables of ``entities``; -1 for one that is not there."""
    return {entity: table_version(settings.table_uri("silver", entity)) for entity in entities}


def load_batch(spark: SparkSession, batch: Batch, contract: Contract, settings: Settings) -> list[RowCount]:
    """Load one batch.

    Args:
        spark: Session.
        batch: Files to read and table versions to compare with.
        contract: The entity.
        settings: Where the tables are.

    Returns:
        Rows by file and outcome. For each, ``read`` is the sum of the outcomes.
    """
    if batch.redo:
        undo_attempts(batch, settings)
    rows = incoming_rows(spark, batch, contract, settings)
    if rows is None:
        return []
    judged = judge(rows, parent_keys(spark, batch, contract, settings), contract)
    # A replayed row that is still bad simply stays where it is.
    judged = judged.where((F.col("_origin") == BRONZE) | (F.col("_reasons") == ""))
    stored = stored_versions(spark, batch, contract, settings)
    everything = dedupe.classify(judged, stored, contract)
    schema, folder = classified_schema(contract), settings.table_uri("staging", batch.entity)
    with staged(spark, everything, schema, folder, time.time_ns()) as classified:
        counts = count_rows(classified)
        total = sum((count.outcomes for count in counts), Counter[str]())
        released = sum(count.read for count in counts if count.origin == QUARANTINE)
        if total["quarantined"] or released:
            write_quarantine(
                spark, classified, batch, settings, quarantined=total["quarantined"], released=released
            )
        if total["inserted"] or total["updated"]:
            write_silver(spark, classified, batch, contract, settings, outcomes=total)
    return counts


def incoming_rows(
    spark: SparkSession, batch: Batch, contract: Contract, settings: Settings
) -> DataFrame | None:
    """Raw rows of the batch's files and, when it replays, quarantined rows.

    Returns:
        The columns of ``reader.parse_lines`` with ``_origin``, ``_held_by`` (the run that put a
        replayed row into quarantine) and ``_held_for`` (its reasons, joined by ``;``), or None when
        there is nothing to read.
    """
    frames = []
    if batch.loadable:
        bronze = reader.read_files(spark, batch.loadable, contract)
        held = {name: F.lit(None).cast("string") for name in ("_held_by", "_held_for")}
        frames.append(bronze.withColumns({"_origin": F.lit(BRONZE), **held}))
    if batch.replay_layouts:
        frames += replayed_rows(spark, batch, contract, settings)
    return reduce(lambda left, right: left.unionByName(right), frames) if frames else None


def replayed_rows(
    spark: SparkSession, batch: Batch, contract: Contract, settings: Settings
) -> list[DataFrame]:
    """Quarantined rows with any of the batch's reasons, parsed again; one frame per layout."""
    quarantined = read_version(
        spark, settings.table_uri("quarantine", batch.entity), batch.quarantine_version
    )
    chosen = quarantined.where(F.arrays_overlap("_reasons", F.array(*map(F.lit, batch.replay_reasons))))
    frames = []
    for layout in batch.replay_layouts:
        lines = chosen.where(
            (F.col("_layout.delimiter") == layout.delimiter)
            & (F.col("_layout.header") == F.array(*[F.lit(name) for name in layout.header]))
        ).select(
            "_raw",
            *reader.LINEAGE,
            F.col("_run_id").alias("_held_by"),
            F.concat_ws(quality.SEPARATOR, "_reasons").alias("_held_for"),
        )
        parsed = reader.parse_lines(lines, layout, contract, (*reader.LINEAGE, "_held_by", "_held_for"))
        frames.append(parsed.withColumn("_origin", F.lit(QUARANTINE)))
    return frames


def judge(rows: DataFrame, parents: dict[str, DataFrame], contract: Contract) -> DataFrame:
    """Clean and type the columns, and collect the reasons that keep a row out of Silver.

    Args:
        rows: Raw rows, see :func:`incoming_rows`.
        parents: For each column that refers to a parent, the known keys as ``_parent_key``.
        contract: The entity.

    Returns:
        Typed source columns, lineage, ``_raw`` (only for rows with reasons), ``_reasons`` (joined by
        ``;``, empty when valid) and ``_row_hash`` (null when there are reasons).
    """
    passed = ["_raw", *reader.LINEAGE, "_layout", "_origin", "_held_by", "_held_for", "_problem"]
    names = [column.name for column in contract.source_columns]
    normalised = entity_module(contract.entity).clean()
    unknown = set(normalised) - set(names)
    if unknown:
        raise ValueError(f"pipeline/entities/{contract.entity}.py cleans unknown columns: {sorted(unknown)}")
    trimmed = rows.select(*passed, *[cleaning.text(F.col(name)).alias(name) for name in names])
    clean = trimmed.withColumns(normalised) if normalised else trimmed
    both = clean.withColumn(
        "_typed", F.struct(*[cleaning.typed(column).alias(column.name) for column in contract.source_columns])
    )
    typed = both.select(*passed, quality.reasons(contract).alias("_reasons"), "_typed.*")
    found = [F.col("_reasons"), F.when(F.col("_problem").isNull(), quality.row_reasons(contract))]
    for column in contract.parents:
        known = parents[column.name].withColumn("_known", F.lit(True))
        typed = typed.join(known, F.col(column.name) == F.col("_parent_key"), "left").drop("_parent_key")
        typed = typed.withColumnRenamed("_known", f"_known_{column.name}")
        is_orphan = F.col("_problem").isNull() & F.col(column.name).isNotNull()
        found.append(
            F.when(is_orphan & F.col(f"_known_{column.name}").isNull(), F.lit(quality.orphan_reason(column)))
        )
    judged = typed.withColumn("_reasons", quality.join_reasons(*found))
    valid = F.col("_reasons") == ""
    return judged.withColumns(
        {
            "_raw": F.when(~valid, F.col("_raw")),
            "_row_hash": F.when(valid, dedupe.row_hash(contract)),
        }
    ).select(*names, *JUDGEMENT)


def classified_schema(contract: Contract) -> str:
    """Columns of a batch's judged and classified rows, as DDL."""
    typed = {column.name: column.physical_type for column in contract.source_columns}
    columns = typed | JUDGEMENT | {"_disposition": "string"}
    return ", ".join(f"`{name}` {type_}" for name, type_ in columns.items())


def parent_keys(
    spark: SparkSession, batch: Batch, contract: Contract, settings: Settings
) -> dict[str, DataFrame]:
    """Keys of the parents in Silver, for each column that refers to one."""
    keys = {}
    for column in contract.parents:
        entity = str(column.parent_entity)
        parent = read_version(spark, settings.table_uri("silver", entity), batch.parent_versions[entity])
        keys[column.name] = parent.select(F.col(str(column.parent_column)).alias("_parent_key"))
    return keys


def stored_versions(
    spark: SparkSession, batch: Batch, contract: Contract, settings: Settings
) -> DataFrame | None:
    """Key, version and row hash of what Silver holds; None when it has never been written."""
    if batch.silver_version == 0:
        return None
    table = read_version(spark, settings.table_uri("silver", batch.entity), batch.silver_version)
    return table.select(
        dedupe.key_text(contract).alias("_group"),
        F.col(contract.version_column).alias("_stored_version"),
        F.col("_row_hash").alias("_stored_hash"),
    )


def count_rows(classified: DataFrame) -> list[RowCount]:
    """Count rows by file, origin and outcome; by reason those that come into quarantine, or leave it."""
    reasons = F.coalesce("_held_for", "_reasons").alias("_for")
    grouped = classified.groupBy("_source_file", "_origin", "_disposition", reasons).count().collect()
    counts: dict[tuple[str, str], RowCount] = {}
    for row in grouped:
        key = (row["_source_file"], row["_origin"])
        count = counts.setdefault(key, RowCount(*key))
        count.outcomes[row["_disposition"]] += row["count"]
        for reason in filter(None, row["_for"].split(quality.SEPARATOR)):
            count.reasons[reason] += row["count"]
    return [counts[key] for key in sorted(counts)]


def write_quarantine(
    spark: SparkSession,
    classified: DataFrame,
    batch: Batch,
    settings: Settings,
    *,
    quarantined: int,
    released: int,
) -> None:
    """Put bad rows into quarantine, and take out replayed ones that passed, in one commit."""
    uri = settings.table_uri("quarantine", batch.entity)
    held = classified.where(F.col("_disposition") == "quarantined").select(
        F.col("_raw"),
        F.split("_reasons", quality.SEPARATOR).alias("_reasons"),
        F.col("_layout"),
        *_lineage(batch),
    )
    if not released and not batch.redo:
        append(held.coalesce(_file_count(quarantined)), uri, batch)
        return
    back = classified.where(F.col("_origin") == QUARANTINE).select(
        *[
            F.col("_held_by").alias("_run_id")
            if column.name == "_run_id"
            else F.col(column.name)
            if column.name in ("_source_file", "_source_row")
            else F.lit(None).cast(column.type).alias(column.name)
            for column in QUARANTINE_COLUMNS
        ]
    )
    changes = held.withColumn("_released", F.lit(False)).unionByName(
        back.withColumn("_released", F.lit(True))
    )
    view = f"quarantine_{batch.entity}"
    changes.coalesce(_file_count(quarantined + released)).createOrReplaceTempView(view)
    values = ", ".join(f"new.`{column.name}`" for column in QUARANTINE_COLUMNS)
    names = ", ".join(f"`{column.name}`" for column in QUARANTINE_COLUMNS)
    spark.sql(
        f"MERGE INTO delta.`{uri}` AS held USING {view} AS new ON held._source_file = new._source_file "
        "AND held._source_row = new._source_row AND held._run_id = new._run_id "
        "WHEN MATCHED AND new._released THEN DELETE "
        f"WHEN NOT MATCHED AND NOT new._released THEN INSERT ({names}) VALUES ({values})"
    )
    spark.catalog.dropTempView(view)


def write_silver(
    spark: SparkSession,
    classified: DataFrame,
    batch: Batch,
    contract: Contract,
    settings: Settings,
    *,
    outcomes: Counter[str],
) -> None:
    """Write the winners: append when all keys are certainly new, otherwise merge the newer ones."""
    uri = settings.table_uri("silver", batch.entity)
    derived = entity_module(contract.entity).enrich()
    expected = {column.name for column in contract.derived_columns}
    if set(derived) != expected:
        raise ValueError(
            f"pipeline/entities/{contract.entity}.py derives {sorted(derived)}, "
            f"the contract names {sorted(expected)}"
        )
    winners = classified.where(F.col("_disposition").isin("inserted", "updated")).select(
        *[
            (derived[column.name] if column.derived else F.col(column.name))
            .cast(column.physical_type)
            .alias(column.name)
            for column in contract.columns
        ],
        *_lineage(batch),
        F.col("_row_hash"),
    )
    winners = winners.coalesce(_file_count(outcomes["inserted"] + outcomes["updated"]))
    if not outcomes["updated"] and not batch.redo:
        append(winners, uri, batch)
        return
    view = f"winners_{batch.entity}"
    winners.createOrReplaceTempView(view)
    same_key = " AND ".join(f"stored.`{name}` = new.`{name}`" for name in contract.key)
    version = contract.version_column
    newer = (
        f"new.`{version}` > stored.`{version}` OR "
        f"(new.`{version}` = stored.`{version}` AND new._row_hash > stored._row_hash)"
    )
    spark.sql(
        f"MERGE INTO delta.`{uri}` AS stored USING {view} AS new ON {same_key} "
        f"WHEN MATCHED AND ({newer}) THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *"
    )
    spark.catalog.dropTempView(view)


def append(rows: DataFrame, uri: str, batch: Batch, *, begun_ns: int | None = None) -> None:
    """Append to a Delta table, unless a later attempt at the batch has put up its fence.

    Args:
        rows: Rows of the table's columns.
        uri: The table.
        batch: The batch that they belong to.
        begun_ns: When the attempt was begun, in nanoseconds since 1970; now, by default.
    """
    number = time.time_ns() if begun_ns is None else begun_ns
    options = {"txnAppId": _writer(batch), "txnVersion": str(number)}
    rows.write.format("delta").mode("append").options(**options).save(uri)


def undo_attempts(batch: Batch, settings: Settings) -> None:
    """Undo what earlier attempts at the batch have done to its tables, and fence off what they may do."""
    versions = {"quarantine": batch.quarantine_version, "silver": batch.silver_version}
    for layer, version in versions.items():
        restore_and_fence(settings.table_uri(layer, batch.entity), version, _writer(batch), time.time_ns())


def _writer(batch: Batch) -> str:
    return f"{batch.run_id}/{batch.entity}"


def _lineage(batch: Batch) -> list[Column]:
    return [
        F.lit(batch.ingested_at).cast("timestamp").alias("_ingested_at"),
        F.col("_source_file"),
        F.col("_source_row"),
        F.lit(batch.run_id).alias("_run_id"),
    ]


def _file_count(rows: int) -> int:
    return max(1, ceil(rows / ROWS_PER_FILE))
