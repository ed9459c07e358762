"""Pictures that stand in for photos: rooms, table tops, landscapes and heaps of things, mostly out of focus as what is behind a hand is.

All are opaque shapes before each other, each shaded and grained and mostly of a colour like that of what it lies on. Heaps are the dead-leaves model (Lee,
Mumford & Huang 2001): shapes whose sizes r have density r^-3 have the edges and the 1 / f amplitude spectrum of photographed scenes. In the others things
stand upright or lie on a plane, as things do. The grain is a random field of spectrum 1 / f^a (Field 1987).
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import PIL
from jaxtyping import Float, Int32, UInt8
from PIL import Image, ImageDraw, ImageFilter

from seqgen.files import cache_folder, cached_arrays, file_digest

Array = np.ndarray
Pair = Array | tuple[float | int, float | int]  # x and y, or width and height
TEXTURE_SIZE = (480, 360)
OUT_OF_FOCUS = 0.65  # share of pictures
BLURS_PX = ((0.6, 2.5), (3.5, 12.0))  # standard deviations in focus and out of it
MOST_CHROMA = 0.4  # log of how far a colour is from grey
SKY, LEAVES = np.array([0.6, 0.75, 0.95]), np.array([-0.35, 0.05, -0.6])  # logs of their colours


@dataclass(frozen=True)
class Shape:
    """A polygon. own: how much of its colour is its own, not that of what it lies on; tone: the log of a colour that is added; grain: how rough it is."""

    outline_px: Float[Array, "corners 2"]
    own: float = 0.66
    tone: Float[Array, "3"] | float = 0.0
    grain: float = 1.0


@cache
def kept_textures(count: int) -> UInt8[Array, "textures height width 3"]:
    """The textures of seeds 0 to count - 1, drawn once (a fiftieth of a second each) and kept in the cache under the hash of what draws them, where all
    processes of a machine map the same memory.
    """
    drawn_by = f"{file_digest(Path(__file__))} numpy {np.__version__} pillow {PIL.__version__}"
    folder = cache_folder() / f"textures-{hashlib.sha256(drawn_by.encode()).hexdigest()[:16]}-{count}"
    return cached_arrays(folder, ("pixels",), lambda: {"pixels": np.stack([draw_texture(np.random.default_rng(seed)) for seed in range(count)])})["pixels"]


def draw_texture(rng: np.random.Generator) -> UInt8[Array, "height width 3"]:
    """One such picture, sRGB, of TEXTURE_SIZE."""
    layout = LAYOUTS[int(rng.choice(len(LAYOUTS), p=[0.45, 0.25, 0.2, 0.1]))]
    shapes = _seen_askew(layout(rng), rng)
    seen, parents = _lay(shapes)
    colours, slopes, grain = _paint(shapes, parents, rng)
    shading = slopes[seen, 0] * _place()[0] + slopes[seen, 1] * _place()[1] + grain[seen] * _cloud(rng)
    levels = np.maximum(colours[seen] * ((1.0 + shading) * _light(rng))[..., None], 2.0)
    levels *= rng.uniform(80, 150) / levels.mean()  # a camera exposes for the whole
    picture = Image.fromarray((levels / (1 + (levels / 255) ** 4) ** 0.25).astype(np.uint8))  # and highlights saturate softly
    least, most = np.log(BLURS_PX[int(rng.random() < OUT_OF_FOCUS)])
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(float(np.exp(rng.uniform(least, most))))))


def _room(rng: np.random.Generator) -> list[Shape]:
    """A wall, things on it and rows of things along it, a floor or a table, things standing there."""
    width, height = TEXTURE_SIZE
    floor = height * rng.uniform(0.5, 1.1)
    shapes = []
    for _ in range(rng.integers(1, 4)):
        corner, size = rng.uniform(-0.2, 0.8, 2) * (width, floor), np.exp(rng.normal(-1.0, 0.5, 2)) * (width, height)
        shapes += [_window, _shelf, _panel][int(rng.integers(3))](corner, size, rng)
    shapes.append(Shape(_box((-width, floor), (3 * width, height)), own=0.8))
    for _ in range(rng.integers(1, 6)):
        size = np.exp(rng.normal(-1.3, 0.6, 2)) * (width, 1.6 * height)
        foot = rng.uniform(-0.1, 1.1) * width, floor + rng.uniform(0.0, 0.25) * height
        shapes += _panel((foot[0] - size[0] / 2, foot[1] - size[1]), size, rng)
    return shapes


def _table_top(rng: np.random.Generator) -> list[Shape]:
    """A plane seen from above, with its edge and a few flat things on it."""
    width, height = TEXTURE_SIZE
    shapes = [Shape(_turned(_box((-2 * width, height * rng.uniform(0.4, 1.0)), (5 * width, 3 * height)), rng.normal(0.0, 0.4)), own=0.8)]
    for _ in range(rng.integers(0, 7)):
        things = _panel(rng.uniform(-0.2, 0.9, 2) * TEXTURE_SIZE, np.exp(rng.normal(-1.3, 0.5, 2)) * width, rng)
        angle = rng.normal(0.0, 0.6)
        shapes += [Shape(_turned(thing.outline_px, angle), thing.own, thing.tone, thing.grain) for thing in things]
    return shapes


def _landscape(rng: np.random.Generator) -> list[Shape]:
    """Sky, ridges of trees or hills, each nearer and lower than the one before, leaves on the nearest, ground."""
    width, height = TEXTURE_SIZE
    shapes = [Shape(_box((-width, -height), (3 * width, 3 * height)), own=0.3, tone=SKY + 0.3 * rng.normal(), grain=0.5)]
    level, x = height * rng.uniform(0.0, 0.7), np.arange(-100.0, width + 100, 4)
    for _ in range(rng.integers(1, 4)):
        waves = sum(np.sin(x * k / 90 + rng.uniform(0, 7)) * rng.normal() / k for k in (1, 2, 3, 5, 8, 13, 21, 34))
        ridge = np.stack([x, level + height * rng.uniform(0.02, 0.12) * waves], -1)
        shapes.append(Shape(np.vstack([ridge, [[width + 100, 3 * height], [-100, 3 * height]]]), own=0.8, tone=LEAVES * rng.uniform(0.2, 1.0), grain=5.0))
        level += height * rng.uniform(0.1, 0.4)
    for _ in range(rng.integers(0, 200)):
        shapes.append(Shape(_ellipse((rng.uniform(0, width), rng.uniform(min(level, height) - 0.2 * height, height)), rng.uniform(3, 14), rng), own=0.35))
    shapes.append(Shape(_box((-width, height * rng.uniform(0.75, 1.2)), (3 * width, height)), own=0.7, grain=3.0))
    return shapes


def _heap(rng: np.random.Generator) -> list[Shape]:
    """The dead-leaves model, of large leaves."""
    count, least, most = int(rng.integers(30, 160)), 25.0, 400.0
    radii = least / np.sqrt(1 - rng.random(count) * (1 - (least / most) ** 2))  # of density r^-3
    return [Shape(_ellipse(rng.uniform(0.0, 1.0, 2) * TEXTURE_SIZE, radius, rng)) for radius in radii]


LAYOUTS: list[Callable[[np.random.Generator], list[Shape]]] = [_room, _table_top, _landscape, _heap]


def _window(corner: Pair, size: Pair, rng: np.random.Generator) -> list[Shape]:
    """Panes in a frame, bright."""
    panes = [Shape(pane, own=0.15, tone=SKY * rng.uniform(0.7, 1.4), grain=0.3) for pane in _lattice(corner, size, rng.integers(1, 4, 2), 0.06)]
    return [Shape(_box(corner, size)), *panes]


def _shelf(corner: Pair, size: Pair, rng: np.random.Generator) -> list[Shape]:
    """Rows of upright things of many colours, as books are; some are missing, none is as high as the next."""
    slots = _lattice(corner, size, (int(rng.integers(6, 25)), int(rng.integers(1, 4))), 0.04)
    heights = rng.uniform(0.65, 0.98, len(slots))[:, None, None]
    books = [Shape(slot[3] + (slot - slot[3]) * np.where([True, False], 1.0, height), own=0.95) for slot, height in zip(slots, heights, strict=True)]
    return [Shape(_box(corner, size)), *(book for book in books if rng.random() < 0.85)]


def _panel(corner: Pair, size: Pair, rng: np.random.Generator) -> list[Shape]:
    """A plain thing with a part or a regular pattern of parts: a picture, a drawer, a keyboard, a cup."""
    if rng.random() < 0.3:
        return [Shape(_ellipse(np.asarray(corner) + np.asarray(size) / 2, float(min(size)) / 2, rng))]
    parts = _lattice(corner, size, rng.integers(1, 6, 2), rng.uniform(0.02, 0.15)) if rng.random() < 0.6 else []
    return [Shape(_box(corner, size)), *(Shape(part, own=0.25, tone=tone) for tone in [0.3 * rng.normal()] for part in parts)]


def _lattice(corner: Pair, size: Pair, counts: Pair, gap: float) -> list[Float[Array, "4 2"]]:
    """Boxes in columns and rows inside a box, apart by a share of its shorter side."""
    apart = gap * min(size)
    cell = (np.asarray(size) - apart) / counts
    return [_box(np.asarray(corner) + apart + cell * (i, j), cell - apart) for j in range(counts[1]) for i in range(counts[0]) if min(cell) > 1.5 * apart]


def _box(corner: Pair, size: Pair) -> Float[Array, "4 2"]:
    """Corners, from the upper left one, clockwise."""
    return np.asarray(corner, float) + np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * np.asarray(size, float)


def _ellipse(centre: Pair, radius: float, rng: np.random.Generator) -> Float[Array, "corners 2"]:
    around = 2 * np.pi * np.arange(32) / 32
    stretch = np.exp(rng.normal(0.0, 0.25))
    return np.asarray(centre) + _turned(radius * np.stack([np.cos(around) * stretch, np.sin(around) / stretch], -1), rng.uniform(0, np.pi))


def _turned(outline_px: Float[Array, "corners 2"], angle: float) -> Float[Array, "corners 2"]:
    """Turned about its own middle."""
    c, s = np.cos(angle), np.sin(angle)
    middle = outline_px.mean(0)
    return middle + (outline_px - middle) @ np.array([[c, s], [-s, c]])


def _seen_askew(shapes: list[Shape], rng: np.random.Generator) -> list[Shape]:
    """As a camera sees them that is held a little askew: turned, upright lines running together."""
    angle, together, middle = rng.normal(0.0, 0.06), rng.normal(0.0, 0.12, 2), np.array(TEXTURE_SIZE) / 2
    c, s = np.cos(angle), np.sin(angle)

    def seen(outline_px: Array) -> Array:
        flat = (outline_px - middle) @ np.array([[c, s], [-s, c]])
        return middle + flat / np.maximum(1 + flat / middle @ together, 0.3)[:, None]

    return [Shape(seen(shape.outline_px), shape.own, shape.tone, shape.grain) for shape in shapes]


def _lay(shapes: list[Shape]) -> tuple[Int32[Array, "height width"], list[int]]:
    """Which shape is seen at each pixel, 0 being the wall behind them all, and which the middle of each was laid on."""
    seen, parents = Image.new("I", TEXTURE_SIZE), [0]
    pen = ImageDraw.Draw(seen)
    for n, shape in enumerate(shapes, 1):
        x, y = np.clip(shape.outline_px.mean(0), 0, np.array(TEXTURE_SIZE) - 1)
        parents.append(seen.getpixel((int(x), int(y))))
        pen.polygon(shape.outline_px.ravel().tolist(), fill=n)
    return np.asarray(seen, np.int32), parents


def _paint(shapes: list[Shape], parents: list[int], rng: np.random.Generator) -> tuple[Float[Array, "shapes 3"], Float[Array, "shapes 2"], Float[Array, "shapes"]]:
    """Colours; slopes of brightness across the picture; strengths of the grain. The wall's are the first."""
    count = len(parents)
    lightness = rng.normal(0.0, rng.uniform(0.35, 0.7), count)  # most of a scene's contrast is in lightness (Ruderman et al. 1998)
    warmth, green = rng.laplace(0.03, 0.08, count), rng.laplace(0.01, 0.02, count)
    shade = np.stack([lightness + warmth - green, lightness + green, lightness - warmth - green], -1)
    for n, (shape, parent) in enumerate(zip(shapes, parents[1:], strict=True), 1):
        shade[n] = np.sqrt(1 - shape.own**2) * shade[parent] + shape.own * shade[n] + shape.tone
    grey = shade.mean(1, keepdims=True)
    shade = grey.clip(-2.5, 1.5) + (shade - grey).clip(-MOST_CHROMA, MOST_CHROMA)
    roughness = np.array([1.0, *(shape.grain for shape in shapes)])
    return 100 * np.exp(shade), rng.normal(0.0, 0.15, (count, 2)), roughness * rng.gamma(1.2, 0.03, count)


