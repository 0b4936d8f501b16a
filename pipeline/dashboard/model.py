"""What the page knows: cubes, lists and definitions, read from the lake by DuckDB. No markup."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Final

from pipeline.catalog import registered_tables
from pipeline.dashboard.cubes import KPI, compute
from pipeline.dashboard.formulas import take_apart
from pipeline.dashboard.layout import CUBES, SECTIONS
from pipeline.errors import FinlakeError, explain
from pipeline.query import attach_uri, connect
from pipeline.settings import Settings
from pipeline.tables import open_table, table_version

if TYPE_CHECKING:
    import duckdb

LAYERS: Final = ("gold", "ops")
SHOWN_RUNS: Final = 12
# Columns besides those of the cubes. Not among them: what a run's error says and how files are called, for
# that may hold anything.
RUNS: Final = ("run_id", "started_at", "finished_at", "status", "layer")
BATCHES: Final = ("entity", "batch", "run_id", "status", "ingested_at")
# The newest day in a mart, as an aggregate over its rows.
NEWEST: Final = {
    "daily_transactions": "max(transaction_date)",
    "customer_360": "max(as_of_date)",
    "loan_portfolio": "max(as_of_date)",
    "loan_vintages": "max(as_of_date)",
    "fraud_signals": "max(activity_date)",
    "monthly_cash_flow": "max(month)",
    "payment_performance": "max(CASE WHEN instalment_count > 0 THEN due_month END)",
}
NOT_BUILT: Final = "not built yet"


@dataclass(frozen=True)
class Lake:
    """Tables of the lake, as they are at one instant.

    Attributes:
        uris: Where tables are, by ``layer.table``; those that the catalogue has and that have been written.
        versions: Their Delta versions.
    """

    uris: dict[str, str]
    versions: dict[str, int]

    @property
    def fingerprint(self) -> str:
        """Changes when any table does."""
        text = json.dumps([self.uris, self.versions], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def look(settings: Settings) -> Lake:
    """See which tables of Gold and ops there are, and in which versions. Reads no data.

    Raises:
        FinlakeError: The catalogue or the storage does not answer, or has no such databases.
    """
    try:
        uris = {
            f"{layer}.{name}": str(table["StorageDescriptor"]["Location"])
            for layer in LAYERS
            for name, table in registered_tables(layer, settings).items()
            if f"{layer}.{name}" in wanted_tables()
        }
        versions = {name: table_version(uri) for name, uri in uris.items()}
    except FinlakeError:
        raise
    except Exception as error:
        raise explain(error) or FinlakeError(f"the lake cannot be read: {error}") from error
    there = {name: version for name, version in versions.items() if version >= 0}
    return Lake({name: uris[name] for name in there}, there)


def wanted_tables() -> frozenset[str]:
    """Every table that the page reads, as ``layer.table``."""
    gold = (f"gold.{name}" for name in NEWEST)
    return frozenset({cube.table for cube in CUBES}.union(gold, ("ops.runs", "ops.batches")))


def read_columns() -> dict[str, frozenset[str]]:
    """Every column that the page reads, by table."""
    found: dict[str, set[str]] = {"ops.runs": set(RUNS), "ops.batches": set(BATCHES)}
    for cube in CUBES:
        found.setdefault(cube.table, set()).update(cube.columns)
    for name, newest in NEWEST.items():
        found.setdefault(f"gold.{name}", set()).update(take_apart(newest).columns)
    return {table: frozenset(columns) for table, columns in found.items()}


def read_model(settings: Settings, lake: Lake) -> dict[str, Any]:
    """Everything that the page shows, as JSON can hold it.

    Returns:
        ``generated_at`` (ISO 8601), ``environment``, ``fingerprint``, ``kpis`` (definitions by name, with the
        ``expression`` and ``parts`` of :mod:`pipeline.dashboard.formulas`), ``cubes`` (by name, see
        :func:`pipeline.dashboard.cubes.compute`; ``missing`` says why there is none), ``sections`` (the
        layout), ``tables`` and ``runs`` (rows of what is listed), ``problem`` (None).

    Raises:
        FinlakeError: A table cannot be read.
    """
    connection = connect()
    try:
        for name, uri in lake.uris.items():
            layer, table = name.split(".")
            attach_uri(connection, layer, table, uri)
        return model_of(connection, lake, settings)
    except FinlakeError:
        raise
    except Exception as error:
        raise explain(error) or FinlakeError(f"the lake cannot be read: {error}") from error
    finally:
        connection.close()


def model_of(connection: duckdb.DuckDBPyConnection, lake: Lake, settings: Settings) -> dict[str, Any]:
    """:func:`read_model`, for tables that are attached already."""
    present = {name: _columns(connection, name) for name in lake.uris}
    cubes: dict[str, Any] = {}
    for cube in CUBES:
        found = cube.available(present.get(cube.table, set()))
        cubes[cube.name] = (
            compute(found, connection) if found else {"table": cube.table, "missing": NOT_BUILT}
        )
    return empty_model(settings) | {
        "fingerprint": lake.fingerprint,
        "cubes": cubes,
        "tables": [*_marts(connection, lake, present), *_entities(connection, present)],
        "runs": _runs(connection, present),
    }


def empty_model(settings: Settings, problem: str | None = None) -> dict[str, Any]:
    """A page without data; ``problem`` says why."""
    shown = {name for cube in CUBES for name in cube.kpis}
    return {
        "generated_at": settings.instant().isoformat(timespec="seconds"),
        "environment": settings.env,
        "fingerprint": "",
        "kpis": {
            name: asdict(KPI[name])
            | {
                "expression": take_apart(KPI[name].formula).expression,
                "parts": [part.sql for part in take_apart(KPI[name].formula).parts],
            }
            for name in KPI
            if name in shown
        },
        "cubes": {cube.name: {"table": cube.table, "missing": NOT_BUILT} for cube in CUBES},
        "sections": [asdict(section) for section in SECTIONS],
        "tables": [],
        "runs": [],
        "problem": problem,
    }


def _columns(connection: duckdb.DuckDBPyConnection, table: str) -> set[str]:
    return {row[0] for row in connection.execute(f"DESCRIBE {table}").fetchall()}


def _marts(
    connection: duckdb.DuckDBPyConnection, lake: Lake, present: dict[str, set[str]]
) -> Iterable[dict[str, Any]]:
    """Freshness of the marts: newest day in them, rows, and when they were written last."""
    for mart, expression in sorted(NEWEST.items()):
        name = f"gold.{mart}"
        if not take_apart(expression).columns <= present.get(name, set()):
            yield {"table": name, "newest": None, "rows": None, "written_at": None, "state": NOT_BUILT}
            continue
        row = connection.execute(f"SELECT CAST({expression} AS DATE), count(*) FROM {name}").fetchone()
        newest, rows = row or (None, 0)
        written = _written_at(lake.uris[name])
        state = "built" if rows else "empty"
        yield {"table": name, "newest": _iso(newest), "rows": rows, "written_at": written, "state": state}


def _entities(
    connection: duckdb.DuckDBPyConnection, present: dict[str, set[str]]
) -> Iterable[dict[str, Any]]:
    """Freshness of Silver: when each entity was loaded last."""
    if "ops.batches" not in present:
        return
    found = connection.execute(
        "SELECT entity, max(ingested_at) FROM ops.batches WHERE status = 'committed' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    for entity, at in found:
        row = {"table": f"silver.{entity}", "newest": None, "rows": None, "written_at": _iso(at)}
        yield row | {"state": "loaded"}


def _runs(connection: duckdb.DuckDBPyConnection, present: dict[str, set[str]]) -> list[dict[str, Any]]:
    """The last runs, newest first."""
    if "ops.runs" not in present:
        return []
    rows = connection.execute(
        f"SELECT {', '.join(RUNS)} FROM ops.runs ORDER BY run_id DESC LIMIT {SHOWN_RUNS}"
    ).fetchall()
    runs = []
    for run, started, finished, status, layer in rows:
        seconds = round((finished - started).total_seconds(), 1) if started and finished else None
        runs.append(
            {"run": run, "started_at": _iso(started), "seconds": seconds, "status": status, "layer": layer}
        )
    return runs


def _written_at(uri: str) -> str | None:
    table = open_table(uri)
    history = table.history(1) if table else []
    milliseconds = history[0].get("timestamp") if history else None
    return None if milliseconds is None else _iso(datetime.fromtimestamp(milliseconds / 1000, UTC))


def _iso(value: date | datetime | None) -> str | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="seconds")
    return None if value is None else value.isoformat()
