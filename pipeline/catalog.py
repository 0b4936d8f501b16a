"""Tables in the AWS Glue Data Catalog, with real columns, comments and PII tags.

Tables are registered from here and not by Spark, whose own sync writes a single column
``col array<string>``. Readers recognise a Delta table by its parameters.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import ClientError

from contracts import Contract
from pipeline.errors import FinlakeError, explain
from pipeline.gold import MARTS
from pipeline.gold.views import VIEWS, view_input
from pipeline.ledger import OPS_TABLES
from pipeline.settings import Settings
from pipeline.silver import QUARANTINE_COLUMNS, silver_tables
from pipeline.storage import boto_config
from pipeline.tables import TableColumn

if TYPE_CHECKING:
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_glue.type_defs import ColumnTypeDef, TableInputTypeDef

COMMENT_LIMIT = 255  # Glue's own limit for a column comment
SCORE_COLUMNS = (
    TableColumn("loan_id", "string", "Loan."),
    TableColumn("observation_date", "date", "Day of which the features know nothing later."),
    TableColumn("customer_id", "string", "Borrower."),
    TableColumn(
        "default_probability",
        "decimal(9,6)",
        "Probability of default within 12 months after observation_date.",
    ),
    TableColumn(
        "reasons", "string", "What raised it most: feature, value, and what that adds to the log-odds."
    ),
    TableColumn(
        "unknown_values",
        "string",
        "Features whose value training never met, so that they count as usual; or null.",
    ),
    TableColumn("model_version", "string", "Name and checksum of the model."),
    TableColumn("scored_at", "timestamp", "Instant (UTC) of scoring."),
)
SCORES = "Probability of default by loan and observation date, by the model that scored it last."


@dataclass(frozen=True)
class CatalogTable:
    """A Delta table as the catalogue should show it, and how maintenance should lay it out."""

    layer: str
    name: str
    uri: str
    columns: tuple[TableColumn, ...]
    description: str = ""
    partition_by: tuple[str, ...] = ()
    cluster_by: tuple[str, ...] = ()


def glue_client() -> GlueClient:
    """Client for Glue at the endpoint that the AWS SDKs' variables name."""
    # boto3 alone among the SDKs does not read AWS_REGION.
    region = boto3.Session().region_name or os.environ.get("AWS_REGION")
    return boto3.client("glue", region_name=region, config=boto_config())


def catalog_tables(
    contracts: dict[str, Contract], settings: Settings, additional: Mapping[str, Sequence[str]]
) -> list[CatalogTable]:
    """Silver, quarantine and ops tables as the catalogue should show them.

    Args:
        contracts: Contracts by entity.
        settings: Where the tables are.
        additional: Columns of Silver that the contracts do not know, by entity.
    """
    tables = []
    for entity, contract in contracts.items():
        for table in silver_tables(contract, additional.get(entity, ())):
            uri = settings.table_uri("silver", table.name)
            layout = table.partition_by, table.cluster_by
            tables.append(CatalogTable("silver", table.name, uri, table.columns, table.description, *layout))
        uri = settings.table_uri("quarantine", entity)
        text = f"Rows of {entity} that cannot enter Silver, with every reason."
        tables.append(CatalogTable("quarantine", entity, uri, QUARANTINE_COLUMNS, text))
    for name, columns in OPS_TABLES.items():
        tables.append(CatalogTable("ops", name, settings.table_uri("ops", name), columns))
    return tables


def gold_tables(settings: Settings) -> list[CatalogTable]:
    """Gold marts as the catalogue should show them."""
    return [
        CatalogTable(
            "gold",
            mart.name,
            settings.table_uri("gold", mart.name),
            mart.columns,
            mart.description,
            mart.partition_by,
            mart.cluster_by,
        )
        for mart in MARTS
    ]


def scores_table(settings: Settings) -> CatalogTable:
    """What ``finlake score`` writes, as the catalogue should show it."""
    name = "loan_default_scores"
    return CatalogTable("gold", name, settings.table_uri("gold", name), SCORE_COLUMNS, SCORES)


def register_views(settings: Settings) -> None:
    """Create or update the views on Gold whose marts are there.

    Raises:
        FinlakeError: The database is missing, or Glue cannot be reached.
    """
    glue, database = glue_client(), settings.database("gold")
    present = registered_tables("gold", settings)
    for view in VIEWS:
        entry = view_input(view, database)
        stored = present.get(view.name)
        if stored is None:
            if all(name in present for name in view.marts):
                glue.create_table(DatabaseName=database, TableInput=entry)
        elif any(stored.get(name) != entry.get(name) for name in ("ViewOriginalText", "Description")):
            glue.update_table(DatabaseName=database, TableInput=entry)


