"""How rows are laid out in files: as they come, clustered by day, and partitioned by day.

A million transactions are loaded in each layout, then come an increment of 2 % and maintenance. Afterwards
DuckDB is asked for the sums of one week and of one account.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final
from unittest.mock import patch

import psutil

from bench.silver import GB, make_files
from contracts import load_contracts
from pipeline.maintain import maintain
from pipeline.query import connect
from pipeline.run import run_pipeline
from pipeline.settings import Settings

ENTITY: Final = "transactions"
NEEDED: Final = ("customers", "accounts", ENTITY)
DAY: Final = ("transaction_date",)
LAYOUTS: Final[dict[str, dict[str, tuple[str, ...]]]] = {
    "as they come": {"cluster_by": (), "partition_by": ()},
    "clustered by day": {"cluster_by": DAY, "partition_by": ()},
    "partitioned by day": {"cluster_by": (), "partition_by": DAY},
}
QUESTIONS: Final = {
    "sums of a week": "transaction_date BETWEEN '2025-11-03' AND '2025-11-09'",
    "sums of an account": "account_id = (SELECT min(account_id) FROM {table})",
}
ASKED: Final = 9


@dataclass(frozen=True)
class Figures:
    """What was measured of one layout."""

    full: float
    increment: float
    maintenance: float
    files_before: int
    files: int
    bytes: int
    asked: dict[str, float]


def main() -> int:
    """Measure, print a page and write it."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="finlake-bench-") as name:
        folder = Path(name)
        print("making files", file=sys.stderr)
        files, rows = make_files(folder / "files", options.rows)
        figures = {}
        for layout in ("as they come", *LAYOUTS):  # the first time warms Spark up, and is not counted
            print(layout, file=sys.stderr)
            figures[layout] = measure(layout, files, folder / "lake")
            shutil.rmtree(folder / "lake")
    page = as_page(figures, rows)
    print(page)
    if options.page:
        options.page.write_text(page, encoding="utf-8")
    return 0


def measure(layout: str, files: Path, lake: Path) -> Figures:
    """Load the files in a layout into a new lake, and ask the questions."""
    contracts = load_contracts()
    contracts[ENTITY] = replace(contracts[ENTITY], **LAYOUTS[layout])
    settings = Settings(
        env="bench", **{f"{layer}_uri": f"file://{lake / layer}" for layer in ("bronze", "silver", "gold")}
    )
    with patch("pipeline.run.load_contracts", lambda: contracts):
        seconds = [load(files / step, lake, settings) for step in ("full", "2%")]
    with patch("pipeline.maintain.load_contracts", lambda: contracts):
        work = next(work for work in maintain(settings).tables if work.table == f"silver.{ENTITY}")
    uri = settings.table_uri("silver", ENTITY)
    asked = {name: ask(uri, condition) for name, condition in QUESTIONS.items()}
    return Figures(*seconds, work.seconds, work.before.files, work.after.files, work.after.bytes, asked)


def load(files: Path, lake: Path, settings: Settings) -> float:
    """Load files into Silver; the seconds that transactions took."""
    for file in (file for entity in NEEDED for file in files.glob(f"{entity}/*.csv")):
        folder = lake / "bronze" / file.parent.name / "ingest_date=2027-02-01"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(file, folder / f"{files.name}-{file.name}")
    report = run_pipeline(settings, entities=NEEDED)
    if report.errors:
        raise RuntimeError(report.errors)
    return next(entry.seconds for entry in report.entities if entry.entity == ENTITY)


def ask(uri: str, condition: str) -> float:
    """Seconds that DuckDB takes for the sums of the rows that a condition holds for; the median."""
    connection = connect()
    table = f"delta_scan('{uri}')"
    question = f"SELECT count(*), sum(amount) FROM {table} WHERE {condition.format(table=table)}"
    taken = []
    for _ in range(ASKED):
        begin = time.perf_counter()
        found = connection.execute(question).fetchone()
        taken.append(time.perf_counter() - begin)
        if not found or not found[0]:
            raise RuntimeError(f"there are no rows: {question}")
    return statistics.median(taken)


def as_page(figures: dict[str, Figures], rows: dict[str, int]) -> str:
    """The page of results."""
    memory = psutil.virtual_memory().total / GB
    first = next(iter(figures.values()))
    lines = [
        "# Layouts of transactions in files",
        "",
        "```bash",
        f"python -m bench.layout {' '.join(sys.argv[1:])}".strip(),
        "```",
        "",
        f"One machine with {os.cpu_count()} cores and {memory:.0f} GB. Rows of all entities: "
        f"{rows['full']:,}, and {rows['2%']:,} of an increment, half of them newer versions of rows from all "
        "over. Times are of transactions alone, with the ratio to the first layout; answers are DuckDB's.",
        "",
        "| | " + " | ".join(figures) + " |",
        "| --- |" + " ---: |" * len(figures),
    ]
    times: dict[str, Callable[[Figures], float]] = {
        "full load": lambda each: each.full,
        "increment of 2 %": lambda each: each.increment,
        "maintenance": lambda each: each.maintenance,
    } | {name: partial(lambda name, each: each.asked[name], name) for name in QUESTIONS}
    for name, time_of in times.items():
        cells = [f"{time_of(each):.3g} s ({time_of(each) / time_of(first):.2f})" for each in figures.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for name, number in {
        "files before maintenance": lambda each: f"{each.files_before:,}",
        "files afterwards": lambda each: f"{each.files:,}",
        "bytes afterwards": lambda each: f"{each.bytes:,}",
    }.items():
        lines.append(f"| {name} | {' | '.join(map(number, figures.values()))} |")
    return "\n".join([*lines, ""])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.layout", description=__doc__.partition("\n")[0])
    parser.add_argument("--page", type=Path, metavar="FILE", help="where to write the page of results")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the full load (default: 1,000,000)")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
