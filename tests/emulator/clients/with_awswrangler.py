"""awswrangler (AWS SDK for pandas) on the stack that the environment's AWS_ENDPOINT_URL names."""

from __future__ import annotations

import os
from datetime import date
from decimal import Decimal

import awswrangler as wr
import pandas as pd

wr.config.athena_query_wait_polling_delay = 0.05
BUCKET = os.environ["BUCKET"]
HOW = {"database": "db", "s3_output": f"s3://{BUCKET}/wrangler/"}
SQL = "SELECT id, name, amount, day FROM t ORDER BY id"
EVENTS = pd.DataFrame(
    {
        "id": [1, 2, 3],
        "amount": [1.5, 2.5, None],
        "at": pd.to_datetime(["2024-01-01 10:00", "2024-01-02 11:00", None]),
        "day": ["2024-01-01", "2024-01-02", "2024-01-02"],
    }
)


def assert_table_t(frame: pd.DataFrame) -> None:
    frame = frame.sort_values("id")
    assert frame["id"].tolist() == [1, 2, 3]
    assert frame["name"].tolist()[:2] == ["one", "it's"]
    assert frame["name"].isna().tolist() == [False, False, True]
    assert frame["amount"].tolist()[:2] == [Decimal("1.25"), Decimal("-2.50")]
    assert frame["day"].tolist()[:2] == [date(2024, 2, 29), date(2024, 3, 1)]


def check_ctas() -> None:
    """athena.read_sql_query by CTAS, which leaves no table behind"""
    before = set(wr.catalog.tables(database="db")["Table"])
    assert_table_t(wr.athena.read_sql_query(SQL, **HOW, ctas_approach=True))
    assert set(wr.catalog.tables(database="db")["Table"]) == before


def check_csv() -> None:
    """athena.read_sql_query by the result's CSV"""
    assert_table_t(wr.athena.read_sql_query(SQL, **HOW, ctas_approach=False))


def check_unload() -> None:
    """athena.read_sql_query by UNLOAD"""
    frame = wr.athena.read_sql_query(
        SQL,
        database="db",
        s3_output=f"s3://{BUCKET}/wrangler-unload/",
        ctas_approach=False,
        unload_approach=True,
    )
    assert_table_t(frame)


def check_parameters() -> None:
    """parameters, named and by question marks"""
    named = wr.athena.read_sql_query(
        "SELECT id FROM t WHERE name = :name", **HOW, ctas_approach=False, params={"name": "it's"}
    )
    assert named["id"].tolist() == [2]
    marks = wr.athena.read_sql_query(
        "SELECT id FROM t WHERE id = ?", **HOW, ctas_approach=False, params=["3"], paramstyle="qmark"
    )
    assert marks["id"].tolist() == [3]


def check_chunks() -> None:
    """a result in chunks"""
    parts = list(wr.athena.read_sql_query(SQL, **HOW, ctas_approach=False, chunksize=2))
    assert [len(part) for part in parts] == [2, 1]
    assert sum(map(len, wr.athena.read_sql_query(SQL, **HOW, ctas_approach=True, chunksize=True))) == 3


def check_cache() -> None:
    """a result from an earlier execution (athena_cache_settings)"""
    how = HOW | {"ctas_approach": False, "athena_cache_settings": {"max_cache_seconds": 600}}
    sql = "SELECT count(*) AS cached FROM t"
    first = wr.athena.read_sql_query(sql, **how)
    again = wr.athena.read_sql_query(sql, **how)
    assert first["cached"].tolist() == again["cached"].tolist() == [3]
    assert first.query_metadata["QueryExecutionId"] == again.query_metadata["QueryExecutionId"]


