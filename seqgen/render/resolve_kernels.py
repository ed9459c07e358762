"""Warp kernels that turn what was seen (`raster_kernels.py`) into pictures: light (`shade_kernels.py`) before the background, and labels."""

from typing import no_type_check

import warp as wp

from seqgen.render.raster_kernels import ScreenVertex, about_same, corner_shares, on_picture
from seqgen.render.shade_kernels import Light, Materials, Surface, light_at, linear_from_levels

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

_SHIFT = wp.constant(12)  # a pixel has 1 << 12 steps
_EMPTY = wp.constant(wp.uint64(0xFFFFFFFFFFFFFFFF))
_FACE = wp.constant(wp.uint64(0xFFFFFFFF))


@no_type_check
@wp.struct
class Background:
    """`photo_from_pixel` of every moment; `next_from_pixel` says where what a pixel shows is in the next frame."""

    photo: wp.array2d(dtype=wp.vec3ub)
    photo_from_pixel: wp.array3d(dtype=wp.vec3)
    next_from_pixel: wp.array2d(dtype=wp.vec3)


@no_type_check
@wp.func
def part_at(surface: Surface, face: wp.int32, shares: wp.vec3):
    """The candidate of largest weight, the first of equals."""
    parts = surface.corner_parts[face]
    part = parts[0]
    if parts[1] != part or parts[2] != part:
        weights = wp.transpose(surface.corner_weights[face]) * shares
        if weights[1] > weights[0]:
            part = parts[1]
        if weights[2] > wp.max(weights[0], weights[1]):
            part = parts[2]
    return part


@no_type_check
@wp.func
def vec3_from_bytes(p: wp.vec3ub):
    return wp.vec3(float(p[0]), float(p[1]), float(p[2]))


@no_type_check
@wp.func
def background_at(background: Background, moment: wp.int32, frame: wp.int32, x: wp.float32, y: wp.float32):
    """sRGB levels 0..255 of the photo at a pixel: bilinear, edge pixels repeated."""
    across = background.photo_from_pixel[moment, frame, 0]
    down = background.photo_from_pixel[moment, frame, 1]
    last_column = background.photo.shape[1] - 1
    last_row = background.photo.shape[0] - 1
    u = wp.clamp(across[0] * x + across[1] * y + across[2], 0.0, float(last_column))
    v = wp.clamp(down[0] * x + down[1] * y + down[2], 0.0, float(last_row))
    left = int(u)
    top = int(v)
    right = wp.min(left + 1, last_column)
    bottom = wp.min(top + 1, last_row)
    s = u - float(left)
    t = v - float(top)
    upper = vec3_from_bytes(background.photo[top, left]) * (1.0 - s) + vec3_from_bytes(background.photo[top, right]) * s
    lower = vec3_from_bytes(background.photo[bottom, left]) * (1.0 - s) + vec3_from_bytes(background.photo[bottom, right]) * s
    return upper * (1.0 - t) + lower * t


@no_type_check
@wp.func
def behind(background: Background, decode: wp.array(dtype=wp.float32), frame: wp.int32, x: wp.int32, y: wp.int32):
    """Linear light of the background in a pixel: the mean over the moments of its samples, or at the frame's own where there is no other."""
    moments = background.photo_from_pixel.shape[0]
    levels = background_at(background, 0, frame, float(x), float(y))
    if moments > 1:
        levels = wp.vec3(0.0, 0.0, 0.0)
        for moment in range(1, moments):
            levels += background_at(background, moment, frame, float(x), float(y))
        levels = levels / float(moments - 1)
    return linear_from_levels(decode, levels)


@no_type_check
@wp.func
def shares_in(surface: Surface, screen: wp.array3d(dtype=ScreenVertex), moment: wp.int32, frame: wp.int32, face: wp.int32, x: wp.int32, y: wp.int32):
    corners = surface.faces[face]
    return corner_shares(screen[moment, frame, corners[0]], screen[moment, frame, corners[1]], screen[moment, frame, corners[2]], x, y)


