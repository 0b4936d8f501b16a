"""Transactions: money that moves on accounts, day by day.

Some transactions are pending first and settle on the next day, a few are reversed six days later, and a
few arrive weeks after they happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import polars as pl

from datagen import accounts, customers
from datagen import columns as to
from datagen.countries import COUNTRIES
from datagen.entity import Entity
from datagen.iban import BANKS_PER_COUNTRY, UNIQUE_DIGITS, iban
from datagen.pools import COMPANIES, MERCHANT_CATEGORIES, MERCHANTS, pools
from datagen.rng import Bools, Choice, Draws, Ints, Quantiles
from datagen.schedule import BASE_DAY, BLOCK_ROWS, HISTORY_DAYS, Block, Growth, Plan, block_count, block_of

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
    [46, 8, 12, 14, 7, 1.5, 4.5, 3, 0.5, 2],
    [0, 45, 28, 0, 0, 3, 0, 4, 20, 0],
    [0, 20, 5, 0, 0, 0, 0, 5, 70, 0],
    [84, 7, 0, 0, 3, 0, 0, 3, 0, 3],
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
_SHOP = Choice([30, 17, 9, 8, 5, 6, 9, 2, 2, 5, 4, 3])
_BILL = Choice([16, 28, 20, 18, 18])
_DAY_HOURS = [1, 0.5, 0.4, 0.4, 0.6, 1.5, 3, 6, 8, 8, 8, 9, 11, 10, 8, 8, 9, 11, 12, 10, 8, 6, 4, 2]
_NIGHT_HOURS = [4, 8, 12, 12, 10, 8, 4, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2]
_HOUR = Choice(_DAY_HOURS, _NIGHT_HOURS)
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


@dataclass(frozen=True)
class _Facts:
    """What never changes about transactions; one value per row.

    Attributes:
        birth: Batch in which it arrives.
        day: Day on which it happens.
        late: Whether it arrives weeks after that day.
        account: Row index of the account.
        country: Position of the account holder's country.
        kind: Position in ``TYPES``.
        channel: Position in ``CHANNELS``.
        slow: Whether it is pending until the next day.
        fails: Whether it fails.
        reverses: Whether it is reversed in the end.
    """

    birth: Ints
    day: Ints
    late: Bools
    account: Ints
    country: Ints
    kind: Ints
    channel: Ints
    slow: Bools
    fails: Bools
    reverses: Bools


def _facts(plan: Plan, draws: Draws, index: Ints) -> _Facts:
    growth = plan.transactions
    birth = growth.birth(index)
    late = _is_late(plan, index, birth)
    history = BASE_DAY - HISTORY_DAYS + 1 + index * HISTORY_DAYS // growth.initial
    arrival = BASE_DAY + birth
    before = np.where(late, 14 + draws.below("weeks_late", 28), 0)
    day = np.where(birth == 0, history, arrival - before)
    account, customer = _account(plan, index, birth, day)
    kind = _TYPE(draws.bits("type"), accounts.type_of(plan, account))
    channel = _CHANNEL(draws.bits("channel"), kind)
    fails = draws.below("fails", 1000) < _FAILURES_PER_1000[channel]
    settles = (kind == CARD_PAYMENT) | (kind == DIRECT_DEBIT) | (kind == REFUND)
    return _Facts(
        birth=birth,
        day=day,
        late=late,
        account=account,
        country=customers.country_of(plan, customer),
        kind=kind,
        channel=channel,
        slow=settles & ~late & draws.chance("slow", 0.6),
        fails=fails,
        reverses=~fails & ~late & draws.chance("reverses", 0.005),
    )


def _account(plan: Plan, index: Ints, birth: Ints, day: Ints) -> tuple[Ints, Ints]:
    """Accounts that were open on the day, and their customers; a fifth of them sees half of the moves."""
    draws = plan.draws(NAME, index)
    known = plan.accounts.initial + birth * plan.accounts.daily
    busy = draws.chance("busy", 0.375)
    account = np.where(busy, 5 * draws.below("busy_account", -(-known // 5)), draws.below("account", known))
    customer = accounts.customer_of(plan, account)
    for attempt in range(3):
        opened = accounts.opened_day(plan, account, customer)
        shut = (opened > day) | (accounts.closed_day(plan, account, opened) < day)
        if not shut.any():
            break
        # The first account of a customer who had joined by then was open; only few are closed since.
        joined = customers.joined_by(plan, day[shut])
        again = plan.draws(NAME, index[shut]).below("older_account", joined, np.full_like(joined, attempt))
        account[shut] = again
        customer[shut] = accounts.customer_of(plan, again)
    return account, customer


def _is_late(plan: Plan, index: Ints, birth: Ints) -> Bools:
    """The last rows of each later batch happened weeks before they arrive."""
    growth = plan.transactions
    late: Bools = (birth > 0) & (growth.initial + birth * growth.daily - index <= max(1, growth.daily // 50))
    return late


def is_late(plan: Plan, index: Ints, batch: int) -> Bools:
    """Whether new rows of a batch happened weeks before it."""
    return _is_late(plan, index, np.full_like(index, batch))


def _of_day(plan: Plan, day: int) -> range:
    """Row indices of transactions of one day that arrived on it."""
    growth, batch = plan.transactions, day - BASE_DAY
    if batch > 0:
        return range(growth.start(batch), growth.end(batch) - max(1, growth.daily // 50))
    position = batch + HISTORY_DAYS - 1
    if position < 0:
        return range(0)
    start, end = (-(-edge * growth.initial // HISTORY_DAYS) for edge in (position, position + 1))
    return range(start, end)


@lru_cache(maxsize=2)
def _changed(plan: Plan, batch: int) -> Ints:
    """Yesterday's pending transactions, which settle, and older ones that are reversed."""
    found = [to.no_rows()]
    if batch > 0:
        for after in (REVERSED_AFTER, SETTLES_AFTER):
            day = _of_day(plan, BASE_DAY + batch - after)
            for low in range(day.start, day.stop, BLOCK_ROWS):
                index = np.arange(low, min(low + BLOCK_ROWS, day.stop), dtype=np.int64)
                facts = _facts(plan, plan.draws(NAME, index), index)
                found.append(index[facts.slow if after == SETTLES_AFTER else facts.reverses])
    return np.concatenate(found)


