"""Several synchronised cameras on one motion: the first sees it as any clip is seen, the others are fixed to it, sway with it, and look at the hand from
elsewhere."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from seqgen.camera import Camera
from seqgen.geometry import matrix_from_axis_angle, rigid_matrix
from seqgen.scene.view.framing import move_in
from seqgen.scene.view.placement import as_camera, checked_outlines, draw_composition
from seqgen.scene.view.view import ROLL_DEG, CameraConfig, View, hidden_by_forearm

Array = np.ndarray
APART_RAD = np.radians(20.0)  # least angle between the directions of two cameras, seen from the hand
HEIGHT = (-0.5, 0.95)  # sine of a camera's elevation over the hand: none under the floor, none where there is no up in its picture


@dataclass(frozen=True)
class RigView:
    """One camera of a rig, and the rigid motion, the same in all frames, from the first camera's frame into its own."""

    camera: Camera
    view_from_first: Float[Array, "4 4"]


def draw_rig(config: CameraConfig, number: int, view: View, vertices_m: Float[Array, "frames vertices 3"], *, size: tuple[int, int], rng: np.random.Generator) -> RigView:
    """Camera `number`, from 1, of a rig whose first camera, 0, has `view` and sees the hand's `vertices_m` in its frame.

    At mid clip the hand stands in its picture as large and as near the middle as in any clip, and in every frame it is inside. Directions are uniform over
    a band of the sphere, at least APART_RAD from those of all cameras before, and at mid clip out of the cone around the forearm. All cameras of a rig have to be
    drawn with equal streams; `rng` itself draws nothing, only its children do.
    """
    streams = rng.spawn(number)
    rotation = _draw_rotations(view, streams)[-1]
    mid = len(vertices_m) // 2
    pivot = vertices_m[mid].mean(0)
    outlines = checked_outlines(config, (vertices_m - pivot) @ rotation.T)
    composition = draw_composition(config, outlines[mid], size, streams[-1])
    start = composition.origin(outlines[[mid]], composition.middle[None], np.array([composition.extent]))
    moved = move_in(np.repeat(start, len(outlines), 0), outlines, composition.picture(size))
    camera, pivot_of_view = as_camera(config, moved, composition.matrix, size)
    return RigView(camera, rigid_matrix(rotation, pivot_of_view[mid] - rotation @ pivot))


def _draw_rotations(view: View, streams: list[np.random.Generator]) -> list[Float[Array, "3 3"]]:
    """Rotations from the first camera's frame into each of the others', at mid clip."""
    mid = len(view.camera_from_hand) // 2
    first_from_world, hand = view.camera_from_world[mid, :3, :3], view.camera_from_hand[mid]
    away, rotations = [-first_from_world[2]], []
    for rng in streams:
        while True:
            direction = _draw_direction(rng)
            rotation = _upright(direction, rng) @ first_from_world.T
            if max(direction @ other for other in away) < np.cos(APART_RAD) and not hidden_by_forearm(rotation @ hand):
                break
        away.append(direction)
        rotations.append(rotation)
    return rotations


def _draw_direction(rng: np.random.Generator) -> Float[Array, "3"]:
    """From the hand to a camera, in the world: uniform on the sphere between two heights."""
    height, heading = rng.uniform(*HEIGHT), rng.uniform(-np.pi, np.pi)
    level = np.sqrt(1 - height**2)
    return np.array([level * np.sin(heading), -height, level * np.cos(heading)])


def _upright(direction: Float[Array, "3"], rng: np.random.Generator) -> Float[Array, "3 3"]:
    """A camera from the world that looks against `direction`, gravity downwards in its picture up to a lean."""
    right = np.cross([0.0, 1.0, 0.0], -direction)
    right = right / np.linalg.norm(right)
    level = np.stack([right, np.cross(-direction, right), -direction])
    return matrix_from_axis_angle(np.array([0.0, 0.0, np.radians(rng.normal(0, ROLL_DEG))])) @ level
