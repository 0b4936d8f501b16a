"""Loans that are repaid early, all or a part."""

from __future__ import annotations

from functools import cache

import numpy as np

from datagen.loans.amortisation import ANNUITY, NAME, NEVER, Terms, annuity
from datagen.rng import QUANTILE_STEPS, Quantiles
from datagen.schedule import Plan


@cache
def prepayments() -> Quantiles:
    """Month in which a loan is repaid early, by the PSA model, if it is not over by then."""
    left, months = 1.0, [1]
    edges = iter([1 - step / QUANTILE_STEPS for step in range(1, QUANTILE_STEPS)])
    edge = next(edges)
    for month in range(1, 481):
        left *= (1 - 0.06 * min(month, 30) / 30) ** (1 / 12)
        while left <= edge:
            months.append(month)
            edge = next(edges)
    return Quantiles([months + [NEVER] * (QUANTILE_STEPS + 1 - len(months))])


def with_extra(plan: Plan, loan: Terms) -> Terms:
    """Terms with the one partial repayment that some borrowers make."""
    draws = plan.draws(NAME, loan.index)
    number = 1 + draws.below("extra_number", np.maximum(loan.count - 1, 1))
    chosen = draws.chance("extra", plan.profile.extra_repayments) & (loan.repayment == ANNUITY)
    place = np.flatnonzero(chosen & (number < loan.last))
    some, number = loan.take(place), number[place]
    left = some.remaining(number)
    extra = left * (5 + draws.below("extra_part", 40)[place]) // 100
    later = annuity(left - extra, some.rate / 12_000_000, some.count - number)
    for values, found in (
        (loan.extra_number, number),
        (loan.extra, extra),
        (loan.rest, left - extra),
        (loan.later_installment, np.rint(later).astype(np.int64)),
    ):
        values[place] = found
    return loan
