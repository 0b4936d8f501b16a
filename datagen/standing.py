"""Standing orders: salaries, rents, subscriptions and all that happens on an account once a month.

Each account has at most one order of each kind, on the same nominal day of every month. Of 28 neighbouring
accounts each takes another slot of the kind's calendar, so that the accounts that are due on a day are found
without asking all the others (the same trick as the due days of loans).

Sources: direct debits are collected on business days, moved to the next one (EPC016, the SEPA core direct
debit rulebook); that salaries move to the business day before is the custom of most employers. Which days of
the month are popular, and how many accounts have which order, are assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from datagen.rng import Bools, Ints
from datagen.schedule import Plan

SLOTS = 28
"""Slots of a calendar."""

LAST = 31
"""Nominal day that stands for the last one of a month."""


@dataclass(frozen=True)
class Order:
    """One kind of standing order.

    Attributes:
        name: What it is.
        kind: Transaction type.
        category: Spending or income category.
        days: Nominal days of the month with the number of slots (of 28) that use each.
        shares: Per 1000 accounts that have it, by kind of account: a customer's first current account,
            further current accounts, savings, term deposits, credit cards.
        before: Whether it moves to the business day before a weekend instead of the one after it.
    """

    name: str
    kind: str
    category: str
    days: tuple[tuple[int, int], ...]
    shares: tuple[int, int, int, int, int]
    before: bool = False


_SPREAD = tuple((day, 1) for day in range(1, SLOTS + 1))
_EARLY = ((1, 14), (2, 4), (3, 6), (5, 4))

ORDERS = (
    Order("salary", "salary", "salary", ((LAST, 8), (25, 8), (28, 5), (1, 4), (15, 3)),
          (760, 80, 0, 0, 0), before=True),
    Order("rent", "direct_debit", "rent", _EARLY, (560, 90, 0, 0, 0)),
    Order("utilities", "direct_debit", "utilities", _SPREAD, (620, 80, 0, 0, 0)),
    Order("insurance", "direct_debit", "insurance", _EARLY, (520, 60, 0, 0, 0)),
    Order("telecom", "direct_debit", "telecom", _SPREAD, (700, 90, 0, 0, 0)),
    Order("video", "direct_debit", "subscriptions", _SPREAD, (430, 60, 0, 0, 60)),
    Order("music", "direct_debit", "subscriptions", _SPREAD, (260, 40, 0, 0, 30)),
    Order("sports", "direct_debit", "subscriptions", _SPREAD, (180, 20, 0, 0, 0)),
    Order("account_fee", "fee", "bank_fees", ((LAST, SLOTS),), (330, 330, 0, 40, 250)),
    Order("interest", "interest", "interest", ((LAST, SLOTS),), (900, 900, 900, 950, 0)),
    Order("saving", "transfer_out", "transfers", _EARLY, (270, 60, 0, 0, 0)),
    Order("household", "transfer_out", "transfers", _EARLY, (450, 0, 0, 0, 0)),
    Order("deposit", "transfer_in", "transfers", _EARLY, (0, 0, 420, 120, 0)),
    Order("card_settlement", "transfer_in", "transfers", _SPREAD, (0, 0, 0, 0, 820)),
)  # fmt: skip
"""All kinds, in the order of their slots in a transaction's index."""

NAMES = tuple(order.name for order in ORDERS)
GROUPS = 5
"""Kinds of account that :attr:`Order.shares` knows."""


@lru_cache(maxsize=8)
def calendars(first_day: int, days: int) -> tuple[Bools, ...]:
    """For each order, whether it is due: one row per slot, one column per day.

    Args:
        first_day: First day, counted from 1970-01-01.
        days: Number of days.
    """
    return tuple(_calendar(order, first_day, days) for order in ORDERS)


def _calendar(order: Order, first_day: int, days: int) -> Bools:
    due = np.zeros((SLOTS, days), dtype=np.bool_)
    slots = np.repeat([day for day, _ in order.days], [count for _, count in order.days])
    month = (np.array([first_day]).astype("datetime64[D]")).astype("datetime64[M]")
    # Orders of the months around move over the edge when it falls on a weekend.
    for one in range(-1, days // 28 + 3):
        start = int((month + one).astype("datetime64[D]").astype(np.int64)[0])
        length = int((month + one + 1).astype("datetime64[D]").astype(np.int64)[0]) - start
        nominal = start + np.minimum(slots, length) - 1
        column = business_day(nominal, before=order.before) - first_day
        inside = (column >= 0) & (column < days)
        due[np.flatnonzero(inside), column[inside]] = True
    return due


def business_day(day: Ints, *, before: bool) -> Ints:
    """The days themselves, or the nearest weekdays before or after those on a weekend.

    >>> business_day(np.array([20_000, 20_001, 20_002]), before=True).tolist()  # a Thursday and on
    [20000, 20001, 20001]
    """
    weekday = (day + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    shift = np.array([0, 0, 0, 0, 0, -1, -2] if before else [0, 0, 0, 0, 0, 2, 1])
    moved: Ints = day + shift[weekday]
    return moved


def slot_of(plan: Plan, account: Ints, order: int) -> Ints:
    """Slot of each account in the calendar of an order."""
    run, place = np.divmod(account, SLOTS)
    offset = plan.draws(f"standing/{NAMES[order]}", run).below("slot", SLOTS)
    slot: Ints = (place + offset) % SLOTS
    return slot


def has_order(plan: Plan, account: Ints, group: Ints, order: int) -> Bools:
    """Whether accounts have an order; the very first account of the bank always pays its fee."""
    shares = np.array(ORDERS[order].shares)[group]
    drawn = plan.draws(f"standing/{NAMES[order]}", account).below("has", 1000)
    has: Bools = (drawn < shares) | ((account == 0) & (NAMES[order] == "account_fee"))
    return has
