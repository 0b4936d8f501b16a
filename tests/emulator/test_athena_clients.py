"""Athena and Glue on the laptop by the clients that people use, unmodified.

PyAthena and SQLAlchemy run here. The others want other versions of what finlake needs as well: each gets a
virtual environment, made once from pinned requirements, and its checks run in there (``clients/run.py``).
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from lakehouse import free_port
from pyathena import connect
from pyathena.error import OperationalError
from pyathena.pandas.cursor import PandasCursor
from separate_venv import python_with
from sqlalchemy import MetaData, Table, create_engine, func, inspect, select

from emulator.native import NativeStack
from pipeline.generated import END, refresh

pytestmark = [pytest.mark.emulator, pytest.mark.timeout(900), pytest.mark.slow]  # installing takes its time

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
PAGE = ROOT / "docs" / "athena.md"
BEGIN = "<!-- what clients do, written by `make conformance`, up to the end mark -->"
# Title, and the distribution that it is; each has `with_<name>.py` and `<name>.txt` in the folder of clients.
TITLES = {
    "awscli": ("AWS CLI", "awscli"),
    "awswrangler": ("awswrangler", "awswrangler"),
    "dbt": ("dbt, its Athena adapter", "dbt-athena"),
}
BUCKET = "clients-under-test"
STAGING = f"s3://{BUCKET}/staging/"
ROWS = pa.table(
    {
        "id": pa.array([1, 2, 3], pa.int64()),
        "name": ["one", "it's", None],
        "amount": pa.array([Decimal("1.25"), Decimal("-2.50"), None], pa.decimal128(10, 2)),
        "day": [date(2024, 2, 29), date(2024, 3, 1), None],
    }
)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    stack = NativeStack(tmp_path_factory.mktemp("clients") / ".finlake", free_port())
    stack.up()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in stack.environment().items():
                patch.setenv(name, value)
            boto3.client("s3").create_bucket(
                Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
            )
            glue = boto3.client("glue")
            glue.create_database(DatabaseInput={"Name": "db"})
            location = f"s3://{BUCKET}/t"
            write_deltalake(location, ROWS, storage_options=stack.environment())
            columns = [("id", "bigint"), ("name", "string"), ("amount", "decimal(10,2)"), ("day", "date")]
            glue.create_table(
                DatabaseName="db",
                TableInput={
                    "Name": "t",
                    "TableType": "EXTERNAL_TABLE",
                    "Parameters": {"table_type": "DELTA"},
                    "StorageDescriptor": {
                        "Columns": [{"Name": name, "Type": kind} for name, kind in columns],
                        "Location": location,
                    },
                },
            )
            yield stack.environment()["AWS_ENDPOINT_URL"]
    finally:
        stack.down()


def database(endpoint: str, **more: Any) -> Any:
    return connect(s3_staging_dir=STAGING, schema_name="db", endpoint_url=endpoint, **more)


def test_the_db_api_brings_values_of_their_types(endpoint: str) -> None:
    cursor = database(endpoint).cursor()
    cursor.execute("SELECT id, name, amount, day FROM t WHERE id < %(limit)d ORDER BY id", {"limit": 3})
    assert cursor.fetchall() == [
        (1, "one", Decimal("1.25"), date(2024, 2, 29)),
        (2, "it's", Decimal("-2.50"), date(2024, 3, 1)),
    ]
    assert [column[:2] for column in cursor.description] == [
        ("id", "bigint"), ("name", "varchar"), ("amount", "decimal"), ("day", "date"),
    ]  # fmt: skip


def test_parameters_of_both_styles_arrive_whole(endpoint: str) -> None:
    cursor = database(endpoint).cursor()
    assert cursor.execute("SELECT id FROM t WHERE name = %(name)s", {"name": "it's"}).fetchall() == [(2,)]
    assert cursor.execute("SELECT id FROM t WHERE id = ?", ["3"], paramstyle="qmark").fetchall() == [(3,)]


def test_an_error_is_one_of_the_db_api(endpoint: str) -> None:
    with pytest.raises(OperationalError, match="TABLE_NOT_FOUND"):
        database(endpoint).cursor().execute("SELECT * FROM nope")


def test_pandas_reads_the_csv_with_nulls_and_types(endpoint: str) -> None:
    cursor = database(endpoint, cursor_class=PandasCursor).cursor()
    frame = cursor.execute(
        "SELECT id, name, TIMESTAMP '2024-01-02 03:04:05' AS at FROM t ORDER BY id"
    ).as_pandas()
    assert frame["id"].tolist() == [1, 2, 3]
    assert frame["name"].isna().tolist() == [False, False, True]
    assert frame["at"].iloc[0] == datetime(2024, 1, 2, 3, 4, 5)


def test_sqlalchemy_reflects_and_queries(endpoint: str) -> None:
    engine = create_engine(
        f"awsathena+rest://test:test@athena.eu-central-1.amazonaws.com:443/db?s3_staging_dir={STAGING}",
        connect_args={"endpoint_url": endpoint},
    )
    with engine.connect() as connection:
        assert inspect(engine).get_table_names("db") == ["t"]
        table = Table("t", MetaData(), autoload_with=engine, schema="db")
        assert [column.name for column in table.columns] == ["id", "name", "amount", "day"]
        assert connection.execute(select(func.count(), func.sum(table.c.amount))).one() == (
            3,
            Decimal("-1.25"),
        )


# --- clients in virtual environments of their own ---------------------------------------------------


def titles(client: str) -> list[str]:
    """What a client's checks are called."""
    tree = ast.parse((CLIENTS / f"with_{client}.py").read_text(encoding="utf-8"))
    checks = [
        item for item in tree.body if isinstance(item, ast.FunctionDef) and item.name.startswith("check_")
    ]
    return [ast.get_docstring(check) or "" for check in checks]


