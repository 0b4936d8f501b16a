"""Athena on the laptop, by boto3 as on AWS: what clients see, and that answers are right."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import boto3
import pyarrow as pa
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from deltalake import DeltaTable, write_deltalake
from lakehouse import free_port

from emulator.native import NativeStack

pytestmark = pytest.mark.emulator

BUCKET = "athena-under-test"
OUTPUT = f"s3://{BUCKET}/results/"
OPENCSV = "org.apache.hadoop.hive.serde2.OpenCSVSerde"
MEMORY = "200MB"
REGION = "eu-central-1"


@dataclass
class Athena:
    """A stack, and what a client of it does."""

    endpoint: str
    stack: NativeStack

    def client(self, service: str, region: str = REGION, key: str = "test", **config: Any):
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=region,
            aws_access_key_id=key,
            aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 1}, **config),
        )

    @property
    def storage(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "eu-central-1",
            "AWS_ALLOW_HTTP": "true",
        }

    def start(self, sql: str, **more: Any) -> str:
        request = {
            "QueryExecutionContext": {"Database": "shop"},
            "ResultConfiguration": {"OutputLocation": OUTPUT},
        }
        return self.client("athena").start_query_execution(QueryString=sql, **request | more)[
            "QueryExecutionId"
        ]

    def wait(self, query: str, seconds: float = 60, client: Any = None) -> dict[str, Any]:
        client, deadline = client or self.client("athena"), time.monotonic() + seconds
        while True:
            execution = client.get_query_execution(QueryExecutionId=query)["QueryExecution"]
            if execution["Status"]["State"] not in {"QUEUED", "RUNNING"}:
                return execution
            assert time.monotonic() < deadline, f"it runs for more than {seconds} s"
            time.sleep(0.02)

    def run(self, sql: str, **more: Any) -> dict[str, Any]:
        execution = self.wait(self.start(sql, **more))
        assert execution["Status"]["State"] == "SUCCEEDED", execution["Status"].get("StateChangeReason")
        return execution

    def failure(self, sql: str, **more: Any) -> str:
        execution = self.wait(self.start(sql, **more))
        assert execution["Status"]["State"] == "FAILED", f"{sql}: {execution['Status']['State']}"
        status = execution["Status"]
        assert status["AthenaError"]["ErrorMessage"] == status["StateChangeReason"]
        return status["StateChangeReason"]

    def rows(self, sql: str, **more: Any) -> list[list[str | None]]:
        """Rows without the header."""
        execution = self.run(sql, **more)
        pages = (
            self.client("athena")
            .get_paginator("get_query_results")
            .paginate(QueryExecutionId=execution["QueryExecutionId"])
        )
        found = [
            [cell.get("VarCharValue") for cell in row["Data"]]
            for page in pages
            for row in page["ResultSet"]["Rows"]
        ]
        return found[1:] if execution["StatementType"] == "DML" else found

    def object(self, uri: str) -> bytes:
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        return self.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()

    def put_delta(self, name: str, table: pa.Table, **how: Any) -> DeltaTable:
        location = f"s3://{BUCKET}/{name}"
        write_deltalake(location, table, storage_options=self.storage, **how)
        return DeltaTable(location, storage_options=self.storage)


ITEMS = pa.table(
    {
        "id": pa.array([1, 2, 3], pa.int64()),
        "name": ["apple", "pear", None],
        "price": pa.array([Decimal("1.25"), Decimal("2.50"), None], pa.decimal128(10, 2)),
        "kind": ["fruit", "fruit", "other"],
    }
)


@pytest.fixture(scope="module")
def athena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Athena]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FINLAKE_ATHENA_MEMORY", MEMORY)
        patch.setenv("FINLAKE_ATHENA_SECONDS", "8")
        patch.setenv("FINLAKE_ATHENA_CONCURRENT", "3")
        stack = NativeStack(tmp_path_factory.mktemp("athena") / ".finlake", free_port())
        stack.up()
    try:
        found = Athena(stack.environment()["AWS_ENDPOINT_URL"], stack)
        found.client("s3").create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
        found.client("glue").create_database(DatabaseInput={"Name": "shop"})
        found.put_delta("items", ITEMS, partition_by=["kind"])
        found.run(
            f"CREATE EXTERNAL TABLE items LOCATION 's3://{BUCKET}/items' TBLPROPERTIES ('table_type'='DELTA')"
        )
        yield found
    finally:
        stack.down()


# --- what a client sees ----------------------------------------------------------------------------


def test_the_first_row_of_a_query_is_the_header_and_types_go_by_athenas_names(athena: Athena) -> None:
    execution = athena.run("SELECT id, name, price FROM items ORDER BY id")
    result = athena.client("athena").get_query_results(QueryExecutionId=execution["QueryExecutionId"])[
        "ResultSet"
    ]
    assert [[cell.get("VarCharValue") for cell in row["Data"]] for row in result["Rows"]] == [
        ["id", "name", "price"],
        ["1", "apple", "1.25"],
        ["2", "pear", "2.50"],
        ["3", None, None],
    ]
    columns = result["ResultSetMetadata"]["ColumnInfo"]
    assert [(c["Name"], c["Type"], c["Precision"], c["Scale"]) for c in columns] == [
        ("id", "bigint", 19, 0),
        ("name", "varchar", 2147483647, 0),
        ("price", "decimal", 10, 2),
    ]


def test_the_csv_quotes_every_value_and_leaves_nulls_empty(athena: Athena) -> None:
    execution = athena.run(
        "SELECT id, name, '' AS empty, 'say \"x\"' AS said FROM items WHERE id > 1 ORDER BY id"
    )
    location = execution["ResultConfiguration"]["OutputLocation"]
    assert location == f"{OUTPUT}{execution['QueryExecutionId']}.csv"
    text = athena.object(location).decode()
    assert text == '"id","name","empty","said"\n"2","pear","","say ""x"""\n"3",,"","say ""x"""\n'
    assert athena.object(f"{location}.metadata")


