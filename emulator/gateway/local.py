"""Services that the gateway answers itself: what they look like to it, and how they look to clients."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol

from aiohttp import hdrs, web

# As SDKs sign: Credential=<access key>/<date>/<region>/<service>/aws4_request
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/[^/,\s]+/([^/,\s]+)/[^/,\s]+/aws4_request")
DEFAULT_KEY = "test"
DEFAULT_ACCOUNT = "000000000000"
JSON = "application/x-amz-json-1.1"  # AWS's JSON protocol


@dataclass(frozen=True)
class Context:
    """Who asks, and where; emulators keep what they know apart by both.

    Attributes:
        access_key: The access key that signed, which is the account on an emulator.
        region: The region that was signed for.
        signed: Whether anybody has signed.
    """

    access_key: str
    region: str
    signed: bool = True

    @property
    def account(self) -> str:
        """The account: emulators take an access key of twelve digits for its number."""
        return self.access_key if re.fullmatch(r"\d{12}", self.access_key) else DEFAULT_ACCOUNT


class LocalService(Protocol):
    """A service that the gateway serves, wholly or in part.

    Attributes:
        operations: The operations that :meth:`handle` is asked for; all others pass through.
    """

    operations: frozenset[str]

    async def start(self) -> None:
        """Begin: the gateway is about to serve."""
        ...

    async def close(self) -> None:
        """End: nothing that was started may stay."""
        ...

    async def handle(self, operation: str, body: dict[str, Any], context: Context) -> web.Response:
        """Answer an operation.

        Raises:
            ServiceError: It is refused.
            ConnectionError: What is behind cannot be reached.
        """
        ...


class ServiceError(Exception):
    """An error as AWS names it.

    Args:
        code: Its name, such as ``EntityNotFoundException``.
        message: What it says.
        status: Its HTTP status.
    """

    def __init__(self, code: str, message: str, status: int = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def operation_of(headers: Mapping[str, str]) -> str:
    """The operation of AWS's JSON protocols, ``GetJob`` of ``AWSGlue.GetJob``; empty in other protocols."""
    return headers.get("X-Amz-Target", "").rpartition(".")[2]


def context_of(headers: Mapping[str, str], default_region: str) -> Context:
    """Who signed a request, and for which region."""
    found = _CREDENTIAL.search(headers.get(hdrs.AUTHORIZATION, ""))
    return Context(found[1], found[2]) if found else Context(DEFAULT_KEY, default_region, signed=False)


def answer(document: Mapping[str, Any], status: int = HTTPStatus.OK) -> web.Response:
    """A document in AWS's JSON protocol 1.1: instants are seconds since 1970."""
    return web.Response(
        status=status,
        text=json.dumps(document, default=_plain),
        headers={hdrs.CONTENT_TYPE: JSON},
    )


def refusal(error: ServiceError) -> web.Response:
    """An error in AWS's JSON protocol 1.1."""
    return answer({"__type": error.code, "Message": error.message, "message": error.message}, error.status)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return round(value.timestamp(), 3)
    raise TypeError(f"{type(value).__name__} has no place in an answer")
