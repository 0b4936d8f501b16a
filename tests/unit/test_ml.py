"""Models: what they learn, what they say about it, and what they do with what they never met."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from feature_bank import bank
from feature_sql import LOAN_DEFAULT_FEATURES
from sklearn.metrics import brier_score_loss, roc_auc_score

from bench.ml import oracle
from datagen.profile import load, override
from datagen.schedule import Plan
from ml import train as script
from ml.additive import AdditiveModel, fit
from ml.card import render
from ml.data import read_folder, take, to_columns
from ml.drift import SCORE, index, psi, reference
from ml.errors import ModelError
from ml.metrics import evaluate, fairness
from ml.tasks import DEFAULT
from ml.training import add_months, in_words, reasons, split_by_time, train, version_of

ROOT = Path(__file__).parents[2]
DAYS = 1096


@pytest.fixture(scope="module")
def plan():
    """A small bank with enough defaults to learn from."""
    return Plan(11, 250, override(load(), {"arrears": "4"}))


@pytest.fixture(scope="module")
def table(plan):
    """Its loans at quarters' ends, by another engine than Spark."""
    return bank(plan, DAYS, ["loans", "payments"]).execute(LOAN_DEFAULT_FEATURES).to_arrow_table()


@pytest.fixture(scope="module")
def columns(table):
    return to_columns(table, DEFAULT)


@pytest.fixture(scope="module")
def labelled(columns):
    return take(columns, ~np.isnan(columns[DEFAULT.label]))


@pytest.fixture(scope="module")
def trained(columns):
    return train(columns, DEFAULT, draws=20, seed=3, challenger=False)


# --- learning ----------------------------------------------------------------------------------------


def test_the_model_beats_chance_and_stays_below_what_the_generators_laws_allow(plan, labelled, trained):
    test = take(labelled, trained.split.test)
    known = oracle(plan, test)
    truth = test[DEFAULT.label]
    got, bound = trained.metrics["additive"]["auc"], roc_auc_score(truth, known.laws)
    assert got.low > 0.6
    assert got.value < bound + 0.02
    # The oracle is one: it expects as many defaults as there are, and its probabilities are the best ones.
    assert abs(known.laws.mean() - truth.mean()) < 0.015
    assert brier_score_loss(truth, known.laws) <= trained.metrics["additive"]["brier"].value + 0.002


def test_probabilities_are_calibrated(labelled, trained):
    learned = take(labelled, trained.split.train)
    predicted, truth = trained.model.probability(learned), learned[DEFAULT.label]
    assert abs(predicted.mean() / truth.mean() - 1) < 0.05
    high = predicted >= np.quantile(predicted, 0.9)
    assert abs(predicted[high].mean() / truth[high].mean() - 1) < 0.25


def test_training_knows_nothing_that_was_not_known_before_the_test(labelled):
    split = split_by_time(labelled, DEFAULT, 0.25)
    day = labelled[DEFAULT.date]
    assert add_months(day[split.train], 12).max() <= day[split.test].min()
    assert split.test.mean() >= 0.25
    assert not (split.train & split.test).any()


def test_the_same_data_and_seed_give_the_same_model(labelled, trained):
    again = fit(take(labelled, trained.split.train), DEFAULT, knots=3, seed=3)
    assert again.weights == trained.model.weights


def test_a_model_that_was_written_and_read_predicts_the_same(labelled, trained):
    read = AdditiveModel.from_json(trained.model.to_json())
    assert version_of(read) == trained.version
    assert (read.probability(labelled) == trained.model.probability(labelled)).all()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 99}', '{"format": 1, "curves": [1], "levels": []}']
)
def test_what_is_no_model_is_refused(text):
    with pytest.raises(ModelError):
        AdditiveModel.from_json(text)


def test_too_little_to_learn_from_is_said(labelled):
    with pytest.raises(ModelError, match="too little to learn from"):
        train(take(labelled, np.arange(200)), DEFAULT, draws=0)
    with pytest.raises(ModelError, match="no row whose label is known"):
        train(take(labelled, np.arange(0)), DEFAULT, draws=0)


# --- reasons -----------------------------------------------------------------------------------------


def test_the_parts_of_a_prediction_add_up_to_it(labelled, trained):
    model = trained.model
    scored = model.score(labelled)
    log_odds = model.slope * model.intercept + model.shift + scored.parts.sum(axis=1)
    assert np.allclose(scored.probability, 1 / (1 + np.exp(-log_odds)))
    assert np.allclose(scored.probability, model.probability(labelled))


