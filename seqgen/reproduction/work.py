"""One piece of a table's work: a training with one seed, and all the tests of it that a table asks for. Runs in a process of its own.

Each piece can be stopped anywhere: the training goes on from its last checkpoint, tests that are done stay done. Knows no tables.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from seqgen.reproduction.results import PerClip, Results
from seqgen.reproduction.scales import train_tables
from seqgen.reproduction.tables import HeldOut, Training

log = logging.getLogger(__name__)


class OutOfTime(Exception):
    """The time that a training was given is over. What it did up to its last checkpoint is kept."""


class Trained(NamedTuple):
    """A finished training. `seconds`: of all its parts, where it was interrupted."""

    checkpoint: Path
    seconds: float


@runtime_checkable
class Train(Protocol):
    def __call__(self, tables: dict[str, Any], out: Path, *, deadline: float | None) -> Trained:
        """Trains, or goes on, in the folder `out`. OutOfTime when `time.time()` passes the deadline first."""
        ...


@runtime_checkable
class Measure(Protocol):
    def __call__(self, checkpoint: Path, folder: Path, test: HeldOut, *, metrics: Sequence[str], clips: int, device: str) -> dict[str, PerClip]:
        """The metrics of a checkpoint on a test, whose data are in a folder; on the first clips of it, of a real data set on all."""
        ...


@runtime_checkable
class Weigh(Protocol):
    def __call__(self, checkpoint: Path, folder: Path, test: HeldOut, *, device: str) -> dict[str, float]:
        """What a frame of a test costs the checkpoint's network, by name as in `costs.py`."""
        ...


@dataclass(frozen=True)
class Tools:
    """What the work is done with: plain functions, so that they can be sent to other processes. Tests give such whose answers they know."""

    train: Train
    measure: Measure
    weigh: Weigh


@dataclass(frozen=True)
class Piece:
    """A training, a seed, and the tests to take afterwards, none where it only leads to others: what they measure, and whether its network is weighed too."""

    training: Training
    seed: int
    tests: tuple[HeldOut, ...]
    metrics: tuple[str, ...]
    costs: bool = False

    @property
    def name(self) -> str:
        return f"{self.training.name}, seed {self.seed}"

    def earlier(self) -> set[tuple[Training, int]]:
        """The trainings that lead to this one, with their seeds."""
        return {(training, training.seed_of(self.seed)) for training in self.training.chain()[:-1]}

    def is_done(self, results: Results) -> bool:
        trained = results.checkpoint(self.training, self.seed) is not None
        return trained and all(results.has(self.training, self.seed, test) for test in self.tests) and not self.is_to_weigh(results)

    def is_to_weigh(self, results: Results) -> bool:
        return self.costs and results.costs(self.training, self.seed) is None


def do_piece(piece: Piece, results: Results, tools: Tools, *, deadline: float | None) -> bool:
    """Trains and tests what is not done yet. False when the time was over before all was done."""
    training, seed = piece.training, piece.seed
    checkpoint = results.checkpoint(training, seed)
    if checkpoint is None:
        try:
            checkpoint, seconds = _train(piece, results, tools.train, deadline)
        except OutOfTime as reason:
            log.info("%s: %s", piece.name, reason)
            return False
        results.finish_training(training, seed, checkpoint, seconds=seconds)
    for test in (test for test in piece.tests if not results.has(training, seed, test)):
        if is_over(deadline):
            return False
        began = time.monotonic()
        where = {"clips": results.scale.test_clips, "device": results.scale.device}
        measured = tools.measure(checkpoint, results.data_folder(test.data), test, metrics=piece.metrics, **where)
        results.write(training, seed, test, measured, seconds=time.monotonic() - began)
    if piece.is_to_weigh(results):
        test = piece.tests[0]
        results.write_costs(training, seed, tools.weigh(checkpoint, results.data_folder(test.data), test, device=results.scale.device))
    return True


def _train(piece: Piece, results: Results, train: Train, deadline: float | None) -> Trained:
    """The training, from the one before it."""
    training, seed = piece.training, piece.seed
    if is_over(deadline):
        raise OutOfTime("not begun")
    before = None if training.before is None else results.checkpoint(training.before, seed)
    tables = train_tables(training, results.scale, seed=seed, data=results.data_folder(training.data), before=before)
    return train(tables, results.run_folder(training, seed), deadline=deadline)


def is_over(deadline: float | None) -> bool:
    """Whether the time given has passed."""
    return deadline is not None and time.time() > deadline


def train_here(tables: dict[str, Any], out: Path, *, deadline: float | None) -> Trained:
    """`Tools.train` by the learning wing's own trainer."""
    from seqgen.training.config import train_config
    from seqgen.training.run import train

    result = train(train_config(tables, where=str(out)), out, say=log.info, report=stopping(deadline))
    return Trained(out / Path(result.checkpoint).name, result.seconds)


def measure_here(checkpoint: Path, folder: Path, test: HeldOut, *, metrics: Sequence[str], clips: int, device: str) -> dict[str, PerClip]:
    """`Tools.measure` by `measure.py`."""
    from seqgen.reproduction.measure import measure_checkpoint

    return measure_checkpoint(checkpoint, folder, test, metrics=metrics, clips=clips, device=device)


def weigh_here(checkpoint: Path, folder: Path, test: HeldOut, *, device: str) -> dict[str, float]:
    """`Tools.weigh` by `costs.py`."""
    from seqgen.reproduction.costs import costs_of_checkpoint

    return costs_of_checkpoint(checkpoint, folder, test, device=device)


def stopping(deadline: float | None) -> Callable[[dict[str, Any], int], None]:
    """A report that ends a training once the time is over, at its next line; the steps since the last checkpoint will be done again."""

    def report(line: dict[str, Any], steps: int) -> None:
        if is_over(deadline) and line["step"] < steps:
            raise OutOfTime(f"stopped at step {line['step']} of {steps}")

    return report
