"""How charts are drawn: Vega-Lite specifications without data, which the page fills in.

Colours are CSS variables, so that themes and paper change them without drawing anew. Rows have ``x`` (an ISO
date or a name), ``where`` (the same for people), ``series``, ``value`` and ``shown`` (the value for people).
"""

from __future__ import annotations

from typing import Any, Final

from pipeline.gold.kpis import COUNT, FRACTION, MONEY

SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v6.json"
FONT: Final = (
    'system-ui, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", Arial, sans-serif'
)
HEIGHT: Final = 240
SHADES: Final = {"name": "viridis", "extent": [0.25, 0.88]}  # its ends are too dark or too light for a theme
CONFIG: Final[dict[str, Any]] = {
    "aria": False,  # the page describes each chart, and has its figures as a table
    "background": "transparent",
    "font": FONT,  # Vega measures texts with it: it has to be the page's own
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--muted)",
        "labelFontSize": 12,
        "labelLimit": 220,
        "gridColor": "var(--line)",
        "domainColor": "var(--line)",
        "tickColor": "var(--line)",
        "title": None,
    },
    "legend": {
        "orient": "top",
        "title": None,
        "labelColor": "var(--ink)",
        "labelFontSize": 12,
        "symbolType": "square",
        "titleColor": "var(--muted)",
    },
    "line": {"strokeWidth": 2},
    "bar": {"cursor": "pointer"},
}
TOOLTIP: Final = [
    {"field": "where", "title": "in", "type": "nominal"},
    {"field": "series", "title": "what", "type": "nominal"},
    {"field": "shown", "title": "value", "type": "nominal"},
]
SERIES: Final[dict[str, Any]] = {
    "field": "series",
    "type": "nominal",
    "sort": None,
    "scale": {"domain": [], "range": []},
}


def specifications() -> dict[str, dict[str, Any]]:
    """Every specification, by ``kind-axis-unit``: axis is ``date`` or ``name``, unit as of key figures."""
    return {
        f"{kind}-{axis}-{unit}": {
            "$schema": SCHEMA,
            "width": "container",
            "autosize": {"type": "fit-x", "contains": "padding"},
            "height": HEIGHT,
            "data": {"name": "rows"},
            "config": CONFIG,
        }
        | build(axis, unit)
        for kind, build in {
            "flow": _flow, "line": _line, "share": _share, "bars": _bars, "curves": _curves,
        }.items()
        for axis in ("date", "name")
        for unit in ("money", "fraction", "count")
        if (kind, axis) not in {("line", "name"), ("bars", "date"), ("curves", "name")}
    }  # fmt: skip


