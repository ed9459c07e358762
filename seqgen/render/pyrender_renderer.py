"""Draws a clip with pyrender on OpenGL: the slower, independent check of every picture. No other file imports pyrender or OpenGL.

OpenGL says which fragment is nearest, how deep it lies and what colour is interpolated there; light, background, averaging and sRGB are numpy's.
It differs from the Warp renderer where that is simpler: light falls on vertices instead of pixels, and a whole face has one part.
"""

import functools
import os
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

from seqgen.camera import Camera
from seqgen.errors import UserError
from seqgen.render.renderer import Frames
from seqgen.render.srgb import linear_from_srgb, srgb_from_linear
from seqgen.scene.scene import Background, Light, Scene, Surface

Array = np.ndarray
NEAR_M = 0.01


class PyrenderRenderer:
    """A renderer on the one OpenGL context of this process."""

    def __init__(self):
        self._canvas = _open_canvas()

    def render(self, scene: Scene) -> Frames:
        """The pictures of a clip. All labels come before all colours, because OpenGL's buffers are made anew when the size changes."""
        frames = range(len(scene.camera.intrinsics))
        labels = [self._draw_labels(scene, t) for t in frames]
        rgb = [self._draw_colours(scene, t) for t in frames]
        return Frames(np.stack(rgb), np.stack([depth_m for depth_m, _ in labels]), np.stack([parts for _, parts in labels]))

    def _draw_labels(self, scene: Scene, t: int) -> tuple[Float32[Array, "height width"], UInt8[Array, "height width"]]:
        """Depth and parts at the pixels' centres. Part ids are colours of faces that share no vertex, so that nothing mixes them."""
        faces = _drawable(scene, t)
        near, far = _depth_range(scene, t)
        corners = scene.surface.faces[faces].reshape(-1)
        colours = np.repeat(_face_parts(scene.surface)[faces] / np.float32(255), 3)
        positions = scene.surface.vertices_m[t, corners]
        drawn, depth = self._canvas.draw(_projection(scene.camera, t, near, far), scene.camera.size, positions, np.tile(colours[:, None], 3), None)
        mask = drawn[..., 3] > 0
        depth_m = np.where(mask, _metres(scene.camera, depth, near, far), 0)
        return depth_m.astype(np.float32), np.where(mask, np.rint(drawn[..., 0] * 255), 0).astype(np.uint8)

    def _draw_colours(self, scene: Scene, t: int) -> UInt8[Array, "height width 3"]:
        """The averaged picture: OpenGL's own pixels are the samples, `scene.samples` along each side."""
        (width, height), n = scene.camera.size, scene.samples
        colours = scene.surface.colours * _radiance(scene.light, scene.surface.normals[t], t)
        indices = scene.surface.faces[_drawable(scene, t)]
        projection = _projection(scene.camera, t, *_depth_range(scene, t))
        drawn, _ = self._canvas.draw(projection, (width * n, height * n), scene.surface.vertices_m[t], colours, indices)
        samples = drawn.astype(float).reshape(height, n, width, n, 4).mean((1, 3))
        return _composite(samples[..., :3], samples[..., 3:], _background_levels(scene.background, t, scene.camera.size))


def why_unavailable() -> str | None:
    """Why this renderer cannot be used here, or None when it can."""
    try:
        _open_canvas()
    except UserError as error:
        return str(error)
    return None


@functools.cache  # one for the process: closing a context would close all others of its EGL display
def _open_canvas() -> "_Canvas":
    """The context and its scene, or why there is none."""
    try:
        return _Canvas()
    except Exception as error:  # OpenGL, its loaders and pyrender fail in every way there is, down to AttributeError and AssertionError
        wanted = f"pyrender and OpenGL with PYOPENGL_PLATFORM={os.environ.get('PYOPENGL_PLATFORM')}"
        advice = "install seqgen[opengl] and Mesa's EGL (Debian: libegl1), or use the warp renderer"
        raise UserError(f"renderer pyrender: looked for {wanted}, found {type(error).__name__}: {error}; {advice}") from error


