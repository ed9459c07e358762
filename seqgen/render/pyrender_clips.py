"""What both ways of feeding pyrender (`pyrender_public.py`, `pyrender_fed.py`) need of a clip and give of it. It knows neither pyrender nor OpenGL."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int, Int64, UInt8
from PIL import Image

from seqgen.errors import UserError
from seqgen.render.shading import soft_light
from seqgen.scene.scene import Light, Scene, Surface

Array = np.ndarray
LABELS = 255  # a part label is sent as a share of this


@dataclass(frozen=True)
class FedFrames:
    """What pyrender made of a clip; depth and parts as in `Frames`."""

    rgb: UInt8[Array, "frames height width 3"]
    depth_m: Float32[Array, "frames height width"]
    parts: UInt8[Array, "frames height width"]


@dataclass(frozen=True)
class Corners:
    """The corners of some faces, each that is shared by faces of one label and texture coordinate once: vertex, texture coordinate, label; and faces of them."""

    vertex: Int64[Array, "corners"]
    uv: Float32[Array, "corners 2"]
    label: UInt8[Array, "corners"]
    faces: Int64[Array, "faces 3"]


def check_drawable(scene: Scene) -> None:
    """A UserError for what pyrender cannot draw."""
    if scene.samples > 2 or scene.shutter:
        raise UserError("pyrender draws one or four samples of one moment: compare with --render.samples 2 or 1 and --render.shutter 0 0")


def face_labels(surface: Surface) -> UInt8[Array, "faces"]:
    """One part label a face: that of its middle."""
    return np.take_along_axis(surface.corner_parts, surface.corner_weights.sum(1).argmax(1)[:, None], 1)[:, 0]


def shared_corners(surface: Surface, chosen: Int[Array, "faces"], labels: UInt8[Array, "all"], *, textured: bool = True) -> Corners:
    vertex, label = surface.faces[chosen].ravel().astype(np.int64), np.repeat(labels[chosen], 3)
    uv = np.ascontiguousarray(surface.corner_uv[chosen].reshape(-1, 2), np.float32) if textured else np.zeros((len(vertex), 2), np.float32)
    keys = np.column_stack([vertex * 256 + label, uv.view(np.uint32).astype(np.int64) @ np.array([1, 2**32 + 15])])
    _, first, faces = np.unique(keys @ np.array([0x9E3779B97F4A7C1, 1]), return_index=True, return_inverse=True)  # a hash: wraps around
    return Corners(vertex[first], uv[first], label[first], faces.reshape(-1, 3))


def soft_bytes(light: Light, surface: Surface) -> Float[Array, "vertices 3"]:
    """Soft light of the first frame, which flat shading multiplies sRGB colours by."""
    return np.clip(soft_light(light, 0, surface.normals[0]), 0, 1) ** (1 / 2.2)


def axes_along(z: Float[Array, "3"]) -> Float[Array, "3 3"]:
    """Right-handed axes, as columns, with the third along z."""
    y = np.cross(z, np.eye(3)[np.abs(z).argmin()])
    y /= np.linalg.norm(y)
    return np.stack([np.cross(y, z), y, z], 1)


def before_photo(scene: Scene, t: int, colour: UInt8[Array, "height width 4"], *, blended: bool) -> UInt8[Array, "height width 3"]:
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
