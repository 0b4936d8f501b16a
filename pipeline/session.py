"""The Spark session: Delta and S3 ready, the same on a laptop and as far as AWS Glue lets us."""

from __future__ import annotations

import os
import socket
import sys
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import FinlakeError
from pipeline.settings import SPARK_REMOTE, find_home
from pipeline.storage import http_endpoint

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

# One Bronze file is one task: only then does a line's position in its partition give its line
# number. The value is far above any file's size, and small enough that sums of it do not overflow.
ONE_FILE_PER_TASK = str(2**40)

MANAGED = "FINLAKE_SPARK_MANAGED"  # set by the Glue job's script
CONNECT_SECONDS = 5
# In milliseconds: 6 tries within some 10 seconds.
RETRY_POLICY = {"max_retries": 6, "initial_backoff": 100, "max_backoff": 4000, "backoff_multiplier": 2.5}
LOG_CONFIG = Path(__file__).parent / "log4j2.properties"

# Most of a small run's processor time is the JVM compiling Spark's generated code. Ten times the
# usual thresholds leave the optimising compiler to code that is really hot: an initial load of
# 1,000 customers took 95 instead of 110 processor seconds, the increment after it 53 instead of 72.
COMPILER_OPTIONS = (
    "-XX:Tier4InvocationThreshold=50000",
    "-XX:Tier4MinInvocationThreshold=6000",
    "-XX:Tier4CompileThreshold=150000",
    "-XX:Tier4BackEdgeThreshold=400000",
    "-XX:ReservedCodeCacheSize=512m",  # generated code adds up in a long session; a full cache ends the JVM
)

RUNTIME_CONF = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.files.maxPartitionBytes": ONE_FILE_PER_TASK,
    "spark.sql.files.openCostInBytes": ONE_FILE_PER_TASK,
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # A date of birth in the year 198, once mistyped, must not stop the write of a whole batch.
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.adaptive.enabled": "true",
    "spark.sql.sources.parallelPartitionDiscovery.threshold": "256",
    "spark.databricks.delta.snapshotPartitions": "2",
    # Deriving and comparing constraints took a third of the planning of these wide plans, for nothing:
    # the filters that it could find are written out.
    "spark.sql.constraintPropagation.enabled": "false",
    # Silver's tables have no partitions to prune, and looking for some took half of what is left.
    "spark.sql.optimizer.dynamicPartitionPruning.enabled": "false",
    # Java compiles no method of more than 8,000 bytes. Judging a row makes one of 24,000, which was
    # interpreted, for each row; above the limit, Spark makes a method for each expression instead.
    "spark.sql.codegen.hugeMethodLimit": "8000",
    # What Spark's web pages show of a plan is made for each statement, whether anybody looks or not.
    "spark.sql.ui.explainMode": "simple",
    # As few tasks as 64 MB each allow, instead of one per core however little there is to do.
    "spark.sql.adaptive.coalescePartitions.parallelismFirst": "false",
    # A merge's source is staged in files that do not change: Delta need not copy it once more.
    "spark.databricks.delta.merge.materializeSource": "none",
}

STATIC_CONF = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.warehouse.dir": ".finlake/warehouse",
    "spark.sql.shuffle.partitions": "8",
    "spark.driver.memory": "2g",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.scheduler.mode": "FAIR",
    # A run needs some 270 generated classes. By default 100 are kept, so that none lasts to the next run.
    # Each holds its source, some hundred kilobytes; a server that serves for days must not keep them all.
    "spark.sql.codegen.cache.maxEntries": "1500",
    # So do the plans that Spark's web pages show: by default of the last 1,000 statements, jobs and stages.
    "spark.sql.ui.retainedExecutions": "50",
    "spark.ui.retainedJobs": "200",
    "spark.ui.retainedStages": "200",
    "spark.ui.retainedTasks": "5000",
    "spark.hadoop.fs.s3.impl": "org.apache.hadoop.fs.s3a.S3AFileSystem",
    "spark.hadoop.fs.s3a.directory.marker.retention": "keep",
    "spark.hadoop.fs.s3a.experimental.input.fadvise": "normal",
    "spark.hadoop.fs.s3a.connection.maximum": "64",
    # S3 that does not answer is waited for half a minute, as everywhere (see storage.PATIENCE): five times
    # three seconds by the SDK, whose pauses begin at 0.1 s and double, and fifteen between these. Hadoop's
    # own numbers come to more than an hour, in which a run would say nothing.
    "spark.hadoop.fs.s3a.attempts.maximum": "7",
    "spark.hadoop.fs.s3a.retry.limit": "4",
    "spark.hadoop.fs.s3a.retry.interval": "500ms",
    "spark.hadoop.fs.s3a.retry.throttle.limit": "4",
    "spark.hadoop.fs.s3a.retry.throttle.interval": "500ms",
    "spark.hadoop.fs.s3a.aws.credentials.provider": "com.amazonaws.auth.DefaultAWSCredentialsProviderChain",
    "spark.delta.logStore.s3.impl": "io.delta.storage.S3SingleDriverLogStore",
    # Version checksums are written by a rename, which S3A can only do by copying; no reader needs them.
    "spark.databricks.delta.writeChecksumFile.enabled": "false",
}


