"""Other looks of the same clip: another crop, other colours, something in the way. A pure function of clip and generator; labels stay exact.

    clip ──> square in each frame, zoomed, shifted, turned ──> sample ──> tone, colour, spectrum, noise ──> hidden parts

Geometry goes through the crop alone, which carries all labels along (`estimators.sample`). Crop and colour are drawn once a clip: a camera that flickers
would teach a network over time that motion is not to be trusted. Mask and joints stay those of the hand, whatever hides it.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Float32, UInt8
from pydantic import Field
from scipy.special import ndtri

from seqgen.config import Section, interval
from seqgen.dataset.clip import LabelledClip
from seqgen.estimators.views.crop import InputConfig, crop_from_picture, crop_squares
from seqgen.estimators.views.sample import Sample, make_sample
from seqgen.training.spectrum import spectral_change

Array = np.ndarray

YIQ_FROM_RGB = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])  # NTSC (FCC 1953): lightness and two axes of colour
COVER_AREA, COVER_ASPECT = (0.02, 0.2), (0.5, 2.0)  # of the crop; width over height


class AugmentConfig(Section):
    share: float = Field(1.0, ge=0, le=1)
    """of the clips, how many look other than they are"""
    zoom: interval(0.25, 4.0) = (0.85, 1.2)
    """how much larger the hand gets"""
    shift: float = Field(0.06, ge=0, le=1)
    """the square moves by up to this share of its side, along each axis"""
    turn_deg: float = Field(30.0, ge=0, le=180)
    """the picture turns in its plane by up to this, either way"""
    jitter: float = Field(0.003, ge=0, le=0.2)
    """the square trembles from frame to frame: standard deviation of its place and of its size, over its side"""
    brightness: float = Field(0.2, ge=0, lt=1)
    """light is multiplied by 1 - this to 1 + this"""
    contrast: float = Field(0.2, ge=0, lt=1)
    """distance from middle grey is multiplied by 1 - this to 1 + this"""
    gamma: float = Field(0.2, ge=0, le=1)
    """levels are raised to a power of exp(-this) to exp(this)"""
    saturation: float = Field(0.3, ge=0, le=1)
    """distance from grey is multiplied by 1 - this to 1 + this"""
    hue_deg: float = Field(10.0, ge=0, le=180)
    """hues turn by up to this, either way"""
    grey_share: float = Field(0.05, ge=0, le=1)
    """of the clips, how many lose their colour"""
    spectrum: float = Field(0.3, ge=0, le=2)
    """the slope of the amplitude spectrum changes by up to this, either way"""
    spectrum_share: float = Field(0.5, ge=0, le=1)
    """of the clips, how many have another slope"""
    blur_px: float = Field(1.0, ge=0, le=10)
    """standard deviation of the blur, up to this, in pixels of the crop"""
    blur_share: float = Field(0.2, ge=0, le=1)
    """of the clips, how many are blurred"""
    noise: float = Field(8.0, ge=0, le=100)
    """standard deviation of the noise, up to this, in levels of 255"""
    noise_share: float = Field(0.3, ge=0, le=1)
    """of the clips, how many are noisy"""
    flicker: bool = False
    """draw the colours anew for each frame, as if frames were unrelated pictures"""
    cover: float = Field(0.0, ge=0, le=1)
    """of the clips, in how many a rectangle hides a part for some frames; 0: our clips have things before the hand already"""
    blackout: float = Field(0.0, ge=0, le=1)
    """of the clips, in how many one frame, not the first, is black; 0: to stay fair to networks without memory"""


def augmented(clip: LabelledClip, input: InputConfig, config: AugmentConfig, rng: np.random.Generator, *, hand: str | None = None) -> Sample:
    """The clip as a network sees it, under another crop, in other colours. `hand` as in `make_sample`."""
    geometry, colour, hiding = rng.spawn(3)  # streams of their own: to switch one kind off leaves the others alone
    if rng.random() >= config.share:
        return make_sample(clip, input, hand=hand)
    sample = make_sample(clip, input, crop_from_picture=draw_crop(clip, input, config, geometry), hand=hand)
    return replace(sample, rgb=hide(recolour(sample.rgb, config, colour), config, hiding))


def draw_crop(clip: LabelledClip, input: InputConfig, config: AugmentConfig, rng: np.random.Generator) -> Float[Array, "frames 3 3"]:
    """The map from the picture to a crop about the squares that `input` asks for."""
    squares = crop_squares(clip.size, clip.box_px, input)
    zoom = np.exp(rng.uniform(*np.log(config.zoom)))
    shift = rng.uniform(-config.shift, config.shift, 2)
    turn_rad = np.radians(rng.uniform(-config.turn_deg, config.turn_deg))
    trembling = config.jitter * rng.standard_normal((len(squares), 3))
    side = squares[:, 2:] / zoom * np.exp(trembling[:, 2:])
    centre = squares[:, :2] + side * (shift + trembling[:, :2])
    return crop_from_picture(np.concatenate([centre, side], 1), input.size, turn_rad=float(turn_rad))


def recolour(rgb: UInt8[Array, "frames 3 size size"], config: AugmentConfig, rng: np.random.Generator) -> UInt8[Array, "frames 3 size size"]:
    """The clip in one set of other colours, or each frame in its own."""
    if config.flicker:
        return np.concatenate([_recolour(frame[None], config, rng) for frame in rgb])
    return _recolour(rgb, config, rng)


def _recolour(rgb: UInt8[Array, "frames 3 size size"], config: AugmentConfig, rng: np.random.Generator) -> UInt8[Array, "frames 3 size size"]:
    """Tone, colour, spectrum and noise. All numbers are drawn whether used or not: so they do not depend on one another's shares."""
    tone, mixing = _draw_tone(config, rng), _draw_mixing(config, rng)
    has_slope, has_blur, has_noise = rng.random(3) < (config.spectrum_share, config.blur_share, config.noise_share)
    slope, blur_px, noise = rng.uniform(-config.spectrum, config.spectrum) * has_slope, rng.uniform(0, config.blur_px) * has_blur, rng.uniform(0, config.noise) * has_noise
    red, green, blue = (np.take(tone, rgb[:, channel]) for channel in range(3))
    colours = np.stack([row[0] * red + row[1] * green + row[2] * blue for row in mixing], 1)
    if slope or blur_px:
        weights = YIQ_FROM_RGB[0].astype(np.float32)  # of the lightness, where detail is
        lightness = weights[0] * colours[:, 0] + weights[1] * colours[:, 1] + weights[2] * colours[:, 2]
        colours += spectral_change(lightness, slope=slope, blur_px=blur_px)[:, None]
    if noise:
        colours += _noise(colours.shape, noise, rng)
    return np.rint(np.clip(colours, 0, 255, out=colours), out=colours).astype(np.uint8)


