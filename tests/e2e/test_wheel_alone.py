"""The wheel, on the Python of Glue 5.1 and with nothing but what the jobs declare."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.infra import build_wheel

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600), pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PYTHON = shutil.which("python3.11")
# What Glue 5.1 brings, of what the pipeline imports.
GLUE_HAS = {"boto3", "pyarrow", "pyspark", "py4j"}
# Glue brings a NumPy, and libraries built for it. Jobs use none, so pip must have no reason to replace it.
NUMPY = "numpy==1.26.4"
# What no job runs: the laptop's commands.
NOT_IN_JOBS = {
    "pipeline.athena",
    "pipeline.dashboard.cubes",
    "pipeline.dashboard.formulas",
    "pipeline.dashboard.layout",
    "pipeline.dashboard.model",
    "pipeline.dashboard.server",
    "pipeline.e2e",
    "pipeline.forget",
    "pipeline.models",
    "pipeline.publish",
    "pipeline.quarantine",
    "pipeline.query",
    "pipeline.quicksight",
    "pipeline.shell",
    "pipeline.terraform_docs",
    "pipeline.verify",
}
MEGABYTES = 550  # see docs/deploy.md
IMPORT_ALL = """
import importlib, json, pkgutil
import pipeline
missing = {}
for module in pkgutil.walk_packages(pipeline.__path__, "pipeline."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        missing[module.name] = error.name
print(json.dumps(missing))
"""


def declared() -> list[str]:
    """What Terraform tells the jobs to install, at the pinned versions."""
    text = (ROOT / "terraform/modules/glue/main.tf").read_text(encoding="utf-8")
    block = re.search(r"modules = \[(.*?)\]", text, re.DOTALL)
    assert block
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    pins = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", constraints, re.MULTILINE))
    return [f"{name}=={pins[name]}" for name in re.findall(r'"([\w-]+)"', block.group(1))]


@pytest.fixture(scope="module")
def glue_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Python 3.11 into which only that was installed. It takes half a gigabyte, so it goes at the end."""
    if PYTHON is None or subprocess.run([PYTHON, "-c", "import venv, ensurepip"], check=False).returncode:
        pytest.skip("there is no Python 3.11 with venv, which is what Glue 5.1 runs")
    folder = tmp_path_factory.mktemp("glue")
    subprocess.run([PYTHON, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    what = [str(build_wheel(ROOT)), *declared()]
    pip = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--only-binary=:all:",
    ]
    done = subprocess.run([*pip, NUMPY], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        done = subprocess.run([*pip, *what], capture_output=True, text=True, check=False)
    if re.search("Failed to establish a new connection|Temporary failure in name resolution", done.stderr):
        pytest.skip("the package index is out of reach")
    assert done.returncode == 0, done.stderr
    yield python
    shutil.rmtree(folder)


def test_all_that_jobs_import_is_declared_or_brought_by_glue(glue_python: Path, tmp_path: Path) -> None:
    command = [str(glue_python), "-c", IMPORT_ALL]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    missing = json.loads(done.stdout)
    undeclared = {
        module: package
        for module, package in missing.items()
        if package not in GLUE_HAS and module not in NOT_IN_JOBS
    }
    assert undeclared == {}


def test_the_numpy_that_is_there_stays(glue_python: Path) -> None:
    command = [str(glue_python), "-m", "pip", "list", "--format", "freeze", "--disable-pip-version-check"]
    assert NUMPY in subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_job_script_starts_without_spark_or_aws(glue_python: Path, tmp_path: Path) -> None:
    script = ROOT / "pipeline" / "glue_job.py"
    command = [str(glue_python), str(script), "--layer", "bronze"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "invalid choice: 'bronze'" in done.stderr


def test_what_is_installed_is_no_larger_than_the_docs_say(glue_python: Path) -> None:
    size = sum(path.stat().st_size for path in glue_python.parents[1].rglob("*") if path.is_file())
    assert size < MEGABYTES * 1e6
    assert f"less than {MEGABYTES} MB" in (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
