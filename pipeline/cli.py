"""The command line: ``finlake``.

Exit codes: 0 all is well; 1 it was tried and failed, or a check failed; 2 the command was called
with something that cannot work; 130 Ctrl-C ended it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from datagen.cli import generate as generate_batch
from pipeline.dashboard.command import dashboard
from pipeline.deploy import deploy_command
from pipeline.doctor import doctor
from pipeline.errors import FinlakeError, UsageError, explain
from pipeline.infra import infra_app
from pipeline.models_cli import score_command, train_command
from pipeline.present import (
    OUTCOMES,
    err,
    out,
    plain,
    print_table,
    progress_display,
    show_checks,
    show_maintenance,
    show_report,
    show_result,
)
from pipeline.quarantine_cli import quarantine_app

MANAGED = "FINLAKE_SPARK_MANAGED"  # set by the Glue job's script
EXTRAS = {"aiohttp": "lakehouse,dashboard", "sklearn": "lakehouse,ml", "scipy": "lakehouse,ml"}
INTERRUPTED = 130  # what shells use for a command that Ctrl-C has ended

app = typer.Typer(
    name="finlake",
    help="A finance lakehouse on your laptop, and the same on AWS.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(doctor)
app.add_typer(infra_app, name="infra")
app.command("deploy")(deploy_command)
app.command()(dashboard)
app.add_typer(quarantine_app, name="quarantine")
app.command("train")(train_command)
app.command("score")(score_command)

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for scripts.")]


@app.command()
@wraps(generate_batch)
def generate(*args: Any, **kwargs: Any) -> None:  # noqa: ANN401, D103 - the generator's own command
    if str(kwargs.get("out", "")).startswith("s3://"):
        from pipeline.settings import reachable_settings

        reachable_settings()
    generate_batch(*args, **kwargs)


@app.command()
def contracts(
    entity: Annotated[str | None, typer.Argument(help="Show one entity in full.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show the data contracts: entities, or the columns of one.

    Example: finlake contracts customers
    """
    from contracts import load_contracts

    known = load_contracts()
    if entity is None:
        rows = [
            {
                "entity": name,
                "columns": len(contract.columns),
                "key": list(contract.key),
                "parents": list(contract.parent_entities),
                "pii": [column.name for column in contract.columns if column.pii_class],
                "description": contract.description,
            }
            for name, contract in known.items()
        ]
    elif entity not in known:
        raise UsageError(f"there is no entity {entity!r}", f"entities are: {', '.join(known)}")
    else:
        rows = [
            {
                "column": column.name,
                "type": column.physical_type,
                "required": column.required,
                "pii": column.pii_class or "",
                "derived": column.derived,
                "description": column.description,
            }
            for column in known[entity].columns
        ]
    if as_json:
        print(json.dumps(rows, indent=2))  # noqa: T201 - for scripts
        return
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*[escape(_cell(value)) for value in row.values()])
    print_table(table)


