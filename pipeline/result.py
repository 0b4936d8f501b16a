"""Rows of a query, whichever engine has answered it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Result:
    """Rows of a query.

    Attributes:
        columns: Column names.
        rows: Values as Python objects.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
