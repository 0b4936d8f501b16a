"""Transactions: the day in UTC and the signed amount."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

if TYPE_CHECKING:
    from pyspark.sql import Column


def clean() -> dict[str, Column]:
    """Upper-case codes, lower-case names of kinds, channels and states."""
    return {
        "currency": F.upper("currency"),
        "counterparty_iban": F.upper(F.regexp_replace("counterparty_iban", r"\s", "")),
        "transaction_type": F.lower("transaction_type"),
        "direction": F.lower("direction"),
        "channel": F.lower("channel"),
        "status": F.lower("status"),
    }


def enrich() -> dict[str, Column]:
    """Transaction day and signed amount."""
    sign = F.when(F.col("direction") == "debit", -F.col("amount")).otherwise(F.col("amount"))
    return {
        "transaction_date": F.to_date("transaction_at"),
        "signed_amount": sign.cast("decimal(18,2)"),
    }
