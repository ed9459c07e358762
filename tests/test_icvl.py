"""ICVL's reader: pixels and millimetres to points in space, left hands, clips by number, turned copies, what is refused; and the published test labels of both depth sets."""

import json
import logging
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from depth_sets import FAR_MM, ICVL_K, depth_picture_mm, icvl_hands, icvl_line, write_icvl
from PIL import Image

from seqgen.benchmarks import Icvl, open_clips
from seqgen.benchmarks.depth_contact import check_joint_set
from seqgen.benchmarks.icvl import INTRINSICS, in_space
from seqgen.benchmarks.pinhole import projected
from seqgen.dataset.clip import ClipSource
from seqgen.errors import UserError
from seqgen.estimators.views.cube import CubeConfig
from seqgen.estimators.views.feed import batch_of

REFERENCE = Path(os.environ.get("SEQGEN_REFERENCE_DATA", "nowhere")) / "labels"
needs_reference = pytest.mark.skipif(not (REFERENCE / "expected.json").is_file(), reason="SEQGEN_REFERENCE_DATA names no folder with labels/expected.json")


@pytest.fixture(scope="module")
def icvl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("icvl")
    write_icvl(folder)
    return folder


def relabel(folder: Path, lines: str) -> Path:
    (folder / "Training" / "labels.txt").write_text(lines)
    return folder


def test_joints_and_depth_come_back(icvl: Path) -> None:
    hands, source = icvl_hands(), Icvl(icvl)
    assert [(source.key(n), source.num_frames(n)) for n in range(len(source))] == [("201403121135_0000", 2), ("201403121135_0003", 1), ("201403121140_0004", 1)]
    for position, rows in enumerate(([0, 1], [2], [3])):
        clip = source.read(position)
        np.testing.assert_allclose(clip.joints_m, hands.joints_m[rows], atol=1e-6)
        np.testing.assert_allclose(clip.joints_px, projected(hands.joints_m[rows], np.repeat(ICVL_K[None], len(rows), 0)), atol=1e-3)
        expected = np.stack([depth_picture_mm(hands.vertices_m[row], ICVL_K, (320, 240)) for row in rows])
        np.testing.assert_array_equal(clip.depth_tenth_mm, np.where(expected == FAR_MM, 0, 10 * expected))
        assert (clip.joint_set, clip.side, clip.rgb) == ("icvl", "left", None) and clip.joints_valid.all()
    assert isinstance(source, ClipSource)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(0, [1]).joints_m, source.read(0, [1]).joints_m)


def test_the_test_sequences(icvl: Path) -> None:
    source = Icvl(icvl, "test")
    assert [source.key(n) for n in range(len(source))] == ["test_seq_1_0000", "test_seq_2_0000"]
    np.testing.assert_allclose(source.read(1).joints_m, icvl_hands().joints_m[:2], atol=1e-6)


def test_pixels_right_of_and_below_the_middle_are_points_right_and_below() -> None:
    uvd = np.tile([160 + 24.099, 120 + 2 * 24.096, 500.0], (1, 16, 1))
    np.testing.assert_allclose(in_space(uvd, np.array(INTRINSICS["evaluation"])), np.tile([0.05, 0.1, 0.5], (1, 16, 1)), atol=1e-7)
    np.testing.assert_allclose(in_space(uvd, np.array(INTRINSICS["241.42"]))[0, 0, :2] * 241.42, [24.099 * 0.5, 48.192 * 0.5], rtol=1e-6)


def test_turned_copies_are_clips_of_their_own_when_asked_for(icvl: Path) -> None:
    source = Icvl(icvl, rotated=True)
    assert [source.key(n) for n in range(len(source))] == ["201403121135_0000", "201403121135_0003", "201403121135_90_0000", "201403121140_0004"]
    x, y, z = np.moveaxis(icvl_hands().joints_m[0], -1, 0)
    np.testing.assert_allclose(source.read(2).joints_m[0], np.stack([-y, x, z], -1), atol=1e-6)


def test_missing_and_empty_pictures_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_icvl(tmp_path)
    (tmp_path / "Training" / "Depth" / "201403121135" / "image_0000.png").unlink()
    (tmp_path / "Training" / "Depth" / "201403121140" / "image_0004.png").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        source = Icvl(tmp_path)
    assert source.missing == ("Training/Depth/201403121135/image_0000.png", "Training/Depth/201403121140/image_0004.png")
    assert "2 of 4 depth pictures are missing or empty, and left out" in caplog.text
    assert [source.key(n) for n in range(len(source))] == ["201403121135_0001", "201403121135_0003"]
    np.testing.assert_allclose(source.read(1).joints_m, icvl_hands().joints_m[[2]], atol=1e-6)


