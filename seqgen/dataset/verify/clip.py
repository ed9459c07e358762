"""The members of one stored clip, decoded whole: what is damaged in them, each told in a line that begins with the member's name.

Stricter than reading: a PNG is what `seqgen.dataset.png` writes, with its checksums, which Pillow looks at in part, and a JPEG ends where its file ends.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping

from seqgen.dataset.encoding import FRAME_MEMBERS, decode_meta, decode_pictures, decode_sequence
from seqgen.dataset.png import SIGNATURE
from seqgen.dataset.sequence import HandSequence
from seqgen.errors import UserError

PNG_CHUNKS = [b"IHDR", b"IDAT", b"IEND"]
JPEG_BEGIN, JPEG_END = b"\xff\xd8", b"\xff\xd9"


def decode_clip(key: str, members: Mapping[str, bytes]) -> tuple[HandSequence | None, list[str]]:
    """The clip, None where it cannot be decoded, and what is damaged; `members` by their names after the key."""
    faults = [f"{name} {fault}" for name, data in members.items() for fault in _file_faults(name, data)]
    try:
        return decode_sequence(key, members), faults
    except UserError as error:
        told = dict.fromkeys([*faults, str(error), *_damaged_pictures(key, members)])
    return None, [fault.removeprefix(f"{key}.") for fault in told]


def _damaged_pictures(key: str, members: Mapping[str, bytes]) -> Iterator[str]:
    """All that cannot be decoded of the pictures that are there, where the clip as a whole cannot."""
    try:
        meta = decode_meta(key, members)
    except UserError:
        return
    for name in members:
        frame, _, kind = name.partition(".")
        if kind in FRAME_MEMBERS:
            try:
                decode_pictures(key, kind, members, meta, [int(frame)])
            except UserError as error:
                yield str(error)


def _file_faults(name: str, data: bytes) -> Iterator[str]:
    """What is wrong with a file without decoding it."""
    if name.endswith(".png"):
        yield from _png_faults(data)
    elif name.endswith(".jpg") and not (data.startswith(JPEG_BEGIN) and data.endswith(JPEG_END)):
        yield "is damaged: a JPEG begins with ff d8 and ends with ff d9"


def _png_faults(data: bytes) -> Iterator[str]:
    if not data.startswith(SIGNATURE):
        yield "is damaged: no PNG"
        return
    kinds, at = [], len(SIGNATURE)
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8]) if at + 12 <= len(data) else (len(data), b"")
        if at + 12 + length > len(data):
            yield "is damaged: cut off within a chunk"
            return
        if zlib.crc32(data[at + 4 : at + 8 + length]) != int.from_bytes(data[at + 8 + length : at + 12 + length], "big"):
            yield f"is damaged: wrong checksum of its chunk {kind.decode('ascii', 'backslashreplace')}"
        kinds.append(kind)
        at += 12 + length
    if kinds != PNG_CHUNKS:
        yield f"is damaged: it has the chunks {b', '.join(kinds).decode('ascii', 'backslashreplace')}, not {b', '.join(PNG_CHUNKS).decode()}"
