"""Fixtures for pytest, there as soon as finlake is installed: believable bank data in one line of a test."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import polars as pl

    from datagen.manifest import Manifest

BankTables = Callable[..., Mapping[str, "pl.DataFrame"]]
BankFiles = Callable[..., "Manifest"]


@pytest.fixture(scope="session")
def bank_tables() -> BankTables:
    """Function that makes the tables of a bank: ``bank_tables("neobank", seed=7, scale=100)``.

    It takes the arguments of :func:`datagen.tables`. The same arguments give the same frames, which are made
    once in a session.
    """
    made: dict[str, Mapping[str, pl.DataFrame]] = {}

    def tables(*args: object, **kwargs: object) -> Mapping[str, pl.DataFrame]:
        from datagen import tables as make

        key = repr((args, sorted(kwargs.items())))
        if key not in made:
            made[key] = make(*args, **kwargs)  # type: ignore[arg-type]
        return dict(made[key])

    return tables


@pytest.fixture
def bank_files(tmp_path: object) -> BankFiles:
    """Function that writes a batch below ``tmp_path``: ``bank_files(scale=100, dirty=0.1)``.

    It takes the options of :func:`datagen.generate`, and returns the manifest.
    """

    def files(**options: object) -> Manifest:
        from datagen import generate

        return generate(tmp_path, **options)  # type: ignore[arg-type]

    return files
