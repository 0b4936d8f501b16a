"""Glue's crawlers: the tables that they write, and targets that are empty, mixed or broken."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any
from uuid import uuid4

import deltalake
import polars as pl
import pytest
from glue_stack import BUCKET, ROLE, Glue, code, glue_stack, wait

pytestmark = pytest.mark.emulator

CSV = "id,name,amount,active\n1,Anna,1.5,true\n2,Ben,2,false\n"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glue]:
    with glue_stack(tmp_path_factory.mktemp("glue")) as stack:
        yield stack


@pytest.fixture
def database(aws: Glue) -> str:
    name = f"db_{uuid4().hex[:8]}"
    aws.glue.create_database(DatabaseInput={"Name": name})
    return name


@pytest.fixture
def place() -> str:
    """A prefix of the test's own."""
    return f"crawled/{uuid4().hex[:8]}"


def crawler(aws: Glue, database: str, *paths: str, delta: tuple[str, ...] = (), **more: Any) -> str:
    name = f"crawler-{uuid4().hex[:8]}"
    targets: dict[str, Any] = {"S3Targets": [{"Path": f"s3://{BUCKET}/{path}"} for path in paths]}
    if delta:
        targets["DeltaTargets"] = [
            {"DeltaTables": [f"s3://{BUCKET}/{path}" for path in delta], "CreateNativeDeltaTable": True}
        ]
    aws.glue.create_crawler(Name=name, Role=ROLE, DatabaseName=database, Targets=targets, **more)
    return name


def crawl(aws: Glue, name: str) -> dict[str, Any]:
    """Run a crawler to its end; how it then looks."""
    before = len(aws.glue.list_crawls(CrawlerName=name)["Crawls"])
    aws.glue.start_crawler(Name=name)
    wait(
        lambda: aws.glue.list_crawls(CrawlerName=name)["Crawls"],
        lambda crawls: len(crawls) > before and crawls[0]["State"] != "RUNNING",
    )
    return wait(lambda: aws.glue.get_crawler(Name=name)["Crawler"], lambda found: found["State"] == "READY")


def tables(aws: Glue, database: str) -> dict[str, dict[str, Any]]:
    return {table["Name"]: table for table in aws.glue.get_tables(DatabaseName=database)["TableList"]}


def columns(table: dict[str, Any]) -> dict[str, str]:
    return {column["Name"]: column["Type"] for column in table["StorageDescriptor"]["Columns"]}


def storage(aws: Glue) -> dict[str, str]:
    return {
        "aws_endpoint_url": aws.stack.environment()["AWS_ENDPOINT_URL_S3"],
        "aws_access_key_id": "test",
        "aws_secret_access_key": "test",
        "aws_region": "eu-central-1",
        "aws_allow_http": "true",
    }


def test_csv_becomes_a_table_with_types_by_its_header(aws: Glue, database: str, place: str) -> None:
    aws.put(f"{place}/Customers/a.csv", CSV)
    aws.put(f"{place}/Customers/_SUCCESS", "done")
    name = crawler(aws, database, f"{place}/Customers/")
    found = crawl(aws, name)
    assert found["LastCrawl"]["Status"] == "SUCCEEDED", found
    assert found["LastCrawl"]["LogGroup"] == "/aws-glue/crawlers"
    table = tables(aws, database)["customers"]
    assert columns(table) == {"id": "bigint", "name": "string", "amount": "double", "active": "boolean"}
    assert table["PartitionKeys"] == []
    parameters = table["Parameters"]
    assert {key: parameters[key] for key in sorted(parameters) if key not in ("averageRecordSize",)} == {
        "CrawlerSchemaDeserializerVersion": "1.0",
        "CrawlerSchemaSerializerVersion": "1.0",
        "UPDATED_BY_CRAWLER": name,
        "areColumnsQuoted": "false",
        "classification": "csv",
        "columnsOrdered": "true",
        "compressionType": "none",
        "delimiter": ",",
        "objectCount": "1",
        "recordCount": "3",
        "sizeKey": str(len(CSV)),
        "skip.header.line.count": "1",
        "typeOfData": "file",
    }
    serde = table["StorageDescriptor"]["SerdeInfo"]
    assert serde["SerializationLibrary"].endswith("LazySimpleSerDe")
    assert serde["Parameters"] == {"field.delim": ","}
    assert table["StorageDescriptor"]["Location"] == f"s3://{BUCKET}/{place}/Customers/"


