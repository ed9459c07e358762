"""One's own right arm as one's eyes see it: shoulder, elbow and wrist at human lengths, the hand bent and turned within the joints' limits.

Level frame: the eyes at the origin, x right, y down, z where the head is heading. Lengths are shares of the stature (Drillis and Contini 1966): upper arm
0.186, forearm 0.146, shoulders 0.118 below the eyes and half of 0.259 to the side, of which 0.02 lie outside the joint.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from seqgen.geometry import cross, matrix_from_axis_angle

Array = np.ndarray
STATURE_M = (1.5, 1.9)
UPPER_ARM, FOREARM = 0.186, 0.146
SHOULDER = np.array([0.11, 0.118, -0.05])  # behind the eyes by the neck's and the face's depth
TORSO_DEG = 15.0  # standard deviation of the head's heading against the torso's
REACH_M = (0.25, 0.6)  # from the eyes to the wrist
ASIDE_DEG = 8.0  # standard deviation of the wrist from where the eyes look
EXTENDED, FLEXED_DEG = 0.97, 145.0  # the elbow: nearly straight, as a share of the arm's length; most bent
ELBOW_DEG = (25.0, 20.0)  # mean and spread of how far the elbow is lifted outwards, 0 hanging
# Wrist extension (to the back of the hand), pronation from thumb up, ulnar deviation, least and most. Wrist: within what daily life takes (Ryu et al. 1991:
# flexion 54, extension 60, ulnar 40, radial 17); forearm: mean ranges of men (Boone and Azen 1979: pronation 76, supination 82).
LIMITS_RAD = np.radians([[-50.0, 50.0], [-82.0, 76.0], [-17.0, 30.0]])
WRIST_DEG = ((8.0, 18.0), (6.0, 7.0))  # mean and spread of extension and of ulnar deviation


@dataclass(frozen=True)
class OwnArm:
    """Shoulder, elbow and wrist in the level frame, metres."""

    shoulder: Float[Array, "3"]
    elbow: Float[Array, "3"]
    wrist: Float[Array, "3"]

    @property
    def forearm(self) -> Float[Array, "3"]:
        """From the wrist to the elbow, a unit vector."""
        return _unit(self.elbow - self.wrist)


def draw_own_arm(look: Float[Array, "3 3"], rng: np.random.Generator) -> OwnArm:
    """An arm whose wrist is where its owner looks: `look` turns the level frame into the eyes'. Wrists out of the arm's reach are drawn anew."""
    stature = rng.uniform(*STATURE_M)
    upper, fore = UPPER_ARM * stature, FOREARM * stature
    torso = matrix_from_axis_angle(np.array([0, np.radians(rng.normal(0, TORSO_DEG)), 0]))
    shoulder = stature * torso @ SHOULDER
    nearest = np.sqrt(upper**2 + fore**2 - 2 * upper * fore * np.cos(np.pi - np.radians(FLEXED_DEG)))
    while True:
        aside = np.tan(np.radians(rng.normal(0, ASIDE_DEG, 2)))
        wrist = rng.uniform(*REACH_M) * look.T @ np.array([*aside, 1.0]) / np.sqrt(1 + aside @ aside)
        if nearest < _length(wrist - shoulder) < EXTENDED * (upper + fore):
            break
    lift = np.radians(rng.normal(*ELBOW_DEG))
    return OwnArm(shoulder, _elbow(shoulder, wrist, upper, fore, lift), wrist)


def draw_joint_angles(rng: np.random.Generator) -> Float[Array, "3"]:
    """Extension, pronation and ulnar deviation: the wrist near its rest, the forearm anywhere between palm up and palm down."""
    extension, deviation = (rng.normal(*spread) for spread in WRIST_DEG)
    angles = np.array([np.radians(extension), rng.uniform(*LIMITS_RAD[1]), np.radians(deviation)])
    return np.clip(angles, *LIMITS_RAD.T)


def turn_joints(angles: Float[Array, "3"], change: Float[Array, "3"]) -> Float[Array, "3"]:
    """Angles after a change (their axes are perpendicular, so its length is about the angle the hand turns); one that would pass a limit goes the other way."""
    wanted = angles + change
    wanted = np.where((wanted < LIMITS_RAD[:, 0]) | (wanted > LIMITS_RAD[:, 1]), angles - change, wanted)
    return np.clip(wanted, *LIMITS_RAD.T)


def hand_rotation(arm: OwnArm, angles: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Level frame from hand. With all angles 0 the hand continues the forearm and its thumb is on the upper arm's side."""
    extension, pronation, deviation = angles
    along = _unit(arm.wrist - arm.elbow)
    towards_upper_arm = arm.shoulder - arm.elbow
    thumb = _unit(towards_upper_arm - (towards_upper_arm @ along) * along)
    straight = np.array([-thumb, along, cross(-thumb, along)]).T
    turns = np.array([[0, -pronation, 0], [extension, 0, 0], [0, 0, -deviation]])
    forearm_turn, bend, aside = matrix_from_axis_angle(turns)
    return straight @ forearm_turn @ bend @ aside


def _elbow(shoulder: Array, wrist: Array, upper: float, fore: float, lift: float) -> Float[Array, "3"]:
    """Where the two lengths meet, on the circle about the line from shoulder to wrist: hanging, or lifted outwards by `lift`."""
    line = wrist - shoulder
    distance = _length(line)
    axis = line / distance
    along = (upper**2 - fore**2 + distance**2) / (2 * distance)
    down = np.array([0.0, 1.0, 0.0])
    hanging = _unit(down - (down @ axis) * axis)
    outwards = cross(hanging, axis)
    radius = np.sqrt(upper**2 - along**2)
    return shoulder + along * axis + radius * (np.cos(lift) * hanging + np.sin(lift) * outwards)


def _unit(vector: Array) -> Array:
    return vector / _length(vector)


def _length(vector: Array) -> np.floating:
    return np.sqrt(vector @ vector)
