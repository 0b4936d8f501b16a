"""What never changes about transactions: account, day, type, category, channel, place."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from datagen import columns as to
from datagen import fraud, standing
from datagen.countries import COUNTRIES
from datagen.rng import Bools, Draws, Ints
from datagen.schedule import BASE_DAY, Plan
from datagen.transactions.holders import Holders, holders_of
from datagen.transactions.kinds import (
    CARD_PAYMENT,
    CASH_DEPOSIT,
    CATEGORIES,
    CHANNEL_CHOICE,
    CHANNELS,
    DIRECT_DEBIT,
    FAILURES_PER_1000,
    REFUND,
    REVERSED_AFTER,
    SHOP_CHOICE,
    TRANSFER_IN,
    TRANSFER_OUT,
    TYPE_CHOICE,
    TYPES,
    category_of_type,
)
from datagen.transactions.occurrence import (
    CLOSING,
    DAYS,
    FIRST,
    FIRST_DAY,
    HONEST,
    LATE,
    MONTHS,
    ORDERS,
    SCHEME,
    SLOTS,
    SPAN,
    weeks_late,
)


@dataclass(frozen=True)
class Scheming:
    """Rows of schemes among others; one value per such row.

    Attributes:
        place: Where they are among all rows.
        day: Day on which they happen.
        act: What they are, as :mod:`datagen.fraud` calls it.
        typology: Position in :data:`~datagen.fraud.TYPOLOGIES`.
        scheme: Number of the scheme.
        partner: Row index of the account on the other side, or -1.
        amount: Amount in euro cents.
    """

    place: Ints
    day: Ints
    act: Ints
    typology: Ints
    scheme: Ints
    partner: Ints
    amount: Ints

    @classmethod
    def among(cls, plan: Plan, index: Ints) -> Scheming:
        """Those rows, of some, that belong to schemes."""
        account, rest = np.divmod(index, SPAN)
        place = np.flatnonzero(rest >= HONEST)
        month, step = np.divmod(rest[place] - HONEST, fraud.STEPS)
        run = account[place] // fraud.RUN
        some = fraud.schemes(plan, run, month)
        partner, day, act, percent = fraud.table()[some.typology, step, 1:].T
        return cls(
            place=place,
            day=FIRST_DAY + month * fraud.MONTH + some.start + day,
            act=act,
            typology=some.typology,
            scheme=run * MONTHS + month,
            partner=np.where(partner >= 0, some.member(np.maximum(partner, 0)), -1),
            amount=some.amount * percent // 100,
        )


@dataclass(frozen=True)
class Facts:
    """What never changes about transactions; one value per row.

    Attributes:
        holders: The accounts that the money moves on.
        birth: Batch in which it arrives.
        day: Day on which it happens.
        slot: Slot of the account's day.
        scheming: Those that belong to schemes.
        late: Whether it arrives weeks after that day.
        kind: Position in ``TYPES``.
        category: Position in ``CATEGORIES``.
        channel: Position in ``CHANNELS``.
        place: Position of the country whose merchants and currency are used.
        slow: Whether it is pending until the next day.
        fails: Whether it fails.
        reverses: Whether it is reversed in the end.
        left: Balance, in cents, that last moves take off closed accounts; one value for each of these.
    """

    holders: Holders
    birth: Ints
    day: Ints
    slot: Ints
    scheming: Scheming
    late: Bools
    kind: Ints
    category: Ints
    channel: Ints
    place: Ints
    slow: Bools
    fails: Bools
    reverses: Bools
    left: Ints

    @property
    def shops(self) -> Bools:
        """Whether a merchant is on the other side."""
        shops: Bools = (self.kind == CARD_PAYMENT) | (self.kind == REFUND)
        return shops


_SCHEME_KIND = np.array([TRANSFER_OUT, TRANSFER_IN, CASH_DEPOSIT, CARD_PAYMENT])
_SCHEME_CHANNEL = np.array([CHANNELS.index(name) for name in ("mobile", "mobile", "branch", "online")])
_NO_ORDERS = [0] * (SCHEME + 1 - ORDERS)
_ORDER_KIND = np.array([TYPES.index(order.kind) for order in standing.ORDERS] + _NO_ORDERS)
_ORDER_CATEGORY = np.array([CATEGORIES.index(order.category) for order in standing.ORDERS] + _NO_ORDERS)


_EARLIEST = FIRST_DAY - 100
"""No transaction happened before that day, not even the latest one."""


@cache
def _summers() -> Ints:
    """1 for days in July and August, by day from ``_EARLIEST`` on."""
    days = np.arange(_EARLIEST, FIRST_DAY + DAYS).astype("datetime64[D]")
    return np.isin(days.astype("datetime64[M]").astype(np.int64) % 12, (6, 7)).astype(np.int64)


def facts_of(plan: Plan, draws: Draws, index: Ints, left: Ints | None = None) -> Facts:
    """What is known of transactions.

    Args:
        plan: Seed and sizes.
        draws: Draws for the rows.
        index: Their row indices.
        left: Balance, in cents, just before each of the last moves that are among them.
    """
    account, rest = np.divmod(index, SPAN)
    arrival, slot = np.divmod(rest, SLOTS)
    arrival += FIRST_DAY
    scheming = Scheming.among(plan, index)
    arrival[scheming.place], slot[scheming.place] = scheming.day, SCHEME
    # Neighbours share an account, so what is known of it is worked out once for all of them.
    fresh = np.concatenate([[True], account[1:] != account[:-1]]) if len(account) else np.empty(0, np.bool_)
    holders = holders_of(plan, account[fresh]).take(np.cumsum(fresh) - 1)
    late = slot == LATE
    day = np.where(late, arrival - weeks_late(plan, index), arrival) if late.any() else arrival
    order = slot < ORDERS
    kind = np.where(order, _ORDER_KIND[slot], TYPE_CHOICE(draws.bits("type"), holders.kind))
    kind[scheming.place] = _SCHEME_KIND[scheming.act]
    kind = np.where(slot == FIRST, TRANSFER_IN, kind)
    left = to.no_rows() if left is None else left
    if len(left):
        kind[slot == CLOSING] = np.where(left > 0, TRANSFER_OUT, TRANSFER_IN)
    shops = (kind == CARD_PAYMENT) | (kind == REFUND)
    summer = _summers().take(day - _EARLIEST)
    category = np.where(
        order,
        _ORDER_CATEGORY[slot],
        np.where(shops, SHOP_CHOICE(draws.bits("shop"), summer), category_of_type()[kind]),
    )
    channel = CHANNEL_CHOICE(draws.bits("channel"), kind)
    channel = np.where(order, CHANNELS.index("system"), channel)
    channel[scheming.place] = _SCHEME_CHANNEL[scheming.act]
    regular = slot <= LATE
    fails = (draws.below("fails", 1000) < FAILURES_PER_1000[channel]) & regular
    settles = (shops | (kind == DIRECT_DEBIT)) & (slot != SCHEME)
    # Nothing is left open when an account is closed.
    reversible = regular & ~late & (day + REVERSED_AFTER < holders.closed)
    abroad = shops & (slot != SCHEME) & draws.chance("abroad", plan.profile.abroad)
    return Facts(
        holders=holders,
        birth=np.maximum(arrival - BASE_DAY, 0),
        day=day,
        slot=slot,
        scheming=scheming,
        late=late,
        kind=kind,
        category=category,
        channel=channel,
        place=np.where(abroad, draws.below("abroad_country", len(COUNTRIES)), holders.country),
        slow=settles & ~late & draws.chance("slow", plan.profile.pending),
        fails=fails,
        reverses=~fails & reversible & draws.chance("reverses", plan.profile.reversed),
        left=left,
    )
