"""The networks of single frames as a user gives them: from clips to predictions on every joint set, from depth pictures and point clouds, and one clear line with
exit code 2 for each mistake. A frame that cannot be used is told and passed over."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from real_sets import write_folder
from safetensors.torch import load_file

from seqgen.cli import main
from seqgen.dataset import open_dataset
from seqgen.dataset.clips import DatasetClips
from seqgen.dataset.png import encode_png
from seqgen.estimators.checkpoint import read_record
from seqgen.estimators.views.cube import picture_points
from seqgen.joint_targets import TARGETS

Array = np.ndarray

CLIPS = "--workers 0 --sequences 6 --clip.frames 2 --clip.size 64,64 --poses.rows 1500 --split.train 2 --split.val 2 --split.test 2 --output.preview 0".split()
HANDS_ALONE = "--arm.kind none --occluder.share 0".split()
TWO_STEPS = "--run.epochs none --run.steps 2 --run.validate-every 1 --run.device cpu --run.threads 1".split()
FEW = "--data.reading.batch 2 --data.reading.frames 1 --data.reading.static false --data.reading.readers 0".split()
TINY = {
    "handr2n2": "--model.iterations 1 --model.neighbours 4 --input.num-points 128".split(),
    "srn": "--model.width 0.125 --input.size 64".split(),
    "jgr_p2o": "--model.channels 8 --input.size 32".split(),
    "jar": "--model.backbone resnet18 --model.width 0.125 --model.size 64 --model.hidden 8".split(),
}
SETS = {"canonical": 21, "msra": 21, "icvl": 16, "nyu": 14}
OF_DEPTH = ["handr2n2", "srn", "jgr_p2o"]


def call(*words: object) -> int:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(sys, "argv", ["seqgen", *map(str, words)])
        main()
    return stopped.value.code


def train(name: str, folder: Path, out: Path, *more: object) -> int:
    """Two steps of a small network of that name."""
    return call("train", name, "--data", folder / "clips", "--out", out, *TINY[name], *FEW, *TWO_STEPS, *more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in `clips`, and a run of each network on it, by its name."""
    folder = tmp_path_factory.mktemp("stills")
    assert call("generate", "--out", folder / "clips", *CLIPS, *HANDS_ALONE) == 0
    for name in TINY:
        assert train(name, folder, folder / name) == 0
    return folder


def first_clip(folder: Path) -> tuple[Array, Array, Array]:
    """Depth, intrinsics, and joints of the clip whose frames the tests write as files."""
    clip = DatasetClips(open_dataset(folder / "clips"), pictures=("depth",)).read(0)
    return clip.depth_tenth_mm, clip.intrinsics[0].astype(float), clip.joints_m


def camera(intrinsics: Array) -> str:
    """As --intrinsics takes it."""
    return ",".join(str(value) for value in (intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]))


def write_pngs(folder: Path, pictures: dict[str, Array]) -> Path:
    folder.mkdir()
    for name, counts in pictures.items():
        (folder / name).write_bytes(encode_png(counts))
    return folder


def table(out: Path) -> dict[str, dict]:
    return json.loads((out / "predictions.json").read_text())


