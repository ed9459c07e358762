"""The labels of every preset against independent reckoning: projection, skinning, pyrender, rays, least squares; and that concerns do not touch each other.

CI looks at 20 frames of a preset; `pytest -m slow tests/test_exactness.py` at 200.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

from seqgen.config import build, find_config, overlay, read_toml, shipped_configs
from seqgen.dataset.conventions import FLESH_M
from seqgen.dataset.mirror import mirrored
from seqgen.dataset.sequence import NOT_HIDDEN, NOTHING_THERE, HandSequence
from seqgen.hand.layer import HandLayer
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import Sources, generate_sequence, open_sources
from seqgen.pipeline.process import one_thread
from seqgen.render import load_renderer
from seqgen.render.pyrender_renderer import why_unavailable
from seqgen.render.renderer import Frames, Renderer
from seqgen.scene.scene import Scene
from seqgen.skeleton import joint_parts

Array = np.ndarray
SIZE = [("20 frames", 2), pytest.param(("200 frames", 20), marks=pytest.mark.slow)]
EXTRAS = {"labels.optical_flow": True, "labels.normals": True, "labels.mask_amodal": True, "labels.mask_visible": True, "poses.rows": 3000}


class Recorder:
    """A renderer that remembers what it drew."""

    def __init__(self, renderer: Renderer) -> None:
        self.renderer, self.scenes, self.frames = renderer, [], []

    def render(self, scene: Scene, extras: frozenset = frozenset()) -> Frames:
        self.scenes.append(scene)
        self.frames.append(self.renderer.render(scene, extras))
        return self.frames[-1]

    def render_clips(self, scenes: Sequence[Scene], extras: frozenset = frozenset()) -> list[Frames]:
        return [self.render(scene, extras) for scene in scenes]


@dataclass(frozen=True)
class Clips:
    """Clips of a preset, with what they were drawn from."""

    sequences: list[HandSequence]
    scenes: list[Scene]
    frames: list[Frames]


def preset(name: str, fields: dict[str, Any]) -> GenerateConfig:
    tables = read_toml(find_config(name))
    for dotted, value in (EXTRAS | fields).items():
        tables = overlay(tables, dotted, value)
    return build(GenerateConfig, tables, where=name)


def sources_of(config: GenerateConfig) -> Sources:
    with one_thread():
        return open_sources(gather_assets(config), config)


@pytest.fixture(scope="module", params=sorted(shipped_configs()))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=SIZE, ids=lambda size: size[0])
def clips(name: str, request: pytest.FixtureRequest) -> Clips:
    config = preset(name, {})
    sources = sources_of(config)
    recorder = Recorder(sources.renderer)
    with one_thread():
        made = [generate_sequence(11 * index + 3, replace(sources, renderer=recorder), config) for index in range(request.param[1])]
    return Clips(made, recorder.scenes, recorder.frames)


def posed_vertices(sequence: HandSequence, layer: HandLayer) -> Array:
    labels = sequence.labels
    mesh = layer(torch.tensor(labels.pose), torch.tensor(labels.betas).expand(len(labels.pose), 10), torch.tensor(labels.translation_m))
    assert np.abs(mesh.joints_m.numpy() - labels.joints_m).max() < 1e-5
    return mesh.vertices_m.numpy().astype(float)


def project(points: Array, intrinsics: Array, kind: str) -> Array:
    """Pixels, reckoned anew."""
    if kind == "weak_perspective":
        return points[..., :2] * intrinsics[..., 0, 0][..., None, None] + intrinsics[..., None, :2, 2]
    homogeneous = np.einsum("...ij,...nj->...ni", intrinsics, points)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def test_joints_are_those_of_the_pose_and_project_to_their_pixels(clips: Clips, open_layer: HandLayer) -> None:
    for sequence in clips.sequences:
        posed_vertices(sequence, open_layer)
        labels = sequence.labels
        off = project(labels.joints_m.astype(float), labels.intrinsics.astype(float), sequence.meta["camera"]["kind"]) - labels.joints_px
        assert np.abs(off).max() < 1e-3


def test_visible_joints_lie_under_their_own_surface_and_hidden_ones_are_named(clips: Clips) -> None:
    seen = 0
    for sequence in clips.sequences:
        labels, (height, width) = sequence.labels, sequence.parts.shape[1:]
        for frame, joint in np.ndindex(labels.joints_visible.shape):
            x, y = np.round(labels.joints_px[frame, joint]).astype(int)
            inside = 0 <= x < width and 0 <= y < height
            part = sequence.parts[frame, y, x] if inside else 0
            over = labels.joints_m[frame, joint, 2] - sequence.depth_m[frame, y, x] if inside else np.nan
            visible = bool(part in joint_parts()[joint] and FLESH_M[0] - 1e-6 <= over <= FLESH_M[1] + 1e-6)
            assert labels.joints_visible[frame, joint] == visible
            assert labels.joints_hidden_by[frame, joint] == (NOT_HIDDEN if visible else part or NOTHING_THERE)
            seen += visible
    assert seen > 0.2 * sum(sequence.labels.joints_visible.size for sequence in clips.sequences)


def test_weak_perspective_is_the_least_squares_fit(clips: Clips) -> None:
    for labels, frame in ((sequence.labels, frame) for sequence in clips.sequences for frame in range(len(sequence.labels.pose))):
        xy = (labels.joints_m[frame, :, :2] - labels.joints_m[frame, :1, :2]).astype(float)
        system = np.zeros((42, 3))
        system[0::2, 0], system[1::2, 0], system[0::2, 1], system[1::2, 2] = xy[:, 0], xy[:, 1], 1, 1
        expected, squares, *_ = np.linalg.lstsq(system, labels.joints_px[frame].astype(float).ravel(), rcond=None)
        np.testing.assert_allclose(labels.weak_perspective[frame], expected, rtol=1e-4)
        np.testing.assert_allclose(labels.weak_perspective_residual_px[frame], np.sqrt(squares[0] / 21) if len(squares) else 0, atol=1e-3)


def test_a_mirrored_clip_has_mirrored_labels(clips: Clips) -> None:
    for sequence in clips.sequences[:2]:
        left = mirrored(sequence)
        labels, kind = left.labels, sequence.meta["camera"]["kind"]
        assert np.abs(project(labels.joints_m.astype(float), labels.intrinsics.astype(float), kind) - labels.joints_px).max() < 1e-3
        np.testing.assert_array_equal(labels.joints_m, sequence.labels.joints_m * np.float32([-1, 1, 1]))
        np.testing.assert_array_equal(left.parts, sequence.parts[:, :, ::-1])
        assert left.meta["hand"]["side"] == "left"


@pytest.mark.skipif(why_unavailable() is not None, reason=f"no OpenGL: {why_unavailable()}")
def test_pyrender_sees_the_same_depth_and_parts(clips: Clips) -> None:
    theirs_of = load_renderer("pyrender")
    for scene, ours in zip(clips.scenes, clips.frames, strict=True):
        theirs = theirs_of.render(replace(scene, samples=1, shutter=0.0))
        both, either = (ours.depth_m > 0) & (theirs.depth_m > 0), (ours.depth_m > 0) | (theirs.depth_m > 0)
        difference = np.abs(ours.depth_m - theirs.depth_m)[both]
        assert both.sum() > 0.995 * either.sum()
        assert np.median(difference) < 0.02e-3 and np.quantile(difference, 0.99) < 0.2e-3
        inner = both & away_from_borders(ours.parts)
        assert (ours.parts == theirs.parts)[inner].mean() > 0.995


def away_from_borders(parts: Array) -> Array:
    """Pixels whose neighbours all have their part."""
    padded = np.pad(parts, ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = parts.shape[1:]
    return np.all([padded[:, dy : dy + height, dx : dx + width] == parts for dy in range(3) for dx in range(3)], 0)


def test_flow_is_where_the_pose_carries_what_is_seen(clips: Clips, open_layer: HandLayer) -> None:
    """A pixel's ray meets a triangle of the posed hand; the same place of the same triangle in the next frame projects to where the flow points."""
    rng, checked = np.random.default_rng(0), 0
    for sequence in clips.sequences[:4]:
        vertices, faces = posed_vertices(sequence, open_layer), open_layer_faces()
        labels, kind = sequence.labels, sequence.meta["camera"]["kind"]
        for t in rng.choice(len(vertices) - 1, 3, replace=False):
            y, x = np.nonzero((sequence.parts[t] > 0) & (sequence.parts[t] <= 16))
            chosen = rng.choice(len(x), 40)
            for px, py in zip(x[chosen], y[chosen], strict=True):
                hit = meet(px, py, sequence.depth_m[t, py, px], vertices[t], faces, labels.intrinsics[t].astype(float), kind)
                if hit is None:  # the dome over a wrist without an arm is no part of the model
                    continue
                face, shares = hit
                there = project((shares @ vertices[t + 1][faces[face]])[None], labels.intrinsics[t + 1].astype(float), kind)[0]
                assert np.abs(there - [px, py] - sequence.flow_px[t, py, px]).max() < 0.05
                checked += 1
    assert checked > 100


