"""Trino's SQL as DuckDB's, of the same meaning; what has no counterpart is refused. No input or output.

sqlglot parses, and writes DuckDB's dialect. In between, the tree is checked against lists of what is
allowed, and what would mean something else in DuckDB becomes one of the macros of
:mod:`emulator.athena.functions`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import sqlglot
from sqlglot import ErrorLevel, exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify
from sqlglot.tokenizer_core import TokenType

from emulator.athena.errors import QueryFailedError, RequestRefusedError, not_supported

DIALECT = "athena"
_FIRST_WORDS = re.compile(
    "ALTER|ANALYZE|CREATE|DEALLOCATE|DELETE|DESCRIBE|DROP|EXECUTE|EXPLAIN|INSERT|MERGE|MSCK|OPTIMIZE|PREPARE"
    "|SELECT|SHOW|TABLE|UNLOAD|UPDATE|VACUUM|VALUES|WITH"
)
_AFTER_GROUPS = frozenset(
    {
        TokenType.HAVING,
        TokenType.ORDER_BY,
        TokenType.LIMIT,
        TokenType.R_PAREN,
        TokenType.UNION,
        TokenType.SEMICOLON,
    }
)
MAX_BYTES = 262_144
CATALOG = "awsdatacatalog"

# Functions whose meaning is the same once sqlglot has written them, or that are rewritten below.
_FUNCTIONS = {
    "Abs",
    "Acos",
    "AnyValue",
    "And",
    "ApproxDistinct",
    "ApproxQuantile",
    "ArgMax",
    "ArgMin",
    "Array",
    "ArrayAgg",
    "ArrayConcat",
    "ArrayContains",
    "ArrayDistinct",
    "ArrayFilter",
    "ArrayIntersect",
    "ArrayMax",
    "ArrayMin",
    "ArraySize",
    "ArraySlice",
    "ArrayToString",
    "Asin",
    "Atan",
    "Atan2",
    "AtTimeZone",
    "Avg",
    "Bracket",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Case",
    "Cast",
    "Cbrt",
    "Ceil",
    "Chr",
    "Coalesce",
    "Concat",
    "Corr",
    "Cos",
    "Cosh",
    "Count",
    "CountIf",
    "CovarPop",
    "CovarSamp",
    "CumeDist",
    "CurrentDate",
    "CurrentTimestamp",
    "Date",
    "DateAdd",
    "DateDiff",
    "DateTrunc",
    "Day",
    "DayOfMonth",
    "DayOfWeek",
    "DayOfWeekIso",
    "DayOfYear",
    "DenseRank",
    "Encode",
    "Exists",
    "Exp",
    "Explode",
    "Extract",
    "Filter",
    "First",
    "FirstValue",
    "Flatten",
    "Floor",
    "FromISO8601Timestamp",
    "GenerateSeries",
    "Greatest",
    "GroupConcat",
    "Hex",
    "Hour",
    "If",
    "JSONCast",
    "JSONExtract",
    "JSONExtractScalar",
    "JSONFormat",
    "Lag",
    "LastDay",
    "LastValue",
    "Lead",
    "Least",
    "Length",
    "Levenshtein",
    "Ln",
    "Log",
    "LogicalAnd",
    "LogicalOr",
    "Lower",
    "MD5Digest",
    "Map",
    "Max",
    "Median",
    "Min",
    "Minute",
    "Month",
    "NthValue",
    "Ntile",
    "Nullif",
    "Or",
    "Pad",
    "ParseJSON",
    "PercentRank",
    "Pi",
    "Pow",
    "Quarter",
    "Radians",
    "Degrees",
    "Rand",
    "Rank",
    "Reduce",
    "RegexpExtract",
    "RegexpExtractAll",
    "RegexpLike",
    "RegexpReplace",
    "Replace",
    "Reverse",
    "Round",
    "RowNumber",
    "SHA",
    "SHA2",
    "SHA2Digest",
    "Second",
    "Sign",
    "Sin",
    "Sinh",
    "ArraySort",
    "MapKeys",
    "Split",
    "SplitPart",
    "Sqrt",
    "StartsWith",
    "Stddev",
    "StddevPop",
    "StddevSamp",
    "StrPosition",
    "StrToTime",
    "StrToUnix",
    "Struct",
    "Substring",
    "Sum",
    "Tan",
    "Tanh",
    "TimeToStr",
    "TimeToUnix",
    "TimestampTrunc",
    "Transform",
    "Translate",
    "Trim",
    "Trunc",
    "Try",
    "TryCast",
    "Unhex",
    "UnixToTime",
    "Unnest",
    "Upper",
    "Variance",
    "VariancePop",
    "Week",
    "WeekOfYear",
    "Xor",
    "Year",
    "Anonymous",
    "ToMap",
    "MapFromEntries",
    "CurrentTime",
    "Localtimestamp",
    "TimestampDiff",
    "TimestampAdd",
    "ArrayUniqueAgg",
    "RegrSlope",
    "RegrIntercept",
    "Unicode",
    "Lpad",
    "Rpad",
    "ToArray",
    "List",
}
# Functions that sqlglot does not know, by what they become.
_NAMED: dict[str, str] = {
    "array_position": "t_array_position",
    "bool_and": "bool_and",
    "every": "bool_and",
    "format_datetime": "",
    "parse_datetime": "",
    "map_agg": "t_map_agg",
    "map_keys": "map_keys",
    "map_values": "map_values",
    "histogram": "histogram",
    "day_of_month": "day",
    "day_of_year": "dayofyear",
    "doy": "dayofyear",
    "is_nan": "isnan",
    "is_finite": "isfinite",
    "is_infinite": "isinf",
    "nan": "t_nan",
    "infinity": "t_infinity",
    "e": "t_e",
    "log2": "log2",
    "log10": "log10",
    "at_timezone": "",
    "array_sort": "t_array_sort",
    "array_remove": "t_array_remove",
    "millisecond": "t_millisecond",
    "from_iso8601_date": "t_date",
    "to_iso8601": "t_to_iso8601",
    "codepoint": "unicode",
    "ltrim": "ltrim",
    "rtrim": "rtrim",
    "bitwise_left_shift": "",
    "geometric_mean": "geomean",
    "from_utf8": "decode",
    "any_match": "t_any_match",
    "all_match": "t_all_match",
    "none_match": "t_none_match",
    "approx_most_frequent": "",
    "split_to_map": "",
    "cardinality": "len",
    "repeat": "",
    "uuid": "uuid",
    "kurtosis": "kurtosis_pop",
    "skewness": "",
    "url_encode": "url_encode",
    "json_array_length": "json_array_length",
    "json_size": "",
    "entropy": "entropy",
    "row": "row",
    "array_has_duplicates": "",
    "with_timezone": "",
    "current_timezone": "",
}
_NAMED = {name: target for name, target in _NAMED.items() if target} | {
    name: name for name in ("format_datetime", "parse_datetime", "at_timezone")
}
_STATEMENTS = (exp.Query, exp.Values)
_FORBIDDEN = (
    exp.Pragma,
    exp.Copy,
    exp.Attach,
    exp.Detach,
    exp.Install,
    exp.Set,
    exp.Command,
    exp.LoadData,
    exp.Pivot,
    exp.Parameter,
    exp.SessionParameter,
    exp.Into,
    exp.Lock,
    exp.Hint,
    exp.DDL,
    exp.DML,
)
_JODA = {
    "yyyy": "%Y",
    "yy": "%y",
    "MMMM": "%B",
    "MMM": "%b",
    "MM": "%m",
    "dd": "%d",
    "EEEE": "%A",
    "EEE": "%a",
    "HH": "%H",
    "hh": "%I",
    "mm": "%M",
    "ss": "%S",
    "SSS": "%g",
    "a": "%p",
    "DDD": "%j",
}
BIG = -2  # instead of the digits of a decimal: an integer that DuckDB may hold in 128 bits
_INTEGERS = {"TINYINT", "SMALLINT", "INT", "INTEGER", "BIGINT"}


@dataclass(frozen=True)
class TableName:
    """A table that a statement names, and where.

    Attributes:
        place: ``line:column``.
    """

    database: str
    name: str
    place: str = field(compare=False, default="1:1")

    @property
    def sql(self) -> str:
        """As it stands in DuckDB's SQL."""
        return f'"{self.key}"'

    @property
    def key(self) -> str:
        """The name of its view."""
        return f"{self.database}.{self.name}".replace('"', "")


