"""The five digits as chains of joint angles: six angles a digit that mean the same for every hand, and the rotations that a hand model stores.

    angles (frames, 5, 6), digits thumb to pinky  <──>  rotations (frames, 15, 3), MANO joints 1..15, axis-angle in rest axes

    0 flexion    1 abduction    2 twist     of the first joint (thumb CMC, the others' MCP): flexion about an axis fixed to the palm, then abduction, then
                                            twist about the bone, the order of the ISB's joint coordinate systems (Wu et al. 2005)
    3 flexion    4 abduction                of the second joint (thumb MCP, the others' PIP, which only flexes)
    5 flexion                               of the last joint

Zero is anatomical, as in `poses/hand_shapes.py`: a straight finger in line with the middle metacarpal; a thumb in the palm's plane, 45 degrees to its side,
that bends parallel to it. Flexion bends towards the palm; abduction turns fingers to the thumb's side and the thumb out of the palm. A hand model's rest pose
is slightly bent, so its angles at rest (`rest_rad`, of the mean shape) are not zero. All shapes of a hand turn about the axes of its mean shape.

What is done in every clip is done component first (`componentwise.py`): (components, digits, joints or bones or angles, *rows), for all rows of all clips.

A first joint turns by a product of rotations, so two angles are a direction of its bone whatever the twist; hinges turn about the flexion axes of
`anatomy.joint_axes` alone, so they have no twist. Does not know: how long bones are, networks, time.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from seqgen.componentwise import applied, axis_angle_of, components_first, composed, rows_first
from seqgen.geometry import matrix_from_axis_angle
from seqgen.hand.anatomy import joint_axes
from seqgen.hand.model import HandModel
from seqgen.skeleton import CANONICAL_FROM_MANO, hand_frame

Array = np.ndarray
DIGIT_JOINTS = np.array([[13, 14, 15], [1, 2, 3], [4, 5, 6], [10, 11, 12], [7, 8, 9]])  # MANO joints of thumb, index, middle, ring, pinky
FREE = np.array([[True] * 6] + [[True, True, True, True, False, True]] * 4)  # PIPs do not turn sideways
MOVES = np.array([[1, 1, 1], [1, 1, 1], [1, 1, 1], [0, 1, 1], [0, 1, 1], [0, 0, 1]], float)  # which of a digit's bones each angle moves
# Columns in the hand frame of a digit's frame at zero, which are its axes of twist, flexion and abduction (as in `anatomy.py`).
_FINGER_ZERO = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
_THUMB_ZERO = np.array([[-np.sqrt(0.5), 0, -np.sqrt(0.5)], [np.sqrt(0.5), 0, -np.sqrt(0.5)], [0, -1, 0]])
_ANGLE_AXES = np.eye(3)[[1, 2, 0]]  # flexion, abduction, twist

# Active ranges in degrees, rows thumb to pinky: those of `poses/hand_shapes.py` and its sources (Hume et al. 1990, Greene and Heckman 1994, Lin, Wu and
# Huang 2000, Cooney et al. 1981, Chatzioglou et al. 2024); its opposition o is a twist of 10 - o, here to 60 because the open hand's thumb rests at 39. A
# thumb's MCP moves little sideways, but models and annotators put its centre up to 25 degrees beside the line of the bones. Fingers twist about their rest
# pose: MCPs turn far, but only when something turns them (Krishnan and Chipchase 1997).
_TWIST_RANGE = 20.0
_LOWEST = np.array([[-15.0, 0, -30, -12, -25, -15]] + [[-20.0, sideways, -_TWIST_RANGE, -8, 0, -8] for sideways in (-12, -10, -20, -38)])
_HIGHEST = np.array([[55.0, 62, 60, 56, 15, 80]] + [[95.0, sideways, _TWIST_RANGE, 110, 0, 85] for sideways in (22, 10, 12, 18)])
# How far a joint yields past its active range. Fingers extend passively to 45 (Greene and Heckman 1994); the 15 are ours: about as far as the palms of annotated
# hands differ from a model's (7-20 degrees), which is where angles are measured from.
_YIELD, _YIELD_EXTENSION = 15.0, 25.0


class Limits(NamedTuple):
    """Lowest and highest angles, radians. An angle that is not free is held between 0 and 0."""

    lowest_rad: Float[Array, "5 6"]
    highest_rad: Float[Array, "5 6"]

    def excess_rad(self, angles_rad: Float[Array, "*batch 5 6"]) -> Float[Array, "*batch 5 6"]:
        """How far angles are past the limits: above positive, below negative, inside zero."""
        return angles_rad - self.clip(angles_rad)

    def clip(self, angles_rad: Float[Array, "*batch 5 6"]) -> Float[Array, "*batch 5 6"]:
        """The nearest angles inside."""
        return np.minimum(np.maximum(angles_rad, self.lowest_rad), self.highest_rad)


@dataclass(frozen=True)
class DigitRig:
    """What of a hand model's digits does not change with pose or shape, in the model's axes.

    `before`, `after`: a joint's rotation is before @ turned(angles) @ after^T: for first joints the frames at zero and at rest, for others the anatomical frame;
    `axes`: what the six angles turn about, the first three in the frame at zero, the others in that at rest, zero for what is not free; `cross`: the
    matrices of their cross products and the squares of those, both component first; `tip_directions_m`: how the tips move on their last bones with the pose,
    None if they do not (the open hand);
    `active`: what a hand does by itself; `passive`: what it yields to.
    """

    joint_template_m: Float[Array, "21 3"]
    joint_directions_m: Float[Array, "21 3 10"]
    before: Float[Array, "5 3 3 3"]
    after: Float[Array, "5 3 3 3"]
    rest_rad: Float[Array, "5 6"]
    axes: Float[Array, "3 5 6"]
    cross: Float[Array, "2 3 3 5 6"]
    tip_directions_m: Float[Array, "5 3 135"] | None
    active: Limits
    passive: Limits

    @property
    def zero(self) -> Float[Array, "5 3 3"]:
        """The digits' frames at angles zero."""
        return self.before[:, 0]

    @property
    def rest(self) -> Float[Array, "5 3 3"]:
        """The digits' frames at rest."""
        return self.after[:, 0]

    def joints_m(self, betas: Float[Array, "10"]) -> Float[Array, "21 3"]:
        """Canonical joints of a shape at rest."""
        return self.joint_template_m + self.joint_directions_m @ np.asarray(betas, float)


