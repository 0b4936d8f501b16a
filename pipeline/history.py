"""All versions of a key, each with the time during which it held: SCD type 2.

The interval is half-open: a version holds from ``valid_from`` (its version column) up to, but not
including, ``valid_to``, which is where the next one begins; the last one is open. So the intervals of a
key have neither gaps nor overlaps. A deletion is a version too (``is_deleted``, nothing but the key
filled in): what came before ends there, and what comes back later begins anew. Of versions that begin
at the same instant only the one that Silver would keep is there, since the others never held.

The table is a function of the set of valid rows alone: it does not depend on the order in which they
arrive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F  # noqa: N812

from contracts import Contract
from pipeline.tables import TableColumn

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

VALIDITY = (
    TableColumn("valid_from", "timestamp", "Instant (UTC) from which the version held.", nullable=False),
    TableColumn("valid_to", "timestamp", "Instant (UTC) at which the next one began; null for the last one."),
    TableColumn("is_current", "boolean", "Whether it is the last version, and not a deletion."),
    TableColumn("is_deleted", "boolean", "Whether the key was deleted then; its other columns are null."),
)
COMPUTED = ("valid_to", "is_current")


def table_name(entity: str) -> str:
    """Name of an entity's history table.

    >>> table_name("customers")
    'customers_history'
    """
    return f"{entity}_history"


def history_columns(silver: tuple[TableColumn, ...]) -> tuple[TableColumn, ...]:
    """Columns of the history table, from those of the Silver table."""
    split = next(place for place, column in enumerate(silver) if column.name == "_deleted_at")
    return (*silver[:split], *VALIDITY, *silver[split + 1 :])  # additional columns are always the last


def changes(new: DataFrame, stored: DataFrame | None, contract: Contract) -> DataFrame:
    """Rows of the history table that are to be written: inserted, or put in the place of stored ones.

    Args:
        new: Versions that came in, in the columns of the table without ``valid_to`` and ``is_current``.
            They may be known already, and may stand there more than once.
        stored: All stored versions of these keys, in the columns of the table; None when there are none.
        contract: Gives the key.

    Returns:
        Rows in the columns of the table. Key and ``valid_from`` say which stored row one replaces.
    """
    incoming = new.withColumns(
        {
            "valid_to": F.lit(None).cast("timestamp"),
            "is_current": F.lit(None).cast("boolean"),
            "_is_stored": F.lit(False),
        }
    )
    versions = incoming
    if stored is not None:
        versions = incoming.unionByName(stored.withColumn("_is_stored", F.lit(True)))
    versions = versions.withColumnsRenamed({name: f"_stored_{name}" for name in COMPUTED})
    # Of the rows of one instant, the one that held comes first; all windows share one shuffle and sort.
    in_time = Window.partitionBy(*contract.key).orderBy(
        "valid_from",
        F.col("is_deleted").desc(),
        F.col("_row_hash").desc(),
        F.col("_is_stored").desc(),
        "_source_file",
        "_source_row",
    )
    held = versions.withColumn("_before", F.lag("valid_from").over(in_time)).where(
        F.col("_before").isNull() | (F.col("_before") < F.col("valid_from"))
    )
    valid_to = F.lead("valid_from").over(in_time)
    timeline = held.withColumn("valid_to", valid_to).withColumn(
        "is_current", F.col("valid_to").isNull() & ~F.col("is_deleted")
    )
    unchanged = F.col("_is_stored")
    for name in COMPUTED:
        unchanged &= F.col(name).eqNullSafe(F.col(f"_stored_{name}"))
    passing = ("_is_stored", "_before", *(f"_stored_{name}" for name in COMPUTED))
    return timeline.where(~unchanged).drop(*passing)
