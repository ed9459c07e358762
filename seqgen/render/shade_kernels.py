"""Light that leaves a surface, inside Warp kernels: materials, bumps, soft light, key light with its shadow, gloss.

Only additions, multiplications, divisions and square roots, and tables instead of the C library's `pow`: the same bits on any CPU.
"""

from typing import no_type_check

import warp as wp

from seqgen.render.raster_kernels import rank_of
from seqgen.render.shadow import SHADOW_BIAS_M, SHADOW_TEXELS

wp.set_module_options({"enable_backward": False, "fuse_fp": False})

STEPS = 16  # entries of the decoding table for each sRGB level


_EMPTY = wp.constant(wp.uint64(0xFFFFFFFFFFFFFFFF))
_STEPS = wp.constant(float(STEPS))
_SHADOW_BIAS_M = wp.constant(SHADOW_BIAS_M)
_LAST_TEXEL = wp.constant(float(SHADOW_TEXELS) - 1.001)


@no_type_check
@wp.struct
class Surface:
    vertices: wp.array2d(dtype=wp.vec3)
    normals: wp.array2d(dtype=wp.vec3)
    faces: wp.array(dtype=wp.vec3i)
    colours: wp.array(dtype=wp.vec3)
    corner_parts: wp.array(dtype=wp.vec3ub)
    corner_weights: wp.array(dtype=wp.mat33)
    corner_uv: wp.array2d(dtype=wp.vec2)
    face_materials: wp.array(dtype=wp.int32)


@no_type_check
@wp.struct
class Materials:
    """Pictures one after another: material m has texels `first[m]` to first + width height - 1, row by row. Texels: albedo as sRGB levels, roughness."""

    first: wp.array(dtype=wp.int32)
    width: wp.array(dtype=wp.int32)
    height: wp.array(dtype=wp.int32)
    reflectance: wp.array(dtype=wp.float32)
    texels: wp.array(dtype=wp.vec4ub)
    bump: wp.array(dtype=wp.float32)


@no_type_check
@wp.struct
class Texel:
    """What a material says at a point: linear albedo, roughness 0..1, slope of the bump along u and v, metres per unit."""

    albedo: wp.vec3
    roughness: wp.float32
    slope: wp.vec2


@no_type_check
@wp.struct
class Light:
    ambient: wp.array2d(dtype=wp.vec3)
    directions: wp.array2d(dtype=wp.vec3)
    colours: wp.array2d(dtype=wp.vec3)
    shadows: wp.bool
    light_from_camera: wp.array(dtype=wp.mat44)
    shadow_keys: wp.array4d(dtype=wp.uint64)


@no_type_check
@wp.func
def linear_from_level(decode: wp.array(dtype=wp.float32), level: wp.float32):
    """Linear light of an sRGB level 0..255, to a thirty-second of a level."""
    return decode[int(level * _STEPS + 0.5)]


@no_type_check
@wp.func
def linear_from_levels(decode: wp.array(dtype=wp.float32), levels: wp.vec3):
    return wp.vec3(linear_from_level(decode, levels[0]), linear_from_level(decode, levels[1]), linear_from_level(decode, levels[2]))


@no_type_check
@wp.func
def fraction(x: wp.float32):
    """x less the whole number below it. Not `wp.floor`: that is a call of the C library, three times as slow as all the rest of a lookup."""
    f = x - float(int(x))
    if f < 0.0:
        f += 1.0
    return f


@no_type_check
@wp.func
def neighbours(place: wp.float32, size: wp.int32):
    """The texels before and after a place -0.5 to size - 0.5 of a picture that repeats beyond its borders, and the share of the second."""
    before = int(place + 1.0) - 1
    share = place - float(before)
    after = before + 1
    if before < 0:
        before = size - 1
    if after >= size:
        after = 0
    return before, after, share


@no_type_check
@wp.func
def vec4_from_bytes(p: wp.vec4ub):
    return wp.vec4(float(p[0]), float(p[1]), float(p[2]), float(p[3]))


