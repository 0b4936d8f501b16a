"""`make up` on Docker and `finlake` on top of it, as a user calls them; and what happens when parts die."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lakehouse import Lakehouse, clean_environment, free_port

from emulator.docker import DockerStack
from pipeline.settings import Settings

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
# What the images are built from.
SOURCES = ("contracts", "datagen", "docker", "emulator", "pipeline")
FILES = (".dockerignore", "docker-compose.yml", "LICENSE", "README.md", "constraints.txt", "pyproject.toml")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project, so that nothing in this one is touched."""
    folder = tmp_path_factory.mktemp("clone")
    for name in SOURCES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def variables() -> dict[str, str]:
    """A project name and ports of its own."""
    ports = ("FINLAKE_PORT", "FINLAKE_SPARK_PORT", "FINLAKE_SPARK_UI_PORT")
    return {"COMPOSE_PROJECT_NAME": f"finlake-cli-{os.getpid()}"} | {name: str(free_port()) for name in ports}


def emulator(clone: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "emulator", *arguments],
        cwd=clone,
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.fixture(scope="module")
def up(clone: Path, variables: dict[str, str]) -> Iterator[subprocess.CompletedProcess[str]]:
    """The stack, started by the command behind `make up`."""
    try:
        yield emulator(clone, "up", STACK="docker", **variables)
    finally:
        emulator(clone, "clean", **variables)


@pytest.fixture(scope="module")
def lake(clone: Path, variables: dict[str, str], up: subprocess.CompletedProcess[str]) -> Lakehouse:
    """A lake on the stack, with a small batch in Bronze."""
    assert up.returncode == 0, up.stderr
    aws = {
        "AWS_ENDPOINT_URL": f"http://localhost:{variables['FINLAKE_PORT']}",
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_ALLOW_HTTP": "true",
    }
    settings = Settings(prefix="boxed", env="local")
    lake = Lakehouse(clone, settings, variables | {"FINLAKE_PREFIX": "boxed"}, aws).create()
    lake.must("generate", "--scale", "30", "--out", settings.bronze_uri)
    return lake


def status(clone: Path, variables: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(emulator(clone, "status", "--json", **variables).stdout)
    return found


def kill(clone: Path, variables: dict[str, str], service: str) -> None:
    command = [*DockerStack(clone / ".finlake")._compose(), "kill", "--signal", "KILL", service]
    done = subprocess.run(
        command, env=clean_environment() | variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_up_says_where_everything_is(clone: Path, variables: dict[str, str], up):
    assert up.returncode == 0, up.stderr
    assert f"The docker stack is up: http://localhost:{variables['FINLAKE_PORT']}" in up.stdout
    found = status(clone, variables)
    assert (found["state"], found["kind"]) == ("up", "docker")
    assert found["spark"] == f"sc://localhost:{variables['FINLAKE_SPARK_PORT']}"
    assert set(found["services"].values()) == {"healthy"}


def test_the_other_stack_is_refused_while_this_one_runs(clone: Path, variables: dict[str, str], up):
    done = emulator(clone, "up", STACK="native", **variables)
    assert done.returncode == 1
    assert "the docker stack is running: stop it first" in done.stderr


def test_a_run_on_the_containers_is_verified_to_the_row(lake: Lakehouse):
    lake.must("run")
    assert [check for check in lake.json("verify", "--json") if not check["ok"]] == []
    again = lake.must("run")
    assert "Nothing is new" in again.stdout


@pytest.mark.parametrize(
    "line", ["customers: reading", "transactions: reading", "daily_transactions: building"]
)
def test_a_run_whose_spark_container_is_killed_fails_clearly_and_the_next_one_completes_it(
    lake: Lakehouse, clone: Path, variables: dict[str, str], line: str
):
    batch = {"customers": "1", "transactions": "2", "daily_transactions": "3"}[line.partition(":")[0]]
    lake.must("generate", "--scale", "30", "--batch", batch, "--out", lake.settings.bronze_uri)
    process = subprocess.Popen(
        **lake.command("run"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    said = []
    for text in process.stderr or ():
        said.append(text)
        if line in text and f"{line} (killed)" not in said:
            kill(clone, variables, "spark")
            said.append(f"{line} (killed)")
    assert process.wait() == 1, "".join(said)
    assert "Traceback" not in "".join(said)
    assert "Error:" in "".join(said)
    assert emulator(clone, "up", **variables).returncode == 0
    lake.must("run")
    assert [check for check in lake.json("verify", "--json") if not check["ok"]] == []


def test_down_keeps_the_tables_and_the_catalogue(lake: Lakehouse, clone: Path, variables: dict[str, str]):
    ask = ("query", "SELECT count(*) AS n FROM silver.transactions", "--format", "json")
    before = lake.json(*ask)
    down = emulator(clone, "down", **variables)
    assert "The docker stack is down; its data is kept." in down.stdout
    assert status(clone, variables)["state"] == "down"
    assert emulator(clone, "up", STACK="docker", **variables).returncode == 0
    assert lake.json(*ask) == before
    assert "Nothing is new" in lake.must("run").stdout


def test_a_port_in_use_is_named_with_the_way_out(clone: Path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = emulator(
            clone, "up", STACK="docker", FINLAKE_PORT=port, COMPOSE_PROJECT_NAME="finlake-no-port"
        )
    assert done.returncode == 1
    assert f"port {port} is in use" in done.stderr
    assert "FINLAKE_PORT=" in done.stderr


def test_an_image_that_is_not_there_is_an_error_and_leaves_nothing_running(
    clone: Path, variables: dict[str, str]
):
    own = variables | {"COMPOSE_PROJECT_NAME": f"finlake-no-image-{os.getpid()}"}
    own |= {name: str(free_port()) for name in own if name.endswith("PORT")}
    done = emulator(clone, "up", STACK="docker", LOCALSTACK_IMAGE="localhost:9/no/such:1", **own)
    assert done.returncode == 1
    assert "no/such:1" in done.stderr
    assert "Traceback" not in done.stderr
    assert status(clone, own)["state"] == "down"
