"""Depth as networks see it: cubes and points against closed forms, labels that go along, and crops whose inverse leads back to a ten-thousandth of a millimetre."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from runs import small_config

from seqgen.dataset import open_dataset
from seqgen.dataset.clip import LabelledClip
from seqgen.dataset.clips import DatasetClips
from seqgen.errors import UserError
from seqgen.estimators.views.crop import to_picture
from seqgen.estimators.views.cube import CubeConfig, Cubes, centre_of_mass, cloud, cube_squares, depth_crop, draw_points
from seqgen.estimators.views.depth_sample import find_cubes, make_depth_sample
from seqgen.estimators.views.feed import batch_of
from seqgen.estimators.views.projection import PixelScale, joints_from_uvd, project, unproject, uvd_from_joints
from seqgen.estimators.views.sample import Sample
from seqgen.estimators.views.view import View
from seqgen.pipeline.run import generate_dataset

DEPTH, POINTS = CubeConfig(size=64), CubeConfig(kind="points", num_points=64)
K = np.array([[200.0, 0, 31.5], [0, 200, 23.5], [0, 0, 1]])


@pytest.fixture(scope="module", params=["perspective", "weak_perspective"])
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DatasetClips:
    """Four generated clips, of both sides."""
    directory = tmp_path_factory.mktemp("depth") / request.param
    split = {"train": 4, "val": 0, "test": 0}
    generate_dataset(small_config(sequences=4, split=split, camera={"kind": request.param}, hand={"left": 0.5}, output={"sequences_per_shard": 4}), directory)
    clips = DatasetClips(open_dataset(directory), pictures=("depth",))
    assert {clips.read(position).side for position in range(4)} == {"left", "right"}
    return clips


def a_plane(z_mm: float = 500.0, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """A wall across the picture, tenths of millimetres."""
    return np.full(size[::-1], round(10 * z_mm), np.uint16)


def turned(clip: LabelledClip, degrees: float, input: CubeConfig = DEPTH) -> Sample:
    return make_depth_sample(clip, input, turn_rad=np.radians(degrees))


def test_the_square_is_the_face_at_the_centres_depth() -> None:
    cubes = Cubes(np.array([[0.02, -0.01, 0.5]]), np.array([0.2]))
    np.testing.assert_allclose(cube_squares(cubes, K[None], "perspective"), [[31.5 + 200 * 0.02 / 0.5, 23.5 - 200 * 0.01 / 0.5, 200 * 0.2 / 0.5]])
    np.testing.assert_allclose(cube_squares(cubes, K[None], "weak_perspective"), [[31.5 + 4, 23.5 - 2, 40.0]])


def test_depths_of_a_crop_are_those_of_its_nearest_pixels() -> None:
    """A ramp, once as it is and once at half the size; beyond the picture and where nothing is, 1; behind the cube 1, before it -1."""
    ramp = (4000 + 20 * np.arange(64)[None] + 0 * np.arange(48)[:, None]).astype(np.uint16)
    cubes = Cubes(np.array([[0, 0, 0.45]]), np.array([0.1]))
    same = depth_crop(ramp[None], np.eye(3)[None], cubes, 64)[0]
    np.testing.assert_allclose(same[:48], np.clip((ramp * 1e-4 - 0.45) / 0.05, -1, 1), atol=1e-6)
    assert (same[48:] == 1).all() and same[0, 0] == -1 and same[0, -1] == 1
    halved = depth_crop(ramp[None], np.diag([0.5, 0.5, 1])[None], cubes, 24)[0]
    np.testing.assert_array_equal(halved, same[:48:2, :48:2])
    hole = ramp.copy()
    hole[10, 20] = 0
    assert depth_crop(hole[None], np.eye(3)[None], cubes, 64)[0][10, 20] == 1


def test_points_of_a_wall_lie_on_it() -> None:
    """A wall a tenth of the edge behind the centre: all points have z = 0.1, and fill the cube's cross-section."""
    points = cloud(a_plane(520), K, "perspective", np.array([0, 0, 0.5]), 0.2)
    np.testing.assert_allclose(points[:, 2], 0.1, atol=1e-5)
    assert np.abs(points).max() <= 0.5 and np.ptp(points[:, 1]) > 0.45
    np.testing.assert_allclose(np.diff(np.unique(points[:, 0].round(5))), 0.52 / 200 / 0.2, atol=2e-5)
    assert len(cloud(a_plane(700), K, "perspective", np.array([0, 0, 0.5]), 0.2)) == 0


def test_a_turn_of_the_camera_turns_the_points() -> None:
    turn = np.array([[0.0, -1], [1, 0]])
    straight, about = (cloud(a_plane(500, (48, 48)), K, "weak_perspective", np.array([-0.04, 0, 0.5]), 0.1, each) for each in (None, turn))
    x, y, z = straight.T
    np.testing.assert_allclose(about, np.stack([-y, x, z], 1), atol=1e-6)


