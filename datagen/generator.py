"""Put a batch together: clean rows, dirt between them, files, and the manifest at the end."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from datagen import dirt
from datagen.block import Recipe, make_block, maker
from datagen.delivery import CHANGES, check_delivery
from datagen.entities import ENTITIES
from datagen.errors import BadRequestError
from datagen.files import LABEL_FOLDER, DataFile, Finished, count_rows, make_file, write_file
from datagen.formats import check_format
from datagen.manifest import MANIFEST_FOLDER, EntityManifest, FileEntry, Manifest
from datagen.pools import keep, pools
from datagen.profile import DEFAULT, Profile, load
from datagen.schedule import BLOCK_ROWS, Plan, ingest_date
from datagen.sink import Sink
from datagen.workers import Workers

if TYPE_CHECKING:
    import polars as pl

__all__ = ["ENTITIES", "Progress", "generate", "read_manifests", "tables"]

FILE_ROWS = 500_000
"""Greatest number of rows in a file, give or take a block."""

LEAST_ROWS_FOR_PROCESSES = 2_000_000
"""From here on several workers are processes of their own; for fewer rows these do not pay."""

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
        workers: Blocks that are made side by side (one per processor if left out), or files, by processes
            of their own, when there is enough to do; the bytes do not depend on it.
        force: Overwrite the batch when it is there.
        on_progress: Called after each block of rows, or after each file where processes make them.

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
    rows = FILE_ROWS if file_rows is None else file_rows
    recipes = (Recipe(plan, entity.name, batch, dirty, format, delivery) for entity in ENTITIES)
    works = [_Work.prepare(recipe, rows, wanted, sink) for recipe in recipes]
    missing = [file for work in works for file in work.files if file.path not in work.kept]
    count = workers or os.cpu_count() or 1
    is_long = sum(len(file.blocks) for file in missing) * BLOCK_ROWS >= LEAST_ROWS_FOR_PROCESSES
    # While a bucket takes rows, which keeps no processor of ours busy, a single worker makes the next ones.
    with Workers(count, apart=sink.is_remote, processes=is_long, start=(keep, (seed, pools(seed)))) as team:
        write = _whole_files(team, sink, missing) if team.processes else _block_by_block(team, sink, missing)
        entities = {work.recipe.entity: work.write(sink, write, on_progress) for work in works}
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
    import polars as pl

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


def _checkpoints(batch: int) -> str:
    """Folder of notes on finished files of a batch that is not finished itself."""
    return f"_unfinished/batch={batch:04d}"


_Write = Callable[[DataFile, "_Tally"], Finished]
"""Writes a file, and counts its blocks."""


def _block_by_block(team: Workers, sink: Sink, files: list[DataFile]) -> _Write:
    """Workers make blocks; the files, in their order, are written here."""
    made = team.in_order(make_block, ((file.recipe, number) for file in files for number in file.blocks))

    def write(file: DataFile, tally: _Tally) -> Finished:
        blocks = islice(made, len(file.blocks))
        return write_file(sink, file, blocks, lambda block: tally.add(1, block.rows, block.dirt))

    return write


def _whole_files(team: Workers, sink: Sink, files: list[DataFile]) -> _Write:
    """Workers make and write whole files, so that no rows go from one process to another."""
    done = team.in_order(make_file, [(sink.target, file) for file in files], ahead=len(files))

    def write(file: DataFile, tally: _Tally) -> Finished:
        finished = next(done)
        tally.add(len(file.blocks), finished.rows, finished.dirt)
        return finished

    return write


@dataclass(frozen=True)
class _Work:
    """All files of one entity in one batch.

    Attributes:
        recipe: What decides its blocks.
        file_rows: About this many rows in a file.
        wanted: The batch's manifest, without its entities.
        files: The files, in order.
        kept: Those that an earlier run has finished, by path.
    """

    recipe: Recipe
    file_rows: int
    wanted: Manifest
    files: list[DataFile]
    kept: dict[str, Finished]

    @classmethod
    def prepare(cls, recipe: Recipe, file_rows: int, wanted: Manifest, sink: Sink) -> _Work:
        """See what is to be done, and delete what an earlier run left, but for its finished files."""
        blocks = maker(recipe).delivery.blocks(recipe.batch)
        per_file = max(1, int(file_rows * (1 - recipe.dirty)) // BLOCK_ROWS)
        folder = f"{recipe.entity}/ingest_date={wanted.ingest_date}"
        prefix = f"{folder}/{recipe.entity}-b{recipe.batch:04d}-"
        files = [
            DataFile(recipe, f"{prefix}{number:05d}.{recipe.format}", range(low, min(low + per_file, blocks)))
            for number, low in enumerate(range(0, blocks, per_file))
        ]
        before = {path for path in sink.paths(folder) if path.startswith(prefix)}
        work = cls(recipe, file_rows, wanted, files, {})
        if len(files) > 1:
            work = replace(work, kept=work._finished(sink, before & {file.path for file in files}))
        cls._clear(sink, before, folder, work.kept)
        return work

    def write(self, sink: Sink, write: _Write, on_progress: OnProgress | None) -> EntityManifest:
        """Write all files of the entity that are missing.

        Args:
            sink: Where the notes on finished files go.
            write: Writes a file.
            on_progress: Called after each block, or file.
        """
        tally = _Tally(self.recipe.entity, sum(len(file.blocks) for file in self.files), on_progress)
        done = []
        for file in self.files:
            finished = self.kept.get(file.path)
            if finished:
                tally.add(len(file.blocks), finished.rows, finished.dirt)
            else:
                finished = write(file, tally)
                if len(self.files) > 1:
                    self._remember(sink, finished)
            done.append(finished)
        of_entity = maker(self.recipe)
        return EntityManifest(
            files=tuple(file.entry for file in done),
            rows=sum(file.entry.rows for file in done),
            inserted=tally.rows["inserted"],
            updated=tally.rows["updated"],
            duplicate=tally.rows["unchanged"] + tally.dirt[dirt.EXACT_DUPLICATE],
            stale=tally.dirt[dirt.OLDER_VERSION],
            quarantined=dirt.quarantined(tally.dirt),
            released=of_entity.released(),
            late=tally.rows["late"],
            labels=tuple(file.label for file in done if file.label),
            deleted=len(of_entity.delivery.gone(self.recipe.batch)),
            unchanged=tally.rows["unchanged"],
            dirt={kind: tally.dirt[kind] for kind in of_entity.kinds()},
        )

    @staticmethod
    def _clear(sink: Sink, before: set[str], folder: str, kept: dict[str, Finished]) -> None:
        """Delete what an earlier run left, but for the finished files and their labels."""
        labels = {file.label.path for file in kept.values() if file.label}
        own = {f"{LABEL_FOLDER}/{path.rpartition('.')[0].removesuffix('.csv')}" for path in before}
        old = [path for path in sink.paths(f"{LABEL_FOLDER}/{folder}") if path.removesuffix(".csv") in own]
        sink.delete([*(before - set(kept)), *(path for path in old if path not in labels)])

    def _arguments(self) -> dict[str, object]:
        """What decides the content of a file."""
        return asdict(self.wanted) | {"file_rows": self.file_rows}

    def _remember(self, sink: Sink, file: Finished) -> None:
        """Note that a file is finished, for when the rest of the batch is not."""
        name = file.entry.path.rpartition("/")[2]
        files = {"file": asdict(file.entry), "label": asdict(file.label) if file.label else None}
        note = {"of": self._arguments(), **files, "counts": file.rows, "dirt": file.dirt}
        sink.write(f"{_checkpoints(self.recipe.batch)}/{name}.note", [json.dumps(note).encode()])

    def _finished(self, sink: Sink, there: set[str]) -> dict[str, Finished]:
        """Files of a batch with the same arguments that was interrupted."""
        kept: dict[str, Finished] = {}
        for path in sink.paths(_checkpoints(self.recipe.batch)) if there else []:
            note = json.loads(sink.read(path) or b"{}")
            if note.get("of") == self._arguments() and note["file"]["path"] in there:
                entry = FileEntry(**note["file"])
                label = FileEntry(**note["label"]) if note["label"] else None
                kept[entry.path] = Finished(entry, label, Counter(note["counts"]), Counter(note["dirt"]))
        return kept


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
            made = count_rows(self.rows, self.dirt)
            self._on_progress(Progress(self._entity, self._done, self._blocks, made))


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