def test_values_are_written_as_athena_writes_them(athena: Athena) -> None:
    [row] = athena.rows(
        "SELECT true, 1e0, 1e10, 0.1e0, DATE '2024-02-29', TIMESTAMP "
        "'2024-02-29 01:02:03.5', ARRAY[1, NULL], "
        "CAST(ROW(1, 'x') AS ROW(a integer, b varchar)), MAP(ARRAY['k'], ARRAY[2]), X'00ff', 1.50, NULL"
    )
    assert row == [
        "true",
        "1.0",
        "1.0E10",
        "0.1",
        "2024-02-29",
        "2024-02-29 01:02:03.500",
        "[1, null]",
        "{a=1, b=x}",
        "{k=2}",
        "00 ff",
        "1.50",
        None,
    ]


def test_pages_bring_each_row_once(athena: Athena) -> None:
    execution = athena.run("SELECT n FROM UNNEST(sequence(1, 2500)) AS t(n)")
    client, id_ = athena.client("athena"), execution["QueryExecutionId"]
    pages = list(
        client.get_paginator("get_query_results").paginate(
            QueryExecutionId=id_, PaginationConfig={"PageSize": 700}
        )
    )
    rows = [row["Data"][0]["VarCharValue"] for page in pages for row in page["ResultSet"]["Rows"]]
    assert [len(page["ResultSet"]["Rows"]) for page in pages] == [700, 700, 700, 401]
    assert rows == ["n", *map(str, range(1, 2501))]
    assert "NextToken" not in pages[-1]


def test_a_token_starts_a_query_only_once(athena: Athena) -> None:
    token = "t" * 40
    first = athena.start("SELECT 1", ClientRequestToken=token)
    assert athena.start("SELECT 1", ClientRequestToken=token) == first
    with pytest.raises(ClientError, match="Idempotent parameters do not match"):
        athena.start("SELECT 2", ClientRequestToken=token)


def test_a_token_that_comes_many_times_at_once_starts_one_query(athena: Athena) -> None:
    client = athena.client("athena", max_pool_connections=8)
    long = "SELECT " + ", ".join(f"{n} AS n{n}" for n in range(2_000))  # reading it takes a while

    def start(_: int) -> str:
        answer = client.start_query_execution(
            QueryString=long, ClientRequestToken="o" * 40, ResultConfiguration={"OutputLocation": OUTPUT}
        )
        return str(answer["QueryExecutionId"])

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(start, range(8)))) == 1


def test_results_are_reused_only_when_asked_for_and_say_so(athena: Athena) -> None:
    sql, reuse = (
        "SELECT count(*), 'reuse' FROM items",
        {"ResultReuseByAgeConfiguration": {"Enabled": True, "MaxAgeInMinutes": 5}},
    )
    first = athena.run(sql)
    assert first["Statistics"]["DataScannedInBytes"] > 0
    again = athena.run(sql, ResultReuseConfiguration=reuse)
    assert again["Statistics"]["ResultReuseInformation"] == {"ReusedPreviousResult": True}
    assert again["Statistics"]["DataScannedInBytes"] == 0
    assert again["ResultConfiguration"]["OutputLocation"] == first["ResultConfiguration"]["OutputLocation"]
    assert not athena.run(sql)["Statistics"]["ResultReuseInformation"]["ReusedPreviousResult"]


def test_parameters_take_the_place_of_question_marks(athena: Athena) -> None:
    sql = "SELECT id FROM items WHERE name = ? OR id = ?"
    assert athena.rows(sql + " ORDER BY id", ExecutionParameters=["'pear'", "1"]) == [["1"], ["2"]]
    assert "Incorrect number of parameters: expected 2 but found 1" in athena.failure(
        sql, ExecutionParameters=["1"]
    )
    injection = athena.rows(
        "SELECT count(*) FROM items WHERE name = ?", ExecutionParameters=["'x'' OR 1=1 --'"]
    )
    assert injection == [["0"]]


