"""One batch of one entity: Bronze rows -> Silver table and quarantine table, every row accounted for.

Order of the writes: quarantine, Silver, its history, and then (by the caller) the ledger. Each table
gets one Delta commit, and a large Silver table two: newer versions, then new keys. A batch that is done
again after an interruption first restores the tables to the versions it had found; so they come out the
same, however often a batch is done.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

from deltalake.schema import PrimitiveType
from pyspark.sql import functions as F  # noqa: N812

from contracts import Contract
from contracts.rules import DELETE
from pipeline import cleaning, dedupe, history, quality, reader, snapshots
from pipeline.entities import entity_module
from pipeline.errors import FinlakeError
from pipeline.layout import with_aliases
from pipeline.ledger import BRONZE, QUARANTINE, Batch, Closures, RowCount
from pipeline.settings import Settings
from pipeline.staging import staged
from pipeline.tables import (
    ARRAY_OF_STRING,
    CHANGE_FEED,
    LAYOUT_STRUCT,
    TableColumn,
    ensure_table,
    open_table,
    read_version,
    row_count,
    table_version,
)
from pipeline.writes import append, file_count, lineage, merge, undo_attempts

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from pyspark.sql import Column, DataFrame, SparkSession

# From so many on, a merge takes longer for what it shuffles than a second commit takes.
LARGE_TABLE_ROWS = 200_000
LINEAGE = (
    TableColumn("_ingested_at", "timestamp", "Instant (UTC) of the run that wrote this version."),
    TableColumn("_source_file", "string", "URI of the Bronze file that the row comes from."),
    TableColumn("_source_row", "bigint", "Line of that file; the first line is 1."),
    TableColumn("_run_id", "string", "Run that wrote this version."),
)
ROW_HASH = TableColumn("_row_hash", "binary", "SHA2-256 over the source columns; equal rows are equal here.")
DELETED_AT = TableColumn(
    "_deleted_at", "timestamp", "Instant (UTC) at which the key was deleted; null while it is there."
)
WARNINGS = TableColumn("_warnings", ARRAY_OF_STRING, "Rules broken that only warn, as rule:column.")
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
    "_warnings": "string",
    "_is_deleted": "boolean",
    "_row_hash": "binary",
}


def silver_columns(contract: Contract, additional: Sequence[str] = ()) -> tuple[TableColumn, ...]:
    """Columns of an entity's Silver table: the contract's, lineage, row hash, deletion, additional ones."""
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
    extra = [TableColumn(name, "string", "Additional column: not in the contract.") for name in additional]
    return (*columns, *LINEAGE, ROW_HASH, WARNINGS, DELETED_AT, *extra)


class Loaded(NamedTuple):
    """What came of a batch: rows by file and outcome, and keys by what its snapshots lack."""

    counts: list[RowCount]
    closures: Closures = Closures()


class SilverTable(NamedTuple):
    """A table of Silver: its name, its columns, what one row is, and how rows are laid out in files."""

    name: str
    columns: tuple[TableColumn, ...]
    description: str
    partition_by: tuple[str, ...] = ()
    cluster_by: tuple[str, ...] = ()
    configuration: Mapping[str, str] | None = None


def silver_tables(contract: Contract, additional: Sequence[str] = ()) -> list[SilverTable]:
    """The tables that an entity has in Silver: its own and, if the contract says so, its history."""
    columns = silver_columns(contract, additional)
    layout = contract.partition_by, contract.cluster_by
    # Gold follows what has changed instead of reading everything again.
    feed = {CHANGE_FEED: "true"}
    tables = [SilverTable(contract.entity, columns, contract.description, *layout, feed)]
    if contract.keeps_history:
        text = f"Every version of {contract.entity}, with the time in which it held (SCD type 2)."
        kept, name = history.history_columns(columns), history.table_name(contract.entity)
        followed = feed if contract.history_has_feed else None
        tables.append(SilverTable(name, kept, text, configuration=followed))
    return tables


def ensure_tables(contract: Contract, additional: Sequence[str], settings: Settings) -> tuple[str, ...]:
    """Create the entity's tables when they are not there, and bring their columns up to date.

    Args:
        contract: The entity.
        additional: Columns to add that the contract does not know.
        settings: Where the tables are.

    Returns:
        All columns of Silver that the contract does not know.

    Raises:
        FinlakeError: A column has another type than the contract's, and values could get lost; or Silver has
            one that the contract does not know any more, and that is no text.
    """
    ensure_table(settings.table_uri("quarantine", contract.entity), QUARANTINE_COLUMNS)
    silver = _ensure_silver(silver_tables(contract, additional)[0], settings)
    unknown = _unknown_columns(silver, contract)
    _refuse_lost_columns(silver, unknown, contract)
    # All of them: a run that was killed may have added a column to Silver, and not yet to the history.
    for table in silver_tables(contract, unknown)[1:]:
        _ensure_silver(table, settings)
    return unknown


def _ensure_silver(table: SilverTable, settings: Settings) -> DeltaTable:
    return ensure_table(
        settings.table_uri("silver", table.name),
        table.columns,
        table.partition_by,
        table.description,
        table.configuration,
    )


def _refuse_lost_columns(table: DeltaTable, unknown: Sequence[str], contract: Contract) -> None:
    """Columns that no contract knows are texts: one of another type was taken out of the contract."""
    for field in table.schema().fields:
        if field.name in unknown and field.type != PrimitiveType("string"):
            raise FinlakeError(
                f"column {field.name} of silver.{contract.entity} is no longer in the contract, and no text",
                "leave it in the contract, not required: files without it are loaded, and it is null",
            )


def additional_in_silver(contract: Contract, settings: Settings) -> tuple[str, ...]:
    """Columns of an entity's Silver table that the contract does not know."""
    table = open_table(settings.table_uri("silver", contract.entity))
    return _unknown_columns(table, contract) if table else ()


