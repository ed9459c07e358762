"""An arm grown from the open loop at the wrist of any hand model: bare, or in a sleeve (`sleeve.py`). How it is held is `posture.py`'s.

Ring 0 is the loop itself, with the hand's own normals. From there the skin leaves along the hand's surface and becomes within a few centimetres an ellipse
about the arm's line, as large as the loop, that grows towards the elbow. Which way the arm goes is decided once a clip; in its frames it moves with the
hand and bends at the wrist, nothing else.
"""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32, Int32
from pydantic import Field
from scipy.interpolate import PchipInterpolator

from seqgen.camera import Camera
from seqgen.config import Section
from seqgen.errors import UserError
from seqgen.hand.model import HandModel, rest_joints_m
from seqgen.scene.arm.posture import WIDENING, HeldArm, Lengths, Ways, choose_way, draw_ways, wrist_towards
from seqgen.scene.arm.sleeve import WIDEST, Sleeve, draw_sleeve, sleeve_rings
from seqgen.scene.arm.tube import capped, ring_normals, tube
from seqgen.scene.arm.wrist import oriented_loop
from seqgen.scene.scene import Material, Surface, join_surfaces, single_part_surface
from seqgen.scene.surface import corners_of_vertex, vertex_normals
from seqgen.scene.view.view import Viewpoint
from seqgen.skeleton import PART_ARM, hand_frame

Array = np.ndarray
# Proportions of 4,082 men (Gordon et al. 2014, NATICK/TR-15/007): hand 194 mm, radiale to stylion 268 mm, shoulder to elbow 364 mm; girths: wrist 176 mm,
# flexed forearm 310 mm, flexed biceps 358 mm. Our hands measure 1.77 times the palm (wrist to middle MCP); muscles at rest are some 7 % thinner.
FOREARM, UPPER_ARM = 268 / 194 * 1.77, 364 / 194 * 1.77 * 1.3  # in palms; the upper arm goes on into the shoulder, so that it ends farther away
FOREARM_GIRTH, BUILD = 0.93 * 310 / 176, (0.09, 0.2)  # in wrists; how builds differ: standard deviation, most
WRIST_ARC, ELBOW_ARC, BLEND = 2.4, 4.2, 1.6  # in radii of the wrist: tighter arcs would fold the skin on their inner side
# Along the line, in forearms, by eye: how much of the growth of the girth is reached (least at the narrow of the wrist, most at the muscles' belly), and how
# many times as broad as thick the arm is (an oval at the wrist).
SHARES = np.linspace(0, 3, 121)
GROWTH = PchipInterpolator([0.0, 0.12, 0.22, 0.45, 0.6, 0.72, 0.86, 1.0, 1.15, 1.6, 3.0], [0.0, -0.08, -0.02, 0.52, 0.86, 1.0, 0.94, 0.8, 0.85, 1.15, 1.3])(SHARES)
FLATNESS = PchipInterpolator([0.0, 0.1, 0.3, 0.6, 1.0, 1.4, 3.0], [1.3, 1.45, 1.4, 1.25, 1.15, 1.03, 1.03])(SHARES)
OLECRANON, OLECRANON_ARC = 0.36, 0.2  # the elbow's point when it is bent at a right angle: height in radii of the wrist; width in arcs of the elbow
BARE_RINGS, SLEEVED_RINGS = (5, 4, 5, 3), 7  # (through the wrist, to the elbow, through it, to the end), beside ring 0; those of an arm that ends in a sleeve
TEXTURE_M, TEXTURE_ROWS = 0.45, (0.004, 0.996)  # length of arm that the skin's picture shows, and which of its rows, so that it does not repeat
JUDGED_POINTS, JUDGED_FRAMES, JUDGED_VERTICES = 8, 3, 32  # of the line and of the clip; every how many of the hand's vertices
PALM_JOINTS, PALM_VERTICES = (0, 5, 9, 17), 100  # joints that the hand frame is made of; how many vertices tell where they are
STEEPEST = 0.6  # of the normal's part along the arm, at the loop


class ArmConfig(Section):
    kind: Literal["drawn", "none"] = "drawn"
    """drawn: a forearm and an upper arm that leave the picture; none: the hand ends at the wrist"""
    sleeve: float = Field(0.45, ge=0, le=1)
    """share of arms in a sleeve"""


