"""A clone of the project with a Docker stack of its own, used by the commands that people use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from containers import PORTS
from lakehouse import QUICK_JVM, Lakehouse, clean_environment, free_port

from emulator.docker import COMPOSE_FILE, DockerStack
from pipeline.settings import Settings

ROOT = Path(__file__).parents[2]
# What the images are built from.
SOURCES = ("contracts", "datagen", "docker", "emulator", "ml", "pipeline")
FILES = (".dockerignore", "docker-compose.yml", "LICENSE", "README.md", "constraints.txt", "pyproject.toml")


@dataclass(frozen=True)
class Clone:
    """A copy of the project, so that nothing in this one is touched.

    Attributes:
        folder: Where it lies.
        variables: A Compose project name and ports of its own.
    """

    folder: Path
    variables: dict[str, str]

    @classmethod
    def at(cls, folder: Path, name: str) -> Clone:
        """Copy what the images are built from; Spark is made one that starts quickly."""
        for source in SOURCES:
            shutil.copytree(ROOT / source, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
        for file in FILES:
            shutil.copy(ROOT / file, folder)
        compose_file = folder / COMPOSE_FILE
        stack = yaml.safe_load(compose_file.read_text())
        stack["services"]["spark"]["environment"] |= QUICK_JVM
        compose_file.write_text(yaml.safe_dump(stack))
        return cls(folder, own_variables(name))

    def emulator(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run ``python -m emulator``, which is behind ``make up``, ``make status`` and ``make down``."""
        return subprocess.run(
            [sys.executable, "-m", "emulator", *arguments],
            cwd=self.folder,
            env=clean_environment() | self.variables | variables,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def must(self, *arguments: str, **variables: str) -> str:
        """Run ``python -m emulator``; it must succeed. Returns what it printed."""
        done = self.emulator(*arguments, **variables)
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def status(self, **variables: str) -> dict[str, Any]:
        """What ``status --json`` says."""
        found: dict[str, Any] = json.loads(self.must("status", "--json", **variables))
        return found

    def compose(self, *arguments: str) -> str:
        """Run ``docker compose``; it must succeed. Returns what it printed."""
        command = [*DockerStack(self.folder / ".finlake")._compose(), *arguments]
        done = subprocess.run(
            command, env=clean_environment() | self.variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{arguments}\n{done.stderr}"
        return done.stdout

    @property
    def aws(self) -> dict[str, str]:
        """Variables that lead the AWS SDKs to the stack."""
        return {
            "AWS_ENDPOINT_URL": f"http://localhost:{self.variables['FINLAKE_PORT']}",
            "AWS_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_ALLOW_HTTP": "true",
        }

    def lake(self, prefix: str) -> Lakehouse:
        """An empty lake on the stack."""
        settings = Settings(prefix=prefix, env="local")
        variables = self.variables | {"FINLAKE_PREFIX": prefix}
        return Lakehouse(self.folder, settings, variables, self.aws).create()


def own_variables(name: str) -> dict[str, str]:
    """A Compose project name and ports that nobody else uses."""
    project = f"finlake-{name}-{os.getpid()}"
    return {"COMPOSE_PROJECT_NAME": project} | {port: str(free_port()) for port in PORTS.values()}


def disturbed_run(
    lake: Lakehouse, faults: dict[str, Callable[[], object]], *arguments: str
) -> subprocess.CompletedProcess[str]:
    """``finlake run``, during which something happens.

    Args:
        lake: Where.
        faults: What is done when a line is first seen on stderr; what was done is taken out.
        arguments: Options of the run.
    """
    command = lake.command("run", *arguments)
    process = subprocess.Popen(**command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = []
    for text in process.stderr or ():
        said.append(text)
        for line in [line for line in faults if line in text]:
            faults.pop(line)()
    return subprocess.CompletedProcess(command["args"], process.wait(), None, "".join(said))


def assert_fails_clearly(done: subprocess.CompletedProcess[str], *messages: str) -> None:
    """It ended with exit code 1, an error that says this, and nothing that only its makers understand."""
    assert done.returncode == 1, done.stderr
    for message in messages:
        assert message in done.stderr, done.stderr
    for foreign in ("Traceback", "Exception", "Warning", "\n\tat ", "Rpc"):
        assert foreign not in done.stderr, done.stderr
