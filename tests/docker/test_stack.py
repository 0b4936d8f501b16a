"""The whole stack: one endpoint, Spark and the generator; and nothing is lost when it ends."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from containers import Compose, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.timeout(300)]

ROLE = json.dumps({"Version": "2012-10-17", "Statement": []})
TABLE = {
    "Name": "kept",
    "StorageDescriptor": {"Columns": [{"Name": "c", "Type": "int", "Comment": "a number"}]},
}
# Names the process without being it: the command that looks is a process, too.
KILL = """
import os, signal
for pid in filter(str.isdigit, os.listdir('/proc')):
    if b'localstack.runtime' + b'.main' in open(f'/proc/{pid}/cmdline', 'rb').read():
        os.kill(int(pid), signal.SIGKILL)
"""


def bucket(stack: Compose, name: str, *, versions: bool = False) -> Any:
    s3 = stack.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    if versions:
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return s3


def is_up(stack: Compose, service: str) -> bool:
    return stack.states().get(service, {}).get("Health") == "healthy"


def test_all_services_are_healthy(stack: Compose) -> None:
    states = stack.states()
    assert {name: state["Health"] for name, state in states.items()} == dict.fromkeys(
        ("localstack", "catalog", "glue", "gateway", "spark", "dashboard"), "healthy"
    )


def test_one_endpoint_serves_s3_and_glue(stack: Compose) -> None:
    s3, glue = bucket(stack, "one-endpoint"), stack.client("glue")
    s3.put_object(Bucket="one-endpoint", Key="a/b c+ü", Body=b"x" * 100_000)
    assert s3.get_object(Bucket="one-endpoint", Key="a/b c+ü", Range="bytes=5-9")["Body"].read() == b"xxxxx"
    glue.create_database(DatabaseInput={"Name": "one"})
    assert glue.get_database(Name="one")["Database"]["Name"] == "one"


def test_the_generator_writes_a_batch_to_s3(stack: Compose) -> None:
    s3 = bucket(stack, "generated")
    stack.run("run", "--rm", "datagen", "--scale", "50", "--out", "s3://generated")
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket="generated")["Contents"]]
    assert any("manifest" in key for key in keys)
    assert any(key.startswith("customers/ingest_date=") for key in keys)


def test_spark_answers_from_outside_and_reaches_s3(stack: Compose) -> None:
    bucket(stack, "of-spark")
    script = f"""
from pyspark.sql import SparkSession
spark = SparkSession.builder.remote("sc://localhost:{stack.ports["spark"]}").getOrCreate()
spark.range(7).write.format("delta").save("s3://of-spark/table")
print(spark.read.format("delta").load("s3://of-spark/table").count())
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "7", done.stderr


def test_sparks_web_pages_are_reachable(stack: Compose) -> None:
    url = f"http://localhost:{stack.ports['web pages']}/jobs/"
    done = subprocess.run(["curl", "-sSfL", url], capture_output=True, text=True, timeout=30, check=False)
    assert "Spark Jobs" in done.stdout, done.stderr


