"""A trained estimator as a folder: all that prediction and evaluation need.

    CKPT/estimator.json        format, version, estimator, config, input, hand {kind, digest}, weights {sha256}, about
    CKPT/weights.safetensors   parameters and buffers by their names, but those of the hand's layer: they come from the hand's own file (MANO's may not be passed on)

The folder is replaced as a whole. `about` says what it was trained on and for how long; nothing here reads it.
Does not know: optimisers, data. `training/checkpoint.py` puts what resuming needs into the same folder.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seqgen.config import Section, build, overlay
from seqgen.errors import UserError
from seqgen.estimators import ESTIMATORS
from seqgen.estimators.seqhand.parametric_hand import ComponentHandLayer
from seqgen.estimators.views.feed import Input
from seqgen.files import arrays_digest, file_digest, written_aside
from seqgen.hand import load_hand
from seqgen.hand.layer import HandLayer

FORMAT = "seqgen-estimator"
VERSION = 1
RECORD_NAME = "estimator.json"
WEIGHTS_NAME = "weights.safetensors"
KEYS = ("format", "version", "estimator", "config", "input", "hand", "weights", "about")


@dataclass(frozen=True)
class LoadedEstimator:
    """An estimator in `eval` mode, the pictures it wants, and what is known of its training."""

    estimator: nn.Module
    input: Input
    about: dict[str, Any]


def new_estimator(config: Section, *, mano_dir: Path | None = None) -> nn.Module:
    """An untrained estimator of this config, with the hand that the config names, if it names one. Draws from torch's global generator: seed it before."""
    kind = getattr(config, "hand", None)
    layer = ComponentHandLayer(load_hand(kind, mano_dir=mano_dir)) if kind is not None else None
    return channels_last(ESTIMATORS[config.name].estimator(config, layer))


def save_estimator(folder: Path, estimator: nn.Module, input: Input, about: dict[str, Any]) -> None:
    """Writes the checkpoint, in place of an older one; `about`: plain JSON values. A folder that holds anything else is refused (UserError)."""
    with replaced_checkpoint(folder) as aside:
        write_estimator(aside, estimator, input, about)


