"""Where the lake lives, and how a local run is kept away from real accounts."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from pipeline.errors import FinlakeError, UsageError
from pipeline.settings import Settings, find_home, load_settings


@pytest.fixture(autouse=True)
def bare(monkeypatch, tmp_path):
    """No finlake and no AWS variables, and a working directory without a stack."""
    for name in list(os.environ):
        if name.startswith(("FINLAKE_", "AWS_")):
            monkeypatch.delenv(name)
    # load_settings() adds to the environment itself; this takes it back after the test.
    monkeypatch.setattr(os, "environ", os.environ.copy())
    monkeypatch.chdir(tmp_path)


def start_stack(folder, text="AWS_ENDPOINT_URL=http://127.0.0.1:4566\nAWS_ACCESS_KEY_ID=test\n"):
    (folder / ".finlake").mkdir()
    (folder / ".finlake" / "local.env").write_text(text)


def test_the_defaults_are_the_buckets_of_the_laptop():
    settings = Settings()
    assert settings.bronze_uri == "s3://finlake-local-bronze"
    assert settings.silver_uri == "s3://finlake-local-silver"
    assert settings.gold_uri == "s3://finlake-local-gold"
    assert settings.database("gold") == "finlake_local_gold"


def test_names_follow_prefix_environment_and_suffix(monkeypatch):
    monkeypatch.setenv("FINLAKE_ENV", "prod")
    monkeypatch.setenv("FINLAKE_PREFIX", "my-bank")
    monkeypatch.setenv("FINLAKE_BUCKET_SUFFIX", "123456789012")
    settings = Settings()
    assert settings.gold_uri == "s3://my-bank-prod-gold-123456789012"
    assert settings.database("silver") == "my_bank_prod_silver"


def test_a_given_uri_wins_and_loses_its_trailing_slash():
    settings = Settings(env="dev", bronze_uri="s3://raw/bank/")
    assert settings.bronze_entity_uri("loans") == "s3://raw/bank/loans"
    assert settings.silver_uri == "s3://finlake-dev-silver"


def test_quarantine_and_ops_tables_live_below_silver():
    settings = Settings(env="dev")
    assert settings.table_uri("silver", "loans") == "s3://finlake-dev-silver/loans"
    assert settings.table_uri("quarantine", "loans") == "s3://finlake-dev-silver/_quarantine/loans"
    assert settings.table_uri("ops", "runs") == "s3://finlake-dev-silver/_ops/runs"
    assert settings.table_uri("gold", "customer_360") == "s3://finlake-dev-gold/customer_360"


@pytest.mark.parametrize("env", ["", "Prod", "pr od", "9lives", "x" * 17, "dev;drop"])
def test_an_environment_that_cannot_be_part_of_names_is_refused(env):
    with pytest.raises(ValidationError, match="env"):
        Settings(env=env)


def test_the_home_is_found_from_folders_below_it(tmp_path):
    start_stack(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    assert find_home(tmp_path / "a" / "b") == tmp_path / ".finlake"


def test_a_local_run_without_a_stack_is_refused_with_what_to_do():
    with pytest.raises(FinlakeError, match="the local stack is not running") as caught:
        load_settings()
    assert "make up" in str(caught.value.hint)


@pytest.mark.parametrize("layer", ["BRONZE", "SILVER", "GOLD"])
def test_a_local_run_with_only_some_layers_on_disk_is_refused_as_well(monkeypatch, tmp_path, layer):
    monkeypatch.setenv(f"FINLAKE_{layer}_URI", f"file://{tmp_path}/{layer}")
    with pytest.raises(FinlakeError, match="the local stack is not running"):
        load_settings()


def test_a_lake_on_disk_needs_no_stack(monkeypatch, tmp_path):
    for layer in ("BRONZE", "SILVER", "GOLD"):
        monkeypatch.setenv(f"FINLAKE_{layer}_URI", f"file://{tmp_path}/{layer}")
    load_settings()
    assert "AWS_ENDPOINT_URL" not in os.environ


def test_a_local_run_takes_endpoint_and_credentials_from_the_stack(monkeypatch, tmp_path):
    start_stack(tmp_path)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of-a-real-account")
    load_settings()
    assert os.environ["AWS_ENDPOINT_URL"] == "http://127.0.0.1:4566"
    assert os.environ["AWS_ACCESS_KEY_ID"] == "test"


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_an_endpoint_that_was_named_is_not_replaced(monkeypatch, tmp_path, name):
    start_stack(tmp_path)
    monkeypatch.setenv(name, "http://127.0.0.1:9999")
    load_settings()
    assert os.environ[name] == "http://127.0.0.1:9999"
    assert "AWS_ACCESS_KEY_ID" not in os.environ


@pytest.mark.parametrize("env", ["dev", "prod"])
def test_other_environments_do_not_look_at_the_local_stack(monkeypatch, tmp_path, env):
    start_stack(tmp_path)
    monkeypatch.setenv("FINLAKE_ENV", env)
    assert load_settings().env == env
    assert "AWS_ENDPOINT_URL" not in os.environ


def test_the_instant_is_the_clocks_unless_it_is_set(monkeypatch):
    before = datetime.now(UTC)
    assert before <= Settings().instant() <= datetime.now(UTC)
    monkeypatch.setenv("FINLAKE_NOW", "2026-03-29T03:30:00+02:00")
    assert Settings().instant() == datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
    assert Settings().instant().utcoffset() == timedelta(0)


@pytest.mark.parametrize("text", ["yesterday", "2026-03-29T03:30:00"])
def test_an_instant_without_an_offset_is_a_usage_error(monkeypatch, text):
    monkeypatch.setenv("FINLAKE_NOW", text)
    monkeypatch.setenv("FINLAKE_ENV", "test")
    with pytest.raises(UsageError, match=f"FINLAKE_NOW is '{text}'"):
        load_settings()
