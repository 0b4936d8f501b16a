"""Infrastructure by Terraform: ``finlake infra``.

The laptop's stage and the stages on AWS share every ``.tf`` file. What differs is who runs them:

* ``local``: ``tflocal``, in a copy of ``terraform/`` below ``.finlake/terraform/``. So neither its
  state nor the override file with the emulator's endpoints can ever meet a state that describes AWS.
* any other stage: plain ``terraform`` in ``terraform/`` itself, in a workspace of the stage's name,
  with the backend that the user chose, and only after the account was shown and confirmed.

How Terraform itself is found and run is in :mod:`pipeline.terraform`.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from contracts import load_contracts
from pipeline.errors import FinlakeError, NoAnswerError, UsageError, explain
from pipeline.terraform import (
    CHANGES,
    LOCK_FILE,
    NO_CHANGE,
    OVERRIDE_FILE,
    Outcome,
    Report,
    Terraform,
    digest,
    find_provider,
    locked_version,
    require,
    tail,
    without_missing_config,
)

__all__ = [
    "LOCK_FILE",
    "Outcome",
    "apply_local",
    "destroy_local",
    "find_project",
    "find_provider",
    "infra_app",
    "locked_version",
    "plan_local",
]

LOCAL = "local"
CONTRACTS_FILE = "contracts.auto.tfvars.json"
# What a local stage must not take over: state and provider of another one, and where that one is kept.
NOT_COPIED = (
    ".terraform",
    "*.tfstate*",
    "*.tfplan",
    "backend*.tf",
    "*_override.tf",
    "override.tf",
    "tests",
    "bootstrap",
    "cicd",
    "examples",
)
DEFAULT_REGION = "eu-central-1"


# --- contracts -> Terraform ----------------------------------------------------------------------


def render_contracts() -> str:
    """What Terraform must know of the contracts, as the text of ``contracts.auto.tfvars.json``."""
    from pipeline.gold import MARTS
    from pipeline.quicksight import quicksight_kpis

    entities = {
        name: {
            "description": contract.description,
            "parents": sorted({str(column.parent_entity) for column in contract.parents} - {name}),
            "history": contract.keeps_history,
            "pii": {column.name: column.pii_class for column in contract.columns if column.pii_class},
            "key": list(contract.key),
            "required": [column.name for column in contract.columns if column.required],
        }
        for name, contract in sorted(load_contracts().items())
    }
    marts = {
        mart.name: {
            "inputs": sorted(set(mart.inputs) - {f"gold.{name}" for name in mart.input_marts}),
            "columns": [
                {"name": column.name, "type": column.type}
                | ({"pii": column.pii_class} if column.pii_class else {})
                for column in mart.columns
            ],
        }
        | ({"shown_where": mart.shown_where} if mart.shown_where else {})
        for mart in sorted(MARTS, key=lambda mart: mart.name)
    }
    known = {"entities": entities, "gold_marts": marts, "kpis": quicksight_kpis(MARTS)}
    return json.dumps(known, indent=2) + "\n"


def sync_contracts(project: Path) -> bool:
    """Write ``contracts.auto.tfvars.json``. Returns whether it was out of date."""
    path = project / "terraform" / CONTRACTS_FILE
    text = render_contracts()
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return False
    path.write_text(text, encoding="utf-8")
    return True


def find_project(start: Path | None = None) -> Path:
    """Root of the clone: the nearest folder from ``start`` (default: here) upwards that has ``terraform/``.

    Raises:
        FinlakeError: There is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "terraform" / "main.tf").is_file():
            return folder
    raise FinlakeError(f"there is no terraform/main.tf in {here} or above", "run this in a clone of finlake")


def build_wheel(project: Path) -> Path:
    """Build the wheel that the Glue jobs install, into ``dist/``; the same code gives the same bytes.

    Raises:
        FinlakeError: The build failed.
    """
    dist = project / "dist"
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(dist)]
    built = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    wheels = sorted(dist.glob("finlake-*.whl"), key=lambda path: path.stat().st_mtime)
    if built.returncode != 0 or not wheels:
        raise FinlakeError(
            tail("the wheel could not be built", (built.stdout + built.stderr).splitlines()),
            "is hatchling installed? `pip install 'finlake[dev]'`",
        )
    return wheels[-1]


