"""What the kernels are told of a scene, on a device: arrays as the scene has them, without a copy on the CPU, and what follows from them alone.

Knows nothing of pictures: `warp_renderer.py` draws them.
"""

from functools import lru_cache
from typing import Any

import numpy as np
import warp as wp
from jaxtyping import Float32, Float64, Int32, Int64

from seqgen.render import background_kernels, surface_kernels
from seqgen.render.device import Workspace
from seqgen.render.moments import moment_weights, neighbouring_frames
from seqgen.render.raster_kernels import SUBPIXELS, Moments, ScreenVertex
from seqgen.render.shadow import SHADOW_TEXELS, light_from_camera
from seqgen.scene.scene import Background, Material, Scene, Surface
from seqgen.srgb import LINEAR_OF_LEVEL, linear_from_srgb

Array = np.ndarray
StructInstance = Any  # Warp's structs are no Python types
STILL_PX = 0.5  # of the photo: blur that nobody sees, at four lookups a pixel


class Tables:
    """What is the same for all scenes, given once: linear light of sixteenths of sRGB levels, what the kernels have instead of `pow`, and of whole levels."""

    def __init__(self, space: Workspace):
        self.decode = space.give(linear_from_srgb(np.arange(255 * 16 + 2) / (255.0 * 16)), np.float32, wp.float32)
        self.levels = space.give(LINEAR_OF_LEVEL, np.float32, wp.float32)


def record(kind: Any, **fields: Any) -> StructInstance:
    """A Warp struct from its fields."""
    made = kind()
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def give_moments(space: Workspace, scene: Scene) -> StructInstance:
    """Where between frames samples are taken."""
    near = space.give(neighbouring_frames(len(scene.camera.intrinsics)), np.int32, wp.vec3i)
    return record(Moments, frames=near, weights=space.give(moment_weights(scene), np.float32, wp.vec3))


def give_surface(space: Workspace, given: Surface) -> StructInstance:
    return record(
        surface_kernels.Surface,
        vertices=space.give(given.vertices_m, np.float32, wp.vec3),
        normals=space.give(given.normals, np.float32, wp.vec3),
        faces=space.give(given.faces, np.int32, wp.vec3i),
        colours=space.give(given.colours, np.float32, wp.vec3),
        corner_parts=space.give(given.corner_parts, np.uint8, wp.vec3ub),
        corner_weights=space.give(given.corner_weights, np.float32, wp.mat33),
        corner_uv=space.give(given.corner_uv, np.float32, wp.vec2),
        face_materials=space.give(given.face_materials, np.int32, wp.int32),
        points=space.buffer("points", (*given.normals.shape[:2], 4), wp.vec4),
    )


def give_materials(space: Workspace, materials: tuple[Material, ...], tables: Tables) -> StructInstance:
    """Materials, decoded on the device."""
    sizes = np.array([material.roughness.shape for material in materials])
    first = np.cumsum([0, *sizes.prod(1)])
    joined = {name: np.concatenate([getattr(material, name).ravel() for material in materials]) for name in ("albedo", "roughness", "bump_m")}
    texels = space.buffer("texels", (int(first[-1]),), wp.vec4)
    levels = space.give(joined["albedo"], np.uint8, wp.uint8), space.give(joined["roughness"], np.uint8, wp.uint8)
    space.launch_list(surface_kernels.decode_texels, (1, texels.shape[0]), *levels, tables.levels, texels)
    return record(
        surface_kernels.Materials,
        first=space.give(first[:-1], np.int32, wp.int32),
        width=space.give(sizes[:, 1], np.int32, wp.int32),
        height=space.give(sizes[:, 0], np.int32, wp.int32),
        reflectance=space.give(np.array([material.reflectance for material in materials]), np.float32, wp.float32),
        texels=texels,
        bump=space.give(joined["bump_m"], np.float32, wp.float32),
    )


