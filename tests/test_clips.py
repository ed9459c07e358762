"""Data sets as clips: what is read equals what the whole sequence holds, and nothing is decoded that was not asked for."""

import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sequences import make_sequence
from test_dataset import write_data_set, write_tar

from seqgen.dataset import Dataset, open_dataset
from seqgen.dataset.clip import ClipSource
from seqgen.dataset.clips import FLESH, DatasetClips
from seqgen.dataset.mirror import mirrored
from seqgen.dataset.sequence import is_hand
from seqgen.dataset.shards import write_shard
from seqgen.errors import UserError
from seqgen.skeleton import PART_OCCLUDER


@pytest.fixture(scope="module")
def data_set(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Tests only read it."""
    directory = tmp_path_factory.mktemp("clips") / "set"
    write_data_set(directory)
    return open_dataset(directory)


def shard_of(dataset: Dataset, position: int) -> Path:
    return dataset.directory / "shards" / dataset.rows[position].shard


def test_a_clip_is_the_sequence(data_set: Dataset) -> None:
    clips = DatasetClips(data_set, pictures=("rgb", "mask", "depth"))
    assert isinstance(clips, ClipSource) and len(clips) == len(data_set) > 3 and clips.name == "set"
    for position, sequence in enumerate(data_set):
        clip, labels = clips.read(position), sequence.labels
        assert (clip.key, clip.source, clip.side, clip.fps) == (sequence.key, "set", "right", 30.0) == (clips.key(position), "set", "right", 30.0)
        assert (clip.hand, clip.camera_kind, len(clip.rgb)) == ("open", "perspective", clips.num_frames(position))
        for name in ("joints_m", "joints_px", "pose", "betas", "intrinsics", "box_px"):
            np.testing.assert_array_equal(getattr(clip, name), getattr(labels, name), strict=True)
        np.testing.assert_array_equal(clip.rgb, sequence.rgb, strict=True)
        np.testing.assert_array_equal(clip.mask, is_hand(sequence.parts), strict=True)
        np.testing.assert_array_equal(clip.occluder, sequence.parts == PART_OCCLUDER, strict=True)
        np.testing.assert_array_equal(clip.depth_tenth_mm, sequence.depth_tenth_mm, strict=True)
        assert clip.joints_valid.all() and clip.vertices_m is None


def test_some_frames_are_those_frames_in_the_order_asked_for(data_set: Dataset) -> None:
    clips = DatasetClips(data_set)
    whole, some = clips.read(2), clips.read(2, [2, 0, 2])
    for name in ("rgb", "mask", "joints_m", "joints_px", "joints_valid", "pose", "intrinsics", "box_px"):
        np.testing.assert_array_equal(getattr(some, name), getattr(whole, name)[[2, 0, 2]], strict=True)
    np.testing.assert_array_equal(some.betas, whole.betas)
    assert whole.depth_tenth_mm is None and len(np.unique(whole.rgb.reshape(3, -1), axis=0)) == 3
    for frames in ([3], [-1]):
        with pytest.raises(ValueError, match="has frames 0 to 2"):
            clips.read(2, frames)


def test_a_copy_in_another_process_looks_nothing_up(data_set: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    clips = DatasetClips(data_set)
    expected, sent = clips.read(4), pickle.dumps(clips)
    monkeypatch.setattr("seqgen.dataset.clips.shard_spans", None)
    np.testing.assert_array_equal(pickle.loads(sent).read(4).rgb, expected.rgb)
    assert len(sent) < 200 * len(data_set)


def test_only_what_is_asked_for_is_decoded(tmp_path: Path) -> None:
    """With zeros in place of all depth pictures and of one frame's colours, all else can be read."""
    write_data_set(tmp_path / "set")
    dataset = open_dataset(tmp_path / "set")
    path = shard_of(dataset, 0)
    with tarfile.open(path) as archive:
        broken = [info for info in archive if info.name.endswith("depth.png") or info.name.startswith("00000000.001.rgb")]
    with open(path, "r+b") as file:
        for info in broken:
            file.seek(info.offset_data)
            file.write(bytes(info.size))
    clips = DatasetClips(dataset)
    assert clips.read(0, [0, 2]).rgb.shape[0] == 2
    with pytest.raises(UserError, match=r"000000\.tar: 00000000\.001\.rgb\.jpg is damaged"):
        clips.read(0)
    with pytest.raises(UserError, match=r"00000000\.000\.depth\.png is damaged"):
        DatasetClips(dataset, pictures=("depth",)).read(0, [0])


def test_a_left_hand_says_so_and_a_box_that_was_not_stored_is_made(tmp_path: Path) -> None:
    write_data_set(tmp_path / "set")
    dataset = open_dataset(tmp_path / "set")
    shard = [mirrored(make_sequence(row.id, labels=())) for row in dataset.rows if row.shard == dataset.rows[0].shard]
    write_shard(shard_of(dataset, 0), shard, jpeg_quality=90)
    clip = DatasetClips(dataset).read(0)
    assert clip.side == "left" and clip.box_px.shape == (3, 4)
    low, high = clip.joints_px.min(1), clip.joints_px.max(1)
    longer = (high - low).max(1)
    np.testing.assert_allclose(clip.box_px[:, :2], low - FLESH * longer[:, None], atol=1e-5)
    np.testing.assert_allclose(clip.box_px[:, 2:], high + FLESH * longer[:, None], atol=1e-5)


@pytest.mark.parametrize(("kind", "message"), [("rgb.jpg", "set: a data set without RGB: its shards hold no .rgb.jpg files"), ("parts.png", "without part labels")])
def test_a_data_set_without_the_pictures_is_refused_at_once(tmp_path: Path, kind: str, message: str) -> None:
    write_data_set(tmp_path / "set")
    dataset = open_dataset(tmp_path / "set")
    with tarfile.open(shard_of(dataset, 0)) as archive:
        members = [(info.name, archive.extractfile(info).read()) for info in archive if not info.name.endswith(kind)]
    write_tar(shard_of(dataset, 0), members)
    with pytest.raises(UserError, match=message) as caught:
        DatasetClips(dataset)
    assert "\n" not in str(caught.value)


def test_a_split_of_no_clips_is_empty(data_set: Dataset) -> None:
    assert len(DatasetClips(Dataset(data_set.directory, data_set.manifest, []))) == 0


def test_damage_and_disagreement_are_the_users_to_mend(tmp_path: Path) -> None:
    write_data_set(tmp_path / "set")
    dataset = open_dataset(tmp_path / "set")
    clips, path = DatasetClips(dataset), shard_of(dataset, 0)
    clips.locate()
    content = path.read_bytes()
    path.write_bytes(content[:600] + bytes(512) + content[1112:])
    with pytest.raises(UserError, match=r"damaged|is missing"):
        clips.read(0)
    path.write_bytes(b"x" + content[1:])
    with pytest.raises(UserError, match="wrong checksum"):
        clips.read(0)
    path.write_bytes(content)
    stranger = Dataset(dataset.directory, dataset.manifest, [replace(dataset.rows[0], key="00000099")])
    with pytest.raises(UserError, match="does not hold the sequences that the index lists"):
        DatasetClips(stranger).read(0)
