"""Prediction: what the estimator points at in its crop is what comes out in the picture; streams, boxes, inputs and outputs."""

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from seqgen.benchmarks.pinhole import FLESH_M
from seqgen.dataset.clip import LabelledClip
from seqgen.errors import UserError
from seqgen.estimators.checkpoint import LoadedEstimator, new_estimator
from seqgen.estimators.crop import InputConfig, to_picture
from seqgen.estimators.estimator import Prediction
from seqgen.estimators.sample import batch_of
from seqgen.estimators.seqhand import SeqHandConfig
from seqgen.pipeline.process import one_thread
from seqgen.prediction.boxes import Following, Track, follow_joints, read_boxes
from seqgen.prediction.frames import ClipFrames, Frame, open_frames, read_image
from seqgen.prediction.overlay import draw_prediction
from seqgen.prediction.predict import FramePrediction, predict_stream
from seqgen.prediction.run import predict_into
from seqgen.prediction.video import VideoWriter
from tests.sequences import make_sequence

Array = np.ndarray
RNG = np.random.default_rng(5)
POINTS_M = RNG.normal(0, 0.05, (10, 3))
JOINTS_M = np.concatenate([np.zeros((1, 3)), POINTS_M, -POINTS_M]).astype(np.float32)  # their box has the wrist in its middle
SCALE = float(24 / (2 * np.abs(JOINTS_M[:, :2]).max() + 2 * FLESH_M))  # and half the side of a crop of 48 px: margin 2 keeps its size


class Pointer(torch.nn.Module):
    """A toy estimator: the wrist is where the crop's green is, the other joints lie about it at SCALE px/m; betas[0] counts the frames since the state was None."""

    def step(self, rgb: torch.Tensor, state: int | None) -> tuple[Prediction, int]:
        light = rgb[:, 1].double()
        ticks = torch.arange(rgb.shape[-1], dtype=torch.float64)
        total = light.sum().clamp(min=1)
        wrist = torch.stack([(light.sum(1) * ticks).sum(), (light.sum(2) * ticks).sum()]).div(total).float()
        seen = 1 if state is None else state + 1
        joints_m = torch.from_numpy(JOINTS_M)[None, None]
        betas = torch.zeros(1, 1, 10).index_fill_(2, torch.tensor(0), seen)
        weak = torch.cat([torch.tensor([SCALE]), wrist])[None, None]
        return Prediction(joints_m, SCALE * joints_m[..., :2] + wrist, torch.zeros(1, 1, 16, 3), betas, weak), seen


LOADED = LoadedEstimator(Pointer(), InputConfig(size=48, crop="box", margin=2.0), {})


def spot(x: float, y: float, *, size: tuple[int, int] = (120, 90)) -> Array:
    """A picture that is black but for a smooth green spot."""
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    light = 250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 5.0**2))
    return np.stack([0 * light, light, 0 * light], -1).round().astype(np.uint8)


def box_about(x: float, y: float, half: float = 20) -> Array:
    return np.array([x - half, y - half, x + half, y + half], np.float32)


def predictions(frames: Sequence[Frame], *arguments: Any, **keywords: Any) -> list[FramePrediction]:
    return list(predict_stream(LOADED, frames, *arguments, **keywords))


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("box", [None, box_about(62, 41), box_about(55, 52, 33)])
def test_the_spot_that_the_estimator_points_at_is_where_it_is_in_the_picture(side: str, box: Array | None) -> None:
    [said] = predictions([Frame("a", spot(60.3, 44.6), box_px=box)], side=side)
    np.testing.assert_allclose(said.joints_px[0], [60.3, 44.6], atol=0.1)
    assert said.side == side and said.found == (box is not None)


@pytest.mark.parametrize("side", ["right", "left"])
def test_joints_of_the_crop_come_back_in_closed_form(side: str) -> None:
    """The square has 80 px to the crop's 48; the mirror turns x about the square's middle."""
    [said] = predictions([Frame("a", np.zeros((90, 120, 3), np.uint8), box_px=box_about(50, 40))], side=side)
    sign = np.array([1 if side == "right" else -1, 1])
    crop_px = SCALE * JOINTS_M[:, :2]  # the wrist at (0, 0): the crop is black
    np.testing.assert_allclose(said.joints_px, [50, 40] + sign * (crop_px - 23.5) * 80 / 48, atol=1e-3)
    np.testing.assert_allclose(said.joints_m, JOINTS_M * [sign[0], 1, 1], atol=0)


