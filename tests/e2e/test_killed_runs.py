"""A run that is killed, again and again, leaves a lake that the next run completes.

Here whole processes die, as users kill them: with a Spark of their own, or as clients of a Spark
server that goes on with what it was doing. An interruption after each single step of a load is
tested in ``tests/spark``.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import psutil
import pytest
from lakehouse import Lakehouse, Story, generate, lakehouse
from polars.testing import assert_frame_equal

from contracts import entities, load_contracts
from emulator.native import NativeStack
from pipeline.gold import MARTS
from pipeline.history import table_name
from pipeline.storage import list_objects

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.emulator,
    pytest.mark.spark,
    pytest.mark.timeout(1800),
    pytest.mark.slow,
]

CRASH = Path(__file__).with_name("crash.py")
SECONDS_TO_DIE = 60


@dataclass(frozen=True)
class AtTime:
    """Killed some time after a line on stderr; the seconds are drawn between these two."""

    line: str
    earliest: float
    latest: float
    own_spark: bool = False

    def __str__(self) -> str:
        return f"{self.line!r} + {self.earliest} to {self.latest} s"


@dataclass(frozen=True)
class After:
    """Killed right after a step for an entity."""

    step: str
    entity: str

    def __str__(self) -> str:
        return f"{self.step} of {self.entity}"


# Each run goes on where the one before was killed. A second batch arrives between the two lists.
INITIAL_LOAD = (
    AtTime("customers: reading", 0.5, 5.0, own_spark=True),
    AtTime("accounts: ", 0.1, 3.0),
    After("pipeline.silver:write_quarantine", "transactions"),
)
# In the order of a batch's steps, and of the entities.
INCREMENT = (
    After("pipeline.ledger:Ledger.start_run", "any"),
    After("pipeline.ledger:Ledger._put_files", "accounts"),
    After("pipeline.ledger:Ledger.begin", "accounts"),
    After("pipeline.silver:undo_attempts", "accounts"),
    After("pipeline.silver:count_rows", "any"),
    After("pipeline.silver:write_silver", "accounts"),
    After("pipeline.silver:write_history", "accounts"),
    After("pipeline.ledger:Ledger.commit", "payments"),
    After("pipeline.refresh:refresh", "any"),
)


@pytest.fixture(scope="module")
def survivor(stack: NativeStack) -> Lakehouse:
    """A lake whose runs were all killed, but for the last one."""
    lake = lakehouse(stack, "killed")
    rng = random.Random(time.time_ns())  # noqa: S311 - other moments each time
    generate(lake, 0)
    for moment in INITIAL_LOAD:
        run_and_kill(lake, moment, rng)
    generate(lake, 1)
    run_and_interrupt(lake)
    for moment in INCREMENT:
        run_and_kill(lake, moment, rng)
    lake.must("run")
    return lake


def run_and_kill(lake: Lakehouse, moment: AtTime | After, rng: random.Random) -> None:
    """Start a run and kill it at that moment."""
    if isinstance(moment, After):
        command = lake.command(moment.step, moment.entity, "run", script=CRASH)
    else:
        command = (lake.with_own_spark() if moment.own_spark else lake).command("run")
    process = subprocess.Popen(
        **command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    said = process.stderr or iter(())
    seen = list(_until(said, moment.line) if isinstance(moment, AtTime) else said)
    if isinstance(moment, AtTime):
        delay = rng.uniform(moment.earliest, moment.latest)
        time.sleep(delay)
        print(f"killed {delay:.2f} s after {moment.line!r}")  # noqa: T201 - shown when a test fails
        started = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait()
        # Spark's JVM is left behind when only Python is killed; it has to end by itself.
        _, alive = psutil.wait_procs(started, timeout=SECONDS_TO_DIE)
        assert not alive, f"processes are left over: {alive}"
    assert process.wait() < 0, f"the run was not killed: {moment}\n{''.join(seen)}"
    with lake.reachable():
        assert list_objects(lake.settings.table_uri("ops", "_locks")), "it held no lock when it was killed"


def run_and_interrupt(lake: Lakehouse) -> None:
    """Start a run and press Ctrl-C: it ends in order, says so, and leaves no lock."""
    process = subprocess.Popen(
        **lake.command("run"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    lines = process.stderr or iter(())
    seen = "".join(_until(lines, "customers: reading"))
    os.killpg(process.pid, signal.SIGINT)
    seen += "".join(lines)
    assert process.wait() == 130, seen
    assert "interrupted: finishing what is being written" in seen
    assert "The next `finlake run` goes on where this one ended." in seen
    assert "accounts: reading" not in seen
    with lake.reachable():
        assert list_objects(lake.settings.table_uri("ops", "_locks")) == []


def _until(lines: Iterator[str], text: str) -> Iterator[str]:
    for line in lines:
        yield line
        if text in line:
            return


def content(lake: Lakehouse, layer: str, table: str, *without: str) -> pl.DataFrame:
    """Rows of a table in a fixed order, without what tells one run, or one lake, from another."""
    prefix = f"s3://{lake.settings.prefix}-"
    columns = lake.frame(layer, table, "SELECT * FROM {} LIMIT 0").columns
    paths = [name for name in ("_source_file", "path") if name in columns]
    replaced = ", ".join(f"replace({name}, '{prefix}', 's3://') AS {name}" for name in paths)
    dropped = [name for name in ("_ingested_at", "_run_id", "run_id", *without) if name in columns]
    return lake.frame(
        layer,
        table,
        "SELECT *"
        + (f" EXCLUDE ({', '.join(dropped)})" if dropped else "")
        + (f" REPLACE ({replaced})" if replaced else "")
        + " FROM {} ORDER BY ALL",
    )


HISTORIES = [table_name(entity) for entity, contract in load_contracts().items() if contract.keeps_history]


@pytest.mark.parametrize("table", HISTORIES)
def test_histories_are_those_of_a_lake_that_was_never_killed(survivor: Lakehouse, story: Story, table: str):
    expected = content(story.lake, "silver", table)
    assert expected.height > 0
    assert_frame_equal(content(survivor, "silver", table), expected)


@pytest.mark.parametrize("layer", ["silver", "quarantine"])
@pytest.mark.parametrize("entity", entities())
def test_rows_are_those_of_a_lake_that_was_never_killed(
    survivor: Lakehouse, story: Story, layer: str, entity: str
):
    expected = content(story.lake, layer, entity)
    assert expected.height > 0
    assert_frame_equal(content(survivor, layer, entity), expected)


@pytest.mark.parametrize("mart", [mart.name for mart in MARTS])
def test_marts_are_those_of_a_lake_that_was_never_killed(survivor: Lakehouse, story: Story, mart: str):
    expected = content(story.lake, "gold", mart)
    assert expected.height > 0
    assert_frame_equal(content(survivor, "gold", mart), expected)


@pytest.mark.parametrize("table", ["row_counts", "quarantine_reasons", "files"])
def test_the_accounts_are_those_of_a_lake_that_was_never_killed(
    survivor: Lakehouse, story: Story, table: str
):
    assert_frame_equal(content(survivor, "ops", table, "etag"), content(story.lake, "ops", table, "etag"))


def test_no_batch_is_left_open(survivor: Lakehouse):
    assert set(survivor.frame("ops", "batches")["status"]) == {"committed"}


def test_runs_that_were_killed_are_seen_as_interrupted(survivor: Lakehouse):
    runs = survivor.frame("ops", "runs").sort("run_id")
    assert runs["status"].to_list() == [
        *["running"] * len(INITIAL_LOAD),
        "failed",
        *["running"] * len(INCREMENT),
        "succeeded",
    ]
    shown = survivor.must("status", "--runs", "20").stdout
    assert shown.count("interrupted") == len(INITIAL_LOAD + INCREMENT) + 1


def test_every_check_holds_and_nothing_is_left_to_do(survivor: Lakehouse):
    checks = survivor.json("verify", "--json")
    assert [check for check in checks if not check["ok"]] == []
    assert any("as the generator wrote it" in check["check"] for check in checks)
    assert "Nothing is new" in survivor.must("run").stdout


def test_no_lock_is_left_behind(survivor: Lakehouse):
    with survivor.reachable():
        assert list_objects(survivor.settings.table_uri("ops", "_locks")) == []
