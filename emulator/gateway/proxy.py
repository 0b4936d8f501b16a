"""The reverse proxy: one request in, the same request out, the answer back, nothing held or changed.

aiohttp reads and writes HTTP on both sides. What is left to decide here:

* Requests that may safely be repeated ride on kept-alive connections: GET, HEAD and DELETE, and uploads
  whose body waits for ``100 Continue``. If such a connection turns out to be stale, aiohttp itself repeats
  the request, once. All else gets a connection of its own, which cannot be stale: so no upload and no call
  is done twice, and none fails because an upstream was restarted in the meantime.
* What the upstream did is what the client sees. An upstream that is not there is a 503, which SDKs
  retry: nothing has happened yet. One that breaks off later breaks off for the client as well: its
  connection is dropped, so that a part can never be taken for the whole.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus
from typing import cast
from xml.sax.saxutils import escape

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    TCPConnector,
    hdrs,
    web,
)
from aiohttp.typedefs import RawHeaders
from multidict import CIMultiDict

from emulator.gateway.local import JSON, LocalService, ServiceError, context_of, operation_of, refusal
from emulator.gateway.routing import Routes, Upstream, service_of

CONNECT_SECONDS = 2
DNS_SECONDS = 1  # a restarted container may come back under another address
LINE_BYTES = 64 * 1024  # presigned URLs with session tokens are longer than aiohttp's default allows
LOCAL_BYTES = 16 * 1024 * 1024  # of a request that is answered here
WHOLE_BYTES = 64 * 1024  # answers up to this size are sent in one piece

BODYLESS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_DELETE})
# RFC 9110, 7.6.1; the framing of each side is aiohttp's.
HOP_BY_HOP = ("Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade")
# What aiohttp would put into an answer that does not have it.
ADDED = (hdrs.CONTENT_TYPE, hdrs.DATE, hdrs.SERVER)
ABSENT: web.ResponseKey[tuple[str, ...]] = web.ResponseKey("absent", tuple)

logger = logging.getLogger(__name__)


class Proxy:
    """Passes requests on to the upstreams.

    Args:
        routes: Which upstream serves what.
        drain_seconds: How long running requests may take after the gateway was told to stop.
        region: The stack's region, for requests that name none.
        local: Services that are not, or not wholly, served by upstreams.
    """

    def __init__(
        self, routes: Routes, drain_seconds: float, region: str, local: Mapping[str, LocalService]
    ) -> None:
        self._routes = routes
        self._region = region
        self._local = local
        self._drain_seconds = drain_seconds
        self._kept = _session(force_close=False)
        self._fresh = _session(force_close=True)
        self._running: set[asyncio.Task[object]] = set()

    async def close(self) -> None:
        """Close all connections to upstreams."""
        await self._kept.close()
        await self._fresh.close()

    async def drain(self, _app: web.Application) -> None:
        """Let running requests finish for a while, then end them."""
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=self._drain_seconds)
            for task in late:
                task.cancel()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request with what its upstream answers."""
        task = cast("asyncio.Task[object]", asyncio.current_task())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # Path and query as they came, never decoded or quoted again. (A whole URL is what proxies are sent.)
        target = request.raw_path if request.raw_path.startswith("/") else request.rel_url.raw_path_qs
        path = target.partition("?")[0]  # without signatures, for messages
        service = service_of(target, request.headers)
        upstream = self._routes.upstream(service)
        served = self._local.get(service)
        if served and operation_of(request.headers) in served.operations:
            try:
                return await _serve(served, request, self._region)
            except ConnectionError as error:
                return _unavailable(request, service, upstream, error)
        # An empty upload is one, too: aiohttp never repeats a request whose body it has begun to send.
        is_upload = request.method not in BODYLESS and hdrs.CONTENT_LENGTH in request.headers
        body = _Body(request) if request.body_exists or is_upload else None
        try:
            async with self._session(request.method, body).request(
                request.method,
                upstream.url.with_path(target, encoded=True),
                headers=_end_to_end(request.raw_headers),
                data=body,
                allow_redirects=False,
            ) as answer:
                return await _pass_back(request, answer, body)
        except (ClientConnectorError, ConnectionTimeoutError) as error:
            return _unavailable(request, service, upstream, error)
        except ClientError as error:
            if _hang_up(request):  # otherwise it was the client who left
                logger.error("%s broke off during %s %s: %r", upstream.name, request.method, path, error)
            return web.Response()  # nobody receives it

    def _session(self, method: str, body: _Body | None) -> ClientSession:
        repeatable = method in BODYLESS if body is None else method == hdrs.METH_PUT and body.waits
        return self._kept if repeatable else self._fresh


