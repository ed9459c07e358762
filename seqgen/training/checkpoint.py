"""The folder of a training run: whose it is, how far it is, and all that continuing it exactly needs.

    OUT/config.json                {config, identity}: written before anything else
    OUT/log.jsonl, OUT/tensorboard `progress.py`
    OUT/last/                      a checkpoint (`seqgen.estimators.checkpoint`), and beside it
        training.json              Progress, and the sha256 of
        training.safetensors       the optimiser's tensors, as "exp_avg/encoder.conv1.weight"
    OUT/best/                      a checkpoint: the best one in validation
    OUT/result.json                TrainResult: written last, so its presence says that the run is finished

No state of random numbers is kept: what step n draws depends on the seed and on n alone, as do its clips.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from seqgen.config import config_digest
from seqgen.errors import UserError
from seqgen.estimators.checkpoint import load_weights, plain_tensors, read_tensors, replaced_checkpoint, restore_checkpoint, write_estimator
from seqgen.estimators.views.feed import Input
from seqgen.files import file_digest, write_json

CLAIM_NAME, RESULT_NAME, LAST, BEST = "config.json", "result.json", "last", "best"
STATE_NAME, TENSORS_NAME = "training.json", "training.safetensors"


@dataclass(frozen=True)
class Progress:
    """How far a run is: all of its state that is no tensor. Validation figures are mean root-relative joint errors."""

    step: int = 0
    num_batches: int = 0  # in an epoch
    validation_mm: float | None = None
    best_mm: float | None = None
    best_step: int | None = None
    num_worse: int = 0  # validations since the best one
    clips: int = 0
    frames: int = 0
    seconds: float = 0.0
    wait_seconds: float = 0.0  # of these, waiting for data


@dataclass(frozen=True)
class TrainResult:
    """What a finished run came to. `checkpoint` is the one to use: the best in validation, or the last where there was none."""

    checkpoint: str
    stopped: Literal["steps", "patience"]
    steps: int
    validation_mm: float | None
    best_mm: float | None
    best_step: int | None
    seconds: float
    samples_per_s: float
    frames_per_s: float
    data_wait_share: float


Record = TypeVar("Record", Progress, TrainResult)


def claim_run(out: Path, config: dict[str, Any], content: dict[str, Any]) -> TrainResult | None:
    """Makes the folder ours for a run of this content; the result when that run is finished already. `config` is stored for the reader.

    A claim with nothing beside it, whose run was refused before its first step, gives way to ours. Refused (UserError): a folder with other files, and one with a
    run of another content, whose first difference is named.
    """
    names = sorted(entry.name for entry in out.iterdir()) if out.is_dir() else []
    if names and CLAIM_NAME not in names:
        raise UserError(f"{out} holds other files ({', '.join(names[:3])}{', ...' if names[3:] else ''}) and no training run; choose another --out")
    try:
        if names in ([], [CLAIM_NAME]):
            write_json(out / CLAIM_NAME, {"config": config, "content": content, "identity": config_digest(content)})
    except OSError as error:
        raise UserError(f"{out}: no place for a training run ({error.strerror or error}); choose another --out") from None
    claim = _read_json(out / CLAIM_NAME)
    if claim.get("identity") != config_digest(content):
        raise UserError(f"{out} holds a training run of another config ({first_difference(claim.get('content', {}), content)}); choose another --out")
    for name in (LAST, BEST):
        restore_checkpoint(out / name)
    return _record(TrainResult, out / RESULT_NAME) if (out / RESULT_NAME).exists() else None


def release_run(out: Path, *, folder: bool) -> None:
    """Takes back a claim with nothing beside it, of a run that was refused before its first step; with the folder, where the claim made it."""
    if [entry.name for entry in out.iterdir()] == [CLAIM_NAME]:
        (out / CLAIM_NAME).unlink()
        if folder:
            out.rmdir()


def save_training(folder: Path, estimator: nn.Module, optimiser: torch.optim.Optimizer, input: Input, *, progress: Progress, about: dict[str, Any]) -> None:
    """A checkpoint to continue from, in place of the one before."""
    with replaced_checkpoint(folder) as aside:
        write_estimator(aside, estimator, input, about)
        save_file(plain_tensors(_optimiser_tensors(estimator, optimiser)), aside / TENSORS_NAME)
        write_json(aside / STATE_NAME, {**asdict(progress), "sha256": file_digest(aside / TENSORS_NAME)})


def load_training(folder: Path, estimator: nn.Module, optimiser: torch.optim.Optimizer) -> Progress:
    """Puts weights and optimiser back where `save_training` found them. UserError when the checkpoint is damaged."""
    progress = _record(Progress, folder / STATE_NAME)
    saved = read_tensors(folder / TENSORS_NAME)
    if file_digest(folder / TENSORS_NAME) != _read_json(folder / STATE_NAME).get("sha256"):
        raise UserError(f"{folder / TENSORS_NAME}: is not the file that {STATE_NAME} describes (its sha256 differs); remove {folder.parent} and train again")
    load_weights(folder, estimator)
    parameters = dict(estimator.named_parameters())
    for name, tensor in saved.items():
        kind, _, owner = name.partition("/")
        # In the memory order of the parameter: sums of another order round differently.
        kept = tensor if kind == "step" else torch.empty_like(parameters[owner]).copy_(tensor)
        optimiser.state[parameters[owner]][kind] = kept
    return progress


def _optimiser_tensors(estimator: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    states = {name: optimiser.state.get(parameter, {}) for name, parameter in estimator.named_parameters()}
    return {f"{kind}/{name}": tensor for name, state in states.items() for kind, tensor in state.items() if tensor is not None}


def write_result(out: Path, result: TrainResult) -> None:
    """Marks the run as finished."""
    write_json(out / RESULT_NAME, asdict(result))


def read_result(out: Path) -> TrainResult:
    """The result of a finished run."""
    return _record(TrainResult, out / RESULT_NAME)


def first_difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    """The first setting that differs, named with both values."""
    for name in sorted(theirs.keys() | ours.keys()):
        one, other = theirs.get(name, "absent"), ours.get(name, "absent")
        if one != other:
            return f"{name}.{first_difference(one, other)}" if isinstance(one, Mapping) and isinstance(other, Mapping) else f"{name} is {one!r} there, {other!r} here"
    return "none"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is missing or damaged ({error}); remove {path.parent} or choose another --out") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged (not a table); remove {path.parent} or choose another --out")
    return content


def _record(kind: type[Record], path: Path) -> Record:
    """A record from its JSON file; other keys are left aside."""
    content = _read_json(path)
    missing = [field.name for field in fields(kind) if field.name not in content]
    if missing:
        raise UserError(f"{path} is damaged ({missing[0]} is missing); remove {path.parent} or choose another --out")
    return kind(**{field.name: content[field.name] for field in fields(kind)})
