"""The whole story in one go, as ``make e2e`` tells it.

Infrastructure by Terraform, an initial load, one increment, checks after each, and a run with
nothing new. On a lake that already holds generated batches, the next two batches are loaded
instead, so nothing that is there is ever deleted.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

import typer
from rich.table import Table

from contracts import load_contracts
from datagen import generate, read_manifests
from pipeline.errors import FinlakeError
from pipeline.gold import MARTS
from pipeline.infra import apply_local, find_project, plan_local
from pipeline.present import out, print_table, progress_display, show_checks, show_report, show_result
from pipeline.publish import publish
from pipeline.query import run_query
from pipeline.report import RunReport
from pipeline.run import run_pipeline
from pipeline.settings import Settings, load_settings
from pipeline.silver import input_versions
from pipeline.tables import table_version
from pipeline.verify import verify

SAMPLE_QUERY = """
SELECT segment, count(*) AS customers, sum(account_count)::BIGINT AS accounts,
       sum(loan_count)::BIGINT AS loans, round(avg(transaction_count_90d), 1) AS transactions_90d
FROM gold.customer_360 GROUP BY segment ORDER BY segment
"""


@dataclass
class Story:
    """What has been done so far, and how long each step took."""

    settings: Settings
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


def main(
    *,
    scale: Annotated[int, typer.Option(help="Customers of the initial load.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = 42,
    dirty: Annotated[float, typer.Option(help="Share of dirty rows.")] = 0.02,
) -> None:
    """Run the whole story on the local stack. Example: python -m pipeline.e2e --scale 5000."""
    story = Story(load_settings(), scale, seed, dirty)
    if story.settings.env != "local":
        raise FinlakeError(f"FINLAKE_ENV is {story.settings.env}", "this story is for the local stack only")
    clock = time.monotonic()
    infrastructure(story)
    first = next_batch(story)
    for batch in (first, first + 1):
        load(story, batch)
    nothing_new(story)
    with story.step("Publish: masked copies for outside readers"):
        copies = publish(story.settings)
        masked = sum(len(copy.masked) for copy in copies)
        written = sum(copy.written for copy in copies)
        out.print(f"{written} of {len(copies)} copies written, {masked} columns masked", highlight=False)
    with story.step("Ask: finlake query"):
        out.print(SAMPLE_QUERY.strip(), style="dim", highlight=False)
        show_result(run_query(SAMPLE_QUERY, story.settings), "table")
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
        manifest = generate(
            story.settings.bronze_uri, scale=story.scale, batch=batch, seed=story.seed, dirty=story.dirty
        )
        rows = {entity: part.rows for entity, part in manifest.entities.items()}
        out.print(", ".join(f"{count:,} {entity}" for entity, count in rows.items()), highlight=False)
    with story.step(f"Run: {what}"):
        with progress_display() as progress:
            report = run_pipeline(story.settings, progress=progress)
        show_report(report)
        stop_on_errors(report)
        if not report.changed:
            raise FinlakeError(f"the run of the {what} loaded nothing")
    check(story, what)


def check(story: Story, what: str) -> None:
    """Run ``finlake verify``."""
    with story.step(f"Verify: {what}"):
        checks = verify(story.settings)
        failed = [item for item in checks if not item.ok]
        show_checks(checks)
        out.print(f"{len(checks) - len(failed)} of {len(checks)} checks hold.", highlight=False)
        if failed:
            raise FinlakeError(f"{len(failed)} checks failed: {', '.join(item.name for item in failed)}")


def nothing_new(story: Story) -> None:
    """Run once more: no table may get a new version."""
    with story.step("Run: nothing new"):
        before = versions(story.settings)
        report = run_pipeline(story.settings)
        stop_on_errors(report)
        show_report(report)
        after = versions(story.settings)
        if report.changed or before != after:
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


def stop_on_errors(report: RunReport) -> None:
    """Raise when a run had errors."""
    if report.errors:
        raise FinlakeError("; ".join(report.errors))


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
    out.print("  make down", highlight=False)


if __name__ == "__main__":
    from pipeline.cli import guarded

    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(main)
    guarded(app)
