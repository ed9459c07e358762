"""What a table is: rows that compete on the same tests, each with the training it comes from. Plain data; the papers' tables stand in files of their own.

    Table ─ parts ─ rows ── training: a network, the clips it learns from, and the training it goes on from
                  └ tests ─ data: a config of `seqgen generate` with some fields replaced; its test split

Trainings and data are known by their names: equal names are done once, whatever the rows and tables that share them. How large all this is, `scales.py` says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from seqgen.splits import SplitName

Fields = Mapping[str, Any]  # values by dotted names of a config's fields


@dataclass(frozen=True)
class Data:
    """A data set. `config`: a shipped one by name, with the folder of `configs` that it is in; `size`: which of a scale's numbers of clips it has."""

    name: str
    config: str
    size: Literal["source", "target"]
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
    """One run of training. `stills`: single frames in place of clips, as many frames; `start`: the training to go on from; `freeze`: parts left as they are;
    `fields`: what else is replaced in its config."""

    name: str
    network: Network
    data: Data
    split: SplitName = "train"
    stills: bool = False
    start: "Training | None" = None
    freeze: tuple[str, ...] = ()
    fields: Fields = field(default_factory=dict, hash=False)

    def chain(self) -> list["Training"]:
        """All trainings that lead to this one, in their order, this one last."""
        return [*(self.start.chain() if self.start else []), self]


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
    "covered_mm": Metric("covered mm", 2),
    "acceleration_mm": Metric("acceleration mm", 2),
    "blackout_mm": Metric("jump mm", 2),
    "black_frame_mm": Metric("black mm", 2),
}