def parse(sql: str) -> exp.Expr:
    """The one statement of a text.

    Raises:
        RequestRefusedError: It is none, several, too long, or not SQL.
    """
    if len(sql.encode()) > MAX_BYTES:
        raise RequestRefusedError(
            "1 validation error detected: Value at 'queryString' failed to satisfy constraint: "
            f"Member must have length less than or equal to {MAX_BYTES}",
            "INVALID_INPUT",
        )
    try:
        sql = with_double_quotes(sql)
        _refuse_other_dialects(sql)
        trees = [tree for tree in sqlglot.parse(sql, dialect=DIALECT) if tree is not None]
    except (SqlglotError, RecursionError) as error:
        if (word := first_word(sql)[0]) and not _FIRST_WORDS.fullmatch(word):
            raise _no_statement(sql) from error
        raise RequestRefusedError(_syntax(error), "MALFORMED_QUERY") from error
    if not trees or all(isinstance(tree, exp.Semicolon) for tree in trees):
        raise RequestRefusedError(
            "line 1:1: mismatched input '<EOF>'. Expecting: <statement>", "MALFORMED_QUERY"
        )
    if len([tree for tree in trees if not isinstance(tree, exp.Semicolon)]) > 1:
        raise RequestRefusedError("Only one sql statement is allowed. Got: " + sql[:200], "MALFORMED_QUERY")
    tree: exp.Expr = trees[0]
    known = (
        *_STATEMENTS,
        exp.Command,
        exp.DDL,
        exp.Drop,
        exp.Alter,
        exp.Describe,
        exp.Merge,
        exp.Delete,
        exp.Update,
    )
    if not isinstance(tree, known):
        raise _no_statement(sql)
    return tree


