"""What ten million customers cost the dashboard, and whether its figures of them are right.

    python -m bench.dashboard --page bench/results/dashboard.md

Three tables of Gold, written by DuckDB and delta-rs, no Spark: ``customer_360`` with ten million customers
of 40 countries, 8 currencies and all segments, scores and states; then the odd ones: ``monthly_cash_flow``
with ten million branches, and ``loan_vintages`` with ten million currencies. Ten thousand customers and
branches, and eight currencies, are what they are compared with. For both, the page is made and opened in
Chromium, and figures of the page, selected by its filters, are compared with those of DuckDB alone.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil
from deltalake import write_deltalake

from pipeline.dashboard.cubes import KPI
from pipeline.dashboard.layout import CUBES
from pipeline.dashboard.model import Lake, read_model
from pipeline.dashboard.page import render
from pipeline.query import attach_uri, connect
from pipeline.settings import Settings
from pipeline.tables import table_version
from tests.browser.chromium import chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROUNDS: Final = 3
FEW: Final = 10_000
GB: Final = 2**30
CURRENCIES: Final = ("CHF", "CZK", "EUR", "GBP", "HUF", "PLN", "SEK", "USD")
TABLES: Final = {
    "gold.customer_360": """
        SELECT printf('C%010d', n) AS customer_id, DATE '2026-06-30' AS as_of_date,
            printf('X%02d', hash(n) % 40) AS country,
            ['retail', 'private', 'business'][1 + (hash(n + 1) % 3)::INT] AS segment,
            ['verified', 'pending', 'expired', 'rejected'][1 + (hash(n + 2) % 4)::INT] AS kyc_status,
            ['poor', 'fair', 'good', 'very_good', 'exceptional'][1 + (hash(n + 3) % 5)::INT] AS credit_band,
            {currencies}[1 + (hash(n + 4) % 8)::INT] AS currency,
            (hash(n + 5) % 5000000)::DECIMAL(28, 2) / 100 AS total_balance,
            (hash(n + 6) % 40)::BIGINT AS transaction_count_90d
        FROM range({count}) AS t(n)""",
    "gold.monthly_cash_flow": """
        SELECT DATE '2026-06-01' AS month, 'B' || n AS branch_code,
            {currencies}[1 + (hash(n) % 8)::INT] AS currency,
            (hash(n + 1) % 5000000)::DECIMAL(28, 2) / 100 AS inflow,
            (hash(n + 2) % 5000000)::DECIMAL(28, 2) / 100 AS outflow, inflow - outflow AS net_cash_flow
        FROM range({count}) AS t(n)""",
    "gold.loan_vintages": """
        SELECT DATE '2026-01-01' AS vintage, 'auto' AS product, 1 AS months_on_book,
            CASE WHEN {count} > {few} THEN 'C' || n ELSE {currencies}[1 + (n % 8)::INT] END AS currency,
            DATE '2026-06-30' AS as_of_date, 1::BIGINT AS loan_count,
            100::DECIMAL(28, 2) AS originated_amount,
            1::DECIMAL(28, 2) AS delinquent_30_amount, 0::DECIMAL(28, 2) AS defaulted_amount
        FROM range({count}) AS t(n)""",
}
SELECTIONS: Final = (
    ("customers", "customers", {"currency": "EUR"}),
    ("customers", "deposits", {"currency": "EUR", "country": "X07"}),
    ("customers", "active_customer_share", {"currency": "PLN", "country": "X31", "segment": "business"}),
    ("cash_flow", "inflow", {"currency": "EUR"}),
    ("cash_flow", "net_cash_flow", {"currency": "SEK"}),
)
"""Cube, key figure, and what is filtered by."""


@dataclass(frozen=True)
class Measured:
    """What a page of so many of each took.

    Attributes:
        read: Seconds to read its figures, by round.
        alone: Seconds that DuckDB alone takes for the statements of its cubes, by round.
        megabytes: Size of the page.
        paint: Milliseconds to the first contentful paint, by round.
        filtered: Milliseconds from a filter's change until all charts are drawn again, by round.
        cells: Combinations, by cube; None for what is not on the page.
        wrong: Figures of the page that are not those of DuckDB.
        notes: What the page says of its limits.
    """

    read: list[float]
    alone: list[float]
    megabytes: float
    paint: list[float]
    filtered: list[float]
    cells: dict[str, int | None]
    wrong: list[str]
    notes: list[str]


def main() -> int:
    """Measure, print a page and write it; 1 if a figure is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000_000, help="customers, branches and currencies")
    parser.add_argument("--page", type=Path, help="file for the results")
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    measured = {}
    for count in (FEW, options.count):
        with tempfile.TemporaryDirectory(prefix="finlake-bench-") as folder:
            measured[count] = measure(Path(folder), count)
    text = as_page(measured, options.count, load_before)
    print(text)
    if options.page:
        options.page.write_text(text, encoding="utf-8")
    return int(any(one.wrong for one in measured.values()))


