"""The dataset room: what is written is what is read, by us and by the stock readers, byte for byte the same each time, whole or not there."""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.JpegImagePlugin import get_sampling
from sequences import CONFIG, OPTIONAL_LABELS, OPTIONAL_PICTURES, ORIGIN, QUALITY, SHARDS, make_meta, make_sequence, write_data_set

from seqgen.config import config_digest
from seqgen.dataset import HandSequence, Labels, meta, open_dataset
from seqgen.dataset.claim import claim_folder, sweep
from seqgen.dataset.conventions import conventions, part_names
from seqgen.dataset.encoding import FRAME_MEMBERS, decode_sequence, encode_sequence, frame_members, member_names
from seqgen.dataset.index import INDEX_NAME, index_row, read_index
from seqgen.dataset.index_writer import write_index
from seqgen.dataset.manifest import MANIFEST_NAME, Asset, Manifest, read_manifest, write_manifest
from seqgen.dataset.meta import check_meta
from seqgen.dataset.npz import encode_npy, encode_npz
from seqgen.dataset.png import encode_png
from seqgen.dataset.preview import FINGER_COLOURS, animated_gif, colour_depth, colour_flow, colour_parts, contact_sheet
from seqgen.dataset.sequence import depth_counts, is_hand, mask_bytes, normal_bytes
from seqgen.dataset.shards import ShardRecord, _tar_header, read_shard, shard_name, shard_spans, write_shard
from seqgen.errors import UserError
from seqgen.skeleton import JOINT_NAMES, joint_parts


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished data set that tests only read."""
    directory = tmp_path_factory.mktemp("made") / "set"
    write_data_set(directory)
    return directory


def assert_same(read: HandSequence, written: HandSequence) -> None:
    """Equal in everything; colour is what the JPEG of `written` holds."""
    assert (read.key, read.split, read.meta) == (written.key, written.split, written.meta)
    for frame, picture in enumerate(read.rgb):
        jpeg = dict(encode_sequence(written, jpeg_quality=QUALITY))[f"{frame:03d}.rgb.jpg"]
        np.testing.assert_array_equal(picture, np.asarray(Image.open(io.BytesIO(jpeg))), strict=True)
    for name in ("depth_tenth_mm", "parts", *OPTIONAL_PICTURES):
        assert_same_array(getattr(read, name), getattr(written, name))
    for field in fields(Labels):
        assert_same_array(getattr(read.labels, field.name), getattr(written.labels, field.name))


@pytest.mark.parametrize(("quality", "sampling"), [(1, 1), (95, 1), (96, 0), (100, 0)])
def test_colour_is_at_half_its_width_below_quality_96(quality: int, sampling: int) -> None:
    """By Pillow's own word: 0 is 4:4:4, 1 is 4:2:2, 2 is 4:2:0."""
    jpeg = dict(encode_sequence(make_sequence(0), jpeg_quality=quality))["000.rgb.jpg"]
    assert get_sampling(Image.open(io.BytesIO(jpeg))) == sampling


def assert_same_array(read: np.ndarray | None, written: np.ndarray | None) -> None:
    """Bit for bit, or both absent."""
    assert (read is None) == (written is None)
    if read is not None:
        assert (read.dtype, read.shape, read.tobytes()) == (written.dtype, written.shape, written.tobytes())


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    """A tar of the members, whatever their names."""
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def members_of(n: int, pictures: Sequence[str] = ()) -> list[tuple[str, bytes]]:
    """The members of sequence n with their full names."""
    return [(f"{n:08d}.{name}", data) for name, data in encode_sequence(make_sequence(n, pictures=pictures), jpeg_quality=QUALITY)]


def in_group(n: int, group: int) -> HandSequence:
    """Sequence n as one of several cameras on a motion."""
    sequence = make_sequence(n)
    return replace(sequence, meta={**sequence.meta, "group": group})


# Encoding


@pytest.mark.parametrize(("frames", "size", "labels"), [(3, (32, 24), OPTIONAL_LABELS), (1, (17, 40), ()), (2, (24, 24), OPTIONAL_LABELS[:3])])
def test_a_sequence_survives_its_members(frames: int, size: tuple[int, int], labels: tuple[str, ...]) -> None:
    written = make_sequence(42, frames=frames, size=size, labels=labels)
    members = encode_sequence(written, jpeg_quality=QUALITY)
    assert [name for name, _ in members] == member_names(frames, ["rgb.jpg", "depth.png", "parts.png"])
    assert_same(decode_sequence("00000042", dict(members)), written)


