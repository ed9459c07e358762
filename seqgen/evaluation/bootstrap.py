"""How sure a mean over clips is: the bootstrap over whole clips, since the frames of one clip are alike and no independent draws."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Array = np.ndarray
COVERAGE = 0.95


class MeanInterval(NamedTuple):
    """A mean and the interval around it."""

    mean: float
    low: float
    high: float


def bootstrap_mean(values_by_clip: Sequence[Float[Array, "_"]], rng: np.random.Generator, *, resamples: int = 1000, coverage: float = COVERAGE) -> MeanInterval:
    """The mean of all values, and the percentile interval of its bootstrap (Efron 1979): clips are drawn with replacement, each with all its values (the cluster
    bootstrap, Davison and Hinkley 1997). An entry of the list is a clip: its valid joints' errors, its frames' successes, or one number.

    Clips without values are left out; without any clip all three are nan, with one alone there is no interval (nan). With fewer than some twenty it is too narrow.
    Two networks on the same clips compare by the differences of their values: give those.
    """
    filled = [values for values in values_by_clip if len(values)]
    if not filled:
        return MeanInterval(np.nan, np.nan, np.nan)
    if len(filled) == 1:
        return MeanInterval(float(filled[0].mean()), np.nan, np.nan)
    sums, counts = np.array([values.sum(dtype=float) for values in filled]), np.array([len(values) for values in filled])
    means = np.empty(resamples)
    for place in range(resamples):
        drawn = rng.integers(len(filled), size=len(filled))
        means[place] = sums[drawn].sum() / counts[drawn].sum()
    low, high = np.quantile(means, [(1 - coverage) / 2, (1 + coverage) / 2])
    return MeanInterval(float(sums.sum() / counts.sum()), float(low), float(high))
