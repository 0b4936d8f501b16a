"""The fixtures of the tables in ``docs/emulators.md``: columns, and what a run finds out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import pytest
from checks import Aws
from containers import compose, engine
from emulators import EMULATORS, Emulator
from page import PAGE, with_outcomes
from suite import CHECKS

__all__ = ["compose", "engine"]  # fixtures


@pytest.fixture(scope="session")
def seen(writes: bool) -> Iterator[dict[str, dict[str, str]]]:
    """What this run has found out; at its end it is written, if that was asked for."""
    outcomes: dict[str, dict[str, str]] = defaultdict(dict)
    yield outcomes
    if writes:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(with_outcomes(page, outcomes, CHECKS, EMULATORS), encoding="utf-8")


@pytest.fixture(
    scope="module", params=[pytest.param(each, id=each.name, marks=each.marks) for each in EMULATORS]
)
def emulator(request: pytest.FixtureRequest) -> Emulator:
    return request.param


@pytest.fixture(scope="module")
def aws(emulator: Emulator, request: pytest.FixtureRequest) -> Iterator[Aws]:
    """The emulator, started."""
    with emulator.start(request.getfixturevalue) as endpoint:
        yield Aws(endpoint)
