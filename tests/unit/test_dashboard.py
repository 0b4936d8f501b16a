"""The dashboard's model and page: what is read, how it is bounded, and what it says of an odd lake."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import gold_tables
import pytest
import sqlglot
import vl_convert
from sqlglot import exp
from typer.testing import CliRunner

from contracts import load_contracts
from pipeline.cli import app
from pipeline.dashboard import cubes, model, page
from pipeline.dashboard.charts import specifications
from pipeline.dashboard.cubes import OTHER, TOO_LARGE, Cube, Dimension, compute
from pipeline.dashboard.layout import CUBES, SECTIONS
from pipeline.dashboard.model import Lake, look, model_of, read_columns, read_model
from pipeline.errors import FinlakeError
from pipeline.gold import MARTS
from pipeline.ledger import OPS_TABLES
from pipeline.settings import Settings

Bank = Callable[..., tuple[Settings, Lake]]


@pytest.fixture
def bank(lake: Settings, monkeypatch: pytest.MonkeyPatch) -> Bank:
    """Writes tables, and looks at them as the dashboard does."""

    def written(**changed: Any) -> tuple[Settings, Lake]:
        tables = {
            name: rows for name, rows in gold_tables.rows().items() if changed.get(name, True) is not None
        }
        tables |= {name: rows for name, rows in changed.items() if rows is not None}
        registered = gold_tables.catalogue(gold_tables.write(lake, tables))
        monkeypatch.setattr(model, "registered_tables", registered)
        return lake, look(lake)

    return written


def total(found: dict[str, Any], cube: str, sql: str) -> Any:
    part = next(part for part in found["cubes"][cube]["parts"] if part["sql"] == sql)
    return Decimal(sum(value for value in part["values"] if value is not None)).scaleb(-part["scale"])


# --- personal data ---------------------------------------------------------------------------------


def test_no_column_with_personal_data_is_read() -> None:
    personal = {
        column.name
        for contract in load_contracts().values()
        for column in contract.columns
        if column.pii_class
    }
    personal |= {column.name for mart in MARTS for column in mart.columns if column.pii_class}
    assert personal >= {"full_name", "email", "iban"}
    for table, columns in read_columns().items():
        assert not columns & personal, table
        assert not {name for name in columns if name.endswith("_id")} - {"run_id"}, (
            "no single customer or loan"
        )
    known = {f"gold.{mart.name}": mart.columns for mart in MARTS}
    known |= {f"ops.{name}": columns for name, columns in OPS_TABLES.items()}
    for table, columns in read_columns().items():
        assert columns <= {column.name for column in known[table]}, table


@contextmanager
def guarded(names: dict[str, dict[str, Any]], allowed: dict[str, frozenset[str]]) -> Iterator[Any]:
    """A DuckDB in which every column that the page has no business with is an error as soon as it is read."""
    connection = duckdb.connect()
    for name, fields in names.items():
        chosen = ", ".join(
            f'CAST(NULL AS {"VARCHAR" if str(kind) == "string" else "DOUBLE"}) AS "{field}"'
            if field in allowed.get(name, ())
            else f"CAST(error('{name}.{field} was read') AS VARCHAR) AS \"{field}\""
            for field, kind in fields.items()
        )
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {name.split('.')[0]}")
        connection.execute(f"CREATE VIEW {name} AS SELECT {chosen} FROM range(random()::INT, 2)")
    try:
        yield connection
    finally:
        connection.close()


def test_every_statement_of_a_cube_reads_only_what_it_says() -> None:
    allowed = read_columns()
    with guarded(dict(gold_tables.SCHEMAS), allowed) as connection:
        with pytest.raises(duckdb.Error, match="full_name was read"):
            connection.execute("SELECT max(full_name) FROM gold.customer_360").fetchall()
        for cube in CUBES:
            if not any(dimension.grain for dimension in cube.dimensions):
                connection.execute(cube.sql()).fetchall()
    for cube in CUBES:
        named = {
            column.name for column in sqlglot.parse_one(cube.sql(), dialect="duckdb").find_all(exp.Column)
        }
        assert named <= cube.columns | allowed[cube.table], cube.name


def test_no_value_with_personal_data_is_in_the_page(bank: Bank) -> None:
    settings, lake = bank()
    assert gold_tables.SECRET not in page.render(read_model(settings, lake))


# --- figures ---------------------------------------------------------------------------------------


def test_cells_add_up_to_the_table_to_the_cent(bank: Bank) -> None:
    settings, lake = bank()
    found = read_model(settings, lake)
    rows = gold_tables.rows()
    assert total(found, "cash_flow", "SUM(inflow)") == sum(
        row["inflow"] for row in rows["gold.monthly_cash_flow"]
    )
    assert total(found, "days", "SUM(transaction_count)") == sum(
        row["transaction_count"] for row in rows["gold.daily_transactions"]
    )
    assert total(found, "customers", "COUNT(*)") == len(rows["gold.customer_360"])


def test_customers_are_counted_and_never_shipped(bank: Bank) -> None:
    settings, lake = bank()
    cells = len(read_model(settings, lake)["cubes"]["customers"]["parts"][0]["values"])
    many = [{**row} for _ in range(10) for row in gold_tables.rows()["gold.customer_360"]]
    settings, lake = bank(**{"gold.customer_360": many})
    found = read_model(settings, lake)
    assert total(found, "customers", "COUNT(*)") == len(many)
    assert len(found["cubes"]["customers"]["parts"][0]["values"]) == cells


@pytest.fixture
def crowded() -> Iterator[duckdb.DuckDBPyConnection]:
    """Transactions on many days in many branches, most of them in few."""
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA gold")
    connection.execute(
        """CREATE TABLE gold.daily_transactions AS
        SELECT DATE '2020-01-01' + CAST(day AS INT) AS transaction_date, 'B' || branch AS branch_code,
            'EUR' AS currency, 1 AS transaction_count, 0.01::DECIMAL(28, 2) AS booked_amount,
            0 AS failed_count
        FROM range(1000) AS days(day), range(100) AS branches(branch) WHERE branch < 60 OR day < 5"""
    )
    yield connection
    connection.close()


def test_too_many_cells_become_fewer_with_the_same_sums(
    crowded: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = next(cube for cube in CUBES if cube.name == "days")
    rows = crowded.execute("SELECT count(*) FROM gold.daily_transactions").fetchone()
    notes = []
    for most in (60_000, 30_000, 2_000, 100):
        monkeypatch.setattr(cubes, "MOST_CELLS", most)
        found = compute(days, crowded)
        values = found["parts"][0]["values"]
        assert len(values) <= most
        assert rows == (sum(values),)
        notes.append(" ".join(found["notes"]))
    assert "the rest is (other)" in notes[0]
    assert "only the 20 most frequent" in notes[1].lower()
    assert "it is by month" in notes[2]
    assert "it is by quarter" in notes[3] or "it is by year" in notes[3]


def test_the_frequent_names_stay_and_the_rest_becomes_one(crowded: duckdb.DuckDBPyConnection) -> None:
    cube = Cube("x", (Dimension("branch_code", most=60),), ("transactions",))
    names = compute(cube, crowded)["dimensions"][0]["values"]
    assert len(names) == 61
    assert names[-1] == OTHER


def test_currencies_and_ages_of_loans_never_become_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cubes, "MOST_CELLS", 10)
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA gold")
    connection.execute(
        """CREATE TABLE gold.loan_vintages AS
        SELECT DATE '2020-01-01' + to_months(CAST(began AS INT)) AS vintage, 'auto' AS product,
            printf('A%02d', currency) AS currency, age AS months_on_book, 1 AS loan_count,
            1.00::DECIMAL(28, 2) AS originated_amount, 0.00::DECIMAL(28, 2) AS delinquent_30_amount,
            0.00::DECIMAL(28, 2) AS defaulted_amount
        FROM range(60) AS b(began), range(40) AS c(currency), range(60) AS a(age) WHERE began + age < 60"""
    )
    found = compute(next(cube for cube in CUBES if cube.name == "vintages"), connection)
    sizes = {dimension["name"]: len(dimension["values"]) for dimension in found["dimensions"]}
    assert sizes == {"vintage": 5, "product": 1, "currency": 40, "months_on_book": 60}
    assert found["notes"] == ["Too many combinations to show vintage by month: it is by year."]
    for cube in CUBES:
        assert {item.most for item in cube.dimensions if item.column == "currency"} <= {None}, cube.name


def test_a_million_branches_are_200_and_others_and_a_million_currencies_are_not_on_the_page() -> None:
    connection = duckdb.connect()
    connection.execute("CREATE SCHEMA gold")
    connection.execute(
        """CREATE TABLE gold.monthly_cash_flow AS
        SELECT DATE '2026-01-01' AS month, 'B' || number AS branch_code, 'C' || number % 3 AS currency,
            number::DECIMAL(28, 2) AS inflow, 1::DECIMAL(28, 2) AS outflow, number - 1 AS net_cash_flow
        FROM range(1000000) AS t(number)"""
    )
    flow = next(cube for cube in CUBES if cube.name == "cash_flow")
    found = compute(flow, connection)
    branches = next(item for item in found["dimensions"] if item["name"] == "branch_code")["values"]
    assert (len(branches), branches[-1]) == (201, OTHER)
    assert sum(found["parts"][0]["values"]) == 100 * 999_999 * 1_000_000 // 2, "in cents"
    assert found["notes"] == [
        "Only the 200 most frequent values of branch code are shown; the rest is (other)."
    ]
    connection.execute("UPDATE gold.monthly_cash_flow SET currency = branch_code, branch_code = 'B'")
    assert compute(flow, connection) == {"table": "gold.monthly_cash_flow", "missing": TOO_LARGE}


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([Decimal("0.10"), Decimal("0.20"), None], 2),
        ([1, 2, 3], 0),
        ([Decimal("900000000000000.10")] * 2, 0),  # in cents they would be beyond what is exact in a browser
        ([Decimal(10) ** 20], -5),
        ([], 0),
        ([None], 0),
    ],
)
def test_amounts_are_integers_that_a_browser_adds_up_exactly(values: list[Any], scale: int) -> None:
    scaled = cubes._scaled(values)
    assert scaled["scale"] == scale
    assert sum(abs(value) for value in scaled["values"] if value is not None) < 2**53
    for value, whole in zip(values, scaled["values"], strict=True):
        assert (value is None) == (whole is None)
        if value is not None:
            assert abs(Decimal(whole).scaleb(-scale) - value) <= Decimal(1).scaleb(-scale) / 2


def test_a_null_is_neither_zero_nor_a_name(bank: Bank) -> None:
    flow = {"month": date(2026, 1, 1), "branch_code": None, "currency": "EUR"}
    settings, lake = bank(**{"gold.monthly_cash_flow": [flow | {"inflow": None}]})
    found = read_model(settings, lake)["cubes"]["cash_flow"]
    assert found["dimensions"][1] == {"name": "branch_code", "grain": None, "values": [], "codes": [None]}
    assert found["parts"][0]["values"] == [None]


# --- odd lakes -------------------------------------------------------------------------------------


def test_a_lake_without_tables_is_a_page_that_says_so(bank: Bank) -> None:
    settings, _ = bank()
    found = model_of(duckdb.connect(), Lake({}, {}), settings)
    assert all(cube["missing"] == "not built yet" for cube in found["cubes"].values())
    assert "Cash flow and customers" in page.render(found)


def test_a_mart_that_is_not_there_does_not_hide_the_others(bank: Bank) -> None:
    settings, lake = bank(**{"gold.loan_vintages": None})
    found = read_model(settings, lake)
    assert found["cubes"]["vintages"] == {"table": "gold.loan_vintages", "missing": "not built yet"}
    assert "missing" not in found["cubes"]["payments"]
    states = {row["table"]: row["state"] for row in found["tables"]}
    assert states["gold.loan_vintages"] == "not built yet"
    assert states["gold.loan_portfolio"] == "built"


def test_a_mart_of_an_earlier_version_shows_what_it_has(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = {
        name: kind for name, kind in gold_tables.SCHEMAS["gold.loan_portfolio"].items() if "stage" not in name
    }
    monkeypatch.setattr(gold_tables, "SCHEMAS", {**gold_tables.SCHEMAS, "gold.loan_portfolio": fields})
    settings, lake = bank()
    kpis = read_model(settings, lake)["cubes"]["portfolio"]["kpis"]
    assert "exposure" in kpis
    assert not [name for name in kpis if "stage" in name]


def test_empty_tables_are_empty_and_not_missing(bank: Bank) -> None:
    settings, lake = bank(**{name: [] for name in gold_tables.SCHEMAS})
    found = read_model(settings, lake)
    assert all(cube["parts"][0]["values"] == [] for cube in found["cubes"].values())
    assert {row["state"] for row in found["tables"]} == {"empty"}
    assert found["runs"] == []


def test_one_row_is_enough(bank: Bank) -> None:
    one = {name: rows[:1] for name, rows in gold_tables.rows().items()}
    settings, lake = bank(**one)
    found = read_model(settings, lake)
    assert all(len(cube["parts"][0]["values"]) == 1 for cube in found["cubes"].values())


def test_instalments_of_years_to_come_make_no_months_on_the_page(bank: Bank) -> None:
    settings, lake = bank()
    found = read_model(settings, lake)
    months = found["cubes"]["payments"]["dimensions"][0]["values"]
    assert months[-1] == "2026-06-01"
    newest = {row["table"]: row["newest"] for row in found["tables"]}
    assert newest["gold.payment_performance"] == "2026-06-01"


def test_the_fingerprint_changes_with_any_table_and_with_nothing_else(bank: Bank) -> None:
    settings, first = bank()
    assert look(settings).fingerprint == first.fingerprint
    gold_tables.write(settings, {"ops.runs": []})
    assert look(settings).fingerprint != first.fingerprint


# --- the page --------------------------------------------------------------------------------------


def test_data_cannot_break_out_of_the_page(bank: Bank) -> None:
    evil = "</script><script>alert(1)</script><!--\u2028"
    rows = [row | {"branch_code": evil} for row in gold_tables.rows()["gold.monthly_cash_flow"]]
    settings, lake = bank(**{"gold.monthly_cash_flow": rows})
    html = page.render(read_model(settings, lake))
    assert "<script>alert" not in html
    data = re.search(r'<script type="application/json" id="model">(.*?)</script>', html, re.DOTALL)
    assert data is not None
    assert json.loads(data[1])["cubes"]["cash_flow"]["dimensions"][1]["values"] == [evil]


def test_only_the_pages_own_scripts_may_run_and_only_a_served_one_asks_its_server(bank: Bank) -> None:
    settings, lake = bank()
    found = read_model(settings, lake)
    alone, served = page.render(found), page.render(found, live=True)
    scripts = re.findall(r"<script>(.*?)</script>", alone, re.DOTALL)
    assert len(scripts) == 2
    for script in scripts:
        assert f"'sha256-{page._hash(script)}'" in alone.split("</head>")[0].replace("&#39;", "'")
    assert "connect-src &#39;none&#39;" in alone
    assert "connect-src &#39;self&#39;" in served
    markup = re.sub(r"<script.*?</script>", "", alone, flags=re.DOTALL)
    assert not re.search(r'(src|href)="(?!#|data:)', markup), "nothing is fetched"


def test_every_chart_that_the_layout_needs_is_valid() -> None:
    found = specifications()
    row = {"x": "2026-01-01", "where": "a", "series": "s", "value": 1, "shown": "1", "short": "1", "rank": 0}
    for specification in found.values():
        filled = specification | {
            "width": 300,
            "data": {"name": "rows", "values": [row | {"age": 1, "began": 1}]},
        }
        assert vl_convert.vegalite_to_svg(filled).startswith("<svg")
    for section in SECTIONS:
        for panel in section.panels:
            cube = next(cube for cube in CUBES if cube.name == panel.cube)
            grains = {dimension.column: dimension.grain for dimension in cube.dimensions}
            assert {*panel.by, *filter(None, [panel.series])} <= grains.keys()
            for column in panel.by:
                axis = "date" if grains[column] or panel.series else "name"
                units = {cubes.KPI[name].unit for name in panel.kpis}
                assert {f"{panel.kind}-{axis}-{unit}" for unit in units} <= found.keys()
            assert {*panel.kpis} <= {*cube.kpis}
        for name, kpi in section.figures:
            assert kpi in next(cube.kpis for cube in CUBES if cube.name == name)


def test_dimensions_of_cubes_are_of_the_grain_of_their_figures() -> None:
    for cube in CUBES:
        for name in cube.kpis:
            assert cubes.KPI[name].table == cube.table
            assert {dimension.column for dimension in cube.dimensions} <= {*cubes.KPI[name].grain}


# --- the command -----------------------------------------------------------------------------------


@pytest.fixture
def exported(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Calls ``finlake dashboard`` on a small bank."""
    settings, _ = bank(**{"gold.loan_vintages": None})
    monkeypatch.setattr("pipeline.settings.reachable_settings", lambda: settings)
    return lambda *arguments: CliRunner().invoke(app, ["dashboard", *arguments])


