"""NYU's reader: 14 of 36 points with y turned down, depth out of two bytes, clips by subject, what is refused, and a training with its joints."""

import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
from depth_sets import FAR_MM, NYU_K, WALL_MM, depth_picture_mm, nyu_hands, write_nyu, write_nyu_labels, write_packed
from PIL import Image
from scipy.io import loadmat, savemat

from seqgen.benchmarks import Nyu, Stills, open_clips
from seqgen.dataset.clip import ClipSource
from seqgen.errors import UserError
from seqgen.estimators.checkpoint import load_estimator
from seqgen.estimators.views.crop import to_picture
from seqgen.estimators.views.cube import CubeConfig
from seqgen.estimators.views.feed import batch_of
from seqgen.evaluation.evaluate import evaluate
from seqgen.training.config import train_config
from seqgen.training.run import train


@pytest.fixture(scope="module")
def nyu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nyu")
    write_nyu(folder)
    write_nyu(folder, "test", count=2443, rows=[2438, 2439, 2440, 2441])
    return folder


def relabel(folder: Path, joints_m: np.ndarray) -> None:
    write_nyu_labels(folder / "train" / "joint_data.mat", np.repeat(joints_m[None], 3, 0))


def test_joints_and_depth_come_back(nyu: Path) -> None:
    hands = nyu_hands()
    clip = Nyu(nyu).read(0)
    np.testing.assert_allclose(clip.joints_m, hands.joints_m, atol=1e-6)
    x, y, z = np.moveaxis(hands.joints_m, -1, 0)
    np.testing.assert_allclose(clip.joints_px, np.stack([588.036865 * x / z + 320, 240 + 587.075073 * y / z], -1), atol=1e-3)
    expected = depth_picture_mm(hands.vertices_m[2], NYU_K, (640, 480))
    np.testing.assert_array_equal(clip.depth_tenth_mm[2], np.where(expected == FAR_MM, 0, 10 * expected))
    assert {0, 10 * WALL_MM} < set(np.unique(clip.depth_tenth_mm)) and (clip.depth_tenth_mm[:, :20] == 0).all()
    assert (clip.joint_set, clip.side, clip.rgb, clip.pose, clip.camera_kind) == ("nyu", "right", None, None, "perspective") and clip.joints_valid.all()
    np.testing.assert_array_equal(clip.intrinsics[3], NYU_K.astype(np.float32))


def test_a_hand_right_of_and_below_the_axis(tmp_path: Path) -> None:
    """In the file y is up, so below is negative."""
    hands = nyu_hands()
    write_nyu(tmp_path)
    relabel(tmp_path, hands.joints_m + np.array([0.15, 0.1, 0]))
    clip = Nyu(tmp_path).read(0)
    assert (loadmat(tmp_path / "train" / "joint_data.mat")["joint_xyz"][0, :, 0, 1] < 0).all()
    assert (clip.joints_m[:, 0, :2] > 0).all() and (clip.joints_px[:, 0] > [320, 240]).all()


def test_other_cameras(tmp_path: Path) -> None:
    write_nyu(tmp_path, cameras=[1, 3])
    first, third = (Nyu(tmp_path, camera=camera).read(0) for camera in (1, 3))
    np.testing.assert_allclose(third.joints_m - first.joints_m, np.broadcast_to([0.02, 0, 0], first.joints_m.shape), atol=1e-6)
    assert (third.depth_tenth_mm != first.depth_tenth_mm).any() and third.key == "train_depth_3_0000001"
    with pytest.raises(UserError, match="none of the 4 depth pictures of camera 2 is there"):
        Nyu(tmp_path, camera=2)


