"""Money as whole minor units, in which sums are exact and quick, and back. Pure functions of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

if TYPE_CHECKING:
    from pyspark.sql import Column


def minor_units(amount: Column, places: int = 2) -> Column:
    """A DECIMAL as a BIGINT of its smallest unit: cents, for two places."""
    return (amount * F.lit(10**places)).cast("bigint")


def from_minor_units(units: Column, places: int = 2) -> Column:
    """The DECIMAL(28) with so many places that a BIGINT of its smallest unit is."""
    return (units.cast("decimal(20,0)") * F.expr(f"1e-{places}bd")).cast(f"decimal(28,{places})")
