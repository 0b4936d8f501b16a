"""Which columns of its inputs each column of a mart is made from.

Marts are built by code, which does not declare it, and to ask Spark for its plan takes a private door. So a
test asks, writes ``lineage.json`` beside this module (``make lineage``), and fails when a mart has changed
and the file has not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("lineage.json")
INDIRECT = ("FILTER", "GROUP_BY", "JOIN", "WINDOW")  # ways in which a value is not made from it


@dataclass(frozen=True)
class MartLineage:
    """Where what a mart says comes from. Columns of inputs are ``table.column``, with ``gold.`` if of a mart.

    Attributes:
        columns: By column of the mart, the columns of inputs that its value is computed from, each with how:
            ``IDENTITY``, ``TRANSFORMATION``, ``AGGREGATION``, or ``WINDOW`` for what only sets the rows of a
            window apart or in order (OpenLineage's words).
        rows: Columns of inputs that decide which rows are counted where, each with how: ``FILTER``, ``JOIN``,
            ``GROUP_BY``.
    """

    columns: dict[str, dict[str, str]]
    rows: dict[str, list[str]]


@cache
def mart_lineage() -> dict[str, MartLineage]:
    """The lineage of all marts, by name."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return {name: MartLineage(**parts) for name, parts in found.items()}