def blocks(plan: Plan, batch: int) -> int:
    """Number of blocks in a batch."""
    growth = plan.transactions
    return block_count(growth.end(batch) - growth.start(batch) + len(_changed(plan, batch)))


def block(plan: Plan, batch: int, number: int) -> Block:
    """Row indices of one block."""
    return block_of(plan.transactions, batch, number, _changed(plan, batch))


def rows(plan: Plan, index: Ints, batch: int, keys: Ints | None = None) -> pl.DataFrame:
    """Transactions as they stand at the end of ``batch``; see :class:`~datagen.entity.Rows`."""
    draws = plan.draws(NAME, index)
    keys = index + 1 if keys is None else keys
    facts = _facts(plan, draws, index)
    status, booked, event = _lifecycle(facts, BASE_DAY + batch)
    shops = (facts.kind == CARD_PAYMENT) | (facts.kind == REFUND)
    bills = facts.kind == DIRECT_DEBIT
    category = np.where(
        shops,
        _SHOP(draws.bits("shop")),
        np.where(bills, len(SHOPS) + _BILL(draws.bits("bill")), _categories()[facts.kind]),
    )
    place = _place(facts, shops, draws)
    merchants, ends = _labels(plan.seed)
    no_merchant, no_end = len(merchants) - 1, len(ends) - 1
    merchant = (place * len(SHOPS) + category) * MERCHANTS + draws.below("merchant", MERCHANTS)
    company = no_merchant + facts.country * COMPANIES + draws.below("company", COMPANIES)
    named = bills | (facts.kind == SALARY)
    second = _second(draws, facts)
    return pl.DataFrame(
        {
            "transaction_id": to.join(PREFIX, to.digits(keys, WIDTH)),
            "account_id": to.join(accounts.PREFIX, to.digits(facts.account + 1, accounts.WIDTH)),
            "transaction_at": to.timestamps(facts.day, second),
            "booking_date": to.either((status == BOOKED) | (status == REVERSED), to.dates(booked)),
            "transaction_type": to.texts(TYPES, facts.kind),
            "direction": to.texts(("debit", "credit"), np.isin(facts.kind, CREDITS).astype(np.int64)),
            "channel": to.texts(CHANNELS, facts.channel),
            "merchant_name": merchants.gather(np.where(shops, merchant, no_merchant)),
            "merchant_category_code": to.texts(_CODES, category),
            "category": to.texts(CATEGORIES, category),
            "amount": to.money(_amount(draws, facts, category, place)),
            "currency": to.texts(tuple(item.currency for item in COUNTRIES), place),
            "counterparty_iban": _counterparty(plan, index, facts),
            "description": to.join(
                to.texts(_HEADS, facts.kind),
                ends.gather(np.where(shops, merchant, np.where(named, company, no_end))),
            ),
            "status": to.texts(STATUSES, status),
            "updated_at": to.timestamps(event, _updated_second(draws, facts, event, second)),
        }
    )