@pytest.mark.parametrize("num", [7, 100, 250])
def test_points_are_drawn_without_replacement(num: int) -> None:
    points = np.arange(300, dtype=np.float32).reshape(100, 3)
    drawn = draw_points(points, num, np.random.default_rng(0))
    counts = np.bincount((drawn[:, 0] / 3).astype(int), minlength=100)
    assert len(drawn) == num and set(counts) <= {num // 100, -(-num // 100)}
    np.testing.assert_array_equal(drawn, draw_points(points, num, np.random.default_rng(0)))
    assert len(np.unique(draw_points(points, 100, np.random.default_rng(0), replacement=True)[:, 0])) < 80


def test_the_centre_of_mass_is_that_of_what_is_nearest() -> None:
    """A square patch before a wall: its middle, whatever is behind it, and not what a box leaves out."""
    picture = a_plane(900)
    picture[10:21, 30:41] = 5000
    x, y = (35 - 31.5) / 200 * 0.5, (15 - 23.5) / 200 * 0.5
    np.testing.assert_allclose(centre_of_mass(picture, K, "perspective", 0.25), [x, y, 0.5], atol=1e-9)
    picture[40:46, 2:8] = 4000
    np.testing.assert_allclose(centre_of_mass(picture, K, "perspective", 0.25, np.array([28.0, 8, 42, 22])), [x, y, 0.5], atol=1e-9)
    assert centre_of_mass(np.zeros((48, 64), np.uint16), K, "perspective", 0.25) is None


@pytest.mark.parametrize("degrees", [0.0, 40.0, 180.0])
@pytest.mark.parametrize("scale", [PixelScale(32, 32), PixelScale(0, 63)], ids=["srn", "jgr_p2o"])
def test_uvd_and_its_inverse_return_the_joints(source: DatasetClips, degrees: float, scale: PixelScale) -> None:
    """To 1e-4 mm, in double precision, of both sides and cameras, turned or not: pixels, metres and the labels' own camera agree."""
    for position in range(4):
        batch = batch_of([source.read(position)], DEPTH) if degrees == 0 else None
        sample = turned(source.read(position), degrees)
        doubled = {name: torch.from_numpy(np.asarray(getattr(sample, name)))[None].double() for name in ("centre_m", "cube_m", "intrinsics", "joints_m", "root_m")}
        perspective = torch.tensor([sample.perspective])
        joints_m = doubled["joints_m"] + doubled["root_m"][:, :, None]
        joints_px = project(joints_m, doubled["intrinsics"], perspective)
        assert (joints_px - torch.from_numpy(sample.joints_px)).abs().max() < 2e-3
        place = {name: doubled[name] for name in ("centre_m", "cube_m", "intrinsics")}
        view = View(**place, perspective=perspective, crop_from_picture=doubled["intrinsics"], usable=torch.ones(1, 4, dtype=torch.bool))
        px, back_m = joints_from_uvd(uvd_from_joints(joints_px, joints_m[..., 2], view, scale), view, scale)
        assert (back_m - joints_m).abs().max() < 1e-7 and (px - joints_px).abs().max() < 1e-9
        assert batch is None or torch.equal(batch.joints_px[0], torch.from_numpy(sample.joints_px))


@pytest.mark.parametrize("degrees", [0.0, 25.0, -140.0])
def test_the_hand_in_the_crop_is_where_its_labels_are(source: DatasetClips, degrees: float) -> None:
    """Where a joint's pixel shows the hand, the surface lies before the joint and not farther than a finger or palm is thick."""
    before_m = []
    for position in range(4):
        sample = turned(source.read(position), degrees)
        z = sample.joints_m[..., 2] + sample.root_m[:, None, 2]
        column, row = np.moveaxis(np.rint(sample.joints_px).astype(int), -1, 0)
        inside = ((column >= 0) & (column < 64) & (row >= 0) & (row < 64))[..., None].all(-1)
        seen = sample.depth[np.arange(len(z))[:, None], row.clip(0, 63), column.clip(0, 63)]
        surface = seen * sample.cube_m[:, None] / 2 + sample.centre_m[:, None, 2]
        before_m.append((z - surface)[inside & (np.abs(seen) < 1)])
    before_m = np.concatenate(before_m)
    assert len(before_m) > 50 and 0.003 < np.median(before_m) < 0.02 and (before_m > -0.01).mean() > 0.95


def test_a_turn_in_the_picture_turns_labels_and_points_exactly(source: DatasetClips) -> None:
    """By 90 degrees from x to y: crops are the same pixels, joints and points the same numbers turned about the cube's centre."""
    for position in range(4):
        clip = source.read(position)
        for input in (DEPTH, POINTS):
            straight, about = turned(clip, 0, input), turned(clip, 90, input)
            sign = -1 if clip.side == "left" else 1  # in the mirror the picture turns the other way
            for one, other in ((_from_centre(straight), _from_centre(about)), (straight.joints_m, about.joints_m)):
                x, y, z = np.moveaxis(one, -1, 0)
                np.testing.assert_allclose(other, np.stack([-sign * y, sign * x, z], -1), atol=1e-7)
        if clip.side == "right":
            u, v = np.moveaxis(turned(clip, 0).joints_px, -1, 0)
            np.testing.assert_allclose(turned(clip, 90).joints_px, np.stack([63 - v, u], -1), atol=1e-3)


def _from_centre(sample: Sample) -> np.ndarray:
    return sample.joints_m + sample.root_m[:, None] - sample.centre_m[:, None]


@pytest.mark.parametrize("degrees", [0.0, 30.0])
def test_every_point_is_a_pixel_of_the_picture(source: DatasetClips, degrees: float) -> None:
    """Back through the sample's camera and crop, turned and mirrored as they are: a whole pixel, with the depth that it has."""
    for position in range(4):
        clip, sample = source.read(position), turned(source.read(position), degrees, POINTS)
        points_m = sample.points * sample.cube_m[:, None, None] + sample.centre_m[:, None]
        tensors = (torch.from_numpy(values)[None].double() for values in (points_m, sample.intrinsics))
        px = to_picture(project(*tensors, torch.tensor([sample.perspective]))[0].numpy(), sample.crop_from_picture)
        column, row = np.moveaxis(np.rint(px).astype(int), -1, 0)
        assert np.abs(px - np.rint(px)).max() < 0.01 and sample.usable.all()
        np.testing.assert_allclose(clip.depth_tenth_mm[np.arange(4)[:, None], row, column] * 1e-4, points_m[..., 2], atol=1e-6)


def test_a_left_hand_is_the_right_hand_in_the_mirror(source: DatasetClips) -> None:
    clip = next(clip for clip in map(source.read, range(4)) if clip.side == "left")
    width = clip.depth_tenth_mm.shape[2]
    flip_m, intrinsics = np.float32([-1, 1, 1]), clip.intrinsics.copy()
    intrinsics[:, 0, 2] = width - 1 - intrinsics[:, 0, 2]
    flipped_px = clip.joints_px * np.float32([-1, 1]) + np.float32([width - 1, 0])
    twin = replace(
        clip, side="right", depth_tenth_mm=clip.depth_tenth_mm[:, :, ::-1].copy(), joints_m=clip.joints_m * flip_m, joints_px=flipped_px, intrinsics=intrinsics
    )
    ours, theirs = make_depth_sample(clip, DEPTH), make_depth_sample(twin, DEPTH)
    assert (ours.depth != theirs.depth).mean() < 5e-3  # a place half-way between two pixels goes to either
    for name, tolerance in {"joints_m": 1e-6, "root_m": 1e-6, "centre_m": 1e-6, "joints_px": 1e-3, "intrinsics": 2e-3}.items():
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), atol=tolerance, err_msg=name)


