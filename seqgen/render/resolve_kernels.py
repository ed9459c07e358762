"""Warp kernels that turn what was seen (`raster_kernels.py`) into pictures: light (`shade_kernels.py`) before the background, and labels."""

from typing import no_type_check

import warp as wp

from seqgen.render.raster_kernels import ScreenVertex, corner_shares, on_picture, rank_of
from seqgen.render.shade_kernels import Light, Materials, Surface, light_at
from seqgen.render.triangle_kernels import FLAT_M

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

_SHIFT = wp.constant(12)  # a pixel has 1 << 12 steps
_EMPTY = wp.constant(wp.uint64(0xFFFFFFFFFFFFFFFF))
_FACE = wp.constant(wp.uint64(0xFFFFFFFF))
_FLAT_M = wp.constant(FLAT_M)


@no_type_check
@wp.struct
class Background:
    """A photo's texels, red in the lowest byte; `photo_from_pixel` of every moment; `next_from_pixel` says where what a pixel shows is in the next frame."""

    photo: wp.array2d(dtype=wp.uint32)
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
@wp.func_native("""
    const int piece = 64, width = photo.shape[1], height = photo.shape[0], moments = maps.shape[0];
    const float steps = 16.0f / (moments > 1 ? moments - 1 : 1), last_u = width - 1, last_v = height - 1;
    float* out = (float*)radiance.data + 3 * (((size_t)frame * radiance.shape[1] + y) * radiance.shape[2]);
    for (int begin = first; begin < last; begin += piece) {
        const int count = last - begin < piece ? last - begin : piece;
        float red[piece], green[piece], blue[piece];
        for (int i = 0; i < count; ++i)
            red[i] = green[i] = blue[i] = 0.0f;
        for (int moment = moments > 1 ? 1 : 0; moment < moments; ++moment) {
            const float* map = (const float*)maps.data + 6 * ((size_t)moment * maps.shape[1] + frame);
            const float across = map[1] * y + map[2], down = map[4] * y + map[5];
            #pragma clang loop vectorize(assume_safety)
            for (int i = 0; i < count; ++i) {
                float u = map[0] * (float)(begin + i) + across, v = map[3] * (float)(begin + i) + down;
                u = u > 0.0f ? (u < last_u ? u : last_u) : 0.0f;
                v = v > 0.0f ? (v < last_v ? v : last_v) : 0.0f;
                const int left = (int)u, top = (int)v;
                const float s = u - (float)left, t = v - (float)top;
                const int right = left + (left + 1 < width), below = top + (top + 1 < height);
                const unsigned int a = photo.data[top * width + left], b = photo.data[top * width + right];
                const unsigned int c = photo.data[below * width + left], d = photo.data[below * width + right];
                const float share_a = (1.0f - s) * (1.0f - t), share_b = s * (1.0f - t), share_c = (1.0f - s) * t, share_d = s * t;
                red[i] += (float)(int)(a & 255u) * share_a + (float)(int)(b & 255u) * share_b + (float)(int)(c & 255u) * share_c + (float)(int)(d & 255u) * share_d;
                green[i] += (float)(int)(a >> 8 & 255u) * share_a + (float)(int)(b >> 8 & 255u) * share_b
                    + (float)(int)(c >> 8 & 255u) * share_c + (float)(int)(d >> 8 & 255u) * share_d;
                blue[i] += (float)(int)(a >> 16 & 255u) * share_a + (float)(int)(b >> 16 & 255u) * share_b
                    + (float)(int)(c >> 16 & 255u) * share_c + (float)(int)(d >> 16 & 255u) * share_d;
            }
        }
        #pragma clang loop vectorize(assume_safety)
        for (int i = 0; i < count; ++i) {
            out[3 * (begin + i)] = decode.data[(int)(red[i] * steps + 0.5f)];
            out[3 * (begin + i) + 1] = decode.data[(int)(green[i] * steps + 0.5f)];
            out[3 * (begin + i) + 2] = decode.data[(int)(blue[i] * steps + 0.5f)];
        }
    }
""")
def background_row(
    photo: wp.array2d(dtype=wp.uint32),
    maps: wp.array3d(dtype=wp.vec3),
    decode: wp.array(dtype=wp.float32),
    frame: wp.int32,
    y: wp.int32,
    first: wp.int32,
    last: wp.int32,
    radiance: wp.array3d(dtype=wp.vec3),
):
    """Linear light of the photo in a row's pixels from `first` to before `last`: bilinear, edge pixels repeated; the mean level over the moments of the
    samples, or that at the frame's own where there is no other. In C++, because Warp's own loops are not vectorised."""


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
@wp.func
def about_same(face_materials: wp.array(dtype=wp.int32), key: wp.uint64, other: wp.uint64, perspective: wp.bool):
    """Whether two places of a pixel see about the same depth of one material."""
    rank = rank_of(key)
    near = _FLAT_M
    if perspective:
        near = _FLAT_M * rank * rank
    if wp.abs(rank_of(other) - rank) > near:
        return False
    return face_materials[int(key & _FACE)] == face_materials[int(other & _FACE)]


@no_type_check
@wp.func
def light_of_samples(
    seen: Seen, surface: Surface, materials: Materials, light: Light, frame: wp.int32, y: wp.int32, x: wp.int32, lit_key: wp.uint64, lit: wp.vec3
):
    """Mean light over all samples of a pixel, of those that nothing covers none, and the share that is covered. A sample that sees about what the last one
    did, or the place of `lit_key` whose light is `lit`, has its light."""
    moving = seen.screen.shape[0] > 1
    linear = wp.vec3(0.0, 0.0, 0.0)
    covered = wp.float32(0.0)
    last_key = lit_key
    last_light = lit
    for sample in range(seen.samples.shape[3]):
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
    return linear / float(seen.samples.shape[3]), covered / float(seen.samples.shape[3])


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
    inside_y = y >= seen.boxes[frame, 1] and y <= -seen.boxes[frame, 3]
    end = wp.min((piece + 1) * columns, radiance.shape[2])
    background_row(background.photo, background.photo_from_pixel, decode, frame, y, piece * columns, end, radiance)
    for x in range(piece * columns, end):
        depth = wp.float32(0.0)
        part = wp.uint8(0)
        covered = wp.float32(0.0)
        linear = wp.vec3(0.0, 0.0, 0.0)
        lit_key = _EMPTY
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
                    lit_key = key
            if several:
                linear, covered = light_of_samples(seen, surface, materials, light, frame, y, x, lit_key, linear)
        depths[frame, y, x] = depth
        parts[frame, y, x] = part
        if covered > 0.0:
            radiance[frame, y, x] = linear + radiance[frame, y, x] * (1.0 - covered)


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
