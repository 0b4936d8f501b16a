"""How good predictions are, and how sure that is.

Intervals are percentiles of a bootstrap (Efron, Bootstrap methods: another look at the jackknife, 1979)
that draws groups of rows, such as all rows of a borrower, because they are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
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
from ml.model import sigmoid

FAIR_FROM = 0.8
"""Ratio of selection rates below which a difference is looked at: the four-fifths rule, 29 CFR 1607.4(D)."""
LEAST_EVENTS = 10
"""Events, and rows without, that a group needs for an AUC."""
MOST_STEPS = 100


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


def slope(truth: Floats, predicted: Floats, weight: Floats) -> float:
    """Slope of the truth's log-odds over the predicted ones (Cox, 1958): 1 is right, less is too extreme."""
    log_odds = _log_odds(predicted)
    line = np.column_stack([np.ones(len(log_odds)), log_odds])
    return float(_added(line, log_odds, truth, weight)[1]) + 1.0


def intercept(truth: Floats, predicted: Floats, weight: Floats) -> float:
    """What has to be added to predicted log-odds for as many events as there are: 0 is right.

    Calibration in the large (Van Calster et al., Calibration: the Achilles heel of predictive analytics,
    2019).
    """
    log_odds = _log_odds(predicted)
    return float(_added(np.ones((len(log_odds), 1)), log_odds, truth, weight)[0])


def _added(design: Floats, log_odds: Floats, truth: Floats, weight: Floats) -> Floats:
    """What some columns add to log-odds, by maximum likelihood.

    Newton's method, as a bootstrap needs it hundreds of times: scikit-learn takes longer, and has no offset.
    Steps are bounded, so that it does not leap over what is far away. BLAS is left out, whose threads cost
    more than they save here.
    """
    found: Floats = np.zeros(design.shape[1])
    for _ in range(MOST_STEPS):
        chance = sigmoid(log_odds + (design * found).sum(axis=1))
        spread = np.einsum("ni,n,nj->ij", design, weight * chance * (1 - chance), design)
        gradient = (design * (weight * (truth - chance))[:, None]).sum(axis=0)
        step = np.clip(np.linalg.solve(spread + 1e-9 * np.eye(len(found)), gradient), -1.0, 1.0)
        found = found + step
        if np.abs(step).max() < 1e-9:
            break
    return found


def observed_to_expected(truth: Floats, predicted: Floats, weight: Floats) -> float:
    """Events over the sum of predictions: 1 is right, more means that too few were expected."""
    return float((weight * truth).sum() / (weight * predicted).sum())


METRICS: dict[str, Metric] = {"auc": auc, "pr_auc": pr_auc, "brier": brier, "ks": ks}
CALIBRATION: dict[str, Metric] = {
    "slope": slope,
    "intercept": intercept,
    "observed_to_expected": observed_to_expected,
}
"""Whether probabilities are what they say. There is no expected calibration error among them: it is above
zero by chance alone, the more the fewer events there are, and a draw of the bootstrap adds to that."""


def evaluate(
    truth: Floats,
    predicted: Floats,
    group: npt.NDArray[Any],
    *,
    draws: int,
    seed: int = 0,
    metrics: Mapping[str, Metric] = METRICS,
) -> dict[str, Estimate]:
    """Metrics with their intervals.

    Args:
        truth: 0 or 1 per row, both there.
        predicted: Probability per row.
        group: Rows of a group are drawn together.
        draws: Draws of the bootstrap; 0 for none.
        seed: Seed of the draws.
        metrics: What is measured, by name.
    """
    drawn: dict[str, list[float]] = {name: [] for name in metrics}
    for weight in _weights(group, draws, seed):
        there = weight > 0
        if 0 < truth[there].sum() < there.sum():
            for name, metric in metrics.items():
                drawn[name].append(metric(truth[there], predicted[there], weight[there]))
    ones = np.ones(len(truth))
    return {name: _estimate(metric(truth, predicted, ones), drawn[name]) for name, metric in metrics.items()}


def _weights(group: npt.NDArray[Any], draws: int, seed: int) -> Iterator[Floats]:
    """How often each row is in a draw of the bootstrap, which draws groups."""
    _, place = np.unique(group.astype(str), return_inverse=True)
    groups, random = int(place.max()) + 1, np.random.default_rng(seed)
    for _ in range(draws):
        yield np.bincount(random.integers(0, groups, groups), minlength=groups)[place].astype(np.float64)


def _estimate(value: float, drawn: list[float]) -> Estimate:
    low, high = np.percentile(drawn, [2.5, 97.5]).tolist() if drawn else (None, None)
    return Estimate(value, low, high)


def _log_odds(predicted: Floats) -> Floats:
    inside = np.clip(predicted, 1e-12, 1 - 1e-12)
    found: Floats = np.log(inside / (1 - inside))
    return found


@dataclass(frozen=True)
class Tenth:
    """One of equally large groups of rows, by their predictions.

    Attributes:
        predicted: Mean prediction.
        events: Share of events.
        rows: Rows.
    """

    predicted: float
    events: Estimate
    rows: int


@dataclass(frozen=True)
class Curves:
    """Points of curves.

    Attributes:
        roc: False positive rate, true positive rate.
        pr: Recall, precision.
        calibration: Tenths of the rows, the lowest predictions first.
    """

    roc: list[tuple[float, float]]
    pr: list[tuple[float, float]]
    calibration: list[Tenth]


def curves(
    truth: Floats,
    predicted: Floats,
    group: npt.NDArray[Any],
    *,
    draws: int,
    seed: int = 0,
    points: int = 200,
    bins: int = 10,
) -> Curves:
    """The curves of a model card; other arguments are those of :func:`evaluate`."""
    false, true, _ = roc_curve(truth, predicted)
    precision, recall, _ = precision_recall_curve(truth, predicted)
    parts = np.array_split(np.argsort(predicted, kind="stable"), min(bins, len(truth)))
    drawn: list[list[float]] = [[] for _ in parts]
    for weight in _weights(group, draws, seed):
        for shares, part in zip(drawn, parts):
            if weight[part].any():
                shares.append(float(np.average(truth[part], weights=weight[part])))
    calibration = [
        Tenth(float(predicted[part].mean()), _estimate(float(truth[part].mean()), shares), len(part))
        for shares, part in zip(drawn, parts)
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