def _unknown_columns(table: DeltaTable, contract: Contract) -> tuple[str, ...]:
    known = {column.name for column in silver_columns(contract)}
    return tuple(field.name for field in table.schema().fields if field.name not in known)


def load_batch(spark: SparkSession, batch: Batch, contract: Contract, settings: Settings) -> Loaded:
    """Load one batch.

    Args:
        spark: Session.
        batch: Files to read and table versions to compare with.
        contract: The entity.
        settings: Where the tables are.

    Returns:
        Rows by file and outcome: for each, ``read`` is the sum of the outcomes. And how many keys were
        closed.

    Raises:
        RuleBrokenError: More rows break a rule, or keys are missing, than the contract allows. Nothing was
            written.
    """
    if batch.redo:
        undo_attempts(batch, _found(batch, contract, settings))
        ensure_tables(contract, batch.additional, settings)  # what was undone may have had fewer columns
    batch = replace(batch, begun_ns=time.time_ns())
    rows = incoming_rows(spark, batch, contract, settings)
    if rows is None:
        return Loaded([])
    judged = judge(rows, parent_keys(spark, batch, contract, settings), contract, batch.additional)
    stored = stored_versions(spark, batch, contract, settings)
    everything = dedupe.classify(judged, stored, contract)
    schema = classified_schema(contract, batch.additional)
    folder = settings.table_uri("staging", batch.entity)
    with ExitStack() as stack:
        written = stack.enter_context(staged(spark, everything, schema, folder, time.time_ns()))
        # A replayed row that is still bad simply stays where it is. Asked any earlier, Spark would parse each
        # line once for every rule: it takes what a condition depends on down to the lines with it.
        classified = written.where((F.col("_origin") == BRONZE) | (F.col("_reasons") == ""))
        counts = count_rows(classified)
        total = sum((count.outcomes for count in counts), Counter[str]())
        released = sum(count.read for count in counts if count.origin == QUARANTINE)
        fresh = [count for count in counts if count.origin == BRONZE]
        broken = sum((count.reasons + count.warnings for count in fresh), Counter[str]())
        quality.check_limits(broken, sum(count.read for count in fresh), contract)
        states, closures = None, Closures()
        if contract.is_snapshot and counts:
            silver = None
            if batch.silver_version > 0:
                silver = read_version(spark, settings.table_uri("silver", batch.entity), batch.silver_version)
            days = snapshots.days_of(count.path for count in counts)
            found = snapshots.states(silver, classified, contract, batch.snapshot_days, days)
            columns = snapshots.states_schema(contract)
            states = stack.enter_context(staged(spark, found, columns, f"{folder}/states", time.time_ns()))
            closures = snapshots.count(states, contract)
        if total["quarantined"] or released:
            write_quarantine(
                spark, classified, batch, settings, quarantined=total["quarantined"], released=released
            )
        if total["inserted"] or total["updated"] or states is not None:
            write_silver(spark, classified, batch, contract, settings, outcomes=total, states=states)
        if contract.keeps_history and (
            total["inserted"] or total["updated"] or total["stale"] or states is not None
        ):
            write_history(spark, classified, batch, contract, settings, outcomes=total, states=states)
    return Loaded(counts, closures)


