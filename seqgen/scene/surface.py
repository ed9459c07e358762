"""From posed vertices of a hand model to the surface a renderer draws: normals, texture coordinates, and which part each point belongs to."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, UInt8
from scipy.sparse import csr_matrix

from seqgen.hand.model import HandModel
from seqgen.scene.scene import Material, Surface

Array = np.ndarray


@dataclass(frozen=True)
class SurfaceTemplate:
    """What of a hand's surface does not move. It is open at the wrist; `arm.py` or `wrist.py` close it."""

    faces: Int32[Array, "faces 3"]
    corner_parts: UInt8[Array, "faces 3"]
    corner_weights: Float32[Array, "faces 3 3"]
    corner_uv: Float32[Array, "faces 3 2"]
    corners_of_vertex: csr_matrix  # (vertices, faces): 1 where the face touches the vertex

    def surface(self, vertices_m: Float32[Array, "frames vertices 3"], material: Material, colours: Float32[Array, "vertices 3"]) -> Surface:
        """The drawable surface of posed vertices of the model."""
        normals = vertex_normals(vertices_m, self.faces, self.corners_of_vertex)
        one = np.zeros(len(self.faces), np.int32)
        return Surface(vertices_m, normals, self.faces, self.corner_parts, self.corner_weights, self.corner_uv, one, (material,), colours)


def surface_template(model: HandModel, corner_uv: Float32[Array, "faces 3 2"]) -> SurfaceTemplate:
    """The template of a hand model with texture coordinates."""
    candidates = model.skinning_weights.argmax(1)[model.faces]
    corner_weights = np.take_along_axis(model.skinning_weights[model.faces], candidates[:, None, :], 2)
    parts = (candidates + 1).astype(np.uint8)
    return SurfaceTemplate(model.faces, parts, corner_weights.astype(np.float32), corner_uv, corners_of_vertex(model.faces, len(model.template_m)))


def corners_of_vertex(faces: Int32[Array, "faces 3"], num_vertices: int) -> csr_matrix:
    """(vertices, faces): 1 where the face touches the vertex. A ValueError for faces of other vertices than 0 to `num_vertices` - 1."""
    return csr_matrix((np.ones(faces.size, np.float32), (faces.ravel(), np.repeat(np.arange(len(faces)), 3))), shape=(num_vertices, len(faces)))


def vertex_normals(vertices_m: Float32[Array, "frames vertices 3"], faces: Int32[Array, "faces 3"], touches: csr_matrix) -> Float32[Array, "frames vertices 3"]:
    """Unit vertex normals: the area-weighted mean of the faces around. `touches`: `corners_of_vertex` of these faces, which has looked at their indices.

    Coordinates come first and a vertex's frames lie beside each other, so that every step goes along memory.
    """
    frames, vertices, _ = vertices_m.shape
    planes = np.ascontiguousarray(vertices_m.transpose(2, 1, 0))
    corners = planes.take(faces.T.reshape(-1), axis=1).reshape(3, 3, len(faces), frames)
    u, v = (corners[:, 1:] - corners[:, :1]).swapaxes(0, 1)
    cross = np.empty_like(u)
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        np.multiply(u[j], v[k], out=cross[i])
        cross[i] -= u[k] * v[j]
    sums = (touches @ cross.swapaxes(0, 1).reshape(len(faces), -1)).reshape(vertices, 3, frames)
    x, y, z = normals = np.ascontiguousarray(sums.swapaxes(0, 1))
    normals /= np.maximum(np.sqrt(x * x + y * y + z * z), 1e-12)
    return np.ascontiguousarray(normals.transpose(2, 1, 0))
