"""Terraform against the emulator: what is checked without one, then a whole life of the local stage."""

from __future__ import annotations

import fcntl
import fnmatch
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import boto3
import pytest
from lakehouse import QUICK_JVM
from stage import left_behind

from emulator.native import NativeStack
from pipeline import infra
from pipeline import terraform as tf
from pipeline.errors import FinlakeError

pytestmark = [pytest.mark.emulator, pytest.mark.slow]

PROJECT = Path(__file__).parents[2]
# Everything that a clone needs for Terraform and the wheel that it uploads.
NEEDED = ("terraform", "contracts", "datagen", "emulator", "ml", "pipeline")
NEEDED_FILES = ("pyproject.toml", "constraints.txt", "README.md", "LICENSE")
ENTITIES = ("accounts", "customers", "loans", "payments", "transactions")
LAYERS = ("bronze", "silver", "gold", "scripts")


@pytest.fixture(scope="module")
def provider() -> tf.ProviderSource:
    """Where the AWS provider comes from, or the reason why these tests cannot run."""
    if shutil.which("terraform") is None:
        pytest.skip("Terraform is not installed")
    version = tf.locked_version(PROJECT / "terraform" / tf.LOCK_FILE)
    source = tf.find_provider(tf.without_missing_config(_environ()), version)
    if source.folder is None and "registry" in source.description and not registry_answers():
        pytest.skip(
            "the AWS provider is in no mirror on this machine, and Terraform's registry is out of reach"
        )
    return source


def registry_answers() -> bool:
    try:
        urllib.request.urlopen("https://registry.terraform.io/.well-known/terraform.json", timeout=5).close()
    except OSError:
        return False
    return True


def _environ() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "FINLAKE_"))}


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project: these tests never touch the one they were started in."""
    clone = tmp_path_factory.mktemp("clone")
    ignore = shutil.ignore_patterns("__pycache__", ".terraform", "*.tfstate*", tf.OVERRIDE_FILE, "backend.tf")
    for name in NEEDED:
        shutil.copytree(PROJECT / name, clone / name, ignore=ignore)
    for name in NEEDED_FILES:
        shutil.copy(PROJECT / name, clone / name)
    return clone


def terraform(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["terraform", *arguments],
        cwd=folder,
        env=tf.without_missing_config(_environ()),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def initialised(clone: Path, provider: tf.ProviderSource, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second copy of the root module, initialised by plain Terraform with the lock file as it is."""
    folder = tmp_path_factory.mktemp("plain") / "terraform"
    shutil.copytree(clone / "terraform", folder)
    shutil.copy(clone / "constraints.txt", folder.parent)
    (folder.parent / "pipeline").mkdir()  # the job script, for the example of the module glue
    shutil.copy(clone / "pipeline" / "glue_job.py", folder.parent / "pipeline")
    shutil.copytree(clone / "ml", folder.parent / "ml")  # the training script, for the module sagemaker
    mirror = [f"-plugin-dir={provider.folder}"] if provider.folder else []
    done = terraform(folder, "init", "-input=false", "-no-color", *mirror)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


# --- without an emulator -------------------------------------------------------------------------


def test_terraform_files_are_formatted(clone: Path, provider: tf.ProviderSource) -> None:
    done = terraform(clone / "terraform", "fmt", "-check", "-recursive", "-diff")
    assert done.returncode == 0, done.stdout


def test_the_lock_file_fits_this_platform(initialised: Path) -> None:
    assert (initialised / tf.LOCK_FILE).read_text() == (PROJECT / "terraform" / tf.LOCK_FILE).read_text()


def test_the_configuration_is_valid(initialised: Path) -> None:
    done = terraform(initialised, "validate", "-json")
    said = json.loads(done.stdout)
    assert said["valid"], said["diagnostics"]
    assert said["warning_count"] == 0, said["diagnostics"]


@dataclass
class TerraformTests:
    """What ``terraform test`` said.

    Attributes:
        code: Its exit code.
        passed: How many runs passed.
        errors: What failed, as Terraform says it.
        policies: Each IAM policy that a run rendered, as JSON, and the first run that did.
    """

    code: int = 0
    passed: int = 0
    errors: list[str] = field(default_factory=list)
    policies: dict[str, str] = field(default_factory=dict)


# A policy within a line of JSON. Terraform sorts keys, and a policy of ours has no Id.
POLICY = re.compile(rb'"(\{\\"Statement\\"(?:[^"\\]|\\.)*)"')
TEST_RUN = re.compile(rb'"@testfile":"([^"]+)","@testrun":"([^"]+)"')
LONG = 1_000_000  # bytes: such a line ends with the provider's whole schema, and is not worth decoding


