"""Bring a mart up to date: by what has changed where that can be told, anew otherwise; then check it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from deltalake import CommitProperties
from pyspark.sql import functions as F  # noqa: N812

from pipeline.errors import FinlakeError
from pipeline.gold.expectations import bad_counts, problems
from pipeline.gold.increments import DELETED_AT, Months, Slices, Sums
from pipeline.gold.mart import GOLD, Mart, input_uri, provenance, versions_built_from
from pipeline.report import REBUILT, UPDATED
from pipeline.settings import Settings
from pipeline.storage import delete_folder
from pipeline.tables import (
    TableColumn,
    aggregated,
    has_change_feed,
    newest_metadata,
    open_table,
    read_changes,
    read_version,
    row_count,
    rows_are_those_of,
    say,
    table_version,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

FEW_ROWS = 50_000
"""With fewer rows, what would be followed by keys or months is built anew: one statement, not several."""
MOST_SHARE = 0.1
"""Share of a mart's keys up to which they are computed anew one by one."""
MOST_MONTHS = 0.5
"""Share of a mart's months up to which they are computed anew one by one."""
MOST_KEYS = 20_000
"""Keys that this process fetches, so that Spark need not find them again for each table."""


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
    if not full and (changed := _followable(spark, mart, versions, settings)):
        followed = follow(spark, mart, changed, versions, settings)
        if followed and not broken(spark, mart, versions, settings):
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


def follow(
    spark: SparkSession,
    mart: Mart,
    changed: Mapping[str, int],
    versions: dict[str, int],
    settings: Settings,
) -> bool:
    """Bring the stored mart up to date by what has changed.

    Args:
        spark: Session.
        mart: The mart; it has an increment.
        changed: Of inputs whose rows have changed, the versions that the stored mart was built from.
        versions: Versions of all inputs.
        settings: Where the tables are.

    Returns:
        Whether that was done; not if so much has changed that it is quicker built anew.
    """
    uri = settings.table_uri(GOLD, mart.name)
    stored = spark.read.format("delta").load(uri)
    feeds = {
        name: read_changes(spark, input_uri(name, settings), since + 1, versions[name])
        for name, since in changed.items()
    }

    def before(name: str) -> DataFrame:
        return living(spark, name, changed.get(name, versions[name]), settings)

    def after(name: str) -> DataFrame:
        return living(spark, name, versions[name], settings)

    if isinstance(mart.increment, Sums):
        _write(mart.increment.update(stored, feeds, before, after, mart.columns), mart, versions, settings)
        return True
    if isinstance(mart.increment, Months):
        months = sorted(row[0] for row in mart.increment.reached(stored, feeds).collect())
        all_months = aggregated(uri, None, [f"count(DISTINCT {mart.increment.column})"])
        if all_months and len(months) > MOST_MONTHS * all_months[0]:
            return False
        if months:
            rows = mart.increment.update(months, after, mart.build)
            days = ", ".join(f"DATE '{month}'" for month in months)
            _write(rows, mart, versions, settings, instead_of=f"{mart.increment.column} IN ({days})")
        else:
            _say(mart, versions, settings)
        return True
    assert isinstance(mart.increment, Slices)  # noqa: S101 - for the type checker
    clock = _clock(spark, mart.increment, versions, settings)
    keys = mart.increment.keys(feeds, after, clock)
    known = aggregated(uri, None, [f"count(DISTINCT {mart.increment.key})"])
    most = min(MOST_KEYS, int(MOST_SHARE * known[0])) if known else MOST_KEYS
    found = keys.limit(most + 1).collect()
    if len(found) > most and known:
        return False
    if not found:
        _say(mart, versions, settings)
        return True
    if len(found) <= most:
        # One text instead of rows: to hand rows over, PySpark starts processes of its own.
        texts = json.dumps([row[0] for row in found])
        each = F.explode(F.from_json(F.lit(texts), "array<string>"))
        keys = spark.range(1).select(each.alias(mart.increment.key))
    names = [column.name for column in mart.columns]
    rows = mart.increment.update(stored, keys, after, mart.build, names=names, clock=clock)
    _write(rows, mart, versions, settings)
    return True


def living(spark: SparkSession, name: str, version: int, settings: Settings) -> DataFrame:
    """An input in a version, without the rows that only remember that a key was deleted."""
    table = read_version(spark, input_uri(name, settings), version)
    return table.where(F.col(DELETED_AT).isNull()) if DELETED_AT in table.columns else table


