"""Starting from weights that are there: fine-tuning, where what is frozen stays bit for bit and all else is the same training, and a backbone alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from toys import ToyClips, know_toy, toy_config

from seqgen.errors import UserError
from seqgen.estimators import ESTIMATORS
from seqgen.estimators.checkpoint import load_estimator, new_estimator, read_record, save_estimator
from seqgen.estimators.seqhand.estimator import SeqHandConfig
from seqgen.estimators.views.crop import InputConfig
from seqgen.training import sources
from seqgen.training import train as train_module
from seqgen.training.config import TrainConfig
from seqgen.training.finetune import finetune, finetune_config
from seqgen.training.progress import read_log
from seqgen.training.run import train

SMALL = {"data.reading.readers": 0, "data.reading.batch": 6, "run.steps": 4, "run.threads": 1, "run.log_every": 1, "optim.lr": 0.01}


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The toy network; folders of made-up clips, "stills" with one frame each."""
    know_toy()
    threads = torch.get_num_threads()
    monkeypatch.setattr(sources, "open_clips", lambda path, *, split=None, pictures=(): ToyClips(Path(path).name, frames=1 if "stills" in str(path) else 3))
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


@pytest.mark.parametrize(
    ("model", "frozen"),
    [
        ({"name": "seqhand", "temporal": "lstm"}, ("temporal",)),
        ({"name": "seqhand", "temporal": "none"}, ()),
        ({"name": "seqhand", "temporal": "i3d"}, ()),
        ({"name": "srn"}, ()),
        ({"name": "jar", "size": 64}, ()),
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else None,
)
def test_the_part_that_looks_back_is_frozen_where_there_is_one(tmp_path: Path, model: dict[str, Any], frozen: tuple[str, ...]) -> None:
    """And so that every network can be fine-tuned as it is: what is frozen unless the user says otherwise is a part of it."""
    kind = ESTIMATORS[model["name"]]
    narrow = {"width": 0.125} if model["name"] == "srn" else {"width": 0.125, "backbone": "resnet18"}
    estimator = new_estimator(kind.config(**narrow, **model))
    save_estimator(tmp_path / "c", estimator, kind.input(size=64), {})
    assert finetune_config(tmp_path / "c", ["data"]).run.freeze == frozen and set(frozen) <= set(estimator.parts())


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
    result = finetune(pretrained, ["stills"], tmp_path / "run", freeze=["temporal"], overrides=SMALL)
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


BACKBONE = "network.encoder.backbone."


def seqhand(temporal: str, *, width: float = 0.125) -> SeqHandConfig:
    return SeqHandConfig(backbone="resnet18", width=width, temporal=temporal)


def save_seqhand(folder: Path, *, seed: int = 1, width: float = 0.125) -> Path:
    """A checkpoint of the network without a temporal part, all its weights and statistics other than fresh ones."""
    torch.manual_seed(seed)
    estimator = new_estimator(seqhand("none", width=width))
    with torch.no_grad():
        for tensor in estimator.network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand(tensor.shape))
    save_estimator(folder, estimator, InputConfig(size=32), {})
    return folder


def backbone_run(backbone: Path | None, temporal: str = "convlstm", **run: Any) -> TrainConfig:
    model = seqhand(temporal).model_dump(mode="json")
    length = {"steps": 1, "threads": 1, "seed": 5}
    return toy_config(model=model, input={"size": 32}, run={**length, "backbone": None if backbone is None else str(backbone), **run}, data={"validation_clips": 0})


class FirstStep(Exception):
    """Stands for the first step."""


def weights_before_the_first_step(config: TrainConfig, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """What a run begins with."""
    kept: dict[str, torch.Tensor] = {}

    def first_step(estimator: torch.nn.Module, _: object) -> None:
        kept.update({name: tensor.clone() for name, tensor in estimator.state_dict().items()})
        raise FirstStep

    with monkeypatch.context() as patch, pytest.raises(FirstStep):
        patch.setattr(train_module, "training_mode", first_step)
        train(config, out)
    return kept


@pytest.mark.parametrize("temporal", ["convlstm", "motion", "i3d"])
def test_a_backbone_is_taken_over_and_all_else_is_as_without_it(tmp_path: Path, temporal: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An inflated kernel's three frames add up to the kernel it came from."""
    given = {name: tensor for name, tensor in weights(save_seqhand(tmp_path / "given")).items() if name.startswith(BACKBONE)}
    fresh, begun = (weights_before_the_first_step(backbone_run(path, temporal), tmp_path / f"run {path is None}", monkeypatch) for path in (None, tmp_path / "given"))
    assert fresh.keys() == begun.keys() and given.keys() == {name for name in begun if name.startswith(BACKBONE)} != set()
    assert [name for name in begun if name not in given and not torch.equal(begun[name], fresh[name])] == []
    inflated = [name for name in given if begun[name].shape != given[name].shape]
    assert all(torch.equal(begun[name], given[name]) for name in given if name not in inflated) and bool(inflated) == (temporal == "i3d")
    for name in inflated:
        torch.testing.assert_close(begun[name].unflatten(1, (3, -1)).sum(1), given[name])


def test_another_backbone_is_another_run_wherever_it_lies(tmp_path: Path) -> None:
    one, copy, other = save_seqhand(tmp_path / "one"), save_seqhand(tmp_path / "copy"), save_seqhand(tmp_path / "other", seed=2)
    identity = backbone_run(one).identity()
    assert identity["backbone"] == read_record(one)["weights"]["sha256"]
    assert backbone_run(copy).identity() == identity and backbone_run(one / "weights.safetensors").identity() == identity
    assert backbone_run(other).identity() != identity and "backbone" not in backbone_run(None).identity()


def test_a_backbone_that_is_none_is_refused_before_any_step(tmp_path: Path) -> None:
    one = save_seqhand(tmp_path / "one")
    with pytest.raises(UserError, match=r"give start or backbone, not both") as caught:
        backbone_run(one, start=str(one))
    assert "\n" not in str(caught.value)
    (tmp_path / "text.pth").write_text("no weights")
    wide = save_seqhand(tmp_path / "wide", width=0.25)
    refused = {tmp_path / "nowhere.pth": "cannot be read", tmp_path: "cannot be read", tmp_path / "text.pth": "not a file of weights", wide: r"is \(16,\), not \(8,\)"}
    for path, words in refused.items():
        with pytest.raises(UserError, match=words) as caught:
            train(backbone_run(path), tmp_path / "run")
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)
        assert not (tmp_path / "run" / "log.jsonl").exists()
    assert train(backbone_run(one), tmp_path / "run").steps == 1
