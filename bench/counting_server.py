"""The native stack's AWS, writing down what kind of request S3 gets: for :mod:`bench.storage`.

Takes the place of ``emulator.server``. The file that ``FINLAKE_BENCH_REQUESTS`` names gets a line for each
request: ``GET``, ``PUT``, ``HEAD``, ``DELETE``, ``POST`` or ``LIST``.
"""

from __future__ import annotations

import importlib
import os
import runpy
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emulator.server import App, Receive, Scope, Send


class Counting:
    """An ASGI application around another one that writes S3's requests down.

    Args:
        app: The application that serves the requests.
        path: The file that gets a line for each.
    """

    def __init__(self, app: App, path: str) -> None:
        self._app = app
        self._file = Path(path).open("a", buffering=1, encoding="ascii")  # noqa: SIM115 - open to the end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http" and b"x-amz-target" not in dict(scope["headers"]):
            is_list = scope["method"] == "GET" and b"list-type" in scope["query_string"]
            self._file.write(f"{'LIST' if is_list else scope['method']}\n")
        await self._app(scope, receive, send)


if __name__ == "__main__":
    ministack: Any = importlib.import_module("ministack.app")
    ministack.app = Counting(ministack.app, os.environ["FINLAKE_BENCH_REQUESTS"])
    runpy.run_module("emulator.server", run_name="__main__", alter_sys=True)
