"""Full disks, buckets that refuse and interrupts: clear errors, and nothing half-written that looks whole."""

import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from datagen import GenerateError, generate, read_manifests

LIMITED = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
from datagen.cli import app
app()
"""

SMALL_BLOCKS = """
import datagen.dirt, datagen.generator, datagen.schedule
for module in (datagen.dirt, datagen.generator, datagen.schedule):
    module.BLOCK_ROWS = 600
from datagen.cli import app
app()
"""


def data_files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file() and "_unfinished" not in path.parts)


def assert_only_whole_files(cut, whole):
    """What is there of an unfinished batch are finished files, and no manifest."""
    assert read_manifests(cut) == []
    for path in data_files(cut):
        if "#" not in path.name:  # a name that no reader takes for a CSV file
            assert path.read_bytes() == (whole / path.relative_to(cut)).read_bytes()


def test_a_file_that_does_not_fit_is_named_and_no_part_of_it_stays(tmp_path):
    """The limit on file sizes stands for a quota: it also holds for root."""
    generate(tmp_path / "whole", scale=80)
    command = [sys.executable, "-c", LIMITED, "--scale", "80", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no file may be so large there" in done.stderr
    assert str(tmp_path / "out") in done.stderr
    assert "Traceback" not in done.stderr
    assert_only_whole_files(tmp_path / "out", tmp_path / "whole")


def test_a_full_disk_is_named_and_the_batch_is_not_whole(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        'mount -t tmpfs -o size=100k full "$1" || exit 77; shift; "$@"; code=$?; '
        'find "$OUT" -name "*.json" | grep -q . && exit 78; exit $code'
    )
    command = ["unshare", "-m", "sh", "-c", script, "sh", str(disk)]
    generator = [sys.executable, "-m", "datagen", "--scale", "100", "--out", str(disk / "out")]
    try:
        done = subprocess.run(
            [*command, *generator],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"OUT": str(disk / "out")},
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("nobody may mount a small disk here")
    assert done.returncode == 1
    assert "the disk is full; free some space or choose another output" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupt_leaves_no_manifest_and_the_same_command_goes_on(tmp_path, monkeypatch, sign):
    for module in ("schedule", "generator", "dirt"):
        monkeypatch.setattr(f"datagen.{module}.BLOCK_ROWS", 600)
    options = ["--scale", "800", "--file-rows", "1000", "--dirty", "0"]
    command = [sys.executable, "-c", SMALL_BLOCKS, *options, "--out", str(tmp_path / "cut")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list((tmp_path / "cut/transactions").rglob("*.csv")):
        time.sleep(0.02)
    process.send_signal(sign)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in errors
    whole = generate(tmp_path / "whole", scale=800, file_rows=1_000, dirty=0)
    assert len(whole.entities["transactions"].files) > 2
    assert_only_whole_files(tmp_path / "cut", tmp_path / "whole")
    assert generate(tmp_path / "cut", scale=800, file_rows=1_000, dirty=0) == whole
    for path in data_files(tmp_path / "whole"):
        assert (tmp_path / "cut" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()


@pytest.fixture
def refusing(monkeypatch):
    """A bucket that lets nobody write; it remembers what it was asked."""
    asked = []

    class Bucket(BaseHTTPRequestHandler):
        def do_GET(self):
            if "list-type" in self.path:
                self.answer(200, "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
            else:
                self.answer(404, "<Error><Code>NoSuchKey</Code></Error>")

        def do_PUT(self):
            self.answer(403, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>")

        do_POST = do_PUT  # noqa: N815 - as the server calls it

        def answer(self, status, text):
            asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Bucket)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    yield asked
    server.shutdown()


def test_a_bucket_that_refuses_is_named_and_gets_nothing_more(refusing):
    with pytest.raises(GenerateError, match=r"s3://lake/bronze: access denied; check the credentials"):
        generate("s3://lake/bronze", scale=10)
    writes = [request for request in refusing if not request.startswith("GET")]
    assert len(writes) == 1
    assert "customers" in writes[0]