def open_layer_faces() -> Array:
    from seqgen.hand import load_hand

    return load_hand("open").faces


def meet(x: int, y: int, depth_m: float, vertices: Array, faces: Array, k: Array, kind: str) -> tuple[int, Array] | None:
    """The face of a mesh that a pixel's ray meets at about a depth, and the corners' shares there."""
    near = (np.array([x, y]) - k[:2, 2]) / k[[0, 1], [0, 1]]
    if kind == "weak_perspective":
        point, ray = np.append(near, depth_m), np.array([0.0, 0, 1])
    else:
        point, ray = np.append(near, 1) * depth_m, np.append(near, 1)
    _, candidates = cKDTree(vertices[faces].mean(1)).query(point, 40)
    for face in candidates:
        a, b, c = vertices[faces[face]]
        matrix = np.stack([b - a, c - a, -ray], 1)
        if abs(np.linalg.det(matrix)) < 1e-16:
            continue
        u, v, along = np.linalg.solve(matrix, point - a)
        if min(u, v, 1 - u - v) > -1e-3 and abs(along) * np.linalg.norm(ray) < 2e-4:
            return int(face), np.array([1 - u - v, u, v])
    return None


def test_masks_and_boxes_hold_the_hand(clips: Clips) -> None:
    for sequence in clips.sequences:
        hand = (sequence.parts > 0) & (sequence.parts <= 16)
        np.testing.assert_array_equal(sequence.mask_visible > 0, hand)
        if sequence.meta["arm"]["kind"] != "none":  # the dome of a bare wrist counts as palm
            assert not (hand & (sequence.mask_amodal == 0)).any()
        if sequence.meta["occluder"]["kind"] == "none":
            assert (sequence.mask_amodal > 0)[~hand].mean() < 0.02
        x0, y0, x1, y1 = sequence.labels.box_px.T
        for t, mask in enumerate(hand if sequence.meta["arm"]["kind"] != "none" else sequence.mask_amodal > 0):
            rows, columns = np.nonzero(mask)
            if len(rows):
                assert columns.min() >= x0[t] - 0.51 and columns.max() <= x1[t] + 0.51 and rows.min() >= y0[t] - 0.51 and rows.max() <= y1[t] + 0.51


