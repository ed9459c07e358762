"""Light on the hand that it shares with what is behind it: soft light taken from the photo, and up to three lights that move; or flat, as in the SeqHAND paper.

The photo stands for the whole surroundings: it fills all directions ahead of the camera, its upper edge overhead, and mirrored those behind. How bright it
is says how much light there is, for cameras expose for the whole scene; what is too bright for a photo to hold, sun and lamps, the directional lights add.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8
from pydantic import Field

from seqgen.config import Section
from seqgen.geometry import matrix_from_axis_angle
from seqgen.scene.scene import Background, Light
from seqgen.scene.surroundings.harmonics import harmonic_basis, projection_matrix, sphere_points, uniform_ambient
from seqgen.srgb import LINEAR_OF_LEVEL

Array = np.ndarray
TURN_DEG_S = 20.0  # standard deviation, about each axis
MOST_LIGHTS = 3
CELLS = 32  # the photo is looked at on a grid of so many rows and columns
SCENE_REFLECTANCE = 0.22  # mean over things seen; a grey card, for which light meters are made, has 0.18
USUAL_LEVEL = 0.75  # radiance of white matt surfaces that face the camera, on average
HARDNESS = (0.38, 0.8)  # what the key light gives of all, least and most: with less of it a hand is flat
CHROMA = 0.5  # share of the photo's differences in colour between its sides that its light has: the rest of the world, not in the picture, mixes in
TINTS = np.array([0.92, 0.92, 0.75]), np.array([1.3, 1.05, 1.08])  # limits of the light's colour: in colder or greener light skin looks dead
LEVELS = (0.3, 1.15)  # so that dark skin stays visible in the dark and light skin is not burnt out
PEAK_LEVEL = 1.3  # of the most brightly lit side: hardly any skin reflects more than 0.7 in any colour, and gloss needs some room
BLACK = 0.004  # nothing seen is darker
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of linear sRGB (IEC 61966-2-1)


class LightConfig(Section):
    kind: Literal["drawn", "flat"] = "drawn"
    """drawn: soft light and directional lights that move; flat: the albedo as it is"""
    photo: float = Field(0.7, ge=0, le=1)
    """how far strength, colour and direction of the light follow the photo behind the hand; 0: not at all"""
    lights: int = Field(MOST_LIGHTS, ge=0, le=MOST_LIGHTS)
    """a clip has one to so many directional lights; 0: soft light only"""
    shadows: bool = True
    """whether what lies between the key light and a point shades it"""


@dataclass(frozen=True)
class LightDraw:
    """All that is random in a clip's light, always drawn in full and in this order, so that no setting changes what another one sees."""

    count: float  # uniform, as are hardness and balance
    hardness: float  # from overcast to sun
    balance: float  # how far the camera has balanced away the photo's colour
    level: float  # normal, as are the rest
    towards: Float[Array, "lights 3"]
    dimness: Float[Array, "lights"]
    warmth: Float[Array, "lights"]
    turn: Float[Array, "3"]

    @classmethod
    def of(cls, rng: np.random.Generator) -> "LightDraw":
        normal = rng.standard_normal
        return cls(*rng.random(3).tolist(), normal(), normal((MOST_LIGHTS, 3)), normal(MOST_LIGHTS), normal(MOST_LIGHTS), normal(3))


def draw_light(config: LightConfig, background: Background, *, frames: int, fps: float, rng: np.random.Generator) -> Light:
    """The light of a clip before a background, in the camera frame."""
    draw = LightDraw.of(rng)
    if config.kind == "flat":
        return _still_light(uniform_ambient((1.0, 1.0, 1.0)), np.zeros((frames, 0, 3)), np.zeros((0, 3)), shadows=False)
    photo = photo_harmonics(background.photo)
    count = min(1 + int(draw.count * config.lights), config.lights)
    directions, colours = _directional_lights(_brighter_side(photo) * config.photo, draw, count)
    ambient, tint = _soft_light(photo, config.photo, draw.balance)
    hardness = HARDNESS[0] + (HARDNESS[1] - HARDNESS[0]) * draw.hardness if count else 0.0
    ambient, colours = (1 - hardness) * ambient, hardness * colours * tint
    scale = _scale(ambient, directions, colours, _level(photo, config.photo, draw.level))
    turn = np.radians(TURN_DEG_S) * (frames - 1) / fps * draw.turn
    rotations = matrix_from_axis_angle(np.linspace(-0.5, 0.5, frames)[:, None] * turn)
    moved = np.einsum("tij,lj->tli", rotations, directions)
    return _still_light(scale * ambient, moved, scale * colours, shadows=config.shadows and count > 0)


