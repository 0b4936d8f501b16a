"""The begin and the end of a job, which only bookmarks need; and there are none here."""

from __future__ import annotations

from collections.abc import Mapping

from awsglue.context import GlueContext


class Job:
    """Does nothing, as on AWS with bookmarks disabled.

    Args:
        glue_context: Glue's context.
    """

    def __init__(self, glue_context: GlueContext) -> None:
        self._context = glue_context

    def init(self, job_name: str, args: Mapping[str, str] | None = None) -> None:
        """Begin."""

    def commit(self) -> None:
        """End."""