class DigitPose(NamedTuple):
    """Posed digits in their zero frames, component first: the axes that the angles turn about now, and the turns of the three bones from the frame at rest."""

    axes: Float[Array, "3 5 6 *rows"]
    turns: Float[Array, "3 3 5 3 *rows"]


def digit_rig(model: HandModel) -> DigitRig:
    """The rig of a right hand's model: made once, used for every clip."""
    if model.side != "right":
        raise ValueError(f"digits are those of right hands, this model is a {model.side} one: mirror the world")
    template, directions = _rest_joints(model)
    zero = hand_frame(template[None]).axes[0] @ np.stack([_THUMB_ZERO] + [_FINGER_ZERO] * 4)
    frames = joint_axes(model)[DIGIT_JOINTS]
    rest_rad = _rest_angles(digit_bones(template), zero, frames)
    rest = zero @ turned(rest_rad[:, :3])
    before, after = frames.copy(), frames.copy()
    before[:, 0], after[:, 0] = zero, rest
    axes = np.concatenate([np.repeat(_ANGLE_AXES[:, None], 5, 1), np.einsum("afi,fij->afj", [frames[:, 1, :, 1], frames[:, 1, :, 2], frames[:, 2, :, 1]], rest)])
    cross = np.cross(np.eye(3), axes[..., None, :]) * FREE.T[..., None, None]  # row i is e_i x axis: the matrix of "axis x"
    turning = np.stack([cross, cross @ cross]).transpose(0, 3, 4, 2, 1)
    return DigitRig(template, directions, before, after, rest_rad, (axes * FREE.T[..., None]).T, turning, _tip_directions(model), *_limits(rest_rad))


def digit_bones(joints: Float[Array, "*batch 21 3"]) -> Float[Array, "*batch 5 3 3"]:
    """The three finger bones of each digit, from palm to tip, as vectors."""
    digits = joints[..., 1:, :].reshape(*joints.shape[:-2], 5, 4, 3)
    return digits[..., 1:, :] - digits[..., :-1, :]


