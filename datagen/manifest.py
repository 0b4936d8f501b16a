"""What a batch holds, and what a correct pipeline makes of it: the truth that verification uses."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from datagen.errors import GenerateError

MANIFEST_VERSION = 1


@dataclass(frozen=True)
class FileEntry:
    """One data file.

    Attributes:
        path: Path below the output folder, with forward slashes.
        rows: Lines after the header.
        bytes: Size.
        sha256: Checksum, in hexadecimal.
    """

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class EntityManifest:
    """Files of one entity in a batch, and the outcome of each row when all batches are loaded in order.

    ``rows`` is the sum of ``inserted``, ``updated``, ``duplicate``, ``stale`` and all of ``quarantined``.

    Attributes:
        files: Data files.
        rows: Lines after the headers of all files.
        inserted: Rows with a new key.
        updated: Newer versions of rows from earlier batches, and their deletions.
        duplicate: Exact copies of rows that are known, among them the ``unchanged`` ones of snapshots.
        stale: Rows that are older than the version that is known.
        quarantined: Bad rows by reason. Rows whose parent arrives in the next batch count as
            ``unknown_parent``.
        released: Rows of the batch before that this batch's parents release from quarantine; they are
            inserted in addition to ``inserted``.
        late: How many of the inserted rows happened long before the batch (for information).
        labels: Files that say which rows belong to fraud; none when there is none.
        dirt: Added dirty rows by kind (for information).
        deleted: How many keys are gone since the batch before: in change data capture by a row each, which is
            one of ``updated``, in snapshots by having none.
        unchanged: How many of the duplicate rows stand in a snapshot as in the one before.
    """

    files: tuple[FileEntry, ...]
    rows: int
    inserted: int
    updated: int
    duplicate: int
    stale: int
    quarantined: dict[str, int]
    released: int = 0
    late: int = 0
    labels: tuple[FileEntry, ...] = ()
    dirt: dict[str, int] = field(default_factory=dict)
    deleted: int = 0
    unchanged: int = 0

    @property
    def bytes(self) -> int:
        """Size of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def dirty_rows(self) -> int:
        """Number of dirty rows of all kinds."""
        return sum(self.dirt.values())


@dataclass(frozen=True)
class Manifest:
    """One batch. It is written after all of its data files, so a batch without one is not complete."""

    seed: int
    scale: int
    batch: int
    dirty: float
    ingest_date: str
    entities: dict[str, EntityManifest]
    profile: str = "retail-bank"
    format: str = "csv"
    delivery: str = "changes"
    manifest_version: int = MANIFEST_VERSION

    @property
    def arguments(self) -> tuple[object, ...]:
        """What batches of the same data have in common."""
        return self.seed, self.scale, self.dirty, self.profile, self.format, self.delivery

    @staticmethod
    def path(batch: int) -> str:
        """Path of a batch's manifest below the output folder."""
        return f"{MANIFEST_FOLDER}/batch={batch:04d}.json"

    @property
    def rows(self) -> int:
        """Rows of all entities."""
        return sum(entity.rows for entity in self.entities.values())

    @property
    def bytes(self) -> int:
        """Size of all data files."""
        return sum(entity.bytes for entity in self.entities.values())

    def to_json(self) -> str:
        """Write the manifest as JSON text."""
        document = {"manifest_version": self.manifest_version} | asdict(self)
        return json.dumps(document, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str, where: str = "manifest") -> Manifest:
        """Read a manifest from JSON text.

        Args:
            text: JSON text.
            where: Name of the manifest, for error messages.

        Raises:
            GenerateError: The text is not a manifest of this version.
        """
        try:
            document: dict[str, Any] = json.loads(text)
            if document["manifest_version"] != MANIFEST_VERSION:
                version = document["manifest_version"]
                raise GenerateError(f"{where} has version {version}; this finlake reads {MANIFEST_VERSION}")
            entities = {name: _entity(value) for name, value in document["entities"].items()}
            return cls(**(document | {"entities": entities}))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise GenerateError(f"{where} is not a manifest of generated data: {error!r}") from error


MANIFEST_FOLDER = "_manifest"


def _entity(document: dict[str, Any]) -> EntityManifest:
    entries = {
        name: tuple(FileEntry(**file) for file in document.get(name, ())) for name in ("files", "labels")
    }
    return EntityManifest(**(document | entries))
