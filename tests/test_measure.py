"""What tables measure, of networks and clips whose numbers are known beforehand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluations import INPUT, Shelf, make_clip
from torch import nn

from seqgen.dataset.clip import ClipSource, LabelledClip
from seqgen.estimators.estimator import Prediction
from seqgen.estimators.views.batch import Batch
from seqgen.evaluation.evaluate import evaluate
from seqgen.reproduction.columns import CLIP_COLUMNS, METRICS
from seqgen.reproduction.measure import COVERED_JOINTS, INNER, HeldOutClips, blackout_jumps, clip_means, covered_frames, measure, successes
from seqgen.skeleton import TIPS

FRAMES = 5


class Shy(nn.Module):
    """Says the truth of a frame, and takes a step of `step_m` aside with all joints but the wrist where the frame is dark. With `memory` it never steps after
    the first frame of a clip."""

    def __init__(self, step_m: float, *, memory: bool = False) -> None:
        super().__init__()
        self.step_m, self.memory = step_m, memory

    def forward(self, batch: Batch) -> Prediction:
        dark = batch.rgb.float().mean((2, 3, 4)) < 1
        if self.memory:
            dark[:, 1:] = False
        aside = torch.zeros_like(batch.joints_m)
        aside[..., 1:, 0] = self.step_m
        return Prediction(joints_m=batch.joints_m + aside * dark[..., None, None], joints_px=batch.joints_px)

    def prediction(self, output: Prediction) -> Prediction:
        return output


class Turned(nn.Module):
    """Says hands turned by a quarter about the camera's axis and 1.2 times as large; pixels are right."""

    def forward(self, batch: Batch) -> Prediction:
        x, y, z = batch.joints_m.unbind(-1)
        return Prediction(joints_m=1.2 * torch.stack([-y, x, z], -1), joints_px=batch.joints_px)

    def prediction(self, output: Prediction) -> Prediction:
        return output


def still_clip(n: int, grey: int = 90) -> LabelledClip:
    """A hand that does not move before one grey."""
    clip = make_clip(n, frames=FRAMES)
    joints_m, joints_px = (np.repeat(joints[:1], FRAMES, 0) for joints in (clip.joints_m, clip.joints_px))
    return replace(clip, rgb=np.full_like(clip.rgb, grey), joints_m=joints_m, joints_px=joints_px)


@pytest.mark.parametrize("frame", [None, 1, 3])
def test_jump_over_a_black_frame(frame: int | None) -> None:
    """Of a hand at rest: the step aside and back, by 20 of 21 joints."""
    source = Shelf([still_clip(n) for n in range(3)])
    for network, jump_mm in ((Shy(0.021), 20.0), (Shy(0.021, memory=True), 0.0)):
        shown = evaluate(network, INPUT, source)
        jumps = blackout_jumps(network, INPUT, source, clips=3, shown=shown, frame=frame)
        assert jumps["blackout_mm"] == pytest.approx(np.full(3, jump_mm), abs=1e-4)
        assert jumps["black_frame_mm"] == pytest.approx(np.full(3, jump_mm), abs=1e-4)
        assert jumps["blackout_shown_mm"] == pytest.approx(np.zeros(3)) and jumps["blackout_true_mm"] == pytest.approx(np.zeros(3))


def test_jump_of_a_moving_hand_is_its_step() -> None:
    """A network that says the truth jumps as far as the hand goes, worked out by hand here."""
    clip = make_clip(2, frames=FRAMES)
    relative = clip.joints_m - clip.joints_m[:, :1]
    steps = np.linalg.norm(np.diff(relative, axis=0), axis=-1).mean(1) * 1e3
    source = Shelf([clip])
    jumps = blackout_jumps(Shy(0.0), INPUT, source, clips=1, shown=evaluate(Shy(0.0), INPUT, source))
    assert jumps.pop("black_frame_mm") == pytest.approx([0.0], abs=1e-4)
    assert [values[0] for values in jumps.values()] == pytest.approx([steps[1:3].mean()] * 3, rel=1e-4)


@pytest.mark.parametrize("frame", [0, FRAMES - 1])
def test_black_frame_needs_neighbours(frame: int) -> None:
    source = Shelf([still_clip(0)])
    with pytest.raises(ValueError, match="no frame before or after"):
        blackout_jumps(Shy(0.0), INPUT, source, clips=1, shown=evaluate(Shy(0.0), INPUT, source), frame=frame)


def test_all_metrics_of_a_known_error() -> None:
    """Dark clips: 20 of 21 joints are off by 42 mm, in every frame alike; the others are right."""
    source = Shelf([still_clip(0), still_clip(1, grey=0), still_clip(2)])
    found = measure(Shy(0.042), INPUT, source, metrics=CLIP_COLUMNS.metrics, clips=3)
    assert found["error_mm"] == pytest.approx([0, 40, 0], abs=1e-3)
    assert found["auc_3d"] == pytest.approx([1, (1 + 20 * 8.0 / 30) / 21, 1], abs=0.5 / 30)  # an error of 42 mm scores (50 - 42) / 30, within half a step
    assert found["error_px"] == pytest.approx([0, 0, 0], abs=1e-3) and found["auc_2d"] == pytest.approx([1, 1, 1], abs=0.5 / 20)
    assert found["acceleration_mm"] == pytest.approx([0, 0, 0], abs=1e-3)
    assert np.isnan(found["covered_mm"]).all()  # these clips have no masks
    assert found["mean_20"] == pytest.approx([1, 0, 1]) and found["max_40"] == pytest.approx([1, 0, 1])
    assert np.isnan(found["space_mm"]).all() and np.isnan(found["space_max_20"]).all()  # this network does not know where the hand is
    assert set(METRICS) <= set(found)


