"""`python forks.py CLIPS OUT START ...`: one process that does what forking upsets, as a user's script may. Writes a line to OUT/steps for each step that went well; CLIPS is
a data set, START fork or spawn, for torch's readers.
"""

import multiprocessing
import operator
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from runs import content, small_config
from torch.utils.data import DataLoader

from seqgen.dataset import open_dataset
from seqgen.dataset.encoding import encode_sequence
from seqgen.dataset.sequence import HandSequence
from seqgen.pipeline.assets import gather_assets
from seqgen.pipeline.config import GenerateConfig
from seqgen.pipeline.generate import Sources, generate_sequence, open_sources
from seqgen.pipeline.process import one_thread
from seqgen.pipeline.run import generate_dataset

CONFIG = small_config(sequences=4, clip={"frames": 2, "size": (64, 48)}, split={"train": 1, "val": 0, "test": 0})


def encoded(sequence: HandSequence) -> bytes:
    return b"".join(data for _, data in encode_sequence(sequence, jpeg_quality=95))


def made(index: int, sources: Sources, config: GenerateConfig) -> bytes:
    with one_thread():
        return encoded(generate_sequence(index, sources, config))


def in_a_fork(index: int, sources: Sources, path: Path) -> bytes:
    """A clip made by a child, with the Sources of its parent."""
    child = os.fork()
    if not child:
        path.write_bytes(made(index, sources, CONFIG))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    return path.read_bytes()


def in_a_process(index: int, sources: Sources, path: Path) -> bytes:
    """The same by `multiprocessing`."""
    child = multiprocessing.get_context("fork").Process(target=lambda: path.write_bytes(made(index, sources, CONFIG)))
    child.start()
    child.join()
    assert child.exitcode == 0
    return path.read_bytes()


def main(clips: Path, out: Path, starts: list[str]) -> None:
    def done(step: str) -> None:
        with open(out / "steps", "a", encoding="utf-8") as file:
            file.write(f"{step}\n")

    with one_thread():
        sources = open_sources(gather_assets(CONFIG), CONFIG)
    before = [made(index, sources, CONFIG) for index in range(4)]
    square = np.ones((512, 512), np.float32)
    assert (square @ square)[0, 0] == 512 and torch.mm(torch.ones(512, 512), torch.ones(512, 512))[0, 0] == 512  # by all threads there are
    with tempfile.TemporaryDirectory() as scratch:
        for fork in (in_a_fork, in_a_process):
            assert fork(2, sources, Path(scratch) / "clip") == before[2]
            done(fork.__name__)
    stored = open_dataset(clips)
    there = [encoded(stored[index]) for index in range(len(stored))]
    for start in starts:
        loader = DataLoader(stored, batch_size=1, collate_fn=operator.itemgetter(0), num_workers=1, multiprocessing_context=start)
        assert [encoded(sequence) for sequence in loader] == there
        done(f"a DataLoader by {start}")
    assert generate_dataset(CONFIG, out / "here")
    assert generate_dataset(CONFIG.model_copy(update={"workers": 1}), out / "ray")
    assert content(out / "here") == content(out / "ray")
    done("Ray")
    assert [made(index, sources, CONFIG) for index in range(4)] == before
    done("again")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
