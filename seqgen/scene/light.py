"""Light on the hand: soft light from everywhere, a key light and sometimes a fill light, all turning slowly; or flat, as in the SeqHAND paper."""

from typing import Literal

import numpy as np

from seqgen.config import Section
from seqgen.geometry import matrix_from_axis_angle
from seqgen.scene.scene import Light

TURN_DEG_S = 20.0  # standard deviation, about each axis


class LightConfig(Section):
    kind: Literal["drawn", "flat"] = "drawn"
    """drawn: ambient, key and fill lights that move; flat: the albedo as it is"""


def draw_light(config: LightConfig, *, frames: int, fps: float, rng: np.random.Generator) -> Light:
    """The light of a clip, in the camera frame."""
    if config.kind == "flat":
        return Light(np.ones((frames, 3), np.float32), np.zeros((frames, 0, 3), np.float32), np.zeros((frames, 0, 3), np.float32))
    ambient = rng.uniform(0.35, 0.7) * _tint(rng, 0.06)
    lights = [(_towards(rng, above=1.2, before=0.8), rng.uniform(0.5, 1.1) * _tint(rng, 0.08))]
    if rng.random() < 0.5:
        lights.append((_towards(rng, above=0.3, before=0.3), rng.uniform(0.1, 0.4) * _tint(rng, 0.12)))
    turn = np.radians(TURN_DEG_S) * (frames - 1) / fps * rng.standard_normal(3)
    rotations = matrix_from_axis_angle(np.linspace(0, 1, frames)[:, None] * turn)
    directions = np.stack([rotations @ direction for direction, _ in lights], 1)
    colours = np.stack([colour for _, colour in lights])
    still = (np.broadcast_to(value, (frames, *value.shape)).astype(np.float32) for value in (ambient, colours))
    ambient_frames, colour_frames = still
    return Light(ambient_frames, directions.astype(np.float32), colour_frames)


def _towards(rng: np.random.Generator, *, above: float, before: float) -> np.ndarray:
    """A unit direction to a light, more often from above (-y) and from the camera's side (-z)."""
    direction = rng.standard_normal(3) - [0.0, above, before]
    return direction / np.linalg.norm(direction)


def _tint(rng: np.random.Generator, spread: float) -> np.ndarray:
    """A nearly white colour, from warm to cold."""
    warmth = rng.normal(0.0, spread)
    return np.array([1 + warmth, 1.0, 1 - warmth])
