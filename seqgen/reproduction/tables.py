"""What a table is: rows that compete on the same tests, each with the training it comes from. Plain data; the papers' tables stand in files of their own.

    Table ─ parts ─ rows ── training: a network, the clips it learns from, and the training it goes on from, or whose backbone it takes
                  └ tests ─ data: a config of `seqgen generate` with some fields replaced; its test split

Trainings and data are known by their names: equal names are done once, whatever the rows and tables that share them. How large all this is, `scales.py` says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from seqgen.splits import SplitName

Fields = Mapping[str, Any]  # values by dotted names of a config's fields


@dataclass(frozen=True)
class Data:
    """A data set. `config`: a shipped one by name, with the folder of `configs` that it is in; `size`: which of a scale's numbers of clips it has: to be taught
    with, to be moved to, or only to be tested on."""

    name: str
    config: str
    size: Literal["source", "target", "test"]
    folder: str = ""
    fields: Fields = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class HeldOut:
    """Clips that rows are measured on: the test split of a data set."""

    data: Data
    title: str


@dataclass(frozen=True)
class Network:
    """What sets the networks of a table apart: fields of their model section, and whether they have a scale's usual backbone or its deep one."""

    fields: Fields = field(hash=False)
    deep: bool = False


@dataclass(frozen=True)
class Training:
    """One run of training. `stills`: single frames in place of clips, as many frames; `start`: the training to go on from; `backbone`: the one whose ResNet it
    begins with, its other weights fresh; `once`: such a backbone, which all seeds share as they would a published one; `freeze`: parts left as they are;
    `fields`: what else is replaced in its config."""

    name: str
    network: Network
    data: Data
    split: SplitName = "train"
    stills: bool = False
    start: "Training | None" = None
    backbone: "Training | None" = None
    once: bool = False
    freeze: tuple[str, ...] = ()
    fields: Fields = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.start is not None and self.backbone is not None:
            raise ValueError(f"{self.name}: start brings a backbone; give one of the two")

    @property
    def before(self) -> "Training | None":
        """The training whose checkpoint this one needs."""
        return self.start or self.backbone

    def chain(self) -> list["Training"]:
        """All trainings that lead to this one, in their order, this one last."""
        return [*(self.before.chain() if self.before else []), self]

    def seed_of(self, seed: int) -> int:
        """The seed it runs with where its row has `seed`."""
        return 0 if self.once else seed

    def from_fresh_weights(self) -> "Training":
        """The same without any backbone taught before."""
        return replace(self, backbone=None, start=self.start and self.start.from_fresh_weights())


@dataclass(frozen=True)
class Row:
    """`paper`: the paper's figures by (name of the test's data, metric); several where one test stands for several data sets of the paper."""

    name: str
    title: str
    training: Training
    paper: Mapping[tuple[str, str], tuple[float, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Part:
    """Rows that compete on the same tests. `differences`: pairs of row names whose difference, first minus second, the paper's claim is about."""

    title: str
    tests: tuple[HeldOut, ...]
    rows: tuple[Row, ...]
    differences: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """`notes`: what a reader of the table must know, a paragraph each."""

    title: str
    parts: tuple[Part, ...]
    notes: tuple[str, ...]

    def row_names(self) -> list[str]:
        """Names of the rows of all parts, each once."""
        return list(dict.fromkeys(row.name for part in self.parts for row in part.rows))

    def trainings(self) -> list[Training]:
        """All that its rows need, each once."""
        return list(dict.fromkeys(training for part in self.parts for row in part.rows for training in row.training.chain()))

    def from_fresh_weights(self) -> "Table":
        """The same table without backbones taught before."""
        parts = (replace(part, rows=tuple(replace(row, training=row.training.from_fresh_weights()) for row in part.rows)) for part in self.parts)
        return replace(self, parts=tuple(parts))


@dataclass(frozen=True)
class Metric:
    """A column. What it is exactly, `measure.py` says."""

    title: str
    decimals: int


METRICS = {
    "auc_2d": Metric("AUC 2D", 3),
    "auc_3d": Metric("AUC 3D", 3),
    "error_px": Metric("error px", 2),
    "error_mm": Metric("error mm", 2),
    "pa_mm": Metric("aligned mm", 2),
    "covered_mm": Metric("covered mm", 2),
    "acceleration_mm": Metric("acceleration mm", 2),
    "blackout_mm": Metric("jump mm", 2),
    "black_frame_mm": Metric("black mm", 2),
}
