"""Exchange rates by day.

Source of the levels: the European Central Bank's euro reference rates of 31 December 2024. From there each
rate wanders by a mean-reverting walk (Uhlenbeck and Ornstein, 1930) with steps of up to a quarter of a
percent a day.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from datagen.rng import Draws, Ints

PER_EURO = {"EUR": 1_000_000, "GBP": 829_180, "CHF": 941_200, "PLN": 4_275_000}
"""Millionths of a unit for one euro."""

_PULL = 64
_STEP = 2_500


@lru_cache(maxsize=4)
def walk(seed: int, days: int) -> Ints:
    """Millionths of each currency for one euro: one row per currency of ``PER_EURO``, one column per day."""
    rows = []
    for currency, level in PER_EURO.items():
        steps = Draws(seed, f"rates/{currency}", np.arange(days)).below("step", 2 * _STEP + 1) - _STEP
        away, deviations = 0, []
        for step in steps.tolist():
            away += step - away // _PULL
            deviations.append(away)
        moving = 0 if currency == "EUR" else 1
        rows.append(level + level * np.array(deviations, dtype=np.int64) * moving // 1_000_000)
    return np.array(rows)
