"""Shards: plain tar files of whole sequences, in the way of WebDataset. Written aside and renamed; the same sequences give the same bytes.

    DIR/shards/train-000000.tar           USTAR; dates 0, owner 0, mode 0644
        00000042.000.rgb.jpg ...          one sequence: contiguous, members in the order of `seqgen.dataset.encoding`
        00000042.meta.json
        00000043.000.rgb.jpg ...          the next one: its index is larger

The stock writer is neither atomic nor reproducible, hence this one. Any WebDataset reader reads the result.
"""

import hashlib
import io
import os
import re
import tarfile
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import BinaryIO

from seqgen.dataset.encoding import decode_sequence, encode_sequence, sequence_schema
from seqgen.dataset.sequence import HandSequence
from seqgen.errors import UserError
from seqgen.files import written_aside
from seqgen.places import Place
from seqgen.remote import RemotePath

MEMBER = re.compile(r"(\d{8,})\.(\d{3,}\.[a-z_]+\.[a-z]+|labels\.npz|meta\.json)")
MAX_MEMBER_BYTES = 2**28  # the optical flow of the largest pictures, 4096 x 4096, has half of it
EXTENSIONS = (b"x", b"g", b"X", b"L", b"K", b"S")  # of GNU and POSIX: names, links, holes in further headers, which may be many and long
# Between the name, the size and the checksum of a header: mode, owner and group; the date; kind, link, magic and version, no names, no device, no prefix.
OWNERLESS, UNDATED = b"0000644\0" + 2 * b"0000000\0", b"\0" + b"00000000000\0"
FILE_OF_USTAR = b"\0 0" + bytes(100) + b"ustar\0" + b"00" + bytes(247)
HEADER_SUM = sum(OWNERLESS + UNDATED + FILE_OF_USTAR[2:]) + 8 * ord(" ")
Span = tuple[int, int]  # first byte and the one after the last


@dataclass(frozen=True)
class ShardRecord:
    """What is known of a written shard: `name` is `<split>-000000.tar`, `bytes` its size, `sha256` its hash in hex."""

    name: str
    split: str
    sequences: int
    bytes: int
    sha256: str


def shard_name(split: str, number: int) -> str:
    """The file name of a split's shard."""
    return f"{split}-{number:06d}.tar"


def write_shard(path: Place, sequences: Iterable[HandSequence], *, jpeg_quality: int, wrote: Callable[[HandSequence, str], None] = lambda sequence, sha256: None) -> ShardRecord:
    """Writes sequences as they come (one in memory at a time), by rising index, all of one split and schema. Nothing appears at `path` unless all is well.

    `wrote` is told each sequence and the hash of its bytes in the tar: from its first header to the end of its last member's blocks.
    """
    previous, count, size, whole = None, 0, 0, hashlib.sha256()
    with written_aside(path) as aside, open(aside, "xb") as file:
        for sequence in sequences:
            _check_follows(sequence, previous)
            data = sample_bytes(sequence.key, encode_sequence(sequence, jpeg_quality=jpeg_quality))
            file.write(data)
            whole.update(data)
            wrote(sequence, hashlib.sha256(data).hexdigest())
            previous, count, size = sequence, count + 1, size + len(data)
        if previous is None:
            raise ValueError(f"{path.name}: a shard needs at least one sequence")
        end = bytes(shard_bytes(size) - size)
        file.write(end)
        whole.update(end)
    return ShardRecord(path.name, previous.split, count, size + len(end), whole.hexdigest())


def shard_bytes(size: int) -> int:
    """The size of a shard whose sequences take `size` bytes: two empty blocks more, and the last record filled."""
    return _round_up(size + 2 * tarfile.BLOCKSIZE, tarfile.RECORDSIZE)


def sample_bytes(key: str, members: Iterable[tuple[str, bytes]]) -> bytes:
    """What a shard holds of one sequence: for each member its header, its bytes, and zeros up to the next block."""
    pieces = []
    for name, data in members:
        pieces += [_tar_header(f"{key}.{name}", len(data)), data, bytes(_round_up(len(data), tarfile.BLOCKSIZE) - len(data))]
    return b"".join(pieces)