@no_type_check
@wp.func
def texel_at(materials: Materials, m: wp.int32, uv: wp.vec2, decode: wp.array(dtype=wp.float32)):
    """A material at (u, v): bilinear between the four texels around, whose heights also give the slope."""
    width = materials.width[m]
    height = materials.height[m]
    first = materials.first[m]
    texel = Texel()
    if width * height == 1:
        levels = vec4_from_bytes(materials.texels[first])
        texel.albedo = linear_from_levels(decode, wp.vec3(levels[0], levels[1], levels[2]))
        texel.roughness = levels[3] / 255.0
        return texel
    left, right, s = neighbours(fraction(uv[0]) * float(width) - 0.5, width)
    above, below, t = neighbours((1.0 - fraction(uv[1])) * float(height) - 0.5, height)
    upper = first + above * width
    lower = first + below * width
    levels = (vec4_from_bytes(materials.texels[upper + left]) * (1.0 - s) + vec4_from_bytes(materials.texels[upper + right]) * s) * (1.0 - t)
    levels += (vec4_from_bytes(materials.texels[lower + left]) * (1.0 - s) + vec4_from_bytes(materials.texels[lower + right]) * s) * t
    texel.albedo = linear_from_levels(decode, wp.vec3(levels[0], levels[1], levels[2]))
    texel.roughness = levels[3] / 255.0
    a = materials.bump[upper + left]
    b = materials.bump[upper + right]
    c = materials.bump[lower + left]
    d = materials.bump[lower + right]
    texel.slope = wp.vec2(((b - a) * (1.0 - t) + (d - c) * t) * float(width), ((a - c) * (1.0 - s) + (b - d) * s) * float(height))
    return texel


@no_type_check
@wp.func
def ambient_at(light: Light, frame: wp.int32, n: wp.vec3):
    """The spherical harmonics of `seqgen.scene.scene.Light`."""
    a = light.ambient[frame, 0] + light.ambient[frame, 1] * n[0] + light.ambient[frame, 2] * n[1] + light.ambient[frame, 3] * n[2]
    a += light.ambient[frame, 4] * (n[0] * n[1]) + light.ambient[frame, 5] * (n[1] * n[2]) + light.ambient[frame, 6] * (n[0] * n[2])
    a += light.ambient[frame, 7] * (3.0 * n[2] * n[2] - 1.0) + light.ambient[frame, 8] * (n[0] * n[0] - n[1] * n[1])
    return wp.vec3(wp.max(a[0], 0.0), wp.max(a[1], 0.0), wp.max(a[2], 0.0))


@no_type_check
@wp.func
def lit_texel(light: Light, frame: wp.int32, x: wp.int32, y: wp.int32, depth: wp.float32):
    """1 where nothing lies before this depth at a texel of the shadow map, 0 where something does."""
    key = light.shadow_keys[frame, y, x, 0]
    if key != _EMPTY and rank_of(key) < depth:
        return 0.0
    return 1.0


@no_type_check
@wp.func
def lit_share(light: Light, frame: wp.int32, point: wp.vec3):
    """How much of the key light reaches a point: bilinear between four texels (percentage-closer filtering, Reeves et al. 1987)."""
    place = wp.transform_point(light.light_from_camera[frame], point)
    if place[0] < 0.0 or place[1] < 0.0 or place[0] > _LAST_TEXEL or place[1] > _LAST_TEXEL:
        return 1.0
    x = int(place[0])
    y = int(place[1])
    s = place[0] - float(x)
    t = place[1] - float(y)
    depth = place[2] - _SHADOW_BIAS_M
    upper = lit_texel(light, frame, x, y, depth) * (1.0 - s) + lit_texel(light, frame, x + 1, y, depth) * s
    lower = lit_texel(light, frame, x, y + 1, depth) * (1.0 - s) + lit_texel(light, frame, x + 1, y + 1, depth) * s
    return upper * (1.0 - t) + lower * t


