"""The laptop's AWS without Docker: background processes of this user.

The gateway is the address that clients know; behind it, MiniStack serves the AWS services. Beside them,
when asked for, a Spark Connect server stays warm, and a dashboard is served. S3's data goes straight to
MiniStack, so that no Python proxy slows it down. All they keep is below one folder, their *home*
(``.finlake`` in a project's root):

    gateway.json, ministack.json, ...   which process serves on which port, while it runs
    local.env                    the variables a client needs, while the stack runs (dotenv)
    state/                       S3 objects and the other services' memory; survives stops and crashes
    logs/                        what the processes said
"""

from __future__ import annotations

import fcntl
import os
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from emulator.process import (
    Record,
    Server,
    StackError,
    free_port,
    is_listening,
    require_free,
    without_aws_account,
    write_env_file,
)
from emulator.status import StackStatus

DEFAULT_PORT = 4566
PORT_VARIABLE = "FINLAKE_PORT"
SPARK_PORT = 15002
SPARK_UI_PORT = 4040
DASHBOARD_PORT = 4580
DASHBOARD_PORT_VARIABLE = "FINLAKE_DASHBOARD_PORT"
REGION = "eu-central-1"
HEALTH_PATH = "/_localstack/health"
AWS_SECONDS = 30.0
SPARK_SECONDS = 90.0
DASHBOARD_SECONDS = 60.0

