"""Names of types: Hive's (in Glue), Trino's (in SQL and in results) and DuckDB's. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from emulator.athena.errors import not_supported

MAX_LENGTH = 2147483647
# Precision and scale that GetQueryResults reports, by Athena's name of the type.
_PRECISION = {
    "boolean": 0,
    "tinyint": 3,
    "smallint": 5,
    "integer": 10,
    "bigint": 19,
    "float": 17,
    "double": 17,
    "varchar": MAX_LENGTH,
    "varbinary": 1073741824,
    "date": 0,
    "time": 3,
    "timestamp": 3,
    "timestamp with time zone": 3,
}
_ATHENA = {
    "BOOLEAN": "boolean",
    "TINYINT": "tinyint",
    "SMALLINT": "smallint",
    "INTEGER": "integer",
    "BIGINT": "bigint",
    "UTINYINT": "smallint",
    "USMALLINT": "integer",
    "UINTEGER": "bigint",
    "UBIGINT": "bigint",
    "HUGEINT": "bigint",
    "FLOAT": "float",
    "DOUBLE": "double",
    "VARCHAR": "varchar",
    "BLOB": "varbinary",
    "DATE": "date",
    "TIME": "time",
    "JSON": "json",
    "UUID": "varchar",
    '"NULL"': "unknown",
    "NULL": "unknown",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP_S": "timestamp",
    "TIMESTAMP_MS": "timestamp",
    "TIMESTAMP_NS": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamp with time zone",
}


@dataclass(frozen=True)
class ResultColumn:
    """A column of a result.

    Attributes:
        name: As the query names it.
        type: Athena's name, such as ``varchar`` or ``array``.
        precision: Digits, or the greatest length.
        scale: Digits behind the point.
    """

    name: str
    type: str
    precision: int = 0
    scale: int = 0


def result_column(name: str, duckdb_type: str) -> ResultColumn:
    """The column of a result, by DuckDB's type.

    >>> result_column("a", "DECIMAL(10,2)")
    ResultColumn(name='a', type='decimal', precision=10, scale=2)
    >>> result_column("b", "VARCHAR[]").type, result_column("c", "STRUCT(x INTEGER)").type
    ('array', 'row')

    Raises:
        ValueError: Athena has no such type.
    """
    if duckdb_type.endswith("]"):
        return ResultColumn(name, "array")
    if duckdb_type.startswith("STRUCT"):
        return ResultColumn(name, "row")
    if duckdb_type.startswith("MAP"):
        return ResultColumn(name, "map")
    if duckdb_type.startswith("DECIMAL"):
        precision, scale = duckdb_type[8:-1].split(",")
        return ResultColumn(name, "decimal", int(precision), int(scale))
    if duckdb_type not in _ATHENA:
        raise ValueError(f"the type {duckdb_type} has no counterpart in Athena")
    athena = _ATHENA[duckdb_type]
    return ResultColumn(name, athena, _PRECISION.get(athena, 0))


# Numbers, each of which may take the place of those before it.
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DECIMAL", "FLOAT", "DOUBLE")
_TEXTS_AND_TIMES = ("VARCHAR", "DATE", "TIME", "TIMESTAMP", "BOOLEAN", "BLOB")


def fits(given: str, wanted: str) -> bool:
    """Whether Trino puts a value of a type into a column of another one, by DuckDB's types.

    A null is an integer to DuckDB: so an integer may be one.

    >>> fits("BIGINT", "DOUBLE"), fits("BIGINT", "INTEGER"), fits("VARCHAR", "DATE"), fits("INTEGER", "DATE")
    (True, False, False, True)
    """
    left, right = (_plain(kind) for kind in (given, wanted))
    if left in _NUMBERS and right in _NUMBERS and left != "INTEGER":
        return _NUMBERS.index(left) <= _NUMBERS.index(right)
    known = (*_NUMBERS, *_TEXTS_AND_TIMES)
    if left in {right, "INTEGER"} or (left, right) == ("DATE", "TIMESTAMP"):
        return True
    return not (left in known and right in known)


def _plain(kind: str) -> str:
    base = kind.upper().partition("(")[0]
    if base.endswith("]") or kind.endswith("]"):
        return "LIST"
    base = "TIMESTAMP" if base.startswith("TIMESTAMP") else base
    return {"HUGEINT": "BIGINT", "TEXT": "VARCHAR", "INT": "INTEGER", "REAL": "FLOAT"}.get(base, base)


def hive_to_duckdb(hive: str) -> str:
    """DuckDB's name of a type of Glue.

    >>> hive_to_duckdb("array<struct<a:int,b:decimal(10,2)>>"), hive_to_duckdb("string")
    ('STRUCT(a INT, b DECIMAL(10, 2))[]', 'TEXT')
    """
    return exp.DataType.build(hive, dialect="hive").sql("duckdb")


def hive_to_trino(hive: str) -> str:
    """Trino's name of a type of Glue.

    >>> hive_to_trino("string"), hive_to_trino("int"), hive_to_trino("array<string>")
    ('varchar', 'integer', 'array(varchar)')
    """
    return exp.DataType.build(hive, dialect="hive").sql("trino").lower()


def duckdb_to_hive(duckdb_type: str) -> str:
    """Glue's name of a type of DuckDB.

    >>> duckdb_to_hive("VARCHAR"), duckdb_to_hive("HUGEINT"), duckdb_to_hive("STRUCT(a INTEGER)[]")
    ('string', 'bigint', 'array<struct<a:int>>')

    Raises:
        QueryFailedError: It is a row whose fields have no names.
    """
    if duckdb_type in {"HUGEINT", "UBIGINT", "UINTEGER"}:
        return "bigint"
    if duckdb_type.startswith("TIMESTAMP"):
        return "timestamp"
    built = exp.DataType.build(duckdb_type, dialect="duckdb")
    for row in built.find_all(exp.DataType):
        if row.is_type("struct") and not all(isinstance(part, exp.ColumnDef) for part in row.expressions):
            raise not_supported(
                "a row whose fields have no names, in a table: cast it to ROW(name type, ...)"
            )
    text = built.sql("hive").lower()
    return text.replace(": ", ":").replace(", ", ",")
