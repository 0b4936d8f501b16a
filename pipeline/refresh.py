"""Bring a mart up to date: by what has changed where that can be told, anew otherwise; then check it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deltalake import CommitProperties
from pyspark.sql import functions as F  # noqa: N812

from pipeline.errors import FinlakeError
from pipeline.gold.expectations import bad_counts, joined, problems, values_of
from pipeline.gold.increments import (
    DELETED_AT,
    FIRST,
    LAST,
    Clock,
    Lookup,
    Reach,
    Slices,
    Sums,
    Windows,
    moved_keys,
    moves,
)
from pipeline.gold.mart import GOLD, Mart, Total, input_uri, provenance, versions_built_from
from pipeline.report import REBUILT, UPDATED
from pipeline.settings import Settings
from pipeline.storage import delete_folder
from pipeline.tables import (
    TableColumn,
    aggregated,
    changes_read_here,
    has_change_feed,
    left_to_spark,
    mark_checked,
    mark_unchecked,
    newest_metadata,
    open_table,
    read_changes,
    read_version,
    row_count,
    rows_are_those_of,
    say,
    table_version,
    tables_here,
    unchecked_since,
)

if TYPE_CHECKING:
    import polars as pl
    from pyspark.sql import DataFrame, SparkSession

FEW_ROWS = 50_000
"""With fewer rows, what would be followed by keys or their days is built anew: one statement, not several."""
FEW_FACTS = 700_000
"""With fewer rows in the table that they are of, sums are computed anew: that is as quick as to follow."""
MOST_SHARE = 0.1
"""Share of a mart's keys up to which they are computed anew one by one."""
MOST_REACHED = 0.4
"""Share of a mart's keys and days up to which those that changed rows reach are computed anew."""
MOST_KEYS = 20_000
"""Keys that this process fetches, so that Spark need not find them again for each table."""


@dataclass(frozen=True)
class Changes:
    """What has changed since a mart was built.

    Attributes:
        since: Of inputs whose rows have changed, the versions that the mart was built from.
        clock_before: Values of its clock when it was built, if it has one.
        clock: The same now.
    """

    since: Mapping[str, int]
    clock_before: Mapping[str, Any]
    clock: Mapping[str, Any]


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
    changes = None if full else changes_of(spark, mart, versions, settings)
    version, before = unchecked_since(uri) or (table_version(uri), newest_metadata(uri))
    # Whoever is killed from here on leaves a mart that says what it was built from, and may not add up.
    mark_unchecked(uri, version, before)
    if changes:
        followed = follow(spark, mart, changes, versions, settings)
        if followed and not broken(spark, mart, versions, settings):
            mark_checked(uri)
            return UPDATED
    _write(rebuilt(spark, mart, versions, settings), mart, versions, settings)
    if wrong := broken(spark, mart, versions, settings):
        _take_back(uri, version, before)
        mark_checked(uri)
        raise FinlakeError(
            f"gold.{mart.name} does not add up: {'; '.join(wrong)}",
            "the mart is as it was; see `finlake verify`, and the mart's module for what it sums",
        )
    mark_checked(uri)
    return REBUILT


def rebuilt(spark: SparkSession, mart: Mart, versions: Mapping[str, int], settings: Settings) -> DataFrame:
    """The mart, from all rows of these versions of its inputs."""
    return mart.build({name: living(spark, name, versions[name], settings) for name in mart.inputs})


def follow(
    spark: SparkSession,
    mart: Mart,
    changes: Changes,
    versions: dict[str, int],
    settings: Settings,
) -> bool:
    """Bring the stored mart up to date by what has changed.

    Args:
        spark: Session.
        mart: The mart; it has an increment.
        changes: What has changed since the stored mart was built.
        versions: Versions of all inputs.
        settings: Where the tables are.

    Returns:
        Whether that was done; not if so much has changed that it is quicker built anew.
    """
    update = _Update(spark, mart, changes, versions, settings)
    feeds = update.feeds()
    increment = mart.increment
    if isinstance(increment, Sums | Windows):
        lookup = increment.lookup
        if lookup and lookup.table in feeds and not update.moves(lookup, feeds[lookup.table]):
            del feeds[lookup.table]
    clocks = changes.clock_before, changes.clock
    if not feeds and not (isinstance(increment, Sums) and increment.is_another_time(*clocks)):
        _say(mart, versions, settings)
        return True
    if isinstance(increment, Windows):
        return _follow_windows(update, increment, feeds)
    if isinstance(increment, Slices):
        return _follow_slices(update, increment, feeds)
    assert increment is not None  # noqa: S101 - for the type checker
    rows = increment.update(update.stored, feeds, update.before, update.after, mart.columns, clocks=clocks)
    _write(rows, mart, versions, settings)
    return True


