"""MiniStack, saving what it knows while it runs.

MiniStack writes S3 objects to disk as they arrive, but everything else (buckets' settings, the Glue
catalogue, IAM, ...) only when it is stopped in an orderly way: a crash or a flat battery would lose
the catalogue. Here it also saves a moment after each change.

Started by :mod:`emulator.native` as ``python -m emulator.server <home>``; MiniStack itself takes its
settings from environment variables. The home folder in the command line is what a running stack is
recognised by.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any

SAVE_SECONDS = 1.0

logger = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


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


def main() -> None:
    """Run MiniStack in the foreground until it is told to stop."""
    ministack: Any = importlib.import_module("ministack.app")
    persistence: Any = importlib.import_module("ministack.core.persistence")

    def save() -> None:
        # MiniStack's own list of what it saves at shutdown; the version is pinned for its sake.
        persistence.save_all(ministack._build_persistence_save_dict())

    ministack.app = SavingApp(ministack.app, save)
    sys.argv = ["ministack"]  # it reads the command line, where it knows nothing of ours
    ministack.main()


if __name__ == "__main__":
    main()
