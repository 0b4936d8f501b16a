"""Which rows are new and which are changed in which batch: pure arithmetic, nothing is remembered.

Batch 0 is the initial load, as of the end of the base day; batch n holds what happened on the n-th day
after it. Days are counted from 1970-01-01.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from math import ceil

import numpy as np

from datagen.profile import Profile, load
from datagen.rng import Draws, Ints

BASE_DATE = date(2025, 12, 31)
BASE_DAY = (BASE_DATE - date(1970, 1, 1)).days
HISTORY_DAYS = 90
"""Days of transactions in the initial load."""

BLOCK_ROWS = 100_000
"""About this many rows are made at a time; it decides memory, and is part of what a seed means."""

_CHANGE_PERIOD = 64


def ingest_date(batch: int) -> date:
    """Day on which a batch arrives."""
    return BASE_DATE + timedelta(days=batch)


@dataclass(frozen=True)
class Growth:
    """Row indices of an entity: ``initial`` rows in batch 0, ``daily`` more in every later batch."""

    initial: int
    daily: int

    def start(self, batch: int) -> int:
        """First index that is new in ``batch``."""
        return 0 if batch == 0 else self.end(batch - 1)

    def end(self, batch: int) -> int:
        """First index that is not there yet at the end of ``batch``."""
        return self.initial + batch * self.daily

    def birth(self, index: Ints) -> Ints:
        """Batch in which each row arrives."""
        birth: Ints = np.maximum(index - self.initial + self.daily, 0) // self.daily
        return birth


@dataclass(frozen=True)
class Plan:
    """Everything that decides the data, and the sizes that follow from it.

    Attributes:
        seed: Any integer; another seed is another bank.
        scale: Customers in the initial load.
        profile: What kind of bank it is.
    """

    seed: int
    scale: int
    profile: Profile = field(default_factory=load)

    @cached_property
    def customers(self) -> Growth:
        """Row indices of customers."""
        return Growth(self.scale, max(1, round(self.scale * self.profile.daily_growth)))

    @cached_property
    def accounts(self) -> Growth:
        """Row indices of accounts: one for each customer, then the further ones."""
        each = self.profile.accounts_per_customer
        return Growth(ceil(each * self.customers.initial), ceil(each * self.customers.daily))

    @cached_property
    def loans(self) -> Growth:
        """Row indices of loans."""
        each = self.profile.loans_per_customer
        return Growth(max(1, int(each * self.customers.initial)), max(1, int(each * self.customers.daily)))

    def draws(self, entity: str, index: Ints) -> Draws:
        """Random draws for some rows of an entity."""
        return Draws(self.seed, entity, index)


@dataclass(frozen=True)
class Block:
    """Rows that are made together.

    Attributes:
        index: Row indices, changed rows first.
        changed: How many of them are newer versions of rows from earlier batches.
    """

    index: Ints
    changed: int = 0

    def parts(self, most: int) -> Iterator[Block]:
        """The same rows in parts of at most ``most`` of them; one part at least."""
        for low in range(0, max(len(self.index), 1), most):
            part = self.index[low : low + most]
            yield Block(part, max(0, min(self.changed - low, len(part))))


def block_count(rows: int) -> int:
    """Number of blocks that hold ``rows`` rows."""
    return max(1, -(-rows // BLOCK_ROWS))


def block_of(growth: Growth, batch: int, number: int, changed: Ints) -> Block:
    """Cut one block out of a batch that holds ``changed`` rows, and then the new rows of ``growth``."""
    low, high = number * BLOCK_ROWS, (number + 1) * BLOCK_ROWS
    first = growth.start(batch) - len(changed)
    new = np.arange(first + max(low, len(changed)), min(first + high, growth.end(batch)), dtype=np.int64)
    return Block(np.concatenate([changed[low:high], new]), len(changed[low:high]))


def existing_of(growth: Growth, batch: int, number: int) -> Block:
    """Cut one block out of all rows of ``growth`` at the end of a batch."""
    low, high = number * BLOCK_ROWS, min((number + 1) * BLOCK_ROWS, growth.end(batch))
    return Block(np.arange(low, high, dtype=np.int64), max(0, min(growth.start(batch), high) - low))


@dataclass(frozen=True)
class Numbered:
    """The blocks of an entity whose rows are numbered in the order in which they come.

    Attributes:
        growth: Its row indices by batch.
        changed: Row indices, ascending, from before a batch that change in it.
    """

    growth: Callable[[Plan], Growth]
    changed: Callable[[Plan, int], Ints]

    def blocks(self, plan: Plan, batch: int) -> int:
        """Number of blocks in a batch."""
        growth = self.growth(plan)
        return block_count(growth.end(batch) - growth.start(batch) + len(self.changed(plan, batch)))

    def block(self, plan: Plan, batch: int, number: int) -> Block:
        """Row indices of one block: those that change, then the new ones."""
        return block_of(self.growth(plan), batch, number, self.changed(plan, batch))

    def existing_blocks(self, plan: Plan, batch: int) -> int:
        """Number of blocks in a snapshot."""
        return block_count(self.growth(plan).end(batch))

    def existing(self, plan: Plan, batch: int, number: int) -> Block:
        """Row indices of one block of a snapshot."""
        return existing_of(self.growth(plan), batch, number)


@dataclass(frozen=True)
class Rotation:
    """Slow changes: in every run of ``period`` rows another one changes in each batch, in random order."""

    plan: Plan
    entity: str
    growth: Growth

    @property
    def period(self) -> int:
        """Batches between two changes of the same row."""
        return min(_CHANGE_PERIOD, max(2, self.growth.initial // 4))

    def changed(self, batch: int) -> Ints:
        """Indices, ascending, of the rows from earlier batches that change in ``batch``."""
        existing = self.growth.start(batch)
        runs = np.arange(-(-existing // self.period), dtype=np.int64)
        index = runs * self.period + (self._offset(runs) + batch) % self.period
        return index[index < existing]

    def version(self, index: Ints, batch: int | Ints) -> Ints:
        """How often each row has changed by the end of ``batch``."""
        turns: Ints = (batch - self._turn(index)) // self.period - self._before_birth(index)
        turns[turns < 0] = 0
        return turns

    def batch_of(self, index: Ints, version: Ints) -> Ints:
        """Batch in which each row got its ``version`` (at least 1)."""
        batch: Ints = self._turn(index) + (self._before_birth(index) + version) * self.period
        return batch

    def _turn(self, index: Ints) -> Ints:
        return (index % self.period - self._offset(index // self.period)) % self.period

    def _before_birth(self, index: Ints) -> Ints:
        """Turns that passed before, or in the very batch that, the row arrived."""
        return (self.growth.birth(index) - self._turn(index)) // self.period

    def _offset(self, runs: Ints) -> Ints:
        return self.plan.draws(f"{self.entity}/rotation", runs).below("offset", self.period)
