"""Is the lake right? Every row accounted for, keys unique, relationships whole, catalogue true.

All checks read the tables by DuckDB, independently of the engine that wrote them, and where the
data comes from finlake's own generator they compare with its manifest, which says exactly what is
in the files.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

import polars as pl
from obstore.exceptions import BaseError

from contracts import Contract, load_contracts
from contracts.rules import UNKNOWN_PARENT
from datagen import Manifest, read_manifests
from pipeline.catalog import catalog_tables, gold_tables, registered_tables
from pipeline.dedupe import DISPOSITIONS
from pipeline.gold import MARTS
from pipeline.gold.expectations import bad_counts, problems, values_of
from pipeline.gold.mart import input_versions, is_current
from pipeline.history import table_name
from pipeline.ledger import BRONZE, QUARANTINE, WARNING, Ledger
from pipeline.query import attach_uri, connect
from pipeline.settings import Settings
from pipeline.silver import LINEAGE, additional_in_silver
from pipeline.storage import list_objects, open_object
from pipeline.tables import open_table, table_version

MOST_BYTES = 2**30  # of an entity's files whose lines are counted
CHUNK_BYTES = 2**20
BYTE_ORDER_MARK = codecs.BOM_UTF8.decode("iso-8859-1")


@dataclass(frozen=True)
class Check:
    """One thing that was checked: what, whether it holds, and figures or what is wrong."""

    name: str
    ok: bool
    detail: str


class Lake:
    """What the checks look at: the tables by DuckDB, and the ledger."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.contracts = load_contracts()
        ledger = Ledger(settings)
        self.files = ledger.read("files")
        self.row_counts = ledger.read("row_counts")
        self.reasons = ledger.read("quarantine_reasons").filter(pl.col("level").ne_missing(WARNING))
        self.connection = connect()
        for layer in ("silver", "quarantine"):
            for entity in self.contracts:
                uri = settings.table_uri(layer, entity)
                if table_version(uri) >= 0:
                    attach_uri(self.connection, layer, entity, uri)
        # What has not been deleted: all that Gold counts.
        self.connection.execute("CREATE SCHEMA live")

    def value(self, sql: str) -> Any:  # noqa: ANN401 - whatever the query gives
        """First value of the first row."""
        row = self.connection.execute(sql).fetchone()
        return row[0] if row else None

    def counts(self, entity: str, origin: str | None = None) -> dict[str, int]:
        """Sums of an entity's row counts."""
        rows = self.row_counts.filter(pl.col("entity") == entity)
        if origin:
            rows = rows.filter(pl.col("origin") == origin)
        return {name: int(rows[name].sum()) for name in ("read", *DISPOSITIONS)}


def verify(settings: Settings) -> list[Check]:
    """Check the lake.

    Raises:
        FinlakeError: The lake cannot be read at all.
    """
    lake = Lake(settings)
    checks: list[Check] = []
    for entity, contract in lake.contracts.items():
        if table_version(settings.table_uri("silver", entity)) < 0:
            checks.append(Check(f"{entity}: loaded", False, "there is no Silver table: `finlake run`"))
            continue
        lake.connection.execute(
            f'CREATE VIEW live."{entity}" AS SELECT * FROM silver."{entity}" WHERE _deleted_at IS NULL'
        )
        for check in (bronze_lines, accounting, unique_keys, relationships, lineage):
            checks += check(lake, contract)
        if contract.keeps_history:
            checks += history(lake, contract)
    if all(check.ok for check in checks if check.name.endswith(": loaded")):
        checks += list(gold_is_current(lake))
        checks += list(gold_adds_up(lake))
    if settings.silver_uri.startswith("s3://"):
        checks += list(catalogue(lake))
    checks += list(manifests(lake, read_manifests(settings.bronze_uri.removeprefix("file://"))))
    return checks


