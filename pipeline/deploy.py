"""New code for the Glue jobs of a stage: ``finlake deploy``.

Terraform makes the jobs; this changes what they run, without a plan of all the rest. The wheel and the
job script are stored under keys made from their bytes (Terraform makes the same keys, so its next plan
finds nothing to do to the jobs), all jobs are pointed at them, and one job is run as a trial. When
anything fails, all jobs are pointed back at what they had, which is still there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from contracts import load_contracts, load_order
from pipeline.errors import FinlakeError, UsageError, explain
from pipeline.infra import LOCAL, build_wheel, check_cloud, find_project, read_account, stage_value
from pipeline.present import out

if TYPE_CHECKING:
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_glue.type_defs import JobTypeDef
    from mypy_boto3_s3 import S3Client

MODULES = "--additional-python-modules"
LOGS = "--custom-logGroup-prefix"
DIGITS = 16  # of the SHA-256 in a key; terraform/modules/glue takes as many
GOING_ON = ("STARTING", "RUNNING", "STOPPING", "WAITING")
POLL_SECONDS = 5.0
START_MINUTES = 15.0  # that a run may wait for machines, on top of its own timeout
OPTIONAL = "scoring"  # job that a stage may have besides
# Of a job's description: what UpdateJob refuses beside the size of the workers.
OTHER_SIZES = ("AllocatedCapacity", "MaxCapacity")

Report = Callable[[str], None]


@dataclass
class Deployed:
    """What became of a deployment.

    Attributes:
        stage: The stage.
        wheel: URI of the wheel that the jobs were pointed at.
        script: URI of the job script.
        jobs: Names of the jobs that were changed; empty when all had this code already.
        trial: Name of the job that was run as a trial; empty for none.
        run_id: Id of that run.
        state: State that it ended in.
        seconds: How long that took.
        rolled_back: Whether the jobs were pointed back at what they had.
        error: Why; empty when all went well.
    """

    stage: str
    wheel: str = ""
    script: str = ""
    jobs: list[str] = field(default_factory=list)
    trial: str = ""
    run_id: str = ""
    state: str = ""
    seconds: float = 0.0
    rolled_back: bool = False
    error: str = ""


@dataclass(frozen=True)
class Code:
    """The files that jobs run.

    Attributes:
        wheel: The wheel.
        script: The script that each job starts.
        pins: Pinned versions by distribution, from the constraints file.
    """

    wheel: Path
    script: Path
    pins: Mapping[str, str]

    @staticmethod
    def of(project: Path) -> Code:
        """Build the wheel of a clone.

        Raises:
            FinlakeError: The build failed.
        """
        text = (project / "constraints.txt").read_text(encoding="utf-8")
        pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE))
        return Code(build_wheel(project), project / "pipeline" / "glue_job.py", pins)


def key_of(file: Path, folder: str) -> str:
    """Key of a file in the scripts bucket: other bytes, another key.

    Args:
        file: The file.
        folder: ``wheels`` or ``jobs``.
    """
    return f"{folder}/{hashlib.sha256(file.read_bytes()).hexdigest()[:DIGITS]}/{file.name}"


def job_names(prefix: str, stage: str) -> list[str]:
    """Names of the jobs that each stage has, as Terraform makes them, those without parents first."""
    layers = [f"silver-{entity}" for level in load_order(load_contracts()) for entity in level]
    return [f"{prefix}-{stage}-{job}" for job in (*layers, "gold", "maintenance")]


def deploy(
    glue: GlueClient,
    s3: S3Client,
    code: Code,
    stage: str,
    *,
    prefix: str = "finlake",
    trial: str | None = None,
    report: Report = lambda _: None,
    poll_seconds: float = POLL_SECONDS,
    start_minutes: float = START_MINUTES,
) -> Deployed:
    """Point all jobs of a stage at new code, try one, and go back if that fails.

    Args:
        glue: Client of the stage's account and region.
        s3: The same for S3.
        code: What is to be deployed.
        stage: The stage.
        prefix: First part of its names.
        trial: Job to be run as a trial, without prefix and stage (such as ``silver-customers``); default the
            first Silver job, an empty text for none.
        report: Gets a short text while something is going on.
        poll_seconds: How often to look whether the trial has ended.
        start_minutes: How long the trial may wait for machines.

    Returns:
        What was done. When the trial failed, ``rolled_back`` and ``error`` are set.

    Raises:
        UsageError: There is no such trial job.
        FinlakeError: A job or the bucket is missing, or AWS refuses; no job has been changed then.
    """
    names = job_names(prefix, stage)
    jobs = [_get_job(glue, name, stage) for name in names]
    optional = f"{prefix}-{stage}-{OPTIONAL}"
    with suppress(glue.exceptions.EntityNotFoundException):
        jobs.append(glue.get_job(JobName=optional)["Job"])
        names.append(optional)
    short = {name.removeprefix(f"{prefix}-{stage}-"): name for name in names}
    if trial and trial not in short:
        raise UsageError(f"there is no job {trial!r}", f"jobs are: {', '.join(short)}")
    bucket = jobs[0]["Command"]["ScriptLocation"].split("/")[2]
    done = Deployed(stage)
    report("storing wheel and script")
    done.wheel, done.script = (
        _store(s3, bucket, file, folder, stage)
        for file, folder in ((code.wheel, "wheels"), (code.script, "jobs"))
    )
    before = {name: _update_of(glue, job) for name, job in zip(names, jobs, strict=True)}
    after = {name: _with_code(update, done, code.pins) for name, update in before.items()}
    try:
        for name in names:
            if after[name] != before[name]:
                report(f"updating {name}")
                glue.update_job(JobName=name, JobUpdate=after[name])  # type: ignore[arg-type]
                done.jobs.append(name)
        if trial != "":
            done.trial = short[trial] if trial else names[0]
            timeout = 60 * (start_minutes + float(after[done.trial].get("Timeout") or 0))
            logs = after[done.trial]["DefaultArguments"].get(LOGS, "/aws-glue/jobs")
            _try(glue, done, report, timeout=timeout, poll_seconds=poll_seconds, logs=logs)
    except BaseException as error:
        # Ctrl-C as well: half a deployment is worse than none.
        done.error = explained.with_hint if (explained := explain(error)) else str(error)
        _go_back(glue, before, done, report)
        if not isinstance(error, Exception):
            raise
    return done


def _get_job(glue: GlueClient, name: str, stage: str) -> JobTypeDef:
    try:
        return glue.get_job(JobName=name)["Job"]
    except glue.exceptions.EntityNotFoundException as error:
        raise FinlakeError(
            f"there is no Glue job {name}", f"make the stage first: finlake infra apply --env {stage}"
        ) from error


def _store(s3: S3Client, bucket: str, file: Path, folder: str, stage: str) -> str:
    """Store a file under its key, unless it is there. Returns its URI."""
    from botocore.exceptions import ClientError

    key = key_of(file, folder)
    try:
        if s3.list_objects_v2(Bucket=bucket, Prefix=key).get("KeyCount", 0) == 0:
            s3.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchBucket":
            raise FinlakeError(
                f"the bucket {bucket}, where the jobs find their code, does not exist",
                f"bring it back: finlake infra apply --env {stage}",
            ) from error
        raise
    return f"s3://{bucket}/{key}"


def _update_of(glue: GlueClient, job: JobTypeDef) -> dict[str, Any]:
    """A job's description as UpdateJob takes it: what is left out there goes back to Glue's defaults."""
    known = glue.meta.service_model.shape_for("JobUpdate").members  # type: ignore[attr-defined]
    sizes = OTHER_SIZES if job.get("WorkerType") else OTHER_SIZES[:1]
    # An empty text is what emulators say for "none"; UpdateJob knows no empty texts.
    return {name: value for name, value in job.items() if name in known and name not in sizes and value != ""}


def _with_code(update: Mapping[str, Any], code: Deployed, pins: Mapping[str, str]) -> dict[str, Any]:
    """A job's description with other code, and other versions of what it installs besides."""
    arguments = dict(update["DefaultArguments"])
    modules = [
        f"{name}=={pins[name]}" if (name := module.split("==")[0]) in pins else module
        for module in arguments[MODULES].split(",")[1:]
    ]
    arguments[MODULES] = ",".join([code.wheel, *modules])
    return {
        **update,
        "Command": {**update["Command"], "ScriptLocation": code.script},
        "DefaultArguments": arguments,
    }


