"""Glue's jobs: that their scripts run, and what becomes of scripts that fail, hang, eat memory or vanish."""

from __future__ import annotations

import os
import signal
import time
import zipfile
from collections.abc import Iterator
from io import BytesIO

import psutil
import pytest
from glue_stack import BUCKET, GOING, ROLE, Glue, code, glue_stack, wait

from emulator.glue.runner import is_alive

pytestmark = pytest.mark.emulator

MINUTE = 2  # seconds, for these tests
FOREVER = """
    import subprocess, sys, time
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"])
    print("started", child.pid, flush=True)
    time.sleep(3600)
"""


def has_ended(pid: int) -> bool:
    """Whether a process does nothing any more; the machine's first process may list it for a while."""
    return not psutil.pid_exists(pid) or not is_alive(psutil.Process(pid))


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glue]:
    with glue_stack(tmp_path_factory.mktemp("glue"), FINLAKE_GLUE_MINUTE_SECONDS=str(MINUTE)) as stack:
        yield stack


def test_a_script_runs_with_the_arguments_of_its_job_and_of_its_run(aws: Glue) -> None:
    run = aws.done(
        """
        import os, sys
        from awsglue.utils import getResolvedOptions
        print(getResolvedOptions(sys.argv, ["layer", "day", "fixed"]))
        print(os.environ["AWS_ENDPOINT_URL"], os.environ["AWS_ACCESS_KEY_ID"])
        """,
        arguments={"--day": "2026-01-02", "--fixed": "no"},
        DefaultArguments={"--layer": "silver", "--day": "none"},
        NonOverridableArguments={"--fixed": "yes"},
    )
    assert run["JobRunState"] == "SUCCEEDED", run
    options, endpoint = aws.said(run).splitlines()
    given = eval(options)  # noqa: S307 - written by the script above
    names = {"JOB_NAME": run["JobName"], "JOB_RUN_ID": run["Id"]}
    assert given == {"layer": "silver", "day": "2026-01-02", "fixed": "yes", **names}
    assert endpoint == f"http://127.0.0.1:{aws.stack.port} test"
    assert run["LogGroupName"] == "/aws-glue/python-jobs"
    assert run["StartedOn"] <= run["CompletedOn"]
    assert run["Attempt"] == 0
    assert "ErrorMessage" not in run


def test_a_traceback_is_told_by_its_last_line_and_is_in_the_log(aws: Glue) -> None:
    run = aws.done("def f():\n    raise ValueError('the day is over')\nprint('before')\nf()\n")
    assert (run["JobRunState"], run.get("ErrorMessage")) == ("FAILED", "ValueError: the day is over")
    assert aws.said(run) == "before"
    assert "in f" in aws.said(run, "error")


def test_an_exit_code_fails_a_run(aws: Glue) -> None:
    run = aws.done("exit(3)")
    assert (run["JobRunState"], run.get("ErrorMessage")) == ("FAILED", "Command failed with exit code 3")


def test_a_script_that_is_not_there_fails_its_run(aws: Glue) -> None:
    name = aws.job("print()")
    aws.client("s3").delete_object(Bucket=BUCKET, Key=f"jobs/{name}.py")
    run = aws.ended(name, aws.start(name))
    assert run["JobRunState"] == "FAILED"
    assert f"jobs/{name}.py does not exist" in run["ErrorMessage"]


def test_a_script_that_eats_memory_is_ended_and_others_go_on(aws: Glue) -> None:
    # A Python shell job of 1/16 DPU has 1 GB.
    name = aws.job("held = []\nwhile True: held.append(bytearray(b'x') * 50_000_000)", MaxCapacity=0.0625)
    identity = aws.start(name)
    assert aws.done("print('meanwhile')")["JobRunState"] == "SUCCEEDED"
    run = aws.ended(name, identity)
    assert (run["JobRunState"], run.get("ErrorMessage")) == ("FAILED", "Command failed out of memory")


def test_a_script_that_never_ends_times_out_with_all_its_processes(aws: Glue) -> None:
    name = aws.job(FOREVER, Timeout=1)
    run = aws.ended(name, aws.start(name))
    assert run["JobRunState"] == "TIMEOUT"
    assert MINUTE <= run["ExecutionTime"] < MINUTE + 5
    child = int(aws.said(run).split()[1])
    assert has_ended(child)


def test_a_run_is_stopped(aws: Glue) -> None:
    name = aws.job(FOREVER, Timeout=100)
    identity = aws.start(name)
    aws.running(name, identity)
    answer = aws.glue.batch_stop_job_run(JobName=name, JobRunIds=[identity, "jr_none"])
    assert [one["JobRunId"] for one in answer["SuccessfulSubmissions"]] == [identity]
    assert answer["Errors"][0]["ErrorDetail"]["ErrorCode"] == "EntityNotFoundException"
    assert aws.run(name, identity)["JobRunState"] in ("STOPPING", "STOPPED")
    assert aws.ended(name, identity)["JobRunState"] == "STOPPED"
    again = aws.glue.batch_stop_job_run(JobName=name, JobRunIds=[identity])
    assert again["Errors"][0]["ErrorDetail"]["ErrorCode"] == "InvalidInputException"


