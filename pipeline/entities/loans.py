"""Loans: the instalment that follows from the terms, and loan-to-value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

if TYPE_CHECKING:
    from pyspark.sql import Column


def clean() -> dict[str, Column]:
    """Upper-case currency, lower-case names of kinds and states."""
    return {
        "currency": F.upper("currency"),
        "product": F.lower("product"),
        "repayment_type": F.lower("repayment_type"),
        "status": F.lower("status"),
        "collateral_type": F.lower("collateral_type"),
    }


def enrich() -> dict[str, Column]:
    """Monthly instalment and loan-to-value.

    The annuity formula is ``principal * r / (1 - (1 + r) ** -n)`` with the monthly rate
    ``r = annual_rate / 12`` and ``n = term_months``; without interest it is ``principal / n``.
    """
    # In SQL, because try_cast (a result too large for its type is null, not an error) is only there.
    annuity = (
        "if(annual_rate = 0, principal / term_months, principal * double(annual_rate) / 12"
        " / (1 - pow(1 + double(annual_rate) / 12, -term_months)))"
    )
    interest = "principal * double(annual_rate) / 12"
    return {
        "monthly_installment": F.expr(
            f"try_cast(round(CASE repayment_type WHEN 'annuity' THEN {annuity}"
            f" WHEN 'interest_only' THEN {interest} END, 2) AS decimal(18,2))"
        ),
        "loan_to_value": F.expr(
            "try_cast(outstanding_principal / nullif(collateral_value, 0) AS decimal(18,6))"
        ),
    }
