"""Photos to put behind the hand: a folder of the user's (VOC2012's layout too) or the built-in ones, listed by the driver and decoded by the workers.

Built in: scikit-learn's two sample photos (CC-BY 2.0, attribution carried along), each cut in two halves so that every split has some, and procedural
textures. The splits share no photo, or of the built-in ones no half.
"""

import importlib.util
import logging
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from seqgen.errors import UserError
from seqgen.scene.surroundings.textures import TEXTURE_SIZE, kept_textures
from seqgen.splits import SplitConfig, SplitName, held_apart
from seqgen.turns import Turns
from seqgen.untrusted import Damaged, converted, read_picture

Array = np.ndarray
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}
NUM_TEXTURES = 32
MAX_PHOTO_PX = 1600
CHECKED_PHOTOS = 2000
CHECKED_PX = 64
CACHE_BYTES = 128 * 2**20
BUILT_IN_PHOTOS = {  # with whom to name
    "china": "photo by danielbuechele, flickr.com/photos/danielbuechele/6061409035, in scikit-learn",
    "flower": "photo by vultilion, flickr.com/photos/vultilion/6056698931, in scikit-learn",
}
HALVES = ("left", "right")
HALF_SIZE = (320, 427)
LYING = (Image.Transpose.TRANSPOSE, Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270)  # what turns a picture onto its other side

log = logging.getLogger(__name__)
_decoded: OrderedDict[str, UInt8[Array, "height width 3"]] = OrderedDict()  # of this process, those used last at the end
_keeping = Turns()


@dataclass(frozen=True)
class PhotoRef:
    """A photo that can be decoded when needed. `place`: the absolute path of a file, or the name of a built-in photo or texture. `source`: whom to name, where it is from."""

    name: str
    place: str
    licence: str
    source: str
    size: tuple[int, int]  # width, height
    drawn: bool = False
    bytes: int = 0  # of the file


def list_photos(folder: str | None, split: SplitConfig, frame_size: tuple[int, int]) -> dict[SplitName, list[PhotoRef]]:
    """The photos of each split in use; built-in ones without a folder. A UserError when a folder holds no readable one.

    A photo smaller than a frame, whose (width, height) is `frame_size`, will be enlarged; how many are is said here, once.
    """
    groups = [_folder_photos(Path(folder))] if folder is not None else [_built_in_photos(), _textures()]
    photos = [photo for group in groups for photo in group]
    small = sum(photo.size[0] < frame_size[0] or photo.size[1] < frame_size[1] for photo in photos)
    if small and folder is not None:  # of the built-in ones nobody chose the size
        log.warning("background.folder %s: %d of %d pictures are smaller than the frame (%d x %d) and will be enlarged", folder, small, len(photos), *frame_size)
    dealt = [held_apart(group, split, what="photos") for group in groups]
    return {name: [photo for group in dealt for photo in group[name]] for name in dealt[0]}


def decode_photo(place: str) -> UInt8[Array, "height width 3"]:
    """The sRGB pixels of a photo, upright, read-only, at most 1,600 pixels wide or high; those used last are kept, up to CACHE_BYTES."""
    with _keeping.take():
        if place not in _decoded:
            _decoded[place] = np.ascontiguousarray(_decode(place))
            _decoded[place].flags.writeable = False
            while len(_decoded) > 1 and sum(kept.nbytes for kept in _decoded.values()) > CACHE_BYTES:
                _decoded.popitem(last=False)
        _decoded.move_to_end(place)
        return _decoded[place]


def _decode(place: str) -> UInt8[Array, "height width 3"]:
    if Path(place).is_absolute():
        return _decode_file(place)
    name, _, half = place.rpartition("-")
    if name in BUILT_IN_PHOTOS:
        whole = _decode_file(str(_sample_photos() / f"{name}.jpg"))
        return np.array_split(whole, 2, axis=1)[HALVES.index(half)]
    return kept_textures(NUM_TEXTURES)[int(place.removeprefix("texture-"))]


def _decode_file(place: str) -> UInt8[Array, "height width 3"]:
    try:
        size = read_picture(Path(place), decode=False).size
        photo = read_picture(Path(place), at_least=MAX_PHOTO_PX // 2 if max(size) > MAX_PHOTO_PX else None)
        picture = converted(photo.image, "RGB")
    except (OSError, Damaged) as error:
        raise UserError(f"{place}: photo cannot be decoded ({error}); remove it from background.folder") from None
    picture.thumbnail((MAX_PHOTO_PX, MAX_PHOTO_PX))
    return np.asarray(picture if photo.turn is None else picture.transpose(photo.turn))


def _built_in_photos() -> list[PhotoRef]:
    return [PhotoRef(f"{name}-{half}", f"{name}-{half}", "CC-BY-2.0", source, HALF_SIZE) for name, source in BUILT_IN_PHOTOS.items() for half in HALVES]


def _textures() -> list[PhotoRef]:
    """Listed by the driver, they are drawn here, once, for all workers."""
    kept_textures(NUM_TEXTURES)
    return [PhotoRef(f"texture-{n:02d}", f"texture-{n:02d}", "CC0-1.0", "drawn by seqgen", TEXTURE_SIZE, drawn=True) for n in range(NUM_TEXTURES)]


def _sample_photos() -> Path:
    """Where scikit-learn keeps its photos, found without importing it, which takes a second."""
    spec = importlib.util.find_spec("sklearn")
    return Path(spec.origin).parent / "datasets" / "images"


def _folder_photos(folder: Path) -> list[PhotoRef]:
    root = folder / "JPEGImages" if (folder / "JPEGImages").is_dir() else folder
    if not root.is_dir():
        raise UserError(f"background.folder {folder}: no such folder")
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    licence, source = "not stated", "the user's folder"
    sizes = _readable(files)
    if not sizes:
        raise UserError(f"background.folder {folder}: holds no readable image ({', '.join(sorted(SUFFIXES))})")
    unreadable = {path: error for path, error in sizes.items() if isinstance(error, Damaged)}
    if len(unreadable) == len(sizes):
        path, error = next(iter(unreadable.items()))
        raise UserError(f"background.folder {folder}: holds no readable image; {path.relative_to(root)} is none ({error})")
    for path, error in unreadable.items():
        log.warning("%s: not a readable image, left out (%s)", path, error)
    there = ((path, size) for path, size in sizes.items() if path not in unreadable)
    return [PhotoRef(str(path.relative_to(root)), str(path.absolute()), licence, source, size, bytes=path.stat().st_size) for path, size in there]


def _readable(files: list[Path]) -> dict[Path, tuple[int, int] | Damaged]:
    """The sizes of pictures, or why a file holds none. Up to CHECKED_PHOTOS are decoded, at low resolution, so that a cut-off one shows now."""
    return {path: _picture_size(path, decode=len(files) <= CHECKED_PHOTOS) for path in files}


def _picture_size(path: Path, *, decode: bool) -> tuple[int, int] | Damaged:
    """Width and height of a picture when upright."""
    try:
        photo = read_picture(path, at_least=CHECKED_PX, decode=decode)
    except Damaged as error:
        return error
    except OSError as error:
        return Damaged(error.strerror)
    return photo.size[::-1] if photo.turn in LYING else photo.size