def test_reasons_name_what_raised_a_prediction_most(labelled, trained):
    worst = int(np.argmax(trained.model.probability(labelled)))
    row = take(labelled, np.array([worst]))
    scored = trained.model.score(row)
    (why,) = reasons(trained.model, row, scored.parts)
    assert [one["adds"] for one in why] == sorted((one["adds"] for one in why), reverse=True)
    assert why[0]["adds"] == round(float(scored.parts.max()), 3) > 0.5
    assert why[0]["feature"] in in_words(why)


# --- what was never met ------------------------------------------------------------------------------


def test_an_unknown_category_counts_as_usual_and_is_reported(labelled, trained):
    row = take(labelled, np.array([0, 1]))
    row["product"] = np.array(["crypto", None], dtype=object)
    scored = trained.model.score(row)
    place = trained.model.features.index("product")
    assert scored.parts[:, place].tolist() == [0.0, 0.0]
    assert scored.unknown == {"product": {"crypto": 1}}
    assert scored.doubtful == [("product",), ()]


def test_a_number_beyond_training_counts_as_the_nearest_and_is_reported(labelled, trained):
    row = take(labelled, np.array([0, 0]))
    highest = trained.model.curves[[c.name for c in trained.model.curves].index("days_past_due")].high
    row["days_past_due"] = np.array([highest, 1e9])
    scored = trained.model.score(row)
    assert scored.probability[0] == scored.probability[1]
    assert scored.outside == {"days_past_due": 1}


def test_a_missing_column_is_named(table):
    with pytest.raises(ModelError, match="lacks the columns credit_score"):
        to_columns(table.drop_columns(["credit_score"]), DEFAULT)


# --- metrics, drift, fairness ------------------------------------------------------------------------


def test_intervals_hold_the_estimate_and_groups_are_drawn_whole():
    random = np.random.default_rng(1)
    truth = (random.random(400) < 0.3).astype(float)
    predicted = np.clip(truth * 0.3 + random.random(400) * 0.7, 0, 1)
    single = evaluate(truth, predicted, np.arange(400).astype(object), draws=200)
    for one in single.values():
        assert one.low <= one.value <= one.high
    # The same rows four times over are no new knowledge: as groups, their interval stays as wide.
    four = [np.tile(values, 4) for values in (truth, predicted, np.arange(400).astype(object))]
    grouped = evaluate(*four, draws=200)["auc"]
    alone = evaluate(four[0], four[1], np.arange(1600).astype(object), draws=200)["auc"]
    width = single["auc"].high - single["auc"].low
    assert abs((grouped.high - grouped.low) / width - 1) < 0.25
    assert (alone.high - alone.low) / width < 0.7


def test_the_stability_index_is_nothing_for_the_same_data_and_grows_with_change(labelled, trained):
    predicted = trained.model.probability(labelled)
    then = reference(labelled, predicted, DEFAULT)
    same = psi(labelled, predicted, then)
    assert max(same.values()) < 1e-9
    moved = labelled | {
        "credit_score": labelled["credit_score"] - 150,
        "product": np.full(len(predicted), "x", object),
    }
    now = psi(moved, predicted, then)
    assert min(now["credit_score"], now["product"]) > 0.2
    assert now[SCORE] < 1e-9
    assert index(np.array([1.0, 0.0]), np.array([0.0, 1.0])) < 20, "empty bins stay finite"


def test_fairness_counts_by_group():
    truth = np.array([1, 0, 1, 0, 0, 0], dtype=float)
    predicted = np.array([0.9, 0.9, 0.1, 0.1, 0.1, 0.1])
    first, second, third = fairness(truth, predicted, np.array(["a", "a", "b", "b", "b", None], object), 0.5)
    assert (first.name, first.flagged, first.missed, first.false_alarms) == ("a", 1.0, 0.0, 1.0)
    assert (second.flagged, second.missed, second.ratio, second.auc) == (0.0, 1.0, 1.0, None)
    assert (third.name, third.rows, third.missed) == ("unknown", 1, None)


def test_the_card_is_whole_and_needs_no_network(trained):
    html = render(trained)
    assert trained.version in html
    assert html.count("<svg") >= 8
    for foreign in ("http://", "https://", "<script", "nan", "src="):
        assert foreign not in html, foreign


