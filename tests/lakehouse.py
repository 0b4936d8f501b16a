"""A whole lakehouse for tests: the emulator, buckets and databases, and ``finlake`` as a user calls it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest

from emulator.native import NativeStack
from pipeline.query import attach_uri, connect
from pipeline.settings import LAYERS, Settings

# Variables that would change what finlake does; none of them may leak in from the caller's shell.
FOREIGN = ("AWS_", "FINLAKE_", "SPARK_", "COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_", "_TYPER")
# Tests load a handful of rows: compiling hot code thoroughly costs more than it brings.
QUICK_JVM = {"SPARK_SUBMIT_OPTS": "-XX:TieredStopAtLevel=1"}


@dataclass(frozen=True)
class Lakehouse:
    """One lake on the stack, and the folder that commands are run in.

    Attributes:
        folder: Working directory of the commands.
        settings: Names and places.
        variables: What the commands find in their environment, besides the machine's own.
        aws: Endpoint and credentials of the stack.
    """

    folder: Path
    settings: Settings
    variables: dict[str, str]
    aws: dict[str, str] = field(repr=False)

    def command(self, *arguments: str, script: Path | None = None) -> dict[str, Any]:
        """Arguments for ``subprocess``: ``finlake`` with these arguments."""
        what = [str(script)] if script else ["-m", "pipeline.cli"]
        return {
            "args": [sys.executable, *what, *arguments],
            "cwd": self.folder,
            "env": clean_environment() | self.variables,
            "text": True,
            "stdin": subprocess.DEVNULL,
        }

    def finlake(self, *arguments: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
        """Run ``finlake`` to its end."""
        return subprocess.run(**self.command(*arguments), capture_output=True, timeout=timeout, check=False)

    def must(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``finlake``; it must succeed."""
        done = self.finlake(*arguments)
        assert done.returncode == 0, f"finlake {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str) -> Any:
        """Run ``finlake``; it must succeed and print JSON."""
        return json.loads(self.must(*arguments).stdout)

    def with_own_spark(self) -> Lakehouse:
        """The same lake, whose commands start a Spark of their own instead of asking the server."""
        return replace(self, variables=self.variables | QUICK_JVM | {"SPARK_REMOTE": ""})

    def client(self, service: str) -> Any:
        """A boto3 client of the stack."""
        return boto3.client(
            service,
            endpoint_url=self.aws["AWS_ENDPOINT_URL"],
            region_name=self.aws["AWS_REGION"],
            aws_access_key_id=self.aws["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.aws["AWS_SECRET_ACCESS_KEY"],
        )

    def create(self) -> Lakehouse:
        """Make buckets and databases, as Terraform would."""
        s3, glue = self.client("s3"), self.client("glue")
        roots = [getattr(self.settings, f"{layer}_uri") for layer in ("bronze", "silver", "gold")]
        for uri in (*roots, self.settings.athena_results_uri):
            region = {"LocationConstraint": self.aws["AWS_REGION"]}
            bucket = uri.removeprefix("s3://").partition("/")[0]
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=region)
        for layer in LAYERS:
            if layer != "bronze":
                glue.create_database(DatabaseInput={"Name": self.settings.database(layer)})
        return self

    def put(self, key: str, data: bytes) -> None:
        """Put an object into Bronze."""
        bucket = self.settings.bronze_uri.removeprefix("s3://")
        self.client("s3").put_object(Bucket=bucket, Key=key, Body=data)

    @contextmanager
    def reachable(self) -> Iterator[None]:
        """Let this process itself reach the stack."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.aws.items():
                patch.setenv(name, value)
            yield

    def frame(self, layer: str, table: str, sql: str = "SELECT * FROM {}") -> pl.DataFrame:
        """A table, or what a statement makes of it, read by DuckDB and not by the engine that wrote it."""
        with self.reachable():
            connection = connect()
            attach_uri(connection, layer, table, self.settings.table_uri(layer, table))
            return connection.execute(sql.format(f"{layer}.{table}")).pl()


def clean_environment() -> dict[str, str]:
    """This process's environment without what would change finlake's behaviour."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NativeStack]:
    """The emulator and a Spark server, on free ports; commands beside its home find them by themselves."""
    stack = NativeStack(tmp_path_factory.mktemp("clone") / ".finlake", free_port(), with_spark=True)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(FOREIGN)]:
            patch.delenv(name)
        stack.up()
    yield stack
    stack.down()


def lakehouse(stack: NativeStack, prefix: str, **variables: str) -> Lakehouse:
    """An empty lake of its own on the stack."""
    return Lakehouse(
        folder=stack.home.parent,
        settings=Settings(prefix=prefix, env="local"),
        variables={"FINLAKE_PREFIX": prefix, **variables},
        aws=stack.environment(),
    ).create()


@dataclass(frozen=True)
class Story:
    """A lake that was loaded in two batches, and what the commands said."""

    lake: Lakehouse
    runs: list[subprocess.CompletedProcess[str]]
    checks: list[list[dict[str, Any]]]
    versions: list[Mapping[str, int]]


SCALE = 60


@pytest.fixture(scope="session")
def story(stack: NativeStack) -> Story:
    """Initial load, increment, nothing new: generated, run and verified by ``finlake``, never disturbed."""
    story = Story(lakehouse(stack, "story"), [], [], [])
    for batch in (0, 1):
        generate(story.lake, batch)
        story.runs.append(story.lake.must("run", *(["--json"] if batch else [])))
        story.checks.append(json.loads(story.lake.finlake("verify", "--json").stdout))
        story.versions.append(table_versions(story.lake))
    story.runs.append(story.lake.must("run"))
    story.versions.append(table_versions(story.lake))
    return story


def generate(lake: Lakehouse, batch: int) -> None:
    """Put a generated batch into Bronze; the same one for every lake."""
    lake.must(
        "generate", "--scale", str(SCALE), "--batch", str(batch), "--seed", "7", "--dirty", "0.05",
        "--out", lake.settings.bronze_uri,
    )  # fmt: skip


def table_versions(lake: Lakehouse) -> dict[str, int]:
    """Delta version of every table of the lake, ops tables too, by ``layer.table``."""
    from pipeline.tables import table_version

    glue = lake.client("glue")
    with lake.reachable():
        return {
            f"{layer}.{table['Name']}": table_version(table["StorageDescriptor"]["Location"])
            for layer in LAYERS[1:]
            for table in glue.get_tables(DatabaseName=lake.settings.database(layer))["TableList"]
            if table["TableType"] != "VIRTUAL_VIEW"
        }
