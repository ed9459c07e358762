"""The Warp kernel that turns what was seen (`triangle_kernels.py`, `edge_kernels.py`) into pictures: light (`shade_kernels.py`) before the background, and labels.

In C++: points of pixels and of samples are listed until the lists are full, then worked out together.
"""

from typing import no_type_check

import warp as wp

from seqgen.render.background_kernels import Background, fill_background
from seqgen.render.edge_kernels import FLAT_M
from seqgen.render.raster_kernels import Moments, ScreenVertex
from seqgen.render.shade_kernels import LIGHT
from seqgen.render.shadow import SHADOW_BIAS_M, SHADOW_OFFSET_M
from seqgen.render.surface_kernels import Light, Materials, Surface
from seqgen.scene.scene import TERMINATOR

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

_FLAT_M = wp.constant(FLAT_M)
_TERMINATOR = wp.constant(TERMINATOR)
_BIAS = wp.constant(SHADOW_BIAS_M)
_OFFSET = wp.constant(SHADOW_OFFSET_M)


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
