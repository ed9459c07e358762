"""How far the centre of mass and the refined centre are from the middle of the joints, as Markdown tables.

    python docs/benchmarks/centre.py DATASET... [--split test] [--network FILE]

The data sets are made as docs/benchmarks/centre.md says. Their splits share no pose: the network was taught with `train`. One thread.
"""

import argparse
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from seqgen.dataset import open_dataset
from seqgen.dataset.clip import LabelledClip
from seqgen.dataset.clips import DatasetClips
from seqgen.estimators.centre import SHIPPED, load_centre_network, refined
from seqgen.estimators.centre_lessons import depth_kinds
from seqgen.estimators.views.cube import CubeConfig, Cubes, centre_of_mass
from seqgen.estimators.views.depth_sample import find_cubes

EDGES_M = (0.15, 0.2, 0.25, 0.3, 0.4)
NEAR_M = 0.02  # most that a start near the joints is off along each axis
Starts = Callable[[LabelledClip, float], list[np.ndarray | None]]  # of a clip's frames in cubes of an edge


def box(clip: LabelledClip, edge_m: float) -> list[np.ndarray | None]:
    """As evaluation begins: the mass of what is nearest in the labelled box."""
    frames = zip(clip.depth_tenth_mm, clip.intrinsics.astype(float), clip.box_px, strict=True)
    return [centre_of_mass(depth, intrinsics, clip.camera_kind, edge_m, box_px) for depth, intrinsics, box_px in frames]


def picture(clip: LabelledClip, edge_m: float) -> list[np.ndarray | None]:
    """As a prediction begins: the mass of what is nearest in the picture."""
    frames = zip(clip.depth_tenth_mm, clip.intrinsics.astype(float), strict=True)
    return [centre_of_mass(depth, intrinsics, clip.camera_kind, edge_m) for depth, intrinsics in frames]


def joints(clip: LabelledClip, edge_m: float) -> list[np.ndarray | None]:
    """As a prediction goes on: near the joints."""
    return list(middles(clip) + np.random.default_rng(int(clip.key)).uniform(-NEAR_M, NEAR_M, (len(clip.joints_m), 3)))


def middles(clip: LabelledClip) -> np.ndarray:
    """The mean of each frame's joints."""
    return find_cubes(clip, CubeConfig(centre="joints")).centre_m


def clips_of(directory: Path, split: str) -> Iterator[tuple[str, LabelledClip]]:
    """The clips of a split, and what kind of depth they are of."""
    dataset = open_dataset(directory, split=split)
    for kind in depth_kinds(dataset):
        source = DatasetClips(dataset, pictures=(kind,))
        yield from ((kind, source.read(position)) for position in range(len(source)))


def errors_mm(clip: LabelledClip, starts: Starts, edge_m: float, network: torch.nn.Module, passes: int) -> np.ndarray:
    """How far centres are off, (passes + 1, frames): at the start, after one pass, ... Frames in which nothing is found are left out."""
    places = starts(clip, edge_m)
    kept = np.array([place is not None for place in places])
    if not kept.any():
        return np.zeros((passes + 1, 0))
    cubes = [Cubes(np.array([place for place in places if place is not None]), np.full(kept.sum(), edge_m))]
    for _ in range(passes):
        cubes.append(refined(cubes[-1], clip.depth_tenth_mm[kept], clip.intrinsics[kept], clip.camera_kind, left=clip.side == "left", network=network))
    return 1e3 * np.stack([np.linalg.norm(each.centre_m - middles(clip)[kept], axis=1) for each in cubes])


def figures(errors: list[np.ndarray]) -> str:
    """Mean, median and 90th percentile of each pass, as cells."""
    return " | ".join(f"{row.mean():.1f} / {np.median(row):.1f} / {np.percentile(row, 90):.1f}" for row in np.concatenate(errors, 1))


def camera_table(clips: dict[str, list[tuple[str, LabelledClip]]], network: torch.nn.Module) -> list[str]:
    """By camera, from each of the three starts."""
    lines = ["| camera | depth | frames | start | at the start | after one pass | two | five |", "|---|---|---|---|---|---|---|---|"]
    for name, of_name in clips.items():
        for kind in dict.fromkeys(kind for kind, _ in of_name):
            for starts in (box, picture, joints):
                errors = [errors_mm(clip, starts, 0.25, network, 5)[[0, 1, 2, 5]] for own_kind, clip in of_name if own_kind == kind]
                frames = sum(each.shape[1] for each in errors)
                lines.append(f"| {name} | {'sensor' if kind == 'depth_sensor' else 'clean'} | {frames:,} | {starts.__name__} | {figures(errors)} |")
    return lines


def edge_table(clips: dict[str, list[tuple[str, LabelledClip]]], network: torch.nn.Module) -> list[str]:
    """By the cube's edge, all cameras, from the labelled box."""
    lines = ["| cube, mm | centre of mass | refined |", "|---|---|---|"]
    for edge_m in EDGES_M:
        errors = [errors_mm(clip, box, edge_m, network, 1) for of_name in clips.values() for _, clip in of_name]
        lines.append(f"| {1e3 * edge_m:.0f} | {figures(errors)} |")
    return lines


def side_table(clips: dict[str, list[tuple[str, LabelledClip]]], network: torch.nn.Module) -> list[str]:
    """By hand, all cameras, from the labelled box; and if left hands were not shown in the mirror."""
    lines = ["| hand | centre of mass | refined |", "|---|---|---|"]
    every = [clip for of_name in clips.values() for _, clip in of_name]
    for name, chosen in (("right", [clip for clip in every if clip.side == "right"]), ("left", lefts := [clip for clip in every if clip.side == "left"])):
        lines.append(f"| {name} | {figures([errors_mm(clip, box, 0.25, network, 1) for clip in chosen])} |")
    lines.append(f"| left, as it is | {figures([errors_mm(replace(clip, side='right'), box, 0.25, network, 1) for clip in lefts])} |")
    return lines


def milliseconds(clip: LabelledClip, network: torch.nn.Module) -> float:
    """Of a frame, crop and network, the best of three rounds of twenty clips."""
    cubes, rounds = find_cubes(clip, CubeConfig(centre="mass")), []
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(20):
            refined(cubes, clip.depth_tenth_mm, clip.intrinsics, clip.camera_kind, left=False, network=network)
        rounds.append(1e3 * (time.perf_counter() - began) / 20 / len(clip.depth_tenth_mm))
    return min(rounds)


def machine() -> str:
    """What it was measured on."""
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, one core of {len(names) or os.cpu_count()}; torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--network", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = load_centre_network(arguments.network)
    clips = {directory.name: list(clips_of(directory, arguments.split)) for directory in arguments.datasets}
    lines = [f"Network: {hashlib.sha256(arguments.network.read_bytes()).hexdigest()}", "", *camera_table(clips, network), "", *edge_table(clips, network)]
    _, first = next(iter(clips.values()))[0]
    lines += ["", *side_table(clips, network), "", f"{milliseconds(first, network):.1f} ms a frame; {machine()}"]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
