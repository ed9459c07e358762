"""STB's reader: both cameras' frames, the extrapolated wrist, sequences as clips, and what is refused."""

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from real_sets import STB_BB_K, STB_SK_K, pixels, stb_hands, stb_labels, write_stb
from scipy.io import loadmat, savemat

from seqgen.benchmarks import Stb
from seqgen.dataset.clip import ClipSource
from seqgen.errors import UserError
from seqgen.estimators.views.crop import InputConfig
from seqgen.estimators.views.sample import make_sample
from seqgen.skeleton import hand_frame


@pytest.fixture(scope="module")
def stb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stb")
    write_stb(folder)
    return folder


def relabel(folder: Path, labels: np.ndarray, name: str = "handPara") -> Path:
    (folder / "labels").mkdir(exist_ok=True)
    savemat(folder / "labels" / "B1Counting_SK.mat", {name: labels})
    return folder


def test_depth_camera_s_labels_are_brought_to_the_colour_camera(stb: Path) -> None:
    hands = stb_hands()
    clip = Stb(stb).read(0)
    np.testing.assert_allclose(clip.joints_m, hands.joints_m, atol=1e-7)
    np.testing.assert_allclose(clip.joints_px, pixels(hands.joints_m, STB_SK_K), atol=2e-3)
    np.testing.assert_array_equal(clip.intrinsics[2], STB_SK_K.astype(np.float32))
    assert (clip.side, clip.hand, clip.pose, clip.mask) == ("left", "", None, None) and clip.joints_valid.all()
    stored = loadmat(stb / "labels" / "B2Random_SK.mat")["handPara"]
    assert np.abs(stored[:, 20, 0] / 1e3 - clip.joints_m[0, 4]).max() > 0.02, "the frames of the two cameras should differ"


def test_bumblebee_s_cameras(stb: Path) -> None:
    hands = stb_hands()
    left, right = (Stb(stb, camera=camera).read(0) for camera in ("BB_left", "BB_right"))
    np.testing.assert_allclose(left.joints_m, hands.joints_m, atol=1e-7)
    np.testing.assert_allclose(left.joints_px, pixels(hands.joints_m, STB_BB_K), atol=2e-3)
    disparity_px = left.joints_px - right.joints_px
    np.testing.assert_allclose(disparity_px[..., 0], 822.79041 * 0.120054 / left.joints_m[..., 2], atol=2e-3)
    np.testing.assert_allclose(disparity_px[..., 1], 0, atol=1e-4)


@pytest.mark.parametrize("camera", ["SK", "BB_left", "BB_right"])
def test_joints_lie_on_the_hand_that_the_pictures_show(stb: Path, camera: str) -> None:
    clip = Stb(stb, camera=camera).read(0)
    for frame in range(4):
        for x, y in np.rint(clip.joints_px[frame]).astype(int):
            if 0 <= x < 640 and 0 <= y < 480:
                assert tuple(clip.rgb[frame, y, x]) == (205, 160, 130)
        assert clip.box_px[frame, 0] < clip.joints_px[frame, :, 0].min() and clip.box_px[frame, 3] > clip.joints_px[frame, :, 1].max()


def test_wrists_of_the_literature(stb: Path) -> None:
    source = Stb(stb)
    joints_m, palm_m = source.read(0).joints_m, source.palm_m(0)
    np.testing.assert_allclose(palm_m, (stb_hands().joints_m[:, 0] + stb_hands().joints_m[:, 13]) / 2, atol=1e-7)
    middle = Stb(stb, wrist="middle_mcp")
    np.testing.assert_allclose(middle.read(0).joints_m[:, 0], joints_m[:, 9] + 2.2 * (palm_m - joints_m[:, 9]), atol=1e-7)
    mean = np.mean([joints_m[:, knuckle] + 2.25 * (palm_m - joints_m[:, knuckle]) for knuckle in (5, 9, 13, 17)], 0)
    np.testing.assert_allclose(Stb(stb, wrist="mean_mcp").read(0).joints_m[:, 0], mean, atol=1e-7)
    np.testing.assert_array_equal(middle.read(0).joints_m[:, 1:], joints_m[:, 1:])
    assert "wrist_source extrapolated, middle_mcp" in middle.verdict
    unscored = Stb(stb, wrist_valid=False).read(0)
    assert not unscored.joints_valid[:, 0].any() and unscored.joints_valid[:, 1:].all()
    np.testing.assert_array_equal(unscored.joints_m, joints_m)


def test_splits_and_keys(stb: Path) -> None:
    for split, key in {"train": "B2Random_SK_color_0000", "test": "B1Counting_SK_color_0000"}.items():
        source = Stb(stb, split)
        assert isinstance(source, ClipSource) and len(source) == 1
        assert source.key(0) == source.read(0, [1]).key == key and source.num_frames(0) == 4


def test_decodes_only_the_frames_asked_for(tmp_path: Path) -> None:
    write_stb(tmp_path, ["B2Counting"], frames=4)
    source = Stb(tmp_path)
    whole = source.read(0)
    for frame in (0, 2):
        (tmp_path / "images" / "B2Counting" / f"SK_color_{frame}.png").write_bytes(b"no picture")
    part = source.read(0, [3, 1, 3])
    for name in ("rgb", "joints_m", "joints_px", "box_px"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[[3, 1, 3]])
    with pytest.raises(UserError, match=r"SK_color_2.png: cannot be decoded"):
        source.read(0, [2])
    with pytest.raises(IndexError, match="has 4 frames"):
        source.read(0, [4])


