"""Could a hand do this? How far a clip's joints are past what they can do, and how deep its digits stand in one another and in the palm.

    rotations (C,T,15,3), betas (C,10) ──> angles ──────────────────> furthest past an active limit, radians
                                   └─────> capsules along the bones ──> deepest in one another, metres

A capsule is a segment with a radius, both from the hand's own surface: the middle line and the median distance of the vertices around a bone, for any shape.
There are 15 in the digits and 4 in the palm, along the metacarpals. Not compared are those of one digit; of the palm, only tips and the thumb's first phalanx
are measured against it, and that not against the index's metacarpal: the web between them is one flesh.

A capsule is rounder than a finger and flesh gives way to a touch, so some depth is no fault: `is_plausible` knows how much. Against the mesh of the open hand
(vertices of one bone behind another's surface) the depths of a pair correlate at 0.3 to 0.9, and the deepest tenth is 2 to 7 mm deeper.

Many clips are measured beside one another, elementwise and component first (`componentwise.py`), so that each has the bits it has alone.
"""

from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from jaxtyping import Float, Int

from seqgen.componentwise import applied, composed, dot
from seqgen.hand.digits import DIGIT_JOINTS, DigitRig, angles_from_matrices, digit_bones, digit_matrices, digit_rig, unit
from seqgen.hand.model import HandModel
from seqgen.skeleton import FINGER_BONES, MCPS

