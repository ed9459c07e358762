"""Kill anything, any time: the data set is still whole and the same. Real processes, real signals; the long rows of it are marked slow."""

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from killing import COMMAND, JOB, NUM_SHARDS, family, finish, ray_workers, shards_in, start, wait_until
from runs import content

from seqgen.dataset import open_dataset

SECONDS_OF_WORK = 2.0  # about as long as the job takes once its workers are there


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed") / "set"
    assert finish(start(out, workers=0))[0] == 0
    assert shards_in(out) == NUM_SHARDS and len(open_dataset(out)) == 48
    return out


def assert_whole(out: Path, undisturbed: Path) -> None:
    assert content(out) == content(undisturbed)
    assert sorted(path.name for path in out.iterdir()) == ["dataset.json", "index.parquet", "shards"]


def slow(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


def few_and_many(many: int, few: int = 1) -> list:
    """Seeds of a test: a few by default, the rest marked slow."""
    return [*range(few), *map(slow, range(few, many))]


@pytest.mark.parametrize("seed", few_and_many(30))
def test_a_killed_worker_costs_only_its_shard(seed: int, tmp_path: Path, undisturbed: Path) -> None:
    rng = np.random.default_rng(seed)
    run = start(tmp_path / "set")
    wait_until(lambda: len(ray_workers(run.pid)) == 2)
    time.sleep(rng.uniform(0, SECONDS_OF_WORK))
    workers = ray_workers(run.pid)
    if workers:  # else the run was faster
        os.kill(int(rng.choice(workers)), signal.SIGKILL)
    code, out, error = finish(run)
    assert code == 0, out + error
    assert_whole(tmp_path / "set", undisturbed)


@pytest.mark.parametrize("seed", few_and_many(10))
def test_a_killed_driver_is_resumed(seed: int, tmp_path: Path, undisturbed: Path) -> None:
    rng = np.random.default_rng(1000 + seed)
    run = start(tmp_path / "set")
    if seed:
        time.sleep(rng.uniform(0, 12))  # anywhere, the start included
    else:
        wait_until(lambda: shards_in(tmp_path / "set") > 4)
    os.kill(run.pid, signal.SIGKILL)
    finish(run)
    assert finish(start(tmp_path / "set"))[0] == 0
    assert_whole(tmp_path / "set", undisturbed)


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 2), slow(signal.SIGINT, 0), slow(signal.SIGINT, 2), slow(signal.SIGTERM, 0)])
def test_a_stopped_run_leaves_nothing_half_within_five_seconds(number: int, workers: int, tmp_path: Path, undisturbed: Path) -> None:
    run = start(tmp_path / "set", workers=workers)
    wait_until(lambda: shards_in(tmp_path / "set") > 2)
    relatives, start_s = family(run.pid), time.monotonic()
    os.kill(run.pid, number)
    code, _, error = finish(run)
    took = time.monotonic() - start_s
    assert (code, error) == (128 + number, "seqgen: stopped; the same command continues\n")
    assert took < 5
    wait_until(lambda: not any(Path(f"/proc/{one}/cmdline").exists() for one in relatives), seconds=5)
    assert not list((tmp_path / "set").rglob(".*.partial-*")) and not (tmp_path / "set" / "dataset.json").exists()
    before = made_when(tmp_path / "set")
    assert finish(start(tmp_path / "set", workers=0))[0] == 0
    assert len(before.items() - made_when(tmp_path / "set").items()) <= max(1, workers)  # made again: only those that had no record yet
    assert_whole(tmp_path / "set", undisturbed)


def made_when(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (out / "shards").iterdir()}


def test_a_run_that_hangs_in_a_library_is_gone_too(tmp_path: Path) -> None:
    """A call that holds no lock but never comes back to Python: here `sleep` of the C library, twice, for a signal ends one."""
    hang = (
        "import ctypes, seqgen.pipeline.run as run; sleep = ctypes.CDLL(None).sleep; "
        "run.generate_dataset = lambda *a, **k: print('hangs', flush=True) or sleep(60) or sleep(60); from seqgen.cli import main; main()"
    )
    words = [*COMMAND[:2], hang, "generate", *JOB, "--out", str(tmp_path / "set")]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert run.stdout.readline() == "hangs\n"
    time.sleep(0.5)
    start_s = time.monotonic()
    run.terminate()
    run.communicate(timeout=30)
    assert run.returncode == 128 + signal.SIGTERM and time.monotonic() - start_s < 5


@pytest.mark.parametrize("after_s", [0.5, slow(1.0), slow(1.5), slow(2.0), slow(3.0), slow(4.0)])
def test_a_run_that_is_stopped_while_ray_starts(after_s: float, tmp_path: Path) -> None:
    run = start(tmp_path / "set", workers=1)
    while not run.stdout.readline().startswith("starting 1 Ray worker"):
        pass
    time.sleep(after_s)
    os.kill(run.pid, signal.SIGTERM)
    code, _, error = finish(run)
    assert code == 128 + signal.SIGTERM
    assert error.endswith("seqgen: stopped; the same command continues\n") and "Traceback" not in error  # for some tenths of a second Ray prints a stack before
    assert not (tmp_path / "set" / "dataset.json").exists()


def test_of_two_runs_on_one_folder_the_second_is_refused(tmp_path: Path, undisturbed: Path) -> None:
    first = start(tmp_path / "set", workers=0)
    wait_until(lambda: shards_in(tmp_path / "set") > 0)
    os.kill(first.pid, signal.SIGSTOP)
    code, _, error = finish(start(tmp_path / "set", workers=0))
    assert code == 2 and error == f"seqgen: {tmp_path / 'set'}: another run is writing here; wait for it to end, or choose another --out\n"
    os.kill(first.pid, signal.SIGCONT)
    assert finish(first)[0] == 0
    assert_whole(tmp_path / "set", undisturbed)


def test_runs_that_share_the_shards_out_finish_together(tmp_path: Path, undisturbed: Path) -> None:
    """Three ranges at once, and one of them twice: each is done, the last to end writes the index, nobody's file is torn."""
    runs = [start(tmp_path / "set", "--shard-range", f"{place}/3", workers=0) for place in (0, 1, 2, 2)]
    codes = [finish(run) for run in runs]
    assert [code for code, *_ in codes] == [0, 0, 0, 0], codes
    assert_whole(tmp_path / "set", undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of four megabytes: the job needs more than twice as much."""
    libc, place = ctypes.CDLL(None, use_errno=True), tmp_path / "disk"
    place.mkdir()
    if libc.mount(b"tmpfs", str(place).encode(), b"tmpfs", 0, b"size=4m") != 0:
        pytest.skip(f"no file system of its own can be mounted here: {os.strerror(ctypes.get_errno())}")
    yield place
    libc.umount2(str(place).encode(), 2)


@pytest.mark.parametrize("workers", [0, slow(2)])
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_space(workers: int, small_disk: Path, undisturbed: Path) -> None:
    code, _, error = finish(start(small_disk / "set", workers=workers))
    assert code == 2 and error == f"seqgen: {small_disk / 'set'}: No space left on device; free some space, then the same command continues\n"
    there = content_of_shards(small_disk / "set")
    assert 0 < len(there) < NUM_SHARDS and there.items() <= content_of_shards(undisturbed).items()
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert finish(start(small_disk / "set", workers=workers))[0] == 0
    assert_whole(small_disk / "set", undisturbed)


def content_of_shards(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "shards").iterdir()}