def _no_statement(sql: str) -> RequestRefusedError:
    _, start = first_word(sql)
    word = (sql[start:].split() or [""])[0]
    return RequestRefusedError(
        f"line {place_of(sql, start)}: mismatched input '{word}'. Expecting: 'ALTER', 'CREATE', 'DELETE', "
        "'DESCRIBE', 'DROP', 'EXECUTE', 'EXPLAIN', 'INSERT', 'MSCK', 'PREPARE', 'SHOW', 'UNLOAD', <query>",
        "MALFORMED_QUERY",
    )


def with_double_quotes(sql: str) -> str:
    """A statement of Hive's with names quoted as Trino does it; others stay as they are.

    >>> with_double_quotes("DESCRIBE `db`.`t`"), with_double_quotes("SELECT '`'")
    ('DESCRIBE "db"."t"', "SELECT '`'")
    """
    return sql.replace("`", '"') if first_word(sql)[0] in {"DESCRIBE", "MSCK", "SHOW"} else sql


def first_word(sql: str) -> tuple[str, int]:
    """The first word of a statement behind comments, in capitals, and where it begins.

    >>> first_word("/* hm */ -- x" + chr(10) + " show tables")
    ('SHOW', 15)
    """
    found = re.match(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\w+)", sql, re.DOTALL)
    return (found[1].upper(), found.start(1)) if found else ("", 0)


def _refuse_other_dialects(sql: str) -> None:
    """See that there is nothing that sqlglot takes for Trino's SQL although Trino does not.

    Raises:
        RequestRefusedError: There is.
    """
    tokens = [token for token in sqlglot.tokenize(sql, dialect=DIALECT) if token.text]
    starts_with_from = bool(tokens) and tokens[0].token_type is TokenType.FROM
    for index, token in enumerate(tokens):
        wrong = (
            token.token_type in {TokenType.DCOLON, TokenType.QUALIFY}
            or (starts_with_from and index == 0)
            or (
                token.token_type is TokenType.ALL
                and tokens[index - 1].token_type is TokenType.GROUP_BY
                and (index + 1 == len(tokens) or tokens[index + 1].token_type in _AFTER_GROUPS)
            )
        )
        if wrong:
            place = place_of(sql, token.start)
            raise RequestRefusedError(f"line {place}: mismatched input '{token.text}'", "MALFORMED_QUERY")


