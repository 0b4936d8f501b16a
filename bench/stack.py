"""What Docker costs: the same commands on the stack in containers and on the one of processes, side by side.

    python -m bench.stack --page bench/results/stack.md

Both stacks are up during the runs, and one is idle while the other works. Pairs of measurements alternate
(native, docker, docker, native, ...), so that whatever else the machine does hits both alike; what counts
is the median of the pairs' ratios. In the end the gateway is measured in front of LocalStack, by
:mod:`bench.gateway`. Compose project, ports and folders are the benchmark's own, so no other stack is
touched, but one that is up takes part of the machine.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import boto3
import psutil

ROOT = Path(__file__).resolve().parents[1]
REGION: Final = "eu-central-1"
GOAL = 1.15  # runs on Docker take at most this much of the time they take without
WARM_GOAL = 0.5  # a second `make e2e` takes at most this much of the first one's time in Spark
BUCKETS = ("bronze", "silver", "gold")
DATABASES = ("silver", "gold", "quarantine", "ops")
FOREIGN = ("AWS_", "FINLAKE_", "SPARK_", "LOCALSTACK_", "STACK", "COMPOSE_")
DIRECT = """
services:
  localstack:
    ports: ["127.0.0.1:{port}:4566"]
"""

Pair = tuple[float, float]


@dataclass(frozen=True)
class Side:
    """One of the two stacks, and how commands find it.

    Attributes:
        kind: ``native`` or ``docker``.
        folder: Where commands are run; the connection file is in ``.finlake`` below it.
        variables: What they find in their environment, besides the machine's own.
    """

    kind: str
    folder: Path
    variables: dict[str, str]

    def seconds(self, *command: str, **variables: str) -> float:
        """Run a Python module to its end; it must succeed."""
        begin = time.perf_counter()
        self.output(*command, **variables)
        return time.perf_counter() - begin

    def output(self, *command: str, **variables: str) -> str:
        """Run a Python module to its end; it must succeed. Returns what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=own_environment() | self.variables | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{self.kind}: {' '.join(command)}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def emulator(self, command: str) -> float:
        """Run the command behind ``make up``, ``make down`` or ``make clean``; returns its seconds."""
        return self.seconds("emulator", command, "--home", str(self.folder / ".finlake"))

    def up(self) -> float:
        """Start the stack, and wait until it is healthy; returns the seconds it took."""
        return self.emulator("up")

    def create(self, prefix: str) -> None:
        """Make the buckets and databases of a lake, as Terraform would."""
        options: Any = {
            "endpoint_url": f"http://localhost:{self.variables['FINLAKE_PORT']}",
            "region_name": REGION,
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
        }
        s3, glue = boto3.client("s3", **options), boto3.client("glue", **options)
        for name in BUCKETS:
            s3.create_bucket(
                Bucket=f"{prefix}-local-{name}", CreateBucketConfiguration={"LocationConstraint": REGION}
            )
        for name in DATABASES:
            glue.create_database(DatabaseInput={"Name": f"{prefix}_local_{name}"})

    def load(self, prefix: str, batch: int, scale: int) -> float:
        """Bring in a batch and load it; returns the seconds of ``finlake run``."""
        bronze = f"s3://{prefix}-local-bronze"
        self.output(
            *("pipeline.cli", "generate", "--scale", str(scale), "--batch", str(batch), "--out", bronze),
            FINLAKE_PREFIX=prefix,
        )
        return self.seconds("pipeline.cli", "run", FINLAKE_PREFIX=prefix)

    def verify(self, prefix: str) -> None:
        """See that the runs that were measured did what they should."""
        self.output("pipeline.cli", "verify", FINLAKE_PREFIX=prefix)


