"""Ways past a hand, between it and the camera: parabolas at constant depth, so near to the camera that the ball around what passes touches nothing.

A second hand passes as deep as it may: beside the first, or just before it.
"""

import numpy as np
from jaxtyping import Float

from seqgen.camera import Camera
from seqgen.geometry import matrix_from_axis_angle, random_rotation
from seqgen.scene.things.flesh import bone_points
from seqgen.skeleton import BONES

Array = np.ndarray
NEAREST_M = 0.06  # of the ball around a thing, to the camera
FLESH_M = 0.02  # the hand's surface is at most so far before its nearest joint
GAP_M = (0.01, 0.10)  # between that and a passing thing, least and most
LOOK = 0.6  # radius of the ball in the picture against the hand's longer side, at most
SPEED_M_S = (0.1, 0.8)
BEND = 0.5  # by how much of itself the velocity changes over the clip, at most
TURN_RAD_S = 0.7  # standard deviation about each axis
HAND_MIDDLE_M = 0.085  # from the wrist towards the fingers
FOREARM_M, FOREARM_RADIUS_M = np.linspace(0.02, 0.2, 7), 0.035  # places on a forearm that is straight on, from the wrist; its skin from there
CLEAR_M = 0.01  # between two hands


def front_m(joints_m: Float[Array, "frames 21 3"]) -> float:
    """A depth that the hand's surface does not come before in any frame."""
    return float(joints_m[..., 2].min()) - FLESH_M


def draw_gap(front: float, rng: np.random.Generator) -> float:
    """Between a passing thing and the hand: metres, less where there is little room."""
    return rng.uniform(GAP_M[0], min(GAP_M[1], max(GAP_M[0], (front - NEAREST_M) / 3)))


def fitting_radius(radius_m: float, joints_m: Float[Array, "frames 21 3"], camera: Camera, back_m: float) -> float:
    """The radius of a ball, made smaller where it would come too near to the camera or look too large; no part of it deeper than `back_m`."""
    side_px = float(np.ptp(camera.project(joints_m), axis=1).max(1).min())
    look = LOOK * side_px / float(camera.intrinsics[:, 0, 0].max())  # metres, or metres per metre of depth of the ball's middle
    largest = look if camera.kind == "weak_perspective" else back_m * look / (1 + look)
    return min(radius_m, (back_m - NEAREST_M) / 2, largest)


def draw_way(
    joints_m: Float[Array, "frames 21 3"], camera: Camera, *, radius_m: float, depth_m: float, cover: float, fps: float, rng: np.random.Generator
) -> Float[Array, "frames 3"]:
    """The middle of a ball that goes by at a drawn moment and hides at most the share `cover` of the outline's width across its way."""
    frames = len(joints_m)
    moment, angle, bend_angle = rng.random(3) * (frames - 1, 2 * np.pi, 2 * np.pi)
    speed, bend = np.exp(rng.uniform(*np.log(SPEED_M_S))), BEND * rng.random()
    across, ahead = np.array([-np.sin(angle), np.cos(angle)]), np.array([np.cos(angle), np.sin(angle)])
    seconds = (np.arange(frames) - moment)[:, None] / fps
    bent = bend * np.array([np.cos(bend_angle), np.sin(bend_angle)]) / (max(frames - 1, 1) / fps)
    xy = speed * (seconds * ahead + 0.5 * seconds**2 * bent)

    frame = round(moment)
    pixels = camera.project(joints_m)[frame]
    radius_px = camera.intrinsics[frame, 0, 0] * radius_m / (1.0 if camera.kind == "weak_perspective" else depth_m)
    middle_px = across * _beside(pixels @ across, radius_px, cover, rng) + ahead * (pixels @ ahead).mean()
    middle = camera.unproject(np.broadcast_to(middle_px, (frames, 1, 2)), np.full((frames, 1), depth_m))[frame, 0]
    return np.concatenate([middle[:2] + xy, np.full((frames, 1), depth_m)], 1)


