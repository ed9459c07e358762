"""Pictures that stand in for photos: things of all sizes one before the other, each with its own colour, shading and grain.

The dead-leaves model (Lee, Mumford & Huang 2001): opaque shapes whose sizes r have density r^-3 lie before each other; it has the edges, the
1 / f amplitude spectrum and the independence of scale of photographed scenes. A random field of spectrum 1 / f^a (Field 1987) is the grain.
"""

import numpy as np
from jaxtyping import Float, Int32, UInt8
from PIL import Image, ImageDraw, ImageFilter

Array = np.ndarray
TEXTURE_SIZE = (480, 360)
RADII_PX = (8.0, 360.0)
NUM_LEAVES = (120, 600)
KINSHIP = 0.75  # how far a leaf takes the colour of what it lies on: details look like what they are details of


def draw_texture(rng: np.random.Generator) -> UInt8[Array, "height width 3"]:
    """One such picture, sRGB, of TEXTURE_SIZE."""
    leaves, parents = _lay_leaves(int(rng.integers(*NUM_LEAVES)), rng)
    colours, slopes, grain = _paint_leaves(parents, rng)
    y, x = np.mgrid[-1 : 1 : TEXTURE_SIZE[1] * 1j, -1 : 1 : TEXTURE_SIZE[0] * 1j]
    shading = slopes[leaves, 0] * x + slopes[leaves, 1] * y + grain[leaves] * _cloud(rng)
    light = np.exp(rng.normal(0.0, 0.2) * x + rng.normal(-0.15, 0.2) * y)  # brighter to one side, mostly the upper
    levels = np.maximum(colours[leaves] * ((1.0 + shading) * light)[..., None], 2.0)
    levels *= rng.uniform(80, 160) / levels.mean()  # a camera exposes for the whole
    picture = Image.fromarray((levels / (1 + (levels / 255) ** 4) ** 0.25).astype(np.uint8))  # and highlights saturate softly
    blur_px = float(np.exp(rng.uniform(np.log(0.6), np.log(3.0))))  # from the edges of a sharp lens to well out of focus
    return np.asarray(picture.filter(ImageFilter.GaussianBlur(blur_px)))


def _lay_leaves(count: int, rng: np.random.Generator) -> tuple[Int32[Array, "height width"], list[int]]:
    """Which leaf is seen at each pixel, and on which leaf the middle of each was laid; 0 is the wall behind them."""
    least, most = RADII_PX
    radii = least / np.sqrt(1 - rng.random(count) * (1 - (least / most) ** 2))  # of density r^-3
    centres = rng.uniform(0.0, 1.0, (count, 2)) * TEXTURE_SIZE
    upright = rng.random() < 0.6  # rooms and streets; else plants and heaps
    angles = rng.normal(0.0, 0.05, count) if upright else rng.uniform(0.0, np.pi, count)
    aspects = np.exp(rng.normal(0.0, 0.8 if upright else 0.5, count))
    corners = rng.choice([4, 4, 4, 24] if upright else [3, 5, 24, 24], count)
    seen, parents = Image.new("I", TEXTURE_SIZE), [0]
    pen = ImageDraw.Draw(seen)
    for n in range(count):
        parents.append(seen.getpixel((int(centres[n, 0]), int(centres[n, 1]))))
        pen.polygon(_outline(centres[n], radii[n], aspects[n], angles[n], int(corners[n])), fill=n + 1)
    return np.asarray(seen, np.int32), parents


def _outline(centre: Array, radius: float, aspect: float, angle: float, corners: int) -> list[float]:
    """x, y, x, y ... of a regular polygon, stretched and turned; a square stands upright at angle 0."""
    around = 2 * np.pi * (np.arange(corners) + 0.5) / corners
    x, y = radius * np.sqrt(aspect) * np.cos(around), radius / np.sqrt(aspect) * np.sin(around)
    turned = np.stack([x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], -1)
    return (turned + centre).ravel().tolist()


def _paint_leaves(parents: list[int], rng: np.random.Generator) -> tuple[Float[Array, "leaves 3"], Float[Array, "leaves 2"], Float[Array, "leaves"]]:
    """Colours; slopes of brightness across the picture; strengths of the grain. The wall's are the first."""
    count = len(parents)
    lightness = rng.normal(0.0, rng.uniform(0.35, 0.75), count)  # most of a scene's contrast is in lightness (Ruderman et al. 1998)
    warmth, green = rng.laplace(0.01, 0.09, count), rng.laplace(0.015, 0.03, count)
    shade = np.stack([lightness + warmth - green, lightness + green, lightness - warmth - green], -1)
    for leaf, parent in enumerate(parents[1:], 1):
        shade[leaf] = KINSHIP * shade[parent] + np.sqrt(1 - KINSHIP**2) * shade[leaf]
    return 100 * np.exp(shade), rng.normal(0.0, 0.15, (count, 2)), rng.gamma(1.2, 0.07, count)


def _cloud(rng: np.random.Generator) -> Float[Array, "height width"]:
    """A random field of unit variance with amplitude spectrum 1 / f^a, a about 1."""
    width, height = TEXTURE_SIZE
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    spectrum = np.exp(2j * np.pi * rng.random(frequency.shape)) / frequency ** rng.uniform(0.9, 1.5)
    field = np.fft.irfft2(spectrum, s=(height, width))
    return field / field.std()
