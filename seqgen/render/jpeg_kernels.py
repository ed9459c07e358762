"""The Warp kernels of a camera's JPEG: what pictures become by it, without the bytes between, whose coding loses nothing.

Every step is in integers and is that of libjpeg with its "islow" transform (Loeffler, Ligtenberg, Moschytz, Practical fast 1-D DCT algorithms with 11
multiplications, ICASSP 1989, in 13 bits), so that the pixels are those that Pillow reads back from what it wrote, to the bit, on the CPU and on CUDA.
Inner loops are C++, as in `sensor_kernels.py`.

    rgb ──> luma_of, chroma_of ──> through_blocks ──> rgb_of ──> rgb
"""

from typing import no_type_check

import warp as wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

BLOCK = 8
LANES = 8  # blocks beside one another that are worked on together


@no_type_check
@wp.func_native("""
    const int width = rgb.shape[2], height = rgb.shape[1], inside = last < width ? last : width;
    const unsigned char* in = (const unsigned char*)rgb.data + 3 * ((size_t)frame * height + (y < height ? y : height - 1)) * width;
    unsigned char* out = luma.data + ((size_t)frame * luma.shape[1] + y) * luma.shape[2];
    auto at = [in](int x) { return (unsigned char)((19595 * in[3 * x] + 38470 * in[3 * x + 1] + 7471 * in[3 * x + 2] + 32768) >> 16); };
    #pragma clang loop vectorize(assume_safety)
    for (int x = first; x < inside; ++x)
        out[x] = at(x);
    for (int x = first < width ? width : first; x < last; ++x)
        out[x] = at(width - 1);
""")
def luma_piece(rgb: wp.array3d(dtype=wp.vec3ub), luma: wp.array3d(dtype=wp.uint8), frame: wp.int32, y: wp.int32, first: wp.int32, last: wp.int32):
    """A row from `first` to before `last`; beyond the picture its last pixels are repeated."""


@no_type_check
@wp.kernel
def luma_of(rgb: wp.array3d(dtype=wp.vec3ub), luma: wp.array3d(dtype=wp.uint8), columns: wp.int32):
    """Luma (ITU-R BT.601 in 16 bits), in whole blocks."""
    frame, y, piece = wp.tid()
    luma_piece(rgb, luma, frame, y, piece * columns, wp.min((piece + 1) * columns, luma.shape[2]))


@no_type_check
@wp.func_native("""
    const int piece = 64, width = rgb.shape[2], height = rgb.shape[1], rows = (height + 1) / 2;
    const int top = 2 * (y < rows ? y : rows - 1), bottom = top + 1 < height ? top + 1 : top;
    const unsigned char* upper = (const unsigned char*)rgb.data + 3 * ((size_t)frame * height + top) * width;
    const unsigned char* lower = (const unsigned char*)rgb.data + 3 * ((size_t)frame * height + bottom) * width;
    unsigned char* blue = chroma.data + ((size_t)(2 * frame) * chroma.shape[1] + y) * chroma.shape[2];
    unsigned char* red = blue + (size_t)chroma.shape[1] * chroma.shape[2];
    auto blue_of = [](const unsigned char* p) { return (-11059 * p[0] - 21709 * p[1] + 32768 * p[2] + (128 << 16) + 32767) >> 16; };
    auto red_of = [](const unsigned char* p) { return (32768 * p[0] - 27439 * p[1] - 5329 * p[2] + (128 << 16) + 32767) >> 16; };
    for (int begin = first; begin < last; begin += piece) {
        const int count = last - begin < piece ? last - begin : piece;
        const int inside = 2 * (begin + count) < width ? 2 * count : (2 * begin < width ? width - 2 * begin : 0);
        int blues[2 * 64], reds[2 * 64];  // of two rows
        #pragma clang loop vectorize(assume_safety)
        for (int i = 0; i < inside; ++i) {
            const int place = 3 * (2 * begin + i);
            blues[i] = blue_of(upper + place) + blue_of(lower + place);
            reds[i] = red_of(upper + place) + red_of(lower + place);
        }
        for (int i = inside; i < 2 * count; ++i) {
            blues[i] = blue_of(upper + 3 * (width - 1)) + blue_of(lower + 3 * (width - 1));
            reds[i] = red_of(upper + 3 * (width - 1)) + red_of(lower + 3 * (width - 1));
        }
        #pragma clang loop vectorize(assume_safety)
        for (int i = 0; i < count; ++i) {
            const int up = 1 + (begin + i & 1);
            blue[begin + i] = (unsigned char)((blues[2 * i] + blues[2 * i + 1] + up) >> 2);
            red[begin + i] = (unsigned char)((reds[2 * i] + reds[2 * i + 1] + up) >> 2);
        }
    }
""")
def chroma_piece(rgb: wp.array3d(dtype=wp.vec3ub), chroma: wp.array3d(dtype=wp.uint8), frame: wp.int32, y: wp.int32, first: wp.int32, last: wp.int32):
    """A row from `first` to before `last`; beyond the picture its last pixels, or below it its last row of chroma, are repeated."""