async def _serve(service: LocalService, request: web.Request, region: str) -> web.Response:
    """Let a service of our own answer; the region is that of requests which nobody has signed."""
    operation = operation_of(request.headers)
    content = bytearray()
    async for chunk in _Body(request):
        content += chunk
        if len(content) > LOCAL_BYTES:
            large = ServiceError(
                "RequestEntityTooLargeException",
                f"more than {LOCAL_BYTES} bytes",
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            )
            response = refusal(large)
            response.force_close()
            return response
    try:
        body = json.loads(bytes(content) or b"{}")
        if not isinstance(body, dict):
            raise ValueError("not an object")
    except ValueError as error:
        return refusal(ServiceError("SerializationException", f"the body is not JSON: {error}"))
    try:
        return await service.handle(operation, body, context_of(request.headers, region))
    except ServiceError as error:
        return refusal(error)
    except ConnectionError:
        raise
    except Exception:  # the gateway serves on, whatever one request makes of it
        logger.exception("%s failed", operation)
        message = f"{operation} failed here; the gateway's log says why"
        return refusal(ServiceError("InternalServiceException", message, HTTPStatus.INTERNAL_SERVER_ERROR))


class _Body:
    """The body of a request on its way; it is first asked for when the upstream wants it."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        # The client holds it back until it is told to continue.
        self.waits = request.body_exists and request.headers.get(hdrs.EXPECT, "").lower() == "100-continue"

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self.waits:
            # aiohttp's client asks for the first chunk when the upstream has told it to continue.
            self.waits = False
            await self._request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._request.writer.output_size = 0  # not a part of the answer proper
        async for chunk in self._request.content.iter_any():
            yield chunk


def _session(*, force_close: bool) -> ClientSession:
    return ClientSession(
        connector=TCPConnector(limit=0, ttl_dns_cache=DNS_SECONDS, force_close=force_close),
        timeout=ClientTimeout(total=None, connect=CONNECT_SECONDS),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=(hdrs.ACCEPT, hdrs.ACCEPT_ENCODING, hdrs.CONTENT_TYPE, hdrs.USER_AGENT),
        max_line_size=LINE_BYTES,
        max_field_size=LINE_BYTES,
    )


def _end_to_end(raw: RawHeaders) -> CIMultiDict[str]:
    """The headers that are not about the connection they came on, spelled as they came."""
    kept = CIMultiDict(
        (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
        for name, value in raw
    )
    for nominated in kept.getall(hdrs.CONNECTION, ()):
        for name in nominated.split(","):
            kept.popall(name.strip(), None)
    for name in HOP_BY_HOP:
        kept.popall(name, None)
    return kept


async def _pass_back(request: web.Request, answer: ClientResponse, body: _Body | None) -> web.StreamResponse:
    headers = _end_to_end(answer.raw_headers)
    length = answer.content_length
    response: web.StreamResponse
    if length is not None and length <= WHOLE_BYTES and request.method != hdrs.METH_HEAD:
        whole = await answer.read()
        response = web.Response(status=answer.status, reason=answer.reason, headers=headers, body=whole)
    else:
        response = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
    response[ABSENT] = tuple(name for name in ADDED if name not in headers)
    if body is not None and body.waits:
        # The client may send its body or not: what comes next on this connection is unclear.
        response.force_close()
    await response.prepare(request)
    if not isinstance(response, web.Response):
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
    await response.write_eof()
    return response


def _hang_up(request: web.Request) -> bool:
    """Reset the client's connection: a mere end of it could be taken for the end of the answer."""
    transport = request.transport
    if transport is None or transport.is_closing():
        return False
    reset_on_close = struct.pack("ii", 1, 0)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_on_close)
    transport.abort()
    return True


async def leave_headers_alone(_request: web.Request, response: web.StreamResponse) -> None:
    """Take out what aiohttp has added to an upstream's answer; a signal handler of the application."""
    for name in response.get(ABSENT, ()):
        response.headers.popall(name, None)


async def leave_expect_alone(_request: web.Request) -> None:
    """Send no ``100 Continue`` yet: the upstream decides, see :class:`_Body`."""


def _unavailable(request: web.Request, service: str, upstream: Upstream, error: OSError) -> web.Response:
    """A 503 in the words of the service's protocol, which SDKs understand and retry."""
    logger.error("%s at %s cannot be reached: %s", upstream.name, upstream.url, error)
    message = (
        f"{upstream.name} cannot be reached at {upstream.url}. "
        f"Start it, or set {upstream.variable} to the address where it runs."
    )
    kind = request.headers.get(hdrs.CONTENT_TYPE, "")
    if "json" in kind or "X-Amz-Target" in request.headers:
        text = json.dumps({"__type": "ServiceUnavailableException", "message": message})
        kind = kind or JSON
    else:
        document = f"<Error><Code>ServiceUnavailable</Code><Message>{escape(message)}</Message></Error>"
        text = document if service == "s3" else f"<ErrorResponse>{document}</ErrorResponse>"
        text = f'<?xml version="1.0" encoding="UTF-8"?>\n{text}'
        kind = "application/xml"
    response = web.Response(
        status=HTTPStatus.SERVICE_UNAVAILABLE, text=text, headers={hdrs.CONTENT_TYPE: kind}
    )
    if hdrs.EXPECT in request.headers:
        response.force_close()  # its body was never asked for
    return response
