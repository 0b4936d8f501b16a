"""How a mart follows its inputs without being built anew. Pure functions of frames.

Three ways, all exact:

- **Sums**: each row of a fact table adds to one row of the mart. What a changed row added before is taken
  away, what it adds now is put on. This is the counting algorithm of Gupta, Mumick and Subrahmanian
  (Maintaining Views Incrementally, SIGMOD 1993). Money is added up in whole minor units.
- **Slices**: what the mart says of a key, such as an account, depends on the rows of that key alone. So the
  keys of changed rows are computed anew, and the others kept.
- **Months**: what the mart says of a day depends on the rows of that day and of some days before. So the
  months that changed rows can reach are computed anew. The mart's files are divided by month, so all others
  are not even read.

Changes come from Delta's change data feed: rows with ``_change_type``. A row with ``_deleted_at`` is there
only to remember that its key was deleted, and counts as gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Any

from pyspark.sql import functions as F  # noqa: N812

from pipeline.gold.money import from_minor_units, minor_units
from pipeline.tables import TableColumn

if TYPE_CHECKING:
    from datetime import date

    from pyspark.sql import Column, DataFrame

ADDED = ("insert", "update_postimage")
WEIGHT = "_weight"
DELETED_AT = "_deleted_at"

Columns = Callable[[], Mapping[str, "Column"]]
Table = Callable[[str], "DataFrame"]


@dataclass(frozen=True)
class Lookup:
    """A table that gives columns to the rows of a fact table.

    Attributes:
        table: Its name.
        key: Its key, which the fact table has under the same name.
        columns: Columns that are looked up, of the mart's grain; null for a row that finds nothing.
    """

    table: str
    key: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Sums:
    """A mart of sums and counts over a fact table.

    Attributes:
        fact: Name of the fact table.
        reads: Its columns that matter.
        keys: The grain: columns of the mart, computed from a row of the fact table and what it looks up.
        measures: What a row adds to these columns of the mart; null adds nothing.
        counted: Measures that count rows; a row of the mart goes when all of them are zero.
        derived: Columns computed from the sums.
        lookup: Where further columns come from, if any.
        where: Which rows count.
    """

    fact: str
    reads: tuple[str, ...]
    keys: Columns
    measures: Columns
    counted: tuple[str, ...]
    derived: Columns = dict
    lookup: Lookup | None = None
    where: Callable[[], Column] | None = None

    def build(self, tables: Mapping[str, DataFrame], columns: Sequence[TableColumn]) -> DataFrame:
        """The whole mart, from all rows."""
        rows = self._joined(tables[self.fact].select(*self.reads), tables.__getitem__)
        return self._finished(self._sums(rows, columns), columns)

    def update(
        self,
        stored: DataFrame,
        feeds: Mapping[str, DataFrame],
        before: Table,
        after: Table,
        columns: Sequence[TableColumn],
    ) -> DataFrame:
        """The mart after its inputs have changed.

        Args:
            stored: The mart as it is.
            feeds: By input, the rows that have changed.
            before: Gives an input as it was when the mart was built.
            after: Gives an input as it is.
            columns: The mart's columns.
        """
        parts = []
        changed = None
        if self.lookup and self.lookup.table in feeds:
            # What a new key gives to look up can only matter to rows that have found nothing so far.
            unfound = reduce(and_, (F.col(name).isNull() for name in self.lookup.columns))
            orphans = not stored.where(unfound).isEmpty()
            found = _changed_keys(feeds[self.lookup.table], self.lookup, orphans=orphans)
            changed = None if found.isEmpty() else F.broadcast(found)
        if self.fact in feeds:
            fed = _weighted(_living(feeds[self.fact])).select(*self.reads, WEIGHT)
            if self.lookup and changed is not None:
                fed = fed.join(changed, self.lookup.key, "left_anti")
            parts.append(self._joined(fed, after))
        if self.lookup and changed is not None:
            for table, weight in ((before, -1), (after, 1)):
                moved = table(self.fact).select(*self.reads).join(changed, self.lookup.key, "left_semi")
                parts.append(self._joined(moved.withColumn(WEIGHT, F.lit(weight)), table))
        if not parts:
            return stored
        change = reduce(lambda left, right: left.unionByName(right), parts)
        names = [*self.keys(), *self.measures()]
        whole = [_whole(F.col(name), name, columns).alias(name) for name in self.measures()]
        state = stored.select(*self.keys(), *whole).unionByName(self._sums(change, columns).select(*names))
        summed = state.groupBy(*self.keys()).agg(*[F.try_sum(name).alias(name) for name in self.measures()])
        return self._finished(summed, columns)

    def _joined(self, rows: DataFrame, table: Table) -> DataFrame:
        if self.lookup is None:
            return rows
        found = table(self.lookup.table).select(self.lookup.key, *self.lookup.columns)
        return rows.join(found, self.lookup.key, "left")

    def _sums(self, rows: DataFrame, columns: Sequence[TableColumn]) -> DataFrame:
        """Sums over rows by the grain; rows without a weight count once."""
        chosen = rows.where(self.where()) if self.where else rows
        weight = F.col(WEIGHT).cast("bigint") if WEIGHT in rows.columns else None
        sums = []
        for name, measure in self.measures().items():
            whole = _whole(F.coalesce(measure, F.lit(0)), name, columns)
            # Null when a sum is too great for 64 bits, which no expectation lets pass.
            sums.append(F.try_sum(whole if weight is None else whole * weight).alias(name))
        keyed = [column.alias(name) for name, column in self.keys().items()]
        return chosen.groupBy(*keyed).agg(*sums)

    def _finished(self, sums: DataFrame, columns: Sequence[TableColumn]) -> DataFrame:
        money = {name: _as_stored(F.col(name), name, columns) for name in self.measures()}
        is_there = reduce(or_, (F.coalesce(name, F.lit(1)) != 0 for name in self.counted))
        plain = sums.where(is_there).withColumns(money)
        return plain.withColumns(dict(self.derived())) if self.derived() else plain


@dataclass(frozen=True)
class Clock:
    """How far a mart's inputs go, which all of its rows depend on.

    Attributes:
        reads: Aggregates of inputs, by the name of each: input and SQL. Spark and DataFusion run both.
        period: What matters of their values. As long as that stays, rows that nothing else has changed stay.
    """

    reads: Mapping[str, tuple[str, str]]
    period: Callable[[Mapping[str, Any]], Any]

    def row(self, tables: Mapping[str, DataFrame]) -> DataFrame:
        """The aggregates, one row."""
        by_input: dict[str, list[str]] = {}
        for name, (input_, sql) in self.reads.items():
            by_input.setdefault(input_, []).append(f"{sql} AS {name}")
        rows = [tables[input_].selectExpr(*parts) for input_, parts in by_input.items()]
        return F.broadcast(reduce(lambda left, right: left.crossJoin(right), rows))

    def known(self, values: Mapping[str, Any], any_frame: DataFrame) -> DataFrame:
        """The same, of values that are known already."""
        literals = [F.lit(values[name]).cast("date").alias(name) for name in self.reads]
        return F.broadcast(any_frame.sparkSession.range(1).select(*literals))


@dataclass(frozen=True)
class Slices:
    """A mart that can be computed key by key.

    Attributes:
        key: Column of the mart: what it says of one value depends on the rows that belong to that alone.
        reads: By input, the columns that matter; a change of others changes nothing.
        via: By input that does not have the key, the input that leads to it and the column they share.
        build: Inputs and the clock's row -> the mart; None for the mart's own ``build``, of inputs alone.
        clock: What all rows depend on besides; None for nothing. When its period changes, all is built anew.
        seen: Input, its rows and the clock's period -> the rows, as far as the mart can know them by then;
            ``reads`` are columns of these. What it cannot see changes nothing.
    """

    key: str
    reads: Mapping[str, tuple[str, ...]]
    via: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    build: Callable[[dict[str, DataFrame], DataFrame], DataFrame] | None = None
    clock: Clock | None = None
    seen: Callable[[str, DataFrame, Any], DataFrame] | None = None

    def follows(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
        """Whether the mart can follow when the clock's values were these and are those."""
        return self.clock is None or bool(self.clock.period(before) == self.clock.period(after))

    def keys(self, feeds: Mapping[str, DataFrame], after: Table, clock: Mapping[str, Any]) -> DataFrame:
        """Keys of which the mart may say something else now, each once.

        Args:
            feeds: By input, the rows that have changed.
            after: Gives an input as it is.
            clock: Values of the clock; of the same period as when the mart was built.
        """
        period = self.clock.period(clock) if self.clock else None
        changed = []
        for name, feed in feeds.items():
            rows = _living(feed)
            visible = self.seen(name, rows, period) if self.seen else rows
            changed.append(self._keys(name, net_changes(visible, self.reads[name]), after))
        return reduce(lambda left, right: left.union(right), changed).distinct()

    def update(
        self,
        stored: DataFrame,
        keys: DataFrame,
        after: Table,
        build: Callable[[dict[str, DataFrame]], DataFrame],
        *,
        names: Sequence[str],
        clock: Mapping[str, Any],
    ) -> DataFrame:
        """The mart with some keys computed anew.

        Args:
            stored: The mart as it is.
            keys: The keys, see above.
            after: Gives an input as it is.
            build: Input tables -> the mart.
            names: The mart's columns.
            clock: Values of the clock.
        """
        chosen = F.broadcast(keys)
        tables = {name: self._slice(name, chosen, after) for name in self.reads}
        kept = stored.join(chosen, self.key, "left_anti")
        if self.build and self.clock:
            built = self.build(tables, self.clock.known(clock, stored))
        else:
            built = build(tables)
        return kept.select(*names).unionByName(built.select(*names))

    def _keys(self, name: str, rows: DataFrame, after: Table) -> DataFrame:
        """Keys that some rows of an input belong to.

        What led to a key that it leads to no longer has changed itself, so that key is known by that.
        """
        if name not in self.via:
            return rows.select(self.key)
        other, column = self.via[name]
        shared = F.broadcast(rows.select(column).distinct())
        return self._keys(other, after(other).join(shared, column, "left_semi"), after)

    def _slice(self, name: str, keys: DataFrame, after: Table) -> DataFrame:
        """Rows of an input that belong to some keys."""
        if name not in self.via:
            return after(name).join(keys, self.key, "left_semi")
        other, column = self.via[name]
        shared = F.broadcast(self._slice(other, keys, after).select(column).distinct())
        return after(name).join(shared, column, "left_semi")


