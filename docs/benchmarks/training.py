"""How fast networks learn on this machine, and how long they wait for data: the figures of the training loop, as a Markdown table.

    python docs/benchmarks/training.py [--steps 60] [--device cpu|cuda] [--rounds 3]

Makes two small data sets (clips of ten frames, 112 and 224 px), then runs `seqgen train`'s own loop on the config `seqhand_small` with some fields replaced, each row
`--rounds` times in turn with the others, and prints medians. Start-up is not counted, waiting is: a row's speed is that of its last half of steps.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from typing import Any

from seqgen.config import find_config, overlay, read_config, read_toml
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.run import generate_dataset
from seqgen.training.config import train_config
from seqgen.training.progress import read_log
from seqgen.training.run import train

CLIPS = 200
ROWS: dict[str, dict[str, Any]] = {
    "ResNet-18, half width, ConvLSTM, 112 px": {},
    "the same, float32": {"optim.precision": "float32"},
    "the same, no readers": {"data.reading.readers": 0},
    "the same, clips stored at 224 px": {"stored": 224},
    "the same, no ConvLSTM": {"model.temporal": "none"},
    "the same, looks not changed": {"augment.share": 0.0},
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    known = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = {size: make_data(Path(folder) / f"clips{size}", size) for size in (112, 224)}
        measured: dict[str, list[tuple[float, float]]] = {row: [] for row in ROWS}
        for number in range(known.rounds):
            for place, (row, fields) in enumerate(ROWS.items()):
                measured[row].append(speed(fields, data, Path(folder) / f"run{number}-{place}", known))
    print("| network and data | frames/s | ms a frame | waiting for data |\n|---|---|---|---|")
    for row, rounds in measured.items():
        frames, wait = (statistics.median(values) for values in zip(*rounds, strict=True))
        print(f"| {row} | {frames:.0f} | {1e3 / frames:.2f} | {wait:.1%} |")


def make_data(folder: Path, size: int) -> Path:
    """Default clips of ten frames."""
    fields = {"sequences": CLIPS, "clip.size": (size, size), "output.preview": 0, "split.train": 10, "split.val": 0, "split.test": 0}
    generate_dataset(read_config(GenerateConfig, find_config("quickstart"), fields), folder)
    return folder


def speed(fields: dict[str, Any], data: dict[int, Path], out: Path, known: argparse.Namespace) -> tuple[float, float]:
    """Frames a second and the share of waiting over the last half of a run."""
    fields = {**fields, "run.steps": known.steps, "run.log_every": known.steps // 2, "run.device": known.device, "data.validation_clips": 0}
    tables = overlay(read_toml(find_config("seqhand_small", "train")), "data.train", str(data[fields.pop("stored", 112)]))
    for name, value in fields.items():
        tables = overlay(tables, name, value)
    train(train_config(tables, where="benchmark"), out)
    last = [line for line in read_log(out) if "frames_per_s" in line][-1]
    return last["frames_per_s"], last["data_wait_share"]


if __name__ == "__main__":
    main()
