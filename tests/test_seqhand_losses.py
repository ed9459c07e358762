"""Each loss against its closed form and against finite differences; what a perfect prediction costs; and that descending them recovers the hand."""

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from seqgen.config import build
from seqgen.errors import UserError
from seqgen.estimators.seqhand.losses import SeqHandLosses, seqhand_losses
from seqgen.estimators.seqhand.mask_loss import outside_share
from seqgen.estimators.seqhand.parametric_hand import ComponentHandLayer, HandOutput, ParametricHand
from seqgen.estimators.views.batch import Batch
from seqgen.hand import load_hand
from seqgen.hand.layer import rotation_matrices
from seqgen.pipeline.process import one_thread
from seqgen.skeleton import PALM_M

CLIPS, FRAMES, SIZE = 2, 3, 112
LAYER = ComponentHandLayer(load_hand("open"))
HAND = ParametricHand(LAYER, num_points=40)
HAND.set_start(300.0, (55.5, 55.5))
UNIT = SeqHandLosses(joints_2d=1, joints_3d=1, vertices_3d=1, temporal=1, camera=1, mask=1, lambda_theta=0.01, unit_2d_px=1, unit_3d_m=1)
TERMS = ("joints_2d", "joints_3d", "vertices_3d", "mask", "temporal", "camera")


@pytest.fixture(autouse=True)
def alone():
    """One thread: these are many small sums."""
    with one_thread():
        yield


def drawn(num=CLIPS * FRAMES, *, hand=HAND, seed=0, spread=0.3):
    return spread * torch.randn(num, hand.num_numbers, generator=torch.Generator().manual_seed(seed))


def numbers_of_clips(*, same_shape=True):
    """Numbers of two clips of three frames, each of one hand."""
    numbers = drawn().unflatten(0, (CLIPS, FRAMES))
    if same_shape:
        numbers[..., -10:] = numbers[:, :1, -10:]
    return numbers.flatten(0, 1)


def covered(output: HandOutput, size: int = SIZE) -> Tensor:
    """The mask of hands: all pixels within two of a vertex's, which covers the hand and little else."""
    at = output.project(output.vertices_m()).detach().round().long()
    mask = torch.zeros(len(at), size, size)
    for frame, points in enumerate(at):
        inside = points[((points >= 0) & (points < size)).all(-1)]
        mask[frame, inside[:, 1], inside[:, 0]] = 1
    return torch.nn.functional.max_pool2d(mask[:, None], 5, 1, 2)[:, 0] > 0


def labels_of(output: HandOutput, *, clips: int = CLIPS, **changes) -> Batch:
    """A batch whose labels are these hands, all kinds of labels known."""
    frames = len(output.betas) // clips

    def split(values: Tensor) -> Tensor:
        return values.detach().float().unflatten(0, (clips, frames))

    known = {
        "keys": tuple(map(str, range(clips))),
        "sides": ("right",) * clips,
        "rgb": torch.zeros(clips, frames, 3, SIZE, SIZE, dtype=torch.uint8),
        "joints_m": split(output.joints_m),
        "root_m": torch.zeros(clips, frames, 3),
        "joints_px": split(output.joints_px),
        "joints_valid": torch.ones(clips, frames, 21, dtype=torch.bool),
        "weak_perspective": split(output.weak_perspective),
        "pose": split(output.pose),
        "betas": split(output.betas)[:, 0],
        "has_pose": torch.ones(clips, dtype=torch.bool),
        "mask": covered(output).unflatten(0, (clips, frames)),
        "has_mask": torch.ones(clips, dtype=torch.bool),
        "vertices_m": split(output.vertices_m()),
        "has_vertices": torch.ones(clips, dtype=torch.bool),
        "centre_m": torch.zeros(clips, frames, 3),
        "cube_m": torch.zeros(clips, frames),
        "usable": torch.ones(clips, frames, dtype=torch.bool),
        "perspective": torch.ones(clips, dtype=torch.bool),
        "crop_from_picture": torch.eye(3).expand(clips, frames, 3, 3),
        "intrinsics": torch.zeros(clips, frames, 3, 3),
    }
    return Batch(**{**known, **changes})


@pytest.fixture(scope="module")
def batch() -> Batch:
    return labels_of(HAND(numbers_of_clips()))


def moved(output: HandOutput, **changes) -> HandOutput:
    return dataclasses.replace(output, **changes)


def test_the_defaults_are_the_papers():
    config = SeqHandLosses()
    assert (config.joints_2d, config.joints_3d, config.temporal, config.camera, config.mask, config.lambda_theta) == (5, 100, 100, 1, 10, 2e-4)
    with pytest.raises(UserError, match="lambda_theta"):
        build(SeqHandLosses, {"lambda_theta": -1.0}, where="losses")


