"""Meshes of users as solids: what trimesh reads, checked to be closed and sound, centred, with normals that are smooth except over sharp edges.

A mesh keeps its own picture if it brings one, or else its vertex colours; without either it is laid on with drawn patterns.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32, Int, Int32
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from seqgen.errors import UserError
from seqgen.scene.scene import Material, plain_material
from seqgen.scene.things.mesh_files import read_mesh
from seqgen.scene.things.solids import Solid, projected_uv
from seqgen.srgb import LINEAR_OF_LEVEL

if TYPE_CHECKING:
    from trimesh import Trimesh

Array = np.ndarray
SUFFIXES = {".obj", ".ply", ".stl", ".glb", ".off"}
MAX_FACES = 20_000
SMOOTH_RAD = np.radians(35.0)  # edges that bend more than this are sharp
ROUGHNESS, REFLECTANCE = 140, 0.04  # of pictures and colours that come without: painted plastic
MAX_PICTURE_PX = 512
LARGEST = 1e15  # a coordinate beyond is none
OUT = "or take it out of occluder.folder"


@dataclass(frozen=True)
class MeshRef:
    """A mesh that can be read when needed."""

    name: str
    path: str


def list_meshes(folder: str) -> list[MeshRef]:
    """The meshes of a folder and its folders, by name. A UserError when there is none."""
    root = Path(folder)
    if not root.is_dir():
        raise UserError(f"{folder}: occluder.folder is no folder; give one with .obj, .ply, .stl, .glb or .off files, or leave it out for the built-in solids")
    paths = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if not paths:
        raise UserError(f"{folder}: no mesh in occluder.folder; put .obj, .ply, .stl, .glb or .off files there, or leave it out for the built-in solids")
    return [MeshRef(path.relative_to(root).as_posix(), str(path)) for path in paths]


@lru_cache(maxsize=64)
def load_mesh(ref: MeshRef) -> Solid:
    """A mesh whose longest side is 1 m, along z. A UserError when it cannot be read, has holes, no extent, no faces or more than MAX_FACES, or is not finite."""
    mesh = _read(ref.path)
    if not len(mesh.faces):
        raise UserError(f"{ref.path}: mesh has no faces; give a surface of triangles, {OUT}")
    if len(mesh.faces) > MAX_FACES:
        raise UserError(f"{ref.path}: mesh has {len(mesh.faces):,} faces, more than {MAX_FACES:,}; simplify it, {OUT}")
    _check_arrays(np.asarray(mesh.vertices), np.asarray(mesh.faces), ref.path)
    extent = np.ptp(mesh.vertices[mesh.faces].reshape(-1, 3), axis=0)
    if extent.min() <= 1e-6 * extent.max():
        raise UserError(f"{ref.path}: mesh is flat or a point (sides {extent[0]:g} x {extent[1]:g} x {extent[2]:g}); give a body, {OUT}")
    mesh.vertices = _upright(np.asarray(mesh.vertices), mesh.faces)
    with np.errstate(all="ignore"):  # of faces without an area trimesh says so, and goes on
        return _solid(mesh, _closed(mesh, ref.path))


def _read(path: str) -> "Trimesh":
    try:
        return read_mesh(Path(path))
    except Exception as error:  # the readers of the formats raise whatever comes
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path}: mesh cannot be read ({reason}); export it anew, {OUT}") from None


def _check_arrays(vertices: Array, faces: Array, path: str) -> None:
    """Readers pass on whatever a file holds: points of the plane, faces of vertices that are not there."""
    if vertices.ndim != 2 or vertices.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise UserError(f"{path}: mesh is of vertices {vertices.shape} and faces {faces.shape}, expected triangles in space; export it anew, {OUT}")
    if not (np.abs(vertices) <= LARGEST).all():
        raise UserError(f"{path}: mesh has vertices that are not finite; export it anew, {OUT}")
    outside = np.flatnonzero(((faces < 0) | (faces >= len(vertices))).any(1))
    if len(outside):
        raise UserError(f"{path}: mesh has a face ({outside[0]}) of vertices that are not there: it has {len(vertices):,}; export it anew, {OUT}")


def _upright(vertices: Float[Array, "vertices 3"], faces: Int[Array, "faces 3"]) -> Float[Array, "vertices 3"]:
    """Vertices about the middle of their box, its longest side 1 and turned to z."""
    used = vertices[faces.reshape(-1)]
    low, high = used.min(0), used.max(0)
    turned = np.roll(vertices - (low + high) / 2, 2 - int(np.argmax(high - low)), axis=1)
    return turned / (high - low).max()


def _closed(mesh: "Trimesh", path: str) -> "Trimesh":
    """The mesh with vertices at one place merged, in the same order of faces. A UserError when it has holes or sides that face both ways."""
    merged = mesh.copy()
    merged.merge_vertices(merge_tex=True, merge_norm=True)
    if not merged.is_watertight:
        raise UserError(f"{path}: mesh has holes; close them (Blender: Mesh > Clean Up > Fill Holes), {OUT}")
    if not merged.is_winding_consistent or merged.volume == 0:
        raise UserError(f"{path}: mesh has faces turned inside out; make them consistent (Blender: Mesh > Normals > Recalculate Outside), {OUT}")
    return merged


def _solid(mesh: "Trimesh", merged: "Trimesh") -> Solid:
    """Vertices are one for each place and each smooth patch around it. `mesh` knows texture coordinates and colours, `merged` who is whose neighbour."""
    patch = _smooth_patches(merged)
    corners = np.stack([merged.faces.reshape(-1), np.repeat(patch, 3)], 1)
    keys, first, place = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    faces, outside = place.reshape(-1, 3), 1 if merged.volume > 0 else -1
    face_normals = np.cross(*(merged.triangles[:, corner] - merged.triangles[:, 0] for corner in (1, 2))) * outside  # by area
    normals = np.zeros((len(keys), 3))
    np.add.at(normals, faces.reshape(-1), np.repeat(face_normals, 3, 0))
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    colours, corner_uv, material = _look(mesh, face_normals)
    return Solid(
        vertices_m=merged.vertices[keys[:, 0]].astype(np.float32),
        normals=normals.astype(np.float32),
        faces=faces[:, ::outside].astype(np.int32),
        corner_uv=np.ascontiguousarray(corner_uv[:, ::outside]),
        colours=colours[mesh.faces.reshape(-1)[first]],
        material=material,
    )


def _smooth_patches(merged: "Trimesh") -> Int32[Array, "faces"]:
    """Faces that are joined over edges that are not sharp have the same number."""
    a, b = merged.face_adjacency[merged.face_adjacency_angles < SMOOTH_RAD].T
    count = len(merged.faces)
    return connected_components(csr_matrix((np.ones(len(a)), (a, b)), shape=(count, count)), directed=False)[1]


def _look(mesh: "Trimesh", face_normals: Float[Array, "faces 3"]) -> tuple[Float32[Array, "vertices 3"], Float32[Array, "faces 3 2"], Material | None]:
    """Linear vertex colours, texture coordinates and material: the mesh's picture, its colours, or neither."""
    white, uv, image = np.ones(mesh.vertices.shape, np.float32), getattr(mesh.visual, "uv", None), _picture(mesh.visual)
    if uv is not None and image is not None and np.shape(uv) == (len(mesh.vertices), 2) and np.isfinite(uv).all():
        return white, np.asarray(uv, np.float32)[mesh.faces], _picture_material(image)
    axis = np.abs(face_normals).argmax(1)
    outwards = np.sign(np.take_along_axis(face_normals, axis[:, None], 1)[:, 0])
    projected = projected_uv(mesh.triangles, axis, outwards)
    if mesh.visual.defined and mesh.visual.kind in ("vertex", "face"):
        linear = LINEAR_OF_LEVEL[np.asarray(mesh.visual.vertex_colors)[:, :3]]
        return linear.astype(np.float32), projected, plain_material(roughness=ROUGHNESS, reflectance=REFLECTANCE)
    return white, projected, None


def _picture(visual: Any) -> Any:
    """The picture of a mesh (PIL), wherever its format keeps it, or None."""
    material = getattr(visual, "material", None)
    return getattr(material, "baseColorTexture", None) or getattr(material, "image", None)


def _picture_material(image: Any) -> Material:
    picture = image.convert("RGB")
    picture.thumbnail((MAX_PICTURE_PX, MAX_PICTURE_PX))
    albedo = np.asarray(picture)
    return Material(albedo, np.full(albedo.shape[:2], ROUGHNESS, np.uint8), np.zeros(albedo.shape[:2], np.float32), REFLECTANCE)