def bronze_lines(lake: Lake, contract: Contract) -> Iterator[Check]:
    """As many rows were read of a Bronze file as it has lines, which are counted here anew and without Spark.

    The newest files come first, up to ``MOST_BYTES``; those that are gone, have another content by now, or
    lie in an archive, cannot be counted.
    """
    entity = contract.entity
    loaded = lake.files.filter((pl.col("entity") == entity) & (pl.col("status") == "loaded"))
    from_bronze = lake.row_counts.filter((pl.col("entity") == entity) & (pl.col("origin") == BRONZE))
    read = {(row["batch"], row["path"]): row["read"] for row in from_bronze.iter_rows(named=True)}
    present = {info.uri: info.etag for info in list_objects(lake.settings.bronze_entity_uri(entity))}
    problems, counted, size = [], 0, 0
    for file in loaded.sort("batch", "path", descending=[True, False]).iter_rows(named=True):
        if present.get(file["path"]) != file["etag"] or size + file["size"] > MOST_BYTES:
            continue
        lines = count_lines(file["path"], str(file["encoding"]))
        if lines is None:
            continue
        counted, size = counted + 1, size + file["size"]
        rows = read.get((file["batch"], file["path"]), 0)
        expected = max(0, lines.total - (file["has_header"] and lines.first_is_filled))
        if rows != expected:
            problems.append(f"{file['path']} has {expected:,} rows, but {rows:,} were read")
    detail = f"{counted:,} of {loaded.height:,} files have as many lines as were read of them"
    yield Check(f"{entity}: every line of Bronze was read", not problems, "; ".join(problems) or detail)


class Lines(NamedTuple):
    """Lines of a file that are not blank, and whether its first line is one of them."""

    total: int
    first_is_filled: bool


def count_lines(uri: str, encoding: str) -> Lines | None:
    """Count the lines of a text file; None when it cannot be read.

    Args:
        uri: The file; it is gzip when its name ends so.
        encoding: Its encoding, as the ledger has it.
    """
    codec = encoding if encoding == "UTF-16" else "iso-8859-1"  # otherwise ends of lines are the same bytes
    # Only these end a line, as for Spark, and only spaces leave it blank.
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(codec)("replace"), translate=True)
    total, number, first_is_filled, rest = 0, 0, False, ""
    try:
        with closing(open_object(uri)) as stored:
            stream: BinaryIO | gzip.GzipFile = (
                gzip.GzipFile(fileobj=stored) if uri.lower().endswith(".gz") else stored
            )
            while True:
                chunk = bytes(stream.read(CHUNK_BYTES))
                *lines, rest = (rest + decoder.decode(chunk, final=not chunk)).split("\n")
                for line in [*lines, rest] if not chunk else lines:
                    if (line.removeprefix(BYTE_ORDER_MARK) if number == 0 else line).strip(" "):
                        total += 1
                        first_is_filled = first_is_filled or number == 0
                    number += 1
                if not chunk:
                    return Lines(total, first_is_filled)
    except (OSError, EOFError, zlib.error, BaseError):
        return None


def accounting(lake: Lake, contract: Contract) -> Iterator[Check]:
    """Read is the sum of the outcomes for each file, and the tables hold what was counted."""
    entity = contract.entity
    rows = lake.row_counts.filter(pl.col("entity") == entity)
    off = rows.filter(pl.col("read") != pl.sum_horizontal(*DISPOSITIONS))
    total = lake.counts(entity)
    released = lake.counts(entity, QUARANTINE)["read"]
    silver = lake.value(f'SELECT count(*) FROM silver."{entity}"')
    held = lake.value(f'SELECT count(*) FROM quarantine."{entity}"')
    problems = []
    if not off.is_empty():
        problems.append(f"sums are off for {', '.join(off['path'])}")
    if silver != total["inserted"]:
        problems.append(f"Silver holds {silver:,} rows, but {total['inserted']:,} were inserted")
    if held != total["quarantined"] - released:
        problems.append(f"quarantine holds {held:,} rows, not {total['quarantined'] - released:,}")
    detail = (
        f"{total['read'] - released:,} read = {silver:,} in Silver + {total['updated']:,} updated + "
        f"{total['duplicate']:,} duplicate + {total['stale']:,} stale + {held:,} in quarantine"
    )
    yield Check(f"{entity}: every row is accounted for", not problems, "; ".join(problems) or detail)


def unique_keys(lake: Lake, contract: Contract) -> Iterator[Check]:
    """Business keys are unique and never null."""
    keys = ", ".join(f'"{name}"' for name in contract.key)
    no_key = " OR ".join(f'"{name}" IS NULL' for name in contract.key)
    twice = lake.value(
        f'SELECT count(*) FROM (SELECT {keys} FROM silver."{contract.entity}" '
        f"GROUP BY {keys} HAVING count(*) > 1)"
    )
    null = lake.value(f'SELECT count(*) FROM silver."{contract.entity}" WHERE {no_key}')
    detail = f"{twice:,} keys stand more than once, {null:,} are null" if twice or null else keys
    yield Check(f"{contract.entity}: business keys are unique", not twice and not null, detail)


