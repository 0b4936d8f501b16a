"""Bring a mart up to date: by what has changed where that can be told, anew otherwise; then check it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

from deltalake import CommitProperties
from pyspark.sql import functions as F  # noqa: N812

from pipeline.errors import FinlakeError
from pipeline.gold.expectations import bad_counts, problems
from pipeline.gold.increments import DELETED_AT, Slices, Sums
from pipeline.gold.mart import GOLD, Mart, input_uri, provenance, versions_built_from
from pipeline.report import REBUILT, UPDATED
from pipeline.settings import Settings
from pipeline.storage import delete_folder
from pipeline.tables import (
    TableColumn,
    has_change_feed,
    newest_metadata,
    open_table,
    read_changes,
    read_version,
    rows_are_those_of,
    table_version,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


def refresh(
    spark: SparkSession, mart: Mart, versions: dict[str, int], settings: Settings, *, full: bool = False
) -> str:
    """Make the stored mart what these versions of its inputs make of it.

    Args:
        spark: Session.
        mart: The mart.
        versions: Versions of its inputs.
        settings: Where the tables are.
        full: Build it anew, whatever has changed.

    Returns:
        ``rebuilt`` or ``updated``.

    Raises:
        FinlakeError: The mart does not add up; the stored one is as it was.
    """
    uri = settings.table_uri(GOLD, mart.name)
    version, before = table_version(uri), newest_metadata(uri)
    if not full and (changed := _followable(mart, versions, settings)):
        _write(updated(spark, mart, changed, versions, settings), mart, versions, settings)
        if not broken(spark, mart, versions, settings):
            return UPDATED
    _write(rebuilt(spark, mart, versions, settings), mart, versions, settings)
    if wrong := broken(spark, mart, versions, settings):
        _take_back(uri, version, before)
        raise FinlakeError(
            f"gold.{mart.name} does not add up: {'; '.join(wrong)}",
            "the mart is as it was; see `finlake verify`, and the mart's module for what it sums",
        )
    return REBUILT


def rebuilt(spark: SparkSession, mart: Mart, versions: Mapping[str, int], settings: Settings) -> DataFrame:
    """The mart, from all rows of these versions of its inputs."""
    return mart.build({name: living(spark, name, versions[name], settings) for name in mart.inputs})


def updated(
    spark: SparkSession,
    mart: Mart,
    changed: Mapping[str, int],
    versions: Mapping[str, int],
    settings: Settings,
) -> DataFrame:
    """The mart, from the stored one and what has changed.

    Args:
        spark: Session.
        mart: The mart.
        changed: Of inputs whose rows have changed, the versions that the stored mart was built from.
        versions: Versions of all inputs.
        settings: Where the tables are.

    Raises:
        ValueError: The mart is one that is always built anew.
    """
    stored = spark.read.format("delta").load(settings.table_uri(GOLD, mart.name))
    feeds = {
        name: read_changes(spark, input_uri(name, settings), since + 1, versions[name])
        for name, since in changed.items()
    }

    def before(name: str) -> DataFrame:
        return living(spark, name, changed.get(name, versions[name]), settings)

    def after(name: str) -> DataFrame:
        return living(spark, name, versions[name], settings)

    if isinstance(mart.increment, Sums):
        return mart.increment.update(stored, feeds, before, after, mart.columns)
    if isinstance(mart.increment, Slices):
        names = [column.name for column in mart.columns]
        return mart.increment.update(stored, feeds, after, mart.build, names)
    raise ValueError(f"gold.{mart.name} is always built anew")


def living(spark: SparkSession, name: str, version: int, settings: Settings) -> DataFrame:
    """An input in a version, without the rows that only remember that a key was deleted."""
    table = read_version(spark, input_uri(name, settings), version)
    return table.where(F.col(DELETED_AT).isNull()) if DELETED_AT in table.columns else table


def broken(spark: SparkSession, mart: Mart, versions: Mapping[str, int], settings: Settings) -> list[str]:
    """What does not hold for the stored mart, in words."""
    stored = spark.read.format("delta").load(settings.table_uri(GOLD, mart.name))
    own = [f"{total.mart} AS mine_{number}" for number, total in enumerate(mart.totals)]
    sums = stored.selectExpr(*own, f"{bad_counts(mart)} AS bad")
    by_table: dict[str, list[str]] = defaultdict(list)
    for number, total in enumerate(mart.totals):
        by_table[total.table].append(f"{total.source} AS theirs_{number}")
    for table, sources in by_table.items():  # each is one row, so all are one statement and one row
        sums = sums.crossJoin(living(spark, table, versions[table], settings).selectExpr(*sources))
    (row,) = sums.collect()
    numbers = range(len(mart.totals))
    found, wanted = ([row[f"{whose}_{n}"] for n in numbers] for whose in ("mine", "theirs"))
    return problems(mart, found, wanted, row["bad"])


def _followable(mart: Mart, versions: Mapping[str, int], settings: Settings) -> dict[str, int] | None:
    """Of inputs whose rows have changed, the versions that the stored mart was built from.

    None if the mart cannot follow: it never does, it was built by another definition or from newer
    versions, or what has changed since cannot be read.
    """
    since = versions_built_from(mart, settings) if mart.increment else None
    if since is None or min(since.values()) < 0:
        return None
    changed = {}
    for name, version in since.items():
        uri = input_uri(name, settings)
        if version > versions[name]:
            return None
        if version == versions[name] or rows_are_those_of(uri, version):
            continue
        if not has_change_feed(uri, version, versions[name]):
            return None
        changed[name] = version
    return changed


def _write(rows: DataFrame, mart: Mart, versions: dict[str, int], settings: Settings) -> None:
    columns = [
        F.col(column.name).cast(column.type).alias(column.name, metadata=_metadata(column))
        for column in mart.columns
    ]
    chosen = rows.select(*columns)
    # Large ones are cut into files by their size, others are one file.
    shaped = chosen.hint("rebalance", *mart.partition_by) if mart.is_large else chosen.coalesce(1)
    (
        shaped.write.format("delta")
        .mode("overwrite")
        .partitionBy(*mart.partition_by)
        .option("overwriteSchema", "true")
        .option("userMetadata", provenance(mart, versions))
        .save(settings.table_uri(GOLD, mart.name))
    )


def _take_back(uri: str, version: int, said: str | None) -> None:
    """Bring a mart back to a version and what was said of it; -1 for none."""
    table = open_table(uri)
    if version < 0 or table is None:
        delete_folder(uri)
        return
    table.restore(version, commit_properties=CommitProperties(custom_metadata={"userMetadata": said or "{}"}))


def _metadata(column: TableColumn) -> dict[str, str]:
    return {"comment": column.comment} | ({"pii": column.pii_class} if column.pii_class else {})
