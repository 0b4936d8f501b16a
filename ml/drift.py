"""Whether data still looks like what a model was trained on: the population stability index.

``PSI = sum((now - then) * ln(now / then))`` over bins, deciles of training for numbers and values for
categories, with missing values as a bin of their own. Under 0.1 nothing has changed, from 0.25 on the
population is another one: a rule of thumb of credit scoring, with no theory behind the two numbers. In
between, a warning is given from 0.2 on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ml.data import Columns, Floats, codes, levels, present
from ml.tasks import Task

WARN_FROM = 0.2
BINS = 10
SCORE = "prediction"
_LEAST = 1e-4
"""Share that an empty bin counts as, so that the index stays finite."""


def reference(columns: Columns, predicted: Floats, task: Task) -> dict[str, Any]:
    """Distributions of features and predictions, as JSON can hold them.

    Args:
        columns: Features of training.
        predicted: Predictions of the same rows by models that did not learn from them; others are more
            extreme than those of rows to come.
        task: Says which columns are numbers and categories.
    """
    found = {name: _of_number(columns[name]) for name in task.numbers}
    found |= {name: _of_category(columns[name]) for name in task.categories}
    return found | {SCORE: _of_number(predicted)}


def psi(columns: Columns, predicted: Floats, training: dict[str, Any]) -> dict[str, float]:
    """Index of each feature, and of the predictions under ``prediction``.

    Args:
        columns: Features now; at least one row.
        predicted: Predictions now.
        training: What :func:`reference` said of training.
    """
    found = {}
    for name, then in training.items():
        values = predicted if name == SCORE else columns[name]
        now = _shares(values, then["edges"]) if "edges" in then else _shares_of(values, then["levels"])
        found[name] = index(np.array(then["shares"]), now)
    return found


def index(then: Floats, now: Floats) -> float:
    """Population stability index of two distributions over the same bins.

    >>> round(index(np.array([0.5, 0.5]), np.array([0.9, 0.1])), 3)
    0.879
    """
    then, now = np.maximum(then, _LEAST), np.maximum(now, _LEAST)
    return float(((now - then) * np.log(now / then)).sum())


def _of_number(values: Floats) -> dict[str, Any]:
    there = values[~np.isnan(values)]
    edges = np.unique(np.quantile(there, np.arange(1, BINS) / BINS)).tolist() if len(there) else []
    return {"edges": edges, "shares": _shares(values, edges).tolist()}


def _shares(values: Floats, edges: list[float]) -> Floats:
    """Shares of the bins between edges, and of missing values at the end."""
    missing = np.isnan(values)
    place = np.where(missing, len(edges) + 1, np.searchsorted(np.array(edges), values, side="left"))
    return np.bincount(place, minlength=len(edges) + 2) / max(len(values), 1)


def _of_category(values: npt.NDArray[Any]) -> dict[str, Any]:
    known = levels(values)
    return {"levels": known, "shares": _shares_of(values, known).tolist()}


def _shares_of(values: npt.NDArray[Any], known: list[str]) -> Floats:
    """Shares of known values, then of unknown ones, then of missing ones."""
    code = codes(values, known)
    place = np.where(code >= 0, code, np.where(present(values), len(known), len(known) + 1))
    return np.bincount(place, minlength=len(known) + 2) / max(len(values), 1)
