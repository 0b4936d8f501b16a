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
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
import psutil
import pyarrow as pa
import pytest
from lakehouse import Lakehouse, Story, generate, lakehouse
from polars.testing import assert_frame_equal

from contracts import entities, load_contracts
from emulator.native import NativeStack
from pipeline.gold import MARTS
from pipeline.gold.views import VIEWS
from pipeline.history import table_name
from pipeline.settings import TABLE_LAYERS
from pipeline.storage import list_objects
from pipeline.tables import open_table, unchecked_since

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
    """Killed right after a step, see ``crash.py``; ``status`` is that of its run in the ledger by then."""

    step: str
    when: str
    numbers: tuple[str, ...] = ()
    status: str = "running"

    def __str__(self) -> str:
        return f"{self.step} of {self.when}"


# Marts follow changes, however small they are, and one at a time.
FOLLOWING = (
    "pipeline.refresh:FEW_ROWS=0",
    "pipeline.refresh:FEW_FACTS=0",
    "pipeline.refresh:MOST_SHARE=1",
    "pipeline.refresh:MOST_REACHED=1e9",
    "pipeline.run:PARALLEL=1",
)
# Each run goes on where the one before was killed. A second batch arrives between the two lists.
INITIAL_LOAD = (
    After("pipeline.run:register", "any"),
    After("pipeline.catalog:table_input", "3"),
    AtTime("customers: ", 0.5, 5.0, own_spark=True),
    AtTime("accounts: ", 0.1, 3.0),
    After("pipeline.silver:write_quarantine", "transactions"),
    After("pipeline.refresh:_write", "customer_360"),
    After("pipeline.run:register_views", "any"),
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
    After("pipeline.ledger:Ledger._put_run", "2", status="succeeded"),  # all that is left is to tidy up
)
# In the order of the marts. A mart follows what a run loaded that was not killed itself: otherwise Silver has
# been brought back meanwhile, and its change feed does not tell.
GOLD = (
    After("pipeline.refresh:follow", "fraud_signals", FOLLOWING),
    After("pipeline.refresh:follow", "account_balances_daily", FOLLOWING),
    After("pipeline.refresh:_write", "customer_360", FOLLOWING),
    After("pipeline.refresh:follow", "monthly_cash_flow", FOLLOWING),
)
# Nobody reads meanwhile, so that there is something to delete.
MAINTAIN = ("maintain", "--retention-days", "0", "--allow-short-retention")
CHECKPOINTS = ("pipeline.maintain:COMMITS_BEFORE_CHECKPOINT=1",)
MAINTENANCE = (
    After("deltalake.table:TableOptimizer.compact", "any"),
    After("pipeline.maintain:cluster", "any"),
    After("pipeline.maintain:delete", "any"),
    After("deltalake:DeltaTable.create_checkpoint", "any", CHECKPOINTS),
    After("deltalake:DeltaTable.cleanup_metadata", "any", CHECKPOINTS),
    After("pipeline.ledger:Ledger.record_sizes", "any"),
)
# With another key than before, so that what a copy held before must go.
PUBLISHING = (
    After("pipeline.publish:write_deltalake", "any"),
    After("deltalake:DeltaTable.vacuum", "any"),
    After("pipeline.publish:forget_past", "any"),
    After("pipeline.publish:_copy", "any"),
)


@pytest.fixture(scope="module")
def survivor(stack: NativeStack) -> Lakehouse:
    """A lake whose runs were all killed, but for the last one, which finds nothing to do."""
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
    for moment in MAINTENANCE:
        run_and_kill(lake, moment, rng, *MAINTAIN)
    lake.must(*MAINTAIN)
    return lake


@pytest.fixture(scope="module")
def gold_survivor(stack: NativeStack) -> Lakehouse:
    """A lake whose marts were all written by runs that were killed before they had checked them."""
    lake = lakehouse(stack, "unchecked")
    generate(lake, 0)
    lake.must("run")
    generate(lake, 1)
    lake.must("run", "--layer", "silver")
    for moment in GOLD:
        run_and_kill(lake, moment, random.Random(0), "run", "--layer", "gold")  # noqa: S311 - nothing is drawn
        seen_unchecked(lake, moment.when)
    lake.must("run")
    return lake


def seen_unchecked(lake: Lakehouse, mart: str) -> None:
    """The mart was written once, and has still to be checked; of one divided by month, some months."""
    uri = lake.settings.table_uri("gold", mart)
    with lake.reachable():
        before = unchecked_since(uri)
        assert before is not None
        table = open_table(uri)
        assert table is not None and table.version() == before[0] + 1
        if mart == "fraud_signals":
            assert "activity_month" in str(table.history(1)[0]["operationParameters"]["predicate"])


