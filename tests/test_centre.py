"""Centres moved by a network: along the camera's axes, in the mirror for left hands, frame by frame; what it is taught with; and the network that ships."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import small_config

from seqgen.config import find_config, overlay, read_toml
from seqgen.dataset import open_dataset
from seqgen.dataset.clip import LabelledClip
from seqgen.dataset.clips import DatasetClips
from seqgen.errors import UserError
from seqgen.estimators import build_centre
from seqgen.estimators.build_centre import train_centre, worn
from seqgen.estimators.centre import SHIPPED, SIZE, centre_crops, load_centre_network, refined, save_centre_network, shipped_network
from seqgen.estimators.centre_lessons import NOTHING, Lessons, as_levels, gather_lessons, lessons_of_clip
from seqgen.estimators.centre_network import CentreNetwork
from seqgen.estimators.views import depth_sample
from seqgen.estimators.views.cube import CubeConfig, Cubes
from seqgen.estimators.views.depth_sample import find_cubes
from seqgen.files import file_digest
from seqgen.pipeline.process import one_thread
from seqgen.pipeline.run import generate_dataset
from seqgen.training.config import train_config

Array = np.ndarray
Network = Callable[[torch.Tensor], torch.Tensor]
MASS, REFINED = CubeConfig(centre="mass"), CubeConfig(centre="refined")
K = np.array([[200.0, 0, 79.5], [0, 200, 59.5], [0, 0, 1]])
EDGE_M = 0.25


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight clips of both sides, as a depth camera saw them too."""
    directory = tmp_path_factory.mktemp("centre")
    generate_dataset(small_config(seed=5, sequences=8, clip={"frames": 4, "size": (160, 120)}, hand={"left": 0.5}, sensor={"depth": "sr300"}), directory)
    return directory


@pytest.fixture(scope="module")
def clips(data: Path) -> list[LabelledClip]:
    source = DatasetClips(open_dataset(data), pictures=("depth",))
    assert {source.read(position).side for position in range(8)} == {"left", "right"}
    return [source.read(position) for position in range(8)]


def taught_a_little() -> CentreNetwork:
    """A network whose offsets differ from crop to crop and from zero."""
    torch.manual_seed(0)
    network = CentreNetwork().eval().requires_grad_(False)
    torch.nn.init.normal_(network.head[-1].weight, std=0.5)
    return network


def says(*offset: float) -> Network:
    return lambda crops: torch.tensor([offset]).expand(len(crops), 3)


def points_at_what_is_seen(crops: torch.Tensor) -> torch.Tensor:
    """An oracle for pictures with one small thing: the middle of its pixels, whose places run from -1 to 1 over the crop, and their mean depth."""
    there, along = crops[:, 0] < 1, (torch.arange(SIZE) - (SIZE - 1) / 2) * 2 / SIZE
    count = there.sum((1, 2))
    u, v = ((there * grid).sum((1, 2)) / count for grid in torch.meshgrid(along, along, indexing="xy"))
    return torch.stack([u, v, torch.where(there, crops[:, 0], 0).sum((1, 2)) / count], 1)


def a_patch(column: int, row: int, z_mm: int = 500) -> Array:
    """A square of 9 pixels about a pixel, at one depth, and nothing else."""
    picture = np.zeros((120, 160), np.uint16)
    picture[row - 4 : row + 5, column - 4 : column + 5] = 10 * z_mm
    return picture


def cube_about(*centre_m: float, edge_m: float = EDGE_M) -> Cubes:
    return Cubes(np.array([centre_m]), np.array([edge_m]))


def with_network(monkeypatch: pytest.MonkeyPatch, network: Network) -> None:
    monkeypatch.setattr(depth_sample, "shipped_network", lambda: network)


@pytest.mark.parametrize("kind", ["perspective", "weak_perspective"])
@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize(("edge_m", "seen_m"), [(0.25, 0.25), (0.2, 0.2), (0.15, 0.2), (0.5, 0.3)])
def test_an_offset_goes_along_the_cameras_axes_in_half_cubes(kind: str, left: bool, edge_m: float, seen_m: float) -> None:
    """Of left hands it was said in the mirror. Cubes beyond those taught are looked at as the nearest of these, and keep their own edge."""
    cubes = cube_about(0.02, -0.01, 0.5, edge_m=edge_m)
    moved = refined(cubes, a_patch(80, 60)[None], K[None], kind, left=left, network=says(0.2, -0.4, 0.5))
    by = np.array([-0.2 if left else 0.2, -0.4, 0.5]) * seen_m / 2
    np.testing.assert_allclose(moved.centre_m - cubes.centre_m, [by], atol=1e-8)
    np.testing.assert_array_equal(moved.edge_m, cubes.edge_m)


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("column", [60, 95])
def test_what_is_seen_is_where_the_offset_leads(left: bool, column: int) -> None:
    """A patch beside the cube's middle and at the depth of it: an oracle that points at it brings the cube there, to half a pixel of picture and crop."""
    there = np.array([(column - K[0, 2]) / 200 * 0.5, (52 - K[1, 2]) / 200 * 0.5, 0.5])
    moved = refined(cube_about(0.003, 0.002, 0.5), a_patch(column, 52)[None], K[None], "perspective", left=left, network=points_at_what_is_seen)
    np.testing.assert_allclose(moved.centre_m, [there], atol=0.5 * (0.5 / 200 + EDGE_M / SIZE))


