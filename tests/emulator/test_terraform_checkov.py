"""checkov on all of ``terraform/``: it finds nothing, and what it is told to skip has a reason beside it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from separate_venv import python_with

pytestmark = [pytest.mark.emulator, pytest.mark.timeout(900), pytest.mark.slow]  # installing takes its time

TERRAFORM = Path(__file__).parents[2] / "terraform"
REQUIREMENTS = Path(__file__).parent / "clients" / "checkov.txt"
# Where a caller names the buckets, checkov cannot tell which of them has which policy, encryption and rules.
# Without callers it can, so the modules themselves are looked at, and these two examples are not.
LEFT_OUT = ("modules/s3/examples", "modules/s3_public/examples", "tests")
SKIP = re.compile(r"#checkov:skip=(\w+):(.+)$", re.MULTILINE)


def checkov(folder: Path) -> Any:
    """What checkov says about a folder, offline."""
    command = [python_with("checkov", REQUIREMENTS), "-m", "checkov.main", "--directory", folder]
    command += ["--framework", "terraform", "--compact", "--output", "json", "--skip-download", "--soft-fail"]
    command += [word for name in LEFT_OUT for word in ("--skip-path", name)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("checkov") / "terraform"
    shutil.copytree(TERRAFORM, folder, ignore=shutil.ignore_patterns(".terraform", "*.tfstate*"))
    return checkov(folder)


def test_checkov_finds_nothing_in_any_module(said: Any) -> None:
    failed = said["results"]["failed_checks"]
    assert [(check["check_id"], check["resource"], check["check_name"]) for check in failed] == []
    assert said["results"]["parsing_errors"] == []
    looked_at = {
        check["file_path"] for kind in ("passed", "skipped") for check in said["results"][f"{kind}_checks"]
    }
    # For these two kinds of resources it has no checks.
    modules = {path.name for path in (TERRAFORM / "modules").iterdir()} - {"network", "quicksight"}
    assert {path.split("/")[2] for path in looked_at if path.startswith("/modules/")} >= modules
    assert any(path.startswith("/bootstrap/") for path in looked_at)


def test_checkov_looks_at_modules_as_the_examples_use_them(said: Any) -> None:
    callers = {check.get("caller_file_path") or "" for check in said["results"]["passed_checks"]}
    used = {path.split("/")[2] for path in callers if "/examples/" in path}
    assert used >= {"athena", "glue", "iam", "kms", "monitoring"}


def test_each_exception_has_a_reason_and_is_still_needed(said: Any) -> None:
    written = {
        (f"/{path.relative_to(TERRAFORM)}", check)
        for path in TERRAFORM.rglob("*.tf")
        for check, reason in SKIP.findall(path.read_text(encoding="utf-8"))
        if len(reason.split()) > 1
    }
    used = {(check["file_path"], check["check_id"]) for check in said["results"]["skipped_checks"]}
    assert used == written


def test_a_key_that_does_not_rotate_is_noticed(tmp_path: Path) -> None:
    shutil.copytree(TERRAFORM / "modules" / "kms", tmp_path / "kms")
    main = tmp_path / "kms" / "main.tf"
    text = main.read_text(encoding="utf-8")
    broken = re.sub(r"(enable_key_rotation\s+=) true", r"\1 false", text)
    assert broken != text
    main.write_text(broken, encoding="utf-8")
    assert [check["check_id"] for check in checkov(tmp_path)["results"]["failed_checks"]] == ["CKV_AWS_7"]
