"""Warp kernels for the photo behind everything: packed once a clip, then its linear light wherever nothing hides it."""

from typing import no_type_check

import warp as wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})


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
