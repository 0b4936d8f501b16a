"""The whole story in one go, as ``make e2e`` tells it.

Infrastructure by Terraform, an initial load by ``finlake run``, an increment by Glue's workflow, checks
after each, a run with nothing new, and Bronze crawled and asked by Athena. On a lake that already holds
generated batches, the next two batches are loaded instead, so nothing that is there is ever deleted.

What it does is done by the commands that a user would type, each shown before it runs: on the
native stack here, on the Docker stack inside of its containers. What is done as on AWS is done by AWS's own
API only.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import boto3
import typer
from rich.table import Table

from contracts import load_contracts
from datagen import read_manifests
from emulator import NativeStack, find_home
from emulator.stack import Stack, running_stack
from pipeline.errors import FinlakeError
from pipeline.gold import MARTS
from pipeline.gold.mart import input_versions
from pipeline.infra import apply_local, find_project, plan_local
from pipeline.present import out, print_table
from pipeline.settings import Settings, load_settings
from pipeline.tables import table_version

POLL_SECONDS = 1
SAMPLE_QUERY = """SELECT segment, count(*) AS customers, sum(account_count) AS accounts,
       sum(loan_count) AS loans, round(avg(transaction_count_90d), 1) AS transactions_90d
FROM gold.customer_360 GROUP BY segment ORDER BY segment"""


@dataclass
class Story:
    """What has been done so far, and how long each step took."""

    settings: Settings
    stack: Stack
    scale: int
    seed: int
    dirty: float
    steps: list[tuple[str, float]] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step, and say that it begins."""
        out.rule(name, align="left", style="dim")
        clock = time.monotonic()
        yield
        self.steps.append((name, time.monotonic() - clock))

    def finlake(self, *arguments: str) -> None:
        """Run a command of ``finlake`` where the stack runs it.

        Raises:
            FinlakeError: It failed; it has said why.
        """
        out.print(f"$ finlake {shlex.join(arguments)}", style="dim", highlight=False, soft_wrap=True)
        tty = sys.stdout.isatty()
        if isinstance(self.stack, NativeStack):
            command = [sys.executable, "-m", "pipeline.cli", *arguments]
        elif arguments[0] == "generate":  # its image's entry point is this command
            command = self.stack.command("datagen", *arguments[1:], tty=tty)
        else:
            command = self.stack.command("spark", "finlake", *arguments, tty=tty)
        sys.stdout.flush()
        code = subprocess.run(command, check=False).returncode
        if code:
            raise FinlakeError(f"`finlake {arguments[0]}` failed (exit code {code})", "see its message above")