def test_the_page_is_written_as_one_file(exported: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "gold.html"
    done = exported("--export", str(file), "--json")
    said = json.loads(done.stdout)
    assert done.exit_code == 0
    assert said["missing"] == ["gold.loan_vintages"]
    assert said["bytes"] == file.stat().st_size < 2_000_000
    assert [path.name for path in tmp_path.glob("gold*")] == ["gold.html"]


def test_a_file_that_cannot_be_written_is_a_usage_error(exported: Callable[..., Any], tmp_path: Path) -> None:
    for wrong in (tmp_path, tmp_path / "nowhere" / "gold.html", "s3://bucket", "s3://bucket/pages/"):
        error = exported("--export", str(wrong)).exception
        assert isinstance(error, FinlakeError)
        assert error.exit_code == 2
        assert "cannot be written" in str(error)


def test_days_are_rounded_down_as_their_grain_says() -> None:
    day = Dimension("d", "day")
    coarse = [day.coarser(steps, 5).grain for steps in range(5)]
    assert coarse == ["day", "month", "quarter", "year", "year"]
    assert replace(day, grain=None).coarser(3, 5).grain is None
    connection = duckdb.connect()
    leap = date(2024, 2, 29)
    for grain, first in (("day", leap), ("month", leap - timedelta(28)), ("quarter", date(2024, 1, 1))):
        sql = f"SELECT {Dimension('d', grain).sql('t')} FROM (SELECT DATE '{leap}' AS d)"
        assert connection.execute(sql).fetchone() == (first,)
