"""How large a table is made: pictures, clips, networks, how many frames each row sees. All rows of a scale see as many frames, be it in clips or as stills.

`data_fields` and `train_tables` turn what a table names into a config of `seqgen generate` and one of `seqgen train`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from seqgen.config import config_digest, overlay
from seqgen.reproduction.tables import Data, Training


@dataclass(frozen=True)
class Scale:
    """`frames`: of a clip as stored and tested, `window`: as taught; `clips`: sequences of a data set by its size, of all splits; `split`: their shares;
    `fields`: what else is replaced in every data set; `batch`: windows a step, or as many frames as stills; `steps`: of a training and of a fine-tuning;
    `test_clips`: at most; `jobs`: trainings at once that suit the machine meant."""

    size_px: int
    frames: int
    window: int
    clips: Mapping[str, int]
    split: Mapping[str, int]
    backbone: str
    deep_backbone: str
    width: float
    batch: int
    steps: int
    tuning_steps: int
    lr: float
    tuning_lr: float
    test_clips: int
    device: Literal["cpu", "cuda"]
    threads: int
    readers: int
    checkpoint_every: int
    jobs: int
    fields: Mapping[str, Any] = field(default_factory=dict)

    def frames_seen(self, training: Training) -> int:
        """Frames that one training goes through, some of them several times."""
        return self.batch * self.window * (self.steps if training.start is None else self.tuning_steps)


SCALES = {
    # Two cores, less than three hours for both of SeqHAND's tables. A hand turned any way is more than a network learns in 120,000 frames from fresh weights (66 mm
    # after 60,000, where the mean hand is off by 103); seen from its owner's head it turns only as an arm lets it. Short windows, for more hands at a time.
    "small": Scale(
        size_px=96,
        frames=10,
        window=5,
        clips={"source": 8000, "target": 1500},
        split={"train": 3, "val": 1, "test": 1},
        backbone="resnet18",
        deep_backbone="resnet34",
        width=0.5,
        batch=24,
        steps=1000,
        tuning_steps=300,
        lr=1e-3,
        tuning_lr=2e-4,
        test_clips=300,
        device="cpu",
        threads=1,
        readers=0,
        checkpoint_every=200,
        jobs=2,
        fields={"camera.egocentric": 1.0},
    ),
    "medium": Scale(  # one large GPU, twenty minutes
        size_px=112,
        frames=10,
        window=10,
        clips={"source": 12_500, "target": 2500},
        split={"train": 3, "val": 1, "test": 1},
        backbone="resnet50",
        deep_backbone="resnet101",
        width=1.0,
        batch=16,
        steps=1200,
        tuning_steps=300,
        lr=5e-4,
        tuning_lr=1e-4,
        test_clips=500,
        device="cuda",
        threads=1,
        readers=3,
        checkpoint_every=100,
        jobs=4,
    ),
    "paper": Scale(  # the paper's 40,000 clips of ten frames at 224 px
        size_px=224,
        frames=10,
        window=10,
        clips={"source": 50_000, "target": 20_000},
        split={"train": 8, "val": 1, "test": 1},
        backbone="resnet50",
        deep_backbone="resnet101",
        width=1.0,
        batch=16,
        steps=50_000,
        tuning_steps=10_000,
        lr=1e-4,
        tuning_lr=1e-4,
        test_clips=1000,
        device="cuda",
        threads=4,
        readers=12,
        checkpoint_every=1000,
        jobs=1,
    ),
}


def data_fields(data: Data, scale: Scale) -> dict[str, Any]:
    """What is replaced in the data set's config, by dotted names."""
    size = {"sequences": scale.clips[data.size], "clip.frames": scale.frames, "clip.size": (scale.size_px, scale.size_px)}
    return {**size, **{f"split.{name}": count for name, count in scale.split.items()}, **scale.fields, **data.fields}


def train_tables(training: Training, scale: Scale, *, seed: int, data: Path, start: Path | None) -> dict[str, Any]:
    """The config of a training, as `seqgen.training.config.train_config` takes it. `data`: the data set's folder; `start`: the checkpoint to go on from.

    No validation: nothing is chosen by looking at held-out clips, the last weights count. Nothing is known of how the paper's own rows were chosen.
    Generated clips are taken as they are, and other looks are kept for fine-tuning: the paper moves the hands of FreiHAND about and says no more.
    """
    tuned = training.start is not None
    tables = {
        "data": {
            "train": [str(data)],
            "split": training.split,
            "validation_clips": 0,
            "reading": {"frames": scale.window, "batch": scale.batch, "static": training.stills, "readers": scale.readers},
        },
        "input": {"size": scale.size_px},
        "augment": {"share": 1.0 if tuned else 0.0},
        "model": {"backbone": scale.deep_backbone if training.network.deep else scale.backbone, "width": scale.width},
        "optim": {"lr": scale.tuning_lr if tuned else scale.lr, "warmup": 50, "precision": "bfloat16"},
        "run": {
            "seed": seed,
            "steps": scale.tuning_steps if tuned else scale.steps,
            "start": None if start is None else str(start),
            "freeze": list(training.freeze),
            "device": scale.device,
            "threads": scale.threads,
            "checkpoint_every": scale.checkpoint_every,
        },
    }
    for name, value in {**training.network.fields, **training.fields}.items():
        tables = overlay(tables, name, value)
    return tables


def training_digest(training: Training, scale: Scale, *, seed: int) -> str:
    """A hash of all that a training's outcome depends on here: its config and its data's, and those of the trainings before it. Folders do not count."""
    nowhere = Path("data")
    chain = training.chain()
    stages = [{"train": train_tables(stage, scale, seed=seed, data=nowhere, start=stage.start and nowhere), "data": data_identity(stage.data, scale)} for stage in chain]
    return config_digest({"stages": stages})


def data_identity(data: Data, scale: Scale) -> dict[str, Any]:
    """What a data set is made from."""
    return {"config": data.config, "folder": data.folder, **data_fields(data, scale)}
