"""What is in quarantine can be counted and looked at, without Spark and without personal data."""

import json
from collections import Counter
from datetime import UTC, datetime

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from contracts import load_contract, load_contracts
from contracts.rules import LINE_REASONS, describe, rules
from pipeline.cli import app
from pipeline.errors import UsageError
from pipeline.layout import Layout
from pipeline.ledger import BRONZE, Batch, BronzeFile, Ledger, RowCount
from pipeline.quarantine import Held, form_of, held_rows, masked, printable, replay, show_rows
from pipeline.silver import QUARANTINE_COLUMNS
from pipeline.tables import ensure_table

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
HEADER = ["customer_id", "email", "country"]


def held(line, raw, *reasons, file="file:///b/1.csv", header=HEADER):
    return {
        "_raw": raw,
        "_reasons": list(reasons),
        "_layout": {"header": header, "delimiter": ";"},
        "_ingested_at": NOON,
        "_source_file": file,
        "_source_row": line,
        "_run_id": "r1",
    }


ROWS = [
    held(2, "C1;ada@example;DE", "bad_email:email"),
    held(3, "C2;bob;Germany", "bad_email:email", "too_long:country", "once_a_rule"),
    held(4, ";eve@example.org;\x1b[31mDE", "missing_key:customer_id", "too_long:country"),
    held(5, "C5;\tJoe;x;y;z", "wrong_column_count", file="file:///b/2.csv"),
]


@pytest.fixture
def with_rows(lake):
    uri = lake.table_uri("quarantine", "customers")
    table = ensure_table(uri, QUARANTINE_COLUMNS)
    schema = pa.schema(table.schema().to_arrow())
    write_deltalake(table, pa.Table.from_pylist(ROWS, schema=schema), mode="append")
    return lake


def test_an_empty_lake_has_nothing_in_quarantine(lake):
    assert held_rows(lake) == []
    assert show_rows(lake, "loans") == []


def test_rows_are_counted_by_reason_file_and_run_and_a_row_for_each_of_its_reasons(with_rows):
    found = held_rows(with_rows)
    assert [(row.reason, row.rows, row.file[-5:]) for row in found] == [
        ("bad_email:email", 2, "1.csv"),
        ("missing_key:customer_id", 1, "1.csv"),
        ("once_a_rule", 1, "1.csv"),
        ("too_long:country", 2, "1.csv"),
        ("wrong_column_count", 1, "2.csv"),
    ]
    assert found[0] == Held("customers", "bad_email:email", 2, "file:///b/1.csv", "r1", NOON)


@pytest.mark.parametrize(
    ("reason", "lines"),
    [
        ("bad_email:email", [2, 3]),
        ("bad_email", [2, 3]),
        ("too_long", [3, 4]),
        ("bad", []),
        ("bad_email:", []),
        (None, [2, 3, 4, 5]),
    ],
)
def test_a_reason_selects_by_its_whole_name_or_its_rule(with_rows, reason, lines):
    assert [row.line for row in show_rows(with_rows, "customers", reason=reason)] == lines
    counted = {row.reason for row in held_rows(with_rows, ["customers"], reason)}
    assert counted <= {name for row in ROWS if row["_source_row"] in lines for name in row["_reasons"]}
    assert bool(counted) == bool(lines)


def test_a_reason_of_a_user_is_a_value_and_no_sql(with_rows):
    assert held_rows(with_rows, reason="' OR true --") == []
    assert show_rows(with_rows, "customers", reason="x' OR true --", file="' OR true --") == []


def test_files_and_a_limit_select(with_rows):
    assert [row.line for row in show_rows(with_rows, "customers", file="2.csv")] == [5]
    assert [row.line for row in show_rows(with_rows, "customers", limit=2)] == [2, 3]


def test_personal_data_is_shown_by_its_form_unless_it_is_asked_for(with_rows):
    assert [row.raw for row in show_rows(with_rows, "customers")] == [
        "C1;xxx@xxxxxxx;DE",
        "C2;xxx;Germany",
        ";xxx@xxxxxxx.xxx;\x1b[31mDE",
        "x9;\txxx;x;x;x",
    ]
    assert [row.raw for row in show_rows(with_rows, "customers", raw=True)] == [row["_raw"] for row in ROWS]


def test_every_broken_rule_is_explained_by_the_contract(with_rows):
    shown = show_rows(with_rows, "customers")
    assert shown[1].reasons == {
        "bad_email:email": f"email must match {load_contract('customers').column('email').pattern}",
        "too_long:country": "country must have at most 2 characters.",
        "once_a_rule": "The contract has no such rule any more.",
    }