class _Canvas:
    """pyrender, told a projection matrix and triangles, giving floats."""

    def __init__(self):
        os.environ.setdefault("PYOPENGL_PLATFORM", "egl")  # read by pyrender when it is imported; without it pyrender opens a window
        import pyrender

        self._pyrender = pyrender
        self._target = _offscreen_class()(1, 1)
        self._scene = pyrender.Scene(bg_color=np.zeros(4))  # alpha 0: drawn fragments have 1
        self._node = pyrender.Node(mesh=pyrender.Mesh([]))
        self._camera = _camera_class()()
        self._scene.add_node(self._node)
        self._scene.add(self._camera)

    def draw(
        self,
        projection: Float[Array, "4 4"],
        size: tuple[int, int],
        positions: Float32[Array, "vertices 3"],
        colours: Float[Array, "vertices 3"],
        indices: Int32[Array, "faces 3"] | None,
    ) -> tuple[Float32[Array, "height width 4"], Float32[Array, "height width"]]:
        """The RGBA and OpenGL's depth (0..1) at the centre of every pixel, first row on top. Unlit; back faces are not drawn."""
        if len(positions) == 0 or (indices is not None and len(indices) == 0):
            return np.zeros((size[1], size[0], 4), np.float32), np.ones((size[1], size[0]), np.float32)
        self._camera.projection = projection
        self._node.mesh = self._pyrender.Mesh([self._pyrender.Primitive(positions=positions, color_0=colours, indices=indices)])
        self._target.viewport_width, self._target.viewport_height = size
        return self._target.render(self._scene, self._pyrender.RenderFlags.FLAT)


def _camera_class() -> Any:
    import pyrender

    class MatrixCamera(pyrender.Camera):
        """A camera that is its projection matrix."""

        def get_projection_matrix(self, width=None, height=None):
            return self.projection

    return MatrixCamera


def _offscreen_class() -> Any:
    """pyrender's offscreen renderer with another framebuffer.

    pyrender draws into four samples a pixel and then reads depth from the first, which lies at (-0.125, +0.375) px. Here the same buffers are given zero
    samples, so the one place is the pixel's centre, and floats, so nothing is rounded to 8 or 24 bits.
    """
    import pyrender
    from OpenGL import GL

    class FloatRenderer(pyrender.Renderer):
        def _configure_main_framebuffer(self):
            size = (self.viewport_width, self.viewport_height)
            fresh = self._main_fb is None or self._main_fb_dims != size
            super()._configure_main_framebuffer()
            for buffer, layout in ((self._main_cb_ms, GL.GL_RGBA32F), (self._main_db_ms, GL.GL_DEPTH_COMPONENT32F)) if fresh else ():
                GL.glBindRenderbuffer(GL.GL_RENDERBUFFER, buffer)
                GL.glRenderbufferStorageMultisample(GL.GL_RENDERBUFFER, 0, layout, *size)

        def _read_main_framebuffer(self, scene, flags):
            width, height = self._main_fb_dims
            GL.glBindFramebuffer(GL.GL_READ_FRAMEBUFFER, self._main_fb_ms)
            read = [GL.glReadPixels(0, 0, width, height, channels, GL.GL_FLOAT) for channels in (GL.GL_RGBA, GL.GL_DEPTH_COMPONENT)]
            colour, depth = (np.frombuffer(pixels, np.float32).reshape(height, width, -1)[::-1] for pixels in read)  # OpenGL's first row is the lowest
            return colour, depth[..., 0]

    class FloatOffscreenRenderer(pyrender.OffscreenRenderer):
        def _create(self):
            super()._create()
            self._renderer = FloatRenderer(self.viewport_width, self.viewport_height)

    return FloatOffscreenRenderer