def _found(batch: Batch, contract: Contract, settings: Settings) -> dict[str, int]:
    """Versions that the batch had found, by the URIs of the tables that it writes."""
    found = {
        settings.table_uri("quarantine", batch.entity): batch.quarantine_version,
        settings.table_uri("silver", batch.entity): batch.silver_version,
    }
    if contract.keeps_history:
        found[settings.table_uri("silver", history.table_name(batch.entity))] = batch.history_version
    return found


def incoming_rows(
    spark: SparkSession, batch: Batch, contract: Contract, settings: Settings
) -> DataFrame | None:
    """Raw rows of the batch's files and, when it replays, quarantined rows.

    Returns:
        The columns of ``reader.parse_lines`` with ``_came_on`` (see ``quality.came_on``), ``_origin``,
        ``_held_by`` (the run that put a replayed row into quarantine) and ``_held_for`` (its reasons, joined
        by ``;``), or None when there is nothing to read.
    """
    frames = []
    if batch.loadable:
        names = (*contract.input_columns, *batch.additional)
        bronze = reader.read_files(spark, batch.loadable, names)
        held = {name: F.lit(None).cast("string") for name in ("_held_by", "_held_for")}
        came_on = quality.came_on(batch.loadable, batch.ingested_at.date())
        frames.append(bronze.withColumns({"_came_on": came_on, "_origin": F.lit(BRONZE), **held}))
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
        names = (*contract.input_columns, *batch.additional)
        # The contract may call a column by another name than when the file was read.
        known = replace(layout, header=with_aliases(layout.header, contract))
        parsed = reader.parse_lines(lines, known, names, (*reader.LINEAGE, "_held_by", "_held_for"))
        came_on = quality.came_on((), batch.ingested_at.date())
        frames.append(parsed.withColumns({"_came_on": came_on, "_origin": F.lit(QUARANTINE)}))
    return frames


