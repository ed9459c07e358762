"""Splits: the pattern along the index, and bands of a range that belong to one split each."""

import numpy as np
import pytest
from pydantic import ValidationError

from seqgen.splits import NUM_BAND_CYCLES, SPLITS, SplitConfig


@pytest.mark.parametrize(
    ("counts", "block"),
    [((3, 1, 2), "train train train val test test"), ((1, 0, 1), "train test"), ((0, 0, 2), "test test"), ((1, 0, 0), "train")],
)
def test_the_split_is_a_pattern_that_repeats(counts, block):
    split = SplitConfig(train=counts[0], val=counts[1], test=counts[2])
    expected = block.split() * 5
    assert [split.of(index) for index in range(len(expected))] == expected


def test_any_run_of_whole_blocks_has_the_stated_counts():
    split = SplitConfig()
    names = [split.of(index) for index in range(37, 37 + 300)]
    assert {name: names.count(name) for name in SPLITS} == {"train": 240, "val": 30, "test": 30}


def test_at_least_one_split_must_be_in_use():
    with pytest.raises(ValidationError, match="at least one must be positive"):
        SplitConfig(train=0, val=0, test=0)
    with pytest.raises(ValidationError):
        SplitConfig(train=-1)


UNIFORM = np.append(np.random.default_rng(0).random(5000), [0.0, 0.1, 0.3, 0.7, np.nextafter(1, 0)])


@pytest.mark.parametrize("counts", [(80, 10, 10), (1, 1, 1), (97, 2, 1), (3, 0, 1), (5, 0, 0)])
def test_bands_are_apart_cover_the_range_and_keep_the_proportions(counts):
    """In units of a cycle, train has [0, a), val [a, b), test [b, 1), where a and b are shares of the counts."""
    split = SplitConfig(train=counts[0], val=counts[1], test=counts[2])
    borders = np.cumsum([0, *counts]) / sum(counts)
    for name, low, high in zip(SPLITS, borders, borders[1:], strict=False):
        if low == high:
            continue
        values = np.array([split.banded(float(u), name) for u in UNIFORM])
        assert (values >= 0).all() and (values < 1).all()
        cycle, above = np.divmod(values * NUM_BAND_CYCLES - low + 1e-9, 1.0)
        assert (above <= high - low + 2e-9).all()
        fifth = np.floor(np.minimum(above / (high - low) * 5, 4.5))
        assert len(np.unique(5 * cycle + fifth)) >= 5 * NUM_BAND_CYCLES  # every band is filled from end to end


def test_banding_keeps_the_order_of_the_draws_and_so_their_distribution():
    split = SplitConfig(train=8, val=1, test=1)
    for name in SPLITS:
        values = [split.banded(float(u), name) for u in np.sort(UNIFORM)]
        assert (np.diff(values) >= 0).all()
        assert np.abs(values - np.sort(UNIFORM)).max() < 1 / NUM_BAND_CYCLES


def test_a_single_split_has_the_whole_range():
    split = SplitConfig(train=0, val=0, test=4)
    np.testing.assert_allclose([split.banded(float(u), "test") for u in UNIFORM], UNIFORM, atol=1e-12)