def _beside(places: Float[Array, "joints"], radius: float, cover: float, rng: np.random.Generator) -> float:
    """Where along a line a disc hides at most `cover` of the stretch that the joints take: anywhere before it if it is small, else over one of its ends."""
    low, high = float(places.min()), float(places.max())
    side, share = rng.random() < 0.5, rng.random()
    if 2 * radius <= cover * (high - low):
        return low + share * (high - low)
    hidden = (0.3 + 0.7 * share) * cover * (high - low)
    return high + radius - hidden if side else low - radius + hidden


def draw_turning(frames: int, fps: float, rng: np.random.Generator) -> Float[Array, "frames 3 3"]:
    """Rotations that begin anyhow and turn slowly and evenly."""
    seconds = np.arange(frames)[:, None] / fps
    return matrix_from_axis_angle(seconds * TURN_RAD_S * rng.standard_normal(3)) @ random_rotation(rng)


def draw_hand_turning(frames: int, fps: float, rng: np.random.Generator) -> Float[Array, "frames 3 3"]:
    """Rotations of a hand (camera from hand) whose fingers lie nearly in the picture's plane, more often upwards, its arm on the camera's side."""
    tilt, roll = -np.radians(rng.uniform(0, 10)), rng.uniform(-np.pi, np.pi)
    up = np.diag([1.0, -1.0, -1.0])  # fingers up, back to the camera
    start = matrix_from_axis_angle(np.array([tilt, 0, 0])) @ up @ matrix_from_axis_angle(np.array([0, roll, 0]))
    turns = np.radians(rng.normal(0, 60)) + np.radians(rng.normal(0, 15)) * np.arange(frames) / fps
    return matrix_from_axis_angle(np.outer(turns, [0.0, 0, 1])) @ start


def carried(points_m: Float[Array, "#frames points 3"], rotations: Float[Array, "frames 3 3"], middles_m: Float[Array, "frames 3"]) -> Float[Array, "frames points 3"]:
    """Points of a hand, given in its hand frame (wrist at the origin, fingers along y), with its middle on a way."""
    return (points_m - [0.0, HAND_MIDDLE_M, 0.0]) @ rotations.transpose(0, 2, 1) + middles_m[:, None]


def carried_forearm(rotations: Float[Array, "frames 3 3"], middles_m: Float[Array, "frames 3"]) -> Float[Array, "frames steps 3"]:
    """Places on the forearm of a hand that is carried so."""
    return carried(-FOREARM_M[None, :, None] * np.array([0.0, 1.0, 0.0]), rotations, middles_m)


def room_behind(hand_m: Float[Array, "frames points 3"], forearm_m: Float[Array, "frames steps 3"], joints_m: Float[Array, "frames 21 3"]) -> float:
    """How much deeper a hand's skin and its forearm may lie before they touch the hand of these joints or its forearm, or the hands are equally deep.

    Two balls that are aside of each other by less than the sum r of their radii touch when one is sqrt(r^2 - aside^2) before the other.
    """
    points, flesh = bone_points(joints_m, BONES)
    onwards = joints_m[:, :1] - joints_m[:, 9:10]
    forearm = joints_m[:, :1] + FOREARM_M[:, None] * onwards / np.linalg.norm(onwards, axis=2, keepdims=True)
    first, second = (np.concatenate(parts, 1).astype(np.float32)[:, :, None] for parts in ((points, forearm), (hand_m, forearm_m)))
    first_radii = np.concatenate([flesh, np.full(len(FOREARM_M), FOREARM_RADIUS_M)])
    second_radii = np.repeat([0.0, FOREARM_RADIUS_M], [hand_m.shape[1], forearm_m.shape[1]])
    reach2 = ((first_radii[:, None] + second_radii + CLEAR_M) ** 2).astype(np.float32)
    away = first - second.transpose(0, 2, 1, 3)
    chord2 = reach2 - away[..., 0] ** 2 - away[..., 1] ** 2
    touching = chord2 > 0
    equally = float(np.median(joints_m[..., 2]) - np.median(hand_m[..., 2]))
    return min(equally, float((away[..., 2][touching] - np.sqrt(chord2[touching])).min(initial=np.inf)))