@dataclass(frozen=True)
class Arm:
    """What is drawn of an arm."""

    girth: float  # of the forearm where it is thickest, in girths of the wrist
    ways: Ways
    sleeve: Sleeve | None
    viewpoint: Viewpoint
    forearm_in_hand: Float[Array, "frames 3"] | None = None  # towards the elbow, where the view says so: then no wrist bend is drawn


@dataclass(frozen=True)
class ArmTemplate:
    """What of a hand model its arm needs. `joints_of_palm` gives wrist, index, middle and pinky MCP of any posed palm, as it does for the model at rest."""

    loop: Int32[Array, "loop"]  # in the order in which the arm's faces run along it
    palm: Int32[Array, "palm"]  # vertices that move with the wrist (nearly) alone
    joints_of_palm: Float[Array, "4 palm"]
    hand_from_arm: Float[Array, "3 3"]
    first_angle: float  # of the loop's first vertex about the arm's line, from x towards z

    @cached_property
    def angles(self) -> Float[Array, "loop"]:
        """Of the ring vertices about the line: even, and backwards, since x, y, z are right-handed and a ring runs to the right seen from outside."""
        angles = self.first_angle - 2 * np.pi * np.arange(len(self.loop)) / len(self.loop)
        angles.flags.writeable = False
        return angles


@dataclass(frozen=True)
class Sizes:
    """What the posed hand says of its arm, the same in all frames: the radius of a round wrist as thick as this one, the lengths of its line, its girth."""

    radius_m: float
    forearm_m: float
    lengths: Lengths
    girth: float

    def half_axes(self, along_m: Float[Array, "rings"]) -> Float[Array, "rings 2"]:
        """Half breadth and thickness of the arm at these distances along its line; beyond its own length it widens into the torso."""
        share = along_m / self.forearm_m
        growth, flatness = np.interp(share, SHARES, GROWTH), np.sqrt(np.interp(share, SHARES, FLATNESS))
        radius = self.radius_m * (1 + (self.girth - 1) * growth) + WIDENING * np.maximum(along_m - self.lengths.end_m, 0.0)
        return np.stack([radius * flatness, radius / flatness], 1)


def draw_arm(config: ArmConfig, *, frames: int, fps: float, viewpoint: Viewpoint, rng: np.random.Generator, forearm_in_hand: Float[Array, "frames 3"] | None = None) -> Arm | None:
    """The arm of a clip; None where there is none. `forearm_in_hand`: the way to the elbow in the hand's frame, unit vectors, where the view knows it."""
    spread, most = BUILD
    girth = FOREARM_GIRTH + float(np.clip(rng.normal(0, spread), -most, most))
    ways = draw_ways(frames=frames, fps=fps, rng=rng)
    sleeved, sleeve = rng.random() < config.sleeve, draw_sleeve(rng)
    return Arm(girth, ways, sleeve if sleeved else None, viewpoint, forearm_in_hand) if config.kind == "drawn" else None


def arm_template(model: HandModel) -> ArmTemplate:
    """The template of a hand model; a UserError for one that is not open at its wrist."""
    if not len(model.wrist_loop):
        raise UserError(f"arm: the hand model {model.name} has no open loop at its wrist for an arm to grow from; set arm.kind = none")
    loop, palm = oriented_loop(model.wrist_loop, model.faces), np.argsort(-model.skinning_weights[:, 0], kind="stable")[:PALM_VERTICES]
    rest, joints = model.template_m.astype(float), rest_joints_m(model)[list(PALM_JOINTS)]
    frame = hand_frame(rest_joints_m(model)[None].astype(float))
    corners = np.concatenate([rest[palm], np.ones((len(palm), 1))], 1)
    joints_of_palm = (np.linalg.pinv(corners.T) @ np.concatenate([joints, np.ones((4, 1))], 1).T).T
    hand_from_arm = _hand_from_arm(model, loop, frame.axes[0])
    spokes = (rest[loop] - rest[loop].mean(0)) @ frame.axes[0] @ hand_from_arm
    turned_back = np.exp(1j * (np.arctan2(spokes[:, 2], spokes[:, 0]) + 2 * np.pi * np.arange(len(loop)) / len(loop)))
    return ArmTemplate(loop, palm.astype(np.int32), joints_of_palm, hand_from_arm, float(np.angle(turned_back.mean())))


