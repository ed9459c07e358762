"""The reader of plain labelled folders: what labels.json says is what clips hold, and mistakes are named with their place."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from real_sets import in_order, write_folder, write_list

from seqgen.benchmarks import LabelledFolder, check_pictures
from seqgen.dataset.clip import ClipSource
from seqgen.errors import UserError


def relabel(folder: Path, name: str = "1.png", **fields: Any) -> Path:
    """labels.json with some fields of one label replaced; None takes a field out."""
    table = json.loads((folder / "labels.json").read_text())
    label = {**table[name], **fields}
    write_list(folder / "labels.json", {**table, name: {key: value for key, value in label.items() if value is not None}})
    return folder


def test_gives_back_what_is_written(tmp_path: Path) -> None:
    table = write_folder(tmp_path / "mine")
    source = LabelledFolder(tmp_path / "mine")
    assert isinstance(source, ClipSource) and (source.name, len(source)) == ("mine", 3)
    for n in range(3):
        clip, label = source.read(n), table[f"{n}.png"]
        assert (source.key(n), clip.key, clip.source, clip.side, clip.fps) == (f"{n}.png", f"{n}.png", "mine", "right", 0.0)
        for name in ("joints_m", "joints_px", "intrinsics"):
            np.testing.assert_array_equal(getattr(clip, name)[0], np.array(label[name], np.float32))
        np.testing.assert_array_equal(clip.rgb[0], np.asarray(Image.open(tmp_path / "mine" / f"{n}.png")))
        np.testing.assert_array_equal(clip.mask[0], np.asarray(Image.open(tmp_path / "mine" / f"{n}_mask.png")) > 127)
        assert clip.joints_valid.all() and clip.pose is None and clip.hand == ""


def test_a_mask_is_what_is_bright(tmp_path: Path) -> None:
    write_folder(tmp_path)
    grey = np.resize(np.arange(256, dtype=np.uint8), (120, 160))
    Image.fromarray(grey).save(tmp_path / "1_mask.png")
    np.testing.assert_array_equal(LabelledFolder(tmp_path).read(1).mask[0], grey >= 128)


def test_left_hands_stay_as_they_are(tmp_path: Path) -> None:
    table = write_folder(tmp_path, side="left")
    source = LabelledFolder(tmp_path)
    assert source.read(0).side == "left" and "left hands" in source.verdict
    np.testing.assert_array_equal(source.read(0).joints_m[0], np.array(table["0.png"]["joints_m"], np.float32))


def test_what_may_be_left_out(tmp_path: Path) -> None:
    table = write_folder(tmp_path)
    whole = LabelledFolder(tmp_path).read(1)
    projected = LabelledFolder(relabel(tmp_path, joints_px=None, mask=None, side=None)).read(1)
    np.testing.assert_allclose(projected.joints_px, whole.joints_px, atol=1e-3)
    assert projected.mask is None and projected.side == "right"
    rooted = (np.array(table["1.png"]["joints_m"]) - table["1.png"]["joints_m"][0]).tolist()
    without = LabelledFolder(relabel(tmp_path, joints_m=rooted, joints_px=table["1.png"]["joints_px"], intrinsics=None)).read(1)
    assert without.intrinsics is None
    np.testing.assert_allclose(without.box_px, whole.box_px, atol=0.01)
    given = LabelledFolder(relabel(tmp_path, box_px=[1, 2, 30, 40.5])).read(1)
    np.testing.assert_array_equal(given.box_px, [[1, 2, 30, 40.5]])


def test_joints_that_are_not_known(tmp_path: Path) -> None:
    table = write_folder(tmp_path)
    joints_m, joints_px = list(table["1.png"]["joints_m"]), list(table["1.png"]["joints_px"])
    joints_m[8], joints_px[20] = None, None
    clip = LabelledFolder(relabel(tmp_path, joints_m=joints_m, joints_px=joints_px)).read(1)
    assert np.flatnonzero(~clip.joints_valid[0]).tolist() == [8, 20]
    known = np.setdiff1d(np.arange(21), [8, 20])
    assert (clip.box_px[0, :2] < clip.joints_px[0, known].min(0)).all() and (clip.box_px[0, 0] > 1), "unknown joints should not widen the box"
    with pytest.raises(UserError, match=r"labels.json: 1.png: joints_m has no wrist"):
        LabelledFolder(relabel(tmp_path, joints_m=[None, *joints_m[1:]]))
    with pytest.raises(UserError, match="only 1 of the joints are known"):
        LabelledFolder(relabel(tmp_path, joints_m=[joints_m[0], *[None] * 20]))


def test_clips_are_read_in_their_order(tmp_path: Path) -> None:
    table = write_folder(tmp_path, 4)
    write_list(tmp_path / "labels.json", {**table, "clips": {"wave": ["3.png", "0.png", "1.png"]}, "fps": 15})
    source = LabelledFolder(tmp_path)
    assert [(source.key(n), source.num_frames(n)) for n in range(len(source))] == [("wave", 3), ("2.png", 1)]
    clip = source.read(0, [2, 0])
    assert clip.key == "wave" and clip.fps == 15
    np.testing.assert_array_equal(clip.joints_m, np.array([table["1.png"]["joints_m"], table["3.png"]["joints_m"]], np.float32))
    np.testing.assert_array_equal(clip.rgb, source.read(0).rgb[[2, 0]])
    assert clip.mask.shape == (2, 120, 160)


def test_missing_pictures_are_listed_and_their_clips_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = write_folder(tmp_path, 4)
    write_list(tmp_path / "labels.json", {**table, "clips": {"wave": ["0.png", "1.png"]}})
    (tmp_path / "1.png").unlink()
    with caplog.at_level(logging.WARNING):
        source = LabelledFolder(tmp_path)
    assert source.missing == ("1.png",) and [source.key(n) for n in range(len(source))] == ["2.png", "3.png"]
    assert "1 of 4 pictures are left out, as they or their masks are missing: 1.png" in caplog.text
    (tmp_path / "2.png").unlink()
    (tmp_path / "3.png").unlink()
    with pytest.raises(UserError, match=r"none of the clips of labels.json is there; 1.png is missing for one"):
        LabelledFolder(tmp_path)


def test_missing_masks_are_listed_like_pictures(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = write_folder(tmp_path, 4)
    write_list(tmp_path / "labels.json", {**table, "clips": {"wave": ["0.png", "1.png"]}})
    relabel(tmp_path, "3.png", mask="2_mask.png")
    (tmp_path / "1_mask.png").unlink()
    with caplog.at_level(logging.WARNING):
        source = LabelledFolder(tmp_path)
    assert source.missing == ("1_mask.png",) and [source.key(n) for n in range(len(source))] == ["2.png", "3.png"]
    assert "1 of 4 pictures are left out, as they or their masks are missing: 1_mask.png" in caplog.text
    (tmp_path / "2_mask.png").unlink()  # of two pictures
    with pytest.raises(UserError, match=r"none of the clips of labels.json is there; 1_mask.png is missing for one"):
        LabelledFolder(tmp_path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"joint_m": []}, "1.png: unknown key 'joint_m'; did you mean joints_m?"),
        ({"joints_m": None}, "joints_m: expected a list of 21 joints, got NoneType"),
        ({"joints_m": [[0, 0, 1]] * 20}, "joints_m: expected a list of 21 joints, got 20"),
        ({"joints_m": [[0, 0]] * 21}, r"joints_m: has shape \(21, 2\), expected \(21, 3\)"),
        ({"joints_px": [["a", 1]] * 21}, r"joints_px: expected numbers of shape \(21, 2\)"),
        ({"joints_px": [[float("nan"), 1]] * 21}, r"joints_px: has shape \(21, 2\) but holds a number that is not finite"),
        ({"joints_px": None, "intrinsics": None}, "1.png: needs joints_px, or intrinsics to make them with"),
        ({"intrinsics": [[1, 2], [3, 4]]}, r"intrinsics: has shape \(2, 2\), expected \(3, 3\)"),
        ({"joints_m": [[0, 0, -1]] * 21}, "joints_m lie behind the camera"),
        ({"side": "Left"}, "side is 'Left', expected right or left"),
        ({"mask": 3}, "mask is 3, expected the name of a file"),
        ({"box_px": [1, 2, 3]}, r"box_px: has shape \(3,\), expected \(4,\)"),
        ({"box_px": [30, 2, 1, 40]}, r"box_px is \[30, 2, 1, 40\]; expected x0, y0, x1, y1 with x0 < x1 and y0 < y1"),
        ({"box_px": [1, 40, 30, 40]}, "box_px is .* y0 < y1"),
    ],
)
def test_wrong_labels_are_refused_with_their_place(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    write_folder(tmp_path)
    with pytest.raises(UserError, match=f"labels.json: .*{message}"):
        LabelledFolder(relabel(tmp_path, **fields))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda joints: joints * 1e3, "wrong unit: .*; the numbers look like millimetres"),
        (lambda joints: joints * 1e2, "the numbers look like centimetres"),
        (lambda joints: in_order(joints[None], "msra")[0], "wrong joint order: .*; msra would fit"),
        (lambda joints: joints * [-1, 1, 1], "these look like left hands"),
    ],
)
def test_first_contact(tmp_path: Path, change: Any, message: str) -> None:
    table = write_folder(tmp_path)
    for label in table.values():
        label["joints_m"] = change(np.array(label["joints_m"])).tolist()
        del label["intrinsics"]
    write_list(tmp_path / "labels.json", table)
    with pytest.raises(UserError, match=message):
        LabelledFolder(tmp_path)


def test_axes_that_are_turned_round_are_named(tmp_path: Path) -> None:
    table = write_folder(tmp_path)
    assert "100% of the joints within" in check_pictures(LabelledFolder(tmp_path))
    for label in table.values():
        label["joints_m"] = (np.array(label["joints_m"]) * [-1, -1, 1]).tolist()  # y up and x left: still right hands
    write_list(tmp_path / "labels.json", table)
    with pytest.raises(UserError, match=r"joints_m and intrinsics give pixels \d+ px from joints_px; with x and y turned round they would fit"):
        check_pictures(LabelledFolder(tmp_path))


def test_joints_that_are_not_known_are_not_projected(tmp_path: Path) -> None:
    """Their places hold zeros, which no camera sees; warnings are errors here."""
    table = write_folder(tmp_path)
    for label in table.values():
        label["joints_m"][8] = label["joints_px"][8] = None
    write_list(tmp_path / "labels.json", table)
    assert "joints_px 0.0 px from the projected joints_m" in check_pictures(LabelledFolder(tmp_path))


def test_a_picture_that_is_to_be_turned_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(tmp_path / "1.png").save(tmp_path / "1.png", exif=exif)
    with pytest.raises(UserError, match=r"1\.png: its EXIF says to turn it"):
        LabelledFolder(tmp_path).read(1)


def test_labels_of_other_pictures_are_found_out(tmp_path: Path) -> None:
    table = write_folder(tmp_path)
    for label in table.values():
        label["joints_px"] = (np.array(label["joints_px"]) + np.array([150, 0])).tolist()
    write_list(tmp_path / "labels.json", table)
    with pytest.raises(UserError, match="of the joints lie within their pictures"):
        check_pictures(LabelledFolder(tmp_path))
    write_folder(tmp_path)
    for n in range(3):
        Image.new("L", (160, 120)).save(tmp_path / f"{n}_mask.png")
    with pytest.raises(UserError, match="only 0% of the joints lie on the hand's mask"):
        check_pictures(LabelledFolder(tmp_path))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"clips": ["0.png"]}, "clips is a list, expected an object"),
        ({"clips": {"wave": []}}, "clip wave is no list of file names"),
        ({"clips": {"wave": ["0.png", "9.png"]}}, "clip wave names '9.png', which has no label"),
        ({"fps": 0}, "fps is 0, expected a positive number"),
        ({"fps": float("inf")}, "fps is inf, expected a positive number"),
        ({"fps": "30"}, "fps is '30', expected a positive number"),
    ],
)
def test_wrong_clips_are_refused(tmp_path: Path, extra: dict[str, Any], message: str) -> None:
    table = write_folder(tmp_path)
    write_list(tmp_path / "labels.json", {**table, **extra})
    with pytest.raises(UserError, match=message):
        LabelledFolder(tmp_path)


def test_a_clip_is_of_one_kind_and_size(tmp_path: Path) -> None:
    table = write_folder(tmp_path)
    clips = {"clips": {"wave": ["0.png", "1.png"]}}
    write_list(tmp_path / "labels.json", {**table, **clips, "1.png": {**table["1.png"], "side": "left"}})
    with pytest.raises(UserError, match="clip wave: its pictures differ in side"):
        LabelledFolder(tmp_path)
    write_list(tmp_path / "labels.json", {**table, **clips})
    Image.new("RGB", (100, 90)).save(tmp_path / "1.png")
    with pytest.raises(UserError, match=r"1.png: is 100 x 90, the clip's first picture 160 x 120"):
        LabelledFolder(tmp_path).read(0)
    with pytest.raises(UserError, match=r"1_mask.png: is 160 x 120, its picture 100 x 90"):
        LabelledFolder(tmp_path).read(0, [1])


@pytest.mark.parametrize(
    ("text", "message"), [("", "is no JSON"), ('{"0.png": ', "is no JSON"), ("[1]", "holds no labels"), ("{}", "holds no labels"), ('{"fps": 30}', "holds no labels")]
)
def test_files_that_are_no_labels_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "labels.json").write_text(text)
    with pytest.raises(UserError, match=f"labels.json: {message}"):
        LabelledFolder(tmp_path)
    (tmp_path / "labels.json").unlink()
    with pytest.raises(UserError, match=r"labels.json: is missing"):
        LabelledFolder(tmp_path)
