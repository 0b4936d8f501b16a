"""``finlake train`` and ``finlake score``: models on Gold."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from pipeline.present import err, out, print_table

if TYPE_CHECKING:
    from ml.metrics import Estimate

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for scripts.")]


def train_command(
    model: Annotated[str, typer.Argument(help="default (probability of default) or fraud.")],
    *,
    labels: Annotated[
        str | None, typer.Option(help="For fraud: folder or s3:// prefix of CSV files with transaction_id.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of features (Parquet, or CSV with a header) instead of Gold.")
    ] = None,
    destination: Annotated[
        str | None,
        typer.Option("--out", help="Folder or s3:// prefix for the model instead of Gold's _models."),
    ] = None,
    test_share: Annotated[
        float,
        typer.Option(min=0.05, max=0.9, help="Least share of rows that are tested on, the newest days."),
    ] = 0.25,
    knots: Annotated[int, typer.Option(min=1, max=20, help="Bends of each curve of an additive model.")] = 3,
    draws: Annotated[
        int, typer.Option(min=0, max=10_000, help="Draws of the bootstrap for intervals.")
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all that is drawn.")] = 0,
    challenger: Annotated[
        bool,
        typer.Option("--challenger/--no-challenger", help="Whether gradient boosting is a candidate too."),
    ] = True,
    as_json: AsJson = False,
) -> None:
    """Train a model on Gold, and keep it with its metrics and its card.

    Example: finlake train default --json
    """
    from pipeline.models import train_model
    from pipeline.settings import Settings, reachable_settings

    # Features from a folder, and a model into one, need no lake.
    alone = data is not None and destination is not None and not destination.startswith("s3://")
    kept = train_model(
        model,
        Settings() if alone else reachable_settings(),
        data=data,
        labels=labels,
        out=destination,
        test_share=test_share,
        knots=knots,
        draws=draws,
        seed=seed,
        challenger=challenger,
    )
    report = kept.trained.report() | {"uri": kept.uri, "card": f"{kept.uri}/card.html"}
    if as_json:
        print(json.dumps(report, indent=2))  # noqa: T201 - for scripts
        return
    table = Table("on the test", "AUC", "PR-AUC", "Brier score", "KS")
    for name, found in kept.trained.metrics.items():
        table.add_row(name, *(_with_interval(one) for one in found.values()))
    print_table(table)
    found = kept.trained.calibration[kept.trained.model.kind]
    named = ", ".join(f"{name.replace('_', ' ')} {_with_interval(one)}" for name, one in found.items())
    out.print(f"Calibration: {named}.", highlight=False, soft_wrap=True)
    choice = kept.trained.choice
    out.print(f"Chosen: {choice.kind}, {choice.why}.", highlight=False, soft_wrap=True)
    training = report["training"]
    out.print(
        f"Trained on {training['rows']:,} rows with {training['events']:,} events up to "
        f"{training['last_day']}, tested on {training['test_rows']:,} with {training['test_events']:,} "
        f"from {training['test_first_day']} on.",
        highlight=False,
        soft_wrap=True,
    )
    out.print(f"{kept.trained.version} is in {escape(kept.uri)}", highlight=False, soft_wrap=True)
    out.print(f"Its card: {escape(kept.uri)}/card.html", highlight=False, soft_wrap=True)


def _with_interval(one: Estimate) -> str:
    return f"{one.value:.3f}" + (f" ({one.low:.3f} to {one.high:.3f})" if one.low is not None else "")


def score_command(
    *,
    model: Annotated[
        str | None,
        typer.Option(
            help="Folder of a model or SageMaker's model.tar.gz, on disk or s3://; or sagemaker:GROUP, the "
            "newest approved version of a model package group. The newest of Gold's _models by default."
        ),
    ] = None,
    day: Annotated[
        datetime | None,
        typer.Option("--date", formats=["%Y-%m-%d"], help="Observation date; the newest by default."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write no scores.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score performing loans into gold.loan_default_scores, and compare them with the training data.

    Example: finlake score --dry-run
    """
    from ml.drift import SCORE
    from pipeline.scoring import score_loans
    from pipeline.settings import reachable_settings

    found = score_loans(reachable_settings(), model=model, day=day.date() if day else None, dry_run=dry_run)
    if as_json:
        print(json.dumps(asdict(found), indent=2))  # noqa: T201 - for scripts
        return
    did = "would go" if dry_run else "went"
    out.print(
        f"{found.rows:,} loans of {found.observation_date} {did} into {found.table}, scored by "
        f"{found.model_version}: "
        f"mean probability of default {found.mean_probability or 0:.4f}.",
        highlight=False,
        soft_wrap=True,
    )
    out.print(f"Stability index of the predictions: {found.drift[SCORE]:.3f}", highlight=False)
    for warning in found.warnings:
        err.print(f"[yellow]Warning:[/yellow] {escape(warning)}", highlight=False, soft_wrap=True)
