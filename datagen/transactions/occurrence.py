"""Which rows there are: on any account on any day, without all the others."""

from __future__ import annotations

from functools import cache
from math import exp

import numpy as np
import numpy.typing as npt

from datagen import accounts, customers, fraud, standing
from datagen.rng import Bools, Ints
from datagen.schedule import BASE_DAY, HISTORY_DAYS, Plan
from datagen.transactions.holders import LEAST_RATE, LEVELS, LEVELS_PER_OCTAVE, Holders
from datagen.transactions.kinds import NAME

ORDERS = len(standing.ORDERS)
MOST_PER_DAY = 9
"""Greatest number of moves on an account and day apart from standing orders."""
LATE, FIRST, CLOSING = ORDERS + MOST_PER_DAY, ORDERS + MOST_PER_DAY + 1, ORDERS + MOST_PER_DAY + 2
SLOTS = CLOSING + 1
"""Slots of an account's day."""
FIRST_DAY = BASE_DAY - HISTORY_DAYS + 1
DAYS = HISTORY_DAYS + 10_000
HONEST = DAYS * SLOTS
MONTHS = DAYS // fraud.MONTH + 1
SPAN = HONEST + MONTHS * fraud.STEPS
"""Room for one account in a transaction's index: its days, and then the steps of schemes by month."""
SCHEME = SLOTS
"""Stands for the slot of what belongs to a scheme."""
_COUNT_BITS = 12
_CELLS = 32_768
"""Accounts times days that are looked at together, so that they stay in the processor's cache."""
_WEEKDAYS = np.array([-1, -1, 0, 0, 2, 2, -2])
_MONTHS = np.array([-1, -1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2])
"""Quarters of an octave by which rates rise and fall, from Monday, and from January."""


@cache
def _counts() -> npt.NDArray[np.uint8]:
    """Moves of a day by level and random number: Poisson, by inversion; level 0 never moves."""
    size = 1 << _COUNT_BITS
    table = np.zeros((LEVELS, size), dtype=np.uint8)
    for level in range(1, LEVELS):
        rate = LEAST_RATE * 2 ** (level / LEVELS_PER_OCTAVE)
        term = total = exp(-rate)
        edges = []
        for count in range(1, MOST_PER_DAY + 1):
            edges.append(round(total * size))
            term *= rate / count
            total += term
        table[level] = np.searchsorted(np.array(edges), np.arange(size), side="right")
    return table


