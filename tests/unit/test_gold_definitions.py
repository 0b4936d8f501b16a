"""What is said of Gold holds: marts, views and key figures fit each other, and the page tells them."""

from __future__ import annotations

import re

import duckdb
import pytest
import sqlglot
from deltalake import write_deltalake

from contracts import load_contracts
from pipeline.gold import MARTS, customer_features, loan_portfolio, money, monthly_cash_flow
from pipeline.gold import mart as mart_module
from pipeline.gold.expectations import values_of
from pipeline.gold.increments import Slices, Sums
from pipeline.gold.kpis import KPIS
from pipeline.gold.mart import in_order
from pipeline.gold.page import PAGE, page
from pipeline.gold.views import VIEWS, view_input, view_sql
from pipeline.history import table_name
from pipeline.ledger import OPS_TABLES
from pipeline.silver import silver_tables
from pipeline.tables import tables_here

COLUMNS = {f"gold.{mart.name}": mart.columns for mart in MARTS}
COLUMNS |= {f"ops.{name}": columns for name, columns in OPS_TABLES.items()}


@pytest.fixture(scope="module")
def empty():
    """All marts and ops tables, without a row."""
    connection = duckdb.connect()
    for name, columns in COLUMNS.items():
        types = ", ".join(f'"{c.name}" {c.type.replace("array<string>", "varchar[]")}' for c in columns)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name.split('.')[0]}; CREATE TABLE {name} ({types})")
    return connection


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "make dictionary"


@pytest.mark.parametrize("mart", MARTS, ids=lambda mart: mart.name)
def test_a_mart_has_a_grain_and_something_to_add_up_among_its_columns(mart):
    names = {column.name for column in mart.columns}
    assert mart.key
    assert set(mart.key) | set(mart.partition_by) | set(mart.cluster_by) <= names
    assert mart.totals
    assert {total.table for total in mart.totals} <= set(mart.inputs)
    if isinstance(mart.increment, Slices):
        assert set(mart.increment.reads) == set(mart.inputs)
        assert mart.increment.key in names
    if isinstance(mart.increment, Sums):
        lookup = {mart.increment.lookup.table} if mart.increment.lookup else set()
        assert {mart.increment.fact} | lookup == set(mart.inputs)
        assert set(mart.increment.lookup.columns if mart.increment.lookup else ()) <= set(mart.key)


