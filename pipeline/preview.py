"""What a run would do, found out without Spark and without writing anything.

Only the first bytes of each new file are read. So the number of rows is an estimate, unless these are the
whole file.
"""

from __future__ import annotations

import difflib
import re
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from contracts import Contract
from contracts.rules import rules
from pipeline.files import inspect_file
from pipeline.layout import SAMPLE_BYTES, UTF16_BOMS, Layout
from pipeline.ledger import BronzeFile
from pipeline.storage import ObjectInfo, read_head

LINE_END = re.compile(r"\r\n|\r|\n")
LIKE = 0.6  # difflib's own measure of names that are alike


@dataclass(frozen=True)
class FilePreview:
    """A file as a run would read it.

    Attributes:
        path: URI.
        size: Size in bytes.
        status: ``pending`` when it would be loaded, otherwise why not (see ``ops.files``).
        notes: What was noticed.
        encoding: Text encoding; None when it would not be loaded, as in what follows.
        delimiter: Delimiter.
        rows: Rows in it.
        is_estimate: Whether ``rows`` was worked out from the beginning of the file.
        missing: Columns of the contract that it lacks.
        additional: Columns that the contract does not have.
        renamed: Additional columns that may be missing ones by another name: old name -> new name.
        refused: Reasons for which every one of its rows would be quarantined.
    """

    path: str
    size: int
    status: str
    notes: tuple[str, ...]
    encoding: str | None = None
    delimiter: str | None = None
    rows: int | None = None
    is_estimate: bool = False
    missing: tuple[str, ...] = ()
    additional: tuple[str, ...] = ()
    renamed: tuple[tuple[str, str], ...] = ()
    refused: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The preview as plain values, for JSON."""
        return vars(self) | {"renamed": dict(self.renamed)}


@dataclass(frozen=True)
class EntityPreview:
    """New files of an entity, and the rules that their rows would be held against, with what they demand."""

    files: tuple[FilePreview, ...]
    rules: dict[str, str]

    @property
    def rows(self) -> int:
        """Rows in all files that would be loaded."""
        return sum(file.rows or 0 for file in self.files)

    def as_dict(self) -> dict[str, Any]:
        """The preview as plain values, for JSON."""
        return {
            "rows": self.rows,
            "is_estimate": any(file.is_estimate for file in self.files),
            "files": [file.as_dict() for file in self.files],
            "rules": self.rules,
        }


def preview(infos: Iterable[ObjectInfo], contract: Contract) -> EntityPreview:
    """Look at new files of an entity."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        files = tuple(pool.map(lambda info: preview_file(info, contract), infos))
    return EntityPreview(files, rules(contract) if files else {})


def preview_file(info: ObjectInfo, contract: Contract) -> FilePreview:
    """Look at the beginning of a file."""
    file = inspect_file(info, contract)
    if file.status != "pending" or file.layout is None:
        return FilePreview(file.path, file.size, file.status, file.notes)
    try:
        head = read_head(info.uri, SAMPLE_BYTES)
    except FileNotFoundError:
        return FilePreview(file.path, file.size, "vanished", ("the file is gone",))
    rows, is_estimate = count_rows(head, file)
    return FilePreview(
        file.path,
        file.size,
        file.status,
        file.notes,
        file.layout.encoding,
        file.layout.delimiter,
        rows,
        is_estimate,
        *differences(file.layout, contract),
    )


def differences(
    layout: Layout, contract: Contract
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Missing, additional and perhaps renamed columns, and reasons that no row can escape."""
    if layout.problem:
        return (), (), (), (layout.problem,)
    known = [column.name for column in contract.source_columns]
    missing = tuple(name for name in known if name not in layout.header)
    additional = tuple(name for name in layout.header if name not in known)
    renamed = []
    left = list(additional)
    for name in missing:
        for like in difflib.get_close_matches(name, left, n=1, cutoff=LIKE):
            renamed.append((name, like))
            left.remove(like)
    refused = tuple(
        f"{'missing_key' if name in contract.key else 'missing_value'}:{name}"
        for name in missing
        if contract.column(name).required
    )
    return missing, additional, tuple(renamed), refused


def count_rows(head: bytes, file: BronzeFile) -> tuple[int, bool]:
    """Rows of a file, by its first bytes.

    Args:
        head: First bytes, as they stand in the file.
        file: The file, with its layout.

    Returns:
        The number, and whether it is an estimate: as many rows per byte as the beginning has.
    """
    layout = file.layout or Layout(())
    text, is_whole, used = head, len(head) >= file.size, len(head)
    if file.path.lower().endswith(".gz"):
        text, is_ended = _unpacked(head)
        is_whole = is_whole and is_ended
    wide = layout.encoding in UTF16_BOMS.values()
    # Otherwise ends of lines are the same bytes in all encodings that there can be.
    lines = LINE_END.split(text.decode(layout.encoding if wide else "latin-1", errors="replace"))
    filled = sum(1 for line in lines if line.strip("\ufeff \t\x00"))
    header = 1 if layout.has_header else 0
    if is_whole:
        return max(0, filled - header), False
    # The last line is cut off somewhere; on average, half of it is there.
    return max(0, round((filled - 0.5) * file.size / max(1, used)) - header), True


def _unpacked(head: bytes) -> tuple[bytes, bool]:
    """Text at the beginning of gzip, and whether it ends there."""
    text, is_ended = b"", False
    while head:
        # A gzip file may be several streams in a row.
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            text += stream.decompress(head)
        except zlib.error:
            return text, False
        is_ended, head = stream.eof, stream.unused_data
    return text, is_ended
