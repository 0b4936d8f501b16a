"""The model card: one HTML file that shows what a model is for and how good it is, without the network.

What it tells is what Mitchell et al. ask for (Model Cards for Model Reporting, 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from ml.additive import AdditiveModel
from ml.drift import SCORE, WARN_FROM
from ml.metrics import FAIR_FROM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ml.training import Trained

WIDTH, HEIGHT, EDGE = 320, 240, 48
METRIC_NAMES = {"auc": "AUC", "pr_auc": "PR-AUC", "brier": "Brier score", "ks": "KS"}
CALIBRATION_NAMES = {
    "slope": "slope",
    "intercept": "intercept",
    "observed_to_expected": "events, to those expected",
}
CANDIDATES = {
    "prevalence": "prevalence: the same probability for all",
    "logistic": "logistic regression",
    "additive": "additive model: a curve for each number",
    "boosting": "gradient boosting of trees",
}
WAYS = {
    "logistic": "A logistic regression: each feature adds its own part to the log-odds, so the parts of a "
    "prediction are its reasons.",
    "additive": "An additive logistic model: each feature adds its own part to the log-odds, so the parts of "
    "a prediction are its reasons.",
    "boosting": "Gradient boosting of trees, which sees features that matter together. A prediction's "
    "reasons are Shapley values: what each feature adds to the log-odds in this row. They add up to the "
    "prediction; what two features do together is shared between them.",
}
SHAPES = 8
"""How many features are drawn, those with the largest parts."""


@dataclass(frozen=True)
class Plot:
    """A plot of lines and dots in a box; coordinates are those of SVG.

    Attributes:
        title: What it shows.
        x_label: What goes to the right.
        y_label: What goes up.
        line: Points of the line, as SVG writes them.
        dots: Points.
        bars: For each point with an interval, its place to the right and the interval's ends upwards.
        diagonal: Ends of a line of comparison, as SVG writes them, or nothing.
        x_ends: Least and greatest value to the right.
        y_ends: Least and greatest value upwards.
    """

    title: str
    x_label: str
    y_label: str
    line: str
    dots: tuple[tuple[float, float], ...]
    bars: tuple[tuple[float, float, float], ...]
    diagonal: str
    x_ends: tuple[str, str]
    y_ends: tuple[str, str]


def render(trained: Trained) -> str:
    """The card of a training."""
    found = trained.curves
    tenths = found.calibration
    calibration = [(tenth.predicted, tenth.events.value) for tenth in tenths]
    intervals = [
        (tenth.predicted, tenth.events.low, tenth.events.high)
        for tenth in tenths
        if tenth.events.low is not None and tenth.events.high is not None
    ]
    tops = [*(y for point in calibration for y in point), *(high for _, _, high in intervals)]
    top = max(tops, default=0.0) or 1.0
    plots = [
        plot("ROC", found.roc, "false positive rate", "true positive rate", ((0, 1), (0, 1)), diagonal=True),
        plot("Precision and recall", found.pr, "recall", "precision", ((0, 1), (0, 1))),
        plot(
            "Calibration, by tenths",
            calibration,
            "mean prediction",
            "share of events",
            ((0, top), (0, top)),
            diagonal=True,
            dotted=True,
            intervals=intervals,
        ),
    ]
    return _template().render(
        trained=trained,
        training=trained.model.training,
        metric_names=METRIC_NAMES,
        calibration_names=CALIBRATION_NAMES,
        candidates=CANDIDATES,
        way=WAYS[trained.model.kind],
        made_with=made_with(trained),
        plots=plots,
        shapes=shapes(trained),
        overall=SCORE,
        warn_from=WARN_FROM,
        fair_from=FAIR_FROM,
        size=(WIDTH, HEIGHT, EDGE),
    )


def made_with(trained: Trained) -> str:
    """Settings of the model, in words."""
    model, training = trained.model, trained.model.training
    if isinstance(model, AdditiveModel):
        bends = f"{training['knots']} knots, " if model.kind == "additive" else ""
        return f"{bends}penalty {model.penalty}"
    return "trees as in ml/boosting.py"


def shapes(trained: Trained) -> list[Plot]:
    """What each number adds to the log-odds, by its value: those with the largest parts.

    Of an additive model, that is a curve; of others, means over the rows of the test.
    """
    curves = _curves(trained.model) if isinstance(trained.model, AdditiveModel) else trained.shapes
    chosen = [name for name in trained.importance if curves.get(name)][:SHAPES]
    return [plot(name, curves[name], "value", "adds to log-odds") for name in chosen]


def _curves(model: AdditiveModel) -> dict[str, list[tuple[float, float]]]:
    found = {}
    at = 0
    weights = np.array(model.weights)
    for curve in model.curves:
        width = len(curve.mean)
        values = np.linspace(curve.low, curve.high, 80)
        added = model.slope * (curve.design(values) @ weights[at : at + width])
        found[curve.name] = list(zip(values.tolist(), added.tolist()))
        at += width
    return found


def plot(
    title: str,
    points: Sequence[tuple[float, float]],
    x_label: str,
    y_label: str,
    ends: tuple[tuple[float, float], tuple[float, float]] | None = None,
    *,
    diagonal: bool = False,
    dotted: bool = False,
    intervals: Sequence[tuple[float, float, float]] = (),
) -> Plot:
    """Put points into a box."""
    if ends is None:
        x, y = [point[0] for point in points] or [0.0], [point[1] for point in points] or [0.0]
        ends = (min(x), max(x)), (min(y), max(y))
    (left, right), (bottom, top) = ends

    def place(x: float, y: float) -> tuple[float, float]:
        across = EDGE + (WIDTH - EDGE - 8) * (x - left) / ((right - left) or 1)
        up = (HEIGHT - EDGE) - (HEIGHT - EDGE - 8) * (y - bottom) / ((top - bottom) or 1)
        return round(across, 1), round(up, 1)

    placed = [place(*point) for point in points]
    bars = [(place(x, low), place(x, high)) for x, low, high in intervals]
    corners = [place(left, bottom), place(right, top)] if diagonal else []
    return Plot(
        title,
        x_label,
        y_label,
        " ".join(f"{x},{y}" for x, y in placed),
        tuple(placed) if dotted else (),
        tuple((low[0], low[1], high[1]) for low, high in bars),
        " ".join(f"{x},{y}" for x, y in corners),
        (f"{left:.3g}", f"{right:.3g}"),
        (f"{bottom:.3g}", f"{top:.3g}"),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("card.html.j2")
