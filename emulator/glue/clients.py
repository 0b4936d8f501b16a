"""Clients of the emulators behind the gateway, one for each account and region."""

from __future__ import annotations

import threading
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from emulator.gateway.local import Context, ServiceError
from emulator.gateway.routing import Routes

SECRET = "test"  # noqa: S105 - emulators take any


class Clients:
    """Makes boto3's clients, and keeps them.

    Args:
        routes: Which emulator serves what.
    """

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._lock = threading.Lock()
        self._made: dict[tuple[Context, str], Any] = {}

    def get(self, context: Context, service: str) -> Any:  # noqa: ANN401 - boto3 makes its classes at run time
        """The client of a service for whoever asks."""
        with self._lock:
            if (context, service) not in self._made:
                session: Any = boto3.Session(
                    aws_access_key_id=context.access_key,
                    aws_secret_access_key=SECRET,
                    region_name=context.region,
                )
                self._made[context, service] = session.client(
                    service,
                    endpoint_url=str(self._routes.upstream(service).url),
                    config=Config(
                        s3={"addressing_style": "path"},
                        retries={"total_max_attempts": 4, "mode": "standard"},
                        max_pool_connections=32,
                        parameter_validation=False,
                        proxies={},
                    ),
                )
            return self._made[context, service]


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``.

    Raises:
        ServiceError: It is none.

    >>> split_uri("s3://lake/jobs/a.py")
    ('lake', 'jobs/a.py')
    """
    scheme, _, rest = uri.partition("://")
    bucket, _, key = rest.partition("/")
    if scheme not in {"s3", "s3a", "s3n"} or not bucket:
        raise ServiceError("InvalidInputException", f"{uri!r} is no address in S3 (s3://bucket/key)")
    return bucket, key


def code_of(error: ClientError) -> str:
    """The name of an error: ``EntityNotFoundException``."""
    return str(error.response.get("Error", {}).get("Code", ""))
