"""From light to the picture a camera stores: defocus, exposure and white balance, noise, the camera's own sharpening, its JPEG.

    light ──> defocus ──> exposure, noise, sRGB ──> spectrum and sharpening of the luma ──> bytes ──> what a JPEG leaves of them

The same clip gives the same bits, alone or in any order, on the CPU and on CUDA: noise is a hash of (seed, sequence, frame, pixel).
Photographs behind the hand have been exposed once already, their whites are white: a brighter exposure presses highlights together instead of cutting them
off, so that what was below white stays below it (`shoulder`). What is brighter than a photo can hold, as gloss is, becomes white.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import numpy as np
import torch
import warp as wp
from jaxtyping import Float, Float32, Int32, UInt8, UInt32
from PIL import Image
from scipy.optimize import brentq
from scipy.special import ive

from seqgen.render import jpeg_kernels, sensor_kernels
from seqgen.render.device import Workspace
from seqgen.render.noise_kernels import stream_key
from seqgen.render.spectrum import amplitude_change, amplitude_change_by_products, amplitude_gain
from seqgen.scene.sensor import Sensor
from seqgen.srgb import linear_from_srgb, srgb_from_linear

Array = np.ndarray
CONCERN = 0  # of the noise; the depth sensor has another
SHARP_PX = 0.3  # a blur below this cannot be seen
MAX_TAP_VARIANCE = 4.0  # of the Gaussian that seven taps are cut from: enough for a blur of MAX_DEFOCUS_PX
KNEE = 0.6  # light below stays in proportion however bright the exposure: most skin does


class Developer:
    """Makes pictures of light, and keeps its working memory between clips of one shape. `device`: "cpu", "cuda" or "cuda:N"."""

    def __init__(self, device: str = "cpu"):
        self._space = Workspace(device)
        self._levels = self._space.give(packed_levels(), np.uint32, wp.uint32)

    def develop(
        self, radiance: Float32[Array, "frames height width 3"] | wp.array, sensor: Sensor, *, seed: int, sequence: int
    ) -> UInt8[Array, "frames height width 3"]:
        """sRGB bytes of linear light, which may lie on this device already: a Warp array of vec3, (frames, height, width)."""
        light = radiance if isinstance(radiance, wp.array) else self._space.give(radiance, np.float32, wp.vec3)
        rgb = self._space.new(light.shape, wp.vec3ub)
        if sensor.kind == "none":
            self._space.launch_rows(sensor_kernels.encode, light.shape, light, self._levels, rgb)
            return rgb.numpy()
        levels, lumas = self._expose(self._defocus(light, sensor.defocus_px), sensor, stream_key(seed, sequence, CONCERN))
        gain = amplitude_gain((light.shape[2], light.shape[1]), tilt=sensor.tilt, bend=sensor.bend, sharpening=sensor.sharpening)
        self._space.launch_rows(sensor_kernels.finish, light.shape, levels, self._change(lumas, gain), rgb)
        if sensor.jpeg_quality:
            self._compress(rgb, sensor.jpeg_quality)
        return rgb.numpy()

    def _change(self, lumas: wp.array, gain: Float32[Array, "height width"]) -> wp.array:
        """What the gain on the amplitudes adds, where the lumas are."""
        if self._space.device.is_cuda:
            with torch.cuda.stream(wp.stream_to_torch(self._space.device)):  # after the kernels before, and before those after
                return self._change_by_products(lumas, gain)
        return self._space.give(amplitude_change(lumas.numpy(), gain), np.float32, wp.float32)

    def _change_by_products(self, lumas: wp.array, gain: Float32[Array, "height width"]) -> wp.array:
        return wp.from_torch(amplitude_change_by_products(wp.to_torch(lumas), torch.tensor(gain, device=wp.device_to_torch(self._space.device))))

    def _compress(self, rgb: wp.array, quality: int) -> None:
        """Makes of our own pictures what a JPEG with halved colour leaves of them, as cameras write it."""
        frames, height, width = rgb.shape
        luma = self._space.buffer("luma", (frames, *(_in_blocks(side) for side in (height, width))), wp.uint8)
        chroma = self._space.buffer("chroma", (2 * frames, *(_in_blocks(-(-side // 2)) for side in (height, width))), wp.uint8)
        self._space.launch_rows(jpeg_kernels.luma_of, luma.shape, rgb, luma)
        self._space.launch_rows(jpeg_kernels.chroma_of, (frames, *chroma.shape[1:]), rgb, chroma)
        for samples, steps in zip((luma, chroma), jpeg_steps(quality), strict=True):
            pieces = (samples.shape[0], samples.shape[1] // jpeg_kernels.BLOCK, -(-samples.shape[2] // (jpeg_kernels.BLOCK * jpeg_kernels.LANES)))
            self._space.launch(jpeg_kernels.through_blocks, pieces, samples, self._space.give(steps, np.int32, wp.int32), jpeg_kernels.LANES)
        self._space.launch_rows(jpeg_kernels.rgb_of, rgb.shape, luma, chroma, rgb)

    def _defocus(self, light: wp.array, sigma_px: float) -> wp.array:
        """Blurred light, or the same where the blur cannot be seen."""
        if sigma_px < SHARP_PX:
            return light
        blurred = self._space.buffer("blurred", light.shape, wp.vec3)
        self._space.launch_rows(sensor_kernels.blur, light.shape, light, wp.vec4(*map(float, gaussian_taps(sigma_px))), blurred)
        return blurred

    def _expose(self, light: wp.array, sensor: Sensor, key: int) -> tuple[wp.array, wp.array]:
        """sRGB levels with noise, and their luma."""
        scale = noise_scale(sensor, white=max(1.0, float(sensor.gains.max())))
        exposure = sensor_kernels.Exposure()
        exposure.gains, exposure.dark = wp.vec3(*(float(gain) * scale.steps**2 for gain in sensor.gains)), scale.dark * scale.steps**2
        exposure.noise = scale.spread * scale.steps / sqrt(sensor_kernels.BYTES_VARIANCE)
        exposure.black, exposure.key = scale.black * scale.steps + exposure.noise * sensor_kernels.BYTES_MEAN, key
        curve = self._space.give(camera_curve(scale), np.float32, wp.float32)
        levels, lumas = self._space.buffer("levels", light.shape, wp.vec3ub), self._space.buffer("lumas", light.shape, wp.float32)
        self._space.launch_rows(sensor_kernels.expose, light.shape, light, exposure, curve, levels, lumas)
        return levels, lumas


@dataclass(frozen=True)
class NoiseScale:
    """A scale on which a sensor's noise is the same for all light: Anscombe's root (Biometrika 1948; with read noise, Murtagh, Starck & Bijaoui 1995).

    dark     light that gives as much noise as there is without light; place = sqrt(light + dark) + spread * normal
    spread   standard deviation of the noise
    black    the place that stands for no light: light = place^2 - black^2, whose mean is the light itself
    white    the light that is white
    steps    of the curve's table in a unit of place
    """

    dark: float
    spread: float
    black: float
    white: float
    steps: float


def noise_scale(sensor: Sensor, *, white: float) -> NoiseScale:
    """The square of a place has mean light + dark + spread^2, variance 4 (light + dark) spread^2 + 2 spread^4: that must be (light + read_electrons^2 /
    electrons) / electrons."""
    spread = 0.5 / sqrt(sensor.electrons)
    dark = max(sensor.read_electrons**2 / sensor.electrons - spread**2 / 2, 0.0)
    black = sqrt(dark + spread**2)
    return NoiseScale(dark, spread, black, white, sensor_kernels.STEPS / (sqrt(white + black**2) - black))


def camera_curve(scale: NoiseScale) -> Float32[Array, "steps"]:
    """The level, 0..255 with fractions, in the middle of each step between black and white; off by less than 0.1 from one end of a step to the other's."""
    place = scale.black + (np.arange(sensor_kernels.STEPS) + 0.5) / scale.steps
    return (255 * srgb_from_linear(shoulder(place**2 - scale.black**2, scale.white))).astype(np.float32)


