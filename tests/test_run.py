"""Whole runs: the same bytes from no, one and two Ray workers; interrupted and continued; refused where they must not write."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from runs import content, small_config

from seqgen.dataset import open_dataset
from seqgen.errors import UserError
from seqgen.pipeline import plan
from seqgen.pipeline import run as run_module
from seqgen.pipeline.loop import InProcess
from seqgen.pipeline.plan import plan_shards
from seqgen.pipeline.run import Outcome, Progress, generate_dataset
from seqgen.pipeline.work import Work
from seqgen.scene.surroundings import photos as photos_module


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run") / "reference"
    assert generate_dataset(small_config(), directory) == Outcome(10, whole=True)
    return directory


def test_a_run_is_whole(reference: Path) -> None:
    dataset = open_dataset(reference)
    assert [row.id for row in dataset.rows] == list(range(10)) == [sequence.meta["index"] for sequence in dataset]
    assert dataset.manifest.counts == {"sequences": 10, "frames": 40, "splits": {"train": 6, "val": 2, "test": 2}}
    assert sorted(path.name for path in (reference / "shards").iterdir()) == ["test-000000.tar", "train-000000.tar", "train-000001.tar", "val-000000.tar"]
    assert not (reference / ".progress").exists()
    manifest = json.loads((reference / "dataset.json").read_text())
    assert manifest["config"]["poses"]["rows"] == 1500 and "workers" not in manifest["config"]
    assert {asset["licence"] for asset in manifest["assets"]} == {"CC0-1.0", "CC-BY-2.0"}
    assert manifest["sharing"]["may_be_shared"] and len(manifest["sharing"]["attribution"]) == 2


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_ray_workers_write_the_same_bytes(reference: Path, tmp_path: Path, workers: int) -> None:
    generate_dataset(small_config(workers=workers), tmp_path / "out")
    assert content(tmp_path / "out") == content(reference)


def test_our_own_ray_listens_on_loopback_only() -> None:
    """In a process of its own: Ray reads the switch when it is first imported, here perhaps by an earlier test."""
    script = (
        "from seqgen.pipeline.cluster import Cluster\n"
        "with Cluster(1, 0):\n"
        "    import ray\n"
        "    print([node['NodeManagerAddress'] for node in ray.nodes()], ray.get_runtime_context().gcs_address.rpartition(':')[0])\n"
        "print(ray.is_initialized())\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.splitlines() == ["['127.0.0.1'] 127.0.0.1", "False"]


def test_a_node_without_the_folder_says_so_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a node of a cluster that the disk of --out is not mounted on; nothing is made there."""

    @contextmanager
    def elsewhere(work: Work, number: int, say: object) -> Iterator[InProcess]:
        yield InProcess(replace(work, directory=tmp_path / "not mounted" / "out"))

    monkeypatch.setattr(run_module, "Run", partial(run_module.Run, workers=elsewhere))
    monkeypatch.setattr(plan, "generate_sequences", lambda *_: pytest.fail("work has begun"))
    with pytest.raises(UserError, match=r"not mounted/out: on .+ this is not the folder of the run; --out must be one that all machines share, or in a store") as error:
        generate_dataset(small_config(), tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "not mounted").exists()


def test_another_seed_writes_other_bytes(reference: Path, tmp_path: Path) -> None:
    generate_dataset(small_config(seed=1), tmp_path / "out")
    ours, theirs = content(tmp_path / "out"), content(reference)
    assert ours.keys() == theirs.keys() and all(ours[name] != theirs[name] for name in ours)


def test_an_interrupted_run_continues_to_the_same_bytes(reference: Path, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.sequences > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_dataset(small_config(), tmp_path / "out", report=interrupt)
    assert not (tmp_path / "out" / "dataset.json").exists()
    said: list[str] = []
    assert generate_dataset(small_config(), tmp_path / "out", say=said.append)
    assert any(text.startswith("continuing: 2 of 4") for text in said)
    assert content(tmp_path / "out") == content(reference)


def test_a_finished_run_is_left_alone(reference: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in reference.rglob("*") if path.is_file()}
    assert generate_dataset(small_config(workers=2), reference) == Outcome(0, whole=True)
    assert before == {path: path.stat().st_mtime_ns for path in reference.rglob("*") if path.is_file()}


def test_another_config_is_refused_and_overwrites_when_told(tmp_path: Path) -> None:
    first, second = small_config(sequences=2), small_config(sequences=2, seed=5)
    generate_dataset(first, tmp_path / "out")
    before = content(tmp_path / "out")
    with pytest.raises(UserError, match=r"seed is 0 there, 5 here.*--overwrite"):
        generate_dataset(second, tmp_path / "out")
    assert content(tmp_path / "out") == before
    assert generate_dataset(second, tmp_path / "out", overwrite=True)
    assert content(tmp_path / "out") != before and open_dataset(tmp_path / "out").manifest.seed == 5


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="other files"):
            generate_dataset(small_config(sequences=1), tmp_path, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_photo_that_breaks_off_is_the_users_to_mend(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen at once in a folder of some size; in a huge one when it is needed, in this process or in a worker."""
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.effect_noise((300, 300), 80).convert("RGB").save(photos / "a.jpg")
    (photos / "a.jpg").write_bytes((photos / "a.jpg").read_bytes()[:3000])
    with pytest.raises(UserError, match="no readable image"):
        generate_dataset(small_config(workers=workers, background={"folder": str(photos)}), tmp_path / "out")
    monkeypatch.setattr(photos_module, "CHECKED_PHOTOS", 0)
    with pytest.raises(UserError, match=r"a\.jpg: photo cannot be decoded"):
        generate_dataset(small_config(workers=workers, background={"folder": str(photos)}), tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*.tar"))


def test_clips_of_one_motion_are_in_one_split_and_one_group(tmp_path: Path) -> None:
    config = small_config(sequences=12, camera={"views": 3}, split={"train": 2, "val": 1, "test": 1})
    assert generate_dataset(config, tmp_path)
    rows = {row.id: row for row in open_dataset(tmp_path).rows}
    assert [rows[index].group for index in range(12)] == [index - index % 3 for index in range(12)]
    assert [rows[index].split for index in range(0, 12, 3)] == ["train", "train", "val", "test"]
    for index, row in rows.items():
        assert row.split == rows[row.group].split and row.view == index % 3 and row.shard.startswith(row.split)
    assert sum(len(open_dataset(tmp_path, split)) for split in ("train", "val", "test")) == 12


def test_a_motion_has_all_its_cameras() -> None:
    with pytest.raises(ValueError, match="take 9 or 12"):
        small_config(camera={"views": 3})


def test_a_shard_is_cut_between_motions() -> None:
    config = small_config(sequences=12, camera={"views": 3}, split={"train": 1, "val": 0, "test": 0}, output={"sequences_per_shard": 4})
    assert [plan.ids for plan in plan_shards(config)] == [(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11)]
