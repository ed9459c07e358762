"""Human skin tones, from very light to dark, and what melanin and blood do to them.

A tone is set by the individual typology angle, ITA = atan((L* - 50) / b*) in degrees (Chardon et al. 1991): above 55 very light, below -30 dark. Colours are
handled as natural logarithms of linear sRGB reflectance, in which absorbers are added (Beer and Lambert).
"""

from functools import cache, lru_cache

import numpy as np
from jaxtyping import Float, Float64

from seqgen.srgb import LINEAR_OF_LEVEL

Array = np.ndarray
ITA_RANGE_DEG = (-45.0, 62.0)
DARK_TO_LIGHT_DEG = 128  # from the darkest tone there is to the lightest
WHITE_D65 = np.array([0.95047, 1.0, 1.08883])
RGB_FROM_XYZ = np.array([[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]])

# Middle a* and b* of skin against ITA: smooth curves of the course that spectrophotometers find. Chroma is greatest at medium tones and falls to both ends;
# redness rises from light to brown (Del Bino and Bernerd 2013; Xiao et al. 2017; the International Skin Spectra Archive, Lu et al. 2025).
ITA_KNOTS = np.array([-60.0, -45.0, -30.0, 0.0, 20.0, 35.0, 50.0, 65.0])
A_STAR = np.array([8.5, 9.5, 10.6, 11.8, 11.6, 11.0, 10.0, 8.6])
B_STAR = np.array([12.0, 14.0, 15.8, 18.4, 19.0, 18.0, 15.6, 12.6])

# How one absorber darkens the three channels: the extinction of blood with 75 % oxygen (Prahl's compilation) under the square root with which diffuse
# reflectance follows absorption, averaged over sRGB's channels; blue is 1.
HAEMOGLOBIN = np.array([0.17, 0.94, 1.0])


def log_tone(ita_deg: float, redness: float = 0.0, yellowness: float = 0.0) -> Float64[Array, "3"]:
    """Log reflectance of the middle tone of that angle, or of one with more a* or b* than that."""
    b_star = float(np.interp(ita_deg, ITA_KNOTS, B_STAR)) + yellowness
    lightness = 50.0 + b_star * np.tan(np.radians(ita_deg))
    return np.log(linear_rgb_from_lab(np.array([lightness, float(np.interp(ita_deg, ITA_KNOTS, A_STAR)) + redness, b_star])))


@lru_cache(maxsize=16)
def middle_tone(ita_deg: float) -> Float64[Array, "3"]:
    """`log_tone` of the nearest angle from -60 to 68 degrees, by a table: many times as fast, and off by 0.0005 at most."""
    place = min(max(ita_deg - ITA_KNOTS[0], 0.0), DARK_TO_LIGHT_DEG - 1e-9)
    table, row = _middle_tones(), int(place)
    tone = table[row] + (place - row) * (table[row + 1] - table[row])
    tone.flags.writeable = False
    return tone


@cache
def _middle_tones() -> Float64[Array, "degrees 3"]:
    return np.array([log_tone(ITA_KNOTS[0] + degrees) for degrees in range(DARK_TO_LIGHT_DEG + 1)])


def ita_from_rgb(linear_rgb: Float[Array, "3"]) -> float:
    """The angle of a colour, degrees."""
    ratio = np.linalg.solve(RGB_FROM_XYZ, linear_rgb.astype(float)) / WHITE_D65
    f = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return float(np.degrees(np.arctan2(116 * f[1] - 66, 200 * (f[1] - f[2]))))


def linear_rgb_from_lab(lab: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """CIE L*a*b* (D65) to linear sRGB, clipped to [0, 1] (CIE 15:2004; IEC 61966-2-1)."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    xyz = WHITE_D65 * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    return np.clip(xyz @ RGB_FROM_XYZ.T, 0.0, 1.0)


def linear_from_levels(levels: Float[Array, "*shape"]) -> Float64[Array, "*shape"]:
    """Linear light of sRGB levels, 0..255 and anything between."""
    return np.interp(levels, np.arange(256), LINEAR_OF_LEVEL)


def levels_from_linear(linear: Float[Array, "*shape"]) -> Float64[Array, "*shape"]:
    """The other way."""
    return np.interp(linear, LINEAR_OF_LEVEL, np.arange(256))


def ita_from_uniform(uniform: float) -> float:
    """A tone spread evenly over ITA_RANGE_DEG."""
    return ITA_RANGE_DEG[0] + uniform * (ITA_RANGE_DEG[1] - ITA_RANGE_DEG[0])


def tone_name(ita_deg: float) -> str:
    """The usual six classes of ITA (Del Bino et al. 2006)."""
    bounds = ((55, "very light"), (41, "light"), (28, "intermediate"), (10, "tan"), (-30, "brown"))
    return next((name for bound, name in bounds if ita_deg > bound), "dark")