def test_no_more_runs_at_a_time_than_the_job_allows(aws: Glue) -> None:
    name = aws.job(FOREVER, Timeout=100)  # one is the default
    assert aws.glue.get_job(JobName=name)["Job"]["ExecutionProperty"] == {"MaxConcurrentRuns": 1}
    identity = aws.start(name)
    assert code(aws.glue.start_job_run, JobName=name) == "ConcurrentRunsExceededException"
    aws.glue.batch_stop_job_run(JobName=name, JobRunIds=[identity])
    aws.ended(name, identity)
    other = aws.job("import time; time.sleep(1)", ExecutionProperty={"MaxConcurrentRuns": 2})
    both = [aws.start(other), aws.start(other)]
    assert code(aws.glue.start_job_run, JobName=other) == "ConcurrentRunsExceededException"
    assert {aws.ended(other, one)["JobRunState"] for one in both} == {"SUCCEEDED"}


def test_a_failed_run_is_tried_again_until_it_succeeds(aws: Glue) -> None:
    name = aws.job(
        """
        import sys
        if not sys.argv[sys.argv.index("--JOB_RUN_ID") + 1].endswith("_attempt_2"):
            raise RuntimeError("not yet")
        """,
        MaxRetries=3,
    )
    first = aws.start(name)
    runs = wait(
        lambda: aws.glue.get_job_runs(JobName=name)["JobRuns"],
        lambda runs: len(runs) == 3 and runs[0]["JobRunState"] not in GOING,
    )
    assert [(run["Attempt"], run["JobRunState"]) for run in runs] == [
        (2, "SUCCEEDED"), (1, "FAILED"), (0, "FAILED"),
    ]  # fmt: skip
    assert runs[0]["PreviousRunId"] == f"{first}_attempt_1"


def test_runs_are_listed_in_pages_the_newest_first(aws: Glue) -> None:
    name = aws.job("print()")
    runs = []
    for _ in range(3):
        runs.append(aws.start(name))
        aws.ended(name, runs[-1])
    pages = list(aws.glue.get_paginator("get_job_runs").paginate(JobName=name, MaxResults=2))
    listed = [[run["Id"] for run in page["JobRuns"]] for page in pages]
    assert listed == [[runs[2], runs[1]], [runs[0]]]


def test_what_is_not_there_is_told_by_aws_names(aws: Glue) -> None:
    name = aws.job("print()")
    assert code(aws.glue.start_job_run, JobName="none") == "EntityNotFoundException"
    assert code(aws.glue.get_job_runs, JobName="none") == "EntityNotFoundException"
    assert code(aws.glue.get_job_run, JobName=name, RunId="jr_none") == "EntityNotFoundException"


@pytest.mark.parametrize(
    "arguments",
    [
        {"--job-bookmark-option": "job-bookmark-enable"},
        {"--datalake-formats": "delta,hudi"},
        {"--job-language": "scala"},
        {"--extra-jars": "s3://bucket/a.jar"},
        {"--conf": "no setting"},
    ],
)
def test_what_is_not_done_here_is_refused_and_not_ignored(aws: Glue, arguments: dict[str, str]) -> None:
    name = aws.job("print()", "glueetl")
    assert code(aws.glue.start_job_run, JobName=name, Arguments=arguments) == "InvalidInputException"
    assert aws.glue.get_job_runs(JobName=name)["JobRuns"] == []


def test_a_job_of_a_kind_not_run_here_is_refused(aws: Glue) -> None:
    name = aws.job("print()", "gluestreaming")
    assert code(aws.glue.start_job_run, JobName=name) == "InvalidInputException"


def wheel(name: str, source: str) -> bytes:
    data = BytesIO()
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(f"{name}.py", source)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return data.getvalue()


def test_a_wheel_and_further_files_are_there_to_import(aws: Glue) -> None:
    zipped = BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("packed.py", "WHAT = 'zip'")
    places = [aws.put("extra/packed.zip", zipped.getvalue()), aws.put("extra/single.py", "WHAT = 'py'")]
    installed = aws.put("wheels/glued-1.0-py3-none-any.whl", wheel("glued", "WHAT = 'wheel'"))
    run = aws.done(
        "import glued, packed, single, boto3\nprint(glued.WHAT, packed.WHAT, single.WHAT)",
        DefaultArguments={
            "--additional-python-modules": f"{installed},boto3>=1.40",
            "--extra-py-files": ",".join(places),
        },
    )
    assert (run["JobRunState"], aws.said(run)) == ("SUCCEEDED", "wheel zip py"), run.get("ErrorMessage")


def test_modules_that_cannot_be_installed_fail_a_run(aws: Glue) -> None:
    broken = aws.put("wheels/broken-1.0-py3-none-any.whl", b"no wheel")
    run = aws.done("print('never')", DefaultArguments={"--additional-python-modules": broken})
    assert run["JobRunState"] == "FAILED"
    assert "modules that failed to install" in run["ErrorMessage"]
    assert aws.said(run) == ""
    assert "broken" in aws.said(run, "error")