def test_folders_of_hive_become_partitions_and_later_ones_are_added(
    aws: Glue, database: str, place: str
) -> None:
    for day in ("2026-01-01", "2026-01-02"):
        aws.put(f"{place}/loans/ingest_date={day}/a.csv.gz", gzip.compress(CSV.encode()))
    name = crawler(aws, database, f"{place}/loans/")
    crawl(aws, name)
    table = tables(aws, database)["loans"]
    assert table["PartitionKeys"] == [{"Name": "ingest_date", "Type": "string"}]
    assert table["Parameters"]["compressionType"] == "gzip"
    aws.put(f"{place}/loans/ingest_date=2026-01-03/a.csv.gz", gzip.compress(CSV.encode()))
    crawl(aws, name)
    where = {"DatabaseName": database, "TableName": "loans"}
    partitions = aws.glue.get_partitions(**where, Expression="ingest_date > '2026-01-01'")["Partitions"]
    assert [one["Values"] for one in partitions] == [["2026-01-02"], ["2026-01-03"]]
    assert partitions[1]["StorageDescriptor"]["Location"].endswith("/loans/ingest_date=2026-01-03/")
    (metrics,) = aws.glue.get_crawler_metrics(CrawlerNameList=[name])["CrawlerMetricsList"]
    assert metrics["TablesCreated"] == 1
    assert metrics["LastRuntimeSeconds"] > 0


def test_json_and_parquet_keep_their_nested_types(aws: Glue, database: str, place: str) -> None:
    lines = [{"id": 1, "tags": ["a"], "at": {"city": "Wien", "zip": 1010}}, {"id": 2, "tags": [], "at": None}]
    aws.put(f"{place}/events/a.json", "\n".join(map(json.dumps, lines)) + "\n")
    frame = pl.DataFrame({"id": [1], "paid": [1.5]}, schema={"id": pl.Int32, "paid": pl.Decimal(12, 2)})
    parquet = BytesIO()
    frame.write_parquet(parquet)
    aws.put(f"{place}/payments/year=2026/month=1/part-0.parquet", parquet.getvalue())
    crawl(aws, crawler(aws, database, f"{place}/events", f"{place}/payments/"))
    found = tables(aws, database)
    assert columns(found["events"]) == {
        "id": "bigint", "tags": "array<string>", "at": "struct<city:string,zip:bigint>",
    }  # fmt: skip
    assert found["events"]["StorageDescriptor"]["SerdeInfo"]["Parameters"] == {"paths": "id,tags,at"}
    assert columns(found["payments"]) == {"id": "int", "paid": "decimal(12,2)"}
    assert [key["Name"] for key in found["payments"]["PartitionKeys"]] == ["year", "month"]
    assert found["payments"]["Parameters"]["classification"] == "parquet"


def test_folders_that_do_not_fit_together_are_tables_of_their_own(
    aws: Glue, database: str, place: str
) -> None:
    aws.put(f"{place}/raw/people/a.csv", CSV)
    aws.put(f"{place}/raw/places/a.csv", "zip,city,country,area\n1010,Wien,AT,3\n")
    crawl(aws, crawler(aws, database, f"{place}/raw/", TablePrefix="b_"))
    assert sorted(tables(aws, database)) == ["b_people", "b_places"]


def test_mixed_files_in_one_folder_are_a_table_each(aws: Glue, database: str, place: str) -> None:
    aws.put(f"{place}/mixed/a.csv", CSV)
    aws.put(f"{place}/mixed/b.json", '{"x": 1}\n')
    aws.put(f"{place}/mixed/c.bin", b"\x00\x01\x02")
    found = crawl(aws, crawler(aws, database, f"{place}/mixed/"))
    assert found["LastCrawl"]["Status"] == "SUCCEEDED"
    assert {name: table["Parameters"]["classification"] for name, table in tables(aws, database).items()} == {
        "a_csv": "csv", "b_json": "json",
    }  # fmt: skip


def test_a_classifier_decides_about_header_delimiter_and_serde(aws: Glue, database: str, place: str) -> None:
    classifier = f"csv-{uuid4().hex[:8]}"
    rules = {"Name": classifier, "Delimiter": ";", "QuoteSymbol": "'", "ContainsHeader": "PRESENT"}
    aws.glue.create_classifier(CsvClassifier=rules | {"Serde": "OpenCSVSerDe"})
    aws.put(f"{place}/names/a.csv", "first;last\n'Anna;Maria';Berg\n")
    crawl(aws, crawler(aws, database, f"{place}/names/", Classifiers=[classifier]))
    table = tables(aws, database)["names"]
    assert columns(table) == {"first": "string", "last": "string"}
    serde = table["StorageDescriptor"]["SerdeInfo"]
    assert serde["SerializationLibrary"] == "org.apache.hadoop.hive.serde2.OpenCSVSerde"
    assert serde["Parameters"] == {"separatorChar": ";", "quoteChar": "'"}


