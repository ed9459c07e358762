"""Pictures of other people's data sets: decoded when asked for, with the file's name in every complaint."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from seqgen.errors import UserError

Array = np.ndarray


def read_rgb(paths: Sequence[Path]) -> UInt8[Array, "frames height width 3"]:
    """The pictures of a clip, all of one size."""
    pictures = [_decoded(path, "RGB") for path in paths]
    for path, picture in zip(paths, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            raise UserError(f"{path}: is {_size(picture)}, the clip's first picture {_size(pictures[0])}; a clip has one size")
    return np.stack(pictures)


def read_mask(path: Path, *, above: int, size: tuple[int, int]) -> Bool[Array, "height width"]:
    """Where a grey picture is brighter than `above`; its (width, height) must be `size`."""
    grey = _decoded(path, "L")
    if grey.shape != size[::-1]:
        raise UserError(f"{path}: is {_size(grey)}, its picture {size[0]} x {size[1]}")
    return grey > above


def names_in(folder: Path) -> set[str]:
    """Names of the files of a folder; none where there is no such folder."""
    return {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()


def _decoded(path: Path, mode: str) -> Array:
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert(mode))
    except FileNotFoundError:
        raise UserError(f"{path}: the picture is missing; unpack the data set again") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's decoders raise all of these over damaged files
        raise UserError(f"{path}: cannot be decoded ({error}); unpack the data set again") from None


def _size(picture: Array) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"