def bind(tree: exp.Expr, parameters: list[str]) -> exp.Expr:
    """Put parameters, each the text of an expression, in place of the question marks.

    Raises:
        QueryFailedError: There are more or fewer.
    """
    marks = list(tree.find_all(exp.Placeholder, bfs=False))
    if len(marks) != len(parameters):
        raise QueryFailedError(
            "INVALID_PARAMETER_USAGE: line 1:1: Incorrect number of parameters: "
            f"expected {len(marks)} but found {len(parameters)}"
        )
    for mark, text in zip(marks, parameters, strict=True):
        try:
            value = sqlglot.parse_one(text, dialect="trino")
        except SqlglotError:
            value = exp.Literal.string(text)
        mark.replace(exp.paren(value) if isinstance(value, exp.Binary) else value)
    return tree


def tables(tree: exp.Expr, sql: str, database: str) -> dict[int, TableName]:
    """The tables of a query, by the id of the node that names them; not its common table expressions.

    Raises:
        QueryFailedError: A table function, a file, another catalogue or a version is named.
    """
    found = {}
    for node in tree.find_all(exp.Table):
        if not isinstance(node.this, exp.Identifier):
            if isinstance(node.this, exp.Unnest | exp.Values):
                continue
            raise QueryFailedError(
                f"FUNCTION_NOT_FOUND: line 1:1: Table function '{node.this.sql(DIALECT)[:100]}' not "
                "registered",
                kind=1301,
            )
        if node.args.get("version") or node.args.get("when"):
            raise not_supported("time travel")
        if node.catalog and node.catalog.lower() != CATALOG:
            raise QueryFailedError(
                f"CATALOG_NOT_FOUND: line {_place(node, sql)}: Catalog '{node.catalog}' not found", kind=1301
            )
        if not node.db and _is_cte(node):
            continue
        found[id(node)] = TableName((node.db or database).lower(), node.name.lower(), _place(node, sql))
    return found


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
    _check(tree)
    for table in list(tree.find_all(exp.Table)):
        if known := names.get(id(table)):
            table.set("catalog", None)
            if not table.alias:
                table.set("alias", exp.TableAlias(this=exp.to_identifier(known.name, quoted=True)))
            table.set("db", None)
            table.set("this", exp.to_identifier(known.key, quoted=True))
    for column in tree.find_all(exp.Column):
        if column.args.get("db"):  # db.table.column
            column.set("db", None)
            column.set("catalog", None)
    _name_columns(tree)
    scales = _decimal_scales(tree, schema)
    for node in reversed(list(tree.walk(bfs=True))):
        rule = _RULES.get(type(node))
        if rule is None:
            continue
        inside_try = isinstance(node, exp.TryCast) or node.find_ancestor(exp.Try, exp.TryCast) is not None
        new = rule(node, scales)
        if inside_try:
            _forgive(new)
        if new is not node:
            _keep_mark(node, new)
            node.replace(new)
    try:
        return tree.sql("duckdb", unsupported_level=ErrorLevel.RAISE, comments=False)
    except SqlglotError as error:
        raise not_supported(str(error).splitlines()[0]) from error


def _keep_mark(node: exp.Expr, new: exp.Expr) -> None:
    """What takes the place of an operand is known by its type, too."""
    if "operand" in node.meta:
        new.meta["operand"] = node.meta["operand"]


def _forgive(tree: exp.Expr) -> None:
    """Take those macros that give null instead of an error: DuckDB's TRY does not catch ``error``."""
    for call in tree.find_all(exp.Anonymous):
        if call.name.startswith("t_"):
            call.set("this", "n_" + call.name[2:])


