"""Where on a hand the skin differs because of what it is: palm, pads, knuckles, creases, tendons, nails. Each pattern is a number per site, 0..1.

Places are told by joints and their anatomical axes: along a finger's bones (metres or shares of the bone), across them, and from palm to back.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from scipy.spatial import cKDTree

from seqgen.scene.skin.fields import mottling, smoothstep, veins
from seqgen.scene.skin.sites import Anatomy, Sites
from seqgen.skeleton import CANONICAL_FROM_MANO, MCPS

Array = np.ndarray
Patterns = dict[str, Float[Array, "sites"]]
CREASE_M = 0.0005
WRINKLED_M = ((1, 0.0055), (2, 0.0034))  # joints of a finger and how far from them their wrinkles reach; a thumb's last one alone
WRINKLE_GAP_M = 0.0017  # on average
HALF_WIDTH_M = 0.007  # of a finger of which no site tells it

WRINKLE_RANGES = ((0.35, 1.0), (-0.12, 0.12), (-0.4, 0.4), (0.4, 1.0))  # depth; slant, middle and half length, across in half widths of the finger

# Nails from cuticle to tip in lengths of the last bone (joint to tip), thumb to pinky, and across in widths of the finger's end; measured on the open hand.
NAIL_BASE = (0.52, 0.42, 0.44, 0.47, 0.57)
NAIL_END = 0.965
NAIL_WIDTH = 0.53
LUNULA = (1.0, 0.7, 0.6, 0.45, 0.2)  # how much of it looks out of the fold, thumb to pinky

# The palm's three great lines, in the palm's plane from the joint named by its number (seqgen.skeleton), millimetres to the pinky's side and to the fingers.
PALM_LINES = {
    "heart": ((17, 11, -15), (17, -3, -17), (13, -1, -17), (9, 1, -13), (9, -8, -5), (5, 10, 4)),
    "head": ((5, -9, -17), (5, 5, -22), (9, 1, -31), (13, -1, -42), (17, -4, -50)),
    "life": ((5, -10, -19), (5, 4, -29), (9, -10, -45), (9, -11, -62), (0, -9, 22), (0, -12, 10)),
}


def side_patterns(sites: Sites) -> Patterns:
    """Palm or back, and the paler inner side of the arm."""
    height = sites.points_m[:, 1]
    palm, hand = smoothstep(-sites.outward, -0.2, 0.55), smoothstep(height, 0.0, 0.016)
    return {"palm": palm * hand, "inner": palm * (1.0 - hand), "back": smoothstep(sites.outward, -0.05, 0.5)}


def hand_patterns(sites: Sites, anatomy: Anatomy, rng: np.random.Generator) -> Patterns:
    """What does not differ from hand to hand, but in strength."""
    sides = side_patterns(sites)
    fingers = [_Finger(sites, anatomy, finger) for finger in range(5)]
    wobble = 0.0006 * mottling(sites.points_m, rng, (0.008, 0.02))
    patterns = {
        "pads": sides["palm"] * _pads(sites, anatomy, fingers),
        "tips": _most(finger.member * smoothstep(finger.along(2), 0.35, 0.95) for finger in fingers),
        "knuckles": sides["back"] * _knuckles(sites, anatomy, fingers),
        "folds": sides["palm"] * _most(finger.folds(wobble, sites.spacing_m) for finger in fingers),
        "tendons": sides["back"] * _tendons(sites, anatomy),
    }
    nails = [finger.nail(sites) for finger in fingers]
    return patterns | {name: _most(nail[name] for nail in nails) for name in nails[0]}


def palm_lines(sites: Sites, anatomy: Anatomy, rng: np.random.Generator) -> Float[Array, "sites"]:
    """One person's lines of the palm: the great ones, each a little elsewhere in everyone, and many faint ones."""
    flat = sites.points_m[:, :2]
    deep = _most(_line(flat, _control_points(anatomy, line, rng), sites.spacing_m) for line in PALM_LINES.values())
    faint = veins(sites.points_m[:, [1, 0, 2]], sites.spacing_m, rng)
    fingers = sites.weights[:, 1:].sum(1)
    return side_patterns(sites)["palm"] * np.maximum(deep * (1 - smoothstep(fingers, 0.5, 0.95)), 0.22 * faint)


def wrinkles(sites: Sites, anatomy: Anatomy, rng: np.random.Generator) -> Float[Array, "sites"]:
    """One person's wrinkles over the joints of the fingers."""
    return side_patterns(sites)["back"] * _most(_Finger(sites, anatomy, finger).wrinkles(rng, sites.spacing_m) for finger in range(5))


