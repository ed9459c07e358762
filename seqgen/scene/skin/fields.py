"""Patterns of chance on the skin, each a number per site: mottling, grain, veins, freckles, hair. Made once a worker, from its own fixed generator.

They are functions of the place in space, so they run on over seams of a texture and from hand to arm.
"""

import numpy as np
from jaxtyping import Float, Float32
from scipy.spatial import cKDTree

from seqgen.scene.skin.sites import Sites

Array = np.ndarray
VEIN_M = 0.0013
FRECKLES = 420
HAIRS = 700
HAIR_M = 0.006  # the longest; longer where sites lie too far apart to show its direction
HAIR_STEPS = np.arange(0.0, 1.0, 0.12)


def mottling(points_m: Float[Array, "points 3"], rng: np.random.Generator, wavelengths_m: tuple[float, float], waves: int = 16) -> Float32[Array, "points"]:
    """A smooth random field of unit variance: cosines of random directions."""
    vectors, offsets = _waves(rng, wavelengths_m, waves)
    phases = (points_m @ vectors.T + offsets).astype(np.float32)  # cosines of float32 are several times as fast
    return np.cos(phases).sum(1) * np.float32(np.sqrt(2.0 / waves))


def grain(points_m: Float[Array, "points 3"], rng: np.random.Generator, spacing_m: float) -> Float[Array, "points"]:
    """The finest pattern that sites of that spacing can carry: no two neighbours alike."""
    return mottling(points_m, rng, (2.2 * spacing_m, 4.0 * spacing_m), 24)


def veins(points_m: Float[Array, "points 3"], spacing_m: float, rng: np.random.Generator) -> Float[Array, "points"]:
    """Wandering lines that run mostly along the arm, 0..1: where a smooth field stretched that way is zero, as far as a second field lets them be seen."""
    stretched = points_m * [1.0, 0.42, 0.5]
    vectors, offsets = _waves(rng, (0.028, 0.06), 14)
    phases = (stretched @ vectors.T + offsets).astype(np.float32)
    value, slope = np.cos(phases).sum(1), np.linalg.norm(np.sin(phases) @ vectors.astype(np.float32), axis=1)
    seen = mottling(points_m, rng, (0.04, 0.12))
    width = max(VEIN_M, 0.8 * spacing_m)
    lines = np.exp(-0.5 * (value / np.maximum(slope, 60.0) / width) ** 2)
    return lines * smoothstep(seen, -0.5, 0.6) * VEIN_M / width


def freckles(sites: Sites, rng: np.random.Generator) -> Float[Array, "sites"]:
    """Small spots, 0..1, of many sizes, over all sites alike; where they may be is for others to say."""
    roots = sites.points_m[sites.some(FRECKLES, rng)]
    return spots(sites.tree, roots, rng.uniform(0.0005, 0.0011, FRECKLES), rng.uniform(0.2, 1.0, FRECKLES) ** 2, sites.spacing_m)


def hairs(sites: Sites, rng: np.random.Generator) -> Float[Array, "sites"]:
    """Fine strokes, 0..1, that point to the fingers and the little finger's side, as hair on hand and forearm does."""
    chosen, longest_m = sites.some(HAIRS, rng), max(HAIR_M, 4.5 * sites.spacing_m)
    ways = np.array([0.45, 1.0, 0.0]) + rng.normal(0, 0.3, (HAIRS, 3))
    ways -= (ways * sites.normals[chosen]).sum(1, keepdims=True) * sites.normals[chosen]
    ways *= longest_m * rng.uniform(0.5, 1.0, (HAIRS, 1)) / np.linalg.norm(ways, axis=1, keepdims=True)
    steps = (sites.points_m[chosen, None] + HAIR_STEPS[:, None] * ways[:, None]).reshape(-1, 3)
    dark = np.repeat(rng.uniform(0.4, 1.0, HAIRS), len(HAIR_STEPS)) * np.tile(1 - HAIR_STEPS, HAIRS) ** 0.5
    return spots(sites.tree, steps, np.full(len(steps), 0.0002), dark, sites.spacing_m, strokes=True)


def spots(tree: cKDTree, centres_m: Array, radii_m: Array, strengths: Array, spacing_m: float, *, strokes: bool = False) -> Float[Array, "points"]:
    """Gaussian spots about the centres: their sum, cut at 1, or where they make up strokes the most of them. None is narrower than sites can show.

    It is fainter instead, by the square root of how much wider it is, which keeps it in sight.
    """
    field = np.zeros(tree.n)
    widths = np.maximum(radii_m, 0.55 * spacing_m)
    strengths = strengths * np.sqrt(radii_m / widths)
    near = tree.query_ball_point(centres_m, 2.5 * widths)
    counts = np.array([len(found) for found in near])
    if not counts.sum():
        return field
    found, owner = np.concatenate([np.array(n, int) for n in near]), np.repeat(np.arange(len(centres_m)), counts)
    away = np.linalg.norm(tree.data[found] - centres_m[owner], axis=1) / widths[owner]
    (np.maximum if strokes else np.add).at(field, found, strengths[owner] * np.exp(-0.5 * away**2))
    return np.minimum(field, 1.0)


def smoothstep(x: Float[Array, "*shape"], low: float, high: float) -> Float[Array, "*shape"]:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def _waves(rng: np.random.Generator, wavelengths_m: tuple[float, float], waves: int) -> tuple[Array, Array]:
    """Wave vectors of random directions, (waves, 3) in 1/m, and phases."""
    vectors = rng.standard_normal((waves, 3))
    vectors *= (2 * np.pi / rng.uniform(*wavelengths_m, waves) / np.linalg.norm(vectors, axis=1))[:, None]
    return vectors, rng.uniform(0, 2 * np.pi, waves)
