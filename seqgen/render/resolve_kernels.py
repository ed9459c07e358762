"""Warp kernels that turn what was seen (`raster_kernels.py`) into pictures: light (`shade_kernels.py`) before the background, and labels."""

from typing import no_type_check

import warp as wp

from seqgen.render.edge_kernels import FLAT_M
from seqgen.render.raster_kernels import Moments, ScreenVertex, corner_shares, on_picture
from seqgen.render.shade_kernels import LIGHT, Light, Materials, Surface
from seqgen.render.shadow import SHADOW_BIAS_M, SHADOW_OFFSET_M
from seqgen.scene.scene import TERMINATOR

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

_SHIFT = wp.constant(12)  # a pixel has 1 << 12 steps
_EMPTY = wp.constant(wp.uint64(0xFFFFFFFFFFFFFFFF))
_FACE = wp.constant(wp.uint64(0xFFFFFFFF))
_FLAT_M = wp.constant(FLAT_M)
_TERMINATOR = wp.constant(TERMINATOR)
_BIAS = wp.constant(SHADOW_BIAS_M)
_OFFSET = wp.constant(SHADOW_OFFSET_M)


@no_type_check
@wp.struct
class Background:
    """A photo's texels, red in the lowest byte, and `photo_from_pixel` of every moment."""

    photo: wp.array2d(dtype=wp.uint32)
    photo_from_pixel: wp.array3d(dtype=wp.vec3)


@no_type_check
@wp.func_native("""
    for (int row = first; row < last; ++row) {
        const unsigned char* texel = photo.data + ((size_t)(row + corner.c[1]) * photo.shape[1] + corner.c[0]) * 3;
        for (int column = 0; column < words.shape[1]; ++column, texel += 3)
            words.data[(size_t)row * words.shape[1] + column] = texel[0] | texel[1] << 8 | texel[2] << 16;
    }
""")
def pack_rows(photo: wp.array3d(dtype=wp.uint8), corner: wp.vec2i, first: wp.int32, last: wp.int32, words: wp.array2d(dtype=wp.uint32)):
    """A word a texel, red in the lowest byte, of a part of a photo that begins at `corner`."""


@no_type_check
@wp.kernel
def pack(photo: wp.array3d(dtype=wp.uint8), corner: wp.vec2i, words: wp.array2d(dtype=wp.uint32), piece: wp.int32):
    """One thread `piece` rows of the part of a photo that is shown."""
    _, i = wp.tid()
    pack_rows(photo, corner, i * piece, wp.min((i + 1) * piece, words.shape[0]), words)


@no_type_check
@wp.func_native("""
#if defined(__CUDA_ARCH__)
    const int piece = 1;
#else
    const int piece = 64;
#endif
    const int width = photo.shape[1], height = photo.shape[0], moments = maps.shape[0];
    const float steps = 16.0f / (moments > 1 ? moments - 1 : 1), last_u = width - 1, last_v = height - 1;
    auto fill = [&](int y, int first, int last) {
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
    };

    const int* box = boxes.data + 4 * frame;
    const int blocks = piece < 16 ? piece : 16;
    for (int y = top; y < bottom; ++y) {
        const bool in_box = y >= box[1] && y <= -box[3];
        const size_t row = ((size_t)slot * radiance.shape[1] + y) * radiance.shape[2];
        int shown = left;
        for (int begin = left; in_box && begin + blocks <= right; begin += blocks) {
            if (begin < box[0] || begin + blocks - 1 > -box[2])
                continue;
            int open = 0;
            for (int x = begin; x < begin + blocks; ++x)
                open |= (centres.data[row + x] == ~0ull) | several.data[row + x];
            if (open)
                continue;
            fill(y, shown, begin);
            shown = begin + blocks;
        }
        fill(y, shown, right);
    }
""")
def fill_background(
    photo: wp.array2d(dtype=wp.uint32),
    maps: wp.array3d(dtype=wp.vec3),
    decode: wp.array(dtype=wp.float32),
    boxes: wp.array2d(dtype=wp.int32),
    centres: wp.array3d(dtype=wp.uint64),
    several: wp.array3d(dtype=wp.uint8),
    frame: wp.int32,
    slot: wp.int32,
    top: wp.int32,
    bottom: wp.int32,
    left: wp.int32,
    right: wp.int32,
    radiance: wp.array3d(dtype=wp.vec3),
):
    """Linear light of the photo in a piece of the picture, but for stretches that a surface hides: bilinear, edge pixels repeated; the mean level over the moments
    of the samples, or that at the frame's own where there is no other."""


@no_type_check
@wp.func
def shares_in(surface: Surface, screen: wp.array3d(dtype=ScreenVertex), moment: wp.int32, frame: wp.int32, face: wp.int32, x: wp.int32, y: wp.int32):
    corners = surface.faces[face]
    return corner_shares(screen[moment, frame, corners[0]], screen[moment, frame, corners[1]], screen[moment, frame, corners[2]], x, y)


