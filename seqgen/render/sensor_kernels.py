"""The Warp kernels of a colour sensor: defocus, exposure with noise, and the way to bytes. Conventions are those of `raster_kernels.py`.

Their inner loops are C++, which Warp hands to Clang and NVRTC as it stands: Warp's own loops over arrays, whose strides only the running program knows, are
not vectorised, and take two to seven times as long. Arrays are contiguous here. The bits are the same in any vector width and on CUDA: sums are not
reordered, products and sums not fused, and square roots are correctly rounded.
"""

from typing import no_type_check

import warp as wp

from seqgen.render.noise_kernels import hash_at

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

BINS = 4096  # of linear light 0..1 in the exact curve's table: narrower than the narrowest level, 1 / 12.92 / 255
STEPS = 2048  # of a camera's curve, between black and white in the root of light, in which noise is the same everywhere
BYTES_MEAN, BYTES_VARIANCE = 510.0, 21845.0  # of the sum of four fair numbers 0..255

_BINS = wp.constant(float(BINS))


@no_type_check
@wp.func_native("""
    const int piece = 64, reach = 3, width = light.shape[2], height = light.shape[1];
    const float* picture = (const float*)light.data + (size_t)frame * height * width * 3;
    float down[3 * (piece + 2 * reach)];  // blurred along columns, with `reach` pixels on either side
    for (int begin = first; begin < last; begin += piece) {
        const int count = last - begin < piece ? last - begin : piece;
        const int from = begin - reach < 0 ? 0 : begin - reach;
        const int to = begin + count + reach > width ? width : begin + count + reach;
        const float* rows[7];
        for (int k = 0; k < 7; ++k) {
            const int row = y + k - reach;
            rows[k] = picture + 3 * ((row < 0 ? 0 : (row < height ? row : height - 1)) * width + from);
        }
        float* inside = down + 3 * (from - begin + reach);
        #pragma clang loop vectorize(assume_safety)
        for (int i = 0; i < 3 * (to - from); ++i)
            inside[i] = rows[3][i] * taps.c[0] + (rows[2][i] + rows[4][i]) * taps.c[1]
                + ((rows[1][i] + rows[5][i]) * taps.c[2] + (rows[0][i] + rows[6][i]) * taps.c[3]);
        for (int i = 3 * (from - begin + reach) - 1; i >= 0; --i)
            down[i] = down[i + 3];
        for (int i = 3 * (to - begin + reach); i < 3 * (count + 2 * reach); ++i)
            down[i] = down[i - 3];
        float* out = (float*)blurred.data + 3 * (((size_t)frame * height + y) * width + begin);
        #pragma clang loop vectorize(assume_safety)
        for (int i = 0; i < 3 * count; ++i)
            out[i] = down[i + 9] * taps.c[0] + (down[i + 6] + down[i + 12]) * taps.c[1]
                + ((down[i + 3] + down[i + 15]) * taps.c[2] + (down[i] + down[i + 18]) * taps.c[3]);
    }
""")
def blur_piece(light: wp.array3d(dtype=wp.vec3), taps: wp.vec4, blurred: wp.array3d(dtype=wp.vec3), frame: wp.int32, y: wp.int32, first: wp.int32, last: wp.int32):
    """Seven symmetric taps, the middle one first, along columns and along a row from `first` to before `last`; edge pixels are repeated."""


@no_type_check
@wp.kernel
def blur(light: wp.array3d(dtype=wp.vec3), taps: wp.vec4, blurred: wp.array3d(dtype=wp.vec3), columns: wp.int32):
    """Defocus."""
    frame, y, piece = wp.tid()
    blur_piece(light, taps, blurred, frame, y, piece * columns, wp.min((piece + 1) * columns, light.shape[2]))


@no_type_check
@wp.func_native("""
    const size_t row = ((size_t)frame * light.shape[1] + y) * light.shape[2];
    const float* in = (const float*)light.data + 3 * row;
    unsigned char* out = (unsigned char*)rgb.data + 3 * row;
    #pragma clang loop vectorize(assume_safety)
    for (int i = 3 * first; i < 3 * last; ++i) {
        union { float number; unsigned int bits; } linear;
        linear.number = in[i] > 0.5f / bins ? in[i] : 0.5f / bins;  // darker light is as black; so a bin's numbers have one exponent
        linear.number = linear.number < 1.0f ? linear.number : 1.0f;
        const unsigned int level = levels.data[(int)(linear.number * bins)];
        out[i] = (unsigned char)((level >> 24) + ((linear.bits & 0x7FFFFFu) >= (level & 0xFFFFFFu) ? 1u : 0u));
    }
""")
def encode_piece(
    light: wp.array3d(dtype=wp.vec3),
    bins: wp.float32,
    levels: wp.array(dtype=wp.uint32),
    rgb: wp.array3d(dtype=wp.vec3ub),
    frame: wp.int32,
    y: wp.int32,
    first: wp.int32,
    last: wp.int32,
):
    """A row from `first` to before `last`. What is no number is black."""


