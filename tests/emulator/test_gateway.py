"""The gateway: what arrives on either side of it, byte by byte, and what AWS's SDK makes of it.

Two kinds of upstreams stand behind it: a scripted one, which sees and says exact bytes, and two real
emulators, of which one plays LocalStack and one the catalogue.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from lakehouse import clean_environment, free_port

from emulator.native import NativeStack

pytestmark = pytest.mark.emulator

MIB = 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
GLUE = "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-central-1/glue/aws4_request, Signature=0"
NOWHERE = "http://127.0.0.1:9"


# --- a gateway, and upstreams ----------------------------------------------------------------------


@dataclass
class Gateway:
    """A running gateway."""

    process: subprocess.Popen[str]
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> Wire:
        return Wire(socket.create_connection(("127.0.0.1", self.port)))

    def talk(self, request: bytes) -> bytes:
        """Send bytes; what comes back until the gateway closes the connection."""
        wire = self.connect()
        wire.send(request)
        return wire.rest()

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


class Wire:
    """One end of a connection, in bytes."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.socket.settimeout(5)
        self._file = connection.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def head(self) -> bytes:
        """A message up to its empty line; empty at the end of the connection."""
        data = b""
        while line := self._file.readline():
            data += line
            if line == b"\r\n":
                break
        return data

    def exactly(self, size: int) -> bytes:
        return self._file.read(size)

    def until(self, end: bytes) -> bytes:
        data = b""
        while not data.endswith(end) and (byte := self._file.read(1)):
            data += byte
        return data

    def rest(self) -> bytes:
        """All until the other side closes; a reset connection is an error."""
        return self._file.read()

    def is_silent(self, seconds: float = 0.2) -> bool:
        """Whether nothing arrives for a while."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(1, socket.MSG_PEEK) is None
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(5)

    def is_ended(self) -> bool:
        """Whether the other side closes or resets the connection."""
        try:
            return self._file.read(1) == b""
        except ConnectionError:
            return True

    def hang_up(self) -> None:
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)


class Scripted:
    """An upstream that does on each connection what the test tells it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._changed = threading.Condition()
        self.plays(lambda wire: None)
        threading.Thread(target=self._accept, daemon=True).start()

    def plays(self, script: Callable[[Wire], Any]) -> None:
        """Do this on every connection from now on; earlier ones are ended and forgotten."""
        self._script = script
        self._said: list[Any] = []
        earlier, self._wires = getattr(self, "_wires", []), []
        for wire in earlier:
            wire.hang_up()

    @property
    def connections(self) -> int:
        """How many there were since the script was set."""
        return len(self._wires)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                wire = Wire(self._listener.accept()[0])
                self._wires.append(wire)
                threading.Thread(
                    target=self._play, args=[wire, self._script, self._said], daemon=True
                ).start()

    def _play(self, wire: Wire, script: Callable[[Wire], Any], said: list[Any]) -> None:
        try:
            result = script(wire)
        except Exception as error:
            result = error
        wire.hang_up()
        with self._changed:
            said.append(result)
            self._changed.notify_all()

    def saw(self) -> Any:
        """What the script gave back for the connection that ended first."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._said, 5), "the script did not end"
        return self._said[0]

    def close(self) -> None:
        self._listener.close()


@contextmanager
def running(localstack: str = NOWHERE, catalog: str = NOWHERE, **variables: str) -> Iterator[Gateway]:
    port = int(variables.setdefault("FINLAKE_GATEWAY_PORT", str(free_port())))
    process = subprocess.Popen(
        [sys.executable, "-m", "emulator.gateway"],
        env=clean_environment()
        | {"FINLAKE_LOCALSTACK_URL": localstack, "FINLAKE_CATALOG_URL": catalog}
        | variables,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert first.startswith("gateway: serving on http://127.0.0.1:"), first
        yield Gateway(process, port)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Scripted]:
    scripted = Scripted()
    yield scripted
    scripted.close()


@pytest.fixture(scope="module")
def gateway(upstream: Scripted) -> Iterator[Gateway]:
    """A gateway in front of the scripted upstream, for all services."""
    with running(f"http://127.0.0.1:{upstream.port}", FINLAKE_CATALOG_SERVICES="") as gateway:
        yield gateway


def answers(answer: bytes) -> Callable[[Wire], bytes]:
    """A script: read a request without a body, answer it, give back the request."""

    def script(wire: Wire) -> bytes:
        head = wire.head()
        wire.send(answer)
        return head

    return script


# --- requests and answers arrive as they are --------------------------------------------------------


def test_a_request_arrives_byte_by_byte_as_it_was_sent(gateway: Gateway, upstream: Scripted) -> None:
    head = (
        b"GET //b/a%2Fb%20+%C3%A9/./../%7E?prefix=a%2Fb&empty=&flag&x=1+1? HTTP/1.1\r\n"
        b"Host: bucket.s3.localhost:4566\r\n"
        b"x-amz-META-Twice: one\r\nx-amz-META-Twice: two\r\n"
        b"If-None-Match: \"abc\"\r\nRange: bytes=0-1\r\nCookie: a=b; c=d\r\n\r\n"
    )  # fmt: skip
    upstream.plays(answers(OK))
    wire = gateway.connect()
    wire.send(head)
    assert upstream.saw() == head  # with no Accept, User-Agent, Accept-Encoding or other additions


@pytest.mark.parametrize("target", [b"/b?", b"/b?acl", b"/b/%", b"/b/k%zz", b"/b//", b"/", b"/b/k#x"])
def test_odd_targets_are_not_tidied_up(gateway: Gateway, upstream: Scripted, target: bytes) -> None:
    upstream.plays(answers(OK))
    gateway.talk(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert upstream.saw().startswith(b"GET " + target + b" HTTP/1.1\r\n")


def test_an_answer_arrives_byte_by_byte_as_it_was_sent(gateway: Gateway, upstream: Scripted) -> None:
    answer = (
        b"HTTP/1.1 206 Some Of It\r\nETag: \"abc\"\r\nx-AMZ-meta-a: 1\r\nx-AMZ-meta-a: 2\r\n"
        b"Content-Encoding: gzip\r\nContent-Length: 9\r\n\r\nnot\0gzip!"
    )  # fmt: skip
    upstream.plays(answers(answer))
    wire = gateway.connect()
    wire.send(b"GET /b/k HTTP/1.1\r\nHost: x\r\n\r\n")
    assert wire.exactly(len(answer)) == answer  # with no Date, Server or Content-Type of its own
    assert wire.is_silent()


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5368709120\r\nAccept-Ranges: bytes\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 404 Not Found\r\nx-amz-request-id: 1\r\n\r\n"),
        (b"DELETE", b"HTTP/1.1 204 No Content\r\nx-amz-version-id: 1\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nETag: \"abc\"\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (b"GET", b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /x\r\nContent-Length: 1\r\n\r\n-"),
    ],
)  # fmt: skip
def test_an_answer_without_a_body_stays_one(
    gateway: Gateway, upstream: Scripted, method: bytes, answer: bytes
) -> None:
    upstream.plays(answers(answer))
    wire = gateway.connect()
    wire.send(method + b" /b/k HTTP/1.1\r\nHost: x\r\n\r\n")
    assert wire.exactly(len(answer)) == answer
    assert wire.is_silent()
    upstream.plays(answers(OK))
    wire.send(b"GET /b/k HTTP/1.1\r\nHost: x\r\n\r\n")  # and the connection can be used again
    assert wire.exactly(len(OK)) == OK


def test_headers_about_the_connection_end_at_the_gateway(gateway: Gateway, upstream: Scripted) -> None:
    upstream.plays(
        answers(
            b"HTTP/1.1 200 OK\r\nConnection: x-mine, close\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\n"
            b"X-Kept: 1\r\nContent-Length: 2\r\n\r\nok"
        )
    )
    answer = gateway.talk(
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close, X-Yours\r\nX-Yours: 1\r\nTE: trailers\r\n"
        b"Keep-Alive: 5\r\nProxy-Connection: close\r\nUpgrade: h2c\r\nX-Kept: 1\r\n\r\n"
    )
    assert upstream.saw() == b"GET / HTTP/1.1\r\nHost: x\r\nX-Kept: 1\r\n\r\n"
    assert answer == (b"HTTP/1.1 200 OK\r\nX-Kept: 1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_000])
def test_bodies_of_known_length_keep_it_both_ways(gateway: Gateway, upstream: Scripted, size: int) -> None:
    body = os.urandom(size)

    def script(wire: Wire) -> tuple[bytes, bytes]:
        head, received = wire.head(), wire.exactly(size)
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + received)
        return head, received

    upstream.plays(script)
    wire = gateway.connect()
    wire.send(
        b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % size + body
    )
    assert wire.head() == b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
    assert wire.exactly(size) == body
    head, received = upstream.saw()
    assert b"\r\nContent-Length: %d\r\n" % size in head
    assert b"ransfer-" not in head
    assert received == body


def test_bodies_of_unknown_length_are_chunked_both_ways(gateway: Gateway, upstream: Scripted) -> None:
    def script(wire: Wire) -> tuple[bytes, bytes]:
        head, body = wire.head(), wire.until(b"0\r\n\r\n")
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
        return head, body

    upstream.plays(script)
    wire = gateway.connect()
    wire.send(b"PUT /b/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    assert wire.head() == b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert wire.until(b"0\r\n\r\n") == b"3\r\nabc\r\n0\r\n\r\n"
    head, body = upstream.saw()
    assert b"\r\nTransfer-Encoding: chunked\r\n" in head
    assert b"ontent-" not in head
    assert body == b"5\r\nhello\r\n0\r\n\r\n"


def test_a_chunk_is_passed_on_before_the_next_one_comes(gateway: Gateway, upstream: Scripted) -> None:
    go_on = threading.Event()

    def script(wire: Wire) -> bytes:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        assert go_on.wait(5)
        wire.send(b"0\r\n\r\n")
        return b""

    upstream.plays(script)
    wire = gateway.connect()
    wire.send(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
    wire.head()
    assert wire.until(b"abc\r\n") == b"3\r\nabc\r\n"
    go_on.set()
    assert wire.until(b"0\r\n\r\n") == b"0\r\n\r\n"


def test_an_old_client_gets_an_answer_of_unknown_length_up_to_the_end_of_its_connection(
    gateway: Gateway, upstream: Scripted
) -> None:
    upstream.plays(answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"))
    assert gateway.talk(b"GET / HTTP/1.0\r\n\r\n") == b"HTTP/1.0 200 OK\r\n\r\nabc"


def test_pipelined_requests_are_answered_in_order(gateway: Gateway, upstream: Scripted) -> None:
    def script(wire: Wire) -> None:
        for _ in range(3):
            path = wire.head().split()[1]
            time.sleep(0.1 if path == b"/1" else 0)
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + path)

    upstream.plays(script)
    wire = gateway.connect()
    wire.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in (1, 2, 3)))
    assert [(wire.head(), wire.exactly(2))[1] for _ in range(3)] == [b"/1", b"/2", b"/3"]


def test_long_urls_and_headers_pass(gateway: Gateway, upstream: Scripted) -> None:
    upstream.plays(answers(b"HTTP/1.1 200 OK\r\nX-Long: " + b"z" * 30_000 + b"\r\nContent-Length: 0\r\n\r\n"))
    head = b"GET /b?X-Amz-Security-Token=%s HTTP/1.1\r\nHost: x\r\nX-Amz-Security-Token: %s\r\n\r\n"
    wire = gateway.connect()
    wire.send(head % (b"x" * 30_000, b"y" * 30_000))
    assert b"\r\nX-Long: " + b"z" * 30_000 + b"\r\n" in wire.head()
    assert upstream.saw() == head % (b"x" * 30_000, b"y" * 30_000)


# --- Expect: 100-continue ---------------------------------------------------------------------------

WAITING = b"PUT /b/k HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"


def test_a_body_is_asked_for_when_the_upstream_asks_for_it(gateway: Gateway, upstream: Scripted) -> None:
    go_on = threading.Event()

    def script(wire: Wire) -> tuple[bytes, bool, bytes]:
        head = wire.head()
        assert go_on.wait(5)
        is_held_back = wire.is_silent()
        wire.send(CONTINUE)
        body = wire.exactly(5)
        wire.send(OK)
        return head, is_held_back, body

    upstream.plays(script)
    wire = gateway.connect()
    wire.send(WAITING)
    assert wire.is_silent()
    go_on.set()
    assert wire.exactly(len(CONTINUE)) == CONTINUE
    wire.send(b"hello")
    assert wire.exactly(len(OK)) == OK
    assert upstream.saw() == (WAITING, True, b"hello")


def test_a_client_that_does_not_wait_for_long_is_served_too(gateway: Gateway, upstream: Scripted) -> None:
    def script(wire: Wire) -> bytes:
        wire.head()
        time.sleep(0.2)
        wire.send(CONTINUE)
        body = wire.exactly(5)
        wire.send(OK)
        return body

    upstream.plays(script)
    wire = gateway.connect()
    wire.send(WAITING + b"hello")  # botocore sends it after a second, Java's SDK after three
    assert wire.exactly(len(CONTINUE + OK)) == CONTINUE + OK
    assert upstream.saw() == b"hello"


def test_a_refused_body_is_never_asked_for_and_its_connection_is_given_up(
    gateway: Gateway, upstream: Scripted
) -> None:
    upstream.plays(answers(b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 2\r\n\r\nno"))
    wire = gateway.connect()
    wire.send(WAITING)
    assert wire.head() == (
        b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 2\r\nConnection: close\r\n\r\n"
    )
    assert wire.exactly(2) == b"no"


# --- when one side breaks off -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "part",
    [
        b"Content-Length: 10\r\n\r\nabc",  # sent in one piece
        b"Content-Length: 1000000\r\n\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n9\r\nabc",
    ],
)
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_an_upstream_that_dies_in_its_answer_never_leaves_a_short_one_that_looks_whole(
    gateway: Gateway, upstream: Scripted, part: bytes, version: bytes
) -> None:
    upstream.plays(answers(b"HTTP/1.1 200 OK\r\n" + part))
    with pytest.raises(ConnectionResetError):
        raise AssertionError(gateway.talk(b"GET / HTTP/" + version + b"\r\nHost: x\r\n\r\n"))


def test_a_client_that_leaves_while_it_waits_ends_the_upstreams_work(
    gateway: Gateway, upstream: Scripted
) -> None:
    arrived = threading.Event()

    def script(wire: Wire) -> bool:
        wire.head()
        arrived.set()
        return wire.is_ended()

    upstream.plays(script)
    wire = gateway.connect()
    wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert arrived.wait(5)
    wire.hang_up()
    assert upstream.saw() is True


@pytest.mark.parametrize(
    ("framing", "end"), [(b"Content-Length: 10", b""), (b"Transfer-Encoding: chunked", b"0\r\n\r\n")]
)
def test_an_upload_that_is_broken_off_never_looks_whole_to_the_upstream(
    gateway: Gateway, upstream: Scripted, framing: bytes, end: bytes
) -> None:
    arrived = threading.Event()

    def script(wire: Wire) -> bytes:
        wire.head()
        first = wire.exactly(3)
        arrived.set()
        try:
            return first + wire.rest()
        except ConnectionResetError:
            return first

    upstream.plays(script)
    wire = gateway.connect()
    wire.send(b"PUT /b/k HTTP/1.1\r\nHost: x\r\n" + framing + b"\r\n\r\n3\r\nabc\r\n"[: 99 if end else 9])
    assert arrived.wait(5)
    wire.hang_up()
    seen = upstream.saw()
    assert len(seen) < 10
    assert not end or not seen.endswith(end)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE"])
def test_what_may_be_repeated_is_repeated_when_its_connection_turns_out_stale(
    gateway: Gateway, upstream: Scripted, method: bytes
) -> None:
    def script(wire: Wire) -> bytes:
        wire.head()
        wire.send(answer)
        return wire.head()  # takes the next request, and closes without an answer

    answer = OK.removesuffix(b"ok") if method == b"HEAD" else OK
    upstream.plays(script)
    wire = gateway.connect()
    for _ in range(3):
        wire.send(method + b" /b/k HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wire.exactly(len(answer)) == answer
    assert upstream.connections == 3


def test_an_upload_that_waits_on_a_connection_that_turns_out_stale_is_repeated(
    gateway: Gateway, upstream: Scripted
) -> None:
    def script(wire: Wire) -> list[bytes]:
        heads = [wire.head()]
        if heads[0].startswith(b"PUT"):
            wire.send(CONTINUE)
            heads.append(wire.exactly(5))
        wire.send(OK)
        return [*heads, wire.head()]

    upstream.plays(script)
    wire = gateway.connect()
    wire.send(b"GET /b/k HTTP/1.1\r\nHost: x\r\n\r\n")
    assert wire.exactly(len(OK)) == OK
    wire.send(WAITING)
    assert wire.exactly(len(CONTINUE)) == CONTINUE
    wire.send(b"hello")
    assert wire.exactly(len(OK)) == OK
    assert upstream.saw() == [b"GET /b/k HTTP/1.1\r\nHost: x\r\n\r\n", WAITING]
    assert upstream.connections == 2


@pytest.mark.parametrize(
    "write",
    [
        b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nIf-None-Match: *\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AWSGlue.CreateTable\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
def test_a_write_never_meets_a_stale_connection_and_is_never_sent_twice(
    gateway: Gateway, upstream: Scripted, write: bytes
) -> None:
    def script(wire: Wire) -> bytes:
        head = wire.head()
        if head.startswith(b"GET"):
            wire.send(OK)
            return head + wire.rest()
        return head  # takes the request, and closes without an answer

    upstream.plays(script)
    wire = gateway.connect()
    wire.send(b"GET /b/k HTTP/1.1\r\nHost: x\r\n\r\n")
    assert wire.exactly(len(OK)) == OK
    wire.send(write)
    assert wire.is_ended()  # the client is told as it would be without a gateway
    assert upstream.saw().startswith(write.split(b" ")[0])
    time.sleep(0.2)
    assert upstream.connections == 2  # the one of the read, and one for the write


# --- memory -----------------------------------------------------------------------------------------


def test_an_upload_is_held_back_while_the_upstream_does_not_read(
    gateway: Gateway, upstream: Scripted
) -> None:
    go_on = threading.Event()

    def script(wire: Wire) -> int:
        wire.head()
        assert go_on.wait(10)
        size = 0
        while size < total:
            size += len(wire.exactly(MIB))
        wire.send(OK)
        return size

    total = 256 * MIB
    upstream.plays(script)
    before = memory(gateway)
    wire = gateway.connect()
    wire.send(b"PUT /b/k HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % total)
    sent = send_until_stuck(wire.socket, total)
    assert sent < 64 * MIB, "the gateway takes what it cannot pass on"
    held = memory(gateway)
    go_on.set()
    wire.send(bytes(total - sent))
    assert wire.exactly(len(OK)) == OK
    assert upstream.saw() == total
    assert max(held, memory(gateway)) - before < 32 * MIB


def test_a_download_is_held_back_while_the_client_does_not_read(gateway: Gateway, upstream: Scripted) -> None:
    stuck = threading.Event()
    total = 256 * MIB

    def script(wire: Wire) -> int:
        wire.head()
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        sent = send_until_stuck(wire.socket, total)
        stuck.set()
        wire.send(bytes(total - sent))
        return sent

    upstream.plays(script)
    before = memory(gateway)
    wire = gateway.connect()
    wire.send(b"GET /b/k HTTP/1.1\r\nHost: x\r\n\r\n")
    assert stuck.wait(10)
    held = memory(gateway)
    wire.head()
    size = 0
    while size < total:
        size += len(wire.exactly(MIB))
    assert upstream.saw() < 64 * MIB, "the gateway takes what it cannot pass on"
    assert max(held, memory(gateway)) - before < 32 * MIB


def memory(gateway: Gateway) -> int:
    return int(psutil.Process(gateway.process.pid).memory_info().rss)


def send_until_stuck(connection: socket.socket, total: int) -> int:
    """Send zeros until nothing more is taken for a moment."""
    connection.settimeout(0.3)
    sent, piece = 0, bytes(MIB)
    try:
        while sent < total:
            sent += connection.send(piece[: total - sent])
    except TimeoutError:
        pass
    finally:
        connection.settimeout(10)
    return sent


# --- upstreams that are not there -------------------------------------------------------------------


def boto(service: str, url: str, **options: Any) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(
            **{"s3": {"addressing_style": "path"}, "retries": {"total_max_attempts": 1}, **options}
        ),
    )


@pytest.fixture(scope="module")
def lonely() -> Iterator[Gateway]:
    """A gateway with nothing behind it."""
    with running() as gateway:
        yield gateway


@pytest.mark.parametrize(
    ("service", "call", "code"),
    [
        ("s3", "list_buckets", "ServiceUnavailable"),
        ("iam", "list_roles", "ServiceUnavailable"),
        ("glue", "get_databases", "ServiceUnavailableException"),
        ("athena", "list_work_groups", "ServiceUnavailableException"),
    ],
)
def test_an_upstream_that_is_not_there_is_a_503_in_the_services_words(
    lonely: Gateway, service: str, call: str, code: str
) -> None:
    with pytest.raises(ClientError) as caught:
        getattr(boto(service, lonely.url), call)()
    error = caught.value.response
    assert error["ResponseMetadata"]["HTTPStatusCode"] == 503
    assert error["Error"]["Code"] == code
    variable = "FINLAKE_CATALOG_URL" if service in {"glue", "athena"} else "FINLAKE_LOCALSTACK_URL"
    assert f"cannot be reached at {NOWHERE}" in error["Error"]["Message"]
    assert variable in error["Error"]["Message"]


def test_a_503_for_head_has_no_body(lonely: Gateway) -> None:
    answer = lonely.talk(b"HEAD /b/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b"\r\n\r\n")


def test_a_503_for_a_body_that_waits_does_not_ask_for_it(lonely: Gateway) -> None:
    wire = lonely.connect()
    wire.send(WAITING)
    head = wire.head()
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nConnection: close\r\n" in head


def test_the_sdk_retries_until_the_upstream_is_there() -> None:
    port = free_port()
    with running(f"http://127.0.0.1:{port}") as gateway:
        s3 = boto("s3", gateway.url, retries={"total_max_attempts": 5, "mode": "standard"})
        answer: list[Any] = []
        asking = threading.Thread(target=lambda: answer.append(s3.head_bucket(Bucket="b")))
        asking.start()
        assert gateway.process.stderr is not None
        assert "LocalStack at" in gateway.process.stderr.readline()
        with socket.create_server(("127.0.0.1", port)) as listener:
            wire = Wire(listener.accept()[0])
            wire.head()
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            asking.join(5)
            wire.hang_up()
    assert answer


# --- start and stop ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_request_is_finished_before_the_gateway_stops(
    upstream: Scripted, number: signal.Signals
) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def script(wire: Wire) -> None:
        wire.head()
        arrived.set()
        assert go_on.wait(5)
        wire.send(OK)

    upstream.plays(script)
    with running(f"http://127.0.0.1:{upstream.port}") as gateway:
        idle, wire = gateway.connect(), gateway.connect()
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert arrived.wait(5)
        gateway.process.send_signal(number)
        wait_until_refused(gateway)
        time.sleep(1.2 if number == signal.SIGTERM else 0)  # longer than it takes to stop when idle
        go_on.set()
        assert wire.head() + wire.rest() == OK
        assert idle.is_ended()
        assert gateway.process.wait(3) == 0


def wait_until_refused(gateway: Gateway) -> None:
    deadline = time.monotonic() + 5
    with pytest.raises(ConnectionRefusedError):
        while time.monotonic() < deadline:
            with suppress(ConnectionResetError):  # one that was not yet accepted
                gateway.connect().hang_up()
            time.sleep(0.02)


def test_a_request_that_never_ends_does_not_keep_the_gateway_from_stopping(upstream: Scripted) -> None:
    arrived = threading.Event()

    def script(wire: Wire) -> bool:
        wire.head()
        arrived.set()
        return wire.is_ended()

    upstream.plays(script)
    url = f"http://127.0.0.1:{upstream.port}"
    with running(url, FINLAKE_GATEWAY_DRAIN_SECONDS="0.3") as gateway:
        wire = gateway.connect()
        wire.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert arrived.wait(5)
        assert gateway.stop() == 0
        assert wire.is_ended()
    assert upstream.saw() is True


def start_and_fail(**variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "emulator.gateway"],
        env=clean_environment() | variables,
        capture_output=True,
        text=True,
        timeout=10,
        check=False,
    )


def test_a_taken_port_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        failed = start_and_fail(FINLAKE_GATEWAY_PORT=str(port))
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert str(port) in failed.stderr
    assert "FINLAKE_GATEWAY_PORT" in failed.stderr


def test_a_wrong_setting_is_one_line() -> None:
    failed = start_and_fail(FINLAKE_LOCALSTACK_URL="localstack")
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
    assert failed.stderr.startswith("gateway: FINLAKE_LOCALSTACK_URL: ")


def test_what_is_not_http_is_one_line(gateway: Gateway) -> None:
    assert b"400 Bad Request" in gateway.talk(b"\x16\x03\x01 not http\r\n\r\n")
    with running() as other:
        assert b"400 Bad Request" in other.talk(b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n")
        other.stop()
        assert other.process.stderr is not None
        assert other.process.stderr.read().count("\n") == 1


# --- health -----------------------------------------------------------------------------------------


def health(gateway: Gateway, path: str = "/_localstack/health") -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(gateway.url + path) as response:  # noqa: S310
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def says(health: Any) -> bytes:
    body = json.dumps(health).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


LOCALSTACK = {"services": {"s3": "running", "glue": "disabled"}, "edition": "community", "version": "4.14.0"}
CATALOG = {"services": {"s3": "available", "glue": "available", "athena": "available"}, "version": "1"}


def test_health_tells_of_all_behind_the_gateway(upstream: Scripted) -> None:
    other = Scripted()
    upstream.plays(answers(says(LOCALSTACK)))
    other.plays(answers(says(CATALOG)))
    with running(f"http://127.0.0.1:{upstream.port}", f"http://127.0.0.1:{other.port}") as gateway:
        services = {"s3": "running", "glue": "available", "athena": "available"}
        assert health(gateway) == (200, LOCALSTACK | {"services": services})
        other.close()
        other.plays(lambda wire: None)
        status, told = health(gateway)
    assert status == 503
    assert told["services"] == LOCALSTACK["services"]
    assert list(told["missing"]) == ["the catalogue emulator"]


def test_health_does_not_need_a_catalogue_that_serves_nothing(gateway: Gateway, upstream: Scripted) -> None:
    upstream.plays(answers(says(LOCALSTACK)))
    assert health(gateway) == (200, LOCALSTACK)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", OK, b"", says([])])
def test_health_is_not_good_when_an_upstream_says_nothing_good(
    gateway: Gateway, upstream: Scripted, answer: bytes
) -> None:
    upstream.plays(answers(answer))
    status, told = health(gateway)
    assert status == 503
    assert list(told["missing"]) == ["LocalStack"]


def test_the_gateways_own_health_needs_no_upstream(lonely: Gateway) -> None:
    assert health(lonely, "/_gateway/health") == (200, {"status": "running"})


@pytest.mark.parametrize("request_line", [b"GET /_localstack/init/ready", b"POST /_localstack/health"])
def test_localstacks_other_paths_reach_it(gateway: Gateway, upstream: Scripted, request_line: bytes) -> None:
    upstream.plays(answers(OK))
    gateway.talk(request_line + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert upstream.saw().startswith(request_line)


# --- AWS's SDK, through the gateway, on real emulators ------------------------------------------------

BUCKET = "through-the-gateway"


@dataclass
class Stack:
    """Two emulators and the gateway in front of them."""

    localstack: NativeStack
    catalog: NativeStack
    gateway: Gateway

    def client(self, service: str, **options: Any) -> Any:
        return boto(service, self.gateway.url, **options)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stacks = [
        NativeStack(tmp_path_factory.mktemp(name) / ".finlake", free_port())
        for name in ("localstack", "catalog")
    ]
    try:
        urls = [f"http://127.0.0.1:{stack.up().port}" for stack in stacks]
        with running(*urls) as gateway:
            stack = Stack(*stacks, gateway)
            location = {"LocationConstraint": "eu-central-1"}
            stack.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=location)
            yield stack
    finally:
        for stack in stacks:
            stack.down()


def test_each_service_is_served_by_its_emulator(real: Stack) -> None:
    glue = real.client("glue")
    glue.create_database(DatabaseInput={"Name": "silver"})
    columns = [{"Name": "email", "Type": "string", "Parameters": {"pii": "email"}}]
    table = {"Name": "customers", "StorageDescriptor": {"Columns": columns}}
    glue.create_table(DatabaseName="silver", TableInput=table)
    found = glue.get_table(DatabaseName="silver", Name="customers")["Table"]
    assert found["StorageDescriptor"]["Columns"] == columns
    assert real.client("athena").list_work_groups()["WorkGroups"]
    direct = {
        name: boto("glue", f"http://127.0.0.1:{stack.port}").get_databases()["DatabaseList"]
        for name, stack in (("localstack", real.localstack), ("catalog", real.catalog))
    }
    assert [len(direct["localstack"]), len(direct["catalog"])] == [0, 1]
    buckets = boto("s3", f"http://127.0.0.1:{real.catalog.port}").list_buckets()["Buckets"]
    assert buckets == []
    assert real.client("sts").get_caller_identity()["Account"]


@pytest.mark.parametrize("size", [0, 10, 70_000, 5 * MIB])
def test_objects_come_back_as_they_were_put(real: Stack, size: int) -> None:
    s3, body = real.client("s3"), os.urandom(size)
    put = s3.put_object(Bucket=BUCKET, Key=f"plain/{size}", Body=body, Metadata={"Who": "me"})
    assert put["ETag"]
    assert s3.head_object(Bucket=BUCKET, Key=f"plain/{size}")["ContentLength"] == size
    got = s3.get_object(Bucket=BUCKET, Key=f"plain/{size}")
    assert got["Body"].read() == body
    assert got["Metadata"] == {"who": "me"}
    if size:
        part = s3.get_object(Bucket=BUCKET, Key=f"plain/{size}", Range="bytes=3-6")
        assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert part["Body"].read() == body[3:7]


@pytest.mark.parametrize(
    "key",
    ["a b", "a+b", "100%", "%2F", "ünï/日本", "a//b", "/lead", "x=1&y=2", "a?b", "a#b", "~'()*!", "a/../b"],
)
def test_keys_with_odd_characters_stay_what_they_are(real: Stack, key: str) -> None:
    s3 = real.client("s3")
    s3.put_object(Bucket=BUCKET, Key=f"odd/{key}", Body=key.encode())
    assert s3.get_object(Bucket=BUCKET, Key=f"odd/{key}")["Body"].read() == key.encode()
    direct = boto("s3", f"http://127.0.0.1:{real.localstack.port}")
    assert direct.get_object(Bucket=BUCKET, Key=f"odd/{key}")["Body"].read() == key.encode()


def test_multipart_uploads_are_put_together(real: Stack) -> None:
    s3, parts = real.client("s3"), [os.urandom(5 * MIB), os.urandom(17)]
    key = {"Bucket": BUCKET, "Key": "multipart"}
    upload = {**key, "UploadId": s3.create_multipart_upload(**key)["UploadId"]}
    done = [
        {"PartNumber": number, "ETag": s3.upload_part(**upload, PartNumber=number, Body=part)["ETag"]}
        for number, part in enumerate(parts, 1)
    ]
    s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": done})
    assert s3.get_object(**key)["Body"].read() == b"".join(parts)


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_presigned_urls_work_without_the_sdk(real: Stack, version: str) -> None:
    s3, key = real.client("s3", signature_version=version), {"Bucket": BUCKET, "Key": f"presigned {version}"}
    put = urllib.request.Request(  # noqa: S310
        s3.generate_presigned_url("put_object", key), b"by url", {"Content-Type": ""}, method="PUT"
    )
    with urllib.request.urlopen(put) as response:  # noqa: S310
        assert response.status == 200
    with urllib.request.urlopen(s3.generate_presigned_url("get_object", key)) as response:  # noqa: S310
        assert response.read() == b"by url"


def test_copies_conditions_and_deletes(real: Stack) -> None:
    s3 = real.client("s3")
    s3.put_object(Bucket=BUCKET, Key="first", Body=b"1", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket=BUCKET, Key="first", Body=b"2", IfNoneMatch="*")
    s3.copy_object(Bucket=BUCKET, Key="second", CopySource={"Bucket": BUCKET, "Key": "first"})
    assert s3.get_object(Bucket=BUCKET, Key="second")["Body"].read() == b"1"
    etag = s3.head_object(Bucket=BUCKET, Key="second")["ETag"]
    with pytest.raises(ClientError, match="304"):
        s3.get_object(Bucket=BUCKET, Key="second", IfNoneMatch=etag)
    s3.delete_object(Bucket=BUCKET, Key="first")
    s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "second"}]})
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=BUCKET, Key="second")


def test_listings_come_in_pages(real: Stack) -> None:
    s3 = real.client("s3")
    for number in range(5):
        s3.put_object(Bucket=BUCKET, Key=f"pages/k {number}", Body=b"")
    pages = list(
        s3.get_paginator("list_objects_v2").paginate(
            Bucket=BUCKET, Prefix="pages/", PaginationConfig={"PageSize": 2}
        )
    )
    keys = [entry["Key"] for page in pages for entry in page["Contents"]]
    assert len(pages) == 3
    assert keys == [f"pages/k {number}" for number in range(5)]


def test_a_chunked_upload_with_a_checksum_after_it_is_understood(real: Stack) -> None:
    body = os.urandom(100_000)
    checksum = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    coded = b"%x\r\n%s\r\n0\r\nx-amz-checksum-crc32:%s\r\n\r\n" % (len(body), body, checksum.encode())
    headers = {
        "Authorization": GLUE.replace("glue", "s3"),
        "Content-Encoding": "aws-chunked",
        "X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "X-Amz-Decoded-Content-Length": str(len(body)),
        "X-Amz-Trailer": "x-amz-checksum-crc32",
    }
    s3 = real.client("s3")
    for key, framing in (("length", {"Content-Length": str(len(coded))}), ("chunks", {})):
        connection = HTTPConnection("127.0.0.1", real.gateway.port)
        data = coded if framing else iter([coded[:50_000], coded[50_000:]])
        connection.request("PUT", f"/{BUCKET}/{key}", data, headers | framing, encode_chunked=not framing)
        assert connection.getresponse().status == 200
        got = s3.get_object(Bucket=BUCKET, Key=key, ChecksumMode="ENABLED")
        assert got["Body"].read() == body
        assert got.get("ChecksumCRC32", checksum) == checksum


def test_an_upload_that_is_broken_off_leaves_no_object(real: Stack) -> None:
    wire = real.gateway.connect()
    wire.send(b"PUT /%s/half HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" % BUCKET.encode())
    wire.send(bytes(500_000))
    time.sleep(0.1)
    wire.hang_up()
    time.sleep(0.2)
    with pytest.raises(ClientError, match="404"):
        real.client("s3").head_object(Bucket=BUCKET, Key="half")


def test_many_connections_at_once_are_served(real: Stack) -> None:
    s3 = real.client("s3", max_pool_connections=64)
    failed: list[Exception] = []

    def work(number: int) -> None:
        try:
            s3.put_object(Bucket=BUCKET, Key=f"many/{number}", Body=bytes([number]) * 1000)
            got = s3.get_object(Bucket=BUCKET, Key=f"many/{number}")["Body"].read()
            assert got == bytes([number]) * 1000
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_clients_survive_a_restart_of_the_upstream_and_of_the_gateway(real: Stack) -> None:
    s3 = real.client("s3")
    s3.put_object(Bucket=BUCKET, Key="restart", Body=b"before")
    os.kill(real.localstack.status().pid or 0, signal.SIGKILL)
    with pytest.raises((ClientError, HTTPClientError)):
        s3.get_object(Bucket=BUCKET, Key="restart")
    assert real.client("glue").get_databases()["DatabaseList"] is not None
    real.localstack.up()
    assert s3.get_object(Bucket=BUCKET, Key="restart")["Body"].read() == b"before"
    s3.put_object(Bucket=BUCKET, Key="restart", Body=b"between")
    assert real.gateway.stop() == 0
    urls = [f"http://127.0.0.1:{stack.port}" for stack in (real.localstack, real.catalog)]
    with running(*urls, FINLAKE_GATEWAY_PORT=str(real.gateway.port)):
        assert s3.get_object(Bucket=BUCKET, Key="restart")["Body"].read() == b"between"


def test_with_no_services_for_the_catalogue_localstack_serves_them(real: Stack, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{real.localstack.port}"
    with running(url, FINLAKE_CATALOG_SERVICES="") as gateway:
        boto("glue", gateway.url).create_database(DatabaseInput={"Name": "licensed"})
    assert [found["Name"] for found in boto("glue", url).get_databases()["DatabaseList"]] == ["licensed"]