def run_tests(folder: Path) -> TerraformTests:
    """Run the Terraform tests of a root module, and keep the policies that they render."""
    done = TerraformTests()
    command = ["terraform", "test", "-json", "-verbose"]
    environ = tf.without_missing_config(_environ())
    with subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE) as process:
        for line in process.stdout or ():
            if len(line) < LONG:
                event = json.loads(line)
                if event["type"] == "test_summary":
                    done.passed = event["test_summary"]["passed"]
                elif event["type"] == "diagnostic" and event["diagnostic"]["severity"] == "error":
                    done.errors.append(f"{event.get('@testrun')}: {event['diagnostic']}")
            if POLICY.search(line) and (run := TEST_RUN.search(line)):
                for policy in POLICY.findall(line):
                    text = json.loads(b'"' + policy + b'"')
                    done.policies.setdefault(text, f"{run[1].decode()}: {run[2].decode()}")
    done.code = process.returncode
    return done


@pytest.fixture(scope="module")
def tested(initialised: Path, provider: tf.ProviderSource) -> dict[str, TerraformTests]:
    """The tests of all three root modules, run once."""
    mirror = [f"-plugin-dir={provider.folder}"] if provider.folder else []
    for other in ("bootstrap", "cicd"):
        done = terraform(initialised / other, "init", "-input=false", "-no-color", *mirror)
        assert done.returncode == 0, done.stdout + done.stderr
    return {name: run_tests(initialised / name) for name in (".", "bootstrap", "cicd")}


@pytest.mark.parametrize("root", [".", "bootstrap", "cicd"])
def test_the_modules_keep_their_promises(tested: dict[str, TerraformTests], root: str) -> None:
    assert tested[root].errors == []
    assert tested[root].code == 0
    assert tested[root].passed > 0


# What parliament finds in policies and is meant so: kind, what it names, why.
MEANT = (
    ("MALFORMED", "neither Resource nor NotResource", "a trust policy names no resource"),
    (
        "UNKNOWN_FEDERATION_SOURCE",
        "oidc-provider/token.actions.githubusercontent.com",
        "GitHub's, which parliament does not know",
    ),
    (
        "MISMATCHED_TYPE",
        "ArnLike requires a value of type Arn",
        "CloudWatch Logs puts an ARN into that context",
    ),
    ("MISMATCHED_TYPE_BUT_USABLE", "StringEquals requires", "the boundary is one ARN, without a pattern"),
    (
        "RESOURCE_MISMATCH",
        "capacity-reservation|datacatalog",
        "tags of the workgroup; of the others there is none",
    ),
    (
        "RESOURCE_MISMATCH",
        "s3:::",
        "parliament takes a colon for the end of a part; Terraform's state key has one (env:/)",
    ),
    (
        "RESOURCE_MISMATCH",
        "codestar-connections:UseConnection",
        "connections have two names, and CodePipeline may ask for either",
    ),
    ("RESOURCE_STAR", "cloudwatch:DescribeAlarms", "a listing; AWS asks for all"),
    (
        "RESOURCE_STAR",
        "glue:|logs:",
        "of a VPC endpoint: the roles say which, and only this account gets through",
    ),
    ("RESOURCE_STAR", "kms:", "in a key's policy, that is this key"),
    (
        "RESOURCE_POLICY_PRIVILEGE_ESCALATION",
        "finlake-prod|lake-prod",
        "who delivers buckets delivers their policies: hence the approval (docs/deploy.md)",
    ),
    (
        "PERMISSIONS_MANAGEMENT_ACTIONS",
        "s3:putbucketpolicy|iam:putrolepolicy",
        "the same, and roles within the boundary",
    ),
    ("PERMISSIONS_MANAGEMENT_ACTIONS", "iam:passrole", "one role, to one service"),
    ("PERMISSIONS_MANAGEMENT_ACTIONS", "kms:putkeypolicy", "else nobody could ever manage the key again"),
    ("CREDENTIALS_EXPOSURE", "ecr:getauthorizationtoken", "SageMaker pulls its image"),
    ("CREDENTIALS_EXPOSURE", "sts:assumerole", "Unity Catalog asks for a role that may take on itself"),
)


@pytest.mark.filterwarnings("ignore:pkg_resources")
def test_policies_hold_nothing_that_parliament_would_change(tested: dict[str, TerraformTests]) -> None:
    import parliament

    policies = {text: run for done in tested.values() for text, run in done.policies.items()}
    assert len(policies) > 100
    found: dict[str, str] = {}
    for text, run in policies.items():
        for finding in parliament.analyze_policy_string(text, include_community_auditors=True).findings:
            details = finding.detail if isinstance(finding.detail, list) else [finding.detail]
            for detail in details or [""]:
                said = f"{finding.issue}: {detail or finding.location.get('actions')}"
                found[said] = f"{run}: {text}"
    unused = [
        (kind, named)
        for kind, named, _ in MEANT
        if not any(said.startswith(f"{kind}:") and re.search(named, said) for said in found)
    ]
    meant = {
        said
        for said in found
        for kind, named, _ in MEANT
        if said.startswith(f"{kind}:") and re.search(named, said)
    }
    assert {said: where for said, where in found.items() if said not in meant} == {}
    assert unused == [], "parliament finds these no more"