@no_type_check
@wp.struct
class Seen:
    """What the rasteriser found: keys of the pixels' centres, which pixels have samples of their own, their keys, and where and at which moment they are."""

    boxes: wp.array2d(dtype=wp.int32)
    screen: wp.array3d(dtype=ScreenVertex)
    centres: wp.array3d(dtype=wp.uint64)
    several: wp.array3d(dtype=wp.uint8)
    samples: wp.array4d(dtype=wp.uint64)
    offsets: wp.array(dtype=wp.vec2i)
    perspective: wp.bool


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
def resolve(
    seen: Seen,
    surface: Surface,
    materials: Materials,
    light: Light,
    background: Background,
    decode: wp.array(dtype=wp.float32),
    radiance: wp.array3d(dtype=wp.vec3),
    depths: wp.array3d(dtype=wp.float32),
    parts: wp.array3d(dtype=wp.uint8),
    columns: wp.int32,
):
    """One thread a piece of a row, `columns` wide: labels of what is at the pixel's centre, light of that or of the pixel's samples."""
    frame, y, piece = wp.tid()
    moving = seen.screen.shape[0] > 1
    count = seen.samples.shape[3]
    inside_y = y >= seen.boxes[frame, 1] and y <= -seen.boxes[frame, 3]
    for x in range(piece * columns, wp.min((piece + 1) * columns, radiance.shape[2])):
        depth = wp.float32(0.0)
        part = wp.uint8(0)
        covered = wp.float32(0.0)
        linear = wp.vec3(0.0, 0.0, 0.0)
        last_key = _EMPTY
        if inside_y and x >= seen.boxes[frame, 0] and x <= -seen.boxes[frame, 2]:
            several = seen.several[frame, y, x] != wp.uint8(0)
            key = seen.centres[frame, y, x]
            if key != _EMPTY:
                face = int(key & _FACE)
                corners = surface.faces[face]
                shares = centre_shares(seen, surface, frame, face, x, y)
                depth = shares[0] * seen.screen[0, frame, corners[0]].depth
                depth += shares[1] * seen.screen[0, frame, corners[1]].depth + shares[2] * seen.screen[0, frame, corners[2]].depth
                part = part_at(surface, face, shares)
                if not moving or not several:
                    linear = light_at(surface, materials, light, seen.perspective, frame, face, shares)
                    covered = wp.float32(1.0)
                    last_key = key
            if several:
                last_light = linear
                linear = wp.vec3(0.0, 0.0, 0.0)
                covered = wp.float32(0.0)
                for sample in range(count):
                    key = seen.samples[frame, y, x, sample]
                    if key != _EMPTY:
                        if moving or last_key == _EMPTY or not about_same(surface.face_materials, last_key, key, seen.perspective):
                            face = int(key & _FACE)
                            moment = wp.int32(0)
                            if moving:
                                moment = sample + 1
                            offset = seen.offsets[sample]
                            shares = shares_in(surface, seen.screen, moment, frame, face, (x << _SHIFT) + offset[0], (y << _SHIFT) + offset[1])
                            last_light = light_at(surface, materials, light, seen.perspective, frame, face, shares)
                            last_key = key
                        linear += last_light
                        covered += 1.0
                linear = linear / float(count)
                covered = covered / float(count)
        depths[frame, y, x] = depth
        parts[frame, y, x] = part
        if covered < 1.0:
            linear += behind(background, decode, frame, x, y) * (1.0 - covered)
        radiance[frame, y, x] = linear


@no_type_check
@wp.kernel
def resolve_motion(
    seen: Seen,
    intrinsics: wp.array(dtype=wp.mat33),
    surface: Surface,
    background: Background,
    flow: wp.array3d(dtype=wp.vec2),
    columns: wp.int32,
):
    """Where what is seen at a pixel's centre goes until the next frame; in the last frame nowhere."""
    frame, y, piece = wp.tid()
    for x in range(piece * columns, wp.min((piece + 1) * columns, flow.shape[2])):
        moved = wp.vec2(0.0, 0.0)
        if frame + 1 < flow.shape[0]:
            key = centre_key(seen, frame, y, x)
            if key == _EMPTY:
                across = background.next_from_pixel[frame, 0]
                down = background.next_from_pixel[frame, 1]
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