def test_a_frame_without_a_hand_teaches_nothing(source: DatasetClips) -> None:
    clip = source.read(0)
    empty = clip.depth_tenth_mm.copy()
    empty[1] = 0
    for input in (DEPTH, POINTS):
        sample = make_depth_sample(replace(clip, depth_tenth_mm=empty), input)
        assert sample.usable.tolist() == [True, False, True, True]
        assert not sample.joints_valid[1].any() and sample.joints_valid[[0, 2, 3]].all()
    assert (make_depth_sample(replace(clip, depth_tenth_mm=empty), DEPTH).depth[1] == 1).all()


def test_the_same_frame_gives_the_same_points(source: DatasetClips) -> None:
    clip = source.read(0)
    whole = make_depth_sample(clip, POINTS)
    last = make_depth_sample(source.read(0, [3]), POINTS)
    np.testing.assert_array_equal(whole.points[3], last.points[0])


def test_what_a_network_of_depth_cannot_do_without(source: DatasetClips) -> None:
    clip = source.read(0)
    with pytest.raises(UserError, match="has no depth pictures; give a data set with depth"):
        make_depth_sample(replace(clip, depth_tenth_mm=None), DEPTH)
    with pytest.raises(UserError, match="its camera is not known"):
        make_depth_sample(replace(clip, intrinsics=None), DEPTH)
    with pytest.raises(UserError, match="no joint has a label"):
        find_cubes(replace(clip, joints_valid=np.zeros_like(clip.joints_valid)), DEPTH)


@pytest.mark.parametrize("perspective", [True, False])
def test_projection_and_its_inverse(perspective: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(2, 3, 5, 3, generator=generator, dtype=torch.double) * 0.1 + torch.tensor([0, 0, 0.6])
    intrinsics = torch.eye(3, dtype=torch.double).repeat(2, 3, 1, 1)
    intrinsics[..., :2, :] = 100 * torch.randn(2, 3, 2, 3, generator=generator, dtype=torch.double)
    kinds = torch.tensor([perspective, not perspective])
    px = project(points, intrinsics, kinds)
    torch.testing.assert_close(unproject(px, points[..., 2], intrinsics, kinds), points, atol=1e-9, rtol=0)
    clip = 0 if perspective else 1
    by_hand = torch.einsum("tij,tnj->tni", intrinsics[clip], points[clip])
    torch.testing.assert_close(px[clip], by_hand[..., :2] / by_hand[..., 2:])
