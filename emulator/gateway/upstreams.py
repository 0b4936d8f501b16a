"""Calls of the gateway's own to the services behind it."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from emulator.gateway.local import JSON
from emulator.gateway.routing import Routes

_TARGETS = {"athena": "AmazonAthena.", "glue": "AWSGlue."}


class Upstreams:
    """Asks services of the JSON protocol.

    Args:
        routes: Which upstream serves what.
        region: The stack's region.
    """

    def __init__(self, routes: Routes, region: str) -> None:
        self._routes = routes
        self._region = region
        self._session: ClientSession | None = None

    @property
    def addresses(self) -> dict[str, Any]:
        """Where the workers of local services find S3 and Glue, and the region."""
        found = {service: str(self._routes.upstream(service).url) for service in ("s3", "glue")}
        return found | {"region": self._region}

    async def call(self, service: str, operation: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and JSON of an answer; 503 when there is none."""
        if self._session is None:
            self._session = ClientSession(timeout=ClientTimeout(total=30, connect=2))
        scope = f"Credential=test/20260101/{self._region}/{service}/aws4_request"
        headers = {
            "X-Amz-Target": f"{_TARGETS[service]}{operation}",
            "Content-Type": JSON,
            "Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0",
        }
        url = self._routes.upstream(service).url
        try:
            async with self._session.post(url, data=json.dumps(body), headers=headers) as response:
                return response.status, await response.json(content_type=None)
        except (ClientError, TimeoutError, ValueError) as error:
            return 503, {"__type": "ServiceUnavailableException", "message": f"{url}: {error}"}

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()
