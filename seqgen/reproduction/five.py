"""All five networks under one budget: as many frames of the same clips for each, each by its own recipe. With two questions of our own.

What does it buy to teach with depth as a sensor sees it? The networks of depth are taught with clean depth too, and both are tested on what another camera's sensor
sees. How many iterations does HandR2N2 need? It is taught with three and asked after each of none to eight.
"""

from seqgen.reproduction.columns import ALL_COLUMNS
from seqgen.reproduction.still_data import CLEAN, D435, ON_SR300, SENSOR, SR300, asked
from seqgen.reproduction.tables import HeldOut, Network, Part, Row, Table, Training

DEPTH = {"handr2n2": "HandR2N2", "srn": "SRN", "jgr_p2o": "JGR-P2O"}
PICTURES = {"jar": "Joint-Aware Regression", "seqhand": "SeqHAND-Net"}

ON_SENSOR = {name: Training(f"{name}-sensor", Network(SENSOR, recipe=name), SR300, stills=True) for name in DEPTH}
ON_CLEAN = {name: Training(f"{name}-clean", Network(CLEAN, recipe=name), SR300, stills=True) for name in DEPTH}
ON_PICTURES = {
    "jar": Training("jar", Network({}, recipe="jar"), SR300, stills=True),
    "seqhand": Training("seqhand", Network({"augment.share": 0.0}, recipe="seqhand"), SR300),  # its paper augments real pictures only
}

FIVE_NETWORKS = Table(
    "Five networks under one budget",
    (
        Part(
            "Taught and tested with one camera",
            (ON_SR300,),
            tuple(Row(name, title, {**ON_SENSOR, **ON_PICTURES}[name]) for name, title in {**DEPTH, **PICTURES}.items()),
            costs=True,
        ),
        Part(
            "Sensor depth against clean depth; tested on sensor depth",
            tuple(HeldOut(data, title, "sensor", SENSOR) for data, title in ((D435, "another camera, D435"), (SR300, "the same camera, SR300"))),
            tuple(
                Row(training.name, f"{title}, taught with {taught}", training)
                for name, title in DEPTH.items()
                for taught, training in (("sensor depth", ON_SENSOR[name]), ("clean depth", ON_CLEAN[name]))
            ),
            tuple((ON_SENSOR[name].name, ON_CLEAN[name].name) for name in DEPTH),
        ),
        Part(
            "HandR2N2 by iterations when asked; taught with three",
            tuple(asked(count) for count in range(9)),
            (Row("handr2n2-asked", "HandR2N2", ON_SENSOR["handr2n2"]),),
            across="space_mm",
        ),
    ),
    (
        "All networks see as many frames of the same clips, turned, moved and scaled within the ranges of their papers (SeqHAND-Net's augments real pictures only, so here "
        "none); those of depth look at a cube about the labelled joints, those of pictures at a square about them. SeqHAND-Net sees clips, the others single frames.",
    ),
    columns=ALL_COLUMNS,
)
