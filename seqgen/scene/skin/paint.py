"""Paints a hand and its forearm for a clip: one person's tone, blood, creases, nails, veins, freckles, moles and hair, in texture space.

Everything that is painted adds up in log reflectance: a clip draws how much of each pattern (`skin_map.py`) there is (`amounts.py`), and the picture is
the exponential of their sum. Roughness and height are sums of the same patterns.
"""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from jaxtyping import Float, Float32, UInt8

from seqgen.scene.arm.arm import TEXTURE_M
from seqgen.scene.scene import Material, plain_material
from seqgen.scene.skin.amounts import ROUGHNESS, ROUGHNESS_RANGE, draw_amounts
from seqgen.scene.skin.folder import SkinRef, own_skin
from seqgen.scene.skin.record import MELT_FINE_M, MELT_M, REFLECTANCE, Skin, SkinConfig
from seqgen.scene.skin.sites import ARM_COLUMNS, ARM_ROWS
from seqgen.scene.skin.skin_map import DRAWN, FIXED, VARIANTS, PatternSet, SkinMap
from seqgen.scene.skin.tone import log_tone

Array = np.ndarray
MOST_MOLES = 5
MOLE = -np.array([0.7, 0.95, 1.0])
COLOURS, SHEEN, HEIGHT = slice(0, 3), 3, 4  # rows of what is painted
COARSE_COLUMNS = 4  # to either side: over how many the wrist's colours are coarse


def paint_skin(where: SkinMap, config: SkinConfig, ita_deg: float, rng: np.random.Generator, own: Sequence[SkinRef] = ()) -> Skin:
    """The skin of a clip: one of the user's own where there are any, else one whose back of the hand has the tone asked for, on the mean."""
    chosen, tone = rng.random(), log_tone(ita_deg, rng.normal(0.0, 1.0), rng.normal(0.0, 1.0))
    if own:
        return own_skin(own[int(chosen * len(own))], where)
    hand, arm = _flat(tone) if config.kind == "flat" else _painted(where, config, ita_deg, tone, rng)
    return Skin(hand, arm, np.ones((where.vertices, 3), np.float32), config.kind, ita_deg)


def _flat(tone: Float[Array, "3"]) -> tuple[Material, Material]:
    material = plain_material(tuple(_encoded(tone).tolist()))
    return material, material


def _painted(where: SkinMap, config: SkinConfig, ita_deg: float, tone: Float[Array, "3"], rng: np.random.Generator) -> tuple[Material, Material]:
    """Hand and arm in every detail."""
    amounts, variants = draw_amounts(ita_deg, tone, config.varnish, rng), rng.integers(VARIANTS, size=len(DRAWN))
    amounts[:, HEIGHT] *= 1e-3 * where.true_size
    on_back = np.concatenate([where.back_fixed, where.back_drawn[variants, range(len(DRAWN))]])
    ground = np.array([*tone - on_back @ amounts[:, COLOURS], rng.uniform(*ROUGHNESS_RANGE), 0.0])
    hand, arm = (_mixed(patterns, variants, amounts, ground) for patterns in (where.hand, where.arm))
    for near, darker in _moles(where, rng):
        hand[COLOURS, near] += darker
    return _hand_material(hand, where, tone), _arm_material(_joined(arm, hand, where))


def _mixed(patterns: PatternSet, variants: Array, amounts: Float[Array, "patterns 5"], ground: Float[Array, "5"]) -> Float32[Array, "5 sites"]:
    """The sum of the patterns by their amounts."""
    rows = amounts.T.astype(np.float32)
    mixed = rows[:, : len(FIXED)][:, patterns.fixed_there] @ patterns.fixed
    mixed += rows[:, len(FIXED) :][:, patterns.drawn_there] @ patterns.drawn[variants[patterns.drawn_there], range(len(patterns.drawn_there))]
    mixed += ground.astype(np.float32)[:, None]
    return mixed


