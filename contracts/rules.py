"""The rules of a contract, by name and in words: what each reason in quarantine means.

A reason is ``rule:column`` for a rule on one column, ``rule`` for one on the row or the line. Whoever
checks the rules names them alike.
"""

from __future__ import annotations

from contracts.model import Column, Contract

UNKNOWN_PARENT = "unknown_parent"
UNKNOWN_OPERATION = "unknown_operation"
INSERT, UPDATE, DELETE = OPERATIONS = ("I", "U", "D")
IN_FUTURE = "in_future"
GRACE_DAYS = 1
"""Days that a clock may be ahead of the day on which a file came: time zones, and files sent at midnight."""
MALFORMED = {"date": "malformed_date", "timestamp": "malformed_timestamp", "boolean": "malformed_boolean"}

# Reasons that the reader gives, for which no contract has a rule.
LINE_REASONS = {
    "wrong_column_count": "The line has more or fewer values than the header has names.",
    "stray_quote": "A quote is not closed, or stands in the middle of a value.",
    "nul_byte": "A NUL byte is in the line.",
    "not_utf8": "The line holds bytes that are not UTF-8.",
    "ambiguous_header": "A column stands more than once in the file's header.",
    "unreadable_header": "No column name of the contract is in line 1 of the file.",
}
# What the table holds of such rows is not all that is needed to read them again.
NEED_THE_FILE = ("not_utf8", "ambiguous_header", "unreadable_header")


def rules(contract: Contract) -> dict[str, str]:
    """Every reason that the contract can give, with what it demands, in the order of the contract."""
    found = {
        f"{rule}:{column.name}": demanded
        for column in contract.source_columns
        for rule, demanded in _column_rules(column, is_key=column.name in contract.key).items()
    }
    if contract.operation_column:
        reason = f"{UNKNOWN_OPERATION}:{contract.operation_column}"
        found[reason] = f"{contract.operation_column} must be one of: {', '.join(OPERATIONS)}; or empty."
    found |= {rule.name: rule.description or f"{rule.predicate}." for rule in contract.row_rules}
    return found | {
        f"{UNKNOWN_PARENT}:{column.name}": f"{column.name} must be in Silver as {column.parent}."
        for column in contract.parents
    }


def malformed(column: Column) -> str:
    """Rule that a value of this column has the form of its type."""
    return MALFORMED.get(column.physical_type, "malformed_number")


def can_warn(reason: str, contract: Contract) -> bool:
    """Whether Silver could keep a row in spite of a reason: it knows its line, its key and its version.

    >>> from contracts.loader import load_contract
    >>> loans = load_contract("loans")
    >>> can_warn("malformed_date:start_date", loans), can_warn("missing_key:loan_id", loans)
    (True, False)
    """
    rule, _, column = reason.partition(":")
    lost = rule.startswith(("missing_", "malformed_")) and column in contract.identity
    return not lost and rule not in (*LINE_REASONS, "missing_key", UNKNOWN_OPERATION)


def describe(reason: str, contract: Contract) -> str:
    """What a reason means by the present contract.

    >>> from contracts.loader import load_contract
    >>> describe("too_small:late_fee", load_contract("payments"))
    'late_fee must be at least 0.'
    """
    known = rules(contract) | LINE_REASONS
    return known.get(reason, "The contract has no such rule any more.")


def _column_rules(column: Column, *, is_key: bool) -> dict[str, str]:
    name = column.name
    found = {}
    if column.required:
        what = "is part of the key and " if is_key else ""
        found["missing_key" if is_key else "missing_value"] = f"{name} {what}must be there."
    if column.physical_type != "string":
        found[malformed(column)] = f"{name} must have the form of a {column.physical_type}."
    if column.allowed_values:
        allowed = ", ".join(map(str, column.allowed_values))
        found[column.allowed_values_rule] = f"{name} must be one of: {allowed}."
    if column.pattern:
        found[column.pattern_rule] = f"{name} must match {column.pattern}"
    if column.max_length is not None:
        found["too_long"] = f"{name} must have at most {column.max_length} characters."
    if column.minimum is not None:
        found["too_small"] = f"{name} must be at least {column.minimum}."
    if column.maximum is not None:
        found["too_large"] = f"{name} must be at most {column.maximum}."
    if column.not_in_future:
        found[IN_FUTURE] = (
            f"{name} must be no more than {GRACE_DAYS} day after the day on which the file came."
        )
    return found
