"""Prediction from depth: pictures, clouds and data sets of the same hands are answered alike, and what cannot be used is told and passed over."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from runs import small_config

from seqgen.dataset import open_dataset
from seqgen.dataset.clips import DatasetClips
from seqgen.dataset.png import encode_png
from seqgen.errors import UserError
from seqgen.estimators import ESTIMATORS
from seqgen.estimators.centre import refined, shipped_network
from seqgen.estimators.centre_network import CentreNetwork
from seqgen.estimators.checkpoint import LoadedEstimator, new_estimator
from seqgen.estimators.views.cube import CubeConfig, mass_of_points, picture_points
from seqgen.estimators.views.depth_sample import find_cubes
from seqgen.estimators.views.feed import batch_of
from seqgen.pipeline.run import generate_dataset
from seqgen.prediction import depth_predict
from seqgen.prediction.depth_frames import DepthFrame, open_depth, parse_intrinsics, read_cloud, read_depth
from seqgen.prediction.depth_predict import PASSES, find_centre, predict_depth_stream
from seqgen.prediction.depth_run import predict_depth_into

Array = np.ndarray
SMALL = {"srn": {"width": 0.125}, "jgr_p2o": {"channels": 16}, "handr2n2": {"iterations": 1}}


def loaded(name: str, **input: object) -> LoadedEstimator:
    """An untrained network, whose joints differ from hand to hand all the same."""
    torch.manual_seed(0)
    kind = ESTIMATORS[name]
    return LoadedEstimator(new_estimator(kind.config(**SMALL[name])).eval(), kind.input(**input), {})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of right hands."""
    directory = tmp_path_factory.mktemp("data")
    generate_dataset(small_config(sequences=2, split={"train": 2, "val": 0, "test": 0}, arm={"kind": "none"}, occluder={"share": 0.0}), directory)
    return directory


def as_files(data: Path, folder: Path, *, unit_m: float = 1e-4) -> tuple[Array, dict[str, list[float]]]:
    """The depth of the first clip as PNGs in a folder; its camera, and the centres that its labels give."""
    clip = DatasetClips(open_dataset(data), pictures=("depth",)).read(0)
    folder.mkdir()
    for frame, depth in enumerate(clip.depth_tenth_mm):
        (folder / f"{frame}.png").write_bytes(encode_png(np.rint(depth * (1e-4 / unit_m)).astype(np.uint16)))
    return clip.intrinsics[0].astype(float), {f"{frame}.png": joints.mean(0).astype(float).tolist() for frame, joints in enumerate(clip.joints_m)}


def table(out: Path) -> dict[str, dict]:
    return json.loads((out / "predictions.json").read_text())


@pytest.mark.parametrize("name", SMALL)
def test_a_data_set_is_predicted_as_it_is_evaluated(name: str, data: Path, tmp_path: Path) -> None:
    network = loaded(name)
    assert predict_depth_into(network, data, tmp_path) == (8, 0)
    clips = DatasetClips(open_dataset(data), pictures=("depth",))
    with torch.no_grad():
        said = network.estimator.prediction(network.estimator(batch_of([clips.read(0)], network.input)))
    for frame, joints_m in enumerate(said.joints_m[0].numpy()):
        one = table(tmp_path)[f"{clips.key(0)}.{frame:03d}"]
        np.testing.assert_allclose(one["joints_m"], joints_m, atol=2e-5)
        np.testing.assert_allclose(one["root_m"], said.root_m[0, frame].numpy(), atol=2e-5)
        assert one["centre_from"] == "given" and len(one["joints_px"]) == 21
    assert len(list((tmp_path / "overlays").glob("*.jpg"))) == 2


def test_pictures_of_either_unit_are_predicted_as_their_data_set(data: Path, tmp_path: Path) -> None:
    network = loaded("srn")
    predict_depth_into(network, data, tmp_path / "ours")
    intrinsics, centres = as_files(data, tmp_path / "png")
    (tmp_path / "centres.json").write_text(json.dumps(centres))
    given = {"center": tmp_path / "centres.json", "intrinsics": intrinsics}
    assert predict_depth_into(network, tmp_path / "png", tmp_path / "out", unit_m=1e-4, **given) == (4, 0)
    ours = list(table(tmp_path / "ours").values())[:4]
    for one, other in zip(table(tmp_path / "out").values(), ours, strict=True):
        np.testing.assert_allclose(one["joints_px"], other["joints_px"], atol=0.02)
        np.testing.assert_allclose(one["root_m"], other["root_m"], atol=3e-5)
    assert {path.name for path in (tmp_path / "out" / "overlays").iterdir()} == {f"{frame}.jpg" for frame in range(4)}
    as_files(data, tmp_path / "mm", unit_m=1e-3)
    predict_depth_into(network, tmp_path / "mm", tmp_path / "rounded", **given)
    np.testing.assert_allclose(table(tmp_path / "rounded")["0.png"]["root_m"], ours[0]["root_m"], atol=2e-3)


