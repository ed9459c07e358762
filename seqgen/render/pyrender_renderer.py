"""Draws a clip with pyrender on OpenGL: the slower, independent check of every picture.

OpenGL (`opengl.py`) says which face is nearest at each sample, where in that face and how deep; light (`shading.py`), labels and averaging are numpy's.
It differs from the Warp renderer by rounding, and where that lights a pixel once whose samples all see about the same place: here every sample is lit.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from seqgen.camera import Camera
from seqgen.errors import UserError
from seqgen.render import shading
from seqgen.render.moments import moment_weights, neighbouring_frames
from seqgen.render.opengl import NEAR_M, Seen, open_canvas
from seqgen.render.renderer import Extra, Frames
from seqgen.render.shadow import SHADOW_TEXELS, light_from_camera
from seqgen.scene.scene import Scene
from seqgen.srgb import linear_from_srgb

Array = np.ndarray


class PyrenderRenderer:
    """A renderer on the one OpenGL context of this process."""

    def __init__(self):
        self._canvas = open_canvas()

    def render(self, scene: Scene, extras: frozenset[Extra] = frozenset()) -> Frames:
        """The pictures of a clip. All shadow maps come before all pictures, because OpenGL's buffers are made anew when the size changes."""
        shadows = self._draw_shadows(scene)
        drawn = [self._draw_frame(scene, t, shadow, extras) for t, shadow in enumerate(shadows)]
        return Frames(**{name: np.stack([pictures[name] for pictures in drawn]) for name in drawn[0]})

    def render_clips(self, scenes: Sequence[Scene], extras: frozenset[Extra] = frozenset()) -> list[Frames]:
        """The pictures of several clips, one after the other."""
        return [self.render(scene, extras) for scene in scenes]

    def _draw_shadows(self, scene: Scene) -> list[shading.ShadowMap | None]:
        """What the key light sees of every frame, or nothing where it casts no shadow."""
        frames, lights, _ = scene.light.directions.shape
        if not (scene.light.shadows and lights):
            return [None] * frames
        map_camera = Camera("weak_perspective", np.eye(3)[None], (SHADOW_TEXELS, SHADOW_TEXELS))
        shadows = []
        for matrix, vertices_m in zip(light_from_camera(scene, SHADOW_TEXELS), scene.surface.vertices_m, strict=True):
            seen = self._canvas.see(map_camera, vertices_m @ matrix[:3, :3].T + matrix[:3, 3], scene.surface.faces)
            shadows.append(shading.ShadowMap(np.where(seen.hit, seen.depth_m, np.inf), matrix))
        return shadows

    def _draw_frame(self, scene: Scene, t: int, shadow: shading.ShadowMap | None, extras: frozenset[Extra]) -> dict[str, Array]:
        """All pictures of frame t: labels at the pixels' centres, light at their samples."""
        surface, camera = scene.surface, Camera(scene.camera.kind, scene.camera.intrinsics[t : t + 1], scene.camera.size)
        seen = self._canvas.see(camera, surface.vertices_m[t], surface.faces)
        face, shares = seen.face[seen.hit], seen.shares[seen.hit]
        pictures = {"depth_m": seen.depth_m.astype(np.float32), "parts": _scatter(seen, shading.parts_at(surface, face, shares))}
        pictures["radiance"] = self._draw_light(scene, t, camera, shadow).astype(np.float32)
        if "normals" in extras:
            pictures["normals"] = _scatter(seen, shading.normals_at(surface, t, face, shares).astype(np.float32))
        if "flow" in extras:
            pictures["flow_px"] = _flow(scene, t, seen).astype(np.float32)
        if "amodal" in extras:
            pictures["amodal"] = self._canvas.see(camera, surface.vertices_m[t], surface.faces[: scene.hand_faces]).hit
        return pictures

    def _draw_light(self, scene: Scene, t: int, camera: Camera, shadow: shading.ShadowMap | None) -> Float[Array, "height width 3"]:
        """The mean light of a pixel's samples, each at its moment; what none of them covers is the background's mean over those moments."""
        vertices, photo_maps = (_at_moments(scene, t, values) for values in (scene.surface.vertices_m, scene.background.photo_from_pixel))
        levels = np.mean([shading.background_levels(scene.background, photo_map, camera.size) for photo_map in photo_maps], 0)
        light, coverage = np.zeros_like(levels), np.zeros((*levels.shape[:2], 1))
        places = _sample_places(scene.samples)
        for place, positions in zip(places, vertices if len(vertices) > 1 else [vertices[0]] * len(places), strict=True):
            seen = self._canvas.see(_aside(camera, place), positions, scene.surface.faces)
            light += _scatter(seen, shading.light_at(scene, t, seen.face[seen.hit], seen.shares[seen.hit], shadow)) / len(places)
            coverage += seen.hit[..., None] / len(places)
        return light + (1 - coverage) * linear_from_srgb(levels / 255)


def why_unavailable() -> str | None:
    """Why this renderer cannot be used here, or None when it can."""
    try:
        open_canvas()
    except UserError as error:
        return str(error)
    return None


def _sample_places(samples: int) -> list[tuple[float, float]]:
    """x and y of a pixel's samples from its centre, row by row."""
    steps = (np.arange(samples) + 0.5) / samples - 0.5
    return [(x, y) for y in steps for x in steps]


def _aside(camera: Camera, place: tuple[float, float]) -> Camera:
    """The camera whose pixels' centres see what `camera` sees at `place` from its own."""
    intrinsics = camera.intrinsics.astype(float)
    intrinsics[:, :2, 2] -= place
    return Camera(camera.kind, intrinsics, camera.size)


def _at_moments(scene: Scene, t: int, values: Float[Array, "frames rows 3"]) -> Float[Array, "moments rows 3"]:
    """What moves, at the moment of each sample of frame t, or once if the shutter is open for no time."""
    weights, near = moment_weights(scene)[:, t], neighbouring_frames(len(values))[t]
    return np.einsum("mn,nij->mij", weights[1:] if len(weights) > 1 else weights, values[near].astype(float))


def _scatter(seen: Seen, values: Array) -> Array:
    """A picture of values at the pixels that see a face, in order; 0 elsewhere."""
    picture = np.zeros((*seen.face.shape, *values.shape[1:]), values.dtype)
    picture[seen.hit] = values
    return picture


def _flow(scene: Scene, t: int, seen: Seen) -> Float[Array, "height width 2"]:
    """How far what each pixel's centre sees moves on the picture until the next frame: a point with its face, the background with its photo."""
    flow = np.zeros((*seen.face.shape, 2))
    if t + 1 == len(scene.camera.intrinsics):
        return flow
    pixels = np.moveaxis(np.mgrid[: flow.shape[0], : flow.shape[1]][::-1], 0, -1).astype(float)
    now, after = (np.vstack([photo_from_pixel, [0, 0, 1]]) for photo_from_pixel in scene.background.photo_from_pixel[t : t + 2].astype(float))
    flow[...] = (np.dstack([pixels, np.ones(flow.shape[:2])]) @ np.linalg.solve(after, now).T)[..., :2] - pixels
    points_m = shading.blend(scene.surface.vertices_m[t + 1, scene.surface.faces[seen.face[seen.hit]]], seen.shares[seen.hit])
    gone = (points_m[:, 2:] <= NEAR_M) & (scene.camera.kind == "perspective")
    landed = Camera(scene.camera.kind, scene.camera.intrinsics[t + 1 : t + 2], scene.camera.size).project(np.where(gone, 1, points_m)[None])[0]
    flow[seen.hit] = np.where(gone, 0, landed - pixels[seen.hit])
    return flow