def judge(
    rows: DataFrame, parents: dict[str, DataFrame], contract: Contract, additional: Sequence[str] = ()
) -> DataFrame:
    """Clean and type the columns, and collect the reasons that keep a row out of Silver.

    Args:
        rows: Raw rows, see :func:`incoming_rows`.
        parents: For each column that refers to a parent, the known keys as ``_parent_key``.
        contract: The entity.
        additional: Columns that the contract does not know; they stay texts.

    Returns:
        Typed source columns, additional columns, lineage, ``_raw`` (only for rows with reasons),
        ``_reasons`` (joined by ``;``, empty when valid) and ``_row_hash`` (null when there are reasons).
    """
    passed = ["_raw", *reader.LINEAGE, "_layout", "_origin", "_held_by", "_held_for", "_problem"]
    names = [column.name for column in contract.source_columns]
    operation = F.lit(None).cast("string")
    if contract.operation_column:
        operation = F.upper(cleaning.text(F.col(contract.operation_column)))
    normalised = entity_module(contract.entity).clean()
    unknown = set(normalised) - set(names)
    if unknown:
        raise ValueError(f"pipeline/entities/{contract.entity}.py cleans unknown columns: {sorted(unknown)}")
    marked = rows.withColumn("_operation", operation).withColumn(
        "_is_deleted", F.coalesce(F.col("_operation") == DELETE, F.lit(False))
    )
    passed += ["_operation", "_is_deleted"]
    texts = [_known_text(name, contract).alias(name) for name in (*names, *additional)]
    trimmed = marked.select(*passed, "_came_on", *texts)
    passed += additional
    clean = trimmed.withColumns(normalised) if normalised else trimmed
    both = clean.withColumn(
        "_typed", F.struct(*[cleaning.typed(column).alias(column.name) for column in contract.source_columns])
    )
    reasons, warnings = quality.reasons(contract), quality.column_warnings(contract)
    typed = both.select(*passed, reasons.alias("_reasons"), warnings.alias("_warnings"), "_typed.*")
    found = [F.col("_reasons"), F.when(F.col("_problem").isNull(), quality.row_reasons(contract))]
    warned = [F.col("_warnings"), quality.row_warnings(contract)]
    for column in contract.parents:
        known = parents[column.name].withColumn("_known", F.lit(True))
        typed = typed.join(known, F.col(column.name) == F.col("_parent_key"), "left").drop("_parent_key")
        typed = typed.withColumnRenamed("_known", f"_known_{column.name}")
        is_orphan = F.col("_problem").isNull() & F.col(column.name).isNotNull()
        reason = quality.orphan_reason(column)
        into = warned if quality.only_warns(reason, contract) else found
        into.append(F.when(is_orphan & F.col(f"_known_{column.name}").isNull(), F.lit(reason)))
    judged = typed.withColumn("_reasons", quality.join_reasons(*found))
    valid = F.col("_reasons") == ""
    warnings = quality.join_reasons(*warned)
    return judged.withColumns(
        {
            "_raw": F.when(~valid, F.col("_raw")),
            "_warnings": F.when(valid, warnings).otherwise(""),
            "_row_hash": F.when(valid, dedupe.row_hash(contract, additional)),
        }
    ).select(*names, *additional, *JUDGEMENT)


def _known_text(name: str, contract: Contract) -> Column:
    """The trimmed text of a column. A deletion says nothing about others than key and version."""
    text = cleaning.text(F.col(name))
    return text if name in contract.identity else F.when(~F.col("_is_deleted"), text)


def classified_schema(contract: Contract, additional: Sequence[str] = ()) -> str:
    """Columns of a batch's judged and classified rows, as DDL."""
    typed = {column.name: column.physical_type for column in contract.source_columns}
    columns = typed | dict.fromkeys(additional, "string") | JUDGEMENT | {"_disposition": "string"}
    return ", ".join(f"`{name}` {type_}" for name, type_ in columns.items())


def parent_keys(
    spark: SparkSession, batch: Batch, contract: Contract, settings: Settings
) -> dict[str, DataFrame]:
    """Keys of the parents in Silver, for each column that refers to one; none of a missing table."""
    keys = {}
    for column in contract.parents:
        entity = str(column.parent_entity)
        version = batch.parent_versions[entity]
        if version < 0:
            none = F.lit(None).cast(column.physical_type).alias("_parent_key")
            keys[column.name] = spark.range(0).select(none)
            continue
        parent = read_version(spark, settings.table_uri("silver", entity), version)
        keys[column.name] = parent.select(F.col(str(column.parent_column)).alias("_parent_key"))
    return keys


def stored_versions(
    spark: SparkSession, batch: Batch, contract: Contract, settings: Settings
) -> DataFrame | None:
    """Key and precedence of what Silver holds; None when it has never been written."""
    if batch.silver_version == 0:
        return None
    table = read_version(spark, settings.table_uri("silver", batch.entity), batch.silver_version)
    marked = table.withColumn("_is_deleted", _is_tombstone("_deleted_at", contract))
    return marked.select(
        dedupe.key_text(contract).alias("_group"), dedupe.precedence(contract).alias("_stored")
    )


def _is_tombstone(deleted_at: str, contract: Contract) -> Column:
    """Whether a row of Silver is the version that deleted its key. One that snapshots lack has its last."""
    return F.lit(False) if contract.is_snapshot else F.col(deleted_at).isNotNull()


