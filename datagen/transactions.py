"""Transactions: money that moves on accounts, day by day.

A row's index holds its account, the day it arrives and a slot of that day: standing orders first, then what
people do as they like, then late arrivals and an account's first and last move. So the rows of any account
on any day are found without the others, and an account's balance can follow them to the cent.

Some transactions are pending first and settle on the next day, a few are reversed six days later, and a
few arrive weeks after they happened.

Sources:

- How often: Poisson counts with log-normal rates (Bulmer, On fitting the Poisson lognormal distribution,
  Biometrics 30, 1974), so that a few accounts make most of the moves.
- How much: log-normal by category (Aitchison and Brown, The Lognormal Distribution, 1957). Mixed, the amounts
  follow the first-digit law (Benford, The law of anomalous numbers, 1938; Nigrini's limits of conformity).
- Merchant categories: ISO 18245. Which merchant: Zipf's law, from the account's own favourite on.
- Currencies: amounts are booked in the account's currency; what was paid in another one is converted by the
  day's rate (see :mod:`datagen.rates`) and named in the description, as on a card statement.
- Days of standing orders: see :mod:`datagen.standing`.
- Medians, shares of types and channels, hours, weekdays and seasons are assumptions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from math import exp, log2

import numpy as np
import numpy.typing as npt
import polars as pl

from datagen import accounts, customers, fraud, rates, schedule, standing
from datagen import columns as to
from datagen.countries import COUNTRIES
from datagen.entity import Entity
from datagen.iban import BANKS_PER_COUNTRY, UNIQUE_DIGITS, iban
from datagen.pools import COMPANIES, MERCHANT_CATEGORIES, MERCHANTS, pools
from datagen.rng import Bools, Choice, Draws, Ints, Quantiles, normal_steps, spread_sample
from datagen.schedule import BASE_DAY, HISTORY_DAYS, Block, Growth, Plan

NAME, PREFIX, WIDTH = "transactions", "T", 16

TYPES = (
    "card_payment", "transfer_in", "transfer_out", "direct_debit", "cash_withdrawal",
    "cash_deposit", "salary", "fee", "interest", "refund",
)  # fmt: skip
(CARD_PAYMENT, TRANSFER_IN, TRANSFER_OUT, DIRECT_DEBIT, CASH_WITHDRAWAL,
 CASH_DEPOSIT, SALARY, FEE, INTEREST, REFUND) = range(len(TYPES))  # fmt: skip
CREDITS = (TRANSFER_IN, CASH_DEPOSIT, SALARY, INTEREST, REFUND)
CHANNELS = ("pos", "online", "mobile", "atm", "branch", "system")
STATUSES = ("booked", "pending", "failed", "reversed")
BOOKED, PENDING, FAILED, REVERSED = range(len(STATUSES))

SHOPS = tuple(MERCHANT_CATEGORIES)
BILLS = ("rent", "utilities", "insurance", "telecom", "subscriptions")
OTHERS = ("transfers", "cash", "salary", "bank_fees", "interest")
CATEGORIES = SHOPS + BILLS + OTHERS

SETTLES_AFTER = 1
REVERSED_AFTER = 6
"""Days from a transaction to its settlement, and to its reversal."""

_TYPE = Choice(
    [72, 6, 8, 0, 8.5, 1.5, 0, 1, 0, 3],
    [0, 52, 44, 0, 0, 4, 0, 0, 0, 0],
    [0, 60, 40, 0, 0, 0, 0, 0, 0, 0],
    [92, 0, 0, 0, 4, 0, 0, 1, 0, 3],
)
"""By account type."""
_CHANNEL = Choice(
    [64, 22, 14, 0, 0, 0],
    [0, 48, 36, 0, 4, 12],
    [0, 44, 46, 0, 10, 0],
    [0, 0, 0, 0, 0, 1],
    [0, 0, 0, 92, 8, 0],
    [0, 0, 0, 45, 55, 0],
    [0, 0, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 1],
    [0, 0, 0, 0, 0, 1],
    [55, 45, 0, 0, 0, 0],
)
"""By transaction type."""
_FAILURES_PER_1000 = np.array([14, 22, 17, 30, 4, 6])
"""By channel."""
_SHOP = Choice([30, 17, 9, 8, 5, 6, 9, 1.4, 1.2, 5, 4, 3], [30, 19, 12, 7, 4, 6, 8, 4, 3.5, 4, 4, 3])
"""By season: July and August, when people travel, are the second one."""
_MERCHANT = Choice([1 / (rank + 1) for rank in range(MERCHANTS)])
_DAY_HOURS = [1, 0.5, 0.4, 0.4, 0.6, 1.5, 3, 6, 8, 8, 8, 9, 11, 10, 8, 8, 9, 11, 12, 10, 8, 6, 4, 2]
_NIGHT_HOURS = [4, 8, 12, 12, 10, 8, 4, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2]
_HOUR = Choice(_DAY_HOURS, _NIGHT_HOURS)
_PRICES = np.array(
    [399, 499, 699, 899, 999, 1099, 1199, 1299, 1399, 1499, 1599, 1799, 1999, 2499, 2999, 3999]
)
_FEES = np.array([150, 250, 290, 390, 490, 690, 990, 1490])
_NET_OF_GROSS = 0.66
"""Share of gross income that is paid out."""
_BY_OTHER_TYPE = {
    TRANSFER_IN: "transfers", TRANSFER_OUT: "transfers", CASH_WITHDRAWAL: "cash", CASH_DEPOSIT: "cash",
    SALARY: "salary", FEE: "bank_fees", INTEREST: "interest",
}  # fmt: skip
_HEADS = (
    "Card payment ", "Incoming transfer", "Outgoing transfer", "Direct debit ", "Cash withdrawal",
    "Cash deposit", "Salary ", "Account fee", "Interest", "Refund ",
)  # fmt: skip


@cache
def _amounts() -> Quantiles:
    """Amounts in euro cents, by category."""
    return Quantiles.lognormal(
        (3_200, 0.75, 90, 60_000),
        (2_800, 0.65, 300, 80_000),
        (5_200, 0.40, 500, 25_000),
        (5_500, 0.70, 500, 150_000),
        (14_000, 1.05, 800, 500_000),
        (1_700, 0.70, 150, 40_000),
        (1_100, 0.90, 120, 30_000),
        (16_000, 0.70, 3_500, 400_000),
        (32_000, 0.90, 3_000, 900_000),
        (2_400, 0.55, 500, 25_000),
        (9_500, 1.05, 500, 800_000),
        (6_000, 0.70, 1_000, 200_000),
        (85_000, 0.35, 25_000, 450_000),
        (8_500, 0.55, 1_000, 90_000),
        (6_000, 0.70, 500, 150_000),
        (3_500, 0.40, 500, 20_000),
        (1_300, 0.45, 199, 9_900),
        (15_000, 1.35, 100, 50_000_000),
        (9_000, 0.65, 1_000, 200_000),
        (240_000, 0.40, 45_000, 3_000_000),
        (450, 0.60, 50, 10_000),
        (900, 1.10, 1, 500_000),
    )


@cache
def _categories() -> Ints:
    """Category by type, for types that have only one."""
    return np.array([CATEGORIES.index(_BY_OTHER_TYPE.get(kind, CATEGORIES[0])) for kind in range(len(TYPES))])


@lru_cache(maxsize=4)
def _labels(seed: int) -> tuple[pl.Series, pl.Series]:
    """Merchants, with a null at the end; and merchants, companies and an empty text as ends of statements."""
    pool = pools(seed)
    ends = pl.concat([pool.merchant.alias("end"), pool.company.alias("end"), pl.Series("end", [""])])
    return pl.concat([pool.merchant.alias("name"), pl.Series("name", [None], dtype=pl.String)]), ends


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

_ROWS_PER_ACCOUNT = 24
"""About as many rows has an account in the history; it decides the size of blocks only."""
_LEVELS = 64
_LEVELS_PER_OCTAVE = 4
_LEAST_RATE = 0.004
_COUNT_BITS = 12
_WEEKDAYS = np.array([-1, -1, 0, 0, 2, 2, -2])
_MONTHS = np.array([-1, -1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 2])
"""Quarters of an octave by which rates rise and fall, from Monday, and from January."""
_CELLS = 2_000_000
"""Accounts times days that are looked at together when balances are added up."""


@cache
def _activity() -> Quantiles:
    """Level of the rate of moves, by account type: median moves a day, and sigma of the logarithm."""
    groups = []
    for median, sigma in ((0.07, 1.0), (0.02, 0.9), (0.006, 0.6), (0.12, 1.0)):
        middle, spread = (_LEVELS_PER_OCTAVE * log2(value) for value in (median / _LEAST_RATE, exp(sigma)))
        groups.append([max(1, min(_LEVELS - 1, round(middle + spread * z))) for z in normal_steps()])
    return Quantiles(groups)


@cache
def _counts() -> npt.NDArray[np.uint8]:
    """Moves of a day by level and random number: Poisson, by inversion; level 0 never moves."""
    size = 1 << _COUNT_BITS
    table = np.zeros((_LEVELS, size), dtype=np.uint8)
    for level in range(1, _LEVELS):
        rate = _LEAST_RATE * 2 ** (level / _LEVELS_PER_OCTAVE)
        term = total = exp(-rate)
        edges = []
        for count in range(1, MOST_PER_DAY + 1):
            edges.append(round(total * size))
            term *= rate / count
            total += term
        table[level] = np.searchsorted(np.array(edges), np.arange(size), side="right")
    return table


@dataclass(frozen=True)
class _Holders:
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

    def take(self, position: Ints) -> _Holders:
        """Some of the accounts, by position; one may come more than once."""
        return _Holders(**{name: getattr(self, name)[position] for name in _Holders.__dataclass_fields__})


def _holders(plan: Plan, account: Ints) -> _Holders:
    customer = accounts.customer_of(plan, account)
    kind = accounts.type_of(plan, account, customer)
    opened = accounts.opened_day(plan, account, customer)
    shift = round(_LEVELS_PER_OCTAVE * log2(plan.profile.activity))
    level = _activity()(plan.draws(NAME, account).bits("activity"), kind)
    second = (kind == accounts.CURRENT) & ~accounts.is_primary(plan, account)
    return _Holders(
        account=account,
        customer=customer,
        country=customers.country_of(plan, customer),
        segment=customers.segment_of(plan, customer),
        kind=kind,
        group=np.where(second, 1, np.array([0, 2, 3, 4])[kind]),
        opened=opened,
        closed=accounts.closed_day(plan, account, opened),
        level=np.where(accounts.is_dormant(plan, account), 0, np.clip(level + shift, 1, _LEVELS - 1)),
    )


def _index(plan: Plan, holders: _Holders, first: int, days: int, *, closing: bool = True) -> Ints:
    """Row indices, ascending, of what arrives for some accounts on some days.

    Args:
        plan: Seed and sizes.
        holders: The accounts, in ascending order.
        first: First day.
        days: Number of days.
        closing: Whether the last move of accounts that are closed is wanted too.
    """
    day = np.arange(first, first + days, dtype=np.int64)
    found = [_as_they_like(plan, holders, day)]
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
        has &= _is_open(holders.opened[row], holders.closed[row], day[column])
        found.append(_join(account[has], day[column[has]], order))
    if plan.profile.fraud:
        found.append(_of_schemes(plan, holders, first, days))
    if first + days > BASE_DAY + 1:
        later = np.arange(max(first, BASE_DAY + 1), first + days, dtype=np.int64)
        found += [_late(plan, holders, later), _firsts(holders, later)]
        if closing:
            found.append(_closings(plan, holders, later))
    index: Ints = np.concatenate(found)
    index.sort()
    return index


def _of_schemes(plan: Plan, holders: _Holders, first: int, days: int) -> Ints:
    """What belongs to schemes, on accounts that are open."""
    months = ((day - FIRST_DAY) // fraud.MONTH for day in (first, first + days - 1))
    account, month, step, day_of_month = fraud.rows_of(plan, holders.account, *months)
    day = FIRST_DAY + month * fraud.MONTH + day_of_month
    place = np.searchsorted(holders.account, account)
    inside = (
        (day >= first) & (day < first + days) & _is_open(holders.opened[place], holders.closed[place], day)
    )
    index: Ints = (account * SPAN + HONEST + month * fraud.STEPS + step)[inside]
    return index


@dataclass(frozen=True)
class _Scheming:
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
    def among(cls, plan: Plan, index: Ints) -> _Scheming:
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


def labels(plan: Plan, index: Ints) -> pl.DataFrame:
    """Which transactions belong to which scheme: the truth that is kept apart from the data."""
    found = _Scheming.among(plan, index)
    return pl.DataFrame(
        {
            "transaction_id": to.join(PREFIX, to.digits(index[found.place] + 1, WIDTH)),
            "typology": to.texts(fraud.TYPOLOGIES, found.typology),
            "scheme_id": to.join("S", to.digits(found.scheme, 12)),
        }
    )


def _places(mask: Bools) -> tuple[Ints, Ints]:
    """Rows and columns where ``mask`` holds, as ``np.nonzero`` gives them, but quicker."""
    row, column = np.divmod(np.flatnonzero(mask), mask.shape[1])
    return row, column


def _join(account: Ints, day: Ints, slot: Ints | int) -> Ints:
    index: Ints = account * SPAN + (day - FIRST_DAY) * SLOTS + slot
    return index


def _is_open(opened: Ints, closed: Ints, day: Ints) -> Bools:
    """Whether accounts are open; an account's first and last day belong to its first and last move."""
    new = opened > BASE_DAY
    is_open: Bools = (opened + new <= day) & (day < closed)
    return is_open


