"""The generator against other ways to make rows, side by side; see bench/README.md.

Each case is a process of its own, with one thread for Polars. Cases on one core are measured in processor
seconds, so that other work on the machine counts little; those that compare one worker with two, or a bucket
with a folder, by the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO, StringIO
from pathlib import Path

FAKER_ROWS, MIMESIS_ROWS, LOOP_ROWS = 4_000, 20_000, 60_000
LONG = 16
"""How many times as many customers the runs have that show memory, and two workers against one."""
GOALS = {
    "transactions / Faker row by row": 120.0,
    "transactions / write_csv of a ready frame": 0.5,
    "two workers / one worker": 1.8,
    "two workers / one worker, by processor seconds": 1.8,
    "bucket / folder": 0.8,
}
MOST_MEMORY = 1_000
"""Megabytes."""


def faker_rows() -> int:
    """Rows of 16 columns, each made by a call of Faker."""
    import csv

    from faker import Faker

    fake = Faker("de_DE")
    writer = csv.writer(StringIO())
    for number in range(FAKER_ROWS):
        at = fake.date_time_this_year()
        writer.writerow(
            [
                f"T{number:016d}", f"A{fake.random_int(1, 10**6):012d}", at.isoformat(), at.date(),
                fake.random_element(("card_payment", "transfer_in", "salary")),
                fake.random_element(("debit", "credit")), fake.random_element(("pos", "online")),
                fake.company(), fake.numerify("####"), fake.word(), fake.pydecimal(4, 2, positive=True),
                "EUR", fake.iban(), fake.sentence(3), "booked", at.isoformat(),
            ]
        )  # fmt: skip
    return FAKER_ROWS


def mimesis_rows() -> int:
    """The same row by Mimesis, a provider's call for each value."""
    import csv

    from mimesis import Generic, Locale

    make = Generic(Locale.DE, seed=1)
    number_of, filled = make.numeric.integer_number, make.random.generate_string_by_mask
    writer = csv.writer(StringIO())
    for number in range(MIMESIS_ROWS):
        at = make.datetime.datetime(start=2025, end=2025)
        writer.writerow(
            [
                f"T{number:016d}", f"A{number_of(1, 10**6):012d}", at.isoformat(), at.date(),
                make.choice(("card_payment", "transfer_in", "salary")), make.choice(("debit", "credit")),
                make.choice(("pos", "online")), make.finance.company(), filled("####"),
                make.text.word(), make.finance.price(), "EUR",
                filled("DE####################"), make.text.word(), "booked",
                at.isoformat(),
            ]
        )  # fmt: skip
    return MIMESIS_ROWS


def loop_rows() -> int:
    """The same row by the standard library: a loop, ``random`` and the csv module."""
    import csv
    import random
    from datetime import datetime, timedelta

    draw = random.Random(1)  # noqa: S311 - made-up data
    start, names = datetime(2025, 10, 1), [f"Merchant {n}" for n in range(500)]
    writer = csv.writer(StringIO())
    for number in range(LOOP_ROWS):
        at, name = start + timedelta(seconds=draw.randrange(90 * 86_400)), draw.choice(names)
        writer.writerow(
            [
                f"T{number:016d}", f"A{draw.randrange(10**6):012d}", at.isoformat(), at.date(),
                draw.choice(("card_payment", "transfer_in", "salary")), draw.choice(("debit", "credit")),
                draw.choice(("pos", "online")), name, f"{draw.randrange(10_000):04d}", "groceries",
                f"{draw.lognormvariate(3, 1):.2f}", "EUR", f"DE{draw.randrange(10**20):020d}",
                f"Card payment {name}", "booked", at.isoformat(),
            ]
        )  # fmt: skip
    return LOOP_ROWS


def transactions(scale: int) -> int:
    """Blocks of transactions as CSV, with all that their realism takes."""
    from datagen.block import PART_ROWS
    from datagen.lines import to_csv
    from datagen.schedule import Plan
    from datagen.transactions import TRANSACTIONS

    plan, rows = Plan(42, scale), 0
    for number in range(TRANSACTIONS.blocks(plan, 0)):
        for part in TRANSACTIONS.block(plan, 0, number).parts(PART_ROWS):
            to_csv(TRANSACTIONS.table(plan, part.index, 0))
            rows += len(part.index)
    return rows


def ready_frame(scale: int) -> tuple[int, float]:
    """Polars' ``write_csv`` of a frame of transactions that is there already: rows, and processor seconds."""
    from datagen.schedule import Plan
    from datagen.transactions import TRANSACTIONS

    plan = Plan(42, scale)
    frame = TRANSACTIONS.rows(plan, TRANSACTIONS.block(plan, 0, 0).index, 0)
    before = time.process_time()
    for _ in range(5):
        frame.write_csv(BytesIO())
    return 5 * frame.height, time.process_time() - before


