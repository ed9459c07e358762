"""What the Warp kernels of all depth sensors have in common (`triangulation_kernels.py`, `time_of_flight_kernels.py`): edges, angles, noise, dropouts, steps.

Each effect is a function with its source; the figures of the devices are in `depth_sensor.py`. Depths are metres, 0 where there is nothing.
"""

from typing import no_type_check

import warp as wp

from seqgen.render.noise_kernels import hash_at, normal_from_bits

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

ANGLES = 256  # bins of the table of grazing noise, over the cosine of the angle of incidence

_FAR = wp.constant(1.0e6)  # beyond everything
_UNITS = wp.constant(10000.0)  # readings are in 0.1 mm
_REACH_PX = wp.constant(4)  # lateral noise stays below: the quantiles end at 3.3
_EDGE_SLOPE = wp.constant(5.7)  # tan 80 degrees: neighbours that differ by more than such a slope are two surfaces; no sensor reads a steeper one


@no_type_check
@wp.struct
class Device:
    """The figures of `depth_sensor.Device` that kernels need; the noise key; for time of flight, how far behind the hand the wall stands."""

    baseline_m: wp.float32
    disparity_steps: wp.float32
    step_m: wp.float32
    range_m: wp.vec2
    noise: wp.vec3
    grazing: wp.float32
    lateral_px: wp.float32
    block_shift: wp.int32
    lost_edges: wp.float32
    fading: wp.vec2
    faintest: wp.float32
    wall_m: wp.float32
    key: wp.uint64


@no_type_check
@wp.struct
class View:
    """Clean depth; what the projector reaches of it and the box that holds it, from `light_up`; intrinsics; the tables of `depth_sensor`."""

    depths: wp.array3d(dtype=wp.float32)
    lit: wp.array3d(dtype=wp.uint8)
    boxes: wp.array2d(dtype=wp.int32)
    intrinsics: wp.array(dtype=wp.mat33)
    quantiles: wp.array(dtype=wp.float32)
    grazing: wp.array(dtype=wp.float32)


@no_type_check
@wp.func
def depth_at(depths: wp.array3d(dtype=wp.float32), frame: wp.int32, y: wp.int32, x: wp.int32):
    """The depth at a pixel; outside the picture there is nothing."""
    if x < 0 or y < 0 or x >= depths.shape[2] or y >= depths.shape[1]:
        return wp.float32(0.0)
    return depths[frame, y, x]


@no_type_check
@wp.func
def apart(a: wp.float32, b: wp.float32, focal: wp.float32):
    """Whether two neighbouring pixels see two surfaces, or one of them nothing."""
    return (a == 0.0) != (b == 0.0) or wp.abs(a - b) * focal > _EDGE_SLOPE * wp.min(a, b)


@no_type_check
@wp.func
def neighbour_apart(depths: wp.array3d(dtype=wp.float32), focal: wp.float32, frame: wp.int32, y: wp.int32, x: wp.int32):
    """The nearest surface among those of the four neighbours that are not this pixel's; _FAR if all of those see nothing, 0 if there are none."""
    z = depths[frame, y, x]
    found = wp.float32(0.0)
    for i in range(4):
        side = 1 - (i & 2)
        row = wp.clamp(y + side * (i & 1), 0, depths.shape[1] - 1)
        column = wp.clamp(x + side * (1 - (i & 1)), 0, depths.shape[2] - 1)
        other = depths[frame, row, column]
        if apart(z, other, focal):
            if other == 0.0:
                other = _FAR
            if found == 0.0 or other < found:
                found = other
    return found


@no_type_check
@wp.func
def flatter(z: wp.float32, before: wp.float32, after: wp.float32):
    """The flatter of the two one-sided differences, so that a surface's own slope is found beside its edges."""
    backward = wp.float32(_FAR)
    forward = wp.float32(_FAR)
    if before > 0.0:
        backward = z - before
    if after > 0.0:
        forward = after - z
    if wp.abs(forward) < wp.abs(backward):
        backward = forward
    return backward


@no_type_check
@wp.func
def incidence(depths: wp.array3d(dtype=wp.float32), k: wp.mat33, frame: wp.int32, y: wp.int32, x: wp.int32):
    """Cosine of the angle between a pixel's ray and the surface's normal.

    A surface z(x, y) has the normal (-fx dz/dx, -fy dz/dy, z + (x - cx) dz/dx + (y - cy) dz/dy), whose product with the ray ((x - cx)/fx, (y - cy)/fy, 1) is z.
    """
    z = depths[frame, y, x]
    across = flatter(z, depth_at(depths, frame, y, x - 1), depth_at(depths, frame, y, x + 1))
    down = flatter(z, depth_at(depths, frame, y - 1, x), depth_at(depths, frame, y + 1, x))
    u = float(x) - k[0, 2]
    v = float(y) - k[1, 2]
    normal = wp.vec3(-k[0, 0] * across, -k[1, 1] * down, z + u * across + v * down)
    ray = wp.vec3(u / k[0, 0], v / k[1, 1], 1.0)
    return z / wp.sqrt(wp.dot(normal, normal) * wp.dot(ray, ray))


