"""The gateway's price: the same S3 requests straight to an emulator and through the gateway, side by side.

    python -m bench.gateway --direct http://localhost:4601 --through http://localhost:4600

Both URLs must lead to the same emulator. Pairs of measurements alternate (direct, through, through,
direct, ...), so that whatever else the machine does hits both alike; what is printed is the median of
the pairs' ratios. Figures of different runs are not comparable, ratios are.
"""

from __future__ import annotations

import argparse
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import urlsplit

BUCKET = "gateway-bench"
LARGE = 64 * 1024 * 1024
SMALL = 1024
# The gateway routes by this; emulators do not check who signed.
SIGNED = {
    "Authorization": "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=0",
    "X-Amz-Date": "20260101T000000Z",
    "X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD",
}


@dataclass(frozen=True)
class Case:
    """One kind of request.

    Attributes:
        name: What the table calls it.
        work: Does it ``count`` times on one connection.
        count: How often one connection does it in one measurement.
        connections: How many connections do it at the same time.
        goal: Least ratio of speeds, through the gateway to direct; None if it is only watched.
    """

    name: str
    work: Callable[[HTTPConnection, int], None]
    count: int
    connections: int
    goal: float | None


def main() -> int:
    """Measure all cases and print a table; 1 if a goal is missed."""
    options = _options()
    with _connection(options.direct) as connection:
        _send(connection, "PUT", f"/{BUCKET}")
        _send(connection, "PUT", f"/{BUCKET}/large", os.urandom(LARGE))
        _send(connection, "PUT", f"/{BUCKET}/small", os.urandom(SMALL))
    print("| case | direct | through | ratio | pairs' ratios | goal | |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | --- |")
    missed = 0
    for case in CASES:
        pairs = _pairs(case, options.direct, options.through, options.pairs)
        ratio = statistics.median(direct / through for direct, through in pairs)
        low, high = (f(direct / through for direct, through in pairs) for f in (min, max))
        direct, through = (statistics.median(side) for side in zip(*pairs, strict=True))
        goal, verdict = "", ""
        if case.goal is not None:
            goal, verdict = f"{case.goal:.0%}", "met" if ratio >= case.goal else "missed"
            missed += ratio < case.goal
        print(
            f"| {case.name} | {_speed(case, direct)} | {_speed(case, through)} | {ratio:.0%} "
            f"| {low:.0%} to {high:.0%} | {goal} | {verdict} |",
            flush=True,
        )
    return int(missed > 0)


def get_large(connection: HTTPConnection, count: int) -> None:
    """Download the large object; nothing is kept."""
    buffer = memoryview(bytearray(1024 * 1024))
    for _ in range(count):
        connection.request("GET", f"/{BUCKET}/large", headers=SIGNED)
        response = connection.getresponse()
        size = 0
        while read := response.readinto(buffer):
            size += read
        if response.status != 200 or size != LARGE:
            raise RuntimeError(f"GET answered {response.status} with {size} bytes")


def put_large(connection: HTTPConnection, count: int) -> None:
    """Upload a large object, always the same one."""
    for _ in range(count):
        _send(connection, "PUT", f"/{BUCKET}/upload", bytes(LARGE))


def get_small(connection: HTTPConnection, count: int) -> None:
    """Download the small object."""
    for _ in range(count):
        if len(_send(connection, "GET", f"/{BUCKET}/small")) != SMALL:
            raise RuntimeError("GET answered a wrong size")


def head_small(connection: HTTPConnection, count: int) -> None:
    """Ask for the small object's headers."""
    for _ in range(count):
        _send(connection, "HEAD", f"/{BUCKET}/small")


def put_small(connection: HTTPConnection, count: int) -> None:
    """Upload a small object, always the same one."""
    for _ in range(count):
        _send(connection, "PUT", f"/{BUCKET}/small-upload", bytes(SMALL))


CASES = (
    Case("GET 64 MB", get_large, 1, 1, 0.8),
    Case("PUT 64 MB", put_large, 1, 1, 0.8),
    Case("GET 1 KiB, 1 connection", get_small, 200, 1, 0.5),
    Case("GET 1 KiB, 8 connections", get_small, 50, 8, 0.5),
    Case("HEAD, 1 connection", head_small, 200, 1, 0.5),
    Case("HEAD, 8 connections", head_small, 50, 8, 0.5),
    Case("PUT 1 KiB, 1 connection", put_small, 100, 1, None),
    Case("PUT 1 KiB, 8 connections", put_small, 25, 8, None),
)


def _pairs(case: Case, direct: str, through: str, number: int) -> list[tuple[float, float]]:
    for url in (direct, through):
        _seconds(case, url)  # to warm up
    pairs = []
    for index in range(number):
        order = (direct, through) if index % 2 == 0 else (through, direct)
        seconds = {url: _seconds(case, url) for url in order}
        pairs.append((seconds[direct], seconds[through]))
    return pairs


def _seconds(case: Case, url: str) -> float:
    """How long one measurement takes; connections are open before the clock starts."""
    start = threading.Barrier(case.connections + 1)

    def work() -> None:
        with _connection(url) as connection:
            start.wait()
            case.work(connection, case.count)

    with ThreadPoolExecutor(case.connections) as threads:
        running = [threads.submit(work) for _ in range(case.connections)]
        start.wait()
        begin = time.perf_counter()
        for future in running:
            future.result()
        return time.perf_counter() - begin


@contextmanager
def _connection(url: str) -> Iterator[HTTPConnection]:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "localhost", parts.port, timeout=120, blocksize=256 * 1024)
    connection.connect()
    try:
        yield connection
    finally:
        connection.close()


def _send(connection: HTTPConnection, method: str, path: str, body: bytes | None = None) -> bytes:
    connection.request(method, path, body, SIGNED)
    response = connection.getresponse()
    answer = response.read()
    if response.status not in {200, 409}:  # 409: the bucket is there
        raise RuntimeError(f"{method} {path} answered {response.status}: {answer[:200]!r}")
    return answer


def _speed(case: Case, seconds: float) -> str:
    number = case.count * case.connections
    if number == 1:
        return f"{LARGE / seconds / 1e6:.0f} MB/s"
    return f"{number / seconds:.0f} /s"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__.partition("\n")[0])
    parser.add_argument("--direct", required=True, metavar="URL", help="the emulator")
    parser.add_argument("--through", required=True, metavar="URL", help="the gateway in front of it")
    parser.add_argument("--pairs", type=int, default=7, help="measurements of each case (default: 7)")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
