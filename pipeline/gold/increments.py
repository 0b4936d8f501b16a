"""How a mart follows its inputs without being built anew. Pure functions of frames.

Two ways, both exact:

- **Sums**: each row of a fact table adds to one row of the mart. What a changed row added before is taken
  away, what it adds now is put on. This is the counting algorithm of Gupta, Mumick and Subrahmanian
  (Maintaining Views Incrementally, SIGMOD 1993). Money is added up in whole minor units.
- **Slices**: what the mart says of a key, such as an account, depends on the rows of that key alone. So the
  keys of changed rows are computed anew, and the others kept.

Changes come from Delta's change data feed: rows with ``_change_type``. A row with ``_deleted_at`` is there
only to remember that its key was deleted, and counts as gone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from pipeline.gold.money import from_minor_units, minor_units
from pipeline.tables import TableColumn

if TYPE_CHECKING:
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
class Slices:
    """A mart that can be computed key by key.

    Attributes:
        key: Column that the mart and all its inputs have.
        reads: By input, the columns that matter; a change of others changes nothing.
    """

    key: str
    reads: Mapping[str, tuple[str, ...]]

    def update(
        self,
        stored: DataFrame,
        feeds: Mapping[str, DataFrame],
        after: Table,
        build: Callable[[dict[str, DataFrame]], DataFrame],
        names: Sequence[str],
    ) -> DataFrame:
        """The mart after its inputs have changed.

        Args:
            stored: The mart as it is.
            feeds: By input, the rows that have changed.
            after: Gives an input as it is.
            build: Input tables -> the mart.
            names: The mart's columns.
        """
        changed = [
            net_changes(feed, (self.key, *(c for c in self.reads[name] if c != self.key))).select(self.key)
            for name, feed in feeds.items()
        ]
        keys = reduce(lambda left, right: left.union(right), changed).distinct()
        tables = {name: after(name).join(keys, self.key, "left_semi") for name in self.reads}
        kept = stored.join(keys, self.key, "left_anti")
        return kept.select(*names).unionByName(build(tables).select(*names))


def net_changes(feed: DataFrame, columns: Sequence[str]) -> DataFrame:
    """What has come and gone of a table, as far as these columns tell: them and ``_weight``, never zero."""
    weighed = _weighted(_living(feed)).groupBy(*columns).agg(F.sum(WEIGHT).alias(WEIGHT))
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
    return rows.where(F.col(DELETED_AT).isNull())


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