def give_light(space: Workspace, scene: Scene, slots: int) -> StructInstance:
    """The lights, with room for as many shadow maps as there are slots and a spare one; the vertices seen from the light are left to the kernels."""
    given, (frames, lights, _) = scene.light, scene.light.directions.shape
    shadows = bool(given.shadows and lights)
    side, vertices = (SHADOW_TEXELS, scene.surface.vertices_m.shape[1]) if shadows else (0, 0)
    matrices = light_from_camera(scene, side) if shadows else np.zeros((frames, 4, 4))
    return record(
        surface_kernels.Light,
        **{name: space.give(getattr(given, name), np.float32, wp.vec3) for name in ("ambient", "directions", "colours")},
        shadows=shadows,
        light_from_camera=space.give(matrices, np.float32, wp.mat44),
        shadow_keys=space.buffer("shadow", (slots + 1, side, side), wp.uint32),
        screen=space.buffer("lit", (1, frames, vertices), ScreenVertex),
    )


def give_background(space: Workspace, scene: Scene) -> StructInstance:
    """The part of the photo that is shown, a word a texel, and the maps into it."""
    moments = photo_at_moments(scene)
    low, high = shown_part(scene.background.photo.shape[1::-1], moments, scene.camera.size)
    maps = moments.astype(float)
    maps[..., 2] -= low
    words = space.buffer("photo", (int(high[1] - low[1]) + 1, int(high[0] - low[0]) + 1), wp.uint32)
    photo = space.give(scene.background.photo, np.uint8, wp.uint8)
    space.launch_list(background_kernels.pack, (1, words.shape[0]), photo, wp.vec2i(int(low[0]), int(low[1])), words)
    return record(
        background_kernels.Background,
        photo=words,
        photo_from_pixel=space.give(maps, np.float32, wp.vec3),
    )


@lru_cache(maxsize=8)
def sample_offsets(samples: int) -> Int32[Array, "samples 2"]:
    """Where the colour samples of a pixel lie, in 1/4096 px from its centre, row by row. Read-only, kept for the next clip."""
    places = np.trunc(((np.arange(samples) + 0.5) / samples - 0.5) * SUBPIXELS)
    y, x = np.meshgrid(places, places, indexing="ij")
    offsets = np.stack([x, y], -1).reshape(-1, 2).astype(np.int32)
    offsets.flags.writeable = False
    return offsets


def photo_at_moments(scene: Scene) -> Float32[Array, "moments frames 2 3"]:
    """The background's map at every moment of every frame; at the frame's own alone where the photo moves by less than STILL_PX in the time between."""
    maps, weights = scene.background.photo_from_pixel, moment_weights(scene)[1:]
    if not len(weights):
        return maps[None]
    moving = np.einsum("mtn,tnij->mtij", weights, maps[neighbouring_frames(len(maps))].astype(float))
    corners = np.array([[x, y, 1.0] for x in (0, scene.camera.size[0]) for y in (0, scene.camera.size[1])]).T
    if np.ptp(moving @ corners, axis=0).max() < STILL_PX:
        return maps[None]
    return np.concatenate([maps[None], moving.astype(np.float32)])


def shown_part(photo_size: tuple[int, int], maps: Float32[Array, "moments frames 2 3"], size: tuple[int, int]) -> tuple[Int64[Array, "2"], Int64[Array, "2"]]:
    """The first and the last texel (x, y) of a photo that a clip shows."""
    corners = np.array([[x, y, 1.0] for x in (0, size[0] - 1) for y in (0, size[1] - 1)]).T
    places, last = maps.astype(float) @ corners, np.array(photo_size) - 1
    low, high = (np.clip(np.floor(place), 0, last).astype(int) for place in (places.min((0, 1, 3)) - 1, places.max((0, 1, 3)) + 2))
    return low, high


def next_from_pixel(background: Background) -> Float64[Array, "frames 2 3"]:
    """How far what is seen at (x, y, 1) moves until the next frame: in the last not at all."""
    maps = np.concatenate([background.photo_from_pixel.astype(float), np.zeros((len(background.photo_from_pixel), 1, 3))], 1)
    maps[:, 2, 2] = 1
    moves = np.zeros_like(maps)
    moves[:-1] = np.linalg.solve(maps[1:], maps[:-1]) - np.eye(3)
    return moves[:, :2]
