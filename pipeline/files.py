"""Which Bronze files are new, and how each of them is written."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import date

from contracts import Contract
from pipeline.layout import SAMPLE_BYTES, inspect
from pipeline.ledger import BronzeFile
from pipeline.settings import Settings
from pipeline.storage import ObjectInfo, list_objects, open_object, read_head

SUFFIXES = (".csv", ".csv.gz")
CHUNK_BYTES = 1 << 20
DAY_FOLDER = re.compile(r"/ingest_date=([0-9]{4}-[0-9]{2}-[0-9]{2})/")


@dataclass(frozen=True)
class Days:
    """Days of ingestion, both ends inclusive; None is open. Without any end, also files of no day."""

    first: date | None = None
    last: date | None = None

    def hold(self, uri: str) -> bool:
        """Whether a Bronze file lies in the folder of one of these days.

        >>> Days(date(2026, 1, 1), date(2026, 1, 31)).hold("s3://b/loans/ingest_date=2026-01-31/a.csv")
        True
        """
        if self.first is None and self.last is None:
            return True
        day = ingest_day(uri)
        return day is not None and (self.first or day) <= day <= (self.last or day)

    def __str__(self) -> str:
        return f"{self.first or '...'} to {self.last or '...'}"


ALL_DAYS = Days()


def ingest_day(uri: str) -> date | None:
    """Day by a Bronze file's folder ``ingest_date=YYYY-MM-DD``; None when it lies in none."""
    try:
        return date.fromisoformat(found[1]) if (found := DAY_FOLDER.search(uri)) else None
    except ValueError:  # such as the 30th of February
        return None


def new_files(entity: str, settings: Settings, known: set[tuple[str, str]]) -> list[ObjectInfo]:
    """Bronze files of an entity that have not been read with their present content.

    Args:
        entity: Entity name.
        settings: Where Bronze is.
        known: Path and ETag of files that are done with.
    """
    listed = list_objects(settings.bronze_entity_uri(entity))
    return [
        info for info in listed if info.uri.lower().endswith(SUFFIXES) and (info.uri, info.etag) not in known
    ]


def inspect_files(infos: Iterable[ObjectInfo], contract: Contract) -> tuple[BronzeFile, ...]:
    """Read the beginning of each file and find out how it is written."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        return tuple(pool.map(lambda info: inspect_file(info, contract), infos))


def inspect_file(info: ObjectInfo, contract: Contract) -> BronzeFile:
    """Find out how one file is written; a file that is gone by now is ``vanished``."""
    if problem := _bad_name(info.uri) or _no_snapshot(info.uri, contract):
        return BronzeFile(info.uri, info.size, info.etag, "rejected", (problem,))
    try:
        head = read_head(info.uri, SAMPLE_BYTES)
    except FileNotFoundError:
        return BronzeFile(info.uri, info.size, info.etag, "vanished", ("the file is gone",))
    found = inspect(head, compressed=info.uri.lower().endswith(".gz"), contract=contract)
    status = "pending" if found.status == "loadable" else found.status
    return BronzeFile(info.uri, info.size, info.etag, status, found.notes, found.layout)


def gzip_problem(uri: str) -> str | None:
    """Why a gzip file cannot be decompressed to its end; None when it can. Reads the whole file."""
    try:
        with closing(open_object(uri)) as packed, gzip.open(packed) as text:
            while text.read(CHUNK_BYTES):
                pass
    except EOFError:
        return "the gzip stream ends early; was it cut off when it was copied?"
    except (gzip.BadGzipFile, zlib.error) as error:
        return f"the gzip stream is damaged: {error}"
    return None


def _no_snapshot(uri: str, contract: Contract) -> str | None:
    """Why a file cannot be part of a snapshot, going by its folder."""
    if contract.is_snapshot and ingest_day(uri) is None:
        return "it is in no folder ingest_date=YYYY-MM-DD, which says what snapshot it is part of: move it"
    return None


def _bad_name(uri: str) -> str | None:
    """Why Spark would not read the rows of a file, going by its name."""
    name = uri.rsplit("/", 1)[-1]
    if name.startswith((".", "_")):
        return "its name begins with a dot or an underscore, and Spark skips such files: rename it"
    if name.lower().endswith(".gz") and not name.endswith(".gz"):
        return "Spark knows compressed files only by the ending .gz in lower case: rename it"
    return None