def _try(
    glue: GlueClient, done: Deployed, report: Report, *, timeout: float, poll_seconds: float, logs: str
) -> None:
    """Run the trial job to its end.

    Raises:
        FinlakeError: It did not succeed, or not in time.
    """
    started = time.monotonic()
    try:
        done.run_id = glue.start_job_run(JobName=done.trial)["JobRunId"]
    except glue.exceptions.ConcurrentRunsExceededException as error:
        raise FinlakeError(f"{done.trial} is running already", "try again when that run has ended") from error
    while True:
        run = glue.get_job_run(JobName=done.trial, RunId=done.run_id)["JobRun"]
        done.state, done.seconds = run["JobRunState"], round(time.monotonic() - started, 1)
        if done.state not in GOING_ON:
            break
        if done.seconds > timeout:
            glue.batch_stop_job_run(JobName=done.trial, JobRunIds=[done.run_id])
            raise FinlakeError(
                f"{done.trial} was still {done.state} after {done.seconds:.0f} s (run {done.run_id})"
            )
        report(f"{done.trial} is {done.state.lower()}")
        time.sleep(poll_seconds)
    if done.state != "SUCCEEDED":
        said = run.get("ErrorMessage") or "no message"
        # Glue 5 has what a script says, errors too, in the first group, and what Spark says in the second;
        # the names of streams begin with the run's id.
        raise FinlakeError(
            f"{done.trial} ended as {done.state}: {said}; "
            f"its log is {done.run_id} in the log groups {logs}/output and {logs}/error"
        )


