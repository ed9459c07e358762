"""Fine-tuning: what is frozen stays bit for bit, all else is the same training."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toys import ToyClips, know_toy, toy_config

from seqgen.errors import UserError
from seqgen.estimators import ESTIMATORS
from seqgen.estimators.checkpoint import load_estimator, new_estimator, read_record, save_estimator
from seqgen.estimators.crop import InputConfig
from seqgen.estimators.seqhand import SeqHandConfig
from seqgen.training import sources
from seqgen.training.finetune import finetune, finetune_config
from seqgen.training.progress import read_log
from seqgen.training.train import train

SMALL = {"data.reading.readers": 0, "data.reading.batch": 6, "run.steps": 4, "run.threads": 1, "run.log_every": 1, "optim.lr": 0.01}


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The toy network; folders of made-up clips, "stills" with one frame each."""
    know_toy()
    threads = torch.get_num_threads()
    monkeypatch.setattr(sources, "open_clips", lambda path, *, split=None: ToyClips(Path(path).name, frames=1 if "stills" in str(path) else 3))
    yield
    torch.set_num_threads(threads)
    del ESTIMATORS["toy"]


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    """The best checkpoint of a short training."""
    return Path(train(toy_config(run={"steps": 5}), tmp_path / "pretrained").checkpoint)


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    return load_file(checkpoint / "weights.safetensors")


@pytest.mark.parametrize("frozen", [["temporal"], ["encoder"], ["encoder", "head"], []], ids=str)
def test_frozen_parts_stay_bit_for_bit_and_others_change(tmp_path: Path, pretrained: Path, frozen: list[str]) -> None:
    finetune(pretrained, ["stills"], tmp_path / "run", freeze=frozen, overrides=SMALL)
    before, after = weights(pretrained), weights(tmp_path / "run" / "last")
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {name for name in before if name.partition(".")[0] in [*frozen, "start_m"]}
    assert any("running_mean" in name for name in before)  # statistics are among them


@pytest.mark.parametrize("temporal", ["convlstm", "lstm"])
def test_the_recurrent_cell_of_seqhand_stays_bit_for_bit(tmp_path: Path, temporal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weight decay and moments must not reach it either; and "temporal" is the cell alone."""
    torch.manual_seed(0)
    save_estimator(tmp_path / "start", new_estimator(SeqHandConfig(backbone="resnet18", width=0.125, temporal=temporal)), InputConfig(size=32), {})
    finetune(tmp_path / "start", ["stills", "clips"], tmp_path / "run", overrides={**SMALL, "optim.weight_decay": 0.1, "run.steps": 2, "data.validation_clips": 0})
    before, after = weights(tmp_path / "start"), weights(tmp_path / "run" / "last")
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith("network.temporal.")} == {name for name in same if name.startswith("network.")} != set()


def test_several_data_sets_are_mixed_as_single_frames(pretrained: Path) -> None:
    config = finetune_config(pretrained, ["stills", "clips"], overrides={**SMALL, "data.reading.batch": 8})
    batches = sources.training_batches(config)
    seen = list(batches.of_epoch(0))
    assert batches.num_batches == (12 + 12 * 3) // 8 and all(batch.rgb.shape[:2] == (8, 1) for batch in seen)
    kinds = [{"still" if "_" not in key else "frame" for key in batch.keys} for batch in seen]
    assert {"still", "frame"} in kinds


def test_the_config_is_the_checkpoints_without_its_camera_term(tmp_path: Path) -> None:
    model = SeqHandConfig(backbone="resnet18", width=0.125, losses={"mask": 3.0})
    save_estimator(tmp_path / "c", new_estimator(model), InputConfig(size=48), {})
    config = finetune_config(tmp_path / "c", ["data"])
    assert config.model.losses.camera == 0 and config.model.losses.mask == 3.0 and config.model.width == 0.125
    assert config.input.size == 48 and config.run.freeze == ("temporal",) and config.data.stills == 1 and config.run.epochs == 10
    config = finetune_config(tmp_path / "c", ["data"], freeze=["none"], overrides={"model.losses.camera": "0.5", "run.steps": "7", "data.stills": None})
    assert config.model.losses.camera == 0.5 and config.run.steps == 7 and config.run.freeze == () and config.data.stills is None


def test_it_starts_from_the_checkpoint_and_goes_on_exactly(tmp_path: Path, pretrained: Path) -> None:
    still = {**SMALL, "optim.lr": 1e-12, "optim.schedule": "constant"}  # so slow that nothing moves by more than rounding
    finetune(pretrained, ["stills"], tmp_path / "still", freeze=["none"], overrides=still)
    before, after = weights(pretrained), weights(tmp_path / "still" / "last")
    assert all(torch.allclose(before[name], after[name], atol=1e-9) for name in before if "running" not in name and "num_batches" not in name)

    def stop(line: dict, steps: int) -> None:
        if line["step"] == 3:
            raise KeyboardInterrupt

    settings = {**SMALL, "run.checkpoint_every": 2}
    finetune(pretrained, ["stills"], tmp_path / "straight", overrides=settings)
    with pytest.raises(KeyboardInterrupt):
        finetune(pretrained, ["stills"], tmp_path / "killed", overrides=settings, report=stop)
    finetune(pretrained, ["stills"], tmp_path / "killed", overrides=settings)
    one, other = (weights(tmp_path / name / "last") for name in ("straight", "killed"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [line["step"] for line in read_log(tmp_path / "killed") if "loss" in line] == [1, 2, 3, 4]


def test_a_checkpoint_tells_its_stages(tmp_path: Path, pretrained: Path) -> None:
    result = finetune(pretrained, ["stills"], tmp_path / "run", overrides=SMALL)
    first, second = read_record(Path(result.checkpoint))["about"]["stages"]
    assert (first["data"], first["frozen"], first["steps"]) == (["toys"], [], 5)
    assert (second["data"], second["frozen"], second["steps"], second["start"]) == (["stills"], ["temporal"], 4, str(pretrained))
    assert not load_estimator(Path(result.checkpoint)).estimator.training


def test_other_start_weights_are_another_run(tmp_path: Path, pretrained: Path) -> None:
    finetune(pretrained, ["stills"], tmp_path / "run", overrides=SMALL)
    estimator = load_estimator(pretrained)
    with torch.no_grad():
        estimator.estimator.head.bias += 1
    save_estimator(pretrained, estimator.estimator, estimator.input, {})
    with pytest.raises(UserError, match=r"run of another config \(start is "):
        finetune(pretrained, ["stills"], tmp_path / "run", overrides=SMALL)


def test_mistakes_are_one_line(tmp_path: Path, pretrained: Path) -> None:
    with pytest.raises(UserError, match="no checkpoint"):
        finetune(tmp_path / "nowhere", ["stills"], tmp_path / "run")
    with pytest.raises(UserError, match=r"does not fit this network: encoder.1.bias is \[8\] there, \[9\] here"):
        finetune(pretrained, ["stills"], tmp_path / "wide", overrides={**SMALL, "model.width": 9})
    with pytest.raises(UserError, match="no part 'tail'; it has encoder, temporal, head"):
        finetune(pretrained, ["stills"], tmp_path / "tail", freeze=["tail"], overrides=SMALL)
    with pytest.raises(UserError, match=r"finetune: unknown key optim\.rate"):
        finetune(pretrained, ["stills"], tmp_path / "rate", overrides={"optim.rate": 1})
