"""Virtual environments for tools that want other versions of what finlake needs as well."""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path(__file__).parents[1] / ".venv-clients"


def python_with(name: str, requirements: Path) -> Path:
    """The Python of a virtual environment, made anew if its pinned requirements have changed.

    Args:
        name: Of its folder.
        requirements: What is in it, as pip reads it.
    """
    folder = FOLDER / name
    python, made_of = folder / "bin" / "python", folder / "made-of.txt"
    wanted = requirements.read_bytes()
    if not made_of.is_file() or made_of.read_bytes() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, symlinks=True)  # without pip: this one's does for all
        pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "-r", requirements]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{name} cannot be installed: {done.stderr}"
        made_of.write_bytes(wanted)
    return python
