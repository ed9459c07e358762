"""What of a painted hand does not depend on the clip: texels, patterns, and how the arm's texture hangs on the hand's. Made once a worker.

Every property of skin (log reflectance in three channels, height, roughness) is a sum of patterns times what a clip draws for them. Hand and arm have
the same patterns, so one set of numbers paints both.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32, Int64
from scipy.spatial import cKDTree

from seqgen.hand.model import HandModel
from seqgen.scene.arm.wrist import oriented_loop
from seqgen.scene.skin.anatomy import Patterns, hand_patterns, palm_lines, side_patterns, wrinkles
from seqgen.scene.skin.fields import freckles, grain, hairs, mottling, smoothstep, veins
from seqgen.scene.skin.sites import ARM_COLUMNS, Anatomy, Sites, anatomy_of, arm_sites, hand_sites
from seqgen.scene.skin.unwrap import Texels, lay_out, skin_uv

Array = np.ndarray
VARIANTS = 4  # of each pattern of chance; a clip draws one of each
SEED = 20_240_229  # of the patterns of chance, the same for everyone
FIXED = ("palm", "inner", "pads", "tips", "knuckles", "folds", "tendons", "grain", "nails", "nail_arch", "lunula", "free_edge", "nail_folds")
DRAWN = ("lines", "wrinkles", "veins", "mottling", "blotches", "palm_mottling", "freckles", "hair")
PATTERNS = (*FIXED, *DRAWN)
NAILS = ("nails", "nail_arch", "lunula", "free_edge")
FIRST_BONES, OUTER_BONES = [1, 4, 7, 10, 14], [2, 3, 5, 6, 8, 9, 11, 12, 15]  # MANO joints whose parts have some hair and none; the thumb's first is in the palm


@dataclass(frozen=True)
class PatternSet:
    """The patterns of some sites: those of FIXED that are anywhere on them, by their numbers `fixed_there`, and VARIANTS of those of DRAWN."""

    fixed: Float32[Array, "fixed sites"]
    drawn: Float32[Array, "variants drawn sites"]
    fixed_there: Int64[Array, "fixed"]
    drawn_there: Int64[Array, "drawn"]

    @classmethod
    def of(cls, fixed: Float[Array, "all sites"], drawn: Float[Array, "variants all_drawn sites"]) -> "PatternSet":
        """From all patterns: an arm has no nails."""
        fixed_there, drawn_there = np.flatnonzero(fixed.any(1)), np.flatnonzero(drawn.any((0, 2)))
        return cls(fixed[fixed_there].astype(np.float32), drawn[:, drawn_there].astype(np.float32), fixed_there, drawn_there)

    def mean(self, where: Bool[Array, "sites"]) -> tuple[Float32[Array, "all"], Float32[Array, "variants all_drawn"]]:
        """Of all patterns, over some sites."""
        fixed, drawn = np.zeros(len(FIXED), np.float32), np.zeros((VARIANTS, len(DRAWN)), np.float32)
        fixed[self.fixed_there], drawn[:, self.drawn_there] = self.fixed[:, where].mean(1), self.drawn[:, :, where].mean(2)
        return fixed, drawn


@dataclass(frozen=True)
class SkinMap:
    """All that painting needs, as arrays and numbers alone, so that it can be kept (`kept_map.py`).

    `points_m`: the sites, for a hand with a 95 mm palm. `back_fixed`, `back_drawn`: means over the back of the hand, nails left out. `mole_sites`: texels
    where hair grows, and moles may.
    `rim_uv`: where on the hand's texture each column of the arm's meets it, and with `rim_texels` and `rim_weights` what bilinear lookup finds there.
    A model without a loop at the wrist has no `rim_uv`.
    """

    corner_uv: Float32[Array, "faces 3 2"]
    texels: Texels
    hand: PatternSet
    arm: PatternSet
    back_fixed: Float32[Array, "fixed"]
    back_drawn: Float32[Array, "variants drawn"]
    vertices: int
    true_size: float  # metres of this hand to one of a hand with a 95 mm palm
    points_m: Float[Array, "sites 3"]
    mole_sites: Int64[Array, "places"]
    wrist_loop: Int32[Array, "loop"]
    rim_uv: Float[Array, "columns 2"]
    rim_texels: Int64[Array, "columns 4"]
    rim_weights: Float32[Array, "columns 4"]

    @cached_property
    def tree(self) -> cKDTree:
        """Of the sites."""
        return cKDTree(self.points_m)


def skin_map(model: HandModel, size: int = 256) -> SkinMap:
    """The map of a hand model for square textures of that size."""
    rng = np.random.default_rng(SEED)
    uv, loop, anatomy = skin_uv(model), oriented_loop(model.wrist_loop, model.faces), anatomy_of(model)
    texels = lay_out(uv, size)
    hand, arm = hand_sites(model, anatomy, texels), arm_sites(model, anatomy, loop)
    shared = [_fixed_everywhere(sites, np.random.default_rng(SEED)) for sites in (hand, arm)]
    on_hand = shared[0] | hand_patterns(hand, anatomy, rng)
    bare = 1.0 - on_hand["nails"]
    fixed = np.stack([on_hand[name] * (1.0 if name in NAILS else bare) for name in FIXED])
    none = np.zeros(len(arm.points_m))
    variants = [_drawn(hand, arm, anatomy, rng) for _ in range(VARIANTS)]
    patterns = PatternSet.of(fixed, np.stack([v[0] * bare for v in variants]))
    on_arm = PatternSet.of(np.stack([shared[1].get(name, none) for name in FIXED]), np.stack([v[1] for v in variants]))
    back = patterns.mean(hand.first & (hand.outward > 0.5) & (bare == 1.0))
    for_moles = np.flatnonzero(hand.first & (on_hand["back"] * bare > 0.5))
    rim = _rim(uv, model.faces, loop, texels)
    return SkinMap(uv, texels, patterns, on_arm, *back, len(model.template_m), anatomy.true_size, hand.points_m, for_moles, loop, *rim)


def _fixed_everywhere(sites: Sites, rng: np.random.Generator) -> Patterns:
    return side_patterns(sites) | {"grain": grain(sites.points_m, rng, sites.spacing_m)}


def _drawn(hand: Sites, arm: Sites, anatomy: Anatomy, rng: np.random.Generator) -> tuple[Float[Array, "drawn hand"], Float[Array, "drawn arm"]]:
    """One variant of the patterns DRAWN, on hand and arm. Fields are functions of the place, from the same numbers, so they go on from one to the other."""
    creases, seed = np.stack([palm_lines(hand, anatomy, rng), wrinkles(hand, anatomy, rng)]), int(rng.integers(2**32))
    rows = []
    for sites, creased in ((hand, creases), (arm, np.zeros((2, len(arm.points_m))))):
        sides, fields = side_patterns(sites), np.random.default_rng(seed)
        bare = sides["back"] * (1 - sites.weights[:, 1:].sum(1))
        vessels = veins(sites.points_m, sites.spacing_m, fields) * np.maximum(bare, sides["inner"])
        coarse, fine = mottling(sites.points_m, fields, (0.012, 0.05)), mottling(sites.points_m, fields, (0.004, 0.01))
        spotted = sides["palm"] * smoothstep(mottling(sites.points_m, fields, (0.004, 0.009)), 0.0, 1.6)
        spots, fur = sides["back"] * freckles(sites, rng), sides["back"] * _hairiness(sites) * hairs(sites, rng)
        rows.append(np.stack([*creased, vessels, coarse, fine, spotted, spots, fur]))
    return rows[0], rows[1]


def _hairiness(sites: Sites) -> Float[Array, "sites"]:
    """How much hair grows: most on the arm, less on the hand, some on the first bones of the fingers, none beyond."""
    first, beyond = sites.weights[:, FIRST_BONES].sum(1), sites.weights[:, OUTER_BONES].sum(1)
    on_arm = 1.0 - smoothstep(sites.points_m[:, 1], -0.01, 0.06)
    return np.clip(0.45 + 0.55 * on_arm + 0.3 * first - 1.4 * beyond, 0.0, 1.0)


def _rim(uv: Float32[Array, "faces 3 2"], faces: Int32[Array, "faces 3"], loop: Int32[Array, "loop"], texels: Texels) -> tuple[Array, Array, Array]:
    """Texture coordinates along the wrist's loop for each column of the arm's texture, and the painted texels and weights of a bilinear lookup there."""
    if not len(loop):
        return np.zeros((0, 2)), np.zeros((0, 4), int), np.zeros((0, 4), np.float32)
    corners = {(int(face[i]), int(face[(i + 1) % 3])): (n, i) for n, face in enumerate(faces) for i in range(3)}
    place, share = np.divmod((np.arange(ARM_COLUMNS) + 0.5) / ARM_COLUMNS * len(loop), 1.0)
    ends = []
    for here in place.astype(int):
        face, corner = corners[int(loop[(here + 1) % len(loop)]), int(loop[here])]  # the hand's face runs against the loop
        ends.append((uv[face, (corner + 1) % 3], uv[face, corner]))
    ends = np.array(ends, float)
    rim_uv = ends[:, 0] + share[:, None] * (ends[:, 1] - ends[:, 0])
    return rim_uv, *_bilinear(rim_uv, texels)


def _bilinear(uv: Float[Array, "points 2"], texels: Texels) -> tuple[Int64[Array, "points 4"], Float32[Array, "points 4"]]:
    """The rows of painted texels around each point, and how much each counts; those not painted count nothing."""
    size = texels.size
    column, row = uv[:, 0] * size - 0.5, (1.0 - uv[:, 1]) * size - 0.5
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    x, y = column - left, row - top
    places = np.stack([(top + dy) % size * size + (left + dx) % size for dy in (0, 1) for dx in (0, 1)], 1)
    weights = np.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], 1)
    rows = np.minimum(np.searchsorted(texels.places, places), len(texels.places) - 1)
    weights = np.where(texels.places[rows] == places, weights, 0.0)
    return rows, (weights / weights.sum(1, keepdims=True)).astype(np.float32)
