"""How light leaves a surface, in numpy: the slow, plain twin of `shade_kernels.py`, for the renderer that checks pictures.

Points are given as the faces they lie on and their corners' shares there (barycentric in space). Light and surface are those of the frame's own moment.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8

from seqgen.render.shadow import SHADOW_BIAS_M, SHADOW_OFFSET_M
from seqgen.scene.scene import TERMINATOR, Background, Light, Material, Scene, Surface
from seqgen.scene.surroundings.harmonics import harmonic_radiance
from seqgen.srgb import LINEAR_OF_LEVEL

Array = np.ndarray
SMOOTHEST, GRAZING = 0.02, 0.4  # least alpha, for a highlight of one pixel would flicker, and least cosine towards the half vector: nearer to grazing surfaces shade themselves


@dataclass(frozen=True)
class ShadowMap:
    """How far from the light, in metres, the nearest surface is at each texel (infinite: none), and where points of the camera frame lie on the map."""

    depths_m: Float[Array, "texels texels"]
    light_from_camera: Float[Array, "4 4"]


def light_at(scene: Scene, t: int, face: Int[Array, "points"], shares: Float[Array, "points 3"], shadow: ShadowMap | None) -> Float[Array, "points 3"]:
    """Linear light that leaves points of the surface towards the camera in frame t."""
    surface, light, corners = scene.surface, scene.light, scene.surface.faces[face]
    albedo, gloss, slope = materials_at(surface, face, blend(surface.corner_uv[face], shares))
    albedo = albedo * blend(surface.colours[corners], shares)
    radiance = albedo * blend(soft_light(light, t, surface.normals[t])[corners], shares)
    if not light.directions.shape[1]:
        return radiance
    point, flat, key = blend(surface.vertices_m[t, corners], shares), normals_at(surface, t, face, shares), light.directions[t, 0].astype(float)
    normal = bumped(surface, t, face, flat, slope)
    towards_eye = -unit(point) if scene.camera.kind == "perspective" else np.broadcast_to([0.0, 0.0, -1.0], point.shape)
    turned = np.maximum(flat @ key, 0)
    arriving = np.where(turned > 0, np.maximum(turned + (normal @ key - turned) * np.minimum(TERMINATOR * turned, 1), 0), 0)
    arriving = arriving * (lit_share(shadow, point + SHADOW_OFFSET_M * flat) if shadow else 1)
    return radiance + (albedo + mirrored(normal, key, towards_eye, *gloss)[:, None]) * arriving[:, None] * light.colours[t, 0]


def soft_light(light: Light, t: int, normals: Float[Array, "vertices 3"]) -> Float[Array, "vertices 3"]:
    """What leaves white matt vertices by ambient light and by all lights but the key light."""
    facing = np.maximum(normals.astype(float) @ light.directions[t, 1:].astype(float).T, 0)
    return np.maximum(harmonic_radiance(light.ambient[t], normals.astype(float)), 0) + facing @ light.colours[t, 1:].astype(float)


def blend(values: Float[Array, "points 3 channels"], shares: Float[Array, "points 3"]) -> Float[Array, "points channels"]:
    """Values at points from those at the three corners."""
    return np.einsum("pck,pc->pk", values.astype(float), shares)


def unit(vectors: Float[Array, "points 3"]) -> Float[Array, "points 3"]:
    """The same directions with length 1; 0 stays 0."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-30)


def normals_at(surface: Surface, t: int, face: Int[Array, "points"], shares: Float[Array, "points 3"]) -> Float[Array, "points 3"]:
    """Interpolated unit normals, without bumps."""
    return unit(blend(surface.normals[t, surface.faces[face]], shares))


def parts_at(surface: Surface, face: Int[Array, "points"], shares: Float[Array, "points 3"]) -> UInt8[Array, "points"]:
    """The candidate part of largest skinning weight."""
    return np.take_along_axis(surface.corner_parts[face], blend(surface.corner_weights[face], shares).argmax(1)[:, None], 1)[:, 0]


def materials_at(surface: Surface, face: Int[Array, "points"], uv: Float[Array, "points 2"]) -> tuple[Array, tuple[Array, Array], Array]:
    """Linear albedo (points, 3), roughness and reflectance (points,), and slope of the bump (points, 2), metres per unit of u and v."""
    texels, slope, reflectance = np.zeros((len(uv), 4)), np.zeros((len(uv), 2)), np.zeros(len(uv))
    for m, material in enumerate(surface.materials):
        here = surface.face_materials[face] == m
        texels[here], slope[here] = texels_at(material, uv[here])
        reflectance[here] = material.reflectance
    return texels[:, :3], (texels[:, 3], reflectance), slope