def check_to_parquet() -> None:
    """s3.to_parquet as a partitioned dataset of the catalogue, athena.read_sql_table"""
    path = f"s3://{BUCKET}/events/"
    where = {"path": path, "dataset": True, "database": "db", "table": "events", "partition_cols": ["day"]}
    wr.s3.to_parquet(EVENTS, **where, mode="overwrite")
    frame = wr.athena.read_sql_table("events", **HOW)
    assert sorted(frame["id"]) == [1, 2, 3]
    assert frame["at"].max() == pd.Timestamp("2024-01-02 11:00")
    more = EVENTS[EVENTS["id"] == 2].assign(id=20)
    wr.s3.to_parquet(more, **where, mode="overwrite_partitions")
    assert sorted(wr.athena.read_sql_table("events", **HOW)["id"]) == [1, 20]


def check_catalog() -> None:
    """catalog: databases, tables, types, partitions by expression, comments"""
    assert "db" in wr.catalog.databases()["Database"].tolist()
    assert wr.catalog.does_table_exist(database="db", table="events")
    types = wr.catalog.get_table_types(database="db", table="events")
    assert types == {"id": "bigint", "amount": "double", "at": "timestamp", "day": "string"}
    found = wr.catalog.get_partitions(database="db", table="events", expression="day = '2024-01-02'")
    assert list(found.values()) == [["2024-01-02"]]
    described = wr.catalog.table(database="db", table="events")
    assert described[described["Partition"]]["Column Name"].tolist() == ["day"]


def check_repair() -> None:
    """s3.to_csv, catalog.create_csv_table, athena.repair_table"""
    path = f"s3://{BUCKET}/csv/"
    wr.s3.to_csv(pd.DataFrame({"id": [7, 8]}), f"{path}kind=x/a.csv", index=False, header=False)
    wr.catalog.create_csv_table(
        database="db",
        table="of_csv",
        path=path,
        columns_types={"id": "bigint"},
        partitions_types={"kind": "string"},
    )
    assert wr.athena.repair_table("of_csv", database="db", s3_output=HOW["s3_output"]) == "SUCCEEDED"
    frame = wr.athena.read_sql_query("SELECT id, kind FROM of_csv", **HOW, ctas_approach=False)
    assert frame["id"].tolist() == [7, 8]
    assert frame["kind"].tolist() == ["x", "x"]


def check_statements() -> None:
    """athena.create_ctas_table, describe_table, show_create_table, wait_query, get_query_results"""
    made = wr.athena.create_ctas_table(
        "SELECT id, name FROM t",
        database="db",
        ctas_table="made",
        s3_output=f"s3://{BUCKET}/made/",
        wait=True,
    )
    assert made["ctas_table"] == "made"
    described = wr.athena.describe_table("made", database="db", s3_output=HOW["s3_output"])
    assert described["Column Name"].tolist() == ["id", "name"]
    text = wr.athena.show_create_table("made", database="db", s3_output=HOW["s3_output"])
    assert text.startswith("CREATE EXTERNAL TABLE")
    id_ = wr.athena.start_query_execution("SELECT max(id) AS m FROM made", **HOW)
    assert wr.athena.wait_query(id_)["Status"]["State"] == "SUCCEEDED"
    assert wr.athena.get_query_results(id_)["m"].tolist() == [3]
    assert wr.athena.get_query_columns_types(id_) == {"m": "bigint"}


def check_prepared() -> None:
    """athena.create_prepared_statement, list_prepared_statements, delete_prepared_statement"""
    wr.athena.create_prepared_statement("SELECT id FROM t WHERE id > ?", "above", workgroup="primary")
    assert "above" in [item["StatementName"] for item in wr.athena.list_prepared_statements("primary")]
    frame = wr.athena.read_sql_query(
        "EXECUTE above", **HOW, ctas_approach=False, params=["1"], paramstyle="qmark"
    )
    assert sorted(frame["id"]) == [2, 3]
    wr.athena.delete_prepared_statement("above", workgroup="primary")


def check_errors() -> None:
    """a failed query is wr.exceptions.QueryFailed"""
    try:
        wr.athena.read_sql_query("SELECT nope FROM t", **HOW, ctas_approach=False)
    except wr.exceptions.QueryFailed as error:
        assert "COLUMN_NOT_FOUND" in str(error)
    else:
        raise AssertionError("no error")
