"""pyrender at its best, for comparisons of speed: one context, renderers, scenes and nodes that are kept, and only vertices that are sent anew each frame.

It is not one of the renderers of data sets: light is pyrender's own (its physically based shader with a shadow map, or flat where no light has a direction),
pictures are sRGB bytes, and a face has one part label. pyrender is spared what it does not have: bumps, gloss maps, soft light from several sides.

    2 x 2 samples    a pass with four samples a pixel for colour, and one at pixel centres, flat, for depth and labels
    one sample       a single pass at pixel centres; labels travel in the alpha channel
"""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, Int64, UInt8
from PIL import Image

from seqgen.camera import Camera
from seqgen.errors import UserError
from seqgen.render import opengl
from seqgen.render.shading import soft_light
from seqgen.render.shadow import SHADOW_TEXELS
from seqgen.scene.scene import Light, Scene, Surface

Array = np.ndarray
LABELS = 255  # a part label is sent as a share of this
POSITION, NORMAL = slice(0, 3), slice(3, 6)  # of the numbers of a vertex, before texture coordinates and colour


@dataclass(frozen=True)
class FedFrames:
    """What pyrender made of a clip; depth and parts as in `Frames`."""

    rgb: UInt8[Array, "frames height width 3"]
    depth_m: Float32[Array, "frames height width"]
    parts: UInt8[Array, "frames height width"]


@dataclass(frozen=True)
class _Corners:
    """The corners of some faces, each that is shared by faces of one label and texture coordinate once: vertex, texture coordinate, label; and faces of them."""

    vertex: Int64[Array, "corners"]
    uv: Float32[Array, "corners 2"]
    label: UInt8[Array, "corners"]
    faces: Int64[Array, "faces 3"]


class FedPyrender:
    """pyrender on the one OpenGL context of this process. A UserError where there is none."""

    def __init__(self) -> None:
        self._canvas = opengl.open_canvas()
        from OpenGL.raw.GL import _errors

        self._look, self._centres = _Layer(4), _Layer(0)
        self._checker = _errors._error_checker

    def render(self, scene: Scene) -> FedFrames:
        """The pictures of a clip. A UserError for what pyrender cannot draw."""
        if scene.samples > 2 or scene.shutter:
            raise UserError("pyrender draws one or four samples of one moment: compare with --render.samples 2 or 1 and --render.shutter 0 0")
        self._canvas.make_current()
        self._checker.onBegin()  # as between glBegin and glEnd: PyOpenGL asks for an error after each of its calls, which costs a tenth
        try:
            return self._draw(scene)
        finally:
            self._checker.onEnd()

    def _draw(self, scene: Scene) -> FedFrames:
        split = scene.samples > 1
        look, cameras = (self._look if split else self._centres), _cameras(scene)
        look.load_look(scene, labels_in_alpha=not split)
        if split:
            self._centres.load_labels(scene)
        drawn = [look.draw(scene, t, projection) for t, (projection, _, _) in enumerate(cameras)]
        seen = [self._centres.draw(scene, t, projection) for t, (projection, _, _) in enumerate(cameras)] if split else drawn
        parts = np.stack([colour[..., 0 if split else 3] for colour, _ in seen])
        depth = np.stack([opengl.metres_from_depth(scene.camera, depth, near, far) for (_, depth), (_, near, far) in zip(seen, cameras, strict=True)])
        rgb = np.stack([_before_photo(scene, t, colour, blended=split) for t, (colour, _) in enumerate(drawn)])
        return FedFrames(rgb, np.where(parts > 0, depth, 0).astype(np.float32), parts)


