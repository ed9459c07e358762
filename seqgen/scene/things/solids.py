"""Boxes, cylinders, capsules and ellipsoids as closed meshes with smooth normals and texture coordinates; and the record that meshes of users come in too.

All but the ellipsoid are a core swollen by a ball (its Minkowski sum): vertex = anchor * core + bevel * normal, with anchors and normals of a kind that do
not depend on its size and are made once. A box with bevelled edges is a swollen box, a cylinder with a bevelled rim a swollen disc, a capsule a swollen line.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Float32, Int, Int32

from seqgen.scene.scene import Material
from seqgen.scene.things.pattern import OBJECT_TILE_M

Array = np.ndarray
SolidKind = Literal["box", "cylinder", "capsule", "ellipsoid"]
SOLID_KINDS: tuple[SolidKind, ...] = get_args(SolidKind)
BEVEL = 0.12  # of the smallest half side, for boxes and cylinders
ARC_STEPS = 2  # of a box's bevel, from the middle of an edge to the face
TURNS = 28  # segments around


@dataclass(frozen=True)
class Solid:
    """A closed mesh about its middle, longest along z. Without a material of its own its texture coordinates count tiles of OBJECT_TILE_M."""

    vertices_m: Float32[Array, "vertices 3"]
    normals: Float32[Array, "vertices 3"]  # unit, outwards
    faces: Int32[Array, "faces 3"]
    corner_uv: Float32[Array, "faces 3 2"]
    colours: Float32[Array, "vertices 3"]  # linear
    material: Material | None = None

    def scaled(self, factor: float) -> "Solid":
        """The same, larger; a pattern keeps its natural size."""
        corner_uv = self.corner_uv * np.float32(factor) if self.material is None else self.corner_uv
        return replace(self, vertices_m=self.vertices_m * np.float32(factor), corner_uv=corner_uv)

    def radius_m(self) -> float:
        """Of the ball about its middle that it fits in."""
        return float(np.linalg.norm(self.vertices_m, axis=1).max())


@dataclass(frozen=True)
class Shell:
    """What of a solid does not depend on its size: a unit core's corners, outward normals, faces, and how texture coordinates are made.

    `axis`: each face's texture is laid on along this axis (0, 1, 2), or wrapped around z (3); `turn` of its corners is then how far around, 0..1.
    """

    anchors: Float[Array, "vertices 3"]
    normals: Float[Array, "vertices 3"]
    faces: Int32[Array, "faces 3"]
    axis: Int[Array, "faces"]
    turn: Float[Array, "faces 3"]


def make_solid(kind: SolidKind, half_m: Float[Array, "3"]) -> Solid:
    """A solid of these half sides; cylinders and capsules stand along z, on an ellipse if x and y differ (a capsule's z is the longest)."""
    shell = SHELLS[kind]()
    x, y, z = half_m
    bevel = {"box": BEVEL * min(half_m), "cylinder": BEVEL * min(x, z), "capsule": x, "ellipsoid": 1.0}[kind]
    core = {"box": half_m - bevel, "cylinder": np.array([x - bevel, x - bevel, z - bevel]), "capsule": np.array([0, 0, z - x]), "ellipsoid": np.zeros(3)}[kind]
    stretch = {"box": np.ones(3), "ellipsoid": half_m}.get(kind, np.array([1.0, y / x, 1.0]))
    vertices = (shell.anchors * core + bevel * shell.normals) * stretch
    normals = shell.normals / stretch  # normals go with the inverse transpose
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    corner_uv = _corner_uv(shell, vertices, circumference_m=np.pi * (x + y))
    return Solid(vertices.astype(np.float32), normals.astype(np.float32), shell.faces, corner_uv, np.ones(vertices.shape, np.float32))


def projected_uv(corners_m: Float[Array, "faces 3 xyz"], axis: Int[Array, "faces"], outwards: Float[Array, "faces"]) -> Float32[Array, "faces 3 2"]:
    """Texture coordinates of faces laid on along an axis, in tiles, to be read from outside."""
    planes = np.array([[1, 2], [2, 0], [0, 1]])[axis][:, None]
    uv = np.take_along_axis(corners_m, planes, 2) / OBJECT_TILE_M
    return (uv * np.stack([outwards, np.ones_like(outwards)], 1)[:, None]).astype(np.float32)


def _corner_uv(shell: Shell, vertices: Float[Array, "vertices 3"], circumference_m: float) -> Float32[Array, "faces 3 2"]:
    """Laid on along an axis, or wrapped around in a whole number of tiles, so that there is no seam."""
    corners, axis = vertices[shell.faces], np.minimum(shell.axis, 2)
    outwards = np.sign(shell.normals[shell.faces[:, 0], axis] + shell.normals[shell.faces[:, 1], axis] + shell.normals[shell.faces[:, 2], axis])
    tiles = max(1, round(circumference_m / OBJECT_TILE_M))
    wrapped = np.stack([shell.turn * tiles, corners[..., 2] / OBJECT_TILE_M], -1)
    return np.where((shell.axis == 3)[:, None, None], wrapped, projected_uv(corners, axis, outwards)).astype(np.float32)


@lru_cache(maxsize=1)
def _box() -> Shell:
    """Each side a grid whose outer lines bend over the edges, halfway to the next side; there the sides meet and their vertices are merged."""
    bend = np.tan(np.linspace(0, np.pi / 4, ARC_STEPS + 1))
    slopes, ends = np.concatenate([-bend[::-1], bend]), np.repeat([-1.0, 1.0], ARC_STEPS + 1)
    rows = len(slopes)
    sides = [(axis, sign) for axis in range(3) for sign in (-1.0, 1.0)]
    points = [_side(axis, sign, slopes, ends) for axis, sign in sides]
    i, j = (grid.ravel() for grid in np.meshgrid(np.arange(rows - 1), np.arange(rows - 1), indexing="ij"))
    a, b, c, d = i * rows + j, (i + 1) * rows + j, (i + 1) * rows + j + 1, i * rows + j + 1
    quads = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    faces = np.concatenate([(quads if sign > 0 else quads[:, ::-1]) + rows * rows * n for n, (_, sign) in enumerate(sides)])
    distinct, place = np.unique(np.round(np.concatenate(points), 9), axis=0, return_inverse=True)
    axis = np.repeat([axis for axis, _ in sides], len(quads))
    return Shell(distinct[:, :3], distinct[:, 3:], place.reshape(-1)[faces].astype(np.int32), axis, np.zeros(faces.shape))


def _side(axis: int, sign: float, slopes: Float[Array, "rows"], ends: Float[Array, "rows"]) -> Float[Array, "points 6"]:
    """Anchors and normals of one side of a box, by the two other axes."""
    u, v = (grid.ravel() for grid in np.meshgrid(slopes, slopes, indexing="ij"))
    end_u, end_v = (grid.ravel() for grid in np.meshgrid(ends, ends, indexing="ij"))
    normals, anchors = np.full((2, len(u), 3), sign)
    normals[:, (axis + 1) % 3], normals[:, (axis + 2) % 3] = u, v
    anchors[:, (axis + 1) % 3], anchors[:, (axis + 2) % 3] = end_u, end_v
    return np.concatenate([anchors, normals / np.linalg.norm(normals, axis=1, keepdims=True)], 1)


@lru_cache(maxsize=1)
def _cylinder() -> Shell:
    return _revolved((-90.0, -45.0, 0.0, 0.0, 45.0, 90.0))


@lru_cache(maxsize=1)
def _capsule() -> Shell:
    return _revolved((-75.0, -60.0, -45.0, -30.0, -15.0, 0.0, 0.0, 15.0, 30.0, 45.0, 60.0, 75.0))


@lru_cache(maxsize=1)
def _ellipsoid() -> Shell:
    return _revolved(np.arange(-75.0, 76.0, 15.0).tolist())


def _revolved(latitudes_deg: Sequence[float]) -> Shell:
    """Rings of vertices by the latitude of their normals, the first half of them anchored below, with a pole at either end."""
    latitude, rings = np.radians(latitudes_deg)[:, None], len(latitudes_deg)
    angle = 2 * np.pi * np.arange(TURNS) / TURNS
    around = np.stack([np.cos(angle), np.sin(angle)], -1)
    normals = np.concatenate([np.cos(latitude)[..., None] * around, np.broadcast_to(np.sin(latitude)[..., None], (rings, TURNS, 1))], 2)
    level = np.repeat(np.where(np.arange(rings) < rings / 2, -1.0, 1.0), TURNS).reshape(rings, TURNS, 1)
    anchors = np.concatenate([np.broadcast_to(around, (rings, TURNS, 2)), level], 2)
    poles = np.array([[0, 0, -1.0], [0, 0, 1.0]])
    faces, turn = _ring_faces(rings)
    normals, anchors = (np.concatenate([points.reshape(-1, 3), poles]) for points in (normals, anchors))
    polar = np.abs(normals[faces, 2].mean(1)) > 0.75
    return Shell(anchors, normals, faces, np.where(polar, 2, 3), turn)


def _ring_faces(rings: int) -> tuple[Int32[Array, "faces 3"], Float[Array, "faces 3"]]:
    """Triangles between rings and to the two poles (the last vertices), outside out, and how far around their corners are."""
    column = np.tile(np.arange(TURNS), rings - 1)
    here, after = np.repeat(np.arange(rings - 1), TURNS) * TURNS + column, np.repeat(np.arange(rings - 1), TURNS) * TURNS + (column + 1) % TURNS
    one, following = np.arange(TURNS), (np.arange(TURNS) + 1) % TURNS
    south, north, last = np.full(TURNS, rings * TURNS), np.full(TURNS, rings * TURNS + 1), (rings - 1) * TURNS
    parts = [(here, after, after + TURNS), (here, after + TURNS, here + TURNS), (following, one, south), (last + one, last + following, north)]
    turns = [(column, column + 1, column + 1), (column, column + 1, column), (one + 1, one, one + 0.5), (one, one + 1, one + 0.5)]
    return np.concatenate([np.stack(part, 1) for part in parts]).astype(np.int32), np.concatenate([np.stack(part, 1) for part in turns]) / TURNS


SHELLS: dict[SolidKind, Callable[[], Shell]] = {"box": _box, "cylinder": _cylinder, "capsule": _capsule, "ellipsoid": _ellipsoid}
