"""The tables that can be made, by name, each with its scales; and any of them on a user's own copy of a real data set in place of generated ones."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from seqgen.benchmarks import data_set_name, open_clips
from seqgen.errors import UserError
from seqgen.estimators import ESTIMATORS
from seqgen.estimators.views.cube import CubeConfig
from seqgen.joint_targets import JointSetName
from seqgen.reproduction.columns import CLIP_COLUMNS
from seqgen.reproduction.five import FIVE_NETWORKS
from seqgen.reproduction.handr2n2 import HANDR2N2_FIGURE_8, HANDR2N2_FIGURE_10, HANDR2N2_TABLE_2, HANDR2N2_TABLE_3
from seqgen.reproduction.jar import JAR_TABLE_1, JAR_TABLE_2, JAR_TABLE_3
from seqgen.reproduction.jgr_p2o import JGR_TABLE_1, JGR_TABLE_2, JGR_TABLE_3, JGR_TABLE_4
from seqgen.reproduction.scales import Scale
from seqgen.reproduction.seqhand import TABLE_2, TABLE_3
from seqgen.reproduction.seqhand_scales import SEQHAND_SCALES
from seqgen.reproduction.srn import SRN_FIGURE_2, SRN_TABLE_1, SRN_TABLE_2
from seqgen.reproduction.still_scales import STILL_SCALES
from seqgen.reproduction.tables import Data, Table

SEQGEN = "seqgen"


class Entry(NamedTuple):
    """A table and how large it can be made."""

    table: Table
    scales: Mapping[str, Scale]


class RealData(NamedTuple):
    """A real data set: its name among the readers', what it shows, the joints that networks are taught with, the split that stands for a test, and what a reader of
    its tables must know."""

    title: str
    shows: str  # "depth" or "pictures"
    joints: JointSetName = "canonical"
    tested: str = "test"
    notes: tuple[str, ...] = ()


TABLES: Mapping[str, Entry] = MappingProxyType(
    {
        "five-networks": Entry(FIVE_NETWORKS, STILL_SCALES),
        "handr2n2-fig10": Entry(HANDR2N2_FIGURE_10, STILL_SCALES),
        "handr2n2-fig8": Entry(HANDR2N2_FIGURE_8, STILL_SCALES),
        "handr2n2-table2": Entry(HANDR2N2_TABLE_2, STILL_SCALES),
        "handr2n2-table3": Entry(HANDR2N2_TABLE_3, STILL_SCALES),
        "jar-table1": Entry(JAR_TABLE_1, STILL_SCALES),
        "jar-table2": Entry(JAR_TABLE_2, STILL_SCALES),
        "jar-table3": Entry(JAR_TABLE_3, STILL_SCALES),
        "jgr-table1": Entry(JGR_TABLE_1, STILL_SCALES),
        "jgr-table2": Entry(JGR_TABLE_2, STILL_SCALES),
        "jgr-table3": Entry(JGR_TABLE_3, STILL_SCALES),
        "jgr-table4": Entry(JGR_TABLE_4, STILL_SCALES),
        "seqhand-table2": Entry(TABLE_2, SEQHAND_SCALES),
        "seqhand-table3": Entry(TABLE_3, SEQHAND_SCALES),
        "srn-fig2": Entry(SRN_FIGURE_2, STILL_SCALES),
        "srn-table1": Entry(SRN_TABLE_1, STILL_SCALES),
        "srn-table2": Entry(SRN_TABLE_2, STILL_SCALES),
    }
)
REAL_DATA = MappingProxyType(
    {
        "nyu": RealData("NYU", "depth", "nyu"),
        "icvl": RealData("ICVL", "depth", "icvl"),
        "msra": RealData("MSRA", "depth", "msra", notes=("Of MSRA the first subject is held out; the papers' figures are means over nine such folds.",)),
        "hands17": RealData("HANDS17", "depth", tested="val", notes=("HANDS 2017 has no public test labels: `val` is every fiftieth picture, of the same five people.",)),
        "freihand": RealData("FreiHAND", "pictures"),
        "stb": RealData("STB", "pictures"),
        "rhd": RealData("RHD", "pictures"),
    }
)


def named_table(name: str) -> Entry:
    """UserError for a name that is not known."""
    if name not in TABLES:
        raise UserError(f"reproduce: no table {name}; tables: {', '.join(TABLES)}")
    return TABLES[name]


def on_data(table: Table, name: str, folder: Path | None) -> Table:
    """The table on a real data set: all its trainings learn from its training split, all tests are of its test split. As it is, where `name` is SEQGEN. UserError
    for a data set that is not known, is not there, or does not show what the table's networks see, and for a table of clips."""
    if name == SEQGEN:
        if folder is not None:
            raise UserError(f"reproduce: --data-folder {folder}: belongs to --data with the name of a real data set: {', '.join(REAL_DATA)}")
        return table
    if name not in REAL_DATA:
        raise UserError(f"reproduce: --data {name}: not known; there are {SEQGEN}, {', '.join(REAL_DATA)}")
    if folder is None or not folder.is_dir():
        raise UserError(f"reproduce: --data {name}: needs --data-folder with your copy of it{'' if folder is None else f'; {folder} is no folder'}")
    if table.columns is CLIP_COLUMNS:
        raise UserError(f"reproduce: --data {name}: this table is about clips and about moving to other data, and is made on generated data only")
    return _on_real_data(table, name, folder)


def _on_real_data(table: Table, name: str, folder: Path) -> Table:
    """Both splits are opened: what is missing is missed before the work begins."""
    real = REAL_DATA[name]
    seen = {"depth" if issubclass(ESTIMATORS[training.network.recipe].input, CubeConfig) else "pictures" for training in table.trainings()}
    if seen != {real.shows}:
        raise UserError(f"reproduce: --data {name}: has {real.shows}, but networks of this table see {' and '.join(sorted(seen))}; choose another table")
    if (found := data_set_name(folder)) != real.title:
        raise UserError(f"reproduce: --data {name}: {folder} holds {found}; give the folder of {real.title}")
    sources = [open_clips(folder, split=split, pictures=("depth",) if real.shows == "depth" else ("rgb", "mask")) for split in ("train", real.tested)]
    train, tested = (sum(map(source.num_frames, range(len(source)))) for source in sources)
    data = Data(name, "", "source", path=folder.resolve(), tested=real.tested, frames=(train, tested))
    own = {training.data.name for training in table.trainings()} | {test.data.name for part in table.parts for test in part.tests}
    return table.with_data(dict.fromkeys(own, data), {"model.joints": real.joints} if real.shows == "depth" else {}, real.notes)
