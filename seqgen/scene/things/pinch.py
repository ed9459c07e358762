"""A thing pinched between the tips of the thumb and of a finger that opposes it: how thick it is, which way it points, and how it moves with the two tips."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from seqgen.scene.things.flesh import FLESH_M, bone_points, size_of
from seqgen.skeleton import BONES, HandFrame

Array = np.ndarray
PAD = 0.7  # of the way along its last bone a finger touches
THUMB_TIP, TIPS = 4, (8, 12)  # who pinch
OPPOSED = 0.6  # cosine of the angle between what the finger's pad faces and where the thumb is, at most
RADIUS_M, HALF_LENGTH_M = (0.003, 0.022), (0.015, 0.06)
SLACK_M = 0.008  # by how much the tips may come apart and together over the clip
SHORTER, WAYS = (1.0, 0.6, 0.36), 6  # lengths and directions that are tried
OFF_MIDDLE = 0.5  # of the half length: where along itself a thing is pinched, at most
SINK_M = 0.001  # skin gives way


@dataclass(frozen=True)
class Pinch:
    """Room for a thing between two tips, in the camera frame, metres. Its longest axis is z, the tips are at either end of its x."""

    middles_m: Float[Array, "frames 3"]
    axes: Float[Array, "frames 3 3"]
    radius_m: float
    half_length_m: float


def find_pinch(joints_m: Float[Array, "frames 21 3"], frame: HandFrame, rng: np.random.Generator) -> Pinch | None:
    """The longest thing that clears the rest of the hand, or None where thumb and fingers do not oppose each other or come apart."""
    length, first, share = rng.random(3)
    tip = next((tip for tip in TIPS if _opposed(joints_m, frame, tip)), None)
    if tip is None:
        return None
    size = size_of(joints_m)
    thumb, finger = (_pad(joints_m, end) for end in (THUMB_TIP, tip))
    apart = thumb - finger
    ...
