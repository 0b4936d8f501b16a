"""Customers: people and small businesses, their households, addresses, incomes and scores.

Sources:

- Names, streets, towns and postal codes: Faker's locale of the country. E-mail domains are those RFC 2606
  reserves; phone numbers have E.164's form and the country's prefixes.
- Incomes: log-normal by segment (Gibrat, Les inégalités économiques, 1931); scores are on the FICO scale and
  hang on the same draw as the income.
- Leaving: the same chance every day, so geometric lifetimes, the base case of Fader and Hardie (How to
  project customer retention, Journal of Interactive Marketing 21, 2007).
- Ages: by groups of ten years, wide in the middle as the European Union's population pyramid is. The shares,
  and those of segments, households and states of the know-your-customer check, are assumptions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache
from math import log

import numpy as np

from datagen import columns as to
from datagen.columns import no_rows
from datagen.countries import COUNTRIES
from datagen.entity import Entity
from datagen.pools import NAMES, pools
from datagen.profile import SEGMENTS
from datagen.rng import Choice, Draws, Ints, Quantiles, choice
from datagen.schedule import (
    BASE_DAY,
    BLOCK_ROWS,
    Growth,
    Numbered,
    Plan,
    Rotation,
)

NAME, PREFIX, WIDTH = "customers", "C", 10

SMALL_BUSINESS = SEGMENTS.index("small_business")
KYC_STATUSES = ("pending", "verified", "expired", "rejected")
MAIL_DOMAINS = ("example.com", "example.org", "example.net", "mail.example.com", "post.example.org")
"""Reserved by RFC 2606: no mail to a made-up customer ever reaches anyone."""

YEARS_OF_CUSTOMERS = 10
_HISTORY = YEARS_OF_CUSTOMERS * 365

_KYC = Choice([4, 90, 4, 2])
_CHANGES = ("address", "income", "phone", "kyc")
_CHANGE = Choice([35, 30, 15, 20])


@cache
def _incomes() -> Quantiles:
    """Yearly income in euro cents, by segment."""
    return Quantiles.lognormal(
        (3_400_000, 0.42, 900_000, 20_000_000),
        (8_500_000, 0.30, 4_000_000, 60_000_000),
        (24_000_000, 0.55, 9_000_000, 500_000_000),
        (6_000_000, 0.70, 1_000_000, 200_000_000),
    )


AGES = ((18, 25, 150), (25, 35, 240), (35, 45, 200), (45, 55, 165), (55, 65, 130), (65, 75, 80), (75, 90, 35))
"""Ages on becoming a customer: from, up to, and how many of 1000."""


@cache
def _ages() -> Quantiles:
    """Age on becoming a customer, in days: evenly spread within each group."""
    bounds = [0]
    for _, _, share in AGES:
        bounds.append(bounds[-1] + share)
    steps = []
    for step in range(1025):
        point = 1000 * step / 1024
        low, high, share = next(group for group, end in zip(AGES, bounds[1:], strict=True) if point <= end)
        start = bounds[AGES.index((low, high, share))]
        steps.append(low * 366 + round((high - low) * 365 * (point - start) / share))
    return Quantiles([steps])


def head_of(plan: Plan, index: Ints) -> Ints:
    """The customer whose name and address each customer shares: another one's, or its own."""
    pair = index // 2
    together = plan.draws(f"{NAME}/household", pair).chance("together", plan.profile.households)
    return np.where(together, 2 * pair, index)


def country_of(plan: Plan, index: Ints) -> Ints:
    """Position of each customer's country in :data:`~datagen.countries.COUNTRIES`."""
    return choice(plan.profile.countries)(plan.draws(NAME, head_of(plan, index)).bits("country"))


def segment_of(plan: Plan, index: Ints) -> Ints:
    """Position of each customer's segment in ``SEGMENTS``."""
    return choice(plan.profile.segments)(plan.draws(NAME, index).bits("segment"))


def first_income(plan: Plan, index: Ints, country: Ints, segment: Ints) -> Ints:
    """Yearly income in cents of the customer's currency, before any raise."""
    level = np.array([item.price_level for item in COUNTRIES])[country]
    income: Ints = _incomes()(plan.draws(NAME, index).bits("income"), segment) * level // 100
    return income


def first_score(plan: Plan, index: Ints) -> Ints:
    """Credit score of each customer, on the FICO scale; the bank may not know it."""
    return _score(plan.draws(NAME, index), segment_of(plan, index))[0]


def onboarding_day(plan: Plan, index: Ints) -> Ints:
    """Day on which each customer joined; ascends with the index."""
    growth = plan.customers
    history = BASE_DAY - (growth.initial - index) * _HISTORY // growth.initial
    return np.where(index < growth.initial, history, BASE_DAY + growth.birth(index))