def shoulder(light: Float[Array, "*any"], white: float) -> Float[Array, "*any"]:
    """Light 0..white pressed into 0..1: in proportion up to KNEE, then ever more slowly, and smoothly, so that white is 1. Nothing changes where white is 1."""
    power = (white - KNEE) / (1 - KNEE)
    above = np.clip((light - KNEE) / (white - KNEE), 0.0, 1.0)
    return np.where(light < KNEE, light, 1 - (1 - KNEE) * (1 - above) ** power)


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


def packed_levels() -> UInt32[Array, "bins"]:
    """Of each bin of light what `encode` asks for, a word."""
    starts, thresholds = level_tables()
    within = thresholds[starts] < (np.arange(len(starts)) + 1) / sensor_kernels.BINS
    fraction = np.where(within, thresholds[starts].view(np.uint32) & 0x7FFFFF, 0xFFFFFF)
    return (starts.astype(np.uint32) << 24 | fraction).astype(np.uint32)


@lru_cache(maxsize=128)
def jpeg_steps(quality: int) -> tuple[Int32[Array, "64"], Int32[Array, "64"]]:
    """The steps that Pillow rounds the coefficients of luma and of chroma to, row by row."""
    stream = io.BytesIO()
    Image.new("RGB", (1, 1)).save(stream, "JPEG", quality=quality)
    tables = Image.open(stream).quantization
    return np.array(tables[0], np.int32), np.array(tables[1], np.int32)


def _in_blocks(side: int) -> int:
    """A side in whole blocks."""
    return -(-side // jpeg_kernels.BLOCK) * jpeg_kernels.BLOCK
