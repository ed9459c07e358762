"""Warp kernels that turn what was seen (`raster_kernels.py`) into pictures: light (`shade_kernels.py`) before the background, and labels."""

from typing import no_type_check

import warp as wp

from seqgen.render.raster_kernels import ScreenVertex, corner_shares, on_picture, rank_of
from seqgen.render.shade_kernels import Light, Materials, Surface, light_at, linear_from_levels

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

_SHIFT = wp.constant(12)  # a pixel has 1 << 12 steps
_EMPTY = wp.constant(wp.uint64(0xFFFFFFFFFFFFFFFF))
_FACE = wp.constant(wp.uint64(0xFFFFFFFF))
_FLAT_M = wp.constant(0.003)  # samples of one pixel this near in depth and of one material are lit once


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
@wp.func
def about_same(surface: Surface, key: wp.uint64, other: wp.uint64, perspective: wp.bool):
    """Whether two samples of a pixel see about the same place of one material, so that light is worked out for one of them only."""
    rank = rank_of(key)
    near = _FLAT_M
    if perspective:
        near = _FLAT_M * rank * rank
    if wp.abs(rank_of(other) - rank) > near:
        return False
    return surface.face_materials[int(key & _FACE)] == surface.face_materials[int(other & _FACE)]


@no_type_check
@wp.func
def lit_once(surface: Surface, keys: wp.array4d(dtype=wp.uint64), frame: wp.int32, y: wp.int32, x: wp.int32, perspective: wp.bool):
    """Whether all samples of a pixel see about what its centre does."""
    centre = keys[frame, y, x, 0]
    for sample in range(1, keys.shape[3]):
        key = keys[frame, y, x, sample]
        if key == _EMPTY or not about_same(surface, centre, key, perspective):
            return False
    return True