@dataclass(frozen=True)
class Months:
    """A mart of days, divided by month.

    Attributes:
        column: The month's first day, which the mart's files are divided by.
        fact: Name of the fact table.
        day: Its column with the day.
        reads: Its columns that matter.
        looks_back: How many days before a day still matter to it.
        lookup: Where further columns come from; a change there reaches all months in which the key is.
    """

    column: str
    fact: str
    day: str
    reads: tuple[str, ...]
    looks_back: int
    lookup: Lookup

    def reached(self, stored: DataFrame, feeds: Mapping[str, DataFrame]) -> DataFrame:
        """Months of which the mart may say something else now.

        Args:
            stored: The mart as it is.
            feeds: By input, the rows that have changed.
        """
        months = []
        if self.fact in feeds:
            days = net_changes(_living(feeds[self.fact]), self.reads).select(self.day).distinct()
            first, last = (F.trunc(F.date_add(self.day, later), "month") for later in (0, self.looks_back))
            each = F.explode(F.sequence(first, last, F.expr("INTERVAL 1 MONTH")))
            months.append(days.select(each.alias(self.column)))
        if self.lookup.table in feeds:
            columns = (self.lookup.key, *self.lookup.columns)
            keys = net_changes(_living(feeds[self.lookup.table]), columns).select(self.lookup.key)
            months.append(
                stored.join(F.broadcast(keys.distinct()), self.lookup.key, "left_semi").select(self.column)
            )
        return reduce(lambda left, right: left.union(right), months).distinct()

    def update(
        self, months: Sequence[date], after: Table, build: Callable[[dict[str, DataFrame]], DataFrame]
    ) -> DataFrame:
        """What the mart says of some months.

        Args:
            months: First days.
            after: Gives an input as it is.
            build: Input tables -> the mart.
        """
        near = F.lit(False)
        for month in months:
            first = F.lit(month).cast("date")
            near |= F.col(self.day).between(F.date_sub(first, self.looks_back), F.last_day(first))
        tables = {
            self.fact: after(self.fact).where(near),
            self.lookup.table: after(self.lookup.table),
        }
        return build(tables).where(F.col(self.column).isin(*months))


