"""Repeating textures with nothing flat about them: cloth for sleeves, and the stuff that things held in a hand are made of.

    cloth    weave (knit, rib, plain, twill, felt) x dye (plain, stripes, checks, tartan, denim) x wear
    objects  painted, printed, labelled, speckled, wooden, brushed metal, glazed

A tile stands for CLOTH_TILE_M or OBJECT_TILE_M of the thing. It is drawn from a bank of fields that are made once per worker from a fixed seed: what is
drawn chooses, shifts, mixes and colours them. All fields are periodic, so that the tile repeats without a seam.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float, Float32

from seqgen.scene.scene import Material

Array = np.ndarray
CLOTH_TILE_M, OBJECT_TILE_M = 0.04, 0.10
THREAD_TEXELS = 4  # of woven cloth; a stitch has twice as many
FIELD_SEED, NUM_FIELDS = 20240, 4
THREAD_M, FOLD_M = (1e-4, 3e-4), 2e-4  # heights of threads, least and most, and of wrinkles (standard deviation)
DUST = 25.0  # levels of shading that do not depend on the colour
# What wardrobes are full of, sRGB: more dark and neutral than bright.
CLOTHING = np.array(
    [
        (24, 24, 28), (40, 42, 48), (70, 72, 76), (120, 121, 124), (176, 176, 174), (226, 224, 218), (22, 30, 58), (38, 62, 108), (92, 124, 166), (168, 190, 214),
        (72, 54, 42), (136, 104, 72), (196, 172, 134), (84, 88, 60), (36, 68, 52), (108, 30, 40), (178, 44, 46), (214, 150, 160), (198, 150, 58), (44, 110, 116),
    ],
    np.float32,
)  # fmt: skip
PAINTS = np.array(
    [(204, 44, 38), (28, 86, 168), (238, 196, 40), (44, 138, 74), (240, 240, 236), (34, 34, 38), (232, 120, 34), (118, 60, 140), (150, 206, 220), (236, 160, 180), (128, 130, 132)],
    np.float32,
)
WOODS = np.array([(196, 152, 100), (150, 100, 60), (96, 62, 40), (222, 190, 144), (124, 74, 48)], np.float32)


@dataclass(frozen=True)
class Weave:
    """How threads lie: their height, 0..1, and where the lengthwise ones are on top."""

    height: Float32[Array, "size size"]
    warp: Bool[Array, "size size"]


@dataclass(frozen=True)
class Fields:
    """Periodic noise of mean 0 and standard deviation 1, and weaves; read-only."""

    smooth: Float32[Array, "fields size size"]  # wrinkles, stains
    fine: Float32[Array, "fields size size"]  # grain, fibres
    streaks: Float32[Array, "fields size size"]  # long in u, fine in v: grain of wood, brushed metal
    weaves: tuple[Weave, ...]


def draw_pattern(rng: np.random.Generator, *, cloth: bool, size: int = 128) -> Material:
    """A material of `size` x `size` texels: clothing, or what a thing is made of. `size` is a multiple of 32."""
    fields = pattern_fields(size)
    return _cloth(fields, rng) if cloth else OBJECTS[rng.integers(len(OBJECTS))](fields, rng)


@lru_cache(maxsize=4)
def pattern_fields(size: int) -> Fields:
    """The bank that patterns of a size are mixed from."""
    if size <= 0 or size % 32:
        raise ValueError(f"size of a pattern is {size}, not a multiple of 32")
    rng = np.random.default_rng(FIELD_SEED)
    v, u = np.fft.fftfreq(size)[:, None] * size, np.fft.rfftfreq(size)[None] * size  # waves per tile
    smooth = np.exp(-((np.hypot(u, v) / 4) ** 2))
    fine = np.exp(-((np.hypot(u, v) / (size / 3)) ** 2))
    streaks = np.exp(-((u / 2.0) ** 2)) / (1 + np.abs(v)) ** 0.5
    noise = (_noise(amplitude, size, rng) for amplitude in (smooth, fine, streaks))
    return Fields(*noise, weaves=tuple(_weaves(size)))


def _noise(amplitude: Float[Array, "size half"], size: int, rng: np.random.Generator) -> Float32[Array, "fields size size"]:
    """Gaussian fields of an amplitude spectrum, without their mean."""
    amplitude = amplitude.copy()
    amplitude[0, 0] = 0.0
    fields = np.fft.irfft2(amplitude * np.fft.rfft2(rng.standard_normal((NUM_FIELDS, size, size))), s=(size, size))
    fields = (fields / fields.std((1, 2), keepdims=True)).astype(np.float32)
    fields.flags.writeable = False
    return fields


def _weaves(size: int) -> list[Weave]:
    """Plain weave, denim's 3/1 twill, a 2/2 twill, jersey, rib and felt."""
    texel = np.arange(size)
    thread = texel // THREAD_TEXELS
    profile = np.sin(np.pi * (texel % THREAD_TEXELS + 0.5) / THREAD_TEXELS)
    diagonal = thread[None, :] - thread[:, None]
    over = [diagonal % 2 < 1, diagonal % 4 < 3, diagonal % 4 < 2]
    woven = [Weave(np.where(warp, profile[None, :], profile[:, None]).astype(np.float32), warp) for warp in over]
    jersey = _jersey(size)
    columns = (0.5 + 0.5 * np.sin(2 * np.pi * texel / (8 * THREAD_TEXELS))).astype(np.float32)
    everywhere = np.ones((size, size), bool)
    felt = np.full((size, size), 0.5, np.float32)
    return [*woven, Weave(jersey, everywhere), Weave((0.5 * jersey + 0.5) * (0.3 + 0.7 * columns), everywhere), Weave(felt, everywhere)]


