"""Which loans are due, or catch up, on a day; found without all the others."""

from __future__ import annotations

import numpy as np

from datagen import columns as to
from datagen.loans.amortisation import DUE_DAYS, Terms, month_of
from datagen.loans.delinquency import DAYS_TO_CATCH_UP, course, is_late
from datagen.loans.origination import due_offset, terms
from datagen.rng import Ints
from datagen.schedule import Plan


def due_on(plan: Plan, day: int, batch: int) -> tuple[Terms, Ints]:
    """Loans older than ``batch`` that are due on ``day``, and the number of that due day.

    Among them are loans in arrears whose last instalment was due before.
    """
    month, first = month_of(day)
    due_day = day - first + 1
    if due_day > DUE_DAYS:
        loan = terms(plan, to.no_rows())
        return loan, to.no_rows()
    existing = plan.loans.start(batch)
    runs = np.arange(-(-existing // DUE_DAYS), dtype=np.int64)
    index = runs * DUE_DAYS + (due_day - 1 - due_offset(plan, runs)) % DUE_DAYS
    loan = terms(plan, index[index < existing])
    number = loan.number_in(month)
    hit = (number >= 1) & (loan.due(number) == day)
    loan, number = loan.take(np.flatnonzero(hit)), number[hit]
    going_on = np.flatnonzero(number <= course(plan, loan, number).end)
    return loan.take(going_on), number[going_on]


def caught_up_on(plan: Plan, day: int, batch: int) -> tuple[Terms, Ints]:
    """Loans older than ``batch`` with a late instalment that is paid on ``day``, and its number."""
    loan, number = due_on(plan, day - DAYS_TO_CATCH_UP, batch)
    went = course(plan, loan, number)
    in_time = (went.paid_by(number) == number) & (went.paid_by(np.maximum(number - 1, 0)) == number - 1)
    hit = is_late(plan, loan, number) & in_time
    return loan.take(np.flatnonzero(hit)), number[hit]
