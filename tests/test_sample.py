"""From clips to batches: labels stay true of the crop whatever it is, left hands become right ones, and what is unknown says so."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import small_config
from scipy.ndimage import binary_dilation, binary_erosion
from torch import Tensor

from seqgen.camera import fit_weak_perspective
from seqgen.dataset import HandSequence, open_dataset
from seqgen.dataset.clip import LabelledClip
from seqgen.dataset.clips import DatasetClips
from seqgen.dataset.mirror import mirrored
from seqgen.dataset.sequence import is_hand
from seqgen.errors import UserError
from seqgen.estimators.views.batch import Batch
from seqgen.estimators.views.crop import InputConfig, crop_from_picture, to_picture
from seqgen.estimators.views.feed import batch_of, batches_of, runs_of_one_length
from seqgen.estimators.views.sample import collate, in_joint_set, make_sample, normalised
from seqgen.estimators.views.view import to_device
from seqgen.hand.layer import HandLayer
from seqgen.joint_targets import TARGETS
from seqgen.pipeline.run import generate_dataset
from seqgen.skeleton import PART_OCCLUDER

SIZE = 56
INPUT = InputConfig(size=SIZE)
BOX = InputConfig(size=SIZE, crop="box")
# Four frames, each seen in its own way: as it is, turned, turned far and enlarged, shrunk.
SQUARES, TURNS_RAD = np.array([[47.5, 39.5, 80], [50, 30, 70.5], [20.5, 60, 33], [60, 20, 200]]), np.array([0.0, 0.5, 2.6, -1.2])
TURNED = crop_from_picture(SQUARES, SIZE, turn_rad=TURNS_RAD)


@pytest.fixture(scope="module", params=["perspective", "weak_perspective"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DatasetClips:
    """Four generated clips, of both sides."""
    directory = tmp_path_factory.mktemp("sample") / request.param
    split = {"train": 4, "val": 0, "test": 0}
    generate_dataset(small_config(sequences=4, split=split, camera={"kind": request.param}, hand={"left": 0.5}, output={"sequences_per_shard": 4}), directory)
    clips = DatasetClips(open_dataset(directory))
    assert {clips.read(position).side for position in range(4)} == {"left", "right"}
    return clips


@pytest.fixture(params=[None, TURNED], ids=["as it is", "turned"])
def batch(request: pytest.FixtureRequest, source: DatasetClips) -> Batch:
    return collate([make_sample(source.read(position), INPUT, crop_from_picture=request.param) for position in range(4)])


def project(points_m: Tensor, intrinsics: Tensor, kind: str) -> Tensor:
    """Pixels of points of the camera frame, through any upper-left 2 x 2 block."""
    near = points_m[..., :2] if kind == "weak_perspective" else points_m[..., :2] / points_m[..., 2:]
    return torch.einsum("btij,btnj->btni", intrinsics[..., :2, :2].double(), near) + intrinsics[..., None, :2, 2]


def test_the_camera_projects_the_joints_to_their_pixels(batch: Batch, source: DatasetClips) -> None:
    points_m = batch.root_m[:, :, None].double() + batch.joints_m
    px = project(points_m, batch.intrinsics, source.read(0).camera_kind)
    assert (px - batch.joints_px).abs().max() < 1e-3
    assert not batch.joints_m[:, :, 0].any()


def test_the_hand_posed_is_the_hand_that_is_seen(batch: Batch, open_layer: HandLayer) -> None:
    assert batch.has_pose.all()
    for pose, betas, joints_m in zip(batch.pose, batch.betas, batch.joints_m, strict=True):
        posed = open_layer.joints(pose, betas.expand(4, -1))
        torch.testing.assert_close(posed - posed[:, :1], joints_m, atol=2e-6, rtol=0)


def test_weak_perspective_is_fitted_to_the_crop(batch: Batch) -> None:
    for fit, joints_m, joints_px in zip(batch.weak_perspective, batch.joints_m, batch.joints_px, strict=True):
        expected, _ = fit_weak_perspective(joints_m.double().numpy(), joints_px.double().numpy())
        np.testing.assert_allclose(fit, expected, rtol=1e-5, atol=1e-3)


def test_a_pixel_of_the_crop_is_one_of_the_clip(batch: Batch, source: DatasetClips) -> None:
    """Also of left hands, whose crops are mirrored: the map holds the mirror."""
    for position in range(4):
        clip = source.read(position)
        back = to_picture(batch.joints_px[position].double().numpy(), batch.crop_from_picture[position].double().numpy())
        np.testing.assert_allclose(back, clip.joints_px, atol=1e-3)
        assert np.sign(np.linalg.det(batch.crop_from_picture[position, 0])) == (-1 if clip.side == "left" else 1)


@pytest.mark.parametrize("input", [INPUT, BOX], ids=["picture", "box"])
def test_a_left_hand_is_the_right_hand_in_the_mirror(source: DatasetClips, input: InputConfig) -> None:
    dataset = open_dataset(source.directory)
    for position in range(4):
        clip, twin = source.read(position), in_the_mirror(source, dataset[position])
        ours, theirs = make_sample(clip, input), make_sample(twin, input)
        assert {ours.side, theirs.side} == {"left", "right"}
        np.testing.assert_allclose(ours.rgb.astype(int), theirs.rgb.astype(int), atol=1)
        assert (ours.mask != theirs.mask).mean() < 1e-3
        for name, tolerance in {"joints_m": 1e-6, "root_m": 1e-6, "joints_px": 1e-3, "pose": 1e-6, "betas": 0, "weak_perspective": 2e-2, "intrinsics": 2e-3}.items():
            np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=tolerance, rtol=1e-6, err_msg=name)
        flip = np.array([[-1.0, 0, clip.rgb.shape[2] - 1], [0, 1, 0], [0, 0, 1]])
        np.testing.assert_allclose(ours.crop_from_picture, theirs.crop_from_picture @ flip, atol=1e-4)


def in_the_mirror(source: DatasetClips, sequence: HandSequence) -> LabelledClip:
    """The clip of a sequence's twin."""
    twin, clip = mirrored(sequence), source.read(int(sequence.key))
    labels = {name: getattr(twin.labels, name) for name in ("joints_m", "joints_px", "box_px", "intrinsics", "pose", "betas")}
    return replace(clip, side=twin.meta["hand"]["side"], rgb=twin.rgb, mask=is_hand(twin.parts), occluder=twin.parts == PART_OCCLUDER, **labels)


