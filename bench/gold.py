"""What Gold costs: by what has changed, anew, and by plain Spark alone; and what reading the dashboard costs.

    python -m bench.gold --page bench/results/gold.md

One process, one lake on the local disk, side by side. Each round loads an increment of about 2 % into Silver
and then brings Gold up to date three times: by what has changed; by a full refresh; and by plain Spark, which
reads Silver, builds the same frames and overwrites tables of its own, two at a time, without expectations,
provenance, lineage or ledger. Increments are of two kinds: the bank's next days, as the generator makes them,
and rows from all over, half newer versions and half new keys, the worst that can come. Tables are opened
before the clock starts. The first round of each kind is not counted; what counts is the median of the rounds'
ratios. In the end the marts of all three are compared, and the dashboard's figures are read, against DuckDB
alone with the same statements.
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

from bench.silver import GB, ROWS_PER_CUSTOMER, increment, make_files
from contracts import load_contracts
from datagen import generate
from datagen.schedule import HISTORY_DAYS
from pipeline.dashboard.layout import CUBES
from pipeline.dashboard.model import Lake, read_model, wanted_tables
from pipeline.gold import MARTS
from pipeline.query import attach_uri, connect
from pipeline.run import PARALLEL, run_pipeline
from pipeline.settings import Settings
from pipeline.tables import table_version

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from pipeline.gold import Mart

SHARE: Final = 0.02
GOALS: Final = {"update / full refresh": 0.25, "full refresh / plain Spark": 1.05}
KINDS: Final = {"days": "the bank's next days", "everywhere": "rows from all over"}
PAGE_ROUNDS: Final = 7

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
        for day in range(1, 1 + options.more_days):
            rows["full"] += make_day(day, files / "full", options.rows)
        _note("loading")
        put(files / "full", folder / "lake", 0)
        run(settings)
        seconds = {kind: defaultdict[str, list[float]](list) for kind in KINDS}
        by_mart = {kind: defaultdict[str, list[float]](list) for kind in KINDS}
        number, held = 0, HISTORY_DAYS + options.more_days
        new_days = max(1, round(SHARE * held))  # about 2 % of what the lake holds
        for kind in KINDS:
            for index in range(options.rounds + 1):
                _note(f"{kind}: round {index} of {options.rounds}")
                number += 1
                step = folder / "files" / f"{kind} {index}"
                if kind == "days":
                    first = 1 + options.more_days + index * new_days
                    for day in range(first, first + new_days):
                        make_day(day, step, options.rows)
                else:
                    make_everywhere(index, files, step)
                put(folder / "files" / f"{kind} {index}", folder / "lake", number)
                counted = (seconds[kind], by_mart[kind]) if index else ({}, {})
                one_round(folder, settings, counted)
        differences = compare(folder / "lake" / "gold", folder / "plain")
        page_seconds = read_page(settings)
    memory = psutil.virtual_memory().total / GB
    about = (
        f"One machine with {os.cpu_count()} cores and {memory:.0f} GB, load {load_before:.1f} before. "
        f"{rows['full']:,} rows of all entities, {held} days of transactions; each round brings "
        f"about 2 % of them: {new_days} more days, or rows from all over. {options.rounds} rounds "
        "of each by one warm process; medians."
    )
    page = as_page(seconds, by_mart, page_seconds, differences, about)
    print(page)
    if options.page:
        options.page.write_text(page, encoding="utf-8")
    return int(" missed |" in page or bool(differences))


def make_day(day: int, step: Path, rows: int) -> int:
    """Files of one of the bank's days after its history, the generator's, without dirt; how many rows."""
    raw = step / f"day {day}"
    made = generate(raw, scale=max(50, rows // ROWS_PER_CUSTOMER), batch=day, dirty=0)
    for file in raw.glob("*/*/*.csv"):
        (step / file.parent.parent.name).mkdir(exist_ok=True)
        file.rename(step / file.parent.parent.name / f"{day}-{file.name}")
    return sum(entity.rows for entity in made.entities.values())


def make_everywhere(index: int, files: Path, step: Path) -> None:
    """Files of rows from all over: newer versions of some, others under new keys."""
    for entity, contract in load_contracts().items():
        base = pl.read_csv(files / "full" / entity / "*.csv", infer_schema=False)
        (step / entity).mkdir(parents=True)
        changed = increment(base, contract.key[0], contract.version_column, share=SHARE, number=2 + index)
        changed.write_csv(step / entity / "rows.csv")


def one_round(folder: Path, settings: Settings, counted: tuple[Seconds, Seconds]) -> None:
    """Load what is new, and Gold three times."""
    from pipeline.session import start_session

    run(settings, layer="silver")
    spark = start_session()
    for name in sorted(
        {name for mart in MARTS for name in mart.inputs}
    ):  # who comes first would pay for that
        spark.read.format("delta").load(settings.table_uri("silver", name)).count()
    taken = {"update": run(settings, layer="gold"), "full refresh": run(settings, layer="gold", full=True)}
    begin = time.perf_counter()
    plain(spark, settings, folder / "plain")
    taken["plain Spark"] = time.perf_counter() - begin, {}
    for what, (total, marts) in taken.items():
        counted[0].setdefault(what, []).append(total)
        for mart, value in marts.items():
            counted[1].setdefault(f"{what} {mart}", []).append(value)


def read_page(settings: Settings) -> Seconds:
    """Seconds that the dashboard takes to read its figures, and DuckDB alone with the same statements."""
    uris = {name: settings.table_uri(*name.split(".")) for name in sorted(wanted_tables())}
    lake = Lake(uris, {name: table_version(uri) for name, uri in uris.items()})

    def alone() -> None:
        connection = connect()
        for name, uri in uris.items():
            attach_uri(connection, *name.split("."), uri)
        for cube in CUBES:
            connection.execute(cube.sql()).fetchall()
        connection.close()

    taken: Seconds = defaultdict(list)
    for index in range(PAGE_ROUNDS + 1):
        for what, work in (("dashboard", lambda: read_model(settings, lake)), ("DuckDB alone", alone)):
            begin = time.perf_counter()
            work()
            if index:
                taken[what].append(time.perf_counter() - begin)
    return taken


def put(files: Path, lake: Path, number: int) -> None:
    """Put files into Bronze, as links."""
    for file in files.glob("*/*.csv"):
        folder = lake / "bronze" / file.parent.name / f"ingest_date=2027-02-{1 + number:02}"
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


def as_page(
    seconds: dict[str, Seconds],
    by_mart: dict[str, Seconds],
    page: Seconds,
    differences: list[str],
    about: str,
) -> str:
    """The page of results."""
    lines = [
        "# Gold: what has changed, all anew, and plain Spark; and the dashboard",
        "",
        "```bash",
        f"python -m bench.gold {' '.join(sys.argv[1:])}".strip(),
        "```",
        "",
        about,
        "",
        "| ratio | increment | median | rounds' ratios | goal | |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]
    for what, goal in GOALS.items():
        for kind, words in KINDS.items():
            lines.append(_ratio(what, words, seconds[kind], goal))
    lines.append(_ratio("dashboard / DuckDB alone", "", page, None))
    for kind, words in KINDS.items():
        found = seconds[kind]
        lines += ["", f"| seconds: {words} | {' | '.join(found)} |", "| --- |" + " ---: |" * len(found)]
        lines.append(
            "| all | " + " | ".join(f"{statistics.median(taken):.1f}" for taken in found.values()) + " |"
        )
        for mart in MARTS:
            of_mart = [by_mart[kind].get(f"{what} {mart.name}") for what in found]
            cells = [f"{statistics.median(taken):.1f}" if taken else "" for taken in of_mart]
            lines.append(f"| {mart.name} | {' | '.join(cells)} |")
    same = "Yes, to the row." if not differences else f"No: {', '.join(differences)}."
    read = ", ".join(f"{what} {statistics.median(taken):.3f} s" for what, taken in page.items())
    return "\n".join(
        [
            *lines,
            "",
            f"Seconds of marts are of two at a time. Reading the page's figures: {read}; the dashboard "
            "counts combinations first, lists marts and runs, and makes JSON.",
            "",
            "## Are the marts equal?",
            "",
            same,
            "",
        ]
    )


def _ratio(what: str, kind: str, seconds: Seconds, goal: float | None) -> str:
    above, below = (seconds[name] for name in what.split(" / "))
    ratios = [one / other for one, other in zip(above, below, strict=True)]
    median = statistics.median(ratios)
    shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    aim = "|" if goal is None else f"at most {goal:.2f} | {'met' if median <= goal else 'missed'}"
    return f"| {what} | {kind} | {median:.2f} | {shown} | {aim} |"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows, without --more-days")
    parser.add_argument("--more-days", type=int, default=0, help=f"days of history beyond {HISTORY_DAYS}")
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count (at most 6)")
    parser.add_argument("--page", type=Path, help="file for the results")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    return parser.parse_args()


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
