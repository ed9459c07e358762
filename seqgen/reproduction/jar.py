"""Tables 1, 2 and 3 of Joint-Aware Regression (Zheng et al., BMVC 2021), section 3.3: their rows, what stands for RHD and FreiHAND here, and the paper's figures.

Every row names its backbone, whatever the scale's. A training is known by its backbone and the row of Table 1 that it is; three of them serve two tables.
"""

from seqgen.reproduction.columns import STILL_COLUMNS
from seqgen.reproduction.still_data import SR300
from seqgen.reproduction.tables import HeldOut, Network, Part, Row, Table, Training

TEST = HeldOut(SR300, "SR300's pictures")
AFR, JAR, TWO_STAGES = 2, 7, 10  # as Table 1 counts

PICTURES = (
    "The paper's networks begin with ImageNet's weights, these with fresh ones; and these are told how far away the root of the hand is, but not how large the hand is, "
    "which the paper's are told on RHD. Compare orders, not values."
)
OF_RHD = "In brackets: the paper's figures, of RHD: the mean error, root-relative, and the area from 20 to 50 mm."
SMALL_MAPS = (
    "At scale small the network sees 128 px, not 256: its last maps are of 4 x 4 cells, so that a joint's eight maps are 128 numbers; those of IDs 3 and 4, one a map, stay 512."
)


def _training(backbone: str, ablation: int, *, stages: int | None = None) -> Training:
    """A row of Table 1 with a backbone; `stages` where there are more than that row has."""
    fields = {"model.backbone": backbone, "model.ablation": ablation, **({} if stages is None else {"model.stages": stages})}
    return Training(f"jar-{backbone}-id{ablation}{'' if stages is None else f'-stages{stages}'}", Network(fields, recipe="jar"), SR300, stills=True)


def _detection(backbone: str) -> Training:
    """The 2.5D detection."""
    return Training(f"jar-{backbone}-detection25d", Network({"model.backbone": backbone, "model.kind": "detection25d"}, recipe="jar"), SR300, stills=True)


def _row(name: str, title: str, training: Training, **figures: float) -> Row:
    """With the paper's figures of RHD, by metric, beside this test and beside RHD itself."""
    return Row(name, title, training, {(test, metric): (figure,) for test in (TEST.name, "rhd") for metric, figure in figures.items()})


TABLE_1_ROWS = {  # title, error, area
    1: ("1: all maps, flattened (FR)", 14.90, 0.918),
    2: ("2: 1 + global average pooling (AFR)", 14.08, 0.927),
    3: ("3: 2 + joint-specific pooled features", 13.84, 0.938),
    4: ("4: 3 + joint-shared decoding", 12.53, 0.945),
    5: ("5: 1 + joint-specific maps", 12.21, 0.948),
    6: ("6: 5 + joint-shared decoding", 12.10, 0.949),
    7: ("7: 6 + several heads", 11.68, 0.954),
    8: ("8: 7 + a second stage that sees heat maps", 11.30, 0.957),
    9: ("9: 8 + depth maps", 11.19, 0.958),
    10: ("10: 9 + refine maps", 10.97, 0.961),
    11: ("11: 10 + a third stage", 10.87, 0.961),
}
BEFORE = {number: number - 1 for number in TABLE_1_ROWS if number > 1} | {5: 1}  # what each adds to
JAR_TABLE_1 = Table(
    "Joint-Aware Regression, Table 1: its parts, with ResNet-18",
    (
        Part(
            "From plain regression to three stages",
            (TEST,),
            tuple(_row(f"id-{number}", title, _training("resnet18", number), error_mm=mm, auc_3d=area) for number, (title, mm, area) in TABLE_1_ROWS.items()),
            tuple((f"id-{number}", f"id-{before}") for number, before in BEFORE.items()),
            costs=True,
        ),
    ),
    (
        "The claim: every step lowers the error; maps of a joint's own in place of all maps lower it most.",
        OF_RHD,
        PICTURES,
        SMALL_MAPS,
        "The paper keeps the parameters of the decoders of IDs 1 to 7 near each other and does not print widths: those here are ours.",
    ),
    columns=STILL_COLUMNS,
)

TABLE_2_ERRORS = {  # 2.5D detection, AFR, JAR
    "resnet18": (11.92, 14.08, 11.68),
    "resnet34": (11.56, 13.38, 10.86),
    "resnet50": (11.43, 12.46, 10.74),
    "resnet101": (11.04, 12.25, 10.40),
    "resnet152": (10.69, 12.14, 10.16),
}


def _table_2_part(backbone: str, detection: float, afr: float, jar: float) -> Part:
    rows = (
        _row(f"detection25d-{backbone}", "2.5D detection", _detection(backbone), error_mm=detection),
        _row(f"afr-{backbone}", "AFR", _training(backbone, AFR), error_mm=afr),
        _row(f"jar-{backbone}", "JAR", _training(backbone, JAR), error_mm=jar),
    )
    pairs = ((f"jar-{backbone}", f"detection25d-{backbone}"), (f"jar-{backbone}", f"afr-{backbone}"), (f"detection25d-{backbone}", f"afr-{backbone}"))
    return Part(backbone.replace("resnet", "ResNet-"), (TEST,), rows, pairs, costs=True)


JAR_TABLE_2 = Table(
    "Joint-Aware Regression, Table 2: detection and regression with five backbones",
    tuple(_table_2_part(backbone, *errors) for backbone, errors in TABLE_2_ERRORS.items()),
    (
        "The claim: with every backbone, regression from pooled features (AFR) is behind detection, and JAR, a single stage of it, is before both.",
        OF_RHD,
        PICTURES,
        SMALL_MAPS,
        "The paper's costs with ResNet-50: 2.5D detection 34.0 M parameters and 12.9 GMAC, AFR 32.0 M and 5.6, JAR 28.9 M and 5.6, at 256 px. The 12.9 counts every output pixel "
        "of a deconvolution with the whole kernel, four times what is multiplied; without that it is 7.3.",
    ),
    columns=STILL_COLUMNS,
)


def _table_3_row(stages: int, training: Training, mm: float) -> Row:
    """With the paper's aligned error of FreiHAND, beside this test and beside FreiHAND itself."""
    return Row(f"stages-{stages}", f"{stages} stage{'s' if stages > 1 else ''}", training, {(test, "pa_mm"): (mm,) for test in (TEST.name, "freihand")})


JAR_TABLE_3 = Table(
    "Joint-Aware Regression, Table 3: stages, with ResNet-34",
    (
        Part(
            "Stages",
            (TEST,),
            (
                _table_3_row(1, _training("resnet34", JAR), 7.3),
                _table_3_row(2, _training("resnet34", TWO_STAGES), 6.8),
                _table_3_row(4, _training("resnet34", TWO_STAGES, stages=4), 6.5),
            ),
            (("stages-2", "stages-1"), ("stages-4", "stages-2")),
            costs=True,
        ),
    ),
    (
        "The claim: two stages are better than one and four better than two, at 86 and 49 frames a second in place of 134.",
        "In brackets: the paper's figures, of FreiHAND: the mean error after alignment. Its other figures have no column here: area from 0 to 50 mm after alignment 0.856, 0.865, "
        "0.870; HO-3D, aligned in scale and place, 26.9, 25.7, 25.1 mm.",
        PICTURES,
    ),
    columns=STILL_COLUMNS,
)
