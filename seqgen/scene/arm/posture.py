"""How an arm is held: the line that it follows from the wrist, bent at wrist and elbow, and which of several drawn ways of holding it suits the camera.

The arm frame: origin in the middle of the hand's open loop, x to the little finger's side, y towards the elbow, z out of the palm.
The line leaves along y, turns evenly through the wrist's arc, runs straight, turns evenly through the elbow's, and runs straight again. So nothing of it
stretches, and its frames are turned with it, without a choice that could flip.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from seqgen.camera import Camera
from seqgen.geometry import matrices_from_axis_angles

Array = np.ndarray
NUM_WAYS = 16  # ways of holding the arm that are drawn for a clip; the camera decides between them
# How far wrists go here, extension and flexion, radial and ulnar deviation: within what daily life asks for (Ryu et al. 1991, J. Hand Surg. 16A:409-419:
# 60 and 54, 17 and 40), since a hand bent farther hides behind its arm or looks broken.
FLEXION_RAD = (np.radians(-50.0), np.radians(50.0))
ULNAR_RAD = (np.radians(-17.0), np.radians(30.0))
# Most of daily life is between 5 flexion and 30 extension, 10 radial and 15 ulnar (Palmer et al. 1985, J. Hand Surg. 10A:39-46): mean, standard deviation.
USUAL_FLEXION_RAD = (np.radians(-12.0), np.radians(18.0))
USUAL_ULNAR_RAD = (np.radians(3.0), np.radians(7.0))
WRIST_SPEED_RAD_S = np.radians(25.0)  # standard deviation
ELBOW_RAD = (np.radians(15.0), np.radians(110.0))  # 0 to 145 is possible (American Academy of Orthopaedic Surgeons 1965)
PRONATION_RAD = (np.radians(0.0), np.radians(155.0))  # from full supination (same source)
KEEP_OFF_M = 0.04  # between the arm's skin and the camera
SHOULDER_M = np.array([0.17, 0.22, -0.12])  # of a right arm, in the frame of a camera at its owner's eyes that looks down a little
MOST_M = 3.0  # of shoulder and torso that an arm goes on into, beyond the elbow, to leave the picture
WIDENING = 0.08  # by how much their radius grows along them
HIDDEN = 0.12  # share of the hand's vertices that an arm may cover
FEW_WAYS = 4  # are judged before the others
UPPER_SHARES = np.linspace(0.2, 1.0, 5)  # where the upper arm is judged
INWARDS = np.array([1.0, -1.0, 1.0, -1.0])  # from the picture's left, right, upper and lower edge


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
    starts, ends = within_limits(np.array([starts, starts + change]))[:, :, None]
    angles = starts + np.linspace(0, 1, frames)[:, None] * (ends - starts)
    wrist, crook = np.zeros((NUM_WAYS, frames, 3)), np.zeros((NUM_WAYS, 3))
    wrist[..., 0], wrist[..., 2] = angles[..., 0], -angles[..., 1]
    crook[:, 0], crook[:, 2] = np.cos(pronation), np.sin(pronation)
    return Ways(wrist, elbow[:, None] * crook)


def within_limits(angles: Float[Array, "*batch 2"]) -> Float[Array, "*batch 2"]:
    """Flexion and ulnar deviation no farther than a wrist goes: a wrist led around its limits describes about an ellipse, not a rectangle."""
    limits = np.array([FLEXION_RAD, ULNAR_RAD])
    shares = angles / np.where(angles < 0, limits[:, 0], limits[:, 1])
    return angles / np.maximum(np.sqrt((shares * shares).sum(-1, keepdims=True)), 1.0)


@dataclass(frozen=True)
class HeldArm:
    """An arm held in one way: its line, and where the arm frame is."""

    lengths: Lengths
    wrist: Float[Array, "frames 3"]
    elbow: Float[Array, "3"]
    camera_from_arm: Float[Array, "frames 3 3"]
    origin_m: Float[Array, "frames 3"]

    def carry(
        self, offsets_m: Float[Array, "rings around 3"], normals: Float[Array, "rings around 3"], along_m: Float[Array, "rings"]
    ) -> tuple[Float[Array, "frames rings around 3"], Float[Array, "frames rings around 3"]]:
        """Points and normals in the camera frame of rings given in the arm frame, each carried and turned along the line to its distance."""
        (rings, around, _), frames = offsets_m.shape, len(self.wrist)
        wrist_share, elbow_share = _shares(self.lengths, along_m)
        wrist_turns, elbow_turns = matrices_from_axis_angles(self.wrist[:, None] * wrist_share[:, None], self.elbow * elbow_share[:, None])
        camera_from_ring = self.camera_from_arm[:, None] @ wrist_turns @ elbow_turns
        # a ring goes to all frames in one product
        to_frames = camera_from_ring.transpose(1, 3, 0, 2).reshape(rings, 3, frames * 3)
        carried = np.matmul(np.concatenate([offsets_m, normals], 1), to_frames).reshape(rings, 2 * around, frames, 3).transpose(2, 0, 1, 3)
        line = np.matmul(centreline(self.lengths, self.wrist, self.elbow, along_m), self.camera_from_arm.swapaxes(-1, -2)) + self.origin_m[:, None]
        return carried[:, :, :around] + line[:, :, None], carried[:, :, around:]

    def leaving(self, radius_m: float, camera: Camera) -> "HeldArm":
        """The same arm, so much longer that its end is outside the picture in every frame. `radius_m`: beyond the elbow, from where on it may widen."""
        points, directions = _carried(self.lengths, self.wrist, self.elbow, np.array(self.lengths.elbow_m[1:]), self.camera_from_arm, self.origin_m)
        out_m = out_after_m(points[:, 0], directions, radius_m, camera).max()
        end_m = max(self.lengths.end_m, self.lengths.elbow_m[1] + min(out_m, MOST_M))
        return replace(self, lengths=replace(self.lengths, end_m=float(end_m)))


def wrist_towards(direction: Float[Array, "frames 3"]) -> Float[Array, "frames 3"]:
    """How a wrist turns the line, without twist, into unit vectors of the arm frame."""
    x, y, z = direction.T
    aside = np.hypot(x, z)
    return (np.arctan2(aside, y) / np.maximum(aside, 1e-12))[:, None] * np.stack([z, np.zeros_like(x), -x], 1)


def centreline(lengths: Lengths, wrist: Float[Array, "*ways frames 3"], elbow: Float[Array, "*ways 3"], along_m: Float[Array, "points"]) -> Float[Array, "*ways frames points 3"]:
    """Points of the line, in the arm frame, at these distances along it."""
    start, end = lengths.elbow_m
    wrist_turn, elbow_turn = matrices_from_axis_angles(wrist, elbow)
    wrist_arc, elbow_arc = _arcs(wrist, elbow, _shares(lengths, along_m))
    forearm, line = (end - start) * elbow_arc, lengths.wrist_m * wrist_arc
    forearm[..., 1] += np.minimum(np.maximum(along_m, lengths.wrist_m), start) - lengths.wrist_m
    forearm += np.maximum(along_m - end, 0.0)[:, None] * elbow_turn[..., None, :, 1]
    line[..., 1] += np.minimum(along_m, 0.0)
    line += np.matmul(forearm[..., None, :, :], wrist_turn.swapaxes(-1, -2))
    return line


def choose_way(
    ways: Ways,
    lengths: Lengths,
    along_m: Float[Array, "points"],
    radii_m: Float[Array, "points"],
    camera_from_arm: Float[Array, "frames 3 3"],
    origin_m: Float[Array, "frames 3"],
    hand_m: Float[Array, "frames vertices 3"],
    camera: Camera,
    *,
    to_shoulder: bool,
) -> int:
    """The first of the ways that suits the camera best: an arm clear of the camera first, that leaves the picture, does not hide its own hand, does not come
    back into the picture, and soon is out of it. `along_m`: where the arm is judged and as thick as `radii_m`, from the wrist to the elbow's end.

    With `to_shoulder`, of equally good ones the one that ends nearest to where the shoulder of whoever wears the camera is.
    """
    judged = {"camera_from_arm": camera_from_arm, "origin_m": origin_m, "hand_m": hand_m, "camera": camera, "to_shoulder": to_shoulder}
    few = len(ways.elbow) if to_shoulder else FEW_WAYS
    faults = _faults(Ways(ways.wrist[:few], ways.elbow[:few]), lengths, along_m, radii_m, **judged)
    if few < len(ways.elbow) and faults.min() > 0:  # else one of the first few is as good as can be
        faults = np.append(faults, _faults(Ways(ways.wrist[few:], ways.elbow[few:]), lengths, along_m, radii_m, **judged))
    return int(np.argmin(faults))


def _faults(
    ways: Ways, lengths: Lengths, along_m: Array, radii_m: Array, *, camera_from_arm: Array, origin_m: Array, hand_m: Array, camera: Camera, to_shoulder: bool
) -> Float[Array, "ways"]:
    """How badly each way suits the camera: 0 for one that could not do better."""
    points, directions = _carried(lengths, ways.wrist, ways.elbow, along_m, camera_from_arm, origin_m)
    inward, offsets = edges = _edges(camera)
    out_m = _out_of(edges, points[..., -1, :], directions, radii_m[-1]).max(1)
    upper_m = lengths.end_m - lengths.elbow_m[1]
    beyond_m = np.clip(out_m, upper_m, MOST_M)[:, None] * UPPER_SHARES
    hidden = _hidden(points, radii_m, hand_m, camera)
    points = np.concatenate([points, points[..., -1:, :] + directions[..., None, :] * beyond_m[:, None, :, None]], 2)
    radii = np.concatenate([np.broadcast_to(radii_m, (len(beyond_m), len(radii_m))), radii_m[-1] + WIDENING * beyond_m], 1)[:, None]
    seen = (np.matmul(points, inward) + offsets > -radii[..., None]).all(-1)
    swallows = seen & (points[..., 2] < radii + KEEP_OFF_M)
    if camera.kind == "perspective":
        swallows |= np.sqrt((points * points).sum(-1)) < radii + KEEP_OFF_M
    returns = seen[..., 1:] & ~seen[..., :-1]
    faults = 4.0 * swallows.any((1, 2)) + 2.0 * (out_m > MOST_M) + (1 + hidden) * (hidden > HIDDEN) + 0.3 * returns.any((1, 2))
    faults = faults + 0.5 * np.clip(out_m - upper_m, 0.0, 2.0)
    return faults + 0.5 * np.minimum(np.linalg.norm(points[:, 0, -1] - SHOULDER_M, axis=-1), 1.0) if to_shoulder else faults


def out_after_m(start_m: Float[Array, "*ways frames 3"], directions: Float[Array, "*ways frames 3"], radius_m: float, camera: Camera) -> Float[Array, "*ways frames"]:
    """How far a straight arm of that radius, which widens, goes from `start_m` until its end is outside the picture: infinite for one that never is.

    Its end is outside beyond one of the four planes through the picture's edges, and its distance from a plane changes evenly.
    """
    return _out_of(_edges(camera), start_m, directions, radius_m)


def _out_of(edges: tuple[Array, Array], start_m: Array, directions: Array, radius_m: float) -> Array:
    """`out_after_m` of the picture within these edges."""
    inward, offsets = edges
    inside = (np.matmul(start_m[..., None, :], inward) + offsets)[..., 0, :] + radius_m
    outwards = -np.matmul(directions[..., None, :], inward)[..., 0, :] - WIDENING
    return np.where(outwards > 0, np.maximum(inside, 0.0) / np.maximum(outwards, 1e-9), np.inf).min(-1)


def _carried(
    lengths: Lengths,
    wrist: Float[Array, "*ways frames 3"],
    elbow: Float[Array, "*ways 3"],
    along_m: Float[Array, "points"],
    camera_from_arm: Float[Array, "frames 3 3"],
    origin_m: Float[Array, "frames 3"],
) -> tuple[Float[Array, "*ways frames points 3"], Float[Array, "*ways frames 3"]]:
    """Points of the line, and where it heads beyond the elbow, in the camera frame."""
    arm_from_camera = camera_from_arm.swapaxes(-1, -2)
    end = lengths.elbow_m[1]
    line = np.matmul(centreline(lengths, wrist, elbow, np.concatenate([along_m, [end, end + 1.0]])), arm_from_camera)
    return line[..., :-2, :] + origin_m[:, None], line[..., -1, :] - line[..., -2, :]


def _edges(camera: Camera) -> tuple[Float[Array, "frames 3 4"], Float[Array, "frames 1 4"]]:
    """The planes through the picture's left, right, upper and lower edge: a point's distance inwards is `point @ inward + offset`."""
    focal, centre = camera.intrinsics[:, [0, 0, 1, 1], [0, 0, 1, 1]], camera.intrinsics[:, [0, 0, 1, 1], 2]
    constant = INWARDS * (centre - np.array([-0.5, camera.size[0] - 0.5, -0.5, camera.size[1] - 0.5]))
    planes, slopes = np.zeros((len(focal), 3, 4)), INWARDS * focal
    planes[:, 0, :2], planes[:, 1, 2:] = slopes[:, :2], slopes[:, 2:]
    if camera.kind == "weak_perspective":
        return planes / focal[:, None], (constant / focal)[:, None]
    planes[:, 2] = constant
    return planes / np.hypot(focal, constant)[:, None], np.zeros((len(focal), 1, 4))


def _hidden(points_m: Float[Array, "ways frames points 3"], radii_m: Float[Array, "points"], hand_m: Float[Array, "frames vertices 3"], camera: Camera) -> Float[Array, "ways"]:
    """The share of the hand's vertices that are behind balls, in the frame where it is largest."""
    depth, (ways, frames, num, _) = np.maximum(points_m[..., 2], 1e-3), points_m.shape
    ahead = points_m.copy()
    ahead[..., 2] = depth
    pixels = camera.project(ahead.swapaxes(0, 1).reshape(frames, ways * num, 3)).reshape(frames, ways, num, 2).swapaxes(0, 1)
    hand_px = camera.project(hand_m)
    radii_px = radii_m * camera.intrinsics[:, 0, 0, None] / (depth if camera.kind == "perspective" else 1.0)
    slack = radii_px * radii_px - (pixels * pixels).sum(-1)
    apart = 2 * np.matmul(pixels, hand_px.swapaxes(-1, -2))
    apart += slack[..., None]
    apart -= (hand_px * hand_px).sum(-1)[:, None]
    covered = (apart > 0) & (points_m[..., 2, None] < hand_m[:, None, :, 2])
    return covered.any(2).mean(-1).max(1)


