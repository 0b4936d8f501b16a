"""Put a user's own CSV files into Bronze, as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from contracts import Contract
from pipeline.errors import UsageError
from pipeline.files import SUFFIXES
from pipeline.layout import SAMPLE_BYTES, inspect
from pipeline.settings import Settings
from pipeline.storage import list_objects, upload_file


@dataclass(frozen=True)
class Ingested:
    """What became of one file: where it is in Bronze, whether it was new, and what was noticed."""

    source: Path
    uri: str
    is_new: bool
    notes: tuple[str, ...]


def ingest(
    paths: Sequence[Path], contract: Contract, settings: Settings, day: date | None = None
) -> list[Ingested]:
    """Copy CSV files into Bronze of one entity. Nothing in Bronze is ever replaced.

    Args:
        paths: Files (``.csv`` or ``.csv.gz``), or folders that hold them.
        contract: The entity they belong to; used to say what is unusual about them.
        settings: Where Bronze is.
        day: Day of ingestion; today (UTC) by default.

    Raises:
        UsageError: A path does not exist or is not CSV by its name, or no file was found.
    """
    files = _files(paths)
    folder = f"{settings.bronze_entity_uri(contract.entity)}/ingest_date={day or settings.instant().date()}"
    present = {info.uri: info.size for info in list_objects(folder)}
    done = []
    for file in files:
        digest = _sha256(file)[:12]
        suffix = next(suffix for suffix in SUFFIXES[::-1] if file.name.lower().endswith(suffix))
        # The content is part of the name: the same file again is recognised, another one is kept.
        # Spark skips files whose names begin with a dot or an underscore.
        uri = f"{folder}/{file.name[: -len(suffix)].lstrip('._')}-{digest}{suffix}"
        is_new = uri not in present
        if is_new:
            upload_file(file, uri)
        done.append(Ingested(file, uri, is_new, _notes(file, contract)))
    return done


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = (p for p in path.rglob("*") if p.is_file() and p.name.lower().endswith(SUFFIXES))
            files += sorted(p for p in found if not _is_aside(p.relative_to(path)))
        elif not path.is_file():
            raise UsageError(f"there is no file {path}")
        elif not path.name.lower().endswith(SUFFIXES):
            raise UsageError(
                f"{path} is not a CSV file by its name", "its name must end with .csv or .csv.gz"
            )
        else:
            files.append(path)
    if not files:
        raise UsageError("no CSV file was found", "name files, or folders that hold *.csv or *.csv.gz files")
    return files


def _is_aside(path: Path) -> bool:
    """Whether a file lies in a folder that is not data by its name, such as ``_labels``."""
    return any(part.startswith((".", "_")) for part in path.parts[:-1])


def _notes(file: Path, contract: Contract) -> tuple[str, ...]:
    with file.open("rb") as opened:
        head = opened.read(SAMPLE_BYTES)
    found = inspect(head, compressed=file.name.lower().endswith(".gz"), contract=contract)
    return found.notes if found.status == "loadable" else (found.status, *found.notes)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
