"""How a mart follows its inputs without being built anew. Pure functions of frames.

Three ways, all exact:

- **Sums**: each row of a fact table adds to one row of the mart. What a changed row added before is taken
  away, what it adds now is put on. This is the counting algorithm of Gupta, Mumick and Subrahmanian
  (Maintaining Views Incrementally, SIGMOD 1993). Money is added up in whole minor units. Where the present
  matters as well, so do rows that have not changed, and for which it has come or gone.
- **Slices**: what the mart says of a key, such as an account, depends on the rows of that key alone. So the
  keys of changed rows are computed anew, and the others kept.
- **Windows**: what the mart says of a key on a day depends on the key's rows of that day and of some days
  before. So the days of keys that changed rows can reach are computed anew. The mart's files are divided by
  month, so those of months that are not reached are not even read.

Changes come from Delta's change data feed: rows with ``_change_type``. A row with ``_deleted_at`` is there
only to remember that its key was deleted, and counts as gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any

import polars as pl
from pyspark.sql import functions as F  # noqa: N812

from pipeline.gold.money import from_minor_units, minor_units
from pipeline.tables import TableColumn

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

ADDED = ("insert", "update_postimage")
WEIGHT = "_weight"
DELETED_AT = "_deleted_at"
FIRST, LAST = "_first", "_last"

Columns = Callable[[], Mapping[str, "Column"]]
Table = Callable[[str], "DataFrame"]


@dataclass(frozen=True)
class Lookup:
    """A table that gives columns to the rows of a fact table.

    Attributes:
        table: Its name.
        key: Its key, which the fact table has under the same name.
        columns: Columns that are looked up; null for a row that finds nothing. The mart has one of them at
            least, under the same name.
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
        clock: What measures and derived columns know besides, under the names that it has there; None for
            nothing.
        turned: Two periods of the clock -> the rows of the fact table that do not add the same in both.
    """

    fact: str
    reads: tuple[str, ...]
    keys: Columns
    measures: Columns
    counted: tuple[str, ...]
    derived: Columns = dict
    lookup: Lookup | None = None
    where: Callable[[], Column] | None = None
    clock: Clock | None = None
    turned: Callable[[Any, Any], Column] | None = None

    def build(self, tables: Mapping[str, DataFrame], columns: Sequence[TableColumn]) -> DataFrame:
        """The whole mart, from all rows."""
        present = self.clock.row(tables) if self.clock else None
        rows = self._joined(tables[self.fact].select(*self.reads), tables.__getitem__)
        return self._finished(self._sums(_at(rows, present), columns), columns, present)

    def is_another_time(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
        """Whether rows that have not changed may add something else, by the clock's values then and now."""
        return self.clock is not None and bool(self.clock.period(before) != self.clock.period(after))

    def update(
        self,
        stored: DataFrame,
        feeds: Mapping[str, DataFrame],
        before: Table,
        after: Table,
        columns: Sequence[TableColumn],
        *,
        clocks: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {}),
    ) -> DataFrame:
        """The mart after its inputs have changed, as one statement.

        Args:
            stored: The mart as it is.
            feeds: By input, the rows that have changed. What the lookup's feed moves is taken from all rows
                of the fact table; so leave it out when :func:`moves` says that it moves nothing.
            before: Gives an input as it was when the mart was built.
            after: Gives an input as it is.
            columns: The mart's columns.
            clocks: Values of the clock when the mart was built, and now.
        """
        parts = []
        changed = None
        was, present = (self.clock.known(values, stored) if self.clock else None for values in clocks)
        if self.lookup and self.lookup.table in feeds:
            changed = F.broadcast(moved_keys(feeds[self.lookup.table], self.lookup))
        if self.fact in feeds:
            fed = _weighted(_living(feeds[self.fact])).select(*self.reads, WEIGHT)
            if self.lookup and changed is not None:
                fed = fed.join(changed, self.lookup.key, "left_anti")
            parts.append(_at(self._joined(fed, after), present))
        if self.lookup and changed is not None:
            for table, time, weight in ((before, was, -1), (after, present, 1)):
                moved = table(self.fact).select(*self.reads).join(changed, self.lookup.key, "left_semi")
                parts.append(_at(self._joined(moved.withColumn(WEIGHT, F.lit(weight)), table), time))
        if self.clock and self.turned and self.is_another_time(*clocks):
            turned = before(self.fact).where(self.turned(*map(self.clock.period, clocks))).select(*self.reads)
            if self.lookup and changed is not None:
                turned = turned.join(changed, self.lookup.key, "left_anti")
            for time, weight in ((was, -1), (present, 1)):
                parts.append(_at(self._joined(turned.withColumn(WEIGHT, F.lit(weight)), after), time))
        if not parts:
            return stored
        change = reduce(lambda left, right: left.unionByName(right), parts)
        names = [*self.keys(), *self.measures()]
        whole = [_whole(F.col(name), name, columns).alias(name) for name in self.measures()]
        state = stored.select(*self.keys(), *whole).unionByName(self._sums(change, columns).select(*names))
        summed = state.groupBy(*self.keys()).agg(*[F.try_sum(name).alias(name) for name in self.measures()])
        return self._finished(summed, columns, present)

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

    def _finished(
        self, sums: DataFrame, columns: Sequence[TableColumn], present: DataFrame | None
    ) -> DataFrame:
        money = {name: _as_stored(F.col(name), name, columns) for name in self.measures()}
        is_there = reduce(or_, (F.coalesce(name, F.lit(1)) != 0 for name in self.counted))
        plain = _at(sums.where(is_there).withColumns(money), present)
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
        matters: Input, changed rows that can be seen (``reads``), inputs as they are, and the clock's period
            -> those rows that can change something, where that takes a look at other rows; None for all.
    """

    key: str
    reads: Mapping[str, tuple[str, ...]]
    via: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    build: Callable[[dict[str, DataFrame], DataFrame], DataFrame] | None = None
    clock: Clock | None = None
    seen: Callable[[str, DataFrame, Any], DataFrame] | None = None
    matters: Callable[[str, DataFrame, Table, Any], DataFrame] | None = None

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
            net = net_changes(visible, self.reads[name])
            rows = self.matters(name, net, after, period) if self.matters else net
            changed.append(self._keys(name, rows, after))
        return reduce(lambda left, right: left.union(right), changed).distinct()

    def keys_here(self, changes: Mapping[str, pl.DataFrame]) -> list[str]:
        """The same for feeds that are in this process; of a mart with neither ``via`` nor ``seen``."""
        parts = [net_here(rows, self.reads[name]).select(self.key) for name, rows in changes.items()]
        return pl.concat(parts).get_column(self.key).unique().to_list() if parts else []

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
class Reach:
    """How far changed rows reach into a mart of windows.

    Attributes:
        months: First days of the months that are reached.
        first: The first day that is reached.
        key_days: Days that are reached, added up over all keys.
    """

    months: tuple[date, ...]
    first: date
    key_days: int


@dataclass(frozen=True)
class Windows:
    """A mart of keys and days that look back, divided by month.

    Attributes:
        key: Column of the mart and of the fact table: windows are of the rows that it has in common.
        day: The mart's column with the day.
        month: Its column with the month's first day, which its files are divided by.
        fact: Name of the fact table.
        fact_day: Its column with the day.
        reads: Its columns that matter.
        looks_back: How many days before a day still matter to it.
        lookup: Where further columns come from, by the same key; a change there reaches all days of the key.
    """

    key: str
    day: str
    month: str
    fact: str
    fact_day: str
    reads: tuple[str, ...]
    looks_back: int
    lookup: Lookup

    def reached(self, stored: DataFrame, feeds: Mapping[str, DataFrame]) -> DataFrame:
        """Days of which the mart may say something else now: by key, the first and the last.

        Args:
            stored: The mart as it is.
            feeds: By input, the rows that have changed.
        """
        parts = []
        if self.fact in feeds:
            net = net_changes(_living(feeds[self.fact]), self.reads)
            last = F.date_add(self.fact_day, self.looks_back)
            parts.append(net.select(self.key, F.col(self.fact_day).alias(FIRST), last.alias(LAST)))
        if self.lookup.table in feeds:
            columns = (self.lookup.key, *self.lookup.columns)
            keys = net_changes(_living(feeds[self.lookup.table]), columns).select(self.lookup.key)
            theirs = stored.join(F.broadcast(keys.distinct()), self.key, "left_semi")
            parts.append(theirs.select(self.key, F.col(self.day).alias(FIRST), F.col(self.day).alias(LAST)))
        every = reduce(lambda left, right: left.unionByName(right), parts)
        return every.groupBy(self.key).agg(F.min(FIRST).alias(FIRST), F.max(LAST).alias(LAST))

    def counted(self, reached: DataFrame) -> DataFrame:
        """The same, counted by first month and last day; few rows, which :meth:`reach` adds up."""
        return reached.groupBy(F.trunc(FIRST, "month").alias("month"), LAST).agg(
            F.count("*").alias("keys"),
            F.min(FIRST).alias(FIRST),
            F.sum(F.datediff(LAST, FIRST)).alias("days"),
        )

    def reached_here(self, changes: pl.DataFrame) -> pl.DataFrame:
        """The same as :meth:`reached` for rows of the fact table's feed that are in this process."""
        net = net_here(changes, self.reads)
        first, last = pl.col(self.fact_day), pl.col(self.fact_day).dt.offset_by(f"{self.looks_back}d")
        return net.group_by(self.key).agg(first.min().alias(FIRST), last.max().alias(LAST))

    def counted_here(self, reached: pl.DataFrame) -> list[dict[str, Any]]:
        """The same as :meth:`counted` for what is in this process."""
        grouped = reached.group_by(pl.col(FIRST).dt.month_start().alias("month"), LAST).agg(
            pl.len().alias("keys"),
            pl.col(FIRST).min(),
            (pl.col(LAST) - pl.col(FIRST)).dt.total_days().sum().alias("days"),
        )
        return grouped.to_dicts()

    def reach(self, counted: Sequence[Mapping[str, Any]], newest: date) -> Reach | None:
        """How far changed rows reach, none beyond the newest day; None when they reach nothing.

        Args:
            counted: Rows of :meth:`counted`.
            newest: The newest day that the mart has, or will have.
        """
        months, key_days = set(), 0
        for row in counted:
            beyond = max(0, (row[LAST] - newest).days)
            key_days += row["days"] + row["keys"] * (1 - beyond)
            month, last = row["month"], min(row[LAST], newest)
            while month <= last:
                months.add(month)
                month = (month + timedelta(days=31)).replace(day=1)
        if not months:
            return None
        return Reach(tuple(sorted(months)), min(row[FIRST] for row in counted), key_days)

    def update(
        self,
        stored: DataFrame,
        reached: DataFrame,
        reach: Reach,
        after: Table,
        build: Callable[[dict[str, DataFrame]], DataFrame],
        *,
        names: Sequence[str],
    ) -> DataFrame:
        """What the mart says of the months that are reached.

        Args:
            stored: The mart as it is.
            reached: Days by key, see above.
            reach: The same, added up.
            after: Gives an input as it is.
            build: Input tables -> the mart.
            names: The mart's columns.
        """
        ranges = F.broadcast(reached)
        since = F.date_sub(F.lit(reach.first).cast("date"), self.looks_back)
        facts = after(self.fact).where(F.col(self.fact_day) >= since).join(ranges, self.key)
        seen = facts.where(F.col(self.fact_day).between(F.date_sub(FIRST, self.looks_back), F.col(LAST)))
        built = build({self.fact: seen, self.lookup.table: after(self.lookup.table)})
        is_reached = F.col(self.day).between(F.col(FIRST), F.col(LAST))
        old = stored.where(F.col(self.month).isin(*reach.months)).join(ranges, self.key, "left")
        kept = old.where(~F.coalesce(is_reached, F.lit(False)))
        anew = built.select(*names).join(ranges, self.key).where(is_reached)
        return kept.select(*names).unionByName(anew.select(*names))


