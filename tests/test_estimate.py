"""What a dry run says: the arithmetic from a made-up measurement, bytes against what is then written, and that it writes nothing and refuses what a run refuses."""

import tracemalloc
from itertools import count, islice
from pathlib import Path

import numpy as np
import pytest
from runs import small_config

from seqgen.cli import run
from seqgen.cli.generating import _duration, _size
from seqgen.dataset.claim import Origin
from seqgen.dataset.hold import hold_folder
from seqgen.errors import UserError
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.estimate import Estimate, Measurement, estimate_run, foresee, measure, shards_to_make, spread
from seqgen.pipeline.generate import open_sources
from seqgen.pipeline.plan import Portion, plan_shards
from seqgen.pipeline.run import generate_dataset

MEASURED = Measurement(clips=10, generate_s=3 / 64, encode_s=1 / 64, bytes=300_000.0)
WITHIN = 0.15  # of the bytes that are then written
TINY = "--clip.frames 2 --clip.size 48,40 --poses.rows 1500 --output.preview 0 --output.sequences-per-shard 3 --workers 0 --split.train 6 --split.val 2 --split.test 2".split()


def records_of(size: int) -> int:
    """The size of a tar whose members take so many bytes: two blocks of 512 more, in records of 10,240."""
    return -(-(size + 1024) // 10_240) * 10_240


def test_the_arithmetic_of_a_billion_frames() -> None:
    """10^8 clips in shards of 100, of 1/16 s and 300 kB each, on 10,000 cores: 625 s, 30 TB and what tar adds."""
    plans = plan_shards(GenerateConfig(sequences=10**8))
    told = foresee(plans, np.arange(len(plans)), MEASURED, 10_000)
    size = 10**6 * records_of(30_000_000)
    assert told == Estimate(10**8, 10**6, size, 10**8, 10**6, size, 10_000, 625.0)


def test_the_arithmetic_of_a_few_shards() -> None:
    """Ten clips in shards of 3, 3 | 2 | 2; two of them are there; a shard is one worker's alone."""
    plans = plan_shards(small_config())
    sizes = [records_of(300_000 * clips) for clips in (3, 3, 2, 2)]
    assert foresee(plans, np.array([0, 3], int), MEASURED, 8) == Estimate(10, 4, sum(sizes), 5, 2, sizes[0] + sizes[3], 2, 3 / 16)
    assert foresee(plans, np.array([0, 1, 2, 3], int), MEASURED, 1).seconds == 10 / 16
    assert foresee(plans, np.array([0, 1, 2, 3], int), MEASURED, 2).seconds == 5 / 16
    assert foresee(plans, np.array([], int), MEASURED, 8) == Estimate(10, 4, sum(sizes), 0, 0, 0, 1, 0.0)


def test_the_places_of_many_shards_are_eight_bytes_each(tmp_path: Path) -> None:
    """And not a list of numbers, of which each takes forty."""
    config = GenerateConfig(sequences=10**6, output={"sequences_per_shard": 1})
    tracemalloc.start()
    _, todo = shards_to_make(tmp_path / "new", config, Origin(config.content(), "assets"), Portion(), overwrite=False)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(todo) == 10**6 and taken < 8.1e6


@pytest.mark.parametrize("total", [1, 2, 3, 7, 100, 4096, 10_007])
def test_the_measured_clips_lie_all_over_the_data_set(total: int) -> None:
    assert sorted(spread(total)) == list(range(total))
    first = sorted(islice(spread(total), 16))
    gaps = [other - one for one, other in zip([-1, *first], [*first, total], strict=True)]
    assert max(gaps) <= max(2, total / 5)


def test_a_measurement_takes_its_time_and_counts_each_part() -> None:
    """With a clock that ticks once at each look: a second for each batch to generate, one to encode."""
    config = small_config(sequences=100, clip={"frames": 2, "size": (48, 40)})
    sources, ticks = open_sources(gather_assets(config), config), count()
    measured = measure(config, sources, seconds=3.0, clock=lambda: float(next(ticks)))
    batches = 2  # of two seconds each; the third would begin after the time is over
    assert measured.generate_s == measured.encode_s == batches / measured.clips and measured.bytes > 1000
    few = measure(small_config(sequences=2, clip={"frames": 2, "size": (48, 40)}), sources, seconds=1e9)
    assert few.clips == 2


def test_the_bytes_are_those_that_are_then_written(tmp_path: Path) -> None:
    config = small_config(sequences=50, clip={"frames": 3, "size": (64, 48)}, output={"sequences_per_shard": 6})
    ticks = count()
    measured = measure(config, open_sources(gather_assets(config), config), seconds=1.0, clock=lambda: float(next(ticks)))
    plans = plan_shards(config)
    told = foresee(plans, np.arange(len(plans)), measured, 1)
    generate_dataset(config, tmp_path)
    written = sum(path.stat().st_size for path in (tmp_path / "shards").iterdir())
    assert measured.clips < 50 and abs(told.bytes / written - 1) < WITHIN and told.shards == len(list((tmp_path / "shards").iterdir()))


# The command


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("seqgen.pipeline.estimate.measure", lambda config, sources: MEASURED)


def told(config: GenerateConfig, directory: Path, portion: Portion = Portion(), **how: bool) -> tuple[int, int]:  # noqa: B008
    """Sequences and shards that a run would make."""
    estimate, _ = estimate_run(config, directory, portion, **how)
    return estimate.todo_sequences, estimate.todo_shards


def everything(directory: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in [directory, *directory.rglob("*")]}


def test_a_dry_run_prints_what_it_would_come_to_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["generate", "--dry-run", "--sequences", "10", "--out", "set", *TINY]) == 0
    out = capsys.readouterr().out
    assert "10 sequences of 2 frames, 48 x 40 px, in 4 shards: 3.0 MB" in out and "to be made of them" not in out
    assert "one sequence: 62.5 ms on one core, 46.9 to generate and 15.6 to encode; 300.0 kB" in out and "time: 1 s on 1 core like this one" in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("size", "words"), [(0.0, "0 bytes"), (999.0, "999 bytes"), (1000.0, "1.0 kB"), (29.96e12, "30.0 TB"), (3.1e15, "3,100.0 TB"), (999_949.0, "999.9 kB")])