@no_type_check
@wp.struct
class Seen:
    """What the rasteriser found: keys of the pixels' centres, which pixels have samples of their own, their keys, and where and at which moment they are."""

    moments: Moments
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


# C++ of `place_points(from, count)`: the corners' perspective-correct shares, in `share[i]`, of places (x[i], y[i]) in 1/4096 px at a moment, inside their triangles
# `face[i]`; they sum to 1. What `corner_shares` does.
_SHARES = """
    const int vertices = seen.screen.shape[2];
    auto corners_of = [&](int i) { return (const int*)surface.faces.data + 3 * (size_t)face[i]; };
    auto place_point = [&](int i) {
        const auto* on_screen = seen.screen.data + ((size_t)moment[i] * seen.screen.shape[1] + frame) * vertices;
        const int* corner = corners_of(i);
        const auto &a = on_screen[corner[0]], &b = on_screen[corner[1]], &c = on_screen[corner[2]];
        const long long edge_a = (long long)(c.x - x[i]) * (b.y - y[i]) - (long long)(c.y - y[i]) * (b.x - x[i]);
        const long long edge_b = (long long)(a.x - x[i]) * (c.y - y[i]) - (long long)(a.y - y[i]) * (c.x - x[i]);
        const long long edge_c = (long long)(c.x - a.x) * (b.y - a.y) - (long long)(c.y - a.y) * (b.x - a.x) - edge_a - edge_b;
        const float first = (float)edge_a * a.weight, second = (float)edge_b * b.weight, third = (float)edge_c * c.weight, sum = first + second + third;
        share[0][i] = first / sum;
        share[1][i] = second / sum;
        share[2][i] = third / sum;
        depth[i] = share[0][i] * a.depth + (share[1][i] * b.depth + share[2][i] * c.depth);
    };
"""

