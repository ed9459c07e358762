"""How long the stages of the pipeline take: the very functions that make data sets, called one after another with a clock between them.

    flow ... labels    `generate.STAGES`, some clips at once as a worker takes them
    encode, write      to the members of a sample; to a shard on disk and its hashes, without the encoding

A round is so many clips through all of it; a stage's time is its median over rounds. It does not know Ray, workers or start-up (`run.py`).
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np

from seqgen.dataset.encoding import encode_sequence
from seqgen.dataset.sequence import HandSequence
from seqgen.dataset.shards import write_shard
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import MOTION_STAGES, PICTURE_STAGES, STAGES, Sources, motions_at_once, pictures_at_once
from seqgen.pipeline.process import keep_memory

ENCODE, WRITE = "encode", "write"
STAGE_NAMES = (*STAGES, ENCODE, WRITE)
WARM_UP_CLIPS = 8  # before the clock runs: kernels are loaded, photos decoded
# Told the name of a stage, the clips that went in and those that came out: a place for whoever compares.
Watch = Callable[[str, Sequence[Any], Sequence[Any]], None]


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds a frame that each stage took, by round."""

    rounds: dict[str, list[float]]

    def median_ms(self) -> dict[str, float]:
        """By stage."""
        return {name: float(np.median(times)) for name, times in self.rounds.items()}

    def total_ms(self) -> float:
        """Of all stages, a frame."""
        return sum(self.median_ms().values())

    def frames_per_s(self) -> float:
        """What one core would make if it did nothing else."""
        return 1e3 / self.total_ms()


@dataclass
class _Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGE_NAMES, 0.0))

    def run(self, name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        self.seconds[name] += time.perf_counter() - start
        return result


def time_stages(sources: Sources, config: GenerateConfig, *, clips: int, rounds: int, watch: Watch = lambda name, before, after: None) -> StageTimes:
    """Clips 0 to `clips` - 1 of a config, `rounds` times, in this process. `watch` is called between stages and does not count."""
    if clips < 1 or rounds < 1:
        raise ValueError(f"{clips} clips and {rounds} rounds: at least one of each")
    keep_memory()  # as workers do
    with tempfile.TemporaryDirectory(prefix="seqgen-bench-") as folder:
        _round(min(clips, WARM_UP_CLIPS), sources, config, Path(folder), lambda name, before, after: None)
        measured = [_round(clips, sources, config, Path(folder), watch) for _ in range(rounds)]
    return StageTimes({name: [seconds[name] / clips / config.clip.frames * 1e3 for seconds in measured] for name in STAGE_NAMES})


def _round(clips: int, sources: Sources, config: GenerateConfig, folder: Path, watch: Watch) -> dict[str, float]:
    """As `generate_sequences` takes clips: many through the stages of motion, then fewer at once through those of pictures."""
    clock, indices = _Clock(), iter(range(clips))

    def through(names: Sequence[str], made: list[Any]) -> list[Any]:
        for name in names:
            before = made
            made = clock.run(name, lambda name=name, before=before: STAGES[name](before, sources, config))
            watch(name, before, made)
        return made

    while asked := list(islice(indices, motions_at_once(config))):
        posed = iter(through(MOTION_STAGES, asked))
        while batch := list(islice(posed, pictures_at_once(config))):
            for number, sequences in enumerate(_by_split(through(PICTURE_STAGES, batch))):
                _keep(sequences, folder / f"{number}.tar", config.output.jpeg_quality, clock)
    return clock.seconds


def _by_split(sequences: Sequence[HandSequence]) -> Iterator[list[HandSequence]]:
    """Runs of one split: a shard has one."""
    return (list(group) for _, group in groupby(sequences, key=lambda sequence: sequence.split))


def _keep(sequences: Sequence[HandSequence], path: Path, jpeg_quality: int, clock: _Clock) -> None:
    """A shard encodes what it writes, so encoding is timed by itself and taken off."""
    before = clock.seconds[ENCODE]
    for sequence in sequences:
        clock.run(ENCODE, lambda sequence=sequence: encode_sequence(sequence, jpeg_quality=jpeg_quality))
    clock.run(WRITE, lambda: write_shard(path, sequences, jpeg_quality=jpeg_quality))
    clock.seconds[WRITE] -= clock.seconds[ENCODE] - before
