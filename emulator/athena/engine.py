"""Runs one query or statement, in a DuckDB of its own that reaches nothing but the stack's S3."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import duckdb
from sqlglot import exp

from emulator.athena import names, results, sources, syntax, transpile
from emulator.athena.catalog import Catalog, Client, Table, view_of
from emulator.athena.errors import OTHER, USER, QueryFailedError, not_supported
from emulator.athena.functions import MACROS
from emulator.athena.sources import literal, name
from emulator.athena.types import ResultColumn, hive_to_duckdb, hive_to_trino, result_column

BATCH = 2_048  # rows; as DuckDB's own
INFORMATION = "information_schema"


@dataclass
class Job:
    """A statement to run, and with what.

    Attributes:
        id: Of the execution.
        sql: As the client has sent it.
        database: Where names without a database are looked up.
        parameters: Texts of expressions for the question marks.
        output: Address on S3 below which results go.
        cutoff: Bytes that may be scanned at most; 0: any.
    """

    id: str
    sql: str
    database: str = "default"
    parameters: list[str] = field(default_factory=list)
    output: str = ""
    cutoff: int = 0


@dataclass
class Outcome:
    """What came of a statement.

    Attributes:
        columns: Columns of its rows.
        writers: What makes text of each column's values.
        batches: Its rows.
        header: Whether the first row of the result is the columns' names.
        scanned: Gives the bytes of the tables' files.
        written: Addresses of the files that it wrote.
        update_count: Rows written; None: none are meant to be.
    """

    columns: list[ResultColumn] = field(default_factory=list)
    writers: list[results.Writer] = field(default_factory=list)
    batches: Iterator[list[tuple[Any, ...]]] = field(default_factory=lambda: iter(()))
    header: bool = False
    scanned: Callable[[], int] = lambda: 0
    written: list[str] = field(default_factory=list)
    update_count: int | None = None


def lines(columns: list[str], rows: list[list[Any]]) -> Outcome:
    """A result of text, as statements other than queries have it: some have a row's columns in one cell."""
    return Outcome(
        [ResultColumn(column, "string") for column in columns],
        [results.text for _ in columns],
        iter([[tuple(row) for row in rows]]),
    )


def connect(
    endpoint: str, region: str, *, key: str, secret: str, scratch: Path, memory: str, threads: int
) -> duckdb.DuckDBPyConnection:
    """A DuckDB for one query: with the macros, and shut in.

    The extensions come from PyPI; nothing is downloaded. Afterwards no extension can be loaded, no
    setting changed, no local file opened, and S3 is the stack's.
    """
    import duckdb_extension_delta
    import duckdb_extension_httpfs

    connection = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "threads": str(threads),
        }
    )
    for package in (duckdb_extension_httpfs, duckdb_extension_delta):
        for file in Path(str(package.__file__)).parent.rglob("*.duckdb_extension"):
            connection.load_extension(str(file))
    split = urlsplit(endpoint)
    connection.execute(
        f"CREATE SECRET stack (TYPE s3, KEY_ID {literal(key)}, SECRET {literal(secret)}, REGION "
        f"{literal(region)}, ENDPOINT {literal(split.netloc)}, URL_STYLE 'path', USE_SSL "
        f"{str(split.scheme == 'https').lower()})"
    )
    connection.execute(MACROS)
    for setting in (
        "TimeZone = 'UTC'",
        f"temp_directory = {literal(str(scratch))}",
        "max_temp_directory_size = '10GB'",
        f"memory_limit = {literal(memory)}",
        "python_enable_replacements = false",
        "preserve_insertion_order = true",
        "enable_external_file_cache = false",
        "allowed_directories = ['s3://']",
        "enable_external_access = false",
        "allow_community_extensions = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET GLOBAL {setting}")  # for the connections of all queries
    return connection


