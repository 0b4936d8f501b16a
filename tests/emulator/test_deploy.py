"""New code for the jobs of a stage: all of them or none, and back when the trial fails."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from emulator.native import NativeStack
from pipeline.deploy import Code, deploy, job_names, key_of
from pipeline.errors import FinlakeError, UsageError

pytestmark = pytest.mark.emulator

STAGE = "dev"
TRIAL = "silver-customers"


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    stack = NativeStack(tmp_path_factory.mktemp("stack") / ".finlake", port)
    with pytest.MonkeyPatch.context() as patch:
        # These jobs are no real ones: MiniStack alone says of each that it succeeded.
        patch.setenv("FINLAKE_LOCAL_SERVICES", "")
        stack.up()
    environ = stack.environment()
    session = boto3.Session(
        aws_access_key_id="test", aws_secret_access_key="test", region_name=environ["AWS_REGION"]
    )
    yield tuple(session.client(name, endpoint_url=environ["AWS_ENDPOINT_URL"]) for name in ("glue", "s3"))
    stack.down()


class Stage:
    """A stage with jobs on old code, as Terraform makes them."""

    def __init__(self, glue: Any, s3: Any, prefix: str, folder: Path, more: tuple[str, ...] = ()) -> None:
        self.glue, self.s3, self.prefix = glue, s3, prefix
        self.names = [*job_names(prefix, STAGE), *(f"{prefix}-{STAGE}-{job}" for job in more)]
        self.bucket = f"{prefix}-{STAGE}-scripts"
        s3.create_bucket(
            Bucket=self.bucket, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name}
        )
        for name in self.names:
            glue.create_job(
                Name=name,
                Role="arn:aws:iam::000000000000:role/job",
                GlueVersion="5.1",
                WorkerType="G.1X",
                NumberOfWorkers=3,
                Timeout=45,
                MaxRetries=1,
                Command={
                    "Name": "glueetl",
                    "PythonVersion": "3",
                    "ScriptLocation": f"s3://{self.bucket}/jobs/old/job.py",
                },
                DefaultArguments={
                    "--additional-python-modules": f"s3://{self.bucket}/wheels/old/finlake-0.py3.whl,typer==0.1,other==1",
                    "--layer": "silver",
                },
            )
        wheel, script = folder / "finlake-1-py3-none-any.whl", folder / "job.py"
        wheel.write_bytes(prefix.encode())
        script.write_text("raise SystemExit\n")
        self.code = Code(wheel, script, {"typer": "9.9"})

    def deploy(self, **options: Any):
        return deploy(self.glue, self.s3, self.code, STAGE, prefix=self.prefix, poll_seconds=0.05, **options)

    def jobs(self) -> list[dict[str, Any]]:
        """What the jobs are, but for when they were changed."""
        found = [self.glue.get_job(JobName=name)["Job"] for name in self.names]
        return [{key: value for key, value in job.items() if key != "LastModifiedOn"} for job in found]


@pytest.fixture
def stage(clients: tuple[Any, Any], tmp_path: Path, request: pytest.FixtureRequest) -> Stage:
    return Stage(*clients, prefix=f"s{abs(hash(request.node.name)) % 10**8}", folder=tmp_path)


def ends(stage: Stage, monkeypatch: pytest.MonkeyPatch, *states: str, message: str = "") -> list[str]:
    """Let the trial go through these states; the last one stays. Returns the runs that were stopped."""
    left, stopped = list(states), []

    def get_job_run(**_: str) -> dict[str, Any]:
        state = left.pop(0) if len(left) > 1 else left[0]
        return {"JobRun": {"JobRunState": state, "ErrorMessage": message}}

    monkeypatch.setattr(stage.glue, "get_job_run", get_job_run)
    monkeypatch.setattr(stage.glue, "batch_stop_job_run", lambda **asked: stopped.extend(asked["JobRunIds"]))
    return stopped


def test_all_jobs_get_the_code_and_one_is_tried(stage: Stage) -> None:
    before = stage.jobs()
    done = stage.deploy()
    assert (done.error, done.rolled_back, done.state) == ("", False, "SUCCEEDED")
    assert (done.jobs, done.trial) == (stage.names, f"{stage.prefix}-{STAGE}-{TRIAL}")
    assert done.run_id
    wheel = f"s3://{stage.bucket}/{key_of(stage.code.wheel, 'wheels')}"
    for old, new in zip(before, stage.jobs(), strict=True):
        assert new["DefaultArguments"]["--additional-python-modules"] == f"{wheel},typer==9.9,other==1"
        assert new["Command"]["ScriptLocation"] == f"s3://{stage.bucket}/{key_of(stage.code.script, 'jobs')}"
        for kept in ("Role", "GlueVersion", "WorkerType", "NumberOfWorkers", "Timeout", "MaxRetries"):
            assert new[kept] == old[kept], "UpdateJob sets back what is left out"
    stored = stage.s3.get_object(Bucket=stage.bucket, Key=key_of(stage.code.wheel, "wheels"))["Body"].read()
    assert stored == stage.code.wheel.read_bytes()


def test_a_job_that_only_some_stages_have_gets_the_code_as_well(
    clients: tuple[Any, Any], tmp_path: Path
) -> None:
    stage = Stage(*clients, prefix="scores", folder=tmp_path, more=("scoring",))
    done = stage.deploy(trial="scoring")
    assert (done.error, done.jobs, done.trial) == ("", stage.names, f"scores-{STAGE}-scoring")


def test_the_same_code_again_changes_no_job_but_is_tried(stage: Stage) -> None:
    stage.deploy()
    before = stage.jobs()
    done = stage.deploy()
    assert (done.jobs, done.state, done.error) == ([], "SUCCEEDED", "")
    assert stage.jobs() == before


def test_a_failed_trial_brings_all_jobs_back(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stage.jobs()
    ends(stage, monkeypatch, "STARTING", "RUNNING", "FAILED", message="ModuleNotFoundError: typer")
    done = stage.deploy(trial="silver-loans")
    assert done.rolled_back
    assert done.trial == f"{stage.prefix}-{STAGE}-silver-loans"
    assert "ended as FAILED" in done.error
    assert "ModuleNotFoundError: typer" in done.error
    assert stage.jobs() == before


def test_a_trial_that_does_not_end_is_stopped_and_taken_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stage.jobs()
    stopped = ends(stage, monkeypatch, "RUNNING")
    done = stage.deploy(start_minutes=-45)
    assert "was still RUNNING" in done.error
    assert stopped == [done.run_id]
    assert stage.jobs() == before


def test_ctrl_c_takes_back_what_was_done(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    before = stage.jobs()

    def interrupted(**_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(stage.glue, "get_job_run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stage.deploy()
    assert stage.jobs() == before


def refuse(operation: str, code: str, message: str, *, from_call: int = 1):
    """A client's method that works until it is refused."""

    def wrap(real):
        calls = 0

        def call(**arguments: Any):
            nonlocal calls
            calls += 1
            if calls == from_call:
                raise ClientError({"Error": {"Code": code, "Message": message}}, operation)
            return real(**arguments)

        return call

    return wrap


