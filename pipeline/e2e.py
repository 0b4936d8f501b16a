"""The whole story in one go, as ``make e2e`` tells it.

Infrastructure by Terraform, an initial load, one increment, checks after each, and a run with
nothing new. On a lake that already holds generated batches, the next two batches are loaded
instead, so nothing that is there is ever deleted.

What it does is done by the commands that a user would type, each shown before it runs: on the
native stack here, on the Docker stack inside of its containers.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

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
    first = next_batch(story)
    for batch in (first, first + 1):
        load(story, batch)
    nothing_new(story)
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


def load(story: Story, batch: int) -> None:
    """Generate a batch, run the pipeline, and check the lake."""
    what = "initial load" if batch == 0 else f"increment {batch}"
    with story.step(f"Generate: {what}"):
        options = {"out": story.settings.bronze_uri, "batch": batch, "scale": story.scale}
        options |= {"seed": story.seed, "dirty": story.dirty}
        story.finlake(
            "generate", *(text for name, value in options.items() for text in (f"--{name}", str(value)))
        )
    before = versions(story.settings)
    with story.step(f"Run: {what}"):
        story.finlake("run")
    if before == versions(story.settings):
        raise FinlakeError(f"the run of the {what} loaded nothing")
    with story.step(f"Verify: {what}"):
        story.finlake("verify")


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