def test_a_left_hand_is_moved_as_the_right_hand_in_the_mirror(clips: list[LabelledClip]) -> None:
    network = taught_a_little()
    clip = clips[0]
    cubes = find_cubes(clip, MASS)
    flip_m, flipped_k = np.array([-1, 1, 1]), clip.intrinsics.astype(float)
    flipped_k[:, 0, 2] = clip.size[0] - 1 - flipped_k[:, 0, 2]
    twin = Cubes(cubes.centre_m * flip_m, cubes.edge_m)
    ours = refined(cubes, clip.depth_tenth_mm, clip.intrinsics, "perspective", left=False, network=network)
    theirs = refined(twin, np.ascontiguousarray(clip.depth_tenth_mm[:, :, ::-1]), flipped_k, "perspective", left=True, network=network)
    assert np.abs(ours.centre_m - cubes.centre_m).min() > 1e-4
    np.testing.assert_allclose(theirs.centre_m * flip_m, ours.centre_m, atol=1e-6)


def test_an_untaught_network_leaves_the_mass_alone(clips: list[LabelledClip], monkeypatch: pytest.MonkeyPatch) -> None:
    with_network(monkeypatch, CentreNetwork().eval())
    for clip in clips:
        np.testing.assert_array_equal(find_cubes(clip, REFINED).centre_m, find_cubes(clip, MASS).centre_m)


def test_points_have_the_cubes_of_pictures(clips: list[LabelledClip]) -> None:
    for clip in clips[:2]:
        np.testing.assert_array_equal(find_cubes(clip, CubeConfig(kind="points", centre="refined")).centre_m, find_cubes(clip, REFINED).centre_m)


def test_a_frame_alone_is_as_in_its_clip(data: Path) -> None:
    source = DatasetClips(open_dataset(data), pictures=("depth_sensor",))
    for position in range(8):
        whole = find_cubes(source.read(position), REFINED).centre_m
        for frame in range(4):
            np.testing.assert_array_equal(find_cubes(source.read(position, [frame]), REFINED).centre_m[0], whole[frame])


def test_where_nothing_is_found_nothing_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a frame has the place of the one before, that one's as it was moved; the first the place half a metre before the camera."""
    with_network(monkeypatch, says(0.0, 0.0, 0.8))
    empty, moved = np.zeros((120, 160), np.uint16), [(80 - K[0, 2]) / 200 * 0.5, (60 - K[1, 2]) / 200 * 0.5, 0.6]
    frames = {"empty": empty, "hand": a_patch(80, 60)}
    for names, expected in ((("empty", "hand", "empty"), ([0, 0, 0.5], moved, moved)), (("empty", "empty"), ([0, 0, 0.5], [0, 0, 0.5]))):
        np.testing.assert_allclose(find_cubes(clip_of(np.stack([frames[name] for name in names])), REFINED).centre_m, expected, atol=1e-8)


def clip_of(depth: Array, joints_m: Array | None = None) -> LabelledClip:
    """A clip of these pictures, all joints of a frame in one place."""
    num = len(depth)
    joints = np.zeros((num, 21, 3), np.float32) if joints_m is None else np.repeat(joints_m.astype(np.float32)[:, None], 21, 1)
    known = {"joints_px": np.zeros((num, 21, 2), np.float32), "joints_valid": np.ones((num, 21), bool), "box_px": np.zeros((num, 4), np.float32)}
    camera = {"camera_kind": "perspective", "intrinsics": np.repeat(K[None].astype(np.float32), num, 0)}
    return LabelledClip(key="a", source="test", side="left", fps=30.0, rgb=None, depth_tenth_mm=depth, joints_m=joints, **known, **camera)


def test_lessons_say_where_the_joints_are() -> None:
    """Of a patch in the middle of which all joints are: the oracle reads from each crop, turned, shifted and mirrored, what its lesson asks for."""
    place = np.array([(70 - K[0, 2]) / 200 * 0.5, (65 - K[1, 2]) / 200 * 0.5, 0.5])
    lessons = list(lessons_of_clip(clip_of(a_patch(70, 65)[None], place[None]), np.random.default_rng(0), 40))
    levels, offset = (np.stack(values) for values in zip(*lessons, strict=True))
    crops = torch.where(torch.from_numpy(levels) < NOTHING, torch.from_numpy(levels) / 127.5 - 1, 1.0)[:, None]
    assert len(lessons) == 40 and np.abs(offset).max(0).min() > 0.1  # of 20 mm in half cubes of 100 to 150 mm
    np.testing.assert_allclose(points_at_what_is_seen(crops), offset, atol=0.5 * (0.5 / 200 / 0.1 + 2 / SIZE))