@no_type_check
@wp.kernel
def resolve(
    screen: wp.array3d(dtype=ScreenVertex),
    boxes: wp.array2d(dtype=wp.int32),
    keys: wp.array4d(dtype=wp.uint64),
    offsets: wp.array(dtype=wp.vec2i),
    perspective: wp.bool,
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
    """One thread a piece of a row, `columns` wide: labels of the face that won the pixel's centre (sample 0), light of those that won the others."""
    frame, y, piece = wp.tid()
    inside_y = y >= boxes[frame, 1] and y <= -boxes[frame, 3]
    moving = screen.shape[0] > 1
    samples = keys.shape[3] - 1
    for x in range(piece * columns, wp.min((piece + 1) * columns, radiance.shape[2])):
        depth = wp.float32(0.0)
        part = wp.uint8(0)
        covered = wp.int32(0)
        linear = wp.vec3(0.0, 0.0, 0.0)
        if inside_y and x >= boxes[frame, 0] and x <= -boxes[frame, 2]:
            key = keys[frame, y, x, 0]
            if key != _EMPTY:
                face = int(key & _FACE)
                corners = surface.faces[face]
                shares = shares_in(surface, screen, 0, frame, face, x << _SHIFT, y << _SHIFT)
                depth = shares[0] * screen[0, frame, corners[0]].depth + shares[1] * screen[0, frame, corners[1]].depth + shares[2] * screen[0, frame, corners[2]].depth
                part = part_at(surface, face, shares)
                if samples == 0 or (not moving and lit_once(surface, keys, frame, y, x, perspective)):
                    linear = light_at(surface, materials, light, decode, perspective, frame, face, shares)
                    covered = samples + int(samples == 0)
            if covered == 0:
                last_key = _EMPTY
                last_light = wp.vec3(0.0, 0.0, 0.0)
                for sample in range(1, samples + 1):
                    key = keys[frame, y, x, sample]
                    if key != _EMPTY:
                        if moving or last_key == _EMPTY or not about_same(surface, last_key, key, perspective):
                            face = int(key & _FACE)
                            moment = wp.int32(0)
                            if moving:
                                moment = sample
                            offset = offsets[sample]
                            shares = shares_in(surface, screen, moment, frame, face, (x << _SHIFT) + offset[0], (y << _SHIFT) + offset[1])
                            last_light = light_at(surface, materials, light, decode, perspective, frame, face, shares)
                            last_key = key
                        linear += last_light
                        covered += 1
                if covered > 0:
                    linear = linear / float(samples)
        depths[frame, y, x] = depth
        parts[frame, y, x] = part
        total = wp.max(samples, 1)
        if covered < total:
            linear += behind(background, decode, frame, x, y) * (float(total - covered) / float(total))
        radiance[frame, y, x] = linear


@no_type_check
@wp.kernel
def resolve_motion(
    screen: wp.array3d(dtype=ScreenVertex),
    boxes: wp.array2d(dtype=wp.int32),
    keys: wp.array4d(dtype=wp.uint64),
    intrinsics: wp.array(dtype=wp.mat33),
    perspective: wp.bool,
    surface: Surface,
    background: Background,
    flow: wp.array3d(dtype=wp.vec2),
    columns: wp.int32,
):
    """Where what is seen at a pixel's centre goes until the next frame; in the last frame nowhere."""
    frame, y, piece = wp.tid()
    last = frame + 1 == flow.shape[0]
    inside_y = y >= boxes[frame, 1] and y <= -boxes[frame, 3]
    for x in range(piece * columns, wp.min((piece + 1) * columns, flow.shape[2])):
        moved = wp.vec2(0.0, 0.0)
        if not last:
            key = _EMPTY
            if inside_y and x >= boxes[frame, 0] and x <= -boxes[frame, 2]:
                key = keys[frame, y, x, 0]
            if key == _EMPTY:
                across = background.next_from_pixel[frame, 0]
                down = background.next_from_pixel[frame, 1]
                moved = wp.vec2(across[0] * float(x) + across[1] * float(y) + across[2], down[0] * float(x) + down[1] * float(y) + down[2])
            else:
                face = int(key & _FACE)
                i = surface.faces[face]
                s = shares_in(surface, screen, 0, frame, face, x << _SHIFT, y << _SHIFT)
                p = surface.vertices[frame + 1, i[0]] * s[0] + surface.vertices[frame + 1, i[1]] * s[1] + surface.vertices[frame + 1, i[2]] * s[2]
                place = on_picture(p, intrinsics[frame + 1], perspective)
                if place[2] > 0.0:
                    moved = wp.vec2(place[0] - float(x), place[1] - float(y))
        flow[frame, y, x] = moved


@no_type_check
@wp.kernel
def resolve_normals(
    screen: wp.array3d(dtype=ScreenVertex),
    boxes: wp.array2d(dtype=wp.int32),
    keys: wp.array4d(dtype=wp.uint64),
    surface: Surface,
    normals: wp.array3d(dtype=wp.vec3),
    columns: wp.int32,
):
    """The interpolated unit normal at a pixel's centre, 0 where there is no surface."""
    frame, y, piece = wp.tid()
    inside_y = y >= boxes[frame, 1] and y <= -boxes[frame, 3]
    for x in range(piece * columns, wp.min((piece + 1) * columns, normals.shape[2])):
        normal = wp.vec3(0.0, 0.0, 0.0)
        if inside_y and x >= boxes[frame, 0] and x <= -boxes[frame, 2]:
            key = keys[frame, y, x, 0]
            if key != _EMPTY:
                face = int(key & _FACE)
                i = surface.faces[face]
                s = shares_in(surface, screen, 0, frame, face, x << _SHIFT, y << _SHIFT)
                normal = wp.normalize(surface.normals[frame, i[0]] * s[0] + surface.normals[frame, i[1]] * s[1] + surface.normals[frame, i[2]] * s[2])
        normals[frame, y, x] = normal


@no_type_check
@wp.kernel
def resolve_mask(boxes: wp.array2d(dtype=wp.int32), keys: wp.array4d(dtype=wp.uint64), mask: wp.array3d(dtype=wp.uint8), columns: wp.int32):
    """1 where something was drawn."""
    frame, y, piece = wp.tid()
    inside_y = y >= boxes[frame, 1] and y <= -boxes[frame, 3]
    for x in range(piece * columns, wp.min((piece + 1) * columns, mask.shape[2])):
        drawn = wp.uint8(0)
        if inside_y and x >= boxes[frame, 0] and x <= -boxes[frame, 2]:
            if keys[frame, y, x, 0] != _EMPTY:
                drawn = wp.uint8(1)
        mask[frame, y, x] = drawn
