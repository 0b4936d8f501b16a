"""The laptop's AWS without Docker: MiniStack as a background process of this user.

Everything it keeps is below one folder, its *home* (``.finlake`` in the root of a project):

    stack.json           which process serves on which port, while it runs
    local.env            the AWS variables a client needs, while it runs (dotenv)
    state/               S3 objects and the other services' memory; survives stops and crashes
    logs/ministack.log   what the emulator said
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import psutil
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

DEFAULT_PORT = 4566
PORT_VARIABLE = "FINLAKE_PORT"
REGION = "eu-central-1"
HEALTH_PATH = "/_localstack/health"
START_SECONDS = 30.0
STOP_SECONDS = 20.0
RELEASE_SECONDS = 2.0
POLL_SECONDS = 0.05
LOG_LINES = 8

_SERVER = "emulator.server"
# No proxy: the emulator is on this machine, whatever HTTP_PROXY says.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StackError(Exception):
    """The stack cannot be started, stopped or found; the message says why and what to do."""


@dataclass(frozen=True)
class StackStatus:
    """What is known about the stack of one home folder.

    Attributes:
        state: ``up`` (answers), ``unhealthy`` (the process runs but does not answer) or ``down``.
        home: The folder that holds its state and log.
        pid: Process id, while it runs.
        port: Port on the loopback interface, while it runs.
        endpoint: Address for AWS clients, while it runs.
        started: Time of the start in UTC, ISO 8601, while it runs.
    """

    state: str
    home: str
    pid: int | None = None
    port: int | None = None
    endpoint: str | None = None
    started: str | None = None

    @property
    def is_up(self) -> bool:
        """Whether the stack runs and answers."""
        return self.state == "up"


class NativeStack:
    """Starts, stops and shows the MiniStack of one home folder.

    Args:
        home: The folder for state, log and connection files; made when the stack starts.
        port: Port to serve on; :data:`DEFAULT_PORT` if none is given and none is running.
    """

    def __init__(self, home: Path, port: int | None = None) -> None:
        self.home = home.resolve()
        self.port = port
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """The emulator's log file."""
        return self.home / "logs" / "ministack.log"

    @property
    def env_file(self) -> Path:
        """The dotenv file with :meth:`environment`; it exists only while the stack is up."""
        return self.home / "local.env"

    @property
    def _record_file(self) -> Path:
        return self.home / "stack.json"

    def up(self) -> StackStatus:
        """Start the stack and wait until it answers; a stack that is up already is left alone.

        Raises:
            StackError: The port is taken, the stack runs on another port than the one asked for,
                or it does not answer in time.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        with self._locked():
            record = self._running_record()
            if record:
                self._join(record)
            else:
                self._start(self.port or DEFAULT_PORT)
            return self.status()

    def down(self) -> bool:
        """Stop the stack and keep its state.

        Returns:
            Whether there was a stack to stop.

        Raises:
            StackError: The process cannot be stopped.
        """
        if not self.home.is_dir():
            return False
        with self._locked():
            record = self._running_record()
            if record:
                self._stop(record["pid"])
            if self._child is not None:
                self._child.poll()  # collects it, if it was this Python that had started it
            self._forget()
            return record is not None

    def clean(self) -> None:
        """Stop the stack and delete its state and log: all local buckets and tables are gone."""
        self.down()
        for path in (self.home / "state", self.log.parent):
            shutil.rmtree(path, ignore_errors=True)

    def status(self) -> StackStatus:
        """Look whether the stack runs and answers."""
        record = self._running_record()
        if record is None:
            return StackStatus(state="down", home=str(self.home))
        state = "up" if _answers(record["port"]) else "unhealthy"
        return StackStatus(state=state, home=str(self.home), **record)

    def environment(self) -> dict[str, str]:
        """The variables by which AWS's SDKs, its CLI and Terraform find the stack.

        Raises:
            StackError: The stack is not running.
        """
        record = self._running_record()
        if record is None:
            raise StackError(f"the stack of {self.home} is not running")
        return _client_environment(record["endpoint"])

    def _join(self, record: dict[str, Any]) -> None:
        if self.port not in {None, record["port"]}:
            raise StackError(
                f"the stack is up already, on port {record['port']} and not {self.port}: stop it first (down)"
            )
        if not self._wait_for_answer(record["port"]):
            raise StackError(
                f"the stack runs as process {record['pid']} but does not answer on port {record['port']}; "
                f"stop it (down) and start it again. Its log: {self.log}"
            )
        self._write_env_file(record["endpoint"])

    def _start(self, port: int) -> None:
        self._forget()
        _require_free(port)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        (self.home / "state" / "tmp").mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", _SERVER, str(self.home)],
                cwd=self.home,
                env=self._server_environment(port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C meant for the caller does not reach it
            )
        endpoint = f"http://localhost:{port}"
        try:
            self._write(
                self._record_file,
                json.dumps(
                    {
                        "pid": self._child.pid,
                        "port": port,
                        "endpoint": endpoint,
                        "started": datetime.now(UTC).isoformat(timespec="seconds"),
                    },
                    indent=2,
                ),
            )
            if not self._wait_for_answer(port, self._child):
                raise StackError(self._start_failure(port))
            self._write_env_file(endpoint)
        except BaseException:
            self._child.kill()
            self._child.wait()
            self._forget()
            raise

    def _server_environment(self, port: int) -> dict[str, str]:
        # Nothing of the user's real AWS account is handed to the emulator.
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        package_root = str(Path(__file__).resolve().parents[1])
        python_path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
        state = self.home / "state"
        return inherited | {
            "PYTHONPATH": python_path,
            "GATEWAY_PORT": str(port),
            "BIND_HOST": "127.0.0.1",
            "MINISTACK_HOST": "localhost",
            "MINISTACK_REGION": REGION,
            "PERSIST_STATE": "1",
            "STATE_DIR": str(state / "services"),
            "S3_PERSIST": "1",
            "S3_DATA_DIR": str(state / "s3"),
            "TMPDIR": str(state / "tmp"),
            # Without these two, it opens further ports at the start.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            # At its start it removes the containers of every MiniStack on the machine. Ours needs
            # none, so it gets no way to reach those of others.
            "DOCKER_HOST": f"unix://{state / 'no-docker.sock'}",
        }

    def _wait_for_answer(self, port: int, child: subprocess.Popen[bytes] | None = None) -> bool:
        """Wait until the port answers; give up at once when the child process has ended."""

        def outcome() -> bool | None:
            if child is not None and child.poll() is not None:
                return False
            return True if _answers(port) else None

        return _poll(outcome, START_SECONDS)

    def _start_failure(self, port: int) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = "\n  ".join(lines[-LOG_LINES:])
        return f"the emulator did not start on port {port}. The end of its log, {self.log}:\n  {said}"

    def _stop(self, pid: int) -> None:
        process = psutil.Process(pid)
        for end in (process.terminate, process.kill):
            with suppress(psutil.NoSuchProcess):
                end()
            if self._wait_for_end(pid):
                return
        raise StackError(f"process {pid} could not be stopped, not even by SIGKILL")

    def _wait_for_end(self, pid: int) -> bool:
        # Not by psutil's wait(): an ended process counts there until its parent collects it, which
        # some machines' init does only every other second.
        return _poll(lambda: None if self._is_ours(pid) else True, STOP_SECONDS)

    def _running_record(self) -> dict[str, Any] | None:
        """What ``stack.json`` says, if the process it names is still this stack's."""
        try:
            record = json.loads(self._record_file.read_text(encoding="utf-8"))
            fields = {name: record[name] for name in ("pid", "port", "endpoint", "started")}
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return fields if self._is_ours(fields["pid"]) else None

    def _is_ours(self, pid: int) -> bool:
        # After a reboot the number may belong to any other program: its command line tells.
        try:
            command = psutil.Process(pid).cmdline()
        except psutil.Error:
            return False
        return _SERVER in command and command[-1] == str(self.home)

    def _write_env_file(self, endpoint: str) -> None:
        lines = [f"{name}={value}" for name, value in _client_environment(endpoint).items()]
        self._write(self.env_file, "\n".join(lines) + "\n")

    @staticmethod
    def _write(path: Path, text: str) -> None:
        draft = path.with_name(path.name + ".new")
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)

    def _forget(self) -> None:
        for path in (self._record_file, self.env_file):
            path.unlink(missing_ok=True)

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


