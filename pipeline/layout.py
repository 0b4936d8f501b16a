"""How one Bronze file is written: encoding, delimiter, header. Found from its first bytes.

The contract helps: the delimiter is the one that splits the header into the most known column
names, which is more reliable than guessing from frequencies.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from charset_normalizer import from_bytes

from contracts import Contract
from pipeline.detection import warnings as personal_data

SAMPLE_BYTES = 64 * 1024
DELIMITERS = (",", ";", "\t", "|")
# Name that Python's detector gives -> name that both Python and Java know.
LEGACY_ENCODINGS = {
    "cp1250": "windows-1250",
    "cp1251": "windows-1251",
    "cp1252": "windows-1252",
    "cp1253": "windows-1253",
    "cp1254": "windows-1254",
    "latin_1": "ISO-8859-1",
    "iso8859_15": "ISO-8859-15",
    "iso8859_2": "ISO-8859-2",
}
LONGEST_NAME = 128
# How the notes begin that say that a file has not the columns of the contract.
COLUMN_NOTES = ("missing columns", "additional columns")
# Names that the tables need for themselves.
RESERVED = ("valid_from", "valid_to", "is_current", "is_deleted")
UTF32_BOMS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)
UTF16_BOMS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16"}


@dataclass(frozen=True)
class Layout:
    """How a file is written.

    Attributes:
        header: Normalised column names in file order (lower case, trimmed); empty when unusable.
        delimiter: One character.
        encoding: ``UTF-8``, or a legacy encoding that the reader decodes first.
        has_header: Whether line 1 is a header, so not a data row.
        problem: Reason for which every row of the file is quarantined, or None.
    """

    header: tuple[str, ...]
    delimiter: str = ","
    encoding: str = "UTF-8"
    has_header: bool = True
    problem: str | None = None


@dataclass(frozen=True)
class Inspection:
    """What was found out about a file before reading it.

    Attributes:
        status: ``loadable``, ``empty`` (no row can be in it) or ``rejected`` (not text at all).
        layout: How it is written; None unless loadable.
        notes: What a person should know: missing and additional columns, encodings, personal
            data without a tag, ...
    """

    status: str
    layout: Layout | None
    notes: tuple[str, ...] = ()


def inspect(head: bytes, *, compressed: bool, contract: Contract) -> Inspection:
    """Find out how a file is written.

    Args:
        head: First bytes of the file, ``SAMPLE_BYTES`` or fewer.
        compressed: Whether they are gzip.
        contract: What the columns should be.
    """
    if not head:
        return Inspection("empty", None, ("the file has no bytes",))
    if compressed:
        try:
            head = gunzip_head(head)
        except zlib.error:
            return Inspection("rejected", None, ("the name ends with .gz, but the content is not gzip",))
        except EOFError:
            return Inspection("rejected", None, ("the gzip stream ends before its first byte of text",))
    if head.startswith(UTF32_BOMS):  # the first of them begins like that of UTF-16
        return Inspection("rejected", None, ("its text is UTF-32, which is not read: save it as UTF-8",))
    # NUL bytes in what is a CSV file by its header: only the lines that hold them are bad.
    is_csv = b"\x00" in head and _begins_with_header(head, contract)
    encoding = find_encoding(head.replace(b"\x00", b"") if is_csv else head)
    if encoding is None:
        return Inspection("rejected", None, ("not a text file: it holds bytes that no CSV file has",))
    text = _decode(head, encoding)
    first_line = next((line for line in text.splitlines()[:1]), "")
    if not text.strip():
        if len(head) < SAMPLE_BYTES:
            return Inspection("empty", None, ("the file holds only blank lines",))
        # What follows may be rows, so they are read, and land in quarantine.
        first_line = ""
    delimiter, header = find_header(first_line, contract)
    notes = [] if encoding == "UTF-8" else [f"encoding {encoding}"]
    renamed = [f"{name} is {contract.aliases[name]}" for name in header if name in contract.aliases]
    header = tuple(contract.aliases.get(name, name) for name in header)
    known = contract.input_columns
    if not set(header) & set(known):
        return Inspection(
            "loadable",
            Layout((), delimiter, encoding, has_header=False, problem="unreadable_header"),
            (*notes, f"line 1 is not a header of {contract.entity}: no column name of the contract is in it"),
        )
    twice = sorted({name for name in header if header.count(name) > 1 and name in known})
    if twice:
        return Inspection(
            "loadable",
            Layout(header, delimiter, encoding, problem="ambiguous_header"),
            (*notes, f"columns stand more than once in the header: {', '.join(twice)}"),
        )
    if delimiter != ",":
        notes.append(f"delimiter {delimiter!r}")
    if renamed:
        notes.append(f"renamed columns: {', '.join(renamed)}")
    taken = _taken(contract)
    header = tuple(name if (plain := additional_name(name)) in taken else plain or name for name in header)
    notes += _column_notes(header, contract)
    notes += personal_data(text, header, delimiter, contract)
    return Inspection("loadable", Layout(header, delimiter, encoding), tuple(notes))


def with_aliases(header: tuple[str, ...], contract: Contract) -> tuple[str, ...]:
    """Column names of a header as the contract calls them; as they are, where one would stand there twice.

    A header that was read when the contract did not know a name has it as a table may have it.
    """
    aliases = {additional_name(alias): name for alias, name in contract.aliases.items()} | contract.aliases
    names = tuple(aliases.get(name, name) for name in header)
    return names if len(set(names)) == len(set(header)) else header


def _column_notes(header: tuple[str, ...], contract: Contract) -> Iterator[str]:
    known = contract.input_columns
    expected = [name for name in known if name != contract.operation_column]
    if missing := [name for name in expected if name not in header]:
        yield f"missing columns: {', '.join(missing)}"
    additional = additional_columns(header, contract) if contract.schema_policy != "ignore" else ()
    if additional:
        yield f"additional columns: {', '.join(additional)}"
    if extra := [name for name in header if name not in known and name not in additional]:
        yield f"additional columns, not loaded: {', '.join(name or '(no name)' for name in extra)}"


def additional_columns(header: tuple[str, ...], contract: Contract) -> tuple[str, ...]:
    """Columns of a header that the contract does not know, and that Silver can take in.

    There are none when more of the columns are unknown than the contract has: it is another kind of file.
    """
    taken = _taken(contract)
    found = [name for name in header if name and name not in taken and name == additional_name(name)]
    if len(found) > len(contract.source_columns):
        return ()
    return tuple(name for name in found if found.count(name) == 1 and len(name) <= LONGEST_NAME)


def _taken(contract: Contract) -> set[str]:
    return {*contract.input_columns, *(column.name for column in contract.columns), *RESERVED}


def additional_name(name: str) -> str:
    """A name from a header as a column of a table may have it; empty when nothing of it can stay.

    >>> additional_name("loyalty tier (2024)")
    'loyalty_tier_2024'
    """
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def find_encoding(sample: bytes) -> str | None:
    """Name of the text encoding of ``sample``, or None when it is not text.

    A sample that is valid UTF-8, or UTF-8 with a few broken characters, counts as UTF-8; the broken
    rows are found when they are read.
    """
    for bom, name in UTF16_BOMS.items():
        if sample.startswith(bom):
            return name
    if b"\x00" in sample[:1024]:
        return None
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample, final=False)
        return "UTF-8"
    except UnicodeDecodeError:
        pass
    repaired = sample.decode("utf-8", errors="ignore")
    if any(ord(character) > 127 for character in repaired):
        return "UTF-8"
    matches = from_bytes(sample, cp_isolation=list(LEGACY_ENCODINGS))
    best = matches.best()
    if best is None:
        return None
    # Among guesses that look equally good, Windows' western code page is the most usual.
    as_good = {name for match in matches if match.chaos <= best.chaos for name in match.could_be_from_charset}
    return LEGACY_ENCODINGS["cp1252" if "cp1252" in as_good else best.encoding]


def find_header(line: str, contract: Contract) -> tuple[str, tuple[str, ...]]:
    """Delimiter and normalised column names of a header line."""
    known = {*contract.input_columns, *contract.aliases}
    candidates = {delimiter: _split_header(line, delimiter) for delimiter in DELIMITERS}
    best = max(candidates, key=lambda delimiter: len(known & set(candidates[delimiter])))
    return best, candidates[best]


def gunzip_head(data: bytes) -> bytes:
    """Decompress as much of the beginning of a gzip stream as ``data`` holds.

    Raises:
        zlib.error: It is not gzip.
        EOFError: It breaks off before anything can be decompressed.
    """
    text = b""
    # A gzip file may be several streams in a row, and the first of them may be short or empty.
    while data and len(text) < SAMPLE_BYTES:
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            text += stream.decompress(data, SAMPLE_BYTES - len(text))
        except zlib.error:
            if text:
                break  # what follows is for the reader to find
            raise
        if not stream.eof:
            if not text:
                raise EOFError
            break
        data = stream.unused_data.lstrip(b"\x00")
    return text


def _begins_with_header(head: bytes, contract: Contract) -> bool:
    line = next(iter(head.splitlines()), b"")
    known = {*contract.input_columns, *contract.aliases}
    return not known.isdisjoint(find_header(_decode(line, "UTF-8"), contract)[1])


def _split_header(line: str, delimiter: str) -> tuple[str, ...]:
    try:
        cells = next(csv.reader(io.StringIO(line), delimiter=delimiter), [])
    except csv.Error:
        return ()
    return tuple(cell.strip().lower() for cell in cells)


def _decode(sample: bytes, encoding: str) -> str:
    if encoding == "UTF-8":
        return sample.decode("utf-8-sig", errors="replace")
    return sample.decode(encoding, errors="replace")