def _jersey(size: int) -> Float32[Array, "size size"]:
    """Columns of V: each stitch two legs that lean towards each other."""
    across = (np.arange(size) + 0.5) / (2 * THREAD_TEXELS) % 1.0
    along = np.arange(size)[:, None] / (2 * THREAD_TEXELS)
    lean = np.abs(2 * across - 1)
    legs = 0.5 + 0.5 * np.cos(2 * np.pi * (along - 0.5 * lean))
    return (legs * np.sin(np.pi * (2 * across % 1.0)) ** 0.5).astype(np.float32)


def _cloth(fields: Fields, rng: np.random.Generator) -> Material:
    """Dyed cloth: threads stand out by their height, wrinkles and wear come on top."""
    kind, weave = int(rng.integers(6)), fields.weaves[rng.integers(len(fields.weaves))]
    ground, second = CLOTHING[rng.choice(len(CLOTHING), 2, replace=False)] * rng.uniform(0.85, 1.12, (2, 1)) + rng.normal(0, 5, (2, 3))
    smooth, fine = _drawn(fields.smooth, rng), _drawn(fields.fine, rng)
    if kind == 0:  # denim: the warp alone is dyed
        weave, ground, second = fields.weaves[1], CLOTHING[7] * rng.uniform(0.5, 1.5) + rng.normal(0, 5, 3), CLOTHING[5] * rng.uniform(0.6, 0.95)
    dye = ~weave.warp * np.float32(0.45) if kind == 0 else _dye(kind, len(smooth), rng)
    relief, wear, fibres = rng.uniform((0.25, 0.02, 0.03), (0.6, 0.08, 0.09)).astype(np.float32)
    shade = (1 - relief) + relief * weave.height + wear * smooth + fibres * fine
    bump = np.float32(rng.uniform(*THREAD_M)) * (weave.height + np.float32(0.15) * fine) + np.float32(FOLD_M) * smooth
    return _material(_mix(ground, second, dye), shade, rng.uniform(205, 235) - 12 * fine, bump, rng.uniform(0.02, 0.04))


def _dye(kind: int, size: int, rng: np.random.Generator) -> Float32[Array, "rows columns"]:
    """How much of the second colour there is, 0..1: none, stripes across or along, checks, or a tartan of broad and narrow bands."""
    bands = [_bands(size, int(rng.integers(1, most)), share, rng) for most, share in ((5, 0.5), (3, 0.12))]
    if kind == 1:
        return np.zeros((1, 1), np.float32)
    if kind in (2, 3):
        return bands[0][:, None] if kind == 2 else bands[0][None, :]
    if kind == 4:
        return 0.5 * (bands[0][:, None] + bands[0][None, :])
    return np.maximum(0.35 * (bands[0][:, None] + bands[0][None, :]), np.maximum(bands[1][:, None], bands[1][None, :]))


