"""How large a table is made: pictures, clips, networks, how many frames each row sees. All rows of a scale see as many frames, be it in clips or as stills.

`data_fields` and `train_tables` turn what a table names into a config of `seqgen generate` and one of `seqgen train`. What a scale says of learning depends on
the kind of networks: `seqhand_scales.py`, `still_scales.py`.

All data sets of a scale have the same `split`. Poses, photos, skins and shapes are dealt to the splits by it, so only then does what one data set is tested on
occur in no other's training: with shares of its own, a data set to be tested on would need no training clips, but would show hands that were taught. So some
clips are made that nothing reads: the val split where networks are taught, the train split where they are only moved to or tested. Each scale's shares and
numbers of clips are those with the fewest of them, a third or so of all.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from seqgen.config import config_digest, find_config, overlay, read_toml
from seqgen.reproduction.tables import Data, Table, Training
from seqgen.training.config import train_config


@dataclass(frozen=True, kw_only=True)
class Scale(ABC):
    """`size_px`: width and height of the pictures; `frames`: of a clip as stored and tested, `window`: as taught; `clips`: sequences of a data set by its size, of
    all splits; `split`: their shares; `fields`: what else is replaced in every data set; `batch`: windows a step, or as many frames as stills; `steps`: of a row's
    training, of a fine-tuning, and of a backbone that the rows start from (0: there are none, rows start from fresh weights); `test_clips`: at most; `jobs`:
    trainings at once that suit the machine meant."""

    size_px: tuple[int, int]
    frames: int
    window: int
    clips: Mapping[str, int]
    split: Mapping[str, int]
    batch: int
    steps: int
    tuning_steps: int = 0
    backbone_steps: int = 0
    test_clips: int
    device: Literal["cpu", "cuda"]
    threads: int
    readers: int
    checkpoint_every: int
    jobs: int
    fields: Mapping[str, Any] = field(default_factory=dict)

    @abstractmethod
    def learning(self, training: Training) -> dict[str, Any]:
        """Sections augment, input, model and optim of a training's config, and whether its data are taken frame by frame (data.reading.static)."""

    @abstractmethod
    def facts(self, trainings: Sequence[Training]) -> dict[str, str]:
        """What a reader must know of the networks and their optimiser, by heading."""

    def frames_seen(self, training: Training) -> int:
        """Frames that one training goes through, some of them several times."""
        return self.batch * self.window * self.steps_of(training)

    def steps_of(self, training: Training) -> int:
        """How long a training is."""
        return self.backbone_steps if training.once else self.steps if training.start is None else self.tuning_steps

    def of(self, table: Table) -> Table:
        """The table as it is made at this scale: with backbones taught before, or without."""
        return table if self.backbone_steps else table.from_fresh_weights()


def data_fields(data: Data, scale: Scale) -> dict[str, Any]:
    """What is replaced in the data set's config, by dotted names."""
    size = {"sequences": scale.clips[data.size], "clip.frames": scale.frames, "clip.size": scale.size_px}
    return {**size, **{f"split.{name}": count for name, count in scale.split.items()}, **scale.fields, **data.fields}


def train_tables(training: Training, scale: Scale, *, seed: int, data: Path, before: Path | None) -> dict[str, Any]:
    """The config of a training, as `seqgen.training.config.train_config` takes it. `seed`: its row's; `data`: the data set's folder; `before`: the checkpoint of
    the training that comes before it.

    No validation: nothing is chosen by looking at held-out clips, the last weights count. Nothing is known of how the papers' own rows were chosen.
    Of a real data set, which comes as recordings of any length, every frame is a clip of its own.
    """
    tuned, given = training.start is not None, None if before is None else str(before)
    tables = {
        "data": {"train": [str(data)], "split": training.split, "validation_clips": 0, **_reading(training, scale)},
        **scale.learning(training),
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


def _reading(training: Training, scale: Scale) -> dict[str, Any]:
    """How many frames of the data a step sees, and in what pieces."""
    if training.data.path is not None:
        return {"stills": 1, "reading": {"frames": 1, "batch": scale.batch * scale.window, "readers": scale.readers}}
    return {"reading": {"frames": scale.window, "batch": scale.batch, "static": training.stills, "readers": scale.readers}}


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
    which learning does not know: a data set made with others is refused by the generating command itself. Of a real data set, which one, and how much of it is there."""
    if data.path is not None:
        return {"real": data.name, "frames": data.frames, "tested": data.tested}
    tables = read_toml(find_config(data.config, data.folder))
    for name, value in data_fields(data, scale).items():
        tables = overlay(tables, name, value)
    return tables