def test_decodes_only_the_frames_asked_for(tmp_path: Path) -> None:
    write_icvl(tmp_path)
    source = Icvl(tmp_path)
    path = tmp_path / "Training" / "Depth" / "201403121135" / "image_0000.png"
    path.write_bytes(b"no picture")
    assert len(source.read(0, [1, 1]).depth_tenth_mm) == 2
    for mode, message in (("RGB", "is a picture of mode RGB; expected depth, one channel of 16 bits"), ("L", "of mode L"), ("I;16", "is 64 x 48, the camera is known for")):
        Image.new(mode, (64, 48)).save(path)
        with pytest.raises(UserError, match=message):
            source.read(0, [0])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("201403121135/image_0000.png 1 2 3", "line 1: holds 3 numbers, expected 48"),
        ("201403121135/image_0000.png " + "1 2 far " * 16, "line 1: could not convert string to float"),
        ("201403121135/image_0000.png " + "1 2 0 " * 16, "line 1: holds 48 numbers.* depth in millimetres before the camera"),
        ("../image_0000.png " + "1 2 3 " * 16, "line 1: begins with '../image_0000.png', expected a picture"),
        ("1 2 3", "line 1: begins with '1', expected a picture"),
        ("201403129999/image_0000.png " + "1 2 3 " * 16, "none of the 1 depth pictures of the train split is there"),
    ],
)
def test_wrong_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    write_icvl(tmp_path)
    with pytest.raises(UserError, match=message):
        Icvl(relabel(tmp_path, line + "\n"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda joints_m: joints_m * [-1, 1, 1], "these look like right hands"),
        (lambda joints_m: joints_m * 1e-3, "wrong unit"),
        (lambda joints_m: joints_m[:, [0, *range(15, 0, -1)]], "wrong joint order: these are not icvl's joints"),
    ],
)
def test_wrong_labels_are_refused(tmp_path: Path, change: object, message: str) -> None:
    write_icvl(tmp_path)
    joints_m = change(icvl_hands().joints_m)
    relabel(tmp_path, "".join(icvl_line(f"201403121135/image_000{n}.png", joints_m[n]) for n in (0, 1, 3)))
    with pytest.raises(UserError, match=message):
        Icvl(tmp_path)


def test_a_folder_of_icvl_is_known_by_its_labels(icvl: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert isinstance(open_clips(icvl, split="test", pictures=("depth",)), Icvl)
    assert "joint order fits icvl; left hands" in caplog.text and "mm behind the surface that the depth shows" in caplog.text
    with pytest.raises(UserError, match="depth only, and this network sees colours"):
        open_clips(icvl)
    with pytest.raises(UserError, match=r"no labels of ICVL's test split: Testing/test_seq_1\.txt is not there"):
        Icvl(tmp_path, "test")


def test_networks_see_these_hands_in_the_mirror(icvl: Path) -> None:
    """As right hands, with depth and labels still of one another."""
    batch = batch_of([Icvl(icvl).read(0)], CubeConfig(size=64, joints="icvl"))
    joints_m = (batch.joints_m + batch.root_m[:, :, None])[0].numpy()
    np.testing.assert_allclose(joints_m, icvl_hands().joints_m[:2] * [-1, 1, 1], atol=1e-6)
    assert check_joint_set(joints_m, "icvl", where="here", side="right").endswith("right hands")
    for frame in range(2):
        columns, rows = batch.joints_px[0, frame].round().long().T
        assert (batch.depth[0, frame, rows, columns].abs() < 1).float().mean() > 0.9


@needs_reference
@pytest.mark.parametrize(("name", "side", "frames"), [("nyu", "right", 8252), ("icvl", "left", 1596)])
def test_published_test_labels_are_what_the_readers_take_them_for(name: str, side: str, frames: int) -> None:
    """Joint order, size and side of the real hands; by the published cameras, y down."""
    camera = json.loads((REFERENCE / "expected.json").read_text())["intrinsics"][name]
    uvd = np.loadtxt(REFERENCE / name / "groundtruth_uvd.txt").reshape(frames, -1, 3)
    joints_m = in_space(uvd, np.array([[camera["fx"], 0, camera["ux"]], [0, abs(camera["fy"]), camera["uy"]], [0, 0, 1]]))
    assert check_joint_set(joints_m, name, where=name, side=side).endswith(f"joint order fits {name}; {side} hands")
    with pytest.raises(UserError, match="these look like"):
        check_joint_set(joints_m * [1, -1, 1], name, where=name, side=side)


@needs_reference
def test_published_pixels_go_to_space_and_back() -> None:
    camera = json.loads((REFERENCE / "expected.json").read_text())["intrinsics"]["icvl"]
    intrinsics = np.array(INTRINSICS["evaluation"])
    assert [camera[name] for name in ("fx", "fy", "ux", "uy")] == intrinsics[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()
    uvd = np.loadtxt(REFERENCE / "icvl" / "groundtruth_uvd.txt").reshape(-1, 16, 3)
    joints_m = in_space(uvd, intrinsics)
    np.testing.assert_allclose(projected(joints_m, np.repeat(intrinsics[None], len(uvd), 0)), uvd[..., :2], atol=1e-4)
