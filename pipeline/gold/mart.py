"""A mart: what it reads, what it looks like, how it is built, and what its rows must add up to.

The versions of the tables that a mart was built from, and the text of its definition, are written into
the Delta commit that holds its data. So a mart and the knowledge of what it stands on can never
disagree, and a mart whose inputs and definition are unchanged is not touched. One whose run was killed
between writing and checking it is marked, and built anew.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from types import ModuleType
from typing import TYPE_CHECKING

from pipeline.gold.increments import Slices, Sums, Windows
from pipeline.settings import Settings
from pipeline.tables import (
    TableColumn,
    newest_metadata,
    rows_are_those_of,
    table_version,
    unchecked_since,
)

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

GOLD = "gold"


@dataclass(frozen=True)
class Total:
    """A sum, count or greatest value that must be the same in a mart and in one of its inputs.

    Attributes:
        mart: SQL aggregate over the mart's rows.
        table: The input.
        source: SQL aggregate over the input's rows.
        rows: What follows FROM, where rows of the input alone do not tell: ``{name}`` stands for an input
            called so (of one that is a mart, after ``gold_``), ``{mart}`` for the mart.
        where: Condition on the mart's rows, if not all count; ``{mart}`` as well.

    Spark, DuckDB and DataFusion run all of it.
    """

    mart: str
    table: str
    source: str
    rows: str = ""
    where: str = ""


@dataclass(frozen=True)
class Mart:
    """A Gold table.

    Attributes:
        name: Table name.
        description: What one row is (the grain), in a sentence.
        inputs: Tables that it reads: of Silver by their name, other marts as ``gold.name``.
        columns: Columns in order.
        build: Input tables by name -> the mart.
        key: Columns of the grain: no two rows have the same values there.
        increment: How it follows changes of its inputs; None when it is always built anew.
        totals: What must add up.
        partition_by: Columns that its folders are divided by.
        cluster_by: Columns that maintenance orders its rows by.
        is_large: Whether it has about as many rows as its inputs, so that one file would be too much.
        shown_where: Column that is above zero in the rows that dashboards show; the others are about what is
            yet to come. None when all are shown.
    """

    name: str
    description: str
    inputs: tuple[str, ...]
    columns: tuple[TableColumn, ...]
    build: Callable[[dict[str, DataFrame]], DataFrame]
    key: tuple[str, ...] = ()
    increment: Sums | Slices | Windows | None = None
    totals: tuple[Total, ...] = ()
    partition_by: tuple[str, ...] = ()
    cluster_by: tuple[str, ...] = ()
    is_large: bool = False
    shown_where: str | None = None

    @property
    def definition(self) -> str:
        """Changes when the module that builds the mart changes, or one of Gold from which it takes code."""
        module = inspect.getmodule(self.build)
        modules = _with_what_it_takes(module) if module else [self.build]
        source = "".join(inspect.getsource(one) for one in modules)
        return hashlib.sha256(source.encode()).hexdigest()[:16]

    @property
    def input_marts(self) -> tuple[str, ...]:
        """Names of the marts among the inputs."""
        return tuple(name.removeprefix(f"{GOLD}.") for name in self.inputs if name.startswith(f"{GOLD}."))

    @property
    def reads(self) -> dict[str, set[str]]:
        """By input, the columns that matter to a mart that follows its inputs; none of one that does not."""
        if self.increment is None:
            return {}
        if isinstance(self.increment, Slices):
            return {name: set(columns) for name, columns in self.increment.reads.items()}
        lookup = self.increment.lookup
        return {self.increment.fact: set(self.increment.reads)} | (
            {lookup.table: set(lookup.columns)} if lookup else {}
        )

    @property
    def counts(self) -> tuple[str, ...]:
        """Columns that count something, so are never negative and never null."""
        return tuple(c.name for c in self.columns if c.name.endswith("_count") and c.type == "bigint")


def _with_what_it_takes(module: ModuleType) -> list[ModuleType]:
    """A module and those of Gold whose functions and classes it uses, itself first; not this one."""
    found = {module.__name__: module}
    waiting = [module]
    while waiting:
        for value in vars(waiting.pop()).values():
            name = str(getattr(value, "__module__", ""))
            is_code = inspect.isfunction(value) or inspect.isclass(value)
            if is_code and name.startswith(f"{__package__}.") and name not in {*found, __name__}:
                found[name] = sys.modules[name]
                waiting.append(found[name])
    return [module, *(found[name] for name in sorted(found) if name != module.__name__)]


def input_uri(name: str, settings: Settings) -> str:
    """Where a mart's input is: a table of Silver, or ``gold.name``."""
    layer, _, table = name.rpartition(".")
    return settings.table_uri(layer or "silver", table)


def input_versions(names: Iterable[str], settings: Settings) -> dict[str, int]:
    """Present versions of these inputs; -1 for one that is not there."""
    return {name: table_version(input_uri(name, settings)) for name in names}


def in_order(marts: Sequence[Mart]) -> list[list[Mart]]:
    """The marts in levels: each reads marts of earlier levels only.

    Raises:
        ValueError: Marts read each other in a circle, or one that is not there.
    """
    known = {mart.name: mart for mart in marts}
    missing = {name for mart in marts for name in mart.input_marts} - set(known)
    if missing:
        raise ValueError(f"there is no mart {', '.join(sorted(missing))}")
    sorter = TopologicalSorter({mart.name: mart.input_marts for mart in marts})
    sorter.prepare()
    levels = []
    while sorter.is_active():
        ready = sorter.get_ready()
        levels.append([mart for mart in marts if mart.name in ready])
        sorter.done(*ready)
    return levels


def built_from(mart: Mart, settings: Settings) -> dict[str, object] | None:
    """What the stored mart was built from, or None when it has never been built."""
    metadata = newest_metadata(settings.table_uri(GOLD, mart.name))
    return dict(json.loads(metadata)) if metadata else None


def versions_built_from(mart: Mart, settings: Settings) -> dict[str, int] | None:
    """Versions of the inputs that the stored mart has.

    None when it is not of the present definition, or when what built it ended before it had checked it.
    """
    built = built_from(mart, settings)
    if (
        unchecked_since(settings.table_uri(GOLD, mart.name)) is not None
        or built is None
        or built.get("definition") != mart.definition
    ):
        return None
    inputs = built.get("inputs")
    return inputs if isinstance(inputs, dict) and inputs.keys() == set(mart.inputs) else None


def is_current(mart: Mart, versions: dict[str, int], settings: Settings) -> bool:
    """Whether the stored mart was built by this definition from the rows of these versions."""
    before = versions_built_from(mart, settings)
    return before is not None and all(
        version == versions[name] or rows_are_those_of(input_uri(name, settings), version)
        for name, version in before.items()
    )


def provenance(mart: Mart, versions: dict[str, int]) -> str:
    """What the commit of a mart says that was built from these versions: Delta's ``userMetadata``."""
    return json.dumps({"inputs": dict(sorted(versions.items())), "definition": mart.definition})
