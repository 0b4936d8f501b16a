"""What is particular to each entity: how its texts are normalised, and what Silver adds to it.

One module per entity, named like its contract, with two pure functions:

- ``clean() -> dict[str, Column]``: source columns whose text is normalised before it is typed;
- ``enrich() -> dict[str, Column]``: the contract's derived columns, from typed columns.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from pyspark.sql import Column


class EntityModule(Protocol):
    """What a module of this package offers."""

    def clean(self) -> dict[str, Column]:
        """Normalised text of source columns, by column name."""

    def enrich(self) -> dict[str, Column]:
        """Derived columns, by column name."""


def entity_module(entity: str) -> EntityModule:
    """The module of an entity.

    Raises:
        ModuleNotFoundError: The entity has a contract, but no module here.
    """
    return cast(EntityModule, import_module(f"pipeline.entities.{entity}"))
