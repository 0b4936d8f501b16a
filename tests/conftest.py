"""What all tests share: settings of hypothesis, and a lake in a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from lakehouse import stack, story

from pipeline.settings import Settings

__all__ = ["stack", "story"]  # fixtures of the whole lakehouse, for every folder of tests

# Machines that run tests are busy: how long an example takes says nothing.
hypothesis_settings.register_profile("finlake", deadline=None)
hypothesis_settings.load_profile("finlake")


@pytest.fixture
def lake(tmp_path: Path) -> Settings:
    """Settings of an empty lake on the local disk, which needs no emulator."""
    return lake_at(tmp_path / "lake")


def lake_at(folder: Path) -> Settings:
    """Settings of a lake below ``folder``."""
    return Settings(
        env="test",
        bronze_uri=f"file://{folder}/bronze",
        silver_uri=f"file://{folder}/silver",
        gold_uri=f"file://{folder}/gold",
    )
