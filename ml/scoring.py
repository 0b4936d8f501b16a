"""What goes with a prediction: its reasons, in words, and the version of the model that made it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ml.data import Columns, Floats
from ml.model import Model


def version_of(model: Model) -> str:
    """Name and checksum of a model."""
    return f"{model.task}-{hashlib.sha256(model.to_json().encode()).hexdigest()[:12]}"


def reasons(model: Model, columns: Columns, parts: Floats, *, most: int = 3) -> list[list[dict[str, Any]]]:
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
