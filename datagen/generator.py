"""Put a batch together: clean rows, dirt between them, files, and the manifest at the end."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np

from contracts import Contract, load_contract
from datagen import columns as to
from datagen import dirt
from datagen.accounts import ACCOUNTS
from datagen.customers import CUSTOMERS
from datagen.entity import Entity
from datagen.errors import BadRequestError, GenerateError
from datagen.loans import LOANS
from datagen.manifest import MANIFEST_FOLDER, EntityManifest, FileEntry, Manifest
from datagen.payments import PAYMENTS
from datagen.rng import Draws, Ints
from datagen.schedule import BLOCK_ROWS, Plan, ingest_date
from datagen.sink import Sink
from datagen.transactions import TRANSACTIONS

ENTITIES = (CUSTOMERS, ACCOUNTS, LOANS, PAYMENTS, TRANSACTIONS)
"""Parents before children."""

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
    force: bool = False,
    on_progress: OnProgress | None = None,
) -> Manifest:
    """Make one batch of synthetic finance data; the same arguments give the same bytes.

    Args:
        out: Folder, or ``s3://bucket/prefix``.
        scale: Number of customers in the initial load.
        batch: 0 is the initial load, n what happened on the n-th day after it.
        seed: Any integer of 0 or above; another seed is another bank.
        dirty: Share of dirty rows, from 0 to 0.5.
        force: Overwrite the batch when it is there.
        on_progress: Called after each block of rows.

    Returns:
        The batch's manifest, as written.

    Raises:
        BadRequestError: A value is out of range, the batch is there already, or the output holds batches
            of other data. Nothing is written.
        GenerateError: The output cannot be read or written.
    """
    _check(scale=scale, batch=batch, seed=seed, dirty=dirty)
    sink = Sink(out)
    _check_output(sink, scale=scale, batch=batch, seed=seed, dirty=dirty, force=force)
    day = ingest_date(batch).isoformat()
    # From here on the batch is incomplete, until its new manifest says otherwise.
    if sink.read(Manifest.path(batch)) is not None:
        sink.delete([Manifest.path(batch)])
    plan = Plan(seed, scale)
    entities = {}
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for entity in ENTITIES:
            folder = f"{entity.name}/ingest_date={day}"
            prefix = f"{folder}/{entity.name}-b{batch:04d}-"
            sink.delete([path for path in sink.paths(folder) if path.startswith(prefix)])
            work = _Work(entity, load_contract(entity.name), plan, batch, dirty)
            entities[entity.name] = work.write(sink, prefix, pool, on_progress)
    manifest = Manifest(seed, scale, batch, dirty, day, entities)
    sink.write(Manifest.path(batch), [manifest.to_json().encode()])
    return manifest


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
    inserted: int
    updated: int
    late: int
    dirt: dict[str, int]

    @property
    def rows(self) -> int:
        return self.inserted + self.updated + sum(self.dirt.values())


@dataclass(frozen=True)
class _Work:
    """All of one entity in one batch."""

    entity: Entity
    contract: Contract
    plan: Plan
    batch: int
    dirty: float

    def write(
        self, sink: Sink, prefix: str, pool: ThreadPoolExecutor, on_progress: OnProgress | None
    ) -> EntityManifest:
        """Write all files of the entity, several blocks in each."""
        blocks = self.entity.blocks(self.plan, self.batch)
        per_file = max(1, int(FILE_ROWS * (1 - self.dirty)) // BLOCK_ROWS)
        header = (",".join(column.name for column in self.contract.source_columns) + "\n").encode()
        made = _in_order(pool, self.make, blocks)
        files: list[FileEntry] = []
        totals: Counter[str] = Counter()
        dirt_rows: Counter[str] = Counter()
        done = 0

        def pieces(part: list[_Made]) -> Iterator[bytes]:
            nonlocal done
            yield header
            for block in islice(made, per_file):
                yield block.data
                part.append(replace(block, data=b""))
                totals.update(inserted=block.inserted, updated=block.updated, late=block.late)
                dirt_rows.update(block.dirt)
                done += 1
                if on_progress:
                    rows = totals["inserted"] + totals["updated"] + dirt_rows.total()
                    on_progress(Progress(self.entity.name, done, blocks, rows))

        for number in range(-(-blocks // per_file)):
            part: list[_Made] = []
            checksum = _Checksum(pieces(part))
            path = f"{prefix}{number:05d}.csv"
            sink.write(path, checksum)
            rows = sum(block.rows for block in part)
            files.append(FileEntry(path, rows, checksum.bytes, checksum.hexdigest()))
        return EntityManifest(
            files=tuple(files),
            rows=sum(file.rows for file in files),
            inserted=totals["inserted"],
            updated=totals["updated"],
            duplicate=dirt_rows[dirt.EXACT_DUPLICATE],
            stale=dirt_rows[dirt.OLDER_VERSION],
            quarantined=dirt.quarantined(dirt_rows),
            released=self.released(),
            late=totals["late"],
            dirt=dict(dirt_rows),
        )

    def make(self, number: int) -> _Made:
        """Make one block: clean lines, with dirty ones in between."""
        block = self.entity.block(self.plan, self.batch, number)
        rows = self.entity.rows(self.plan, block.index, self.batch)
        data = to.to_csv(rows)
        ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")) + 1
        starts = np.concatenate([[0], ends])
        if len(ends) != len(block.index):
            raise GenerateError(f"a value of {self.entity.name} holds a line break")
        lines: dict[str, list[bytes]] = {kind: [] for kind in dirt.kinds(self.contract)}
        if self.dirty:
            soil = dirt.Soil(
                self.entity, _parent(self.contract), self.contract, self.plan, self.batch, number, block
            )
            lines |= soil.dirty_lines(data, starts, self.dirty)
        late = self.entity.is_late
        new = block.index[block.changed :]
        return _Made(
            data=self._mix(data, starts, [line for group in lines.values() for line in group], number),
            inserted=len(new),
            updated=block.changed,
            late=int(late(self.plan, new, self.batch).sum()) if late else 0,
            dirt={kind: len(group) for kind, group in lines.items()},
        )

    def released(self) -> int:
        """Rows of the batch before whose parents arrive in this batch."""
        if self.batch == 0 or not self.contract.parents:
            return 0
        before, released = self.batch - 1, 0
        for number in range(self.entity.blocks(self.plan, before)):
            clean = len(self.entity.block(self.plan, before, number).index)
            quotas = dirt.quotas(self.contract, clean, self.dirty, first=number == 0)
            released += quotas[dirt.EARLY_CHILD]
        return released

    def _mix(self, data: bytes, starts: Ints, lines: list[bytes], number: int) -> bytes:
        """Put dirty lines at random places between the clean ones."""
        draws = Draws(
            self.plan.seed,
            f"{self.entity.name}/mix/{self.batch}/{number}",
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


def _check(*, scale: int, batch: int, seed: int, dirty: float) -> None:
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


def _check_output(sink: Sink, *, scale: int, batch: int, seed: int, dirty: float, force: bool) -> None:
    """Refuse to overwrite a batch, or to mix batches of different data."""
    for there in read_manifests(sink.target):
        if there.batch == batch:
            if not force:
                raise BadRequestError(
                    f"{sink} already holds batch {batch}; use --force to overwrite it, "
                    f"--batch {batch + 1} for the next one, or another --out"
                )
        elif (there.seed, there.scale, there.dirty) != (seed, scale, dirty):
            raise BadRequestError(
                f"{sink} holds batch {there.batch} of other data; go on with --seed {there.seed} "
                f"--scale {there.scale} --dirty {there.dirty}, or use another --out"
            )


def _in_order(pool: ThreadPoolExecutor, make: Callable[[int], _Made], count: int) -> Iterator[_Made]:
    """Make blocks side by side, a few ahead of the one that is being written."""
    ahead = (os.cpu_count() or 1) + 1
    pending: deque[Future[_Made]] = deque()
    for number in range(count):
        pending.append(pool.submit(make, number))
        if len(pending) >= ahead:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