# --- as SageMaker runs it ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def job(table, tmp_path_factory):
    """A training job: folders and variables as SageMaker's scikit-learn image gives them."""
    folder = tmp_path_factory.mktemp("opt_ml")
    channel = folder / "input" / "data" / "training"
    channel.mkdir(parents=True)
    half = table.num_rows // 2  # as Athena unloads it: several files without ending, and a folder of its own
    for name, part in (("0001_a", table.slice(0, half)), ("0002_b", table.slice(half))):
        pq.write_table(part, channel / name)
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    environment |= {
        "SM_CHANNEL_TRAINING": str(channel),
        "SM_MODEL_DIR": str(folder / "model"),
        "SM_OUTPUT_DATA_DIR": str(folder / "output" / "data"),
        "SM_NUM_CPUS": "1",
    }
    done = subprocess.run(
        [sys.executable, ROOT / "ml" / "train.py", "--model", "default", "--draws", "5", "--seed", "3",
         "--challenger", "0"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_training_job_gives_the_model_that_the_laptop_gives(job, trained):
    folder, log = job
    model = script.model_fn(str(folder / "model"))
    assert np.allclose(model.weights, trained.model.weights)
    assert f"version={version_of(model)};" in log
    assert f"test_auc={trained.metrics['additive']['auc'].value:.6f};" in log
    assert (folder / "output" / "data" / "card.html").is_file()
    assert json.loads((folder / "model" / "metrics.json").read_text())["model"] == "default"


def test_a_model_serves_itself_from_the_code_that_it_brings(job, table):
    folder, _ = job
    rows = table.slice(0, 2).select([*DEFAULT.features, "loan_id"]).to_pylist()
    plain = [{name: _json(value) for name, value in row.items()} for row in rows]
    plain[1]["product"] = "crypto"
    serve = (
        "import importlib.util as u, sys; model, clone = sys.argv[1:]; "
        "sys.path = [p for p in sys.path if p != clone]; "
        "s = u.spec_from_file_location('x', model + '/code/inference.py'); "
        "t = u.module_from_spec(s); s.loader.exec_module(t); m = t.model_fn(model); "
        "r = t.input_fn(sys.stdin.read(), 'application/json'); "
        "print(t.output_fn(t.predict_fn(r, m), 'application/json')); print(sys.modules['ml'].__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", serve, folder / "model", ROOT],
        input=json.dumps(plain), cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer, where = done.stdout.splitlines()
    first, second = json.loads(answer)
    assert 0 < first["probability"] < 1
    assert (first["unknown"], second["unknown"]) == ([], ["product"])
    assert where.startswith(str(folder)), "the code that the model brings, not that of the clone"


def test_a_training_job_without_data_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SM_CHANNEL_TRAINING", str(tmp_path))
    monkeypatch.setenv("SM_MODEL_DIR", str(tmp_path / "model"))
    assert script.main(["--model", "default"]) == 1
    assert "there is no file" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()


def test_the_code_runs_on_the_pythons_of_sagemakers_image():
    for file in sorted((ROOT / "ml").glob("*.py")):
        text = file.read_text(encoding="utf-8")
        ast.parse(text, feature_version=(3, 9))
        assert "strict=" not in text, f"{file.name}: zip knows no strict before Python 3.10"


def test_what_terraform_selects_for_training_is_what_the_model_needs():
    variables = (ROOT / "terraform" / "modules" / "sagemaker" / "variables.tf").read_text(encoding="utf-8")
    query = re.search(r"<<-SQL\n(.*?)\n\s*SQL\n", variables, flags=re.DOTALL)[1]
    selected = re.search(r"SELECT(.*?)FROM loan_default_features", query, flags=re.DOTALL)[1]
    assert [name.strip() for name in selected.split(",")] == list(DEFAULT.columns)


def test_requests_that_lack_features_are_refused(job):
    model = script.model_fn(str(job[0] / "model"))
    for body in ("[]", "{}", "[1]"):
        with pytest.raises(ModelError):
            script.input_fn(body, "application/json")
    with pytest.raises(ModelError, match="rows lack"):
        script.predict_fn([{"product": "auto"}], model)


def test_folders_of_csv_are_read_as_well(table, tmp_path):
    import pyarrow.csv

    pyarrow.csv.write_csv(table, tmp_path / "features.csv")
    again = to_columns(read_folder(tmp_path), DEFAULT)
    whole = to_columns(table, DEFAULT)
    for name, values in whole.items():
        if values.dtype == np.float64:
            assert np.allclose(values, again[name], equal_nan=True), name
        else:
            assert (values == again[name]).all(), name


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "part-0").write_bytes(b"not parquet")
    with pytest.raises(ModelError, match="cannot be read"):
        read_folder(tmp_path)


def _json(value):
    return float(value) if isinstance(value, int | float) or hasattr(value, "quantize") else value
