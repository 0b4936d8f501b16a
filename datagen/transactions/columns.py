"""The columns of transactions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from datagen import accounts, customers, fraud, rates
from datagen import columns as to
from datagen.countries import COUNTRIES
from datagen.iban import BANKS_PER_COUNTRY, UNIQUE_DIGITS, iban
from datagen.pools import COMPANIES, MERCHANT_CATEGORIES, MERCHANTS, pools
from datagen.rng import Draws, Ints
from datagen.schedule import BASE_DAY, Plan
from datagen.transactions.amounts import RATE_ROW, amounts_of
from datagen.transactions.balances import left_at_closing
from datagen.transactions.facts import Facts, Scheming, facts_of
from datagen.transactions.kinds import (
    BILLS,
    BOOKED,
    CARD_PAYMENT,
    CATEGORIES,
    CHANNELS,
    CREDITS,
    DIRECT_DEBIT,
    HOUR_CHOICE,
    MERCHANT_CHOICE,
    NAME,
    OTHERS,
    REFUND,
    REVERSED,
    REVERSED_AFTER,
    SALARY,
    SHOPS,
    STATUSES,
    TRANSFER_IN,
    TRANSFER_OUT,
    TYPES,
)
from datagen.transactions.lifecycle import lifecycle
from datagen.transactions.occurrence import DAYS, FIRST_DAY, ORDERS, SLOTS, row_index

PREFIX, WIDTH = "T", 16
"""First letter and digits of the business key."""

_HEADS = (
    "Card payment ", "Incoming transfer", "Outgoing transfer", "Direct debit ", "Cash withdrawal",
    "Cash deposit", "Salary ", "Account fee", "Interest", "Refund ",
)  # fmt: skip


_DIRECTIONS = tuple("credit" if kind in CREDITS else "debit" for kind in range(len(TYPES)))
"""By transaction type."""


@dataclass(frozen=True)
class _Words:
    """Texts that a row's merchant, company or type decides.

    Attributes:
        names: Names of merchants; then a null for each category, for what is not paid to a merchant.
        codes: Their merchant category codes.
        categories: Their categories.
        statements: What statements say: for types with merchants one for each of these, for types with
            companies one for each of these, else one.
        first_statements: Where each type's statements begin.
    """

    names: to.Vocabulary
    codes: to.Vocabulary
    categories: to.Vocabulary
    statements: to.Vocabulary
    first_statements: Ints


@lru_cache(maxsize=4)
def _words(seed: int) -> _Words:
    pool = pools(seed)
    merchants = pool.merchant.texts
    shops = [place // MERCHANTS % len(SHOPS) for place in range(len(merchants))]
    nothing = (None,) * len(CATEGORIES)
    ends = {CARD_PAYMENT: merchants, REFUND: merchants}
    ends |= {DIRECT_DEBIT: pool.company.texts, SALARY: pool.company.texts}
    of_types = [[head + (end or "") for end in ends.get(kind, ("",))] for kind, head in enumerate(_HEADS)]
    return _Words(
        names=to.Vocabulary([*merchants, *nothing]),
        codes=to.Vocabulary([*(_CODES[shop] for shop in shops), *_CODES]),
        categories=to.Vocabulary([*(CATEGORIES[shop] for shop in shops), *CATEGORIES]),
        statements=to.Vocabulary(text for texts in of_types for text in texts),
        first_statements=np.cumsum([0, *(len(texts) for texts in of_types[:-1])]),
    )


_CODES = tuple(code for code, _ in MERCHANT_CATEGORIES.values()) + (None,) * len(BILLS + OTHERS)
_CURRENCIES = tuple(item.currency for item in COUNTRIES)
_CARD_TESTING, _TAKEOVER = (fraud.TYPOLOGIES.index(name) for name in ("card_testing", "account_takeover"))


def labels(plan: Plan, index: Ints) -> to.Table:
    """Which transactions belong to which scheme: the truth that is kept apart from the data."""
    found = Scheming.among(plan, index)
    return to.Table(
        {
            "transaction_id": to.join(PREFIX, to.digits(index[found.place] + 1, WIDTH)),
            "typology": to.texts(fraud.TYPOLOGIES, found.typology),
            "scheme_id": to.join("S", to.digits(found.scheme, 12)),
        }
    )


def table(plan: Plan, index: Ints, batch: int, keys: Ints | None = None) -> to.Table:
    """Transactions as they stand at the end of ``batch``; see :class:`~datagen.entity.MakeTable`."""
    draws = plan.draws(NAME, index)
    keys = index + 1 if keys is None else keys
    facts = facts_of(plan, draws, index, left_at_closing(plan, index))
    amount, paid = amounts_of(plan, draws, facts)
    holders, shops = facts.holders, facts.shops
    status, booked, event = lifecycle(facts, BASE_DAY + batch)
    bills = (facts.kind == DIRECT_DEBIT) | (facts.kind == SALARY)
    words = _words(plan.seed)
    favourite = plan.draws(NAME, holders.account).below("favourite", MERCHANTS)
    rank = (favourite + MERCHANT_CHOICE(draws.bits("merchant"))) % MERCHANTS
    merchant = (facts.place * len(SHOPS) + facts.category) * MERCHANTS + rank
    # The same company every month.
    company = plan.draws(NAME, holders.account * SLOTS + facts.slot).below("company", COMPANIES)
    company += holders.country * COMPANIES
    seller = np.where(shops, merchant, len(words.names) - len(CATEGORIES) + facts.category)
    statement = words.first_statements[facts.kind] + np.where(shops, merchant, np.where(bills, company, 0))
    second = _second(draws, facts)
    return to.Table(
        {
            "transaction_id": to.join(PREFIX, to.digits(keys, WIDTH)),
            "account_id": to.join(accounts.PREFIX, to.digits(holders.account + 1, accounts.WIDTH)),
            "transaction_at": to.timestamps(facts.day, second),
            "booking_date": to.either((status == BOOKED) | (status == REVERSED), to.dates(booked)),
            "transaction_type": to.texts(TYPES, facts.kind),
            "direction": to.texts(_DIRECTIONS, facts.kind),
            "channel": to.texts(CHANNELS, facts.channel),
            "merchant_name": to.texts(words.names, seller),
            "merchant_category_code": to.texts(words.codes, seller),
            "category": to.texts(words.categories, seller),
            "amount": to.money(amount),
            "currency": to.texts(_CURRENCIES, holders.country),
            "counterparty_iban": _counterparty(plan, facts),
            "description": to.join(to.texts(words.statements, statement), _conversion(plan, facts, paid)),
            "status": to.texts(STATUSES, status),
            "updated_at": to.timestamps(event, _updated_second(draws, facts, event, second)),
        }
    )


def _conversion(plan: Plan, facts: Facts, paid: Ints) -> to.Column:
    """What was paid in a foreign currency, and at which rate; empty for others."""
    is_foreign = RATE_ROW[facts.place] != RATE_ROW[facts.holders.country]
    foreign = np.flatnonzero(is_foreign)
    per_euro = rates.walk(plan.seed, DAYS)
    day = facts.day[foreign] - FIRST_DAY
    home = per_euro[RATE_ROW[facts.holders.country[foreign]], day]
    there = per_euro[RATE_ROW[facts.place[foreign]], day]
    text = to.join(
        ", ",
        to.money(paid[foreign]),
        " ",
        to.texts(_CURRENCIES, facts.place[foreign]),
        " at ",
        to.rate(1_000_000 * home // there),
    )
    return to.scatter(is_foreign, text, "")


def _counterparty(plan: Plan, facts: Facts) -> to.Column:
    """The other side of transfers: the same one every month for standing orders."""
    transfers = (facts.kind == TRANSFER_IN) | (facts.kind == TRANSFER_OUT)
    account, slot = facts.holders.account[transfers], facts.slot[transfers]
    when = np.where(slot < ORDERS, 0, facts.day[transfers])
    draws = plan.draws(f"{NAME}/counterparty", row_index(account, when + FIRST_DAY, slot))
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


def _second(draws: Draws, facts: Facts) -> Ints:
    by_itself = (facts.channel == CHANNELS.index("system")).astype(np.int64)
    hour = HOUR_CHOICE(draws.bits("hour"), by_itself)
    if len(facts.scheming.place):
        night = np.isin(facts.scheming.typology, (_CARD_TESTING, _TAKEOVER))
        hour[facts.scheming.place[night]] = 3
    # The last minute of a day is left to the updates that follow a transaction.
    second: Ints = np.minimum(hour * 3600 + draws.below("second", 3600), to.SECONDS_PER_DAY - 60)
    return second


def _updated_second(draws: Draws, facts: Facts, event: Ints, second: Ints) -> Ints:
    """At once on the day itself, in the night run when it settles, by day when someone reverses it."""
    night = 2 * 3600 + draws.below("updated_second", 3 * 3600)
    seconds = np.where(event == facts.day, second + draws.below("delay", 50), night)
    return np.where(facts.reverses & (event == facts.day + REVERSED_AFTER), night + 8 * 3600, seconds)
