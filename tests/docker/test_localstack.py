"""LocalStack and the gateway without Compose, as other projects' tests start them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from containers import ROOT, Compose, aws_client, behind_the_gateway

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def localstack_image(compose: Compose) -> str:
    return str(compose.config()["services"]["localstack"]["image"])


@pytest.fixture(scope="module")
def gateway_port(compose: Compose, images: dict[str, Any]) -> Iterator[int]:
    with behind_the_gateway(compose, catalog=False) as port:
        yield port


@pytest.mark.filterwarnings("ignore:The wait_for_logs function:DeprecationWarning")  # testcontainers' own
def test_the_gateway_image_stands_in_front_of_any_localstack(gateway_port: int) -> None:
    s3, sts = aws_client("s3", gateway_port), aws_client("sts", gateway_port)
    s3.create_bucket(Bucket="alone", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_object(Bucket="alone", Key="k", Body=b"v" * 1_000_000)
    assert s3.get_object(Bucket="alone", Key="k")["ContentLength"] == 1_000_000
    assert sts.get_caller_identity()["Account"] == "000000000000"


def test_another_version_of_localstack_is_left_alone(localstack_image: str) -> None:
    script = """
import logging, localstack.version
logging.basicConfig()
localstack.version.version = '9.0.0'
exec(open('/keep_state.py').read(), {})
"""
    command = ["docker", "run", "--rm", "--network", "none", "--env", "KEEP_STATE_DIR=/none/of/that"]
    command += ["--volume", f"{ROOT / 'docker/localstack/keep_state.py'}:/keep_state.py:ro"]
    command += ["--entrypoint", "python", localstack_image, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "this is LocalStack 9.0.0 and not 4.14.x: NOTHING IS KEPT when it stops" in done.stderr