def test_any_set_of_optional_pictures_survives() -> None:
    for chosen in (chosen for count in range(len(OPTIONAL_PICTURES) + 1) for chosen in combinations(OPTIONAL_PICTURES, count)):
        written = make_sequence(5, frames=2, size=(17, 24), pictures=chosen)
        members = dict(encode_sequence(written, jpeg_quality=QUALITY))
        read = decode_sequence(written.key, members)
        assert_same(read, written)
        assert {name for name in OPTIONAL_PICTURES if getattr(read, name) is not None} == set(chosen)
        again = dict(encode_sequence(replace(read, rgb=written.rgb), jpeg_quality=QUALITY))
        assert again == members and list(again) == list(members)


def test_the_members_stand_in_the_order_of_the_contract() -> None:
    members = [name for name, _ in encode_sequence(make_sequence(0, frames=2, pictures=OPTIONAL_PICTURES), jpeg_quality=QUALITY)]
    frame = ["rgb.jpg", "depth.png", "parts.png", "depth_sensor.png", "flow.npy", "normals.png", "mask_amodal.png", "mask_visible.png"]
    assert members == [f"{number:03d}.{name}" for number in range(2) for name in frame] + ["labels.npz", "meta.json"]


def test_a_png_is_what_pillow_reads() -> None:
    rng = np.random.default_rng(3)
    for shape, dtype in (((1, 1), np.uint8), ((24, 17), np.uint16), ((5, 300), np.uint8), ((40, 3, 3), np.uint8), ((200, 200), np.uint16)):
        noise = rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)
        for picture in (noise, np.zeros_like(noise), np.asfortranarray(noise), noise[:, ::-1]):
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_png(picture)))), picture, strict=True)
    with pytest.raises(ValueError, match="neither grey nor RGB"):
        encode_png(np.zeros((4, 4, 2), np.uint8))


def test_an_npz_has_the_bytes_that_numpy_and_zipfile_write() -> None:
    rng = np.random.default_rng(4)
    arrays = {f"a{number}": rng.standard_normal(shape).astype(dtype) for number, (shape, dtype) in enumerate([((2, 3), np.float32), ((), bool), ((0, 4), np.int64)])}
    arrays["transposed"] = np.asfortranarray(rng.standard_normal((3, 5)))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            slow = io.BytesIO()
            np.save(slow, np.ascontiguousarray(array).reshape(array.shape))
            assert encode_npy(array) == slow.getvalue()
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), slow.getvalue())
    assert encode_npz(arrays) == stream.getvalue()
    with np.load(io.BytesIO(encode_npz(arrays))) as read:
        assert list(read) == list(arrays) and all((read[name] == array).all() for name, array in arrays.items())


def test_what_does_not_fit_a_tar_header_is_not_written() -> None:
    for name, size in (("0" * 101, 1), ("0", 8**11)):
        with pytest.raises(ValueError, match="does not fit the header of a tar"):
            _tar_header(name, size)
    for name, size in (("0" * 100, 8**11 - 1), ("00000042.000.rgb.jpg", 0)):
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o644
        assert _tar_header(name, size) == info.tobuf(tarfile.USTAR_FORMAT)


