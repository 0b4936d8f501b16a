"""Serves the dashboard on this machine, with the figures of now.

    python -m pipeline.dashboard.server --port 4580

It asks the tables' logs for their versions whenever somebody looks, at most every other second, and reads
data only when one has changed. Whatever it cannot read, the page says, and shows what it had before.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Annotated, Any, Final

import typer
from aiohttp import web

from pipeline.dashboard.model import empty_model, look, read_model
from pipeline.dashboard.page import render
from pipeline.errors import FinlakeError
from pipeline.settings import Settings, load_settings

PORT: Final = 4580
HEALTH: Final = "/health"
LOOK_SECONDS: Final = 2.0

logger = logging.getLogger(__name__)
_WARMING: Final = web.AppKey("warming", asyncio.Task[None])


@dataclass
class Source:
    """The model, read again when the lake has changed. Not for several threads at a time.

    Attributes:
        settings: Where the lake is.
        model: What was read last.
        page: The same as HTML, compressed; None until somebody asks for it.
    """

    settings: Settings
    model: dict[str, Any] = field(default_factory=dict)
    page: bytes | None = None
    looked_at: float = float("-inf")

    def refresh(self) -> None:
        """Read the model again, if the lake has changed since."""
        if time.monotonic() - self.looked_at < LOOK_SECONDS:
            return
        try:
            lake = look(self.settings)
            if lake.fingerprint != self.model.get("fingerprint") or self.model.get("problem"):
                self._take(read_model(self.settings, lake))
        except FinlakeError as error:
            # What was there before is still shown, with its date.
            before = self.model or empty_model(self.settings)
            if before.get("problem") != error.with_hint:
                logger.warning("%s", error.with_hint)
                self._take(before | {"problem": error.with_hint, "fingerprint": f"{time.time_ns():x}"})
        self.looked_at = time.monotonic()

    def html(self) -> bytes:
        """The page as HTML, compressed by gzip."""
        self.refresh()
        if self.page is None:
            self.page = gzip.compress(render(self.model, live=True).encode(), compresslevel=1)
        return self.page

    def json(self, known: str | None) -> bytes | None:
        """The model as JSON, compressed by gzip; None if it is the known one."""
        self.refresh()
        if known == self.model["fingerprint"]:
            return None
        return gzip.compress(json.dumps(self.model, separators=(",", ":")).encode(), compresslevel=1)

    def _take(self, model: dict[str, Any]) -> None:
        self.model, self.page = model, None


def application(settings: Settings, *, hosts: frozenset[str] | None = None) -> web.Application:
    """The server's application.

    Args:
        settings: Where the lake is.
        hosts: Names that it may be addressed by besides loopback addresses; None for any. A web site in the
            same browser could otherwise have its own name lead here, and read what it finds.
    """
    source, lock = Source(settings), asyncio.Lock()

    @web.middleware
    async def guarded(request: web.Request, handler: Any) -> web.StreamResponse:  # noqa: ANN401 - aiohttp's
        if hosts is not None and not _is_own(request.url.host or "", hosts):
            raise web.HTTPMisdirectedRequest(text="This server is not known by that name.\n")
        try:
            response: web.StreamResponse = await handler(request)
        except FinlakeError as error:
            response = web.Response(status=500, text=f"{error.with_hint}\n")
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["X-Frame-Options"] = "DENY"
        response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
        return response

    async def page(_request: web.Request) -> web.Response:
        async with lock:
            body = await asyncio.to_thread(source.html)
        return _compressed(body, "text/html", {})

    async def model(request: web.Request) -> web.Response:
        async with lock:
            known = request.headers.get("If-None-Match", "").strip('"')
            body = await asyncio.to_thread(source.json, known)
            tag = {"ETag": f'"{source.model["fingerprint"]}"'}
        return (
            web.Response(status=304, headers=tag)
            if body is None
            else _compressed(body, "application/json", tag)
        )

    async def health(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def prepare() -> None:
        async with lock:
            with suppress(FinlakeError):  # whoever visits is told
                await asyncio.to_thread(source.html)

    async def warm(_app: web.Application) -> None:
        # The first page takes some seconds: better now than when somebody waits.
        app[_WARMING] = asyncio.create_task(prepare())

    app = web.Application(middlewares=[guarded])
    app.add_routes([web.get("/", page), web.get("/model.json", model), web.get(HEALTH, health)])
    app.on_startup.append(warm)
    return app


def _compressed(body: bytes, kind: str, headers: dict[str, str]) -> web.Response:
    always = {"Content-Encoding": "gzip", "Cache-Control": "no-cache"}
    return web.Response(body=body, content_type=kind, charset="utf-8", headers=always | headers)


def _is_own(host: str, hosts: frozenset[str]) -> bool:
    if host in hosts or host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


async def serve(settings: Settings, host: str, port: int, *, ready: Any = None) -> None:  # noqa: ANN401 - a callback
    """Serve until SIGTERM or Ctrl-C.

    Args:
        settings: Where the lake is.
        host: Address to listen on.
        port: Port; 0 for any free one.
        ready: Called with the page's address once it is served.

    Raises:
        FinlakeError: The port cannot be listened on.
    """
    runner = web.AppRunner(application(settings, hosts=frozenset({host})), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise FinlakeError(
                f"port {port} cannot be listened on: {error.strerror or error}", "choose another one: --port"
            ) from error
        if ready:
            ready(f"http://localhost:{runner.addresses[0][1]}/")
        stop = asyncio.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        await stop.wait()
    finally:
        await runner.cleanup()


def main(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port.")] = PORT,
    home: Annotated[str, typer.Option(hidden=True)] = "",  # by it, a stack knows its own server
) -> None:
    """Serve the dashboard until SIGTERM. Example: python -m pipeline.dashboard.server --port 4580."""
    del home
    logging.basicConfig(format="%(levelname)s %(message)s")
    asyncio.run(serve(load_settings(), host, port, ready=lambda url: print(f"Dashboard: {url}", flush=True)))  # noqa: T201 - its log


if __name__ == "__main__":
    from pipeline.cli import guarded

    guarded(lambda: typer.run(main))
