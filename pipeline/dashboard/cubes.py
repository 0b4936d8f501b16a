"""What the page adds up: sums per combination of the columns that people filter by.

A cube is one statement of SQL over one table. It has one row per combination of its dimensions, however
many customers there are: ten million of them are a few thousand combinations. Should there be more than
:data:`MOST_CELLS`, it gets coarser (days to months, rare names to one) and says so; the sums stay the same.
What must not become one, such as currencies, may take it beyond that; from :data:`LARGEST_CUBE` on, it is not
on the page at all, and the page says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal

from pipeline.dashboard.formulas import Part, take_apart
from pipeline.gold.kpis import KPIS, Kpi

if TYPE_CHECKING:
    import duckdb

MOST_CELLS: Final = 60_000
LARGEST_CUBE: Final = 250_000
TOO_LARGE: Final = "too many combinations"
MOST_NAMES: Final = 200
FEW_NAMES: Final = 20
LARGEST_EXACT: Final = 2**53
OTHER: Final = "(other)"

Grain = Literal["day", "month", "quarter", "year"]
_COARSER: Final[dict[Grain, Grain]] = {"day": "month", "month": "quarter", "quarter": "year"}

KPI: Final[dict[str, Kpi]] = {kpi.name: kpi for kpi in KPIS}


@dataclass(frozen=True)
class Dimension:
    """A column of a cube.

    Attributes:
        column: Column of the table.
        grain: For dates, what they are rounded down to; None for anything else.
        most: For names, how many there may be: the rarest become one, called :data:`OTHER`. None for names
            that must not become one: amounts in different currencies are never added up, nor what became of
            loans at different ages.
    """

    column: str
    grain: Grain | None = None
    most: int | None = MOST_NAMES

    def coarser(self, steps: int, most: int) -> Dimension:
        """The dimension, its dates rounded down by some steps more, and with so many names at most."""
        grain = self.grain
        for _ in range(steps if grain else 0):
            grain = _COARSER.get(grain or "year", "year")
        return replace(self, grain=grain, most=self.most and min(most, self.most))

    def sql(self, table: str) -> str:
        """The dimension of a row, as an expression of DuckDB's."""
        column = f'"{self.column}"'
        if self.grain == "day":
            return f"CAST({column} AS DATE)"
        if self.grain:
            return f"CAST(date_trunc('{self.grain}', {column}) AS DATE)"
        name = f"CAST({column} AS VARCHAR)"
        if self.most is None:
            return name
        frequent = (
            f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL "
            f"GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {self.most}"
        )
        return f"CASE WHEN {column} IS NULL OR {column} IN ({frequent}) THEN {name} ELSE '{OTHER}' END"


