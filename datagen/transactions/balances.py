"""What transactions add up to on an account."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from datagen import accounts, customers
from datagen import columns as to
from datagen.rng import Ints
from datagen.schedule import BASE_DAY, HISTORY_DAYS, Plan
from datagen.transactions.amounts import amounts_of
from datagen.transactions.facts import Facts, facts_of
from datagen.transactions.holders import Holders, holders_of
from datagen.transactions.kinds import BOOKED, CREDITS, NAME, REVERSED_AFTER
from datagen.transactions.lifecycle import lifecycle
from datagen.transactions.occurrence import CLOSING, FIRST_DAY, HONEST, SLOTS, SPAN, index_of, row_index

_CELLS = 2_000_000
"""Accounts times days that are looked at together when balances are added up."""


@dataclass(frozen=True)
class Moves:
    """Transactions with their amounts.

    Attributes:
        facts: What never changes about them.
        amount: Amount in cents of the account's currency.
        paid: Amount in cents of the place's currency.
    """

    facts: Facts
    amount: Ints
    paid: Ints

    @classmethod
    def of(cls, plan: Plan, index: Ints, left: Ints | None = None) -> Moves:
        """Transactions by row index; see :func:`~datagen.transactions.facts.facts_of`."""
        draws = plan.draws(NAME, index)
        facts = facts_of(plan, draws, index, left)
        return cls(facts, *amounts_of(plan, draws, facts))

    def signed_at(self, today: int | Ints) -> Ints:
        """What is booked by the end of a day, in cents; negative for debits."""
        status, _, _ = lifecycle(self.facts, today)
        arrived = self.facts.birth + BASE_DAY <= today
        signed = np.where(np.isin(self.facts.kind, CREDITS), self.amount, -self.amount)
        return np.where((status == BOOKED) & arrived, signed, 0)


def booked_since_birth(plan: Plan, account: Ints, batch: int) -> Ints:
    """Change of the booked balance, in cents, from when accounts were first known to the end of ``batch``.

    The last move of a closed account, which follows from its balance, is left out.

    Args:
        plan: Seed and sizes.
        account: Row indices of accounts, in any order.
        batch: Batch number.
    """
    changes = np.zeros_like(account)
    today = BASE_DAY + batch
    # What was reversed or settled later was there by then: look back as far as the longest delay.
    first = BASE_DAY - REVERSED_AFTER + 1
    order = np.argsort(account, kind="stable")
    most = max(1, _CELLS // (today - first + 1))
    for low in range(0, len(account), most):
        some = order[low : low + most]
        unique, position = np.unique(account[some], return_inverse=True)
        holders = holders_of(plan, unique)
        total = np.zeros_like(unique)
        for start in range(first, today + 1, max(1, _CELLS // len(unique))):
            days = min(_CELLS // len(unique) or 1, today + 1 - start)
            index = index_of(plan, holders, start, days)
            if not len(index):
                continue
            moves = Moves.of(plan, index)
            birth = BASE_DAY + plan.accounts.birth(moves.facts.holders.account)
            difference = moves.signed_at(today) - moves.signed_at(birth)
            np.add.at(total, np.searchsorted(unique, index // SPAN), difference)
        changes[some] = total[position]
    return changes


def opening_balance(plan: Plan, account: Ints) -> Ints:
    """Balance in cents before anything moved: at the start of the history, or when the account was opened.

    With all that is booked since, it makes up the balance at any later time.

    Args:
        plan: Seed and sizes.
        account: Row indices of accounts, ascending.
    """
    holders = holders_of(plan, account)
    birth = plan.accounts.birth(account)
    closed = holders.closed <= BASE_DAY
    known = accounts.first_balance(plan, account, holders.country, holders.kind)
    opening = np.where(closed, 0, known)
    for batch in np.unique(birth).tolist():
        born = np.flatnonzero(birth == batch)
        first, days = (BASE_DAY + batch, 1) if batch else (FIRST_DAY, HISTORY_DAYS)
        most = max(1, _CELLS // days)
        for low in range(0, len(born), most):
            some = holders.take(born[low : low + most])
            index = arrivals(plan, some, first, days)
            if len(index):
                moved = Moves.of(plan, index, left_at_closing(plan, index)).signed_at(BASE_DAY + batch)
                np.subtract.at(opening, np.searchsorted(account, index // SPAN), moved)
    return opening


def _balance(plan: Plan, account: Ints, batch: int) -> Ints:
    customer = accounts.customer_of(plan, account)
    country, kind = customers.country_of(plan, customer), accounts.type_of(plan, account, customer)
    first = accounts.first_balance(plan, account, country, kind)
    return first + booked_since_birth(plan, account, batch)


def _before_closing(plan: Plan, account: Ints, closed: Ints) -> Ints:
    """Balance in cents that accounts have just before their last move."""
    balance = np.zeros_like(account)
    for day in np.unique(closed).tolist():
        on_day = np.flatnonzero(closed == day)
        balance[on_day] = _balance(plan, account[on_day], day - BASE_DAY)
    return balance


def _closings(plan: Plan, holders: Holders, day: Ints) -> Ints:
    """Last moves on accounts that are closed on these days, where there is money left or owed."""
    old = (holders.closed >= day[0]) & (holders.closed <= day[-1])
    account, closed = holders.account[old], holders.closed[old]
    index = row_index(account, closed, CLOSING)
    some: Ints = index[_before_closing(plan, account, closed) != 0]
    return some


def arrivals(plan: Plan, holders: Holders, first: int, days: int) -> Ints:
    """Row indices, ascending, of all that arrives for some accounts on some days.

    Args:
        plan: Seed and sizes.
        holders: The accounts, in ascending order.
        first: First day.
        days: Number of days.
    """
    index = index_of(plan, holders, first, days)
    if first + days <= BASE_DAY + 1:
        return index
    later = np.arange(max(first, BASE_DAY + 1), first + days, dtype=np.int64)
    index = np.concatenate([index, _closings(plan, holders, later)])
    index.sort()
    return index


def left_at_closing(plan: Plan, index: Ints) -> Ints:
    """Balance, in cents, just before each of the last moves of closed accounts among some rows."""
    account, rest = np.divmod(index, SPAN)
    last = (rest % SLOTS == CLOSING) & (rest < HONEST)
    if not last.any():
        return to.no_rows()
    return _before_closing(plan, account[last], FIRST_DAY + rest[last] // SLOTS)
