"""What a batch holds of loans, block by block."""

from __future__ import annotations

from functools import lru_cache
from itertools import chain

import numpy as np

from datagen import columns as to
from datagen import customers
from datagen.accounts import NEXT_BRANCH
from datagen.entity import Entity
from datagen.loans.amortisation import NAME
from datagen.loans.columns import table
from datagen.loans.delinquency import state
from datagen.loans.due import caught_up_on, due_on
from datagen.loans.origination import PREFIX, WIDTH, customer_of
from datagen.rng import Ints
from datagen.schedule import BASE_DAY, Growth, Numbered, Plan


@lru_cache(maxsize=2)
def gone(plan: Plan, batch: int) -> Ints:
    """Row indices of the loans whose borrowers leave in a batch."""
    return customers.leaving(plan, batch, plan.loans.start(batch), customer_of)


@lru_cache(maxsize=2)
def _changed(plan: Plan, batch: int) -> Ints:
    """Loans on which something happens in a batch, be it a due day without a payment; ascending."""
    if batch == 0:
        return to.no_rows()
    day = BASE_DAY + batch
    found = [to.no_rows()]
    for loan, _ in chain(due_on(plan, day, batch), caught_up_on(plan, day, batch)):
        before, after = state(plan, loan, day - 1), state(plan, loan, day)
        differs = (before.status != after.status) | (before.outstanding != after.outstanding)
        differs |= before.changed != after.changed
        found.append(loan.index[differs])
    return np.sort(np.concatenate(found))


def _growth(plan: Plan) -> Growth:
    return plan.loans


_NUMBERED = Numbered(_growth, _changed)

LOANS = Entity(
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
