"""Warp kernels that draw triangles: who is nearest at the centres of pixels, which pixels are at an edge, and who is nearest at the samples of those.

The innermost loops are C++, which Warp passes on as it is: its own loops reckon with any stride at every access and take half as long again.
"""

from typing import no_type_check

import warp as wp

from seqgen.render.raster_kernels import SUBPIXELS, ScreenVertex, twice_area

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

FLAT_M = 0.003  # neighbouring places this near in depth and of one material are lit as one

_STEP = wp.constant(SUBPIXELS)
_HALF = wp.constant(SUBPIXELS // 2)
_SHIFT = wp.constant(SUBPIXELS.bit_length() - 1)
_FLAT_M = wp.constant(FLAT_M)


@no_type_check
@wp.struct
class Triangle:
    """A face on the picture. `area` is twice its area, 0 or less for one that is not drawn; `ranks` of its corners over that area: what is linear on the
    picture and grows with depth, -1/z, or z itself for weak perspective."""

    a: ScreenVertex
    b: ScreenVertex
    c: ScreenVertex
    area: wp.int64
    ranks: wp.vec3


@no_type_check
@wp.func
def triangle_of(screen: wp.array3d(dtype=ScreenVertex), moment: wp.int32, frame: wp.int32, corners: wp.vec3i, perspective: wp.bool):
    t = Triangle()
    t.a = screen[moment, frame, corners[0]]
    t.b = screen[moment, frame, corners[1]]
    t.c = screen[moment, frame, corners[2]]
    t.area = wp.int64(0)
    if t.a.weight != 0.0 and t.b.weight != 0.0 and t.c.weight != 0.0:
        t.area = twice_area(t.b, t.c, t.a.x, t.a.y)
        ranks = wp.vec3(t.a.depth, t.b.depth, t.c.depth)
        if perspective:
            ranks = -wp.vec3(t.a.weight, t.b.weight, t.c.weight)
        if t.area > wp.int64(0):
            t.ranks = ranks / float(t.area)
    return t


@no_type_check
@wp.func
def span_of(a: wp.int32, b: wp.int32, c: wp.int32, reach: wp.int32, size: wp.int32):
    """First and last of `size` columns (or rows) with places within `reach` (1/4096 px) of their pixels' centres that a triangle of these x (or y) may cover."""
    low = wp.min(a, wp.min(b, c)) - reach
    high = wp.max(a, wp.max(b, c)) + reach
    return wp.max((low + _STEP - 1) >> _SHIFT, 0), wp.min(high >> _SHIFT, size - 1)


@no_type_check
@wp.func_native("""
    const int step = 1 << 12;
    const long long right_a = (long long)(t.c.y - t.b.y) * step, right_b = (long long)(t.a.y - t.c.y) * step;
    for (int row = row_low; row <= row_high; ++row) {
        const int x = column_low << 12, y = row << 12;
        long long edge_a = (long long)(t.c.x - x) * (t.b.y - y) - (long long)(t.c.y - y) * (t.b.x - x);
        long long edge_b = (long long)(t.a.x - x) * (t.c.y - y) - (long long)(t.a.y - y) * (t.c.x - x);
        unsigned long long* keys_of_row = (unsigned long long*)keys.data + ((size_t)frame * keys.shape[1] + row) * keys.shape[2];
        for (int column = column_low; column <= column_high; ++column) {
            const long long edge_c = t.area - edge_a - edge_b;
            if ((edge_a | edge_b | edge_c) >= 0) {
                const float rank = (float)edge_a * t.ranks.c[0] + (float)edge_b * t.ranks.c[1] + (float)edge_c * t.ranks.c[2];
                unsigned int bits = __builtin_bit_cast(unsigned int, rank);
                bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
                wp::atomic_min(keys_of_row + column, (unsigned long long)bits << 32 | (unsigned int)face);
            }
            edge_a += right_a;
            edge_b += right_b;
        }
    }
""")
def cover(
    t: Triangle,
    face: wp.int32,
    frame: wp.int32,
    column_low: wp.int32,
    column_high: wp.int32,
    row_low: wp.int32,
    row_high: wp.int32,
    keys: wp.array3d(dtype=wp.uint64),
):
    """Lowers the keys of the pixels whose centres a triangle covers."""


@no_type_check
@wp.kernel
def rasterise(screen: wp.array3d(dtype=ScreenVertex), faces: wp.array(dtype=wp.vec3i), perspective: wp.bool, keys: wp.array3d(dtype=wp.uint64)):
    """One thread a triangle: the centre of every pixel keeps the least key that covers it. Edges count as covered."""
    frame, face = wp.tid()
    t = triangle_of(screen, 0, frame, faces[face], perspective)
    if t.area <= wp.int64(0):
        return
    column_low, column_high = span_of(t.a.x, t.b.x, t.c.x, 0, keys.shape[2])
    row_low, row_high = span_of(t.a.y, t.b.y, t.c.y, 0, keys.shape[1])
    if column_low <= column_high and row_low <= row_high:
        cover(t, face, frame, column_low, column_high, row_low, row_high, keys)


@no_type_check
@wp.func_native("""
    typedef unsigned long long key;
    const int width = centres.shape[2];
    const key nothing = ~0ull;
    const key* here = (const key*)centres.data + ((size_t)frame * centres.shape[1] + y) * width;
    const key* over = (const key*)centres.data + ((size_t)frame * centres.shape[1] + above) * width;
    const key* under = (const key*)centres.data + ((size_t)frame * centres.shape[1] + below) * width;
    unsigned char* marks = (unsigned char*)several.data + ((size_t)frame * centres.shape[1] + y) * width;
    #pragma clang loop vectorize(assume_safety)
    for (int x = left; x <= right; ++x) {
        const key seen[5] = {here[x], here[x > left ? x - 1 : x], here[x < right ? x + 1 : x], over[x], under[x]};
        float rank[5];
        int material[5];
        for (int k = 0; k < 5; ++k) {
            const unsigned int bits = (unsigned int)(seen[k] >> 32);
            rank[k] = __builtin_bit_cast(float, bits & 0x80000000u ? bits & 0x7FFFFFFFu : ~bits);
            material[k] = seen[k] == nothing ? -1 : face_materials.data[seen[k] == nothing ? 0u : (unsigned int)seen[k]];
        }
        const float across = rank[1] + rank[2] - 2.0f * rank[0], down = rank[3] + rank[4] - 2.0f * rank[0];
        const float near = flat_m * (perspective ? rank[0] * rank[0] : 1.0f);
        const bool one = (material[0] == material[1]) & (material[0] == material[2]) & (material[0] == material[3]) & (material[0] == material[4]);
        const bool even = (material[0] < 0) | ((across <= near) & (across >= -near) & (down <= near) & (down >= -near));
        marks[x] = !(one & even) | everywhere;
    }
    const int count = samples.shape[3];
    key* keys = (key*)samples.data + ((size_t)frame * centres.shape[1] + y) * width * count;
    for (int x = left; x <= right; ++x)
        if (marks[x])
            for (int sample = 0; sample < count; ++sample)
                keys[(size_t)x * count + sample] = nothing;
""")
def mark_row(
    centres: wp.array3d(dtype=wp.uint64),
    face_materials: wp.array(dtype=wp.int32),
    perspective: wp.bool,
    everywhere: wp.bool,
    flat_m: wp.float32,
    frame: wp.int32,
    y: wp.int32,
    above: wp.int32,
    below: wp.int32,
    left: wp.int32,
    right: wp.int32,
    several: wp.array3d(dtype=wp.uint8),
    samples: wp.array4d(dtype=wp.uint64),
):
    """Marks the pixels from `left` to `right` that are at an edge, and empties their samples: two neighbours on opposite sides and the pixel do not see one
    smooth surface of one material, nor all nothing. Ranks of a plane lie on a line, however steep it is."""


@no_type_check
@wp.kernel
def mark(
    boxes: wp.array2d(dtype=wp.int32),
    centres: wp.array3d(dtype=wp.uint64),
    face_materials: wp.array(dtype=wp.int32),
    perspective: wp.bool,
    everywhere: wp.bool,
    several: wp.array3d(dtype=wp.uint8),
    samples: wp.array4d(dtype=wp.uint64),
):
    """One thread a row: which pixels of the box need their samples, which are emptied: those at an edge of what is seen, or all."""
    frame, y = wp.tid()
    if y < boxes[frame, 1] or y > -boxes[frame, 3]:
        return
    left = wp.max(boxes[frame, 0], 0)
    right = wp.min(-boxes[frame, 2], centres.shape[2] - 1)
    above = wp.max(y - 1, wp.max(boxes[frame, 1], 0))
    below = wp.min(y + 1, wp.min(-boxes[frame, 3], centres.shape[1] - 1))
    mark_row(centres, face_materials, perspective, everywhere, _FLAT_M, frame, y, above, below, left, right, several, samples)


@no_type_check
@wp.func_native("""
    const unsigned char* wanted = (const unsigned char*)several.data + (size_t)frame * keys.shape[1] * keys.shape[2];
    unsigned long long* keys_of_frame = (unsigned long long*)keys.data + (size_t)frame * keys.shape[1] * keys.shape[2] * keys.shape[3];
    for (int row = row_low; row <= row_high; ++row)
        for (int column = column_low; column <= column_high; ++column) {
            const size_t pixel = (size_t)row * keys.shape[2] + column;
            if (!wanted[pixel])
                continue;
            for (int sample = first; sample < last; ++sample) {
                const int x = (column << 12) + offsets.data[sample].c[0], y = (row << 12) + offsets.data[sample].c[1];
                const long long edge_a = (long long)(t.c.x - x) * (t.b.y - y) - (long long)(t.c.y - y) * (t.b.x - x);
                const long long edge_b = (long long)(t.a.x - x) * (t.c.y - y) - (long long)(t.a.y - y) * (t.c.x - x);
                const long long edge_c = t.area - edge_a - edge_b;
                if ((edge_a | edge_b | edge_c) >= 0) {
                    const float rank = (float)edge_a * t.ranks.c[0] + (float)edge_b * t.ranks.c[1] + (float)edge_c * t.ranks.c[2];
                    unsigned int bits = __builtin_bit_cast(unsigned int, rank);
                    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
                    wp::atomic_min(keys_of_frame + pixel * keys.shape[3] + sample, (unsigned long long)bits << 32 | (unsigned int)face);
                }
            }
        }
""")
def cover_samples(
    t: Triangle,
    face: wp.int32,
    frame: wp.int32,
    column_low: wp.int32,
    column_high: wp.int32,
    row_low: wp.int32,
    row_high: wp.int32,
    offsets: wp.array(dtype=wp.vec2i),
    first: wp.int32,
    last: wp.int32,
    several: wp.array3d(dtype=wp.uint8),
    keys: wp.array4d(dtype=wp.uint64),
):
    """Lowers the keys of the samples that a triangle covers, in the pixels that need them."""


@no_type_check
@wp.kernel
def rasterise_samples(
    screen: wp.array3d(dtype=ScreenVertex),
    moment: wp.int32,
    faces: wp.array(dtype=wp.vec3i),
    perspective: wp.bool,
    offsets: wp.array(dtype=wp.vec2i),
    first: wp.int32,
    last: wp.int32,
    several: wp.array3d(dtype=wp.uint8),
    keys: wp.array4d(dtype=wp.uint64),
):
    """One thread a triangle: samples `first` to `last` - 1 of the pixels that need several, at `offsets` (1/4096 px) from their centres."""
    frame, face = wp.tid()
    t = triangle_of(screen, moment, frame, faces[face], perspective)
    if t.area > wp.int64(0):
        column_low, column_high = span_of(t.a.x, t.b.x, t.c.x, _HALF, keys.shape[2])
        row_low, row_high = span_of(t.a.y, t.b.y, t.c.y, _HALF, keys.shape[1])
        cover_samples(t, face, frame, column_low, column_high, row_low, row_high, offsets, first, last, several, keys)