def _projection(camera: Camera, t: int, near_m: float, far_m: float) -> Float[Array, "4 4"]:
    """OpenGL's clip space from OpenCV's camera frame: the one place where y and z turn over. OpenGL's first pixel spans -0.5 to 0.5 of ours."""
    (width, height), k = camera.size, camera.intrinsics[t].astype(float)
    to_clip = np.array([[2 / width, 0, 1 / width - 1], [0, -2 / height, 1 - 1 / height], [0, 0, 1]])
    x, y, w = to_clip @ [[k[0, 0], 0, k[0, 2]], [0, k[1, 1], k[1, 2]], [0, 0, 1]]
    middle = (far_m + near_m) / (far_m - near_m)
    if camera.kind == "weak_perspective":
        return np.array([[x[0], 0, 0, x[2]], [0, y[1], 0, y[2]], [0, 0, 2 / (far_m - near_m), -middle], [0, 0, 0, w[2]]])
    return np.array([[x[0], 0, x[2], 0], [0, y[1], y[2], 0], [0, 0, middle, -2 * far_m * near_m / (far_m - near_m)], [0, 0, w[2], 0]])


def _metres(camera: Camera, depth: Float32[Array, "height width"], near_m: float, far_m: float) -> Float[Array, "height width"]:
    """The z that `_projection` carried to OpenGL's depth 0..1."""
    depth = depth.astype(float)
    if camera.kind == "weak_perspective":
        return near_m + depth * (far_m - near_m)
    return far_m * near_m / (far_m - depth * (far_m - near_m))


def _drawable(scene: Scene, t: int) -> Array:
    """Which faces lie before the near plane with every corner: OpenGL would cut the others, we leave them out."""
    if scene.camera.kind == "weak_perspective":
        return np.ones(len(scene.surface.faces), bool)
    return (scene.surface.vertices_m[t, scene.surface.faces, 2] > NEAR_M).all(1)


def _depth_range(scene: Scene, t: int) -> tuple[float, float]:
    """A near and a far plane around what is drawn: the tighter, the finer OpenGL's depth."""
    z = scene.surface.vertices_m[t, scene.surface.faces[_drawable(scene, t)], 2]
    if z.size == 0:
        return NEAR_M, 1.0
    margin = 0.01 * (z.max() - z.min()) + 1e-4
    return float(max(z.min() - margin, z.min() / 2)) if scene.camera.kind == "perspective" else float(z.min() - margin), float(z.max() + margin)


def _face_parts(surface: Surface) -> UInt8[Array, "faces"]:
    """The candidate of largest mean weight."""
    return np.take_along_axis(surface.corner_parts, surface.corner_weights.mean(1).argmax(1)[:, None], 1)[:, 0]


def _radiance(light: Light, normals: Float32[Array, "vertices 3"], t: int) -> Float[Array, "vertices 3"]:
    """The formula of `Light` at every vertex."""
    return light.ambient[t] + np.maximum(normals @ light.directions[t].T, 0) @ light.colours[t]


def _background_levels(background: Background, t: int, size: tuple[int, int]) -> Float[Array, "height width 3"]:
    """sRGB levels 0..255 of the photo at every pixel."""
    photo, (height, width, _) = background.photo.astype(float), background.photo.shape
    y, x = np.mgrid[: size[1], : size[0]]
    u, v = np.einsum("ij,jhw->ihw", background.photo_from_pixel[t].astype(float), np.stack([x, y, np.ones_like(x)]))
    u, v = np.clip(u, 0, width - 1), np.clip(v, 0, height - 1)
    left, top = np.floor(u).astype(int), np.floor(v).astype(int)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    s, t_ = (u - left)[..., None], (v - top)[..., None]
    return (photo[top, left] * (1 - s) + photo[top, right] * s) * (1 - t_) + (photo[bottom, left] * (1 - s) + photo[bottom, right] * s) * t_


def _composite(linear: Float[Array, "height width 3"], coverage: Float[Array, "height width 1"], levels: Float[Array, "height width 3"]) -> UInt8[Array, "height width 3"]:
    """Light of the samples that were drawn (the others have none), and the background's for the rest, as sRGB bytes."""
    linear = linear + (1 - coverage) * linear_from_srgb(levels / 255)
    return np.floor(np.where(coverage == 0, levels, 255 * srgb_from_linear(linear)) + 0.5).astype(np.uint8)
