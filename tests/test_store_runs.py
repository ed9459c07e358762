"""Whole runs into a store: what a folder would hold, from any number of workers and machines, killed and continued, and nothing half at any time."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from object_store import ObjectStore, store_in_use
from ray_nodes import nodes_at_work, parent_of
from runs import content, small_config

from seqgen.cli import run
from seqgen.dataset import HandSequence, claim, open_dataset
from seqgen.dataset.verify import verify_dataset
from seqgen.errors import UserError
from seqgen.files import write_json
from seqgen.pipeline import plan
from seqgen.pipeline.cluster import LOOPBACK_ONLY
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import generate_sequences
from seqgen.pipeline.plan import Portion, parse_range
from seqgen.pipeline.run import Outcome, Progress, ShardsFailed, generate_dataset
from seqgen.pipeline.work import check_reach
from seqgen.places import Place, place_of


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with store_in_use() as running:
        yield running


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("run") / "reference"
    generate_dataset(small_config(), directory)
    return directory


@pytest.fixture
def bucket(store: ObjectStore) -> Iterator[str]:
    yield store.new_bucket()
    store.fault = lambda method, path: None


def assert_as_in_the_folder(store: ObjectStore, bucket: str, reference: Path, prefix: str = "clips/") -> None:
    """The same files of the same bytes, but for the run's own times; and nothing beside them."""
    here, there = store.content(bucket, prefix), {str(path.relative_to(reference)): path.read_bytes() for path in reference.rglob("*") if path.is_file()}
    assert {name: data for name, data in here.items() if name != "dataset.json"} == {name: data for name, data in there.items() if name != "dataset.json"}
    ours, theirs = ({name: value for name, value in json.loads(files["dataset.json"]).items() if name not in ("run", "checksum")} for files in (here, there))
    assert ours == theirs and bucket.encode() not in here["dataset.json"]


