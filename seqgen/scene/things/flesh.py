"""How much flesh lies around the bones of a hand, for things to keep clear of and to touch."""

import numpy as np
from jaxtyping import Float

from seqgen.skeleton import PALM_M

Array = np.ndarray
# Around the joints of a hand of 95 mm palm, metres; at a tip the bone's line leaves the skin, so little is left. Skin gives way by a millimetre or two.
FLESH_M = np.array([0.016, 0.012, 0.010, 0.008, 0.004] + 4 * [0.010, 0.0085, 0.007, 0.003])
PALM_FLESH_M = 0.014  # between the knuckles' joints and the skin of the palm
SAMPLES = (1 / 3, 2 / 3, 1.0)  # points along each bone


def size_of(joints_m: Float[Array, "frames 21 3"]) -> float:
    """Of hands against one of 95 mm palm."""
    return float(np.linalg.norm(joints_m[:, 9] - joints_m[:, 0], axis=1).mean()) / PALM_M


def bone_points(joints_m: Float[Array, "frames 21 3"], bones: tuple[tuple[int, int], ...]) -> tuple[Float[Array, "frames points 3"], Float[Array, "points"]]:
    """Points along bones, (bone, bone, ..) at the first of SAMPLES and so on, and the flesh around each, metres."""
    before, after = np.array(bones).T
    points = np.concatenate([joints_m[:, before] + share * (joints_m[:, after] - joints_m[:, before]) for share in SAMPLES], 1)
    flesh = FLESH_M[before] + np.array(SAMPLES)[:, None] * (FLESH_M[after] - FLESH_M[before])
    return points, size_of(joints_m) * flesh.reshape(-1)
