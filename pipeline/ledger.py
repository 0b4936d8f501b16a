"""What was done: runs, batches, files and row counts, in the Delta tables of database ``ops``.

A *batch* is what one run loads for one entity. It is written down before any data is written (status
``started``, with the versions of the tables it looks at) and closed afterwards. A batch that is
found open was interrupted: it is done again with the same run id against the same table versions,
so that its counts and its rows come out as if nothing had happened.

The tables are small and are read and written without Spark.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, NamedTuple

import polars as pl

from pipeline.dedupe import DISPOSITIONS
from pipeline.layout import Layout
from pipeline.settings import Settings
from pipeline.small_table import SmallTable
from pipeline.storage import ObjectInfo
from pipeline.tables import ARRAY_OF_STRING, TableColumn

BRONZE, QUARANTINE = "bronze", "quarantine"
ERROR, WARNING = "error", "warning"

# A column that is added later comes last, as Delta adds it to the tables of lakes that are there already.
RUNS = (
    TableColumn("run_id", "string", "Run; ids sort by start time."),
    TableColumn("started_at", "timestamp", "Start (UTC)."),
    TableColumn("finished_at", "timestamp", "End (UTC); null while it runs or when it was interrupted."),
    TableColumn("status", "string", "running, succeeded or failed."),
    TableColumn("layer", "string", "all, silver or gold."),
    TableColumn("error", "string", "Message of a failed run."),
)
BATCHES = (
    TableColumn("entity", "string", "Entity that was loaded."),
    TableColumn("batch", "bigint", "Number of the batch within the entity, from 1."),
    TableColumn("run_id", "string", "Run that began the batch."),
    TableColumn("status", "string", "started, committed, or refused when more rows broke a rule than may."),
    TableColumn("ingested_at", "timestamp", "Instant (UTC) that the rows carry as _ingested_at."),
    TableColumn("silver_version", "bigint", "Version of the Silver table that the batch was compared with."),
    TableColumn("quarantine_version", "bigint", "Version of the quarantine table that it looked at."),
    TableColumn("history_version", "bigint", "Version of the history table; null when none is kept."),
    TableColumn("parent_versions", "string", "Versions of the parents' Silver tables, as JSON."),
    TableColumn("replays", "boolean", "Whether quarantined rows were tried again."),
    TableColumn("seconds", "double", "Seconds it took."),
    TableColumn("replay_reasons", ARRAY_OF_STRING, "Reasons of the quarantined rows that were tried again."),
    TableColumn("closed", "bigint", "Keys that a snapshot lacked, and that were closed."),
    TableColumn("reopened", "bigint", "Closed keys that were in a snapshot again."),
)
FILES = (
    TableColumn("entity", "string", "Entity."),
    TableColumn("batch", "bigint", "Batch that read the file."),
    TableColumn("run_id", "string", "Run that read the file."),
    TableColumn("path", "string", "URI of the Bronze file."),
    TableColumn("size", "bigint", "Size in bytes."),
    TableColumn("etag", "string", "ETag of the content that was read."),
    TableColumn("status", "string", "pending, loaded, empty, rejected, vanished, unreadable or refused."),
    TableColumn("notes", ARRAY_OF_STRING, "What was noticed about the file."),
    TableColumn("encoding", "string", "Text encoding."),
    TableColumn("delimiter", "string", "Delimiter."),
    TableColumn("header", ARRAY_OF_STRING, "Normalised column names in file order."),
    TableColumn("has_header", "boolean", "Whether line 1 is a header."),
    TableColumn("problem", "string", "Reason for which every row of the file was quarantined."),
)
ROW_COUNTS = (
    TableColumn("entity", "string", "Entity."),
    TableColumn("batch", "bigint", "Batch."),
    TableColumn("run_id", "string", "Run."),
    TableColumn("path", "string", "URI of the Bronze file that the rows come from."),
    TableColumn("origin", "string", "bronze, or quarantine for rows that were tried again."),
    TableColumn("read", "bigint", "Rows taken in; always the sum of the five outcomes."),
    *(TableColumn(name, "bigint", f"Rows with that outcome: {name}.") for name in DISPOSITIONS),
)
REASONS = (
    TableColumn("entity", "string", "Entity."),
    TableColumn("batch", "bigint", "Batch."),
    TableColumn("run_id", "string", "Run."),
    TableColumn("path", "string", "URI of the Bronze file that the rows come from."),
    TableColumn("origin", "string", "bronze: rows that came into quarantine; quarantine: rows that left."),
    TableColumn("reason", "string", "Rule that was broken, with its column."),
    TableColumn("rows", "bigint", "Rows with that reason; a row can have several."),
    TableColumn("level", "string", "error: the rows are in quarantine; warning: they are in Silver, marked."),
)
SIZES = (
    TableColumn("run_id", "string", "Maintenance that measured it."),
    TableColumn("measured_at", "timestamp", "Instant (UTC) of the maintenance."),
    TableColumn("table_name", "string", "Table, as layer.name."),
    TableColumn("version", "bigint", "Version that was measured, after the maintenance."),
    TableColumn("files", "bigint", "Data files of that version."),
    TableColumn("bytes", "bigint", "Bytes in them."),
    TableColumn("rows", "bigint", "Rows in them; null when the log does not tell."),
    TableColumn("smallest_file", "bigint", "Bytes of the smallest file; null when there is none."),
    TableColumn("median_file", "bigint", "Bytes of the median file; null when there is none."),
)
OPS_TABLES = {
    "runs": RUNS,
    "batches": BATCHES,
    "files": FILES,
    "row_counts": ROW_COUNTS,
    "quarantine_reasons": REASONS,
    "table_sizes": SIZES,
}

# Files in these states are done with; only another content (ETag) makes them new.
FINAL_STATES = ("loaded", "empty", "rejected", "unreadable")


class Closures(NamedTuple):
    """How many keys were closed, since a full snapshot lacked them, and how many opened again."""

    closed: int = 0
    reopened: int = 0


NOTHING_CLOSED = Closures()


@dataclass(frozen=True)
class BronzeFile:
    """A Bronze file within a batch."""

    path: str
    size: int
    etag: str
    status: str = "pending"
    notes: tuple[str, ...] = ()
    layout: Layout | None = None


@dataclass(frozen=True)
class Batch:
    """What one run loads for one entity, and the table versions that it looks at.

    Quarantined rows with any of ``replay_reasons`` are tried again; ``replay_layouts`` is how their lines
    are written. Both are empty when none are. ``redo`` says that an interrupted batch is done again.
    ``snapshot_days`` are the days of the full snapshots that were loaded before, and ``closures`` what
    became of keys that they lack. ``additional`` are the columns of Silver that the contract does not
    know, and ``begun_ns`` is when the attempt at it was begun, in nanoseconds since 1970; the ledger does not
    keep these, nor ``snapshot_days``.
    """

    entity: str
    number: int
    run_id: str
    ingested_at: datetime
    silver_version: int
    quarantine_version: int
    parent_versions: dict[str, int]
    files: tuple[BronzeFile, ...]
    replay_reasons: tuple[str, ...] = ()
    replay_layouts: tuple[Layout, ...] = ()
    redo: bool = False
    history_version: int = -1
    additional: tuple[str, ...] = ()
    begun_ns: int = 0
    snapshot_days: tuple[date, ...] = ()
    closures: Closures = NOTHING_CLOSED

    @property
    def loadable(self) -> dict[str, Layout]:
        """Layouts of the files to read, by URI."""
        return {file.path: file.layout for file in self.files if file.status == "pending" and file.layout}


@dataclass(frozen=True)
class RowCount:
    """Rows of one file in one batch, by outcome; and by reason, for which they are or were in quarantine."""

    path: str
    origin: str
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    warnings: Counter[str] = field(default_factory=Counter)

    @property
    def read(self) -> int:
        """Rows taken in."""
        return self.outcomes.total()


class Ledger:
    """The ops tables of one lake. Safe to use from several threads of one process.

    Each table is read once. So a ledger is made after the locks are taken, and not kept for long.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tables = {
            name: SmallTable(
                settings.table_uri("ops", name),
                columns,
                [column.name for column in columns if column.name == "entity"],
            )
            for name, columns in OPS_TABLES.items()
        }

    @property
    def tables(self) -> tuple[SmallTable, ...]:
        """The tables."""
        return tuple(self._tables.values())

    def read(self, table: str) -> pl.DataFrame:
        """One of the ops tables, whole; empty when it is not there yet. Writes nothing."""
        return self._tables[table].read()

    def start_run(self, run_id: str, layer: str) -> dict[str, Any]:
        """Write down that a run begins; returns the row, for :meth:`finish_run`."""
        row = {
            "run_id": run_id,
            "started_at": self._settings.instant(),
            "finished_at": None,
            "status": "running",
            "layer": layer,
            "error": None,
        }
        self._put_run(row)
        return row

    def finish_run(self, row: dict[str, Any], error: str | None = None) -> None:
        """Write down how a run ended; after one that succeeded, make few files out of many."""
        status = "failed" if error else "succeeded"
        self._put_run(row | {"finished_at": self._settings.instant(), "status": status, "error": error})
        if not error:  # tidying up must not get in the way of what went wrong
            for table in self.tables:
                table.compact()

    def begin(self, batch: Batch) -> None:
        """Write down what a batch is about to do, before it does it."""
        self._put_files(batch)
        self._put_batch(batch, "started", None)

    def commit(self, batch: Batch, counts: Sequence[RowCount], seconds: float) -> None:
        """Write down what a batch did. The last write closes it."""
        base = {"entity": batch.entity, "batch": batch.number, "run_id": batch.run_id}
        count_rows = [
            base
            | {"path": count.path, "origin": count.origin, "read": count.read}
            | {name: count.outcomes[name] for name in DISPOSITIONS}
            for count in counts
        ]
        reason_rows = [
            base | {"path": count.path, "origin": count.origin, "reason": name, "rows": rows, "level": level}
            for count in counts
            for level, broken in ((ERROR, count.reasons), (WARNING, count.warnings))
            for name, rows in sorted(broken.items())
        ]
        done = replace(
            batch,
            files=tuple(replace(f, status="loaded") if f.status == "pending" else f for f in batch.files),
        )
        self._replace("row_counts", count_rows, batch)
        self._replace("quarantine_reasons", reason_rows, batch)
        self._put_files(done)
        self._put_batch(done, "committed", seconds)

    def refuse(self, batch: Batch) -> None:
        """Write down that a batch was not loaded. Its files count as unread."""
        files = (replace(f, status="refused") if f.status == "pending" else f for f in batch.files)
        self._put_files(replace(batch, files=tuple(files)))
        self._put_batch(batch, "refused", None)

    def open_batches(self) -> list[Batch]:
        """Batches that an interrupted run has left open, to be done again."""
        rows = self.read("batches").filter(pl.col("status") == "started")
        if rows.is_empty():
            return []
        files = self.read("files")
        batches = [_batch(row, files) for row in rows.sort("entity", "batch").iter_rows(named=True)]
        return [
            replace(batch, replay_layouts=self.replay_layouts(batch.entity, batch.replay_reasons))
            for batch in batches
        ]

    def next_number(self, entity: str) -> int:
        """Number for the next batch of an entity."""
        numbers = self.read("batches").filter(pl.col("entity") == entity)["batch"]
        last = numbers.max()
        return int(last) + 1 if isinstance(last, int) else 1

    def loaded_without_history(self) -> set[str]:
        """Entities with a batch that kept no history of what it loaded, or did not get to its end."""
        done = self.read("batches").filter(pl.col("status") != "refused")
        return set(done.filter(pl.col("history_version").is_null())["entity"])

    def files_read(self, entity: str, number: int) -> set[str]:
        """URIs of the Bronze files of which batches before a number have read rows."""
        mine = (pl.col("entity") == entity) & (pl.col("batch") < number) & (pl.col("read") > 0)
        return set(self.read("row_counts").filter(mine)["path"])

    def known_files(self) -> set[tuple[str, str]]:
        """Path and ETag of every file that is done with."""
        done = self.read("files").filter(pl.col("status").is_in(FINAL_STATES))
        return set(zip(done["path"], done["etag"], strict=True))

    def take_for_read(self, entity: str, path: str, etag: str, info: ObjectInfo) -> None:
        """Take a file's new content for the one that was read, whose ETag is given: it is not new then."""
        mine = (pl.col("entity") == entity) & (pl.col("path") == path) & (pl.col("etag") == etag)
        for number in self.read("files").filter(mine)["batch"].unique():
            rows = self.read("files").filter((pl.col("entity") == entity) & (pl.col("batch") == number))
            new = {"etag": info.etag, "size": info.size}
            taken = [
                row | new if (row["path"], row["etag"]) == (path, etag) else row for row in rows.to_dicts()
            ]
            self._tables["files"].replace_slice(taken, entity=entity, batch=number)

    def last_parent_versions(self) -> dict[str, dict[str, int]]:
        """Versions of the parents' Silver tables that the last batch of each entity looked at."""
        tried = self.read("batches").filter(pl.col("status") != "refused")
        last = tried.sort("batch").group_by("entity").last()
        return {row["entity"]: json.loads(row["parent_versions"]) for row in last.iter_rows(named=True)}

    def held_reasons(self) -> dict[str, Counter[str]]:
        """Quarantined rows by entity and reason; a row with several reasons counts for each."""
        held: dict[str, Counter[str]] = {}
        rows = self.read("quarantine_reasons").filter(pl.col("level").ne_missing(WARNING))
        for row in rows.iter_rows(named=True):
            came = row["origin"] == BRONZE
            held.setdefault(row["entity"], Counter())[row["reason"]] += row["rows"] if came else -row["rows"]
        return {entity: +reasons for entity, reasons in held.items()}

    def replay_layouts(self, entity: str, reasons: Sequence[str]) -> tuple[Layout, ...]:
        """How the files are written that quarantined rows with any of these reasons came from."""
        mine = pl.col("entity") == entity
        rows = self.read("quarantine_reasons").filter(mine & pl.col("reason").is_in(list(reasons)))
        # Lines of files whose header is the problem cannot be split by it.
        usable = mine & pl.col("problem").is_null() & pl.col("path").is_in(rows["path"].to_list())
        written = {
            (tuple(row["header"]), row["delimiter"])
            for row in self.read("files").filter(usable).iter_rows(named=True)
            if row["header"]
        }
        return tuple(Layout(header, delimiter) for header, delimiter in sorted(written))

    def record_sizes(self, run_id: str, at: datetime, sizes: Mapping[str, Mapping[str, Any]]) -> None:
        """Write down the sizes of tables, by ``layer.name``."""
        rows = [
            {"run_id": run_id, "measured_at": at, "table_name": name, **size} for name, size in sizes.items()
        ]
        self._tables["table_sizes"].replace_slice(rows, run_id=run_id)

    def _put_run(self, row: dict[str, Any]) -> None:
        self._tables["runs"].replace_slice([row], run_id=row["run_id"])

    def _put_batch(self, batch: Batch, status: str, seconds: float | None) -> None:
        row = {
            "entity": batch.entity,
            "batch": batch.number,
            "run_id": batch.run_id,
            "status": status,
            "ingested_at": batch.ingested_at,
            "silver_version": batch.silver_version,
            "quarantine_version": batch.quarantine_version,
            "history_version": batch.history_version if batch.history_version >= 0 else None,
            "parent_versions": json.dumps(batch.parent_versions, sort_keys=True),
            "replays": bool(batch.replay_layouts),
            "seconds": seconds,
            "closed": batch.closures.closed,
            "reopened": batch.closures.reopened,
            "replay_reasons": list(batch.replay_reasons),
        }
        self._replace("batches", [row], batch)

    def _put_files(self, batch: Batch) -> None:
        rows = []
        for file in batch.files:
            layout = file.layout
            rows.append(
                {
                    "entity": batch.entity,
                    "batch": batch.number,
                    "run_id": batch.run_id,
                    "path": file.path,
                    "size": file.size,
                    "etag": file.etag,
                    "status": file.status,
                    "notes": list(file.notes),
                    "encoding": layout.encoding if layout else None,
                    "delimiter": layout.delimiter if layout else None,
                    "header": list(layout.header) if layout else None,
                    "has_header": layout.has_header if layout else None,
                    "problem": layout.problem if layout else None,
                }
            )
        self._replace("files", rows, batch)

    def _replace(self, table: str, rows: list[dict[str, Any]], batch: Batch) -> None:
        self._tables[table].replace_slice(rows, entity=batch.entity, batch=batch.number)


def _batch(row: dict[str, Any], files: pl.DataFrame) -> Batch:
    """An open batch as it was written down."""
    own = files.filter((pl.col("entity") == row["entity"]) & (pl.col("batch") == row["batch"]))
    return Batch(
        entity=row["entity"],
        number=row["batch"],
        run_id=row["run_id"],
        ingested_at=row["ingested_at"],
        silver_version=row["silver_version"],
        quarantine_version=row["quarantine_version"],
        history_version=-1 if row["history_version"] is None else row["history_version"],
        parent_versions=json.loads(row["parent_versions"]),
        replay_reasons=tuple(row["replay_reasons"] or ()),
        # An interruption just before the last write that closes a batch leaves files that count as done with.
        files=tuple(
            replace(file, status="pending") if file.status in ("loaded", "refused") else file
            for file in (_file(row) for row in own.iter_rows(named=True))
        ),
        redo=True,
    )


def _file(row: dict[str, Any]) -> BronzeFile:
    layout = None
    if row["header"] is not None:
        layout = Layout(
            tuple(row["header"]), row["delimiter"], row["encoding"], row["has_header"], row["problem"]
        )
    return BronzeFile(row["path"], row["size"], row["etag"], row["status"], tuple(row["notes"] or ()), layout)
