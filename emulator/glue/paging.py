"""Pages of a listing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emulator.gateway.local import ServiceError


def page(name: str, items: Sequence[Any], request: Mapping[str, Any], most: int = 100) -> dict[str, Any]:
    """The page of a listing that a request asks for by ``MaxResults`` and ``NextToken``.

    Args:
        name: What the answer calls the listing.
        items: The whole of it.
        request: The request.
        most: Size of a page when the request names none.

    Raises:
        ServiceError: The token is none of ours.

    >>> page("Jobs", "abc", {"MaxResults": 2})
    {'Jobs': ['a', 'b'], 'NextToken': '2'}
    >>> page("Jobs", "abc", {"MaxResults": 2, "NextToken": "2"})
    {'Jobs': ['c']}
    """
    token = str(request.get("NextToken") or "0")
    if not token.isdecimal():
        raise ServiceError("InvalidInputException", f"NextToken {token!r} is none that a listing has given")
    start = int(token)
    size = int(request.get("MaxResults") or most)
    if size < 1:
        raise ServiceError("InvalidInputException", "MaxResults must be at least 1")
    more = {"NextToken": str(start + size)} if start + size < len(items) else {}
    return {name: list(items[start : start + size]), **more}