def test_normals_keep_their_direction_and_nothing_is_nothing() -> None:
    normals = np.random.default_rng(0).standard_normal((2, 40, 50, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[0, :10] = 0
    normals[0, 10, :6] = np.concatenate([np.eye(3), -np.eye(3)])
    stored = replace(make_sequence(0, frames=2, size=(50, 40)), normals=normal_bytes(normals)).unit_normals
    assert not stored[0, :10].any() and (normal_bytes(normals)[0, :10] == 0).all()
    angles = np.degrees(np.arccos(np.clip((stored * normals).sum(-1), -1, 1)))
    angles[0, :10] = 0
    assert angles.max() < 0.4 and np.allclose(np.linalg.norm(stored[1], axis=-1), 1, atol=1e-6)
    with pytest.raises(ValueError, match=r"has no normals; generate with labels\.normals"):
        make_sequence(0).unit_normals  # noqa: B018


def test_depth_is_counted_in_tenths_of_millimetres() -> None:
    depth_m = np.array([[0.0, 0.00004, 0.00006, 0.45678, 6.5535, 6.6, 1e9]], np.float32)
    np.testing.assert_array_equal(depth_counts(depth_m), np.array([[0, 0, 1, 4568, 65535, 65535, 65535]], np.uint16), strict=True)
    exact = np.random.default_rng(1).uniform(0.1, 6.5, 20_000).astype(np.float32)[None]
    slow = np.round(exact.astype(float) / 1e-4)
    assert np.abs(depth_counts(exact) - exact.astype(float) / 1e-4).max() < 0.5 + 1 / 256 and (depth_counts(exact) != slow).mean() < 3e-3  # halves, in float32


def test_the_hand_is_parts_1_to_16() -> None:
    labels = np.arange(256, dtype=np.uint8)[None]
    np.testing.assert_array_equal(is_hand(labels), (labels >= 1) & (labels <= 16), strict=True)
    np.testing.assert_array_equal(mask_bytes(is_hand(labels)), np.where((labels >= 1) & (labels <= 16), 255, 0).astype(np.uint8), strict=True)


def test_pictures_of_another_size_are_not_written() -> None:
    sequence = make_sequence(0, pictures=OPTIONAL_PICTURES)
    object.__setattr__(sequence, "mask_visible", sequence.mask_visible[:, :, 1:])  # without the tests' type checker the record takes it
    with pytest.raises(ValueError, match=r"mask_visible is uint8 of shape .3, 24, 31., the sequence has 3 frames of 32 x 24"):
        encode_sequence(sequence, jpeg_quality=QUALITY)


def test_the_schema_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is checked twice a clip, and looking it up costs six times the check."""
    check_meta(make_meta(0))
    monkeypatch.setattr(meta, "get_type_hints", None)
    check_meta(make_meta(1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fps": 30}, "meta.fps is 30 .int., expected float"),
        ({"fps": float("nan")}, "meta.fps is nan"),
        ({"fps": np.float32(30)}, "meta.fps .*float32"),
        ({"seed": True}, "meta.seed is True .bool."),
        ({"split": None}, "meta.split is None"),
        ({"extra": 1}, "lacks nothing and has extra"),
        ({"camera": {"kind": "perspective"}}, "meta.camera lacks model, viewpoint, view, frames_outside"),
        ({"size": [32, 24.0]}, r"meta.size\[1\] is 24.0"),
        ({"size": [32]}, "expected .width, height."),
        ({"frames": 0}, "expected .* at least 1"),
        ({"key": "42"}, "meta.key is '42'"),
    ],
)
def test_the_meta_has_one_schema(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_meta({**make_meta(0), **change})


def test_the_meta_must_agree_with_the_record() -> None:
    with pytest.raises(ValueError, match=r"meta\.frames is 4, the sequence has 3"):
        encode_sequence(replace(make_sequence(0), meta=make_meta(0, frames=4)), jpeg_quality=QUALITY)


# Shards


def test_write_and_read_are_mirrors(tmp_path: Path) -> None:
    path = tmp_path / shard_name("train", 0)
    record = write_shard(path, map(make_sequence, range(5)), jpeg_quality=QUALITY)
    content = path.read_bytes()
    assert record == ShardRecord("train-000000.tar", "train", 5, len(content), hashlib.sha256(content).hexdigest())
    for n, sequence in enumerate(read_shard(path)):
        assert_same(sequence, make_sequence(n))
    assert n == 4
    with tarfile.open(path) as archive:
        assert archive.getnames() == [f"{n:08d}.{name}" for n in range(5) for name in member_names(3, ["rgb.jpg", "depth.png", "parts.png"])]
        assert {(info.mtime, info.uid, info.gid, info.uname, info.gname, info.mode) for info in archive} == {(0, 0, 0, "", "", 0o644)}


def test_the_same_sequences_give_the_same_bytes(tmp_path: Path) -> None:
    first, second = (write_shard(tmp_path / name / "train-000000.tar", map(make_sequence, range(3)), jpeg_quality=QUALITY) for name in "ab")
    assert first == second


@pytest.mark.parametrize("count", [1, 2, 5])
def test_the_stock_writer_gives_the_same_bytes(tmp_path: Path, count: int) -> None:
    stock = io.BytesIO()
    with tarfile.open(fileobj=stock, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for sequence in map(make_sequence, range(count)):
            for name, data in encode_sequence(sequence, jpeg_quality=QUALITY):
                info = tarfile.TarInfo(f"{sequence.key}.{name}")
                info.size, info.mode = len(data), 0o644
                archive.addfile(info, io.BytesIO(data))
    path, hashes = tmp_path / "train-000000.tar", []
    record = write_shard(path, map(make_sequence, range(count)), jpeg_quality=QUALITY, wrote=lambda _, sha256: hashes.append(sha256))
    assert path.read_bytes() == stock.getvalue()
    assert (record.bytes, record.sha256) == (len(stock.getvalue()), hashlib.sha256(stock.getvalue()).hexdigest())
    spans = shard_spans(path).values()
    assert hashes == [hashlib.sha256(stock.getvalue()[start:end]).hexdigest() for start, end in spans]


def test_a_shard_that_fails_is_not_there(tmp_path: Path) -> None:
    write_shard(tmp_path / "train-000001.tar", [make_sequence(9)], jpeg_quality=QUALITY)
    before = (tmp_path / "train-000001.tar").read_bytes()

    def failing():
        yield make_sequence(0)
        raise RuntimeError("the worker died")

    for name in ("train-000000.tar", "train-000001.tar"):
        with pytest.raises(RuntimeError, match="the worker died"):
            write_shard(tmp_path / name, failing(), jpeg_quality=QUALITY)
    assert [path.name for path in tmp_path.iterdir()] == ["train-000001.tar"]
    assert (tmp_path / "train-000001.tar").read_bytes() == before


def test_a_killed_writer_leaves_no_visible_shard(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from sequences import make_sequence; from seqgen.dataset.shards import write_shard\n"
        "def dying():\n    yield make_sequence(0)\n    os._exit(9)\n"
        "write_shard(Path(sys.argv[1]), dying(), jpeg_quality=90)"
    )
    path = tmp_path / "set" / "shards" / "train-000000.tar"
    claim_folder(tmp_path / "set", ORIGIN)
    places = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parent)])
    assert subprocess.run([sys.executable, "-c", script, str(path)], env={**os.environ, "PYTHONPATH": places}, check=False).returncode == 9
    (left,) = path.parent.iterdir()
    assert left.name.startswith(".train-000000.tar.partial-")
    assert claim_folder(tmp_path / "set", ORIGIN) == "unfinished"
    sweep(tmp_path / "set")
    assert not left.exists()


@pytest.mark.parametrize(
    ("sequences", "words"),
    [
        ([], "at least one sequence"),
        ([make_sequence(1), make_sequence(0)], "cannot follow"),
        ([make_sequence(0), make_sequence(0)], "cannot follow"),
        ([make_sequence(0), make_sequence(1, split="val")], "cannot follow"),
        ([make_sequence(0), make_sequence(1, frames=2)], "picture shape"),
        ([make_sequence(0), make_sequence(1, labels=OPTIONAL_LABELS[:3])], "labels"),
        ([make_sequence(0), make_sequence(1, pictures=["normals"])], "members"),
        ([make_sequence(0), in_group(1, 0)], "null fields"),
    ],
)
def test_a_shard_has_one_split_one_schema_and_rising_indices(tmp_path: Path, sequences: list[HandSequence], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        write_shard(tmp_path / "train-000000.tar", sequences, jpeg_quality=QUALITY)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["/etc/passwd", "../00000000.meta.json", "a/00000000.meta.json", "notes.txt", "00000000.000.rgb.jpg/..", "7.meta.json"])
def test_foreign_members_are_refused(tmp_path: Path, name: str) -> None:
    path = write_tar(tmp_path / "bad.tar", [*members_of(0), (name, b"x")])
    with pytest.raises(UserError) as error:
        list(read_shard(path))
    assert "bad.tar" in str(error.value) and name in str(error.value)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_links_and_folders_are_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("00000000.meta.json")
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "bad.tar", "w") as archive:
        archive.addfile(info)
    for read in (lambda path: list(read_shard(path)), shard_spans):
        with pytest.raises(UserError, match=r"bad\.tar: member '00000000\.meta\.json' is no plain file"):
            read(tmp_path / "bad.tar")


def broken(name: str, data: bytes | None, pictures: Sequence[str] = ()) -> list[tuple[str, bytes]]:
    """Sequence 0 with one member replaced, or left out."""
    members = members_of(0, pictures)
    return [(full, content if full != f"00000000.{name}" else data) for full, content in members if full != f"00000000.{name}" or data is not None]


def pickled() -> bytes:
    """An array that would run code when it is read."""
    stream = io.BytesIO()
    np.save(stream, np.array([Path], object), allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("members", "words"),
    [
        (broken("001.depth.png", None), "00000000.001.depth.png is missing"),
        (broken("meta.json", None), "00000000.meta.json is missing"),
        ([*members_of(0), ("00000000.003.rgb.jpg", b"x")], "00000000.003.rgb.jpg is no member of a sample of 3 frames"),
        ([*members_of(0), members_of(0)[0]], "00000000.000.rgb.jpg is there twice"),
        (broken("001.flow.npy", None, OPTIONAL_PICTURES), "00000000.001.flow.npy is missing"),
        (broken("000.normals.png", None, OPTIONAL_PICTURES), "00000000.000.normals.png is missing"),
        ([*members_of(0), ("00000000.000.heat.png", b"x")], "00000000.000.heat.png is no member of a sample of 3 frames"),
        (broken("002.flow.npy", pickled(), OPTIONAL_PICTURES), "00000000.002.flow.npy is damaged: .*allow_pickle"),
        (broken("002.flow.npy", b"", OPTIONAL_PICTURES), "00000000.002.flow.npy is damaged"),
        (broken("001.mask_amodal.png", dict(members_of(0))["00000000.001.depth.png"], OPTIONAL_PICTURES), "mask_amodal.png is damaged: it is uint16"),
        (broken("001.depth.png", b"no picture"), "00000000.001.depth.png is damaged"),
        (broken("001.depth.png", members_of(0)[2][1]), "it is uint8 of shape .24, 32., expected uint16 of shape .24, 32."),
        (broken("meta.json", members_of(1)[-1][1]), "00000000.meta.json is that of sequence 00000001"),
        (broken("meta.json", b"{"), "00000000.meta.json is damaged"),
        (broken("meta.json", json.dumps({**make_meta(0), "fps": 30}).encode()), "meta.fps is 30"),
        (broken("labels.npz", b"PK"), "00000000.labels.npz is damaged"),
        (broken("labels.npz", dict(encode_sequence(make_sequence(0, frames=2), jpeg_quality=QUALITY))["labels.npz"]), "joints_m is float32 of shape .2, 21, 3."),
    ],
)
def test_wrong_members_are_named(tmp_path: Path, members: list[tuple[str, bytes]], words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        list(read_shard(write_tar(tmp_path / "bad.tar", members)))
    assert "bad.tar" in str(error.value) and "\n" not in str(error.value)


def test_a_damaged_shard_is_not_taken_for_a_short_one(tmp_path: Path) -> None:
    path = tmp_path / "train-000000.tar"
    write_shard(path, map(make_sequence, range(3)), jpeg_quality=QUALITY)
    content, middle = path.read_bytes(), shard_spans(path)["00000001"]
    for damaged in (
        content[: middle[0]],  # cut between two sequences
        content[: middle[0] + 100],  # within a header
        content[: middle[0] + 600],  # within a member
        content[: middle[0]] + b"\xff" * 512 + content[middle[0] + 512 :],  # a header overwritten
        b"no tar at all" * 100,
        b"",
    ):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"train-000000\.tar"):
            list(read_shard(path))
    with pytest.raises(UserError, match="missing"):
        list(read_shard(tmp_path / "train-000009.tar"))


# The stock readers


@pytest.fixture(scope="module")
def rich_data_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One with all optional members."""
    directory = tmp_path_factory.mktemp("rich") / "set"
    write_data_set(directory, pictures=OPTIONAL_PICTURES)
    return directory


def stored_pictures(n: int, pictures: Sequence[str]) -> dict[str, np.ndarray]:
    """What is in each picture of sequence n, by member."""
    written = make_sequence(n, pictures=pictures)
    read = decode_sequence(written.key, dict(encode_sequence(written, jpeg_quality=QUALITY)))
    stored = {name: getattr(read if name == "rgb.jpg" else written, FRAME_MEMBERS[name].field) for name in frame_members(written)}
    return {f"{frame:03d}.{name}": clip[frame] for frame in range(3) for name, clip in stored.items()}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves the shard open
@pytest.mark.parametrize(("made", "pictures"), [("data_set", ()), ("rich_data_set", OPTIONAL_PICTURES)])
def test_webdataset_reads_every_sample(made: str, pictures: tuple[str, ...], request: pytest.FixtureRequest) -> None:
    wds = pytest.importorskip("webdataset")
    path = str(request.getfixturevalue(made) / "shards" / "train-000000.tar")
    samples = list(wds.WebDataset(path, shardshuffle=False).decode(wds.handle_extension("png", lambda data: np.array(Image.open(io.BytesIO(data)))), "rgb8"))
    assert [sample["__key__"] for sample in samples] == [f"{n:08d}" for n in range(4)]
    for n, sample in enumerate(samples):
        written, stored = make_sequence(n, pictures=pictures), stored_pictures(n, pictures)
        assert {name for name in sample if not name.startswith("__")} == {*stored, "labels.npz", "meta.json"}
        for name, picture in stored.items():
            np.testing.assert_array_equal(sample[name], picture, strict=True)
        for name, array in sample["labels.npz"].items():
            np.testing.assert_array_equal(array, getattr(written.labels, name), strict=True)
        assert sample["meta.json"] == written.meta


@pytest.mark.parametrize(("made", "pictures"), [("data_set", ()), ("rich_data_set", OPTIONAL_PICTURES)])
def test_datasets_reads_every_sample(made: str, pictures: tuple[str, ...], request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"HF_HOME": str(tmp_path), "HF_DATASETS_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}.items():
        monkeypatch.setenv(name, value)
    datasets = pytest.importorskip("datasets")
    files = [str(request.getfixturevalue(made) / "shards" / name) for name in ("train-000000.tar", "train-000001.tar")]
    samples = datasets.load_dataset("webdataset", data_files={"train": files}, split="train", cache_dir=str(tmp_path))
    assert samples["__key__"] == [f"{n:08d}" for n in range(7)]
    for n, sample in enumerate(samples):
        written = make_sequence(n, pictures=pictures)
        for name, picture in stored_pictures(n, pictures).items():
            if not name.endswith(".jpg"):  # decoded by another library
                np.testing.assert_array_equal(np.asarray(sample[name], picture.dtype), picture, strict=True)
        for field in fields(Labels):
            array = getattr(written.labels, field.name)
            np.testing.assert_array_equal(np.array(sample["labels.npz"][field.name], array.dtype), array, strict=True)
        assert sample["meta.json"] == written.meta


# The finished data set


def test_open_dataset_in_order_and_at_random(data_set: Path) -> None:
    dataset = open_dataset(data_set)
    assert len(dataset) == 9 and dataset.manifest.seed == 7
    for n, sequence in enumerate(dataset):
        assert_same(sequence, make_sequence(n, split="train" if n < 7 else "val"))
    assert n == 8
    assert [dataset[item].key for item in (5, "00000002", -1, 0)] == ["00000005", "00000002", "00000008", "00000000"]
    assert_same(pickle.loads(pickle.dumps(dataset))["00000007"], make_sequence(7, split="val"))
    with pytest.raises(IndexError):
        dataset[9]
    with pytest.raises(KeyError):
        dataset["00000099"]


def open_shards() -> list[str]:
    """Names of the shards that this process holds open."""
    return sorted(path.name for path in (Path(os.path.realpath(link)) for link in Path("/proc/self/fd").iterdir()) if path.suffix == ".tar")


def test_shards_that_go_on_after_a_block_of_another_split_are_read_in_index_order(tmp_path: Path) -> None:
    """As with 15 sequences, splits of 8, 1 and 1 in turn, and 10 a shard."""
    planned = {"train-000000.tar": [*range(8), 10, 11], "train-000001.tar": [12, 13, 14], "val-000000.tar": [8], "test-000000.tar": [9]}
    write_data_set(tmp_path, planned)
    dataset, open_at = open_dataset(tmp_path), {}
    for sequence in dataset:
        open_at[sequence.key] = open_shards()
        assert_same(sequence, make_sequence(sequence.meta["index"], split=sequence.split))
    assert [int(key) for key in open_at] == list(range(15))
    assert open_at["00000009"] == ["test-000000.tar", "train-000000.tar"] and open_at["00000012"] == ["train-000001.tar"] and open_shards() == []
    assert [sequence.key for sequence in open_dataset(tmp_path, "train")] == [f"{n:08d}" for n in sorted(planned["train-000000.tar"] + planned["train-000001.tar"])]

    begun = iter(dataset)
    assert next(begun).key == "00000000" and open_shards() == ["train-000000.tar"]
    begun.close()
    assert open_shards() == []

    write_shard(tmp_path / "shards" / "train-000000.tar", map(make_sequence, [*range(8), 10, 11, 15]), jpeg_quality=QUALITY)
    with pytest.raises(UserError, match=r"train-000000\.tar does not hold"):
        list(dataset)
    assert open_shards() == []


def test_open_dataset_of_one_split(data_set: Path) -> None:
    validation = open_dataset(data_set, "val")
    assert [sequence.key for sequence in validation] == ["00000007", "00000008"] == [validation[0].key, validation[1].key]
    with pytest.raises(UserError, match="no split 'test'; it has train, val"):
        open_dataset(data_set, split="test")


def test_open_dataset_notices_shards_that_differ_from_the_index(tmp_path: Path) -> None:
    write_data_set(tmp_path)
    write_shard(tmp_path / "shards" / "train-000000.tar", map(make_sequence, range(3)), jpeg_quality=QUALITY)
    dataset = open_dataset(tmp_path)
    for read in (lambda: list(dataset), lambda: dataset[3]):
        with pytest.raises(UserError, match=r"train-000000\.tar does not hold"):
            read()


def test_the_whole_data_set_is_reproducible(data_set: Path, tmp_path: Path) -> None:
    write_data_set(tmp_path)
    files = [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("*")) if path.is_file()]
    assert list(map(str, files)) == [MANIFEST_NAME, INDEX_NAME, *(f"shards/{name}" for name in SHARDS)]
    assert all((tmp_path / file).read_bytes() == (data_set / file).read_bytes() for file in files)


def test_the_index_says_what_the_meta_says(data_set: Path) -> None:
    rows = read_index(data_set)
    assert [row.id for row in rows] == list(range(9))
    assert rows[4] == index_row(make_meta(4), "train-000001.tar", rows[4].sha256)
    assert (rows[4].speed, rows[4].shareable, rows[5].shareable) == (3.0, False, True)
    assert (rows[4].arm, rows[4].occluder, rows[5].occluder, rows[5].frames_outside, rows[5].group) == ("bare", "box", "none", 1, -1)
    grouped = index_row(in_group(7, 6).meta, "train-000001.tar", "of its bytes")
    assert (grouped.group, grouped.view, grouped.sensor, grouped.depth_sensor, grouped.camera_model) == (6, 0, "none", "none", "pinhole")


def test_the_index_has_plain_columns(data_set: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(data_set / INDEX_NAME)
    types = {"id": "int64", "group": "int64", "frames_outside": "int64", "speed": "double", "shareable": "bool", "key": "string", "arm": "string"}
    assert {name: str(table.schema.field(name).type) for name in types} == types and not any(field.nullable for field in table.schema)


def test_index_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"index.parquet is missing"):
        read_index(tmp_path)
    (tmp_path / INDEX_NAME).write_bytes(b"no parquet")
    with pytest.raises(UserError, match=r"index.parquet is damaged"):
        read_index(tmp_path)
    with pytest.raises(ValueError, match="same id"):
        write_index(tmp_path, [index_row(make_meta(0), "train-000000.tar", "of its bytes")] * 2, ORIGIN.as_dict())


@pytest.mark.parametrize("name", ["~nobody", "~/set", "exp:1", "s3:x", "file:", "a/b c#?%20"])
def test_a_folder_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    write_data_set(Path(name))
    assert (tmp_path / name / INDEX_NAME).is_file()
    for directory in (name, tmp_path / name):
        assert [row.id for row in open_dataset(directory).rows] == list(range(9))


def test_the_manifest_says_what_the_data_set_is(data_set: Path) -> None:
    manifest = read_manifest(data_set)
    assert manifest.counts == {"sequences": 9, "frames": 27, "splits": {"train": 7, "val": 2}}
    assert manifest.shares == {"frames_partly_outside": 4 / 27, "left": 0.0, "arm": 6 / 9, "occluder": 3 / 9}
    assert (manifest.config, manifest.config_hash) == (CONFIG, config_digest(dict(reversed(CONFIG.items()))))
    assert manifest.identity == ORIGIN.identity != manifest.config_hash
    assert manifest.conventions["joints"] == list(JOINT_NAMES)
    assert [shard.sha256 for shard in manifest.shards] == [hashlib.sha256((data_set / "shards" / name).read_bytes()).hexdigest() for name in SHARDS]
    assert manifest.assets == (Asset("poses", "built-in", "CC0-1.0", "made up"),) and manifest.run["versions"]["numpy"] == np.__version__
    assert not manifest.sharing["may_be_shared"] and "4 of 9 clips" in manifest.sharing["because"][-1]  # the clips of even number show a picture for research only


def test_the_conventions_say_what_is_applied() -> None:
    said = conventions()
    assert "3 mm behind to 35 mm before the joint" in said["joints_visible"] and "connects" in said["joints_visible"]
    assert "[[s, 0, tx], [0, s, ty], [0, 0, 1]], px = s x + tx, s y + ty" in said["intrinsics"]
    assert said["world_axes"] == "x right, y down (gravity), z forward"
    assert "relative to the hand model's template" in said["hand_parameters"] and "mirrored world" in said["hands"]
    assert "parts 1 to 16" in said["masks"] and said["joints_hidden_by"].startswith("0 where") and "or 255" in said["joints_hidden_by"]


def test_part_names_agree_with_the_skeleton() -> None:
    for name, parts in zip(JOINT_NAMES, joint_parts(), strict=True):
        finger, _, joint = name.partition("_")
        if joint in ("ip", "dip", "tip"):
            assert {part_names()[part].split("_")[0] for part in parts} == {finger}
        if joint == "tip":
            assert {part_names()[part] for part in parts} == {f"{finger}_distal"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "is missing"),
        ("{", "is damaged"),
        ("[]", "was not written by seqgen"),
        ('{"format": "seqgen", "schema_version": 1}', "schema version 1, this seqgen reads 3"),
        ('{"format": "seqgen", "schema_version": 3}', "is damaged"),
        (json.dumps({"format": "seqgen", "schema_version": 3, **{field.name: [] for field in fields(Manifest)}}), r"is damaged: config is \[\]"),
    ],
)
def test_manifest_errors_are_one_line(tmp_path: Path, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / MANIFEST_NAME).write_text(text)
    with pytest.raises(UserError, match=words) as error:
        read_manifest(tmp_path)
    assert "dataset.json" in str(error.value) and "\n" not in str(error.value)


