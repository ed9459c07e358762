"""Tables 2 and 3 and Figures 8 and 10 of HandR2N2 (Cheng and Ko, ICCV 2023), section 4.4: their rows, what stands for NYU here, and the paper's figures.

The whole method with three iterations is a row of `five.py` too, and is taught once for all of them. The tick marks of Table 2 are lost in the paper's text; they
are put back from section 4.4, where its rows are told in their order, and from Table 3, which shares three of them.
"""

from collections.abc import Mapping
from typing import Any

from seqgen.reproduction.columns import SPACE_COLUMNS
from seqgen.reproduction.five import ON_SENSOR
from seqgen.reproduction.still_data import LABELLED, NOT_NYU, OF_NYU, ON_SR300, SENSOR, SR300, asked, nyu_row, of_nyu
from seqgen.reproduction.tables import Network, Part, Row, Table, Training

WHOLE = ON_SENSOR["handr2n2"]
NO_GRU, NO_GCN, NO_RESIDUAL = {"model.gates": "none"}, {"model.graph": "none"}, {"model.residual": False}
CONVENTIONAL_GRU, CONVENTIONAL_GCN = {"model.gates": "conventional"}, {"model.graph": "shared"}

NO_GATES = "Without a GRU the next state is what its candidate would be, from the evolved state and the points: the paper does not say what it is there."


def _training(name: str, fields: Mapping[str, Any]) -> Training:
    return Training(f"handr2n2-{name}", Network({**SENSOR, **fields}, recipe="handr2n2"), SR300, stills=True)


GCN_RESIDUAL = _training("gcn-residual", NO_GRU)
GRU_RESIDUAL = _training("gru-residual", NO_GCN)

HANDR2N2_TABLE_2 = Table(
    "HandR2N2, Table 2: the recurrent unit's parts",
    (
        Part(
            "GRU, GCN and residual",
            (ON_SR300,),
            (
                nyu_row("none", "none of them", _training("none", {**NO_GRU, **NO_GCN, **NO_RESIDUAL}), 8.68),
                nyu_row("gru", "GRU", _training("gru", {**NO_GCN, **NO_RESIDUAL}), 8.06),
                nyu_row("gcn-residual", "GCN + residual", GCN_RESIDUAL, 7.76),
                nyu_row("gru-gcn", "GRU + GCN", _training("gru-gcn", NO_RESIDUAL), 7.62),
                nyu_row("gru-residual", "GRU + residual", GRU_RESIDUAL, 7.99),
                nyu_row("whole", "GRU + GCN + residual", WHOLE, 7.36),
            ),
            (("gru", "none"), ("gru-gcn", "gru"), ("gru-residual", "gru"), ("whole", "gcn-residual"), ("whole", "gru-residual"), ("whole", "gru-gcn")),
            costs=True,
        ),
    ),
    (
        "The claim: each of the three lowers the error beside the others.",
        OF_NYU,
        LABELLED,
        NO_GATES,
        "Without a residual the state is turned into joints, not into steps of theirs.",
    ),
    columns=SPACE_COLUMNS,
    notes_on_drawn=(NOT_NYU,),
)

