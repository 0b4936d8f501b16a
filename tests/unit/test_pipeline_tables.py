"""Delta tables without Spark: created, extended, and asked for their versions."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError
from hypothesis import given
from hypothesis import strategies as st
from lake_bytes import found_in

from contracts import load_contracts
from pipeline.errors import FinlakeError
from pipeline.gold import MARTS
from pipeline.ledger import OPS_TABLES
from pipeline.silver import QUARANTINE_COLUMNS, silver_columns
from pipeline.tables import (
    CHANGE_FEED,
    TableColumn,
    _fits,
    aggregated,
    arrow_type,
    changes_read_here,
    ensure_table,
    forget_past,
    newest_metadata,
    open_table,
    row_count,
    table_version,
)
from pipeline.verify import sql_type

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


def arrow(*rows):
    fields = [pa.field(column.name, arrow_type(column.type), column.nullable) for column in COLUMNS]
    return pa.Table.from_pylist(list(rows), schema=pa.schema(fields))


def contents(uri):
    return DeltaTable(uri).to_pyarrow_table().to_pylist()


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
    write_deltalake(uri, arrow(row("a", 1)), mode="append")
    version = table_version(uri)
    ensure_table(uri, COLUMNS, ["entity"])
    assert table_version(uri) == version
    assert contents(uri) == [row("a", 1)]


def test_columns_that_a_table_lacks_are_added_and_its_rows_are_kept(uri):
    ensure_table(uri, COLUMNS[:2])
    write_deltalake(uri, arrow(row("a", 1)).select(["entity", "rows"]), mode="append")
    ensure_table(uri, COLUMNS)
    assert [field.name for field in DeltaTable(uri).schema().fields] == ["entity", "rows", "at"]
    assert contents(uri) == [{"entity": "a", "rows": 1, "at": None}]


def test_columns_that_a_table_has_beyond_the_wanted_ones_stay(uri):
    ensure_table(uri, COLUMNS)
    ensure_table(uri, COLUMNS[:1])
    assert len(DeltaTable(uri).schema().fields) == len(COLUMNS)


def test_a_wider_type_is_given_to_a_column_and_its_values_stay(uri):
    narrow = (
        TableColumn("n", "int", "Number.", "secret", nullable=False),
        TableColumn("m", "decimal(9,2)", "M."),
    )
    table = ensure_table(uri, narrow, description="Numbers.")
    rows = pa.table({"n": pa.array([1], pa.int32()), "m": pa.array([Decimal("1.50")], pa.decimal128(9, 2))})
    required = pa.schema([pa.field("n", pa.int32(), nullable=False), rows.schema.field("m")])
    write_deltalake(table, rows.cast(required), mode="append")
    before = table_version(uri)
    wide = (replace(narrow[0], type="bigint"), replace(narrow[1], type="decimal(18,4)"))
    ensure_table(uri, (*wide, TableColumn("new", "string", "New.")))
    stored = DeltaTable(uri)
    assert [(field.name, sql_type(field.type), field.nullable) for field in stored.schema().fields] == [
        ("n", "bigint", False),
        ("m", "decimal(18,4)", True),
        ("new", "string", True),
    ]
    assert stored.schema().fields[0].metadata == {"comment": "Number.", "pii": "secret"}
    assert contents(uri) == [{"n": 1, "m": Decimal("1.5000"), "new": None}]
    assert DeltaTable(uri, version=before).to_pyarrow_table().schema.field("n").type == pa.int32()
    version = table_version(uri)
    ensure_table(uri, wide)
    assert table_version(uri) == version


def test_a_tag_that_the_contract_gives_later_comes_into_the_table_that_is_there(uri):
    untagged = (replace(COLUMNS[2], pii_class=None), *COLUMNS[:2])
    ensure_table(uri, untagged, description="D.", configuration={"delta.enableChangeDataFeed": "true"})
    write_deltalake(uri, arrow(row("a", 1)).select(["at", "entity", "rows"]), mode="append")
    before = DeltaTable(uri)
    ensure_table(uri, COLUMNS)
    stored = DeltaTable(uri)
    fields = {field.name: field for field in stored.schema().fields}
    assert fields["at"].metadata == {"comment": "When.", "pii": "when"}
    assert [(field.name, field.type, field.nullable) for field in stored.schema().fields] == [
        (field.name, field.type, field.nullable) for field in before.schema().fields
    ]
    assert stored.metadata().configuration == before.metadata().configuration
    assert stored.metadata().description == "D."
    assert stored.protocol() == before.protocol()
    assert contents(uri) == [row("a", 1)]
    version = table_version(uri)
    ensure_table(uri, COLUMNS)
    ensure_table(uri, untagged)
    assert table_version(uri) == version, "a tag is given once, and not taken away"


@pytest.mark.parametrize(
    ("stored", "wanted"),
    [
        ("bigint", "int"),
        ("string", "int"),
        ("int", "string"),
        ("decimal(18,2)", "decimal(9,2)"),
        ("decimal(18,2)", "decimal(18,4)"),
        ("int", "decimal(10,2)"),
        ("timestamp", "date"),
    ],
)
def test_a_type_that_values_may_not_fit_into_is_refused(uri, stored, wanted):
    ensure_table(uri, [TableColumn("n", stored, "")])
    version = table_version(uri)
    with pytest.raises(FinlakeError, match=r"column n of file:.* not every such value"):
        ensure_table(uri, [TableColumn("new", "string", ""), TableColumn("n", wanted, "")])
    assert table_version(uri) == version


@given(
    st.tuples(st.integers(1, 18), st.integers(0, 18)).filter(lambda digits: digits[1] <= digits[0]),
    st.tuples(st.integers(1, 18), st.integers(0, 18)).filter(lambda digits: digits[1] <= digits[0]),
)
def test_a_decimal_is_widened_only_when_its_extreme_values_fit(narrow, wide):
    greatest = Decimal("9" * narrow[0]).scaleb(-narrow[1])
    try:
        pa.array([greatest], pa.decimal128(*narrow)).cast(pa.decimal128(*wide))
        fits = True
    except pa.ArrowInvalid:
        fits = False
    assert _fits("decimal({},{})".format(*narrow), "decimal({},{})".format(*wide)) == fits


def test_the_version_is_that_of_the_newest_commit_with_and_without_checkpoints(uri):
    table = ensure_table(uri, COLUMNS)
    for version in range(1, 13):
        write_deltalake(table, arrow(row("a", version)), mode="append")
        assert table_version(uri) == table.version() == version
        if version % 5 == 0:
            table.create_checkpoint()
    table.cleanup_metadata()
    assert table_version(uri) == DeltaTable(uri).version() == 12


def test_the_newest_metadata_of_a_commit_is_found_behind_commits_without_any(uri):
    assert newest_metadata(uri) is None
    table = ensure_table(uri, COLUMNS)
    assert newest_metadata(uri) is None
    for text in ("old", "new"):
        properties = CommitProperties(custom_metadata={"userMetadata": text})
        write_deltalake(table, arrow(row("a", 1)), mode="append", commit_properties=properties)
    assert newest_metadata(uri) == "new"
    write_deltalake(table, arrow(row("a", 2)), mode="append")
    assert newest_metadata(uri) == "new"


def test_aggregates_are_those_of_spark_and_of_the_asked_version(uri):
    assert row_count(uri) == 0
    cents = pa.array([Decimal("0.10"), Decimal("0.20"), None, Decimal("99.00")], pa.decimal128(18, 2))
    gone = pa.array([None, None, None, NOON], pa.timestamp("us", "UTC"))
    at = pa.array([NOON] * 4, pa.timestamp("us", "UTC"))
    rows = pa.table({"amount": cents, "at": at, "_deleted_at": gone})
    write_deltalake(uri, rows)
    write_deltalake(uri, rows.slice(0, 1), mode="append")
    asked = ["count(*)", "sum(amount)", "CAST(max(at) AS date)", "count(CASE WHEN amount > 1 THEN 1 END)"]
    living = [4, Decimal("0.40"), NOON.date(), 0]
    assert aggregated(uri, None, asked, unset="_deleted_at") == living
    assert aggregated(uri, 0, asked, unset="_deleted_at") == [3, Decimal("0.30"), NOON.date(), 0]
    assert aggregated(uri, 1, asked, unset="no such column") == [5, Decimal("99.40"), NOON.date(), 1]
    assert aggregated(uri, 1, asked, most=100) is None, "which is for Spark to do"
    assert row_count(uri) == 5


def test_changes_are_read_here_when_they_are_small_however_large_the_table_is(uri):
    rows = pa.table({"number": pa.array(range(50_000)), "text": pa.array([str(n) for n in range(50_000)])})
    write_deltalake(uri, rows, configuration={CHANGE_FEED: "true"})
    table = DeltaTable(uri)
    table.update({"text": "'x'"}, predicate="number < 2")
    size = sum(pa.table(table.get_add_actions(flatten=True)).column("size_bytes").to_pylist())
    found = changes_read_here(uri, 1, 1, ("number", "no such column"), most=size // 10)
    assert found is not None
    assert sorted(found.rows()) == [
        (0, "update_postimage"),
        (0, "update_preimage"),
        (1, "update_postimage"),
        (1, "update_preimage"),
    ]
    assert changes_read_here(uri, 1, 1, ("number",), most=100) is None, "which is for Spark to do"
    assert changes_read_here(uri, 0, 1, ("number",), most=size // 10) is None, "all rows are new there"


def test_a_table_with_a_feature_that_this_process_does_not_know_is_left_to_spark_and_mistakes_are_not(
    tmp_path,
):
    uri = f"file://{tmp_path}/t"
    write_deltalake(uri, pa.table({"amount": [1, 2]}), configuration={CHANGE_FEED: "true"})
    assert aggregated(uri, None, ["sum(amount)"]) == [3]
    assert changes_read_here(uri, 0, 0, ["amount"]).height == 2
    with pytest.raises(DeltaError, match="amounts"):
        aggregated(uri, None, ["sum(amounts)"])
    with pytest.raises(DeltaError, match="version"):
        changes_read_here(uri, 7, 8, ["amount"])
    log = tmp_path / "t" / "_delta_log" / f"{0:020}.json"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    features = {"readerFeatures": ["typeWidening"], "writerFeatures": ["typeWidening", "changeDataFeed"]}
    newer = {"protocol": {"minReaderVersion": 3, "minWriterVersion": 7, **features}}
    log.write_text("\n".join(json.dumps(newer if "protocol" in action else action) for action in actions))
    assert aggregated(uri, None, ["sum(amount)"]) is None
    assert changes_read_here(uri, 0, 0, ["amount"]) is None


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


def test_a_table_that_forgets_its_past_holds_its_present_rows_and_nothing_else(tmp_path):
    columns = (TableColumn("id", "string", "Key."), TableColumn("name", "string", "Name.", "name"))
    uri = f"file://{tmp_path}/t"
    table = ensure_table(uri, columns)
    rows = pa.table({"id": ["1", "2"], "name": ["aaa-least-of-all", "zoe"]})
    write_deltalake(table, rows, mode="append")
    stray = tmp_path / "t" / "part-left-by-a-killed-run.snappy.parquet"
    pq.write_table(rows, stray)
    ours = pa.table({"id": ["1"], "name": ["nobody"]})
    write_deltalake(uri, ours, mode="overwrite", predicate="id = '1'")
    in_log = {path for path, _ in found_in(tmp_path, {"aaa-least-of-all"}) if "_delta_log" in path}
    assert in_log == {"t/_delta_log/00000000000000000001.json"}, "statistics hold values"
    forget_past(uri, {"userMetadata": "kept"})
    assert found_in(tmp_path, {"aaa-least-of-all"}) == set()
    assert not stray.exists()
    left = DeltaTable(uri)
    assert sorted(left.to_pyarrow_table()["name"].to_pylist()) == ["nobody", "zoe"]
    assert newest_metadata(uri) == "kept"
    assert left.schema().fields[1].metadata["pii"] == "name"
    assert table_version(uri) == left.version()
    write_deltalake(left, rows, mode="append")
    assert DeltaTable(uri).to_pyarrow_table().num_rows == 4
