"""A native stack for tests of Glue: jobs, crawlers and what they need, in one bucket."""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.exceptions import ClientError
from lakehouse import FOREIGN, QUICK_JVM, free_port

from emulator.native import NativeStack

BUCKET = "glue-under-test"
ROLE = "arn:aws:iam::000000000000:role/glue"
GOING = ("STARTING", "RUNNING", "STOPPING")


@dataclass
class Glue:
    """Clients of a stack, and shorter ways to make things."""

    stack: NativeStack

    def client(self, service: str, key: str = "test", region: str = "eu-central-1") -> Any:
        endpoint = self.stack.environment()["AWS_ENDPOINT_URL"]
        return boto3.client(
            service,
            endpoint_url=endpoint,
            region_name=region,
            aws_access_key_id=key,
            aws_secret_access_key="test",
        )

    @property
    def glue(self) -> Any:
        return self.client("glue")

    def put(self, key: str, body: str | bytes) -> str:
        data = textwrap.dedent(body).lstrip().encode() if isinstance(body, str) else body
        self.client("s3").put_object(Bucket=BUCKET, Key=key, Body=data)
        return f"s3://{BUCKET}/{key}"

    def job(self, script: str, kind: str = "pythonshell", **more: Any) -> str:
        name = f"job-{uuid4().hex[:8]}"
        location = self.put(f"jobs/{name}.py", script)
        command = {"Name": kind, "ScriptLocation": location, "PythonVersion": "3"}
        self.glue.create_job(Name=name, Role=ROLE, Command=command, **more)
        return name

    def start(self, name: str, **more: Any) -> str:
        return self.glue.start_job_run(JobName=name, **more)["JobRunId"]

    def run(self, name: str, identity: str) -> dict[str, Any]:
        return self.glue.get_job_run(JobName=name, RunId=identity)["JobRun"]

    def ended(self, name: str, identity: str, seconds: float = 60) -> dict[str, Any]:
        return wait(lambda: self.run(name, identity), lambda run: run["JobRunState"] not in GOING, seconds)

    def running(self, name: str, identity: str) -> dict[str, Any]:
        return wait(lambda: self.run(name, identity), lambda run: run["JobRunState"] != "STARTING", 30)

    def done(
        self, script: str, kind: str = "pythonshell", arguments: Any = None, **more: Any
    ) -> dict[str, Any]:
        """A run of a script, to its end."""
        name = self.job(script, kind, **more)
        return self.ended(name, self.start(name, **({"Arguments": arguments} if arguments else {})))

    def said(self, run: dict[str, Any], stream: str = "output") -> str:
        """What a run has written."""
        try:
            events = self.client("logs").get_log_events(
                logGroupName=f"{run['LogGroupName']}/{stream}", logStreamName=run["Id"], startFromHead=True
            )["events"]
        except ClientError:
            return ""
        return "\n".join(event["message"] for event in events)


def wait(look: Callable[[], Any], good: Callable[[Any], bool], seconds: float = 30) -> Any:
    """What ``look`` gives as soon as it is good."""
    end = time.monotonic() + seconds
    while not good(found := look()):
        assert time.monotonic() < end, f"still {found}"
        time.sleep(0.1)
    return found


def code(call: Callable[..., Any], **arguments: Any) -> str:
    """The name of the error that a call is refused with."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


@contextmanager
def glue_stack(folder: Path, **variables: str) -> Iterator[Glue]:
    stack = NativeStack(folder / ".finlake", free_port())
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(FOREIGN)]:
            patch.delenv(name)
        for name, value in (QUICK_JVM | variables).items():
            patch.setenv(name, value)
        try:
            stack.up()
            glue = Glue(stack)
            glue.client("s3").create_bucket(
                Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
            )
            yield glue
        finally:
            stack.down()
