"""The photo behind the hand: a patch of it that glides, grows and turns slightly between two drawn places, at sub-pixel positions."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from pydantic import Field

from seqgen.config import Section, interval
from seqgen.scene.scene import Background
from seqgen.scene.surroundings.photos import PhotoRef, decode_photo

Array = np.ndarray
TAKEN_SHARE = 0.35  # of clips that are sure to have a photo behind them where there are any, however many textures there are


class BackgroundConfig(Section):
    folder: str | None = None
    """a folder of photos, searched deeply; VOC2012's root works (its JPEGImages are taken); none: the built-in photos and textures"""
    speed: float = Field(0.15, ge=0, le=5)
    """standard deviation of the patch's speed, in frame widths a second; by growing and turning its edges move half as fast"""
    zoom: interval(0.05, 20.0) = (0.8, 2.0)
    """photo pixels per picture pixel, least and most; less where the photo is too small"""
    turn_deg: float = Field(4.0, ge=0, le=180)
    """most tilt of the patch against the photo"""


@dataclass(frozen=True)
class Patch:
    """A rectangle of a photo. `zoom`: photo pixels per picture pixel; `turn`: radians, from x towards y."""

    centre_px: Float[Array, "2"]
    zoom: float
    turn: float


def draw_background(photos: list[PhotoRef], config: BackgroundConfig, *, size: tuple[int, int], frames: int, fps: float, rng: np.random.Generator) -> tuple[Background, PhotoRef]:
    """A photo and, for each frame, where its pixels lie in it; all of them inside."""
    taken = [photo for photo in photos if not photo.drawn]
    pool = taken if rng.random() < TAKEN_SHARE and taken else photos
    photo = pool[int(rng.random() * len(pool))]
    pixels = decode_photo(photo.place)
    start, end = draw_patches(pixels.shape[1::-1], size, config, (frames - 1) / fps, rng)
    # Each pixel goes straight from its place in the first patch to its place in the last, so it stays inside the photo as these do.
    share = np.linspace(0.0, 1.0, frames)[:, None, None]
    matrix = (1 - share) * photo_from_pixel(start, size) + share * photo_from_pixel(end, size)
    return Background(pixels, matrix.astype(np.float32)), photo


def draw_patches(photo_size: tuple[int, int], size: tuple[int, int], config: BackgroundConfig, seconds: float, rng: np.random.Generator) -> tuple[Patch, Patch]:
    """The first and the last patch of a clip, both inside the photo."""
    way = config.speed * seconds * rng.standard_normal(4)  # across, down, growth, turn; in frame widths, the last two as seen at half a width
    most = np.radians(config.turn_deg)
    turn = most * rng.uniform(-1.0, 1.0)
    turns = turn, float(min(max(turn + way[2], -most), most))
    least, largest = config.zoom
    zoom = float(rng.uniform(least, largest))
    wanted = zoom, float(min(max(zoom * np.exp(way[3]), least), largest))
    room = np.array(photo_size, float) - 1
    outlines = [outline_px(size, turn) for turn in turns]
    zooms = [min(zoom, (room / np.maximum(outline, 1e-9)).min()) for zoom, outline in zip(wanted, outlines, strict=True)]
    half = np.maximum(*(zoom * outline / 2 for zoom, outline in zip(zooms, outlines, strict=True)))
    free = np.maximum(room - 2 * half, 0.0)
    drift = np.maximum(np.minimum(way[:2] * zooms[0] * size[0], free), -free)
    first = half + np.maximum(-drift, 0.0) + rng.random(2) * (free - np.abs(drift))
    return Patch(first, zooms[0], turns[0]), Patch(first + drift, zooms[1], turns[1])


def outline_px(size: tuple[int, int], turn: float) -> Float[Array, "2"]:
    """Width and height of the box around a turned frame's pixel centres."""
    across, down = size[0] - 1, size[1] - 1
    c, s = abs(np.cos(turn)), abs(np.sin(turn))
    return np.array([across * c + down * s, across * s + down * c])


def photo_from_pixel(patch: Patch, size: tuple[int, int]) -> Float[Array, "2 3"]:
    """The affine map of a frame's pixels to a patch of the photo."""
    c, s = patch.zoom * np.cos(patch.turn), patch.zoom * np.sin(patch.turn)
    linear, middle = np.array([[c, -s], [s, c]]), np.array([(size[0] - 1) / 2, (size[1] - 1) / 2])
    return np.concatenate([linear, (patch.centre_px - linear @ middle)[:, None]], 1)
