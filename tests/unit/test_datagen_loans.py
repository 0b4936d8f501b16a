"""Loans are paid back as agreed, or fall behind and recover by the published roll rates."""

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from datagen import loans
from datagen.loans import (
    FIRST_MISS,
    LOANS,
    PAY_ALL,
    PAY_NONE,
    PAY_ONE,
    PAY_TWO,
    RESTRUCTURED_SHARE,
    ROLL_RATES,
)
from datagen.payments import PAYMENTS
from datagen.schedule import BASE_DAY, Plan
from datagen.transactions import TRANSACTIONS

PLAN = Plan(42, 200_000)


@pytest.fixture(scope="module")
def terms() -> loans.Terms:
    return loans.terms(PLAN, np.arange(PLAN.loans.initial))


@pytest.fixture(scope="module")
def overdue(terms) -> np.ndarray:
    """Instalments overdue by loan and due day; -1 where nothing happens any more."""
    due_days = terms.due_count(BASE_DAY)
    went = loans.course(PLAN, terms, due_days)
    day = np.arange(went.paid.shape[1])
    going_on = (day <= due_days[:, None]) & (day <= went.end[:, None])
    return np.where(going_on, day - went.paid, -1)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**64), scale=st.integers(1, 500))
def test_the_principal_parts_of_a_schedule_add_up_to_the_principal(seed, scale):
    plan = Plan(seed, scale)
    loan = loans.terms(plan, np.arange(plan.loans.initial))
    total, interest = np.zeros_like(loan.principal), np.zeros_like(loan.principal)
    for number in range(1, int(loan.last.max()) + 1):
        at = np.full_like(loan.last, number)
        parts = loan.parts(at)
        assert (parts[0] >= 0).all()
        total += np.where(number <= loan.last, parts[0], 0)
        interest += np.where(number <= loan.last, parts[1], 0)
    assert (total == loan.principal).all()
    assert (interest > 0).all()


@pytest.mark.parametrize("bucket", [1, 2])
def test_borrowers_in_arrears_roll_on_and_cure_at_the_published_rates(overdue, bucket):
    before, after = overdue[:, :-1], overdue[:, 1:]
    moves = after[(before == bucket) & (after >= 0)]
    expected = np.zeros(bucket + 2)
    for act, share in enumerate(ROLL_RATES[bucket - 1]):
        to = {PAY_ONE: bucket, PAY_NONE: bucket + 1, PAY_ALL: 0, PAY_TWO: bucket - 1}[act]
        expected[to] += share / 1000
    observed = np.bincount(moves, minlength=len(expected)) / len(moves)
    assert len(moves) > 1_000
    assert observed == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("grade", range(3))
def test_borrowers_who_owe_nothing_miss_by_their_grade(overdue, terms, grade):
    as_agreed = (terms.last == terms.count) & (terms.extra == 0)
    some = overdue[(terms.grade == grade) & as_agreed]
    before, after = some[:, :-1], some[:, 1:]
    moves = after[(before == 0) & (after >= 0)]
    assert (moves == 1).mean() == pytest.approx(FIRST_MISS[grade] / 1000, rel=0.15)


def test_defaulted_loans_recover_or_are_written_off(overdue):
    before, after = overdue[:, :-1], overdue[:, 1:]
    defaulted = after[
        (before >= loans.OVERDUE_TO_DEFAULT) & (before < loans.OVERDUE_TO_WRITE_OFF) & (after >= 0)
    ]
    assert 0.05 < (defaulted == 0).mean() < 0.2
    assert overdue.max() == loans.OVERDUE_TO_WRITE_OFF


def test_restructured_borrowers_pay_one_instalment_a_month_from_then_on(terms, overdue):
    due_days = terms.due_count(BASE_DAY)
    went = loans.course(PLAN, terms, due_days)
    helped = np.flatnonzero(went.restructured <= due_days)
    reached = (overdue == loans.OVERDUE_TO_RESTRUCTURE).any(axis=1).sum()
    assert helped.size / reached == pytest.approx(RESTRUCTURED_SHARE / 1000, abs=0.12)
    for loan in helped:
        later = overdue[loan, went.restructured[loan] :]
        assert set(later[later >= 0]) == {loans.OVERDUE_TO_RESTRUCTURE}


def test_loans_are_repaid_early_as_in_the_psa_model():
    months = loans.prepayments()(np.arange(0, 2**64, 2**50, dtype=np.uint64), np.zeros(2**14, dtype=np.int64))
    for month in (12, 30, 60, 120, 240):
        left = np.prod([(1 - 0.06 * min(t, 30) / 30) ** (1 / 12) for t in range(1, month + 1)])
        assert (months > month).mean() == pytest.approx(left, abs=0.005)


