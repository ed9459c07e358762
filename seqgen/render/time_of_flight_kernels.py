"""Warp kernels of time of flight: readings, and pixels that fly between two surfaces."""

from typing import no_type_check

import warp as wp

from seqgen.render.depth_sensor_kernels import ANGLES, Device, View, axial_sigma, fades, incidence, neighbour_apart, out_of_reach, pixel_number, stepped, stored, strayed
from seqgen.render.noise_kernels import hash_at, normal_from_bits, uniform_from_bits

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

_ANGLES = wp.constant(float(ANGLES))


@no_type_check
@wp.func
def mixed(z: wp.float32, other: wp.float32, share: wp.float32):
    """Flying pixels: a pixel that sees two surfaces, `share` of it the other one, reads between them, nearer to what returns more light (Sarbolandi et al. 2015).

    The mean weighted by light, share / distance^2, is what their waves add up to where they differ by little of the modulation's wavelength.
    """
    light = (1.0 - share) / (z * z)
    light_other = share / (other * other)
    return (z * light + other * light_other) / (light + light_other)


@no_type_check
@wp.func
def flown_at(view: View, device: Device, key: wp.uint64, frame: wp.int32, y: wp.int32, x: wp.int32):
    """The reading of time of flight at a pixel, metres, 0 for none. Where a pixel or its neighbour across an edge sees nothing, there stands the wall.

    Light falls with the square of the distance and, by Lambert's law, with the cosine of incidence; too little of it gives no reading.
    """
    place = strayed(view, device, key, frame, y, x)
    z = view.depths[frame, place[0], place[1]]
    other = neighbour_apart(view.depths, view.intrinsics[frame][0, 0], frame, place[0], place[1])
    cosine = wp.float32(1.0)
    if z > 0.0:
        cosine = incidence(view.depths, view.intrinsics[frame], frame, place[0], place[1])
    elif other > 0.0:
        z = other + device.wall_m
    chances = hash_at(key, pixel_number(view.depths.shape[2], y, x))
    if z < device.range_m[0] or z > device.range_m[1] or cosine < device.faintest * z * z or fades(cosine, uniform_from_bits(chances, 16), device):
        return wp.float32(0.0)
    if other > 0.0:
        if uniform_from_bits(chances, 32) < device.lost_edges:
            return wp.float32(0.0)
        z = mixed(z, wp.min(other, z + device.wall_m), 0.5 * uniform_from_bits(chances, 48))
    sigma = axial_sigma(z, device) + device.grazing * view.grazing[int(cosine * _ANGLES)] * z * wp.sqrt(z)
    return stepped(z, sigma, normal_from_bits(chances, 0, view.quantiles), device.step_m)


@no_type_check
@wp.kernel
def time_flight(view: View, device: Device, readings: wp.array3d(dtype=wp.uint16), columns: wp.int32):
    """Time of flight, 0.1 mm."""
    frame, y, piece = wp.tid()
    key = hash_at(device.key, frame)
    for x in range(piece * columns, wp.min((piece + 1) * columns, readings.shape[2])):
        reading = wp.float32(0.0)
        if not out_of_reach(view, frame, y, x):
            reading = flown_at(view, device, key, frame, y, x)
        readings[frame, y, x] = stored(reading)