def register(tables: Iterable[CatalogTable], settings: Settings) -> list[str]:
    """Create or update the tables that the catalogue does not show as they are.

    Returns:
        ``layer.table`` of each one that was created or changed.

    Raises:
        FinlakeError: A database is missing, or Glue cannot be reached.
    """
    glue = glue_client()
    changed = []
    by_layer: dict[str, list[CatalogTable]] = {}
    for table in tables:
        by_layer.setdefault(table.layer, []).append(table)
    for layer, wanted in by_layer.items():
        database = settings.database(layer)
        present = registered_tables(layer, settings)
        for table in wanted:
            entry = table_input(table)
            if _same(entry, present.get(table.name)):
                continue
            try:
                if table.name not in present:
                    glue.create_table(DatabaseName=database, TableInput=entry)
                else:
                    glue.update_table(DatabaseName=database, TableInput=entry)
            except glue.exceptions.AlreadyExistsException:
                # Another entity's job registers the same tables at the same time.
                glue.update_table(DatabaseName=database, TableInput=entry)
            changed.append(f"{layer}.{table.name}")
    return changed


def registered_tables(layer: str, settings: Settings) -> dict[str, dict[str, Any]]:
    """Tables of a layer as Glue describes them, by name.

    Raises:
        FinlakeError: The database is missing, or Glue cannot be reached.
    """
    database, glue = settings.database(layer), glue_client()
    found: dict[str, dict[str, Any]] = {}
    try:
        for page in glue.get_paginator("get_tables").paginate(DatabaseName=database):
            found |= {table["Name"]: dict(table) for table in page["TableList"]}
        if not found:
            glue.get_database(Name=database)  # MiniStack lists a database that is not there as an empty one
    except ClientError as error:
        if error.response["Error"]["Code"] == "EntityNotFoundException":
            raise FinlakeError(
                f"the Glue database {database} does not exist",
                f"create it with `finlake infra apply --env {settings.env}`",
            ) from error
        raise explain(error) or FinlakeError(f"Glue refused to list {database}: {error}") from error
    return found


def table_input(table: CatalogTable) -> TableInputTypeDef:
    """Glue's description of a Delta table."""
    columns: list[ColumnTypeDef] = [
        {
            "Name": column.name,
            "Type": column.type,
            "Comment": column.comment[:COMMENT_LIMIT],
            "Parameters": {"pii": column.pii_class} if column.pii_class else {},
        }
        for column in table.columns
    ]
    return {
        "Name": table.name,
        "Description": table.description,
        "TableType": "EXTERNAL_TABLE",
        "Parameters": {
            "EXTERNAL": "TRUE",
            "classification": "delta",
            "spark.sql.sources.provider": "delta",
            "table_type": "DELTA",
        },
        "PartitionKeys": [column for column in columns if column["Name"] in table.partition_by],
        "StorageDescriptor": {
            "Location": table.uri,
            "InputFormat": "org.apache.hadoop.mapred.SequenceFileInputFormat",
            "OutputFormat": "org.apache.hadoop.hive.ql.io.HiveSequenceFileOutputFormat",
            "SerdeInfo": {
                "SerializationLibrary": "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe",
                "Parameters": {"path": table.uri, "serialization.format": "1"},
            },
            "Columns": [column for column in columns if column["Name"] not in table.partition_by],
        },
    }


def _same(wanted: TableInputTypeDef, present: dict[str, Any] | None) -> bool:
    if present is None:
        return False
    storage = present.get("StorageDescriptor", {})
    return (
        storage.get("Location") == wanted["StorageDescriptor"]["Location"]
        and [_shape(column) for column in storage.get("Columns", [])]
        == [_shape(column) for column in wanted["StorageDescriptor"]["Columns"]]
        and [_shape(column) for column in present.get("PartitionKeys", [])]
        == [_shape(column) for column in wanted["PartitionKeys"]]
        and present.get("Parameters", {}).get("spark.sql.sources.provider") == "delta"
        and present.get("Description", "") == wanted["Description"]
    )


def _shape(column: Any) -> tuple[str, str, str, tuple[tuple[str, str], ...]]:  # noqa: ANN401 - boto3's dicts
    parameters = tuple(sorted((column.get("Parameters") or {}).items()))
    return column["Name"], column["Type"], column.get("Comment") or "", parameters
