"""One index over several data sets: what is read through it is what they hold, in their order, and they stay as they are."""

import errno
import json
import logging
import os
import pickle
import shutil
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from evaluations import INPUT, NearlyRight
from safetensors.torch import load_file
from sequences import ASSET, CONFIG, OPTIONAL_LABELS, SHARDS, make_meta, make_sequence, write_data_set
from test_dataset import assert_same
from toys import know_toy, toy_config

from seqgen.benchmarks import open_clips
from seqgen.cli import main
from seqgen.dataset import Dataset, HandSequence, merge, open_dataset
from seqgen.dataset.clips import DatasetClips
from seqgen.dataset.conventions import conventions
from seqgen.dataset.hold import held_alone
from seqgen.dataset.index import INDEX_NAME, IndexRow, index_row, read_index
from seqgen.dataset.manifest import MANIFEST_NAME, Manifest, Part, read_manifest, with_checksum
from seqgen.dataset.merge import merge_datasets, merged_rows
from seqgen.dataset.meta import sequence_key
from seqgen.errors import UserError
from seqgen.estimators import ESTIMATORS
from seqgen.evaluation.evaluate import Evaluation, evaluate
from seqgen.prediction.frames import ClipFrames
from seqgen.training.run import train

FEWER = {"train-000000.tar": [0, 1, 3], "test-000000.tar": [2]}  # a shard that goes on after one of another split
SEEDS = {"a": (7, SHARDS), "b": (8, FEWER), "c": (9, {"val-000000.tar": [0]})}


@pytest.fixture(scope="module", autouse=True)
def machine_asked_once() -> Iterator[None]:
    """It asks git, at 20 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(merge, "describe_machine", cache(merge.describe_machine))
        yield


def config_of(seed: int, **settings: Any) -> dict[str, Any]:
    return {**CONFIG, "seed": seed, **settings}


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def expected(*names: str) -> list[HandSequence]:
    """The sequences of data sets of SEEDS, one after the other, each set by its index."""
    planned = [(n, seed, shard.split("-")[0]) for seed, shards in map(SEEDS.get, names) for n, shard in sorted((n, shard) for shard, ids in shards.items() for n in ids)]
    return [make_sequence(n, split=split, seed=seed) for n, seed, split in planned]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data sets of SEEDS, that tests copy from."""
    folder = tmp_path_factory.mktemp("made")
    for name, (seed, shards) in SEEDS.items():
        write_data_set(folder / name, shards, config=config_of(seed))
    return folder


@pytest.fixture
def sets(made: Path, tmp_path: Path) -> Path:
    """A folder of one's own with them."""
    return Path(shutil.copytree(made, tmp_path / "sets", copy_function=os.link))


@pytest.fixture(scope="module")
def merged(made: Path) -> Path:
    """a and b merged; tests only read it."""
    merge_datasets([made / "a", made / "b"], made / "a+b")
    return made / "a+b"


def rewrite(directory: Path, **changes: Any) -> None:
    """The manifest with some entries changed, as if it had been written so."""
    told = json.loads((directory / MANIFEST_NAME).read_text())
    told.pop("checksum")
    (directory / MANIFEST_NAME).write_text(with_checksum({**told, **changes}))


# What is in it


def test_it_reads_as_the_one_and_then_the_other(merged: Path) -> None:
    dataset, sequences = open_dataset(merged), expected("a", "b")
    assert len(dataset) == len(sequences) == 13
    for position, (read, written) in enumerate(zip(dataset, sequences, strict=True)):
        assert_same(read, written)
        assert_same(dataset[position], written)
    assert_same(pickle.loads(pickle.dumps(dataset))[-1], sequences[-1])


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_its_splits_are_those_of_its_parts(merged: Path, split: str) -> None:
    read, wanted = list(open_dataset(merged, split)), [sequence for sequence in expected("a", "b") if sequence.split == split]
    assert len(read) == len(wanted) == {"train": 10, "val": 2, "test": 1}[split]
    for sequence, written in zip(read, wanted, strict=True):
        assert_same(sequence, written)