def photo_harmonics(photo: UInt8[Array, "height width 3"]) -> Float[Array, "9 3"]:
    """Light that a white matt surface gives back where a photo is all around it, as `Light.ambient` has it; 1 where the photo is white."""
    rows, columns = ((np.arange(CELLS) + 0.5) / CELLS * np.array(photo.shape[:2])[:, None]).astype(int)
    seen = np.maximum(LINEAR_OF_LEVEL, BLACK).take(photo[rows].take(columns, 1))
    return np.einsum("kp,pc->kc", _photo_projection(), seen.reshape(-1, 3))  # einsum: the same bits on any number of threads


@cache
def _photo_projection() -> Float[Array, "9 cells"]:
    """From radiance in the photo's cells to coefficients: columns are longitudes -90 to 90 degrees, rows latitudes, and the same behind the camera."""
    edges = np.linspace(-np.pi / 2, np.pi / 2, CELLS + 1)
    latitude, longitude = np.meshgrid((edges[1:] + edges[:-1]) / 2, (edges[1:] + edges[:-1]) / 2, indexing="ij")
    ahead = np.stack([np.cos(latitude) * np.sin(longitude), np.sin(latitude), np.cos(latitude) * np.cos(longitude)], -1).reshape(-1, 3)
    solid_angles = np.repeat(np.diff(np.sin(edges)) * (np.pi / CELLS), CELLS)
    return projection_matrix(ahead, solid_angles) + projection_matrix(ahead * [1, 1, -1], solid_angles)


def _brighter_side(photo: Array) -> Float[Array, "3"]:
    """Where the light comes from: the first order over the mean; of length 1 where one half of the world is dark."""
    return (photo[1:4] @ LUMINANCE) / (photo[0] @ LUMINANCE)


def _directional_lights(side: Array, draw: LightDraw, count: int) -> tuple[Float[Array, "lights 3"], Float[Array, "lights 3"]]:
    """Directions towards the lights and their colours, of luminance 1 for the key light. The key is mostly above, behind the camera, and on the photo's brighter side."""
    key = 3.0 * side - [0.0, 0.6, 0.7] + 0.8 * draw.towards[0]
    others = draw.towards[1:] - [0.0, 0.3, 0.3]
    towards = np.concatenate([key[None], others])
    strength = np.concatenate([[1.0], np.clip(0.3 + 0.12 * draw.dimness[1:], 0.08, 0.7)])
    warmth = np.clip(0.03 + 0.08 * draw.warmth, -0.2, 0.25)
    colours = strength[:, None] * np.array([1 + warmth, np.ones(MOST_LIGHTS), 1 - warmth]).T
    return (towards / np.sqrt((towards * towards).sum(1, keepdims=True)))[:count], colours[:count]


def _soft_light(photo: Array, share: float, balance: float) -> tuple[Float[Array, "9 3"], Float[Array, "3"]]:
    """Light from all around, of mean 1 apart from its tint, and that tint, which is the photo's in part: photos are white-balanced, and things have colours of their own."""
    ratio = photo[0] / (photo[0] @ LUMINANCE)
    tint = np.clip(ratio ** (share * (0.15 + 0.5 * balance)), *TINTS)
    sky = uniform_ambient((1.0, 1.0, 1.0))
    sky[2] = -0.25  # without a photo some more light from above
    grey = (photo @ LUMINANCE / (photo[0] @ LUMINANCE))[:, None]
    around = grey + CHROMA * (photo / photo[0] - grey)
    return (share * around + (1 - share) * sky) * tint, tint


def _level(photo: Array, share: float, deviation: float) -> float:
    """How bright a white surface is: as the photo's mean says, for things of usual reflectance, by `share`; and a third of a stop up or down."""
    light = (photo[0] @ LUMINANCE) / SCENE_REFLECTANCE
    return float(np.clip(USUAL_LEVEL * (light / USUAL_LEVEL) ** share * 2 ** (deviation / 3), *LEVELS))


def _scale(ambient: Array, directions: Array, colours: Array, level: float) -> float:
    """What brings the mean luminance of white surfaces that face the camera to `level`, or less where their brightest would pass PEAK_LEVEL."""
    facing, basis = _facing()
    white = np.maximum(np.einsum("nk,kc->nc", basis, ambient), 0.0) + np.einsum("nl,lc->nc", np.maximum(np.einsum("ni,li->nl", facing, directions), 0.0), colours)
    return min(level / (white @ LUMINANCE).mean(), PEAK_LEVEL / white.max())


@cache
def _facing() -> tuple[Float[Array, "normals 3"], Float[Array, "normals 9"]]:
    """Normals towards the camera and the harmonic basis at them."""
    normals = sphere_points(96)
    normals = normals[normals[:, 2] < 0]
    return normals, harmonic_basis(normals)


def _still_light(ambient: Array, directions: Array, colours: Array, *, shadows: bool) -> Light:
    """A light of constant colours."""
    ambient, colours = (value.astype(np.float32)[None].repeat(len(directions), 0) for value in (ambient, colours))
    return Light(ambient, directions.astype(np.float32), colours, shadows)
