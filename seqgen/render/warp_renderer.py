"""Draws a whole clip at once with Warp kernels, on the CPU (one thread) or a CUDA device.

The same scene gives the same bits, whatever was drawn before and whatever is drawn beside it: every frame is its own row of every buffer, and every
buffer is filled anew before it is read. The compiled kernels are kept in the folder `warp` of our cache.
"""

from typing import Any

import numpy as np
import warp as wp
from jaxtyping import Float32, Float64, Int64

from seqgen.render import edge_kernels, raster_kernels, resolve_kernels, shade_kernels, triangle_kernels
from seqgen.render.device import Workspace
from seqgen.render.moments import moment_weights, neighbouring_frames
from seqgen.render.renderer import Extra, Frames
from seqgen.render.shadow import SHADOW_TEXELS, light_from_camera
from seqgen.scene.scene import Background, Material, Scene
from seqgen.srgb import LINEAR_OF_LEVEL, linear_from_srgb

Array = np.ndarray
StructInstance = Any  # Warp's structs are no Python types
STILL_PX = 0.5  # of the photo: blur that nobody sees, at four lookups a pixel


class WarpRenderer:
    """A renderer that keeps its working memory between clips of one shape. `device`: "cpu", "cuda" or "cuda:N"."""

    def __init__(self, device: str = "cpu"):
        self._space = Workspace(device)
        self._decode = self._space.give(_decoding_table(), np.float32, wp.float32)
        self._level_light = self._space.give(LINEAR_OF_LEVEL, np.float32, wp.float32)

    def render(self, scene: Scene, extras: frozenset[Extra] = frozenset()) -> Frames:
        """The pictures of a clip."""
        surface = self._give_surface(scene)
        screen, boxes = self._project(scene, surface)
        seen = self._rasterise(scene, screen, boxes, surface)
        pictures = self._resolve(scene, seen, surface)
        if "flow" in extras:
            intrinsics, _ = self._give_camera(scene)
            pictures["flow_px"] = self._resolve_extra(resolve_kernels.resolve_motion, scene, wp.vec2, seen, intrinsics, surface, self._give_background(scene))
        if "normals" in extras:
            pictures["normals"] = self._resolve_extra(resolve_kernels.resolve_normals, scene, wp.vec3, seen, surface)
        if "amodal" in extras:
            seen.centres = self._rasterise_centres("amodal", scene, screen, boxes, surface.faces[: scene.hand_faces])
            pictures["amodal"] = self._resolve_extra(resolve_kernels.resolve_mask, scene, wp.uint8, seen)
        found = {name: array.numpy() for name, array in pictures.items()}
        return Frames(**found | ({"amodal": found["amodal"].view(bool)} if "amodal" in found else {}))

    def _project(self, scene: Scene, surface: StructInstance) -> tuple[wp.array, wp.array]:
        """The vertices on the picture at every moment, and the box of every frame that holds them."""
        num_frames, num_vertices, _ = scene.surface.vertices_m.shape
        weights = moment_weights(scene)
        screen = self._space.buffer("screen", (len(weights), num_frames, num_vertices), raster_kernels.ScreenVertex)
        boxes = self._space.buffer("boxes", (num_frames, 4), wp.int32)
        boxes.fill_(np.iinfo(np.int32).max)
        near = self._space.give(neighbouring_frames(num_frames), np.int32, wp.vec3i)
        moments = _record(raster_kernels.Moments, frames=near, weights=self._space.give(weights, np.float32, wp.vec3))
        self._space.launch(raster_kernels.project, screen.shape, surface.vertices, moments, *self._give_camera(scene), screen, boxes)
        return screen, boxes

    def _rasterise(self, scene: Scene, screen: wp.array, boxes: wp.array, surface: StructInstance) -> StructInstance:
        """What is at the centre of every pixel, and at the samples of those that need them: where something else is beside, or, with an open shutter, all."""
        (frames, height, width), offsets = self._picture_shape(scene), sample_offsets(scene.samples)
        perspective, moving = scene.camera.kind == "perspective", screen.shape[0] > 1
        seen = _record(
            resolve_kernels.Seen,
            boxes=boxes,
            screen=screen,
            centres=self._rasterise_centres("centres", scene, screen, boxes, surface.faces),
            several=self._space.buffer("several", (frames + 1, height, width), wp.uint8),
            samples=self._space.buffer("samples", (frames + 1, height, width, len(offsets)), wp.uint64),
            offsets=self._space.give(offsets, np.int32, wp.vec2i),
            perspective=perspective,
        )
        if scene.samples == 1:
            seen.several.zero_()
            return seen
        told = (seen.centres, surface.face_materials, perspective, moving, seen.several, seen.samples)
        self._space.launch_pieces(edge_kernels.mark, (frames, height, width), boxes, *told)
        for moment, first, last in [(m + 1, m, m + 1) for m in range(len(offsets))] if moving else [(0, 0, len(offsets))]:
            asked = (perspective, seen.offsets, first, last, seen.several, seen.samples)
            self._space.launch_list(triangle_kernels.rasterise_samples, (frames, surface.faces.shape[0]), screen, moment, surface.faces, *asked)
        return seen

    def _rasterise_centres(self, name: str, scene: Scene, screen: wp.array, boxes: wp.array, faces: wp.array) -> wp.array:
        """The keys of some of the faces at the pixels' centres."""
        frames, height, width = self._picture_shape(scene)
        keys = self._space.buffer(name, (frames + 1, height, width), wp.uint64)
        self._space.launch_pieces(raster_kernels.clear, (frames, height, width), boxes, keys)
        self._space.launch_list(triangle_kernels.rasterise, (frames, faces.shape[0]), screen, faces, scene.camera.kind == "perspective", keys)
        return keys

    def _resolve(self, scene: Scene, seen: StructInstance, surface: StructInstance) -> dict[str, wp.array]:
        """The pictures of the faces that won."""
        light = self._give_light(scene, surface)
        surface.points = self._space.buffer("points", (*surface.normals.shape, 4), wp.vec4)
        self._space.launch(shade_kernels.light_vertices, surface.normals.shape, surface, light)
        told = (surface, self._give_materials(scene.surface.materials), light, self._give_background(scene), self._decode)
        pictures = {"radiance": wp.vec3, "depth_m": wp.float32, "parts": wp.uint8}
        made = {name: self._space.new(self._picture_shape(scene), dtype) for name, dtype in pictures.items()}
        self._space.launch_pieces(resolve_kernels.resolve, self._picture_shape(scene), seen, *told, *made.values())
        return made

    def _resolve_extra(self, kernel: wp.Kernel, scene: Scene, dtype: Any, *told: object) -> wp.array:
        """One more picture."""
        picture = self._space.new(self._picture_shape(scene), dtype)
        self._space.launch_rows(kernel, picture.shape, *told, picture)
        return picture

    def _picture_shape(self, scene: Scene) -> tuple[int, int, int]:
        return (len(scene.camera.intrinsics), *scene.camera.size[::-1])

    def _give_camera(self, scene: Scene) -> tuple[wp.array, bool]:
        return self._space.give(scene.camera.intrinsics, np.float32, wp.mat33), scene.camera.kind == "perspective"

    def _give_surface(self, scene: Scene) -> StructInstance:
        given = scene.surface
        return _record(
            shade_kernels.Surface,
            vertices=self._space.give(given.vertices_m, np.float32, wp.vec3),
            normals=self._space.give(given.normals, np.float32, wp.vec3),
            faces=self._space.give(given.faces, np.int32, wp.vec3i),
            colours=self._space.give(given.colours, np.float32, wp.vec3),
            corner_parts=self._space.give(given.corner_parts, np.uint8, wp.vec3ub),
            corner_weights=self._space.give(given.corner_weights, np.float32, wp.mat33),
            corner_uv=self._space.give(given.corner_uv, np.float32, wp.vec2),
            face_materials=self._space.give(given.face_materials, np.int32, wp.int32),
        )

    def _give_materials(self, materials: tuple[Material, ...]) -> StructInstance:
        sizes = np.array([material.roughness.shape for material in materials])
        first = np.cumsum([0, *sizes.prod(1)])
        joined = {name: np.concatenate([getattr(material, name).ravel() for material in materials]) for name in ("albedo", "roughness", "bump_m")}
        texels = self._space.buffer("texels", (int(first[-1]),), wp.vec4)
        bytes_ = self._space.give(joined["albedo"], np.uint8, wp.uint8), self._space.give(joined["roughness"], np.uint8, wp.uint8)
        self._space.launch_list(shade_kernels.decode_texels, (1, len(joined["roughness"])), *bytes_, self._level_light, texels)
        return _record(
            shade_kernels.Materials,
            first=self._space.give(first[:-1], np.int32, wp.int32),
            width=self._space.give(sizes[:, 1], np.int32, wp.int32),
            height=self._space.give(sizes[:, 0], np.int32, wp.int32),
            reflectance=self._space.give(np.array([material.reflectance for material in materials]), np.float32, wp.float32),
            texels=texels,
            bump=self._space.give(joined["bump_m"], np.float32, wp.float32),
        )

    def _give_light(self, scene: Scene, surface: StructInstance) -> StructInstance:
        given, (frames, lights, _) = scene.light, scene.light.directions.shape
        told = _record(shade_kernels.Light, **{name: self._space.give(getattr(given, name), np.float32, wp.vec3) for name in ("ambient", "directions", "colours")})
        told.shadows = bool(given.shadows and lights)
        side = SHADOW_TEXELS if told.shadows else 0
        matrices = light_from_camera(scene, side) if told.shadows else np.zeros((frames, 4, 4))
        told.light_from_camera = self._space.give(matrices, np.float32, wp.mat44)
        told.shadow_keys = self._shadow_keys(surface, told.light_from_camera, side)
        return told

    def _shadow_keys(self, surface: StructInstance, light_from_camera: wp.array, side: int) -> wp.array:
        """What the key light sees, as `_rasterise` says what the camera does."""
        frames, vertices = surface.vertices.shape
        keys = self._space.buffer("shadow", (frames + 1, side, side), wp.uint64)
        if side:
            keys.fill_(raster_kernels.EMPTY)
            screen = self._space.buffer("lit", (1, frames, vertices), raster_kernels.ScreenVertex)
            self._space.launch(raster_kernels.project_to_light, (frames, vertices), surface.vertices, light_from_camera, screen)
            self._space.launch_list(triangle_kernels.rasterise, (frames, surface.faces.shape[0]), screen, surface.faces, False, keys)
        return keys

    def _give_background(self, scene: Scene) -> StructInstance:
        moments = photo_at_moments(scene)
        low, high = shown_part(scene.background.photo.shape[1::-1], moments, scene.camera.size)
        maps = moments.astype(float)
        maps[..., 2] -= low
        words = self._space.buffer("photo", (high[1] - low[1] + 1, high[0] - low[0] + 1), wp.uint32)
        photo = self._space.give(scene.background.photo, np.uint8, wp.uint8)
        self._space.launch_list(resolve_kernels.pack, (1, words.shape[0]), photo, wp.vec2i(*map(int, low)), words)
        return _record(
            resolve_kernels.Background,
            photo=words,
            photo_from_pixel=self._space.give(maps, np.float32, wp.vec3),
            next_from_pixel=self._space.give(next_from_pixel(scene.background), np.float32, wp.vec3),
        )


