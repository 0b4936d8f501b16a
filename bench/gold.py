"""What Gold costs: after an increment against built anew, and against the same SQL in plain Spark.

    python -m bench.gold --page bench/results/gold.md

One process, one lake on the local disk, side by side. Each round loads an increment of 2 % into Silver and
then brings Gold up to date three times: by what has changed; by a full refresh; and by plain Spark, which
reads Silver, builds the same frames and overwrites tables of its own, two at a time, without expectations,
provenance, lineage or ledger. The first round is not counted; what counts is the median of the rounds'
ratios. In the end the marts of all three are compared.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl
import psutil

from bench.silver import GB, increment, make_files
from contracts import load_contracts
from pipeline.gold import MARTS
from pipeline.run import PARALLEL, run_pipeline
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pipeline.gold import Mart

SHARE: Final = 0.02
GOALS: Final = {"update / full refresh": 0.25, "full refresh / plain Spark": 1.05}

Seconds = dict[str, list[float]]


def main() -> int:
    """Measure, print a page and write it; 1 if a goal is missed or marts differ."""
    options = _options()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="finlake-bench-", dir=options.folder) as name:
        folder = Path(name)
        _note("making files")
        files, rows = make_files(folder / "files", options.rows)
        uris = {f"{layer}_uri": f"file://{folder / 'lake' / layer}" for layer in ("bronze", "silver", "gold")}
        settings = Settings(env="bench", **uris)
        _note("loading")
        put(files / "full", folder / "lake", 0)
        run(settings)
        seconds: Seconds = defaultdict(list)
        by_mart: Seconds = defaultdict(list)
        for index in range(options.rounds + 1):
            _note(f"round {index} of {options.rounds}")
            one_round(index, files, folder, settings, (seconds, by_mart) if index else ({}, {}))
        differences = compare(folder / "lake" / "gold", folder / "plain")
    page = as_page(seconds, by_mart, rows["full"], differences, load_before)
    print(page)
    if options.page:
        options.page.write_text(page, encoding="utf-8")
    return int(" missed |" in page or bool(differences))


def one_round(
    index: int, files: Path, folder: Path, settings: Settings, counted: tuple[Seconds, Seconds]
) -> None:
    """An increment, and Gold three times."""
    from pipeline.session import start_session

    step = folder / "files" / f"round {index}"
    for entity, contract in load_contracts().items():
        base = pl.read_csv(files / "full" / entity / "*.csv", infer_schema=False)
        (step / entity).mkdir(parents=True)
        changed = increment(base, contract.key[0], contract.version_column, share=SHARE, number=2 + index)
        changed.write_csv(step / entity / "rows.csv")
    put(step, folder / "lake", 1 + index)
    run(settings, layer="silver")
    taken = {"update": run(settings, layer="gold"), "full refresh": run(settings, layer="gold", full=True)}
    begin = time.perf_counter()
    plain(start_session(), settings, folder / "plain")
    taken["plain Spark"] = time.perf_counter() - begin, {}
    for what, (total, marts) in taken.items():
        counted[0].setdefault(what, []).append(total)
        for mart, value in marts.items():
            counted[1].setdefault(f"{what} {mart}", []).append(value)


def put(files: Path, lake: Path, number: int) -> None:
    """Put files into Bronze, as links."""
    for file in files.glob("*/*.csv"):
        folder = lake / "bronze" / file.parent.name / f"ingest_date=2026-01-{1 + number:02}"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(file, folder / file.name)


def run(settings: Settings, *, layer: str = "all", full: bool = False) -> tuple[float, dict[str, float]]:
    """Run; the seconds that Gold took, and those of each mart that was touched."""
    report = run_pipeline(settings, layer=layer, full_refresh=full)
    if report.errors:
        raise RuntimeError(report.errors)
    return report.seconds.get("gold", 0.0), {mart.mart: mart.seconds for mart in report.marts if mart.seconds}


def plain(spark: SparkSession, settings: Settings, gold: Path) -> None:
    """Build all marts by Spark alone."""
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        for done in [pool.submit(plain_mart, spark, mart, settings, gold) for mart in MARTS]:
            done.result()


def plain_mart(spark: SparkSession, mart: Mart, settings: Settings, gold: Path) -> None:
    """Build a mart by Spark alone."""
    from pyspark.sql import functions as F  # noqa: N812

    tables = {
        name: spark.read.format("delta").load(settings.table_uri("silver", name)) for name in mart.inputs
    }
    columns = [F.col(column.name).cast(column.type).alias(column.name) for column in mart.columns]
    rows = mart.build(tables).select(*columns)
    if not mart.is_large:
        rows = rows.coalesce(1)
    rows.write.format("delta").mode("overwrite").save(f"file://{gold / mart.name}")


def compare(ours: Path, theirs: Path) -> list[str]:
    """Names of the marts in which finlake and plain Spark differ."""
    differing = []
    for mart in MARTS:
        names = [column.name for column in mart.columns]
        one, other = (
            pl.read_delta(str(root / mart.name)).select(names).sort(mart.key) for root in (ours, theirs)
        )
        if not one.equals(other, null_equal=True):
            differing.append(mart.name)
    return differing


def as_page(seconds: Seconds, by_mart: Seconds, rows: int, differences: list[str], load: float) -> str:
    """The page of results."""
    memory = psutil.virtual_memory().total / GB
    lines = [
        "# Gold: what has changed, all anew, and plain Spark",
        "",
        "```bash",
        f"python -m bench.gold {' '.join(sys.argv[1:])}".strip(),
        "```",
        "",
        f"One machine with {os.cpu_count()} cores and {memory:.0f} GB, load {load:.1f} before. {rows:,} rows "
        f"of all entities; each round changes 2 % of them, from all over. {len(seconds['update'])} rounds by "
        "one warm process; medians.",
        "",
        "| ratio | median | rounds' ratios | goal | |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for what, goal in GOALS.items():
        above, below = (seconds[name] for name in what.split(" / "))
        ratios = [one / other for one, other in zip(above, below, strict=True)]
        median = statistics.median(ratios)
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        verdict = "met" if median <= goal else "missed"
        lines.append(f"| {what} | {median:.2f} | {shown} | at most {goal:.2f} | {verdict} |")
    lines += ["", "| seconds | " + " | ".join(seconds) + " |", "| --- |" + " ---: |" * len(seconds)]
    lines.append(
        "| all | " + " | ".join(f"{statistics.median(taken):.1f}" for taken in seconds.values()) + " |"
    )
    for mart in MARTS:
        found = [by_mart.get(f"{what} {mart.name}") for what in seconds]
        cells = [f"{statistics.median(taken):.1f}" if taken else "" for taken in found]
        lines.append(f"| {mart.name} | {' | '.join(cells)} |")
    same = "Yes, to the row." if not differences else f"No: {', '.join(differences)}."
    return "\n".join(
        [*lines, "", "Seconds of marts are of two at a time.", "", "## Are the marts equal?", "", same, ""]
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of all entities")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count (at most 6)")
    parser.add_argument("--page", type=Path, help="file for the results")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    return parser.parse_args()


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
