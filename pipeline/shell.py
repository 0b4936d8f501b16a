"""A Python shell on the lake's Spark: ``finlake shell``."""

from __future__ import annotations

import code
import sys
from typing import TYPE_CHECKING, Any

from pipeline.errors import UsageError
from pipeline.session import start_session
from pipeline.settings import TABLE_LAYERS, Settings

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

BANNER = """Spark {version}. At hand:
  spark                          the session
  F                              pyspark.sql.functions
  table("silver.customers")      a table as a frame; also gold, quarantine and ops
Leave with Ctrl-D."""


def open_shell(settings: Settings) -> None:
    """Start a shell on the terminal; without one, run what stands on standard input."""
    names = shell_names(settings)
    if sys.stdin.isatty():
        code.interact(BANNER.format(version=names["spark"].version), local=names, exitmsg="")
    else:
        exec(compile(sys.stdin.read(), "<stdin>", "exec"), names)  # noqa: S102 - it is what was asked for


def shell_names(settings: Settings) -> dict[str, Any]:
    """What the shell knows from the start."""
    spark = start_session()
    from pyspark.sql import functions as F  # noqa: N812

    def table(name: str) -> DataFrame:
        """A table of the lake, such as ``silver.customers``."""
        layer, _, table_name = name.partition(".")
        if layer not in TABLE_LAYERS or not table_name:
            raise UsageError(f"there is no table {name!r}", 'name it like table("silver.customers")')
        return spark.read.format("delta").load(settings.table_uri(layer, table_name))

    return {"spark": spark, "F": F, "table": table}
