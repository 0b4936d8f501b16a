"""Objects by URI on the local disk, and which of them are new Bronze files."""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from contracts import load_contract
from datagen import generate
from datagen.profile import load, override
from pipeline import storage
from pipeline.errors import FinlakeError, UsageError
from pipeline.files import inspect_file, inspect_files, new_files
from pipeline.ingest import _files, ingest
from pipeline.storage import (
    ObjectInfo,
    delete,
    delta_options,
    etag_of,
    list_objects,
    parts,
    read_bytes,
    read_head,
    upload_file,
    write_bytes,
)

CUSTOMERS = load_contract("customers")
HEADER = ",".join(column.name for column in CUSTOMERS.source_columns)
ODD_NAMES = [
    "with blank.csv",
    "brackets[1]{2}.csv",
    "ümlaut é.csv",
    "per%20cent.csv",
    "100%.csv",
    "hash#question?.csv",
    "star*.csv",
    "plus+and&equals=.csv",
    "quote'\".csv",
    "東京.csv",
    "no\u00a0break.csv",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_is_listed_written_and_read_as_it_is(tmp_path, name):
    uri = f"file://{tmp_path}/{name}"
    assert write_bytes(uri, b"12345")
    assert (tmp_path / name).read_bytes() == b"12345"
    (listed,) = list_objects(f"file://{tmp_path}")
    assert (listed.uri, listed.size) == (uri, 5)
    assert listed.etag == etag_of(uri)
    assert read_bytes(uri) == b"12345"
    assert read_head(uri, 3) == b"123"
    delete(uri)
    assert not (tmp_path / name).exists()


def test_a_listing_goes_through_all_folders_in_order(tmp_path):
    for name in ("b/2.csv", "a/x/1.csv", "a/0.csv"):
        write_bytes(f"file://{tmp_path}/{name}", b"")
    found = [info.uri.removeprefix(f"file://{tmp_path}/") for info in list_objects(f"file://{tmp_path}")]
    assert found == ["a/0.csv", "a/x/1.csv", "b/2.csv"]


def test_a_folder_that_is_not_there_has_no_objects(tmp_path):
    assert list_objects(f"file://{tmp_path}/none") == []


def test_create_only_leaves_an_object_as_it_is(tmp_path):
    uri = f"file://{tmp_path}/lock.json"
    assert write_bytes(uri, b"first", create_only=True)
    assert not write_bytes(uri, b"second", create_only=True)
    assert read_bytes(uri) == b"first"
    assert write_bytes(uri, b"third")
    assert read_bytes(uri) == b"third"


def test_what_is_not_there_is_none_or_not_found(tmp_path):
    uri = f"file://{tmp_path}/none"
    assert read_bytes(uri) is None
    assert etag_of(uri) is None
    delete(uri)
    with pytest.raises(FileNotFoundError, match="none"):
        read_head(uri, 10)


def test_the_head_of_an_empty_object_is_empty(tmp_path):
    (tmp_path / "empty").touch()
    assert read_head(f"file://{tmp_path}/empty", 10) == b""


def test_an_uploaded_file_is_the_same_to_the_byte(tmp_path):
    source = tmp_path / "source.bin"
    source.write_bytes(hashlib.sha256(b"x").digest() * 300_000)
    upload_file(source, f"file://{tmp_path}/copy/of it.bin")
    assert (tmp_path / "copy" / "of it.bin").read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://bucket/a/b.csv", ("s3://bucket", "a/b.csv")),
        ("s3://bucket", ("s3://bucket", "")),
        ("s3://bucket/a%20b", ("s3://bucket", "a%20b")),
        ("file:///tmp/a b.csv", ("file://", "/tmp/a b.csv")),
    ],
)
def test_a_uri_has_a_root_and_a_key(uri, expected):
    assert parts(uri) == expected


def test_delta_is_told_of_the_endpoint_and_of_plain_http(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert delta_options("s3://lake/table")["aws_endpoint_url"] == "http://127.0.0.1:4566"
    assert delta_options("s3://lake/table")["aws_allow_http"] == "true"
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "https://s3.example.com")
    assert delta_options("s3://lake/table")["aws_endpoint_url"] == "https://s3.example.com"
    assert delta_options("s3://lake/table")["aws_allow_http"] == "false"