def test_without_a_header_columns_get_numbers(aws: Glue, database: str, place: str) -> None:
    aws.put(f"{place}/bare/a.csv", "Anna,Berg\nBen,Tal\n")
    crawl(aws, crawler(aws, database, f"{place}/bare/"))
    table = tables(aws, database)["bare"]
    assert columns(table) == {"col0": "string", "col1": "string"}
    assert "skip.header.line.count" not in table["Parameters"]


def test_a_delta_table_is_registered_by_its_log(aws: Glue, database: str, place: str) -> None:
    uri = f"s3://{BUCKET}/{place}/accounts"
    frame = pl.DataFrame({"id": [1, 2], "country": ["AT", "DE"]})
    deltalake.write_deltalake(uri, frame, partition_by=["country"], storage_options=storage(aws))
    name = crawler(aws, database, delta=(f"{place}/accounts/",))
    crawl(aws, name)
    table = tables(aws, database)["accounts"]
    assert columns(table) == {"id": "bigint", "country": "string"}
    assert table["Parameters"]["spark.sql.sources.provider"] == "delta"
    assert table["Parameters"]["table_type"] == "DELTA"
    assert table["Parameters"]["classification"] == "delta"
    assert table["Parameters"]["delta.lastUpdateVersion"] == "0"
    assert table["StorageDescriptor"]["SerdeInfo"]["Parameters"]["path"] == f"{uri}/"
    wider = frame.with_columns(score=pl.lit(1.5))
    deltalake.write_deltalake(uri, wider, mode="append", schema_mode="merge", storage_options=storage(aws))
    crawl(aws, name)
    assert columns(tables(aws, database)["accounts"]) == {
        "id": "bigint",
        "country": "string",
        "score": "double",
    }
    versions = aws.glue.get_table_versions(DatabaseName=database, TableName="accounts")["TableVersions"]
    assert [len(one["Table"]["StorageDescriptor"]["Columns"]) for one in versions] == [3, 2]


def test_a_broken_delta_log_fails_the_crawl_and_the_others_are_registered(
    aws: Glue, database: str, place: str
) -> None:
    deltalake.write_deltalake(
        f"s3://{BUCKET}/{place}/good", pl.DataFrame({"id": [1]}), storage_options=storage(aws)
    )
    aws.put(f"{place}/broken/_delta_log/00000000000000000000.json", "{this is no log")
    aws.put(f"{place}/none/a.csv", CSV)
    name = crawler(aws, database, delta=(f"{place}/broken/", f"{place}/none/", f"{place}/good/"))
    last = crawl(aws, name)["LastCrawl"]
    assert last["Status"] == "FAILED"
    assert f"{place}/broken/" in last["ErrorMessage"]
    assert f"{place}/none/ is no Delta table" in last["ErrorMessage"]
    assert list(tables(aws, database)) == ["good"]


def test_an_empty_prefix_makes_no_table_and_a_missing_bucket_fails(
    aws: Glue, database: str, place: str
) -> None:
    assert crawl(aws, crawler(aws, database, f"{place}/nothing/"))["LastCrawl"]["Status"] == "SUCCEEDED"
    assert tables(aws, database) == {}
    name = crawler(aws, database, f"{place}/x/")
    targets = {"S3Targets": [{"Path": "s3://no-such-bucket-here/x/"}]}
    aws.glue.update_crawler(Name=name, Targets=targets)
    last = crawl(aws, name)["LastCrawl"]
    assert last["Status"] == "FAILED"
    assert "no-such-bucket-here" in last["ErrorMessage"]


