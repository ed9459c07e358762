"""What tables can tell of a row: the metrics by name, and which of them a kind of table has. What each is exactly, `measure.py` says."""

from dataclasses import dataclass

MANY = 32  # frames at once, of which costs are told besides those of one


@dataclass(frozen=True)
class Metric:
    """A column. `long`: on an axis."""

    title: str
    decimals: int
    long: str = ""


METRICS = {
    "auc_2d": Metric("AUC 2D", 3),
    "auc_3d": Metric("AUC 3D", 3),
    "error_px": Metric("error px", 2),
    "error_mm": Metric("error mm", 2, "mean root-relative error, mm"),
    "pa_mm": Metric("aligned mm", 2),
    "covered_mm": Metric("covered mm", 2),
    "acceleration_mm": Metric("acceleration mm", 2),
    "blackout_mm": Metric("jump mm", 2),
    "black_frame_mm": Metric("black mm", 2),
    "space_mm": Metric("in space mm", 2, "mean error in space, mm"),
    "space_x_mm": Metric("x mm", 2),
    "space_y_mm": Metric("y mm", 2),
    "space_z_mm": Metric("z mm", 2),
    "space_mean_20": Metric("mean < 20", 3),
    "space_max_20": Metric("max < 20", 3),
    "space_max_40": Metric("max < 40", 3),
    "mean_20": Metric("mean < 20", 3),
    "max_20": Metric("max < 20", 3),
    "max_40": Metric("max < 40", 3),
}


@dataclass(frozen=True)
class Columns:
    """What a table tells. `metrics`: of each row; `compared`: whose differences are told, all of them better when smaller; `drawn`: in the figure;
    `explained`: what a reader must know of them, a paragraph each."""

    metrics: tuple[str, ...]
    compared: tuple[str, ...]
    drawn: str
    explained: tuple[str, ...]


ALIGNED = "aligned: error after the similarity of each frame that brings the joints nearest to the truth: it leaves out how the hand is turned and how large it is."
SUCCESS = "mean < 20, max < 20, max < 40: share of the frames whose mean error, or whose worst joint, is below so many millimetres"

CLIP_COLUMNS = Columns(
    ("auc_2d", "auc_3d", "error_px", "error_mm", "pa_mm", "covered_mm", "acceleration_mm", "blackout_mm", "black_frame_mm"),
    ("error_mm", "pa_mm", "covered_mm", "acceleration_mm", "blackout_mm", "black_frame_mm"),
    "error_mm",
    (
        "mm: root-relative; AUC 2D: 0 to 20 px; AUC 3D: 20 to 50 mm; px: of a crop of 224 px.",
        ALIGNED,
        "covered: error in frames in which at least 3 of the 15 joints between wrist and tips lie where no hand is seen.",
        "acceleration: mean length of the difference of predicted and true second differences, mm per frame squared.",
        "jump: mean way of the predicted joints into and out of the middle frame when that frame is black; black: the error in that frame. A network that says the "
        "same of every picture does not jump: read both.",
    ),
)
SPACE_COLUMNS = Columns(
    ("space_mm", "space_x_mm", "space_y_mm", "space_z_mm", "error_mm", "pa_mm", "space_mean_20", "space_max_20", "space_max_40"),
    ("space_mm", "error_mm", "pa_mm"),
    "space_mm",
    (
        "in space: mean distance from the true joints in the camera's frame, nothing aligned, as the papers on depth measure; x, y, z: its parts along the camera's axes.",
        "error mm: the same with the roots of both hands laid upon each other.",
        ALIGNED,
        f"{SUCCESS}, in space.",
    ),
)
STILL_COLUMNS = Columns(
    ("error_mm", "pa_mm", "error_px", "auc_3d", "mean_20", "max_20", "max_40"),
    ("error_mm", "pa_mm"),
    "error_mm",
    ("mm: root-relative; AUC 3D: 20 to 50 mm; px: of a crop of 224 px.", ALIGNED, f"{SUCCESS}, root-relative."),
)
ALL_COLUMNS = Columns(
    ("error_mm", "pa_mm", "mean_20", "max_20", "max_40", "space_mm"),
    ("error_mm", "pa_mm"),
    "error_mm",
    (
        "error mm: root-relative, since networks of pictures cannot know the distance; in space: nothing aligned, for those that say where the hand is.",
        ALIGNED,
        f"{SUCCESS}, root-relative.",
    ),
)