def _artifacts(project: Path) -> list[str]:
    """Arguments that tell Terraform where the files are that it uploads."""
    return [
        f"-var=wheel_path={build_wheel(project)}",
        f"-var=script_path={project / 'pipeline' / 'glue_job.py'}",
        f"-var=constraints_path={project / 'constraints.txt'}",
        f"-var=models_path={project / 'ml'}",
    ]


def _check_contracts(project: Path) -> None:
    path = project / "terraform" / CONTRACTS_FILE
    if not path.is_file() or path.read_text(encoding="utf-8") != render_contracts():
        raise FinlakeError(f"{path} does not fit the contracts", "run `finlake infra sync`")


# --- the laptop's stage --------------------------------------------------------------------------


def local_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Environment for ``tflocal``, from the variables that point the AWS SDKs at the stack.

    ``tflocal`` has names of its own for endpoints: ``S3_HOSTNAME``, ``GLUE_ENDPOINT``, ...

    Raises:
        UsageError: No endpoint is set, so it is not sure that there is a local stack.
    """
    endpoint = environ.get("AWS_ENDPOINT_URL")
    if not endpoint:
        raise UsageError(
            "AWS_ENDPOINT_URL is not set, so there is no local stack to apply to", "start it with `make up`"
        )
    # Real credentials and profiles have no business on the laptop's stage.
    child = {
        name: value
        for name, value in without_missing_config(environ).items()
        if name not in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_DEFAULT_PROFILE")
    }
    for name, value in environ.items():
        if name.startswith("AWS_ENDPOINT_URL_") and value:
            service = name.removeprefix("AWS_ENDPOINT_URL_").replace("_", "")
            child[f"{service}_ENDPOINT"] = value
    region = environ.get("AWS_DEFAULT_REGION") or environ.get("AWS_REGION") or DEFAULT_REGION
    return child | {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
        "S3_HOSTNAME": urlsplit(endpoint).hostname or "localhost",
        "DISABLE_DEPRECATION_NOTICE": "1",
    }


def _check_endpoint(endpoint: str) -> None:
    """Fail at once when nobody listens: the provider would try again for minutes."""
    parts = urlsplit(endpoint)
    try:
        address = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
        socket.create_connection(address, timeout=5).close()
    except (OSError, ValueError) as error:
        raise FinlakeError(
            f"the local stack does not answer at {endpoint} ({error})", "start it with `make up`"
        ) from error


def copy_root_module(source: Path, target: Path) -> None:
    """Make ``target`` a copy of the root module in ``source``, but for backend, state and overrides."""
    target.mkdir(parents=True, exist_ok=True)
    for path in target.iterdir():
        if path.suffix == ".tf" or path.name.endswith(".tfvars.json"):
            path.unlink()
        elif path.name in ("modules", "envs"):
            shutil.rmtree(path)
    ignore = shutil.ignore_patterns(*NOT_COPIED, LOCK_FILE)
    shutil.copytree(source, target, ignore=ignore, dirs_exist_ok=True)


@contextmanager
def open_local(
    project: Path, environ: Mapping[str, str] | None = None, report: Report = lambda _: None
) -> Iterator[Terraform]:
    """The laptop's stage, initialised and locked against a second run.

    Args:
        project: Root of the clone.
        environ: Environment variables, default the process's.
        report: Gets a short text while something is going on.

    Raises:
        FinlakeError: The stack does not answer, Terraform fails, or another run is going on.
    """
    environ = os.environ if environ is None else environ
    require("terraform")
    child = local_environment(environ)
    _check_endpoint(child["AWS_ENDPOINT_URL"])
    check_stage_file(project, LOCAL)
    _check_contracts(project)
    folder = project / ".finlake" / "terraform" / LOCAL
    folder.mkdir(parents=True, exist_ok=True)
    # The stack keeps regions apart: the one that its clients use wins over the one in the file.
    names = {
        "AWS_DEFAULT_REGION": "region",
        "FINLAKE_PREFIX": "prefix",
        "FINLAKE_BUCKET_SUFFIX": "bucket_suffix",
    }
    variables = [f"-var={variable}={child[name]}" for name, variable in names.items() if child.get(name)]
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise FinlakeError(
                "Terraform is already at work on the local stage", "wait for the other command to end"
            ) from error
        # The lock is ours, so nobody runs here: an override file is the left-over of a killed run, and
        # goes away with the old copy.
        copy_root_module(project / "terraform", folder)
        terraform = Terraform(
            folder=folder,
            command=require("tflocal"),
            environ=child,
            variables=[f"-var-file=envs/{LOCAL}.tfvars", *variables, *_artifacts(project)],
            log=project / ".finlake" / "logs" / f"terraform-{LOCAL}.log",
            source=project / "terraform",
            report=report,
            keep_open=(lock.fileno(),),
        )
        terraform.init()
        yield terraform


def apply_local(
    project: Path, environ: Mapping[str, str] | None = None, report: Report = lambda _: None
) -> Outcome:
    """Bring the laptop's stage up to date.

    When all inputs are those of the last apply and the stack still has all that it made, Terraform is
    not started at all; :func:`plan_local` compares every attribute.

    Raises:
        FinlakeError: See :func:`open_local`.
    """
    with open_local(project, environ, report) as terraform:
        stamp = Stamp(terraform)
        if (outputs := stamp.outputs()) is not None and _has_all(outputs, terraform.environ):
            return Outcome(outputs=outputs, skipped=True, seconds=terraform.seconds)
        stamp.clear()
        outcome = terraform.run(
            "apply", ["apply", "-auto-approve", "-input=false", "-json", *terraform.variables]
        )
        stamp.write(outcome.outputs)
        return outcome


def plan_local(
    project: Path, environ: Mapping[str, str] | None = None, report: Report = lambda _: None
) -> Outcome:
    """Compare the laptop's stage with the configuration, attribute by attribute, and change nothing.

    Raises:
        FinlakeError: See :func:`open_local`.
    """
    with open_local(project, environ, report) as terraform:
        outcome = terraform.run(
            "plan",
            ["plan", "-detailed-exitcode", "-input=false", "-json", *terraform.variables],
            good=(NO_CHANGE, CHANGES),
        )
        if outcome.changed:
            Stamp(terraform).clear()
        return outcome


def destroy_local(
    project: Path, environ: Mapping[str, str] | None = None, report: Report = lambda _: None
) -> Outcome:
    """Remove everything that Terraform made on the laptop's stage, data included.

    Raises:
        FinlakeError: See :func:`open_local`.
    """
    with open_local(project, environ, report) as terraform:
        Stamp(terraform).clear()
        return terraform.run(
            "destroy", ["destroy", "-auto-approve", "-input=false", "-json", *terraform.variables]
        )


class Stamp:
    """Remembers what the last complete apply of a stage was made from, and its outputs."""

    def __init__(self, terraform: Terraform) -> None:
        self._path = terraform.folder / "applied.json"
        given = [Path(item.split("=", 2)[2]) for item in terraform.variables if "_path=" in item]
        uploads = [
            file for path in given for file in ([path] if path.is_file() else sorted(path.glob("*.*")))
        ]
        files = [
            path
            for path in sorted(terraform.folder.rglob("*"))
            if path.suffix in (".tf", ".tfvars", ".json")
            and ".terraform" not in path.parts
            and path != self._path
        ]
        endpoints = {name: value for name, value in terraform.environ.items() if "ENDPOINT" in name}
        self._inputs = digest(
            *(path.read_bytes() for path in (*files, *uploads)),
            *(str(path.relative_to(terraform.folder)) for path in files),
            json.dumps([endpoints, terraform.variables], sort_keys=True),
        )

    def outputs(self) -> dict[str, Any] | None:
        """Outputs of the last apply, if it was made from the same inputs."""
        try:
            found = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return dict(found["outputs"]) if found.get("inputs") == self._inputs else None

    def write(self, outputs: Mapping[str, Any]) -> None:
        """Remember an apply that went well."""
        self._path.write_text(json.dumps({"inputs": self._inputs, "outputs": outputs}), encoding="utf-8")

    def clear(self) -> None:
        """Forget the last apply."""
        self._path.unlink(missing_ok=True)


def _has_all(outputs: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    """Whether the stack has every bucket, database and job that the outputs name."""
    import boto3

    session = boto3.Session(
        aws_access_key_id=environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environ["AWS_SECRET_ACCESS_KEY"],
        region_name=environ["AWS_DEFAULT_REGION"],
    )
    endpoint = environ["AWS_ENDPOINT_URL"]
    s3 = session.client("s3", endpoint_url=environ.get("AWS_ENDPOINT_URL_S3", endpoint))
    glue = session.client("glue", endpoint_url=environ.get("AWS_ENDPOINT_URL_GLUE", endpoint))
    buckets = {item["Name"] for item in s3.list_buckets()["Buckets"]}
    databases = {item["Name"] for item in glue.get_databases()["DatabaseList"]}
    jobs = {item["Name"] for item in glue.get_jobs()["Jobs"]}
    found = {"buckets": buckets, "databases": databases, "jobs": jobs}
    return all(set(outputs[kind].values()) <= names for kind, names in found.items())


# --- stages on AWS -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Account:
    """Who is asking AWS, and where."""

    account: str
    caller: str
    region: str


def check_cloud(project: Path, stage: str, environ: Mapping[str, str]) -> None:
    """Refuse to touch AWS while anything points Terraform at an emulator.

    Raises:
        UsageError: The stage is unknown, its file is wrong (see :func:`check_stage_file`), an endpoint is
            set, or tflocal's override file lies around.
    """
    known = sorted(path.stem for path in (project / "terraform" / "envs").glob("*.tfvars"))
    if stage not in known:
        raise UsageError(
            f"there is no stage {stage!r}; known are {', '.join(known)}",
            f"a new one needs terraform/envs/{stage}.tfvars",
        )
    check_stage_file(project, stage)
    for override in _overrides(project / "terraform"):
        if override.name == OVERRIDE_FILE or "endpoints" in override.read_text(encoding="utf-8"):
            raise UsageError(
                f"{override} is there: Terraform would work on an emulator, and take it for {stage}",
                "tflocal makes such a file and removes it when it ends. If no tflocal is running, it is the "
                f"left-over of one that was killed: rm {override}",
            )
    endpoints = sorted(name for name in environ if name.startswith("AWS_ENDPOINT_URL") and environ[name])
    if endpoints:
        raise UsageError(
            f"{', '.join(endpoints)} is set: Terraform would not work on AWS",
            f"unset {' '.join(endpoints)}",
        )


def _overrides(folder: Path) -> list[Path]:
    """Files whose blocks Terraform puts over those of all others."""
    return [
        path for path in sorted(folder.glob("*.tf*")) if re.search(r"(^|_)override\.tf(\.json)?$", path.name)
    ]


def read_account(project: Path, stage: str) -> Account:
    """Ask AWS who the current credentials belong to.

    Raises:
        FinlakeError: There are no usable credentials, or the stage names no region.
    """
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    file = project / "terraform" / "envs" / f"{stage}.tfvars"
    region = stage_value(project, stage, "region")
    if not region:
        raise FinlakeError(f"{file} names no region", 'add a line such as: region = "eu-central-1"')
    try:
        caller = boto3.client("sts", region_name=region).get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        explained = explain(error) or FinlakeError(
            f"AWS does not know who you are: {error}", "log in (`aws sso login`), or set AWS_PROFILE"
        )
        if isinstance(explained, NoAnswerError):  # whose hint is for the local stack
            explained.hint = f"look at the network, and at the region in {file}"
        raise explained from error
    wanted = stage_value(project, stage, "account_id")
    if wanted and wanted != caller["Account"]:
        raise UsageError(
            f"{stage} belongs to AWS account {wanted}, and these credentials to {caller['Account']}",
            f"set AWS_PROFILE to one of account {wanted}; the stage's is account_id in {file}",
        )
    return Account(caller["Account"], caller["Arn"], region)


def check_stage_file(project: Path, stage: str) -> None:
    """Refuse a stage's file that would not do what it says.

    Terraform only warns of a name that it does not know, and goes on without its value. And the same
    names made for another ``environment`` are another stage's.

    Raises:
        UsageError: The file sets a variable that there is not, or names another stage.
    """
    file = project / "terraform" / "envs" / f"{stage}.tfvars"
    names = re.findall(r"(?m)^(\w+)\s*=", file.read_text(encoding="utf-8"))
    declared = re.findall(
        r'(?m)^variable "(\w+)"', (project / "terraform" / "variables.tf").read_text(encoding="utf-8")
    )
    for name in names:
        if name not in declared:
            close = get_close_matches(name, declared, n=1)
            raise UsageError(
                f"{file} sets {name}, and there is no such variable",
                f"did you mean {close[0]}?" if close else "terraform/variables.tf has all of them",
            )
    if (named := stage_value(project, stage, "environment")) != stage:
        raise UsageError(
            f"{file} is of the stage {named!r}, not of {stage}" if named else f"{file} names no environment",
            f'it needs the line: environment = "{stage}"',
        )


def stage_value(project: Path, stage: str, name: str) -> str | None:
    """A text that a stage's ``.tfvars`` file sets; None when it does not."""
    file = project / "terraform" / "envs" / f"{stage}.tfvars"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    found = re.search(rf'(?m)^\s*{name}\s*=\s*"([^"]*)"', text)
    return found.group(1) if found else None


