"""Row hash, order of versions, and what becomes of each row.

``disposition`` is one of ``inserted``, ``updated``, ``duplicate``, ``stale``, ``quarantined``: every
row gets exactly one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pyspark.sql import Window
from pyspark.sql import functions as F  # noqa: N812

from contracts import Contract

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

DISPOSITIONS = ("inserted", "updated", "duplicate", "stale", "quarantined")


def row_hash(contract: Contract, additional: Sequence[str] = ()) -> Column:
    """SHA2-256 over the typed source columns in contract order, as BINARY.

    Additional columns (texts) follow by name, unless they are null: so a row has the same hash
    whether or not its file, or the table, has got them.

    Each value is written as its length, a colon and its text, and a null as ``-``. So no two
    different rows are written the same, whatever separators their texts hold; instants are written
    as microseconds since 1970 in UTC, so no time zone plays a part. A deletion (``_is_deleted``) is
    marked, and so never has the hash of a row.
    """
    written = [_written(column.name, column.physical_type) for column in contract.source_columns]
    mark = F.when(F.col("_is_deleted"), "D").otherwise("")
    for name in sorted(additional):
        written.append(
            F.when(F.col(name).isNull(), "").otherwise(F.concat(F.lit(f"{name}="), _written(name, "string")))
        )
    return F.unhex(F.sha2(F.concat(mark, *written), 256))


def precedence(contract: Contract) -> Column:
    """What orders the versions of a key, totally: the greatest is the newest.

    First the version column. At the same instant a deletion comes after what it deletes, and the row
    hash settles the rest, so that the order in which files arrive never matters.
    """
    return F.struct(F.col(contract.version_column).alias("at"), "_is_deleted", "_row_hash")


def group_key(contract: Contract, valid: Column) -> Column:
    """Text that is equal for rows with the same business key, and unique for rows that are not valid.

    Rows without a usable key would otherwise all land in one group, and so in one task.
    """
    own = F.concat_ws("\u0001", F.lit("\u0000"), F.col("_source_file"), F.col("_source_row").cast("string"))
    return F.when(valid, key_text(contract)).otherwise(own)


def key_text(contract: Contract) -> Column:
    """The business key as one text, which no other key has: of several columns, each with its length."""
    if len(contract.key) == 1:
        return F.col(contract.key[0]).cast("string")
    return F.concat(*[_written(name, contract.column(name).physical_type) for name in contract.key])


def classify(rows: DataFrame, stored: DataFrame | None, contract: Contract) -> DataFrame:
    """Say of every row what becomes of it.

    Args:
        rows: Typed rows with ``_reasons`` (empty when valid), ``_is_deleted``, ``_row_hash`` and lineage.
        stored: Newest stored versions: ``_group`` and ``_stored``, their :func:`precedence`; None when
            the table is empty.
        contract: Gives key and version column.

    Returns:
        ``rows`` with ``_disposition``. Of the rows of one business key, the newest wins.
    """
    valid = F.col("_reasons") == ""
    grouped = rows.withColumn("_group", group_key(contract, valid))
    if stored is None:
        stored_hash, stored_is_newer = F.lit(None).cast("binary"), F.lit(False)
    else:
        grouped = grouped.join(stored, "_group", "left")
        stored_hash = F.col("_stored._row_hash")
        stored_is_newer = F.coalesce(F.col("_stored") > precedence(contract), F.lit(False))
    newest_first = Window.partitionBy("_group").orderBy(
        F.col(contract.version_column).desc(),
        F.col("_is_deleted").desc(),
        F.col("_row_hash").desc(),
        "_source_file",
        "_source_row",
    )
    ranked = grouped.withColumn("_rank", F.row_number().over(newest_first)).withColumn(
        "_hash_before", F.lag("_row_hash").over(newest_first)
    )
    same = F.coalesce(F.col("_row_hash") == F.col("_hash_before"), F.lit(False)) | F.coalesce(
        F.col("_row_hash") == stored_hash, F.lit(False)
    )
    disposition = (
        F.when(~valid, "quarantined")
        .when(same, "duplicate")
        .when((F.col("_rank") > 1) | stored_is_newer, "stale")
        .when(stored_hash.isNull(), "inserted")
        .otherwise("updated")
    )
    return ranked.withColumn("_disposition", disposition).drop("_group", "_rank", "_hash_before", "_stored")


def _written(name: str, physical_type: str) -> Column:
    value = F.unix_micros(F.col(name)) if physical_type == "timestamp" else F.col(name)
    text = value.cast("string")
    return F.coalesce(F.concat(F.length(text).cast("string"), F.lit(":"), text), F.lit("-"))
