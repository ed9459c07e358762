"""Shards that fail are tried again, then set aside while the rest goes on; one in the foreground; ranges; data sets that grow."""

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from poisoned import DIES, RAISES, DyingWorker, PoisonedWorker, WaitingWorker
from runs import content, small_config

from seqgen.dataset import open_dataset
from seqgen.dataset.claim import Origin, claim_folder
from seqgen.dataset.verify import verify_dataset
from seqgen.errors import UserError
from seqgen.pipeline import cluster, plan, work
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.estimate import shards_to_make
from seqgen.pipeline.generate import generate_sequences
from seqgen.pipeline.plan import Portion, parse_range, plan_shards
from seqgen.pipeline.run import Outcome, ShardsFailed, generate_dataset

POISONED = 4  # in train-000001.tar of clips 3, 4, 5


class Poison:
    """`generate_sequences`, but one clip raises, for so many times."""

    def __init__(self, error: Exception, *, index: int | None = POISONED, times: int = 1000) -> None:
        self.error, self.index, self.times, self.asked = error, index, times, 0

    def __call__(self, indices: Sequence[int], *rest: object) -> Iterator[object]:
        if self.index is None or self.index in indices:
            self.asked += 1
            if self.asked <= self.times:
                raise self.error
        return generate_sequences(indices, *rest)


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch):
    def give(error: Exception, **how: int | None) -> Poison:
        poisoned = Poison(error, **how)
        monkeypatch.setattr(plan, "generate_sequences", poisoned)
        return poisoned

    return give


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run") / "reference"
    generate_dataset(small_config(), directory)
    return directory


def shards_in(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "shards").iterdir())


def test_a_shard_that_fails_three_times_is_set_aside_and_the_rest_goes_on(tmp_path: Path, reference: Path, poison, monkeypatch: pytest.MonkeyPatch) -> None:
    poisoned = poison(ZeroDivisionError("poison"))
    told = r"1 shard could not be made: train-000001\.tar \(sequences 3 to 5, seed 0\); .*--only-shard train-000001\.tar(?s:.*)ZeroDivisionError: poison"
    with pytest.raises(ShardsFailed, match=told):
        generate_dataset(small_config(), tmp_path / "out")
    assert poisoned.asked == 3
    assert shards_in(tmp_path / "out") == ["test-000000.tar", "train-000000.tar", "val-000000.tar"]
    told = json.loads((tmp_path / "out" / ".progress" / "train-000001.tar.failed.json").read_text())
    assert (told["ids"], told["seed"], told["tries"]) == ([3, 4, 5], 0, 3) and told["traceback"].startswith("Traceback") and "ZeroDivisionError: poison" in told["traceback"]
    assert not (tmp_path / "out" / "dataset.json").exists()

    monkeypatch.undo()
    assert generate_dataset(small_config(), tmp_path / "out") == Outcome(3, whole=True)
    assert content(tmp_path / "out") == content(reference) and not (tmp_path / "out" / ".progress").exists()


def test_a_fault_that_passes_is_not_told(tmp_path: Path, reference: Path, poison) -> None:
    assert poison(RuntimeError("once or twice"), times=2) and generate_dataset(small_config(), tmp_path / "out").whole
    assert content(tmp_path / "out") == content(reference)


def test_where_nothing_can_be_made_the_run_stops(tmp_path: Path, poison) -> None:
    poisoned = poison(KeyError("everything"), index=None)
    with pytest.raises(ShardsFailed, match="3 shards could not be made"):
        generate_dataset(small_config(), tmp_path / "out")
    assert poisoned.asked <= 3 * 4  # of four shards each was tried; one at most not to the end


def test_what_the_user_can_mend_stops_everything_at_once(tmp_path: Path, poison) -> None:
    poisoned = poison(UserError("a.jpg: mend it"))
    with pytest.raises(UserError, match=r"a\.jpg: mend it"):
        generate_dataset(small_config(), tmp_path / "out")
    assert poisoned.asked == 1


def test_one_shard_in_the_foreground_raises_what_is_raised(tmp_path: Path, poison) -> None:
    poisoned = poison(ZeroDivisionError("poison"))
    with pytest.raises(ZeroDivisionError, match="poison"):
        generate_dataset(small_config(workers=2), tmp_path / "out", portion=Portion(shard="train-000001"))
    assert poisoned.asked == 1


@pytest.mark.parametrize("shard", ["train-000001.tar", "train-000001", "1"])
def test_one_shard_alone_has_the_bytes_it_has_among_others(tmp_path: Path, reference: Path, shard: str) -> None:
    assert generate_dataset(small_config(), tmp_path, portion=Portion(shard=shard)) == Outcome(3, whole=False)
    assert shards_in(tmp_path) == ["train-000001.tar"]
    assert (tmp_path / "shards" / "train-000001.tar").read_bytes() == (reference / "shards" / "train-000001.tar").read_bytes()


