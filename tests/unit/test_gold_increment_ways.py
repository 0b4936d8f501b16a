"""How far changed rows reach into a mart, and whether following them pays: arithmetic, without Spark."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pytest

from pipeline.gold import FRAUD_SIGNALS
from pipeline.gold.increments import Lookup, moves
from pipeline.refresh import MOST_REACHED, is_quicker

WINDOWS = FRAUD_SIGNALS.increment
NEWEST = date(2026, 1, 2)


def counted(first: date, last: date, keys: int = 1, days: int | None = None) -> dict[str, object]:
    """A line of what Spark counts: keys that are reached from a day of the first one's month to the last."""
    return {
        "month": first.replace(day=1),
        "_first": first,
        "_last": last,
        "keys": keys,
        "days": keys * (last - first).days if days is None else days,
    }


@pytest.mark.parametrize(
    ("first", "last", "months", "key_days"),
    [
        (date(2025, 11, 3), date(2025, 12, 2), ["2025-11-01", "2025-12-01"], 30),
        (date(2025, 12, 31), date(2026, 1, 29), ["2025-12-01", "2026-01-01"], 3),
        (date(2026, 1, 2), date(2026, 1, 31), ["2026-01-01"], 1),  # not February, which there is not yet
        (date(2025, 1, 31), date(2025, 3, 1), ["2025-01-01", "2025-02-01", "2025-03-01"], 30),
    ],
)
def test_what_is_reached_ends_with_the_newest_day(first, last, months, key_days):
    found = WINDOWS.reach([counted(first, last)], NEWEST)
    assert (list(map(str, found.months)), found.first, found.key_days) == (months, first, key_days)


def test_lines_add_up():
    lines = [
        counted(date(2025, 10, 1), date(2025, 10, 30), keys=2, days=2 * 29 - 5),
        counted(date(2026, 1, 1), date(2026, 1, 30), keys=3),
    ]
    found = WINDOWS.reach(lines, NEWEST)
    assert found.first == date(2025, 10, 1)
    assert list(map(str, found.months)) == ["2025-10-01", "2026-01-01"]
    assert found.key_days == (2 * 30 - 5) + 3 * 2


def test_nothing_is_reached_by_nothing():
    assert WINDOWS.reach([], NEWEST) is None


def test_changed_rows_are_followed_as_long_as_they_reach_few_keys_and_days():
    keys, days = 100, 50
    most = int(MOST_REACHED * keys * days)
    first = NEWEST - timedelta(days=days - 1)
    for key_days, followed in ((most, True), (most + 1, False)):
        line = counted(first, first, keys=1, days=key_days - 1)
        assert is_quicker(WINDOWS.reach([line], NEWEST), keys=keys, days=days) is followed
    everything = WINDOWS.reach([counted(first, NEWEST + timedelta(days=29), keys=keys)], NEWEST)
    assert everything.key_days == keys * days
    assert not is_quicker(everything, keys=keys, days=days)


BRANCHES = Lookup("accounts", "account_id", ("branch_code",))


def feed(*rows: tuple[str, str | None, str, str | None]) -> pl.DataFrame:
    columns = ["account_id", "branch_code", "_change_type", "_deleted_at"]
    return pl.DataFrame(list(rows), dict.fromkeys(columns, pl.String), orient="row")


TO_B2 = [("A1", "B1", "update_preimage", None), ("A1", "B2", "update_postimage", None)]


@pytest.mark.parametrize(
    ("rows", "moving", "with_orphans"),
    [
        ([], False, False),
        # Another column of it has changed.
        ([("A1", "B1", "update_preimage", None), ("A1", "B1", "update_postimage", None)], False, False),
        (TO_B2, True, True),
        ([("A1", "B1", "update_preimage", None), ("A1", None, "update_postimage", None)], True, True),
        (
            [*TO_B2, ("A1", "B2", "update_preimage", None), ("A1", "B1", "update_postimage", None)],
            False,
            False,
        ),
        ([("A1", "B1", "delete", None)], True, True),
        # From now on it only remembers that it was deleted.
        ([("A1", "B1", "update_preimage", None), ("A1", "B1", "update_postimage", "now")], True, True),
        ([("A2", "B1", "insert", None)], False, True),  # no row can have looked for it
    ],
)
def test_a_lookup_moves_rows_when_a_key_that_they_can_have_gives_something_else(rows, moving, with_orphans):
    assert moves(feed(*rows), BRANCHES, orphans=False) is moving
    assert moves(feed(*rows), BRANCHES, orphans=True) is with_orphans