def open_cloud(
    project: Path, stage: str, environ: Mapping[str, str], report: Report = lambda _: None
) -> Terraform:
    """A stage on AWS, initialised, in the workspace of its name.

    Raises:
        FinlakeError: Terraform fails, or something points at an emulator (see :func:`check_cloud`).
    """
    check_cloud(project, stage, environ)
    require("terraform")
    _check_contracts(project)
    terraform = Terraform(
        folder=project / "terraform",
        command="terraform",
        environ=without_missing_config(environ),
        variables=[f"-var-file=envs/{stage}.tfvars", *_artifacts(project)],
        log=project / ".finlake" / "logs" / f"terraform-{stage}.log",
        source=project / "terraform",
        report=report,
    )
    terraform.init()
    terraform.run("workspace", ["workspace", "select", "-or-create=true", stage])
    return terraform


def plan_cloud(terraform: Terraform, *, destroy: bool = False) -> Outcome:
    """Plan the changes of a stage on AWS, and keep the plan for :func:`apply_cloud`."""
    return terraform.run(
        "plan",
        [
            "plan",
            "-detailed-exitcode",
            "-input=false",
            "-json",
            f"-out={_plan_file(terraform)}",
            *(["-destroy"] if destroy else []),
            *terraform.variables,
        ],
        good=(NO_CHANGE, CHANGES),
    )


