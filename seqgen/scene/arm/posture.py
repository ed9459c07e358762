"""How an arm is held: the line that it follows from the wrist, bent at wrist and elbow, and which of several drawn ways of holding it suits the camera.

The arm frame: origin in the middle of the hand's open loop, x to the little finger's side, y towards the elbow, z out of the palm.
The line leaves along y, turns evenly through the wrist's arc, runs straight, turns evenly through the elbow's, and runs straight again. So nothing of it
stretches, and its frames are turned with it, without a choice that could flip.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from seqgen.camera import Camera
from seqgen.geometry import matrix_from_axis_angle

Array = np.ndarray
NUM_WAYS = 16  # ways of holding the arm that are drawn for a clip; the camera decides between them
# Most extension and flexion, and most radial and ulnar deviation that daily life asks for (Ryu et al. 1991, J. Hand Surg. 16A:409-419).
FLEXION_RAD = (np.radians(-60.0), np.radians(54.0))
ULNAR_RAD = (np.radians(-17.0), np.radians(40.0))
# Most of daily life is between 5 flexion and 30 extension, 10 radial and 15 ulnar (Palmer et al. 1985, J. Hand Surg. 10A:39-46): mean, standard deviation.
USUAL_FLEXION_RAD = (np.radians(-12.0), np.radians(17.0))
USUAL_ULNAR_RAD = (np.radians(3.0), np.radians(9.0))
WRIST_SPEED_RAD_S = np.radians(25.0)  # standard deviation
ELBOW_RAD = (np.radians(20.0), np.radians(120.0))  # 0 to 145 is possible (American Academy of Orthopaedic Surgeons 1965)
PRONATION_RAD = (np.radians(0.0), np.radians(155.0))  # from full supination (same source)
KEEP_OFF_M = 0.04  # between the arm's skin and the camera
SHOULDER_M = np.array([0.17, 0.22, -0.12])  # of a right arm, in the frame of a camera at its owner's eyes that looks down a little
HAND_REACH = 3.0  # of the line's first part, in radii of the wrist, that may lie before the hand


@dataclass(frozen=True)
class Ways:
    """Drawn ways of holding an arm: how the wrist and the elbow turn it, axis times angle in the arm frame (that of the elbow: as the forearm carries it)."""

    wrist: Float[Array, "ways frames 3"]
    elbow: Float[Array, "ways 3"]


@dataclass(frozen=True)
class Lengths:
    """Where along the line, metres from the loop, the wrist's arc ends, the elbow's arc starts and ends, and the arm ends."""

    wrist_m: float
    elbow_m: tuple[float, float]
    end_m: float


def draw_ways(*, frames: int, fps: float, rng: np.random.Generator) -> Ways:
    """Wrist angles, which change evenly over the clip, elbow angles and how far the forearm is pronated: the upper arm lies on the side of the elbow's crook."""
    starts = np.stack([rng.normal(*USUAL_FLEXION_RAD, NUM_WAYS), rng.normal(*USUAL_ULNAR_RAD, NUM_WAYS)], 1)
    change = WRIST_SPEED_RAD_S * (frames - 1) / fps * rng.standard_normal(2)
    elbow, pronation = rng.uniform(*ELBOW_RAD, NUM_WAYS), rng.uniform(*PRONATION_RAD, NUM_WAYS)
    starts, ends = within_limits(starts)[:, None], within_limits(starts + change)[:, None]
    flexion, ulnar = np.moveaxis(starts + np.linspace(0, 1, frames)[:, None] * (ends - starts), -1, 0)
    return Ways(
        np.stack([flexion, np.zeros_like(flexion), -ulnar], -1),
        elbow[:, None] * np.stack([np.cos(pronation), np.zeros(NUM_WAYS), np.sin(pronation)], 1),
    )


def within_limits(angles: Float[Array, "*batch 2"]) -> Float[Array, "*batch 2"]:
    """Flexion and ulnar deviation no farther than a wrist goes: a wrist led around its limits describes about an ellipse, not a rectangle."""
    limits = np.transpose([FLEXION_RAD, ULNAR_RAD])
    share = np.linalg.norm(angles / np.where(angles < 0, limits[0], limits[1]), axis=-1, keepdims=True)
    return angles / np.maximum(share, 1.0)


@dataclass(frozen=True)
class HeldArm:
    """An arm held in one way: its line, and where the arm frame is."""

    lengths: Lengths
    wrist: Float[Array, "frames 3"]
    elbow: Float[Array, "3"]
    camera_from_arm: Float[Array, "frames 3 3"]
    origin_m: Float[Array, "frames 3"]

    def carry(self, offsets_m: Float[Array, "#frames rings around 3"], along_m: Float[Array, "rings"]) -> Float[Array, "frames rings around 3"]:
        """Points in the camera frame of rings given in the arm frame, each carried and turned along the line to its distance."""
        wrist_share, elbow_share = _shares(self.lengths, along_m)
        turned = matrix_from_axis_angle(self.wrist[:, None] * wrist_share[:, None]) @ matrix_from_axis_angle(self.elbow * elbow_share[:, None])
        camera_from_ring = self.camera_from_arm[:, None] @ turned
        line = np.einsum("fij,frj->fri", self.camera_from_arm, centreline(self.lengths, self.wrist, self.elbow, along_m)) + self.origin_m[:, None]
        return np.matmul(offsets_m, camera_from_ring.swapaxes(-1, -2)) + line[:, :, None]


