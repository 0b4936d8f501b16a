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
from pipeline.cleaning import decimal_scale

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

# A decimal with more may be written like 1E-8, unless ANSI mode is on.
MOST_PLAIN_DECIMALS = 6
DISPOSITIONS = ("inserted", "updated", "duplicate", "stale", "quarantined")


def row_hash(contract: Contract, additional: Sequence[str] = ()) -> Column:
    """SHA2-256 over the typed source columns and the additional ones (texts), as BINARY.

    Each value that is not null is written with its column's name, name and value with their lengths, in
    the order of the names. So no two different rows are written the same, whatever separators their texts
    hold, and a row has the same hash when columns are added, moved or widened: instants are written as
    microseconds since 1970 in UTC, so no time zone plays a part, and decimals without zeros at their end.
    A deletion (``_is_deleted``) is marked, and so never has the hash of a row.
    """
    types = {column.name: column.physical_type for column in contract.source_columns}
    types |= dict.fromkeys(additional, "string")
    mark = F.when(F.col("_is_deleted"), "D")
    values = [F.concat(F.lit(f"{len(name)}:{name}="), _written(name, types[name])) for name in sorted(types)]
    return F.unhex(F.sha2(F.concat_ws("", mark, *values), 256))  # which leaves nulls out


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
    """A value as its length, a colon and its text; null when it is null."""
    value, scale = f"`{name}`", decimal_scale(physical_type)
    if physical_type == "timestamp":
        value = f"unix_micros({value})"
    text = f"CAST({value} AS STRING)"
    if scale > MOST_PLAIN_DECIMALS:
        text = f"translate(format_number({value}, {scale}), ',', '')"
    if scale:
        text = f"trim(TRAILING '.' FROM trim(TRAILING '0' FROM {text}))"
    written = F.expr(text)
    return F.concat(F.length(written).cast("string"), F.lit(":"), written)
