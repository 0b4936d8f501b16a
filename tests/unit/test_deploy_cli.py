"""``finlake deploy`` as a command: what it asks, says, and ends with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline import cli, deploy
from pipeline.errors import FinlakeError

RUNNER = CliRunner()
PROJECT = Path(__file__).parents[2]


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> deploy.Deployed:
    """A deployment to prod that ends as the test wants it to."""
    (tmp_path / "terraform" / "envs").mkdir(parents=True)
    (tmp_path / "terraform" / "main.tf").write_text("")
    (tmp_path / "terraform" / "envs" / "prod.tfvars").write_text(
        'environment = "prod"\nprefix = "bank"\nregion = "eu-west-1"\n'
    )
    shutil.copy(PROJECT / "terraform" / "variables.tf", tmp_path / "terraform")
    (tmp_path / "finlake.whl").write_text("code")
    done = deploy.Deployed("prod", "s3://s/w", "s3://s/j", ["a", "b"], "a", "jr_1", "SUCCEEDED", 61.0)
    monkeypatch.chdir(tmp_path)
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "FINLAKE_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    who = SimpleNamespace(account="123456789012", region="eu-west-1", caller="arn:aws:iam::1:user/[me]")
    monkeypatch.setattr(deploy, "read_account", lambda *_: who)
    code = deploy.Code(tmp_path / "finlake.whl", tmp_path / "finlake.whl", {})
    monkeypatch.setattr(deploy.Code, "of", staticmethod(lambda _: code))

    def fake(*_: Any, **asked: Any) -> deploy.Deployed:
        assert asked["prefix"] == "bank"
        return done

    monkeypatch.setattr(deploy, "deploy", fake)
    return done


def test_it_shows_the_account_and_asks(done: deploy.Deployed) -> None:
    asked = RUNNER.invoke(cli.app, ["deploy", "--env", "prod"], input="n\n")
    assert asked.exit_code == 1
    assert "AWS account 123456789012, region eu-west-1, as arn:aws:iam::1:user/[me]" in asked.output
    assert "Give all jobs of bank-prod the code wheels/" in asked.output
    said = RUNNER.invoke(cli.app, ["deploy", "--env", "prod"], input="y\n")
    assert said.exit_code == 0
    assert "2 jobs have s3://s/w" in said.output
    assert "a ended as SUCCEEDED in 61 s" in said.output


def test_for_scripts_it_prints_json_and_nothing_else(done: deploy.Deployed) -> None:
    said = RUNNER.invoke(cli.app, ["deploy", "--env", "prod", "--yes", "--json"])
    assert said.exit_code == 0
    assert json.loads(said.stdout)["run_id"] == "jr_1"


def test_a_failure_is_an_error_that_says_what_the_jobs_have_now(done: deploy.Deployed) -> None:
    done.error, done.rolled_back, done.state = "a ended as FAILED (run jr_1): no typer", True, "FAILED"
    said = RUNNER.invoke(cli.app, ["deploy", "--env", "prod", "--yes", "--json"])
    assert isinstance(said.exception, FinlakeError)
    assert said.exception.exit_code == 1
    assert str(said.exception) == "not deployed: a ended as FAILED (run jr_1): no typer"
    assert said.exception.hint == "the jobs have what they had before"
    assert json.loads(said.stdout)["rolled_back"] is True


def test_an_emulator_is_never_taken_for_production(
    done: deploy.Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://localhost:4566")
    said = RUNNER.invoke(cli.app, ["deploy", "--env", "prod", "--yes"])
    assert isinstance(said.exception, FinlakeError)
    assert said.exception.exit_code == 2
    assert "AWS_ENDPOINT_URL is set" in str(said.exception)


@pytest.mark.parametrize(
    "arguments", [["--env", "stage"], ["--env", "prod", "--trial", "gold", "--no-trial"]]
)
def test_a_wrong_call_ends_with_two(done: deploy.Deployed, arguments: list[str]) -> None:
    said = RUNNER.invoke(cli.app, ["deploy", *arguments])
    assert isinstance(said.exception, FinlakeError)
    assert said.exception.exit_code == 2


def test_help_shows_an_example() -> None:
    said = RUNNER.invoke(cli.app, ["deploy", "--help"])
    assert said.exit_code == 0
    assert "Example: finlake deploy --env prod" in said.output
