"""MSRA's reader: a folder in the authors' format gives back what was put in, subject by subject, and what is wrong with one is said in one line."""

import logging
import pickle
import struct
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from drawn_depth import draw_depth
from real_sets import MadeUpHands, made_up_hands

from seqgen.benchmarks import Msra, Stills, holds_data_set, open_clips
from seqgen.benchmarks.msra import read_depth_bin
from seqgen.dataset.clip import ClipSource
from seqgen.errors import UserError
from seqgen.estimators.views.cube import CubeConfig
from seqgen.estimators.views.feed import batch_of
from seqgen.hand import load_hand

Array = np.ndarray
K = np.array([[241.42, 0, 160], [0, 241.42, 120], [0, 0, 1]])
IN_THE_FILE = ("wrist", *(f"{finger}_{joint}" for finger in ("index", "middle", "ring", "little", "thumb") for joint in ("mcp", "pip", "dip", "tip")))  # the read-me's list
OURS = ("wrist", *(f"{finger}_{joint}" for finger in ("thumb", "index", "middle", "ring", "little") for joint in ("mcp", "pip", "dip", "tip")))
FRAMES = 3


@lru_cache
def hands() -> MadeUpHands:
    """Right hands to the right of the camera's axis and below it."""
    made_up = made_up_hands(load_hand("open"), FRAMES, depth_m=0.4)
    joints_m = made_up.joints_m - made_up.joints_m.min((0, 1)) * [1, 1, 0] + [0.01, 0.005, 0]
    return MadeUpHands(made_up.pose, made_up.betas, joints_m, made_up.vertices_m)


@lru_cache
def drawn(frame: int) -> Array:
    return draw_depth(hands().joints_m[frame], K, (320, 240))


def text_of(joints_m: Array, *, axes: tuple[int, int, int] = (1, -1, -1), unit_m: float = 1e-3) -> str:
    """joint.txt: y up, z towards the camera, millimetres."""
    in_order = [[hand[OURS.index(name)] for name in IN_THE_FILE] for hand in joints_m]
    rows = np.array(in_order) * axes / unit_m
    return "\n".join([str(len(rows)), *(" ".join(f"{number:.6f}" for number in row.ravel()) for row in rows)]) + "\n"


def bin_of(depth_mm: Array) -> bytes:
    rows, columns = np.nonzero(depth_mm)
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    return struct.pack("<6i", 320, 240, left, top, right, bottom) + depth_mm[top:bottom, left:right].astype("<f4").tobytes()


def write_msra(folder: Path, gestures: tuple[str, ...] = ("P0/1", "P1/TIP"), text: str | None = None) -> Path:
    for gesture in gestures:
        (folder / gesture).mkdir(parents=True)
        (folder / gesture / "joint.txt").write_text(text_of(hands().joints_m) if text is None else text)
        for frame in range(FRAMES):
            (folder / gesture / f"{frame:06d}_depth.bin").write_bytes(bin_of(drawn(frame)))
    return folder


