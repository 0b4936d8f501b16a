"""One block of a batch: clean lines, dirty ones between them, and the counts of both."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from contracts import Contract, load_contract
from datagen import dirt
from datagen.columns import no_rows
from datagen.delivery import Delivery
from datagen.entities import ENTITIES
from datagen.entity import Entity
from datagen.errors import GenerateError
from datagen.formats import Format
from datagen.lines import to_csv
from datagen.rng import Draws, Ints
from datagen.schedule import Block, Plan

PART_ROWS = 16_384
"""Rows that are made at a time, so that what is worked with stays in the processor's cache."""


@dataclass(frozen=True)
class Recipe:
    """What decides the blocks of one entity in one batch; small enough to tell it to another process.

    Attributes:
        plan: Seed and sizes.
        entity: Name of the entity.
        batch: Batch number.
        dirty: Share of dirty rows.
        format: One of :data:`~datagen.formats.FORMATS`.
        delivery: One of :data:`~datagen.delivery.DELIVERIES`.
    """

    plan: Plan
    entity: str
    batch: int
    dirty: float
    format: str
    delivery: str


@dataclass(frozen=True)
class Made:
    """One block, ready to be written."""

    data: bytes
    labels: bytes
    rows: Counter[str]
    dirt: Counter[str]


def make_block(recipe: Recipe, number: int) -> Made:
    """Make one block."""
    return maker(recipe).make(number)


@lru_cache(maxsize=len(ENTITIES))
def maker(recipe: Recipe) -> Maker:
    """The maker of a recipe's blocks."""
    return Maker(recipe)


class Maker:
    """Makes the blocks of one entity in one batch."""

    def __init__(self, recipe: Recipe) -> None:
        """Read the entity's contract."""
        contract = load_contract(recipe.entity)
        entity = next(entity for entity in ENTITIES if entity.name == recipe.entity)
        self.delivery = Delivery(recipe.delivery, entity, contract, recipe.plan)
        self.format = Format(recipe.format, contract, self.delivery.columns)
        self.batch, self.dirty = recipe.batch, recipe.dirty

    def kinds(self) -> tuple[str, ...]:
        """Kinds of dirt that the entity's files can have."""
        return dirt.kinds(self.delivery.contract, typed=self.format.is_typed)

    def make(self, number: int) -> Made:
        """Make one block: clean lines, with dirty ones in between."""
        block = self.delivery.block(self.batch, number)
        unchanged, size, clean, starts_of_parts = 0, 0, list[bytes](), [np.zeros(1, dtype=np.int64)]
        for part in block.parts(PART_ROWS):
            rows = self.delivery.table(part, self.batch)
            unchanged += self.delivery.unchanged(rows, self.batch)
            text = to_csv(rows)
            clean.append(text)
            starts_of_parts.append(
                np.flatnonzero(np.frombuffer(text, dtype=np.uint8) == ord("\n")) + (size + 1)
            )
            size += len(text)
        data, starts = b"".join(clean), np.concatenate(starts_of_parts)
        if len(starts) != len(block.index) + 1:
            raise GenerateError(f"a value of {self.delivery.entity.name} holds a line break")
        lines: dict[str, list[bytes]] = {kind: [] for kind in self.kinds()}
        if self.dirty:
            lines |= self._soil(self.batch, number, block).dirty_lines(data, starts, self.dirty)
        mixed = self._mix(data, starts, [line for group in lines.values() for line in group], number)
        deleted = 0
        if self.delivery.operation and number == self.delivery.blocks(self.batch) - 1:
            deletions = self.delivery.deletions(self.batch)
            mixed, deleted = mixed + to_csv(deletions), len(self.delivery.gone(self.batch))
        late = self.delivery.entity.is_late
        new = block.index[block.changed :]
        return Made(
            data=self.format.encode(mixed),
            labels=self._labels(block.index),
            rows=Counter(
                inserted=len(new),
                updated=block.changed - unchanged + deleted,
                unchanged=unchanged,
                late=int(late(self.delivery.plan, new, self.batch).sum()) if late else 0,
            ),
            dirt=Counter({kind: len(group) for kind, group in lines.items()}),
        )

    def _soil(self, batch: int, number: int, block: Block) -> dirt.Soil:
        parent = _parent(self.delivery.contract)
        return dirt.Soil(self.delivery, parent, batch, number, block, self.format.is_typed)

    def _labels(self, index: Ints) -> bytes:
        """Lines that say which rows belong to fraud."""
        if not self.delivery.entity.labels or not self.delivery.plan.profile.fraud:
            return b""
        return to_csv(self.delivery.entity.labels(self.delivery.plan, index))

    def label_header(self) -> bytes | None:
        """First line of the entity's label files; None when it has none."""
        if not self.delivery.entity.labels or not self.delivery.plan.profile.fraud:
            return None
        return (",".join(self.delivery.entity.labels(self.delivery.plan, no_rows()).columns) + "\n").encode()

    def released(self) -> int:
        """Rows of the batch before whose parents arrive in this batch."""
        if self.batch == 0 or not self.delivery.contract.parents:
            return 0
        before = self.batch - 1
        return sum(
            self._soil(before, number, self.delivery.block(before, number)).early_children(self.dirty)
            for number in range(self.delivery.blocks(before))
        )

    def _mix(self, data: bytes, starts: Ints, lines: list[bytes], number: int) -> bytes:
        """Put dirty lines at random places between the clean ones."""
        draws = Draws(
            self.delivery.plan.seed,
            f"{self.delivery.entity.name}/mix/{self.batch}/{number}",
            np.arange(len(lines), dtype=np.int64),
        )
        place = draws.below("place", len(starts))
        order = np.argsort(place, kind="stable")
        cuts = [0, *starts[place[order]].tolist(), len(data)]
        view = memoryview(data)
        pieces: list[bytes | memoryview] = [view[: cuts[1]]]
        for position, line in enumerate(order.tolist(), start=1):
            pieces += [lines[line], view[cuts[position] : cuts[position + 1]]]
        return b"".join(pieces)


def _parent(contract: Contract) -> Entity | None:
    """Entity that the contract's first relationship points to."""
    names = [column.parent_entity for column in contract.parents]
    return next((entity for entity in ENTITIES if names and entity.name == names[0]), None)
