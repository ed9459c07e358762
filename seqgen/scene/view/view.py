"""From where a clip is seen, and how the hand turns before the camera: from anywhere, or as its owner sees it.

World: x right, y down (gravity), z forward; its origin is the camera's place at the first frame. The hand's frame is `seqgen.skeleton`'s.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field, model_validator

from seqgen.camera import CameraKind
from seqgen.config import Section, interval
from seqgen.geometry import matrix_from_axis_angle, minimum_jerk, random_rotation, rigid_matrix, slerp
from seqgen.scene.view.camera_models import ModelName
from seqgen.scene.view.own_arm import draw_joint_angles, draw_own_arm, hand_rotation, turn_joints

Array = np.ndarray
Viewpoint = Literal["third_person", "egocentric"]
FOREARM_CONE_RAD = np.radians(50.0)  # no camera is this near to the forearm's axis: the arm would hide the hand
FOREARM_ITSELF_RAD = np.radians(40.0)  # nor is one's own forearm, where it is known and the wrist bent, this near to the line of sight
TURN_TRIES = 50  # for a turn that keeps out of the cone; else the hand keeps its direction
TILT_DEG = {"egocentric": (35.0, 12.0), "third_person": (10.0, 20.0)}  # mean and spread of how far the camera looks down
ROLL_DEG = 4.0  # standard deviation of how far it leans to a side
SWAY_DEG, SWAY_M = 1.5, 0.01  # standard deviations of its own motion over a clip


class CameraConfig(Section):
    kind: CameraKind = "perspective"
    """perspective: a pinhole; weak_perspective: scale and shift alone, as in the SeqHAND paper"""
    model: ModelName = "free"
    """free: a pinhole with a drawn field of view; a camera's name: that camera's intrinsics and working distance"""
    views: int = Field(1, ge=1, le=8)
    """synchronised cameras on one motion: so many clips share pose, skin, light and time"""
    egocentric: float = Field(0.5, ge=0, le=1)
    """share of clips seen from the hand owner's own head; the others are seen from anywhere"""
    fov_deg: interval(5.0, 150.0) = (15.0, 45.0)
    """field of view across the shorter side, least and most (model = free)"""
    outline: interval(0.02, 1.0) | None = None
    """longer side of the hand's outline, as a share of the shorter side of the picture, least and most; none: 0.35 to 0.8, with a model 0.12 to 0.9.
    Where no field of view and distance give it, as near to it as they can"""
    outside: float = Field(0.02, ge=0, le=1)
    """share of clips in which the hand may be partly outside the picture; in the others all of it is inside in every frame"""
    off_centre: float = Field(0.1, ge=0, le=0.5)
    """standard deviation of the outline's middle from the picture's, as a share of its shorter side"""
    turn_deg_s: float = Field(50.0, ge=0, le=720)
    """standard deviation of the turning speed of the hand against the camera, degrees a second; one's own hand turns only as far as the joints let it"""
    drift: float = Field(0.12, ge=0, le=5)
    """standard deviation of the speed of the outline's middle, in picture sides a second"""
    approach: float = Field(0.12, ge=0, le=2)
    """standard deviation of the speed at which the outline's size changes, e-foldings a second"""

    @model_validator(mode="after")
    def _models_are_pinholes(self) -> "CameraConfig":
        if self.model != "free" and self.kind != "perspective":
            raise ValueError(f"model = {self.model} is a pinhole; kind = {self.kind} goes with model = free")
        return self

    def outline_bounds(self) -> tuple[float, float]:
        """`outline`, or what stands for none."""
        return self.outline or ((0.35, 0.8) if self.model == "free" else (0.12, 0.9))


@dataclass(frozen=True)
class View:
    """How the hand is turned in each frame, and the camera's own motion."""

    viewpoint: Viewpoint
    camera_from_hand: Float[Array, "frames 3 3"]
    camera_from_world: Float[Array, "frames 4 4"]
    forearm_in_hand: Float[Array, "frames 3"] | None = None  # the way from wrist to elbow in the hand's frame, unit vectors; None: any that a wrist allows