def _bands(size: int, repeats: int, share: float, rng: np.random.Generator) -> Float32[Array, "size"]:
    """1 in `repeats` bands that take about `share` of the way."""
    along = (np.arange(size) * repeats / size + rng.random()) % 1.0
    return (along < share * rng.uniform(0.6, 1.4)).astype(np.float32)


def _painted(fields: Fields, rng: np.random.Generator) -> Material:
    """Moulded plastic of one colour: orange-peel skin, dirt, scuffs."""
    smooth, fine = _drawn(fields.smooth, rng), _drawn(fields.fine, rng)
    shade = 1 + 0.05 * smooth + 0.03 * fine
    return _material(_paint(rng), shade, rng.uniform(70, 170) + 12 * smooth + 6 * fine, 2e-5 * fine, rng.uniform(0.035, 0.055))


def _printed(fields: Fields, rng: np.random.Generator) -> Material:
    """Bands and blobs of a second colour on a first."""
    smooth, fine = _drawn(fields.smooth, rng), _drawn(fields.fine, rng)
    bands = _bands(len(smooth), int(rng.integers(1, 4)), 0.5, rng)[:, None]
    blobs = np.clip(4 * (_drawn(fields.smooth, rng) - np.float32(rng.uniform(0.2, 1.0))), 0, 1)
    share = np.abs(bands - blobs) if rng.random() < 0.5 else blobs
    shade = 1 + 0.04 * smooth + 0.03 * fine
    return _material(_mix(_paint(rng), _paint(rng), share), shade, rng.uniform(80, 190) + 8 * fine, 1e-5 * share + 1e-5 * fine, rng.uniform(0.03, 0.05))


def _labelled(fields: Fields, rng: np.random.Generator) -> Material:
    """A paper label with lines of print on a coloured ground."""
    smooth, fine = _drawn(fields.smooth, rng), _drawn(fields.fine, rng)
    label, ink = _lettering(len(smooth), rng)
    paper = _mix(np.array([238, 234, 224], np.float32), _paint(rng), np.float32(rng.uniform(0, 0.4)).reshape(1, 1))
    albedo = _mix(_mix(_paint(rng), paper, label), _paint(rng) * 0.5, ink)
    shade = 1 + 0.04 * smooth + 0.03 * fine
    return _material(albedo, shade, rng.uniform(90, 150) + 70 * label + 6 * fine, 1e-4 * label + 1e-5 * fine, rng.uniform(0.03, 0.05))


def _lettering(size: int, rng: np.random.Generator) -> tuple[Float32[Array, "size size"], Float32[Array, "size size"]]:
    """Where the label is and where the ink: glyph-like cells of 3 x 5 dots, drawn at random, with gaps between and lines of drawn length."""
    dot = size // 32 // int(rng.integers(1, 3)) or 1
    label, ink = np.zeros((2, size, size), np.float32)
    edge = size // 16
    label[edge:-edge, edge:-edge] = 1.0
    lines, columns = (size - 4 * edge) // (7 * dot), (size - 4 * edge) // dot
    dots = rng.random((lines, 7, columns)) < 0.6
    dots[:, 5:] = False
    dots[:, :, 3::4] = False
    dots &= (np.arange(columns) < rng.uniform(0.3, 1.0, (lines, 1)) * columns)[:, None]
    dots = dots.reshape(-1, columns).repeat(dot, 0).repeat(dot, 1)
    ink[2 * edge : 2 * edge + dots.shape[0], 2 * edge : 2 * edge + dots.shape[1]] = dots
    return label, ink


def _speckled(fields: Fields, rng: np.random.Generator) -> Material:
    """Stone, cork, recycled plastic: specks of two other colours."""
    smooth, fine, other = (_drawn(bank, rng) for bank in (fields.smooth, fields.fine, fields.fine))
    specks = _mix(_mix(_paint(rng), _paint(rng), (fine > rng.uniform(0.8, 1.8)).astype(np.float32)), _paint(rng), (other > 1.8).astype(np.float32))
    return _material(specks, 1 + 0.06 * smooth + 0.04 * other, rng.uniform(110, 220) + 10 * fine, 5e-5 * fine, rng.uniform(0.03, 0.05))


