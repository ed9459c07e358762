"""The Warp kernels of the z-buffer: project, rasterise, resolve. The same source runs on the CPU and on CUDA.

Written so that the bits never depend on the machine: places on the picture are integers (1/4096 px), so edge functions are exact, whatever the order,
and leave no hole between neighbours; the winner of a sample is a minimum of integers; multiplications and additions are not fused; sRGB goes through
tables instead of the C library's `pow`.

Every kernel, function and struct carries `no_type_check`: the annotations are Warp's types, of which a Python type checker knows nothing.
"""

from typing import no_type_check

import warp as wp

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

SUBPIXELS = 4096  # fixed-point steps of a pixel
EMPTY = 0xFFFFFFFFFFFFFFFF  # the key of a sample that no triangle covers
LEVELS = 4096  # bins of the table that starts the search for an sRGB level: narrower than the narrowest level, 1 / 12.92 / 255
QUARTERS = 4  # entries of the decoding table for each sRGB level

_SUBPIXELS = wp.constant(float(SUBPIXELS))
_SHIFT = wp.constant(SUBPIXELS.bit_length() - 1)
_GUARD_PX = wp.constant(131072.0)  # 30 bits of fixed point: a product of two differences stays below 2^61
_NEAR_M = wp.constant(0.01)
_EMPTY = wp.constant(wp.uint64(EMPTY))
_FACE = wp.constant(wp.uint64(0xFFFFFFFF))
_SIGN = wp.constant(wp.uint32(0x80000000))
_LEVELS = wp.constant(float(LEVELS))
_QUARTERS = wp.constant(float(QUARTERS))


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
class Surface:
    faces: wp.array(dtype=wp.vec3i)
    normals: wp.array2d(dtype=wp.vec3)
    colours: wp.array(dtype=wp.vec3)
    corner_parts: wp.array(dtype=wp.vec3ub)
    corner_weights: wp.array(dtype=wp.mat33)


@no_type_check
@wp.struct
class Light:
    ambient: wp.array(dtype=wp.vec3)
    directions: wp.array2d(dtype=wp.vec3)
    colours: wp.array2d(dtype=wp.vec3)


@no_type_check
@wp.struct
class Background:
    photo: wp.array2d(dtype=wp.vec3ub)
    photo_from_pixel: wp.array2d(dtype=wp.vec3)


@no_type_check
@wp.struct
class SrgbTables:
    """Linear light of quarter levels; the level where each bin of light starts; the light at which level i becomes i + 1."""

    decode: wp.array(dtype=wp.float32)
    starts: wp.array(dtype=wp.uint8)
    thresholds: wp.array(dtype=wp.float32)


@no_type_check
@wp.kernel
def project(
    vertices: wp.array2d(dtype=wp.vec3),
    intrinsics: wp.array(dtype=wp.mat33),
    perspective: wp.bool,
    screen: wp.array2d(dtype=ScreenVertex),
    boxes: wp.array2d(dtype=wp.int32),
):
    """One thread a vertex. Shrinks the frame's (x_low, y_low, -x_high, -y_high), pixels, until the box holds the vertex."""
    frame, i = wp.tid()
    p = vertices[frame, i]
    k = intrinsics[frame]
    weight = wp.float32(1.0)
    if perspective:
        weight = wp.float32(0.0)
        if p[2] > _NEAR_M:
            weight = 1.0 / p[2]
    x = k[0, 0] * p[0] * weight + k[0, 2]
    y = k[1, 1] * p[1] * weight + k[1, 2]
    vertex = ScreenVertex()
    if weight > 0.0 and wp.abs(x) < _GUARD_PX and wp.abs(y) < _GUARD_PX:
        vertex.x = int(wp.rint(x * _SUBPIXELS))
        vertex.y = int(wp.rint(y * _SUBPIXELS))
        vertex.weight = weight
        vertex.depth = p[2]
        # a pixel's samples lie less than half a pixel from its centre, so those up to x belong at most to the next pixel
        wp.atomic_min(boxes, frame, 0, vertex.x >> _SHIFT)
        wp.atomic_min(boxes, frame, 1, vertex.y >> _SHIFT)
        wp.atomic_min(boxes, frame, 2, -(vertex.x >> _SHIFT) - 1)
        wp.atomic_min(boxes, frame, 3, -(vertex.y >> _SHIFT) - 1)
    screen[frame, i] = vertex


@no_type_check
@wp.func
def twice_area(a: ScreenVertex, b: ScreenVertex, x: wp.int32, y: wp.int32):
    """Twice the area of (place, b, a), exactly; positive for a face seen from its front.

    A face is counter-clockwise from outside in a right-handed frame; with z pointing away from us and y down its front turns the other way on the page.
    """
    return wp.int64(b.x - x) * wp.int64(a.y - y) - wp.int64(b.y - y) * wp.int64(a.x - x)


@no_type_check
@wp.func
def sample_key(rank: wp.float32, face: wp.int32):
    """Orders samples by rank, then by face. The bits of a positive float order like an integer, those of a negative one the other way round."""
    bits = wp.cast(rank, wp.uint32)
    if (bits & _SIGN) == wp.uint32(0):
        bits = bits | _SIGN
    else:
        bits = ~bits
    return (wp.uint64(bits) << wp.uint64(32)) | wp.uint64(face)