def joined_by(plan: Plan, day: Ints) -> Ints:
    """How many customers (at least one) had joined by the end of each ``day`` up to the base day."""
    growth = plan.customers
    ago = np.clip(BASE_DAY - day, 0, _HISTORY)
    return np.minimum(growth.initial, growth.initial + 1 + (-ago * growth.initial) // _HISTORY)


STAYS = np.iinfo(np.int64).max
"""Batch of leaving of those who never do."""


def leaves(plan: Plan, index: Ints) -> Ints:
    """Batch in which customers leave, and are erased with all that is theirs; or ``STAYS``.

    The bank never loses its very first customer, so that something is left of the smallest bank.
    """
    if not plan.profile.leavers:
        return np.full_like(index, STAYS)
    days = _lifetimes(plan.profile.leavers)(plan.draws(NAME, index).bits("leaves"), np.zeros_like(index))
    return np.where(index == 0, STAYS, plan.customers.birth(index) + 1 + days // 1000)


def leaving_second(plan: Plan, index: Ints) -> Ints:
    """Second of the day at which customers are erased: by the night run."""
    return 1800 + plan.draws(NAME, index).below("leaving_second", 4 * 3600)


@cache
def _lifetimes(leavers: float) -> Quantiles:
    """Thousandths of days that customers stay after the day on which they came."""
    steps, every_day = 1024, log(1 - leavers)
    shares = (max(1 - step / steps, 0.5 / steps) for step in range(steps + 1))
    return Quantiles([[round(1000 * log(share) / every_day) for share in shares]])


def gone(plan: Plan, batch: int) -> Ints:
    """Row indices of the customers who leave in a batch."""
    return leaving(plan, batch, plan.customers.start(batch), lambda plan, index: index)


def leaving(plan: Plan, batch: int, rows: int, owner: Callable[[Plan, Ints], Ints]) -> Ints:
    """Row indices, below ``rows``, whose owners leave in a batch; some are looked at at a time."""
    found = [no_rows()]
    for low in range(0, rows, BLOCK_ROWS):
        index = np.arange(low, min(low + BLOCK_ROWS, rows), dtype=np.int64)
        found.append(index[leaves(plan, owner(plan, index)) == batch])
    return np.concatenate(found)


def _rotation(plan: Plan) -> Rotation:
    return Rotation(plan, NAME, plan.customers)


@lru_cache(maxsize=2)
def _changed(plan: Plan, batch: int) -> Ints:
    return _rotation(plan).changed(batch) if batch else no_rows()


@dataclass(frozen=True)
class _Changes:
    """How often each customer has changed, in all and by kind of change."""

    version: Ints
    kinds: dict[str, Ints]


def _changes(plan: Plan, draws: Draws, index: Ints, batch: int) -> _Changes:
    version = _rotation(plan).version(index, batch)
    kinds = {kind: np.zeros_like(version) for kind in _CHANGES}
    for earlier in range(1, int(version.max(initial=0)) + 1):
        chosen = _CHANGE(draws.bits("change", np.full_like(version, earlier)))
        for number, kind in enumerate(_CHANGES):
            kinds[kind] += (chosen == number) & (version >= earlier)
    return _Changes(version, kinds)


def table(plan: Plan, index: Ints, batch: int, keys: Ints | None = None) -> to.Table:
    """Customers as they stand at the end of ``batch``; see :class:`~datagen.entity.MakeTable`."""
    draws, pool = plan.draws(NAME, index), pools(plan.seed)
    keys = index + 1 if keys is None else keys
    changes = _changes(plan, draws, index, batch)
    country = country_of(plan, index)
    named = country * NAMES
    head = plan.draws(NAME, head_of(plan, index))
    first, last = named + draws.below("first_name", NAMES), named + head.below("last_name", NAMES)
    segment = segment_of(plan, index)
    joined = onboarding_day(plan, index)
    income, no_income = _income(draws, first_income(plan, index, country, segment), changes.kinds["income"])
    score, no_score = _score(draws, segment)
    street_address, place = _address(plan, draws, head, country, changes.kinds["address"])
    return to.Table(
        {
            "customer_id": to.join(PREFIX, to.digits(keys, WIDTH)),
            "first_name": to.texts(pool.first_name, first),
            "last_name": to.texts(pool.last_name, last),
            "email": to.join(
                to.texts(pool.first_name_ascii, first),
                to.texts((".", "_", "-", ""), draws.below("mail_style", 4)),
                to.texts(pool.last_name_ascii, last),
                to.plain(keys),
                "@",
                to.texts(MAIL_DOMAINS, draws.below("mail_domain", len(MAIL_DOMAINS))),
            ),
            "phone": to.either(
                ~draws.chance("no_phone", 0.03), _phone(draws, country, changes.kinds["phone"])
            ),
            "date_of_birth": to.dates(joined - _ages()(draws.bits("age"))),
            "national_id": to.either(
                ~draws.chance("no_national_id", 0.06), _national_id(plan, draws, country)
            ),
            "street_address": street_address,
            "city": to.texts(pool.city, place),
            "postal_code": to.texts(pool.postal_code, place),
            "country": to.texts(tuple(item.code for item in COUNTRIES), country),
            "segment": to.texts(SEGMENTS, segment),
            "kyc_status": to.texts(KYC_STATUSES, _kyc(draws, changes.kinds["kyc"])),
            "credit_score": to.either(~no_score, to.whole(score)),
            "annual_income": to.either(~no_income, to.money(income)),
            "currency": to.texts(tuple(item.currency for item in COUNTRIES), country),
            "onboarding_date": to.dates(joined),
            "updated_at": _updated_at(plan, draws, index, joined, changes.version),
        }
    )


def _income(draws: Draws, start: Ints, raises: Ints) -> tuple[Ints, np.ndarray]:
    income = start * (1000 + 35 * raises) // 1000
    # Incomes are declared in whole tens; a first declaration fills a gap.
    return income // 1000 * 1000, draws.chance("no_income", 0.05) & (raises == 0)


def _score(draws: Draws, segment: Ints) -> tuple[Ints, np.ndarray]:
    """Credit scores rise with income: both hang on the same draw, the score on a second one as well."""
    standing = (draws.bits("income") >> np.uint64(48)).astype(np.int64)
    luck = draws.below("score", 1 << 16)
    bonus = np.array([0, 30, 45, 5])[segment]
    score = np.minimum(460 + bonus + (2 * standing + 3 * luck) * 380 // (5 << 16), 850)
    defaulted_before = draws.chance("bad_history", 0.05)
    return np.where(defaulted_before, score - 130, score), draws.chance("no_score", 0.07)


def _address(plan: Plan, draws: Draws, head: Draws, country: Ints, moves: Ints) -> tuple[to.Column, Ints]:
    """Street with house number, and the position of town and postal code; a move changes them all.

    A household starts at one address; who moves leaves it.
    """
    pool = pools(plan.seed)
    stride = 1 + 2 * draws.below("move", NAMES // 2)
    street = country * NAMES + (head.below("street", NAMES) + moves * stride) % NAMES
    place = country * NAMES + (head.below("place", NAMES) + moves * stride) % NAMES
    shared = head.below("house_number", 160, np.zeros_like(moves))
    own = draws.below("house_number", 160, moves)
    number = to.plain(1 + np.where(moves == 0, shared, own))
    name = to.texts(pool.street, street)
    number_first = np.array([item.house_number_first for item in COUNTRIES])[country]
    return to.either(number_first, to.join(number, " ", name), to.join(name, " ", number)), place


def _phone(draws: Draws, country: Ints, changes: Ints) -> to.Column:
    prefixes = tuple(item.phone_prefixes for item in COUNTRIES)
    starts = np.cumsum([0, *(len(group) for group in prefixes)])
    counts = np.array([len(group) for group in prefixes])
    prefix = starts[country] + draws.below("phone_prefix", counts[country])
    width = np.array([item.phone_digits for item in COUNTRIES])[country]
    return to.join(
        "+",
        to.texts(tuple(text for group in prefixes for text in group), prefix),
        to.digits(draws.below("phone", 10**8, changes) % 10**width, width),
    )


def _national_id(plan: Plan, draws: Draws, country: Ints) -> to.Column:
    pool = pools(plan.seed)
    width = np.array([item.national_id[1] for item in COUNTRIES])[country]
    number = draws.below("id_high", 10**8) * 10**7 + draws.below("id_low", 10**7)
    return to.join(
        to.texts(pool.national_id_head, country * NAMES + draws.below("id_head", NAMES)),
        to.digits(number % 10**width, width),
        to.texts(pool.national_id_tail, country * NAMES + draws.below("id_tail", NAMES)),
    )


def _kyc(draws: Draws, changes: Ints) -> Ints:
    """Pending checks get verified, verified ones expire and are renewed, rejected ones start again."""
    start = _KYC(draws.bits("kyc"))
    after_first = np.array([1, 2, 1, 0])[start]
    steps = np.maximum(changes - 1, 0)
    later = np.where(
        after_first == 0, np.where(steps == 0, 0, 1 + (steps - 1) % 2), 1 + (after_first - 1 + steps) % 2
    )
    return np.where(changes == 0, start, later)


def _updated_at(plan: Plan, draws: Draws, index: Ints, joined: Ints, version: Ints) -> to.Column:
    quiet = np.maximum(BASE_DAY - joined, 0)
    first = joined + draws.below("updated_day", quiet + 1)
    changed = BASE_DAY + _rotation(plan).batch_of(index, version)
    seconds = 6 * 3600 + draws.below("updated_second", 16 * 3600, version)
    return to.timestamps(np.where(version > 0, changed, first), seconds)


def _growth(plan: Plan) -> Growth:
    return plan.customers


_NUMBERED = Numbered(_growth, _changed)

_NEXT_SEGMENT = dict(zip(SEGMENTS, (*SEGMENTS[1:], SEGMENTS[0]), strict=True))

CUSTOMERS = Entity(
    name=NAME,
    prefix=PREFIX,
    width=WIDTH,
    growth=_growth,
    blocks=_NUMBERED.blocks,
    block=_NUMBERED.block,
    table=table,
    older=lambda rows: rows.replace(segment=to.replaced(rows.columns["segment"], _NEXT_SEGMENT)),
    owner=lambda plan, index: index,
    existing_blocks=_NUMBERED.existing_blocks,
    existing=_NUMBERED.existing,
    gone=gone,
)