def _check(tree: exp.Expr) -> None:
    for node in tree.walk():
        if isinstance(node, _FORBIDDEN):
            raise not_supported(f"{type(node).__name__.upper()} inside of a query")
        if isinstance(node, exp.Anonymous):
            if node.name.lower() not in _NAMED:
                raise QueryFailedError(
                    f"FUNCTION_NOT_FOUND: line 1:8: Function '{node.name.lower()}' not registered", kind=1301
                )
        elif isinstance(node, exp.Func) and type(node).__name__ not in _FUNCTIONS:
            raise not_supported(f"the function {node.sql_name().lower()} is not available here")
        elif isinstance(node, exp.Max | exp.Min | exp.ArgMax | exp.ArgMin) and (
            node.expressions or node.args.get("count")
        ):
            raise not_supported("max, min, max_by and min_by of several values")
        elif isinstance(node, exp.Split) and node.args.get("limit"):
            raise not_supported("split with a limit")
        elif isinstance(node, exp.ArraySort) and node.args.get("expression"):
            raise not_supported("array_sort with a function that compares")


def _name_columns(tree: exp.Expr) -> None:
    if not isinstance(tree, exp.Query):
        return
    select = tree
    while isinstance(select, exp.SetOperation | exp.Subquery):
        select = select.this
    if not isinstance(select, exp.Select):
        return
    for index, item in enumerate(select.expressions):
        if not isinstance(item, exp.Alias | exp.Column | exp.Star | exp.Dot) and not item.is_star:
            item.replace(exp.alias_(item.copy(), f"_col{index}", quoted=True))


# --- types of decimals -----------------------------------------------------------------------------


def _decimal_scales(tree: exp.Expr, schema: Mapping[TableName, Mapping[str, str]]) -> dict[int, int | None]:
    """Digits behind the point of the operands of divisions and averages, by the operand's mark.

    None: it is not a decimal. What is not in it is not known.
    """
    wanted = list(tree.find_all(exp.Div, exp.Avg))
    if not wanted:
        return {}
    operands = [
        operand
        for node in wanted
        for operand in (node.args.get("this"), node.args.get("expression"))
        if operand
    ]
    for operand in operands:
        operand.meta["operand"] = id(operand)
    nested: dict[str, object] = {table.key: dict(columns) for table, columns in schema.items()}
    try:
        copy = qualify(
            tree.copy(),
            schema=nested,
            dialect="duckdb",
            validate_qualify_columns=False,
            quote_identifiers=False,
            expand_stars=True,
        )
        copy = annotate_types(copy, schema=nested, dialect="duckdb")
    except Exception:  # whatever it is: then types are not known, and decimals are refused
        return {}
    found: dict[int, int | None] = {}
    for node in copy.walk():
        mark = node.meta.get("operand")
        if mark is not None:
            known, scale = _scale(node)
            if known:
                found[mark] = BIG if scale == 0 and _is_big(node) else scale
    return found


def _is_big(node: exp.Expr) -> bool:
    """Whether an integer may be one of DuckDB's 128 bits, as its sums are; Trino's are of 64."""
    if isinstance(node, exp.Literal):
        return False
    return (
        node.find(exp.Sum) is not None
        or node.type is None
        or not node.type.is_type("int", "smallint", "tinyint")
    )


def _scale(node: exp.Expr) -> tuple[bool, int | None]:  # noqa: PLR0912  (a table of kinds)
    """Whether a type is known, and its digits behind the point if it is a decimal."""
    if isinstance(node, exp.Literal):
        if node.is_string:
            return False, None
        text = node.name.lower()
        return True, None if "e" in text else (len(text.partition(".")[2]) if "." in text else 0)
    if isinstance(
        node,
        exp.Paren
        | exp.Neg
        | exp.Min
        | exp.Max
        | exp.Sum
        | exp.Avg
        | exp.AnyValue
        | exp.Abs
        | exp.Window
        | exp.Filter
        | exp.Distinct,
    ):
        return _scale(node.this if not isinstance(node, exp.Distinct) else node.expressions[0])
    if isinstance(node, exp.Count):
        return True, 0
    if isinstance(node, exp.Mul):
        return _both(node, lambda a, b: a + b)
    if isinstance(node, exp.Add | exp.Sub | exp.Div):
        return _both(node, max)
    if isinstance(node, exp.Coalesce | exp.Case | exp.If | exp.Nullif):
        if isinstance(node, exp.Case):
            parts = [item.args["true"] for item in node.args["ifs"]] + [node.args.get("default")]
        elif isinstance(node, exp.If):
            parts = [node.args["true"], node.args.get("false")]
        else:
            parts = [node.this, *node.expressions] if isinstance(node, exp.Coalesce) else [node.this]
        scales = [_scale(part) for part in parts if part is not None and not isinstance(part, exp.Null)]
        if any(not known for known, _ in scales):
            return False, None
        if any(scale is None for _, scale in scales):
            return True, None
        return True, max(scale or 0 for _, scale in scales)
    kind = node.to if isinstance(node, exp.Cast) else node.type
    if kind is None or kind.is_type("unknown"):
        return False, None
    if kind.is_type("decimal"):
        digits = kind.expressions
        return (True, int(digits[1].name) if len(digits) > 1 else 0) if digits else (False, None)
    if kind.is_type(*exp.DataType.INTEGER_TYPES):
        return True, 0
    return True, None


