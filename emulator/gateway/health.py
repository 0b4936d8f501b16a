"""Health of the gateway, and of all that is behind it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from emulator.gateway.routing import Routes, Upstream

STACK_PATH = "/_localstack/health"
OWN_PATH = "/_gateway/health"
ANSWER_SECONDS = 2


class Health:
    """Answers the health checks.

    Args:
        routes: The upstreams, and which services they serve.
    """

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    async def own(self, _request: web.Request) -> web.Response:
        """The gateway itself: it answers."""
        return web.json_response({"status": "running"})

    async def stack(self, _request: web.Request) -> web.Response:
        """LocalStack's answer, with the services of the catalogue in it; 503 unless all upstreams answer."""
        upstreams = self._routes.upstreams
        async with ClientSession(timeout=ClientTimeout(total=ANSWER_SECONDS)) as session:
            answers = await asyncio.gather(*(_ask(session, upstream) for upstream in upstreams))
        missing = {
            upstream.name: answer
            for upstream, answer in zip(upstreams, answers, strict=True)
            if isinstance(answer, str)
        }
        localstack, *catalog = [{} if isinstance(answer, str) else answer for answer in answers]
        health = localstack | {"services": dict(localstack.get("services", {}))}
        for services in (answer.get("services", {}) for answer in catalog):
            health["services"] |= {
                name: state for name, state in services.items() if name in self._routes.catalog_services
            }
        if missing:
            return web.json_response(health | {"missing": missing}, status=HTTPStatus.SERVICE_UNAVAILABLE)
        return web.json_response(health)


async def _ask(session: ClientSession, upstream: Upstream) -> dict[str, Any] | str:
    """An upstream's health, or why there is none."""
    try:
        async with session.get(upstream.url.with_path(STACK_PATH)) as response:
            response.raise_for_status()
            health = await response.json(content_type=None)
            return health if isinstance(health, dict) else f"{upstream.url} answers something else"
    except (ClientError, TimeoutError, ValueError) as error:
        return f"{upstream.url}: {error or type(error).__name__}"
