"""RHD's reader: pictures, masks and pickles in the published format give back what was put in; a pickle is read as data and nothing in it is run."""

import copyreg
import logging
import pickle
import struct
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from real_sets import draw, made_up_hands, pixels

from seqgen.benchmarks import Rhd, open_clips
from seqgen.benchmarks.array_pickle import array_of, read_pickle
from seqgen.benchmarks.rhd import read_labels
from seqgen.dataset.clip import ClipSource
from seqgen.errors import UserError
from seqgen.estimators.views.crop import InputConfig
from seqgen.estimators.views.feed import batch_of
from seqgen.hand import load_hand

Array = np.ndarray
K = np.array([[283.1, 0, 160], [0, 283.1, 160], [0, 0, 1]])
FINGERS = ("thumb", "index", "middle", "ring", "pinky")
OURS = ("wrist", *(f"{finger}{joint}" for finger in FINGERS for joint in (1, 2, 3, 4)))
IN_THE_FILE = ("wrist", *(f"{finger}{joint}" for finger in FINGERS for joint in (4, 3, 2, 1)))
MIDDLE_MCP_IN_THE_FILE = 12  # the joint that the authors crop around


@lru_cache
def both_hands(count: int = 3) -> dict[str, Array]:
    """Left and right hands side by side; the left one is nearer, so larger, in even pictures."""
    right = made_up_hands(load_hand("open"), count, depth_m=0.7).joints_m
    nearer = np.array([[0, 0, -0.25], [0, 0, 0.25]])[np.arange(count) % 2][:, None]
    return {"left": right * [-1, 1, 1] + [-0.1, 0, 0] + nearer, "right": right + np.array([0.12, 0, 0])}


def entries(count: int = 3) -> dict[int, dict[str, Array]]:
    """As the authors write them: 42 joints, left before right, tips first."""
    found = {}
    for n in range(count):
        in_order = [both_hands(count)[side][n][OURS.index(name)] for side in ("left", "right") for name in IN_THE_FILE]
        xyz = np.array(in_order)
        uv = pixels(xyz[None], K)[0]
        found[n] = {"xyz": xyz, "uv_vis": np.concatenate([uv, (np.arange(42)[:, None] % 3 > 0).astype(float)], 1), "K": K.copy()}
    return found


def mask_of(n: int, count: int = 3) -> Array:
    """Left parts are 2 to 17, right ones 18 to 33, before a person, 1, and background."""
    mask = np.zeros((320, 320), np.uint8)
    mask[200:] = 1
    for side, part in (("right", 18 + n), ("left", 17 - n)):
        hand = np.asarray(draw(pixels(both_hands(count)[side][n : n + 1], K)[0], (320, 320), colour=(255,) * 3, ground=(0,) * 3).convert("L")) > 0
        mask[hand] = part
    return mask


def write_rhd(folder: Path, count: int = 3, *, split: str = "training", protocol: int = 4) -> Path:
    for kind in ("color", "mask"):
        (folder / split / kind).mkdir(parents=True)
    for n in range(count):
        Image.fromarray(mask_of(n, count)).save(folder / split / "mask" / f"{n:05d}.png")
        Image.fromarray(np.full((320, 320, 3), 10 + n, np.uint8)).save(folder / split / "color" / f"{n:05d}.png")
    (folder / split / f"anno_{split}.pickle").write_bytes(pickle.dumps(entries(count), protocol))
    return folder


@pytest.fixture(scope="module")
def rhd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rhd(write_rhd(tmp_path_factory.mktemp("rhd")), 2, split="evaluation")


def test_the_larger_hand_comes_back_in_our_order(rhd: Path) -> None:
    source = Rhd(rhd)
    assert isinstance(source, ClipSource) and len(source) == 3 and source.missing == ()
    for n, side in enumerate(("left", "right", "left")):
        clip = source.read(n)
        assert source.key(n) == clip.key == f"training_{n:05d}" and clip.side == side and clip.rgb[0, 0, 0].tolist() == [10 + n] * 3
        np.testing.assert_allclose(clip.joints_m[0], both_hands()[side][n], atol=1e-6)
        np.testing.assert_allclose(clip.joints_px[0], pixels(both_hands()[side][n : n + 1], K)[0], atol=1e-3)
        np.testing.assert_array_equal(clip.intrinsics[0], K.astype(np.float32))
        np.testing.assert_array_equal(clip.joints_m[0, 9], entries()[n]["xyz"][MIDDLE_MCP_IN_THE_FILE + (0 if side == "left" else 21)].astype(np.float32))


