"""Checkpoints of estimators: what is written comes back, and nothing else is taken for it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toys import Toy, ToyConfig, know_toy

from seqgen.errors import UserError
from seqgen.estimators import ESTIMATORS
from seqgen.estimators.checkpoint import (
    RECORD_NAME,
    WEIGHTS_NAME,
    hand_digest,
    load_estimator,
    load_weights,
    new_estimator,
    own_tensors,
    read_record,
    replaced_checkpoint,
    restore_checkpoint,
    save_estimator,
)
from seqgen.estimators.seqhand.estimator import SeqHandConfig
from seqgen.estimators.views.crop import InputConfig

SMALLEST = SeqHandConfig(backbone="resnet18", width=0.125)


@pytest.fixture(autouse=True)
def _toy() -> Iterator[None]:
    know_toy()
    yield
    del ESTIMATORS["toy"]


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A checkpoint of the toy."""
    torch.manual_seed(0)
    save_estimator(tmp_path / "toy", new_estimator(ToyConfig()), InputConfig(size=16), {"steps": 7})
    return tmp_path / "toy"


def edit(path: Path, change: Callable[[dict], None]) -> None:
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def test_a_checkpoint_brings_back_weights_input_and_history(tmp_path: Path) -> None:
    torch.manual_seed(1)
    estimator = new_estimator(SMALLEST)
    save_estimator(tmp_path / "c", estimator, InputConfig(size=64, crop="box"), {"steps": 7})
    loaded = load_estimator(tmp_path / "c")
    assert loaded.input == InputConfig(size=64, crop="box") and loaded.about["steps"] == 7
    assert loaded.estimator.config == SMALLEST and not loaded.estimator.training
    before, after = estimator.state_dict(), loaded.estimator.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


def test_a_checkpoint_holds_every_number_but_the_hands(tmp_path: Path) -> None:
    estimator = new_estimator(SMALLEST)
    save_estimator(tmp_path / "c", estimator, InputConfig(), {})
    saved = load_file(tmp_path / "c" / WEIGHTS_NAME)
    assert set(saved) >= {name for name, _ in estimator.named_parameters()}
    assert any(name.endswith("running_mean") for name in saved)
    vertices = len(estimator.hand.layer.surface.template)
    assert not [name for name, tensor in saved.items() if vertices in tensor.shape or "components" in name]


def test_convolutions_are_laid_out_channels_last_and_stored_plainly(toy: Path) -> None:
    weight = load_estimator(toy).estimator.encoder[1].weight
    assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    assert torch.equal(load_file(toy / WEIGHTS_NAME)["encoder.1.weight"], weight)


def test_saving_again_replaces_the_older_one_whole(toy: Path) -> None:
    (toy / "more.txt").write_text("of the older one")
    estimator = load_estimator(toy).estimator
    save_estimator(toy, estimator, InputConfig(size=16), {"steps": 8})
    assert sorted(path.name for path in toy.iterdir()) == [RECORD_NAME, WEIGHTS_NAME]
    assert read_record(toy)["about"]["steps"] == 8
    assert [path.name for path in toy.parent.iterdir()] == [toy.name]


def test_a_writer_that_fails_leaves_the_older_one(toy: Path) -> None:
    with pytest.raises(RuntimeError), replaced_checkpoint(toy) as aside:
        (aside / RECORD_NAME).write_text("half")
        raise RuntimeError
    assert read_record(toy)["about"]["steps"] == 7
    assert [path.name for path in toy.parent.iterdir()] == [toy.name]


def test_a_writer_killed_between_two_renames_loses_nothing(toy: Path) -> None:
    toy.rename(toy.with_name(".toy.old"))
    restore_checkpoint(toy)
    assert read_record(toy)["about"]["steps"] == 7


def test_a_folder_of_other_things_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"picture")
    with pytest.raises(UserError, match="something other than a checkpoint"):
        save_estimator(tmp_path / "photos", new_estimator(ToyConfig()), InputConfig(), {})
    assert (tmp_path / "photos" / "one.jpg").read_bytes() == b"picture"