def test_sequences_are_cut_where_pictures_are_missing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hands = write_stb(tmp_path, ["B1Random"], frames=8)
    (tmp_path / "images" / "B1Random" / "SK_color_3.png").unlink()
    with caplog.at_level(logging.WARNING):
        source = Stb(tmp_path, "test")
    assert [(source.key(n), source.num_frames(n)) for n in range(len(source))] == [("B1Random_SK_color_0000", 3), ("B1Random_SK_color_0004", 4)]
    assert source.missing == ("labels/B1Counting_SK.mat", "images/B1Random/SK_color_3.png")
    assert "2 files are missing and left out: labels/B1Counting_SK.mat, images/B1Random/SK_color_3.png" in caplog.text
    np.testing.assert_allclose(source.read(1).joints_m, hands.joints_m[4:], atol=1e-7)
    cut = Stb(tmp_path, "test", clip_frames=2)
    assert [cut.key(n)[-4:] for n in range(len(cut))] == ["0000", "0004", "0006"] and {cut.num_frames(n) for n in range(3)} == {2}
    np.testing.assert_allclose(cut.read(2).joints_m, hands.joints_m[6:], atol=1e-7)
    np.testing.assert_allclose(cut.palm_m(2, [1]), source.palm_m(1, [3]))
    with pytest.raises(UserError, match="none of STB test SK's clips is there"):
        Stb(tmp_path, "test", clip_frames=9)


def test_a_left_hand_s_sample_is_a_right_hand_s(stb: Path) -> None:
    clip = Stb(stb).read(0)
    sample = make_sample(clip, InputConfig(size=64, crop="box", margin=1.5))
    joints_m = (sample.joints_m + sample.root_m[:, None]).astype(float)
    bend = hand_frame(joints_m).normalise(joints_m)[:, [7, 8, 11, 12, 15, 16, 19, 20], 2].mean()
    assert bend < -0.005 < 0.005 < hand_frame(clip.joints_m).normalise(clip.joints_m)[:, [7, 8, 11, 12, 15, 16, 19, 20], 2].mean()
    projected = np.einsum("fij,fkj->fki", sample.intrinsics, joints_m)
    np.testing.assert_allclose(projected[..., :2] / projected[..., 2:], sample.joints_px, atol=1e-2)
    skin = np.abs(sample.rgb.transpose(0, 2, 3, 1).astype(int) - (205, 160, 130)).max(-1) < 60
    for frame in range(4):
        columns, rows = np.rint(sample.joints_px[frame]).astype(int).T
        assert skin[frame, rows, columns].mean() > 0.9


def test_reader_processes_get_the_whole_reader(stb: Path) -> None:
    source = Stb(stb)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(source)).read(0, [1]).joints_m, source.read(0, [1]).joints_m)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: labels.transpose(2, 1, 0), r"handPara is float64 of shape \(4, 21, 3\), expected numbers of shape \(3, 21, 1500\)"),
        (lambda labels: labels[:, :20], r"of shape \(3, 20, 4\)"),
        (lambda labels: np.array([["text"]]), "expected numbers"),
        (lambda labels: labels / 1e3, "wrong unit"),
        (lambda labels: labels * np.array([-1.0, 1, 1])[:, None, None] - 50, "look like right hands"),
        (lambda labels: labels[:, [0, *range(20, 0, -1)]], "wrong joint order"),
        (lambda labels: np.where(np.arange(4) == 2, np.nan, labels), "row 2 holds a coordinate that is not finite"),
    ],
)
def test_wrong_labels_are_refused(tmp_path: Path, change: object, message: str) -> None:
    write_stb(tmp_path, ["B1Counting"])
    relabel(tmp_path, change(stb_labels(stb_hands().joints_m)))
    with pytest.raises(UserError, match=message):
        Stb(tmp_path, "test")


def test_files_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    write_stb(tmp_path, ["B1Counting"])
    relabel(tmp_path, stb_labels(stb_hands().joints_m), "palm")
    with pytest.raises(UserError, match="holds no handPara"):
        Stb(tmp_path, "test")
    path = tmp_path / "labels" / "B1Counting_SK.mat"
    for content in (b"", b"text", path.read_bytes()[:300], b"\x89HDF\r\n\x1a\n" + bytes(200)):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"B1Counting_SK.mat: (no readable .mat file|holds no handPara)"):
            Stb(tmp_path, "test")
    with pytest.raises(UserError, match=r"no labels of STB's train split: labels/B2Counting_SK.mat is not there"):
        Stb(tmp_path)


def test_pictures_of_another_size_are_refused(tmp_path: Path) -> None:
    write_stb(tmp_path, ["B1Counting"])
    for frame in range(4):
        Image.new("RGB", (320, 240)).save(tmp_path / "images" / "B1Counting" / f"SK_color_{frame}.png")
    with pytest.raises(UserError, match="is 320 x 240, STB's cameras are known for 640 x 480"):
        Stb(tmp_path, "test").read(0)