def test_a_job_that_may_not_be_changed_leaves_none_changed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stage.jobs()
    said = "User: x is not authorized to perform: glue:UpdateJob on resource: job/y"
    refused = refuse("UpdateJob", "AccessDeniedException", said, from_call=3)(stage.glue.update_job)
    monkeypatch.setattr(stage.glue, "update_job", refused)
    done = stage.deploy()
    assert done.rolled_back
    assert len(done.jobs) == 2
    assert "glue:UpdateJob" in done.error
    assert (done.run_id, stage.jobs()) == ("", before)


def test_a_job_that_cannot_be_taken_back_is_named(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    ends(stage, monkeypatch, "FAILED", message="broken")
    real, jobs = stage.glue.update_job, len(stage.names)
    refused = refuse("UpdateJob", "ThrottlingException", "Rate exceeded", from_call=jobs + 2)(real)
    monkeypatch.setattr(stage.glue, "update_job", refused)
    done = stage.deploy()
    assert not done.rolled_back
    assert f"have the new code: {stage.names[1]} (" in done.error


def test_a_trial_of_a_job_that_runs_already_is_taken_back(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = stage.jobs()

    def busy(**_: str) -> None:
        raise stage.glue.exceptions.ConcurrentRunsExceededException({"Error": {"Code": "x"}}, "StartJobRun")

    monkeypatch.setattr(stage.glue, "start_job_run", busy)
    done = stage.deploy()
    assert "is running already" in done.error
    assert stage.jobs() == before


def test_no_trial_is_run_where_none_is_wanted(stage: Stage) -> None:
    done = stage.deploy(trial="")
    assert (done.trial, done.run_id, done.error, len(done.jobs)) == ("", "", "", len(stage.names))


def test_a_missing_bucket_is_named_before_any_job_is_changed(stage: Stage) -> None:
    before = stage.jobs()
    stage.s3.delete_bucket(Bucket=stage.bucket)
    with pytest.raises(FinlakeError, match=f"bucket {stage.bucket}.* does not exist") as caught:
        stage.deploy()
    assert caught.value.hint == f"bring it back: finlake infra apply --env {STAGE}"
    assert stage.jobs() == before


def test_a_missing_stage_is_named(clients: tuple[Any, Any], stage: Stage) -> None:
    with pytest.raises(FinlakeError, match="no Glue job nowhere-dev-silver-customers") as caught:
        deploy(*clients, stage.code, STAGE, prefix="nowhere")
    assert "finlake infra apply --env dev" in str(caught.value.hint)


def test_an_unknown_trial_is_refused(stage: Stage) -> None:
    with pytest.raises(UsageError, match="no job 'silver-client'") as caught:
        stage.deploy(trial="silver-client")
    assert "silver-customers" in str(caught.value.hint)
