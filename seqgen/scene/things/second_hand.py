"""A second hand that passes before the first: a left one, made as all left hands are, by mirroring the world.

So it is carried along its way as a right hand in the mirrored camera's frame, grows its arm there, and comes out of the mirror whole.
"""

from dataclasses import replace

import numpy as np

from seqgen.scene.scene import Surface
from seqgen.scene.things.occluder import Occluder
from seqgen.scene.things.passing import carried, carried_forearm, room_behind
from seqgen.skeleton import PART_OCCLUDER

Array = np.ndarray
EVERY = 12  # of its vertices one in so many is asked for its distance from the first hand
MIRROR = np.array([-1.0, 1.0, 1.0])


def carried_in_mirror(occluder: Occluder, surface: Surface) -> Surface:
    """The right hand on its way, as the mirror shows it: beside or before the first hand, as deep as it may be without touching it. `surface` may be of one frame for all."""
    rotations, middles = MIRROR[:, None] * occluder.rotations * MIRROR, occluder.middles_m * MIRROR
    vertices = carried(surface.vertices_m, rotations, middles)
    room = room_behind(vertices[:, ::EVERY], carried_forearm(rotations, middles), occluder.passed_m * MIRROR)
    vertices[..., 2] += room
    return replace(surface, vertices_m=vertices.astype(np.float32), normals=(surface.normals @ rotations.transpose(0, 2, 1)).astype(np.float32))


def out_of_mirror(surface: Surface) -> Surface:
    """The left hand that the mirror shows, all of it in the way."""
    across = MIRROR.astype(np.float32)
    return replace(
        surface,
        vertices_m=surface.vertices_m * across,
        normals=surface.normals * across,
        faces=np.ascontiguousarray(surface.faces[:, ::-1]),
        corner_parts=np.full_like(surface.corner_parts, PART_OCCLUDER),
        corner_weights=np.ascontiguousarray(surface.corner_weights[:, ::-1]),
        corner_uv=np.ascontiguousarray(surface.corner_uv[:, ::-1]),
    )