@no_type_check
@wp.kernel
def chroma_of(rgb: wp.array3d(dtype=wp.vec3ub), chroma: wp.array3d(dtype=wp.uint8), columns: wp.int32):
    """Blue and red difference of each frame in turn, at half the size: means of four, rounded down and up by turns, in whole blocks."""
    frame, y, piece = wp.tid()
    chroma_piece(rgb, chroma, frame, y, piece * columns, wp.min((piece + 1) * columns, chroma.shape[2]))


@no_type_check
@wp.func_native("""
    constexpr int lanes = 8;
    const int width = samples.shape[2];
    unsigned char* strip = samples.data + ((size_t)plane * samples.shape[1] + 8 * row) * width;
    int block[64 * lanes] = {0};

    // Rotations of the four odd inputs t, of frequencies 7, 5, 3, 1 on either way.
    auto odd = [](int* t) {
        const int both = (t[0] + t[2] + t[1] + t[3]) * 9633;
        const int a = (t[0] + t[3]) * -7373, b = (t[1] + t[2]) * -20995;
        const int c = (t[0] + t[2]) * -16069 + both, d = (t[1] + t[3]) * -3196 + both;
        t[0] = t[0] * 2446 + a + c;
        t[1] = t[1] * 16819 + b + d;
        t[2] = t[2] * 25172 + b + c;
        t[3] = t[3] * 12299 + a + d;
    };
    auto rounded = [](int value, int bits) { return (value + (1 << (bits - 1))) >> bits; };
    auto forward = [&](int* v, int step, bool columns) {
        #pragma clang loop vectorize(assume_safety)
        for (int lane = 0; lane < lanes; ++lane) {
            int* at = v + lane;
            const int bits = columns ? 15 : 11;
            const int s0 = at[0] + at[7 * step], s1 = at[step] + at[6 * step], s2 = at[2 * step] + at[5 * step], s3 = at[3 * step] + at[4 * step];
            int t[4] = {at[3 * step] - at[4 * step], at[2 * step] - at[5 * step], at[step] - at[6 * step], at[0] - at[7 * step]};
            const int mean = s0 + s3 + s1 + s2, middle = s0 + s3 - s1 - s2, turned = (s1 - s2 + s0 - s3) * 4433;
            odd(t);
            at[0] = columns ? rounded(mean, 2) : mean * 4;
            at[4 * step] = columns ? rounded(middle, 2) : middle * 4;
            at[2 * step] = rounded(turned + (s0 - s3) * 6270, bits);
            at[6 * step] = rounded(turned - (s1 - s2) * 15137, bits);
            at[7 * step] = rounded(t[0], bits);
            at[5 * step] = rounded(t[1], bits);
            at[3 * step] = rounded(t[2], bits);
            at[step] = rounded(t[3], bits);
        }
    };
    auto backward = [&](int* v, int step, int bits) {
        #pragma clang loop vectorize(assume_safety)
        for (int lane = 0; lane < lanes; ++lane) {
            int* at = v + lane;
            const int turned = (at[2 * step] + at[6 * step]) * 4433;
            const int low = turned - at[6 * step] * 15137, high = turned + at[2 * step] * 6270;
            const int sum = (at[0] + at[4 * step]) * 8192, rest = (at[0] - at[4 * step]) * 8192;
            int t[4] = {at[7 * step], at[5 * step], at[3 * step], at[step]};
            odd(t);
            at[0] = rounded(sum + high + t[3], bits);
            at[7 * step] = rounded(sum + high - t[3], bits);
            at[step] = rounded(rest + low + t[2], bits);
            at[6 * step] = rounded(rest + low - t[2], bits);
            at[2 * step] = rounded(rest - low + t[1], bits);
            at[5 * step] = rounded(rest - low - t[1], bits);
            at[3 * step] = rounded(sum - high + t[0], bits);
            at[4 * step] = rounded(sum - high - t[0], bits);
        }
    };
    for (int begin = first; begin < last; begin += lanes) {
        const int count = last - begin < lanes ? last - begin : lanes;
        for (int y = 0; y < 8; ++y)
            #pragma clang loop vectorize(assume_safety)
            for (int lane = 0; lane < count; ++lane)
                for (int x = 0; x < 8; ++x)
                    block[(8 * y + x) * lanes + lane] = (int)strip[y * width + 8 * (begin + lane) + x] - 128;
        for (int i = 0; i < 8; ++i)
            forward(block + 8 * i * lanes, lanes, false);
        for (int i = 0; i < 8; ++i)
            forward(block + i * lanes, 8 * lanes, true);
        for (int i = 0; i < 64; ++i) {
            const int step = steps.data[i];
            #pragma clang loop vectorize(assume_safety)
            for (int lane = 0; lane < lanes; ++lane) {
                const int value = block[i * lanes + lane], size = value < 0 ? -value : value;
                const int level = (int)((float)(size + 4 * step) / (float)(8 * step)) * step;
                block[i * lanes + lane] = value < 0 ? -level : level;
            }
        }
        for (int i = 0; i < 8; ++i)
            backward(block + i * lanes, 8 * lanes, 11);
        for (int i = 0; i < 8; ++i)
            backward(block + 8 * i * lanes, lanes, 18);
        for (int y = 0; y < 8; ++y)
            #pragma clang loop vectorize(assume_safety)
            for (int lane = 0; lane < count; ++lane)
                for (int x = 0; x < 8; ++x) {
                    const int value = block[(8 * y + x) * lanes + lane] + 128;
                    strip[y * width + 8 * (begin + lane) + x] = (unsigned char)(value < 0 ? 0 : (value > 255 ? 255 : value));
                }
    }
""")
def through_strip(samples: wp.array3d(dtype=wp.uint8), steps: wp.array(dtype=wp.int32), plane: wp.int32, row: wp.int32, first: wp.int32, last: wp.int32):
    """The blocks `first` to before `last` of a row of blocks. Coefficients are eight times as large as the steps; their division in floats is exact."""


