"""A damaged data set is found out: whatever is done to any byte of any file, and all that cannot be true though the hashes say so. A sound one has no fault."""

import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import (
    Damage,
    Members,
    changed,
    clips_of,
    cut_off,
    members_of,
    replace_clip,
    span_of,
    spliced,
    with_labels,
    with_meta,
    with_picture,
    write_clips,
    write_manifest_anew,
    write_rows_anew,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runs import small_config
from sequences import OPTIONAL_PICTURES, write_data_set

from seqgen.dataset.index import IndexRow
from seqgen.dataset.merge import merge_datasets
from seqgen.dataset.sequence import HandSequence, Labels
from seqgen.dataset.verify import Fault, verify_dataset
from seqgen.errors import UserError
from seqgen.pipeline.run import generate_dataset

Array = np.ndarray
SHARDS = {"train-000000.tar": range(2), "train-000001.tar": range(2, 3), "val-000000.tar": range(3, 4)}
CONFIG = {"seed": 7, "sequences": 4, "clip": {"frames": 2, "size": [20, 17], "fps": 30.0, "stride": 1}, "split": {"train": 3, "val": 1, "test": 0}}
SHARD, OTHER, VAL = SHARDS
FIRST, SECOND, THIRD = "00000000", "00000001", "00000002"
KINDS = ("rgb.jpg", "depth.png", "parts.png", "depth_sensor.png", "flow.npy", "normals.png", "mask_amodal.png", "mask_visible.png")


ALL = pytest.mark.parametrize("every", [6, pytest.param(1, marks=pytest.mark.slow)])  # which of many alike are tried


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set with every kind of member, which tests copy."""
    directory = tmp_path_factory.mktemp("verify") / "sound"
    write_data_set(directory, SHARDS, config=CONFIG, frames=2, size=(20, 17), pictures=OPTIONAL_PICTURES)
    return directory


def copied(sound: Path, place: Path) -> Path:
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(sound, place)
    return place


def check_found(sound: Path, place: Path, injuries: list[Damage], *, least: int) -> None:
    """Every injury is found, in the file and the clip where it is; no other file is blamed, and of a clip's injury no other clip."""
    assert len(injuries) >= least and len({damage.name for damage in injuries}) == len(injuries)
    for damage in injuries:
        directory = copied(sound, place / "injured")
        damage.inflict(directory)
        faults = verify_dataset(directory)
        told = f"{damage.name}: {[str(fault) for fault in faults]}"
        assert {fault.file for fault in faults} == {damage.file}, told
        assert damage.key in {fault.key for fault in faults}, told
        assert damage.key is None or {fault.key for fault in faults} <= {damage.key, None}, told
        assert all(str(fault).isprintable() and str(fault).startswith(damage.file) for fault in faults), told


def at(shard: str, inflict: Callable[..., None], *arguments: Any) -> Callable[[Path], None]:
    """An injury of one shard's file."""
    return lambda directory: inflict(directory / "shards" / shard, *arguments)


def in_clip(edit: Callable[[Members], Any], key: str = SECOND) -> Callable[[Path], None]:
    """An injury of what a clip holds, with all hashes made anew."""
    return lambda directory: replace_clip(directory, SHARD, key, edit)


# Sound data sets


def test_a_sound_data_set_has_no_fault(sound: Path) -> None:
    told = []
    assert verify_dataset(sound, report=lambda checked, total: told.append((checked, total))) == []
    assert told == [(2, 4), (3, 4), (4, 4)]


def test_a_generated_data_set_has_no_fault(tmp_path: Path) -> None:
    few = {"sequences": 4, "clip": {"frames": 2}, "split": {"train": 2, "val": 1, "test": 1}}
    generate_dataset(small_config(hand={"left": 0.5}, occluder={"share": 0.5}, **few), tmp_path / "set")
    assert verify_dataset(tmp_path / "set") == []
    changed(tmp_path / "set" / "shards" / "val-000000.tar", 5000)
    assert {(fault.file, fault.key) for fault in verify_dataset(tmp_path / "set")} == {("val-000000.tar", None), ("val-000000.tar", "00000002")}


@pytest.mark.slow
@pytest.mark.parametrize("sections", [{"camera": {"kind": "weak_perspective"}}, {"camera": {"views": 2}}, {"sensor": {"depth": "kinect_v1"}, "arm": {"kind": "none"}}], ids=str)
def test_generated_data_sets_of_all_labels_have_no_fault(tmp_path: Path, sections: dict[str, Any]) -> None:
    labels = dict.fromkeys(("optical_flow", "normals", "mask_amodal", "mask_visible"), True)
    generate_dataset(small_config(labels=labels, hand={"left": 0.5}, occluder={"share": 1.0}, **sections), tmp_path / "set")
    assert verify_dataset(tmp_path / "set") == []


def test_each_clip_without_a_fault_is_inspected_once(sound: Path, tmp_path: Path) -> None:
    seen: list[str] = []

    def inspect(sequence: HandSequence) -> list[str]:
        seen.append(sequence.key)
        return ["looks odd"] if sequence.key == THIRD else []

    directory = copied(sound, tmp_path / "set")
    changed(directory / "shards" / VAL, 700)
    faults = verify_dataset(directory, inspect=inspect)
    assert seen == [FIRST, SECOND, THIRD] and Fault(OTHER, THIRD, "looks odd") in faults
    assert str(Fault(OTHER, THIRD, "looks odd")) == "train-000001.tar, 00000002: looks odd"


def test_a_mistake_in_an_inspection_is_ours(sound: Path) -> None:
    def inspect(sequence: HandSequence) -> list[str]:
        raise OSError("a bug")

    with pytest.raises(OSError, match="a bug"):
        verify_dataset(sound, inspect=inspect)


def test_a_folder_without_a_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for place in (tmp_path, tmp_path / "none", tmp_path / "notes.txt"):
        with pytest.raises(UserError, match=r"no data set|no folder"):
            verify_dataset(place)


def test_an_unfinished_run_beside_the_data_is_no_fault(sound: Path, tmp_path: Path) -> None:
    directory = copied(sound, tmp_path / "set")
    (directory / ".progress").mkdir(exist_ok=True)
    (directory / ".progress" / "config.json").write_text("{}")
    (directory / "preview.png").write_bytes(b"x")
    assert verify_dataset(directory) == []


def test_a_fault_is_one_line_whatever_the_file_held() -> None:
    line = str(Fault("a\udc80\n.tar", "1", "x\x1b[2J\ny" + 1000 * "z"))
    assert line.isprintable() and len(line) < 420 and line.startswith("a\\udc80 .tar, 1: x\\x1b[2J y")


# Bytes of a shard


def byte_injuries(path: Path) -> Iterator[Damage]:
    """Each region of a header and of the data of every kind of member, once in the first clip and once in the second."""
    regions = {
        "name": 0,
        "name's end": 20,
        "mode": 103,
        "owner": 110,
        "size": 130,
        "date": 140,
        "checksum": 150,
        "type": 156,
        "link": 200,
        "magic": 258,
        "device": 330,
        "prefix": 400,
    }
    infos = members_of(path)
    for info in infos:
        key, _, name = info.name.partition(".")
        if (key == SECOND) != name.startswith("000."):
            continue
        of_header = regions if name.endswith("rgb.jpg") or name == "meta.json" else {"size": 130, "checksum": 150}
        places = {f"header's {region}": info.offset + place for region, place in of_header.items()}
        places |= {"first byte": info.offset_data, "middle": info.offset_data + info.size // 2, "last byte": info.offset_data + info.size - 1}
        if info.size % 512:
            places["padding"] = info.offset_data + info.size
        for region, place in places.items():
            yield Damage(f"{info.name}: {region}", at(path.name, changed, place), path.name, key)


@ALL
def test_changed_bytes_of_each_region_are_found(sound: Path, tmp_path: Path, every: int) -> None:
    check_found(sound, tmp_path, list(byte_injuries(sound / "shards" / SHARD))[::every], least=110 // every)


def test_a_shard_without_its_end_is_found(sound: Path, tmp_path: Path) -> None:
    path = sound / "shards" / SHARD
    size, end = path.stat().st_size, span_of(path, SECOND)[1]
    ends = {f"byte {place}": at(SHARD, changed, place) for place in (end, end + 600, size - 1)}
    ends |= {f"cut at {length}": at(SHARD, cut_off, length) for length in (end, end + 512, end + 1024, size - 1)}
    ends |= {f"longer by {len(more)}, {more[:1]!r}": at(SHARD, spliced, size, size, more) for more in (b"\0", b"x", bytes(512), bytes(10240), b"\0" * 10239 + b"x")}
    check_found(sound, tmp_path, [Damage(name, inflict, SHARD) for name, inflict in ends.items()], least=11)


def test_a_shard_cut_off_anywhere_is_found(sound: Path, tmp_path: Path) -> None:
    path = sound / "shards" / SHARD
    infos = [info for info in members_of(path) if info.name.startswith(SECOND)]
    lengths = [length for info in infos[::3] for length in (info.offset, info.offset + 300, info.offset_data, info.offset_data + info.size // 2)]
    check_found(sound, tmp_path, [Damage(f"cut at {length}", at(SHARD, cut_off, length), SHARD, SECOND) for length in lengths], least=20)


def test_a_shard_that_lost_most_names_all_clips(sound: Path, tmp_path: Path) -> None:
    for length in (0, 1, 511, 512, 600):  # below a header's end nothing tells the first clip but the index
        directory = copied(sound, tmp_path / "set")
        cut_off(directory / "shards" / SHARD, length)
        assert {(fault.file, fault.key) for fault in verify_dataset(directory)} >= {(SHARD, None), (SHARD, FIRST), (SHARD, SECOND)}


def structure_injuries(path: Path) -> Iterator[Damage]:
    """Members, blocks and bytes that are missing, there twice, or in another place."""
    infos, data = {info.name.partition(".")[2]: info for info in members_of(path) if info.name.startswith(SECOND)}, path.read_bytes()
    rgb, depth, later, meta = infos["000.rgb.jpg"], infos["000.depth.png"], infos["001.rgb.jpg"], infos["meta.json"]
    end = span_of(path, SECOND)[1]
    whole = {
        "a byte lost": (later.offset_data + 9, later.offset_data + 10, b""),
        "a byte more": (later.offset_data + 9, later.offset_data + 9, b"x"),
        "a block lost": (later.offset_data, later.offset_data + 512, b""),
        "a block more": (later.offset_data, later.offset_data, bytes(512)),
        "a header lost": (later.offset, later.offset_data, b""),
        "a header of zeros": (later.offset, later.offset_data, bytes(512)),
        "the first header of zeros": (rgb.offset, rgb.offset_data, bytes(512)),
        "the last header of zeros": (meta.offset, meta.offset_data, bytes(512)),
        "zeros in the middle": (rgb.offset_data + 100, later.offset_data + 100, bytes(later.offset - rgb.offset)),
        "zeros to the end": (later.offset, end, bytes(end - later.offset)),
        "noise over some members": (depth.offset, later.offset, b"x" * (later.offset - depth.offset)),
        "a member lost": (depth.offset, infos["000.parts.png"].offset, b""),
        "a member twice": (depth.offset, depth.offset, data[depth.offset : infos["000.parts.png"].offset]),
        "a member at its end": (end, end, data[depth.offset : infos["000.parts.png"].offset]),
        "frames swapped": (rgb.offset, infos["labels.npz"].offset, data[later.offset : infos["labels.npz"].offset] + data[rgb.offset : later.offset]),
        "a size of 8 GB": (rgb.offset, rgb.offset_data, tar_header(rgb.name, 8**11 - 1)),
        "a size of 200 MB": (rgb.offset, rgb.offset_data, tar_header(rgb.name, 200_000_000)),
        "a smaller size": (later.offset, later.offset_data, tar_header(later.name, 10)),
        "a larger size": (later.offset, later.offset_data, tar_header(later.name, later.size + 2000)),
        "another date": (rgb.offset, rgb.offset_data, tar_header(rgb.name, rgb.size, mtime=1)),
        "another owner": (rgb.offset, rgb.offset_data, tar_header(rgb.name, rgb.size, uname="root")),
        "a link": (later.offset, later.offset_data, tar_header(later.name, 0, type=tarfile.SYMTYPE, linkname="/etc/passwd")),
        "a name that leads out": (later.offset, later.offset_data, tar_header("../../etc/passwd", later.size)),
        "a foreign member": (later.offset, later.offset_data, tar_header(f"{SECOND}.001.thumb.jpg", later.size)),
    }
    for name, (begin, stop, new) in whole.items():
        yield Damage(name, at(path.name, spliced, begin, stop, new), path.name, SECOND)


def tar_header(name: str, size: int, **others: Any) -> bytes:
    info = tarfile.TarInfo(name)
    for field, value in {"size": size, "mode": 0o644, **others}.items():
        setattr(info, field, value)
    return info.tobuf(tarfile.USTAR_FORMAT)


def test_members_that_are_not_where_they_should_be_are_found(sound: Path, tmp_path: Path) -> None:
    check_found(sound, tmp_path, list(structure_injuries(sound / "shards" / SHARD)), least=24)


def test_clips_in_the_wrong_place_are_found(sound: Path, tmp_path: Path) -> None:
    clips, foreign = clips_of(sound / "shards" / SHARD), clips_of(sound / "shards" / OTHER)
    first, second, third = ((key, {**clips, **foreign}[key].items()) for key in (FIRST, SECOND, THIRD))
    held = {"lost": [first], "twice": [first, second, second], "swapped": [second, first], "of another shard": [first, second, third], "in the other's place": [first, third]}
    keys = {"lost": {SECOND}, "twice": {SECOND}, "swapped": {FIRST}, "of another shard": {THIRD}, "in the other's place": {SECOND, THIRD}}
    for name, order in held.items():
        directory = copied(sound, tmp_path / "set")
        write_clips(directory / "shards" / SHARD, order)
        assert {(fault.file, fault.key) for fault in verify_dataset(directory)} == {(SHARD, None), *((SHARD, key) for key in keys[name])}, name


def test_one_damaged_clip_hides_no_other(sound: Path, tmp_path: Path) -> None:
    directory = copied(sound, tmp_path / "set")
    path = directory / "shards" / SHARD
    first, second = span_of(path, FIRST), span_of(path, SECOND)
    changed(path, first[0] + 130)
    changed(path, second[1] - 600)
    assert {fault.key for fault in verify_dataset(directory)} == {None, FIRST, SECOND}


# Files


def file_injuries() -> Iterator[Damage]:
    def renamed(directory: Path, old: str, new: str) -> None:
        (directory / "shards" / old).rename(directory / "shards" / new)

    yield Damage("missing", lambda directory: (directory / "shards" / SHARD).unlink(), SHARD)
    yield Damage("empty", at(SHARD, lambda path: path.write_bytes(b"")), SHARD, None)
    yield Damage("a folder", at(SHARD, lambda path: (path.unlink(), path.mkdir())), SHARD)
    yield Damage("a link to nothing", at(SHARD, lambda path: (path.unlink(), path.symlink_to("gone"))), SHARD)
    yield Damage("a pipe", at(SHARD, lambda path: (path.unlink(), os.mkfifo(path))), SHARD)
    yield Damage("duplicated", at(SHARD, lambda path: shutil.copy(path, path.with_name("train-000007.tar"))), "train-000007.tar")
    yield Damage("a copy", at(SHARD, lambda path: shutil.copy(path, path.with_name("train-000000 (1).tar"))), "train-000000 (1).tar")
    yield Damage("a foreign file", at("notes.txt", lambda path: path.write_text("x")), "notes.txt")
    yield Damage("a foreign folder", at("more", lambda path: path.mkdir()), "more")
    yield Damage("half a shard", at(".train-000000.tar.partial-1-ab", lambda path: path.write_bytes(b"x")), ".train-000000.tar.partial-1-ab")
    yield Damage("half an index", lambda directory: (directory / ".index.parquet.partial-1-ab").write_bytes(b"x"), ".index.parquet.partial-1-ab")


def test_files_that_are_not_as_they_should_be_are_found(sound: Path, tmp_path: Path) -> None:
    check_found(sound, tmp_path, list(file_injuries()), least=11)


@pytest.mark.parametrize("new", ["train-000009.tar", "test-000000.tar", "train-000000.tar.bak"])
def test_a_renamed_shard_is_known_again(sound: Path, tmp_path: Path, new: str) -> None:
    directory = copied(sound, tmp_path / "set")
    (directory / "shards" / SHARD).rename(directory / "shards" / new)
    assert verify_dataset(directory) == [Fault(new, None, f"is {SHARD} under another name"), Fault(SHARD, None, "is missing")]


@pytest.mark.parametrize("pair", [(SHARD, OTHER), (SHARD, VAL), (OTHER, VAL)])
def test_swapped_shards_are_found(sound: Path, tmp_path: Path, pair: tuple[str, str]) -> None:
    directory = copied(sound, tmp_path / "set")
    one, other = (directory / "shards" / name for name in pair)
    content = one.read_bytes()
    shutil.copy(other, one)
    other.write_bytes(content)
    found = {(fault.file, fault.key) for fault in verify_dataset(directory)}
    assert found >= {(name, key) for name in pair for key in [None, *(f"{n:08d}" for shard in pair for n in SHARDS[shard])]} and {file for file, _ in found} == set(pair)


# dataset.json


def manifest_injuries(text: bytes) -> Iterator[Damage]:
    """The manifest's bytes changed, and its content changed with its checksum made anew."""
    raw = {
        "empty": b"",
        "no JSON": b"{",
        "noise": bytes(range(256)),
        "a list": b"[]",
        "deep": b"[" * 100_000,
        "a BOM": b"\xef\xbb\xbf" + text,
        "cut": text[:-2],
        "half": text[: len(text) // 2],
        "a newline more": text + b"\n",
        "other newlines": text.replace(b"\n", b"\r\n"),
        "one other newline": text.replace(b"\n", b"\r", 1),
        "a blank": text.replace(b": ", b":  ", 1),
        "another format": text.replace(b'"seqgen"', b'"other"', 1),
        "schema 2": text.replace(b'"schema_version": 3', b'"schema_version": 2'),
        "schema 4": text.replace(b'version": 3', b'version": 4'),
        "no checksum": text[: text.rindex(b",")] + b"\n}\n",
        "another checksum": text[:-10] + (b"1" if text[-10:-9] == b"0" else b"0") + text[-9:],
        "NaN": text.replace(b'"seed": 7', b'"seed": NaN', 1),
        "a huge number": text.replace(b'"seed": 7', b'"seed": ' + b"9" * 5000, 1),
        "twice a key": text.replace(b'"seed": 7', b'"seed": 7, "seed": 7', 1),
        "a shard that leads out": text.replace(SHARD.encode(), b"../../etc/passwd"),
        "a lone surrogate": text.replace(b'"made up"', b'"\\ud800"'),
    }
    for name, new in raw.items():
        yield Damage(name, lambda directory, new=new: (directory / "dataset.json").write_bytes(new), "dataset.json")
    yield Damage("missing", lambda directory: (directory / "dataset.json").unlink(), "dataset.json")
    yield Damage("a folder", lambda directory: ((directory / "dataset.json").unlink(), (directory / "dataset.json").mkdir()), "dataset.json")
    for place in range(3, len(text), len(text) // 10):
        yield Damage(f"byte {place}", lambda directory, place=place: changed(directory / "dataset.json", place, 1), "dataset.json")

    def anew(edit: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Path], None]:
        return lambda directory: write_manifest_anew(directory, edit)

    edits: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "sequences": lambda told: {**told, "counts": {**told["counts"], "sequences": 5}},
        "frames": lambda told: {**told, "counts": {**told["counts"], "frames": 9}},
        "splits": lambda told: {**told, "counts": {**told["counts"], "splits": {"train": 2, "val": 2}}},
        "shares": lambda told: {**told, "shares": {**told["shares"], "arm": 0.1}},
        "config_hash": lambda told: {**told, "config_hash": "0" * 64},
        "seed": lambda told: {**told, "seed": 8},
        "sharing": lambda told: {**told, "sharing": {**told["sharing"], "may_be_shared": not told["sharing"]["may_be_shared"]}},
        "a shard twice": lambda told: {**told, "shards": [*told["shards"], told["shards"][0]]},
        "a shard's split": lambda told: {**told, "shards": [{**told["shards"][0], "split": "val"}, *told["shards"][1:]]},
        "a shard's sequences": lambda told: {**told, "shards": [{**told["shards"][0], "sequences": 3}, *told["shards"][1:]]},
        "a shard's bytes": lambda told: {**told, "shards": [{**told["shards"][0], "bytes": 1}, *told["shards"][1:]]},
        "a shard's sha256": lambda told: {**told, "shards": [{**told["shards"][0], "sha256": "0" * 64}, *told["shards"][1:]]},
    }
    for name, edit in edits.items():
        yield Damage(f"{name}, checksum made anew", anew(edit), "dataset.json")


def test_a_damaged_manifest_is_found_and_the_rest_still_checked(sound: Path, tmp_path: Path) -> None:
    check_found(sound, tmp_path, list(manifest_injuries((sound / "dataset.json").read_bytes())), least=45)


def test_without_a_manifest_damaged_clips_are_found(sound: Path, tmp_path: Path) -> None:
    for injured in ("dataset.json", "index.parquet", "both"):
        directory = copied(sound, tmp_path / "set")
        for name in ("dataset.json", "index.parquet"):
            if injured in (name, "both"):
                (directory / name).write_bytes(b"x")
        path = directory / "shards" / SHARD
        changed(path, next(info for info in members_of(path) if info.name == f"{SECOND}.001.parts.png").offset_data + 50)
        found = {(fault.file, fault.key) for fault in verify_dataset(directory)}
        assert (SHARD, SECOND) in found and {file for file, _ in found} == {SHARD, *([injured] if injured != "both" else ["dataset.json", "index.parquet"])}


def test_another_identity_or_config_is_found(sound: Path, tmp_path: Path) -> None:
    for field, value in (("identity", "0" * 64), ("config", {**CONFIG, "seed": 8})):
        directory = copied(sound, tmp_path / "set")
        write_manifest_anew(directory, lambda told, field=field, value=value: {**told, field: value})
        assert ("index.parquet", None) in {(fault.file, fault.key) for fault in verify_dataset(directory)}


# index.parquet


def index_injuries(data: bytes) -> Iterator[Damage]:
    """The index's bytes changed, and its rows changed with all hashes made anew."""
    raw = {"empty": b"", "noise": bytes(range(256)), "cut": data[:-1], "half": data[: len(data) // 2], "longer": data + b"\0", "without a head": b"XXXX" + data[4:]}
    for name, new in raw.items():
        yield Damage(name, lambda directory, new=new: (directory / "index.parquet").write_bytes(new), "index.parquet")
    yield Damage("missing", lambda directory: (directory / "index.parquet").unlink(), "index.parquet")
    yield Damage("a folder", lambda directory: ((directory / "index.parquet").unlink(), (directory / "index.parquet").mkdir()), "index.parquet")
    for place in range(5, len(data), len(data) // 6):
        yield Damage(f"byte {place}", lambda directory, place=place: changed(directory / "index.parquet", place, 1), "index.parquet")

    def row(**values: Any) -> Callable[[Path], None]:
        return lambda directory: write_rows_anew(directory, lambda rows: [rows[0], {**rows[1], **values}, *rows[2:]])

    left_alone = {"id", "key", "shard", "part", "split", "sha256", "frames_outside", "side", "arm", "occluder", "shareable"}
    for field in fields(IndexRow):
        if field.name not in left_alone:
            yield Damage(field.name, row(**{field.name: {int: 77, float: 7.7, str: "other"}[field.type]}), "index.parquet", SECOND)
    for name, origin in {"nothing": {}, "no JSON": {b"seqgen": b"{"}, "another": {b"seqgen": b'{"config": {}, "identity": ""}'}}.items():
        yield Damage(f"made from {name}", lambda directory, origin=origin: write_rows_anew(directory, list, origin), "index.parquet")
    yield Damage("unsorted", lambda directory: write_rows_anew(directory, lambda rows: rows[::-1]), "index.parquet")


def test_a_damaged_index_is_found_and_no_shard_blamed(sound: Path, tmp_path: Path) -> None:
    check_found(sound, tmp_path, list(index_injuries((sound / "index.parquet").read_bytes())), least=30)


ROWS: dict[str, tuple[Callable[[list[dict[str, Any]]], list[dict[str, Any]]], str]] = {
    "lost": (lambda rows: [rows[0], *rows[2:]], SECOND),
    "twice": (lambda rows: [rows[0], rows[1], *rows[1:]], SECOND),
    "one more": (lambda rows: [*rows, {**rows[-1], "id": 4, "key": "00000004"}], "00000004"),
    "a negative id": (lambda rows: [{**rows[0], "id": -1}, *rows[1:]], FIRST),
    "another key": (lambda rows: [rows[0], {**rows[1], "key": "00000077"}, *rows[2:]], "00000077"),
    "keys exchanged": (lambda rows: [{**rows[0], "key": SECOND}, {**rows[1], "key": FIRST}, *rows[2:]], SECOND),
    "a path": (lambda rows: [rows[0], {**rows[1], "shard": "../../etc/passwd"}, *rows[2:]], SECOND),
    "an unknown shard": (lambda rows: [rows[0], {**rows[1], "shard": "train-000009.tar"}, *rows[2:]], SECOND),
    "another shard": (lambda rows: [rows[0], {**rows[1], "shard": OTHER}, *rows[2:]], SECOND),
    "shards exchanged": (lambda rows: [rows[0], {**rows[1], "shard": OTHER}, {**rows[2], "shard": SHARD}, rows[3]], THIRD),
    "another split": (lambda rows: [rows[0], {**rows[1], "split": "val"}, *rows[2:]], SECOND),
    "another sha256": (lambda rows: [rows[0], {**rows[1], "sha256": "0" * 64}, *rows[2:]], SECOND),
    "another part": (lambda rows: [rows[0], {**rows[1], "part": 1}, *rows[2:]], SECOND),
    "frames_outside": (lambda rows: [rows[0], {**rows[1], "frames_outside": 2}, *rows[2:]], SECOND),
    "side": (lambda rows: [rows[0], {**rows[1], "side": "left"}, *rows[2:]], SECOND),
    "arm": (lambda rows: [rows[0], {**rows[1], "arm": "none"}, *rows[2:]], SECOND),
    "occluder": (lambda rows: [rows[0], {**rows[1], "occluder": "box"}, *rows[2:]], SECOND),
    "shareable": (lambda rows: [rows[0], {**rows[1], "shareable": not rows[1]["shareable"]}, *rows[2:]], SECOND),
    "none": (lambda rows: [], FIRST),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_that_are_not_the_clips_are_found_with_all_hashes_made_anew(sound: Path, tmp_path: Path, name: str) -> None:
    edit, key = ROWS[name]
    directory = copied(sound, tmp_path / "set")
    write_rows_anew(directory, edit)
    faults = verify_dataset(directory)
    assert key in {fault.key for fault in faults} and "index.parquet" in " ".join(map(str, faults))


def test_an_index_that_claims_more_rows_than_it_can_hold_is_not_read(sound: Path, tmp_path: Path) -> None:
    directory = copied(sound, tmp_path / "set")
    write_rows_anew(directory, lambda rows: rows[:1] * 100_000)
    [fault] = [fault for fault in verify_dataset(directory) if fault.file == "index.parquet"]
    assert "claims 100,000 rows" in fault.what


# Content, all hashes made anew


def content_injuries() -> Iterator[Damage]:
    """What cannot be true of a clip, though every hash is that of what is there."""

    def array(name: str, place: Any, value: Any) -> Callable[[Members], Members]:
        def edit(arrays: dict[str, Array]) -> dict[str, Array]:
            arrays[name][place] = value
            return arrays

        return lambda members: with_labels(members, edit)

    def picture(kind: str, place: Any, value: Any) -> Callable[[Members], Members]:
        def edit(image: Array) -> Array:
            image[place] = value
            return image

        return lambda members: with_picture(members, f"001.{kind}", edit)

    for field in fields(Labels):
        if field.name in ("joints_visible", "joints_hidden_by", "flow_source"):
            continue
        for value in (np.nan, np.inf):
            yield Damage(f"{field.name} {value}", in_clip(array(field.name, -1, value)), SHARD, SECOND)
    places: dict[str, tuple[Any, Any]] = {
        "intrinsics": ((0, 0, 0), -300),
        "camera_from_world": ((1, 0, 1), 0.5),
        "joints_m": ((1, 4, 2), -0.1),
        "weak_perspective": ((0, 0), 0),
        "weak_perspective_residual_px": (0, -1),
        "betas": (3, 40),
        "pose": ((1, 5, 0), 20),
        "joints_hidden_by": ((0, 3), 77),
        "joints_visible": ((0, slice(None)), True),
        "box_px": ((0, 0), 1e4),
        "box_visible_px": ((0, 1), 1e4),
        "flow_joints_m": ((0, 9), 0.2),
        "flow_source": (0, -1),
    }
    for name, (place, value) in places.items():
        yield Damage(f"{name} out of range", in_clip(array(name, place, value)), SHARD, SECOND)
    arrays: dict[str, Callable[[dict[str, Array]], dict[str, Array]]] = {
        "an array lost": lambda told: {name: array for name, array in told.items() if name != "pose"},
        "an optional array lost": lambda told: {name: array for name, array in told.items() if name != "box_px"},
        "an array more": lambda told: {**told, "more": np.zeros(3)},
        "a frame lost": lambda told: {**told, "joints_m": told["joints_m"][:1]},
        "a joint lost": lambda told: {**told, "joints_px": told["joints_px"][:, :20]},
        "double precision": lambda told: {**told, "betas": told["betas"].astype(float)},
        "bytes for truth": lambda told: {**told, "joints_visible": told["joints_visible"].astype(np.uint8)},
        "objects": lambda told: {**told, "pose": np.array([{}, 1], object)},
    }
    for name, edit in arrays.items():
        yield Damage(name, in_clip(lambda members, edit=edit: with_labels(members, edit)), SHARD, SECOND)
    pixels: dict[str, tuple[str, Any, Any]] = {
        "an unknown part": ("parts.png", (0, 0), 99),
        "no depth on the hand": ("depth.png", slice(None), 0),
        "depth on nothing": ("depth.png", slice(None), 5000),
        "a mask of 7": ("mask_amodal.png", (2, 2), 7),
        "a mask of all": ("mask_visible.png", slice(None), 255),
        "flow NaN": ("flow.npy", (3, 3), np.nan),
        "flow at the end": ("flow.npy", (3, 3), 1),
        "normals of nothing": ("normals.png", slice(None), 0),
        "long normals": ("normals.png", slice(None), 255),
    }
    for name, (kind, place, value) in pixels.items():
        yield Damage(name, in_clip(picture(kind, place, value)), SHARD, SECOND)
    for kind in KINDS:
        yield Damage(f"{kind} too small", in_clip(lambda members, kind=kind: with_picture(members, f"001.{kind}", lambda image: image[:-1])), SHARD, SECOND)
        yield Damage(f"{kind} of another type", in_clip(lambda members, kind=kind: with_picture(members, f"001.{kind}", other_type)), SHARD, SECOND)
        yield Damage(f"{kind} cut off", in_clip(lambda members, kind=kind: {**members, f"001.{kind}": members[f"001.{kind}"][:-20]}), SHARD, SECOND)
        yield Damage(f"{kind} empty", in_clip(lambda members, kind=kind: {**members, f"001.{kind}": b""}), SHARD, SECOND)
        yield Damage(f"{kind} lost", in_clip(lambda members, kind=kind: {name: data for name, data in members.items() if name != f"001.{kind}"}), SHARD, SECOND)
    for kind in (kind for kind in KINDS if kind.endswith("png")):
        yield Damage(
            f"{kind}'s checksum", in_clip(lambda members, kind=kind: {**members, f"000.{kind}": members[f"000.{kind}"][:-17] + b"xx" + members[f"000.{kind}"][-15:]}), SHARD, SECOND
        )
        yield Damage(f"{kind} and more", in_clip(lambda members, kind=kind: {**members, f"000.{kind}": members[f"000.{kind}"] + b"more"}), SHARD, SECOND)
    metas: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
        "meta of another seed": lambda told: {**told, "seed": 8},
        "meta of other frames": lambda told: {**told, "frames": 3},
        "meta of many frames": lambda told: {**told, "frames": 10**9},
        "meta of another size": lambda told: {**told, "size": [17, 20]},
        "meta of another speed": lambda told: {**told, "fps": 25.0},
        "meta of another type": lambda told: {**told, "fps": 30},
        "meta of another clip": lambda told: {**told, "index": 0, "key": FIRST},
        "meta with less": lambda told: {name: value for name, value in told.items() if name != "skin"},
        "meta with more": lambda told: {**told, "more": 1},
        "meta with null": lambda told: {**told, "flow": {**told["flow"], "start_row": None}},
        "meta of no record": lambda told: {},
    }
    for name, edit in metas.items():
        yield Damage(name, in_clip(lambda members, edit=edit: with_meta(members, edit)), SHARD, SECOND)
    files = {"no JSON": ("meta.json", b"{"), "deep JSON": ("meta.json", b"[" * 100_000), "JSON NaN": ("meta.json", b'{"fps": NaN}'), "no zip": ("labels.npz", b"x" * 3000)}
    files |= {
        "a bomb": ("001.depth.png", png_of(50_000, 50_000)),
        "a picture of another format": ("001.rgb.jpg", png_of(20, 17)),
        "a huge array": ("001.flow.npy", npy_of("(2000000000, 2000000000)")),
    }
    for name, (member, data) in files.items():
        yield Damage(name, in_clip(lambda members, member=member, data=data: {**members, member: data}), SHARD, SECOND)
    yield Damage("members reversed", in_clip(lambda members: list(members.items())[::-1]), SHARD, SECOND)
    yield Damage("a member twice", in_clip(lambda members: [*members.items(), ("meta.json", members["meta.json"])]), SHARD, SECOND)
    yield Damage("a member more", in_clip(lambda members: {"000.more.png": b"x", **members}), SHARD, SECOND)
    yield Damage("a frame more", in_clip(lambda members: {**members, **{f"002.{kind}": members[f"001.{kind}"] for kind in KINDS}}), SHARD, SECOND)


def other_type(image: Array) -> Array:
    """The picture with other numbers or channels."""
    if image.dtype == np.float32:
        return image.astype(float)
    return image[..., 0] if image.ndim == 3 else image.astype(np.uint8) if image.dtype == np.uint16 else image.astype(np.uint16)


def png_of(width: int, height: int) -> bytes:
    """A PNG of a few kilobytes that claims a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([16, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")


def npy_of(shape: str) -> bytes:
    """An array of no numbers that claims a shape."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (1,)})
    return stream.getvalue().replace(b"(1,)", shape.encode())


@ALL
def test_what_cannot_be_true_is_found_with_all_hashes_made_anew(sound: Path, tmp_path: Path, every: int) -> None:
    check_found(sound, tmp_path, list(content_injuries())[::every], least=125 // every)


def test_a_clip_of_another_data_set_is_found_with_all_hashes_made_anew(sound: Path, tmp_path: Path) -> None:
    write_data_set(tmp_path / "seed 8", SHARDS, config={**CONFIG, "seed": 8}, frames=2, size=(20, 17), pictures=OPTIONAL_PICTURES)
    theirs = clips_of(tmp_path / "seed 8" / "shards" / SHARD)[SECOND]
    directory = copied(sound, tmp_path / "set")
    replace_clip(directory, SHARD, SECOND, lambda members: theirs)
    assert (SHARD, SECOND) in {(fault.file, fault.key) for fault in verify_dataset(directory)}


# Merged data sets


def test_an_index_over_several_data_sets_is_followed_into_its_parts(sound: Path, tmp_path: Path) -> None:
    first, second = copied(sound, tmp_path / "first"), tmp_path / "second"
    write_data_set(second, SHARDS, config={**CONFIG, "seed": 8}, frames=2, size=(20, 17), pictures=OPTIONAL_PICTURES)
    merged = tmp_path / "merged"
    merge_datasets([first, second], merged)
    assert verify_dataset(merged) == []
    write_rows_anew(merged, lambda rows: [*rows[:5], {**rows[5], "viewpoint": "other"}, *rows[6:]])
    assert [(fault.file, fault.key) for fault in verify_dataset(merged)] == [("index.parquet", SECOND)]
    write_rows_anew(merged, lambda rows: [*rows[:5], {**rows[5], "viewpoint": rows[1]["viewpoint"]}, *rows[6:]])
    changed(second / "shards" / SHARD, 700)
    assert {(fault.file, fault.key) for fault in verify_dataset(merged)} == {("../second/train-000000.tar", None), ("../second/train-000000.tar", FIRST)}
    shutil.rmtree(second)
    assert [fault.file for fault in verify_dataset(merged)] == ["../second/dataset.json"]


# Any byte


def damaged_somewhere(sound: Path, place: Path, name: str, at: int, mask: int) -> list[Fault]:
    """The faults of the data set with one byte of one file changed."""
    directory = copied(sound, place)
    changed(directory / name, at, mask)
    return verify_dataset(directory)


@settings(max_examples=20, derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_byte_of_any_file_matters(sound: Path, tmp_path: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["dataset.json", "index.parquet", *(f"shards/{shard}" for shard in SHARDS)]))
    at = data.draw(st.integers(0, (sound / name).stat().st_size - 1))
    faults = damaged_somewhere(sound, tmp_path / "set", name, at, data.draw(st.integers(1, 255)))
    assert Path(name).name in {fault.file for fault in faults}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dataset.json", "index.parquet", *(f"shards/{shard}" for shard in SHARDS)])
def test_bytes_all_over_every_file_matter(sound: Path, tmp_path: Path, name: str) -> None:
    for place in range(0, (sound / name).stat().st_size, 41):
        faults = damaged_somewhere(sound, tmp_path / "set", name, place, 1 + place % 255)
        assert {fault.file for fault in faults} == {Path(name).name}, (place, faults)
