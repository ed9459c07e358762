"""Which camera took a clip, beyond its lens: focus, exposure, white balance, noise, what its software did, and the depth sensor beside it.

The ranges are those of phones and webcams at small picture sizes; `seqgen/render/sensor.py` makes the picture. Every property is drawn in every clip, in a
fixed order, so that switching one off leaves the others alone.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32
from pydantic import Field

from seqgen.config import Section, interval

Array = np.ndarray
DepthKind = Literal["none", "sr300", "kinect_v1", "kinect_v2", "d435"]
MAX_DEFOCUS_PX = 1.2  # what seven taps carry
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
# Unit directions away from grey (1, 1, 1) / sqrt(3): towards warm light, and towards green.
WARM, GREEN = np.array([1.0, 0.0, -1.0]) / np.sqrt(2), np.array([-1.0, 2.0, -1.0]) / np.sqrt(6)


class SensorConfig(Section):
    kind: Literal["drawn", "none"] = "drawn"
    """drawn: a camera with focus, noise and software of its own in each clip; none: the light as it is, in sRGB"""
    defocus_px: float = Field(0.5, ge=0, le=MAX_DEFOCUS_PX)
    """spread of the blur's standard deviation over clips, pixels (half-normal, cut at 1.2)"""
    exposure_ev: float = Field(0.3, ge=0, le=2)
    """standard deviation of the error of automatic exposure, stops"""
    white_balance_deg: float = Field(2.5, ge=0, le=15)
    """standard deviation of the error of automatic white balance between warm and cold, degrees; half of that between green and magenta"""
    electrons: interval(50.0, 1e6) = (1000.0, 20000.0)
    """electrons that make a pixel white, fewest and most: its shot noise"""
    read_electrons: interval(0.0, 100.0) = (1.0, 4.0)
    """standard deviation of the read noise, electrons, least and most"""
    sharpening: float = Field(0.8, ge=0, le=3)
    """most sharpening: by what share the finest detail is raised; less the fewer the electrons are, as cameras do, or it would be the noise"""
    jpeg: float = Field(0.25, ge=0, le=1)
    """share of clips that the camera has compressed (JPEG, 4:2:0)"""
    jpeg_quality: interval(1.0, 100.0) = (50.0, 95.0)
    """quality of that JPEG, least and most"""
    spectrum: float = Field(0.15, ge=0, le=1)
    """standard deviation of what is added to the slope of the amplitude spectrum; 0: as it is"""
    depth: DepthKind = "none"
    """depth as this sensor sees it, beside the clean one: sr300, kinect_v1 (structured light), kinect_v2 (time of flight), d435 (active stereo), or none"""


@dataclass(frozen=True)
class Sensor:
    """One clip's camera.

    defocus_px       standard deviation of the blur
    gains            exposure times white balance, red, green, blue
    electrons        that make white; shot noise has variance light / electrons
    read_electrons   standard deviation of the read noise
    sharpening       share by which the finest detail is raised
    tilt, bend       the amplitude spectrum is multiplied by exp(-tilt L - bend L^2), L the log of the frequency (`render/spectrum.py`)
    jpeg_quality     of the camera's own compression, 0 for none
    """

    kind: Literal["drawn", "none"]
    defocus_px: float
    gains: Float32[Array, "3"]
    electrons: float
    read_electrons: float
    sharpening: float
    tilt: float
    bend: float
    jpeg_quality: int


NO_SENSOR = Sensor("none", 0.0, np.ones(3, np.float32), np.inf, 0.0, 0.0, 0.0, 0.0, 0)


def draw_sensor(config: SensorConfig, *, rng: np.random.Generator) -> Sensor:
    """The camera of a clip.

    White balance: automatic methods are off by 2 to 6 degrees in the median (Gijsenij, Gevers, van de Weijer, Computational color constancy, IEEE TIP 2011).
    Noise: the Poisson-Gaussian model of Foi et al. (IEEE TIP 2008) and EMVA 1288. A phone's pixel holds some 5,000 electrons at its lowest ISO; higher ISO
    leaves fewer, scaling the picture down gathers several pixels in one.
    Spectrum: photographs' amplitude spectra fall as frequency^-s with s of 0.8 to 1.5, a quarter of them visibly bent (Tolhurst, Tadmor, Chao, 1992); a
    standard deviation of about 0.2 (van der Schaaf, van Hateren, Vision Research 1996). Renderings bring some of that spread along.
    """
    normal, uniform = rng.standard_normal(6).clip(-2.5, 2.5), rng.random(5)
    if config.kind == "none":
        return NO_SENSOR
    balance = _white_balance(np.radians(config.white_balance_deg) * normal[2:4] * [1.0, 0.5])
    fewest, most = np.log(config.electrons)
    return Sensor(
        "drawn",
        defocus_px=float(min(abs(config.defocus_px * normal[0]), MAX_DEFOCUS_PX)),
        gains=(2.0 ** (config.exposure_ev * normal[1]) * balance).astype(np.float32),
        electrons=float(np.exp(fewest + uniform[0] * (most - fewest))),
        read_electrons=_between(config.read_electrons, uniform[1]),
        sharpening=float(config.sharpening * uniform[2] * (0.3 + 0.7 * uniform[0])),
        tilt=float(config.spectrum * normal[4]),
        bend=float(config.spectrum / 5 * normal[5]),
        jpeg_quality=round(_between(config.jpeg_quality, uniform[4])) if uniform[3] < config.jpeg else 0,
    )


def _white_balance(error_rad: Float[Array, "2"]) -> Float[Array, "3"]:
    """Gains that turn grey by angles towards warm and towards green, and leave its luma alone."""
    gains = np.ones(3) + np.sqrt(3) * (np.tan(error_rad[0]) * WARM + np.tan(error_rad[1]) * GREEN)
    return gains / (LUMA @ gains)


def _between(bounds: tuple[float, float], share: float) -> float:
    return float(bounds[0] + share * (bounds[1] - bounds[0]))
