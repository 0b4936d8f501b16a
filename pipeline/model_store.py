"""Where models are: the lake's newest, a folder, what SageMaker's training leaves, its registry. No Spark.

Of an archive only its ``model.json`` is read, in memory; nothing of it is unpacked or run.
"""

from __future__ import annotations

import gzip
import json
import os
import tarfile
import zlib
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from ml.errors import ModelError
from ml.kinds import read_model
from ml.model import Model
from pipeline.errors import FinlakeError, UsageError
from pipeline.settings import Settings
from pipeline.storage import boto_config, open_object, read_bytes

MODEL_FILE = "model.json"
ARCHIVE = ".tar.gz"
REGISTRY = "sagemaker:"
APPROVED = "Approved"
MOST_BYTES = 64 * 2**20
"""Bytes that an archive may unpack to. A model with its code takes some hundred thousand."""


@dataclass(frozen=True)
class StoredModel:
    """A model and where it is from.

    Attributes:
        model: The model.
        origin: Its folder or archive, as URI; or the ARN of a version in SageMaker's registry.
    """

    model: Model
    origin: str


def load_model(name: str, settings: Settings, place: str | None = None) -> StoredModel:
    """A kept model.

    Args:
        name: Task that it is for.
        settings: Where the lake is.
        place: Folder with ``model.json``, or a ``model.tar.gz`` that SageMaker's training has left, both on
            disk or as ``s3://`` URI; or ``sagemaker:GROUP`` for the newest approved version of a model
            package group. The lake's newest model by default.

    Raises:
        UsageError: There is none, or it is for another task.
        FinlakeError: It cannot be used, or no version of the group is approved.
    """
    origin = None
    if place is None:
        uri = _newest(name, settings)
    elif place.startswith(REGISTRY):
        origin, uri = newest_approved(place.removeprefix(REGISTRY))
    else:
        uri = uri_of(place)
    content = read_archive(uri) if uri.endswith(ARCHIVE) else read_bytes(f"{uri}/{MODEL_FILE}")
    if content is None:
        shown = uri if origin or place is None else place
        hint = f"it is the folder that holds {MODEL_FILE}, or a model.tar.gz that does"
        raise UsageError(f"there is no model in {shown}", hint)
    origin = origin or uri
    try:
        model = read_model(content.decode(errors="replace"))
    except ModelError as error:
        raise FinlakeError(f"{MODEL_FILE} of {origin}: {error}", error.hint) from error
    if model.task != name:
        raise UsageError(f"{origin} is a model for {model.task}, not for {name}")
    return StoredModel(model, origin)


def _newest(name: str, settings: Settings) -> str:
    root = f"{settings.gold_uri}/_models/{name}"
    latest = read_bytes(f"{root}/latest.json")
    if latest is None:
        raise UsageError(f"there is no model for {name} yet", f"train one with `finlake train {name}`")
    return f"{root}/{json.loads(latest)['version']}"


def uri_of(place: str) -> str:
    """A file or folder of the local disk as URI; what is one already stays."""
    return place.rstrip("/") if "://" in place else f"file://{Path(place).resolve()}"


def read_archive(uri: str) -> bytes | None:
    """``model.json`` at the top of a ``model.tar.gz``; None when there is no such archive.

    Raises:
        FinlakeError: It is no such archive, is too large, or does not hold the file.
    """
    try:
        with closing(open_object(uri)) as stored, gzip.open(stored) as packed:
            content = packed.read(MOST_BYTES + 1)
    except FileNotFoundError:
        return None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise _no_archive(uri, error) from error
    if len(content) > MOST_BYTES:
        raise FinlakeError(
            f"{uri} unpacks to more than {MOST_BYTES // 2**20} MiB", "a model of finlake is far smaller"
        )
    try:
        with tarfile.open(fileobj=BytesIO(content), mode="r:") as archive:
            for member in archive:
                # A sparse file could claim to hold any number of zeros; a link leads to something else.
                if PurePosixPath(member.name) == PurePosixPath(MODEL_FILE) and member.isreg():
                    file = None if member.issparse() else archive.extractfile(member)
                    if file is not None:
                        return file.read()
    except (tarfile.TarError, ValueError) as error:
        raise _no_archive(uri, error) from error
    raise FinlakeError(
        f"{uri} holds no {MODEL_FILE}", "it is the model.tar.gz that a training job with ml/train.py leaves"
    )


def _no_archive(uri: str, error: Exception) -> FinlakeError:
    return FinlakeError(
        f"{uri} is no tar.gz archive, or not whole: {error}", "it is the model.tar.gz of a training job"
    )


def newest_approved(group: str) -> tuple[str, str]:
    """The newest version of a model package group that a person has approved.

    Args:
        group: Name of the group, or its ARN when it is another account's.

    Returns:
        ARN of the version, and URI of its ``model.tar.gz``.

    Raises:
        UsageError: There is no such group.
        FinlakeError: It has no version that is approved, or the approved one has no archive.
    """
    from botocore.exceptions import ClientError

    if not group:
        raise UsageError(
            f"{REGISTRY} lacks the name of a model package group", f"for example {REGISTRY}models"
        )
    client = _client()
    try:
        pages = client.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
        versions = [version for page in pages for version in page["ModelPackageSummaryList"]]
        if not versions:  # AWS lists nothing, too, for a group that is not there
            client.describe_model_package_group(ModelPackageGroupName=group)
    except ClientError as error:
        if error.response["Error"]["Code"] in {"ValidationException", "ResourceNotFound"}:
            raise UsageError(
                f"there is no model package group {group!r}", error.response["Error"].get("Message")
            ) from error
        raise
    approved = [version for version in versions if version.get("ModelApprovalStatus") == APPROVED]
    if not approved:
        raise _nothing_approved(group, versions)
    arn = str(max(approved, key=_number)["ModelPackageArn"])
    found = client.describe_model_package(ModelPackageName=arn)
    containers = found.get("InferenceSpecification", {}).get("Containers", [])
    archive = containers[0].get("ModelDataUrl") if containers else None
    if not archive:
        raise FinlakeError(
            f"{arn} names no model.tar.gz", "register what a training job with ml/train.py left"
        )
    return arn, str(archive)


def _number(version: dict[str, Any]) -> int:
    return int(version["ModelPackageVersion"])


def _nothing_approved(group: str, versions: list[dict[str, Any]]) -> FinlakeError:
    if not versions:
        return FinlakeError(f"{group} has no model yet", "train one, and approve it; see docs/ml.md")
    newest = max(versions, key=_number)["ModelPackageArn"]
    return FinlakeError(
        f"no version of {group} is approved",
        "look at its card, then: aws sagemaker update-model-package "
        f"--model-package-arn {newest} --model-approval-status {APPROVED}",
    )


def _client() -> Any:  # noqa: ANN401 - there are no types for it without another package
    import boto3

    # boto3 alone among the SDKs does not read AWS_REGION.
    region = boto3.Session().region_name or os.environ.get("AWS_REGION")
    return boto3.client("sagemaker", region_name=region, config=boto_config())
