"""The whole config of `seqgen train` and `seqgen finetune`: the rooms' sections put together, with the model section of the estimator that `model.name` names.

`config_class(tables)` is the record for the named estimator, so that mistakes in any section are named in full and `--help` can list every field.
Does not know files of configs: the command line reads them.
"""

from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from pydantic import Field, field_validator, model_validator

from seqgen.config import Section, build
from seqgen.errors import UserError
from seqgen.estimators import ESTIMATORS
from seqgen.estimators.centre import SHIPPED as CENTRE_NETWORK
from seqgen.estimators.checkpoint import read_record
from seqgen.estimators.resnet import weights_digest
from seqgen.estimators.views.cube import CubeConfig
from seqgen.files import file_digest
from seqgen.training.augment import AugmentConfig
from seqgen.training.augment_depth import DepthAugmentConfig
from seqgen.training.batches import DataConfig
from seqgen.training.schedule import OptimConfig

# Change how a run is made, not what it learns (but for the last bit: sums over other numbers of threads). `start` and `backbone` count by their weights, not their paths.
RUN_ONLY = {"run": {"device", "threads", "log_every", "checkpoint_every", "mano_dir", "start", "backbone"}, "data": {"reading": {"readers"}}}


class SourcesConfig(Section):
    train: tuple[str, ...] = Field(min_length=1)
    """data sets to learn from: of ours, real ones (FreiHAND, STB, RHD, NYU, ICVL, MSRA, HANDS17), folders, or generate:CONFIG, clips made meanwhile; the clips of all are mixed"""
    split: str | None = "train"
    """which split of them, where they have splits; none: all"""
    limit: int | None = Field(None, ge=1)
    """at most this many clips, the first ones of each data set; of clips made meanwhile the same ones in each epoch"""
    stills: int | None = Field(None, ge=1)
    """take every n-th frame as a clip of its own, so that nothing moves; none: clips as they are"""
    validation: tuple[str, ...] | None = None
    """data sets to validate on; none: those of `train`, as far as they have the split"""
    validation_split: str | None = "val"
    """which split of them"""
    validation_clips: int = Field(200, ge=0)
    """at most this many clips, evenly spread over each data set; 0: no validation"""
    reading: DataConfig = DataConfig()

    @field_validator("train", "validation", mode="before")
    @classmethod
    def _one_is_a_list_too(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class RunConfig(Section):
    seed: int = Field(0, ge=0, lt=2**63)
    """with the config and the data, all that a run depends on"""
    steps: int | None = Field(None, ge=1)
    """how many batches to learn from; or give `epochs`"""
    epochs: int | None = Field(None, ge=1)
    """how often to see all clips; or give `steps`"""
    log_every: int = Field(20, ge=1)
    """steps between two lines of the log"""
    validate_every: int = Field(500, ge=1)
    """steps between two validations"""
    checkpoint_every: int = Field(500, ge=1)
    """steps between two checkpoints"""
    patience: int | None = Field(None, ge=1)
    """stop after so many validations without a better one; none: never"""
    start: str | None = None
    """checkpoint to take the first weights from; none: fresh ones"""
    backbone: str | None = None
    """weights for the encoder's ResNet to start from: torchvision's file, or a checkpoint with the same backbone; none: fresh ones"""
    freeze: tuple[str, ...] = ()
    """parts of the network to leave as they are: encoder, temporal, head; none: nothing"""
    device: Literal["cpu", "cuda"] = "cpu"
    """where to train"""
    threads: int | None = Field(None, ge=1)
    """threads of each training process; none: the cores it may use, shared among `train_workers`"""
    train_workers: int = Field(1, ge=1, le=1024)
    """processes that train together, through Ray; 1: this one, without Ray. Labels that only some clips have: their loss is the mean of each process's mean"""
    mano_dir: str | None = None
    """folder with your MANO files, for a network with the mano hand; none: mano_assets"""

    @field_validator("freeze", mode="before")
    @classmethod
    def _none_is_nothing(cls, value: Any) -> Any:
        return () if value in (None, "none", ["none"], ("none",)) else (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_length_and_one_start(self) -> "RunConfig":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"run: give steps or epochs, one of the two; got {self.steps} and {self.epochs}")
        if self.start is not None and self.backbone is not None:
            raise ValueError("run: start holds the backbone's weights too; give start or backbone, not both")
        return self


SHARED = ("joints", "size")  # fields of what the network is and of what it is shown

ModelSection, InputSection, AugmentSection = (TypeVar(name, bound=Section) for name in ("ModelSection", "InputSection", "AugmentSection"))


class TrainConfig(Section, Generic[ModelSection, InputSection, AugmentSection]):
    data: SourcesConfig
    input: InputSection
    augment: AugmentSection
    model: ModelSection
    optim: OptimConfig = OptimConfig()
    run: RunConfig

    @model_validator(mode="after")
    def _input_suits_model(self) -> "TrainConfig":
        for name in SHARED:
            of_model, of_input = getattr(self.model, name, None), getattr(self.input, name)
            if of_model not in (None, of_input):
                raise ValueError(f"model.{name} = {of_model} and input.{name} = {of_input}: the network is made for what it is shown; give model.{name} alone")
        return self

    @model_validator(mode="after")
    def _workers_have_clips(self) -> "TrainConfig":
        if self.data.reading.batch < self.run.train_workers:
            raise ValueError(f"data.reading.batch = {self.data.reading.batch} clips are too few for run.train_workers = {self.run.train_workers}; give each worker a clip")
        return self

    def content(self) -> dict[str, Any]:
        """The part of the config that decides what is learned, as plain JSON values; with the network that refines centres, where one does."""
        content = self.model_dump(mode="json", exclude=RUN_ONLY)
        return {**content, "centre_network": file_digest(CENTRE_NETWORK)} if getattr(self.input, "centre", None) == "refined" else content

    def identity(self) -> dict[str, Any]:
        """What two runs must share to be one: the content, and the very weights they start from."""
        content = self.content()
        if self.run.start is not None:
            content["start"] = read_record(Path(self.run.start))["weights"]["sha256"]
        if self.run.backbone is not None:
            content["backbone"] = weights_digest(Path(self.run.backbone))
        return content


def config_class(tables: dict[str, Any], *, where: str) -> type[TrainConfig]:
    """TrainConfig with the model section of the estimator that `tables` name under model.name; seqhand when they name none. UserError for an unknown one."""
    model = tables.get("model", {})
    name = model.get("name", "seqhand") if isinstance(model, dict) else "seqhand"
    if not isinstance(name, str) or name not in ESTIMATORS:
        raise UserError(f"{where}: model.name = {name!r}: no such network; there are {', '.join(ESTIMATORS)}")
    kind = ESTIMATORS[name]
    return TrainConfig[kind.config, kind.input, DepthAugmentConfig if issubclass(kind.input, CubeConfig) else AugmentConfig]


def train_config(tables: dict[str, Any], *, where: str) -> TrainConfig:
    """The config of `tables`, or a UserError of one line that starts with `where` and names the key. What model and input share is said once, of the model."""
    complete = {**{section: {} for section in ("model", "input", "augment")}, **tables}
    kind = config_class(complete, where=where)
    if isinstance(complete["model"], dict) and isinstance(complete["input"], dict):
        known = {name: field.default for name, field in kind.model_fields["model"].annotation.model_fields.items() if name in SHARED} | complete["model"]
        complete["input"] = {name: known[name] for name in SHARED if name in known} | complete["input"]
    return build(kind, complete, where=where)
