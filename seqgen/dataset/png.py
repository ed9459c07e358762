"""PNG pictures written for speed: every row as its difference from the row above (filter "Up"), deflated as runs (zlib's Z_RLE).

For label pictures this is better than what Pillow writes (a filter chosen for each row, level 1), mean over 150 frames of 224x224 on one core:

    depth, 16 bit     0.22 ms, 8.5 kB   (Pillow 0.50 ms, 7.8 kB)        depth with sensor noise   0.23 ms, 11.3 kB   (0.66 ms, 12.9 kB)
    parts, 8 bit      0.05 ms, 1.2 kB   (Pillow 0.16 ms, 1.7 kB)        normals, 3 x 8 bit        0.35 ms, 17.1 kB   (1.03 ms, 17.7 kB)

The format is that of the W3C's "Portable Network Graphics (PNG) Specification", third edition; any reader takes it.
"""

import struct
import zlib

import numpy as np
from jaxtyping import UInt8, UInt16

Array = np.ndarray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB = 0, 2  # colour types
UP = 2  # filter type
LEVEL, WINDOW_BITS, MEMORY = 1, 15, 9  # of deflate; the level is without effect on runs


def encode_png(picture: UInt8[Array, "height width *channels"] | UInt16[Array, "height width"]) -> bytes:
    """A picture of one or three channels of eight bits, or of one of sixteen. The same picture gives the same bytes with the same zlib."""
    height, width, *channels = picture.shape
    if channels not in ([], [3]):
        raise ValueError(f"a picture of shape {picture.shape} is neither grey nor RGB")
    header = struct.pack(">IIBBBBB", width, height, 8 * picture.itemsize, RGB if channels else GREY, 0, 0, 0)
    deflate = zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW_BITS, MEMORY, zlib.Z_RLE)
    pixels = deflate.compress(_filtered(picture)) + deflate.flush()
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _filtered(picture: UInt8[Array, "height width *channels"] | UInt16[Array, "height width"]) -> UInt8[Array, "height bytes"]:
    """Rows of bytes, high byte first, less the row above, each after the filter's number."""
    rows = picture.astype(picture.dtype.newbyteorder(">"), order="C").view(np.uint8).reshape(len(picture), -1)
    lines = np.empty((rows.shape[0], rows.shape[1] + 1), np.uint8)
    lines[:, 0], lines[0, 1:] = UP, rows[0]
    np.subtract(rows[1:], rows[:-1], out=lines[1:, 1:])  # modulo 256, as the filter asks for
    return lines


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))
