"""Room in a palm that the fingers bend around: how thick a thing they hold there, and where it lies.

Seen along the knuckles a held thing is a circle that touches the palm. A point at p across and q off the palm, with flesh of radius f around it, is
clear of a circle of radius r that touches the palm at 0 when p^2 + (q - r)^2 >= (r + f)^2, that is r <= (p^2 + q^2 - f^2) / (2 (q + f)): the thickest
circle follows in closed form from all points of the fingers and all frames. It is held where in mid clip two fingers touch it on the side away from the palm.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from seqgen.geometry import matrix_from_axis_angle
from seqgen.scene.things.flesh import PALM_FLESH_M, bone_points, size_of
from seqgen.skeleton import FINGER_BONES, FINGERS, MCPS, PALM_M

Array = np.ndarray
PLACES = np.arange(0.45, 1.2, 0.05)  # along the palm from the wrist, the middle knuckle being 1
ASIDE_M = (-0.012, 0.0, 0.012, 0.024)  # from the middle of the knuckles towards the pinky, away from the thumb
SHORTER = (1.0, 0.6, 0.36)  # what fingers do not bend around in the drawn length, they may around a shorter one
HALF_LENGTH_M, RADIUS_M = (0.02, 0.075), (0.006, 0.036)
TOUCH_M = 0.009  # so near touches: fingers move over the clip
AROUND = np.sin(np.radians(20.0))  # how far on the other side: 110 degrees around from where the thing touches the palm
HOLDING = 2  # of the four fingers, at least
EVERY = 3  # of the frames one in so many is looked at
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
    """The roomiest grip of hands given in their hand frames, or None where no fingers bend around a thing."""
    length = float(np.exp(rng.uniform(*np.log(HALF_LENGTH_M))))
    slant = matrix_from_axis_angle(np.array([0.0, 0.0, SLANT_RAD + SLANT_SPREAD_RAD * np.clip(rng.standard_normal(), -2, 2)]))
    joints, size = joints_m[::EVERY] @ slant, size_of(joints_m)
    across, along = joints[:, MCPS, 0].mean() + size * np.array(ASIDE_M), size * PALM_M * PLACES
    off = PALM_FLESH_M * size - float(joints[:, MCPS, 2].min())
    points, flesh = bone_points(joints, FINGER_BONES)
    p, q = points[:, None, :, 1] - along[:, None], -points[:, None, :, 2] - off
    clear = np.where(q + flesh > 0, (p**2 + q**2 - flesh**2) / (2 * np.maximum(q + flesh, 1e-6)), np.inf).min(0)
    middle = len(joints) // 2
    for half_length in length * np.array(SHORTER):
        beside = np.abs(points[..., 0] - across[:, None, None]) - half_length
        rooms = np.where((beside <= flesh).any(1)[:, None], clear, np.inf).min(2)
        fitting = (rooms >= RADIUS_M[0]) & (rooms <= RADIUS_M[1])
        if not fitting.any():
            continue
        held = fitting & _embraced(rooms, p[middle], q[middle], flesh, beside[:, None, middle] <= 0)
        if held.any():
            i, j = np.unravel_index(np.where(held, rooms, 0.0).argmax(), rooms.shape)
            return Grip(slant @ [across[i], along[j], -off], slant @ HAND_FROM_THING, float(rooms[i, j]), float(half_length))
    return None


def _embraced(
    rooms: Float[Array, "columns places"],
    p: Float[Array, "places points"],
    q: Float[Array, "1 points"],
    flesh: Float[Array, "points"],
    over: Bool[Array, "columns 1 points"],
) -> Bool[Array, "columns places"]:
    """Whether fingers pass beyond circles of these radii and come back over them, to touch them on the side away from the palm."""
    radius = np.clip(rooms, *RADIUS_M)[..., None]
    away = np.hypot(p, q - radius)
    touching = over & (away - radius - flesh < TOUCH_M) & (q - radius > AROUND * away)
    touched, passed = (points.reshape(*rooms.shape, -1, len(FINGERS), 3).any((2, 4)) for points in (touching, over & (p > radius)))
    return (touched & passed)[..., 1:].sum(2) >= HOLDING


def wobble(frames: int, fps: float, rng: np.random.Generator) -> tuple[Float[Array, "frames 3 3"], Float[Array, "frames 3"]]:
    """Slow small turns and shifts of a thing in a hand."""
    phase, hz = 2 * np.pi * rng.random(6), rng.uniform(*WOBBLE_HZ, 6)
    swing = np.sin(phase + 2 * np.pi * hz * np.arange(frames)[:, None] / fps) * rng.uniform(0, 1, 6) / np.sqrt(3)
    return matrix_from_axis_angle(WOBBLE_RAD * swing[:, :3]), WOBBLE_M * swing[:, 3:]
