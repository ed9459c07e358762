"""FreiHAND's reader: a folder in its format gives back what was put in, and says in one line what is wrong with one that is not."""

import json
import logging
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from real_sets import FREIHAND_K, FREIHAND_UNIQUE, in_order, mano_model, pixels, write_freihand, write_list

from seqgen.benchmarks import Freihand, freihand, json_list
from seqgen.benchmarks.json_list import read_arrays
from seqgen.dataset.clip import ClipSource
from seqgen.errors import UserError
from seqgen.hand.layer import HandLayer

Array = np.ndarray


def rewrite(path: Path, change: object) -> None:
    write_list(path, change(json.loads(path.read_text())))


def test_gives_back_what_the_lists_say(tmp_path: Path) -> None:
    hands = write_freihand(tmp_path, 3)
    source = Freihand(tmp_path)
    assert isinstance(source, ClipSource)
    assert len(source) == 12 and source.missing == ()
    for position in range(12):
        clip, n = source.read(position), position % 3
        assert source.key(position) == clip.key == f"training_{n + position // 3 * FREIHAND_UNIQUE:08d}"
        assert source.num_frames(position) == 1 and clip.side == "right" and clip.hand == "mano"
        np.testing.assert_allclose(clip.joints_m[0], hands.joints_m[n], atol=1e-7)
        np.testing.assert_allclose(clip.vertices_m[0], hands.vertices_m[n], atol=1e-7)
        np.testing.assert_allclose(clip.joints_px[0], pixels(hands.joints_m[n : n + 1], FREIHAND_K)[0], atol=1e-3)
        surface_px = pixels(hands.vertices_m[n : n + 1], FREIHAND_K)[0]
        np.testing.assert_allclose(clip.box_px[0], [*surface_px.min(0), *surface_px.max(0)], atol=1e-3)
        np.testing.assert_allclose(clip.betas, hands.betas[n], atol=1e-6)
        assert clip.pose is None and clip.joints_valid.all()


def test_pictures_and_masks_are_those_of_the_id(tmp_path: Path) -> None:
    write_freihand(tmp_path, 3)
    source = Freihand(tmp_path)
    corners = np.array([source.read(3 * version).rgb[0, 0, 0] for version in range(4)], int)
    np.testing.assert_allclose(corners, [(20, 140, 40), (90, 90, 200), (200, 200, 60), (30, 30, 30)], atol=3)  # each version's background, as JPEG keeps it
    for position in (1, 10):
        stored = np.asarray(Image.open(tmp_path / "training/mask/00000001.jpg"))
        assert set(np.unique(stored)) - {0, 255}, "the mask should be ragged, as JPEG makes it"
        np.testing.assert_array_equal(source.read(position).mask[0], stored > 200)


def test_pose_with_mano_s_mean_poses_the_surface(tmp_path: Path) -> None:
    hands = write_freihand(tmp_path, 3)
    source = Freihand(tmp_path, versions=["gs"], pose_mean=mano_model().pose_mean)
    layer = HandLayer(mano_model())
    for position in range(3):
        clip = source.read(position)
        mesh = layer(torch.from_numpy(clip.pose), torch.from_numpy(clip.betas)[None], torch.zeros(1, 3))
        untouched = np.setdiff1d(np.arange(778), [555, 672])
        np.testing.assert_allclose((mesh.vertices_m - mesh.joints_m[:, :1]).numpy()[0, untouched], (hands.vertices_m[position] - hands.joints_m[position, 0])[untouched], atol=1e-5)


def test_versions_are_read_in_the_order_asked_for(tmp_path: Path) -> None:
    write_freihand(tmp_path, 2, versions=[0, 3])
    source = Freihand(tmp_path, versions=["auto", "gs"])
    assert [source.key(position) for position in range(4)] == ["training_00097680", "training_00097681", "training_00000000", "training_00000001"]
    with pytest.raises(UserError, match=r"no version 'green'.*gs, hom, sample, auto"):
        Freihand(tmp_path, versions=["green"])
    with pytest.raises(UserError, match="none of the 2 pictures is there"):
        Freihand(tmp_path, versions=["hom"])


def test_evaluation_split(tmp_path: Path) -> None:
    hands = write_freihand(tmp_path, 2, split="evaluation")
    source = Freihand(tmp_path, "evaluation")
    assert [source.key(0), source.key(1)] == ["evaluation_00000000", "evaluation_00000001"]
    assert source.read(1).mask is None
    np.testing.assert_allclose(source.read(1).joints_m[0], hands.joints_m[1], atol=1e-7)
    for kind in ("verts", "mano"):
        (tmp_path / f"evaluation_{kind}.json").unlink()
    bare = Freihand(tmp_path, "evaluation").read(0)
    assert bare.vertices_m is None and bare.betas is None and bare.hand == ""
    (tmp_path / "evaluation_xyz.json").unlink()
    with pytest.raises(UserError, match=r"evaluation_xyz.json missing; the evaluation labels come in an archive of their own"):
        Freihand(tmp_path, "evaluation")


