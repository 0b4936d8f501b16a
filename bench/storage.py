"""What S3 costs against the local disk, and what ten times the rows cost: time, requests, memory.

    python -m bench.storage --page bench/results/storage.md

A process for each case loads generated files (see :mod:`bench.silver`): in full, an increment of 2 %, one of
0.1 %, and nothing new, all of Silver and Gold; after the full load, `finlake verify` checks it, as a command.
On S3, the server is the project's own native stack, on the same cores. The first pass through all steps warms
the process up; what counts is the second one, into a new lake. S3 and the disk take turns from round to
round.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from unittest.mock import patch

import boto3
import psutil

from bench.silver import GB, STEPS, make_files, resident
from emulator import native
from emulator.native import NativeStack
from emulator.process import free_port
from pipeline.class_archive import own_environment
from pipeline.run import run_pipeline
from pipeline.settings import LAYERS, Settings

GOAL_S3 = 1.2  # times as long as on the disk
GOAL_TIME = 10.0  # times as long for ten times the rows
GOAL_MEMORY = 3.0  # GB, of all processes
ROOT = Path(__file__).resolve().parents[1]
FORMATTER = argparse.RawDescriptionHelpFormatter
VERIFY: Final = "verify"
MEASURED: Final = (STEPS[0], VERIFY, *STEPS[1:])
KINDS: Final = ("GET", "LIST", "HEAD", "PUT", "POST", "DELETE")


@dataclass
class Measured:
    """What a case took: seconds and requests by step, and the most memory of all its processes, in bytes.

    ``verify`` is a process of its own: ``verify_peak`` is its most memory.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    requests: dict[str, Counter[str]] = field(default_factory=dict)
    peak: int = 0
    verify_peak: int = 0


def main() -> int:
    """Measure, print a page and write it; 1 if a goal is missed."""
    options = _options()
    if options.case:
        return serve(options)
    load_before = os.getloadavg()[0]
    found: dict[str, list[Measured]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="finlake-bench-", dir=options.folder) as name:
        folder = Path(name)
        sizes = {"disk": options.rows, "S3": options.rows, "ten times": 10 * options.rows}
        rows = {}
        for case in ("disk", "ten times"):
            _note(f"making files: {sizes[case]:,} rows")
            _, rows[case] = make_files(folder / f"files {case}", sizes[case])
        with counted_stack(folder) as (variables, requests):
            for index in range(options.rounds):
                for case in ("disk", "S3") if index % 2 == 0 else ("S3", "disk"):
                    _note(f"round {index + 1} of {options.rounds}: {case}")
                    own = variables if case == "S3" else {}
                    found[case].append(measure(case, folder / "files disk", folder, own, requests))
        for _ in range(options.rounds):
            _note("ten times the rows")
            found["ten times"].append(measure("ten times", folder / "files ten times", folder, {}, None))
    page = as_page(found, rows, load_before)
    print(page)
    if options.page:
        options.page.write_text(page, encoding="utf-8")
    return int(" missed |" in page)


class counted_stack:  # noqa: N801 - used like a function
    """A native stack whose S3 writes requests down; gives its variables, and the file of requests."""

    def __init__(self, folder: Path) -> None:
        self._requests = folder / "requests"
        self._requests.touch()
        with patch.object(native, "AWS_MODULE", "bench.counting_server"):
            self._stack = NativeStack(folder / "stack", free_port(4700))

    def __enter__(self) -> tuple[dict[str, str], Path]:
        """Start it."""
        where = {"FINLAKE_BENCH_REQUESTS": str(self._requests), "PYTHONPATH": str(ROOT)}
        with patch.dict(os.environ, where):
            self._stack.up()
        return self._stack.environment(), self._requests

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._stack.down()


