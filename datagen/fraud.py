"""Fraud and laundering: schemes that run over some accounts for some days, between all that is honest.

Of 64 neighbouring accounts at most one scheme a month makes some its own. So the rows of a scheme are found
from any account on any day, like all other rows; which they are is told in label files apart from the data.

Sources: fan-in, fan-out, cycle and scatter-gather are patterns of Altman et al. (Realistic Synthetic
Financial Transactions for Anti-Money Laundering Models, NeurIPS 2023). Structuring keeps cash deposits below
what has to be reported: more than 10,000 (dollars in 31 CFR 1010.311 and 1010.314, here euros). Card testing
is many small online payments and then a large one, account takeover an account that is emptied at night to
unknown payees. Numbers of steps, amounts and days are assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from datagen.rng import Ints
from datagen.schedule import Plan

TYPOLOGIES = (
    "fan_in", "fan_out", "cycle", "scatter_gather", "structuring", "card_testing", "account_takeover",
)  # fmt: skip
RUN = 64
"""Neighbouring accounts among which a scheme finds its own."""
MONTH = 30
"""Days of which a scheme takes some."""
STEPS = 16
"""Greatest number of rows of a scheme."""
OUT, IN, CASH, CARD = range(4)
"""What a step is: money sent, money received, cash paid in, a card payment."""

_LATEST_START = 18


@dataclass(frozen=True)
class Step:
    """One row of a scheme.

    Attributes:
        who: Number of the member on whose account it is.
        partner: Number of the member on the other side, or -1 for someone outside.
        day: Days after the scheme's start.
        act: ``OUT``, ``IN``, ``CASH`` or ``CARD``.
        percent: Amount, as a share of the scheme's.
    """

    who: int
    partner: int
    day: int
    act: int
    percent: int


def _transfer(source: int, target: int, day: int, percent: int) -> list[Step]:
    return [Step(source, target, day, OUT, percent), Step(target, source, day, IN, percent)]


def _steps() -> tuple[list[Step], ...]:
    fan_in = [step for n in range(1, 8) for step in _transfer(n, 0, n % 3, 8 + n)]
    fan_out = [step for n in range(1, 8) for step in _transfer(0, n, n % 2, 8 + n)]
    cycle = [step for n in range(5) for step in _transfer(n, (n + 1) % 5, n, 100 - 2 * n)]
    scatter = [step for n in (1, 2, 3) for step in _transfer(0, n, 0, 30 + n)]
    gather = [step for n in (1, 2, 3) for step in _transfer(n, 4, 2 + n, 29 + n)]
    structuring = [Step(0, -1, day, CASH, 90 + (day * 7) % 10) for day in range(0, 10, 1)]
    testing = [*(Step(0, -1, 0, CARD, 1) for _ in range(9)), Step(0, -1, 1, CARD, 100)]
    takeover = [*(Step(0, -1, 0, OUT, 12 + 5 * n) for n in range(5))]
    return fan_in, fan_out, cycle, scatter + gather, structuring, testing, takeover


@cache
def table() -> Ints:
    """Steps by typology: who, partner, day, act and percent; ``who`` is -1 where there is none."""
    steps = np.full((len(TYPOLOGIES), STEPS, 5), -1, dtype=np.int64)
    for row, scheme in enumerate(_steps()):
        for column, step in enumerate(scheme):
            steps[row, column] = step.who, step.partner, step.day, step.act, step.percent
    return steps


@dataclass(frozen=True)
class Schemes:
    """Schemes by run of accounts and month; one value per scheme.

    Attributes:
        run: Number of the run of accounts.
        month: Number of the month since the first day of the history.
        is_there: Whether there is one.
        typology: Position in ``TYPOLOGIES``.
        start: Day of the month on which it starts.
        amount: What it is about, in euro cents.
        first: Place of the first member in its run.
        stride: Places from one member to the next; odd, so that no account is met twice.
    """

    run: Ints
    month: Ints
    is_there: Ints
    typology: Ints
    start: Ints
    amount: Ints
    first: Ints
    stride: Ints

    def member(self, number: Ints) -> Ints:
        """Row index of the account of each scheme's member."""
        place: Ints = (self.first + number * self.stride) % RUN
        return self.run * RUN + place


def schemes(plan: Plan, run: Ints, month: Ints) -> Schemes:
    """What goes on in runs of accounts in some months."""
    draws = plan.draws("fraud", run * 1_000 + month)
    typology = draws.below("typology", len(TYPOLOGIES))
    # Structuring is about the sum that has to be reported, card testing about one good purchase.
    amount = 200_000 + 10_000 * draws.below("amount", 180)
    amount = np.where(typology == TYPOLOGIES.index("structuring"), 1_000_000, amount)
    amount = np.where(typology == TYPOLOGIES.index("card_testing"), amount // 20, amount)
    return Schemes(
        run=run,
        month=month,
        is_there=draws.chance("is_there", chance(plan)).astype(np.int64),
        typology=typology,
        start=draws.below("start", _LATEST_START),
        amount=amount,
        first=draws.below("first", RUN),
        stride=1 + 2 * draws.below("stride", RUN // 2),
    )


def chance(plan: Plan) -> float:
    """Chance of a scheme in a run and month, so that its rows are the share of all that was asked for."""
    rows_of_run = RUN * (_ORDERS_A_MONTH + _MOVES_A_MONTH * plan.profile.activity)
    steps = float((table()[:, :, 0] >= 0).sum(axis=1).mean())
    return min(1.0, plan.profile.fraud * rows_of_run / steps)


_ORDERS_A_MONTH, _MOVES_A_MONTH = 3.6, 3.2
"""Rows of an average account in thirty days, measured: standing orders, and all others."""


def rows_of(plan: Plan, account: Ints, first_month: int, last_month: int) -> tuple[Ints, Ints, Ints, Ints]:
    """Account, month, step and day of the month of all rows of schemes on some accounts.

    Args:
        plan: Seed and sizes.
        account: Row indices of accounts, ascending.
        first_month: First month that counts.
        last_month: Last month that counts.
    """
    runs = np.unique(account // RUN)
    months = np.arange(first_month, last_month + 1, dtype=np.int64)
    some = schemes(plan, np.repeat(runs, len(months)), np.tile(months, len(runs)))
    there = np.flatnonzero(some.is_there)
    steps = table()[some.typology[there]]
    row, step = np.nonzero(steps[:, :, 0] >= 0)
    scheme = there[row]
    whole = Schemes(**{name: getattr(some, name)[scheme] for name in Schemes.__dataclass_fields__})
    member = whole.member(steps[row, step, 0])
    ours = np.isin(member, account)
    day = whole.start + steps[row, step, 2]
    return member[ours], whole.month[ours], step[ours].astype(np.int64), day[ours]
