"""Evaluation of an estimator whose errors are known, over clips of several lengths, sides and labels."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from evaluations import INPUT, NearlyRight, Shelf, make_clip, without_joints

from seqgen.errors import UserError
from seqgen.estimators.seqhand.estimator import SeqHand, SeqHandConfig
from seqgen.estimators.seqhand.parametric_hand import ComponentHandLayer
from seqgen.estimators.views.crop import InputConfig
from seqgen.estimators.views.feed import batches_of
from seqgen.evaluation.evaluate import CROP_PX, Evaluation, evaluate, mean_joint_error_mm
from seqgen.evaluation.metrics import mean_error
from seqgen.hand import load_hand

OFF_M, OFF_PX = (0.003, -0.004, 0.012), (3.0, -4.0)  # 13 mm, 5 px of the crop
CLIPS = (make_clip(0), make_clip(1, frames=2), make_clip(2, frames=2, side="left", fps=60.0), make_clip(3), make_clip(4), make_clip(5))


def evaluated(clips=CLIPS, *, batch: int = 2, input: InputConfig = INPUT) -> Evaluation:
    return evaluate(NearlyRight(OFF_M, OFF_PX), input, Shelf(clips), batch=batch)


def test_every_frame_of_every_clip_in_order():
    evaluation = evaluated()
    assert evaluation.keys == tuple(f"clip {n}" for n in range(6)) and evaluation.sides == ("right", "right", "left", "right", "right", "right")
    assert evaluation.fps.tolist() == [30, 30, 60, 30, 30, 30] and evaluation.names == ("shelf",)
    assert evaluation.clip.tolist() == [0] * 4 + [1] * 2 + [2] * 2 + [3] * 4 + [4] * 4 + [5] * 4
    assert evaluation.frame.tolist() == [0, 1, 2, 3, 0, 1, 0, 1] + [0, 1, 2, 3] * 3


def test_batches_hold_clips_of_one_length_and_change_nothing():
    estimator = NearlyRight(OFF_M, OFF_PX)
    whole = evaluate(estimator, INPUT, Shelf(CLIPS), batch=2)
    assert estimator.seen == [("clip 0",), ("clip 1", "clip 2"), ("clip 3", "clip 4"), ("clip 5",)]
    for batch in (1, 5):
        other = evaluated(batch=batch)
        for field in fields(Evaluation):
            np.testing.assert_array_equal(getattr(other, field.name), getattr(whole, field.name), err_msg=field.name)


def test_errors_are_those_that_were_made():
    evaluation = evaluated()
    assert not evaluation.error_mm[:, 0].any()
    assert evaluation.error_mm[:, 1:] == pytest.approx(np.full((20, 20), 13.0), rel=1e-4)
    assert evaluation.error_px[:, 1:] == pytest.approx(np.full((20, 20), 2.5), rel=1e-4)  # the crop has two pixels for one of the picture
    assert evaluation.error_crop_px[:, 1:] == pytest.approx(np.full((20, 20), 5 * CROP_PX / 48), rel=1e-4)


@pytest.mark.parametrize("size", [24, 96])
def test_pixels_of_a_crop_do_not_depend_on_the_networks_input(size: int):
    halved = evaluate(NearlyRight(off_px=(0.01 * size, 0.0)), InputConfig(size=size), Shelf(CLIPS[:1]))
    assert halved.error_crop_px[:, 1:] == pytest.approx(np.full((4, 20), 0.01 * CROP_PX), rel=1e-3)


def test_boxes_give_every_frame_its_own_scale():
    evaluation = evaluated(CLIPS[:1], input=InputConfig(size=48, crop="box", margin=1.5))
    longer = (CLIPS[0].box_px[:, 2:] - CLIPS[0].box_px[:, :2]).max(1)
    assert evaluation.error_px[:, 5] == pytest.approx(5 * 1.5 * longer / 48, rel=1e-4)


def test_truth_is_the_labels_of_the_picture_and_a_left_hand_is_mirrored():
    evaluation = evaluated()
    for number, clip in enumerate(CLIPS):
        own = evaluation.clip == number
        relative = clip.joints_m - clip.joints_m[:, :1]
        assert evaluation.true_px[own] == pytest.approx(clip.joints_px, abs=1e-3)
        assert evaluation.true_m[own] == pytest.approx(relative * ([-1, 1, 1] if clip.side == "left" else [1, 1, 1]), abs=1e-6)
    left = evaluation.clip == 2
    assert (evaluation.predicted_px[left] - evaluation.true_px[left])[:, 1:] == pytest.approx(np.tile([-1.5, -2.0], (2, 20, 1)), abs=1e-3)


def test_only_labelled_joints_of_frames_with_a_wrist_count():
    clips = [without_joints(CLIPS[0], 1, [0]), without_joints(CLIPS[3], 2, range(1, 21))]
    evaluation = evaluated(clips)
    assert evaluation.has_root.tolist() == [True, False] + [True] * 6
    assert evaluation.root_relative_valid.sum(1).tolist() == [21, 0, 21, 21, 21, 21, 1, 21]
    assert mean_error(evaluation.error_mm, evaluation.root_relative_valid) == pytest.approx(13 * 120 / 127, rel=1e-4)
    values = evaluation.by_clip(evaluation.error_px, evaluation.joints_valid)
    assert [len(own) for own in values] == [83, 64] and values[1].mean() == pytest.approx(2.5 * 60 / 64, rel=1e-4)


def test_validation_says_what_evaluation_says():
    clips = [*CLIPS, without_joints(make_clip(7), 1, [0]), without_joints(make_clip(8), 2, range(1, 21))]
    estimator = NearlyRight(OFF_M, OFF_PX)
    whole = evaluated(clips)
    error = mean_joint_error_mm(estimator, batches_of(Shelf(clips), INPUT, batch=3))
    assert error == pytest.approx(mean_error(whole.error_mm, whole.root_relative_valid), rel=1e-9)
    assert np.isnan(mean_joint_error_mm(estimator, []))


def test_modes_are_kept_also_when_it_fails():
    estimator = NearlyRight(OFF_M, OFF_PX).train()
    estimator.frozen.eval()
    modes = [module.training for module in estimator.modules()]
    assert len(set(modes)) == 2
    batches = list(batches_of(Shelf(CLIPS), INPUT, batch=3))
    assert mean_joint_error_mm(estimator, batches) == pytest.approx(13 * 20 / 21, rel=1e-4)  # it would be ten times that in training, or with gradients
    assert evaluate(estimator, INPUT, Shelf(CLIPS)).error_mm.max() == pytest.approx(13, rel=1e-4)
    assert [module.training for module in estimator.modules()] == modes and torch.is_grad_enabled()
    estimator.off_m.data[0] = np.inf
    with pytest.raises(UserError):
        evaluate(estimator, INPUT, Shelf(CLIPS))
    assert [module.training for module in estimator.modules()] == modes and torch.is_grad_enabled()


def test_several_sources():
    said: list[str] = []
    evaluation = evaluate(NearlyRight(), INPUT, [Shelf(CLIPS[:2], "first"), Shelf(CLIPS[3:4], "second")], say=said.append)
    assert evaluation.sources == ("first", "first", "second") and evaluation.names == ("first", "second")
    assert evaluation.clip.tolist() == [0] * 4 + [1] * 2 + [2] * 4
    assert said == ["evaluating on first: 2 clips", "evaluating on second: 1 clip"]


def test_what_cannot_be_evaluated():
    with pytest.raises(UserError, match="shelf: holds no clips"):
        evaluate(NearlyRight(), INPUT, Shelf([]))
    with pytest.raises(UserError, match="shelf: no frame has a label"):
        evaluate(NearlyRight(), INPUT, Shelf([replace(CLIPS[0], joints_valid=np.zeros((4, 21), bool))]))
    with pytest.raises(UserError, match="shelf: clip 0, frame 0: the prediction is not finite"):
        evaluate(NearlyRight((np.inf, 0.0, 0.0)), INPUT, Shelf(CLIPS))


def test_a_long_clip_is_followed_and_comes_to_the_same() -> None:
    """Frame by frame, in pieces of five, as all at once."""
    torch.manual_seed(3)
    network = SeqHand(SeqHandConfig(backbone="resnet18", width=0.125), ComponentHandLayer(load_hand("open")))
    shelf = Shelf([make_clip(0, frames=12), make_clip(1, frames=4), make_clip(2, frames=12)])
    whole, followed = evaluate(network, INPUT, shelf), evaluate(network, INPUT, shelf, at_once=5)
    for field in fields(whole):
        expected, found = getattr(whole, field.name), getattr(followed, field.name)
        if isinstance(expected, tuple | str):
            assert found == expected
        else:
            np.testing.assert_allclose(found, expected, atol=1e-3 if field.name.endswith("px") else 1e-5, err_msg=field.name)
