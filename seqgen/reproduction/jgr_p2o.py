"""Tables 1 to 4 of JGR-P2O (Fang et al., ECCV 2020), sections 4.2 and 4.3: their rows, what stands for NYU here, and the paper's figures.

The whole method, two stages with the skeleton's graph, is a row of all four and of `five.py`, and is taught once.
"""

from collections.abc import Mapping
from typing import Any

from seqgen.reproduction.columns import SPACE_COLUMNS
from seqgen.reproduction.five import ON_SENSOR
from seqgen.reproduction.still_data import LABELLED, NOT_NYU, OF_NYU, ON_SR300, SENSOR, SR300, nyu_row
from seqgen.reproduction.tables import Network, Part, Row, Table, Training

PAPER_MM = 8.29  # the whole method's



def _training(name: str, fields: Mapping[str, Any]) -> Training:
    return Training(f"jgr_p2o-{name}", Network({**SENSOR, **fields}, recipe="jgr_p2o"), SR300, stills=True)


def _whole(title: str) -> Row:
    return nyu_row("whole", title, ON_SENSOR["jgr_p2o"], PAPER_MM)


def _table(title: str, part: str, rows: tuple[Row, ...], differences: tuple[tuple[str, str], ...], *notes: str) -> Table:
    """One part, one test; the claim first, then the figures' origin."""
    claim, *more = notes
    parts = (Part(part, (ON_SR300,), rows, differences, costs=True),)
    return Table(f"JGR-P2O, {title}", parts, (f"The claim: {claim}", OF_NYU, LABELLED, *more), columns=SPACE_COLUMNS, notes_on_drawn=(NOT_NYU,))


JGR_TABLE_1 = _table(
    "Table 1: how joints tell each other",
    "Graphs",
    (
        _whole("skeleton"),
        nyu_row("similarity", "feature similarity", _training("similarity", {"model.graph": "similarity"}), 8.45),
        nyu_row("parameterised", "parameterised matrix", _training("parameterised", {"model.graph": "parameterised"}), 8.36),
    ),
    (("whole", "similarity"), ("whole", "parameterised")),
    "the three graphs do nearly alike, the skeleton's a little better.",
    "The paper's parameters in millions: 1.37, 1.43, 1.37. Its code has one matrix for both stages; here each stage has its own.",
)
UNIFORM = {"model.weighting": "uniform"}
JGR_TABLE_2 = _table(
    "Table 2: its components",
    "Components",
    (
        nyu_row("p2o", "P2O", _training("p2o", {**UNIFORM, "model.offset_weight": 0.0}), 10.83),
        nyu_row("offset-loss", "P2O + offset loss", _training("p2o-offset-loss", UNIFORM), 10.54),
        _whole("P2O + offset loss + JGR"),
    ),
    (("offset-loss", "p2o"), ("whole", "offset-loss")),
    "the loss of each pixel's offsets helps a little (0.29 mm), reasoning over the joints' graph helps much (2.25 mm).",
    "Without JGR a joint is the plain mean of what all pixels say, those that see no hand as well.",
)
JGR_TABLE_3 = _table(
    "Table 3: hourglasses",
    "Stages",
    (
        nyu_row("stages-1", "1 stage", _training("stages-1", {"model.stages": 1}), 8.63),
        _whole("2 stages"),
        nyu_row("stages-3", "3 stages", _training("stages-3", {"model.stages": 3}), 8.27),
    ),
    (("whole", "stages-1"), ("stages-3", "whole")),
    "two stages are better than one, three hardly better than two.",
    "The paper's parameters in millions: 0.72, 1.37, 2.02.",
)
JGR_TABLE_4 = _table(
    "Table 4: its two modules and their rivals",
    "Rivals",
    (
        nyu_row("attention", "attention in place of JGR", _training("attention", {"model.weighting": "attention"}), 8.72),
        nyu_row("heatmap", "differentiable heat maps in place of P2O", _training("heatmap", {"model.decoding": "heatmap"}), 8.69),
        _whole("JGR and P2O"),
    ),
    (("whole", "attention"), ("whole", "heatmap")),
    "JGR is better than attention, and offsets are better than heat maps with depths.",
    "The paper's parameters in millions: 1.42, 1.37, 1.37. Heat maps have no offsets to be taught, so that row has the loss of the joints alone.",
)