def test_on_aws_delta_is_told_of_no_endpoint(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    assert "aws_endpoint_url" not in delta_options("s3://lake/table")


def test_new_files_are_csv_files_whose_content_is_not_known(lake):
    folder = lake.bronze_entity_uri("customers")
    for name in ("a.csv", "b.CSV", "c.csv.gz", "d/e.csv", "notes.txt", "f.csv.crc"):
        write_bytes(f"{folder}/{name}", b"x")
    known = {(f"{folder}/a.csv", etag_of(f"{folder}/a.csv"))}
    known.add((f"{folder}/b.CSV", "etag of an older content"))
    found = [info.uri.removeprefix(f"{folder}/") for info in new_files("customers", lake, known)]
    assert found == ["b.CSV", "c.csv.gz", "d/e.csv"]


def test_labels_and_notes_of_the_generator_are_no_data(lake, tmp_path):
    """Neither where it writes into Bronze, nor where its folder is ingested."""

    def stop(step):
        if step.entity == "transactions" and step.done == step.total:
            raise KeyboardInterrupt

    out, bank = Path(lake.bronze_uri.removeprefix("file://")), override(load(), {"fraud": "0.02"})
    with pytest.MonkeyPatch.context() as patch:
        for module in ("schedule", "generator", "dirt"):
            patch.setattr(f"datagen.{module}.BLOCK_ROWS", 2_000)
        with pytest.raises(KeyboardInterrupt):
            generate(out, scale=150, profile=bank, file_rows=4_000, on_progress=stop)
    aside = {path.relative_to(out).parts[0] for path in out.rglob("*") if path.is_file()}
    assert {"_labels", "_unfinished", "transactions"} <= aside
    listed = [info.uri for info in new_files("transactions", lake, set())]
    data = {f"file://{path}" for path in (out / "transactions").rglob("*.csv")}
    assert set(listed) == data
    assert set(_files([out])) == {path for path in out.rglob("*.csv") if "_labels" not in path.parts}


def test_files_are_inspected_in_the_order_given(lake):
    folder = lake.bronze_entity_uri("customers")
    for number in range(20):
        write_bytes(f"{folder}/{number:02}.csv", HEADER.encode() if number % 2 else b"")
    found = inspect_files(list_objects(folder), CUSTOMERS)
    assert [file.path for file in found] == [f"{folder}/{number:02}.csv" for number in range(20)]
    assert [file.status for file in found] == ["empty", "pending"] * 10


def test_a_file_that_is_gone_when_it_is_looked_at_is_vanished(tmp_path):
    found = inspect_file(ObjectInfo(f"file://{tmp_path}/gone.csv", 5, "etag"), CUSTOMERS)
    assert (found.status, found.notes, found.layout) == ("vanished", ("the file is gone",), None)


@pytest.mark.parametrize("name", ["_a.csv", ".a.csv", "a.csv.GZ"])
def test_a_file_that_spark_would_silently_skip_is_rejected_with_a_reason(tmp_path, name):
    (tmp_path / name).write_text(f"{HEADER}\n")
    (info,) = list_objects(f"file://{tmp_path}")
    found = inspect_file(info, CUSTOMERS)
    assert found.status == "rejected"
    assert "rename it" in found.notes[0]


def test_ingest_puts_files_into_the_folder_of_the_day_under_a_name_that_spark_reads(tmp_path, lake):
    source = tmp_path / "_Export.CSV"
    source.write_text(f"{HEADER}\n")
    (done,) = ingest([source], CUSTOMERS, lake)
    assert done.is_new
    assert "/customers/ingest_date=" in done.uri
    (info,) = new_files("customers", lake, set())
    assert info.uri == done.uri
    assert inspect_file(info, CUSTOMERS).status == "pending"


def test_the_same_content_is_ingested_once_and_another_content_is_kept_beside_it(tmp_path, lake):
    folder = tmp_path / "exports"
    folder.mkdir()
    source = folder / "export.csv"
    source.write_text(f"{HEADER}\n")
    assert ingest([source], CUSTOMERS, lake)[0].is_new
    assert not ingest([folder], CUSTOMERS, lake)[0].is_new
    source.write_text(f"{HEADER}\n{'x,' * 17}\n")
    assert ingest([source], CUSTOMERS, lake)[0].is_new
    assert len(new_files("customers", lake, set())) == 2


@pytest.mark.parametrize("name", ["none.csv", "table.xlsx", "folder"])
def test_ingest_of_what_is_no_csv_file_is_a_usage_error(tmp_path, lake, name):
    (tmp_path / "table.xlsx").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError):
        ingest([tmp_path / name], CUSTOMERS, lake)


class Asked(BaseHTTPRequestHandler):
    """An S3 that has nothing, and notes by whose key and for which region each request is signed."""

    signed: ClassVar[set[tuple[str, str]]] = set()

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        found = re.search(r"Credential=([^/]+)/\d+/([^/]+)/s3/", self.headers.get("Authorization", ""))
        self.signed.add((found[1], found[2]) if found else ("nobody", ""))
        nothing = b"<ListBucketResult/>" if "list-type" in self.path else b""
        self.send_response(200 if nothing else 404)
        self.send_header("Content-Length", str(len(nothing)))
        self.end_headers()
        self.wfile.write(nothing)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def without_keys(monkeypatch, tmp_path):
    """An S3 of nobody's, and no keys in the environment: as with profiles, or in a job of Glue."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "PROFILE", "REGION", "DEFAULT_REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Asked)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(Asked, "signed", set())
    caches = (storage._store, storage._s3_client, storage._found)
    for cache in caches:
        cache.cache_clear()
    yield tmp_path
    for cache in caches:
        cache.cache_clear()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("told", ["by the profile", "by AWS_REGION"])
def test_keys_and_region_are_found_wherever_boto3_finds_them(without_keys, monkeypatch, told):
    region = "region = eu-north-1\n" if told == "by the profile" else ""
    (without_keys / "AWS_CONFIG_FILE").write_text(f"[profile bank]\n{region}")
    (without_keys / "AWS_SHARED_CREDENTIALS_FILE").write_text(
        "[bank]\naws_access_key_id = ofbank\naws_secret_access_key = secret\n"
    )
    monkeypatch.setenv("AWS_PROFILE", "bank")
    assert delta_options("file:///lake/table") == {}, "the disk is nobody's account"
    if told == "by AWS_REGION":
        monkeypatch.setenv("AWS_REGION", "eu-north-1")
    assert read_bytes("s3://lake/file") is None
    assert not storage.has_bucket("s3://lake")
    with pytest.raises(TableNotFoundError):
        DeltaTable("s3://lake/table", storage_options=delta_options("s3://lake/table"))
    assert Asked.signed == {("ofbank", "eu-north-1")}


def test_without_any_credentials_a_run_says_so_at_once(without_keys):
    with pytest.raises(FinlakeError, match="no AWS credentials were found") as caught:
        read_bytes("s3://lake/file")
    assert "AWS_PROFILE" in str(caught.value.hint)
