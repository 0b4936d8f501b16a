"""Calls of the gateway's own to the services behind it."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from emulator.gateway.local import JSON, Context
from emulator.gateway.routing import Routes

_TARGETS = {"athena": "AmazonAthena.", "glue": "AWSGlue."}


class Upstreams:
    """Asks services of the JSON protocol.

    Args:
        routes: Which upstream serves what.
    """

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._session: ClientSession | None = None

    @property
    def addresses(self) -> dict[str, str]:
        """Where the workers of local services find S3 and Glue."""
        return {service: str(self._routes.upstream(service).url) for service in ("s3", "glue")}

    async def call(
        self, service: str, operation: str, body: dict[str, Any], context: Context
    ) -> tuple[int, dict[str, Any]]:
        """Ask for whoever asks us.

        Args:
            service: Name of the service in signatures.
            operation: What to ask for.
            body: The request.
            context: Who asks, and in which region.

        Returns:
            Status and JSON of the answer; 503 when there is none.
        """
        if self._session is None:
            self._session = ClientSession(timeout=ClientTimeout(total=30, connect=2))
        scope = f"Credential={context.access_key}/20260101/{context.region}/{service}/aws4_request"
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
