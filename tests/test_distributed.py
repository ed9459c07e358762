"""Training in several processes gives what one process gives."""

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from runs import small_config
from safetensors.torch import load_file
from toys import ToyClips, know_toy, toy_config

from seqgen.errors import UserError
from seqgen.estimators import ESTIMATORS
from seqgen.training import sources
from seqgen.training.config import TrainConfig, train_config
from seqgen.training.group import Group
from seqgen.training.progress import read_log
from seqgen.training.run import train
from seqgen.training.train import teach

# Normalisations would see each rank's clips for themselves; seven clips do not go into two equal parts.
JOB = {"model": {"norm": False}, "data": {"reading": {"frames": 3, "batch": 7, "readers": 0}}, "optim": {"clip_norm": 0.5, "lr": 1e-3}, "run": {"steps": 6}}


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def _toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    know_toy()
    monkeypatch.setattr(sources, "open_clips", lambda path, *, split=None, pictures=(): ToyClips())
    yield
    del ESTIMATORS["toy"]


def rank_of_two(rank: int, meeting: str, jobs: list[tuple[str, dict[str, Any], int | None]]) -> None:
    """A rank in a process of its own, without Ray: folder, config and broken clip of one training after the other. A user's mistake ends up in a file."""
    know_toy()
    torch.distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=2)
    for out, config, broken in jobs:
        sources.open_clips = lambda path, *, split=None, pictures=(), broken=broken: ToyClips(broken=broken)
        try:
            teach(train_config(config, where="test"), Path(out), group=Group(rank, 2))
        except UserError as error:
            Path(out, f"error-{rank}").write_text(str(error))
    torch.distributed.destroy_process_group()
    os._exit(0)  # as Ray ends its workers: where the interpreter ends first, a thread of gloo's that still wants its lock aborts the process (seen in one of five)


def train_two(meeting: Path, jobs: list[tuple[Path, TrainConfig, int | None]]) -> None:
    """Both ranks, side by side."""
    plain = []
    for out, config, broken in jobs:
        out.mkdir()
        plain.append((str(out), config.model_dump(mode="json"), broken))
    context = multiprocessing.get_context("spawn")
    ranks = [context.Process(target=rank_of_two, args=(rank, str(meeting), plain)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(300)
    assert [rank.exitcode for rank in ranks] == [0, 0]


def assert_the_same_training(one: Path, other: Path) -> None:
    """To rounding: sums are taken in another order."""
    weights, others = (load_file(folder / "last" / "weights.safetensors") for folder in (one, other))
    for name in weights:
        torch.testing.assert_close(weights[name], others[name], rtol=1e-4, atol=1e-6, msg=name)
    for line, twin in zip(read_log(one), read_log(other), strict=True):
        numbers = {name: value for name, value in line.items() if name in ("step", "loss", "gradient_norm", "validation_mm")}
        assert numbers == pytest.approx({name: twin[name] for name in numbers}, rel=1e-4)
        assert line.get("terms", {}) == pytest.approx(twin.get("terms", {}), rel=1e-4)


@pytest.mark.usefixtures("_toy")
def test_two_ranks_take_the_steps_of_one_process_and_stop_together(tmp_path: Path) -> None:
    config = toy_config(**JOB)
    train(config, tmp_path / "one")
    train_two(tmp_path / "meeting", [(tmp_path / "two", config, None), (tmp_path / "broken", config, 5)])
    assert_the_same_training(tmp_path / "one", tmp_path / "two")
    for rank in range(2):
        message = (tmp_path / "broken" / f"error-{rank}").read_text()
        assert "00000005" in message and "the loss is" in message


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray")
def test_ray_workers_take_the_steps_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SeqHAND-Net itself, its encoder frozen because normalisations would see each rank's clips for themselves; all frames have all labels. Paths are relative, as
    users give them: Ray's processes work in another folder."""
    from seqgen.pipeline.run import generate_dataset

    generate_dataset(small_config(sequences=5, split={"train": 4, "val": 1, "test": 0}), tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    tables = {
        "data": {"train": "data", "reading": {"frames": 4, "batch": 4, "readers": 0}},
        "input": {"size": 32},
        "model": {"name": "seqhand", "backbone": "resnet18", "width": 0.125},
        "run": {"steps": 3, "log_every": 1, "freeze": ["encoder"], "threads": 1},
    }
    one = train(train_config(tables, where="test"), Path("one"))
    said: list[str] = []
    shared = {**tables, "run": {**tables["run"], "train_workers": 2}}
    two = train(train_config(shared, where="test"), Path("two"), say=said.append)
    assert_the_same_training(tmp_path / "one", tmp_path / "two")
    assert two.steps == one.steps == 3 and "2 training processes" in said[0]
    assert train(train_config(shared, where="test"), Path("two")) == two
    wrong = {**shared, "run": {**shared["run"], "freeze": ["tail"]}}
    with pytest.raises(UserError, match="no part 'tail'"):
        train(train_config(wrong, where="test"), Path("three"))