@given(st.data())
def test_no_value_that_is_tagged_is_ever_shown(data):
    contract = load_contract("customers")
    header = [column.name for column in contract.source_columns]
    text = st.text(st.characters(categories=["L", "Nd", "P", "Zs"]), min_size=3).filter(
        lambda value: form_of(value) != value
    )
    values = [data.draw(text) for _ in header]
    line = ";".join(f'"{value.replace(chr(34), chr(34) * 2)}"' for value in values)
    shown = masked(line, header, ";", contract)
    public = [column.pii_class is None for column in contract.source_columns]
    secret = "\n".join(value for value, free in zip(values, public, strict=True) if free)
    for value, free in zip(values, public, strict=True):
        assert free or value not in shown or value in secret


@given(st.text())
def test_what_is_printed_cannot_steer_a_terminal(text):
    assert all(character.isprintable() for character in printable(text))
    assert printable(text).isprintable()


@pytest.mark.parametrize("entity", load_contracts())
def test_every_rule_of_every_contract_has_words(entity):
    contract = load_contract(entity)
    for reason in (*rules(contract), *LINE_REASONS):
        assert len(describe(reason, contract)) > 10
        assert "no such rule" not in describe(reason, contract)


def test_the_commands_show_what_there_is(with_rows, monkeypatch):
    monkeypatch.setattr("pipeline.settings.reachable_settings", lambda: with_rows)
    listed = CliRunner().invoke(app, ["quarantine", "list", "--reason", "too_long", "--json"])
    assert [(row["reason"], row["rows"]) for row in json.loads(listed.stdout)] == [("too_long:country", 2)]
    shown = CliRunner().invoke(app, ["quarantine", "show", "customers", "--reason", "missing_key"])
    assert "file:///b/1.csv, line 4 (run r1)" in shown.stdout
    assert "missing_key:customer_id: customer_id is part of the key and must be there." in shown.stdout
    assert "  ;xxx@xxxxxxx.xxx;\\x1b[31mDE\n" in shown.stdout
    for command in (["list", "--entity", "loans"], ["show", "loans"]):
        assert "No such row is in quarantine" in CliRunner().invoke(app, ["quarantine", *command]).stdout


def test_an_unknown_entity_is_a_usage_error(lake):
    for command in (lambda: held_rows(lake, ["x"]), lambda: show_rows(lake, "x"), lambda: replay(lake, "x")):
        with pytest.raises(UsageError, match="there is no entity 'x'"):
            command()


# --- Another try ------------------------------------------------------------------------------------


@pytest.fixture
def no_spark(monkeypatch):
    monkeypatch.setattr("pipeline.session.start_session", lambda: pytest.fail("Spark was started"))


@pytest.fixture
def with_reasons(lake):
    """A ledger that knows of bad rows."""
    file = BronzeFile("file:///b/1.csv", 10, "e1", layout=Layout(tuple(HEADER), ";"))
    batch = Batch("customers", 1, "r1", NOON, 0, 0, {}, (file,))
    reasons = Counter({"bad_email:email": 2, "not_utf8": 1})
    Ledger(lake).commit(batch, [RowCount(file.path, BRONZE, Counter(quarantined=3), reasons)], 0.1)
    return lake


def test_a_replay_of_an_empty_quarantine_does_nothing(lake, no_spark):
    assert not replay(lake, "customers").changed
    with pytest.raises(UsageError, match="no quarantined row of customers has the reason 'bad_email'"):
        replay(lake, "customers", "bad_email")


def test_the_command_says_how_many_rows_left(lake, no_spark, monkeypatch):
    monkeypatch.setattr("pipeline.settings.reachable_settings", lambda: lake)
    done = CliRunner().invoke(app, ["quarantine", "replay", "customers"])
    assert (done.exit_code, "0 rows left quarantine." in done.stdout) == (0, True)


def test_a_reason_that_no_row_has_is_a_usage_error_that_names_those_there_are(with_reasons, no_spark):
    with pytest.raises(UsageError) as caught:
        replay(with_reasons, "customers", "bad_mail")
    assert caught.value.hint == "reasons there are: bad_email:email, not_utf8"


def test_lines_that_need_their_file_are_not_tried_again(with_reasons, no_spark):
    with pytest.raises(UsageError, match="cannot be tried again from quarantine"):
        replay(with_reasons, "customers", "not_utf8")


def test_a_replay_asks_for_the_reasons_that_rows_have(with_reasons, monkeypatch):
    asked = []
    monkeypatch.setattr("pipeline.quarantine.run_pipeline", lambda _, **options: asked.append(options))
    for reason in ("bad_email", "bad_email:email", None):
        replay(with_reasons, "customers", reason)
    assert [options["replay"] for options in asked] == [["bad_email:email"]] * 3
