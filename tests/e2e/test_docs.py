"""Every command that the documentation shows does what it says."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lakehouse import Lakehouse, lakehouse

from emulator.native import NativeStack

pytestmark = [pytest.mark.e2e, pytest.mark.emulator, pytest.mark.spark, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
# Run for real by tests/emulator; here only their names and options are checked.
INFRASTRUCTURE = ("finlake infra", "finlake deploy", "finlake train", "finlake score")
AWS = "aws "  # run by tests/emulator/test_terraform.py
BLOCK = re.compile(r"^ *```bash\n(.*?)^ *```", flags=re.MULTILINE | re.DOTALL)
PIPE = " | finlake "
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def commands() -> list[str]:
    """Commands of all pages in the order in which a reader meets them, each once."""
    found = []
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.splitlines():
                command = line.strip() if PIPE in line else shlex.join(shlex.split(line, comments=True))
                if command:
                    found.append(command)
    return list(dict.fromkeys(found))


@pytest.fixture(scope="module")
def lake(stack: NativeStack) -> Iterator[Lakehouse]:
    """A lake as `make e2e` leaves it, but smaller."""
    lake = lakehouse(stack, "docs")
    shutil.copytree(ROOT / "docs", lake.folder / "docs", dirs_exist_ok=True)
    lake.must("generate", "--scale", "60", "--out", lake.settings.bronze_uri)
    lake.must("run")
    return lake


@pytest.mark.slow
def test_commands_of_finlake_run_in_the_order_of_the_pages(lake: Lakehouse):
    shown = [command for command in commands() if command.startswith("finlake ")]
    assert len(shown) > 10
    for command in shown:
        if not command.startswith(INFRASTRUCTURE):
            lake.must(*shlex.split(command)[1:])
    sql = "SELECT count(*) AS n FROM silver.customers WHERE last_name = 'Example'"
    rows = lake.json("query", sql, "--format", "json")
    assert rows == [{"n": 2}], "the example file has two good rows and one bad one"


@pytest.mark.parametrize("line", [command for command in commands() if PIPE in command])
def test_pipes_into_finlake_run(lake: Lakehouse, line: str):
    feeder, _, arguments = line.partition(PIPE)
    text = subprocess.run(shlex.split(feeder), capture_output=True, text=True, check=True).stdout
    command = lake.command(*shlex.split(arguments)) | {"stdin": None, "input": text}
    done = subprocess.run(**command, capture_output=True, timeout=120, check=False)
    assert (done.returncode, bool(done.stdout.strip())) == (0, True), done.stderr


def test_commands_for_infrastructure_exist_with_the_options_shown(lake: Lakehouse):
    shown = [shlex.split(command)[1:] for command in commands() if command.startswith(INFRASTRUCTURE)]
    assert shown
    for words in shown:
        names = words[:2] if words[0] == "infra" else words[:1]
        text = lake.must(*names, "--help").stdout
        for option in words[len(names) :]:
            assert not option.startswith("-") or option in text


@pytest.mark.parametrize("command", [c for c in commands() if c.startswith("make ")])
def test_targets_of_make_exist(command: str):
    done = subprocess.run(
        ["make", "-n", *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_no_command_is_left_untested():
    assert [c for c in commands() if not c.startswith(("finlake ", "make ", AWS)) and PIPE not in c] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path):
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