def test_the_docs_have_a_reason_for_each_action_on_all_resources(tested: dict[str, TerraformTests]) -> None:
    def listed(value: str | list[str]) -> list[str]:
        return [value] if isinstance(value, str) else value

    allowed = {
        action
        for done in tested.values()
        for text in done.policies
        for statement in json.loads(text)["Statement"]
        if statement["Effect"] == "Allow" and "*" in listed(statement.get("Resource", []))
        for action in listed(statement["Action"])
    }
    page = (PROJECT / "docs/deploy.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \| `\*` \| [^|]+ \|$", page, re.MULTILINE)
    told = {
        pattern: fnmatch.filter(allowed, pattern) for row in rows for pattern in re.findall("`([^`]+)`", row)
    }
    assert len(told) > 5
    assert sorted(allowed - {action for actions in told.values() for action in actions}) == []
    assert [pattern for pattern, actions in told.items() if not actions] == [], "no policy has these"


@pytest.mark.parametrize(
    ("file", "promise", "broken", "test"),
    [
        ("modules/s3/main.tf", "restrict_public_buckets = true", "restrict_public_buckets = false", "s3"),
        ("modules/iam/main.tf", '"kms:Decrypt"', '"kms:*"', "iam"),
        ("modules/kms/main.tf", '"kms:PutKeyPolicy"', '"kms:Put*"', "kms"),
        ("modules/athena/main.tf", "= true # enforced", "= false", "athena"),
        ("modules/monitoring/main.tf", '"breaching"', '"notBreaching"', "monitoring"),
        ("modules/glue/main.tf", '"SUCCEEDED"', '"FAILED"', "glue"),
        (
            "modules/lake_formation/main.tf",
            "hybrid_access_enabled = true",
            "hybrid_access_enabled = false",
            "lake_formation",
        ),
        ("modules/quicksight/main.tf", "if column.pii == null", "", "quicksight"),
        ("modules/sagemaker/main.tf", "NetworkIsolation = true", "NetworkIsolation = false", "sagemaker"),
        ("modules/network/main.tf", '"s3:GetBucketLocation"', '"s3:Get*"', "network"),
        ("modules/cicd/policy.tf", '"iam:CreateRole"', '"iam:Create*"', "cicd"),
    ],
)
def test_a_broken_promise_is_noticed(
    initialised: Path, file: str, promise: str, broken: str, test: str
) -> None:
    path = initialised / file
    text = path.read_text()
    assert promise in text
    path.write_text(text.replace(promise, broken))
    try:
        done = terraform(initialised, "test", "-no-color", f"-filter=tests/{test}.tftest.hcl")
    finally:
        path.write_text(text)
    assert done.returncode == 1
    assert "Test assertion failed" in done.stdout + done.stderr


# --- what AWS refuses ----------------------------------------------------------------------------

ERROR_OF_AWS = (
    "<ErrorResponse><Error><Type>Sender</Type><Code>{}</Code><Message>{}</Message></Error></ErrorResponse>"
)
ERROR_OF_S3 = "<Error><Code>{}</Code><Message>{}</Message></Error>"
CALLER = """<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::210987654321:user/me</Arn>
<UserId>AIDA</UserId><Account>210987654321</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"""
TAKEN = "The requested bucket name is not available."