def apply_cloud(terraform: Terraform) -> Outcome:
    """Make exactly the changes that :func:`plan_cloud` found."""
    plan = _plan_file(terraform)
    try:
        return terraform.run("apply", ["apply", "-input=false", "-json", str(plan)])
    finally:
        plan.unlink(missing_ok=True)


def _plan_file(terraform: Terraform) -> Path:
    return terraform.log.with_suffix(".tfplan")


# --- command line --------------------------------------------------------------------------------

infra_app = typer.Typer(
    name="infra",
    help="Create, compare and remove infrastructure with Terraform: on the laptop's stack or on AWS.",
    no_args_is_help=True,
)
out = Console(highlight=False, soft_wrap=True)

StageOption = Annotated[
    str, typer.Option("--env", help="Stage: local, or one with a file terraform/envs/<stage>.tfvars.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask (for automation).")]


@infra_app.command(epilog="Example: finlake infra apply --env local")
def apply(env: StageOption = LOCAL, yes: YesOption = False) -> None:
    """Make the infrastructure what the configuration says."""
    project = find_project()
    if env == LOCAL:
        with out.status("terraform") as status:
            outcome = apply_local(project, _stack_environment(), status.update)
        _show(outcome, "is up to date" if not outcome.changed else "applied")
    else:
        _change_cloud(project, env, yes=yes, destroy=False)


