"""The warm Spark beside the local AWS: who can reach it, and what happens when it is gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from lakehouse import Lakehouse, clean_environment, free_port, lakehouse

from emulator.native import NativeStack

pytestmark = [pytest.mark.emulator, pytest.mark.spark, pytest.mark.slow]


@pytest.fixture(scope="module")
def lake(stack: NativeStack) -> Lakehouse:
    """A lake with a few customers."""
    lake = lakehouse(stack, "warm")
    lake.must("generate", "--scale", "20", "--out", lake.settings.bronze_uri)
    return lake


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[NativeStack]:
    """A stack that a test may break."""
    stack = NativeStack(tmp_path / ".finlake", free_port(), with_spark=True)
    stack.up()
    yield stack
    stack.down()


def jvms(stack: NativeStack) -> list[psutil.Process]:
    record = stack.spark.running()
    assert record is not None
    return psutil.Process(record.pid).children(recursive=True)


def test_clients_find_it_by_the_env_file(stack: NativeStack):
    lines = dict(line.split("=", 1) for line in stack.env_file.read_text().splitlines())
    assert lines["SPARK_REMOTE"] == stack.status().spark


def test_it_can_be_reached_from_this_machine_only(stack: NativeStack):
    addresses = {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in jvms(stack)
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    assert addresses == {"127.0.0.1"}


def test_a_run_starts_no_jvm_of_its_own(lake: Lakehouse, stack: NativeStack):
    without_java = {"JAVA_HOME": "/nowhere", "PATH": str(Path(sys.executable).parent)}
    done = replace(lake, variables=lake.variables | without_java).finlake("run", "--entity", "customers")
    assert done.returncode == 0, done.stderr
    assert lake.json("query", "SELECT count(*) AS n FROM silver.customers", "--format", "json")[0]["n"] > 0


def compiled(stack: NativeStack) -> int:
    """How many classes Spark has generated and compiled so far, as its web pages tell."""
    with urllib.request.urlopen(f"{stack.status().spark_ui}/metrics/json/", timeout=30) as answer:  # noqa: S310
        histograms = json.load(answer)["histograms"]
    (count,) = [
        found["count"] for name, found in histograms.items() if name.endswith("CodeGenerator.compilationTime")
    ]
    return int(count)


STATEMENT = """
from pyspark.sql import SparkSession, functions as F
spark = SparkSession.builder.remote({remote!r}).getOrCreate()
frame = spark.range(1000).groupBy((F.col("id") % 7).alias("rest")).agg(F.sum("id").alias("total"))
{before}
print(frame.where("total > 10").count())
"""


def ask(stack: NativeStack, before: str = "") -> str:
    """Run the same statement in a session of its own, after something else."""
    script = STATEMENT.format(remote=stack.status().spark, before=before)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_one_session_has_compiled_serves_the_next_until_somebody_uploads_classes(
    own_stack: NativeStack, tmp_path: Path
):
    assert ask(own_stack) == "7"
    once = compiled(own_stack)
    assert once > 0
    assert ask(own_stack) == "7"
    assert compiled(own_stack) == once
    (tmp_path / "own.jar").write_bytes(b"not read, only sent")
    assert ask(own_stack, f"spark.addArtifact({str(tmp_path / 'own.jar')!r})") == "7"
    assert compiled(own_stack) > once


def test_a_shell_has_the_tables_at_hand(lake: Lakehouse):
    lake.must("run", "--entity", "customers")
    script = 'print("rows:", int(table("silver.customers").where(F.col("customer_id").isNotNull()).count()))'
    command = lake.command("shell") | {"stdin": None, "input": script}
    done = subprocess.run(**command, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    counted = lake.json("query", "SELECT count(*) AS n FROM silver.customers", "--format", "json")[0]["n"]
    assert done.stdout.strip() == f"rows: {counted}"


def test_a_shell_names_what_a_table_is_called(lake: Lakehouse):
    command = lake.command("shell") | {"stdin": None, "input": 'table("customers")'}
    done = subprocess.run(**command, capture_output=True, timeout=120, check=False)
    assert done.returncode == 2
    assert "there is no table 'customers'" in done.stderr


def test_a_server_that_is_gone_is_named_and_a_second_up_brings_it_back(own_stack: NativeStack):
    record = own_stack.spark.running()
    assert record is not None
    java = jvms(own_stack)
    os.kill(record.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(java, timeout=30)
    assert not alive, "the JVM outlives its server"
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.cli", "shell"],
        cwd=own_stack.home.parent,
        env=clean_environment(),
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"the Spark server at localhost:{record.port} does not answer" in done.stderr
    assert "make up" in done.stderr
    assert "Traceback" not in done.stderr
    status = own_stack.up()
    assert status.is_up
    assert own_stack.environment()["SPARK_REMOTE"] == status.spark


def test_down_ends_its_jvm(own_stack: NativeStack):
    java = jvms(own_stack)
    assert java
    own_stack.down()
    _, alive = psutil.wait_procs(java, timeout=5)
    assert not alive
    assert own_stack.status().state == "down"
