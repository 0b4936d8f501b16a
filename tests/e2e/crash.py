"""``finlake`` that dies by SIGKILL right after one of its steps has been done.

Usage: python crash.py MODULE:FUNCTION WHEN [MODULE:NAME=NUMBER ...] -- ARGUMENTS...

WHEN is ``any`` for the first call, a number for that call, or an entity or mart for the first call that is
about it. Numbers of modules can be set, such as from how many rows on something is done in another way.
"""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import sys
from functools import wraps
from typing import Any


def die_after(target: str, when: str) -> None:
    """Replace a function by one that does the same and then kills this process."""
    holder, name = find(target)
    original, calls = getattr(holder, name), itertools.count(1)

    @wraps(original)
    def deadly(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        about = {getattr(value, "__dict__", {}).get(key) for value in args for key in ("entity", "name")}
        if when == "any" or when in about or when == str(next(calls)):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(holder, name, deadly)


def find(target: str) -> tuple[Any, str]:
    """What holds a function or a number, and its name there; it must be there."""
    module, path = target.split(":")
    holder: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        holder = getattr(holder, part)
    getattr(holder, name)
    return holder, name


if __name__ == "__main__":
    split = sys.argv.index("--")
    _, target, when, *numbers = sys.argv[:split]
    for number in numbers:
        holder, name = find(number.partition("=")[0])
        setattr(holder, name, type(getattr(holder, name))(number.partition("=")[2]))
    sys.argv[1:] = sys.argv[split + 1 :]
    die_after(target, when)

    from pipeline.cli import main

    main()
