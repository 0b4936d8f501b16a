"""Which service a request is for, and which upstream serves it. No input or output happens here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from yarl import URL

DEFAULT_SERVICE = "s3"

# AWS4-HMAC-SHA256 Credential=AKID/20260101/eu-central-1/glue/aws4_request, SignedHeaders=...
# (AWS4-ECDSA-P256-SHA256 leaves the region out: so the name is counted from the end)
_SCOPE = re.compile(r"Credential=[^,\s]*/([a-z0-9-]+)/aws4_request", re.IGNORECASE)
_TARGETS = {"awsglue": "glue", "amazonathena": "athena"}
_HOST_SUFFIXES = (".localhost", ".localhost.localstack.cloud", ".amazonaws.com")


@dataclass(frozen=True)
class Upstream:
    """An emulator behind the gateway.

    Attributes:
        name: What messages call it.
        url: Its origin: scheme, host and port.
        variable: The environment variable that says where it is.
    """

    name: str
    url: URL
    variable: str


@dataclass(frozen=True)
class Routes:
    """Which upstream serves which service.

    Attributes:
        localstack: Serves everything that the catalogue does not.
        catalog: Serves ``catalog_services``.
        catalog_services: Names of services as they stand in signatures.
    """

    localstack: Upstream
    catalog: Upstream
    catalog_services: frozenset[str]

    @classmethod
    def to(cls, localstack_url: str, catalog_url: str, catalog_services: frozenset[str]) -> Routes:
        """Routes to two addresses."""
        return cls(
            Upstream("LocalStack", URL(localstack_url).origin(), "FINLAKE_LOCALSTACK_URL"),
            Upstream("the catalogue emulator", URL(catalog_url).origin(), "FINLAKE_CATALOG_URL"),
            catalog_services,
        )

    @property
    def upstreams(self) -> tuple[Upstream, ...]:
        """All upstreams that serve anything."""
        return (self.localstack, self.catalog) if self.catalog_services else (self.localstack,)

    def upstream(self, service: str) -> Upstream:
        """The upstream of a service."""
        return self.catalog if service in self.catalog_services else self.localstack


def service_of(target: str, headers: Mapping[str, str]) -> str:
    """The AWS service a request is for, by its signature's name for it; ``s3`` if nothing says.

    Args:
        target: Path and query as they stand in the request.
        headers: The request's headers, by names in any case.
    """
    if target.startswith("/_localstack/"):
        return "localstack"
    if found := _SCOPE.search(headers.get("Authorization", "")):
        return found[1].lower()
    _, _, query = target.partition("?")
    if "X-Amz-Credential=" in query:  # presigned
        for credential in parse_qs(query).get("X-Amz-Credential", ()):
            if found := _SCOPE.search(f"Credential={credential}"):
                return found[1].lower()
    if name := _TARGETS.get(headers.get("X-Amz-Target", "").partition(".")[0].lower()):
        return name
    return _service_of_host(headers.get("Host", ""))


def _service_of_host(host: str) -> str:
    """``glue`` of ``glue.localhost:4566``; ``s3`` of ``bucket.s3.localhost`` and of a bare host."""
    name = host.rpartition(":")[0] or host
    for suffix in _HOST_SUFFIXES:
        if name.lower().endswith(suffix):
            labels = name.lower().removesuffix(suffix).split(".")
            return DEFAULT_SERVICE if any(label.startswith("s3") for label in labels) else labels[0]
    return DEFAULT_SERVICE
