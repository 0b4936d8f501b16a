"""Masked copies of Silver and Gold for readers outside of the bank, such as Databricks.

Columns without personal data leave as they are, every tagged one leaves masked: see ``masking``. Lineage
that points into Bronze, and the row hash (which could be used to guess what was hashed), stay at home.
Quarantine is never published.

The copies are made by DuckDB and delta-rs, without Spark. A copy whose source, masks and key have not
changed is not touched. One whose masks have changed is freed of what it held before: otherwise a column
that is tagged too late could still be read from the copy's past. Only then it says by which masks it was
made, so that a command that was killed meanwhile is made up for by the next one.

Each copy is of one version of its table, whoever writes that meanwhile: a run may. Two commands that write
copies, or an erasure beside one, would get into each other's way; so there is a lock for that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from deltalake import CommitProperties, DeltaTable, write_deltalake

from contracts import load_contracts
from pipeline.errors import FinlakeError
from pipeline.gold import MARTS
from pipeline.lock import exclusive, new_run_id
from pipeline.masking import fingerprint, masked_select, use_key
from pipeline.query import attach_uri, connect
from pipeline.settings import Settings
from pipeline.silver import silver_columns
from pipeline.storage import delta_options
from pipeline.tables import TableColumn, forget_past, open_table, rows_are_those_of, say, table_version

KEPT_AT_HOME = ("_source_file", "_source_row", "_row_hash")
COPIES = "public"  # name of the lock
SOURCE_VERSION, MASKS = "finlake.source_version", "finlake.masks"  # each copy's provenance


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
        FinlakeError: No public place is set, or somebody else is writing copies.
    """
    with exclusive([COPIES], new_run_id(settings.instant(), "publish"), settings):
        return write_copies(settings)


def write_copies(settings: Settings) -> list[Published]:
    """The same, for who holds the lock of the copies.

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


def _is_current(commit: dict[str, Any], source: str, masks: str) -> bool:
    version = commit.get(SOURCE_VERSION)
    return commit.get(MASKS) == masks and version is not None and rows_are_those_of(source, int(version))


def public_copies(settings: Settings) -> list[str]:
    """URIs of all copies that there may be; none when no place is set."""
    if not settings.public_silver_uri or not settings.public_gold_uri:
        return []
    silver = [f"{settings.public_silver_uri}/{entity}" for entity in load_contracts()]
    return silver + [f"{settings.public_gold_uri}/{mart.name}" for mart in MARTS]


def _copy(
    layer: str, table: str, columns: tuple[TableColumn, ...], settings: Settings, target: str
) -> Published | None:
    source = settings.table_uri(layer, table)
    version = table_version(source)
    if version < 0:
        return None
    masked = tuple(column.name for column in columns if column.pii_class)
    key = settings.pii_key
    leaving = [column for column in columns if column.name not in KEPT_AT_HOME]
    select = masked_select(leaving, has_key=key is not None)
    provenance = {SOURCE_VERSION: str(version), MASKS: fingerprint(select, key)}
    copy = open_table(target)
    before = copy.history(1)[0] if copy is not None else {}
    if copy is not None and _is_current(before, source, provenance[MASKS]):
        return Published(f"{layer}.{table}", target, written=False, masked=masked)
    connection = connect()
    if key is not None:
        use_key(connection, key)
    attach_uri(connection, layer, table, source)
    rows = connection.execute(f'SELECT {select} FROM "{layer}"."{table}"').to_arrow_reader()
    has_past = copy is not None and before.get(MASKS) != provenance[MASKS]
    write_deltalake(
        target,
        rows,
        mode="overwrite",
        schema_mode="overwrite",
        description=f"Masked copy of {layer}.{table}.",
        commit_properties=CommitProperties(custom_metadata={} if has_past else provenance),
        storage_options=delta_options(target),
    )
    if has_past:
        forget_past(target)
        say(DeltaTable(target, storage_options=delta_options(target)), provenance)
    return Published(f"{layer}.{table}", target, written=True, masked=masked)