def _light(rng: np.random.Generator) -> Float[Array, "height width"]:
    """How much light falls where: more to one side, mostly above, and round a lamp."""
    x, y = _place()
    lamp, reach = rng.uniform(-1.2, 1.2, 2), rng.uniform(0.4, 1.2)
    glow = np.exp(-((x - lamp[0]) ** 2 + (y - lamp[1]) ** 2) / (2 * reach**2))
    return np.exp(rng.normal(0.0, 0.25) * x + rng.normal(-0.15, 0.25) * y + abs(rng.normal(0.0, 0.5)) * glow)


@cache
def _place() -> Float[Array, "2 height width"]:
    """x and y from -1 to 1."""
    place = np.mgrid[-1 : 1 : TEXTURE_SIZE[1] * 1j, -1 : 1 : TEXTURE_SIZE[0] * 1j][::-1]
    place.flags.writeable = False
    return place


def _cloud(rng: np.random.Generator) -> Float[Array, "height width"]:
    """A random field of unit variance with amplitude spectrum 1 / f^a, a about 1."""
    width, height = TEXTURE_SIZE
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    spectrum = np.exp(2j * np.pi * rng.random(frequency.shape)) / frequency ** rng.uniform(0.9, 1.5)
    field = np.fft.irfft2(spectrum, s=(height, width))
    return field / field.std()
