"""How results look on a terminal: tables for people. Colours only where there is a terminal."""

from __future__ import annotations

import csv
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from itertools import chain, count
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.measure import Measurement
from rich.spinner import Spinner
from rich.table import Table

if TYPE_CHECKING:
    from pipeline.maintain import Maintenance
    from pipeline.preview import FilePreview
    from pipeline.report import EntityReport, RunReport
    from pipeline.result import Result
    from pipeline.run import Progress
    from pipeline.verify import Check

OUTCOMES = ("inserted", "updated", "duplicate", "stale", "quarantined")
SHOWN_ROWS = 100

out = Console()
err = Console(stderr=True)


def print_table(table: Table) -> None:
    """Print a table at its natural width: what does not fit is the terminal's to wrap or scroll."""
    table.box = table.box and box.SIMPLE_HEAD
    table.title_justify = "left"
    wide = out.options.update(max_width=10_000)
    natural = Measurement.get(out, wide, table).maximum
    Console(width=max(natural, 1)).print(table, crop=False, highlight=False)


def show_report(report: RunReport) -> None:
    """Print what a run did: a table of entities, the marts, and what was noticed."""
    if report.dry_run:
        show_previews(report)
    elif report.entities:
        table = Table()
        table.add_column("entity")
        for name in ("files", "read", *OUTCOMES, "released", "seconds", "rows/s"):
            table.add_column(name, justify="right")
        for entity in report.entities:
            values = [
                entity.files,
                entity.read,
                *(entity.outcomes[name] for name in OUTCOMES),
                entity.released,
            ]
            speed = f"{entity.read / entity.seconds:,.0f}" if entity.read and entity.seconds else ""
            table.add_row(entity.entity, *[f"{value:,}" for value in values], f"{entity.seconds:.1f}", speed)
        print_table(table)
    if report.marts:
        states = [
            f"{mart.mart} {mart.status}{f' in {mart.seconds:.1f} s' * bool(mart.seconds)}"
            for mart in report.marts
        ]
        out.print("Gold: " + ", ".join(states), highlight=False)
    for entity in report.entities:
        for text in _noticed(entity):
            out.print(f"  {entity.entity}: {escape(text)}", highlight=False, soft_wrap=True)
    if not report.dry_run and not report.changed and not report.errors:
        out.print("Nothing is new: no data file was read, nothing was written.", highlight=False)
    for warning in report.warnings:
        err.print(f"[yellow]Warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)
    if report.seconds:
        parts = ", ".join(f"{name.replace('_', ' ')} {value:.1f} s" for name, value in report.seconds.items())
        out.print(f"[dim]{parts}[/dim]", highlight=False)


def _noticed(entity: EntityReport) -> Iterator[str]:
    for reason, rows in sorted(entity.reasons.items()):
        yield f"{rows:,} rows quarantined for {reason}"
    for warning, rows in sorted(entity.warnings.items()):
        yield f"{rows:,} rows marked with {warning}"
    if entity.closed:
        yield f"{entity.closed:,} keys closed, since a snapshot lacks them"
    if entity.reopened:
        yield f"{entity.reopened:,} closed keys open again"
    if entity.left:
        yield f"{entity.left:,} files of other days left for later"
    yield from entity.notes


def show_previews(report: RunReport) -> None:
    """Print what a run would read: per entity, then file by file."""
    if report.entities:
        table = Table(title="Dry run: nothing was written")
        table.add_column("entity")
        for name in ("files", "rows", "bytes", "rules"):
            table.add_column(name, justify="right")
        for entity in report.entities:
            files, rules = (entity.preview.files, entity.preview.rules) if entity.preview else ((), {})
            about = "~" * any(file.is_estimate for file in files)
            rows = sum(file.rows or 0 for file in files)
            size = sum(file.size for file in files)
            table.add_row(
                entity.entity, f"{len(files):,}", f"{about}{rows:,}", f"{size:,}", f"{len(rules):,}"
            )
        print_table(table)
    for entity in report.entities:
        for file in entity.preview.files if entity.preview else ():
            text = f"  {entity.entity}: {file.path}: {_previewed(file)}"
            out.print(escape(text), highlight=False, soft_wrap=True)
        if entity.preview and entity.preview.rules:
            text = f"  {entity.entity}: rules that rows are held against: {', '.join(entity.preview.rules)}"
            out.print(escape(text), highlight=False, soft_wrap=True)
    if any(file.is_estimate for entity in report.entities if entity.preview for file in entity.preview.files):
        out.print("  ~ is an estimate from the size and the beginning of a file.", highlight=False)


def _previewed(file: FilePreview) -> str:
    said = [f"{file.size:,} bytes"]
    if file.rows is not None:
        said.append(f"~{file.rows:,} rows" if file.is_estimate else f"{file.rows:,} rows")
    notes = "; ".join(file.notes) or "as the contract says"
    said.append(notes if file.status == "pending" else f"{file.status}: {notes}")
    said += [f"{new} may be {old} by another name" for old, new in file.renamed]
    if file.refused:
        said.append(f"every row would be quarantined: {', '.join(file.refused)}")
    return "; ".join(said)


def show_maintenance(report: Maintenance) -> None:
    """Print what maintenance did, table by table."""
    table = Table("table", title="Dry run: nothing was written" if report.dry_run else None)
    for name in ("rows", "files", "bytes", "median file", "merged", "clustered", "deleted", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("")
    for work in report.tables:
        size, before = work.after, work.before.files
        files = f"{size.files:,}" if size.files == before else f"{before:,} -> {size.files:,}"
        table.add_row(
            work.table,
            "?" if size.rows is None else f"{size.rows:,}",
            files,
            f"{size.bytes:,}",
            f"{size.median_file or 0:,}",
            f"{work.merged:,}",
            f"{work.clustered:,}",
            f"{work.deleted:,}",
            f"{work.seconds:.1f}",
            f"left alone: {work.left_alone}" if work.left_alone else "checkpoint" * work.checkpoint,
        )
    print_table(table)
    if report.staged:
        what = "would be deleted" if report.dry_run else "deleted"
        out.print(f"{report.staged:,} left-over files of interrupted runs {what}.", highlight=False)


def show_checks(checks: Sequence[Check], *, only_failed: bool = False) -> None:
    """Print checks, one line each."""
    table = Table(show_header=False, box=None, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for check in checks:
        if not check.ok or not only_failed:
            mark = "[green]ok[/green]" if check.ok else "[red]FAILED[/red]"
            table.add_row(mark, escape(check.name), escape(check.detail))
    if table.row_count:
        print_table(table)


def show_result(result: Result, fmt: str) -> None:
    """Print rows of a query as ``table``, ``csv`` or ``json``."""
    if fmt == "json":
        names = _unique(result.columns)
        rows = [dict(zip(names, map(_strict, row), strict=True)) for row in result.rows]
        sys.stdout.write(json.dumps(rows, ensure_ascii=False, indent=2) + "\n")
    elif fmt == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(result.columns)
        writer.writerows([[_cell(value) for value in row] for row in result.rows])
    else:
        table = Table()
        for index, name in enumerate(result.columns):
            numeric = any(isinstance(row[index], int | float) for row in result.rows[:SHOWN_ROWS])
            table.add_column(escape(name), justify="right" if numeric else "left", overflow="fold")
        for row in result.rows[:SHOWN_ROWS]:
            table.add_row(*["" if value is None else escape(str(plain(value))) for value in row])
        print_table(table)
        if len(result.rows) > SHOWN_ROWS:
            more = len(result.rows) - SHOWN_ROWS
            out.print(f"{more:,} more rows; --format csv or json shows all of them.", highlight=False)


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever the database gives
    """A value as JSON can hold it: dates as ISO 8601, bytes as hex, decimals as text."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str | int | float | bool | list | dict) or value is None:
        return value
    return str(value)


def _strict(value: Any) -> Any:  # noqa: ANN401 - whatever the database gives
    """A value as strict JSON can hold it: also within lists and maps, and without NaN and infinity."""
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, dict):
        return {str(plain(key)): _strict(item) for key, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return plain(value)


def _cell(value: Any) -> Any:  # noqa: ANN401 - whatever the database gives
    """A value as CSV can hold it: null as nothing, lists and maps as JSON."""
    if value is None:
        return ""
    if isinstance(value, list | tuple | dict):
        return json.dumps(_strict(value), ensure_ascii=False)
    return plain(value)


def _unique(names: Sequence[str]) -> list[str]:
    """Column names, told apart by a number where a query gives two columns the same one.

    >>> _unique(["a", "b", "a"])
    ['a', 'b', 'a_1']
    """
    unique: list[str] = []
    for name in names:
        numbered = chain([name], (f"{name}_{number}" for number in count(1)))
        unique.append(next(candidate for candidate in numbered if candidate not in unique))
    return unique


@contextmanager
def progress_display(*, quiet: bool = False) -> Iterator[Progress]:
    """A display of who is doing what, on stderr: live on a terminal, one line per step elsewhere."""
    if quiet:
        yield lambda _name, _phase: None
        return
    begun = time.monotonic()
    if not err.is_terminal:

        def line(name: str, phase: str) -> None:
            err.print(
                f"{time.monotonic() - begun:6.1f} s  {name}: {phase}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

        yield line
        return
    states: dict[str, str] = {}

    def rendered() -> Table:
        grid = Table.grid(padding=(0, 1))
        for name, phase in states.items():
            done = phase in ("done", "failed")
            grid.add_row("✓" if phase == "done" else "✗" if done else Spinner("dots"), name, phase)
        grid.add_row("", "", f"[dim]{time.monotonic() - begun:.0f} s[/dim]")
        return grid

    with Live(get_renderable=rendered, console=err, transient=True, refresh_per_second=8):

        def update(name: str, phase: str) -> None:
            states[name] = phase

        yield update
