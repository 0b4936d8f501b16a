"""Small Delta tables: read once, rewritten slice by slice, never many files."""

from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import pytest
from deltalake import DeltaTable
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.small_table import MOST_FILES, SmallTable
from pipeline.tables import TableColumn, table_version

COLUMNS = (
    TableColumn("entity", "string", "Entity.", nullable=False),
    TableColumn("batch", "bigint", "Batch."),
    TableColumn("note", "string", "A note."),
)


def open_again(table):
    return SmallTable(table.uri, COLUMNS, ["entity"])


@pytest.fixture
def table(tmp_path):
    return SmallTable(f"file://{tmp_path}/table", COLUMNS, ["entity"])


def row(entity, batch, note="n"):
    return {"entity": entity, "batch": batch, "note": note}


def rows(table):
    return sorted(table.read().rows())


def test_a_table_that_is_not_there_has_no_rows_and_reading_does_not_make_it(table):
    assert table.read().is_empty()
    assert table.read().columns == [column.name for column in COLUMNS]
    assert table_version(table.uri) == -1


def test_a_slice_is_replaced_and_the_rest_is_left_alone(table):
    table.replace_slice([row("a", 1), row("a", 1, "m")], entity="a", batch=1)
    table.replace_slice([row("a", 2)], entity="a", batch=2)
    table.replace_slice([row("b", 1)], entity="b", batch=1)
    table.replace_slice([row("a", 1, "new")], entity="a", batch=1)
    expected = [("a", 1, "new"), ("a", 2, "n"), ("b", 1, "n")]
    assert rows(table) == rows(open_again(table)) == expected


def test_replacing_a_slice_by_nothing_empties_it(table):
    table.replace_slice([row("a", 1)], entity="a", batch=1)
    table.replace_slice([row("a", 2)], entity="a", batch=2)
    table.replace_slice([], entity="a", batch=1)
    assert rows(table) == rows(open_again(table)) == [("a", 2, "n")]


def test_a_quote_in_a_value_selects_that_value(table):
    table.replace_slice([row("it's", 1)], entity="it's", batch=1)
    table.replace_slice([row("it's", 1, "new")], entity="it's", batch=1)
    assert rows(table) == rows(open_again(table)) == [("it's", 1, "new")]


@settings(max_examples=20, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(1, 3), st.lists(st.sampled_from("xy"), max_size=2)),
        max_size=6,
    )
)
def test_what_it_remembers_is_always_what_is_stored(tmp_path_factory, writes):
    table = SmallTable(f"file://{tmp_path_factory.mktemp('t')}/table", COLUMNS, ["entity"])
    model = {}
    for entity, batch, notes in writes:
        table.read()
        table.replace_slice([row(entity, batch, note) for note in notes], entity=entity, batch=batch)
        model[entity, batch] = [(entity, batch, note) for note in notes]
        assert rows(table) == rows(open_again(table)) == sorted(chain(*model.values()))


def test_a_write_that_breaks_off_leaves_no_false_memory(table, monkeypatch):
    table.replace_slice([row("a", 1)], entity="a", batch=1)
    table.read()
    write_really = table._write

    def break_off_after_writing(*arguments):
        write_really(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(table, "_write", break_off_after_writing)
    with pytest.raises(KeyboardInterrupt):
        table.replace_slice([row("a", 2)], entity="a", batch=2)
    assert rows(table) == [("a", 1, "n"), ("a", 2, "n")]


def test_rows_are_read_from_storage_once(table, monkeypatch):
    table.replace_slice([row("a", 1)], entity="a", batch=1)
    table.read()
    monkeypatch.setattr(DeltaTable, "to_pyarrow_table", None)
    table.replace_slice([row("a", 2)], entity="a", batch=2)
    assert rows(table) == [("a", 1, "n"), ("a", 2, "n")]


def test_two_writers_of_different_slices_both_get_in(table):
    table.ensure()

    def write(entity):
        mine = open_again(table)
        for batch in range(5):
            mine.replace_slice([row(entity, batch)], entity=entity, batch=batch)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, "ab"))
    assert rows(table) == [(entity, batch, "n") for entity in "ab" for batch in range(5)]


def test_many_files_become_few_and_the_rows_stay(table):
    for batch in range(MOST_FILES + 1):
        table.replace_slice([row("a", batch)], entity="a", batch=batch)
    before = table.read()
    table.compact()
    assert len(DeltaTable(table.uri).file_uris()) == 1
    assert open_again(table).read().sort("batch").equals(before.sort("batch"))


def test_few_files_are_left_alone(table):
    table.replace_slice([row("a", 1)], entity="a", batch=1)
    version = table_version(table.uri)
    table.compact()
    assert table_version(table.uri) == version


def test_its_log_is_short_to_read(table):
    for batch in range(25):
        table.replace_slice([row("a", batch)], entity="a", batch=batch)
    log = Path(table.uri.removeprefix("file://")) / "_delta_log"
    assert len(list(log.glob("*.checkpoint.parquet"))) == 2


def test_a_table_of_an_earlier_version_is_read_with_nulls_and_then_gets_its_columns(tmp_path):
    old = SmallTable(f"file://{tmp_path}/table", COLUMNS[:2], ["entity"])
    old.replace_slice([{"entity": "a", "batch": 1}], entity="a", batch=1)
    version = table_version(old.uri)
    assert rows(open_again(old)) == [("a", 1, None)]
    assert table_version(old.uri) == version
    new = open_again(old)
    new.ensure()
    new.replace_slice([row("a", 2)], entity="a", batch=2)
    assert rows(new) == rows(open_again(old)) == [("a", 1, None), ("a", 2, "n")]
