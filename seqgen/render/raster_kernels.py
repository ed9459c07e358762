"""Warp kernels that find what every sample of every picture sees: project, clear, rasterise. The same source runs on the CPU and on CUDA.

    vertices ──project──> ScreenVertex at each moment ──rasterise──> a key for each pixel's centre
                                                     ──mark──> which pixels need their samples ──rasterise_samples──> keys of those ──> `resolve_kernels.py`

Written so that the bits never depend on the machine: places on the picture are integers (1/4096 px), so edge functions are exact, whatever the order,
and leave no hole between neighbours; the winner of a sample is a minimum of integers; multiplications and additions are not fused.

The innermost loops are C++, which Warp passes on as it is: its own loops reckon with any stride at every access and take half as long again.

Every kernel, function and struct carries `no_type_check`: the annotations are Warp's types, of which a Python type checker knows nothing.
"""

from typing import no_type_check

import warp as wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

SUBPIXELS = 4096  # fixed-point steps of a pixel
EMPTY = 0xFFFFFFFFFFFFFFFF  # the key of a sample that no triangle covers

_SUBPIXELS = wp.constant(float(SUBPIXELS))
_SHIFT = wp.constant(SUBPIXELS.bit_length() - 1)
_GUARD_PX = wp.constant(131072.0)  # 30 bits of fixed point: a product of two differences stays below 2^61
_NEAR_M = wp.constant(0.01)
_EMPTY = wp.constant(wp.uint64(EMPTY))
_SIGN = wp.constant(wp.uint32(0x80000000))
_FACE = wp.constant(wp.uint64(0xFFFFFFFF))
_STEP = wp.constant(SUBPIXELS)
_HALF = wp.constant(SUBPIXELS // 2)
_FLAT_M = wp.constant(0.003)  # neighbouring places this near in depth and of one material are lit as one


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
def vertex_at(vertices: wp.array2d(dtype=wp.vec3), moments: Moments, moment: wp.int32, frame: wp.int32, i: wp.int32):
    """The vertex at a moment; moment 0 is the frame's own."""
    if moment == 0:
        return vertices[frame, i]
    near = moments.frames[frame]
    share = moments.weights[moment, frame]
    return vertices[near[0], i] * share[0] + vertices[near[1], i] * share[1] + vertices[near[2], i] * share[2]


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


@no_type_check
@wp.kernel
def project(
    vertices: wp.array2d(dtype=wp.vec3),
    moments: Moments,
    intrinsics: wp.array(dtype=wp.mat33),
    perspective: wp.bool,
    screen: wp.array3d(dtype=ScreenVertex),
    boxes: wp.array2d(dtype=wp.int32),
):
    """One thread a vertex and moment. Shrinks the frame's (x_low, y_low, -x_high, -y_high), pixels, until the box holds the vertex."""
    moment, frame, i = wp.tid()
    p = vertex_at(vertices, moments, moment, frame, i)
    place = on_picture(p, intrinsics[frame], perspective)
    vertex = ScreenVertex()
    if place[2] > 0.0 and wp.abs(place[0]) < _GUARD_PX and wp.abs(place[1]) < _GUARD_PX:
        vertex.x = int(wp.rint(place[0] * _SUBPIXELS))
        vertex.y = int(wp.rint(place[1] * _SUBPIXELS))
        vertex.weight = place[2]
        vertex.depth = p[2]
        # a pixel's samples lie less than half a pixel from its centre, so those up to x belong at most to the next pixel
        wp.atomic_min(boxes, frame, 0, vertex.x >> _SHIFT)
        wp.atomic_min(boxes, frame, 1, vertex.y >> _SHIFT)
        wp.atomic_min(boxes, frame, 2, -(vertex.x >> _SHIFT) - 1)
        wp.atomic_min(boxes, frame, 3, -(vertex.y >> _SHIFT) - 1)
    screen[moment, frame, i] = vertex


@no_type_check
@wp.kernel
def project_to_light(vertices: wp.array2d(dtype=wp.vec3), light_from_camera: wp.array(dtype=wp.mat44), screen: wp.array3d(dtype=ScreenVertex)):
    """One thread a vertex: its place on the frame's shadow map, in texels, and how far from the light, in metres."""
    frame, i = wp.tid()
    place = wp.transform_point(light_from_camera[frame], vertices[frame, i])
    vertex = ScreenVertex()
    if wp.abs(place[0]) < _GUARD_PX and wp.abs(place[1]) < _GUARD_PX:
        vertex.x = int(wp.rint(place[0] * _SUBPIXELS))
        vertex.y = int(wp.rint(place[1] * _SUBPIXELS))
        vertex.weight = 1.0
        vertex.depth = place[2]
    screen[0, frame, i] = vertex


@no_type_check
@wp.kernel
def clear(boxes: wp.array2d(dtype=wp.int32), keys: wp.array3d(dtype=wp.uint64)):
    """One thread a row: empties the pixels in the frame's box, the only ones that are read."""
    frame, y = wp.tid()
    if y >= boxes[frame, 1] and y <= -boxes[frame, 3]:
        for x in range(wp.max(boxes[frame, 0], 0), wp.min(-boxes[frame, 2], keys.shape[2] - 1) + 1):
            keys[frame, y, x] = _EMPTY


@no_type_check
@wp.func
def twice_area(a: ScreenVertex, b: ScreenVertex, x: wp.int32, y: wp.int32):
    """Twice the area of (place, b, a), exactly; positive for a face seen from its front.

    A face is counter-clockwise from outside in a right-handed frame; with z pointing away from us and y down its front turns the other way on the page.
    """
    return wp.int64(b.x - x) * wp.int64(a.y - y) - wp.int64(b.y - y) * wp.int64(a.x - x)


@no_type_check
@wp.func
def rank_of(key: wp.uint64):
    """The rank that a key was made from: a key orders by rank, then by face. The bits of a positive float order like an integer, those of a negative one the
    other way round."""
    bits = wp.uint32(key >> wp.uint64(32))
    if (bits & _SIGN) == wp.uint32(0):
        bits = ~bits
    else:
        bits = bits & ~_SIGN
    return wp.cast(bits, wp.float32)


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
def columns_of(t: Triangle, reach: wp.int32, width: wp.int32):
    """First and last column with places within `reach` (1/4096 px) of their pixels' centres that the triangle may cover."""
    low = wp.min(t.a.x, wp.min(t.b.x, t.c.x)) - reach
    high = wp.max(t.a.x, wp.max(t.b.x, t.c.x)) + reach
    return wp.max((low + _STEP - 1) >> _SHIFT, 0), wp.min(high >> _SHIFT, width - 1)


@no_type_check
@wp.func
def rows_of(t: Triangle, reach: wp.int32, height: wp.int32):
    """First and last row, as `columns_of`."""
    low = wp.min(t.a.y, wp.min(t.b.y, t.c.y)) - reach
    high = wp.max(t.a.y, wp.max(t.b.y, t.c.y)) + reach
    return wp.max((low + _STEP - 1) >> _SHIFT, 0), wp.min(high >> _SHIFT, height - 1)


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
    column_low, column_high = columns_of(t, 0, keys.shape[2])
    row_low, row_high = rows_of(t, 0, keys.shape[1])
    if column_low <= column_high and row_low <= row_high:
        cover(t, face, frame, column_low, column_high, row_low, row_high, keys)


@no_type_check
@wp.func
def about_same(face_materials: wp.array(dtype=wp.int32), key: wp.uint64, other: wp.uint64, perspective: wp.bool):
    """Whether two neighbouring places see about the same depth of one material, or both nothing."""
    if key == _EMPTY or other == _EMPTY:
        return key == other
    rank = rank_of(key)
    near = _FLAT_M
    if perspective:
        near = _FLAT_M * rank * rank
    if wp.abs(rank_of(other) - rank) > near:
        return False
    return face_materials[int(key & _FACE)] == face_materials[int(other & _FACE)]


@no_type_check
@wp.func
def smooth_between(face_materials: wp.array(dtype=wp.int32), before: wp.uint64, key: wp.uint64, after: wp.uint64, perspective: wp.bool):
    """Whether three places in a row see one smooth surface of one material, or all nothing. Ranks of a plane lie on a line, however steep it is."""
    if key == _EMPTY or before == _EMPTY or after == _EMPTY:
        return key == before and key == after
    rank = rank_of(key)
    near = _FLAT_M
    if perspective:
        near = _FLAT_M * rank * rank
    if wp.abs(rank_of(before) + rank_of(after) - 2.0 * rank) > near:
        return False
    material = face_materials[int(key & _FACE)]
    return face_materials[int(before & _FACE)] == material and face_materials[int(after & _FACE)] == material


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
    before = _EMPTY
    key = centres[frame, y, left]
    for x in range(left, right + 1):
        after = centres[frame, y, wp.min(x + 1, right)]
        if x == left:
            before = key
        needed = everywhere
        if not everywhere:
            needed = not smooth_between(face_materials, before, key, after, perspective)
            if not needed:
                needed = not smooth_between(face_materials, centres[frame, above, x], key, centres[frame, below, x], perspective)
        several[frame, y, x] = wp.uint8(needed)
        if needed:
            for sample in range(samples.shape[3]):
                samples[frame, y, x, sample] = _EMPTY
        before = key
        key = after


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
        column_low, column_high = columns_of(t, _HALF, keys.shape[2])
        row_low, row_high = rows_of(t, _HALF, keys.shape[1])
        cover_samples(t, face, frame, column_low, column_high, row_low, row_high, offsets, first, last, several, keys)


@no_type_check
@wp.func
def corner_shares(a: ScreenVertex, b: ScreenVertex, c: ScreenVertex, x: wp.int32, y: wp.int32):
    """The corners' perspective-correct shares of a place inside their triangle; they sum to 1."""
    edge_a = twice_area(b, c, x, y)
    edge_b = twice_area(c, a, x, y)
    edge_c = twice_area(b, c, a.x, a.y) - edge_a - edge_b
    shares = wp.vec3(float(edge_a) * a.weight, float(edge_b) * b.weight, float(edge_c) * c.weight)
    return shares / (shares[0] + shares[1] + shares[2])