@infra_app.command(epilog="Example: finlake infra plan --env prod")
def plan(env: StageOption = LOCAL) -> None:
    """Show what `apply` would change. Exit code 0: nothing; 2: changes; 1: failed."""
    project = find_project()
    try:
        if env != LOCAL:
            _show_account(project, env)
        with out.status("terraform") as status:
            if env == LOCAL:
                outcome = plan_local(project, _stack_environment(), status.update)
            else:
                terraform = open_cloud(project, env, os.environ, status.update)
                outcome = plan_cloud(terraform)
                _plan_file(terraform).unlink(missing_ok=True)
    except UsageError as error:
        raise FinlakeError(
            str(error), error.hint
        ) from error  # not its exit code: 2 says that there are changes
    _show_changes(outcome)
    _show(outcome, "would change" if outcome.changed else "no change")
    if outcome.changed:
        raise typer.Exit(CHANGES)


@infra_app.command(epilog="Example: finlake infra destroy --env local")
def destroy(env: StageOption = LOCAL, yes: YesOption = False) -> None:
    """Remove the infrastructure. Where force_destroy is on, the data goes with it."""
    project = find_project()
    if env == LOCAL:
        if not yes:
            typer.confirm("Remove everything from the local stack, data included?", abort=True)
        with out.status("terraform") as status:
            outcome = destroy_local(project, _stack_environment(), status.update)
        _show(outcome, "destroyed")
    else:
        _change_cloud(project, env, yes=yes, destroy=True)


