"""UNNEST of what DuckDB's takes no columns from: several arrays, maps, arrays of rows."""

from __future__ import annotations

from sqlglot import exp

from emulator.athena.errors import QueryFailedError, not_supported
from emulator.athena.inference import Types


def rewrite(tree: exp.Expr, types: Types) -> None:
    """Put queries that select the columns in place of each UNNEST that has more than one, or may have.

    Raises:
        QueryFailedError: How many columns it has is not known, or not what the query says.
    """
    for node in list(tree.find_all(exp.Unnest)):
        alias = node.args.get("alias")
        names = [name.name for name in alias.args.get("columns") or ()] if alias is not None else []
        lists = [part for item in node.expressions for part in _columns(item, types, len(names))]
        if len(node.expressions) == 1 and len(lists) == 1 and not lists[0].meta.get("part"):
            item = node.expressions[0]
            item.replace(exp.Anonymous(this="t_flat", expressions=[item.copy()]))
            continue
        if names and len(names) != len(lists):
            raise QueryFailedError(
                f"MISMATCHED_COLUMN_ALIASES: line 1:1: Column alias list has {len(names)} entries but "
                f"'{alias.name if alias is not None else ''}' has {len(lists)} columns available"
            )
        node.replace(_select(node, lists, names))


def _columns(item: exp.Expr, types: Types, named: int) -> list[exp.Expr]:
    """The lists that the columns of one argument are taken from."""
    kind = types.of(item)
    fields = _fields(item, kind)
    if isinstance(item, exp.Map | exp.ToMap) or (kind is not None and kind.is_type("map")):
        return [_part(exp.Anonymous(this=f, expressions=[item.copy()])) for f in ("map_keys", "map_values")]
    if fields is None and named > 1:
        if kind is not None and kind.is_type("array") and kind.expressions:
            return [item.copy()]
        if named == 2 and isinstance(item.parent, exp.Unnest) and len(item.parent.expressions) == 1:
            raise not_supported("UNNEST of a map or of rows whose type is not known here: cast it")
        if isinstance(item.parent, exp.Unnest) and len(item.parent.expressions) == 1:
            fields = named
    return [_field(item, index) for index in range(1, fields + 1)] if fields else [item.copy()]


def _fields(item: exp.Expr, kind: exp.DataType | None) -> int | None:
    """How many fields the rows of an array have; None: they are not known to be rows."""
    if (
        isinstance(item, exp.Array)
        and item.expressions
        and isinstance(item.expressions[0], exp.Struct | exp.Tuple)
    ):
        return len(item.expressions[0].expressions)
    if kind is not None and kind.is_type("array") and kind.expressions:
        inner = kind.expressions[0]
        if isinstance(inner, exp.DataType) and inner.is_type("struct"):
            return len(inner.expressions)
    return None


def _field(item: exp.Expr, index: int) -> exp.Expr:
    row = exp.Anonymous(
        this="struct_extract_at", expressions=[exp.to_identifier("r"), exp.Literal.number(index)]
    )
    take = exp.Lambda(this=row, expressions=[exp.to_identifier("r")])
    return _part(exp.Anonymous(this="list_transform", expressions=[item.copy(), take]))


def _part(node: exp.Expr) -> exp.Expr:
    node.meta["part"] = True
    return node


def _select(node: exp.Unnest, lists: list[exp.Expr], names: list[str]) -> exp.Expr:
    alias = node.args.get("alias")
    titles = names or [f"_col{index}" for index in range(len(lists))]
    items = [
        exp.alias_(exp.Anonymous(this="unnest", expressions=[part]), title, quoted=True)
        for part, title in zip(lists, titles, strict=True)
    ]
    if offset := node.args.get("offset"):
        lengths = [exp.Anonymous(this="len", expressions=[part.copy()]) for part in lists]
        count = exp.Anonymous(
            this="generate_series",
            expressions=[
                exp.Literal.number(1),
                exp.Anonymous(this="greatest", expressions=lengths) if len(lengths) > 1 else lengths[0],
            ],
        )
        title = offset.name if isinstance(offset, exp.Identifier) else "ordinality"
        items.append(exp.alias_(exp.Anonymous(this="unnest", expressions=[count]), title, quoted=True))
    name = (
        alias.this.copy() if alias is not None and alias.this is not None else exp.to_identifier("unnested")
    )
    return exp.Subquery(this=exp.Select(expressions=items), alias=exp.TableAlias(this=name))