@pytest.mark.parametrize("suffix", ["ply", "npy"])
def test_clouds_are_predicted_as_the_pictures_they_are_of(suffix: str, data: Path, tmp_path: Path) -> None:
    """Points in any order: the network does not look at it. There are no pixels."""
    network = loaded("handr2n2", num_points=4096)
    intrinsics, centres = as_files(data, tmp_path / "png")
    (tmp_path / "centres.json").write_text(json.dumps(centres))
    predict_depth_into(network, tmp_path / "png", tmp_path / "of pictures", center=tmp_path / "centres.json", intrinsics=intrinsics, unit_m=1e-4)
    (tmp_path / "clouds").mkdir()
    rng = np.random.default_rng(0)
    for path in sorted((tmp_path / "png").iterdir()):
        points = rng.permutation(picture_points(read_depth(path, unit_m=1e-4), intrinsics, "perspective")).astype(np.float32)
        target = tmp_path / "clouds" / f"{path.stem}.{suffix}"
        if suffix == "npy":
            np.save(target, points)
        else:
            trimesh.PointCloud(points).export(target)
    (tmp_path / "centres.json").write_text(json.dumps({f"{Path(name).stem}.{suffix}": centre for name, centre in centres.items()}))
    assert predict_depth_into(network, tmp_path / "clouds", tmp_path / "of clouds", center=tmp_path / "centres.json") == (4, 0)
    for one, other in zip(table(tmp_path / "of clouds").values(), table(tmp_path / "of pictures").values(), strict=True):
        np.testing.assert_allclose(one["joints_m"], other["joints_m"], atol=2e-3)  # which of more points than fit are drawn depends on their order
        assert one["joints_px"] is None
    assert not (tmp_path / "of clouds" / "overlays").exists()


@pytest.mark.parametrize(("centre", "suffix"), [("mass", ""), ("joints", ", refined"), ("refined", ", refined")])
def test_the_centre_is_found_and_followed(centre: str, suffix: str, data: Path, tmp_path: Path) -> None:
    """Of a hand alone: the cube about it holds all joints. Networks taught with cubes about the joints, or nearly, get refined ones."""
    intrinsics, _ = as_files(data, tmp_path / "png")
    predict_depth_into(loaded("jgr_p2o", centre=centre), tmp_path / "png", tmp_path / "out", intrinsics=intrinsics, unit_m=1e-4)
    joints_m = DatasetClips(open_dataset(data), pictures=("depth",)).read(0).joints_m
    for joints, one in zip(joints_m, table(tmp_path / "out").values(), strict=True):
        assert np.abs(joints - one["centre_m"]).max() < 0.125
    assert [one["centre_from"] for one in table(tmp_path / "out").values()] == [way + suffix for way in ("found", "followed", "followed", "followed")]


@pytest.mark.parametrize("left", [False, True])
def test_the_centre_that_is_found_is_that_of_evaluation_refined_again(left: bool, data: Path) -> None:
    """The mass of the whole picture is that of a box that is not known; the refined one needs more passes, for it may begin at the elbow."""
    side = "left" if left else "right"
    clip = replace(DatasetClips(open_dataset(data), pictures=("depth",)).read(0, [0]), side=side, box_px=np.zeros((1, 4), np.float32))
    frame = DepthFrame("0", depth_tenth_mm=clip.depth_tenth_mm[0], intrinsics=clip.intrinsics[0].astype(float))
    mass, once = (find_cubes(clip, CubeConfig(centre=name)) for name in ("mass", "refined"))
    again = refined(once, clip.depth_tenth_mm, clip.intrinsics, clip.camera_kind, left=left, network=shipped_network(), passes=PASSES["found"] - 1)
    for name, expected, way in (("mass", mass, "found"), ("refined", again, "found, refined"), ("joints", again, "found, refined")):
        found_m, found_from, problem = find_centre(frame, CubeConfig(centre=name), left=left)
        np.testing.assert_allclose(found_m, expected.centre_m[0], atol=1e-6)
        assert problem is None and found_from == way


