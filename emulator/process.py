"""One server process of this user: started in the background, remembered in a file, stopped again."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import psutil
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

STOP_SECONDS = 20.0
RELEASE_SECONDS = 2.0
POLL_SECONDS = 0.05
LOG_LINES = 8


class StackError(Exception):
    """The stack cannot be started, stopped or found; the message says why and what to do."""


@dataclass(frozen=True)
class Record:
    """A process that was started.

    Attributes:
        pid: Process id.
        port: Port on the loopback interface.
        started: Time of the start in UTC, ISO 8601.
        web_port: Port of its web pages, if it has any.
    """

    pid: int
    port: int
    started: str
    web_port: int | None = None


class Server:
    """A Python module that runs as a background process and serves one port of this machine.

    Args:
        name: What people call it, in messages.
        module: Run as ``python -m module ... <home>``.
        home: Folder for its record and log. As the last argument of the command line, it is what the
            process is recognised by: the same program for another home is not ours.
        answers: Whether a port answers as this server does.
        seconds: How long it may take to start.
    """

    def __init__(
        self, name: str, module: str, home: Path, answers: Callable[[int], bool], seconds: float
    ) -> None:
        self.name = name
        self.module = module
        self.home = home
        self.answers = answers
        self.seconds = seconds
        self.log = home / "logs" / f"{name}.log"
        self.record_file = home / f"{name}.json"
        self._child: subprocess.Popen[bytes] | None = None

    def running(self) -> Record | None:
        """What the record says, if the process it names is still this server."""
        try:
            known = json.loads(self.record_file.read_text(encoding="utf-8"))
            record = Record(known["pid"], known["port"], known["started"], known["web_port"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return record if self._is_ours(record.pid) else None

    def spawn(
        self,
        port: int,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        web_port: int | None = None,
    ) -> Record:
        """Start the process; :meth:`wait` then waits until it answers."""
        self.forget()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                [sys.executable, "-m", self.module, *arguments, str(self.home)],
                cwd=self.home,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C meant for the caller does not reach it
            )
        record = Record(self._child.pid, port, datetime.now(UTC).isoformat(timespec="seconds"), web_port)
        write_whole(self.record_file, json.dumps(asdict(record), indent=2))
        return record

    def wait(self, record: Record) -> None:
        """Wait until the server answers.

        Raises:
            StackError: It has ended, or does not answer in time.
        """
        child = self._child

        def outcome() -> bool | None:
            if child is not None and child.poll() is not None:
                return False
            return True if self.answers(record.port) else None

        if poll(outcome, self.seconds):
            return
        if child is None:
            raise StackError(
                f"{self.name} runs as process {record.pid} but does not answer on port {record.port}; "
                f"stop it (down) and start it again. Its log: {self.log}"
            )
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = "\n  ".join(lines[-LOG_LINES:])
        raise StackError(
            f"{self.name} did not start on port {record.port}. The end of its log, {self.log}:\n  {said}"
        )

    def kill(self) -> None:
        """End a process that this object has started, at once."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
        self.forget()

    def stop(self) -> bool:
        """Ask the process to end, and make it end if it does not.

        Returns:
            Whether there was one.

        Raises:
            StackError: It cannot be stopped.
        """
        record = self.running()
        if record:
            self._end(record.pid)
        if self._child is not None:
            self._child.poll()  # collects it, if it was this Python that had started it
        self.forget()
        return record is not None

    def forget(self) -> None:
        """Remove the record."""
        self.record_file.unlink(missing_ok=True)

    def _end(self, pid: int) -> None:
        process = psutil.Process(pid)
        for end in (process.terminate, process.kill):
            with suppress(psutil.NoSuchProcess):
                end()
            # Not by psutil's wait(): an ended process counts there until its parent collects it,
            # which some machines' init does only every other second.
            if poll(lambda: None if self._is_ours(pid) else True, STOP_SECONDS):
                return
        raise StackError(f"process {pid} could not be stopped, not even by SIGKILL")

    def _is_ours(self, pid: int) -> bool:
        # After a reboot the number may belong to any other program: its command line tells.
        try:
            command = psutil.Process(pid).cmdline()
        except psutil.Error:
            return False
        return self.module in command and command[-1] == str(self.home)


def poll(outcome: Callable[[], bool | None], seconds: float) -> bool:
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


def require_free(port: int, way_out: str) -> None:
    """See that a port can be served.

    Raises:
        StackError: It is in use, or not for this user; the message names the user and ``way_out``.
    """
    # A killed process is seen as ended a moment before the system closes its sockets.
    if not poll(lambda: None if is_listening(port) else True, RELEASE_SECONDS):
        user = port_user(port)
        by = f" by {user}" if user else ""
        raise StackError(f"port {port} is in use{by}. Stop that, or choose another port: {way_out}")
    try:
        _bind(port)
    except (OSError, OverflowError) as error:
        raise StackError(f"port {port} cannot be used: {error}. Choose another one: {way_out}") from error


def free_port(preferred: int) -> int:
    """The preferred port, or another one if that is in use."""
    if not is_listening(preferred):
        with suppress(OSError):
            return _bind(preferred)
    return _bind(0)


def _bind(port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", port))
        return int(probe.getsockname()[1])


def without_aws_account() -> dict[str, str]:
    """This process's variables, but nothing of the user's real AWS account: stacks get no more."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def write_env_file(path: Path, variables: Mapping[str, str], header: str = "") -> None:
    """Write variables as a dotenv file, below a comment."""
    write_whole(path, header + "".join(f"{name}={value}\n" for name, value in variables.items()))


def write_whole(path: Path, text: str) -> None:
    """Write a file so that nobody ever sees half of it."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
