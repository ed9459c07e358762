"""Warp kernels that find the pixels at an edge of what is seen, which need several samples: all others are lit once, at their centre."""

from typing import no_type_check

import warp as wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

FLAT_M = 0.003  # neighbouring places this near in depth and of one material are lit as one

_FLAT_M = wp.constant(FLAT_M)


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