def count_rows(classified: DataFrame) -> list[RowCount]:
    """Count rows by file, origin and outcome; by reason those that come into quarantine, or leave it.

    Rows that are kept in spite of a warning are counted by it.
    """
    reasons = F.coalesce("_held_for", "_reasons").alias("_for")
    by = ("_source_file", "_origin", "_disposition", reasons, "_warnings")
    grouped = classified.groupBy(*by).count().collect()
    counts: dict[tuple[str, str], RowCount] = {}
    for row in grouped:
        key = (row["_source_file"], row["_origin"])
        count = counts.setdefault(key, RowCount(*key))
        count.outcomes[row["_disposition"]] += row["count"]
        for reason in filter(None, row["_for"].split(quality.SEPARATOR)):
            count.reasons[reason] += row["count"]
        for warning in filter(None, row["_warnings"].split(quality.SEPARATOR)):
            count.warnings[warning] += row["count"]
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
        *lineage(batch),
    )
    if not released and not batch.redo:
        append(held.coalesce(file_count(quarantined)), uri, batch)
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
    values = ", ".join(f"new.`{column.name}`" for column in QUARANTINE_COLUMNS)
    names = ", ".join(f"`{column.name}`" for column in QUARANTINE_COLUMNS)
    merge(
        spark,
        changes.coalesce(file_count(quarantined + released)),
        uri,
        f"quarantine_{batch.entity}",
        "stored._source_file = new._source_file AND stored._source_row = new._source_row "
        "AND stored._run_id = new._run_id WHEN MATCHED AND new._released THEN DELETE "
        f"WHEN NOT MATCHED AND NOT new._released THEN INSERT ({names}) VALUES ({values})",
    )


def write_silver(
    spark: SparkSession,
    classified: DataFrame,
    batch: Batch,
    contract: Contract,
    settings: Settings,
    *,
    outcomes: Counter[str],
    states: DataFrame | None = None,
) -> None:
    """Write the winners: append keys that are certainly new, and merge the newer ones.

    In a small table, one merge does both: it costs less than two commits. In a large one it would shuffle all
    that is stored, since rows may be missing on either side; newer versions alone are joined without that.

    With ``states`` (see ``snapshots.states``), also since when keys are closed.
    """
    uri = settings.table_uri("silver", batch.entity)
    deleted_at = F.when(F.col("_is_deleted"), F.col(contract.version_column))

    def of(*dispositions: str) -> DataFrame:
        return classified.where(F.col("_disposition").isin(*dispositions)).select(
            *contract_columns(contract),
            *lineage(batch),
            "_row_hash",
            _marks(),
            deleted_at.alias(DELETED_AT.name),
            *batch.additional,
        )

    winners = of("inserted", "updated")
    closes = ""
    may_be_stored = bool(outcomes["updated"]) or batch.redo
    if states is not None:
        winners = winners.drop(DELETED_AT.name).join(
            states.select(*contract.key, DELETED_AT.name), list(contract.key), "left"
        )
        if batch.silver_version > 0:
            may_be_stored = True
            closed = snapshots.changed(states).join(
                winners.select(*contract.key), list(contract.key), "left_anti"
            )
            winners = winners.withColumn("_closes", F.lit(False)).unionByName(
                closed.select(*contract.key, DELETED_AT.name, F.lit(True).alias("_closes")),
                allowMissingColumns=True,
            )
            closes = "WHEN MATCHED AND new._closes THEN UPDATE SET stored._deleted_at = new._deleted_at "
    winners = winners.coalesce(file_count(outcomes["inserted"] + outcomes["updated"]))
    if not may_be_stored:
        append(winners, uri, batch)
        return
    same_key = " AND ".join(f"stored.`{name}` = new.`{name}`" for name in contract.key)
    new, stored = (
        f"struct({side}.`{contract.version_column}`, {deleted}, {side}._row_hash)"
        for side in ("new", "stored")
        for deleted in ["false" if contract.is_snapshot else f"{side}._deleted_at IS NOT NULL"]
    )
    name, updates = f"winners_{batch.entity}", f"WHEN MATCHED AND {new} > {stored} THEN UPDATE SET *"
    if states is None and not batch.redo and row_count(uri) >= LARGE_TABLE_ROWS:
        merge(spark, of("updated"), uri, name, f"{same_key} {updates}")
        if new_keys := outcomes["inserted"]:
            append(of("inserted").coalesce(file_count(new_keys)), uri, batch)
        return
    merge(spark, winners, uri, name, f"{same_key} {closes}{updates} WHEN NOT MATCHED THEN INSERT *")


