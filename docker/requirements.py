"""Print what an image must install, read from ``pyproject.toml``: one requirement in a line.

    python requirements.py base lakehouse    # all dependencies of finlake, and those of an extra
    python requirements.py gateway rich      # those of an extra, and a single one of finlake's

The images install this in a layer of its own, which is built again only if this output or the
constraints change; not if the source does.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any


def requirements(project: dict[str, Any], names: list[str]) -> list[str]:
    """The requirements of extras, of single dependencies, and of ``base``, which is all of the latter.

    Raises:
        KeyError: There is no such extra or dependency.
    """
    dependencies: list[str] = project["dependencies"]
    extras: dict[str, list[str]] = project["optional-dependencies"]
    single = {re.split(r"[^A-Za-z0-9_-]", line, maxsplit=1)[0]: [line] for line in dependencies}
    known: dict[str, list[str]] = {**single, **extras, "base": dependencies}
    return [line for name in names for line in known[name]]


if __name__ == "__main__":
    document = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    sys.stdout.writelines(f"{line}\n" for line in requirements(document["project"], sys.argv[1:]))
