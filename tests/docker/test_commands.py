"""`make up` on Docker and `finlake` on top of it, as a user calls them; and what happens when parts die."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from commands import ROOT, Clone, assert_fails_clearly, disturbed_run, own_variables
from containers import wait_for
from lakehouse import Lakehouse, clean_environment
from stage import left_behind

from pipeline import infra

KILL_JVM = """
import os, signal
for pid in filter(str.isdigit, os.listdir('/proc')):
    if open(f'/proc/{pid}/comm').read().strip() == 'java':
        os.kill(int(pid), signal.SIGKILL)
"""

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone.at(tmp_path_factory.mktemp("clone"), "cli")


@pytest.fixture(scope="module")
def up(clone: Clone) -> Iterator[subprocess.CompletedProcess[str]]:
    """The stack, started by the command behind `make up`."""
    try:
        yield clone.emulator("up", STACK="docker")
    finally:
        clone.emulator("clean")


@pytest.fixture(scope="module")
def lake(clone: Clone, up: subprocess.CompletedProcess[str]) -> Lakehouse:
    """A lake on the stack, with a small batch in Bronze."""
    assert up.returncode == 0, up.stderr
    lake = clone.lake("boxed")
    lake.must("generate", "--scale", "30", "--out", lake.settings.bronze_uri)
    return lake


def test_up_says_where_everything_is(clone: Clone, up):
    assert up.returncode == 0, up.stderr
    assert f"The docker stack is up: http://localhost:{clone.variables['FINLAKE_PORT']}" in up.stdout
    found = clone.status()
    assert (found["state"], found["kind"]) == ("up", "docker")
    assert found["spark"] == f"sc://localhost:{clone.variables['FINLAKE_SPARK_PORT']}"
    assert set(found["services"].values()) == {"healthy"}


def test_the_other_stack_is_refused_while_this_one_runs(clone: Clone, up):
    done = clone.emulator("up", STACK="native")
    assert done.returncode == 1
    assert "the docker stack is running: stop it first" in done.stderr


def test_the_local_stage_is_applied_to_the_containers_and_removed_without_a_trace(
    clone: Clone, up: subprocess.CompletedProcess[str]
):
    assert up.returncode == 0, up.stderr
    if shutil.which("terraform") is None:
        pytest.skip("Terraform is not installed")
    left_out = shutil.ignore_patterns(".terraform", "*.tfstate*", "backend.tf")
    shutil.copytree(ROOT / "terraform", clone.folder / "terraform", ignore=left_out)
    environ = clean_environment() | clone.aws
    outcome = infra.apply_local(clone.folder, environ)
    assert {action for action, _ in outcome.changes} == {"create"}
    assert infra.plan_local(clone.folder, environ).changes == ()

    def client(service: str) -> Any:
        session = boto3.Session("test", "test", region_name=clone.aws["AWS_REGION"])
        return session.client(service, endpoint_url=clone.aws["AWS_ENDPOINT_URL"])

    assert len(left_behind(client)) == 10
    infra.destroy_local(clone.folder, environ)
    assert left_behind(client) == {}


def test_a_run_on_the_containers_is_verified_to_the_row(lake: Lakehouse):
    lake.must("run")
    assert [check for check in lake.json("verify", "--json") if not check["ok"]] == []
    again = lake.must("run")
    assert "Nothing is new" in again.stdout


def test_runs_whose_spark_container_is_killed_fail_clearly_and_the_next_ones_go_on(
    lake: Lakehouse, clone: Clone
):
    # Each run goes on where the one before was killed: with the second half of a day, then with Gold.
    lake.must("generate", "--scale", "30", "--batch", "1", "--out", lake.settings.bronze_uri)
    for line in ("customers: reading", "transactions: reading", "daily_transactions: building"):
        failed = disturbed_run(lake, {line: lambda: clone.compose("kill", "spark")})
        assert_fails_clearly(failed, "the Spark server does not answer any more", "make up")
        assert line in failed.stderr
        clone.must("up")
    lake.must("run")
    assert [check for check in lake.json("verify", "--json") if not check["ok"]] == []


def test_a_jvm_that_was_killed_for_want_of_memory_is_started_again(clone: Clone, lake: Lakehouse):
    scratch = ("exec", "--no-TTY", "spark", "sh", "-c")
    clone.compose("exec", "--no-TTY", "spark", "python", "-c", KILL_JVM)
    wait_for(lambda: "Spark's JVM has ended" in clone.compose("logs", "spark"))
    clone.must("up")
    assert "FINLAKE_SPARK_MEMORY is its limit" in clone.compose("logs", "spark")
    lake.must("shell")
    assert len(clone.compose(*scratch, "ls -d /var/tmp/blockmgr-*").split()) == 1, (
        "the dead one's is left over"
    )


@pytest.mark.parametrize("command", ["up", "status", "down", "clean"])
def test_an_engine_that_was_stopped_is_not_taken_for_a_stack_that_is_down(
    clone: Clone, up: subprocess.CompletedProcess[str], command: str
):
    done = clone.emulator(command, DOCKER_HOST=f"unix://{clone.folder}/no-engine.sock")
    assert_fails_clearly(done, "the Docker engine does not answer", "its data is kept", "start Docker")


def test_down_keeps_the_tables_and_the_catalogue(lake: Lakehouse, clone: Clone):
    ask = ("query", "SELECT count(*) AS n FROM silver.transactions", "--format", "json")
    before = lake.json(*ask)
    down = clone.emulator("down")
    assert "The docker stack is down; its data is kept." in down.stdout
    assert clone.status()["state"] == "down"
    assert clone.emulator("up", STACK="docker").returncode == 0
    assert lake.json(*ask) == before
    assert "Nothing is new" in lake.must("run").stdout


def test_a_port_in_use_is_named_with_the_way_out(clone: Clone):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = clone.emulator("up", STACK="docker", FINLAKE_PORT=port, COMPOSE_PROJECT_NAME="finlake-no-port")
    assert done.returncode == 1
    assert f"port {port} is in use" in done.stderr
    assert "FINLAKE_PORT=" in done.stderr


def test_an_image_that_is_not_there_is_an_error_and_leaves_nothing_running(clone: Clone):
    own = own_variables("no-image")
    done = clone.emulator("up", STACK="docker", LOCALSTACK_IMAGE="localhost:9/no/such:1", **own)
    assert done.returncode == 1
    assert "no/such:1" in done.stderr
    assert "Traceback" not in done.stderr
    assert clone.status(**own)["state"] == "down"


def test_a_spark_without_memory_ends_with_its_log_and_the_way_out(clone: Clone):
    own = own_variables("no-memory")
    try:
        done = clone.emulator("up", STACK="docker", FINLAKE_SPARK_MEMORY="200m", **own)
        assert done.returncode == 1
        error = done.stderr.partition("error: ")[2]
        assert error.startswith("spark is "), done.stderr
        assert "The end of its log:" in error
        assert "FINLAKE_SPARK_MEMORY is its limit" in error
        assert "Traceback" not in error
        # The same stack, with what it needs.
        clone.must("up", STACK="docker", **own)
    finally:
        clone.emulator("clean", **own)


def test_a_localstack_without_s3_is_noticed(clone: Clone):
    own = own_variables("no-s3")
    try:
        done = clone.emulator("up", STACK="docker", LOCALSTACK_SERVICES="s4", **own)
        assert_fails_clearly(done, "does not serve s3", "LOCALSTACK_SERVICES")
    finally:
        clone.emulator("clean", **own)
