"""Quality rules of a contract -> the reasons why a row cannot enter Silver.

A reason is a short text: ``rule:column`` for a rule on one column, ``rule`` for one on the row.
Pure expressions over a frame whose contract columns are clean strings.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from contracts import Column as ContractColumn
from contracts import Contract
from pipeline.cleaning import malformed

if TYPE_CHECKING:
    from pyspark.sql import Column

SEPARATOR = ";"
UNKNOWN_PARENT = "unknown_parent"
UNKNOWN_OPERATION = "unknown_operation"
DELETE = "D"
OPERATIONS = ("I", "U", DELETE)  # insert, update, delete


def reasons(contract: Contract) -> Column:
    """Reasons of a row, joined by ``;``, in contract order; an empty string when there is none.

    Needs for each column ``c`` of the contract the text ``c`` and the typed value ``_typed.c``,
    ``_problem`` (see ``reader.parse_lines``), ``_operation`` and ``_is_deleted``. A line that could not
    be split has that one reason. A deletion needs nothing but its key and version.
    """
    checks = [
        F.when(failed, F.lit(f"{rule}:{column.name}"))
        for column in contract.source_columns
        for rule, failed in _column_checks(column, contract)
    ]
    if contract.operation_column:
        unknown = ~F.col("_operation").isin(*OPERATIONS)
        checks.append(F.when(unknown, F.lit(f"{UNKNOWN_OPERATION}:{contract.operation_column}")))
    return F.coalesce(F.col("_problem"), F.concat_ws(SEPARATOR, *checks))


def row_reasons(contract: Contract) -> Column:
    """Reasons that rules over several typed columns give, joined by ``;``; null passes a rule."""
    checks = [F.when(~F.expr(rule.predicate), F.lit(rule.name)) for rule in contract.row_rules]
    return F.concat_ws(SEPARATOR, *checks)


def join_reasons(*columns: Column) -> Column:
    """Join texts of reasons, leaving out empty ones."""
    return F.concat_ws(SEPARATOR, *[F.when(column != "", column) for column in columns])


def orphan_reason(column: ContractColumn) -> str:
    """Reason of a row whose parent is not in Silver (yet)."""
    return f"{UNKNOWN_PARENT}:{column.name}"


def _column_checks(column: ContractColumn, contract: Contract) -> Iterator[tuple[str, Column]]:
    raw, value = F.col(column.name), F.col(f"_typed.{column.name}")
    if column.required and column.name in contract.identity:
        yield "missing_key" if column.name in contract.key else "missing_value", raw.isNull()
    elif column.required:
        yield "missing_value", raw.isNull() & ~F.col("_is_deleted")
    if column.physical_type != "string":
        yield malformed(column), raw.isNotNull() & value.isNull()
    if column.allowed_values:
        yield column.allowed_values_rule, ~raw.isin(*column.allowed_values)
    if column.pattern:
        yield column.pattern_rule, ~raw.rlike(column.pattern)
    if column.max_length is not None:
        yield "too_long", F.length(raw) > column.max_length
    if column.minimum is not None:
        yield "too_small", value < F.lit(column.minimum)
    if column.maximum is not None:
        yield "too_large", value > F.lit(column.maximum)