def test_missing_files_are_counted_and_listed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_freihand(tmp_path, 3)
    (tmp_path / "training/rgb/00032561.jpg").unlink()
    (tmp_path / "training/mask/00000002.jpg").unlink()
    with caplog.at_level(logging.WARNING):
        source = Freihand(tmp_path)
    assert source.missing == ("training/rgb/00032561.jpg", "training/mask/00000002.jpg")
    assert "1 of 12 pictures are missing and left out: training/rgb/00032561.jpg" in caplog.text
    assert "has 3 labels, the published one 32560" in caplog.text
    assert len(source) == 11 and [source.key(position) for position in (3, 4)] == ["training_00032560", "training_00032562"]
    assert source.read(2).mask is None and source.read(1).mask is not None


def test_asks_for_a_frame_more_than_once_or_one_that_is_not_there(tmp_path: Path) -> None:
    write_freihand(tmp_path, 1)
    source = Freihand(tmp_path)
    clip = source.read(0, [0, 0])
    assert clip.rgb.shape[0] == len(clip.joints_m) == len(clip.mask) == 2
    with pytest.raises(IndexError):
        source.read(0, [1])


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    write_freihand(tmp_path, 1)
    path = tmp_path / "training/rgb/00000000.jpg"
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(UserError, match=r"00000000.jpg: cannot be decoded"):
        Freihand(tmp_path).read(0)


def test_goes_to_other_processes_without_its_labels(tmp_path: Path) -> None:
    write_freihand(tmp_path, 4)
    source = Freihand(tmp_path)
    sent = pickle.dumps(source)
    assert len(sent) < 3000 < source.labels.joints_m.nbytes + source.labels.vertices_m.nbytes
    np.testing.assert_array_equal(pickle.loads(sent).read(2).vertices_m, source.read(2).vertices_m)


def test_labels_are_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_freihand(tmp_path, 2)
    first = Freihand(tmp_path).labels
    with monkeypatch.context() as patch:
        patch.setattr(freihand, "_parse", lambda files: pytest.fail("parsed again"))
        np.testing.assert_array_equal(Freihand(tmp_path).labels.vertices_m, first.vertices_m)
    rewrite(tmp_path / "training_K.json", lambda value: (2 * np.array(value)).tolist())
    np.testing.assert_array_equal(Freihand(tmp_path).labels.intrinsics, 2 * first.intrinsics)


def test_version_1_is_refused(tmp_path: Path) -> None:
    write_freihand(tmp_path, 2)
    (tmp_path / "training_verts.json").unlink()
    with pytest.raises(UserError, match=r"looks like FreiHAND version 1 \(before 22 October 2019\).*download version 2"):
        Freihand(tmp_path)
    (tmp_path / "training_xyz.json").unlink()
    (tmp_path / "training_mano.json").unlink()
    with pytest.raises(UserError, match="no training split of FreiHAND version 2"):
        Freihand(tmp_path)


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("xyz", lambda value: (np.array(value) * 1e3).tolist(), "wrong unit.*look like millimetres"),
        ("xyz", lambda value: in_order(np.array(value), "rhd").tolist(), "wrong joint order.*rhd would fit"),
        ("xyz", lambda value: in_order(np.array(value), "mano").tolist(), "wrong joint order.*mano would fit"),
        ("xyz", lambda value: (np.array(value) * [-1, 1, 1]).tolist(), "look like left hands"),
        ("xyz", lambda value: value[:-1], "has 3 entries, training_xyz.json 2|has 2 entries"),
        ("verts", lambda value: value[::-1], "tips in training_verts.json are .* mm off"),
        ("verts", lambda value: [entry[:-1] for entry in value], r"entry 0 has shape \(777, 3\), expected \(778, 3\)"),
        ("scale", lambda value: [entry + 0.004 for entry in value], "training_scale.json is 4 mm off"),
        ("scale", lambda value: [*value[:-1], "long"], "entry 2 is not an array of numbers"),
        ("K", lambda value: [*value[:-1], [[float("nan")] * 3] * 3], "entry 2 holds a number that is not finite"),
        ("K", lambda value: {"all": value}, r"is no JSON list of arrays: '\{' stands where '\['"),
    ],
)
def test_wrong_lists_are_refused(tmp_path: Path, kind: str, change: object, message: str) -> None:
    write_freihand(tmp_path, 3)
    rewrite(tmp_path / f"training_{kind}.json", change)
    with pytest.raises(UserError, match=message):
        Freihand(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.9999])
def test_a_list_that_is_cut_short_is_named(tmp_path: Path, share: float) -> None:
    write_freihand(tmp_path, 2)
    path = tmp_path / "training_xyz.json"
    path.write_text(path.read_text()[: int(share * path.stat().st_size)])
    with pytest.raises(UserError, match=r"training_xyz.json: is cut short or damaged"):
        Freihand(tmp_path)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize(("shape", "indent"), [((), None), ((2, 3), None), ((2, 3), 1), ((4,), 2)])
def test_lists_are_read_entry_by_entry_as_json_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, shape: tuple[int, ...], indent: int | None) -> None:
    monkeypatch.setattr(json_list, "CHUNK_CHARACTERS", chunk)
    value = (np.random.default_rng(0).standard_normal((9, *shape)) * 10.0 ** np.arange(-4, 5).reshape(9, *[1] * len(shape))).tolist()
    (tmp_path / "list.json").write_text(json.dumps(value, indent=indent) + "\n")
    np.testing.assert_array_equal(read_arrays(tmp_path / "list.json", shape), np.array(value, np.float32))


def test_an_empty_list_has_no_entries(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(" [ ] ")
    assert read_arrays(tmp_path / "list.json", (2, 3)).shape == (0, 2, 3)