def test_an_unknown_shard_is_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--only-shard 4: no such shard; there are train-000000\.tar to test-000000\.tar, or by number 0 to 3"):
        generate_dataset(small_config(), tmp_path / "out", portion=Portion(shard="4"))
    assert not (tmp_path / "out").exists()


def test_workers_that_raise_or_die_cost_only_their_shards(tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "RemoteWorker", PoisonedWorker)
    monkeypatch.setattr(work, "MAX_TRIES", 2)  # a worker that dies takes seconds to replace
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with pytest.raises(ShardsFailed, match="2 shards could not be made"):
        generate_dataset(small_config(workers=2), tmp_path)
    assert shards_in(tmp_path) == ["test-000000.tar", "train-000000.tar"]
    told = {path.name: json.loads(path.read_text())["traceback"] for path in (tmp_path / ".progress").glob("*.failed.json")}
    assert "ZeroDivisionError: poison" in told[f"{RAISES}.failed.json"] and "died" in told[f"{DIES}.failed.json"]
    monkeypatch.undo()
    assert generate_dataset(small_config(workers=2), tmp_path) == Outcome(5, whole=True)
    assert content(tmp_path) == content(reference)


def test_a_node_that_goes_costs_only_its_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.cluster_utils import Cluster

    config = small_config(sequences=40, output={"sequences_per_shard": 2})
    generate_dataset(config, tmp_path / "alone")
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        other = nodes.add_node(num_cpus=2)
        monkeypatch.setenv("RAY_ADDRESS", nodes.address)
        removed: list[int] = []

        def remove(progress) -> None:
            if not removed and progress.made > 4:
                removed.append(progress.made)
                nodes.remove_node(other, allow_graceful=False)

        outcome = generate_dataset(small_config(sequences=40, output={"sequences_per_shard": 2}, workers=3), tmp_path / "cluster", report=remove)
    finally:
        nodes.shutdown()
    assert removed and outcome == Outcome(40, whole=True)
    assert content(tmp_path / "cluster") == content(tmp_path / "alone")


