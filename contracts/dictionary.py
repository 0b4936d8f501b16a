"""The data dictionary: what the contracts say of every column, as one page of Markdown.

``make dictionary`` writes it into ``docs/data-dictionary.md``; a test sees that this was not forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from contracts.loader import load_contracts
from contracts.model import Column, Contract

PAGE = Path(__file__).parents[1] / "docs" / "data-dictionary.md"
HEAD = """# Data dictionary

Made from the [contracts](../contracts/) by `make dictionary`; what is written here by hand gets lost.
How personal data (PII) is treated: [personal-data.md](personal-data.md).
"""


def data_dictionary(contracts: Iterable[Contract]) -> str:
    """The page: for each entity its columns, with type, meaning, PII class, rules and parent."""
    return "\n".join([HEAD, *(line for contract in contracts for line in _section(contract))])


def _section(contract: Contract) -> Iterator[str]:
    yield f"## {contract.entity}\n"
    yield f"{contract.description} Key: {', '.join(f'`{name}`' for name in contract.key)}.\n"
    yield "| column | type | meaning | PII | rules | parent |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for column in contract.columns:
        parent = f"`{column.parent}`" if column.parent else ""
        cells = [
            f"`{column.name}`",
            column.physical_type,
            column.description,
            column.pii_class or "",
            "; ".join(_rules(column)),
            parent,
        ]
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""
    if contract.row_rules:
        yield "Rules on rows:\n"
        for rule in contract.row_rules:
            yield f"- `{rule.name}`: `{rule.predicate}`. {rule.description}"
        yield ""


def _rules(column: Column) -> Iterator[str]:
    if column.derived:
        yield f"derived: {column.derivation}"
    if column.required:
        yield "required"
    if column.allowed_values:
        yield f"one of {', '.join(column.allowed_values)}"
    if column.pattern:
        yield f"`{column.pattern}`"
    if column.minimum is not None:
        yield f"at least {column.minimum:g}"
    if column.maximum is not None:
        yield f"at most {column.maximum:g}"
    if column.max_length is not None:
        yield f"at most {column.max_length} characters"
    if column.not_in_future:
        yield "not in the future"


if __name__ == "__main__":
    PAGE.write_text(data_dictionary(load_contracts().values()), encoding="utf-8")