@dataclass(frozen=True)
class _Update:
    """What an update of a mart knows."""

    spark: SparkSession
    mart: Mart
    changes: Changes
    versions: dict[str, int]
    settings: Settings

    @property
    def uri(self) -> str:
        return self.settings.table_uri(GOLD, self.mart.name)

    @property
    def names(self) -> list[str]:
        """The mart's columns."""
        return [column.name for column in self.mart.columns]

    @property
    def stored(self) -> DataFrame:
        """The mart as it is."""
        return self.spark.read.format("delta").load(self.uri)

    def feeds(self) -> dict[str, DataFrame]:
        """By input, the rows that have changed."""
        return {
            name: read_changes(self.spark, input_uri(name, self.settings), since + 1, self.versions[name])
            for name, since in self.changes.since.items()
        }

    def feed_here(self, name: str, columns: Sequence[str]) -> pl.DataFrame | None:
        """Rows of an input that have changed, in this process; None if they are a job for Spark."""
        uri, first = input_uri(name, self.settings), self.changes.since[name] + 1
        return changes_read_here(uri, first, self.versions[name], (*columns, DELETED_AT))

    def keys_here(self, slices: Slices, feeds: Iterable[str]) -> list[str] | None:
        """Keys of changed rows of these inputs, in this process; None if they are a job for Spark."""
        if slices.via or slices.seen:
            return None
        found = {name: self.feed_here(name, slices.reads[name]) for name in feeds}
        changes = {name: frame for name, frame in found.items() if frame is not None}
        return slices.keys_here(changes) if len(changes) == len(found) else None

    def before(self, name: str) -> DataFrame:
        """An input as it was when the mart was built."""
        return living(self.spark, name, self.changes.since.get(name, self.versions[name]), self.settings)

    def after(self, name: str) -> DataFrame:
        """An input as it is."""
        return living(self.spark, name, self.versions[name], self.settings)

    def moves(self, lookup: Lookup, feed: DataFrame) -> bool:
        """Whether something else is looked up now for some key. Without Spark, if the tables are small."""
        changed = self.feed_here(lookup.table, (lookup.key, *lookup.columns))
        unfound = " AND ".join(f"{name} IS NULL" for name in lookup.columns if name in self.names)
        orphans = aggregated(self.uri, None, [f"count(CASE WHEN {unfound} THEN 1 END)"])
        if changed is None or orphans is None:
            return not moved_keys(feed, lookup).isEmpty()
        return moves(changed, lookup, orphans=orphans[0] > 0)

    def frame(self, rows: Sequence[Mapping[str, Any]], schema: str) -> DataFrame:
        """Some rows for Spark, as one text: to hand rows over, PySpark starts processes of its own."""
        texts = F.lit(json.dumps(list(rows), default=str))
        return self.spark.range(1).select(F.inline(F.from_json(texts, f"array<struct<{schema}>>")))


def _follow_slices(update: _Update, slices: Slices, feeds: Mapping[str, DataFrame]) -> bool:
    clock = update.changes.clock
    known = aggregated(update.uri, None, [f"count(DISTINCT {slices.key})"])
    most = min(MOST_KEYS, int(MOST_SHARE * known[0])) if known else MOST_KEYS
    keys = slices.keys(feeds, update.after, clock)
    found = update.keys_here(slices, feeds)
    if found is None:
        found = [row[0] for row in keys.limit(most + 1).collect()]
    if len(found) > most and known:
        return False
    if not found:
        _say(update.mart, update.versions, update.settings)
        return True
    if len(found) <= most:
        keys = update.frame([{slices.key: key} for key in found], f"{slices.key}: string")
    rows = slices.update(
        update.stored, keys, update.after, update.mart.build, names=update.names, clock=clock
    )
    _write(rows, update.mart, update.versions, update.settings)
    return True


def _follow_windows(update: _Update, windows: Windows, feeds: Mapping[str, DataFrame]) -> bool:
    spark, settings, mart, versions = update.spark, update.settings, update.mart, update.versions
    extent = [f"count(DISTINCT {windows.key})", f"min({windows.day})", f"max({windows.day})"]
    keys, first, last = _values(spark, f"{GOLD}.{mart.name}", None, extent, settings)
    facts = _values(spark, windows.fact, versions[windows.fact], [f"max({windows.fact_day})"], settings)
    if not keys or facts[0] is None:
        return False
    changed = update.feed_here(windows.fact, windows.reads) if list(feeds) == [windows.fact] else None
    here = windows.reached_here(changed) if changed is not None else None
    if here is not None and here.height <= MOST_KEYS:
        counted = windows.counted_here(here)
        schema = f"{windows.key}: string, {FIRST}: date, {LAST}: date"
        reached = update.frame(here.to_dicts(), schema)
    else:
        reached = windows.reached(update.stored, feeds).persist()
        counted = [row.asDict() for row in windows.counted(reached).collect()]
    try:
        reach = windows.reach(counted, max(last, facts[0]))
        if reach is None:
            _say(mart, versions, settings)
            return True
        days = (max(last, facts[0]) - min(first, reach.first)).days + 1
        if not is_quicker(reach, keys=keys, days=days):
            return False
        rows = windows.update(update.stored, reached, reach, update.after, mart.build, names=update.names)
        months = ", ".join(f"DATE '{month}'" for month in reach.months)
        _write(rows, mart, versions, settings, instead_of=f"{windows.month} IN ({months})")
    finally:
        reached.unpersist()
    return True


