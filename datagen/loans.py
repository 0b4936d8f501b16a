"""Loans: terms, repayment schedules to the cent, and what has become of them on any day.

Sources:

- Schedules: the annuity formula ``principal * r / (1 - (1 + r) ** -n)`` with ``r`` a twelfth of the yearly
  rate (Brealey, Myers and Allen, Principles of Corporate Finance); the last instalment takes the rest.
- Arrears: a Markov chain over instalments overdue, the roll-rate model of Cyert, Davidson and Thompson
  (Estimation of the allowance for doubtful accounts by Markov chains, Management Science 8, 1962). More than
  90 days past due is default (Regulation (EU) 575/2013, article 178). The rates themselves are assumptions.
- Early repayment: the PSA standard prepayment model (Public Securities Association, 1985): the yearly share
  of loans repaid early rises by 0.2 % a month to 6 % from month 30 on.
- Partial early repayment (curtailment): some borrowers once pay a part of what is left together with an
  instalment; from then on the annuity is that of the rest over the rest of the term, by the same formula. How
  many, when and how much are assumptions.
- Restructuring: an extended term, one of the forbearance measures of the European Banking Authority's
  guidelines on non-performing exposures (EBA/GL/2018/06): from then on the borrower pays one instalment a
  month, and the arrears at the end.
- Products, terms and the age of loans are assumptions.

Time is counted in months since January 1970 and in days since 1970-01-01. Instalment k of a loan is due k
gaps after the month in which the loan was paid out, always on the same day of the month.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from math import log

import numpy as np
import numpy.typing as npt
import polars as pl

from datagen import columns as to
from datagen import customers
from datagen.accounts import BRANCHES, NEXT_BRANCH
from datagen.countries import COUNTRIES
from datagen.entity import Entity
from datagen.profile import PRODUCTS
from datagen.rng import Bools, Choice, Ints, Quantiles, choice
from datagen.schedule import BASE_DAY, Block, Growth, Plan, block_count, block_of, existing_of

NAME, PREFIX, WIDTH = "loans", "L", 10

MORTGAGE, AUTO, PERSONAL, STUDENT, BUSINESS = range(len(PRODUCTS))
REPAYMENTS = ("annuity", "interest_only", "bullet")
ANNUITY, INTEREST_ONLY, BULLET = range(len(REPAYMENTS))
STATUSES = ("active", "paid_off", "defaulted", "written_off", "restructured")
ACTIVE, PAID_OFF, DEFAULTED, WRITTEN_OFF, RESTRUCTURED = range(len(STATUSES))
COLLATERALS = ("property", "vehicle", "securities", "none")
PROPERTY, VEHICLE, SECURITIES, UNSECURED = range(len(COLLATERALS))

DAYS_TO_CATCH_UP = 12
"""Days after which a late payer pays."""
OVERDUE_TO_RESTRUCTURE = 3
OVERDUE_TO_DEFAULT = 4
OVERDUE_TO_WRITE_OFF = 7
MOST_AFTER_END = 12
"""Months after the last instalment in which arrears are still paid."""

_DUE_DAYS = 28
_OLDEST_MONTHS = 60
_BASE_MONTH = 12 * (2025 - 1970) + 11

_AGE = Choice([0.83**age for age in range(_OLDEST_MONTHS + 1)])
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
GRADES = (670, 580)
"""Least credit score of good and of fair borrowers; all others are poor ones (FICO's bands)."""
FIRST_MISS = (4, 15, 45)
"""Of 1000 borrowers who owe nothing, how many miss their next instalment, by grade."""
PAY_ONE, PAY_NONE, PAY_ALL, PAY_TWO = range(4)
ROLL_RATES = (
    (340, 260, 330, 70),
    (300, 450, 180, 70),
    (150, 650, 120, 80),
    (0, 880, 120, 0),
)
"""Of 1000 borrowers with 1, 2, 3 and more instalments overdue: how many pay one instalment when the next is
due (and stay), none (and roll on), all that is overdue, and two."""
RESTRUCTURED_SHARE = 350
"""Of 1000 borrowers with three instalments overdue, how many get their loan restructured."""
_ROLL = Choice(*ROLL_RATES)
_SLOPPY_SHARE = 0.11
_LATE_SHARE = 0.35
_NEVER = 30_000


@cache
def _first_misses(arrears: float) -> Quantiles:
    """Thousandths of instalments until the first one that is missed, by grade: exponential."""
    least = 1 / (2 * _STEPS)
    return Quantiles(
        [
            [
                round(1000 * log(max(1 - step / _STEPS, least)) / log(1 - _monthly(rate, arrears)))
                for step in range(_STEPS + 1)
            ]
            for rate in FIRST_MISS
        ]
    )


def _monthly(rate: int, factor: float) -> float:
    """Share of borrowers who miss an instalment, from a rate per 1000; never none, never all."""
    return min(max(rate * factor / 1000, 1e-6), 0.9)


@cache
def _prepayments() -> Quantiles:
    """Month in which a loan is repaid early, by the PSA model, if it is not over by then."""
    left, months = 1.0, [1]
    edges = iter([1 - step / _STEPS for step in range(1, _STEPS)])
    edge = next(edges)
    for month in range(1, 481):
        left *= (1 - 0.06 * min(month, 30) / 30) ** (1 / 12)
        while left <= edge:
            months.append(month)
            edge = next(edges)
    return Quantiles([months + [_NEVER] * (_STEPS + 1 - len(months))])


_STEPS = 1 << 10


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
    """What was agreed, and how good the borrower is; one value per loan.

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
        grade: Position of the borrower's grade: good, fair, poor.
        extra_number: Number of the instalment with which a part is repaid early, or far away.
        extra: That part of the principal, in cents.
        rest: Principal in cents that is left after it.
        later_installment: Regular instalment in cents after it.
        last: Number of the last instalment; before ``count`` when the loan is repaid early.
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
    grade: Ints
    extra_number: Ints
    extra: Ints
    rest: Ints
    later_installment: Ints
    last: Ints

    def due(self, number: Ints) -> Ints:
        """Day on which instalment ``number`` (from 1) is due; for 0, the day of the payout.

        After the agreed end arrears fall due from month to month.
        """
        months = np.minimum(number, self.count) * self.gap + np.maximum(number - self.count, 0)
        due = month_starts()[self.start_month + months] + self.due_day - 1
        return np.where(number == 0, self.start, due)

    def due_count(self, day: int) -> Ints:
        """Number of due days by the end of ``day``, with those after the end."""
        month, first = _month_of(day)
        return self.number_in(month - (self.due_day > day - first + 1))

    def number_in(self, month: int | Ints) -> Ints:
        """Number of due days by those of ``month``."""
        elapsed = month - self.start_month
        after = elapsed - self.count * self.gap
        number = np.where(after > 0, self.count + after, elapsed // self.gap)
        return np.clip(number, 0, self.last + MOST_AFTER_END)

    def billed(self, went: Course, due_days: Ints) -> Ints:
        """Number of instalments that are billed by then: one ahead, and none on written-off loans."""
        return np.minimum(np.minimum(due_days + 1, self.last), went.end)

    def remaining(self, number: Ints) -> Ints:
        """Principal in cents that is left when ``number`` instalments have been paid."""
        first = self._paid_down(self.principal, self.installment, number)
        after = number - self.extra_number
        if (after >= 0).any():
            later = self._paid_down(self.rest, self.later_installment, np.maximum(after, 0))
            first = np.where(after >= 0, later, first)
        left = np.where(self.repayment == ANNUITY, first, self.principal)
        return np.where(number >= self.last, 0, np.clip(left, 0, self.principal))

    def parts(self, number: Ints) -> tuple[Ints, Ints]:
        """Principal and interest, in cents, of instalment ``number`` (from 1)."""
        before = self.remaining(number - 1)
        principal = before - self.remaining(number)
        regular = principal - np.where(number == self.extra_number, self.extra, 0)
        installment = np.where(number > self.extra_number, self.later_installment, self.installment)
        interest = np.maximum(installment - regular, 0)
        last = np.rint(before * self._monthly_rate * self.gap).astype(np.int64)
        return principal, np.where(number >= self.last, last, interest)

    def take(self, position: Ints) -> Terms:
        """Terms of some of the loans, by position; one may come more than once."""
        return Terms(**{name: getattr(self, name)[position] for name in Terms.__dataclass_fields__})

    def _paid_down(self, principal: Ints, installment: Ints, number: Ints) -> Ints:
        """Principal in cents of annuities that is left after so many instalments."""
        growth = _power(self._growth, number)
        left: npt.NDArray[np.float64] = np.rint(
            principal * growth - installment * ((growth - 1) / self._monthly_rate)
        )
        return left.astype(np.int64)

    @property
    def _monthly_rate(self) -> npt.NDArray[np.float64]:
        return self.rate / 12_000_000

    @property
    def _growth(self) -> npt.NDArray[np.float64]:
        return 1 + self._monthly_rate


def _started(plan: Plan, index: Ints) -> tuple[Ints, Ints]:
    """Day, and its month, on which loans were paid out."""
    draws = plan.draws(NAME, index)
    birth = plan.loans.birth(index)
    age = _AGE(draws.bits("age"))
    month = np.searchsorted(month_starts(), BASE_DAY + birth, side="right").astype(np.int64) - 1
    start_month = np.where(birth > 0, month, _BASE_MONTH - age)
    history = month_starts()[start_month] + draws.below("start_day", _DUE_DAYS)
    return np.where(birth > 0, BASE_DAY + birth, history), start_month


def customer_of(plan: Plan, index: Ints) -> Ints:
    """Row index of each loan's borrower, who was a customer when it was paid out."""
    return _customer_of(plan, index, _started(plan, index)[0])


def _customer_of(plan: Plan, index: Ints, start: Ints) -> Ints:
    birth = plan.loans.birth(index)
    known = np.where(
        birth > 0, plan.customers.initial + birth * plan.customers.daily, customers.joined_by(plan, start)
    )
    return plan.draws(NAME, index).below("customer", known)


def terms(plan: Plan, index: Ints) -> Terms:
    """Terms of loans by row index."""
    draws = plan.draws(NAME, index)
    start, start_month = _started(plan, index)
    customer = _customer_of(plan, index, start)
    country = customers.country_of(plan, customer)
    product = choice(plan.profile.loan_products)(draws.bits("product"))
    repayment = _REPAYMENT(draws.bits("repayment"), product)
    level = np.array([item.price_level for item in COUNTRIES])[country]
    principal = _principals()(draws.bits("principal"), product) * level // 100 // 10_000 * 10_000
    months = _TERMS[product, draws.below("term", _TERMS.shape[1])]
    rate = _RATES[product, 0] + 500 * draws.below("rate", _RATES[product, 1])
    bullet = repayment == BULLET
    count = np.where(bullet, 1, months)
    monthly = rate / 12_000_000
    annuity = _annuity(principal, monthly, count)
    regular = np.where(repayment == ANNUITY, annuity, principal * monthly)
    early = np.where(bullet, _NEVER, _prepayments()(draws.bits("prepayment"), np.zeros_like(index)))
    score = customers.first_score(plan, customer)
    agreed = Terms(
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
        sloppy=draws.chance("sloppy", _SLOPPY_SHARE),
        grade=(score < GRADES[0]).astype(np.int64) + (score < GRADES[1]),
        extra_number=np.full_like(index, _NEVER),
        extra=np.zeros_like(index),
        rest=np.zeros_like(index),
        later_installment=np.zeros_like(index),
        last=np.minimum(count, early),
    )
    return _with_extra(plan, agreed)


def _with_extra(plan: Plan, loan: Terms) -> Terms:
    """Terms with the one partial repayment that some borrowers make."""
    draws = plan.draws(NAME, loan.index)
    number = 1 + draws.below("extra_number", np.maximum(loan.count - 1, 1))
    chosen = draws.chance("extra", plan.profile.extra_repayments) & (loan.repayment == ANNUITY)
    place = np.flatnonzero(chosen & (number < loan.last))
    some, number = loan.take(place), number[place]
    left = some.remaining(number)
    extra = left * (5 + draws.below("extra_part", 40)[place]) // 100
    later = _annuity(left - extra, some.rate / 12_000_000, some.count - number)
    for values, found in (
        (loan.extra_number, number),
        (loan.extra, extra),
        (loan.rest, left - extra),
        (loan.later_installment, np.rint(later).astype(np.int64)),
    ):
        values[place] = found
    return loan


def _annuity(principal: Ints, monthly: npt.NDArray[np.float64], count: Ints) -> npt.NDArray[np.float64]:
    """Instalment in cents that pays back a principal, at a monthly rate, in so many months."""
    instalment: npt.NDArray[np.float64] = principal * monthly / (1 - 1 / _power(1 + monthly, count))
    return instalment


@dataclass(frozen=True)
class Course:
    """How loans went, from due day to due day.

    Attributes:
        paid: Instalments that are paid by the end of each due day; one row per loan, and one column per due
            day, from the payout on.
        end: Due day by which a loan is paid off or written off, after which nothing happens; or far away.
        restructured: Due day on which it is restructured, or far away.
    """

    paid: Ints
    end: Ints
    restructured: Ints

    def paid_by(self, number: Ints) -> Ints:
        """Instalments that are paid by due day ``number``; one value per loan."""
        return self.paid[np.arange(len(number)), number]

    def paid_on(self, row: Ints, number: Ints) -> Ints:
        """Due day on which an instalment was paid; one more than is known when it was not.

        Args:
            row: Position of the loan.
            number: Number of the instalment.
        """
        width = self.paid.shape[1]
        line = self.paid + (np.arange(len(self.paid), dtype=np.int64) * _NEVER)[:, None]
        found: Ints = np.searchsorted(line.reshape(-1), row * _NEVER + number) - row * width
        return found


def course(plan: Plan, loan: Terms, due_days: Ints) -> Course:
    """Let loans run up to some due day of each.

    Args:
        plan: Seed and sizes.
        loan: The loans.
        due_days: How far each is needed.
    """
    days = int(due_days.max(initial=0))
    paid = np.minimum(np.arange(days + 1), loan.last[:, None])
    end, restructured = np.minimum(loan.last, _NEVER), np.full_like(loan.last, _NEVER)
    # Most borrowers never miss an instalment, and who repays early, all or a part, does not either.
    bits = plan.draws(NAME, loan.index).bits("first_miss")
    first_miss = 1 + _first_misses(plan.profile.arrears)(bits, loan.grade) // 1000
    as_agreed = (loan.last == loan.count) & (loan.extra_number == _NEVER)
    missing = np.flatnonzero((first_miss <= loan.last) & as_agreed & (first_miss <= due_days))
    if len(missing):
        some, first_miss = loan.take(missing), first_miss[missing]
        draws = plan.draws(NAME, some.index)
        rates = np.array([round(100_000 * _monthly(rate, plan.profile.arrears)) for rate in FIRST_MISS])
        overdue = np.zeros_like(first_miss)
        ended, helped = np.full_like(overdue, _NEVER), np.full_like(overdue, _NEVER)
        for day in range(1, days + 1):
            at = np.full_like(overdue, day)
            roll = _ROLL(draws.bits("roll", at), np.clip(overdue - 1, 0, len(ROLL_RATES) - 1))
            missed = draws.below("miss", 100_000, at) < rates[some.grade]
            again = np.where(missed & (day > first_miss) | (day == first_miss), PAY_NONE, PAY_ONE)
            act = np.where(overdue == 0, again, np.where(helped < day, PAY_ONE, roll))
            following = np.where(act == PAY_ALL, 0, overdue + np.array([0, 1, 0, -1])[act])
            # Where all is over, instalments paid stand still while due days go on.
            overdue = np.where(ended < day, overdue + 1, following)
            newly = (overdue == OVERDUE_TO_RESTRUCTURE) & (act == PAY_NONE) & (ended > day)
            chosen = draws.below("restructured", 1000, at) < RESTRUCTURED_SHARE
            helped = np.where(newly & chosen & (helped > day), day, helped)
            now = np.minimum(day - overdue, some.last)
            done = (now >= some.last) | (overdue >= OVERDUE_TO_WRITE_OFF)
            ended = np.where(done & (ended > day), day, ended)
            paid[missing, day] = now
        end[missing], restructured[missing] = ended, helped
    return Course(paid, end, restructured)


def is_late(plan: Plan, loan: Terms, number: Ints) -> Bools:
    """Whether instalment ``number`` of a sloppy payer, if paid, is ``DAYS_TO_CATCH_UP`` days late."""
    draws = plan.draws(NAME, loan.index)
    return loan.sloppy & (number < loan.last) & draws.chance("late", _LATE_SHARE, number)


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
    due_days = loan.due_count(day)
    went = course(plan, loan, due_days)
    number = np.minimum(due_days, went.end)
    due, paid = loan.due(number), went.paid_by(number)
    before = went.paid_by(np.maximum(number - 1, 0))
    late = is_late(plan, loan, number) & (number > 0) & (before == number - 1) & (paid == number)
    caught_up = late & (due + DAYS_TO_CATCH_UP <= day)
    paid = paid - (late & ~caught_up)
    overdue = number - paid - (late & ~caught_up)
    status = np.where(went.restructured <= number, RESTRUCTURED, np.full_like(paid, ACTIVE))
    status = np.where((overdue >= OVERDUE_TO_DEFAULT) & (status == ACTIVE), DEFAULTED, status)
    status = np.where(overdue >= OVERDUE_TO_WRITE_OFF, WRITTEN_OFF, status)
    status = np.where(paid >= loan.last, PAID_OFF, status)
    return State(status, loan.remaining(paid), np.where(caught_up, due + DAYS_TO_CATCH_UP, due))


def due_on(plan: Plan, day: int, batch: int) -> tuple[Terms, Ints]:
    """Loans older than ``batch`` that are due on ``day``, and the number of that due day.

    Among them are loans in arrears whose last instalment was due before.
    """
    month, first = _month_of(day)
    due_day = day - first + 1
    if due_day > _DUE_DAYS:
        loan = terms(plan, to.no_rows())
        return loan, to.no_rows()
    existing = plan.loans.start(batch)
    runs = np.arange(-(-existing // _DUE_DAYS), dtype=np.int64)
    index = runs * _DUE_DAYS + (due_day - 1 - _due_offset(plan, runs)) % _DUE_DAYS
    loan = terms(plan, index[index < existing])
    number = loan.number_in(month)
    hit = (number >= 1) & (loan.due(number) == day)
    loan, number = loan.take(np.flatnonzero(hit)), number[hit]
    going_on = np.flatnonzero(number <= course(plan, loan, number).end)
    return loan.take(going_on), number[going_on]


def caught_up_on(plan: Plan, day: int, batch: int) -> tuple[Terms, Ints]:
    """Loans older than ``batch`` with a late instalment that is paid on ``day``, and its number."""
    loan, number = due_on(plan, day - DAYS_TO_CATCH_UP, batch)
    went = course(plan, loan, number)
    in_time = (went.paid_by(number) == number) & (went.paid_by(np.maximum(number - 1, 0)) == number - 1)
    hit = is_late(plan, loan, number) & in_time
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


def existing_blocks(plan: Plan, batch: int) -> int:
    """Number of blocks in a snapshot."""
    return block_count(plan.loans.end(batch))


def existing(plan: Plan, batch: int, number: int) -> Block:
    """Row indices of one block of a snapshot."""
    return existing_of(plan.loans, batch, number)


@lru_cache(maxsize=2)
def gone(plan: Plan, batch: int) -> Ints:
    """Row indices of the loans whose borrowers leave in a batch."""
    return customers.leaving(plan, batch, plan.loans.start(batch), customer_of)


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
    """Loans on which something happens in a batch, be it a due day without a payment; ascending."""
    if batch == 0:
        return to.no_rows()
    day = BASE_DAY + batch
    found = []
    for loan, _ in (due_on(plan, day, batch), caught_up_on(plan, day, batch)):
        before, after = state(plan, loan, day - 1), state(plan, loan, day)
        differs = (before.status != after.status) | (before.outstanding != after.outstanding)
        differs |= before.changed != after.changed
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
    owner=customer_of,
    existing_blocks=existing_blocks,
    existing=existing,
    gone=gone,
)