_RESOLVE = """
#if defined(__CUDA_ARCH__)
    const int room = 12;  // of the lists: more than the centre and nine samples of the one pixel that a thread has
#else
    const int room = 128;
#endif
    typedef unsigned long long key_type;
    const key_type nothing = ~0ull;
    const int samples = seen.samples.shape[3], width = depths.shape[2];
    const bool moving = seen.screen.shape[0] > 1;
    const size_t start = (size_t)frame * depths.shape[1] * width, kept = (size_t)slot * depths.shape[1] * width;
    const key_type* centres = (const key_type*)seen.centres.data + kept;
    const key_type* sample_keys = (const key_type*)seen.samples.data + kept * samples;
    const unsigned char* several = (const unsigned char*)seen.several.data + kept;
    float *depth_of = depths.data + start, *light_of = (float*)(radiance.data + start);
    unsigned char* part_of = (unsigned char*)parts.data + start;
    for (int row = top; row < bottom; ++row)
        for (int column = left; column < right; ++column) {
            depth_of[row * width + column] = 0.0f;
            part_of[row * width + column] = 0;
        }

    int face[room], moment[room], x[room], y[room], pixel[room], split[room], split_point[room], num_terms[room], term[room];
    float share[4][room], depth[room];
""" + _SHARES + LIGHT + """
    auto rank_of = [](key_type key) {
        const unsigned int bits = (unsigned int)(key >> 32);
        return __builtin_bit_cast(float, bits & 0x80000000u ? bits & 0x7FFFFFFFu : ~bits);
    };
    auto about_same = [&](key_type one, key_type other) {
        const float rank = rank_of(one), apart = rank_of(other) - rank, near = seen.perspective ? flat_m * rank * rank : flat_m;
        return !(apart > near || -apart > near) && surface.face_materials.data[(unsigned int)one] == surface.face_materials.data[(unsigned int)other];
    };
    // of the candidates the one of largest weight, the first of equals
    auto part_at = [&](int i) {
        const unsigned char* candidates = (const unsigned char*)surface.corner_parts.data + 3 * (size_t)face[i];
        unsigned char part = candidates[0];
        if (candidates[1] != part || candidates[2] != part) {
            const float* of_corner = (const float*)surface.corner_weights.data + 9 * (size_t)face[i];
            float weight[3];
            for (int k = 0; k < 3; ++k)
                weight[k] = of_corner[k] * share[0][i] + of_corner[3 + k] * share[1][i] + of_corner[6 + k] * share[2][i];
            if (weight[1] > weight[0])
                part = candidates[1];
            if (weight[2] > wp::max(weight[0], weight[1]))
                part = candidates[2];
        }
        return part;
    };
    // a sample that sees about what the last one did, or the lit centre, has its light
    auto list_samples = [&](int at, int centre, int& count, int* terms) {
        int found = 0, last_point = centre;
        key_type last_key = centre < 0 ? nothing : centres[at];
        for (int sample = 0; sample < samples; ++sample) {
            const key_type key = sample_keys[(size_t)at * samples + sample];
            if (key == nothing)
                continue;
            if (moving || last_key == nothing || !about_same(last_key, key)) {
                face[count] = (int)key;
                moment[count] = moving ? sample + 1 : 0;
                x[count] = (at % width << 12) + seen.offsets.data[sample].c[0];
                y[count] = (at / width << 12) + seen.offsets.data[sample].c[1];
                last_key = key;
                last_point = count++;
            }
            terms[found++] = last_point;
        }
        return found;
    };

    const int* box = seen.boxes.data + 4 * frame;
    const int end_row = wp::min(bottom, 1 - box[3]), first_column = wp::max(left, box[0]), end_column = wp::min(right, 1 - box[2]);
    int row = wp::max(top, box[1]), column = first_column;
    bool full = true;
    while (full) {
        int centre_count = 0, splits = 0, need = 0;
        full = false;
        for (; row < end_row && !full; row += !full, column = full ? column : first_column)
            while (column < end_column && !full) {
                const int end = wp::min(column + 16, end_column);
                key_type all = nothing;
                unsigned char any = 0;
                for (int at = row * width + column; at < row * width + end; ++at) {
                    all &= centres[at];
                    any |= several[at];
                }
                if (all == nothing && !any)
                    column = end;
                for (; column < end; ++column) {
                    const int at = row * width + column, covered = centres[at] != nothing, apart = several[at] != 0;
                    need += covered + apart * samples;
                    full = need >= room;
                    if (full)
                        break;
                    face[centre_count] = (int)centres[at];
                    pixel[centre_count] = at;
                    moment[centre_count] = 0;
                    x[centre_count] = column << 12;
                    y[centre_count] = row << 12;
                    split[splits] = at;
                    split_point[splits] = covered && !moving ? centre_count : -1;
                    centre_count += covered;
                    splits += apart;
                }
            }
        #pragma clang loop vectorize(disable)
        for (int i = 0; i < centre_count; ++i)
            place_point(i);
        for (int i = 0; i < centre_count; ++i) {
            depth_of[pixel[i]] = depth[i];
            part_of[pixel[i]] = part_at(i);
        }
        const int lit_centres = moving ? 0 : centre_count;
        int count = lit_centres, terms = 0;
        for (int k = 0; k < splits; ++k)
            terms += num_terms[k] = list_samples(split[k], split_point[k], count, term + terms);
        #pragma clang loop vectorize(disable)
        for (int i = lit_centres; i < count; ++i)
            place_point(i);
        light_points(count);
        for (int i = 0; i < lit_centres; ++i)
            if (!several[pixel[i]])
                for (int k = 0; k < 3; ++k)
                    light_of[3 * pixel[i] + k] = lit[k][i];
        const int* next = term;
        for (int k = 0; k < splits; next += num_terms[k++]) {
            float sum[3] = {0.0f, 0.0f, 0.0f};
            for (int i = 0; i < num_terms[k]; ++i)
                for (int channel = 0; channel < 3; ++channel)
                    sum[channel] += lit[channel][next[i]];
            const float bare = 1.0f - (float)num_terms[k] / (float)samples;
            if (num_terms[k])
                for (int channel = 0; channel < 3; ++channel)
                    light_of[3 * split[k] + channel] = sum[channel] / (float)samples + light_of[3 * split[k] + channel] * bare;
        }
    }
"""


@no_type_check
@wp.func_native(_RESOLVE)
def resolve_piece(
    seen: Seen,
    surface: Surface,
    materials: Materials,
    light: Light,
    flat_m: wp.float32,
    terminator: wp.float32,
    shadow_bias: wp.float32,
    shadow_offset: wp.float32,
    frame: wp.int32,
    slot: wp.int32,
    top: wp.int32,
    bottom: wp.int32,
    left: wp.int32,
    right: wp.int32,
    radiance: wp.array3d(dtype=wp.vec3),
    depths: wp.array3d(dtype=wp.float32),
    parts: wp.array3d(dtype=wp.uint8),
):
    """Labels of the pixels of rows `top` to `bottom` - 1, columns `left` to `right` - 1, and their light before what `radiance` has: that of what is at a pixel's
    centre, or the mean over all its samples, of which those that nothing covers let the background through."""


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
    rows: wp.int32,
    columns: wp.int32,
):
    """One thread a piece of a picture, of so many rows and columns: labels of what is at the pixels' centres, light of that or of the pixels' samples."""
    frame, i, j = wp.tid()
    bottom = wp.min((i + 1) * rows, radiance.shape[1])
    right = wp.min((j + 1) * columns, radiance.shape[2])
    fill_background(
        background.photo, background.photo_from_pixel, decode, seen.boxes, seen.centres, seen.several, frame, frame, i * rows, bottom, j * columns, right, radiance
    )
    resolve_piece(
        seen, surface, materials, light, _FLAT_M, _TERMINATOR, _BIAS, _OFFSET, frame, frame, i * rows, bottom, j * columns, right, radiance, depths, parts
    )


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
