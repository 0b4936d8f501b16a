"""Naive scripts: one for each entity and one for Gold, each started with a Spark of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench.peers import chosen, serve
from bench.peers.spark_work import build, newest, plain_session, typed, upsert
from contracts import entities, load_contract

GOLD = "gold"


def step(files: Path, lake: Path) -> None:
    """Run the scripts one after the other."""
    for name in (*entities(), GOLD):
        command = [sys.executable, "-m", "bench.peers.naive", name, str(files), str(lake)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def script(name: str, files: Path, lake: Path) -> None:
    """What one script does: an entity, or all marts."""
    spark = plain_session()
    if name == GOLD:
        from pipeline.gold import MARTS

        for mart in chosen(MARTS):
            build(spark, mart, lake)
        return
    contract = load_contract(name)
    upsert(spark, newest(typed(spark, files, contract), contract), lake, contract)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        script(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        serve(step)
