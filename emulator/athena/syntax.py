"""Trino's SQL as text: what is a statement, where something stands in it, parameters. No input or output."""

from __future__ import annotations

import re

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.parser import Parser
from sqlglot.parsers.trino import TrinoParser
from sqlglot.tokenizer_core import Token, TokenType

from emulator.athena.allowed import NAMES
from emulator.athena.errors import QueryFailedError, RequestRefusedError, function_not_found

DIALECT = "athena"
MAX_BYTES = 262_144
_HIVES = {"ALTER", "CREATE", "DESCRIBE", "DROP", "MSCK", "SHOW"}  # not Trino's, unless they have a query
# What Trino has not: x::y, QUALIFY, {...}, operators of bits and of patterns.
_FOREIGN = frozenset(
    {
        TokenType.DCOLON, TokenType.QUALIFY, TokenType.L_BRACE, TokenType.CARET, TokenType.AMP,
        TokenType.PIPE, TokenType.TILDE, TokenType.ILIKE, TokenType.RLIKE, TokenType.GLOB,
        TokenType.SIMILAR_TO, TokenType.DSTAR, TokenType.HEREDOC_STRING,
        TokenType.RAW_STRING, TokenType.BIT_STRING, TokenType.COLON_EQ,
    }
)  # fmt: skip
_NOT_BEFORE_BRACKETS = frozenset(
    {
        None, TokenType.SELECT, TokenType.DISTINCT, TokenType.COMMA, TokenType.L_PAREN, TokenType.L_BRACKET,
        TokenType.EQ, TokenType.NEQ, TokenType.LT, TokenType.GT, TokenType.PLUS, TokenType.DASH,
        TokenType.DPIPE,
        TokenType.IN, TokenType.AND, TokenType.OR, TokenType.NOT, TokenType.WHERE, TokenType.WHEN,
        TokenType.THEN, TokenType.ELSE, TokenType.ARROW, TokenType.BETWEEN,
    }
)  # fmt: skip
_FUNCTION_NAMES = frozenset({TokenType.VAR, TokenType.FIRST, TokenType.LIST, TokenType.XOR, TokenType.STRUCT})
_BEFORE_NAMES = frozenset({TokenType.ALIAS, TokenType.WITH, TokenType.INTO, TokenType.TABLE, TokenType.VIEW})
_KNOWN = frozenset({*TrinoParser.FUNCTIONS, *TrinoParser.FUNCTION_PARSERS, *Parser.FUNCTION_PARSERS})
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
_STATEMENTS = (exp.Query, exp.Values)


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


def first_word(sql: str) -> tuple[str, int]:
    """The first word of a statement behind comments, in capitals, and where it begins.

    >>> first_word("/* hm */ -- x" + chr(10) + " show tables")
    ('SHOW', 15)
    """
    found = re.match(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(\w+)", sql, re.DOTALL)
    return (found[1].upper(), found.start(1)) if found else ("", 0)


def with_double_quotes(sql: str) -> str:
    """A statement of Hive's with names quoted as Trino does it; others stay as they are.

    >>> with_double_quotes("DESCRIBE `db`.`t`"), with_double_quotes("SELECT '`'")
    ('DESCRIBE "db"."t"', "SELECT '`'")
    """
    return sql.replace("`", '"') if first_word(sql)[0] in {"DESCRIBE", "MSCK", "SHOW"} else sql


def place_of(sql: str, start: int) -> str:
    """Line and column, both from 1, of an offset in a text."""
    return f"{sql.count(chr(10), 0, start) + 1}:{start - sql.rfind(chr(10), 0, start)}"


def _no_statement(sql: str) -> RequestRefusedError:
    _, start = first_word(sql)
    word = (sql[start:].split() or [""])[0]
    return RequestRefusedError(
        f"line {place_of(sql, start)}: mismatched input '{word}'. Expecting: 'ALTER', 'CREATE', 'DELETE', "
        "'DESCRIBE', 'DROP', 'EXECUTE', 'EXPLAIN', 'INSERT', 'MSCK', 'PREPARE', 'SHOW', 'UNLOAD', <query>",
        "MALFORMED_QUERY",
    )


def _refuse_other_dialects(sql: str) -> None:
    """See that there is nothing that sqlglot takes for Trino's SQL although Trino does not.

    Raises:
        RequestRefusedError: There is.
    """
    tokens = [token for token in sqlglot.tokenize(sql, dialect=DIALECT) if token.text]
    if not tokens or (tokens[0].text.upper() in _HIVES and not _has_select(tokens)):
        return
    for index, token in enumerate(tokens):
        before = tokens[index - 1] if index else None
        after = tokens[index + 1] if index + 1 < len(tokens) else None
        if _is_foreign(sql, before, token, after):
            place = place_of(sql, token.start)
            raise RequestRefusedError(f"line {place}: mismatched input '{token.text}'", "MALFORMED_QUERY")


def _has_select(tokens: list[Token]) -> bool:
    return any(token.token_type is TokenType.SELECT for token in tokens)


def _is_foreign(sql: str, before: Token | None, token: Token, after: Token | None) -> bool:
    kind, last = token.token_type, before.token_type if before is not None else None
    if kind in _FOREIGN or (kind is TokenType.FROM and before is None):
        return True
    if kind is TokenType.ALL:
        return last is TokenType.GROUP_BY and (after is None or after.token_type in _AFTER_GROUPS)
    if kind is TokenType.L_BRACKET:  # a subscript, or ARRAY[...]
        return last in _NOT_BEFORE_BRACKETS
    if kind is TokenType.LT:
        return last is TokenType.LT
    if kind is TokenType.STRING:
        return last is TokenType.STRING
    if kind is TokenType.HEX_STRING:
        return sql[token.start : token.start + 2].lower() == "0x"
    if kind is TokenType.VAR:
        return token.text.startswith("$") or (
            last is TokenType.NUMBER and before is not None and before.end + 1 == token.start
        )
    return False


def refuse_foreign_functions(sql: str) -> None:
    """See that a statement calls no function that sqlglot knows from other dialects.

    Raises:
        QueryFailedError: It does.

    >>> refuse_foreign_functions("SELECT coalesce(a, b) AS nvl")
    >>> refuse_foreign_functions("SELECT 1, nvl(a, b)")
    Traceback (most recent call last):
    emulator.athena.errors.QueryFailedError: FUNCTION_NOT_FOUND: line 1:11: Function 'nvl' not registered
    """
    tokens = [token for token in sqlglot.tokenize(sql, dialect=DIALECT) if token.text]
    for before, token, after in zip([None, *tokens], tokens, tokens[1:], strict=False):
        if (
            after.token_type is TokenType.L_PAREN
            and token.token_type in _FUNCTION_NAMES
            and token.text.upper() in _KNOWN
            and token.text.upper() not in NAMES
            and (before is None or before.token_type not in _BEFORE_NAMES)
        ):
            of_tables = before is not None and before.token_type in (TokenType.FROM, TokenType.JOIN)
            raise function_not_found(token.text, place_of(sql, token.start), of_tables=of_tables)


def _syntax(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "line 1:1: statement is too large (stack overflow while parsing)"
    details = getattr(error, "errors", None) or [{}]
    line, column = details[0].get("line") or 1, details[0].get("col") or 1
    near = details[0].get("highlight") or "<EOF>"
    return f"line {line}:{column}: mismatched input '{near}': {details[0].get('description') or 'not SQL'}"
