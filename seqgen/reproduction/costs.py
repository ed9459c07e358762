"""What a network costs, measured where it stands: parameters, multiply-accumulates of a frame, and milliseconds a frame of one stream and of thirty-two at once.

On the CPU the time of one thread's processor, so that what else the machine does counts little; on CUDA wall time up to the last kernel. Of a step of a stream
with a memory, from the view on: reading and cropping are not in it.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from seqgen.benchmarks import open_clips
from seqgen.estimators.checkpoint import load_estimator
from seqgen.estimators.cost import num_parameters
from seqgen.estimators.views.feed import batches_of, pictures_of
from seqgen.estimators.views.view import View, to_device
from seqgen.evaluation.evaluate import evaluating
from seqgen.reproduction.columns import MANY

ROUNDS, WARM_UP = 7, 2


def costs_of_checkpoint(checkpoint: Path, data: Path, *, device: str) -> dict[str, float]:
    """Costs by name, of the first test clips of a data set: `parameters`, `macs`, `ms_1`, `ms_32`, the last two a frame."""
    loaded = load_estimator(checkpoint, device=device)
    source = open_clips(data, split="test", pictures=pictures_of(loaded.input))
    views = {count: to_device(next(batches_of(source, loaded.input, batch=count, frames=1)), torch.device(device)) for count in (1, MANY)}
    with evaluating(loaded.estimator):
        times = {f"ms_{count}": milliseconds(stepping(loaded.estimator, view), device) / count for count, view in views.items()}
        return {"parameters": float(num_parameters(loaded.estimator)), "macs": float(macs(stepping(loaded.estimator, views[1]))), **times}


def stepping(estimator: nn.Module, view: View) -> Callable[[], object]:
    """A step in the middle of a stream."""
    _, state = estimator.step(view, None)
    return lambda: estimator.step(view, state)


def macs(work: Callable[[], object]) -> int:
    """Multiply-accumulates of convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops() // 2  # torch counts two operations a MAC


def milliseconds(work: Callable[[], object], device: str) -> float:
    """The median of some rounds, after some that do not count."""
    now = _wall_time if device == "cuda" else time.process_time
    took = []
    for _ in range(WARM_UP + ROUNDS):
        began = now()
        work()
        took.append(1e3 * (now() - began))
    return statistics.median(took[WARM_UP:])


def _wall_time() -> float:
    """Once all that was asked of the GPU is done."""
    torch.cuda.synchronize()
    return time.perf_counter()