def slow(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize("workers", [slow(0), 2])
def test_a_store_holds_what_a_folder_would(store: ObjectStore, bucket: str, reference: Path, workers: int) -> None:
    store.asked.clear()
    assert generate_dataset(small_config(workers=workers), place_of(f"s3://{bucket}/clips")) == Outcome(10, whole=True)
    assert_as_in_the_folder(store, bucket, reference)
    puts = [asked.partition("/clips/")[2] for asked in store.asked if asked.startswith("PUT") and ".progress" not in asked and "/clips/" in asked]
    assert sorted(puts[:4]) == ["shards/test-000000.tar", "shards/train-000000.tar", "shards/train-000001.tar", "shards/val-000000.tar"]
    assert puts[4:] == ["index.parquet", "dataset.json"]
    assert not any(asked.startswith("POST") and "uploads" in asked for asked in store.asked)
    places = [place for place, asked in enumerate(store.asked) if asked.startswith("PUT") and "/shards/" in asked]
    assert not [asked for asked in store.asked[places[0] : places[-1]] if "dataset.json" in asked or (asked.startswith("DELETE") and "probe" not in asked)]
    assert generate_dataset(small_config(), place_of(f"s3://{bucket}/clips")) == Outcome(0, whole=True)


@pytest.mark.parametrize("scheme", ["memory", slow("file")])
def test_other_stores_hold_it_too(tmp_path: Path, reference: Path, scheme: str) -> None:
    place = place_of(f"{scheme}://{tmp_path}/clips")
    assert generate_dataset(small_config(), place) == Outcome(10, whole=True)
    assert files_of(place) == {name: (reference / name).read_bytes() for name in files_of(place)} and len(files_of(place)) == 5
    assert sorted(path.name for path in place.iterdir()) == ["dataset.json", "index.parquet", "shards"]


def files_of(place: Place) -> dict[str, bytes]:
    return {f"shards/{path.name}": path.read_bytes() for path in (place / "shards").iterdir()} | {"index.parquet": (place / "index.parquet").read_bytes()}


@pytest.mark.slow
def test_a_stored_data_set_is_read_verified_and_previewed(store: ObjectStore, bucket: str, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    url = f"s3://{bucket}/clips"
    generate_dataset(small_config(), place_of(url))
    there, here = open_dataset(url), open_dataset(reference)
    assert list(there.rows) == list(here.rows) and [sequence.meta for sequence in there] == [sequence.meta for sequence in here]
    assert (there[7].rgb == here[7].rgb).all() and there["00000002"].meta == here[2].meta and len(open_dataset(url, split="val")) == 2
    assert verify_dataset(place_of(url)) == []
    assert run(["verify", url]) == 0 and f"{url}: whole" in capsys.readouterr().out
    assert run(["verify", url, "--deep", "--percent", "20"]) == 0 and "labels derived again" in capsys.readouterr().out
    assert run(["generate", url, "--sequence", "4", "--out", str(tmp_path)]) == 0 and f"the same bytes as in {url}/shards/train-000001.tar" in capsys.readouterr().out
    assert run(["preview", url]) == 0 and capsys.readouterr().out.split() == [f"{url}/preview.png", f"{url}/preview.gif"]
    assert store.content(bucket, "clips/")["preview.png"].startswith(b"\x89PNG")
    data = bytearray(store.content(bucket, "clips/")["shards/train-000000.tar"])
    data[3000] ^= 1
    store.client().put_object(Bucket=bucket, Key="clips/shards/train-000000.tar", Body=bytes(data))
    assert {fault.file for fault in verify_dataset(place_of(url))} == {"train-000000.tar"}
    with pytest.raises(UserError, match="--repair goes with folders; copy s3://"):
        run(["verify", url, "--repair"])


class Stop(BaseException):
    """What nobody catches, as SIGKILL is not."""


@pytest.mark.slow
def test_an_interrupted_run_continues(store: ObjectStore, bucket: str, reference: Path) -> None:
    place = place_of(f"s3://{bucket}/clips")

    def interrupt(progress: Progress) -> None:
        if progress.sequences > 3:
            raise Stop

    with pytest.raises(Stop):
        generate_dataset(small_config(), place, report=interrupt)
    durable = {name: data for name, data in store.content(bucket, "clips/").items() if name.startswith("shards/")}
    assert len(durable) == 2 and "dataset.json" not in store.content(bucket, "clips/")
    store.asked.clear()
    assert generate_dataset(small_config(), place) == Outcome(4, whole=True)
    assert_as_in_the_folder(store, bucket, reference)
    assert not {asked for asked in store.asked if asked.startswith("PUT")} & {f"PUT /{bucket}/clips/{name}" for name in durable}


RUN = "from seqgen.cli import main; main()"
JOB = ("--sequences", "10", "--clip.frames", "4", "--clip.size", "96,80", "--poses.rows", "1500", "--output.preview", "0", "--output.sequences-per-shard", "3")
SPLIT = ("--split.train", "6", "--split.val", "2", "--split.test", "2")


@pytest.mark.parametrize("moment", [slow("PUT .*/shards/train-000001"), "PUT .*/.progress/train-000001", slow("PUT .*/dataset.json"), slow("PUT .*/index.parquet")])
def test_a_run_that_is_killed_while_it_puts_is_continued(store: ObjectStore, bucket: str, reference: Path, moment: str) -> None:
    """The machine dies at the moment that the store receives the request; what the store makes of it may be either."""
    url, method = f"s3://{bucket}/clips", moment.partition(" ")[0]
    run = subprocess.Popen([sys.executable, "-c", RUN, "generate", *JOB, *SPLIT, "--workers", "0", "--out", url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def kill(asked: str, path: str) -> int | None:
        if asked == method and moment.partition(".*")[2] in path:
            run.kill()
            return 500
        return None

    store.fault = kill
    _, error = run.communicate(timeout=120)
    assert run.returncode == -9, error
    store.fault = lambda method, path: None
    assert "dataset.json" not in store.content(bucket, "clips/")
    generate_dataset(small_config(), place_of(url))
    assert_as_in_the_folder(store, bucket, reference)


def test_a_shard_that_cannot_be_put_is_set_aside_and_the_rest_goes_on(store: ObjectStore, bucket: str, reference: Path) -> None:
    place = place_of(f"s3://{bucket}/clips")
    store.failing(500, "PUT", "shards/train-000001")
    with pytest.raises(ShardsFailed, match=r"1 shard could not be made: train-000001\.tar .*(?s:.*)made to fail: InternalError"):
        generate_dataset(small_config(), place)
    there = store.content(bucket, "clips/")
    assert sorted(name for name in there if name.startswith("shards/")) == ["shards/test-000000.tar", "shards/train-000000.tar", "shards/val-000000.tar"]
    assert json.loads(there[".progress/train-000001.tar.failed.json"])["tries"] == 3 and "dataset.json" not in there
    store.fault = lambda method, path: None
    assert generate_dataset(small_config(), place) == Outcome(3, whole=True)
    assert_as_in_the_folder(store, bucket, reference)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shards/train-000001.tar", ".progress/train-000001.tar.json", "index.parquet", "dataset.json", ".progress/config.json"])
def test_a_put_that_fails_once_costs_nothing(store: ObjectStore, bucket: str, reference: Path, name: str) -> None:
    store.failing(503, "PUT", f"/clips/{name}", times=1)
    assert generate_dataset(small_config(), place_of(f"s3://{bucket}/clips")).whole
    assert_as_in_the_folder(store, bucket, reference)


@pytest.mark.slow
@pytest.mark.parametrize(("status", "words"), [(403, "AccessDenied"), (404, "NoSuchBucket")])
def test_rights_that_are_lost_meanwhile_stop_the_run_in_one_line(store: ObjectStore, bucket: str, reference: Path, status: int, words: str) -> None:
    place = place_of(f"s3://{bucket}/clips")
    store.failing(status, "PUT", "shards/train-000001")
    with pytest.raises(UserError, match=rf"^s3://{bucket}/clips/shards/train-000001\.tar: made to fail: {words}; see to it, then the same command continues$"):
        generate_dataset(small_config(), place)
    store.fault = lambda method, path: None
    assert generate_dataset(small_config(), place) == Outcome(7, whole=True)
    assert_as_in_the_folder(store, bucket, reference)


def test_a_worker_without_rights_says_so_before_any_work(store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on another node: the driver of the run may write, and a worker may not."""
    tries = iter([None, 403])
    store.fault = lambda method, path: next(tries, None) if method == "PUT" and "probe" in path else None
    monkeypatch.setattr(plan, "generate_sequences", lambda *_: pytest.fail("work has begun"))
    with pytest.raises(UserError, match=rf"^s3://{bucket}/clips: no place for a data set \(made to fail: AccessDenied\); give this account the rights"):
        generate_dataset(small_config(), place_of(f"s3://{bucket}/clips"))


def test_a_store_that_is_silent_while_a_worker_opens_is_left_to_its_first_shard(store: ObjectStore, bucket: str) -> None:
    place = place_of(f"s3://{bucket}/clips")
    write_json(place / ".progress" / "config.json", {"config": {}, "identity": "ours"})
    store.failing(503, "PUT", "probe")
    check_reach(place, "ours")
    store.fault = lambda method, path: None
    check_reach(place, "ours")
    with pytest.raises(UserError, match="this is not the folder of the run"):
        check_reach(place, "theirs")


@pytest.mark.slow
def test_a_store_that_falls_silent_is_told_in_one_line(store: ObjectStore, bucket: str) -> None:
    def silent(progress: Progress) -> None:
        store.failing(500, "PUT", "")

    with pytest.raises(UserError, match=rf"^s3://{bucket}/clips/.*InternalError; see to it, then the same command continues$") as error:
        generate_dataset(small_config(), place_of(f"s3://{bucket}/clips"), report=silent)
    assert "\n" not in str(error.value)


def test_ranges_make_it_together(store: ObjectStore, bucket: str, reference: Path) -> None:
    place = place_of(f"s3://{bucket}/clips")
    assert [generate_dataset(small_config(), place, portion=parse_range(f"{place_}/3")).whole for place_ in range(3)] == [False, False, True]
    assert_as_in_the_folder(store, bucket, reference)


@pytest.mark.slow
def test_machines_at_work_at_once_make_it_together(store: ObjectStore, bucket: str, reference: Path) -> None:
    words = [sys.executable, "-c", RUN, "generate", *JOB, *SPLIT, "--workers", "0", "--out", f"s3://{bucket}/clips", "--shard-range"]
    runs = [subprocess.Popen([*words, f"{number}/2"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for number in range(2)]
    told = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    assert_as_in_the_folder(store, bucket, reference)


@pytest.mark.slow
def test_two_whole_runs_at_once_make_it_twice(store: ObjectStore, bucket: str, reference: Path) -> None:
    """Where nothing can be locked, both go on; what they write is the same, and the later one leaves nothing behind."""
    place = place_of(f"s3://{bucket}/clips")

    def other(progress: Progress) -> None:
        if progress.made == 3:
            assert generate_dataset(small_config(), place).whole

    assert generate_dataset(small_config(), place, report=other).whole
    assert_as_in_the_folder(store, bucket, reference)


@pytest.mark.slow
def test_a_larger_data_set_keeps_the_shards(store: ObjectStore, bucket: str, reference: Path) -> None:
    place = place_of(f"s3://{bucket}/clips")
    generate_dataset(small_config(sequences=6), place)
    store.asked.clear()
    assert generate_dataset(small_config(), place).whole
    assert_as_in_the_folder(store, bucket, reference)
    assert f"PUT /{bucket}/clips/shards/train-000000.tar" not in store.asked


@pytest.mark.slow
def test_another_config_is_refused_and_overwrites_when_told_to(store: ObjectStore, bucket: str, reference: Path) -> None:
    place = place_of(f"s3://{bucket}/clips")
    generate_dataset(small_config(seed=1, sequences=16), place)
    with pytest.raises(UserError, match=rf"s3://{bucket}/clips holds a data set of another config \(seed is 1 there, 0 here"):
        generate_dataset(small_config(sequences=16), place)
    generate_dataset(small_config(), place, overwrite=True)
    assert_as_in_the_folder(store, bucket, reference)


def test_overwriting_that_is_killed_leaves_no_old_shards(tmp_path: Path, reference: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the old shards are swept, and continued: only the data set's own are there when it is declared whole."""
    place = place_of(f"memory://{tmp_path}/clips")
    generate_dataset(small_config(seed=1, sequences=20), place)

    def killed(directory: Place) -> None:
        raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(claim, "sweep", killed)
        generate_dataset(small_config(), place, overwrite=True)
    assert len(list((place / "shards").iterdir())) > 4
    assert generate_dataset(small_config(), place) == Outcome(10, whole=True)
    assert files_of(place) == files_of(reference) and verify_dataset(place) == []


def test_foreign_objects_are_left_alone(store: ObjectStore, bucket: str) -> None:
    store.client().put_object(Bucket=bucket, Key="clips/thesis.tex", Body=b"mine")
    with pytest.raises(UserError, match=r"holds other files \(thesis\.tex\) and no data set; choose an empty folder"):
        generate_dataset(small_config(), place_of(f"s3://{bucket}/clips"), overwrite=True)
    assert store.content(bucket) == {"clips/thesis.tex": b"mine"}


@pytest.mark.slow
def test_a_place_that_changes_hands_takes_no_more_shards(store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run overwrites while a shard is being made: the shard is not put any more."""
    place, other = place_of(f"s3://{bucket}/clips"), small_config(seed=1, sequences=2)

    def overtaken(indices: Sequence[int], sources: object, config: GenerateConfig) -> Iterator[HandSequence]:
        if 4 in indices and config.seed == 0:
            generate_dataset(other, place, overwrite=True)
        return generate_sequences(indices, sources, config)

    monkeypatch.setattr(plan, "generate_sequences", overtaken)
    with pytest.raises(UserError, match=rf"s3://{bucket}/clips has become another data set's while this run was at work"):
        generate_dataset(small_config(), place)
    assert open_dataset(place).manifest.seed == 1 and verify_dataset(place) == []


@pytest.mark.slow
def test_the_command_makes_previews_too(store: ObjectStore, bucket: str, capsys: pytest.CaptureFixture) -> None:
    url = f"s3://{bucket}/clips"
    words = [word for word in (*JOB, *SPLIT) if word != "--output.preview"]
    words.remove("0")
    assert run(["generate", *words, "--workers", "0", "--output.preview", "2", "--out", url]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{url}/preview.png: what it looks like"
    assert {"preview.png", "preview.gif", "dataset.json"} < store.content(bucket, "clips/").keys()


def test_workers_share_no_memory(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^memory:/.*: is of this process alone; --workers 0 makes a data set there$"):
        generate_dataset(small_config(workers=2), place_of(f"memory://{tmp_path}"))


@pytest.mark.slow
def test_the_command_says_so_in_one_line(store: ObjectStore, bucket: str) -> None:
    def command(out: str) -> tuple[int, str]:
        done = subprocess.run([sys.executable, "-c", RUN, "generate", *JOB, "--out", out], capture_output=True, text=True)
        assert done.stdout == "", "no work is begun"
        return done.returncode, done.stderr

    code, error = command("s3://no-such-bucket/clips")
    assert code == 2 and error.startswith("seqgen: s3://no-such-bucket/clips: no place for a data set (") and error.count("\n") == 1
    code, error = command("s3://key:hunter2@bucket/clips")
    assert code == 2 and "hunter2" not in error and error.count("\n") == 1


@pytest.mark.slow
def test_only_one_shard(store: ObjectStore, bucket: str) -> None:
    assert not generate_dataset(small_config(), place_of(f"s3://{bucket}/clips"), portion=Portion(shard="val-000000")).whole
    assert [name for name in store.content(bucket, "clips/") if name.startswith("shards")] == ["shards/val-000000.tar"]


@pytest.mark.slow
def test_no_two_runs_differ(reference: Path, tmp_path: Path) -> None:
    generate_dataset(small_config(), place_of(f"file://{tmp_path}/out"))
    assert content(tmp_path / "out") == content(reference)


@pytest.mark.slow
def test_a_separate_cluster_writes_into_a_store_what_one_process_writes_here(store: ObjectStore, bucket: str, reference: Path) -> None:
    """The command joins a cluster that runs already. Its two workers have each a node to themselves, and the first shard is put when both have opened."""
    raylets, both = dict[int, int](), threading.Event()  # of the processes that try the store
    command: list[subprocess.Popen] = []

    def watch(method: str, path: str) -> None:
        tried = re.search(r"\.probe\.partial-(\d+)-", path)
        if tried and int(tried[1]) != command[0].pid:
            raylets.setdefault(int(tried[1]), parent_of(int(tried[1])))
        if len(raylets) == 2:
            both.set()
        if method == "PUT" and "/shards/" in path:
            both.wait(60)

    with nodes_at_work(2) as address:
        store.fault = watch
        words = [sys.executable, "-c", RUN, "generate", *JOB, *SPLIT, "--workers", "2", "--out", f"s3://{bucket}/clips"]
        environment = {**os.environ, **LOOPBACK_ONLY, "RAY_ADDRESS": address}
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as run:
            command.append(run)
            told = run.communicate(timeout=180)
    assert run.returncode == 0, told
    assert len(raylets) == len(set(raylets.values())) == 2 and command[0].pid not in raylets.values()
    assert_as_in_the_folder(store, bucket, reference)
