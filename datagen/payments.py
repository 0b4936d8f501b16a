"""Payments: the instalments of loans, billed one ahead, paid in time, late, partly or never.

A payment's row index holds its loan's index and its number in the loan's schedule, so that no list of
payments has to be kept: ``index = loan * 10_000 + number``.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from datagen import columns as to
from datagen import loans
from datagen.countries import COUNTRIES
from datagen.entity import Entity
from datagen.rng import Choice, Ints
from datagen.schedule import BASE_DAY, BLOCK_ROWS, Block, Growth, Plan, block_count

NAME, PREFIX, WIDTH = "payments", "P", 14

NUMBERS = 10_000
"""Room for instalment numbers in a payment's index."""

METHODS = ("direct_debit", "bank_transfer", "card", "cash", "cheque")
DIRECT_DEBIT = 0
STATUSES = ("scheduled", "paid", "partial", "missed")
SCHEDULED, PAID, PARTIAL, MISSED = range(len(STATUSES))

_LOANS_PER_BLOCK = BLOCK_ROWS // 8
_METHOD = Choice([62, 22, 8, 4, 4])


def blocks(plan: Plan, batch: int) -> int:
    """Number of blocks in a batch."""
    if batch == 0:
        return existing_blocks(plan, 0)
    index, _ = _increment(plan, batch)
    return block_count(len(index))


def block(plan: Plan, batch: int, number: int) -> Block:
    """Row indices of one block: in batch 0 all payments of some loans, later those of one day."""
    if batch == 0:
        return existing(plan, 0, number)
    index, changed = _increment(plan, batch)
    low, high = number * BLOCK_ROWS, (number + 1) * BLOCK_ROWS
    return Block(index[low:high], max(0, min(changed, high) - low))


