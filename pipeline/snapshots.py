"""Full snapshots: a key that the newest ones lack is closed since the first of them.

A contract with ``delivery: snapshot`` says that the files of one day (``ingest_date=YYYY-MM-DD``) hold every
key that there is. Silver keeps a closed key with the values that it had, and says in ``_deleted_at`` since
when it is closed: since midnight (UTC) of the first snapshot after the last one that held it. A key that
comes back is open again, and was never closed: a snapshot that lacked rows leaves no trace.

So what Silver holds of a key depends on the versions of its rows, on the last day that it was seen and on
the days of the snapshots: all of them sets and greatest elements, whatever order the files arrive in. The
last day that a key was seen need not be stored: it is the last snapshot before the key was closed, or the
newest one. A quarantined row shows its key as well as any other. A day without rows is no snapshot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from functools import reduce
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from contracts import Contract
from pipeline.files import DAY_FOLDER, ingest_day
from pipeline.ledger import Closures
from pipeline.quality import RuleBrokenError

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame


def days_of(paths: Iterable[str]) -> tuple[date, ...]:
    """Days of the snapshots that files belong to, in order.

    >>> days_of(["file:///loans/ingest_date=2026-01-02/b.csv", "file:///loans/ingest_date=2026-01-01/a.csv"])
    (datetime.date(2026, 1, 1), datetime.date(2026, 1, 2))
    """
    return tuple(sorted({day for path in paths if (day := ingest_day(path))}))


def states(
    stored: DataFrame | None,
    incoming: DataFrame,
    contract: Contract,
    before: Sequence[date],
    days: Sequence[date],
) -> DataFrame:
    """Since when each key is closed, once a batch is loaded.

    Args:
        stored: Key and ``_deleted_at`` of what Silver holds; None when it has never been written.
        incoming: Rows of the batch: key and ``_source_file``.
        contract: Gives the key.
        before: Days of the snapshots before the batch, in order.
        days: Days of the snapshots that the batch has rows of.

    Returns:
        The key, ``_deleted_at``, ``_was_deleted_at`` and ``_is_stored``, for keys that are stored or come in.
    """
    key, after = list(contract.key), sorted({*before, *days})
    is_key = reduce(lambda one, other: one & other, [F.col(name).isNotNull() for name in key])
    folder_day = F.regexp_extract("_source_file", DAY_FOLDER.pattern, 1)
    dated = incoming.where(is_key).withColumn("_day", folder_day)
    seen = dated.groupBy(*key).agg(F.max(F.expr("try_cast(_day AS date)")).alias("_seen"))
    if stored is None:
        missing = F.lit(None).cast("timestamp").alias("_was_deleted_at")
        both = seen.select(*key, "_seen", missing, F.lit(False).alias("_is_stored"))
    else:
        known = stored.select(
            *key, F.col("_deleted_at").alias("_was_deleted_at"), F.lit(True).alias("_is_stored")
        )
        both = known.join(seen, key, "full").withColumn("_is_stored", F.coalesce("_is_stored", F.lit(False)))
        last = F.when(F.col("_is_stored"), _last_before(F.col("_was_deleted_at"), before))
        both = both.withColumn("_seen", F.greatest("_seen", last))
    return both.select(
        *key, _first_after(F.col("_seen"), after).alias("_deleted_at"), "_was_deleted_at", "_is_stored"
    )


def states_schema(contract: Contract) -> str:
    """Columns of :func:`states`, as DDL."""
    key = [f"`{name}` {contract.column(name).physical_type}" for name in contract.key]
    return ", ".join([*key, "_deleted_at timestamp", "_was_deleted_at timestamp", "_is_stored boolean"])


def changed(states: DataFrame) -> DataFrame:
    """Of :func:`states`, the stored keys that the batch closes or opens, or closes at another time."""
    return states.where(F.col("_is_stored") & ~F.col("_deleted_at").eqNullSafe(F.col("_was_deleted_at")))


def count(states: DataFrame, contract: Contract) -> Closures:
    """How many keys are closed and opened again.

    Raises:
        RuleBrokenError: More keys are missing than the contract allows.
    """
    stored, was_open, is_open = (
        F.col("_is_stored"),
        F.col("_was_deleted_at").isNull(),
        F.col("_deleted_at").isNull(),
    )
    row = states.agg(
        F.count_if(stored & was_open).alias("open"),
        F.count_if(stored & was_open & ~is_open).alias("closed"),
        F.count_if(stored & ~was_open & is_open).alias("reopened"),
    ).first()
    found = row.asDict() if row else {"open": 0, "closed": 0, "reopened": 0}
    limit = contract.closes_at_most
    if limit is not None and found["closed"] > found["open"] * limit / 100:
        raise RuleBrokenError(
            f"{contract.entity} was not loaded: {found['closed']:,} of {found['open']:,} keys are missing "
            f"from the snapshot, more than the {limit:g} % that the contract allows",
            "add the missing files of that day, or raise closesAtMostPercent; `finlake run` reads them then",
        )
    return Closures(found["closed"], found["reopened"])


def tombstones(silver: DataFrame, contract: Contract) -> DataFrame:
    """Versions with which the history of closed keys ends: key, ``valid_from``, ``is_deleted``.

    Args:
        silver: Rows of Silver.
        contract: Gives key and version column.

    A version from after the closing, by a clock that was wrong, still comes before its end.
    """
    after_last = F.col(contract.version_column) + F.expr("INTERVAL 1 MICROSECOND")
    return silver.where(F.col("_deleted_at").isNotNull()).select(
        *contract.key,
        F.greatest("_deleted_at", after_last).alias("valid_from"),
        F.lit(True).alias("is_deleted"),
    )


def _last_before(closed_at: Column, days: Sequence[date]) -> Column:
    """The last snapshot before a key was closed; the newest one for a key that is open."""
    if not days:
        return F.lit(None).cast("date")
    earlier = F.array_max(F.filter(_array(days), lambda day: day < closed_at.cast("date")))
    return F.when(closed_at.isNull(), F.lit(days[-1])).otherwise(earlier)


def _first_after(seen: Column, days: Sequence[date]) -> Column:
    """The first snapshot after the one that held a key last, as an instant; null when there is none."""
    if not days:
        return F.lit(None).cast("timestamp")
    later = F.array_min(F.filter(_array(days), lambda day: day > seen))
    return F.when(seen < F.lit(days[-1]), later).cast("timestamp")


def _array(days: Sequence[date]) -> Column:
    return F.array(*[F.lit(day) for day in days])
