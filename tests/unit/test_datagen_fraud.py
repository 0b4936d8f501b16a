"""Fraud: at the rate asked for, in the shapes of its typologies, and told apart from the data only."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen import fraud, generate, profile, read_manifests
from datagen.accounts import ACCOUNTS
from datagen.frames import series, to_frame
from datagen.schedule import Plan
from datagen.transactions import TRANSACTIONS, booked_since_birth, labels, opening_balance

BANK = profile.override(profile.load(), {"fraud": "0.01"})
PLAN = Plan(42, 6_000, BANK)


@pytest.fixture(scope="module")
def moves() -> pl.DataFrame:
    """Transactions with their labels, the day, and the account on the other side where the bank knows it."""
    index = np.concatenate(
        [TRANSACTIONS.block(PLAN, 0, k).index for k in range(TRANSACTIONS.blocks(PLAN, 0))]
    )
    frame = TRANSACTIONS.rows(PLAN, index, 0).join(
        to_frame(labels(PLAN, index)), on="transaction_id", how="left"
    )
    accounts = ACCOUNTS.rows(PLAN, np.arange(PLAN.accounts.initial), 0)
    known = accounts.select(counterparty_iban="iban", partner="account_id")
    return frame.with_columns(date=pl.col("transaction_at").dt.date()).join(
        known, on="counterparty_iban", how="left"
    )


def schemes(moves: pl.DataFrame, typology: str) -> list[pl.DataFrame]:
    """Schemes of which every row is there; others met accounts that are closed."""
    rows = int((fraud.table()[fraud.TYPOLOGIES.index(typology), :, 0] >= 0).sum())
    found = [
        scheme
        for scheme in moves.filter(typology=typology).partition_by("scheme_id")
        if scheme.height == rows
    ]
    assert len(found) >= 10
    return found


@pytest.mark.parametrize("name", profile.names())
def test_fraud_has_the_share_that_was_asked_for(name):
    plan = Plan(7, 15_000, profile.override(profile.load(name), {"fraud": "0.005"}))
    index = np.concatenate(
        [TRANSACTIONS.block(plan, 0, k).index for k in range(TRANSACTIONS.blocks(plan, 0))]
    )
    assert to_frame(labels(plan, index)).height / len(index) == pytest.approx(0.005, rel=0.25)


def test_without_fraud_there_is_none():
    plan = Plan(42, 2_000)
    assert to_frame(labels(plan, TRANSACTIONS.block(plan, 0, 0).index)).height == 0


def test_every_typology_occurs(moves):
    assert set(moves["typology"].drop_nulls()) == set(fraud.TYPOLOGIES)


@pytest.mark.parametrize(("typology", "side"), [("fan_in", "transfer_in"), ("fan_out", "transfer_out")])
def test_fans_join_many_accounts_with_one(moves, typology, side):
    for scheme in schemes(moves, typology):
        centre = scheme.filter(transaction_type=side)
        assert centre["account_id"].n_unique() == 1
        assert centre["partner"].n_unique() == centre.height == 7


def test_a_cycle_brings_most_of_the_money_back(moves):
    for scheme in schemes(moves, "cycle"):
        sent = dict(
            scheme.filter(transaction_type="transfer_out")
            .sort("date")
            .select("account_id", "partner")
            .iter_rows()
        )
        at = start = next(iter(sent))
        for _ in range(5):
            at = sent[at]
        assert at == start
        assert len(sent) == 5


def test_scattered_money_is_gathered_elsewhere(moves):
    for scheme in schemes(moves, "scatter_gather"):
        sent = scheme.filter(transaction_type="transfer_out")
        first = sent.filter(pl.col("date") == sent["date"].min())
        last = sent.filter(pl.col("date") > sent["date"].min())
        assert first["account_id"].n_unique() == 1 == last["partner"].n_unique()
        assert set(first["partner"]) == set(last["account_id"])


def test_both_sides_of_a_transfer_are_booked(moves):
    for scheme in schemes(moves, "cycle"):
        sent = scheme.filter(transaction_type="transfer_out").select("account_id", "partner", "date")
        got = scheme.filter(transaction_type="transfer_in").select(
            account_id="partner", partner="account_id", date="date"
        )
        assert sent.sort("date").equals(got.sort("date"))


def test_structured_deposits_stay_just_below_what_has_to_be_reported(moves):
    for scheme in schemes(moves, "structuring"):
        euros = scheme.filter(currency="EUR")["amount"].cast(pl.Float64)
        assert ((euros >= 9_000) & (euros < 10_000)).all()
        assert scheme["date"].n_unique() == scheme.height
        assert set(scheme["transaction_type"]) == {"cash_deposit"}


def test_cards_are_tested_with_small_payments_before_a_large_one(moves):
    for scheme in schemes(moves, "card_testing"):
        amounts = scheme.sort("transaction_at")["amount"].cast(pl.Float64)
        assert amounts[-1] > 50 * amounts[:-1].max()
        assert set(scheme["channel"]) == {"online"}


def test_accounts_are_taken_over_at_night(moves):
    for scheme in schemes(moves, "account_takeover"):
        assert set(scheme["transaction_at"].dt.hour()) == {3}
        assert scheme["partner"].null_count() == scheme.height
        assert scheme["account_id"].n_unique() == scheme["date"].n_unique() == 1


def test_the_data_alone_does_not_say_what_is_fraud(tmp_path):
    manifest = generate(tmp_path, scale=1_000, profile=BANK)
    entity = manifest.entities["transactions"]
    told = pl.concat(pl.read_csv(tmp_path / file.path) for file in entity.labels)
    assert told.columns == ["transaction_id", "typology", "scheme_id"]
    assert told.height == sum(file.rows for file in entity.labels) > 50
    assert all(file.path.startswith("_labels/transactions/") for file in entity.labels)
    data = "".join((tmp_path / file.path).read_text() for file in entity.files)
    assert not any(word in data for word in fraud.TYPOLOGIES)
    assert set(told["transaction_id"]) <= {line.split(",")[0] for line in data.splitlines()}
    assert read_manifests(tmp_path) == [manifest]
    generate(tmp_path, scale=1_000, force=True)
    assert not list(tmp_path.rglob("_labels/**/*.csv")), "labels of the batch that was replaced are gone"


def test_labels_survive_an_interruption(tmp_path, monkeypatch):
    for module in ("schedule", "generator", "dirt"):
        monkeypatch.setattr(f"datagen.{module}.BLOCK_ROWS", 1_000)
    whole = generate(tmp_path / "whole", scale=500, profile=BANK, file_rows=3_000)

    def stop(step):
        if step.entity == "transactions" and step.done > step.total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(tmp_path / "cut", scale=500, profile=BANK, file_rows=3_000, on_progress=stop)
    assert generate(tmp_path / "cut", scale=500, profile=BANK, file_rows=3_000) == whole
    for file in whole.entities["transactions"].labels:
        assert (tmp_path / "cut" / file.path).read_bytes() == (tmp_path / "whole" / file.path).read_bytes()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32), batch=st.integers(1, 200))
def test_balances_count_what_schemes_move(seed, batch):
    plan = Plan(seed, 64, profile.override(profile.load(), {"fraud": "0.02"}))
    index = np.arange(plan.accounts.end(batch))
    before, after = (booked_since_birth(plan, index, day) for day in (batch - 1, batch))
    blocks = [
        TRANSACTIONS.block(plan, batch, number).index for number in range(TRANSACTIONS.blocks(plan, batch))
    ]
    touched = set(TRANSACTIONS.rows(plan, np.concatenate(blocks), batch)["account_id"])
    moved = series(ACCOUNTS.key_texts(index[before != after] + 1))
    assert set(moved) <= touched
    assert len(opening_balance(plan, index)) == len(index)
