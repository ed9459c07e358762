"""The joint sets that networks can be taught: how each is made of the canonical 21, its names, its bones and its root.

    canonical  21  as in `seqgen.skeleton`
    msra       21  the same joints in MSRA15's order
    nyu        14  the joints that NYU is evaluated on, in its order (Tompson et al. 2014; of its 36: 0 3 6 9 12 15 18 21 24 25 27 30 31 32)
    icvl       16  palm and three points a finger, thumb to pinky (Tang et al. 2014)

NYU's and ICVL's points are not described anywhere, so they were measured: the places below bring the longest distances (98th percentile) between neighbours of
their published test labels nearest to the same distances on one real hand of 21 joints. Left are 4 mm (NYU, 16 distances) and 1.2 mm (ICVL, 12 distances of
four fingers); the scale between the hands was free, so a place is known to a fifth of a bone or so. `docs/decisions.md` has the figures.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from seqgen.skeleton import BONES, FINGERS, JOINT_NAMES, JOINT_SETS, MCPS, JointSet

Array = np.ndarray
JointSetName = Literal["canonical", "msra", "nyu", "icvl"]

WRIST, INDEX_MCP, PINKY_MCP = 0, 5, 17


@dataclass(frozen=True)
class JointTargets:
    """A joint set to be taught. `bones`: pairs of its joints, the edges of its skeleton; `root`: the joint that root-relative positions start from;
    `scale_bone`: the middle finger's first phalanx, which gives RHD's and FreiHAND's scale, where the set has it."""

    joint_set: JointSet
    names: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    root: int
    scale_bone: tuple[int, int] | None = None

    @property
    def num_joints(self) -> int:
        """How many joints there are."""
        return len(self.names)


def _row(**shares: float) -> Float[Array, "21"]:
    """A point as a weighted mean of canonical joints."""
    row = np.zeros(21)
    for name, share in shares.items():
        row[JOINT_NAMES.index(name)] = share
    return row


def _palm(towards_knuckles: float) -> Float[Array, "21"]:
    """A point between the wrist and the mean of the four knuckles."""
    row = np.zeros(21)
    row[WRIST], row[list(MCPS)] = 1 - towards_knuckles, towards_knuckles / len(MCPS)
    return row


def _across() -> Float[Array, "21"]:
    """From the pinky's knuckle to the index finger's: not a point but a direction."""
    row = np.zeros(21)
    row[INDEX_MCP], row[PINKY_MCP] = 1.0, -1.0
    return row


def _nyu() -> JointTargets:
    """Fingertips; points a third past the middle joints; the thumb's in the middle of its last and before the middle of its second bone; two sides of the wrist."""
    fingers = [row for finger in FINGERS[:0:-1] for row in (_row(**{f"{finger}_tip": 1.0}), _row(**{f"{finger}_pip": 0.65, f"{finger}_dip": 0.35}))]
    thumb = [_row(thumb_tip=1.0), _row(thumb_ip=0.5, thumb_tip=0.5), _row(thumb_mcp=0.6, thumb_ip=0.4)]
    wrist = [_palm(-0.05) + side * _across() for side in (0.15 - 0.215, 0.15 + 0.215)]
    finger_names = [f"{finger}_{point}" for finger in FINGERS[:0:-1] for point in ("tip", "middle")]
    names = (*finger_names, "thumb_tip", "thumb_middle", "thumb_root", "wrist_pinky_side", "wrist_thumb_side", "palm")
    bones = ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (9, 10), *((13, joint) for joint in (1, 3, 5, 7, 10, 11, 12)))
    return JointTargets(JointSet("nyu", np.stack([*fingers, *thumb, *wrist, _palm(0.75)]), exact=False), names, bones, root=13)


def _icvl() -> JointTargets:
    """The palm, and of each finger a point on each of its three bones."""
    chains = {finger: [f"{finger}_{joint}" for joint in (("cmc", "mcp", "ip", "tip") if finger == "thumb" else ("mcp", "pip", "dip", "tip"))] for finger in FINGERS}
    along = (0.375, 0.375, 0.17)  # from the palm's end of the bone, as a share of its length
    points = [_row(**{chain[bone]: 1 - share, chain[bone + 1]: share}) for chain in chains.values() for bone, share in enumerate(along)]
    names = ("palm", *(f"{finger}_{point}" for finger in FINGERS for point in ("root", "middle", "tip")))
    bones = tuple((0 if joint % 3 == 1 else joint - 1, joint) for joint in range(1, 16))
    return JointTargets(JointSet("icvl", np.stack([_palm(0.7), *points]), exact=False), names, bones, root=0)


def _reordered(name: str) -> JointTargets:
    """All 21 in another order."""
    joint_set = JOINT_SETS[name]
    place = joint_set.places()
    names = tuple(JOINT_NAMES[joint] for joint in np.argmax(joint_set.matrix, 1))
    bones = tuple((int(place[parent]), int(place[joint])) for parent, joint in BONES)
    return JointTargets(joint_set, names, bones, root=int(place[WRIST]), scale_bone=(names.index("middle_mcp"), names.index("middle_pip")))


TARGETS = {targets.joint_set.name: targets for targets in (_reordered("canonical"), _reordered("msra"), _nyu(), _icvl())}
