"""HANDS17's reader: annotations and pictures in the published format give back what was put in, and what is wrong with them is said in one line."""

import logging
import os
import pickle
import shutil
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from drawn_depth import draw_depth
from real_sets import made_up_hands

from seqgen.benchmarks import Hands17, open_clips
from seqgen.benchmarks.hands17 import parse_labels
from seqgen.dataset.clip import ClipSource
from seqgen.dataset.png import encode_png
from seqgen.errors import UserError
from seqgen.estimators.views.cube import CubeConfig
from seqgen.estimators.views.feed import batch_of
from seqgen.hand import load_hand

Array = np.ndarray
K = np.array([[475.065948, 0, 315.944855], [0, 475.065857, 245.287079], [0, 0, 1]])
FINGERS = ("thumb", "index", "middle", "ring", "pinky")
OURS = ("wrist", *(f"{finger}_{joint}" for finger in FINGERS for joint in ("mcp", "pip", "dip", "tip")))
IN_THE_FILE = ("wrist", *(f"{finger}_mcp" for finger in FINGERS), *(f"{finger}_{joint}" for finger in FINGERS for joint in ("pip", "dip", "tip")))
NUMBERS = (1, 49, 50, 957_032)


@lru_cache
def joints_m() -> Array:
    """Right hands to the right of the camera's axis and below it."""
    made_up = made_up_hands(load_hand("open"), len(NUMBERS), depth_m=0.6).joints_m
    return made_up - made_up.min((0, 1)) * [1, 1, 0] + [0.01, 0.005, 0]


@lru_cache
def drawn(frame: int) -> Array:
    return np.rint(draw_depth(joints_m()[frame], K, (640, 480))).astype(np.uint16)


def text_of(joints: Array, *, gap: str = "\t", unit_m: float = 1e-3) -> str:
    rows = [[hand[OURS.index(name)] / unit_m for name in IN_THE_FILE] for hand in joints]
    return "".join(gap.join([f"image_D{number:08d}.png", *(f"{value:.6f}" for value in np.ravel(row))]) + "\n" for number, row in zip(NUMBERS, rows, strict=False))


def write_hands17(folder: Path, text: str | None = None) -> Path:
    images = folder / "training" / "images"
    images.mkdir(parents=True)
    (folder / "training" / "Training_Annotation.txt").write_text(text_of(joints_m()) if text is None else text)
    for frame, number in enumerate(NUMBERS):
        (images / f"image_D{number:08d}.png").write_bytes(encode_png(drawn(frame)))
    return folder