@no_type_check
@wp.func
def gloss(n: wp.vec3, towards_light: wp.vec3, towards_eye: wp.vec3, roughness: wp.float32, reflectance: wp.float32):
    """Light mirrored to the eye, for a light whose white matt reflection is 1: GGX (Walter et al. 2007), Schlick's Fresnel, Kelemen's visibility."""
    half = wp.normalize(towards_light + towards_eye)
    facing = wp.max(wp.dot(n, half), 0.0)
    along = wp.max(wp.dot(towards_light, half), 0.15)
    a = wp.max(roughness * roughness, 0.02)
    spread = facing * facing * (a * a - 1.0) + 1.0
    away = 1.0 - along
    fresnel = reflectance + (1.0 - reflectance) * away * away * away * away * away
    return a * a / (spread * spread) * fresnel / (4.0 * along * along)


@no_type_check
@wp.func
def bumped(surface: Surface, frame: wp.int32, face: wp.int32, n: wp.vec3, slope: wp.vec2):
    """The normal of the bumped surface (Mikkelsen 2010): the gradient of the height along the face is taken off."""
    i = surface.faces[face]
    p = surface.vertices[frame, i[0]]
    e1 = surface.vertices[frame, i[1]] - p
    e2 = surface.vertices[frame, i[2]] - p
    uv = surface.corner_uv[face, 0]
    d1 = surface.corner_uv[face, 1] - uv
    d2 = surface.corner_uv[face, 2] - uv
    r1 = wp.cross(e2, n)
    r2 = wp.cross(n, e1)
    det = wp.dot(e1, r1)
    if det <= 0.0:
        return n
    gradient = (r1 * wp.dot(slope, d1) + r2 * wp.dot(slope, d2)) / det
    length = wp.length(gradient)
    if length > 1.0:
        gradient = gradient / length
    return wp.normalize(n - gradient)


@no_type_check
@wp.func
def light_at(
    surface: Surface, materials: Materials, light: Light, decode: wp.array(dtype=wp.float32), perspective: wp.bool, frame: wp.int32, face: wp.int32, s: wp.vec3
):
    """Linear light that leaves a point of a face towards the camera."""
    i = surface.faces[face]
    m = surface.face_materials[face]
    uv = surface.corner_uv[face, 0] * s[0] + surface.corner_uv[face, 1] * s[1] + surface.corner_uv[face, 2] * s[2]
    texel = texel_at(materials, m, uv, decode)
    flat = wp.normalize(surface.normals[frame, i[0]] * s[0] + surface.normals[frame, i[1]] * s[1] + surface.normals[frame, i[2]] * s[2])
    n = flat
    if texel.slope[0] != 0.0 or texel.slope[1] != 0.0:
        n = bumped(surface, frame, face, flat, texel.slope)
    colour = surface.colours[i[0]] * s[0] + surface.colours[i[1]] * s[1] + surface.colours[i[2]] * s[2]
    colour = wp.cw_mul(colour, texel.albedo)
    radiance = wp.cw_mul(colour, ambient_at(light, frame, n))
    point = surface.vertices[frame, i[0]] * s[0] + surface.vertices[frame, i[1]] * s[1] + surface.vertices[frame, i[2]] * s[2]
    towards_eye = wp.vec3(0.0, 0.0, -1.0)
    if perspective:
        towards_eye = -wp.normalize(point)
    for k in range(light.directions.shape[1]):
        towards_light = light.directions[frame, k]
        facing = wp.dot(n, towards_light)
        if facing > 0.0:
            if k == 0 and light.shadows:
                facing = facing * lit_share(light, frame, point + flat * _SHADOW_BIAS_M)
            reflected = colour
            reflectance = materials.reflectance[m]
            if reflectance > 0.0:
                shine = gloss(n, towards_light, towards_eye, texel.roughness, reflectance)
                reflected = colour + wp.vec3(shine, shine, shine)
            radiance += wp.cw_mul(reflected, light.colours[frame, k]) * facing
    return radiance
