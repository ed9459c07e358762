"""Fine-tuning: the same training, from a checkpoint's weights, on other data, with parts of the network left as they are.

SeqHAND's second stage (Yang et al., ECCV 2020, section 4): the network that learned motion from synthetic clips sees single real images as clips of one frame,
its ConvLSTM frozen ("Train_C" of Table 3), under the same losses but for the camera term. Stills have no frame before them, so the temporal term is empty.
Networks of single frames have no such part: of them nothing is frozen unless the user says so.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqgen.config import overlay
from seqgen.estimators.checkpoint import estimator_config, read_record
from seqgen.training.checkpoint import TrainResult
from seqgen.training.config import TrainConfig, train_config
from seqgen.training.run import train
from seqgen.training.train import Report, Say, quiet

# Unless the user says otherwise: single frames, as in the paper, which tells neither how many at a time nor how often.
DEFAULTS = {"data.stills": 1, "data.reading.batch": 32}
EPOCHS = 10
WITH_TEMPORAL_PART = ("convlstm", "lstm", "motion")  # of SeqHAND-Net's kinds, those with a part "temporal"


def finetune_config(checkpoint: Path, data: Sequence[str], *, freeze: Sequence[str] | None = None, overrides: Mapping[str, Any] | None = None) -> TrainConfig:
    """The config of a fine-tuning: network and input are the checkpoint's, clips are single frames, the camera term's weight is 0. `freeze`: None for the part
    that looks back, where there is one. `overrides` ("section.field": value) replace any of it. UserError for a checkpoint that is none and for what does not fit."""
    record = read_record(checkpoint)
    model = estimator_config(checkpoint, record).model_dump(mode="json")
    if "camera" in model.get("losses", {}):
        model = overlay(model, "losses.camera", 0.0)
    if freeze is None:
        freeze = ["temporal"] if model.get("temporal") in WITH_TEMPORAL_PART else []
    overrides = {**DEFAULTS, **(overrides or {})}
    length = {} if {"run.steps", "run.epochs"} & overrides.keys() else {"epochs": EPOCHS}
    tables = {"data": {"train": list(data)}, "input": record["input"], "model": model, "run": {"start": str(checkpoint), "freeze": list(freeze), **length}}
    for name, value in overrides.items():
        tables = overlay(tables, name, value)
    return train_config(tables, where="finetune")


def finetune(
    checkpoint: Path,
    data: Sequence[str],
    out: Path,
    *,
    freeze: Sequence[str] | None = None,
    overrides: Mapping[str, Any] | None = None,
    say: Say = quiet,
    report: Report = quiet,
) -> TrainResult:
    """Fine-tunes a checkpoint on one or more data sets, mixed, in the folder `out`; `freeze` as in `finetune_config`. Continues as `train` does."""
    return train(finetune_config(checkpoint, data, freeze=freeze, overrides=overrides), out, say=say, report=report)
