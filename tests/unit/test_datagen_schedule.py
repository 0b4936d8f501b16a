import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.schedule import BLOCK_ROWS, Growth, Plan, Rotation, block_count, block_of

growths = st.builds(Growth, st.integers(1, 500), st.integers(1, 20))


@settings(deadline=None)
@given(growths, st.integers(0, 30))
def test_every_row_is_born_in_the_batch_whose_range_holds_it(growth, batch):
    index = np.arange(growth.start(batch), growth.end(batch))
    assert (growth.birth(index) == batch).all()


@settings(deadline=None, max_examples=50)
@given(growths, st.integers(0, 2**32))
def test_a_row_gets_its_next_version_exactly_in_the_batches_that_change_it(growth, seed):
    rotation = Rotation(Plan(seed, 10), "entity", growth)
    index = np.arange(growth.end(200))
    before = rotation.version(index, 0)
    assert not before.any()
    for batch in range(1, 200):
        changed = rotation.changed(batch)
        assert len(np.unique(changed)) == len(changed)
        assert (growth.birth(changed) < batch).all()
        after = rotation.version(index, batch)
        assert np.flatnonzero(after - before).tolist() == changed.tolist()
        assert (rotation.batch_of(changed, after[changed]) == batch).all()
        before = after


def test_about_one_row_in_64_changes_per_batch_at_scale():
    growth = Growth(64_000, 100)
    assert len(Rotation(Plan(1, 10), "entity", growth).changed(1)) == 1_000


@settings(deadline=None)
@given(st.integers(1, 350_000), st.integers(0, 250_000))
def test_the_blocks_of_a_batch_hold_each_row_once(new, changes):
    growth = Growth(400_000, new)
    changed = np.arange(changes)
    count = block_count(new + changes)
    blocks = [block_of(growth, 1, number, changed) for number in range(count)]
    assert np.concatenate([block.index for block in blocks]).tolist() == [
        *range(changes),
        *range(400_000, 400_000 + new),
    ]
    assert sum(block.changed for block in blocks) == changes
    assert all(0 < len(block.index) <= BLOCK_ROWS for block in blocks)
