"""What must hold for a mart: its totals are those of its inputs, to the cent, and no count is negative.

The same is checked by a run, in Spark, and by ``finlake verify``, in DuckDB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from pipeline.gold.mart import Mart, Total


def problems(mart: Mart, found: Sequence[Any], wanted: Sequence[Any], bad_rows: int | None) -> list[str]:
    """Compare a mart's totals with those of its inputs; what differs, in words."""
    said = [
        f"{total.mart} is {mine}, but {total.source} of {total.table} is {theirs}"
        for total, mine, theirs in zip(mart.totals, found, wanted, strict=True)
        if (mine or 0) != (theirs or 0)
    ]
    return said + ([f"{bad_rows:,} rows have a negative count, or none"] if bad_rows else [])


def joined(mart: Mart) -> list[Total]:
    """Totals that take more than rows of the mart, and of one input."""
    return [total for total in mart.totals if total.rows or total.where]


def queries(totals: Sequence[Total], relations: Mapping[str, str]) -> Iterator[tuple[list[Total], str, str]]:
    """Statements that give totals of the mart and of what it is built from; those of the same rows together.

    Args:
        totals: Totals of one mart.
        relations: How inputs are called in SQL, by name, and the mart, as ``mart``.

    Returns:
        The totals, and for each statement its text: one row with a column for each total.
    """

    def by(total: Total) -> tuple[str, str, str]:
        return total.table, total.rows, total.where

    for (table, rows, where), group in groupby(sorted(totals, key=by), by):
        same = list(group)
        chosen = f"{{mart}} WHERE {where}" if where else "{mart}"
        alone = f"{{{table.replace('.', '_')}}}"
        yield (
            same,
            _select([total.mart for total in same], chosen, relations),
            _select([total.source for total in same], rows or alone, relations),
        )


def _select(aggregates: Sequence[str], rows: str, relations: Mapping[str, str]) -> str:
    named = ", ".join(f"{sql} AS a{number}" for number, sql in enumerate(aggregates))
    return f"SELECT {named} FROM {rows.format_map(relations)}"


def values_of(
    totals: Sequence[Total], relations: Mapping[str, str], answer: Callable[[str], Sequence[Any]]
) -> dict[Total, tuple[Any, Any]]:
    """What each total is in the mart and in what it is built from; ``answer`` gives a statement's one row."""
    found: dict[Total, tuple[Any, Any]] = {}
    for same, mine, theirs in queries(totals, relations):
        found |= zip(same, zip(answer(mine), answer(theirs), strict=True), strict=True)
    return found


def bad_counts(mart: Mart) -> str:
    """SQL aggregate: in how many rows a count is negative or null."""
    wrong = " OR ".join(f"{name} IS NULL OR {name} < 0" for name in mart.counts) or "false"
    return f"sum(CASE WHEN {wrong} THEN 1 ELSE 0 END)"
