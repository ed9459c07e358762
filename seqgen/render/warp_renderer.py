"""Draws a whole clip at once with Warp kernels, on the CPU (one thread) or a CUDA device.

The same scene gives the same bits, whatever was drawn before and whatever is drawn beside it: every frame is its own row of every buffer, and every
buffer is filled anew before it is read. The compiled kernels are kept in the folder `warp` of our cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp

from seqgen.render import edge_kernels, frame_kernels, label_kernels, raster_kernels, resolve_kernels, surface_kernels, triangle_kernels
from seqgen.render.device import Workspace
from seqgen.render.given import StructInstance, Tables, give_background, give_light, give_materials, give_moments, give_surface, next_from_pixel, record, sample_offsets
from seqgen.render.renderer import Extra, Frames
from seqgen.scene.scene import Scene

PICTURES = {"radiance": wp.vec3, "depth_m": wp.float32, "parts": wp.uint8}
SPARE = 1  # pictures of keys: vectors run on beyond the last row


@dataclass(frozen=True)
class Told:
    """A scene and the records of it that the kernels take."""

    scene: Scene
    shape: tuple[int, int, int]  # frames, height, width
    intrinsics: wp.array
    surface: StructInstance
    materials: StructInstance
    light: StructInstance
    background: StructInstance
    seen: StructInstance


class WarpRenderer:
    """A renderer that keeps its working memory between clips of one shape. `device`: "cpu", "cuda" or "cuda:N". `keep_light`: the light of its pictures stays on
    the device, for a developer there."""

    def __init__(self, device: str = "cpu", *, keep_light: bool = False):
        self._space, self._keep_light = Workspace(device), keep_light
        self._tables = Tables(self._space)

    def render(self, scene: Scene, extras: frozenset[Extra] = frozenset()) -> Frames:
        """The pictures of a clip."""
        return self.render_clips([scene], extras)[0]

    def render_clips(self, scenes: Sequence[Scene], extras: frozenset[Extra] = frozenset()) -> list[Frames]:
        """The pictures of several clips, each as if alone; a GPU has all of them in its queue before the first picture is fetched."""
        drawn = [self._draw(scene, extras) for scene in scenes]
        return [Frames(**{name: self._fetch(name, picture) for name, picture in pictures.items()}) for pictures in drawn]

    def _fetch(self, name: str, picture: wp.array) -> Any:
        """A picture as an array of numpy's, or as it is."""
        if name == "radiance" and self._keep_light:
            return picture
        return picture.numpy().view(bool) if name == "amodal" else picture.numpy()

    def _draw(self, scene: Scene, extras: frozenset[Extra]) -> dict[str, wp.array]:
        """The pictures of a clip, on the device, where they may still be in the making."""
        told = self._tell(scene, keep=bool(extras) or self._space.fine)
        self._prepare_vertices(told)
        pictures = {name: self._space.new(told.shape, dtype) for name, dtype in PICTURES.items()}
        lit = (told.seen, told.surface, told.materials, told.light, told.background, self._tables.decode, *pictures.values())
        if self._space.fine:
            self._rasterise(told)
            self._space.launch_pieces(resolve_kernels.resolve, told.shape, *lit)
        else:
            self._space.launch(frame_kernels.draw_frame, told.shape[:1], *lit)
        return pictures | self._draw_extras(told, extras)

    def _tell(self, scene: Scene, keep: bool) -> Told:
        """All that the kernels are told. `keep`: what was seen in every frame, else one frame is forgotten for the next."""
        shape = (len(scene.camera.intrinsics), *scene.camera.size[::-1])
        slots, moments, offsets = shape[0] if keep else 1, give_moments(self._space, scene), sample_offsets(scene.samples)
        seen = record(
            resolve_kernels.Seen,
            moments=moments,
            boxes=self._space.buffer("boxes", (shape[0], 4), wp.int32),
            screen=self._space.buffer("screen", (moments.weights.shape[0], *scene.surface.vertices_m.shape[:2]), raster_kernels.ScreenVertex),
            centres=self._space.buffer("centres", (slots + SPARE, *shape[1:]), wp.uint64),
            several=self._space.buffer("several", (slots + SPARE, *shape[1:]), wp.uint8),
            samples=self._space.buffer("samples", (slots + SPARE, *shape[1:], len(offsets)), wp.uint64),
            offsets=self._space.give(offsets, np.int32, wp.vec2i),
            perspective=scene.camera.kind == "perspective",
        )
        if scene.samples == 1:
            seen.several.zero_()
        return Told(
            scene,
            shape,
            self._space.give(scene.camera.intrinsics, np.float32, wp.mat33),
            give_surface(self._space, scene.surface),
            give_materials(self._space, scene.surface.materials, self._tables),
            give_light(self._space, scene, slots),
            give_background(self._space, scene),
            seen,
        )

    def _prepare_vertices(self, told: Told) -> None:
        """Vertices on the picture at every moment, and the box of every frame that holds them; seen from the light; and soft light at them."""
        surface, light, seen, vertices = told.surface, told.light, told.seen, told.surface.vertices.shape
        seen.boxes.fill_(np.iinfo(np.int32).max)
        at_moments = (seen.screen.shape[0] * vertices[0], vertices[1])
        self._space.launch_list(raster_kernels.project, at_moments, surface.vertices, seen.moments, told.intrinsics, seen.perspective, seen.screen, seen.boxes)
        self._space.launch_list(surface_kernels.light_vertices, vertices, surface, light)
        if light.shadows:
            self._space.launch_list(raster_kernels.project_to_light, vertices, surface.vertices, light.light_from_camera, light.screen)

    def _rasterise(self, told: Told) -> None:
        """What is at the centre of every pixel, and at the samples of those that need them: where something else is beside, or, with an open shutter, all; and
        what the key light sees."""
        seen, surface, light, moving = told.seen, told.surface, told.light, told.seen.screen.shape[0] > 1
        self._rasterise_centres(told, seen.centres, surface.faces)
        if told.scene.samples > 1:
            samples, faces = seen.offsets.shape[0], (told.shape[0], surface.faces.shape[0])
            to_mark = (seen.boxes, seen.centres, surface.face_materials, seen.perspective, moving, seen.several, seen.samples)
            self._space.launch_pieces(edge_kernels.mark, told.shape, *to_mark)
            for moment, first, last in [(m + 1, m, m + 1) for m in range(samples)] if moving else [(0, 0, samples)]:
                asked = (seen.screen, moment, surface.faces, seen.perspective, seen.offsets, first, last, seen.several, seen.samples)
                self._space.launch_list(triangle_kernels.rasterise_samples, faces, *asked)
        if light.shadows:
            light.shadow_keys.fill_(raster_kernels.EMPTY >> 32)
            self._space.launch_list(triangle_kernels.rasterise_map, (told.shape[0], surface.faces.shape[0]), light.screen, surface.faces, light.shadow_keys)

    def _rasterise_centres(self, told: Told, keys: wp.array, faces: wp.array) -> None:
        """The keys of some of the faces at the pixels' centres."""
        self._space.launch_pieces(raster_kernels.clear, told.shape, told.seen.boxes, keys)
        self._space.launch_list(triangle_kernels.rasterise, (told.shape[0], faces.shape[0]), told.seen.screen, faces, told.seen.perspective, keys)

    def _draw_extras(self, told: Told, extras: frozenset[Extra]) -> dict[str, wp.array]:
        """The pictures asked for beside the usual ones."""
        made = {}
        if "flow" in extras:
            moved = self._space.give(next_from_pixel(told.scene.background), np.float32, wp.vec3)
            made["flow_px"] = self._draw_extra(label_kernels.resolve_motion, told, wp.vec2, told.intrinsics, told.surface, moved)
        if "normals" in extras:
            made["normals"] = self._draw_extra(label_kernels.resolve_normals, told, wp.vec3, told.surface)
        if "amodal" in extras:
            self._rasterise_centres(told, told.seen.centres, told.surface.faces[: told.scene.hand_faces])
            made["amodal"] = self._draw_extra(label_kernels.resolve_mask, told, wp.uint8)
        return made

    def _draw_extra(self, kernel: wp.Kernel, told: Told, dtype: Any, *more: object) -> wp.array:
        picture = self._space.new(told.shape, dtype)
        self._space.launch_rows(kernel, picture.shape, told.seen, *more, picture)
        return picture
