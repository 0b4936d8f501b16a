"""The emulators that are compared, and how each is started on a free port."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pytest
from containers import ROOT, behind_the_gateway
from lakehouse import clean_environment, free_port

from emulator.native import NativeStack
from emulator.process import is_listening

START_SECONDS = 60
Fixture = Callable[[str], Any]


@dataclass(frozen=True)
class Emulator:
    """A column of the table.

    Attributes:
        name: A short name for tests.
        title: The head of the column.
        used: Whether finlake's own stacks are made of it.
        start: Starts it until the context ends and gives its address; the argument brings fixtures.
        marks: Marks of its tests.
    """

    name: str
    title: str
    used: bool
    start: Callable[[Fixture], AbstractContextManager[str]]
    marks: tuple[pytest.MarkDecorator, ...] = ()


@contextmanager
def localstack(fixture: Fixture) -> Iterator[str]:
    """LocalStack and MiniStack behind the gateway, in containers."""
    compose = fixture("compose")
    compose.run("build", "gateway", timeout=600)
    with behind_the_gateway(compose, catalog=True) as stack:
        yield f"http://127.0.0.1:{stack.port}"


@contextmanager
def ministack(fixture: Fixture) -> Iterator[str]:
    """MiniStack behind the gateway, as the stack without Docker starts it."""
    stack = NativeStack(fixture("tmp_path_factory").mktemp("ministack") / ".finlake", free_port())
    try:
        yield f"http://127.0.0.1:{stack.up().port}"
    finally:
        stack.down()


@contextmanager
def moto(fixture: Fixture) -> Iterator[str]:
    """moto's server in a process of its own."""
    port = free_port()
    log = fixture("tmp_path_factory").mktemp("moto") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=clean_environment(), stdout=output, stderr=output)
    try:
        end = time.monotonic() + START_SECONDS
        while not is_listening(port):
            assert process.poll() is None and time.monotonic() < end, f"moto: {log.read_text()[-2000:]}"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _version_in_compose_file(image: str) -> str:
    found = re.search(rf"{image}:([\w.]+)", (ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert found, f"docker-compose.yml names no {image}"
    return found[1]


EMULATORS = (
    Emulator(
        "localstack",
        f"LocalStack {_version_in_compose_file('localstack/localstack')} + gateway",
        used=True,
        start=localstack,
        marks=(
            pytest.mark.docker,
            pytest.mark.filterwarnings("ignore:The wait_for_logs function:DeprecationWarning"),
        ),
    ),
    Emulator("ministack", f"MiniStack {version('ministack')} + gateway", used=True, start=ministack),
    Emulator("moto", f"moto {version('moto')}", used=False, start=moto),
)
