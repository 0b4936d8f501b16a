import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from datagen import generate
from datagen.cli import app

runner = CliRunner()


def run(*arguments: str):
    return runner.invoke(app, [str(argument) for argument in arguments])


def test_help_shows_an_example():
    result = run("--help")
    assert result.exit_code == 0
    assert "finlake generate --scale 10000 --out data/bronze" in result.output


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--scale", "-1"),
        ("--scale", "0"),
        ("--scale", "200000000"),
        ("--scale", "many"),
        ("--batch", "-1"),
        ("--batch", "10000"),
        ("--dirty", "2"),
        ("--dirty", "-0.1"),
        ("--dirty", "nan"),
        ("--seed", "-1"),
        ("--out", "ftp://host/folder"),
        ("--out", "s3://"),
    ],
)
def test_a_value_out_of_range_is_refused_and_nothing_is_written(tmp_path, monkeypatch, option, value):
    monkeypatch.chdir(tmp_path)
    result = run(option, value)
    assert result.exit_code == 2
    assert value in result.output or option in result.output
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_batch_that_is_there_is_not_overwritten_by_accident(tmp_path):
    assert run("--scale", 10, "--out", tmp_path).exit_code == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.csv")}
    result = run("--scale", 10, "--out", tmp_path, "--seed", 5)
    assert result.exit_code == 2
    assert "--force" in result.output
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.csv")} == before


def test_force_replaces_a_batch_and_all_of_its_files(tmp_path):
    assert run("--scale", 10, "--out", tmp_path).exit_code == 0
    left_over = tmp_path / "customers/ingest_date=2025-12-31/customers-b0000-00007.csv"
    left_over.write_text("from a larger run")
    own = left_over.with_name("customers-mine.csv")
    own.write_text("the user's own")
    assert run("--scale", 20, "--out", tmp_path, "--force").exit_code == 0
    assert not left_over.exists()
    assert own.exists()


@pytest.mark.parametrize("option", [("--seed", 1), ("--scale", 11), ("--dirty", 0.3)])
def test_batches_of_different_data_are_not_mixed(tmp_path, option):
    assert run("--scale", 10, "--out", tmp_path).exit_code == 0
    result = run("--scale", 10, "--out", tmp_path, "--batch", 1, *option)
    assert result.exit_code == 2
    assert "--seed 42" in result.output.replace("\n", " ")
    assert len(list((tmp_path / "_manifest").iterdir())) == 1


def test_the_summary_names_every_entity_and_the_output(tmp_path):
    result = run("--scale", 10, "--out", tmp_path)
    for name in ("customers", "accounts", "loans", "payments", "transactions", str(tmp_path)):
        assert name in result.output.replace("\n", "")


def test_json_gives_the_manifest_and_the_totals_and_nothing_else(tmp_path):
    result = run("--scale", 10, "--out", tmp_path, "--json")
    totals = json.loads(result.stdout)
    manifest = json.loads((tmp_path / "_manifest/batch=0000.json").read_text())
    assert totals["manifest"] == f"{tmp_path}/_manifest/batch=0000.json"
    assert totals["rows"] == sum(entity["rows"] for entity in manifest["entities"].values())


def test_an_output_that_is_a_file_is_refused(tmp_path):
    file = tmp_path / "file"
    file.write_text("mine")
    result = run("--out", file)
    assert result.exit_code == 2
    assert file.read_text() == "mine"


def test_an_output_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "customers").write_text("a file where a folder has to be")
    result = run("--scale", 10, "--out", tmp_path)
    assert result.exit_code == 1
    assert "Error:" in result.output
    assert str(tmp_path) in result.output.replace("\n", "")
    assert not (tmp_path / "_manifest").exists()


def test_a_run_that_fails_half_way_leaves_no_manifest_and_can_be_repeated(tmp_path):
    def fail(step):
        if step.entity == "loans":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path, scale=10, on_progress=fail)
    assert list(tmp_path.rglob("accounts*.csv"))
    assert not list(tmp_path.rglob("loans*.csv"))
    assert not list(tmp_path.rglob("*.json"))
    assert run("--scale", 10, "--out", tmp_path).exit_code == 0


def test_progress_counts_all_rows(tmp_path):
    steps = []
    manifest = generate(tmp_path, scale=10, on_progress=steps.append)
    last = {step.entity: step for step in steps}
    assert {name: step.rows for name, step in last.items()} == {
        name: entity.rows for name, entity in manifest.entities.items()
    }
    assert all(step.done == step.total for step in last.values())


def test_help_loads_neither_numpy_nor_polars_nor_spark():
    heavy = {"numpy", "polars", "faker", "pyspark", "pipeline"}
    code = f"import sys, datagen.cli; print({heavy} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"


def test_csv_is_made_without_polars_so_that_rows_come_at_once(tmp_path):
    code = (
        f"import sys; from datagen import generate; generate({str(tmp_path)!r}, scale=2); print(*sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "polars" not in result.stdout.split()
    assert list(tmp_path.rglob("*.csv"))


def test_days_go_on_after_a_batch_and_each_is_as_if_made_alone(tmp_path):
    result = run("--scale", 10, "--out", tmp_path / "all", "--days", 3, "--json")
    assert [totals["batch"] for totals in json.loads(result.stdout)] == [0, 1, 2, 3]
    assert run("--scale", 10, "--out", tmp_path / "alone", "--batch", 3).exit_code == 0
    for file in (tmp_path / "alone").rglob("*.csv"):
        assert (tmp_path / "all" / file.relative_to(tmp_path / "alone")).read_bytes() == file.read_bytes()


def test_days_beyond_the_last_batch_are_refused_before_anything_is_written(tmp_path):
    result = run("--out", tmp_path / "out", "--batch", 9_990, "--days", 30)
    assert result.exit_code == 2
    assert "9,999" in result.output.replace("\n", " ")
    assert not (tmp_path / "out").exists()
