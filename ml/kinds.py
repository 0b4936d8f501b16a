"""Kinds of models among which a training chooses, the plainest first."""

from __future__ import annotations

import json
from collections.abc import Callable

from ml import additive, boosting
from ml.additive import AdditiveModel
from ml.boosting import BoostedModel
from ml.data import Columns
from ml.errors import ModelError
from ml.model import FORMAT, Fitted, Levels, Model, made
from ml.tasks import TASKS, Task

KINDS = ("logistic", "additive", "boosting")
OTHER_VERSION = "the model was written by another version of finlake"
AGAIN = "train it again"
_CLASSES: dict[str, Callable[..., Model]] = {
    "logistic": AdditiveModel.from_fields,
    "additive": AdditiveModel.from_fields,
    "boosting": BoostedModel.from_fields,
}


def fit(kind: str, columns: Columns, task: Task, *, knots: int, seed: int = 0) -> Fitted:
    """Fit a model of a kind to labelled rows.

    Args:
        kind: One of ``KINDS``.
        columns: Features, group and label; all labels known, with both outcomes.
        task: What is predicted.
        knots: Bends of each curve of an additive model.
        seed: Seed of all that is drawn.

    Raises:
        ModelError: All events are of one group.
    """
    if kind == "boosting":
        return boosting.fit(columns, task, seed=seed)
    return additive.fit(columns, task, knots=knots if kind == "additive" else 0, seed=seed)


def read_model(text: str) -> Model:
    """Read what :meth:`ml.model.Model.to_json` wrote.

    Raises:
        ModelError: It is not such a model.
    """
    try:
        found = json.loads(text)
        if found.pop("format") != FORMAT:
            raise ModelError(OTHER_VERSION, AGAIN)
        found["levels"] = tuple(made(Levels, one) for one in found.pop("levels"))
        model = _CLASSES[found["kind"]](found)
        if model.task not in TASKS:
            raise ModelError(f"the model answers {model.task!r}, which finlake does not know")
        if set(model.features) != set(TASKS[model.task].features):
            raise ModelError(f"{OTHER_VERSION}, which had other features", AGAIN)
        return model
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"this is not a model of finlake: {error}", "it is the model.json of a training"
        ) from error
