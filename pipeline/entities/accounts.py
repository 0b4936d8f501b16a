"""Accounts: IBANs in one form, and what can be spent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

if TYPE_CHECKING:
    from pyspark.sql import Column


def clean() -> dict[str, Column]:
    """IBANs without blanks, upper-case codes, lower-case names of kinds and states."""
    return {
        "iban": F.upper(F.regexp_replace("iban", r"\s", "")),
        "currency": F.upper("currency"),
        "account_type": F.lower("account_type"),
        "opening_channel": F.lower("opening_channel"),
        "status": F.lower("status"),
    }


def enrich() -> dict[str, Column]:
    """Country of the IBAN, available balance, and whether the account is overdrawn."""
    return {
        "iban_country": F.substring("iban", 1, 2),
        "available_balance": F.expr("try_cast(balance + overdraft_limit AS decimal(18,2))"),
        "is_overdrawn": F.col("balance") < 0,
    }
