"""``finlake doctor``: is everything there that a package manager cannot bring, and how to get it.

Works with the plain install as well: whatever else is missing is a finding, not a failure.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline import jars
from pipeline.errors import FinlakeError

PYTHON_NEEDED = (3, 11)
JAVA_NEEDED = 17
TERRAFORM_NEEDED = (1, 11)
DISK_GB_NEEDED = 3
MEMORY_GB_NEEDED = 4
COMMAND_SECONDS = 10

GIGABYTE = 10**9

# What to type, by the first of these that the machine has.
INSTALLERS: dict[str, dict[str, str]] = {
    "python": {
        "brew": "brew install python@3.11",
        "apt": "apt install python3.11 python3.11-venv",
        "dnf": "dnf install python3.11",
        "winget": "winget install Python.Python.3.11",
        "": "https://www.python.org/downloads/",
    },
    "java": {
        "brew": "brew install openjdk@17, then "
        "export JAVA_HOME=$(brew --prefix openjdk@17)/libexec/openjdk.jdk/Contents/Home",
        "apt": "apt install openjdk-17-jre-headless; where apt has none: https://adoptium.net",
        "dnf": "dnf install java-17-openjdk-headless; where dnf has none: https://adoptium.net",
        "winget": "winget install EclipseAdoptium.Temurin.17.JRE",
        "": "https://adoptium.net (Temurin 17)",
    },
    "terraform": {
        "brew": "brew install hashicorp/tap/terraform",
        "winget": "winget install Hashicorp.Terraform",
        "": "https://developer.hashicorp.com/terraform/install",
    },
    "docker": {
        "brew": "brew install --cask docker",
        "winget": "winget install Docker.DockerDesktop",
        "": "https://docs.docker.com/get-docker/",
    },
}


class State(StrEnum):
    """How a check ended; only ``missing`` stops the work."""

    OK = "ok"
    MISSING = "missing"
    WARNING = "warning"
    OPTIONAL = "optional"


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: What was looked for.
        state: How it ended.
        found: The version or place that was found, or what is wrong with it.
        advice: What to do about it; empty when there is nothing to do.
    """

    name: str
    state: State
    found: str
    advice: str = ""


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Say only what is missing.")] = False,
) -> None:
    """Check what this machine needs: Python, Java 17, Terraform, Docker (optional), space, port.

    Exit code 1 when something is missing that is required. Example: finlake doctor --json
    """
    checks = list(required_checks() if quiet else all_checks())
    missing = [check for check in checks if check.state is State.MISSING]
    shown = missing if quiet else checks
    if as_json:
        print(json.dumps([asdict(check) for check in shown], indent=2))  # noqa: T201
    elif shown:
        Console(highlight=False).print(as_table(shown))
    if missing:
        raise typer.Exit(1)


def required_checks() -> Iterator[Check]:
    """The checks without which nothing can run."""
    yield check_python()
    yield check_java()
    yield check_terraform()


def all_checks() -> Iterator[Check]:
    """All checks, required ones first."""
    yield from required_checks()
    yield check_provider()
    yield check_jars()
    yield check_docker()
    yield check_port()
    yield check_disk(Path.cwd())
    yield check_memory()


def check_python() -> Check:
    """The Python that runs this."""
    found = platform.python_version()
    if sys.version_info >= PYTHON_NEEDED:
        return Check("Python 3.11+", State.OK, found)
    return Check("Python 3.11+", State.MISSING, found, how_to_get("python"))


def check_java() -> Check:
    """Java 17, where Spark will look for it: JAVA_HOME, then PATH."""
    name = f"Java {JAVA_NEEDED}"
    home = os.environ.get("JAVA_HOME")
    command = jars.java_command()
    if command is None:
        where = f"JAVA_HOME is {home}, which has no bin/java" if home else "not found"
        return Check(name, State.MISSING, where, how_to_get("java"))
    version = parse_java_version(run([command, "-version"]) or "")
    found = f"{version} ({command})" if version else f"{command} does not run"
    if version and java_major(version) == JAVA_NEEDED:
        return Check(name, State.OK, found)
    advice = f"{how_to_get('java')}; if 17 is there already, point JAVA_HOME at it"
    return Check(name, State.MISSING, found, advice)


def check_terraform() -> Check:
    """Terraform on PATH."""
    name = "Terraform 1.11+"
    if shutil.which("terraform") is None:
        return Check(name, State.MISSING, "not found", how_to_get("terraform"))
    version = parse_terraform_version(run(["terraform", "version", "-json"]) or "")
    if version is None:
        return Check(name, State.MISSING, "terraform version fails", how_to_get("terraform"))
    if tuple(int(part) for part in version.split(".")[:2]) >= TERRAFORM_NEEDED:
        return Check(name, State.OK, version)
    return Check(name, State.MISSING, version, how_to_get("terraform"))


def check_provider() -> Check:
    """Where Terraform will take the AWS provider from."""
    from pipeline import infra

    name = "Terraform's AWS provider"
    try:
        version = infra.locked_version(infra.find_project() / "terraform" / infra.LOCK_FILE)
        source = infra.find_provider(os.environ, version)
    except FinlakeError as error:
        return Check(name, State.WARNING, str(error), error.hint or "")
    return Check(name, State.OK, f"{version}, {source.description}")