def read_shard(path: Place) -> Iterator[HandSequence]:
    """The sequences of a shard in their order, one in memory at a time. A UserError names the shard and the member that is wrong."""
    with _open_shard(path) as file, _open_tar(file, path) as archive:
        yield from _read_sequences(archive, path)
        _check_end(file, archive.offset, path)


def shard_spans(path: Place) -> dict[str, Span]:
    """Where each sequence lies in a shard, by key, from the headers alone."""
    spans: dict[str, Span] = {}
    with _open_shard(path) as file, _open_tar(file, path) as archive:
        for info in _headers(archive, path):
            key, _ = _split_name(info, path)
            spans[key] = (spans[key][0] if key in spans else info.offset, archive.offset)
    return spans


def first_members(path: Place) -> tuple[str, ...]:
    """The names, after the key, of the members of a shard's first sequence: those of all sequences of a data set."""
    with _open_shard(path) as file, _open_tar(file, path) as archive:
        named = (_split_name(info, path) for info in _headers(archive, path))
        return tuple(name for _, name in next((list(group) for _, group in groupby(named, key=lambda member: member[0])), []))


def read_members(path: Place, span: Span, wanted: Container[str]) -> dict[str, bytes]:
    """Those members of the one sequence at `span` that are wanted, by their names after the key; the others are skipped unread.

    Goes from header to header itself: `tarfile` takes 10 us for each, a third of the time that the pictures of a small clip take.
    """
    members: dict[str, bytes] = {}
    with _open_range(path, span) as read:
        at = span[0]
        while at < span[1]:
            name, size = _parse_header(read(tarfile.BLOCKSIZE, at), path, at)
            if name in wanted:
                members[name] = read(size, at + tarfile.BLOCKSIZE)
            at += tarfile.BLOCKSIZE + _round_up(size, tarfile.BLOCKSIZE)
    return members


@contextmanager
def _open_range(path: Place, span: Span) -> Iterator[Callable[[int, int], bytes]]:
    """What reads so many bytes from a byte within the span on. From a store the whole span comes at once: a question takes longer than a clip."""
    if isinstance(path, RemotePath):
        data = path.read_range(*span)
        yield lambda size, at: data[at - span[0] : at - span[0] + size]
        return
    with _open_shard(path) as file:
        descriptor = file.fileno()
        yield lambda size, at: os.pread(descriptor, size, at)


def _parse_header(header: bytes, path: Place, at: int) -> tuple[str, int]:
    """Name after the key and size of a member, from the header that `write_shard` wrote; its sum of bytes, which counts its own field as blanks, is checked."""
    try:
        if sum(header[:148]) + 8 * ord(" ") + sum(header[156:]) != int(header[148:156].rstrip(b"\0 "), 8):
            raise ValueError("wrong checksum")
        return header[:100].rstrip(b"\0").decode().partition(".")[2], int(header[124:136].rstrip(b"\0 "), 8)
    except ValueError as error:
        raise UserError(f"{path}: damaged after byte {at} ({error}); fetch or generate it again") from None


def read_span(path: Place, span: Span) -> HandSequence:
    """The one sequence that lies at `span`."""
    with _open_shard(path) as file:
        file.seek(span[0])
        data = io.BytesIO(file.read(span[1] - span[0]))
    with _open_tar(data, path) as archive:
        return next(_read_sequences(archive, path))


def _tar_header(name: str, size: int) -> bytes:
    """Of a regular file that belongs to no one and has no date, in USTAR: `tarfile` takes 10 us for the same bytes. The checksum counts itself as blanks."""
    file, digits = name.encode(), b"%011o" % size
    if len(file) > 100 or size >= 8**11:
        raise ValueError(f"{name} of {size} bytes does not fit the header of a tar")
    checksum = HEADER_SUM + sum(file) + sum(digits)
    return b"".join([file, bytes(100 - len(file)), OWNERLESS, digits, UNDATED, b"%06o" % checksum, FILE_OF_USTAR])