@infra_app.command(epilog="Example: eval $(finlake infra settings --env dev)")
def settings(env: StageOption = LOCAL) -> None:
    """Print the variables that point finlake at a stage, as shell commands."""
    project = find_project()
    if env == LOCAL:
        folder, environ = project / ".finlake" / "terraform" / LOCAL, dict(os.environ)
    else:
        folder, environ = project / "terraform", {**os.environ, "TF_WORKSPACE": env}
    shown = subprocess.run(
        [require("terraform"), "output", "-json", "settings"],
        cwd=folder if folder.is_dir() else project,
        env=without_missing_config(environ),
        capture_output=True,
        text=True,
        check=False,
    )
    if shown.returncode != 0:
        raise FinlakeError(
            f"nothing was applied to {env} yet", f"run `finlake infra apply --env {env}` first"
        )
    for name, value in sorted(json.loads(shown.stdout).items()):
        typer.echo(f"export {name}={value}")


@infra_app.command(epilog="Example: finlake infra sync")
def sync() -> None:
    """Tell Terraform about the contracts: which entities there are, and their parents."""
    changed = sync_contracts(find_project())
    out.print(f"terraform/{CONTRACTS_FILE} {'written' if changed else 'was up to date'}")


def _stack_environment() -> dict[str, str]:
    """The environment, with the variables of the local stack where the user set none."""
    from pipeline.settings import load_settings

    load_settings()
    return dict(os.environ)


def _show_account(project: Path, stage: str) -> Account:
    check_cloud(project, stage, os.environ)
    who = read_account(project, stage)
    out.print(f"AWS account {who.account}, region {who.region}, as {escape(who.caller)}")
    return who


def _change_cloud(project: Path, stage: str, *, yes: bool, destroy: bool) -> None:
    who = _show_account(project, stage)
    with out.status("terraform") as status:
        terraform = open_cloud(project, stage, os.environ, status.update)
        outcome = plan_cloud(terraform, destroy=destroy)
    _show_changes(outcome)
    if not outcome.changed:
        _plan_file(terraform).unlink(missing_ok=True)
        _show(outcome, "is up to date")
        return
    if not yes:
        verb = "Destroy" if destroy else "Apply"
        typer.confirm(f"{verb} {len(outcome.changes)} changes in account {who.account}?", abort=True)
    with out.status("terraform") as status:
        terraform.report = status.update
        outcome = apply_cloud(terraform)
    _show(outcome, "destroyed" if destroy else "applied")


def _show_changes(outcome: Outcome) -> None:
    table = Table(box=None, show_header=False, padding=(0, 1))
    for action, address in outcome.changes:
        colour = {"create": "green", "delete": "red"}.get(action, "yellow")
        table.add_row(f"[{colour}]{action}[/]", escape(address))
    if outcome.changed:
        out.print(table)


def _show(outcome: Outcome, what: str) -> None:
    if outcome.provider:
        out.print(f"provider: {escape(outcome.provider)}")
    counted = f", {len(outcome.changes)} resources" if outcome.changed else ""
    reason = " (same inputs as at the last apply)" if outcome.skipped else ""
    times = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in outcome.seconds.items())
    out.print(f"infrastructure {what}{counted}{reason}{f' in {times}' if times else ''}")