def test_mask_and_box_are_of_that_hand_alone(rhd: Path) -> None:
    for n, (low, high) in enumerate(((2, 17), (18, 33), (2, 17))):
        clip, stored = Rhd(rhd).read(n), mask_of(n)
        np.testing.assert_array_equal(clip.mask[0], (stored >= low) & (stored <= high))
        rows, columns = np.nonzero(clip.mask[0])
        assert clip.box_px[0].tolist() == [columns.min(), rows.min(), columns.max(), rows.max()]


def test_a_hand_out_of_sight_has_the_box_of_its_joints(tmp_path: Path) -> None:
    write_rhd(tmp_path)
    Image.fromarray(np.minimum(mask_of(0), 1)).save(tmp_path / "training" / "mask" / "00000.png")
    clip = Rhd(tmp_path).read(0)
    assert clip.side == "right" and not clip.mask.any()
    assert (clip.box_px[0, :2] < clip.joints_px[0].min(0)).all() and (clip.box_px[0, 2:] > clip.joints_px[0].max(0)).all()


def test_hidden_joints_can_be_left_out(rhd: Path) -> None:
    assert Rhd(rhd).read(0).joints_valid.all()
    clip = Rhd(rhd, hidden_valid=False).read(0)
    visible = {name: entries()[0]["uv_vis"][place, 2] == 1 for place, name in enumerate(IN_THE_FILE)}
    assert clip.joints_valid[0].tolist() == [visible[name] for name in OURS] and 0 < clip.joints_valid.sum() < 21


def test_splits(rhd: Path) -> None:
    for split, clips in {None: 3, "train": 3, "training": 3, "test": 2, "evaluation": 2}.items():
        source = open_clips(rhd, split=split)
        assert isinstance(source, Rhd) and len(source) == clips and "left hands" in source.verdict and "right hands" in source.verdict
    with pytest.raises(UserError, match="RHD has no split 'val'; it has train"):
        open_clips(rhd, split="val")
    with pytest.raises(UserError, match="has colours only, and this network sees depth"):
        open_clips(rhd, pictures=("depth",))


def test_a_network_is_shown_the_hands(rhd: Path) -> None:
    batch = batch_of([Rhd(rhd).read(n) for n in range(3)], InputConfig(size=64, crop="box", margin=1.5))
    assert batch.sides == ("left", "right", "left") and batch.has_mask.all() and batch.perspective.all()
    assert (batch.joints_px > 0).all() and (batch.joints_px < 63).all()


def test_reader_processes_read_the_labels_themselves(rhd: Path) -> None:
    source = Rhd(rhd)
    sent = pickle.dumps(source)
    assert len(sent) < 2_000
    np.testing.assert_array_equal(pickle.loads(sent).read(1, [0, 0]).joints_m, np.repeat(source.read(1).joints_m, 2, 0))
    with pytest.raises(IndexError, match="has one frame"):
        source.read(0, [1])


def test_what_is_missing_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_rhd(tmp_path)
    (tmp_path / "training/color/00000.png").unlink()
    (tmp_path / "training/mask/00002.png").unlink()
    with caplog.at_level(logging.WARNING):
        source = Rhd(tmp_path)
    assert [source.key(n) for n in range(len(source))] == ["training_00001"] and source.missing == ("training/color/00000.png", "training/mask/00002.png")
    assert "3 labels, the published one 41258" in caplog.text and "2 files are missing and left out" in caplog.text
    (tmp_path / "training/mask/00001.png").unlink()
    with pytest.raises(UserError, match=r"of none of the 3 labels picture and mask are there, training/color/00000.png is missing"):
        Rhd(tmp_path)
    with pytest.raises(UserError, match=r"no evaluation split of RHD: evaluation/anno_evaluation.pickle is not there"):
        Rhd(tmp_path, "evaluation")


