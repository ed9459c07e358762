"""Training: a run is a function of its config and clips, however often it is stopped; what goes wrong is said in one line."""

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs import small_config
from safetensors.torch import load_file
from toys import Toy, ToyClips, ToyConfig, know_toy, toy_config

from seqgen.errors import UserError
from seqgen.estimators import ESTIMATORS
from seqgen.estimators.checkpoint import load_estimator, new_estimator, read_record
from seqgen.estimators.views.feed import batch_of
from seqgen.training import sources
from seqgen.training import train as train_module
from seqgen.training.checkpoint import first_difference
from seqgen.training.config import train_config
from seqgen.training.freeze import freeze, training_mode
from seqgen.training.group import Group
from seqgen.training.progress import Clock, RunLog, read_log
from seqgen.training.run import train
from seqgen.training.schedule import OptimConfig, clip_gradients, learning_rate

SPEEDS = {"samples_per_s", "frames_per_s", "data_wait_share"}


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ToyClips]]:
    """The toy network and made-up clips in place of folders; tests may change which clips."""
    know_toy()
    threads = torch.get_num_threads()
    there = {"train": ToyClips(), "val": ToyClips("toys for validation", count=5)}
    monkeypatch.setattr(sources, "open_clips", lambda path, *, split=None, pictures=(): there[split])
    yield there
    torch.set_num_threads(threads)
    del ESTIMATORS["toy"]


class Stopped(Exception):
    """Stands for a process that is killed."""


def killed_at(step: int) -> Any:
    def report(line: dict[str, Any], steps: int) -> None:
        if line["step"] == step and "loss" in line:
            raise Stopped

    return report


def tensors(out: Path) -> dict[str, torch.Tensor]:
    return {f"{name}: {key}": value for name in ("weights", "training") for key, value in load_file(out / "last" / f"{name}.safetensors").items()}


def numbers(out: Path) -> list[dict[str, Any]]:
    """The log without what the clock says."""
    return [{key: value for key, value in line.items() if key not in SPEEDS} for line in read_log(out)]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kills", [[10], [3, 11, 20]], ids=str)
def test_a_run_that_is_killed_and_continued_has_the_same_bits(tmp_path: Path, precision: str, kills: list[int]) -> None:
    config = toy_config(model={"dropout": 0.3}, optim={"precision": precision, "warmup": 4}, run={"patience": 50})
    straight = train(config, tmp_path / "straight")
    for step in kills:
        with pytest.raises(Stopped):
            train(config, tmp_path / "killed", report=killed_at(step))
    continued = train(config, tmp_path / "killed")
    one, other = tensors(tmp_path / "straight"), tensors(tmp_path / "killed")
    assert len([name for name in one if "exp_avg_sq" in name]) == len(list(Toy(ToyConfig(), None).parameters()))
    assert one.keys() == other.keys() and [name for name in one if not torch.equal(one[name], other[name])] == []
    assert numbers(tmp_path / "straight") == numbers(tmp_path / "killed")
    untimed = ("steps", "validation_mm", "best_mm", "best_step", "stopped")
    assert [getattr(straight, name) for name in untimed] == [getattr(continued, name) for name in untimed]
    assert [line["step"] for line in numbers(tmp_path / "killed") if "loss" in line] == list(range(1, 21))


def test_another_seed_gives_another_run(tmp_path: Path) -> None:
    for seed in (0, 1):
        train(toy_config(run={"seed": seed, "steps": 2}), tmp_path / str(seed))
    assert not torch.equal(tensors(tmp_path / "0")["weights: head.weight"], tensors(tmp_path / "1")["weights: head.weight"])


def test_it_learns(tmp_path: Path) -> None:
    """Brightness alone says where the joints are, so it is left alone."""
    run = {"steps": 60, "validate_every": 60, "checkpoint_every": 60}
    result = train(toy_config(run=run, augment={"brightness": 0.0, "gamma": 0.0, "contrast": 0.0, "spectrum": 0.0}), tmp_path / "run")
    losses = [line["loss"] for line in read_log(tmp_path / "run") if "loss" in line]
    assert np.mean(losses[-20:]) < 0.5 * np.mean(losses[:5])
    assert result.validation_mm is not None and result.validation_mm == result.best_mm
    assert load_estimator(Path(result.checkpoint)).about["validation_mm"] == result.best_mm


