"""Measures what docs/benchmarks/motion.md says of walks, on this machine, and prints it as Markdown. Half an hour of two cores with the big bank.

    python docs/benchmarks/motion.py [--recording Training_Annotation.txt] [--big-rows 2200000] > docs/benchmarks/motion.md
"""

import argparse
import os
import platform
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from seqgen.files import arrays_digest
from seqgen.poses import load_built_in_bank
from seqgen.poses.bank import Annotations, PoseBank, PosesConfig, build_bank
from seqgen.poses.flow import FlowConfig, draw_flow
from seqgen.poses.flow_report import report_flows
from seqgen.poses.formats import read_annotations
from seqgen.poses.graph import NUM_NEIGHBOURS, NeighbourGraph, load_graph
from seqgen.poses.synthesis import synthesise_poses

SCRIPT_STEP_S = 1.74  # a step of the published script on 2.2 M poses, as measured when this was planned
PIECE = 220_000
RECALL_ROWS = 200


def synthesised_bank(rows: int, thinned_from: int) -> PoseBank:
    """`rows` independent poses of built-in subjects other than the built-in bank's, drawn from `thinned_from`."""
    pieces = [synthesise_poses(min(PIECE, thinned_from - start), seed=1 + start, num_subjects=24).joints_m for start in range(0, thinned_from, PIECE)]
    joints = np.concatenate(pieces)
    kept = np.sort(np.random.default_rng(0).permutation(thinned_from)[:rows])
    return build_bank(Annotations(f"built-in, {rows:,} of {thinned_from:,}", "CC0-1.0", True, joints[kept], np.full(rows, -1, np.int32)))


def motion_rows(bank: PoseBank, graph: NeighbourGraph, clips: int) -> Iterator[str]:
    """The report of walks on a bank against the targets."""
    report, asked = report_flows(bank, graph, kinds=("walk",), num_clips=clips)["walk"], FlowConfig()
    mean, p95 = asked.median_step_mm * np.exp(asked.spread**2 / 2), asked.median_step_mm * np.exp(1.645 * asked.spread)
    yield f"| frozen steps outside pauses | {report.frozen_share:.2%} | < 0.5 % |"
    yield f"| way covered by whole walks | {report.way_covered:.2%} | 100 % |"
    yield f"| jerk over speed; power above 10 Hz | {report.jerk_over_speed:.2f}; {report.power_above_10hz:.1%} | 0.1 to 0.9; < 2 % |"
    distance = f"{report.bank_distance_mean:.2f}; {report.bank_distance_p99:.2f}"
    yield f"| distance from the bank in spacings ({report.bank_spacing_mm:.2f} mm): mean; 99th percentile | {distance} | < 0.7; < 2.2 |"
    steps = f"{report.step_median_mm:.2f}, {report.step_mean_mm:.2f}, {report.step_p95_mm:.2f}"
    yield f"| step, mm: median, mean, 95th percentile | {steps} | {asked.median_step_mm:.2f}, {mean:.2f}, {p95:.2f}, each within 10 % |"


def frames_per_second(bank: PoseBank, graph: NeighbourGraph, clips: int = 2000) -> float:
    """Flow frames a second of one core, in clips of 10: the median of five rounds."""
    rounds = []
    for number in range(6):
        start = time.process_time()
        for seed in range(clips // 5):
            draw_flow(bank, graph, FlowConfig(), frames=10, stride=1, fps=30.0, rng=np.random.default_rng([number, seed]))
        rounds.append(clips // 5 * 10 / (time.process_time() - start))
    return float(np.median(rounds[1:]))  # the first round touches the pages


def script_step_s(bank: PoseBank) -> float:
    """A step as the published script makes it: the L1 distance of every pose to one, and of every pose to the one before."""
    start = time.process_time()
    total = np.abs(bank.joints_m - bank.joints_m[0]).sum((1, 2)) + np.abs(bank.joints_m - bank.joints_m[1]).sum((1, 2))
    np.argsort(total)
    return time.process_time() - start


def recall(bank: PoseBank, graph: NeighbourGraph) -> float:
    """Share of the true nearest neighbours that the graph has, over some rows."""
    chosen = np.random.default_rng(0).permutation(len(bank))[:RECALL_ROWS]
    rows = bank.joints_m.reshape(len(bank), -1)
    hits = []
    for row in chosen:
        offsets = rows - rows[row]
        squared = np.einsum("ij,ij->i", offsets, offsets)
        squared[row] = np.inf
        hits.append(len(set(np.argpartition(squared, NUM_NEIGHBOURS)[:NUM_NEIGHBOURS].tolist()) & set(graph.neighbours[row].tolist())) / NUM_NEIGHBOURS)
    return float(np.mean(hits))


def big_rows(num_rows: int, cache: Path) -> Iterator[str]:
    """Graph and flow of a big bank."""
    bank = synthesised_bank(num_rows, num_rows)
    before_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    start = time.monotonic()
    graph = load_graph(bank, cache, where=bank.name, say=lambda text: print(text, file=sys.stderr, flush=True))
    built_s = time.monotonic() - start
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    yield f"| graph of {len(bank):,} poses, wall time | {built_s:.0f} s | < 300 s |"
    yield f"| peak memory of the whole process until then (bank made: {before_gb:.1f} GB) | {peak_gb:.1f} GB | < 4 GB |"
    yield f"| recall@{NUM_NEIGHBOURS}, {RECALL_ROWS} rows against brute force | {recall(bank, graph):.3f} | > 0.95 |"
    speed, step = frames_per_second(bank, graph), script_step_s(bank)
    yield f"| flow frames a second and core, clips of 10 | {speed:,.0f} | > 10,000 |"
    yield f"| against the script's step: measured here ({step:.2f} s); as published ({SCRIPT_STEP_S} s) | {speed * step:,.0f}; {speed * SCRIPT_STEP_S:,.0f} times | > 5,000 times |"


def main() -> None:
    """Prints the page."""
    parser = argparse.ArgumentParser(description="measure walks")
    parser.add_argument("--recording", type=Path)
    parser.add_argument("--big-rows", type=int, default=2_200_000, help="0 leaves the big bank out")
    parser.add_argument("--clips", type=int, default=500)
    options = parser.parse_args()
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"# Walks, measured\n\n{machine}. Made by `python docs/benchmarks/motion.py`.")
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        banks = [load_built_in_bank(PosesConfig().rows), synthesised_bank(100_000, 880_000)]
        if options.recording:
            banks.append(replace(build_bank(read_annotations(options.recording, "hands17")[0]), name="a real recording of 621 frames"))
        for bank in banks:
            graph = load_graph(bank, Path(folder), where=bank.name)
            print(f"\n## {bank.name} ({arrays_digest(bank.joints_m)[:8]})\n\n| what | measured | target |\n|---|---|---|")
            print("\n".join(motion_rows(bank, graph, options.clips)), flush=True)
        if options.big_rows:
            print(f"\n## {options.big_rows:,} poses\n\n| what | measured | target |\n|---|---|---|")
            for row in big_rows(options.big_rows, Path(folder)):
                print(row, flush=True)


if __name__ == "__main__":
    main()
