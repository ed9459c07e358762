"""The data sets that stand for those of the papers on depth and on single pictures: pictures and depth of the same clips, as two cameras' sensors see them.
And what the tables of the three papers on depth have in common: they are of NYU."""

from seqgen.reproduction.tables import Data, HeldOut, Row, Training

SR300 = Data("sr300", "sr300", "source")
D435 = Data("d435", "d435", "test")
SENSOR, CLEAN = {"input.depth": "sensor"}, {"input.depth": "clean"}  # which depth a network is taught with, or tested on

ON_SR300 = HeldOut(SR300, "SR300")
OF_NYU = "In brackets: the paper's figures, mean errors in mm of NYU; shares of frames below a threshold have nothing in the paper to stand beside."
NOT_NYU = "Here are 21 joints of drawn hands, not NYU's 14, seen by another camera: compare orders, not values."
LABELLED = "Cubes of 250 mm are about the middle of the labelled joints; the papers' are about places that a network found, and of other sizes for some data sets."


def asked(count: int) -> HeldOut:
    """SR300, HandR2N2 being asked after so many iterations."""
    return HeldOut(SR300, str(count), f"iterations-{count}", {"model.inference_iterations": count})


def nyu_row(name: str, title: str, training: Training, mm: float, *, test: HeldOut = ON_SR300) -> Row:
    """With the paper's error in mm, beside a test and beside the same test of NYU."""
    return Row(name, title, training, of_nyu({test: mm}))


def of_nyu(errors_mm: dict[HeldOut, float], metric: str = "space_mm") -> dict[tuple[str, str], tuple[float, ...]]:
    """Figures of the paper, beside tests and beside the same tests of NYU."""
    names = {name: mm for test, mm in errors_mm.items() for name in (test.name, test.name.replace(SR300.name, "nyu", 1))}
    return {(name, metric): (mm,) for name, mm in names.items()}