def write_estimator(folder: Path, estimator: nn.Module, input: Input, about: dict[str, Any]) -> None:
    """The two files of a checkpoint, into a folder that is there and that nobody reads yet."""
    save_file(plain_tensors(own_tensors(estimator)), folder / WEIGHTS_NAME)
    record = {
        "format": FORMAT,
        "version": VERSION,
        "estimator": estimator.config.name,
        "config": estimator.config.model_dump(mode="json"),
        "input": input.model_dump(mode="json"),
        "hand": {"kind": getattr(estimator.config, "hand", None), "digest": hand_digest(estimator)},
        "weights": {"sha256": file_digest(folder / WEIGHTS_NAME)},
        "about": {"seqgen": metadata.version("seqgen"), **about},
    }
    (folder / RECORD_NAME).write_text(json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")


def load_estimator(folder: Path, *, mano_dir: Path | None = None, device: str = "cpu", replaced: Mapping[str, Any] | None = None) -> LoadedEstimator:
    """The estimator of a checkpoint. `replaced`: fields of its config by dotted names, "model...." or "input....", that change no weight, such as the iterations of
    HandR2N2. A UserError when it is missing, damaged, of another format or of a network or hand that is not known here."""
    record = _with_replaced(read_record(folder), replaced or {})
    estimator = new_estimator(estimator_config(folder, record), mano_dir=mano_dir)
    load_weights(folder, estimator)
    input = build(ESTIMATORS[record["estimator"]].input, record["input"], where=str(Path(folder) / RECORD_NAME))
    return LoadedEstimator(estimator.to(device).eval(), input, record["about"])


def _with_replaced(record: dict[str, Any], replaced: Mapping[str, Any]) -> dict[str, Any]:
    """The record with other values in its sections."""
    tables = {"model": record["config"], "input": record["input"]}
    for name, value in replaced.items():
        if name.partition(".")[0] not in tables:
            raise ValueError(f"{name}: a checkpoint has sections {' and '.join(tables)}")
        tables = overlay(tables, name, value)
    return {**record, "config": tables["model"], "input": tables["input"]}


def read_record(folder: Path) -> dict[str, Any]:
    """The content of `estimator.json`, checked for its keys."""
    path = Path(folder) / RECORD_NAME
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        inside = [name for name in ("best", "last") if (Path(folder) / name / RECORD_NAME).exists()]
        raise UserError(f"{folder}: no checkpoint (it has no {RECORD_NAME}){f'; did you mean {Path(folder) / inside[0]}?' if inside else ''}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); take another checkpoint") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise UserError(f"{path}: not a checkpoint of seqgen; expected format {FORMAT!r}")
    if record.get("version") != VERSION:
        raise UserError(f"{path}: has version {record.get('version')} of the format, this seqgen reads {VERSION}; use the seqgen that wrote it, or train again")
    wrong = [key for key in KEYS[3:] if not isinstance(record.get(key), dict)]
    if wrong:
        raise UserError(f"{path} is damaged ({wrong[0]} is not there or not a table); take another checkpoint")
    if not isinstance(record["weights"].get("sha256"), str):
        raise UserError(f"{path} is damaged (weights.sha256 is not there); take another checkpoint")
    return record


def estimator_config(folder: Path, record: dict[str, Any]) -> Section:
    """The estimator's config in a checkpoint's record."""
    path, name = Path(folder) / RECORD_NAME, record.get("estimator")
    if not isinstance(name, str) or name not in ESTIMATORS:
        raise UserError(f"{path}: is of the network {name!r}, which this seqgen does not have; it has {', '.join(ESTIMATORS)}")
    return build(ESTIMATORS[name].config, record["config"], where=f"{path}: config")


def load_weights(folder: Path, estimator: nn.Module) -> None:
    """Puts a checkpoint's weights into an estimator of the same network and hand; its losses may differ. UserError when anything does not fit; then nothing is changed."""
    folder, record = Path(folder), read_record(folder)
    path, name = folder / WEIGHTS_NAME, estimator.config.name
    if record.get("estimator") != name:
        raise UserError(f"{folder}: is a checkpoint of the network {record.get('estimator')}, not of {name}; choose a checkpoint of {name}")
    theirs, ours = record["hand"], {"kind": getattr(estimator.config, "hand", None), "digest": hand_digest(estimator)}
    if theirs.get("kind") != ours["kind"]:
        raise UserError(f"{folder}: was trained with the hand {theirs.get('kind')}, not with {ours['kind']}; set model.hand to {theirs.get('kind')}")
    if theirs.get("digest") != ours["digest"]:
        raise UserError(f"{folder}: was trained with another version of the {ours['kind']} hand (its arrays differ); use the hand files it was trained with")
    theirs, own = read_shapes(path), own_tensors(estimator)
    if _digest_of(path) != record["weights"].get("sha256"):
        raise UserError(f"{path}: is not the file that {RECORD_NAME} describes (its sha256 differs); copy the checkpoint again")
    ours = {key: list(tensor.shape) for key, tensor in own.items()}
    odd = next((key for key in sorted(ours.keys() | theirs.keys()) if ours.get(key) != theirs.get(key)), None)
    if odd is not None:
        there, here = (shapes.get(odd, "absent") for shapes in (theirs, ours))
        raise UserError(f"{folder}: does not fit this network: {odd} is {there} there, {here} here; give the model section it was trained with")
    saved = read_tensors(path)
    _check_numbers(path, saved)
    with torch.no_grad():
        for key, tensor in own.items():
            tensor.copy_(saved[key])


def _digest_of(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise UserError(f"{path} is missing or damaged ({error.strerror}); take another checkpoint") from None


def _check_numbers(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A UserError that names the first tensor with a number that is none."""
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise UserError(f"{path}: {name} holds a number that is not finite; take another checkpoint")


def own_tensors(estimator: nn.Module) -> dict[str, Tensor]:
    """Parameters and stored buffers by name, without those of the hand's layer."""
    layers = [f"{name}." for name, module in estimator.named_modules(remove_duplicate=False) if isinstance(module, HandLayer)]
    return {name: tensor for name, tensor in estimator.state_dict().items() if not name.startswith(tuple(layers))}


def plain_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU in plain memory order, as safetensors wants them."""
    return {name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format).contiguous() for name, tensor in tensors.items()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """A safetensors file; a UserError when it is missing or damaged."""
    with _whole(path):
        return load_file(path)


def read_shapes(path: Path) -> dict[str, list[int]]:
    """The shapes of a safetensors file's tensors, from its header; a UserError when it is missing or damaged."""
    with _whole(path), safe_open(path, "pt") as file:
        return {name: file.get_slice(name).get_shape() for name in file.keys()}


@contextmanager
def _whole(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError, ValueError, LookupError) as error:  # the latter of types of numbers that torch does not have
        raise UserError(f"{path} is missing or damaged ({str(error).splitlines()[0]}); take another checkpoint") from None


def hand_digest(estimator: nn.Module) -> str | None:
    """sha256 of an estimator's hand, of what is read from the hand's file and not of what is computed from it: that may differ between machines. None without a hand."""
    layer = next((module for module in estimator.modules() if isinstance(module, HandLayer)), None)
    if layer is None:
        return None
    buffers = {name: buffer for name, buffer in layer.named_buffers() if not name.startswith(("joint_", "tips."))}
    return arrays_digest(*(buffers[name].detach().to("cpu", torch.float32).contiguous().numpy() for name in sorted(buffers)))


def channels_last(estimator: nn.Module) -> nn.Module:
    """The estimator, with the weights of its convolutions laid out channels last: half the time on a CPU in bfloat16. Values and names stay."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in estimator.parameters():
        if parameter.dim() in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.dim()])
    return estimator


@contextmanager
def replaced_checkpoint(folder: Path) -> Iterator[Path]:
    """A new folder to write a checkpoint into; it takes the place of the old one when the block ends well.

    A folder cannot be renamed over another one, so the old one steps aside first. Killed between the two, `restore_checkpoint` brings it back.
    """
    folder = Path(folder)
    restore_checkpoint(folder)
    if folder.exists() and not (folder / RECORD_NAME).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder}: holds something other than a checkpoint; choose another folder")
    with written_aside(folder.with_name(f".{folder.name}.new")) as aside:
        aside.mkdir()
        yield aside
    if folder.exists():
        os.replace(folder, _stepped_aside(folder))
    os.replace(folder.with_name(f".{folder.name}.new"), folder)
    shutil.rmtree(_stepped_aside(folder), ignore_errors=True)


def restore_checkpoint(folder: Path) -> None:
    """Clears up after a writer that was killed: the older checkpoint comes back if the new one had not taken its place."""
    old = _stepped_aside(folder)
    if old.exists() and not folder.exists():
        os.replace(old, folder)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(folder.with_name(f".{folder.name}.new"), ignore_errors=True)


def _stepped_aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")