class RefusingAws(BaseHTTPRequestHandler):
    """As much of AWS as a refusal needs: who asks, and a bucket whose name somebody else has."""

    expired = False

    def do_POST(self) -> None:
        if self.expired:
            said = ("ExpiredToken", "The security token included in the request is expired")
            self.answer(403, ERROR_OF_AWS.format(*said))
        else:
            self.answer(200, CALLER)

    def do_HEAD(self) -> None:
        self.answer(404, "")

    def do_PUT(self) -> None:
        self.answer(409, ERROR_OF_S3.format("BucketAlreadyExists", TAKEN))

    def answer(self, status: int, text: str) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Nothing: the test says what came of it."""


@pytest.mark.parametrize(
    "case",
    [
        (True, (), "ExpiredToken", "log in again"),
        (
            False,
            ("account_id=123456789012",),
            "account ID not allowed: 210987654321",
            "set AWS_PROFILE to one",
        ),
        (False, (), "BucketAlreadyExists", "choose another bucket_suffix"),
        (False, ("bucket_suffix=My_Bank",), "lower case letters, digits", "in its file in terraform/envs"),
    ],
    ids=["expired credentials", "another account", "a bucket's name is taken", "a wrong value"],
)
def test_what_aws_refuses_comes_with_what_to_do_about_it(
    initialised: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    case: tuple[bool, tuple[str, ...], str, str],
) -> None:
    expired, variables, said, hint = case
    monkeypatch.setattr(RefusingAws, "expired", expired)
    override = initialised / "path_style_override.tf"
    override.write_text('provider "aws" {\n  s3_use_path_style = true\n}\n')
    server = ThreadingHTTPServer(("127.0.0.1", 0), RefusingAws)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
    endpoint = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}
    files = [f"wheel_path={initialised}/tests/fixtures/finlake-0.0.0-py3-none-any.whl"]
    run = tf.Terraform(
        folder=initialised,
        command="terraform",
        environ=tf.without_missing_config(_environ()) | keys | endpoint,
        variables=["-var-file=envs/dev.tfvars", *(f"-var={value}" for value in (*files, *variables))],
        log=tmp_path / "terraform.log",
        source=initialised,
        report=lambda _: None,
    )
    options = ["-auto-approve", "-input=false", "-json", f"-state={tmp_path}/tfstate"]
    try:
        with pytest.raises(FinlakeError, match=said) as caught:
            run.run("apply", ["apply", *options, "-target=module.s3.aws_s3_bucket.this", *run.variables])
    finally:
        override.unlink()
        server.shutdown()
        server.server_close()
    assert hint in str(caught.value.hint)


# --- the life of a local stage -------------------------------------------------------------------


@pytest.fixture(scope="module")
def stack(clone: Path) -> Iterator[NativeStack]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    stack = NativeStack(clone / ".finlake", port)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUICK_JVM.items():
            patch.setenv(name, value)
        stack.up()
    yield stack
    stack.down()


@pytest.fixture(scope="module")
def environ(stack: NativeStack) -> dict[str, str]:
    return _environ() | stack.environment()


@pytest.fixture(scope="module")
def applied(clone: Path, environ: dict[str, str], provider: tf.ProviderSource) -> infra.Outcome:
    """The local stage, made once for the tests that look at it."""
    (clone / "terraform" / "backend.tf").write_text(
        'terraform {\n  backend "s3" {}\n}\n'
    )  # the user's, for AWS
    before = tree(clone / "terraform")
    outcome = infra.apply_local(clone, environ)
    assert tree(clone / "terraform") == before, "the local stage left something in terraform/"
    return outcome


def tree(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*")}


def client(environ: dict[str, str], service: str):
    return boto3.client(
        service,
        endpoint_url=environ["AWS_ENDPOINT_URL"],
        region_name=environ["AWS_REGION"],
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


def planned(run: tf.Terraform, stage: str) -> dict[str, set[tuple[str, str]]]:
    """What Terraform would make of a stage from nothing: attributes and values by resource, names alike."""
    state, plan = f"-state={stage}-compared.tfstate", f"{stage}-compared.tfplan"
    variables = [f"-var-file=envs/{stage}.tfvars", *run.variables[1:]]
    run.run("plan", ["plan", "-input=false", "-json", state, f"-out={plan}", *variables])
    shown = json.loads(terraform(run.folder, "show", "-json", plan).stdout)
    resources = {}
    for change in shown["resource_changes"]:
        if change["mode"] == "managed":
            address = re.sub(r"\[\d+\]", "", change["address"])
            address = re.sub(r'\["([^"]+)"\]', r".\1", address)
            values = {
                (path, re.sub(rf"finlake([-_]){stage}|^\"{stage}\"$", r"finlake\1STAGE", value))
                for path, value in flat(change["change"]["after"])
            }
            resources[address] = values
    return resources


def flat(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """All attributes within a value, by their path; order within a list does not count."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from flat(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and all(isinstance(item, dict | list) for item in value):
        for item in value:
            yield from flat(item, path)
    else:
        yield path, json.dumps(value)


@pytest.fixture(scope="module")
def plans(
    clone: Path, environ: dict[str, str], provider: tf.ProviderSource
) -> dict[str, dict[str, set[tuple[str, str]]]]:
    """What Terraform would make of the laptop's stage and of production."""
    with infra.open_local(clone, environ) as run:
        return {stage: planned(run, stage) for stage in ("local", "prod")}


