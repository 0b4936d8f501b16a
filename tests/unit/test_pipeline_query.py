"""Which tables a statement names, and questions to Delta tables without Spark."""

from datetime import UTC, date, datetime

import pytest

from pipeline import query
from pipeline.errors import FinlakeError, UsageError
from pipeline.query import attach, attach_uri, connect, run_query, tables_in
from pipeline.small_table import SmallTable
from pipeline.tables import TableColumn

COLUMNS = (
    TableColumn("loan_id", "string", "Loan."),
    TableColumn("start_date", "date", "Day."),
    TableColumn("updated_at", "timestamp", "Instant."),
)


@pytest.fixture
def loans(tmp_path):
    """URI of a small Delta table, in a folder whose name needs quoting."""
    uri = f"file://{tmp_path}/o'clock/loans"
    table = SmallTable(uri, COLUMNS)
    row = {
        "loan_id": "L1",
        "start_date": date(2024, 2, 29),
        "updated_at": datetime(2024, 5, 1, 12, tzinfo=UTC),
    }
    for name in ("L1", "L1", "L2"):  # the first file is no longer a part of the table
        table.replace_slice([row | {"loan_id": name}], loan_id=name)
    return uri


@pytest.fixture
def catalogue(loans, monkeypatch):
    """A catalogue that knows one table."""
    known = {"silver": {"loans": {"StorageDescriptor": {"Location": loans}}}}
    monkeypatch.setattr(query, "registered_tables", lambda layer, _settings: known.get(layer, {}))


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select 1", set()),
        ("", set()),
        ("select * from silver.loans", {("silver", "loans")}),
        ('SELECT * FROM "Silver"."LOANS"', {("silver", "loans")}),
        ("select * from silver.loans l join gold.customer_360 c using (customer_id)",
         {("silver", "loans"), ("gold", "customer_360")}),
        ("with silver as (select 1) select * from silver", set()),
        ("with l as (select * from ops.runs) select * from l", {("ops", "runs")}),
        ("select (select count(*) from quarantine.loans) from silver.loans where 'gold.x' = ''",
         {("quarantine", "loans"), ("silver", "loans")}),
        ("select * from silver.loans -- from gold.nothing", {("silver", "loans")}),
        ("from silver.loans", {("silver", "loans")}),
        ("describe silver.loans", {("silver", "loans")}),
        ("select count(*) filter (where true), a[1] from silver.loans group by all qualify true",
         {("silver", "loans")}),
    ],
)  # fmt: skip
def test_the_tables_of_a_statement_are_found(sql, expected):
    assert tables_in(sql) == expected


@pytest.mark.parametrize("sql", ["select * from (", "selec 1 frm", "select 'open"])
def test_what_is_not_sql_is_a_usage_error(sql):
    with pytest.raises(UsageError, match="not valid SQL") as caught:
        tables_in(sql)
    assert caught.value.exit_code == 2


def test_a_delta_table_is_read_as_its_log_says_and_not_by_its_files(loans):
    connection = connect()
    attach_uri(connection, "silver", "loans", loans)
    assert connection.execute("select count(*) from silver.loans").fetchone() == (2,)


def test_instants_and_dates_come_back_as_python_values_in_utc(catalogue, lake):
    result = run_query("select start_date, updated_at from silver.loans where loan_id = 'L2'", lake)
    assert result.columns == ("start_date", "updated_at")
    ((day, instant),) = result.rows
    assert day == date(2024, 2, 29)
    assert instant == datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("table", "hint"),
    [
        (("silver", "loan"), "did you mean silver.loans?"),
        (("silver", "nothing_like_it"), "did you mean silver.loans?"),
        (("gold", "loans"), "gold has no tables yet"),
        (("platinum", "loans"), "layers are: silver, gold, quarantine, ops"),
    ],
)
def test_an_unknown_table_is_a_usage_error_that_helps(catalogue, lake, table, hint):
    with pytest.raises(UsageError, match=table[1] if table[0] != "platinum" else "platinum") as caught:
        attach(connect(), {table}, lake)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(
    "sql", ["select nothing from silver.loans", "select * from loans", "select unknown()"]
)
def test_a_statement_that_does_not_fit_the_tables_is_a_usage_error(catalogue, lake, sql):
    with pytest.raises(UsageError, match="the query is not valid"):
        run_query(sql, lake)


def test_a_query_that_fails_while_it_runs_is_not_a_usage_error(catalogue, lake):
    with pytest.raises(FinlakeError, match="the query failed") as caught:
        run_query("select cast(loan_id as int) from silver.loans", lake)
    assert caught.value.exit_code == 1