def pinned(client: str) -> str:
    """The version of a client that its requirements name."""
    found = re.search(rf"^{TITLES[client][1]}==(\S+)$", requirements(client).read_text(), re.MULTILINE)
    assert found, f"{requirements(client)} does not pin it"
    return found[1]


def requirements(client: str) -> Path:
    return CLIENTS / f"{client}.txt"


Outcomes = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def outcomes_of(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Outcomes]:
    """What came of a client's checks, which run once, all in one process."""
    known: dict[str, Outcomes] = {}

    def of(client: str) -> Outcomes:
        if client not in known:
            python, file = (
                python_with(client, requirements(client)),
                tmp_path_factory.mktemp(client) / "outcomes.json",
            )
            done = subprocess.run(
                [python, CLIENTS / "run.py", f"with_{client}", file],
                env=os.environ | {"BUCKET": BUCKET},
                cwd=file.parent,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout + done.stderr
            known[client] = json.loads(file.read_text(encoding="utf-8"))
        return known[client]

    return of


@pytest.mark.parametrize(
    ("client", "title"), [(client, title) for client in TITLES for title in titles(client)]
)
def test_a_client_does_on_the_laptop_what_it_does_on_aws(
    outcomes_of: Callable[[str], Outcomes], client: str, title: str
) -> None:
    assert not outcomes_of(client)[title]["error"]


def test_the_page_shows_what_clients_do(outcomes_of: Callable[[str], Outcomes], writes: bool) -> None:
    lines = ["| client | what it does | here |", "| --- | --- | --- |"]
    for client, (name, _) in TITLES.items():
        for title, outcome in outcomes_of(client).items():
            lines.append(f"| {name} {pinned(client)} | {title} | {'no' if outcome['error'] else 'yes'} |")
    part = "\n".join([BEGIN, "", *lines, "", END])
    if writes:
        refresh(PAGE, part)
    assert part in PAGE.read_text(encoding="utf-8"), "run `make conformance`"