def main() -> int:
    """Measure, print a page and write it; 1 if a goal is missed."""
    options = _options()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="finlake-bench-") as folder:
        sides = [native_side(Path(folder)), docker_side(Path(folder))]
        try:
            rows = starts(sides, options.ups)
            more, warmth = runs(sides, options)
            rows += more
        finally:
            for side in sides:
                side.emulator("clean")
        gateway = through_gateway(sides[1], Path(folder), options.pairs)
    page = as_page(rows, warmth, gateway, load_before)
    print(page)
    if options.page:
        options.page.write_text(page, encoding="utf-8")
    return int(" missed |" in page)


def native_side(folder: Path) -> Side:
    """A stack of processes below a folder."""
    (folder / "native").mkdir()
    return Side("native", folder / "native", own_variables("native"))


def docker_side(folder: Path) -> Side:
    """A stack of containers, built from a copy of what the images are built from."""
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    names = [line.removeprefix("!") for line in allowed if line.startswith("!")]
    for name in (*names, ".dockerignore", "docker-compose.yml"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (folder / "docker").mkdir(exist_ok=True)
        copy(ROOT / name, folder / "docker" / name)
    project = {"COMPOSE_PROJECT_NAME": f"finlake-bench-{os.getpid()}"}
    return Side("docker", folder / "docker", own_variables("docker") | project)


def one_after_the_other(turn: int, sides: Sequence[Side], work: Callable[[Side], float]) -> Pair:
    """Do something on both sides, in an order that changes from turn to turn; seconds, native first."""
    order = sides if turn % 2 == 0 else list(reversed(sides))
    seconds = {side.kind: work(side) for side in order}
    return seconds["native"], seconds["docker"]


def starts(sides: Sequence[Side], times: int) -> list[str]:
    """Measure ``make up``: with nothing there, and after ``make down``. Leaves both stacks up."""
    _note("building the images, which is not measured")
    for side in sides:
        side.emulator("up")
    cold, warm = [], []
    for index in range(times):
        _note(f"up, {index + 1} of {times}")
        for side in sides:
            side.emulator("clean")
        cold.append(one_after_the_other(index, sides, Side.up))
        for side in sides:
            side.emulator("down")
        warm.append(one_after_the_other(index, sides, Side.up))
    return [as_row("`make up`, nothing there before", cold), as_row("`make up` after `make down`", warm)]


def runs(sides: Sequence[Side], options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Measure whole ``finlake run`` commands: first loads of new lakes, and increments after them.

    Returns:
        Rows that compare the stacks, and rows that compare a second ``make e2e`` with the first.
    """
    first: list[Pair] = []
    increments: list[Pair] = []
    for index in range(options.rounds):
        prefix = f"bench{index}"
        for side in sides:
            side.create(prefix)
        for batch in range(options.increments + 1):
            _note(f"lake {index + 1} of {options.rounds}, batch {batch} of {options.increments}")
            load = partial(Side.load, prefix=prefix, batch=batch, scale=options.scale)
            pair = one_after_the_other(index + batch, sides, load)
            (increments if batch else first).append(pair)
        for side in sides:
            side.verify(prefix)
    compared = [
        as_row("first load, Spark just started", first[:1], GOAL),
        as_row("first increment after it", increments[:1], GOAL),
        *([as_row("first load of another lake", first[1:], GOAL)] if first[1:] else []),
        *([as_row("further increments", increments[1:], GOAL)] if increments[1:] else []),
    ]
    return compared, second_against_first(first[0], increments[: options.increments])


def second_against_first(first: Pair, increments: Sequence[Pair]) -> list[str]:
    """What the runs of a second ``make e2e`` take, by those of the first, for each stack.

    The first one loads a lake and an increment on a Spark that has just started, the second one two more.
    """
    if len(increments) < 3:
        return []
    rows = []
    for side, name in enumerate(("native", "docker")):
        once = first[side] + increments[0][side]
        again = increments[1][side] + increments[2][side]
        verdict = "met" if again / once <= WARM_GOAL else "missed"
        rows.append(
            f"| {name} | {once:.1f} s | {again:.1f} s | {again / once:.0%} | {WARM_GOAL:.0%} | {verdict} |"
        )
    return rows


def through_gateway(docker: Side, folder: Path, pairs: int) -> str:
    """Measure LocalStack directly and through the gateway; returns the table."""
    _note("gateway")
    port = free_port()
    override = folder / "direct.yml"
    override.write_text(DIRECT.format(port=port), encoding="utf-8")
    files = ["--file", str(docker.folder / "docker-compose.yml"), "--file", str(override)]
    environment = own_environment() | docker.variables

    def compose(*arguments: str) -> None:
        command = ["docker", "compose", *files, *arguments]
        subprocess.run(command, env=environment, check=True, capture_output=True)

    try:
        compose("up", "--detach", "--wait", "gateway")
        urls = [f"http://127.0.0.1:{port}", f"http://127.0.0.1:{docker.variables['FINLAKE_PORT']}"]
        command = ["bench.gateway", "--direct", urls[0], "--through", urls[1], "--pairs", str(pairs)]
        # It ends with 1 when a goal is missed, which its table says.
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False
        )
    finally:
        compose("down", "--volumes")
    if done.stderr:
        raise RuntimeError(done.stderr)
    return done.stdout


def as_row(name: str, pairs: Sequence[Pair], goal: float | None = None) -> str:
    """A row of the table: medians of seconds, median and range of the ratios, and what came of the goal."""
    native, docker = (statistics.median(side) for side in zip(*pairs, strict=True))
    ratios = [docker / native for native, docker in pairs]
    ratio = statistics.median(ratios)
    verdict = "" if goal is None else "met" if ratio <= goal else "missed"
    return (
        f"| {name} | {native:.1f} s | {docker:.1f} s | {ratio:.0%} "
        f"| {min(ratios):.0%} to {max(ratios):.0%} | {len(pairs)} "
        f"| {'' if goal is None else f'{goal:.0%}'} | {verdict} |"
    )


def as_page(rows: Sequence[str], warmth: Sequence[str], gateway: str, load: float) -> str:
    """The page of results."""
    memory = psutil.virtual_memory().total / 2**30
    lines = [
        "# Docker against native",
        "",
        "```bash",
        f"python -m bench.stack {' '.join(sys.argv[1:])}".strip(),
        "```",
        "",
        f"One machine with {os.cpu_count()} cores and {memory:.0f} GB, load {load:.1f} before. Both stacks "
        "were up; a ratio is Docker's time by native's.",
        "",
        "| case | native | docker | ratio | pairs' ratios | pairs | goal | |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
        *rows,
        "",
        "## A second `make e2e` against the first",
        "",
        "Its two `finlake run`, on a Spark that has done those of the first: a new lake and an increment.",
        "",
        "| stack | first | second | ratio | goal | |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
        *warmth,
        "",
        "## The gateway in front of LocalStack",
        "",
        "LocalStack on a port of its own, and through the gateway; a ratio is of speeds.",
        "",
        gateway.rstrip(),
        "",
    ]
    return "\n".join(lines)


def own_environment() -> dict[str, str]:
    """This process's environment without what would lead a command to another stack."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}


def own_variables(kind: str) -> dict[str, str]:
    """Which stack, and ports of its own."""
    names = ("FINLAKE_PORT", "FINLAKE_SPARK_PORT", "FINLAKE_SPARK_UI_PORT")
    return {"STACK": kind} | {name: str(free_port()) for name in names}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _note(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.stack", description=__doc__.partition("\n")[0])
    parser.add_argument("--page", type=Path, metavar="FILE", help="where to write the page of results")
    parser.add_argument("--ups", type=int, default=3, help="cold and warm starts (default: 3)")
    parser.add_argument("--rounds", type=int, default=3, help="lakes to load (default: 3)")
    parser.add_argument("--increments", type=int, default=3, help="batches after a first load (default: 3)")
    parser.add_argument("--scale", type=int, default=1000, help="customers of a first load (default: 1000)")
    parser.add_argument("--pairs", type=int, default=7, help="measurements of each gateway case (default: 7)")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
