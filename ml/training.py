"""Train a task's model: split by time, choose a kind of model, evaluate it, and write it down.

The kind is chosen on the training period alone: each candidate learns from what was known before some later
days of it, and predicts these. The test, which comes after all of it, has no say.
"""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn

from ml.data import Columns, Floats, length, take
from ml.drift import psi, reference
from ml.errors import ModelError
from ml.kinds import KINDS, fit
from ml.metrics import CALIBRATION, METRICS, Curves, Estimate, Segment, curves, evaluate, fairness
from ml.model import Model
from ml.scoring import version_of
from ml.tasks import Task

LEAST_EVENTS = 30
"""Events that training and test need each; with fewer, no figure would mean anything."""
PERIODS = 3
"""Periods at the end of training on which kinds of models are compared."""
PERIOD_SHARE = 0.15
"""Least share of training's rows in each of them."""
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
class Choice:
    """Why a kind of model was chosen.

    Attributes:
        kind: The kind.
        criterion: Metric by which kinds were compared.
        periods: First and last day of each period that was predicted; none when there was too little data.
        found: The metric in each period, by kind.
        why: The reason, in a sentence.
    """

    kind: str
    criterion: str
    periods: list[tuple[str, str]]
    found: dict[str, list[float]]
    why: str


@dataclass(frozen=True)
class Trained:
    """A model and all that there is to say about it.

    Attributes:
        task: What it predicts.
        model: The model.
        version: Name and checksum of the model; the same data and options give the same.
        split: How rows were divided.
        choice: Why it is of its kind.
        metrics: Metrics on the test: of ``prevalence``, and of each kind of model.
        calibration: Calibration on the test, of each kind of model, see :data:`ml.metrics.CALIBRATION`.
        curves: Curves on the test.
        fairness: Treatment of groups on the test, by column.
        threshold: Prediction from which on a row counts as flagged.
        drift: Stability index of features and prediction from training to test.
        importance: Mean size of each feature's part of the log-odds, on the test.
        shapes: What each number adds to the log-odds on the test: means of equally large groups of rows, as
            (value, part).
    """

    task: Task
    model: Model
    version: str
    split: Split
    choice: Choice
    metrics: dict[str, dict[str, Estimate]]
    calibration: dict[str, dict[str, Estimate]]
    curves: Curves
    fairness: dict[str, list[Segment]]
    threshold: float
    drift: dict[str, float]
    importance: dict[str, float]
    shapes: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def report(self) -> dict[str, Any]:
        """Figures as plain values, for JSON."""
        return {
            "model": self.task.name,
            "version": self.version,
            "kind": self.model.kind,
            "choice": asdict(self.choice),
            "training": self.model.training,
            "metrics": {
                name: {metric: asdict(estimate) for metric, estimate in found.items()}
                for name, found in self.metrics.items()
            },
            "calibration": {
                name: {metric: asdict(estimate) for metric, estimate in found.items()}
                for name, found in self.calibration.items()
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
        challenger: Whether gradient boosting is a candidate as well.

    Raises:
        ModelError: There is too little to learn from.
    """
    labelled = take(columns, ~np.isnan(columns[task.label]))
    split = split_by_time(labelled, task, test_share)
    learned, unseen = take(labelled, split.train), take(labelled, split.test)
    kinds = [kind for kind in KINDS if challenger or kind != "boosting"]
    choice = choose(learned, task, kinds, knots=knots, seed=seed)
    fitted = {kind: fit(kind, learned, task, knots=knots, seed=seed) for kind in kinds}
    model, out_of_fold = fitted[choice.kind].model, fitted[choice.kind].out_of_fold
    truth, events = unseen[task.label], float(learned[task.label].mean())
    found = {"prevalence": np.full(len(truth), events)}
    found |= {kind: candidate.model.probability(unseen) for kind, candidate in fitted.items()}
    predicted = found[choice.kind]
    metrics = {
        name: evaluate(truth, probability, unseen[task.group], draws=draws, seed=seed)
        for name, probability in found.items()
    }
    calibration = {
        kind: evaluate(truth, found[kind], unseen[task.group], draws=draws, seed=seed, metrics=CALIBRATION)
        for kind in kinds
    }
    threshold = float(np.quantile(out_of_fold, 1 - task.flagged_share))
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
        reference=reference(learned, out_of_fold, task),
    )
    scored = model.score(unseen)
    size = np.abs(scored.parts).mean(axis=0)
    return Trained(
        task=task,
        model=model,
        version=version_of(model),
        split=split,
        choice=choice,
        metrics=metrics,
        calibration=calibration,
        curves=curves(truth, predicted, unseen[task.group], draws=draws, seed=seed),
        fairness={name: fairness(truth, predicted, unseen[name], threshold) for name in task.segments},
        threshold=threshold,
        drift=psi(unseen, predicted, model.reference),
        importance=dict(sorted(zip(model.features, map(float, size)), key=lambda pair: -pair[1])),
        shapes={
            number.name: _shape(unseen[number.name], scored.parts[:, place])
            for place, number in enumerate(model.numbers)
        },
    )


def choose(columns: Columns, task: Task, kinds: Sequence[str], *, knots: int, seed: int = 0) -> Choice:
    """Choose a kind of model by time-based cross-validation.

    Each of the last ``PERIODS`` periods is predicted by models that learned from what was known, label and
    all, before its first day. The plainest kind wins that is not worse than the best by more than a standard
    error of the difference over the periods (Breiman et al., Classification and Regression Trees, 1984).

    Args:
        columns: Rows of training, all labels known.
        task: What is predicted; its ``criterion`` is the metric.
        kinds: Candidates, the plainest first.
        knots: Bends of each curve of an additive model.
        seed: Seed of all that is drawn.
    """
    measure, truth, day = METRICS[task.criterion], columns[task.label], columns[task.date]
    periods: list[tuple[str, str]] = []
    scores: dict[str, list[float]] = {kind: [] for kind in kinds}
    for first, last in _periods(day):
        train, test = known_before(day, first, task), (day >= first) & (day <= last)
        if min(_outcomes(truth[train])) < LEAST_EVENTS or min(_outcomes(truth[test])) < LEAST_EVENTS:
            continue
        learned, later = take(columns, train), take(columns, test)
        periods.append((str(first), str(last)))
        for kind in kinds:
            predicted = fit(kind, learned, task, knots=knots, seed=seed).model.probability(later)
            scores[kind].append(measure(truth[test], predicted, np.ones(len(predicted))))
    if not periods:
        why = f"the plainest, as no period of training has {LEAST_EVENTS} events before it and in it"
        return Choice(kinds[0], task.criterion, periods, scores, why)
    return plainest_of_the_best(scores, task.criterion, periods)


def plainest_of_the_best(
    scores: Mapping[str, Sequence[float]], criterion: str, periods: Sequence[tuple[str, str]]
) -> Choice:
    """The plainest kind that is not worse than the best by more than a standard error of the difference.

    Args:
        scores: A metric, of which more is better, by kind and period; the plainest kind first.
        criterion: Its name.
        periods: First and last days of the periods.
    """
    found = {kind: [float(value) for value in values] for kind, values in scores.items()}
    best = max(found, key=lambda kind: np.mean(found[kind]))
    for kind, values in found.items():
        worse = np.array(found[best]) - np.array(values)
        error = float(np.std(worse, ddof=1) / np.sqrt(len(worse))) if len(worse) > 1 else 0.0
        if worse.mean() <= error:
            chosen = kind
            break
    if chosen == next(iter(found)) == best:
        why = "the best, and the plainest"
    elif chosen == best:
        why = "the best, and no plainer one comes within a standard error of it"
    else:
        why = f"the plainest within a standard error of the best, {best}"
    return Choice(chosen, criterion, list(periods), found, why)


def _periods(day: Days) -> list[tuple[np.datetime64, np.datetime64]]:
    """First and last days of the last periods, the oldest first."""
    days, counts = np.unique(day, return_counts=True)
    found: list[tuple[np.datetime64, np.datetime64]] = []
    last, rows = len(days) - 1, 0
    for place in range(len(days) - 1, 0, -1):
        rows += counts[place]
        if rows >= PERIOD_SHARE * len(day) and len(found) < PERIODS:
            found.append((days[place], days[last]))
            last, rows = place - 1, 0
    return found[::-1]


def _outcomes(truth: Floats) -> tuple[int, int]:
    """Rows with the event, and without."""
    return int((truth == 1).sum()), int((truth == 0).sum())


def _shape(values: Floats, parts: Floats, groups: int = 24) -> list[tuple[float, float]]:
    """Means of values and parts in groups of rows, ascending; the same value is in one group only."""
    there = np.flatnonzero(~np.isnan(values))
    if not len(there):
        return []
    edges = np.unique(np.quantile(values[there], np.arange(1, groups) / groups))
    group = np.searchsorted(edges, values[there], side="left")
    counts = np.bincount(group)
    means = [np.bincount(group, column[there])[counts > 0] / counts[counts > 0] for column in (values, parts)]
    return list(zip(*(mean.tolist() for mean in means)))


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
    train, test = known_before(day, first, task), day >= first
    for name, rows in (("training", train), ("the test", test)):
        events, others = _outcomes(truth[rows])
        if min(events, others) < LEAST_EVENTS:
            raise ModelError(
                f"there is too little to learn from: {name} would have {events} events in "
                f"{events + others} rows, and at least {LEAST_EVENTS} are needed, and as many rows without",
                _more(task),
            )
    return Split(train, test, str(first), str(day[train].max()))


def known_before(day: Days, first: np.datetime64, task: Task) -> npt.NDArray[np.bool_]:
    """Which rows, of these days, were known, label and all, before a day began."""
    known_by = add_months(day, task.horizon_months) + np.timedelta64(task.gap_days, "D")
    return (known_by < first) if task.gap_days else (known_by <= first)


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


def metric_lines(trained: Trained) -> list[str]:
    """Metrics as SageMaker's metric definitions read them from the log: ``name=value;``."""
    found = trained.metrics[trained.model.kind]
    return [f"test_{re.sub('[^a-z_]', '', name)}={estimate.value:.6f};" for name, estimate in found.items()]


def artefacts(trained: Trained, card: str) -> dict[str, bytes]:
    """Files of a training by name."""
    return {
        "model.json": trained.model.to_json().encode(),
        "metrics.json": json.dumps(trained.report(), indent=1).encode(),
        "card.html": card.encode(),
    }
