"""One run at a time writes a table: a lock object per entity, taken with a conditional put.

On S3, Delta commits from several drivers can overwrite each other, so this is what keeps tables
whole. The holder renews its lock while it works; a lock whose holder is dead (same machine, process
gone) or has not renewed it in time is taken over. One that was taken over all the same, as its machine had
slept or its clock was wrong, stays with whoever has it, and the run that lost it says so.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta

from pipeline.errors import FinlakeError, NoAnswerError, explain
from pipeline.settings import Settings
from pipeline.storage import delete, etag_of, read_bytes, replace_bytes, write_bytes

LIFETIME = timedelta(seconds=90)
RENEW_EVERY_SECONDS = 20.0
# S3 refuses requests of clocks that are wrong by 15 minutes, so two machines differ by twice that at most. A
# lock that is overdue by less may be alive: its holder then renews it while it is watched.
CLOCKS_DIFFER = timedelta(minutes=30)


def new_run_id(at: datetime, command: str = "") -> str:
    """Name of a run, which no other has: its instant, four random digits, and the command, if any."""
    return "-".join(filter(None, (f"{at:%Y%m%dT%H%M%S%f}", secrets.token_hex(2), command)))


@contextmanager
def exclusive(names: Sequence[str], run_id: str, settings: Settings) -> Iterator[Callable[[str], None]]:
    """Hold the locks of ``names`` (entities, or ``gold``) while the block runs.

    Gives the block a function that raises when the lock of a name is lost: to be asked before it is written
    down what was done, since whoever has the lock by now does it again.

    When the block ends because the storage does not answer any more, the locks stay: the next run takes
    them over, because this process is gone by then.

    Raises:
        FinlakeError: Another run holds one of them; the message says which run, where, since when. Or one was
            lost meanwhile, so that another run may have worked beside this one.
    """
    held: list[str] = []
    lost: list[str] = []
    can_release = True
    stop = threading.Event()
    since = datetime.now(UTC)

    def confirm(name: str) -> None:
        if not _is_held(_uri(name, settings), run_id):
            raise _lost([name], run_id)

    renewer = threading.Thread(target=_renew, args=(held, run_id, since, stop), daemon=True)
    try:
        # Always in the same order, so that two runs cannot each wait for the other's lock.
        for name in sorted(names):
            uri = _uri(name, settings)
            _take(uri, name, _claim(run_id, since))
            held.append(uri)
        renewer.start()
        yield confirm
    except Exception as error:
        can_release = not isinstance(explain(error), NoAnswerError)
        raise
    finally:
        stop.set()
        if can_release:
            if renewer.is_alive():
                renewer.join()
            for uri in held:
                if _is_held(uri, run_id):
                    delete(uri)
                else:
                    lost.append(uri.rsplit("/", 1)[-1].removesuffix(".json"))
    if lost:
        raise _lost(lost, run_id)


def _uri(name: str, settings: Settings) -> str:
    return f"{settings.table_uri('ops', '_locks')}/{name}.json"


def _is_held(uri: str, run_id: str) -> bool:
    return _holder(uri).get("run_id") == run_id


def _lost(names: Sequence[str], run_id: str) -> FinlakeError:
    return FinlakeError(
        f"run {run_id} lost its lock of {', '.join(names)}: another run may have worked beside it",
        "`finlake verify` says whether all is well; the machine may have slept, or its clock be wrong",
    )


def _take(uri: str, name: str, claim: bytes) -> None:
    if write_bytes(uri, claim, create_only=True):
        return
    etag = etag_of(uri)  # asked for before the content, so that a newer claim is never replaced
    holder = _holder(uri)
    # A request whose answer got lost is sent again: what it then finds is its own claim.
    is_own = holder and holder["run_id"] == json.loads(claim)["run_id"]
    if holder and not is_own and not _is_dead(holder, uri, etag):
        raise FinlakeError(
            f"another run is working on {name}: run {holder['run_id']} on {holder['host']} "
            f"(process {holder['pid']}), since {holder['since']}",
            f"wait until it ends; if it is gone, its lock ends by itself at {holder['expires']}",
        )
    if not (replace_bytes(uri, claim, etag) if etag else write_bytes(uri, claim, create_only=True)):
        raise FinlakeError(f"another run has just begun to work on {name}", "wait until it ends")


def _renew(held: list[str], run_id: str, since: datetime, stop: threading.Event) -> None:
    while not stop.wait(RENEW_EVERY_SECONDS):
        for uri in list(held):
            # What fails once may work the next time, well before the lock ends.
            with suppress(Exception):
                _prolong(uri, run_id, since)


def _prolong(uri: str, run_id: str, since: datetime) -> None:
    """Write the claim anew, unless the lock is somebody else's by now."""
    etag = etag_of(uri)
    if etag is None or not _is_held(uri, run_id):
        return
    if uri.startswith("s3://"):
        replace_bytes(uri, _claim(run_id, since), etag)
    else:  # there it could only be deleted and made again, and somebody else could make it first
        write_bytes(uri, _claim(run_id, since))


def _holder(uri: str) -> dict[str, object]:
    """The claim that a lock holds; empty when it is free."""
    holder: dict[str, object] = json.loads(read_bytes(uri) or b"{}")
    return holder


def _claim(run_id: str, since: datetime) -> bytes:
    claim = {
        "run_id": run_id,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": since.isoformat(timespec="seconds"),
        "expires": (datetime.now(UTC) + LIFETIME).isoformat(timespec="seconds"),
    }
    return json.dumps(claim).encode()


def _is_dead(holder: dict[str, object], uri: str, etag: str | None) -> bool:
    """Whether nobody holds the lock any more; when that is not plain, waits for a sign of life."""
    if holder["host"] == socket.gethostname() and not _is_running(int(str(holder["pid"]))):
        return True
    overdue = datetime.now(UTC) - datetime.fromisoformat(str(holder["expires"]))
    if overdue < timedelta(0):
        return False
    if overdue > CLOCKS_DIFFER:
        return True
    time.sleep(1.5 * RENEW_EVERY_SECONDS)
    return etag_of(uri) == etag


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