def _as_they_like(plan: Plan, holders: _Holders, day: Ints) -> Ints:
    """Moves that follow no order: as many a day as the account's level and the day's season say."""
    cell = holders.account[:, None] * DAYS + (day - FIRST_DAY)
    bits = plan.draws(NAME, cell).bits("count") >> np.uint64(64 - _COUNT_BITS)
    month = day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12
    season = _WEEKDAYS[(day + 3) % 7] + _MONTHS[month]
    level = np.clip(holders.level[:, None] + season, 1, _LEVELS - 1)
    level *= (holders.level > 0)[:, None]
    count = _counts().reshape(-1)[(level << _COUNT_BITS) + bits.astype(np.int64)]
    count *= _is_open(holders.opened[:, None], holders.closed[:, None], day)
    row, column = _places(count > 0)
    several = count[row, column].astype(np.int64)
    number = np.arange(several.sum(), dtype=np.int64) - np.repeat(np.cumsum(several) - several, several)
    start = _join(holders.account[row], day[column], ORDERS)
    index: Ints = np.repeat(start, several) + number
    return index


def _late(plan: Plan, holders: _Holders, day: Ints) -> Ints:
    """Moves that arrive weeks after they happened, on accounts that were open by then."""
    cell = holders.account[:, None] * DAYS + (day - FIRST_DAY)
    busy = (holders.level > 0) & ((holders.kind == accounts.CURRENT) | (holders.kind == accounts.CREDIT_CARD))
    row, column = np.nonzero(plan.draws(NAME, cell).chance("late", plan.profile.late) & busy[:, None])
    index = _join(holders.account[row], day[column], LATE)
    was_open = _is_open(holders.opened[row], holders.closed[row], day[column] - _weeks_late(plan, index))
    return index[was_open & (day[column] < holders.closed[row])]


