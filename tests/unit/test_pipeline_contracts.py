"""Contracts: what is wrong in a file is said, with the file's name."""

import re
from dataclasses import replace

import pytest
import yaml

from contracts import Consequence, ContractError, load_contract, load_contracts, load_order
from contracts.loader import CONTRACTS_DIR, entities, read_contract


def document(entity="loans"):
    return yaml.safe_load((CONTRACTS_DIR / f"{entity}.odcs.yaml").read_text(encoding="utf-8"))


def column(contract, name):
    return next(item for item in contract["schema"][0]["properties"] if item["name"] == name)


@pytest.fixture
def read(tmp_path):
    """Write a document as a contract file, and read it."""

    def write_and_read(content):
        path = tmp_path / "loans.odcs.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content), encoding="utf-8")
        return read_contract(path)

    return write_and_read


def test_an_unchanged_contract_can_be_read(read):
    assert read(document()) == load_contract("loans")


@pytest.mark.parametrize("text", ["a: [1", "- a\n- b\n", "just text", "", "apiVersion: {}\n"])
def test_what_is_not_a_contract_is_refused_with_the_name_of_the_file(read, text):
    with pytest.raises(ContractError, match=r"loans\.odcs\.yaml"):
        read(text)


def test_an_unknown_entity_names_the_known_ones():
    with pytest.raises(ContractError, match=r"no contract for 'clients'; known are: accounts, customers"):
        load_contract("clients")


def _no_key(contract):
    del column(contract, "loan_id")["primaryKey"]


def _no_version(contract):
    contract["schema"][0]["customProperties"] = []


def _version_of_nothing(contract):
    contract["schema"][0]["customProperties"][0]["value"] = "changed_at"


def _bad_type(contract):
    column(contract, "principal")["physicalType"] = "money"


def _optional_key(contract):
    column(contract, "loan_id")["required"] = False


def _twice(contract):
    contract["schema"][0]["properties"].append(column(contract, "principal"))


def _parent_without_column(contract):
    column(contract, "customer_id")["relationships"] = [{"to": "customers"}]


def _rule_of_another_kind(contract):
    column(contract, "currency")["quality"][0]["metric"] = "nullValues"


def _rule_without_arguments(contract):
    column(contract, "currency")["quality"][0]["arguments"] = {}


def _row_rule_of_another_engine(contract):
    contract["schema"][0]["quality"][0]["engine"] = "soda"


def _severity_that_is_none(contract):
    column(contract, "currency")["quality"][0]["severity"] = "bad"


def _limit_that_is_no_number(contract):
    rule = column(contract, "currency")["quality"][0]
    rule["customProperties"] = [{"property": "failAbovePercent", "value": "many"}]


def _two_consequences(contract):
    rule = contract["schema"][0]["quality"][0]
    contract["schema"][0]["quality"].append(rule | {"severity": "warning"})


def _custom(name, value):
    def spoil(contract):
        contract["schema"][0]["customProperties"].append({"property": name, "value": value})

    return spoil


def _built_in(name, **said):
    def spoil(contract):
        contract["schema"][0]["quality"].append(built_in(name, **said))

    return spoil


def built_in(name, **said):
    """What a contract says of a rule that follows from a column."""
    rule = {"name": name, "type": "custom", "engine": "finlake", "implementation": "built-in"}
    limit = said.pop("above", None)
    properties = [{"property": "failAbovePercent", "value": limit}] if limit is not None else None
    return rule | said | ({"customProperties": properties} if properties else {})


def _partitioned_by(name):
    def spoil(contract):
        column(contract, name)["partitioned"] = True

    return spoil


def _partitioned_by_a_name(contract):
    _partitioned_by("currency")(contract)
    column(contract, "currency")["customProperties"] = [{"property": "piiClass", "value": "name"}]


def _alias_of_a_column(contract):
    column(contract, "principal")["customProperties"] = [{"property": "aliases", "value": ["currency"]}]


def _not_in_future(name, value):
    def spoil(contract):
        column(contract, name)["customProperties"] = [{"property": "notInFuture", "value": value}]

    return spoil


