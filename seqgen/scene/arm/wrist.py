"""Closes a hand where no forearm is drawn: a low dome over the open loop at the wrist, moving with it. Works on any model with a loop."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float32, Int32

from seqgen.scene.scene import Surface, single_part_surface
from seqgen.skeleton import PART_PALM

Array = np.ndarray
NUM_RINGS = 4  # from the loop (ring 0) to the apex
HEIGHT = 0.75  # of the dome, in mean radii of the loop: the wrist joint lies near the loop's plane and has to stay inside


def dome_surface(hand: Surface, loop: Int32[Array, "loop"]) -> Surface:
    """The dome over a hand's wrist, in the colours of its rim; part of the palm. `loop` runs as `oriented_loop` gives it."""
    rim, middle, spokes, height = _rim(hand.vertices_m, loop)
    angles = np.arange(NUM_RINGS) * (np.pi / 2 / NUM_RINGS)
    rings = [rim, *(middle + np.cos(angle) * spokes + np.sin(angle) * height for angle in angles[1:])]
    outwards = height / np.linalg.norm(height, axis=-1, keepdims=True)
    normals = [hand.normals[:, loop], *(np.cos(angle) * hand.normals[:, loop] + np.sin(angle) * outwards for angle in angles[1:]), outwards]
    unit = np.concatenate(normals, 1)
    unit = unit / np.linalg.norm(unit, axis=-1, keepdims=True)
    faces = dome_faces(len(loop))
    uv = np.concatenate([np.tile(_rim_uv(hand, loop), (NUM_RINGS, 1)), _rim_uv(hand, loop)[:1]])
    vertices = np.concatenate([*rings, middle + height], 1).astype(np.float32)
    dome = single_part_surface(vertices, unit.astype(np.float32), faces, uv[faces], hand.materials[0], PART_PALM)
    colours = np.concatenate([np.tile(hand.colours[loop], (NUM_RINGS, 1)), hand.colours[loop[:1]]])
    return Surface(**{**vars(dome), "colours": colours})


def _rim(vertices_m: Float32[Array, "frames vertices 3"], loop: Int32[Array, "loop"]) -> tuple[Array, Array, Array, Array]:
    """The loop, its middle, the spokes from there, and the vector to the dome's apex, per frame."""
    rim = vertices_m[:, loop]
    middle = rim.mean(1, keepdims=True)
    spokes = rim - middle
    outwards = np.cross(spokes, np.roll(spokes, -1, 1)).sum(1, keepdims=True)
    outwards = outwards / np.linalg.norm(outwards, axis=-1, keepdims=True)
    return rim, middle, spokes, HEIGHT * np.linalg.norm(spokes, axis=-1).mean(1)[:, None, None] * outwards


def _rim_uv(hand: Surface, loop: Int32[Array, "loop"]) -> Float32[Array, "loop 2"]:
    """Texture coordinates of the loop's vertices: those of any face that has them."""
    uv = np.zeros((hand.vertices_m.shape[1], 2), np.float32)
    uv[hand.faces] = hand.corner_uv
    return uv[loop]


def dome_faces(loop: int) -> Int32[Array, "faces 3"]:
    """Triangles from ring to ring and to the apex, outside out; ring r has vertices r loop to (r + 1) loop - 1, the apex comes last."""
    rings = [ring * loop + np.arange(loop) for ring in range(NUM_RINGS)]
    faces = [np.stack([rings[-1], np.roll(rings[-1], -1), np.full(loop, NUM_RINGS * loop)], 1)]
    for low, high in pairwise(rings):
        next_low, next_high = np.roll(low, -1), np.roll(high, -1)
        faces += [np.stack([low, next_low, high], 1), np.stack([next_low, next_high, high], 1)]
    return np.concatenate(faces).astype(np.int32)


def oriented_loop(loop: Int32[Array, "loop"], faces: Int32[Array, "faces 3"]) -> Int32[Array, "loop"]:
    """The loop in the order in which a face outside of it runs along its edges: against the faces it borders on."""
    edges = {(int(face[i]), int(face[(i + 1) % 3])) for face in faces for i in range(3)}
    return loop[::-1].copy() if len(loop) and (int(loop[0]), int(loop[1])) in edges else loop
