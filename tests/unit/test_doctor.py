"""``finlake doctor`` on machines that lack things, simulated by fake programs on PATH."""

from __future__ import annotations

import json
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pipeline import doctor
from pipeline.doctor import Check, State

app = typer.Typer()
app.command()(doctor.doctor)
runner = CliRunner()

JAVA_17 = 'openjdk version "17.0.15" 2025-04-15'
JAVA_8 = 'java version "1.8.0_392"'


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty PATH, to which :func:`install` adds fake programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("FINLAKE_PORT", raising=False)
    monkeypatch.chdir(tmp_path)
    return folder


def install(folder: Path, name: str, output: str, *, code: int = 0, channel: int = 1) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    # built-in commands of the shell only: nothing else is on PATH
    program.write_text(f"#!/bin/sh\necho '{output}' >&{channel}\nexit {code}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def test_java_17_on_path_is_accepted(programs: Path) -> None:
    java = install(programs, "java", JAVA_17, channel=2)
    assert doctor.check_java() == Check("Java 17", State.OK, f"17.0.15 ({java})")


def test_lines_before_the_version_do_not_hide_it(programs: Path) -> None:
    install(programs, "java", f"Picked up JAVA_TOOL_OPTIONS: -Xmx1g\n{JAVA_17}", channel=2)
    assert doctor.check_java().state is State.OK


@pytest.mark.parametrize(
    ("output", "version"),
    [
        (JAVA_8, "1.8.0_392"),
        ('openjdk version "21.0.4" 2024-07-16', "21.0.4"),
        ('x version "25-ea"', "25-ea"),
    ],
)
def test_another_java_is_named_and_refused(programs: Path, output: str, version: str) -> None:
    install(programs, "java", output, channel=2)
    check = doctor.check_java()
    assert check.state is State.MISSING
    assert version in check.found
    assert "JAVA_HOME" in check.advice


def test_java_home_wins_over_path(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(programs, "java", JAVA_8, channel=2)
    java = install(tmp_path / "jdk" / "bin", "java", JAVA_17, channel=2)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "jdk"))
    assert doctor.check_java().found == f"17.0.15 ({java})"


def test_a_java_home_without_java_is_named(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(programs, "java", JAVA_17, channel=2)
    monkeypatch.setenv("JAVA_HOME", "/no/such/jdk")
    check = doctor.check_java()
    assert check.state is State.MISSING
    assert "/no/such/jdk" in check.found


def test_a_java_that_does_not_run_counts_as_missing(programs: Path) -> None:
    # macOS has such a stand-in where no Java is installed
    install(programs, "java", "Unable to locate a Java Runtime.", code=1, channel=2)
    check = doctor.check_java()
    assert check.state is State.MISSING
    assert "does not run" in check.found


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("1.9.8", State.MISSING),
        ("1.10.5", State.MISSING),
        ("1.11.0", State.OK),
        ("1.11.4", State.OK),
        ("2.0.0-beta1", State.OK),
    ],
)
def test_terraform_is_needed_from_1_11_on(programs: Path, version: str, state: State) -> None:
    install(programs, "terraform", json.dumps({"terraform_version": version}))
    assert doctor.check_terraform().state is state
    assert doctor.check_terraform().found == version


def test_warnings_around_terraforms_answer_do_no_harm(programs: Path) -> None:
    install(programs, "terraform", 'Warning: {no config}\n{\n  "terraform_version": "1.12.1"\n}')
    assert doctor.check_terraform().found == "1.12.1"


@pytest.mark.parametrize("tool", ["java", "terraform"])
def test_what_is_not_there_is_missing_with_a_way_to_get_it(programs: Path, tool: str) -> None:
    check = {"java": doctor.check_java, "terraform": doctor.check_terraform}[tool]()
    assert check.state is State.MISSING
    assert check.found == "not found"
    assert check.advice.startswith("https://")