@no_type_check
@wp.kernel
def encode(light: wp.array3d(dtype=wp.vec3), levels: wp.array(dtype=wp.uint32), rgb: wp.array3d(dtype=wp.vec3ub), columns: wp.int32):
    """A sensor without properties: the nearest sRGB level, exactly. `levels`: of each bin of light the level where it starts, in the highest eight bits, and
    the fraction bits of the light at which the next level begins, all 24 lower bits set where that is in no such bin; one lookup, for lookups are slow."""
    frame, y, piece = wp.tid()
    encode_piece(light, _BINS, levels, rgb, frame, y, piece * columns, wp.min((piece + 1) * columns, light.shape[2]))


@no_type_check
@wp.struct
class Exposure:
    """Place on the curve: the root of (light times `gains` plus `dark`), plus `noise` times a sum of bytes, minus `black`; and the key of the noise."""

    gains: wp.vec3
    dark: wp.float32
    noise: wp.float32
    black: wp.float32
    key: wp.uint64


@no_type_check
@wp.func_native("""
    const size_t row = ((size_t)frame * light.shape[1] + y) * light.shape[2];
    const float* in = (const float*)light.data + 3 * row;
    unsigned char* out = (unsigned char*)levels.data + 3 * row;
    float* luma = lumas.data + row;
    const unsigned int low = (unsigned int)key, high = (unsigned int)(key >> 32);
    #pragma clang loop vectorize(assume_safety)
    for (int x = first; x < last; ++x) {
        float level[3];
        for (int c = 0; c < 3; ++c) {
            unsigned int z = low + (unsigned int)(3 * x + c) * 0x9E3779B9u;
            z = (z ^ (z >> 16)) * 0x7FEB352Du + high;
            z = (z ^ (z >> 15)) * 0x846CA68Bu;
            z ^= z >> 16;
            z = (z & 0x00FF00FFu) + (z >> 8 & 0x00FF00FFu);
            z = (z + (z >> 16)) & 0xFFFFu;
            float place = sqrtf(in[3 * x + c] * exposure.gains.c[c] + exposure.dark) + (float)(int)z * exposure.noise - exposure.black;
            place = place > 0.0f ? place : 0.0f;
            place = place < last_step ? place : last_step;
            level[c] = curve.data[(int)place];
            out[3 * x + c] = (unsigned char)(int)(level[c] + 0.5f);
        }
        luma[x] = 0.299f * level[0] + 0.587f * level[1] + 0.114f * level[2];
    }
""")
def expose_piece(
    light: wp.array3d(dtype=wp.vec3),
    exposure: Exposure,
    curve: wp.array(dtype=wp.float32),
    last_step: wp.float32,
    levels: wp.array3d(dtype=wp.vec3ub),
    lumas: wp.array3d(dtype=wp.float32),
    key: wp.uint64,
    frame: wp.int32,
    y: wp.int32,
    first: wp.int32,
    last: wp.int32,
):
    """A row from `first` to before `last`. Its noise is, for each number, a hash of the row's key and the number's place: Wellons' two-round
    mixer of 32 bits (github.com/skeeto/hash-prospector), the key's other half between its rounds. The sum of its four bytes is near enough to normal."""


@no_type_check
@wp.kernel
def expose(
    light: wp.array3d(dtype=wp.vec3),
    exposure: Exposure,
    curve: wp.array(dtype=wp.float32),
    levels: wp.array3d(dtype=wp.vec3ub),
    lumas: wp.array3d(dtype=wp.float32),
    columns: wp.int32,
):
    """Levels, and their luma before rounding (ITU-R BT.601, as in JPEG). `curve`: the level, 0..255 with fractions, at each step of the place."""
    frame, y, piece = wp.tid()
    key = hash_at(hash_at(exposure.key, frame), y)
    last = wp.min((piece + 1) * columns, light.shape[2])
    expose_piece(light, exposure, curve, float(curve.shape[0] - 1), levels, lumas, key, frame, y, piece * columns, last)


@no_type_check
@wp.func_native("""
    const size_t row = ((size_t)frame * levels.shape[1] + y) * levels.shape[2];
    const unsigned char* in = (const unsigned char*)levels.data + 3 * row;
    const float* change = changes.data + row;
    unsigned char* out = (unsigned char*)rgb.data + 3 * row;
    #pragma clang loop vectorize(assume_safety)
    for (int x = first; x < last; ++x)
        for (int c = 0; c < 3; ++c) {
            float level = (float)in[3 * x + c] + change[x] + 0.5f;
            level = level > 0.0f ? level : 0.0f;
            level = level < 255.0f ? level : 255.0f;
            out[3 * x + c] = (unsigned char)(int)level;
        }
""")
def finish_piece(
    levels: wp.array3d(dtype=wp.vec3ub),
    changes: wp.array3d(dtype=wp.float32),
    rgb: wp.array3d(dtype=wp.vec3ub),
    frame: wp.int32,
    y: wp.int32,
    first: wp.int32,
    last: wp.int32,
):
    """A row from `first` to before `last`."""


@no_type_check
@wp.kernel
def finish(levels: wp.array3d(dtype=wp.vec3ub), changes: wp.array3d(dtype=wp.float32), rgb: wp.array3d(dtype=wp.vec3ub), columns: wp.int32):
    """The levels with a change of their luma."""
    frame, y, piece = wp.tid()
    finish_piece(levels, changes, rgb, frame, y, piece * columns, wp.min((piece + 1) * columns, levels.shape[2]))
