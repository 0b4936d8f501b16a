"""A Docker engine, the project's images, and a whole stack under a project name of its own."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from containers import PORTS, Compose


@pytest.fixture(scope="session", autouse=True)
def engine() -> None:
    """A Docker engine that answers, with Compose v2."""
    if shutil.which("docker") is None:
        pytest.skip("there is no docker command")
    for command in (["docker", "version"], ["docker", "compose", "version"]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            pytest.skip(f"`{' '.join(command)}` fails: {done.stderr.strip()[-300:]}")


@pytest.fixture(scope="session")
def compose(engine: None) -> Compose:
    sockets = [socket.socket() for _ in PORTS]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = dict(zip(PORTS, (each.getsockname()[1] for each in sockets), strict=True))
    for each in sockets:
        each.close()
    return Compose(f"finlake-test-{os.getpid()}", ports)


@pytest.fixture(scope="session")
def images(compose: Compose) -> dict[str, Any]:
    """The project's images, built and inspected, by service."""
    compose.run("--profile", "tools", "build", timeout=1500)
    names = {
        name: service["image"] for name, service in compose.config()["services"].items() if "build" in service
    }
    command = ["docker", "image", "inspect", *names.values()]
    inspected = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return dict(zip(names, inspected, strict=True))


@pytest.fixture(scope="session")
def stack(compose: Compose, images: dict[str, Any]) -> Iterator[Compose]:
    """The whole stack, up and healthy."""
    try:
        compose.up()
        yield compose
    finally:
        compose.run("--profile", "tools", "down", "--volumes", "--timeout", "5", check=False)
