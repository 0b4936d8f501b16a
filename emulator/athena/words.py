"""The words of statements that sqlglot does not parse: SHOW, MSCK, UNLOAD, EXPLAIN, PREPARE, EXECUTE."""

from __future__ import annotations

import re
from collections.abc import Callable

import sqlglot
from sqlglot.tokenizer_core import Token, TokenType

from emulator.athena.errors import QueryFailedError
from emulator.athena.syntax import first_word, with_double_quotes


class Words:
    """The tokens of a statement that sqlglot does not parse further."""

    def __init__(self, sql: str) -> None:
        self.sql = sql = with_double_quotes(sql)
        # The tokenizer makes one token of what follows such a word: so it does not see it.
        self.first, start = first_word(sql)
        blank = " " * (start + len(self.first)) + sql[start + len(self.first) :]
        self.tokens: list[Token] = [
            token
            for token in sqlglot.tokenize(blank, dialect="trino")
            if token.token_type != TokenType.SEMICOLON
        ]
        self.position = 0

    def peek(self) -> Token | None:
        """The next token, which stays the next one; None at the end."""
        return self.tokens[self.position] if self.position < len(self.tokens) else None

    def next(self, wanted: str | None = None) -> Token:
        """The next token.

        Raises:
            QueryFailedError: There is none, or it is not the wanted word.
        """
        token = self.peek()
        if token is None or (wanted and token.text.upper() != wanted):
            near = token.text if token else "<EOF>"
            raise QueryFailedError(
                f"FAILED: ParseException line 1:0 mismatched input '{near}' expecting {wanted or 'more'}"
            )
        self.position += 1
        return token

    def take(self, word: str) -> bool:
        """Go past the next token if it is this word; whether it was."""
        token = self.peek()
        if token is not None and token.text.upper() == word:
            self.position += 1
            return True
        return False

    def inside(self) -> str:
        """The text between a parenthesis and its counterpart."""
        start, depth = self.next("(").end + 1, 1
        while depth:
            token = self.next()
            depth += (token.token_type == TokenType.L_PAREN) - (token.token_type == TokenType.R_PAREN)
        return self.sql[start : token.start]

    def rest(self) -> str:
        """The text from here on."""
        token = self.next()
        return self.sql[token.start :].rstrip().rstrip(";")

    def table(self, database: str) -> tuple[str, str]:
        """Database (by default the given one) and name of a table."""
        parts = [self.next().text.lower()]
        while self.take("."):
            parts.append(self.next().text.lower())
        return (parts[-2] if len(parts) > 1 else database), parts[-1]

    def pattern(self) -> Callable[[str], bool]:
        """``LIKE 'a*|b*'`` or a bare pattern, as Hive's SHOW has it."""
        self.take("LIKE")
        token = self.peek()
        if token is None:
            return lambda _: True
        found = re.compile(self.next().text.replace("*", ".*").replace("%", ".*"), re.IGNORECASE)
        return lambda item: found.fullmatch(item) is not None


def execute(words: Words) -> tuple[str, list[str]]:
    """Name and parameters of ``EXECUTE name USING a, b``."""
    statement = words.next().text
    parameters: list[str] = []
    if words.take("USING"):
        tree = sqlglot.parse_one(f"SELECT {words.rest()}", dialect="trino")
        parameters = [item.sql("trino") for item in tree.expressions]
    return statement, parameters


def prepare(words: Words) -> tuple[str, str]:
    """Name and text of ``PREPARE name FROM text``."""
    statement = words.next().text
    words.next("FROM")
    return statement, words.rest()