def test_prepared_statements_are_made_changed_executed_and_removed(athena: Athena) -> None:
    client = athena.client("athena")
    client.create_prepared_statement(StatementName="p", WorkGroup="primary", QueryStatement="SELECT 1")
    client.update_prepared_statement(
        StatementName="p", WorkGroup="primary", QueryStatement="SELECT name FROM items WHERE id = ?"
    )
    assert athena.rows("EXECUTE p USING 2") == [["pear"]]
    assert athena.rows("EXECUTE p", ExecutionParameters=["1"]) == [["apple"]]
    athena.run("PREPARE q FROM SELECT id FROM items WHERE price > ?")
    assert athena.rows("EXECUTE q USING 2.00") == [["2"]]
    found = client.batch_get_prepared_statement(PreparedStatementNames=["q", "none"], WorkGroup="primary")
    assert [item["StatementName"] for item in found["PreparedStatements"]] == ["q"]
    athena.run("DEALLOCATE PREPARE q")
    with pytest.raises(ClientError, match="q was not found"):
        athena.start("EXECUTE q USING 1")


def test_a_workgroup_enforces_its_place_for_results_and_its_limit(athena: Athena) -> None:
    client = athena.client("athena")
    place = f"s3://{BUCKET}/of-the-group/"
    client.create_work_group(
        Name="strict",
        Configuration={
            "EnforceWorkGroupConfiguration": True,
            "ResultConfiguration": {"OutputLocation": place},
            "BytesScannedCutoffPerQuery": 10_000_000,
        },
    )
    execution = athena.run("SELECT 1", WorkGroup="strict")
    assert execution["ResultConfiguration"]["OutputLocation"].startswith(place)
    assert client.list_query_executions(WorkGroup="strict")["QueryExecutionIds"] == [
        execution["QueryExecutionId"]
    ]
    random = Random(1)  # noqa: S311  (only noise)
    noise = pa.table({"x": [random.randbytes(40) for _ in range(300_000)]})
    athena.put_delta("noise", noise)
    athena.run(
        f"CREATE EXTERNAL TABLE noise LOCATION 's3://{BUCKET}/noise' TBLPROPERTIES ('table_type'='DELTA')"
    )
    assert athena.run("SELECT count(*) FROM noise")["Statistics"]["DataScannedInBytes"] > 10_000_000
    assert "Bytes scanned limit was exceeded" in athena.failure(
        "SELECT max(x) FROM noise", WorkGroup="strict"
    )
    with pytest.raises(ClientError, match="WorkGroup nowhere is not found"):
        athena.start("SELECT 1", WorkGroup="nowhere")


def test_every_workgroup_says_whether_it_enforces_its_settings(athena: Athena) -> None:
    client = athena.client("athena")
    client.create_work_group(Name="plain")
    for name, enforced in {"primary": False, "plain": True}.items():
        group = client.get_work_group(WorkGroup=name)["WorkGroup"]
        assert group["Configuration"]["EnforceWorkGroupConfiguration"] is enforced
    with pytest.raises(ClientError):
        client.get_work_group(WorkGroup="nowhere")


def test_the_catalogue_is_seen_through_athena(athena: Athena) -> None:
    client = athena.client("athena")
    assert "shop" in [
        item["Name"] for item in client.list_databases(CatalogName="AwsDataCatalog")["DatabaseList"]
    ]
    table = client.get_table_metadata(CatalogName="AwsDataCatalog", DatabaseName="shop", TableName="items")[
        "TableMetadata"
    ]
    assert ("price", "decimal(10,2)") in [(column["Name"], column["Type"]) for column in table["Columns"]]
    assert table["Parameters"]["location"] == f"s3://{BUCKET}/items"
    listed = client.list_table_metadata(CatalogName="AwsDataCatalog", DatabaseName="shop", Expression="item*")
    assert [item["Name"] for item in listed["TableMetadataList"]] == ["items"]
    assert client.list_data_catalogs()["DataCatalogsSummary"][0]["CatalogName"] == "AwsDataCatalog"


