"""Keep tables small and quick to read: few files, no old ones, a short log. Without Spark.

Readers are not disturbed: a file goes only when no version of the retention period needs it. What an
unfinished batch refers to is left alone as a whole: the next run restores these tables to the versions
that the batch had found, and a Spark that has not noticed that its run is dead may still write to them.
"""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, WriterProperties

from contracts import load_contracts
from pipeline.catalog import catalog_tables, gold_tables, scores_table
from pipeline.errors import UsageError
from pipeline.history import table_name
from pipeline.ledger import Ledger
from pipeline.lock import exclusive, new_run_id
from pipeline.settings import Settings
from pipeline.storage import delete, delete_folder, list_objects
from pipeline.tables import CLUSTERED_BY, clustered_files, commits_since_checkpoint, open_table

RETENTION = timedelta(days=7)  # Delta's own default, delta.deletedFileRetentionDuration
TARGET_BYTES = 128 * 1024 * 1024
SMALL_BYTES = TARGET_BYTES // 2  # two files below it are one file below the target
LOOSE_SHARE = 0.1  # of a table's bytes that were written since it was clustered
LOOSE_FILES = 10
ROWS_IN_GROUP = (
    131_072  # what a reader can skip; Parquet's usual million would make one group of a laptop's table
)
COMMITS_BEFORE_CHECKPOINT = 10  # Delta's own default, delta.checkpointInterval


@dataclass(frozen=True)
class TableSize:
    """Size of the present version of a table."""

    version: int
    files: int
    bytes: int
    rows: int | None
    smallest_file: int | None
    median_file: int | None


@dataclass(frozen=True)
class TableWork:
    """What was done for a table, or with a dry run would be.

    Attributes:
        table: ``layer.name``.
        before: Its size before.
        after: Its size afterwards.
        merged: Small files that became few.
        clustered: Files whose rows were put in order, by the columns that the contract clusters by.
        deleted: Files that no version of the retention period needs.
        checkpoint: Whether its log got a checkpoint.
        left_alone: Why nothing was done, or None.
        seconds: Seconds it took.
    """

    table: str
    before: TableSize
    after: TableSize
    merged: int = 0
    clustered: int = 0
    deleted: int = 0
    checkpoint: bool = False
    left_alone: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class Maintenance:
    """What was done for the lake, or with ``dry_run`` would be; ``staged`` are left-over staging files."""

    run_id: str | None
    at: datetime
    retention: timedelta
    dry_run: bool
    tables: list[TableWork] = field(default_factory=list)
    staged: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        return {
            "run_id": self.run_id,
            "at": self.at.isoformat(),
            "retention_days": self.retention / timedelta(days=1),
            "dry_run": self.dry_run,
            "staged_files_deleted": self.staged,
            "tables": [asdict(table) | {"seconds": round(table.seconds, 3)} for table in self.tables],
        }


def maintain(
    settings: Settings,
    *,
    retention: timedelta = RETENTION,
    allow_short: bool = False,
    dry_run: bool = False,
) -> Maintenance:
    """Maintain all tables of Silver, quarantine, ops and Gold, and write down their sizes.

    Args:
        settings: Where the lake is.
        retention: How long files stay after the last version that needs them.
        allow_short: Allow a retention below ``RETENTION``.
        dry_run: Only say what would be done; nothing is written.

    Raises:
        UsageError: The retention is short and that was not allowed.
        FinlakeError: The lake cannot be reached, or a run holds its locks.
    """
    if retention < RETENTION and not allow_short:
        raise UsageError(
            f"a retention of {retention / timedelta(days=1):g} days could take files from readers and from "
            f"time travel: at least {RETENTION.days} days are safe",
            "if nobody reads or writes the lake now: --allow-short-retention",
        )
    at = settings.instant()
    run_id = new_run_id(at)
    contracts = load_contracts()
    # A dry run writes nothing, no lock either.
    with nullcontext() if dry_run else exclusive([*contracts, "gold"], run_id, settings):
        ledger = Ledger(settings)
        needed = needed_by_batches(ledger, settings)
        report = Maintenance(None if dry_run else run_id, at, retention, dry_run)
        tables = [*catalog_tables(contracts, settings, {}), *gold_tables(settings), scores_table(settings)]
        for table in tables:
            if (opened := open_table(table.uri)) is not None:
                name, why = f"{table.layer}.{table.name}", needed.get(table.uri)
                work = maintain_table(
                    name,
                    table.uri,
                    opened,
                    retention,
                    cluster_by=table.cluster_by,
                    left_alone=why,
                    dry_run=dry_run,
                )
                report.tables.append(work)
        staged = list(left_over_staging(settings, ledger))
        if not dry_run:
            for folder, _ in staged:
                delete_folder(folder)
            ledger.record_sizes(run_id, at, {work.table: asdict(work.after) for work in report.tables})
    return Maintenance(**vars(report) | {"staged": sum(files for _, files in staged)})


