"""Put a batch together: clean rows, dirt between them, files, and the manifest at the end."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl

from contracts import Contract, load_contract
from datagen import columns as to
from datagen import dirt
from datagen.accounts import ACCOUNTS
from datagen.customers import CUSTOMERS
from datagen.delivery import CHANGES, Delivery, check_delivery
from datagen.entity import Entity
from datagen.errors import BadRequestError, GenerateError
from datagen.formats import Format, check_format
from datagen.loans import LOANS
from datagen.manifest import MANIFEST_FOLDER, EntityManifest, FileEntry, Manifest
from datagen.payments import PAYMENTS
from datagen.profile import DEFAULT, Profile, load
from datagen.rng import Draws, Ints
from datagen.schedule import BLOCK_ROWS, Block, Plan, ingest_date
from datagen.sink import Sink
from datagen.transactions import TRANSACTIONS

ENTITIES = (CUSTOMERS, ACCOUNTS, LOANS, PAYMENTS, TRANSACTIONS)
"""Parents before children."""

PART_ROWS = 16_384
"""Rows that are made at a time, so that what is worked with stays in the processor's cache."""

FILE_ROWS = 500_000
"""Greatest number of rows in a file, give or take a block."""

MOST_CUSTOMERS = 100_000_000
MOST_BATCHES = 9_999
MOST_DIRT = 0.5


@dataclass(frozen=True)
class Progress:
    """How far an entity is.

    Attributes:
        entity: Its name.
        done: Finished blocks.
        total: All blocks.
        rows: Rows in the finished blocks.
    """

    entity: str
    done: int
    total: int
    rows: int


OnProgress = Callable[[Progress], None]


def generate(
    out: str | Path,
    *,
    scale: int = 1000,
    batch: int = 0,
    seed: int = 42,
    dirty: float = 0.02,
    profile: str | Path | Profile = DEFAULT,
    format: str = "csv",  # noqa: A002 - what everyone calls it
    delivery: str = CHANGES,
    file_rows: int | None = None,
    workers: int | None = None,
    force: bool = False,
    on_progress: OnProgress | None = None,
) -> Manifest:
    """Make one batch of synthetic finance data; the same arguments give the same bytes.

    A batch that was interrupted goes on where it stopped when it is asked for again: files that were
    finished are not made again.

    Args:
        out: Folder, or ``s3://bucket/prefix``.
        scale: Number of customers in the initial load.
        batch: 0 is the initial load, n what happened on the n-th day after it.
        seed: Any integer of 0 or above; another seed is another bank.
        dirty: Share of dirty rows, from 0 to 0.5.
        profile: Name of a profile, a YAML file, or a profile.
        format: One of :data:`~datagen.formats.FORMATS`.
        delivery: One of :data:`~datagen.delivery.DELIVERIES`.
        file_rows: About this many rows in a file (500,000 if left out); blocks of some 100,000 rows are
            never split.
        workers: Blocks that are made side by side (one per processor if left out); the bytes do not
            depend on it.
        force: Overwrite the batch when it is there.
        on_progress: Called after each block of rows.

    Returns:
        The batch's manifest, as written.

    Raises:
        BadRequestError: A value is out of range, the batch is there already, or the output holds batches
            of other data. Nothing is written.
        GenerateError: The output cannot be read or written.
    """
    _check(scale=scale, batch=batch, seed=seed, dirty=dirty, file_rows=file_rows, workers=workers)
    check_format(format)
    check_delivery(delivery)
    bank = profile if isinstance(profile, Profile) else load(profile)
    day = ingest_date(batch).isoformat()
    wanted = Manifest(seed, scale, batch, dirty, day, {}, bank.fingerprint, format, delivery)
    sink = Sink(out)
    _check_output(sink, wanted, force=force)
    # From here on the batch is incomplete, until its new manifest says otherwise.
    if sink.read(Manifest.path(batch)) is not None:
        sink.delete([Manifest.path(batch)])
    plan = Plan(seed, scale, bank)
    entities = {}
    workers = workers or os.cpu_count() or 1
    rows = FILE_ROWS if file_rows is None else file_rows
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for entity in ENTITIES:
            contract = load_contract(entity.name)
            what = Delivery(delivery, entity, contract, plan)
            work = _Work(what, batch, dirty, Format(format, contract, what.columns), rows, wanted)
            entities[entity.name] = work.write(sink, _Pool(pool, workers), on_progress)
    manifest = replace(wanted, entities=entities)
    sink.write(Manifest.path(batch), [manifest.to_json().encode()])
    sink.delete(sink.paths(_checkpoints(batch)))
    return manifest


