"""From light to the picture a camera stores: defocus, exposure and white balance, noise, the camera's own sharpening, its JPEG.

    light ──> defocus ──> exposure, noise, sRGB ──> spectrum and sharpening of the luma ──> bytes ──> JPEG and back

The same clip gives the same bits, alone or in any order, on the CPU and on CUDA: noise is a hash of (seed, sequence, frame, pixel).
Light beyond white is cut off hard: a full well is hard, and photographs behind the hand have been through a camera's curve already.
"""

import io

import numpy as np
import warp as wp
from jaxtyping import Float, Float32, UInt8
from PIL import Image
from scipy.optimize import brentq
from scipy.special import ive

from seqgen.render import sensor_kernels
from seqgen.render.device import Workspace
from seqgen.render.noise_kernels import normal_quantiles, stream_key
from seqgen.render.spectrum import amplitude_change, amplitude_gain
from seqgen.scene.sensor import Sensor
from seqgen.srgb import linear_from_srgb, srgb_from_linear

Array = np.ndarray
CONCERN = 0  # of the noise; the depth sensor has another
SHARP_PX = 0.3  # a blur below this cannot be seen
MAX_TAP_VARIANCE = 4.0  # of the Gaussian that seven taps are cut from: enough for a blur of MAX_DEFOCUS_PX


class Developer:
    """Makes pictures of light, and keeps its working memory between clips of one shape. `device`: "cpu", "cuda" or "cuda:N"."""

    def __init__(self, device: str = "cpu"):
        self._space = Workspace(device)
        starts, thresholds = level_tables()
        self._levels = self._space.give(starts, np.uint8, wp.uint8), self._space.give(thresholds, np.float32, wp.float32)
        self._curve = self._space.give(srgb_chords(), np.float32, wp.vec2)
        self._quantiles = self._space.give(normal_quantiles(), np.float32, wp.float32)

    def develop(self, radiance: Float32[Array, "frames height width 3"], sensor: Sensor, *, seed: int, sequence: int) -> UInt8[Array, "frames height width 3"]:
        """sRGB bytes of linear light."""
        shape = radiance.shape[:3]
        light = self._space.give(radiance, np.float32, wp.vec3)
        rgb = self._space.new(shape, wp.vec3ub)
        if sensor.kind == "none":
            self._space.launch_rows(sensor_kernels.encode, shape, light, *self._levels, rgb)
            return rgb.numpy()
        levels, lumas = self._expose(self._defocus(light, sensor.defocus_px), sensor, stream_key(seed, sequence, CONCERN))
        gain = amplitude_gain((shape[2], shape[1]), tilt=sensor.tilt, bend=sensor.bend, sharpening=sensor.sharpening)
        changes = self._space.give(amplitude_change(lumas.numpy(), gain), np.float32, wp.float32)
        self._space.launch_rows(sensor_kernels.finish, shape, levels, changes, rgb)
        return recompress(rgb.numpy(), sensor.jpeg_quality) if sensor.jpeg_quality else rgb.numpy()

    def _defocus(self, light: wp.array, sigma_px: float) -> wp.array:
        """Blurred light, or the same where the blur cannot be seen."""
        if sigma_px < SHARP_PX:
            return light
        taps = wp.vec4(*map(float, gaussian_taps(sigma_px)))
        half, whole = (self._space.buffer(name, light.shape, wp.vec3) for name in ("half blurred", "blurred"))
        self._space.launch_rows(sensor_kernels.blur_rows, light.shape, light, taps, half)
        self._space.launch_rows(sensor_kernels.blur_columns, light.shape, half, taps, whole)
        return whole

    def _expose(self, light: wp.array, sensor: Sensor, key: int) -> tuple[wp.array, wp.array]:
        """sRGB levels with noise, and their luma."""
        bins = sensor_kernels.BINS
        exposure = sensor_kernels.Exposure()
        exposure.gains = wp.vec3(*(float(gain) * bins for gain in sensor.gains))
        exposure.shot, exposure.read, exposure.key = bins / sensor.electrons, (bins * sensor.read_electrons / sensor.electrons) ** 2, key
        levels, lumas = self._space.buffer("levels", light.shape, wp.vec3), self._space.buffer("lumas", light.shape, wp.float32)
        self._space.launch_rows(sensor_kernels.expose, light.shape, light, exposure, self._curve, self._quantiles, levels, lumas)
        return levels, lumas


def gaussian_taps(sigma_px: float) -> Float[Array, "4"]:
    """The middle and one side of seven symmetric taps: a discrete Gaussian (Lindeberg, Scale-space for discrete signals, PAMI 1990) that sums to 1 and, cut
    as it is, has exactly the variance asked for."""

    def taps(variance: float) -> Float[Array, "4"]:
        side = ive(np.arange(4), variance)
        return side / (side[0] + 2 * side[1:].sum())

    return taps(brentq(lambda variance: 2 * taps(variance)[1:] @ [1, 4, 9] - sigma_px**2, 0.0, MAX_TAP_VARIANCE))


def level_tables() -> tuple[UInt8[Array, "bins"], Float32[Array, "256"]]:
    """The level where each bin of light starts; the least float32 light at which level i becomes i + 1."""
    exact = linear_from_srgb((np.arange(255) + 0.5) / 255.0)
    rounded = exact.astype(np.float32)
    thresholds = np.append(np.where(rounded < exact, np.nextafter(rounded, np.float32(2)), rounded), np.float32(np.inf))
    starts = np.searchsorted(thresholds, np.arange(sensor_kernels.BINS + 1, dtype=np.float32) / sensor_kernels.BINS, side="right")
    return starts.astype(np.uint8), thresholds


def srgb_chords() -> Float32[Array, "bins 2"]:
    """Offset and slope, in levels, of a straight line over each bin of light, the place being counted in bins."""
    place = np.arange(sensor_kernels.BINS + 1)
    levels = 255 * srgb_from_linear(place / sensor_kernels.BINS)
    slopes = np.append(np.diff(levels), 0.0)
    return np.stack([levels - slopes * place, slopes], 1).astype(np.float32)


def recompress(rgb: UInt8[Array, "frames height width 3"], quality: int) -> UInt8[Array, "frames height width 3"]:
    """Pictures that have been a JPEG with halved colour, as cameras write them."""
    return np.stack([_recompress_frame(frame, quality) for frame in rgb])


def _recompress_frame(rgb: UInt8[Array, "height width 3"], quality: int) -> UInt8[Array, "height width 3"]:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(stream))