def _weeks_late(plan: Plan, index: Ints) -> Ints:
    days: Ints = 14 + plan.draws(NAME, index).below("weeks_late", 28)
    return days


def _firsts(holders: _Holders, day: Ints) -> Ints:
    """First deposits on accounts that are opened on these days."""
    new = (holders.opened >= day[0]) & (holders.opened <= day[-1]) & (holders.kind != accounts.CREDIT_CARD)
    return _join(holders.account[new], holders.opened[new], FIRST)


def _closings(plan: Plan, holders: _Holders, day: Ints) -> Ints:
    """Last moves on accounts that are closed on these days, where there is money left or owed."""
    old = (holders.closed >= day[0]) & (holders.closed <= day[-1])
    account, closed = holders.account[old], holders.closed[old]
    index = _join(account, closed, CLOSING)
    left: Bools = _balance_before_closing(plan, account, closed) != 0
    return index[left]


def _balance_before_closing(plan: Plan, account: Ints, closed: Ints) -> Ints:
    """Balance in cents that accounts have just before their last move."""
    balance = np.zeros_like(account)
    for day in np.unique(closed).tolist():
        on_day = np.flatnonzero(closed == day)
        balance[on_day] = _balance(plan, account[on_day], day - BASE_DAY)
    return balance


def _balance(plan: Plan, account: Ints, batch: int) -> Ints:
    customer = accounts.customer_of(plan, account)
    country, kind = customers.country_of(plan, customer), accounts.type_of(plan, account, customer)
    first = accounts.first_balance(plan, account, country, kind)
    return first + booked_since_birth(plan, account, batch)


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
        holders = _holders(plan, unique)
        total = np.zeros_like(unique)
        for start in range(first, today + 1, max(1, _CELLS // len(unique))):
            days = min(_CELLS // len(unique) or 1, today + 1 - start)
            index = _index(plan, holders, start, days, closing=False)
            if not len(index):
                continue
            moves = _Moves.of(plan, index)
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
    holders = _holders(plan, account)
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
            index = _index(plan, some, first, days)
            if len(index):
                moved = _Moves.of(plan, index).signed_at(BASE_DAY + batch)
                np.subtract.at(opening, np.searchsorted(account, index // SPAN), moved)
    return opening


@dataclass(frozen=True)
class _Facts:
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
    """

    holders: _Holders
    birth: Ints
    day: Ints
    slot: Ints
    scheming: _Scheming
    late: Bools
    kind: Ints
    category: Ints
    channel: Ints
    place: Ints
    slow: Bools
    fails: Bools
    reverses: Bools

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


def _facts(plan: Plan, draws: Draws, index: Ints) -> _Facts:
    account, rest = np.divmod(index, SPAN)
    arrival, slot = np.divmod(rest, SLOTS)
    arrival += FIRST_DAY
    scheming = _Scheming.among(plan, index)
    arrival[scheming.place], slot[scheming.place] = scheming.day, SCHEME
    # Neighbours share an account, so what is known of it is worked out once for all of them.
    fresh = np.concatenate([[True], account[1:] != account[:-1]]) if len(account) else np.empty(0, np.bool_)
    holders = _holders(plan, account[fresh]).take(np.cumsum(fresh) - 1)
    late = slot == LATE
    day = np.where(late, arrival - _weeks_late(plan, index), arrival) if late.any() else arrival
    order = slot < ORDERS
    kind = np.where(order, _ORDER_KIND[slot], _TYPE(draws.bits("type"), holders.kind))
    kind[scheming.place] = _SCHEME_KIND[scheming.act]
    last = slot == CLOSING
    kind = np.where(slot == FIRST, TRANSFER_IN, kind)
    if last.any():
        left = _balance_before_closing(plan, account[last], day[last])
        kind[last] = np.where(left > 0, TRANSFER_OUT, TRANSFER_IN)
    shops = (kind == CARD_PAYMENT) | (kind == REFUND)
    summer = np.isin(day.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12, (6, 7))
    category = np.where(
        order,
        _ORDER_CATEGORY[slot],
        np.where(shops, _SHOP(draws.bits("shop"), summer.astype(np.int64)), _categories()[kind]),
    )
    channel = _CHANNEL(draws.bits("channel"), kind)
    channel = np.where(order, CHANNELS.index("system"), channel)
    channel[scheming.place] = _SCHEME_CHANNEL[scheming.act]
    regular = slot <= LATE
    fails = (draws.below("fails", 1000) < _FAILURES_PER_1000[channel]) & regular
    settles = (shops | (kind == DIRECT_DEBIT)) & (slot != SCHEME)
    # Nothing is left open when an account is closed.
    reversible = regular & ~late & (day + REVERSED_AFTER < holders.closed)
    abroad = shops & (slot != SCHEME) & draws.chance("abroad", plan.profile.abroad)
    return _Facts(
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
    )


@dataclass(frozen=True)
class _Moves:
    """Transactions with their amounts.

    Attributes:
        facts: What never changes about them.
        amount: Amount in cents of the account's currency.
        paid: Amount in cents of the place's currency.
    """

    facts: _Facts
    amount: Ints
    paid: Ints

    @classmethod
    def of(cls, plan: Plan, index: Ints) -> _Moves:
        draws = plan.draws(NAME, index)
        facts = _facts(plan, draws, index)
        return cls(facts, *_amounts_of(plan, draws, facts))

    def signed_at(self, today: int | Ints) -> Ints:
        """What is booked by the end of a day, in cents; negative for debits."""
        status, _, _ = _lifecycle(self.facts, today)
        arrived = self.facts.birth + BASE_DAY <= today
        signed = np.where(np.isin(self.facts.kind, CREDITS), self.amount, -self.amount)
        return np.where((status == BOOKED) & arrived, signed, 0)


def is_late(plan: Plan, index: Ints, batch: int) -> Bools:
    """Whether new rows of a batch happened weeks before it."""
    rest = index % SPAN
    late: Bools = (rest % SLOTS == LATE) & (rest < HONEST)
    return late


def _accounts_per_block(batch: int) -> int:
    return max(1, schedule.BLOCK_ROWS // (1 if batch else _ROWS_PER_ACCOUNT))


def blocks(plan: Plan, batch: int) -> int:
    """Number of blocks in a batch."""
    return -(-plan.accounts.end(batch) // _accounts_per_block(batch))


def block(plan: Plan, batch: int, number: int) -> Block:
    """Row indices of one block: all that happens on some accounts, first what changes."""
    # First accounts see the most moves and come first; each block gets its share of them.
    account = np.arange(number, plan.accounts.end(batch), blocks(plan, batch), dtype=np.int64)
    holders = _holders(plan, account)
    if batch == 0:
        return Block(_index(plan, holders, FIRST_DAY, HISTORY_DAYS))
    today = BASE_DAY + batch
    changed = []
    for after in (REVERSED_AFTER, SETTLES_AFTER):
        index = _index(plan, holders, today - after, 1, closing=False)
        facts = _facts(plan, plan.draws(NAME, index), index)
        changed.append(index[facts.slow if after == SETTLES_AFTER else facts.reverses])
    both = np.concatenate(changed)
    return Block(np.concatenate([np.sort(both), _index(plan, holders, today, 1)]), len(both))


def _existing_accounts(batch: int) -> int:
    """Accounts in a block of a snapshot."""
    return max(1, schedule.BLOCK_ROWS * HISTORY_DAYS // (_ROWS_PER_ACCOUNT * (HISTORY_DAYS + batch)))


def existing_blocks(plan: Plan, batch: int) -> int:
    """Number of blocks in a snapshot."""
    return -(-plan.accounts.end(batch) // _existing_accounts(batch))


def existing(plan: Plan, batch: int, number: int) -> Block:
    """Row indices of one block of a snapshot: all that has happened on some accounts."""
    account = np.arange(number, plan.accounts.end(batch), existing_blocks(plan, batch), dtype=np.int64)
    holders = _holders(plan, account)
    if batch == 0:
        return Block(_index(plan, holders, FIRST_DAY, HISTORY_DAYS))
    old = _index(plan, holders, FIRST_DAY, HISTORY_DAYS + batch - 1)
    return Block(np.concatenate([old, _index(plan, holders, BASE_DAY + batch, 1)]), len(old))


def gone(plan: Plan, batch: int) -> Ints:
    """Row indices of the transactions on accounts whose holders leave in a batch."""
    account, most = accounts.gone(plan, batch), _existing_accounts(batch)
    found = [to.no_rows()]
    for low in range(0, len(account), most):
        holders = _holders(plan, account[low : low + most])
        found.append(_index(plan, holders, FIRST_DAY, HISTORY_DAYS + batch - 1))
    return np.concatenate(found)


def earlier(plan: Plan, batch: int, number: int, count: int) -> Ints:
    """Up to ``count`` distinct rows from before ``batch``; others for each block of it."""
    if number >= blocks(plan, batch - 1):
        return to.no_rows()
    index = block(plan, batch - 1, number).index
    count = min(count, len(index))
    chosen = plan.draws(f"{NAME}/earlier/{batch}/{number}", np.arange(count, dtype=np.int64))
    return index[spread_sample(chosen, count, len(index))]


def rows(plan: Plan, index: Ints, batch: int, keys: Ints | None = None) -> pl.DataFrame:
    """Transactions as they stand at the end of ``batch``; see :class:`~datagen.entity.Rows`."""
    draws = plan.draws(NAME, index)
    keys = index + 1 if keys is None else keys
    facts = _facts(plan, draws, index)
    amount, paid = _amounts_of(plan, draws, facts)
    holders, shops = facts.holders, facts.shops
    status, booked, event = _lifecycle(facts, BASE_DAY + batch)
    bills = (facts.kind == DIRECT_DEBIT) | (facts.kind == SALARY)
    merchants, ends = _labels(plan.seed)
    no_merchant, no_end = len(merchants) - 1, len(ends) - 1
    favourite = plan.draws(NAME, holders.account).below("favourite", MERCHANTS)
    rank = (favourite + _MERCHANT(draws.bits("merchant"))) % MERCHANTS
    merchant = (facts.place * len(SHOPS) + facts.category) * MERCHANTS + rank
    # The same company every month.
    company = plan.draws(NAME, holders.account * SLOTS + facts.slot).below("company", COMPANIES)
    company += no_merchant + holders.country * COMPANIES
    second = _second(draws, facts)
    return pl.DataFrame(
        {
            "transaction_id": to.join(PREFIX, to.digits(keys, WIDTH)),
            "account_id": to.join(accounts.PREFIX, to.digits(holders.account + 1, accounts.WIDTH)),
            "transaction_at": to.timestamps(facts.day, second),
            "booking_date": to.either((status == BOOKED) | (status == REVERSED), to.dates(booked)),
            "transaction_type": to.texts(TYPES, facts.kind),
            "direction": to.texts(("debit", "credit"), np.isin(facts.kind, CREDITS).astype(np.int64)),
            "channel": to.texts(CHANNELS, facts.channel),
            "merchant_name": merchants.gather(np.where(shops, merchant, no_merchant)),
            "merchant_category_code": to.texts(_CODES, facts.category),
            "category": to.texts(CATEGORIES, facts.category),
            "amount": to.money(amount),
            "currency": to.texts(_CURRENCIES, holders.country),
            "counterparty_iban": _counterparty(plan, facts),
            "description": to.join(
                to.texts(_HEADS, facts.kind),
                ends.gather(np.where(shops, merchant, np.where(bills, company, no_end))),
                _conversion(plan, facts, paid),
            ),
            "status": to.texts(STATUSES, status),
            "updated_at": to.timestamps(event, _updated_second(draws, facts, event, second)),
        }
    )


_CARD_TESTING, _TAKEOVER = (fraud.TYPOLOGIES.index(name) for name in ("card_testing", "account_takeover"))
_CODES = tuple(code for code, _ in MERCHANT_CATEGORIES.values()) + (None,) * len(BILLS + OTHERS)
_CURRENCIES = tuple(item.currency for item in COUNTRIES)
_RATE_ROW = np.array([list(rates.PER_EURO).index(currency) for currency in _CURRENCIES])


def _lifecycle(facts: _Facts, today: int | Ints) -> tuple[Ints, Ints, Ints]:
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


def _amounts_of(plan: Plan, draws: Draws, facts: _Facts) -> tuple[Ints, Ints]:
    """Amounts in cents: in the account's currency, and as paid in the place's currency."""
    holders = facts.holders
    level = np.array([item.price_level for item in COUNTRIES])[facts.place]
    paid: Ints = np.maximum(_amounts()(draws.bits("amount"), facts.category) * level // 100, 1)
    cash = (facts.kind == CASH_WITHDRAWAL) | (facts.kind == CASH_DEPOSIT)
    notes: Ints = np.maximum(paid // 1000, 1) * 1000
    paid = np.where(cash, notes, paid)
    order = np.flatnonzero(facts.slot < ORDERS)
    if len(order):
        paid[order] = _order_amount(plan, facts, order)
    for slot, amount_of in ((FIRST, _first_deposit), (CLOSING, _last_amount)):
        place = np.flatnonzero(facts.slot == slot)
        if len(place):
            paid[place] = amount_of(plan, holders.take(place))
    scheming = facts.scheming
    if len(scheming.place):
        per_euro = rates.walk(plan.seed, DAYS)
        rate = per_euro[_RATE_ROW[holders.country[scheming.place]], scheming.day - FIRST_DAY]
        paid[scheming.place] = np.maximum(scheming.amount * rate // 1_000_000, 1)
    amount = paid
    foreign = np.flatnonzero(_RATE_ROW[facts.place] != _RATE_ROW[holders.country])
    if len(foreign):
        per_euro = rates.walk(plan.seed, DAYS)
        day = facts.day[foreign] - FIRST_DAY
        home = per_euro[_RATE_ROW[holders.country[foreign]], day]
        there = per_euro[_RATE_ROW[facts.place[foreign]], day]
        amount = paid.copy()
        amount[foreign] = np.maximum((2 * paid[foreign] * home + there) // (2 * there), 1)
    return amount, paid


def _order_amount(plan: Plan, facts: _Facts, place: Ints) -> Ints:
    """Amounts of standing orders: the same every month, but for card settlements and what is used up."""
    holders, slot = facts.holders.take(place), facts.slot[place]
    level = np.array([item.price_level for item in COUNTRIES])[holders.country]
    standing_draws = plan.draws(NAME, holders.account * SLOTS + slot)
    bits = standing_draws.bits("order")
    amount = _amounts()(bits, facts.category[place]) * level // 100
    name = np.array(standing.NAMES)[slot]
    net = customers.first_income(plan, holders.customer, holders.country, holders.segment)
    net = net * round(1000 * _NET_OF_GROSS) // 12_000
    some = standing_draws.below("part", 1000)
    amount = np.where(name == "salary", net * (950 + some // 20) // 1000, amount)
    amount = np.where(name == "rent", net * (220 + some // 4) // 1000 // 500 * 500, amount)
    amount = np.where(name == "household", net * (250 + some // 5) // 1000 // 1000 * 1000, amount)
    subscription = facts.category[place] == CATEGORIES.index("subscriptions")
    amount = np.where(subscription, _PRICES[some % len(_PRICES)] * level // 100, amount)
    amount = np.where(name == "account_fee", _FEES[some % len(_FEES)] * level // 100, amount)
    saving = (name == "saving") | (name == "deposit")
    amount = np.where(saving, (1 + some * some // 25_000) * 2_500 * level // 100 // 500 * 500, amount)
    used = plan.draws(NAME, _join(holders.account, facts.day[place], slot)).below("used", 400)
    varies = (name == "card_settlement") | (name == "utilities")
    amount = np.where(varies, amount * (800 + used) // 1000, amount)
    balance = accounts.first_balance(plan, holders.account, holders.country, holders.kind)
    interest = balance * accounts.rate_of(plan, holders.account, holders.kind) // 12_000_000
    amount = np.where(name == "interest", interest, amount)
    return np.maximum(amount, 1)


def _first_deposit(plan: Plan, holders: _Holders) -> Ints:
    return accounts.first_balance(plan, holders.account, holders.country, holders.kind)


def _last_amount(plan: Plan, holders: _Holders) -> Ints:
    # A row that borrows this one as a template for dirt may have nothing left: it still needs an amount.
    left: Ints = np.maximum(np.abs(_balance_before_closing(plan, holders.account, holders.closed)), 1)
    return left


def _conversion(plan: Plan, facts: _Facts, paid: Ints) -> pl.Series:
    """What was paid in a foreign currency, and at which rate; empty for others."""
    foreign = np.flatnonzero(_RATE_ROW[facts.place] != _RATE_ROW[facts.holders.country])
    texts = pl.repeat("", len(paid), eager=True)
    if not len(foreign):
        return texts
    per_euro = rates.walk(plan.seed, DAYS)
    day = facts.day[foreign] - FIRST_DAY
    home = per_euro[_RATE_ROW[facts.holders.country[foreign]], day]
    there = per_euro[_RATE_ROW[facts.place[foreign]], day]
    text = to.join(
        ", ",
        to.money(paid[foreign]).cast(pl.String),
        " ",
        to.texts(_CURRENCIES, facts.place[foreign]),
        " at ",
        to.rate(1_000_000 * home // there).cast(pl.String),
    )
    return texts.scatter(foreign, text)


def _counterparty(plan: Plan, facts: _Facts) -> pl.Series:
    """The other side of transfers: the same one every month for standing orders."""
    transfers = (facts.kind == TRANSFER_IN) | (facts.kind == TRANSFER_OUT)
    account, slot = facts.holders.account[transfers], facts.slot[transfers]
    when = np.where(slot < ORDERS, 0, facts.day[transfers])
    draws = plan.draws(f"{NAME}/counterparty", _join(account, when + FIRST_DAY, slot))
    home = facts.holders.country[transfers]
    country = np.where(draws.chance("foreign", 0.08), draws.below("foreign_country", len(COUNTRIES)), home)
    bank = draws.below("bank", BANKS_PER_COUNTRY)
    number = draws.below("counterparty", 10**UNIQUE_DIGITS)
    known = facts.scheming.partner >= 0
    if known.any():
        partner = facts.scheming.partner[known]
        place = np.searchsorted(np.flatnonzero(transfers), facts.scheming.place[known])
        country[place] = customers.country_of(plan, accounts.customer_of(plan, partner))
        bank[place] = 0
        number[place] = accounts.number_of(plan, partner)
    return to.scatter(transfers, iban(country, bank, number))


def _second(draws: Draws, facts: _Facts) -> Ints:
    by_itself = (facts.channel == CHANNELS.index("system")).astype(np.int64)
    hour = _HOUR(draws.bits("hour"), by_itself)
    night = np.isin(facts.scheming.typology, (_CARD_TESTING, _TAKEOVER))
    hour[facts.scheming.place[night]] = 3
    # The last minute of a day is left to the updates that follow a transaction.
    second: Ints = np.minimum(hour * 3600 + draws.below("second", 3600), to.SECONDS_PER_DAY - 60)
    return second


def _updated_second(draws: Draws, facts: _Facts, event: Ints, second: Ints) -> Ints:
    """At once on the day itself, in the night run when it settles, by day when someone reverses it."""
    night = 2 * 3600 + draws.below("updated_second", 3 * 3600)
    seconds = np.where(event == facts.day, second + draws.below("delay", 50), night)
    return np.where(facts.reverses & (event == facts.day + REVERSED_AFTER), night + 8 * 3600, seconds)


def _growth(plan: Plan) -> Growth:
    return plan.accounts


TRANSACTIONS = Entity(
    name=NAME,
    prefix=PREFIX,
    width=WIDTH,
    growth=_growth,
    blocks=blocks,
    block=block,
    rows=rows,
    earlier=earlier,
    labels=labels,
    older=pl.concat_str(pl.col("description"), pl.lit(" (draft)")).alias("description"),
    owner=lambda plan, index: accounts.customer_of(plan, index // SPAN),
    existing_blocks=existing_blocks,
    existing=existing,
    gone=gone,
    is_late=is_late,
)