def _at(rows: DataFrame, clock: DataFrame | None) -> DataFrame:
    """Rows with the clock's values beside each."""
    return rows if clock is None else rows.crossJoin(clock)


def net_changes(feed: DataFrame, columns: Sequence[str]) -> DataFrame:
    """What has come and gone, as far as these columns of a feed tell: them and ``_weight``, never zero."""
    weighed = _weighted(feed).groupBy(*columns).agg(F.sum(WEIGHT).alias(WEIGHT))
    return weighed.where(F.col(WEIGHT) != 0)


def moved_keys(feed: DataFrame, lookup: Lookup) -> DataFrame:
    """Keys for which something else is looked up now, new keys as well."""
    is_there = F.col(DELETED_AT).isNull()
    seen = feed.select(
        lookup.key,
        *[F.when(is_there, F.col(name)).alias(name) for name in lookup.columns],
        "_change_type",
    )
    by = (lookup.key, *lookup.columns)
    net = _weighted(seen).groupBy(*by).agg(F.sum(WEIGHT).alias(WEIGHT))
    return net.where(F.col(WEIGHT) != 0).select(lookup.key).distinct()


def moves(changes: pl.DataFrame, lookup: Lookup, *, orphans: bool) -> bool:
    """Whether something else is looked up now for a key that rows can have.

    Args:
        changes: Rows of the lookup's feed: its key, its columns, ``_change_type`` and, if the table has it,
            ``_deleted_at``.
        lookup: The lookup.
        orphans: Whether there are rows that have found nothing so far: only to these can it matter what a new
            key gives to look up.
    """
    is_there = _is_living(changes)
    seen = changes.select(
        lookup.key,
        *[pl.when(is_there).then(pl.col(name)).alias(name) for name in lookup.columns],
        _weight_here().alias(WEIGHT),
    )
    net = seen.group_by(lookup.key, *lookup.columns).agg(pl.col(WEIGHT).sum())
    return bool(net.select(((pl.col(WEIGHT) != 0) if orphans else (pl.col(WEIGHT) < 0)).any()).item())


def net_here(changes: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """The same as :func:`net_changes` for living rows of a feed that are in this process."""
    living = changes.filter(_is_living(changes)).with_columns(_weight_here().alias(WEIGHT))
    return living.group_by(*columns).agg(pl.col(WEIGHT).sum()).filter(pl.col(WEIGHT) != 0)


def _is_living(changes: pl.DataFrame) -> pl.Expr:
    return pl.col(DELETED_AT).is_null() if DELETED_AT in changes.columns else pl.lit(value=True)


def _weight_here() -> pl.Expr:
    return pl.when(pl.col("_change_type").is_in(ADDED)).then(1).otherwise(-1)


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