def test_a_manifest_is_written_last(data_set: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="written last"):
        write_manifest(tmp_path, read_manifest(data_set))
    assert not (tmp_path / MANIFEST_NAME).exists()


# Pictures


def test_the_contact_sheet_shows_the_joints_where_they_are() -> None:
    sequence = make_sequence(0, size=(96, 96))
    hidden = np.zeros((3, 21), bool)
    for visible, at_tip in ((~hidden, True), (hidden, False)):
        sheet = contact_sheet([replace(sequence, labels=replace(sequence.labels, joints_visible=visible))], columns=3, tile_width=192)
        corner = np.array((8, 8 + 24 + 4))  # border; border, caption and gap
        for frame in range(3):
            for finger, colour in enumerate(FINGER_COLOURS.values()):
                x, y = (corner + (frame * 196, 0) + (sequence.labels.joints_px[frame, 4 + 4 * finger] + 0.5) * 2).astype(int).tolist()
                assert (np.abs(np.subtract(sheet.getpixel((x, y)), colour)).max() < 12) == at_tip


def test_the_sheet_shows_the_optional_pictures_that_there_are() -> None:
    bare, rich = make_sequence(0), make_sequence(0, pictures=OPTIONAL_PICTURES)
    short, tall = (contact_sheet([sequence], columns=3, tile_width=64) for sequence in (bare, rich))
    row = 48 + 4
    assert (tall.width, tall.height) == (short.width, short.height + 3 * row)  # masks are in the parts
    assert short.tobytes() == tall.crop((0, 0, tall.width, short.height - 8)).tobytes() + short.crop((0, short.height - 8, *short.size)).tobytes()
    for number, pictures in enumerate((colour_depth(rich.depth_sensor_tenth_mm.astype(np.float32)), rich.normals, colour_flow(rich.flow_px))):
        top = short.height - 8 + 4 + number * row
        shown = np.asarray(tall.crop((8, top, 8 + 64, top + 48)))
        np.testing.assert_array_equal(shown, pictures[0].repeat(2, 0).repeat(2, 1))
    assert animated_gif([rich], tile_width=64) == animated_gif([bare], tile_width=64)


