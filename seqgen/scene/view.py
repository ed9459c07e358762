"""From where a clip is seen: third person or egocentric, perspective or weak perspective, moving; and where the hand stands in the picture.

World: x right, y down (gravity), z forward. The hand's frame is `seqgen.skeleton`'s. The hand is placed by its rotated outline: at the first and the
last frame the outline's middle and longer side are what was drawn, and between them the wrist glides.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from seqgen.camera import Camera, CameraKind, intrinsics_from_fov
from seqgen.config import Section, interval
from seqgen.geometry import matrix_from_axis_angle, minimum_jerk, random_rotation, rigid_matrix, slerp

Array = np.ndarray
Viewpoint = Literal["third_person", "egocentric"]
NOMINAL_DISTANCE_M = 0.5  # of the wrist in a weak-perspective camera, which cannot know it
PLACING_ROUNDS, PLACED_PX = 40, 0.01  # at most so many corrections, fewer when the box is this near to the drawn one
NEAREST_M, FARTHEST_M = 0.1, 6.0  # no part of the hand is placed nearer to a pinhole than the one, no wrist farther than the other: depth pictures hold 6.5 m
FOREARM_CONE_RAD = np.radians(50.0)  # no clip starts with the camera this near to the forearm's axis


class CameraConfig(Section):
    kind: CameraKind = "perspective"
    """perspective: a pinhole with a drawn field of view; weak_perspective: scale and shift alone, as in the SeqHAND paper"""
    egocentric: float = Field(0.5, ge=0, le=1)
    """share of clips seen from the hand owner's own head; the others are seen from anywhere"""
    fov_deg: interval(5.0, 150.0) = (15.0, 45.0)
    """field of view across the shorter side, least and most (perspective)"""
    outline: interval(0.02, 1.0) = (0.45, 0.72)
    """longer side of the hand's outline, as a share of the shorter side of the picture, least and most"""
    off_centre: float = Field(0.08, ge=0, le=0.5)
    """standard deviation of the outline's middle from the picture's, as a share of its shorter side"""
    turn_deg_s: float = Field(50.0, ge=0, le=720)
    """standard deviation of the turning speed of the hand against the camera, degrees a second"""
    drift: float = Field(0.12, ge=0, le=5)
    """standard deviation of the speed of the outline's middle, in picture sides a second"""
    approach: float = Field(0.12, ge=0, le=2)
    """standard deviation of the speed at which the outline's size changes, e-foldings a second"""


@dataclass(frozen=True)
class View:
    """How the hand is turned in each frame, and the camera's own motion."""

    viewpoint: Viewpoint
    camera_from_hand: Float[Array, "frames 3 3"]
    camera_from_world: Float[Array, "frames 4 4"]


@dataclass(frozen=True)
class Placement:
    """A camera and where the wrist stands in its frame."""

    camera: Camera
    wrist_m: Float[Array, "frames 3"]


def draw_view(config: CameraConfig, *, frames: int, fps: float, rng: np.random.Generator) -> View:
    """Directions and their change over the clip."""
    viewpoint: Viewpoint = "egocentric" if rng.random() < config.egocentric else "third_person"
    draw_rotation = _egocentric_rotation if viewpoint == "egocentric" else random_rotation
    start = draw_rotation(rng)
    while _shows_forearm_end(start):
        start = draw_rotation(rng)
    turn = np.radians(config.turn_deg_s) * (frames - 1) / fps * rng.standard_normal(3) / np.sqrt(3)
    way = _eased(frames)
    camera_from_hand = matrix_from_axis_angle(way[:, None] * turn) @ start
    return View(viewpoint, camera_from_hand, _draw_camera_motion(viewpoint, way, rng))


def place_hand(config: CameraConfig, view: View, outline_m: Float[Array, "frames vertices 3"], *, size: tuple[int, int], fps: float, rng: np.random.Generator) -> Placement:
    """A camera and wrist positions for `outline_m`: vertices about the wrist, already turned into the camera frame."""
    frames, side = len(view.camera_from_hand), min(size)
    extent = side * rng.uniform(*config.outline)
    seconds = (frames - 1) / fps
    extents = extent * np.exp(np.array([-0.5, 0.5]) * config.approach * seconds * rng.standard_normal())
    extents = np.clip(extents, side * config.outline[0], side * config.outline[1])
    drift = config.drift * side * seconds * rng.standard_normal(2)
    middle = (np.array(size) - 1) / 2 + config.off_centre * side * np.clip(rng.standard_normal(2), -2, 2)
    middles = np.clip(middle + np.array([[-0.5], [0.5]]) * drift, extents[:, None] / 2, np.array(size) - 1 - extents[:, None] / 2)
    fov = np.radians(rng.uniform(*config.fov_deg))
    place = _place_weak if config.kind == "weak_perspective" else _place_pinhole
    return place(outline_m[[0, -1]], extents, middles, fov, size, _eased(frames))