def check_jars() -> Check:
    """Spark's extra jars; they are fetched when needed, so their absence stops nothing."""
    missing = jars.missing_jars()
    if not missing:
        return Check("Spark's jars", State.OK, str(jars.jar_folder()))
    found = f"{len(missing)} of {len(jars.JARS)} not fetched yet"
    return Check("Spark's jars", State.WARNING, found, "run make install (about 290 MB)")


def check_docker() -> Check:
    """A Docker engine that answers; only the Docker stack and its tests need it."""
    if shutil.which("docker") is None:
        return Check("Docker", State.OPTIONAL, "not found", how_to_get("docker"))
    version = run(["docker", "version", "--format", "{{.Server.Version}}"], stderr=False)
    if version:
        return Check("Docker", State.OK, f"engine {first_line(version)}")
    return Check("Docker", State.OPTIONAL, "no engine answers", "start Docker")


def check_port() -> Check:
    """The local stack is up, or its port is free."""
    name = "Local AWS"
    try:
        from emulator import native, process
    except ImportError as error:
        return Check(name, State.WARNING, f"not installed: {error}", "run make install")
    wanted = os.environ.get(native.PORT_VARIABLE) or str(native.DEFAULT_PORT)
    if not wanted.isdecimal():
        return Check(name, State.WARNING, f"{native.PORT_VARIABLE} is {wanted!r}", "set it to a number")
    port = int(wanted)
    try:
        status = native.NativeStack(native.find_home(Path.cwd())).status()
    except process.StackError:
        status = None
    if status is not None and status.is_up:
        return Check(name, State.OK, f"up at {status.endpoint}")
    if not process.is_listening(port):
        return Check(name, State.OK, f"not running; port {port} is free")
    user = process.port_user(port) or "another program"
    advice = f"stop that, or set {native.PORT_VARIABLE}={port + 1}"
    return Check(name, State.WARNING, f"port {port} is used by {user}", advice)


def check_disk(folder: Path) -> Check:
    """Free disk space where the project lives."""
    free = shutil.disk_usage(folder).free / GIGABYTE
    enough = free >= DISK_GB_NEEDED
    advice = "" if enough else f"the environment and a small lake need about {DISK_GB_NEEDED} GB"
    return Check("Free disk", State.OK if enough else State.WARNING, f"{free:.1f} GB", advice)


def check_memory() -> Check:
    """Memory that is available now, or the whole memory where that cannot be told."""
    try:
        import psutil

        size, what = psutil.virtual_memory().available, "available"
    except ImportError:
        size, what = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "in total"
    enough = size / GIGABYTE >= MEMORY_GB_NEEDED
    advice = "" if enough else f"Spark and the local AWS want {MEMORY_GB_NEEDED} GB: close other programs"
    found = f"{size / GIGABYTE:.1f} GB {what}"
    return Check("Memory", State.OK if enough else State.WARNING, found, advice)


def parse_java_version(text: str) -> str | None:
    """The version in the output of ``java -version``.

    >>> parse_java_version('openjdk version "17.0.15" 2025-04-15')
    '17.0.15'
    """
    match = re.search(r'version "(\d[^"]*)"', text)
    return match.group(1) if match else None


def java_major(version: str) -> int:
    """The number people call a Java by, from its version, old style (1.8) or new.

    >>> java_major("17.0.15"), java_major("1.8.0_392"), java_major("25-ea")
    (17, 8, 25)
    """
    match = re.match(r"(?:1\.)?(\d+)", version)
    return int(match.group(1)) if match else 0


def parse_terraform_version(text: str) -> str | None:
    """The version in the output of ``terraform version -json``; warnings around it do no harm."""
    match = re.search(r'"terraform_version":\s*"(\d+\.\d+[^"]*)"', text)
    return match.group(1) if match else None


def how_to_get(tool: str) -> str:
    """The command, or the page, that brings a tool to this machine."""
    choices = INSTALLERS[tool]
    for installer, advice in choices.items():
        if installer and shutil.which(installer):
            return advice
    return choices[""]


def run(command: list[str], *, stderr: bool = True) -> str | None:
    """The output of a command, or None if it fails, hangs or cannot be started."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if stderr else subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=COMMAND_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout


def first_line(text: str) -> str:
    """The first line of a text, without white space around it."""
    return text.strip().partition("\n")[0].strip()


def as_table(checks: list[Check]) -> Table:
    """The findings as a table for people."""
    colours = {State.OK: "green", State.MISSING: "red", State.WARNING: "yellow", State.OPTIONAL: "cyan"}
    table = Table("check", "state", "found", "how to get it", box=None, header_style="bold")
    for check in checks:
        state = f"[{colours[check.state]}]{check.state}[/]"
        table.add_row(check.name, state, escape(check.found), escape(check.advice))
    return table


if __name__ == "__main__":
    typer.run(doctor)
