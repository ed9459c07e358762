"""Things in the way: a solid or a user's mesh held in the palm (`grip.py`) or between two tips (`pinch.py`), or one that passes between hand and camera, or
a second hand that passes (`passing.py`).

Where no fingers bend around a thing it passes instead; where a second hand would come too near to the camera a solid passes; and where the hand itself is
too near for that, there is none.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from seqgen.camera import Camera
from seqgen.config import Section
from seqgen.geometry import matrix_from_axis_angle
from seqgen.scene.scene import Material, Surface, single_part_surface
from seqgen.scene.things.grip import Grip, find_grip, wobble
from seqgen.scene.things.meshes import MeshRef, load_mesh
from seqgen.scene.things.passing import NEAREST_M, carried, carried_forearm, draw_gap, draw_hand_turning, draw_turning, draw_way, fitting_radius, front_m, room_behind
from seqgen.scene.things.pattern import draw_pattern
from seqgen.scene.things.pinch import find_pinch
from seqgen.scene.things.solids import SOLID_KINDS, Solid, SolidKind, make_solid
from seqgen.skeleton import PART_OCCLUDER, hand_frame

Array = np.ndarray
SIDE_M = (0.03, 0.12)  # longest side of a passing thing, before it is made to fit
LEAST_RADIUS_M = 0.012  # of the ball around a passing thing; with less room nothing passes
BOXY = 0.85  # half thickness of a box in a grip that a round thing of radius 1 fills: its bevelled edges reach beyond, its faces do not reach it
THINNER_M = 0.001  # a held thing than its room: the wobble
HAND_DEPTH_M, HAND_BEFORE_M = 0.16, 0.06  # of a second hand: from its nearest to its deepest point at most, and from its middle to that of the first, usually
HAND_NEARER, HAND_TRIES = 1.3, 6  # times as near to the camera as the first hand at most, which takes some tries
HAND_LOOK_M = 0.05  # half of what it hides across its way


class OccluderConfig(Section):
    share: float = Field(0.3, ge=0, le=1)
    """share of clips with something in the way of the hand"""
    held: float = Field(0.4, ge=0, le=1)
    """share of those where it is held, if the fingers bend around a thing or pinch one (about a quarter of hands do); else a solid passes before the hand"""
    hand: float = Field(0.25, ge=0, le=1)
    """share of the others that is a second hand, if the camera is far enough away"""
    cover: float = Field(0.6, gt=0, le=1)
    """how much of the hand's outline a passing thing may hide as it goes by, measured across its way"""
    folder: str | None = None
    """a folder of meshes (obj, ply, stl, glb, off; closed, at most 20,000 faces) to be in the way; none: built-in boxes, cylinders, capsules, ellipsoids"""


@dataclass(frozen=True)
class Occluder:
    """A thing in the camera frame. A second hand has no solid: its surface is that of a posed hand, laid as near as may be before that of the joints `passed_m`."""

    kind: str  # of solid, name of mesh, or "hand"
    manner: Literal["held", "passing"]
    rotations: Float[Array, "frames 3 3"]  # camera from thing
    middles_m: Float[Array, "frames 3"]
    solid: Solid | None = None
    material: Material | None = None
    passed_m: Float[Array, "frames 21 3"] | None = None


def draw_occluder(
    config: OccluderConfig, *, joints_m: Float[Array, "frames 21 3"], camera: Camera, fps: float, meshes: Sequence[MeshRef] = (), rng: np.random.Generator
) -> Occluder | None:
    """What is in the way of a clip's hand, whose joints are given in the camera frame, or None. `meshes` are used in place of the built-in solids."""
    present, held, hand = rng.random(3) < (config.share, config.held, config.hand)
    if not present:
        return None
    joints = joints_m.astype(float)
    thing = meshes[rng.integers(len(meshes))] if meshes else SOLID_KINDS[rng.integers(len(SOLID_KINDS))]
    found = _hold(thing, joints, fps, rng) if held else _pass_hand(joints, camera, config.cover, fps, rng) if hand else None
    return found or _pass(thing, joints, camera, config.cover, fps, rng)


def occluder_surface(occluder: Occluder) -> Surface:
    """The surface of a thing that is not a hand."""
    solid, material = occluder.solid, occluder.material
    if solid is None or material is None:
        raise ValueError("a second hand is made of a posed one: `second_hand.py`")
    turned = occluder.rotations.transpose(0, 2, 1)
    vertices = (solid.vertices_m @ turned + occluder.middles_m[:, None]).astype(np.float32)
    surface = single_part_surface(vertices, (solid.normals @ turned).astype(np.float32), solid.faces, solid.corner_uv, material, PART_OCCLUDER)
    return replace(surface, colours=solid.colours)