def arrow_frame(scale: int) -> tuple[int, float]:
    """Arrow's CSV writer for the same frame: rows, and processor seconds."""
    import pyarrow as pa
    from pyarrow import csv

    from datagen.schedule import Plan
    from datagen.transactions import TRANSACTIONS

    plan = Plan(42, scale)
    frame = TRANSACTIONS.rows(plan, TRANSACTIONS.block(plan, 0, 0).index, 0).to_arrow()
    pa.set_cpu_count(1)
    before = time.process_time()
    for _ in range(5):
        csv.write_csv(frame, pa.BufferOutputStream())
    return 5 * frame.num_rows, time.process_time() - before


def everything(scale: int, workers: int) -> int:
    """All five entities into a folder, with dirt."""
    from datagen import generate

    with tempfile.TemporaryDirectory() as folder:
        return generate(folder, scale=scale, workers=workers).rows


def into_bucket(scale: int) -> tuple[int, float]:
    """The same by one worker into a bucket: rows, and seconds by the clock."""
    from datagen import generate

    with bucket() as name:
        before = time.perf_counter()
        rows = generate(f"s3://{name}", scale=scale, workers=1).rows
        return rows, time.perf_counter() - before


def bare_upload(scale: int) -> tuple[int, float]:
    """Ready rows of transactions into a bucket, one file of five blocks: rows, and seconds by the clock."""
    from datagen.block import Recipe, make_block
    from datagen.schedule import Plan
    from datagen.sink import Sink

    block = make_block(Recipe(Plan(42, scale), "transactions", 0, 0, "csv", "changes"), 0)
    with bucket() as name:
        sink = Sink(f"s3://{name}")
        before = time.perf_counter()
        sink.write("transactions.csv", [block.data] * 5)
        return 5 * sum(block.rows.values()), time.perf_counter() - before


@contextmanager
def bucket() -> Iterator[str]:
    """A bucket of the S3 that ``AWS_ENDPOINT_URL_S3`` names, for a while."""
    import boto3

    s3 = boto3.resource("s3")
    mine = s3.Bucket(f"bench-datagen-{os.getpid()}")
    mine.create(CreateBucketConfiguration={"LocationConstraint": s3.meta.client.meta.region_name})
    yield mine.name
    mine.objects.all().delete()
    mine.delete()