def test_normals_point_at_the_camera_and_agree_with_depth(clips: Clips) -> None:
    """On smooth places the normal is that of the depth picture."""
    for sequence in clips.sequences:
        assert_normals_agree(sequence)


def assert_normals_agree(sequence: HandSequence) -> None:
    depth, k, weak = sequence.depth_m[0].astype(float), sequence.labels.intrinsics[0].astype(float), sequence.meta["camera"]["kind"] == "weak_perspective"
    y, x = np.mgrid[: depth.shape[0], : depth.shape[1]]
    rays = np.stack([(x - k[0, 2]) / k[0, 0], (y - k[1, 2]) / k[1, 1], np.ones_like(depth)], -1)
    points = np.dstack([rays[..., :2], depth]) if weak else rays * depth[..., None]
    across, down = np.gradient(points, axis=1), np.gradient(points, axis=0)
    made = np.cross(down, across)
    made /= np.maximum(np.linalg.norm(made, axis=-1, keepdims=True), 1e-12)
    smooth = away_from_borders(sequence.parts[:1])[0] & (sequence.parts[0] > 0) & (np.linalg.norm(across, axis=-1) < 2.5 * (1 if weak else depth) / k[0, 0])
    seen_along = np.array([0.0, 0, 1]) if weak else rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    squarely = smooth & ((made * seen_along).sum(-1) < -np.sqrt(0.5))  # towards silhouettes a pixel spans too much of a round surface
    agreement = (made * sequence.unit_normals[0]).sum(-1)
    # from pixel to pixel a finger of 7 mm radius, seen at 2 mm a pixel, turns by 16 degrees; where a part lies over itself depth says nothing of normals
    assert np.median(agreement[smooth]) > 0.97 and np.quantile(agreement[squarely], 0.05) > 0.9
    assert ((sequence.unit_normals[0] * seen_along).sum(-1)[squarely] < 0).mean() > 0.99


