"""How long point operations and HandR2N2 take: `docs/benchmarks/points.md`, made anew.

    python docs/benchmarks/points.py [--device cpu|cuda] [--rounds 15] [--batch 32] [--out docs/benchmarks/points.md]

On the CPU one thread and its processor time, so that what else the machine does counts little; on CUDA wall time up to the last kernel. Each figure is the
median of `--rounds` after two that do not count. Clouds are 1,024 points drawn evenly from a box of a hand's proportions; weights are random.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from seqgen.estimators.cost import num_parameters
from seqgen.estimators.handr2n2.network import HandR2N2Network
from seqgen.estimators.points import ball_query, farthest_point_sampling, gather, hashed_order, nearest_neighbours

POINTS, CENTRES, JOINTS = 1024, (512, 128), (14, 16, 21)
PUBLISHED_GMACS = {14: (0.4289, 0.2924), 16: (0.4295, 0.3342), 21: (0.4308, 0.4386)}  # of the official module: encoder, an iteration
KEPT_NUMBERS = 7 * 2**20  # just under 32 MB, the most that glibc keeps
TARGETS = {"sampling": "< 100 for 32", "network": "< 60"}


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    known = parser.parse_args()
    torch.set_num_threads(1)
    torch.ones(KEPT_NUMBERS)  # what comes and goes once, the allocator keeps from then on: else each round pays for its memory anew
    with torch.inference_mode():
        lines = ["# Point operations and HandR2N2, measured", "", f"Made by `python docs/benchmarks/points.py`. {machine(known.device)}", ""]
        lines += [*operations_table(known), "", *network_table(known), "", *cost_table()]
    known.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def machine(device: str) -> str:
    """What it was measured on."""
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, wall time; torch {torch.__version__}."
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else 'Unknown processor'}, processor time of one core of {os.cpu_count()}; torch {torch.__version__}."


def clouds(num: int, device: str) -> Tensor:
    """A batch of normalised clouds."""
    drawn = torch.rand(num, POINTS, 3, generator=torch.Generator().manual_seed(0))
    return ((drawn - 0.5) * torch.tensor([0.7, 0.5, 0.2])).to(device)


def milliseconds(work: Callable[[], object], known: argparse.Namespace) -> float:
    """Median over rounds."""
    spent = []
    for _ in range(known.rounds + 2):
        began = clock(known.device)
        work()
        spent.append(clock(known.device) - began)
    return 1e3 * statistics.median(spent[2:])


def clock(device: str) -> float:
    """Seconds of this process, or of the wall once the device has done its work."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def operations_table(known: argparse.Namespace) -> list[str]:
    """Each operation as HandR2N2 uses it."""
    rows: dict[str, list[float]] = {}
    for batch in (1, known.batch):
        points = clouds(batch, known.device)
        centres = gather(points, farthest_point_sampling(points, CENTRES[0]))
        far = gather(centres, farthest_point_sampling(centres, CENTRES[1]))
        features = centres.new_zeros(batch, CENTRES[0], 256)
        near = nearest_neighbours(centres, points[:, :21], 48)
        work = {
            "hashed order, 1,024 points": lambda points=points: hashed_order(points),
            "farthest-point sampling, 1,024 to 512": lambda points=points: farthest_point_sampling(points, CENTRES[0]),
            "farthest-point sampling, 512 to 128": lambda centres=centres: farthest_point_sampling(centres, CENTRES[1]),
            "ball query, 512 centres among 1,024, 64 points in 0.1": lambda points=points, centres=centres: ball_query(points, centres, 0.1, 64),
            "ball query, 128 centres among 512, 64 points in 0.3": lambda centres=centres, far=far: ball_query(centres, far, 0.3, 64),
            "48 nearest neighbours of 21 joints among 512": lambda centres=centres, points=points: nearest_neighbours(centres, points[:, :21], 48),
            "gathering 256 channels of 21 x 48 points": lambda features=features, near=near: gather(features, near),
        }
        for name, one in work.items():
            rows.setdefault(name, []).append(milliseconds(one, known))
    lines = [f"| ms | 1 cloud | {known.batch} clouds | target |", "|---|---|---|---|"]
    for place, (name, (one, many)) in enumerate(rows.items()):
        target = TARGETS["sampling"] if place == 1 else ""
        lines.append(f"| {name} | {one:.2f} | {many:.1f} | {target} |")
    return lines


def network_table(known: argparse.Namespace) -> list[str]:
    """Encoder, an iteration and a whole run of three."""
    lines = ["| HandR2N2, ms a batch | batch | encoder | one iteration | I = 3 | target |", "|---|---|---|---|---|---|"]
    for joints in JOINTS:
        network = HandR2N2Network(joints).eval().to(known.device)
        for batch in (1, known.batch):
            points = clouds(batch, known.device)
            encoded = network.encode(points)
            once = milliseconds(lambda network=network, points=points: network.encode(points), known)
            step = milliseconds(lambda network=network, encoded=encoded: network.iterate(encoded, encoded.state, encoded.joints), known)
            whole = milliseconds(lambda network=network, points=points: network(points, 3), known)
            target = TARGETS["network"] if (joints, batch) == (21, 1) else ""
            lines.append(f"| {joints} joints | {batch} | {once:.1f} | {step:.1f} | {whole:.1f} | {target} |")
    return lines


def cost_table() -> list[str]:
    """Products of the published form, which works out first layers in every group, and of ours."""
    lines = ["| HandR2N2 | parameters | GMAC, I = 3, published form | ours | encoder | one iteration |", "|---|---|---|---|---|---|"]
    for joints in JOINTS:
        network = HandR2N2Network(joints).eval()
        none, three = (gmacs(network, iterations) for iterations in (0, 3))
        encoder, step = PUBLISHED_GMACS[joints]
        lines.append(f"| {joints} joints | {num_parameters(network):,} | {encoder + 3 * step:.3f} | {three:.3f} | {none:.3f} | {(three - none) / 3:.3f} |")
    return lines


def gmacs(network: HandR2N2Network, iterations: int) -> float:
    """As the network runs, a cloud."""
    with FlopCounterMode(display=False) as counter:
        network(clouds(1, "cpu"), iterations)
    return counter.get_total_flops() / 2e9


if __name__ == "__main__":
    main()