def test_the_hue_of_flow_is_its_direction_and_stillness_is_white() -> None:
    right, left, down, still = colour_flow(np.array([[[2, 0], [-2, 0], [0, 2], [0, 0]]], np.float32))[0].tolist()
    assert (right, left, still) == ([255, 0, 0], [0, 255, 255], [255, 255, 255])
    assert down[1] == 255 and down[0] == 128 and down[2] == 0  # a quarter of the way round
    assert (colour_flow(np.zeros((1, 2, 3, 2), np.float32)) == 255).all()


def test_the_gif_moves_at_the_clips_speed() -> None:
    gif = Image.open(io.BytesIO(animated_gif([make_sequence(0), make_sequence(1, frames=2)], tile_width=64)))
    assert (gif.n_frames, gif.size, gif.info["duration"]) == (3, (3 * 64 + 4 * 4, 2 * 48 + 3 * 4), 30)  # 33 ms; a GIF counts hundredths


@pytest.mark.parametrize("size", [(16, 4096), (4096, 16), (32, 24)], ids=str)
@pytest.mark.parametrize(("fps", "duration"), [(0.001, 5000), (1e6, 20), (4.0, 250)])
def test_no_clip_is_too_tall_or_slow_for_a_gif(size: tuple[int, int], fps: float, duration: int) -> None:
    sequences = [replace(sequence, meta={**sequence.meta, "fps": fps}) for sequence in (make_sequence(n, frames=2, size=size) for n in range(2))]
    gif = Image.open(io.BytesIO(animated_gif(sequences)))
    assert (gif.n_frames, gif.info["duration"]) == (2, duration) and max(gif.size) <= 2000
    assert gif.size == (496, 252) or size != (32, 24)
    assert contact_sheet(sequences).height < 2 * 3 * 2100


def test_a_still_clip_of_many_slow_frames_fits_in_a_gif() -> None:
    """Pillow adds up the times of frames that do not differ."""
    sequence = make_sequence(0, frames=1)
    stills = {name: np.repeat(getattr(sequence, name), 300, 0) for name in ("rgb", "depth_tenth_mm", "parts")}
    labels = {field.name: np.repeat(getattr(sequence.labels, field.name), 300, 0) for field in fields(Labels) if field.name != "betas"}
    still = replace(sequence, **stills, labels=replace(sequence.labels, **labels), meta={**sequence.meta, "frames": 300, "fps": 0.001})
    assert Image.open(io.BytesIO(animated_gif([still], tile_width=16))).info["duration"] == 600_000


def test_colours_tell_depths_and_parts_apart() -> None:
    depth = colour_depth(np.array([[0.0, 0.3, 0.5]]))
    assert depth[0, 1, 0] > depth[0, 1, 2] and depth[0, 2, 2] > depth[0, 2, 0]  # near is red, far is blue
    assert colour_depth(np.zeros((2, 2))).shape == (2, 2, 3)
    labels = np.array([sorted(part_names())], np.uint8)
    assert len(np.unique(colour_parts(labels)[0], axis=0)) == len(part_names()) == 19
