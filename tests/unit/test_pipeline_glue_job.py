"""What AWS Glue hands over becomes arguments and settings of finlake."""

import pytest

from pipeline.glue_job import parse_arguments

GLUES_OWN = ["--JOB_NAME", "finlake-dev-loans", "--TempDir", "s3://t/", "--enable-metrics", "true"]


def test_layer_and_entity_are_handed_on():
    command, _ = parse_arguments([*GLUES_OWN, "--layer", "silver", "--entity", "loans"])
    assert command == ["run", "--layer", "silver", "--entity", "loans"]


def test_gold_has_no_entity():
    assert parse_arguments(["--layer", "gold"]) == (["run", "--layer", "gold"], {})


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


def test_glues_own_arguments_are_left_out():
    command, settings = parse_arguments(
        [*GLUES_OWN, "--layer", "gold", "--additional-python-modules", "x.whl"]
    )
    assert (command, settings) == (["run", "--layer", "gold"], {})


@pytest.mark.parametrize("arguments", [[], ["--layer", "bronze"], ["--lay", "gold"]])
def test_a_missing_or_unknown_layer_ends_the_job(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        parse_arguments(arguments)
    assert caught.value.code == 2
    assert "--layer" in capsys.readouterr().err
