"""``--additional-python-modules``: what a job imports beyond its Python, installed by pip and kept."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

QUIET = ("--disable-pip-version-check",)
PIP_SECONDS = 600
FAILED = "LAUNCH ERROR | Python Module Installer indicates modules that failed to install"


class InstallError(Exception):
    """Modules cannot be installed; the message is pip's."""


class Modules:
    """Installs modules into folders of their own, one for each set of them, and keeps these.

    Args:
        python: The Python that jobs run in. What it has already is not installed again.
        folder: Where the folders lie.
        fetch: Brings an object of S3 into a folder and returns its path.
    """

    def __init__(self, python: Path, folder: Path) -> None:
        self._python = python
        self._folder = folder
        self._lock = threading.Lock()

    def install(self, names: Sequence[str], fetch: Callable[[str, Path], Path]) -> Path | None:
        """The folder that has these modules; it belongs on ``PYTHONPATH``.

        Args:
            names: Requirements as pip takes them, and ``s3://`` addresses of wheels.
            fetch: Brings an object of S3 into a folder and returns its path.

        Raises:
            InstallError: pip fails.
        """
        if not names:
            return None
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._lock, tempfile.TemporaryDirectory(dir=self._folder, prefix=".new-") as draft:
            wheels = [fetch(name, Path(draft)) for name in names if name.startswith("s3://")]
            others = [name for name in names if not name.startswith("s3://")]
            key = hashlib.sha256("\n".join(others).encode())
            for wheel in wheels:
                key.update(wheel.name.encode() + wheel.read_bytes())
            done = self._folder / key.hexdigest()[:24]
            if not done.is_dir():
                target = Path(draft) / "modules"
                target.mkdir()
                self._fill(target, wheels, others)
                target.rename(done)
            return done

    def _fill(self, target: Path, wheels: Sequence[Path], others: Sequence[str]) -> None:
        if wheels:
            self._pip("--no-deps", "--target", str(target), *map(str, wheels))
        # What is missing, and what that needs in turn; pip's report leaves out what is there already.
        report = json.loads(self._pip("--dry-run", "--report", "-", *map(str, wheels), *others))
        missing = [
            f"{found['metadata']['name']}=={found['metadata']['version']}"
            for found in report["install"]
            if not found["download_info"]["url"].startswith("file:")
        ]
        if missing:
            self._pip("--no-deps", "--target", str(target), *missing)

    def _pip(self, *arguments: str) -> str:
        own = importlib.util.find_spec("pip") is not None
        pip = [sys.executable, "-m", "pip"] if own else ["pip"]
        done = subprocess.run(
            [*pip, "--python", str(self._python), "--quiet", "--no-input", *QUIET, "install", *arguments],
            capture_output=True,
            text=True,
            timeout=PIP_SECONDS,
            check=False,
        )
        if done.returncode:
            raise InstallError(done.stderr.strip() or f"pip ended with {done.returncode}")
        return done.stdout