def measure(
    case: str, files: Path, folder: Path, variables: dict[str, str], requests: Path | None
) -> Measured:
    """Run a case in a process of its own."""
    result = Measured()
    lakes = folder / f"lakes {case}"
    options = ["--case", case, "--files", str(files), "--lakes", str(lakes)]
    command = [sys.executable, "-m", "bench.storage", *options]
    environment = own_environment() | {"PYTHONPATH": str(ROOT)} | variables
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout  # noqa: S101 - they are pipes
    ended, verifying = threading.Event(), threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            if not verifying.is_set():
                result.peak = max(result.peak, resident(process.pid))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        for counts in (False, True):
            for step in MEASURED:
                before = _requests(requests)
                if step == VERIFY:
                    verifying.set()
                process.stdin.write(f"{int(counts)}\t{step}\n")
                process.stdin.flush()
                if not (answer := process.stdout.readline()):
                    raise RuntimeError(f"{case} ended with {process.wait()} at {step}")
                verifying.clear()
                if counts:
                    seconds, peak = answer.split()
                    result.seconds[step] = float(seconds)
                    result.verify_peak = max(result.verify_peak, int(peak))
                    result.requests[step] = _requests(requests) - before
                    _note(f"  {step}: {result.seconds[step]:.1f} s")
        process.stdin.close()
        process.wait()
    finally:
        ended.set()
        watching.join()
        process.stdout.close()
    shutil.rmtree(lakes, ignore_errors=True)
    return result


def _requests(file: Path | None) -> Counter[str]:
    return Counter(file.read_text(encoding="ascii").split()) if file else Counter()


def serve(options: argparse.Namespace) -> int:
    """The process of a case: does the steps that standard input names, and says how long each took."""
    for line in sys.stdin:
        number, step = line.rstrip("\n").split("\t")
        settings = lake(options.case, options.lakes, number)
        if step == VERIFY:
            print(*verified(settings), flush=True)
            continue
        put(options.files / step, settings, STEPS.index(step))
        begin = time.perf_counter()
        report = run_pipeline(settings)
        taken = time.perf_counter() - begin
        if report.errors:
            raise RuntimeError(report.errors)
        print(taken, 0, flush=True)
    return 0


def verified(settings: Settings) -> tuple[float, int]:
    """Seconds and the most memory of ``finlake verify``, which must find all well."""
    names = ("env", "prefix", "bronze_uri", "silver_uri", "gold_uri")
    places = {f"FINLAKE_{name.upper()}": str(getattr(settings, name)) for name in names}
    begin = time.perf_counter()
    command = [sys.executable, "-m", "pipeline.cli", "verify"]
    subprocess.run(command, env=os.environ | places, stdout=subprocess.DEVNULL, check=True)
    taken = time.perf_counter() - begin
    # Of the processes that have ended, it is the largest: Spark's goes on.
    return taken, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def lake(case: str, lakes: Path, number: str) -> Settings:
    """The lake of a pass; on S3, its buckets and databases are made if they are missing."""
    if case != "S3":
        return Settings(
            env="bench", **{f"{layer}_uri": f"file://{lakes / number / layer}" for layer in LAYERS[:3]}
        )
    settings = Settings(env="local", prefix=f"bench{os.getpid()}x{number}")
    s3, glue = boto3.client("s3"), boto3.client("glue")
    place = {"LocationConstraint": os.environ["AWS_REGION"]}
    present = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    for uri in (settings.bronze_uri, settings.silver_uri, settings.gold_uri):
        if (bucket := uri.removeprefix("s3://").partition("/")[0]) not in present:
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=place)  # type: ignore[arg-type]
    known = {entry["Name"] for entry in glue.get_databases()["DatabaseList"]}
    for layer in LAYERS:
        if (database := settings.database(layer)) not in known:
            glue.create_database(DatabaseInput={"Name": database})
    return settings


def put(files: Path, settings: Settings, number: int) -> None:
    """Put a step's files into Bronze."""
    for file in files.glob("*/*.csv"):
        key = f"{file.parent.name}/ingest_date=2027-02-{1 + number:02}/{files.name.strip('%')}-{file.name}"
        if settings.bronze_uri.startswith("s3://"):
            boto3.client("s3").upload_file(str(file), settings.bronze_uri.removeprefix("s3://"), key)
        else:
            target = Path(settings.bronze_uri.removeprefix("file://"), key)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(file, target)