def maintain_table(
    name: str,
    uri: str,
    table: DeltaTable,
    retention: timedelta,
    *,
    cluster_by: Sequence[str] = (),
    left_alone: str | None,
    dry_run: bool,
) -> TableWork:
    """Maintain one table. Doing it again changes nothing.

    Args:
        name: ``layer.name`` of the table.
        uri: Its folder.
        table: The table in its newest version.
        retention: How long files stay after the last version that needs them.
        cluster_by: Columns whose like values are to stand together.
        left_alone: Why the table must not be touched, or None.
        dry_run: Only say what would be done.
    """
    clock = time.monotonic()
    before = size_of(table)
    if left_alone:
        return TableWork(name, before, before, left_alone=left_alone)
    merged = clustered = 0
    if cluster_by:
        clustered = before.files if is_loose(uri, table, cluster_by) else 0
        if clustered and not dry_run:
            cluster(table, cluster_by)
    else:
        merged = sum(len(sizes) for sizes in small_files(table).values() if len(sizes) > 1)
        if merged and not dry_run:
            table.optimize.compact(target_size=TARGET_BYTES)
    deleted = unneeded_files(uri, table, retention)
    if not dry_run:
        with ThreadPoolExecutor(max_workers=16) as pool:
            list(pool.map(delete, deleted))
    # What a mart was built from is written in its commits, so they stay: they are few.
    commits = 0 if name.startswith("gold.") else commits_since_checkpoint(uri)
    checkpoint = commits >= COMMITS_BEFORE_CHECKPOINT
    if checkpoint and not dry_run:
        table.create_checkpoint()
        table.cleanup_metadata()
    after = before if dry_run else size_of(table)
    seconds = time.monotonic() - clock
    return TableWork(name, before, after, merged, clustered, len(deleted), checkpoint, seconds=seconds)


def is_loose(uri: str, table: DeltaTable, columns: Sequence[str]) -> bool:
    """Whether so much was written since a table was last clustered by these columns that it should be again.

    That rewrites the whole table, so a few new files wait.
    """
    in_order = clustered_files(uri, columns)
    files = _files(table)
    loose = [file["size_bytes"] for file in files if file["path"] not in in_order]
    share = sum(loose) / max(1, sum(file["size_bytes"] for file in files))
    return share > LOOSE_SHARE or len(loose) > LOOSE_FILES


def cluster(table: DeltaTable, columns: Sequence[str]) -> None:
    """Rewrite a table so that rows with like values of these columns stand together (Z-order).

    With one column that is its order. Readers that look for some values then skip files, and row groups of
    files, by their least and greatest value.
    """
    said = CommitProperties(custom_metadata={CLUSTERED_BY: ",".join(columns)})
    groups = WriterProperties(max_row_group_size=ROWS_IN_GROUP, compression="SNAPPY")
    table.optimize.z_order(
        columns, target_size=TARGET_BYTES, writer_properties=groups, commit_properties=said
    )


def unneeded_files(uri: str, table: DeltaTable, retention: timedelta) -> list[str]:
    """URIs of files that no version of the retention period needs.

    Among them are files that a write has left behind and that never became part of a version. They are
    found by delta-rs, and not deleted by it: it also names files that are long gone, and Hadoop's markers
    of folders, so that each vacuum would make two commits for nothing.
    """
    hours = ceil(retention / timedelta(hours=1))
    names = table.vacuum(hours, dry_run=True, full=True, enforce_retention_duration=False)
    unneeded = {f"{uri}/{name}" for name in names if name.endswith(".parquet")}
    return [info.uri for info in list_objects(uri) if info.uri in unneeded] if unneeded else []


def size_of(table: DeltaTable) -> TableSize:
    """Size of a table's version, from its log."""
    files = _files(table)
    sizes = [file["size_bytes"] for file in files]
    rows = [file["num_records"] for file in files if file.get("num_records") is not None]
    return TableSize(
        version=table.version(),
        files=len(sizes),
        bytes=sum(sizes),
        rows=sum(rows) if len(rows) == len(files) else None,
        smallest_file=min(sizes, default=None),
        median_file=int(statistics.median(sizes)) if sizes else None,
    )


def small_files(table: DeltaTable) -> dict[tuple[tuple[str, Any], ...], list[int]]:
    """Sizes of small files by partition; only files of one partition can become one."""
    small: dict[tuple[tuple[str, Any], ...], list[int]] = defaultdict(list)
    for file in _files(table):
        if file["size_bytes"] < SMALL_BYTES:
            partition = {name: value for name, value in file.items() if name.startswith("partition")}
            small[tuple(sorted(partition.items()))].append(file["size_bytes"])
    return dict(small)


def needed_by_batches(ledger: Ledger, settings: Settings) -> dict[str, str]:
    """URIs of the tables that unfinished batches refer to, and why they must be left alone."""
    needed: dict[str, str] = {}
    for batch in ledger.open_batches():
        why = f"batch {batch.number} of {batch.entity} is unfinished; `finlake run` finishes it"
        referred = [("quarantine", batch.entity), ("silver", batch.entity)]
        referred += [("silver", parent) for parent in batch.parent_versions]
        if batch.history_version >= 0:
            referred.append(("silver", table_name(batch.entity)))
        needed |= {settings.table_uri(layer, entity): why for layer, entity in referred}
    return needed


def left_over_staging(settings: Settings, ledger: Ledger) -> Iterator[tuple[str, int]]:
    """Staging folders that runs have left behind, and how many files are in each."""
    unfinished = {batch.entity for batch in ledger.open_batches()}
    for entity in load_contracts():
        folder = settings.table_uri("staging", entity)
        if entity not in unfinished and (files := list_objects(folder)):
            yield folder, len(files)


def _files(table: DeltaTable) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    return files
