"""Which loans are due, or catch up, on a day; found without all the others."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from datagen.loans.amortisation import DUE_DAYS, Terms, month_of
from datagen.loans.delinquency import DAYS_TO_CATCH_UP, course, is_late
from datagen.loans.origination import due_offset, terms
from datagen.rng import Ints
from datagen.schedule import Plan

_RUNS = 1 << 15
"""Runs of ``DUE_DAYS`` loans, of which one is due on a day, that are looked at together."""


def due_on(plan: Plan, day: int, batch: int) -> Iterator[tuple[Terms, Ints]]:
    """Loans older than ``batch`` that are due on ``day``, and the number of that due day; some at a time.

    Among them are loans in arrears whose last instalment was due before.
    """
    month, first = month_of(day)
    due_day = day - first + 1
    existing = plan.loans.start(batch) if due_day <= DUE_DAYS else 0
    for low in range(0, -(-existing // DUE_DAYS), _RUNS):
        runs = np.arange(low, min(low + _RUNS, -(-existing // DUE_DAYS)), dtype=np.int64)
        index = runs * DUE_DAYS + (due_day - 1 - due_offset(plan, runs)) % DUE_DAYS
        loan = terms(plan, index[index < existing])
        number = loan.number_in(month)
        hit = (number >= 1) & (loan.due(number) == day)
        loan, number = loan.take(np.flatnonzero(hit)), number[hit]
        going_on = np.flatnonzero(number <= course(plan, loan, number).end)
        yield loan.take(going_on), number[going_on]


def caught_up_on(plan: Plan, day: int, batch: int) -> Iterator[tuple[Terms, Ints]]:
    """Loans older than ``batch`` with a late instalment that is paid on ``day``, and its number."""
    for loan, number in due_on(plan, day - DAYS_TO_CATCH_UP, batch):
        went = course(plan, loan, number)
        in_time = (went.paid_by(number) == number) & (went.paid_by(np.maximum(number - 1, 0)) == number - 1)
        hit = is_late(plan, loan, number) & in_time
        yield loan.take(np.flatnonzero(hit)), number[hit]
