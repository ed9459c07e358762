"""The Warp kernels of a colour sensor: defocus, exposure with noise, and the way to bytes. Conventions are those of `raster_kernels.py`."""

from typing import no_type_check

import warp as wp

from seqgen.render.noise_kernels import hash_at, normal_from_bits

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

BINS = 4096  # of linear light 0..1 in the tables: narrower than the narrowest level, 1 / 12.92 / 255

_BINS = wp.constant(float(BINS))


@no_type_check
@wp.struct
class Exposure:
    """Bins a unit of light in each channel; the noise's variance (bins squared) a bin of light, and without light; the key of the noise."""

    gains: wp.vec3
    shot: wp.float32
    read: wp.float32
    key: wp.uint64


@no_type_check
@wp.kernel
def blur_rows(light: wp.array3d(dtype=wp.vec3), taps: wp.vec4, blurred: wp.array3d(dtype=wp.vec3), columns: wp.int32):
    """Seven symmetric taps along a row, the middle one first; edge pixels are repeated. The pixels under the taps are handed on from place to place."""
    frame, y, piece = wp.tid()
    first = piece * columns
    last = light.shape[2] - 1
    a = light[frame, y, wp.max(first - 3, 0)]
    b = light[frame, y, wp.max(first - 2, 0)]
    c = light[frame, y, wp.max(first - 1, 0)]
    d = light[frame, y, first]
    e = light[frame, y, wp.min(first + 1, last)]
    f = light[frame, y, wp.min(first + 2, last)]
    for x in range(first, wp.min(first + columns, last + 1)):
        g = light[frame, y, wp.min(x + 3, last)]
        blurred[frame, y, x] = d * taps[0] + (c + e) * taps[1] + (b + f) * taps[2] + (a + g) * taps[3]
        a = b
        b = c
        c = d
        d = e
        e = f
        f = g


@no_type_check
@wp.kernel
def blur_columns(light: wp.array3d(dtype=wp.vec3), taps: wp.vec4, blurred: wp.array3d(dtype=wp.vec3), columns: wp.int32):
    """The same along columns."""
    frame, y, piece = wp.tid()
    last = light.shape[1] - 1
    a = wp.max(y - 3, 0)
    b = wp.max(y - 2, 0)
    c = wp.max(y - 1, 0)
    e = wp.min(y + 1, last)
    f = wp.min(y + 2, last)
    g = wp.min(y + 3, last)
    for x in range(piece * columns, wp.min((piece + 1) * columns, light.shape[2])):
        near = light[frame, y, x] * taps[0] + (light[frame, c, x] + light[frame, e, x]) * taps[1]
        blurred[frame, y, x] = near + (light[frame, b, x] + light[frame, f, x]) * taps[2] + (light[frame, a, x] + light[frame, g, x]) * taps[3]


@no_type_check
@wp.func
def nearest_level(light: wp.float32, starts: wp.array(dtype=wp.uint8), thresholds: wp.array(dtype=wp.float32)):
    """The nearest sRGB level, exactly; no bin holds more than one threshold."""
    linear = wp.clamp(light, 0.0, 1.0)
    level = int(starts[int(linear * _BINS)])
    if linear >= thresholds[level]:
        level += 1
    return wp.uint8(level)


@no_type_check
@wp.kernel
def encode(
    light: wp.array3d(dtype=wp.vec3),
    starts: wp.array(dtype=wp.uint8),
    thresholds: wp.array(dtype=wp.float32),
    rgb: wp.array3d(dtype=wp.vec3ub),
    columns: wp.int32,
):
    """A sensor without properties. `starts`: the level where each bin of light starts; `thresholds`: the light at which level i becomes i + 1."""
    frame, y, piece = wp.tid()
    for x in range(piece * columns, wp.min((piece + 1) * columns, light.shape[2])):
        p = light[frame, y, x]
        rgb[frame, y, x] = wp.vec3ub(nearest_level(p[0], starts, thresholds), nearest_level(p[1], starts, thresholds), nearest_level(p[2], starts, thresholds))


@no_type_check
@wp.func
def exposed(bins: wp.float32, noise: wp.float32, exposure: Exposure, chords: wp.array(dtype=wp.vec2)):
    """The sRGB level, 0..255 with fractions, of light with its noise, cut at black and at the full well."""
    place = wp.clamp(bins + noise * wp.sqrt(bins * exposure.shot + exposure.read), 0.0, _BINS)
    chord = chords[int(place)]
    return chord[0] + chord[1] * place


@no_type_check
@wp.kernel
def expose(
    light: wp.array3d(dtype=wp.vec3),
    exposure: Exposure,
    chords: wp.array(dtype=wp.vec2),
    quantiles: wp.array(dtype=wp.float32),
    levels: wp.array3d(dtype=wp.vec3),
    lumas: wp.array3d(dtype=wp.float32),
    columns: wp.int32,
):
    """Levels, 0..255, and their luma (ITU-R BT.601, as in JPEG). A pixel's three noises are ten bits each of one hash.

    `chords`: sRGB's curve, each bin of light being a straight line (offset, slope), which is off by less than 0.005 levels.
    """
    frame, y, piece = wp.tid()
    key = hash_at(exposure.key, frame)
    for x in range(piece * columns, wp.min((piece + 1) * columns, light.shape[2])):
        bits = hash_at(key, y * light.shape[2] + x)
        p = wp.cw_mul(light[frame, y, x], exposure.gains)
        red = exposed(p[0], normal_from_bits(bits, 0, quantiles), exposure, chords)
        green = exposed(p[1], normal_from_bits(bits, 20, quantiles), exposure, chords)
        blue = exposed(p[2], normal_from_bits(bits, 40, quantiles), exposure, chords)
        levels[frame, y, x] = wp.vec3(red, green, blue)
        lumas[frame, y, x] = 0.299 * red + 0.587 * green + 0.114 * blue


@no_type_check
@wp.func
def byte_from_level(level: wp.float32):
    return wp.uint8(wp.clamp(level + 0.5, 0.0, 255.0))


@no_type_check
@wp.kernel
def finish(levels: wp.array3d(dtype=wp.vec3), changes: wp.array3d(dtype=wp.float32), rgb: wp.array3d(dtype=wp.vec3ub), columns: wp.int32):
    """The levels with a change of their luma, as bytes."""
    frame, y, piece = wp.tid()
    for x in range(piece * columns, wp.min((piece + 1) * columns, levels.shape[2])):
        p = levels[frame, y, x]
        change = changes[frame, y, x]
        rgb[frame, y, x] = wp.vec3ub(byte_from_level(p[0] + change), byte_from_level(p[1] + change), byte_from_level(p[2] + change))
