"""Models from the lake and back: trained on Gold, kept on S3, scores in Gold and the catalogue. No Spark."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from feature_bank import bank, fraud_labels
from feature_sql import FRAUD_SIGNALS, LOAN_DEFAULT_FEATURES
from glue_stack import BUCKET, Glue
from lakehouse import FOREIGN, Lakehouse, free_port, lakehouse

pytest.importorskip("moto.server")
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from datagen.profile import load, override
from datagen.schedule import Plan
from emulator.native import HEALTH_PATH, NativeStack
from pipeline.catalog import CatalogTable, register
from pipeline.infra import build_wheel
from pipeline.storage import delta_options, list_objects
from pipeline.tables import TableColumn

pytestmark = [pytest.mark.emulator, pytest.mark.timeout(600), pytest.mark.slow]

CRASH = Path(__file__).parents[1] / "e2e" / "crash.py"
QUICK = ("--draws", "10", "--no-challenger", "--json")


ROOT = Path(__file__).parents[2]
GROUP = "models-local-models"


class StackWithSageMaker(NativeStack):
    """The local stack, with moto behind the gateway for SageMaker, which MiniStack does not have.

    moto then keeps the catalogue as well: the gateway knows two upstreams.

    Args:
        home: As for other stacks.
        port: The same.
        sagemaker: Address of moto.
    """

    def __init__(self, home: Path, port: int, sagemaker: str) -> None:
        super().__init__(home, port)
        self._sagemaker = sagemaker

    def _gateway_environment(self, port: int, inner: int) -> dict[str, str]:
        there = {
            "FINLAKE_CATALOG_URL": self._sagemaker,
            "FINLAKE_CATALOG_SERVICES": "athena,glue,sagemaker",
        }
        return super()._gateway_environment(port, inner) | there


@pytest.fixture(scope="module")
def sagemaker() -> Iterator[str]:
    """Address of moto, which says that it is well when the gateway asks."""
    moto = DomainDispatcherApplication(create_backend_app)

    def app(environ: Any, start: Any) -> Any:
        if environ["PATH_INFO"] != HEALTH_PATH:
            return moto(environ, start)
        start("200 OK", [("Content-Type", "application/json")])
        return [b'{"services": {"sagemaker": "running"}}']

    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=MotoRequestHandler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory, sagemaker: str) -> Iterator[NativeStack]:
    stack = StackWithSageMaker(tmp_path_factory.mktemp("models") / ".finlake", free_port(), sagemaker)
    with pytest.MonkeyPatch.context() as patch:
        for name in FOREIGN:
            patch.delenv(name, raising=False)
        stack.up()
    yield stack
    stack.down()


@pytest.fixture(scope="module")
def lake(native: NativeStack) -> Lakehouse:
    """A lake that holds features of loans, and what the fraud model needs."""
    lake = lakehouse(native, "models")
    fill(lake)
    return lake


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
    kill_after(lake, f"pipeline.scoring:{step}", "any", *arguments)
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


# --- from SageMaker to scores ---------------------------------------------------------------------


@dataclass
class Registry:
    """SageMaker's registry, and the lake whose models it has.

    Attributes:
        lake: The lake.
        features: Folder of features, as Athena's UNLOAD leaves them.
    """

    lake: Lakehouse
    features: Path

    @property
    def client(self) -> Any:
        return self.lake.client("sagemaker")

    def train(self, folder: Path, **options: str) -> tuple[str, str]:
        """Train by the script as a training job does; URI of its model.tar.gz, and the model's version."""
        given = [part for name, value in options.items() for part in (f"--{name}", value)]
        command = [sys.executable, str(ROOT / "ml/train.py"), "--training", str(self.features)]
        done = subprocess.run(
            [*command, "--model-dir", str(folder), "--draws", "0", "--challenger", "0", *given],
            capture_output=True,
            text=True,
            check=True,
        )
        whole = io.BytesIO()
        with tarfile.open(fileobj=whole, mode="w:gz") as archive:
            for path in sorted(folder.iterdir()):
                archive.add(path, path.name)
        key = f"models/{folder.name}/output/model.tar.gz"
        self.lake.client("s3").put_object(Bucket=BUCKET, Key=key, Body=whole.getvalue())
        return f"s3://{BUCKET}/{key}", done.stdout.partition("version=")[2].partition(";")[0]

    def register(self, archive: str, group: str = GROUP) -> str:
        """Register a model as Terraform's state machine does; its ARN."""
        container = {"Image": "sagemaker-scikit-learn", "ModelDataUrl": archive}
        types = {
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        }
        return self.client.create_model_package(
            ModelPackageGroupName=group,
            ModelApprovalStatus="PendingManualApproval",
            InferenceSpecification={"Containers": [container], **types},
        )["ModelPackageArn"]

    def approve(self, arn: str, status: str = "Approved") -> None:
        self.client.update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status)

    def refused(self, group: str = GROUP) -> tuple[int, str]:
        """Exit code and message of a scoring that cannot work."""
        done = self.lake.finlake("score", "--model", f"sagemaker:{group}")
        return done.returncode, done.stderr


