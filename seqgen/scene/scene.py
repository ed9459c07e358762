"""All that a renderer must be told about a clip, as plain arrays. It knows no hand model, no sampling and no renderer.

Everything is in the camera frame (OpenCV: x right, y down, z forward), metres; colours are linear light, 0..1, unless said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from seqgen.camera import Camera

Array = np.ndarray
TERMINATOR = 8.0  # bumps fade where the mesh itself turns away from the key light


@dataclass(frozen=True)
class Material:
    """How a piece of surface takes light, as pictures of one size over texture coordinates u (right) and v (up), both 0..1 and repeated beyond.

    The value at (u, v) is bilinear, of albedo in linear light; texel (row r, column c) has its centre at u = (c + 0.5) / width, v = 1 - (r + 0.5) / height.
    `bump_m`: height above the mesh; its slope tilts the normal. `roughness`: 255 is matt, 0 a mirror (GGX's alpha is (roughness / 255)^2).
    `reflectance`: share of light mirrored head on (0.028 for skin), 0 for no gloss at all.
    """

    albedo: UInt8[Array, "height width 3"]  # diffuse, sRGB
    roughness: UInt8[Array, "height width"]
    bump_m: Float32[Array, "height width"]
    reflectance: float


@dataclass(frozen=True)
class Surface:
    """Triangles that move. A face is counter-clockwise seen from outside; its back is not drawn.

    The part label at a point with barycentric weights b is `corner_parts[face, argmax_c(b @ corner_weights[face, :, c])]`: the candidate part of
    largest skinning weight at that point. `corner_weights[f, corner, candidate]`; a face of one part has that label three times and any weights.
    Its diffuse albedo is that of `materials[face_materials[face]]` at the interpolated `corner_uv`, times the interpolated `colours`.
    """

    vertices_m: Float32[Array, "frames vertices 3"]
    normals: Float32[Array, "frames vertices 3"]  # unit, outwards
    faces: Int32[Array, "faces 3"]
    corner_parts: UInt8[Array, "faces 3"]
    corner_weights: Float32[Array, "faces 3 3"]
    corner_uv: Float32[Array, "faces 3 2"]
    face_materials: Int32[Array, "faces"]
    materials: tuple[Material, ...]
    colours: Float32[Array, "vertices 3"]  # linear


@dataclass(frozen=True)
class Light:
    """Radiance leaving a white matt surface whose mesh has unit normal m and whose bumps have n, the sum of

        soft light   sum_k ambient_k b_k(m), 0 where that is negative, and of the lights but the first max(0, m . direction_l) colour_l
        key light    max(0, f + min(1, TERMINATOR f) (n . direction_0 - f)) colour_0 where f = m . direction_0 is positive; it alone makes gloss

    b(m) are the nine real spherical harmonics up to order 2 without their constants: 1, x, y, z, x y, y z, x z, 3 z^2 - 1, x^2 - y^2.
    Soft light is worked out at vertices and interpolated. With `shadows` nothing that lies between the key light and a point lets it through.
    """

    ambient: Float32[Array, "frames 9 3"]
    directions: Float32[Array, "frames lights 3"]  # unit, towards the light
    colours: Float32[Array, "frames lights 3"]
    shadows: bool = False


@dataclass(frozen=True)
class Background:
    """A photo (sRGB) behind everything: pixel (x, y) of frame t shows the photo at `photo_from_pixel[t] @ (x, y, 1)`, bilinear, edge pixels repeated."""

    photo: UInt8[Array, "height width 3"]
    photo_from_pixel: Float32[Array, "frames 2 3"]


@dataclass(frozen=True)
class Scene:
    """One clip, ready to be drawn. `samples`: colour samples along each side of a pixel (1, 2 or 3).

    `shutter`: how long the shutter is open, as a share of the time between frames (0: a moment); samples of a pixel are taken at different times of
    it, on parabolas through neighbouring frames. `hand_faces`: how many of the first faces are the hand's, for the amodal mask.
    """

    camera: Camera
    surface: Surface
    light: Light
    background: Background
    samples: int
    shutter: float = 0.0
    hand_faces: int = 0


def plain_material(rgb: tuple[int, int, int] = (255, 255, 255), *, roughness: int = 255, reflectance: float = 0.0) -> Material:
    """One sRGB colour everywhere."""
    return Material(np.array([[rgb]], np.uint8), np.array([[roughness]], np.uint8), np.zeros((1, 1), np.float32), reflectance)


def join_surfaces(surfaces: Sequence[Surface]) -> Surface:
    """Several surfaces as one; vertices, faces and materials keep their order, so the first surface's stay where they are."""
    if len(surfaces) == 1:
        return surfaces[0]
    # plain numbers: added to indices they leave them as short as they are
    firsts = accumulate((surface.vertices_m.shape[1] for surface in surfaces[:-1]), initial=0)
    first_materials = accumulate((len(surface.materials) for surface in surfaces[:-1]), initial=0)
    return Surface(
        vertices_m=np.concatenate([surface.vertices_m for surface in surfaces], 1),
        normals=np.concatenate([surface.normals for surface in surfaces], 1),
        faces=np.concatenate([surface.faces + first for surface, first in zip(surfaces, firsts, strict=True)]),
        corner_parts=np.concatenate([surface.corner_parts for surface in surfaces]),
        corner_weights=np.concatenate([surface.corner_weights for surface in surfaces]),
        corner_uv=np.concatenate([surface.corner_uv for surface in surfaces]),
        face_materials=np.concatenate([surface.face_materials + first for surface, first in zip(surfaces, first_materials, strict=True)]),
        materials=tuple(material for surface in surfaces for material in surface.materials),
        colours=np.concatenate([surface.colours for surface in surfaces]),
    )


def single_part_surface(
    vertices_m: Float32[Array, "frames vertices 3"],
    normals: Float32[Array, "frames vertices 3"],
    faces: Int32[Array, "faces 3"],
    corner_uv: Float32[Array, "faces 3 2"],
    material: Material,
    part: int,
) -> Surface:
    """A surface of one part and one material, in the material's own colours."""
    return Surface(
        vertices_m,
        normals,
        faces,
        corner_parts=np.full((len(faces), 3), part, np.uint8),
        corner_weights=np.ones((len(faces), 3, 3), np.float32),
        corner_uv=corner_uv,
        face_materials=np.zeros(len(faces), np.int32),
        materials=(material,),
        colours=np.ones((vertices_m.shape[1], 3), np.float32),
    )
