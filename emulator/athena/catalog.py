"""Glue's databases, tables and partitions, as the engine needs them."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from emulator.athena.errors import QueryFailedError, table_not_found

Client = Any  # of boto3, which makes its classes while it runs
VIEW_HEAD, VIEW_TAIL = "/* Presto View: ", " */"
CATALOG = "awsdatacatalog"


@dataclass(frozen=True)
class Column:
    """A column as Glue has it: name, Hive's type, comment."""

    name: str
    type: str
    comment: str = ""


@dataclass(frozen=True)
class Partition:
    """Values of the partition keys, and where the files are."""

    values: tuple[str, ...]
    location: str


@dataclass(frozen=True)
class Table:
    """A table or view of the catalogue.

    Attributes:
        raw: What Glue's GetTable says.
    """

    database: str
    name: str
    columns: tuple[Column, ...]
    partition_keys: tuple[Column, ...]
    location: str
    raw: dict[str, Any] = field(repr=False)

    @property
    def parameters(self) -> dict[str, str]:
        """Table properties, with keys in small letters."""
        return {key.lower(): value for key, value in self.raw.get("Parameters", {}).items()}

    @property
    def serde_parameters(self) -> dict[str, str]:
        """Properties of the SerDe."""
        return dict(self._storage.get("SerdeInfo", {}).get("Parameters", {}))

    @property
    def _storage(self) -> dict[str, Any]:
        return dict(self.raw.get("StorageDescriptor") or {})

    @property
    def is_view(self) -> bool:
        """Whether it is a view."""
        return self.raw.get("TableType") == "VIRTUAL_VIEW"

    @property
    def kind(self) -> str:
        """``view``, ``delta``, ``iceberg``, ``parquet``, ``csv``, ``opencsv``, ``json``, or the SerDe."""
        if self.is_view:
            return "view"
        parameters = self.parameters
        table_type = parameters.get("table_type", "").lower()
        if "delta" in {table_type, parameters.get("spark.sql.sources.provider", "").lower()}:
            return "delta"
        if table_type == "iceberg":
            return "iceberg"
        serde = self._storage.get("SerdeInfo", {}).get("SerializationLibrary", "")
        names = {"parquet": "parquet", "opencsv": "opencsv", "lazysimple": "csv", "json": "json"}
        return next((kind for name, kind in names.items() if name in serde.lower()), serde or "unknown")


class Catalog:
    """Reads and writes the catalogue.

    Args:
        glue: A boto3 client.
    """

    def __init__(self, glue: Client) -> None:
        self.glue = glue

    def table(self, database: str, name: str, place: str = "1:1") -> Table:
        """One table.

        Raises:
            QueryFailedError: The database or the table is not there.
        """
        try:
            return _table(self.glue.get_table(DatabaseName=database, Name=name)["Table"], database)
        except ClientError as error:
            if not is_missing(error):
                raise
            self.require_database(database, place)
            raise table_not_found(database, name, place) from None

    def require_database(self, database: str, place: str = "1:1") -> None:
        """See that a database is there.

        Raises:
            QueryFailedError: It is not.
        """
        if not self.has_database(database):
            raise QueryFailedError(
                f"SCHEMA_NOT_FOUND: line {place}: Schema '{database}' does not exist", kind=1301
            )

    def has_database(self, database: str) -> bool:
        """Whether a database is there."""
        try:
            self.glue.get_database(Name=database)
        except ClientError as error:
            if is_missing(error):
                return False
            raise
        return True

    def databases(self) -> list[str]:
        """Names of all databases, sorted."""
        pages = self.glue.get_paginator("get_databases").paginate()
        return sorted(item["Name"] for page in pages for item in page["DatabaseList"])

    def tables(self, database: str) -> list[Table]:
        """All tables and views of a database, sorted by name."""
        pages = self.glue.get_paginator("get_tables").paginate(DatabaseName=database)
        found = (_table(item, database) for page in pages for item in page["TableList"])
        return sorted(found, key=lambda table: table.name)

    def partitions(self, table: Table) -> Iterator[Partition]:
        """The partitions of a table."""
        pages = self.glue.get_paginator("get_partitions").paginate(
            DatabaseName=table.database, TableName=table.name
        )
        for page in pages:
            for item in page["Partitions"]:
                location = (item.get("StorageDescriptor") or {}).get("Location") or ""
                yield Partition(tuple(item["Values"]), location or partition_location(table, item["Values"]))


def is_missing(error: ClientError) -> bool:
    """Whether Glue says that something is not there."""
    return bool(error.response["Error"]["Code"] == "EntityNotFoundException")


def partition_location(table: Table, values: list[str] | tuple[str, ...]) -> str:
    """Where Hive puts a partition: ``<table>/key=value/``."""
    path = "/".join(f"{key.name}={value}" for key, value in zip(table.partition_keys, values, strict=True))
    return f"{table.location.rstrip('/')}/{path}/"


def view_text(sql: str, schema: str, columns: list[tuple[str, str]]) -> str:
    """The text by which Athena keeps a view in Glue: base64 of JSON, between two marks."""
    view = {
        "originalSql": sql,
        "catalog": CATALOG,
        "schema": schema,
        "columns": [{"name": name, "type": kind} for name, kind in columns],
    }
    return VIEW_HEAD + base64.b64encode(json.dumps(view).encode()).decode() + VIEW_TAIL


def view_of(table: Table) -> tuple[str, str]:
    """A view's SQL, and the database that its names are looked up in.

    Raises:
        QueryFailedError: The view is not one of Athena's.
    """
    text = (table.raw.get("ViewOriginalText") or "").strip()
    if not (text.startswith(VIEW_HEAD) and text.endswith(VIEW_TAIL.strip())):
        raise QueryFailedError(
            f"HIVE_INVALID_VIEW_DATA: {table.database}.{table.name} is not a view of Athena", kind=1301
        )
    view = json.loads(base64.b64decode(text.removeprefix(VIEW_HEAD).removesuffix(VIEW_TAIL.strip())))
    return view["originalSql"], view.get("schema") or table.database


def _table(raw: dict[str, Any], database: str) -> Table:
    storage = raw.get("StorageDescriptor") or {}
    location = storage.get("Location") or ""
    # Spark's own tables keep it here.
    location = (storage.get("SerdeInfo") or {}).get("Parameters", {}).get("path") or location
    return Table(
        database,
        raw["Name"],
        tuple(_columns(storage.get("Columns") or [])),
        tuple(_columns(raw.get("PartitionKeys") or [])),
        location,
        raw,
    )


def _columns(raw: list[dict[str, Any]]) -> Iterator[Column]:
    for item in raw:
        yield Column(item["Name"].lower(), item.get("Type") or "string", item.get("Comment") or "")