def test_the_log_says_what_the_run_did(tmp_path: Path) -> None:
    lines: list[dict[str, Any]] = []
    result = train(toy_config(run={"steps": 6, "log_every": 2, "validate_every": 3}), tmp_path / "run", report=lambda line, steps: lines.append({**line, "of": steps}))
    logged = read_log(tmp_path / "run")
    assert logged == [{key: value for key, value in line.items() if key != "of"} for line in lines] and {line["of"] for line in lines} == {6}
    steps = [line for line in logged if "loss" in line]
    assert [line["step"] for line in steps] == [2, 4, 6] and [line["epoch"] for line in steps] == [0, 1, 1]  # three batches of four of twelve clips an epoch
    assert [line["step"] for line in logged if "validation_mm" in line] == [3, 6]
    for line in steps:
        assert set(line) == {"step", "epoch", "loss", "terms", "lr", "gradient_norm", *SPEEDS}
        assert sum(line["terms"].values()) == pytest.approx(line["loss"], rel=1e-5) and set(line["terms"]) == {"joints", "last"}
        assert line["frames_per_s"] == pytest.approx(3 * line["samples_per_s"]) and 0 <= line["data_wait_share"] <= 1
    assert result.steps == 6 and result.samples_per_s * result.seconds == pytest.approx(24)


def test_tensorboard_holds_the_numbers_of_the_log(tmp_path: Path) -> None:
    loader = pytest.importorskip("tensorboard.backend.event_processing.event_file_loader")
    train(toy_config(run={"steps": 3}), tmp_path / "run")
    [file] = (tmp_path / "run" / "tensorboard").iterdir()
    shown = {(value.tag, event.step): value.tensor.float_val[0] for event in loader.EventFileLoader(str(file)).Load() for value in event.summary.value}
    for line in read_log(tmp_path / "run"):
        names = {"loss": line["loss"], "terms/joints": line["terms"]["joints"]} if "loss" in line else {"validation_mm": line["validation_mm"]}
        assert {name: shown[name, line["step"]] for name in names} == pytest.approx(names, rel=1e-6)


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    said: list[str] = []
    first = train(toy_config(run={"steps": 2}), tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    again = train(toy_config(run={"steps": 2, "threads": 2, "log_every": 7}), tmp_path / "run", say=said.append)
    assert again == first and {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert said == [f"{tmp_path / 'run'}: finished already, 2 steps"]


def test_epochs_are_so_many_batches(tmp_path: Path) -> None:
    assert train(toy_config(run={"steps": None, "epochs": 2}), tmp_path / "run").steps == 6


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    train(toy_config(run={"steps": 2}), tmp_path / "run")
    with pytest.raises(UserError, match=r"run of another config \(optim.lr is 0.01 there, 0.1 here\)"):
        train(toy_config(run={"steps": 2}, optim={"lr": 0.1}), tmp_path / "run")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").touch()
    with pytest.raises(UserError, match=r"holds other files \(one.jpg\) and no training run"):
        train(toy_config(), tmp_path / "photos")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="no place for a training run"):
        train(toy_config(), tmp_path / "file")


def test_a_run_that_was_refused_leaves_the_folder_to_the_corrected_one(tmp_path: Path, toys: dict[str, ToyClips]) -> None:
    toys["train"] = ToyClips(frames=2)
    with pytest.raises(UserError, match="has 2 frames, but frames = 3"):
        train(toy_config(run={"steps": 2}), tmp_path / "run")
    with pytest.raises(UserError, match="no part 'tail'"):
        train(toy_config(run={"steps": 2, "freeze": ["tail"]}, data={"reading": {"frames": 2, "batch": 4, "readers": 0}}), tmp_path / "run")
    corrected = toy_config(run={"steps": 2}, data={"reading": {"frames": 2, "batch": 4, "readers": 0}})
    assert train(corrected, tmp_path / "run").steps == 2
    claim = json.loads((tmp_path / "run" / "config.json").read_text())
    assert claim["config"] == corrected.model_dump(mode="json") and claim["content"] == corrected.identity()
    with pytest.raises(UserError, match="another config"):
        train(toy_config(run={"steps": 3}), tmp_path / "run")


def test_first_difference_names_the_innermost_key() -> None:
    assert first_difference({"a": {"b": 1, "c": [1, 2]}}, {"a": {"b": 1, "c": [1, 3]}}) == "a.c is [1, 2] there, [1, 3] here"
    assert first_difference({"a": 1}, {"b": 2}) == "a is 1 there, 'absent' here"


def test_other_data_under_the_same_name_is_noticed(tmp_path: Path, toys: dict[str, ToyClips]) -> None:
    with pytest.raises(Stopped):
        train(toy_config(), tmp_path / "run", report=killed_at(8))
    toys["train"] = ToyClips(count=20)
    with pytest.raises(UserError, match="data of 3 batches an epoch, now there are 5"):
        train(toy_config(), tmp_path / "run")


def test_clips_of_several_data_sets_are_named_with_their_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "open_clips", lambda path, *, split=None, pictures=(): ToyClips(path, broken=7 if path == "second" else None))
    with pytest.raises(UserError, match=r"second/00000007"):
        train(toy_config(run={"steps": 6}, data={"train": ["first", "second"], "validation_clips": 0}), tmp_path / "run")


