"""The history of a key has neither gaps nor overlaps, and says the same in whatever order versions come."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import groupby

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from contracts import Column, Contract
from pipeline.history import changes

pytestmark = pytest.mark.spark

BEGIN = datetime(2024, 1, 1, tzinfo=UTC)
THINGS = Contract(
    entity="things",
    version="1.0.0",
    description="",
    # A case of the property is part of the key, so that many cases share one frame.
    columns=(Column("case", "int", ""), Column("k", "string", ""), Column("at", "timestamp", "")),
    key=("case", "k"),
    version_column="at",
    keeps_history=True,
)
NEW = (
    "`case` int, k string, content int, _source_file string, _source_row bigint, _row_hash binary, "
    "valid_from timestamp, is_deleted boolean"
)
STORED = f"{NEW}, valid_to timestamp, is_current boolean"
EVENTS = st.tuples(st.sampled_from("ab"), st.integers(0, 4), st.booleans(), st.integers(0, 2))
BATCHES = st.lists(st.lists(EVENTS, max_size=5), min_size=3, max_size=3)


def as_row(case, position, event):
    """A version as it comes in. A deletion's hash is less than that of what it deletes."""
    key, day, deleted, content = event
    hashed = bytes([day, not deleted, content])
    valid_from = BEGIN + timedelta(days=day)
    return (case, key, None if deleted else content, "file:///f.csv", position, hashed, valid_from, deleted)


def model(events):
    """(key, content, from, to, current, deleted) of what held when, by the rules as they are written down."""
    found = set()
    for key, mine in groupby(sorted(events), key=lambda event: event[0]):
        held = {}
        for _, day, deleted, content in mine:  # in order, so that the last one of an instant wins
            held[day] = (deleted, None if deleted else content)
        for day, following in zip(sorted(held), [*sorted(held)[1:], None], strict=True):
            deleted, content = held[day]
            found.add((key, content, day, following, following is None and not deleted, deleted))
    return found


@pytest.fixture(scope="module")
def cases():
    found = []

    @settings(
        max_examples=300,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(BATCHES)
    def collect(batches):
        found.append(batches)

    collect()
    return found


def day_of(instant):
    return None if instant is None else (instant.astimezone(UTC) - BEGIN).days


def test_every_history_is_that_of_a_plain_model_after_each_batch(spark, cases):
    table, written = {}, []
    for number in range(3):
        rows = [
            as_row(case, position, event)
            for case, batches in enumerate(cases)
            for position, event in enumerate(batches[number])
        ]
        keys = {found[:2] for found in rows}
        # All that is stored of the keys that come in, as the engine reads it.
        stored = [tuple(found) for found in table.values() if found[:2] in keys]
        before = spark.createDataFrame(stored, STORED) if stored else None
        new = spark.createDataFrame(rows, NEW).repartition(2)
        names = [column.split()[0].strip("`") for column in STORED.split(", ")]
        changed = changes(new, before, THINGS).select(*names).collect()
        places = [(found["case"], found["k"], found["valid_from"]) for found in changed]
        assert len(places) == len(set(places)), "a merge takes one row for one stored row"
        assert all(found not in table.values() for found in changed), "what is the same is not written"
        table |= dict(zip(places, changed, strict=True))
        written.append(len(changed))
        for case, batches in enumerate(cases):
            events = [event for batch in batches[: number + 1] for event in batch]
            actual = {
                (
                    found["k"],
                    found["content"],
                    day_of(found["valid_from"]),
                    day_of(found["valid_to"]),
                    found["is_current"],
                    found["is_deleted"],
                )
                for found in table.values()
                if found["case"] == case
            }
            assert actual == model(events), batches[: number + 1]
    assert min(written) > 100


def test_versions_that_are_known_already_change_nothing(spark):
    rows = [as_row(0, position, ("a", day, False, 1)) for position, day in enumerate((2, 0, 1))]
    new = spark.createDataFrame(rows, NEW)
    stored = changes(new, None, THINGS)
    assert stored.count() == 3
    assert changes(new, stored, THINGS).count() == 0