def _place_pinhole(outlines: Array, extents: Array, middles: Array, fov: float, size: tuple[int, int], way: Array) -> Placement:
    """Move each end's outline until its box is as drawn (half the proportional correction a round: the whole swings for hands seen end on), then glide in pixels and log-depth."""
    matrix = intrinsics_from_fov(fov, size)
    focal, centre = matrix[0, 0], matrix[:2, 2]
    nearest_m = NEAREST_M - outlines[..., 2].min(1)
    wrist = np.stack([np.zeros(2), np.zeros(2), np.maximum(focal * np.ptp(outlines[..., :2], axis=1).max(1) / extents, 2 * nearest_m)], 1)
    for _ in range(PLACING_ROUNDS):
        points = outlines + wrist[:, None]
        pixels = focal * points[..., :2] / points[..., 2:] + centre
        low, high = pixels.min(1), pixels.max(1)
        box_middle, box_extent = (low + high) / 2, (high - low).max(1)
        if np.abs(box_extent - extents).max() < PLACED_PX and np.abs(box_middle - middles).max() < PLACED_PX:
            break
        wrist[:, 2] = np.clip(wrist[:, 2] * np.sqrt(np.clip(box_extent / extents, 0.5, 2.0)), nearest_m, FARTHEST_M)
        wrist[:, :2] += 0.5 * (middles - box_middle) / focal * wrist[:, 2:]
    seen, depth = wrist[:, :2] / wrist[:, 2:], np.log(wrist[:, 2])
    depths = np.exp(depth[0] + way * (depth[1] - depth[0]))[:, None]
    wrist_m = np.concatenate([(seen[0] + way[:, None] * (seen[1] - seen[0])) * depths, depths], 1)
    return Placement(Camera("perspective", np.repeat(matrix[None], len(way), 0), size), wrist_m)


def _place_weak(outlines: Array, extents: Array, middles: Array, fov: float, size: tuple[int, int], way: Array) -> Placement:
    """Scale and shift each end's outline to the drawn box; the wrist stays on the axis."""
    boxes = np.ptp(outlines[..., :2], axis=1).max(1)
    scales = np.exp(np.log(extents / boxes)[0] + way * np.diff(np.log(extents / boxes)))
    shifts = middles - (extents / boxes)[:, None] * (outlines[..., :2].max(1) + outlines[..., :2].min(1)) / 2
    intrinsics = np.zeros((len(way), 3, 3))
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = scales
    intrinsics[:, :2, 2] = shifts[0] + way[:, None] * (shifts[1] - shifts[0])
    intrinsics[:, 2, 2] = 1.0
    wrist_m = np.repeat([[0.0, 0.0, NOMINAL_DISTANCE_M]], len(way), 0)
    return Placement(Camera("weak_perspective", intrinsics, size), wrist_m)


def _egocentric_rotation(rng: np.random.Generator) -> Float[Array, "3 3"]:
    """A hand held out before its owner's eyes: fingers forwards and up, from thumb down over palm down and thumb up to palm up."""
    away = np.array([rng.normal(0, 0.4), rng.normal(-0.9, 0.2), rng.normal(0.4, 0.3)])
    y = away / np.linalg.norm(away)
    up = np.array([0.0, -1.0, 0.0]) - (-y[1]) * y
    z = up / np.linalg.norm(up)
    palm_down = np.stack([np.cross(y, z), y, z], 1)
    return palm_down @ matrix_from_axis_angle(np.array([0.0, np.radians(rng.uniform(-60.0, 180.0)), 0.0]))


def _shows_forearm_end(camera_from_hand: Float[Array, "3 3"]) -> bool:
    """Whether the camera looks into the end of the forearm, where an arm would be in the way."""
    return bool(camera_from_hand[2, 1] > np.cos(FOREARM_CONE_RAD))


def _draw_camera_motion(viewpoint: Viewpoint, way: Array, rng: np.random.Generator) -> Float[Array, "frames 4 4"]:
    """A nearly still camera: level or tilted, with a drawn heading, sway of a few degrees and centimetres."""
    tilt = rng.normal(35, 12) if viewpoint == "egocentric" else rng.normal(10, 20)
    look = matrix_from_axis_angle(np.array([np.radians(tilt), 0, 0])) @ matrix_from_axis_angle(np.array([0, rng.uniform(-np.pi, np.pi), 0]))
    rotation = slerp(look, matrix_from_axis_angle(np.radians(rng.normal(0, 1.5, 3))) @ look, way)
    position = rng.normal(0, 0.01, 3) * way[:, None]
    return rigid_matrix(rotation, -np.einsum("tij,tj->ti", rotation, position))


def _eased(frames: int) -> Float[Array, "frames"]:
    """The way through a clip: a window of a longer eased motion, so that a clip neither starts nor ends at rest."""
    t = np.linspace(0.25, 0.75, frames) if frames > 1 else np.array([0.25])
    eased = minimum_jerk(t)
    return (eased - eased[0]) / max(eased[-1] - eased[0], 1e-12)
