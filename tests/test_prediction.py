"""Prediction: what the estimator points at in its crop is what comes out in the picture; streams, and whole clips frame by frame."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from seqgen.errors import UserError
from seqgen.estimators.checkpoint import LoadedEstimator, new_estimator
from seqgen.estimators.estimator import Prediction
from seqgen.estimators.seqhand.estimator import SeqHandConfig
from seqgen.estimators.views.crop import InputConfig, to_picture
from seqgen.estimators.views.feed import batch_of
from seqgen.estimators.views.view import View
from seqgen.pipeline.process import one_thread
from seqgen.prediction.boxes import Following, Track, follow_joints
from seqgen.prediction.frames import ClipFrames, Frame
from seqgen.prediction.overlay import draw_prediction
from seqgen.prediction.predict import FramePrediction, predict_stream
from tests.pointer import JOINTS_M, LOADED, SCALE, MadeUp, Pointer, box_about, spot

Array = np.ndarray


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

    def step(self, view: View, state: int | None) -> tuple[Prediction, int]:
        said, state = super().step(view, state)
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
        def step(self, view: View, state: int | None) -> tuple[Prediction, int]:
            said, state = super().step(view, state)
            return Prediction(said.joints_m * np.nan, said.joints_px), state

    with pytest.raises(UserError, match="frame a: the checkpoint's joints are not finite"):
        list(predict_stream(LoadedEstimator(Broken(), LOADED.input, {}), [Frame("a", spot(1, 1))]))


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


def test_overlays_show_the_joints_in_large_pictures_too() -> None:
    [said] = predictions([Frame("a", spot(500, 400, size=(1200, 900)), box_px=box_about(500, 400, 200))])
    drawn = np.asarray(draw_prediction(said, longest_px=600)).astype(int)
    assert drawn.shape == (450, 600, 3)
    for x, y in ((said.joints_px + 0.5) / 2 - 0.5).round().astype(int):
        assert drawn[y, x].max() > 180  # a disc of the skeleton on black
