"""What is in quarantine, line by line, and another try for it.

Looking needs no Spark. Raw lines hold personal data: unless they are asked for as they stand, letters and
digits of every value that the contract tags (and of lines that cannot be split) are shown as ``x`` and
``9``. What is wrong with the form of a value can still be seen then.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from contracts import Contract, load_contracts
from contracts.rules import LINE_REASONS, NEED_THE_FILE, describe
from pipeline.errors import UsageError
from pipeline.ledger import Ledger
from pipeline.plan import SILVER
from pipeline.query import attach_uri, connect
from pipeline.report import RunReport
from pipeline.run import Progress, run_pipeline
from pipeline.settings import Settings
from pipeline.tables import table_version


@dataclass(frozen=True)
class Held:
    """Rows in quarantine of one file and run with one reason. A row with several reasons is in several."""

    entity: str
    reason: str
    rows: int
    file: str
    run_id: str
    since: datetime


@dataclass(frozen=True)
class HeldRow:
    """A row in quarantine: where it stood, when it came, every rule that it broke, and the line."""

    entity: str
    file: str
    line: int
    run_id: str
    since: datetime
    reasons: dict[str, str]
    raw: str


def held_rows(settings: Settings, entities: Sequence[str] = (), reason: str | None = None) -> list[Held]:
    """Count what is in quarantine, by entity, reason, file and run.

    Args:
        settings: Where the lake is.
        entities: Entities to look at; all when empty.
        reason: Only this reason: ``rule:column``, or ``rule`` for it on any column.

    Raises:
        UsageError: An entity is unknown.
    """
    found: list[Held] = []
    for entity in _chosen(entities):
        where, values = _where(reason, None, 'r."reason"')
        found += [
            Held(entity, *row)
            for row in _query(
                settings,
                entity,
                'SELECT r."reason", count(*), _source_file, _run_id, min(_ingested_at) '
                'FROM (SELECT *, unnest(_reasons) AS "reason" FROM {table}) AS r '
                f"WHERE {where} GROUP BY ALL ORDER BY ALL",
                values,
            )
        ]
    return found


def show_rows(
    settings: Settings,
    entity: str,
    *,
    reason: str | None = None,
    file: str | None = None,
    limit: int = 20,
    raw: bool = False,
) -> list[HeldRow]:
    """Rows in quarantine with their lines, by file and line.

    Args:
        settings: Where the lake is.
        entity: The entity.
        reason: Only rows with this reason, as for :func:`held_rows`.
        file: Only rows of files whose URI holds this text.
        limit: At most so many.
        raw: Show lines as they stand, with the personal data in them.

    Raises:
        UsageError: The entity is unknown.
    """
    (contract,) = _chosen([entity]).values()
    where, values = _where(reason, file)
    rows = _query(
        settings,
        entity,
        "SELECT _source_file, _source_row, _run_id, _ingested_at, _reasons, _raw, "
        '_layout."header", _layout."delimiter" '
        f"FROM {{table}} WHERE {where} ORDER BY _source_file, _source_row, _run_id LIMIT {limit:d}",
        values,
    )
    return [
        HeldRow(
            entity,
            path,
            line,
            run_id,
            since,
            {name: describe(name, contract) for name in reasons},
            text
            if raw
            else masked(text, () if LINE_REASONS.keys() & reasons else header, delimiter, contract),
        )
        for path, line, run_id, since, reasons, text, header, delimiter in rows
    ]


def replay(
    settings: Settings,
    entity: str,
    reason: str | None = None,
    progress: Progress = lambda _name, _phase: None,
) -> RunReport:
    """Try quarantined rows of an entity again, by the present contract and parents.

    Rows that pass leave quarantine in the batch that takes them into Silver. Rows that are still bad stay
    as they are, and so do lines that cannot be read without their file.

    Args:
        settings: Where the lake is.
        entity: The entity.
        reason: Only rows with this reason, as for :func:`held_rows`; by default all.
        progress: Called with an entity and what happens to it.

    Raises:
        UsageError: The entity is unknown, or no row that can be tried again has that reason.
        FinlakeError: The lake cannot be reached, or another run holds its locks.
    """
    _chosen([entity])
    held = Ledger(settings).held_reasons().get(entity, Counter())
    reasons = [name for name in sorted(held) if reason in (None, name, name.split(":")[0])]
    chosen = [name for name in reasons if name not in NEED_THE_FILE]
    if reason and not reasons:
        hint = f"reasons there are: {', '.join(sorted(held))}" if held else "its quarantine is empty"
        raise UsageError(f"no quarantined row of {entity} has the reason {reason!r}", hint)
    if reason and not chosen:
        raise UsageError(
            f"rows with the reason {reason!r} cannot be tried again from quarantine: {LINE_REASONS[reason]}",
            f"put a corrected file into Bronze: finlake ingest {entity} FILE",
        )
    if not chosen:
        return RunReport(None)
    return run_pipeline(settings, entities=[entity], layer=SILVER, replay=chosen, progress=progress)


def masked(raw: str, header: Sequence[str], delimiter: str, contract: Contract) -> str:
    """A line without personal data.

    Args:
        raw: The line.
        header: Names of its values; none when it cannot be split.
        delimiter: What stands between them.
        contract: Says which columns hold personal data. A column that it does not know may do so as well.

    >>> from contracts import load_contract
    >>> masked("C1;ada@example.org;DE", ["customer_id", "email", "country"], ";", load_contract("customers"))
    'C1;xxx@xxxxxxx.xxx;DE'
    """
    public = {column.name for column in contract.source_columns if column.pii_class is None}
    try:
        values = next(csv.reader([raw], delimiter=delimiter, strict=True), []) if header else []
    except csv.Error:
        values = []
    if not values or len(values) != len(header):
        return form_of(raw)
    line = io.StringIO()
    pairs = zip(header, values, strict=True)
    shown = [value if name in public else form_of(value) for name, value in pairs]
    csv.writer(line, delimiter=delimiter, lineterminator="").writerow(shown)
    return line.getvalue()


def form_of(text: str) -> str:
    """A text with ``x`` for each letter and ``9`` for each digit.

    >>> form_of("Müller-7")
    'xxxxxx-9'
    """
    return re.sub(r"[^\W\d_]", "x", re.sub(r"\d", "9", text))


def printable(text: str) -> str:
    r"""A text that cannot steer a terminal: control characters are written as Python would write them.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _chosen(entities: Sequence[str]) -> Mapping[str, Contract]:
    contracts = load_contracts()
    unknown = [entity for entity in entities if entity not in contracts]
    if unknown:
        raise UsageError(f"there is no entity {unknown[0]!r}", f"entities are: {', '.join(contracts)}")
    return {entity: contracts[entity] for entity in contracts if not entities or entity in entities}


def _where(reason: str | None, file: str | None, one: str | None = None) -> tuple[str, dict[str, str]]:
    """A condition in DuckDB's SQL on rows, or on ``one`` reason of a row; and its values."""
    conditions, values = ["true"], {}
    if reason:
        by_name = "{0} = $reason OR split_part({0}, ':', 1) = $reason"
        each = f"len(list_filter(_reasons, lambda r: {by_name.format('r')})) > 0"
        conditions.append(f"({by_name.format(one)})" if one else each)
        values["reason"] = reason
    if file:
        conditions.append("contains(_source_file, $file)")
        values["file"] = file
    return " AND ".join(conditions), values


def _query(settings: Settings, entity: str, sql: str, values: dict[str, str]) -> Iterator[tuple[Any, ...]]:
    uri = settings.table_uri("quarantine", entity)
    if table_version(uri) < 0:
        return
    connection = connect()
    attach_uri(connection, "quarantine", entity, uri)
    yield from connection.execute(sql.format(table=f'quarantine."{entity}"'), values).fetchall()
