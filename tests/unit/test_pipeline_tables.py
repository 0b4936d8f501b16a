"""Delta tables without Spark: created, extended, and rewritten slice by slice."""

from datetime import UTC, datetime

import pytest
from deltalake import DeltaTable

from contracts import load_contracts
from pipeline.gold import MARTS
from pipeline.ledger import OPS_TABLES
from pipeline.silver import QUARANTINE_COLUMNS, silver_columns
from pipeline.tables import TableColumn, ensure_table, open_table, read_table, replace_slice, table_version

COLUMNS = (
    TableColumn("entity", "string", "Entity.", nullable=False),
    TableColumn("rows", "bigint", "Rows."),
    TableColumn("at", "timestamp", "When.", pii_class="when"),
)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def uri(tmp_path):
    return f"file://{tmp_path}/table"


def row(entity, rows):
    return {"entity": entity, "rows": rows, "at": NOON}


def contents(uri):
    return sorted((found["entity"], found["rows"]) for found in read_table(uri).iter_rows(named=True))


def test_a_table_that_is_not_there_has_version_minus_one(uri):
    assert table_version(uri) == -1
    assert open_table(uri) is None


def test_a_created_table_carries_comments_pii_and_nullability(uri):
    ensure_table(uri, COLUMNS, description="A table.")
    fields = {field.name: field for field in DeltaTable(uri).schema().fields}
    assert fields["entity"].metadata == {"comment": "Entity."}
    assert fields["at"].metadata == {"comment": "When.", "pii": "when"}
    assert (fields["entity"].nullable, fields["rows"].nullable) == (False, True)
    assert DeltaTable(uri).metadata().description == "A table."


def test_ensuring_a_table_again_changes_nothing(uri):
    ensure_table(uri, COLUMNS, ["entity"])
    replace_slice(uri, COLUMNS, [row("a", 1)], "entity = 'a'")
    version = table_version(uri)
    ensure_table(uri, COLUMNS, ["entity"])
    assert table_version(uri) == version
    assert contents(uri) == [("a", 1)]


def test_columns_that_a_table_lacks_are_added_and_its_rows_are_kept(uri):
    ensure_table(uri, COLUMNS[:2])
    replace_slice(uri, COLUMNS[:2], [{"entity": "a", "rows": 1}], "entity = 'a'")
    ensure_table(uri, COLUMNS)
    assert [field.name for field in DeltaTable(uri).schema().fields] == ["entity", "rows", "at"]
    assert read_table(uri).to_dicts() == [{"entity": "a", "rows": 1, "at": None}]


def test_columns_that_a_table_has_beyond_the_wanted_ones_stay(uri):
    ensure_table(uri, COLUMNS)
    ensure_table(uri, COLUMNS[:1])
    assert len(DeltaTable(uri).schema().fields) == len(COLUMNS)


def test_a_slice_is_replaced_and_the_rest_is_left_alone(uri):
    ensure_table(uri, COLUMNS, ["entity"])
    replace_slice(uri, COLUMNS, [row("a", 1), row("a", 2)], "entity = 'a'")
    replace_slice(uri, COLUMNS, [row("b", 3)], "entity = 'b'")
    replace_slice(uri, COLUMNS, [row("a", 4)], "entity = 'a'")
    assert contents(uri) == [("a", 4), ("b", 3)]


def test_replacing_a_slice_twice_is_like_once(uri):
    ensure_table(uri, COLUMNS)
    for _ in range(2):
        replace_slice(uri, COLUMNS, [row("a", 1), row("a", 1)], "entity = 'a'")
    assert contents(uri) == [("a", 1), ("a", 1)]


def test_replacing_a_slice_by_nothing_empties_it(uri):
    ensure_table(uri, COLUMNS)
    replace_slice(uri, COLUMNS, [row("a", 1)], "entity = 'a'")
    replace_slice(uri, COLUMNS, [row("b", 2)], "entity = 'b'")
    replace_slice(uri, COLUMNS, [], "entity = 'a'")
    assert contents(uri) == [("b", 2)]


def test_all_tables_of_the_project_can_be_created(tmp_path):
    wanted = {f"ops_{name}": columns for name, columns in OPS_TABLES.items()}
    wanted |= {f"silver_{name}": silver_columns(contract) for name, contract in load_contracts().items()}
    wanted |= {f"gold_{mart.name}": mart.columns for mart in MARTS}
    wanted["quarantine"] = QUARANTINE_COLUMNS
    for name, columns in wanted.items():
        table = ensure_table(f"file://{tmp_path}/{name}", columns)
        assert [field.name for field in table.schema().fields] == [column.name for column in columns]


def test_personal_data_of_the_contracts_is_tagged_in_silver_and_gold():
    for contract in load_contracts().values():
        tagged = {column.name: column.pii_class for column in silver_columns(contract) if column.pii_class}
        assert tagged == {column.name: column.pii_class for column in contract.columns if column.pii_class}
    classes = {
        column.name: column.pii_class for contract in load_contracts().values() for column in contract.columns
    }
    for mart in MARTS:
        for column in mart.columns:
            if classes.get(column.name):
                assert column.pii_class == classes[column.name], f"{mart.name}.{column.name}"
