"""The whole of `seqgen predict` with a toy estimator: inputs of all kinds, boxes of a file, what is written, and what is kept when it ends early."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from real_sets import write_folder, write_freihand, write_list, write_stb

from seqgen.errors import UserError
from seqgen.estimators.checkpoint import LoadedEstimator
from seqgen.estimators.views.crop import InputConfig
from seqgen.prediction.boxes import read_boxes
from seqgen.prediction.frames import ClipFrames, open_frames
from seqgen.prediction.run import predict_into
from seqgen.prediction.video import VideoFile
from tests.pointer import LOADED, SCALE, MadeUp, Pointer, box_about, film, save, spot


def test_boxes_of_a_file_are_used_and_followed(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(3):
        save(images / f"{number}.png", spot(40 + number, 40))
    (tmp_path / "boxes.json").write_text(json.dumps({"0.png": [20, 20, 60, 60]}))
    assert predict_into(LOADED, images, tmp_path / "out", box=tmp_path / "boxes.json") == 3
    table = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [row["box_from"] for row in table.values()] == ["given", "followed", "followed"]
    assert table["0.png"]["box_px"] == [20, 20, 60, 60]
    (tmp_path / "boxes.json").write_text(json.dumps({"7.png": [20, 20, 60, 60], "8.png": [20, 20, 60, 60]}))
    with pytest.raises(UserError, match=r"boxes\.json: has a box for 7\.png and 1 more, which the input does not have"):
        predict_into(LOADED, images, tmp_path / "out", box=tmp_path / "boxes.json")


def test_boxes_of_frames_that_a_video_cannot_have_or_has_not(tmp_path: Path) -> None:
    """The first are refused before any work, the others when all is written."""
    pytest.importorskip("av")
    path, boxes, out = film(tmp_path / "a.mp4", [spot(40, 40)] * 3), tmp_path / "boxes.json", tmp_path / "out"
    for name in ("1", "00001", "0000001", "a.png"):
        write_list(boxes, {"000000": [20, 20, 60, 60], name: [20, 20, 60, 60]})
        with pytest.raises(UserError, match=rf"boxes\.json: has a box for {name}; frames of a video are named by their number in six digits"):
            predict_into(LOADED, path, out, box=boxes)
    assert not out.exists()
    write_list(boxes, {"000000": [20, 20, 60, 60], "000003": [20, 20, 60, 60], "1000000": [20, 20, 60, 60]})
    with pytest.raises(UserError, match=r"has a box for 000003 and 1 more, which the input does not have; names are those in .*out/predictions\.json, which is written"):
        predict_into(LOADED, path, out, box=boxes)
    table = json.loads((out / "predictions.json").read_text())
    assert [row["box_from"] for row in table.values()] == ["given", "followed", "followed"]
    assert len(list(open_frames(out / "overlays" / "overlay.mp4"))) == 3


@pytest.mark.parametrize("content", ["[1]", "no json", '{"a": [1, 2, 3]}', '{"a": [5, 5, 4, 9]}', '{"a": [true, 2, 3, 4]}', '{"a": ["1", 2, 3, 4]}', '{"a": [NaN, 2, 3, 4]}'])
def test_a_wrong_file_of_boxes_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "boxes.json").write_text(content)
    with pytest.raises(UserError, match=r"boxes\.json: .*expected"):
        read_boxes(tmp_path / "boxes.json")
    with pytest.raises(UserError, match=r"absent\.json: cannot be read"):
        read_boxes(tmp_path / "absent.json")


def test_a_folder_of_images_becomes_predictions_and_overlays(tmp_path: Path) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    save(images / "a.png", spot(60, 44))
    save(images / "a.jpg", spot(60, 44))
    save(images / "b.png", spot(30, 20))
    told = []
    assert predict_into(LOADED, images, out, box="picture", stills=True, side="left", report=lambda done, total: told.append((done, total))) == 3
    table = json.loads((out / "predictions.json").read_text())
    assert list(table) == ["a.jpg", "a.png", "b.png"] and told == [(1, 3), (2, 3), (3, 3)]
    row = table["b.png"]
    assert set(row) == {"joints_px", "joints_m", "pose", "betas", "weak_perspective", "box_px", "box_from", "found", "side", "time_s"}
    assert np.shape(row["joints_px"]) == (21, 2) and np.shape(row["joints_m"]) == (21, 3) and np.shape(row["pose"]) == (16, 3) and len(row["betas"]) == 10
    assert (row["box_px"], row["found"], row["side"]) == (None, False, "left")
    np.testing.assert_allclose(row["joints_px"][0], [30, 20], atol=0.15)
    assert sorted(path.name for path in (out / "overlays").iterdir()) == ["a.jpg.jpg", "a.png.jpg", "b.jpg"]


def test_pictures_without_boxes_are_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a checkpoint that was taught with whole pictures too: the square about the box is shown to it."""
    monkeypatch.setattr("seqgen.prediction.run.load_localiser", lambda: lambda rgb: box_about(40, 30, 15))
    picture = save(tmp_path / "a.png", spot(40, 30))
    for crop in ("picture", "box"):
        predict_into(LoadedEstimator(Pointer(), InputConfig(size=48, crop=crop, margin=2.0), {}), picture, tmp_path / crop)
        [row] = json.loads((tmp_path / crop / "predictions.json").read_text()).values()
        assert row["box_from"] == "found" and row["box_px"] == [25, 15, 55, 45]
        np.testing.assert_allclose(row["weak_perspective"][0], SCALE * 60 / 48, rtol=1e-4)


