"""Data files: written from their blocks, and the files of labels beside them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from datagen.block import Made, Recipe, make_block, maker
from datagen.manifest import FileEntry
from datagen.sink import Sink

LABEL_FOLDER = "_labels"
"""What is kept apart from the data lies below it."""


@dataclass(frozen=True)
class DataFile:
    """A file of one entity in one batch.

    Attributes:
        recipe: What decides its blocks.
        path: Path below the output folder.
        blocks: Numbers of its blocks.
    """

    recipe: Recipe
    path: str
    blocks: range


@dataclass(frozen=True)
class Finished:
    """What is known of a file that is written.

    Attributes:
        entry: Its entry in the manifest.
        label: That of its labels, if it has any.
        rows: Clean rows, by what they are.
        dirt: Dirty rows, by kind.
    """

    entry: FileEntry
    label: FileEntry | None
    rows: Counter[str]
    dirt: Counter[str]


def count_rows(rows: Counter[str], dirt: Counter[str]) -> int:
    """Rows of all kinds; late ones are among the inserted."""
    return rows["inserted"] + rows["updated"] + rows["unchanged"] + dirt.total()


def write_file(
    sink: Sink, file: DataFile, made: Iterator[Made], on_block: Callable[[Made], None]
) -> Finished:
    """Write a file and its labels.

    Args:
        sink: Where they go.
        file: The file.
        made: Its blocks, in order, and no more.
        on_block: Called after each block.
    """
    rows, dirt, labels = Counter[str](), Counter[str](), list[bytes]()

    def encoded() -> Iterator[bytes]:
        for block in made:
            yield block.data
            labels.append(block.labels)
            rows.update(block.rows)
            dirt.update(block.dirt)
            on_block(block)

    content = _Checked(maker(file.recipe).format.pieces(encoded()))
    sink.write(file.path, content)
    entry = content.entry(file.path, count_rows(rows, dirt))
    return Finished(entry, _write_labels(sink, file, labels), rows, dirt)


def make_file(target: str, file: DataFile) -> Finished:
    """Make the blocks of a file, and write it; all in one process."""
    made = (make_block(file.recipe, number) for number in file.blocks)
    return write_file(_sink(target), file, made, lambda _: None)


@lru_cache(maxsize=1)
def _sink(target: str) -> Sink:
    return Sink(target)


def label_path(file: DataFile) -> str:
    """Path of the labels of a data file."""
    return f"{LABEL_FOLDER}/{file.path.removesuffix(file.recipe.format)}csv"


def _write_labels(sink: Sink, file: DataFile, lines: list[bytes]) -> FileEntry | None:
    """Write the labels of a data file, apart from the data."""
    header = maker(file.recipe).label_header()
    if header is None:
        return None
    content = _Checked(iter([header, *lines]))
    sink.write(label_path(file), content)
    return content.entry(label_path(file), sum(piece.count(b"\n") for piece in lines))


class _Checked:
    """Passes bytes through, and knows their number and SHA-256 afterwards."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._bytes = 0
        self._pieces = pieces
        self._sha256 = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self._bytes += len(piece)
            self._sha256.update(piece)
            yield piece

    def entry(self, path: str, rows: int) -> FileEntry:
        """The file's entry in the manifest."""
        return FileEntry(path, rows, self._bytes, self._sha256.hexdigest())