def test_levels_tell_nothing_from_something_and_depth_to_half_a_step() -> None:
    crops = np.concatenate([np.linspace(-1, 0.999, SIZE**2 - 1), [1]]).astype(np.float32).reshape(1, SIZE, SIZE)
    levels = as_levels(crops)
    assert (levels == NOTHING).sum() == 1 and levels[0, -1, -1] == NOTHING
    inside = crops < 0.99
    np.testing.assert_allclose((levels / 127.5 - 1)[inside], crops[inside], atol=0.5 / 127.5 + 1e-6)


def test_wear_makes_holes_and_noise_but_no_hands() -> None:
    levels = torch.full((64, SIZE, SIZE), 127, dtype=torch.uint8)
    levels[:, :, SIZE // 2 :] = NOTHING
    crops = worn(levels, torch.Generator().manual_seed(0))[:, 0]
    assert (crops[..., SIZE // 2 :] == 1).all()
    lost = (crops[..., : SIZE // 2] == 1).float().mean((1, 2))
    assert lost.max() < 0.33 and 16 <= int((lost == 0).sum()) <= 48
    assert torch.equal(crops, worn(levels, torch.Generator().manual_seed(0))[:, 0])


def test_teaching_lowers_the_loss(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_centre, "BATCH", 32)
    torch.manual_seed(0)
    lessons, network = gather_lessons([open_dataset(data)], np.random.default_rng(0), looks=1), CentreNetwork()
    crops, offset = torch.from_numpy(lessons.levels / 127.5 - 1).float()[:, None], torch.from_numpy(lessons.offset)

    def error() -> float:
        with torch.no_grad():  # with the statistics of these crops: those that training keeps lag behind
            return float((network.train()(crops) - offset).abs().mean())

    with one_thread():
        before = error()
        train_centre(lessons, network, num_steps=40, generator=torch.Generator().manual_seed(0))
        assert error() < 0.6 * before


def test_both_kinds_of_depth_teach(data: Path) -> None:
    lessons = gather_lessons([open_dataset(data)], np.random.default_rng(0), looks=1)
    assert isinstance(lessons, Lessons) and 32 < len(lessons.levels) <= 8 * 4 * 2


def test_a_network_is_kept_and_read_back(tmp_path: Path) -> None:
    network = taught_a_little().half().float()  # it is kept in half precision
    save_centre_network(network, tmp_path / "a.safetensors")
    crops = torch.rand(2, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(0))
    assert torch.equal(load_centre_network(tmp_path / "a.safetensors")(crops), network(crops))
    with pytest.raises(UserError, match="no such centre network"):
        load_centre_network(tmp_path / "b.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="not a centre network"):
        load_centre_network(tmp_path / "b.safetensors")


def test_the_shipped_network_is_the_measured_one() -> None:
    """docs/benchmarks/centre.md names the file that it measured."""
    page = (Path(__file__).parent.parent / "docs" / "benchmarks" / "centre.md").read_text(encoding="utf-8")
    assert re.findall(r"\b[0-9a-f]{64}\b", page) == [hashlib.sha256(SHIPPED.read_bytes()).hexdigest()]
    assert SHIPPED.stat().st_size < 1_000_000 and not shipped_network().training and shipped_network() is shipped_network()


def test_the_shipped_network_brings_centres_nearer(clips: list[LabelledClip]) -> None:
    """Clips that it was not taught with: half of the way that the centre of mass is off, at least."""
    errors = {input.centre: np.concatenate([find_cubes(clip, input).centre_m - clip.joints_m.mean(1) for clip in clips]) for input in (MASS, REFINED)}
    mass, moved = (np.linalg.norm(errors[name], axis=1).mean() for name in ("mass", "refined"))
    assert moved < mass / 2


def test_crops_are_turned_about_the_cubes_centre(clips: list[LabelledClip]) -> None:
    """By a quarter from x to y, of either side, the same pixels; the reported turn takes x to y, in the mirror to -x."""
    clip = clips[0]
    cubes = find_cubes(clip, MASS)
    for left in (False, True):
        (straight, _), (about, turn) = (
            centre_crops(cubes, clip.depth_tenth_mm, clip.intrinsics, "perspective", left=left, turn_rad=angle) for angle in (0.0, np.pi / 2)
        )
        np.testing.assert_array_equal(about, np.rot90(straight, 1 if left else -1, (1, 2)))
        np.testing.assert_allclose(turn, np.broadcast_to([[0, 1], [1, 0]] if left else [[0, -1], [1, 0]], turn.shape), atol=1e-12)


def test_a_run_knows_the_network_that_refined_its_centres() -> None:
    """By its digest, where there is one: else a resumed run could go on with another."""
    tables = overlay(read_toml(find_config("srn", "train")), "input.centre", "refined")
    content = train_config(tables, where="here").content()
    assert content["centre_network"] == file_digest(SHIPPED)
    assert "centre_network" not in train_config(overlay(tables, "input.centre", "mass"), where="here").content()
