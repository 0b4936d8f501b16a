"""Processes that work side by side give the same as one thread, and end with the work."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from datagen import GenerateError, generate, generator
from datagen.workers import Workers

SCRIPT = """
from datagen import generate, generator
generator.LEAST_ROWS_FOR_PROCESSES = 0
generate({out!r}, scale=4_000, file_rows=100_000, workers=2)
"""


@pytest.fixture
def by_processes(monkeypatch):
    """Work that is long enough for processes, however short it is."""
    monkeypatch.setattr(generator, "LEAST_ROWS_FOR_PROCESSES", 0)


def test_results_come_in_order_whoever_makes_them():
    for processes in (False, True):
        with Workers(2, processes=processes) as team:
            assert list(team.in_order(divmod, [(number, 3) for number in range(9)])) == [
                divmod(number, 3) for number in range(9)
            ]
            assert len(team.processes) == 2 * processes


def test_an_error_in_a_process_is_raised_here():
    with Workers(2, processes=True) as team, pytest.raises(ZeroDivisionError):
        list(team.in_order(divmod, [(1, 1), (1, 0)]))


def test_a_process_that_ends_is_an_error_and_not_a_wait():
    with Workers(2, processes=True) as team, pytest.raises(GenerateError, match="ended with code 7"):
        list(team.in_order(os._exit, [(7,)]))


def test_no_process_is_left_behind():
    with Workers(2, processes=True) as team:
        running = team.processes
    assert all(not one.is_running for one in running)


def test_a_script_without_a_guard_gets_the_same_bytes_from_processes(tmp_path):
    """Multiprocessing would run such a script once more in each process."""
    alone = generate(tmp_path / "alone", scale=4_000, file_rows=100_000, workers=1)
    script = SCRIPT.format(out=str(tmp_path / "team"))
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert len(alone.entities["transactions"].files) > 1
    for path in (path for path in (tmp_path / "alone").rglob("*") if path.is_file()):
        assert (tmp_path / "team" / path.relative_to(tmp_path / "alone")).read_bytes() == path.read_bytes()


def test_a_full_disk_in_a_process_is_named_and_the_batch_is_not_whole(tmp_path, by_processes):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/transactions").write_text("in the way of the folder")
    with pytest.raises(GenerateError, match=str(tmp_path / "out")):
        generate(tmp_path / "out", scale=50, workers=2)
    assert not list((tmp_path / "out").rglob("*.json"))


def working_in(group):
    """Processes of a group, without those that have ended and that nobody has asked yet how."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def test_an_interrupt_ends_the_processes_and_the_same_command_goes_on(tmp_path, by_processes):
    script = SCRIPT.format(out=str(tmp_path / "cut")).replace(
        "4_000, file_rows=100_000", "7_000, file_rows=1"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list((tmp_path / "cut").rglob("*transactions-b*.note")):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert working_in(process.pid) == []
    assert not list((tmp_path / "cut").rglob("*.json"))
    whole = generate(tmp_path / "whole", scale=7_000, file_rows=1, workers=2)
    assert generate(tmp_path / "cut", scale=7_000, file_rows=1, workers=2) == whole
