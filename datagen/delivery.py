"""How a bank tells others of a day: its changes alone, change data capture, or a full snapshot.

All three are of the same bank, day by day. ``changes`` are the new and the changed rows; a file of them
cannot say that a row is gone. ``cdc`` says of each row whether it is inserted, updated or deleted, and
``snapshot`` holds all rows that there are at the end of the day. Customers who leave (see
:func:`~datagen.customers.leaves`) are gone from these two, with all that is theirs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from contracts import Contract
from contracts.rules import DELETE, INSERT, UPDATE
from datagen import columns as to
from datagen import customers
from datagen.entity import Entity
from datagen.errors import BadRequestError
from datagen.rng import Bools, Ints
from datagen.schedule import BASE_DAY, Block, Plan

CHANGES, CDC, SNAPSHOT = DELIVERIES = ("changes", "cdc", "snapshot")
OPERATIONS = (UPDATE, INSERT)
OPERATION = "op"
"""Name of the column of operations, where the contract gives none."""


def check_delivery(name: str) -> None:
    """Refuse deliveries that are not known.

    Raises:
        BadRequestError: It is none of ``DELIVERIES``.
    """
    if name not in DELIVERIES:
        raise BadRequestError(f"{name!r} is not a delivery; known are {', '.join(DELIVERIES)}")


@dataclass(frozen=True)
class Delivery:
    """What is delivered of one entity.

    Attributes:
        name: One of ``DELIVERIES``.
        entity: The entity.
        contract: Its contract.
        plan: Seed and sizes.
    """

    name: str
    entity: Entity
    contract: Contract
    plan: Plan

    @property
    def is_snapshot(self) -> bool:
        """Whether all rows are delivered every day."""
        return self.name == SNAPSHOT

    @property
    def operation(self) -> str | None:
        """Name of the column that says what happened to a row; None when there is none."""
        return (self.contract.operation_column or OPERATION) if self.name == CDC else None

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of a file."""
        names = tuple(column.name for column in self.contract.source_columns)
        return (*names, self.operation) if self.operation else names

    def blocks(self, batch: int) -> int:
        """Number of blocks in a batch."""
        return (self.entity.existing_blocks if self.is_snapshot else self.entity.blocks)(self.plan, batch)

    def block(self, batch: int, number: int) -> Block:
        """Row indices of one block of a batch, first those from before; without the ones that are gone."""
        block = (self.entity.existing if self.is_snapshot else self.entity.block)(self.plan, batch, number)
        there = self.is_there(block.index, batch)
        return Block(block.index[there], int(there[: block.changed].sum()))

    def is_there(self, index: Ints, batch: int) -> Bools:
        """Which rows are not gone by the end of a batch."""
        return is_there(self.name, self.entity, self.plan, index, batch)

    def gone(self, batch: int) -> Ints:
        """Row indices of what is deleted in a batch."""
        return to.no_rows() if self.name == CHANGES or not batch else self.entity.gone(self.plan, batch)

    def unchanged(self, rows: to.Table, batch: int) -> int:
        """How many rows of a block are as they were in the snapshot of the day before."""
        if not self.is_snapshot or not batch:
            return 0
        return int((rows.instants(self.contract.version_column).days < BASE_DAY + batch).sum())

    def marked(self, rows: to.Table, operation: Ints) -> to.Table:
        """Rows with what happened to them, where it is told: a position in ``OPERATIONS`` for each."""
        return rows.replace(**{self.operation: to.texts(OPERATIONS, operation)}) if self.operation else rows

    def table(self, block: Block, batch: int) -> to.Table:
        """Rows of a block, with what happened to them where it is told."""
        is_new = (np.arange(len(block.index)) >= block.changed).astype(np.int64)
        return self.marked(self.entity.table(self.plan, block.index, batch), is_new)

    def deletions(self, batch: int) -> to.Table:
        """Rows that say what is deleted in a batch: key, instant and operation, and no more."""
        index = self.gone(batch)
        owner = self.entity.owner(self.plan, index)
        seconds = customers.leaving_second(self.plan, owner)
        first = np.zeros_like(index)
        known = {
            self.contract.key[0]: self.entity.key_texts(self.entity.own_keys(index)),
            self.contract.version_column: to.timestamps(first + BASE_DAY + batch, seconds),
            self.operation: to.texts((DELETE,), first),
        }
        return to.Table({name: known.get(name, to.texts((None,), first)) for name in self.columns})


def is_there(delivery: str, entity: Entity, plan: Plan, index: Ints, batch: int) -> Bools:
    """Which rows of an entity are not gone by the end of a batch."""
    if delivery == CHANGES:
        return np.ones(len(index), dtype=np.bool_)
    there: Bools = customers.leaves(plan, entity.owner(plan, index)) > batch
    return there
