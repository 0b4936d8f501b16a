"""Customers and accounts: who they are fits together."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from datagen.accounts import ACCOUNTS
from datagen.countries import COUNTRIES
from datagen.customers import AGES, CUSTOMERS
from datagen.pools import NAMES, pools
from datagen.schedule import Plan

PLAN = Plan(42, 40_000)


@pytest.fixture(scope="module")
def people() -> pl.DataFrame:
    return CUSTOMERS.rows(PLAN, np.arange(PLAN.scale), 0)


@pytest.mark.parametrize("country", COUNTRIES, ids=lambda country: country.code)
def test_names_addresses_and_phones_are_of_the_country(people, country):
    some = people.filter(country=country.code)
    pool, start = pools(PLAN.seed), COUNTRIES.index(country) * NAMES
    for column in ("first_name", "last_name", "city", "postal_code"):
        assert set(some[column]) <= set(getattr(pool, column).texts[start : start + NAMES]), column
    prefixes = [f"+{prefix}" for prefix in country.phone_prefixes]
    assert some["phone"].drop_nulls().map_elements(lambda p: p.startswith(tuple(prefixes)), pl.Boolean).all()
    assert set(some["currency"]) == {country.currency}
    total = sum(other.share for other in COUNTRIES)
    assert some.height / people.height == pytest.approx(country.share / total, abs=0.01)


def test_emails_are_made_of_the_name(people):
    from datagen.pools import ascii_name

    for first, last, email in people.head(200).select("first_name", "last_name", "email").iter_rows():
        assert email.startswith(ascii_name(first))
        assert ascii_name(last) in email


def test_ages_have_the_shape_of_the_pyramid(people):
    years = (people["onboarding_date"] - people["date_of_birth"]).dt.total_days() / 365.25
    for low, high, share in AGES:
        assert ((years >= low) & (years < high)).mean() == pytest.approx(share / 1000, abs=0.015)


def test_households_share_name_and_address(people):
    pairs = people.with_row_index().with_columns(pair=pl.col("index") // 2)
    shared = ["last_name", "street_address", "city", "postal_code", "country"]
    together = (
        pairs.group_by("pair").agg(pl.col(shared).n_unique()).filter(pl.all_horizontal(pl.col(shared) == 1))
    )
    assert together.height / (people.height / 2) == pytest.approx(PLAN.profile.households, abs=0.01)
    both = pairs.filter(pl.col("pair").is_in(together["pair"].implode()))
    assert both["email"].n_unique() == both.height


def test_incomes_and_scores_rise_together_and_with_the_segment(people):
    germans = people.filter(country="DE").drop_nulls(["annual_income", "credit_score"])
    germans = germans.with_columns(pl.col("annual_income").cast(pl.Float64))
    for segment in ("retail", "affluent"):
        some = germans.filter(segment=segment)
        assert some.select(pl.corr("annual_income", "credit_score", method="spearman")).item() > 0.35
    median = dict(germans.group_by("segment").agg(pl.col("annual_income").median()).iter_rows())
    assert median["retail"] < median["affluent"] < median["private"]


def test_incomes_of_a_segment_are_log_normal(people):
    some = people.filter(country="DE", segment="retail").drop_nulls("annual_income")
    logs = some["annual_income"].cast(pl.Float64).log()
    assert logs.std() == pytest.approx(0.42, abs=0.02)
    assert abs(logs.skew()) < 0.15


def test_customers_joined_over_ten_years(people):
    by_year = dict(people.group_by(pl.col("onboarding_date").dt.year()).len().iter_rows())
    for year in range(2016, 2026):
        assert by_year[year] / people.height == pytest.approx(0.1, abs=0.01)


def test_checks_expire_and_are_renewed():
    """A state of the know-your-customer check only goes where its life cycle leads."""
    index = np.arange(2_000)
    states = [CUSTOMERS.rows(PLAN, index, batch)["kyc_status"].to_list() for batch in range(0, 640, 64)]
    steps = {pair for before, after in pairwise(states) for pair in zip(before, after, strict=True)}
    assert {step for step in steps if step[0] != step[1]} == {
        ("pending", "verified"),
        ("verified", "expired"),
        ("expired", "verified"),
        ("rejected", "pending"),
    }


def test_products_depend_on_the_segment(people):
    accounts = ACCOUNTS.rows(PLAN, np.arange(PLAN.accounts.initial), 0)
    both = accounts.join(people.select("customer_id", "segment"), on="customer_id")
    share = pl.col("account_type").eq("term_deposit").mean()
    deposits = dict(both.group_by("segment").agg(share).iter_rows())
    assert deposits["private"] > 2 * deposits["retail"]
    per_customer = accounts.group_by("customer_id").len()["len"]
    assert per_customer.min() == 1
    assert per_customer.mean() == pytest.approx(1.5, abs=0.01)
    assert per_customer.max() >= 4
