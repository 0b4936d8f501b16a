"""Accounts: one for each customer on joining, and some more later; what they are depends on the segment.

Sources: IBANs and their check digits are those of ISO 13616. Balances are log-normal by kind of account (as
wealth below its top is; Aitchison and Brown, The Lognormal Distribution, 1957); medians, the mix of products
and the share of closed accounts are assumptions. A balance is drawn for the day an account is first known;
later it follows the booked transactions to the cent.
"""

from __future__ import annotations

from functools import cache, lru_cache

import numpy as np

from datagen import columns as to
from datagen import customers
from datagen.countries import COUNTRIES
from datagen.entity import Entity
from datagen.iban import UNIQUE_DIGITS, iban, unique_number
from datagen.rng import Bools, Choice, Draws, Ints, Quantiles, stream_key
from datagen.schedule import (
    BASE_DAY,
    Growth,
    Numbered,
    Plan,
    Rotation,
)

NAME, PREFIX, WIDTH = "accounts", "A", 12

TYPES = ("current", "savings", "term_deposit", "credit_card")
CURRENT, SAVINGS, TERM_DEPOSIT, CREDIT_CARD = range(len(TYPES))
STATUSES = ("active", "dormant", "frozen", "closed")
ACTIVE, DORMANT, FROZEN, CLOSED = range(len(STATUSES))
CHANNELS = ("branch", "online", "mobile")
BRANCHES = tuple(f"BR{number:03d}" for number in range(1, 21))
NEXT_BRANCH = dict(zip(BRANCHES, (*BRANCHES[1:], BRANCHES[0]), strict=True))

NEVER = np.iinfo(np.int64).max
"""Day of something that does not happen."""

_SECOND_TYPE = Choice([25, 45, 10, 20], [18, 40, 20, 22], [10, 32, 38, 20], [42, 28, 12, 18])
"""By segment."""
_CHANNEL = Choice([35, 40, 25])
_BRANCH = Choice([30 / (rank + 3) for rank in range(len(BRANCHES))])
_SPECIAL = Choice([92.5, 5, 1, 1.5])
_RATES = {
    CURRENT: (0, 0, 0, 2500),
    SAVINGS: (5000, 10000, 15000, 17500),
    TERM_DEPOSIT: (20000, 25000, 30000, 32500),
    CREDIT_CARD: (149000, 169000, 189000, 219000),
}
"""Yearly rates in millionths, by account type."""


@cache
def _balances() -> Quantiles:
    """Balances in euro cents, by account type; owed on credit cards."""
    return Quantiles.lognormal(
        (180_000, 1.2, 0, 30_000_000),
        (750_000, 1.3, 100, 100_000_000),
        (2_000_000, 0.8, 100_000, 100_000_000),
        (65_000, 1.0, 0, 1_500_000),
    )


def customer_of(plan: Plan, index: Ints) -> Ints:
    """Index of the customer who holds each account.

    The first accounts of each batch belong to its new customers, one each; the others to any customer.
    """
    growth, holders = plan.accounts, plan.customers
    birth = growth.birth(index)
    later = birth > 0
    position = index - np.where(later, growth.initial + (birth - 1) * growth.daily, 0)
    first = np.where(later, holders.initial + (birth - 1) * holders.daily, 0)
    primary = position < np.where(later, holders.daily, holders.initial)
    anyone = plan.draws(NAME, index).below("customer", holders.initial + birth * holders.daily)
    return np.where(primary, first + position, anyone)


def is_primary(plan: Plan, index: Ints) -> Bools:
    """Whether an account is the first one of its customer."""
    growth, holders = plan.accounts, plan.customers
    birth = growth.birth(index)
    position = index - np.where(birth > 0, growth.initial + (birth - 1) * growth.daily, 0)
    primary: Bools = position < np.where(birth > 0, holders.daily, holders.initial)
    return primary


def type_of(plan: Plan, index: Ints, customer: Ints) -> Ints:
    """Position of each account's type in ``TYPES``; first accounts are current accounts."""
    segment = customers.segment_of(plan, customer)
    second = _SECOND_TYPE(plan.draws(NAME, index).bits("type"), segment)
    return np.where(is_primary(plan, index), CURRENT, second)


