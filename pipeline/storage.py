"""Objects on S3 or on the local disk, by URI: ``s3://bucket/key`` or ``file:///folder/file``.

Everything goes through obstore, which reads the AWS SDKs' own variables; profiles and single sign-on are
boto3's part. Delta tables are not handled here.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, NotFoundError, PreconditionError
from obstore.store import LocalStore, ObjectStore, S3Store

from pipeline.errors import no_credentials

if TYPE_CHECKING:
    from boto3.session import Session
    from botocore.config import Config
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.store import RetryConfig


# How long a request is tried again while S3 does not answer: longer than an emulator takes to start
# again, yet short enough that a run whose storage is gone for good soon says so.
PATIENCE = timedelta(seconds=30)
FIRST_PAUSE, LONGEST_PAUSE, GROWTH = timedelta(milliseconds=100), timedelta(seconds=3), 2
MOST_RETRIES = 1_000  # the time is what counts
# botocore pauses for half a second on average, then for twice as long each time: 25 seconds in all.
BOTO_ATTEMPTS = 7
CONNECT_SECONDS = 5


@dataclass(frozen=True)
class ObjectInfo:
    """An object as a listing shows it: URI, size in bytes, ETag."""

    uri: str
    size: int
    etag: str


def list_objects(prefix_uri: str) -> list[ObjectInfo]:
    """All objects below a folder, sorted by URI."""
    store, root, key = _locate(prefix_uri)
    found = []
    try:
        for page in obstore.list(store, prefix=key or None):
            found += [
                ObjectInfo(f"{root}/{meta['path']}", meta["size"], (meta["e_tag"] or "").strip('"'))
                for meta in page
            ]
    except NotFoundError:
        return []
    return sorted(found, key=lambda info: info.uri)


def names_after(folder_uri: str, name: str) -> list[str]:
    """Names of the objects in a folder that sort after ``name``; none when there is no folder."""
    store, _, key = _locate(folder_uri)
    try:
        pages = obstore.list(store, prefix=key, offset=f"{key}/{name}")
        return [meta["path"].removeprefix(f"{key}/") for page in pages for meta in page]
    except NotFoundError:
        return []


def read_head(uri: str, length: int) -> bytes:
    """First ``length`` bytes of an object, fewer when it is shorter.

    Raises:
        FileNotFoundError: The object does not exist (any more).
    """
    store, _, key = _locate(uri)
    try:
        size = obstore.head(store, key)["size"]
        return bytes(obstore.get_range(store, key, start=0, end=min(size, length))) if size else b""
    except (NotFoundError, FileNotFoundError) as error:
        raise FileNotFoundError(uri) from error


def read_bytes(uri: str) -> bytes | None:
    """The whole object, or None when it does not exist."""
    store, _, key = _locate(uri)
    try:
        return bytes(obstore.get(store, key).bytes())
    except (NotFoundError, FileNotFoundError):
        return None


def open_object(uri: str) -> BinaryIO:
    """An object to be read from its beginning to its end, without holding it in memory.

    Raises:
        FileNotFoundError: The object does not exist (any more).
    """
    store, _, key = _locate(uri)
    try:
        return cast(BinaryIO, obstore.open_reader(store, key))
    except (NotFoundError, FileNotFoundError) as error:
        raise FileNotFoundError(uri) from error


def etag_of(uri: str) -> str | None:
    """ETag of an object, or None when it does not exist."""
    store, _, key = _locate(uri)
    try:
        return (obstore.head(store, key)["e_tag"] or "").strip('"')
    except (NotFoundError, FileNotFoundError):
        return None


def write_bytes(uri: str, data: bytes, *, create_only: bool = False, content_type: str | None = None) -> bool:
    """Write an object whole.

    Args:
        uri: Where to.
        data: The content.
        create_only: Do not replace an object that is there already.
        content_type: What S3 says it is, such as ``text/html``; a file on the disk has no such thing.

    Returns:
        False when ``create_only`` is set and the object was there already.
    """
    store, _, key = _locate(uri)
    try:
        obstore.put(
            store,
            key,
            data,
            mode="create" if create_only else "overwrite",
            attributes={"Content-Type": content_type}
            if content_type and isinstance(store, S3Store)
            else None,
        )
    except AlreadyExistsError:
        return False
    return True


def replace_bytes(uri: str, data: bytes, etag: str) -> bool:
    """Replace an object, but only while it still has this ETag.

    Returns:
        False when somebody else has replaced or deleted it.
    """
    store, _, key = _locate(uri)
    try:
        obstore.put(store, key, data, mode={"e_tag": f'"{etag}"'})
    except (PreconditionError, NotFoundError):
        return False
    except NotImplementedError:
        # The local disk has no such operation. Whoever deletes first, one of two creates it anew.
        delete(uri)
        return write_bytes(uri, data, create_only=True)
    return True


def upload_file(path: Path, uri: str) -> None:
    """Copy a local file to ``uri`` in parts, without holding it in memory."""
    store, _, key = _locate(uri)
    with path.open("rb") as file:
        obstore.put(store, key, file)


def delete(uri: str) -> None:
    """Delete one object; it is fine when it does not exist."""
    store, _, key = _locate(uri)
    try:
        obstore.delete(store, key)
    except (NotFoundError, FileNotFoundError):
        return


def delete_folder(uri: str) -> None:
    """Delete all objects below a folder, and Hadoop's markers of folders; it may not exist."""
    root, key = parts(uri)
    if root == "file://":
        shutil.rmtree(key, ignore_errors=True)
        return
    bucket, client = root.removeprefix("s3://"), _s3_client(_endpoint())
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{key}/"):
        if keys := [{"Key": entry["Key"]} for entry in page.get("Contents", ())]:
            answer = client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            for error in answer.get("Errors", ()):
                raise OSError(f"{root}/{error['Key']} cannot be deleted: {error['Message']}")


