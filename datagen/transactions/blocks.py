"""What a batch holds of transactions, block by block."""

from __future__ import annotations

import numpy as np

from datagen import accounts, schedule
from datagen import columns as to
from datagen.entity import Entity
from datagen.rng import Ints, spread_sample
from datagen.schedule import BASE_DAY, HISTORY_DAYS, Block, Growth, Plan
from datagen.transactions.balances import arrivals
from datagen.transactions.columns import PREFIX, WIDTH, labels, table
from datagen.transactions.facts import facts_of
from datagen.transactions.holders import holders_of
from datagen.transactions.kinds import NAME, REVERSED_AFTER, SETTLES_AFTER
from datagen.transactions.occurrence import FIRST_DAY, SPAN, index_of, is_late

_ROWS_PER_ACCOUNT = 24
"""About as many rows has an account in the history; it decides the size of blocks only."""


def _accounts_per_block(batch: int) -> int:
    return max(1, schedule.BLOCK_ROWS // (1 if batch else _ROWS_PER_ACCOUNT))


def blocks(plan: Plan, batch: int) -> int:
    """Number of blocks in a batch."""
    return -(-plan.accounts.end(batch) // _accounts_per_block(batch))


def block(plan: Plan, batch: int, number: int) -> Block:
    """Row indices of one block: all that happens on some accounts, first what changes."""
    # First accounts see the most moves and come first; each block gets its share of them.
    account = np.arange(number, plan.accounts.end(batch), blocks(plan, batch), dtype=np.int64)
    holders = holders_of(plan, account)
    if batch == 0:
        return Block(arrivals(plan, holders, FIRST_DAY, HISTORY_DAYS))
    today = BASE_DAY + batch
    changed = []
    for after in (REVERSED_AFTER, SETTLES_AFTER):
        index = index_of(plan, holders, today - after, 1)
        facts = facts_of(plan, plan.draws(NAME, index), index)
        changed.append(index[facts.slow if after == SETTLES_AFTER else facts.reverses])
    both = np.concatenate(changed)
    return Block(np.concatenate([np.sort(both), arrivals(plan, holders, today, 1)]), len(both))


def _existing_accounts(batch: int) -> int:
    """Accounts in a block of a snapshot."""
    return max(1, schedule.BLOCK_ROWS * HISTORY_DAYS // (_ROWS_PER_ACCOUNT * (HISTORY_DAYS + batch)))


def existing_blocks(plan: Plan, batch: int) -> int:
    """Number of blocks in a snapshot."""
    return -(-plan.accounts.end(batch) // _existing_accounts(batch))


def existing(plan: Plan, batch: int, number: int) -> Block:
    """Row indices of one block of a snapshot: all that has happened on some accounts."""
    account = np.arange(number, plan.accounts.end(batch), existing_blocks(plan, batch), dtype=np.int64)
    holders = holders_of(plan, account)
    if batch == 0:
        return Block(arrivals(plan, holders, FIRST_DAY, HISTORY_DAYS))
    old = arrivals(plan, holders, FIRST_DAY, HISTORY_DAYS + batch - 1)
    return Block(np.concatenate([old, arrivals(plan, holders, BASE_DAY + batch, 1)]), len(old))


def gone(plan: Plan, batch: int) -> Ints:
    """Row indices of the transactions on accounts whose holders leave in a batch."""
    account, most = accounts.gone(plan, batch), _existing_accounts(batch)
    found = [to.no_rows()]
    for low in range(0, len(account), most):
        holders = holders_of(plan, account[low : low + most])
        found.append(arrivals(plan, holders, FIRST_DAY, HISTORY_DAYS + batch - 1))
    return np.concatenate(found)


def earlier(plan: Plan, batch: int, number: int, count: int) -> Ints:
    """Up to ``count`` distinct rows from before ``batch``; others for each block of it."""
    if number >= blocks(plan, batch - 1):
        return to.no_rows()
    index = block(plan, batch - 1, number).index
    count = min(count, len(index))
    chosen = plan.draws(f"{NAME}/earlier/{batch}/{number}", np.arange(count, dtype=np.int64))
    return index[spread_sample(chosen, count, len(index))]


def _growth(plan: Plan) -> Growth:
    return plan.accounts


TRANSACTIONS = Entity(
    name=NAME,
    prefix=PREFIX,
    width=WIDTH,
    growth=_growth,
    blocks=blocks,
    block=block,
    table=table,
    earlier=earlier,
    labels=labels,
    older=lambda rows: rows.replace(description=to.join(rows.columns["description"], " (draft)")),
    owner=lambda plan, index: accounts.customer_of(plan, index // SPAN),
    existing_blocks=existing_blocks,
    existing=existing,
    gone=gone,
    is_late=is_late,
)
