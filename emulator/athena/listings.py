"""What the catalogue says of itself: SHOW, DESCRIBE, and a query's plan."""

from __future__ import annotations

from sqlglot import exp

from emulator.athena import syntax
from emulator.athena.catalog import Column, Table, view_of
from emulator.athena.engine import Engine, Outcome, lines
from emulator.athena.errors import QueryFailedError, not_supported
from emulator.athena.tables import name_of
from emulator.athena.words import Words


def show(engine: Engine, words: Words) -> Outcome:
    """``SHOW ...``."""
    what = words.next().text.upper()
    catalog = engine.catalog
    if what in {"DATABASES", "SCHEMAS"}:
        pattern = words.pattern()
        return lines(["database_name"], [[item] for item in catalog.databases() if pattern(item)])
    if what in {"TABLES", "VIEWS"}:
        database = (
            words.next().text.lower() if words.take("IN") or words.take("FROM") else engine.job.database
        )
        catalog.require_database(database)
        pattern = words.pattern()
        return lines(
            ["tab_name"],
            [
                [t.name]
                for t in catalog.tables(database)
                if (t.is_view or what == "TABLES") and pattern(t.name)
            ],
        )
    if what == "COLUMNS":
        _ = words.take("IN") or words.take("FROM")
        table = catalog.table(*words.table(engine.job.database))
        return lines(["field"], [[c.name.ljust(20)] for c in (*table.columns, *table.partition_keys)])
    if what == "PARTITIONS":
        table = catalog.table(*words.table(engine.job.database))
        if not table.partition_keys:
            raise QueryFailedError(
                f"FAILED: SemanticException [Error 10241]: Table {table.name} is not a partitioned table",
                kind=1301,
            )
        keys = [key.name for key in table.partition_keys]
        return lines(
            ["partition"],
            [
                ["/".join(f"{k}={v}" for k, v in zip(keys, p.values, strict=True))]
                for p in catalog.partitions(table)
            ],
        )
    if what == "TBLPROPERTIES":
        table = catalog.table(*words.table(engine.job.database))
        return lines(
            ["prpt_name", "prpt_value"],
            [[f"{key}\t{value}"] for key, value in sorted(table.raw.get("Parameters", {}).items())],
        )
    if what == "CREATE":
        kind = words.next().text.upper()
        table = catalog.table(*words.table(engine.job.database))
        if kind == "VIEW" or table.is_view:
            return lines(
                ["Create View"],
                [
                    [line]
                    for line in f"CREATE VIEW {table.database}.{table.name} AS\n{view_of(table)[0]}".split(
                        "\n"
                    )
                ],
            )
        return lines(["createtab_stmt"], [[line] for line in create_statement(table)])
    raise not_supported(f"SHOW {what}")


def create_statement(table: Table) -> list[str]:
    """The lines of the statement that would create a table."""

    def column(item: Column) -> str:
        comment = f" COMMENT '{item.comment}'" if item.comment else ""
        return f"  `{item.name}` {item.type}{comment}"

    def quoted(values: dict[str, str]) -> list[str]:
        return [f"  '{key}'='{value}'" for key, value in sorted(values.items())]

    def block(head: str, items: list[str]) -> list[str]:
        return [head, *[item + "," for item in items[:-1]], items[-1] + ")"] if items else []

    storage = table.raw.get("StorageDescriptor", {})
    serde = storage.get("SerdeInfo", {})
    return [
        *block(
            f"CREATE EXTERNAL TABLE `{table.database}.{table.name}`(",
            [column(item) for item in table.columns],
        ),
        *block("PARTITIONED BY (", [column(item) for item in table.partition_keys]),
        "ROW FORMAT SERDE",
        f"  '{serde.get('SerializationLibrary', '')}'",
        *block("WITH SERDEPROPERTIES (", quoted(serde.get("Parameters", {}))),
        "STORED AS INPUTFORMAT",
        f"  '{storage.get('InputFormat', '')}'",
        "OUTPUTFORMAT",
        f"  '{storage.get('OutputFormat', '')}'",
        "LOCATION",
        f"  '{table.location}'",
        *block("TBLPROPERTIES (", quoted(table.raw.get("Parameters", {}))),
    ]


def describe(engine: Engine, tree: exp.Expr) -> Outcome:
    """``DESCRIBE table``."""
    database, name_ = name_of(engine, tree.this)
    table = engine.catalog.table(database, name_)
    rows = [
        [f"{c.name.ljust(20)}\t{c.type.ljust(20)}\t{c.comment.ljust(20)}"]
        for c in (*table.columns, *table.partition_keys)
    ]
    if table.partition_keys:
        rows += [
            [""],
            ["# Partition Information"],
            ["# col_name            \tdata_type           \tcomment             "],
            [""],
        ]
        rows += [
            [f"{c.name.ljust(20)}\t{c.type.ljust(20)}\t{c.comment.ljust(20)}"] for c in table.partition_keys
        ]
    return lines(["col_name", "data_type", "comment"], rows)


def explain(engine: Engine, words: Words) -> Outcome:
    """``EXPLAIN``: DuckDB's plan."""
    text = words.rest()
    sql = engine.compile(syntax.parse(text), text, engine.job.database, engine.job.parameters)
    with engine.errors(syntax.parse(text)):
        plan = engine.connection.execute(f"EXPLAIN {sql}").fetchall()
    return lines(["Query Plan"], [[line] for row in plan for line in str(row[1]).split("\n")])