@no_type_check
@wp.kernel
def rasterise(
    screen: wp.array2d(dtype=ScreenVertex),
    faces: wp.array(dtype=wp.vec3i),
    perspective: wp.bool,
    shift: wp.int32,
    offset: wp.int32,
    keys: wp.array3d(dtype=wp.uint64),
):
    """One thread a triangle: every sample, at (column << shift) + offset and (row << shift) + offset, keeps the least key that covers it, edges included."""
    frame, face = wp.tid()
    corners = faces[face]
    a = screen[frame, corners[0]]
    b = screen[frame, corners[1]]
    c = screen[frame, corners[2]]
    if a.weight == 0.0 or b.weight == 0.0 or c.weight == 0.0:
        return
    area = twice_area(b, c, a.x, a.y)
    if area <= wp.int64(0):
        return
    # what is linear on the picture and grows with depth: -1/z, or z itself for weak perspective
    ranks = wp.vec3(a.depth, b.depth, c.depth)
    if perspective:
        ranks = -wp.vec3(a.weight, b.weight, c.weight)
    ranks = ranks / float(area)

    step = 1 << shift
    column_low = wp.max((wp.min(a.x, wp.min(b.x, c.x)) - offset + step - 1) >> shift, 0)
    row_low = wp.max((wp.min(a.y, wp.min(b.y, c.y)) - offset + step - 1) >> shift, 0)
    column_high = wp.min((wp.max(a.x, wp.max(b.x, c.x)) - offset) >> shift, keys.shape[2] - 1)
    row_high = wp.min((wp.max(a.y, wp.max(b.y, c.y)) - offset) >> shift, keys.shape[1] - 1)

    row_a = twice_area(b, c, (column_low << shift) + offset, (row_low << shift) + offset)
    row_b = twice_area(c, a, (column_low << shift) + offset, (row_low << shift) + offset)
    right_a = wp.int64(c.y - b.y) * wp.int64(step)
    right_b = wp.int64(a.y - c.y) * wp.int64(step)
    down_a = wp.int64(b.x - c.x) * wp.int64(step)
    down_b = wp.int64(c.x - a.x) * wp.int64(step)
    for row in range(row_low, row_high + 1):
        edge_a = row_a
        edge_b = row_b
        for column in range(column_low, column_high + 1):
            edge_c = area - edge_a - edge_b
            if (edge_a | edge_b | edge_c) >= wp.int64(0):
                rank = float(edge_a) * ranks[0] + float(edge_b) * ranks[1] + float(edge_c) * ranks[2]
                wp.atomic_min(keys, frame, row, column, sample_key(rank, face))
            edge_a += right_a
            edge_b += right_b
        row_a += down_a
        row_b += down_b


@no_type_check
@wp.func
def corner_shares(a: ScreenVertex, b: ScreenVertex, c: ScreenVertex, x: wp.int32, y: wp.int32):
    """The corners' perspective-correct shares of a place inside their triangle; they sum to 1."""
    edge_a = twice_area(b, c, x, y)
    edge_b = twice_area(c, a, x, y)
    edge_c = twice_area(b, c, a.x, a.y) - edge_a - edge_b
    shares = wp.vec3(float(edge_a) * a.weight, float(edge_b) * b.weight, float(edge_c) * c.weight)
    return shares / (shares[0] + shares[1] + shares[2])


@no_type_check
@wp.func
def part_at(surface: Surface, face: wp.int32, shares: wp.vec3):
    """The candidate of largest weight, the first of equals."""
    weights = wp.transpose(surface.corner_weights[face]) * shares
    parts = surface.corner_parts[face]
    part = parts[0]
    if weights[1] > weights[0]:
        part = parts[1]
    if weights[2] > wp.max(weights[0], weights[1]):
        part = parts[2]
    return part


@no_type_check
@wp.func
def light_at(surface: Surface, light: Light, screen: wp.array2d(dtype=ScreenVertex), frame: wp.int32, face: wp.int32, x: wp.int32, y: wp.int32):
    """Linear light, 0..1, that leaves a place of a face."""
    i = surface.faces[face]
    s = corner_shares(screen[frame, i[0]], screen[frame, i[1]], screen[frame, i[2]], x, y)
    normal = wp.normalize(surface.normals[frame, i[0]] * s[0] + surface.normals[frame, i[1]] * s[1] + surface.normals[frame, i[2]] * s[2])
    colour = surface.colours[i[0]] * s[0] + surface.colours[i[1]] * s[1] + surface.colours[i[2]] * s[2]
    radiance = light.ambient[frame]
    for k in range(light.directions.shape[1]):
        radiance += light.colours[frame, k] * wp.max(wp.dot(normal, light.directions[frame, k]), 0.0)
    return wp.vec3(wp.clamp(colour[0] * radiance[0], 0.0, 1.0), wp.clamp(colour[1] * radiance[1], 0.0, 1.0), wp.clamp(colour[2] * radiance[2], 0.0, 1.0))


