"""What Warp kernels know of surfaces, materials and lights, and what is worked out once a clip: soft light at vertices, materials in numbers."""

from typing import no_type_check

import warp as wp

from seqgen.render.raster_kernels import ScreenVertex

wp.set_module_options({"enable_backward": False, "fuse_fp": False})


@no_type_check
@wp.struct
class Surface:
    """`points`: of every vertex of every frame its place, its normal, the soft light there and its colour, each in the first three of four numbers."""

    vertices: wp.array2d(dtype=wp.vec3)
    normals: wp.array2d(dtype=wp.vec3)
    faces: wp.array(dtype=wp.vec3i)
    colours: wp.array(dtype=wp.vec3)
    corner_parts: wp.array(dtype=wp.vec3ub)
    corner_weights: wp.array(dtype=wp.mat33)
    corner_uv: wp.array2d(dtype=wp.vec2)
    face_materials: wp.array(dtype=wp.int32)
    points: wp.array3d(dtype=wp.vec4)


@no_type_check
@wp.struct
class Materials:
    """Pictures one after another: material m has texels `first[m]` to first + width height - 1, row by row: linear albedo and roughness 0..1; height of the bump.
    Floats: turning bytes into them at every look takes longer than fetching them."""

    first: wp.array(dtype=wp.int32)
    width: wp.array(dtype=wp.int32)
    height: wp.array(dtype=wp.int32)
    reflectance: wp.array(dtype=wp.float32)
    texels: wp.array(dtype=wp.vec4)
    bump: wp.array(dtype=wp.float32)


@no_type_check
@wp.struct
class Light:
    ambient: wp.array2d(dtype=wp.vec3)
    directions: wp.array2d(dtype=wp.vec3)
    colours: wp.array2d(dtype=wp.vec3)
    shadows: wp.bool
    light_from_camera: wp.array(dtype=wp.mat44)
    shadow_keys: wp.array3d(dtype=wp.uint32)
    screen: wp.array3d(dtype=ScreenVertex)


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
def four(v: wp.vec3):
    return wp.vec4(v[0], v[1], v[2], 0.0)


@no_type_check
@wp.kernel
def light_vertices(surface: Surface, light: Light):
    """One thread a vertex: its place, normal and colour beside the ambient light and that of all lights but the key light, which are smooth enough to be
    interpolated."""
    frame, i = wp.tid()
    n = surface.normals[frame, i]
    soft = ambient_at(light, frame, n)
    for k in range(1, light.directions.shape[1]):
        soft += light.colours[frame, k] * wp.max(wp.dot(n, light.directions[frame, k]), 0.0)
    surface.points[frame, i, 0] = four(surface.vertices[frame, i])
    surface.points[frame, i, 1] = four(n)
    surface.points[frame, i, 2] = four(soft)
    surface.points[frame, i, 3] = four(surface.colours[i])


@no_type_check
@wp.func_native("""
    for (int i = first; i < last; ++i) {
        float* texel = (float*)(texels.data + i);
        for (int k = 0; k < 3; ++k)
            texel[k] = light_of_level.data[albedo.data[3 * (size_t)i + k]];
        texel[3] = (float)(int)roughness.data[i] * 0.003921568627450980392f;
    }
""")
def decode(
    albedo: wp.array(dtype=wp.uint8),
    roughness: wp.array(dtype=wp.uint8),
    light_of_level: wp.array(dtype=wp.float32),
    first: wp.int32,
    last: wp.int32,
    texels: wp.array(dtype=wp.vec4),
):
    """Texels from `first` to before `last` in numbers."""


@no_type_check
@wp.kernel
def decode_texels(
    albedo: wp.array(dtype=wp.uint8), roughness: wp.array(dtype=wp.uint8), light_of_level: wp.array(dtype=wp.float32), texels: wp.array(dtype=wp.vec4), piece: wp.int32
):
    """One thread `piece` texels: from bytes to linear albedo and roughness 0..1."""
    _, i = wp.tid()
    decode(albedo, roughness, light_of_level, i * piece, wp.min((i + 1) * piece, texels.shape[0]), texels)
