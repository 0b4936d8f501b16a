"""What all kinds of models share: what they answer, how they are calibrated, and how they are stored.

Stored as JSON: numbers and names only, so it can be read by any version, and reading it runs nothing.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.data import Columns, Floats, codes, levels, present
from ml.errors import ModelError

FORMAT = 3
FOLDS = 4
LEAST_ROWS = 20
"""Rows that a category's value needs to get a column of its own."""
MOST_HONEST = 150_000
"""Rows without the event that are learned from; of more, some are drawn and stand for all by weight."""
MISSING = "missing"
"""What nothing is called among values that training never met."""
_LIMIT = 30.0

Fold = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]


@dataclass(frozen=True)
class Range:
    """What a number was in training.

    Attributes:
        name: Feature.
        low: Least value seen.
        high: Greatest value seen.
    """

    name: str
    low: float
    high: float


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
        """Columns of some values, centred; a value without one is as usual."""
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
        unknown: For each feature with values that training never met: how often each was there. They count
            as usual. Such are unknown texts, and nothing where there always was something.
        outside: For each number with values beyond those of training: how many. They count as the nearest
            one there.
        doubtful: For each row, features with an unknown value.
    """

    probability: Floats
    parts: Floats
    unknown: dict[str, dict[str, int]]
    outside: dict[str, int]
    doubtful: list[tuple[str, ...]]


@dataclass(frozen=True)
class Model(ABC):
    """A fitted model: what is usual, and what each feature adds to the log-odds of that.

    Attributes:
        task: Name of its task.
        kind: ``logistic``, ``additive`` or ``boosting``.
        levels: Categories.
        intercept: Log-odds of a row to which no feature adds anything.
        slope: Factor of calibration on the log-odds.
        shift: What calibration adds to them.
        training: What it was trained on: rows, events, days.
        reference: Distribution of features in training, and of predictions out of fold, see
            :mod:`ml.drift`.
    """

    task: str
    kind: str
    levels: tuple[Levels, ...]
    intercept: float
    slope: float
    shift: float
    training: dict[str, Any]
    reference: dict[str, Any]

    @property
    @abstractmethod
    def numbers(self) -> Sequence[Range]:
        """Numbers, in the order of parts."""

    @abstractmethod
    def log_odds(self, columns: Columns) -> Floats:
        """Log-odds before calibration."""

    @abstractmethod
    def added(self, columns: Columns) -> Floats:
        """What each feature adds to the log-odds before calibration; one column per feature."""

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in the order of parts."""
        return (*(number.name for number in self.numbers), *(level.name for level in self.levels))

    def probability(self, columns: Columns) -> Floats:
        """Calibrated probability of each row."""
        return sigmoid(self.slope * self.log_odds(columns) + self.shift)

    def score(self, columns: Columns) -> Scored:
        """Predict, with reasons, and say what was never seen in training."""
        parts = self.slope * self.added(columns)
        probability = sigmoid(self.slope * self.intercept + self.shift + parts.sum(axis=1))
        unknown: dict[str, dict[str, int]] = {}
        doubtful: list[list[str]] = [[] for _ in range(len(probability))]
        for level in self.levels:
            values = columns[level.name]
            strange = np.flatnonzero((codes(values, level.known) < 0) & present(values))
            for row in strange.tolist():
                counts = unknown.setdefault(level.name, {})
                counts[str(values[row])] = counts.get(str(values[row]), 0) + 1
                doubtful[row].append(level.name)
        for name in self.features:
            missing = np.flatnonzero(~present(columns[name]))
            if len(missing) and self._was_never_missing(name):
                unknown.setdefault(name, {})[MISSING] = len(missing)
                for row in missing.tolist():
                    doubtful[row].append(name)
        outside = {}
        for number in self.numbers:
            values = columns[number.name]
            beyond = int(((values < number.low) | (values > number.high)).sum())
            if beyond:
                outside[number.name] = beyond
        return Scored(probability, parts, unknown, outside, [tuple(names) for names in doubtful])

    def _was_never_missing(self, name: str) -> bool:
        """Whether training had a value of this feature in every row."""
        shares = self.reference.get(name, {}).get("shares")  # its last one is that of missing values
        return bool(shares) and shares[-1] == 0

    def to_json(self) -> str:
        """The model as text."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, sort_keys=True, allow_nan=False)


@dataclass(frozen=True)
class Fitted:
    """A model, and what it would have predicted of rows that it had not learned from.

    Attributes:
        model: The model.
        out_of_fold: Probability of each row of training, by a model of its kind that learned from other
            groups; calibrated. Predictions of the model itself fit these rows too well.
    """

    model: Model
    out_of_fold: Floats


def levels_of(name: str, values: npt.NDArray[Any]) -> Levels:
    """A category as training has it."""
    known = levels(values)
    code = codes(values, known)
    counts = np.bincount(code[code >= 0], minlength=len(known))
    used = tuple(level for level, count in zip(known, counts) if count >= LEAST_ROWS)
    there = np.isin(code, [known.index(level) for level in used]).sum()
    mean = tuple(float(counts[known.index(level)] / max(there, 1)) for level in used)
    return Levels(name, tuple(known), used, mean)


def ends(values: Floats) -> tuple[float, float]:
    """Least and greatest value that is there; zeros when none is."""
    there = values[~np.isnan(values)]
    return (float(there.min()), float(there.max())) if len(there) else (0.0, 0.0)


def drawn(truth: Floats, seed: int) -> Floats:
    """How many rows each row stands for when models learn; 0 for those that are not drawn."""
    others = np.flatnonzero(truth == 0)
    weight = np.ones(len(truth))
    if len(others) > MOST_HONEST:
        weight[others] = 0.0
        chosen = np.random.default_rng(seed).choice(others, MOST_HONEST, replace=False)
        weight[chosen] = len(others) / MOST_HONEST
    return weight


def folds(truth: Floats, group: npt.NDArray[Any]) -> list[Fold]:
    """Rows to learn from and to predict, so often that each is predicted once; groups stay together.

    Raises:
        ModelError: All events are of one group.
    """
    most = min(FOLDS, len(set(group[truth == 1].tolist())), len(set(group[truth == 0].tolist())))
    if most < 2:
        raise ModelError("all events are of one account or borrower", "train on more data")
    from sklearn.model_selection import GroupKFold

    return list(GroupKFold(most).split(truth, truth, group))


def calibration(log_odds: Floats, truth: Floats) -> tuple[float, float]:
    """Slope and shift that make log-odds, predicted out of fold, those of the truth.

    They are a straight line (Platt, Probabilistic outputs for support vector machines, 1999). It does not
    turn the order round, whatever chance would have it do.
    """
    from sklearn.linear_model import LogisticRegression

    line = LogisticRegression(C=1e6, max_iter=2_000, tol=1e-6)
    line.fit(log_odds[:, None], truth)
    return max(float(line.coef_[0][0]), 0.05), float(line.intercept_[0])


def sigmoid(values: Floats) -> Floats:
    """Probabilities of log-odds."""
    found: Floats = 1.0 / (1.0 + np.exp(-np.clip(values, -_LIMIT, _LIMIT)))
    return found


def made(kind: type[Any], found: Mapping[str, Any]) -> Any:  # noqa: ANN401 - one of that kind
    """A small dataclass from its fields as JSON has them."""
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in found.items()})