def test_what_is_refined_is_followed_from_the_joints(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not from a mass, which is that of the arm too: by a network that moves nothing, the next cube is where the joints were. Where nothing is left it is found anew."""
    monkeypatch.setattr(depth_predict, "shipped_network", lambda: CentreNetwork().eval())
    clip = DatasetClips(open_dataset(data), pictures=("depth",)).read(0)
    frames = [DepthFrame(str(frame), depth_tenth_mm=clip.depth_tenth_mm[frame], intrinsics=clip.intrinsics[frame].astype(float)) for frame in range(2)]
    first, second = predict_depth_stream(loaded("srn", centre="refined"), frames)
    assert (first.centre_from, second.centre_from) == ("found, refined", "followed, refined")
    np.testing.assert_allclose(second.centre_m, (first.joints_m + first.root_m).mean(0), atol=1e-7)
    found_m, way, _ = find_centre(frames[1], CubeConfig(centre="refined"), left=False, last_m=second.centre_m + 1.0)
    assert way == "found, refined" and np.abs(found_m - second.centre_m).max() < 0.125


@pytest.mark.parametrize(("centre", "way"), [("joints", "given"), ("mass", "found"), ("refined", "found, refined")])
def test_of_a_data_set_it_is_said_where_its_centres_are_from(centre: str, way: str, data: Path, tmp_path: Path) -> None:
    """What `find_cubes` made of its labels, unless the user gives the centre of a frame."""
    source = DatasetClips(open_dataset(data), pictures=("depth",))
    network, name = loaded("srn", centre=centre), f"{source.key(0)}.001"
    (tmp_path / "centres.json").write_text(json.dumps({name: source.read(0).joints_m[1].mean(0).astype(float).tolist()}))
    predict_depth_into(network, data, tmp_path / "out", center=tmp_path / "centres.json", overlays=False)
    said = table(tmp_path / "out")
    assert {key for key, one in said.items() if one["centre_from"] != way} == ({name} if centre != "joints" else set()) and said[name]["centre_from"] == "given"
    np.testing.assert_allclose([said[f"{source.key(0)}.{frame:03d}"]["centre_m"] for frame in (0, 2, 3)], find_cubes(source.read(0), network.input).centre_m[[0, 2, 3]], atol=1e-5)


def test_clouds_have_no_picture_to_refine_their_centre_with(data: Path, tmp_path: Path) -> None:
    intrinsics, _ = as_files(data, tmp_path / "png")
    points = picture_points(read_depth(tmp_path / "png" / "0.png", unit_m=1e-4), intrinsics, "perspective").astype(np.float32)
    [said] = predict_depth_stream(loaded("handr2n2", centre="refined"), [DepthFrame("0", points_m=points)])
    assert said.centre_from == "found"
    np.testing.assert_array_equal(said.centre_m, mass_of_points(points.astype(float), 0.25))


def test_what_cannot_be_used_is_told_and_passed_over(data: Path, tmp_path: Path) -> None:
    intrinsics, _ = as_files(data, tmp_path / "png")
    whole = np.array(Image.open(tmp_path / "png" / "0.png"))
    (tmp_path / "png" / "1.png").write_bytes(encode_png(np.zeros_like(whole)))
    (tmp_path / "png" / "2.png").write_bytes(encode_png(np.where(np.arange(whole.size).reshape(whole.shape) < 9, np.uint16(5000), np.uint16(0))))
    told: list[str] = []
    assert predict_depth_into(loaded("srn"), tmp_path / "png", tmp_path / "out", intrinsics=intrinsics, unit_m=1e-4, warn=told.append) == (4, 2)
    said = table(tmp_path / "out")
    assert list(said) == ["0.png", "1.png", "2.png", "3.png"] and said["1.png"]["skipped"] == "only 0 of its pixels have a depth"
    assert said["2.png"]["skipped"].startswith("only 9") and "joints_m" in said["3.png"] and said["3.png"]["centre_from"] == "found, refined"
    assert told == [f"{name}: skipped: {said[name]['skipped']}" for name in ("1.png", "2.png")]


def test_intrinsics_that_cannot_be_are_told_by_the_hands_width(data: Path, tmp_path: Path) -> None:
    intrinsics, _ = as_files(data, tmp_path / "png")
    wrong = intrinsics * np.array([[0.03, 1, 1], [1, 0.03, 1], [1, 1, 1]])
    with pytest.raises(UserError, match=r"none of 4 frames could be used; of 0.png: what is nearest would be \d[\d.]* m wide, .*--intrinsics"):
        predict_depth_into(loaded("srn"), tmp_path / "png", tmp_path / "out", intrinsics=wrong, unit_m=1e-4)


def test_a_left_hand_is_the_right_hand_in_the_mirror(data: Path) -> None:
    clip = DatasetClips(open_dataset(data), pictures=("depth",)).read(0)
    frame = DepthFrame("0", depth_tenth_mm=clip.depth_tenth_mm[0], intrinsics=clip.intrinsics[0].astype(float), centre_m=clip.joints_m[0].mean(0).astype(float))
    flipped_k = frame.intrinsics.copy()
    flipped_k[0, 2] = clip.size[0] - 1 - flipped_k[0, 2]
    flip = np.array([-1.0, 1, 1])
    twin = replace(frame, depth_tenth_mm=np.ascontiguousarray(frame.depth_tenth_mm[:, ::-1]), intrinsics=flipped_k, centre_m=frame.centre_m * flip)
    [right], [left] = (list(predict_depth_stream(loaded("handr2n2", num_points=4096), [one], side=side)) for one, side in ((frame, "right"), (twin, "left")))
    np.testing.assert_allclose(left.joints_m, right.joints_m * flip, atol=1e-5)
    np.testing.assert_allclose(left.root_m, right.root_m * flip, atol=1e-5)
    np.testing.assert_allclose(left.joints_px, right.joints_px * [-1, 1] + [clip.size[0] - 1, 0], atol=0.02)


def test_mistakes_are_one_line(data: Path, tmp_path: Path) -> None:
    intrinsics, centres = as_files(data, tmp_path / "png")
    (tmp_path / "rgb").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "rgb" / "a.png")
    np.save(tmp_path / "flat.npy", np.zeros((4, 2)))
    np.save(tmp_path / "mm.npy", np.full((100, 3), 500.0))
    (tmp_path / "broken.ply").write_text("ply\nnothing")
    (tmp_path / "empty").mkdir()
    cases = [
        (lambda: open_depth(tmp_path / "png"), "need their camera; give --intrinsics"),
        (lambda: open_depth(tmp_path / "empty"), "holds no depth picture .* and no point cloud"),
        (lambda: read_depth(tmp_path / "rgb" / "a.png", unit_m=1e-3), "is a picture of mode RGB; depth is one channel of 16 bits"),
        (lambda: read_cloud(tmp_path / "flat.npy"), r"of shape \(4, 2\); a point cloud is numbers \(points, 3\)"),
        (lambda: read_cloud(tmp_path / "mm.npy"), "a point is 500 from the camera; points are in metres"),
        (lambda: read_cloud(tmp_path / "broken.ply"), "broken.ply: cannot be read as a point cloud"),
        (lambda: parse_intrinsics("500,500,320"), "expected fx,fy,cx,cy"),
        (lambda: parse_intrinsics("500,-500,320,240"), "focal lengths must be positive"),
        (lambda: list(predict_depth_stream(loaded("srn"), [DepthFrame("a", points_m=np.ones((20, 3), np.float32))])), "is a point cloud, but the network srn sees depth pictures"),
        (lambda: predict_depth_into(loaded("srn"), data, tmp_path / "o", intrinsics=intrinsics), "--intrinsics and --depth-unit are for depth pictures"),
    ]
    for mistake, message in cases:
        with pytest.raises(UserError, match=message):
            mistake()
    for wrong, message in ((["a"], "is not a table of centres"), ({"x.png": [0, 0, 1]}, "has a centre for x.png, which"), ({"0.png": [0, 0, -1]}, "the centre of 0.png is")):
        (tmp_path / "centres.json").write_text(json.dumps(wrong))
        with pytest.raises(UserError, match=message):
            predict_depth_into(loaded("srn"), tmp_path / "png", tmp_path / "o", center=tmp_path / "centres.json", intrinsics=intrinsics)
    assert set(centres) == {f"{frame}.png" for frame in range(4)}
