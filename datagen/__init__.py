"""Synthetic finance data, reproducible to the byte: customers, accounts, loans, payments, transactions.

>>> from datagen import generate, read_manifests
>>> manifest = generate("data/bronze", scale=1000, batch=0)  # doctest: +SKIP
>>> manifest.entities["customers"].inserted  # doctest: +SKIP
1000

In memory, as Polars frames:

>>> from datagen import tables
>>> tables("neobank", seed=7, scale=10)["customers"].height
10
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datagen.errors import BadRequestError, GenerateError
from datagen.manifest import EntityManifest, FileEntry, Manifest

if TYPE_CHECKING:
    from datagen.generator import Progress, generate, read_manifests, tables

__all__ = [
    "BadRequestError",
    "EntityManifest",
    "FileEntry",
    "GenerateError",
    "Manifest",
    "Progress",
    "generate",
    "read_manifests",
    "tables",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    """Load NumPy, Polars and Faker only when something is generated."""
    if name in ("Progress", "generate", "read_manifests", "tables"):
        from datagen import generator

        return getattr(generator, name)
    raise AttributeError(f"module 'datagen' has no attribute {name!r}")
