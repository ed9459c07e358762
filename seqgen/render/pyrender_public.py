"""pyrender as a good user of its public interface feeds it, for comparisons of speed: one OffscreenRenderer and one Scene for all frames.

A frame is two meshes of ready primitives (pyrender uploads a mesh only when it is new) and two renderings: of the look, with the key light and its shadow,
always four samples a pixel, which is all that the interface offers; and of the part labels. That is not one node a part, each with a draw call of its own:
SEG with FLAT draws vertices' colours at the pixels' centres, and depth is read of the same rendering. As in `pyrender_fed.py`, pyrender is spared bumps, gloss
maps, soft light from several sides and all lights but one.
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float32

from seqgen.render import opengl
from seqgen.render.pyrender_clips import LABELS, Corners, FedFrames, axes_along, before_photo, check_drawable, face_labels, shared_corners, soft_bytes
from seqgen.scene.scene import Scene, Surface

Array = np.ndarray
OPENGL_FROM_OPENCV = np.diag([1.0, -1, -1, 1])  # the camera's pose: it looks along our z
MARGIN_M = 0.01  # of the near and the far plane of a camera without perspective


@dataclass(frozen=True)
class _Part:
    """What stays the same of a primitive in all frames of a clip."""

    corners: Corners
    faces: Float32[Array, "faces 3"]  # as Primitive keeps them
    colour: Float32[Array, "corners 4"] | None
    lit: bool = False
    material: Any = None


@functools.cache  # one for the process: closing a context would close all others of its EGL display
def open_public() -> "PublicPyrender":
    """pyrender as its users have it. A UserError where there is none."""
    return PublicPyrender()


class PublicPyrender:
    """pyrender's OffscreenRenderer; made by `open_public`."""

    def __init__(self) -> None:
        opengl.open_canvas()
        import pyrender

        self._pyrender, self._target = pyrender, pyrender.OffscreenRenderer(1, 1)
        self._scene = _scene_class()(bg_color=np.zeros(4))  # alpha 0: what is drawn has 1
        self._look, self._labels = (self._scene.add(pyrender.Mesh([])) for _ in range(2))
        self._key = pyrender.DirectionalLight(intensity=np.pi)
        self._key_node = self._scene.add(self._key)
        self._cameras = {
            "perspective": self._scene.add(pyrender.IntrinsicsCamera(1, 1, 0, 0), pose=OPENGL_FROM_OPENCV),
            "weak_perspective": self._scene.add(pyrender.OrthographicCamera(1, 1)),
        }
        self._white_labels()

    def render(self, scene: Scene) -> FedFrames:
        """The pictures of a clip. A UserError for what pyrender cannot draw."""
        check_drawable(scene)
        self._target.viewport_width, self._target.viewport_height = scene.camera.size
        self._scene.bounds = np.stack([scene.surface.vertices_m.min((0, 1)), scene.surface.vertices_m.max((0, 1))])
        self._scene.main_camera_node = self._cameras[scene.camera.kind]
        look, labels, flags = self._look_parts(scene), _label_part(scene.surface), self._flags(scene)
        frames = [self._draw(scene, t, look, labels, flags) for t in range(len(scene.camera.intrinsics))]
        rgb, depth, parts = (np.stack(pictures) for pictures in zip(*frames, strict=True))
        return FedFrames(rgb, depth, parts)

    def _draw(self, scene: Scene, t: int, look: list[_Part], labels: _Part, flags: int) -> tuple[Array, Array, Array]:
        """Colour before the photo, depth and parts of frame t."""
        pyrender = self._pyrender
        self._look.mesh = pyrender.Mesh([self._primitive(scene.surface, t, part) for part in look])
        self._labels.mesh = pyrender.Mesh([self._primitive(scene.surface, t, labels)], is_visible=False)
        self._aim_camera(scene, t)
        if look[0].lit:
            self._aim_key(scene, t)
        colour, _ = self._target.render(self._scene, flags)
        self._labels.mesh.is_visible = True
        seen, depth = self._target.render(self._scene, pyrender.RenderFlags.SEG | pyrender.RenderFlags.FLAT, {self._labels: [255, 255, 255]})
        return before_photo(scene, t, colour, blended=True), self._metres(scene, depth), seen[..., 0]

    def _look_parts(self, scene: Scene) -> list[_Part]:
        """The surface by its textures; colours are sent only where there are any."""
        surface, pyrender, found = scene.surface, self._pyrender, []
        lit, none = bool(scene.light.directions.shape[1]), np.zeros(len(scene.surface.faces), np.uint8)
        white = surface.colours if lit else surface.colours * soft_bytes(scene.light, surface)
        bilinear = pyrender.Sampler(magFilter=pyrender.GLTF.LINEAR, minFilter=pyrender.GLTF.LINEAR)  # faster than between mipmaps, and what a Material says
        textures = {id(material.albedo): material.albedo for material in surface.materials}
        owners = np.array([list(textures).index(id(material.albedo)) for material in surface.materials])[surface.face_materials]
        for number, albedo in enumerate(textures.values()):
            corners = shared_corners(surface, np.flatnonzero(owners == number), none)
            colour = None if (white == 1).all() else np.column_stack([white[corners.vertex], np.ones(len(corners.vertex))]).astype(np.float32)
            texture = pyrender.Texture(source=albedo, source_channels="RGB", sampler=bilinear)
            material = pyrender.MetallicRoughnessMaterial(baseColorTexture=texture, metallicFactor=0.0, roughnessFactor=1.0)
            found.append(_Part(corners, corners.faces.astype(np.float32), colour, lit, material))
        return found

    def _primitive(self, surface: Surface, t: int, part: _Part) -> Any:
        vertex = part.corners.vertex
        return self._pyrender.Primitive(
            positions=surface.vertices_m[t, vertex],
            normals=surface.normals[t, vertex] if part.lit else None,
            texcoord_0=part.corners.uv if part.material else None,
            color_0=part.colour,
            indices=part.faces,
            material=part.material,
        )

    def _flags(self, scene: Scene) -> int:
        flags = self._pyrender.RenderFlags
        if not scene.light.directions.shape[1]:
            return flags.RGBA | flags.FLAT
        return flags.RGBA | (flags.SHADOWS_DIRECTIONAL if scene.light.shadows else 0)

    def _aim_camera(self, scene: Scene, t: int) -> None:
        """OpenGL's first pixel spans -0.5 to 0.5 of ours. A camera without perspective sees along z from where its middle pixel looks."""
        node, k, (width, height) = self._scene.main_camera_node, scene.camera.intrinsics[t].astype(float), scene.camera.size
        near_m, far_m = self._scene.bounds[:, 2].astype(float)
        if scene.camera.kind == "perspective":
            node.camera.fx, node.camera.fy, node.camera.cx, node.camera.cy = k[0, 0], k[1, 1], k[0, 2] + 0.5, k[1, 2] + 0.5
            node.camera.znear, node.camera.zfar = max(opengl.NEAR_M, near_m / 2), far_m + MARGIN_M
            return
        node.camera.ymag, node.camera.znear, node.camera.zfar = height / 2 / k[1, 1], MARGIN_M, far_m - near_m + 3 * MARGIN_M
        pose = OPENGL_FROM_OPENCV.copy()
        pose[:3, 3] = (width / 2 - 0.5 - k[0, 2]) / k[0, 0], (height / 2 - 0.5 - k[1, 2]) / k[1, 1], near_m - 2 * MARGIN_M
        self._scene.set_pose(node, pose)

    def _aim_key(self, scene: Scene, t: int) -> None:
        pose = np.eye(4)
        pose[:3, :3] = axes_along(scene.light.directions[t, 0].astype(float))
        self._scene.set_pose(self._key_node, pose)
        self._key.color, self._scene.ambient_light = scene.light.colours[t, 0].astype(float), scene.light.ambient[t, 0].astype(float)

    def _metres(self, scene: Scene, depth: Float32[Array, "height width"]) -> Float32[Array, "height width"]:
        """pyrender takes every camera for one with perspective; where it has none, that is undone."""
        if scene.camera.kind == "perspective":
            return depth
        node, hit = self._scene.main_camera_node, depth > 0
        near_m, far_m = node.camera.znear, node.camera.zfar
        depth[hit] = node.matrix[2, 3] + near_m + far_m - near_m * far_m / depth[hit]
        return depth

    def _white_labels(self) -> None:
        """SEG sends no material, so a program keeps the last it was told: the white one, of this drawing without SEG."""
        pyrender = self._pyrender
        self._labels.mesh = pyrender.Mesh([pyrender.Primitive(positions=np.zeros((3, 3)), color_0=np.ones((3, 4)), indices=np.zeros((1, 3)))])
        self._target.render(self._scene, pyrender.RenderFlags.FLAT)


def _scene_class() -> Any:
    import pyrender

    class BoundedScene(pyrender.Scene):
        """A scene that is told its bounds, which say where a shadow map lies, once a clip: pyrender's own way looks at all vertices, and needs NumPy 1."""

        bounds = np.zeros((2, 3))

    return BoundedScene


def _label_part(surface: Surface) -> _Part:
    """The surface in the colours of its labels."""
    corners = shared_corners(surface, np.arange(len(surface.faces)), face_labels(surface), textured=False)
    colour = np.repeat(corners.label[:, None] / np.float32(LABELS), 4, 1)
    colour[:, 3] = 1
    return _Part(corners, corners.faces.astype(np.float32), colour)
