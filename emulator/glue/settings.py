"""Settings of Glue: how jobs are run on this machine, from ``FINLAKE_GLUE_*`` variables."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import psutil
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

MIB = 1024 * 1024


def _spark_home() -> Path | None:
    spec = importlib.util.find_spec("pyspark")
    return Path(spec.origin).parent if spec and spec.origin else None


def _half_of_memory() -> int:
    return int(psutil.virtual_memory().total // 2 // MIB)


class GlueSettings(BaseSettings):
    """How jobs are run.

    Attributes:
        python: The Python that runs scripts; it has PySpark.
        spark_home: Spark, as PySpark brings it; None if there is none, and then no Spark job can run.
        jars: Folder of the jars beside Spark's own: Delta's and Hadoop's for S3.
        cores: Cores of one run's Spark.
        driver_memory: Heap of one run's Spark, as Spark writes it.
        memory_mb: Memory that one run's processes may take together; also at most what its workers have
            on AWS. By default half of the machine's.
        parallel_runs: Runs that work at a time; others wait in the state STARTING.
        minute_seconds: How long a minute of a job's timeout lasts. (Tests do not wait for minutes.)
        endpoint: Address at which jobs find AWS; by default the gateway itself.
        s3_endpoint: A shorter way for them to S3; by default the emulator that serves it.
    """

    model_config = SettingsConfigDict(env_prefix="FINLAKE_GLUE_", extra="ignore")

    python: Path = Path(sys.executable)
    spark_home: Path | None = Field(default_factory=_spark_home)
    jars: Path = Path(sys.prefix) / "jars"
    cores: str = "*"
    driver_memory: str = "2g"
    memory_mb: int = Field(default_factory=_half_of_memory, ge=64)
    parallel_runs: int = Field(default=2, ge=1)
    minute_seconds: float = Field(default=60, gt=0)
    endpoint: str | None = None
    s3_endpoint: str | None = None
