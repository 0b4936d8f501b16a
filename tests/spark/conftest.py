"""One Spark session for all tests here, and CSV files of customers and their like."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

NOT_COMPILED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """Finlake's own session, started outside of the clone so that nothing is written into it."""
    from pipeline.session import start_session

    for name in list(os.environ):
        if name.startswith(("AWS_ENDPOINT", "SPARK_", "FINLAKE_")):
            del os.environ[name]
    # Tests look at a handful of rows: to compile what is run costs more than it brings.
    os.environ["SPARK_SUBMIT_OPTS"] = "-XX:TieredStopAtLevel=1"
    folder = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("spark"))
    try:
        session = start_session()
    finally:
        os.chdir(folder)
    session.conf.set("spark.sql.shuffle.partitions", "1")
    for key, value in NOT_COMPILED.items():
        session.conf.set(key, value)
    yield session
    session.stop()
    start_session.cache_clear()


@pytest.fixture
def ansi(spark: SparkSession):
    """A block in which Spark's ANSI mode is on or off."""

    @contextmanager
    def mode(on: bool) -> Iterator[None]:
        before = spark.conf.get("spark.sql.ansi.enabled")
        spark.conf.set("spark.sql.ansi.enabled", str(on).lower())
        try:
            yield
        finally:
            spark.conf.set("spark.sql.ansi.enabled", before)

    return mode
