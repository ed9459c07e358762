"""How well the shipped localiser finds hands: recall, false alarms and time, as Markdown tables.

    python docs/benchmarks/localise.py DATASET... [--pictures 3000] [--localiser FILE]

The data sets are made as docs/benchmarks/localise.md says. Pictures are drawn from their splits `val` (for the choice of the threshold) and `test` by
seqgen.prediction.localiser_pictures, as those that it was trained with were from `train`; the splits share no photo, skin or pose. One thread.
"""

import argparse
import os
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from seqgen.dataset import open_dataset
from seqgen.prediction.boxes import overlap
from seqgen.prediction.localise import INPUT_PX, SHIPPED, THRESHOLD, LearnedLocaliser, boxes_of, load_localiser
from seqgen.prediction.localiser_pictures import gather_frames, place_hands

SHARES = (0.04, 0.1, 0.2, 0.4, 0.95)  # longer edge of the hand's box over the square's side
THRESHOLDS = (0.2, 0.3, 0.35, 0.4, 0.5, 0.6)


def answers(localiser: LearnedLocaliser, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Box (of the square, counted from its corner) and heat of each picture."""
    boxes, heats = [], []
    with torch.no_grad():
        for part in np.array_split(pixels, max(1, len(pixels) // 100)):
            heat, numbers = localiser.network(torch.as_tensor(part).permute(0, 3, 1, 2))
            place = heat.flatten(1).argmax(1)
            boxes.append(boxes_of(numbers).flatten(1, 2)[torch.arange(len(part)), place].clamp(0, INPUT_PX).numpy())
            heats.append(heat.flatten(1).max(1).values.sigmoid().numpy())
    return np.concatenate(boxes), np.concatenate(heats)


def measured(localiser: LearnedLocaliser, datasets: list[Path], split: str, num: int) -> dict[str, np.ndarray]:
    """Heat, overlap and the hand's share of each picture; share 0 where there is no hand."""
    frames = gather_frames(sequence for directory in datasets for sequence in open_dataset(directory, split=split))
    placed = place_hands(frames, np.random.default_rng(1), num=num, without_hand=0.3)
    boxes, heat = answers(localiser, placed.pixels)
    same = np.array([overlap(*pair) for pair in zip(boxes, placed.box, strict=True)])
    return {"heat": heat, "overlap": same, "share": (placed.box[:, 2:] - placed.box[:, :2]).max(1) / INPUT_PX}


def threshold_table(found: dict[str, np.ndarray]) -> list[str]:
    """Recall and false alarms over thresholds."""
    hand = found["share"] > 0
    lines = ["| least heat | recall at IoU 0.5 | hands missed | false alarms on pictures without a hand |", "|---|---|---|---|"]
    for threshold in THRESHOLDS:
        said = found["heat"] >= threshold
        recall, missed, alarms = (said & (found["overlap"] >= 0.5))[hand].mean(), 1 - said[hand].mean(), said[~hand].mean()
        lines.append(f"| {threshold:g} | {100 * recall:.1f} % | {100 * missed:.1f} % | {100 * alarms:.1f} % |")
    return lines


def share_table(found: dict[str, np.ndarray]) -> list[str]:
    """Recall by the size of the hand, at the threshold in use."""
    lines = ["| longer edge of the hand / longer side of the picture | pictures | recall at IoU 0.5 | at IoU 0.75 | mean IoU of what was found |", "|---|---|---|---|---|"]
    said = found["heat"] >= THRESHOLD
    for low, high in [*pairwise(SHARES), (1e-6, 1.01)]:
        inside = (found["share"] >= low) & (found["share"] < high)
        half, quarters = (100 * (said & (found["overlap"] >= least))[inside].mean() for least in (0.5, 0.75))
        name = "all" if high > 1 else f"{low:g} to {high:g}"
        lines.append(f"| {name} | {inside.sum():,} | {half:.1f} % | {quarters:.1f} % | {found['overlap'][inside & said].mean():.2f} |")
    return lines


def as_generated(localiser: LearnedLocaliser, directory: Path) -> str:
    """The test split's pictures as they are."""
    same = []
    for sequence in open_dataset(directory, split="test"):
        height, width = sequence.rgb.shape[1:3]
        for rgb, whole in zip(sequence.rgb, sequence.labels.box_px, strict=True):
            box = localiser(rgb)
            same.append(0.0 if box is None else overlap(box, np.clip(whole, -0.5, np.array([width, height, width, height], np.float32) - np.float32(0.5))))
    return f"| {directory.name} | {len(same):,} | {100 * (np.array(same) >= 0.5).mean():.1f} % | {100 * (np.array(same) >= 0.75).mean():.1f} % |"


def milliseconds(localiser: LearnedLocaliser, width: int, height: int) -> float:
    """Of a picture, the best of three rounds of twenty."""
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    rounds = []
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(20):
            localiser.detect(rgb)
        rounds.append(1e3 * (time.perf_counter() - began) / 20)
    return min(rounds)


def machine() -> str:
    """What it was measured on."""
    names = [line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else 'unknown processor'}, one core of {len(names) or os.cpu_count()}; torch {torch.__version__}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", type=Path)
    parser.add_argument("--pictures", type=int, default=3000)
    parser.add_argument("--localiser", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    localiser = load_localiser(arguments.localiser)
    tests = measured(localiser, arguments.datasets, "test", arguments.pictures)
    lines = [machine(), "", f"Test split, at the least heat in use ({THRESHOLD:g}):", "", *share_table(tests), "", "Test split:", "", *threshold_table(tests)]
    lines += ["", "Validation split:", "", *threshold_table(measured(localiser, arguments.datasets, "val", arguments.pictures)), "", "Test splits as they were generated:", ""]
    lines += ["| data set | pictures | recall at IoU 0.5 | at IoU 0.75 |", "|---|---|---|---|", *(as_generated(localiser, directory) for directory in arguments.datasets), ""]
    sizes = ((224, 224), (640, 480), (1920, 1080))
    lines += ["| picture | ms |", "|---|---|", *(f"| {width} x {height} | {milliseconds(localiser, width, height):.1f} |" for width, height in sizes)]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
