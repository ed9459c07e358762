"""Closes a hand where no forearm is drawn: a low dome over the open loop at the wrist, moving with it. Works on any model with a loop."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float32, Int32

from seqgen.geometry import cross
from seqgen.scene.scene import Material, Surface, single_part_surface
from seqgen.skeleton import PART_PALM

Array = np.ndarray
NUM_RINGS = 4  # from the loop (ring 0) to the apex
RING_V = 0.015  # of the arm's texture, from ring to ring
HEIGHT = 0.75  # of the dome, in mean radii of the loop: the wrist joint lies near the loop's plane and has to stay inside


def dome_surface(hand: Surface, loop: Int32[Array, "loop"], skin: Material) -> Surface:
    """The dome over a hand's wrist, part of the palm, in the skin of an arm (`skin/paint.py`: u around the loop, v up the arm). `loop` runs as `oriented_loop` gives it."""
    rim, middle, spokes, height = _rim(hand.vertices_m, loop)
    angles = np.arange(1, NUM_RINGS) * (np.pi / 2 / NUM_RINGS)
    rings = [rim, *(middle + np.cos(angle) * spokes + np.sin(angle) * height for angle in angles)]
    outwards, rim_normals = height / _length(height), hand.normals[:, loop]
    unit = np.concatenate([rim_normals, *(np.cos(angle) * rim_normals + np.sin(angle) * outwards for angle in angles), outwards], 1)
    unit = unit / _length(unit)
    vertices = np.concatenate([*rings, middle + height], 1).astype(np.float32)
    dome = single_part_surface(vertices, unit.astype(np.float32), dome_faces(len(loop)), _corner_uv(len(loop)), skin, PART_PALM)
    colours = np.concatenate([np.tile(hand.colours[loop], (NUM_RINGS, 1)), hand.colours[loop[:1]]])
    return replace(dome, colours=colours)


def _rim(vertices_m: Float32[Array, "frames vertices 3"], loop: Int32[Array, "loop"]) -> tuple[Array, Array, Array, Array]:
    """The loop, its middle, the spokes from there, and the vector to the dome's apex, per frame."""
    rim = vertices_m[:, loop]
    middle = rim.mean(1, keepdims=True)
    spokes = rim - middle
    outwards = cross(spokes, np.roll(spokes, -1, 1)).sum(1, keepdims=True)
    outwards = outwards / _length(outwards)
    return rim, middle, spokes, HEIGHT * _length(spokes).mean(1, keepdims=True) * outwards


def _length(vectors: Float[Array, "*batch 3"]) -> Float[Array, "*batch 1"]:
    return np.sqrt((vectors * vectors).sum(-1, keepdims=True))


@cache
def _corner_uv(loop: int) -> Float32[Array, "faces 3 2"]:
    """u = place on the loop, going on to 1 at its seam; v = ring, some millimetres of arm each."""
    rings, places = np.divmod(dome_faces(loop), loop)
    apex, last = rings == NUM_RINGS, places.max(1, keepdims=True)
    around = places + loop * ((places == 0) & (last == loop - 1))
    between = (np.where(apex, 0, around).sum(1, keepdims=True)) / 2
    u = np.where(apex, between, around) / loop
    uv = np.stack([u, (rings + 0.5) * RING_V], -1).astype(np.float32)
    uv.flags.writeable = False
    return uv


@cache
def dome_faces(loop: int) -> Int32[Array, "faces 3"]:
    """Triangles from ring to ring and to the apex, outside out; ring r has vertices r loop to (r + 1) loop - 1, the apex comes last."""
    rings = [ring * loop + np.arange(loop) for ring in range(NUM_RINGS)]
    faces = [np.stack([rings[-1], np.roll(rings[-1], -1), np.full(loop, NUM_RINGS * loop)], 1)]
    for low, high in pairwise(rings):
        next_low, next_high = np.roll(low, -1), np.roll(high, -1)
        faces += [np.stack([low, next_low, high], 1), np.stack([next_low, next_high, high], 1)]
    joined = np.concatenate(faces).astype(np.int32)
    joined.flags.writeable = False
    return joined


def oriented_loop(loop: Int32[Array, "loop"], faces: Int32[Array, "faces 3"]) -> Int32[Array, "loop"]:
    """The loop in the order in which a face outside of it runs along its edges: against the faces it borders on."""
    edges = {(int(face[i]), int(face[(i + 1) % 3])) for face in faces for i in range(3)}
    return loop[::-1].copy() if len(loop) and (int(loop[0]), int(loop[1])) in edges else loop
