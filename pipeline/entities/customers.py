"""Customers: contact data in one form, and the credit band."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

if TYPE_CHECKING:
    from pyspark.sql import Column


def clean() -> dict[str, Column]:
    """Lower-case emails, phone numbers without separators, upper-case codes."""
    return {
        "email": F.lower("email"),
        "phone": F.regexp_replace("phone", r"[\s()./-]", ""),
        "country": F.upper("country"),
        "currency": F.upper("currency"),
        "segment": F.lower("segment"),
        "kyc_status": F.lower("kyc_status"),
    }


def enrich() -> dict[str, Column]:
    """Full name, email domain, and FICO's name for the range of the credit score.

    The ranges are FICO's published ones: https://www.myfico.com/credit-education/credit-scores
    """
    score = F.col("credit_score")
    return {
        "full_name": F.concat_ws(" ", "first_name", "last_name"),
        "email_domain": F.substring_index("email", "@", -1),
        "credit_band": (
            F.when(score < 580, "poor")
            .when(score < 670, "fair")
            .when(score < 740, "good")
            .when(score < 800, "very_good")
            .when(score.isNotNull(), "exceptional")
        ),
    }
