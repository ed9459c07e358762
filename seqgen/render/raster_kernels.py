"""Warp kernels that bring vertices onto the picture, and what all kernels know of pixels and keys. The same source runs on the CPU and on CUDA.

    vertices ──project──> ScreenVertex at each moment ──rasterise──> a key for each pixel's centre           `triangle_kernels.py`
                                                     ──mark──> which pixels need their samples               `edge_kernels.py`
                                                     ──rasterise_samples──> keys of those
             ──resolve──> light and labels                                                                   `resolve_kernels.py`

Written so that the bits never depend on the machine: places on the picture are integers (1/4096 px), so edge functions are exact, whatever the order,
and leave no hole between neighbours; the winner of a sample is a minimum of integers; multiplications and additions are not fused.

Every kernel, function and struct carries `no_type_check`: the annotations are Warp's types, of which a Python type checker knows nothing.
"""

from typing import no_type_check

import warp as wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

SUBPIXELS = 4096  # fixed-point steps of a pixel
EMPTY = 0xFFFFFFFFFFFFFFFF  # the key of a sample that no triangle covers

SHIFT = SUBPIXELS.bit_length() - 1
GUARD_PX = 131072.0  # 30 bits of fixed point: a product of two differences stays below 2^61
NEAR_M = 0.01

_NEAR_M = wp.constant(NEAR_M)


@no_type_check
@wp.struct
class ScreenVertex:
    """A vertex on the picture: its place in steps of 1/4096 px, its weight where things are interpolated (1/z, or 1 for weak perspective), its z.

    Weight 0 says that the vertex cannot be drawn, and no triangle that has it.
    """

    x: wp.int32
    y: wp.int32
    weight: wp.float32
    depth: wp.float32


@no_type_check
@wp.struct
class Moments:
    """Moments of a frame: at moment m a vertex is at the sum of its places in the frames `frames[t]` (the one before, t, the one after; at the ends
    the nearest three) with weights `weights[m, t]`."""

    frames: wp.array(dtype=wp.vec3i)
    weights: wp.array2d(dtype=wp.vec3)


@no_type_check
@wp.func
def on_picture(p: wp.vec3, k: wp.mat33, perspective: wp.bool):
    """x, y in pixels and the weight 1/z (1 in weak perspective) of a point; the weight of one too near is 0."""
    weight = wp.float32(1.0)
    if perspective:
        weight = wp.float32(0.0)
        if p[2] > _NEAR_M:
            weight = 1.0 / p[2]
    return wp.vec3(k[0, 0] * p[0] * weight + k[0, 2], k[1, 1] * p[1] * weight + k[1, 2], weight)


# C++ of the end of a loop over vertices: (x, y) px, weight and depth as a ScreenVertex, in fixed point unless it is too near or too far beside the picture.
_PUT = """
        const bool drawn = (weight > 0.0f) & (wp::abs(x) < GUARD) & (wp::abs(y) < GUARD);
        on_screen[i].x = (int)wp::rint(drawn ? x * SUBPIXELS : 0.0f);
        on_screen[i].y = (int)wp::rint(drawn ? y * SUBPIXELS : 0.0f);
        on_screen[i].weight = drawn ? weight : 0.0f;
        on_screen[i].depth = drawn ? depth : 0.0f;
""".replace("GUARD", f"{GUARD_PX}f").replace("SUBPIXELS", f"{SUBPIXELS}.0f")


@no_type_check
@wp.func_native("""
    const float* own = (const float*)(vertices.data + (size_t)frame * vertices.shape[1]);
    const float *near[3], *k = (const float*)(intrinsics.data + frame);
    for (int n = 0; n < 3; ++n)
        near[n] = (const float*)(vertices.data + (size_t)moments.frames.data[frame].c[n] * vertices.shape[1]);
    const float* share = (const float*)(moments.weights.data + (size_t)moment * moments.weights.shape[1] + frame);
    auto* on_screen = screen.data + ((size_t)moment * screen.shape[1] + frame) * screen.shape[2];
    auto at = [&](int i) { return moment == 0 ? own[i] : near[0][i] * share[0] + near[1][i] * share[1] + near[2][i] * share[2]; };
    #pragma clang loop vectorize(assume_safety)
    for (int i = first; i < last; ++i) {
        const float depth = at(3 * i + 2), weight = perspective ? (depth > NEAR ? 1.0f / depth : 0.0f) : 1.0f;
        const float x = k[0] * at(3 * i) * weight + k[2], y = k[4] * at(3 * i + 1) * weight + k[5];
PUT
    }
    // a pixel's samples lie less than half a pixel from its centre, so those up to x belong at most to the next pixel
    int bounds[4] = {0x7FFFFFFF, 0x7FFFFFFF, 0x7FFFFFFF, 0x7FFFFFFF};
    for (int i = first; i < last; ++i) {
        const bool drawn = on_screen[i].weight > 0.0f;
        const int x = on_screen[i].x >> SHIFT, y = on_screen[i].y >> SHIFT, reach[4] = {x, y, -x - 1, -y - 1};
        for (int k = 0; k < 4; ++k)
            bounds[k] = wp::min(bounds[k], drawn ? reach[k] : 0x7FFFFFFF);
    }
    for (int k = 0; k < 4; ++k)
        wp::atomic_min(boxes, frame, k, bounds[k]);
""".replace("PUT", _PUT).replace("NEAR", f"{NEAR_M}f").replace("SHIFT", str(SHIFT)))
def project_piece(
    vertices: wp.array2d(dtype=wp.vec3),
    moments: Moments,
    intrinsics: wp.array(dtype=wp.mat33),
    perspective: wp.bool,
    moment: wp.int32,
    frame: wp.int32,
    first: wp.int32,
    last: wp.int32,
    screen: wp.array3d(dtype=ScreenVertex),
    boxes: wp.array2d(dtype=wp.int32),
):
    """Vertices `first` to `last` - 1 at a moment: on the picture, and in the frame's box; moment 0 is the frame's own."""


