"""Random numbers that are a pure function of (seed, entity, purpose, row, version).

A generator with state, even a counter-based one such as Philox, yields a block of consecutive numbers; to
know what row 7,123,456 looks like one has to produce its whole block. Increments touch scattered rows,
and children look up scattered parents, so here every number comes from a keyed 64-bit mix of the row's
index instead (splitmix64's finaliser, two rounds when a version is given). Any row of any batch can
be made alone, in any order, on any number of workers, and always comes out the same.

Everything after the mix is integer arithmetic and table look-ups: no exp, log or sin of a vector library
that rounds differently on another processor.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from math import exp, fsum
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bits = npt.NDArray[np.uint64]
Bools = npt.NDArray[np.bool_]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_VERSION_STEP = np.uint64(0xD1B54A32D192ED03)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_30, _SHIFT_27, _SHIFT_31, _SHIFT_32 = (np.uint64(bits) for bits in (30, 27, 31, 32))

_CHOICE_BITS = 12
_QUANTILE_BITS = 10
QUANTILE_STEPS = 1 << _QUANTILE_BITS
"""Steps of :class:`Quantiles`; a table has one value more."""


@cache
def stream_key(*parts: object) -> np.uint64:
    """64-bit key of a random stream, the same in every process."""
    text = "/".join(str(part) for part in parts)
    return np.uint64(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little"))


class Draws:
    """All random draws for some rows of one entity; each purpose has its own independent stream."""

    def __init__(self, seed: int, entity: str, index: Ints) -> None:
        """Prepare draws for the rows with these indices, in this order."""
        self._seed = seed
        self._entity = entity
        self._base = index.astype(np.uint64) * _STEP

    def bits(self, purpose: str, version: Ints | None = None) -> Bits:
        """64 random bits per row; with ``version``, others for each version of a row."""
        mixed = self._base + stream_key(self._seed, self._entity, purpose)
        _mix(mixed)
        if version is not None:
            mixed += (version.astype(np.uint64) + np.uint64(1)) * _VERSION_STEP
            _mix(mixed)
        return mixed

    def below(self, purpose: str, limit: int | Ints, version: Ints | None = None) -> Ints:
        """Integers from 0 to ``limit`` - 1 (``limit`` at most 2**31), evenly spread."""
        return scale_to(self.bits(purpose, version), limit)

    def chance(self, purpose: str, share: float, version: Ints | None = None) -> Bools:
        """True for about ``share`` of the rows."""
        threshold = np.uint64(round(share * (1 << 32)))
        chosen: Bools = (self.bits(purpose, version) >> _SHIFT_32) < threshold
        return chosen


def scale_to(bits: Bits, limit: int | Ints) -> Ints:
    """Map random bits evenly to 0 .. ``limit`` - 1."""
    wide = np.asarray(limit, dtype=np.uint64)
    return (((bits >> _SHIFT_32) * wide) >> _SHIFT_32).astype(np.int64)


def spread_sample(draws: Draws, count: int, size: int) -> Ints:
    """``count`` distinct, ascending positions below ``size``, one from each of ``count`` equal stretches.

    Args:
        draws: Draws for ``count`` rows.
        count: How many positions; at most ``size``.
        size: Number of positions to choose from.
    """
    edges = -(-np.arange(count + 1, dtype=np.int64) * size // max(count, 1))
    return edges[:-1] + draws.below("position", np.diff(edges))


class Choice:
    """Weighted choice by table look-up; one row of weights for each group.

    >>> choice = Choice([1, 0], [0, 1])
    >>> choice(np.array([7, 7], dtype=np.uint64), np.array([0, 1])).tolist()
    [0, 1]
    """

    def __init__(self, *weights: Sequence[float]) -> None:
        """Build the table from the weights of each group; they need not add up to one."""
        self._table = np.stack([_choice_table(group) for group in weights])

    def __call__(self, bits: Bits, group: Ints | None = None) -> Ints:
        """Index of the chosen weight for each row."""
        slot = (bits >> np.uint64(64 - _CHOICE_BITS)).astype(np.int64)
        if group is not None:
            slot += group << _CHOICE_BITS
        return self._table.reshape(-1)[slot].astype(np.int64)


@cache
def choice(weights: tuple[float, ...]) -> Choice:
    """The choice with these weights, made once."""
    return Choice(weights)


class Quantiles:
    """Whole numbers drawn from distributions given by 1025 equally likely steps; one row for each group."""

    def __init__(self, tables: Sequence[Sequence[int]]) -> None:
        """Take one ascending table of 1025 values per group."""
        self._table = np.array(tables, dtype=np.int64)

    @classmethod
    def lognormal(cls, *groups: tuple[float, float, int, int]) -> Quantiles:
        """Log-normal distributions, each as (median, sigma of the logarithm, least, greatest)."""
        return cls(
            [
                [min(high, max(low, round(median * exp(sigma * z)))) for z in normal_steps()]
                for median, sigma, low, high in groups
            ]
        )

    def __call__(self, bits: Bits, group: Ints | None = None) -> Ints:
        """One value per row, interpolated between the table's steps."""
        steps = (bits >> np.uint64(64 - _QUANTILE_BITS)).astype(np.int64)
        fraction = ((bits >> np.uint64(64 - _QUANTILE_BITS - 16)) & np.uint64(0xFFFF)).astype(np.int64)
        if group is not None:
            steps += group * self._table.shape[1]
        flat = self._table.reshape(-1)
        low = flat[steps]
        return low + ((flat[steps + 1] - low) * fraction >> 16)


def _mix(values: Bits) -> None:
    values ^= values >> _SHIFT_30
    values *= _MIX_1
    values ^= values >> _SHIFT_27
    values *= _MIX_2
    values ^= values >> _SHIFT_31


def _choice_table(weights: Sequence[float]) -> npt.NDArray[np.uint8]:
    size = 1 << _CHOICE_BITS
    total = fsum(weights)
    edges = [round(size * fsum(weights[: count + 1]) / total) for count in range(len(weights))]
    return np.searchsorted(np.array(edges), np.arange(size), side="right").astype(np.uint8)


@cache
def normal_steps() -> tuple[float, ...]:
    """Standard normal values at the steps of :class:`Quantiles`."""
    steps = QUANTILE_STEPS + 1
    normal = NormalDist()
    return tuple(normal.inv_cdf((step + 0.5) / steps) for step in range(steps))
