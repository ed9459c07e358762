"""A thing between the pads of the thumb and of a finger that opposes it: how thick and long it may be, which way it points, and how it moves with the two.

The line between the pads is the thing's y; about that line it is turned to where the rest of the hand leaves most room for it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from seqgen.scene.things.flesh import FLESH_M, bone_points, size_of
from seqgen.skeleton import BONES, HandFrame

Array = np.ndarray
THUMB, FINGERS = 4, (8, 12)  # tips of those that pinch
PAD = 0.7  # how far along the last bone
OPPOSED = 0.6  # cosine of the angle at the finger's pad between straight out of the skin and the thumb, at least
RADIUS_M, HALF_LENGTH_M = (0.003, 0.022), (0.015, 0.06)
SLACK_M = 0.009  # how far the pads come apart over the clip, at most
LOOSE_M = 0.0015  # how much thinner than the gap a thing may be, to clear the rest of the hand
SHORTER, DIRECTIONS = (1.0, 0.6, 0.36), 6  # lengths and directions to choose from
OFF_MIDDLE = 0.6  # where along itself a thing is pinched, in half lengths, at most


@dataclass(frozen=True)
class Pads:
    """Of thumb and finger, in the camera frame: midway between their skins, from finger to thumb, square to that towards the finger's end, and the gap."""

    middles_m: Float[Array, "frames 3"]
    across: Float[Array, "frames 3"]
    onwards: Float[Array, "frames 3"]
    gap_m: Float[Array, "frames"]

    def axes(self, angle: float) -> Float[Array, "frames 3 3"]:
        """Of a thing whose y is across and whose z is turned about it from onwards by this angle."""
        z = np.cos(angle) * self.onwards + np.sin(angle) * np.cross(self.across, self.onwards)
        return np.stack([np.cross(self.across, z), self.across, z], -1)


@dataclass(frozen=True)
class Pinch:
    """Room for a thing whose longest axis is z, in the camera frame, metres."""

    middles_m: Float[Array, "frames 3"]
    axes: Float[Array, "frames 3 3"]
    radius_m: float
    half_length_m: float


def find_pinch(joints_m: Float[Array, "frames 21 3"], frame: HandFrame, rng: np.random.Generator) -> Pinch | None:
    """Room for a thing of a drawn length or shorter, or None where no finger opposes the thumb, the two come apart, or the rest of the hand is in the way."""
    length, first, off = float(np.exp(rng.uniform(*np.log(HALF_LENGTH_M)))), rng.uniform(0, np.pi), OFF_MIDDLE * rng.uniform(-1, 1)
    pads = next((pads for finger in FINGERS if (pads := _opposed_pads(joints_m, frame, finger))), None)
    if pads is None:
        return None
    angles, half_gap = first + np.pi / DIRECTIONS * np.arange(DIRECTIONS), float(pads.gap_m.min()) / 2
    for half_length in np.maximum(length * np.array(SHORTER), half_gap):
        rooms = _rooms(joints_m, pads, angles, half_length, off * half_length)
        radius = min(float(rooms.max()), half_gap)
        if radius >= max(half_gap - LOOSE_M, RADIUS_M[0]):
            axes = pads.axes(float(angles[rooms.argmax()]))
            return Pinch(pads.middles_m + off * half_length * axes[..., 2], axes, radius, float(half_length))
    return None


def _opposed_pads(joints_m: Float[Array, "frames 21 3"], frame: HandFrame, finger: int) -> Pads | None:
    """The pads of thumb and finger, or None where the thumb is not before the finger's pad, or too near, too far, or moving."""
    thumb_pad, finger_pad = ((1 - PAD) * joints_m[:, end - 1] + PAD * joints_m[:, end] for end in (THUMB, finger))
    thumb_flesh, finger_flesh = (size_of(joints_m) * float((1 - PAD) * FLESH_M[end - 1] + PAD * FLESH_M[end]) for end in (THUMB, finger))
    across, bone = thumb_pad - finger_pad, joints_m[:, finger] - joints_m[:, finger - 1]
    apart = np.linalg.norm(across, axis=1, keepdims=True)
    across, gap = across / apart, apart[:, 0] - thumb_flesh - finger_flesh
    outwards = np.cross(bone, frame.axes[..., 0])  # a finger bends about the knuckles' line
    faced = (outwards * across).sum(1) / np.linalg.norm(outwards, axis=1)
    if faced.min() < OPPOSED or not 2 * RADIUS_M[0] <= gap.min() <= 2 * RADIUS_M[1] or np.ptp(gap) > SLACK_M:
        return None
    onwards = bone - (bone * across).sum(1, keepdims=True) * across
    onwards = onwards / np.linalg.norm(onwards, axis=1, keepdims=True)
    return Pads(finger_pad + (finger_flesh + gap[:, None] / 2) * across, across, onwards, gap)


def _rooms(joints_m: Float[Array, "frames 21 3"], pads: Pads, angles: Float[Array, "directions"], half_length: float, off: float) -> Float[Array, "directions"]:
    """How thick the thing may be, by direction, so that it touches no bone's flesh at the clip's beginning, middle or end."""
    few = [0, len(joints_m) // 2, -1]
    points, flesh = bone_points(joints_m, BONES)
    from_middle = points[few] - pads.middles_m[few][:, None]
    on, aside = (np.einsum("tpi,ti->tp", from_middle, axis[few]) for axis in (pads.onwards, np.cross(pads.across, pads.onwards)))
    along = np.cos(angles)[:, None, None] * on + np.sin(angles)[:, None, None] * aside
    beside2 = (from_middle**2).sum(2) - along**2
    beyond = np.maximum(np.abs(along - off) - half_length, 0.0)
    return (np.sqrt(np.maximum(beside2, 0.0) + beyond**2) - flesh).min((1, 2))
