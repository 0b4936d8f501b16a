"""LocalStack and the gateway without Compose, as other projects' tests start them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from containers import REGION, ROOT, Compose, Containers, aws_client, behind_the_gateway
from lakehouse import QUICK_JVM
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

pytestmark = [
    pytest.mark.docker,
    # testcontainers' own
    pytest.mark.filterwarnings("ignore:The wait_for_logs function:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def localstack_image(compose: Compose) -> str:
    return str(compose.config()["services"]["localstack"]["image"])


@pytest.fixture(scope="module")
def containers(compose: Compose, images: dict[str, Any]) -> Iterator[Containers]:
    with behind_the_gateway(compose, catalog=True) as stack:
        yield stack


def test_the_gateway_image_stands_in_front_of_any_localstack(containers: Containers) -> None:
    s3, sts = aws_client("s3", containers.port), aws_client("sts", containers.port)
    s3.create_bucket(Bucket="alone", CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket="alone", Key="k", Body=b"v" * 1_000_000)
    assert s3.get_object(Bucket="alone", Key="k")["ContentLength"] == 1_000_000
    assert sts.get_caller_identity()["Account"] == "000000000000"


def test_the_whole_pipeline_runs_without_compose(containers: Containers) -> None:
    s3, glue = (aws_client(service, containers.port) for service in ("s3", "glue"))
    for name in ("bronze", "silver", "gold"):
        s3.create_bucket(
            Bucket=f"finlake-local-{name}", CreateBucketConfiguration={"LocationConstraint": REGION}
        )
    for name in ("silver", "gold", "quarantine", "ops"):
        glue.create_database(DatabaseInput={"Name": f"finlake_local_{name}"})

    with containers.client("finlake-datagen").with_command(
        ["--scale", "20", "--out", "s3://finlake-local-bronze"]
    ) as generator:
        ended = generator.get_wrapped_container().wait(timeout=60)
        assert ended["StatusCode"] == 0, generator.get_logs()

    serves = LogMessageWaitStrategy("serves sc://").with_startup_timeout(120)
    spark = containers.client("finlake-spark").with_envs(SPARK_REMOTE="sc://localhost:15002", **QUICK_JVM)
    with spark.waiting_for(serves):
        run = spark.exec(["finlake", "run", "--json"])
        assert run.exit_code == 0, run.output.decode()
        checks = json.loads(spark.exec(["finlake", "verify", "--json"]).output)

    assert [check for check in checks if not check["ok"]] == []
    names = {check["check"] for check in checks}
    assert {"transactions: as the generator wrote it", "gold.customer_360: adds up"} <= names
    marts = glue.get_tables(DatabaseName="finlake_local_gold")["TableList"]
    assert "customer_360" in {table["Name"] for table in marts}


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