def draw_view(config: CameraConfig, *, frames: int, fps: float, rng: np.random.Generator) -> View:
    """Directions and their change over the clip.

    In third person the direction of the camera as the hand sees it is uniform on the sphere without the cone around the forearm, and so is the roll; from
    one's own head the hand is turned as an arm can turn it, out of the cone too. Between the drawn ends it turns by slerp, never through the cone.
    """
    viewpoint: Viewpoint = "egocentric" if rng.random() < config.egocentric else "third_person"
    way = eased(frames)
    speed = np.radians(config.turn_deg_s) * (frames - 1) / fps
    look = _draw_look(viewpoint, rng)
    if viewpoint == "third_person":
        return View(viewpoint, _any_hand(speed, way, rng), _draw_camera_motion(look, way, rng))
    turned, forearm = _own_hand(look, speed, way, rng)
    return View(viewpoint, turned, _draw_camera_motion(look, way, rng), forearm @ turned)


def eased(frames: int) -> Float[Array, "frames"]:
    """The way through a clip, 0 to 1: a window of a longer eased motion, so that a clip neither starts nor ends at rest."""
    t = np.linspace(0.25, 0.75, frames) if frames > 1 else np.array([0.25])
    jerkless = minimum_jerk(t)
    return (jerkless - jerkless[0]) / max(jerkless[-1] - jerkless[0], 1e-12)


def hidden_by_forearm(camera_from_hand: Float[Array, "*frames 3 3"]) -> bool:
    """Whether the camera ever looks along the forearm (-y of the hand) at the hand."""
    return bool((camera_from_hand[..., 2, 1] > np.cos(FOREARM_CONE_RAD)).any())


def _any_hand(speed: float, way: Array, rng: np.random.Generator) -> Float[Array, "frames 3 3"]:
    """A start uniform outside the cone, then a turn about one axis: slerp, which may go on beyond half a turn. Its axis is drawn until the way keeps out of the cone."""
    start = random_rotation(rng)
    while hidden_by_forearm(start):
        start = random_rotation(rng)
    angle = speed * np.linalg.norm(rng.standard_normal(3)) / np.sqrt(3)
    for _ in range(TURN_TRIES):
        axis = rng.standard_normal(3)
        turned = matrix_from_axis_angle(way[:, None] * (angle * axis / np.linalg.norm(axis))) @ start
        if not hidden_by_forearm(turned):
            return turned
    return np.repeat(start[None], len(way), 0)


def _own_hand(look: Float[Array, "3 3"], speed: float, way: Array, rng: np.random.Generator) -> tuple[Float[Array, "frames 3 3"], Float[Array, "3"]]:
    """Forearm and wrist turn from drawn angles to others, within the joints' limits and out of the cone. Also the forearm's way in the camera frame."""
    hidden = True
    while hidden:
        arm, start = draw_own_arm(look, rng), draw_joint_angles(rng)
        first, forearm = hand_rotation(arm, start), look @ arm.forearm
        hidden = hidden_by_forearm(look @ first) or -forearm[2] > np.cos(FOREARM_ITSELF_RAD)
    for _ in range(TURN_TRIES):
        end = turn_joints(start, speed * rng.standard_normal(3) / np.sqrt(3))
        turned = look @ slerp(first, hand_rotation(arm, end), way)
        if not hidden_by_forearm(turned):
            return turned, forearm
    return np.repeat((look @ first)[None], len(way), 0), forearm


def _draw_look(viewpoint: Viewpoint, rng: np.random.Generator) -> Float[Array, "3 3"]:
    """Camera from level: the tilt down and the lean of a head or a tripod."""
    mean, spread = TILT_DEG[viewpoint]
    tilt, roll = np.radians(rng.normal(mean, spread)), np.radians(rng.normal(0, ROLL_DEG))
    tilted, leaning = matrix_from_axis_angle(np.array([[tilt, 0, 0], [0, 0, roll]]))
    return leaning @ tilted


def _draw_camera_motion(look: Float[Array, "3 3"], way: Array, rng: np.random.Generator) -> Float[Array, "frames 4 4"]:
    """A nearly still camera with a drawn heading and a sway of a few degrees and centimetres."""
    heading, sway = rng.uniform(-np.pi, np.pi), np.radians(rng.normal(0, SWAY_DEG, 3))
    headed, swayed = matrix_from_axis_angle(np.array([[0, heading, 0], sway]))
    start = look @ headed
    rotation = slerp(start, swayed @ start, way)
    position = rng.normal(0, SWAY_M, 3) * way[:, None]
    return rigid_matrix(rotation, -np.einsum("tij,tj->ti", rotation, position))
