"""What the five networks cost to predict with: `docs/benchmarks/networks.md`, made anew.

    python docs/benchmarks/networks.py [--rounds 9] [--compile true|false] [--out docs/benchmarks/networks.md]

A frame of one stream and of 32 at once, from the view on, SeqHAND with a frame before it: on one thread, and of its processor's time, so that what else the
machine does counts little; the median of `--rounds` (of a third of them for 32 streams) after two that do not count. Views are noise, weights are random.
"""

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
import torch._inductor.config
from torch import nn

from seqgen.config import Section
from seqgen.estimators import ESTIMATORS
from seqgen.estimators.checkpoint import new_estimator
from seqgen.estimators.cost import blank_view, network_cost
from seqgen.estimators.inference import for_inference
from seqgen.estimators.views.feed import Input
from seqgen.estimators.views.view import View

KEPT_NUMBERS = 7 * 2**20  # just under 32 MB, the most that glibc keeps
MANY = 32


class Row(NamedTuple):
    """A network as it is named on the page, what of its configs is not the default, and the most milliseconds it may take."""

    title: str
    name: str
    model: dict[str, object]
    input: dict[str, object]
    bound_ms: float | None = None


ROWS = (
    Row("SeqHAND, ResNet-50, ConvLSTM, 224 px", "seqhand", {}, {}),
    Row("JAR, ResNet-50, 256 px", "jar", {}, {}),
    Row("JAR, ResNet-34, 256 px", "jar", {"backbone": "resnet34"}, {}),
    Row("HandR2N2, 21 joints, 3 iterations", "handr2n2", {}, {}, 60),
    Row("SRN, 21 joints, 2 stages", "srn", {}, {}, 25),
    Row("JGR-P2O, 21 joints, 2 stages", "jgr_p2o", {}, {}, 12),
    Row("SeqHAND, half of ResNet-18, ConvLSTM, 112 px", "seqhand", {"backbone": "resnet18", "width": 0.5}, {"size": 112}),
    Row("JAR, ResNet-18, 128 px", "jar", {"backbone": "resnet18", "size": 128}, {"size": 128}),
)
NOT_COMPILED = ("handr2n2",)


class Times(NamedTuple):
    """Milliseconds a frame, of one stream and of many; of the compiled network of one, and the seconds it took to compile."""

    plain: tuple[float, float]
    ready: tuple[float, float]
    compiled: float | None
    compiling_s: float | None


PAGE = """# What the five networks cost to predict with

Made by `python docs/benchmarks/networks.py`. {machine}

Milliseconds a frame of one stream and, after the stroke, of {many} at once; from the view on, reading and cropping left out. GMAC: billions of multiply-accumulates.

{table}

- *plain*: as loaded, weights channels last.
- *ready*: after `for_inference`, as `seqgen predict` runs them.
- *compiled*: by `torch.compile` with frozen weights (TORCHINDUCTOR_FREEZING=1), a frame of one stream. It takes a C++ compiler and, here, {compiling} at first.
  HandR2N2 is left out: the compiler would write its 640 steps of farthest-point sampling one after the other.

One frame on one core, bounds and what is found:

{bounds}
"""


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--compile", default="true", choices=["true", "false"])
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    known = parser.parse_args()
    torch.set_num_threads(1)
    torch.ones(KEPT_NUMBERS)  # what comes and goes once, the allocator keeps from then on: else each round pays for its memory anew
    times = [(row, times_of(row, rounds=known.rounds, compiling=known.compile == "true")) for row in ROWS]
    seconds = [one.compiling_s for _, one in times if one.compiling_s is not None]
    compiling = f"{min(seconds):.0f} to {max(seconds):.0f} s" if seconds else "(not measured)"
    bounds = "\n".join(bound_line(row, one) for row, one in times if row.bound_ms is not None)
    known.out.write_text(PAGE.format(machine=machine(), many=MANY, table=table(times), compiling=compiling, bounds=bounds), encoding="utf-8")


