"""How good predictions are, and how sure that is.

Intervals are percentiles of a bootstrap (Efron, Bootstrap methods: another look at the jackknife, 1979)
that draws groups of rows, such as all rows of a borrower, because they are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from ml.data import Floats

FAIR_FROM = 0.8
"""Ratio of selection rates below which a difference is looked at: the four-fifths rule, 29 CFR 1607.4(D)."""
LEAST_EVENTS = 10
"""Events, and rows without, that a group needs for an AUC."""


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; None where it cannot be computed."""

    value: float
    low: float | None = None
    high: float | None = None


Metric = Callable[[Floats, Floats, Floats], float]


def auc(truth: Floats, predicted: Floats, weight: Floats) -> float:
    """Area under the ROC curve."""
    return float(roc_auc_score(truth, predicted, sample_weight=weight))


def pr_auc(truth: Floats, predicted: Floats, weight: Floats) -> float:
    """Area under the precision-recall curve, as average precision."""
    return float(average_precision_score(truth, predicted, sample_weight=weight))


def brier(truth: Floats, predicted: Floats, weight: Floats) -> float:
    """Mean squared error of probabilities (Brier, Verification of forecasts, 1950)."""
    return float(brier_score_loss(truth, predicted, sample_weight=weight))


def ks(truth: Floats, predicted: Floats, weight: Floats) -> float:
    """Greatest distance between the distributions of events and others (Kolmogorov and Smirnov)."""
    false, true, _ = roc_curve(truth, predicted, sample_weight=weight)
    return float(np.max(true - false))


METRICS: dict[str, Metric] = {"auc": auc, "pr_auc": pr_auc, "brier": brier, "ks": ks}


def evaluate(
    truth: Floats, predicted: Floats, group: npt.NDArray[Any], *, draws: int, seed: int = 0
) -> dict[str, Estimate]:
    """All metrics with their intervals.

    Args:
        truth: 0 or 1 per row, both there.
        predicted: Probability per row.
        group: Rows of a group are drawn together.
        draws: Draws of the bootstrap; 0 for none.
        seed: Seed of the draws.
    """
    _, place = np.unique(group.astype(str), return_inverse=True)
    groups, ones = int(place.max()) + 1, np.ones(len(truth))
    random = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in METRICS}
    for _ in range(draws):
        weight = np.bincount(random.integers(0, groups, groups), minlength=groups)[place].astype(np.float64)
        there = weight > 0
        if 0 < truth[there].sum() < there.sum():
            for name, metric in METRICS.items():
                drawn[name].append(metric(truth[there], predicted[there], weight[there]))
    found = {}
    for name, metric in METRICS.items():
        ends = np.percentile(drawn[name], [2.5, 97.5]).tolist() if drawn[name] else [None, None]
        found[name] = Estimate(metric(truth, predicted, ones), *ends)
    return found


@dataclass(frozen=True)
class Curves:
    """Points of curves, each a list of (x, y).

    Attributes:
        roc: False positive rate, true positive rate.
        pr: Recall, precision.
        calibration: Mean prediction, share of events, and rows, of equally large groups.
    """

    roc: list[tuple[float, float]]
    pr: list[tuple[float, float]]
    calibration: list[tuple[float, float, int]]


def curves(truth: Floats, predicted: Floats, *, points: int = 200, bins: int = 10) -> Curves:
    """The curves of a model card."""
    false, true, _ = roc_curve(truth, predicted)
    precision, recall, _ = precision_recall_curve(truth, predicted)
    order = np.argsort(predicted, kind="stable")
    calibration = [
        (float(predicted[part].mean()), float(truth[part].mean()), len(part))
        for part in np.array_split(order, min(bins, len(order)))
    ]
    return Curves(_thinned(false, true, points), _thinned(recall, precision, points), calibration)


def _thinned(x: Floats, y: Floats, points: int) -> list[tuple[float, float]]:
    chosen = np.unique(np.linspace(0, len(x) - 1, min(points, len(x))).astype(int))
    return [(float(x[place]), float(y[place])) for place in chosen]


@dataclass(frozen=True)
class Segment:
    """How a model treats a group of people.

    Attributes:
        name: Value of the column.
        rows: Rows.
        events: Share of events.
        predicted: Mean prediction; far from ``events`` it is wrong about the group.
        flagged: Share of rows at or above the threshold.
        missed: Share of events below the threshold.
        false_alarms: Share of other rows at or above it.
        auc: AUC within the group, None with too few events.
        ratio: Share not flagged over that of the group where it is greatest; below 0.8 look into it.
    """

    name: str
    rows: int
    events: float
    predicted: float
    flagged: float
    missed: float | None
    false_alarms: float | None
    auc: float | None
    ratio: float


def fairness(truth: Floats, predicted: Floats, segment: npt.NDArray[Any], threshold: float) -> list[Segment]:
    """Rates and AUC by group; rows without a group are one as well."""
    names = np.array(["unknown" if value is None else str(value) for value in segment], dtype=object)
    flagged = predicted >= threshold
    passed = {name: 1 - float(flagged[names == name].mean()) for name in sorted(set(names))}
    best = max(passed.values(), default=0.0)
    found = []
    for name, share in passed.items():
        of = names == name
        events, others = of & (truth == 1), of & (truth == 0)
        enough = min(events.sum(), others.sum()) >= LEAST_EVENTS
        found.append(
            Segment(
                name=name,
                rows=int(of.sum()),
                events=float(truth[of].mean()),
                predicted=float(predicted[of].mean()),
                flagged=1 - share,
                missed=float(1 - flagged[events].mean()) if events.any() else None,
                false_alarms=float(flagged[others].mean()) if others.any() else None,
                auc=auc(truth[of], predicted[of], np.ones(int(of.sum()))) if enough else None,
                ratio=share / best if best else 1.0,
            )
        )
    return found