def relationships(lake: Lake, contract: Contract) -> Iterator[Check]:
    """Every reference to a parent finds it in Silver."""
    for column in contract.parents:
        orphans = lake.value(
            f'SELECT count(*) FROM silver."{contract.entity}" AS child '
            f'WHERE child."{column.name}" IS NOT NULL '
            f'AND NOT EXISTS (SELECT 1 FROM silver."{column.parent_entity}" AS parent '
            f'WHERE parent."{column.parent_column}" = child."{column.name}")'
        )
        yield Check(
            f"{contract.entity}: relationships hold",
            orphans == 0,
            f"{orphans:,} rows have no parent" if orphans else f"{column.name} -> {column.parent}",
        )


def lineage(lake: Lake, contract: Contract) -> Iterator[Check]:
    """Lineage columns are never null."""
    names = [*(column.name for column in LINEAGE), "_row_hash"]
    condition = " OR ".join(f'"{name}" IS NULL' for name in names)
    missing = lake.value(f'SELECT count(*) FROM silver."{contract.entity}" WHERE {condition}')
    yield Check(
        f"{contract.entity}: lineage is complete",
        missing == 0,
        f"{missing:,} rows lack some of it" if missing else ", ".join(names),
    )


def history(lake: Lake, contract: Contract) -> Iterator[Check]:
    """The versions of a key follow each other without gap or overlap, and the last one is Silver's."""
    name = table_name(contract.entity)
    attach_uri(lake.connection, "silver", name, lake.settings.table_uri("silver", name))
    keys = ", ".join(f'"{column}"' for column in contract.key)
    timeline = (
        f"SELECT *, lead(valid_from) OVER (PARTITION BY {keys} ORDER BY valid_from) AS next_from "
        f'FROM silver."{name}"'
    )
    versions, keys_found, broken = lake.connection.execute(
        f"SELECT count(*), count(DISTINCT ({keys})), count(*) FILTER (valid_to IS DISTINCT FROM next_from "
        "OR valid_to <= valid_from OR is_current IS DISTINCT FROM (next_from IS NULL AND NOT is_deleted)) "
        f"FROM ({timeline})"
    ).fetchone() or (0, 0, 0)
    newest = f"SELECT {keys}, _row_hash FROM ({timeline}) WHERE next_from IS NULL"
    in_silver = f'SELECT {keys}, _row_hash FROM silver."{contract.entity}"'
    if contract.is_snapshot:  # a closed key has its last version in Silver, and an end in the history
        newest = (
            f"SELECT {keys}, arg_max(_row_hash, valid_from) FILTER (NOT is_deleted), "
            f"bool_or(is_deleted AND next_from IS NULL) FROM ({timeline}) GROUP BY {keys}"
        )
        in_silver = f'SELECT {keys}, _row_hash, _deleted_at IS NOT NULL FROM silver."{contract.entity}"'
    differing = lake.value(
        f"SELECT count(*) FROM (({newest} EXCEPT {in_silver}) UNION ALL ({in_silver} EXCEPT {newest}))"
    )
    problems = []
    if broken:
        problems.append(f"{broken:,} versions do not begin where the one before ends")
    if differing:
        problems.append(f"{differing:,} keys end in another version than Silver holds")
    detail = f"{versions:,} versions of {keys_found:,} keys"
    yield Check(f"{contract.entity}: history is whole", not problems, "; ".join(problems) or detail)


def gold_is_current(lake: Lake) -> Iterator[Check]:
    """Every mart was built from the present versions of its inputs."""
    for mart in MARTS:
        versions = input_versions(mart.inputs, lake.settings)
        current = is_current(mart, versions, lake.settings)
        detail = ", ".join(f"{entity} v{version}" for entity, version in versions.items())
        yield Check(
            f"gold.{mart.name}: up to date",
            current,
            f"built from {detail}"
            if current
            else "Silver has changed since, or a build broke off: `finlake run --layer gold`",
        )


def gold_adds_up(lake: Lake) -> Iterator[Check]:
    """Totals of the marts equal totals of what they are built from, and the rows of each are of its grain."""
    for mart in MARTS:
        uri = lake.settings.table_uri("gold", mart.name)
        if table_version(uri) < 0:
            return
        attach_uri(lake.connection, "gold", mart.name, uri)
    for mart in MARTS:
        relations = {name.replace(".", "_"): _living(name) for name in mart.inputs} | {
            "mart": f'gold."{mart.name}"'
        }
        values = values_of(mart.totals, relations, lambda sql: _row(lake, sql))
        found, wanted = ([values[total][side] for total in mart.totals] for side in (0, 1))
        bad = lake.value(f'SELECT {bad_counts(mart)} FROM gold."{mart.name}"')
        wrong = problems(mart, found, wanted, bad)
        keys = ", ".join(f'"{name}"' for name in mart.key)
        many = f'SELECT {keys} FROM gold."{mart.name}" GROUP BY {keys} HAVING count(*) > 1'
        if twice := lake.value(f"SELECT count(*) FROM ({many})"):
            wrong.append(f"{twice:,} combinations of {keys} stand more than once")
        shown = ", ".join(f"{v:,}" if isinstance(v, int | Decimal) else str(v) for v in found)
        yield Check(f"gold.{mart.name}: adds up", not wrong, "; ".join(wrong) or f"totals {shown}")