def arm_surface(
    template: ArmTemplate,
    arm: Arm,
    hand_vertices_m: Float32[Array, "frames vertices 3"],
    hand_normals: Float32[Array, "frames vertices 3"],
    camera: Camera,
    skin: Material,
    cloth: Material,
) -> Surface:
    """The arm of posed hands: bare skin, or skin as far as it can be seen and a sleeve of cloth. The first vertices are the loop's."""
    camera_from_arm, palm_m = _arm_frames(template, hand_vertices_m)
    rim_m, rim_normals = hand_vertices_m[:, template.loop], hand_normals[:, template.loop]
    origin_m = rim_m.mean(1, dtype=float)
    rim = np.matmul(rim_m - origin_m[:, None], camera_from_arm).mean(0)
    sizes = _sizes(rim, palm_m, arm.girth)
    held = _hold(template, arm, sizes, camera_from_arm, origin_m, hand_vertices_m, camera)
    along_m = _bare_stations(held.lengths) if arm.sleeve is None else arm.sleeve.covered_from_m(sizes.forearm_m) * np.linspace(0, 1, SLEEVED_RINGS) ** 1.5
    offsets_m = _skin_offsets(template, sizes, rim, np.matmul(rim_normals, camera_from_arm).mean(0), along_m)
    away_m = np.sqrt((offsets_m * offsets_m).sum(-1))
    offsets_m = offsets_m * (1 + _olecranon(held, along_m, template.angles) * sizes.radius_m / away_m)[..., None]
    slopes = ring_normals(offsets_m, along_m)
    if arm.sleeve is None:
        return _skin_surface(*held.carry(offsets_m, slopes, along_m), rim_m, rim_normals, along_m, skin)
    rings, bare = sleeve_rings(arm.sleeve, sizes.half_axes, sizes.forearm_m, held.lengths, template.angles, _widest(rim, sizes)), len(along_m)
    both = [np.concatenate(pair) for pair in ((offsets_m, rings.offsets_m), (slopes, ring_normals(rings.offsets_m, rings.along_m)), (along_m, rings.along_m))]
    points, normals = held.carry(*both)
    arm_in_it = _skin_surface(points[:, :bare], normals[:, :bare], rim_m, rim_normals, along_m, skin)
    return join_surfaces([arm_in_it, rings.surface(points[:, bare:], normals[:, bare:], cloth)])


def _skin_surface(points_m: Array, ring_normals: Array, rim_m: Array, rim_normals: Array, along_m: Array, skin: Material) -> Surface:
    """The bare part: rings whose first is the hand's to the bit, normals and all, so that there is no seam."""
    vertices_m, normals = capped(points_m, ring_normals, closed_start=False)
    vertices_m[:, : rim_m.shape[1]], normals[:, : rim_m.shape[1]] = rim_m, rim_normals
    topology = tube(len(along_m), rim_m.shape[1], closed_start=False)
    return single_part_surface(vertices_m, normals, topology.faces, topology.corner_uv(np.clip(along_m / TEXTURE_M, *TEXTURE_ROWS)), skin, PART_ARM)


def _skin_offsets(template: ArmTemplate, sizes: Sizes, rim: Array, rim_normals: Array, along_m: Array) -> Float[Array, "rings loop 3"]:
    """Rings in the arm frame: ellipses, and what the loop and its slope differ from them, fading out as a cubic that ends flat."""
    angles, half_axes = template.angles, sizes.half_axes(along_m)
    ellipses = np.stack([half_axes[:, :1] * np.cos(angles), np.zeros((len(along_m), len(angles))), half_axes[:, 1:] * np.sin(angles)], -1)
    lean = np.clip(rim_normals[:, 1:2], -STEEPEST, STEEPEST)
    slopes = -rim_normals * [1.0, 0.0, 1.0] * lean / (1 - lean**2)
    length_m = BLEND * sizes.radius_m
    t = np.clip(along_m / length_m, 0.0, 1.0)[:, None, None]
    return ellipses + (1 - t) ** 2 * ((1 + 2 * t) * (rim - ellipses[0]) + t * length_m * slopes)


def _olecranon(held: HeldArm, along_m: Float[Array, "rings"], angles: Float[Array, "loop"]) -> Float[Array, "rings loop"]:
    """The elbow's point on the outer side of its bend, in radii of the wrist: the more of it the more it is bent, up to a right angle."""
    start, end = held.lengths.elbow_m
    x, _, z = held.elbow / max(np.linalg.norm(held.elbow), 1e-9)
    along = np.exp(-(((along_m - (start + end) / 2) / (OLECRANON_ARC * (end - start))) ** 2))
    around = np.maximum(z * np.cos(angles) - x * np.sin(angles), 0.0) ** 3
    return OLECRANON * min(float(np.linalg.norm(held.elbow)) / (np.pi / 2), 1.0) * along[:, None] * around


