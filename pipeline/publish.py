"""Masked copies of Silver and Gold for readers outside of the bank, such as Databricks.

Only columns without personal data leave as they are. A date of birth leaves as the first day of its
year; every other tagged column leaves empty. Lineage that points into Bronze, and the row hash (which
could be used to guess what was hashed), stay at home. Quarantine is never published.

The copies are made by DuckDB and delta-rs, without Spark. A copy whose source and masks have not
changed is not touched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from deltalake import CommitProperties, write_deltalake

from contracts import load_contracts
from pipeline.errors import FinlakeError
from pipeline.gold import MARTS
from pipeline.query import attach_uri, connect
from pipeline.settings import Settings
from pipeline.silver import silver_columns
from pipeline.storage import delta_options
from pipeline.tables import TableColumn, open_table, rows_are_those_of, table_version

KEPT_AT_HOME = ("_source_file", "_source_row", "_row_hash")
MASKS_VERSION = "1"  # part of each copy's provenance; a new number makes all copies anew


@dataclass(frozen=True)
class Published:
    """What became of one copy: table, where it is, whether it was written, which columns are masked."""

    table: str
    uri: str
    written: bool
    masked: tuple[str, ...]


def publish(settings: Settings) -> list[Published]:
    """Bring the masked copies up to date.

    Raises:
        FinlakeError: No public place is set.
    """
    if not settings.public_silver_uri or not settings.public_gold_uri:
        raise FinlakeError(
            "no place for public copies is set",
            "set FINLAKE_PUBLIC_SILVER_URI and FINLAKE_PUBLIC_GOLD_URI; the buckets come from Terraform "
            'with public_access = "read"',
        )
    done = []
    for entity, contract in load_contracts().items():
        target = f"{settings.public_silver_uri}/{entity}"
        done.append(_copy("silver", entity, silver_columns(contract), settings, target))
    for mart in MARTS:
        done.append(
            _copy("gold", mart.name, mart.columns, settings, f"{settings.public_gold_uri}/{mart.name}")
        )
    return [copy for copy in done if copy is not None]


def masked_select(columns: Iterable[TableColumn]) -> str:
    """Select list, in DuckDB's SQL, of what may leave.

    >>> masked_select([TableColumn("id", "string", ""), TableColumn("email", "string", "", "email")])
    '"id", CAST(NULL AS VARCHAR) AS "email"'
    """
    return ", ".join(_masked(column) for column in columns if column.name not in KEPT_AT_HOME)


def _masked(column: TableColumn) -> str:
    name = f'"{column.name}"'
    if column.pii_class is None:
        return name
    if column.pii_class == "date_of_birth":
        return f"CAST(date_trunc('year', {name}) AS DATE) AS {name}"
    return f"CAST(NULL AS {'VARCHAR' if column.type == 'string' else column.type}) AS {name}"


def _is_current(commit: dict[str, Any], source: str) -> bool:
    version = commit.get("finlake.source_version")
    return (
        commit.get("finlake.masks") == MASKS_VERSION
        and version is not None
        and rows_are_those_of(source, int(version))
    )


def _copy(
    layer: str, table: str, columns: tuple[TableColumn, ...], settings: Settings, target: str
) -> Published | None:
    source = settings.table_uri(layer, table)
    version = table_version(source)
    if version < 0:
        return None
    masked = tuple(column.name for column in columns if column.pii_class)
    provenance = {"finlake.source_version": str(version), "finlake.masks": MASKS_VERSION}
    copy = open_table(target)
    if copy is not None and _is_current(copy.history(1)[0], source):
        return Published(f"{layer}.{table}", target, written=False, masked=masked)
    connection = connect()
    attach_uri(connection, layer, table, source)
    rows = connection.execute(f'SELECT {masked_select(columns)} FROM "{layer}"."{table}"').to_arrow_reader()
    write_deltalake(
        target,
        rows,
        mode="overwrite",
        schema_mode="overwrite",
        description=f"Masked copy of {layer}.{table}.",
        commit_properties=CommitProperties(custom_metadata=provenance),
        storage_options=delta_options(),
    )
    return Published(f"{layer}.{table}", target, written=True, masked=masked)
