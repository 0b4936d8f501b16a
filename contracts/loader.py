"""Read ODCS v3 YAML files into :class:`~contracts.model.Contract` values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import yaml
from open_data_contract_standard.model import (
    CustomProperty,
    DataQuality,
    OpenDataContractStandard,
    SchemaObject,
    SchemaProperty,
)
from pydantic import ValidationError

from contracts.model import Column, Consequence, Contract, ContractError, RowRule
from contracts.rules import LINE_REASONS, can_warn, rules

CONTRACTS_DIR = Path(__file__).parent
SUFFIX = ".odcs.yaml"
LEVELS = ("error", "warning", "fail")
DELIVERIES = ("changes", "snapshot")
SCHEMA_POLICIES = ("evolve", "ignore", "fail")
BUILT_IN = "built-in"
TIMES = ("date", "timestamp")
PHYSICAL_TYPE = re.compile(r"string|int|bigint|boolean|date|timestamp|decimal\(\d{1,2},\d{1,2}\)")


def entities() -> tuple[str, ...]:
    """Names of all entities that have a contract, in alphabetical order."""
    return tuple(sorted(path.name.removesuffix(SUFFIX) for path in CONTRACTS_DIR.glob("*" + SUFFIX)))


@cache
def load_contract(entity: str) -> Contract:
    """Load one contract by entity name.

    Raises:
        ContractError: There is no such contract, or it is not valid; the message names the file.
    """
    path = CONTRACTS_DIR / f"{entity}{SUFFIX}"
    if not path.is_file():
        raise ContractError(f"there is no contract for {entity!r}; known are: {', '.join(entities())}")
    return read_contract(path)


def load_contracts() -> dict[str, Contract]:
    """Load every contract, parents before children."""
    contracts = {entity: load_contract(entity) for entity in entities()}
    return {entity: contracts[entity] for level in load_order(contracts) for entity in level}


def load_order(contracts: Mapping[str, Contract]) -> tuple[tuple[str, ...], ...]:
    """Group entities into levels: each level depends only on earlier ones.

    Args:
        contracts: Contracts by entity name. Parents outside of the mapping are not waited for.

    Returns:
        Levels in order, entity names sorted within each level.

    Raises:
        ContractError: The relationships form a cycle.
    """
    graph = {
        entity: {str(column.parent_entity) for column in contract.parents} & set(contracts) - {entity}
        for entity, contract in contracts.items()
    }
    sorter: TopologicalSorter[str] = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as error:
        raise ContractError(f"the relationships form a cycle: {' -> '.join(error.args[1])}") from error
    levels = []
    while sorter.is_active():
        level = tuple(sorted(sorter.get_ready()))
        levels.append(level)
        sorter.done(*level)
    return tuple(levels)


def read_contract(path: Path) -> Contract:
    """Read and check one contract file.

    Raises:
        ContractError: The file is not YAML, not ODCS, or lacks what the engine needs.
    """
    try:
        document = OpenDataContractStandard(**yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, ValidationError, TypeError) as error:
        raise ContractError(f"{path.name} is not a valid ODCS v3 contract: {error}") from error
    if not document.schema_ or len(document.schema_) != 1:
        raise ContractError(f"{path.name}: exactly one table under 'schema' is expected")
    table = document.schema_[0]
    properties = table.properties or []
    keyed = sorted((p for p in properties if p.primaryKey), key=lambda p: p.primaryKeyPosition or 0)
    parted = sorted((p for p in properties if p.partitioned), key=lambda p: p.partitionKeyPosition or 0)
    version_column = _custom(table.customProperties, "versionColumn")
    contract = Contract(
        entity=path.name.removesuffix(SUFFIX),
        version=document.version or "0.0.0",
        description=table.description or "",
        columns=tuple(_column(prop, path.name, str(version_column)) for prop in properties),
        key=tuple(str(prop.name) for prop in keyed),
        version_column=str(version_column),
        row_rules=tuple(_row_rules(table.quality or [], path.name)),
        operation_column=_custom(table.customProperties, "operationColumn"),
        schema_policy=_custom(table.customProperties, "schemaPolicy") or SCHEMA_POLICIES[0],
        consequences=_consequences(table, path.name),
        keeps_history=_keeps_history(_custom(table.customProperties, "history"), path.name),
        history_has_feed=_is_true(table.customProperties, "historyChangeFeed", path.name),
        is_snapshot=_is_snapshot(_custom(table.customProperties, "delivery"), path.name),
        cluster_by=tuple(_list(table.customProperties, "clusterBy")),
        partition_by=tuple(str(prop.name) for prop in parted),
        closes_at_most=_percentage(_custom(table.customProperties, "closesAtMostPercent"), path.name),
    )
    _check(contract, path.name)
    _check_built_in(table.quality or [], contract, path.name)
    return contract


def _column(prop: SchemaProperty, file: str, version_column: str) -> Column:
    options = prop.logicalTypeOptions or {}
    rules = _value_rules(prop.quality or [], f"{file}: {prop.name}")
    parent = prop.relationships[0].to if prop.relationships else None
    return Column(
        name=str(prop.name),
        physical_type=str(prop.physicalType),
        description=prop.description or "",
        required=bool(prop.required),
        pii_class=_custom(prop.customProperties, "piiClass"),
        derived=bool(prop.transformSourceObjects),
        derivation=prop.transformLogic,
        sources=tuple(prop.transformSourceObjects or ()),
        parent=str(parent) if parent else None,
        minimum=options.get("minimum"),
        maximum=options.get("maximum"),
        max_length=options.get("maxLength"),
        aliases=_aliases(prop.customProperties),
        not_in_future=_is_true(prop.customProperties, "notInFuture", file)
        or (prop.name == version_column and prop.physicalType in TIMES),
        **rules,
    )


def _value_rules(rules: Iterable[DataQuality], where: str) -> dict[str, Any]:
    """Turn ODCS ``invalidValues`` checks of a column into :class:`Column` fields."""
    fields: dict[str, Any] = {}
    for rule in rules:
        arguments = rule.arguments or {}
        if rule.metric != "invalidValues" or rule.mustBe != 0 or not rule.name:
            raise ContractError(f"{where}: a column rule is a named 'invalidValues' metric with 'mustBe: 0'")
        if "validValues" in arguments:
            fields |= {"allowed_values": tuple(arguments["validValues"]), "allowed_values_rule": rule.name}
        elif "pattern" in arguments:
            fields |= {"pattern": arguments["pattern"], "pattern_rule": rule.name}
        else:
            raise ContractError(f"{where}: rule {rule.name} has neither 'validValues' nor 'pattern'")
    return fields


def _row_rules(rules: Iterable[DataQuality], file: str) -> Iterable[RowRule]:
    for rule in rules:
        if rule.type != "custom" or rule.engine != "finlake" or not rule.name:
            raise ContractError(f"{file}: a table rule is a named 'custom' rule of engine 'finlake'")
        if rule.implementation != BUILT_IN:
            yield RowRule(rule.name, str(rule.implementation), rule.description or "")


def _aliases(properties: list[CustomProperty] | None) -> tuple[str, ...]:
    return tuple(name.strip().lower() for name in _list(properties, "aliases"))


def _list(properties: list[CustomProperty] | None, name: str) -> list[str]:
    value = next((item.value for item in properties or [] if item.property == name), None)
    return [str(item) for item in value or ()]


def _consequences(table: SchemaObject, file: str) -> dict[str, Consequence]:
    """What the named rules of columns and table say about their severity."""
    rules = [
        *(rule for prop in table.properties or [] for rule in prop.quality or []),
        *(table.quality or []),
    ]
    found: dict[str, Consequence] = {}
    for rule in rules:
        level = rule.severity or "error"
        limit = _custom(rule.customProperties, "failAbovePercent")
        if level not in LEVELS:
            raise ContractError(f"{file}: severity of rule {rule.name} is one of {', '.join(LEVELS)}")
        try:
            consequence = Consequence(level, None if limit is None else float(limit))
        except ValueError:
            raise ContractError(f"{file}: failAbovePercent of rule {rule.name} is no number") from None
        if found.setdefault(str(rule.name), consequence) != consequence:
            raise ContractError(f"{file}: rules named {rule.name} have different consequences")
    return {name: found[name] for name in found if found[name] != Consequence()}


def _keeps_history(value: str | None, file: str) -> bool:
    if value not in (None, "scd2"):
        raise ContractError(f"{file}: customProperties.history is 'scd2' or left out, not {value!r}")
    return value == "scd2"


def _is_true(properties: list[CustomProperty] | None, name: str, file: str) -> bool:
    value = _custom(properties, name)
    if value is not None and value.lower() not in ("true", "false"):
        raise ContractError(f"{file}: customProperties.{name} is true or false, not {value!r}")
    return value is not None and value.lower() == "true"


def _is_snapshot(value: str | None, file: str) -> bool:
    if value not in (None, *DELIVERIES):
        raise ContractError(
            f"{file}: customProperties.delivery is one of {', '.join(DELIVERIES)}, not {value!r}"
        )
    return value == "snapshot"


def _percentage(value: str | None, file: str) -> float | None:
    try:
        return None if value is None else float(value)
    except ValueError:
        raise ContractError(f"{file}: closesAtMostPercent is no number") from None


def _custom(properties: list[CustomProperty] | None, name: str) -> str | None:
    return next((str(item.value) for item in properties or [] if item.property == name), None)


def _check_built_in(quality: Iterable[DataQuality], contract: Contract, file: str) -> None:
    """Check what a contract says of the rules that follow from types, lengths, bounds and parents."""
    named = {rule.name for rule in contract.row_rules}
    named |= {
        name for column in contract.columns for name in (column.allowed_values_rule, column.pattern_rule)
    }
    reasons = [
        reason for reason in (*rules(contract), *LINE_REASONS) if reason.partition(":")[0] not in named
    ]
    known = dict.fromkeys([*(reason.partition(":")[0] for reason in reasons), *reasons])
    for rule in quality:
        if rule.implementation != BUILT_IN:
            continue
        if rule.name not in known:
            rules_alone = ", ".join(name for name in known if ":" not in name)
            raise ContractError(
                f"{file}: there is no built-in rule {rule.name!r}; those of this contract are {rules_alone}, "
                "each also of one column, as rule:column"
            )
        if rule.severity == "warning" and not can_warn(rule.name, contract):
            raise ContractError(
                f"{file}: a row that breaks {rule.name} has no place in Silver, so the rule cannot only warn"
            )


def _check(contract: Contract, file: str) -> None:  # noqa: PLR0912 - one branch for each demand
    names = [column.name for column in contract.columns]
    problems = []
    if len(names) != len(set(names)):
        problems.append("column names are not unique")
    if not contract.key:
        problems.append("no column has 'primaryKey: true'")
    if contract.version_column not in names:
        problems.append("customProperties.versionColumn names no column")
    if contract.operation_column in names:
        problems.append("customProperties.operationColumn names a column that Silver keeps")
    if contract.operation_column and contract.is_snapshot:
        problems.append("customProperties.operationColumn and delivery: snapshot exclude each other")
    if contract.closes_at_most is not None and not contract.is_snapshot:
        problems.append("customProperties.closesAtMostPercent needs delivery: snapshot")
    for name in contract.partition_by:
        if contract.column(name).pii_class:
            problems.append(f"{name}: personal data cannot partition a table, it would stand in paths")
        if contract.column(name).required or contract.column(name).derived:
            continue
        problems.append(f"{name}: a column that partitions a table must be required or derived")
    if unknown := sorted({*contract.cluster_by} - {*names}):
        problems.append(f"customProperties.clusterBy names unknown columns: {', '.join(unknown)}")
    if contract.schema_policy not in SCHEMA_POLICIES:
        problems.append(f"customProperties.schemaPolicy is one of {', '.join(SCHEMA_POLICIES)}")
    twice = [alias for alias in contract.aliases if alias in names]
    if twice or len(contract.aliases) < sum(len(column.aliases) for column in contract.columns):
        problems.append("an alias names a column of the contract, or stands at two columns")
    for column in contract.columns:
        if not PHYSICAL_TYPE.fullmatch(column.physical_type):
            problems.append(f"{column.name}: physicalType {column.physical_type!r} is not supported")
        if column.parent and not re.fullmatch(r"\w+\.\w+", column.parent):
            problems.append(f"{column.name}: a relationship points to 'entity.column'")
        if column.not_in_future and (column.derived or column.physical_type not in TIMES):
            problems.append(f"{column.name}: notInFuture is for dates and timestamps that files hold")
    for name in (*contract.key, contract.version_column):
        if name in names and not contract.column(name).required:
            problems.append(f"{name}: key and version columns must be required")
    if problems:
        raise ContractError(f"{file}: " + "; ".join(problems))
