"""Arrays as `.npy` and `.npz`: the bytes that numpy and `zipfile` write, stored, without a date, in a tenth of the time for many small arrays.

Formats: `numpy.lib.format`, version 1.0; PKWARE's .ZIP File Format Specification (APPNOTE.TXT), 4.3.7, 4.3.12 and 4.3.16.
"""

import io
import struct
import zlib
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

Array = np.ndarray

EARLIEST = 1 << 5 | 1  # the first of January 1980, before which a zip has no dates
VERSION, UNIX, READABLE = 20, 3, 0o600 << 16  # of the format that it takes to read this; the system whose attributes a member has; those
MOST_BYTES = 2**32 - 1  # of an archive without extensions


def encode_npy(array: Array) -> bytes:
    """An array in numpy's own format."""
    return _header(array.dtype, array.shape) + array.tobytes()


def encode_npz(arrays: Mapping[str, Array]) -> bytes:
    """Arrays under their names, uncompressed: floats of a moving hand do not shrink. ValueError where they are more than a zip of the first kind holds."""
    members, directory, at = [], [], 0
    for name, array in arrays.items():
        data, file = encode_npy(array), f"{name}.npy".encode()
        about = struct.pack("<HHHHIIIHH", 0, 0, 0, EARLIEST, zlib.crc32(data), len(data), len(data), len(file), 0)
        members += [struct.pack("<4sH", b"PK\3\4", VERSION), about, file, data]
        directory += [struct.pack("<4sBBH", b"PK\1\2", VERSION, UNIX, VERSION), about, struct.pack("<HHHII", 0, 0, 0, READABLE, at), file]
        at += 30 + len(file) + len(data)
    size = sum(map(len, directory))
    if at + size > MOST_BYTES:
        raise ValueError(f"{at + size} bytes of arrays are too many for one .npz")
    return b"".join([*members, *directory, struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, len(arrays), len(arrays), size, at, 0)])


@lru_cache(maxsize=256)
def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape})
    return stream.getvalue()