def texels_at(material: Material, uv: Float[Array, "points 2"]) -> tuple[Float[Array, "points 4"], Float[Array, "points 2"]]:
    """Linear albedo and roughness 0..1, bilinear between the four texels around, and the slope between their heights."""
    height, width = material.roughness.shape
    column, row = (uv[:, 0] % 1) * width - 0.5, ((1 - uv[:, 1]) % 1) * height - 0.5
    left, above = np.floor(column).astype(int), np.floor(row).astype(int)
    s, t = (column - left)[:, None], (row - above)[:, None]
    texels = np.dstack([LINEAR_OF_LEVEL[material.albedo], material.roughness / 255, material.bump_m]).astype(float)
    a, b, c, d = (texels[(above + down) % height, (left + right) % width] for down in (0, 1) for right in (0, 1))
    mixed = ((a * (1 - s) + b * s) * (1 - t) + (c * (1 - s) + d * s) * t)[:, :4]
    slope = np.hstack([(b - a) * (1 - t) + (d - c) * t, (a - c) * (1 - s) + (b - d) * s])[:, [4, 9]]
    return mixed, slope * [width, height]


def bumped(surface: Surface, t: int, face: Int[Array, "points"], normal: Float[Array, "points 3"], slope: Float[Array, "points 2"]) -> Float[Array, "points 3"]:
    """The bumped surface's normal: less the height's gradient in the tangent plane, the one that climbs along both edges as the bump map says.

    Of Mikkelsen 2010, "Bump mapping unparametrized surfaces on the GPU"; a gradient steeper than 45 degrees is cut to that.
    """
    corners = surface.vertices_m[t, surface.faces[face]].astype(float)
    edges = corners[:, 1:] - corners[:, :1]
    climb = np.einsum("pek,pk->pe", surface.corner_uv[face][:, 1:] - surface.corner_uv[face][:, :1], slope)
    frame = np.concatenate([edges, normal[:, None]], 1)  # rows . gradient = (climb along edge 1, along edge 2, 0)
    facing = np.linalg.det(frame) > 0
    gradient = np.zeros_like(normal)
    gradient[facing] = np.linalg.solve(frame[facing], np.column_stack([climb, np.zeros(len(climb))])[facing, :, None])[..., 0]
    return unit(normal - gradient / np.maximum(np.linalg.norm(gradient, axis=1, keepdims=True), 1))


def mirrored(
    normal: Float[Array, "points 3"],
    towards_light: Float[Array, "3"],
    towards_eye: Float[Array, "points 3"],
    roughness: Float[Array, "points"],
    reflectance: Float[Array, "points"],
) -> Float[Array, "points"]:
    """Light mirrored to the eye, of a light that a white matt surface would give back as 1: pi times D F V.

    D: GGX (Walter et al. 2007); F: Schlick 1994; V = 1 / (4 (l . h)^2): Kelemen & Szirmay-Kalos 2001.
    """
    half = unit(towards_light + towards_eye)
    facing = np.maximum((normal * half).sum(1), 0)
    along = np.maximum(half @ towards_light, GRAZING)
    alpha2 = np.maximum(roughness**2, SMOOTHEST) ** 2
    d = alpha2 / (np.pi * (facing**2 * (alpha2 - 1) + 1) ** 2)
    fresnel = np.where(reflectance > 0, reflectance + (1 - reflectance) * (1 - along) ** 5, 0)
    return np.pi * d * fresnel / (4 * along**2)


def lit_share(shadow: ShadowMap, points_m: Float[Array, "points 3"]) -> Float[Array, "points"]:
    """How much of the key light reaches points: the mean of nine bilinear looks a texel apart (Reeves et al. 1987); all of it beyond the map.

    Where the corners of the sixteen texels agree, what they say holds.
    """
    x, y, depth_m = (points_m @ shadow.light_from_camera[:3, :3].T + shadow.light_from_camera[:3, 3]).T
    last = len(shadow.depths_m) - 2.001
    inside = (x >= 1) & (y >= 1) & (x <= last) & (y <= last)
    column, row = (np.where(inside, place, 1).astype(int) for place in (x, y))
    lit = np.array([[shadow.depths_m[row + down, column + right] >= depth_m - SHADOW_BIAS_M for right in range(-1, 3)] for down in range(-1, 3)], float)
    across, along = (np.array([1 - share, np.ones_like(share), np.ones_like(share), share]) for share in (x - column, y - row))
    corners = lit[::3, ::3].sum((0, 1))
    share = np.where((corners == 0) | (corners == 4), corners / 4, np.einsum("ijp,ip,jp->p", lit, along, across) / 9)
    return np.where(inside, share, 1)


def background_levels(background: Background, photo_from_pixel: Float[Array, "2 3"], size: tuple[int, int]) -> Float[Array, "height width 3"]:
    """sRGB levels 0..255 of the photo at every pixel: bilinear, edge pixels repeated."""
    photo, (height, width, _) = background.photo.astype(float), background.photo.shape
    y, x = np.mgrid[: size[1], : size[0]]
    u, v = np.einsum("ij,jhw->ihw", photo_from_pixel, np.stack([x, y, np.ones_like(x)]))
    u, v = np.clip(u, 0, width - 1), np.clip(v, 0, height - 1)
    left, top = np.floor(u).astype(int), np.floor(v).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    s, t = (u - left)[..., None], (v - top)[..., None]
    return (photo[top, left] * (1 - s) + photo[top, right] * s) * (1 - t) + (photo[bottom, left] * (1 - s) + photo[bottom, right] * s) * t