def test_who_repays_early_pays_all_that_is_left_at_once(terms):
    early = terms.take(np.flatnonzero((terms.last < terms.count) & (terms.due_count(BASE_DAY) >= terms.last)))
    assert early.index.size > 100
    assert (early.parts(early.last)[0] == early.remaining(early.last - 1)).all()
    rows = LOANS.rows(PLAN, early.index, 0)
    assert set(rows["status"]) == {"paid_off"}
    assert (rows["outstanding_principal"] == 0).all()
    last = PAYMENTS.rows(PLAN, early.index * 10_000 + early.last, 0)
    assert set(last["status"]) == {"paid"}


def test_a_part_that_is_repaid_early_lowers_the_annuity_of_the_rest(terms):
    """The schedule after it is that of a new loan over what is left, for the rest of the term."""
    annuities = terms.repayment == loans.ANNUITY
    some = terms.take(np.flatnonzero(terms.extra > 0))
    possible = PLAN.profile.extra_repayments * annuities.sum()
    assert 0.8 * possible < some.index.size < possible, "those who repay all before that do not"
    number = some.extra_number
    before, at, after = (some.parts(number + step) for step in (-1, 0, 1))
    first = number > 1
    level = before[0] + before[1]
    assert (level == some.installment)[first].all()
    assert (at[0] + at[1] == some.installment + some.extra).all()
    share = some.extra / (some.rest + some.extra)
    assert share.min() == pytest.approx(0.05, abs=0.001)
    assert share.max() == pytest.approx(0.44, abs=0.001)
    monthly, left = some.rate / 12_000_000, some.count - number
    expected = some.rest * monthly / (1 - (1 + monthly) ** -left.astype(float))
    assert np.abs(some.later_installment - expected).max() <= 0.5001
    regular = number + 1 < some.last
    assert (after[0] + after[1] == some.later_installment)[regular].all()
    assert (some.remaining(number) == some.rest).all()


def test_poor_scores_default_more_often(terms):
    status = LOANS.rows(PLAN, terms.index, 0)["status"]
    bad = status.is_in(["defaulted", "written_off"]).to_numpy()
    assert bad[terms.grade == 2].mean() > 3 * bad[terms.grade == 0].mean() > 0


@settings(max_examples=8, deadline=None)
@example(seed=549_755_813_889, scale=1, batch=219)  # arrears and a late payment would meet on one due day
@given(seed=st.integers(0, 2**64), scale=st.integers(1, 20), batch=st.integers(1, 500))
@pytest.mark.parametrize("entity", [LOANS, PAYMENTS, TRANSACTIONS], ids=lambda entity: entity.name)
def test_a_batch_holds_every_row_that_differs_from_the_day_before(entity, seed, scale, batch):
    """So the batches, loaded one by one, make the same tables as the last day would."""
    plan = Plan(seed, scale)
    blocks = [entity.block(plan, batch - 1, number) for number in range(entity.blocks(plan, batch - 1))]
    known = set(np.concatenate([block.index for block in blocks]).tolist())
    if entity is LOANS:
        known = set(range(plan.loans.end(batch - 1)))
    if entity is PAYMENTS:
        loan = loans.terms(plan, np.arange(plan.loans.end(batch - 1)))
        due_days = loan.due_count(BASE_DAY + batch - 1)
        billed = loans.course(plan, loan, due_days).billed(loan, due_days)
        known = {row * 10_000 + n for row in range(len(billed)) for n in range(1, int(billed[row]) + 1)}
    index = np.array(sorted(known))
    before, after = entity.rows(plan, index, batch - 1), entity.rows(plan, index, batch)
    key = before.columns[0]
    differs = set(after.join(before, on=before.columns, how="anti", nulls_equal=True)[key])
    block = [entity.block(plan, batch, number) for number in range(entity.blocks(plan, batch))]
    frames = [entity.rows(plan, one.index[: one.changed], batch) for one in block]
    changed = set(pl.concat(frames)[key])
    assert differs <= changed
    if entity is not TRANSACTIONS:
        assert differs == changed
    new = {int(row) for one in block for row in one.index[one.changed :]}
    assert not new & known


def test_payments_are_made_oldest_first():
    plan = Plan(3, 3_000)
    blocks = [PAYMENTS.block(plan, 0, number) for number in range(PAYMENTS.blocks(plan, 0))]
    rows = pl.concat([PAYMENTS.rows(plan, block.index, 0) for block in blocks]).sort(
        "loan_id", "installment_number"
    )
    settled = rows.with_columns(open=pl.col("status").is_in(["missed", "partial"]).cum_max().over("loan_id"))
    assert settled.filter("open")["status"].is_in(["missed", "partial", "scheduled"]).all()
    cured = rows.filter((pl.col("paid_date") - pl.col("due_date")).dt.total_days() > 27)
    assert cured.height > 50
    assert (cured["amount_paid"] == cured["amount_due"]).sum() > 0.9 * cured.height
