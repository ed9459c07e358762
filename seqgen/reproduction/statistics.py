"""How sure a mean over seeds and clips is, and a difference of two rows, since each seed and each clip could have been another.

Values are (seeds, clips): what a row scores on each test clip in each of its trainings; nan where a clip has nothing to be measured on. Means are over all
values that are there. Two sources of error, taken as independent, make a 95 % interval:

    clips   the bootstrap: clips drawn with replacement, the same for all seeds and for both rows of a difference (Efron 1979; paired)
    seeds   Student's t, for three seeds are too few to resample: of so few a bootstrap's interval is less than half as long as it must be (Welch 1947)

Where two rows go on from one training in each seed, part of their spread is shared and cancels in the difference. Taken as unrelated, seeds would then give far
too wide an interval; so they go in pairs, and Student's t is that of the pairs' differences.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

Array = np.ndarray
Values = Float[Array, "seeds clips"]
COVERAGE = 0.95
NORMAL = 1.959964  # the normal distribution's quantile for it
RESAMPLES = 2000


class Estimate(NamedTuple):
    """A mean with its interval, and the standard deviation of the seeds' means (nan for one seed: the interval is then that of the clips alone)."""

    mean: float
    low: float
    high: float
    seed_deviation: float


def estimate(values: Values, rng: np.random.Generator, *, resamples: int = RESAMPLES) -> Estimate:
    """The mean of a row."""
    return _estimate(_mean(values), [values], _resampled(values, _drawn(values.shape[1], resamples, rng)))


def estimate_difference(values: Values, against: Float[Array, "other_seeds clips"], rng: np.random.Generator, *, paired: bool = False, resamples: int = RESAMPLES) -> Estimate:
    """The mean of one row minus that of another on the same clips. Its `seed_deviation` is that of the difference of two seeds, one of each row. `paired`: seeds
    belong together, the first to the first, and so on; both rows have as many."""
    clips = _drawn(values.shape[1], resamples, rng)
    rows = [values - against] if paired else [values, against]
    return _estimate(_mean(values) - _mean(against), rows, _resampled(values, clips) - _resampled(against, clips))


def _estimate(mean: float, rows: Sequence[Array], resampled: Float[Array, "resamples"]) -> Estimate:
    """A mean that comes of some rows, with both errors added as variances."""
    known = resampled[np.isfinite(resampled)]
    if not len(known):
        return Estimate(np.nan, np.nan, np.nan, np.nan)
    several = all(len(row) > 1 for row in rows)
    deviation, seeds_half = _seeds(rows) if several else (np.nan, 0.0)
    half = float(np.hypot(NORMAL * known.std(), seeds_half))
    return Estimate(mean, mean - half, mean + half, deviation)


def _seeds(rows: Sequence[Array]) -> tuple[float, float]:
    """The standard deviation of a difference of seeds of the rows, and half the interval that comes of it, with Welch's degrees of freedom."""
    variances = np.array([np.var(_seed_means(row), ddof=1) for row in rows])
    counts = np.array([len(row) for row in rows])
    of_means = variances / counts
    if not of_means.sum() > 0:
        return 0.0, 0.0
    freedom = of_means.sum() ** 2 / (of_means**2 / (counts - 1)).sum()
    return float(np.sqrt(variances.sum())), float(stdtrit(freedom, (1 + COVERAGE) / 2) * np.sqrt(of_means.sum()))


def _drawn(count: int, resamples: int, rng: np.random.Generator) -> Float[Array, "resamples count"]:
    """How often each of `count` things is drawn when so many are drawn with replacement."""
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(float)


def _resampled(values: Values, clips: Float[Array, "resamples clips"]) -> Float[Array, "resamples"]:
    """The mean of the values with each clip counted so often; nan where none of those counted has a value."""
    there = np.isfinite(values)
    total, count = clips @ np.where(there, values, 0.0).sum(0), clips @ there.sum(0)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def _seed_means(values: Values) -> Float[Array, "seeds"]:
    """Each seed's own mean."""
    return np.array([_mean(row[None]) for row in values])


def _mean(values: Values) -> float:
    there = np.isfinite(values)
    return float(values[there].mean()) if there.any() else np.nan
