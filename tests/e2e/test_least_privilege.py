"""Each job does its work with the rights of its own role, and with no others.

The emulator checks policies here (``AUTH=true``): roles, policies and boundary are those that Terraform makes,
and each job runs with temporary credentials of its role, where Glue would hand them over. What the jobs call is
written down and compared with what they may call.
"""

from __future__ import annotations

import json
import shutil
import socket
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from lakehouse import Lakehouse, clean_environment, lakehouse

from emulator import native
from emulator.native import NativeStack
from pipeline import infra

pytestmark = [pytest.mark.e2e, pytest.mark.emulator, pytest.mark.spark, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "permissions.md"
JOBS = {
    "silver-customers": ("run", "--layer", "silver", "--entity", "customers"),
    "silver-accounts": ("run", "--layer", "silver", "--entity", "accounts"),
    "silver-loans": ("run", "--layer", "silver", "--entity", "loans"),
    "silver-payments": ("run", "--layer", "silver", "--entity", "payments"),
    "silver-transactions": ("run", "--layer", "silver", "--entity", "transactions"),
    "gold": ("run", "--layer", "gold"),
    "maintenance": ("maintain",),
}


@dataclass(frozen=True)
class Guarded:
    """A lake whose jobs ran with their roles' rights.

    Attributes:
        lake: The lake, as its owner sees it.
        policies: Statements by job.
        credentials: Variables with the role's temporary credentials, by job.
        calls: By job: actions and resources that it was allowed and used.
        refused: By job: actions and resources that it was refused.
        outputs: What the jobs printed.
    """

    lake: Lakehouse
    policies: dict[str, list[dict[str, Any]]]
    credentials: dict[str, dict[str, str]]
    calls: dict[str, set[tuple[str, str]]]
    refused: dict[str, set[tuple[str, str]]]
    outputs: dict[str, str]

    def client(self, service: str, job: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.lake.aws["AWS_ENDPOINT_URL"],
            region_name=self.lake.aws["AWS_REGION"],
            aws_access_key_id=self.credentials[job]["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=self.credentials[job]["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=self.credentials[job]["AWS_SESSION_TOKEN"],
        )


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    if shutil.which("terraform") is None:
        pytest.skip("Terraform is not installed")
    clone = tmp_path_factory.mktemp("guarded")
    record = clone / "calls.jsonl"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTH", "true")
        patch.setenv("FINLAKE_TEST_RECORD", str(record))
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setattr(native, "AWS_MODULE", "recording_server")
        stack = NativeStack(clone / ".finlake", port)
        stack.up()
    try:
        lake = lakehouse(stack, "finlake")
        policies, credentials = make_roles(clone, lake)
        lake.must("generate", "--scale", "20", "--dirty", "0.1", "--out", lake.settings.bronze_uri)
        outputs = {}
        for job, command in JOBS.items():
            own = lake.with_own_spark()
            own.variables.update(lake.aws | credentials[job])
            outputs[job] = own.must(*command).stdout
        calls, refused = read_calls(record, credentials)
        yield Guarded(lake, policies, credentials, calls, refused, outputs)
    finally:
        stack.down()


def make_roles(clone: Path, lake: Lakehouse) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """Roles as Terraform makes them, and credentials of each. The test takes Glue's place in their trust."""
    for folder in ("terraform", "contracts", "datagen", "emulator", "pipeline"):
        shutil.copytree(
            ROOT / folder, clone / folder, ignore=shutil.ignore_patterns(".terraform", "__pycache__")
        )
    for file in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, clone)
    with infra.open_local(clone, clean_environment() | lake.aws) as terraform:
        options = ["-auto-approve", "-input=false", "-json", "-target=module.iam"]
        terraform.run("apply", ["apply", *options, *terraform.variables])
    iam, sts = lake.client("iam"), lake.client("sts")
    policies, credentials = {}, {}
    for job in JOBS:
        role = f"finlake-local-{job}"
        policies[job] = iam.get_role_policy(RoleName=role, PolicyName="access")["PolicyDocument"]["Statement"]
        arn = iam.get_role(RoleName=role)["Role"]["Arn"]
        trust = {
            "Effect": "Allow",
            "Principal": {"AWS": arn.split(":role/")[0] + ":root"},
            "Action": "sts:AssumeRole",
        }
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        iam.update_assume_role_policy(RoleName=role, PolicyDocument=document)
        given = sts.assume_role(RoleArn=arn, RoleSessionName="job")["Credentials"]
        credentials[job] = {
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
        }
    return policies, credentials


def read_calls(record: Path, credentials: dict[str, dict[str, str]]) -> tuple[Any, Any]:
    jobs = {given["AWS_ACCESS_KEY_ID"]: job for job, given in credentials.items()}
    calls, refused = defaultdict(set), defaultdict(set)
    for line in record.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["key"] in jobs:
            (calls if row["allowed"] else refused)[jobs[row["key"]]].add((row["action"], row["resource"]))
    return calls, refused


def test_dump(guarded: Guarded) -> None:
    print("REFUSED", json.dumps({k: sorted(v) for k, v in guarded.refused.items()}, indent=1))
    for job in JOBS:
        allowed = {a for s in guarded.policies[job] for a in s["Action"]}
        called = {a for a, _ in guarded.calls[job]}
        print(
            job, "CALLED", sorted(called), "NOT", sorted(allowed - called), "EXTRA", sorted(called - allowed)
        )