class Engine:
    """Compiles and runs queries for one job.

    Args:
        connection: From :func:`connect`, unused.
        catalog: The tables.
        s3: A boto3 client.
        job: What to do.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, catalog: Catalog, s3: Client, job: Job) -> None:
        self.connection = connection
        self.catalog = catalog
        self.s3 = s3
        self.job = job
        self._sizes: list[Future[int]] = []
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="tables")
        self._pinned: list[str] = []
        self._views: dict[names.TableName, dict[str, str]] = {}
        self._stack: list[names.TableName] = []

    def query(self, tree: exp.Expr, parameters: list[str] | None = None) -> Outcome:
        """Run a query; its rows are fetched as they are asked for."""
        sql = self.compile(tree, self.job.sql, self.job.database, parameters)
        self.check_cutoff()
        with self.errors(tree):
            cursor = self.connection.execute(sql)
        columns = _numbered(self.result_columns(cursor), tree)
        writers = [results.writer(item[1]) for item in cursor.description or ()]
        return Outcome(columns, writers, self._fetch(cursor, tree), header=True, scanned=self.scanned)

    def close(self) -> None:
        """Let go of the tables; all rows have been fetched."""
        self._pool.shutdown(cancel_futures=True)
        for alias in self._pinned:
            with suppress(duckdb.Error):
                self.connection.execute(f"DETACH {name(alias)}")

    def scanned(self) -> int:
        """Bytes of the tables' files; they are found out while the query runs."""
        return sum(size.result() for size in self._sizes)

    def check_cutoff(self) -> None:
        """See that no more is read than the workgroup allows.

        Raises:
            QueryFailedError: It is more.
        """
        if self.job.cutoff and self.scanned() > self.job.cutoff:
            raise QueryFailedError("Bytes scanned limit was exceeded", OTHER, 1003)

    def compile(self, tree: exp.Expr, sql: str, database: str, parameters: list[str] | None = None) -> str:
        """A query as DuckDB's SQL; the tables that it names are there as views then."""
        syntax.refuse_foreign_functions(sql)
        syntax.bind(tree, parameters or [])
        found = names.tables(tree, sql, database)
        missing = sorted(set(found.values()) - set(self._views), key=lambda item: (item.database, item.name))
        # Looking a table up is waiting for Glue and S3.
        for table, source in zip(missing, self._pool.map(self._source, missing), strict=True):
            self._attach(table, source)
        return transpile.to_duckdb(tree, found, {table: self._views[table] for table in set(found.values())})

    def describe(self, sql: str) -> list[tuple[str, str]]:
        """Names and DuckDB's types of a query's columns."""
        return [(row[0], row[1]) for row in self.connection.execute(f"DESCRIBE {sql}").fetchall()]

    def result_columns(self, cursor: duckdb.DuckDBPyConnection) -> list[ResultColumn]:
        """Columns of what was executed.

        Raises:
            QueryFailedError: Athena has no such type.
        """
        try:
            return [result_column(item[0], str(item[1])) for item in cursor.description or ()]
        except ValueError as error:
            raise not_supported(str(error)) from error

    @contextmanager
    def errors(self, tree: exp.Expr) -> Iterator[None]:
        """Inside of it, DuckDB's errors become Athena's."""
        try:
            yield
        except duckdb.Error as error:
            raise athena_error(error, tree, self.job.sql) from error

    def _fetch(self, cursor: duckdb.DuckDBPyConnection, tree: exp.Expr) -> Iterator[list[tuple[Any, ...]]]:
        while True:
            with self.errors(tree):
                batch = cursor.fetchmany(BATCH)
            if not batch:
                return
            yield batch

    def _source(self, table: names.TableName) -> tuple[Table, str] | None:
        """A table of the catalogue, and SQL that reads its files; none of what is made up here."""
        if table.database == INFORMATION or table.name.endswith("$partitions"):
            return None
        found = self.catalog.table(table.database, table.name, table.place)
        if found.is_view:
            return found, ""
        if found.kind == "delta":
            return found, self._pin(found) if not table.with_path else self._with_path(found)
        sql, size = sources.relation(found, self.catalog, self.s3, with_path=table.with_path)
        self._sizes.append(self._pool.submit(lambda: size))
        return found, sql

    def _attach(self, table: names.TableName, source: tuple[Table, str] | None) -> None:
        if table in self._views:
            return
        if source is None:
            make = self._information if table.database == INFORMATION else self._partitions
            make(table)
            return
        found, sql = source
        if found.is_view:
            sql = self._view(found, table)
        with self.source_errors(found):
            self._create(table, sql)
        if found.kind == "delta":
            self._sizes.append(self._pool.submit(self._delta_bytes, found, self.connection.cursor()))

    def _view(self, found: Table, table: names.TableName) -> str:
        if table in self._stack:
            raise QueryFailedError(f"INVALID_VIEW: View '{table.database}.{table.name}' is recursive")
        sql, schema = view_of(found)
        self._stack.append(table)
        try:
            return self.compile(syntax.parse(sql), sql, schema)
        finally:
            self._stack.pop()

    def _create(self, table: names.TableName, sql: str) -> None:
        self.connection.execute(f"CREATE TEMP VIEW {table.sql} AS {sql}")
        # Not by DESCRIBE, which would read Delta's log once more.
        columns = self.connection.execute(
            "SELECT column_name, data_type FROM duckdb_columns() WHERE database_name = 'temp' AND "
            "table_name = ? ORDER BY column_index",
            [table.key],
        ).fetchall()
        self._views[table] = dict(columns)

    def _pin(self, table: Table) -> str:
        """SQL that reads a Delta table as it is now, by a log that is read once however often it is asked."""
        alias = f"delta_{new_name()}"
        uri = literal("s3://{}/{}".format(*sources.bucket_and_key(table.location)))
        with self.source_errors(table), self.connection.cursor() as connection:
            connection.execute(f"ATTACH {uri} AS {name(alias)} (TYPE delta, PIN_SNAPSHOT)")
        self._pinned.append(alias)
        return f"SELECT * FROM {name(alias)}"

    def _with_path(self, table: Table) -> str:
        """SQL that reads a Delta table with the address of each row's file."""
        uri = literal("s3://{}/{}".format(*sources.bucket_and_key(table.location)))
        return f"SELECT *, filename AS {name(names.PATH)} FROM delta_scan({uri})"

    def _delta_bytes(self, table: Table, connection: duckdb.DuckDBPyConnection) -> int:
        """Bytes of the files that a Delta table's log names."""
        uri = literal("s3://{}/{}".format(*sources.bucket_and_key(table.location)))
        sizes = dict(sources.files_below(self.s3, table.location))
        try:
            rows = connection.execute(f"SELECT data_file FROM delta_list_files({uri})").fetchall()
        except duckdb.Error:  # the query itself will say so
            return 0
        finally:
            connection.close()
        return sum(sizes.get(unquote(file), 0) for (file,) in rows)

    @contextmanager
    def source_errors(self, table: Table) -> Iterator[None]:
        """Inside of it, DuckDB's errors are those of a table's files."""
        try:
            yield
        except duckdb.Error as error:
            where = f"{table.database}.{table.name} at {table.location}"
            kind = "DELTA_LAKE_INVALID_SCHEMA" if table.kind == "delta" else "HIVE_CANNOT_OPEN_SPLIT"
            raise QueryFailedError(f"{kind}: cannot read {where}: {_line(error)}", USER, 1202) from error

    def _information(self, table: names.TableName) -> None:
        rows: list[tuple[str, ...]] = []
        if table.name == "schemata":
            columns = ["catalog_name", "schema_name"]
            rows = [("awsdatacatalog", database) for database in (*self.catalog.databases(), INFORMATION)]
        elif table.name in {"tables", "views"}:
            columns = ["table_catalog", "table_schema", "table_name", "table_type"]
            rows = [
                ("awsdatacatalog", item.database, item.name, "VIEW" if item.is_view else "BASE TABLE")
                for database in self.catalog.databases()
                for item in self.catalog.tables(database)
                if item.is_view or table.name == "tables"
            ]
        elif table.name == "columns":
            columns = [
                "table_catalog",
                "table_schema",
                "table_name",
                "column_name",
                "ordinal_position",
                "data_type",
            ]
            rows = [
                (
                    "awsdatacatalog",
                    item.database,
                    item.name,
                    column.name,
                    str(position),
                    hive_to_trino(column.type),
                )
                for database in self.catalog.databases()
                for item in self.catalog.tables(database)
                for position, column in enumerate((*item.columns, *item.partition_keys), 1)
            ]
        else:
            raise QueryFailedError(
                f"TABLE_NOT_FOUND: line {table.place}: Table 'awsdatacatalog.{INFORMATION}.{table.name}' "
                "does not exist",
                kind=1301,
            )
        self._values(table, columns, rows, {"ordinal_position": "BIGINT"})

    def _partitions(self, table: names.TableName) -> None:
        found = self.catalog.table(table.database, table.name.removesuffix("$partitions"), table.place)
        types = {key.name: hive_to_duckdb(key.type) for key in found.partition_keys}
        rows = [
            tuple(None if value == sources.HIVE_NULL else value for value in partition.values)
            for partition in self.catalog.partitions(found)
        ]
        self._values(table, list(types), rows, types)

    def _values(
        self,
        table: names.TableName,
        columns: list[str],
        rows: Sequence[tuple[str | None, ...]],
        types: dict[str, str],
    ) -> None:
        selected = ", ".join(
            f"CAST({name(column)} AS {types.get(column, 'VARCHAR')}) AS {name(column)}" for column in columns
        )
        if rows:
            values = ", ".join(
                f"({', '.join('NULL' if v is None else literal(v) for v in row)})" for row in rows
            )
            source = f"(VALUES {values}) AS t({', '.join(map(name, columns))})"
        else:
            source = f"(SELECT {', '.join(f'NULL AS {name(column)}' for column in columns)} WHERE false)"
        self._create(table, f"SELECT {selected} FROM {source}")


