"""``finlake`` that dies by SIGKILL right after one of its steps has been done.

Usage: python crash.py MODULE:FUNCTION ENTITY ARGUMENTS... With ENTITY, it dies after the first call that
is about this entity; with ``any``, after the first call.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from functools import wraps
from typing import Any


def die_after(target: str, entity: str) -> None:
    """Replace a function by one that does the same and then kills this process."""
    module, path = target.split(":")
    holder: Any = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        holder = getattr(holder, part)
    original = getattr(holder, name)

    @wraps(original)
    def deadly(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if entity == "any" or any(getattr(value, "entity", None) == entity for value in args):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(holder, name, deadly)


if __name__ == "__main__":
    _, target, entity, *sys.argv[1:] = sys.argv
    die_after(target, entity)

    from pipeline.cli import main

    main()