def port_user(port: int) -> str | None:
    """Who listens on a port, as ``name (process 123: command line)``, if this user may know."""
    with suppress(psutil.Error, OSError):
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
            if listens and connection.pid:
                process = psutil.Process(connection.pid)
                command = " ".join(process.cmdline())
                return f"{process.name()} (process {process.pid}: {command})"
    return None


def is_listening(port: int) -> bool:
    """Whether anything accepts connections on this port of the machine, on IPv4 or IPv6."""
    try:
        socket.create_connection(("localhost", port), timeout=1).close()
    except OSError:
        return False
    return True


def _poll(outcome: Callable[[], bool | None], seconds: float) -> bool:
    """Ask until there is an answer other than None; False when there is none in time."""
    retrying = Retrying(
        stop=stop_after_delay(seconds),
        wait=wait_fixed(POLL_SECONDS),
        retry=retry_if_result(lambda result: result is None),
    )
    try:
        return bool(retrying(outcome))
    except RetryError:
        return False


def _require_free(port: int) -> None:
    # A killed process is seen as ended a moment before the system closes its sockets.
    if not _poll(lambda: None if is_listening(port) else True, RELEASE_SECONDS):
        user = port_user(port)
        by = f" by {user}" if user else ""
        raise StackError(
            f"port {port} is in use{by}. Stop that, or choose another port: "
            f"--port {port + 1}, or {PORT_VARIABLE}={port + 1} in the environment"
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise StackError(
                f"port {port} cannot be used: {error}. Choose another one: --port {DEFAULT_PORT + 1}"
            ) from error


def _answers(port: int) -> bool:
    try:
        with _DIRECT.open(f"http://127.0.0.1:{port}{HEALTH_PATH}", timeout=2) as response:
            return bool(response.status == HTTPStatus.OK)
    except OSError:
        return False


def _client_environment(endpoint: str) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_ALLOW_HTTP": "true",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def as_json(status: StackStatus) -> str:
    """A status as JSON, for scripts."""
    return json.dumps(asdict(status), indent=2)