def test_everything_in_production_that_can_be_tagged_is_tagged(
    plans: dict[str, dict[str, set[tuple[str, str]]]],
) -> None:
    tags = {"Environment": "finlakeSTAGE", "ManagedBy": '"terraform"', "Project": '"finlake"'}
    wanted = {(f"tags_all.{name}", value) for name, value in tags.items()}
    found = {
        address: {item for item in values if item[0].startswith("tags_all")}
        for address, values in plans["prod"].items()
    }
    taggable = {address: values for address, values in found.items() if values}
    assert len(taggable) > 40
    assert {address for address, values in taggable.items() if not wanted <= values} == set()


def test_laptop_and_production_differ_only_where_the_docs_say_so(
    plans: dict[str, dict[str, set[tuple[str, str]]]],
) -> None:
    local, production = plans["local"], plans["prod"]
    differences = {
        f"{address}.{path}"
        for address in local.keys() | production.keys()
        for path, _ in local.get(address, set()) ^ production.get(address, set())
    }
    rows = re.findall(r"^\| [^|]+ \| (`[^|]+`) \| ", (PROJECT / "docs/stages.md").read_text(), re.MULTILINE)
    patterns = [pattern for row in rows for pattern in re.findall(r"`([^`]+)`", row)]
    assert len(patterns) > 10
    told = {pattern: fnmatch.filter(differences, pattern) for pattern in patterns}
    assert sorted(differences - {found for matches in told.values() for found in matches}) == []
    assert [pattern for pattern, matches in told.items() if not matches] == [], "these do not differ"


def test_an_apply_makes_everything_and_says_where_it_is(applied: infra.Outcome) -> None:
    assert {action for action, _ in applied.changes} == {"create"}
    assert set(applied.seconds) == {"init", "apply"}
    assert applied.outputs["settings"]["FINLAKE_SILVER_URI"] == "s3://finlake-local-silver"
    silver = {f"silver-{entity}" for entity in ENTITIES}
    assert set(applied.outputs["jobs"]) == {"gold", "maintenance", *silver}


def test_buckets_are_versioned_encrypted_closed_and_tls_only(
    applied: infra.Outcome, environ: dict[str, str]
) -> None:
    s3 = client(environ, "s3")
    for layer in LAYERS:
        bucket = applied.outputs["buckets"][layer]
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
        blocks = s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
        assert list(blocks.values()) == [True] * 4
        (statement,) = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
        assert statement["Effect"] == "Deny"
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


def test_the_laptop_can_still_use_its_buckets_without_tls(
    applied: infra.Outcome, environ: dict[str, str]
) -> None:
    s3 = client(environ, "s3")
    bucket = applied.outputs["buckets"]["bronze"]
    for body in (b"one", b"two"):
        s3.put_object(Bucket=bucket, Key="accounts/ingest_date=2026-01-01/a.csv", Body=body)
    versions = s3.list_object_versions(Bucket=bucket)["Versions"]
    assert len(versions) == 2
    assert s3.get_object(Bucket=bucket, Key=versions[0]["Key"])["Body"].read() == b"two"


def test_public_buckets_can_be_read_but_not_written_by_anyone(
    applied: infra.Outcome, environ: dict[str, str]
) -> None:
    s3 = client(environ, "s3")
    for layer in ("public_silver", "public_gold"):
        policy = json.loads(s3.get_bucket_policy(Bucket=applied.outputs["buckets"][layer])["Policy"])
        allowed = [s["Action"] for s in policy["Statement"] if s["Effect"] == "Allow"]
        actions = {action for actions in allowed for action in actions}
        assert actions == {"s3:GetBucketLocation", "s3:GetObject", "s3:ListBucket"}


def test_jobs_find_their_script_their_wheel_and_their_role(
    applied: infra.Outcome, environ: dict[str, str], clone: Path
) -> None:
    glue, s3, iam = (client(environ, service) for service in ("glue", "s3", "iam"))
    for key, name in applied.outputs["jobs"].items():
        job = glue.get_job(JobName=name)["Job"]
        assert job["GlueVersion"] == "5.1"
        assert job["Role"] == applied.outputs["role_arns"][key]
        assert iam.get_role(RoleName=job["Role"].split("/")[-1])
        wheel = job["DefaultArguments"]["--additional-python-modules"].split(",")[0]
        stored = {
            uri: s3.get_object(Bucket=uri.split("/")[2], Key=uri.split("/", 3)[3])["Body"].read()
            for uri in (job["Command"]["ScriptLocation"], wheel)
        }
        assert stored[job["Command"]["ScriptLocation"]] == (clone / "pipeline/glue_job.py").read_bytes()
        assert stored[wheel] == (clone / "dist" / wheel.split("/")[-1]).read_bytes()
        assert job["DefaultArguments"]["--FINLAKE_BRONZE_URI"] == "s3://finlake-local-bronze"