def long_run(scale: int, workers: int) -> tuple[int, float]:
    """A long run into a folder: rows, and the peak of memory, in MB, when a tenth of them was there."""
    from datagen import Progress, generate

    peaks: dict[int, float] = {}

    def note(step: Progress) -> None:
        if step.entity == "transactions":
            peaks[10 * step.done // step.total] = peak_memory()

    with tempfile.TemporaryDirectory() as folder:
        rows = generate(folder, scale=scale, workers=workers, on_progress=note).rows
    return rows, peaks[min(peaks)]


def peak_memory() -> float:
    """Most memory that this process has held so far, in MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def first_row(scale: int) -> int:
    """From the start of the process to the first block of rows."""
    from datagen.customers import CUSTOMERS
    from datagen.schedule import Plan

    plan = Plan(42, scale)
    return CUSTOMERS.rows(plan, CUSTOMERS.block(plan, 0, 0).index[:1], 0).height


def warm_up() -> None:
    """Import what is needed and make the pools of names, which does not depend on the number of rows."""
    from datagen import generate, tables

    tables(scale=5)
    with tempfile.TemporaryDirectory() as folder:
        generate(folder, scale=5)


def measure(case: str, scale: int) -> dict[str, float]:
    """Run one case in this process; ``own`` is what it measures itself, or its processor seconds."""
    cases: dict[str, Callable[[], int | tuple[int, float]]] = {
        "faker": faker_rows,
        "mimesis": mimesis_rows,
        "loop": loop_rows,
        "transactions": lambda: transactions(scale),
        "ready": lambda: ready_frame(scale),
        "arrow": lambda: arrow_frame(scale),
        "one": lambda: everything(scale, 1),
        "bucket": lambda: into_bucket(scale),
        "upload": lambda: bare_upload(scale),
        "long, one": lambda: long_run(LONG * scale, 1),
        "long, two": lambda: long_run(LONG * scale, 2),
        "first": lambda: first_row(scale),
    }
    if case not in ("faker", "mimesis", "loop", "first"):
        warm_up()
    clock, processor, before = time.perf_counter(), time.process_time(), os.times()
    result = cases[case]()
    wall, seconds = time.perf_counter() - clock, time.process_time() - processor
    rows, own = result if isinstance(result, tuple) else (result, seconds)
    every = sum(os.times()[:4]) - sum(before[:4])
    return {
        "rows": rows,
        "wall": wall,
        "processor": seconds,
        "all processors": every,
        "own": own,
        "peak": peak_memory(),
    }


def run(case: str, scale: int) -> dict[str, float]:
    """Run one case in a process of its own; ``start`` is how long it took as a whole."""
    before = time.perf_counter()
    command = [sys.executable, "-m", "bench.datagen", "--case", case, "--scale", str(scale)]
    environment = os.environ | {"POLARS_MAX_THREADS": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    result: dict[str, float] = json.loads(done.stdout)
    return result | {"start": time.perf_counter() - before}


def page(rounds: list[dict[str, dict[str, float]]], command: str, scale: int) -> str:
    """The results as a Markdown page."""
    median = statistics.median

    def speed(case: str, by: str) -> list[float]:
        return [one[case]["rows"] / one[case][by] for one in rounds if case in one]

    def line(name: str, values: list[float]) -> str:
        return f"| {name} | {median(values):,.0f} | {min(values):,.0f} to {max(values):,.0f} |"

    def ratio(one: list[float], other: list[float]) -> list[float]:
        return [a / b for a, b in zip(one, other, strict=True)]

    rows = {
        "Faker row by row": speed("faker", "processor"),
        "Mimesis row by row": speed("mimesis", "processor"),
        "loop with `random` and `csv`": speed("loop", "processor"),
        "**transactions**": speed("transactions", "processor"),
        "Polars' `write_csv` of a ready frame": speed("ready", "own"),
        "Arrow's `write_csv` of the same frame": speed("arrow", "own"),
        "**all five entities**, with dirt, one worker": speed("one", "processor"),
    }
    by_clock = {
        "one worker": speed("long, one", "wall"),
        "two workers": speed("long, two", "wall"),
        "fewer rows into a folder, one worker": speed("one", "wall"),
        "the same into a bucket": speed("bucket", "own"),
        "ready rows into a bucket": speed("upload", "own"),
    }
    mine = rows["**transactions**"]
    ratios = {
        "transactions / Faker row by row": ratio(mine, rows["Faker row by row"]),
        "transactions / write_csv of a ready frame": ratio(
            mine, rows["Polars' `write_csv` of a ready frame"]
        ),
        "two workers / one worker": ratio(by_clock["two workers"], by_clock["one worker"]),
    }
    # What it comes to when each worker has a processor for itself.
    ratios["two workers / one worker, by processor seconds"] = [
        2 * one for one in ratio(speed("long, two", "all processors"), speed("long, one", "all processors"))
    ]
    if by_clock["the same into a bucket"]:
        ratios["bucket / folder"] = ratio(
            by_clock["the same into a bucket"], by_clock["fewer rows into a folder, one worker"]
        )
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    lines = [
        "# The generator against other ways to make rows",
        "",
        "```bash",
        command,
        "```",
        "",
        f"{cores} cores ({platform.machine()}), Python {platform.python_version()}, load at the end "
        f"{os.getloadavg()[0]:.1f}. {len(rounds)} rounds, {scale:,} customers.",
        "",
        "| case | rows per processor second, median | least to greatest |",
        "| --- | ---: | ---: |",
        *(line(name, values) for name, values in rows.items()),
        "",
        "| all five entities | rows a second by the clock, median | least to greatest |",
        "| --- | ---: | ---: |",
        *(
            f"| {name} | {median(v):,.0f} | {min(v):,.0f} to {max(v):,.0f} |"
            for name, v in by_clock.items()
            if v
        ),
        "",
        "| ratio | median | rounds | goal | |",
        "| --- | ---: | ---: | ---: | --- |",
    ]
    for name, values in ratios.items():
        met = "met" if median(values) >= GOALS[name] else "missed"
        spread = f"{min(values):.2f} to {max(values):.2f}"
        lines.append(f"| {name} | {median(values):.2f} | {spread} | {GOALS[name]:g} | {met} |")
    long, few = (median(one[case]["rows"] for one in rounds) for case in ("long, one", "one"))
    early, late = (median(one["long, one"][name] for one in rounds) for name in ("own", "peak"))
    first = median(one["first"]["start"] for one in rounds)
    lines += [
        "",
        f"The runs by one and by two workers write {long:,.0f} rows, the others {few:,.0f}. Memory of one "
        f"worker: at most {early:,.0f} MB when a tenth of the transactions was there, and {late:,.0f} MB at "
        f"the end (goal: {MOST_MEMORY:,}).",
        f"From the start of a process to its first row: {first:.2f} s.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write the page when asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=int, default=20_000, help="customers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--page", type=Path, help="write the results here")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.case:
        print(json.dumps(measure(options.case, options.scale)))
        return
    cases = [
        "faker", "mimesis", "loop", "transactions", "ready", "arrow", "one", "first",
        "bucket", "upload", "long, one", "long, two",
    ]  # fmt: skip
    if not os.environ.get("AWS_ENDPOINT_URL_S3"):
        cases = [case for case in cases if case not in ("bucket", "upload")]
    rounds = []
    for number in range(options.rounds):
        order = cases if number % 2 == 0 else cases[::-1]
        rounds.append({case: run(case, options.scale) for case in order})
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    command = f"python -m bench.datagen --scale {options.scale} --rounds {options.rounds}"
    text = page(rounds, command, options.scale)
    print(text)
    if options.page:
        options.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