def write_history(
    spark: SparkSession,
    classified: DataFrame,
    batch: Batch,
    contract: Contract,
    settings: Settings,
    *,
    outcomes: Counter[str],
    states: DataFrame | None = None,
) -> None:
    """Write the versions that came in, late ones too, and end those that they follow upon.

    With ``states`` (see ``snapshots.states``), also the ends of closed keys, as Silver has them by now.
    """
    uri = settings.table_uri("silver", history.table_name(batch.entity))
    came_in = ("inserted", "updated", "stale")
    new = classified.where(F.col("_disposition").isin(*came_in)).select(
        *contract_columns(contract),
        *lineage(batch),
        "_row_hash",
        _marks(),
        F.col(contract.version_column).alias("valid_from"),
        F.col("_is_deleted").alias("is_deleted"),
        *batch.additional,
    )
    columns = silver_columns(contract, batch.additional)
    names = [column.name for column in history.history_columns(columns)]
    stored, gone, deletes = None, None, ""
    keys = new.select(*contract.key)
    if states is not None:
        keys = keys.union(snapshots.changed(states).select(*contract.key)).distinct()
        silver = settings.table_uri("silver", batch.entity)
        present = read_version(spark, silver, table_version(silver)).join(
            keys, list(contract.key), "left_semi"
        )
        ends = snapshots.tombstones(present, contract).select(
            "*",
            F.col("valid_from").alias(contract.version_column),
            F.lit(batch.ingested_at).cast("timestamp").alias("_ingested_at"),
            F.lit(batch.run_id).alias("_run_id"),
        )
        new = new.unionByName(ends, allowMissingColumns=True)
    # Nothing is stored yet of keys that are all new, as in an initial load.
    if outcomes["updated"] or outcomes["stale"] or (states is not None and batch.silver_version > 0):
        table = read_version(spark, uri, batch.history_version)
        stored = table.join(keys, list(contract.key), "left_semi").select(*names)
        if states is not None:  # a key has one end at most, and may have another one than before
            at = [*contract.key, "valid_from"]
            gone = stored.where("is_deleted").join(new.select(*at), at, "left_anti")
            stored = stored.where("NOT is_deleted")
            deletes = "WHEN MATCHED AND new._is_gone THEN DELETE "
    rows = history.changes(new, stored, contract).select(*names)
    if gone is not None:
        rows = rows.withColumn("_is_gone", F.lit(False)).unionByName(gone.withColumn("_is_gone", F.lit(True)))
    rows = rows.coalesce(file_count(sum(outcomes[name] for name in came_in)))
    if stored is None and not batch.redo:
        append(rows, uri, batch)
        return
    same = " AND ".join(f"stored.`{name}` = new.`{name}`" for name in (*contract.key, "valid_from"))
    merge(
        spark,
        rows,
        uri,
        f"history_{batch.entity}",
        f"{same} {deletes}WHEN MATCHED THEN UPDATE SET * WHEN NOT MATCHED THEN INSERT *",
    )


def _marks() -> Column:
    """Warnings as Silver keeps them; null when there are none."""
    marks = F.when(F.col("_warnings") != "", F.split("_warnings", quality.SEPARATOR))
    return marks.alias(WARNINGS.name)


def contract_columns(contract: Contract) -> list[Column]:
    """The contract's columns, typed, from clean source columns; those of a deletion are null."""
    derived = entity_module(contract.entity).enrich()
    expected = {column.name for column in contract.derived_columns}
    if set(derived) != expected:
        raise ValueError(
            f"pipeline/entities/{contract.entity}.py derives {sorted(derived)}, "
            f"the contract names {sorted(expected)}"
        )
    return [
        (F.when(~F.col("_is_deleted"), derived[column.name]) if column.derived else F.col(column.name))
        .cast(column.physical_type)
        .alias(column.name)
        for column in contract.columns
    ]
