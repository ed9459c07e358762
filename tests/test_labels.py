"""What is said of a clip: visibility with the name of what hides a joint, boxes, the weak-perspective fit, and the pictures that are stored only when asked for."""

import numpy as np
import pytest
from banks import line_bank

from seqgen.camera import Camera
from seqgen.dataset.conventions import FLESH_M
from seqgen.pipeline.labels import HandMotion, LabelsConfig, extra_pictures, frames_outside, hand_box, joints_hidden_by, make_labels, renderer_extras, visible_box
from seqgen.poses.flow import PoseFlow
from seqgen.render.renderer import Frames
from seqgen.scene.view.view import View
from seqgen.skeleton import PART_ARM, PART_OCCLUDER, joint_parts

SIZE = (40, 30)


def make_camera(kind: str = "perspective", frames: int = 1) -> Camera:
    focal = 60.0 if kind == "perspective" else 120.0
    return Camera(kind, np.tile(np.array([[focal, 0, 18.3], [0, focal, 14.1], [0, 0, 1.0]]), (frames, 1, 1)), SIZE)


def random_frames(seed: int, frames: int = 60) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Patchwork pictures of parts and depth, with joints within and outside of them, often just under the surface."""
    rng = np.random.default_rng(seed)
    parts = rng.choice([0, *range(1, 17), PART_ARM, PART_OCCLUDER], (frames, SIZE[1] // 3, SIZE[0] // 4)).astype(np.uint8).repeat(3, 1).repeat(4, 2)
    depth = np.where(parts > 0, rng.integers(4400, 4600, parts.shape), 0).astype(np.uint16)
    joints_px = rng.uniform([-6, -6], np.add(SIZE, 6), (frames, 21, 2)).astype(np.float32)
    return parts, depth, joints_px, rng.uniform(0.43, 0.50, (frames, 21)).astype(np.float32)


def hidden_by_slowly(parts: np.ndarray, depth: np.ndarray, joint: int, x: float, y: float, z_m: float) -> int:
    """By the words of DESIGN.md, one joint of one frame."""
    column, row = round(float(x)), round(float(y))
    if not (0 <= column < parts.shape[1] and 0 <= row < parts.shape[0]) or parts[row, column] == 0:
        return 255
    over = float(z_m) - depth[row, column] / 1e4
    return 0 if parts[row, column] in joint_parts()[joint] and FLESH_M[0] <= over <= FLESH_M[1] else int(parts[row, column])


def test_what_hides_a_joint_is_as_said_slowly() -> None:
    parts, depth, px, z = random_frames(0)
    hidden_by = joints_hidden_by(parts, depth, px, z)
    slow = [[hidden_by_slowly(parts[t], depth[t], j, *px[t, j], z[t, j]) for j in range(21)] for t in range(len(parts))]
    np.testing.assert_array_equal(hidden_by, np.array(slow, np.uint8), strict=True)
    assert set(np.unique(hidden_by)) == {0, *range(1, 17), PART_ARM, PART_OCCLUDER, 255}


@pytest.mark.parametrize(
    ("part", "depth_tenth_mm", "expected"),
    [
        (1, 4950, 0),  # the palm, 5 mm over the wrist
        (PART_ARM, 4950, 0),  # the arm, which the wrist connects too
        (1, 4600, 1),  # the palm, seen end on: 40 mm over the wrist
        (1, 5040, 1),  # the palm, 4 mm behind
        (5, 4950, 5),  # a finger over the wrist
        (PART_OCCLUDER, 4990, PART_OCCLUDER),
        (0, 0, 255),
    ],
)
def test_a_wrist_half_a_metre_away(part: int, depth_tenth_mm: int, expected: int) -> None:
    parts, depth = np.full((1, 30, 40), part, np.uint8), np.full((1, 30, 40), depth_tenth_mm, np.uint16)
    hidden_by = joints_hidden_by(parts, depth, np.full((1, 21, 2), 12.4, np.float32), np.full((1, 21), 0.5, np.float32))
    assert hidden_by[0, 0] == expected
    outside = joints_hidden_by(parts, depth, np.full((1, 21, 2), 29.6, np.float32), np.full((1, 21), 0.5, np.float32))
    assert (outside == 255).all()  # row 30 of 0..29


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
def test_the_box_of_a_cube_is_known(kind: str) -> None:
    cube = np.stack(np.meshgrid([-0.02, 0.03], [-0.01, 0.04], [0.4, 0.5]), -1).reshape(1, 8, 3).astype(np.float32)
    box = hand_box(cube, make_camera(kind))
    scale = 60 / 0.4 if kind == "perspective" else 120  # the near face is the larger
    np.testing.assert_allclose(box, [[18.3 - 0.02 * scale, 14.1 - 0.01 * scale, 18.3 + 0.03 * scale, 14.1 + 0.04 * scale]], atol=1e-4)


def test_the_visible_box_is_that_of_the_pixels() -> None:
    rng = np.random.default_rng(2)
    parts = np.zeros((50, 30, 40), np.uint8)
    for picture in parts[2:]:
        picture[tuple(rng.integers(0, [30, 40], (rng.integers(1, 5), 2)).T)] = rng.integers(1, 17)
        picture[tuple(rng.integers(0, [30, 40], (6, 2)).T)] = rng.choice([PART_ARM, PART_OCCLUDER])
    parts[1, :, :] = PART_ARM
    for box, picture in zip(visible_box(parts), parts, strict=True):
        rows, columns = np.nonzero((picture >= 1) & (picture <= 16))
        np.testing.assert_array_equal(box, [columns.min() - 0.5, rows.min() - 0.5, columns.max() + 0.5, rows.max() + 0.5] if len(rows) else [0] * 4)
    assert not visible_box(parts)[:2].any()


def test_the_two_boxes_agree_on_a_cloud_of_points() -> None:
    """Each vertex painted at its pixel: the visible box reaches from nothing to one pixel beyond the other."""
    vertices = np.random.default_rng(4).uniform([-0.09, -0.06, 0.45], [0.09, 0.06, 0.55], (5, 200, 3)).astype(np.float32)
    camera = make_camera(frames=5)
    parts = np.zeros((5, 30, 40), np.uint8)
    for picture, pixels in zip(parts, camera.project(vertices.astype(float)).round().astype(int), strict=True):
        picture[pixels[:, 1], pixels[:, 0]] = 3
    beyond = (visible_box(parts) - hand_box(vertices, camera)) * [-1, -1, 1, 1]
    assert (beyond >= 0).all() and (beyond <= 1).all()


def test_frames_outside_are_those_that_lose_a_part_of_the_hand() -> None:
    inside = [-0.5, -0.5, 39.5, 29.5]
    assert frames_outside(np.array([inside], np.float32), SIZE) == 0
    for side, step in enumerate((-0.1, -0.1, 0.1, 0.1)):
        beyond = np.array(inside) + np.eye(4)[side] * step
        assert frames_outside(np.array([beyond, inside, beyond], np.float32), SIZE) == 2


def make_motion(frames: int) -> HandMotion:
    """A hand of random joints before the camera; its vertices are the joints."""
    rng = np.random.default_rng(9)
    joints = rng.uniform([-0.05, -0.05, 0.45], [0.05, 0.05, 0.5], (frames, 21, 3)).astype(np.float32)
    numbers = rng.standard_normal((frames, 16, 3)).astype(np.float32)
    return HandMotion(numbers, numbers.ravel()[:10].copy(), joints[:, 0], joints, joints)


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
@pytest.mark.parametrize("asked", [True, False])
def test_labels_are_those_of_the_stored_values(kind: str, asked: bool) -> None:
    hand, camera, bank = make_motion(4), make_camera(kind, 4), line_bank()
    view = View("third_person", np.tile(np.eye(3), (4, 1, 1)), np.tile(np.eye(4), (4, 1, 1)))
    flow = PoseFlow(bank.joints_m[[3, 4, 5, 9]].astype(float), np.array([3, 4, 5, 9]), np.zeros(4, bool), "walk", 3, 9, 30.0)
    parts, depth, _, _ = random_frames(1, 4)
    labels = make_labels(hand, camera, view, flow, parts, depth, bank, LabelsConfig(hidden_by=asked, boxes=asked), store_flow=asked)

    stored = Camera(camera.kind, labels.intrinsics.astype(float), SIZE)
    assert np.abs(stored.project(labels.joints_m.astype(float)) - labels.joints_px).max() < 1e-4
    xy = (labels.joints_m - labels.joints_m[:, :1])[..., :2].astype(float)
    for t in range(4):  # the fit against numpy's solver
        design = np.zeros((42, 3))
        design[:, 0], design[0::2, 1], design[1::2, 2] = xy[t].ravel(), 1, 1
        solution, squares, _, _ = np.linalg.lstsq(design, labels.joints_px[t].astype(float).ravel(), rcond=None)
        np.testing.assert_allclose(labels.weak_perspective[t], solution, rtol=1e-5)
        np.testing.assert_allclose(labels.weak_perspective_residual_px[t], np.sqrt(squares.sum() / 21), atol=1e-5)
    assert (labels.weak_perspective_residual_px > 0.1).all() == (kind == "perspective")

    hidden_by = joints_hidden_by(parts, depth, labels.joints_px, hand.joints_m[..., 2])
    np.testing.assert_array_equal(labels.joints_visible, hidden_by == 0)
    if asked:
        np.testing.assert_array_equal(labels.joints_hidden_by, hidden_by)
        np.testing.assert_allclose(labels.box_px, np.concatenate([labels.joints_px.min(1), labels.joints_px.max(1)], 1), atol=1e-4)
        np.testing.assert_array_equal(labels.box_visible_px, visible_box(parts))
        np.testing.assert_array_equal(labels.flow_source, bank.source_row[[3, 4, 5, 9]])
    else:
        assert labels.joints_hidden_by is labels.box_px is labels.box_visible_px is labels.flow_source is labels.flow_joints_m is None


def test_only_what_is_asked_for_is_drawn_and_stored() -> None:
    parts = random_frames(3, 2)[0]
    vectors = np.random.default_rng(0).standard_normal((*parts.shape, 3)).astype(np.float32)
    zeros = np.zeros_like(vectors)
    frames = Frames(zeros, zeros[..., 0], parts, normals=vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), flow_px=vectors[..., :2], amodal=parts % 2 == 1)
    names = {"optical_flow": ("flow", "flow_px"), "normals": ("normals", "normals"), "mask_amodal": ("amodal", "mask_amodal"), "mask_visible": (None, "mask_visible")}
    for asked in ((), *((name,) for name in names), tuple(names)):
        config = LabelsConfig(**dict.fromkeys(asked, True))
        assert renderer_extras(config) == {names[name][0] for name in asked} - {None}
        pictures = extra_pictures(config, frames)
        assert set(pictures) == {names[name][1] for name in asked}
    np.testing.assert_array_equal(pictures["mask_amodal"], np.where(frames.amodal, 255, 0).astype(np.uint8), strict=True)
    np.testing.assert_array_equal(pictures["mask_visible"] == 255, (parts >= 1) & (parts <= 16))
    assert np.abs(pictures["normals"] / 127.5 - 1 - frames.normals).max() <= 1 / 255 + 1e-6
