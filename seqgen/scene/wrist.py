"""Closes a hand where its forearm is missing: a low dome over the open loop at the wrist, moving with it. Works on any model with a loop."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float32, Int32

Array = np.ndarray
NUM_RINGS = 4  # from the loop (ring 0) to the apex
HEIGHT = 0.75  # of the dome, in mean radii of the loop: the wrist joint lies near the loop's plane and has to stay inside


def dome_vertices(vertices_m: Float32[Array, "frames vertices 3"], loop: Int32[Array, "loop"]) -> Float32[Array, "frames dome 3"]:
    """The dome's vertices over posed ones: rings towards the apex, the apex last. `loop` runs as `oriented_loop` gives it."""
    rim = vertices_m[:, loop]
    middle = rim.mean(1, keepdims=True)
    spokes = rim - middle
    outwards = np.cross(spokes, np.roll(spokes, -1, 1)).sum(1, keepdims=True)
    outwards = outwards / np.linalg.norm(outwards, axis=-1, keepdims=True)
    height = HEIGHT * np.linalg.norm(spokes, axis=-1).mean(1)[:, None, None] * outwards
    angles = np.arange(1, NUM_RINGS) * (np.pi / 2 / NUM_RINGS)
    rings = [middle + np.cos(angle) * spokes + np.sin(angle) * height for angle in angles]
    return np.concatenate([*rings, middle + height], 1).astype(np.float32)


def dome_faces(loop: Int32[Array, "loop"], first: int) -> Int32[Array, "faces 3"]:
    """Triangles from ring to ring and to the apex, outside out; the dome's vertices are numbered from `first`."""
    rings = [loop, *(first + ring * len(loop) + np.arange(len(loop)) for ring in range(NUM_RINGS - 1))]
    apex = first + (NUM_RINGS - 1) * len(loop)
    faces = [np.stack([rings[-1], np.roll(rings[-1], -1), np.full(len(loop), apex)], 1)]
    for low, high in pairwise(rings):
        next_low, next_high = np.roll(low, -1), np.roll(high, -1)
        faces += [np.stack([low, next_low, high], 1), np.stack([next_low, next_high, high], 1)]
    return np.concatenate(faces).astype(np.int32)


def dome_sources(loop: Int32[Array, "loop"]) -> Int32[Array, "dome"]:
    """For each of the dome's vertices the rim vertex whose colour it takes."""
    return np.concatenate([np.tile(loop, NUM_RINGS - 1), loop[:1]]).astype(np.int32)


def oriented_loop(loop: Int32[Array, "loop"], faces: Int32[Array, "faces 3"]) -> Int32[Array, "loop"]:
    """The loop in the order in which a face outside of it runs along its edges: against the faces it borders on."""
    edges = {(int(face[i]), int(face[(i + 1) % 3])) for face in faces for i in range(3)}
    return loop[::-1].copy() if len(loop) and (int(loop[0]), int(loop[1])) in edges else loop
