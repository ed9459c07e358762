"""Warp kernels of the labels that are made only when asked for: flow, normals, and the mask of what is seen."""

from typing import no_type_check

import warp as wp

from seqgen.render.raster_kernels import ScreenVertex, corner_shares, on_picture
from seqgen.render.resolve_kernels import Seen
from seqgen.render.surface_kernels import Surface

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

_SHIFT = wp.constant(12)  # a pixel has 1 << 12 steps
_EMPTY = wp.constant(wp.uint64(0xFFFFFFFFFFFFFFFF))
_FACE = wp.constant(wp.uint64(0xFFFFFFFF))


@no_type_check
@wp.func
def shares_in(surface: Surface, screen: wp.array3d(dtype=ScreenVertex), moment: wp.int32, frame: wp.int32, face: wp.int32, x: wp.int32, y: wp.int32):
    corners = surface.faces[face]
    return corner_shares(screen[moment, frame, corners[0]], screen[moment, frame, corners[1]], screen[moment, frame, corners[2]], x, y)


@no_type_check
@wp.func
def centre_key(seen: Seen, frame: wp.int32, y: wp.int32, x: wp.int32):
    """The key of a pixel's centre, empty outside of the box."""
    if x < seen.boxes[frame, 0] or x > -seen.boxes[frame, 2] or y < seen.boxes[frame, 1] or y > -seen.boxes[frame, 3]:
        return _EMPTY
    return seen.centres[frame, y, x]


@no_type_check
@wp.func
def centre_shares(seen: Seen, surface: Surface, frame: wp.int32, face: wp.int32, x: wp.int32, y: wp.int32):
    return shares_in(surface, seen.screen, 0, frame, face, x << _SHIFT, y << _SHIFT)


@no_type_check
@wp.kernel
def resolve_motion(
    seen: Seen,
    intrinsics: wp.array(dtype=wp.mat33),
    surface: Surface,
    next_from_pixel: wp.array2d(dtype=wp.vec3),
    flow: wp.array3d(dtype=wp.vec2),
    columns: wp.int32,
):
    """Where what is seen at a pixel's centre goes until the next frame, the photo by `next_from_pixel`; in the last frame nowhere."""
    frame, y, piece = wp.tid()
    for x in range(piece * columns, wp.min((piece + 1) * columns, flow.shape[2])):
        moved = wp.vec2(0.0, 0.0)
        if frame + 1 < flow.shape[0]:
            key = centre_key(seen, frame, y, x)
            if key == _EMPTY:
                across = next_from_pixel[frame, 0]
                down = next_from_pixel[frame, 1]
                moved = wp.vec2(across[0] * float(x) + across[1] * float(y) + across[2], down[0] * float(x) + down[1] * float(y) + down[2])
            else:
                face = int(key & _FACE)
                i = surface.faces[face]
                s = centre_shares(seen, surface, frame, face, x, y)
                p = surface.vertices[frame + 1, i[0]] * s[0] + surface.vertices[frame + 1, i[1]] * s[1] + surface.vertices[frame + 1, i[2]] * s[2]
                place = on_picture(p, intrinsics[frame + 1], seen.perspective)
                if place[2] > 0.0:
                    moved = wp.vec2(place[0] - float(x), place[1] - float(y))
        flow[frame, y, x] = moved


@no_type_check
@wp.kernel
def resolve_normals(seen: Seen, surface: Surface, normals: wp.array3d(dtype=wp.vec3), columns: wp.int32):
    """The interpolated unit normal at a pixel's centre, 0 where there is no surface."""
    frame, y, piece = wp.tid()
    for x in range(piece * columns, wp.min((piece + 1) * columns, normals.shape[2])):
        normal = wp.vec3(0.0, 0.0, 0.0)
        key = centre_key(seen, frame, y, x)
        if key != _EMPTY:
            face = int(key & _FACE)
            i = surface.faces[face]
            s = centre_shares(seen, surface, frame, face, x, y)
            normal = wp.normalize(surface.normals[frame, i[0]] * s[0] + surface.normals[frame, i[1]] * s[1] + surface.normals[frame, i[2]] * s[2])
        normals[frame, y, x] = normal


@no_type_check
@wp.kernel
def resolve_mask(seen: Seen, mask: wp.array3d(dtype=wp.uint8), columns: wp.int32):
    """1 where something is at a pixel's centre."""
    frame, y, piece = wp.tid()
    for x in range(piece * columns, wp.min((piece + 1) * columns, mask.shape[2])):
        mask[frame, y, x] = wp.uint8(centre_key(seen, frame, y, x) != _EMPTY)