# --- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("SELECT * FROM nope", "TABLE_NOT_FOUND: line 1:15: Table 'awsdatacatalog.shop.nope' does not exist"),
        ("SELECT *\nFROM nowhere.t", "SCHEMA_NOT_FOUND: line 2:6: Schema 'nowhere' does not exist"),
        ("SELECT id, nope FROM items", "COLUMN_NOT_FOUND: line 1:12: Column 'nope' cannot be resolved"),
        ("SELECT nope(id) FROM items", "FUNCTION_NOT_FOUND: line 1:8: Function 'nope' not registered"),
        (
            "SELECT 1,\n  nope(id) FROM items",
            "FUNCTION_NOT_FOUND: line 2:3: Function 'nope' not registered",
        ),
        (
            "SELECT * FROM nope(1)",
            "FUNCTION_NOT_FOUND: line 1:15: Table function 'nope' not registered",
        ),
        ("SELECT kind, count(*) FROM items", "EXPRESSION_NOT_AGGREGATE: line 1:8"),
        ("SELECT 1 / 0", "DIVISION_BY_ZERO"),
        ("SELECT ARRAY[1][2]", "INVALID_FUNCTION_ARGUMENT"),
        ("SELECT CAST('x' AS integer)", "INVALID_CAST_ARGUMENT: Cannot cast 'x'"),
        ("INSERT INTO items VALUES (1, 'a', 1, 'x')", "NOT_SUPPORTED: INSERT INTO a table of delta"),
        ("SELECT * FROM other.db.t", "CATALOG_NOT_FOUND"),
        ("SELECT sum(x) FROM (VALUES 9223372036854775807, 1) AS t(x)", "NUMERIC_VALUE_OUT_OF_RANGE"),
        ("SELECT id FROM items WHERE name = 1", "TYPE_MISMATCH: line 1:1: Cannot apply operator"),
        ("SELECT nvl(name, 'x') FROM items", "FUNCTION_NOT_FOUND: line 1:8: Function 'nvl' not registered"),
        ("CREATE TABLE unnamed AS SELECT count(*) FROM items", "COLUMN_NAME_NOT_SPECIFIED: line 1:1"),
        ("CREATE VIEW twice AS SELECT id, id FROM items", "DUPLICATE_COLUMN_NAME: line 1:1"),
        (
            "CREATE TABLE ice WITH (table_type = 'ICEBERG') AS SELECT 1 AS a",
            "NOT_SUPPORTED: tables of ICEBERG",
        ),
        ("CREATE TABLE odd WITH (foo = 'bar') AS SELECT 1 AS a", "INVALID_TABLE_PROPERTY: line 1:1"),
        ("CREATE TABLE of_rows AS SELECT ROW(1, 2) AS a", "NOT_SUPPORTED: a row whose fields have no names"),
    ],
)
def test_a_query_that_cannot_work_fails_in_athenas_words(athena: Athena, sql: str, reason: str) -> None:
    assert athena.failure(sql).startswith(reason)


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELEC 1", "MALFORMED_QUERY"),
        ("SELECT 1; SELECT 2", "MALFORMED_QUERY"),
        ("SELECT 1" + " " * 5_000_000, "INVALID_INPUT"),
        (";", "MALFORMED_QUERY"),
    ],
)
def test_what_is_no_query_is_refused_at_once(athena: Athena, sql: str, code: str) -> None:
    with pytest.raises(ClientError) as refused:
        athena.client("athena", parameter_validation=False).start_query_execution(
            QueryString=sql, ResultConfiguration={"OutputLocation": OUTPUT}
        )
    assert refused.value.response["Error"]["Code"] == "InvalidRequestException"
    assert refused.value.response["AthenaErrorCode"] == code


def test_no_place_for_results_is_refused_and_one_without_bucket_fails(athena: Athena) -> None:
    with pytest.raises(ClientError, match="No output location provided"):
        athena.client("athena").start_query_execution(QueryString="SELECT 1")
    reason = athena.failure("SELECT 1", ResultConfiguration={"OutputLocation": "s3://no-such-bucket-here/x/"})
    assert "S3 location provided to save your query results is invalid" in reason


def test_an_unsigned_request_is_refused(athena: Athena) -> None:
    host, port = urlsplit(athena.endpoint).hostname, urlsplit(athena.endpoint).port
    connection = HTTPConnection(host, port, timeout=10)
    connection.request("POST", "/", b"{}", {"X-Amz-Target": "AmazonAthena.ListQueryExecutions"})
    answer = connection.getresponse()
    assert answer.status == 403
    assert json.loads(answer.read())["__type"] == "MissingAuthenticationTokenException"


def test_another_region_and_another_account_know_nothing_of_this_one(athena: Athena) -> None:
    known = athena.run("SELECT 1")["QueryExecutionId"]
    for other in ({"region": "us-east-1"}, {"key": "111122223333"}):
        client = athena.client("athena", **other)
        with pytest.raises(ClientError, match="was not found"):
            client.get_query_execution(QueryExecutionId=known)
        assert known not in client.list_query_executions()["QueryExecutionIds"]
        with pytest.raises(ClientError, match="Database shop not found"):
            client.get_database(CatalogName="AwsDataCatalog", DatabaseName="shop")
    there = athena.client("athena", region="us-east-1")
    place = {"ResultConfiguration": {"OutputLocation": OUTPUT}}
    failed = athena.wait(
        there.start_query_execution(QueryString="SELECT 1", **place)["QueryExecutionId"], client=there
    )
    assert (
        f"{BUCKET} is in {REGION}, and the query runs in us-east-1" in failed["Status"]["StateChangeReason"]
    )