def test_clips_end_with_the_subject_and_where_pictures_are_missing(nyu: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first subject of the test has 2,440 frames; here there are the last two of them, and two of the second one's three."""
    with caplog.at_level(logging.WARNING):
        source = Nyu(nyu, "test")
    assert [(source.key(n), source.num_frames(n)) for n in range(len(source))] == [("test_depth_1_0002439", 2), ("test_depth_1_0002441", 2)]
    assert len(source.missing) == 2439 and source.missing[-1] == "test/depth_1_0002443.png"
    assert "2439 of 2443 depth pictures are missing and left out: test/depth_1_0000001.png" in caplog.text and "the published file of 8252" in caplog.text
    for n in range(2):
        np.testing.assert_allclose(source.read(n).joints_m, nyu_hands().joints_m[(2438 + 2 * n + np.arange(2)) % 4], atol=1e-6)
    assert isinstance(source, ClipSource) and len(Stills(source)) == 4


def test_decodes_only_the_frames_asked_for(tmp_path: Path) -> None:
    write_nyu(tmp_path)
    source = Nyu(tmp_path)
    whole = source.read(0)
    (tmp_path / "train" / "depth_1_0000001.png").write_bytes(b"no picture")
    part = source.read(0, [3, 1, 3])
    for name in ("depth_tenth_mm", "joints_m", "joints_px", "box_px", "intrinsics"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[[3, 1, 3]])
    with pytest.raises(UserError, match=r"depth_1_0000001.png: cannot be decoded"):
        source.read(0, [0])
    for frames in ([4], [-1], []):
        with pytest.raises(IndexError, match="has 4 frames"):
            source.read(0, frames)


def test_labels_are_parsed_once(nyu: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = Nyu(nyu)
    monkeypatch.setattr("scipy.io.loadmat", None)
    again, sent = Nyu(nyu), pickle.loads(pickle.dumps(source))
    assert len(pickle.dumps(source)) < 5000
    for reader in (again, sent):
        np.testing.assert_array_equal(reader.read(0, [1]).joints_m, source.read(0, [1]).joints_m)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda joints_m: joints_m * [1, -1, 1], "these look like left hands.*is an axis turned round"),
        (lambda joints_m: joints_m * [1, 1, -1], "frame 1 has a joint behind the camera"),
        (lambda joints_m: joints_m * 1e-3, r"wrong unit: the joints of a hand lie up to 0.0001\d+ m apart; expected 0.06 to 0.25"),
        (lambda joints_m: joints_m * 1e3, "wrong unit.*the numbers look like millimetres"),
        (lambda joints_m: joints_m[:, ::-1], "wrong joint order: these are not nyu's joints"),
        (lambda joints_m: np.where(np.arange(4)[:, None, None] == 2, np.nan, joints_m), "row 2 holds a coordinate that is not finite"),
        (lambda joints_m: joints_m[:0], "holds no labels|none of the 0"),
    ],
)
def test_wrong_labels_are_refused(tmp_path: Path, change: object, message: str) -> None:
    write_nyu(tmp_path, rows=[0, 1])
    relabel(tmp_path, change(nyu_hands().joints_m))
    with pytest.raises(UserError, match=message):
        Nyu(tmp_path)


def test_files_that_are_no_labels_are_refused(tmp_path: Path) -> None:
    write_nyu(tmp_path)
    path = tmp_path / "train" / "joint_data.mat"
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2], b"\x89HDF\r\n\x1a\n" + bytes(200)):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"joint_data.mat: (no readable .mat file|holds no joint_xyz)"):
            Nyu(tmp_path)
    savemat(path, {"joint_uvd": np.zeros((3, 4, 36, 3))})
    with pytest.raises(UserError, match="holds no joint_xyz; these are not NYU's labels"):
        Nyu(tmp_path)
    savemat(path, {"joint_xyz": np.zeros((4, 36, 3))})
    with pytest.raises(UserError, match=r"joint_xyz is float64 of shape \(4, 36, 3\), expected numbers of shape \(3, frames, 36, 3\)"):
        Nyu(tmp_path)
    with pytest.raises(UserError, match=r"no labels of NYU's test split: test/joint_data.mat is not there"):
        Nyu(tmp_path, "test")


