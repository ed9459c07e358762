"""Means over seeds and clips with their intervals, against closed forms and against many made-up repetitions."""

import numpy as np
import pytest

from seqgen.reproduction.statistics import estimate, estimate_difference

T_2, T_4 = 4.302653, 2.776445  # Student's t, 97.5 %, of 2 and of 4 degrees of freedom (any table)


def test_equal_values_are_sure() -> None:
    assert estimate(np.full((3, 40), 7.5), np.random.default_rng(0)) == (7.5, 7.5, 7.5, 0.0)


def test_one_seed_has_no_deviation_of_seeds() -> None:
    found = estimate(np.arange(10.0)[None], np.random.default_rng(0))
    assert found.mean == 4.5 and found.low < 4.5 < found.high and np.isnan(found.seed_deviation)


def test_interval_over_clips_is_that_of_a_mean_of_normal_values() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, (1, 500))
    found = estimate(values, np.random.default_rng(2), resamples=5000)
    half = 1.96 * values.std() / np.sqrt(500)
    assert found.high - found.mean == pytest.approx(half, rel=0.05)  # the deviation of 5,000 resamples is known to one per cent


def test_interval_over_seeds_is_students() -> None:
    found = estimate(np.repeat(np.array([[0.0], [1.0], [2.0]]), 50, 1), np.random.default_rng(0))
    assert found.mean == 1.0 and found.seed_deviation == pytest.approx(1.0)
    assert found.high - found.mean == pytest.approx(T_2 / np.sqrt(3), rel=1e-5)


def test_interval_of_a_difference_over_seeds_is_welchs() -> None:
    """Of two rows of equal variance and three seeds each: four degrees of freedom."""
    seeds = np.repeat(np.array([[0.0], [1.0], [2.0]]), 50, 1)
    found = estimate_difference(seeds + 5, seeds, np.random.default_rng(0))
    assert found.mean == pytest.approx(5.0) and found.seed_deviation == pytest.approx(np.sqrt(2))
    assert found.high - found.mean == pytest.approx(T_4 * np.sqrt(2 / 3), rel=1e-5)


def test_differences_of_clips_cancel_in_pairs() -> None:
    clips = np.random.default_rng(0).normal(20.0, 9.0, 100)
    found = estimate_difference(np.tile(clips + 1, (3, 1)), np.tile(clips, (2, 1)), np.random.default_rng(1))
    assert tuple(found) == pytest.approx((1.0, 1.0, 1.0, 0.0), abs=1e-9)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """400 made-up differences of two rows of three seeds on 60 clips, with true difference 1: 95 % of 400 is 380, of standard deviation 4.4."""
    rng, held = np.random.default_rng(5), 0
    for _ in range(400):
        clips = rng.normal(0, 5, 60)
        rows = [clips + rng.normal(mean, 0.5, (3, 1)) + rng.normal(0, 1, 60) + rng.normal(0, 1, (3, 60)) for mean in (1.0, 0.0)]
        found = estimate_difference(*rows, rng, resamples=200)
        held += found.low <= 1 <= found.high
    assert 380 - 3 * 4.4 <= held <= 380 + 4 * 4.4


def test_pairs_of_seeds_have_students_interval_of_their_differences() -> None:
    """Differences 4, 5, 6 of seeds that are far apart themselves: mean 5, deviation 1, two degrees of freedom."""
    against = np.repeat(np.array([[0.0], [30.0], [-20.0]]), 50, 1)
    found = estimate_difference(against + np.array([[4.0], [5.0], [6.0]]), against, np.random.default_rng(0), paired=True)
    assert found.mean == pytest.approx(5.0) and found.seed_deviation == pytest.approx(1.0)
    assert found.high - found.mean == pytest.approx(T_2 / np.sqrt(3), rel=1e-5)


def test_intervals_of_pairs_hold_the_truth_as_often_as_they_say() -> None:
    """400 made-up differences of two rows of three seeds that go on from one training of each seed: 380 of standard deviation 4.4."""
    rng, held = np.random.default_rng(6), 0
    for _ in range(400):
        start = rng.normal(0, 2, (3, 1)) + rng.normal(0, 5, 60)
        rows = [start + rng.normal(mean, 0.3, (3, 1)) + rng.normal(0, 0.5, (3, 60)) for mean in (1.0, 0.0)]
        found = estimate_difference(*rows, rng, paired=True, resamples=200)
        held += found.low <= 1 <= found.high
    assert 380 - 3 * 4.4 <= held <= 380 + 4 * 4.4


def test_what_is_not_measured_does_not_count() -> None:
    values = np.array([[1.0, np.nan, 3.0], [1.0, np.nan, 3.0]])
    found = estimate(values, np.random.default_rng(0))
    assert found.mean == 2.0 and found.low < 2.0 < found.high and found.seed_deviation == 0.0
    nothing = estimate(np.full((2, 3), np.nan), np.random.default_rng(0))
    assert np.isnan(nothing).all()


def test_every_value_counts_once() -> None:
    """The mean is over all values, not over the seeds' means."""
    assert estimate(np.array([[0.0, 0.0, 0.0], [4.0, np.nan, np.nan]]), np.random.default_rng(0)).mean == 1.0