def net_changes(feed: DataFrame, columns: Sequence[str]) -> DataFrame:
    """What has come and gone, as far as these columns of a feed tell: them and ``_weight``, never zero."""
    weighed = _weighted(feed).groupBy(*columns).agg(F.sum(WEIGHT).alias(WEIGHT))
    return weighed.where(F.col(WEIGHT) != 0)


def _changed_keys(feed: DataFrame, lookup: Lookup, *, orphans: bool) -> DataFrame:
    """Keys for which something else is looked up now."""
    is_there = F.col(DELETED_AT).isNull()
    seen = feed.select(
        lookup.key,
        *[F.when(is_there, F.col(name)).alias(name) for name in lookup.columns],
        "_change_type",
    )
    by = (lookup.key, *lookup.columns)
    net = _weighted(seen).groupBy(*by).agg(F.sum(WEIGHT).alias(WEIGHT))
    return net.where((F.col(WEIGHT) != 0) if orphans else (F.col(WEIGHT) < 0)).select(lookup.key).distinct()


def _living(rows: DataFrame) -> DataFrame:
    return rows.where(F.col(DELETED_AT).isNull()) if DELETED_AT in rows.columns else rows


def _weighted(feed: DataFrame) -> DataFrame:
    """A change feed with ``_weight``: 1 for a row that is there now, -1 for one that was."""
    return feed.withColumn(WEIGHT, F.when(F.col("_change_type").isin(*ADDED), 1).otherwise(-1))


def _scale(name: str, columns: Sequence[TableColumn]) -> int:
    type_ = next(column.type for column in columns if column.name == name)
    found = re.fullmatch(r"decimal\(\d+,(\d+)\)", type_)
    return int(found[1]) if found else 0


def _whole(value: Column, name: str, columns: Sequence[TableColumn]) -> Column:
    """A value of a mart's column as a whole number, money in its smallest unit."""
    places = _scale(name, columns)
    return minor_units(value, places) if places else value


def _as_stored(whole: Column, name: str, columns: Sequence[TableColumn]) -> Column:
    places = _scale(name, columns)
    return from_minor_units(whole, places) if places else whole
