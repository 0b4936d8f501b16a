"""Athena in front of an ASGI application: how the stack without Docker serves it, in MiniStack's process."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from emulator.athena.service import PREFIX, AthenaService

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_TARGETS = {"athena": PREFIX, "glue": "AWSGlue."}
JSON = b"application/x-amz-json-1.1"


class AthenaApp:
    """Answers what is Athena's; everything else, and what Athena leaves, goes on to the application.

    Args:
        app: The application.
        endpoint: Its own address, for the workers.
        region: The stack's region.
    """

    def __init__(self, app: App, endpoint: str, region: str) -> None:
        self._app = app
        self._region = region
        self.service = AthenaService({"s3": endpoint, "glue": endpoint, "region": region}, self._call)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the whole server."""
        if scope["type"] == "lifespan":
            try:
                await self._app(scope, receive, send)
            finally:
                await self.service.close()
            return
        headers = dict(scope.get("headers") or ())
        target = headers.get(b"x-amz-target", b"").decode("latin-1")
        if scope["type"] != "http" or not self.service.serves(target):
            await self._app(scope, receive, send)
            return
        signed = b"authorization" in headers
        status, answer = await self.service.answer(target, await _body(receive), signed=signed)
        content = json.dumps(answer).encode()
        head = [(b"content-type", JSON), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": content})

    async def _call(self, service: str, operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Ask the application, without a network in between."""
        content = json.dumps(body).encode()
        scope_ = f"Credential=test/20260101/{self._region}/{service}/aws4_request"
        headers = [
            (b"host", b"localhost"),
            (b"content-type", JSON),
            (b"content-length", str(len(content)).encode()),
            (b"x-amz-target", f"{_TARGETS[service]}{operation}".encode()),
            (b"authorization", f"AWS4-HMAC-SHA256 {scope_}, SignedHeaders=host, Signature=0".encode()),
        ]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/",
            "raw_path": b"/",
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "client": ("127.0.0.1", 0),
            "server": ("127.0.0.1", 0),
        }
        sent: list[Message] = []
        given = iter([{"type": "http.request", "body": content, "more_body": False}])

        async def receive() -> Message:
            return next(given, {"type": "http.disconnect"})

        async def send(message: Message) -> None:
            sent.append(message)

        await self._app(scope, receive, send)
        status = next(message["status"] for message in sent if message["type"] == "http.response.start")
        text = b"".join(
            message.get("body", b"") for message in sent if message["type"] == "http.response.body"
        )
        return status, json.loads(text or b"{}")


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