@pytest.fixture(scope="module")
def hands17(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hands17(tmp_path_factory.mktemp("hands17"))


def test_gives_back_what_the_file_says(hands17: Path) -> None:
    source = Hands17(hands17, "training")
    assert isinstance(source, ClipSource) and len(source) == 4 and source.missing == ()
    for position, number in enumerate(NUMBERS):
        clip = source.read(position)
        assert source.key(position) == clip.key == f"image_D{number:08d}" and source.num_frames(position) == 1
        np.testing.assert_allclose(clip.joints_m[0], joints_m()[position], atol=1e-6)
        x, y, z = joints_m()[position].T
        np.testing.assert_allclose(clip.joints_px[0], np.stack([315.944855 + 475.065948 * x / z, 245.287079 + 475.065857 * y / z], -1), atol=1e-3)
        assert (clip.joints_px > (315, 245)).all() and (clip.side, clip.rgb) == ("right", None) and clip.joints_valid.all()
        np.testing.assert_array_equal(clip.depth_tenth_mm[0], drawn(position) * 10)
        rows, columns = np.nonzero(drawn(position))
        np.testing.assert_allclose(clip.box_px[0], [columns.min(), rows.min(), columns.max(), rows.max()], atol=4)


@pytest.mark.parametrize("gap", ["\t", " ", "  \t "])
def test_columns_stand_between_any_white_space(tmp_path: Path, gap: str) -> None:
    path = tmp_path / "Training_Annotation.txt"
    path.write_text(text_of(joints_m(), gap=gap).replace("\n", "\t\n\n"))
    labels = parse_labels(path)
    np.testing.assert_allclose(labels["joints_m"], joints_m(), atol=1e-6)
    assert labels["picture"].tolist() == list(NUMBERS)


def test_splits(hands17: Path) -> None:
    expected = {None: [1, 49, 957_032], "train": [1, 49, 957_032], "val": [50], "training": list(NUMBERS)}
    for split, numbers in expected.items():
        for folder in (hands17, hands17 / "training"):
            source = open_clips(folder, split=split, pictures=("depth",))
            assert isinstance(source, Hands17) and [source.key(n) for n in range(len(source))] == [f"image_D{number:08d}" for number in numbers]
    refused = {"test": "test labels are not public; take the split val", "evaluation": "not public", "valid": "HANDS17 has no split 'valid'; it has train, val, training"}
    for split, message in refused.items():
        with pytest.raises(UserError, match=message):
            open_clips(hands17, split=split, pictures=("depth_sensor",))


def test_a_depth_network_is_shown_the_hands(hands17: Path) -> None:
    source = open_clips(hands17, split="training", pictures=("depth",))
    batch = batch_of([source.read(n) for n in range(4)], CubeConfig(kind="points", centre="mass"))
    assert batch.usable.all() and batch.joints_valid.all() and batch.points.shape[1:] == (1, 1024, 3)
    assert np.abs(batch.points.numpy()).max() <= 0.5
    with pytest.raises(UserError, match="this network sees colours"):
        open_clips(hands17)


def test_pictures_that_are_missing_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_hands17(tmp_path)
    (tmp_path / "training/images/image_D00000049.png").unlink()
    with caplog.at_level(logging.WARNING):
        source = Hands17(tmp_path)
    assert source.missing == ("images/image_D00000049.png",) and "1 of 3 pictures are missing" in caplog.text and "4 labels, the published file 957032" in caplog.text
    np.testing.assert_allclose(source.read(1).joints_m[0], joints_m()[3], atol=1e-6)
    shutil.rmtree(tmp_path / "training/images")
    with pytest.raises(UserError, match=r"none of the 3 pictures is there, images/image_D00000001.png for one"):
        Hands17(tmp_path)


def test_a_split_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no picture is of the split val"):
        Hands17(write_hands17(tmp_path, text_of(joints_m()[:2])), "val")


def test_reader_processes_read_the_labels_themselves(hands17: Path) -> None:
    source = Hands17(hands17)
    sent = pickle.dumps(source)
    assert len(sent) < 2_000
    np.testing.assert_array_equal(pickle.loads(sent).read(1, [0, 0]).joints_m, np.repeat(source.read(1).joints_m, 2, 0))
    with pytest.raises(IndexError, match="has one frame"):
        source.read(0, [1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no labels"),
        ("3\n" + text_of(joints_m()), r"line 1: begins with '3', expected a picture as image_D00000001.png"),
        (text_of(joints_m()[:1]).rpartition("\t")[0], "line 1: holds a name and 62 numbers, expected 63"),
        (text_of(joints_m()[:1]) + "image_D00000002.png" + " x" * 63, "line 2: could not convert string to float: 'x'"),
        ("image_D00000001.png" + " nan" * 63, "row 0 holds a coordinate that is not finite"),
        (text_of(joints_m(), unit_m=1), "wrong unit"),
        (text_of(joints_m() * [-1, 1, 1]), "these look like left hands"),
        (text_of(joints_m()[:, [0, *range(20, 0, -1)]]), "wrong joint order"),
    ],
    ids=["empty", "count", "columns", "words", "nan", "unit", "left", "order"],
)
def test_wrong_labels_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Hands17(write_hands17(tmp_path, text))


def test_labels_of_other_pictures_are_refused(tmp_path: Path) -> None:
    write_hands17(tmp_path, text_of(joints_m() + np.array([0, 0, 0.4])))
    with pytest.raises(UserError, match="HANDS17 train"):
        open_clips(tmp_path, pictures=("depth",))


def test_broken_pictures_are_refused(tmp_path: Path) -> None:
    source = Hands17(write_hands17(tmp_path))
    path = tmp_path / "training/images/image_D00000001.png"
    path.write_bytes(encode_png(drawn(0))[:300])
    with pytest.raises(UserError, match=r"image_D00000001.png: cannot be decoded as an image"):
        source.read(0)
    path.write_bytes(encode_png(drawn(0)[:240, :320]))
    with pytest.raises(UserError, match=r"image_D00000001.png: is 320 x 240"):
        source.read(0)
    path.unlink()
    with pytest.raises(UserError, match=r"image_D00000001.png: the depth picture is missing"):
        source.read(0)
    with pytest.raises(UserError, match=r"holds no training/Training_Annotation.txt"):
        Hands17(tmp_path / "training" / "images")


def test_a_recorded_file_is_read_as_it_stands(tmp_path: Path) -> None:
    data = os.environ.get("SEQGEN_REFERENCE_DATA")
    if data is None or not (Path(data) / "real_track" / "Training_Annotation.txt").is_file():
        pytest.skip("SEQGEN_REFERENCE_DATA names no folder with real_track/Training_Annotation.txt")
    file = tmp_path / "training" / "Training_Annotation.txt"
    (tmp_path / "training" / "images").mkdir(parents=True)
    shutil.copy(Path(data) / "real_track" / "Training_Annotation.txt", file)
    numbers = np.loadtxt(file, usecols=range(1, 64)).reshape(-1, 21, 3) / 1e3
    for frame in range(len(numbers)):
        (tmp_path / "training" / "images" / f"image_D{frame + 1:08d}.png").touch()
    source = Hands17(tmp_path, "training")
    assert len(source) == len(numbers) == 621 and source.verdict.endswith("joint order fits; right hands")
    np.testing.assert_allclose(source.labels["joints_m"], numbers[:, [IN_THE_FILE.index(name) for name in OURS]], atol=1e-6)