@pytest.mark.parametrize("joints", SETS)
@pytest.mark.parametrize("name", TINY)
def test_every_network_on_every_joint_set(name: str, joints: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two steps, the same command again, the report, predictions of the data set. All joints of the set, by its names."""
    run = folder / name if joints == "canonical" else tmp_path / "run"
    assert train(name, folder, run, *(() if joints == "canonical" else ("--model.joints", joints))) == 0
    capsys.readouterr()
    assert train(name, folder, run, "--model.joints", joints) == 0
    assert "finished already, 2 steps" in capsys.readouterr().err
    assert call("evaluate", run / "best", folder / "clips", "--out", tmp_path / "report") == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["joint_set"] == joints and list(report["per_joint_mm"]) == list(TARGETS[joints].names) and len(report["per_joint_mm"]) == SETS[joints]
    assert report["measured"] == ("root_relative" if name == "jar" else "absolute") and report["counts"]["clips"] == 2 and report["mean_joint_error_mm"] > 0
    assert report["success_mean"].keys() == report["success_max"].keys() and len(report["success_max"]) > 1
    assert call("predict", run / "best", folder / "clips", "--out", tmp_path / "out", "--split", "test", "--no-overlays") == 0
    assert len(table(tmp_path / "out")) == 4 and {len(one["joints_m"]) for one in table(tmp_path / "out").values()} == {SETS[joints]}


@pytest.mark.parametrize("name", TINY)
def test_a_run_that_was_cut_short_goes_on(name: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the same bits as the one that was not."""
    from seqgen.training import train as training

    steps = iter((True, False))
    with monkeypatch.context() as patch:
        whole = training.training_mode

        def once(*of_step: object) -> None:
            if not next(steps):
                raise KeyboardInterrupt
            whole(*of_step)

        patch.setattr(training, "training_mode", once)
        assert train(name, folder, tmp_path / "run", "--run.checkpoint-every", 1) == 130
    assert train(name, folder, tmp_path / "run", "--run.checkpoint-every", 1) == 0
    one, other = (load_file(run / "last" / "weights.safetensors") for run in (folder / name, tmp_path / "run"))
    assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", TINY)
def test_what_is_frozen_stays_and_all_else_is_taught(name: str, folder: Path, tmp_path: Path) -> None:
    """Every weight and statistic is of one of the two parts: it changes when the other one is frozen, or none, and not when its own is."""
    start = folder / name / "last"
    tuning = ["--run.steps", 1, "--run.threads", 1, "--data.validation-clips", 0, "--data.reading.readers", 0, "--data.reading.batch", 2, "--optim.lr", 1e-2]
    before, changed = load_file(start / "weights.safetensors"), {}
    for frozen in ("none", "encoder", "head"):
        out = tmp_path / frozen
        assert call("finetune", "--from", start, "--data", folder / "clips", "--freeze", frozen, "--out", out, *tuning) == 0
        assert read_record(out / "last")["about"]["stages"][-1]["frozen"] == ([] if frozen == "none" else [frozen])
        after = load_file(out / "last" / "weights.safetensors")
        changed[frozen] = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed["encoder"] and changed["head"] and not changed["encoder"] & changed["head"]
    counters = {key for key in before if key.endswith("num_batches_tracked")}
    assert changed["none"] & counters == counters == (changed["encoder"] | changed["head"]) & counters


@pytest.mark.parametrize("name", OF_DEPTH)
def test_depth_pictures_of_either_unit(name: str, folder: Path, tmp_path: Path) -> None:
    """A count of 1 mm is ten of 0.1 mm: the same pictures, so the same hands, wherever the centre is from."""
    depth, intrinsics, joints_m = first_clip(folder)
    millimetres = {f"{frame}.png": np.rint(picture / 10).astype(np.uint16) for frame, picture in enumerate(depth)}
    fine = write_pngs(tmp_path / "fine", {key: counts * np.uint16(10) for key, counts in millimetres.items()})
    coarse = write_pngs(tmp_path / "coarse", millimetres)
    centres = {f"{frame}.png": joints.mean(0).astype(float).tolist() for frame, joints in enumerate(joints_m)}
    (tmp_path / "centres.json").write_text(json.dumps(centres))
    for center in ("auto", tmp_path / "centres.json"):
        for unit, pictures in (("0.1mm", fine), ("1mm", coarse)):
            shared = ["--intrinsics", camera(intrinsics), "--depth-unit", unit, "--center", center, "--out", tmp_path / unit]
            assert call("predict", folder / name / "best", pictures, *shared) == 0
        assert table(tmp_path / "1mm") == table(tmp_path / "0.1mm")
        assert {path.name for path in (tmp_path / "1mm" / "overlays").iterdir()} == {"0.jpg", "1.jpg"}
        said = table(tmp_path / "1mm")
        for (key, centre), joints in zip(centres.items(), joints_m, strict=True):
            assert len(said[key]["joints_px"]) == len(said[key]["joints_m"]) == 21
            if center == "auto":
                assert said[key]["centre_from"].startswith("found" if key == "0.png" else "followed") and np.abs(joints - said[key]["centre_m"]).max() < 0.125
            else:
                assert said[key]["centre_from"] == "given" and np.allclose(said[key]["centre_m"], centre, atol=1e-5)


@pytest.mark.parametrize("suffix", ["ply", "npy"])
def test_point_clouds(suffix: str, folder: Path, tmp_path: Path) -> None:
    """Of the pictures' points in their order: the same centres, and joints that are no pixels of anything. What is not finite is no point."""
    depth, intrinsics, _ = first_clip(folder)
    pictures = write_pngs(tmp_path / "png", {f"{frame}.png": picture for frame, picture in enumerate(depth)})
    run = ["predict", folder / "handr2n2" / "best"]
    (tmp_path / "clouds").mkdir()
    for frame, picture in enumerate(depth):
        points = picture_points(picture, intrinsics, "perspective").astype(np.float32)
        if suffix == "npy":
            np.save(tmp_path / "clouds" / f"{frame}.npy", np.concatenate([points, np.full((7, 3), np.nan, np.float32)]))
        else:
            trimesh.PointCloud(points).export(tmp_path / "clouds" / f"{frame}.ply")
    for stem, chosen in (("clouds", ()), ("png", ("--depth-unit", "0.1mm", "--intrinsics", camera(intrinsics)))):
        centres = {f"{frame}.{'png' if stem == 'png' else suffix}": [0, 0, float(np.median(picture[picture > 0])) * 1e-4] for frame, picture in enumerate(depth)}
        (tmp_path / "centres.json").write_text(json.dumps(centres))
        assert call(*run, tmp_path / stem, "--center", tmp_path / "centres.json", "--out", tmp_path / f"of {stem}", *chosen) == 0
    of_clouds, of_pictures = (list(table(tmp_path / f"of {stem}").values()) for stem in ("clouds", pictures.name))
    for one, other in zip(of_clouds, of_pictures, strict=True):
        assert one["joints_px"] is None and other["joints_px"] is not None
        np.testing.assert_allclose(one["root_m"], other["root_m"], atol=1e-4)
        np.testing.assert_allclose(one["joints_m"], other["joints_m"], atol=1e-4)
    assert call(*run, tmp_path / "clouds", "--out", tmp_path / "found") == 0
    assert all(one["centre_from"].startswith(("found", "followed")) for one in table(tmp_path / "found").values())


def test_pictures_for_the_network_of_colours(folder: Path, tmp_path: Path) -> None:
    rgb = DatasetClips(open_dataset(folder / "clips")).read(0).rgb
    (tmp_path / "pictures").mkdir()
    for frame, picture in enumerate(rgb):
        Image.fromarray(picture).save(tmp_path / "pictures" / f"{frame}.jpg")
    assert call("predict", folder / "jar" / "best", tmp_path / "pictures", "--box", "picture", "--out", tmp_path / "out") == 0
    assert list(table(tmp_path / "out")) == ["0.jpg", "1.jpg"] and len(table(tmp_path / "out")["0.jpg"]["joints_px"]) == 21


def test_frames_that_cannot_be_used_are_told_and_passed_over(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is wrong with them: those after them are predicted, each has its line in the file and on the screen, and the last line counts them."""
    depth, intrinsics, _ = first_clip(folder)
    few = np.where(np.arange(depth[0].size).reshape(depth[0].shape) < 9, np.uint16(5000), np.uint16(0))
    good = {"0.png": depth[0], "5.png": depth[1]}
    pictures = write_pngs(tmp_path / "png", {**good, "1.png": np.zeros_like(few), "2.png": few})
    Image.fromarray((depth[0] >> 8).astype(np.uint8)).save(pictures / "3.png")
    (pictures / "4.png").write_bytes(b"no picture")
    problems = {"1.png": "only 0 of its pixels", "2.png": "only 9 of its pixels", "3.png": "depth is one channel of 16 bits", "4.png": "cannot be decoded"}
    capsys.readouterr()
    assert call("predict", folder / "srn" / "best", pictures, "--depth-unit", "0.1mm", "--intrinsics", camera(intrinsics), "--out", tmp_path / "out") == 0
    heard = capsys.readouterr()
    said = table(tmp_path / "out")
    assert list(said) == [f"{number}.png" for number in range(6)] and {name for name, one in said.items() if "joints_m" in one} == set(good)
    assert {name: one["skipped"] for name, one in said.items() if "skipped" in one}.keys() == problems.keys()
    assert all(problems[name] in said[name]["skipped"] for name in problems)
    assert heard.err.splitlines() == [f"{name}: skipped: {said[name]['skipped']}" for name in problems]
    assert heard.out.splitlines()[-1].endswith("predictions.json: 6 frames, 4 of them skipped")


def test_clouds_that_cannot_be_used_are_told_and_passed_over(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    depth, intrinsics, _ = first_clip(folder)
    points = picture_points(depth[0], intrinsics, "perspective").astype(np.float32)
    odd = {"1": points[:15], "2": np.full((40, 3), np.nan), "3": points * 1000, "4": points[:, :2]}
    for name, cloud in {"0": points, **odd}.items():
        np.save(tmp_path / f"{name}.npy", cloud)
    (tmp_path / "5.npy").write_bytes(b"no array")
    problems = {"1": "only 15 points", "2": "no finite point", "3": "points are in metres", "4": "a point cloud is numbers (points, 3)", "5": "cannot be read"}
    capsys.readouterr()
    assert call("predict", folder / "handr2n2" / "best", tmp_path, "--out", tmp_path / "out") == 0
    heard, said = capsys.readouterr(), table(tmp_path / "out")
    assert "joints_m" in said["0.npy"] and all(words in said[f"{name}.npy"]["skipped"] for name, words in problems.items())
    assert len(heard.err.splitlines()) == 5 and heard.out.splitlines()[-1].endswith("6 frames, 5 of them skipped")


@pytest.fixture(scope="module")
def mistaken(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of which no frame can be used, files of centres, and folders of the wrong kind."""
    made = tmp_path_factory.mktemp("mistaken")
    depth, intrinsics, _ = first_clip(folder)
    write_pngs(made / "good", {"0.png": depth[0], "1.png": depth[1]})
    write_pngs(made / "zeros", {"0.png": np.zeros_like(depth[0])})
    write_pngs(made / "few", {"0.png": np.where(np.arange(4096).reshape(64, 64) < 15, np.uint16(5000), np.uint16(0))})
    (made / "eight").mkdir()
    Image.fromarray((depth[0] >> 8).astype(np.uint8)).save(made / "eight" / "0.png")
    (made / "jpg").mkdir()
    Image.new("RGB", (64, 64)).save(made / "jpg" / "0.jpg")
    np.save(made / "nan.npy", np.full((50, 3), np.nan))
    np.save(made / "cloud.npy", picture_points(depth[0], intrinsics, "perspective"))
    wrong = {"unknown": {"7.png": [0, 0, 1]}, "words": {"0.png": ["a", 0, 1]}, "two": {"0.png": [0, 1]}, "behind": {"0.png": [0, 0, -1]}, "list": [1]}
    for name, centres in {**wrong, "empty": {"0.png": [0, 0, 5], "1.png": [0, 0, 5]}, "one": {"0.png": [0, 0, 0.5]}}.items():
        (made / f"{name}.json").write_text(json.dumps(centres))
    (made / "text.json").write_text("no json")
    write_folder(made / "colours")
    return made


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        # frames of which none can be used
        ("predict {srn} {made}/zeros {camera}", "none of 1 frames could be used; of 0.png: only 0 of its pixels have a depth"),
        ("predict {jgr_p2o} {made}/few {camera}", "only 15 of its pixels have a depth"),
        ("predict {handr2n2} {made}/nan.npy", "none of 1 frames could be used; of nan.npy: it has no finite point"),
        ("predict {srn} {made}/good {camera} --center {made}/empty.json", "there are fewer than 16 points in the cube of 250 mm"),
        ("predict {srn} {made}/eight {camera}", "depth is one channel of 16 bits"),
        ("predict {srn} {made}/good --depth-unit 0.1mm --intrinsics {wide}", " 3 m wide, no hand"),
        # cameras and centres
        ("predict {srn} {made}/good", "depth pictures need their camera; give --intrinsics fx,fy,cx,cy"),
        ("predict {srn} {made}/good --intrinsics 60,60,32", "expected fx,fy,cx,cy, four numbers"),
        ("predict {srn} {made}/good --intrinsics a,b,c,d", "expected fx,fy,cx,cy, four numbers"),
        ("predict {srn} {made}/good --intrinsics 60,nan,32,32", "focal lengths must be positive"),
        ("predict {srn} {clips} --intrinsics 60,60,32,32", "a data set knows its own"),
        ("predict {srn} {made}/good {camera} --center {made}/unknown.json", "has a centre for 7.png, which the input does not have"),
        ("predict {srn} {made}/good {camera} --center {made}/words.json", "the centre of 0.png is ['a', 0, 1]; expected three numbers"),
        ("predict {srn} {made}/good {camera} --center {made}/two.json", "the centre of 0.png is [0, 1]; expected three numbers"),
        ("predict {srn} {made}/good {camera} --center {made}/behind.json", "z before the camera"),
        ("predict {srn} {made}/good {camera} --center {made}/list.json", "is not a table of centres"),
        ("predict {srn} {made}/good {camera} --center {made}/text.json", "cannot be read as a file of centres"),
        ("predict {srn} {made}/good {camera} --center {made}/nowhere.json", "cannot be read as a file of centres"),
        # a network for something else
        ("predict {srn} {made}/jpg {camera}", "holds no depth picture (.png of 16 bits) and no point cloud (.ply, .npy), which this network sees"),
        ("predict {srn} {made}/cloud.npy", "is a point cloud, but the network srn sees depth pictures"),
        ("predict {srn} {made}/good {camera} --box picture", "--box: the network srn sees depth, not pictures"),
        ("predict {jar} {made}/good --intrinsics 60,60,32,32", "--intrinsics: the network jar sees pictures, not depth"),
        ("predict {jar} {made}/good --depth-unit 1mm", "--depth-unit: the network jar sees pictures, not depth"),
        ("predict {jar} {clips} --center {made}/one.json", "--center: the network jar sees pictures, not depth"),
        ("evaluate {srn} {made}/colours", "has colours only, and this network sees depth"),
        # training
        ("train srn --data {made}/colours {few}", "has colours only, and this network sees depth"),
        ("train srn --data {clips} --input.depth sensor {few}", "a data set without sensor depth: its shards hold no .depth_sensor.png files; generate it with a depth camera"),
        ("train srn --data {clips} --model.joints stb {few}", "joints = \"stb\": input should be 'canonical', 'msra', 'nyu' or 'icvl'"),
        ("train srn --data {clips} --input.joints nyu {few}", "the network is made for what it is shown; give model.joints alone"),
        ("train srn --data {clips} --run.start {jgr_p2o} {few}", "is a checkpoint of the network jgr_p2o, not of srn; choose a checkpoint of srn"),
        ("train srn --data {clips} --run.start {srn} --model.width 0.125 --model.joints icvl {few}", "does not fit this network"),
        ("train handr2n2 --data {clips} --run.backbone {srn} {few}", "the network handr2n2 has no ResNet to start from weights"),
        ("predict {jar} {made}/good", "as depth has"),
        ("finetune --from {srn} --data {clips} --freeze temporal --run.threads 1", "srn has no part 'temporal'; it has encoder, head"),
        ("finetune --from {srn} --data {clips} --freeze encoder,head --run.threads 1", "srn has no part 'encoder,head'; it has encoder, head"),
        ("finetune --from {srn} --data {clips} --freeze encoder head --run.threads 1", "encoder, head is all there is; leave a part to learn"),
    ],
)
def test_mistakes_are_one_line(words: str, complaint: str, folder: Path, mistaken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After the lines on frames that were skipped, if there are any."""
    depth, intrinsics, _ = first_clip(folder)
    known = {name: folder / name / "best" for name in TINY}
    filled: list[object] = []
    many = {"{camera}": ["--depth-unit", "0.1mm", "--intrinsics", camera(intrinsics)], "{few}": [*FEW, *TWO_STEPS]}
    for word in words.split():
        filled += many[word] if word in many else [word.format(made=mistaken, clips=folder / "clips", wide=camera_of_width(depth[0], 3.0), **known)]
    capsys.readouterr()
    assert call(*filled, "--out", tmp_path / "out") == 2
    *skipped, line = capsys.readouterr().err.splitlines()
    assert line.startswith("seqgen: ") and complaint in line
    assert all(": skipped: " in other for other in skipped) and not (tmp_path / "out" / "last").exists()


def camera_of_width(depth: Array, width_m: float) -> str:
    """A camera for which the hand in a picture of depth is so wide: its columns at their depths span width_m."""
    y, x = np.nonzero(depth)
    z_m = depth[y, x] * 1e-4
    across = max(np.ptp((x - 32.0) * z_m), np.ptp((y - 32.0) * z_m))
    focal = across / width_m
    return f"{focal},{focal},32,32"