HANDR2N2_TABLE_3 = Table(
    "HandR2N2, Table 3: its parts and conventional ones",
    (
        Part(
            "Conventional, channel-wise, attentive; all with residual",
            (ON_SR300,),
            (
                nyu_row("conventional-gcn", "conventional GCN", _training("conventional-gcn-residual", {**NO_GRU, **CONVENTIONAL_GCN}), 8.14),
                nyu_row("channel-wise-gcn", "channel-wise GCN", GCN_RESIDUAL, 7.76),
                nyu_row("conventional-gru", "conventional GRU", _training("conventional-gru-residual", {**NO_GCN, **CONVENTIONAL_GRU}), 8.59),
                nyu_row("attentive-gru", "attentive GRU", GRU_RESIDUAL, 7.99),
                nyu_row("conventional", "conventional GRU + conventional GCN", _training("conventional", {**CONVENTIONAL_GRU, **CONVENTIONAL_GCN}), 8.07),
                nyu_row("whole", "attentive GRU + channel-wise GCN", WHOLE, 7.36),
            ),
            (("channel-wise-gcn", "conventional-gcn"), ("attentive-gru", "conventional-gru"), ("whole", "conventional")),
            costs=True,
        ),
    ),
    (
        "The claim: the paper's own parts beat the conventional ones, each by itself and both together.",
        OF_NYU,
        LABELLED,
        "What is conventional is in the paper's supplement, which is not at hand; here a conventional GCN has one matrix of joints for all channels, and a conventional GRU "
        "one reset gate a joint in place of one a point.",
        NO_GATES,
    ),
    columns=SPACE_COLUMNS,
    notes_on_drawn=(NOT_NYU,),
)

TAUGHT = range(1, 7)
FIGURE_8 = {  # by iterations when asked, of networks taught with 1 to 6
    0: (10.60, 10.81, 10.74, 10.75, 11.45, 11.65),
    1: (7.96, 8.17, 8.00, 7.99, 8.35, 8.50),
    2: (17.90, 7.69, 7.50, 7.50, 7.71, 7.73),
    3: (21.05, 7.97, 7.36, 7.36, 7.56, 7.50),
    4: (23.61, 8.36, 7.29, 7.33, 7.49, 7.42),
    5: (24.12, 8.55, 7.27, 7.32, 7.46, 7.40),
    6: (25.12, 8.74, 7.28, 7.33, 7.44, 7.39),
    7: (25.18, 8.94, 7.30, 7.34, 7.44, 7.40),
    8: (25.76, 9.10, 7.32, 7.36, 7.44, 7.40),
}


def _figure_8_row(count: int) -> Row:
    """Taught with so many iterations."""
    training = WHOLE if count == 3 else _training(f"iterations-{count}", {"model.iterations": count})
    return Row(f"taught-{count}", f"taught with {count}", training, of_nyu({asked(each): mm[count - 1] for each, mm in FIGURE_8.items()}))


HANDR2N2_FIGURE_8 = Table(
    "HandR2N2, Figure 8: iterations when taught, and when asked",
    (Part("By iterations when asked", tuple(asked(count) for count in FIGURE_8), tuple(_figure_8_row(count) for count in TAUGHT), across="space_mm"),),
    (
        "The claim: taught with three iterations or more, the network may be asked for more than it was taught with, and gets a little better for it, or no worse; taught with "
        "one or two, it is best at as many and worse beyond.",
        OF_NYU,
        LABELLED,
    ),
    columns=SPACE_COLUMNS,
    notes_on_drawn=(NOT_NYU,),
)

NEIGHBOURS = (8, 16, 32, 48, 64)


def _figure_10_row(count: int) -> Row:
    """Taught and asked with so many points about each joint."""
    return Row(f"k-{count}", f"K = {count}", WHOLE if count == 48 else _training(f"neighbours-{count}", {"model.neighbours": count}))


FIGURE_10_ROWS = tuple(_figure_10_row(count) for count in NEIGHBOURS)
HANDR2N2_FIGURE_10 = Table(
    "HandR2N2, Figure 10: points about each joint",
    (
        Part("K points about each joint, three iterations", (ON_SR300,), FIGURE_10_ROWS, (*((f"k-{count}", "k-48") for count in NEIGHBOURS if count != 48),), costs=True),
        Part("K points about each joint, by iterations when asked", tuple(asked(count) for count in range(1, 6)), FIGURE_10_ROWS, across="space_mm"),
    ),
    (
        "The claim: the more points, the smaller the error, up to 48, beyond which nothing changes. The paper shows curves of NYU and gives no numbers, nor which K and which "
        "iterations they are of.",
        LABELLED,
    ),
    columns=SPACE_COLUMNS,
    notes_on_drawn=(NOT_NYU,),
)