def unit(vectors: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """Vectors of length one; those without a length stay as they are."""
    squared = (vectors * vectors).sum(-1, keepdims=True)
    return vectors / np.sqrt(np.where(squared > 0, squared, 1.0))


def _rest_joints(model: HandModel) -> tuple[Float[Array, "21 3"], Float[Array, "21 3 10"]]:
    """Canonical joints of the mean shape at rest, and how they move with the shape."""
    order, regressor = list(CANONICAL_FROM_MANO), model.joint_regressor.astype(float)
    template = np.concatenate([regressor @ model.template_m.astype(float), model.template_m[model.tip_vertices].astype(float)])
    directions = np.einsum("jv,vck->jck", regressor, model.shape_directions.astype(float))
    return template[order], np.concatenate([directions, model.shape_directions[model.tip_vertices].astype(float)])[order]


def _tip_directions(model: HandModel) -> Float[Array, "5 3 135"] | None:
    directions = model.pose_directions[model.tip_vertices].astype(float)
    return directions if directions.any() else None


def _rest_angles(bones: Float[Array, "5 3 3"], zero: Float[Array, "5 3 3"], frames: Float[Array, "5 3 3 3"]) -> Float[Array, "5 6"]:
    """Angles of the mean shape at rest. The twist is where the second joint's flexion axis points, the other angles are between bones."""
    angles, second = np.zeros((5, 6)), np.zeros((5, 3))
    angles[:, :2] = direction_angles(_seen_from(zero, unit(bones[:, 0])))
    across = _seen_from(zero @ turned(angles[:, :3]), frames[:, 1, :, 1])
    angles[:, 2] = np.arctan2(across[:, 2], across[:, 1])
    rest = zero @ turned(angles[:, :3])
    angles[:, 3:5] = second[:, :2] = direction_angles(_seen_from(rest, unit(bones[:, 1])))
    angles[:, 5] = direction_angles(_seen_from(rest @ turned(second), unit(bones[:, 2])))[:, 0]
    return np.where(FREE, angles, 0.0)


def _seen_from(frames: Float[Array, "*batch 3 3"], vectors: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """Vectors in the coordinates of frames."""
    return np.einsum("...ij,...i->...j", frames, vectors)


def _limits(rest_rad: Float[Array, "5 6"]) -> tuple[Limits, Limits]:
    """Active and passive limits of a hand with these angles at rest, which are inside whatever the table says."""
    about = np.zeros((5, 6))
    about[1:, 2] = rest_rad[1:, 2]
    lowest, highest = np.minimum(about + np.radians(_LOWEST), rest_rad), np.maximum(about + np.radians(_HIGHEST), rest_rad)
    down, up = np.radians(_YIELD) * FREE, np.radians(_YIELD) * FREE
    down[1:, 0] = np.radians(_YIELD_EXTENSION)
    return Limits(lowest, highest), Limits(lowest - down, highest + up)


def direction_angles(along: Float[Array, "*batch 3"]) -> Float[Array, "*batch 2"]:
    """Flexion and abduction that turn the first axis to these unit directions."""
    return np.stack([np.arctan2(-along[..., 2], along[..., 0]), np.arcsin(np.clip(along[..., 1], -1.0, 1.0))], -1)


def turned(angles_rad: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    """The product of rotations by flexion, abduction and twist about a frame's own axes."""
    return rows_first(_turned(components_first(angles_rad)), 2)


def _turned(angles_rad: Float[Array, "3 *rows"]) -> Float[Array, "3 3 *rows"]:
    """`turned`, component first."""
    (cf, ca, ct), (sf, sa, st) = np.cos(angles_rad), np.sin(angles_rad)
    rows = [cf * ca, sf * st - cf * sa * ct, sf * ct + cf * sa * st, sa, ca * ct, -ca * st, -sf * ca, cf * st + sf * sa * ct, cf * ct - sf * sa * st]
    return np.stack(rows).reshape(3, 3, *angles_rad.shape[1:])


def pose_digits(rig: DigitRig, angles_rad: Float[Array, "*rows 5 6"]) -> DigitPose:
    """All digits at once: rotations by Rodrigues' formula about fixed axes, multiplied from palm to tip."""
    angle = components_first(angles_rad - _from(rig), 2)
    cross, squared = _for_rows(rig.cross, angle.ndim - 2)
    turns = _for_rows(np.eye(3), angle.ndim) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * squared
    for number in range(1, 6):
        turns[:, :, :, number] = composed(turns[:, :, :, number - 1], turns[:, :, :, number])
    return DigitPose(applied(turns, _for_rows(rig.axes, angle.ndim - 2)), turns[:, :, :, [2, 4, 5]])


def _for_rows(values: Array, num: int) -> Array:
    """Values that are the same for all rows, which have so many axes."""
    return values.reshape(*values.shape, *[1] * num)


def _from(rig: DigitRig) -> Float[Array, "5 6"]:
    """Where the joints' rotations are none: the first three angles at zero, the others at rest."""
    return rig.rest_rad * np.array([0, 0, 0, 1, 1, 1])


def angles_from_rotations(rig: DigitRig, rotations: Float[Array, "*rows 15 3"]) -> Float[Array, "*rows 5 6"]:
    """The angles of finger rotations. What hinges cannot do (a twist, a PIP's sideways turn) is left out."""
    return angles_from_matrices(rig, digit_matrices(rotations))


def digit_matrices(rotations: Float[Array, "*rows 15 3"]) -> Float[Array, "3 3 5 3 *rows"]:
    """Rotation matrices of each digit's three joints, component first, in the model's axes."""
    matrices = components_first(matrix_from_axis_angle(rotations), 3)  # (15, 3, 3, *rows)
    return matrices[DIGIT_JOINTS - 1].transpose(2, 3, 0, 1, *range(4, matrices.ndim + 1))


def angles_from_matrices(rig: DigitRig, matrices: Float[Array, "3 3 5 3 *rows"]) -> Float[Array, "*rows 5 6"]:
    """The angles of such rotations."""
    rows = matrices.ndim - 4
    before, after = (_for_rows(frames.transpose(order), rows) for frames, order in ((rig.before, (3, 2, 0, 1)), (rig.after, (2, 3, 0, 1))))
    turn = composed(composed(before, matrices), after)
    flexion = np.arctan2(-turn[2, 0], turn[0, 0])
    abduction = np.arcsin(np.clip(turn[1, 0], -1.0, 1.0))
    twist = np.arctan2(-turn[1, 2, :, 0], turn[1, 1, :, 0])
    angles = np.stack([flexion[:, 0], abduction[:, 0], twist, flexion[:, 1], abduction[:, 1], flexion[:, 2]], 1)
    return rows_first(np.where(_for_rows(FREE, rows), angles + _for_rows(_from(rig), rows), 0.0), 2)


def rotations_from_angles(rig: DigitRig, angles_rad: Float[Array, "*rows 5 6"]) -> Float[Array, "*rows 15 3"]:
    """The finger rotations that a hand model takes, of angles."""
    angles = components_first(angles_rad - _from(rig), 2)
    rows = angles.ndim - 2
    joints = np.zeros((3, 3, 5, *angles.shape[2:]))  # flexion, abduction, twist of each joint
    joints[:, 0], joints[:2, 1], joints[0, 2] = angles[:, :3].swapaxes(0, 1), angles[:, 3:5].swapaxes(0, 1), angles[:, 5]
    before, after = (_for_rows(frames.transpose(order), rows) for frames, order in ((rig.before, (2, 3, 1, 0)), (rig.after, (3, 2, 1, 0))))
    vectors = axis_angle_of(composed(composed(before, _turned(joints)), after))  # (3, joints, digits, *rows)
    rotations = np.empty((15, *vectors.shape[:1], *vectors.shape[3:]))
    rotations[DIGIT_JOINTS.T - 1] = np.moveaxis(vectors, 0, 2)
    return np.ascontiguousarray(rows_first(rotations, 2))


def posed_tips_m(rig: DigitRig, rotations: Float[Array, "frames 15 3"]) -> Float[Array, "frames 5 3"]:
    """How far pose directions move the tips, in the model's axes at rest: as MANO's do, so that its last bones are not quite rigid."""
    bent = (matrix_from_axis_angle(rotations) - np.eye(3)).reshape(len(rotations), 135)
    return np.zeros((len(rotations), 5, 3)) if rig.tip_directions_m is None else np.einsum("dcm,tm->tdc", rig.tip_directions_m, bent)


def start_angles(rig: DigitRig, directions: Float[Array, "*rows 5 3 3"]) -> Float[Array, "*rows 5 6"]:
    """Angles near which bones point to unit directions (in the zero frames): each bone's own two angles, as if digits bent in a plane and twisted as at rest."""
    rows = directions.shape[:-3]
    angles = np.broadcast_to(rig.rest_rad, (*rows, 5, 6)).copy()
    angles[..., :2] = direction_angles(directions[..., 0, :])
    frame = turned(angles[..., :3])
    for bone, column in ((1, 3), (2, 5)):
        local = np.concatenate([direction_angles(_seen_from(frame, directions[..., bone, :])), np.zeros((*rows, 5, 1))], -1)
        angles[..., column] = local[..., 0]
        frame = frame @ turned(local)
    return np.where(FREE, angles, 0.0)