def _hold(template: ArmTemplate, arm: Arm, sizes: Sizes, camera_from_arm: Array, origin_m: Array, hand_vertices_m: Array, camera: Camera) -> HeldArm:
    """The arm held in the way that suits the camera, judged in a few frames and by a part of the hand, and as long as it takes to leave the picture."""
    ways, lengths = arm.ways, sizes.lengths
    if arm.forearm_in_hand is not None:
        towards = wrist_towards(arm.forearm_in_hand @ template.hand_from_arm)
        ways = Ways(np.broadcast_to(towards, (len(ways.elbow), *towards.shape)), ways.elbow)
    along_m = np.linspace(lengths.wrist_m, lengths.elbow_m[1], JUDGED_POINTS)
    radii_m = sizes.half_axes(along_m).max(1) * (1.0 if arm.sleeve is None else WIDEST)
    frames = _judged_frames(len(origin_m))
    judged, hand_m = Camera(camera.kind, camera.intrinsics[frames], camera.size), hand_vertices_m[frames, ::JUDGED_VERTICES].astype(float)
    few = Ways(ways.wrist[:, frames], ways.elbow)
    way = choose_way(few, lengths, along_m, radii_m, camera_from_arm[frames], origin_m[frames], hand_m, judged, to_shoulder=arm.viewpoint == "egocentric")
    return HeldArm(lengths, ways.wrist[way], ways.elbow[way], camera_from_arm, origin_m).leaving(float(radii_m[-1]), camera)


@cache
def _judged_frames(count: int) -> Int32[Array, "judged"]:
    """Of a clip, evenly spread."""
    frames = np.unique(np.linspace(0, count - 1, JUDGED_FRAMES).astype(np.int32))
    frames.flags.writeable = False
    return frames


def _arm_frames(template: ArmTemplate, hand_vertices_m: Array) -> tuple[Float[Array, "frames 3 3"], float]:
    """The arm frame's axes in the camera frame, and the palm's length."""
    joints = np.zeros((len(hand_vertices_m), 21, 3))
    joints[:, list(PALM_JOINTS)] = np.einsum("jp,fpi->fji", template.joints_of_palm, hand_vertices_m[:, template.palm].astype(float))
    frame = hand_frame(joints)
    return frame.axes @ template.hand_from_arm, float(frame.palm.mean())


def _sizes(rim: Float[Array, "loop 3"], palm_m: float, girth: float) -> Sizes:
    """Of an ellipse x, z have mean squares of half its half axes' squares."""
    radius, forearm = float(np.sqrt(np.sqrt(2 * (rim[:, ::2] ** 2).mean(0)).prod())), FOREARM * palm_m
    bend = min(ELBOW_ARC * radius, 0.5 * forearm)
    return Sizes(radius, forearm, Lengths(WRIST_ARC * radius, (forearm - bend / 2, forearm + bend / 2), forearm + UPPER_ARM * palm_m), girth)


def _widest(rim: Array, sizes: Sizes) -> float:
    """How far the loop reaches beyond the arm's first ellipse."""
    return max(0.0, float(np.sqrt(((rim[:, ::2] / sizes.half_axes(np.zeros(1))) ** 2).sum(-1).max()) - 1)) * sizes.radius_m


def _bare_stations(lengths: Lengths) -> Float[Array, "rings"]:
    """Where the rings of a bare arm stand: close where it bends."""
    ends = [0.0, lengths.wrist_m, *lengths.elbow_m, lengths.end_m]
    return np.concatenate([[0.0], *(np.linspace(low, high, num + 1)[1:] for low, high, num in zip(ends, ends[1:], BARE_RINGS, strict=False))])


def _hand_from_arm(model: HandModel, loop: Array, hand_axes: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """The arm frame in the hand frame. The line leaves midway between the hand's -y and the axis of the cone that the surface is at the loop.

    The loop may be cut obliquely, so its plane says nothing; normals around a cone have least along its axis.
    """
    normals = vertex_normals(model.template_m[None], model.faces, corners_of_vertex(model.faces, len(model.template_m)))[0, loop] @ hand_axes
    axis = np.linalg.eigh(normals.T @ normals)[1][:, 0]
    y = axis * np.sign(-axis[1] or 1.0) - [0.0, 1.0, 0.0]
    y = y / np.linalg.norm(y)
    x = np.array([1.0, 0.0, 0.0]) - y[0] * y
    x = x / np.linalg.norm(x)
    return np.stack([x, y, np.cross(x, y)], 1)