@pytest.mark.parametrize("side", ["right", "left"])
def test_weak_perspective_is_that_of_the_picture(side: str) -> None:
    [said] = predictions([Frame("a", spot(60, 44), box_px=box_about(62, 41))], side=side)
    np.testing.assert_allclose(said.weak_perspective[0], SCALE * 80 / 48, rtol=1e-6)
    np.testing.assert_allclose(said.weak_perspective[0] * said.joints_m[:, :2] + said.weak_perspective[1:], said.joints_px, atol=1e-3)


def test_a_frame_is_answered_before_the_next_is_asked_for() -> None:
    asked = []

    def camera() -> Iterator[Frame]:
        for number in range(3):
            asked.append(number)
            yield Frame(str(number), spot(50 + number, 40))

    stream = predict_stream(LOADED, camera())
    for number in range(3):
        assert next(stream).frame.name == str(number) and asked == list(range(number + 1))


def test_the_state_starts_anew_with_clip_size_and_side() -> None:
    plain = [Frame(str(number), spot(50, 40)) for number in range(3)]
    other_clip = [Frame("3", spot(50, 40), clip="b"), Frame("4", spot(50, 40), clip="b")]
    other_size = [Frame("5", spot(50, 40, size=(100, 90)), clip="b")]
    other_side = [Frame("6", spot(50, 40, size=(100, 90)), clip="b", side="left")]
    assert [said.betas[0] for said in predictions(plain + other_clip + other_size + other_side)] == [1, 2, 3, 1, 2, 1, 1]


def test_a_hand_is_found_followed_and_lost() -> None:
    """The hand is there in frames 0..11 and 19; the localiser is asked at once, every four frames while it is followed, and after each miss."""
    there = [*range(12), 19]
    asked = []

    def find(rgb: Array) -> Array | None:
        asked.append(int(rgb[0, 0, 2]))
        return box_about(60 + asked[-1], 44) if asked[-1] in there else None

    frames = []
    for number in range(20):
        picture = spot(60 + number, 44, size=(160, 90))
        picture[0, 0, 2] = number
        frames.append(Frame(str(number), picture))
    said = predictions(frames, find, following=Following(look_every=4, lost_after=3))
    kinds = ["found"] + ["followed"] * 11 + ["lost"] * 3 + ["picture"] * 4 + ["found"]
    assert [one.box_from for one in said] == kinds
    assert asked == [0, 4, 8, *range(12, 20)]
    assert [one.found for one in said] == [kind in ("found", "followed") for kind in kinds]
    assert [one.betas[0] for one in said] == [*range(1, 16), 1, 1, 1, 1, 2]  # lost for more than three frames: every frame by itself until it is found
    for number, (one, after) in enumerate(pairwise(said[:12]), 1):  # the box is that of the joints before, or the mean of it and what is found
        middle = one.joints_px[0] if number not in asked else (one.joints_px[0] + [60 + number, 44]) / 2
        np.testing.assert_allclose((after.box_px[:2] + after.box_px[2:]) / 2, middle, atol=0.1)
        np.testing.assert_allclose((after.box_px[2:] - after.box_px[:2]).max(), 40, atol=0.3)


class TooLarge(Pointer):
    """Says every hand is 1.5 times as large as it is shown."""

    def step(self, rgb: torch.Tensor, state: int | None) -> tuple[Prediction, int]:
        said, state = super().step(rgb, state)
        wrist = said.joints_px[..., :1, :]
        return Prediction(said.joints_m, wrist + 1.5 * (said.joints_px - wrist)), state