def _values(unit: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - a piece of JSON
    """The axis of values."""
    if unit == FRACTION:
        axis: dict[str, Any] = {"format": ".2~%", "tickCount": 5}
    else:  # d3 writes giga, where people say billion
        number = "format(datum.value, '~s')" if unit == MONEY else "format(datum.value, '.3~s')"
        axis = {"labelExpr": f"replace({number}, 'G', 'B')", "tickCount": 5}
        if unit == COUNT:
            axis["tickMinStep"] = 1  # there is no half an alert
    return {"field": "value", "type": "quantitative", "axis": axis} | more


def _where(axis: str) -> dict[str, Any]:
    """The axis of dates or names."""
    if axis == "date":
        return {
            "field": "x",
            "type": "temporal",
            "timeUnit": "utcyearmonth",
            "axis": {"grid": False, "format": "%b %Y", "labelOverlap": "greedy", "labelFlush": True},
        }
    return {
        "field": "where",
        "type": "nominal",
        "sort": None,
        "axis": {"domain": False, "ticks": False, "labelPadding": 6},
    }


def _placed(axis: str, values: dict[str, Any]) -> dict[str, Any]:
    """Dates go from left to right, names from top to bottom."""
    across, up = ("x", "y") if axis == "date" else ("y", "x")
    return {across: _where(axis), up: values}


def _flow(axis: str, unit: str) -> dict[str, Any]:
    net = {"type": "line", "point": {"filled": True, "size": 40}} if axis == "date" else {"type": "point"}
    more = {"filled": True, "size": 70, "opacity": 1} if axis == "name" else {"strokeWidth": 2.5}
    total = _placed(axis, _values(unit, stack=None))
    if axis == "date":
        total["x"]["bandPosition"] = 0.5  # in the middle of the month, as the bars are
    return {
        "encoding": {
            "color": SERIES,
            "tooltip": TOOLTIP,
        },
        "layer": [
            {
                "transform": [{"filter": "!datum.total"}],
                "mark": {"type": "bar", **_thick(axis)},
                "encoding": _placed(axis, _values(unit, stack="zero")),
            },
            {
                "transform": [{"filter": "datum.total"}],
                "mark": net | more,
                "encoding": total,
            },
        ],
    }


def _thick(axis: str) -> dict[str, Any]:
    """How much of its place a bar takes."""
    return {"width" if axis == "date" else "height": {"band": 0.8}}


def _line(axis: str, unit: str) -> dict[str, Any]:
    across = _where(axis)
    across.pop("timeUnit")
    across["scale"] = {"type": "utc"}
    up = _values(unit, stack=None) | {"scale": {"zero": unit != FRACTION}}
    return {
        "encoding": {"x": across, "y": up, "tooltip": TOOLTIP},
        "layer": [
            {"mark": {"type": "line", "color": "var(--c1)", "strokeWidth": 1.75}},
            {"mark": {"type": "point", "filled": True, "size": 14, "opacity": 1, "color": "var(--c1)"}},
            {"mark": {"type": "point", "filled": True, "size": 220, "opacity": 0}},  # easier to point at
        ],
    }


def _share(axis: str, unit: str) -> dict[str, Any]:
    values = _values(FRACTION, stack="normalize")
    del unit  # parts of a whole, whatever it is counted in
    order = {"field": "rank", "type": "quantitative"}
    return {
        "mark": {"type": "bar", **_thick(axis)},
        "encoding": _placed(axis, values) | {"color": SERIES, "order": order, "tooltip": TOOLTIP},
    }


def _bars(axis: str, unit: str) -> dict[str, Any]:
    del axis
    values = _values(unit, stack=None) | {"scale": {"zero": True}}
    return {
        "encoding": _placed("name", values) | {"tooltip": TOOLTIP},
        "layer": [
            {"mark": {"type": "bar", "color": "var(--c1)", "cornerRadiusEnd": 2, **_thick("name")}},
            {
                "mark": {
                    "type": "text",
                    "align": {"expr": "datum.value < 0 ? 'right' : 'left'"},
                    "dx": {"expr": "datum.value < 0 ? -5 : 5"},
                    "color": "var(--ink)",
                    "fontSize": 12,
                },
                "encoding": {"text": {"field": "short", "type": "nominal"}},
            },
        ],
    }


def _curves(axis: str, unit: str) -> dict[str, Any]:
    del axis
    legend = {
        "title": "began in",
        "labelExpr": "utcFormat(datum.value, '%b %Y')",
        "gradientLength": 240,
        "gradientThickness": 10,
        "tickCount": 3,
    }
    colour = {"field": "began", "type": "quantitative", "scale": {"scheme": SHADES}, "legend": legend}
    return {
        "height": HEIGHT + 80,
        "mark": {"type": "line", "strokeWidth": 1.5, "point": {"size": 9, "filled": False}},
        "encoding": {
            "x": {
                "field": "age",
                "type": "quantitative",
                "axis": {
                    "grid": False,
                    "tickMinStep": 1,
                    "title": "months on book",
                    "titleColor": "var(--muted)",
                },
            },
            "y": _values(unit, stack=None),
            "color": colour,
            "detail": {"field": "series", "type": "nominal"},
            "tooltip": TOOLTIP,
        },
    }
