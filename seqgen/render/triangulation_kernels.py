"""Warp kernels of structured light and active stereo: what the projector reaches, and readings by triangulation."""

from typing import no_type_check

import warp as wp

from seqgen.render.depth_sensor_kernels import (
    ANGLES,
    Device,
    View,
    axial_sigma,
    fades,
    incidence,
    neighbour_apart,
    out_of_reach,
    pixel_number,
    smooth_normal,
    stepped,
    stored,
    strayed,
    with_noise,
)
from seqgen.render.noise_kernels import hash_at, uniform_from_bits

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

_ANGLES = wp.constant(float(ANGLES))
_FAR = wp.constant(1.0e6)  # beyond everything


@no_type_check
@wp.kernel
def light_up(
    depths: wp.array3d(dtype=wp.float32),
    intrinsics: wp.array(dtype=wp.mat33),
    baseline_m: wp.float32,
    lit: wp.array3d(dtype=wp.uint8),
    boxes: wp.array2d(dtype=wp.int32),
):
    """One thread a row: what is seen from the projector, or the second camera, `baseline_m` to the right (Khoshelham, Elberink, Sensors 2012).

    A point stands its disparity to the left there; it is hidden where one to its right stands as far left or farther. So near things shade what is to their
    left, baseline f (1 / z_near - 1 / z_far) pixels wide. What lies behind a thing narrower than its shadow is lost too, as matching keeps points in order.
    Shrinks the frame's (x_low, y_low, -x_high, -y_high) until the box holds all that is not nothing.
    """
    frame, y = wp.tid()
    leftmost = wp.float32(_FAR)
    low = depths.shape[2]
    high = wp.int32(-1)
    for i in range(depths.shape[2]):
        x = depths.shape[2] - 1 - i
        z = depths[frame, y, x]
        seen = wp.uint8(0)
        if z > 0.0:
            low = x
            high = wp.max(high, x)
            place = float(x) - baseline_m * intrinsics[frame][0, 0] / z
            if place < leftmost:
                seen = wp.uint8(1)
                leftmost = place
        lit[frame, y, x] = seen
    if high >= 0:
        wp.atomic_min(boxes, frame, 0, low)
        wp.atomic_min(boxes, frame, 1, y)
        wp.atomic_min(boxes, frame, 2, -high)
        wp.atomic_min(boxes, frame, 3, -y)


@no_type_check
@wp.func
def triangulated(z: wp.float32, sigma: wp.float32, normal: wp.float32, device: Device, focal: wp.float32):
    """A reading in steps of disparity (Khoshelham, Elberink 2012), or of depth where the device has such."""
    if device.step_m > 0.0:
        return stepped(z, sigma, normal, device.step_m)
    bf = device.baseline_m * focal * device.disparity_steps
    return bf / wp.rint(bf / with_noise(z, sigma, normal, z * z / bf))


@no_type_check
@wp.func
def triangulated_at(view: View, device: Device, key: wp.uint64, frame: wp.int32, y: wp.int32, x: wp.int32):
    """The reading of structured light or active stereo at a pixel, metres, 0 for none.

    Missing edges: a matching window that two surfaces share may fit neither (Sarbolandi, Lefloch, Kolb, CVIU 2015).
    """
    place = strayed(view, device, key, frame, y, x)
    z = view.depths[frame, place[0], place[1]]
    if z < device.range_m[0] or z > device.range_m[1] or view.lit[frame, place[0], place[1]] == wp.uint8(0):
        return wp.float32(0.0)
    k = view.intrinsics[frame]
    chances = hash_at(key, pixel_number(view.depths.shape[2], y, x))
    cosine = incidence(view.depths, k, frame, place[0], place[1])
    if fades(cosine, uniform_from_bits(chances, 16), device):
        return wp.float32(0.0)
    if uniform_from_bits(chances, 32) < device.lost_edges and neighbour_apart(view.depths, k[0, 0], frame, place[0], place[1]) > 0.0:
        return wp.float32(0.0)
    sigma = axial_sigma(z, device) + device.grazing * view.grazing[int(cosine * _ANGLES)] / wp.sqrt(z)
    return triangulated(z, sigma, smooth_normal(key, view.depths.shape[2], y, x, view.quantiles), device, k[0, 0])


@no_type_check
@wp.kernel
def triangulate(view: View, device: Device, readings: wp.array3d(dtype=wp.uint16), columns: wp.int32):
    """Structured light and active stereo, 0.1 mm."""
    frame, y, piece = wp.tid()
    key = hash_at(device.key, frame)
    for x in range(piece * columns, wp.min((piece + 1) * columns, readings.shape[2])):
        reading = wp.float32(0.0)
        if not out_of_reach(view, frame, y, x):
            reading = triangulated_at(view, device, key, frame, y, x)
        readings[frame, y, x] = stored(reading)
