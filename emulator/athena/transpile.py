"""Trino's SQL as DuckDB's, of the same meaning; what has no counterpart is refused. No input or output.

sqlglot parses, and writes DuckDB's dialect. In between, the tree is checked against lists of what is
allowed, and what would mean something else in DuckDB becomes one of the macros of
:mod:`emulator.athena.functions`.
"""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import ErrorLevel, exp
from sqlglot.errors import SqlglotError

from emulator.athena import unnest
from emulator.athena.allowed import check
from emulator.athena.errors import not_supported
from emulator.athena.inference import infer, keep_mark
from emulator.athena.names import PATH, TableName, first_select, has_name
from emulator.athena.rules import RULES
from emulator.athena.rules.nested import mark_subscripts, rows_of_values


def to_duckdb(
    tree: exp.Expr,
    names: Mapping[int, TableName],
    schema: Mapping[TableName, Mapping[str, str]],
) -> str:
    """A query in DuckDB's SQL.

    Args:
        tree: A checked tree; it is changed.
        names: From :func:`tables`.
        schema: DuckDB's types of the tables' columns.

    Raises:
        QueryFailedError: It uses what is not supported.
    """
    check(tree)
    for table in list(tree.find_all(exp.Table)):
        if known := names.get(id(table)):
            table.set("catalog", None)
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(known.name, quoted=True)))
            table.set("db", None)
            table.set("this", exp.to_identifier(known.key, quoted=True))
    qualified = {(table.database, table.name) for table in names.values()}
    for column in tree.find_all(exp.Column):
        if (column.db.lower(), column.table.lower()) in qualified:  # and not a field of a field
            column.set("db", None)
            column.set("catalog", None)
    _hide_paths(tree, {table.key for table, columns in schema.items() if PATH in columns})
    _name_columns(tree)
    mark_subscripts(tree)
    rows_of_values(tree)
    types = infer(tree, schema)
    unnest.rewrite(tree, types)
    for node in reversed(list(tree.walk(bfs=True))):
        rule = RULES.get(type(node))
        if rule is None:
            continue
        inside_try = isinstance(node, exp.TryCast) or node.find_ancestor(exp.Try, exp.TryCast) is not None
        new = rule(node, types)
        if inside_try:
            _forgive(new)
        if new is not node:
            keep_mark(node, new)
            node.replace(new)
    try:
        return tree.sql("duckdb", unsupported_level=ErrorLevel.RAISE, comments=False)
    except SqlglotError as error:
        raise not_supported(str(error).splitlines()[0]) from error


def _forgive(tree: exp.Expr) -> None:
    """Take those macros that give null instead of an error: DuckDB's TRY does not catch ``error``."""
    for call in tree.find_all(exp.Anonymous):
        if call.name.startswith("t_"):
            call.set("this", "n_" + call.name[2:])


def _hide_paths(tree: exp.Expr, keys: set[str]) -> None:
    """A star means all columns but the hidden one."""
    for select in tree.find_all(exp.Select) if keys else ():
        sources = [select.args.get("from_"), *(select.args.get("joins") or ())]
        tables = {
            source.this.alias_or_name
            for source in sources
            if source is not None and isinstance(source.this, exp.Table) and source.this.name in keys
        }
        for item in select.expressions:
            star = item.this if isinstance(item, exp.Column) else item
            if isinstance(star, exp.Star) and tables and (star is item or item.table in tables):
                star.set("except_", [exp.column(PATH, quoted=True)])


def _name_columns(tree: exp.Expr) -> None:
    select = first_select(tree)
    for index, item in enumerate(select.expressions if select is not None else ()):
        if not has_name(item):
            item.replace(exp.alias_(item.copy(), f"_col{index}", quoted=True))