def test_a_query_sees_the_tables_of_the_account_that_asks(athena: Athena) -> None:
    other = {"key": "111122223333"}
    bucket = "of-another-account"
    s3, glue, client = (athena.client(service, **other) for service in ("s3", "glue", "athena"))
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=bucket, Key="t/a.csv", Body=b"theirs\n")
    glue.create_database(DatabaseInput={"Name": "theirs"})
    request = {"ResultConfiguration": {"OutputLocation": f"s3://{bucket}/results/"}}
    for sql in (
        f"CREATE EXTERNAL TABLE theirs.t (a string) LOCATION 's3://{bucket}/t/'",
        "SELECT a FROM theirs.t",
    ):
        query = client.start_query_execution(QueryString=sql, **request)["QueryExecutionId"]
        done = athena.wait(query, client=client)
        assert done["Status"]["State"] == "SUCCEEDED", done["Status"]
    rows = client.get_query_results(QueryExecutionId=query)["ResultSet"]["Rows"]
    assert rows[1]["Data"] == [{"VarCharValue": "theirs"}]
    assert "SCHEMA_NOT_FOUND" in athena.failure("SELECT a FROM theirs.t")


def test_unknown_executions_are_named(athena: Athena) -> None:
    client = athena.client("athena")
    with pytest.raises(ClientError, match="QueryExecution nope was not found"):
        client.get_query_execution(QueryExecutionId="nope")
    known = athena.start("SELECT 1")
    found = client.batch_get_query_execution(QueryExecutionIds=[known, "nope"])
    assert [item["QueryExecutionId"] for item in found["QueryExecutions"]] == [known]
    assert [item["QueryExecutionId"] for item in found["UnprocessedQueryExecutionIds"]] == ["nope"]


def test_a_damaged_delta_log_is_named_and_other_queries_go_on(athena: Athena) -> None:
    s3 = athena.client("s3")
    s3.put_object(Bucket=BUCKET, Key="broken/_delta_log/00000000000000000000.json", Body=b"{not json")
    athena.client("glue").create_table(
        DatabaseName="shop",
        TableInput={
            "Name": "broken",
            "Parameters": {"table_type": "DELTA"},
            "StorageDescriptor": {"Columns": [], "Location": f"s3://{BUCKET}/broken"},
        },
    )
    assert f"cannot read shop.broken at s3://{BUCKET}/broken" in athena.failure("SELECT * FROM broken")
    assert athena.rows("SELECT 1") == [["1"]]


# --- isolation -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        'SELECT * FROM "/etc/passwd"',
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM duckdb_secrets()",
        "SELECT getenv('HOME')",
        "SELECT current_setting('temp_directory')",
        "SELECT read_text('/etc/passwd')",
        "SELECT query('SELECT 1')",
        "WITH t AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM t",
        "SELECT (SELECT content FROM read_text('/etc/passwd'))",
        "SELECT t_unscaled(1)",
    ],
)
def test_a_query_reaches_no_file_and_no_setting(athena: Athena, sql: str) -> None:
    assert "_NOT_FOUND" in athena.failure(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "COPY t TO 'x'",
        "ATTACH 'x'",
        "INSTALL httpfs",
        "PRAGMA version",
        "SET threads = 1",
        "LOAD x",
        "CALL f()",
        "CHECKPOINT",
        "VACUUM",
    ],
)
def test_statements_of_the_engine_are_not_statements_of_athena(athena: Athena, sql: str) -> None:
    try:
        reason = athena.failure(sql)
    except ClientError as refused:
        reason = str(refused)
    assert "NOT_SUPPORTED" in reason or "mismatched input" in reason


def test_a_table_that_is_not_on_s3_is_not_read(athena: Athena) -> None:
    for name, location in {"local": "/etc/", "file": "file:///etc/", "web": "http://127.0.0.1/x/"}.items():
        athena.client("glue").create_table(
            DatabaseName="shop",
            TableInput={
                "Name": f"at_{name}",
                "StorageDescriptor": {
                    "Columns": [{"Name": "a", "Type": "string"}],
                    "Location": location,
                    "SerdeInfo": {"SerializationLibrary": OPENCSV},
                },
            },
        )
        assert "is not on S3" in athena.failure(f"SELECT * FROM at_{name}")


HEAVY = (
    "SELECT count(*) FROM UNNEST(sequence(1, 100000)) AS a(x) CROSS JOIN UNNEST(sequence(1, 100000)) AS b(y) "
    "CROSS JOIN UNNEST(sequence(1, 1000)) AS c(z) WHERE x % 7 = y % 11 + z % 3"
)


def test_a_query_can_be_stopped(athena: Athena) -> None:
    query = athena.start(HEAVY)
    athena.client("athena").stop_query_execution(QueryExecutionId=query)
    execution = athena.wait(query, 5)
    assert execution["Status"]["State"] == "CANCELLED"
    with pytest.raises(ClientError, match="CANCELLED"):
        athena.client("athena").get_query_results(QueryExecutionId=query)
    assert athena.rows("SELECT 1") == [["1"]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT array_agg(lpad(CAST(x AS varchar), 1000, 'y')) FROM UNNEST(sequence(1, 600000)) AS t(x)",
        # DuckDB does not count these texts: a process without a limit of its own takes gigabytes.
        f"SELECT {' || '.join(['x'] * 60)} FROM (SELECT lpad('x', 20000000, 'y') AS x)",
    ],
)
def test_a_query_that_eats_all_memory_fails_and_others_go_on(athena: Athena, sql: str) -> None:
    assert "exhausted resources" in athena.failure(sql)
    assert athena.rows("SELECT 1") == [["1"]]