def is_quicker(reach: Reach, *, keys: int, days: int) -> bool:
    """Whether changed rows reach so little of a mart, of so many keys and days, that following them pays."""
    return reach.key_days <= MOST_REACHED * keys * days


def living(spark: SparkSession, name: str, version: int, settings: Settings) -> DataFrame:
    """An input in a version, without the rows that only remember that a key was deleted."""
    table = read_version(spark, input_uri(name, settings), version)
    return table.where(F.col(DELETED_AT).isNull()) if DELETED_AT in table.columns else table


def broken(spark: SparkSession, mart: Mart, versions: Mapping[str, int], settings: Settings) -> list[str]:
    """What does not hold for the stored mart, in words."""
    of_two = joined(mart)
    by_table: dict[str, list[Total]] = defaultdict(list)
    for total in mart.totals:
        if total not in of_two:
            by_table[total.table].append(total)
    alone = [total for totals in by_table.values() for total in totals]
    own = [*(total.mart for total in alone), bad_counts(mart)]
    *mine, bad_rows = _values(spark, f"{GOLD}.{mart.name}", None, own, settings)
    theirs: list[Any] = []
    for table, totals in by_table.items():
        theirs += _values(spark, table, versions[table], [total.source for total in totals], settings)
    values = dict(zip(alone, zip(mine, theirs, strict=True), strict=True))
    values |= _joined_values(spark, mart, of_two, versions, settings)
    found, wanted = zip(*[values[total] for total in mart.totals], strict=True) if values else ((), ())
    return problems(mart, found, wanted, bad_rows)


def _joined_values(
    spark: SparkSession,
    mart: Mart,
    totals: Sequence[Total],
    versions: Mapping[str, int],
    settings: Settings,
) -> dict[Total, tuple[Any, Any]]:
    """Totals of several tables, in the mart and in these: without Spark, if they are small."""
    if not totals:
        return {}
    uris: dict[str, tuple[str, int | None]] = {
        name.replace(".", "_"): (input_uri(name, settings), version) for name, version in versions.items()
    }
    uris["mart"] = settings.table_uri(GOLD, mart.name), None
    if answer := tables_here(uris, unset=DELETED_AT):
        with left_to_spark():
            return values_of(totals, {name: name for name in uris}, answer)
    views = {name: f"{mart.name}_{name}_totals" for name in uris}
    for name, version in versions.items():
        living(spark, name, version, settings).createOrReplaceTempView(views[name.replace(".", "_")])
    spark.read.format("delta").load(uris["mart"][0]).createOrReplaceTempView(views["mart"])
    try:
        return values_of(totals, views, lambda sql: list(spark.sql(sql).collect()[0]))
    finally:
        for view in views.values():
            spark.catalog.dropTempView(view)


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
    spark: SparkSession, clock: Clock | None, versions: Mapping[str, int], settings: Settings
) -> dict[str, Any]:
    """Values of a mart's clock by these versions of its inputs."""
    reads = clock.reads if clock else {}
    found: dict[str, Any] = {}
    for table in sorted({table for table, _ in reads.values()}):
        names = [name for name, (of, _) in reads.items() if of == table]
        aggregates = [reads[name][1] for name in names]
        values = _values(spark, table, versions[table], aggregates, settings)
        found |= zip(names, values, strict=True)
    return found


def changes_of(
    spark: SparkSession, mart: Mart, versions: Mapping[str, int], settings: Settings
) -> Changes | None:
    """What has changed since the stored mart was built.

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
        few = row_count(input_uri(mart.increment.fact, settings)) < FEW_FACTS
    else:
        few = row_count(settings.table_uri(GOLD, mart.name)) < FEW_ROWS
    if few:
        return None
    clock = mart.increment.clock if isinstance(mart.increment, Sums | Slices) else None
    before, after = (_clock(spark, clock, at, settings) for at in (since, versions))
    if isinstance(mart.increment, Slices) and not mart.increment.follows(before, after):
        return None
    return Changes(changed, before, after)


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