def test_a_perfect_prediction_costs_nothing(batch):
    terms = seqhand_losses(HAND(numbers_of_clips()), batch, SeqHandLosses(temporal=0))
    assert set(terms) == {"joints_2d", "joints_3d", "vertices_3d", "mask", "camera"}
    for name, term in terms.items():
        assert 0 <= term < 1e-4, name  # what float32 leaves of a pixel; also of the mask, which is of the whole hand


def test_joints_2d_is_the_mean_sum_of_two_distances(batch):
    """One joint of two valid ones is 3 px right and 4 px up: (3 + 4) / 2, in pixels of a crop of 224."""
    output = HAND(numbers_of_clips())
    off = torch.zeros(6, 21, 2)
    off[1, 5] = torch.tensor([3.0, -4.0])
    off[0, 3] = 100.0  # not valid
    valid = torch.zeros(CLIPS, FRAMES, 21, dtype=torch.bool)
    valid[0, 1, 5] = valid[1, 2, 0] = True
    terms = seqhand_losses(moved(output, joints_px=output.joints_px + off), dataclasses.replace(batch, joints_valid=valid), UNIT)
    assert terms["joints_2d"] == pytest.approx(3.5 * 224 / SIZE, abs=1e-4)


def test_joints_3d_and_vertices_3d_are_mean_squared_distances(batch):
    output = HAND(numbers_of_clips())
    off = torch.zeros(6, 21, 3)
    off[2, 7] = torch.tensor([0.03, 0.0, 0.04])
    terms = seqhand_losses(moved(output, joints_m=output.joints_m + off), batch, UNIT)
    assert terms["joints_3d"] == pytest.approx(0.05**2 / (6 * 21), rel=1e-3)
    vertices = batch.vertices_m.clone()
    vertices[1, :, :, 2] += 0.02
    there = dataclasses.replace(batch, vertices_m=vertices)
    assert seqhand_losses(output, there, UNIT)["vertices_3d"] == pytest.approx(0.02**2 / 2, rel=1e-3)
    only_there = dataclasses.replace(there, has_vertices=torch.tensor([False, True]))
    assert seqhand_losses(output, only_there, UNIT)["vertices_3d"] == pytest.approx(0.02**2, rel=1e-3)


def test_vertices_of_another_hand_are_left_alone(batch):
    assert "vertices_3d" not in seqhand_losses(HAND(numbers_of_clips()), dataclasses.replace(batch, vertices_m=batch.vertices_m[:, :, :778]), UNIT)
    assert "vertices_3d" not in seqhand_losses(HAND(numbers_of_clips()), dataclasses.replace(batch, vertices_m=None), UNIT)


def test_temporal_is_the_mean_squared_change(batch):
    betas, theta = torch.zeros(CLIPS, FRAMES, 10), torch.zeros(CLIPS, FRAMES, 10)
    betas[0, 1, 0], betas[0, 2, 0] = 1.0, 3.0  # changes of 1 and 2; the second clip is still, and its first frame does not follow the first clip's last
    theta[0, 1:, 4] = 5.0  # one change of 5
    betas[1], theta[1] = 7.0, 7.0
    output = moved(HAND(numbers_of_clips()), betas=betas.flatten(0, 1), theta=theta.flatten(0, 1))
    assert seqhand_losses(output, batch, UNIT)["temporal"] == pytest.approx((1 + 4 + 0.01 * 25) / 4)
    for padding, expected in ((0, 4 / 3), (2, (1 + 0.01 * 25) / 3)):  # without the pairs that it is in
        valid = batch.joints_valid.clone()
        valid[0, padding] = False
        assert seqhand_losses(output, dataclasses.replace(batch, joints_valid=valid), UNIT)["temporal"] == pytest.approx(expected)


def test_camera_adds_up_its_five_parts(batch):
    """Each parameter alone off by a known amount, in every frame."""
    output = HAND(numbers_of_clips())
    step = torch.zeros(10)
    step[2] = 0.3
    palm_px = output.scale_px_per_m * PALM_M
    cases = {
        0.09: moved(output, theta=output.theta + step),
        0.36: moved(output, betas=output.betas - 2 * step),
        math.log(1.5) ** 2: moved(output, scale_px_per_m=1.5 * output.scale_px_per_m),
        0.25: moved(output, translation_px=output.translation_px + torch.stack([0.3 * palm_px, -0.4 * palm_px], 1)),
    }
    for expected, wrong in cases.items():
        assert seqhand_losses(wrong, batch, UNIT)["camera"] == pytest.approx(expected, rel=1e-3)