@pytest.mark.parametrize(
    ("installer", "words"),
    [("brew", "brew install openjdk@17"), ("apt", "apt install openjdk-17"), ("winget", "winget install")],
)
def test_the_advice_fits_the_machines_package_manager(programs: Path, installer: str, words: str) -> None:
    install(programs, installer, "")
    assert words in doctor.check_java().advice


def test_an_absent_docker_is_only_optional(programs: Path) -> None:
    assert doctor.check_docker().state is State.OPTIONAL


def test_a_docker_without_an_engine_is_only_optional(programs: Path) -> None:
    install(programs, "docker", "Cannot connect to the Docker daemon", code=1, channel=2)
    assert doctor.check_docker() == Check("Docker", State.OPTIONAL, "no engine answers", "start Docker")


def test_a_docker_engine_that_answers_is_named(programs: Path) -> None:
    install(programs, "docker", "28.2.2")
    assert doctor.check_docker() == Check("Docker", State.OK, "engine 28.2.2")


def test_a_port_in_use_is_a_warning_that_names_the_way_out(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setenv("FINLAKE_PORT", str(port))
        check = doctor.check_port()
    assert check.state is State.WARNING
    assert f"port {port} is used by" in check.found
    assert f"FINLAKE_PORT={port + 1}" in check.advice
    assert doctor.check_port().state is State.OK


def test_a_port_that_is_no_number_is_told(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINLAKE_PORT", "many")
    assert "'many'" in doctor.check_port().found


def test_the_source_of_terraforms_provider_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    config = tmp_path / "terraform.rc"
    config.touch()
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(config))
    monkeypatch.chdir(Path(__file__).parent)
    check = doctor.check_provider()
    assert check.state is State.OK
    assert str(config) in check.found


def test_outside_of_a_clone_the_provider_is_only_a_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert doctor.check_provider().state is State.WARNING


def test_too_little_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "DISK_GB_NEEDED", 10**9)
    assert doctor.check_disk(tmp_path).state is State.WARNING


def test_a_missing_requirement_fails_the_command_and_nothing_else_does(programs: Path) -> None:
    install(programs, "java", JAVA_17, channel=2)
    install(programs, "terraform", json.dumps({"terraform_version": "1.11.4"}))
    assert runner.invoke(app).exit_code == 0
    (programs / "terraform").unlink()
    assert runner.invoke(app).exit_code == 1


def test_json_holds_every_finding(programs: Path) -> None:
    install(programs, "java", JAVA_17, channel=2)
    result = runner.invoke(app, ["--json"])
    assert result.exit_code == 1
    states = {check["name"]: check["state"] for check in json.loads(result.stdout)}
    assert states["Java 17"] == "ok"
    assert states["Terraform 1.11+"] == "missing"
    assert states["Docker"] == "optional"


def test_quiet_says_nothing_unless_something_is_missing(programs: Path) -> None:
    install(programs, "java", JAVA_17, channel=2)
    install(programs, "terraform", json.dumps({"terraform_version": "1.11.4"}))
    assert runner.invoke(app, ["--quiet"]).output == ""
    (programs / "java").unlink()
    result = runner.invoke(app, ["--quiet"])
    assert result.exit_code == 1
    assert "Java 17" in result.output
    assert "Terraform" not in result.output


def test_it_works_with_the_plain_install(tmp_path: Path) -> None:
    """Without Spark, boto3, psutil and Terraform's helpers it still reports, and fails on nothing."""
    blocked = ["pyspark", "boto3", "botocore", "psutil", "tenacity", "deltalake", "duckdb"]
    script = f"import sys\nfor name in {blocked}: sys.modules[name] = None\n"
    script += (
        "import typer; from pipeline.doctor import doctor; sys.argv = ['doctor', '--json']; typer.run(doctor)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stderr == ""
    assert {check["name"] for check in json.loads(done.stdout)} >= {"Java 17", "Local AWS", "Memory"}
