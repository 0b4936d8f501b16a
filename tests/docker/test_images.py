"""The images: who they run as, what they say about themselves, and what is not in them."""

from __future__ import annotations

import subprocess
import tomllib
from typing import Any

import pytest
from containers import ROOT

pytestmark = pytest.mark.docker

OWN = ("gateway", "spark", "datagen")


def in_image(image: str, *command: str) -> subprocess.CompletedProcess[str]:
    arguments = ["docker", "run", "--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none"]
    arguments += ["--entrypoint", command[0], image, *command[1:]]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("name", OWN)
def test_an_image_has_a_user_and_labels(images: dict[str, Any], name: str) -> None:
    config = images[name]["Config"]
    assert config["User"] not in {"", "0", "root"}
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["version"] == version
    assert labels["licenses"] == "MIT"
    assert labels["title"] == f"finlake {name}"
    assert labels["description"]


@pytest.mark.parametrize("name", ["gateway", "spark"])
def test_a_server_has_a_health_check(images: dict[str, Any], name: str) -> None:
    assert images[name]["Config"]["Healthcheck"]["Test"][0] == "CMD"


def test_spark_has_all_its_jars_inside(images: dict[str, Any]) -> None:
    check = "from pipeline.jars import missing_jars; print(missing_jars())"
    done = in_image("finlake-spark", "python", "-c", check)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_generator_needs_no_java_no_spark_and_no_network(images: dict[str, Any]) -> None:
    script = "! command -v java && ! python -c 'import pyspark' 2>/dev/null"
    script += " && finlake generate --scale 20 --out /tmp/x && ls /tmp/x"
    done = in_image("finlake-datagen", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert "customers" in done.stdout


def test_the_gateway_holds_nothing_but_itself(images: dict[str, Any]) -> None:
    done = in_image("finlake-gateway", "python", "-c", "import emulator.gateway.proxy, polars")
    assert "No module named 'polars'" in done.stderr
