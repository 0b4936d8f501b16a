import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from datagen.rng import Choice, Draws, Quantiles, spread_sample

indices = st.lists(st.integers(0, 10**13), min_size=1, max_size=50)
seeds = st.integers(0, 2**70)


@settings(deadline=None)
@given(seeds, indices, st.randoms())
def test_a_draw_depends_on_the_row_only_and_not_on_its_neighbours(seed, index, random):
    rows = np.array(index)
    together = Draws(seed, "entity", rows).bits("purpose")
    order = list(range(len(index)))
    random.shuffle(order)
    shuffled = Draws(seed, "entity", rows[order]).bits("purpose")
    assert (together[order] == shuffled).all()
    assert Draws(seed, "entity", rows[:1]).bits("purpose")[0] == together[0]


def test_streams_of_different_seeds_entities_purposes_and_versions_differ():
    index = np.arange(1000)
    version = np.ones_like(index)
    streams = [
        Draws(1, "a", index).bits("p"),
        Draws(2, "a", index).bits("p"),
        Draws(1, "b", index).bits("p"),
        Draws(1, "a", index).bits("q"),
        Draws(1, "a", index).bits("p", version),
        Draws(1, "a", index).bits("p", version + 1),
    ]
    for position, first in enumerate(streams):
        assert len(np.unique(first)) == len(index)
        for second in streams[position + 1 :]:
            assert not (first == second).any()


def test_draws_below_a_limit_are_evenly_spread():
    values = Draws(5, "a", np.arange(100_000)).below("p", 10)
    counts = np.bincount(values, minlength=10)
    assert len(counts) == 10
    # Five standard deviations of a binomial count around 10,000.
    assert (abs(counts - 10_000) < 5 * 95).all()


def test_neighbouring_rows_are_not_correlated():
    values = Draws(5, "a", np.arange(100_000)).below("p", 1 << 31).astype(float)
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 5 / np.sqrt(100_000)


def test_a_choice_follows_its_weights_in_each_group():
    bits = Draws(5, "a", np.arange(100_000)).bits("p")
    choice = Choice([1, 3], [0, 1])
    assert abs(choice(bits, np.zeros(100_000, dtype=np.int64)).mean() - 0.75) < 0.01
    assert choice(bits, np.ones(100_000, dtype=np.int64)).min() == 1


def test_quantiles_have_the_median_and_the_limits_that_were_asked_for():
    values = Quantiles.lognormal((5_000, 0.8, 100, 50_000))(Draws(5, "a", np.arange(100_000)).bits("p"))
    assert abs(np.median(values) / 5_000 - 1) < 0.02
    assert values.min() >= 100
    assert values.max() <= 50_000
    assert len(np.unique(values)) > 5_000


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(0, 300), seeds)
def test_a_spread_sample_is_distinct_and_in_range(size, count, seed):
    count = min(count, size)
    sample = spread_sample(Draws(seed, "a", np.arange(count)), count, size)
    assert len(set(sample.tolist())) == count
    assert all(0 <= position < size for position in sample.tolist())