@no_type_check
@wp.kernel
def project(
    vertices: wp.array2d(dtype=wp.vec3),
    moments: Moments,
    intrinsics: wp.array(dtype=wp.mat33),
    perspective: wp.bool,
    screen: wp.array3d(dtype=ScreenVertex),
    boxes: wp.array2d(dtype=wp.int32),
    piece: wp.int32,
):
    """One thread `piece` vertices of a moment and frame. Shrinks the frame's (x_low, y_low, -x_high, -y_high), pixels, until the box holds the vertices."""
    row, i = wp.tid()
    frames = screen.shape[1]
    last = wp.min((i + 1) * piece, screen.shape[2])
    project_piece(vertices, moments, intrinsics, perspective, row // frames, row % frames, i * piece, last, screen, boxes)


@no_type_check
@wp.func_native("""
    const float *own = (const float*)(vertices.data + (size_t)frame * vertices.shape[1]), *m = (const float*)(light_from_camera.data + frame), weight = 1.0f;
    auto* on_screen = screen.data + (size_t)frame * screen.shape[2];
    #pragma clang loop vectorize(assume_safety)
    for (int i = first; i < last; ++i) {
        const float p = own[3 * i], q = own[3 * i + 1], r = own[3 * i + 2];
        const float x = m[0] * p + m[1] * q + m[2] * r + m[3], y = m[4] * p + m[5] * q + m[6] * r + m[7], depth = m[8] * p + m[9] * q + m[10] * r + m[11];
PUT
    }
""".replace("PUT", _PUT))
def project_to_light_piece(
    vertices: wp.array2d(dtype=wp.vec3),
    light_from_camera: wp.array(dtype=wp.mat44),
    frame: wp.int32,
    first: wp.int32,
    last: wp.int32,
    screen: wp.array3d(dtype=ScreenVertex),
):
    """Vertices `first` to `last` - 1: their places on the frame's shadow map, in texels, and how far from the light they are, in metres."""


@no_type_check
@wp.kernel
def project_to_light(vertices: wp.array2d(dtype=wp.vec3), light_from_camera: wp.array(dtype=wp.mat44), screen: wp.array3d(dtype=ScreenVertex), piece: wp.int32):
    """One thread `piece` vertices of a frame."""
    frame, i = wp.tid()
    project_to_light_piece(vertices, light_from_camera, frame, i * piece, wp.min((i + 1) * piece, screen.shape[2]), screen)


@no_type_check
@wp.func_native("""
    const int* box = boxes.data + 4 * frame;
    const int height = keys.shape[1], width = keys.shape[2], begin = wp::max(left, wp::max(box[0], 0)), end = wp::min(right, wp::min(-box[2] + 1, width));
    for (int row = wp::max(top, wp::max(box[1], 0)); row < wp::min(bottom, wp::min(-box[3] + 1, height)); ++row)
        for (int column = begin; column < end; ++column)
            keys.data[((size_t)slot * height + row) * width + column] = ~0ull;
""")
def clear_piece(
    boxes: wp.array2d(dtype=wp.int32),
    frame: wp.int32,
    slot: wp.int32,
    top: wp.int32,
    bottom: wp.int32,
    left: wp.int32,
    right: wp.int32,
    keys: wp.array3d(dtype=wp.uint64),
):
    """Empties the pixels that lie both in a piece and in the frame's box, of the picture in a slot."""


@no_type_check
@wp.kernel
def clear(boxes: wp.array2d(dtype=wp.int32), keys: wp.array3d(dtype=wp.uint64), rows: wp.int32, columns: wp.int32):
    """One thread a piece of a picture: empties the pixels in the frame's box, the only ones that are read."""
    frame, i, j = wp.tid()
    clear_piece(boxes, frame, frame, i * rows, (i + 1) * rows, j * columns, (j + 1) * columns, keys)


@no_type_check
@wp.func
def twice_area(a: ScreenVertex, b: ScreenVertex, x: wp.int32, y: wp.int32):
    """Twice the area of (place, b, a), exactly; positive for a face seen from its front.

    A face is counter-clockwise from outside in a right-handed frame; with z pointing away from us and y down its front turns the other way on the page.
    """
    return wp.int64(b.x - x) * wp.int64(a.y - y) - wp.int64(b.y - y) * wp.int64(a.x - x)


@no_type_check
@wp.func
def corner_shares(a: ScreenVertex, b: ScreenVertex, c: ScreenVertex, x: wp.int32, y: wp.int32):
    """The corners' perspective-correct shares of a place inside their triangle; they sum to 1."""
    edge_a = twice_area(b, c, x, y)
    edge_b = twice_area(c, a, x, y)
    edge_c = twice_area(b, c, a.x, a.y) - edge_a - edge_b
    shares = wp.vec3(float(edge_a) * a.weight, float(edge_b) * b.weight, float(edge_c) * c.weight)
    return shares / (shares[0] + shares[1] + shares[2])
