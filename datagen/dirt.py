"""Dirty rows: always added between the clean ones, never instead of them.

Each dirty row has exactly one defect, and a key that no clean row uses (copies and older versions, which
need the key of another row, aside). So what a correct pipeline does with each row is known.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from math import fsum
from typing import TypeVar

import numpy as np

from contracts import Column, Contract
from contracts.rules import INSERT, UNKNOWN_PARENT, UPDATE
from datagen import columns as to
from datagen.delivery import OPERATIONS, Delivery, is_there
from datagen.entity import Entity
from datagen.lines import to_csv
from datagen.profile import DIRT
from datagen.rng import Draws, Ints, spread_sample
from datagen.schedule import BLOCK_ROWS, Block, Plan

EXACT_DUPLICATE = "exact_duplicate"
OLDER_VERSION = "older_version"
MALFORMED_DATE = "malformed_date"
MALFORMED_NUMBER = "malformed_number"
MISSING_KEY = "missing_key"
BAD_EMAIL = "bad_email"
EARLY_CHILD = "early_child"
WRONG_COLUMN_COUNT = "wrong_column_count"
STRAY_QUOTE = "stray_quote"

REJECTED = {
    kind: kind
    for kind in (
        MALFORMED_DATE, MALFORMED_NUMBER, MISSING_KEY, BAD_EMAIL,
        UNKNOWN_PARENT, WRONG_COLUMN_COUNT, STRAY_QUOTE,
    )
} | {EARLY_CHILD: UNKNOWN_PARENT}  # fmt: skip
"""Reason of quarantine by kind of dirt; an early child's parent is unknown until the next batch."""

NOT_DATES = ("2025-02-30", "31/12/2024", "yesterday", "2024-13-01", "20240230", "0000-00-00")
NOT_NUMBERS = ("12,5x", "abc", "1e5", "--", "1.2.3", "0x1F")

_OLDEST_SECONDS = 30 * to.SECONDS_PER_DAY

T = TypeVar("T")


def kinds(contract: Contract, *, typed: bool = False) -> tuple[str, ...]:
    """Kinds of dirt that an entity can have; in files with typed values nothing can be malformed."""
    malformed = [] if typed else [MALFORMED_DATE, MALFORMED_NUMBER]
    names = [EXACT_DUPLICATE, OLDER_VERSION, *malformed, MISSING_KEY]
    if any(column.pii_class == "email" for column in contract.source_columns):
        names.append(BAD_EMAIL)
    if contract.parents:
        names += [UNKNOWN_PARENT, EARLY_CHILD]
    return tuple(names) if typed else (*names, WRONG_COLUMN_COUNT, STRAY_QUOTE)


def quotas(
    contract: Contract,
    clean: int,
    rate: float,
    weights: Mapping[str, float],
    *,
    first: bool,
    typed: bool = False,
) -> dict[str, int]:
    """How many dirty rows of each kind go into a block.

    Args:
        contract: Contract of the entity.
        clean: Clean rows in the block.
        rate: Share of dirty rows among all rows, below 1.
        weights: Weight of each kind.
        first: Whether this is an entity's first block, which gets at least one row of each kind.
        typed: Whether the files' values have types.
    """
    names = kinds(contract, typed=typed)
    if rate <= 0 or not clean:
        return dict.fromkeys(names, 0)
    total = fsum(weights[name] for name in names)
    if not total:
        return dict.fromkeys(names, 0)
    rows = round(clean * rate / (1 - rate))
    shares = dict.fromkeys(names, 0)
    edge, before = 0.0, 0
    for name in names:
        edge += weights[name]
        end = round(rows * edge / total)
        shares[name] = max(1 if first and weights[name] else 0, end - before)
        before = end
    return shares


def quarantined(rows: Mapping[str, int]) -> dict[str, int]:
    """Rows that are quarantined, by reason, from the rows of each kind of dirt."""
    reasons: dict[str, int] = {}
    for kind, count in rows.items():
        if kind in REJECTED:
            reasons[REJECTED[kind]] = reasons.get(REJECTED[kind], 0) + count
    return reasons


def weights(plan: Plan) -> dict[str, float]:
    """Weight of each kind of dirt."""
    return dict(zip(DIRT, plan.profile.dirt, strict=True))


