"""What the rest of the project needs from a contract, as small immutable values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class ContractError(ValueError):
    """A contract file is missing, is not valid ODCS, or says something the engine cannot do."""


@dataclass(frozen=True)
class Column:
    """One column of an entity.

    Attributes:
        name: Column name, in Bronze's header and in Silver.
        physical_type: Spark SQL type in Silver: ``string``, ``int``, ``bigint``, ``boolean``,
            ``date``, ``timestamp`` (UTC) or ``decimal(p,s)``.
        description: What the column means, with its unit or currency.
        required: Whether a value must be there.
        pii_class: Kind of personal data (``email``, ``phone``, ``date_of_birth``, ...), or None.
        derived: True when Silver computes the column, so Bronze does not hold it.
        derivation: How a derived column is computed, in words.
        sources: What a derived column is computed from, as ``entity.column``.
        parent: ``entity.column`` that the value must exist in, or None.
        allowed_values: Closed list of values, or empty.
        allowed_values_rule: Name of the rule that checks ``allowed_values``.
        pattern: Regular expression that the whole value must match, or None.
        pattern_rule: Name of the rule that checks ``pattern``.
        minimum: Least value of a number, or None.
        maximum: Greatest value of a number, or None.
        max_length: Greatest number of characters of a string, or None.
        aliases: Other names that the column may have in a file's header, such as former ones.
        not_in_future: Whether the value says when something happened, so that a file cannot hold one from
            after the day on which it came. So it is with every version column that is a date or an instant.
    """

    name: str
    physical_type: str
    description: str
    required: bool = False
    pii_class: str | None = None
    derived: bool = False
    derivation: str | None = None
    sources: tuple[str, ...] = ()
    parent: str | None = None
    allowed_values: tuple[str, ...] = ()
    allowed_values_rule: str = "unknown_value"
    pattern: str | None = None
    pattern_rule: str = "bad_format"
    minimum: float | None = None
    maximum: float | None = None
    max_length: int | None = None
    aliases: tuple[str, ...] = ()
    not_in_future: bool = False

    @property
    def is_decimal(self) -> bool:
        """Whether the column is a DECIMAL."""
        return self.physical_type.startswith("decimal")

    @property
    def parent_entity(self) -> str | None:
        """Entity part of ``parent``."""
        return self.parent.split(".")[0] if self.parent else None

    @property
    def parent_column(self) -> str | None:
        """Column part of ``parent``."""
        return self.parent.split(".")[1] if self.parent else None


@dataclass(frozen=True)
class RowRule:
    """A rule over several columns of one row.

    Attributes:
        name: Name of the rule; it becomes the reason of a quarantined row.
        predicate: Spark SQL predicate over cleaned columns. A row passes unless it is false
            (null passes, as in a SQL CHECK constraint).
        description: What the rule means.
    """

    name: str
    predicate: str
    description: str


@dataclass(frozen=True)
class Consequence:
    """What follows when a row breaks a rule.

    Attributes:
        level: ``error`` puts the row into quarantine, ``warning`` marks it and keeps it, ``fail`` stops
            the load of its entity before anything is written.
        fail_above: Percentage of the rows read above which the load stops as well; None for no limit.
    """

    level: str = "error"
    fail_above: float | None = None

    @property
    def limit(self) -> float | None:
        """Percentage of broken rows above which the load stops; None when it never does."""
        return 0.0 if self.level == "fail" else self.fail_above


@dataclass(frozen=True)
class Contract:
    """An entity: its columns in contract order, its key, its version column and its rules.

    Attributes:
        entity: Name of the entity.
        version: Version of the contract.
        description: What one row is.
        columns: Columns in contract order.
        key: Names of the columns that make the business key.
        version_column: Column that orders the versions of a key.
        row_rules: Rules over several columns of a row.
        operation_column: Column of change data (``I``, ``U``, ``D``) that files may have, or None.
            Silver does not keep it.
        schema_policy: What becomes of columns that the contract does not know: ``evolve`` (Silver gets
            them), ``ignore``, or ``fail`` (the entity is not loaded; also when columns are missing).
        consequences: What follows from breaking a rule, by its name or by ``rule:column``, where it is not
            quarantine alone.
        cluster_by: Columns whose like values are to stand together in Silver's files; maintenance sees to it.
        partition_by: Columns that Silver's files are divided by, into folders.
        keeps_history: Whether all versions are kept, as slowly changing dimension (SCD) type 2.
        history_has_feed: Whether that history tells what has changed in it, by Delta's change data feed, for
            marts that follow it.
        is_snapshot: Whether the files of a day hold all keys that there are, so that a missing one is closed.
        closes_at_most: Percentage of the open keys above which a snapshot that lacks them is not loaded;
            None for no limit.
    """

    entity: str
    version: str
    description: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    version_column: str
    row_rules: tuple[RowRule, ...] = ()
    operation_column: str | None = None
    schema_policy: str = "evolve"
    keeps_history: bool = False
    history_has_feed: bool = False
    is_snapshot: bool = False
    closes_at_most: float | None = None
    cluster_by: tuple[str, ...] = ()
    partition_by: tuple[str, ...] = ()
    consequences: Mapping[str, Consequence] = field(default_factory=dict)

    @property
    def source_columns(self) -> tuple[Column, ...]:
        """Columns that Bronze holds, in contract order."""
        return tuple(column for column in self.columns if not column.derived)

    @property
    def input_columns(self) -> tuple[str, ...]:
        """Names that a file may have in its header: source columns, and the operation column."""
        names = tuple(column.name for column in self.source_columns)
        return (*names, self.operation_column) if self.operation_column else names

    def consequence(self, reason: str) -> Consequence:
        """What follows from a reason, which is ``rule`` or ``rule:column``."""
        rule = reason.split(":", maxsplit=1)[0]
        return self.consequences.get(reason) or self.consequences.get(rule) or Consequence()

    @property
    def aliases(self) -> dict[str, str]:
        """Names of columns by the other names that files may give them."""
        return {alias: column.name for column in self.source_columns for alias in column.aliases}

    @property
    def identity(self) -> tuple[str, ...]:
        """Columns that say which version of which key a row is: all that a deletion has."""
        return (*self.key, self.version_column)

    @property
    def derived_columns(self) -> tuple[Column, ...]:
        """Columns that Silver computes, in contract order."""
        return tuple(column for column in self.columns if column.derived)

    @property
    def parents(self) -> tuple[Column, ...]:
        """Columns that refer to another entity."""
        return tuple(column for column in self.columns if column.parent)

    @property
    def parent_entities(self) -> tuple[str, ...]:
        """Entities that columns of this one refer to, each once."""
        return tuple(dict.fromkeys(str(column.parent_entity) for column in self.parents))

    def column(self, name: str) -> Column:
        """Return the column called ``name``.

        Raises:
            KeyError: There is no such column.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.entity} has no column {name!r}")
