"""Photos behind the hand: a folder of the user's (VOC2012's layout too) or the built-in ones, and the patch of one that moves through a clip.

Built in: scikit-learn's two sample photos (CC-BY 2.0, attribution carried along), each cut in two halves so that every split has some, and procedural
textures. The splits share no photo, or of the built-in ones no half.
"""

import hashlib
import importlib.util
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from pydantic import Field

from seqgen.config import Section, interval
from seqgen.errors import UserError
from seqgen.scene.scene import Background
from seqgen.splits import SPLITS, SplitConfig, SplitName

Array = np.ndarray
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
NUM_TEXTURES = 16
TEXTURE_SIZE = (480, 360)
MAX_PHOTO_PX = 1600
CHECKED_PHOTOS = 2000
TAKEN_SHARE = 0.35  # of clips that are sure to have a photo behind them where there are any, however many textures there are
BUILT_IN_PHOTOS = {  # with whom to name
    "china": "photo by danielbuechele, flickr.com/photos/danielbuechele/6061409035, in scikit-learn",
    "flower": "photo by vultilion, flickr.com/photos/vultilion/6056698931, in scikit-learn",
}

HALVES = ("left", "right")

log = logging.getLogger(__name__)


class BackgroundConfig(Section):
    folder: str | None = None
    """a folder of photos, searched deeply; VOC2012's root works (its JPEGImages are taken); none: the built-in photos and textures"""
    speed: float = Field(0.15, ge=0, le=5)
    """standard deviation of the patch's speed, in frame widths a second"""
    zoom: interval(0.05, 20.0) = (0.8, 2.0)
    """photo pixels per picture pixel, least and most; less where the photo is too small"""


@dataclass(frozen=True)
class PhotoRef:
    """A photo that can be decoded when needed. `place`: a file, or the name of a built-in photo or texture. `source`: whom to name, where it is from."""

    name: str
    place: str
    licence: str
    source: str
    drawn: bool = False
    bytes: int = 0  # of the file


def list_photos(config: BackgroundConfig, split: SplitConfig) -> dict[SplitName, list[PhotoRef]]:
    """The photos of each split in use. A UserError when a folder holds no readable one."""
    if config.folder is None:
        halves = [(f"{name}-{half}", source) for name, source in BUILT_IN_PHOTOS.items() for half in HALVES]
        taken = [PhotoRef(name, name, "CC-BY-2.0", source) for name, source in halves]
        drawn = [PhotoRef(f"texture-{n:02d}", f"texture-{n:02d}", "CC0-1.0", "drawn by seqgen", drawn=True) for n in range(NUM_TEXTURES)]
        taken, drawn = _held_apart(taken, split), _held_apart(drawn, split)
        return {name: taken[name] + drawn[name] for name in taken}
    return _held_apart(_folder_photos(Path(config.folder)), split)


@lru_cache(maxsize=32)
def decode_photo(place: str) -> UInt8[Array, "height width 3"]:
    """The sRGB pixels of a photo, read-only; at most 1,600 pixels wide or high."""
    name, _, half = place.rpartition("-")
    if name in BUILT_IN_PHOTOS:
        whole = _decode_file(str(_sample_photos() / f"{name}.jpg"))
        pixels = np.array_split(whole, 2, axis=1)[HALVES.index(half)]
    elif place.startswith("texture-") and not Path(place).exists():
        pixels = draw_texture(np.random.default_rng(int(place.removeprefix("texture-"))))
    else:
        pixels = _decode_file(place)
    pixels = np.ascontiguousarray(pixels)
    pixels.flags.writeable = False
    return pixels


def _sample_photos() -> Path:
    """Where scikit-learn keeps its photos, found without importing it, which takes a second."""
    spec = importlib.util.find_spec("sklearn")
    return Path(spec.origin).parent / "datasets" / "images"


def _decode_file(place: str) -> UInt8[Array, "height width 3"]:
    try:
        with Image.open(place) as image:
            image.draft("RGB", (MAX_PHOTO_PX, MAX_PHOTO_PX))
            picture = image.convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{place}: photo cannot be decoded ({error}); remove it from background.folder") from None
    picture.thumbnail((MAX_PHOTO_PX, MAX_PHOTO_PX))
    return np.asarray(picture)


