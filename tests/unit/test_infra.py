"""Terraform's side of the project that needs no Terraform: where it is run, with what, and when not."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError, EndpointConnectionError
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from contracts import load_contracts
from pipeline import infra
from pipeline import terraform as tf
from pipeline.errors import FinlakeError, UsageError
from pipeline.glue_job import parse_arguments

PROJECT = Path(__file__).parents[2]
VERSION = "5.100.0"
TARGET = "linux_amd64"


# --- contracts and configuration files -----------------------------------------------------------


def test_terraform_knows_the_contracts_as_they_are() -> None:
    stored = (PROJECT / "terraform" / infra.CONTRACTS_FILE).read_text(encoding="utf-8")
    assert stored == infra.render_contracts(), "run `finlake infra sync`"


def test_every_entity_is_handed_to_terraform_with_the_parents_of_its_contract() -> None:
    entities = json.loads(infra.render_contracts())["entities"]
    assert set(entities) == set(load_contracts())
    assert entities["transactions"]["parents"] == ["accounts"]
    assert entities["customers"]["parents"] == []
    assert all(entity["description"] for entity in entities.values())


def test_sync_writes_only_when_something_changed(tmp_path: Path) -> None:
    (tmp_path / "terraform").mkdir()
    assert infra.sync_contracts(tmp_path)
    assert not infra.sync_contracts(tmp_path)
    (tmp_path / "terraform" / infra.CONTRACTS_FILE).write_text("{}")
    assert infra.sync_contracts(tmp_path)


def declared_variables() -> set[str]:
    text = (PROJECT / "terraform/variables.tf").read_text(encoding="utf-8")
    return set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE))


def stage_values(stage: str) -> dict[str, str]:
    text = (PROJECT / f"terraform/envs/{stage}.tfvars").read_text(encoding="utf-8")
    return dict(re.findall(r"^(\w+)\s*=\s*(.+)$", text, re.MULTILINE))


@pytest.mark.parametrize("stage", ["local", "dev", "prod"])
def test_a_stage_sets_only_variables_that_exist(stage: str) -> None:
    values = stage_values(stage)
    assert set(values) <= declared_variables()
    assert values["environment"] == f'"{stage}"'
    assert "region" in values


def test_production_keeps_its_data_and_its_secrets() -> None:
    values = stage_values("prod")
    assert values.get("force_destroy", "false") == "false"
    assert values.get("public_access", '"none"') == '"none"'
    assert "lifecycle_days" in values
    assert values["create_kms_key"] == "true"
    for watch in ("monitoring", "access_logs", "athena"):
        assert values.get(watch, "true") == "true"


def test_every_terraform_variable_and_output_is_described_and_every_variable_typed() -> None:
    for path in (PROJECT / "terraform").rglob("*.tf"):
        blocks = re.findall(
            r'^(variable|output) "(\w+)" {\n(.*?)^}', path.read_text(), re.MULTILINE | re.DOTALL
        )
        for kind, name, body in blocks:
            assert "description =" in body.replace("description  ", "description "), f"{path}: {name}"
            assert kind == "output" or re.search(r"^  type\s+=", body, re.MULTILINE), f"{path}: {name}"


def test_no_module_configures_a_provider() -> None:
    for path in (PROJECT / "terraform/modules").glob("*/*.tf"):  # the examples are root modules
        assert not re.search(r'^provider "', path.read_text(), re.MULTILINE), path


def test_what_glue_jobs_install_is_pinned_by_the_constraints() -> None:
    text = (PROJECT / "terraform/modules/glue/main.tf").read_text(encoding="utf-8")
    block = re.search(r"modules = \[(.*?)\]", text, re.DOTALL)
    assert block
    wanted = set(re.findall(r'"([\w-]+)"', block.group(1)))
    pinned = set(re.findall(r"^([\w.-]+)==", (PROJECT / "constraints.txt").read_text(), re.MULTILINE))
    assert wanted
    assert wanted <= pinned


def test_every_mart_is_handed_to_terraform_with_its_columns() -> None:
    from pipeline.gold import MARTS

    marts = json.loads(infra.render_contracts())["gold_marts"]
    assert sorted(marts) == sorted(mart.name for mart in MARTS)
    assert "customers_history" in marts["loan_default_features"]["inputs"]
    assert {name for name, mart in marts.items() if "shown_where" in mart} == {"payment_performance"}
    for mart in MARTS:
        given = [(c["name"], c["type"], c.get("pii")) for c in marts[mart.name]["columns"]]
        assert given == [(c.name, c.type, c.pii_class) for c in mart.columns]


def test_every_column_with_personal_data_is_handed_to_terraform() -> None:
    entities = json.loads(infra.render_contracts())["entities"]
    for name, contract in load_contracts().items():
        assert entities[name]["pii"] == {c.name: c.pii_class for c in contract.columns if c.pii_class}
        assert entities[name]["history"] == contract.keeps_history
    assert entities["customers"]["pii"]["email"] == "email"


def test_the_lock_file_lets_the_registry_and_a_mirror_serve_the_provider() -> None:
    lock_file = PROJECT / "terraform" / tf.LOCK_FILE
    text = lock_file.read_text(encoding="utf-8")
    assert tf.locked_version(lock_file) == VERSION
    assert len(re.findall(r'"zh:[0-9a-f]{64}"', text)) > 10  # archives of the registry, all platforms
    assert re.search(r'"h1:[\w+/=]{44}"', text)  # an unpacked provider


def test_a_lock_file_without_the_provider_is_explained(tmp_path: Path) -> None:
    with pytest.raises(FinlakeError, match="does not name the AWS provider"):
        tf.locked_version(tmp_path / "missing.hcl")


# --- where the provider comes from ---------------------------------------------------------------


def add_provider(mirror: Path, version: str = VERSION, target: str = TARGET) -> Path:
    folder = mirror / tf.PROVIDER / version / target
    folder.mkdir(parents=True)
    (folder / f"terraform-provider-aws_v{version}_x5").touch()
    return mirror


def find(root: Path, environ: dict[str, str] | None = None) -> tf.ProviderSource:
    return tf.find_provider(environ or {}, VERSION, home=root / "home", root=root, target=TARGET)


def test_without_any_mirror_the_registry_is_used(tmp_path: Path) -> None:
    source = find(tmp_path)
    assert source.folder is None
    assert "registry" in source.description


def test_the_users_own_terraform_configuration_is_left_alone(tmp_path: Path) -> None:
    add_provider(tmp_path / "opt/add-ons")
    config = tmp_path / "my.tfrc"
    config.touch()
    source = find(tmp_path, {"TF_CLI_CONFIG_FILE": str(config)})
    assert source.folder is None
    assert str(config) in source.description


def test_the_default_terraform_configuration_is_left_alone(tmp_path: Path) -> None:
    add_provider(tmp_path / "opt/add-ons")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.terraformrc").touch()
    assert find(tmp_path).folder is None


def test_a_configuration_that_does_not_exist_counts_for_nothing(tmp_path: Path) -> None:
    mirror = add_provider(tmp_path / "opt/add-ons")
    environ = {"TF_CLI_CONFIG_FILE": str(tmp_path / "missing.tfrc")}
    assert find(tmp_path, environ).folder == mirror


@pytest.mark.parametrize(
    "place",
    [
        "home/.terraform.d/plugins",
        "home/.local/share/terraform/plugins",
        "usr/local/share/terraform/plugins",
        "usr/share/terraform/plugins",
        "opt/anything",
        "usr/lib/terraform-providers",
    ],
)
def test_a_mirror_in_a_usual_place_is_found(tmp_path: Path, place: str) -> None:
    mirror = add_provider(tmp_path / place)
    source = find(tmp_path)
    assert source.folder == mirror
    assert str(mirror) in source.description


def test_the_plugin_cache_comes_before_mirrors(tmp_path: Path) -> None:
    add_provider(tmp_path / "home/.terraform.d/plugins")
    cache = add_provider(tmp_path / "cache")
    assert find(tmp_path, {"TF_PLUGIN_CACHE_DIR": str(cache)}).folder == cache


def test_xdg_folders_are_searched(tmp_path: Path) -> None:
    mirror = add_provider(tmp_path / "data/terraform/plugins")
    assert find(tmp_path, {"XDG_DATA_DIRS": f"/nowhere:{tmp_path / 'data'}"}).folder == mirror


@pytest.mark.parametrize(("version", "target"), [("5.99.0", TARGET), (VERSION, "windows_amd64")])
def test_a_mirror_with_another_version_or_platform_is_of_no_use(
    tmp_path: Path, version: str, target: str
) -> None:
    add_provider(tmp_path / "opt/old", version, target)
    assert find(tmp_path).folder is None
    good = add_provider(tmp_path / "opt/zz-good")
    assert find(tmp_path).folder == good


def test_a_mirror_may_hold_the_packed_provider(tmp_path: Path) -> None:
    provider = tmp_path / "opt/packed" / tf.PROVIDER
    provider.mkdir(parents=True)
    (provider / f"terraform-provider-aws_{VERSION}_{TARGET}.zip").touch()
    assert find(tmp_path).folder == tmp_path / "opt/packed"


# --- the laptop's stage --------------------------------------------------------------------------


def test_local_needs_an_endpoint() -> None:
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL is not set"):
        infra.local_environment({"PATH": "/bin"})


def test_local_translates_the_sdk_variables_into_those_of_tflocal() -> None:
    child = infra.local_environment(
        {
            "AWS_ENDPOINT_URL": "http://gateway:4566",
            "AWS_ENDPOINT_URL_S3": "http://storage:9000",
            "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS": "http://logs:1",
            "AWS_DEFAULT_REGION": "eu-west-3",
        }
    )
    assert child["S3_HOSTNAME"] == "gateway"
    assert child["S3_ENDPOINT"] == "http://storage:9000"
    assert child["CLOUDWATCHLOGS_ENDPOINT"] == "http://logs:1"
    assert child["AWS_DEFAULT_REGION"] == child["AWS_REGION"] == "eu-west-3"


def test_real_credentials_never_reach_the_local_stage() -> None:
    child = infra.local_environment(
        {
            "AWS_ENDPOINT_URL": "http://localhost:4566",
            "AWS_PROFILE": "production",
            "AWS_ACCESS_KEY_ID": "AKIAREAL",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_SESSION_TOKEN": "token",
        }
    )
    assert "AWS_PROFILE" not in child
    assert "AWS_SESSION_TOKEN" not in child
    assert child["AWS_ACCESS_KEY_ID"] == child["AWS_SECRET_ACCESS_KEY"] == "test"


def test_a_missing_terraform_configuration_is_not_named_to_terraform(tmp_path: Path) -> None:
    environ = {"AWS_ENDPOINT_URL": "http://localhost:4566", "TF_CLI_CONFIG_FILE": str(tmp_path / "no.tfrc")}
    assert "TF_CLI_CONFIG_FILE" not in infra.local_environment(environ)
    (tmp_path / "no.tfrc").touch()
    assert "TF_CLI_CONFIG_FILE" in infra.local_environment(environ)


def test_the_local_copy_takes_over_no_backend_no_state_and_no_override(tmp_path: Path) -> None:
    source, target = tmp_path / "terraform", tmp_path / "copy"
    for name in (
        "main.tf",
        "backend.tf",
        tf.OVERRIDE_FILE,
        "terraform.tfstate",
        "terraform.tfstate.backup",
        ".terraform/environment",
        "modules/s3/main.tf",
        "envs/local.tfvars",
        "contracts.auto.tfvars.json",
    ):
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("new")
    for name in (
        "terraform.tfstate",
        ".terraform/keep",
        "gone.tf",
        "modules/gone/main.tf",
        tf.OVERRIDE_FILE,
    ):
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("old")

    infra.copy_root_module(source, target)

    copied = {str(p.relative_to(target)): p.read_text() for p in target.rglob("*") if p.is_file()}
    assert copied == {
        "main.tf": "new",
        "modules/s3/main.tf": "new",
        "envs/local.tfvars": "new",
        "contracts.auto.tfvars.json": "new",
        "terraform.tfstate": "old",
        ".terraform/keep": "old",
    }


# --- running Terraform, played by a shell script -------------------------------------------------

CREATE = {
    "type": "planned_change",
    "change": {"action": "create", "resource": {"addr": 'module.s3.aws_s3_bucket.this["bronze"]'}},
}
ERROR = {
    "type": "diagnostic",
    "diagnostic": {
        "severity": "error",
        "summary": "creating S3 Bucket",
        "detail": "BucketAlreadyExists:\n  somebody else has it",
        "address": 'module.s3.aws_s3_bucket.this["bronze"]',
        "range": {"filename": "modules/s3/main.tf", "start": {"line": 3}},
    },
}


class FakeTerraform:
    """A ``terraform`` on PATH that notes how it is called and says what it is told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls_file = folder / "calls"
        folder.mkdir()
        program = folder / "terraform"
        installed = f".terraform/providers/{tf.PROVIDER}/{VERSION}/{tf.platform_name()}"
        program.write_text(
            "#!/bin/sh\n"
            f'echo "$@" >> {self.calls_file}\n'
            f'for f in {folder}/"$1".out; do [ -f "$f" ] && cat "$f"; done\n'
            f'[ -f {folder}/"$1".code ] && exit "$(cat {folder}/"$1".code)"\n'
            f'[ "$1" = init ] && mkdir -p {installed}\n'
            "exit 0\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IEXEC)

    def says(self, command: str, *events: dict[str, object] | str, code: int = 0) -> None:
        lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
        (self.folder / f"{command}.out").write_text("\n".join(lines) + "\n")
        (self.folder / f"{command}.code").write_text(str(code))

    @property
    def calls(self) -> list[str]:
        return [line.split()[0] for line in self.calls_file.read_text().splitlines()]


@pytest.fixture
def terraform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTerraform:
    fake = FakeTerraform(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{fake.folder}{os.pathsep}{os.environ['PATH']}")
    for name in list(os.environ):
        if name.startswith("AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name)
    return fake


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with a stage ``dev``, whose credentials belong to account 123456789012."""
    project = tmp_path / "clone"
    (project / "terraform/envs").mkdir(parents=True)
    (project / "terraform/main.tf").touch()
    shutil.copy(PROJECT / "terraform/variables.tf", project / "terraform")
    (project / "terraform/envs/dev.tfvars").write_text('environment = "dev"\nregion = "eu-west-1"\n')
    lock = (PROJECT / "terraform" / tf.LOCK_FILE).read_text(encoding="utf-8")
    (project / "terraform" / tf.LOCK_FILE).write_text(lock)
    infra.sync_contracts(project)
    monkeypatch.chdir(project)
    monkeypatch.setattr(infra, "build_wheel", lambda _: project / "dist/finlake.whl")
    account = infra.Account("123456789012", "arn:aws:iam::123456789012:user/me", "eu-west-1")
    monkeypatch.setattr(infra, "read_account", lambda *_: account)
    return project


def runner(project: Path) -> tf.Terraform:
    return tf.Terraform(
        folder=project / "terraform",
        command="terraform",
        environ=dict(os.environ),
        variables=[],
        log=project / "terraform.log",
        source=project / "terraform",
        report=lambda _: None,
    )


def test_terraform_is_initialised_once_and_again_when_a_file_changes(
    project: Path, terraform: FakeTerraform
) -> None:
    runner(project).init()
    runner(project).init()
    assert terraform.calls == ["init"]
    (project / "terraform/main.tf").write_text("# changed")
    runner(project).init()
    assert terraform.calls == ["init", "init"]


def test_a_failed_init_shows_the_error_and_is_tried_again(project: Path, terraform: FakeTerraform) -> None:
    terraform.says("init", "Initializing...", "╷", "│ Error: no provider", "│ could not connect", code=1)
    with pytest.raises(FinlakeError, match=r"Error: no provider\n  could not connect") as caught:
        runner(project).init()
    assert "Initializing" not in str(caught.value)
    assert str(project / "terraform.log") in str(caught.value.hint)
    with pytest.raises(FinlakeError):
        runner(project).init()
    assert terraform.calls == ["init", "init"]


def test_an_error_names_resource_file_and_reason(project: Path, terraform: FakeTerraform) -> None:
    terraform.says("apply", ERROR, ERROR, "not JSON at all", code=1)
    with pytest.raises(FinlakeError) as caught:
        runner(project).run("apply", ["apply"])
    assert str(caught.value) == (
        'terraform (modules/s3/main.tf:3): module.s3.aws_s3_bucket.this["bronze"]: creating S3 Bucket: '
        "BucketAlreadyExists: somebody else has it"
    )
    assert "not JSON at all" in (project / "terraform.log").read_text()


LOCKED = {
    "type": "diagnostic",
    "diagnostic": {
        "severity": "error",
        "summary": "Error acquiring the state lock",
        "detail": "Error message: PreconditionFailed\nLock Info:\n"
        "  ID:        0e3f2d5a-1111-2222-3333-444455556666\n  Who:       ann@laptop",
    },
}


def error(summary: str) -> dict[str, object]:
    return {"type": "diagnostic", "diagnostic": {"severity": "error", "summary": summary, "detail": ""}}


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        (ERROR, "choose another bucket_suffix"),
        (error("EntityAlreadyExists: Role with name x already exists"), "`terraform import`"),
        (error("operation error S3: ExpiredToken: The provided token has expired"), "log in again"),
        (error("AWS account ID not allowed: 210987654321"), "account_id in terraform/envs"),
        (LOCKED, "force-unlock 0e3f2d5a-1111-2222-3333-444455556666"),
        (error("Invalid value for variable"), "what they may be in terraform/variables.tf"),
        (error("creating Glue Job: some new trouble"), "see the whole output in"),
    ],
)
def test_an_error_comes_with_what_to_do_about_it(
    project: Path, terraform: FakeTerraform, said: dict[str, object], hint: str
) -> None:
    terraform.says("apply", said, code=1)
    with pytest.raises(FinlakeError) as caught:
        runner(project).run("apply", ["apply"])
    assert hint in str(caught.value.hint)
    assert str(project / "terraform.log") in str(caught.value.hint)


def test_changes_and_outputs_are_collected(project: Path, terraform: FakeTerraform) -> None:
    outputs = {"type": "outputs", "outputs": {"buckets": {"value": {"bronze": "b"}}}}
    terraform.says("apply", CREATE, {"type": "apply_complete"}, outputs)
    outcome = runner(project).run("apply", ["apply"])
    assert outcome.changes == (("create", 'module.s3.aws_s3_bucket.this["bronze"]'),)
    assert outcome.outputs == {"buckets": {"bronze": "b"}}
    assert outcome.changed


@given(st.text())
def test_any_line_that_is_not_an_event_is_left_out(line: str) -> None:
    events = tf.Events("apply", lambda _: None)
    events.read(line)
    assert (events.changes, events.outputs, events.errors()) == ([], {}, "")


# --- stages on AWS -------------------------------------------------------------------------------


def invoke(*arguments: str, answer: str = "") -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(infra.infra_app, list(arguments), input=answer)
    return result.exit_code, result.output, result.exception


def test_aws_is_refused_while_an_override_file_lies_around(project: Path, terraform: FakeTerraform) -> None:
    override = project / "terraform" / tf.OVERRIDE_FILE
    override.touch()
    with pytest.raises(UsageError, match="is there") as caught:
        infra.check_cloud(project, "dev", {})
    assert f"rm {override}" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["override.tf", "my_override.tf", "my_override.tf.json"])
def test_aws_is_refused_while_any_override_has_endpoints(project: Path, name: str) -> None:
    override = project / "terraform" / name
    override.write_text("# of the user's own\n")
    infra.check_cloud(project, "dev", {})
    override.write_text('provider "aws" {\n  endpoints {\n    s3 = "http://localhost:4566"\n  }\n}\n')
    with pytest.raises(UsageError, match=f"{name} is there"):
        infra.check_cloud(project, "dev", {})


def test_aws_is_refused_while_an_endpoint_is_set(project: Path) -> None:
    with pytest.raises(UsageError, match="AWS_ENDPOINT_URL_S3 is set"):
        infra.check_cloud(project, "dev", {"AWS_ENDPOINT_URL_S3": "http://localhost:4566"})


def caller(monkeypatch: pytest.MonkeyPatch, answer: dict[str, str] | Exception) -> None:
    """Let AWS say who is asking."""

    def get_caller_identity() -> dict[str, str]:
        if isinstance(answer, Exception):
            raise answer
        return answer

    sts = SimpleNamespace(get_caller_identity=get_caller_identity)
    monkeypatch.setattr(boto3, "client", lambda *_, **__: sts)


REALLY_READ_ACCOUNT = infra.read_account


def test_credentials_of_another_account_are_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caller(monkeypatch, {"Account": "210987654321", "Arn": "arn:aws:iam::210987654321:user/me"})
    assert REALLY_READ_ACCOUNT(project, "dev").account == "210987654321"
    file = project / "terraform/envs/dev.tfvars"
    file.write_text(file.read_text() + 'account_id = "123456789012"\n')
    with pytest.raises(UsageError, match=r"belongs to AWS account 123456789012.* to 210987654321") as caught:
        REALLY_READ_ACCOUNT(project, "dev")
    assert "set AWS_PROFILE" in str(caught.value.hint)


def test_expired_credentials_are_called_so(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = {
        "Error": {"Code": "ExpiredToken", "Message": "The security token included in the request is expired"}
    }
    caller(monkeypatch, ClientError(said, "GetCallerIdentity"))
    with pytest.raises(FinlakeError, match="credentials have expired") as caught:
        REALLY_READ_ACCOUNT(project, "dev")
    assert "log in again" in str(caught.value.hint)


def test_aws_out_of_reach_is_no_matter_of_the_local_stack(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller(monkeypatch, EndpointConnectionError(endpoint_url="https://sts.eu-west-1.amazonaws.com/"))
    with pytest.raises(FinlakeError, match=r"cannot reach https://sts\.eu-west-1") as caught:
        REALLY_READ_ACCOUNT(project, "dev")
    assert "look at the network" in str(caught.value.hint)


def test_a_stage_without_a_region_is_refused(project: Path) -> None:
    (project / "terraform/envs/dev.tfvars").write_text('environment = "dev"\n')
    with pytest.raises(FinlakeError, match="names no region"):
        REALLY_READ_ACCOUNT(project, "dev")


@pytest.mark.parametrize(
    ("line", "said", "hint"),
    [
        (
            'bucket_sufix = "x"',
            "sets bucket_sufix, and there is no such",
            "did you mean bucket_suffix?",
        ),
        (
            "colour = true",
            "sets colour, and there is no such",
            "terraform/variables.tf has all of them",
        ),
        ('environment = "prod"', "is of the stage 'prod', not of dev", 'environment = "dev"'),
        ("", "names no environment", 'environment = "dev"'),
    ],
)
def test_a_stage_file_that_would_not_do_what_it_says_is_refused(
    project: Path, line: str, said: str, hint: str
) -> None:
    known = "" if not line or line.startswith("environment") else 'environment = "dev"\n'
    (project / "terraform/envs/dev.tfvars").write_text(f'{known}region = "eu-west-1"\n{line}\n')
    with pytest.raises(UsageError, match=said) as caught:
        infra.check_cloud(project, "dev", {})
    assert hint in str(caught.value.hint)


def test_an_unknown_stage_is_refused_with_the_known_ones(project: Path) -> None:
    with pytest.raises(UsageError, match="known are dev"):
        infra.check_cloud(project, "staging", {})


def test_a_plan_of_a_stage_shows_the_changes_and_ends_with_code_2(
    project: Path, terraform: FakeTerraform
) -> None:
    terraform.says("plan", CREATE, code=2)
    code, output, _ = invoke("plan", "--env", "dev")
    assert code == 2
    assert "AWS account 123456789012, region eu-west-1" in output
    assert 'create module.s3.aws_s3_bucket.this["bronze"]' in " ".join(output.split())
    assert terraform.calls == ["init", "workspace", "plan"]


def test_a_plan_that_was_refused_is_not_taken_for_one_with_changes(
    project: Path, terraform: FakeTerraform
) -> None:
    (project / "terraform" / tf.OVERRIDE_FILE).touch()
    code, _, error = invoke("plan", "--env", "dev")
    assert code == 1
    assert isinstance(error, FinlakeError)
    assert error.exit_code == 1, "2 would say that there are changes"
    assert not terraform.calls_file.exists()


def test_nothing_is_applied_before_the_account_was_shown_and_confirmed(
    project: Path, terraform: FakeTerraform
) -> None:
    terraform.says("plan", CREATE, code=2)
    code, output, _ = invoke("apply", "--env", "dev", answer="n\n")
    assert code == 1
    assert "AWS account 123456789012, region eu-west-1" in output
    assert "apply" not in terraform.calls
    code, _, _ = invoke("apply", "--env", "dev", answer="y\n")
    assert code == 0
    assert terraform.calls[-1] == "apply"


def test_an_apply_without_changes_asks_nothing(project: Path, terraform: FakeTerraform) -> None:
    code, output, _ = invoke("apply", "--env", "dev")
    assert code == 0
    assert "up to date" in output
    assert "apply" not in terraform.calls


def test_contracts_that_terraform_does_not_know_yet_stop_an_apply(
    project: Path, terraform: FakeTerraform
) -> None:
    (project / "terraform" / infra.CONTRACTS_FILE).write_text("{}")
    _, _, error = invoke("apply", "--env", "dev", "--yes")
    assert isinstance(error, FinlakeError)
    assert error.hint == "run `finlake infra sync`"


def test_outside_of_a_clone_the_command_says_so(tmp_path: Path) -> None:
    with pytest.raises(FinlakeError, match="there is no terraform/main"):
        infra.find_project(tmp_path)


# --- the script of the Glue jobs -----------------------------------------------------------------


def test_the_glue_job_takes_its_own_arguments_and_leaves_glues_alone() -> None:
    arguments = (
        "--JOB_NAME finlake-dev-silver-loans --JOB_RUN_ID jr_1 --TempDir s3://x/tmp --layer silver "
        "--FINLAKE_ENV dev --entity loans --enable-metrics true --FINLAKE_SILVER_URI=s3://finlake-dev-silver"
    )
    command, settings = parse_arguments(arguments.split())
    assert command == ["run", "--json", "--layer", "silver", "--entity", "loans"]
    assert settings == {"FINLAKE_ENV": "dev", "FINLAKE_SILVER_URI": "s3://finlake-dev-silver"}


def test_the_gold_job_has_no_entity() -> None:
    assert parse_arguments(["--layer", "gold"]) == (["run", "--json", "--layer", "gold"], {})


def test_a_glue_job_without_a_layer_fails() -> None:
    with pytest.raises(SystemExit) as caught:
        parse_arguments(["--entity", "loans"])
    assert caught.value.code == 2


# --- delivery ------------------------------------------------------------------------------------


def test_the_delivery_workflow_stores_no_key_and_applies_what_was_approved() -> None:
    text = (PROJECT / ".github/workflows/deploy.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert "secrets." not in text
    assert workflow["permissions"] == {"contents": "read", "id-token": "write"}
    plan, apply = workflow["jobs"]["plan"], workflow["jobs"]["apply"]
    assert apply["needs"] == "plan"
    assert apply["environment"] == "${{ inputs.stage }}", "its reviewers approve"
    assert "-out=approved.tfplan" in plan["steps"][-2]["run"]
    assert apply["steps"][-1]["run"].rstrip().endswith("terraform apply -input=false approved.tfplan")
    used = {
        step["with"]["role-to-assume"]
        for job in (plan, apply)
        for step in job["steps"]
        if "role-to-assume" in step.get("with", {})
    }
    outputs = (PROJECT / "terraform/cicd/outputs.tf").read_text(encoding="utf-8")
    for role in used:
        assert role.removeprefix("${{ vars.").removesuffix(" }}") in outputs
    stages = workflow[True]["workflow_dispatch"]["inputs"]["stage"]["options"]  # YAML reads `on` as true
    assert {f"{stage}.tfvars" for stage in stages} <= {p.name for p in (PROJECT / "terraform/envs").iterdir()}


@pytest.mark.parametrize("workflow", ["ci.yml", "deploy.yml"])
def test_actions_that_workflows_use_are_commits_and_not_tags_which_can_be_moved(workflow: str) -> None:
    text = (PROJECT / ".github/workflows" / workflow).read_text(encoding="utf-8")
    used = [line.partition("uses:")[2].strip() for line in text.splitlines() if "uses:" in line]
    assert used
    assert [
        use for use in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use)
    ] == []