@no_type_check
@wp.kernel
def through_blocks(samples: wp.array3d(dtype=wp.uint8), steps: wp.array(dtype=wp.int32), blocks: wp.int32):
    """Transforms every block of 8 by 8, rounds its coefficients to `steps` (row by row), and transforms it back, in place. Pieces are of some `blocks`."""
    plane, row, piece = wp.tid()
    through_strip(samples, steps, plane, row, piece * blocks, wp.min((piece + 1) * blocks, samples.shape[2] // 8))


@no_type_check
@wp.func_native("""
    const int piece = 64, width = rgb.shape[2], columns = (width + 1) / 2, rows = (rgb.shape[1] + 1) / 2;
    const bool smooth = columns > 2;  // libjpeg repeats the chroma of narrower pictures
    const int near = y >> 1, beside = smooth ? near + (y & 1 ? 1 : -1) : near, left = smooth ? 0 : 1, right = smooth ? 2 : 1;
    const size_t plane = (size_t)chroma.shape[1] * chroma.shape[2];
    const unsigned char* nearer[2];
    const unsigned char* farther[2];
    for (int k = 0; k < 2; ++k) {
        nearer[k] = chroma.data + (2 * frame + k) * plane + (size_t)near * chroma.shape[2];
        farther[k] = chroma.data + (2 * frame + k) * plane + (size_t)(beside < 0 ? 0 : (beside < rows ? beside : rows - 1)) * chroma.shape[2];
    }
    const unsigned char* light = luma.data + ((size_t)frame * luma.shape[1] + y) * luma.shape[2];
    unsigned char* out = (unsigned char*)rgb.data + 3 * ((size_t)frame * rgb.shape[1] + y) * width;
    for (int begin = first; begin < last; begin += piece) {
        const int end = begin + piece < last ? begin + piece : last, from = begin >> 1, pairs = ((end - 1) >> 1) - from + 1;
        short full[2][64 + 2];
        for (int k = 0; k < 2; ++k) {
            short sums[32 + 3];  // of columns, from one before the first pair to one after the last
            #pragma clang loop vectorize(assume_safety)
            for (int i = 0; i < pairs; ++i)
                sums[i + 1] = (short)(3 * nearer[k][from + i] + farther[k][from + i]);
            const int before = from > 0 ? from - 1 : 0, after = from + pairs < columns ? from + pairs : columns - 1;
            sums[0] = (short)(3 * nearer[k][before] + farther[k][before]);
            sums[pairs + 1] = (short)(3 * nearer[k][after] + farther[k][after]);
            #pragma clang loop vectorize(assume_safety)
            for (int i = 0; i < pairs; ++i) {
                full[k][2 * i] = (short)((3 * sums[i + 1] + sums[i + left] + 8) >> 4);
                full[k][2 * i + 1] = (short)((3 * sums[i + 1] + sums[i + right] + 7) >> 4);
            }
        }
        unsigned char reds[64], greens[64], blues[64];
        auto byte = [](int level) { return (unsigned char)(level < 0 ? 0 : (level > 255 ? 255 : level)); };
        #pragma clang loop vectorize(assume_safety)
        for (int i = 0; i < end - begin; ++i) {
            const int blue = full[0][begin - 2 * from + i] - 128, red = full[1][begin - 2 * from + i] - 128;
            reds[i] = byte(light[begin + i] + ((91881 * red + 32768) >> 16));
            greens[i] = byte(light[begin + i] + ((-22554 * blue - 46802 * red + 32768) >> 16));
            blues[i] = byte(light[begin + i] + ((116130 * blue + 32768) >> 16));
        }
        #pragma clang loop vectorize(assume_safety)
        for (int i = 0; i < end - begin; ++i) {
            out[3 * (begin + i)] = reds[i];
            out[3 * (begin + i) + 1] = greens[i];
            out[3 * (begin + i) + 2] = blues[i];
        }
    }
""")
def rgb_piece(
    luma: wp.array3d(dtype=wp.uint8),
    chroma: wp.array3d(dtype=wp.uint8),
    rgb: wp.array3d(dtype=wp.vec3ub),
    frame: wp.int32,
    y: wp.int32,
    first: wp.int32,
    last: wp.int32,
):
    """A row from `first` to before `last`: chroma is three parts of the nearer and one of the farther sample, along rows and along columns."""


@no_type_check
@wp.kernel
def rgb_of(luma: wp.array3d(dtype=wp.uint8), chroma: wp.array3d(dtype=wp.uint8), rgb: wp.array3d(dtype=wp.vec3ub), columns: wp.int32):
    """Pictures of luma and halved chroma."""
    frame, y, piece = wp.tid()
    rgb_piece(luma, chroma, rgb, frame, y, piece * columns, wp.min((piece + 1) * columns, rgb.shape[2]))
