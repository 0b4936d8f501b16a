"""Where the lake lives. Everything is set by ``FINLAKE_*`` variables; the defaults are the laptop's.

Endpoints and credentials are not settings of finlake: they come from the AWS SDKs' own variables
(``AWS_ENDPOINT_URL``, ``AWS_PROFILE``, ...). For ``FINLAKE_ENV=local`` they are read from the file
that the local stack writes when it starts, so that a local run can never reach a real account.
"""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AwareDatetime, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from pipeline.errors import FinlakeError, UsageError

HOME_NAME = ".finlake"
LOCAL_ENV_FILE = "local.env"
SPARK_REMOTE = "SPARK_REMOTE"  # PySpark's own variable for the address of a Spark Connect server
ANSWER_SECONDS = 5
TABLE_LAYERS = ("silver", "gold", "quarantine", "ops")
LAYERS = ("bronze", *TABLE_LAYERS)


class Settings(BaseSettings):
    """Names and places of one environment of the lake.

    Attributes:
        env: Environment: ``local``, ``dev`` or ``prod``.
        prefix: First part of all names.
        bucket_suffix: Last part of bucket names, which are unique world-wide; often the account id.
        bronze_uri: Root of Bronze, default ``s3://<prefix>-<env>-bronze[-<suffix>]``.
        silver_uri: Root of Silver; quarantine and ops tables live below it.
        gold_uri: Root of Gold.
        public_silver_uri: Root of the masked copies of Silver; none outside of the laptop by default.
        public_gold_uri: Root of the masked copies of Gold; none outside of the laptop by default.
        athena_workgroup: Workgroup of `finlake query`; default ``<prefix>-<env>``, on the laptop ``primary``.
        now: What time runs take it to be, with its offset; the machine's clock by default.
        pii_key: Secret of the keyed hashes in masked copies, as long as RFC 2104 asks for (32 bytes).
    """

    model_config = SettingsConfigDict(env_prefix="FINLAKE_", extra="ignore")

    env: str = Field(default="local", pattern=r"^[a-z][a-z0-9]{0,15}$")
    prefix: str = Field(default="finlake", pattern=r"^[a-z][a-z0-9-]{0,20}$")
    bucket_suffix: str = ""
    bronze_uri: str = ""
    silver_uri: str = ""
    gold_uri: str = ""
    public_silver_uri: str | None = None
    public_gold_uri: str | None = None
    athena_workgroup: str = ""
    now: AwareDatetime | None = None
    pii_key: SecretStr | None = Field(default=None, min_length=32)

    @model_validator(mode="after")
    def _fill_uris(self) -> Settings:
        suffix = f"-{self.bucket_suffix}" if self.bucket_suffix else ""
        for layer in ("bronze", "silver", "gold"):
            uri = getattr(self, f"{layer}_uri") or f"s3://{self.prefix}-{self.env}-{layer}{suffix}"
            setattr(self, f"{layer}_uri", uri.rstrip("/"))
        if self.env == "local":
            self.public_silver_uri = (
                self.public_silver_uri or f"s3://{self.prefix}-local-public-silver{suffix}"
            )
            self.public_gold_uri = self.public_gold_uri or f"s3://{self.prefix}-local-public-gold{suffix}"
        return self

    def instant(self) -> datetime:
        """The present instant in UTC, for all that is written down.

        Locks, fences and retention go by the machine's clock, whatever this says.
        """
        return (self.now or datetime.now(UTC)).astimezone(UTC)

    @property
    def workgroup(self) -> str:
        """The Athena workgroup that questions are asked in."""
        return self.athena_workgroup or ("primary" if self.env == "local" else f"{self.prefix}-{self.env}")

    @property
    def athena_results_uri(self) -> str:
        """Where Athena's results go, if the workgroup does not say."""
        suffix = f"-{self.bucket_suffix}" if self.bucket_suffix else ""
        return f"s3://{self.prefix}-{self.env}-athena{suffix}/results/"

    @property
    def is_on_s3(self) -> bool:
        """Whether the tables are on S3, and not on the local disk."""
        return self.silver_uri.startswith("s3://") and self.gold_uri.startswith("s3://")

    def database(self, layer: str) -> str:
        """Name of the Glue database of a layer, such as ``finlake_local_silver``."""
        return f"{self.prefix}_{self.env}_{layer}".replace("-", "_")

    def bronze_entity_uri(self, entity: str) -> str:
        """Folder of an entity's raw files."""
        return f"{self.bronze_uri}/{entity}"

    def table_uri(self, layer: str, table: str) -> str:
        """Folder of a table of layer ``silver``, ``quarantine``, ``ops``, ``staging`` or ``gold``."""
        roots = {
            "silver": self.silver_uri,
            "quarantine": f"{self.silver_uri}/_quarantine",
            "ops": f"{self.silver_uri}/_ops",
            "staging": f"{self.silver_uri}/_staging",
            "gold": self.gold_uri,
        }
        return f"{roots[layer]}/{table}"


def find_home(start: Path | None = None) -> Path | None:
    """Nearest ``.finlake`` folder from ``start`` (default: the working directory) upwards."""
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / HOME_NAME).is_dir():
            return folder / HOME_NAME
    return None


def load_settings() -> Settings:
    """Read the settings, and for the local environment point the AWS SDKs at the local stack.

    Raises:
        UsageError: A variable has a value that cannot be.
        FinlakeError: The environment is local and no stack is known, so requests would go to AWS.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        problem = error.errors()[0]
        name = f"FINLAKE_{problem['loc'][0]}".upper()
        if name == "FINLAKE_PII_KEY":  # never shown, and neither is the error that holds it
            hint = "for example: export FINLAKE_PII_KEY=$(openssl rand -hex 32)"
            raise UsageError(f"{name} is shorter than 32 characters", hint) from None
        raise UsageError(f"{name} is {problem['input']!r}", problem["msg"]) from error
    if _is_on_local_stack(settings):
        _use_local_stack()
    return settings


def reachable_settings() -> Settings:
    """:func:`load_settings`; also sees at once that a local stack answers.

    Requests would be tried again for a while, since later on it may just be starting again.

    Raises:
        UsageError: A variable has a value that cannot be.
        FinlakeError: The environment is local, and no stack is known or it does not answer.
    """
    settings = load_settings()
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    address = urlsplit(endpoint)
    if _is_on_local_stack(settings) and address.hostname and address.port:
        try:
            socket.create_connection((address.hostname, address.port), timeout=ANSWER_SECONDS).close()
        except OSError as error:
            raise FinlakeError(
                f"cannot reach {endpoint} ({error.strerror or error})",
                "is the stack up? `make status` tells, `make up` starts it",
            ) from error
    return settings


def _is_on_local_stack(settings: Settings) -> bool:
    roots = (settings.bronze_uri, settings.silver_uri, settings.gold_uri)
    return settings.env == "local" and any(uri.startswith("s3://") for uri in roots)


def _use_local_stack() -> None:
    if os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL_S3"):
        return
    home = find_home()
    file = home / LOCAL_ENV_FILE if home else None
    if file is None or not file.is_file():
        raise FinlakeError(
            "the local stack is not running",
            "start it with `make up`, or set FINLAKE_ENV=dev|prod to work on AWS",
        )
    stack = {key: value for key, value in dotenv_values(file).items() if value is not None}
    if SPARK_REMOTE in os.environ:  # whoever sets it, if only to nothing, has chosen a Spark
        stack.pop(SPARK_REMOTE, None)
    os.environ.update(stack)
