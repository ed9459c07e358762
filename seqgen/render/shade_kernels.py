"""Light that leaves a surface, inside Warp kernels: materials, bumps, soft light, key light with its shadow, gloss.

Only additions, multiplications, divisions and square roots, and tables instead of the C library's `pow`: the same bits on any CPU.
"""

from typing import no_type_check

import warp as wp

from seqgen.render.raster_kernels import rank_of
from seqgen.render.shadow import SHADOW_BIAS_M, SHADOW_OFFSET_M, SHADOW_TEXELS
from seqgen.scene.scene import TERMINATOR

wp.set_module_options({"enable_backward": False, "fuse_fp": False})


_EMPTY = wp.constant(wp.uint64(0xFFFFFFFFFFFFFFFF))
_TERMINATOR = wp.constant(TERMINATOR)
_SHADOW_BIAS_M = wp.constant(SHADOW_BIAS_M)
_SHADOW_OFFSET_M = wp.constant(SHADOW_OFFSET_M)
_LAST_TEXEL = wp.constant(float(SHADOW_TEXELS) - 2.001)


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
    soft: wp.array2d(dtype=wp.vec3)


@no_type_check
@wp.struct
class Materials:
    """Pictures one after another: material m has texels `first[m]` to first + width height - 1, row by row: linear albedo; roughness 0..1 and height of the
    bump. Floats: turning bytes into them at every look takes longer than fetching them."""

    first: wp.array(dtype=wp.int32)
    width: wp.array(dtype=wp.int32)
    height: wp.array(dtype=wp.int32)
    reflectance: wp.array(dtype=wp.float32)
    albedo: wp.array(dtype=wp.vec3)
    roughness_bump: wp.array(dtype=wp.vec2)


@no_type_check
@wp.struct
class Look:
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
    shadow_keys: wp.array3d(dtype=wp.uint64)


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
def look_at(materials: Materials, material: wp.int32, uv: wp.vec2):
    """A material at (u, v): bilinear between the four texels around, whose heights also give the slope."""
    width = materials.width[material]
    height = materials.height[material]
    first = materials.first[material]
    look = Look()
    if width * height == 1:
        look.albedo = materials.albedo[first]
        look.roughness = materials.roughness_bump[first][0]
        return look
    left, right, s = neighbours(fraction(uv[0]) * float(width) - 0.5, width)
    above, below, t = neighbours((1.0 - fraction(uv[1])) * float(height) - 0.5, height)
    i = first + above * width + left
    j = first + above * width + right
    k = first + below * width + left
    m = first + below * width + right
    upper = materials.albedo[i] * (1.0 - s) + materials.albedo[j] * s
    lower = materials.albedo[k] * (1.0 - s) + materials.albedo[m] * s
    look.albedo = upper * (1.0 - t) + lower * t
    a = materials.roughness_bump[i]
    b = materials.roughness_bump[j]
    c = materials.roughness_bump[k]
    d = materials.roughness_bump[m]
    look.roughness = (a[0] * (1.0 - s) + b[0] * s) * (1.0 - t) + (c[0] * (1.0 - s) + d[0] * s) * t
    along_u = (b[1] - a[1]) * (1.0 - t) + (d[1] - c[1]) * t
    along_v = (a[1] - c[1]) * (1.0 - s) + (b[1] - d[1]) * s
    look.slope = wp.vec2(along_u * float(width), along_v * float(height))
    return look


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
    key = light.shadow_keys[frame, y, x]
    if key != _EMPTY and rank_of(key) < depth:
        return 0.0
    return 1.0


