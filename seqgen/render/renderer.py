"""What every renderer takes and gives. Renderers are chosen by name in `load_renderer`; each lives in its own file and imports its library there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from seqgen.scene.scene import Scene

Array = np.ndarray
Extra = Literal["flow", "normals", "amodal"]


@dataclass(frozen=True)
class Frames:
    """The pictures of one clip. Labels are sampled at the pixel's centre at the frame's own moment; only colour averages samples and time.

        radiance  linear light, 0..1 where nothing is overexposed, before any sensor; `render/sensor.py` makes the picture of it. On a device still where
                  its renderer was told to leave it there for a developer
        depth_m   z of the nearest surface, 0 where there is none
        parts     part label of that surface (`seqgen.skeleton`), 0 where there is none
        normals   unit normals of that surface (interpolated, without bumps), camera frame, 0 where there is none
        flow_px   by how many pixels what is seen here has moved in the next frame; background moves with its photo; zeros in the last frame
        amodal    where the hand would be seen if nothing were before it
    """

    radiance: Float32[Array, "frames height width 3"] | Any
    depth_m: Float32[Array, "frames height width"]
    parts: UInt8[Array, "frames height width"]
    normals: Float32[Array, "frames height width 3"] | None = None
    flow_px: Float32[Array, "frames height width 2"] | None = None
    amodal: Bool[Array, "frames height width"] | None = None


@runtime_checkable
class Renderer(Protocol):
    """Draws a scene, with the extra labels asked for. The same scene gives the same bits, whatever was drawn before."""

    def render(self, scene: Scene, extras: frozenset[Extra] = frozenset()) -> Frames: ...

    def render_clips(self, scenes: Sequence[Scene], extras: frozenset[Extra] = frozenset()) -> list[Frames]:
        """The pictures of several clips, each as if alone."""