def as_page(found: dict[str, list[Measured]], rows: dict[str, dict[str, int]], load: float) -> str:
    """The page of results."""
    memory = psutil.virtual_memory().total / GB

    def seconds(case: str, step: str) -> float:
        return statistics.median(one.seconds[step] for one in found[case])

    def peak(case: str) -> float:
        return max(one.peak for one in found[case]) / GB

    def verdict(value: float, most: float) -> str:
        return "met" if value <= most else "missed"

    lines = [
        "# S3 against the local disk, and ten times the rows",
        "",
        "```bash",
        f"python -m bench.storage {' '.join(sys.argv[1:])}".strip(),
        "```",
        "",
        f"One machine with {os.cpu_count()} cores and {memory:.0f} GB, load {load:.1f} before; warm "
        f"processes, medians of {len(found['S3'])} rounds. Rows: {rows['disk']['full']:,} in full, and "
        f"{rows['ten times']['full']:,}. S3 is the native stack's, on the same cores.",
        "",
        "| step | disk | S3 | ratio | goal | |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for step in MEASURED:
        ratio = seconds("S3", step) / seconds("disk", step)
        goal = f"<= {GOAL_S3} | {verdict(ratio, GOAL_S3)}" if step not in ("nothing", VERIFY) else " | "
        lines.append(
            f"| {step} | {seconds('disk', step):.1f} s | {seconds('S3', step):.1f} s | {ratio:.2f} | {goal} |"
        )
    lines += [
        "",
        "| requests on S3 | " + " | ".join(KINDS) + " | together |",
        "| --- |" + " ---: |" * (len(KINDS) + 1),
    ]
    for step in MEASURED:
        counts = [statistics.median(one.requests[step][kind] for one in found["S3"]) for kind in KINDS]
        lines.append(f"| {step} | " + " | ".join(f"{count:,.0f}" for count in (*counts, sum(counts))) + " |")
    lines += [
        "",
        "| step | rows | ten times the rows | ratio | goal | |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for step in STEPS[:3]:
        ratio = seconds("ten times", step) / seconds("disk", step)
        lines.append(
            f"| {step} | {seconds('disk', step):.1f} s | {seconds('ten times', step):.1f} s | {ratio:.2f} "
            f"| <= {GOAL_TIME:g} | {verdict(ratio, GOAL_TIME)} |"
        )
    lines += [
        f"| most memory | {peak('disk'):.1f} GB | {peak('ten times'):.1f} GB | "
        f"{peak('ten times') / peak('disk'):.2f} | <= {GOAL_MEMORY:g} GB "
        f"| {verdict(peak('ten times'), GOAL_MEMORY)} |",
        "",
        "| `finlake verify` after the full load | rows | ten times the rows |",
        "| --- | ---: | ---: |",
    ]
    both = ("disk", "ten times")
    figures = {
        "seconds": [f"{seconds(case, VERIFY):.1f}" for case in both],
        "share of the load's time": [
            f"{seconds(case, VERIFY) / seconds(case, STEPS[0]):.2f}" for case in both
        ],
        "rows of Bronze a second": [f"{rows[case]['full'] / seconds(case, VERIFY):,.0f}" for case in both],
        "most memory": [f"{max(one.verify_peak for one in found[case]) / GB:.2f} GB" for case in both],
    }
    lines += [f"| {name} | {' | '.join(values)} |" for name, values in figures.items()]
    lines.append("")
    return "\n".join(lines)


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000, help="rows of a full load")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where lakes and files are made")
    parser.add_argument("--page", type=Path, help="file for the results")
    for hidden in ("--case", "--files", "--lakes"):
        parser.add_argument(hidden, type=str if hidden == "--case" else Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
