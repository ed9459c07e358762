"""What a network costs, measured where it stands: parameters, multiply-accumulates of a frame, and milliseconds a frame of one stream and of thirty-two at once.

Milliseconds are of the estimator as `seqgen predict` runs it (`for_inference`), of a step of a stream with a memory, from the view on: reading and cropping are not in
them. On the CPU the time of one thread's processor, so that what else the machine does counts little; on CUDA wall time up to the last kernel.
"""

import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from seqgen.benchmarks import Stills, open_clips
from seqgen.estimators.checkpoint import load_estimator
from seqgen.estimators.cost import network_cost
from seqgen.estimators.inference import for_inference
from seqgen.estimators.views.feed import batch_of, pictures_of
from seqgen.estimators.views.view import to_device
from seqgen.reproduction.columns import MANY
from seqgen.reproduction.tables import HeldOut

ROUNDS, WARM_UP = 7, 2


def costs_of_checkpoint(checkpoint: Path, folder: Path, test: HeldOut, *, device: str) -> dict[str, float]:
    """Costs by name, of the first frames of a test, whose data are in a folder: `parameters`, `macs`, `ms_1`, `ms_32`, the last two a frame."""
    loaded = load_estimator(checkpoint, device=device, replaced=test.fields)
    source = Stills(open_clips(folder, split=test.data.tested, pictures=pictures_of(loaded.input)))
    cost, ready = network_cost(loaded.estimator.config, loaded.input), for_inference(loaded.estimator)
    costs = {"parameters": float(cost.parameters), "macs": float(cost.macs_per_frame)}
    for count in (1, MANY):
        view = to_device(batch_of([source.read(place % len(source)) for place in range(count)], loaded.input), torch.device(device))
        _, state = ready.step(view, None)
        costs[f"ms_{count}"] = milliseconds(partial(ready.step, view, state), device) / count
    return costs


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
