"""The laptop's AWS in containers: Docker Compose, spoken to through its command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from emulator.native import (
    DASHBOARD_PORT,
    DASHBOARD_PORT_VARIABLE,
    DEFAULT_PORT,
    DIRECT,
    HEALTH_PATH,
    PORT_VARIABLE,
    SPARK_PORT,
    SPARK_UI_PORT,
    client_environment,
)
from emulator.process import StackError, require_free, without_aws_account, write_env_file
from emulator.status import StackStatus

COMPOSE_FILE = "docker-compose.yml"
SPARK_PORT_VARIABLE = "FINLAKE_SPARK_PORT"
SPARK_UI_PORT_VARIABLE = "FINLAKE_SPARK_UI_PORT"
ENGINE_SECONDS = 10
LOOK_SECONDS = 30
UP_SECONDS = 300  # from nothing to all healthy takes 15 seconds; a slow and busy machine may need minutes
LOG_LINES = 12
ENV_HEADER = "# The docker stack\n"
NEEDED = ("s3", "glue")  # without these there is no lake


def engine_problem() -> str | None:
    """Why Docker cannot be used here, or None when an engine and Compose v2 answer."""
    for command in (["docker", "version"], ["docker", "compose", "version"]):
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=ENGINE_SECONDS, check=False
            )
        except FileNotFoundError:
            return "there is no command docker"
        except subprocess.TimeoutExpired:
            return f"`{' '.join(command)}` does not end"
        if done.returncode:
            return _last_line(done.stderr) or f"`{' '.join(command)}` fails"
    return None


class DockerStack:
    """Starts, stops and shows the containers of a project.

    Args:
        home: Folder for connection files: ``.finlake`` beside the project's ``docker-compose.yml``.
        port: Port of the gateway; :data:`DEFAULT_PORT` if none is given and none is running.
    """

    kind = "docker"

    def __init__(self, home: Path, port: int | None = None) -> None:
        self.home = home.resolve()
        self.project = self.home.parent
        self.port = port

    @property
    def env_file(self) -> Path:
        """The dotenv file with the variables a client needs; it exists only while the stack is up."""
        return self.home / "local.env"

    def can_be_used(self) -> bool:
        """Whether this project has a compose file, and a Docker engine answers."""
        return (self.project / COMPOSE_FILE).is_file() and engine_problem() is None

    def require_engine(self) -> None:
        """See that an engine answers, if it ran the stack when that was last looked at.

        Without this, a stack whose engine was stopped would be taken for one that is down, or another
        one, which knows nothing of its tables, would be started in its place.

        Raises:
            StackError: It does not answer.
        """
        was_up = self.env_file.is_file() and self.env_file.read_text(encoding="utf-8").startswith(ENV_HEADER)
        if was_up and (problem := engine_problem()):
            raise StackError(
                f"the Docker engine does not answer: {problem}. The stack was up there, and its data is "
                "kept: start Docker, then `make up`; or use STACK=native, which has data of its own"
            )

    def up(self) -> StackStatus:
        """Build the images that have changed, start what is not running, and wait until all is healthy.

        Raises:
            StackError: There is no engine, a port is taken, an image is missing, or a service does not
                become healthy in time; the message says which, with the end of its log.
        """
        if problem := engine_problem():
            raise StackError(
                f"the Docker engine does not answer: {problem}. "
                "Start it, or use STACK=native, which needs none"
            )
        if not (self.project / COMPOSE_FILE).is_file():
            raise StackError(
                f"there is no {COMPOSE_FILE} in {self.project}: run this inside of finlake's clone"
            )
        self.home.mkdir(parents=True, exist_ok=True)
        running = self._containers()
        wanted = self._ports()
        if not running:
            variables = (
                PORT_VARIABLE,
                SPARK_PORT_VARIABLE,
                SPARK_UI_PORT_VARIABLE,
                DASHBOARD_PORT_VARIABLE,
            )
            for variable, port in zip(variables, wanted, strict=True):
                require_free(port, f"{variable}={port + 1} in the environment")
        self._compose_aloud("build", "--quiet")
        if self._compose_aloud("up", "--detach", "--wait", "--wait-timeout", str(UP_SECONDS), "--no-build"):
            raise StackError(self._why_not_up())
        status = self.status()
        _require_services(str(status.endpoint))
        found = client_environment(str(status.endpoint), status.spark)
        write_env_file(self.env_file, found, ENV_HEADER)
        return status

    def down(self) -> bool:
        """Stop and remove the containers; their volumes, and so all data, are kept.

        Returns:
            Whether there was a stack to stop.
        """
        was_there = bool(self._containers())
        if was_there:
            self._must("down", "--remove-orphans")
        self.env_file.unlink(missing_ok=True)
        return was_there

    def clean(self) -> None:
        """Stop the containers and delete their volumes: all local buckets and tables are gone."""
        self._must("down", "--remove-orphans", "--volumes")
        self.env_file.unlink(missing_ok=True)

    def status(self) -> StackStatus:
        """Look which containers run, and whether they are healthy."""
        containers = self._containers()
        services = {str(one["Service"]): str(one["Health"] or one["State"]) for one in containers}
        if not services:
            return StackStatus(state="down", home=str(self.home), kind=self.kind)
        healthy = set(services.values()) == {"healthy"} and {"gateway", "spark"} <= set(services)
        published = _published(containers)
        port = published.get(("gateway", 4566))
        spark, web = published.get(("spark", 15002)), published.get(("spark", 4040))
        dashboard = published.get(("dashboard", DASHBOARD_PORT))
        return StackStatus(
            state="up" if healthy else "unhealthy",
            home=str(self.home),
            kind=self.kind,
            port=port,
            endpoint=f"http://localhost:{port}" if port else None,
            spark=f"sc://localhost:{spark}" if spark else None,
            spark_ui=f"http://localhost:{web}" if web else None,
            dashboard=f"http://localhost:{dashboard}" if dashboard else None,
            services=services,
        )

    def command(self, service: str, *arguments: str, tty: bool) -> list[str]:
        """The command line that runs ``arguments`` in a container: of a running service, or a new one."""
        how = ["run", "--rm", "--quiet-pull"] if service == "datagen" else ["exec"]
        return [*self._compose(), *how, *([] if tty else ["-T"]), service, *arguments]

    def _ports(self) -> tuple[int, int, int, int]:
        spark = int(os.environ.get(SPARK_PORT_VARIABLE) or SPARK_PORT)
        web = int(os.environ.get(SPARK_UI_PORT_VARIABLE) or SPARK_UI_PORT)
        dashboard = int(os.environ.get(DASHBOARD_PORT_VARIABLE) or DASHBOARD_PORT)
        return self.port or DEFAULT_PORT, spark, web, dashboard

    def _compose(self) -> list[str]:
        return ["docker", "compose", "--file", str(self.project / COMPOSE_FILE)]

    def _environment(self) -> Mapping[str, str]:
        return without_aws_account() | {PORT_VARIABLE: str(self._ports()[0])}

    def _run(self, *arguments: str, seconds: float | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._compose(), *arguments],
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def _must(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode:
            raise StackError(f"`docker compose {arguments[0]}` failed: {_last_line(done.stderr)}")
        return done.stdout

    def _compose_aloud(self, *arguments: str) -> int:
        """Run a command whose progress the user sees."""
        done = subprocess.run([*self._compose(), *arguments], env=self._environment(), check=False)
        if done.returncode and arguments[0] != "up":
            raise StackError(f"`docker compose {arguments[0]}` failed; its own message is above")
        return done.returncode

    def _containers(self) -> list[dict[str, object]]:
        """What ``docker compose ps`` says, one entry per container; none when no engine answers."""
        if not (self.project / COMPOSE_FILE).is_file() or shutil.which("docker") is None:
            return []
        try:
            done = self._run("ps", "--all", "--format", "json", seconds=LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            return []
        if done.returncode:
            return []
        found: list[dict[str, object]] = []
        for line in done.stdout.splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                found += entry if isinstance(entry, list) else [entry]  # older versions print one list
        return [one for one in found if one.get("Service") != "datagen"]

    def _why_not_up(self) -> str:
        images = self._run("config", "--images").stdout.split()
        missing = [image for image in images if not _is_here(image)]
        if missing:
            return f"the image {missing[0]} is not here, and could not be fetched; docker says why above"
        bad = {name: state for name, state in self.status().services.items() if state != "healthy"}
        if not bad:
            return "`docker compose up` failed; its own message is above"
        said = []
        for name, state in bad.items():
            if state != "created":
                said.append(f"{name} is {state}{self._last_words(name)}")
        return "\n".join(said or [f"{', '.join(bad)} did not start; docker's own message is above"])

    def _last_words(self, service: str) -> str:
        """How often a service was started, if more than once, and the end of its log."""
        container = self._run("ps", "--all", "--quiet", service).stdout.strip()
        count = ["docker", "inspect", "--format", "{{.RestartCount}}", container]
        restarts = subprocess.run(count, capture_output=True, text=True, check=False).stdout.strip()
        # Not by `docker compose logs`, which puts a control sequence before each line.
        log = subprocess.run(
            ["docker", "logs", "--tail", str(LOG_LINES), container],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        ).stdout
        again = "" if restarts in ("", "0") else f" (restarts: {restarts})"
        return f"{again}. The end of its log:\n{log.rstrip()}"


def _require_services(endpoint: str) -> None:
    """See that what is healthy also serves what a lake needs.

    Raises:
        StackError: It does not.
    """
    try:
        with DIRECT.open(f"{endpoint}{HEALTH_PATH}", timeout=ENGINE_SECONDS) as answer:
            services: dict[str, str] = json.load(answer)["services"]
    except OSError as error:
        raise StackError(f"the containers are healthy, but {endpoint} does not answer: {error}") from error
    missing = [name for name in NEEDED if services.get(name, "disabled") == "disabled"]
    if missing:
        raise StackError(
            f"the stack is up, but does not serve {' and '.join(missing)}: check LOCALSTACK_SERVICES and "
            "FINLAKE_CATALOG_SERVICES in the environment, or unset them; then `make up` again"
        )


def _is_here(image: str) -> bool:
    command = ["docker", "image", "inspect", image]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _published(containers: list[dict[str, object]]) -> dict[tuple[str, int], int]:
    """Ports on this machine, by service and port in the container."""
    return {
        (str(one["Service"]), int(publisher["TargetPort"])): int(publisher["PublishedPort"])
        for one in containers
        for publisher in one.get("Publishers") or ()  # type: ignore[attr-defined]
        if publisher["PublishedPort"]
    }


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""
