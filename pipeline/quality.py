"""Quality rules of a contract -> the reasons why a row cannot enter Silver.

A reason is a short text: ``rule:column`` for a rule on one column, ``rule`` for one on the row.
Pure expressions over a frame whose contract columns are clean strings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING

from pyspark.sql import functions as F  # noqa: N812

from contracts import Column as ContractColumn
from contracts import Consequence, Contract
from contracts.rules import (
    GRACE_DAYS,
    IN_FUTURE,
    OPERATIONS,
    UNKNOWN_OPERATION,
    UNKNOWN_PARENT,
    can_warn,
    malformed,
)
from pipeline.errors import FinlakeError
from pipeline.files import DAY_FOLDER, ingest_day

if TYPE_CHECKING:
    from pyspark.sql import Column

SEPARATOR = ";"


class RuleBrokenError(FinlakeError):
    """More rows break a rule than the contract allows; nothing was written."""


def reasons(contract: Contract) -> Column:
    """Reasons of a row, joined by ``;``, in contract order; an empty string when there is none.

    Needs for each column ``c`` of the contract the text ``c`` and the typed value ``_typed.c``,
    ``_problem`` (see ``reader.parse_lines``), ``_operation``, ``_is_deleted`` and ``_came_on`` (see
    :func:`came_on`). A line that could not be split has that one reason. A deletion needs nothing but its
    key and version.
    """
    checks = _broken_column_rules(contract, warnings=False)
    if contract.operation_column:
        unknown = ~F.col("_operation").isin(*OPERATIONS)
        checks.append(F.when(unknown, F.lit(f"{UNKNOWN_OPERATION}:{contract.operation_column}")))
    return F.coalesce(F.col("_problem"), F.concat_ws(SEPARATOR, *checks))


def came_on(files: Iterable[str], read_on: date) -> Column:
    """Day on which a row's file came, which nothing in it can be later than.

    It is the day of its folder ``ingest_date=YYYY-MM-DD``, so that a row is judged alike whenever it is read
    or tried again. Files in no such folder came when they are read.

    Args:
        files: URIs of all files that rows may be of; none when they are not known.
        read_on: Day (UTC) on which the files are read.
    """
    days = {ingest_day(file) or read_on for file in files}
    if len(days) == 1:  # as in most loads: a constant, which costs nothing
        return F.lit(days.pop())
    folder_day = f"try_cast(regexp_extract(_source_file, '{DAY_FOLDER.pattern}', 1) AS date)"
    return F.coalesce(F.expr(folder_day), F.lit(read_on))


def row_reasons(contract: Contract) -> Column:
    """Reasons that rules over several typed columns give, joined by ``;``; null passes a rule."""
    return F.concat_ws(SEPARATOR, *_broken_row_rules(contract, warnings=False))


def column_warnings(contract: Contract) -> Column:
    """Like :func:`reasons`, of the rules that only warn."""
    return F.concat_ws(SEPARATOR, *_broken_column_rules(contract, warnings=True))


def row_warnings(contract: Contract) -> Column:
    """Like :func:`row_reasons`, of the rules that only warn."""
    return F.concat_ws(SEPARATOR, *_broken_row_rules(contract, warnings=True))


def check_limits(broken: Mapping[str, int], read: int, contract: Contract) -> None:
    """Stop a load when more rows break a rule than the contract allows.

    Args:
        broken: Rows by reason or warning.
        read: Rows read.
        contract: The entity.

    Raises:
        RuleBrokenError: That is so.
    """
    by_rule = Counter(broken)
    for reason, rows in broken.items():
        if ":" in reason:
            by_rule[reason.partition(":")[0]] += rows
    problems = []
    for rule, rows in sorted(by_rule.items()):
        # What is said of a rule holds for all columns together; of one column, only where that is said.
        limit = contract.consequences.get(rule, Consequence()).limit
        if limit is not None and rows > read * limit / 100:
            allowed = f"more than the {limit:g} % that the contract allows" if limit else "and none may"
            problems.append(f"{rows:,} of {read:,} rows break rule {rule}, {allowed}")
    if problems:
        raise RuleBrokenError(
            f"{contract.entity} was not loaded: {'; '.join(problems)}",
            "correct or remove the files; `finlake run` reads them again then",
        )


def only_warns(reason: str, contract: Contract) -> bool:
    """Whether a row is kept in spite of a reason, and marked."""
    return contract.consequence(reason).level == "warning" and can_warn(reason, contract)


def join_reasons(*columns: Column) -> Column:
    """Join texts of reasons, leaving out empty ones."""
    return F.concat_ws(SEPARATOR, *[F.when(column != "", column) for column in columns])


def orphan_reason(column: ContractColumn) -> str:
    """Reason of a row whose parent is not in Silver (yet)."""
    return f"{UNKNOWN_PARENT}:{column.name}"


def _broken_column_rules(contract: Contract, *, warnings: bool) -> list[Column]:
    return [
        F.when(failed, F.lit(f"{rule}:{column.name}"))
        for column in contract.source_columns
        for rule, failed in _column_checks(column, contract)
        if only_warns(f"{rule}:{column.name}", contract) is warnings
    ]


def _broken_row_rules(contract: Contract, *, warnings: bool) -> list[Column]:
    return [
        F.when(~F.expr(rule.predicate), F.lit(rule.name))
        for rule in contract.row_rules
        if only_warns(rule.name, contract) is warnings
    ]


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
    if column.not_in_future:
        last = F.date_add("_came_on", GRACE_DAYS)
        if column.physical_type == "date":
            yield IN_FUTURE, value > last
        else:
            yield IN_FUTURE, value >= F.date_add(last, 1).cast("timestamp")
