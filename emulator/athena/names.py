"""The tables that a query names, and where."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from emulator.athena.errors import QueryFailedError, function_not_found, not_supported
from emulator.athena.syntax import DIALECT, place_of

CATALOG = "awsdatacatalog"
PATH = "$path"  # the hidden column with the address of a row's file


@dataclass(frozen=True)
class TableName:
    """A table that a statement names, and where.

    Attributes:
        place: ``line:column``.
        with_path: Whether its hidden column ``"$path"`` is wanted.
    """

    database: str
    name: str
    place: str = field(compare=False, default="1:1")
    with_path: bool = False

    @property
    def sql(self) -> str:
        """As it stands in DuckDB's SQL."""
        return f'"{self.key}"'

    @property
    def key(self) -> str:
        """The name of its view."""
        return f"{self.database}.{self.name}{' with its path' if self.with_path else ''}".replace('"', "")


def tables(tree: exp.Expr, sql: str, database: str) -> dict[int, TableName]:
    """The tables of a query, by the id of the node that names them; not its common table expressions.

    Raises:
        QueryFailedError: A table function, a file, another catalogue or a version is named.
    """
    found = {}
    with_path = any(column.name.lower() == PATH for column in tree.find_all(exp.Column))
    for node in tree.find_all(exp.Table):
        if not isinstance(node.this, exp.Identifier):
            if isinstance(node.this, exp.Unnest | exp.Values):
                continue
            name = node.this.name if isinstance(node.this, exp.Anonymous) else node.this.sql(DIALECT)[:100]
            raise function_not_found(name, place_of(sql, node.this.meta.get("start", 0)), of_tables=True)
        if node.args.get("version") or node.args.get("when"):
            raise not_supported("time travel")
        if node.catalog and node.catalog.lower() != CATALOG:
            raise QueryFailedError(
                f"CATALOG_NOT_FOUND: line {_place(node, sql)}: Catalog '{node.catalog}' not found", kind=1301
            )
        if not node.db and _is_cte(node):
            continue
        found[id(node)] = TableName(
            (node.db or database).lower(), node.name.lower(), _place(node, sql), with_path
        )
    return found


def first_select(tree: exp.Expr) -> exp.Select | None:
    """The SELECT that names the columns of a query; None for VALUES and the like."""
    while isinstance(tree, exp.SetOperation | exp.Subquery):
        tree = tree.this
    return tree if isinstance(tree, exp.Select) else None


def has_name(item: exp.Expr) -> bool:
    """Whether an item of a select list has a name of its own."""
    return isinstance(item, exp.Alias | exp.Column | exp.Star | exp.Dot) or item.is_star


def require_column_names(tree: exp.Expr) -> None:
    """See that each column of a query that makes a table or a view has a name, and one of its own.

    Raises:
        QueryFailedError: It has not.
    """
    select = first_select(tree)
    seen = set()
    for place, item in enumerate(select.expressions if select is not None else (), 1):
        if not has_name(item):
            raise QueryFailedError(
                f"COLUMN_NAME_NOT_SPECIFIED: line 1:1: Column name not specified at position {place}"
            )
        name = item.alias_or_name.lower()
        if name in seen and not item.is_star:
            raise QueryFailedError(
                f"DUPLICATE_COLUMN_NAME: line 1:1: Column name '{name}' specified more than once"
            )
        seen.add(name)


def column_place(tree: exp.Expr, sql: str, name: str) -> str:
    """Where a column of this name stands first."""
    for column in tree.find_all(exp.Column, exp.Identifier):
        identifier = column.this if isinstance(column, exp.Column) else column
        if (
            isinstance(identifier, exp.Identifier)
            and identifier.name.lower() == name.lower()
            and "start" in identifier.meta
        ):
            return place_of(sql, identifier.meta["start"])
    return "1:1"


def _place(node: exp.Table, sql: str) -> str:
    first = next((part for part in node.parts if "start" in part.meta), None)
    return place_of(sql, first.meta["start"]) if first is not None else "1:1"


def _is_cte(table: exp.Table) -> bool:
    inside: exp.Expr | None = None
    node: exp.Expr | None = table
    while node is not None:
        if isinstance(node, exp.CTE):
            inside = node
        elif isinstance(node, exp.Query) and (with_ := node.args.get("with_")) is not None:
            for cte in with_.expressions:
                if cte is inside and not with_.args.get("recursive"):
                    break
                if cte.alias.lower() == table.name.lower():
                    return True
            inside = None
        node = node.parent
    return False
