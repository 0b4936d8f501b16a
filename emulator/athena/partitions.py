"""Partitions in the catalogue: those that are written, added, dropped and found again."""

from __future__ import annotations

from sqlglot import exp

from emulator.athena import sources
from emulator.athena.catalog import Table
from emulator.athena.engine import Engine, Outcome, lines
from emulator.athena.errors import QueryFailedError
from emulator.athena.words import Words


def partitions_of(table: Table, files: list[str]) -> list[tuple[tuple[str, ...], str]]:
    """Values and place of each partition that files are in, by the ``key=value`` in their addresses."""
    found = {}
    for uri in files:
        folder = uri.rpartition("/")[0]
        values = dict(part.split("=", 1) for part in folder.split("/") if "=" in part)
        if all(key.name in values for key in table.partition_keys):
            found[tuple(sources.unquoted(values[key.name]) for key in table.partition_keys)] = f"{folder}/"
    return sorted(found.items())


def add_partitions(
    engine: Engine, table: Table, partitions: list[tuple[tuple[str, ...], str]]
) -> list[tuple[str, ...]]:
    """Register those that are not there yet; returns their values."""
    known = {partition.values for partition in engine.catalog.partitions(table)}
    new = [(values, location) for values, location in partitions if values not in known]
    storage = {key: value for key, value in table.raw["StorageDescriptor"].items() if key != "Location"}
    for start in range(0, len(new), 100):
        answer = engine.catalog.glue.batch_create_partition(
            DatabaseName=table.database,
            TableName=table.name,
            PartitionInputList=[
                {"Values": list(values), "StorageDescriptor": storage | {"Location": location}}
                for values, location in new[start : start + 100]
            ],
        )
        if errors := answer.get("Errors"):
            raise QueryFailedError(
                f"HIVE_METASTORE_ERROR: {errors[0].get('ErrorDetail', {}).get('ErrorMessage')}", kind=1301
            )
    return [values for values, _ in new]


def add_written_partitions(engine: Engine, table: Table, files: list[str]) -> None:
    """Register the partitions that files were written into."""
    add_partitions(engine, table, partitions_of(table, files))


def partition_values(partition: exp.Expr, keys: list[str]) -> tuple[str, ...]:
    """Values of ``PARTITION (key = value, ...)`` in the order of the keys."""
    given = {
        item.this.name.lower(): item.expression.name
        for item in partition.expressions
        if isinstance(item, exp.EQ)
    }
    if set(given) != set(keys):
        raise QueryFailedError(
            f"FAILED: SemanticException: Partition spec {given} does not name the keys {keys}", kind=1301
        )
    return tuple(given[key] for key in keys)


def repair(engine: Engine, words: Words) -> Outcome:
    """``MSCK REPAIR TABLE``: register the partitions that are on S3."""
    words.next("REPAIR")
    words.next("TABLE")
    database, name_ = words.table(engine.job.database)
    table = engine.catalog.table(database, name_)
    files = [uri for uri, _ in sources.files_below(engine.s3, table.location)]
    new = add_partitions(engine, table, partitions_of(table, files))
    told = []
    for values in new:
        path = "/".join(
            f"{key.name}={value}" for key, value in zip(table.partition_keys, values, strict=True)
        )
        told.append([f"Repair: Added partition to metastore {table.name}:{path}"])
    return lines(["result"], told)