def test_the_rows_are_those_of_the_parts_with_ids_of_their_own(made: Path, merged: Path) -> None:
    rows, before = read_index(merged), [*read_index(made / "a"), *read_index(made / "b")]
    assert [row.id for row in rows] == list(range(13)) and [row.part for row in rows] == [0] * 9 + [1] * 4
    assert [replace(row, id=old.id, part=0) for row, old in zip(rows, before, strict=True)] == before


def test_groups_stay_apart_and_name_an_id_of_the_index() -> None:
    def rig(groups: list[int | None]) -> list[IndexRow]:
        return [index_row({**make_meta(n), "group": group}, "train-000000.tar", "") for n, group in enumerate(groups)]

    rows = merged_rows([rig([0, 0, 2, 2]), rig([None, None]), rig([0, 0, 0])])
    assert [(row.id, row.part, row.group) for row in rows] == [(0, 0, 0), (1, 0, 0), (2, 0, 2), (3, 0, 2), (4, 1, -1), (5, 1, -1), (6, 2, 6), (7, 2, 6), (8, 2, 6)]
    with pytest.raises(UserError, match="part 1: sequence 00000000 is of the group of 9, which is not there"):
        merged_rows([rig([0]), rig([9])])


def test_the_manifest_says_what_it_is(made: Path, merged: Path) -> None:
    told, parts = read_manifest(merged), [read_manifest(made / name) for name in "ab"]
    assert told.parts == (Part("../a", parts[0].identity, 9), Part("../b", parts[1].identity, 4)) and told.shards == ()
    assert told.counts == {"sequences": 13, "frames": 39, "splits": {"train": 10, "val": 2, "test": 1}}
    assert told.config == {"clip": CONFIG["clip"]} and told.seed is None and told.assets == (ASSET,)
    assert told.shares["frames_partly_outside"] == (4 + 2) / 39 and told.conventions == parts[0].conventions
    assert told.run == merge.describe_machine() and told.identity not in (parts[0].identity, parts[1].identity)