def run_and_kill(lake: Lakehouse, moment: AtTime | After, rng: random.Random, *arguments: str) -> None:
    """Start a run, or another command, and kill it at that moment."""
    if isinstance(moment, After):
        deadly = (moment.step, moment.when, *moment.numbers, "--", *(arguments or ("run",)))
        command = lake.command(*deadly, script=CRASH)
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
    first, second = (
        [moment.status if isinstance(moment, After) else "running" for moment in moments]
        for moments in (INITIAL_LOAD, INCREMENT)
    )
    statuses = [*first, "failed", *second]
    assert runs["status"].to_list() == statuses
    shown = survivor.must("status", "--runs", "40").stdout
    assert shown.count("interrupted") == sum(status != "succeeded" for status in statuses)


def test_every_check_holds_and_nothing_is_left_to_do(survivor: Lakehouse):
    checks = survivor.json("verify", "--json")
    assert [check for check in checks if not check["ok"]] == []
    assert any("as the generator wrote it" in check["check"] for check in checks)
    assert "Nothing is new" in survivor.must("run").stdout


def test_the_catalogue_is_that_of_a_lake_that_was_never_killed(survivor: Lakehouse, story: Story):
    def shown(lake: Lakehouse) -> dict[str, set[tuple[str, str]]]:
        glue = lake.client("glue")
        return {
            layer: {
                (table["Name"], table["TableType"])
                for table in glue.get_tables(DatabaseName=lake.settings.database(layer))["TableList"]
            }
            for layer in TABLE_LAYERS
        }

    found = shown(survivor)
    assert {view.name for view in VIEWS} <= {name for name, _ in found["gold"]}
    assert found == shown(story.lake)


@pytest.mark.parametrize("mart", [mart.name for mart in MARTS])
def test_marts_that_were_not_checked_are_those_of_a_lake_that_was_never_killed(
    gold_survivor: Lakehouse, story: Story, mart: str
):
    assert_frame_equal(content(gold_survivor, "gold", mart), content(story.lake, "gold", mart))


def test_no_mart_is_left_unchecked(survivor: Lakehouse, gold_survivor: Lakehouse):
    for lake in (survivor, gold_survivor):
        with lake.reachable():
            assert list_objects(lake.settings.table_uri("gold", "_unchecked")) == []
    assert [check for check in gold_survivor.json("verify", "--json") if not check["ok"]] == []


def test_maintenance_that_was_killed_is_done_whole_by_the_next_one(survivor: Lakehouse):
    sizes = survivor.frame("ops", "table_sizes")
    of_runs = sizes.group_by("run_id").len().sort("run_id")["len"].to_list()
    assert len(of_runs) == 2, "the one that was killed at its end, and the one that was not"
    assert len(set(of_runs)) == 1
    again = survivor.json(*MAINTAIN, "--json")["tables"]
    assert {
        table["table"] for table in again if table["merged"] or table["deleted"] or table["clustered"]
    } <= {"ops.table_sizes"}


def test_copies_of_another_key_hold_nothing_of_the_former_one_although_publishing_was_killed(
    survivor: Lakehouse,
):
    roots = survivor.settings.public_silver_uri, survivor.settings.public_gold_uri
    for root in roots:
        place = {"LocationConstraint": survivor.aws["AWS_REGION"]}
        survivor.client("s3").create_bucket(
            Bucket=str(root).removeprefix("s3://"), CreateBucketConfiguration=place
        )
    first, second = (
        replace(survivor, variables=survivor.variables | {"FINLAKE_PII_KEY": letter * 32}) for letter in "ab"
    )
    first.must("publish")
    for moment in PUBLISHING:
        run_and_kill(second, moment, random.Random(0), "publish")  # noqa: S311 - nothing is drawn
    done = second.json("publish", "--json")
    assert {copy["table"] for copy in done} == {
        *(f"silver.{entity}" for entity in entities()), *(f"gold.{mart.name}" for mart in MARTS)
    }  # fmt: skip
    assert not any(copy["written"] for copy in second.json("publish", "--json"))
    with survivor.reachable():
        for copy in done:
            table = open_table(copy["uri"])
            assert table is not None
            stored = {info.uri for info in list_objects(copy["uri"]) if info.uri.endswith(".parquet")}
            present = {
                f"{copy['uri']}/{file['path']}" for file in pa.table(table.get_add_actions()).to_pylist()
            }
            assert {uri for uri in stored if "/_delta_log/" not in uri} == present, copy["table"]
            versions = [commit["version"] for commit in table.history()]
            assert len(versions) <= 3, "the log of what it held before is gone"
            layer, _, name = copy["table"].partition(".")
            count = "SELECT count(*) FROM {}"
            rows = sum(file["num_records"] for file in pa.table(table.get_add_actions()).to_pylist())
            assert rows == survivor.frame(layer, name, count).item()


def test_no_lock_is_left_behind(survivor: Lakehouse):
    with survivor.reachable():
        assert list_objects(survivor.settings.table_uri("ops", "_locks")) == []