def test_a_node_that_goes_while_its_workers_begin_costs_nothing(tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of four workers, as many as a worker alone may die at the start."""
    from ray.cluster_utils import Cluster

    monkeypatch.setattr(cluster, "RemoteWorker", WaitingWorker)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})

    def remove(node: object) -> None:
        while len(list(tmp_path.glob("begun-*"))) < 4:
            time.sleep(0.05)
        nodes.remove_node(node, allow_graceful=False)

    def count(pool: cluster.RayPool, *what: object) -> None:
        counted(pool, *what)
        if pool.failures == 3:  # the fourth may begin once this is known
            (tmp_path / "go").touch()

    counted = cluster.RayPool._count_death
    monkeypatch.setattr(cluster.RayPool, "_count_death", count)
    try:
        other = nodes.add_node(num_cpus=3)
        nodes.wait_for_nodes()
        monkeypatch.setenv("RAY_ADDRESS", nodes.address)
        threading.Thread(target=remove, args=[other], daemon=True).start()
        outcome = generate_dataset(small_config(workers=4), tmp_path / "cluster")
    finally:
        nodes.shutdown()
    assert outcome == Outcome(10, whole=True) and (tmp_path / "go").exists() and content(tmp_path / "cluster") == content(reference)


def test_workers_that_never_begin_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "RemoteWorker", DyingWorker)
    monkeypatch.setattr(cluster, "MAX_TRIES", 2)  # each takes seconds to replace
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with pytest.raises(UserError, match=r"Ray workers die before they can begin, 2 by now: .*--workers 0 takes no Ray") as error:
        generate_dataset(small_config(workers=1), tmp_path)
    assert "\n" not in str(error.value)


# Ranges and growing


@pytest.mark.parametrize("text", ["", "1", "2/2", "-1/2", "1/0", "a/b", "1/2/3", "0/2 ", "٣/4x"])
def test_a_range_is_one_of_so_many(text: str) -> None:
    with pytest.raises(UserError, match="expected i/n with i from 0 to n - 1"):
        parse_range(text)


def test_ranges_are_all_shards_once() -> None:
    plans = plan_shards(small_config(sequences=100))
    parts = [parse_range(f"{place}/7").among(plans) for place in range(7)]
    assert sorted(plan.name for part in parts for plan in part) == sorted(plan.name for plan in plans)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_ranges_make_the_data_set_together(tmp_path: Path, reference: Path) -> None:
    assert generate_dataset(small_config(), tmp_path, portion=Portion(1, 2)) == Outcome(5, whole=False)
    assert generate_dataset(small_config(), tmp_path, portion=Portion(1, 2)) == Outcome(0, whole=False)
    assert not (tmp_path / "dataset.json").exists()
    assert generate_dataset(small_config(), tmp_path, portion=Portion(0, 2)) == Outcome(5, whole=True)
    assert content(tmp_path) == content(reference)


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run") / "larger"
    generate_dataset(small_config(sequences=25), directory)
    return directory


def test_a_finished_data_set_grows_to_the_bytes_of_a_larger_one(tmp_path: Path, larger: Path) -> None:
    generate_dataset(small_config(), tmp_path)
    first = {clip.key: clip for clip in open_dataset(tmp_path)}
    kept = (tmp_path / "shards" / "train-000000.tar").stat().st_mtime_ns
    assert generate_dataset(small_config(sequences=25), tmp_path) == Outcome(19, whole=True)  # two shards of three were full
    assert content(tmp_path) == content(larger)
    assert (tmp_path / "shards" / "train-000000.tar").stat().st_mtime_ns == kept
    assert {clip.key: clip.meta for clip in open_dataset(tmp_path) if clip.key in first} == {key: clip.meta for key, clip in first.items()}


def test_kept_shards_are_hashed_once(tmp_path: Path, larger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the first run that takes them over, and by a later one where they were touched since; a dry run notes nothing."""
    from seqgen.dataset import progress

    hashed: list[str] = []
    digest = progress.file_digest
    monkeypatch.setattr(progress, "file_digest", lambda path: hashed.append(path.name) or digest(path))
    generate_dataset(small_config(), tmp_path)
    grown = small_config(sequences=25)
    generate_dataset(grown, tmp_path, portion=Portion(0, 9))
    assert hashed == ["train-000000.tar"]
    generate_dataset(grown, tmp_path, portion=Portion(0, 9))
    assert hashed == ["train-000000.tar"]
    os.utime(tmp_path / "shards" / "train-000000.tar", ns=(1, 1))
    assert shards_to_make(tmp_path, grown, Origin(grown.content(), gather_assets(grown).digest), Portion(0, 9), overwrite=False)[1].size == 0
    generate_dataset(grown, tmp_path, portion=Portion(0, 9))
    generate_dataset(grown, tmp_path, portion=Portion(0, 9))
    assert hashed == ["train-000000.tar"] * 3
    assert generate_dataset(grown, tmp_path).whole and content(tmp_path) == content(larger)


@pytest.mark.slow
def test_an_unfinished_data_set_grows_too(tmp_path: Path, larger: Path) -> None:
    generate_dataset(small_config(), tmp_path, portion=Portion(shard="train-000000"))
    assert generate_dataset(small_config(sequences=25), tmp_path) == Outcome(22, whole=True)
    assert content(tmp_path) == content(larger)


@pytest.mark.parametrize("first", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_ranges_extend_a_finished_data_set(tmp_path: Path, larger: Path, first: int) -> None:
    generate_dataset(small_config(), tmp_path)
    assert not generate_dataset(small_config(sequences=25), tmp_path, portion=Portion(first, 2)).whole
    (tmp_path / "shards" / ".train-000009.tar.partial-1-2").write_text("of a killed run")
    assert generate_dataset(small_config(sequences=25), tmp_path, portion=Portion(1 - first, 2)).whole
    assert content(tmp_path) == content(larger) and verify_dataset(tmp_path) == []


def test_a_shard_that_vanishes_during_the_run_is_no_success(tmp_path: Path) -> None:
    def remove(progress) -> None:
        (tmp_path / "shards" / "train-000000.tar").unlink(missing_ok=True)

    with pytest.raises(UserError, match="shards were removed or changed while this run was at work; the same command makes them again"):
        generate_dataset(small_config(), tmp_path, report=remove)
    assert generate_dataset(small_config(), tmp_path) == Outcome(3, whole=True)


def test_a_folder_that_became_another_data_sets_is_left_alone(tmp_path: Path) -> None:
    """As it may where no locks keep runs apart."""

    def take_over(progress) -> None:
        claim_folder(tmp_path, Origin({"seed": 9}, "of others"), overwrite=True)

    with pytest.raises(UserError, match="has become another data set's while this run was at work"):
        generate_dataset(small_config(), tmp_path, report=take_over)


def test_a_data_set_does_not_shrink(larger: Path) -> None:
    before = content(larger)
    with pytest.raises(UserError, match="sequences is 25 there, 10 here"):
        generate_dataset(small_config(), larger)
    with pytest.raises(UserError, match="seed is 0 there, 1 here; sequences is 25 there, 40 here"):
        generate_dataset(small_config(sequences=40, seed=1), larger)
    assert content(larger) == before