@dataclass(frozen=True)
class Soil:
    """A block of clean rows, to which dirty ones are added.

    Attributes:
        delivery: How the entity's rows are delivered.
        parent: Entity that it refers to, if any.
        batch: Batch number.
        number: Number of the block in the batch.
        block: Row indices of the clean rows.
        typed: Whether the files' values have types.
    """

    delivery: Delivery
    parent: Entity | None
    batch: int
    number: int
    block: Block
    typed: bool = False

    def dirty_lines(self, data: bytes, starts: Ints, rate: float) -> dict[str, list[bytes]]:
        """Make the dirty lines, each with its line feed, by kind of dirt.

        Args:
            data: The clean lines, in the order of the block's rows.
            starts: Where each clean line starts, and where the last one ends.
            rate: Share of dirty rows among all rows.
        """
        clean = len(self.block.index)
        wanted = quotas(
            self.delivery.contract,
            clean,
            rate,
            weights(self.delivery.plan),
            first=self.number == 0,
            typed=self.typed,
        )
        lines: dict[str, list[bytes]] = {}
        if count := wanted.pop(EXACT_DUPLICATE):
            copied = self._sample(EXACT_DUPLICATE, count)
            spans = zip(starts[copied].tolist(), starts[copied + 1].tolist(), strict=True)
            lines[EXACT_DUPLICATE] = [data[start:end] for start, end in spans]
        if count := wanted.pop(OLDER_VERSION):
            lines[OLDER_VERSION] = self._older(count)
        return lines | self._damaged({kind: count for kind, count in wanted.items() if count})

    def _draws(self, purpose: str, count: int) -> Draws:
        entity = f"{self.delivery.entity.name}/dirt/{self.batch}/{self.number}/{purpose}"
        return self.delivery.plan.draws(entity, np.arange(count, dtype=np.int64))

    def _sample(self, purpose: str, count: int) -> Ints:
        """Positions of clean rows: distinct, unless more are asked for than there are."""
        size = len(self.block.index)
        return spread_sample(self._draws(purpose, min(count, size)), min(count, size), size)[
            np.arange(count) % size
        ]

    def _older(self, count: int) -> list[bytes]:
        """Older versions: of rows of this block and, in later batches, also of rows from earlier ones."""
        # A snapshot holds the rows of earlier batches itself.
        from_before = self.batch and not self.delivery.is_snapshot
        earlier = self._earlier((count + self.batch % 2) // 2 if from_before else 0)
        earlier = earlier[self.delivery.is_there(earlier, self.batch)]
        same_batch = self._sample(OLDER_VERSION, count - len(earlier))
        index = self.block.index[same_batch]
        lines = self._aged(index, self.batch, 0)
        return lines + self._aged(earlier, self.batch - 1, 1)

    def _earlier(self, count: int) -> Ints:
        """Up to ``count`` rows from earlier batches."""
        if count and self.delivery.entity.earlier:
            return self.delivery.entity.earlier(self.delivery.plan, self.batch, self.number, count)
        existing = self.delivery.entity.growth(self.delivery.plan).start(self.batch)
        # Blocks take their earlier rows from stretches that do not overlap.
        start = self.delivery.plan.draws(f"{self.delivery.entity.name}/dirt", np.array([self.batch]))
        first = start.below("earlier", max(existing, 1))[0] + self.number * BLOCK_ROWS
        count = min(count, existing)
        return self.delivery.entity.index_at((first + np.arange(count, dtype=np.int64)) % max(existing, 1))

    def _aged(self, index: Ints, batch: int, parity: int) -> list[bytes]:
        """Older versions of rows as of a batch; versions of different parity are never the same."""
        if not len(index):
            return []
        rows = self.delivery.entity.table(self.delivery.plan, index, batch)
        version = self.delivery.contract.version_column
        back = 3600 + self._draws(f"age/{parity}", len(index)).below("seconds", _OLDEST_SECONDS)
        written = rows.instants(version)
        seconds = written.days * to.SECONDS_PER_DAY + written.seconds - back
        seconds = seconds - seconds % 2 - parity
        aged = self.delivery.entity.older(rows).replace(
            **{version: to.timestamps(*np.divmod(seconds, to.SECONDS_PER_DAY))}
        )
        return self._lines(aged, UPDATE)

    def _lines(self, rows: to.Table, operation: str) -> list[bytes]:
        """Rows to all of which the same happened, as lines."""
        count = len(rows.instants(self.delivery.contract.version_column).days)
        same = np.full(count, OPERATIONS.index(operation))
        return to_csv(self.delivery.marked(rows, same)).splitlines(keepends=True)

    def _damaged(self, wanted: dict[str, int]) -> dict[str, list[bytes]]:
        """Rows with keys of their own and one defect each, by kind of defect."""
        if EARLY_CHILD in wanted:
            wanted[EARLY_CHILD] = len(self._early_parents(wanted[EARLY_CHILD]))
        total = sum(wanted.values())
        if not total:
            return {}
        ends = np.cumsum(list(wanted.values())).tolist()
        spans = {kind: range(end - wanted[kind], end) for kind, end in zip(wanted, ends, strict=True)}
        # Blocks take their keys from stretches that do not overlap.
        stretch = self.batch * (self.delivery.entity.blocks(self.delivery.plan, 0) + 1) + self.number
        slots = stretch * 2 * BLOCK_ROWS + np.arange(total, dtype=np.int64)
        template = np.concatenate([self._sample(kind, count) for kind, count in wanted.items()])
        rows = self.delivery.entity.table(
            self.delivery.plan, self.block.index[template], self.batch, self.delivery.entity.spare_keys(slots)
        )
        for kind in (UNKNOWN_PARENT, EARLY_CHILD):
            if kind in spans:
                chosen = np.zeros(total, dtype=np.bool_)
                chosen[spans[kind]] = True
                parents = to.scatter(chosen, self._parents(kind, slots[chosen]))
                column = self.delivery.contract.parents[0].name
                rows = rows.replace(**{column: to.either(chosen, parents, rows.columns[column])})
        whole = self._lines(rows, INSERT)
        fields = list(csv.reader(line.decode() for line in whole))
        layout = _Layout.of(self.delivery.contract)
        lines = {}
        for kind, span in spans.items():
            luck = self._draws(kind, len(span)).below("luck", 1 << 30).tolist()
            lines[kind] = [
                _damage(kind, fields[row], draw, layout) or whole[row]
                for row, draw in zip(span, luck, strict=True)
            ]
        return lines

    def _parents(self, kind: str, slots: Ints) -> to.Column:
        """Parents that never exist, or that only arrive in the next batch."""
        if self.parent is None:
            raise ValueError(f"{self.delivery.entity.name} has no parent")
        if kind == EARLY_CHILD:
            return self.parent.key_texts(self.parent.own_keys(self._early_parents(len(slots))))
        return self.parent.key_texts(self.parent.unknown_keys(slots))

    def _early_parents(self, count: int) -> Ints:
        """Row indices of parents that arrive in the next batch; fewer where owners are gone by then."""
        if self.parent is None:
            raise ValueError(f"{self.delivery.entity.name} has no parent")
        growth = self.parent.growth(self.delivery.plan)
        drawn = self._draws(EARLY_CHILD, count).below("parent", growth.daily)
        index: Ints = growth.start(self.batch + 1) + drawn
        there = is_there(self.delivery.name, self.parent, self.delivery.plan, index, self.batch + 1)
        return index[there]

    def early_children(self, rate: float) -> int:
        """How many rows of the block are released by the next batch."""
        clean, first = len(self.block.index), self.number == 0
        wanted = quotas(
            self.delivery.contract, clean, rate, weights(self.delivery.plan), first=first, typed=self.typed
        )
        return len(self._early_parents(wanted[EARLY_CHILD])) if self.delivery.contract.parents else 0


@dataclass(frozen=True)
class _Layout:
    """Positions of the columns that get damaged."""

    keys: Sequence[int]
    dates: Sequence[int]
    numbers: Sequence[int]
    emails: Sequence[int]

    @classmethod
    def of(cls, contract: Contract) -> _Layout:
        return cls(
            keys=_positions(contract, lambda column: column.name == contract.key[0]),
            dates=_positions(contract, lambda column: column.physical_type == "date"),
            numbers=_positions(
                contract, lambda column: column.is_decimal or column.physical_type in ("int", "bigint")
            ),
            emails=_positions(contract, lambda column: column.pii_class == "email"),
        )


def _damage(kind: str, fields: list[str], luck: int, layout: _Layout) -> bytes:
    """Damage the fields of a valid row, led by a random number; empty when the row stays as it is."""
    if kind in (UNKNOWN_PARENT, EARLY_CHILD):
        return b""
    if kind == MALFORMED_DATE:
        fields[_pick(layout.dates, luck)] = _pick(NOT_DATES, luck >> 8)
    elif kind == MALFORMED_NUMBER:
        fields[_pick(layout.numbers, luck)] = _pick(NOT_NUMBERS, luck >> 8)
    elif kind == MISSING_KEY:
        fields[layout.keys[0]] = ""
    elif kind == BAD_EMAIL:
        fields[layout.emails[0]] = _bad_email(fields[layout.emails[0]], luck)
    elif kind == WRONG_COLUMN_COUNT:
        fields = [*fields, "extra"] if luck % 2 else fields[:-1]
    line = StringIO()
    csv.writer(line, lineterminator="\n").writerow(fields)
    return (_with_stray_quote(line.getvalue(), luck) if kind == STRAY_QUOTE else line.getvalue()).encode()


def _with_stray_quote(line: str, luck: int) -> str:
    """Put one quote before or after the second value, which is never quoted itself in a clean row."""
    first, second, rest = line.split(",", 2)
    return f'{first},"{second},{rest}' if luck % 2 else f'{first},{second}",{rest}'


def _bad_email(email: str, luck: int) -> str:
    local, _, domain = email.partition("@")
    return _pick((f"{local}.{domain}", f"{local}@@{domain}", f"{local}@", f"{local} @{domain}"), luck)


def _pick(values: Sequence[T], luck: int) -> T:
    return values[luck % len(values)]


def _positions(contract: Contract, wanted: Callable[[Column], bool]) -> tuple[int, ...]:
    """Positions of the wanted columns: the required ones, or all where none is required."""
    found = [(position, column) for position, column in enumerate(contract.source_columns) if wanted(column)]
    required = tuple(position for position, column in found if column.required)
    return required or tuple(position for position, _ in found)
