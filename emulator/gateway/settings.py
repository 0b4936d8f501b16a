"""Settings of the gateway: a handful of environment variables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, HttpUrl
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from emulator.gateway.routing import Routes


def _names(value: object) -> object:
    if isinstance(value, str):
        return frozenset(name.strip().lower() for name in value.split(",") if name.strip())
    return value


class GatewaySettings(BaseSettings):
    """Where the gateway listens and where it sends requests, from ``FINLAKE_*`` variables.

    Attributes:
        gateway_host: Address to listen on; ``0.0.0.0`` in a container.
        gateway_port: Port to listen on.
        gateway_drain_seconds: How long running requests may take after a signal to stop.
        localstack_url: LocalStack's address.
        catalog_url: Address of the emulator that serves ``catalog_services``.
        catalog_services: Names, separated by commas, of the services that LocalStack does not serve; as
            they stand in signatures. Empty sends everything to LocalStack, for a licence that has them.
        local_services: Names of those that the gateway answers itself, as far as it knows how to.
        state_dir: Folder for what these keep; without one, they keep it until they are stopped.
        aws_region: The stack's region (``AWS_REGION``).
    """

    model_config = SettingsConfigDict(env_prefix="FINLAKE_", extra="ignore")

    gateway_host: str = "127.0.0.1"
    gateway_port: int = Field(default=4566, ge=1, le=65535)
    gateway_drain_seconds: float = Field(default=5, ge=0)
    localstack_url: HttpUrl = HttpUrl("http://localstack:4566")
    catalog_url: HttpUrl = HttpUrl("http://catalog:4566")
    catalog_services: Annotated[frozenset[str], NoDecode, BeforeValidator(_names)] = frozenset(
        {"glue", "athena"}
    )
    local_services: Annotated[frozenset[str], NoDecode, BeforeValidator(_names)] = frozenset(
        {"glue", "athena"}
    )
    state_dir: Path | None = None

    aws_region: str = Field(default="eu-central-1", validation_alias="AWS_REGION")

    def routes(self) -> Routes:
        """Which upstream serves what."""
        return Routes.to(str(self.localstack_url), str(self.catalog_url), self.catalog_services)
