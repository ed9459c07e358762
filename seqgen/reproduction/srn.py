"""Tables 1 and 2 and Figure 2 of SRN (Ren et al., BMVC 2019), section 5.2: their rows, what stands for NYU here, and the paper's figures.

Table 1 refines the place of the hand "at test only", then in training too: each of its trainings is tested with both places, so the first of these steps is one
row on another test. The whole method, two stages with a kernel of 0.4, is a row of `five.py` too, and is taught once for all of them.
"""

from collections.abc import Mapping
from typing import Any

from seqgen.reproduction.columns import SPACE_COLUMNS
from seqgen.reproduction.five import ON_SENSOR
from seqgen.reproduction.still_data import LABELLED, NOT_NYU, OF_NYU, ON_SR300, SENSOR, SR300, nyu_row, of_nyu
from seqgen.reproduction.tables import HeldOut, Network, Part, Row, Table, Training

WHOLE = ON_SENSOR["srn"]



def _training(name: str, model: Mapping[str, Any], **taught: Any) -> Training:
    """`taught`: what is replaced in how it is taught, by dotted names."""
    return Training(f"srn-{name}", Network({**SENSOR, **model}, recipe="srn"), SR300, stills=True, fields=taught)


SINGLE = {"model.stages": 1}
COUPLED = {**SINGLE, "model.coordinates": "cube"}
SQUARED = {**COUPLED, "model.loss": "l2"}
MASS, REFINED = (HeldOut(SR300, title, centre, {"input.centre": centre}) for title, centre in (("centre of mass", "mass"), ("refined", "refined")))
# The slope of L2 at 0.3 half cubes, where training begins, is 30 times that of smooth L1, for which the paper's rate of 0.3 is.
SLOWLY = {"optim.lr": 0.01}

TABLE_1_TRAININGS = {
    "plain": _training("plain", SQUARED, **SLOWLY, **{"input.centre": "mass", "augment.share": 0.0}),
    "augmented": _training("augmented", SQUARED, **SLOWLY, **{"input.centre": "mass"}),
    "refined": _training("refined", SQUARED, **SLOWLY, **{"input.centre": "refined"}),
    "smooth-l1": _training("refined-smooth-l1", COUPLED, **{"input.centre": "refined"}),
    "decoupled": _training("refined-decoupled", SINGLE, **{"input.centre": "refined"}),
}


def _along_axes(*mm: float) -> dict[tuple[str, str], tuple[float, ...]]:
    """The paper's error, and its parts along x, y and z."""
    metrics = ("space_mm", "space_x_mm", "space_y_mm", "space_z_mm")
    return {place: figure for metric, each in zip(metrics, mm, strict=True) for place, figure in of_nyu({REFINED: each}, metric).items()}


SRN_TABLE_1 = Table(
    "SRN, Table 1: from a plain ResNet-18 to its basic method, a single stage",
    (
        Part(
            "Step by step",
            (MASS, REFINED),
            (
                Row("plain", "ResNet-18", TABLE_1_TRAININGS["plain"], of_nyu({MASS: 34.11})),
                Row("augmented", "+ augmentation", TABLE_1_TRAININGS["augmented"], of_nyu({MASS: 15.42, REFINED: 13.70})),
                Row("refined", "+ refined place in training too", TABLE_1_TRAININGS["refined"], of_nyu({REFINED: 10.64})),
                Row("smooth-l1", "+ smooth L1", TABLE_1_TRAININGS["smooth-l1"], _along_axes(9.82, 5.3, 4.4, 4.9)),
                Row("decoupled", "+ decoupled coordinates", TABLE_1_TRAININGS["decoupled"], _along_axes(8.91, 4.3, 4.1, 4.9)),
            ),
            (("augmented", "plain"), ("refined", "augmented"), ("smooth-l1", "refined"), ("decoupled", "smooth-l1")),
        ),
    ),
    (
        "The claim: each step lowers the error, augmentation most, then a cube that is about the hand when taught as when tested.",
        OF_NYU,
        "The paper's step from its second row to 13.70 is to test the same network with refined places. Rows before the last say x, y and z from the cube's centre, the last "
        "says places in the crop and depths.",
        "Cubes are about the centre of mass of what is nearest in the hand's box, or about the place to which a network taught beforehand moves it (`docs/benchmarks/centre.md`).",
        "Rows before smooth L1 are taught with L2 at a rate of 0.01, for the paper's 0.3 is made for the small slope of smooth L1, and it gives no other.",
    ),
    columns=SPACE_COLUMNS,
    notes_on_drawn=(NOT_NYU,),
)