@no_type_check
@wp.func
def strayed(view: View, device: Device, key: wp.uint64, frame: wp.int32, y: wp.int32, x: wp.int32):
    """Lateral noise: the (row, column) that is read in place of a pixel.

    Another one only across an edge, for within a surface the axial noise, as it was measured, has it already. The pixels of a block stray together, as
    their matching windows overlap. Size: Nguyen, Izadi, Lovell (3DIMPVT 2012) for Kinect v1, Fankhauser et al. (ICAR 2015) for Kinect v2.
    """
    depths = view.depths
    block = (y >> device.block_shift) * depths.shape[2] + (x >> device.block_shift)
    bits = hash_at(key, -1 - block)  # pixels' own numbers are positive
    row = wp.clamp(int(float(y) + 0.5 + device.lateral_px * normal_from_bits(bits, 0, view.quantiles)), 0, depths.shape[1] - 1)
    column = wp.clamp(int(float(x) + 0.5 + device.lateral_px * normal_from_bits(bits, 20, view.quantiles)), 0, depths.shape[2] - 1)
    away = wp.max(wp.max(wp.abs(row - y), wp.abs(column - x)), 1)
    place = wp.vec2i(y, x)
    if apart(depths[frame, y, x], depths[frame, row, column], view.intrinsics[frame][0, 0] / float(away)):
        place = wp.vec2i(row, column)
    return place


@no_type_check
@wp.func
def fades(cosine: wp.float32, chance: wp.float32, device: Device):
    """Dropouts on grazing surfaces: none above the first cosine of `fading`, all below the second, evenly more between.

    Nguyen et al. (2012) and Fankhauser et al. (2015) got few readings beyond 80 degrees and none near 90, from Kinect v1 and v2.
    """
    return chance * (device.fading[0] - device.fading[1]) < device.fading[0] - cosine


@no_type_check
@wp.func
def axial_sigma(z: wp.float32, device: Device):
    """Standard deviation of readings of a frontal surface, metres: a polynomial of its depth."""
    return device.noise[0] + z * (device.noise[1] + z * device.noise[2])


@no_type_check
@wp.func
def pixel_number(stride: wp.int32, y: wp.int32, x: wp.int32):
    """A pixel's number in its frame's noise; pixels just outside the picture have theirs."""
    return (y + 1) * (stride + 2) + x + 1


@no_type_check
@wp.func
def smooth_normal(key: wp.uint64, stride: wp.int32, y: wp.int32, x: wp.int32, quantiles: wp.array(dtype=wp.float32)):
    """A normal number of variance 1 that neighbours have in part in common: matching windows overlap, so noise is blotchy."""
    total = wp.float32(0.0)
    for j in range(-1, 2):
        for i in range(-1, 2):
            total += normal_from_bits(hash_at(key, pixel_number(stride, y + j, x + i)), 0, quantiles)
    return total / 3.0


@no_type_check
@wp.func
def stored(reading: wp.float32):
    return wp.uint16(wp.clamp(reading * _UNITS + 0.5, 0.0, 65535.0))


@no_type_check
@wp.func
def out_of_reach(view: View, frame: wp.int32, y: wp.int32, x: wp.int32):
    """Whether a pixel is so far from the box that it cannot read what is in it."""
    low = view.boxes[frame, 0] - x > _REACH_PX or view.boxes[frame, 1] - y > _REACH_PX
    return low or x + view.boxes[frame, 2] > _REACH_PX or y + view.boxes[frame, 3] > _REACH_PX


@no_type_check
@wp.func
def with_noise(z: wp.float32, sigma: wp.float32, normal: wp.float32, step: wp.float32):
    """A depth with noise, before it is rounded to steps. Sigma was measured on readings, so it holds the variance that rounding adds, a step's twelfth."""
    return z + normal * wp.sqrt(wp.max(sigma * sigma - step * step / 12.0, 0.0))


@no_type_check
@wp.func
def stepped(z: wp.float32, sigma: wp.float32, normal: wp.float32, step: wp.float32):
    """A reading in steps of depth."""
    return step * wp.rint(with_noise(z, sigma, normal, step) / step)
