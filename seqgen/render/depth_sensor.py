"""Depth as a sensor sees it, beside the clean one: structured light, active stereo, time of flight.

A device is modelled at the clip's own pixels: with `clip.size` and the intrinsics of a camera preset these are the device's; a clip of another size is one
taken through another lens. The projector, or second camera, stands to the right of the one that sees, so shadows fall to the left of things: with Kinect v1
the projector is the leftmost eye for who looks at it, with D435 depth is that of the left imager.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp
from jaxtyping import Float32, UInt16

from seqgen.camera import Camera
from seqgen.errors import UserError
from seqgen.render import depth_sensor_kernels, time_of_flight_kernels, triangulation_kernels
from seqgen.render.device import Workspace
from seqgen.render.noise_kernels import hash_on_host, normal_quantiles, stream_key
from seqgen.scene.sensor import DepthKind

Array = np.ndarray
StructInstance = Any  # Warp's structs are no Python types
CONCERN = 1  # of the noise; the colour sensor has another
STEEPEST_RAD = np.radians(85.0)  # no sensor reads beyond
WALL_M = (0.3, 1.5)  # how far behind the hand time of flight finds a wall where nothing is known, least and most


@dataclass(frozen=True)
class Device:
    """A depth sensor's figures, published ones where there are.

    baseline_m        from camera to projector or second camera, 0 for time of flight
    disparity_steps   of a pixel of disparity that readings come in, 0 where they come in steps of depth
    step_m            those steps of depth
    range_m           nearest and farthest reading
    noise_m           standard deviation on a frontal surface at depth z: noise_m[0] + noise_m[1] z + noise_m[2] z^2
    noise_px          of the disparity, besides: adds noise_px z^2 / (baseline f)
    grazing_m         grows by grazing_m g(angle) / sqrt(z), or z^1.5 for time of flight, with g = (angle / (pi / 2 - angle))^2
    lateral_px        standard deviation of where an edge is seen
    block_px          side of the blocks in which it is seen together, a power of two
    lost_edges        share of the pixels at edges without reading
    fading_deg        angles of incidence where readings begin to be lost, and where all are
    faintest          least cos(angle) / z^2 that returns enough light
    """

    baseline_m: float
    disparity_steps: float
    step_m: float
    range_m: tuple[float, float]
    noise_m: tuple[float, float, float]
    noise_px: float
    grazing_m: float
    lateral_px: float
    block_px: int
    lost_edges: float
    fading_deg: tuple[float, float]
    faintest: float = 0.0


# Kinect v1: 75 mm and steps of 1/8 px from Khoshelham, Elberink (Sensors 2012); noise 1.2 mm + 1.9 mm (z - 0.4)^2, its growth with the angle and 0.8 px
# from Nguyen, Izadi, Lovell (3DIMPVT 2012), who read from 0.4 m.
KINECT_V1 = Device(0.075, 8.0, 0.0, (0.4, 5.0), (0.0012 + 0.0019 * 0.16, -0.0019 * 0.8, 0.0019), 0.0, 1e-4, 0.8, 4, 0.5, (70.0, 85.0))
# SR300: steps of 0.125 mm from Zabatani et al. (PAMI 2020), 0.2 to 1.5 m from Intel's specifications. Estimates of ours, for want of published figures: the
# baseline (about 26 mm) and 0.05 px of noise in disparity, a millimetre at half a metre. Its code is told in time at each pixel, not in windows, so edges are finer.
SR300 = Device(0.026, 0.0, 0.000125, (0.2, 1.5), (0.0, 0.0, 0.0), 0.05, 1e-4, 0.5, 2, 0.3, (70.0, 85.0))
# D435: 50 mm, steps of 1/32 px and 0.08 px of noise from Intel's datasheet and Grunnet-Jepsen, Sweetser, Woodfill, Tuning depth cameras for best performance.
D435 = Device(0.05, 32.0, 0.0, (0.11, 6.5), (0.0, 0.0, 0.0), 0.08, 1e-4, 0.8, 4, 0.5, (70.0, 85.0))
# Kinect v2: noise 1.5 - 0.5 z + 0.3 z^2 mm, its growth with the angle and 1.6 mm of lateral noise (0.6 px at a metre) from Fankhauser et al. (ICAR 2015);
# steps and range are Microsoft's; the least light is an estimate of ours.
KINECT_V2 = Device(0.0, 0.0, 0.001, (0.5, 4.5), (0.0015, -0.0005, 0.0003), 0.0, 1e-4, 0.6, 1, 0.3, (72.0, 85.0), faintest=0.04)
DEVICES: dict[DepthKind, Device] = {"sr300": SR300, "kinect_v1": KINECT_V1, "kinect_v2": KINECT_V2, "d435": D435}


class DepthSensor:
    """Measures clean depth, and keeps its working memory between clips of one shape. `device`: "cpu", "cuda" or "cuda:N"."""

    def __init__(self, device: str = "cpu"):
        self._space = Workspace(device)
        self._tables = [self._space.give(table, np.float32, wp.float32) for table in (normal_quantiles(), grazing_growth())]

    def measure(
        self, depth_m: Float32[Array, "frames height width"] | wp.array, camera: Camera, kind: DepthKind, *, seed: int, sequence: int
    ) -> UInt16[Array, "frames height width"]:
        """Readings in 0.1 mm, 0 for none, of clean depth (0 for nothing), which may lie on this device already.

        Where there is nothing there is no reading, but for pixels at an edge: within the lateral noise of it, and those that fly (time of flight).
        """
        if camera.kind != "perspective":
            raise UserError(f"sensor.depth = {kind}: a depth sensor has a perspective camera; set camera.kind to perspective or sensor.depth to none")
        device = DEVICES[kind]
        view = self._view(depth_m, camera, device.baseline_m)
        told = _tell(device, float(camera.intrinsics[0, 0, 0]), stream_key(seed, sequence, CONCERN))
        readings = self._space.new(depth_m.shape, wp.uint16)
        kernel = triangulation_kernels.triangulate if device.baseline_m else time_of_flight_kernels.time_flight
        self._space.launch_rows(kernel, depth_m.shape, view, told, readings)
        return readings.numpy()

    def _view(self, depth_m: Float32[Array, "frames height width"] | wp.array, camera: Camera, baseline_m: float) -> StructInstance:
        """Clean depth, what the projector reaches of it, and the box of every frame that holds all there is."""
        view = depth_sensor_kernels.View()
        view.depths = depth_m if isinstance(depth_m, wp.array) else self._space.give(depth_m, np.float32, wp.float32)
        view.intrinsics = self._space.give(camera.intrinsics, np.float32, wp.mat33)
        view.lit, view.boxes = self._space.buffer("lit", depth_m.shape, wp.uint8), self._space.buffer("boxes", (depth_m.shape[0], 4), wp.int32)
        view.quantiles, view.grazing = self._tables
        view.boxes.fill_(np.iinfo(np.int32).max // 2)
        self._space.launch(triangulation_kernels.light_up, depth_m.shape[:2], view.depths, view.intrinsics, baseline_m, view.lit, view.boxes)
        return view


def axial_noise_m(device: Device, focal_px: float) -> tuple[float, float, float]:
    """The polynomial of depth that is the standard deviation of readings of a frontal surface, metres."""
    constant, linear, square = device.noise_m
    return constant, linear, square + (device.noise_px / (device.baseline_m * focal_px) if device.noise_px else 0.0)


def grazing_growth() -> Float32[Array, "bins"]:
    """(angle / (pi / 2 - angle))^2 over the cosine of the angle of incidence (Nguyen et al. 2012, Fankhauser et al. 2015)."""
    cosine = (np.arange(depth_sensor_kernels.ANGLES + 1) + 0.5) / depth_sensor_kernels.ANGLES
    angle = np.minimum(np.arccos(np.minimum(cosine, 1.0)), STEEPEST_RAD)
    return ((angle / (np.pi / 2 - angle)) ** 2).astype(np.float32)


def wall_distance_m(key: int) -> float:
    """How far behind the hand a clip's wall stands."""
    return WALL_M[0] + (WALL_M[1] - WALL_M[0]) * (hash_on_host(key, 1 << 32) >> 40) / (1 << 24)


def _tell(device: Device, focal_px: float, key: int) -> StructInstance:
    told = depth_sensor_kernels.Device()
    for name in ("baseline_m", "disparity_steps", "step_m", "lateral_px", "lost_edges", "faintest"):
        setattr(told, name, getattr(device, name))
    told.range_m, told.fading = wp.vec2(*device.range_m), wp.vec2(*map(float, np.cos(np.radians(device.fading_deg))))
    told.noise, told.grazing = wp.vec3(*axial_noise_m(device, focal_px)), device.grazing_m
    told.block_shift = device.block_px.bit_length() - 1
    told.wall_m, told.key = wall_distance_m(key), key
    return told
