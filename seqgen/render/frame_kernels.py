"""Everything of a frame one after the other, as a CPU wants it: what one step writes the next still finds in the cache. A GPU launches step by step, for all frames
at once; the steps are the same functions, and so are the bits."""

from typing import no_type_check

import warp as wp

from seqgen.render.background_kernels import Background, fill_background
from seqgen.render.edge_kernels import FLAT_M, mark_piece
from seqgen.render.raster_kernels import SUBPIXELS, clear_piece
from seqgen.render.resolve_kernels import Seen, resolve_piece
from seqgen.render.shadow import SHADOW_BIAS_M, SHADOW_OFFSET_M
from seqgen.render.surface_kernels import Light, Materials, Surface
from seqgen.render.triangle_kernels import cover, cover_map, cover_samples
from seqgen.scene.scene import TERMINATOR

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

_FLAT_M = wp.constant(FLAT_M)
_REACH = wp.constant(SUBPIXELS // 2)
_TERMINATOR = wp.constant(TERMINATOR)
_BIAS = wp.constant(SHADOW_BIAS_M)
_OFFSET = wp.constant(SHADOW_OFFSET_M)


@no_type_check
@wp.func_native("""
    const size_t size = (size_t)keys.shape[1] * keys.shape[2];
    for (size_t i = 0; i < size; ++i)
        keys.data[slot * size + i] = ~0u;
""")
def clear_map(slot: wp.int32, keys: wp.array3d(dtype=wp.uint32)):
    """Empties a shadow map."""


@no_type_check
@wp.kernel
def draw_frame(
    seen: Seen,
    surface: Surface,
    materials: Materials,
    light: Light,
    background: Background,
    decode: wp.array(dtype=wp.float32),
    radiance: wp.array3d(dtype=wp.vec3),
    depths: wp.array3d(dtype=wp.float32),
    parts: wp.array3d(dtype=wp.uint8),
):
    """One thread a frame. What was seen is kept in as many slots as there are, the last of which is spare."""
    frame = wp.tid()
    slot = frame % (seen.centres.shape[0] - 1)
    moving = seen.screen.shape[0] > 1
    height, width, faces, samples = depths.shape[1], depths.shape[2], surface.faces.shape[0], seen.samples.shape[3]
    clear_piece(seen.boxes, frame, slot, 0, height, 0, width, seen.centres)
    cover(seen.screen, 0, surface.faces, seen.perspective, 0, frame, slot, 0, faces, seen.centres)
    if samples > 1:
        mark_piece(
            seen.boxes, seen.centres, surface.face_materials, seen.perspective, moving, _FLAT_M, frame, slot, 0, height, 0, width, seen.several, seen.samples
        )
        if moving:
            for m in range(samples):
                cover_samples(
                    seen.screen, m + 1, surface.faces, seen.perspective, _REACH, frame, slot, 0, faces, seen.offsets, m, m + 1, seen.several, seen.samples
                )
        else:
            cover_samples(seen.screen, 0, surface.faces, seen.perspective, _REACH, frame, slot, 0, faces, seen.offsets, 0, samples, seen.several, seen.samples)
    if light.shadows:
        clear_map(slot, light.shadow_keys)
        cover_map(light.screen, 0, surface.faces, False, 0, frame, slot, 0, faces, light.shadow_keys)
    fill_background(
        background.photo, background.photo_from_pixel, decode, seen.boxes, seen.centres, seen.several, frame, slot, 0, height, 0, width, radiance
    )
    resolve_piece(
        seen, surface, materials, light, _FLAT_M, _TERMINATOR, _BIAS, _OFFSET, frame, slot, 0, height, 0, width, radiance, depths, parts
    )
