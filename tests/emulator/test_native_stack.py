"""The stack without Docker: what it keeps, and what it does when the machine is not as expected."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import boto3
import psutil
import pytest
from lakehouse import free_port

from emulator.docker import ENV_HEADER
from emulator.native import NativeStack, find_home
from emulator.process import StackError
from emulator.server import SAVE_SECONDS, Receive, SavingApp, Scope, Send
from emulator.stack import chosen_stack

pytestmark = [pytest.mark.emulator, pytest.mark.slow]

BUCKET = "lake-under-test"
BODY = os.urandom(300_000)
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[NativeStack]:
    stack = NativeStack(tmp_path / ".finlake", free_port())
    yield stack
    stack.down()


def client(stack: NativeStack, service: str):
    environment = stack.environment()
    return boto3.client(
        service,
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )


def fill(stack: NativeStack) -> None:
    """A versioned bucket with two versions of an object, a Glue table with a parameter, a role."""
    region = stack.environment()["AWS_REGION"]
    s3 = client(stack, "s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": region})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=BUCKET, Key="silver/customers/part-0.parquet", Body=b"the first version")
    s3.put_object(Bucket=BUCKET, Key="silver/customers/part-0.parquet", Body=BODY)
    s3.put_object(Bucket=BUCKET, Key="silver/deleted.parquet", Body=b"x")
    s3.delete_object(Bucket=BUCKET, Key="silver/deleted.parquet")
    glue = client(stack, "glue")
    glue.create_database(DatabaseInput={"Name": "silver"})
    column = {"Name": "email", "Type": "string", "Comment": "e-mail", "Parameters": {"pii": "email"}}
    glue.create_table(
        DatabaseName="silver",
        TableInput={
            "Name": "customers",
            "Parameters": {"spark.sql.sources.provider": "delta"},
            "StorageDescriptor": {"Columns": [column], "Location": f"s3://{BUCKET}/silver/customers"},
        },
    )
    client(stack, "iam").create_role(RoleName="silver-customers", AssumeRolePolicyDocument=TRUST)


def assert_filled(stack: NativeStack) -> None:
    s3 = client(stack, "s3")
    assert s3.get_bucket_versioning(Bucket=BUCKET)["Status"] == "Enabled"
    listed = s3.list_objects_v2(Bucket=BUCKET)["Contents"]
    assert [entry["Key"] for entry in listed] == ["silver/customers/part-0.parquet"]
    assert s3.get_object(Bucket=BUCKET, Key=listed[0]["Key"])["Body"].read() == BODY
    versions = s3.list_object_versions(Bucket=BUCKET, Prefix=listed[0]["Key"])["Versions"]
    bodies = [
        s3.get_object(Bucket=BUCKET, Key=entry["Key"], VersionId=entry["VersionId"])["Body"].read()
        for entry in versions
    ]
    assert sorted(bodies, key=len) == [b"the first version", BODY]
    table = client(stack, "glue").get_table(DatabaseName="silver", Name="customers")["Table"]
    assert table["Parameters"] == {"spark.sql.sources.provider": "delta"}
    assert table["StorageDescriptor"]["Columns"][0]["Parameters"] == {"pii": "email"}
    role = client(stack, "iam").get_role(RoleName="silver-customers")["Role"]
    assert role["RoleName"] == "silver-customers"


def wait_until_saved(stack: NativeStack) -> None:
    """Wait until what :func:`fill` made last in each service is on disk, without stopping anything."""
    services = stack.home / "state" / "services"
    last = {"s3": '"Enabled"', "glue": '"customers"', "iam": "silver-customers"}
    deadline = time.monotonic() + 10 * SAVE_SECONDS
    while not all(saved_text(services / f"{name}.json").count(text) for name, text in last.items()):
        assert time.monotonic() < deadline, "nothing is saved while the stack runs"
        time.sleep(0.05)


def saved_text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def kill_hard(stack: NativeStack) -> None:
    pid = stack.status().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while stack.status().state == "up":  # what is left of it is the gateway
        assert time.monotonic() < deadline, "the killed process is still seen as running"
        time.sleep(0.02)


def test_data_catalogue_and_roles_survive_a_stop(stack: NativeStack) -> None:
    assert stack.up().is_up
    fill(stack)
    assert stack.down()
    assert stack.status().state == "down"
    assert stack.up().is_up
    assert_filled(stack)


def test_data_catalogue_and_roles_survive_a_hard_kill(stack: NativeStack) -> None:
    stack.up()
    fill(stack)
    wait_until_saved(stack)
    kill_hard(stack)
    assert stack.up().is_up
    assert_filled(stack)


def test_objects_survive_a_hard_kill_right_after_they_were_written(stack: NativeStack) -> None:
    stack.up()
    s3 = client(stack, "s3")
    region = stack.environment()["AWS_REGION"]
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": region})
    s3.put_object(Bucket=BUCKET, Key="late", Body=BODY)
    kill_hard(stack)
    stack.up()
    assert client(stack, "s3").get_object(Bucket=BUCKET, Key="late")["Body"].read() == BODY


def test_clean_deletes_what_was_stored(stack: NativeStack) -> None:
    stack.up()
    fill(stack)
    stack.clean()
    stack.up()
    assert client(stack, "s3").list_buckets()["Buckets"] == []
    assert client(stack, "glue").get_databases()["DatabaseList"] == []


def test_a_second_up_leaves_the_running_stack_alone(stack: NativeStack) -> None:
    first = stack.up()
    assert stack.up() == first
    # without a port, the running stack's own one is meant
    assert NativeStack(stack.home).up() == first


def test_another_port_is_refused_while_the_stack_is_up(stack: NativeStack) -> None:
    first = stack.up()
    with pytest.raises(StackError, match=f"up already, on port {first.port}"):
        NativeStack(stack.home, free_port()).up()
    assert stack.status() == first


def test_a_port_in_use_is_an_error_that_names_the_user_and_the_way_out(stack: NativeStack) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", stack.port or 0))
        other.listen()
        with pytest.raises(StackError) as caught:
            stack.up()
    message = str(caught.value)
    assert f"port {stack.port} is in use" in message
    assert f"process {os.getpid()}" in message
    assert f"FINLAKE_PORT={(stack.port or 0) + 1}" in message
    assert stack.status().state == "down"
    assert not stack.env_file.exists()


def test_a_record_of_a_process_that_is_gone_does_not_hinder_a_start(stack: NativeStack) -> None:
    stack.up()
    record = stack.home / "ministack.json"
    stale = record.read_text()
    stack.down()
    record.write_text(stale)
    assert stack.status().state == "down"
    assert stack.up().is_up


def test_a_process_that_only_has_the_recorded_number_is_never_stopped(stack: NativeStack) -> None:
    stack.up()
    record = json.loads((stack.home / "ministack.json").read_text())
    stack.down()
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        (stack.home / "ministack.json").write_text(json.dumps(record | {"pid": bystander.pid}))
        assert stack.status().state == "down"
        assert stack.down() is False
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', '{"pid": "x", "port": 1}'])
def test_an_unreadable_record_counts_as_down(stack: NativeStack, content: str) -> None:
    stack.home.mkdir(parents=True)
    (stack.home / "ministack.json").write_text(content)
    assert stack.status().state == "down"


def test_down_without_a_stack_is_fine(tmp_path: Path) -> None:
    home = tmp_path / ".finlake"
    assert NativeStack(home).down() is False
    assert not home.exists()


def test_down_stops_a_process_that_ignores_the_polite_signal(
    stack: NativeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = psutil.Process(stack.up().pid)
    monkeypatch.setattr("emulator.process.STOP_SECONDS", 2)
    process.suspend()  # so that it cannot react to SIGTERM, only to SIGKILL
    assert stack.down()
    process.wait(10)
    assert not process.is_running()


def test_a_server_that_ends_at_once_is_reported_with_its_log(
    stack: NativeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stack.aws, "module", "emulator.no_such_module")
    started = time.monotonic()
    with pytest.raises(StackError, match=r"No module named emulator\.no_such_module"):
        stack.up()
    assert time.monotonic() - started < 10
    assert not (stack.home / "ministack.json").exists()


def test_the_env_file_says_what_the_environment_says_and_goes_with_the_stack(stack: NativeStack) -> None:
    stack.up()
    lines = stack.env_file.read_text().splitlines()
    assert dict(line.split("=", 1) for line in lines) == stack.environment()
    assert stack.environment()["AWS_ENDPOINT_URL"] == f"http://localhost:{stack.port}"
    stack.down()
    assert not stack.env_file.exists()
    with pytest.raises(StackError, match="not running"):
        stack.environment()


def test_nothing_is_written_outside_of_the_home_folder(stack: NativeStack) -> None:
    status = stack.up()
    fill(stack)
    opened = {Path(file.path) for file in psutil.Process(status.pid).open_files()}
    assert opened <= {stack.aws.log}
    assert {path.name for path in stack.home.parent.iterdir()} == {".finlake"}


def test_only_the_loopback_interface_is_served(stack: NativeStack) -> None:
    stack.up()
    for server in (stack.aws, stack.gateway):
        record = server.running()
        assert record is not None
        connections = psutil.Process(record.pid).net_connections()
        listening = {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}
        assert listening == {("127.0.0.1", record.port)}
    assert record.port == stack.port


def test_credentials_of_a_real_account_never_reach_the_emulator(
    stack: NativeStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "of-a-real-account")
    status = stack.up()
    assert "AWS_SESSION_TOKEN" not in psutil.Process(status.pid).environ()


def test_the_home_is_found_from_a_folder_deep_in_the_project(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert find_home(deep) == tmp_path / ".finlake"


def run(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "emulator", *arguments],
        cwd=cwd,
        env={**os.environ, "STACK": "native", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def dashboard_of(status: dict[str, str]) -> int:
    """What the dashboard's page answers."""
    with urllib.request.urlopen(status["dashboard"], timeout=30) as answer:  # noqa: S310
        return int(answer.status)