def _two_tables(contract):
    contract["schema"] *= 2


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_no_key, "no column has 'primaryKey: true'"),
        (_no_version, "versionColumn names no column"),
        (_version_of_nothing, "versionColumn names no column"),
        (_bad_type, "principal: physicalType 'money' is not supported"),
        (_optional_key, "loan_id: key and version columns must be required"),
        (_twice, "column names are not unique"),
        (_parent_without_column, "customer_id: a relationship points to 'entity.column'"),
        (_rule_of_another_kind, "currency: a column rule is a named 'invalidValues' metric"),
        (_rule_without_arguments, "rule bad_currency has neither 'validValues' nor 'pattern'"),
        (_row_rule_of_another_engine, "a table rule is a named 'custom' rule of engine 'finlake'"),
        (_severity_that_is_none, "severity of rule bad_currency is one of error, warning, fail"),
        (_limit_that_is_no_number, "failAbovePercent of rule bad_currency is no number"),
        (_two_consequences, "have different consequences"),
        (_custom("schemaPolicy", "guess"), "schemaPolicy is one of evolve, ignore, fail"),
        (_custom("delivery", "full"), "customProperties.delivery is one of changes, snapshot, not 'full'"),
        (_custom("delivery", "snapshot"), "operationColumn and delivery: snapshot exclude each other"),
        (_custom("closesAtMostPercent", 5), "closesAtMostPercent needs delivery: snapshot"),
        (_custom("closesAtMostPercent", "few"), "closesAtMostPercent is no number"),
        (
            _built_in("too_old"),
            "there is no built-in rule 'too_old'; those of this contract are missing_key, ",
        ),
        (_built_in("bad_currency"), "there is no built-in rule 'bad_currency'"),
        (_built_in("malformed_date:status"), "there is no built-in rule 'malformed_date:status'"),
        (_built_in("missing_key", severity="warning"), "missing_key has no place in Silver"),
        (_built_in("stray_quote", severity="warning"), "stray_quote has no place in Silver"),
        (_built_in("missing_value:updated_at", severity="warning"), "missing_value:updated_at has no place"),
        (_built_in("missing_value", severity="bad"), "severity of rule missing_value is one of"),
        (_custom("clusterBy", ["day"]), "clusterBy names unknown columns: day"),
        (
            _partitioned_by("collateral_value"),
            "collateral_value: a column that partitions a table must be required or derived",
        ),
        (_partitioned_by_a_name, "currency: personal data cannot partition a table"),
        (_alias_of_a_column, "an alias names a column of the contract"),
        (
            _not_in_future("principal", True),
            "principal: notInFuture is for dates and timestamps that files hold",
        ),
        (_not_in_future("start_date", "maybe"), "customProperties.notInFuture is true or false, not 'maybe'"),
        (_two_tables, "exactly one table under 'schema' is expected"),
    ],
)
def test_what_the_engine_cannot_do_is_refused_with_file_and_place(read, spoil, message):
    contract = document()
    spoil(contract)
    with pytest.raises(ContractError, match=re.escape(message)) as caught:
        read(contract)
    assert str(caught.value).startswith("loans.odcs.yaml")


def test_what_follows_from_a_rule_is_read_with_its_limit(read):
    contract = document()
    rule = column(contract, "currency")["quality"][0]
    rule |= {"severity": "warning", "customProperties": [{"property": "failAbovePercent", "value": 2.5}]}
    contract["schema"][0]["quality"][0]["severity"] = "fail"
    found = read(contract)
    name = contract["schema"][0]["quality"][0]["name"]
    assert found.consequences == {"bad_currency": Consequence("warning", 2.5), name: Consequence("fail")}
    assert found.consequence("bad_currency:currency").limit == 2.5
    assert found.consequence(name).limit == 0
    assert found.consequence("missing_value:currency").limit is None


def test_what_follows_from_a_built_in_rule_is_read_by_rule_and_by_column(read):
    contract = document()
    contract["schema"][0]["quality"] += [
        built_in("missing_value", severity="warning", above=5),
        built_in("malformed_date:start_date", severity="fail"),
        built_in("unknown_parent:customer_id", severity="warning"),
    ]
    found = read(contract)
    assert found.row_rules == load_contract("loans").row_rules
    assert found.consequence("missing_value:principal") == Consequence("warning", 5)
    assert found.consequence("malformed_date:start_date").level == "fail"
    assert found.consequence("malformed_date:maturity_date").level == "error"
    assert found.consequence("unknown_parent:customer_id").level == "warning"


