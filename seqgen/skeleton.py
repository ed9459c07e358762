"""The canonical 21 joints, their bones, the hand frame, the parts of a hand, and how other joint sets map to the 21.

    0 wrist | 1-4 thumb | 5-8 index | 9-12 middle | 13-16 ring | 17-20 pinky, each finger from palm to tip

Hand frame: origin at the wrist, y from wrist to middle MCP, z out of the back of the (right) hand, x completing a right-handed frame.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64

Array = np.ndarray

FINGERS = ("thumb", "index", "middle", "ring", "pinky")
JOINT_NAMES = ("wrist", "thumb_cmc", "thumb_mcp", "thumb_ip", "thumb_tip", *(f"{finger}_{joint}" for finger in FINGERS[1:] for joint in ("mcp", "pip", "dip", "tip")))
PARENTS = tuple(-1 if j == 0 else 0 if j % 4 == 1 else j - 1 for j in range(21))
BONES = tuple((parent, joint) for joint, parent in enumerate(PARENTS) if parent >= 0)
FINGER_BONES = tuple(bone for bone in BONES if bone[0] != 0)
MCPS = (5, 9, 13, 17)
TIPS = (4, 8, 12, 16, 20)
PALM_M = 0.095  # wrist to middle MCP of a normalised pose

# MANO's 16 joints are wrist, index, middle, pinky, ring, thumb (3 each, palm to tip); then the five tips, thumb to pinky.
MANO_PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
CANONICAL_FROM_MANO = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)

# Part labels of a picture: 0 background, 1..16 the parts that move with MANO joint 0..15 (1 is the palm).
PART_BACKGROUND, PART_PALM, PART_ARM, PART_OCCLUDER = 0, 1, 20, 30


def joint_parts() -> tuple[frozenset[int], ...]:
    """For each of the 21 joints the part labels that it connects: the bone before it and the bone after it; the wrist joins palm and arm."""
    own = {joint: mano + 1 for joint, mano in enumerate(CANONICAL_FROM_MANO) if mano < 16}
    parts = []
    for joint, parent in enumerate(PARENTS):
        before = own[parent] if parent >= 0 else PART_ARM
        parts.append(frozenset({before, own.get(joint, before)}))
    return tuple(parts)


@dataclass(frozen=True)
class JointSet:
    """Another order or choice of joints: `matrix @ canonical_joints` gives its joints; exact when it is a permutation or a subset."""

    name: str
    matrix: Float[Array, "joints 21"]
    exact: bool

    def to_canonical(self, joints: Float[Array, "*batch joints 3"]) -> Float[Array, "*batch 21 3"]:
        """The canonical 21 of joints given in this set. Only for exact sets that hold all 21."""
        if not self.exact or self.matrix.shape != (21, 21):
            raise ValueError(f"joint set {self.name} does not hold the canonical 21")
        return joints[..., self.places(), :]

    def places(self) -> Int64[Array, "21"]:
        """Where in this set each canonical joint stands, or the joint that it is mostly made of."""
        return np.argmax(self.matrix, 0)

    def from_canonical(self, joints: Float[Array, "*batch 21 axes"]) -> Float[Array, "*batch joints axes"]:
        """This set's joints of the canonical 21."""
        return np.einsum("jc,...ci->...ji", self.matrix, joints)


def _permutation(name: str, to_canonical: tuple[int, ...]) -> JointSet:
    """A joint set of 21 from the list "canonical joint c stands at place to_canonical[c] of the set"."""
    matrix = np.zeros((21, 21))
    matrix[list(to_canonical), range(21)] = 1.0
    return JointSet(name, matrix, exact=True)


def _stb() -> JointSet:
    """STB has the palm's centre where others have the wrist (approximate: a point on the way to the middle MCP), and its fingers run from pinky to thumb."""
    matrix = _permutation("stb", (0, 17, 18, 19, 20, 13, 14, 15, 16, 9, 10, 11, 12, 5, 6, 7, 8, 1, 2, 3, 4)).matrix.copy()
    matrix[0, [0, 9]] = 0.6, 0.4
    return JointSet("stb", matrix, exact=False)


_HANDS17 = (0, 1, 6, 7, 8, 2, 9, 10, 11, 3, 12, 13, 14, 4, 15, 16, 17, 5, 18, 19, 20)
JOINT_SETS = {
    joint_set.name: joint_set
    for joint_set in (
        _permutation("canonical", tuple(range(21))),
        _permutation("hands17", _HANDS17),
        _permutation("bighand", _HANDS17),
        _permutation("mano", CANONICAL_FROM_MANO),
        _permutation("msra", (0, 17, 18, 19, 20, *range(1, 17))),
        _permutation("rhd", (0, 4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17)),
        _stb(),
    )
}


@dataclass(frozen=True)
class HandFrame:
    """Where hands stand in their source: `joints = wrist + palm / PALM_M * axes @ normalised`."""

    wrist: Float[Array, "rows 3"]
    axes: Float[Array, "rows 3 3"]
    palm: Float[Array, "rows"]

    def normalise(self, joints: Float[Array, "rows 21 3"]) -> Float[Array, "rows 21 3"]:
        """Joints in the hand frame, metres, with a palm of PALM_M."""
        return np.einsum("njk,nkf->njf", joints - self.wrist[:, None], self.axes) * (PALM_M / self.palm)[:, None, None]

    def restore(self, normalised_m: Float[Array, "rows 21 3"]) -> Float[Array, "rows 21 3"]:
        """Joints where and as large as they were."""
        return self.wrist[:, None] + np.einsum("njf,nkf->njk", normalised_m, self.axes) * (self.palm / PALM_M)[:, None, None]


def hand_frame(joints: Float[Array, "rows 21 3"]) -> HandFrame:
    """The hand frames of right hands in any unit. Degenerate hands (no palm) give NaN axes."""
    wrist = joints[:, 0]
    y = joints[:, 9] - wrist
    palm = np.linalg.norm(y, axis=-1)
    z = np.cross(joints[:, 17] - wrist, joints[:, 5] - wrist)
    with np.errstate(invalid="ignore", divide="ignore"):
        y = y / palm[:, None]
        z = z - (z * y).sum(-1, keepdims=True) * y
        z = z / np.linalg.norm(z, axis=-1, keepdims=True)
    return HandFrame(wrist, np.stack([np.cross(y, z), y, z], -1), palm)