def _both(node: exp.Expr, combine: Callable[[int, int], int]) -> tuple[bool, int | None]:
    (left_known, left), (right_known, right) = _scale(node.this), _scale(node.expression)
    if not (left_known and right_known):
        return False, None
    return True, None if left is None or right is None else combine(left, right)


# --- rules -----------------------------------------------------------------------------------------

Scales = Mapping[int, int | None]


def _call(name: str, *arguments: exp.Expr | None) -> exp.Anonymous:
    return exp.Anonymous(this=name, expressions=[argument for argument in arguments if argument is not None])


def _text(value: str) -> exp.Literal:
    return exp.Literal.string(value)


def _unit(node: exp.Expr) -> exp.Literal:
    unit = node.args.get("unit")
    return _text(unit.name.lower() if unit is not None else "day")


def _decimal(left: exp.Expr, right: exp.Expr, scale: int) -> exp.Expr:
    """Left / right, half up, with ``scale`` digits behind the point."""

    def unscaled(side: exp.Expr) -> exp.Expr:
        return _call("t_unscaled", exp.cast(side, f"DECIMAL(38,{scale})"))

    dividend = exp.Mul(
        this=unscaled(left), expression=exp.cast(_text("1" + "0" * scale), "HUGEINT", dialect="duckdb")
    )
    quotient = exp.cast(_call("t_quotient", dividend, unscaled(right)), f"DECIMAL({38 - scale},0)")
    if scale == 0:
        return quotient
    return exp.Paren(
        this=exp.Mul(
            this=quotient, expression=exp.cast(_text(f"{10**-scale:.{scale}f}"), f"DECIMAL({scale},{scale})")
        )
    )


def _div(node: exp.Expr, scales: Scales) -> exp.Expr:
    marks = [side.meta.get("operand", 0) for side in (node.this, node.expression)]
    scale = {mark: scales.get(mark, -1) for mark in marks}
    left, right = scale.values() if len(scale) == 2 else (scale[marks[0]], scale[marks[0]])
    if left is None or right is None or -1 in (left, right):
        return _call("t_div", node.this, node.expression)
    if left > 0 or right > 0:
        return _decimal(node.this, node.expression, max(left, right))
    sides = (
        exp.cast(side, "BIGINT") if digits == BIG else side
        for side, digits in ((node.this, left), (node.expression, right))
    )
    return _call("t_div", *sides)


def _outer(node: exp.Expr) -> exp.Expr:
    outer = node
    while isinstance(outer.parent, exp.Window | exp.Filter) and outer.arg_key == "this":
        outer = outer.parent
    return outer


def _avg(node: exp.Expr, scales: Scales) -> exp.Expr:
    scale = scales.get(node.this.meta.get("operand", 0), -1)
    if scale is None or scale <= 0:
        argument = node.this
        if isinstance(argument, exp.Distinct):
            if scale == -1:
                raise not_supported("avg(DISTINCT x) of an x whose type is not known here")
            return node
        if scale != -1:
            return node
        return exp.Avg(this=_call("t_avgable", argument))
    outer = _outer(node)
    sum_, count = (
        _in_place_of_avg(outer.copy(), kind(this=node.this.copy())) for kind in (exp.Sum, exp.Count)
    )
    whole = _decimal(sum_, count, scale)
    if outer is node:
        return whole
    _keep_mark(outer, whole)
    outer.replace(whole)
    return node