def test_the_mask_goes_along(source: DatasetClips) -> None:
    """Where all of a neighbourhood in the picture is the hand or before it, so is the crop; where none of it is, neither."""
    grid = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1).reshape(1, -1, 2).astype(float)
    for position in range(4):
        clip = source.read(position)
        sample = make_sample(clip, INPUT, crop_from_picture=TURNED)
        assert sample.has_mask
        there = clip.mask | clip.occluder
        surely, perhaps = binary_erosion(there, np.ones((1, 9, 9))), binary_dilation(there, np.ones((1, 9, 9)))
        x, y = np.moveaxis(to_picture(np.repeat(grid, 4, 0), sample.crop_from_picture).round().astype(int), -1, 0)
        inside = (x >= 0) & (x < clip.mask.shape[2]) & (y >= 0) & (y < clip.mask.shape[1])
        at = np.arange(4)[:, None], y.clip(0, clip.mask.shape[1] - 1), x.clip(0, clip.mask.shape[2] - 1)
        mask = sample.mask.reshape(4, -1)
        assert mask[surely[at] & inside].all() and not mask[~(perhaps[at] & inside)].any()
        assert (surely[at] & inside).any() and mask.any() and not mask.all()


def test_without_a_crop_the_numbers_stay(source: DatasetClips) -> None:
    """The whole of a square picture at its own size: same bytes, same labels, but for the root."""
    clip = next(clip for clip in map(source.read, range(4)) if clip.side == "right")
    square = replace(clip, rgb=clip.rgb[:, :, :80], mask=clip.mask[:, :, :80], occluder=clip.occluder[:, :, :80])
    sample = make_sample(square, InputConfig(size=80))
    np.testing.assert_array_equal(sample.rgb, square.rgb.transpose(0, 3, 1, 2))
    for name in ("mask", "joints_px", "pose", "betas", "intrinsics"):
        np.testing.assert_array_equal(getattr(sample, name), getattr(square, name))
    np.testing.assert_allclose(sample.joints_m + sample.root_m[:, None], clip.joints_m, atol=1e-7)


def test_a_turn_by_hand(source: DatasetClips) -> None:
    """A quarter from x towards y: what pointed right points down."""
    clip = next(clip for clip in map(source.read, range(4)) if clip.side == "right")
    straight = make_sample(clip, INPUT)
    turned = make_sample(clip, INPUT, crop_from_picture=crop_from_picture(np.repeat([[47.5, 39.5, 80.0]], 4, 0), SIZE, turn_rad=np.pi / 2))
    x, y, z = np.moveaxis(straight.joints_m, -1, 0)
    np.testing.assert_allclose(turned.joints_m, np.stack([-y, x, z], -1), atol=1e-7)
    np.testing.assert_allclose(turned.rgb.astype(int), np.rot90(straight.rgb, -1, axes=(2, 3)), atol=1)  # halves are rounded either way


def test_what_is_unknown_says_so(source: DatasetClips) -> None:
    known = source.read(0)
    bare = replace(known, pose=None, betas=None, mask=None, intrinsics=None, hand="")
    surface = replace(known, vertices_m=known.joints_m + np.float32(0.01))
    batch = batch_of([known, bare, surface], INPUT)
    assert batch.has_pose.tolist() == batch.has_mask.tolist() == [True, False, True]
    assert batch.has_vertices.tolist() == [False, False, True] and batch.vertices_m.shape == (3, 4, 21, 3)
    for unknown in (batch.pose[1], batch.betas[1], batch.mask[1], batch.intrinsics[1], batch.vertices_m[0]):
        assert not unknown.any()
    towards = np.float32([-0.01 if known.side == "left" else 0.01, 0.01, 0.01])
    np.testing.assert_allclose(batch.vertices_m[2] - batch.joints_m[2], np.broadcast_to(towards, (4, 21, 3)), atol=1e-6)
    assert batch_of([known], INPUT).vertices_m is None
    of_mano = batch_of([surface], INPUT, hand="mano")
    assert not of_mano.has_pose.any() and of_mano.vertices_m is None and of_mano.joints_m.any()


