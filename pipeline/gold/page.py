"""The page on Gold: its marts, views and key figures, as Markdown.

``make dictionary`` writes it into ``docs/gold.md``; a test sees that this was not forgotten.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

from pipeline.gold import MARTS, Mart
from pipeline.gold.increments import Slices, Sums, Windows
from pipeline.gold.kpis import KPIS
from pipeline.gold.views import VIEWS

PAGE = Path(__file__).parents[2] / "docs" / "gold.md"
HEAD = """# Gold: marts, views and key figures

Made from the [code](../pipeline/gold/) by `make dictionary`; what is written here by hand gets lost.

`finlake run` keeps the marts up to date. A mart whose inputs have not changed is not touched. One that can
follows the rows that have changed, as Delta's change data feed tells them, and comes out as a full build
would; what changes cannot be seen in it yet, such as this month's transactions in features of months' ends,
leaves it as it is. The others are built anew: `customer_360`, `loan_portfolio` and `loan_vintages` say how
things stand on the newest day in Silver, which moves on with each load. So is one that is as quick to build
as to follow: below 50,000 rows, of sums over fewer than 700,000 rows, or when changes reach much of it. After
each build, totals are compared with those of Silver, to the cent (of features and signals, those of the
newest period), as are the newest days, and counts must not be negative: a mart that does not
add up is put back as it was, and the run fails.

```bash
finlake run --layer gold --full-refresh
finlake query "SELECT product, exposure, non_performing_ratio FROM gold.loan_portfolio ORDER BY exposure DESC"
```

Money is never converted: amounts are in the `currency` of their row. A ratio that has nothing to divide by is
null, unless its mart says otherwise.
"""
WAYS = {
    Sums: "adds what changed rows contribute now, and takes away what they contributed before",
    Slices: "computes the keys of changed rows anew, and keeps the others; all of it, if these are many",
    Windows: "computes the days of keys anew that changed rows can reach; all of it, if these are many",
}


def page() -> str:
    """The whole page."""
    lines = [HEAD, "## Key figures", "", *_kpis(), "", "## Views", "", *_views(), ""]
    for mart in sorted(MARTS, key=lambda mart: mart.name):
        lines += _mart(mart)
    return "\n".join(lines)


def _kpis() -> Iterator[str]:
    yield "One definition each, for the dashboard, QuickSight and whoever asks by SQL."
    yield ""
    yield "| key figure | formula | from | unit | by | owner | meaning |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for kpi in KPIS:
        by = ", ".join(kpi.grain)
        cells = (f"`{kpi.name}`", f"`{kpi.formula}`", kpi.table, kpi.unit, by, kpi.owner, kpi.meaning)
        yield f"| {' | '.join(cells)} |"


def _views() -> Iterator[str]:
    yield "In Glue's catalogue, for Athena and all that reads by it."
    yield ""
    yield "| view | answers | columns |"
    yield "| --- | --- | --- |"
    for view in VIEWS:
        yield f"| `{view.name}` | {view.question} | {', '.join(column.name for column in view.columns)} |"


def _mart(mart: Mart) -> Iterator[str]:
    text = inspect.getdoc(inspect.getmodule(mart.build)) or mart.description
    yield f"## {mart.name}"
    yield ""
    yield text
    yield ""
    way = WAYS.get(type(mart.increment), "is built anew when an input has changed")
    if isinstance(mart.increment, Sums) and mart.increment.clock:
        way += "; and so for rows that have not changed, but for which the present has come"
    yield f"Reads {', '.join(mart.inputs)}. When they change, it {way}."
    yield ""
    yield "| column | type | meaning | PII |"
    yield "| --- | --- | --- | --- |"
    for column in mart.columns:
        yield f"| `{column.name}` | {column.type} | {column.comment} | {column.pii_class or ''} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
