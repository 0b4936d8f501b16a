"""finlake itself: ``run_pipeline`` on a lake on the local disk, ledger, quarantine and all."""

from __future__ import annotations

import os
from pathlib import Path

from bench.peers import serve


def step(files: Path, lake: Path) -> None:
    """Put the files into Bronze, as links, and run; a folder that is not there brings nothing new."""
    from pipeline.run import run_pipeline
    from pipeline.settings import Settings

    for file in files.glob("*/*.csv"):
        folder = lake / "bronze" / file.parent.name / f"ingest_date=2026-01-{1 + len(files.name):02}"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(file, folder / f"{files.name}-{file.name}")
    uris = {f"{layer}_uri": f"file://{lake / layer}" for layer in ("bronze", "silver", "gold")}
    report = run_pipeline(Settings(env="bench", **uris))
    if report.errors:
        raise RuntimeError(report.errors)


if __name__ == "__main__":
    serve(step)
