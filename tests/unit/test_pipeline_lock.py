"""One run at a time: a lock is refused, taken over, renewed and given back."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from pipeline import lock
from pipeline.errors import FinlakeError, NoAnswerError
from pipeline.lock import exclusive
from pipeline.storage import read_bytes, write_bytes


def uri_of(name, lake):
    return f"{lake.table_uri('ops', '_locks')}/{name}.json"


def held_by(lake, name="loans", **changes):
    claim = {
        "run_id": "run-of-another",
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": "2024-05-01T12:00:00+00:00",
        "expires": (datetime.now(UTC) + timedelta(minutes=5)).isoformat(),
    }
    write_bytes(uri_of(name, lake), json.dumps(claim | changes).encode())


def a_dead_process():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_a_lock_is_there_while_the_block_runs_and_gone_afterwards(lake):
    with exclusive(["loans", "gold"], "r1", lake):
        for name in ("loans", "gold"):
            claim = json.loads(read_bytes(uri_of(name, lake)))
            assert (claim["run_id"], claim["pid"]) == ("r1", os.getpid())
    assert read_bytes(uri_of("loans", lake)) is None
    assert read_bytes(uri_of("gold", lake)) is None


def test_a_second_run_is_refused_and_told_who_holds_the_lock(lake):
    with (
        exclusive(["loans"], "r1", lake),
        pytest.raises(FinlakeError, match=f"another run is working on loans: run r1 on .*{os.getpid()}"),
        exclusive(["customers", "loans"], "r2", lake),
    ):
        pytest.fail("two runs held the same lock")
    assert read_bytes(uri_of("loans", lake)) is None


def test_a_refused_run_gives_back_what_it_had_taken_and_leaves_the_other_alone(lake):
    held_by(lake)
    with pytest.raises(FinlakeError), exclusive(["customers", "loans"], "r2", lake):
        pytest.fail("two runs held the same lock")
    assert read_bytes(uri_of("customers", lake)) is None
    assert json.loads(read_bytes(uri_of("loans", lake)))["run_id"] == "run-of-another"


def test_runs_on_different_entities_do_not_wait_for_each_other(lake):
    with exclusive(["loans"], "r1", lake), exclusive(["customers"], "r2", lake):
        pass


def test_the_lock_of_a_process_that_is_gone_is_taken_over(lake):
    held_by(lake, pid=a_dead_process())
    with exclusive(["loans"], "r2", lake):
        assert json.loads(read_bytes(uri_of("loans", lake)))["run_id"] == "r2"


def test_the_same_process_number_on_another_host_says_nothing(lake):
    held_by(lake, host="elsewhere", pid=a_dead_process())
    with pytest.raises(FinlakeError, match="on elsewhere"), exclusive(["loans"], "r2", lake):
        pytest.fail("a living lock was taken over")


@pytest.mark.parametrize("host", [socket.gethostname(), "elsewhere"])
def test_a_lock_that_was_not_renewed_in_time_is_taken_over(lake, host, monkeypatch):
    monkeypatch.setattr(lock, "RENEW_EVERY_SECONDS", 0.05)
    held_by(lake, host=host, expires=(datetime.now(UTC) - timedelta(seconds=1)).isoformat())
    with exclusive(["loans"], "r2", lake):
        assert json.loads(read_bytes(uri_of("loans", lake)))["run_id"] == "r2"


def test_a_lock_that_is_overdue_by_a_clock_alone_and_renewed_meanwhile_is_alive(lake, monkeypatch):
    late = (datetime.now(UTC) - timedelta(minutes=2)).isoformat()
    held_by(lake, host="elsewhere", expires=late)
    watched = []

    def renewed_meanwhile(seconds):
        watched.append(seconds)
        held_by(lake, host="elsewhere", expires=late, since="renewed")

    monkeypatch.setattr(lock.time, "sleep", renewed_meanwhile)
    with pytest.raises(FinlakeError, match="on elsewhere"), exclusive(["loans"], "r2", lake):
        pytest.fail("a living lock was taken over")
    assert watched[0] > lock.RENEW_EVERY_SECONDS
    held_by(lake, host="elsewhere", expires=(datetime.now(UTC) - timedelta(hours=1)).isoformat())
    with exclusive(["loans"], "r2", lake):
        assert len(watched) == 1, "long overdue, it is not watched"


def test_locks_are_given_back_when_the_block_fails(lake):
    with pytest.raises(ZeroDivisionError), exclusive(["loans", "gold"], "r1", lake):
        raise ZeroDivisionError
    with exclusive(["loans", "gold"], "r2", lake):
        pass


def test_a_lock_is_renewed_while_it_is_held_and_keeps_its_beginning(lake, monkeypatch):
    monkeypatch.setattr(lock, "RENEW_EVERY_SECONDS", 0.05)
    with exclusive(["loans"], "r1", lake):
        first = json.loads(read_bytes(uri_of("loans", lake)))
        deadline = time.monotonic() + 20
        while (now := json.loads(read_bytes(uri_of("loans", lake)))) == first:
            assert time.monotonic() < deadline, "the lock was never renewed"
            time.sleep(0.1)
        assert now["expires"] > first["expires"]
        assert now["since"] == first["since"]


def test_a_lock_that_was_taken_over_is_neither_renewed_nor_given_back_and_its_loss_is_told(lake, monkeypatch):
    monkeypatch.setattr(lock, "RENEW_EVERY_SECONDS", 0.02)
    renewed = threading.Event()
    prolong = lock._prolong

    def noted(uri, run_id, since):
        prolong(uri, run_id, since)
        if json.loads(read_bytes(uri))["run_id"] == "run-of-another":
            renewed.set()

    monkeypatch.setattr(lock, "_prolong", noted)
    with (
        pytest.raises(FinlakeError, match="run r1 lost its lock of loans"),
        exclusive(["customers", "loans"], "r1", lake),
    ):
        deadline = time.monotonic() + 20
        held_by(lake)
        while not renewed.wait(0.2):  # an attempt that had begun before may still replace the other claim
            assert time.monotonic() < deadline, "nobody tried to renew it"
            held_by(lake)
        assert json.loads(read_bytes(uri_of("loans", lake)))["run_id"] == "run-of-another"
    assert json.loads(read_bytes(uri_of("loans", lake)))["run_id"] == "run-of-another"
    assert read_bytes(uri_of("customers", lake)) is None


def test_a_run_can_ask_whether_it_still_holds_a_lock(lake):
    with (
        pytest.raises(FinlakeError, match="r1 lost"),
        exclusive(["customers", "loans"], "r1", lake) as confirm,
    ):
        confirm("loans")
        held_by(lake)
        confirm("customers")
        with pytest.raises(FinlakeError, match="run r1 lost its lock of loans"):
            confirm("loans")


def test_what_went_wrong_is_told_rather_than_a_lost_lock(lake):
    with pytest.raises(ZeroDivisionError), exclusive(["loans"], "r1", lake):
        held_by(lake)
        raise ZeroDivisionError


def test_its_own_claim_is_no_other_run(lake):
    # The answer to the request that made it got lost, so that it was sent again.
    held_by(lake, run_id="r1")
    with exclusive(["loans"], "r1", lake):
        assert json.loads(read_bytes(uri_of("loans", lake)))["run_id"] == "r1"
    assert read_bytes(uri_of("loans", lake)) is None


def test_a_run_whose_storage_is_gone_does_not_wait_for_it_again(lake):
    with pytest.raises(NoAnswerError), exclusive(["loans"], "r1", lake):
        raise NoAnswerError("the storage is gone")
    assert read_bytes(uri_of("loans", lake)) is not None
