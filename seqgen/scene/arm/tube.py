"""Tubes: rings of equally many vertices, one after the other, joined outside out and closed by caps. Arms and sleeves are made of them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Float32, Int32

from seqgen.geometry import cross

Array = np.ndarray


@dataclass(frozen=True)
class Tube:
    """How the vertices of a tube hang together: ring by ring, then the middle of the last ring's cap, then of the first ring's where that is closed too."""

    faces: Int32[Array, "faces 3"]
    corner_ring: Int32[Array, "faces 3"]  # the ring of each corner; a cap's middle counts to its ring
    corner_turn: Float32[Array, "faces 3"]  # 0..1 around the tube; 1 only at the corners that close the seam

    def corner_uv(self, v: Float[Array, "rings"], repeats: int = 1) -> Float32[Array, "faces 3 2"]:
        """Texture coordinates: u runs `repeats` times from 0 to 1 around the tube, v is given ring by ring."""
        uv = np.empty((*self.corner_ring.shape, 2), np.float32)
        uv[..., 0], uv[..., 1] = self.corner_turn * repeats, v.astype(np.float32)[self.corner_ring]
        return uv


@lru_cache(maxsize=16)
def tube(rings: int, around: int, *, closed_start: bool) -> Tube:
    """The tube of so many rings. Seen from outside with its rings going up, a ring runs to the right."""
    ring, k = (index.ravel() for index in np.mgrid[: rings - 1, :around])
    low, right = ring * around + k, ring * around + (k + 1) % around
    turn, next_turn = k / around, (k + 1) / around
    faces = [np.stack([low, right, low + around], 1), np.stack([right, right + around, low + around], 1)]
    rings_of = [np.stack([ring, ring, ring + 1], 1), np.stack([ring, ring + 1, ring + 1], 1)]
    turns = [np.stack([turn, next_turn, turn], 1), np.stack([next_turn, next_turn, turn], 1)]
    k = np.arange(around)
    for closed, ring_of, order in ((True, rings - 1, [0, 1, 2]), (closed_start, 0, [1, 0, 2])):
        if closed:
            middle = rings * around + (ring_of == 0)
            faces.append(np.stack([ring_of * around + k, ring_of * around + (k + 1) % around, np.full(around, middle)], 1)[:, order])
            rings_of.append(np.full((around, 3), ring_of))
            turns.append((np.stack([k, k + 1, k + 0.5], 1) / around)[:, order])
    joined = Tube(np.concatenate(faces).astype(np.int32), np.concatenate(rings_of).astype(np.int32), np.concatenate(turns).astype(np.float32))
    for kept in (joined.faces, joined.corner_ring, joined.corner_turn):
        kept.flags.writeable = False
    return joined


def ring_normals(offsets_m: Float[Array, "rings around 3"], along_m: Float[Array, "rings"]) -> Float[Array, "rings around 3"]:
    """Unit normals outwards of a straight tube along y: across the way around and the way along, both by central differences (one-sided at the ends)."""
    points_m = offsets_m.copy()
    points_m[..., 1] += along_m[:, None]
    closed, ended = np.concatenate([points_m[:, -1:], points_m, points_m[:, :1]], 1), np.concatenate([points_m[:1], points_m, points_m[-1:]])
    normals = cross(closed[:, 2:] - closed[:, :-2], ended[2:] - ended[:-2])
    return normals / np.maximum(np.sqrt((normals * normals).sum(-1, keepdims=True)), 1e-12)


def capped(
    points: Float[Array, "frames rings around 3"], normals: Float[Array, "frames rings around 3"], *, closed_start: bool
) -> tuple[Float32[Array, "frames vertices 3"], Float32[Array, "frames vertices 3"]]:
    """Vertices and normals in the order of `Tube`: those of the rings, and of the caps' middles."""
    ends = [-1, 0] if closed_start else [-1]
    middles, before = points[:, ends].mean(2), points[:, [-2, 1][: len(ends)]].mean(2)
    ways = middles - before
    away = ways / np.maximum(np.sqrt((ways * ways).sum(-1, keepdims=True)), 1e-12)
    return _with_ends(points, middles), _with_ends(normals, away)


def _with_ends(of_rings: Float[Array, "frames rings around 3"], of_ends: Float[Array, "frames ends 3"]) -> Float32[Array, "frames vertices 3"]:
    frames, rings, around, _ = of_rings.shape
    joined = np.empty((frames, rings * around + of_ends.shape[1], 3), np.float32)
    joined[:, : rings * around].reshape(of_rings.shape)[:] = of_rings
    joined[:, rings * around :] = of_ends
    return joined
