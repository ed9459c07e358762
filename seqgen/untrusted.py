"""Files from others, read within limits: numpy arrays and pictures, as data and nothing else.

A file of some kilobytes may claim, or unpack to, more than a machine holds, and a file that is named like a picture may be a program's. So what a header
claims is held against what is there before anything is made of it, an archive's members may be so many times larger than the archive and no more,
headers of arrays are matched and not evaluated, nothing is unpickled, and pictures are of the few formats named here: Pillow knows some that start programs.

Raises `Damaged`, whose text says what is wrong in a few words; where it is wrong, and what to do, is for the reader to say.
"""

import math
import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from seqgen.turns import Turns

Array = np.ndarray
MAX_PIXELS = 2**26  # of a picture: 8192 x 8192, 200 MB of RGB
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
UPRIGHT = dict(enumerate(map(Image.Transpose, (0, 3, 1, 5, 4, 6, 2)), 2))  # what sets a picture upright, by its EXIF orientation
ORIENTATION = 0x0112  # the EXIF tag
FREE_BYTES, MOST_GROWTH = 64 * 2**20, 20  # an archive may unpack to either: so many bytes, or so many times its own size
NPY_MAGIC = re.compile(rb"\x93NUMPY([\1\2\3])\0")
NPY_HEADER = re.compile(r"\{\s*'descr':\s*(?P<descr>.+?),\s*'fortran_order':\s*(?P<fortran>True|False),\s*'shape':\s*\((?P<shape>[\d,\sL]*)\),?\s*\}\s*")
NPY_TYPE = re.compile(r"'([<>|=]?)([biufcSU])(\d{1,9})'")
MAX_HEADER = 10_000  # bytes: numpy's own limit
_pillow = Turns()  # what Pillow finds odd it says as warnings, whose filters all threads share


class Damaged(ValueError):
    """A file is not what it should be; the text says what is wrong, not where."""


class Picture(NamedTuple):
    """A decoded picture, its size (width, height) as stored, and what sets it upright, if it is not."""

    image: Image.Image
    size: tuple[int, int]
    turn: Image.Transpose | None


def read_picture(source: Path | BufferedIOBase, *, size: tuple[int, int] | None = None, at_least: int | None = None, decode: bool = True) -> Picture:
    """A picture of one of FORMATS with at most MAX_PIXELS, or of that (width, height) only. Raises Damaged, and OSError where there is no such file.

    `at_least`: a JPEG may come out smaller, its longer side no shorter than that, for a third of the time. With `decode=False` there are size, mode and turn alone.
    """
    if isinstance(source, Path):
        with open(source, "rb") as file:
            return read_picture(file, size=size, at_least=at_least, decode=decode)
    with _pillow_alone():
        image = Image.open(source, formats=FORMATS)
        if size not in (None, image.size):
            raise Damaged(f"its header says {image.size[0]} x {image.size[1]} pixels, expected {size[0]} x {size[1]}")
        size = image.size
        if size[0] * size[1] > MAX_PIXELS:
            raise Damaged(f"its header says {size[0]:,} x {size[1]:,} pixels, more than {MAX_PIXELS:,} are not read")
        if at_least is not None and max(size) > at_least:
            image.draft("RGB", tuple(math.ceil(side * at_least / max(size)) for side in size))
        if decode:
            image.load()
        return Picture(image, size, UPRIGHT.get(_orientation(image)))


def converted(image: Image.Image, mode: str) -> Image.Image:
    """A decoded picture in another of Pillow's modes. Raises Damaged where Pillow has no way from one to the other."""
    with _pillow_alone():
        return image.convert(mode)


