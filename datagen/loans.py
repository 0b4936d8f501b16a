"""Loans: terms, repayment schedules to the cent, and what has become of them on any day.

Time is counted in months since January 1970 and in days since 1970-01-01. Instalment k of a loan is due k
gaps after the month in which the loan was paid out, always on the same day of the month.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl

from datagen import columns as to
from datagen import customers
from datagen.accounts import BRANCHES, NEXT_BRANCH
from datagen.countries import COUNTRIES
from datagen.entity import Entity
from datagen.rng import Bools, Choice, Ints, Quantiles
from datagen.schedule import BASE_DAY, Block, Growth, Plan, block_count, block_of

NAME, PREFIX, WIDTH = "loans", "L", 10

PRODUCTS = ("mortgage", "auto", "personal", "student", "business")
MORTGAGE, AUTO, PERSONAL, STUDENT, BUSINESS = range(len(PRODUCTS))
REPAYMENTS = ("annuity", "interest_only", "bullet")
ANNUITY, INTEREST_ONLY, BULLET = range(len(REPAYMENTS))
STATUSES = ("active", "paid_off", "defaulted", "written_off", "restructured")
ACTIVE, PAID_OFF, DEFAULTED, WRITTEN_OFF, RESTRUCTURED = range(len(STATUSES))
COLLATERALS = ("property", "vehicle", "securities", "none")
PROPERTY, VEHICLE, SECURITIES, UNSECURED = range(len(COLLATERALS))

DAYS_TO_CATCH_UP = 12
"""Days after which a late payer pays."""
MISSED_TO_DEFAULT = 3
MISSED_TO_WRITE_OFF = 6

_DUE_DAYS = 28
_OLDEST_MONTHS = 60
_BASE_MONTH = 12 * (2025 - 1970) + 11

_AGE = Choice([0.83**age for age in range(_OLDEST_MONTHS + 1)])
_PRODUCT = Choice([22, 24, 36, 8, 10])
_REPAYMENT = Choice([93, 5, 2], [100, 0, 0], [97, 0, 3], [88, 10, 2], [70, 18, 12])
_BRANCH = Choice([30 / (rank + 3) for rank in range(len(BRANCHES))])
_TERMS = np.array(
    [
        [120, 180, 180, 240, 240, 300, 300, 360],
        [24, 36, 36, 48, 48, 60, 60, 72],
        [6, 12, 12, 24, 24, 36, 48, 60],
        [60, 60, 84, 84, 96, 120, 120, 120],
        [6, 12, 24, 36, 36, 60, 84, 84],
    ]
)
"""Usual terms in months, by product."""
_RATES = np.array([[28_000, 30], [39_000, 60], [62_000, 110], [31_000, 60], [45_000, 90]])
"""Least yearly rate in millionths, and number of steps of 0.05 % above it, by product."""
_BEHAVIOUR = Choice([86, 11, 3])
_PUNCTUAL, _SLOPPY, _FAILING = range(3)
_LATE_SHARE = 0.35


@cache
def _principals() -> Quantiles:
    """Principal in euro cents, by product."""
    return Quantiles.lognormal(
        (21_000_000, 0.45, 4_000_000, 200_000_000),
        (1_800_000, 0.45, 300_000, 12_000_000),
        (800_000, 0.65, 100_000, 7_500_000),
        (1_400_000, 0.50, 100_000, 8_000_000),
        (5_500_000, 0.90, 500_000, 300_000_000),
    )


@dataclass(frozen=True)
class Terms:
    """What was agreed, and how the borrower will behave; one value per loan.

    Attributes:
        index: Loan's row index.
        customer: Borrower's row index.
        country: Position in :data:`~datagen.countries.COUNTRIES`.
        product: Position in ``PRODUCTS``.
        repayment: Position in ``REPAYMENTS``.
        principal: Amount lent, in cents.
        rate: Yearly rate in millionths.
        months: Agreed term in months.
        start: Day the loan was paid out.
        start_month: Month the loan was paid out.
        due_day: Day of the month on which instalments are due, 1 to 28.
        gap: Months between instalments.
        count: Agreed number of instalments.
        installment: Regular instalment in cents (interest only, for loans that pay nothing else).
        sloppy: Whether some instalments are paid late.
        failing_from: First instalment that will never be paid; beyond ``count`` for most.
    """

    index: Ints
    customer: Ints
    country: Ints
    product: Ints
    repayment: Ints
    principal: Ints
    rate: Ints
    months: Ints
    start: Ints
    start_month: Ints
    due_day: Ints
    gap: Ints
    count: Ints
    installment: Ints
    sloppy: Bools
    failing_from: Ints

    @property
    def billed(self) -> Ints:
        """Number of instalments that are ever billed; written-off loans get no more bills."""
        return np.minimum(self.count, self.failing_from + MISSED_TO_WRITE_OFF - 1)

    def due(self, number: Ints) -> Ints:
        """Day on which instalment ``number`` (from 1) is due; for 0, the day of the payout."""
        due = month_starts()[self.start_month + number * self.gap] + self.due_day - 1
        return np.where(number == 0, self.start, due)

    def due_count(self, day: int) -> Ints:
        """Number of instalments that are due by the end of ``day``."""
        month, first = _month_of(day)
        elapsed = month - self.start_month - (self.due_day > day - first + 1)
        count: Ints = np.clip(elapsed // self.gap, 0, self.billed)
        return count

    def remaining(self, number: Ints) -> Ints:
        """Principal in cents that is left when ``number`` instalments have been paid."""
        growth = _power(self._growth, number)
        annuity = np.rint(self.principal * growth - self.installment * ((growth - 1) / self._monthly_rate))
        left = np.where(self.repayment == ANNUITY, annuity.astype(np.int64), self.principal)
        return np.where(number >= self.count, 0, np.clip(left, 0, self.principal))

    def parts(self, number: Ints) -> tuple[Ints, Ints]:
        """Principal and interest, in cents, of instalment ``number`` (from 1)."""
        before = self.remaining(number - 1)
        principal = before - self.remaining(number)
        interest = np.maximum(self.installment - principal, 0)
        last = np.rint(before * self._monthly_rate * self.gap).astype(np.int64)
        return principal, np.where(number >= self.count, last, interest)

    def take(self, position: Ints) -> Terms:
        """Terms of some of the loans, by position; one may come more than once."""
        return Terms(**{name: getattr(self, name)[position] for name in Terms.__dataclass_fields__})

    @property
    def _monthly_rate(self) -> npt.NDArray[np.float64]:
        return self.rate / 12_000_000

    @property
    def _growth(self) -> npt.NDArray[np.float64]:
        return 1 + self._monthly_rate


def terms(plan: Plan, index: Ints) -> Terms:
    """Terms of loans by row index."""
    draws = plan.draws(NAME, index)
    birth = plan.loans.birth(index)
    age = _AGE(draws.bits("age"))
    month = np.searchsorted(month_starts(), BASE_DAY + birth, side="right").astype(np.int64) - 1
    start_month = np.where(birth > 0, month, _BASE_MONTH - age)
    history = month_starts()[start_month] + draws.below("start_day", _DUE_DAYS)
    start = np.where(birth > 0, BASE_DAY + birth, history)
    known = np.where(
        birth > 0, plan.customers.initial + birth * plan.customers.daily, customers.joined_by(plan, start)
    )
    customer = draws.below("customer", known)
    country = customers.country_of(plan, customer)
    product = _PRODUCT(draws.bits("product"))
    repayment = _REPAYMENT(draws.bits("repayment"), product)
    level = np.array([item.price_level for item in COUNTRIES])[country]
    principal = _principals()(draws.bits("principal"), product) * level // 100 // 10_000 * 10_000
    months = _TERMS[product, draws.below("term", _TERMS.shape[1])]
    rate = _RATES[product, 0] + 500 * draws.below("rate", _RATES[product, 1])
    bullet = repayment == BULLET
    count = np.where(bullet, 1, months)
    monthly = rate / 12_000_000
    annuity = principal * monthly / (1 - 1 / _power(1 + monthly, count))
    regular = np.where(repayment == ANNUITY, annuity, principal * monthly)
    behaviour = _BEHAVIOUR(draws.bits("behaviour"))
    never = count + 1
    return Terms(
        index=index,
        customer=customer,
        country=country,
        product=product,
        repayment=repayment,
        principal=principal,
        rate=rate,
        months=months,
        start=start,
        start_month=start_month,
        due_day=_due_day(plan, index),
        gap=np.where(bullet, months, 1),
        count=count,
        installment=np.rint(regular).astype(np.int64),
        sloppy=behaviour == _SLOPPY,
        failing_from=np.where(behaviour == _FAILING, 1 + draws.below("failing_from", 8), never),
    )


def is_late(plan: Plan, loan: Terms, number: Ints) -> Bools:
    """Whether instalment ``number`` of a sloppy payer is paid ``DAYS_TO_CATCH_UP`` days late."""
    draws = plan.draws(NAME, loan.index)
    return loan.sloppy & draws.chance("late", _LATE_SHARE, number)


@dataclass(frozen=True)
class State:
    """What has become of loans by the end of a day.

    Attributes:
        status: Position in ``STATUSES``.
        outstanding: Principal not paid back, in cents.
        changed: Day of the last event.
    """

    status: Ints
    outstanding: Ints
    changed: Ints


def state(plan: Plan, loan: Terms, day: int) -> State:
    """State of loans at the end of ``day``."""
    due_count = loan.due_count(day)
    due = loan.due(due_count)
    late = is_late(plan, loan, due_count) & (due_count > 0)
    caught_up = late & (due + DAYS_TO_CATCH_UP <= day)
    paid = np.minimum(due_count - (late & ~caught_up), loan.failing_from - 1)
    missed = due_count - np.minimum(due_count, loan.failing_from - 1)
    status = np.where(
        plan.draws(NAME, loan.index).chance("restructured", 0.015), RESTRUCTURED, np.full_like(paid, ACTIVE)
    )
    status = np.where(missed >= MISSED_TO_DEFAULT, DEFAULTED, status)
    status = np.where(missed >= MISSED_TO_WRITE_OFF, WRITTEN_OFF, status)
    status = np.where(paid >= loan.count, PAID_OFF, status)
    return State(status, loan.remaining(paid), np.where(caught_up, due + DAYS_TO_CATCH_UP, due))


def due_on(plan: Plan, day: int, batch: int) -> tuple[Terms, Ints]:
    """Loans older than ``batch`` with an instalment due on ``day``, and the number of that instalment."""
    month, first = _month_of(day)
    due_day = day - first + 1
    if due_day > _DUE_DAYS:
        loan = terms(plan, to.no_rows())
        return loan, to.no_rows()
    existing = plan.loans.start(batch)
    runs = np.arange(-(-existing // _DUE_DAYS), dtype=np.int64)
    index = runs * _DUE_DAYS + (due_day - 1 - _due_offset(plan, runs)) % _DUE_DAYS
    loan = terms(plan, index[index < existing])
    number, rest = np.divmod(month - loan.start_month, loan.gap)
    hit = (rest == 0) & (number >= 1) & (number <= loan.billed)
    return loan.take(np.flatnonzero(hit)), number[hit]


def caught_up_on(plan: Plan, day: int, batch: int) -> tuple[Terms, Ints]:
    """Loans older than ``batch`` with a late instalment that is paid on ``day``, and its number."""
    loan, number = due_on(plan, day - DAYS_TO_CATCH_UP, batch)
    hit = is_late(plan, loan, number)
    return loan.take(np.flatnonzero(hit)), number[hit]


@cache
def month_starts() -> Ints:
    """First day of each month since January 1970, up to the end of 2120."""
    return np.arange(12 * 151).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def blocks(plan: Plan, batch: int) -> int:
    """Number of blocks in a batch."""
    growth = plan.loans
    return block_count(growth.end(batch) - growth.start(batch) + len(_changed(plan, batch)))


def block(plan: Plan, batch: int, number: int) -> Block:
    """Row indices of one block."""
    return block_of(plan.loans, batch, number, _changed(plan, batch))


def rows(plan: Plan, index: Ints, batch: int, keys: Ints | None = None) -> pl.DataFrame:
    """Loans as they stand at the end of ``batch``; see :class:`~datagen.entity.Rows`."""
    draws = plan.draws(NAME, index)
    keys = index + 1 if keys is None else keys
    loan = terms(plan, index)
    now = state(plan, loan, BASE_DAY + batch)
    collateral, value = _collateral(plan, loan)
    seconds = 6 * 3600 + draws.below("updated_second", 16 * 3600, now.changed)
    return pl.DataFrame(
        {
            "loan_id": to.join(PREFIX, to.digits(keys, WIDTH)),
            "customer_id": to.join(customers.PREFIX, to.digits(loan.customer + 1, customers.WIDTH)),
            "product": to.texts(PRODUCTS, loan.product),
            "principal": to.money(loan.principal),
            "currency": to.texts(tuple(item.currency for item in COUNTRIES), loan.country),
            "annual_rate": to.rate(loan.rate),
            "term_months": to.whole(loan.months),
            "repayment_type": to.texts(REPAYMENTS, loan.repayment),
            "start_date": to.dates(loan.start),
            "maturity_date": to.dates(loan.due(loan.count)),
            "status": to.texts(STATUSES, now.status),
            "outstanding_principal": to.money(now.outstanding),
            "collateral_type": to.texts(COLLATERALS, collateral),
            "collateral_value": to.either(collateral != UNSECURED, to.money(value)),
            "branch_code": to.texts(BRANCHES, _BRANCH(draws.bits("branch"))),
            "updated_at": to.timestamps(now.changed, seconds),
        }
    )


@lru_cache(maxsize=2)
def _changed(plan: Plan, batch: int) -> Ints:
    """Loans whose status or outstanding principal differs from the day before, ascending."""
    if batch == 0:
        return to.no_rows()
    day = BASE_DAY + batch
    found = []
    for loan, _ in (due_on(plan, day, batch), caught_up_on(plan, day, batch)):
        before, after = state(plan, loan, day - 1), state(plan, loan, day)
        differs = (before.status != after.status) | (before.outstanding != after.outstanding)
        found.append(loan.index[differs])
    return np.sort(np.concatenate(found))


def _due_day(plan: Plan, index: Ints) -> Ints:
    """Each run of 28 loans has one loan for each due day."""
    return 1 + (index % _DUE_DAYS + _due_offset(plan, index // _DUE_DAYS)) % _DUE_DAYS


def _due_offset(plan: Plan, runs: Ints) -> Ints:
    return plan.draws(f"{NAME}/due", runs).below("offset", _DUE_DAYS)


def _collateral(plan: Plan, loan: Terms) -> tuple[Ints, Ints]:
    """Kind and value in cents: houses and cars secure the loans that buy them."""
    draws = plan.draws(NAME, loan.index)
    pledged = np.where(draws.chance("pledged", 0.4), SECURITIES, UNSECURED)
    kind = np.array([PROPERTY, VEHICLE, UNSECURED, UNSECURED, UNSECURED])[loan.product]
    kind = np.where(loan.product == BUSINESS, pledged, kind)
    percent = 105 + draws.below("collateral", 90)
    return kind, loan.principal * percent // 100 // 10_000 * 10_000


def _power(base: npt.NDArray[np.float64], exponent: Ints) -> npt.NDArray[np.float64]:
    """``base ** exponent`` by squaring: only multiplications, so the same bits on every processor."""
    result = np.ones_like(base)
    square = base
    for bit in range(int(exponent.max(initial=0)).bit_length()):
        result = np.where(exponent >> bit & 1, result * square, result)
        square = square * square
    return result


def _month_of(day: int) -> tuple[int, int]:
    """Month of a day, and the first day of that month."""
    month = int(np.searchsorted(month_starts(), day, side="right")) - 1
    return month, int(month_starts()[month])


def _growth(plan: Plan) -> Growth:
    return plan.loans


LOANS = Entity(
    name=NAME,
    prefix=PREFIX,
    width=WIDTH,
    growth=_growth,
    blocks=blocks,
    block=block,
    rows=rows,
    older=pl.col("branch_code").replace(NEXT_BRANCH),
)