def test_a_second_plan_shows_no_change_even_after_a_killed_run(
    applied: infra.Outcome, clone: Path, environ: dict[str, str]
) -> None:
    left_over = clone / ".finlake/terraform/local" / tf.OVERRIDE_FILE
    left_over.write_text('provider "aws" {}\n')
    outcome = infra.plan_local(clone, environ)
    assert outcome.changes == ()
    assert "init" not in outcome.seconds
    assert not left_over.exists()


def test_a_second_apply_does_not_even_start_terraform(
    applied: infra.Outcome, clone: Path, environ: dict[str, str]
) -> None:
    outcome = infra.apply_local(clone, environ)
    assert outcome.skipped
    assert not outcome.changed
    assert outcome.outputs == applied.outputs


def test_a_plan_notices_what_somebody_changed_by_hand(
    applied: infra.Outcome, clone: Path, environ: dict[str, str]
) -> None:
    s3 = client(environ, "s3")
    bucket = applied.outputs["buckets"]["gold"]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    outcome = infra.plan_local(clone, environ)
    assert outcome.changes == (("update", 'module.s3.aws_s3_bucket_versioning.this["gold"]'),)
    assert not (clone / ".finlake/terraform/local/applied.json").exists(), "the next apply would do nothing"


def test_the_next_apply_brings_back_what_was_deleted_and_uploads_new_code(
    applied: infra.Outcome, clone: Path, environ: dict[str, str]
) -> None:
    glue = client(environ, "glue")
    glue.delete_database(Name="finlake_local_silver")
    with (clone / "contracts" / "__init__.py").open("a") as module:
        module.write("# changed\n")
    outcome = infra.apply_local(clone, environ)
    assert ("create", 'module.glue.aws_glue_catalog_database.this["silver"]') in outcome.changes
    assert ("replace", "module.glue.aws_s3_object.wheel") in outcome.changes
    assert glue.get_database(Name="finlake_local_silver")