def existing_blocks(plan: Plan, batch: int) -> int:
    """Number of blocks in a snapshot."""
    return -(-plan.loans.end(batch) // _LOANS_PER_BLOCK)


def existing(plan: Plan, batch: int, number: int) -> Block:
    """Row indices of one block of a snapshot: all payments of some loans."""
    low = number * _LOANS_PER_BLOCK
    index = np.arange(low, min(low + _LOANS_PER_BLOCK, plan.loans.end(batch)), dtype=np.int64)
    now = _billed(plan, index, batch)
    before = np.zeros_like(now)
    if batch:
        old = index < plan.loans.start(batch)
        before[old] = _billed(plan, index[old], batch - 1)
    first, last = _numbered(index, np.zeros_like(now), before), _numbered(index, before, now)
    return Block(np.concatenate([first, last]), len(first))


def gone(plan: Plan, batch: int) -> Ints:
    """Row indices of the payments of loans whose borrowers leave in a batch."""
    index = loans.gone(plan, batch)
    return _numbered(index, np.zeros_like(index), _billed(plan, index, batch - 1))


def _billed(plan: Plan, index: Ints, batch: int) -> Ints:
    """How many instalments of loans are billed by the end of a batch."""
    loan = loans.terms(plan, index)
    due_days = loan.due_count(BASE_DAY + batch)
    return loans.course(plan, loan, due_days).billed(loan, due_days)


def _numbered(loan: Ints, after: Ints, last: Ints) -> Ints:
    """Row indices of the instalments after number ``after``, up to number ``last``, of each loan."""
    count = last - after
    nth = np.arange(count.sum(), dtype=np.int64) - np.repeat(np.cumsum(count) - count, count)
    numbered: Ints = np.repeat(loan * NUMBERS + after, count) + nth + 1
    return numbered


@lru_cache(maxsize=2)
def _increment(plan: Plan, batch: int) -> tuple[Ints, int]:
    """All payments of a later batch, and how many of them (the first ones) are changed."""
    day = BASE_DAY + batch
    born = np.arange(plan.loans.start(batch), plan.loans.end(batch), dtype=np.int64)
    changed, new = [to.no_rows()], [born * NUMBERS + 1]
    for due, number in loans.due_on(plan, day, batch):
        went = loans.course(plan, due, number)
        # What was overdue and is paid today, oldest first.
        before = went.paid_by(np.maximum(number - 1, 0))
        paid = np.maximum(np.minimum(went.paid_by(number), number - 1), before)
        fallen_due = number <= due.last
        changed += [_numbered(due.index, before, paid), (due.index * NUMBERS + number)[fallen_due]]
        more = went.billed(due, number) > number
        new.append(due.index[more] * NUMBERS + number[more] + 1)
    for late, number in loans.caught_up_on(plan, day, batch):
        changed.append(late.index * NUMBERS + number)
    both = np.sort(np.concatenate(changed))
    return np.concatenate([both, np.sort(np.concatenate(new))]), len(both)


def table(plan: Plan, index: Ints, batch: int, keys: Ints | None = None) -> to.Table:
    """Payments as they stand at the end of ``batch``; see :class:`~datagen.entity.MakeTable`."""
    day = BASE_DAY + batch
    draws = plan.draws(NAME, index)
    loan_index, number = np.divmod(index, NUMBERS)
    # Neighbours share a loan, so its terms are worked out once for all of them.
    unique, position = np.unique(loan_index, return_inverse=True)
    loans_of = loans.terms(plan, unique)
    loan = loans_of.take(position)
    due = loan.due(number)
    principal, interest = loan.parts(number)
    amount = principal + interest

    method = _METHOD(plan.draws(NAME, loan_index).bits("method"))
    due_days = loans_of.due_count(day)
    went = loans.course(plan, loans_of, due_days)
    paid_on = went.paid_on(position, number)
    fallen_due = due <= day
    is_paid = paid_on <= due_days[position]
    later = is_paid & (paid_on > number)
    # Who pays arrears on a due day pays that day's instalment with them.
    in_arrears = went.paid_on(position, number - 1) > number - 1
    late = fallen_due & is_paid & ~later & ~in_arrears & loans.is_late(plan, loan, number)
    caught_up = late & (due + loans.DAYS_TO_CATCH_UP <= day)
    unpaid = fallen_due & (~is_paid | (late & ~caught_up))
    partial = unpaid & draws.chance("partial", 0.3)
    status = np.where(fallen_due, PAID, np.full_like(number, SCHEDULED))
    status = np.where(unpaid, np.where(partial, PARTIAL, MISSED), status)

    part = amount * (20 + draws.below("part", 60)) // 100
    paid = np.where(status == PAID, amount, np.where(partial, part, 0))
    early = np.where(method == DIRECT_DEBIT, 0, draws.below("early", 3))
    in_time = np.maximum(due - early, loan.start)
    paid_day = np.where(later, loan.due(paid_on), in_time)
    paid_day = np.where(caught_up, due + loans.DAYS_TO_CATCH_UP, paid_day)
    level = np.array([item.price_level for item in COUNTRIES])[loan.country]
    fee = np.where(late | later | unpaid, 1_500 * level // 100, 0)
    event = np.where(caught_up | later, paid_day, np.where(fallen_due, due, loan.due(number - 1)))
    seconds = 6 * 3600 + draws.below("updated_second", 16 * 3600, event)
    return to.Table(
        {
            "payment_id": to.join(PREFIX, to.digits(index + NUMBERS if keys is None else keys, WIDTH)),
            "loan_id": to.join(loans.PREFIX, to.digits(loan_index + 1, loans.WIDTH)),
            "installment_number": to.whole(number),
            "due_date": to.dates(due),
            "paid_date": to.either((status == PAID) | partial, to.dates(paid_day)),
            "amount_due": to.money(amount),
            "principal_due": to.money(principal),
            "interest_due": to.money(interest),
            "amount_paid": to.money(paid),
            "late_fee": to.money(fee),
            "currency": to.texts(tuple(item.currency for item in COUNTRIES), loan.country),
            "method": to.texts(METHODS, method),
            "status": to.texts(STATUSES, status),
            "updated_at": to.timestamps(event, seconds),
        }
    )


def _growth(plan: Plan) -> Growth:
    return plan.loans


_NEXT_METHOD = dict(zip(METHODS, (*METHODS[1:], METHODS[0]), strict=True))

PAYMENTS = Entity(
    name=NAME,
    prefix=PREFIX,
    width=WIDTH,
    growth=_growth,
    blocks=blocks,
    block=block,
    table=table,
    older=lambda rows: rows.replace(method=to.replaced(rows.columns["method"], _NEXT_METHOD)),
    owner=lambda plan, index: loans.customer_of(plan, index // NUMBERS),
    existing_blocks=existing_blocks,
    existing=existing,
    gone=gone,
    step=NUMBERS,
)