def test_a_frame_without_a_camera_is_left_out_of_its_term(batch):
    weak = batch.weak_perspective.clone()
    weak[0, 1] = 0.0
    output = HAND(numbers_of_clips())
    wrong = moved(output, theta=output.theta + 0.1 * torch.arange(6)[:, None])  # the frame left out is off by 0.1 in each of ten
    terms = seqhand_losses(wrong, dataclasses.replace(batch, weak_perspective=weak), UNIT)
    assert terms["camera"] == pytest.approx(0.1 * (4 + 9 + 16 + 25) / 5, rel=1e-3)


@pytest.mark.parametrize("angle", [1e-3, 0.5, 2.0, math.pi])
def test_rotation_is_compared_as_rotation(batch, angle):
    """2 - 2 cos(angle), whatever the axis and the rotation it is added to: angle^2 when small. Axis-angle vectors of the same rotation cost nothing."""
    output = HAND(numbers_of_clips())
    turn = rotation_matrices(angle * torch.nn.functional.normalize(drawn(6)[:, :3], dim=1))
    loss = seqhand_losses(moved(output, rotation=turn @ output.rotation), batch, UNIT)["camera"]
    assert loss == pytest.approx(2 - 2 * math.cos(angle), rel=1e-3, abs=1e-6)
    other = batch.pose.clone()
    vectors = other[:, :, 0]
    other[:, :, 0] = vectors - 2 * math.pi * torch.nn.functional.normalize(vectors, dim=-1)
    assert seqhand_losses(output, dataclasses.replace(batch, pose=other), UNIT)["camera"] < 1e-6


def test_clips_without_a_kind_of_label_cost_nothing_of_it(batch):
    """Exactly zero, with finite gradients, even where the missing labels are no numbers; the other clip is weighted as if alone."""
    nan = torch.full_like
    no = torch.zeros(CLIPS, dtype=torch.bool)
    none = dataclasses.replace(
        batch,
        joints_m=nan(batch.joints_m, math.nan), joints_px=nan(batch.joints_px, math.nan), vertices_m=nan(batch.vertices_m, math.nan),
        pose=torch.zeros_like(batch.pose), weak_perspective=torch.zeros_like(batch.weak_perspective), mask=torch.zeros_like(batch.mask),
        joints_valid=torch.zeros_like(batch.joints_valid), has_pose=no, has_mask=no, has_vertices=no,
    )  # fmt: skip
    numbers = drawn(seed=5).requires_grad_()
    terms = seqhand_losses(HAND(numbers), none, UNIT)
    assert set(terms) == set(TERMS) and all(term.item() == 0 for term in terms.values())
    (gradient,) = torch.autograd.grad(sum(terms.values()), numbers)
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("term", ["joints_2d", "joints_3d", "vertices_3d", "mask", "camera"])
def test_a_clip_with_labels_beside_one_without_is_as_if_alone(batch, term, padded):
    """The other clip lacks this kind of label, or its frames are padding."""
    only = torch.tensor([True, False])
    flag = {"vertices_3d": "has_vertices", "mask": "has_mask", "camera": "has_pose"}.get(term)
    lacks = {"joints_valid": batch.joints_valid & only[:, None, None]} if padded or flag is None else {flag: only}
    both = seqhand_losses(HAND(drawn(seed=5)), dataclasses.replace(batch, **lacks), UNIT)[term]
    first = Batch(**{name: value if value is None else value[:1] for name, value in vars(batch).items()})
    alone = seqhand_losses(HAND(drawn(seed=5)[:FRAMES]), first, UNIT)[term]
    assert alone > 0 and both == pytest.approx(alone.item(), rel=1e-4)


def test_stills_have_no_temporal_term():
    output = HAND(drawn(2).requires_grad_())
    assert seqhand_losses(output, labels_of(output), UNIT)["temporal"].item() == 0


def test_weights_and_units_scale_terms_and_zero_leaves_them_out(batch):
    output = HAND(drawn(seed=5))
    plain = seqhand_losses(output, batch, UNIT)
    config = UNIT.model_copy(update={"joints_2d": 3.0, "joints_3d": 2.0, "mask": 0.5, "camera": 0.0, "temporal": 4.0, "vertices_3d": 5.0, "unit_2d_px": 10.0, "unit_3d_m": 0.1})
    scaled = seqhand_losses(output, batch, config)
    factors = {"joints_2d": 0.3, "joints_3d": 200.0, "mask": 0.5, "temporal": 4.0, "vertices_3d": 500.0}
    assert set(scaled) == set(factors)
    assert all(scaled[name] == pytest.approx(factor * plain[name].item(), rel=1e-4) for name, factor in factors.items())


