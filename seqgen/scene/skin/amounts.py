"""What one person's skin is like: how much of each pattern there is, and what it does to colour, roughness and height.

Colours are changes of log reflectance in red, green and blue. Melanin changes them along the course that the tones of different people take, blood by its
extinction (`tone.py`); what is neither (hair, horn, varnish) has a colour of its own. The draws are the same in number and order for everyone.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from seqgen.scene.skin.skin_map import PATTERNS
from seqgen.scene.skin.tone import HAEMOGLOBIN, linear_from_levels, log_tone, middle_tone

Array = np.ndarray
Effect = tuple[Float[Array, "3"], float, float]  # log reflectance, roughness, height in mm
ROUGHNESS, ROUGHNESS_RANGE = 156.0, (142.0, 170.0)  # of the dry back of a hand: the middle, and among people
NAIL_ROUGHNESS, VARNISH_ROUGHNESS = 112.0, 72.0
PALM_ITA_DEG, PALM_SHARE = 52.0, 0.68  # a palm lies that share of the way from the back's tone to this one: a fifth of the melanocytes (Yamaguchi et al. 2004)
BLUE_VEIN = np.array([-0.22, -0.07, -0.01])  # a vein swallows the red light that reaches it, blue light does not (Kienle et al. 1996)
NOTHING = np.zeros(3)


def draw_amounts(ita_deg: float, tone: Float[Array, "3"], varnish: float, rng: np.random.Generator) -> Float[Array, "patterns 5"]:
    """One person's effects, a row for each of `skin_map.PATTERNS`: log reflectance in three channels, roughness, height in mm."""
    effects = _sides(ita_deg, rng) | _marks(ita_deg, rng) | _creases(ita_deg, rng) | _nails(ita_deg, tone, varnish, rng)
    colours, *others = zip(*(effects[name] for name in PATTERNS), strict=True)
    return np.column_stack([colours, *others])


def _sides(ita_deg: float, rng: np.random.Generator) -> Mapping[str, Effect]:
    flush, lightness = rng.uniform(0.5, 1.5), _lightness(ita_deg)
    palm = _melanin(ita_deg, -_pallor(ita_deg)) + _blood(rng.uniform(0.02, 0.1) + 0.1 * lightness * rng.random())
    knuckles = _melanin(ita_deg, rng.uniform(1.0, 7.0) * (1.0 - 0.5 * lightness)) + _blood(0.1 * flush)
    return {
        "palm": (palm, 14.0, 0.0),
        "inner": (_melanin(ita_deg, -rng.uniform(3.0, 9.0) * (1.0 - 0.6 * lightness)), 0.0, 0.0),
        "pads": (_blood((0.08 + 0.06 * lightness) * flush), 0.0, 0.0),
        "tips": (_blood((0.06 + 0.06 * lightness) * flush), 0.0, 0.0),
        "knuckles": (knuckles, 10.0, 0.0),
        "tendons": (NOTHING, 0.0, rng.uniform(0.0, 0.5)),
    }


def _creases(ita_deg: float, rng: np.random.Generator) -> Mapping[str, Effect]:
    """Deep lines keep some of the back's pigment, and light is lost in them."""
    depth = rng.uniform(0.6, 1.4)
    dark = _melanin(ita_deg, -_pallor(ita_deg)) * -0.3 + depth * (_blood(0.2) - 0.08)
    return {
        "lines": (dark, 0.0, -0.35 * depth),
        "folds": (dark, 0.0, -0.3 * depth),
        "wrinkles": (depth * (_melanin(ita_deg, 5.0) + _blood(0.08) - 0.06), 4.0, -0.26 * depth),
    }


def _marks(ita_deg: float, rng: np.random.Generator) -> Mapping[str, Effect]:
    visible = 0.4 + 0.6 * _lightness(ita_deg)
    return {
        "grain": (np.full(3, 0.02 * rng.uniform(0.5, 1.4)), 5.0, rng.uniform(0.005, 0.02)),
        "veins": (rng.uniform(0.0, 1.0) * visible * BLUE_VEIN, 0.0, rng.uniform(0.0, 0.45)),
        "mottling": (_blood(rng.normal(0.0, 0.04)) + _melanin(ita_deg, rng.normal(0.0, 1.5)), 4.0, 0.0),
        "blotches": (_blood(rng.uniform(0.01, 0.05)), 0.0, 0.0),
        "palm_mottling": (_blood(rng.uniform(0.05, 0.18)), 0.0, 0.0),
        "freckles": (_melanin(ita_deg, 26.0 * rng.random() ** 3), 0.0, 0.0),
        "hair": (-(rng.random() ** 1.5) * rng.uniform(0.3, 1.0) * np.array([0.9, 1.0, 1.1]), 0.0, 0.02),
    }


def _nails(ita_deg: float, tone: Float[Array, "3"], varnish: float, rng: np.random.Generator) -> Mapping[str, Effect]:
    bed = log_tone(0.45 * ita_deg + 26.0, 1.0, -5.0) + _blood(rng.uniform(0.03, 0.16)) - tone
    lunula, edge = rng.uniform(0.04, 0.15) * np.array([0.4, 1.0, 1.0]), rng.uniform(0.0, 0.35) * np.array([0.5, 1.1, 1.2])
    fold, varnished, colour = _blood(0.1) - rng.uniform(0.08, 0.2), rng.random() < varnish, _varnish_colour(rng)
    arch = {"nail_arch": (np.full(3, 0.06), 0.0, 0.35)}
    nails = arch | {"nails": (bed - 0.04, NAIL_ROUGHNESS - ROUGHNESS, 0.03), "lunula": (lunula, 6.0, 0.0), "free_edge": (edge, 12.0, 0.0), "nail_folds": (fold, 0.0, -0.08)}
    if varnished:
        nails |= {"nails": (np.log(colour) - tone, VARNISH_ROUGHNESS - ROUGHNESS, 0.06), "lunula": (NOTHING, 0.0, 0.0), "free_edge": (NOTHING, 0.0, 0.0)}
    return nails


def _varnish_colour(rng: np.random.Generator) -> Float[Array, "3"]:
    """Mostly reds and pinks, pale or dark, seldom another colour; linear sRGB."""
    red, any_hue, is_red = rng.normal(350.0, 14.0), rng.uniform(0.0, 360.0), rng.random() < 0.75
    saturation, value = rng.uniform(0.15, 0.95), rng.uniform(0.25, 0.95)
    sector = ((red if is_red else any_hue) / 60 + np.array([0.0, 4.0, 2.0])) % 6
    return np.maximum(linear_from_levels(255 * value * (1 - saturation * (1 - np.clip(np.abs(sector - 3) - 1, 0, 1)))), 0.01)


def _melanin(ita_deg: float, degrees: float) -> Float[Array, "3"]:
    """So much more melanin that ITA falls by that many degrees."""
    return middle_tone(ita_deg - degrees) - middle_tone(ita_deg)


def _blood(amount: float) -> Float[Array, "3"]:
    return -amount * HAEMOGLOBIN


def _pallor(ita_deg: float) -> float:
    """By how many degrees of ITA a palm is lighter than the back."""
    return PALM_SHARE * max(0.0, PALM_ITA_DEG - ita_deg)


def _lightness(ita_deg: float) -> float:
    """0 for the darkest skin, 1 for the lightest."""
    return float(min(max((ita_deg + 45.0) / 107.0, 0.0), 1.0))
