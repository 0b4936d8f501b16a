"""Which statement is it, and who runs it."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from emulator.athena.engine import Engine, Outcome
from emulator.athena.errors import not_supported
from emulator.athena.listings import describe, explain, show
from emulator.athena.partitions import repair
from emulator.athena.tables import alter, create_database, create_table, create_view, drop
from emulator.athena.words import Words
from emulator.athena.writes import create_table_as, insert, unload


def run(engine: Engine, tree: exp.Expr) -> Outcome:
    """Run a statement.

    Raises:
        QueryFailedError: It cannot be done, or is not supported.
    """
    for kind, do in _STATEMENTS.items():
        if isinstance(tree, kind):
            return do(engine, tree)
    if isinstance(tree, exp.Command):
        words = Words(engine.job.sql)
        word = words.first
        if command := _COMMANDS.get(word):
            return command(engine, words)
        raise not_supported(f"{word} statements")
    raise not_supported(f"{tree.key.upper()}: only tables of Iceberg can be changed by rows in Athena")


def kind_of(tree: exp.Expr) -> tuple[str, str]:
    """``StatementType`` and ``SubstatementType`` of the API.

    >>> from sqlglot import parse_one
    >>> kind_of(parse_one("SELECT 1")), kind_of(parse_one("SHOW TABLES", dialect="athena"))
    (('DML', 'SELECT'), ('UTILITY', 'SHOW'))
    """
    if isinstance(tree, exp.Query | exp.Values):
        return "DML", "SELECT"
    if isinstance(tree, exp.Command):
        word = str(tree.this).split()[0].upper()
        if word in {"UNLOAD", "EXECUTE"}:
            return "DML", word
        return ("DDL" if word == "MSCK" else "UTILITY"), word
    if isinstance(tree, exp.Create):
        what = str(tree.args["kind"]).upper()
        return "DDL", f"CREATE_{what}_AS_SELECT" if what == "TABLE" and tree.expression else f"CREATE_{what}"
    if isinstance(tree, exp.Drop):
        return "DDL", f"DROP_{str(tree.args['kind']).upper()}"
    if isinstance(tree, exp.Describe):
        return "UTILITY", "DESCRIBE"
    return ("DDL" if isinstance(tree, exp.Alter) else "DML"), tree.key.upper()


def _create(engine: Engine, tree: exp.Expr) -> Outcome:
    kind = tree.args["kind"].upper()
    if kind == "VIEW":
        return create_view(engine, tree)
    if kind in {"SCHEMA", "DATABASE"}:
        return create_database(engine, tree)
    if kind != "TABLE":
        raise not_supported(f"CREATE {kind}")
    return create_table_as(engine, tree) if tree.expression else create_table(engine, tree)


_STATEMENTS: dict[type[exp.Expr], Callable[[Engine, exp.Expr], Outcome]] = {
    exp.Create: _create,
    exp.Insert: insert,
    exp.Drop: drop,
    exp.Alter: alter,
    exp.Describe: describe,
}
_COMMANDS: dict[str, Callable[[Engine, Words], Outcome]] = {
    "SHOW": show,
    "MSCK": repair,
    "UNLOAD": unload,
    "EXPLAIN": explain,
}
