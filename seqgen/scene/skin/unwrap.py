"""Where each texel of a hand's texture lies on the hand: texture coordinates of any hand model, and the rest pose laid out over a texture.

A model without texture coordinates of its own is laid out like a glove, by projecting its rest pose on the palm's plane: back of the hand in the left half
of the picture, palm in the right half, both with the fingers up. Texture coordinates are u to the right, v up, 0..1; row 0 of a picture is at v = 1.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Int64
from scipy.ndimage import distance_transform_edt

from seqgen.hand.model import HandModel, rest_joints_m
from seqgen.skeleton import hand_frame

Array = np.ndarray
MARGIN = 0.03  # of the texture, about each chart of the glove: bilinear lookups at the rim of one must not meet the other
FINGER_RADIUS_M = 0.006  # less than most are, so that neighbours do not meet at their roots
BORDER_TEXELS = 3  # painted around the charts
INSIDE = -1e-6  # least barycentric weight of a texel's centre within a triangle
GOES_ON = 2.5  # how far beyond a face its plane is believed, in barycentric weights from 1 / 2


@dataclass(frozen=True)
class Texels:
    """The painted texels of a square texture: those that a face covers, and BORDER_TEXELS around them, which show what the nearest covered one shows.

    `places`: row * size + column. A texel lies at `weights` within face `faces`; `covered` tells the first kind.
    """

    size: int
    places: Int64[Array, "texels"]
    faces: Int64[Array, "texels"]
    weights: Float[Array, "texels 3"]
    covered: Bool[Array, "texels"]

    def carried(self, values: Float[Array, "vertices channels"], corners: Int32[Array, "faces 3"]) -> Float[Array, "texels channels"]:
        """What vertices hold, interpolated to the texels; `corners` are the model's faces."""
        return np.einsum("tk,tkc->tc", self.weights, values[corners[self.faces]])


def skin_uv(model: HandModel) -> Float32[Array, "faces 3 2"]:
    """Texture coordinates of each face's corners: the model's own where it has them, else those of the glove."""
    if len(model.uv_faces):
        return np.ascontiguousarray(model.uv[model.uv_faces], np.float32)
    return _glove(model)


def vertex_normals_at_rest(vertices: Float[Array, "vertices 3"], faces: Int32[Array, "faces 3"]) -> Float[Array, "vertices 3"]:
    """Unit normals, the area-weighted mean of the faces around."""
    a, b, c = vertices[faces.T]
    across, sums = np.cross(b - a, c - a), np.zeros_like(vertices)
    for corner in faces.T:
        np.add.at(sums, corner, across)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)


def _glove(model: HandModel) -> Float32[Array, "faces 3 2"]:
    """Both sides projected on the palm's plane, and what slopes away rolled out sideways as if off a finger, so that no face is seen edge on."""
    frame = hand_frame(rest_joints_m(model).astype(float)[None])
    places = (model.template_m - frame.wrist[0]) @ frame.axes[0]
    normals = vertex_normals_at_rest(places, model.faces)
    dorsal = normals[model.faces].mean(1)[:, 2] >= 0
    sideways = normals[:, :2] / np.maximum(np.linalg.norm(normals[:, :2], axis=1, keepdims=True), 1e-12)
    flat = np.empty((len(model.faces), 3, 2))
    for back in (True, False):
        slope = np.arccos(np.clip(normals[:, 2:] if back else -normals[:, 2:], -1, 1))
        rolled = places[:, :2] + sideways * FINGER_RADIUS_M * (slope - np.sin(slope))
        flat[dorsal == back] = rolled[model.faces[dorsal == back]]
    low, high = flat.min((0, 1)), flat.max((0, 1))
    flat = (flat - low) / (high - low) * (np.array([0.5, 1.0]) - 2 * MARGIN) + MARGIN  # stretched to fill its half
    flat[~dorsal, :, 0] = 1.0 - flat[~dorsal, :, 0]  # seen from its own side, a palm has the thumb at the other one
    return flat.astype(np.float32)


def lay_out(uv: Float32[Array, "faces 3 2"], size: int) -> Texels:
    """The texels of a square texture of `size` under those faces. Where charts overlap the later face has it."""
    owner = np.full((size, size), -1)
    corners = np.stack([uv[..., 0] * size - 0.5, (1.0 - uv[..., 1]) * size - 0.5], -1).astype(float)  # column, row
    for face, triangle in enumerate(corners):
        left, top = np.maximum(np.ceil(triangle.min(0)), 0).astype(int)
        right, bottom = np.minimum(np.floor(triangle.max(0)), size - 1).astype(int) + 1
        if left < right and top < bottom:
            rows, columns = np.mgrid[top:bottom, left:right]
            inside = _barycentric(columns, rows, triangle).min(-1) >= INSIDE
            owner[top:bottom, left:right][inside] = face
    return _with_border(owner, corners)


def _barycentric(columns: Array, rows: Array, triangles: Float[Array, "*triangles 3 2"]) -> Float[Array, "*places 3"]:
    """Of places in triangles, one for each or one for all; those of a triangle without area lie outside."""
    first, second, third = (triangles[..., corner, :] for corner in range(3))
    (ux, uy), (vx, vy) = np.moveaxis(second - first, -1, 0), np.moveaxis(third - first, -1, 0)
    x, y, area = columns - first[..., 0], rows - first[..., 1], ux * vy - uy * vx
    area = np.where(area == 0, -1e-12, area)
    b, c = (x * vy - y * vx) / area, (y * ux - x * uy) / area
    return np.stack([1 - b - c, b, c], -1)


def _with_border(owner: Int64[Array, "size size"], corners: Float[Array, "faces 3 2"]) -> Texels:
    """What faces cover, and the border: faces go on beyond their edges there, so that lookups at an edge find what is at the edge, or else end with it."""
    size = len(owner)
    away, nearest = distance_transform_edt(owner < 0, return_indices=True)
    places = np.flatnonzero(away.ravel() <= BORDER_TEXELS)
    source_row, source_column = (index.ravel()[places] for index in nearest)
    faces, (row, column) = owner[source_row, source_column], np.divmod(places, size)
    weights = _barycentric(column, row, corners[faces])
    ends = _barycentric(source_column, source_row, corners[faces])
    far = np.abs(weights - 0.5).max(1) > GOES_ON
    return Texels(size, places, faces, np.where(far[:, None], ends, weights), away.ravel()[places] == 0)