def test_an_error_of_the_estimator_does_not_run_away() -> None:
    """By itself the box of 40 px would be 200 times as large after 13 frames; the localiser brings it back every fourth."""
    loaded = LoadedEstimator(TooLarge(), LOADED.input, {})
    frames = [Frame(str(number), spot(60, 44)) for number in range(14)]
    edges = [float((one.box_px[2:] - one.box_px[:2]).max()) for one in predict_stream(loaded, frames, lambda rgb: box_about(60, 44), following=Following(look_every=4))]
    growth = np.array([after / before for before, after in pairwise(edges)])
    assert growth.max() <= 1.05 + 1e-5 and max(edges) < 40 * 1.05**8
    np.testing.assert_allclose(edges[4], (40 * 1.05**4 + 40) / 2, rtol=1e-5)
    fixed = [one.box_px for one in predict_stream(loaded, [Frame("0", spot(60, 44), box_px=box_about(60, 44)), *frames[1:]])]
    np.testing.assert_allclose((fixed[13] - fixed[13][[2, 3, 0, 1]]).max(), 40 * 1.05**13, rtol=1e-4)  # nobody looks: it grows, but slowly


def test_a_found_box_elsewhere_replaces_the_followed_one() -> None:
    frames = [Frame(str(number), spot(30, 30)) for number in range(3)]
    said = predictions(frames, lambda rgb: box_about(90, 60), following=Following(look_every=1))
    assert [one.box_from for one in said] == ["found"] * 3  # the spot is in the corner of the crop, the followed box elsewhere
    np.testing.assert_array_equal(said[2].box_px, box_about(90, 60))


def test_joints_that_are_no_hand_are_not_followed() -> None:
    """A point, or joints far outside: the next frame is looked at as a whole."""
    track, hand = Track(box_about(60, 44), "given"), 2 * JOINTS_M[:, :2] * SCALE + np.array([60, 44], np.float32)
    assert follow_joints(track, hand, JOINTS_M, (120, 90)).box_px is not None
    assert follow_joints(track, 0.01 * hand + 40, JOINTS_M, (120, 90)).box_px is None
    assert follow_joints(track, hand + 200, JOINTS_M, (120, 90)).box_px is None


def test_joints_that_are_not_finite_are_the_checkpoints_fault() -> None:
    class Broken(Pointer):
        def step(self, rgb: torch.Tensor, state: int | None) -> tuple[Prediction, int]:
            said, state = super().step(rgb, state)
            return Prediction(said.joints_m * np.nan, said.joints_px), state

    with pytest.raises(UserError, match="frame a: the checkpoint's joints are not finite"):
        list(predict_stream(LoadedEstimator(Broken(), LOADED.input, {}), [Frame("a", spot(1, 1))]))


# --- clips of data sets ---


class MadeUp:
    """Clips of `tests.sequences`, the second of a left hand."""

    name = "made up"

    def __len__(self) -> int:
        return 2

    def key(self, position: int) -> str:
        return f"{position:08d}"

    def num_frames(self, position: int) -> int:
        return 3

    def read(self, position: int, frames: Sequence[int] | None = None) -> LabelledClip:
        sequence = make_sequence(position, size=(64, 48))
        labels, chosen = sequence.labels, list(range(3) if frames is None else frames)
        return LabelledClip(
            key=sequence.key, source=self.name, side=("right", "left")[position], fps=30.0, rgb=sequence.rgb[chosen], joints_m=labels.joints_m[chosen],
            joints_px=labels.joints_px[chosen], joints_valid=np.ones((len(chosen), 21), bool), box_px=labels.box_px[chosen], camera_kind="perspective",
        )  # fmt: skip


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """Small networks are slower on many threads."""
    with one_thread():
        yield


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """The smallest of our own networks, untrained."""
    torch.manual_seed(0)
    return new_estimator(SeqHandConfig(name="seqhand", backbone="resnet18", width=0.125)).eval()


@pytest.mark.parametrize("crop", ["picture", "box"])
def test_a_stream_is_the_whole_clip_at_once(crop: str, network: torch.nn.Module, one_torch_thread: None) -> None:
    """Frame by frame out of the pictures, and the clip as a batch, give the same joints in the picture, of either side."""
    loaded, source = LoadedEstimator(network, InputConfig(size=32, crop=crop), {}), MadeUp()
    boxes = [frame if crop == "box" else Frame(frame.name, frame.rgb, clip=frame.clip, side=frame.side) for frame in ClipFrames(source)]
    streamed = list(predict_stream(loaded, boxes))
    for position in range(2):
        batch = batch_of([source.read(position)], loaded.input)
        with torch.no_grad():
            whole = network.prediction(network(batch))
        said = streamed[3 * position : 3 * position + 3]
        joints_px = to_picture(whole.joints_px[0].numpy(), batch.crop_from_picture[0].numpy())
        np.testing.assert_allclose(np.stack([one.joints_px for one in said]), joints_px, atol=2e-2)
        np.testing.assert_allclose(np.stack([one.joints_m for one in said]), whole.joints_m[0].numpy() * [-1 if position else 1, 1, 1], atol=1e-5)
        assert [one.frame.name for one in said] == [f"{position:08d}.{frame:03d}" for frame in range(3)]


