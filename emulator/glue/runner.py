"""Runs one command and lets nothing of it outlive whoever asked: a program of its own, started for each run.

    python runner.py <memory in bytes> <folder> command ...

It ends the command, with all processes that this has started, when its standard input ends (so also when
the gateway was killed), and when they take more memory together than allowed; then it leaves the file
``out-of-memory`` in the folder. It ends as the command has ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

LOOK_SECONDS = 0.1
END_SECONDS = 2.0
END_LOOK_SECONDS = 0.02
KILLED = 137  # as a shell says it of what was killed
OUT_OF_MEMORY = "out-of-memory"


def family(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that it has started, as far as they are there."""
    with suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def memory_of(processes: list[psutil.Process]) -> int:
    """Bytes that processes hold together; what they share counts for each, which is little."""
    total = 0
    for process in processes:
        with suppress(psutil.Error):
            total += process.memory_info().rss
    return total


def is_alive(process: psutil.Process) -> bool:
    """Whether a process still does something: one that has ended may be listed until its parent asks how."""
    with suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def end(processes: list[psutil.Process]) -> None:
    """Ask processes to end, then end them."""
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()
    until = time.monotonic() + END_SECONDS
    # Not by psutil.wait_procs: it waits for the parent to ask, too, and what was left behind by the command
    # has the machine's first process for a parent, which may take its time.
    while any(is_alive(process) for process in processes) and time.monotonic() < until:
        time.sleep(END_LOOK_SECONDS)
    for process in filter(is_alive, processes):
        with suppress(psutil.Error):
            process.kill()


def main() -> int:
    """Run the command; see the module."""
    limit, folder, *command = sys.argv[1:]
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    process = psutil.Process(child.pid)
    asked = threading.Event()

    def wait_for_the_end_of_input() -> None:
        while os.read(0, 1024):
            pass
        asked.set()

    threading.Thread(target=wait_for_the_end_of_input, daemon=True).start()
    seen: dict[int, psutil.Process] = {}
    while child.poll() is None and not asked.is_set():
        found = family(process)
        seen |= {one.pid: one for one in found}
        if memory_of(found) > int(limit):
            Path(folder, OUT_OF_MEMORY).touch()
            break
        time.sleep(LOOK_SECONDS)
    # Whatever it has left behind, too; psutil knows a process by its start time, not by its number alone.
    left = [*family(process), *(one for one in seen.values() if is_alive(one))]
    code = child.poll()  # before it is waited for elsewhere, and its code is lost
    end(left)
    if code is None:
        return KILLED
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