def centreline(lengths: Lengths, wrist: Float[Array, "*ways frames 3"], elbow: Float[Array, "*ways 3"], along_m: Float[Array, "points"]) -> Float[Array, "*ways frames points 3"]:
    """Points of the line, in the arm frame, at these distances along it."""
    wrist_share, elbow_share = _shares(lengths, along_m)
    straight = np.clip(along_m, lengths.wrist_m, lengths.elbow_m[0]) - lengths.wrist_m
    beyond = np.maximum(along_m - lengths.elbow_m[1], 0.0)
    y = np.array([0.0, 1.0, 0.0])
    forearm = straight[:, None] * y + np.ptp(lengths.elbow_m) * _arc(elbow, elbow_share) + beyond[:, None] * matrix_from_axis_angle(elbow)[..., None, :, 1]
    carried = np.einsum("...fij,...pj->...fpi", matrix_from_axis_angle(wrist), forearm)
    return np.minimum(along_m, 0.0)[:, None] * y + lengths.wrist_m * _arc(wrist, wrist_share) + carried


def choose_way(
    ways: Ways,
    lengths: Lengths,
    radii_m: Float[Array, "points"],
    along_m: Float[Array, "points"],
    camera_from_arm: Float[Array, "frames 3 3"],
    origin_m: Float[Array, "frames 3"],
    hand_m: Float[Array, "frames vertices 3"],
    camera: Camera,
    *,
    to_shoulder: bool,
) -> int:
    """The first of the ways that suits the camera best: an arm clear of the camera first, that ends outside the picture, does not cover its own hand,
    and does not come back into the picture.

    With `to_shoulder`, of equally good ones the one that ends nearest to where the shoulder of whoever wears the camera is.
    """
    points = np.einsum("fij,wfpj->wfpi", camera_from_arm, centreline(lengths, ways.wrist, ways.elbow, along_m)) + origin_m[:, None]
    seen, pixels = _in_picture(points, radii_m, camera)
    swallows = seen & (points[..., 2] < radii_m + KEEP_OFF_M)
    if camera.kind == "perspective":
        swallows |= np.linalg.norm(points, axis=-1) < radii_m + KEEP_OFF_M
    hand_px = camera.project(hand_m)
    covers = ((pixels > hand_px.min(1)[:, None]) & (pixels < hand_px.max(1)[:, None])).all(-1) & (points[..., 2] < origin_m[:, None, 2])
    covers &= along_m > HAND_REACH * radii_m[0]
    returns = seen[..., 1:] & ~seen[..., :-1]
    faults = 4.0 * swallows.any((1, 2)) + 2.0 * seen[..., -1].any(1) + covers.any((1, 2)) + 0.3 * returns.any((1, 2))
    if to_shoulder:
        faults = faults + 0.5 * np.minimum(np.linalg.norm(points[:, 0, -1] - SHOULDER_M, axis=-1), 1.0)
    return int(np.argmin(faults))


def _in_picture(points_m: Array, radii_m: Array, camera: Camera) -> tuple[Bool[Array, "ways frames points"], Float[Array, "ways frames points 2"]]:
    """Which balls touch the picture (none behind the camera does), and the pixels of their centres."""
    depth = points_m[..., 2]
    ahead = np.stack([points_m[..., 0], points_m[..., 1], np.maximum(depth, 1e-3)], -1)
    ways, frames, num, _ = ahead.shape
    pixels = camera.project(ahead.swapaxes(0, 1).reshape(frames, ways * num, 3)).reshape(frames, ways, num, 2).swapaxes(0, 1)
    margin = radii_m * camera.intrinsics[:, 0, 0, None] / (ahead[..., 2] if camera.kind == "perspective" else 1.0)
    inside = (pixels > -margin[..., None]) & (pixels < np.array(camera.size) - 1 + margin[..., None])
    return inside.all(-1) & (depth > -radii_m), pixels


def _shares(lengths: Lengths, along_m: Array) -> tuple[Array, Array]:
    """How much of the wrist's and of the elbow's arc lies before these distances."""
    start, end = lengths.elbow_m
    return np.clip(along_m / lengths.wrist_m, 0.0, 1.0), np.clip((along_m - start) / (end - start), 0.0, 1.0)


def _arc(turn: Float[Array, "*batch 3"], share: Float[Array, "points"]) -> Float[Array, "*batch points 3"]:
    """Points of an arc of length 1 that leaves along y and turns by `turn` (axis times angle, the axis across y), by shares of its length: the integral of the turned y."""
    half = 0.5 * np.linalg.norm(turn, axis=-1)[..., None] * share / np.pi  # of the angle; numpy's sinc takes multiples of pi
    aside = 0.5 * share**2 * np.sinc(half) ** 2
    return np.stack([-turn[..., None, 2] * aside, share * np.sinc(2 * half), turn[..., None, 0] * aside], -1)
