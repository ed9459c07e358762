"""From posed vertices of a hand model to the surface a renderer draws: the wrist closed, normals, and which part each point belongs to."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int32, UInt8
from scipy.sparse import csr_matrix

from seqgen.hand.model import HandModel
from seqgen.scene.scene import Surface
from seqgen.scene.wrist import dome_faces, dome_sources, dome_vertices, oriented_loop

Array = np.ndarray


@dataclass(frozen=True)
class SurfaceTemplate:
    """What of a hand's surface does not move. Where the model is open at the wrist it is closed by a dome, whose vertices follow the model's own."""

    faces: Int32[Array, "faces 3"]
    corner_parts: UInt8[Array, "faces 3"]
    corner_weights: Float32[Array, "faces 3 3"]
    wrist_loop: Int32[Array, "loop"]
    corners_of_vertex: csr_matrix  # (vertices, faces): 1 where the face touches the vertex

    def closed(self, vertices_m: Float32[Array, "frames vertices 3"]) -> Float32[Array, "frames closed 3"]:
        """Posed vertices of the model, followed by those of the dome."""
        return np.concatenate([vertices_m, dome_vertices(vertices_m, self.wrist_loop)], 1) if len(self.wrist_loop) else vertices_m

    def surface(self, vertices_m: Float32[Array, "frames vertices 3"], colours: Float32[Array, "vertices 3"]) -> Surface:
        """The drawable surface of posed vertices of the model, painted with linear albedo."""
        vertices_m = self.closed(vertices_m)
        if len(self.wrist_loop):
            colours = np.concatenate([colours, colours[dome_sources(self.wrist_loop)]])
        return Surface(vertices_m, self.normals(vertices_m), self.faces, self.corner_parts, self.corner_weights, colours)

    def normals(self, vertices_m: Float32[Array, "frames vertices 3"]) -> Float32[Array, "frames vertices 3"]:
        """Unit vertex normals: the area-weighted mean of the faces around."""
        frames, vertices, _ = vertices_m.shape
        a, b, c = (vertices_m[:, self.faces[:, corner]] for corner in range(3))
        face_normals = np.cross(b - a, c - a).transpose(1, 0, 2).reshape(len(self.faces), -1)
        normals = (self.corners_of_vertex @ face_normals).reshape(vertices, frames, 3).transpose(1, 0, 2)
        lengths = np.linalg.norm(normals, axis=-1, keepdims=True)
        return np.ascontiguousarray(normals / np.maximum(lengths, 1e-12), dtype=np.float32)


def surface_template(model: HandModel) -> SurfaceTemplate:
    """The template of a hand model."""
    faces, weights, loop = model.faces, model.skinning_weights, oriented_loop(model.wrist_loop, model.faces)
    if len(loop):
        faces = np.concatenate([faces, dome_faces(loop, first=len(weights))])
        weights = np.concatenate([weights, np.eye(1, 16, dtype=np.float32).repeat(len(dome_sources(loop)), 0)])
    candidates = weights.argmax(1)[faces]
    corner_weights = np.take_along_axis(weights[faces], candidates[:, None, :], 2)
    touches = csr_matrix((np.ones(faces.size, np.float32), (faces.ravel(), np.repeat(np.arange(len(faces)), 3))), shape=(len(weights), len(faces)))
    return SurfaceTemplate(faces.astype(np.int32), (candidates + 1).astype(np.uint8), corner_weights.astype(np.float32), loop, touches)
