"""A mart: what it reads, what it looks like, how it is built, and when it must be built again.

The versions of the Silver tables that a mart was built from, and the text of its definition, are
written into the Delta commit that holds its data. So a mart and the knowledge of what it stands on
can never disagree, and a mart whose inputs and definition are unchanged is not touched.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from pipeline.settings import Settings
from pipeline.tables import TableColumn, newest_metadata, read_version, rows_are_those_of

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession


@dataclass(frozen=True)
class Mart:
    """A Gold table.

    Attributes:
        name: Table name.
        description: What one row is (the grain), in a sentence.
        inputs: Entities whose Silver tables it reads.
        columns: Columns in order; the key of the grain first.
        build: Silver tables by entity -> the mart.
    """

    name: str
    description: str
    inputs: tuple[str, ...]
    columns: tuple[TableColumn, ...]
    build: Callable[[dict[str, DataFrame]], DataFrame]

    @property
    def definition(self) -> str:
        """Changes when the module that builds the mart changes."""
        source = inspect.getsource(inspect.getmodule(self.build) or self.build)
        return hashlib.sha256(source.encode()).hexdigest()[:16]


def built_from(mart: Mart, settings: Settings) -> dict[str, object] | None:
    """What the stored mart was built from, or None when it has never been built."""
    metadata = newest_metadata(settings.table_uri("gold", mart.name))
    return dict(json.loads(metadata)) if metadata else None


def is_current(mart: Mart, versions: dict[str, int], settings: Settings) -> bool:
    """Whether the stored mart was built by this definition from the rows of these versions."""
    built, wanted = built_from(mart, settings), _provenance(mart, versions)
    if built is None or built == wanted:
        return built == wanted
    before = built.get("inputs")
    return (
        built.get("definition") == mart.definition
        and isinstance(before, dict)
        and before.keys() == versions.keys()
        and all(
            version == versions[entity] or rows_are_those_of(settings.table_uri("silver", entity), version)
            for entity, version in before.items()
        )
    )


def refresh(spark: SparkSession, mart: Mart, versions: dict[str, int], settings: Settings) -> None:
    """Build a mart from these versions of Silver and put it in the place of the stored one."""
    silver = {}
    for entity, version in versions.items():
        table = read_version(spark, settings.table_uri("silver", entity), version)
        silver[entity] = table.where("_deleted_at IS NULL")
    built = mart.build(silver)
    columns = [
        F.col(column.name).cast(column.type).alias(column.name, metadata=_metadata(column))
        for column in mart.columns
    ]
    (
        built.select(*columns)
        .coalesce(1)
        .write.format("delta")
        .mode("overwrite")
        .option("overwriteSchema", "true")
        .option("userMetadata", provenance(mart, versions))
        .save(settings.table_uri("gold", mart.name))
    )


def provenance(mart: Mart, versions: dict[str, int]) -> str:
    """What the commit of a mart says that was built from these versions: Delta's ``userMetadata``."""
    return json.dumps(_provenance(mart, versions))


def _provenance(mart: Mart, versions: dict[str, int]) -> dict[str, object]:
    return {"inputs": dict(sorted(versions.items())), "definition": mart.definition}


def _metadata(column: TableColumn) -> dict[str, str]:
    return {"comment": column.comment} | ({"pii": column.pii_class} if column.pii_class else {})
