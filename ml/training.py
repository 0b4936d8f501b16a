"""Train a task's model: split by time, baselines first, then the model, its evaluation and its artefacts."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.ensemble import HistGradientBoostingClassifier

from ml.additive import AdditiveModel, fit
from ml.data import Columns, Floats, codes, length, levels, take
from ml.drift import psi, reference
from ml.errors import ModelError
from ml.metrics import Curves, Estimate, Segment, curves, evaluate, fairness
from ml.tasks import Task

LEAST_EVENTS = 30
"""Events that training and test need each; with fewer, no figure would mean anything."""
Days = npt.NDArray[np.datetime64]


@dataclass(frozen=True)
class Split:
    """Rows of training and test; everything in training was known before the test begins.

    Attributes:
        train: Truth per row.
        test: Truth per row.
        first_test_day: First day of the test.
        last_train_day: Last day of training.
    """

    train: npt.NDArray[np.bool_]
    test: npt.NDArray[np.bool_]
    first_test_day: str
    last_train_day: str


@dataclass(frozen=True)
class Trained:
    """A model and all that there is to say about it.

    Attributes:
        task: What it predicts.
        model: The model.
        version: Name and checksum of the model; the same data and options give the same.
        split: How rows were divided.
        metrics: Metrics on the test by candidate: ``prevalence``, ``logistic``, ``additive`` (the model) and
            ``boosting``, a challenger that is not kept.
        curves: Curves on the test.
        fairness: Treatment of groups on the test, by column.
        threshold: Prediction from which on a row counts as flagged.
        drift: Stability index of features and prediction from training to test.
        importance: Mean size of each feature's part of the log-odds, on the test.
    """

    task: Task
    model: AdditiveModel
    version: str
    split: Split
    metrics: dict[str, dict[str, Estimate]]
    curves: Curves
    fairness: dict[str, list[Segment]]
    threshold: float
    drift: dict[str, float]
    importance: dict[str, float]

    def report(self) -> dict[str, Any]:
        """Figures as plain values, for JSON."""
        return {
            "model": self.task.name,
            "version": self.version,
            "training": self.model.training,
            "metrics": {
                name: {metric: asdict(estimate) for metric, estimate in found.items()}
                for name, found in self.metrics.items()
            },
            "threshold": self.threshold,
            "fairness": {
                name: [asdict(segment) for segment in found] for name, found in self.fairness.items()
            },
            "drift": self.drift,
            "importance": self.importance,
        }


def train(
    columns: Columns,
    task: Task,
    *,
    knots: int = 3,
    test_share: float = 0.25,
    draws: int = 200,
    seed: int = 0,
    challenger: bool = True,
) -> Trained:
    """Train and evaluate a model.

    Args:
        columns: Rows with features and label.
        task: What is predicted.
        knots: Bends of each curve.
        test_share: Least share of labelled rows that the test takes, the newest days.
        draws: Draws of the bootstrap for intervals.
        seed: Seed of all that is drawn.
        challenger: Whether gradient boosting is trained as well, to see what an additive model misses.

    Raises:
        ModelError: There is too little to learn from.
    """
    labelled = take(columns, ~np.isnan(columns[task.label]))
    split = split_by_time(labelled, task, test_share)
    learned, unseen = take(labelled, split.train), take(labelled, split.test)
    model = fit(learned, task, knots=knots, seed=seed)
    linear = fit(learned, task, knots=0, seed=seed)
    truth, events = unseen[task.label], float(learned[task.label].mean())
    predicted = model.probability(unseen)
    candidates = {
        "prevalence": np.full(len(truth), events),
        "logistic": linear.probability(unseen),
        "additive": predicted,
    }
    if challenger:
        candidates["boosting"] = _boosted(learned, unseen, task, seed)
    metrics = {
        name: evaluate(truth, found, unseen[task.group], draws=draws, seed=seed)
        for name, found in candidates.items()
    }
    in_training = model.probability(learned)
    threshold = float(np.quantile(in_training, 1 - task.flagged_share))
    model = replace(
        model,
        training={
            "rows": length(learned),
            "events": int(learned[task.label].sum()),
            "first_day": str(learned[task.date].min()),
            "last_day": split.last_train_day,
            "test_rows": length(unseen),
            "test_events": int(truth.sum()),
            "test_first_day": split.first_test_day,
            "test_last_day": str(unseen[task.date].max()),
            "knots": knots,
            "seed": seed,
            "scikit_learn": sklearn.__version__,
            "python": platform.python_version(),
        },
        reference=reference(learned, in_training, task),
    )
    scored = model.score(unseen)
    size = np.abs(scored.parts).mean(axis=0)
    return Trained(
        task=task,
        model=model,
        version=version_of(model),
        split=split,
        metrics=metrics,
        curves=curves(truth, predicted),
        fairness={name: fairness(truth, predicted, unseen[name], threshold) for name in task.segments},
        threshold=threshold,
        drift=psi(unseen, predicted, model.reference),
        importance=dict(sorted(zip(model.features, map(float, size)), key=lambda pair: -pair[1])),
    )


def version_of(model: AdditiveModel) -> str:
    """Name and checksum of a model."""
    return f"{model.task}-{hashlib.sha256(model.to_json().encode()).hexdigest()[:12]}"


def split_by_time(columns: Columns, task: Task, test_share: float) -> Split:
    """Test on the newest days, and train on what was known, label and all, before the first of them.

    Raises:
        ModelError: One of the two would have too few events.
    """
    day, truth = columns[task.date], columns[task.label]
    if not len(day):
        raise ModelError("there is no row whose label is known", _more(task))
    days = np.unique(day)
    newest = [int((day >= one).sum()) for one in days]
    enough = [one for one, rows in zip(days, newest) if rows >= test_share * len(day)]
    first = enough[-1]
    known_by = add_months(day, task.horizon_months) + np.timedelta64(task.gap_days, "D")
    train, test = (known_by < first) if task.gap_days else (known_by <= first), day >= first
    for name, rows in (("training", train), ("the test", test)):
        events, others = int((truth[rows] == 1).sum()), int((truth[rows] == 0).sum())
        if min(events, others) < LEAST_EVENTS:
            raise ModelError(
                f"there is too little to learn from: {name} would have {events} events in "
                f"{events + others} rows, and at least {LEAST_EVENTS} are needed, and as many rows without",
                _more(task),
            )
    return Split(train, test, str(first), str(day[train].max()))


def add_months(days: Days, months: int) -> Days:
    """Days so many months later; the last of the month where there is no such day.

    >>> str(add_months(np.array(["2024-02-29"], "datetime64[D]"), 12)[0])
    '2025-02-28'
    """
    month = days.astype("datetime64[M]")
    later = month + np.timedelta64(months, "M")
    last = (later + np.timedelta64(1, "M")).astype("datetime64[D]") - np.timedelta64(1, "D")
    found: Days = np.minimum(later.astype("datetime64[D]") + (days - month.astype("datetime64[D]")), last)
    return found


def _more(task: Task) -> str:
    known = f"; a label is known after {task.horizon_months} months" if task.horizon_months else ""
    return f"train on more customers, or on more days{known}"


def _boosted(learned: Columns, unseen: Columns, task: Task, seed: int) -> Floats:
    """What gradient boosting, which sees all interactions, predicts from the same."""
    known = {name: levels(learned[name])[:250] for name in task.categories}

    def matrix(columns: Columns) -> Floats:
        numbers = [columns[name] for name in task.numbers]
        coded = [codes(columns[name], known[name]).astype(np.float64) for name in task.categories]
        return np.column_stack([*numbers, *[np.where(code < 0, np.nan, code) for code in coded]])

    mask = [False] * len(task.numbers) + [True] * len(task.categories)
    model = HistGradientBoostingClassifier(
        categorical_features=mask, early_stopping=False, max_iter=100, learning_rate=0.08, max_leaf_nodes=15,
        l2_regularization=1.0, random_state=seed,
    )  # fmt: skip
    found: Floats = model.fit(matrix(learned), learned[task.label]).predict_proba(matrix(unseen))[:, 1]
    return found


def reasons(
    model: AdditiveModel, columns: Columns, parts: Floats, *, most: int = 3
) -> list[list[dict[str, Any]]]:
    """What raised each prediction above what is usual: features, values and parts, the largest first."""
    order = np.argsort(-parts, axis=1)[:, :most]
    found = []
    for row, places in enumerate(order.tolist()):
        named = []
        for place in places:
            if parts[row, place] > 0.01:
                value = columns[model.features[place]][row]
                named.append(
                    {
                        "feature": model.features[place],
                        "value": _plain(value),
                        "adds": round(float(parts[row, place]), 3),
                    }
                )
        found.append(named)
    return found


def in_words(why: Sequence[dict[str, Any]]) -> str:
    """Reasons in one line.

    >>> in_words([{"feature": "days_past_due", "value": 45.0, "adds": 1.25}])
    'days_past_due 45 (+1.25)'
    """
    return "; ".join(f"{one['feature']} {_shown(one['value'])} (+{one['adds']:g})" for one in why)


def _plain(value: Any) -> float | str | None:  # noqa: ANN401 - a number or a text
    if value is None or isinstance(value, str):
        return value
    return None if np.isnan(value) else round(float(value), 6)


def _shown(value: float | str | None) -> str:
    if value is None:
        return "missing"
    return value if isinstance(value, str) else f"{value:g}"


def metric_lines(trained: Trained) -> list[str]:
    """Metrics as SageMaker's metric definitions read them from the log: ``name=value;``."""
    found = trained.metrics["additive"]
    return [f"test_{re.sub('[^a-z_]', '', name)}={estimate.value:.6f};" for name, estimate in found.items()]


def artefacts(trained: Trained, card: str) -> dict[str, bytes]:
    """Files of a training by name."""
    return {
        "model.json": trained.model.to_json().encode(),
        "metrics.json": json.dumps(trained.report(), indent=1).encode(),
        "card.html": card.encode(),
    }
