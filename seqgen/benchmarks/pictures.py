"""Other people's pictures: decoded when asked for, with the file's name in every complaint. Pixels are sRGB of 8 bits, whatever the file holds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from seqgen.errors import UserError
from seqgen.untrusted import Damaged, converted, read_picture

Array = np.ndarray
WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")


def read_upright(path: Path) -> UInt8[Array, "height width 3"]:
    """A picture turned as its EXIF says; what is see-through lies on white. A UserError when it cannot be decoded."""
    picture, turn = _decoded(path, "RGB", ground="white")
    return np.array(picture if turn is None else picture.transpose(turn))


def read_rgb(paths: Sequence[Path]) -> UInt8[Array, "frames height width 3"]:
    """The pictures of a labelled clip, all of one size and none to be turned; what is see-through lies on white."""
    pictures = [_as_stored(path, "RGB", ground="white") for path in paths]
    for path, picture in zip(paths, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            raise UserError(f"{path}: is {_size(picture)}, the clip's first picture {_size(pictures[0])}; a clip has one size")
    return np.stack(pictures)


def read_mask(path: Path, *, above: int, size: tuple[int, int]) -> Bool[Array, "height width"]:
    """Where a grey picture is brighter than `above`, and not see-through; its (width, height) must be `size`."""
    grey = _as_stored(path, "L", ground="black")
    if grey.shape != size[::-1]:
        raise UserError(f"{path}: is {_size(grey)}, its picture {size[0]} x {size[1]}")
    return grey > above


def names_in(folder: Path) -> set[str]:
    """Names of the files of a folder; none where there is no such folder."""
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def _as_stored(path: Path, mode: str, *, ground: str) -> Array:
    """The pixels of a labelled picture. One that is to be turned is refused: its labels may be of either way to see it."""
    picture, turn = _decoded(path, mode, ground=ground)
    if turn is not None:
        raise UserError(f"{path}: its EXIF says to turn it, and labels do not say of which way it is; save it upright, without the EXIF orientation, to fit its labels")
    return np.asarray(picture)


def _decoded(path: Path, mode: str, *, ground: str) -> tuple[Image.Image, Image.Transpose | None]:
    """A picture as it is stored, and how its EXIF says to turn it."""
    try:
        image, _, turn = read_picture(path)
        see_through = image.mode in WITH_ALPHA or "transparency" in image.info
        return converted(_laid_on(ground, converted(image, "RGBA")) if see_through else _eight_bits(image), mode), turn
    except FileNotFoundError:
        raise UserError(f"{path}: the picture is missing; unpack the data set again") from None
    except (OSError, Damaged) as error:
        raise UserError(f"{path}: cannot be decoded as an image ({error}); remove it, save it again, or unpack the data set again") from None


def _laid_on(ground: str, image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, ground), image)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Grey pictures of 16 bits hold 0 to 65535; Pillow's own conversion cuts them off at 255."""
    return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)) if image.mode.startswith("I") else image


def _size(picture: Array) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"
