"""How a hand's joints turn: anatomical axes from the joints at rest. For joint limits, priors of a fit, and poses one can name.

A frame is a rotation matrix whose columns are unit vectors in the model's rest axes:

    0 twist      along the bone, towards the tip
    1 flexion    across the palm; a positive angle bends towards the palm
    2 abduction  out of the back of the finger, twist x flexion; a positive angle turns a right hand's finger towards the thumb side

The axis-angle row of joint j that flexes by a is `a * frame[:, 1]`; in general `frame @ (twist, flexion, abduction)`, one rotation vector.
Axes are those of the rest pose, as MANO's are: they do not turn with the joint's parents (the parents' rotations are applied after).
"""

import numpy as np
from jaxtyping import Float

from seqgen.hand.model import HandModel, rest_joints_m
from seqgen.skeleton import CANONICAL_FROM_MANO, hand_frame

Array = np.ndarray

# Out of the thumb's nail at rest, in the hand frame (x to the pinky side, y to the fingers, z out of the back): to the thumb side, backwards and up.
THUMB_BACK = np.array([-1.0, -1.0, 1.0]) / np.sqrt(3)


def joint_axes(model: HandModel) -> Float[Array, "16 3 3"]:
    """The anatomical frame of each of MANO's 16 joints; the wrist's has the bone to the middle MCP."""
    joints = rest_joints_m(model).astype(float)
    palm = hand_frame(joints[None]).axes[0]
    frames = np.zeros((16, 3, 3))
    frames[0] = _frame(palm[:, 1], palm[:, 2])
    for row, joint in enumerate(CANONICAL_FROM_MANO):
        if 0 < row and joint < 16:
            finger = (row - 1) // 4
            back = palm @ THUMB_BACK if finger == 0 else palm[:, 2]
            whole = _frame(joints[4 * finger + 4] - joints[4 * finger + 1], back)
            frames[joint] = _frame(joints[row + 1] - joints[row], whole[:, 2])
    return frames


def _frame(bone: Float[Array, "3"], back: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """The right-handed frame with the bone first and the last axis as near to `back` as that allows."""
    twist = bone / np.linalg.norm(bone)
    flexion = np.cross(back, twist)
    flexion = flexion / np.linalg.norm(flexion)
    return np.stack([twist, flexion, np.cross(twist, flexion)], -1)


def pose_from_angles(axes: Float[Array, "16 3 3"], angles_rad: Float[Array, "*batch 16 3"]) -> Float[Array, "*batch 16 3"]:
    """Axis-angle rows of (twist, flexion, abduction) angles about the joints' own axes."""
    return np.einsum("jca,...ja->...jc", axes, angles_rad)