_CODES = tuple(code for code, _ in MERCHANT_CATEGORIES.values()) + (None,) * len(BILLS + OTHERS)


def _lifecycle(facts: _Facts, today: int) -> tuple[Ints, Ints, Ints]:
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


def _place(facts: _Facts, shops: Bools, draws: Draws) -> Ints:
    """Country whose merchants and currency are used; card holders travel."""
    abroad = shops & draws.chance("abroad", 0.04)
    return np.where(abroad, draws.below("abroad_country", len(COUNTRIES)), facts.country)


def _amount(draws: Draws, facts: _Facts, category: Ints, place: Ints) -> Ints:
    level = np.array([item.price_level for item in COUNTRIES])[place]
    amount: Ints = np.maximum(_amounts()(draws.bits("amount"), category) * level // 100, 1)
    cash = (facts.kind == CASH_WITHDRAWAL) | (facts.kind == CASH_DEPOSIT)
    notes: Ints = np.maximum(amount // 1000, 1) * 1000
    return np.where(cash, notes, amount)


def _counterparty(plan: Plan, index: Ints, facts: _Facts) -> pl.Series:
    transfers = (facts.kind == TRANSFER_IN) | (facts.kind == TRANSFER_OUT)
    draws = plan.draws(NAME, index[transfers])
    home = facts.country[transfers]
    country = np.where(draws.chance("foreign", 0.08), draws.below("foreign_country", len(COUNTRIES)), home)
    bank = draws.below("bank", BANKS_PER_COUNTRY)
    return to.scatter(transfers, iban(country, bank, draws.below("counterparty", 10**UNIQUE_DIGITS)))


def _second(draws: Draws, facts: _Facts) -> Ints:
    by_itself = (facts.channel == CHANNELS.index("system")).astype(np.int64)
    hour = _HOUR(draws.bits("hour"), by_itself)
    # The last minute of a day is left to the updates that follow a transaction.
    second: Ints = np.minimum(hour * 3600 + draws.below("second", 3600), to.SECONDS_PER_DAY - 60)
    return second


def _updated_second(draws: Draws, facts: _Facts, event: Ints, second: Ints) -> Ints:
    """At once on the day itself, in the night run when it settles, by day when someone reverses it."""
    night = 2 * 3600 + draws.below("updated_second", 3 * 3600)
    seconds = np.where(event == facts.day, second + draws.below("delay", 50), night)
    return np.where(facts.reverses & (event == facts.day + REVERSED_AFTER), night + 8 * 3600, seconds)


def _growth(plan: Plan) -> Growth:
    return plan.transactions


TRANSACTIONS = Entity(
    name=NAME,
    prefix=PREFIX,
    width=WIDTH,
    growth=_growth,
    blocks=blocks,
    block=block,
    rows=rows,
    older=pl.concat_str(pl.col("description"), pl.lit(" (draft)")).alias("description"),
    is_late=is_late,
)