def test_sizes_are_readable(size: float, words: str) -> None:
    assert _size(size) == words


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "0 s"), (99.0, "99 s"), (100.0, "2 min"), (7200.0, "2.0 h"), (5e6, "1,389 h"), (5e7, "579 days")])
def test_durations_are_readable(seconds: float, words: str) -> None:
    assert _duration(seconds) == words


def test_what_is_there_is_not_counted_again(tmp_path: Path) -> None:
    """New, one range done, finished, grown: each time what the run then makes, and the folder as it was."""
    tiny = {"clip": {"frames": 2, "size": (48, 40)}}
    config, larger = small_config(**tiny), small_config(sequences=25, **tiny)
    assert told(config, tmp_path / "set") == (10, 4) and told(config, tmp_path / "set", Portion(1, 2)) == (5, 2)
    assert generate_dataset(config, tmp_path / "set", portion=Portion(1, 2)).made == 5
    before = everything(tmp_path)
    assert told(config, tmp_path / "set") == (5, 2) and told(config, tmp_path / "set", Portion(1, 2)) == (0, 0)
    assert told(larger, tmp_path / "set", Portion(0, 2))[0] > 0 and told(config, tmp_path / "set", overwrite=True) == (10, 4)
    assert everything(tmp_path) == before
    assert generate_dataset(config, tmp_path / "set").made == 5
    before = everything(tmp_path)
    assert told(config, tmp_path / "set") == (0, 0) and told(small_config(seed=1, **tiny), tmp_path / "set", overwrite=True) == (10, 4)
    grown = told(larger, tmp_path / "set")
    assert everything(tmp_path) == before
    assert generate_dataset(larger, tmp_path / "set").made == grown[0] == 19


def test_a_dry_run_refuses_what_a_run_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(clip={"frames": 2, "size": (48, 40)}, sequences=2)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    (tmp_path / "file").write_text("mine")
    generate_dataset(config, tmp_path / "set")
    before = everything(tmp_path)
    for place, words in (("foreign", "other files"), ("link", "no place"), ("file", "is a file|no place"), ("file/set", "no place"), ("x" * 300, "no place")):
        for attempt in (estimate_run, generate_dataset):
            with pytest.raises(UserError, match=words):
                attempt(config, tmp_path / place, portion=Portion())
    with pytest.raises(UserError, match="seed is 0 there, 1 here"):
        told(config.model_copy(update={"seed": 1}), tmp_path / "set")
    with pytest.raises(UserError, match="no such shard"):
        told(config, tmp_path / "set", Portion(shard="9"))
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(UserError, match=r"RAY_ADDRESS 127\.0\.0\.1:1: nothing answers"):
        told(config.model_copy(update={"workers": 2}), tmp_path / "new")
    with hold_folder(tmp_path / "set") as other:
        assert other.alone()
        with pytest.raises(UserError, match="another run is writing here"):
            told(config, tmp_path / "set")
    assert everything(tmp_path) == before


@pytest.mark.parametrize("words", [["--sequence", "3"], ["--shard-range", "4/4"], ["--clip.frames", "0"], ["--device", "gpu"]])
def test_options_are_refused_as_without_it(words: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError):
        run(["generate", "--dry-run", "--out", str(tmp_path / "set"), *words])
    assert not (tmp_path / "set").exists()
