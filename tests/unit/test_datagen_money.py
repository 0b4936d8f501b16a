"""Money moves as it does on real accounts, and every balance follows from it to the cent."""

from decimal import Decimal
from math import log10

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen import generate, standing
from datagen.accounts import ACCOUNTS
from datagen.frames import series
from datagen.generator import MOST_BATCHES, MOST_CUSTOMERS
from datagen.schedule import BASE_DAY, Plan
from datagen.transactions import SPAN, TRANSACTIONS, booked_since_birth, opening_balance

PLAN = Plan(42, 6_000)
SIGNED = pl.when(direction="credit").then(pl.col("amount")).otherwise(-pl.col("amount"))


@pytest.fixture(scope="module")
def moves() -> pl.DataFrame:
    blocks = [TRANSACTIONS.block(PLAN, 0, number) for number in range(TRANSACTIONS.blocks(PLAN, 0))]
    frame = pl.concat([TRANSACTIONS.rows(PLAN, block.index, 0) for block in blocks])
    return frame.with_columns(
        pl.col("amount").cast(pl.Float64), date=pl.col("transaction_at").dt.date(), signed=SIGNED
    )


@pytest.fixture(scope="module")
def accounts() -> pl.DataFrame:
    return ACCOUNTS.rows(PLAN, np.arange(PLAN.accounts.initial), 0)


def openings(plan: Plan, batch: int) -> dict[str, Decimal]:
    index = np.arange(plan.accounts.end(batch))
    cents = opening_balance(plan, index).tolist()
    keys = series(ACCOUNTS.key_texts(index + 1)).to_list()
    return {key: Decimal(value) / 100 for key, value in zip(keys, cents, strict=True)}


@pytest.mark.parametrize(("seed", "scale", "batches"), [(42, 60, 12), (5, 8, 40)])
def test_opening_balance_and_booked_transactions_make_the_balance_of_every_account(
    tmp_path, seed, scale, batches
):
    """The files alone are loaded as a bank's ledger would be; nothing of the generator's own sums is used."""
    known, ledger, opening = {}, {}, openings(Plan(seed, scale), batches)
    checked = closed = 0
    for batch in range(batches):
        manifest = generate(tmp_path, seed=seed, scale=scale, batch=batch, dirty=0)
        read = {
            name: pl.concat([pl.read_csv(tmp_path / file.path, infer_schema=False) for file in entity.files])
            for name, entity in manifest.entities.items()
        }
        for row in read["transactions"].iter_rows(named=True):
            before = known.get(row["transaction_id"], (row["account_id"], Decimal(0)))[1]
            sign = 1 if row["direction"] == "credit" else -1
            now = sign * Decimal(row["amount"]) if row["status"] == "booked" else Decimal(0)
            known[row["transaction_id"]] = row["account_id"], now
            ledger[row["account_id"]] = ledger.get(row["account_id"], Decimal(0)) + now - before
        for row in read["accounts"].iter_rows(named=True):
            key = row["account_id"]
            assert Decimal(row["balance"]) == opening[key] + ledger.get(key, 0), (batch, row)
            closed += batch > 0 and row["status"] == "closed"
            checked += 1
    assert checked > scale * 1.5
    assert closed > 0, "accounts that are closed are checked too"


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**64), scale=st.integers(1, 30), batch=st.integers(1, 400))
def test_an_account_that_was_not_touched_keeps_its_balance(seed, scale, batch):
    plan = Plan(seed, scale)
    index = np.arange(plan.accounts.end(batch - 1))
    before, after = (booked_since_birth(plan, index, day) for day in (batch - 1, batch))
    day = [TRANSACTIONS.block(plan, batch, number) for number in range(TRANSACTIONS.blocks(plan, batch))]
    touched = {key for block in day for key in TRANSACTIONS.rows(plan, block.index, batch)["account_id"]}
    moved = series(ACCOUNTS.key_texts(index[before != after] + 1))
    assert set(moved) <= touched


def test_the_first_digits_of_amounts_follow_benfords_law(moves):
    """Mean absolute deviation below 0.006 is close conformity (Nigrini, Benford's Law, 2012, table 7.1)."""
    amounts = moves["amount"].to_numpy()
    digits = (amounts / 10.0 ** np.floor(np.log10(amounts))).astype(int).clip(1, 9)
    observed = np.bincount(digits, minlength=10)[1:] / len(digits)
    expected = np.array([log10(1 + 1 / digit) for digit in range(1, 10)])
    assert np.abs(observed - expected).mean() < 0.006