def test_joints_that_are_not_valid_count_for_nothing(source: DatasetClips) -> None:
    clip = source.read(0)
    valid = clip.joints_valid.copy()
    valid[:, 3:9] = False
    valid[3] = False
    lost = {name: np.where(valid[..., None], getattr(clip, name), np.float32("nan")) for name in ("joints_m", "joints_px")}
    sample, whole = make_sample(replace(clip, joints_valid=valid, **lost), INPUT), make_sample(clip, INPUT)
    assert all(np.isfinite(getattr(sample, name)).all() for name in ("joints_m", "joints_px", "root_m", "weak_perspective"))
    np.testing.assert_array_equal(sample.joints_m[:3][valid[:3]], whole.joints_m[:3][valid[:3]])
    expected, _ = fit_weak_perspective(whole.joints_m[:3, [0, 1, 2, *range(9, 21)]].astype(float), whole.joints_px[:3, [0, 1, 2, *range(9, 21)]].astype(float))
    np.testing.assert_allclose(sample.weak_perspective[:3], expected, rtol=1e-5, atol=1e-3)
    assert not sample.weak_perspective[3].any()


@pytest.mark.parametrize("joints", ["nyu", "icvl", "msra"])
def test_labels_of_a_set_are_taken_as_they_are(source: DatasetClips, joints: str) -> None:
    """A clip labelled so gives what the 21 joints give that its labels were made of; and no other set."""
    canonical = source.read(0)
    labelled, input = in_joint_set(canonical, TARGETS[joints]), InputConfig(size=SIZE, joints=joints)
    assert labelled.joint_set == joints and labelled.joints_m.shape == (4, TARGETS[joints].num_joints, 3)
    assert in_joint_set(labelled, TARGETS[joints]) is labelled
    given, made = make_sample(labelled, input), make_sample(canonical, input)
    for name in ("joints_m", "root_m", "joints_px", "joints_valid", "weak_perspective", "vertices_m"):
        np.testing.assert_array_equal(getattr(given, name), getattr(made, name))
    hidden = replace(labelled, joints_valid=np.arange(TARGETS[joints].num_joints)[None].repeat(4, 0) != 2)
    assert not make_sample(hidden, input).joints_valid[:, 2].any()
    for other in {"canonical", "nyu", "icvl", "msra"} - {joints}:
        number = TARGETS[joints].num_joints
        message = rf"clip {labelled.key} is labelled with the joints of {joints} \({number} of them\), of which those of {other} cannot be made; train with model.joints = {joints}"
        with pytest.raises(UserError, match=message):
            make_sample(labelled, InputConfig(size=SIZE, joints=other))


def test_batches_of_a_source_hold_every_clip_in_order(source: DatasetClips) -> None:
    sizes = [(len(batch.keys), batch.rgb.shape[1]) for batch in batches_of(source, INPUT, batch=3)]
    assert sizes == [(3, 4), (1, 4)]
    keys = [key for batch in batches_of(source, INPUT, batch=3, frames=2) for key in batch.keys]
    assert keys == [source.key(position) for position in range(4)]
    cut = next(batches_of(source, INPUT, batch=1, frames=2))
    whole = next(batches_of(source, INPUT, batch=1, frames=9))
    assert torch.equal(cut.rgb, whole.rgb[:, :2]) and torch.equal(cut.joints_m, whole.joints_m[:, :2])
    assert list(runs_of_one_length([4, 4, 4, 1, 1, 4], 2)) == [[0, 1], [2], [3, 4], [5]]


def test_a_batch_is_its_samples_wherever_it_is(source: DatasetClips, tmp_path: Path) -> None:
    clips = [source.read(position) for position in range(3)]
    batch = to_device(batch_of(clips, BOX), "cpu")
    assert (batch.keys, batch.sides) == (tuple(clip.key for clip in clips), tuple(clip.side for clip in clips))
    for row, clip in enumerate(clips):
        sample = make_sample(clip, BOX)
        for field in fields(sample):
            value = getattr(batch, {"key": "keys", "side": "sides"}.get(field.name, field.name))
            assert value is None or np.array_equal(np.asarray(value[row]), getattr(sample, field.name)), field.name


def test_normalised_input_has_imagenets_mean_and_spread() -> None:
    grey = torch.tensor([124, 116, 104], dtype=torch.uint8).reshape(1, 1, 3, 1, 1).expand(2, 3, 3, 4, 4)
    assert normalised(grey).abs().max() < 0.01 and normalised(grey).shape == (2, 3, 3, 4, 4)  # 0.485, 0.456, 0.406 of 255 to a level
    ends = normalised(torch.stack([torch.zeros(3, 1, 1), torch.full((3, 1, 1), 255)]).to(torch.uint8))
    torch.testing.assert_close(1 / (ends[1] - ends[0]).flatten(), torch.tensor([0.229, 0.224, 0.225]))
