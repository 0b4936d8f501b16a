"""What the local Athena costs: its API against DuckDB alone and against a warm Spark, on the same tables.

    python -m bench.athena --page bench/results/athena.md

Starts a stack of its own with Spark in a temporary folder, and loads a lake that the generator makes. Each
round asks all engines the same questions, in changing order, from the request to the last row; what counts is
the median of the rounds' differences and ratios. `finlake query` is measured as a command, by either engine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from emulator.native import NativeStack
from emulator.process import free_port
from pipeline.query import attach_uri, connect
from pipeline.settings import LAYERS, Settings

GOAL_SECONDS = 0.1  # more than DuckDB alone
GOAL_SPARK = 10.0  # times as long as Athena, on Gold
POLL_SECONDS = 0.01
CLIENTS = 20
QUESTIONS = {
    "a row by its key": "SELECT * FROM {silver}.transactions WHERE transaction_id = '{transaction}'",
    "sums over all rows": "SELECT currency, count(*) AS n, sum(amount) AS total FROM {silver}.transactions "
    "GROUP BY currency ORDER BY currency",
    "Gold: one mart": "SELECT segment, count(*) AS customers, sum(account_count) AS accounts "
    "FROM {gold}.customer_360 GROUP BY segment ORDER BY segment",
    "Gold: marts joined": "SELECT p.product, c.segment, count(*) AS n FROM {gold}.customer_360 c "
    "JOIN {silver}.loans l ON l.customer_id = c.customer_id JOIN {gold}.loan_portfolio p "
    "ON p.product = l.product GROUP BY p.product, c.segment ORDER BY p.product, c.segment",
}
TABLES = (
    ("silver", "transactions"),
    ("silver", "loans"),
    ("gold", "customer_360"),
    ("gold", "loan_portfolio"),
)
COMMAND = "SELECT segment, count(*) AS n FROM gold.customer_360 GROUP BY segment ORDER BY segment"

Ask = Callable[[str], list[Any]]


@dataclass
class Lake:
    """A lake on a stack, and its three engines.

    Attributes:
        settings: Names and places.
        variables: How the stack is found.
        engines: What asks each of them, and gives its rows.
        transaction: A key that is there.
    """

    settings: Settings
    variables: dict[str, str]
    engines: dict[str, Ask]
    transaction: str

    def question(self, sql: str, engine: str) -> str:
        """A question with the tables' names as an engine knows them."""
        if engine == "athena":
            names = {layer: self.settings.database(layer) for layer in LAYERS}
        else:
            names = {layer: layer for layer in LAYERS}
        return sql.format(transaction=self.transaction, **names)


def main() -> int:
    """Measure, print the tables; 1 if a goal is missed."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        stack = NativeStack(Path(folder) / ".finlake", free_port(4700), with_spark=True)
        stack.up()
        try:
            lake, rows = load(stack, options.scale)
            questions = {name: measure(lake, name, sql, options.rounds) for name, sql in QUESTIONS.items()}
            together = concurrently(lake)
            commands = measure_command(lake, Path(folder), options.rounds)
        finally:
            stack.down()
    text, met = report(questions, together, commands)
    about = f"Medians of {options.rounds} rounds; {rows:,} transactions; {os.cpu_count()} cores.\n"
    print(f"{about}\n{text}")
    if options.page:
        head = "# The local Athena against DuckDB alone and a warm Spark\n\n"
        how = f"```bash\npython -m bench.athena --scale {options.scale} --page FILE\n```\n\n"
        options.page.write_text(f"{head}{how}{about}\n{text}\n", encoding="utf-8")
    return int(not met)


def load(stack: NativeStack, scale: int) -> tuple[Lake, int]:
    """A loaded lake, and how many transactions it has."""
    variables, settings = stack.environment(), Settings(env="local", prefix="bench")
    os.environ |= variables
    s3, glue = boto3.client("s3"), boto3.client("glue")
    place = {"LocationConstraint": variables["AWS_REGION"]}
    for layer in ("bronze", "silver", "gold", "athena"):
        s3.create_bucket(Bucket=f"bench-local-{layer}", CreateBucketConfiguration=place)
    for layer in LAYERS:
        glue.create_database(DatabaseInput={"Name": settings.database(layer)})
    for arguments in (("generate", "--scale", str(scale), "--out", settings.bronze_uri), ("run",)):
        command(variables, *arguments)
    athena = boto3.client("athena")
    ask = ask_athena(athena, settings)
    ((transaction, _),) = ask(
        f"SELECT max(transaction_id), count(*) FROM {settings.database('silver')}.transactions"
    )
    ((rows,),) = ask(f"SELECT count(*) FROM {settings.database('silver')}.transactions")
    engines = {
        "athena": ask,
        "duckdb": ask_duckdb(settings),
        "spark": ask_spark(variables["SPARK_REMOTE"], settings),
    }
    return Lake(settings, variables, engines, transaction), int(rows)


def ask_athena(client: Any, settings: Settings) -> Ask:  # noqa: ANN401
    """Athena's API, as an impatient client uses it."""

    def ask(sql: str) -> list[Any]:
        output = {"OutputLocation": settings.athena_results_uri}
        id_ = client.start_query_execution(QueryString=sql, ResultConfiguration=output)["QueryExecutionId"]
        while True:
            status = client.get_query_execution(QueryExecutionId=id_)["QueryExecution"]["Status"]
            if status["State"] not in {"QUEUED", "RUNNING"}:
                break
            time.sleep(POLL_SECONDS)
        if status["State"] != "SUCCEEDED":
            raise SystemExit(f"{sql}: {status.get('StateChangeReason')}")
        rows = client.get_query_results(QueryExecutionId=id_)["ResultSet"]["Rows"]
        return [tuple(cell.get("VarCharValue") for cell in row["Data"]) for row in rows[1:]]

    return ask


