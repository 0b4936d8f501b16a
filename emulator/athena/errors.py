"""The two ways in which Athena says no: to a request, and to a query that has been accepted."""

from __future__ import annotations

SYSTEM, USER, OTHER = 1, 2, 3


class RequestRefusedError(Exception):
    """A request that is answered with an error.

    Args:
        message: For people.
        code: ``AthenaErrorCode`` of an ``InvalidRequestException``, or None.
        kind: The exception's name in the API.
    """

    def __init__(self, message: str, code: str | None = None, kind: str = "InvalidRequestException") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.kind = kind


class QueryFailedError(Exception):
    """A query that ends as FAILED.

    Args:
        message: Becomes ``StateChangeReason`` and ``AthenaError.ErrorMessage``.
        category: Who is to blame: ``SYSTEM``, ``USER`` or ``OTHER``.
        kind: ``AthenaError.ErrorType``, of Athena's error catalogue
            (https://docs.aws.amazon.com/athena/latest/ug/error-reference.html).
        retryable: Whether the same query may succeed later.
    """

    def __init__(
        self, message: str, category: int = USER, kind: int = 1006, *, retryable: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.category = category
        self.kind = kind
        self.retryable = retryable


def table_not_found(database: str, table: str, place: str = "1:1") -> QueryFailedError:
    """The error for a table that Glue does not know."""
    return QueryFailedError(
        f"TABLE_NOT_FOUND: line {place}: Table 'awsdatacatalog.{database}.{table}' does not exist", USER, 1301
    )


def function_not_found(name: str, place: str, *, of_tables: bool = False) -> QueryFailedError:
    """The error for a function, or one that gives a table, that is not there; see ``place_of``."""
    kind = "Table function" if of_tables else "Function"
    return QueryFailedError(
        f"FUNCTION_NOT_FOUND: line {place}: {kind} '{name.lower()}' not registered", USER, 1301
    )


def not_supported(what: str) -> QueryFailedError:
    """The error for what is valid SQL, but is not done."""
    return QueryFailedError(f"NOT_SUPPORTED: {what}", USER, 401)