def test_a_loss_that_is_no_number_stops_and_names_the_clips(tmp_path: Path, toys: dict[str, ToyClips]) -> None:
    """The broken clip comes in the second epoch only, so that there is a good checkpoint before it."""
    config = toy_config(run={"checkpoint_every": 1}, data={"validation_clips": 0})
    with pytest.raises(Stopped):
        train(config, tmp_path / "run", report=killed_at(4))
    toys["train"] = ToyClips(broken=7)
    with pytest.raises(UserError) as caught:
        train(config, tmp_path / "run")
    message = str(caught.value)
    [step] = [int(word.rstrip(":")) for word in message.split()[1:2]]
    assert message.startswith("step ") and 4 <= step <= 9 and "\n" not in message
    assert "00000007" in message and "the loss is" in message and "(joints" in message
    assert f"the last good checkpoint is {tmp_path / 'run' / 'last'}" in message
    assert json.loads((tmp_path / "run" / "last" / "training.json").read_text())["step"] == step - 1
    assert all(tensor.isfinite().all() for tensor in tensors(tmp_path / "run").values())
    assert not (tmp_path / "run" / "result.json").exists()


def test_training_stops_when_validation_no_longer_gains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    errors_mm = iter([5.0, 4.0, 4.5, 4.0, 3.0])
    monkeypatch.setattr(train_module, "mean_joint_error_mm", lambda estimator, batches, joints: next(errors_mm))
    config = toy_config(run={"validate_every": 2, "checkpoint_every": 100, "patience": 2})
    result = train(config, tmp_path / "run")
    assert (result.stopped, result.steps, result.best_step, result.best_mm, result.validation_mm) == ("patience", 8, 4, 4.0, 4.0)
    assert read_record(tmp_path / "run" / "best")["about"]["stages"][-1]["steps"] == 4
    assert read_record(Path(result.checkpoint))["about"]["validation_mm"] == 4.0
    (tmp_path / "run" / "result.json").unlink()  # killed right before it was written
    assert train(config, tmp_path / "run").steps == 8 and read_record(tmp_path / "run" / "last")["about"]["stages"][-1]["steps"] == 8