def _row(lake: Lake, sql: str) -> tuple[Any, ...]:
    return lake.connection.execute(sql).fetchone() or ()


def _living(table: str) -> str:
    layer, _, name = table.rpartition(".")
    return f'{layer or "live"}."{name}"'


def catalogue(lake: Lake) -> Iterator[Check]:
    """Glue's columns are the tables' columns, in order and type, with the contracts' PII tags."""
    additional = {
        entity: additional_in_silver(contract, lake.settings) for entity, contract in lake.contracts.items()
    }
    wanted = catalog_tables(lake.contracts, lake.settings, additional) + gold_tables(lake.settings)
    layers = dict.fromkeys(table.layer for table in wanted)
    present = {layer: registered_tables(layer, lake.settings) for layer in layers}
    for layer in layers:
        wrong = []
        tables = [table for table in wanted if table.layer == layer]
        for table in tables:
            stored = open_table(table.uri)
            entry = present[layer].get(table.name)
            if stored is None and entry is None:
                continue  # of an entity that no run has been about yet
            if stored is None or entry is None:
                wrong.append(f"{table.name} is not {'there' if stored is None else 'registered'}")
                continue
            keys = entry.get("PartitionKeys", [])
            described = [*entry["StorageDescriptor"]["Columns"], *keys]
            in_glue = [(column["Name"], column["Type"]) for column in described]
            # Glue has columns that files are divided by apart, behind all others.
            last = {column["Name"] for column in keys}
            fields = sorted(stored.schema().fields, key=lambda field: field.name in last)
            in_delta = [(field.name, sql_type(field.type)) for field in fields]
            if in_glue != in_delta:
                wrong.append(f"{table.name}: {sorted(set(in_glue) ^ set(in_delta))[:4]}")
            tags = {
                column["Name"]: column.get("Parameters", {}).get("pii")
                for column in described
                if column.get("Parameters", {}).get("pii")
            }
            if tags != {column.name: column.pii_class for column in table.columns if column.pii_class}:
                wrong.append(f"{table.name}: PII tags differ from the contract")
        yield Check(
            f"catalogue: {layer} is as the tables are",
            not wrong,
            "; ".join(wrong) or f"{len(tables)} tables",
        )


def sql_type(delta_type: Any) -> str:  # noqa: ANN401 - delta-rs has no common base class
    """Spark SQL's name of a delta-rs type."""
    from deltalake.schema import ArrayType, PrimitiveType, StructType

    if isinstance(delta_type, PrimitiveType):
        return {"long": "bigint", "integer": "int"}.get(delta_type.type, delta_type.type).replace(", ", ",")
    if isinstance(delta_type, ArrayType):
        return f"array<{sql_type(delta_type.element_type)}>"
    if isinstance(delta_type, StructType):
        return f"struct<{','.join(f'{field.name}:{sql_type(field.type)}' for field in delta_type.fields)}>"
    return str(delta_type)


def manifests(lake: Lake, found: list[Manifest]) -> Iterator[Check]:
    """The lake holds exactly what the generator says it wrote.

    Where the batches were loaded in order, one load each, every count of every batch is compared.
    However they were loaded, the end is the same, and is compared too. The generator knows nothing of
    rules that were changed afterwards: where quarantined rows were let in for that, only the rows that
    were read are compared.
    """
    loaded = [manifest for manifest in found if _is_loaded(lake, manifest)]
    if not loaded:
        return
    let_in = lake.reasons.filter(
        (pl.col("origin") == QUARANTINE) & ~pl.col("reason").str.starts_with(UNKNOWN_PARENT)
    )
    one_by_one = let_in.is_empty() and _in_order(lake, loaded)
    for entity in lake.contracts:
        yield _end_state(lake, loaded, entity) if let_in.is_empty() else _rows_read(lake, loaded, entity)
        if one_by_one:
            for manifest in loaded:
                yield _batch_counts(lake, manifest, entity)


