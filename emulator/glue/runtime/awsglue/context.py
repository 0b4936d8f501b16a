"""Glue's context, as far as it is Spark's; dynamic frames are not there, and asking for one says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession


class GlueContext:
    """Leads to the Spark session.

    Args:
        sparkContext: Spark's context, by AWS's name for the argument.
    """

    def __init__(self, sparkContext: SparkContext) -> None:  # noqa: N803
        self._context = sparkContext

    @property
    def spark_session(self) -> SparkSession:
        """The Spark session."""
        from pyspark.sql import SparkSession

        return SparkSession.builder.getOrCreate()

    def __getattr__(self, name: str) -> NoReturn:
        """Say what is missing."""
        raise NotImplementedError(f"GlueContext.{name} is not there on a laptop: use Spark's DataFrames")
