"""An additive logistic model: each feature adds a part to the log-odds, so each prediction has its reasons.

A number enters as a piecewise linear curve (a linear spline with knots at quantiles; Hastie and Tibshirani,
Generalized Additive Models, 1990), a category as one part per value. All parts are centred on the training
data, so a part of zero is what is usual there. The weights are those of a logistic regression with a
quadratic penalty, whose strength cross-validation chooses; the log-odds are calibrated on predictions out of
fold. Without knots it is a plain logistic regression.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ml.data import Columns, Floats, length
from ml.model import (
    Fitted,
    Levels,
    Model,
    Range,
    calibration,
    drawn,
    ends,
    folds,
    levels_of,
    made,
    sigmoid,
)
from ml.tasks import Task

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

PENALTIES = (0.0003, 0.003, 0.03)
"""Inverse strengths of the penalty among which cross-validation chooses, the strongest first."""


@dataclass(frozen=True)
class Curve(Range):
    """How a number becomes columns; below and above what was seen in training the curve goes on flat.

    Attributes:
        is_log: Whether ``log(1 + value)`` is used.
        knots: Where the curve bends, after the logarithm.
        mean: Means of the columns in training: the value, one per knot, and whether it is missing.
        spread: Their standard deviations.
        has_missing: Whether values were missing in training.
    """

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
class AdditiveModel(Model):
    """A fitted additive model, or a plain logistic regression.

    Attributes:
        curves: Numbers.
        weights: Weights of all columns, in order.
        penalty: Inverse strength of the penalty.
    """

    curves: tuple[Curve, ...]
    weights: tuple[float, ...]
    penalty: float

    @property
    def numbers(self) -> tuple[Curve, ...]:
        """Numbers, in the order of parts."""
        return self.curves

    def log_odds(self, columns: Columns) -> Floats:
        """Log-odds before calibration."""
        found: Floats = _design(columns, self.curves, self.levels) @ np.array(self.weights) + self.intercept
        return found

    def added(self, columns: Columns) -> Floats:
        """What each feature adds to the log-odds before calibration; one column per feature."""
        parts, at = [], 0
        weights = np.array(self.weights)
        blocks = [curve.design(columns[curve.name]) for curve in self.curves]
        blocks += [level.design(columns[level.name]) for level in self.levels]
        for block in blocks:
            width = block.shape[1]
            parts.append(block @ weights[at : at + width])
            at += width
        return np.column_stack(parts)

    @classmethod
    def from_fields(cls, found: dict[str, Any]) -> AdditiveModel:
        """The model from its fields as JSON has them."""
        curves = tuple(made(Curve, one) for one in found.pop("curves"))
        return cls(curves=curves, weights=tuple(found.pop("weights")), **found)


def fit(columns: Columns, task: Task, *, knots: int, seed: int = 0) -> Fitted:
    """Fit a model to labelled rows.

    Args:
        columns: Features, group and label; all labels known, with both outcomes.
        task: What is predicted.
        knots: Bends of each curve; 0 makes it a plain logistic regression.
        seed: Decides which rows without the event are drawn when there are too many.

    Raises:
        ModelError: All events are of one group.
    """
    truth = columns[task.label]
    curves = tuple(_curve(name, columns[name], name in task.skewed, knots) for name in task.numbers)
    known = tuple(levels_of(name, columns[name]) for name in task.categories)
    design = _design(columns, curves, known)
    weight = drawn(truth, seed)
    penalty, out_of_fold = _choose(design, truth, columns[task.group], weight)
    rows = weight > 0
    model = _regression(penalty).fit(design[rows], truth[rows], sample_weight=weight[rows])
    slope, shift = calibration(out_of_fold, truth)
    fitted = AdditiveModel(
        task=task.name,
        kind="additive" if knots else "logistic",
        levels=known,
        intercept=float(model.intercept_[0]),
        slope=slope,
        shift=shift,
        training={},
        reference={},
        curves=curves,
        weights=tuple(map(float, model.coef_[0])),
        penalty=penalty,
    )
    return Fitted(fitted, sigmoid(slope * out_of_fold + shift))


def _choose(design: Floats, truth: Floats, group: npt.NDArray[Any], weight: Floats) -> tuple[float, Floats]:
    """The penalty, and predictions out of fold with it, as log-odds.

    It is the strongest whose loss is within a standard error of the least one (Breiman et al., Classification
    and Regression Trees, 1984): the past is not quite like the future.
    """
    from sklearn.metrics import log_loss

    splits = folds(truth, group)
    found, losses = [], []
    for penalty in PENALTIES:
        predicted, loss = np.zeros(len(truth)), []
        for train, test in splits:
            rows = train[weight[train] > 0]
            model = _regression(penalty).fit(design[rows], truth[rows], sample_weight=weight[rows])
            predicted[test] = model.decision_function(design[test])
            loss.append(float(log_loss(truth[test], sigmoid(predicted[test]), labels=[0, 1])))
        found.append(predicted)
        losses.append(loss)
    means = np.mean(losses, axis=1)
    best = int(np.argmin(means))
    bearable = means[best] + np.std(losses[best], ddof=1) / np.sqrt(len(splits))
    chosen = int(np.flatnonzero(means <= bearable)[0])
    return PENALTIES[chosen], found[chosen]


def _regression(penalty: float) -> LogisticRegression:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=penalty, max_iter=2_000, tol=1e-6)


def _curve(name: str, values: Floats, is_log: bool, knots: int) -> Curve:
    there = values[~np.isnan(values)]
    low, high = ends(values)
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


def _design(columns: Columns, curves: tuple[Curve, ...], known: tuple[Levels, ...]) -> Floats:
    blocks = [curve.design(columns[curve.name]) for curve in curves]
    blocks += [level.design(columns[level.name]) for level in known]
    return np.hstack(blocks) if blocks else np.empty((length(columns), 0))
