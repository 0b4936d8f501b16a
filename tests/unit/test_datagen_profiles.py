"""Profiles: every rate counts, and a mistake in one is told with what was meant."""

from dataclasses import fields, replace

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from contracts import load_contracts
from datagen import BadRequestError, generate, profile, tables
from datagen.cli import app
from datagen.countries import COUNTRIES
from datagen.dirt import kinds

runner = CliRunner()


def shares(frame: pl.DataFrame, column: str) -> dict[str, float]:
    return dict(frame[column].value_counts(normalize=True).iter_rows())


def test_the_profiles_that_come_with_it_are_complete_and_differ():
    assert profile.names() == ["neobank", "retail-bank", "sme-lender"]
    banks = [profile.load(name) for name in profile.names()]
    assert len({replace(bank, name="") for bank in banks}) == 3
    assert [bank.fingerprint for bank in banks] == profile.names()
    assert set(profile.KEYS) == {field.name for field in fields(profile.Profile)} - {"name"}


def test_lists_of_names_are_those_of_the_contracts_and_the_generator():
    contracts = load_contracts()
    for entity, column, names in (
        ("customers", "segment", profile.SEGMENTS),
        ("loans", "product", profile.PRODUCTS),
    ):
        assert contracts[entity].column(column).allowed_values == names
    assert sum(profile.load().countries) == sum(country.share for country in COUNTRIES)
    assert set(profile.DIRT) == {kind for contract in contracts.values() for kind in kinds(contract)}


def test_a_lender_to_small_businesses_has_businesses_and_their_loans():
    retail, sme = tables(scale=400), tables("sme-lender", scale=400)
    assert shares(sme["customers"], "segment")["small_business"] > 0.8
    assert shares(sme["loans"], "product")["business"] > 0.6
    assert sme["loans"].height == 4 * retail["loans"].height


def test_a_neobank_has_one_account_each_and_many_card_payments():
    retail, neo = tables(scale=400), tables("neobank", scale=400)
    cards = {name: bank["transactions"].filter(transaction_type="card_payment") for name, bank in
             (("retail", retail), ("neo", neo))}  # fmt: skip
    assert neo["accounts"].height == 480
    assert cards["neo"].height > 1.5 * cards["retail"].height
    abroad = pl.col("description").str.contains(" at ").mean()
    assert cards["neo"].select(abroad).item() > 2 * cards["retail"].select(abroad).item()


def test_a_file_gives_only_what_differs(tmp_path):
    own = tmp_path / "own.yaml"
    own.write_text("extends: neobank\nactivity: 4\nsegments: {private: 3}\n")
    bank = profile.load(own)
    assert bank == replace(profile.load("neobank"), name="own", activity=4.0, segments=(90.0, 7.0, 3.0, 3.0))
    assert bank.fingerprint.startswith("own#")
    assert generate(tmp_path / "out", scale=5, profile=own).profile == bank.fingerprint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("activty: 2", "no key 'activty'; did you mean 'activity'?"),
        ("segments: {afluent: 2}", "segments has no 'afluent'; did you mean 'affluent'?"),
        ("dirt: {bad_mail: 2}", "dirt has no 'bad_mail'; did you mean 'bad_email'?"),
        ("countries: {Utopia: 2}", "countries has no 'Utopia'; known are DE, FR"),
        ("pending: 1.5", "pending is from 0 to 1, not 1.5"),
        ("reversed: -1", "reversed is from 0 to 1, not -1"),
        ("activity: fast", "activity is a number, not 'fast'"),
        ("activity: .nan", "activity is a number"),
        ("activity: true", "activity is a number, not True"),
        ("segments: 3", "segments has weights by name, such as retail: 1"),
        ("segments: {retail: -3}", "weights of segments are 0 or above"),
        ("loan_products: {mortgage: 0, auto: 0, personal: 0, student: 0, business: 0}", "not all 0"),
        ("extends: retailbank", "no profile 'retailbank'; did you mean 'retail-bank'?"),
        ("- a list", "holds no keys"),
        ("{", "is not a profile"),
    ],
)
def test_a_mistake_in_a_profile_is_named_with_what_was_meant(tmp_path, text, message):
    own = tmp_path / "own.yaml"
    own.write_text(text)
    with pytest.raises(BadRequestError) as error:
        generate(tmp_path / "out", scale=5, profile=own)
    assert message in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_profile_that_is_not_there_is_named(tmp_path):
    with pytest.raises(BadRequestError, match=r"nothing\.yaml is not a profile"):
        profile.load(tmp_path / "nothing.yaml")
    with pytest.raises(BadRequestError, match="did you mean 'neobank'"):
        profile.load("neo-bank")


@given(st.sampled_from(list(profile.LIMITS)))
def test_every_rate_can_be_set_on_its_own(key):
    bank, (_, most) = profile.load(), profile.LIMITS[key]
    changed = profile.override(bank, {key: str(most)})
    assert getattr(changed, key) == most != getattr(bank, key)
    assert replace(changed, **{key: getattr(bank, key)}) == bank


def test_rates_are_set_on_the_command_line(tmp_path):
    clean = [text for kind in ("stray_quote", "bad_email") for text in ("--set", f"dirt.{kind}=0")]
    options = ["--scale", "5", "--out", str(tmp_path / "a"), *clean]
    assert runner.invoke(app, options).exit_code == 0
    from datagen import read_manifests

    dirt = read_manifests(tmp_path / "a")[0].entities["customers"].dirt
    assert dirt["stray_quote"] == dirt["bad_email"] == 0 < dirt["malformed_date"]
    for wrong in ("--set activity", "--set actvity=3", "--set dirt=3", "--profile nebank"):
        result = runner.invoke(app, ["--out", str(tmp_path / "b"), *wrong.split()])
        assert result.exit_code == 2, wrong
        assert "Traceback" not in result.output
    assert not (tmp_path / "b").exists()


def test_each_kind_of_dirt_has_its_own_rate(tmp_path):
    bank = profile.override(profile.load(), {"dirt.malformed_date": "8"})
    dirt = generate(tmp_path, scale=800, dirty=0.3, profile=bank).entities["customers"].dirt
    others = [count for kind, count in dirt.items() if kind != "malformed_date"]
    assert max(others) - min(others) <= 1
    assert dirt["malformed_date"] == pytest.approx(8 * others[0], abs=8)


def test_batches_of_another_profile_are_not_mixed(tmp_path):
    generate(tmp_path, scale=5)
    with pytest.raises(BadRequestError, match="--profile retail-bank"):
        generate(tmp_path, scale=5, batch=1, profile="neobank")