AWS_MODULE = "emulator.server"
GATEWAY_MODULE = "emulator.gateway"
# Any module will do that serves Spark Connect on --port, and Spark's web pages on --ui-port.
SPARK_MODULE = "pipeline.spark_server"
# And any that serves a web page on --port, and answers on /health.
DASHBOARD_MODULE = "pipeline.dashboard.server"
# No proxy: the emulator is on this machine, whatever HTTP_PROXY says.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NativeStack:
    """Starts, stops and shows the processes of one home folder.

    Args:
        home: The folder for state, log and connection files; made when the stack starts.
        port: Port of the AWS emulator; :data:`DEFAULT_PORT` if none is given and none is running.
        with_spark: Also start a Spark Connect server.
        with_dashboard: Also serve the dashboard.
    """

    kind = "native"

    def __init__(
        self,
        home: Path,
        port: int | None = None,
        *,
        with_spark: bool = False,
        with_dashboard: bool = False,
    ) -> None:
        self.home = home.resolve()
        self.port = port
        self.with_spark = with_spark
        self.with_dashboard = with_dashboard
        self.aws = Server("ministack", AWS_MODULE, self.home, _answers, AWS_SECONDS)
        self.gateway = Server("gateway", GATEWAY_MODULE, self.home, _answers, AWS_SECONDS)
        self.spark = Server("spark", SPARK_MODULE, self.home, is_listening, SPARK_SECONDS)
        self.dashboard = Server(
            "dashboard", DASHBOARD_MODULE, self.home, _serves_dashboard, DASHBOARD_SECONDS
        )

    @property
    def env_file(self) -> Path:
        """The dotenv file with :meth:`environment`; it exists only while the stack is up."""
        return self.home / "local.env"

    def up(self) -> StackStatus:
        """Start what is not running, and wait until it answers; what is up already is left alone.

        Raises:
            StackError: The port is taken, the stack runs on another port than the one asked for,
                or it does not answer in time.
        """
        (self.home / "state" / "tmp").mkdir(parents=True, exist_ok=True)
        with self._locked():
            started: list[Server] = []
            try:
                aws, gateway = self._aws(started)
                # Not asked of `environment`: for a moment, the system does not tell a new process's name.
                known = client_environment(_endpoint(gateway.port), s3=_endpoint(aws.port))
                spark = self._spark(started, known) if self.with_spark else self.spark.running()
                dashboard = (
                    self._dashboard(started, known) if self.with_dashboard else self.dashboard.running()
                )
                self.aws.wait(aws)
                self.gateway.wait(gateway)
                if spark:
                    self.spark.wait(spark)
                if dashboard:
                    self.dashboard.wait(dashboard)
            except BaseException:
                for server in started:
                    server.kill()
                raise
            write_env_file(self.env_file, self.environment())
            return self.status()

    def down(self) -> bool:
        """Stop the stack and keep its state.

        Returns:
            Whether there was a stack to stop.

        Raises:
            StackError: A process cannot be stopped.
        """
        if not self.home.is_dir():
            return False
        with self._locked():
            stopped = [server.stop() for server in (self.dashboard, self.spark, self.gateway, self.aws)]
            self.env_file.unlink(missing_ok=True)
            return any(stopped)

    def clean(self) -> None:
        """Stop the stack and delete its state and log: all local buckets and tables are gone."""
        self.down()
        for path in (self.home / "state", self.aws.log.parent):
            shutil.rmtree(path, ignore_errors=True)

    def status(self) -> StackStatus:
        """Look whether the stack runs and answers."""
        aws, gateway, spark = self.aws.running(), self.gateway.running(), self.spark.running()
        dashboard, home = self.dashboard.running(), str(self.home)
        if aws is None or gateway is None:
            left = aws or gateway or spark or dashboard
            return StackStatus(state="unhealthy" if left else "down", home=home)
        # The gateway's health is that of all behind it.
        healthy = (
            _answers(gateway.port)
            and (spark is None or is_listening(spark.port))
            and (dashboard is None or _serves_dashboard(dashboard.port))
        )
        return StackStatus(
            state="up" if healthy else "unhealthy",
            home=home,
            pid=aws.pid,
            port=gateway.port,
            endpoint=_endpoint(gateway.port),
            started=aws.started,
            spark=f"sc://localhost:{spark.port}" if spark else None,
            spark_ui=f"http://localhost:{spark.web_port}" if spark else None,
            dashboard=_endpoint(dashboard.port) if dashboard else None,
        )

    def environment(self) -> dict[str, str]:
        """The variables by which AWS's SDKs, its CLI, Terraform and PySpark find the stack.

        Raises:
            StackError: The stack is not running.
        """
        aws, gateway, spark = self.aws.running(), self.gateway.running(), self.spark.running()
        if aws is None or gateway is None:
            raise StackError(f"the stack of {self.home} is not running")
        remote = f"sc://localhost:{spark.port}" if spark else None
        return client_environment(_endpoint(gateway.port), remote, _endpoint(aws.port))

    def _aws(self, started: list[Server]) -> tuple[Record, Record]:
        """MiniStack and the gateway; one without the other is of no use, and is started again."""
        aws, gateway = self.aws.running(), self.gateway.running()
        if aws and gateway:
            if self.port not in {None, gateway.port}:
                raise StackError(
                    f"the stack is up already, on port {gateway.port} and not {self.port}: "
                    "stop it first (down)"
                )
            return aws, gateway
        self.gateway.stop()
        self.aws.stop()
        port = self.port or DEFAULT_PORT
        require_free(port, f"--port {port + 1}, or {PORT_VARIABLE}={port + 1} in the environment")
        inner = free_port(port + 1)
        started += [self.aws, self.gateway]
        aws = self.aws.spawn(inner, (), self._aws_environment(inner))
        return aws, self.gateway.spawn(port, (), self._gateway_environment(port, inner))

    def _spark(self, started: list[Server], known: dict[str, str]) -> Record:
        record = self.spark.running()
        if record:
            return record
        port, web_port = free_port(SPARK_PORT), free_port(SPARK_UI_PORT)
        environment = self._process_environment() | known
        started.append(self.spark)
        arguments = ("--port", str(port), "--ui-port", str(web_port), "--home")
        return self.spark.spawn(port, arguments, environment, web_port=web_port)

    def _dashboard(self, started: list[Server], known: dict[str, str]) -> Record:
        record = self.dashboard.running()
        if record:
            return record
        wanted = os.environ.get(DASHBOARD_PORT_VARIABLE)
        if wanted:
            port = int(wanted)
            require_free(port, f"{DASHBOARD_PORT_VARIABLE}={port + 1} in the environment")
        else:
            port = free_port(DASHBOARD_PORT)
        environment = self._process_environment() | known
        started.append(self.dashboard)
        return self.dashboard.spawn(port, ("--port", str(port), "--home"), environment)

    def _process_environment(self) -> dict[str, str]:
        package_root = str(Path(__file__).resolve().parents[1])
        python_path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
        scratch = str(self.home / "state" / "tmp")
        return without_aws_account() | {
            "PYTHONPATH": python_path,
            "TMPDIR": scratch,
            "SPARK_LOCAL_DIRS": scratch,
        }

    def _gateway_environment(self, port: int, inner: int) -> dict[str, str]:
        address = f"http://127.0.0.1:{inner}"
        return self._process_environment() | {
            "FINLAKE_GATEWAY_HOST": "127.0.0.1",
            "FINLAKE_GATEWAY_PORT": str(port),
            "FINLAKE_LOCALSTACK_URL": address,
            "FINLAKE_CATALOG_URL": address,
            "FINLAKE_STATE_DIR": str(self.home / "state"),
        }

    def _aws_environment(self, port: int) -> dict[str, str]:
        state = self.home / "state"
        return self._process_environment() | {
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "localhost",
            "MINISTACK_REGION": REGION,
            "PERSIST_STATE": "1",
            "STATE_DIR": str(state / "services"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(state / "s3"),
            # Without these two, it opens further ports at the start.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            # At its start it removes the containers of every MiniStack on the machine. Ours needs
            # none, so it gets no way to reach those of others.
            "DOCKER_HOST": f"unix://{state / 'no-docker.sock'}",
        }

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let only one process at a time start or stop the stack of this home."""
        with (self.home / "stack.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def find_home(start: Path) -> Path:
    """The home folder of the project that ``start`` is in: ``.finlake`` in the project's root.

    Raises:
        StackError: No folder from ``start`` upwards holds a ``pyproject.toml`` or a ``.git``.
    """
    for folder in (start.resolve(), *start.resolve().parents):
        if (folder / "pyproject.toml").exists() or (folder / ".git").exists():
            return folder / ".finlake"
    raise StackError(f"{start} is not inside a project (no pyproject.toml or .git above it): give --home")


def _endpoint(port: int) -> str:
    return f"http://localhost:{port}"


def _answers(port: int) -> bool:
    return _is_well(port, HEALTH_PATH)


def _serves_dashboard(port: int) -> bool:
    return _is_well(port, "/health")


def _is_well(port: int, path: str) -> bool:
    try:
        with DIRECT.open(f"http://127.0.0.1:{port}{path}", timeout=2) as response:
            return bool(response.status == HTTPStatus.OK)
    except OSError:
        return False


def client_environment(endpoint: str, spark: str | None = None, s3: str | None = None) -> dict[str, str]:
    """The variables by which AWS's SDKs, its CLI, Terraform and PySpark find a stack.

    Args:
        endpoint: Address of all services.
        spark: Address of a Spark Connect server.
        s3: A shorter way to S3.
    """
    more = {"SPARK_REMOTE": spark} if spark else {}
    if s3:
        more["AWS_ENDPOINT_URL_S3"] = s3
    return more | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
