"""The project's Compose stack, and its emulators without Compose, as tests use them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config

os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"  # read when testcontainers is imported

from testcontainers.community.localstack import LocalStackContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import HttpWaitStrategy

ROOT = Path(__file__).resolve().parents[1]
REGION = "eu-central-1"
CLIENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": REGION,
    "AWS_DEFAULT_REGION": REGION,
    "AWS_ALLOW_HTTP": "true",
    "FINLAKE_ENV": "local",
}
PORTS = {
    "gateway": "FINLAKE_PORT",
    "spark": "FINLAKE_SPARK_PORT",
    "web pages": "FINLAKE_SPARK_UI_PORT",
    "dashboard": "FINLAKE_DASHBOARD_PORT",
}


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


@pytest.fixture(scope="session")
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
    """The stack's Compose file, under a name and on ports that nobody else uses; nothing is started."""
    sockets = [socket.socket() for _ in PORTS]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = dict(zip(PORTS, (each.getsockname()[1] for each in sockets), strict=True))
    for each in sockets:
        each.close()
    return Compose(f"finlake-test-{os.getpid()}", ports)


@dataclass(frozen=True)
class Containers:
    """A stack without Compose: one container each, on one network.

    Attributes:
        network: Where they reach each other, by the names that Compose gives them.
        port: The gateway's port on this machine.
    """

    network: Network
    port: int

    def client(self, image: str) -> DockerContainer:
        """A container that is a client of the stack, not started yet."""
        container = DockerContainer(image).with_network(self.network)
        return container.with_envs(AWS_ENDPOINT_URL="http://gateway:4566", **CLIENT)


@contextmanager
def behind_the_gateway(compose: Compose, *, catalog: bool) -> Iterator[Containers]:
    """LocalStack behind the gateway's image, without Compose.

    Args:
        compose: Names the images, and what the emulators find in their environment.
        catalog: Whether the emulator of the catalogue stands behind the gateway, too.
    """
    services = compose.config()["services"]
    health = HttpWaitStrategy(4566, "/_localstack/health").for_status_code(200)
    with ExitStack() as running:
        network = running.enter_context(Network())

        def start(name: str, container: DockerContainer, **environment: str) -> DockerContainer:
            for variable, value in environment.items():
                container.with_env(variable, value)
            container.with_network(network).with_network_aliases(name)
            return running.enter_context(container)

        localstack = LocalStackContainer(services["localstack"]["image"])
        start("localstack", localstack, SERVICES=services["localstack"]["environment"]["SERVICES"])
        if catalog:
            environment = services["catalog"]["environment"]
            needed = {name: str(environment[name]) for name in ("GATEWAY_PORT", "MINISTACK_REGION")}
            ministack = DockerContainer(services["catalog"]["image"]).with_exposed_ports(4566)
            start("catalog", ministack.waiting_for(health), **needed)
        served = services["gateway"]["environment"]["FINLAKE_CATALOG_SERVICES"] if catalog else ""
        gateway = DockerContainer(services["gateway"]["image"]).with_exposed_ports(4566)
        start("gateway", gateway.waiting_for(health), FINLAKE_CATALOG_SERVICES=served)
        yield Containers(network, int(gateway.get_exposed_port(4566)))