def index_of(plan: Plan, holders: Holders, first: int, days: int) -> Ints:
    """Row indices, ascending, of what arrives for some accounts on some days, but for their last moves.

    Those follow from balances: see :func:`datagen.transactions.balances.arrivals`.

    Args:
        plan: Seed and sizes.
        holders: The accounts, in ascending order.
        first: First day.
        days: Number of days.
    """
    day = np.arange(first, first + days, dtype=np.int64)
    every, most = np.arange(len(holders.account)), max(1, _CELLS // days)
    parts = (every[low : low + most] for low in range(0, len(every), most))
    found = [_as_they_like(plan, holders.take(part), day) for part in parts]
    for order, due in enumerate(standing.calendars(first, days)):
        if not due.any():
            continue
        row, column = _places(due[standing.slot_of(plan, holders.account, order)])
        account, group = holders.account[row], holders.group[row]
        has = standing.has_order(plan, account, group, order)
        if standing.NAMES[order] == "salary":  # businesses live on what they sell
            has &= holders.segment[row] != customers.SMALL_BUSINESS
        if standing.NAMES[order] == "interest":
            has &= accounts.rate_of(plan, account, holders.kind[row]) > 0
        if standing.ORDERS[order].category not in ("bank_fees", "interest"):
            has &= holders.level[row] > 0
        has &= is_open(holders.opened[row], holders.closed[row], day[column])
        found.append(row_index(account[has], day[column[has]], order))
    if plan.profile.fraud:
        found.append(_of_schemes(plan, holders, first, days))
    if first + days > BASE_DAY + 1:
        later = np.arange(max(first, BASE_DAY + 1), first + days, dtype=np.int64)
        found += [_late(plan, holders, later), _firsts(holders, later)]
    index: Ints = np.concatenate(found)
    index.sort()
    return index


def _of_schemes(plan: Plan, holders: Holders, first: int, days: int) -> Ints:
    """What belongs to schemes, on accounts that are open."""
    months = ((day - FIRST_DAY) // fraud.MONTH for day in (first, first + days - 1))
    account, month, step, day_of_month = fraud.rows_of(plan, holders.account, *months)
    day = FIRST_DAY + month * fraud.MONTH + day_of_month
    place = np.searchsorted(holders.account, account)
    inside = (
        (day >= first) & (day < first + days) & is_open(holders.opened[place], holders.closed[place], day)
    )
    index: Ints = (account * SPAN + HONEST + month * fraud.STEPS + step)[inside]
    return index


def _places(mask: Bools) -> tuple[Ints, Ints]:
    """Rows and columns where ``mask`` holds, as ``np.nonzero`` gives them, but quicker."""
    row, column = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return row, column


def row_index(account: Ints, day: Ints, slot: Ints | int) -> Ints:
    """Row indices of moves that arrive on accounts in slots of days."""
    index: Ints = account * SPAN + (day - FIRST_DAY) * SLOTS + slot
    return index


def is_open(opened: Ints, closed: Ints, day: Ints) -> Bools:
    """Whether accounts are open; an account's first and last day belong to its first and last move."""
    new = opened > BASE_DAY
    open_then: Bools = (opened + new <= day) & (day < closed)
    return open_then


def _as_they_like(plan: Plan, holders: Holders, day: Ints) -> Ints:
    """Moves that follow no order: as many a day as the account's level and the day's season say."""
    cell = holders.account[:, None] * DAYS + (day - FIRST_DAY)
    bits = plan.draws(NAME, cell).bits("count") >> np.uint64(64 - _COUNT_BITS)
    month = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
    season = _WEEKDAYS[(day + 3) % 7] + _MONTHS[month]
    level = np.clip(holders.level[:, None] + season, 1, LEVELS - 1)
    level *= (holders.level > 0)[:, None]
    count = _counts().reshape(-1)[(level << _COUNT_BITS) + bits.astype(np.int64)]
    count *= is_open(holders.opened[:, None], holders.closed[:, None], day)
    row, column = _places(count > 0)
    several = count[row, column].astype(np.int64)
    number = np.arange(several.sum(), dtype=np.int64) - np.repeat(np.cumsum(several) - several, several)
    start = row_index(holders.account[row], day[column], ORDERS)
    index: Ints = np.repeat(start, several) + number
    return index


def _late(plan: Plan, holders: Holders, day: Ints) -> Ints:
    """Moves that arrive weeks after they happened, on accounts that were open by then."""
    cell = holders.account[:, None] * DAYS + (day - FIRST_DAY)
    busy = (holders.level > 0) & ((holders.kind == accounts.CURRENT) | (holders.kind == accounts.CREDIT_CARD))
    row, column = np.nonzero(plan.draws(NAME, cell).chance("late", plan.profile.late) & busy[:, None])
    index = row_index(holders.account[row], day[column], LATE)
    was_open = is_open(holders.opened[row], holders.closed[row], day[column] - weeks_late(plan, index))
    return index[was_open & (day[column] < holders.closed[row])]


def weeks_late(plan: Plan, index: Ints) -> Ints:
    """Days from when late moves happened to when they arrive."""
    days: Ints = 14 + plan.draws(NAME, index).below("weeks_late", 28)
    return days


def _firsts(holders: Holders, day: Ints) -> Ints:
    """First deposits on accounts that are opened on these days."""
    new = (holders.opened >= day[0]) & (holders.opened <= day[-1]) & (holders.kind != accounts.CREDIT_CARD)
    return row_index(holders.account[new], holders.opened[new], FIRST)


def is_late(plan: Plan, index: Ints, batch: int) -> Bools:
    """Whether new rows of a batch happened weeks before it."""
    rest = index % SPAN
    late: Bools = (rest % SLOTS == LATE) & (rest < HONEST)
    return late