def broken(spark: SparkSession, mart: Mart, versions: Mapping[str, int], settings: Settings) -> list[str]:
    """What does not hold for the stored mart, in words."""
    by_table: dict[str, list[int]] = defaultdict(list)
    for number, total in enumerate(mart.totals):
        by_table[total.table].append(number)
    own = [*(total.mart for total in mart.totals), bad_counts(mart)]
    *found, bad_rows = _values(spark, f"{GOLD}.{mart.name}", None, own, settings)
    wanted: list[Any] = [None] * len(mart.totals)
    for table, numbers in by_table.items():
        sources = [mart.totals[number].source for number in numbers]
        values = _values(spark, table, versions[table], sources, settings)
        for number, value in zip(numbers, values, strict=True):
            wanted[number] = value
    return problems(mart, found, wanted, bad_rows)


def _values(
    spark: SparkSession, name: str, version: int | None, aggregates: Sequence[str], settings: Settings
) -> list[Any]:
    """Aggregates over a table's rows: without Spark, for which each of these is a second, if it is small."""
    uri = input_uri(name, settings)
    values = aggregated(uri, version, aggregates, unset=DELETED_AT)
    if values is None:
        newest = table_version(uri) if version is None else version
        (row,) = living(spark, name, newest, settings).selectExpr(*aggregates).collect()
        values = list(row)
    return values


def _clock(
    spark: SparkSession, increment: Slices, versions: Mapping[str, int], settings: Settings
) -> dict[str, Any]:
    """Values of a mart's clock by these versions of its inputs."""
    reads = increment.clock.reads if increment.clock else {}
    found: dict[str, Any] = {}
    for table in sorted({table for table, _ in reads.values()}):
        names = [name for name, (of, _) in reads.items() if of == table]
        aggregates = [reads[name][1] for name in names]
        values = _values(spark, table, versions[table], aggregates, settings)
        found |= zip(names, values, strict=True)
    return found


def _followable(
    spark: SparkSession, mart: Mart, versions: Mapping[str, int], settings: Settings
) -> dict[str, int] | None:
    """Of inputs whose rows have changed, the versions that the stored mart was built from.

    None if the mart cannot follow: it never does, it was built by another definition or from newer
    versions, what has changed since cannot be read, its clock has moved on, or it is so small that it is
    quicker built anew.
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
    if isinstance(mart.increment, Sums):
        return changed
    if row_count(settings.table_uri(GOLD, mart.name)) < FEW_ROWS:
        return None
    if isinstance(mart.increment, Slices):
        clocks = (_clock(spark, mart.increment, at, settings) for at in (since, versions))
        return changed if mart.increment.follows(*clocks) else None
    return changed


def _write(
    rows: DataFrame, mart: Mart, versions: dict[str, int], settings: Settings, *, instead_of: str = ""
) -> None:
    """Write a mart, or those of its rows that a condition on its partitions holds for."""
    columns = [
        F.col(column.name).cast(column.type).alias(column.name, metadata=_metadata(column))
        for column in mart.columns
    ]
    chosen = rows.select(*columns)
    # Large ones are cut into files by their size, by Delta if that has to be within partitions; others are
    # one file.
    if mart.is_large:
        shaped = chosen if mart.partition_by else chosen.hint("rebalance")
    else:
        shaped = chosen.coalesce(1)
    how = {"replaceWhere": instead_of} if instead_of else {"overwriteSchema": "true"}
    uri, said = settings.table_uri(GOLD, mart.name), provenance(mart, versions)
    (
        shaped.write.format("delta")
        .mode("overwrite")
        .partitionBy(*mart.partition_by)
        .options(**how, optimizeWrite=bool(mart.partition_by), userMetadata=said)
        .save(uri)
    )
    if newest_metadata(uri) != said:  # Delta leaves out a commit in which nothing came after nothing
        _say(mart, versions, settings)


def _say(mart: Mart, versions: dict[str, int], settings: Settings) -> None:
    """Say of a mart as it is that it is what these versions make of it."""
    if table := open_table(settings.table_uri(GOLD, mart.name)):
        say(table, {"userMetadata": provenance(mart, versions)})


def _take_back(uri: str, version: int, said: str | None) -> None:
    """Bring a mart back to a version and what was said of it; -1 for none."""
    table = open_table(uri)
    if version < 0 or table is None:
        delete_folder(uri)
        return
    table.restore(version, commit_properties=CommitProperties(custom_metadata={"userMetadata": said or "{}"}))


def _metadata(column: TableColumn) -> dict[str, str]:
    return {"comment": column.comment} | ({"pii": column.pii_class} if column.pii_class else {})
