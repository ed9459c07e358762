"""Other people's depth pictures in millimetres, as ours: uint16 in tenths of millimetres, 0 = nothing.

What is 6.5535 m away or more cannot be counted so, and is as nothing: no hand is there, and some data sets write 32001 mm where there was no reading.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt16

from seqgen.errors import UserError
from seqgen.untrusted import Damaged, read_picture

Array = np.ndarray
MOST_MM = 6553


def read_depth_mm(path: Path, *, size: tuple[int, int]) -> UInt16[Array, "height width"]:
    """A PNG of one channel of 16 bits, counting millimetres, of `size` = (width, height)."""
    mode, counts = _decoded(path)
    if not mode.startswith("I") or counts.ndim != 2:
        raise UserError(f"{path}: is a picture of mode {mode}; expected depth, one channel of 16 bits")
    return _tenths(_of_size(counts, path, size).astype(np.uint16))


def read_packed_depth_mm(path: Path, *, size: tuple[int, int]) -> UInt16[Array, "height width"]:
    """A PNG of three channels of 8 bits whose green is the high byte of the millimetres and blue the low one; red says nothing (NYU)."""
    mode, colours = _decoded(path)
    if mode != "RGB":
        raise UserError(f"{path}: is a picture of mode {mode}; expected depth in the green and blue of three channels")
    _, green, blue = np.moveaxis(_of_size(colours, path, size), -1, 0)
    return _tenths(green.astype(np.uint16) * np.uint16(256) + blue)


def _decoded(path: Path) -> tuple[str, Array]:
    try:
        image = read_picture(path).image
        return image.mode, np.asarray(image)
    except FileNotFoundError:
        raise UserError(f"{path}: the depth picture is missing; unpack the data set again") from None
    except (OSError, Damaged) as error:
        raise UserError(f"{path}: cannot be decoded as an image ({error}); unpack the data set again") from None


def _of_size(picture: Array, path: Path, size: tuple[int, int]) -> Array:
    if picture.shape[1::-1] != size:
        raise UserError(f"{path}: is {picture.shape[1]} x {picture.shape[0]}, the camera is known for {size[0]} x {size[1]} only")
    return picture


def _tenths(depth_mm: Integer[Array, "height width"]) -> UInt16[Array, "height width"]:
    """Millimetres in tenths of them, exactly."""
    return np.where(depth_mm <= MOST_MM, depth_mm, 0).astype(np.uint16) * np.uint16(10)
