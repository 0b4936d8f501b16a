"""What Silver and Gold cost: finlake against its peers on the same files, side by side in one run.

    python -m bench.silver --page bench/results/silver.md

Each peer (see ``bench/peers``) loads the same CSV files into Delta tables on the local disk: a full load, an
increment of 2 % and one of 0.1 %, as processes of their own (cold) and by a process that goes on (warm). The
order of the peers changes from round to round, so that whatever else the machine does hits all alike; what
counts is the median of the rounds' ratios. In the end the tables are compared row by row.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import polars as pl
import psutil

from bench.peers import chosen
from bench.peers.polars_work import polars_type
from contracts import load_contracts
from datagen import generate
from pipeline.class_archive import own_environment

ROOT = Path(__file__).resolve().parents[1]
PEERS: Final = {
    "finlake": "finlake, with accounting, quarantine, checks and ledger",
    "floor": "floor: Spark copies typed CSV into Delta tables, and does nothing else",
    "naive": "naive scripts: a Spark process for each entity, and one for Gold",
    "tuned": "tuned Spark: one session with finlake's settings; no accounting, quarantine, checks, ledger",
    "polars_delta": "Polars and delta-rs: no JVM; no accounting, quarantine, checks, ledger",
    "dlt_load": "dlt: upserts of rows that Polars typed and deduplicated; no hash, derived columns or marts",
}
WARM: Final = tuple(peer for peer in PEERS if peer != "naive")  # scripts are never warm
WITH_LEDGER: Final = ("finlake",)  # others do not know what they have loaded
NOT_SPARK: Final = ("polars_delta", "dlt_load")
COMPARED: Final = ("naive", "tuned", "polars_delta", "dlt_load")
ROWS_PER_CUSTOMER = 35
AGAIN = 0.01  # rows of a full load that come again as copies, and as many as older versions
INCREMENTS: Final = {"2%": 0.02, "0.1%": 0.001}
STEPS: Final = ("full", *INCREMENTS, "nothing")
OF_POWERS = ("monthly_installment",)  # of floating-point numbers, rounded to cents
GB = 2**30

Seconds = dict[tuple[str, str, str], list[float]]  # by peer, "cold" or "warm", and step; one for each round


@dataclass
class Peer:
    """A peer's process. It ends with the block.

    Attributes:
        name: Its module.
        packages: Folder of what only some of the peers need.
        folder: Where it works.
        peak: Most memory that its processes have held at the same time, in bytes.
    """

    name: str
    packages: Path
    folder: Path
    peak: int = 0
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Peer:
        """Start it."""
        self._log = (self.folder / f"{self.name}.log").open("w+")
        path = [str(self.packages), str(ROOT)] if self.name in NOT_SPARK else [str(ROOT)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"bench.peers.{self.name}"],
            cwd=self.folder,
            env=own_environment() | {"PYTHONPATH": os.pathsep.join(path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._watch = threading.Thread(target=self._measure)
        self._watch.start()
        return self

    def step(self, files: Path, lake: Path) -> float:
        """Have it do a step; returns the seconds that it says it took."""
        assert self._process.stdin and self._process.stdout  # noqa: S101 - they are pipes
        self._process.stdin.write(f"{files}\t{lake}\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            self._log.seek(0)
            ended = f"{self.name} ended with {self._process.wait()} at {files.name}"
            raise RuntimeError(f"{ended}\n{self._log.read()[-5000:]}")
        return float(answer)

    def __exit__(self, *_: object) -> None:
        """Let it end."""
        assert self._process.stdin and self._process.stdout  # noqa: S101 - they are pipes
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._ended.set()
        self._watch.join()
        self._log.close()

    def _measure(self) -> None:
        while not self._ended.wait(0.1):
            self.peak = max(self.peak, resident(self._process.pid))


@dataclass
class Bench:
    """Where everything is, and what has been measured.

    Attributes:
        folder: Lakes and logs are below it.
        packages: Folder of what only some of the peers need.
        files: Folder of the files of each step.
        seconds: What was measured, one value for each round.
        peaks: Most memory of each peer, in bytes.
    """

    folder: Path
    packages: Path
    files: Path
    seconds: Seconds = field(default_factory=lambda: defaultdict(list))
    peaks: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def cold(self, index: int) -> None:
        """A round in which each step is a process of its own, from its start to its end."""
        for peer in PEERS:
            shutil.rmtree(self.lake("cold", peer), ignore_errors=True)
        for step in STEPS:
            for peer in order(index, WITH_LEDGER if step == "nothing" else PEERS):
                _note(f"cold round {index + 1}: {step}, {peer}")
                begin = time.perf_counter()
                with Peer(peer, self.packages, self.folder) as process:
                    process.step(self.files / step, self.lake("cold", peer))
                self.seconds[peer, "cold", step].append(time.perf_counter() - begin)
                self.peaks[peer] = max(self.peaks[peer], process.peak)
        with Peer("session", self.packages, self.folder) as process:
            self.seconds["session", "cold", "full"].append(process.step(self.files, self.folder))

    def warm(self, rounds: int) -> None:
        """Rounds by processes that go on from one lake to the next; the first round is not counted."""
        with ExitStack() as stack:
            processes = {peer: stack.enter_context(Peer(peer, self.packages, self.folder)) for peer in WARM}
            for index in range(rounds + 1):
                for peer in WARM:
                    shutil.rmtree(self.lake("warm", peer), ignore_errors=True)
                for step in STEPS:
                    for peer in order(index, WITH_LEDGER if step == "nothing" else WARM):
                        _note(f"warm round {index} of {rounds}: {step}, {peer}")
                        taken = processes[peer].step(self.files / step, self.lake("warm", peer))
                        if index:
                            self.seconds[peer, "warm", step].append(taken)
        for peer, process in processes.items():
            self.peaks[peer] = max(self.peaks[peer], process.peak)

    def lake(self, kind: str, peer: str) -> Path:
        """Where a peer's tables are."""
        return self.folder / f"{kind}-{peer}"


