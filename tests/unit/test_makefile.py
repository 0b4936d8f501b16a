"""The Makefile: it explains itself, and asks before it touches a real environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
INTERNAL = {"need-env"}

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make(*arguments: str, cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    # not the settings of a make that runs these tests
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(
        ["make", *arguments],
        cwd=cwd,
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_make_alone_lists_every_target_with_one_line() -> None:
    listed = re.findall(r"^  ([a-z0-9-]+) +(\S.*)$", make().stdout, flags=re.MULTILINE)
    assert [name for name, _ in listed] == [name for name in TARGETS if name not in INTERNAL]
    assert len(make().stdout.splitlines()) == len(listed)
    assert all(len(description) > 10 for _, description in listed)


def test_the_tasks_of_the_readme_are_there() -> None:
    assert {"install", "doctor", "up", "down", "status", "e2e", "test", "clean"} <= set(TARGETS)


@pytest.mark.parametrize("target", sorted(set(TARGETS) - {"tf-plan", "tf-apply", "tf-destroy"} - INTERNAL))
def test_every_target_can_be_made(target: str) -> None:
    shown = make("--dry-run", target)
    assert shown.returncode == 0, shown.stderr


@pytest.mark.parametrize("target", ["tf-plan", "tf-apply", "tf-destroy"])
def test_terraform_targets_work_on_the_environment_they_are_given(target: str) -> None:
    shown = make("--dry-run", target, "ENV=dev")
    assert shown.returncode == 0, shown.stderr
    assert f"infra {target.removeprefix('tf-')} --env dev" in shown.stdout


@pytest.mark.parametrize("target", ["tf-plan", "tf-apply", "tf-destroy"])
def test_an_environment_variable_does_not_choose_what_is_deployed_to(target: str) -> None:
    refused = make(target, ENV="prod")
    assert refused.returncode == 2
    assert f"make {target} ENV=local" in refused.stderr
    assert "infra" not in refused.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("contracts", "datagen", "pipeline", "ml", "emulator"):
        (tmp_path / name).mkdir()
    return tmp_path


def fake_python(folder: Path, body: str) -> str:
    program = folder / "fake-python"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)
    return str(program)


def test_an_old_python_is_named_with_the_way_to_a_newer_one(clone: Path) -> None:
    old = fake_python(clone, 'if [ "$1" = --version ]; then echo "Python 3.9.6"; else exit 1; fi')
    failed = make("install", f"PYTHON={old}", cwd=clone)
    assert failed.returncode != 0
    assert "Python 3.11 or later is needed; found: Python 3.9.6" in failed.stderr
    assert "make install PYTHON=" in failed.stderr
    assert not (clone / ".venv").exists()


def test_a_missing_python_is_told(clone: Path) -> None:
    failed = make("install", "PYTHON=no-such-python", cwd=clone)
    assert failed.returncode != 0
    assert "Python 3.11 or later is needed" in failed.stderr


def test_a_python_without_venv_is_told(clone: Path) -> None:
    # Debian and Ubuntu ship ensurepip in a package of its own
    python = fake_python(clone, 'case "$2" in *ensurepip*) exit 1;; *) exit 0;; esac')
    failed = make("install", f"PYTHON={python}", cwd=clone)
    assert failed.returncode != 0
    assert "apt install python3-venv" in failed.stderr


def test_cleaning_a_fresh_clone_is_fine(clone: Path) -> None:
    (clone / ".finlake" / "state").mkdir(parents=True)
    assert make("clean", cwd=clone).returncode == 0
    assert not (clone / ".finlake").exists()