def _round_up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _check_follows(sequence: HandSequence, previous: HandSequence | None) -> None:
    """One split, one schema, rising index."""
    if previous is None:
        return
    if sequence.split != previous.split or sequence.meta["index"] <= previous.meta["index"]:
        raise ValueError(f"{sequence.split} sequence {sequence.key} cannot follow {previous.split} sequence {previous.key} in a shard")
    ours, theirs = sequence_schema(sequence), sequence_schema(previous)
    for name in ours:
        if ours[name] != theirs[name]:
            raise ValueError(f"sequence {sequence.key} has {name} {ours[name]}, the one before it {theirs[name]}: a data set has one schema")


def _open_shard(path: Place) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise UserError(f"{path}: the shard is missing; run the generating command again, or fetch it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; run the generating command again, or fetch it again") from None


def _open_tar(file: BinaryIO | io.BytesIO, path: Place) -> tarfile.TarFile:
    _check_header(file, 0, path)
    try:
        return tarfile.open(fileobj=file, mode="r:")
    except tarfile.TarError as error:
        raise UserError(f"{path}: not a tar file ({error})") from error


def _headers(archive: tarfile.TarFile, path: Place) -> Iterator[tarfile.TarInfo]:
    """The headers in their order; `archive.offset` is then the end of the member. Forgotten as they pass: a shard may hold a million."""
    try:
        while (info := archive.next()) is not None:
            yield info
            archive.members.clear()
            _check_header(archive.fileobj, archive.offset, path)
    except tarfile.TarError as error:
        raise UserError(f"{path}: damaged after byte {archive.offset} ({error}); fetch or generate it again") from error


def _check_header(file: BinaryIO | io.BytesIO, at: int, path: Place) -> None:
    """Refuses, before `tarfile` follows it, a header that goes on in another one or claims more than a member can have."""
    before = file.tell()
    file.seek(at)
    header = file.read(tarfile.BLOCKSIZE)
    file.seek(before)
    name = header[:100].rstrip(b"\0").decode("ascii", "backslashreplace")
    if header[156:157] in EXTENSIONS:
        raise UserError(f"{path}: member {name!r} at byte {at} is no plain file; this shard was not written by seqgen")
    size = header[124:136].rstrip(b"\0 ")
    if size[:1] >= b"\x80" or (size.isdigit() and int(size) > int(f"{MAX_MEMBER_BYTES:o}")):  # octal digits, compared as they are; else more bits than they hold
        raise UserError(f"{path}: member {name!r} at byte {at} claims more than {MAX_MEMBER_BYTES // 2**20} MB; this shard was not written by seqgen")


def _split_name(info: tarfile.TarInfo, path: Place) -> tuple[str, str]:
    """Key and member name. Anything but a plain file named as we name ours is refused: no folders, links, absolute or parent paths."""
    match = MEMBER.fullmatch(info.name)
    if match is None or not info.isreg():
        raise UserError(f"{path}: member {info.name!r} is no {'plain file' if match else 'member of a sequence'}; this shard was not written by seqgen")
    return match[1], match[2]


def _read_sequences(archive: tarfile.TarFile, path: Place) -> Iterator[HandSequence]:
    """Groups members that follow one another by their key."""
    named = ((*_split_name(info, path), _read_member(archive, info, path)) for info in _headers(archive, path))
    for key, group in groupby(named, key=lambda member: member[0]):
        members: dict[str, bytes] = {}
        for _, name, data in group:
            if name in members:
                raise UserError(f"{path}: member {key}.{name} is there twice")
            members[name] = data
        yield _decode_named(key, members, path)


def _read_member(archive: tarfile.TarFile, info: tarfile.TarInfo, path: Place) -> bytes:
    try:
        return archive.extractfile(info).read()
    except tarfile.TarError as error:
        raise UserError(f"{path}: cut off within {info.name} ({error}); fetch or generate it again") from error


def _decode_named(key: str, members: dict[str, bytes], path: Place) -> HandSequence:
    try:
        return decode_sequence(key, members)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _check_end(file: BinaryIO, offset: int, path: Place) -> None:
    """After the last member a tar has two or more empty blocks. `tarfile` takes a damaged header for the end and says nothing."""
    file.seek(offset)
    rest = file.read(2 * tarfile.RECORDSIZE)
    if len(rest) < 2 * tarfile.BLOCKSIZE or any(rest):
        raise UserError(f"{path}: damaged or cut off after byte {offset}; fetch or generate it again")
