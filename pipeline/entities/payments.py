"""Payments: how late, and how much is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

if TYPE_CHECKING:
    from pyspark.sql import Column


def clean() -> dict[str, Column]:
    """Upper-case currency, lower-case names of methods and states."""
    return {
        "currency": F.upper("currency"),
        "method": F.lower("method"),
        "status": F.lower("status"),
    }


def enrich() -> dict[str, Column]:
    """Days late and shortfall, both never below zero."""
    shortfall = F.greatest(F.col("amount_due") - F.col("amount_paid"), F.lit(0))
    return {
        "days_late": F.greatest(F.datediff("paid_date", "due_date"), F.lit(0))
        * F.when(F.col("paid_date").isNotNull(), 1),
        "shortfall": shortfall.cast("decimal(18,2)"),
    }
