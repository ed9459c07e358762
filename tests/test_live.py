"""Training from clips that are made meanwhile: those of the data set, none twice, the same bits as from shards however often it is stopped."""

import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import small_config
from safetensors.torch import load_file
from test_stream import CONFIG, SIZES, assert_same

from seqgen.cli import main
from seqgen.dataset import open_dataset
from seqgen.dataset.clip import MadeClips
from seqgen.dataset.clips import DatasetClips
from seqgen.errors import UserError
from seqgen.pipeline.live import GeneratedData
from seqgen.pipeline.run import generate_dataset
from seqgen.pipeline.stream import SequenceStream
from seqgen.training import train as train_module


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set of CONFIG."""
    folder = tmp_path_factory.mktemp("stored") / "clips"
    generate_dataset(CONFIG, folder)
    return folder


@pytest.mark.parametrize("pictures", [("rgb", "mask"), ("depth",), ("depth_sensor",), ("rgb", "depth", "mask")], ids="+".join)
def test_clips_are_those_of_the_data_set(pictures: Any, stored: Path) -> None:
    live, there = GeneratedData("live", CONFIG).clips("train", pictures), DatasetClips(open_dataset(stored, "train"), pictures=pictures)
    assert isinstance(live, MadeClips) and not isinstance(there, MadeClips)
    assert len(live) == len(there) == 8 and [live.key(place) for place in range(8)] == [there.key(place) for place in range(8)]
    for place, frames in ((0, None), (5, [2, 0]), (7, [1])):
        ours, theirs = live.read(place, frames), there.read(place, frames)
        assert live.num_frames(place) == there.num_frames(place) == 3
        assert_same(replace(ours, source=theirs.source), theirs)


def test_each_epoch_has_the_clips_that_follow() -> None:
    """Eight of twelve sequences are for training, four of six: the second epoch begins with sequence 12."""
    clips = GeneratedData("live", CONFIG).clips("train", ("rgb", "mask"))
    made = {sequence.meta["index"]: sequence for sequence in SequenceStream(CONFIG, start=12, stop=16)}
    later = list(clips.make(1, [(3, [0, 1, 2]), (0, [1])]))
    assert [clip.key for clip in later] == ["00000015", "00000012"]
    assert np.array_equal(later[0].rgb, made[15].rgb) and np.array_equal(later[1].rgb, made[12].rgb[[1]]) and np.array_equal(later[1].joints_m, made[12].labels.joints_m[[1]])


def test_sent_to_another_machine_it_is_its_config() -> None:
    data = GeneratedData("live", CONFIG)
    data.clips(None, ("rgb",)).read(0)
    sent = pickle.dumps(data)
    there = pickle.loads(sent)
    assert len(sent) < 20_000 and there.content == data.content
    assert_same(there.clips("val", ("depth",)).read(1), data.clips("val", ("depth",)).read(1))


def test_what_a_config_does_not_make_is_said() -> None:
    without = GeneratedData("generate:quickstart", small_config(**{**SIZES, "split": {"train": 1, "val": 0, "test": 0}}))
    with pytest.raises(UserError, match=r"^generate:quickstart has no split 'val'; it has train$"):
        without.clips("val", ("rgb",))
    with pytest.raises(UserError, match=r"^generate:quickstart has no split 'exam'; it has train$"):
        without.clips("exam", ("rgb",))
    with pytest.raises(UserError, match=r"^generate:quickstart makes no sensor depth; give a config with a depth camera"):
        without.clips("train", ("depth_sensor",))


CLIPS = "--sequences 12 --clip.frames 3 --clip.size 48,40 --poses.rows 1500 --split.train 4 --split.val 1 --split.test 1".split()
SMALLEST = "--input.size 48 --model.width 0.125 --data.reading.batch 2 --data.reading.frames 3 --run.threads 1 --run.validate-every 3".split()
LIVE = ["--data", "generate:quickstart", *(word.replace("--", "--generate.") for word in CLIPS)]


def call(*words: object) -> int:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(sys, "argv", ["seqgen", *map(str, words)])
        main()
    return stopped.value.code


def learn(out: Path, *words: object, steps: int = 3, readers: int = 0) -> dict[str, torch.Tensor]:
    """A training from the command line; its last weights."""
    assert call("train", "seqhand_small", "--out", out, "--run.steps", steps, "--data.reading.readers", readers, *SMALLEST, *words) == 0
    return load_file(out / "last" / "weights.safetensors")


def assert_same_weights(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys() and [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("readers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_steps_from_the_generator_are_steps_from_the_shards(readers: int, tmp_path: Path) -> None:
    """Learning, and validating."""
    assert call("generate", "--out", tmp_path / "clips", "--workers", 0, "--output.preview", 0, *CLIPS) == 0
    shards = learn(tmp_path / "shards", "--data", tmp_path / "clips")
    assert_same_weights(learn(tmp_path / "live", *LIVE, readers=readers), shards)
    validated = [[line for line in (folder / "log.jsonl").read_text().splitlines() if "validation_mm" in line] for folder in (tmp_path / "shards", tmp_path / "live")]
    assert validated[0] == validated[1] and len(validated[0]) == 1


class Stopped(Exception):
    """Stands for a process that is killed."""


@pytest.mark.slow
def test_a_training_that_is_stopped_goes_on_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in its second epoch of four steps, continued into the third."""
    validate, validations = train_module._validate, []

    def killed_in_the_second(*about: Any) -> float:
        validations.append(about)
        if len(validations) == 2:
            raise Stopped
        return validate(*about)

    often = ["--run.checkpoint-every", 5]
    straight = learn(tmp_path / "straight", *LIVE, *often, steps=9)
    with monkeypatch.context() as patch:
        patch.setattr(train_module, "_validate", killed_in_the_second)  # at step 6
        with pytest.raises(Stopped):
            learn(tmp_path / "stopped", *LIVE, *often, steps=9)
    assert json.loads((tmp_path / "stopped" / "last" / "training.json").read_text())["step"] == 5
    assert_same_weights(learn(tmp_path / "stopped", *LIVE, *often, steps=9), straight)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--data generate:quikstart", "quikstart: no such config; did you mean quickstart?"),
        ("--data generate:nowhere.toml", "nowhere.toml: no such config file"),
        ("--data generate:quickstart --generate.clip.frame 3", "unknown key clip.frame; did you mean clip.frames?"),
        ("--data clips --generate.clip.frames 3", "--generate.clip.frames is about clips that are made meanwhile; name their config, --data generate:quickstart"),
        ("--data generate:quickstart --generate.device cuda --data.reading.readers 1", "with device = cuda the training process makes the clips; give --data.reading.readers 0"),
        ("--data generate:quickstart --generate.clip.frames 3", "has 3 frames, but frames = 10 takes 10"),
        ("--data generate:quickstart --data.stills 1", "data.stills takes frames of stored clips"),
        ("--data generate:quickstart --generate.split.train 0", "generate:quickstart has no split 'train'; it has val, test"),
    ],
)
def test_mistakes_are_one_line(words: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "seqhand_small", "--out", tmp_path / "out", *words.split()) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("seqgen: ") and complaint in line
    assert not (tmp_path / "out").exists()


def test_another_config_for_a_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whose name is the same: what counts is what it says."""
    learn(tmp_path / "out", *LIVE, steps=1)
    assert call("train", "seqhand_small", "--out", tmp_path / "out", "--run.steps", 1, *SMALLEST, *LIVE, "--generate.seed", 5) == 2
    assert "live.generate:quickstart.seed is 0 there, 5 here" in capsys.readouterr().err


def test_finetuning_takes_stored_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("finetune", "--from", tmp_path, "--data", "generate:quickstart") == 2
    assert "make a data set with `seqgen generate quickstart`" in capsys.readouterr().err
