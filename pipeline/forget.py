"""Erase a person from the whole lake (GDPR, Art. 17), without Spark.

The person is found by the business key, and all that refers to it: rows of rows. Where no key helps, as
in broken lines, what identifies the person does. What was found is written down first, beside the
locks, and deleted last. So an erasure that breaks off can be done again to its end, although by then
some of what it looks for is gone; until then, no run may begin.

Accounting stays as it is: no line and no row goes, and the ledger takes the new content of a Bronze file
for the one that was read.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import write_deltalake

from contracts import Contract, load_contracts
from pipeline.erasure import ACCOUNT_NUMBER, SUBJECT, Person, as_row, erase_line, erase_row, nobody, read_line
from pipeline.errors import FinlakeError, UsageError
from pipeline.forget_journal import Journal
from pipeline.gold import MARTS, Mart
from pipeline.gold.mart import input_versions, is_current, provenance
from pipeline.layout import SAMPLE_BYTES, Layout, inspect
from pipeline.ledger import Ledger
from pipeline.lock import exclusive, new_run_id
from pipeline.publish import COPIES, public_copies, write_copies
from pipeline.settings import Settings
from pipeline.storage import (
    ObjectInfo,
    delete,
    delete_folder,
    delete_old_versions,
    etag_of,
    has_bucket,
    list_objects,
    read_bytes,
    write_bytes,
)
from pipeline.tables import forget_past, newest_metadata, open_table, say, table_version

LINE_END = re.compile(r"(\r\n|\r|\n)")  # as Spark splits lines
ENCODINGS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}  # these keep the byte-order mark

MOST_KEYS, MOST_COMPOSITE_KEYS = 5_000, 500
"""Keys of rows that are written at a time, of one column or of several. With some 30,000 values in an IN, or
5,000 conditions one after the other, delta-rs runs out of its stack, which ends the process."""

Progress = Callable[[str, str], None]


@dataclass(frozen=True)
class Place:
    """Where something of the person was, and in how many lines or rows."""

    place: str
    count: int


@dataclass
class Forgotten:
    """What was erased, or with ``dry_run`` would be."""

    customer_id: str
    dry_run: bool
    places: list[Place] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        places = [{"place": place.place, "erased": place.count} for place in self.places]
        return {"customer_id": self.customer_id, "dry_run": self.dry_run, "places": places}


def forget(
    settings: Settings,
    customer_id: str,
    *,
    dry_run: bool = False,
    progress: Progress = lambda _name, _phase: None,
) -> Forgotten:
    """Erase a person.

    Args:
        settings: Where the lake is.
        customer_id: Business key.
        dry_run: Only say what would be erased.
        progress: Called with a place and what happens there.

    Returns:
        Where lines and rows were erased; nowhere, when it had been done before.

    Raises:
        UsageError: There is no such customer.
        FinlakeError: A run holds the locks or has broken off, or the lake cannot be reached.
    """
    contracts = load_contracts()
    for contract in contracts.values():
        for column in contract.columns:
            if column.pii_class and not column.derived:
                nobody(column)  # refuses what cannot be erased before anything is
    if dry_run:
        return _Eraser(settings, customer_id, contracts, progress, dry_run=True).run()
    run_id = new_run_id(datetime.now(UTC), "forget")
    with exclusive([*contracts, "gold", COPIES], run_id, settings):
        return _Eraser(settings, customer_id, contracts, progress, dry_run=False).run()


class _Eraser:
    """One erasure: the steps, and what they share."""

    def __init__(
        self,
        settings: Settings,
        customer_id: str,
        contracts: dict[str, Contract],
        progress: Progress,
        *,
        dry_run: bool,
    ) -> None:
        self.settings, self.contracts, self.progress, self.dry_run = settings, contracts, progress, dry_run
        self.report = Forgotten(customer_id, dry_run)
        self.ledger = Ledger(settings)
        name = hashlib.sha256(customer_id.encode()).hexdigest()[:16]
        self.journal_uri = f"{settings.table_uri('ops', '_forget')}/{name}.json"
        stored = read_bytes(self.journal_uri)
        self.is_redo = stored is not None
        self.journal = Journal.from_json(stored) if stored else Journal(customer_id, Person())

    def run(self) -> Forgotten:
        if self.ledger.open_batches():
            raise FinlakeError("a run has broken off, and may need old versions", "end it first: finlake run")
        self.progress("person", "looking for rows")
        self._find()
        if not self.is_redo:
            self.journal.marts = [mart.name for mart in MARTS if self._is_current(mart)]
            if not self.dry_run:
                write_bytes(self.journal_uri, self.journal.to_json())
        for entity, contract in self.contracts.items():
            self.progress(entity, "erasing")
            for info in list_objects(self.settings.bronze_entity_uri(entity)):
                self._erase_file(info, contract)
            self._erase_quarantine(contract)
            for table in (entity, f"{entity}_history"):
                self._erase_silver(table, contract)
            self.progress(entity, "done")
        for mart in MARTS:
            self._erase_mart(mart)
        if not self.dry_run:
            self._end()
        return self.report

    # --- who is it ---------------------------------------------------------------------------------

    def _find(self) -> None:
        """Learn keys and values, parents before children, from Silver, quarantine and Bronze."""
        person, wanted = self.journal.person, self.report.customer_id
        person.keys.setdefault(SUBJECT, set()).add(wanted)
        is_known = self.is_redo
        for entity, contract in self.contracts.items():
            if entity != SUBJECT and not any(entity in c.parent_entities for c in self.contracts.values()):
                continue
            for row in self._rows_of(entity, contract):
                if person.owns(row, contract):
                    person.learn(row, contract)
                    is_known = True
        if not is_known:
            raise UsageError(
                f"there is no customer {wanted}", "neither in Silver, nor in quarantine, nor in Bronze"
            )

    def _rows_of(self, entity: str, contract: Contract) -> Iterator[Mapping[str, Any]]:
        """Rows, and lines that can be split, of an entity, wherever they are, that mention the person."""
        person = self.journal.person
        for table in (entity, f"{entity}_history"):
            yield from self._select(self.settings.table_uri("silver", table), contract) or ()
        for held in self._quarantined(contract):
            header, delimiter = held["_layout"]["header"] or [], held["_layout"]["delimiter"]
            if fields := read_line(held["_raw"], header, delimiter):
                yield as_row(fields, header)
        for info in list_objects(self.settings.bronze_entity_uri(entity)):
            text, layout, _ = self._text(info, contract)
            pattern = person.pattern()
            for line in filter(pattern.search, LINE_END.split(text) if pattern.search(text) else ()):
                if fields := read_line(line, layout.header, layout.delimiter):
                    yield as_row(fields, layout.header)

    # --- Bronze ------------------------------------------------------------------------------------

    def _text(self, info: ObjectInfo, contract: Contract) -> tuple[str, Layout, str]:
        """A file's text, how it is written, and its codec; no text for what is none."""
        data = read_bytes(info.uri) or b""
        is_packed = info.uri.lower().endswith(".gz")
        found = inspect(data[:SAMPLE_BYTES], compressed=is_packed, contract=contract)
        if found.layout is None:
            return "", Layout(()), ""
        data = _gunzip(data) if is_packed else data
        codec = ENCODINGS.get(data[:2], found.layout.encoding) if found.layout.encoding == "UTF-16" else ""
        codec = codec or found.layout.encoding
        # Bytes that are no text stay as they are.
        return data.decode(codec, errors="surrogateescape"), found.layout, codec

    def _erase_file(self, info: ObjectInfo, contract: Contract) -> None:
        text, layout, codec = self._text(info, contract)
        person = self.journal.person
        pattern = person.pattern()
        if pattern.search(text):
            pieces = LINE_END.split(text)
            erased = [
                erase_line(piece, layout.header, layout.delimiter, contract, person)
                if position % 2 == 0 and pattern.search(piece)
                else piece
                for position, piece in enumerate(pieces)
            ]
            count = sum(old != new for old, new in zip(pieces, erased, strict=True))
            if count:
                self._note(info.uri, count)
                if not self.dry_run:
                    data = "".join(erased).encode(codec, errors="surrogateescape")
                    packed = gzip.compress(data, mtime=0) if info.uri.lower().endswith(".gz") else data
                    self._replace_file(info, packed)
        self._settle(info.uri, contract.entity)

    def _replace_file(self, info: ObjectInfo, data: bytes) -> None:
        self.journal.files[info.uri] = (info.etag, hashlib.sha256(data).hexdigest())
        write_bytes(self.journal_uri, self.journal.to_json())
        write_bytes(info.uri, data)

    def _settle(self, uri: str, entity: str) -> None:
        """See that the ledger knows what was put in the place of a file, and that nothing else is left."""
        if self.dry_run or uri not in self.journal.files:
            return
        known_etag, digest = self.journal.files[uri]
        data, etag = read_bytes(uri), etag_of(uri)
        if data is not None and etag is not None and hashlib.sha256(data).hexdigest() == digest:
            self.ledger.take_for_read(entity, uri, known_etag, ObjectInfo(uri, len(data), etag))
            delete_old_versions(uri)

    # --- tables ------------------------------------------------------------------------------------

    def _quarantined(self, contract: Contract) -> list[dict[str, Any]]:
        """Quarantined rows that mention the person."""
        table = open_table(self.settings.table_uri("quarantine", contract.entity))
        pattern = self.journal.person.pattern()
        rows = table.to_pyarrow_table().to_pylist() if table else []
        return [row for row in rows if row["_raw"] and pattern.search(row["_raw"])]

    def _erase_quarantine(self, contract: Contract) -> None:
        person, changed = self.journal.person, []
        for row in self._quarantined(contract):
            layout = row["_layout"]
            raw = erase_line(row["_raw"], layout["header"] or [], layout["delimiter"], contract, person)
            if raw != row["_raw"]:
                changed.append((row, row | {"_raw": raw}))
        self._replace_rows("quarantine", contract.entity, changed, ("_source_file", "_source_row", "_run_id"))

    def _erase_silver(self, table: str, contract: Contract) -> None:
        if not any(column.pii_class for column in contract.columns):
            return
        rows = self._select(self.settings.table_uri("silver", table), contract)
        if rows is None:
            return
        both = [(row, erase_row(row, contract, self.journal.person)) for row in rows]
        key = contract.key
        touched = {tuple(old[name] for name in key) for old, new in both if old != new}
        same_key = [(old, new) for old, new in both if tuple(old[name] for name in key) in touched]
        self._replace_rows("silver", table, same_key, key)

    def _select(self, uri: str, contract: Contract) -> list[dict[str, Any]] | None:
        """Rows of a table that may be the person's, or name an account of the person."""
        table = open_table(uri)
        if table is None:
            return None
        person = self.journal.person
        wanted = {name: person.keys.get(contract.entity, set()) for name in contract.key}
        wanted |= {c.name: person.keys.get(str(c.parent_entity), set()) for c in contract.parents}
        wanted |= {c.name: person.values for c in contract.columns if c.pii_class == ACCOUNT_NUMBER}
        condition = ds.scalar(False)
        for name, values in wanted.items():
            if values:
                condition |= ds.field(name).isin(pa.array(sorted(values), pa.string()))
        return list(table.to_pyarrow_dataset().to_table(filter=condition).to_pylist())

    def _erase_mart(self, mart: Mart) -> None:
        """Empty the person's columns of a mart; it stays up to date, if it was."""
        personal = [column.name for column in mart.columns if column.pii_class]
        uri = self.settings.table_uri("gold", mart.name)
        table = open_table(uri)
        if table is None:
            return
        if personal:
            self.progress(mart.name, "erasing")
            key = self.contracts[SUBJECT].key[0]
            found = table.to_pyarrow_dataset().to_table(filter=ds.field(key) == self.report.customer_id)
            both = [(row, row | dict.fromkeys(personal)) for row in found.to_pylist()]
            self._replace_rows("gold", mart.name, [pair for pair in both if pair[0] != pair[1]], (key,))
            self.progress(mart.name, "done")

    def _replace_rows(
        self,
        layer: str,
        table: str,
        rows: Sequence[tuple[dict[str, Any], dict[str, Any]]],
        key: Sequence[str],
    ) -> None:
        """Put new rows in the place of old ones; ``key`` tells them from all others."""
        if not rows:
            return
        self._note(f"{layer}.{table}", sum(old != new for old, new in rows))
        if self.dry_run:
            return
        stored = open_table(self.settings.table_uri(layer, table))
        assert stored is not None  # noqa: S101 - for the type checker; the rows come from it
        schema = pa.schema(stored.schema().to_arrow())
        by_key: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
        for old, new in rows:
            by_key[tuple(_literal(old[name]) for name in key)].append(new)
        keys, most = sorted(by_key), MOST_KEYS if len(key) == 1 else MOST_COMPOSITE_KEYS
        for first in range(0, len(keys), most):
            some = keys[first : first + most]
            if len(key) == 1:
                predicate = f"{key[0]} IN ({', '.join(value for (value,) in some)})"
            else:
                each = (
                    " AND ".join(f"{name} = {value}" for name, value in zip(key, values, strict=True))
                    for values in some
                )
                predicate = " OR ".join(f"({condition})" for condition in each)
            new_rows = [row for values in some for row in by_key[values]]
            write_deltalake(
                stored, pa.Table.from_pylist(new_rows, schema=schema), mode="overwrite", predicate=predicate
            )
            stored.update_incremental()

    # --- the end -----------------------------------------------------------------------------------

    def _end(self) -> None:
        """Let nothing remember what was erased; then the erasure itself is forgotten."""
        if self.report.places or self.is_redo:
            self.progress("old versions", "deleting")
            for entity, contract in self.contracts.items():
                tables = [self.settings.table_uri("quarantine", entity)]
                if any(column.pii_class for column in contract.columns):
                    tables += [self.settings.table_uri("silver", t) for t in (entity, f"{entity}_history")]
                for uri in tables:
                    if open_table(uri) is not None:
                        forget_past(uri)
                # No batch is open: what is staged is of a Spark that wrote on for a run that was killed.
                delete_folder(self.settings.table_uri("staging", entity))
                delete_old_versions(self.settings.table_uri("staging", entity), folder=True)
            for mart in MARTS:
                self._end_mart(mart)
            self._end_copies()
            self.progress("old versions", "done")
        delete(self.journal_uri)
        delete_old_versions(self.journal_uri)

    def _end_mart(self, mart: Mart) -> None:
        uri = self.settings.table_uri("gold", mart.name)
        table = open_table(uri)
        if table is None:
            return
        is_as_before = mart.name in self.journal.marts and not self._has_lost_values(mart)
        if is_as_before:
            said = provenance(mart, input_versions(mart.inputs, self.settings))
        else:
            said = newest_metadata(uri) or ""
        metadata = {"userMetadata": said} if said else {}
        if any(column.pii_class for column in mart.columns):
            forget_past(uri, metadata)
        elif is_as_before:
            say(table, metadata)

    def _has_lost_values(self, mart: Mart) -> bool:
        """Whether a mart counts by values of which some are gone: the next run builds it anew.

        Of an erasure that had broken off, nobody knows any more where it had been, so that may be anywhere.
        """
        touched = {place.place for place in self.report.places}
        return any(
            column.pii_class and column.name in columns
            for table, columns in mart.reads.items()
            if self.is_redo or f"silver.{table}" in touched
            for column in (self.contracts[table].columns if table in self.contracts else ())
        )

    def _end_copies(self) -> None:
        # Where nothing is ever published, there may be no bucket either.
        copies = [uri for uri in public_copies(self.settings) if has_bucket(uri)]
        if any(table_version(uri) >= 0 for uri in copies):
            for copy in write_copies(self.settings):
                table = open_table(copy.uri)
                if copy.masked and table is not None:
                    last = table.history(1)[0]
                    kept = {name: str(value) for name, value in last.items() if name.startswith("finlake.")}
                    forget_past(copy.uri, kept)

    def _is_current(self, mart: Mart) -> bool:
        return is_current(mart, input_versions(mart.inputs, self.settings), self.settings)

    def _note(self, place: str, count: int) -> None:
        self.report.places.append(Place(place, count))


def _gunzip(data: bytes) -> bytes:
    """Everything that can be decompressed of a gzip file, also of a damaged one."""
    text = b""
    while data:
        stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            text += stream.decompress(data)
        except zlib.error:
            break
        data = stream.unused_data.lstrip(b"\x00")
    return text


def _literal(value: Any) -> str:  # noqa: ANN401 - a key of any type
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)
