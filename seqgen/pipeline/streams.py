"""The random numbers of a data set: one stream for each concern of each sequence, so that switching one concern off leaves the others alone."""

import numpy as np

# The order is part of every data set: new concerns go to the end.
CONCERNS = ("flow", "shape", "camera", "light", "skin", "background", "arm", "occluder", "sensor", "side", "shutter", "rig")


def stream(seed: int, index: int, concern: str, redraw: int = 0) -> np.random.Generator:
    """The random numbers of one concern of one sequence. A concern drawn anew has others."""
    key = (index, CONCERNS.index(concern), redraw) if redraw else (index, CONCERNS.index(concern))
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