def main() -> int:
    """Measure, print a page and write it; 1 if a goal is missed or results differ."""
    options = _options()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="finlake-bench-", dir=options.folder) as name:
        folder = Path(name)
        _note("installing what the peers need, and making files")
        files, rows = make_files(folder / "files", options.rows)
        bench = Bench(folder, install(folder / "packages"), files)
        for index in range(options.rounds):
            bench.cold(index)
        differences = compare(bench, "cold")
        bench.warm(options.rounds)
        differences += compare(bench, "warm")
    page = as_page(bench, rows, differences, load_before)
    print(page)
    if options.page:
        options.page.write_text(page, encoding="utf-8")
    return int(" missed |" in page or bool(differences))


def order(index: int, peers: Iterable[str]) -> list[str]:
    """The peers in an order that changes from round to round."""
    return list(peers) if index % 2 == 0 else list(reversed(list(peers)))


def make_files(folder: Path, rows: int) -> tuple[Path, dict[str, int]]:
    """Write the files of each step, below a folder of its own.

    The full load is the generator's, without dirt; added are copies of rows and older versions of rows.
    Half of an increment are newer versions of rows, half are new keys. Returns the folder and the rows of
    each step.
    """
    raw = folder / "generated"
    generate(raw, scale=max(50, rows // ROWS_PER_CUSTOMER), dirty=0)
    count: dict[str, int] = defaultdict(int)
    for entity, contract in load_contracts().items():
        (key,), version = contract.key, contract.version_column
        full = folder / "full" / entity
        full.mkdir(parents=True)
        for file in raw.glob(f"{entity}/*/*.csv"):
            file.rename(full / file.name)
        base = pl.read_csv(full / "*.csv", infer_schema=False)
        again = base.sample(fraction=AGAIN, seed=1)
        older = base.sample(fraction=AGAIN, seed=2).with_columns(
            pl.lit("2001-01-01T00:00:00Z").alias(version)
        )
        pl.concat([again, older]).write_csv(full / "again.csv")
        count["full"] += base.height + again.height + older.height
        for number, (step, share) in enumerate(INCREMENTS.items()):
            (folder / step / entity).mkdir(parents=True)
            rows_of_step = increment(base, key, version, share=share, number=number)
            rows_of_step.write_csv(folder / step / entity / "rows.csv")
            count[step] += rows_of_step.height
    return folder, count


def increment(base: pl.DataFrame, key: str, version: str, *, share: float, number: int) -> pl.DataFrame:
    """Some of an entity's rows, others for each number: half as newer versions, half under new keys."""
    sample = base.sample(n=max(2, round(base.height * share)), seed=3 + number, shuffle=True)
    half = sample.height // 2
    newer = sample[:half].with_columns(pl.lit(f"2027-01-{1 + number:02}T00:00:00Z").alias(version))
    letter = pl.lit("XYZUVWQRST"[number])
    return pl.concat([newer, sample[half:].with_columns((letter + pl.col(key).str.slice(1)).alias(key))])


def compare(bench: Bench, kind: str) -> list[str]:
    """Compare what finlake has stored with what each peer has stored; returns what differs."""
    from pipeline.gold import MARTS

    found = []
    for peer in COMPARED if kind == "cold" else [peer for peer in COMPARED if peer in WARM]:
        lakes = (bench.lake(kind, "finlake"), bench.lake(kind, peer))
        differs = []
        for entity, contract in load_contracts().items():
            columns = contract.source_columns if peer == "dlt_load" else contract.columns
            types = {column.name: polars_type(column.physical_type) for column in columns}
            types |= {} if peer == "dlt_load" else {"_row_hash": pl.Binary()}
            differs += differing(*(lake / "silver" / entity for lake in lakes), types, contract.key)
        for mart in () if peer == "dlt_load" else chosen(MARTS):
            types = {column.name: polars_type(column.type) for column in mart.columns}
            keys = [column.name for column in mart.columns if "decimal" not in column.type]
            differs += differing(*(lake / "gold" / mart.name for lake in lakes), types, keys)
        found += [f"{kind}, {peer}: {text}" for text in differs]
    return found


def differing(ours: Path, theirs: Path, types: Mapping[str, pl.DataType], keys: Sequence[str]) -> list[str]:
    """What differs in a table; a ratio may in its last digit."""
    one, other = (
        pl.read_delta(str(table)).select(pl.col(name).cast(type_) for name, type_ in types.items()).sort(keys)
        for table in (ours, theirs)
    )
    if one.height != other.height:
        return [f"{ours.name} has {other.height:,} rows instead of {one.height:,}"]
    off = [name for name in types if not _same(one[name], other[name])]
    return [f"{ours.name} differs in {', '.join(off)}"] if off else []


def _same(ours: pl.Series, theirs: pl.Series) -> bool:
    if ours.equals(theirs, null_equal=True):
        return True
    if not isinstance(ours.dtype, pl.Decimal) or not (ours.dtype.scale == 6 or ours.name in OF_POWERS):
        return False
    gap = (ours.cast(pl.Float64) - theirs.cast(pl.Float64)).abs().max()
    last_digit = 10.0**-ours.dtype.scale
    return bool((ours.is_null() == theirs.is_null()).all()) and float(gap or 0) <= 1.5 * last_digit


def as_page(bench: Bench, rows: dict[str, int], differences: Sequence[str], load: float) -> str:
    """The page of results."""
    seconds, peaks = bench.seconds, bench.peaks
    memory = psutil.virtual_memory().total / GB
    rounds = len(seconds["finlake", "cold", "full"])
    lines = [
        "# finlake against its peers",
        "",
        "```bash",
        f"python -m bench.silver {' '.join(sys.argv[1:])}".strip(),
        "```",
        "",
        f"One machine with {os.cpu_count()} cores and {memory:.0f} GB, load {load:.1f} before. "
        f"{rounds} rounds; medians. A Spark's heap is 2 GB.",
        f"Rows: {', '.join(f'{rows[step]:,} ({step})' for step in rows)}.",
        "",
        "## Goals",
        "",
        "| case | finlake | against | ratio | rounds' ratios | goal | |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
        *goals(seconds, peaks),
        "",
        "## Seconds",
        "",
        "Cold: a process from its start to its end. Warm: a step of a process that has done the like before. "
        "Without a ledger, nothing new is not a case of the peers.",
        "",
        "| case | " + " | ".join(PEERS) + " |",
        "| --- |" + " ---: |" * len(PEERS),
        *[
            f"| {step}, {kind} | " + " | ".join(_median(seconds.get((p, kind, step))) for p in PEERS) + " |"
            for kind in ("cold", "warm")
            for step in STEPS
        ],
        "| peak memory | " + " | ".join(f"{peaks[peer] / GB:.1f} GB" for peer in PEERS) + " |",
        "",
        *[f"- {text}" for text in PEERS.values()],
        "",
        "## Are the results equal?",
        "",
        *(
            [f"- {text}" for text in differences]
            or [
                "Yes: after all steps, all of Silver (with hashes) and Gold is the same by finlake, naive, "
                "tuned and polars_delta, and Silver's source columns are by dlt_load. Ratios and "
                f"{', '.join(OF_POWERS)} may differ in their last digit, where Polars computes with "
                "floating-point numbers."
            ]
        ),
        "",
    ]
    return "\n".join(lines)


def goals(seconds: Seconds, peaks: dict[str, int]) -> list[str]:
    """A row for each goal: what is compared, and whether it is met."""

    def of(case: tuple[str, str, str]) -> list[float]:
        return seconds[case]

    def at_most(name: str, one: tuple[str, str, str], other: tuple[str, str, str], most: float) -> str:
        ratios = [a / b for a, b in zip(of(one), of(other), strict=True)]
        verdict = "met" if statistics.median(ratios) <= most else "missed"
        return (
            f"| {name} | {_median(of(one))} | {_median(of(other))} | {statistics.median(ratios):.2f} "
            f"| {min(ratios):.2f} to {max(ratios):.2f} | <= {most:g} | {verdict} |"
        )

    def limit(name: str, value: float, unit: str, most: float) -> str:
        verdict = "met" if value <= most else "missed"
        return f"| {name} | {value:.1f} {unit} | | | | <= {most:.1f} {unit} | {verdict} |"

    rows = [at_most("full, cold, by the floor", *_pair("finlake", "floor", "cold", "full"), 1.8)]
    naive = [
        a / b for a, b in zip(of(("naive", "cold", "full")), of(("finlake", "cold", "full")), strict=True)
    ]
    rows.append(
        f"| full, cold: naive by finlake | {_median(of(('finlake', 'cold', 'full')))} "
        f"| {_median(of(('naive', 'cold', 'full')))} | {statistics.median(naive):.2f} "
        f"| {min(naive):.2f} to {max(naive):.2f} | >= 4.5 "
        f"| {'met' if statistics.median(naive) >= 4.5 else 'missed'} |"
    )
    rows.append(at_most("full, warm, by the floor", *_pair("finlake", "floor", "warm", "full"), 2.2))
    for kind, most in (("warm", 0.3), ("cold", 0.6)):
        full = ("finlake", kind, "full")
        rows.append(at_most(f"2% by full, {kind}", ("finlake", kind, "2%"), full, most))
    for kind in ("warm", "cold"):
        rows.append(at_most(f"0.1% by 2%, {kind}", ("finlake", kind, "0.1%"), ("finlake", kind, "2%"), 1.0))
    start = statistics.median(of(("session", "cold", "full")))
    nothing = statistics.median(of(("finlake", "cold", "nothing")))
    rows.append(limit("nothing new, against session start + 1 s", nothing, "s", start + 1))
    rows.append(limit("session start to first result", start, "s", 3.5))
    rows.append(limit("peak memory of all processes", peaks["finlake"] / GB, "GB", 3.0))
    return rows


def _pair(one: str, other: str, kind: str, step: str) -> tuple[tuple[str, str, str], tuple[str, str, str]]:
    return (one, kind, step), (other, kind, step)


def _median(values: Sequence[float] | None) -> str:
    return f"{statistics.median(values):.1f} s" if values else ""


def install(folder: Path) -> Path:
    """Install what only the peers need; their packages do not fit into finlake's pinned ones."""
    wanted = ROOT / "bench" / "peers" / "requirements.txt"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # What pip then says about other versions in finlake's own environment is about another folder.
    done = subprocess.run(
        [*command, "--target", str(folder), "--requirement", str(wanted)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return folder


def resident(pid: int) -> int:
    """Resident memory of a process and all below it.

    A process that is about to become another one (Hadoop starts small commands for files on a local disk) is
    not counted: until then it is a copy of its parent that shares all memory with it.
    """
    total = 0
    try:
        root = psutil.Process(pid)
        commands = {root.pid: root.cmdline()}
        total = root.memory_info().rss
        for process in root.children(recursive=True):
            commands[process.pid] = process.cmdline()
            if commands[process.pid] != commands.get(process.ppid()):
                total += process.memory_info().rss
    except psutil.Error:
        pass  # what has ended meanwhile holds nothing
    return total


def _note(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.silver", description=__doc__.partition("\n")[0])
    parser.add_argument("--page", type=Path, metavar="FILE", help="where to write the page of results")
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the full load (default: 1,000,000)")
    parser.add_argument("--rounds", type=int, default=2, help="cold, and then warm (default: 2)")
    parser.add_argument("--folder", type=Path, help="disk to work on (default: that of temporary files)")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