def test_what_is_no_checkpoint_is_named(tmp_path: Path, toy: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no checkpoint"):
        load_estimator(tmp_path / "nowhere")
    (tmp_path / "run").mkdir()
    toy.rename(tmp_path / "run" / "last")
    with pytest.raises(UserError, match=r"did you mean .*run/last\?"):
        load_estimator(tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda record: record.update(format="other"), "not a checkpoint of seqgen"),
        (lambda record: record.update(version=99), "has version 99 of the format, this seqgen reads 1"),
        (lambda record: record.update(estimator="posenet"), "of the network 'posenet', which this seqgen does not have; it has seqhand, handr2n2, srn, jgr_p2o, jar, toy"),
        (lambda record: record.pop("input"), "damaged .input is not there"),
        (lambda record: record["config"].update(colour=3), "config: unknown key colour"),
        (lambda record: record["config"].update(width=9), r"does not fit this network: encoder.1.bias is \[8\] there, \[9\] here"),
        (lambda record: record["config"].update(norm=False), "does not fit this network: encoder.2.bias is .8. there, absent here"),
        (lambda record: record["input"].update(size=3), "input.*|size = 3"),
        (lambda record: record["hand"].update(kind="mano"), "trained with the hand mano, not with None"),
        (lambda record: record["weights"].update(sha256="0"), "its sha256 differs"),
    ],
)
def test_a_record_that_does_not_fit_is_one_line(toy: Path, change: Callable[[dict], None], words: str) -> None:
    edit(toy / RECORD_NAME, change)
    with pytest.raises(UserError, match=words) as caught:
        load_estimator(toy)
    assert "\n" not in str(caught.value) and str(toy) in str(caught.value)


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-10]), lambda path: path.write_bytes(b"nonsense")])
@pytest.mark.parametrize("name", [RECORD_NAME, WEIGHTS_NAME])
def test_damaged_files_are_one_line(toy: Path, name: str, damage: Callable[[Path], None]) -> None:
    damage(toy / name)
    with pytest.raises(UserError) as caught:
        load_estimator(toy)
    assert "\n" not in str(caught.value) and str(toy) in str(caught.value)


def test_a_checkpoint_of_another_network_changes_nothing(toy: Path) -> None:
    estimator = new_estimator(SMALLEST)
    before = {name: tensor.clone() for name, tensor in own_tensors(estimator).items()}
    with pytest.raises(UserError, match="a checkpoint of the network toy, not of seqhand"):
        load_weights(toy, estimator)
    assert all(torch.equal(tensor, before[name]) for name, tensor in own_tensors(estimator).items())


def test_weights_that_fit_in_part_change_nothing(tmp_path: Path, toy: Path) -> None:
    wide = Toy(ToyConfig(width=16), None)
    before = {name: tensor.clone() for name, tensor in own_tensors(wide).items()}
    with pytest.raises(UserError, match="does not fit"):
        load_weights(toy, wide)
    assert all(torch.equal(tensor, before[name]) for name, tensor in own_tensors(wide).items())


def test_a_hand_of_another_shape_is_refused(tmp_path: Path) -> None:
    save_estimator(tmp_path / "c", new_estimator(SMALLEST), InputConfig(), {})
    other = new_estimator(SMALLEST)
    other.hand.layer.surface.template += 1e-3
    with pytest.raises(UserError, match="another version of the open hand"):
        load_weights(tmp_path / "c", other)


def test_the_hands_digest_knows_its_file_not_what_is_computed() -> None:
    estimator = new_estimator(SMALLEST)
    digest = hand_digest(estimator)
    estimator.hand.layer.joint_template += 1e-7
    assert hand_digest(estimator) == digest
    estimator.hand.layer.pose_components[0, 0] += 1e-3
    assert hand_digest(estimator) != digest
    assert hand_digest(new_estimator(ToyConfig())) is None
