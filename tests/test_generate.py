"""One clip: that its labels are exact, that it is a pure function of config, seed and index, and that its parts do not depend on one another."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from runs import small_config

from seqgen.camera import Camera
from seqgen.dataset.conventions import FLESH_M
from seqgen.dataset.encoding import encode_sequence
from seqgen.dataset.sequence import HandSequence
from seqgen.hand import load_hand
from seqgen.hand.layer import HandLayer
from seqgen.pipeline.assets import Assets, gather_assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import Sources, generate_sequence, open_sources
from seqgen.pipeline.process import one_thread
from seqgen.render.pyrender_renderer import why_unavailable
from seqgen.skeleton import PART_ARM, PART_OCCLUDER, joint_parts

CONFIGS = {
    "default": small_config(),
    "paper": small_config(
        camera={"kind": "weak_perspective"}, skin={"kind": "flat"}, light={"kind": "flat"}, hand={"betas": "uniform", "pose_components": 10},
        arm={"kind": "none"}, occluder={"share": 0.0}, sensor={"kind": "none"},
    ),
    "wide and slow": small_config(clip={"size": (160, 90), "fps": 60.0, "stride": 3}),
}


@pytest.fixture(scope="module")
def assets() -> Assets:
    with one_thread():
        return gather_assets(small_config())


@pytest.fixture(scope="module", params=CONFIGS)
def config(request: pytest.FixtureRequest) -> GenerateConfig:
    return CONFIGS[request.param]


@pytest.fixture(scope="module")
def sources(assets: Assets, config: GenerateConfig) -> Sources:
    return open_sources(assets, config)


@pytest.fixture(scope="module")
def sequences(sources: Sources, config: GenerateConfig) -> list[HandSequence]:
    with one_thread():
        return [generate_sequence(index, sources, config) for index in range(10)]


def same(a: HandSequence, b: HandSequence, *, but: tuple[str, ...] = ()) -> bool:
    return all(np.array_equal(getattr(a.labels, field.name), getattr(b.labels, field.name)) for field in fields(a.labels) if field.name not in but)


def test_joints_project_to_their_pixels(sequences: list[HandSequence]) -> None:
    for sequence in sequences:
        labels = sequence.labels
        homogeneous = np.einsum("tij,tnj->tni", labels.intrinsics.astype(float), labels.joints_m.astype(float))
        if sequence.meta["camera"]["kind"] == "weak_perspective":
            expected = labels.intrinsics[:, None, [0, 1], [0, 1]] * labels.joints_m[..., :2] + labels.intrinsics[:, None, :2, 2]
        else:
            expected = homogeneous[..., :2] / homogeneous[..., 2:]
        assert np.abs(expected - labels.joints_px).max() < 1e-3


def test_the_stored_parameters_give_the_stored_joints(sequences: list[HandSequence]) -> None:
    layer = HandLayer(load_hand("open"))
    for sequence in sequences:
        labels = sequence.labels
        betas = torch.tensor(labels.betas).expand(len(labels.pose), 10)
        mesh = layer(torch.tensor(labels.pose), betas, torch.tensor(labels.translation_m))
        assert np.abs(mesh.joints_m.numpy() - labels.joints_m).max() < 1e-5


def test_visible_joints_lie_under_their_own_surface(sequences: list[HandSequence]) -> None:
    seen = 0
    for sequence in sequences:
        labels = sequence.labels
        for frame, joint in np.argwhere(labels.joints_visible):
            x, y = np.round(labels.joints_px[frame, joint]).astype(int)
            assert sequence.parts[frame, y, x] in joint_parts()[joint]
            assert FLESH_M[0] - 1e-4 < labels.joints_m[frame, joint, 2] - sequence.depth_m[frame, y, x] < FLESH_M[1] + 1e-4
            seen += 1
    assert seen > 0.3 * 21 * sum(len(sequence.rgb) for sequence in sequences)


def test_pictures_and_labels_speak_of_the_same_surface(sequences: list[HandSequence]) -> None:
    for sequence in sequences:
        assert np.array_equal(sequence.depth_tenth_mm > 0, sequence.parts > 0)
        assert set(np.unique(sequence.parts)) <= {*range(17), PART_ARM, PART_OCCLUDER}
        assert 0.02 < (sequence.parts > 0).mean() < 0.9


def test_the_weak_perspective_label_is_the_least_squares_fit(sequences: list[HandSequence]) -> None:
    labels = sequences[0].labels
    for frame in range(len(labels.pose)):
        xy = (labels.joints_m[frame, :, :2] - labels.joints_m[frame, :1, :2]).astype(float)
        system = np.zeros((42, 3))
        system[0::2, 0], system[1::2, 0], system[0::2, 1], system[1::2, 2] = xy[:, 0], xy[:, 1], 1, 1
        expected = np.linalg.lstsq(system, labels.joints_px[frame].astype(float).ravel(), rcond=None)[0]
        np.testing.assert_allclose(labels.weak_perspective[frame], expected, rtol=1e-5)


def test_cameras_move_rigidly(sequences: list[HandSequence]) -> None:
    for sequence in sequences:
        rotation = sequence.labels.camera_from_world[:, :3, :3].astype(float)
        np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), np.broadcast_to(np.eye(3), rotation.shape), atol=1e-5)
        np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-5)


def test_hands_are_of_natural_size_and_right(sequences: list[HandSequence]) -> None:
    for sequence in sequences:
        joints = sequence.labels.joints_m.astype(float)
        palm = np.linalg.norm(joints[:, 9] - joints[:, 0], axis=-1)
        assert ((palm > 0.07) & (palm < 0.125)).all()
        back = np.cross(joints[:, 17] - joints[:, 0], joints[:, 5] - joints[:, 0])
        bend = ((joints[:, [7, 11, 15, 19]].mean(1) - joints[:, [5, 9, 13, 17]].mean(1)) * back).sum(-1)
        assert (bend < 0.01 * np.linalg.norm(back, axis=-1)).all()  # a right hand's fingers bend away from its back


def test_hands_move(sequences: list[HandSequence]) -> None:
    steps = [np.linalg.norm(np.diff(sequence.labels.flow_joints_m, axis=0), axis=-1).mean() for sequence in sequences]
    assert np.median(steps) > 3e-4  # a clip may fall into a rest
    assert all(abs(sequence.meta["flow"]["mm_per_frame"] - 1e3 * step) < 1e-3 for sequence, step in zip(sequences, steps, strict=True))


def test_the_flow_is_followed(sequences: list[HandSequence], config: GenerateConfig) -> None:
    """Finger bones of the hand point as the flow's do, in the palm's frame; ten components cannot follow as closely."""
    from seqgen.hand.fit import bone_directions
    from seqgen.skeleton import hand_frame

    errors = []
    for sequence in sequences:
        joints = sequence.labels.joints_m.astype(float)
        made, asked = (bone_directions(torch.tensor(j)).numpy() for j in (hand_frame(joints).normalise(joints), sequence.labels.flow_joints_m.astype(float)))
        errors.append(np.degrees(np.arccos(np.clip((made * asked).sum(-1), -1, 1))))
    assert np.mean(errors) < (5 if config.hand.pose_components == 45 else 20)


def test_again_gives_the_same_bytes_alone_and_in_any_order(assets: Assets, config: GenerateConfig, sequences: list[HandSequence]) -> None:
    again = open_sources(assets, config)
    with one_thread():
        for index in (7, 2):
            assert encode_sequence(generate_sequence(index, again, config), jpeg_quality=95) == encode_sequence(sequences[index], jpeg_quality=95)


def test_more_sequences_change_none_of_the_first(assets: Assets) -> None:
    few, many = small_config(sequences=60), small_config(sequences=600)
    with one_thread():
        a, b = (generate_sequence(57, open_sources(assets, config), config) for config in (few, many))
    assert encode_sequence(a, jpeg_quality=95) == encode_sequence(b, jpeg_quality=95)


def test_another_seed_is_another_clip(assets: Assets, sequences: list[HandSequence], config: GenerateConfig) -> None:
    other = config.model_copy(update={"seed": 1})
    clip = generate_sequence(0, open_sources(assets, other), other)
    assert not np.array_equal(clip.labels.joints_m, sequences[0].labels.joints_m) and not np.array_equal(clip.rgb, sequences[0].rgb)


@pytest.mark.parametrize(("section", "unchanged"), [("light", "all"), ("skin", "all"), ("background", "all")])
def test_one_concern_leaves_the_others_alone(assets: Assets, section: str, unchanged: str) -> None:
    changes = {"light": {"kind": "flat"}, "skin": {"kind": "flat"}, "background": {"speed": 0.0, "zoom": (1.0, 1.0)}}
    plain, changed = small_config(), small_config(**{section: changes[section]})
    with one_thread():
        a, b = (generate_sequence(1, open_sources(assets, config), config) for config in (plain, changed))
    assert same(a, b) and np.array_equal(a.parts, b.parts) and np.array_equal(a.depth_tenth_mm, b.depth_tenth_mm)
    assert not np.array_equal(a.rgb, b.rgb)


def test_splits_share_no_pose_no_photo_no_skin_no_shape(assets: Assets) -> None:
    config = small_config(split={"train": 2, "val": 2, "test": 2})
    with one_thread():
        made = [generate_sequence(index, open_sources(assets, config), config) for index in range(12)]
    by_split = {split: [sequence for sequence in made if sequence.split == split] for split in ("train", "val", "test")}
    for a, b in (("train", "val"), ("train", "test"), ("val", "test")):
        for of in (lambda s: set(s.labels.flow_source.tolist()), lambda s: {s.meta["background"]["name"]}, lambda s: {s.meta["skin"]["ita_deg"]}, lambda s: {s.labels.betas[0]}):
            assert not set().union(*map(of, by_split[a])) & set().union(*map(of, by_split[b]))


def test_ten_components_are_ten(assets: Assets) -> None:
    config = CONFIGS["paper"]
    hand = load_hand("open")
    poses = generate_sequence(0, open_sources(assets, config), config).labels.pose[:, 1:].reshape(-1, 45) - hand.pose_mean
    beyond = poses @ hand.pose_components[10:].T
    assert np.abs(beyond).max() < 1e-4 < np.abs(poses @ hand.pose_components[:10].T).max()


@pytest.mark.skipif(why_unavailable() is not None, reason=f"no OpenGL: {why_unavailable()}")
def test_pyrender_draws_the_same_hands(assets: Assets, config: GenerateConfig, sequences: list[HandSequence]) -> None:
    other = config.model_copy(update={"render": config.render.model_copy(update={"renderer": "pyrender"})})
    sources = open_sources(assets, other)
    for index in (0, 3):
        ours, theirs = sequences[index], generate_sequence(index, sources, other)
        both, either = (ours.depth_m > 0) & (theirs.depth_m > 0), (ours.depth_m > 0) | (theirs.depth_m > 0)
        difference = np.abs(ours.depth_m - theirs.depth_m)[both]
        assert both.sum() > 0.995 * either.sum()
        assert np.median(difference) < 0.02e-3 + 1e-4 and np.quantile(difference, 0.99) < 0.2e-3
        assert (ours.parts == theirs.parts)[both].mean() > 0.97
        assert np.abs(ours.rgb.astype(float) - theirs.rgb).mean() < 2


def test_camera_and_labels_agree_with_the_mask(sequences: list[HandSequence], sources: Sources) -> None:
    """Every vertex of the hand lands on or beside the mask."""
    for sequence in sequences[:4]:
        labels = sequence.labels
        mesh = sources.mover.layer(torch.tensor(labels.pose), torch.tensor(labels.betas).expand(len(labels.pose), 10), torch.tensor(labels.translation_m))
        camera = Camera(sequence.meta["camera"]["kind"], labels.intrinsics.astype(float), tuple(sequence.meta["size"]))
        pixels = np.round(camera.project(mesh.vertices_m.numpy().astype(float))).astype(int)
        height, width = sequence.parts.shape[1:]
        for frame, mask in enumerate(sequence.parts > 0):
            grown = np.pad(mask, 2)
            grown = np.max([grown[dy : dy + height, dx : dx + width] for dy in range(5) for dx in range(5)], 0)
            inside = ((pixels[frame] >= 0) & (pixels[frame] < [width, height])).all(1)
            assert grown[pixels[frame][inside, 1], pixels[frame][inside, 0]].mean() > 0.999
