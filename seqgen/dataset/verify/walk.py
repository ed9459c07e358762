"""The clips of a shard that may be damaged, found from header to header. Where no header can be made out there is a `Gap`, and the walk goes on at the next one.

Nothing recorded says where a clip begins, so the next header is looked for at every byte: where some were lost or added, none lies at a multiple of a block.
Does not know which clips a shard should hold, nor what is in them.
"""

import re
import tarfile
from collections.abc import Iterator
from itertools import groupby
from typing import BinaryIO, NamedTuple

from seqgen.dataset.shards import MAX_MEMBER_BYTES, MEMBER
from seqgen.places import Place

BLOCK, RECORD = tarfile.BLOCKSIZE, tarfile.RECORDSIZE
MAGIC, MAGIC_AT = b"ustar\x0000", 257  # of a USTAR header, and where in it
CHUNK = 2**20  # bytes searched at a time
SIZE, CHECKSUM = re.compile(rb"([0-7]{11})\0"), re.compile(rb"([0-7]{6})\0 ")
FIRST, LAST = "000.rgb.jpg", "meta.json"  # the members that a clip begins and ends with


class Member(NamedTuple):
    """A member: its key, its name after the key, its size in bytes, the byte at which its header begins and the first one after its blocks."""

    key: str
    name: str
    size: int
    start: int
    end: int


class Gap(NamedTuple):
    """A place of a shard, from byte `start` on, that is not as it should be, and how. `key`: of the clip that it belongs to, where that can be told."""

    start: int
    what: str
    key: str | None = None


class Clip(NamedTuple):
    """Members of one key that follow one another, with the gaps between them. `data`: all bytes from the first header to the end of the last blocks; None where
    there are gaps, or more bytes than asked for."""

    key: str
    members: tuple[Member, ...]
    gaps: tuple[Gap, ...]
    size: int
    data: bytes | None

    def files(self) -> list[tuple[str, bytes]]:
        """The members' names after the key, and their bytes."""
        begins = [(member, member.start - self.members[0].start + BLOCK) for member in self.members]
        return [(member.name, self.data[begin : begin + member.size]) for member, begin in begins]


def read_clips(path: Place, most_bytes: int) -> Iterator[Clip | Gap]:
    """The clips of a shard in their order, one in memory at a time, and the gaps that belong to none. A clip of more than `most_bytes` is not read."""
    try:
        with path.open("rb") as file:
            for key, group in groupby(_walk(file, path.stat().st_size), key=lambda place: place.key):
                yield from _clip(file, key, list(group), most_bytes)
    except OSError as error:  # of this file alone: what the taker of the clips raises does not come by here
        yield Gap(0, f"cannot be read: {error.strerror or error}")


def _clip(file: BinaryIO, key: str | None, places: list[Member | Gap], most_bytes: int) -> Iterator[Clip | Gap]:
    """What was found of one key as a clip, or the gaps where there is nothing else."""
    members, gaps = (tuple(place for place in places if isinstance(place, kind)) for kind in (Member, Gap))
    if key is None or not members:
        yield from gaps
        return
    size = members[-1].end - members[0].start
    yield Clip(key, members, gaps, size, _read(file, members[0].start, size) if not gaps and size <= most_bytes else None)


def _walk(file: BinaryIO, num_bytes: int) -> Iterator[Member | Gap]:
    """Members and gaps in their order; after the last member the end of the tar, if that is wrong."""
    at, last = 0, None
    while True:
        member = _parse_header(_read(file, at, BLOCK), at)
        if member is not None and member.end <= num_bytes:
            yield member
            at, last = member.end, member
            continue
        following = _find_member(file, last.start + BLOCK if last else 0, num_bytes)
        if following is None:
            yield from _wrong_end(file, at, num_bytes, last, member)
            return
        yield Gap(at, "no header of a member where one should be", _owner(last, member or following))
        at = following.start


def _owner(last: Member | None, following: Member | None) -> str | None:
    """The key of the clip that lost a header between two members: one that has begun and not ended, or the next one, if its first member is not there."""
    if last is not None and last.name != LAST:
        return last.key
    return following.key if following is not None and following.name != FIRST else None


def _wrong_end(file: BinaryIO, at: int, num_bytes: int, last: Member | None, cut: Member | None) -> Iterator[Gap]:
    """What is wrong after the last member: a tar ends with two empty blocks and a full record. `cut`: a member that claims more bytes than there are."""
    left, expected = num_bytes - at, _round_up(at + 2 * BLOCK, RECORD) - at
    if cut is not None:
        yield Gap(at, f"cut off within {cut.name}, which has {cut.size:,} bytes by its header; {max(left - BLOCK, 0):,} are left", cut.key)
    elif last is None or last.name != LAST:
        yield Gap(at, "cut off, or no header of a member where one should be", _owner(last, None))
    elif not _is_empty(file, at, num_bytes):
        yield Gap(at, f"{left:,} bytes that belong to no clip, where the shard should end with {expected:,} zeros")
    elif left != expected:
        yield Gap(at, f"the shard ends with {left:,} zeros, expected {expected:,}")


def _parse_header(header: bytes, at: int) -> Member | None:
    """The member of a header of a plain file that is named as ours are; None for all else."""
    if len(header) < BLOCK or header[MAGIC_AT : MAGIC_AT + len(MAGIC)] != MAGIC or header[156:157] != tarfile.REGTYPE:
        return None
    name, size, checksum = MEMBER.fullmatch(header[:100].rstrip(b"\0").decode("latin1")), SIZE.fullmatch(header[124:136]), CHECKSUM.fullmatch(header[148:156])
    if name is None or size is None or checksum is None or int(size[1], 8) > MAX_MEMBER_BYTES:
        return None
    if sum(header[:148]) + 8 * ord(" ") + sum(header[156:]) != int(checksum[1], 8):  # which counts its own field as blanks
        return None
    num_bytes = int(size[1], 8)
    return Member(name[1], name[2], num_bytes, at, at + BLOCK + _round_up(num_bytes, BLOCK))


def _find_member(file: BinaryIO, begin: int, num_bytes: int) -> Member | None:
    """The first member from a byte on that the file holds whole."""
    for at in range(begin, num_bytes, CHUNK):
        chunk, place = _read(file, at, CHUNK + BLOCK), -1
        while (place := chunk.find(MAGIC, place + 1)) >= 0:
            start = at + place - MAGIC_AT
            member = _parse_header(_read(file, start, BLOCK), start) if start >= begin else None
            if member is not None and member.end <= num_bytes:
                return member
    return None


def _is_empty(file: BinaryIO, begin: int, end: int) -> bool:
    return not any(_read(file, at, min(CHUNK, end - at)).lstrip(b"\0") for at in range(begin, end, CHUNK))


def _read(file: BinaryIO, begin: int, size: int) -> bytes:
    file.seek(begin)
    return file.read(size)


def _round_up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