class _Layer:
    """A renderer with a scene of one node and one key light, drawn into so many samples a pixel (0: at its centre)."""

    def __init__(self, samples: int) -> None:
        import pyrender

        self._pyrender, self._renderer = pyrender, _renderer_class()(samples)
        self._scene = pyrender.Scene(bg_color=np.zeros(4))
        self._camera, self._node, self._key = opengl.camera_class()(), pyrender.Node(mesh=pyrender.Mesh([])), pyrender.DirectionalLight(intensity=np.pi)
        self._key._generate_shadow_texture(SHADOW_TEXELS)
        self._scene.add_node(self._node)
        self._scene.add(self._camera)
        self._key_node = self._scene.add(self._key)
        self._sent: list[tuple[Any, Array, Array]] = []  # primitive, vertex of each of its corners, the numbers it holds

    def load_look(self, scene: Scene, *, labels_in_alpha: bool) -> None:
        """The surface in its colours, a primitive for each material."""
        surface, labels = scene.surface, face_labels(scene.surface)
        lit, self._sent = bool(scene.light.directions.shape[1]), []
        white = surface.colours if lit else surface.colours * _soft_bytes(scene.light, surface)
        for number, material in enumerate(surface.materials):
            corners = _shared_corners(surface, np.flatnonzero(surface.face_materials == number), labels)
            colour = np.column_stack([white[corners.vertex], corners.label / LABELS if labels_in_alpha else np.ones(len(corners.vertex))])
            texture = self._pyrender.Texture(source=material.albedo, source_channels="RGB")
            look = self._pyrender.MetallicRoughnessMaterial(baseColorTexture=texture, metallicFactor=0.0, roughnessFactor=1.0)
            self._add(surface, corners, colour, lit=lit, texcoord_0=corners.uv, material=look)
        shadows = self._pyrender.RenderFlags.SHADOWS_DIRECTIONAL if scene.light.shadows else 0
        self._load(scene, shadows if lit else self._pyrender.RenderFlags.FLAT)

    def load_labels(self, scene: Scene) -> None:
        """The surface in the colours of its labels."""
        corners, self._sent = _shared_corners(scene.surface, np.arange(len(scene.surface.faces)), face_labels(scene.surface), textured=False), []
        colour = np.repeat([[0.0, 0, 0, 1]], len(corners.vertex), 0)
        colour[:, 0] = corners.label / LABELS
        self._add(scene.surface, corners, colour, lit=False)
        self._load(scene, self._pyrender.RenderFlags.FLAT)

    def draw(self, scene: Scene, t: int, projection: Float[Array, "4 4"]) -> tuple[UInt8[Array, "height width 4"], Float32[Array, "height width"] | None]:
        """What `_renderer_class` reads of frame t."""
        for primitive, vertex, numbers in self._sent:
            numbers[:, POSITION] = scene.surface.vertices_m[t, vertex]
            if primitive.normals is not None:
                numbers[:, NORMAL] = scene.surface.normals[t, vertex]
            opengl.send_numbers(primitive, numbers)
        if scene.light.directions.shape[1]:
            self._aim_key(scene, t)
        self._camera.projection = projection
        return self._renderer.render(self._scene, self._flags)

    def _add(self, surface: Surface, corners: _Corners, colour: Array, *, lit: bool, **fields: Any) -> None:
        normals = surface.normals[0, corners.vertex] if lit else None
        positions = surface.vertices_m[0, corners.vertex]
        primitive = self._pyrender.Primitive(positions=positions, normals=normals, color_0=colour, indices=corners.faces, **fields)
        told = [values for values in (positions, normals, fields.get("texcoord_0"), colour) if values is not None]
        self._sent.append((primitive, corners.vertex, np.ascontiguousarray(np.hstack(told), np.float32)))

    def _load(self, scene: Scene, flags: int) -> None:
        self._flags = flags | self._pyrender.RenderFlags.OFFSCREEN | self._pyrender.RenderFlags.RGBA
        self._node.mesh = self._pyrender.Mesh([primitive for primitive, _, _ in self._sent])
        self._renderer.viewport_width, self._renderer.viewport_height = scene.camera.size
        self._renderer._update_context(self._scene, self._flags)

    def _aim_key(self, scene: Scene, t: int) -> None:
        """The key light of frame t; bounds tell pyrender where its shadow map lies."""
        pose = np.eye(4)
        pose[:3, :3] = _axes_along(scene.light.directions[t, 0].astype(float))
        self._scene.set_pose(self._key_node, pose)
        self._key.color, self._scene.ambient_light = scene.light.colours[t, 0].astype(float), scene.light.ambient[t, 0].astype(float)
        vertices = scene.surface.vertices_m[t]
        self._node.mesh._bounds = self._scene._bounds = np.array([vertices.min(0), vertices.max(0)])  # pyrender's own way needs NumPy 1


