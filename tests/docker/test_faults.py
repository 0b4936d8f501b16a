"""What a run does when parts of the stack die, restart or run out of disk, and what the next run makes of it.

One stack and one lake for all: each test brings in another day, breaks something while it is loaded, and
mends it. In the end a run of everything, which has to do with restarts of every part, leaves a lake that
is compared with one that was never disturbed.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from itertools import count

import polars as pl
import pytest
import yaml
from botocore.exceptions import ClientError
from commands import Clone, assert_fails_clearly, disturbed_run
from lakehouse import Lakehouse
from polars.testing import assert_frame_equal

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

SCALE = "30"
DISKS = {"localstack": 128, "spark": 256}  # MiB; Spark wants 64 to be free for each file that it uploads
ONLY_CUSTOMERS = ("--entity", "customers", "--layer", "silver")
READING = "customers: reading"
SOON = 20  # seconds; a request that is tried again takes longer
BATCHES = count()
FILL = """
import errno, sys
with open(sys.argv[1], 'wb', buffering=0) as filler:
    try:
        while filler.write(bytes(4096)):
            pass
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    filler.truncate(filler.tell() - int(sys.argv[2]))
"""
CRASH = """
import os, signal
for pid in filter(str.isdigit, os.listdir('/proc')):
    if int(pid) not in (1, os.getpid()):
        os.kill(int(pid), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A clone whose volumes are small, so that they can be filled."""
    clone = Clone.at(tmp_path_factory.mktemp("clone"), "faults")
    file = clone.folder / "docker-compose.yml"
    stack = yaml.safe_load(file.read_text())
    for name, size in DISKS.items():
        options = {"type": "tmpfs", "device": "tmpfs", "o": f"size={size}m,mode=1777"}
        stack["volumes"][name] = {"driver_opts": options}
    file.write_text(yaml.safe_dump(stack))
    return clone


@pytest.fixture(scope="module")
def disks(clone: Clone) -> Iterator[str]:
    """A container beside the stack, which is up: while it has the volumes, they keep their contents."""
    project = clone.variables["COMPOSE_PROJECT_NAME"]
    holder = f"{project}-disks"
    mounts = [part for name in DISKS for part in ("--volume", f"{project}_{name}:/{name}")]
    options = ["--detach", "--name", holder, "--network", "none", *mounts, "--entrypoint", "sleep"]
    try:
        clone.must("up", STACK="docker")
        docker("run", *options, "finlake-gateway", "infinity")
        yield holder
    finally:
        docker("rm", "--force", holder)
        clone.emulator("clean")


@pytest.fixture(scope="module")
def lake(clone: Clone, disks: str) -> Lakehouse:
    return clone.lake("faults")


@pytest.fixture(scope="module")
def calm(lake: Lakehouse, clone: Clone) -> Lakehouse:
    """A lake that is never disturbed."""
    return clone.lake("calm")


@pytest.fixture
def another_day(lake: Lakehouse, calm: Lakehouse) -> None:
    """The next batch, in Bronze."""
    batch = str(next(BATCHES))
    for each in (lake, calm):
        each.must("generate", "--scale", SCALE, "--batch", batch, "--out", each.settings.bronze_uri)


def test_localstack_that_does_not_come_back_is_named_and_the_next_run_goes_on(
    lake: Lakehouse, clone: Clone, another_day: None
):
    failed = disturbed_run(lake, {READING: lambda: clone.compose("kill", "localstack")}, *ONLY_CUSTOMERS)
    assert_fails_clearly(failed, "LocalStack behind it does not", "`make up` starts it again")
    assert clone.status()["services"]["localstack"] == "exited"
    clone.must("up")
    goes_on(lake)


def test_a_run_whose_stack_is_gone_at_once_ends_and_the_next_one_goes_on(
    lake: Lakehouse, clone: Clone, another_day: None
):
    failed = disturbed_run(lake, {READING: lambda: clone.compose("kill")}, *ONLY_CUSTOMERS)
    assert_fails_clearly(failed, f"cannot reach {lake.aws['AWS_ENDPOINT_URL']}", "is the stack up?")
    began = time.monotonic()
    assert_fails_clearly(lake.finlake("run"), "cannot reach", "`make up` starts it")
    assert time.monotonic() - began < SOON
    clone.must("up")
    goes_on(lake)


def test_a_full_disk_of_localstack_is_named_and_the_next_run_goes_on(
    lake: Lakehouse, disks: str, another_day: None
):
    failed = disturbed_run(lake, {READING: lambda: fill(disks, "localstack")}, *ONLY_CUSTOMERS)
    assert_fails_clearly(failed, "the disk of the local AWS is full", "make room")
    refused = {"Bucket": lake.settings.bronze_uri.removeprefix("s3://"), "Key": "refused"}
    with pytest.raises(ClientError, match="No space left on device"):
        lake.client("s3").put_object(**refused, Body=b"1")
    make_room(disks, "localstack")
    with pytest.raises(ClientError, match="404"):
        lake.client("s3").head_object(**refused)
    goes_on(lake)


def test_objects_can_still_be_deleted_when_no_more_can_be_stored(lake: Lakehouse, disks: str):
    s3 = lake.client("s3")
    there = {"Bucket": lake.settings.bronze_uri.removeprefix("s3://"), "Key": "there"}
    s3.put_object(**there, Body=bytes(1_000_000))
    fill(disks, "localstack", but=8_000_000)
    with pytest.raises(ClientError, match="No space left on device"):
        s3.put_object(**there | {"Key": "refused"}, Body=bytes(1_000_000))
    s3.delete_object(**there)
    make_room(disks, "localstack")
    with pytest.raises(ClientError, match="404"):
        s3.head_object(**there)


def test_a_full_disk_of_spark_is_named_and_the_next_run_goes_on(
    lake: Lakehouse, disks: str, another_day: None
):
    failed = disturbed_run(lake, {READING: lambda: fill(disks, "spark")}, *ONLY_CUSTOMERS)
    assert_fails_clearly(failed, "Spark failed: the disk is full", "make room")
    make_room(disks, "spark")
    goes_on(lake)


def test_restarts_of_every_part_during_a_run_are_survived(lake: Lakehouse, clone: Clone, another_day: None):
    faults = {
        "spark: starting": lambda: crash(clone, "catalog"),  # which is told of the tables meanwhile
        "customers: reading": lambda: crash(clone, "localstack"),
        "transactions: reading": lambda: clone.compose("restart", "gateway"),
        "customer_360: building": lambda: crash(clone, "gateway"),
    }
    for _ in range(3):
        run = disturbed_run(lake, faults)
        if not run.returncode:
            break
        assert_fails_clearly(run)  # a write whose answer was lost cannot always be repeated
    assert (run.returncode, faults) == (0, {})
    assert [check for check in lake.json("verify", "--json") if not check["ok"]] == []
    assert "Nothing is new" in lake.must("run").stdout


def test_a_catalogue_that_has_forgotten_tables_is_told_again(lake: Lakehouse):
    for layer, table in (("gold", "customer_360"), ("silver", "customers")):
        lake.client("glue").delete_table(DatabaseName=lake.settings.database(layer), Name=table)
    assert "Nothing is new" in lake.must("run").stdout
    assert [check for check in lake.json("verify", "--json") if not check["ok"]] == []


@pytest.mark.parametrize("layer", ["silver", "quarantine"])
def test_rows_are_those_of_a_lake_that_was_never_disturbed(lake: Lakehouse, calm: Lakehouse, layer: str):
    if layer == "silver":
        calm.must("run", *ONLY_CUSTOMERS)
    expected = customers(calm, layer)
    assert expected.height > 0
    assert_frame_equal(customers(lake, layer), expected)


def goes_on(lake: Lakehouse) -> None:
    """The next run completes what was begun, and every row is accounted for."""
    lake.must("run", *ONLY_CUSTOMERS)
    checks = json.loads(lake.finlake("verify", "--json").stdout)
    mine = [check for check in checks if check["check"].startswith(("customers:", "catalogue: silver"))]
    assert [check for check in mine if not check["ok"]] == []
    assert len(mine) > 3
    assert set(lake.frame("ops", "batches")["status"]) == {"committed"}


def fill(disks: str, name: str, but: int = 0) -> None:
    """Fill a volume to its last byte, or leave so many free."""
    docker("exec", disks, "python", "-c", FILL, f"/{name}/filler", str(but))


def make_room(disks: str, name: str) -> None:
    docker("exec", disks, "rm", f"/{name}/filler")


def crash(clone: Clone, service: str) -> None:
    """Kill all that a container runs, from inside: Docker starts it again, as it does after a crash."""
    clone.compose("exec", "--no-TTY", service, "python", "-c", CRASH)


def docker(*arguments: str) -> None:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}\n{done.stderr}"


def customers(lake: Lakehouse, layer: str) -> pl.DataFrame:
    """Rows in a fixed order, without what tells one run, or one lake, from another."""
    return lake.frame(
        layer,
        "customers",
        "SELECT * EXCLUDE (_ingested_at, _run_id) "
        f"REPLACE (replace(_source_file, 's3://{lake.settings.prefix}-', 's3://') AS _source_file) "
        "FROM {} ORDER BY ALL",
    )
