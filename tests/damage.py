"""Data sets damaged on purpose: bytes changed in place, or content changed and all hashes made anew, as one who knows the format would."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from seqgen.dataset.index import INDEX_NAME, read_index
from seqgen.dataset.index_writer import describe_index
from seqgen.dataset.manifest import FORMAT, MANIFEST_NAME, SCHEMA_VERSION, read_manifest, with_checksum
from seqgen.dataset.shards import sample_bytes
from seqgen.files import file_digest

Array = np.ndarray
Members = dict[str, bytes]  # of one clip, by their names after the key


class Damage(NamedTuple):
    """What is done to a data set, and which file, and which clip of it, must be named. `key` is None where no clip can be told."""

    name: str
    inflict: Callable[[Path], None]
    file: str
    key: str | None = None


def changed(path: Path, at: int, mask: int = 0x5A) -> None:
    """Changes one byte."""
    data = bytearray(path.read_bytes())
    data[at] ^= mask
    path.write_bytes(data)


def spliced(path: Path, begin: int, end: int, new: bytes = b"") -> None:
    """Puts bytes in the place of others."""
    data = path.read_bytes()
    path.write_bytes(data[:begin] + new + data[end:])


def cut_off(path: Path, length: int) -> None:
    """Keeps so many bytes."""
    path.write_bytes(path.read_bytes()[:length])


def members_of(path: Path) -> list[tarfile.TarInfo]:
    """The members of a shard, as the standard library finds them."""
    with tarfile.open(path) as archive:
        return archive.getmembers()


def clips_of(path: Path) -> dict[str, Members]:
    """The members of each clip of a shard."""
    data = path.read_bytes()
    grouped = groupby(members_of(path), key=lambda info: info.name.partition(".")[0])
    return {key: {info.name.partition(".")[2]: data[info.offset_data : info.offset_data + info.size] for info in group} for key, group in grouped}


def span_of(path: Path, key: str) -> tuple[int, int]:
    """Where a clip lies in a shard."""
    own = [info for info in members_of(path) if info.name.startswith(f"{key}.")]
    return own[0].offset, own[-1].offset_data + -(-own[-1].size // 512) * 512


def write_clips(path: Path, clips: Iterable[tuple[str, Iterable[tuple[str, bytes]]]]) -> dict[str, str]:
    """A shard of these members, whatever they are, and the hash of each clip."""
    written = [(key, sample_bytes(key, members)) for key, members in clips]
    data = b"".join(data for _, data in written)
    path.write_bytes(data + bytes(-(-(len(data) + 1024) // 10240) * 10240 - len(data)))
    return {key: hashlib.sha256(data).hexdigest() for key, data in written}


def replace_clip(directory: Path, shard: str, key: str, edit: Callable[[Members], Members | list[tuple[str, bytes]]]) -> None:
    """Changes the members of one clip, and makes all hashes anew: of the clip, the shard, the index and the manifest."""
    path = directory / "shards" / shard
    edited = [(name, edit(members) if name == key else members) for name, members in clips_of(path).items()]
    digests = write_clips(path, [(name, members.items() if isinstance(members, dict) else members) for name, members in edited])
    write_rows_anew(directory, lambda rows: [{**row, "sha256": digests.get(row["key"], row["sha256"])} for row in rows])


def write_rows_anew(directory: Path, edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]], metadata: Mapping[bytes, bytes] | None = None) -> None:
    """Changes the rows of the index, and makes the hashes anew that dataset.json has of it and of the shards."""
    path = directory / INDEX_NAME
    schema = pq.ParquetFile(path).schema_arrow
    rows = edit([asdict(row) for row in read_index(directory)])
    pq.write_table(pa.Table.from_pylist(rows, schema if metadata is None else schema.with_metadata(metadata)), path)
    write_manifest_anew(directory, lambda content: content)


def write_manifest_anew(directory: Path, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Makes the hashes of index and shards anew, then changes the manifest, whose checksum is made anew too."""
    manifest = read_manifest(directory)
    shards = [replace(shard, bytes=path.stat().st_size, sha256=file_digest(path)) for shard in manifest.shards for path in [directory / "shards" / shard.name]]
    content = asdict(replace(manifest, shards=tuple(shards), index=describe_index(directory)))
    text = with_checksum(edit(json.loads(json.dumps({"format": FORMAT, "schema_version": SCHEMA_VERSION, **content}))))
    (directory / MANIFEST_NAME).write_text(text, encoding="utf-8", newline="\n")


def with_labels(members: Members, edit: Callable[[dict[str, Array]], dict[str, Array]]) -> Members:
    """The members with other label arrays."""
    with np.load(io.BytesIO(members["labels.npz"])) as archive:
        arrays = edit({name: archive[name].copy() for name in archive.files})
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return {**members, "labels.npz": stream.getvalue()}


def with_meta(members: Members, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> Members:
    """The members with another meta."""
    return {**members, "meta.json": json.dumps(edit(json.loads(members["meta.json"])), sort_keys=True).encode()}


def with_picture(members: Members, name: str, edit: Callable[[Array], Array]) -> Members:
    """The members with one picture changed, in the format of its name."""
    stream = io.BytesIO()
    if name.endswith(".npy"):
        np.save(stream, edit(np.load(io.BytesIO(members[name]))))
    else:
        Image.fromarray(edit(np.array(Image.open(io.BytesIO(members[name]))))).save(stream, "JPEG" if name.endswith(".jpg") else "PNG")
    return {**members, name: stream.getvalue()}