@pytest.fixture(scope="module")
def msra(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_msra(tmp_path_factory.mktemp("msra"))


def test_joints_come_back_in_our_order_and_axes(msra: Path) -> None:
    source = Msra(msra, "test")
    clip = source.read(0)
    assert isinstance(source, ClipSource) and source.num_frames(0) == FRAMES and source.key(0) == clip.key == "P0_1_000000"
    np.testing.assert_allclose(clip.joints_m, hands().joints_m, atol=1e-6)
    assert (clip.joints_m > 0).all() and (clip.joints_px > (160, 120)).all(), "the hands are right of the axis, below it and before the camera"
    x, y, z = np.moveaxis(hands().joints_m, 2, 0)
    np.testing.assert_allclose(clip.joints_px, np.stack([160 + 241.42 * x / z, 120 + 241.42 * y / z], -1), atol=1e-3)
    assert (clip.side, clip.rgb, clip.mask, clip.joint_set) == ("right", None, None, "canonical") and clip.joints_valid.all()
    np.testing.assert_array_equal(clip.intrinsics, np.repeat(K.astype(np.float32)[None], FRAMES, 0))


def test_depth_stands_where_the_box_says(msra: Path) -> None:
    clip = Msra(msra, "test").read(0)
    for frame in range(FRAMES):
        np.testing.assert_array_equal(clip.depth_tenth_mm[frame], np.rint(drawn(frame) * 10))
        rows, columns = np.nonzero(drawn(frame))
        np.testing.assert_allclose(clip.box_px[frame], [columns.min(), rows.min(), columns.max(), rows.max()], atol=3)


def test_a_depth_network_is_shown_the_hands(msra: Path) -> None:
    source = open_clips(msra, split="test", pictures=("depth",))
    assert isinstance(source, Msra) and "3 hands" in source.verdict and "joint order fits; right hands" in source.verdict
    batch = batch_of([source.read(0)], CubeConfig(joints="msra", cube_mm=300))
    in_file = np.loadtxt(msra / "P0" / "1" / "joint.txt", skiprows=1).reshape(-1, 21, 3) * [1e-3, -1e-3, -1e-3]
    np.testing.assert_allclose((batch.joints_m + batch.root_m[:, :, None])[0], in_file, atol=1e-6)
    assert batch.usable.all() and (batch.depth < 1).any((2, 3)).all()
    with pytest.raises(UserError, match="this network sees colours"):
        open_clips(msra, split="test")
    assert holds_data_set(msra) and not holds_data_set(msra / "P0")


def test_subjects_are_held_out(tmp_path: Path) -> None:
    write_msra(tmp_path, ("P0/1", "P0/Y", "P3/1", "P8/RP"))
    expected = {
        None: {"P3_1", "P8_RP"},
        "train": {"P3_1", "P8_RP"},
        "test": {"P0_1", "P0_Y"},
        "train-P3": {"P0_1", "P0_Y", "P8_RP"},
        "test-P3": {"P3_1"},
        "test-P8": {"P8_RP"},
    }
    for split, gestures in expected.items():
        source = open_clips(tmp_path, split=split, pictures=("depth",))
        assert {source.key(n).removesuffix("_000000") for n in range(len(source))} == gestures
    assert source.name == "MSRA test, P8 held out" and "P8/1/joint.txt" in source.missing and len(source.missing) == 16
    for split in ("val", "test-P9", "P3"):
        with pytest.raises(UserError, match=f"MSRA has no split '{split}'; it has train and test with P0 held out, and train-P3"):
            open_clips(tmp_path, split=split, pictures=("depth",))
    with pytest.raises(UserError, match=r"no labels of MSRA's test split with P5 held out: P5/1/joint.txt is not there"):
        open_clips(tmp_path, split="test-P5", pictures=("depth",))
    with pytest.raises(ValueError, match="held_out is 9"):
        Msra(tmp_path, held_out=9)


def test_decodes_only_the_frames_asked_for(tmp_path: Path) -> None:
    source = Msra(write_msra(tmp_path), "test")
    whole = source.read(0)
    (tmp_path / "P0/1/000000_depth.bin").write_bytes(b"no picture")
    part = source.read(0, [2, 1, 2])
    for name in ("depth_tenth_mm", "joints_m", "joints_px", "box_px"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[[2, 1, 2]])
    np.testing.assert_array_equal(Stills(source).read(1).joints_m, whole.joints_m[1:2])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(0, [2]).depth_tenth_mm, whole.depth_tenth_mm[2:])
    with pytest.raises(IndexError, match="has 3 frames"):
        source.read(0, [3])


