"""What Glue's API costs: a job started by ``StartJobRun`` against the same script by ``spark-submit``.

    python -m bench.glue_job --pairs 5 --page bench/results/glue_job.md

Starts a stack of its own in a temporary folder. Both run the same script with the same settings, from the
request, or the command, to the end that a client sees. Pairs alternate (job, command, command, job, ...);
what counts is the median of the pairs' differences.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import boto3

from emulator.glue.command import spark_conf
from emulator.glue.settings import GlueSettings
from emulator.native import NativeStack
from emulator.process import free_port

GOAL_SECONDS = 1.0
BUCKET = "glue-bench"
POLL_SECONDS = 0.05
SCRIPT = """from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
spark.range(10).write.format("delta").mode("overwrite").save("s3://glue-bench/numbers")
print(spark.read.format("delta").load("s3://glue-bench/numbers").count())
"""
CREDENTIALS = "com.amazonaws.auth.DefaultAWSCredentialsProviderChain"
DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}


def main() -> int:
    """Measure and print a table; 1 if the goal is missed."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        stack = NativeStack(Path(folder) / ".finlake", free_port(4850))
        stack.up()
        try:
            pairs = measure(stack, Path(folder), options.pairs)
        finally:
            stack.down()
    differences = [job - command for job, command in pairs]
    median = statistics.median(differences)
    met = "met" if median <= GOAL_SECONDS else "missed"
    ratio = statistics.median(job / command for job, command in pairs)
    rows = [
        "| StartJobRun | spark-submit | difference | ratio | goal | |",
        "| ---: | ---: | ---: | ---: | ---: | --- |",
        f"| {statistics.median(job for job, _ in pairs):.1f} s "
        f"| {statistics.median(command for _, command in pairs):.1f} s "
        f"| {median:+.1f} s ({min(differences):+.1f} to {max(differences):+.1f}) "
        f"| {ratio:.2f} | {GOAL_SECONDS:+.1f} s | {met} |",
    ]
    text = "\n".join(rows)
    print(text)
    if options.page:
        head = "# A Glue job against spark-submit\n\n```bash\npython -m bench.glue_job --page FILE\n```\n\n"
        about = f"Medians of {len(pairs)} pairs, to the end that a client sees; {os.cpu_count()} cores.\n"
        options.page.write_text(f"{head}{about}\n{text}\n", encoding="utf-8")
    return int(median > GOAL_SECONDS)


def measure(stack: NativeStack, folder: Path, count: int) -> list[tuple[float, float]]:
    """Seconds of a job and of the command, in pairs; the first pair, which warms up, is left out."""
    environment = stack.environment()

    def client(service: str) -> Any:  # noqa: ANN401
        return boto3.client(
            service,
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            region_name=environment["AWS_REGION"],
            aws_access_key_id="test",
            aws_secret_access_key="test",  # noqa: S106
        )

    s3, glue = client("s3"), client("glue")
    s3.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": environment["AWS_REGION"]}
    )
    s3.put_object(Bucket=BUCKET, Key="script.py", Body=SCRIPT.encode())
    glue.create_job(
        Name="bench",
        Role="arn:aws:iam::000000000000:role/bench",
        Command={"Name": "glueetl", "ScriptLocation": f"s3://{BUCKET}/script.py", "PythonVersion": "3"},
        DefaultArguments={
            "--datalake-formats": "delta",
            "--conf": " --conf ".join(f"{name}={value}" for name, value in DELTA.items()),
        },
        GlueVersion="5.1",
    )
    script = folder / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    pairs = []
    for number in range(count + 1):
        measurements = [("job", lambda: run_job(glue)), ("command", lambda: submit(script, environment))]
        seconds = {name: work() for name, work in (measurements if number % 2 else measurements[::-1])}
        pairs.append((seconds["job"], seconds["command"]))
    return pairs[1:]


def run_job(glue: Any) -> float:  # noqa: ANN401
    """Seconds from the request to the end of a run."""
    clock = time.monotonic()
    identity = glue.start_job_run(JobName="bench")["JobRunId"]
    while True:
        run = glue.get_job_run(JobName="bench", RunId=identity)["JobRun"]
        if run["JobRunState"] not in {"STARTING", "RUNNING"}:
            break
        time.sleep(POLL_SECONDS)
    if run["JobRunState"] != "SUCCEEDED":
        raise SystemExit(f"the job ended as {run['JobRunState']}: {run.get('ErrorMessage')}")
    return time.monotonic() - clock


def submit(script: Path, environment: dict[str, str]) -> float:
    """Seconds of the command that a user would type."""
    settings = GlueSettings()
    base = {
        "spark.master": f"local[{settings.cores}]",
        "spark.driver.memory": settings.driver_memory,
        "spark.ui.enabled": "false",
        "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
        "spark.hadoop.fs.s3a.endpoint": environment["AWS_ENDPOINT_URL_S3"],
        "spark.hadoop.fs.s3a.endpoint.region": environment["AWS_REGION"],
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": "false",
        "spark.hadoop.fs.s3a.directory.marker.retention": "keep",
        "spark.hadoop.fs.s3a.aws.credentials.provider": CREDENTIALS,
    }
    conf = spark_conf(base, DELTA, sorted(settings.jars.glob("*.jar")), frozenset({"delta"}))
    command = [f"{settings.spark_home}/bin/spark-submit"]
    command += [part for name, value in conf.items() for part in ("--conf", f"{name}={value}")]
    variables = {"SPARK_HOME": str(settings.spark_home), "PYSPARK_PYTHON": sys.executable}
    clock = time.monotonic()
    subprocess.run(
        [*command, str(script)],
        env=os.environ | environment | variables | {"SPARK_LOCAL_IP": "127.0.0.1"},
        check=True,
        capture_output=True,
    )
    return time.monotonic() - clock


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=5, help="measurements that count (default: 5)")
    parser.add_argument("--page", type=Path, help="also write the table into this file")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
