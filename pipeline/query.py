"""SQL over the catalogue's tables, by name, without Spark: DuckDB with its Delta extension."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from pipeline.catalog import registered_tables
from pipeline.errors import FinlakeError, UsageError
from pipeline.result import Result
from pipeline.settings import TABLE_LAYERS, Settings


def run_query(sql: str, settings: Settings) -> Result:
    """Run one SQL statement (DuckDB's dialect) on tables such as ``silver.customers``.

    Raises:
        UsageError: The SQL is not valid, or names a table that the catalogue does not have.
        FinlakeError: The query failed.
    """
    connection = connect()
    try:
        if not connection.extract_statements(sql):
            raise UsageError("there is no SQL statement", 'for example: finlake query "SELECT 1"')
        attach(connection, tables_in(sql), settings)
        cursor = connection.execute(sql)
        columns = tuple(item[0] for item in cursor.description or ())
        return Result(columns, cursor.fetchall())
    except (duckdb.BinderException, duckdb.CatalogException, duckdb.ParserException) as error:
        hint = "tables go by layer and name: silver.customers" if "Table with name" in str(error) else None
        raise UsageError(f"the query is not valid: {_first_lines(error)}", hint) from error
    except duckdb.Error as error:
        raise FinlakeError(f"the query failed: {_first_lines(error)}") from error


def tables_in(sql: str) -> set[tuple[str, str]]:
    """Layer and table of every ``layer.table`` that a statement names.

    >>> sorted(tables_in("select * from silver.loans l join gold.customer_360 using (customer_id)"))
    [('gold', 'customer_360'), ('silver', 'loans')]

    Raises:
        UsageError: It is not SQL.
    """
    try:
        statements = sqlglot.parse(sql, dialect="duckdb")
    except SqlglotError as error:
        # The second line would show the place by underlining, whatever it is printed on.
        raise UsageError(f"this is not valid SQL: {str(error).splitlines()[0]}") from error
    return {
        (table.db.lower(), table.name.lower())
        for statement in statements
        if statement is not None
        for table in statement.find_all(exp.Table)
        if table.db
    }


def connect() -> duckdb.DuckDBPyConnection:
    """A DuckDB connection that reads Delta tables, locally and on S3.

    The extensions come from PyPI like any other package; nothing is downloaded here.
    """
    import duckdb_extension_delta
    import duckdb_extension_httpfs

    connection = duckdb.connect(config={"autoinstall_known_extensions": "false"})
    for package in (duckdb_extension_httpfs, duckdb_extension_delta):
        for file in Path(str(package.__file__)).parent.rglob("*.duckdb_extension"):
            connection.load_extension(str(file))
    connection.execute("SET TimeZone = 'UTC'")
    _allow_s3(connection)
    return connection


def attach(
    connection: duckdb.DuckDBPyConnection, tables: Iterable[tuple[str, str]], settings: Settings
) -> None:
    """Make ``layer.table`` views of catalogue tables.

    Raises:
        UsageError: A layer or a table is unknown; the message suggests near names.
    """
    catalogue: dict[str, dict[str, dict[str, Any]]] = {}
    for layer, table in sorted(tables):
        if layer not in TABLE_LAYERS:
            raise UsageError(f"there is no layer {layer!r}", f"layers are: {', '.join(TABLE_LAYERS)}")
        known = catalogue.setdefault(layer, registered_tables(layer, settings))
        if table not in known:
            near = difflib.get_close_matches(table, known, n=3) or sorted(known)
            raise UsageError(
                f"there is no table {layer}.{table}",
                f"did you mean {', '.join(f'{layer}.{name}' for name in near)}?"
                if near
                else f"{layer} has no tables yet: `finlake run` fills it",
            )
        if known[table].get("TableType") == "VIRTUAL_VIEW":
            raise UsageError(f"{layer}.{table} is a view in Athena's SQL", "ask without --engine duckdb")
        attach_uri(connection, layer, table, known[table]["StorageDescriptor"]["Location"])


def attach_uri(connection: duckdb.DuckDBPyConnection, layer: str, table: str, uri: str) -> None:
    """Make a view ``layer.table`` of the Delta table at ``uri``."""
    connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{layer}"')
    location = uri.replace("'", "''")
    connection.execute(
        f'CREATE OR REPLACE VIEW "{layer}"."{table}" AS SELECT * FROM delta_scan(\'{location}\')'
    )


def _allow_s3(connection: duckdb.DuckDBPyConnection) -> None:
    import boto3

    session = boto3.Session()
    credentials = session.get_credentials()
    if credentials is None:
        return
    frozen = credentials.get_frozen_credentials()
    options = {
        "KEY_ID": frozen.access_key or "",
        "SECRET": frozen.secret_key or "",
        "SESSION_TOKEN": frozen.token or "",
        "REGION": session.region_name or os.environ.get("AWS_REGION", ""),
    }
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        split = urlsplit(endpoint)
        options |= {
            "ENDPOINT": split.netloc,
            "URL_STYLE": "path",
            "USE_SSL": str(split.scheme == "https").lower(),
        }
    written = ", ".join(f"{key} '{value}'" for key, value in options.items() if value)
    connection.execute(f"CREATE OR REPLACE SECRET lake (TYPE s3, {written})")


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])