def test_videos_become_films_and_clips_strips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    path = film(tmp_path / "a.mp4", [spot(40 + number, 40, size=(121, 91)) for number in range(4)])
    assert predict_into(LOADED, path, tmp_path / "video", box="picture") == 4
    assert [frame.rgb.shape for frame in open_frames(tmp_path / "video" / "overlays" / "overlay.mp4")] == [(92, 122, 3)] * 4
    monkeypatch.setattr("seqgen.prediction.run.open_frames", lambda *_, **__: ClipFrames(MadeUp()))
    assert predict_into(LOADED, path, tmp_path / "clips") == 6
    table = json.loads((tmp_path / "clips" / "predictions.json").read_text())
    assert [row["side"] for row in table.values()] == ["right"] * 3 + ["left"] * 3 and all(row["box_from"] == "given" for row in table.values())
    with Image.open(tmp_path / "clips" / "overlays" / "00000001.jpg") as strip:
        assert strip.size == (3 * 64 + 4, 48)
    whole_pictures = LoadedEstimator(LOADED.estimator, InputConfig(size=48, crop="picture"), {})
    predict_into(whole_pictures, path, tmp_path / "whole", overlays=False)
    assert {row["box_from"] for row in json.loads((tmp_path / "whole" / "predictions.json").read_text()).values()} == {"picture"}
    assert not (tmp_path / "whole" / "overlays").exists()


def test_other_people_s_data_sets_become_predictions(tmp_path: Path) -> None:
    """Stills have no times; the others those of their clips."""
    write_freihand(tmp_path / "freihand", 2, versions=[0])
    write_stb(tmp_path / "stb", frames=2)
    table = write_folder(tmp_path / "folder", 3)
    write_list(tmp_path / "folder" / "labels.json", {**table, "clips": {"wave": ["0.png", "1.png"]}, "fps": 10})
    times = {
        "freihand": {"training_00000000.000": None, "training_00000001.000": None},
        "stb": {"B2Random_SK_color_0000.000": 0.0, "B2Random_SK_color_0000.001": 0.0333},
        "folder": {"wave.000": 0.0, "wave.001": 0.1, "2.png.000": None},
    }
    for name, expected in times.items():
        assert predict_into(LOADED, tmp_path / name, tmp_path / "out" / name) == len(expected)
        rows = json.loads((tmp_path / "out" / name / "predictions.json").read_text())
        assert {key: row["time_s"] for key, row in rows.items()} == expected and all(row["box_from"] == "given" for row in rows.values())


def test_strips_of_clips_whose_names_are_alike_in_files(tmp_path: Path) -> None:
    table = write_folder(tmp_path / "mine", 4)
    names = ["sub/two.png", "sub_two.png", "\u624b.png", "\u53f3.png"]
    (tmp_path / "mine" / "sub").mkdir()
    for n, name in enumerate(names):
        (tmp_path / "mine" / f"{n}.png").rename(tmp_path / "mine" / name)
    write_list(tmp_path / "mine" / "labels.json", dict(zip(names, table.values(), strict=True)))
    predict_into(LOADED, tmp_path / "mine", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out" / "overlays").iterdir()} == {"sub_two.png.jpg", "sub_two.png_2.jpg", "\u624b.png.jpg", "\u53f3.png.jpg"}


@pytest.mark.parametrize("good", [0, 1, 3])
def test_what_is_before_a_broken_frame_is_written(tmp_path: Path, good: int) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    for number in range(5):
        save(images / f"{number}.png", spot(50, 40))
    (images / f"{good}.png").write_bytes(b"no picture")
    kept = {0: "again$", 1: r"again; the frame before it is in .*out/predictions\.json$", 3: r"again; the 3 frames before it are in .*out/predictions\.json$"}
    with pytest.raises(UserError, match=rf"{good}\.png: cannot be decoded as an image .*{kept[good]}"):
        predict_into(LOADED, images, out, box="picture")
    assert (out / "predictions.json").exists() == (good > 0)
    if good:
        assert list(json.loads((out / "predictions.json").read_text())) == [f"{number}.png" for number in range(good)]


@pytest.mark.parametrize(("fps", "frames"), [(None, 10), (100.0, 10), (10.0, 4), (0.001, 1)])
def test_a_film_takes_as_long_as_the_video(tmp_path: Path, fps: float | None, frames: int) -> None:
    """Ten frames of a 25th of a second; where fewer are taken they are shown for longer, but more than there are cannot be."""
    pytest.importorskip("av")
    path = film(tmp_path / "a.mp4", [spot(40, 40)] * 10)
    assert predict_into(LOADED, path, tmp_path / "out", box="picture", fps=fps) == frames
    assert VideoFile(tmp_path / "out" / "overlays" / "overlay.mp4").frame_rate() == pytest.approx(min(25.0, fps or 25.0))


def test_places_that_cannot_be_written_are_refused_before_any_work(tmp_path: Path) -> None:
    picture = save(tmp_path / "a.png", spot(1, 1))
    with pytest.raises(UserError, match="is a file"):
        predict_into(LOADED, picture, picture)
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    with pytest.raises(UserError, match="cannot be written to"):
        predict_into(LOADED, picture, closed / "out")
