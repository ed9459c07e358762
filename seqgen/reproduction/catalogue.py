"""The tables that can be made, by name, each with its scales; and any of them on a user's own copy of a real data set in place of generated ones."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from seqgen.errors import UserError
from seqgen.estimators import ESTIMATORS
from seqgen.estimators.views.cube import CubeConfig
from seqgen.joint_targets import JointSetName
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
    """A real data set: what it shows, and the joints that its labels are of."""

    shows: str  # "depth" or "pictures"
    joints: JointSetName = "canonical"


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
        "nyu": RealData("depth", "nyu"),
        "icvl": RealData("depth", "icvl"),
        "msra": RealData("depth", "msra"),
        "hands17": RealData("depth"),
        "freihand": RealData("pictures"),
        "stb": RealData("pictures"),
        "rhd": RealData("pictures"),
    }
)


def named_table(name: str) -> Entry:
    """UserError for a name that is not known."""
    if name not in TABLES:
        raise UserError(f"reproduce: no table {name}; tables: {', '.join(TABLES)}")
    return TABLES[name]


def on_data(table: Table, name: str, folder: Path | None) -> Table:
    """The table on a real data set: all its trainings learn from its training split, all tests are of its test split. As it is, where `name` is SEQGEN. UserError
    for a data set that is not known, is not there, or does not show what the table's networks see."""
    if name == SEQGEN:
        if folder is not None:
            raise UserError(f"reproduce: --data-folder {folder}: belongs to --data with the name of a real data set: {', '.join(REAL_DATA)}")
        return table
    if name not in REAL_DATA:
        raise UserError(f"reproduce: --data {name}: not known; there are {SEQGEN}, {', '.join(REAL_DATA)}")
    if folder is None or not folder.is_dir():
        raise UserError(f"reproduce: --data {name}: needs --data-folder with your copy of it{'' if folder is None else f'; {folder} is no folder'}")
    seen = {"depth" if issubclass(ESTIMATORS[training.network.recipe].input, CubeConfig) else "pictures" for training in table.trainings()}
    real = REAL_DATA[name]
    if seen != {real.shows}:
        raise UserError(f"reproduce: --data {name}: has {real.shows}, but networks of this table see {' and '.join(sorted(seen))}; choose another table")
    own = {training.data.name for training in table.trainings()} | {test.data.name for part in table.parts for test in part.tests}
    fields = {"model.joints": real.joints} if real.shows == "depth" else {}
    return table.with_data({each: Data(name, "", "source", path=folder.resolve()) for each in own}, fields)
