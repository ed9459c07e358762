"""Which face each pixel of a camera sees, asked of OpenGL through pyrender. No other file imports pyrender or OpenGL."""

import functools
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from seqgen.camera import Camera
from seqgen.errors import UserError

Array = np.ndarray
NEAR_M = 0.01
MOST_FACES = 2**20  # face numbers travel through OpenGL as shares of this


@dataclass(frozen=True)
class Seen:
    """What a picture's pixel centres see: a face (-1: none), its corners' shares of the place there, and z in metres (0: none)."""

    face: Int[Array, "height width"]
    shares: Float[Array, "height width 3"]
    depth_m: Float[Array, "height width"]

    @property
    def hit(self) -> Bool[Array, "height width"]:
        return self.face >= 0


@functools.cache  # one for the process: closing a context would close all others of its EGL display
def open_canvas() -> "Canvas":
    """The context and its scene, or why there is none."""
    try:
        return Canvas()
    except Exception as error:  # OpenGL, its loaders and pyrender fail in every way there is, down to AttributeError and AssertionError
        wanted = f"pyrender and OpenGL with PYOPENGL_PLATFORM={os.environ.get('PYOPENGL_PLATFORM')}"
        advice = "install seqgen[opengl] and Mesa's EGL (Debian: libegl1), or use the warp renderer"
        raise UserError(f"renderer pyrender: looked for {wanted}, found {type(error).__name__}: {error}; {advice}") from error


class Canvas:
    """pyrender, told a projection matrix and triangles, giving floats."""

    def __init__(self):
        os.environ.setdefault("PYOPENGL_PLATFORM", "egl")  # read by pyrender when it is imported; without it pyrender opens a window
        import pyrender

        self._pyrender = pyrender
        self._target = _offscreen_class()(1, 1)
        self._scene = pyrender.Scene(bg_color=np.zeros(4))  # alpha 0: drawn fragments have 1
        self._node = pyrender.Node(mesh=pyrender.Mesh([]))
        self._camera = camera_class()()
        self._scene.add_node(self._node)
        self._scene.add(self._camera)

    def make_current(self) -> None:
        """The context is this thread's from here on."""
        self._target._platform.make_current()

    def see(self, camera: Camera, positions_m: Float[Array, "vertices 3"], faces: Int32[Array, "faces 3"]) -> Seen:
        """What a camera of one frame sees of some faces. Their corners are drawn in the colours (share of corner 0, share of corner 1, number of the face)."""
        drawable = np.flatnonzero(_drawable(camera, positions_m, faces))
        corners = positions_m[faces[drawable]].reshape(-1, 3)
        near_m, far_m = depth_range(camera, corners[:, 2])
        colours = np.tile(np.eye(3), (len(drawable), 1))
        colours[:, 2] = np.repeat(drawable / MOST_FACES, 3)
        drawn, depth = self._draw(projection_matrix(camera, near_m, far_m), camera.size, corners.astype(np.float32), colours)
        hit, shares = drawn[..., 3] > 0, drawn[..., :2].astype(float)
        face = np.where(hit, np.rint(drawn[..., 2] * MOST_FACES), -1).astype(int)
        return Seen(face, np.dstack([shares, 1 - shares.sum(-1)]), np.where(hit, metres_from_depth(camera, depth, near_m, far_m), 0))

    def _draw(
        self,
        projection: Float[Array, "4 4"],
        size: tuple[int, int],
        positions: Float32[Array, "vertices 3"],
        colours: Float[Array, "vertices 3"],
    ) -> tuple[Float32[Array, "height width 4"], Float32[Array, "height width"]]:
        """The RGBA and OpenGL's depth (0..1) at the centre of every pixel, first row on top. Unlit; back faces are not drawn.

        Three vertices make a triangle; colours, 0..1, are interpolated.
        """
        if len(positions) == 0:
            return np.zeros((size[1], size[0], 4), np.float32), np.ones((size[1], size[0]), np.float32)
        self._camera.projection = projection
        self._node.mesh = self._pyrender.Mesh([self._pyrender.Primitive(positions=positions, color_0=colours)])
        self._target.viewport_width, self._target.viewport_height = size
        return self._target.render(self._scene, self._pyrender.RenderFlags.FLAT)


def camera_class() -> Any:
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


def projection_matrix(camera: Camera, near_m: float, far_m: float) -> Float[Array, "4 4"]:
    """OpenGL's clip space from OpenCV's camera frame: the one place where y and z turn over. OpenGL's first pixel spans -0.5 to 0.5 of ours."""
    (width, height), k = camera.size, camera.intrinsics[0].astype(float)
    to_clip = np.array([[2 / width, 0, 1 / width - 1], [0, -2 / height, 1 - 1 / height], [0, 0, 1]])
    x, y, w = to_clip @ [[k[0, 0], 0, k[0, 2]], [0, k[1, 1], k[1, 2]], [0, 0, 1]]
    middle = (far_m + near_m) / (far_m - near_m)
    if camera.kind == "weak_perspective":
        return np.array([[x[0], 0, 0, x[2]], [0, y[1], 0, y[2]], [0, 0, 2 / (far_m - near_m), -middle], [0, 0, 0, w[2]]])
    return np.array([[x[0], 0, x[2], 0], [0, y[1], y[2], 0], [0, 0, middle, -2 * far_m * near_m / (far_m - near_m)], [0, 0, w[2], 0]])


def metres_from_depth(camera: Camera, depth: Float32[Array, "height width"], near_m: float, far_m: float) -> Float[Array, "height width"]:
    """The z that `projection_matrix` carried to OpenGL's depth 0..1."""
    depth = depth.astype(float)
    if camera.kind == "weak_perspective":
        return near_m + depth * (far_m - near_m)
    return far_m * near_m / (far_m - depth * (far_m - near_m))


def _drawable(camera: Camera, positions_m: Float[Array, "vertices 3"], faces: Int32[Array, "faces 3"]) -> Bool[Array, "faces"]:
    """Which faces lie before the near plane with every corner: OpenGL would cut the others, we leave them out."""
    if camera.kind == "weak_perspective":
        return np.ones(len(faces), bool)
    return (positions_m[faces, 2] > NEAR_M).all(1)


def depth_range(camera: Camera, z: Float[Array, "vertices"]) -> tuple[float, float]:
    """A near and a far plane around what is drawn: the tighter, the finer OpenGL's depth."""
    if z.size == 0:
        return NEAR_M, 1.0
    margin = 0.01 * (z.max() - z.min()) + 1e-4
    return float(max(z.min() - margin, z.min() / 2)) if camera.kind == "perspective" else float(z.min() - margin), float(z.max() + margin)


def send_numbers(primitive: Any, numbers: Float32[Array, "vertices numbers"]) -> None:
    """New content of the same size for the vertices of a pyrender primitive that is in the context; laid out as pyrender does: position, normal, texture, colour."""
    from OpenGL import GL

    GL.glBindBuffer(GL.GL_ARRAY_BUFFER, primitive._buffers[0])
    GL.glBufferSubData(GL.GL_ARRAY_BUFFER, 0, numbers.nbytes, numbers)