def test_clips_are_cut_where_pictures_are_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_msra(tmp_path, ("P0/1", "P0/2"))
    (tmp_path / "P0/1/000001_depth.bin").unlink()
    (tmp_path / "P0/2/000003_depth.bin").write_bytes(bin_of(drawn(0)))  # a picture that has no label
    with caplog.at_level(logging.WARNING):
        source = Msra(tmp_path, "test")
    assert [(source.key(n), source.num_frames(n)) for n in range(len(source))] == [("P0_1_000000", 1), ("P0_1_000002", 1), ("P0_2_000000", 3)]
    assert "P0/1/000001_depth.bin" in source.missing and "16 files are missing and left out: P0/3/joint.txt" in caplog.text
    np.testing.assert_allclose(source.read(1).joints_m, hands().joints_m[2:], atol=1e-6)
    for picture in tmp_path.rglob("*_depth.bin"):
        picture.unlink()
    with pytest.raises(UserError, match=r"none of the pictures of MSRA test, P0 held out is there"):
        Msra(tmp_path, "test")


def test_an_empty_picture_and_readings_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "000000_depth.bin"
    path.write_bytes(struct.pack("<6i", 320, 240, 7, 9, 7, 9))
    assert not read_depth_bin(path).any()
    values = np.array([[0, -1, np.nan, np.inf], [32001, 6553.5, 6553.44, 300.04]], np.float32)
    path.write_bytes(struct.pack("<6i", 320, 240, 316, 238, 320, 240) + values.tobytes())
    depth = read_depth_bin(path)
    np.testing.assert_array_equal(depth[238:, 316:], [[0, 0, 0, 0], [0, 0, 65534, 3000]])
    assert depth[:238].max() == depth[:, :316].max() == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes, its header alone should have 24"),
        (struct.pack("<6i", 320, 240, 0, 0, 10, 10) + bytes(396), "has 420 bytes, its box needs 424"),
        (struct.pack("<6i", 320, 240, 0, 0, 10, 10) + bytes(404), "has 428 bytes, its box needs 424"),
        (struct.pack("<6i", 320, 240, 0, 0, 321, 10), "its header says 320 x 240 with the box 0, 0, 321, 10"),
        (struct.pack("<6i", 320, 240, 20, 0, 10, 10), "its header says 320 x 240 with the box 20, 0, 10, 10"),
        (struct.pack("<6i", 640, 480, 0, 0, 10, 10) + bytes(400), "its header says 640 x 480"),
    ],
    ids=["empty", "short", "long", "wide box", "turned box", "other size"],
)
def test_broken_pictures_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "000000_depth.bin"
    path.write_bytes(content)
    with pytest.raises(UserError, match=f"000000_depth.bin: {message}"):
        read_depth_bin(path)
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_depth_bin(tmp_path / "000001_depth.bin")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the number of frames, then a line of 63 numbers"),
        ("hand\n", "expected the number of frames"),
        (text_of(hands().joints_m).replace("3\n", "4\n", 1), "says 4 frames and has lines for 3"),
        (text_of(hands().joints_m).rpartition(" ")[0], "line 4: holds 62 numbers, expected 63"),
        ("1\n" + "x " * 63, "line 2: could not convert string to float: 'x'"),
        ("1\n" + "nan " * 63, "row 0 holds a coordinate that is not finite"),
        (text_of(hands().joints_m, unit_m=1e-2), "wrong unit"),
        (text_of(hands().joints_m * [-1, 1, 1]), "these look like left hands"),
        (text_of(hands().joints_m[:, [0, *range(20, 0, -1)]]), "wrong joint order"),
    ],
    ids=["empty", "no number", "lines", "columns", "words", "nan", "unit", "left", "order"],
)
def test_wrong_labels_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Msra(write_msra(tmp_path, text=text), "test")


def test_labels_of_other_axes_do_not_fit_the_pictures(tmp_path: Path) -> None:
    """By half a turn about the camera's axis hands stay right ones, so only the pictures tell."""
    write_msra(tmp_path, text=text_of(hands().joints_m, axes=(-1, 1, -1)))
    with pytest.raises(UserError, match="with x and y turned round"):
        open_clips(tmp_path, split="test", pictures=("depth",))