class _Finger:
    """Sites in the coordinates of one finger, whose bones 0, 1, 2 run from palm to tip."""

    def __init__(self, sites: Sites, anatomy: Anatomy, finger: int) -> None:
        self.number = finger
        self.joints = anatomy.joints_m[4 * finger + 1 : 4 * finger + 5]
        parts = [CANONICAL_FROM_MANO[4 * finger + 1 + bone] for bone in range(3)]
        self.axes = anatomy.axes[parts]
        self.points = sites.points_m
        self.own = sites.weights[:, parts]
        self.member = smoothstep(self.own[:, 1:].sum(1) + self.own[:, 0], 0.25, 0.75)
        across = np.abs(self.offset(2) @ self.axes[2][:, 1])[self.own[:, 2] > 0.5]
        self.half_width = float(np.quantile(across, 0.97)) if len(across) else HALF_WIDTH_M

    def offset(self, joint: int) -> Float[Array, "sites 3"]:
        return self.points - self.joints[joint]

    def along(self, bone: int) -> Float[Array, "sites"]:
        """0 at the bone's near joint, 1 at the next one or the tip."""
        return self.offset(bone) @ self.axes[bone][:, 0] / np.linalg.norm(self.joints[bone + 1] - self.joints[bone])

    def past(self, joint: int) -> Float[Array, "sites"]:
        """Metres past a joint, across the plane that halves its angle."""
        before, after = self.axes[max(joint - 1, 0)][:, 0], self.axes[joint][:, 0]
        return self.offset(joint) @ ((before + after) / np.linalg.norm(before + after))

    def wrinkles(self, rng: np.random.Generator, spacing_m: float) -> Float[Array, "sites"]:
        """Across the backs of the outer joints: lines that bend around the joint's middle, each with its own place, slant, waves, gaps and ends."""
        field = np.zeros(len(self.points))
        for joint, reach_m in WRINKLED_M[self.number == 0 :]:
            near = np.flatnonzero((self.member > 0) & (np.abs(self.past(joint)) < 2.5 * reach_m))
            across, past = self.offset(joint)[near] @ self.axes[joint][:, 1] / self.half_width, self.past(joint)[near]
            count = max(2, round(2.4 * reach_m / max(WRINKLE_GAP_M, 2.2 * spacing_m)))
            places = 1.2 * (2 * (np.arange(count) + rng.uniform(0.1, 0.9, count)) / count - 1)
            for place, depth, slant, middle, half in zip(places, *(rng.uniform(low, high, count) for low, high in WRINKLE_RANGES), strict=True):
                at = reach_m * (place * (1 - 0.35 * np.minimum(across**2, 1.5)) + slant * across + 0.09 * _waves(across, rng))
                ends = 1 - smoothstep(np.abs(across - middle), half - 0.2, half + 0.3)
                seen = depth * np.exp(-(place**2)) * ends * smoothstep(_waves(across, rng), -1.4, -0.5)
                field[near] = np.maximum(field[near], seen * _crease(past - at, np.zeros(1), spacing_m))
        return self.member * field

    def folds(self, wobble: Float[Array, "sites"], spacing_m: float) -> Float[Array, "sites"]:
        """Across the palmar side: at the finger's root and at its joints, where they are double in the middle."""
        gap = max(0.0016, 1.3 * spacing_m)
        root = self.along(0) * np.linalg.norm(self.joints[1] - self.joints[0]) + wobble
        at = 0.0 if self.number == 0 else 0.42 * np.linalg.norm(self.joints[1] - self.joints[0])
        lines = [_crease(root, at + np.array([0.0]), spacing_m)]
        lines.append(_crease(self.past(1) + wobble, gap * np.array([-1.0, 1.0] if self.number else [0.0]), spacing_m))
        lines.append(_crease(self.past(2) + wobble + 0.001, np.array([0.0]), spacing_m))
        return smoothstep(self.own.sum(1), 0.3, 0.6) * _most(lines)

    def nail(self, sites: Sites) -> Patterns:
        """Plate, lunula, free edge and the fold of skin around the plate."""
        frame, base = self.axes[2], NAIL_BASE[self.number]
        across = self.offset(2) @ frame[:, 1] / (NAIL_WIDTH * self.half_width)
        grown = (self.along(2) - base) / (NAIL_END - base)
        away = (np.abs(across) ** 2.6 + np.abs(2 * grown - 1) ** 2.8) ** 0.37  # 1 on the plate's outline
        soft = 0.8 * sites.spacing_m / (NAIL_WIDTH * self.half_width)
        above = smoothstep(sites.normals @ frame[:, 2], 0.2, 0.5) * smoothstep(self.own[:, 2], 0.2, 0.6)
        plate = above * smoothstep(1 - away, -soft, soft)
        lunula = LUNULA[self.number] * plate * smoothstep(1 - ((across / 0.6) ** 2 + ((grown - 0.03) / 0.22) ** 2), -0.5, 0.5)
        edge = plate * smoothstep(grown + 0.1 * across**2, 0.87, 0.96)
        fold = above * np.exp(-0.5 * ((away - 1 - soft) / (0.07 + soft)) ** 2) * smoothstep(0.9 - grown, 0.0, 0.3) * (1 - plate)
        return {"nails": plate, "nail_arch": plate * np.clip(1 - away**2, 0, 1), "lunula": lunula, "free_edge": edge, "nail_folds": fold}


