"""An additive logistic model: each feature adds a part to the log-odds, so each prediction has its reasons.

A number enters as a piecewise linear curve (a linear spline with knots at quantiles; Hastie and Tibshirani,
Generalized Additive Models, 1990), a category as one part per value. All parts are centred on the training
data, so a part of zero is what is usual there. The weights are those of a logistic regression with a
quadratic penalty, whose strength cross-validation chooses; the log-odds are calibrated by a straight line
on predictions out of fold (Platt, Probabilistic outputs for support vector machines, 1999).

Stored as JSON: numbers and names only, so it can be read by any version, and reading it runs nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import GroupKFold

from ml.data import Columns, Floats, codes, length, levels, present
from ml.errors import ModelError
from ml.tasks import TASKS, Task

FORMAT = 1
FOLDS = 4
PENALTIES = (0.0003, 0.003, 0.03)
"""Inverse strengths of the penalty among which cross-validation chooses, the strongest first."""
LEAST_ROWS = 20
"""Rows that a category's value needs to get a part of its own."""
MOST_HONEST = 150_000
"""Rows without the event that are learned from; of more, some are drawn and stand for all by weight."""
_LIMIT = 30.0


@dataclass(frozen=True)
class Curve:
    """How a number becomes columns.

    Attributes:
        name: Feature.
        low: Least value seen in training; below it the curve goes on flat.
        high: Greatest value seen in training.
        is_log: Whether ``log(1 + value)`` is used.
        knots: Where the curve bends, after the logarithm.
        mean: Means of the columns in training: the value, one per knot, and whether it is missing.
        spread: Their standard deviations.
        has_missing: Whether values were missing in training.
    """

    name: str
    low: float
    high: float
    is_log: bool
    knots: tuple[float, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    has_missing: bool

    def design(self, values: Floats) -> Floats:
        """Columns of some values; a missing value is as usual in all but the last one."""
        columns: Floats = (self.raw(values) - np.array(self.mean)) / np.array(self.spread)
        columns[np.isnan(values), :-1] = 0.0
        if not self.has_missing:
            columns[:, -1] = 0.0
        return columns

    def raw(self, values: Floats) -> Floats:
        """The same before they are centred."""
        inside = np.clip(values, self.low, self.high)
        inside = np.log1p(np.maximum(inside, 0.0)) if self.is_log else inside
        bends = [np.maximum(inside - knot, 0.0) for knot in self.knots]
        return np.column_stack([inside, *bends, np.isnan(values).astype(np.float64)])


@dataclass(frozen=True)
class Levels:
    """How a category becomes columns.

    Attributes:
        name: Feature.
        known: All values seen in training.
        used: Those with a column of their own; all others are as usual.
        mean: Means of the columns in training.
    """

    name: str
    known: tuple[str, ...]
    used: tuple[str, ...]
    mean: tuple[float, ...]

    def design(self, values: npt.NDArray[Any]) -> Floats:
        """Columns of some values; a value without one is as usual."""
        code = codes(values, self.used)
        columns = np.zeros((len(values), len(self.used)))
        row = np.flatnonzero(code >= 0)
        columns[row] = -np.array(self.mean)
        columns[row, code[row]] += 1.0
        return columns


@dataclass(frozen=True)
class Scored:
    """Predictions for some rows.

    Attributes:
        probability: Probability of the event.
        parts: What each feature adds to the log-odds; one column per feature.
        unknown: For each category with values that training never met: how often each was there. They count
            as usual.
        outside: For each number with values beyond those of training: how many. They count as the nearest
            one there.
        doubtful: For each row, categories with an unknown value.
    """

    probability: Floats
    parts: Floats
    unknown: dict[str, dict[str, int]]
    outside: dict[str, int]
    doubtful: list[tuple[str, ...]]


@dataclass(frozen=True)
class AdditiveModel:
    """A fitted model.

    Attributes:
        task: Name of its task.
        curves: Numbers.
        levels: Categories.
        weights: Weights of all columns, in order.
        intercept: Log-odds of a row that is as usual in everything.
        slope: Factor of calibration on the log-odds.
        shift: What calibration adds to them.
        penalty: Inverse strength of the penalty.
        training: What it was trained on: rows, events, days.
        reference: Distribution of features and predictions in training, see :mod:`ml.drift`.
    """

    task: str
    curves: tuple[Curve, ...]
    levels: tuple[Levels, ...]
    weights: tuple[float, ...]
    intercept: float
    slope: float
    shift: float
    penalty: float
    training: dict[str, Any] = field(default_factory=dict)
    reference: dict[str, Any] = field(default_factory=dict)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in the order of parts."""
        return (*(curve.name for curve in self.curves), *(level.name for level in self.levels))

    def log_odds(self, columns: Columns) -> Floats:
        """Log-odds before calibration."""
        found: Floats = _design(columns, self.curves, self.levels) @ np.array(self.weights) + self.intercept
        return found

    def probability(self, columns: Columns) -> Floats:
        """Calibrated probability of each row."""
        return _sigmoid(self.slope * self.log_odds(columns) + self.shift)

    def score(self, columns: Columns) -> Scored:
        """Predict, with reasons, and say what was never seen in training."""
        parts, at = [], 0
        weights = np.array(self.weights)
        blocks = [curve.design(columns[curve.name]) for curve in self.curves]
        blocks += [level.design(columns[level.name]) for level in self.levels]
        for block in blocks:
            width = block.shape[1]
            parts.append(self.slope * (block @ weights[at : at + width]))
            at += width
        added = np.column_stack(parts)
        probability = _sigmoid(self.slope * self.intercept + self.shift + added.sum(axis=1))
        unknown: dict[str, dict[str, int]] = {}
        doubtful: list[list[str]] = [[] for _ in range(len(probability))]
        for level in self.levels:
            values = columns[level.name]
            strange = np.flatnonzero((codes(values, level.known) < 0) & present(values))
            for row in strange.tolist():
                counts = unknown.setdefault(level.name, {})
                counts[str(values[row])] = counts.get(str(values[row]), 0) + 1
                doubtful[row].append(level.name)
        outside = {}
        for curve in self.curves:
            values = columns[curve.name]
            beyond = int(((values < curve.low) | (values > curve.high)).sum())
            if beyond:
                outside[curve.name] = beyond
        return Scored(probability, added, unknown, outside, [tuple(names) for names in doubtful])

    def to_json(self) -> str:
        """The model as text."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> AdditiveModel:
        """Read what :meth:`to_json` wrote.

        Raises:
            ModelError: It is not such a model.
        """
        try:
            found = json.loads(text)
            if found.pop("format") != FORMAT:
                raise ModelError("the model was written by another version of finlake", "train it again")
            curves = [
                Curve(**{name: _tuple(value) for name, value in one.items()}) for one in found.pop("curves")
            ]
            known = [
                Levels(**{name: _tuple(value) for name, value in one.items()}) for one in found.pop("levels")
            ]
            weights = tuple(found.pop("weights"))
            model = cls(curves=tuple(curves), levels=tuple(known), weights=weights, **found)
            if model.task not in TASKS:
                raise ModelError(f"the model answers {model.task!r}, which finlake does not know")
            return model
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"this is not a model of finlake: {error}", "it is the model.json of a training"
            ) from error