@dataclass(frozen=True)
class Cube:
    """Key figures of one table, for any selection by its dimensions.

    Attributes:
        name: What the page calls it.
        dimensions: What can be filtered by and broken down by.
        kpis: Names of key figures; all of the same table.
        only: Column that must be greater than zero for a row to be of interest; other rows have nothing that
            these figures count.
    """

    name: str
    dimensions: tuple[Dimension, ...]
    kpis: tuple[str, ...]
    only: str | None = None

    @property
    def table(self) -> str:
        """The table, as ``layer.table``."""
        return KPI[self.kpis[0]].table

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is aggregated, each once."""
        found = {part.sql: part for name in self.kpis for part in take_apart(KPI[name].formula).parts}
        return tuple(found.values())

    @property
    def columns(self) -> frozenset[str]:
        """Columns of the table that are read."""
        read = {dimension.column for dimension in self.dimensions} | ({self.only} if self.only else set())
        return frozenset(read.union(*(take_apart(KPI[name].formula).columns for name in self.kpis)))

    def available(self, columns: set[str]) -> Cube | None:
        """The cube with the key figures that a table with these columns allows; None if it has none."""
        if not {*(dimension.column for dimension in self.dimensions), *filter(None, [self.only])} <= columns:
            return None
        kpis = tuple(name for name in self.kpis if take_apart(KPI[name].formula).columns <= columns)
        return replace(self, kpis=kpis) if kpis else None

    def sql(self) -> str:
        """The statement: dimensions, then parts."""
        groups = [dimension.sql(self.table) for dimension in self.dimensions]
        chosen = [f"{sql} AS d{number}" for number, sql in enumerate(groups)]
        chosen += [f"{part.sql} AS p{number}" for number, part in enumerate(self.parts)]
        numbers = ", ".join(str(number) for number in range(1, len(groups) + 1))
        by = f" GROUP BY {numbers} ORDER BY {numbers}" if groups else ""  # the same page of the same tables
        return f"SELECT {', '.join(chosen)} FROM {self.table}{self._where}{by}"

    def cells(self) -> str:
        """A statement that counts the combinations."""
        groups = ", ".join(dimension.sql(self.table) for dimension in self.dimensions)
        return f"SELECT count(*) FROM (SELECT DISTINCT {groups} FROM {self.table}{self._where})"

    @property
    def _where(self) -> str:
        return f' WHERE "{self.only}" > 0' if self.only else ""

    def coarser(self) -> Iterator[Cube]:
        """The cube, then coarser and coarser ones."""
        yield self
        for step in range(len(_COARSER) + 1):
            for most in (MOST_NAMES, FEW_NAMES):
                yield replace(self, dimensions=tuple(item.coarser(step, most) for item in self.dimensions))


def compute(cube: Cube, connection: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """The cube as JSON can hold it, column by column.

    Returns:
        ``table``, ``kpis`` (names), ``dimensions`` (``name``, ``grain``, its ``values`` in order, and per
        cell the ``codes``, positions in them), ``parts`` (``sql``, ``kind``, ``empty``, and per cell the
        ``values``, integers to be multiplied by 10 to the power of minus ``scale``) and ``notes``. Only
        ``table``, and ``missing`` that says why, if even the coarsest has more than ``LARGEST_CUBE`` cells.
    """

    def cells(of: Cube) -> int:
        return _one(connection, of.cells()) if of.dimensions else 1

    chosen = cube
    if cells(cube) > MOST_CELLS:
        _, *between, coarsest = cube.coarser()
        least = cells(coarsest)
        if least > LARGEST_CUBE:
            return {"table": cube.table, "missing": TOO_LARGE}
        fitting = (item for item in between if least <= MOST_CELLS and cells(item) <= MOST_CELLS)
        chosen = next(fitting, coarsest)
    cursor = connection.execute(chosen.sql())
    rows = cursor.fetchall()
    width = len(chosen.dimensions)
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * (width + len(cube.parts))
    return {
        "table": cube.table,
        "kpis": list(cube.kpis),
        "dimensions": [
            _dimension(dimension, values)
            for dimension, values in zip(chosen.dimensions, columns[:width], strict=True)
        ],
        "parts": [
            {"sql": part.sql, "kind": part.kind, "empty": part.empty} | _scaled(values)
            for part, values in zip(cube.parts, columns[width:], strict=True)
        ],
        "notes": _notes(cube, chosen, columns),
    }


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    row = connection.execute(sql).fetchone()
    return int(row[0]) if row else 0


def _dimension(dimension: Dimension, values: Sequence[Any]) -> dict[str, Any]:
    known = sorted({value for value in values if value is not None}, key=_order)
    positions: dict[Any, int | None] = {value: position for position, value in enumerate(known)}
    positions[None] = None
    return {
        "name": dimension.column,
        "grain": dimension.grain,
        "values": [value.isoformat() if isinstance(value, date) else value for value in known],
        "codes": [positions[value] for value in values],
    }


def _order(value: Any) -> tuple[bool, int, str]:  # noqa: ANN401 - dates and texts
    """Numbers by size, and what stands for the rest last."""
    text = str(value)
    return text == OTHER, int(text) if text.isdigit() else -1, text


def _scaled(values: Sequence[Any]) -> dict[str, Any]:
    """Numbers as integers that a browser adds up exactly, also all of them together.

    JavaScript's numbers are exact up to 2^53. Beyond that, which in cents is 90 trillion, last digits go.
    """
    known = [Decimal(str(value)) for value in values if value is not None]
    exponents = [value.as_tuple().exponent for value in known]
    scale = max((-exponent for exponent in exponents if isinstance(exponent, int)), default=0)
    total = sum(map(abs, known), Decimal(0))
    while total.scaleb(scale) >= LARGEST_EXACT:
        scale -= 1
    return {
        "scale": scale,
        "values": [None if value is None else round(Decimal(str(value)).scaleb(scale)) for value in values],
    }


def _notes(cube: Cube, chosen: Cube, columns: Sequence[Sequence[Any]]) -> list[str]:
    notes = []
    for wanted, got, values in zip(cube.dimensions, chosen.dimensions, columns, strict=False):
        name = wanted.column.replace("_", " ")
        if wanted.grain != got.grain:
            notes.append(f"Too many combinations to show {name} by {wanted.grain}: it is by {got.grain}.")
        if OTHER in values:
            notes.append(
                f"Only the {got.most} most frequent values of {name} are shown; the rest is {OTHER}."
            )
    return notes