def _pads(sites: Sites, anatomy: Anatomy, fingers: list[_Finger]) -> Float[Array, "sites"]:
    """Where blood shows most in a palm: finger ends, the balls of thumb and little finger, the roots of the fingers."""
    joints = anatomy.joints_m
    ends = _most(finger.member * smoothstep(finger.along(2), 0.1, 0.6) for finger in fingers)
    balls = [0.9 * _near(sites, 0.5 * (joints[1] + joints[2]), 0.016), 0.8 * _near(sites, 0.45 * joints[17] + [0.008, 0.0, -0.006], 0.018)]
    return _most([ends, *balls, *(0.8 * _near(sites, joints[mcp] - [0, 0, 0.01], 0.011) for mcp in MCPS)])


def _knuckles(sites: Sites, anatomy: Anatomy, fingers: list[_Finger]) -> Float[Array, "sites"]:
    first = [0.6 * _near(sites, anatomy.joints_m[mcp], 0.011) for mcp in MCPS]
    joints = ((1, 0.0055, 1.0), (2, 0.0035, 0.7))
    outer = [strength * finger.member * np.exp(-0.5 * (finger.past(joint) / reach_m) ** 2) for finger in fingers for joint, reach_m, strength in joints]
    return _most([*first, *outer])


def _tendons(sites: Sites, anatomy: Anatomy) -> Float[Array, "sites"]:
    """Ridges from the wrist's middle to the four knuckles."""
    x, y = sites.points_m[:, 0], sites.points_m[:, 1]
    share = [np.clip(y / anatomy.joints_m[mcp, 1], 0, 1) for mcp in MCPS]
    ridges = [np.exp(-0.5 * ((x - anatomy.joints_m[mcp, 0] * (0.3 + 0.7 * s)) / 0.0022) ** 2) * smoothstep(s, 0.3, 0.7) for mcp, s in zip(MCPS, share, strict=True)]
    return _most(ridges) * (1 - smoothstep(sites.weights[:, 1:].sum(1), 0.3, 0.8))


def _control_points(anatomy: Anatomy, line: tuple[tuple[int, int, int], ...], rng: np.random.Generator) -> Float[Array, "controls 2"]:
    """Where this person's line runs."""
    at = np.array([anatomy.joints_m[joint, :2] + [x * 1e-3, y * 1e-3] for joint, x, y in line])
    return at + rng.normal(0, 0.003, 2) + rng.normal(0, 0.0015, at.shape)


def _line(flat_m: Float[Array, "sites 2"], controls: Float[Array, "controls 2"], spacing_m: float) -> Float[Array, "sites"]:
    """A crease along a curve through the points, fading at its end."""
    steps = np.linspace(0, 1, 200)
    away, nearest = cKDTree(CubicSpline(np.linspace(0, 1, len(controls)), controls)(steps)).query(flat_m)
    return _crease(away, np.zeros(1), spacing_m) * (1 - 0.8 * smoothstep(steps[nearest], 0.6, 1.0))


def _crease(place_m: Float[Array, "sites"], at_m: Float[Array, "lines"], spacing_m: float) -> Float[Array, "sites"]:
    """Lines where `place_m` is one of `at_m`; wider and fainter than life where sites lie too far apart to show them."""
    width = max(CREASE_M, 0.7 * spacing_m)
    return np.exp(-0.5 * ((place_m - at_m[:, None]) / width) ** 2).max(0) * (CREASE_M / width) ** 0.5


def _waves(across: Float[Array, "sites"], rng: np.random.Generator) -> Float[Array, "sites"]:
    """Somewhat random along a line, -1.5..1.5: two waves a finger's width or less long."""
    (first, second), phases = rng.uniform([2.0, 5.0], [5.0, 9.0]), rng.uniform(0, 2 * np.pi, 2)
    return np.cos(first * across + phases[0]) + 0.5 * np.cos(second * across + phases[1])


def _near(sites: Sites, point_m: Float[Array, "3"], reach_m: float) -> Float[Array, "sites"]:
    return np.exp(-0.5 * (((sites.points_m - point_m) / reach_m) ** 2).sum(1))


def _most(patterns: Iterable[Float[Array, "sites"]]) -> Float[Array, "sites"]:
    return np.max(list(patterns), 0)
