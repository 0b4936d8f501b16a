"""The project's Compose stack, as tests use it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

ROOT = Path(__file__).resolve().parents[2]
REGION = "eu-central-1"
PORTS = {"gateway": "FINLAKE_PORT", "spark": "FINLAKE_SPARK_PORT", "web pages": "FINLAKE_SPARK_UI_PORT"}


def aws_client(service: str, port: int, **more: Any) -> Any:
    """A boto3 client of what answers on a port of this machine."""
    return boto3.client(
        service,
        endpoint_url=f"http://localhost:{port}",
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(**({"s3": {"addressing_style": "path"}} | more)),
    )


def wait_for(what: Callable[[], bool], seconds: float = 60) -> None:
    """Ask until it is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.3)


@dataclass(frozen=True)
class Compose:
    """The stack of ``docker-compose.yml`` under a name and on ports of its own."""

    project: str
    ports: dict[str, int]

    def run(self, *arguments: str, timeout: float = 280, check: bool = True) -> str:
        """Run ``docker compose``; returns what it printed."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("FINLAKE_", "LOCALSTACK_"))
        }
        variables = {PORTS[name]: str(port) for name, port in self.ports.items()}
        done = subprocess.run(
            ["docker", "compose", *arguments],
            cwd=ROOT,
            env=inherited | variables | {"COMPOSE_PROJECT_NAME": self.project},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert not check or done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def config(self) -> dict[str, Any]:
        """The stack's configuration as Compose understands it."""
        return json.loads(self.run("--profile", "tools", "config", "--format", "json"))

    def up(self, *services: str) -> None:
        """Start services, or all, and wait until they are healthy."""
        self.run("up", "--detach", "--wait", *services)

    def states(self) -> dict[str, dict[str, Any]]:
        """What runs, by service."""
        lines = self.run("ps", "--all", "--format", "json").splitlines()
        return {state["Service"]: state for state in map(json.loads, lines)}

    def client(self, service: str, **more: Any) -> Any:
        """A boto3 client of the gateway."""
        return aws_client(service, self.ports["gateway"], **more)