def _moles(where: SkinMap, rng: np.random.Generator) -> Iterator[tuple[list[int], Float32[Array, "3 spot"]]]:
    """A few dark spots on the back of the hand: the sites of each, and how much darker they are."""
    count, places = int(rng.integers(MOST_MOLES + 1)), rng.random(MOST_MOLES)
    radii_m, depths = rng.uniform(0.0006, 0.0016, MOST_MOLES), rng.uniform(0.4, 1.2, MOST_MOLES)
    points_m = where.tree.data
    for place, radius_m, depth in zip(places[: count if len(where.mole_sites) else 0], radii_m, depths, strict=False):
        centre = points_m[where.mole_sites[int(place * len(where.mole_sites))]]
        near = where.tree.query_ball_point(centre, 3 * radius_m)
        offsets = points_m[near] - centre
        away = np.sqrt((offsets * offsets).sum(1)) / radius_m
        yield near, (depth * MOLE[:, None] * np.exp(-0.5 * away**2)).astype(np.float32)


def _joined(arm: Float32[Array, "5 places"], hand: Float32[Array, "5 sites"], where: SkinMap) -> Float32[Array, "5 rows columns"]:
    """The arm with the hand's own paint at the wrist, which melts into the arm's: coarse differences slowly, fine ones soon."""
    arm = arm.reshape(5, ARM_ROWS, ARM_COLUMNS)
    if not len(where.rim_texels):
        return arm
    missing = (where.rim_weights * hand[:, where.rim_texels]).sum(-1) - arm[:, -1]
    coarse = missing @ _smoothing()
    return arm + _melting() @ np.stack([coarse, missing - coarse], 1)


@cache
def _smoothing() -> Float32[Array, "columns columns"]:
    """The mean of the columns around."""
    apart = np.abs(np.subtract.outer(np.arange(ARM_COLUMNS), np.arange(ARM_COLUMNS)))
    near = np.minimum(apart, ARM_COLUMNS - apart) <= COARSE_COLUMNS
    return (near / near.sum(0)).astype(np.float32)


@cache
def _melting() -> Float32[Array, "rows 2"]:
    """How much of the wrist's coarse and of its fine colours is left in each row."""
    up_m = np.arange(ARM_ROWS)[::-1, None] / ARM_ROWS * TEXTURE_M
    return np.exp(-((up_m / [MELT_M, MELT_FINE_M]) ** 2)).astype(np.float32)


def _hand_material(painted: Float32[Array, "5 sites"], where: SkinMap, tone: Float[Array, "3"]) -> Material:
    """The sites in their texels; those of no site have the tone of the back."""
    size, places = where.texels.size, where.texels.places
    albedo = np.tile(np.tile(_encoded(tone), size), (size, 1)).reshape(-1, 3)  # row by row is faster than texel by texel
    for channel, colour in enumerate(_encoded(painted[COLOURS])):
        albedo[places, channel] = colour
    roughness, bump = np.full(size * size, ROUGHNESS, np.uint8), np.zeros(size * size, np.float32)
    roughness[places], bump[places] = _byte(painted[SHEEN]), painted[HEIGHT]
    return Material(albedo.reshape(size, size, 3), roughness.reshape(size, size), bump.reshape(size, size), REFLECTANCE)


def _arm_material(painted: Float32[Array, "5 rows columns"]) -> Material:
    albedo = np.empty((ARM_ROWS, ARM_COLUMNS, 3), np.uint8)
    for channel, colour in enumerate(_encoded(painted[COLOURS])):
        albedo[..., channel] = colour
    return Material(albedo, _byte(painted[SHEEN]), painted[HEIGHT], REFLECTANCE)


def _encoded(log_reflectance: Float[Array, "*shape"]) -> UInt8[Array, "*shape"]:
    """sRGB of log reflectance, by the standard's power law alone: nothing on a hand is so black that its linear part were needed."""
    levels = log_reflectance * np.float32(1 / 2.4)
    np.exp(levels, out=levels)
    levels *= np.float32(255 * 1.055)
    levels -= np.float32(255 * 0.055)
    return _byte(levels)


def _byte(values: Float[Array, "*shape"]) -> UInt8[Array, "*shape"]:
    rounded = np.clip(values, 0, 255)
    rounded += np.float32(0.5)
    return rounded.astype(np.uint8)