def tables(
    profile: str | Path | Profile = DEFAULT, seed: int = 42, scale: int = 1000, *, batch: int = 0
) -> dict[str, pl.DataFrame]:
    """Make one batch of clean data in memory, as Polars frames; ``.to_arrow()`` makes Arrow tables of them.

    Args:
        profile: Name of a profile, a YAML file, or a profile.
        seed: Any integer of 0 or above.
        scale: Number of customers in the initial load.
        batch: 0 is the initial load, n what happened on the n-th day after it.

    Returns:
        A frame by entity, parents first; rows and values are those of the files without dirt.

    Raises:
        BadRequestError: A value is out of range, or there is no such profile.
    """
    _check(scale=scale, batch=batch, seed=seed, dirty=0, file_rows=None, workers=None)
    plan = Plan(seed, scale, profile if isinstance(profile, Profile) else load(profile))
    return {
        entity.name: pl.concat(
            entity.rows(plan, entity.block(plan, batch, number).index, batch)
            for number in range(entity.blocks(plan, batch))
        )
        for entity in ENTITIES
    }


def read_manifests(out: str | Path) -> list[Manifest]:
    """Read the manifests of all complete batches, in order of batch.

    Args:
        out: Folder, or ``s3://bucket/prefix``.

    Raises:
        GenerateError: The output cannot be read, or a manifest is damaged.
    """
    sink = Sink(out)
    manifests = []
    for path in sink.paths(MANIFEST_FOLDER):
        if path.endswith(".json"):
            manifests.append(Manifest.from_json((sink.read(path) or b"").decode(), f"{sink}/{path}"))
    return sorted(manifests, key=lambda manifest: manifest.batch)


@dataclass(frozen=True)
class _Made:
    """One block, ready to be written."""

    data: bytes
    labels: bytes
    rows: Counter[str]
    dirt: Counter[str]


LABEL_FOLDER = "_labels"
"""What is kept apart from the data lies below it."""

_Finished = tuple[FileEntry, FileEntry | None, Counter[str], Counter[str]]


def _checkpoints(batch: int) -> str:
    """Folder of notes on finished files of a batch that is not finished itself."""
    return f"_unfinished/batch={batch:04d}"


@dataclass(frozen=True)
class _Pool:
    """Threads that make blocks, and how many they are."""

    threads: ThreadPoolExecutor
    workers: int