def has_bucket(uri: str) -> bool:
    """Whether the bucket that a URI names is there; the local disk always is."""
    root, _ = parts(uri)
    if root == "file://":
        return True
    from botocore.exceptions import ClientError

    try:
        _s3_client(_endpoint()).head_bucket(Bucket=root.removeprefix("s3://"))
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.NOT_FOUND:
            return False
        raise
    return True


def delete_old_versions(uri: str, *, folder: bool = False) -> int:
    """Delete what a versioned bucket still keeps of earlier contents: of one object, or below a folder.

    Returns:
        How many versions there were. On the local disk, and without versioning, there are none.
    """
    root, key = parts(uri)
    if root == "file://":
        return 0
    bucket = _session().resource("s3", config=boto_config()).Bucket(root.removeprefix("s3://"))
    found = [
        version
        for version in bucket.object_versions.filter(Prefix=f"{key}/" if folder else key)
        if folder or version.object_key == key
    ]
    markers = [version for version in found if version.size is None]
    contents = [version for version in found if version.size is not None and not version.is_latest]
    for version in (*contents, *markers):  # without its marker, a deleted content would be seen again
        version.delete()
    return len(contents)


def http_endpoint() -> bool:
    """Whether the configured S3 endpoint is plain HTTP (an emulator)."""
    return _endpoint().startswith("http://")


def _endpoint() -> str:
    """Address of S3, empty for AWS's own."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def boto_config() -> Config:
    """How boto3's clients try again."""
    from botocore.config import Config

    # With its defaults, boto3 takes 20 seconds to say that nobody answers.
    retries: Any = {"mode": "standard", "total_max_attempts": BOTO_ATTEMPTS}
    return Config(connect_timeout=CONNECT_SECONDS, retries=retries)


def delta_options(uri: str) -> dict[str, str]:
    """Storage options for delta-rs that the AWS SDKs' own variables do not cover.

    Args:
        uri: The table. Keys among the options last for as long as AWS lets them, an hour as a rule: options
            are for the next few operations, and not to be kept.
    """
    if not uri.startswith("s3://"):
        return {}
    options = {
        "aws_conditional_put": "etag",
        "retry_timeout": _written(PATIENCE),
        "max_retries": str(MOST_RETRIES),
        "backoff_config.init_backoff": _written(FIRST_PAUSE),
        "backoff_config.max_backoff": _written(LONGEST_PAUSE),
        "backoff_config.base": str(GROWTH),
    }
    if provider := _credentials():
        keys = provider()
        options |= {
            "aws_access_key_id": keys["access_key_id"],
            "aws_secret_access_key": keys["secret_access_key"],
        }
        if token := keys.get("token"):
            options["aws_session_token"] = token
        if region := provider.config.get("region"):
            options["aws_region"] = region
    if endpoint := _endpoint():
        options |= {"aws_endpoint_url": endpoint, "aws_allow_http": str(http_endpoint()).lower()}
    return options


def _written(time: timedelta) -> str:
    return f"{time // timedelta(milliseconds=1)}ms"


def parts(uri: str) -> tuple[str, str]:
    """Split a URI into its root (``s3://bucket`` or ``file://``) and key.

    Nothing is percent-decoded: a name stands in a URI as it is, like Spark reads it.
    """
    split = urlsplit(uri)
    if split.scheme == "s3":
        return f"s3://{split.netloc}", uri.removeprefix(f"s3://{split.netloc}").lstrip("/")
    return "file://", uri.removeprefix("file://")


def _locate(uri: str) -> tuple[ObjectStore, str, str]:
    root, key = parts(uri)
    return _store(root, http_endpoint()), root if root != "file://" else "file://", key.lstrip("/")


def _session() -> Session:
    """A session of boto3 of its own, as threads must not share one, in the region that all SDKs are told."""
    import boto3

    # boto3 alone among the SDKs does not read AWS_REGION.
    return boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None)


@lru_cache
def _s3_client(endpoint: str) -> Any:  # noqa: ANN401
    """boto3's client, for what obstore does not do: it leaves out Hadoop's markers of folders.

    It may be used by several threads, and takes a twentieth of a second of a processor to make.
    """
    return _session().client("s3", endpoint_url=endpoint or None, config=boto_config())


def _credentials() -> Boto3CredentialProvider | None:
    """Credentials and region as boto3 finds them, in profiles, by single sign-on and in Glue's jobs.

    obstore and delta-rs by themselves read variables and ask machines of AWS, and take us-east-1 where no
    variable names the region.

    Returns:
        None when keys are in the environment, which both read without boto3's help.

    Raises:
        FinlakeError: There are none.
    """
    return None if "AWS_ACCESS_KEY_ID" in os.environ else _found()


@lru_cache
def _found() -> Boto3CredentialProvider:
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return Boto3CredentialProvider(_session())
    except ValueError:
        raise no_credentials() from None


@lru_cache
def _store(root: str, allow_http: bool) -> ObjectStore:
    if root.startswith("s3://"):
        retries: RetryConfig = {
            "retry_timeout": PATIENCE,
            "max_retries": MOST_RETRIES,
            "backoff": {"init_backoff": FIRST_PAUSE, "max_backoff": LONGEST_PAUSE, "base": GROWTH},
        }
        return S3Store(
            root.removeprefix("s3://"),
            client_options={"allow_http": allow_http},
            retry_config=retries,
            credential_provider=_credentials(),
        )
    return LocalStore("/")