def test_assets_and_what_is_left_out_are_those_of_all(tmp_path: Path) -> None:
    photos, mesh = replace(ASSET, kind="background", name="photos", licence="CC-BY-4.0"), replace(ASSET, kind="occluder", name="cup", licence="not stated")
    write_data_set(tmp_path / "a", SEEDS["c"][1], assets=[ASSET, photos])
    write_data_set(tmp_path / "b", SEEDS["c"][1], config=config_of(8), assets=[ASSET, mesh])
    rewrite(tmp_path / "a", left_out={"flow_source": "research only"})
    rewrite(tmp_path / "b", left_out={"flow_source": "not asked for"})
    told = merge_datasets([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    assert told.assets == (ASSET, photos, mesh) and told.left_out == {"flow_source": "research only; not asked for"}
    assert not told.sharing["may_be_shared"] and "cup" in told.sharing["because"][0]


def test_an_index_over_an_index_goes_over_its_parts(sets: Path) -> None:
    pair = sets / "deep" / "pair"
    merge_datasets([sets / "a", sets / "b"], pair)
    both = merge_datasets([pair, sets / "c"], sets / "all")
    at_once = merge_datasets([sets / "a", sets / "b", sets / "c"], sets / "other")
    assert [part.path for part in both.parts] == ["../a", "../b", "../c"] and replace(both, run={}) == replace(at_once, run={})
    assert (sets / "all" / INDEX_NAME).read_bytes() == (sets / "other" / INDEX_NAME).read_bytes()
    assert [sequence.meta for sequence in open_dataset(sets / "all")] == [sequence.meta for sequence in expected("a", "b", "c")]


def test_stock_tools_find_the_shards(merged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the head of seqgen/dataset/index.py says."""
    monkeypatch.chdir(merged.parent)
    parts = json.loads(Path("a+b/dataset.json").read_text())["parts"]
    index = pq.read_table("a+b/index.parquet").to_pydict()
    files = [os.path.join("a+b", parts[part]["path"], "shards", shard) for part, shard in zip(index["part"], index["shard"], strict=True)]
    metas = []
    for file, key in zip(files, index["key"], strict=True):
        with tarfile.open(file) as archive:
            metas.append(json.load(archive.extractfile(f"{key}.meta.json")))
    assert metas == [sequence.meta for sequence in expected("a", "b")]


# Names


def test_keys_that_several_parts_have_are_no_names(merged: Path) -> None:
    dataset = open_dataset(merged)
    assert_same(dataset["00000004"], make_sequence(4))
    with pytest.raises(UserError, match=r"several of its parts have a sequence 00000003; take it by its position: 3, 12$"):
        dataset["00000003"]
    assert_same(open_dataset(merged, "val")["00000007"], make_sequence(7, split="val"))
    assert_same(open_dataset(merged, "test")["00000002"], make_sequence(2, split="test", seed=8))
    with pytest.raises(KeyError):
        dataset["00000013"]


def test_clips_are_named_by_their_ids(merged: Path) -> None:
    clips = DatasetClips(open_dataset(merged))
    assert [clips.key(position) for position in range(len(clips))] == [sequence_key(n) for n in range(13)]
    for position, sequence in enumerate(expected("a", "b")):
        clip = pickle.loads(pickle.dumps(clips)).read(position, [1])
        np.testing.assert_array_equal(clip.joints_m, sequence.labels.joints_m[[1]])
        assert (clip.key, clip.source) == (sequence_key(position), "a+b")
    assert len(set(ClipFrames(clips).names)) == 39


# What learns from it


@pytest.fixture
def toy() -> Iterator[None]:
    know_toy()
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    del ESTIMATORS["toy"]


@pytest.mark.usefixtures("toy")
def test_teaching_with_it_is_teaching_with_its_parts(made: Path, merged: Path, tmp_path: Path) -> None:
    for name, folders in {"merged": [merged], "parts": [made / "a", made / "b"]}.items():
        data = {"train": [str(folder) for folder in folders], "validation": [str(merged)]}
        train(toy_config(data=data, run={"steps": 3}), tmp_path / name)
    weights = [load_file(tmp_path / name / "last" / "weights.safetensors") for name in ("merged", "parts")]
    assert weights[0].keys() == weights[1].keys() and all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_evaluating_on_it_is_evaluating_on_its_parts(made: Path, merged: Path) -> None:
    whole, parts = (evaluate(NearlyRight((0.01, 0.0, 0.0)), INPUT, [open_clips(folder) for folder in folders]) for folders in ([merged], [made / "a", made / "b"]))
    assert whole.keys == tuple(sequence_key(n) for n in range(13)) and whole.names == ("a+b",)
    for name in {field.name for field in fields(Evaluation)} - {"sources", "keys"}:
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name), err_msg=name)


# Whole, or not there


def test_the_parts_stay_as_they_are_and_twice_is_once(sets: Path) -> None:
    before = {name: content(sets / name) for name in "abc"}
    first = merge_datasets([sets / "a", sets / "b"], sets / "new" / "both")
    inode, written = (sets / "new" / "both" / INDEX_NAME).stat().st_ino, content(sets / "new" / "both")
    assert list(written) == [MANIFEST_NAME, INDEX_NAME]
    assert merge_datasets([sets / "a", sets / "b"], sets / "new" / "both") == first
    assert (sets / "new" / "both" / INDEX_NAME).stat().st_ino == inode and content(sets / "new" / "both") == written
    merge_datasets([sets / "a", sets / "b"], sets / "elsewhere")
    assert content(sets / "elsewhere")[INDEX_NAME] == written[INDEX_NAME]
    assert {name: content(sets / name) for name in "abc"} == before
    with pytest.raises(UserError, match=r"both holds an index over other data sets, or over these before .*; remove it or choose another --out"):
        merge_datasets([sets / "b", sets / "a"], sets / "new" / "both")
    assert content(sets / "new" / "both") == written


class Killed(BaseException):
    """Stands for the end of the process."""


def test_killed_between_index_and_manifest_there_is_no_data_set(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(directory: Path, manifest: Manifest) -> None:
        raise Killed

    whole = merge_datasets([sets / "a", sets / "b"], sets / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(merge, "write_manifest", killed)
        with pytest.raises(Killed):
            merge_datasets([sets / "a", sets / "b"], sets / "both")
    (sets / "both" / f".{MANIFEST_NAME}.partial-1-00").write_text("{")
    with pytest.raises(UserError, match=r"dataset\.json is missing"):
        open_dataset(sets / "both")
    with pytest.raises(UserError, match=r"both holds other files \(index\.parquet\)"):
        merge_datasets([sets / "a", sets / "c"], sets / "both")
    assert merge_datasets([sets / "a", sets / "b"], sets / "both") == whole and content(sets / "both") == content(sets / "whole")


@pytest.mark.parametrize("name", [MANIFEST_NAME, INDEX_NAME])
@pytest.mark.parametrize("injury", ["lost", "cut", "changed"])
def test_the_same_again_mends_what_is_damaged(sets: Path, name: str, injury: str) -> None:
    merge_datasets([sets / "a", sets / "b"], sets / "both")
    whole, path = content(sets / "both"), sets / "both" / name
    data = path.read_bytes()
    path.unlink()
    if injury != "lost":
        path.write_bytes(data[:-40] if injury == "cut" else data[:40] + bytes([data[40] ^ 1]) + data[41:])
    merge_datasets([sets / "a", sets / "b"], sets / "both")
    assert content(sets / "both") == whole


# Parts that are not where they were


def test_moved_together_it_still_reads(sets: Path) -> None:
    merge_datasets([sets / "a", sets / "b"], sets / "both")
    shutil.move(sets, sets.parent / "moved ~ ünd anders")
    (sets.parent / "link").symlink_to(sets.parent / "moved ~ ünd anders" / "both")
    assert len(list(open_dataset(sets.parent / "link"))) == 13


def test_a_part_that_is_gone_or_another_is_named(sets: Path) -> None:
    folders = [sets / "a", sets / "b"]
    first = merge_datasets(folders, sets / "both")
    (sets / "b").rename(sets / "moved")
    with pytest.raises(UserError, match=rf"both: its part {sets}/both/\.\./b is not there.* put it back, or run `seqgen export --merge \.\.\. --out {sets}/both`") as caught:
        open_dataset(sets / "both")
    assert "\n" not in str(caught.value)
    again = merge_datasets([sets / "a", sets / "moved"], sets / "both")
    assert again.identity == first.identity and len(list(open_dataset(sets / "both"))) == 13
    (sets / "moved").rename(sets / "b")
    (sets / "c").rename(sets / "moved")
    with pytest.raises(UserError, match="is not the data set that was merged: grown or made anew"):
        open_dataset(sets / "both")


def test_parts_on_no_common_way_are_named_from_the_root() -> None:
    assert merge._seen_from(Path("/usr"), Path("/proc")) == "/proc"
    assert merge._seen_from(Path("/usr/lib"), Path("/usr/bin")) == os.path.relpath(os.path.realpath("/usr/bin"), os.path.realpath("/usr/lib"))


@pytest.mark.parametrize("changes", [{"shard": "../../../a/shards/train-000000.tar"}, {"part": 2}, {"part": -1}])
def test_an_index_from_outside_does_not_lead_out_of_the_folders(sets: Path, changes: dict[str, Any]) -> None:
    row = replace(read_index(sets / "a")[0], **changes)
    with pytest.raises(UserError, match=r"index\.parquet names a shard .* which seqgen would not"):
        Dataset(sets / "a", read_manifest(sets / "a"), [row])


# What is refused


def refused(folders: list[Path], out: Path, words: str) -> None:
    """One line, and nothing is written."""
    there = sorted(out.parent.rglob("*")), content(out.parent)
    with pytest.raises(UserError, match=words) as caught:
        merge_datasets(folders, out)
    assert "\n" not in str(caught.value) and (sorted(out.parent.rglob("*")), content(out.parent)) == there


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frames": 4}, "b: frames is 4 there, 3 in .*a; one index goes over data sets of one schema"),
        ({"size": (32, 32)}, "b: picture size is 32 x 32 there, 32 x 24 in .*a"),
        ({"pictures": ["normals"]}, r"b: \.normals\.png is present there, absent in .*a; one"),
        ({"labels": OPTIONAL_LABELS[:-1]}, "b: array flow_source is absent there, present in .*a; one"),
        ({"group": 0}, r"b: meta\.group is a value there, null in .*a; one"),
    ],
)
def test_another_schema_is_refused(sets: Path, options: dict[str, Any], words: str) -> None:
    shutil.rmtree(sets / "b")
    write_data_set(sets / "b", {"train-000000.tar": [0]}, config=config_of(8), **options)
    refused([sets / "a", sets / "b"], sets / "both", words)


def test_other_conventions_are_refused(sets: Path) -> None:
    write_data_set(sets / "d", {"train-000000.tar": [0]}, config=config_of(10))
    rewrite(sets / "d", conventions={**conventions(), "world_axes": "z up"})
    refused([sets / "a", sets / "d"], sets / "both", r"d: convention world_axes is z up there, x right, y down \(gravity\), z forward in .*a; one index")


def test_clips_in_common_are_refused(sets: Path) -> None:
    a, b, c, copy, longer, other = (sets / name for name in ("a", "b", "c", "copy", "longer", "other"))
    shutil.copytree(a, copy)
    refused([a, copy], sets / "both", "copy: the same data set as .*a; name each once")
    write_data_set(longer, {"val-000000.tar": range(2)}, config=config_of(9, sequences=12))
    refused([longer, b, c], sets / "both", "c: its clips are the first of .*longer, of the same config and seed")
    write_data_set(other, {"train-000000.tar": [8, 9]}, config=config_of(8, output={"jpeg_quality": 3}))
    refused([b, other], sets / "both", "other: its clips are the first of .*/b, of the same config and seed")
    write_data_set(sets / "renamed", {"train-000000.tar": [3, 11]}, config=config_of(7, name="renamed"))
    refused([b, a, sets / "renamed"], sets / "both", "renamed: its sequence 00000003 is in .*/a too, byte for byte")
    merge_datasets([a, b], sets / "pair")
    refused([sets / "pair", a], sets / "both", "a: the same data set as")
    assert len(merge_datasets([longer, b], sets / "both").parts) == 2


def test_fewer_than_two_are_refused(sets: Path) -> None:
    refused([], sets / "both", "no folder: one index goes over two or more")
    refused([sets / "a"], sets / "both", "a: one index goes over two or more")


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        (MANIFEST_NAME, None, r"b/dataset\.json is missing: not a data set, or not finished"),
        (MANIFEST_NAME, b"{", r"b/dataset\.json is damaged"),
        (INDEX_NAME, None, r"b/index\.parquet is missing"),
        (INDEX_NAME, b"PAR1", r"b/index\.parquet is damaged"),
        ("shards/test-000000.tar", None, r"b/shards/test-000000\.tar is missing, cut off or damaged; `seqgen verify .*b --repair`"),
        ("shards/test-000000.tar", b"short", r"b/shards/test-000000\.tar is missing, cut off or damaged"),
    ],
)
def test_a_part_that_is_not_whole_is_refused(sets: Path, name: str, data: bytes | None, words: str) -> None:
    (sets / "b" / name).unlink()
    if data is not None:
        (sets / "b" / name).write_bytes(data)
    refused([sets / "a", sets / "b"], sets / "both", words)


def test_a_part_with_a_changed_manifest_or_index_is_refused(sets: Path) -> None:
    path = sets / "b" / MANIFEST_NAME
    text = path.read_text()
    path.unlink()
    path.write_text(text.replace('"seed": 8', '"seed": 9'))
    refused([sets / "a", sets / "b"], sets / "both", r"b/dataset\.json is missing, cut off or damaged")
    path.write_text(text)
    shutil.copy(sets / "a" / INDEX_NAME, sets / "kept")
    (sets / "b" / INDEX_NAME).unlink()
    (sets / "kept").rename(sets / "b" / INDEX_NAME)
    refused([sets / "a", sets / "b"], sets / "both", r"b/index\.parquet is missing, cut off or damaged")


def test_a_place_that_is_taken_is_refused(sets: Path) -> None:
    pair = [sets / "a", sets / "b"]
    refused(pair, sets / "b", "b: lies in .*b, which is to be merged")
    refused(pair, sets / "a" / "shards" / "deep", "deep: lies in .*a, which is to be merged")
    (sets / "link").symlink_to(sets / "a")
    refused(pair, sets / "link", "link: lies in .*a, which is to be merged")
    refused(pair, sets / "c", "c holds another data set; choose another --out")
    (sets / "file").write_text("")
    refused(pair, sets / "file", "file: no place for a data set")
    (sets / "circle").symlink_to(sets / "circle")
    refused(pair, sets / "circle", "circle: no place for a data set")
    (sets / "photos").mkdir()
    (sets / "photos" / "me.jpg").write_text("")
    refused(pair, sets / "photos", r"photos holds other files \(me\.jpg\)")
    merge_datasets(pair, sets / "both")
    refused([sets / "both", sets / "c"], sets / "both", "both: lies in .*both, which is to be merged")
    (sets / "held").mkdir()
    with held_alone(sets / "held"):
        refused(pair, sets / "held", "held: another run is writing here")


def test_a_full_disk_is_said_in_a_line(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(directory: Path, rows: Any, origin: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(merge, "write_index", full)
    with pytest.raises(UserError, match="both: No space left on device; free some space, then the same command continues"):
        merge_datasets([sets / "a", sets / "b"], sets / "both")
    assert not content(sets / "both")


# Splits that share


def test_splits_that_may_leak_are_warned_of(sets: Path, caplog: pytest.LogCaptureFixture) -> None:
    counts = {"train": 8, "val": 1, "test": 1}
    write_data_set(sets / "alike", {"train-000000.tar": [0]}, config=config_of(20, split=counts))
    write_data_set(sets / "also", {"train-000000.tar": [0]}, config=config_of(21, split=counts))
    write_data_set(sets / "otherwise", {"train-000000.tar": [0]}, config=config_of(22, split={**counts, "val": 2}))
    write_data_set(sets / "own bank", {"train-000000.tar": [0]}, config=config_of(23), assets=[replace(ASSET, name="own", source="own")])
    with caplog.at_level(logging.WARNING):
        merge_datasets([sets / "alike", sets / "also", sets / "own bank"], sets / "well")
        assert not caplog.records
        merge_datasets([sets / "alike", sets / "also", sets / "own bank", sets / "otherwise"], sets / "badly")
    [warning] = caplog.records
    message = warning.getMessage()
    assert "alike and" in message and "otherwise are both made of built-in (poses)" in message and "\n" not in message


# The command


def seqgen(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["seqgen", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_the_command(sets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(sets)
    assert seqgen(monkeypatch, "export", "--merge", "a", "b") == 0
    assert capsys.readouterr().out == f"{sets}/a+b: 13 sequences (10 train, 2 val, 1 test) of 2 data sets, which must stay where they are\n"
    assert seqgen(monkeypatch, "export", "--merge", "a", "--merge", "b", "c/", "--out", "deep/er") == 0
    assert len(open_dataset("deep/er")) == 14 and len(open_dataset("a+b")) == 13
    assert seqgen(monkeypatch, "export", "--merge", "a") == 2
    assert seqgen(monkeypatch, "export") == 2
    assert seqgen(monkeypatch, "export", "--merge", "/", "a") == 2
    assert all(line.startswith("seqgen: ") for line in capsys.readouterr().err.splitlines())
