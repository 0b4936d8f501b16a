"""What the generator has to know of an entity; a sixth entity is one more of these."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from datagen.columns import Column, Table, digits, join
from datagen.rng import Bools, Ints
from datagen.schedule import Block, Growth, Plan

if TYPE_CHECKING:
    import polars as pl


class MakeTable(Protocol):
    """Makes rows as they stand at the end of a batch."""

    def __call__(self, plan: Plan, index: Ints, batch: int, keys: Ints | None = None) -> Table:
        """Return one row per index, with the contract's source columns in contract order.

        Args:
            plan: Seed and sizes.
            index: Row indices that exist at the end of ``batch``.
            batch: Batch as of which the rows are.
            keys: Key numbers to use instead of the rows' own, for rows that must not clash with them.
        """


@dataclass(frozen=True)
class Entity:
    """One entity.

    Attributes:
        name: Name, as in its contract.
        prefix: First letter of the business key.
        width: Digits of the business key.
        growth: Row indices by batch (of the parent, when ``step`` is not 1).
        blocks: Number of blocks in a batch.
        block: Row indices of one block of a batch.
        table: Makes rows.
        older: Makes an older version of rows: another value in one business column.
        step: Distance between the indices of two first rows, for entities whose rows are numbered within
            their parent.
        is_late: Which of a batch's new rows happened long before they arrived.
        owner: Row index of the customer whose each row is.
        existing_blocks: Number of blocks in a snapshot at the end of a batch.
        existing: Row indices of one block of a snapshot: those from before the batch, then its new ones.
        gone: Row indices, from before a batch, of those whose owners leave in it.
        earlier: Distinct rows from before a batch, for entities whose first rows do not follow from
            ``growth``; called with batch, number of a block, and how many at most.
        labels: What is known of rows and kept apart from them, such as which are fraud.
    """

    name: str
    prefix: str
    width: int
    growth: Callable[[Plan], Growth]
    blocks: Callable[[Plan, int], int]
    block: Callable[[Plan, int, int], Block]
    table: MakeTable
    older: Callable[[Table], Table]
    owner: Callable[[Plan, Ints], Ints]
    existing_blocks: Callable[[Plan, int], int]
    existing: Callable[[Plan, int, int], Block]
    gone: Callable[[Plan, int], Ints]
    step: int = 1
    is_late: Callable[[Plan, Ints, int], Bools] | None = None
    earlier: Callable[[Plan, int, int, int], Ints] | None = None
    labels: Callable[[Plan, Ints], Table] | None = None

    def rows(self, plan: Plan, index: Ints, batch: int, keys: Ints | None = None) -> pl.DataFrame:
        """Rows as a Polars frame; see :class:`MakeTable`."""
        from datagen.frames import to_frame

        return to_frame(self.table(plan, index, batch, keys))

    def index_at(self, position: Ints) -> Ints:
        """Row index at a position of ``growth``; with a step, that of the parent's first row."""
        index: Ints = position * self.step + (1 if self.step > 1 else 0)
        return index

    def own_keys(self, index: Ints) -> Ints:
        """Key numbers of rows."""
        keys: Ints = index + self.step
        return keys

    def key_texts(self, keys: Ints) -> Column:
        """Business keys of key numbers: the prefix and a zero-padded number."""
        return join(self.prefix, digits(keys, self.width))

    def spare_keys(self, slots: Ints) -> Ints:
        """Key numbers that no row of ``growth`` ever gets: the upper tenth of the range."""
        keys: Ints = 9 * 10 ** (self.width - 1) + self.index_at(slots)
        return keys

    def unknown_keys(self, slots: Ints) -> Ints:
        """Key numbers that no row at all ever gets: the tenth below the spare ones."""
        tenth = 10 ** (self.width - 1)
        keys: Ints = 8 * tenth + slots % tenth
        return keys
