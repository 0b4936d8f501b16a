"""Where generated files go: a local folder or an S3 prefix.

Files appear whole or not at all: the local store writes to a temporary name and renames, S3 completes
an upload only after its last byte.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from datagen.errors import BadRequestError, GenerateError

if TYPE_CHECKING:
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.store import ClientConfig, ObjectStore

P = ParamSpec("P")
R = TypeVar("R")


def _explained(method: Callable[P, R]) -> Callable[P, R]:
    """Turn the store's errors into ones that say where and what to do."""

    @wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except (BaseError, OSError) as error:
            raise GenerateError(_explain(error, str(args[0]))) from error

    return call


class Sink:
    """A place for files, addressed by paths below it."""

    def __init__(self, target: str | Path) -> None:
        """Open a place; nothing is made before the first file is written.

        Args:
            target: Local folder, or ``s3://bucket/prefix``.

        Raises:
            BadRequestError: The target is a file, or an address of another kind.
        """
        self.target = str(target)
        self._folder: Path | None = None
        self._store: ObjectStore | None = None
        scheme, separator, rest = self.target.partition("://")
        if not separator:
            self._folder = Path(target).expanduser()
            if self._folder.exists() and not self._folder.is_dir():
                raise BadRequestError(f"{target} is a file; the output is a folder or an s3:// address")
        elif scheme == "s3" and rest.strip("/"):
            self._store = _s3(self.target)
        else:
            raise BadRequestError(f"{target} is not an output; use a folder or s3://bucket/prefix")

    def __str__(self) -> str:
        return self.target

    @property
    def is_remote(self) -> bool:
        """Whether it is a bucket."""
        return self._folder is None

    @_explained
    def read(self, path: str) -> bytes | None:
        """Content of a file, or None when it is not there."""
        if not self._exists():
            return None
        try:
            return bytes(obstore.get(self._open(), path).bytes())
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise
            return None

    @_explained
    def paths(self, folder: str) -> list[str]:
        """Paths of all files in a folder and below it, in order."""
        if not self._exists():
            return []
        return sorted(item["path"] for page in obstore.list(self._open(), folder) for item in page)

    @_explained
    def write(self, path: str, pieces: Iterable[bytes]) -> None:
        """Write a file from pieces; when making one of them fails, no file appears."""
        obstore.put(self._open(), path, iter(pieces))

    @_explained
    def delete(self, paths: list[str]) -> None:
        """Delete files."""
        if paths:
            obstore.delete(self._open(), paths)

    def _exists(self) -> bool:
        return self._folder is None or self._folder.is_dir()

    def _open(self) -> ObjectStore:
        if self._store is None:
            self._store = LocalStore(self._folder, mkdir=True)
        return self._store


def _s3(target: str) -> S3Store:
    """Open an S3 prefix with what the AWS SDKs' own environment variables say."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    options: ClientConfig = {"allow_http": True} if endpoint.startswith("http://") else {}
    return S3Store.from_url(
        target,
        client_options=options,
        retry_config={"max_retries": 4, "retry_timeout": timedelta(seconds=30)},
        credential_provider=_credentials(),
    )


def _credentials() -> Boto3CredentialProvider | None:
    """Profiles and single sign-on, which only boto3 knows; None for keys in the environment.

    Raises:
        GenerateError: boto3 is there, and finds no credentials.
    """
    if "AWS_ACCESS_KEY_ID" in os.environ or not find_spec("boto3"):
        return None
    from botocore.exceptions import BotoCoreError
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        provider = Boto3CredentialProvider()
        provider()
    except (ValueError, BotoCoreError) as error:
        raise GenerateError(f"no AWS credentials: {_NO_CREDENTIALS} ({error})") from error
    return provider


def _explain(error: Exception, where: str) -> str:
    text = str(error)
    reason = text.partition("Debug source:")[0].strip()
    for sign, advice in _ADVICE:
        if sign in text:
            return f"{where}: {advice} ({reason})"
    return f"{where}: {reason}"


_NO_CREDENTIALS = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_ADVICE = (
    ("169.254.169.254", f"no AWS credentials: {_NO_CREDENTIALS}"),
    ("incorrectly configured region", "the bucket is in another region; set AWS_REGION"),
    ("NoSuchBucket", "the bucket does not exist; create it, or check its name and AWS_ENDPOINT_URL"),
    ("AccessDenied", "access denied; check the credentials and the bucket's policy"),
    ("InvalidAccessKeyId", "the access key is not known; check AWS_ACCESS_KEY_ID"),
    ("SignatureDoesNotMatch", "the secret key is wrong; check AWS_SECRET_ACCESS_KEY"),
    ("Connection refused", "nothing answers there; check AWS_ENDPOINT_URL and that the service is up"),
    ("error sending request", "it cannot be reached; check AWS_ENDPOINT_URL and the network"),
    ("Permission denied", "no permission to write there; choose another output or change its rights"),
    ("Read-only file system", "the file system is read-only; choose another output"),
    ("No space left on device", "the disk is full; free some space or choose another output"),
    ("Disk quota exceeded", "your quota is used up; free some space or choose another output"),
    ("File too large", "no file may be so large there; use less --file-rows or choose another output"),
)
