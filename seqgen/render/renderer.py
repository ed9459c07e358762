"""What every renderer takes and gives. Renderers are chosen by name in `load_renderer`; each lives in its own file and imports its library there."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from seqgen.scene.scene import Scene

Array = np.ndarray


@dataclass(frozen=True)
class Frames:
    """The pictures of one clip. Labels (depth, parts) are sampled at the pixel's centre; only colour averages several samples.

        rgb      sRGB
        depth_m  z of the nearest surface, 0 where there is none
        parts    part label of that surface (`seqgen.skeleton`), 0 where there is none
    """

    rgb: UInt8[Array, "frames height width 3"]
    depth_m: Float32[Array, "frames height width"]
    parts: UInt8[Array, "frames height width"]


@runtime_checkable
class Renderer(Protocol):
    """Draws a scene. The same scene gives the same bits, whatever was drawn before."""

    def render(self, scene: Scene) -> Frames: ...