def _in_place_of_avg(outer: exp.Expr, new: exp.Expr) -> exp.Expr:
    inner = outer.find(exp.Avg)
    if inner is None or inner is outer:
        return new
    inner.replace(new)
    return outer


def _concat(node: exp.Expr, _scales: Scales) -> exp.Expr:
    first, *others = node.expressions
    for other in others:
        first = exp.DPipe(this=first, expression=other)
    return exp.Paren(this=first)


def _cast(node: exp.Expr, _scales: Scales) -> exp.Expr:
    target: exp.DataType = node.args["to"]
    kind, value = target.this.name, node.this
    new: exp.Expr
    if kind in {"VARCHAR", "TEXT", "CHAR"}:
        new = _call("t_text", value)
        if target.expressions:
            new = _call("substr", new, exp.Literal.number(1), exp.Literal.number(target.expressions[0].name))
    elif kind in _INTEGERS:
        new = exp.Cast(this=_call("t_int", value), to=target)
    elif kind == "JSON":
        new = _call("to_json", value)
    elif kind in {"TIMESTAMP", "TIMESTAMPTZ", "TIME", "TIMETZ"} and target.expressions:
        new = exp.Cast(this=value, to=exp.DataType.build(kind))
    else:
        new = exp.Cast(this=value, to=target)
    if isinstance(node, exp.TryCast):
        return exp.Try(this=new)
    return new


def _interval_side(node: exp.Expr, name: str) -> exp.Expr:
    if isinstance(node.expression, exp.Interval):
        return _call(name, node.this, node.expression)
    if isinstance(node.this, exp.Interval):
        return _call(name, node.expression, node.this)
    return node


def _extract(node: exp.Expr, _scales: Scales) -> exp.Expr:
    unit = node.this.name.upper()
    if unit in {"DOW", "DAY_OF_WEEK", "DAYOFWEEK"}:
        return _call("isodow", node.expression)
    if unit in {"DOY", "DAY_OF_YEAR", "DAYOFYEAR"}:
        return _call("dayofyear", node.expression)
    return node


def _regexp_replace(node: exp.Expr, _scales: Scales) -> exp.Expr:
    new = node.args.get("replacement")
    if new is None:
        new = _text("")
    elif isinstance(new, exp.Literal):
        new = _text(re.sub(r"\$(\d)", r"\\\1", new.name))
    else:
        raise not_supported("regexp_replace with a replacement that is no literal")
    return _call("regexp_replace", node.this, node.expression, new, _text("g"))


def _named(node: exp.Expr, _scales: Scales) -> exp.Expr:
    name = node.name.lower()
    if name.startswith("t_") or name not in _NAMED:
        return node
    arguments = node.expressions
    if name in {"format_datetime", "parse_datetime"}:
        if not isinstance(arguments[1], exp.Literal):
            raise not_supported(f"{name} with a pattern that is no literal")
        pattern = _text(joda(arguments[1].name))
        if name == "format_datetime":
            return _call("strftime", arguments[0], pattern)
        return exp.cast(_call("strptime", arguments[0], pattern), "TIMESTAMPTZ")
    if name == "at_timezone":
        return _zone(arguments[0], arguments[1])
    return _call(_NAMED[name], *arguments)


def joda(pattern: str) -> str:
    """A pattern of Joda-Time as one of strftime.

    >>> joda("yyyy-MM-dd HH:mm:ss.SSS"), joda("dd'T'MM")
    ('%Y-%m-%d %H:%M:%S.%g', '%dT%m')

    Raises:
        QueryFailedError: A letter of it is not known.
    """
    out = []
    for found in re.finditer(r"'([^']*)'|(([A-Za-z])\3*)|([^A-Za-z'])", pattern):
        quoted, letters, other = found[1] or "", found[2] or "", found[4] or ""
        if letters:
            if letters not in _JODA:
                raise not_supported(f"the pattern letters {letters!r}")
            out.append(_JODA[letters])
        else:
            out.append((quoted or other).replace("%", "%%"))
    return "".join(out)


def _zone(value: exp.Expr, zone: exp.Expr) -> exp.Expr:
    if isinstance(zone, exp.Literal) and zone.name.upper() == "UTC":
        return exp.cast(value, "TIMESTAMPTZ")
    raise not_supported("time zones other than UTC")