@contextmanager
def _pillow_alone() -> Iterator[None]:
    """For Pillow's own work, by one thread at a time, without its warnings."""
    with _pillow.take(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        except Damaged:
            raise
        except Image.DecompressionBombError:
            raise Damaged(f"its header says more pixels than the {MAX_PIXELS:,} that are read") from None
        except Exception as error:  # its codecs raise whatever comes of damaged bytes
            raise Damaged(" ".join(str(error).split()).replace(" <_io.BytesIO object at", "").partition(" 0x")[0] or type(error).__name__) from None


def _orientation(image: Image.Image) -> object:
    """The EXIF orientation; upright where the EXIF data are damaged: the pixels are not."""
    try:
        value = image.getexif().get(ORIENTATION)
    except Exception:  # as above
        return None
    return value if isinstance(value, int) else None


def npz_names(source: Path | BufferedIOBase) -> list[str]:
    """The names of the arrays in an .npz archive."""
    with _opened(source) as archive:
        return [_array_name(info) for info in archive.infolist()]


def read_npz(source: Path | BufferedIOBase, names: tuple[str, ...] | None = None, *, most_bytes: int | None = None) -> dict[str, Array]:
    """The arrays of an .npz archive, or those of them that are named. They unpack to at most `most_bytes`; otherwise see FREE_BYTES."""
    with _opened(source) as archive:
        chosen = {name: info for info in archive.infolist() if (name := _array_name(info)) and (names is None or name in names)}
        limit = max(FREE_BYTES, MOST_GROWTH * sum(info.compress_size for info in chosen.values())) if most_bytes is None else most_bytes
        claimed = sum(info.file_size for info in chosen.values())
        if claimed > limit:
            raise Damaged(f"it unpacks to {claimed:,} bytes, more than {limit:,} are not read")
        return {name: _member(archive, info, name) for name, info in chosen.items()}


@contextmanager
def _opened(source: Path | BufferedIOBase) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(source) as archive:
            yield archive
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:  # the latter: encrypted, newer than Python's
        raise Damaged(f"damaged archive: {error}") from None


def _array_name(info: zipfile.ZipInfo) -> str:
    return info.filename.removesuffix(".npy")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Array:
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others' dictionaries may claim gigabytes
        raise Damaged(f"{name} is packed in a way that numpy does not write")
    try:
        with archive.open(info) as member:
            return read_npy(member, info.file_size)
    except Damaged as error:
        raise Damaged(f"{error}, in {name}") from None


class NpyHeader(NamedTuple):
    """Type, shape and order of an array, and the byte at which its numbers begin."""

    dtype: np.dtype
    shape: tuple[int, ...]
    order: str
    offset: int

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def npy_header(stream: BufferedIOBase) -> NpyHeader:
    """The header of an .npy file as numpy writes it, of an array of plain numbers or text."""
    found = NPY_MAGIC.fullmatch(stream.read(8))
    if found is None:
        raise Damaged("it has no header of an array")
    count = 2 if found[1] == b"\1" else 4
    length = int.from_bytes(stream.read(count), "little")
    if length > MAX_HEADER:
        raise Damaged(f"the header of an array claims {length:,} bytes")
    header = NPY_HEADER.fullmatch(stream.read(length).decode("latin1"))
    if header is None:
        raise Damaged("the header of an array is damaged")
    kind = NPY_TYPE.fullmatch(header["descr"])
    if kind is None or not int(kind[3]):
        raise Damaged("Object arrays cannot be loaded when allow_pickle=False" if "O" in header["descr"] else f"an array of {header['descr'][:40]!a} is none of plain numbers")
    try:
        dtype = np.dtype("".join(kind.groups()))
    except TypeError:
        raise Damaged(f"there are no numbers of type {header['descr']}") from None
    shape = tuple(int(side.rstrip("L ")) for side in header["shape"].split(",") if side.strip())
    return NpyHeader(dtype, shape, "F" if header["fortran"] == "True" else "C", 8 + count + length)


def read_npy(stream: BufferedIOBase, num_bytes: int) -> Array:
    """The array of an .npy file of so many bytes. Whatever its header claims, no more is read."""
    header = npy_header(stream)
    if header.num_bytes != num_bytes - header.offset:
        raise Damaged(f"its header says {header.shape} of {header.dtype}, {header.num_bytes:,} bytes, and {num_bytes - header.offset:,} follow")
    numbers = bytearray(stream.read(header.num_bytes))  # one's own, to be written to
    if len(numbers) != header.num_bytes:
        raise Damaged(f"it is cut short after {header.offset + len(numbers):,} bytes")
    return np.frombuffer(numbers, header.dtype).reshape(header.shape, order=header.order)
