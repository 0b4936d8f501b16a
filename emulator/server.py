"""MiniStack, saving what it knows while it runs, and answering in one piece.

MiniStack writes S3 objects to disk as they arrive, but everything else (buckets' settings, the Glue
catalogue, IAM, ...) only when it is stopped in an orderly way: a crash or a flat battery would lose
the catalogue. Here it also saves a moment after each change.

Its web server sends the head of an answer and its body apart. Go's HTTP client, which Terraform uses,
may close the connection in between, when the answer comes before it has quite finished the request
("use of closed network connection"); then it asks again for what has been created, and is told that it
exists already. So a head goes out together with the body's first part.

With ``FINLAKE_ATHENA_ENDPOINT``, the server's own address, it answers Athena by :mod:`emulator.athena`.

Started by :mod:`emulator.native` as ``python -m emulator.server <home>``; MiniStack itself takes its
settings from environment variables. The home folder in the command line is what a running stack is
recognised by.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import Event, RawData

SAVE_SECONDS = 1.0

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class WholeAnswers:
    """Holds the head of an HTTP/1.1 answer back until there is something to send with it.

    Args:
        send: Sends bytes to the client.
    """

    def __init__(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        self._send = send
        self._head = b""

    async def write(self, data: bytes) -> None:
        """Send ``data``, or hold it back when it is a head; an answer's end is an empty ``data``."""
        if data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 1") and not self._head:
            self._head = data
            return
        whole, self._head = self._head + data, b""
        await self._send(whole)


class SavingApp:
    """An ASGI application around another one that calls ``save`` soon after requests that may write.

    Args:
        app: The application that serves the requests.
        save: Writes the application's state; it is called on the event loop, between requests.
        seconds: How long a change may wait until it is saved.
    """

    def __init__(self, app: App, save: Callable[[], None], seconds: float = SAVE_SECONDS) -> None:
        self._app = app
        self._save = save
        self._seconds = seconds
        self._changed = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the whole server."""
        if scope["type"] == "lifespan":
            saving = asyncio.create_task(self._save_changes())
            try:
                await self._app(scope, receive, send)
            finally:
                saving.cancel()
                with suppress(asyncio.CancelledError):
                    await saving
            return
        await self._app(scope, receive, send)
        if scope.get("method") not in {"GET", "HEAD", "OPTIONS"}:
            self._changed.set()

    async def _save_changes(self) -> None:
        while True:
            await self._changed.wait()
            # Many changes come in bursts (terraform apply): one save serves all of them.
            await asyncio.sleep(self._seconds)
            self._changed.clear()
            try:
                self._save()
            except Exception:  # the next change tries again; requests are served meanwhile
                logger.exception("the state could not be saved")


def answer_in_one_piece() -> None:
    """Let Hypercorn send heads by way of :class:`WholeAnswers`."""
    original = TCPServer.protocol_send

    async def protocol_send(self: TCPServer, event: Event) -> None:
        if not isinstance(event, RawData):
            await original(self, event)
            return
        answers = self.__dict__.get("_answers")
        if answers is None:
            answers = WholeAnswers(lambda data: original(self, RawData(data=data)))
            self.__dict__["_answers"] = answers
        await answers.write(event.data)

    TCPServer.protocol_send = protocol_send  # type: ignore[method-assign]


def main() -> None:
    """Run MiniStack in the foreground until it is told to stop."""
    ministack: Any = importlib.import_module("ministack.app")
    persistence: Any = importlib.import_module("ministack.core.persistence")

    def save() -> None:
        # MiniStack's own list of what it saves at shutdown; the version is pinned for its sake.
        persistence.save_all(ministack._build_persistence_save_dict())

    answer_in_one_piece()
    app: App = ministack.app
    if endpoint := os.environ.get("FINLAKE_ATHENA_ENDPOINT"):
        # Not at the top: in its container, this file stands alone.
        from emulator.athena.asgi import AthenaApp

        app = AthenaApp(app, endpoint, os.environ.get("MINISTACK_REGION", "us-east-1"))
    ministack.app = SavingApp(app, save)
    sys.argv = ["ministack"]  # it reads the command line, where it knows nothing of ours
    ministack.main()


if __name__ == "__main__":
    main()