@functools.cache
def _renderer_class() -> Any:
    """pyrender's renderer with so many samples a pixel and a shadow map of the size that ours has; it reads bytes of colour, and OpenGL's depth at centres."""
    import pyrender
    from OpenGL import GL

    class SampledRenderer(pyrender.Renderer):
        def __init__(self, samples: int) -> None:
            super().__init__(1, 1)
            self._samples = samples

        def _configure_main_framebuffer(self) -> None:
            size = (self.viewport_width, self.viewport_height)
            fresh = self._main_fb is None or self._main_fb_dims != size
            super()._configure_main_framebuffer()
            for buffer, layout in ((self._main_cb_ms, GL.GL_RGBA), (self._main_db_ms, GL.GL_DEPTH_COMPONENT32F)) if fresh else ():
                GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, buffer)
                GL.glRenderbufferStorageMultisample(GL.GL_RENDERBUFFER, self._samples, layout, *size)

        def _configure_shadow_mapping_viewport(self, light: Any, flags: int) -> None:
            super()._configure_shadow_mapping_viewport(light, flags)
            GL.glViewport(0, 0, SHADOW_TEXELS, SHADOW_TEXELS)

        def _read_main_framebuffer(self, scene: Any, flags: int) -> tuple[Array, Array | None]:
            width, height = self._main_fb_dims
            GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._main_fb_ms)
            if self._samples:
                GL.glBindFramebuffer(GL.GL_DRAW_FRAMEBUFFER, self._main_fb)
                GL.glBlitFramebuffer(0, 0, width, height, 0, 0, width, height, GL.GL_COLOR_BUFFER_BIT, GL.GL_NEAREST)
                GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._main_fb)
            colour = np.frombuffer(GL.glReadPixels(0, 0, width, height, GL.GL_RGBA, GL.GL_UNSIGNED_BYTE), np.uint8).reshape(height, width, 4)[::-1]
            if self._samples:
                return colour, None
            depth = np.frombuffer(GL.glReadPixels(0, 0, width, height, GL.GL_DEPTH_COMPONENT, GL.GL_FLOAT), np.float32).reshape(height, width)[::-1]
            return colour, depth

    return SampledRenderer


def face_labels(surface: Surface) -> UInt8[Array, "faces"]:
    """One part label a face: that of its middle."""
    return np.take_along_axis(surface.corner_parts, surface.corner_weights.sum(1).argmax(1)[:, None], 1)[:, 0]


def _shared_corners(surface: Surface, chosen: Int[Array, "faces"], labels: UInt8[Array, "all"], *, textured: bool = True) -> _Corners:
    vertex, label = surface.faces[chosen].ravel().astype(np.int64), np.repeat(labels[chosen], 3)
    uv = np.ascontiguousarray(surface.corner_uv[chosen].reshape(-1, 2), np.float32) if textured else np.zeros((len(vertex), 2), np.float32)
    keys = np.column_stack([vertex * 256 + label, uv.view(np.uint32).astype(np.int64) @ np.array([1, 2**32 + 15])])
    _, first, faces = np.unique(keys @ np.array([0x9E3779B97F4A7C1, 1]), return_index=True, return_inverse=True)  # a hash: wraps around
    return _Corners(vertex[first], uv[first], label[first], faces.reshape(-1, 3))


def _soft_bytes(light: Light, surface: Surface) -> Float[Array, "vertices 3"]:
    """Soft light of the first frame, which flat shading multiplies sRGB colours by."""
    return np.clip(soft_light(light, 0, surface.normals[0]), 0, 1) ** (1 / 2.2)


def _cameras(scene: Scene) -> list[tuple[Float[Array, "4 4"], float, float]]:
    """The projection of every frame, and its near and far plane."""
    found = []
    for intrinsics, vertices in zip(scene.camera.intrinsics, scene.surface.vertices_m, strict=True):
        near, far = opengl.depth_range(scene.camera, vertices[:, 2])
        near = max(near, opengl.NEAR_M) if scene.camera.kind == "perspective" else near
        found.append((opengl.projection_matrix(Camera(scene.camera.kind, intrinsics[None], scene.camera.size), near, far), near, far))
    return found


def _axes_along(z: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Right-handed axes, as columns, with the third along z."""
    y = np.cross(z, np.eye(3)[np.abs(z).argmin()])
    y /= np.linalg.norm(y)
    return np.stack([np.cross(y, z), y, z], 1)


def _before_photo(scene: Scene, t: int, colour: UInt8[Array, "height width 4"], *, blended: bool) -> UInt8[Array, "height width 3"]:
    """A drawn frame before its background: over it by its coverage, or wherever something was drawn. Only rows and columns that hold something are touched."""
    photo, way = Image.fromarray(scene.background.photo), scene.background.photo_from_pixel[t].ravel().tolist()
    rgb = np.array(photo.transform(scene.camera.size, Image.Transform.AFFINE, way, Image.Resampling.BILINEAR))
    rows, columns = (np.flatnonzero(colour[..., 3].any(axis)) for axis in (1, 0))
    if not len(rows):
        return rgb
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    drawn, alpha, behind = colour[box][..., :3], colour[box][..., 3:], rgb[box]
    rgb[box] = np.minimum(drawn + (behind * (255 - alpha.astype(np.uint16)) // 255), 255) if blended else np.where(alpha > 0, drawn, behind)
    return rgb
