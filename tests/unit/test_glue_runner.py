"""What runs a Glue job's command: what that leaves behind is ended, and nothing is waited for in vain."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from emulator.glue import runner

GIB = 2**30
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
IGNORES_SIGTERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


@pytest.fixture
def ended() -> Iterator[psutil.Process]:
    """A process that has ended, and whose parent, this one, has not asked how."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(child.pid)
    while process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)
    yield process
    child.wait()


def test_a_process_that_ended_and_was_not_asked_how_is_not_alive(ended: psutil.Process):
    assert ended.is_running()  # psutil's word for: it is listed
    assert not runner.is_alive(ended)


def test_a_process_that_has_ended_is_not_waited_for(ended: psutil.Process, monkeypatch: pytest.MonkeyPatch):
    def sleep(_: float) -> None:
        raise AssertionError("it waits")

    monkeypatch.setattr(runner.time, "sleep", sleep)
    runner.end([ended])


def test_a_process_that_does_not_end_when_asked_is_ended(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runner, "END_SECONDS", 0.1)
    with subprocess.Popen([sys.executable, "-c", IGNORES_SIGTERM], stdout=subprocess.PIPE) as child:
        assert child.stdout
        child.stdout.readline()
        runner.end([psutil.Process(child.pid)])
        assert child.wait() == -9


def test_what_a_command_leaves_running_ends_with_it(tmp_path: Path):
    number = tmp_path / "number"
    script = (
        "import subprocess, sys, time; from pathlib import Path; "
        f"child = subprocess.Popen({SLEEP!r}); Path({str(number)!r}).write_text(str(child.pid)); "
        "time.sleep(0.5); sys.exit(3)"
    )
    command = [sys.executable, runner.__file__, str(GIB), str(tmp_path), sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.wait() == 3
    left = int(number.read_text())
    assert not psutil.pid_exists(left) or not runner.is_alive(psutil.Process(left))
