"""Repayment schedules to the cent: annuity, interest only, bullet."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from datagen.rng import Bools, Ints

NAME = "loans"
"""Name of the entity, and of its streams of random numbers."""
REPAYMENTS = ("annuity", "interest_only", "bullet")
ANNUITY, INTEREST_ONLY, BULLET = range(len(REPAYMENTS))
MOST_AFTER_END = 12
"""Months after the last instalment in which arrears are still paid."""
DUE_DAYS = 28
"""Days of a month on which instalments can be due."""
NEVER = 30_000
"""Number of an instalment, or of a month, that is never reached."""


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
        month, first = month_of(day)
        return self.number_in(month - (self.due_day > day - first + 1))

    def number_in(self, month: int | Ints) -> Ints:
        """Number of due days by those of ``month``."""
        elapsed = month - self.start_month
        after = elapsed - self.count * self.gap
        number = np.where(after > 0, self.count + after, elapsed // self.gap)
        return np.clip(number, 0, self.last + MOST_AFTER_END)

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
        growth = power(self._growth, number)
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


def annuity(principal: Ints, monthly: npt.NDArray[np.float64], count: Ints) -> npt.NDArray[np.float64]:
    """Instalment in cents that pays back a principal, at a monthly rate, in so many months."""
    instalment: npt.NDArray[np.float64] = principal * monthly / (1 - 1 / power(1 + monthly, count))
    return instalment


def power(base: npt.NDArray[np.float64], exponent: Ints) -> npt.NDArray[np.float64]:
    """``base ** exponent`` by squaring: only multiplications, so the same bits on every processor."""
    result = np.ones_like(base)
    square = base
    for bit in range(int(exponent.max(initial=0)).bit_length()):
        result = np.where(exponent >> bit & 1, result * square, result)
        square = square * square
    return result


@cache
def month_starts() -> Ints:
    """First day of each month since January 1970, up to the end of 2120."""
    return np.arange(12 * 151).astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)


def month_of(day: int) -> tuple[int, int]:
    """Month of a day, and the first day of that month."""
    month = int(np.searchsorted(month_starts(), day, side="right")) - 1
    return month, int(month_starts()[month])
