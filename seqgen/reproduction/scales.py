"""How large a table is made: pictures, clips, networks, how many frames each row sees. All rows of a scale see as many frames, be it in clips or as stills.

`data_fields` and `train_tables` turn what a table names into a config of `seqgen generate` and one of `seqgen train`.

All data sets of a scale have the same `split`. Poses, photos, skins and shapes are dealt to the splits by it, so only then does what one data set is tested on
occur in no other's training: with shares of its own, a data set to be tested on would need no training clips, but would show hands that were taught. So some
clips are made that nothing reads: the val split where networks are taught, the train split where they are only moved to or tested. Each scale's shares and
numbers of clips are those with the fewest of them, a third or so of all.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from seqgen.config import config_digest, find_config, overlay, read_toml
from seqgen.reproduction.tables import Data, Table, Training
from seqgen.training.config import train_config


@dataclass(frozen=True)
class Scale:
    """`frames`: of a clip as stored and tested, `window`: as taught; `clips`: sequences of a data set by its size, of all splits; `split`: their shares;
    `fields`: what else is replaced in every data set; `batch`: windows a step, or as many frames as stills; `steps`: of a row's training, of a fine-tuning, and
    of a backbone that the rows start from (0: there are none, rows start from fresh weights); `test_clips`: at most; `jobs`: trainings at once that suit the
    machine meant."""

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
    backbone_steps: int
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
        return self.batch * self.window * self.steps_of(training)

    def steps_of(self, training: Training) -> int:
        """How long a training is."""
        return self.backbone_steps if training.once else self.steps if training.start is None else self.tuning_steps

    def of(self, table: Table) -> Table:
        """The table as it is made at this scale: with backbones taught before, or without."""
        return table if self.backbone_steps else table.from_fresh_weights()


SCALES = {
    # Two cores, 2 hours and 11 minutes for both tables of SeqHAND. A hand turned any way is more than a network learns in so few frames (66 mm after 60,000, where
    # the mean hand is off by 103); seen from its owner's head it turns only as an arm lets it. Clips of 5 teach a fresh network little, for their frames are
    # alike: the ConvLSTM is at 40 mm after 120,000, an encoder taught with as many stills at 33, where a blind guess is off by 50. So rows start from a
    # backbone taught with stills, as the paper's do from ImageNet's.
    "small": Scale(
        size_px=96,
        frames=10,
        window=5,
        clips={"source": 12_000, "target": 3000, "test": 3000},
        split={"train": 8, "val": 1, "test": 1},
        backbone="resnet18",
        deep_backbone="resnet34",
        width=0.5,
        batch=24,
        steps=500,
        tuning_steps=300,
        backbone_steps=1500,
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
        clips={"source": 10_000, "target": 4000, "test": 4000},
        split={"train": 6, "val": 1, "test": 1},
        backbone="resnet50",
        deep_backbone="resnet101",
        width=1.0,
        batch=16,
        steps=1200,
        tuning_steps=300,
        backbone_steps=0,
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
        clips={"source": 50_000, "target": 20_000, "test": 10_000},
        split={"train": 8, "val": 1, "test": 1},
        backbone="resnet50",
        deep_backbone="resnet101",
        width=1.0,
        batch=16,
        steps=50_000,
        tuning_steps=10_000,
        backbone_steps=0,  # the paper's start from ImageNet's weights, which are the user's to fetch; here they would be `run.backbone` of every row
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


def train_tables(training: Training, scale: Scale, *, seed: int, data: Path, before: Path | None) -> dict[str, Any]:
    """The config of a training, as `seqgen.training.config.train_config` takes it. `seed`: its row's; `data`: the data set's folder; `before`: the checkpoint of
    the training that comes before it.

    No validation: nothing is chosen by looking at held-out clips, the last weights count. Nothing is known of how the paper's own rows were chosen.
    Generated clips are taken as they are, and other looks are kept for fine-tuning: the paper moves the hands of FreiHAND about and says no more.
    """
    tuned, given = training.start is not None, None if before is None else str(before)
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
            "seed": training.seed_of(seed),
            "steps": scale.steps_of(training),
            "start": given if tuned else None,
            "backbone": None if tuned else given,
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
    """A hash of `training_identity`."""
    return config_digest(training_identity(training, scale, seed=seed))


def training_identity(training: Training, scale: Scale, *, seed: int) -> dict[str, Any]:
    """All that a training's outcome depends on: its whole config with all defaults, and its data's, and those of the trainings before it. Where things lie, and
    what they are made on, do not count."""
    return {"stages": [_stage(stage, scale, seed) for stage in training.chain()]}


def _stage(training: Training, scale: Scale, seed: int) -> dict[str, Any]:
    nowhere = Path("data")
    tables = train_tables(training, scale, seed=seed, data=nowhere, before=training.before and nowhere)
    begins = "start" if training.start else "backbone" if training.backbone else "fresh"  # with which of them, the stage before says
    return {"begins": begins, "train": train_config(tables, where=training.name).content(), "data": data_identity(training.data, scale)}


def data_identity(data: Data, scale: Scale) -> dict[str, Any]:
    """What a data set is made from: the whole of its config file, and what is replaced. Defaults of fields that the file does not set are the generating wing's,
    which learning does not know: a data set made with others is refused by the generating command itself."""
    tables = read_toml(find_config(data.config, data.folder))
    for name, value in data_fields(data, scale).items():
        tables = overlay(tables, name, value)
    return tables
