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
# Of what Glue 5.1 brings, what the pipeline imports, and what others of its libraries might want in another
# version. From AWS's user guide: "Using Python libraries with AWS Glue", modules already provided in 5.1.
GLUE_HAS = {
    "boto3": "1.40.61",
    "botocore": "1.40.61",
    "charset-normalizer": "3.4.4",
    "numpy": "2.3.4",
    "pandas": "2.3.3",
    "pip": "24.0",
    "pyarrow": "22.0.0",
    "Pygments": "2.19.2",
    "tenacity": "9.1.2",
    "typing_extensions": "4.15.0",
    "tzdata": "2025.2",
    "wrapt": "1.17.3",
}
SPARK = {"pyspark", "py4j"}
# Pinned to the versions that the tests have; the last, as another one wants a later version than Glue's.
REPLACED = {"charset-normalizer", "tenacity", "typing_extensions"}
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
MEGABYTES = 450  # see docs/deploy.md
BEFORE = "before.json"
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


def installed(python: Path) -> dict[str, str]:
    """Versions by name."""
    command = [str(python), "-m", "pip", "list", "--format", "json", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {found["name"]: found["version"] for found in json.loads(done.stdout)}


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def glue_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Python 3.11 with Glue's own, and only that besides. It takes a gigabyte, so it goes at the end."""
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
    done = subprocess.run(
        [*pip, *(f"{name}=={version}" for name, version in GLUE_HAS.items())],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        (folder / BEFORE).write_text(json.dumps([installed(python), size_of(folder)]))
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
        if package not in {*GLUE_HAS, *SPARK} and module not in NOT_IN_JOBS
    }
    assert undeclared == {}


def test_pip_installs_what_is_declared_and_nothing_else(glue_python: Path) -> None:
    """Else a job would get whatever version was released since, and Glue's own libraries another NumPy."""
    before = json.loads((glue_python.parents[1] / BEFORE).read_text())[0]
    after = installed(glue_python)
    changed = {f"{name}=={version}" for name, version in after.items() if before.get(name) != version}
    assert changed == {*declared(), f"finlake=={after['finlake']}"}
    assert {name for name, version in before.items() if after.get(name) != version} == REPLACED


def test_the_job_script_starts_without_spark_or_aws(glue_python: Path, tmp_path: Path) -> None:
    script = ROOT / "pipeline" / "glue_job.py"
    command = [str(glue_python), str(script), "--layer", "bronze"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "invalid choice: 'bronze'" in done.stderr


def test_what_is_installed_is_no_larger_than_the_docs_say(glue_python: Path) -> None:
    folder = glue_python.parents[1]
    before = json.loads((folder / BEFORE).read_text())[1]
    assert size_of(folder) - before < MEGABYTES * 1e6
    assert f"less than {MEGABYTES} MB" in (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
