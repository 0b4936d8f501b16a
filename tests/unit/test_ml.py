"""Models: what they learn, what they say about it, and what they do with what they never met."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from math import factorial
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from feature_bank import bank
from feature_sql import LOAN_DEFAULT_FEATURES
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from bench.ml import oracle
from datagen.profile import load, override
from datagen.schedule import Plan
from ml import boosting
from ml import train as script
from ml.boosting import BoostedModel
from ml.card import render
from ml.data import read_folder, take, to_columns
from ml.drift import SCORE, index, psi, reference
from ml.errors import ModelError
from ml.kinds import KINDS, fit, read_model
from ml.metrics import CALIBRATION, curves, evaluate, fairness
from ml.model import folds, sigmoid
from ml.scoring import in_words, reasons, version_of
from ml.tasks import DEFAULT
from ml.training import add_months, choose, plainest_of_the_best, split_by_time, train
from pipeline.gold.loan_default_features import COLUMNS as LOAN_COLUMNS

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


@pytest.fixture(scope="module")
def learned(labelled, trained):
    """Rows of training."""
    return take(labelled, trained.split.train)


@pytest.fixture(scope="module")
def models(learned):
    """A model of each kind."""
    return {kind: fit(kind, learned, DEFAULT, knots=3, seed=3).model for kind in KINDS}


@pytest.fixture(params=KINDS)
def model(models, request):
    return models[request.param]


# --- learning ----------------------------------------------------------------------------------------


def test_the_model_beats_chance_and_stays_below_what_the_generators_laws_allow(plan, labelled, trained):
    test = take(labelled, trained.split.test)
    known = oracle(plan, test)
    truth = test[DEFAULT.label]
    metrics = trained.metrics[trained.model.kind]
    got, bound = metrics["auc"], roc_auc_score(truth, known.laws)
    assert got.low > 0.6
    assert got.value < bound + 0.02
    # The oracle is one: it expects as many defaults as there are, and its probabilities are the best ones.
    assert abs(known.laws.mean() - truth.mean()) < 0.015
    assert brier_score_loss(truth, known.laws) <= metrics["brier"].value + 0.002


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_calibrated_for_borrowers_who_were_not_learned_from(learned, kind):
    half = np.array([int(customer[1:]) % 2 == 0 for customer in learned[DEFAULT.group]])
    predicted, truth = np.zeros(len(half)), learned[DEFAULT.label]
    for known in (half, ~half):
        model = fit(kind, take(learned, known), DEFAULT, knots=3, seed=3).model
        predicted[~known] = model.probability(take(learned, ~known))
    assert abs(predicted.mean() / truth.mean() - 1) < 0.15
    high = predicted >= np.median(predicted)
    assert abs(predicted[high].mean() / truth[high].mean() - 1) < 0.35


def test_training_knows_nothing_that_was_not_known_before_the_test(labelled):
    split = split_by_time(labelled, DEFAULT, 0.25)
    day = labelled[DEFAULT.date]
    assert add_months(day[split.train], 12).max() <= day[split.test].min()
    assert split.test.mean() >= 0.25
    assert not (split.train & split.test).any()


def test_a_borrowers_loans_are_never_on_both_sides_of_a_fold_and_the_borrower_is_no_feature(learned, model):
    loans, borrowers = learned["loan_id"], learned["customer_id"]
    assert len(set(borrowers)) < len(set(loans)), "some have several"
    for known, predicted in folds(learned[DEFAULT.label], learned[DEFAULT.group]):
        assert not set(borrowers[known]) & set(borrowers[predicted])
    renamed = learned | {"customer_id": borrowers[::-1]}
    assert (model.probability(renamed) == model.probability(learned)).all()


def test_no_feature_is_an_amount_whose_worth_depends_on_the_currency():
    amounts = {column.name for column in LOAN_COLUMNS if column.type.endswith(",2)")}
    assert {"annual_income", "outstanding_principal"} <= amounts
    assert not amounts & set(DEFAULT.features)


def test_intervals_draw_all_loans_of_a_borrower_together(labelled, trained):
    test = take(labelled, trained.split.test)
    predicted = trained.model.probability(test)
    by_borrower = evaluate(test[DEFAULT.label], predicted, test["customer_id"], draws=20, seed=3)
    assert trained.metrics[trained.model.kind] == by_borrower


def test_the_same_data_and_seed_give_the_same_model(learned, model):
    again = fit(model.kind, learned, DEFAULT, knots=3, seed=3).model
    assert again.to_json() == model.to_json()


def test_a_model_that_was_written_and_read_predicts_the_same(labelled, model):
    read = read_model(model.to_json())
    assert version_of(read) == version_of(model)
    assert (read.probability(labelled) == model.probability(labelled)).all()


def test_trees_that_ask_whether_a_value_is_missing_can_be_written_and_read(learned):
    score = np.where(learned[DEFAULT.label] == 1, np.nan, learned["credit_score"])
    model = fit("boosting", learned | {"credit_score": score}, DEFAULT, knots=3, seed=3).model
    column = [number.name for number in model.numbers].index("credit_score")
    splits = [split for tree in model.trees for split in zip(tree.column, tree.threshold, strict=True)]
    assert max(threshold for owner, threshold in splits if owner == column) > 1e300, "such a split"
    read = read_model(model.to_json())
    assert (read.probability(learned) == model.probability(learned)).all()
    assert np.allclose(read.score(learned).probability, model.probability(learned))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 99}',
        '{"format": 3, "kind": "additive", "curves": [1], "levels": []}',
        '{"format": 3, "kind": "oracle", "levels": []}',
    ],
)
def test_what_is_no_model_is_refused(text):
    with pytest.raises(ModelError):
        read_model(text)


def test_a_model_of_features_that_finlake_no_longer_has_is_refused_before_it_scores(models):
    for old in ('"format": 2', '"name": "annual_income"'):
        text = models["logistic"].to_json()
        now = '"format": 3' if "format" in old else '"name": "loan_to_income"'
        assert now in text
        with pytest.raises(ModelError, match="another version of finlake"):
            read_model(text.replace(now, old))


def test_too_little_to_learn_from_is_said(labelled):
    with pytest.raises(ModelError, match="too little to learn from"):
        train(take(labelled, np.arange(200)), DEFAULT, draws=0)
    with pytest.raises(ModelError, match="no row whose label is known"):
        train(take(labelled, np.arange(0)), DEFAULT, draws=0)


# --- the kind of model -------------------------------------------------------------------------------


def test_the_test_has_no_say_in_which_kind_is_chosen_nor_in_what_it_learns(columns, labelled, trained):
    in_test = columns[DEFAULT.date] >= np.datetime64(trained.split.first_test_day)
    turned = columns | {DEFAULT.label: np.where(in_test, 1 - columns[DEFAULT.label], columns[DEFAULT.label])}
    again = train(turned, DEFAULT, draws=0, seed=3, challenger=False)
    assert again.choice == trained.choice
    assert (again.model.intercept, again.model.levels) == (trained.model.intercept, trained.model.levels)
    assert again.metrics[again.model.kind]["auc"].value < 0.5


def test_each_period_is_predicted_from_what_was_known_before_it(labelled):
    whole = choose(labelled, DEFAULT, ["logistic"], knots=3, seed=3)
    assert [last for _, last in whole.periods] == ["2027-09-30", "2027-12-31"]
    # Labels of days later than a year before a period, turned round, leave its figure alone.
    first = np.datetime64(whole.periods[0][0])
    between = (labelled[DEFAULT.date] > add_months(np.array([first]), -12)) & (labelled[DEFAULT.date] < first)
    assert between.any()
    truth = labelled[DEFAULT.label]
    turned = labelled | {DEFAULT.label: np.where(between, 1 - truth, truth)}
    found = choose(turned, DEFAULT, ["logistic"], knots=3, seed=3).found["logistic"]
    assert found[0] == whole.found["logistic"][0]
    assert found[1] != whole.found["logistic"][1], "they are known before the last period"


@pytest.mark.parametrize(
    ("logistic", "boosting", "chosen"),
    [
        ([0.80, 0.82, 0.81], [0.81, 0.81, 0.82], "logistic"),  # within a standard error
        ([0.60, 0.62, 0.61], [0.90, 0.91, 0.88], "boosting"),
        ([0.81, 0.82, 0.83], [0.80, 0.81, 0.82], "logistic"),
        ([0.70], [0.71], "boosting"),  # one period has no standard error
        ([0.70], [0.70], "logistic"),
    ],
)
def test_the_plainest_kind_that_is_about_as_good_as_the_best_is_chosen(logistic, boosting, chosen):
    scores = {"logistic": logistic, "boosting": boosting}
    assert plainest_of_the_best(scores, "auc", [("a", "b")] * len(logistic)).kind == chosen


def test_with_too_little_to_compare_kinds_the_plainest_is_chosen(learned):
    events = np.flatnonzero(learned[DEFAULT.label] == 1)[:20]
    few = take(learned, np.union1d(events, np.flatnonzero(learned[DEFAULT.label] == 0)))
    found = choose(few, DEFAULT, KINDS, knots=3)
    assert (found.kind, found.periods) == ("logistic", [])
    assert "no period" in found.why


# --- reasons -----------------------------------------------------------------------------------------


def test_the_parts_of_a_prediction_add_up_to_it(labelled, model):
    scored = model.score(labelled)
    log_odds = model.slope * model.intercept + model.shift + scored.parts.sum(axis=1)
    assert np.allclose(scored.probability, 1 / (1 + np.exp(-log_odds)))
    assert np.allclose(scored.probability, model.probability(labelled))


def test_parts_of_boosted_trees_are_shapley_values_by_their_definition(labelled, models):
    whole = models["boosting"]
    # Few trees of few features, so that all coalitions can be counted.
    model = replace(whole, trees=whole.trees[:2])
    row = take(labelled, np.array([int(np.argmax(whole.probability(labelled)))]))
    names = list(model.features)
    owners = boosting._owners(model.ranges, model.levels)
    used = sorted({owners[column] for tree in model.trees for column in tree.column if column >= 0})
    assert 3 <= len(used) <= 12
    values = boosting._design(row, model.ranges, model.levels)[0]

    def expected(tree, node, known):
        column = tree.column[node]
        if column < 0:
            return tree.value[node]
        ways = tree.left[node], tree.right[node]
        if owners[column] in known:
            missing = np.isnan(values[column])
            is_left = tree.missing_left[node] if missing else values[column] <= tree.threshold[node]
            return expected(tree, ways[0] if is_left else ways[1], known)
        return sum(tree.cover[way] / tree.cover[node] * expected(tree, way, known) for way in ways)

    def worth(known):
        return sum(expected(tree, 0, known) for tree in model.trees)

    found = model.added(row)[0]
    for player in used:
        others = [other for other in used if other != player]
        fair = 0.0
        for size in range(len(others) + 1):
            weight = factorial(size) * factorial(len(used) - size - 1) / factorial(len(used))
            for known in combinations(others, size):
                fair += weight * (worth({*known, player}) - worth({*known}))
        assert abs(found[player] - fair) < 1e-9, names[player]
    assert not found[[place for place in range(len(names)) if place not in used]].any()


def test_reasons_name_what_raised_a_prediction_most(labelled, model):
    worst = int(np.argmax(model.probability(labelled)))
    row = take(labelled, np.array([worst]))
    scored = model.score(row)
    (why,) = reasons(model, row, scored.parts)
    assert [one["adds"] for one in why] == sorted((one["adds"] for one in why), reverse=True)
    assert why[0]["adds"] == round(float(scored.parts.max()), 3) > 0.3
    assert why[0]["feature"] in in_words(why)


# --- what was never met ------------------------------------------------------------------------------


def test_an_unknown_category_counts_as_usual_and_is_reported(labelled, model):
    row = take(labelled, np.array([0, 1]))
    row["product"] = np.array(["crypto", None], dtype=object)
    scored = model.score(row)
    place = model.features.index("product")
    if isinstance(model, BoostedModel):  # as most of training, so nearly as usual
        assert abs(scored.parts[:, place]).max() < 0.3
    else:
        assert scored.parts[:, place].tolist() == [0.0, 0.0]
    assert scored.unknown == {"product": {"crypto": 1}}
    assert scored.doubtful == [("product",), ()]


SCORE_ALONE = """
import sys
from pathlib import Path

