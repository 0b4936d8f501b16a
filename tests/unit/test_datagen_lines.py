"""CSV lines are what Polars makes of the same columns."""

from io import BytesIO

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datagen import columns as to
from datagen.frames import to_frame
from datagen.generator import ENTITIES
from datagen.lines import to_csv
from datagen.schedule import Plan

TEXTS = st.text(st.sampled_from('aß€, "\r\n0'), min_size=1, max_size=6)
ROWS = 50


def ints(low: int, high: int) -> st.SearchStrategy[np.ndarray]:
    return st.lists(st.integers(low, high), min_size=ROWS, max_size=ROWS).map(np.array)


def picks() -> st.SearchStrategy[to.Column]:
    words = st.lists(st.none() | TEXTS, min_size=1, max_size=5)
    return words.flatmap(lambda some: ints(0, len(some) - 1).map(lambda at: to.texts(tuple(some), at)))


def parts() -> st.SearchStrategy[to.Column]:
    """Columns of texts without nulls, which can be joined."""
    words = st.lists(TEXTS, min_size=1, max_size=5)
    picked = words.flatmap(lambda some: ints(0, len(some) - 1).map(lambda at: to.texts(tuple(some), at)))
    return st.one_of(
        picked,
        ints(0, 10**9).map(to.plain),
        ints(0, 10**9 - 1).map(lambda numbers: to.digits(numbers, 9)),
        ints(1, 12).map(lambda widths: to.digits(10 ** (widths - 1), widths)),
    )


def values() -> st.SearchStrategy[to.Column]:
    masks = ints(0, 1).map(lambda bits: bits == 1)
    joined = st.lists(parts() | TEXTS, min_size=1, max_size=4).filter(
        lambda some: any(not isinstance(part, str) for part in some)
    )
    return st.one_of(
        picks(),
        ints(-30_000, 60_000).map(to.dates),
        st.builds(to.timestamps, ints(-30_000, 60_000), ints(0, 86_399)),
        ints(-(10**12), 10**12).map(to.money),
        ints(0, 900_000_000).map(to.rate),
        ints(0, 2**31 - 1).map(to.whole),
        joined.map(lambda some: to.join(*some)),
        st.builds(to.either, masks, parts(), st.none() | parts()),
        masks.flatmap(lambda mask: st.just(to.scatter(mask, to.plain(np.arange(mask.sum()))))),
    )


def by_polars(frame: pl.DataFrame) -> bytes:
    buffer = BytesIO()
    frame.write_csv(buffer, include_header=False, datetime_format="%Y-%m-%dT%H:%M:%SZ")
    return buffer.getvalue()


@given(st.lists(values(), min_size=1, max_size=4))
def test_columns_of_all_kinds_stand_in_lines_as_polars_writes_them(columns):
    table = to.Table({f"c{number}": column for number, column in enumerate(columns)})
    assert to_csv(table) == by_polars(to_frame(table))


def test_neighbours_that_are_picked_by_one_choice_are_still_columns_of_their_own():
    choice = np.array([2, 0, 1])
    table = to.Table({name: to.texts((name, None, f"{name}!"), choice) for name in "ab"})
    assert to_csv(table) == b"a!,b!\na,b\n,\n"


def test_an_empty_text_that_would_be_read_as_a_null_is_refused():
    with pytest.raises(ValueError, match="name has an empty text"):
        to_csv(to.Table({"name": to.texts(("", "x"), np.array([0, 1]))}))


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.name)
def test_the_lines_of_an_entity_are_those_of_its_frame(entity):
    plan = Plan(5, 300)
    for batch in (0, 40):
        table = entity.table(plan, entity.block(plan, batch, 0).index, batch)
        assert to_csv(table) == by_polars(to_frame(table))
