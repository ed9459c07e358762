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
@wp.func_native("""
    const int lights = light.directions.shape[1], vertices = surface.points.shape[1];
    const float *direction = (const float*)(light.directions.data + (size_t)frame * lights), *colour = (const float*)(light.colours.data + (size_t)frame * lights);
    const float *place = (const float*)(surface.vertices.data + (size_t)frame * vertices), *normal = (const float*)(surface.normals.data + (size_t)frame * vertices);
    const float* own_colour = (const float*)surface.colours.data;
    float a[9][4];
    for (int term = 0; term < 9; ++term)
        for (int k = 0; k < 4; ++k)
            a[term][k] = k < 3 ? light.ambient.data[(size_t)frame * light.ambient.shape[1] + term].c[k] : 0.0f;
    for (int i = first; i < last; ++i) {
        float* point = (float*)(surface.points.data + ((size_t)frame * vertices + i) * 4);
        const float x = normal[3 * i], y = normal[3 * i + 1], z = normal[3 * i + 2];
        const float xy = x * y, yz = y * z, xz = x * z, zz = 3.0f * z * z - 1.0f, xx_yy = x * x - y * y;
        float soft[4];
        for (int k = 0; k < 4; ++k) {
            float sum = a[0][k] + a[1][k] * x + a[2][k] * y + a[3][k] * z;
            sum += a[4][k] * xy + a[5][k] * yz + a[6][k] * xz;
            sum += a[7][k] * zz + a[8][k] * xx_yy;
            soft[k] = wp::max(sum, 0.0f);
        }
        for (int l = 1; l < lights; ++l) {
            const float facing = wp::max(x * direction[3 * l] + y * direction[3 * l + 1] + z * direction[3 * l + 2], 0.0f);
            for (int k = 0; k < 3; ++k)
                soft[k] += colour[3 * l + k] * facing;
        }
        for (int k = 0; k < 3; ++k) {
            point[k] = place[3 * i + k];
            point[4 + k] = normal[3 * i + k];
            point[8 + k] = soft[k];
            point[12 + k] = own_colour[3 * i + k];
        }
        point[3] = point[7] = point[11] = point[15] = 0.0f;
    }
""")
def light_piece(surface: Surface, light: Light, frame: wp.int32, first: wp.int32, last: wp.int32):
    """Vertices `first` to `last` - 1. Ambient light by the spherical harmonics of `seqgen.scene.scene.Light`."""


@no_type_check
@wp.kernel
def light_vertices(surface: Surface, light: Light, piece: wp.int32):
    """One thread `piece` vertices: their places, normals and colours beside the ambient light and that of all lights but the key light, which are smooth enough to
    be interpolated."""
    frame, i = wp.tid()
    light_piece(surface, light, frame, i * piece, wp.min((i + 1) * piece, surface.points.shape[1]))


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