def _hold(thing: MeshRef | SolidKind, joints: Float[Array, "frames 21 3"], fps: float, rng: np.random.Generator) -> Occluder | None:
    """A thing in the palm or between two tips, or None where fingers hold nothing or there is no room before the camera."""
    frame = hand_frame(joints)
    grip = find_grip(np.einsum("tjk,tkf->tjf", joints - frame.wrist[:, None], frame.axes), rng)
    room = grip or find_pinch(joints, frame, rng)
    if room is None:
        return None
    solid, roll = _held_solid(thing, room.radius_m - THINNER_M, room.half_length_m, rng)
    turns, shifts = wobble(len(joints), fps, rng)
    if isinstance(room, Grip):
        axes, middle = frame.axes @ room.axes, room.middle_m(float(np.abs(solid.vertices_m[:, 1]).max()))
        middles = frame.wrist + np.einsum("tij,tj->ti", frame.axes, middle + shifts)
    else:
        axes, middles = room.axes, room.middles_m
    if middles[:, 2].min() - solid.radius_m() < NEAREST_M:
        return None
    rolled = matrix_from_axis_angle(np.array([0.0, 0.0, roll]))
    return Occluder(_name(thing), "held", axes @ rolled @ turns, middles, solid, solid.material or draw_pattern(rng, cloth=False))


def _held_solid(thing: MeshRef | SolidKind, radius_m: float, half_length_m: float, rng: np.random.Generator) -> tuple[Solid, float]:
    """A thing as thick as a grip, longest along z, and how it is rolled about that."""
    width, roll = rng.uniform((0.75, -np.pi), (1.0, np.pi))
    if isinstance(thing, MeshRef):
        mesh = load_mesh(thing)
        across = float(np.linalg.norm(mesh.vertices_m[:, :2], axis=1).max())
        return mesh.scaled(min(2 * half_length_m, radius_m / across)), 0.0
    radius = min(radius_m, half_length_m)
    half = {"box": (BOXY * width * radius_m, BOXY * radius_m, half_length_m), "cylinder": (radius_m, radius_m, half_length_m)}
    made = make_solid(thing, np.array(half.get(thing, (radius, radius, half_length_m))))
    return made, roll if thing in ("cylinder", "capsule") else 0.0


def _pass(thing: MeshRef | SolidKind, joints: Float[Array, "frames 21 3"], camera: Camera, cover: float, fps: float, rng: np.random.Generator) -> Occluder | None:
    """A thing that goes by before the hand, or None where the hand is too near to the camera."""
    front = front_m(joints)
    back = front - draw_gap(front, rng)
    solid = _passing_solid(thing, rng)
    radius = fitting_radius(solid.radius_m(), joints, camera, back)
    if radius < LEAST_RADIUS_M:
        return None
    solid = solid.scaled(radius / solid.radius_m())
    middles = draw_way(joints, camera, radius_m=radius, depth_m=back - radius, cover=cover, fps=fps, rng=rng)
    turning = draw_turning(len(joints), fps, rng)
    return Occluder(_name(thing), "passing", turning, middles, solid, solid.material or draw_pattern(rng, cloth=False))


def _passing_solid(thing: MeshRef | SolidKind, rng: np.random.Generator) -> Solid:
    """A thing of drawn size and proportions."""
    side = float(np.exp(rng.uniform(*np.log(SIDE_M))))
    x, y = rng.uniform(0.3, 1.0, 2)
    if isinstance(thing, MeshRef):
        return load_mesh(thing).scaled(side)
    halves = {"box": (x, y, 1.0), "cylinder": (0.7 * x, 0.7 * x, 1.0), "capsule": (0.6 * x, 0.6 * x, 1.0), "ellipsoid": (x, y, 1.0)}
    return make_solid(thing, side / 2 * np.array(halves[thing]))


def _pass_hand(joints: Float[Array, "frames 21 3"], camera: Camera, cover: float, fps: float, rng: np.random.Generator) -> Occluder | None:
    """The way of a second hand, or None where there is none that does not bring it too near to the camera. It is judged by a mirror image of the first."""
    depth, frame = float(np.median(joints[..., 2])), hand_frame(joints)
    alike = np.einsum("tjk,tkf->tjf", joints - frame.wrist[:, None], frame.axes) * [-1.0, 1.0, 1.0]
    for _ in range(HAND_TRIES if front_m(joints) - NEAREST_M > HAND_DEPTH_M else 0):
        middles = draw_way(joints, camera, radius_m=HAND_LOOK_M, depth_m=depth - HAND_BEFORE_M, cover=cover, fps=fps, rng=rng)
        turning = draw_hand_turning(len(joints), fps, rng)
        hand, forearm = carried(alike, turning, middles), carried_forearm(turning, middles)
        nearest = float(np.median(hand[..., 2])) + room_behind(hand[::2], forearm[::2], joints[::2])
        if depth <= HAND_NEARER * nearest:
            return Occluder("hand", "passing", turning, middles, passed_m=joints)
    return None


def _name(thing: MeshRef | SolidKind) -> str:
    return thing.name if isinstance(thing, MeshRef) else thing
