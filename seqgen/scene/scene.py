"""All that a renderer must be told about a clip, as plain arrays. It knows no hand model, no sampling and no renderer.

Everything is in the camera frame (OpenCV: x right, y down, z forward), metres; colours are linear light, 0..1, unless said.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from seqgen.camera import Camera

Array = np.ndarray


@dataclass(frozen=True)
class Surface:
    """Triangles that move. A face is counter-clockwise seen from outside; its back is not drawn.

    The part label at a point with barycentric weights b is `corner_parts[face, argmax_c(b @ corner_weights[face, :, c])]`: the candidate part of
    largest skinning weight at that point. `corner_weights[f, corner, candidate]`; a face of one part has that label three times and any weights.
    """

    vertices_m: Float32[Array, "frames vertices 3"]
    normals: Float32[Array, "frames vertices 3"]  # unit, outwards
    faces: Int32[Array, "faces 3"]
    corner_parts: UInt8[Array, "faces 3"]
    corner_weights: Float32[Array, "faces 3 3"]
    colours: Float32[Array, "vertices 3"]  # diffuse albedo


@dataclass(frozen=True)
class Light:
    """Radiance leaving a white matt surface with unit normal n: ambient + sum_l max(0, n . direction_l) colour_l."""

    ambient: Float32[Array, "frames 3"]
    directions: Float32[Array, "frames lights 3"]  # unit, towards the light
    colours: Float32[Array, "frames lights 3"]


@dataclass(frozen=True)
class Background:
    """A photo (sRGB) behind everything: pixel (x, y) of frame t shows the photo at `photo_from_pixel[t] @ (x, y, 1)`, bilinear, edge pixels repeated."""

    photo: UInt8[Array, "height width 3"]
    photo_from_pixel: Float32[Array, "frames 2 3"]


@dataclass(frozen=True)
class Scene:
    """One clip, ready to be drawn. `samples`: colour samples along each side of a pixel (1 or 2)."""

    camera: Camera
    surface: Surface
    light: Light
    background: Background
    samples: int
