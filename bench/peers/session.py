"""finlake's Spark session, up to the first result."""

from __future__ import annotations

from pathlib import Path

from bench.peers import serve


def step(_files: Path, _lake: Path) -> None:
    """Start it, and ask for something."""
    from pipeline.session import start_session

    start_session().range(1).collect()


if __name__ == "__main__":
    serve(step)