def times_of(row: Row, *, rounds: int, compiling: bool) -> Times:
    """Measured."""
    config, input = configs_of(row)
    plain = new_estimator(config).eval()
    of_streams = [
        tuple(milliseconds(stepping(one, view_of(input, clips)), count) / clips for clips, count in ((1, rounds), (MANY, max(1, rounds // 3))))
        for one in (plain, for_inference(plain))
    ]
    if not compiling or row.name in NOT_COMPILED:
        return Times(*of_streams, None, None)
    work = stepping(compiled_copy(plain), view_of(input, 1))
    began = time.perf_counter()  # other processes have a part in it
    with torch._inductor.config.patch(freezing=True):
        work(), work()  # with a state there is another graph
    compiling_s = time.perf_counter() - began
    return Times(*of_streams, milliseconds(work, rounds), compiling_s)


def table(times: Sequence[tuple[Row, Times]]) -> str:
    """A line a network."""
    lines = ["| network | parameters, M | GMAC | plain | ready | compiled |", "|---|---|---|---|---|---|"]
    for row, one in times:
        cost = network_cost(*configs_of(row))
        streams = [f"{single:.1f} / {many:.1f}" for single, many in (one.plain, one.ready)]
        cells = [row.title, f"{cost.parameters / 1e6:.3f}", f"{cost.macs_per_frame / 1e9:.3f}", *streams, "-" if one.compiled is None else f"{one.compiled:.1f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def configs_of(row: Row) -> tuple[Section, Input]:
    """Of the network and of what it is shown."""
    kind = ESTIMATORS[row.name]
    return kind.config(**row.model), kind.input(**row.input)


def view_of(input: Input, clips: int) -> View:
    """Frames of noise, a hand's size, half a metre away."""
    view, generator = blank_view(input, clips=clips), torch.Generator().manual_seed(0)
    if view.rgb is not None:
        return replace(view, rgb=torch.randint(0, 256, view.rgb.shape, dtype=torch.uint8, generator=generator))
    place = {"centre_m": view.centre_m + torch.tensor([0.0, 0.0, 0.5]), "cube_m": 0.25 * view.cube_m}
    if view.points is not None:
        return replace(view, points=(torch.rand(view.points.shape, generator=generator) - 0.5) * torch.tensor([0.7, 0.5, 0.2]), **place)
    depth, edge = view.depth.clone(), view.depth.shape[-1] // 4
    depth[..., edge:-edge, edge:-edge].uniform_(-1, 0.9, generator=generator)
    return replace(view, depth=depth, **place)


def compiled_copy(estimator: nn.Module) -> nn.Module:
    """With its network compiled when it is first called."""
    copied = copy.deepcopy(estimator).requires_grad_(False)
    copied.network = torch.compile(copied.network)
    return copied


def stepping(estimator: nn.Module, view: View) -> Callable[[], object]:
    """A step in the middle of a stream."""
    state = None

    def step() -> None:
        nonlocal state
        _, state = estimator.step(view, state)

    return step


def milliseconds(work: Callable[[], object], rounds: int) -> float:
    """The median of some rounds after two."""
    return 1e3 * statistics.median([spent(work) for _ in range(2 + rounds)][2:])


def spent(work: Callable[[], object]) -> float:
    """Seconds of this process's processor."""
    began = time.process_time()
    work()
    return time.process_time() - began


def bound_line(row: Row, times: Times) -> str:
    """Whether the bound holds."""
    plain, ready = times.plain[0], times.ready[0]
    holds = "holds" if ready < row.bound_ms else "does not hold"
    return f"- {row.title}: < {row.bound_ms:g} ms {holds}: {ready:.1f} ms ready, {plain:.1f} ms plain."


def machine() -> str:
    """What it was measured on."""
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else 'Unknown processor'}, processor time of one core of {os.cpu_count()}; torch {torch.__version__}."


if __name__ == "__main__":
    main()
