"""What becomes of transactions: pending, booked, failed, reversed."""

from __future__ import annotations

import numpy as np

from datagen.rng import Ints
from datagen.schedule import BASE_DAY
from datagen.transactions.facts import Facts
from datagen.transactions.kinds import BOOKED, FAILED, PENDING, REVERSED, REVERSED_AFTER, SETTLES_AFTER


def lifecycle(facts: Facts, today: int | Ints) -> tuple[Ints, Ints, Ints]:
    """Status, booking day and day of the last event by the end of ``today``."""
    arrival = BASE_DAY + facts.birth
    settled = np.where(facts.slow, facts.day + SETTLES_AFTER, np.where(facts.late, arrival, facts.day))
    reversed_ = facts.day + REVERSED_AFTER
    is_settled = settled <= today
    is_reversed = facts.reverses & (reversed_ <= today)
    status = np.where(is_settled, np.where(facts.fails, FAILED, BOOKED), PENDING)
    status = np.where(is_reversed, REVERSED, status)
    event = np.where(is_reversed, reversed_, np.where(is_settled, settled, facts.day))
    return status, settled, event