Array = np.ndarray
# Refined clips stop at the passive limits, 15 degrees past the active ones (`digits.py`). Past this are only fingers that bend far backwards (they yield
# to 25) and rotations that were not refined; recordings of real hands, whose annotators have other joints, lean on those 15 in more than one clip of ten.
MAX_LIMIT_EXCESS_RAD = float(np.radians(16.0))
# As deep as the radii of two fingertips together: then their bones cross. Less may be a touch: capsules are rounder than fingers, and flesh gives way.
MAX_PENETRATION_M = 0.012
METACARPAL_FROM = 0.4  # of the way from wrist to knuckle; before it the palm is no row of bones
_LINES = FINGER_BONES + tuple((0, knuckle) for knuckle in MCPS)
_PALM_PAIRS = [(bone, palm) for bone, palm in product((1, 2, 5, 8, 11, 14), range(15, 19)) if (bone, palm) != (1, 15)]
PAIRS = np.array([pair for pair in combinations(range(15), 2) if pair[0] // 3 != pair[1] // 3] + _PALM_PAIRS)


@dataclass(frozen=True)
class Plausibility:
    """What was measured of a clip: the worst of its frames."""

    limit_excess_rad: float
    penetration_m: float

    def is_plausible(self) -> bool:
        """Whether a hand can do it, as far as this file can tell."""
        return self.limit_excess_rad <= MAX_LIMIT_EXCESS_RAD and self.penetration_m <= MAX_PENETRATION_M


@dataclass(frozen=True)
class Capsules:
    """Capsules at rest, in the model's axes: 15 of the digits (thumb to pinky, palm to tip), 4 of the palm; each value by shape: of the mean, and per beta."""

    rig: DigitRig
    ends_m: Float[Array, "19 2 3"]
    ends_by_beta_m: Float[Array, "19 2 3 10"]
    radii_m: Float[Array, "19"]
    radii_by_beta_m: Float[Array, "19 10"]

    def of_shape(self, betas: Float[Array, "10"]) -> tuple[Float[Array, "19 2 3"], Float[Array, "19"]]:
        """Ends and radii of a shape at rest."""
        return self.ends_m + self.ends_by_beta_m @ betas, self.radii_m + self.radii_by_beta_m @ betas


def hand_capsules(model: HandModel) -> Capsules:
    """The capsules of a hand model, made once; how they change with a beta from one standard deviation to either side."""
    rig = digit_rig(model)
    owner = _owners(model, rig)
    ends, radii = _around_bones(model, rig, owner, np.zeros(10))
    sides = [[_around_bones(model, rig, owner, side * beta) for side in (1.0, -1.0)] for beta in np.eye(10)]
    by_beta = [np.stack([(more[part] - less[part]) / 2 for more, less in sides], -1) for part in (0, 1)]
    return Capsules(rig, ends, by_beta[0], radii, by_beta[1])


def _owners(model: HandModel, rig: DigitRig) -> Int[Array, "vertices"]:
    """The capsule of each vertex: a digit's by the joint it moves with most; the palm's go to the nearest metacarpal, to none (-1) if that is the thumb's."""
    joint, joints = model.skinning_weights.argmax(1), rig.joint_template_m
    owner = np.argsort(DIGIT_JOINTS.ravel())[joint - 1]
    palm = np.flatnonzero(joint == 0)
    vertices, away = model.template_m[palm].astype(float), []
    for first, second in (*_LINES[15:], (1, 2)):
        share, aside = _beside(vertices, joints[first], joints[second] - joints[first])
        past = (share - np.clip(share, 0.0, 1.0))[:, None] * (joints[second] - joints[first])
        away.append(np.linalg.norm(aside + past, axis=-1))
    owner[palm] = np.array([15, 16, 17, 18, -1])[np.argmin(away, 0)]
    return owner


def _around_bones(model: HandModel, rig: DigitRig, owner: Int[Array, "vertices"], betas: Float[Array, "10"]) -> tuple[Float[Array, "19 2 3"], Float[Array, "19"]]:
    """Capsule ends and radii of a shape, from the vertices beside each bone. The surface ends at a tip, so the last capsules end a radius before it."""
    vertices = model.template_m.astype(float) + model.shape_directions.astype(float) @ betas
    joints, ends, radii = rig.joints_m(betas), np.zeros((19, 2, 3)), np.zeros(19)
    for number, (first, second) in enumerate(_LINES):
        bone, lowest = joints[second] - joints[first], 0.0 if number < 15 else METACARPAL_FROM
        share, aside = _beside(vertices[owner == number], joints[first], bone)
        around = aside[(share > lowest) & (share < 1.0)]
        radii[number] = np.median(np.linalg.norm(around - around.mean(0), axis=-1))
        is_tip = number < 15 and number % 3 == 2
        ends[number] = joints[first] + around.mean(0) + np.outer([lowest, 1.0], bone) - np.outer([0.0, is_tip * radii[number]], unit(bone))
    return ends, radii


def _beside(points: Float[Array, "points 3"], start: Float[Array, "3"], bone: Float[Array, "3"]) -> tuple[Float[Array, "points"], Float[Array, "points 3"]]:
    """Where along a bone points lie, in bone lengths, and the way to them from its line."""
    share = (points - start) @ bone / (bone @ bone)
    return share, points - start - share[:, None] * bone


def measure_plausibility(capsules: Capsules, rotations: Float[Array, "clips frames 15 3"], betas: Float[Array, "clips 10"]) -> list[Plausibility]:
    """The worst that each clip's finger rotations ask of a hand of its shape."""
    matrices = digit_matrices(rotations)
    past = np.abs(capsules.rig.active.excess_rad(angles_from_matrices(capsules.rig, matrices))).max((1, 2, 3))
    depths = depths_m(*posed_capsules(capsules, matrices, betas)).max((0, 2))
    return [Plausibility(float(excess_rad), float(depth_m)) for excess_rad, depth_m in zip(past, depths, strict=True)]


def posed_capsules(
    capsules: Capsules, matrices: Float[Array, "3 3 5 3 clips frames"], betas: Float[Array, "clips 10"]
) -> tuple[Float[Array, "3 2 19 clips frames"], Float[Array, "19 clips 1"]]:
    """Ends (in the model's axes, the palm at rest) and radii of the capsules of hands whose digits' joints turn so (`digit_matrices`)."""
    clips, frames = matrices.shape[4:]
    joints = np.stack([capsules.rig.joints_m(shape) for shape in betas])
    ends, radii = (np.stack(values) for values in zip(*map(capsules.of_shape, betas), strict=True))
    turns = matrices.copy()
    for bone in (1, 2):
        turns[:, :, :, bone] = composed(turns[:, :, :, bone - 1], turns[:, :, :, bone])
    bones = applied(turns, digit_bones(joints).transpose(3, 1, 2, 0)[..., None])
    starts = np.empty_like(bones)
    starts[:, :, 0] = joints[:, 1::4].transpose(2, 1, 0)[..., None]
    for bone in (1, 2):
        starts[:, :, bone] = starts[:, :, bone - 1] + bones[:, :, bone - 1]
    from_joint = ends[:, :15].reshape(-1, 5, 3, 2, 3) - joints[:, 1:].reshape(-1, 5, 4, 1, 3)[:, :, :3]
    posed = starts[:, None] + applied(turns[:, :, None], from_joint.transpose(4, 3, 1, 2, 0)[..., None])
    palm = np.broadcast_to(ends[:, 15:].transpose(3, 2, 1, 0)[..., None], (3, 2, 4, clips, frames))
    return np.concatenate([posed.reshape(3, 2, 15, clips, frames), palm], 2), radii.T[..., None]


def depths_m(ends_m: Float[Array, "3 2 19 *rows"], radii_m: Float[Array, "19 *#rows"]) -> Float[Array, "pairs *rows"]:
    """How deep the capsules of each of PAIRS are in one another, 0 where they do not meet. Only those whose spheres around meet are looked at closely."""
    first, second = PAIRS.T
    middles, along = 0.5 * (ends_m[:, 0] + ends_m[:, 1]), ends_m[:, 1] - ends_m[:, 0]
    around = radii_m + 0.5 * np.sqrt(dot(along, along))
    between, reach = middles[:, first] - middles[:, second], around[first] + around[second]
    near = np.nonzero(dot(between, between) < reach * reach)
    pair, rows = near[0], near[1:]
    radii = np.broadcast_to(radii_m, around.shape)
    distances = segment_distances(ends_m[:, :, first[pair], *rows], ends_m[:, :, second[pair], *rows])
    depth = np.zeros(reach.shape)
    depth[near] = np.maximum(0.0, radii[first[pair], *rows] + radii[second[pair], *rows] - distances)
    return depth


def segment_distances(first: Float[Array, "3 2 rows"], second: Float[Array, "3 2 rows"]) -> Float[Array, "rows"]:
    """Least distances of segments that have a length, each row given by its ends (Ericson 2005, section 5.1.9)."""
    along, other, between = first[:, 1] - first[:, 0], second[:, 1] - second[:, 0], first[:, 0] - second[:, 0]
    a, b, c, d, e = (dot(p, q) for p, q in ((along, along), (along, other), (other, other), (along, between), (other, between)))
    apart = np.maximum(a * c - b * b, 1e-12 * a * c)  # zero for parallel ones, where any place along will do
    s = np.clip((b * e - c * d) / apart, 0.0, 1.0)
    t = np.clip((b * s + e) / c, 0.0, 1.0)
    s = np.clip((b * t - d) / a, 0.0, 1.0)
    way = between + s * along - t * other
    return np.sqrt(dot(way, way))