def test_few_accounts_make_many_of_the_moves(moves):
    """Activity is heavier-tailed than chance alone: variance far above the mean of a Poisson count."""
    bought = moves.filter(transaction_type="card_payment").group_by("account_id").len()["len"].sort()
    assert bought.var() > 5 * bought.mean()
    assert bought.tail(len(bought) // 10).sum() > 0.25 * bought.sum()


def test_amounts_of_a_category_are_log_normal(moves):
    """Logarithms have neither the skewness nor the kurtosis of other laws."""
    euros = moves.filter(category="groceries", currency="EUR").filter(
        ~pl.col("description").str.contains(" at ")
    )
    logs = euros["amount"].log()
    assert logs.std() == pytest.approx(0.75, abs=0.06)
    assert abs(logs.skew()) < 0.1
    assert abs(logs.kurtosis()) < 0.25


def test_salaries_come_once_a_month_on_a_business_day_and_never_change(moves):
    salaries = moves.filter(transaction_type="salary")
    assert (salaries["date"].dt.weekday() <= 5).all()
    by_account = salaries.group_by("account_id").agg(
        pl.len(),
        pl.col("amount").n_unique().alias("amounts"),
        pl.col("description").n_unique().alias("payers"),
    )
    assert by_account["len"].max() <= 4
    assert by_account["len"].mean() > 2.5
    assert by_account["amounts"].max() == by_account["payers"].max() == 1


def test_salaries_are_what_is_left_of_the_income(moves, accounts):
    from datagen.customers import CUSTOMERS

    people = CUSTOMERS.rows(PLAN, np.arange(PLAN.scale), 0).drop_nulls("annual_income")
    holders = accounts.select("account_id", "customer_id").join(people, on="customer_id")
    paid = moves.filter(transaction_type="salary").join(holders, on="account_id")
    share = 12 * paid["amount"] / paid["annual_income"].cast(pl.Float64)
    assert share.min() > 0.6
    assert share.max() < 0.7
    assert set(paid["segment"]) == {"retail", "affluent", "private"}


@pytest.mark.parametrize("category", ["rent", "insurance", "subscriptions"])
def test_bills_recur_with_the_same_amount_and_creditor(moves, category):
    bills = moves.filter(category=category, transaction_type="direct_debit")
    pairs = bills.group_by("account_id", "amount", "description").len()
    assert pairs.filter(pl.col("len") >= 2).height > 0.9 * pairs.height
    assert (bills["date"].dt.weekday() <= 5).all()


def test_people_shop_on_fridays_and_saturdays_and_before_christmas(moves):
    cards = moves.filter(transaction_type="card_payment")
    days = dict(cards.group_by(pl.col("date").dt.weekday()).len().iter_rows())
    assert min(days[5], days[6]) > 1.3 * max(days[1], days[2], days[7])
    daily = dict(
        cards.group_by(pl.col("date").dt.month()).agg(pl.len() / pl.col("date").n_unique()).iter_rows()
    )
    assert daily[12] > 1.15 * daily[10]
    hours = dict(cards.filter(channel="pos").group_by(pl.col("transaction_at").dt.hour()).len().iter_rows())
    assert hours[17] > 5 * hours[3]


def test_people_pay_by_day_and_orders_run_at_night(moves):
    hours = {
        channel: moves.filter(channel=channel)["transaction_at"].dt.hour().value_counts(normalize=True)
        for channel in ("pos", "system")
    }
    share = {channel: dict(counts.iter_rows()) for channel, counts in hours.items()}
    assert sum(share["pos"].get(hour, 0) for hour in range(7, 22)) == pytest.approx(0.91, abs=0.02)
    assert sum(share["system"].get(hour, 0) for hour in range(1, 6)) > 0.5


def test_merchants_of_an_account_are_favourites(moves):
    bought = moves.filter(category="groceries").group_by("account_id", "merchant_name").len()
    accounts = bought.group_by("account_id").agg(
        pl.col("len").max() / pl.col("len").sum(), pl.col("len").sum().alias("n")
    )
    busy = accounts.filter(pl.col("n") >= 10)
    assert busy.height > 50
    assert busy["len"].mean() > 0.25, "by chance alone it would be less than 0.2"


def test_what_was_paid_in_another_currency_is_booked_at_the_rate_of_the_day(moves):
    pattern = r", (\d+\.\d\d) ([A-Z]{3}) at (\d+\.\d+)$"
    foreign = moves.filter(pl.col("description").str.contains(pattern)).select(
        "amount", "currency", "date",
        paid=pl.col("description").str.extract(pattern, 1).cast(pl.Float64),
        there=pl.col("description").str.extract(pattern, 2),
        rate=pl.col("description").str.extract(pattern, 3).cast(pl.Float64),
    )  # fmt: skip
    assert foreign.height > 100
    assert (foreign["currency"] != foreign["there"]).all()
    assert (
        (foreign["paid"] * foreign["rate"] - foreign["amount"]).abs() <= 0.0051 + foreign["paid"] * 1e-6
    ).all()
    assert foreign.group_by("date", "currency", "there").agg(pl.col("rate").n_unique())["rate"].max() == 1
    assert foreign.filter(currency="EUR", there="GBP")["rate"].is_between(1.1, 1.3).all()


def test_failures_and_reversals_are_rare_and_there(moves):
    shares = dict(moves["status"].value_counts(normalize=True).iter_rows())
    assert 0.005 < shares["failed"] < 0.03
    assert 0.001 < shares["reversed"] < 0.01


@settings(deadline=None, max_examples=50)
@given(first=st.integers(BASE_DAY, BASE_DAY + 9_000), days=st.integers(1, 120))
def test_a_day_is_due_in_a_calendar_however_it_is_cut_out(first, days):
    whole = standing.calendars(first, days)
    for order, due in enumerate(whole):
        one = standing.calendars(first + days - 1, 1)[order]
        assert (due[:, -1:] == one).all()
        weekends = (np.arange(first, first + days) + 3) % 7 >= 5
        assert not due[:, weekends].any()


def test_the_largest_bank_on_the_last_day_has_keys_left_for_dirty_rows():
    accounts = Plan(1, MOST_CUSTOMERS).accounts.end(MOST_BATCHES)
    assert accounts * SPAN < 8 * 10 ** (TRANSACTIONS.width - 1)
