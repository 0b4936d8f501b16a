import socket

import boto3
import pytest

from datagen import GenerateError, generate, generator, read_manifests
from emulator.native import NativeStack

pytestmark = pytest.mark.emulator


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """What a client of a running emulator has in its environment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stack = NativeStack(tmp_path_factory.mktemp("stack") / ".finlake", port)
    stack.up()
    yield stack.environment()
    stack.down()


@pytest.fixture
def s3(environment, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return boto3.client("s3", region_name=environment["AWS_REGION"])


@pytest.fixture
def lake(s3, environment, request):
    """Address of an empty bucket's folder."""
    bucket = f"lake-{len(request.node.name)}"
    s3.create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": environment["AWS_REGION"]}
    )
    return f"s3://{bucket}/bronze"


def test_a_bucket_gets_the_same_bytes_as_a_folder(s3, lake, tmp_path, monkeypatch):
    """From processes of their own (batch 0), and from this one."""
    bucket = lake.split("/")[2]
    for batch in (0, 1):
        monkeypatch.setattr(generator, "LEAST_ROWS_FOR_PROCESSES", batch * 10**9)
        remote = generate(lake, scale=30, batch=batch, workers=2)
        local = generate(tmp_path, scale=30, batch=batch)
        assert remote == local
    listed = {item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]}
    files = {path.relative_to(tmp_path).as_posix(): path for path in tmp_path.rglob("*") if path.is_file()}
    assert listed == {f"bronze/{name}" for name in files}
    for name, path in files.items():
        assert s3.get_object(Bucket=bucket, Key=f"bronze/{name}")["Body"].read() == path.read_bytes()
    assert read_manifests(lake) == read_manifests(tmp_path)


def test_a_batch_in_a_bucket_is_replaced_by_force_only(lake):
    generate(lake, scale=10)
    with pytest.raises(GenerateError, match="--force"):
        generate(lake, scale=10)
    generate(lake, scale=12, force=True)
    assert [manifest.scale for manifest in read_manifests(lake)] == [12]


def test_a_missing_bucket_is_named_with_what_to_do(s3):
    with pytest.raises(GenerateError, match=r"s3://nowhere/bronze: the bucket does not exist; create it"):
        generate("s3://nowhere/bronze", scale=10)


def test_missing_credentials_are_named_with_what_to_do(monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "BOTO_CONFIG", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(GenerateError, match="no AWS credentials: set AWS_PROFILE"):
        generate("s3://lake/bronze", scale=10)


def test_an_endpoint_where_nothing_listens_is_named(monkeypatch, lake):
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(GenerateError, match="AWS_ENDPOINT_URL"):
        generate(lake, scale=10)
