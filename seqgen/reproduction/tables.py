"""What a table is: rows that compete on the same tests, each with the training it comes from. Plain data; the papers' tables stand in files of their own.

    Table ─ parts ─ rows ── training: a network, the clips it learns from, and the training it goes on from, or whose backbone it takes
          │       └ tests ─ data: a config of `seqgen generate` with some fields replaced, or a real data set; its test split; what is replaced in the network
          └ columns: what is measured (`columns.py`)

Trainings and data are known by their names: equal names are done once, whatever the rows and tables that share them. How large all this is, `scales.py` says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from seqgen.reproduction.columns import CLIP_COLUMNS, Columns
from seqgen.splits import SplitName

Fields = Mapping[str, Any]  # values by dotted names of a config's fields


@dataclass(frozen=True)
class Data:
    """A data set. `config`: a shipped one by name, with the folder of `configs` that it is in; `size`: which of a scale's numbers of clips it has: to be taught
    with, to be moved to, or only to be tested on. `path`: of a real one that is there already, a user's own copy; it has no config. `tested`: the split that tests
    are of; `frames`: of a real one, how many its two splits have."""

    name: str
    config: str
    size: Literal["source", "target", "test"]
    folder: str = ""
    fields: Fields = field(default_factory=dict, hash=False)
    path: Path | None = None
    tested: str = "test"
    frames: tuple[int, int] | None = None


@dataclass(frozen=True)
class HeldOut:
    """Clips that rows are measured on: the test split of a data set. `fields`: what is replaced in the network's own config, sections model and input, when it is
    tested; `suffix`: to the data's name, of such a test."""

    data: Data
    title: str
    suffix: str = ""
    fields: Fields = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.fields and not self.suffix:
            raise ValueError(f"{self.title}: another test of {self.data.name} needs a name of its own")

    @property
    def name(self) -> str:
        """What its results are kept under."""
        return f"{self.data.name}-{self.suffix}" if self.suffix else self.data.name


@dataclass(frozen=True)
class Network:
    """What sets the networks of a table apart. `fields`: of their config; `deep`: whether they have a scale's usual backbone or its deep one, where they have one;
    `recipe`: the shipped config of `seqgen train` that their optimiser and augmentation are those of."""

    fields: Fields = field(hash=False)
    deep: bool = False
    recipe: str = "seqhand"


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
    """`paper`: the paper's figures by (name of the test, metric); several where one test stands for several data sets of the paper."""

    name: str
    title: str
    training: Training
    paper: Mapping[tuple[str, str], tuple[float, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Part:
    """Rows that compete on the same tests. `differences`: pairs of row names whose difference, first minus second, the paper's claim is about.
    `across`: the one metric that is told, with the tests side by side as the columns and as a curve; none: all of the table's, one test below the other. `costs`: whether it
    tells what the rows' networks cost."""

    title: str
    tests: tuple[HeldOut, ...]
    rows: tuple[Row, ...]
    differences: tuple[tuple[str, str], ...] = ()
    across: str | None = None
    costs: bool = False


@dataclass(frozen=True)
class Table:
    """`notes`: what a reader of the table must know, a paragraph each; `notes_on_drawn`: what of it holds for generated data only."""

    title: str
    parts: tuple[Part, ...]
    notes: tuple[str, ...]
    columns: Columns = CLIP_COLUMNS
    notes_on_drawn: tuple[str, ...] = ()

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

    def with_data(self, replaced: Mapping[str, Data], fields: Fields, notes: tuple[str, ...] = ()) -> "Table":
        """The same table on other data sets, by the names of its own, with fields replaced in all its networks, and notes on the data."""

        def training(own: Training) -> Training:
            before = {name: own_before and training(own_before) for name, own_before in (("start", own.start), ("backbone", own.backbone))}
            return replace(own, data=replaced[own.data.name], fields={**fields, **own.fields}, **before)

        def part(own: Part) -> Part:
            tests = tuple(replace(test, data=replaced[test.data.name]) for test in own.tests)
            return replace(own, tests=tuple(dict.fromkeys(tests)), rows=tuple(replace(row, training=training(row.training)) for row in own.rows))

        return replace(self, parts=tuple(part(own) for own in self.parts), notes=(*self.notes, *notes), notes_on_drawn=())
