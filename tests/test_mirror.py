"""A mirrored clip has mirrored labels: every law that ties labels to pixels, to the camera and to the hand model holds in the mirror as it did before."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from sequences import OPTIONAL_PICTURES, make_sequence

from seqgen.camera import Camera, fit_weak_perspective
from seqgen.dataset import HandSequence, Labels
from seqgen.dataset.encoding import decode_sequence, encode_sequence
from seqgen.dataset.mirror import mirrored
from seqgen.hand import load_hand
from seqgen.hand.layer import HandLayer
from seqgen.pipeline.labels import joints_hidden_by
from seqgen.skeleton import PART_OCCLUDER

IN_PIXELS = {"joints_px", "intrinsics", "weak_perspective", "box_px", "box_visible_px"}


@pytest.fixture(scope="module", params=[(64, 48), (33, 40)], ids=str)
def clip(request: pytest.FixtureRequest) -> HandSequence:
    """With all labels, in an even and an odd width."""
    return make_sequence(1, frames=4, size=request.param, pictures=OPTIONAL_PICTURES)


def camera_of(sequence: HandSequence) -> Camera:
    return Camera(sequence.meta["camera"]["kind"], sequence.labels.intrinsics.astype(float), tuple(sequence.meta["size"]))


def warp_error_px(sequence: HandSequence) -> np.ndarray:
    """How far a visible joint, carried by the flow at its pixel, lands from where it is in the next frame."""
    labels, (width, height) = sequence.labels, sequence.meta["size"]
    errors = []
    for t, joint in zip(*np.nonzero(labels.joints_visible[:-1]), strict=True):
        x, y = labels.joints_px[t, joint].round().astype(int).clip(0, [width - 1, height - 1])
        errors.append(np.linalg.norm(labels.joints_px[t, joint] + sequence.flow_px[t, y, x] - labels.joints_px[t + 1, joint]))
    return np.array(errors)


def test_pictures_are_flipped(clip: HandSequence) -> None:
    other = mirrored(clip)
    for name in ("rgb", "depth_tenth_mm", "parts", "depth_sensor_tenth_mm", "mask_amodal", "mask_visible"):
        np.testing.assert_array_equal(getattr(other, name), getattr(clip, name)[:, :, ::-1], strict=True)
    np.testing.assert_array_equal(other.flow_px, clip.flow_px[:, :, ::-1] * [-1, 1])
    assert (other.key, other.split, other.meta["hand"]) == (clip.key, clip.split, {"kind": "open", "side": "left"})
    assert {name: value for name, value in other.meta.items() if name != "hand"} == {name: value for name, value in clip.meta.items() if name != "hand"}


def test_normals_turn_with_the_mirror(clip: HandSequence) -> None:
    other, there = mirrored(clip), clip.normals.any(-1)
    assert there.any() and not there.all()
    np.testing.assert_array_equal(other.normals.any(-1), there[:, :, ::-1])
    np.testing.assert_allclose(other.unit_normals, clip.unit_normals[:, :, ::-1] * [-1, 1, 1], atol=1e-6)


def test_joints_are_where_the_mirrored_camera_sees_them(clip: HandSequence) -> None:
    other = mirrored(clip)
    np.testing.assert_array_equal(other.labels.joints_m, clip.labels.joints_m * [-1, 1, 1])
    assert np.abs(camera_of(other).project(other.labels.joints_m.astype(float)) - other.labels.joints_px).max() < 1e-4
    assert np.abs(other.labels.joints_px - clip.labels.joints_px).max() > 1
    wide = replace(clip, labels=replace(clip.labels, intrinsics=clip.labels.intrinsics + np.float32([[0, 0, 7], [0, 0, 0], [0, 0, 0]])))  # off-centre
    moved = mirrored(wide)
    assert np.abs(camera_of(moved).project(moved.labels.joints_m.astype(float))[..., 0] - (wide.meta["size"][0] - 1 - (wide.labels.joints_px[..., 0] + 7))).max() < 1e-4


def test_a_weak_perspective_camera_is_mirrored_too(clip: HandSequence) -> None:
    weak = np.tile(np.float32([[300, 0, 20.25], [0, 300, 11.5], [0, 0, 1]]), (4, 1, 1))
    sequence = replace(clip, labels=replace(clip.labels, intrinsics=weak), meta={**clip.meta, "camera": {**clip.meta["camera"], "kind": "weak_perspective"}})
    joints_px = camera_of(sequence).project(clip.labels.joints_m.astype(float)).astype(np.float32)
    other = mirrored(replace(sequence, labels=replace(sequence.labels, joints_px=joints_px)))
    assert np.abs(camera_of(other).project(other.labels.joints_m.astype(float)) - other.labels.joints_px).max() < 1e-4


def test_the_weak_perspective_fit_stays_the_fit(clip: HandSequence) -> None:
    other = mirrored(clip).labels
    fit, residual_px = fit_weak_perspective(other.joints_m.astype(float), other.joints_px.astype(float))
    np.testing.assert_allclose(other.weak_perspective, fit, rtol=1e-5)
    np.testing.assert_allclose(other.weak_perspective_residual_px, residual_px, atol=1e-5)
    np.testing.assert_array_equal(other.weak_perspective[:, 0], clip.labels.weak_perspective[:, 0])


def test_the_camera_is_still_turned_and_shifted(clip: HandSequence) -> None:
    """And sees a mirrored point of the world at the mirrored point of its frame."""
    ours, theirs = clip.labels.camera_from_world, mirrored(clip).labels.camera_from_world
    np.testing.assert_allclose(theirs[:, :3, :3] @ theirs[:, :3, :3].transpose(0, 2, 1), np.tile(np.eye(3), (4, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(theirs[:, :3, :3]), 1, atol=1e-6)
    point, mirror = np.array([0.3, -0.2, 0.7, 1.0]), np.array([-1, 1, 1, 1])
    np.testing.assert_allclose(theirs @ (mirror * point), mirror * (ours @ point), atol=1e-6)
    assert np.abs(theirs - ours).max() > 0.1


def test_boxes_still_bound_what_they_bound(clip: HandSequence) -> None:
    other = mirrored(clip)
    assert (other.labels.box_px[:, :2] < other.labels.joints_px.min(1)).all() and (other.labels.box_px[:, 2:] > other.labels.joints_px.max(1)).all()
    for box, picture in zip(other.labels.box_visible_px, other.parts, strict=True):
        rows, columns = np.nonzero((picture >= 1) & (picture <= 16))
        np.testing.assert_array_equal(box, [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5])
    unseen = replace(clip, labels=replace(clip.labels, box_visible_px=np.zeros((4, 4), np.float32)))
    assert not mirrored(unseen).labels.box_visible_px.any()


def test_visibility_still_follows_from_the_pixels(clip: HandSequence) -> None:
    """With something before the left of the hand: found anew from mirrored pictures it is what it was."""
    parts = clip.parts.copy()
    parts[:, :, : parts.shape[2] // 2 - 4] = PART_OCCLUDER  # not up to the middle: the wrist is there, on the edge of two pixels
    hidden_by = joints_hidden_by(parts, clip.depth_tenth_mm, clip.labels.joints_px, clip.labels.joints_m[..., 2])
    assert {0, PART_OCCLUDER} <= set(np.unique(hidden_by))
    other = mirrored(replace(clip, parts=parts, labels=replace(clip.labels, joints_hidden_by=hidden_by, joints_visible=hidden_by == 0)))
    found = joints_hidden_by(other.parts, other.depth_tenth_mm, other.labels.joints_px, other.labels.joints_m[..., 2])
    np.testing.assert_array_equal(other.labels.joints_hidden_by, found)
    np.testing.assert_array_equal(other.labels.joints_visible, found == 0)


def test_flow_carries_joints_to_the_next_frame(clip: HandSequence) -> None:
    before, after = warp_error_px(clip), warp_error_px(mirrored(clip))
    assert len(before) > 20 and before.max() < 0.05 and np.abs(clip.flow_px[..., 0]).max() > 0.5
    np.testing.assert_allclose(after, before, atol=1e-4)
    unturned = replace(mirrored(clip), flow_px=np.ascontiguousarray(clip.flow_px[:, :, ::-1]))
    assert warp_error_px(unturned).max() > 1
    assert not mirrored(clip).flow_px[-1].any()


def test_the_parameters_are_those_of_the_mirrored_right_hand(clip: HandSequence) -> None:
    layer, rng = HandLayer(load_hand("open")), np.random.default_rng(0)
    pose, betas = rng.normal(0, 0.4, (4, 16, 3)).astype(np.float32), rng.standard_normal(10).astype(np.float32)
    translation = np.float32([[0.02, -0.01, 0.45]]) + np.zeros((4, 1), np.float32)

    def joints(labels: Labels) -> np.ndarray:
        with torch.no_grad():
            return layer(torch.as_tensor(labels.pose), torch.as_tensor(labels.betas).expand(4, 10), torch.as_tensor(labels.translation_m)).joints_m.numpy()

    posed = replace(clip.labels, pose=pose, betas=betas, translation_m=translation)
    other = mirrored(replace(clip, labels=replace(posed, joints_m=joints(posed)))).labels
    np.testing.assert_array_equal(joints(other) * np.float32([-1, 1, 1]), other.joints_m)
    np.testing.assert_array_equal(other.flow_joints_m, clip.labels.flow_joints_m)


@pytest.mark.parametrize("pictures", [(), OPTIONAL_PICTURES])
def test_twice_is_as_before(pictures: tuple[str, ...]) -> None:
    clip = make_sequence(2, pictures=pictures, labels=("box_px",) if pictures else ())
    twice = mirrored(mirrored(clip))
    for field in fields(HandSequence):
        if field.name not in ("labels", "meta", "key", "split"):
            ours, theirs = getattr(clip, field.name), getattr(twice, field.name)
            assert (ours is None) == (theirs is None) and (ours is None or (ours.dtype, ours.tobytes()) == (theirs.dtype, theirs.tobytes())), field.name
    assert (twice.meta, twice.key, twice.split) == (clip.meta, clip.key, clip.split)
    for field in fields(Labels):
        ours, theirs = getattr(clip.labels, field.name), getattr(twice.labels, field.name)
        assert (ours is None) == (theirs is None)
        if field.name in IN_PIXELS and ours is not None:
            assert ours.dtype == theirs.dtype and np.abs(ours - theirs).max() < 1e-4
        elif ours is not None:
            assert (ours.dtype, ours.tobytes()) == (theirs.dtype, theirs.tobytes()), field.name


def test_on_a_grid_of_pixels_twice_is_bit_for_bit() -> None:
    """Where float32 holds W - 1 - x exactly, as with multiples of 2^-10 px."""
    clip = make_sequence(2)
    grid = {name: (np.round(getattr(clip.labels, name) * 1024) / 1024).astype(np.float32) for name in IN_PIXELS}
    clip = replace(clip, labels=replace(clip.labels, **grid))
    twice = mirrored(mirrored(clip))
    assert all(getattr(clip.labels, name).tobytes() == getattr(twice.labels, name).tobytes() for name in IN_PIXELS)


def test_nothing_of_the_clip_is_changed_and_it_can_be_stored(clip: HandSequence) -> None:
    before = encode_sequence(clip, jpeg_quality=90)
    other = mirrored(clip)
    assert encode_sequence(clip, jpeg_quality=90) == before
    read = decode_sequence(other.key, dict(encode_sequence(other, jpeg_quality=90)))
    assert read.meta["hand"]["side"] == "left"
    np.testing.assert_array_equal(read.labels.joints_px, other.labels.joints_px, strict=True)
    np.testing.assert_array_equal(read.normals, other.normals, strict=True)
