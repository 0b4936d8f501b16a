"""Models from the lake and back: trained on Gold, kept on S3, scores in Gold and the catalogue. No Spark."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from feature_bank import bank, fraud_labels
from feature_sql import FRAUD_SIGNALS, LOAN_DEFAULT_FEATURES
from lakehouse import FOREIGN, Lakehouse, free_port, lakehouse

from datagen.profile import load, override
from datagen.schedule import Plan
from emulator.native import NativeStack
from pipeline.catalog import CatalogTable, register
from pipeline.storage import delta_options, list_objects
from pipeline.tables import TableColumn

pytestmark = [pytest.mark.emulator, pytest.mark.timeout(600), pytest.mark.slow]

CRASH = Path(__file__).parents[1] / "e2e" / "crash.py"
QUICK = ("--draws", "10", "--no-challenger", "--json")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lakehouse]:
    """A lake that holds features of loans, and what the fraud model needs."""
    stack = NativeStack(tmp_path_factory.mktemp("models") / ".finlake", free_port())
    with pytest.MonkeyPatch.context() as patch:
        for name in FOREIGN:
            patch.delenv(name, raising=False)
        stack.up()
    try:
        lake = lakehouse(stack, "models")
        fill(lake)
        yield lake
    finally:
        stack.down()


def fill(lake: Lakehouse) -> None:
    loans = bank(Plan(11, 250, override(load(), {"arrears": "4"})), 1096, ["loans", "payments"])
    store(lake, "gold", "loan_default_features", loans.execute(LOAN_DEFAULT_FEATURES).to_arrow_table())
    plan = Plan(11, 700, override(load(), {"fraud": "0.02"}))
    moves = bank(plan, 0, ["customers", "accounts", "transactions"])
    for name in ("customers", "accounts", "transactions"):
        rows = moves.execute(
            f"SELECT *, CAST(NULL AS TIMESTAMPTZ) AS _deleted_at FROM {name}"
        ).to_arrow_table()
        store(lake, "silver", name, rows)
    store(lake, "gold", "fraud_signals", moves.execute(FRAUD_SIGNALS).to_arrow_table())
    labels = fraud_labels(plan, 0).write_csv().encode()
    lake.put("_labels/transactions/part-00000.csv", labels)


def store(lake: Lakehouse, layer: str, name: str, rows: pa.Table) -> None:
    """Write a table as the pipeline would, and register it."""
    uri = lake.settings.table_uri(layer, name)
    with lake.reachable():
        write_deltalake(uri, rows, mode="overwrite", storage_options=delta_options(uri))
        columns = tuple(TableColumn(field, "string", field) for field in rows.column_names)
        register([CatalogTable(layer, name, uri, columns)], lake.settings)


@pytest.fixture(scope="module")
def trained(lake: Lakehouse) -> dict[str, Any]:
    return dict(lake.json("train", "default", *QUICK))


def test_a_model_is_kept_on_s3_with_its_metrics_and_its_card(lake: Lakehouse, trained: dict[str, Any]):
    bucket, _, folder = trained["uri"].removeprefix("s3://").partition("/")
    listed = lake.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"{folder}/")["Contents"]
    assert {item["Key"].rpartition("/")[2] for item in listed} == {"model.json", "metrics.json", "card.html"}
    assert trained["uri"].endswith(f"/_models/default/{trained['version']}")
    auc = trained["metrics"][trained["kind"]]["auc"]
    assert 0.6 < auc["low"] <= auc["value"] <= auc["high"]


def test_scores_are_a_gold_table_with_comments_that_the_catalogue_knows(
    lake: Lakehouse, trained: dict[str, Any]
):
    found = lake.json("score", "--json")
    assert (found["model_version"], found["observation_date"]) == (trained["version"], "2028-12-31")
    assert found["drift"]["prediction"] >= 0
    rows = lake.json(
        "query",
        "SELECT count(*) AS n, count(DISTINCT loan_id) AS loans, min(default_probability) AS low, "
        "max(default_probability) AS high, min(model_version) AS version, count(unknown_values) AS unknown, "
        "count(*) FILTER (reasons <> '') AS explained FROM gold.loan_default_scores",
        "--format", "json",
    )[0]  # fmt: skip
    assert rows["n"] == rows["loans"] == found["rows"] > 50
    assert 0 < float(rows["low"]) < float(rows["high"]) < 1
    assert (rows["version"], rows["unknown"]) == (trained["version"], 0)
    assert rows["explained"] > 0
    database = lake.settings.database("gold")
    table = lake.client("glue").get_table(DatabaseName=database, Name="loan_default_scores")["Table"]
    assert all(column["Comment"] for column in table["StorageDescriptor"]["Columns"])


def test_scoring_a_day_again_replaces_its_scores_and_leaves_those_of_others(lake: Lakehouse, trained: Any):
    first = lake.json("score", "--date", "2028-09-30", "--json")["rows"]
    assert lake.json("score", "--date", "2028-09-30", "--json")["rows"] == first
    newest = lake.json("score", "--json")["rows"]
    assert lake.frame("gold", "loan_default_scores").height == first + newest
    assert lake.json("score", "--date", "2028-06-30", "--dry-run", "--json")["rows"] > 0
    assert lake.frame("gold", "loan_default_scores").height == first + newest


def kill_after(lake: Lakehouse, step: str, when: str, *arguments: str) -> None:
    """A command that dies by SIGKILL after one of its steps."""
    done = subprocess.run(
        **lake.command(step, when, "--", *arguments, script=CRASH), capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


@pytest.mark.parametrize("files", [1, 2, 3])
def test_a_training_that_is_killed_before_its_model_is_whole_leaves_the_last_one(
    lake: Lakehouse, trained: dict[str, Any], files: int
):
    kill_after(lake, "pipeline.models:write_bytes", str(files), "train", "default", *QUICK, "--knots", "2")
    with lake.reachable():
        found = {
            info.uri.split("/")[-2] for info in list_objects(f"{lake.settings.gold_uri}/_models/default")
        }
    assert len(found - {"default", trained["version"]}) == 1, "it had begun to write another model"
    assert lake.json("score", "--dry-run", "--json")["model_version"] == trained["version"]


@pytest.mark.parametrize("step", ["ensure_table", "write_deltalake", "register"])
def test_a_scoring_that_is_killed_is_done_whole_by_the_next_one(
    lake: Lakehouse, trained: dict[str, Any], step: str
):
    arguments = ("score", "--date", "2028-03-31")
    kill_after(lake, f"pipeline.models:{step}", "any", *arguments)
    rows = lake.json(*arguments, "--json")["rows"]
    stored = lake.frame(
        "gold", "loan_default_scores", "SELECT loan_id FROM {} WHERE observation_date = DATE '2028-03-31'"
    )
    assert stored.height == stored.n_unique() == rows > 0
    with lake.reachable():
        assert list_objects(lake.settings.table_uri("ops", "_locks")) == []
    assert "loan_default_scores" in {
        table["Name"]
        for table in lake.client("glue").get_tables(DatabaseName=lake.settings.database("gold"))["TableList"]
    }


def test_values_that_training_never_met_are_scored_as_usual_marked_and_warned_of(
    lake: Lakehouse, trained: Any
):
    features = lake.frame("gold", "loan_default_features")
    import polars as pl

    strange = features.with_columns(
        product=pl.when(pl.col("observation_date") == pl.date(2028, 12, 31))
        .then(pl.lit("crypto"))
        .otherwise("product")
    )
    store(lake, "gold", "loan_default_features", strange.to_arrow())
    try:
        found = lake.json("score", "--json")
        assert found["unknown"] == {"product": {"crypto": found["rows"]}}
        assert any("product: values that training never met" in text for text in found["warnings"])
        assert any("product: not distributed as in training" in text for text in found["warnings"])
        scores = lake.frame("gold", "loan_default_scores", "SELECT DISTINCT unknown_values FROM {} "
                            "WHERE observation_date = DATE '2028-12-31'")  # fmt: skip
        assert scores["unknown_values"].to_list() == ["product"]
        shown = lake.must("score")
        assert "Warning:" in shown.stderr
    finally:
        store(lake, "gold", "loan_default_features", features.to_arrow())


def test_fraud_is_found_with_the_labels_that_the_generator_keeps_apart(lake: Lakehouse, tmp_path: Any):
    labels = f"{lake.settings.bronze_uri}/_labels"
    found = lake.json("train", "fraud", "--labels", labels, "--out", str(tmp_path), *QUICK)
    assert found["metrics"][found["kind"]]["auc"]["low"] > 0.9
    assert (tmp_path / found["version"] / "card.html").is_file()
    assert found["training"]["last_day"] < found["training"]["test_first_day"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("train", "churn"), 2, "there is no model 'churn'"),
        (("train", "fraud"), 2, "needs labels"),
        (("train", "fraud", "--labels", "s3://models-local-bronze/nothing"), 2, "no CSV file of labels"),
        (("train", "default", "--data", "nowhere"), 1, "there is no file"),
        (("score", "--model", "nowhere"), 2, "there is no model in nowhere"),
        (("score", "--date", "2028-12-30"), 2, "no loan was observed on 2028-12-30"),
    ],
)
def test_what_cannot_work_is_said(
    lake: Lakehouse, trained: Any, arguments: tuple[str, ...], code: int, says: str
):
    done = lake.finlake(*arguments)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr


def test_features_from_a_folder_need_no_lake(lake: Lakehouse, tmp_path: Any):
    lake.frame("gold", "loan_default_features").write_parquet(tmp_path / "features.parquet")
    arguments = ("train", "default", "--data", str(tmp_path), "--out", str(tmp_path / "model"), *QUICK)
    found = lake.json(*arguments)
    assert (tmp_path / "model" / found["version"] / "model.json").is_file()
