"""The data card: one HTML file that shows what was generated, without anything from the network."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import polars as pl
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from contracts import Column, load_contracts
from datagen.errors import GenerateError
from datagen.generator import ENTITIES
from datagen.manifest import Manifest
from datagen.profile import Profile
from datagen.schedule import Plan

BARS = 12
"""Greatest number of bars in a plot of categories, besides the one of all others."""
MOST_CATEGORIES = 4 * BARS
"""With more values than this, a text is no category."""
BINS = 24
"""Bars of a plot of numbers or dates."""
_EDGES = (0.005, 0.995)
"""Quantiles between which numbers are plotted; few are beyond."""
_LONG_TAIL = 8
"""How many times the median the end of a plot is, from which on it is a logarithmic one."""


@dataclass(frozen=True)
class Bar:
    """One bar of a plot.

    Attributes:
        label: What it stands for.
        rows: How many rows.
        percent: Its length, as a share of the longest one.
    """

    label: str
    rows: int
    percent: float


@dataclass(frozen=True)
class ColumnCard:
    """What is shown of a column.

    Attributes:
        column: The column, as in its contract.
        missing: Share of rows without a value.
        distinct: How many values there are.
        kind: ``categories``, ``numbers``, ``dates`` or ``texts``.
        bars: The plot; none for texts.
        examples: Some values, for texts.
        low: Least value, for numbers and dates.
        middle: Median.
        high: Greatest value.
        scale: ``linear``, or ``logarithmic``: how wide the bars of numbers are.
    """

    column: Column
    missing: float
    distinct: int
    kind: str
    bars: tuple[Bar, ...] = ()
    examples: tuple[str, ...] = ()
    low: str = ""
    middle: str = ""
    high: str = ""
    scale: str = "linear"


def write_card(file: Path, manifests: Sequence[Manifest], profile: Profile) -> None:
    """Describe generated batches in an HTML file.

    Counts are those of the manifests; plots are of the clean rows of each entity's first block (some 100,000
    rows) in the first of the batches.

    Args:
        file: The HTML file to write.
        manifests: Batches of the same data, at least one.
        profile: Profile they were made with.

    Raises:
        GenerateError: The file cannot be written.
    """
    first = manifests[0]
    plan = Plan(first.seed, first.scale, profile)
    contracts = load_contracts()
    entities = []
    for entity in ENTITIES:
        contract = contracts[entity.name]
        rows = entity.rows(plan, entity.block(plan, first.batch, 0).index, first.batch)
        columns = [describe_column(column, rows[column.name]) for column in contract.source_columns]
        entities.append({"contract": contract, "columns": columns, "rows": rows.height})
    relations = [
        (name, column.name, column.parent_entity, column.parent_column)
        for name, contract in contracts.items()
        for column in contract.parents
    ]
    kinds = list(
        dict.fromkeys(kind for one in manifests for entity in one.entities.values() for kind in entity.dirt)
    )
    html = _template().render(
        manifests=manifests,
        first=first,
        entities=entities,
        relations=relations,
        kinds=kinds,
        rates={key: value for key, value in vars(profile).items() if isinstance(value, float)},
    )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(html, encoding="utf-8")
    except OSError as error:
        raise GenerateError(
            f"{file}: {error.strerror or error}; choose another file for --describe"
        ) from error


def describe_column(column: Column, values: pl.Series) -> ColumnCard:
    """Say what a column holds, and plot it.

    Args:
        column: The column, as in its contract.
        values: Its values.
    """
    present = values.drop_nulls()
    missing = values.null_count() / max(len(values), 1)
    distinct = present.n_unique()
    if present.is_empty():
        return ColumnCard(column, missing, 0, "texts")
    if values.dtype.is_temporal():
        return ColumnCard(column, missing, distinct, "dates", _dates(present), (), *_range(present.dt.date()))
    if values.dtype.is_numeric():
        bars, scale = _numbers(present)
        return ColumnCard(column, missing, distinct, "numbers", bars, (), *_range(present), scale)
    if distinct <= MOST_CATEGORIES or column.allowed_values:
        return ColumnCard(column, missing, distinct, "categories", _categories(present))
    examples = tuple(present.unique(maintain_order=True).head(3).to_list())
    return ColumnCard(column, missing, distinct, "texts", examples=examples)


def _range(values: pl.Series) -> tuple[str, str, str]:
    """Least value, median and greatest value, as text."""
    ordered = values.sort()
    low, middle, high = (
        f"{value:,}" if values.dtype.is_numeric() else str(value)
        for value in (ordered[0], ordered[len(ordered) // 2], ordered[-1])
    )
    return low, middle, high


def _categories(values: pl.Series) -> tuple[Bar, ...]:
    counts = [(str(value), rows) for value, rows in values.value_counts(sort=True).rows()]
    others = counts[BARS:]
    rest = [(f"{len(others)} others", sum(rows for _, rows in others))] if others else []
    return _bars(counts[:BARS] + rest)


def _numbers(values: pl.Series) -> tuple[tuple[Bar, ...], str]:
    """Bars of equal width between the least and the greatest of nearly all values, and how they are scaled.

    Of amounts with a long tail, the first bar would hold nearly all: theirs are of equal width by logarithm.
    """
    numbers = values.cast(pl.Float64)
    low, high, middle = (numbers.quantile(edge) or 0.0 for edge in (*_EDGES, 0.5))
    inside = numbers.filter((numbers >= low) & (numbers <= high))
    long_tailed = low > 0 and high > _LONG_TAIL * middle
    if long_tailed:
        inside, low, high = inside.log(), math.log(low), math.log(high)
    width = (high - low) / BINS or 1.0
    place = ((inside - low) / width).cast(pl.Int64).clip(0, BINS - 1)
    counts = dict(place.value_counts().iter_rows())
    edges = [low + width * n for n in range(BINS if high > low else 1)]
    bars = [
        (f"{math.exp(edge) if long_tailed else edge:,.2f} and on", counts.get(n, 0))
        for n, edge in enumerate(edges)
    ]
    return _bars(bars), "logarithmic" if long_tailed else "linear"


def _dates(values: pl.Series) -> tuple[Bar, ...]:
    """Bars by day, month or year, whichever are not too many."""
    days = values.cast(pl.Date)
    for length in ("1d", "1mo", "1y", "10y"):
        counts = days.dt.truncate(length).value_counts().sort(days.name).rows()
        if len(counts) <= 4 * BINS:
            break
    return _bars([(str(day), rows) for day, rows in counts])


def _bars(counts: list[tuple[str, int]]) -> tuple[Bar, ...]:
    longest = max((rows for _, rows in counts), default=0) or 1
    return tuple(Bar(label, rows, 100 * rows / longest) for label, rows in counts)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("card.html.j2")
