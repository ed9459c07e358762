"""The random numbers of a data set: one stream for each concern of each sequence, so that switching one concern off leaves the others alone."""

import numpy as np

# The order is part of every data set: new concerns go to the end.
CONCERNS = ("flow", "shape", "camera", "light", "skin", "background", "arm", "occluder", "sensor", "side", "shutter", "rig")
POOL_WORDS = 4  # what a SeedSequence fills up with zeros before its spawn key


def stream(seed: int, index: int, concern: str, redraw: int = 0) -> np.random.Generator:
    """The random numbers of one concern of one sequence. A concern drawn anew has others.

    Those of `default_rng(SeedSequence(seed, spawn_key=(index, concern's number)))`, and of `redraw` after these where it is not 0: written down as the words
    that numpy makes of them, they take a third of the time.
    """
    words = _words(seed)
    words += [0] * (POOL_WORDS - len(words)) + _words(index) + [CONCERNS.index(concern)] + (_words(redraw) if redraw else [])
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(np.array(words, np.uint32))))


def _words(number: int) -> list[int]:
    """A number, not negative, in 32-bit words, the lowest first; nought is one word."""
    return [number] if number < 1 << 32 else [number & 0xFFFFFFFF, *_words(number >> 32)]