@pytest.fixture(scope="module")
def registry(lake: Lakehouse, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    features = tmp_path_factory.mktemp("features")
    lake.frame("gold", "loan_default_features").write_parquet(features / "part-0.parquet")
    region = {"LocationConstraint": lake.aws["AWS_REGION"]}
    lake.client("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=region)
    return Registry(lake, features)


def test_loans_are_scored_by_the_newest_model_that_a_person_has_approved(
    registry: Registry, native: NativeStack, tmp_path: Path
):
    lake = registry.lake
    code, said = registry.refused()
    assert (code, f"there is no model package group '{GROUP}'" in said) == (2, True), said
    registry.client.create_model_package_group(ModelPackageGroupName=GROUP)
    code, said = registry.refused()
    assert (code, f"{GROUP} has no model yet" in said) == (1, True), said

    archive, version = registry.train(tmp_path / "first")
    first = registry.register(archive)
    code, said = registry.refused()
    assert (code, f"no version of {GROUP} is approved" in said, first in said) == (1, True, True), said
    registry.approve(first)
    archive, newer = registry.train(tmp_path / "second", knots="2")
    second = registry.register(archive)
    assert version != newer

    # As Terraform makes the job: its own script, the wheel, and the arguments.
    aws = Glue(native)
    wheel = build_wheel(ROOT)
    arguments = {
        "--additional-python-modules": aws.put(f"wheels/{wheel.name}", wheel.read_bytes()),
        "--datalake-formats": "delta",
        "--layer": "scoring",
        "--model": f"sagemaker:{GROUP}",
        "--FINLAKE_ENV": "local",
        "--FINLAKE_PREFIX": lake.settings.prefix,
    }
    script = (ROOT / "pipeline/glue_job.py").read_text(encoding="utf-8")
    run = aws.done(script, "glueetl", GlueVersion="5.1", DefaultArguments=arguments)
    assert run["JobRunState"] == "SUCCEEDED", aws.said(run, "error")
    told = json.loads(aws.said(run))
    assert (told["model"], told["model_version"]) == (first, version), "the second one waits for approval"
    day = told["observation_date"]
    scores = "SELECT model_version, count(*) AS n FROM gold.loan_default_scores " \
        f"WHERE observation_date = DATE '{day}' GROUP BY model_version"  # fmt: skip
    assert lake.json("query", scores, "--format", "json") == [{"model_version": version, "n": told["rows"]}]

    registry.approve(second)
    found = lake.json("score", "--model", f"sagemaker:{GROUP}", "--dry-run", "--json")
    assert (found["model"], found["model_version"]) == (second, newer)
    registry.approve(second, "Rejected")
    found = lake.json("score", "--model", f"sagemaker:{GROUP}", "--dry-run", "--json")
    assert found["model_version"] == version
    assert lake.json("score", "--model", archive, "--dry-run", "--json")["model_version"] == newer
    assert lake.json("query", scores, "--format", "json")[0]["model_version"] == version


def test_an_approved_model_whose_archive_is_gone_is_named(registry: Registry, lake: Lakehouse):
    registry.client.create_model_package_group(ModelPackageGroupName="gone")
    registry.approve(registry.register(f"s3://{BUCKET}/models/gone/output/model.tar.gz", "gone"))
    code, said = registry.refused("gone")
    assert (code, f"there is no model in s3://{BUCKET}/models/gone" in said) == (2, True), said