def _numbered(columns: list[ResultColumn], tree: exp.Expr) -> list[ResultColumn]:
    """Columns without a name are called by their place in the result, a star counts for what it brings."""
    select = names.first_select(tree)
    items = select.expressions if select is not None else []
    stars = [index for index, item in enumerate(items) if item.is_star]
    more = len(columns) - len(items)
    if len(stars) != 1 or not more:
        return columns
    return [
        replace(column, name=f"_col{place}")
        if place > stars[0] + more and column.name == f"_col{place - more}"
        else column
        for place, column in enumerate(columns)
    ]


def new_name() -> str:
    """A name for a file that nobody else chooses."""
    return uuid.uuid4().hex


def athena_error(error: duckdb.Error, tree: exp.Expr, sql: str) -> QueryFailedError:
    """Athena's words for an error of DuckDB."""
    message = _line(error)
    if found := re.search(r"\b([A-Z][A-Z_]{5,}: .+)", message):
        return QueryFailedError(found[1], USER, 1006)
    if found := re.search(
        r'(?:Referenced column "|does not have a column named "|column named )([^"]+)"', str(error)
    ):
        column = found[1]
        return QueryFailedError(
            f"COLUMN_NOT_FOUND: line {names.column_place(tree, sql, column)}: Column '{column}' "
            "cannot be resolved or requester is not authorized to access requested resources",
            USER,
            1006,
        )
    if found := re.search(r'column "([^"]+)" must appear in the GROUP BY clause', message):
        column = found[1]
        return QueryFailedError(
            f"EXPRESSION_NOT_AGGREGATE: line {names.column_place(tree, sql, column)}: '{column}' must "
            "be an aggregate expression or appear in GROUP BY clause"
        )
    if isinstance(error, duckdb.OutOfMemoryException):
        return QueryFailedError("Query exhausted resources at this scale factor", USER, 3)
    if isinstance(error, duckdb.ConversionException):
        return QueryFailedError(f"INVALID_CAST_ARGUMENT: {message}")
    if isinstance(error, duckdb.OutOfRangeException):
        return QueryFailedError(f"NUMERIC_VALUE_OUT_OF_RANGE: {message}")
    if isinstance(error, duckdb.HTTPException | duckdb.IOException):
        return QueryFailedError(f"HIVE_CANNOT_OPEN_SPLIT: {message}", USER, 1202)
    if isinstance(error, duckdb.BinderException | duckdb.CatalogException):
        is_type = any(word in message for word in ("No function", "Macro", "Cannot"))
        return QueryFailedError(f"{'TYPE_MISMATCH' if is_type else 'SYNTAX_ERROR'}: line 1:1: {message}")
    return QueryFailedError(f"GENERIC_USER_ERROR: {message}")


def _line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