def test_a_query_that_never_ends_is_ended(athena: Athena) -> None:
    begun = time.monotonic()
    assert "Query timeout" in athena.failure(HEAVY)
    assert time.monotonic() - begun < 20


def test_many_clients_at_once_each_get_their_own_answer(athena: Athena) -> None:
    queries = {athena.start(f"SELECT {n}, count(*) FROM items WHERE id <> {n}"): n for n in range(20)}
    for query, n in queries.items():
        assert athena.wait(query)["Status"]["State"] == "SUCCEEDED"
        rows = athena.client("athena").get_query_results(QueryExecutionId=query)["ResultSet"]["Rows"]
        assert rows[1]["Data"] == [{"VarCharValue": str(n)}, {"VarCharValue": "2" if n in {1, 2, 3} else "3"}]


# --- tables ----------------------------------------------------------------------------------------


def test_a_delta_table_is_what_its_log_says(athena: Athena) -> None:
    table = athena.put_delta("orders", pa.table({"k": pa.array(range(10), pa.int64()), "v": ["a"] * 10}))
    athena.run(
        f"CREATE EXTERNAL TABLE orders LOCATION 's3://{BUCKET}/orders' TBLPROPERTIES ('table_type'='DELTA')"
    )
    seen = "SELECT count(*), count_if(v = 'b'), max(k) FROM orders"
    assert athena.rows(seen) == [["10", "0", "9"]]
    table.update(updates={"v": "'b'"}, predicate="k < 3")
    assert athena.rows(seen) == [["10", "3", "9"]]
    table.delete("k >= 8")
    assert athena.rows(seen) == [["8", "3", "7"]]
    table.optimize.compact()
    assert athena.rows(seen) == [["8", "3", "7"]]
    scanned = athena.run("SELECT max(k) FROM orders")["Statistics"]["DataScannedInBytes"]
    (size,) = DeltaTable(table.table_uri, storage_options=athena.storage).get_add_actions()["size_bytes"]
    assert scanned == size.as_py(), "files that the log names no more are not read"
    table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    assert athena.rows(seen) == [["8", "3", "7"]]
    athena.put_delta(
        "orders",
        pa.table({"k": pa.array([100], pa.int64()), "v": ["c"], "new": [1.5]}),
        mode="append",
        schema_mode="merge",
    )
    assert athena.rows("SELECT k, new FROM orders WHERE k IN (1, 100) ORDER BY k") == [
        ["1", None],
        ["100", "1.5"],
    ]


def test_csv_is_read_by_the_rules_of_its_serde(athena: Athena) -> None:
    s3 = athena.client("s3")
    s3.put_object(Bucket=BUCKET, Key="csv/a.csv", Body=b'id,txt\n1,"a,b"\n2,\n')
    s3.put_object(Bucket=BUCKET, Key="csv/b.csv", Body=b'id,txt\n3,"say \\"x\\""\n')
    s3.put_object(Bucket=BUCKET, Key="csv/c.csv", Body=b'id,txt\n4,"not closed\n5,"a ""b"""\n"6",x\n')
    s3.put_object(Bucket=BUCKET, Key="csv/_hidden", Body=b"id,txt\n9,x\n")
    athena.run(
        f"CREATE EXTERNAL TABLE csv (id string, txt string) ROW FORMAT SERDE '{OPENCSV}' "
        f"LOCATION 's3://{BUCKET}/csv/' TBLPROPERTIES ('skip.header.line.count'='1')"
    )
    assert athena.rows("SELECT * FROM csv ORDER BY id") == [
        ["1", "a,b"],
        ["2", ""],
        ["3", 'say "x"'],
        ["4", None],  # and no row behind it is lost
        ["5", 'a "b"'],
        ["6", "x"],
    ]
    s3.put_object(Bucket=BUCKET, Key="tsv/a.tsv", Body=b'1.9\tx\tTRUE\n\\N\t"q"\t1\nno\t\\N\t\n')
    athena.run(
        "CREATE EXTERNAL TABLE tsv (n int, txt string, b boolean) ROW FORMAT DELIMITED FIELDS TERMINATED BY "
        f"'\\t' LOCATION 's3://{BUCKET}/tsv/'"
    )
    assert athena.rows("SELECT * FROM tsv ORDER BY txt") == [
        [None, '"q"', None],
        ["1", "x", "true"],
        [None, None, None],
    ]
    s3.put_object(Bucket=BUCKET, Key="escaped/a", Body=b"1|a\\|b|x\n2|-|c\\\\d\n")
    athena.run(
        "CREATE EXTERNAL TABLE escaped (n int, a string, b string) ROW FORMAT DELIMITED "
        f"FIELDS TERMINATED BY '|' ESCAPED BY '\\\\' NULL DEFINED AS '-' LOCATION 's3://{BUCKET}/escaped/'"
    )
    assert athena.rows("SELECT * FROM escaped ORDER BY n") == [["1", "a|b", "x"], ["2", None, "c\\d"]]
    delimited = "ROW FORMAT DELIMITED COLLECTION ITEMS TERMINATED BY '|'"
    athena.run(f"CREATE EXTERNAL TABLE nested (a array<int>) {delimited} LOCATION 's3://{BUCKET}/escaped/'")
    assert "NOT_SUPPORTED" in athena.failure("SELECT * FROM nested"), "and not nulls"
    athena.run(
        f"CREATE EXTERNAL TABLE projected (a int) PARTITIONED BY (p int) LOCATION 's3://{BUCKET}/escaped/' "
        "TBLPROPERTIES ('projection.enabled'='true')"
    )
    assert "by projection" in athena.failure("SELECT * FROM projected"), "and not no rows"