def fit(columns: Columns, task: Task, *, knots: int, seed: int = 0) -> AdditiveModel:
    """Fit a model to labelled rows.

    Args:
        columns: Features, group and label; all labels known, with both outcomes.
        task: What is predicted.
        knots: Bends of each curve; 0 makes it a plain logistic regression.
        seed: Decides which rows without the event are drawn when there are too many.
    """
    truth = columns[task.label]
    curves = tuple(_curve(name, columns[name], name in task.skewed, knots) for name in task.numbers)
    known = tuple(_levels(name, columns[name]) for name in task.categories)
    design = _design(columns, curves, known)
    rows, weight = _drawn(truth, seed)
    design, truth, group = design[rows], truth[rows], columns[task.group][rows]
    penalty, out_of_fold = _choose(design, truth, group, weight)
    model = _regression(penalty).fit(design, truth, sample_weight=weight)
    line = LogisticRegression(C=1e6, max_iter=2_000, tol=1e-6).fit(
        out_of_fold[:, None], truth, sample_weight=weight
    )
    # Calibration straightens; it does not turn the order round, whatever chance would have it do.
    slope = max(float(line.coef_[0][0]), 0.05)
    return AdditiveModel(
        task=task.name,
        curves=curves,
        levels=known,
        weights=tuple(map(float, model.coef_[0])),
        intercept=float(model.intercept_[0]),
        slope=slope,
        shift=float(line.intercept_[0]),
        penalty=penalty,
    )