def test_the_commands_do_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    port = str(free_port())
    try:
        up = run("up", cwd=tmp_path, FINLAKE_PORT=port)
        assert up.returncode == 0, up.stderr
        assert f"http://localhost:{port}" in up.stdout
        assert "already" in run("up", cwd=tmp_path).stdout
        status = json.loads(run("status", "--json", cwd=tmp_path).stdout)
        assert status["state"] == "up"
        assert status["port"] == int(port)
        assert dashboard_of(status) == 200
    finally:
        down = run("down", cwd=tmp_path)
    assert down.returncode == 0
    assert json.loads(run("status", "--json", cwd=tmp_path).stdout)["state"] == "down"
    assert run("clean", cwd=tmp_path).returncode == 0
    assert not (tmp_path / ".finlake" / "state").exists()


def test_an_error_is_one_message_without_a_stack_trace(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        failed = run("up", "--port", str(other.getsockname()[1]), cwd=tmp_path)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: port")
    assert "Traceback" not in failed.stderr
    assert "\x1b[" not in failed.stderr


def test_a_wrong_option_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    assert run("up", "--port", "many", cwd=tmp_path).returncode == 2


def saves_after(*methods: str, failing: int = 0) -> int:
    """How often a server saves that gets these requests, each after the previous one was dealt with."""
    saved = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await receive()

    def save() -> None:
        saved.append(len(saved))
        if len(saved) <= failing:
            raise OSError("disk full")

    async def serve() -> None:
        stop = asyncio.Event()
        server = SavingApp(app, save, seconds=0)
        life = asyncio.create_task(server({"type": "lifespan"}, stop.wait, None))
        for method in methods:
            await server({"type": "http", "method": method}, stop.wait, None)
            for _ in range(5):
                await asyncio.sleep(0)
        stop.set()
        await life

    asyncio.run(serve())
    return len(saved)


def test_requests_that_write_are_saved_and_others_are_not() -> None:
    assert saves_after("POST", "GET", "PUT", "HEAD", "DELETE", "OPTIONS") == 3


def test_a_save_that_fails_does_not_end_the_saving() -> None:
    assert saves_after("PUT", "PUT", "PUT", failing=1) == 3


def test_without_a_docker_engine_the_native_stack_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    monkeypatch.delenv("STACK", raising=False)
    (tmp_path / "docker-compose.yml").write_text("services: {}\n")
    assert chosen_stack(tmp_path / ".finlake").kind == "native"


def test_the_native_stack_can_be_used_while_the_engine_of_the_other_one_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine.sock")
    monkeypatch.delenv("STACK", raising=False)
    home = tmp_path / ".finlake"
    home.mkdir()
    (home / "local.env").write_text(f"{ENV_HEADER}AWS_REGION=eu-central-1\n")
    (tmp_path / "docker-compose.yml").write_text("services: {}\n")
    with pytest.raises(StackError, match=r"the Docker engine does not answer.*STACK=native"):
        chosen_stack(home)
    monkeypatch.setenv("STACK", "native")
    assert chosen_stack(home).kind == "native"


def test_asking_for_docker_without_an_engine_names_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "docker-compose.yml").write_text("services: {}\n")
    failed = run("up", cwd=tmp_path, STACK="docker", DOCKER_HOST=f"unix://{tmp_path}/no-engine.sock")
    assert failed.returncode == 1
    assert "the Docker engine does not answer" in failed.stderr
    assert "STACK=native" in failed.stderr


def test_a_stack_that_does_not_exist_is_named(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    failed = run("up", cwd=tmp_path, STACK="podman")
    assert failed.returncode == 1
    assert "STACK is 'podman'; it can be docker or native" in failed.stderr


def test_head_and_body_of_an_answer_come_in_one_piece(stack: NativeStack) -> None:
    port = stack.up().port
    assert port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        for _ in range(20):
            client.sendall(b"GET /_localstack/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            head, _, body = client.recv(1 << 16).partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            assert body.startswith(b"{"), "Terraform takes it for a broken connection, and asks again"