def main(
    *,
    scale: Annotated[int, typer.Option(help="Customers of the initial load.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = 42,
    dirty: Annotated[float, typer.Option(help="Share of dirty rows.")] = 0.02,
) -> None:
    """Run the whole story on the local stack. Example: python -m pipeline.e2e --scale 5000."""
    stack = running_stack(find_home(Path.cwd()))
    if stack is None:
        raise FinlakeError("the local stack is not running", "start it with `make up`")
    story = Story(load_settings(), stack, scale, seed, dirty)
    if story.settings.env != "local":
        raise FinlakeError(f"FINLAKE_ENV is {story.settings.env}", "this story is for the local stack only")
    clock = time.monotonic()
    infrastructure(story)
    name = f"{story.settings.prefix}-{story.settings.env}"  # of what Terraform makes
    first = next_batch(story)
    load(story, first, "Run", lambda: story.finlake("run"))
    load(story, first + 1, "Run as on AWS, by Glue's workflow", lambda: run_workflow(name))
    nothing_new(story)
    with story.step("As on AWS: crawl Bronze, and ask Athena"):
        crawl(f"{name}-bronze")
        ask_athena(story.settings)
    with story.step("Publish: masked copies for outside readers"):
        story.finlake("publish")
    with story.step("Ask Athena: finlake query"):
        story.finlake("query", SAMPLE_QUERY)
    summary(story, time.monotonic() - clock)


def infrastructure(story: Story) -> None:
    """Apply the Terraform configuration, and see that a second plan changes nothing."""
    project = find_project()
    with story.step("Infrastructure: terraform apply by tflocal"):
        applied = apply_local(project)
        counts = f"{len(applied.changes)} resources changed" if applied.changed else ""
        out.print("up to date" if applied.skipped or not counts else counts, highlight=False)
    with story.step("Infrastructure: a second plan shows no change"):
        if plan_local(project).changed:
            raise FinlakeError(
                "a second plan shows changes", "see them with `finlake infra plan --env local`"
            )
        out.print("no change", highlight=False)


def next_batch(story: Story) -> int:
    """Number of the next batch to generate; takes over the arguments of batches that are there."""
    present = read_manifests(story.settings.bronze_uri)
    if not present:
        return 0
    last = present[-1]
    story.scale, story.seed, story.dirty = last.scale, last.seed, last.dirty
    out.print(
        f"Bronze holds {len(present)} generated batches already (scale {last.scale}, seed {last.seed}): "
        f"batches {last.batch + 1} and {last.batch + 2} come next. `make clean` starts anew.",
        highlight=False,
    )
    return last.batch + 1


def load(story: Story, batch: int, title: str, run: Callable[[], None]) -> None:
    """Generate a batch, run the pipeline, and check the lake."""
    what = "initial load" if batch == 0 else f"increment {batch}"
    with story.step(f"Generate: {what}"):
        options = {"out": story.settings.bronze_uri, "batch": batch, "scale": story.scale}
        options |= {"seed": story.seed, "dirty": story.dirty}
        story.finlake(
            "generate", *(text for name, value in options.items() for text in (f"--{name}", str(value)))
        )
    before = versions(story.settings)
    with story.step(f"{title}: {what}"):
        run()
    if before == versions(story.settings):
        raise FinlakeError(f"the run of the {what} loaded nothing")
    with story.step(f"Verify: {what}"):
        story.finlake("verify")


def run_workflow(name: str) -> None:
    """Start a workflow of Glue, and tell of its jobs until the last one has ended.

    Raises:
        FinlakeError: A job has failed.
    """
    glue = boto3.client("glue")
    _show("glue", "start-workflow-run", "--name", name)
    started = glue.start_workflow_run(Name=name)["RunId"]
    told: set[str] = set()
    while True:
        run = glue.get_workflow_run(Name=name, RunId=started, IncludeGraph=True)["Run"]
        ended = [
            job
            for node in run["Graph"]["Nodes"]
            for job in node.get("JobDetails", {}).get("JobRuns", ())
            if job.get("CompletedOn") and job["Id"] not in told
        ]
        for job in sorted(ended, key=lambda job: job["CompletedOn"]):
            told.add(job["Id"])
            out.print(f"{job['JobName']}: {job['JobRunState']}, {job['ExecutionTime']} s", highlight=False)
            if job["JobRunState"] != "SUCCEEDED":
                raise FinlakeError(
                    f"the job {job['JobName']} ended as {job['JobRunState']}: {job.get('ErrorMessage', '')}",
                    f"its log is the stream {job['Id']} of the log group /aws-glue/jobs/error",
                )
        if run["Status"] != "RUNNING":
            return
        time.sleep(POLL_SECONDS)


def crawl(name: str) -> None:
    """Run a crawler of Glue.

    Raises:
        FinlakeError: It has failed.
    """
    glue = boto3.client("glue")
    _show("glue", "start-crawler", "--name", name)
    glue.start_crawler(Name=name)
    while (crawler := glue.get_crawler(Name=name)["Crawler"])["State"] != "READY":
        time.sleep(POLL_SECONDS)
    if (last := crawler["LastCrawl"])["Status"] != "SUCCEEDED":
        raise FinlakeError(f"the crawler {name} ended as {last['Status']}: {last.get('ErrorMessage', '')}")


def ask_athena(settings: Settings) -> None:
    """Ask Athena for the rows of Bronze, which the crawler has registered, and of Silver.

    Raises:
        FinlakeError: It does not answer.
    """
    athena = boto3.client("athena")
    sql = (
        f"SELECT (SELECT count(*) FROM {settings.database('bronze')}.transactions) AS lines_in_bronze, "
        f"(SELECT count(*) FROM {settings.database('silver')}.transactions) AS rows_in_silver"
    )
    output = f"OutputLocation={settings.athena_results_uri}"
    _show("athena", "start-query-execution", "--query-string", sql, "--result-configuration", output)
    query = athena.start_query_execution(
        QueryString=sql, ResultConfiguration={"OutputLocation": settings.athena_results_uri}
    )["QueryExecutionId"]
    while True:
        status = athena.get_query_execution(QueryExecutionId=query)["QueryExecution"]["Status"]
        if status["State"] not in {"QUEUED", "RUNNING"}:
            break
        time.sleep(POLL_SECONDS)
    if status["State"] != "SUCCEEDED":
        raise FinlakeError(f"Athena: {status['State']}: {status.get('StateChangeReason', '')}")
    rows = athena.get_query_results(QueryExecutionId=query)["ResultSet"]["Rows"]
    names, values = ([cell["VarCharValue"] for cell in row["Data"]] for row in rows)
    out.print(", ".join(f"{name}: {value}" for name, value in zip(names, values, strict=True)))


def _show(*arguments: str) -> None:
    """Show a call of AWS's API as a command of its CLI."""
    out.print(f"$ aws {shlex.join(arguments)}", style="dim", highlight=False, soft_wrap=True)


def nothing_new(story: Story) -> None:
    """Run once more: no table may get a new version."""
    before = versions(story.settings)
    with story.step("Run: nothing new"):
        story.finlake("run")
    after = versions(story.settings)
    if before != after:
        raise FinlakeError(f"a run with nothing new changed tables: {before} -> {after}")
    out.print(f"All {len(after)} tables have the versions they had.", highlight=False)


def versions(settings: Settings) -> dict[str, int]:
    """Delta version of every Silver, quarantine and Gold table."""
    entities = tuple(load_contracts())
    found = input_versions(entities, settings)
    found |= {
        f"quarantine.{entity}": table_version(settings.table_uri("quarantine", entity)) for entity in entities
    }
    return found | {mart.name: table_version(settings.table_uri("gold", mart.name)) for mart in MARTS}


def summary(story: Story, total: float) -> None:
    """Print the seconds of each step."""
    table = Table("step", title="Summary")
    table.add_column("seconds", justify="right")
    for name, seconds in story.steps:
        table.add_row(name, f"{seconds:.1f}")
    table.add_section()
    table.add_row("total", f"{total:.1f}")
    print_table(table)
    out.print("The stack is still up. Go on, for example:", highlight=False)
    out.print('  .venv/bin/finlake query "SELECT * FROM gold.loan_portfolio"', highlight=False)
    out.print("  .venv/bin/finlake status", highlight=False)
    if dashboard := story.stack.status().dashboard:
        out.print(f"  {dashboard} in a browser: the dashboard", highlight=False)
    out.print("  make down", highlight=False)


if __name__ == "__main__":
    from pipeline.cli import guarded

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    guarded(app)