def test_json_is_read_with_nested_types(athena: Athena) -> None:
    lines = b'{"id": 1, "tags": ["a", "b"], "at": {"city": "Graz"}}\n{"id": 2}\n'
    athena.client("s3").put_object(Bucket=BUCKET, Key="json/a.json", Body=lines)
    athena.run(
        "CREATE EXTERNAL TABLE js (id bigint, tags array<string>, at struct<city:string>) ROW FORMAT SERDE "
        f"'org.openx.data.jsonserde.JsonSerDe' LOCATION 's3://{BUCKET}/json/'"
    )
    assert athena.rows("SELECT id, tags, at.city FROM js ORDER BY id") == [
        ["1", "[a, b]", "Graz"],
        ["2", None, None],
    ]


def test_a_table_as_select_takes_inserts_and_partitions(athena: Athena) -> None:
    athena.run(
        f"CREATE TABLE copy WITH (format = 'PARQUET', external_location = 's3://{BUCKET}/copy/', "
        "partitioned_by = ARRAY['kind']) AS SELECT id, name, price, kind FROM items"
    )
    athena.run("INSERT INTO copy VALUES (4, 'salt', 0.5, 'a b/c')")
    athena.run("INSERT INTO copy (kind, id) SELECT 'fruit', 5")
    assert "TYPE_MISMATCH" in athena.failure("INSERT INTO copy VALUES ('4', 'salt', 0.5, 'other')")
    assert sorted(athena.rows("SHOW PARTITIONS copy")) == [["kind=a b/c"], ["kind=fruit"], ["kind=other"]]
    assert athena.rows("SELECT id, price, kind FROM copy ORDER BY id") == [
        ["1", "1.25", "fruit"],
        ["2", "2.50", "fruit"],
        ["3", None, "other"],
        ["4", "0.50", "a b/c"],
        ["5", None, "fruit"],
    ]
    assert athena.rows('SELECT * FROM "copy$partitions" ORDER BY 1') == [["a b/c"], ["fruit"], ["other"]]
    athena.run(
        "CREATE TABLE numbered WITH (partitioned_by = ARRAY['n']) AS "
        "SELECT 'a' AS a, n FROM (VALUES 9, 10) AS t(n)"
    )
    assert athena.rows('SELECT max(n) FROM "numbered$partitions"') == [["10"]], "a number, as the key is one"
    athena.run("ALTER TABLE copy DROP PARTITION (kind = 'other')")
    assert athena.rows("SELECT count(*) FROM copy") == [["4"]]
    athena.run("MSCK REPAIR TABLE copy")
    assert athena.rows("SELECT count(*) FROM copy") == [["5"]]
    assert "already exists" in athena.failure("CREATE TABLE copy AS SELECT 1 AS a")
    athena.run("ALTER TABLE copy ADD COLUMNS (note string COMMENT 'new')")
    assert athena.rows("SELECT id, note FROM copy WHERE id = 4") == [["4", None]]
    athena.run("CREATE TABLE hollow AS SELECT * FROM copy WITH NO DATA")
    assert athena.rows("SELECT count(*) FROM hollow") == [["0"]]
    athena.run("DROP TABLE copy")
    assert "TABLE_NOT_FOUND" in athena.failure("SELECT * FROM copy")


def test_unload_writes_files_and_a_manifest_that_names_them(athena: Athena) -> None:
    execution = athena.run(
        f"UNLOAD (SELECT id, name FROM items) TO 's3://{BUCKET}/unloaded/' "
        "WITH (format = 'TEXTFILE', compression = 'NONE')"
    )
    manifest = athena.object(execution["Statistics"]["DataManifestLocation"]).decode().split()
    found = sorted(row for uri in manifest for row in csv.reader(io.StringIO(athena.object(uri).decode())))
    assert found == [["1", "apple"], ["2", "pear"], ["3", "\\N"]]
    assert "already exists" in athena.failure(
        f"UNLOAD (SELECT 1 AS a) TO 's3://{BUCKET}/unloaded/' WITH (format = 'PARQUET')"
    )