def test_a_run_killed_between_its_last_checkpoint_and_its_result_only_says_so(tmp_path: Path) -> None:
    config = toy_config(run={"steps": 4})
    result = train(config, tmp_path / "run")
    before = tensors(tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    again = train(config, tmp_path / "run")
    assert dataclasses.replace(again, **{name: 0.0 for name in ("seconds", *SPEEDS)}) == dataclasses.replace(result, **{name: 0.0 for name in ("seconds", *SPEEDS)})
    assert all(torch.equal(before[name], tensor) for name, tensor in tensors(tmp_path / "run").items())


def test_damaged_state_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        train(toy_config(), tmp_path / "run", report=killed_at(8))
    state = tmp_path / "run" / "last" / "training.safetensors"
    state.write_bytes(state.read_bytes()[:-4])
    with pytest.raises(UserError, match=r"training.safetensors.*(damaged|differs)"):
        train(toy_config(), tmp_path / "run")


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"model": {"name": "posenet"}}, "model.name = 'posenet': no such network; there are seqhand, handr2n2, srn, jgr_p2o, jar, toy"),
        ({"model": {"widht": 3}}, "unknown key model.widht; did you mean model.width"),
        ({"model": {"width": "wide"}}, "model.width = \"wide\""),
        ({"run": {"epochs": 3}}, "give steps or epochs, one of the two; got 20 and 3"),
        ({"run": {"steps": None}}, "give steps or epochs"),
        ({"run": {"train_workers": 5}}, "batch = 4 clips are too few for run.train_workers = 5"),
        ({"data": {"train": []}}, "data.train"),
        ({"optim": {"learning_rate": 1}}, "unknown key optim.learning_rate"),
    ],
)
def test_a_config_that_is_wrong_is_one_line(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        toy_config(**sections)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("names", "words"), [(["tail"], "no part 'tail'; it has encoder, temporal, head"), (["encoder", "temporal", "head"], "leave a part to learn")])
def test_what_cannot_be_frozen_is_one_line(tmp_path: Path, names: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        train(toy_config(run={"freeze": names}), tmp_path / "run")


def test_no_clips_for_validation_is_no_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_clips(path: str, *, split: str | None = None, pictures: Sequence[str] = ()) -> ToyClips:
        if split == "val":
            raise UserError("it has train, test")
        return ToyClips()

    monkeypatch.setattr(sources, "open_clips", open_clips)
    result = train(toy_config(run={"steps": 2}), tmp_path / "run")
    assert result.validation_mm is None and result.checkpoint == str(tmp_path / "run" / "last")
    with pytest.raises(UserError, match="it has train, test"):
        train(toy_config(run={"steps": 2}, data={"validation": "toys"}), tmp_path / "other")


def test_limits_choose_clips(toys: dict[str, ToyClips]) -> None:
    chosen = sources._spread(ToyClips(count=101), 5)
    assert [chosen.key(place) for place in range(len(chosen))] == ["00000000", "00000025", "00000050", "00000075", "00000100"]
    assert sources.training_batches(toy_config(data={"limit": 8})).num_batches == 2
    assert sources.validation_batches(toy_config(data={"validation_clips": 0})) is None
    batches = sources.training_batches(toy_config(data={"stills": 1}))
    assert batches.num_batches == 9 and next(iter(batches.of_epoch(0))).rgb.shape[1] == 1


def test_validation_sees_the_clips_as_they_are() -> None:
    batches = sources.validation_batches(toy_config())
    assert batches is not None
    seen = list(batches.of_epoch(0))
    assert sorted(key for batch in seen for key in batch.keys) == [f"{number:08d}" for number in range(5)]  # also those that make no full batch
    for batch in seen:
        assert torch.equal(batch.rgb, batch_of([ToyClips().read(int(key)) for key in batch.keys], toy_config().input).rgb)


def test_learning_rates_against_their_closed_forms() -> None:
    config = OptimConfig(lr=1.0, warmup=10, schedule="cosine", final=0.1)
    rates = [learning_rate(step, 111, config) for step in range(111)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1.0 and rates[110] == pytest.approx(0.1) and rates[60] == pytest.approx(0.55)
    assert rates[35] == pytest.approx(0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2)
    assert [learning_rate(step, 100, OptimConfig(lr=2.0, schedule="constant")) for step in (0, 99)] == [2.0, 2.0]
    falls = OptimConfig(lr=1.0, schedule="step", step_every=10, step_factor=0.5, warmup=5)
    assert [learning_rate(step, 100, falls) for step in (4, 5, 14, 15, 25)] == pytest.approx([1.0, 1.0, 1.0, 0.5, 0.25])


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_a_step_is_as_long_as_the_schedule_says(tmp_path: Path, name: str) -> None:
    """Adam's first step moves every weight by the learning rate, whatever its gradient (Kingma and Ba 2015, section 2.1)."""
    config = toy_config(optim={"name": name, "lr": 1e-2, "warmup": 10}, run={"steps": 1})
    torch.manual_seed(config.run.seed)
    fresh = new_estimator(config.model).head.weight.detach()
    train(config, tmp_path / "run")
    moved = (tensors(tmp_path / "run")["weights: head.weight"] - fresh).abs()
    torch.testing.assert_close(moved, torch.full_like(moved, 1e-3), rtol=1e-2, atol=0)


def test_clipped_gradients_keep_their_direction() -> None:
    weights = [torch.nn.Parameter(torch.zeros(3)), torch.nn.Parameter(torch.zeros(4))]
    for weight, gradient in zip(weights, ([3.0, 0, 0], [0, 0, 4.0, 0]), strict=True):
        weight.grad = torch.tensor(gradient)
    assert float(clip_gradients(weights, None)) == 5.0 and float(weights[1].grad[2]) == 4.0
    assert float(clip_gradients(weights, 1.0)) == 5.0
    torch.testing.assert_close(torch.cat([weight.grad for weight in weights]), torch.tensor([0.6, 0, 0, 0, 0, 0.8, 0]))


def test_frozen_parts_are_out_of_training_altogether() -> None:
    toy = Toy(ToyConfig(), None)
    learning = freeze(toy, ["temporal"])
    training_mode(toy, ["temporal"])
    assert {id(parameter) for parameter in learning} == {id(parameter) for part in (toy.encoder, toy.head) for parameter in part.parameters()}
    assert not any(module.training for module in toy.temporal.modules()) and toy.encoder[2].training
    assert len(freeze(toy, [])) == len(list(toy.parameters()))


def test_frozen_recurrent_layers_stay_in_training_mode() -> None:
    """cuDNN has no gradients through others; one with dropout would draw, so it does not."""
    toy = Toy(ToyConfig(), None)
    toy.temporal.append(torch.nn.LSTM(8, 8)).append(torch.nn.LSTM(8, 8, num_layers=2, dropout=0.5))
    training_mode(toy, ["temporal"])
    assert [module.training for module in toy.temporal] == [False, False, False, True, False] and not toy.temporal.training


def test_parts_of_a_batch_make_the_batch() -> None:
    batch = batch_of([ToyClips().read(position) for position in range(7)], toy_config().input)
    parts = [Group(rank, 3).part_of(batch) for rank in range(3)]
    assert sum(share for _, share in parts) == pytest.approx(1) and [len(part.keys) for part, _ in parts] == [2, 2, 3]
    for field in dataclasses.fields(batch):
        whole, pieces = getattr(batch, field.name), [getattr(part, field.name) for part, _ in parts]
        if isinstance(whole, torch.Tensor):
            assert torch.equal(torch.cat(pieces), whole)
        elif whole is not None:
            assert sum(pieces, ()) == whole


def test_the_clock_tells_work_from_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("seqgen.training.progress.time.perf_counter", lambda: now[0])

    def source() -> Iterator[int]:
        for item in range(3):
            now[0] += 1.0
            yield item

    clock = Clock(seconds=10.0, wait_seconds=2.0)
    for _ in clock.waiting(source()):
        now[0] += 3.0
        clock.count(4, 40)
        with clock.paused():
            now[0] += 50.0
    assert (clock.seconds, clock.wait_seconds, clock.clips, clock.frames) == (22.0, 5.0, 12, 120)
    assert clock.lap() == {"samples_per_s": 1.0, "frames_per_s": 10.0, "data_wait_share": 0.25}


def test_a_log_takes_back_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.0}\n{"step": 3, "lo')
    with RunLog(tmp_path, 1) as log:
        log.write({"step": 2, "loss": 1.0})
    assert read_log(tmp_path) == [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 1.0}]


def test_the_smallest_real_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few sequences, shards, training steps, a kill, a resume, an evaluation: with SeqHAND-Net as it is, only narrow."""
    from seqgen.benchmarks import open_clips
    from seqgen.evaluation.evaluate import evaluate
    from seqgen.pipeline.run import generate_dataset

    monkeypatch.setattr(sources, "open_clips", open_clips)
    generate_dataset(small_config(sequences=5, split={"train": 3, "val": 1, "test": 1}), tmp_path / "data")
    tables = {
        "data": {"train": str(tmp_path / "data"), "reading": {"frames": 4, "batch": 2, "readers": 0}},
        "input": {"size": 32},
        "model": {"name": "seqhand", "backbone": "resnet18", "width": 0.125},
        "optim": {"precision": "bfloat16"},
        "run": {"steps": 4, "log_every": 1, "checkpoint_every": 2, "validate_every": 2, "threads": 1},
    }
    config = train_config(tables, where="test")
    straight = train(config, tmp_path / "straight")
    with pytest.raises(Stopped):
        train(config, tmp_path / "killed", report=killed_at(3))
    train(config, tmp_path / "killed")
    assert numbers(tmp_path / "straight") == numbers(tmp_path / "killed")
    one, other = tensors(tmp_path / "straight"), tensors(tmp_path / "killed")
    assert all(torch.equal(one[name], other[name]) for name in one)
    loaded = load_estimator(Path(straight.checkpoint))
    evaluation = evaluate(loaded.estimator, loaded.input, open_clips(tmp_path / "data", split="test"))
    assert evaluation.predicted_m.shape == (4, 21, 3) and np.isfinite(evaluation.predicted_m).all()
