"""Files that are wrong on purpose, by kind, and the one way in which a command must refuse them."""

import io
import json
import logging
import pickle
import re
import struct
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seqgen.cli import main

Array = np.ndarray
Made = list[object]  # the words of a command
Row = tuple[Callable[[Path], Made], str]  # makes a malformed input in a folder and gives the words that name it; what the one line says, as a pattern


def call(*words: object) -> int:
    """The exit code of a command, run here."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(sys, "argv", ["seqgen", *map(str, words)])
        main()
    return stopped.value.code


def check_refused(words: Made, pattern: str, out: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    """Exit code 2; one line on stderr, warnings counted, without a traceback; it says what it should, and nothing was written."""
    capsys.readouterr()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        code = call(*words, "--out", out)
    error = capsys.readouterr().err
    lines = [*error.splitlines(), *(record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING)]
    assert code == 2, error
    assert len(lines) == 1 and lines[0].startswith("seqgen: ") and "Traceback" not in error, lines
    assert lines[0].isprintable() and len(lines[0]) < 700, lines[0]
    assert re.search(pattern, lines[0]), lines[0]
    assert not out.exists()


def put(folder: Path, name: str, content: bytes | str) -> Path:
    """A file of that content."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


class Touch:
    """Pickled, it makes a file when somebody reads it freely."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.place,)


def harm(folder: Path) -> Path:
    """The file that there is once a `Touch` was run."""
    return folder / "harm"


# --- numpy ---


def npy(array: Array, *, objects: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=objects)
    return stream.getvalue()


def npz(**arrays: Array) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def lying_npy(shape: object, descr: object = "<f8", data: bytes = b"") -> bytes:
    """A .npy whose header claims what does not follow."""
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def zipped(members: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return stream.getvalue()


def bomb_npy(num_bytes: int, shape: tuple[int, ...]) -> bytes:
    """Zeros, to be packed; whole, so that only their number is wrong."""
    return lying_npy(shape, "<f8", bytes(num_bytes))


def bomb_npz(name: str, num_bytes: int, shape: tuple[int, ...]) -> bytes:
    """An archive a thousand times smaller than what is in it, packed piece by piece."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w", force_zip64=True) as member:
        member.write(lying_npy(shape))
        for _ in range(num_bytes // 2**20):
            member.write(bytes(2**20))
    return stream.getvalue()


# --- pictures ---


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int = 8, height: int = 8, *, extra: bytes = b"", pixels: bytes | None = None, depth: int = 8, colours: int = 2) -> bytes:
    """A PNG of black, or one whose header lies about the pixels that follow."""
    channels = 3 if colours == 2 else 1
    rows = zlib.compress(bytes((1 + channels * width * depth // 8) * height) if pixels is None else pixels)
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@lru_cache
def zeros_deflated(num_bytes: int) -> bytes:
    packer = zlib.compressobj(9)
    return b"".join(packer.compress(bytes(2**20)) for _ in range(num_bytes // 2**20)) + packer.flush()


def picture(kind: str = "JPEG", size: tuple[int, int] = (64, 48)) -> bytes:
    """Colours that run across."""
    y, x = np.mgrid[: size[1], : size[0]]
    pixels = np.stack([x * 255 // size[0], y * 255 // size[1], (x + y) % 256], -1).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def lying_jpeg(width: int, height: int) -> bytes:
    """A JPEG whose frame header has another size than its pixels."""
    data = picture()
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def lying_bmp(width: int, height: int) -> bytes:
    data = bytearray(picture("BMP"))
    data[18:26] = struct.pack("<ii", width, height)
    return bytes(data)


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n(%pipe%touch harm) (w) file\nshowpage\n"
BAD_PICTURES: dict[str, tuple[bytes, str]] = {
    "nothing in it": (b"", "cannot identify|is none"),
    "text": (b"no picture", "cannot identify"),
    "a program in PostScript": (POSTSCRIPT, "cannot identify"),
    "cut short": (picture()[:500], "[Tt]runcated|broken|cannot identify"),
    "a PNG of 50,000 x 50,000": (png(50_000, 50_000, pixels=b""), "pixels"),
    "a JPEG that lies about its size": (lying_jpeg(60_000, 60_000), "pixels"),
    "a BMP of two thousand million columns": (lying_bmp(2**31 - 1, 8), "pixels|cannot identify"),
    "a bomb in a text chunk": (png(extra=chunk(b"zTXt", b"Comment\0\0" + zeros_deflated(200 * 2**20))), "too large|Decompressed"),
    "a bomb in a colour profile": (png(extra=chunk(b"iCCP", b"icc\0\0" + zeros_deflated(200 * 2**20))), "too large|Decompressed"),
    "a chunk that claims two gigabytes": (png()[:33] + struct.pack(">I", 2**31 - 1) + b"IDAT" + b"\0" * 40, "truncated|broken|cannot identify"),
    "a wrong sum of a chunk": (png()[:30] + b"\0\0" + png()[32:], "cannot identify|broken|checksum"),
}


# --- archives ---


def header(name: str, size: int = 0, *, kind: bytes = tarfile.REGTYPE, link: str = "") -> bytes:
    """A tar header, sound but for what it says."""
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, link
    return info.tobuf(tarfile.GNU_FORMAT)


def replaced(path: Path, name: str, data: bytes | None) -> None:
    """Another content for one member of a tar, or none."""
    with tarfile.open(path) as archive:
        members = [(info.name, archive.extractfile(info).read()) for info in archive]
    assert name in dict(members)
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for member, content in members:
            new = content if member != name else data
            if new is not None:
                info = tarfile.TarInfo(member)
                info.size = len(new)
                archive.addfile(info, io.BytesIO(new))


def edited(path: Path, change: Callable[[dict], None]) -> None:
    """A JSON file after a change."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def safetensors(header: object, data: bytes = b"") -> bytes:
    """A file of that header and those bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def pickled(value: object) -> bytes:
    return pickle.dumps(value)