@no_type_check
@wp.func
def vec3_from_bytes(p: wp.vec3ub):
    return wp.vec3(float(p[0]), float(p[1]), float(p[2]))


@no_type_check
@wp.func
def background_at(background: Background, frame: wp.int32, x: wp.float32, y: wp.float32):
    """sRGB levels 0..255 of the photo at a pixel: bilinear, edge pixels repeated."""
    across = background.photo_from_pixel[frame, 0]
    down = background.photo_from_pixel[frame, 1]
    last_column = background.photo.shape[1] - 1
    last_row = background.photo.shape[0] - 1
    u = wp.clamp(across[0] * x + across[1] * y + across[2], 0.0, float(last_column))
    v = wp.clamp(down[0] * x + down[1] * y + down[2], 0.0, float(last_row))
    left = int(u)
    top = int(v)
    right = wp.min(left + 1, last_column)
    bottom = wp.min(top + 1, last_row)
    s = u - float(left)
    t = v - float(top)
    upper = vec3_from_bytes(background.photo[top, left]) * (1.0 - s) + vec3_from_bytes(background.photo[top, right]) * s
    lower = vec3_from_bytes(background.photo[bottom, left]) * (1.0 - s) + vec3_from_bytes(background.photo[bottom, right]) * s
    return upper * (1.0 - t) + lower * t


@no_type_check
@wp.func
def linear_from_level(tables: SrgbTables, level: wp.float32):
    """Linear light of an sRGB level 0..255; exact at quarter levels, between them off by less than a thousandth of a level."""
    place = level * _QUARTERS
    i = int(place)
    return tables.decode[i] + (tables.decode[i + 1] - tables.decode[i]) * (place - float(i))


@no_type_check
@wp.func
def level_from_linear(tables: SrgbTables, linear: wp.float32):
    """The nearest sRGB level of linear light 0..1; no bin holds more than one threshold."""
    level = int(tables.starts[int(linear * _LEVELS)])
    if linear >= tables.thresholds[level]:
        level += 1
    return wp.uint8(level)


@no_type_check
@wp.kernel
def resolve(
    screen: wp.array2d(dtype=ScreenVertex),
    boxes: wp.array2d(dtype=wp.int32),
    centre_keys: wp.array3d(dtype=wp.uint64),
    colour_keys: wp.array3d(dtype=wp.uint64),
    surface: Surface,
    light: Light,
    background: Background,
    tables: SrgbTables,
    samples: wp.int32,
    shift: wp.int32,
    offset: wp.int32,
    columns: wp.int32,
    rgb: wp.array3d(dtype=wp.vec3ub),
    depths: wp.array3d(dtype=wp.float32),
    parts: wp.array3d(dtype=wp.uint8),
):
    """One thread a piece of a row, `columns` wide: labels of the face that won the pixel's centre, colour of those that won its samples."""
    frame, y, piece = wp.tid()
    inside_y = y >= boxes[frame, 1] and y <= -boxes[frame, 3]
    total = samples * samples
    for x in range(piece * columns, wp.min((piece + 1) * columns, rgb.shape[2])):
        depth = wp.float32(0.0)
        part = wp.uint8(0)
        covered = wp.int32(0)
        linear = wp.vec3(0.0, 0.0, 0.0)
        if inside_y and x >= boxes[frame, 0] and x <= -boxes[frame, 2]:
            key = centre_keys[frame, y, x]
            if key != _EMPTY:
                face = int(key & _FACE)
                corners = surface.faces[face]
                a = screen[frame, corners[0]]
                b = screen[frame, corners[1]]
                c = screen[frame, corners[2]]
                shares = corner_shares(a, b, c, x << _SHIFT, y << _SHIFT)
                depth = shares[0] * a.depth + shares[1] * b.depth + shares[2] * c.depth
                part = part_at(surface, face, shares)
            for i in range(samples):
                for j in range(samples):
                    row = y * samples + i
                    column = x * samples + j
                    colour_key = colour_keys[frame, row, column]
                    if colour_key != _EMPTY:
                        linear += light_at(surface, light, screen, frame, int(colour_key & _FACE), (column << shift) + offset, (row << shift) + offset)
                        covered += 1
        depths[frame, y, x] = depth
        parts[frame, y, x] = part
        level = wp.vec3(0.0, 0.0, 0.0)
        if covered < total:
            level = background_at(background, frame, float(x), float(y))
        if covered == 0:
            rgb[frame, y, x] = wp.vec3ub(wp.uint8(level[0] + 0.5), wp.uint8(level[1] + 0.5), wp.uint8(level[2] + 0.5))
        else:
            if covered < total:
                behind = wp.vec3(linear_from_level(tables, level[0]), linear_from_level(tables, level[1]), linear_from_level(tables, level[2]))
                linear += behind * float(total - covered)
            linear = linear / float(total)
            rgb[frame, y, x] = wp.vec3ub(level_from_linear(tables, linear[0]), level_from_linear(tables, linear[1]), level_from_linear(tables, linear[2]))
