"""A Docker engine, the project's images, and a whole stack under a project name of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from containers import Compose, compose, engine

__all__ = ["compose", "engine"]  # fixtures


@pytest.fixture(scope="session", autouse=True)
def _only_with_an_engine(engine: None) -> None:
    """Nothing here runs without Docker."""


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