def _bracket(node: exp.Expr, _scales: Scales) -> exp.Expr:
    if node.args.get("safe"):
        return node
    index = node.expressions[0]
    offset = node.args.get("offset") or 0
    if offset == 0 and isinstance(index, exp.Literal) and not index.is_string:
        index = exp.Literal.number(int(index.name) + 1)
    return _call("t_subscript", node.this, index)


_RULES: dict[type[exp.Expr], Callable[[exp.Expr, Scales], exp.Expr]] = {
    exp.Div: _div,
    exp.Mod: lambda node, _: _call("t_mod", node.this, node.expression),
    exp.Avg: _avg,
    exp.Concat: _concat,
    exp.Cast: _cast,
    exp.TryCast: _cast,
    exp.Add: lambda node, _: _interval_side(node, "t_plus_interval"),
    exp.Sub: lambda node, _: _interval_side(node, "t_minus_interval"),
    exp.DateAdd: lambda node, _: _call("t_date_add", _unit(node), node.expression, node.this),
    exp.DateDiff: lambda node, _: _call("date_sub", _unit(node), node.expression, node.this),
    exp.DateTrunc: lambda node, _: _call("t_date_trunc", _unit(node), node.this),
    exp.TimestampTrunc: lambda node, _: _call("t_date_trunc", _unit(node), node.this),
    exp.Substring: lambda node, _: _call(
        "t_substr3" if node.args.get("length") else "t_substr",
        node.this,
        node.args.get("start"),
        node.args.get("length"),
    ),
    exp.JSONExtractScalar: lambda node, _: _call("t_json_scalar", node.this, node.expression),
    exp.RegexpExtract: lambda node, _: _call(
        "t_extract", node.this, node.expression, node.args.get("group") or exp.Literal.number(0)
    ),
    exp.RegexpReplace: _regexp_replace,
    exp.SplitPart: lambda node, _: _call(
        "t_split_part", node.this, node.args.get("delimiter"), node.args.get("part_index")
    ),
    exp.ArraySlice: lambda node, _: _call("t_slice", node.this, node.args["start"], node.args["end"]),
    exp.ArraySort: lambda node, _: _call("t_array_sort", node.this),
    exp.ArrayToString: lambda node, _: _call(
        "t_array_join3" if node.args.get("null") else "t_array_join",
        node.this,
        node.expression,
        node.args.get("null"),
    ),
    exp.ArgMax: lambda node, _: _call("arg_max_null", node.this, node.expression),
    exp.ArgMin: lambda node, _: _call("arg_min_null", node.this, node.expression),
    exp.Log: lambda node, _: _call("t_log", node.this, node.expression) if node.expression else node,
    exp.TimeToUnix: lambda node, _: _call("t_to_unixtime", node.this),
    exp.ArraySize: lambda node, _: _call("len", node.this),
    exp.GenerateSeries: lambda node, _: _call(
        "t_sequence" if node.args.get("step") else "generate_series",
        node.args.get("start"),
        node.args.get("end"),
        node.args.get("step"),
    ),
    exp.Extract: _extract,
    exp.AtTimeZone: lambda node, _: _zone(node.this, node.args["zone"]),
    exp.Anonymous: _named,
    exp.Bracket: _bracket,
}


# --- places ----------------------------------------------------------------------------------------


def place_of(sql: str, start: int) -> str:
    """Line and column, both from 1, of an offset in a text."""
    return f"{sql.count(chr(10), 0, start) + 1}:{start - sql.rfind(chr(10), 0, start)}"


def _place(node: exp.Table, sql: str) -> str:
    first = next((part for part in node.parts if "start" in part.meta), None)
    return place_of(sql, first.meta["start"]) if first is not None else "1:1"


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


def _syntax(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "line 1:1: statement is too large (stack overflow while parsing)"
    details = getattr(error, "errors", None) or [{}]
    line, column = details[0].get("line") or 1, details[0].get("col") or 1
    near = details[0].get("highlight") or "<EOF>"
    return f"line {line}:{column}: mismatched input '{near}': {details[0].get('description') or 'not SQL'}"
