"""Streams of random numbers: numpy's own, however they are written down."""

import numpy as np
import pytest

from seqgen.pipeline.streams import CONCERNS, stream

NUMBERS = (0, 1, 410_000, 2**32 - 1, 2**32, 2**40 + 7, 2**63 - 1)


@pytest.mark.parametrize("seed", [*NUMBERS, 2**64, 2**128 + 5, 2**200])
@pytest.mark.parametrize("index", NUMBERS)
def test_a_stream_is_that_of_numpys_seed_sequence(seed, index):
    for number, concern in enumerate(CONCERNS):
        for redraw in (0, 1, 2**33):
            key = (index, number, redraw) if redraw else (index, number)
            expected = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
            drawn = stream(seed, index, concern, redraw)
            assert drawn.bit_generator.state == expected.bit_generator.state


def test_children_are_numpys_too():
    expected = np.random.default_rng(np.random.SeedSequence(5, spawn_key=(7, CONCERNS.index("rig"))))
    for child, twin in zip(stream(5, 7, "rig").spawn(3), expected.spawn(3), strict=True):
        assert child.bit_generator.state == twin.bit_generator.state


def test_no_two_concerns_clips_or_seeds_share_numbers():
    drawn = {stream(seed, index, concern, redraw).random() for seed in (0, 1) for index in range(50) for concern in CONCERNS for redraw in (0, 1)}
    assert len(drawn) == 2 * 50 * len(CONCERNS) * 2


def test_a_concern_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="not in"):
        stream(0, 0, "weather")