def _choose(design: Floats, truth: Floats, group: npt.NDArray[Any], weight: Floats) -> tuple[float, Floats]:
    """The penalty, and predictions out of fold with it, as log-odds.

    It is the strongest whose loss is within a standard error of the least one (Breiman et al., Classification
    and Regression Trees, 1984): the past is not quite like the future.
    """
    folds = min(FOLDS, len(set(group[truth == 1].tolist())), len(set(group[truth == 0].tolist())))
    if folds < 2:
        raise ModelError("all events are of one account or loan", "train on more data")
    splits = list(GroupKFold(folds).split(design, truth, group))
    found, losses = [], []
    for penalty in PENALTIES:
        predicted, loss = np.zeros(len(truth)), []
        for train, test in splits:
            model = _regression(penalty).fit(design[train], truth[train], sample_weight=weight[train])
            predicted[test] = model.decision_function(design[test])
            chance = _sigmoid(predicted[test])
            loss.append(float(log_loss(truth[test], chance, sample_weight=weight[test], labels=[0, 1])))
        found.append(predicted)
        losses.append(loss)
    means = np.mean(losses, axis=1)
    best = int(np.argmin(means))
    bearable = means[best] + np.std(losses[best], ddof=1) / np.sqrt(folds)
    chosen = int(np.flatnonzero(means <= bearable)[0])
    return PENALTIES[chosen], found[chosen]


def _regression(penalty: float) -> LogisticRegression:
    return LogisticRegression(C=penalty, max_iter=2_000, tol=1e-6)


def _drawn(truth: Floats, seed: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Rows to learn from, and how many each stands for."""
    events, others = np.flatnonzero(truth == 1), np.flatnonzero(truth == 0)
    if len(others) <= MOST_HONEST:
        return np.arange(len(truth)), np.ones(len(truth))
    chosen = np.random.default_rng(seed).choice(others, MOST_HONEST, replace=False)
    rows = np.sort(np.concatenate([events, chosen]))
    return rows, np.where(truth[rows] == 1, 1.0, len(others) / MOST_HONEST)


def _curve(name: str, values: Floats, is_log: bool, knots: int) -> Curve:
    there = values[~np.isnan(values)]
    low, high = (float(there.min()), float(there.max())) if len(there) else (0.0, 0.0)
    scale = np.log1p(np.maximum(there, 0.0)) if is_log else there
    inner = (
        np.quantile(scale, np.arange(1, knots + 1) / (knots + 1)) if len(there) and knots else np.array([])
    )
    # Where half of the values are the same (days past due are mostly zero), knots lie among the others.
    if knots and len(there) and len(np.unique(inner)) < knots:
        others = scale[scale != np.median(scale)]
        inner = np.append(
            inner, np.quantile(others, np.arange(1, knots + 1) / (knots + 1)) if len(others) else []
        )
    bends = tuple(float(x) for x in np.unique(inner) if scale.min() < x < scale.max()) if len(there) else ()
    first = Curve(name, low, high, is_log, bends, (), (), bool(np.isnan(values).any()))
    raw = first.raw(values)
    known = raw[~np.isnan(values)]
    mean = (
        np.append(known[:, :-1].mean(axis=0), np.isnan(values).mean())
        if len(there)
        else np.zeros(raw.shape[1])
    )
    spread = np.append(known[:, :-1].std(axis=0), raw[:, -1].std()) if len(there) else np.ones(raw.shape[1])
    spread = np.where(spread > 1e-12, spread, 1.0)
    return Curve(
        name, low, high, is_log, bends, tuple(map(float, mean)), tuple(map(float, spread)), first.has_missing
    )


def _levels(name: str, values: npt.NDArray[Any]) -> Levels:
    known = levels(values)
    code = codes(values, known)
    counts = np.bincount(code[code >= 0], minlength=len(known))
    used = tuple(level for level, count in zip(known, counts) if count >= LEAST_ROWS)
    there = np.isin(code, [known.index(level) for level in used]).sum()
    mean = tuple(float(counts[known.index(level)] / max(there, 1)) for level in used)
    return Levels(name, tuple(known), used, mean)


def _design(columns: Columns, curves: tuple[Curve, ...], known: tuple[Levels, ...]) -> Floats:
    blocks = [curve.design(columns[curve.name]) for curve in curves]
    blocks += [level.design(columns[level.name]) for level in known]
    return np.hstack(blocks) if blocks else np.empty((length(columns), 0))


def _sigmoid(values: Floats) -> Floats:
    found: Floats = 1.0 / (1.0 + np.exp(-np.clip(values, -_LIMIT, _LIMIT)))
    return found


def _tuple(value: Any) -> Any:  # noqa: ANN401 - a value of JSON
    return tuple(value) if isinstance(value, list) else value