def _wooden(fields: Fields, rng: np.random.Generator) -> Material:
    """Year rings along u, bent by slow noise, with fine grain."""
    smooth, grain = _drawn(fields.smooth, rng), _drawn(fields.streaks, rng)
    v = np.arange(len(smooth), dtype=np.float32)[:, None] / len(smooth)
    rings = np.sin(np.float32(2 * np.pi) * (rng.integers(2, 7) * v + np.float32(rng.uniform(0.05, 0.25)) * smooth))
    wood = WOODS[rng.integers(len(WOODS))] * rng.uniform(0.85, 1.1)
    bump = 3e-5 * grain
    return _material(_mix(wood, wood * 0.68, 0.4 + 0.4 * rings), 1 + 0.09 * grain, rng.uniform(110, 210) + 10 * grain, bump, rng.uniform(0.03, 0.05))


def _metallic(fields: Fields, rng: np.random.Generator) -> Material:
    """Brushed metal: little diffuse light, much gloss (about half of the light: between titanium and aluminium)."""
    smooth, streaks = _drawn(fields.smooth, rng), _drawn(fields.streaks, rng)
    metal = np.array([128, 128, 130], np.float32) * rng.uniform(0.6, 1.3) * (1 + rng.normal(0, 0.05, 3))
    shade = 1 + 0.10 * streaks + 0.06 * smooth
    return _material(metal, shade, rng.uniform(95, 145) + 10 * streaks + 5 * smooth, 8e-6 * streaks, rng.uniform(0.3, 0.55))


def _glazed(fields: Fields, rng: np.random.Generator) -> Material:
    """Ceramic: a bright smooth glaze with rims of another colour, pooled where it is thick."""
    smooth, fine = _drawn(fields.smooth, rng), _drawn(fields.fine, rng)
    rims = _bands(len(smooth), int(rng.integers(1, 3)), 0.25, rng)[:, None]
    glaze = _mix(np.array([232, 228, 218], np.float32), _paint(rng), np.float32(rng.uniform(0, 0.7)).reshape(1, 1))
    shade = 1 + 0.06 * smooth + 0.02 * fine
    return _material(_mix(glaze, _paint(rng), rims), shade, rng.uniform(55, 100) + 6 * smooth, 4e-5 * smooth, rng.uniform(0.04, 0.06))


OBJECTS = (_painted, _printed, _labelled, _speckled, _wooden, _metallic, _glazed)


def _paint(rng: np.random.Generator) -> Float[Array, "3"]:
    return PAINTS[rng.integers(len(PAINTS))] * rng.uniform(0.8, 1.08) + rng.normal(0, 6, 3)


def _drawn(fields: Float32[Array, "fields size size"], rng: np.random.Generator) -> Float32[Array, "size size"]:
    """One of the fields, shifted around by a drawn way."""
    size = fields.shape[1]
    which, down, right = rng.integers((len(fields), size, size))
    return np.roll(fields[which], (down, right), (0, 1))


def _mix(ground: Array, second: Array, share: Float[Array, "rows columns"]) -> Float32[Array, "3 #rows #columns"]:
    """Colours between two, of one colour or a picture each."""
    ground, second = _planes(ground), _planes(second)
    return ground + share.astype(np.float32) * (second - ground)


def _planes(colour: Array) -> Float32[Array, "3 #rows #columns"]:
    """One colour, or a picture, with its channels first: all steps go along memory."""
    return np.asarray(colour, np.float32).reshape(3, *(np.shape(colour)[1:] or (1, 1)))


def _material(albedo: Array, shade: Array, roughness: Array, bump_m: Array, reflectance: float) -> Material:
    """Colours (sRGB, 0..255) times shade, made into what a renderer takes. Nothing is blacker or whiter than paint is, and black shows its dust."""
    shade = shade.astype(np.float32)
    pixels, levels = np.clip(_planes(albedo), 18, 225) * shade + np.float32(DUST) * (shade - 1), np.empty((*shade.shape, 3), np.uint8)
    for channel, plane in enumerate(np.clip(pixels, 4, 252)):
        levels[..., channel] = plane
    return Material(levels, np.clip(roughness, 0, 255).astype(np.uint8), bump_m.astype(np.float32), float(reflectance))
