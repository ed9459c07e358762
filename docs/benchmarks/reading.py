"""How fast stock webdataset gives decoded arrays on one core, and what takes the time, as a Markdown table.

    python docs/benchmarks/reading.py [DATASET] [--clips 100]

Without a data set the quickstart is generated: 224x224, RGB, depth, parts and labels. No code of ours reads.
"""

import argparse
import io
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import webdataset as wds
from PIL import Image

ROUNDS = 5
Samples = Callable[[], Iterable[dict]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, nargs="?")
    parser.add_argument("--clips", type=int, default=100)
    arguments = parser.parse_args()
    if arguments.dataset:
        return report(arguments.dataset)
    with tempfile.TemporaryDirectory() as folder:
        command = ["generate", "quickstart", "--sequences", str(arguments.clips), "--workers", "1", "--out", f"{folder}/set"]
        subprocess.run([sys.executable, "-c", "from seqgen.cli import main; main()", *command], check=True)
        report(Path(folder) / "set")


def report(directory: Path) -> None:
    shards = sorted(map(str, (directory / "shards").glob("*.tar")))
    ways: dict[str, Samples] = {
        "all members, decoded": lambda: everything(shards),
        "RGB and labels, decoded": lambda: wanted(shards, ("rgb.jpg", "labels.npz"), pictures()),
        "the same by webdataset's own `rgb8`": lambda: wanted(shards, ("rgb.jpg", "labels.npz"), "rgb8"),
        "RGB alone, decoded": lambda: wanted(shards, ("rgb.jpg",), pictures()),
        "depth alone, decoded": lambda: wanted(shards, ("depth.png",), pictures()),
        "parts alone, decoded": lambda: wanted(shards, ("parts.png",), pictures()),
        "labels alone, decoded": lambda: wanted(shards, ("labels.npz", "rgb.jpg"), only_labels),
        "all members, as bytes": lambda: wds.WebDataset(shards, shardshuffle=False),
        "bare Pillow on the JPEGs in memory": lambda: bare(jpegs),
    }
    jpegs = [sample[name] for sample in wds.WebDataset(shards, shardshuffle=False) for name in sample if name.endswith("rgb.jpg")]
    frames = len(jpegs)
    print(f"{frames} frames, {np.mean(list(map(len, jpegs))) / 1e3:.1f} kB of JPEG each\n\n| | ms a frame | frames/s |\n|---|---|---|")
    times = {name: [] for name in ways}
    for _ in range(ROUNDS):  # in turns, so that a slow spell of the machine is everybody's
        for name, way in ways.items():
            begin = time.process_time()
            for _ in way():
                pass
            times[name].append((time.process_time() - begin) / frames)
    for name, seconds in times.items():
        print(f"| {name} | {statistics.median(seconds) * 1e3:.3f} | {1 / statistics.median(seconds):,.0f} |")


def everything(shards: list[str]) -> Iterable[dict]:
    """As the README has it."""
    return wds.WebDataset(shards, shardshuffle=False).decode(pictures())


def wanted(shards: list[str], names: tuple[str, ...], decoder: object) -> Iterable[dict]:
    return wds.WebDataset(shards, shardshuffle=False, select_files=lambda name: name.endswith(names)).decode(decoder)


def pictures() -> Callable:
    return wds.handle_extension("png jpg", lambda data: np.asarray(Image.open(io.BytesIO(data))))


def only_labels(name: str, data: bytes) -> object:
    """Leaves JPEGs as they are: a sample without one would be none to webdataset."""
    return data if name.endswith("jpg") else None


def bare(jpegs: list[bytes]) -> Iterator[dict]:
    for data in jpegs:
        yield {"rgb": np.asarray(Image.open(io.BytesIO(data)))}


if __name__ == "__main__":
    main()
