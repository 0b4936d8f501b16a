"""What must hold for a mart: its totals are those of its inputs, to the cent, and no count is negative.

The same is checked by a run, in Spark, and by ``finlake verify``, in DuckDB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.gold.mart import Mart


def problems(mart: Mart, found: Sequence[Any], wanted: Sequence[Any], bad_rows: int | None) -> list[str]:
    """Compare a mart's totals with those of its inputs; what differs, in words."""
    said = [
        f"{total.mart} is {mine}, but {total.source} of {total.table} is {theirs}"
        for total, mine, theirs in zip(mart.totals, found, wanted, strict=True)
        if (mine or 0) != (theirs or 0)
    ]
    return said + ([f"{bad_rows:,} rows have a negative count, or none"] if bad_rows else [])


def bad_counts(mart: Mart) -> str:
    """SQL aggregate: in how many rows a count is negative or null."""
    wrong = " OR ".join(f"{name} IS NULL OR {name} < 0" for name in mart.counts) or "false"
    return f"sum(CASE WHEN {wrong} THEN 1 ELSE 0 END)"
