"""Training from the generator against training from shards: how fast the same step goes, and how long it waits for its clips, as a Markdown table.

    python docs/benchmarks/stream.py [--steps 30] [--rounds 3] [--sizes 112 224] [--threads 1 2]

Makes a data set for each size of clips of ten frames, then runs `seqgen train`'s own loop on `seqhand_small`, from the shards and from the generator with the same config, with
one and two readers, each row `--rounds` times in turn with the others, and prints medians. Start-up is not counted: a row's figures are those of its last half of steps.
CPU times, of the training process and of its readers together, say what there is to do whatever else the machine does meanwhile.
"""

import argparse
import itertools
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from seqgen.config import find_config, overlay, read_config, read_toml
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.live import GeneratedData
from seqgen.pipeline.run import generate_dataset
from seqgen.training.config import TrainConfig, train_config
from seqgen.training.progress import read_log
from seqgen.training.run import train

CLIPS, READERS = 200, (1, 2)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[112, 224])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    known = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        configs = {size: clips_config(size) for size in known.sizes}
        for size, config in configs.items():
            generate_dataset(config, Path(folder) / f"clips{size}")
        rows = list(itertools.product(known.sizes, known.threads, READERS, ("shards", "generator")))
        measured: dict[tuple[int, int, int, str], list[tuple[float, ...]]] = {row: [] for row in rows}
        for number, row in itertools.product(range(known.rounds), rows):
            size, threads, readers, source = row
            data = str(Path(folder) / f"clips{size}") if source == "shards" else "generate:clips"
            out = Path(folder) / f"run{number}-{rows.index(row)}"
            measured[row].append(figures(training(data, threads, readers, known.steps), configs[size], out))
    print("| clips, px | threads | readers | clips from | steps/s | frames/s | waiting for data | CPU ms a step: training | readers |\n" + "|---" * 9 + "|")
    for (size, threads, readers, source), rounds in measured.items():
        frames, wait, own, others = (statistics.median(values) for values in zip(*rounds, strict=True))
        print(f"| {size} | {threads} | {readers} | {source} | {frames / 80:.2f} | {frames:.0f} | {wait:.1%} | {1e3 * own:.0f} | {1e3 * others:.0f} |")


def clips_config(size: int) -> GenerateConfig:
    """Default clips, all of them for training."""
    fields = {"sequences": CLIPS, "workers": 0, "clip.size": (size, size), "output.preview": 0, "split.train": 10, "split.val": 0, "split.test": 0}
    return read_config(GenerateConfig, find_config("quickstart"), fields)


def training(data: str, threads: int, readers: int, steps: int) -> TrainConfig:
    """A training of so many steps of 8 clips of 10 frames."""
    tables = read_toml(find_config("seqhand_small", "train"))
    fields = {"run.steps": steps, "run.log_every": steps // 2, "run.threads": threads, "data.train": data, "data.reading.readers": readers, "data.validation_clips": 0}
    for name, value in fields.items():
        tables = overlay(tables, name, value)
    return train_config(tables, where="benchmark")


def figures(config: TrainConfig, clips: GenerateConfig, out: Path) -> tuple[float, ...]:
    """Over the last half of a run: frames a second, the share of waiting, CPU seconds a step of the training process and of its readers."""
    live = {name: GeneratedData(name, clips) for name in config.data.train if name.startswith("generate:")}
    seen: list[tuple[float, float]] = []
    train(config, out, live=live, report=lambda line, steps: seen.append((time.process_time(), readers_seconds())))
    last: dict[str, Any] = [line for line in read_log(out) if "frames_per_s" in line][-1]
    return last["frames_per_s"], last["data_wait_share"], *((after - before) / config.run.log_every for before, after in zip(*seen, strict=True))


def readers_seconds() -> float:
    """CPU seconds of the processes that this one started, so far."""
    stats = [Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split() for child in multiprocessing.active_children()]
    return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