class NotThere:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"duckdb", "jinja2", "scipy", "sklearn", "sqlglot"}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, NotThere())
import pyarrow.parquet as pq
from ml.data import to_columns
from ml.kinds import read_model
from ml.tasks import DEFAULT
from pipeline.scoring import scored
from datetime import UTC, datetime

table = pq.read_table("features.parquet")
columns, now = to_columns(table, DEFAULT, labelled=False), datetime.now(UTC)
for file in sorted(Path().glob("*.json")):
    found, _ = scored(read_model(file.read_text()), columns, table["customer_id"].to_pylist(), now)
    pq.write_table(found, file.with_suffix(".scores"))
"""


def test_scoring_needs_neither_scikit_learn_nor_duckdb(table, models, tmp_path):
    """So a Glue job has all that it takes: Glue brings NumPy and PyArrow."""
    some = table.slice(0, 200)
    pq.write_table(some, tmp_path / "features.parquet")
    for kind, model in models.items():
        (tmp_path / f"{kind}.json").write_text(model.to_json())
    done = subprocess.run(
        [sys.executable, "-c", SCORE_ALONE],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for kind, model in models.items():
        scores = pq.read_table(tmp_path / f"{kind}.scores")
        wanted = model.probability(to_columns(some, DEFAULT, labelled=False))
        assert np.abs(scores["default_probability"].cast("float64").to_numpy() - wanted).max() < 1e-6
        assert set(scores["model_version"].to_pylist()) == {version_of(model)}


def test_what_is_missing_and_never_was_in_training_is_reported(labelled, trained):
    model, rows = trained.model, take(labelled, np.array([0, 1, 2]))
    assert np.isnan(labelled["loan_to_value"]).any(), "of loans without collateral"
    rows["annual_rate"] = np.array([0.05, np.nan, np.nan])
    rows["loan_to_value"] = np.array([np.nan, np.nan, np.nan])
    rows["product"] = np.array(["auto", "auto", None], dtype=object)
    scored = model.score(rows)
    assert scored.unknown == {"annual_rate": {"missing": 2}, "product": {"missing": 1}}
    assert scored.doubtful == [(), ("annual_rate",), ("annual_rate", "product")]
    assert np.isfinite(scored.probability).all()


def test_a_number_beyond_training_counts_as_the_nearest_and_is_reported(labelled, model):
    row = take(labelled, np.array([0, 0]))
    highest = next(number.high for number in model.numbers if number.name == "days_past_due")
    row["days_past_due"] = np.array([highest, 1e9])
    scored = model.score(row)
    assert scored.probability[0] == scored.probability[1]
    assert scored.outside["days_past_due"] == 1


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


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_out_of_fold_do_not_know_the_truth_that_the_model_knows(learned, kind):
    fitted, truth = fit(kind, learned, DEFAULT, knots=3, seed=3), learned[DEFAULT.label]
    out_of_fold, itself = (
        roc_auc_score(truth, predicted)
        for predicted in (fitted.out_of_fold, fitted.model.probability(learned))
    )
    assert 0.6 < out_of_fold < itself
    assert kind != "boosting" or itself - out_of_fold > 0.1, "trees know their own rows by heart"


def test_the_reference_and_the_threshold_of_a_model_are_out_of_fold(learned, trained):
    out_of_fold = fit(trained.model.kind, learned, DEFAULT, knots=3, seed=3).out_of_fold
    assert trained.model.reference == reference(learned, out_of_fold, DEFAULT)
    assert trained.threshold == np.quantile(out_of_fold, 1 - DEFAULT.flagged_share)


def test_rows_that_are_not_drawn_are_predicted_and_calibrated_all_the_same(learned, monkeypatch):
    monkeypatch.setattr("ml.model.MOST_HONEST", 400)
    truth = learned[DEFAULT.label]
    assert (truth == 0).sum() > 800
    for kind in KINDS:
        out_of_fold = fit(kind, learned, DEFAULT, knots=3, seed=3).out_of_fold
        assert abs(out_of_fold.mean() / truth.mean() - 1) < 0.01, kind
        assert roc_auc_score(truth, out_of_fold) > 0.6, kind


def test_calibration_says_by_how_much_predictions_are_wrong():
    random = np.random.default_rng(1)
    log_odds = random.normal(-2, 1.5, 8_000)
    truth = (random.random(8_000) < sigmoid(log_odds)).astype(float)
    group = np.arange(8_000) // 4

    def measured(predicted_log_odds):
        return evaluate(truth, sigmoid(predicted_log_odds), group, draws=40, metrics=CALIBRATION)

    right, extreme, low = measured(log_odds), measured(2 * log_odds), measured(log_odds - 1)
    for name, is_right in (("slope", 1), ("intercept", 0), ("observed_to_expected", 1)):
        assert right[name].low < is_right < right[name].high, name
        assert right[name].low <= right[name].value <= right[name].high
    assert abs(extreme["slope"].value - right["slope"].value / 2) < 1e-3
    assert abs(low["intercept"].value - right["intercept"].value - 1) < 1e-6
    assert low["observed_to_expected"].low > 1.5
    far = measured(log_odds - 9)
    assert abs(far["intercept"].value - right["intercept"].value - 9) < 1e-6
    line = LogisticRegression(C=1e9, tol=1e-8).fit(2 * log_odds[:, None], truth)
    assert abs(extreme["slope"].value - line.coef_[0][0]) < 1e-4
    for tenth in curves(truth, sigmoid(log_odds), group, draws=100).calibration:
        assert tenth.events.low < tenth.events.value < tenth.events.high
        assert abs(tenth.events.value - tenth.predicted) < 2 * (tenth.events.high - tenth.events.low)


def test_fairness_counts_by_group():
    truth = np.array([1, 0, 1, 0, 0, 0], dtype=float)
    predicted = np.array([0.9, 0.9, 0.1, 0.1, 0.1, 0.1])
    first, second, third = fairness(truth, predicted, np.array(["a", "a", "b", "b", "b", None], object), 0.5)
    assert (first.name, first.flagged, first.missed, first.false_alarms) == ("a", 1.0, 0.0, 1.0)
    assert (second.flagged, second.missed, second.ratio, second.auc) == (0.0, 1.0, 1.0, None)
    assert (third.name, third.rows, third.missed) == ("unknown", 1, None)


@pytest.mark.parametrize("kind", KINDS)
def test_the_card_is_whole_and_needs_no_network(labelled, trained, models, kind):
    shapes = {number.name: [(0.0, -1.0), (1.0, 1.0)] for number in models[kind].numbers}
    training, metrics = trained.model.training, trained.metrics | {kind: trained.metrics["logistic"]}
    calibration = trained.calibration | {kind: trained.calibration["logistic"]}
    model = replace(models[kind], training=training)
    shown = replace(trained, model=model, metrics=metrics, calibration=calibration, shapes=shapes)
    html = render(shown)
    assert trained.version in html
    assert html.count("(this model)") == 2
    assert html.count('class="bar"') == 10, "an interval for each tenth"
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
    assert model.kind == trained.model.kind
    assert np.allclose(model.weights, trained.model.weights)
    assert f"version={version_of(model)};" in log
    assert f"test_auc={trained.metrics[model.kind]['auc'].value:.6f};" in log
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