def opened_day(plan: Plan, index: Ints, customer: Ints) -> Ints:
    """Day on which each account was opened; never before its customer joined."""
    joined = customers.onboarding_day(plan, customer)
    later = plan.draws(NAME, index).below("opened", np.maximum(BASE_DAY - joined, 0) + 1)
    history = np.where(is_primary(plan, index), joined, joined + later)
    birth = plan.accounts.birth(index)
    return np.where(birth > 0, BASE_DAY + birth, history)


def closed_day(plan: Plan, index: Ints, opened: Ints) -> Ints:
    """Day on which each account is closed, or ``NEVER``."""
    draws = plan.draws(NAME, index)
    rotation = _rotation(plan)
    last_version = 1 + draws.below("closing_version", 6)
    later = np.where(
        draws.chance("closes_later", 0.08), BASE_DAY + rotation.batch_of(index, last_version), NEVER
    )
    early = BASE_DAY - draws.below("closed", np.maximum(BASE_DAY - opened, 0) + 1)
    closed = np.where((_SPECIAL(draws.bits("status")) == CLOSED) & (opened < BASE_DAY), early, later)
    # The bank never closes its very first account, so that something moves in the smallest bank.
    return np.where(index == 0, NEVER, closed)


def is_dormant(plan: Plan, index: Ints) -> Bools:
    """Whether accounts lay dormant in the initial load; nothing but fees and interest moves on them."""
    dormant: Bools = _SPECIAL(plan.draws(NAME, index).bits("status")) == DORMANT
    return dormant


def _rotation(plan: Plan) -> Rotation:
    return Rotation(plan, NAME, plan.accounts)


@lru_cache(maxsize=2)
def _changed(plan: Plan, batch: int) -> Ints:
    """Accounts that change in a batch; closed ones rest."""
    if batch == 0:
        return to.no_rows()
    index = _rotation(plan).changed(batch)
    opened = opened_day(plan, index, customer_of(plan, index))
    return index[closed_day(plan, index, opened) >= BASE_DAY + batch]


@lru_cache(maxsize=2)
def gone(plan: Plan, batch: int) -> Ints:
    """Row indices of the accounts whose holders leave in a batch."""
    return customers.leaving(plan, batch, plan.accounts.start(batch), customer_of)


def table(plan: Plan, index: Ints, batch: int, keys: Ints | None = None) -> to.Table:
    """Accounts in their newest version at the end of ``batch``; see :class:`~datagen.entity.MakeTable`."""
    draws = plan.draws(NAME, index)
    own_keys = index + 1
    keys = own_keys if keys is None else keys
    customer = customer_of(plan, index)
    country = customers.country_of(plan, customer)
    kind = type_of(plan, index, customer)
    opened = opened_day(plan, index, customer)
    closed = closed_day(plan, index, opened)
    is_closed = closed <= BASE_DAY + batch
    version = _version(plan, index, batch, closed)
    balance = first_balance(plan, index, country, kind)
    open_ = np.flatnonzero(~is_closed & (version > 0))
    if len(open_):
        from datagen import transactions  # which need accounts themselves

        # As of the day of its version, whatever has moved since.
        written = _rotation(plan).batch_of(index[open_], version[open_])
        for day in np.unique(written).tolist():
            some = open_[written == day]
            balance[some] += transactions.booked_since_birth(plan, index[some], day)
    limit = _limit(draws, country, kind)
    # Borrowed keys count down from the last account number, away from the accounts' own.
    number = number_of(plan, np.where(keys == own_keys, index, -keys - 1))
    return to.Table(
        {
            "account_id": to.join(PREFIX, to.digits(keys, WIDTH)),
            "customer_id": to.join(customers.PREFIX, to.digits(customer + 1, customers.WIDTH)),
            "iban": iban(country, np.zeros_like(country), number),
            "account_type": to.texts(TYPES, kind),
            "currency": to.texts(tuple(item.currency for item in COUNTRIES), country),
            "balance": to.money(np.where(is_closed, 0, balance)),
            "overdraft_limit": to.money(np.where(is_closed, 0, limit)),
            "interest_rate": to.rate(_rate(draws, kind)),
            "branch_code": to.texts(BRANCHES, _BRANCH(draws.bits("branch"))),
            "opening_channel": to.texts(CHANNELS, _CHANNEL(draws.bits("channel"))),
            "status": to.texts(STATUSES, _status(draws, version, is_closed)),
            "opened_date": to.dates(opened),
            "closed_date": to.either(is_closed, to.dates(np.where(is_closed, closed, 0))),
            "updated_at": _updated_at(plan, draws, index, opened, closed, version),
        }
    )


