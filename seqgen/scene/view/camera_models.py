"""Cameras one can buy: their intrinsics, and how far from each of them a hand usually is.

A picture of another size is the native one scaled until it covers the size and cropped about its middle, as capture programs do it. So the intrinsics
stay exact and pixels stay square; the lens is taken as already undistorted.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Array = np.ndarray
ModelName = Literal["free", "phone", "webcam", "sr300", "d435", "kinect_v1", "kinect_v2", "headset"]


@dataclass(frozen=True)
class CameraModel:
    """A pinhole at its native size. Pixel centres are at integers; `range_m`: least and most distance of a hand along the axis; `source`: of the figures."""

    size: tuple[int, int]  # width, height
    focal_px: tuple[float, float]
    centre_px: tuple[float, float]
    range_m: tuple[float, float]
    source: str


CAMERA_MODELS: dict[str, CameraModel] = {
    "phone": CameraModel(
        (4032, 3024),
        (3028.6, 3028.6),
        (2015.5, 1511.5),
        (0.25, 0.8),
        "main camera of the iPhone 12: 12 MP, 26 mm as of 35 mm film, whose diagonal is 43.27 mm (Apple's specification); range: from close focus to arm's length",
    ),
    "webcam": CameraModel(
        (1920, 1080),
        (1360.2, 1360.2),
        (959.5, 539.5),
        (0.3, 0.9),
        "Logitech C920: 1080p, 78 degrees diagonally (Logitech's specification); range: before a screen",
    ),
    "sr300": CameraModel(
        (640, 480),
        (475.065948, 475.065857),
        (315.944855, 245.287079),
        (0.3, 0.8),
        "depth camera of BigHand2.2M, intrinsics published with it (Yuan et al. 2017); range: within its data sheet's 0.2 to 1.5 m, fingertips too, as far as hands are tracked",
    ),
    "d435": CameraModel(
        (848, 480),
        (422.806, 422.806),
        (425.121, 235.451),
        (0.3, 0.9),
        "depth of a D435i, factory calibration printed in librealsense issue 3474 (424x240, doubled; the data sheet says 87 +- 3 by 58 +- 1 degrees); "
        "range: fingertips too beyond its least distance at this size, 0.175 m by the data sheet",
    ),
    "kinect_v1": CameraModel(
        (640, 480),
        (588.036865, 587.075073),
        (320.0, 240.0),
        (0.55, 1.0),
        "the NYU hand data set's (Tompson et al. 2014); range: near mode reads from 0.4 m (Microsoft, Kinect for Windows 2012), a hand reaches 0.15 m before its wrist; "
        "hands up to 1 m, before their arms end in the picture",
    ),
    "kinect_v2": CameraModel(
        (512, 424),
        (365.456, 365.456),
        (254.878, 205.395),
        (0.65, 0.95),
        "factory calibration of a Kinect v2 as published with OpenKinect for Processing (Shiffman 2015); "
        "range: reads from 0.5 m (Microsoft's specification: 0.5 to 4.5 m), and a hand reaches 0.15 m before its wrist; to where arms would end in the picture",
    ),
    "headset": CameraModel(
        (1504, 846),
        (1187.5, 1187.5),
        (751.5, 422.5),
        (0.25, 0.6),
        "photo and video camera of the HoloLens 2: 64.69 degrees across 1504 px (Microsoft, Locatable camera); range: its wearer's reach",
    ),
}


def intrinsics_of(model: CameraModel, size: tuple[int, int]) -> Float[Array, "3 3"]:
    """Intrinsics of a picture of `size` (width, height): the native one scaled to cover it and cropped about its middle."""
    native, wanted = np.array(model.size, float), np.array(size, float)
    scale = (wanted / native).max()
    left_out = (scale * native - wanted) / 2
    matrix = np.diag([*(scale * np.array(model.focal_px)), 1.0])
    matrix[:2, 2] = (np.array(model.centre_px) + 0.5) * scale - 0.5 - left_out  # the half pixel: centres at integers, edges at halves
    return matrix