def test_a_log_group_may_be_the_jobs_own(aws: Glue) -> None:
    run = aws.done("print('here')", DefaultArguments={"--custom-logGroup-prefix": "/lake/jobs/own"})
    assert run["LogGroupName"] == "/lake/jobs/own"
    assert aws.said(run) == "here"


def test_the_output_of_a_run_can_be_followed(aws: Glue) -> None:
    name = aws.job("import time\nprint('first', flush=True)\ntime.sleep(3600)", Timeout=100)
    identity = aws.start(name)
    run = aws.running(name, identity)
    wait(lambda: aws.said(run), lambda said: said == "first")
    aws.glue.batch_stop_job_run(JobName=name, JobRunIds=[identity])
    aws.ended(name, identity)


def test_accounts_and_regions_are_kept_apart(aws: Glue) -> None:
    name = aws.job("print()")
    aws.ended(name, aws.start(name))
    same = aws.client("glue", key="another")
    assert len(same.get_job_runs(JobName=name)["JobRuns"]) == 1, "an account has many keys"
    for other in (aws.client("glue", region="us-east-1"), aws.client("glue", key="111111111111")):
        assert code(other.get_job_runs, JobName=name) == "EntityNotFoundException"


def test_a_job_on_spark_reads_and_writes_delta(aws: Glue) -> None:
    script = f"""
        import sys
        from awsglue.context import GlueContext
        from awsglue.job import Job
        from awsglue.utils import getResolvedOptions
        from pyspark.context import SparkContext
        args = getResolvedOptions(sys.argv, ["JOB_NAME"])
        context = GlueContext(SparkContext.getOrCreate())
        spark = context.spark_session
        job = Job(context)
        job.init(args["JOB_NAME"], args)
        table = "s3://{BUCKET}/silver/numbers"
        spark.range(7).write.format("delta").save(table)
        rows = spark.read.format("delta").load(table).count()
        print(spark.version, rows, spark.conf.get("spark.sql.shuffle.partitions"))
        job.commit()
    """
    conf = (
        "spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension"
        " --conf spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog"
        " --conf spark.sql.shuffle.partitions=3"
    )
    run = aws.done(
        script,
        "glueetl",
        DefaultArguments={"--datalake-formats": "delta", "--conf": conf},
        WorkerType="G.1X",
        NumberOfWorkers=2,
        GlueVersion="5.1",
        Timeout=60,
    )
    assert run["JobRunState"] == "SUCCEEDED", run["ErrorMessage"] + aws.said(run, "error")
    assert aws.said(run).splitlines() == ["3.5.6 7 3"]
    assert run["LogGroupName"] == "/aws-glue/jobs"
    assert run["DPUSeconds"] == 2 * run["ExecutionTime"] > 0


def test_nothing_of_a_run_outlives_the_gateway_even_when_it_is_killed(aws: Glue) -> None:
    name = aws.job(FOREVER, Timeout=100)
    identity = aws.start(name)
    run = aws.running(name, identity)
    said = wait(lambda: aws.said(run), lambda said: said.startswith("started"))
    child = int(said.split()[1])
    gateway = aws.stack.gateway.running()
    assert gateway
    os.kill(gateway.pid, signal.SIGKILL)
    end = time.monotonic() + 15
    while not has_ended(child):
        assert time.monotonic() < end, "a job's process is left"
        time.sleep(0.1)
    aws.stack.up()
    assert aws.run(name, identity)["JobRunState"] == "STOPPED"
    assert aws.done("print('again')")["JobRunState"] == "SUCCEEDED"


def test_definitions_read_back_as_they_were_written(aws: Glue) -> None:
    location = aws.put("jobs/same.py", "print()")
    written = {
        "Role": ROLE,
        "Command": {"Name": "glueetl", "ScriptLocation": location, "PythonVersion": "3"},
        "ExecutionProperty": {"MaxConcurrentRuns": 3},
        "NotificationProperty": {"NotifyDelayAfter": 5},
        "MaxRetries": 1,
        "GlueVersion": "5.1",
        "WorkerType": "G.1X",
        "NumberOfWorkers": 2,
    }
    aws.glue.create_job(Name="same", **written)
    job = aws.glue.get_job(JobName="same")["Job"]
    assert {name: job.get(name) for name in written} == written
    assert not {"MaxCapacity", "Connections", "SecurityConfiguration"} & set(job)
    aws.glue.update_job(JobName="same", JobUpdate={"Role": ROLE, "Command": written["Command"]})
    job = aws.glue.get_job(JobName="same")["Job"]
    assert job["ExecutionProperty"] == {"MaxConcurrentRuns": 1}
    assert "NotificationProperty" not in job
    assert "same" in aws.glue.list_jobs(MaxResults=1000)["JobNames"]
    batch = aws.glue.batch_get_jobs(JobNames=["same", "none"])
    assert ([one["Name"] for one in batch["Jobs"]], batch["JobsNotFound"]) == (["same"], ["none"])
