"""The colour of a hand: a tone drawn evenly over the range of human skin, with a paler palm, redder tips and knuckles, nails and soft mottling.

Tones are set by the individual typology angle, ITA = atan((L* - 50) / b*) in degrees (Chardon et al. 1991): above 55 very light, below -30 dark.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Float32

from seqgen.config import Section
from seqgen.hand.anatomy import joint_axes
from seqgen.hand.model import HandModel
from seqgen.skeleton import CANONICAL_FROM_MANO, TIPS, hand_frame

Array = np.ndarray
ITA_RANGE_DEG = (-45.0, 62.0)
WHITE_D65 = np.array([0.95047, 1.0, 1.08883])
RGB_FROM_XYZ = np.array([[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]])


class SkinConfig(Section):
    kind: Literal["drawn", "flat"] = "drawn"
    """drawn: tone with palm, tips, knuckles, nails and mottling; flat: one colour a hand"""


@dataclass(frozen=True)
class SkinMap:
    """Where on a hand model's surface the skin differs, per vertex, 0..1; `rest_m` places the mottling."""

    palmar: Float[Array, "vertices"]
    ruddy: Float[Array, "vertices"]
    nail: Float[Array, "vertices"]
    rest_m: Float[Array, "vertices 3"]


def skin_map(model: HandModel, rest_joints_m: Float[Array, "21 3"], normals: Float[Array, "vertices 3"]) -> SkinMap:
    """The map of a hand at rest: `normals` are its vertex normals, `rest_joints_m` its joints."""
    frame = hand_frame(rest_joints_m[None])
    back = frame.axes[0][:, 2]
    outward = normals @ back
    ruddy = np.max([np.exp(-((_distance(model.template_m, rest_joints_m[j]) / 0.011) ** 2)) for j in (2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20)], 0)
    backs = {tip: joint_axes(model)[CANONICAL_FROM_MANO[tip - 1]][:, 2] for tip in TIPS}
    nail = np.max([_nail(model.template_m, normals, rest_joints_m[tip - 1], rest_joints_m[tip], up) for tip, up in backs.items()], 0)
    return SkinMap(_smoothstep(-outward, -0.25, 0.6), ruddy, nail, model.template_m - rest_joints_m[0])


def paint_skin(where: SkinMap, config: SkinConfig, ita_deg: float, rng: np.random.Generator) -> Float32[Array, "vertices 3"]:
    """Linear albedo per vertex for a tone."""
    b_star = rng.uniform(13.0, 19.0) - 3.0 * (ita_deg < -20)
    lightness = 50.0 + b_star * np.tan(np.radians(ita_deg))
    tone = np.array([lightness, rng.uniform(8.0, 14.0), b_star])
    if config.kind == "flat":
        return np.broadcast_to(linear_rgb_from_lab(tone), where.rest_m.shape).astype(np.float32)
    palm = tone + np.array([rng.uniform(3.0, 6.0) + 0.22 * max(0.0, 60.0 - lightness), 2.0, -1.0])
    nail = np.array([0.45 * lightness + 40.0, 13.0, 12.0]) + rng.normal(0, [3.0, 2.0, 2.0])
    lab = tone + where.palmar[:, None] * (palm - tone)
    lab = lab + where.ruddy[:, None] * rng.uniform(0.4, 1.4) * np.array([-2.5, 5.0, 0.5])
    lab = lab + mottling(where.rest_m, rng)[:, None] * np.array([1.6, 0.8, 0.4])
    lab = lab + where.nail[:, None] * (nail - lab)
    return linear_rgb_from_lab(lab).astype(np.float32)


def mottling(points_m: Float[Array, "points 3"], rng: np.random.Generator) -> Float[Array, "points"]:
    """A smooth random field of unit variance, wavelengths 12 to 50 mm: twelve cosines."""
    waves = rng.standard_normal((12, 3))
    waves *= (2 * np.pi / rng.uniform(0.012, 0.05, 12) / np.linalg.norm(waves, axis=1))[:, None]
    return np.cos(points_m @ waves.T + rng.uniform(0, 2 * np.pi, 12)).sum(1) / np.sqrt(6.0)


def linear_rgb_from_lab(lab: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
    """CIE L*a*b* (D65) to linear sRGB, clipped to [0, 1] (CIE 15:2004; IEC 61966-2-1)."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], -1)
    xyz = WHITE_D65 * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29))
    return np.clip(xyz @ RGB_FROM_XYZ.T, 0.0, 1.0)


def ita_from_uniform(uniform: float) -> float:
    """A tone spread evenly over ITA_RANGE_DEG."""
    return ITA_RANGE_DEG[0] + uniform * (ITA_RANGE_DEG[1] - ITA_RANGE_DEG[0])


def tone_name(ita_deg: float) -> str:
    """The usual six classes of ITA (Del Bino et al. 2006)."""
    bounds = ((55, "very light"), (41, "light"), (28, "intermediate"), (10, "tan"), (-30, "brown"))
    return next((name for bound, name in bounds if ita_deg > bound), "dark")


def _nail(points_m: Array, normals: Array, joint_m: Array, tip_m: Array, up: Array) -> Array:
    """1 on the outer half of a last bone's back (where `up` points), 0 elsewhere."""
    length = np.linalg.norm(tip_m - joint_m)
    bone, offset = (tip_m - joint_m) / length, points_m - joint_m
    along, side = offset @ bone / length, np.abs(offset @ np.cross(bone, up))
    return _smoothstep(along, 0.45, 0.6) * (along < 1.15) * (side < 0.0075) * _smoothstep(normals @ up, 0.45, 0.7)


def _distance(points_m: Array, joint_m: Array) -> Array:
    return np.linalg.norm(points_m - joint_m, axis=1)


def _smoothstep(x: Array, low: float, high: float) -> Array:
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)
