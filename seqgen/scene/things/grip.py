"""Room in a palm: how thick a thing the fingers leave room for, and where it lies.

Seen along the knuckles a held thing is a circle that touches the palm. A point at p across and q off the palm, with flesh of radius f around it, is
clear of a circle of radius r that touches the palm at 0 when p^2 + (q - r)^2 >= (r + f)^2, that is r <= (p^2 + q^2 - f^2) / (2 (q + f)): the thickest
circle follows in closed form from all points of the fingers and all frames.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from seqgen.geometry import matrix_from_axis_angle
from seqgen.skeleton import FINGER_BONES, MCPS, PALM_M

Array = np.ndarray
# Flesh around the joints of a hand of 95 mm palm, metres; at a tip the bone's line leaves the skin, so little is left. Skin gives way by a millimetre or two.
FLESH_M = np.array([0.0, 0.012, 0.010, 0.008, 0.004] + 4 * [0.010, 0.0085, 0.007, 0.003])
PALM_FLESH_M = 0.014  # between the knuckles' joints and the skin of the palm
SAMPLES = (1 / 3, 2 / 3, 1.0)  # points along each bone of the fingers
PLACES = (0.9, 1.0, 0.8, 0.7, 1.1, 0.6)  # along the palm from the wrist, the middle knuckle being 1; of equal rooms the first is taken
ASIDE_M = (0.0, 0.012, 0.024)  # from the middle of the knuckles towards the pinky, away from the thumb
SHORTER = (1.0, 0.6, 0.36)  # where there is no room for a thing of the drawn length, a shorter one may pass the thumb
HALF_LENGTH_M, RADIUS_M = (0.02, 0.075), (0.008, 0.034)
LEAST_RADIUS_M = 0.005  # with less room nothing is held
SLANT_RAD, SLANT_SPREAD_RAD = np.radians(-15.0), np.radians(10.0)  # of the thing's axis from the knuckles': a grip runs from the index finger to the heel of the hand
WOBBLE_RAD, WOBBLE_M, WOBBLE_HZ = np.radians(2.0), 0.001, (0.3, 1.0)
HAND_FROM_THING = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])  # the thing's z along the knuckles, its y off the back of the hand


@dataclass(frozen=True)
class Grip:
    """Room for a thing whose longest axis is z. In the hand frame, metres: `palm_m` is where it touches the palm, `axes` are the thing's."""

    palm_m: Float[Array, "3"]
    axes: Float[Array, "3 3"]
    radius_m: float
    half_length_m: float

    def middle_m(self, half_thickness_m: float) -> Float[Array, "3"]:
        """Of a thing that is thinner than the room: between lying on the palm and filling it."""
        return self.palm_m - self.axes[:, 1] * (half_thickness_m + self.radius_m) / 2


def find_grip(joints_m: Float[Array, "frames 21 3"], rng: np.random.Generator) -> Grip | None:
    """Room in the palm of hands given in their hand frames, or None where the fingers leave none."""
    length, radius = np.exp(rng.uniform(np.log([HALF_LENGTH_M[0], RADIUS_M[0]]), np.log([HALF_LENGTH_M[1], RADIUS_M[1]])))
    slant = matrix_from_axis_angle(np.array([0.0, 0.0, SLANT_RAD + SLANT_SPREAD_RAD * np.clip(rng.standard_normal(), -2, 2)]))
    joints, size = joints_m @ slant, float(np.linalg.norm(joints_m[:, 9], axis=1).mean()) / PALM_M
    across, along = joints[:, MCPS, 0].mean() + size * np.array(ASIDE_M), size * PALM_M * np.array(PLACES)
    off = PALM_FLESH_M * size - float(joints[:, MCPS, 2].min())
    for half_length in length * np.array(SHORTER):
        rooms = np.minimum(_rooms(joints, size, across, along, off, half_length), radius)
        i, j = np.unravel_index(rooms.argmax(), rooms.shape)
        if rooms[i, j] >= LEAST_RADIUS_M:
            return Grip(slant @ [across[i], along[j], -off], slant @ HAND_FROM_THING, float(rooms[i, j]), float(half_length))
    return None


def _rooms(
    joints: Float[Array, "frames 21 3"], size: float, across: Float[Array, "columns"], along: Float[Array, "places"], off: float, half_length: float
) -> Float[Array, "columns places"]:
    """Radius of the thickest circle at each place on the palm, negative where a finger already lies there."""
    before, after = np.array(FINGER_BONES).T
    share = np.array(SAMPLES)[:, None]
    points = np.concatenate([joints[:, before] + s * (joints[:, after] - joints[:, before]) for s in SAMPLES], 1)
    flesh = size * (FLESH_M[before] + share * (FLESH_M[after] - FLESH_M[before])).reshape(-1)
    p, q = points[..., 1] - along[:, None, None], -points[..., 2] - off
    room = (p**2 + q**2 - flesh**2) / (2 * np.maximum(q + flesh, 1e-6))
    beside = (np.abs(points[..., 0] - across[:, None, None]) > half_length + flesh) | (q + flesh <= 0)
    return np.where(beside[:, None], np.inf, room).min((2, 3))


def wobble(frames: int, fps: float, rng: np.random.Generator) -> tuple[Float[Array, "frames 3 3"], Float[Array, "frames 3"]]:
    """Slow small turns and shifts of a thing in a hand."""
    phase, hz = 2 * np.pi * rng.random(6), rng.uniform(*WOBBLE_HZ, 6)
    swing = np.sin(phase + 2 * np.pi * hz * np.arange(frames)[:, None] / fps) * rng.uniform(0, 1, 6) / np.sqrt(3)
    return matrix_from_axis_angle(WOBBLE_RAD * swing[:, :3]), WOBBLE_M * swing[:, 3:]