def sample_offsets(samples: int) -> Array:
    """Where the colour samples of a pixel lie, in 1/4096 px from its centre, row by row."""
    places = np.trunc(((np.arange(samples) + 0.5) / samples - 0.5) * raster_kernels.SUBPIXELS)
    y, x = np.meshgrid(places, places, indexing="ij")
    return np.stack([x, y], -1).reshape(-1, 2).astype(np.int32)


def photo_at_moments(scene: Scene) -> Float32[Array, "moments frames 2 3"]:
    """The background's map at every moment of every frame; at the frame's own alone where the photo moves by less than STILL_PX in the time between."""
    maps = scene.background.photo_from_pixel
    moving = np.einsum("mtn,tnij->mtij", moment_weights(scene)[1:], maps[neighbouring_frames(len(maps))].astype(float))
    corners = np.array([[x, y, 1.0] for x in (0, scene.camera.size[0]) for y in (0, scene.camera.size[1])]).T
    if not len(moving) or np.ptp(moving @ corners, axis=0).max() < STILL_PX:
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


def _decoding_table() -> Float32[Array, "entries"]:
    """Linear light of sixteenths of sRGB levels: what the kernels have instead of `pow`."""
    return linear_from_srgb(np.arange(255 * 16 + 2) / (255.0 * 16)).astype(np.float32)


def _record(kind: Any, **fields: Any) -> StructInstance:
    """A Warp struct from its fields."""
    made = kind()
    for name, value in fields.items():
        setattr(made, name, value)
    return made
