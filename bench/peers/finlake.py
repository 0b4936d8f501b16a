"""finlake itself: ``run_pipeline`` on a lake on the local disk, ledger, quarantine and all."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

from bench.peers import chosen, serve


def step(files: Path, lake: Path) -> None:
    """Put the files into Bronze, as links, and run; a folder that is not there brings nothing new."""
    from pipeline.gold import MARTS
    from pipeline.run import run_pipeline
    from pipeline.settings import Settings

    for file in files.glob("*/*.csv"):
        folder = lake / "bronze" / file.parent.name / f"ingest_date=2027-02-{1 + len(files.name):02}"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(file, folder / f"{files.name}-{file.name}")
    uris = {f"{layer}_uri": f"file://{lake / layer}" for layer in ("bronze", "silver", "gold")}
    with patch("pipeline.run.MARTS", chosen(MARTS)), patch("pipeline.plan.MARTS", chosen(MARTS)):
        report = run_pipeline(Settings(env="bench", **uris))
    if report.errors:
        raise RuntimeError(report.errors)


if __name__ == "__main__":
    serve(step)
