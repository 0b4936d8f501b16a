"""Spark's classes as Java's class-data archive, made once, so that a JVM maps them instead of loading each.

A session needs some twenty thousand classes. From an archive they come ready-parsed and verified, which
halves the time to a session's first result. Java takes the archive only for the very class path that it was
made with, and goes on without it otherwise: https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html

Run ``python -m pipeline.class_archive`` to make it; ``make install`` does.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from pipeline.jars import JARS, jar_folder, java_command

MAKE = "FINLAKE_CLASS_ARCHIVE_OUT"  # set for the JVM that is to write the archive when it ends
FOREIGN = ("AWS_", "FINLAKE_", "SPARK_", "PYSPARK_", "OPENLINEAGE_")
QUIET = ("-Xlog:cds=off", "-Xlog:cds+dynamic=off", "-Xlog:class+path=off")


def archive_file() -> Path:
    """Where the archive for this Java, PySpark and these jars is, or would be."""
    java = Path(java_command() or "java").resolve()
    made_by = [version("pyspark"), *(jar.sha256 for jar in JARS), str(java)]
    if java.is_file():
        made_by.append(str(java.stat().st_mtime_ns))
    return jar_folder() / f"spark-{hashlib.sha256(' '.join(made_by).encode()).hexdigest()[:12]}.jsa"


def java_options() -> list[str]:
    """Options with which Java uses the archive, or writes it; none when there is no archive."""
    if target := os.environ.get(MAKE):
        return [f"-XX:ArchiveClassesAtExit={target}", *QUIET]
    archive = archive_file()
    return [f"-XX:SharedArchiveFile={archive}", *QUIET] if archive.is_file() else []


def make_archive() -> bool:
    """Make the archive, from the classes that a small load of an entity needs.

    Returns:
        Whether there is one now. Without one all works, only slower.
    """
    archive = archive_file()
    if archive.is_file():
        return True
    for old in archive.parent.glob("spark-*.jsa"):
        old.unlink()
    with tempfile.TemporaryDirectory(prefix=".archive-", dir=archive.parent) as folder:
        written = Path(folder) / archive.name
        environment = own_environment() | {MAKE: str(written)}
        command = [sys.executable, "-m", "pipeline.class_archive", "load", folder]
        subprocess.run(command, env=environment, cwd=folder, check=False, capture_output=True)
        if written.is_file():
            written.replace(archive)
    return archive.is_file()


def own_environment() -> dict[str, str]:
    """This process's environment without what would lead a command to another lake, Spark or backend."""
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}


def small_load(folder: Path) -> None:
    """Load customers twice into a lake in ``folder``: inserts, then a merge into what is there."""
    from datagen import generate
    from pipeline.run import run_pipeline
    from pipeline.session import start_session
    from pipeline.settings import Settings

    settings = Settings(
        env="test",
        bronze_uri=f"file://{folder}/bronze",
        silver_uri=f"file://{folder}/silver",
        gold_uri=f"file://{folder}/gold",
    )
    for batch in range(2):
        generate(folder / "bronze", scale=50, batch=batch)
        run_pipeline(settings, entities=["customers"])
    start_session().stop()


def main() -> int:
    """Make the archive and say so; the exit code is 0 without one, too."""
    if sys.argv[1:2] == ["load"]:
        small_load(Path(sys.argv[2]))
        return 0
    from rich.console import Console

    made = "all there" if archive_file().is_file() else "made"
    said = made if make_archive() else "could not be made; Spark starts without it"
    Console().print(f"Spark's class archive: {said} ({archive_file()})", soft_wrap=True, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