# --- images ---


def save(path: Path, picture: Array, **options: Any) -> Path:
    Image.fromarray(picture).save(path, **options)
    return path


def test_a_folder_is_one_stream_in_the_order_of_its_numbers_or_stills(tmp_path: Path) -> None:
    for number in (10, 9, 1):
        save(tmp_path / f"frame_{number}.png", spot(50 + number, 40))
    (tmp_path / "notes.txt").write_text("no image")
    stream, stills = open_frames(tmp_path), open_frames(tmp_path, stills=True)
    assert stream.names == stills.names == ("frame_1.png", "frame_9.png", "frame_10.png")
    assert [said.betas[0] for said in predict_stream(LOADED, stream)] == [1, 2, 3]
    assert [frame.time_s for frame in stream] == [None] * 3 and [frame.time_s for frame in open_frames(tmp_path, fps=10.0)] == [0.0, 0.1, 0.2]
    assert [said.betas[0] for said in predict_stream(LOADED, stills)] == [1, 1, 1]


def test_images_come_upright_in_colour_and_eight_bits(tmp_path: Path) -> None:
    picture = RNG.integers(0, 256, (5, 8, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held turned: to be shown a quarter clockwise
    np.testing.assert_array_equal(read_image(save(tmp_path / "turned.png", picture, exif=exif)), np.rot90(picture, -1))
    np.testing.assert_array_equal(read_image(save(tmp_path / "grey.png", picture[..., 0])), picture[..., [0, 0, 0]])
    np.testing.assert_array_equal(read_image(save(tmp_path / "deep.png", picture[..., 0].astype(np.uint16) * 257)), picture[..., [0, 0, 0]])
    half = np.concatenate([picture, np.where(np.arange(8) < 4, 255, 0).astype(np.uint8)[None, :, None].repeat(5, 0)], -1)
    np.testing.assert_array_equal(read_image(save(tmp_path / "alpha.png", half)), np.where(np.arange(8)[:, None] < 4, picture, 255))


@pytest.mark.parametrize("kind", ["cut off", "no image", "empty"])
def test_a_broken_image_is_named(tmp_path: Path, kind: str) -> None:
    whole = save(tmp_path / "a.png", RNG.integers(0, 256, (50, 50, 3), dtype=np.uint8)).read_bytes()
    (tmp_path / "a.png").write_bytes({"cut off": whole[:2000], "no image": b"hello" * 99, "empty": b""}[kind])
    with pytest.raises(UserError, match=r"a\.png: cannot be decoded as an image"):
        list(open_frames(tmp_path))


def test_inputs_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no image"):
        open_frames(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        open_frames(tmp_path / "absent")
    picture = save(tmp_path / "a.png", spot(1, 1))
    film_like = tmp_path / "a.mp4"
    film_like.write_bytes(b"")
    with pytest.raises(UserError, match="--stills is for images"):
        open_frames(film_like, stills=True)
    with pytest.raises(UserError, match="--split is for data sets"):
        open_frames(picture, split="test")
    with pytest.raises(UserError, match="--fps 0: must be above 0"):
        open_frames(picture, fps=0.0)


# --- videos ---


def film(path: Path, pictures: Sequence[Array], fps: float = 25.0) -> Path:
    with VideoWriter(path, fps=fps) as writer:
        for picture in pictures:
            writer.add(picture)
    return path


def test_a_video_is_read_as_it_was_written(tmp_path: Path) -> None:
    pytest.importorskip("av")
    path = film(tmp_path / "a.mp4", [spot(40 + 2 * number, 40) for number in range(10)])
    frames = list(open_frames(path))
    assert [frame.name for frame in frames] == [f"{number:06d}" for number in range(10)]
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(10) / 25, atol=1e-6)
    assert np.abs(frames[7].rgb.astype(int) - spot(54, 40)).mean() < 3
    places = np.array([said.joints_px[0] for said in predict_stream(LOADED, open_frames(path))])
    assert np.corrcoef(places[:, 0], np.arange(10))[0, 1] > 0.99
    assert [frame.name for frame in open_frames(path, fps=10.0)] == ["000000", "000003", "000005", "000008"]  # the first of each tenth of a second
    assert [frame.name for frame in open_frames(path, fps=60.0)] == [f"{number:06d}" for number in range(10)]


def test_a_video_held_sideways_comes_upright(tmp_path: Path) -> None:
    """The display matrix of a phone held upright: pixels are to be turned a quarter clockwise."""
    pytest.importorskip("av")
    path = film(tmp_path / "a.mp4", [spot(30, 20)] * 2)
    content = path.read_bytes()
    one, none, last = (1 << 16).to_bytes(4, "big"), bytes(4), (1 << 30).to_bytes(4, "big")
    plain = one + none * 3 + one + none * 3 + last
    turned = none + one + none + (-(1 << 16)).to_bytes(4, "big", signed=True) + none * 4 + last
    track = content.index(b"tkhd")
    at = content.index(plain, track)
    assert at - track < 100
    path.write_bytes(content[:at] + turned + content[at + len(plain) :])
    frame = next(iter(open_frames(path)))
    assert frame.rgb.shape == (120, 90, 3)
    assert np.unravel_index(frame.rgb[..., 1].argmax(), (120, 90)) == pytest.approx((30, 89 - 20), abs=2)


def test_what_is_no_video_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    path.write_bytes(RNG.bytes(5000))
    with pytest.raises(UserError, match=r"a\.mp4: cannot be decoded as a video"):
        list(open_frames(path))
    with pytest.raises(UserError, match=r"a\.mp4: cannot be decoded as a video"):
        predict_into(LOADED, path, tmp_path / "out")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'seqgen\[video\]'"):
        list(open_frames(path))


def test_a_video_that_breaks_off_is_used_up_to_there(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("av")
    pictures = [RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(30)]
    path = film(tmp_path / "a.mp4", pictures)
    content = path.read_bytes()
    begin, end = content.index(b"mdat") + 4, content.index(b"moov") - 4
    middle = begin + (end - begin) // 2
    path.write_bytes(content[:middle] + b"\xff" * (end - middle) + content[end:])  # the table of the frames stands behind them
    assert 0 < len(list(open_frames(path))) < 30
    assert "damaged after frame" in caplog.text


# --- boxes from a file ---


def test_boxes_of_a_file_are_used_and_followed(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        save(images / f"{number}.png", spot(40 + number, 40))
    (tmp_path / "boxes.json").write_text(json.dumps({"0.png": [20, 20, 60, 60]}))
    assert predict_into(LOADED, images, tmp_path / "out", box=tmp_path / "boxes.json") == 3
    table = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [row["box_from"] for row in table.values()] == ["given", "followed", "followed"]
    assert table["0.png"]["box_px"] == [20, 20, 60, 60]
    (tmp_path / "boxes.json").write_text(json.dumps({"7.png": [20, 20, 60, 60], "8.png": [20, 20, 60, 60]}))
    with pytest.raises(UserError, match=r"boxes\.json: has a box for 7\.png and 1 more, which the input does not have"):
        predict_into(LOADED, images, tmp_path / "out", box=tmp_path / "boxes.json")


@pytest.mark.parametrize("content", ["[1]", "no json", '{"a": [1, 2, 3]}', '{"a": [5, 5, 4, 9]}', '{"a": [true, 2, 3, 4]}', '{"a": ["1", 2, 3, 4]}', '{"a": [NaN, 2, 3, 4]}'])
def test_a_wrong_file_of_boxes_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(UserError, match=r"boxes\.json: .*expected"):
        read_boxes(tmp_path / "boxes.json")
    with pytest.raises(UserError, match=r"absent\.json: cannot be read"):
        read_boxes(tmp_path / "absent.json")


# --- the whole command ---


def test_a_folder_of_images_becomes_predictions_and_overlays(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    save(images / "a.png", spot(60, 44))
    save(images / "a.jpg", spot(60, 44))
    save(images / "b.png", spot(30, 20))
    told = []
    assert predict_into(LOADED, images, out, box="picture", stills=True, side="left", report=lambda done, total: told.append((done, total))) == 3
    table = json.loads((out / "predictions.json").read_text())
    assert list(table) == ["a.jpg", "a.png", "b.png"] and told == [(1, 3), (2, 3), (3, 3)]
    row = table["b.png"]
    assert set(row) == {"joints_px", "joints_m", "pose", "betas", "weak_perspective", "box_px", "box_from", "found", "side", "time_s"}
    assert np.shape(row["joints_px"]) == (21, 2) and np.shape(row["joints_m"]) == (21, 3) and np.shape(row["pose"]) == (16, 3) and len(row["betas"]) == 10
    assert (row["box_px"], row["found"], row["side"]) == (None, False, "left")
    np.testing.assert_allclose(row["joints_px"][0], [30, 20], atol=0.15)
    assert sorted(path.name for path in (out / "overlays").iterdir()) == ["a.jpg.jpg", "a.png.jpg", "b.jpg"]


def test_pictures_without_boxes_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a checkpoint that was taught with whole pictures too: the square about the box is shown to it."""
    monkeypatch.setattr("seqgen.prediction.run.load_localiser", lambda: lambda rgb: box_about(40, 30, 15))
    picture = save(tmp_path / "a.png", spot(40, 30))
    for crop in ("picture", "box"):
        predict_into(LoadedEstimator(Pointer(), InputConfig(size=48, crop=crop, margin=2.0), {}), picture, tmp_path / crop)
        [row] = json.loads((tmp_path / crop / "predictions.json").read_text()).values()
        assert row["box_from"] == "found" and row["box_px"] == [25, 15, 55, 45]
        np.testing.assert_allclose(row["weak_perspective"][0], SCALE * 60 / 48, rtol=1e-4)


def test_videos_become_films_and_clips_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    path = film(tmp_path / "a.mp4", [spot(40 + number, 40, size=(121, 91)) for number in range(4)])
    assert predict_into(LOADED, path, tmp_path / "video", box="picture") == 4
    assert [frame.rgb.shape for frame in open_frames(tmp_path / "video" / "overlays" / "overlay.mp4")] == [(92, 122, 3)] * 4
    monkeypatch.setattr("seqgen.prediction.run.open_frames", lambda *_, **__: ClipFrames(MadeUp()))
    assert predict_into(LOADED, path, tmp_path / "clips") == 6
    table = json.loads((tmp_path / "clips" / "predictions.json").read_text())
    assert [row["side"] for row in table.values()] == ["right"] * 3 + ["left"] * 3 and all(row["box_from"] == "given" for row in table.values())
    with Image.open(tmp_path / "clips" / "overlays" / "00000001.jpg") as strip:
        assert strip.size == (3 * 64 + 4, 48)
    whole_pictures = LoadedEstimator(LOADED.estimator, InputConfig(size=48, crop="picture"), {})
    predict_into(whole_pictures, path, tmp_path / "whole", overlays=False)
    assert {row["box_from"] for row in json.loads((tmp_path / "whole" / "predictions.json").read_text()).values()} == {"picture"}
    assert not (tmp_path / "whole" / "overlays").exists()


def test_overlays_show_the_joints_in_large_pictures_too() -> None:
    [said] = predictions([Frame("a", spot(500, 400, size=(1200, 900)), box_px=box_about(500, 400, 200))])
    drawn = np.asarray(draw_prediction(said, longest_px=600)).astype(int)
    assert drawn.shape == (450, 600, 3)
    for x, y in ((said.joints_px + 0.5) / 2 - 0.5).round().astype(int):
        assert drawn[y, x].max() > 180  # a disc of the skeleton on black


def test_places_that_cannot_be_written_are_refused_before_any_work(tmp_path: Path) -> None:
    picture = save(tmp_path / "a.png", spot(1, 1))
    with pytest.raises(UserError, match="is a file"):
        predict_into(LOADED, picture, picture)
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    with pytest.raises(UserError, match="cannot be written to"):
        predict_into(LOADED, picture, closed / "out")