@cache
def start_session() -> SparkSession:
    """Return this process's Spark session; start it when it is not there yet.

    With ``SPARK_REMOTE`` set, it is a session on that Spark Connect server. On AWS Glue, Spark is
    running already with Glue's own settings, and only the runtime settings are added.

    Raises:
        FinlakeError: The Spark Connect server does not answer.
    """
    remote = os.environ.get(SPARK_REMOTE)
    if remote:
        spark = _remote_session(remote)
    elif is_managed():
        from pipeline.glue_session import managed_session

        spark = managed_session()
    else:
        os.environ.pop(SPARK_REMOTE, None)  # PySpark takes an empty one for an address
        spark = local_session()
    for key, value in RUNTIME_CONF.items():
        spark.conf.set(key, value)
    return spark


def is_managed() -> bool:
    """Whether Spark, Delta and S3 are already set up by whoever started this process, as on AWS Glue."""
    return MANAGED in os.environ


def _remote_session(remote: str) -> SparkSession:
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.client import ChannelBuilder

    channel = ChannelBuilder(remote)
    host, _, port = channel.endpoint.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise FinlakeError(
            f"the Spark server at {host}:{port} does not answer ({error.strerror or error})",
            "start it again with `make up`, or set SPARK_REMOTE= (empty) for a Spark of this command's own",
        ) from error
    # When the server is gone, this is said in finlake's words.
    warnings.filterwarnings("ignore", "ReleaseExecute failed", module="pyspark.sql.connect")
    session = SparkSession.builder.remote(remote).getOrCreate()
    # By default it tries for more than ten minutes to reach a server that is gone.
    session.client._retry_policy.update(RETRY_POLICY)
    return session


def local_session(more: Mapping[str, str] | None = None, *, log_to_console: bool = False) -> SparkSession:
    """Start Spark in this process.

    Args:
        more: Settings besides finlake's own.
        log_to_console: Spark's warnings go to stderr; otherwise to a file, so that people see finlake's only.
    """
    from pyspark.sql import SparkSession

    from pipeline import class_archive
    from pipeline.jars import class_path, ensure_jars

    ensure_jars()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    cores = os.environ.get("FINLAKE_CORES", "*")
    builder = SparkSession.builder.master(f"local[{cores}]").appName("finlake")
    conf = STATIC_CONF | RUNTIME_CONF | _endpoint_conf() | dict(more or {})
    conf["spark.driver.extraClassPath"] = class_path()
    conf["spark.driver.extraJavaOptions"] = " ".join(
        [
            "-Duser.timezone=UTC",
            "-XX:+UseParallelGC",
            "-XX:-UsePerfData",
            "-XX:+DisplayVMOutputToStderr",  # stdout is for results, such as those of --json
            # Otherwise Java searches all jars for an XML parser, for each listing that S3 answers with.
            "-Dorg.xml.sax.driver=com.sun.org.apache.xerces.internal.parsers.SAXParser",
            *COMPILER_OPTIONS,
            *class_archive.java_options(),
            f"-Dlog4j2.configurationFile={LOG_CONFIG.as_uri()}",
            f"-Dfinlake.log={os.devnull if log_to_console else _log_file()}",
            f"-Dfinlake.log.to={'console' if log_to_console else 'file'}",
        ]
    )
    for key, value in conf.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def _log_file() -> str:
    """Where the warnings of a command's own Spark go."""
    home = find_home()
    if home is None:
        return os.devnull
    (home / "logs").mkdir(exist_ok=True)
    return str(home / "logs" / "spark.log")


def _endpoint_conf() -> dict[str, str]:
    """S3A does not read the SDKs' endpoint variables, so they are handed on."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint:
        return {}
    return {
        "spark.hadoop.fs.s3a.endpoint": endpoint,
        "spark.hadoop.fs.s3a.endpoint.region": os.environ.get("AWS_REGION", "eu-central-1"),
        "spark.hadoop.fs.s3a.path.style.access": "true",
        "spark.hadoop.fs.s3a.connection.ssl.enabled": str(not http_endpoint()).lower(),
    }