def ask_duckdb(settings: Settings) -> Ask:
    """DuckDB in this process, its extensions loaded."""
    connection = connect()
    for layer, table in TABLES:
        attach_uri(connection, layer, table, settings.table_uri(layer, table))
    return lambda sql: connection.execute(sql).fetchall()


def ask_spark(remote: str, settings: Settings) -> Ask:
    """The stack's Spark, which has been at work already."""
    from pyspark.sql.connect.session import SparkSession

    spark = SparkSession.builder.remote(remote).create()

    def ask(sql: str) -> list[Any]:
        for layer, table in TABLES:
            sql = sql.replace(f"{layer}.{table}", f"delta.`{settings.table_uri(layer, table)}`")
        return [tuple(row) for row in spark.sql(sql).collect()]

    return ask


def measure(lake: Lake, name: str, sql: str, rounds: int) -> list[dict[str, float]]:
    """Seconds of each engine in each round; the first round, which warms up, is left out."""
    found = []
    for number in range(rounds + 1):
        order = sorted(lake.engines, reverse=bool(number % 2))
        seconds, counts = {}, set()
        for engine in order:
            text = lake.question(sql, engine)
            clock = time.perf_counter()
            counts.add(len(lake.engines[engine](text)))
            seconds[engine] = time.perf_counter() - clock
        if len(counts) != 1 or 0 in counts:
            raise SystemExit(f"{name}: the engines have answered {counts} rows")
        found.append(seconds)
    return found[1:]


def concurrently(lake: Lake) -> tuple[float, float]:
    """Seconds of as many questions one after the other, and of as many clients at once."""
    questions = [lake.question(QUESTIONS["Gold: one mart"], "athena") for _ in range(CLIENTS)]
    clients = [ask_athena(boto3.client("athena"), lake.settings) for _ in questions]
    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(lambda pair: pair[0](pair[1]), zip(clients, questions, strict=True)))  # to warm up
        clock = time.perf_counter()
        for client, question in zip(clients, questions, strict=True):
            client(question)
        one_by_one = time.perf_counter() - clock
        clock = time.perf_counter()
        list(threads.map(lambda pair: pair[0](pair[1]), zip(clients, questions, strict=True)))
        return one_by_one, time.perf_counter() - clock


def measure_command(lake: Lake, folder: Path, rounds: int) -> list[dict[str, float]]:
    """Seconds of `finlake query` by either engine."""
    found = []
    for number in range(rounds + 1):
        seconds = {}
        for engine in sorted(("athena", "duckdb"), reverse=bool(number % 2)):
            clock = time.perf_counter()
            command(lake.variables, "query", COMMAND, "--engine", engine, folder=folder)
            seconds[engine] = time.perf_counter() - clock
        found.append(seconds)
    return found[1:]


def command(variables: dict[str, str], *arguments: str, folder: Path | None = None) -> None:
    """Run `finlake`; it must succeed."""
    environment = os.environ | variables | {"FINLAKE_PREFIX": "bench", "FINLAKE_ENV": "local"}
    line = [sys.executable, "-m", "pipeline.cli", *arguments]
    root = str(Path(__file__).parents[1])
    environment |= {"PYTHONPATH": root}
    subprocess.run(line, env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def report(
    questions: dict[str, list[dict[str, float]]],
    together: tuple[float, float],
    commands: list[dict[str, float]],
) -> tuple[str, bool]:
    """The tables, and whether all goals are met."""
    all_met = True
    lines = [
        "| question | DuckDB | Athena | more than DuckDB | goal | | Spark | Spark to Athena | goal | |",
        "| --- | ---: | ---: | ---: | ---: | --- | ---: | ---: | ---: | --- |",
    ]
    for name, rounds in questions.items():
        middle = {engine: statistics.median(one[engine] for one in rounds) for engine in rounds[0]}
        more = statistics.median(one["athena"] - one["duckdb"] for one in rounds)
        ratio = statistics.median(one["spark"] / one["athena"] for one in rounds)
        is_gold = name.startswith("Gold")
        all_met &= more <= GOAL_SECONDS and (not is_gold or ratio >= GOAL_SPARK)
        lines.append(
            f"| {name} | {1000 * middle['duckdb']:.0f} ms | {1000 * middle['athena']:.0f} ms "
            f"| {1000 * more:+.0f} ms | {1000 * GOAL_SECONDS:+.0f} ms "
            f"| {_verdict(met=more <= GOAL_SECONDS)} | {1000 * middle['spark']:.0f} ms | {ratio:.1f} "
            + (f"| {GOAL_SPARK:.0f} | {_verdict(met=ratio >= GOAL_SPARK)} |" if is_gold else "| | |")
        )
    one_by_one, at_once = together
    lines += [
        "",
        f"{CLIENTS} clients at once have their answers after {at_once / one_by_one:.2f} of the time that the "
        "same questions take one after the other.",
        "",
        "| `finlake query`, the whole command | seconds | ratio |",
        "| --- | ---: | ---: |",
    ]
    athena, duckdb = (statistics.median(one[engine] for one in commands) for engine in ("athena", "duckdb"))
    ratio = statistics.median(one["athena"] / one["duckdb"] for one in commands)
    lines += [f"| `--engine duckdb` | {duckdb:.2f} | 1 |", f"| by Athena | {athena:.2f} | {ratio:.2f} |"]
    return "\n".join(lines), all_met


def _verdict(*, met: bool) -> str:
    return "met" if met else "missed"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", type=int, default=500, help="customers of the lake (default: 500)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds that count (default: 7)")
    parser.add_argument("--page", type=Path, help="also write the tables into this file")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