def mirrored(entry: dict[str, Array]) -> dict[str, Array]:
    return {**entry, "xyz": entry["xyz"] * [-1, 1, 1]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entry: {**entry, "xyz": entry["xyz"] * 1e3}, "wrong unit.*millimetres"),
        (mirrored, r"\(training, left\): these look like right hands"),
        (lambda entry: {**entry, "xyz": entry["xyz"][[*range(21, 42), *range(21)]]}, r"\(training, left\): these look like right hands"),
        (lambda entry: {**entry, "xyz": entry["xyz"][[21 * (n // 21) + OURS.index(IN_THE_FILE[n % 21]) for n in range(42)]]}, "wrong joint order"),
        (lambda entry: {**entry, "xyz": entry["xyz"][:21]}, r"entry 1: xyz has shape \(21, 3\), expected \(42, 3\)"),
        (lambda entry: {"xyz": entry["xyz"], "K": entry["K"]}, "entry 1 has no uv_vis"),
        (lambda entry: {**entry, "K": "text"}, "entry 1: K is no array"),
        (lambda entry: {**entry, "K": np.array([["a"] * 3] * 3)}, "entry 1: K is no array of plain numbers"),
        (lambda entry: [], "entry 1 has no xyz"),
    ],
    ids=["unit", "mirrored", "sides", "order", "shape", "lacking", "text", "array of text", "list"],
)
def test_wrong_labels_are_refused(tmp_path: Path, change: object, message: str) -> None:
    write_rhd(tmp_path)
    all_entries = entries()
    whole = {n: change(entry) for n, entry in all_entries.items()}
    changed = whole if "entry 1" not in message else {**all_entries, 1: whole[1]}
    (tmp_path / "training" / "anno_training.pickle").write_bytes(pickle.dumps(changed))
    with pytest.raises(UserError, match=message):
        Rhd(tmp_path)


def test_labels_of_other_pictures_are_refused(tmp_path: Path) -> None:
    write_rhd(tmp_path)
    moved = {n: {**entry, "uv_vis": entry["uv_vis"] + np.array([60, 0, 0])} for n, entry in entries().items()}
    (tmp_path / "training" / "anno_training.pickle").write_bytes(pickle.dumps(moved))
    with pytest.raises(UserError, match="joints_m and intrinsics give pixels 60 px from joints_px"):
        open_clips(tmp_path)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_age_hold_the_same_numbers(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "anno_training.pickle"
    path.write_bytes(pickle.dumps(entries(), protocol))
    labels = read_labels(path)
    assert labels["number"].tolist() == [0, 1, 2]
    for name in ("xyz", "uv_vis", "K"):
        np.testing.assert_array_equal(labels[name], np.stack([entry[name] for entry in entries().values()]).astype(np.float32))


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_are_read_as_numpy_reads_them(protocol: int) -> None:
    arrays = {
        "plain": np.arange(6.0).reshape(2, 3),
        "columns first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big-endian": np.arange(3, dtype=">i4"),
        "half": np.arange(3, dtype=np.float16),
        "bytes": np.arange(256, dtype=np.uint8),
        "booleans": np.array([True, False]),
        "none": np.zeros((0, 3)),
        "one": np.array(7.0),
    }
    content = read_pickle(pickle.dumps(arrays, protocol), "here")
    for name, array in arrays.items():
        np.testing.assert_array_equal(array_of(content[name]), array)
        assert array_of(content[name]).dtype == array.dtype


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


def test_nothing_in_a_pickle_is_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "anno_training.pickle", tmp_path / "mark"
    for payload in (Payload(Path.touch, mark), Payload(eval, f"open({str(mark)!r}, 'w')"), Payload(np.save, str(mark), 1), Payload(np.fromfile, str(path))):
        for protocol in range(6):
            path.write_bytes(pickle.dumps({0: payload}, protocol))
            with pytest.raises(UserError, match=r"anno_training.pickle: refused to load [\w.]+; these labels are arrays alone, nothing was run"):
                read_labels(path)
    assert not list(tmp_path.glob("mark*"))
    pickle.loads(path.read_bytes())  # the last one would read a file


def test_an_extension_that_python_has_met_is_refused(tmp_path: Path) -> None:
    copyreg.add_extension("pathlib", "Path", 240)
    try:
        data = pickle.dumps({0: Path}, 2)
        assert pickle.loads(data) == {0: Path}
        with pytest.raises(UserError, match="refused to load the extension 240"):
            read_pickle(data, "here")
    finally:
        copyreg.remove_extension("pathlib", "Path", 240)


BROKEN = {
    "empty": b"",
    "text": b"text",
    "begun": b"\x80\x04",
    "cut short": pickle.dumps(entries())[:-40],
    "endless bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**62),
    "state for a name": b"\x80\x02cnumpy\nndarray\n}(X\x01\x00\x00\x00aK\x01ub.",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_what_is_no_pickle_is_said(data: bytes) -> None:
    with pytest.raises(UserError, match="here: is no pickle, cut short or damaged: "):
        read_pickle(data, "here")


def test_other_pickles_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "anno_training.pickle"
    for content, message in (([], "holds a list, expected a dictionary"), ({}, "expected a dictionary of pictures by number"), ({"a": 1}, "of pictures by number")):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(UserError, match=message):
            read_labels(path)