def test_blackout_is_measured_only_when_asked_for() -> None:
    assert not {"blackout_mm", "black_frame_mm"} & measure(Shy(0.0), INPUT, Shelf([still_clip(0)]), metrics=("error_mm",), clips=1).keys()


def test_successes_count_frames_by_their_mean_and_by_their_worst_joint() -> None:
    """Three clips of a frame: one joint of three is off by 30 mm; all by 15; a joint without a label is off by a metre. A frame without any label is no frame."""
    mm = np.array([[30.0, 0, 0], [15, 15, 15], [1000, 19, 5], [0, 0, 0]])
    valid = np.array([[1, 1, 1], [1, 1, 1], [0, 1, 1], [0, 0, 0]], bool)
    found = successes(mm, valid, np.array([0, 0, 1, 2]), 3)
    assert found["mean_20"].tolist()[:2] == [1.0, 1.0] and found["max_20"].tolist()[:2] == [0.5, 1.0] and found["max_40"].tolist()[:2] == [1.0, 1.0]
    assert all(np.isnan(values[2]) for values in found.values())


def test_aligned_error_leaves_turn_and_size_out() -> None:
    found = measure(Turned(), INPUT, Shelf([still_clip(n) for n in range(2)]), metrics=(), clips=2)
    assert found["pa_mm"] == pytest.approx([0, 0], abs=1e-3) and (found["error_mm"] > 20).all()


def test_aligned_error_of_a_wrist_out_of_place() -> None:
    """All joints but the wrist take a step aside: alignment shares it among them, and leaves less than the root-relative 20 of 21 steps, but something."""
    found = measure(Shy(0.021), INPUT, Shelf([still_clip(0, grey=0), still_clip(1)]), metrics=(), clips=2)
    assert 0.1 < found["pa_mm"][0] < found["error_mm"][0] == pytest.approx(20.0, abs=1e-3) and found["pa_mm"][1] == pytest.approx(0, abs=1e-3)


def test_covered_frames_are_those_with_joints_off_the_hand() -> None:
    clip = still_clip(0)
    mask = np.zeros(clip.rgb.shape[:3], bool)
    column, row = np.rint(clip.joints_px[0]).astype(int).T
    for frame, hidden in enumerate((0, COVERED_JOINTS - 1, COVERED_JOINTS, 15, 0)):
        seen = [*INNER[hidden:], *(() if frame == 4 else (0, *TIPS))]  # in the last frame all but wrist and tips
        mask[frame, row[seen], column[seen]] = True
    alone = np.unique(np.stack([row, column], 1), axis=0)
    assert len(alone) == 21  # no two joints share a pixel
    assert covered_frames(replace(clip, mask=mask)).tolist() == [False, False, True, True, False]
    outside = replace(clip, mask=np.ones_like(mask), joints_px=clip.joints_px - np.float32([[[100, 0]]]))
    assert covered_frames(outside).all()


def test_covered_error_is_of_covered_frames() -> None:
    """Half of the frames of a clip are dark and covered."""
    clip = still_clip(0)
    rgb, mask = clip.rgb.copy(), np.ones(clip.rgb.shape[:3], bool)
    rgb[1], mask[1] = 0, False
    found = measure(Shy(0.021), INPUT, Shelf([replace(clip, rgb=rgb, mask=mask)]), metrics=(), clips=1)
    assert found["covered_mm"] == pytest.approx([20.0], abs=1e-3) and found["error_mm"] == pytest.approx([20.0 / FRAMES], abs=1e-3)


def test_held_out_clips_are_a_source_of_the_first_ones() -> None:
    clips = HeldOutClips(Shelf([still_clip(n) for n in range(4)]), 2, black=3)
    assert isinstance(clips, ClipSource) and len(clips) == 2 and clips.key(1) == "clip 1" and clips.num_frames(0) == FRAMES
    assert [bool(frame.any()) for frame in clips.read(1).rgb] == [True, True, True, False, True]


def test_means_are_over_valid_values() -> None:
    values, clip = np.array([[1.0, 2.0], [3.0, np.nan], [5.0, 6.0]]), np.array([0, 0, 2])
    valid = np.array([[True, True], [True, False], [False, True]])
    np.testing.assert_array_equal(clip_means(values, valid, clip, 3), [2.0, np.nan, 6.0])


@pytest.mark.slow
def test_covered_frames_agree_with_what_the_renderer_says(tmp_path: Path) -> None:
    """With a thing before each hand, frames differ only where a joint more or less decides."""
    from runs import small_config

    from seqgen.benchmarks import open_clips
    from seqgen.dataset import open_dataset
    from seqgen.pipeline.run import generate_dataset

    generate_dataset(small_config(occluder={"share": 1.0}, split={"train": 0, "val": 0, "test": 1}), tmp_path)
    dataset, clips = open_dataset(tmp_path), open_clips(tmp_path, split="test")
    said = np.concatenate([np.isin(sequence.labels.joints_hidden_by[:, INNER], (20, 30)).sum(1) for sequence in dataset])
    found = np.concatenate([covered_frames(clips.read(position)) for position in range(len(clips))])
    assert found[said > COVERED_JOINTS].all() and not found[said < COVERED_JOINTS - 1].any() and found.any() and not found.all()