KERNELS = {0.3: 7.99, 0.4: 7.78, 0.5: 7.86, 0.6: 7.87, 0.7: 7.87, 0.8: 7.90}
STAGES = {1: 9.81, 2: 7.78, 3: 7.75}
STACKS = {count: WHOLE if count == 2 else _training(f"stages-{count}", {"model.stages": count}) for count in STAGES}


def _kernel_row(size: float, mm: float) -> Row:
    return nyu_row(f"kernel-{size:g}", f"kernel of {size:g}", WHOLE if size == 0.4 else _training(f"kernel-{size:g}", {"model.kernel_size": size}), mm)


SRN_TABLE_2 = Table(
    "SRN, Table 2: stages, and how far their maps reach",
    (
        Part(
            "Stages",
            (ON_SR300,),
            tuple(nyu_row(f"stages-{count}", f"{count} stage{'s' if count > 1 else ''}", STACKS[count], mm) for count, mm in STAGES.items()),
            (("stages-2", "stages-1"), ("stages-3", "stages-2")),
            costs=True,
        ),
        Part(
            "Kernel size, half cubes; two stages",
            (ON_SR300,),
            tuple(_kernel_row(size, mm) for size, mm in KERNELS.items()),
            tuple(("kernel-0.4", f"kernel-{size:g}") for size in KERNELS if size != 0.4),
        ),
    ),
    (
        "The claim: a second stage lowers the error by far, a third hardly; maps do best with a kernel of 0.4 to 0.5, which matters little.",
        OF_NYU,
        LABELLED,
        "The 9.81 mm of a single stage is printed so; Table 1 has 8.91 for the same network.",
    ),
    columns=SPACE_COLUMNS,
    notes_on_drawn=(NOT_NYU,),
)

RIVALS = {
    "deconvolution": ("(a) deconvolution", "deconvolution"),
    "heatmap2d": ("(b) 2D heat maps", "heatmap2d"),
    "heatmap2d-depth": ("(b) 2D heat maps and depth maps", "heatmap2d_depth"),
}
DEEPER = {"resnet50": "ResNet-50", "resnet101": "ResNet-101"}
SRN_FIGURE_2 = Table(
    "SRN, Figure 2: what a stage tells the next, and deeper networks instead",
    (
        Part(
            "Two stages of ResNet-18, by what is between them",
            (ON_SR300,),
            (
                *(Row(name, title, _training(name, {"model.interface": interface})) for name, (title, interface) in RIVALS.items()),
                Row("whole", "(c) 3D heat maps and unit vectors", WHOLE),
            ),
            (("heatmap2d", "deconvolution"), ("heatmap2d-depth", "heatmap2d"), ("whole", "heatmap2d-depth")),
            costs=True,
        ),
        Part(
            "A single stage of deeper networks",
            (ON_SR300,),
            (
                Row("resnet18", "ResNet-18", STACKS[1]),
                *(Row(name, title, _training(name, {**SINGLE, "model.backbone": name})) for name, title in DEEPER.items()),
                Row("whole", "ResNet-18, two stages", WHOLE),
            ),
            tuple(("whole", name) for name in ("resnet18", *DEEPER)),
            costs=True,
        ),
    ),
    (
        "The claim: 2D heat maps tell more than a deconvolution, depth maps add to them, 3D heat maps and unit vectors tell most; and two stages of ResNet-18 are better and "
        "smaller than a single deep network. The paper's figures, of NYU, are only drawn, so there are none in brackets.",
        LABELLED,
        "The paper does not give the deconvolutions' kernels; here they go to 4, 16 and 32 cells a side with 64 channels.",
    ),
    columns=SPACE_COLUMNS,
    notes_on_drawn=(NOT_NYU,),
)
