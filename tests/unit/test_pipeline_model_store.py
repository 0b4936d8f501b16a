"""Models from folders and from archives, of which nothing but the model is read."""

import gzip
import tarfile

import pytest
from noise_model import noise_model, packed

from ml.tasks import DEFAULT, FRAUD, TASKS
from pipeline import model_store
from pipeline.errors import FinlakeError, UsageError
from pipeline.model_store import load_model, read_archive
from pipeline.settings import Settings


@pytest.fixture(scope="module")
def models():
    return {name: noise_model(task) for name, task in TASKS.items()}


@pytest.fixture
def text(models):
    return models["default"].to_json().encode()


def link(kind):
    info = tarfile.TarInfo("model.json")
    info.type, info.linkname = kind, "/etc/hostname"
    return info


def sparse():
    """A file of ten billion zeros, in 1.5 kB."""
    info = tarfile.TarInfo("GNUSparseFile.0/model.json")
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "model.json",
        "GNU.sparse.realsize": "10000000000",
    }
    return info


def load(place, name="default"):
    return load_model(name, Settings(gold_uri="file:///nowhere"), str(place))


@pytest.mark.parametrize("name", ["model.json", "./model.json"])
def test_a_model_is_read_from_what_sagemakers_training_leaves(tmp_path, models, text, name):
    file = tmp_path / "model.tar.gz"
    file.write_bytes(packed(("code/inference.py", b"raise SystemExit"), (name, text), ("card.html", b"")))
    found = load(file)
    assert (found.model, found.origin) == (models["default"], f"file://{file}")


def test_nothing_of_an_archive_is_unpacked(tmp_path, text):
    folder = tmp_path / "here"
    folder.mkdir()
    file = folder / "model.tar.gz"
    file.write_bytes(packed(("../evil.py", b"1"), (f"{tmp_path}/evil.py", b"2"), ("model.json", text)))
    assert load(file).model.task == "default"
    assert list(tmp_path.rglob("*")) == [folder, file]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no tar.gz archive"),
        (b"a text", "no tar.gz archive"),
        (packed(("model.json", b"{}"))[:-20], "no tar.gz archive"),
        (gzip.compress(b"a text"), "no tar.gz archive"),
        (packed(), "holds no model.json"),
        (packed(("metrics.json", b"{}")), "holds no model.json"),
        (packed(("model/model.json", b"{}")), "holds no model.json"),
        (packed((link(tarfile.SYMTYPE), b"")), "holds no model.json"),
        (packed((link(tarfile.LNKTYPE), b"")), "holds no model.json"),
        (packed((sparse(), b"1\n0\n0\n".ljust(512, b"\0"))), "holds no model.json"),
        (packed(("model.json", b"\xff\xfe")), "not a model of finlake"),
        (packed(("model.json", b"[" * 100_000)), "not a model of finlake"),
        (packed(("model.json", b'{"format": 1}')), "another version of finlake"),
    ],
)
def test_what_is_no_archive_with_a_model_is_refused(tmp_path, content, says):
    file = tmp_path / "model.tar.gz"
    file.write_bytes(content)
    with pytest.raises(FinlakeError, match=says) as caught:
        load(file)
    assert caught.value.hint


def test_an_archive_that_grows_beyond_measure_is_given_up(tmp_path, text, monkeypatch):
    file = tmp_path / "model.tar.gz"
    file.write_bytes(packed(("zeros", bytes(3 * 2**20)), ("model.json", text)))
    assert read_archive(f"file://{file}") == text
    monkeypatch.setattr(model_store, "MOST_BYTES", 2 * 2**20)
    with pytest.raises(FinlakeError, match="unpacks to more than 2 MiB"):
        load(file)


def test_a_model_for_another_task_is_refused(tmp_path, models):
    file = tmp_path / "model.tar.gz"
    file.write_bytes(packed(("model.json", models[FRAUD.name].to_json().encode())))
    with pytest.raises(UsageError, match="is a model for fraud, not for default"):
        load(file, DEFAULT.name)
    assert load(file, FRAUD.name).model == models[FRAUD.name]


@pytest.mark.parametrize("name", ["none", "none.tar.gz"])
def test_a_place_without_a_model_is_named(tmp_path, name):
    with pytest.raises(UsageError, match=f"there is no model in {tmp_path}/{name}"):
        load(tmp_path / name)


def test_a_registry_without_a_group_is_refused():
    with pytest.raises(UsageError, match="lacks the name of a model package group"):
        load("sagemaker:")