def draw_texture(rng: np.random.Generator) -> UInt8[Array, "height width 3"]:
    """A picture with the amplitude spectrum of natural ones, 1 / f^a with a about 1 (Field 1987), in a drawn palette."""
    width, height = TEXTURE_SIZE
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1.0 / max(TEXTURE_SIZE)
    fields = []
    for _ in range(3):
        spectrum = np.exp(2j * np.pi * rng.random(frequency.shape)) / frequency ** rng.uniform(1.1, 1.9)
        field = np.fft.irfft2(spectrum, s=(height, width))
        fields.append((field - field.mean()) / field.std())
    grey, tint = rng.uniform(70, 180), rng.normal(0, 14, 3)
    light = rng.uniform(14, 36) * (1 + rng.normal(0, 0.12, 3))  # most of a scene's contrast is in lightness (Ruderman et al. 1998)
    axes = np.stack([light, rng.normal(0, 9, 3), rng.normal(0, 6, 3)])
    if rng.random() < 0.4:  # things with edges: a few levels instead of a slope
        fields[0] = np.round(fields[0] * rng.uniform(0.8, 2.0))
    return np.clip(grey + tint + np.stack(fields, -1) @ axes, 0, 255).round().astype(np.uint8)


def draw_background(photos: list[PhotoRef], config: BackgroundConfig, *, size: tuple[int, int], frames: int, fps: float, rng: np.random.Generator) -> tuple[Background, PhotoRef]:
    """A photo and a patch of it that glides between two drawn places, at sub-pixel positions."""
    taken = [photo for photo in photos if not photo.drawn]
    pool = taken if taken and rng.random() < TAKEN_SHARE else photos
    photo = pool[int(rng.integers(len(pool)))]
    pixels = decode_photo(photo.place)
    room = np.array([pixels.shape[1] - 1, pixels.shape[0] - 1], float)
    extent = np.array(size, float) - 1
    most = (room / extent).min()  # a photo smaller than the frame is enlarged to fill it
    zoom = min(rng.uniform(*config.zoom), most) if extent.min() > 0 else 1.0
    free = np.maximum(room - zoom * extent, 0.0)
    start = rng.uniform(0.0, 1.0, 2) * free
    drift = rng.normal(0.0, config.speed * zoom * size[0] / fps, 2) * (frames - 1)
    end = np.clip(start + drift, 0.0, free)
    corner = start + np.linspace(0.0, 1.0, frames)[:, None] * (end - start)
    matrix = np.zeros((frames, 2, 3), np.float32)
    matrix[:, 0, 0] = matrix[:, 1, 1] = zoom
    matrix[:, :, 2] = corner
    return Background(pixels, matrix), photo


def _folder_photos(folder: Path) -> list[PhotoRef]:
    root = folder / "JPEGImages" if (folder / "JPEGImages").is_dir() else folder
    if not root.is_dir():
        raise UserError(f"background.folder {folder}: no such folder")
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    photos = [PhotoRef(str(path.relative_to(root)), str(path), "not stated", "the user's folder", bytes=path.stat().st_size) for path in _readable(files)]
    if not photos:
        raise UserError(f"background.folder {folder}: holds no readable image ({', '.join(sorted(SUFFIXES))})")
    return photos


def _readable(files: list[Path]) -> list[Path]:
    """The files that hold a picture; those that do not are named. Up to CHECKED_PHOTOS are decoded, at low resolution, so that a cut-off one shows now."""
    with ThreadPoolExecutor() as pool:
        good = list(pool.map(partial(_is_picture, decode=len(files) <= CHECKED_PHOTOS), files))
    for path in (path for path, ok in zip(files, good, strict=True) if not ok):
        log.warning("%s: not a readable image, left out", path)
    return [path for path, ok in zip(files, good, strict=True) if ok]


def _is_picture(path: Path, *, decode: bool) -> bool:
    try:
        with Image.open(path) as image:
            if decode:
                image.draft("RGB", (64, 64))
                image.load()
        return True
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def _held_apart(photos: list[PhotoRef], split: SplitConfig) -> dict[SplitName, list[PhotoRef]]:
    """Photos dealt to the splits in proportion, in the order of their names' hashes, at least one each."""
    used = [name for name in SPLITS if split.counts()[name] > 0]
    if len(photos) < len(used):
        log.warning("only %d photos for %d splits: they are shared", len(photos), len(used))
        return {name: photos for name in used}
    order = sorted(photos, key=lambda photo: hashlib.sha256(photo.name.encode()).hexdigest())
    total, dealt, begin = sum(split.counts().values()), {}, 0
    for place, name in enumerate(used):
        left = len(used) - place - 1
        count = len(order) - begin if not left else min(max(1, round(len(order) * split.counts()[name] / total)), len(order) - begin - left)
        dealt[name] = order[begin : begin + count]
        begin += count
    return dealt