def _version(plan: Plan, index: Ints, batch: int, closed: Ints) -> Ints:
    """How often each account has changed; closing is the last change."""
    return _rotation(plan).version(index, np.minimum(closed - BASE_DAY, batch))


def number_of(plan: Plan, index: Ints) -> Ints:
    """Account number within the bank, the part of the IBAN that tells accounts apart."""
    offset = int(stream_key(plan.seed, NAME, "iban") >> np.uint64(20))
    return unique_number((index + 1) % 10**UNIQUE_DIGITS, offset)


def first_balance(plan: Plan, index: Ints, country: Ints, kind: Ints) -> Ints:
    """Balance in cents at the end of the day on which accounts are first known; within the overdraft.

    Accounts that are opened later begin with their first deposit, and credit cards with nothing owed.
    """
    draws = plan.draws(NAME, index)
    level = np.array([item.price_level for item in COUNTRIES])[country]
    amount = _balances()(draws.bits("balance"), kind) * level // 100
    limit = _limit(draws, country, kind)
    overdrawn = (kind == CURRENT) & (limit > 0) & draws.chance("overdrawn", 0.06)
    owed = np.where(limit > 0, amount % np.maximum(limit, 1), 0)
    balance = np.where((kind == CREDIT_CARD) | overdrawn, -owed, amount)
    deposit = np.where(kind == CREDIT_CARD, 0, np.maximum(amount, 100))
    return np.where(plan.accounts.birth(index) > 0, deposit, balance)


def _limit(draws: Draws, country: Ints, kind: Ints) -> Ints:
    """Overdraft limit in cents."""
    level = np.array([item.price_level for item in COUNTRIES])[country]
    steps = np.array([0, 50_000, 100_000, 200_000, 500_000])[draws.below("limit", 5)]
    card = 100_000 * (1 + draws.below("limit", 15))
    limit: Ints = np.where(kind == CREDIT_CARD, card, np.where(kind == CURRENT, steps, 0)) * level // 100
    return limit


def rate_of(plan: Plan, index: Ints, kind: Ints) -> Ints:
    """Yearly interest rate in millionths."""
    return _rate(plan.draws(NAME, index), kind)


def _rate(draws: Draws, kind: Ints) -> Ints:
    table = np.array([(rates * 4)[:4] for _, rates in sorted(_RATES.items())])
    return table[kind, draws.below("rate", 4)]


def _status(draws: Draws, version: Ints, is_closed: Bools) -> Ints:
    """Dormant and frozen accounts are active again once something changes on them."""
    special = _SPECIAL(draws.bits("status"))
    resting = ((special == DORMANT) | (special == FROZEN)) & (version == 0)
    return np.where(is_closed, CLOSED, np.where(resting, special, ACTIVE))


def _updated_at(  # noqa: PLR0917 - columns of one row
    plan: Plan, draws: Draws, index: Ints, opened: Ints, closed: Ints, version: Ints
) -> to.Column:
    quiet = np.maximum(BASE_DAY - opened, 0)
    first = opened + draws.below("updated_day", quiet + 1)
    first = np.where(closed <= BASE_DAY, closed, first)
    changed = BASE_DAY + _rotation(plan).batch_of(index, version)
    seconds = 6 * 3600 + draws.below("updated_second", 16 * 3600, version)
    return to.timestamps(np.where(version > 0, changed, first), seconds)


def _growth(plan: Plan) -> Growth:
    return plan.accounts


_NUMBERED = Numbered(_growth, _changed)

ACCOUNTS = Entity(
    name=NAME,
    prefix=PREFIX,
    width=WIDTH,
    growth=_growth,
    blocks=_NUMBERED.blocks,
    block=_NUMBERED.block,
    table=table,
    older=lambda rows: rows.replace(branch_code=to.replaced(rows.columns["branch_code"], NEXT_BRANCH)),
    owner=customer_of,
    existing_blocks=_NUMBERED.existing_blocks,
    existing=_NUMBERED.existing,
    gone=gone,
)