def _end_state(lake: Lake, loaded: list[Manifest], entity: str) -> Check:
    expected: Counter[str] = Counter()
    for manifest in loaded:
        part = manifest.entities[entity]
        expected["read"] += part.rows
        expected["in Silver"] += part.inserted + part.released
        for reason, rows in part.quarantined.items():
            expected[reason] += rows
        expected[UNKNOWN_PARENT] -= part.released
    paths = {path for manifest in loaded for path in _paths(lake, manifest, entity)}
    actual: Counter[str] = _reasons(lake, paths, BRONZE)
    actual.subtract(_reasons(lake, paths, QUARANTINE))
    counts = _outcomes(lake, paths)
    actual["read"] = counts["read"]
    actual["in Silver"] = counts["inserted"]
    name = f"{entity}: as the generator wrote it"
    return _compare(name, expected, actual, f"{len(loaded)} batches, {expected['read']:,} rows")


def _rows_read(lake: Lake, loaded: list[Manifest], entity: str) -> Check:
    expected = Counter(read=sum(manifest.entities[entity].rows for manifest in loaded))
    paths = {path for manifest in loaded for path in _paths(lake, manifest, entity)}
    actual = Counter(read=_outcomes(lake, paths, BRONZE)["read"])
    detail = f"{expected['read']:,} rows; rules have changed since, so no more can be compared"
    return _compare(f"{entity}: as the generator wrote it", expected, actual, detail)


def _batch_counts(lake: Lake, manifest: Manifest, entity: str) -> Check:
    part = manifest.entities[entity]
    expected = Counter(
        {
            "read": part.rows,
            "inserted": part.inserted,
            "updated": part.updated,
            "duplicate": part.duplicate,
            "stale": part.stale,
            "quarantined": sum(part.quarantined.values()),
        }
    )
    expected.update(part.quarantined)
    paths = _paths(lake, manifest, entity)
    actual = Counter(_outcomes(lake, paths, BRONZE))
    actual.update(_reasons(lake, paths, BRONZE))
    name = f"{entity}: batch {manifest.batch} to the row"
    detail = (
        f"{part.rows:,} read = {part.inserted:,} inserted + {part.updated:,} updated + {part.duplicate:,} "
        f"duplicate + {part.stale:,} stale + {sum(part.quarantined.values()):,} quarantined"
    )
    return _compare(name, expected, actual, detail)


def _compare(name: str, expected: Counter[str], actual: Counter[str], detail: str) -> Check:
    keys = sorted(set(expected) | set(actual))
    wrong = [
        f"{key}: {actual[key]:,} instead of {expected[key]:,}" for key in keys if actual[key] != expected[key]
    ]
    return Check(name, not wrong, "; ".join(wrong) or detail)


def _paths(lake: Lake, manifest: Manifest, entity: str) -> set[str]:
    return {f"{lake.settings.bronze_uri}/{file.path}" for file in manifest.entities[entity].files}


def _outcomes(lake: Lake, paths: set[str], origin: str | None = None) -> dict[str, int]:
    rows = lake.row_counts.filter(pl.col("path").is_in(list(paths)))
    if origin:
        rows = rows.filter(pl.col("origin") == origin)
    sums = {name: int(rows[name].sum()) for name in ("read", *DISPOSITIONS)}
    if origin is None:
        sums["read"] = int(rows.filter(pl.col("origin") == BRONZE)["read"].sum())
    return sums


def _reasons(lake: Lake, paths: set[str], origin: str) -> Counter[str]:
    """Rows by rule (without its column) that came into quarantine or left it, as ``origin`` says."""
    counted: Counter[str] = Counter()
    rows = lake.reasons.filter(pl.col("path").is_in(list(paths)) & (pl.col("origin") == origin))
    for row in rows.iter_rows(named=True):
        counted[row["reason"].split(":")[0]] += row["rows"]
    return counted


def _is_loaded(lake: Lake, manifest: Manifest) -> bool:
    known = set(lake.files.filter(pl.col("status") == "loaded")["path"])
    return all(_paths(lake, manifest, entity) <= known for entity in manifest.entities)


def _in_order(lake: Lake, loaded: list[Manifest]) -> bool:
    """Whether no run read files of two manifests, and runs follow the order of the batches."""
    spans = []
    for manifest in loaded:
        paths = {path for entity in manifest.entities for path in _paths(lake, manifest, entity)}
        runs = lake.files.filter(pl.col("path").is_in(list(paths)))["run_id"]
        spans.append((str(runs.min()), str(runs.max())))
    return all(before[1] < after[0] for before, after in pairwise(spans))