def test_deployed_code_is_what_the_next_plan_wants_the_jobs_to_have(
    applied: infra.Outcome, clone: Path, environ: dict[str, str]
) -> None:
    with (clone / "contracts" / "__init__.py").open("a") as module:
        module.write("# deployed\n")
    command = [sys.executable, "-m", "pipeline.cli", "deploy", "--env", "local", "--json"]
    run = subprocess.run(command, cwd=clone, env=environ, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    done = json.loads(run.stdout)
    assert (done["state"], done["error"]) == ("SUCCEEDED", "")
    assert sorted(done["jobs"]) == sorted(applied.outputs["jobs"].values())
    outcome = infra.plan_local(clone, environ)
    assert outcome.changes == (("replace", "module.glue.aws_s3_object.wheel"),)
    assert infra.apply_local(clone, environ).changes == outcome.changes


def test_a_wheel_that_does_not_work_fails_its_trial_and_all_jobs_go_back(
    applied: infra.Outcome, clone: Path, environ: dict[str, str]
) -> None:
    glue = client(environ, "glue")

    def jobs() -> dict[str, object]:
        found = {name: glue.get_job(JobName=name)["Job"] for name in applied.outputs["jobs"].values()}
        return {name: (job["Command"], job["DefaultArguments"]) for name, job in found.items()}

    before, module = jobs(), clone / "pipeline" / "run.py"  # which the command itself does not import
    text = module.read_text()
    module.write_text(f'{text}\nraise RuntimeError("this delivery is broken")\n')
    command = [sys.executable, "-m", "pipeline.cli", "deploy", "--env", "local", "--json"]
    try:
        run = subprocess.run(command, cwd=clone, env=environ, capture_output=True, text=True, check=False)
    finally:
        module.write_text(text)
    assert run.returncode == 1, run.stderr
    done = json.loads(run.stdout)
    assert (done["state"], done["rolled_back"]) == ("FAILED", True)
    logs, group = client(environ, "logs"), f"/aws-glue/jobs/{done['trial']}/error"
    assert f"its log is {done['run_id']} in the log groups " in done["error"]
    assert done["error"].endswith(group)
    found = logs.get_log_events(logGroupName=group, logStreamName=done["run_id"])["events"]
    assert "this delivery is broken" in "\n".join(event["message"] for event in found)
    assert len(done["jobs"]) == len(before)
    assert jobs() == before


def test_two_runs_at_a_time_are_refused(applied: infra.Outcome, clone: Path, environ: dict[str, str]) -> None:
    with (clone / ".finlake/terraform/local/lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FinlakeError, match="already at work"):
            infra.plan_local(clone, environ)


def test_a_stack_that_does_not_answer_is_noticed_at_once(clone: Path, environ: dict[str, str]) -> None:
    with pytest.raises(FinlakeError, match="does not answer at http://localhost:1"):
        infra.apply_local(clone, environ | {"AWS_ENDPOINT_URL": "http://localhost:1"})


def test_a_locked_state_is_told_from_other_failures(
    applied: infra.Outcome, clone: Path, environ: dict[str, str]
) -> None:
    state = clone / ".finlake/terraform/local/terraform.tfstate"
    with state.open("r+") as held:
        fcntl.lockf(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with pytest.raises(FinlakeError, match="acquiring the state lock") as caught:
            infra.plan_local(clone, environ)
    assert "another Terraform is at work on this stage" in str(caught.value.hint)


def test_a_lock_of_a_shared_state_is_named_with_the_way_to_remove_it(
    environ: dict[str, str], tmp_path: Path
) -> None:
    lock = {
        "ID": "0e3f2d5a-1111-2222-3333-444455556666",
        "Operation": "OperationTypeApply",
        "Who": "ann@laptop",
    }
    s3 = client(environ, "s3")
    s3.create_bucket(
        Bucket="shared-state", CreateBucketConfiguration={"LocationConstraint": environ["AWS_REGION"]}
    )
    s3.put_object(Bucket="shared-state", Key="lake.tfstate.tflock", Body=json.dumps(lock).encode())
    (tmp_path / "main.tf").write_text('terraform {\n  backend "s3" {}\n}\n\noutput "one" {\n  value = 1\n}\n')
    options = {
        "bucket": "shared-state",
        "key": "lake.tfstate",
        "region": environ["AWS_REGION"],
        "use_lockfile": "true",
        "use_path_style": "true",
        "skip_credentials_validation": "true",
        "skip_requesting_account_id": "true",
    }
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    run = tf.Terraform(
        folder=tmp_path,
        command="terraform",
        environ=tf.without_missing_config(environ) | keys,
        variables=[],
        log=tmp_path / "terraform.log",
        source=tmp_path,
        report=lambda _: None,
    )
    run.run("init", ["init", "-input=false", *(f"-backend-config={name}={v}" for name, v in options.items())])
    with pytest.raises(FinlakeError, match="acquiring the state lock") as caught:
        run.run("plan", ["plan", "-input=false", "-json"])
    assert f"terraform -chdir=terraform force-unlock {lock['ID']}" in str(caught.value.hint)
    s3.delete_object(Bucket="shared-state", Key="lake.tfstate.tflock")
    assert run.run("plan", ["plan", "-input=false", "-json"]).outputs == {"one": None}
    for found in s3.list_objects_v2(Bucket="shared-state").get("Contents", []):
        s3.delete_object(Bucket="shared-state", Key=found["Key"])
    s3.delete_bucket(Bucket="shared-state")


def test_a_stack_that_lost_everything_is_filled_again_even_after_half_an_apply(
    clone: Path, environ: dict[str, str], stack: NativeStack, applied: infra.Outcome
) -> None:
    stack.clean()
    stack.up()
    environ.update(stack.environment())  # what is behind the gateway may have got another port
    (clone / ".finlake/terraform/local/terraform.tfstate").unlink()
    iam = client(environ, "iam")
    iam.create_role(RoleName="finlake-local-gold", AssumeRolePolicyDocument="{}")
    with pytest.raises(FinlakeError, match="EntityAlreadyExists") as caught:
        infra.apply_local(clone, environ)
    assert "then run the same command again" in str(caught.value.hint)
    iam.delete_role(RoleName="finlake-local-gold")
    outcome = infra.apply_local(clone, environ)
    assert {action for action, _ in outcome.changes} == {"create"}
    assert len(outcome.changes) < len(applied.changes), "it goes on where it ended"
    assert infra.plan_local(clone, environ).changes == ()
    client(environ, "s3").put_object(Bucket="finlake-local-bronze", Key="accounts/a.csv", Body=b"data")


def commands_of(page: str) -> list[list[str]]:
    """The AWS CLI's commands that a page shows."""
    lines = (PROJECT / "docs" / page).read_text(encoding="utf-8").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith("aws ")]


def aws(environ: dict[str, str], service: str, operation: str, *options: str) -> None:
    """One command of the AWS CLI; where it is not installed, the same call by its library."""
    if shutil.which("aws"):
        command = ["aws", service, operation, *options]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return
    names = {
        name.removeprefix("--").replace("-", " ").title().replace(" ", ""): value
        for name, value in zip(options[::2], options[1::2], strict=True)
    }
    getattr(client(environ, service), operation.replace("-", "_"))(**names)


def named_queries() -> list[tuple[str, str]]:
    """Layer and statement of each query that the module athena makes."""
    text = (PROJECT / "terraform/modules/athena/main.tf").read_text(encoding="utf-8")
    return re.findall(r'^ +database += "(\w+)"\n.+\n +query += "(.+)"$', text, re.MULTILINE)


def ask(environ: dict[str, str], sql: str, layer: str = "silver") -> list[list[str]]:
    """Athena's answer; ``{gold}`` is the database of Gold, and tables without one are of ``layer``."""
    athena = client(environ, "athena")
    databases = {layer: f"finlake_local_{layer}" for layer in ("bronze", "silver", "gold", "ops")}
    id_ = athena.start_query_execution(
        QueryString=sql.format(**databases),
        QueryExecutionContext={"Database": databases[layer]},
        ResultConfiguration={"OutputLocation": "s3://finlake-local-athena/results/"},
    )["QueryExecutionId"]
    while True:
        status = athena.get_query_execution(QueryExecutionId=id_)["QueryExecution"]["Status"]
        if status["State"] not in {"QUEUED", "RUNNING"}:
            break
        time.sleep(0.1)
    assert status["State"] == "SUCCEEDED", status.get("StateChangeReason")
    rows = athena.get_query_results(QueryExecutionId=id_)["ResultSet"]["Rows"][1:]
    return [[cell["VarCharValue"] for cell in row["Data"]] for row in rows]


@pytest.mark.spark
@pytest.mark.timeout(1200)
def test_the_commands_for_glue_run_the_whole_workflow_and_a_crawler(
    applied: infra.Outcome, clone: Path, environ: dict[str, str]
) -> None:
    name, glue = "finlake-local", client(environ, "glue")
    bronze = f"s3://{applied.outputs['buckets']['bronze']}"
    generate = ["-m", "pipeline.cli", "generate", "--scale", "20", "--out", bronze]
    subprocess.run([sys.executable, *generate], cwd=clone, env=environ, check=True, capture_output=True)
    assert glue.get_workflow_runs(Name=name)["Runs"] == [], "an apply must not start the workflow"
    for command in commands_of("glue.md"):
        aws(environ, *command)
    while (run := glue.get_workflow_runs(Name=name)["Runs"][0])["Status"] == "RUNNING":
        time.sleep(1)
    jobs = applied.outputs["jobs"].values()
    ends = {job: glue.get_job_runs(JobName=job)["JobRuns"][0] for job in jobs}
    assert {job: (end["JobRunState"], end.get("ErrorMessage")) for job, end in ends.items()} == dict.fromkeys(
        jobs, ("SUCCEEDED", None)
    )
    assert run["Status"] == "COMPLETED"
    assert run["Statistics"]["SucceededActions"] == len(ENTITIES) + 2
    for database, tables in (("silver", set(ENTITIES)), ("gold", {"customer_360"})):
        found = glue.get_tables(DatabaseName=f"finlake_local_{database}")["TableList"]
        assert tables <= {table["Name"] for table in found}
    # Athena answers on what the jobs have written: the sums of Gold are those of Silver.
    (customers, accounts), *_ = ask(environ, "SELECT count(*), sum(account_count) FROM {gold}.customer_360")
    assert int(customers) > 0
    assert ask(environ, "SELECT count(*) FROM {silver}.customers") == [[customers]]
    assert ask(environ, "SELECT count(*) FROM {silver}.accounts") == [[accounts]]
    answers = {sql: ask(environ, sql, layer) for layer, sql in named_queries()}
    assert len(answers) == 3
    assert all(rows for sql, rows in answers.items() if "quarantine_reasons" not in sql), (
        "nothing is dirty here"
    )
    while (crawler := glue.get_crawler(Name=f"{name}-bronze")["Crawler"])["State"] != "READY":
        time.sleep(0.2)
    assert crawler["LastCrawl"]["Status"] == "SUCCEEDED", crawler["LastCrawl"]
    where = {"DatabaseName": "finlake_local_bronze", "TableName": "loans"}
    partitions = glue.get_partitions(**where, Expression="ingest_date > '2000-01-01'")["Partitions"]
    assert partitions
    # And on raw Bronze, which the crawler has registered: its rows are those that the job has read.
    found = ask(environ, "SELECT count(*), count(DISTINCT ingest_date) FROM {bronze}.loans")
    read = ask(environ, "SELECT sum(read) FROM {ops}.row_counts WHERE entity = 'loans' AND origin = 'bronze'")
    assert found == [[read[0][0], str(len(partitions))]]
    assert infra.plan_local(clone, environ).changes == ()


def test_destroy_leaves_nothing_behind(applied: infra.Outcome, clone: Path, environ: dict[str, str]) -> None:
    assert len(left_behind(lambda service: client(environ, service))) == 10
    infra.destroy_local(clone, environ)
    assert left_behind(lambda service: client(environ, service)) == {}
