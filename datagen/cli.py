"""Command line of the generator."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from datagen.errors import BadRequestError, GenerateError

if TYPE_CHECKING:
    from datagen.generator import Progress
    from datagen.manifest import Manifest

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def generate(  # noqa: PLR0917 - Typer calls it by name
    scale: Annotated[int, typer.Option(min=1, help="Customers in the initial load.")] = 1000,
    batch: Annotated[int, typer.Option(min=0, help="0 is the initial load, n the n-th day after it.")] = 0,
    days: Annotated[
        int, typer.Option(min=0, help="Go on for so many days after --batch, one batch a day.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes; another seed, another bank.")] = 42,
    dirty: Annotated[float, typer.Option(min=0, max=0.5, help="Share of dirty rows.")] = 0.02,
    out: Annotated[
        str, typer.Option(metavar="FOLDER|S3_URI", help="Folder, or s3://bucket/prefix.")
    ] = "data/bronze",
    profile: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE", help="Kind of bank: retail-bank, neobank, sme-lender, or a YAML file."
        ),
    ] = "retail-bank",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Set one rate of the profile, such as activity=2."),
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help="csv, csv.gz, jsonl or parquet.")] = "csv",
    delivery: Annotated[
        str,
        typer.Option(help="changes, cdc (with a column of operations) or snapshot (all rows, every day)."),
    ] = "changes",
    file_rows: Annotated[
        int | None, typer.Option(min=1, help="About this many rows in a file (500,000 if left out).")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processors to use (all if left out).")] = None,
    describe: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Describe what was generated in an HTML file: a data card."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the totals as JSON.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the batch if it is there.")] = False,
) -> None:
    """Generate synthetic finance data as files, with a manifest that says what is in them.

    Five entities that belong together: customers, accounts, loans, payments, transactions.

    The same options give the same bytes. A later batch holds new, changed and late rows.

    Dirty rows (copies, old versions, bad values, broken lines ...) are added on purpose and counted exactly.

    Examples: an initial load, the week after it, an initial load into a bucket, and another kind of bank:

    finlake generate --scale 10000 --out data/bronze

    finlake generate --scale 10000 --out data/bronze --batch 1 --days 6

    finlake generate --out s3://my-bucket/bronze

    finlake generate --profile neobank --set activity=4 --format parquet --out data/neobank
    """
    from datagen.generator import MOST_BATCHES
    from datagen.generator import generate as make
    from datagen.profile import load, override

    try:
        if batch + days > MOST_BATCHES:
            raise BadRequestError(
                f"--batch and --days lead to batch {batch + days}; the last is {MOST_BATCHES:,}"
            )
        bank = override(load(profile), _pairs(settings or []))
        manifests = []
        for number in range(batch, batch + days + 1):
            with _progress() as on_progress:
                manifest = make(
                    out,
                    scale=scale,
                    batch=number,
                    seed=seed,
                    dirty=dirty,
                    profile=bank,
                    format=file_format,
                    delivery=delivery,
                    file_rows=file_rows,
                    workers=workers,
                    force=force,
                    on_progress=on_progress,
                )
            manifests.append(manifest)
            if not as_json:
                _print_summary(manifest, out)
        if describe:
            from datagen.card import write_card

            write_card(Path(describe), manifests, bank)
    except GenerateError as error:
        Console(stderr=True).print(f"[red]Error:[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        raise typer.Exit(2 if isinstance(error, BadRequestError) else 1) from None
    if describe:
        typer.echo(f"Data card: {describe}", err=as_json)
    if as_json:
        totals = [_totals(manifest, out) for manifest in manifests]
        typer.echo(json.dumps(totals if days else totals[0], indent=2))


def _pairs(settings: list[str]) -> dict[str, str]:
    pairs = {}
    for text in settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise BadRequestError(f"--set {text}: give a key and a value, such as activity=2")
        pairs[key.strip()] = value.strip()
    return pairs


@contextmanager
def _progress() -> Iterator[Callable[[Progress], None] | None]:
    """One bar per entity on a terminal, nothing elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    rows = TextColumn("{task.fields[rows]:,} rows, {task.fields[speed]:,.0f} rows/s")
    with Bars(
        TextColumn("{task.description}"),
        BarColumn(),
        rows,
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def on_progress(step: Progress) -> None:
            if step.entity not in tasks:
                tasks[step.entity] = bars.add_task(step.entity, total=step.total, rows=0, speed=0)
            seconds = bars.tasks[tasks[step.entity]].elapsed or 0
            speed = step.rows / seconds if seconds else 0
            bars.update(tasks[step.entity], completed=step.done, rows=step.rows, speed=speed)

        yield on_progress


def _totals(manifest: Manifest, out: str) -> dict[str, object]:
    return {
        "manifest": f"{out.rstrip('/')}/{manifest.path(manifest.batch)}",
        "batch": manifest.batch,
        "ingest_date": manifest.ingest_date,
        "rows": manifest.rows,
        "bytes": manifest.bytes,
        "entities": {
            name: {"rows": entity.rows, "files": len(entity.files), "dirty": entity.dirty_rows}
            for name, entity in manifest.entities.items()
        },
    }


def _print_summary(manifest: Manifest, out: str) -> None:
    from rich.table import Table

    table = Table(title=f"Batch {manifest.batch} of {manifest.ingest_date}", title_justify="left")
    table.add_column("entity")
    for name in ("rows", "new", "changed", "dirty", "files", "MB"):
        table.add_column(name, justify="right")
    for name, entity in manifest.entities.items():
        counts = (entity.rows, entity.inserted, entity.updated, entity.dirty_rows, len(entity.files))
        table.add_row(name, *(f"{count:,}" for count in counts), f"{entity.bytes / 1e6:,.1f}")
    console = Console()
    console.print(table)
    console.print(f"{manifest.rows:,} rows in {out}", highlight=False, soft_wrap=True)
