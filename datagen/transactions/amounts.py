"""How much money transactions move, in the account's currency and in the place's."""

from __future__ import annotations

from functools import cache

import numpy as np

from datagen import accounts, customers, rates, standing
from datagen.countries import COUNTRIES
from datagen.rng import Draws, Ints, Quantiles
from datagen.schedule import Plan
from datagen.transactions.facts import Facts
from datagen.transactions.holders import Holders
from datagen.transactions.kinds import CASH_DEPOSIT, CASH_WITHDRAWAL, NAME
from datagen.transactions.occurrence import CLOSING, DAYS, FIRST, FIRST_DAY, ORDERS, SLOTS, row_index

_PRICES = np.array(
    [399, 499, 699, 899, 999, 1099, 1199, 1299, 1399, 1499, 1599, 1799, 1999, 2499, 2999, 3999]
)
_FEES = np.array([150, 250, 290, 390, 490, 690, 990, 1490])
_NET_OF_GROSS = 0.66
"""Share of gross income that is paid out."""


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


RATE_ROW = np.array([list(rates.PER_EURO).index(item.currency) for item in COUNTRIES])
"""Row of each country's currency in :func:`datagen.rates.walk`."""


def amounts_of(plan: Plan, draws: Draws, facts: Facts) -> tuple[Ints, Ints]:
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
    first = np.flatnonzero(facts.slot == FIRST)
    if len(first):
        some = holders.take(first)
        paid[first] = accounts.first_balance(plan, some.account, some.country, some.kind)
    if len(facts.left):
        # A row that borrows this one as a template for dirt may have nothing left: it still needs an amount.
        paid[facts.slot == CLOSING] = np.maximum(np.abs(facts.left), 1)
    scheming = facts.scheming
    if len(scheming.place):
        per_euro = rates.walk(plan.seed, DAYS)
        rate = per_euro[RATE_ROW[holders.country[scheming.place]], scheming.day - FIRST_DAY]
        paid[scheming.place] = np.maximum(scheming.amount * rate // 1_000_000, 1)
    amount = paid
    foreign = np.flatnonzero(RATE_ROW[facts.place] != RATE_ROW[holders.country])
    if len(foreign):
        per_euro = rates.walk(plan.seed, DAYS)
        day = facts.day[foreign] - FIRST_DAY
        home = per_euro[RATE_ROW[holders.country[foreign]], day]
        there = per_euro[RATE_ROW[facts.place[foreign]], day]
        amount = paid.copy()
        amount[foreign] = np.maximum((2 * paid[foreign] * home + there) // (2 * there), 1)
    return amount, paid


def _order_amount(plan: Plan, facts: Facts, place: Ints) -> Ints:
    """Amounts of standing orders: the same every month, but for card settlements and what is used up."""
    holders, slot = facts.holders.take(place), facts.slot[place]
    level = np.array([item.price_level for item in COUNTRIES])[holders.country]
    standing_draws = plan.draws(NAME, holders.account * SLOTS + slot)
    bits = standing_draws.bits("order")
    amount = _amounts()(bits, facts.category[place]) * level // 100
    some = standing_draws.below("part", 1000)

    def where(*names: str) -> Ints:
        return np.flatnonzero(np.array([name in names for name in standing.NAMES])[slot])

    earner = where("salary", "rent", "household")
    amount[earner] = _share_of_income(plan, holders.take(earner), slot[earner], some[earner])
    subscriber = where("video", "music", "sports")
    amount[subscriber] = _PRICES[some[subscriber] % len(_PRICES)] * level[subscriber] // 100
    payer = where("account_fee")
    amount[payer] = _FEES[some[payer] % len(_FEES)] * level[payer] // 100
    saver = where("saving", "deposit")
    saved = 1 + some[saver] * some[saver] // 25_000
    amount[saver] = saved * 2_500 * level[saver] // 100 // 500 * 500
    varying = where("card_settlement", "utilities")
    of_day = row_index(holders.account[varying], facts.day[place[varying]], slot[varying])
    amount[varying] = amount[varying] * (800 + plan.draws(NAME, of_day).below("used", 400)) // 1000
    earning = where("interest")
    account, kind = holders.account[earning], holders.kind[earning]
    balance = accounts.first_balance(plan, account, holders.country[earning], kind)
    amount[earning] = balance * accounts.rate_of(plan, account, kind) // 12_000_000
    least_one: Ints = np.maximum(amount, 1)
    return least_one


def _share_of_income(plan: Plan, holders: Holders, slot: Ints, some: Ints) -> Ints:
    """Salaries, and rents and household money in proportion to them."""
    income = customers.first_income(plan, holders.customer, holders.country, holders.segment)
    net = income * round(1000 * _NET_OF_GROSS) // 12_000
    is_salary, is_rent = (slot == standing.NAMES.index(name) for name in ("salary", "rent"))
    rent = net * (220 + some // 4) // 1000 // 500 * 500
    household = net * (250 + some // 5) // 1000 // 1000 * 1000
    share: Ints = np.where(is_salary, net * (950 + some // 20) // 1000, np.where(is_rent, rent, household))
    return share