def test_what_has_happened_is_not_in_the_future_as_far_as_the_contract_says(read):
    contract = document()
    del column(contract, "start_date")["customProperties"]
    column(contract, "maturity_date")["customProperties"] = [{"property": "notInFuture", "value": True}]
    contract["schema"][0]["quality"].append(built_in("in_future:maturity_date", severity="warning"))
    found = read(contract)
    bound = [item.name for item in found.columns if item.not_in_future]
    assert bound == ["maturity_date", "updated_at"], "the version column always"
    assert [found.consequence(f"in_future:{name}").level for name in bound] == ["warning", "error"]


def test_files_are_laid_out_as_the_contract_says(read):
    contract = document()
    assert (read(contract).cluster_by, read(contract).partition_by) == ((), ())
    _custom("clusterBy", ["start_date"])(contract)
    _partitioned_by("currency")(contract)
    assert (read(contract).cluster_by, read(contract).partition_by) == (("start_date",), ("currency",))


def test_history_and_change_data_are_what_the_contract_says(read):
    contract = document()
    contract["schema"][0]["customProperties"] = [{"property": "versionColumn", "value": "updated_at"}]
    found = read(contract)
    assert (found.keeps_history, found.operation_column) == (False, None)
    assert (load_contract("loans").keeps_history, load_contract("loans").operation_column) == (True, "op")
    assert [load_contract(name).history_has_feed for name in ("customers", "accounts")] == [True, False]
    for name, value in (("history", "scd3"), ("operationColumn", "currency"), ("historyChangeFeed", "maybe")):
        spoilt = document()
        properties = spoilt["schema"][0]["customProperties"]
        properties[:] = [item for item in properties if item["property"] != name]
        properties.append({"property": name, "value": value})
        with pytest.raises(ContractError, match=name):
            read(spoilt)


def test_all_problems_of_a_contract_are_told_at_once(read):
    contract = document()
    _bad_type(contract)
    _optional_key(contract)
    with pytest.raises(ContractError, match=r"must be required") as caught:
        read(contract)
    assert "'money' is not supported" in str(caught.value)


def test_parents_come_before_children():
    order = list(load_contracts())
    assert sorted(order) == list(entities())
    for entity, contract in load_contracts().items():
        assert all(order.index(parent) < order.index(entity) for parent in contract.parent_entities)


def test_entities_that_do_not_depend_on_each_other_share_a_level():
    assert load_order(load_contracts()) == (
        ("customers",),
        ("accounts", "loans"),
        ("payments", "transactions"),
    )


def test_a_parent_outside_of_the_choice_is_not_waited_for():
    chosen = {entity: load_contract(entity) for entity in ("payments", "accounts")}
    assert load_order(chosen) == (("accounts", "payments"),)


def test_a_cycle_is_refused_and_shown():
    customers, loans = load_contract("customers"), load_contract("loans")
    back = replace(
        customers,
        columns=tuple(
            replace(item, parent="loans.loan_id") if item.name == "national_id" else item
            for item in customers.columns
        ),
    )
    with pytest.raises(ContractError, match=r"cycle: .*(customers -> loans|loans -> customers)"):
        load_order({"customers": back, "loans": loans})


@pytest.mark.parametrize("entity", entities())
def test_every_contract_fits_the_engine(entity):
    contract = load_contract(entity)
    assert 12 <= len(contract.source_columns) <= 20
    assert contract.column(contract.version_column).physical_type == "timestamp"
    for item in contract.columns:
        assert item.description
        if item.parent:
            parent = load_contract(str(item.parent_entity))
            assert parent.key == (item.parent_column,)
        if item.derived:
            assert item.derivation
    with pytest.raises(KeyError, match="no column 'nothing'"):
        contract.column("nothing")


def test_full_snapshots_are_what_the_contract_says(read):
    contract = document()
    contract["schema"][0]["customProperties"] = [
        {"property": "versionColumn", "value": "updated_at"},
        {"property": "delivery", "value": "snapshot"},
        {"property": "closesAtMostPercent", "value": 12.5},
    ]
    found = read(contract)
    assert (found.is_snapshot, found.closes_at_most) == (True, 12.5)
    assert (load_contract("loans").is_snapshot, load_contract("loans").closes_at_most) == (False, None)