def test_a_mart_can_follow_all_that_it_reads():
    feeds = set(load_contracts()) | {
        table_name(entity) for entity, contract in load_contracts().items() if contract.history_has_feed
    }
    for mart in MARTS:
        if mart.increment:
            assert set(mart.inputs) <= feeds, mart.name


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        (loan_portfolio, {"loan_portfolio", "loan_vintages"}),  # the one takes the other's clock
        (customer_features, {"customer_features", "loan_default_features"}),
        (monthly_cash_flow, {"monthly_cash_flow"}),
        (money, {mart.name for mart in MARTS} - {"customer_360", "loan_portfolio", "loan_vintages"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_mart_is_another_one_when_code_changes_that_it_takes_from_elsewhere(monkeypatch, changed, stale):
    before = {found.name: found.definition for found in MARTS}
    source = mart_module.inspect.getsource
    monkeypatch.setattr(mart_module.inspect, "getsource", lambda of: source(of) + "#" * (of is changed))
    assert {found.name for found in MARTS if found.definition != before[found.name]} == stale


def test_marts_of_days_and_of_the_present_must_be_as_new_as_silver():
    newest = {
        (found.name, total.mart) for found in MARTS for total in found.totals if total.mart.startswith("max(")
    }
    assert newest == {
        ("daily_transactions", "max(transaction_date)"),
        ("account_balances_daily", "max(balance_date)"),
        ("fraud_signals", "max(activity_date)"),
        *(
            (name, "max(as_of_date)")
            for name in ("customer_360", "loan_portfolio", "loan_vintages", "payment_performance")
        ),
    }


# Money that does not add up over rows, or that is no sum of Silver's amounts.
NO_SUMS = {
    "account_balances_daily": {"closing_balance"},  # the last one is the account's balance
    "customer_features": {"annual_income"},
    "loan_default_features": {"annual_income"},
    # Looking back, a day counts for several.
    "fraud_signals": {
        "largest_online_card_amount",
        "night_transfer_out_amount",
        "transfer_in_amount_7d",
        "transfer_out_amount_7d",
    },
    "loan_portfolio": {"non_performing_exposure"},  # it is that of stage 3
    # Parts of originated_amount, by what happened to the loans.
    "loan_vintages": {"delinquent_30_amount", "defaulted_amount"},
}


@pytest.mark.parametrize("mart", MARTS, ids=lambda mart: mart.name)
def test_all_money_of_a_mart_is_reconciled_with_silver(mart):
    money = {column.name for column in mart.columns if re.fullmatch(r"decimal\(\d+,2\)", column.type)}
    reconciled = {name for total in mart.totals for name in re.findall(r"\w+", total.mart)}
    assert money - reconciled == NO_SUMS.get(mart.name, set())


@pytest.mark.parametrize("mart", MARTS, ids=lambda mart: mart.name)
def test_duckdb_and_datafusion_know_what_totals_say_and_nothing_adds_up_to_nothing(mart, tmp_path):
    connection = duckdb.connect()
    relations, uris = {}, {}
    for name, columns in [*((n, silver_of(n)) for n in mart.inputs), ("mart", mart.columns)]:
        types = ", ".join(f'"{c.name}" {kind_of(c.type)}' for c in columns)
        connection.execute(f'CREATE TABLE "{name}" ({types})')
        empty = connection.execute(f'SELECT * FROM "{name}"').to_arrow_table()
        write_deltalake(tmp_path / name, empty)
        relations[name], uris[name] = f'"{name}"', (f"file://{tmp_path}/{name}", None)
    here = tables_here(uris, unset="_deleted_at")
    assert here
    for found in (
        values_of(mart.totals, relations, lambda sql: connection.execute(sql).fetchone()),
        values_of(mart.totals, {name: name for name in uris}, here),
    ):
        assert set(found) == set(mart.totals)
        assert not any(value for pair in found.values() for value in pair)


def silver_of(name):
    """Columns of a table of Silver."""
    return next(
        table.columns
        for contract in load_contracts().values()
        for table in silver_tables(contract)
        if table.name == name
    )


def kind_of(type_):
    """A type as DuckDB calls it."""
    named = {"timestamp": "timestamptz", "array<string>": "varchar[]", "binary": "blob"}
    return named.get(type_, type_)


def test_only_fraud_signals_counts_by_personal_data():
    personal = {
        (entity, column.name)
        for entity, contract in load_contracts().items()
        for column in contract.columns
        if column.pii_class
    }
    found = {
        (mart.name, name)
        for mart in MARTS
        for table, columns in mart.reads.items()
        for name in columns
        if (table.removesuffix("_history"), name) in personal
    }
    assert found == {("fraud_signals", "counterparty_iban")}  # docs/personal-data.md says so


def test_marts_can_be_put_in_order():
    assert sum(map(len, in_order(MARTS))) == len(MARTS)


@pytest.mark.parametrize("dialect", ["duckdb", "athena"])
@pytest.mark.parametrize("kpi", KPIS, ids=lambda kpi: kpi.name)
def test_a_key_figure_can_be_computed_by_its_grain_and_divides_by_nothing(empty, kpi, dialect):
    assert set(kpi.grain) <= {column.name for column in COLUMNS[kpi.table]}
    (sql,) = sqlglot.transpile(f"SELECT {kpi.formula} AS f FROM {kpi.table}", read=dialect, write="duckdb")
    ((value,),) = empty.execute(sql).fetchall()
    assert value is None or (value == 0 and kpi.unit == "count")
    by = ", ".join(kpi.grain)
    assert empty.execute(f"SELECT {by}, {kpi.formula} FROM {kpi.table} GROUP BY {by}").fetchall() == []
    assert (kpi.unit == "money") <= ("currency" in kpi.grain), "money is never added across currencies"


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_a_view_has_the_columns_that_the_catalogue_is_told(empty, view):
    sql = view_sql(view, "gold")
    (sql,) = sqlglot.transpile(sql, read="athena", write="duckdb")
    found = {name: kind.lower() for name, kind, *_ in empty.execute(f"DESCRIBE {sql}").fetchall()}
    assert list(found) == [column.name for column in view.columns]
    entry = view_input(view, "gold")
    for column in view.columns:
        wanted = {"string": "varchar", "int": "integer", "bigint": "bigint"}.get(column.type, column.type)
        kind = "bigint" if (found[column.name], wanted) == ("hugeint", "bigint") else found[column.name]
        assert kind == wanted, column.name  # Trino adds up bigints to a bigint, DuckDB to a hugeint
    assert [c["Name"] for c in entry["StorageDescriptor"]["Columns"]] == list(found)
    assert {f"gold.{name}" for name in view.marts} <= set(COLUMNS)


def test_names_are_given_once():
    names = [kpi.name for kpi in KPIS]
    assert len(set(names)) == len(names)
    assert not {view.name for view in VIEWS} & {mart.name for mart in MARTS}