@dataclass(frozen=True)
class _Work:
    """All of one entity in one batch."""

    delivery: Delivery
    batch: int
    dirty: float
    format: Format
    file_rows: int
    wanted: Manifest

    def write(self, sink: Sink, pool: _Pool, on_progress: OnProgress | None) -> EntityManifest:
        """Write all files of the entity, several blocks in each."""
        blocks = self.delivery.blocks(self.batch)
        per_file = max(1, int(self.file_rows * (1 - self.dirty)) // BLOCK_ROWS)
        count = -(-blocks // per_file)
        folder = f"{self.delivery.entity.name}/ingest_date={self.wanted.ingest_date}"
        prefix = f"{folder}/{self.delivery.entity.name}-b{self.batch:04d}-"
        paths = [f"{prefix}{number:05d}.{self.format.name}" for number in range(count)]
        before = {path for path in sink.paths(folder) if path.startswith(prefix)}
        kept = self._finished(sink, before & set(paths)) if count > 1 else {}
        self._clear(sink, before, folder, kept)
        files: list[FileEntry] = []
        labels: list[FileEntry] = []
        tally = _Tally(self.delivery.entity.name, blocks, on_progress)
        missing = [
            block
            for number, path in enumerate(paths)
            if path not in kept
            for block in range(number * per_file, min((number + 1) * per_file, blocks))
        ]
        made = _in_order(pool, self.make, missing)
        for number, path in enumerate(paths):
            of_file = min(per_file, blocks - number * per_file)
            if path in kept:
                entry, label, counts, dirt_of_file = kept[path]
                tally.add(of_file, counts, dirt_of_file)
                files.append(entry)
                labels += [label] if label else []
                continue
            counts, dirt_of_file, lines = Counter[str](), Counter[str](), list[bytes]()

            def of_blocks(
                size: int, counts: Counter[str], dirt: Counter[str], lines: list[bytes]
            ) -> Iterator[bytes]:
                for block in islice(made, size):
                    yield block.data
                    lines.append(block.labels)
                    counts.update(block.rows)
                    dirt.update(block.dirt)
                    tally.add(1, block.rows, block.dirt)

            checksum = _Checksum(self.format.pieces(of_blocks(of_file, counts, dirt_of_file, lines)))
            sink.write(path, checksum)
            rows = _rows_of(counts, dirt_of_file)
            entry = FileEntry(path, rows, checksum.bytes, checksum.hexdigest())
            files.append(entry)
            label = self._write_labels(sink, path, lines)
            labels += [label] if label else []
            if count > 1:
                self._remember(sink, entry, label, counts, dirt_of_file)
        return EntityManifest(
            files=tuple(files),
            rows=sum(file.rows for file in files),
            inserted=tally.rows["inserted"],
            updated=tally.rows["updated"],
            duplicate=tally.rows["unchanged"] + tally.dirt[dirt.EXACT_DUPLICATE],
            stale=tally.dirt[dirt.OLDER_VERSION],
            quarantined=dirt.quarantined(tally.dirt),
            released=self.released(),
            late=tally.rows["late"],
            labels=tuple(labels),
            deleted=len(self.delivery.gone(self.batch)),
            unchanged=tally.rows["unchanged"],
            dirt={kind: tally.dirt[kind] for kind in self._kinds()},
        )

    @staticmethod
    def _clear(sink: Sink, before: set[str], folder: str, kept: dict[str, _Finished]) -> None:
        """Delete what an earlier run left, but for the finished files and their labels."""
        labels = {label.path for _, label, *_ in kept.values() if label}
        own = {f"{LABEL_FOLDER}/{path.rpartition('.')[0].removesuffix('.csv')}" for path in before}
        old = [path for path in sink.paths(f"{LABEL_FOLDER}/{folder}") if path.removesuffix(".csv") in own]
        sink.delete([*(before - set(kept)), *(path for path in old if path not in labels)])

    def _kinds(self) -> tuple[str, ...]:
        return dirt.kinds(self.delivery.contract, typed=self.format.is_typed)

    def _arguments(self) -> dict[str, object]:
        """What decides the content of a file."""
        return asdict(self.wanted) | {"file_rows": self.file_rows}

    def _remember(
        self,
        sink: Sink,
        entry: FileEntry,
        label: FileEntry | None,
        counts: Counter[str],
        dirt: Counter[str],
    ) -> None:
        """Note that a file is finished, for when the rest of the batch is not."""
        name = entry.path.rpartition("/")[2]
        files = {"file": asdict(entry), "label": asdict(label) if label else None}
        note = {"of": self._arguments(), **files, "counts": counts, "dirt": dirt}
        sink.write(f"{_checkpoints(self.batch)}/{name}.note", [json.dumps(note).encode()])

    def _finished(self, sink: Sink, there: set[str]) -> dict[str, _Finished]:
        """Files of a batch with the same arguments that was interrupted."""
        kept: dict[str, _Finished] = {}
        for path in sink.paths(_checkpoints(self.batch)) if there else []:
            note = json.loads(sink.read(path) or b"{}")
            if note.get("of") == self._arguments() and note["file"]["path"] in there:
                entry = FileEntry(**note["file"])
                label = FileEntry(**note["label"]) if note["label"] else None
                kept[entry.path] = entry, label, Counter(note["counts"]), Counter(note["dirt"])
        return kept

    def make(self, number: int) -> _Made:
        """Make one block: clean lines, with dirty ones in between."""
        block = self.delivery.block(self.batch, number)
        unchanged, lines_of_parts = 0, []
        for part in block.parts(PART_ROWS):
            rows = self.delivery.table(part, self.batch)
            unchanged += self.delivery.unchanged(rows, self.batch)
            lines_of_parts.append(rows.csv())
        data = b"".join(lines_of_parts)
        ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")) + 1
        starts = np.concatenate([[0], ends])
        if len(ends) != len(block.index):
            raise GenerateError(f"a value of {self.delivery.entity.name} holds a line break")
        lines: dict[str, list[bytes]] = {kind: [] for kind in self._kinds()}
        if self.dirty:
            lines |= self._soil(self.batch, number, block).dirty_lines(data, starts, self.dirty)
        mixed = self._mix(data, starts, [line for group in lines.values() for line in group], number)
        deleted = 0
        if self.delivery.operation and number == self.delivery.blocks(self.batch) - 1:
            deletions = self.delivery.deletions(self.batch)
            mixed, deleted = mixed + deletions.csv(), len(self.delivery.gone(self.batch))
        late = self.delivery.entity.is_late
        new = block.index[block.changed :]
        return _Made(
            data=self.format.encode(mixed),
            labels=self._labels(block.index),
            rows=Counter(
                inserted=len(new),
                updated=block.changed - unchanged + deleted,
                unchanged=unchanged,
                late=int(late(self.delivery.plan, new, self.batch).sum()) if late else 0,
            ),
            dirt=Counter({kind: len(group) for kind, group in lines.items()}),
        )

    def _soil(self, batch: int, number: int, block: Block) -> dirt.Soil:
        parent = _parent(self.delivery.contract)
        return dirt.Soil(self.delivery, parent, batch, number, block, self.format.is_typed)

    def _labels(self, index: Ints) -> bytes:
        """Lines that say which rows belong to fraud."""
        if not self.delivery.entity.labels or not self.delivery.plan.profile.fraud:
            return b""
        return self.delivery.entity.labels(self.delivery.plan, index).csv()

    def _write_labels(self, sink: Sink, path: str, lines: list[bytes]) -> FileEntry | None:
        """Write the labels of a data file, apart from the data."""
        if not self.delivery.entity.labels or not self.delivery.plan.profile.fraud:
            return None
        header = ",".join(self.delivery.entity.labels(self.delivery.plan, to.no_rows()).columns) + "\n"
        pieces = [header.encode(), *lines]
        checksum = _Checksum(iter(pieces))
        label_path = f"{LABEL_FOLDER}/{path.removesuffix(self.format.name)}csv"
        sink.write(label_path, checksum)
        rows = sum(piece.count(b"\n") for piece in lines)
        return FileEntry(label_path, rows, checksum.bytes, checksum.hexdigest())

    def released(self) -> int:
        """Rows of the batch before whose parents arrive in this batch."""
        if self.batch == 0 or not self.delivery.contract.parents:
            return 0
        before = self.batch - 1
        return sum(
            self._soil(before, number, self.delivery.block(before, number)).early_children(self.dirty)
            for number in range(self.delivery.blocks(before))
        )

    def _mix(self, data: bytes, starts: Ints, lines: list[bytes], number: int) -> bytes:
        """Put dirty lines at random places between the clean ones."""
        draws = Draws(
            self.delivery.plan.seed,
            f"{self.delivery.entity.name}/mix/{self.batch}/{number}",
            np.arange(len(lines), dtype=np.int64),
        )
        place = draws.below("place", len(starts))
        order = np.argsort(place, kind="stable")
        cuts = [0, *starts[place[order]].tolist(), len(data)]
        view = memoryview(data)
        pieces: list[bytes | memoryview] = [view[: cuts[1]]]
        for position, line in enumerate(order.tolist(), start=1):
            pieces += [lines[line], view[cuts[position] : cuts[position + 1]]]
        return b"".join(pieces)


class _Tally:
    """What is done of an entity."""

    def __init__(self, entity: str, blocks: int, on_progress: OnProgress | None) -> None:
        self.rows: Counter[str] = Counter()
        self.dirt: Counter[str] = Counter()
        self._done = 0
        self._entity, self._blocks, self._on_progress = entity, blocks, on_progress

    def add(self, blocks: int, rows: Counter[str], dirt: Counter[str]) -> None:
        """Count some blocks, and tell about it."""
        self._done += blocks
        self.rows.update(rows)
        self.dirt.update(dirt)
        if self._on_progress:
            made = _rows_of(self.rows, self.dirt)
            self._on_progress(Progress(self._entity, self._done, self._blocks, made))


def _rows_of(counts: Counter[str], dirt: Counter[str]) -> int:
    """Rows of all kinds; late ones are among the inserted."""
    return counts["inserted"] + counts["updated"] + counts["unchanged"] + dirt.total()


class _Checksum:
    """Passes bytes through, and knows their number and SHA-256 afterwards."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.bytes = 0
        self._pieces = pieces
        self._sha256 = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.bytes += len(piece)
            self._sha256.update(piece)
            yield piece

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


def _parent(contract: Contract) -> Entity | None:
    """Entity that the contract's first relationship points to."""
    names = [column.parent_entity for column in contract.parents]
    return next((entity for entity in ENTITIES if names and entity.name == names[0]), None)


def _check(
    *, scale: int, batch: int, seed: int, dirty: float, file_rows: int | None, workers: int | None
) -> None:
    """Refuse values that are out of range."""
    if not 1 <= scale <= MOST_CUSTOMERS:
        raise BadRequestError(f"scale is a number of customers from 1 to {MOST_CUSTOMERS:,}, not {scale}")
    if not 0 <= batch <= MOST_BATCHES:
        raise BadRequestError(
            f"batch is 0 (the initial load) or a later day up to {MOST_BATCHES:,}, not {batch}"
        )
    if seed < 0:
        raise BadRequestError(f"seed is 0 or above, not {seed}")
    if not 0 <= dirty <= MOST_DIRT:
        raise BadRequestError(f"dirty is a share of rows from 0 to {MOST_DIRT}, not {dirty}")
    if file_rows is not None and file_rows < 1:
        raise BadRequestError(f"rows per file are 1 or more, not {file_rows}")
    if workers is not None and workers < 1:
        raise BadRequestError(f"workers are 1 or more, not {workers}")


def _check_output(sink: Sink, wanted: Manifest, *, force: bool) -> None:
    """Refuse to overwrite a batch, or to mix batches of different data."""
    for there in read_manifests(sink.target):
        if there.batch == wanted.batch:
            if not force:
                raise BadRequestError(
                    f"{sink} already holds batch {there.batch}; use --force to overwrite it, "
                    f"--batch {there.batch + 1} for the next one, or another --out"
                )
        elif there.arguments != wanted.arguments:
            raise BadRequestError(
                f"{sink} holds batch {there.batch} of other data; go on with --seed {there.seed} "
                f"--scale {there.scale} --dirty {there.dirty} --profile {there.profile} "
                f"--format {there.format} --delivery {there.delivery}, or use another --out"
            )


def _in_order(pool: _Pool, make: Callable[[int], _Made], numbers: list[int]) -> Iterator[_Made]:
    """Make blocks side by side, a few ahead of the one that is being written."""
    pending: deque[Future[_Made]] = deque()
    for number in numbers:
        pending.append(pool.threads.submit(make, number))
        if len(pending) > pool.workers:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
