"""What ``bench.silver`` compares: each peer loads the same files into the same tables, in its own way.

A peer is a module with ``step(files, lake)``: it loads what is in the folder ``files`` (one folder of
CSV files per entity) into the Delta tables ``lake/silver/<entity>`` and ``lake/gold/<mart>``. It is
started as a process of its own, gets steps by its standard input, and answers each with the seconds it took:
started for one step it is cold, with later steps warm.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.gold import Mart

Step = Callable[[Path, Path], None]
# Marts that all peers build. What the others cost, ``bench.gold`` tells.
BUILT = ("daily_transactions", "customer_360", "loan_portfolio", "monthly_cash_flow")


def chosen(marts: Sequence[Mart]) -> tuple[Mart, ...]:
    """The marts that all peers build."""
    return tuple(mart for mart in marts if mart.name in BUILT)


def serve(step: Step) -> None:
    """Do the steps that come in, one a line: folder of files, tab, folder of the lake."""
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a library prints is no answer
    for line in sys.stdin:
        files, lake = map(Path, line.rstrip("\n").split("\t"))
        begin = time.perf_counter()
        step(files, lake)
        print(time.perf_counter() - begin, file=answers, flush=True)
