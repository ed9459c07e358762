"""What a run says of itself: a line of numbers now and then, in log.jsonl, in TensorBoard, on the screen. And the clock that tells work from waiting.

    OUT/log.jsonl      a line a log step:   step, epoch, loss, terms {name: value}, lr, gradient_norm, samples_per_s, frames_per_s, data_wait_share
                       a line a validation: step, validation_mm
    OUT/tensorboard/   the same numbers

A sample is a clip. A run that continues takes back the lines after its checkpoint first. Does not know networks, data or processes.
"""

import importlib.util
import json
import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from seqgen.files import written_aside

LOG_NAME, TENSORBOARD = "log.jsonl", "tensorboard"
Item = TypeVar("Item")

log = logging.getLogger(__name__)


class Clock:
    """Seconds since the start, and how many of them were waited for data; clips and frames that went by. `lap` gives the numbers since the last lap."""

    def __init__(self, *, seconds: float = 0.0, wait_seconds: float = 0.0, clips: int = 0, frames: int = 0) -> None:
        self._begin = time.perf_counter() - seconds
        self.wait_seconds, self.clips, self.frames = wait_seconds, clips, frames
        self._lap = (self.seconds, wait_seconds, clips, frames)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begin

    def waiting(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items; the time until each comes counts as waiting."""
        source = iter(items)
        while True:
            begin = time.perf_counter()
            try:
                item = next(source)
            except StopIteration:
                return
            finally:
                self.wait_seconds += time.perf_counter() - begin
            yield item

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time inside the block does not count: validation, checkpoints."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self._begin += time.perf_counter() - begin

    def count(self, clips: int, frames: int) -> None:
        """Clips went by, with so many frames together."""
        self.clips += clips
        self.frames += frames

    def lap(self) -> dict[str, float]:
        """Speeds and the share of waiting since the last call."""
        now = (self.seconds, self.wait_seconds, self.clips, self.frames)
        seconds, waited, clips, frames = (late - early for late, early in zip(now, self._lap, strict=True))
        self._lap = now
        return speeds(seconds, waited, clips, frames)


def speeds(seconds: float, wait_seconds: float, clips: int, frames: int) -> dict[str, float]:
    """Clips (samples) and frames a second, and which share of the time went into waiting for data."""
    seconds = max(seconds, 1e-9)
    return {"samples_per_s": clips / seconds, "frames_per_s": frames / seconds, "data_wait_share": wait_seconds / seconds}


class RunLog:
    """Writes the lines of a run, from `step` on: what an earlier process wrote beyond that goes. Use as a context."""

    def __init__(self, out: Path, step: int) -> None:
        self.path, self._tensorboard_folder, self._step = out / LOG_NAME, out / TENSORBOARD, step

    def __enter__(self) -> "RunLog":
        _keep_until(self.path, self._step)
        self._file = self.path.open("a", encoding="utf-8")
        self._tensorboard = _tensorboard_writer(self._tensorboard_folder, self._step)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        if self._tensorboard is not None:
            self._tensorboard.close()

    def write(self, line: dict[str, Any]) -> None:
        """A line of finite numbers, with `step` among them; tables inside become "table/name" in TensorBoard."""
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()
        if self._tensorboard is not None:
            for name, value in _flat(line).items():
                self._tensorboard.add_scalar(name, value, line["step"])


def read_log(out: Path) -> list[dict[str, Any]]:
    """The lines of a run's log."""
    return [json.loads(line) for line in (out / LOG_NAME).read_text(encoding="utf-8").splitlines()]


def _keep_until(path: Path, step: int) -> None:
    """Takes back the lines after `step`, and half a line of a killed process."""
    if not path.exists():
        return
    lines = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("}\n") and json.loads(line)["step"] <= step]
    with written_aside(path) as aside:
        aside.write_text("".join(lines), encoding="utf-8")


def _tensorboard_writer(folder: Path, step: int) -> Any | None:
    """TensorBoard's writer, or None where it is not installed: the same numbers are in log.jsonl."""
    if importlib.util.find_spec("tensorboard") is None:
        log.warning("no TensorBoard here (pip install tensorboard); the numbers are in %s", LOG_NAME)
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)


def _flat(line: dict[str, Any]) -> dict[str, float]:
    tables = {f"{name}/{inner}": value for name, table in line.items() if isinstance(table, dict) for inner, value in table.items()}
    return {**{name: float(value) for name, value in line.items() if isinstance(value, int | float) and name != "step"}, **tables}


class ProgressBar:
    """The screen of a run: a bar with speed, waiting share and errors on a terminal, plain lines elsewhere. Use as a context; `say` and `report` go to `train`."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True, soft_wrap=True)
        columns = (TextColumn("steps"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("", total=None, state="")
        self._validation = ""

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._bar.console.print(text, highlight=False, markup=False)

    def report(self, line: dict[str, Any], steps: int) -> None:
        """A line of the log, of a run of so many steps."""
        if "validation_mm" in line:
            self._validation = f", validation {line['validation_mm']:.2f} mm"
            return
        state = f"loss {line['loss']:.4g}{self._validation}, {line['samples_per_s']:.1f} samples/s, data wait {line['data_wait_share']:.1%}"
        self._bar.update(self._task, completed=line["step"], total=steps, state=state)
        if not self._bar.console.is_terminal:
            self.say(f"{line['step']}/{steps} steps, {state}")
