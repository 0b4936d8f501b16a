"""The Spark session of a job of Glue, which never is one through Spark Connect."""

from __future__ import annotations

from pyspark import SparkContext
from pyspark.sql import SparkSession


def managed_session() -> SparkSession:
    """The session that is there already.

    On Glue, it is asked for through Glue's own context: the metrics of a job, which ``--enable-metrics`` and
    ``--enable-observability-metrics`` ask for, reach CloudWatch only if a script makes one (AWS's user guide,
    "Job monitoring and debugging").
    """
    try:
        from awsglue.context import GlueContext
    except ModuleNotFoundError:
        return SparkSession.builder.getOrCreate()
    session: SparkSession = GlueContext(SparkContext.getOrCreate()).spark_session
    return session
