"""What AWS Glue hands over becomes arguments and settings of finlake."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.glue_job import parse_arguments

GLUES_OWN = ["--JOB_NAME", "finlake-dev-loans", "--TempDir", "s3://t/", "--enable-metrics", "true"]


def test_layer_and_entity_are_handed_on():
    command, _ = parse_arguments([*GLUES_OWN, "--layer", "silver", "--entity", "loans"])
    assert command == ["run", "--json", "--layer", "silver", "--entity", "loans"]


def test_the_days_of_a_backfill_are_handed_on():
    days = ["--from", "2026-01-01", "--to=2026-01-31"]
    command, _ = parse_arguments([*days, *GLUES_OWN, "--layer", "silver", "--entity", "loans"])
    wanted = "run --json --layer silver --entity loans --from 2026-01-01 --to 2026-01-31"
    assert command == wanted.split()


def test_maintenance_is_a_command_of_its_own():
    assert parse_arguments([*GLUES_OWN, "--layer", "maintenance"]) == (["maintain"], {})


def test_maintenance_of_some_tables_only_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["--layer", "maintenance", "--entity", "loans"])
    assert "takes no --entity" in capsys.readouterr().err


def test_scoring_is_told_its_model_and_may_be_told_its_day():
    group = ["--layer", "scoring", "--model", "sagemaker:lake-models"]
    command = ["score", "--json", "--model", "sagemaker:lake-models"]
    assert parse_arguments([*GLUES_OWN, *group]) == (command, {})
    assert parse_arguments([*group, "--date=2025-12-31"]) == ([*command, "--date", "2025-12-31"], {})


@pytest.mark.parametrize("wrong", [("silver", "--date"), ("gold", "--model"), ("scoring", "--entity")])
def test_an_option_of_another_layer_is_refused(wrong, capsys):
    layer, option = wrong
    with pytest.raises(SystemExit):
        parse_arguments(["--layer", layer, option, "x"])
    assert f"--layer {layer} takes no {option}" in capsys.readouterr().err


@pytest.mark.parametrize("layer", ["silver", "gold", "maintenance", "scoring"])
def test_the_command_line_knows_what_the_jobs_ask_for(layer):
    command, _ = parse_arguments(["--layer", layer])
    shown = CliRunner().invoke(app, [*command, "--help"])
    assert shown.exit_code == 0, shown.output


def test_gold_has_no_entity():
    assert parse_arguments(["--layer", "gold"]) == (["run", "--json", "--layer", "gold"], {})


@pytest.mark.parametrize("joined", [True, False])
def test_settings_become_environment_variables_wherever_they_stand(joined):
    pairs = [("--FINLAKE_ENV", "prod"), ("--FINLAKE_BUCKET_SUFFIX", ""), ("--FINLAKE_GOLD_URI", "s3://g/x=y")]
    written = (
        [f"{name}={value}" for name, value in pairs] if joined else [part for pair in pairs for part in pair]
    )
    _, settings = parse_arguments([*written[:2], "--layer", "gold", *GLUES_OWN, *written[2:]])
    assert settings == {
        "FINLAKE_ENV": "prod",
        "FINLAKE_BUCKET_SUFFIX": "",
        "FINLAKE_GOLD_URI": "s3://g/x=y",
    }


def test_the_region_becomes_that_of_all_sdks():
    _, settings = parse_arguments(["--AWS_REGION", "eu-west-1", "--layer", "gold", *GLUES_OWN])
    assert settings == {"AWS_REGION": "eu-west-1"}


def test_glues_own_arguments_are_left_out():
    command, settings = parse_arguments(
        [*GLUES_OWN, "--layer", "gold", "--additional-python-modules", "x.whl"]
    )
    assert (command, settings) == (["run", "--json", "--layer", "gold"], {})


@pytest.mark.parametrize("arguments", [[], ["--layer", "bronze"], ["--lay", "gold"]])
def test_a_missing_or_unknown_layer_ends_the_job(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        parse_arguments(arguments)
    assert caught.value.code == 2
    assert "--layer" in capsys.readouterr().err


IMPORT_AS_JOBS_DO = """
import sys

class NotThere:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {absent}:
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, NotThere())
import {modules}
"""
ABSENT = {"duckdb", "faker", "jinja2", "openlineage", "psutil", "sklearn", "sqlglot"}


@pytest.mark.parametrize(
    ("absent", "modules"),
    [
        (
            ABSENT | {"numpy"},
            "pipeline.cli, pipeline.glue_job, pipeline.gold, pipeline.maintain, pipeline.run",
        ),
        (ABSENT, "pipeline.scoring"),
    ],
)
def test_a_job_imports_nothing_that_glue_would_have_to_be_given(absent: set[str], modules: str) -> None:
    script = IMPORT_AS_JOBS_DO.format(absent=absent, modules=modules)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("ending", "code"), [("raise SystemExit(0)", 0), ("raise SystemExit(3)", 3), ("raise SystemExit", 0)]
)
def test_a_job_that_went_well_returns_and_one_that_failed_exits(ending: str, code: int) -> None:
    played = f"import sys, pipeline.cli\ndef main(): {ending}\npipeline.cli.main = main\n"
    job = "from pipeline.glue_job import main\nsys.argv[1:] = ['--layer', 'gold']\nmain()\nprint('returned')"
    done = subprocess.run([sys.executable, "-c", played + job], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "" if code else "returned\n")
