"""Arrears: roll rates, catching up, restructuring, default and write-off."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import log

import numpy as np

from datagen.loans.amortisation import NAME, NEVER, Terms
from datagen.rng import QUANTILE_STEPS, Bools, Choice, Ints, Quantiles
from datagen.schedule import Plan

STATUSES = ("active", "paid_off", "defaulted", "written_off", "restructured")
ACTIVE, PAID_OFF, DEFAULTED, WRITTEN_OFF, RESTRUCTURED = range(len(STATUSES))
DAYS_TO_CATCH_UP = 12
"""Days after which a late payer pays."""
OVERDUE_TO_RESTRUCTURE = 3
OVERDUE_TO_DEFAULT = 4
OVERDUE_TO_WRITE_OFF = 7
FIRST_MISS = (4, 15, 45)
"""Of 1000 borrowers who owe nothing, how many miss their next instalment, by grade."""
PAY_ONE, PAY_NONE, PAY_ALL, PAY_TWO = range(4)
ROLL_RATES = (
    (340, 260, 330, 70),
    (300, 450, 180, 70),
    (150, 650, 120, 80),
    (0, 880, 120, 0),
)
"""Of 1000 borrowers with 1, 2, 3 and more instalments overdue: how many pay one instalment when the next is
due (and stay), none (and roll on), all that is overdue, and two."""
RESTRUCTURED_SHARE = 350
"""Of 1000 borrowers with three instalments overdue, how many get their loan restructured."""
_ROLL = Choice(*ROLL_RATES)
_LATE_SHARE = 0.35


@cache
def _first_misses(arrears: float) -> Quantiles:
    """Thousandths of instalments until the first one that is missed, by grade: exponential."""
    least = 1 / (2 * QUANTILE_STEPS)
    return Quantiles(
        [
            [
                round(1000 * log(max(1 - step / QUANTILE_STEPS, least)) / log(1 - miss_share(rate, arrears)))
                for step in range(QUANTILE_STEPS + 1)
            ]
            for rate in FIRST_MISS
        ]
    )


def miss_share(rate: int, factor: float) -> float:
    """Share of borrowers who miss an instalment, from a rate per 1000; never none, never all."""
    return min(max(rate * factor / 1000, 1e-6), 0.9)


@dataclass(frozen=True)
class Course:
    """How loans went, from due day to due day.

    Attributes:
        paid: Instalments that are paid by the end of each due day; one row per loan, and one column per due
            day, from the payout on.
        end: Due day by which a loan is paid off or written off, after which nothing happens; or far away.
        restructured: Due day on which it is restructured, or far away.
    """

    paid: Ints
    end: Ints
    restructured: Ints

    def billed(self, loan: Terms, due_days: Ints) -> Ints:
        """Number of instalments that are billed by then: one ahead, and none on written-off loans."""
        return np.minimum(np.minimum(due_days + 1, loan.last), self.end)

    def paid_by(self, number: Ints) -> Ints:
        """Instalments that are paid by due day ``number``; one value per loan."""
        return self.paid[np.arange(len(number)), number]

    def paid_on(self, row: Ints, number: Ints) -> Ints:
        """Due day on which an instalment was paid; one more than is known when it was not.

        Args:
            row: Position of the loan.
            number: Number of the instalment.
        """
        width = self.paid.shape[1]
        line = self.paid + (np.arange(len(self.paid), dtype=np.int64) * NEVER)[:, None]
        found: Ints = np.searchsorted(line.reshape(-1), row * NEVER + number) - row * width
        return found


def course(plan: Plan, loan: Terms, due_days: Ints) -> Course:
    """Let loans run up to some due day of each.

    Args:
        plan: Seed and sizes.
        loan: The loans.
        due_days: How far each is needed.
    """
    days = int(due_days.max(initial=0))
    paid = np.minimum(np.arange(days + 1), loan.last[:, None])
    end, restructured = np.minimum(loan.last, NEVER), np.full_like(loan.last, NEVER)
    # Most borrowers never miss an instalment, and who repays early, all or a part, does not either.
    bits = plan.draws(NAME, loan.index).bits("first_miss")
    first_miss = 1 + _first_misses(plan.profile.arrears)(bits, loan.grade) // 1000
    as_agreed = (loan.last == loan.count) & (loan.extra_number == NEVER)
    missing = np.flatnonzero((first_miss <= loan.last) & as_agreed & (first_miss <= due_days))
    if len(missing):
        some, first_miss = loan.take(missing), first_miss[missing]
        draws = plan.draws(NAME, some.index)
        rates = np.array([round(100_000 * miss_share(rate, plan.profile.arrears)) for rate in FIRST_MISS])
        overdue = np.zeros_like(first_miss)
        ended, helped = np.full_like(overdue, NEVER), np.full_like(overdue, NEVER)
        for day in range(1, days + 1):
            at = np.full_like(overdue, day)
            roll = _ROLL(draws.bits("roll", at), np.clip(overdue - 1, 0, len(ROLL_RATES) - 1))
            missed = draws.below("miss", 100_000, at) < rates[some.grade]
            again = np.where(missed & (day > first_miss) | (day == first_miss), PAY_NONE, PAY_ONE)
            act = np.where(overdue == 0, again, np.where(helped < day, PAY_ONE, roll))
            following = np.where(act == PAY_ALL, 0, overdue + np.array([0, 1, 0, -1])[act])
            # Where all is over, instalments paid stand still while due days go on.
            overdue = np.where(ended < day, overdue + 1, following)
            newly = (overdue == OVERDUE_TO_RESTRUCTURE) & (act == PAY_NONE) & (ended > day)
            chosen = draws.below("restructured", 1000, at) < RESTRUCTURED_SHARE
            helped = np.where(newly & chosen & (helped > day), day, helped)
            now = np.minimum(day - overdue, some.last)
            done = (now >= some.last) | (overdue >= OVERDUE_TO_WRITE_OFF)
            ended = np.where(done & (ended > day), day, ended)
            paid[missing, day] = now
        end[missing], restructured[missing] = ended, helped
    return Course(paid, end, restructured)


def is_late(plan: Plan, loan: Terms, number: Ints) -> Bools:
    """Whether instalment ``number`` of a sloppy payer, if paid, is ``DAYS_TO_CATCH_UP`` days late."""
    draws = plan.draws(NAME, loan.index)
    return loan.sloppy & (number < loan.last) & draws.chance("late", _LATE_SHARE, number)


@dataclass(frozen=True)
class State:
    """What has become of loans by the end of a day.

    Attributes:
        status: Position in ``STATUSES``.
        outstanding: Principal not paid back, in cents.
        changed: Day of the last event.
    """

    status: Ints
    outstanding: Ints
    changed: Ints


def state(plan: Plan, loan: Terms, day: int) -> State:
    """State of loans at the end of ``day``."""
    due_days = loan.due_count(day)
    went = course(plan, loan, due_days)
    number = np.minimum(due_days, went.end)
    due, paid = loan.due(number), went.paid_by(number)
    before = went.paid_by(np.maximum(number - 1, 0))
    late = is_late(plan, loan, number) & (number > 0) & (before == number - 1) & (paid == number)
    caught_up = late & (due + DAYS_TO_CATCH_UP <= day)
    paid = paid - (late & ~caught_up)
    overdue = number - paid - (late & ~caught_up)
    status = np.where(went.restructured <= number, RESTRUCTURED, np.full_like(paid, ACTIVE))
    status = np.where((overdue >= OVERDUE_TO_DEFAULT) & (status == ACTIVE), DEFAULTED, status)
    status = np.where(overdue >= OVERDUE_TO_WRITE_OFF, WRITTEN_OFF, status)
    status = np.where(paid >= loan.last, PAID_OFF, status)
    return State(status, loan.remaining(paid), np.where(caught_up, due + DAYS_TO_CATCH_UP, due))