def test_the_dashboard_is_reachable_and_says_what_is_missing(stack: Compose) -> None:
    url = f"http://localhost:{stack.ports['dashboard']}/"
    command = ["curl", "-sSfL", "--compressed", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Cash flow and customers" in done.stdout, done.stderr


def test_finlake_runs_inside_the_spark_container(stack: Compose) -> None:
    assert "finlake" in stack.run("exec", "--no-TTY", "spark", "finlake", "--help")


def test_the_pipeline_runs_in_the_containers(stack: Compose) -> None:
    for name in ("bronze", "silver", "gold", "public-silver", "public-gold"):
        bucket(stack, f"finlake-local-{name}")
    for name in ("bronze", "silver", "gold", "quarantine", "ops"):
        stack.client("glue").create_database(DatabaseInput={"Name": f"finlake_local_{name}"})
    stack.run("run", "--rm", "datagen", "--scale", "20", "--out", "s3://finlake-local-bronze")
    # One entity, no Gold: it is about the containers, and the whole story has tests of its own.
    stack.run("exec", "--no-TTY", "spark", "finlake", "run", "--entity", "customers", "--layer", "silver")
    tables = stack.client("glue").get_tables(DatabaseName="finlake_local_silver")["TableList"]
    assert "customers" in {table["Name"] for table in tables}


def test_down_and_up_keep_everything(stack: Compose) -> None:
    s3, glue, iam = bucket(stack, "kept", versions=True), stack.client("glue"), stack.client("iam")
    first = s3.put_object(Bucket="kept", Key="k", Body=b"one", Metadata={"n": "1"})["VersionId"]
    s3.put_object(Bucket="kept", Key="k", Body=b"two")
    s3.put_object(Bucket="kept", Key="deleted", Body=b"x")
    s3.delete_object(Bucket="kept", Key="deleted")
    s3.put_bucket_tagging(Bucket="kept", Tagging={"TagSet": [{"Key": "layer", "Value": "bronze"}]})
    s3.upload_part(
        Bucket="kept",
        Key="unfinished",
        PartNumber=1,
        UploadId=s3.create_multipart_upload(Bucket="kept", Key="unfinished")["UploadId"],
        Body=b"part",
    )
    glue.create_database(DatabaseInput={"Name": "kept"})
    glue.create_table(DatabaseName="kept", TableInput=TABLE)
    role = iam.create_role(RoleName="kept", AssumeRolePolicyDocument=ROLE)["Role"]
    stack.client("logs").create_log_group(logGroupName="/kept")

    began = time.monotonic()
    stack.run("down")
    assert time.monotonic() - began < 20
    stack.up()

    versions = s3.list_object_versions(Bucket="kept")
    assert [each["Key"] for each in versions["Versions"]] == ["deleted", "k", "k"]
    assert [each["Key"] for each in versions["DeleteMarkers"]] == ["deleted"]
    old = s3.get_object(Bucket="kept", Key="k", VersionId=first)
    assert (old["Body"].read(), old["Metadata"]) == (b"one", {"n": "1"})
    assert s3.get_object(Bucket="kept", Key="k")["Body"].read() == b"two"
    assert s3.get_bucket_tagging(Bucket="kept")["TagSet"] == [{"Key": "layer", "Value": "bronze"}]
    (upload,) = s3.list_multipart_uploads(Bucket="kept")["Uploads"]
    (part,) = s3.list_parts(Bucket="kept", Key="unfinished", UploadId=upload["UploadId"])["Parts"]
    s3.complete_multipart_upload(
        Bucket="kept",
        Key="unfinished",
        UploadId=upload["UploadId"],
        MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]},
    )
    assert s3.get_object(Bucket="kept", Key="unfinished")["Body"].read() == b"part"
    columns = glue.get_table(DatabaseName="kept", Name="kept")["Table"]["StorageDescriptor"]["Columns"]
    assert columns == TABLE["StorageDescriptor"]["Columns"]
    assert iam.get_role(RoleName="kept")["Role"]["RoleId"] == role["RoleId"]
    groups = stack.client("logs").describe_log_groups()["logGroups"]
    assert [each["logGroupName"] for each in groups] == ["/kept"]


def test_a_killed_localstack_comes_back_with_all_it_has_acknowledged(stack: Compose) -> None:
    s3 = bucket(stack, "killed")
    quick = {"retries": {"total_max_attempts": 1}, "read_timeout": 5}
    written: dict[str, bytes] = {}
    stop = threading.Event()

    def write(number: int) -> None:
        client = stack.client("s3", **quick)
        for step in range(100_000):
            if stop.is_set():
                return
            # New keys, and one that is overwritten again and again, with another length each time.
            for key in (f"{number}/{step}", f"{number}/same"):
                body = f"{number} {step} {key}".encode() * (step % 50 + 1)
                try:
                    client.put_object(Bucket="killed", Key=key, Body=body)
                except (BotoCoreError, ClientError):
                    written.pop(key, None)  # it may be there or not
                else:
                    written[key] = body

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(3)
    stack.run("exec", "--no-TTY", "localstack", "python", "-c", KILL, check=False)
    time.sleep(0.5)
    stop.set()
    for thread in threads:
        thread.join()
    wait_for(lambda: is_up(stack, "localstack"))

    assert len(written) > 20
    for key, body in written.items():
        assert s3.get_object(Bucket="killed", Key=key)["Body"].read() == body, key
    for each in s3.get_paginator("list_objects_v2").paginate(Bucket="killed").search("Contents[]"):
        found = s3.get_object(Bucket="killed", Key=each["Key"])
        assert len(found["Body"].read()) == each["Size"] == found["ContentLength"]


def test_a_killed_container_is_started_again_by_up(stack: Compose) -> None:
    s3, glue = bucket(stack, "killed-container"), stack.client("glue")
    s3.put_object(Bucket="killed-container", Key="k", Body=b"there")
    glue.create_database(DatabaseInput={"Name": "killed_container"})
    time.sleep(2)  # the catalogue is saved a moment after a change
    stack.run("kill", "localstack", "catalog")
    with pytest.raises(ClientError, match=r"503|Unavailable"):
        stack.client("s3", retries={"total_max_attempts": 1}).list_buckets()
    stack.up("gateway")
    assert s3.get_object(Bucket="killed-container", Key="k")["Body"].read() == b"there"
    assert glue.get_database(Name="killed_container")["Database"]["Name"] == "killed_container"