def test_the_hidden_column_says_which_file_a_row_is_in(athena: Athena) -> None:
    hidden = (
        """SELECT *, "$path" LIKE 's3://%/items/kind=' || kind || '/%.parquet', 1 FROM items WHERE id < 3"""
    )
    execution = athena.run(hidden)
    result = athena.client("athena").get_query_results(QueryExecutionId=execution["QueryExecutionId"])
    names = [cell["VarCharValue"] for cell in result["ResultSet"]["Rows"][0]["Data"]]
    assert names == ["id", "name", "price", "kind", "_col4", "_col5"], "a star does not bring it"
    assert [row[4] for row in athena.rows(hidden)] == ["true", "true"]
    athena.run("CREATE TABLE paths AS SELECT id, kind FROM items")
    seen = 'SELECT p.*, count(DISTINCT "$path") OVER () FROM paths p WHERE "$path" LIKE \'s3://%\' AND id = 1'
    assert athena.rows(seen) == [["1", "fruit", "1"]]
    for name, form in (("lines", "JsonSerDe"), ("texts", "OpenCSVSerde")):
        athena.client("s3").put_object(Bucket=BUCKET, Key=f"{name}/a", Body=b'{"x": "1"}\n')
        serde = "org.openx.data.jsonserde.JsonSerDe" if form == "JsonSerDe" else OPENCSV
        athena.run(
            f"CREATE EXTERNAL TABLE {name} (x string) ROW FORMAT SERDE '{serde}' LOCATION 's3://{BUCKET}/{name}/'"
        )
        assert athena.rows(f'SELECT "$path" FROM {name}') == [[f"s3://{BUCKET}/{name}/a"]]


def test_views_are_kept_in_athenas_own_form_and_see_changes(athena: Athena) -> None:
    athena.run("CREATE OR REPLACE VIEW cheap AS SELECT name, price FROM items WHERE price < 2")
    assert athena.rows("SELECT * FROM cheap") == [["apple", "1.25"]]
    assert athena.rows("SELECT c.name FROM shop.cheap AS c JOIN items AS i ON i.name = c.name") == [["apple"]]
    raw = athena.client("glue").get_table(DatabaseName="shop", Name="cheap")["Table"]
    assert raw["TableType"] == "VIRTUAL_VIEW"
    assert raw["ViewOriginalText"].startswith("/* Presto View: ")
    assert ["cheap"] in athena.rows("SHOW VIEWS")
    athena.run("CREATE OR REPLACE VIEW cheap AS SELECT name FROM items")
    assert len(athena.rows("SELECT * FROM cheap")) == 3
    athena.run("DROP VIEW cheap")


def test_the_catalogue_can_be_asked_by_sql(athena: Athena) -> None:
    assert ["shop"] in athena.rows("SHOW DATABASES")
    assert athena.rows("SHOW TABLES IN shop 'item*'") == [["items"]]
    assert [row[0].split() for row in athena.rows("DESCRIBE items")][:2] == [
        ["id", "bigint"],
        ["name", "string"],
    ]
    assert athena.rows("SELECT table_name FROM information_schema.tables WHERE table_name = 'items'") == [
        ["items"]
    ]
    assert ["price", "decimal(10, 2)"] in athena.rows(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = 'items'"
    )
    athena.run("ALTER TABLE items SET TBLPROPERTIES ('owner' = 'sales')")
    assert ["owner\tsales"] in athena.rows("SHOW TBLPROPERTIES items")
    statement = "\n".join(row[0] for row in athena.rows("SHOW CREATE TABLE items"))
    assert "`price` decimal(10,2)" in statement
    athena.run("CREATE DATABASE IF NOT EXISTS shop")
    assert "not empty" in athena.failure("DROP DATABASE shop")


def test_executions_and_their_results_outlive_the_stack(athena: Athena) -> None:
    token = "k" * 40
    known = athena.run("SELECT name FROM items ORDER BY id", ClientRequestToken=token)["QueryExecutionId"]
    going = athena.start(HEAVY)
    athena.stack.down()
    athena.stack.up()
    client = athena.client("athena")
    found = client.get_query_execution(QueryExecutionId=known)["QueryExecution"]
    assert (found["Status"]["State"], found["StatementType"]) == ("SUCCEEDED", "DML")
    rows = client.get_query_results(QueryExecutionId=known)["ResultSet"]["Rows"]
    assert [row["Data"] for row in rows][1:3] == [[{"VarCharValue": "apple"}], [{"VarCharValue": "pear"}]]
    assert client.list_query_executions()["QueryExecutionIds"][:2] == [going, known]
    assert athena.start("SELECT name FROM items ORDER BY id", ClientRequestToken=token) == known
    ended = client.get_query_execution(QueryExecutionId=going)["QueryExecution"]["Status"]
    assert (ended["State"], ended["AthenaError"]["Retryable"]) == ("FAILED", True)
    assert "the local stack was stopped" in ended["StateChangeReason"]
    assert list((Path(athena.stack.home) / "state" / "athena" / "results").iterdir())