def test_pictures_of_another_kind_are_refused(tmp_path: Path) -> None:
    write_nyu(tmp_path)
    path, source = tmp_path / "train" / "depth_1_0000001.png", Nyu(tmp_path)
    for mode, size, message in (("RGB", (320, 240), "is 320 x 240, the camera is known for 640 x 480"), ("L", (640, 480), "of mode L; expected depth in the green")):
        Image.new(mode, size).save(path)
        with pytest.raises(UserError, match=message):
            source.read(0, [0])
    path.unlink()
    with pytest.raises(UserError, match="the depth picture is missing"):
        source.read(0, [0])


def test_a_folder_of_nyu_is_known_by_its_labels(nyu: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        source = open_clips(nyu, pictures=("depth",))
    assert isinstance(source, Nyu) and source.split == "train" and open_clips(nyu, split="test", pictures=("depth_sensor",)).split == "test"
    assert "joint order fits nyu; right hands" in caplog.text and "mm behind the surface that the depth shows" in caplog.text
    with pytest.raises(UserError, match="depth only, and this network sees colours"):
        open_clips(nyu)
    with pytest.raises(UserError, match="NYU has no split 'val'; it has train, test"):
        open_clips(nyu, split="val", pictures=("depth",))


def test_labels_of_other_pictures_are_noticed(tmp_path: Path) -> None:
    """Pictures in which the hands are far behind their labels."""
    hands = write_nyu(tmp_path)
    for row in range(4):
        write_packed(tmp_path / "train" / f"depth_1_{row + 1:07d}.png", depth_picture_mm(hands.vertices_m[row] + np.array([0, 0, 0.2]), NYU_K, (640, 480)))
    with pytest.raises(UserError, match=r"NYU train: the median joint lies -\d+ mm behind the surface.*are depth and labels of one unit"):
        open_clips(tmp_path, pictures=("depth",))


def test_a_batch_holds_the_labels_as_they_are(nyu: Path) -> None:
    source = Nyu(nyu)
    batch = batch_of([source.read(0)], CubeConfig(size=48, joints="nyu"))
    np.testing.assert_allclose(batch.joints_m[0] + batch.root_m[0, :, None], nyu_hands().joints_m, atol=1e-6)
    np.testing.assert_allclose(batch.root_m[0], nyu_hands().joints_m[:, 13], atol=1e-6)
    back = to_picture(batch.joints_px[0].double().numpy(), batch.crop_from_picture[0].double().numpy())
    np.testing.assert_allclose(back, source.read(0).joints_px, atol=1e-3)
    assert batch.usable.all() and (batch.depth.abs() < 1).flatten(2).sum(-1).min() > 200
    with pytest.raises(UserError, match=r"NYU: clip train_depth_1_0000001 is labelled with the joints of nyu \(14 of them\), of which those of canonical cannot be made"):
        batch_of([source.read(0)], CubeConfig(size=48))


def test_two_steps_of_training_and_an_evaluation(nyu: Path, tmp_path: Path) -> None:
    tables = {
        "data": {"train": str(nyu), "validation_clips": 0, "stills": 1, "reading": {"frames": 1, "batch": 2, "readers": 0}},
        "model": {"name": "srn", "width": 0.125, "joints": "nyu"},
        "run": {"steps": 2, "threads": 1},
    }
    result = train(train_config(tables, where="test"), tmp_path / "run")
    loaded = load_estimator(Path(result.checkpoint))
    assert result.steps == 2 and loaded.input.joints == "nyu"
    evaluation = evaluate(loaded.estimator, loaded.input, open_clips(nyu, split="test", pictures=("depth",)), batch=2)
    np.testing.assert_allclose(evaluation.true_m + evaluation.true_root_m[:, None], nyu_hands().joints_m[[2, 3, 0, 1]], atol=1e-6)
    assert evaluation.joint_set == "nyu" and evaluation.predicted_m.shape == (4, 14, 3)