@app.command()
def ingest(
    entity: Annotated[str, typer.Argument(help="Entity that the files belong to.")],
    files: Annotated[list[Path], typer.Argument(help="CSV files (.csv, .csv.gz), or folders of them.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Put your own CSV files into Bronze, as they are.

    Example: finlake ingest customers crm-export.csv
    """
    from contracts import load_contracts
    from pipeline.ingest import ingest as ingest_files
    from pipeline.settings import reachable_settings

    known = load_contracts()
    if entity not in known:
        raise UsageError(f"there is no entity {entity!r}", f"entities are: {', '.join(known)}")
    done = ingest_files(files, known[entity], reachable_settings())
    if as_json:
        rows = [
            {"file": str(item.source), "uri": item.uri, "new": item.is_new, "notes": item.notes}
            for item in done
        ]
        print(json.dumps(rows, indent=2))  # noqa: T201 - for scripts
        return
    for item in done:
        state = "is now" if item.is_new else "was already"
        out.print(f"{escape(str(item.source))} {state} {escape(item.uri)}", highlight=False, soft_wrap=True)
        for note in item.notes:
            out.print(f"  {escape(note)}", highlight=False)
    if any(item.is_new for item in done):
        out.print("Load it with: finlake run", highlight=False)


@app.command()
def run(
    *,
    entity: Annotated[
        list[str] | None, typer.Option("--entity", "-e", help="Load only this entity; can be repeated.")
    ] = None,
    layer: Annotated[str, typer.Option(help="all, silver or gold.")] = "all",
    first: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], help="Load only files ingested on this day or later."),
    ] = None,
    last: Annotated[
        datetime | None,
        typer.Option("--to", formats=["%Y-%m-%d"], help="Load only files ingested on this day or before."),
    ] = None,
    full_refresh: Annotated[
        bool, typer.Option("--full-refresh", help="Build all of Gold's marts anew, from all of Silver.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Load new Bronze files into Silver and refresh Gold.

    Marts follow what has changed in Silver; only where that cannot be told are they built anew.

    The day of a file is that of its folder in Bronze, ingest_date=YYYY-MM-DD.

    Examples: finlake run --entity customers --entity accounts; finlake run --from 2026-01-01 --to 2026-01-31;
    finlake run --layer gold --full-refresh
    """
    from pipeline.files import Days
    from pipeline.run import run_pipeline
    from pipeline.settings import reachable_settings

    settings = reachable_settings()
    days = Days(first.date() if first else None, last.date() if last else None)
    try:
        with progress_display(quiet=as_json) as progress:
            report = run_pipeline(
                settings,
                entities=entity or (),
                layer=layer,
                dry_run=dry_run,
                days=days,
                full_refresh=full_refresh,
                progress=progress,
            )
    except KeyboardInterrupt:
        err.print("Interrupted. The next `finlake run` goes on where this one ended.", highlight=False)
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        # On Glue in one line: CloudWatch takes each line for an event of its own, and reads metrics from it.
        indent = None if os.environ.get(MANAGED) else 2
        print(json.dumps(report.as_dict(), indent=indent))  # noqa: T201 - for scripts
    else:
        show_report(report)
    if report.errors:
        for error in report.errors:
            err.print(f"[red]Error:[/red] {escape(error)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1)


@app.command()
def status(
    *,
    runs: Annotated[int, typer.Option(min=1, help="How many of the last runs to show.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show the last runs, what became of every row, and what is in quarantine.

    Example: finlake status --runs 3
    """
    from pipeline.settings import reachable_settings
    from pipeline.status import lake_status

    found = lake_status(reachable_settings(), runs)
    if as_json:
        print(json.dumps(found, default=plain, indent=2))  # noqa: T201 - for scripts
        return
    table = Table(
        "run", "status", "started (UTC)", "seconds", "error", title="Last runs", title_justify="left"
    )
    for row in found["runs"]:
        ended = row["finished_at"]
        seconds = f"{(ended - row['started_at']).total_seconds():.1f}" if ended else "interrupted or running"
        started = f"{row['started_at']:%Y-%m-%d %H:%M:%S}"
        table.add_row(row["run_id"], row["status"], started, seconds, escape(row["error"] or ""))
    print_table(table)
    table = Table(title="Rows since the beginning")
    table.add_column("entity")
    for name in ("files", "read", *OUTCOMES, "released", "in quarantine"):
        table.add_column(name, justify="right")
    for row in found["entities"]:
        values = [
            row["files"],
            row["read"],
            *(row[name] for name in OUTCOMES),
            row["released"],
            row["in_quarantine"],
        ]
        table.add_row(row["entity"], *[f"{value:,}" for value in values])
    print_table(table)
    for row in found["entities"]:
        for reason, rows in sorted(row["reasons"].items()):
            out.print(f"  {row['entity']}: {rows:,} rows quarantined for {escape(reason)}", highlight=False)
        for warning, rows in sorted(row["warnings"].items()):
            out.print(f"  {row['entity']}: {rows:,} rows marked with {escape(warning)}", highlight=False)
    for row in found["set_aside"]:
        why = "; ".join(row["notes"] or ())
        out.print(f"  {row['entity']}: {escape(row['path'])} {row['status']}: {escape(why)}", highlight=False)
    for row in found["personal_data"]:
        noted = "; ".join(row["notes"])
        out.print(f"  {row['entity']}: {escape(row['path'])}: {escape(noted)}", highlight=False)


@app.command()
def verify(*, as_json: AsJson = False) -> None:
    """Check the lake: rows accounted for, keys, relationships, catalogue, the generator's manifest.

    Example: finlake verify
    """
    from pipeline.settings import reachable_settings
    from pipeline.verify import verify as verify_lake

    checks = verify_lake(reachable_settings())
    failed = [check for check in checks if not check.ok]
    if as_json:
        rows = [{"check": check.name, "ok": check.ok, "detail": check.detail} for check in checks]
        print(json.dumps(rows, indent=2))  # noqa: T201 - for scripts
    else:
        show_checks(checks)
        out.print(f"{len(checks) - len(failed)} of {len(checks)} checks hold.", highlight=False)
    if failed:
        raise typer.Exit(1)


@app.command()
def maintain(
    *,
    retention_days: Annotated[
        float, typer.Option(min=0, help="Days that files stay after the last version that needs them.")
    ] = 7,
    allow_short: Annotated[
        bool,
        typer.Option("--allow-short-retention", help="Allow less than 7 days; nobody may read meanwhile."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    as_json: AsJson = False,
) -> None:
    """Merge small files, delete old ones and shorten logs of all tables; write down their sizes.

    Example: finlake maintain --dry-run
    """
    from pipeline.maintain import maintain as maintain_lake
    from pipeline.settings import reachable_settings

    retention = timedelta(days=retention_days)
    report = maintain_lake(
        reachable_settings(), retention=retention, allow_short=allow_short, dry_run=dry_run
    )
    if as_json:
        print(json.dumps(report.as_dict(), indent=2))  # noqa: T201 - for scripts
    else:
        show_maintenance(report)


@app.command()
def publish(*, as_json: AsJson = False) -> None:
    """Bring the masked copies for outside readers up to date.

    Example: finlake publish
    """
    from pipeline.publish import publish as publish_copies
    from pipeline.settings import reachable_settings

    done = publish_copies(reachable_settings())
    if as_json:
        print(json.dumps([asdict(copy) for copy in done], indent=2))  # noqa: T201 - for scripts
        return
    for copy in done:
        state = "written" if copy.written else "current"
        masked = f", masked: {', '.join(copy.masked)}" if copy.masked else ""
        out.print(f"{copy.table} {state}{masked}", highlight=False, soft_wrap=True)


@app.command()
def forget(
    customer_id: Annotated[str, typer.Argument(help="Business key of the customer.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be erased.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Erase a person from all layers, with all old versions. This cannot be undone.

    Example: finlake forget C0000000001 --dry-run
    """
    from pipeline.forget import forget as forget_person
    from pipeline.settings import reachable_settings

    if as_json and not (yes or dry_run):
        raise UsageError("with --json nobody is asked", "add --yes to erase, or --dry-run")
    settings = reachable_settings()
    if not yes and not dry_run:
        _show_forgotten(forget_person(settings, customer_id, dry_run=True).as_dict())
        typer.confirm("Erase it? Time travel of these tables ends here.", abort=True, err=True)
    with progress_display(quiet=as_json) as progress:
        found = forget_person(settings, customer_id, dry_run=dry_run, progress=progress).as_dict()
    if as_json:
        print(json.dumps(found, indent=2))  # noqa: T201 - for scripts
    else:
        _show_forgotten(found)


@app.command()
def query(
    sql: Annotated[str, typer.Argument(help="One SQL statement, or - to read it from stdin.")],
    *,
    fmt: Annotated[str, typer.Option("--format", help="table, csv or json.")] = "table",
    engine: Annotated[
        str | None,
        typer.Option(help="athena, or duckdb, which reads the tables' files here. By default Athena, on S3."),
    ] = None,
) -> None:
    """Ask the catalogue's tables by SQL (Athena's dialect, or DuckDB's), without Spark.

    Example: finlake query "select segment, count(*) from silver.customers group by segment"
    """
    from pipeline.settings import reachable_settings

    if fmt not in ("table", "csv", "json"):
        raise UsageError(f"there is no format {fmt!r}", "formats are: table, csv, json")
    if engine not in (None, "athena", "duckdb"):
        raise UsageError(f"there is no engine {engine!r}", "engines are: athena, duckdb")
    text = sys.stdin.read() if sql == "-" else sql
    settings = reachable_settings()
    if (engine or ("athena" if settings.is_on_s3 else "duckdb")) == "athena":
        from pipeline.athena import run_query
    else:
        from pipeline.query import run_query
    show_result(run_query(text, settings), fmt)


@app.command()
def shell() -> None:
    """Open a Python shell on Spark, with the lake's tables at hand.

    Example: echo 'table("silver.customers").show(3)' | finlake shell
    """
    from pipeline.settings import reachable_settings
    from pipeline.shell import open_shell

    open_shell(reachable_settings())


def main() -> None:
    """Entry point of ``finlake``."""
    guarded(app)


def guarded(command: Callable[[], object]) -> None:
    """Run a command, and turn errors into messages and exit codes."""
    try:
        command()
    except FinlakeError as error:
        fail(error)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] in ("contracts", "datagen", "pipeline", "ml", "emulator"):
            raise
        extras = EXTRAS.get((error.name or "").split(".")[0], "lakehouse")
        fail(
            FinlakeError(
                f"this command needs the package {error.name!r}, which is not installed",
                f"pip install 'finlake[{extras}]'",
            )
        )
    except Exception as error:
        if os.environ.get("FINLAKE_DEBUG"):
            raise
        fail(
            explain(error)
            or FinlakeError(
                f"unexpected {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
                "FINLAKE_DEBUG=1 shows where it happened",
            )
        )


def fail(error: FinlakeError) -> None:
    """Print an error with its hint and leave with its exit code."""
    err.print(f"[red]Error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
    if error.hint:
        err.print(f"  {escape(error.hint)}", highlight=False, soft_wrap=True)
    sys.exit(error.exit_code)


def _show_forgotten(found: dict[str, Any]) -> None:
    did = "would be erased" if found["dry_run"] else "erased"
    for place in found["places"]:
        out.print(f"{escape(place['place'])}: {place['erased']:,} {did}", highlight=False, soft_wrap=True)
    if not found["places"]:
        out.print(f"Nothing is left of customer {escape(found['customer_id'])}.", highlight=False)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, list):
        return ", ".join(value)
    return str(value)


if __name__ == "__main__":
    main()