def _draw_tone(config: AugmentConfig, rng: np.random.Generator) -> Float32[Array, "256"]:
    """What each level becomes: gamma, brightness, contrast."""
    power = np.exp(rng.uniform(-config.gamma, config.gamma))
    brightness, contrast = (rng.uniform(1 - spread, 1 + spread) for spread in (config.brightness, config.contrast))
    levels = brightness * (np.arange(256) / 255) ** power
    return (255 * np.clip((levels - 0.5) * contrast + 0.5, 0, 1)).astype(np.float32)


def _draw_mixing(config: AugmentConfig, rng: np.random.Generator) -> Float32[Array, "3 3"]:
    """The linear map of colours that turns hues and stretches saturation, leaving lightness."""
    saturation = rng.uniform(1 - config.saturation, 1 + config.saturation)
    hue = np.radians(rng.uniform(-config.hue_deg, config.hue_deg))
    if rng.random() < config.grey_share:
        saturation = 0.0
    turn = saturation * np.array([[np.cos(hue), -np.sin(hue)], [np.sin(hue), np.cos(hue)]])
    change = np.eye(3)
    change[1:, 1:] = turn
    return (np.linalg.inv(YIQ_FROM_RGB) @ change @ YIQ_FROM_RGB).astype(np.float32)


def _noise(shape: tuple[int, ...], deviation: float, rng: np.random.Generator) -> Float32[Array, "frames 3 size size"]:
    """Normal noise of 256 equally likely sizes: eight times as fast as exact, and pictures are rounded to levels anyway."""
    quantiles = ndtri((np.arange(256) + 0.5) / 256)
    sizes = (quantiles * (deviation / quantiles.std())).astype(np.float32)
    return np.take(sizes, np.frombuffer(rng.bytes(int(np.prod(shape))), np.uint8)).reshape(shape)


def hide(rgb: UInt8[Array, "frames 3 size size"], config: AugmentConfig, rng: np.random.Generator) -> UInt8[Array, "frames 3 size size"]:
    """In shares of the clips: a rectangle of one colour over some frames in a row (Zhong et al., Random erasing data augmentation, AAAI 2020); one frame black."""
    covers, blacks = rng.random(2) < (config.cover, config.blackout)
    cover, black = rng.spawn(2)
    hidden = rgb.copy() if covers or blacks else rgb
    if covers:
        frames, rows, columns = _draw_rectangle(rgb.shape, cover)
        hidden[frames, :, rows, columns] = cover.integers(0, 256, 3, dtype=np.uint8)[:, None, None]
    if blacks and len(rgb) > 1:
        hidden[black.integers(1, len(rgb))] = 0
    return hidden


def _draw_rectangle(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, slice, slice]:
    """Frames, rows and columns of a rectangle inside the crop."""
    first, last = np.sort(rng.integers(0, shape[0], 2))
    area, aspect = rng.uniform(*COVER_AREA), np.exp(rng.uniform(*np.log(COVER_ASPECT)))
    sides = [max(1, round(shape[2] * np.sqrt(share))) for share in (area / aspect, area * aspect)]
    corner = [int(rng.integers(0, shape[2] - side + 1)) for side in sides]
    rows, columns = (slice(start, start + side) for start, side in zip(corner, sides, strict=True))
    return slice(int(first), int(last) + 1), rows, columns