def _go_back(glue: GlueClient, before: Mapping[str, Any], done: Deployed, report: Report) -> None:
    """Point the changed jobs back at what they had; one that cannot be is named in the error."""
    stuck = []
    for name in done.jobs:
        report(f"taking back {name}")
        try:
            glue.update_job(JobName=name, JobUpdate=before[name])
        except Exception as error:  # the others still have to go back
            stuck.append(f"{name} ({error})")
    done.rolled_back = bool(done.jobs) and not stuck
    if stuck:
        done.error += f"; these could not be taken back, and have the new code: {', '.join(stuck)}"


# --- command line --------------------------------------------------------------------------------


def deploy_command(
    env: Annotated[
        str, typer.Option("--env", help="Stage: local, or one with a file terraform/envs/<stage>.tfvars.")
    ],
    *,
    trial: Annotated[
        str | None, typer.Option("--trial", help="Job to run as a trial; default the first Silver job.")
    ] = None,
    no_trial: Annotated[bool, typer.Option("--no-trial", help="Run no job.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask (for automation).")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON, for scripts.")] = False,
) -> None:
    """Give the Glue jobs of a stage this clone's code, try one, and go back if it fails.

    Exit code 0: deployed; 1: it failed, and the jobs have what they had; 2: called wrongly.

    Example: finlake deploy --env prod
    """
    if trial and no_trial:
        raise UsageError("--trial and --no-trial exclude each other")
    project = find_project()
    glue, s3 = _clients(project, env, quiet=as_json)
    code = Code.of(project)
    named = os.environ.get("FINLAKE_PREFIX") if env == LOCAL else None  # as `finlake infra` has it
    prefix = named or stage_value(project, env, "prefix") or "finlake"
    if env != LOCAL and not yes:
        typer.confirm(
            f"Give all jobs of {prefix}-{env} the code {key_of(code.wheel, 'wheels')}?", abort=True, err=True
        )
    with out.status("deploy") as status:
        done = deploy(
            glue,
            s3,
            code,
            env,
            prefix=prefix,
            trial="" if no_trial else trial,
            report=(lambda _: None) if as_json else status.update,
        )
    if as_json:
        print(json.dumps(asdict(done), indent=2))  # noqa: T201 - for scripts
    elif not done.error:
        changed = f"{len(done.jobs)} jobs have" if done.jobs else "all jobs had already"
        out.print(f"{changed} {done.wheel}")
        if done.trial:
            out.print(f"{done.trial} ended as {done.state} in {done.seconds:.0f} s")
    if done.error:
        what = "the jobs have what they had before" if done.rolled_back else "no job had been changed"
        raise FinlakeError(
            f"not deployed: {done.error}", None if "could not be taken back" in done.error else what
        )


def _clients(project: Path, stage: str, *, quiet: bool) -> tuple[GlueClient, S3Client]:
    """Clients for a stage, after it was made sure where they lead."""
    import boto3

    if stage == LOCAL:
        from pipeline.settings import load_settings

        load_settings()
        region = None
    else:
        check_cloud(project, stage, os.environ)
        who = read_account(project, stage)
        region = who.region
        if not quiet:
            out.print(f"AWS account {who.account}, region {who.region}, as {who.caller}", markup=False)
    return boto3.client("glue", region_name=region), boto3.client("s3", region_name=region)
