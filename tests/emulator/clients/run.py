"""Runs the checks of one client in that client's Python, and writes what came of each as JSON.

    python run.py with_awscli outcomes.json

A check is a function ``check_*`` of the module; its docstring says what the client does. Checks run in
their order, and each may build on those before it.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import traceback
from pathlib import Path


def main(module: str, file: str) -> None:
    outcomes = {}
    for name, check in vars(importlib.import_module(module)).items():
        if name.startswith("check_"):
            clock, error = time.monotonic(), ""
            try:
                check()
            except Exception:
                error = traceback.format_exc()
            outcomes[check.__doc__] = {"error": error, "seconds": round(time.monotonic() - clock, 1)}
    Path(file).write_text(json.dumps(outcomes), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
