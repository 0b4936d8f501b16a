"""Each job does its work with the rights of its own role, and with no others.

The emulator checks policies here (``AUTH=true``): roles, policies and boundary are those that Terraform
makes, and each job runs with temporary credentials of its role, where Glue would hand them over. What the
jobs call is written down and compared with what they may call.

By default only those jobs run so whose roles differ in kind, the owner does what the others would do. With
FINLAKE_TEST_ALL_JOBS=1 all do.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from lakehouse import Lakehouse, clean_environment, lakehouse
from noise_model import noise_model, packed

from emulator import native
from emulator.native import NativeStack
from ml.tasks import DEFAULT
from pipeline import infra

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.emulator,
    pytest.mark.spark,
    pytest.mark.timeout(900),
    pytest.mark.slow,
]

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "permissions.md"
# In the order of the workflow.
STEPS = (
    ("silver-customers", ("run", "--layer", "silver", "--entity", "customers")),
    ("silver-accounts", ("run", "--layer", "silver", "--entity", "accounts")),
    ("silver-loans", ("run", "--layer", "silver", "--entity", "loans")),
    ("silver-payments", ("run", "--layer", "silver", "--entity", "payments")),
    ("silver-transactions", ("run", "--layer", "silver", "--entity", "transactions")),
    ("gold", ("run", "--layer", "gold")),
    ("maintenance", ("maintain",)),
    # On AWS it looks up the archive in SageMaker's registry, which no emulator has that checks policies.
    ("scoring", ("score", "--json", "--model", "s3://finlake-local-scripts/models/one/output/model.tar.gz")),
)
ALL = tuple(job for job, _ in STEPS)
# An entity with parents, history and personal data; Gold; maintenance; scoring.
KINDS = ("silver-accounts", "gold", "maintenance", "scoring")
GUARDED = ALL if os.environ.get("FINLAKE_TEST_ALL_JOBS") else KINDS


@dataclass(frozen=True)
class Guarded:
    """A lake whose jobs ran with their roles' rights.

    Attributes:
        lake: The lake, as its owner sees it.
        policies: Statements by job.
        credentials: Variables with the role's temporary credentials, by job.
        calls: By job: actions and resources that it was allowed and used.
        refused: By job: actions and resources that it was refused.
    """

    lake: Lakehouse
    policies: dict[str, list[dict[str, Any]]]
    credentials: dict[str, dict[str, str]]
    calls: dict[str, set[tuple[str, str]]]
    refused: dict[str, set[tuple[str, str]]]

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
        # The gateway's own Glue asks with keys of its own, not with the job's.
        patch.setenv("FINLAKE_LOCAL_SERVICES", "")
        patch.setenv("FINLAKE_TEST_RECORD", str(record))
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setattr(native, "AWS_MODULE", "recording_server")
        stack = NativeStack(clone / ".finlake", port)
        stack.up()
    try:
        lake = lakehouse(stack, "finlake")
        region = {"LocationConstraint": lake.aws["AWS_REGION"]}
        lake.client("s3").create_bucket(Bucket="finlake-local-scripts", CreateBucketConfiguration=region)
        archive = packed(("model.json", noise_model(DEFAULT).to_json().encode()))
        lake.client("s3").put_object(
            Bucket="finlake-local-scripts", Key="models/one/output/model.tar.gz", Body=archive
        )
        policies, credentials = make_roles(clone, lake)
        lake.must("generate", "--scale", "20", "--dirty", "0.1", "--out", lake.settings.bronze_uri)
        waiting: list[str] = []
        for job, command in STEPS:
            if job not in GUARDED:
                waiting += command[-2:]  # --entity and its name, for the owner
                continue
            if waiting:
                lake.with_own_spark().must("run", "--layer", "silver", *waiting)
                waiting = []
            own = lake.with_own_spark()
            own.variables.update(lake.aws | credentials[job])
            own.must(*command)
        calls, refused = read_calls(record, credentials)
        yield Guarded(lake, policies, credentials, calls, refused)
    finally:
        stack.down()


def make_roles(clone: Path, lake: Lakehouse) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """Roles as Terraform makes them, and credentials of each. The test takes Glue's place in their trust."""
    for folder in ("terraform", "contracts", "datagen", "emulator", "ml", "pipeline"):
        shutil.copytree(
            ROOT / folder, clone / folder, ignore=shutil.ignore_patterns(".terraform", "__pycache__")
        )
    for file in ("pyproject.toml", "constraints.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, clone)
    with infra.open_local(clone, clean_environment() | lake.aws) as terraform:
        options = ["-auto-approve", "-input=false", "-json", "-target=module.iam"]
        options += ["-var=athena=true", "-var=sagemaker={scoring=true}"]
        terraform.run("apply", ["apply", *terraform.variables, *options])
    iam, sts = lake.client("iam"), lake.client("sts")
    policies, credentials = {}, {}
    for job in ALL:
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


def table(heading: str) -> set[str]:
    """First column of a table of the page, by its heading."""
    block = PAGE.read_text(encoding="utf-8").split(f"| {heading} |")[1].split("\n\n")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", block, re.MULTILINE))


def test_a_job_needs_no_more_than_its_role_may_do(guarded: Guarded) -> None:
    assert {job: asked for job, asked in guarded.refused.items() if asked} == {}
    assert set(guarded.calls) == set(GUARDED), "each job asked for something"


def test_a_role_may_do_what_its_job_does_or_the_docs_say_why(guarded: Guarded) -> None:
    used = {action for calls in guarded.calls.values() for action, _ in calls}
    allowed = {
        action for job in GUARDED for statement in guarded.policies[job] for action in statement["Action"]
    }
    assert used == table("action that a job uses")
    assert allowed - used == table("action")


def covers(pattern: str, resource: str) -> bool:
    """Whether a policy's resource, with its wildcards, is or includes that of a request."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), resource) is not None


def test_each_request_is_one_that_a_statement_of_the_role_names(guarded: Guarded) -> None:
    """The emulator has decided so already; this reads the policies anew, action and resource together."""
    for job, calls in guarded.calls.items():
        for action, resource in calls:
            assert any(
                action in statement["Action"] and any(covers(p, resource) for p in statement["Resource"])
                for statement in guarded.policies[job]
            ), f"{job}: {action} on {resource}"


def test_a_job_reaches_each_resource_of_its_role_or_the_docs_say_why(guarded: Guarded) -> None:
    untouched = {
        (statement["Sid"], pattern)
        for job in GUARDED
        for statement in guarded.policies[job]
        for pattern in statement["Resource"]
        if not any(
            action in statement["Action"] and covers(pattern, resource)
            for action, resource in guarded.calls[job]
        )
    }
    block = PAGE.read_text(encoding="utf-8").split("| statement | resource |")[1].split("\n\n")[0]
    told = {
        (sid, pattern): {found for found in untouched if found[0] == sid and covers(pattern, found[1])}
        for sids, patterns in re.findall(r"^\| (`[^|]+`) \| (`[^|]+`) \|", block, re.MULTILINE)
        for sid in re.findall("`([^`]+)`", sids)
        for pattern in re.findall("`([^`]+)`", patterns)
    }
    assert sorted(untouched - {found for matches in told.values() for found in matches}) == []
    assert [row for row, matches in told.items() if not matches] == [], "these are touched"


def test_a_silver_job_touches_only_what_is_its_own(guarded: Guarded) -> None:
    silver = "arn:aws:s3:::finlake-local-silver/"
    written = {
        resource.removeprefix(silver).split("/")[0]
        for action, resource in guarded.calls["silver-accounts"]
        if action in ("s3:PutObject", "s3:DeleteObject")
    }
    assert written == {"accounts", "accounts_history", "_quarantine", "_staging", "_ops"}


# What must be refused: job, service, and the request.
FOREIGN = {
    "another entity's raw files": ("silver-accounts", "s3", "get_object", "bronze", "loans/x.csv"),
    "Silver of one that is no parent": ("silver-accounts", "s3", "get_object", "silver", "loans/x.parquet"),
    "a parent's Silver, to write": ("silver-accounts", "s3", "put_object", "silver", "customers/x.parquet"),
    "raw files, to delete": ("silver-accounts", "s3", "delete_object", "bronze", "accounts/x.csv"),
    "quarantine of another": ("silver-accounts", "s3", "get_object", "silver", "_quarantine/loans/x.parquet"),
    "Gold, by a Silver job": ("silver-accounts", "s3", "put_object", "gold", "customer_360/x.parquet"),
    "raw files, by Gold": ("gold", "s3", "get_object", "bronze", "accounts/x.csv"),
    "Silver, to write, by Gold": ("gold", "s3", "put_object", "silver", "accounts/x.parquet"),
    "raw files, by maintenance": ("maintenance", "s3", "get_object", "bronze", "accounts/x.csv"),
    "personal data, by scoring": ("scoring", "s3", "get_object", "gold", "customer_360/x.parquet"),
    "Silver, by scoring": ("scoring", "s3", "get_object", "silver", "loans/x.parquet"),
    "features, to write, by scoring": (
        "scoring",
        "s3",
        "put_object",
        "gold",
        "loan_default_features/x.parquet",
    ),
    "models, to replace, by scoring": (
        "scoring",
        "s3",
        "put_object",
        "scripts",
        "models/one/output/model.tar.gz",
    ),
    "another's lock": ("scoring", "s3", "delete_object", "silver", "_ops/_locks/loans.json"),
    "the jobs' code, to replace": ("maintenance", "s3", "put_object", "scripts", "wheels/x.whl"),
}


@pytest.mark.parametrize("asked", FOREIGN.values(), ids=FOREIGN)
def test_a_job_is_refused_what_is_not_its_own(guarded: Guarded, asked: tuple[str, ...]) -> None:
    job, service, operation, layer, key = asked
    request = getattr(guarded.client(service, job), operation)
    with pytest.raises(ClientError, match="AccessDenied") as caught:
        request(Bucket=f"finlake-local-{layer}", Key=key)
    assert "not authorized" in str(caught.value)


@pytest.mark.parametrize("prefix", ["loans/", "", "_quarantine/loans/"])
def test_a_job_cannot_even_list_what_is_not_its_own(guarded: Guarded, prefix: str) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        guarded.client("s3", "silver-accounts").list_objects_v2(Bucket="finlake-local-silver", Prefix=prefix)


def test_a_job_cannot_register_tables_of_others_nor_give_itself_rights(guarded: Guarded) -> None:
    glue, iam = (guarded.client(service, "silver-accounts") for service in ("glue", "iam"))
    with pytest.raises(ClientError, match="AccessDenied"):
        glue.create_table(DatabaseName="finlake_local_gold", TableInput={"Name": "customer_360"})
    with pytest.raises(ClientError, match="AccessDenied"):
        glue.delete_table(DatabaseName="finlake_local_silver", Name="accounts")
    with pytest.raises(ClientError, match="AccessDenied"):
        iam.put_role_policy(RoleName="finlake-local-silver-accounts", PolicyName="more", PolicyDocument="{}")