def test_files_that_nobody_can_read_fail_the_crawl(aws: Glue, database: str, place: str) -> None:
    aws.put(f"{place}/bad/a.parquet", b"PAR1 but not really")
    last = crawl(aws, crawler(aws, database, f"{place}/bad/"))["LastCrawl"]
    assert last["Status"] == "FAILED"
    assert "can be read" in last["ErrorMessage"]


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        ("LOG", ["id", "name", "amount", "active"]),
        ("UPDATE_IN_DATABASE", ["id", "name", "amount", "active", "new"]),
    ],
)
def test_a_changed_schema_is_written_only_if_the_policy_says_so(
    aws: Glue, database: str, place: str, policy: str, wanted: list[str]
) -> None:
    aws.put(f"{place}/t/a.csv", CSV)
    rules = {"UpdateBehavior": policy, "DeleteBehavior": "LOG"}
    name = crawler(aws, database, f"{place}/t/", SchemaChangePolicy=rules)
    crawl(aws, name)
    table = tables(aws, database)["t"]
    table["StorageDescriptor"]["Columns"][1] |= {"Comment": "first name", "Parameters": {"pii": "name"}}
    given = {
        key: table[key] for key in ("Name", "TableType", "Parameters", "PartitionKeys", "StorageDescriptor")
    }
    aws.glue.update_table(DatabaseName=database, TableInput=given)
    aws.put(f"{place}/t/a.csv", "id,name,amount,active,new\n1,Anna,1.5,true,7\n")
    crawl(aws, name)
    after = tables(aws, database)["t"]
    assert list(columns(after)) == wanted
    assert after["StorageDescriptor"]["Columns"][1]["Parameters"] == {"pii": "name"}


@pytest.mark.parametrize("policy", ["LOG", "DELETE_FROM_DATABASE", "DEPRECATE_IN_DATABASE"])
def test_what_is_gone_is_treated_as_the_policy_says(
    aws: Glue, database: str, place: str, policy: str
) -> None:
    aws.put(f"{place}/t/a.csv", CSV)
    rules = {"UpdateBehavior": "UPDATE_IN_DATABASE", "DeleteBehavior": policy}
    name = crawler(aws, database, f"{place}/t/", SchemaChangePolicy=rules)
    crawl(aws, name)
    aws.client("s3").delete_object(Bucket=BUCKET, Key=f"{place}/t/a.csv")
    crawl(aws, name)
    left = tables(aws, database)
    assert set(left) == (set() if policy == "DELETE_FROM_DATABASE" else {"t"})
    if left:
        is_marked = "DEPRECATED_BY_CRAWLER" in left["t"]["Parameters"]
        assert is_marked == (policy == "DEPRECATE_IN_DATABASE")


def test_a_crawler_runs_once_at_a_time_and_can_be_stopped(aws: Glue, database: str, place: str) -> None:
    for number in range(200):  # enough for the calls that follow to come while it runs
        aws.put(f"{place}/many/k={number}/a.csv", CSV)
    name = crawler(aws, database, f"{place}/many/")
    assert code(aws.glue.stop_crawler, Name=name) == "CrawlerNotRunningException"
    aws.glue.start_crawler(Name=name)
    assert code(aws.glue.start_crawler, Name=name) == "CrawlerRunningException"
    assert code(aws.glue.delete_crawler, Name=name) == "CrawlerRunningException"
    aws.glue.stop_crawler(Name=name)
    found = wait(lambda: aws.glue.get_crawler(Name=name)["Crawler"], lambda one: one["State"] == "READY")
    assert found["LastCrawl"]["Status"] == "CANCELLED"


def test_what_cannot_be_crawled_here_is_refused(aws: Glue, database: str) -> None:
    assert code(aws.glue.start_crawler, Name="none") == "EntityNotFoundException"
    name = f"crawler-{uuid4().hex[:8]}"
    targets = {"JdbcTargets": [{"ConnectionName": "c", "Path": "db/%"}]}
    aws.glue.create_crawler(Name=name, Role=ROLE, DatabaseName=database, Targets=targets)
    assert code(aws.glue.start_crawler, Name=name) == "InvalidInputException"


def test_a_crawler_shows_what_aws_shows_for_what_was_not_written(aws: Glue, database: str) -> None:
    found = aws.glue.get_crawler(Name=crawler(aws, database, "x/"))["Crawler"]
    assert found["SchemaChangePolicy"] == {
        "UpdateBehavior": "UPDATE_IN_DATABASE", "DeleteBehavior": "DEPRECATE_IN_DATABASE",
    }  # fmt: skip
    assert found["RecrawlPolicy"] == {"RecrawlBehavior": "CRAWL_EVERYTHING"}
    assert found["LineageConfiguration"] == {"CrawlerLineageSettings": "DISABLE"}
    assert found["State"] == "READY"
    assert "LastCrawl" not in found