PAIRS = {
    "arm": {"arm.kind": "none"},
    "occluder": {"occluder.share": 0.0},
    "light": {"light.kind": "flat"},
    "sensor": {"sensor.kind": "none"},
    "skin": {"skin.kind": "flat"},
    "blur": {"render.shutter": [0.5, 0.5]},
    "background": {"background.speed": 0.0, "background.zoom": [1.0, 1.0]},
}


@pytest.mark.parametrize("off", [pytest.param(off, marks=[pytest.mark.slow] if number % 4 else []) for number, off in enumerate(PAIRS)])
def test_switching_a_concern_off_leaves_the_hand_alone(off: str) -> None:
    """Pose, camera and the labels of the hand have the same bits wherever nothing covered it."""
    plain, changed = preset("quickstart", {"occluder.share": 1.0}), preset("quickstart", {"occluder.share": 1.0} | PAIRS[off])
    with one_thread():
        for index in (1, 4):
            a, b = (generate_sequence(index, sources_of(config), config) for config in (plain, changed))
            for field in ("joints_m", "joints_px", "pose", "betas", "translation_m", "intrinsics", "camera_from_world", "weak_perspective", "box_px", "flow_source"):
                np.testing.assert_array_equal(getattr(a.labels, field), getattr(b.labels, field))
            np.testing.assert_array_equal(a.mask_amodal, b.mask_amodal)
            shown = (a.mask_visible > 0) & (a.mask_amodal > 0)
            assert (b.mask_visible > 0)[shown].all()
            for picture in ("depth_tenth_mm", "parts", "normals", "flow_px"):
                np.testing.assert_array_equal(getattr(a, picture)[shown], getattr(b, picture)[shown])
            assert (a.meta["skin"], a.meta["background"]) == (b.meta["skin"], b.meta["background"]) or off == "skin"


def test_cameras_of_one_motion_agree_in_the_world() -> None:
    config = preset("quickstart", {"camera.views": 3, "sequences": 6, "split.train": 1, "split.val": 0, "split.test": 0})
    sources = sources_of(config)
    with one_thread():
        clips = [generate_sequence(index, sources, config) for index in range(6)]
    for group in (clips[:3], clips[3:]):
        world = [np.linalg.inv(clip.labels.camera_from_world.astype(float)) for clip in group]
        joints = [np.einsum("tij,tnj->tni", m[:, :3, :3], clip.labels.joints_m.astype(float)) + m[:, None, :3, 3] for m, clip in zip(world, group, strict=True)]
        for other in joints[1:]:
            np.testing.assert_allclose(other, joints[0], atol=2e-5)
        assert {clip.meta["group"] for clip in group} == {group[0].meta["index"]} and {clip.split for clip in group} == {"train"}
        assert [clip.meta["camera"]["view"] for clip in group] == [0, 1, 2]
        for field in ("skin", "flow", "arm", "occluder", "hand"):
            assert all(clip.meta[field] == group[0].meta[field] for clip in group)
        assert all(np.array_equal(clip.labels.pose[:, 1:], group[0].labels.pose[:, 1:]) and np.array_equal(clip.labels.betas, group[0].labels.betas) for clip in group)
    assert not np.array_equal(clips[0].labels.betas, clips[3].labels.betas)


def test_left_hands_are_the_mirror_of_right_ones(tmp_path: Path) -> None:
    right, left = preset("kinect_v1", {"clip.size": [160, 120]}), preset("kinect_v1", {"clip.size": [160, 120], "hand.left": 1.0})
    with one_thread():
        a, b = (generate_sequence(0, sources_of(config), config) for config in (right, left))
    assert (a.meta["hand"]["side"], b.meta["hand"]["side"]) == ("right", "left")
    again = mirrored(b)
    for picture in ("rgb", "depth_tenth_mm", "parts", "normals", "mask_amodal", "flow_px"):
        np.testing.assert_array_equal(getattr(again, picture), getattr(a, picture))
    assert not np.array_equal(again.depth_sensor_tenth_mm, a.depth_sensor_tenth_mm)  # its projector stays on its side