def measure(folder: Path, count: int) -> Measured:
    """Write the tables, make the page, and look at it."""
    uris = {f"{layer}_uri": f"file://{folder / layer}" for layer in ("bronze", "silver", "gold")}
    settings = Settings(env="bench", **uris)
    print(f"writing {count:,} of each", file=sys.stderr, flush=True)
    lake = write(settings, count)
    connection = connect()
    for name, uri in lake.uris.items():
        attach_uri(connection, *name.split("."), uri)
    model, read, alone = {}, [], []
    shown = [cube for cube in CUBES if cube.table in TABLES]
    for _ in range(ROUNDS):
        print("reading", file=sys.stderr, flush=True)
        begun = time.perf_counter()
        model = read_model(settings, lake)
        read.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        for cube in shown:
            if "missing" not in model["cubes"][cube.name]:
                connection.execute(cube.sql()).fetchall()
        alone.append(time.perf_counter() - begun)
    found = {cube.name: model["cubes"][cube.name] for cube in shown}
    cells = {
        name: None if "missing" in cube else len(cube["parts"][0]["values"]) for name, cube in found.items()
    }
    notes = [note for cube in found.values() for note in cube.get("notes", ())]
    file = folder / "gold.html"
    file.write_text(render(model), encoding="utf-8")
    paint, filtered, wrong = [], [], []
    with chromium() as browser:
        for _ in range(ROUNDS):
            page = browser.new_page()
            page.goto(file.as_uri())
            page.wait_for_selector("html[data-ready=yes]", state="attached")
            paint.append(
                float(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
            )
            begun = time.perf_counter()
            page.get_by_label("Currency", exact=True).select_option("SEK")
            page.wait_for_selector("html[data-ready=yes]", state="attached")
            filtered.append(1000 * (time.perf_counter() - begun))
            page.close()
        page = browser.new_page()
        for cube, kpi, selection in SELECTIONS:
            got = figure(page, file.as_uri(), cube, kpi, selection)
            where = " AND ".join(f"{column} = '{value}'" for column, value in selection.items())
            row = connection.execute(
                f"SELECT {KPI[kpi].formula} FROM {KPI[kpi].table} WHERE {where}"
            ).fetchone()
            true = float(row[0]) if row and row[0] is not None else None
            tolerance = 5.1e-5 if KPI[kpi].unit == "fraction" else 0.005
            if true is None or got is None or abs(got - true) > tolerance:
                wrong.append(f"{kpi} of {json.dumps(selection)}: {got}, and {true} by DuckDB")
        if cells["vintages"] is None:
            notes.append(page.locator("#vintages .empty").inner_text())
    connection.close()
    return Measured(read, alone, file.stat().st_size / 1e6, paint, filtered, cells, wrong, notes)


def write(settings: Settings, count: int) -> Lake:
    """The tables, with so many rows each."""
    connection, uris = connect(), {}
    for name, sql in TABLES.items():
        uris[name] = settings.table_uri(*name.split("."))
        rows = connection.execute(sql.format(count=count, few=FEW, currencies=list(CURRENCIES)))
        write_deltalake(uris[name], rows.to_arrow_reader(1_000_000))
    connection.close()
    return Lake(uris, {name: table_version(uri) for name, uri in uris.items()})


def figure(page: Page, address: str, cube: str, kpi: str, selection: dict[str, str]) -> float | None:
    """A figure as the page shows it in full, with its filters set."""
    chosen = "&".join(
        f"{'' if name == 'currency' else 'only.'}{name}={value}" for name, value in selection.items()
    )
    page.goto("about:blank")
    page.goto(f"{address}#?{chosen}")
    page.wait_for_selector("html[data-ready=yes]", state="attached")
    box = page.locator(f".figure[data-cube={cube}][data-kpi={kpi}] dd")
    text = box.get_attribute("title") or ""
    number = re.sub(r"[^0-9.-]", "", text)
    return None if not number else float(number) / (100 if text.endswith("%") else 1)


def as_page(measured: dict[int, Measured], count: int, load_before: float) -> str:
    """The page of results."""
    few, many = measured[FEW], measured[count]
    memory = psutil.virtual_memory().total / GB
    rows = {
        "reading the figures": (few.read, many.read, "s"),
        "DuckDB alone, the same statements": (few.alone, many.alone, "s"),
        "size of the page": ([few.megabytes], [many.megabytes], "MB"),
        "first contentful paint": (few.paint, many.paint, "ms"),
        "a filter's change, until all charts are drawn": (few.filtered, many.filtered, "ms"),
    }
    lines = [
        "# Ten million customers on the dashboard",
        "",
        "```bash",
        f"python -m bench.dashboard {' '.join(sys.argv[1:])}".strip(),
        "```",
        "",
        f"One machine with {os.cpu_count()} cores and {memory:.0f} GB, load {load_before:.1f} before. "
        f"Medians of {ROUNDS} rounds. {count:,} customers of 40 countries and 8 currencies, {count:,} "
        f"branches and {count:,} currencies, against {FEW:,} customers and branches, and 8 currencies.",
        "",
        f"| | {FEW:,} | {count:,} | ratio |",
        "| --- | ---: | ---: | ---: |",
    ]
    for what, (one, other, unit) in rows.items():
        low, high = statistics.median(one), statistics.median(other)
        digits = 0 if unit == "ms" else 2
        lines.append(f"| {what}, {unit} | {low:.{digits}f} | {high:.{digits}f} | {high / low:.2f} |")
    names = {"customers": "customers", "cash_flow": "branches", "vintages": "currencies"}
    for cube, what in names.items():
        cells = [
            "not on the page" if one.cells[cube] is None else f"{one.cells[cube]:,}" for one in (few, many)
        ]
        lines.append(f"| combinations of {what} | {' | '.join(cells)} | |")
    ratio = statistics.median(read / alone for read, alone in zip(many.read, many.alone, strict=True))
    wrong = [*few.wrong, *many.wrong]
    return "\n".join(
        [
            *lines,
            "",
            f"Reading takes {ratio:.2f} of what DuckDB alone takes for the same statements; it counts "
            "combinations first.",
            "",
            f"What the page of {count:,} says of its limits:",
            "",
            *[f"- {note}" for note in dict.fromkeys(many.notes)],
            "",
            "## Are the figures right?",
            "",
            *(
                [f"- {one}" for one in wrong]
                or [f"Yes: {len(SELECTIONS)} figures by their filters, in both, are those of DuckDB alone."]
            ),
            "",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