@no_type_check
@wp.func
def lit_share(light: Light, frame: wp.int32, point: wp.vec3):
    """How much of the key light reaches a point: the share of the texels around that let it through (percentage-closer filtering, Reeves et al. 1987).

    Three times three bilinear looks, so that edges are soft; where the corners of the sixteen texels agree, what they say holds.
    """
    place = wp.transform_point(light.light_from_camera[frame], point)
    if place[0] < 1.0 or place[1] < 1.0 or place[0] > _LAST_TEXEL or place[1] > _LAST_TEXEL:
        return 1.0
    column = int(place[0])
    row = int(place[1])
    x = column - 1
    y = row - 1
    depth = place[2] - _SHADOW_BIAS_M
    corners = lit_texel(light, frame, x, y, depth) + lit_texel(light, frame, x + 3, y, depth)
    corners += lit_texel(light, frame, x, y + 3, depth) + lit_texel(light, frame, x + 3, y + 3, depth)
    if corners == 0.0 or corners == 4.0:
        return corners * 0.25
    s = place[0] - float(column)
    t = place[1] - float(row)
    columns = wp.vec4(1.0 - s, 1.0, 1.0, s)
    rows = wp.vec4(1.0 - t, 1.0, 1.0, t)
    lit = wp.float32(0.0)
    for i in range(4):
        for j in range(4):
            lit += lit_texel(light, frame, x + j, y + i, depth) * rows[i] * columns[j]
    return lit / 9.0


@no_type_check
@wp.func
def gloss(n: wp.vec3, towards_light: wp.vec3, towards_eye: wp.vec3, roughness: wp.float32, reflectance: wp.float32):
    """Light mirrored to the eye, for a light whose white matt reflection is 1: GGX (Walter et al. 2007), Schlick's Fresnel, Kelemen's visibility."""
    half = wp.normalize(towards_light + towards_eye)
    facing = wp.max(wp.dot(n, half), 0.0)
    along = wp.max(wp.dot(towards_light, half), 0.4)  # nearer to grazing, where surfaces shade themselves, it would flare up
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
@wp.kernel
def soften(normals: wp.array2d(dtype=wp.vec3), light: Light, soft: wp.array2d(dtype=wp.vec3)):
    """One thread a vertex: the ambient light and that of all lights but the key light, which are smooth enough to be interpolated."""
    frame, i = wp.tid()
    n = normals[frame, i]
    radiance = ambient_at(light, frame, n)
    for k in range(1, light.directions.shape[1]):
        radiance += light.colours[frame, k] * wp.max(wp.dot(n, light.directions[frame, k]), 0.0)
    soft[frame, i] = radiance


@no_type_check
@wp.func
def light_at(surface: Surface, materials: Materials, light: Light, perspective: wp.bool, frame: wp.int32, face: wp.int32, s: wp.vec3):
    """Linear light that leaves a point of a face towards the camera."""
    i = surface.faces[face]
    m = surface.face_materials[face]
    uv = surface.corner_uv[face, 0] * s[0] + surface.corner_uv[face, 1] * s[1] + surface.corner_uv[face, 2] * s[2]
    look = look_at(materials, m, uv)
    colour = wp.cw_mul(surface.colours[i[0]] * s[0] + surface.colours[i[1]] * s[1] + surface.colours[i[2]] * s[2], look.albedo)
    radiance = wp.cw_mul(colour, surface.soft[frame, i[0]] * s[0] + surface.soft[frame, i[1]] * s[1] + surface.soft[frame, i[2]] * s[2])
    if light.directions.shape[1] == 0:
        return radiance
    flat = wp.normalize(surface.normals[frame, i[0]] * s[0] + surface.normals[frame, i[1]] * s[1] + surface.normals[frame, i[2]] * s[2])
    towards_light = light.directions[frame, 0]
    turned = wp.dot(flat, towards_light)
    if turned <= 0.0:
        return radiance
    n = flat
    arriving = turned
    if look.slope[0] != 0.0 or look.slope[1] != 0.0:
        n = bumped(surface, frame, face, flat, look.slope)
        arriving = wp.max(turned + (wp.dot(n, towards_light) - turned) * wp.min(turned * _TERMINATOR, 1.0), 0.0)
    point = surface.vertices[frame, i[0]] * s[0] + surface.vertices[frame, i[1]] * s[1] + surface.vertices[frame, i[2]] * s[2]
    if light.shadows and arriving > 0.0:
        arriving = arriving * lit_share(light, frame, point + flat * _SHADOW_OFFSET_M)
    if arriving > 0.0:
        reflectance = materials.reflectance[m]
        if reflectance > 0.0:
            towards_eye = wp.vec3(0.0, 0.0, -1.0)
            if perspective:
                towards_eye = -wp.normalize(point)
            shine = gloss(n, towards_light, towards_eye, look.roughness, reflectance)
            colour += wp.vec3(shine, shine, shine)
        radiance += wp.cw_mul(colour, light.colours[frame, 0]) * arriving
    return radiance
