"""PNG pictures written for speed: one filter for the whole picture, deflated as runs by zlib-ng (`zlib_ng`).

Labels are runs of few numbers and stay as they are; depth and normals become the difference of every row from the one above ("Up"). What other filters and
libraries would give is in `docs/benchmarks/encoding.md`. Runs are found without a table of what was before, so the bytes are those of zlib itself.

The format is that of the W3C's "Portable Network Graphics (PNG) Specification", third edition; any reader takes it.
"""

import struct

import numpy as np
from jaxtyping import UInt8, UInt16
from zlib_ng import zlib_ng

Array = np.ndarray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2  # colour types
NONE, UP = 0, 2  # filter types
LEVEL, WINDOW_BITS, MEMORY = 1, 15, 9  # of deflate; the level is without effect on runs


def encode_png(picture: UInt8[Array, "height width *channels"] | UInt16[Array, "height width"]) -> bytes:
    """A picture of one or three channels of eight bits, or of one of sixteen. The same picture gives the same bytes with the same zlib-ng."""
    height, width, *channels = picture.shape
    if channels not in ([], [3]):
        raise ValueError(f"a picture of shape {picture.shape} is neither grey nor RGB")
    header = struct.pack(">IIBBBBB", width, height, 8 * picture.itemsize, RGB if channels else GREY, 0, 0, 0)
    deflate = zlib_ng.compressobj(LEVEL, zlib_ng.DEFLATED, WINDOW_BITS, MEMORY, zlib_ng.Z_RLE)
    pixels = deflate.compress(_filtered(picture)) + deflate.flush()
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _filtered(picture: UInt8[Array, "height width *channels"] | UInt16[Array, "height width"]) -> UInt8[Array, "height bytes"]:
    """Rows of bytes, high byte first, each after its filter's number; less the row above where that is worth it."""
    rows = picture.astype(picture.dtype.newbyteorder(">"), order="C", copy=False).view(np.uint8).reshape(len(picture), -1)
    lines = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    if picture.ndim == 2 and picture.itemsize == 1:
        lines[:, 0], lines[:, 1:] = NONE, rows
    else:
        lines[:, 0], lines[0, 1:] = UP, rows[0]
        np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])  # modulo 256, as the filter asks for
    return lines


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib_ng.crc32(data, zlib_ng.crc32(kind)))
