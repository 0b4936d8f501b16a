"""What a check is, how it is run, and what checks have at hand.

A check does something through AWS's SDK and asserts what AWS answers. The text of its ``assert`` is what
the table shows for an emulator that answers otherwise, so it says what happens *instead*, in words that
are the same in each run: no ids, times or addresses.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.parsers import ResponseParserError

REGION = "eu-central-1"
KEY, SECRET = "test", "test"
NOTHING = "no error"


class Aws:
    """An emulator as checks see it: clients of AWS's SDK, and fresh buckets and databases.

    Args:
        endpoint: Where it answers.
    """

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._clients: dict[str, Any] = {}
        self._numbers = itertools.count(1)

    def client(self, service: str, **options: Any) -> Any:
        """A client that tries each call once; the same one for each call without options."""
        if not options and service in self._clients:
            return self._clients[service]
        client = boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            **({"aws_access_key_id": KEY, "aws_secret_access_key": SECRET} | options),
            config=Config(
                retries={"total_max_attempts": 1},
                connect_timeout=5,
                read_timeout=30,
                proxies={},
                s3={"addressing_style": "path"},
            ),
        )
        if not options:
            self._clients[service] = client
        return client

    def fresh(self, what: str) -> str:
        """A name that nothing has yet."""
        return f"{what}-{next(self._numbers)}"

    def bucket(self, *, versions: bool = False) -> tuple[Any, str]:
        """A client of S3, and the name of a new bucket."""
        s3, name = self.client("s3"), self.fresh("bucket")
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        if versions:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return s3, name

    def database(self) -> tuple[Any, str]:
        """A client of Glue, and the name of a new database."""
        glue, name = self.client("glue"), self.fresh("database").replace("-", "_")
        glue.create_database(DatabaseInput={"Name": name})
        return glue, name

    def connect(self) -> HTTPConnection:
        """A connection for what the SDK cannot be made to send."""
        address = urlsplit(self.endpoint)
        return HTTPConnection(address.hostname or "", address.port, timeout=30)

    def request(
        self, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[HTTPResponse, bytes]:
        """Send a request as it stands; its answer and the answer's body."""
        connection = self.connect()
        try:
            connection.request(method, target, body, headers or {})
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    def send_to(self, url: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
        """Send a request to a presigned URL; its status and what came back."""
        address = urlsplit(url)
        answer, data = self.request(method, f"{address.path}?{address.query}", body)
        return answer.status, data


@dataclass(frozen=True)
class Check:
    """One behaviour of AWS.

    Attributes:
        name: A short name for the test.
        group: The table that it stands in.
        title: What AWS does, in a few words.
        needed: Whether finlake relies on it, in its pipeline or in Terraform.
        run: Asserts the behaviour.
    """

    name: str
    group: str
    title: str
    needed: bool
    run: Callable[[Aws], None] = field(repr=False)


@dataclass
class Group:
    """A table of checks, in the order in which they are written."""

    title: str
    checks: list[Check] = field(default_factory=list)

    def __call__(
        self, title: str, *, needed: bool = False
    ) -> Callable[[Callable[[Aws], None]], Callable[[Aws], None]]:
        """Make a check of a function."""

        def add(function: Callable[[Aws], None]) -> Callable[[Aws], None]:
            name = function.__name__.replace("_", "-")
            self.checks.append(Check(name, self.title, title, needed, function))
            return function

        return add


def what_happens_instead(check: Check, aws: Aws) -> str:
    """Run a check: what the emulator does instead of what AWS does; nothing if it does the same.

    An error that says nothing about the emulator is one of the check, and is not caught.
    """
    try:
        check.run(aws)
    except AssertionError as difference:
        if not str(difference):
            raise
        return str(difference)
    except ClientError as error:
        return f"{error.operation_name} is answered with {_code(error)}"
    except (HTTPClientError, ResponseParserError) as error:
        return f"a request ends in {type(error).__name__}"
    except KeyError as missing:  # of the dictionaries that the SDK makes of answers
        return f"an answer has no {missing.args[0]}"
    return ""


def error_of(call: Callable[..., Any], **arguments: Any) -> str:
    """The status and code that a call is refused with, such as ``404 NoSuchKey``; or ``no error``."""
    try:
        call(**arguments)
    except ClientError as error:
        return _code(error)
    return NOTHING


def only(items: Sequence[Any]) -> Any:
    """The one item that there should be."""
    assert len(items) == 1, f"an answer has {len(items)} of what there should be one"
    return items[0]


def at_once(count: int, call: Callable[[int], Any]) -> list[Any]:
    """What a call gives back for each of the first numbers, all begun at the same moment."""
    start = threading.Barrier(count)

    def one(number: int) -> Any:
        start.wait()
        return call(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


def _code(error: ClientError) -> str:
    status = error.response["ResponseMetadata"].get("HTTPStatusCode")
    code = error.response["Error"].get("Code", "")
    return f"{status}" if code in {"", str(status)} else f"{status} {code}"
