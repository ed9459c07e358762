"""The time law of a walk: constant speed between rests, with eased starts and stops.

From rest to rest over a length l at a mean speed v the hand takes l / v seconds: it speeds up for e seconds, glides at w = v / (1 - e v / l), slows down
for e seconds. With G(x) = x^3 - x^4 / 2, the integral of the smooth step 3 x^2 - 2 x^3, the way gone is w R(t), R(t) = e G(t / e) up to t = e and t - e / 2
after it; the second half is the mirror of the first. A way too short for that is eased all along: e = l / 2 v, w = 2 v.
"""

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from jaxtyping import Bool, Float

Array = np.ndarray
SHORTEST_S = 0.3  # from stop to stop: short ways are made more slowly
AT_REST = 0.1  # of full speed: slower than this counts as part of the rest
_TABLE = np.linspace(0.0, 1.0, 513)


@dataclass(frozen=True)
class Stretch:
    """A way from one rest to the next: where it begins and ends (metres along the walk), the rest after it (seconds), mean speed and ease."""

    begin_m: float
    end_m: float
    rest_s: float
    speed_m_s: float
    ease_s: float

    @property
    def moving_s(self) -> float:
        """Seconds on the way: at the mean speed, but never less than SHORTEST_S."""
        return max((self.end_m - self.begin_m) / self.speed_m_s, SHORTEST_S)

    @property
    def ease(self) -> float:
        """Seconds to full speed: `ease_s`, or half of a way too short for that."""
        return max(min(self.ease_s, self.moving_s / 2), 1e-9)

    @property
    def full_speed_m_s(self) -> float:
        """Between the eases."""
        return (self.end_m - self.begin_m) / (self.moving_s - self.ease)

    @property
    def total_s(self) -> float:
        """Seconds on the way and at rest after it."""
        return self.moving_s + self.rest_s

    def position_m(self, time_s: Float[Array, "times"]) -> Float[Array, "times"]:
        """Where the hand is, `time_s` after the stretch began; at its end from then on."""
        moving_s = self.moving_s
        time_s = np.minimum(np.maximum(time_s, 0.0), moving_s)
        first = time_s <= moving_s / 2
        run = self.full_speed_m_s * self._run(np.where(first, time_s, moving_s - time_s))
        return np.where(first, self.begin_m + run, self.end_m - run)

    def time_s(self, position_m: float) -> float:
        """When the hand is at a place of the stretch."""
        gone, left = position_m - self.begin_m, self.end_m - position_m
        return self._run_time(gone / self.full_speed_m_s) if gone <= left else self.moving_s - self._run_time(left / self.full_speed_m_s)

    def resting(self, time_s: Float[Array, "times"]) -> Bool[Array, "times"]:
        """Whether the hand is slower than AT_REST of its speed."""
        inside = np.minimum(np.maximum(np.minimum(time_s, self.moving_s - time_s) / self.ease, 0.0), 1.0)
        return inside * inside * (3 - 2 * inside) < AT_REST

    def _run(self, time_s: Float[Array, "times"]) -> Float[Array, "times"]:
        ease = self.ease
        x = np.minimum(time_s / ease, 1.0)
        return ease * (x * x * x * (1.0 - 0.5 * x)) + np.maximum(time_s - ease, 0.0)

    def _run_time(self, run_s: float) -> float:
        run_s = max(run_s, 0.0)
        if run_s >= 0.5 * self.ease:
            return run_s + 0.5 * self.ease
        return self.ease * float(np.interp(run_s / self.ease, _TABLE**3 - 0.5 * _TABLE**4, _TABLE))


def travel(stretches: list[Stretch], begun_s: float, times_s: Float[Array, "times"]) -> tuple[Float[Array, "times"], Bool[Array, "times"]]:
    """Places, and whether the hand rests, at times from 0 on, when the first stretch began `begun_s` before that. After the last stretch it stays there."""
    begins = begun_s - np.array(list(accumulate((stretch.total_s for stretch in stretches[:-1]), initial=0.0)))
    number = np.minimum(np.maximum(np.searchsorted(-begins, times_s, side="right") - 1, 0), len(stretches) - 1)
    position, resting = np.empty(len(times_s)), np.empty(len(times_s), bool)
    for chosen in sorted(set(number.tolist())):
        here = number == chosen
        since = times_s[here] + begins[chosen]
        position[here], resting[here] = stretches[chosen].position_m(since), stretches[chosen].resting(since)
    return position, resting
