"""``finlake quarantine``: look at what could not enter Silver, and try it again."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from pipeline.present import err, out, plain, print_table, progress_display, show_report

quarantine_app = typer.Typer(
    help="Look at rows that could not enter Silver, and try them again.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Entity = Annotated[str, typer.Argument(help="Entity that the rows belong to.")]
Reason = Annotated[
    str | None, typer.Option("--reason", help="Only this reason: rule:column, or rule for any column.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for scripts.")]


@quarantine_app.command("list")
def list_rows(
    *,
    entity: Annotated[
        list[str] | None, typer.Option("--entity", "-e", help="Only this entity; can be repeated.")
    ] = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Count the rows in quarantine by entity, reason, file and run. A row counts for each of its reasons.

    Example: finlake quarantine list --entity customers --reason bad_email
    """
    from pipeline.quarantine import held_rows
    from pipeline.settings import reachable_settings

    found = held_rows(reachable_settings(), entity or (), reason)
    if as_json:
        print(json.dumps([asdict(held) for held in found], default=plain, indent=2))  # noqa: T201 - for scripts
        return
    if not found:
        out.print("No such row is in quarantine.", highlight=False)
        return
    table = Table("entity", "reason")
    table.add_column("rows", justify="right")
    for name in ("since (UTC)", "run", "file"):
        table.add_column(name)
    for held in found:
        since = f"{held.since:%Y-%m-%d %H:%M:%S}"
        cells = (held.entity, held.reason, f"{held.rows:,}", since, held.run_id, held.file)
        table.add_row(*map(escape, cells))
    print_table(table)


@quarantine_app.command()
def show(
    entity: Entity,
    *,
    reason: Reason = None,
    file: Annotated[
        str | None, typer.Option("--file", help="Only rows of files whose URI holds this text.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many rows.")] = 20,
    raw: Annotated[
        bool, typer.Option("--raw", help="Show lines as they stand, with the personal data in them.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show rows in quarantine: file, line, every rule that was broken and what it demands, and the line.

    Of personal data, only the form is shown (x for a letter, 9 for a digit) unless --raw is given.

    Example: finlake quarantine show customers --reason bad_email --limit 5
    """
    from pipeline.quarantine import printable, show_rows
    from pipeline.settings import reachable_settings

    rows = show_rows(reachable_settings(), entity, reason=reason, file=file, limit=limit, raw=raw)
    if as_json:
        print(json.dumps([asdict(row) for row in rows], default=plain, indent=2))  # noqa: T201 - for scripts
        return
    for row in rows:
        text = f"{row.file}, line {row.line} (run {row.run_id})"
        out.print(escape(text), style="bold", highlight=False, soft_wrap=True)
        for name, demanded in row.reasons.items():
            out.print(f"  [red]{escape(name)}[/red]: {escape(demanded)}", highlight=False, soft_wrap=True)
        out.print(f"  {escape(printable(row.raw))}", highlight=False, soft_wrap=True, emoji=False)
    if not rows:
        out.print("No such row is in quarantine.", highlight=False)
    elif len(rows) == limit:
        out.print(f"These are the first {limit}; --limit shows more.", highlight=False)


@quarantine_app.command()
def replay(entity: Entity, *, reason: Reason = None, as_json: AsJson = False) -> None:
    """Try quarantined rows again: after a rule was changed, or to bring in a parent that has come.

    Rows that pass go into Silver; rows that are still bad stay as they are.

    Example: finlake quarantine replay customers --reason bad_email
    """
    from pipeline.quarantine import replay as replay_rows
    from pipeline.settings import reachable_settings

    with progress_display(quiet=as_json) as progress:
        report = replay_rows(reachable_settings(), entity, reason, progress)
    if as_json:
        print(json.dumps(report.as_dict(), indent=2))  # noqa: T201 - for scripts
    else:
        released = sum(found.released for found in report.entities)
        show_report(report)
        out.print(f"{released:,} rows left quarantine.", highlight=False)
        if released:
            out.print("Rows that waited for these, and Gold, follow with: finlake run", highlight=False)
    for error in report.errors:
        err.print(f"[red]Error:[/red] {escape(error)}", highlight=False, soft_wrap=True)
    if report.errors:
        raise typer.Exit(1)
