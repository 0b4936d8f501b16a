"""The accounts that money moves on, and what decides how much of it does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import exp, log2

import numpy as np

from datagen import accounts, customers
from datagen.rng import Ints, Quantiles, normal_steps
from datagen.schedule import Plan
from datagen.transactions.kinds import NAME

LEVELS = 64
"""Levels of activity; at 0 nobody moves anything."""
LEVELS_PER_OCTAVE = 4
LEAST_RATE = 0.004
"""Moves a day at level 0, from which the rate doubles every ``LEVELS_PER_OCTAVE`` levels."""


@cache
def _activity() -> Quantiles:
    """Level of the rate of moves, by account type: median moves a day, and sigma of the logarithm."""
    groups = []
    for median, sigma in ((0.07, 1.0), (0.02, 0.9), (0.006, 0.6), (0.12, 1.0)):
        middle, spread = (LEVELS_PER_OCTAVE * log2(value) for value in (median / LEAST_RATE, exp(sigma)))
        groups.append([max(1, min(LEVELS - 1, round(middle + spread * z))) for z in normal_steps()])
    return Quantiles(groups)


@dataclass(frozen=True)
class Holders:
    """Accounts, and what decides the moves on them; one value per account.

    Attributes:
        account: Row index of the account.
        customer: Row index of its holder.
        country: Position of the holder's country.
        segment: Position of the holder's segment.
        kind: Position of the account's type.
        group: Kind of account as standing orders know it.
        opened: Day on which it was opened.
        closed: Day on which it is closed, or ``NEVER``.
        level: Level of activity.
    """

    account: Ints
    customer: Ints
    country: Ints
    segment: Ints
    kind: Ints
    group: Ints
    opened: Ints
    closed: Ints
    level: Ints

    def take(self, position: Ints) -> Holders:
        """Some of the accounts, by position; one may come more than once."""
        return Holders(**{name: getattr(self, name)[position] for name in Holders.__dataclass_fields__})


def holders_of(plan: Plan, account: Ints) -> Holders:
    """What is known of accounts, by row index."""
    customer = accounts.customer_of(plan, account)
    kind = accounts.type_of(plan, account, customer)
    opened = accounts.opened_day(plan, account, customer)
    shift = round(LEVELS_PER_OCTAVE * log2(plan.profile.activity))
    level = _activity()(plan.draws(NAME, account).bits("activity"), kind)
    second = (kind == accounts.CURRENT) & ~accounts.is_primary(plan, account)
    return Holders(
        account=account,
        customer=customer,
        country=customers.country_of(plan, customer),
        segment=customers.segment_of(plan, customer),
        kind=kind,
        group=np.where(second, 1, np.array([0, 2, 3, 4])[kind]),
        opened=opened,
        closed=accounts.closed_day(plan, account, opened),
        level=np.where(accounts.is_dormant(plan, account), 0, np.clip(level + shift, 1, LEVELS - 1)),
    )
