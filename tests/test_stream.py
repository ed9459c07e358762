"""Sequences straight from the generator: what the shards hold, in the same order for any number of workers, on and on."""

import os
import pickle
import signal
import subprocess
import sys
from dataclasses import fields
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from runs import small_config
from torch.utils.data import DataLoader

from seqgen.dataset import open_dataset
from seqgen.dataset.encoding import stored_rgb
from seqgen.dataset.sequence import HandSequence
from seqgen.errors import UserError
from seqgen.files import mapped_file
from seqgen.pipeline.run import generate_dataset
from seqgen.pipeline.stream import Maker, SequenceStream, indices_of

SIZES: dict[str, Any] = {"clip": {"frames": 3, "size": (48, 40)}, "split": {"train": 4, "val": 1, "test": 1}, "sequences": 12}
CONFIG = small_config(**SIZES, hand={"left": 0.5}, labels={"normals": True, "optical_flow": True}, sensor={"depth": "sr300"})


def assert_same(one: Any, other: Any, *, but: tuple[str, ...] = ()) -> None:
    """Two records, field by field, arrays bit for bit with their types."""
    assert type(one) is type(other)
    for field in fields(one):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        if field.name in but:
            continue
        if isinstance(ours, np.ndarray):
            assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs), field.name
        elif field.name == "labels":
            assert_same(ours, theirs)
        else:
            assert ours == theirs, field.name


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set of CONFIG."""
    folder = tmp_path_factory.mktemp("stored") / "clips"
    generate_dataset(CONFIG, folder)
    return folder


@pytest.fixture(scope="module")
def made() -> list[HandSequence]:
    """The stream of CONFIG, and six sequences beyond its end."""
    return list(SequenceStream(CONFIG, stop=18))


def test_the_records_are_those_of_the_shards(stored: Path, made: list[HandSequence]) -> None:
    there = list(open_dataset(stored))
    assert len(SequenceStream(CONFIG)) == len(there) == 12 and {sequence.meta["hand"]["side"] for sequence in there} == {"left", "right"}
    assert there[0].depth_sensor_tenth_mm is not None and there[0].normals is not None and there[0].flow_px is not None
    for ours, theirs in zip(made, there, strict=False):
        assert_same(ours, theirs)


def test_colours_before_the_jpeg(made: list[HandSequence]) -> None:
    drawn = list(SequenceStream(CONFIG, stop=2, as_stored=False))
    for before, after in zip(drawn, made, strict=False):
        assert_same(before, after, but=("rgb",))
        assert not np.array_equal(before.rgb, after.rgb) and np.abs(before.rgb.astype(int) - after.rgb).mean() < 8
        assert np.array_equal(stored_rgb(before.rgb, CONFIG.output.jpeg_quality), after.rgb)


def test_beyond_its_end_it_is_the_data_set_of_more_sequences(made: list[HandSequence]) -> None:
    more = list(SequenceStream(CONFIG.model_copy(update={"sequences": 18}), start=12))
    assert [sequence.meta["index"] for sequence in more] == list(range(12, 18))
    for ours, theirs in zip(made[12:], more, strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize("split", ["train", "val", "test", None])
@pytest.mark.parametrize("counts", [(6, 2, 2), (1, 0, 3), (80, 10, 10)], ids=str)
@pytest.mark.parametrize("views", [1, 2, 3])
def test_the_order_of_a_split_is_that_of_its_indices(split: Any, counts: tuple[int, int, int], views: int) -> None:
    config = small_config(sequences=12, split=dict(zip(("train", "val", "test"), counts, strict=True)), camera={"views": views})
    if split and not config.split.counts()[split]:
        with pytest.raises(UserError, match=rf"^the config has no split '{split}'; it has train, test$"):
            indices_of(config, split)
        return
    indices = indices_of(config, split)
    expected = [index for index in range(1000) if split in (None, config.split_of(index))]
    assert [indices[number] for number in range(len(expected))] == expected
    assert [indices.num_before(index) for index in range(1000)] == [sum(other < index for other in expected) for index in range(1000)]


def numbers(stream: SequenceStream, most: int = 1000) -> list[int]:
    """The indices that a stream gives, without making anything."""
    return list(islice((stream._indices[number] for number in stream._own_numbers()), most))


@pytest.mark.parametrize("world", [1, 2, 5])
def test_ranks_share_it_out_and_go_on_from_any_index(world: int) -> None:
    whole = numbers(SequenceStream(CONFIG, split="train", endless=True), 60)
    parts = [numbers(SequenceStream(CONFIG, split="train", endless=True, rank=rank, world=world), 60) for rank in range(world)]
    together = sorted(chain.from_iterable(parts))
    assert together[:60] == whole and len(set(together)) == 60 * world
    for rank, part in enumerate(parts):
        for done in (1, 7):
            resumed = SequenceStream(CONFIG, split="train", endless=True, rank=rank, world=world, start=part[done - 1] + 1)
            assert numbers(resumed, 30) == part[done : done + 30]
    assert [len(SequenceStream(CONFIG, rank=rank, world=world)) for rank in range(world)] == [len(range(rank, 12, world)) for rank in range(world)]


def test_it_goes_on_with_the_bits_it_would_have_had(made: list[HandSequence]) -> None:
    expected = [sequence for sequence in made if sequence.split == "train"]
    endless = SequenceStream(CONFIG, split="train", endless=True, start=expected[2].meta["index"] + 1)
    for ours, theirs in zip(islice(endless, 4), expected[3:7], strict=True):
        assert_same(ours, theirs)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow), 2])
@pytest.mark.parametrize("clean", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["a fork of the user", "our own"])
def test_any_number_of_workers_gives_the_same_in_the_same_order(workers: int, clean: bool, made: list[HandSequence]) -> None:
    stream = SequenceStream(CONFIG, stop=7)
    delivered = list(stream.loader(workers) if clean else DataLoader(stream, batch_size=None, num_workers=workers))
    assert len(delivered) == 7
    for ours, theirs in zip(delivered, made, strict=False):
        assert_same(ours, theirs)


def keys(sequences: list[HandSequence]) -> list[str]:
    return [sequence.key for sequence in sequences]


def test_batches_of_a_loader_are_groups() -> None:
    stream = SequenceStream(CONFIG, stop=8, group=3)
    for workers in (0, 2):
        batches = list(DataLoader(stream, batch_size=3, collate_fn=keys, num_workers=workers))
        assert batches == [[f"{index:08d}" for index in range(begin, min(begin + 3, 8))] for begin in (0, 3, 6)]


@pytest.mark.parametrize(
    "wrong", [{"start": 5, "stop": 4}, {"start": -1}, {"start": 13}, {"endless": True, "stop": 4}, {"rank": 2, "world": 2}, {"rank": -1}, {"group": 0}], ids=str
)
def test_contradictions_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"start|stop|rank"):
        SequenceStream(CONFIG, **wrong)


def test_cuda_is_for_the_process_itself() -> None:
    stream = SequenceStream(CONFIG)
    stream.config = stream.maker.config = CONFIG.model_copy(update={"device": "cuda"})
    complaint = r"device = cuda: sequences are made in the process that uses them; take no workers, or device = cpu"
    with pytest.raises(UserError, match=rf"^{complaint}$"):
        stream.loader(1)
    with pytest.raises(UserError, match=complaint):  # within torch's words
        next(iter(DataLoader(stream, batch_size=None, num_workers=1)))


def test_processes_map_the_same_poses() -> None:
    """What is sent to a worker holds none of them; there they are files, the same ones as here."""
    maker = Maker(CONFIG)
    sent = pickle.dumps(maker)
    here, there = maker.gather().poses["train"], pickle.loads(sent).gather().opened().poses["train"]
    assert here.bank.joints_m.tobytes()[:200] not in sent and here.graph.neighbours.tobytes()[:200] not in sent
    for ours, theirs in ((here.bank.joints_m, there.bank.joints_m), (here.graph.neighbours, there.graph.neighbours)):
        assert mapped_file(ours) == mapped_file(theirs) is not None and np.array_equal(ours, theirs)


MAKING = """
import sys
from test_stream import CONFIG
from seqgen.pipeline.stream import SequenceStream
if __name__ == "__main__":
    for sequence in SequenceStream(CONFIG, endless=True).loader(2):
        print(sequence.key, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
def test_workers_end_with_their_user(number: signal.Signals) -> None:
    """However it ends; and a Ctrl-C, which all of them get, is told by the user alone. They inherit the user's output, so it is at its end when the last of them is."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    user = subprocess.Popen([sys.executable, "-c", MAKING], cwd=Path(__file__).parent, text=True, start_new_session=True, **pipes)
    assert user.stdout is not None and [user.stdout.readline() for _ in range(3)] == [f"{index:08d}\n" for index in range(3)]
    user.kill() if number == signal.SIGKILL else os.killpg(user.pid, number)
    try:
        _, told = user.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(user.pid, signal.SIGKILL)
        user.communicate()
        pytest.fail("the workers live on")
    assert told.count("Traceback") == (number == signal.SIGINT) and told.count("KeyboardInterrupt") == (number == signal.SIGINT)
