"""Warp kernels that find the pixels at an edge of what is seen, which need several samples: all others are lit once, at their centre."""

from typing import no_type_check

import warp as wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

FLAT_M = 0.003  # neighbouring places this near in depth and of one material are lit as one

_FLAT_M = wp.constant(FLAT_M)


@no_type_check
@wp.func_native("""
    typedef unsigned long long key_type;
    const key_type nothing = ~0ull;
    const int width = several.shape[2], height = several.shape[1], count = samples.shape[3];
    const key_type* keys = (const key_type*)centres.data + (size_t)slot * height * width;
    unsigned char* marks = (unsigned char*)several.data + (size_t)slot * height * width;
    key_type* sample_keys = (key_type*)samples.data + (size_t)slot * height * width * count;
    const int* box = boxes.data + 4 * frame;
    const int low_x = wp::max(box[0], 0), high_x = wp::min(-box[2], width - 1), low_y = wp::max(box[1], 0), high_y = wp::min(-box[3], height - 1);
    if (low_x > high_x || low_y > high_y)
        return;  // all of it lies beside the picture
#if defined(__CUDA_ARCH__)
    const int piece = 1;
#else
    const int piece = 64;
#endif
    float rank[3][piece + 2];
    int material[3][piece + 2];
    bool bare[3];
    const int end = wp::min(right, high_x + 1), end_row = wp::min(bottom, high_y + 1), first_row = wp::max(top, low_y);
    for (int begin = wp::max(left, low_x); begin < end; begin += piece) {
        const int length = wp::min(piece, end - begin);
        // ranks and materials (-1: none) of a row from the column before the piece to the one after, each in the place of a row three before
        auto read = [&](int row) {
            const int line = (row + 3) % 3;
            const key_type* seen = keys + (size_t)wp::min(wp::max(row, low_y), high_y) * width;
            auto read_one = [&](int i, int column) {
                const key_type key = seen[column];
                const unsigned int bits = (unsigned int)(key >> 32);
                rank[line][i] = __builtin_bit_cast(float, bits & 0x80000000u ? bits & 0x7FFFFFFFu : ~bits);
                material[line][i] = key == nothing ? -1 : face_materials.data[key == nothing ? 0u : (unsigned int)key];
            };
            const int before = wp::max(begin - 1, low_x), after = wp::min(begin + length, high_x);
            key_type all = seen[before] & seen[after];
            for (int i = 0; i < length; ++i)
                all &= seen[begin + i];
            bare[line] = all == nothing;
            if (bare[line]) {
                for (int i = 0; i < length + 2; ++i)
                    material[line][i] = -1;
                return;
            }
            read_one(0, before);
            read_one(length + 1, after);
            #pragma clang loop vectorize(assume_safety)
            for (int i = 0; i < length; ++i)
                read_one(i + 1, begin + i);
        };
        read(first_row - 1);
        read(first_row);
        for (int row = first_row; row < end_row; ++row) {
            read(row + 1);
            const int over = (row + 2) % 3, here = row % 3, under = (row + 1) % 3;
            unsigned char* marks_here = marks + (size_t)row * width + begin;
            int found = 0;
            if (bare[0] & bare[1] & bare[2] & !everywhere) {
                for (int i = 0; i < length; ++i)
                    marks_here[i] = 0;
                continue;
            }
            #pragma clang loop vectorize(assume_safety)
            for (int i = 0; i < length; ++i) {
                const float middle = rank[here][i + 1], near = flat_m * (perspective ? middle * middle : 1.0f);
                const float across = rank[here][i] + rank[here][i + 2] - 2.0f * middle, down = rank[over][i + 1] + rank[under][i + 1] - 2.0f * middle;
                const int one = material[here][i + 1];
                const bool same = (one == material[here][i]) & (one == material[here][i + 2]) & (one == material[over][i + 1]) & (one == material[under][i + 1]);
                const bool even = (one < 0) | ((across <= near) & (across >= -near) & (down <= near) & (down >= -near));
                const int mark = !(same & even) | everywhere;
                marks_here[i] = mark;
                found |= mark;
            }
            for (int i = 0; found && i < length; ++i)
                if (marks_here[i])
                    for (int sample = 0; sample < count; sample += 4)  // four in one go, even into the next pixel: no more than emptied
                        for (int k = 0; k < 4; ++k)
                            sample_keys[((size_t)row * width + begin + i) * count + sample + k] = nothing;
        }
    }
""")
def mark_piece(
    boxes: wp.array2d(dtype=wp.int32),
    centres: wp.array3d(dtype=wp.uint64),
    face_materials: wp.array(dtype=wp.int32),
    perspective: wp.bool,
    everywhere: wp.bool,
    flat_m: wp.float32,
    frame: wp.int32,
    slot: wp.int32,
    top: wp.int32,
    bottom: wp.int32,
    left: wp.int32,
    right: wp.int32,
    several: wp.array3d(dtype=wp.uint8),
    samples: wp.array4d(dtype=wp.uint64),
):
    """Marks the pixels of a piece of the frame's box that are at an edge, and empties their samples: two neighbours on opposite sides and the pixel do not see
    one smooth surface of one material, nor all nothing. Ranks of a plane lie on a line, however steep it is."""


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
    rows: wp.int32,
    columns: wp.int32,
):
    """One thread a piece of a picture: which pixels of the box need their samples, which are emptied: those at an edge of what is seen, or all."""
    frame, i, j = wp.tid()
    bottom = wp.min((i + 1) * rows, several.shape[1])
    right = wp.min((j + 1) * columns, several.shape[2])
    mark_piece(boxes, centres, face_materials, perspective, everywhere, _FLAT_M, frame, frame, i * rows, bottom, j * columns, right, several, samples)