def test_the_mask_term_is_measured_as_asked(batch):
    output = HAND(drawn(seed=5))
    config = UNIT.model_copy(update={"mask_reach": 0.3, "mask_cells": 14})
    expected = outside_share(output.points_px(), batch.mask.flatten(0, 1), reach=0.3, cells=14).mean()
    assert seqhand_losses(output, batch, config)["mask"] == pytest.approx(expected.item(), rel=1e-5)
    assert seqhand_losses(output, batch, UNIT)["mask"] != pytest.approx(expected.item(), rel=1e-2)


def test_the_default_units_balance_pixels_and_metres():
    """The numbers of the module's text: a joint off sideways by 17.5 mm at 700 px/m on a 224 px crop is pulled as hard by its pixels as by its place."""
    config = SeqHandLosses()
    pull_px = config.joints_2d / config.unit_2d_px * 700
    assert pull_px == pytest.approx(350)
    assert config.joints_3d * 2 * 0.0175 / config.unit_3d_m**2 == pytest.approx(pull_px)
    assert config.joints_3d * 0.01**2 / config.unit_3d_m**2 == pytest.approx(1.0)


@pytest.mark.parametrize("rotation", ["axis_angle", "6d"])
@pytest.mark.parametrize("term", TERMS)
def test_gradients_are_finite_differences(term, rotation):
    hand = ParametricHand(LAYER, 3, rotation, num_points=12).double()
    hand.set_start(300.0, (55.5, 55.5))
    labels = labels_of(hand(drawn(2, hand=hand, seed=1).double()), clips=1)
    numbers = drawn(2, hand=hand, seed=2).double()
    assert torch.autograd.gradcheck(lambda x: seqhand_losses(hand(x), labels, UNIT)[term], (numbers.requires_grad_(),))


@pytest.mark.parametrize("angle", [0.0, math.pi])
def test_gradients_are_finite_at_a_perfect_prediction(angle):
    numbers = torch.zeros(6, 26)
    numbers[:, 3:6] = angle * torch.nn.functional.normalize(torch.tensor([1.0, 2.0, -1.0]), dim=0)
    numbers.requires_grad_()
    output = HAND(numbers)
    for name, term in seqhand_losses(output, labels_of(output), UNIT).items():
        (gradient,) = torch.autograd.grad(term, numbers, retain_graph=True)
        assert gradient.isfinite().all(), name


def test_losses_are_computed_in_single_precision(batch):
    output = HAND(drawn(seed=5))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = seqhand_losses(output, batch, SeqHandLosses())
    outside = seqhand_losses(output, batch, SeqHandLosses())
    assert all(torch.equal(inside[name], outside[name]) for name in outside)


def test_the_start_is_the_mean_of_a_batch(batch):
    """Geometric mean of scales, mean of translations, over frames that have labels; the rotation stays where no clip knows its own."""
    hand, weak = ParametricHand(LAYER), torch.tensor([[100.0, 1.0, 2.0], [400.0, 3.0, 6.0], [0.0, 900.0, 900.0]]).repeat(2, 1, 1)
    weak[1, 0] = torch.tensor([1e6, 1e6, 1e6])
    valid = batch.joints_valid.clone()
    valid[1] = False
    pose = batch.pose.clone()
    pose[..., 0, :] = torch.tensor([0.2, 0.3, -1.0])
    hand.start_from(dataclasses.replace(batch, weak_perspective=weak, joints_valid=valid, has_pose=torch.zeros(2, dtype=torch.bool)))
    assert hand.start_scale_px_per_m.item() == pytest.approx(200) and hand.start_translation_px.tolist() == pytest.approx([2.0, 4.0])
    assert torch.equal(hand.start_rotation, torch.eye(3))
    pose[1] = 0.0  # not labelled
    hand.start_from(dataclasses.replace(batch, pose=pose, joints_valid=valid))
    torch.testing.assert_close(hand.start_rotation, rotation_matrices(pose[0, 0, 0]), atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="no frame"):
        hand.start_from(dataclasses.replace(batch, weak_perspective=torch.zeros_like(weak)))


@pytest.mark.parametrize("rotation", ["axis_angle", "6d"])
def test_descending_all_terms_recovers_the_hand(batch, rotation):
    """From zeros, by descent on the numbers alone: joints within 3 mm and 1 px after 120 steps of Adam."""
    hand = ParametricHand(LAYER, 10, rotation, num_points=40)
    hand.start_from(batch)
    numbers = torch.zeros(6, hand.num_numbers, requires_grad=True)
    optimiser = torch.optim.Adam([numbers], lr=0.08)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 120)
    for _ in range(120):
        loss = sum(seqhand_losses(hand(numbers), batch, SeqHandLosses(vertices_3d=0)).values())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    output = hand(numbers)
    assert (output.joints_m - batch.joints_m.flatten(0, 1)).norm(dim=-1).mean() < 3e-3
    assert (output.joints_px - batch.joints_px.flatten(0, 1)).norm(dim=-1).mean() < 1
