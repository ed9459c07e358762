"""pyrender at its best, for comparisons of speed: one context, renderers, scenes and nodes that are kept, and only vertices that are sent anew each frame.

It is not one of the renderers of data sets: light is pyrender's own (its physically based shader with a shadow map, or flat where no light has a direction),
pictures are sRGB bytes, and a face has one part label. pyrender is spared what it does not have: bumps, gloss maps, soft light from several sides.

    2 x 2 samples    a pass with four samples a pixel for colour, and one at pixel centres, flat, for depth and labels
    one sample       a single pass at pixel centres; labels travel in the alpha channel
"""

import functools
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from seqgen.camera import Camera
from seqgen.render import opengl
from seqgen.render.pyrender_clips import LABELS, Corners, FedFrames, axes_along, before_photo, check_drawable, face_labels, shared_corners, soft_bytes
from seqgen.render.shadow import SHADOW_TEXELS
from seqgen.scene.scene import Scene, Surface

Array = np.ndarray
POSITION, NORMAL = slice(0, 3), slice(3, 6)  # of the numbers of a vertex, before texture coordinates and colour


@functools.cache  # one for the process: a renderer that is collected deletes what has its buffers' numbers in whichever context is current
def open_fed() -> "FedPyrender":
    """pyrender by its inner parts. A UserError where there is no OpenGL."""
    return FedPyrender()


class FedPyrender:
    """pyrender on the one OpenGL context of this process; made by `open_fed`."""

    def __init__(self) -> None:
        self._canvas = opengl.open_canvas()
        from OpenGL.raw.GL import _errors

        self._look, self._centres = _Layer(4), _Layer(0)
        self._checker = _errors._error_checker

    def render(self, scene: Scene) -> FedFrames:
        """The pictures of a clip. A UserError for what pyrender cannot draw."""
        check_drawable(scene)
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
        rgb = np.stack([before_photo(scene, t, colour, blended=split) for t, (colour, _) in enumerate(drawn)])
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
        white = surface.colours if lit else surface.colours * soft_bytes(scene.light, surface)
        for number, material in enumerate(surface.materials):
            corners = shared_corners(surface, np.flatnonzero(surface.face_materials == number), labels)
            colour = np.column_stack([white[corners.vertex], corners.label / LABELS if labels_in_alpha else np.ones(len(corners.vertex))])
            texture = self._pyrender.Texture(source=material.albedo, source_channels="RGB")
            look = self._pyrender.MetallicRoughnessMaterial(baseColorTexture=texture, metallicFactor=0.0, roughnessFactor=1.0)
            self._add(surface, corners, colour, lit=lit, texcoord_0=corners.uv, material=look)
        shadows = self._pyrender.RenderFlags.SHADOWS_DIRECTIONAL if scene.light.shadows else 0
        self._load(scene, shadows if lit else self._pyrender.RenderFlags.FLAT)

    def load_labels(self, scene: Scene) -> None:
        """The surface in the colours of its labels."""
        corners, self._sent = shared_corners(scene.surface, np.arange(len(scene.surface.faces)), face_labels(scene.surface), textured=False), []
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

    def _add(self, surface: Surface, corners: Corners, colour: Array, *, lit: bool, **fields: Any) -> None:
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
        pose[:3, :3] = axes_along(scene.light.directions[t, 0].astype(float))
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


def _cameras(scene: Scene) -> list[tuple[Float[Array, "4 4"], float, float]]:
    """The projection of every frame, and its near and far plane."""
    found = []
    for intrinsics, vertices in zip(scene.camera.intrinsics, scene.surface.vertices_m, strict=True):
        near, far = opengl.depth_range(scene.camera, vertices[:, 2])
        near = max(near, opengl.NEAR_M) if scene.camera.kind == "perspective" else near
        found.append((opengl.projection_matrix(Camera(scene.camera.kind, intrinsics[None], scene.camera.size), near, far), near, far))
    return found
