"""What all tests share: settings of hypothesis, and a lake in a temporary folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from lakehouse import stack, story

from emulator import native
from pipeline.settings import Settings

__all__ = ["stack", "story"]  # fixtures of the whole lakehouse, for every folder of tests

WRITE_TABLE = "--write-table"

# Machines that run tests are busy: how long an example takes says nothing.
hypothesis_settings.register_profile("finlake", deadline=None)
hypothesis_settings.load_profile("finlake")


@pytest.hookimpl(tryfirst=True)  # before xdist, which looks at the marks that are set by then
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Which tests go to the same worker when they run side by side, as `make test` has them.

    There is one Spark session and one stack for all tests that use it; else, a file's fixtures are its own.
    """
    for item in items:
        group = item.path.as_posix()
        if "stack" in getattr(item, "fixturenames", ()):
            group = "stack"
        elif item.get_closest_marker("spark"):
            group = "spark"
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_finish(session: pytest.Session) -> None:
    """See that the groups are heeded: versions that do not fit together would mix all tests in silence."""
    grouped = "PYTEST_XDIST_WORKER" in os.environ and session.config.getoption("loadgroup", default=False)
    if grouped and (alone := [item.nodeid for item in session.items if "@" not in item.nodeid]):
        raise pytest.UsageError(f"pytest {pytest.__version__} and its xdist do not group {alone[0]}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(WRITE_TABLE, action="store_true", help="write what a run finds out into the docs")


@pytest.fixture(scope="session")
def writes(pytestconfig: pytest.Config) -> bool:
    """Whether this run writes the tables in the docs instead of comparing with them."""
    return bool(pytestconfig.getoption(WRITE_TABLE))


@pytest.fixture(scope="session", autouse=True)
def ports_of_this_worker(worker_id: str) -> Iterator[None]:
    """Spark servers of workers side by side do not look for a free port at the same place."""
    number = int(worker_id.removeprefix("gw")) + 1 if worker_id.startswith("gw") else 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "SPARK_PORT", native.SPARK_PORT + 100 * number)
        patch.setattr(native, "SPARK_UI_PORT", native.SPARK_UI_PORT + 100 * number)
        yield


@pytest.fixture(scope="session")
def lake_at() -> Callable[[Path], Settings]:
    """Settings of a lake below a folder of the local disk, which needs no emulator."""

    def settings(folder: Path) -> Settings:
        return Settings(
            env="test",
            bronze_uri=f"file://{folder}/bronze",
            silver_uri=f"file://{folder}/silver",
            gold_uri=f"file://{folder}/gold",
        )

    return settings


@pytest.fixture
def lake(lake_at: Callable[[Path], Settings], tmp_path: Path) -> Settings:
    """Settings of an empty lake of the test's own."""
    return lake_at(tmp_path / "lake")