def _shares(lengths: Lengths, along_m: Array) -> Float[Array, "2 points"]:
    """How much of the wrist's and of the elbow's arc lies before these distances."""
    start, end = lengths.elbow_m
    return np.minimum(np.maximum([along_m / lengths.wrist_m, (along_m - start) / (end - start)], 0.0), 1.0)


def _arcs(
    wrist: Float[Array, "*ways frames 3"], elbow: Float[Array, "*ways 3"], shares: Float[Array, "2 points"]
) -> tuple[Float[Array, "*ways frames points 3"], Float[Array, "*ways points 3"]]:
    """The arcs that both describe, by shares of their lengths."""
    num, points = wrist.size // 3, shares.shape[1]
    arcs = _arc(np.concatenate([wrist.reshape(-1, 3), elbow.reshape(-1, 3)]), shares.repeat([num, elbow.size // 3], 0))
    return arcs[:num].reshape(*wrist.shape[:-1], points, 3), arcs[num:].reshape(*elbow.shape[:-1], points, 3)


def _arc(turn: Float[Array, "arcs 3"], share: Float[Array, "arcs points"]) -> Float[Array, "arcs points 3"]:
    """Points of an arc of length 1 that leaves along y and turns by `turn` (axis times angle, the axis across y), by shares of its length: the integral of the turned y."""
    angle = np.maximum(np.sqrt((turn * turn).sum(-1)), 1e-6)[..., None]
    turned = angle * share
    points = np.empty((*turned.shape, 3))
    points[..., 1] = np.sin(turned) / angle
    aside = (1 - np.cos(turned)) / angle**2
    points[..., 0], points[..., 2] = -turn[..., 2:] * aside, turn[..., :1] * aside
    return points
