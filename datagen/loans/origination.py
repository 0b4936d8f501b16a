"""Which loans there are: borrower, product, amount, rate, term, and the day of the payout."""

from __future__ import annotations

from functools import cache

import numpy as np

from datagen import customers
from datagen.countries import COUNTRIES
from datagen.loans.amortisation import (
    ANNUITY,
    BULLET,
    DUE_DAYS,
    NAME,
    NEVER,
    Terms,
    annuity,
    month_starts,
)
from datagen.loans.prepayment import prepayments, with_extra
from datagen.profile import PRODUCTS
from datagen.rng import Choice, Ints, Quantiles, choice
from datagen.schedule import BASE_DAY, Plan

PREFIX, WIDTH = "L", 10
"""First letter and digits of the business key."""
MORTGAGE, AUTO, PERSONAL, STUDENT, BUSINESS = range(len(PRODUCTS))
_OLDEST_MONTHS = 60
_BASE_MONTH = 12 * (2025 - 1970) + 11
_AGE = Choice([0.83**age for age in range(_OLDEST_MONTHS + 1)])
_REPAYMENT = Choice([93, 5, 2], [100, 0, 0], [97, 0, 3], [88, 10, 2], [70, 18, 12])
_TERMS = np.array(
    [
        [120, 180, 180, 240, 240, 300, 300, 360],
        [24, 36, 36, 48, 48, 60, 60, 72],
        [6, 12, 12, 24, 24, 36, 48, 60],
        [60, 60, 84, 84, 96, 120, 120, 120],
        [6, 12, 24, 36, 36, 60, 84, 84],
    ]
)
"""Usual terms in months, by product."""
_RATES = np.array([[28_000, 30], [39_000, 60], [62_000, 110], [31_000, 60], [45_000, 90]])
"""Least yearly rate in millionths, and number of steps of 0.05 % above it, by product."""
GRADES = (670, 580)
"""Least credit score of good and of fair borrowers; all others are poor ones (FICO's bands)."""
_SLOPPY_SHARE = 0.11


@cache
def _principals() -> Quantiles:
    """Principal in euro cents, by product."""
    return Quantiles.lognormal(
        (21_000_000, 0.45, 4_000_000, 200_000_000),
        (1_800_000, 0.45, 300_000, 12_000_000),
        (800_000, 0.65, 100_000, 7_500_000),
        (1_400_000, 0.50, 100_000, 8_000_000),
        (5_500_000, 0.90, 500_000, 300_000_000),
    )


def _started(plan: Plan, index: Ints) -> tuple[Ints, Ints]:
    """Day, and its month, on which loans were paid out."""
    draws = plan.draws(NAME, index)
    birth = plan.loans.birth(index)
    age = _AGE(draws.bits("age"))
    month = np.searchsorted(month_starts(), BASE_DAY + birth, side="right").astype(np.int64) - 1
    start_month = np.where(birth > 0, month, _BASE_MONTH - age)
    history = month_starts()[start_month] + draws.below("start_day", DUE_DAYS)
    return np.where(birth > 0, BASE_DAY + birth, history), start_month


def customer_of(plan: Plan, index: Ints) -> Ints:
    """Row index of each loan's borrower, who was a customer when it was paid out."""
    return _customer_of(plan, index, _started(plan, index)[0])


def _customer_of(plan: Plan, index: Ints, start: Ints) -> Ints:
    birth = plan.loans.birth(index)
    known = np.where(
        birth > 0, plan.customers.initial + birth * plan.customers.daily, customers.joined_by(plan, start)
    )
    return plan.draws(NAME, index).below("customer", known)


def terms(plan: Plan, index: Ints) -> Terms:
    """Terms of loans by row index."""
    draws = plan.draws(NAME, index)
    start, start_month = _started(plan, index)
    customer = _customer_of(plan, index, start)
    country = customers.country_of(plan, customer)
    product = choice(plan.profile.loan_products)(draws.bits("product"))
    repayment = _REPAYMENT(draws.bits("repayment"), product)
    level = np.array([item.price_level for item in COUNTRIES])[country]
    principal = _principals()(draws.bits("principal"), product) * level // 100 // 10_000 * 10_000
    months = _TERMS[product, draws.below("term", _TERMS.shape[1])]
    rate = _RATES[product, 0] + 500 * draws.below("rate", _RATES[product, 1])
    bullet = repayment == BULLET
    count = np.where(bullet, 1, months)
    monthly = rate / 12_000_000
    regular = np.where(repayment == ANNUITY, annuity(principal, monthly, count), principal * monthly)
    early = np.where(bullet, NEVER, prepayments()(draws.bits("prepayment"), np.zeros_like(index)))
    score = customers.first_score(plan, customer)
    agreed = Terms(
        index=index,
        customer=customer,
        country=country,
        product=product,
        repayment=repayment,
        principal=principal,
        rate=rate,
        months=months,
        start=start,
        start_month=start_month,
        due_day=_due_day(plan, index),
        gap=np.where(bullet, months, 1),
        count=count,
        installment=np.rint(regular).astype(np.int64),
        sloppy=draws.chance("sloppy", _SLOPPY_SHARE),
        grade=(score < GRADES[0]).astype(np.int64) + (score < GRADES[1]),
        extra_number=np.full_like(index, NEVER),
        extra=np.zeros_like(index),
        rest=np.zeros_like(index),
        later_installment=np.zeros_like(index),
        last=np.minimum(count, early),
    )
    return with_extra(plan, agreed)


def _due_day(plan: Plan, index: Ints) -> Ints:
    """Each run of 28 loans has one loan for each due day."""
    return 1 + (index % DUE_DAYS + due_offset(plan, index // DUE_DAYS)) % DUE_DAYS


def due_offset(plan: Plan, runs: Ints) -> Ints:
    """Due day, less one, of the first loan of each run of ``DUE_DAYS``."""
    return plan.draws(f"{NAME}/due", runs).below("offset", DUE_DAYS)
