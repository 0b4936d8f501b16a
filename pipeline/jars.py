"""The jars that Spark needs on top of PySpark's own, fetched once and checked.

They are fetched by Apache Ivy, which PySpark brings along, from Ivy's public resolver through its
usual cache (``~/.ivy2``), and copied beside the environment they serve: ``<venv>/jars``. Behind a
company mirror, name an Ivy settings file in the environment variable ``FINLAKE_IVY_SETTINGS``.

Run ``python -m pipeline.jars`` to fetch them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from pipeline.errors import FinlakeError

IVY_SETTINGS_VARIABLE = "FINLAKE_IVY_SETTINGS"
ATTEMPTS = 3


class JarError(FinlakeError):
    """A jar cannot be fetched or is not the file it should be; the message says what to do."""


@dataclass(frozen=True)
class Jar:
    """One pinned jar: Maven coordinates, size in bytes and SHA-256 of the published file."""

    organisation: str
    name: str
    revision: str
    size: int
    sha256: str

    @property
    def file_name(self) -> str:
        """Name of the file in the jar folder, for example ``delta-storage-3.3.2.jar``."""
        return f"{self.name}-{self.revision}.jar"


# By name: Java takes the class archive only for the order it was made with, and the class path of a Glue job
# on this machine is all jars of the folder by name.
JARS = (
    # The release that hadoop-aws 3.3.4 was built with.
    Jar(
        organisation="com.amazonaws",
        name="aws-java-sdk-bundle",
        revision="1.12.262",
        size=280_645_251,
        sha256="873fe7cf495126619997bec21c44de5d992544aea7e632fdc77adb1a0915bae5",
    ),
    Jar(
        organisation="io.delta",
        name="delta-spark_2.12",
        revision="3.3.2",
        size=7_120_414,
        sha256="4e92085d5d794cf949c50bb665b91384857cad58680c2d0bfc9c7ad353e98e85",
    ),
    Jar(
        organisation="io.delta",
        name="delta-storage",
        revision="3.3.2",
        size=32_229,
        sha256="c096975a2ca97ccc9b4005aa5cce16c9ac3903139d340da6665b66ace67d7c36",
    ),
    # The same release as the Hadoop client inside PySpark 3.5.6; any other fails at run time.
    Jar(
        organisation="org.apache.hadoop",
        name="hadoop-aws",
        revision="3.3.4",
        size=962_685,
        sha256="53f9ae03c681a30a50aa17524bd9790ab596b28481858e54efd989a826ed3a4a",
    ),
    # One patch release after Spark itself: the resolver had no 3.5.6 when this was pinned.
    Jar(
        organisation="org.apache.spark",
        name="spark-connect_2.12",
        revision="3.5.7",
        size=14_147_901,
        sha256="15366e21273a874c760b51fa00743a2acb8fa78642cc35d7a076a3ade0c5eef6",
    ),
)


def jar_folder() -> Path:
    """The folder the jars live in: ``jars`` in the root of the running Python environment."""
    return Path(sys.prefix) / "jars"


def missing_jars(folder: Path | None = None) -> list[Jar]:
    """The jars that are not in ``folder`` with the right size (cheap: nothing is read)."""
    folder = folder or jar_folder()
    return [jar for jar in JARS if not _has_size(folder / jar.file_name, jar.size)]


def ensure_jars(folder: Path | None = None) -> list[Path]:
    """Fetch what is missing, check it, and return the paths of all jars, by name.

    Does nothing but look at file sizes when all are there. What is fetched counts only after its
    SHA-256 was checked, so that an interrupted or a forged download never reaches Spark.

    Args:
        folder: Where the jars belong; the running environment's own folder by default.

    Raises:
        JarError: Java or PySpark is missing, the jars cannot be reached, or a checksum is wrong.
    """
    folder = folder or jar_folder()
    missing = missing_jars(folder)
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        # On the same file system as the folder, so that the last step is an atomic rename.
        with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as scratch:
            _fetch(missing, Path(scratch))
            for jar in missing:
                check(jar, Path(scratch) / jar.file_name)
            for jar in missing:
                (Path(scratch) / jar.file_name).replace(folder / jar.file_name)
    return [folder / jar.file_name for jar in JARS]


def class_path() -> str:
    """All jars as one Java class path, fetched first if need be."""
    return os.pathsep.join(str(path) for path in ensure_jars())


def check(jar: Jar, path: Path) -> None:
    """Compare a file with its pinned checksum, and delete it if it differs.

    Raises:
        JarError: The file is not there, or is not the published one.
    """
    if not path.is_file():
        raise JarError(f"{jar.file_name} was not delivered. {_advice()}")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != jar.sha256:
        path.unlink()
        raise JarError(
            f"{jar.file_name} is not the published file: its SHA-256 is {found}, expected {jar.sha256}. "
            f"The copy was deleted. If a cache or mirror keeps a damaged one, remove "
            f"~/.ivy2/cache/{jar.organisation}/{jar.name} and try again."
        )


def java_command() -> str | None:
    """The ``java`` to run, as Spark chooses it: that of JAVA_HOME, else the one on PATH."""
    home = os.environ.get("JAVA_HOME")
    if home:
        return shutil.which("java", path=str(Path(home) / "bin"))
    return shutil.which("java")


def ivy_file(jars: list[Jar]) -> str:
    """An Ivy module that asks for exactly these jars, without what they depend on."""
    dependencies = "\n".join(
        f"    <dependency org={quoteattr(jar.organisation)} name={quoteattr(jar.name)}"
        f' rev={quoteattr(jar.revision)} transitive="false" conf="default->master"/>'
        for jar in jars
    )
    return (
        '<ivy-module version="2.0">\n'
        '  <info organisation="finlake" module="jars"/>\n'
        '  <configurations><conf name="default"/></configurations>\n'
        f"  <dependencies>\n{dependencies}\n  </dependencies>\n"
        "</ivy-module>\n"
    )


def _fetch(jars: list[Jar], target: Path) -> None:
    from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

    command = _ivy_command(jars, target)
    retrying = Retrying(
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_exponential_jitter(initial=1, max=8),
        retry=retry_if_exception_type(JarError),
        reraise=True,
    )
    retrying(_run_ivy, command)


def _ivy_command(jars: list[Jar], target: Path) -> list[str]:
    java = java_command()
    if java is None:
        raise JarError("Java was not found, and Spark needs it: install Java 17, or point JAVA_HOME at one.")
    module = target / "ivy.xml"
    module.write_text(ivy_file(jars), encoding="utf-8")
    command = [java, "-jar", str(_ivy()), "-ivy", str(module), "-confs", "default"]
    command += ["-retrieve", str(target / "[artifact]-[revision].[ext]")]
    settings = os.environ.get(IVY_SETTINGS_VARIABLE)
    if settings:
        if not Path(settings).is_file():
            raise JarError(f"{IVY_SETTINGS_VARIABLE} names {settings}, which is not a file.")
        command += ["-settings", settings]
    return command


def _run_ivy(command: list[str]) -> None:
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        lines = (run.stdout + run.stderr).splitlines()
        # Ivy draws its progress as rows of dots; what a reader needs is what it says went wrong.
        reasons = [
            line.strip() for line in lines if "not found" in line or "rror" in line or "FAILED" in line
        ]
        said = "\n  ".join(dict.fromkeys(reasons[:6])) or f"exit code {run.returncode}"
        raise JarError(f"Spark's jars could not be fetched. Ivy says:\n  {said}\n{_advice()}")


def _advice() -> str:
    return (
        "The first fetch needs the network, about 290 MB. Behind a proxy, set JAVA_TOOL_OPTIONS to "
        "-Dhttps.proxyHost=... -Dhttps.proxyPort=...; behind a company mirror, set "
        f"{IVY_SETTINGS_VARIABLE} to the path of an Ivy settings file that names it."
    )


def _ivy() -> Path:
    spark = importlib.util.find_spec("pyspark")
    if spark is None or spark.origin is None:
        raise JarError("PySpark is not installed: run `make install`, or pip install 'finlake[lakehouse]'.")
    found = sorted((Path(spark.origin).parent / "jars").glob("ivy-*.jar"))
    if not found:
        raise JarError(f"PySpark in {Path(spark.origin).parent} lacks its Ivy jar: install it again.")
    return found[-1]


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def main() -> int:
    """Fetch the jars and say what was done; the exit code is 1 if they cannot be had."""
    from rich.console import Console
    from rich.markup import escape

    missing = missing_jars()
    try:
        ensure_jars()
    except JarError as error:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True, highlight=False)
        return 1
    done = f"{len(missing)} fetched and checked" if missing else "all there"
    Console().print(f"Spark's jars: {done} ({jar_folder()})", soft_wrap=True, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
